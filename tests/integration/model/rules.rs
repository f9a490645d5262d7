//! The protocol's sentences as switches, and how much may happen in one run.

/// A sentence that is broken; each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Whoever waits looks once whether its client is still there, when the wait begins.
    HangUpSeenOnce,
    /// The same of a doubt.
    DoubtSeenOnce,
    /// What was read before its own T1 admits.
    EarlyReadAdmits,
    /// Nobody ends what a dead gate has left.
    NobodyTakesOver,
    /// A takeover takes what was sent for never sent.
    TakeoverAborts,
    /// A takeover reads the row, and ends it by its id alone later, without the gate's own row.
    TakeoverById,
    /// T2 sends whether or not its row was there.
    SendWithoutRow,
    /// T2 and grants do not ask for the version that was judged.
    VersionUnconfirmed,
    /// T3 writes whether or not its row was there.
    SettleWithoutFence,
    /// The resolver does not ask whether an attempt is live.
    ResolveUnderLive,
    /// A doubt is due when the resolver writes, not when it read.
    DueAtWrite,
    /// A doubt ends while its write may still leave or land.
    DoubtTooShort,
    /// A write that succeeds clears the doubts before it.
    SuccessClearsDoubt,
    /// An unknown T3 is asked for by its attempt alone.
    RepeatIgnoresHolding,
    /// An unknown T3 is taken for done.
    UnknownIsDone,
    /// An unknown T1 is given up without asking for it.
    UnknownOpenForgotten,
    /// A refusal rests on what a turn saw before the request came.
    OldObservation,
    /// A refusal by another gate's read-back asks for `rev <= seen_from`.
    PolledAtSend,
}

/// How often each may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    pub requests: u8,
    pub hang_ups: u8,
    /// Answers that are lost while the write may land, or is refused.
    pub cuts: u8,
    /// Gates that are declared fallen while they live.
    pub steals: u8,
    pub crashes: u8,
    /// Edits by the human.
    pub edits: u8,
    /// Releases by an operator.
    pub operator: u8,
    /// Commits without an answer.
    pub unknown: u8,
    /// Whether turns share what they saw, and whether they keep it for whoever comes later.
    pub shares: bool,
    pub keeps: bool,
    /// Whether gates refuse by what another gate has read back.
    pub crosses: bool,
}

/// One run of the search.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub mutant: Option<Mutant>,
    pub bounds: Bounds,
}

impl Rules {
    pub fn breaks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether anybody but the agents has a say.
    pub fn outsiders(&self) -> bool {
        self.bounds.edits > 0 || self.bounds.operator > 0
    }
}
