//! The one transaction of every ledger.
//!
//! [`needs`] says which rows a batch reads, and [`transact`] what becomes of them, with the audit lines. Neither loads nor
//! stores anything: a ledger loads those rows, transacts, writes what changed where it is still as it was loaded (it holds
//! the file, or the rows' locks), and commits. It stands beside the ledgers and not in `admission`, since an audit line is
//! made of what the gate notes, and that is a port's.

use super::lines::{bare_line, line};
use crate::admission::once::{self, OnceStep};
use crate::admission::{
    self, AcquireLease, Bound, Constraint, ConstraintViolation, LeaseStep, Refused, Stamp, Step, renew,
};
use crate::effect::{Batch, Command, Committed, LedgerError, Line, Note, OnceCommand};
use crate::model::{
    Attempt, AttemptState, Epoch, Fingerprint, GateId, ItemRecord, OnceEntry, OnceKey, Ownership, Principal, Project,
    ProjectLease, ResourceKey, Settled, Standing, Time,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// A singleton rule and a project: there is one lease of them.
pub(super) type LeaseName = (String, Project);

/// The rows that a batch reads.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// These items.
    pub(super) items: BTreeSet<ResourceKey>,
    /// All items that [`concern`](concerns) these accounts.
    pub(super) accounts: Vec<Principal>,
    pub(super) leases: BTreeSet<LeaseName>,
    pub(super) once: BTreeSet<OnceKey>,
}

/// Rows as they were loaded. What is not here is not in the ledger.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) items: HashMap<ResourceKey, ItemRecord>,
    /// Of the accounts that are needed; others may be among them.
    pub(super) of_accounts: Vec<ItemRecord>,
    pub(super) leases: BTreeMap<LeaseName, ProjectLease>,
    pub(super) once: BTreeMap<OnceKey, OnceEntry>,
}

/// Who transacts.
#[derive(Clone, Debug)]
pub(super) struct Author {
    pub(super) gate: GateId,
    pub(super) epoch: Epoch,
    /// How long masks are kept.
    pub(super) zombie_period: Duration,
}

/// What a batch changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) committed: Committed,
    /// Every step that was carried out on an item.
    pub(super) steps: Vec<Stepped>,
    /// Attempts that are now SENDING or in DOUBT.
    pub(super) unsettled: Vec<Attempt>,
    /// Attempts that became final.
    pub(super) settled: Vec<Settled>,
    /// Audit lines.
    pub(super) lines: Vec<Line>,
    /// Who is at work now; none: nobody is any longer.
    pub(super) leases: BTreeMap<LeaseName, Option<ProjectLease>>,
    /// The entries of what may be created once; none: there is none any more.
    pub(super) once: BTreeMap<OnceKey, Option<OnceEntry>>,
}

/// One step on an item.
#[derive(Debug)]
pub(super) struct Stepped {
    pub(super) before: Option<ItemRecord>,
    pub(super) after: ItemRecord,
    pub(super) way: Way,
}

/// What a step does to the live attempt, as far as a ledger minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It enters one.
    Opens,
    /// It makes it SENDING.
    Sends,
    /// Something else.
    Other,
}

/// Which rows the batch reads.
pub(super) fn needs(batch: &Batch) -> Needs {
    let mut needs = Needs::default();
    for command in &batch.items {
        needs.items.insert(command.key.clone());
        match &command.step {
            Step::Check(Constraint::Within(bound)) if !needs.accounts.contains(&bound.actor.account) => {
                needs.accounts.push(bound.actor.account.clone());
            }
            Step::Check(Constraint::Alone(take)) => drop(needs.leases.insert(name_of(take))),
            _ => {}
        }
    }
    for command in &batch.leases {
        match &command.step {
            LeaseStep::Acquire(takes) => needs.leases.extend(takes.iter().map(name_of)),
            LeaseStep::Renew { rule, project, .. } | LeaseStep::End { rule, project, .. } => {
                needs.leases.insert((rule.clone(), project.clone()));
            }
        }
    }
    needs.once.extend(batch.once.iter().map(|command| command.key.clone()));
    needs
}

/// What becomes of the rows; refused: nothing does.
pub(super) fn transact(batch: &Batch, rows: Rows, author: &Author) -> Result<Changes, LedgerError> {
    let mut working = Working { rows, author, changes: Changes::default() };
    for command in &batch.items {
        working.item(command)?;
    }
    for command in &batch.leases {
        let changed = working.lease(&command.step, command.now)?;
        working.changes.committed.leases.extend(changed);
    }
    for command in &batch.once {
        working.once(command)?;
    }
    Ok(working.changes)
}

/// Whether the account holds the item, or a write that is sent or in doubt may make it hold it.
pub(super) fn concerns(record: &ItemRecord, account: &Principal) -> bool {
    let gives = |ownership: &Ownership| matches!(ownership, Ownership::Becomes(actor) if actor.account == *account);
    record.holding.as_ref().is_some_and(|held| held.actor.account == *account)
        || record.live.as_ref().is_some_and(|live| gives(&live.ownership))
        || record.doubts.iter().any(|doubt| gives(&doubt.ownership))
}

/// What a new life of a gate does first with what an older one of it had sent to be created once.
pub(super) fn recovery_once(
    keys: impl IntoIterator<Item = OnceKey>,
    (gate, before): (&GateId, Epoch),
    until: Time,
    now: Time,
) -> Vec<OnceCommand> {
    let step = OnceStep::Recover { gate: gate.clone(), before, until };
    let note = || Box::new(Note::of_gate(String::new(), None));
    keys.into_iter().map(|key| OnceCommand { key, step: step.clone(), note: note(), now }).collect()
}

/// Under which name a lease is kept.
pub(super) fn name(lease: &ProjectLease) -> LeaseName {
    (lease.rule.clone(), lease.project.clone())
}

fn name_of(take: &AcquireLease) -> LeaseName {
    (take.rule.clone(), take.project.clone())
}

/// The rows under change.
struct Working<'a> {
    rows: Rows,
    author: &'a Author,
    changes: Changes,
}

// === impl Working ===

impl Working<'_> {
    fn item(&mut self, command: &Command) -> Result<(), LedgerError> {
        let before = self.rows.items.get(&command.key).cloned();
        let new = || ItemRecord::new(command.key.clone(), command.locator.clone());
        let mut record = before.clone().unwrap_or_else(new);
        if let Step::Check(constraint) = &command.step {
            self.check(constraint, &record, command.now)?;
            self.changes.committed.records.push(record);
            return Ok(());
        }
        let Author { gate, epoch, zombie_period } = self.author.clone();
        let stamp = Stamp { gate, epoch, now: command.now, zombie_period };
        let applied = admission::apply(&mut record, &command.step, &stamp)?;
        if matches!(command.step, Step::Confirm { .. }) {
            self.changes.committed.records.push(record);
            return Ok(());
        }
        let changes = &mut self.changes;
        let is_doubt = |attempt: &&Attempt| attempt.state == AttemptState::Doubt;
        changes.unsettled.extend(record.live.iter().filter(|live| live.state == AttemptState::Sending).cloned());
        for (event, attempt) in applied.events {
            changes.unsettled.extend(attempt.iter().filter(is_doubt).cloned());
            changes.lines.push(line(&event, attempt.as_ref(), command, &record, &stamp.gate));
        }
        changes.settled.extend(applied.settled);
        changes.committed.records.push(record.clone());
        self.rows.items.insert(command.key.clone(), record.clone());
        changes.steps.push(Stepped { before, after: record, way: Way::of(&command.step) });
        Ok(())
    }

    /// Goes on only if the constraint holds.
    fn check(&mut self, constraint: &Constraint, item: &ItemRecord, now: Time) -> Result<(), LedgerError> {
        match constraint {
            Constraint::Alone(take) => self.take(take, now).map(drop),
            Constraint::Within(bound) => self.judge(bound, item, now),
        }
    }

    /// What this batch has changed counts as it is after it.
    fn judge(&self, bound: &Bound, item: &ItemRecord, now: Time) -> Result<(), LedgerError> {
        let stored = self.rows.of_accounts.iter().filter(|record| !self.rows.items.contains_key(&record.key));
        let excess = bound.judge(item, stored.chain(self.rows.items.values()), now);
        excess.map_err(|excess| Refused::Violated(Box::new(ConstraintViolation::Limit(*excess))).into())
    }

    /// The project is the agent's, or it is told whose it is.
    fn take(&mut self, take: &AcquireLease, now: Time) -> Result<ProjectLease, LedgerError> {
        let taken = take.over(self.rows.leases.get(&name_of(take)), now);
        let lease = taken.map_err(|lease| Refused::Violated(Box::new(ConstraintViolation::Singleton(*lease))))?;
        self.set(name_of(take), Some(lease.clone()));
        Ok(lease)
    }

    /// What the step changed, each with the lease as it is after it, or was before it ended.
    fn lease(&mut self, step: &LeaseStep, now: Time) -> Result<Vec<ProjectLease>, LedgerError> {
        match step {
            LeaseStep::Acquire(takes) => takes.iter().map(|take| self.take(take, now)).collect(),
            LeaseStep::Renew { rule, project, heard, idle } => {
                let name = (rule.clone(), project.clone());
                let Some(mut lease) = self.rows.leases.get(&name).cloned() else { return Ok(Vec::new()) };
                if heard.iter().filter(|heard| renew(&mut lease, heard, *idle)).count() == 0 {
                    return Ok(Vec::new());
                }
                self.set(name, Some(lease.clone()));
                Ok(vec![lease])
            }
            LeaseStep::End { rule, project, since, unheard_since } => {
                let name = (rule.clone(), project.clone());
                let is_meant = |lease: &&ProjectLease| {
                    lease.since == *since && unheard_since.is_none_or(|unheard| lease.seen <= unheard)
                };
                let ended = self.rows.leases.get(&name).filter(is_meant).cloned();
                if ended.is_some() {
                    self.set(name, None);
                }
                Ok(ended.into_iter().collect())
            }
        }
    }

    fn set(&mut self, name: LeaseName, lease: Option<ProjectLease>) {
        match &lease {
            Some(lease) => drop(self.rows.leases.insert(name.clone(), lease.clone())),
            None => drop(self.rows.leases.remove(&name)),
        }
        self.changes.leases.insert(name, lease);
    }

    fn once(&mut self, command: &OnceCommand) -> Result<(), LedgerError> {
        let before = self.rows.once.remove(&command.key);
        let mut after = before.clone();
        let said = once::apply(&mut after, &command.step, &self.author.gate, self.author.epoch)?;
        if let (Some(said), Some(entry)) = (said, after.as_ref().or(before.as_ref())) {
            self.changes.lines.push(once_line(said, entry, command, &self.author.gate));
        }
        self.rows.once.extend(after.clone().map(|entry| (command.key.clone(), entry)));
        self.changes.once.insert(command.key.clone(), after);
        Ok(())
    }
}

// === impl Changes ===

impl Changes {
    /// Whether anything but an OPEN attempt changed.
    pub(super) fn is_more_than_open(&self) -> bool {
        let steps = self.steps.iter().any(|step| step.way != Way::Opens);
        steps || !self.leases.is_empty() || !self.once.is_empty()
    }
}

// === impl Way ===

impl Way {
    fn of(step: &Step) -> Self {
        match step {
            Step::Open(_) => Self::Opens,
            Step::Send { .. } => Self::Sends,
            _ => Self::Other,
        }
    }
}

fn once_line(said: &str, entry: &OnceEntry, command: &OnceCommand, gate: &GateId) -> Line {
    let mut note = (*command.note).clone();
    let more = note.reason.take().map(|more| format!(" ({more})")).unwrap_or_default();
    let place = match &entry.standing {
        Standing::Made(made) => format!(", {}", made.url),
        Standing::Sent { .. } => String::new(),
    };
    entry.attempt.as_str().clone_into(&mut note.id);
    note.reason = Some(format!("{said}{place}{more}"));
    note.change = format!("once {}", entry.key);
    note.resource = Some(entry.about.clone());
    note.agent = Some((entry.actor.clone(), Fingerprint::new("")));
    Line { kind: "once", result: None, ..bare_line(note, command.now, gate) }
}
