//! Whether an item of a list may be offered to somebody who asks for any.
//!
//! A guess, made from a list that may be a little old, so that no tracker is asked about what cannot be had. The claim
//! itself is decided like any other, by a read of its own; whoever loses it goes on to the next.

use super::{DecisionInput, OutsideEdit, Verdict, Workflow, decide, outside_edit};
use crate::model::{Kind, OpenState, Rejection, Status, Time};
use std::collections::BTreeSet;

/// What is to become of one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The caller may try to claim it.
    Free,
    /// Nobody may have it now.
    Taken,
    /// The rules would refuse it to this caller.
    Refused(Box<Rejection>),
}

/// What the caller said of statuses.
#[derive(Clone, Debug, Default)]
pub struct Aims {
    /// Those that the item is to show.
    pub from: BTreeSet<Status>,
    /// Those that the caller is going to set; none: any working one.
    pub to: BTreeSet<Status>,
}

/// Judges one candidate: the input is a claim by the caller, its read a row of a list that was asked for at `asked`.
pub fn offer(input: &DecisionInput<'_>, asked: Time, aims: &Aims) -> Offer {
    let (seen, rules) = (input.seen, input.rules);
    if seen.state != OpenState::Open || !seen.assignees.is_empty() || input.record.is_in_doubt(input.now) {
        return Offer::Taken;
    }
    if is_held(input, asked) || !can_be_taken_up(&rules.workflow, &rules.workflow.statuses(&seen.labels), aims) {
        return Offer::Taken;
    }
    match decide(input).0 {
        Verdict::Admit(permit) if permit.plan().kind == Kind::Claim => Offer::Free,
        // A take-over is a claim of its own kind, which is asked for by name.
        Verdict::Admit(_) | Verdict::Noop(_) => Offer::Taken,
        // What the ledger still holds has ended in the tracker: the claim itself finds that out, and how.
        Verdict::Reject(_) if input.record.holding.as_ref().is_some_and(|held| !held.parked) => Offer::Free,
        Verdict::Reject(rejection) => Offer::Refused(Box::new(rejection)),
    }
}

/// Whether the ledger's holding stands. One that the list, being newer, shows to have ended outside the gate does not.
fn is_held(input: &DecisionInput<'_>, asked: Time) -> bool {
    let Some(held) = input.record.holding.as_ref().filter(|held| !held.parked) else { return false };
    let ended = || {
        let edit = outside_edit(input.record, input.seen, input.rules, input.now);
        matches!(edit, Some(OutsideEdit::Takes { .. }))
    };
    held.since >= asked || !ended()
}

/// Whether some rule leads from where the item stands to where it is to go; without rules there is no wrong way. What
/// stands in work already is nobody's to find, unless that is what the caller asks for.
fn can_be_taken_up(workflow: &Workflow, shown: &BTreeSet<Status>, aims: &Aims) -> bool {
    let is_orphan = |status: &Status| workflow.working.contains(status) && aims.from.contains(status);
    if !shown.is_empty() && shown.iter().all(is_orphan) {
        return true;
    }
    let goals = if aims.to.is_empty() { &workflow.working } else { &aims.to };
    let mut rules = workflow.moves.iter().filter(|rule| goals.contains(&rule.to)).peekable();
    rules.peek().is_none() || rules.any(|rule| rule.starts_from(shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Assignment, By, Mode, MoveRule, Outside, Rules};
    use crate::model::{
        Account, Actor, AttemptId, Caller, Change, Code, Fence, Fingerprint, Holding, ItemRecord, Place, Principal,
        ResourceKey, SetChange, Snapshot, Tag, TagId,
    };
    use std::time::Duration;

    fn statuses(names: &[&str]) -> BTreeSet<Status> {
        names.iter().map(|name| Status::new(name)).collect()
    }

    fn rules() -> Rules {
        let starts = MoveRule { from: statuses(&["none", "backlog"]), to: Status::new("in-progress"), by: By::Holder };
        let plans = MoveRule { from: statuses(&["done"]), to: Status::new("todo"), by: By::Anyone };
        Rules {
            assignment: Assignment {
                mode: Mode::Enforce,
                expect_status: statuses(&["none", "backlog", "in-progress"]),
                max_assignees: 1,
                assign_others: false,
                release_by: By::Holder,
                outside: Outside::Wins,
                overriders: BTreeSet::new(),
                stale_after: None,
                takeover_after: Some(Duration::from_mins(1)),
                closed_after: None,
                zombie_period: Duration::from_mins(20),
            },
            workflow: Workflow {
                mode: Mode::Enforce,
                states: statuses(&["backlog", "todo", "in-progress", "done"]),
                one_status: false,
                working: statuses(&["in-progress"]),
                consume: BTreeSet::new(),
                moves: vec![starts, plans],
                put_back: false,
                edit_labels: crate::admission::Editors::Overriders,
                dependencies_by: crate::admission::By::Anyone,
            },
            limits: crate::admission::HoldingLimits::none(),
            singletons: Vec::new(),
            once: Vec::new(),
            shared_accounts: BTreeSet::new(),
            unnamed: crate::admission::Unnamed::One,
            web: crate::admission::Web::Override,
        }
    }

    fn actor(login: &str) -> Actor {
        Actor { account: Principal::Named(Account::new(login)), instance: None }
    }

    fn seen(labels: &[&str], assignees: &[&str]) -> Snapshot {
        let labels = labels.iter().zip(1..).map(|(name, id)| Tag {
            id: Some(TagId::Number(id)),
            name: (*name).to_owned(),
            group: None,
            state: None,
        });
        Snapshot {
            key: ResourceKey::new("7"),
            locator: Place::from_stored("o/r#7"),
            kind: crate::model::ItemKind::Issue,
            assignees: assignees.iter().map(|login| Account::new(login)).collect(),
            labels: labels.collect(),
            state: OpenState::Open,
            author: None,
        }
    }

    fn held(by: &str, since: i64, parked: bool) -> Holding {
        Holding {
            actor: actor(by),
            since: Time(since),
            attempt: AttemptId::new("a"),
            fence: Fence(1),
            last_seen: rules().workflow.shown(&seen(&["in-progress"], &[by])),
            status_before_claim: BTreeSet::new(),
            parked,
            renewed: Time(since),
            closed: None,
        }
    }

    /// `dev` asks at second 100; the list was asked for a second before.
    fn judge(seen: &Snapshot, holding: Option<Holding>, aims: &Aims) -> Offer {
        let (rules, login) = (rules(), Account::new("dev"));
        let caller = Caller { actor: actor("dev"), credential: Fingerprint::new("f"), shared: false, overrider: false };
        let change = Change { assignees: Some(SetChange::Replace([login].into())), ..Change::default() };
        let record = ItemRecord { holding, ..ItemRecord::new(seen.key.clone(), seen.locator.clone()) };
        let now = Time(100_000_000);
        let input = DecisionInput {
            rules: &rules,
            caller: &caller,
            change: &change,
            asks_more: false,
            record: &record,
            seen,
            labels: &[],
            now,
        };
        offer(&input, Time(99_000_000), aims)
    }

    #[test]
    fn what_could_be_taken_into_work_is_offered() {
        let check = |labels: &[&str], aims: (&[&str], &[&str]), free: bool| {
            let aims = Aims { from: statuses(aims.0), to: statuses(aims.1) };
            let found = judge(&seen(labels, &[]), None, &aims);
            assert_eq!(found == Offer::Free, free, "{labels:?} {aims:?}: {found:?}");
        };
        check(&["backlog", "bug"], (&[], &[]), true);
        check(&["bug"], (&[], &[]), true);
        check(&["Backlog"], (&["backlog"], &["in-progress"]), true);
        check(&["done"], (&[], &[]), false);
        // In work already: only for one who asks for just that.
        check(&["in-progress"], (&[], &[]), false);
        check(&["in-progress"], (&["in-progress"], &[]), true);
        check(&["in-progress", "backlog"], (&["in-progress"], &[]), false);
        // The rules lead elsewhere, or nowhere there.
        check(&["backlog"], (&[], &["todo"]), false);
        check(&["backlog"], (&[], &["done"]), true);
    }

    #[test]
    fn what_somebody_has_is_not_offered() {
        let free = seen(&["backlog"], &[]);
        let none = Aims::default();
        assert_eq!(judge(&seen(&["backlog"], &["ann"]), None, &none), Offer::Taken);
        assert_eq!(judge(&seen(&["backlog"], &["dev"]), None, &none), Offer::Taken);
        let closed = Snapshot { state: OpenState::Closed, ..free.clone() };
        assert_eq!(judge(&closed, None, &none), Offer::Taken);
        // Held since the list was asked for: its row is old. Held before: it shows that the holding has ended.
        assert_eq!(judge(&free, Some(held("ann", 99_500_000, false)), &none), Offer::Taken);
        assert_eq!(judge(&free, Some(held("ann", 98_000_000, false)), &none), Offer::Free);
        assert_eq!(judge(&free, Some(held("dev", 99_500_000, false)), &none), Offer::Taken);
        assert_eq!(judge(&free, Some(held("dev", 98_000_000, false)), &none), Offer::Free);
        assert_eq!(judge(&free, Some(held("ann", 99_500_000, true)), &none), Offer::Free);
    }

    #[test]
    fn a_silent_holders_item_is_not_found_but_taken_over_by_name() {
        let mut held = held("ann", 0, false);
        held.last_seen = rules().workflow.shown(&seen(&["backlog"], &[]));
        assert_eq!(judge(&seen(&["backlog"], &[]), Some(held), &Aims::default()), Offer::Taken);
    }

    #[test]
    fn what_the_rules_refuse_says_why() {
        let mut item = seen(&["todo"], &[]);
        let aims = Aims { to: statuses(&["backlog"]), ..Aims::default() };
        match judge(&item, None, &aims) {
            Offer::Refused(rejection) => assert_eq!(rejection.code, Code::WrongSourceState),
            other => panic!("{other:?}"),
        }
        item.labels.clear();
        assert_eq!(judge(&item, None, &aims), Offer::Free);
    }
}
