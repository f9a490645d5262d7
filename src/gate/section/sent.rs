//! A write that was sent: what came of it, and what is said of that.

use super::super::refusal;
use super::{Fresh, outcome_code};
use crate::admission::{Outcome, Plan};
use crate::dialect::WireResponse;
use crate::effect::Decision;
use crate::model::{Caller, Code, Login, Rejection, Snapshot};

/// A write that was sent, and what came of it.
pub(super) struct Sent {
    pub(super) plan: Plan,
    pub(super) outcome: Outcome,
    /// The tracker's, where there was a whole answer.
    pub(super) status: Option<u16>,
    /// What goes back where it went through: the tracker's answer, or a success in its place.
    pub(super) response: Option<WireResponse>,
    pub(super) back: Option<Fresh>,
    /// What a rule that only observes would have said.
    pub(super) observed: Option<Code>,
    /// What is told where the tracker said success and did something else.
    pub(super) instead: Option<Box<Rejection>>,
}

// === impl Sent ===

impl Sent {
    pub(super) fn decision(&self) -> Decision {
        if self.observed.is_some() { Decision::Observe } else { Decision::Admit }
    }

    pub(super) fn code(&self) -> Option<Code> {
        let instead = self.instead.as_ref().map(|rejection| rejection.code);
        self.observed.or(instead).or_else(|| outcome_code(&self.outcome, self.status))
    }
}

/// What a write has left that the tracker gave up in its midst.
pub(super) fn half_done(
    caller: &Caller,
    before: &Snapshot,
    plan: &Plan,
    outcome: &Outcome,
    status: Option<u16>,
) -> Option<Box<Rejection>> {
    let (Outcome::Halfway { shown }, Some(wanted)) = (outcome, &plan.goal.assignees) else { return None };
    let named = |names: Vec<&Login>| names.into_iter().map(Login::as_str).collect::<Vec<_>>().join(", ");
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
