//! How a write that was sent ended, as it is told and written down.

use super::super::refusal;
use super::SETTLE_AGAIN;
use crate::admission::Outcome;
use crate::effect::{Command, Durability, Ledger, LedgerError};
use crate::model::{Code, Goal, Locator, Rejection};
use std::sync::Arc;

/// Carries out the first of these that the record allows, however long the ledger is away.
pub(in crate::gate) async fn first_allowed(ledger: Arc<dyn Ledger>, alternatives: Vec<Command>) {
    for command in alternatives {
        loop {
            match ledger.commit(vec![command.clone()], Durability::Awaited).await {
                Ok(_) => return,
                Err(LedgerError::Refused(_)) => break,
                Err(LedgerError::Unavailable(_)) => tokio::time::sleep(SETTLE_AGAIN).await,
            }
        }
    }
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

pub(super) fn not_applied(locator: &Locator, status: u16, goal: &Goal, outcome: &Outcome) -> Box<Rejection> {
    let fields = if goal.assignees.is_some() { "assignees" } else { "the guarded fields" };
    let message = format!(
        "the tracker answered {status} and left {fields} of {locator} as they were: the account may lack write access, \
         or the name is not assignable"
    );
    let mut rejection = refusal::plain(Code::NotApplied, locator, message);
    rejection.observed = outcome.shown().cloned();
    rejection
}
