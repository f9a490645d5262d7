//! The rules as the configuration states them (DESIGN section 6).

use super::once::OnceRule;
use super::{Limits, Singleton};
use crate::model::{Label, OpenState, Shown, Snapshot, Status, What};
use std::collections::BTreeSet;
use std::time::Duration;

/// Whether a rule refuses, or only records what it would have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse.
    Enforce,
    /// Decide, record, keep holdings, refuse nothing.
    Observe,
}

/// Who may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The holder, or an overrider.
    Holder,
    /// Anyone.
    Anyone,
}

/// What an outside edit does to a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It wins: the holding ends as revoked.
    Wins,
    /// The item is refused to all until the holder releases or an operator decides.
    Hold,
}

/// Rules over who is assigned.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Enforce or observe.
    pub mode: Mode,
    /// Statuses from which an item may be claimed; empty: any. `none` is an item without status label.
    pub expect_status: BTreeSet<Status>,
    /// How many may be assigned at once.
    pub max_assignees: usize,
    /// Whether an agent may assign somebody else to a free item.
    pub assign_others: bool,
    /// Who may clear the assignee of a held item.
    pub release_by: By,
    /// What an outside edit does.
    pub outside: Outside,
    /// How long a holder must have been silent for the next claim to take the item over; `None`: never.
    pub takeover_after: Option<Duration>,
    /// How long after its settlement an attempt's late second landing is told from an outside edit.
    pub zombie_period: Duration,
}

/// One allowed move of the workflow.
#[derive(Clone, Debug)]
pub struct MoveRule {
    /// From one of these (`none`: no status label).
    pub from: BTreeSet<Status>,
    /// To this one.
    pub to: Status,
    /// By whom.
    pub by: By,
}

/// Rules over where an item stands.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Enforce or observe.
    pub mode: Mode,
    /// The labels that are statuses.
    pub states: BTreeSet<Status>,
    /// Those in which somebody works on the item.
    pub working: BTreeSet<Status>,
    /// Those that can be left only once.
    pub consume: BTreeSet<Status>,
    /// Which moves are allowed.
    pub moves: Vec<MoveRule>,
    /// Whether the labels that a claim brought go when its holding ends half-way.
    pub put_back: bool,
}

/// All rules of one gate.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Over who is assigned.
    pub assignment: Assignment,
    /// Over where an item stands.
    pub workflow: Workflow,
    /// Over how many items one agent may hold.
    pub limits: Limits,
    /// Over which agents work one at a time.
    pub singletons: Vec<Singleton>,
    /// Over what may be created once.
    pub once: Vec<OnceRule>,
}

// === impl Rules ===

impl Rules {
    /// Whether some rule is about what may be created once.
    pub fn is_ruled(&self, what: What) -> bool {
        self.once.iter().any(|rule| rule.what == what)
    }

    /// Whether some rule counts reviews with this verdict.
    pub fn counts(&self, event: &str) -> bool {
        self.once.iter().any(|rule| rule.what == What::Review && rule.events.contains(event))
    }
}

/// Stands in `from` and `to` for an item without a status label.
pub(super) const NO_STATUS: &str = "none";

// === impl MoveRule ===

impl MoveRule {
    /// Whether it starts from these status labels: each of them, or none where there is none.
    pub(super) fn starts_from(&self, shown: &BTreeSet<Status>) -> bool {
        if shown.is_empty() { self.from.contains(&Status::new(NO_STATUS)) } else { shown.is_subset(&self.from) }
    }
}

// === impl Workflow ===

impl Workflow {
    /// The status labels among these.
    pub fn statuses<'a>(&self, labels: impl IntoIterator<Item = &'a Label>) -> BTreeSet<Status> {
        labels.into_iter().map(|label| Status::new(&label.name)).filter(|name| self.states.contains(name)).collect()
    }

    /// What the ledger remembers of a read.
    pub fn shown(&self, read: &Snapshot) -> Shown {
        Shown { assignees: read.assignees.clone(), statuses: self.statuses(&read.labels), state: read.state }
    }

    /// Whether somebody is at work on an item that shows this.
    pub fn is_working(&self, shown: &Shown) -> bool {
        shown.state == OpenState::Open && shown.statuses.iter().any(|status| self.working.contains(status))
    }
}
