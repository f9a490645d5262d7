//! What the model knows at one instant: the tracker, the item's row, the requests under way, and what agents believe.

use super::rules::Bounds;

/// Who holds or is assigned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    #[default]
    Nobody,
    Ann,
    Bob,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Claim,
    Release,
}

/// A write, as the ledger remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Write {
    pub id: u8,
    pub agent: Who,
    pub kind: Kind,
    /// The target showed before it was sent.
    pub already: bool,
}

/// The live attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Live {
    pub write: Write,
    pub sending: bool,
    /// The row's `rev` as T2 left it.
    pub sent_at: u8,
    pub gate: usize,
    /// Its gate's life is over, or was declared over.
    pub fallen: bool,
}

/// The item's row in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    pub holder: Who,
    /// Which attempt made that holding.
    pub made_by: u8,
    pub version: u8,
    /// Counts every change of the row, where the run looks at it.
    pub rev: u8,
    /// The `rev` at which the write became SENDING whose end made this row.
    pub seen_from: u8,
    pub shown: Who,
    pub contested: bool,
    pub live: Option<Live>,
    pub doubts: [Option<Write>; 3],
    /// Values that a write of the gates' own may still bring about: one bit each.
    pub masks: u8,
}

/// Where a request is in its walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    Queued,
    /// It has found another's attempt, and waits.
    Waiting,
    /// The answer to its T1 is lost; true: it was carried out, false: it is on its way still.
    UnsureOpen(bool),
    Opened,
    Read,
    Sending,
    Sent,
    Answered,
    ReadBack,
    /// The answer to its T3 is lost.
    UnsureSettled(bool),
}

/// The item as the row told it at T1, or at an edit since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Judged {
    pub holder: Who,
    pub version: u8,
    pub shown: Who,
    pub contested: bool,
    pub masks: u8,
    pub in_doubt: bool,
}

/// A request under way at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    pub write: Write,
    pub gate: usize,
    pub phase: Phase,
    /// Its client has hung up.
    pub gone: bool,
    /// Its gate was declared fallen while it ran.
    pub fenced: bool,
    pub judged: Judged,
    pub seen: Who,
    /// What the read-back showed.
    pub back: Who,
    /// What was read before T1; for mutants.
    pub early: Option<Who>,
    /// The attempt whose read began after this request came, at the same gate.
    pub covered_by: u8,
    /// What that read has shown, and the holder that it was judged by.
    pub shared: Option<(Who, Who)>,
    /// The row's `rev` as it was after this request came.
    pub polled: Option<u8>,
    /// Whom the tracker has shown since it came: one bit each.
    pub showed: u8,
}

/// Who ends doubts: its read, and what it knows from then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolver {
    pub seen: Who,
    pub doubts: [Option<Write>; 3],
    pub due: bool,
}

/// Which promise a state breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// P1: two agents believe that they hold it, and no recorded revocation lies between.
    TwoHolders,
    /// P2: somebody was told success, and the ledger does not say so.
    UnrecordedGrant,
    /// P3: at rest tracker and ledger differ.
    Differs,
    /// P6: a late write of the gates' own was taken for an outside edit, where nobody is outside.
    MistakenZombie,
    /// P7: an attempt that nobody will ever end.
    Stuck,
    /// P9: an abandoned release ended a later claim.
    StruckByAbandoned,
    /// P10: doubts of two agents, or of two values.
    MixedDoubts,
    /// P11: a refusal that was true at no instant since its request came.
    UntrueRefusal,
}

/// Everything at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub tracker: Who,
    pub row: Row,
    pub requests: [Option<Request>; 3],
    /// Writes that have left and not landed: by the attempt's id less one.
    pub flying: [Option<Who>; 6],
    pub resolver: Option<Resolver>,
    /// A takeover that has read what it will write; for mutants.
    pub thief: Option<Live>,
    /// What the last turn of a gate has shown; for mutants.
    pub kept: [Option<(Who, Who)>; 2],
    /// Whether Ann and Bob believe to hold it.
    pub believes: [bool; 2],
    pub next_id: u8,
    /// What may still happen.
    pub left: Bounds,
    pub broken: Option<Broken>,
}

impl Who {
    pub fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Write {
    /// What the tracker shows once it has landed.
    pub fn goal(self) -> Who {
        match self.kind {
            Kind::Claim => self.agent,
            Kind::Release => Who::Nobody,
        }
    }
}

impl Row {
    /// The same agent wants the same as every write in doubt.
    pub fn admits(&self, write: Write) -> bool {
        self.doubts.iter().flatten().all(|doubt| (doubt.agent, doubt.kind) == (write.agent, write.kind))
    }

    pub fn in_doubt(&self) -> bool {
        self.doubts.iter().any(Option::is_some)
    }

    pub fn judged(&self) -> Judged {
        let Self { holder, version, shown, contested, masks, .. } = *self;
        Judged { holder, version, shown, contested, masks, in_doubt: self.in_doubt() }
    }

    /// From now on this one holds it, or nobody.
    pub fn own(&mut self, holder: Who, by: u8, shown: Who) {
        (self.holder, self.made_by, self.shown) = (holder, by, shown);
        self.version += 1;
        self.contested = false;
    }

    pub fn doubt(&mut self, write: Write) {
        if let Some(free) = self.doubts.iter_mut().find(|doubt| doubt.is_none()) {
            *free = Some(write);
        }
    }
}

impl State {
    pub fn new(left: Bounds) -> Self {
        Self {
            tracker: Who::Nobody,
            row: Row::default(),
            requests: [None; 3],
            flying: [None; 6],
            resolver: None,
            thief: None,
            kept: [None; 2],
            believes: [false; 2],
            next_id: 1,
            left,
            broken: None,
        }
    }

    pub fn breaks(&mut self, what: Broken) {
        self.broken.get_or_insert(what);
    }

    pub fn believe(&mut self, agent: Who, believes: bool) {
        match agent {
            Who::Ann => self.believes[0] = believes,
            Who::Bob => self.believes[1] = believes,
            Who::Nobody => {}
        }
    }

    pub fn believing(&self, agent: Who) -> bool {
        match agent {
            Who::Ann => self.believes[0],
            Who::Bob => self.believes[1],
            Who::Nobody => false,
        }
    }

    /// The tracker shows this from now on.
    pub fn shows(&mut self, who: Who) {
        self.tracker = who;
        for request in self.requests.iter_mut().flatten() {
            request.showed |= who.bit();
        }
    }

    pub fn is_flying(&self, id: u8) -> bool {
        self.flying[usize::from(id) - 1].is_some()
    }

    /// What holds whatever happens next.
    pub fn check(&mut self) {
        if self.believes == [true, true] {
            self.breaks(Broken::TwoHolders);
        }
        let mut doubts = self.row.doubts.iter().flatten();
        if let Some(first) = doubts.next()
            && doubts.any(|other| (other.agent, other.kind) != (first.agent, first.kind))
        {
            self.breaks(Broken::MixedDoubts);
        }
    }

    /// What holds once nothing goes on by itself any more.
    pub fn check_at_rest(&mut self, outsiders: bool) {
        if self.row.live.is_some() {
            self.breaks(Broken::Stuck);
        } else if !outsiders && !self.row.in_doubt() && self.tracker != self.row.holder {
            self.breaks(Broken::Differs);
        }
    }
}
