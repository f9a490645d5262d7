//! Which members go together in one line, whatever the lines around it say.

use super::line::{Decision, Kind, Line, Outcome};

/// What is wrong with the line by itself.
pub(super) fn check(line: &Line) -> Option<String> {
    let rules = [
        (decided(line), "a decision goes with the kind decision, and with no other"),
        (settled(line), "its result does not go with its kind and decision"),
        (holding(line), "holder, parked and holding_since go together"),
        (
            placed(line),
            "a line about an item has resource, resource_id and fence; one without has no holder and no grant",
        ),
        (named(line), "an attempt has an id and an agent, and an edit's author is an agent"),
        (meant(line), "an attempt that was sent or granted has an intent, and one that was refused has none"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what.to_owned())
}

fn decided(line: &Line) -> bool {
    (line.kind == Kind::Decision) == line.decision.is_some()
}

fn settled(line: &Line) -> bool {
    use Outcome::{Aborted, Committed, Doubt, Landed, NotLanded, Partial, Refused, Rejected};
    match (line.kind, line.decision, line.result) {
        (Kind::Decision, Some(Decision::Admit | Decision::Observe), Some(result)) => {
            matches!(result, Committed | Refused | Partial | Doubt | Aborted)
        }
        // What is passed on, or answered with the first of its kind, without becoming an attempt on an item.
        (Kind::Decision, Some(Decision::Admit | Decision::Noop | Decision::Observe), None) => line.fence.is_none(),
        (Kind::Decision, Some(Decision::Noop), result) => result == Some(Committed),
        (Kind::Decision, Some(Decision::Reject), result) => matches!(result, Some(Rejected | Aborted)),
        (Kind::Decision, ..) => false,
        (Kind::Landed, _, result) => result == Some(Landed),
        (Kind::NotLanded, _, result) => result == Some(NotLanded),
        (Kind::Recovered, _, result) => matches!(result, Some(Doubt | Aborted)),
        (
            Kind::Revoked
            | Kind::Contested
            | Kind::Operator
            | Kind::Rebound
            | Kind::TakenOver
            | Kind::Finished
            | Kind::Gone
            | Kind::Once
            | Kind::Author,
            _,
            result,
        ) => result.is_none(),
    }
}

fn holding(line: &Line) -> bool {
    let held = line.holder.is_some();
    line.parked.is_some() == held && line.holding_since.is_some() == held
}

fn placed(line: &Line) -> bool {
    let speaks_of_none = matches!(line.kind, Kind::Decision | Kind::Operator | Kind::Once | Kind::Author)
        && line.holder.is_none()
        && matches!(line.result, None | Some(Outcome::Rejected));
    match line.fence {
        Some(_) if line.kind == Kind::Author => false,
        Some(_) => line.resource.is_some() && line.resource_id.is_some(),
        None => speaks_of_none,
    }
}

fn named(line: &Line) -> bool {
    let attempt = line.fence.is_some() && line.result.is_some();
    let names_holder =
        matches!(line.kind, Kind::Revoked | Kind::Rebound | Kind::TakenOver | Kind::Finished | Kind::Gone);
    let names_agent = attempt || names_holder || line.kind == Kind::Author;
    (!attempt || !line.id.is_empty()) && (!names_agent || line.agent.is_some())
}

fn meant(line: &Line) -> bool {
    match line.result {
        Some(Outcome::Committed | Outcome::Refused | Outcome::Partial | Outcome::Doubt) => line.intent.is_some(),
        Some(Outcome::Rejected) => line.intent.is_none(),
        _ => true,
    }
}
