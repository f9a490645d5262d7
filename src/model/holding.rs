//! Who holds an item, and all that the ledger knows of one item.

use super::{
    Actor, Attempt, AttemptId, Change, Goal, Kind, OpenState, Ownership, Place, ResourceKey, Shown, Status, Time,
};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The version of an item's ownership: rises with every change of it, never falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// Who holds an item (manual: protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The agent.
    pub actor: Actor,
    /// Since when.
    pub since: Time,
    /// By which attempt.
    pub attempt: AttemptId,
    /// At which version.
    pub fence: Fence,
    /// What its last COMMITTED or LANDED attempt, or a harmless outside edit, read back.
    pub last_seen: Shown,
    /// The statuses that its claim found, so that they can be put back should the holding end half-way.
    pub status_before_claim: BTreeSet<Status>,
    /// The holder itself moved the item out of work: its exclusive right has ended, its assignee stands.
    pub parked: bool,
    /// When the holder was last heard of about this item.
    pub renewed: Time,
    /// Since when the ledger knows the item to be closed, if it is: finished work, whose holding ends after a while.
    pub closed: Option<Time>,
}

/// How an agent lost its item without giving it up: it is told with its next refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The agent.
    pub actor: Actor,
    /// When.
    pub at: Time,
    /// By what, as the end of a sentence.
    pub cause: String,
}

/// Who, and since when.
impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since {}", self.actor, self.since)
    }
}

/// A write that was sent and of which nobody knows whether it landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who asked.
    pub actor: Actor,
    /// What was asked: only the same agent may write, and only this.
    pub change: Change,
    /// The value it would reach.
    pub goal: Goal,
    /// What it means for the holding; an older ledger does not say.
    pub kind: Option<Kind>,
    /// Who holds if it landed.
    pub ownership: Ownership,
}

/// The target of a recent attempt whose late second landing would look like an outside edit (`zombie_period`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The value.
    pub goal: Goal,
    /// When the attempt was settled.
    pub settled: Time,
}

/// All that the ledger knows of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRecord {
    /// The item.
    pub key: ResourceKey,
    /// Where it was last seen.
    pub locator: Place,
    /// The last version given out.
    pub fence: Fence,
    /// Who holds it.
    pub holding: Option<Holding>,
    /// A writer that did not pass the gate was seen and not yet accounted for. Of a holding, and gone with it.
    pub contested: bool,
    /// The attempt that is OPEN or SENDING; one at most.
    pub live: Option<Attempt>,
    /// Writes in doubt: all of one agent and one value.
    pub doubts: Vec<Doubt>,
    /// When doubt ends.
    pub doubt_until: Option<Time>,
    /// Targets of REFUSED, `NOT_LANDED` and LANDED attempts newer than the last outside edit.
    pub late_writes: Vec<Masked>,
    /// A holding ended half-way: where its claim had found the item, until a write has put that right.
    pub pending_restore: Option<BTreeSet<Status>>,
    /// Somebody outside the gate gave the item to another than its holder, and nobody has held it since.
    pub reassigned: bool,
    /// Who lost the item last without giving it up, until that agent holds it again.
    pub lost: Option<Loss>,
}

// === impl Holding ===

impl Holding {
    /// Whether somebody is at work on it: it was neither parked nor closed.
    pub fn is_live(&self) -> bool {
        !self.parked && self.last_seen.state == OpenState::Open
    }
}

// === impl ItemRecord ===

impl ItemRecord {
    /// An item that the ledger has never seen.
    pub fn new(key: ResourceKey, locator: Place) -> Self {
        Self {
            key,
            locator,
            fence: Fence(0),
            holding: None,
            contested: false,
            live: None,
            doubts: Vec::new(),
            doubt_until: None,
            late_writes: Vec::new(),
            pending_restore: None,
            reassigned: false,
            lost: None,
        }
    }

    /// The active or parked holding of somebody else than `actor`.
    pub fn held_by_another(&self, actor: &Actor) -> Option<&Holding> {
        self.holding.as_ref().filter(|holding| !holding.actor.goes_on_as(actor))
    }

    /// Whether this agent holds it.
    pub fn is_held_by(&self, actor: &Actor) -> bool {
        self.holding.as_ref().is_some_and(|holding| holding.actor.goes_on_as(actor))
    }

    /// Whether a write may still land of which nobody knows. What is past its time counts for nothing, whether or not a
    /// read has settled it.
    pub fn is_in_doubt(&self, now: Time) -> bool {
        !self.doubts.is_empty() && self.doubt_until.is_some_and(|until| now < until)
    }

    /// How long the doubt lasts from now.
    pub fn doubt_left(&self, now: Time) -> Duration {
        self.doubt_until.map_or(Duration::ZERO, |until| until.since(now))
    }
}
