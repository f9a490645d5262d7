//! The record of who holds, as a port (manual: protocol).

use super::{BoxFuture, Creations, LedgerError, Membership, Note, OnceCommand};
use crate::admission::{LeaseStep, Step};
use crate::model::{GateId, ItemRecord, Place, Principal, ProjectLease, ResourceKey, Settled, Time};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// One step on one item, with what the audit is to say of it.
#[derive(Clone, Debug)]
pub struct Command {
    /// The item.
    pub key: ResourceKey,
    /// Where it is found; recorded if the item is new.
    pub locator: Place,
    /// The step.
    pub step: Step,
    /// What the audit line adds to what the record knows.
    pub note: Option<Box<Note>>,
    /// The time.
    pub now: Time,
}

/// A change of who is at work, apart from any item.
#[derive(Clone, Debug)]
pub struct LeaseCommand {
    /// The step.
    pub step: LeaseStep,
    /// The time.
    pub now: Time,
}

/// What one transaction is to do: all of it, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Steps on items, and the constraints that they rest on, in their order.
    pub items: Vec<Command>,
    /// Changes of who is at work.
    pub leases: Vec<LeaseCommand>,
    /// Steps on what may be created once.
    pub once: Vec<OnceCommand>,
}

impl Batch {
    /// Whether it does nothing but enter attempts (T1).
    pub fn is_entry(&self) -> bool {
        let opens = |command: &Command| matches!(command.step, Step::Open(_));
        self.items.iter().all(opens) && self.leases.is_empty() && self.once.is_empty()
    }
}

/// What a transaction has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The items' records after it, one a command.
    pub records: Vec<ItemRecord>,
    /// The leases that changed apart from any item, as they are then or were at their end.
    pub leases: Vec<ProjectLease>,
}

/// A held item, as a list of them goes on from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The holder's account.
    pub account: Principal,
    /// The item.
    pub key: ResourceKey,
}

impl Held {
    /// The item of a record, if it is held.
    pub fn of(record: &ItemRecord) -> Option<Self> {
        let account = record.holding.as_ref()?.actor.account.clone();
        Some(Self { account, key: record.key.clone() })
    }

    /// From where the list goes on after this page of so many at most. `None`: it was the last.
    pub fn after(page: &[ItemRecord], most: usize) -> Option<Self> {
        page.last().filter(|_| page.len() == most).and_then(Self::of)
    }
}

/// Up to which line the audit of each other gate was read.
pub type OtherLines = BTreeMap<GateId, u64>;

/// Audit lines of other gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesOfOthers {
    /// With their numbers, each gate's in order.
    pub lines: Vec<(u64, String)>,
    /// Up to where they lead.
    pub last: OtherLines,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Until it is on disk.
    Awaited,
    /// Not at all: it is on disk with the next group, and before its audit line is printed.
    NextGroup,
}

/// Up to when lines were taken out of the ledger after they were printed; `None`: none were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Refusals.
    pub refusals: Option<Time>,
    /// All others, too.
    pub all: Option<Time>,
}

impl std::fmt::Display for Pruned {
    /// What somebody who asks for a history should know; nothing where the ledger has all of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use super::audit::rfc3339;
        match (self.refusals.filter(|at| self.all.is_none_or(|all| all < *at)), self.all) {
            (None, None) => Ok(()),
            (None, Some(all)) => write!(f, "lines until {} are in the audit only", rfc3339(all)),
            (Some(at), None) => write!(f, "refusals until {} are in the audit only", rfc3339(at)),
            (Some(at), Some(all)) => {
                write!(f, "refusals until {}, and all lines until {}, are in the audit only", rfc3339(at), rfc3339(all))
            }
        }
    }
}

/// The ledger. All that changes it goes through [`transact`](Self::transact): every implementation loads the rows that the
/// batch needs, runs the same pure transaction over them, writes what became of them where they are still as they were
/// loaded, and commits. All pass the same contract suite.
pub trait Ledger: Creations + Membership + Send + Sync + 'static {
    /// Carries a batch out, all or nothing.
    fn transact(&self, batch: Batch, durability: Durability) -> BoxFuture<'_, Result<Committed, LedgerError>>;
    /// Carries steps on items out and returns the records as they are after it, one a command.
    fn commit(
        &self,
        commands: Vec<Command>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        let done = self.transact(Batch { items: commands, ..Batch::default() }, durability);
        Box::pin(async move { Ok(done.await?.records) })
    }
    /// Carries steps on what may be created once out; durable when it returns.
    fn commit_once(&self, commands: Vec<OnceCommand>) -> BoxFuture<'_, Result<(), LedgerError>> {
        let done = self.transact(Batch { once: commands, ..Batch::default() }, Durability::Awaited);
        Box::pin(async move { done.await.map(drop) })
    }
    /// Changes who is at work, apart from any item. Returns the leases that changed, as they are then or were at their end.
    fn change_lease(&self, step: LeaseStep, now: Time) -> BoxFuture<'_, Result<Vec<ProjectLease>, LedgerError>> {
        let batch = Batch { leases: vec![LeaseCommand { step, now }], ..Batch::default() };
        let done = self.transact(batch, Durability::Awaited);
        Box::pin(async move { Ok(done.await?.leases) })
    }
    /// Records a decision that never became an attempt. Never waits.
    fn record(&self, note: Note, now: Time);
    /// One item, if the ledger has ever seen it.
    fn item(&self, key: &ResourceKey) -> BoxFuture<'_, Result<Option<ItemRecord>, LedgerError>>;
    /// Every item that is held or in doubt.
    fn active(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>>;
    /// Every item in doubt.
    fn doubtful(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>>;
    /// The first held items after this one, in an order of the ledger's own: by holder's account, then by key.
    fn held_after(&self, last: Option<Held>, limit: usize) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>>;
    /// Every item that the account holds, and every one that a write which is sent or in doubt may make it hold; others
    /// may be among them.
    fn of_account(&self, account: &Principal) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>>;
    /// Who is at work by the singleton rules, those included who have been idle for too long.
    fn leases(&self) -> BoxFuture<'_, Result<Vec<ProjectLease>, LedgerError>>;
    /// The final attempts of an item, newest first.
    fn ended(&self, key: &ResourceKey, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>>;
    /// The same of what stands at this place; for people, who can wait.
    fn history(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>>;
    /// Audit lines after this sequence number, in order.
    fn lines(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<(u64, String)>, LedgerError>>;
    /// Audit lines that other gates which share the ledger have written after these; `None`: a few of the newest of each. An
    /// answer of `None`: there are none.
    fn lines_of_others<'a>(
        &'a self,
        _after: Option<&'a OtherLines>,
        _limit: usize,
    ) -> BoxFuture<'a, Result<Option<LinesOfOthers>, LedgerError>> {
        // For a ledger that nobody shares.
        Box::pin(async { Ok(None) })
    }
    /// Audit lines about an item, newest first, whatever it was called when they were written. Looks through all lines.
    fn lines_about(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<String>, LedgerError>>;
    /// The sequence number of the newest durable audit line; changes as lines are added.
    fn newest_line(&self) -> watch::Receiver<u64>;
    /// The last line that was printed, as `mark_printed` recorded it.
    fn printed(&self) -> BoxFuture<'_, Result<u64, LedgerError>>;
    /// Remembers how far the audit was printed.
    fn mark_printed(&self, seq: u64) -> BoxFuture<'_, Result<(), LedgerError>>;
    /// Waits until all that was recorded before is durable, and `newest_line` counts it.
    fn flushed(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        // For a ledger that records at once.
        Box::pin(async { Ok(()) })
    }
    /// Which lines are in the audit only, since they were printed long enough ago.
    fn pruned(&self) -> BoxFuture<'_, Result<Pruned, LedgerError>> {
        // For a ledger that keeps them all.
        Box::pin(async { Ok(Pruned::default()) })
    }
    /// How much of a disk the ledger takes, bytes; `None` where it takes none.
    fn bytes(&self) -> Option<u64> {
        None
    }
    /// Writes something that changes nothing, and waits until it is on disk: whether guarded writes can be served.
    fn probe(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        // For a ledger that is never full.
        Box::pin(async { Ok(()) })
    }
}
