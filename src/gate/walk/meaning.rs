//! A request whose items do not show what it would do to them.

use super::super::refusal;
use super::{EarlyExit, ItemRead, Walk};
use crate::model::{Caller, Code, Rejection};

impl Walk {
    /// Of one item: it stands where nobody can do this, or not this account. Mostly somebody else was first, and who that is,
    /// is told.
    pub(super) async fn means_nothing(&self, caller: &Caller, reads: &[ItemRead], why: &str) -> EarlyExit {
        let refused = |rejection| EarlyExit::Refuse(Box::new(rejection));
        let [read] = reads else {
            return refused(Rejection::of_request(Code::AmbiguousRequest, format!("{why}; nothing was sent")));
        };
        if self.is_form() {
            return refused(Rejection::of_request(Code::UpstreamUnreadable, format!("{why}; nothing was sent")));
        }
        let seen = &read.seen;
        let record = match self.gate.ports.ledger.item(&seen.key).await {
            Ok(record) => record,
            Err(error) => return self.no_ledger(&error),
        };
        let held = record.as_ref().and_then(|record| record.held_by_another(&caller.actor)).filter(|held| !held.parked);
        let (code, message) = match held {
            Some(held) => {
                (Code::AlreadyAssigned, format!("{} is held by {held}; pick another item ({why})", seen.locator))
            }
            None => (Code::WrongSourceState, format!("{}: {why}; read it again, or pick another item", seen.locator)),
        };
        let mut rejection = *refusal::plain(code, &seen.locator, message);
        rejection.observed = Some(self.rules.workflow.shown(seen));
        rejection.holder = held.map(|held| held.actor.clone());
        rejection.since = held.map(|held| held.since);
        refused(self.naming_mover(rejection, seen))
    }
}
