//! The durable record of one guarded write (manual: protocol).

use super::{Actor, Change, Fingerprint, Goal, Place, ResourceKey, Shown, Time};
use std::fmt;
use std::sync::Arc;

/// Names one attempt; a UUID v7 in its text form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(Arc<str>);

/// Names one gate process among those that share a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GateId(Arc<str>);

/// One life of one gate process. A row of an older epoch cannot be completed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// `OPEN -> REJECTED | ABORTED | COMMITTED | SENDING`; `SENDING -> COMMITTED | REFUSED | PARTIAL | DOUBT`;
/// `DOUBT -> LANDED | NOT_LANDED`. All but the first three are final and immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptState {
    /// Entered; nothing sent.
    Open,
    /// Durable before the first byte leaves.
    Sending,
    /// Sent, and nobody knows whether it landed.
    Doubt,
    /// Refused by a rule; never sent.
    Rejected,
    /// Given up before anything was sent.
    Aborted,
    /// The target was seen.
    Committed,
    /// The tracker shows the old state.
    Refused,
    /// Something else shows.
    Partial,
    /// A doubt that turned out to have landed.
    Landed,
    /// A doubt that turned out not to have landed.
    NotLanded,
}

/// What a guarded write means for the holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Take a free item.
    Claim,
    /// Give it up, or clear a parked or foreign assignee.
    Release,
    /// Pass it on to another account.
    HandOver,
    /// Change labels or open/closed; who holds stays.
    Move,
    /// Make an existing assignee of one's own account the holding.
    Adopt,
    /// Claim what has been silent longer than `takeover_after`.
    TakeOver,
    /// A new item with an assignee.
    Create,
}

/// What becomes of the holding once a write has landed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Stays as it is.
    #[default]
    Keep,
    /// This agent holds the item.
    Becomes(Actor),
    /// Nobody holds it.
    Ends,
}

/// A guarded write, entered in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// The item.
    pub key: ResourceKey,
    /// Where the item was when it was entered.
    pub locator: Place,
    /// Who asked.
    pub actor: Actor,
    /// With which credential.
    pub credential: Fingerprint,
    /// What was asked.
    pub change: Change,
    /// The value it wants to reach; known once the item was read.
    pub goal: Option<Goal>,
    /// What it means for the holding; known once it was decided.
    pub kind: Option<Kind>,
    /// Who holds the item once the goal shows; known once it was decided.
    pub ownership: Ownership,
    /// Where it stands.
    pub state: AttemptState,
    /// Which gate entered it.
    pub gate: GateId,
    /// In which of its lives.
    pub epoch: Epoch,
    /// When it was entered.
    pub opened: Time,
}

/// A final attempt, as `history` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The attempt.
    pub attempt: Attempt,
    /// When it became final.
    pub at: Time,
    /// What the tracker showed.
    pub shown: Option<Shown>,
}

// === impl Ownership ===

impl Ownership {
    /// Whether it makes a holder of this agent.
    pub fn makes_holder(&self, agent: &Actor) -> bool {
        matches!(self, Self::Becomes(actor) if actor.goes_on_as(agent))
    }
}

// === impl AttemptId, GateId ===

impl AttemptId {
    /// From its text form.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl GateId {
    /// From its text form.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl AttemptState, Kind ===

impl AttemptState {
    /// As the ledger writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Sending => "SENDING",
            Self::Doubt => "DOUBT",
            Self::Rejected => "REJECTED",
            Self::Aborted => "ABORTED",
            Self::Committed => "COMMITTED",
            Self::Refused => "REFUSED",
            Self::Partial => "PARTIAL",
            Self::Landed => "LANDED",
            Self::NotLanded => "NOT_LANDED",
        }
    }

    /// Reads what `as_str` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        const ALL: [AttemptState; 10] = [
            AttemptState::Open,
            AttemptState::Sending,
            AttemptState::Doubt,
            AttemptState::Rejected,
            AttemptState::Aborted,
            AttemptState::Committed,
            AttemptState::Refused,
            AttemptState::Partial,
            AttemptState::Landed,
            AttemptState::NotLanded,
        ];
        ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Final states never change.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Open | Self::Sending | Self::Doubt)
    }
}

impl Kind {
    /// As the ledger and the audit write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Release => "release",
            Self::HandOver => "hand_over",
            Self::Move => "move",
            Self::Adopt => "adopt",
            Self::TakeOver => "take_over",
            Self::Create => "create",
        }
    }

    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Claim, Self::Release, Self::HandOver, Self::Move, Self::Adopt, Self::TakeOver, Self::Create];

    /// Reads what `as_str` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
