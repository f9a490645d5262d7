//! Proof that a decision was made.

use crate::model::{Actor, Goal, Holding, Kind, Ownership, Time};

/// What an admitted write is to do, as the ledger records it before the send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it means for the holding.
    pub kind: Kind,
    /// What the read-back must show.
    pub goal: Goal,
    /// Who holds once it shows.
    pub ownership: Ownership,
    /// Of a take-over: since when the holder has been silent while it could have been heard.
    pub heard: Option<Time>,
}

// === impl Plan ===

impl Plan {
    /// Whether whoever moves the item by it is its holder, or becomes it.
    pub fn is_by_holder(&self, agent: &Actor, held: Option<&Holding>) -> bool {
        self.ownership.makes_holder(agent) || held.is_some_and(|held| held.actor.goes_on_as(agent))
    }
}

/// Allows one send. Made only by `decide`, not `Clone`, consumed by the send.
#[derive(Debug)]
pub struct Permit {
    plan: Plan,
}

impl Permit {
    // INVARIANT: visible to `admission` alone; a second maker would be a way round every rule.
    pub(in crate::admission) fn new(plan: Plan) -> Self {
        Self { plan }
    }

    /// What is to be recorded before the send.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
