//! Which members go together in one line, whatever the lines around it say.

use super::line::{AttemptResult, CheckedLine, Decision, LineKind};

/// What is wrong with the line by itself.
pub(super) fn check(line: &CheckedLine) -> Option<String> {
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

fn decided(line: &CheckedLine) -> bool {
    (line.kind == LineKind::Decision) == line.decision.is_some()
}

fn settled(line: &CheckedLine) -> bool {
    use AttemptResult::{Aborted, Committed, Doubt, Landed, NotLanded, Partial, Refused, Rejected};
    match (line.kind, line.decision, line.result) {
        (LineKind::Decision, Some(Decision::Admit | Decision::Observe), Some(result)) => {
            matches!(result, Committed | Refused | Partial | Doubt | Aborted)
        }
        // What is passed on, or answered with the first of its kind, without becoming an attempt on an item.
        (LineKind::Decision, Some(Decision::Admit | Decision::Noop | Decision::Observe), None) => line.fence.is_none(),
        (LineKind::Decision, Some(Decision::Noop), result) => result == Some(Committed),
        (LineKind::Decision, Some(Decision::Reject), result) => matches!(result, Some(Rejected | Aborted)),
        (LineKind::Decision, ..) => false,
        (LineKind::Landed, _, result) => result == Some(Landed),
        (LineKind::NotLanded, _, result) => result == Some(NotLanded),
        (LineKind::Recovered, _, result) => matches!(result, Some(Doubt | Aborted)),
        (
            LineKind::Revoked
            | LineKind::Contested
            | LineKind::Operator
            | LineKind::Rebound
            | LineKind::TakenOver
            | LineKind::Finished
            | LineKind::Gone
            | LineKind::Once
            | LineKind::Author,
            _,
            result,
        ) => result.is_none(),
    }
}

fn holding(line: &CheckedLine) -> bool {
    let held = line.holder.is_some();
    line.parked.is_some() == held && line.holding_since.is_some() == held
}

fn placed(line: &CheckedLine) -> bool {
    let speaks_of_none =
        matches!(line.kind, LineKind::Decision | LineKind::Operator | LineKind::Once | LineKind::Author)
            && line.holder.is_none()
            && matches!(line.result, None | Some(AttemptResult::Rejected));
    match line.fence {
        Some(_) if line.kind == LineKind::Author => false,
        Some(_) => line.resource.is_some() && line.resource_id.is_some(),
        None => speaks_of_none,
    }
}

fn named(line: &CheckedLine) -> bool {
    let attempt = line.fence.is_some() && line.result.is_some();
    let names_holder = matches!(
        line.kind,
        LineKind::Revoked | LineKind::Rebound | LineKind::TakenOver | LineKind::Finished | LineKind::Gone
    );
    let names_agent = attempt || names_holder || line.kind == LineKind::Author;
    (!attempt || !line.id.is_empty()) && (!names_agent || line.agent.is_some())
}

fn meant(line: &CheckedLine) -> bool {
    match line.result {
        Some(AttemptResult::Committed | AttemptResult::Refused | AttemptResult::Partial | AttemptResult::Doubt) => {
            line.intent.is_some()
        }
        Some(AttemptResult::Rejected) => line.intent.is_none(),
        _ => true,
    }
}
