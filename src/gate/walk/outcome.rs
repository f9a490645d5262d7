//! What is said of an outcome.

use super::super::refusal;
use crate::admission::{Outcome, Plan};
use crate::model::{Account, Caller, Code, Goal, Place, Rejection, Shown, Snapshot};

/// What a write has left that the tracker gave up in its midst.
pub(super) fn half_done(
    caller: &Caller,
    before: &Snapshot,
    plan: &Plan,
    outcome: &Outcome,
    status: Option<u16>,
) -> Option<Box<Rejection>> {
    let (Outcome::Halfway { shown }, Some(wanted)) = (outcome, &plan.goal.assignees) else { return None };
    let named = |names: Vec<&Account>| names.into_iter().map(Account::as_str).collect::<Vec<_>>().join(", ");
    let gone = named(before.assignees.difference(&shown.assignees).collect());
    let missing = named(wanted.difference(&shown.assignees).collect());
    let not_there = if missing.is_empty() {
        String::new()
    } else {
        format!(" and did not assign {missing}, who may have no access")
    };
    let left = match named(shown.assignees.iter().collect()) {
        none if none.is_empty() => "nobody is assigned now and nobody holds it: it can be claimed".to_owned(),
        others => format!("it is assigned to {others} now"),
    };
    let (locator, status) = (&before.locator, status.unwrap_or_default());
    let message = format!(
        "{locator}: the tracker answered {status} half-way through this write: it unassigned {gone}{not_there}; {left}"
    );
    let stays = caller.actor.account.login().is_some_and(|own| shown.assignees.contains(own));
    let rejection = refusal::plain(if stays { Code::Partial } else { Code::NotHolder }, locator, message);
    Some(Box::new(Rejection { observed: Some(shown.clone()), ..*rejection }))
}

/// What is told of a write that was sent; `status` is the tracker's, where there was a whole answer.
pub(in crate::gate) fn outcome_code(outcome: &Outcome, status: Option<u16>) -> Option<Code> {
    match outcome {
        Outcome::Committed { .. } => None,
        Outcome::Refused { .. } => status.filter(|status| (200..300).contains(status)).map(|_| Code::NotApplied),
        Outcome::Halfway { .. } => Some(Code::NotHolder),
        Outcome::Partial { holds: true, .. } => Some(Code::Partial),
        Outcome::Partial { holds: false, .. } => Some(Code::Contested),
        Outcome::Doubt => Some(Code::OutcomeUnknown),
    }
}

pub(super) fn not_applied(locator: &Place, status: u16, goal: &Goal, outcome: &Outcome) -> Box<Rejection> {
    let fields = if goal.assignees.is_some() { "assignees" } else { "the guarded fields" };
    let message = format!(
        "the tracker answered {status} and left {fields} of {locator} as they were: the account may lack write access, \
         the name may not be assignable, or the tracker's own workflow may not allow the move"
    );
    let mut rejection = refusal::plain(Code::NotApplied, locator, message);
    rejection.observed = outcome.shown().cloned();
    rejection
}

/// The assignee was written and another field was not, of which the tracker said nothing.
pub(super) fn partial(locator: &Place, shown: &Shown) -> Box<Rejection> {
    let message = format!(
        "{locator} was assigned as you asked, and the rest was not applied: it is {shown}; the tracker's own workflow may not \
         allow the move"
    );
    let mut rejection = refusal::plain(Code::Partial, locator, message);
    rejection.observed = Some(shown.clone());
    rejection
}
