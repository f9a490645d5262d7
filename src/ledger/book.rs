//! Item records under change, whatever keeps them.
//!
//! A `Book` runs batches of steps, all or nothing, and says what there is to
//! store: records, final attempts, audit lines. `undo` takes back everything
//! since the last `keep`, for a store whose commit failed.

use crate::admission::{self, Event, Stamp, Step};
use crate::effect::{Command, Decision, LedgerError, Line, Note};
use crate::model::{
    Attempt, AttemptId, AttemptState, Epoch, Fingerprint, GateId, ItemRecord, ResourceKey, Settled, Time,
};
use std::collections::HashMap;
use std::time::Duration;

/// Records known so far; one that is missing is loaded.
#[derive(Debug)]
pub(super) struct Book {
    records: HashMap<ResourceKey, ItemRecord>,
    before: Vec<(ResourceKey, Option<ItemRecord>)>,
    pub(super) gate: GateId,
    pub(super) epoch: Epoch,
    zombie_period: Duration,
}

/// What a batch changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The records after each command.
    pub(super) records: Vec<ItemRecord>,
    /// Those of them of which more changed than the live attempt.
    pub(super) items: Vec<ItemRecord>,
    /// Attempts that are now SENDING or in DOUBT.
    pub(super) unsettled: Vec<Attempt>,
    /// Attempts that became final.
    pub(super) settled: Vec<Settled>,
    /// Audit lines.
    pub(super) lines: Vec<Line>,
    /// Whether anything but an OPEN attempt changed.
    pub(super) stored: bool,
}

/// Where a record comes from that the book does not have.
pub(super) type Load<'a> = &'a mut dyn FnMut(&ResourceKey) -> Result<Option<ItemRecord>, LedgerError>;

/// Records kept in the book before idle ones are dropped; they can be loaded again.
const MOST_RECORDS: usize = 50_000;

// === impl Book ===

impl Book {
    pub(super) fn new(gate: GateId, epoch: Epoch, zombie_period: Duration) -> Self {
        Self { records: HashMap::new(), before: Vec::new(), gate, epoch, zombie_period }
    }

    /// Runs a batch; nothing has changed if it is refused.
    pub(super) fn run(&mut self, commands: &[Command], load: Load<'_>) -> Result<Changes, LedgerError> {
        let mark = self.before.len();
        let mut changes = Changes::default();
        for command in commands {
            if let Err(error) = self.step(command, load, &mut changes) {
                self.take_back(mark);
                return Err(error);
            }
        }
        if !changes.stored {
            // An OPEN attempt is nowhere but here: there is nothing to take back should a group fail.
            self.before.truncate(mark);
        }
        Ok(changes)
    }

    fn step(&mut self, command: &Command, load: Load<'_>, changes: &mut Changes) -> Result<(), LedgerError> {
        let known = self.get(&command.key, load)?;
        let before = known.clone();
        let mut record = known.unwrap_or_else(|| ItemRecord::new(command.key.clone(), command.locator.clone()));
        let stamp =
            Stamp { gate: self.gate.clone(), epoch: self.epoch, now: command.now, zombie_period: self.zombie_period };
        let applied = admission::apply(&mut record, &command.step, &stamp)?;
        let sending = record.live.iter().filter(|attempt| attempt.state == AttemptState::Sending);
        changes.unsettled.extend(sending.cloned());
        for (event, attempt) in applied.events {
            changes.unsettled.extend(attempt.iter().filter(|attempt| attempt.state == AttemptState::Doubt).cloned());
            changes.lines.push(line(&event, attempt.as_ref(), command, &record, &self.gate));
        }
        changes.settled.extend(applied.settled);
        let stored = !matches!(command.step, Step::Open(_));
        if stored && !is_row_enough(before.as_ref(), &record, &command.step) {
            changes.items.push(record.clone());
        }
        changes.stored |= stored;
        changes.records.push(record.clone());
        self.before.push((command.key.clone(), before));
        self.records.insert(command.key.clone(), record);
        Ok(())
    }

    /// A record, loaded if need be.
    pub(super) fn get(&mut self, key: &ResourceKey, load: Load<'_>) -> Result<Option<ItemRecord>, LedgerError> {
        if let Some(record) = self.records.get(key) {
            return Ok(Some(record.clone()));
        }
        let loaded = load(key)?;
        if let Some(record) = &loaded {
            self.records.insert(key.clone(), record.clone());
        }
        Ok(loaded)
    }

    /// Every record in the book.
    pub(super) fn all(&self) -> impl Iterator<Item = &ItemRecord> {
        self.records.values()
    }

    /// What was run since the last `keep` is stored.
    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    /// What was run since the last `keep` could not be stored. An attempt that was opened beside it, and answered, stays:
    /// whoever came after an answered step found the item without that step's attempt.
    pub(super) fn undo(&mut self) {
        let of_group = |key: &ResourceKey| self.records.get(key)?.live.clone();
        let live: Vec<Attempt> = self.before.iter().filter_map(|(key, _)| of_group(key)).collect();
        self.take_back(0);
        for attempt in live.into_iter().filter(|attempt| attempt.state == AttemptState::Open) {
            let new = || ItemRecord::new(attempt.key.clone(), attempt.locator.clone());
            let record = self.records.entry(attempt.key.clone()).or_insert_with(new);
            record.live = Some(attempt);
        }
    }

    /// Forgets an attempt that was never sent, whatever became of its row.
    pub(super) fn close(&mut self, key: &ResourceKey, attempt: &AttemptId) {
        if let Some(record) = self.records.get_mut(key) {
            record.live.take_if(|live| live.id == *attempt);
        }
    }

    /// Drops records that nothing is going on with, when there are many. For books whose records can be loaded again.
    pub(super) fn shrink(&mut self) {
        if self.records.len() > MOST_RECORDS {
            self.records.retain(|_, record| record.live.is_some());
        }
    }

    fn take_back(&mut self, mark: usize) {
        for (key, record) in self.before.drain(mark..).rev() {
            match record {
                Some(record) => self.records.insert(key, record),
                None => self.records.remove(&key),
            };
        }
    }
}

fn line(event: &Event, attempt: Option<&Attempt>, command: &Command, record: &ItemRecord, gate: &GateId) -> Line {
    let mut note = command.note.as_deref().cloned().unwrap_or_else(|| Note::of_gate(String::new(), None));
    let (kind, result) = name(event);
    // Nobody noted what was decided: what never was sent was refused.
    if command.note.is_none() && matches!(result, Some(AttemptState::Rejected | AttemptState::Aborted)) {
        note.decision = Decision::Reject;
    }
    if let Some(attempt) = attempt {
        attempt.id.as_str().clone_into(&mut note.id);
        note.change = attempt.change.to_string();
        note.agent = Some((attempt.actor.clone(), attempt.credential.clone()));
    }
    match event {
        Event::Revoked { holder, cause } => {
            note.agent = Some((holder.clone(), Fingerprint::new("")));
            note.reason = Some((*cause).to_owned());
        }
        Event::Released { holder: Some(holder) } | Event::Rebound { from: holder } => {
            note.agent = Some((holder.clone(), Fingerprint::new("")));
        }
        _ => {}
    }
    note.resource = Some(record.locator.clone());
    note.resource_id = Some(record.key.clone());
    Line {
        time: command.now,
        kind,
        id: note.id.clone(),
        intent: attempt.and_then(|attempt| attempt.kind),
        result: result.map(AttemptState::as_str),
        fence: Some(record.fence),
        holder: record.holding.as_ref().map(|holding| holding.actor.clone()),
        parked: record.holding.as_ref().map(|holding| holding.parked),
        holding_since: record.holding.as_ref().map(|holding| holding.since),
        note,
        gate: gate.as_str().to_owned(),
    }
}

/// Whether what is stored of the item needs no change: only its live attempt does, which has a row of its own. An item
/// that is new is told by that row as long as it is live.
fn is_row_enough(before: Option<&ItemRecord>, after: &ItemRecord, step: &Step) -> bool {
    let untouched = before.is_some_and(|before| same_but_live(before, after));
    untouched && (after.fence.0 > 0 || matches!(step, Step::Send { .. }))
}

fn same_but_live(one: &ItemRecord, other: &ItemRecord) -> bool {
    one.fence == other.fence
        && one.contested == other.contested
        && one.holding == other.holding
        && one.locator == other.locator
        && one.doubts == other.doubts
        && one.doubt_until == other.doubt_until
        && one.masks == other.masks
        && one.stray == other.stray
}

/// The line of a decision that never became an attempt, or of the operator's word.
pub(super) fn bare_line(note: Note, now: Time, gate: &GateId) -> Line {
    Line {
        time: now,
        kind: if note.operator { "operator" } else { "decision" },
        id: note.id.clone(),
        intent: None,
        result: (note.decision == Decision::Reject).then_some(AttemptState::Rejected.as_str()),
        fence: None,
        holder: None,
        parked: None,
        holding_since: None,
        note,
        gate: gate.as_str().to_owned(),
    }
}

fn name(event: &Event) -> (&'static str, Option<AttemptState>) {
    match event {
        Event::Decision(state) => ("decision", Some(*state)),
        Event::Revoked { .. } => ("revoked", None),
        Event::Contested => ("contested", None),
        Event::Resolved(AttemptState::Landed) => ("landed", Some(AttemptState::Landed)),
        Event::Resolved(state) => ("not_landed", Some(*state)),
        Event::Recovered(state) => ("recovered", Some(*state)),
        Event::Released { .. } => ("operator", None),
        Event::Rebound { .. } => ("rebound", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Step;
    use crate::model::{Account, Actor, Change, Locator, Login, Ownership, Time};

    fn attempt(id: &str) -> Attempt {
        Attempt {
            id: AttemptId::new(id),
            key: ResourceKey::new("1"),
            locator: Locator::new("a", "b", 1),
            actor: Actor { account: Account::Named(Login::new("dev")), instance: None },
            credential: Fingerprint::new(""),
            change: Change::default(),
            goal: None,
            kind: None,
            ownership: Ownership::Keep,
            state: AttemptState::Open,
            gate: GateId::new("gate"),
            epoch: Epoch(1),
            opened: Time(0),
        }
    }

    fn run(book: &mut Book, step: Step) -> Result<Changes, LedgerError> {
        let (key, locator) = (ResourceKey::new("1"), Locator::new("a", "b", 1));
        book.run(&[Command { key, locator, step, note: None, now: Time(0) }], &mut |_| Ok(None))
    }

    /// The next attempt is answered while the refusal before it waits for its group. It is open still when that fails.
    #[test]
    fn an_open_attempt_outlives_a_group_that_failed() {
        let mut book = Book::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        run(&mut book, Step::Open(attempt("one"))).unwrap();
        run(&mut book, Step::Reject(AttemptId::new("one"))).unwrap();
        run(&mut book, Step::Open(attempt("two"))).unwrap();
        book.undo();
        book.close(&ResourceKey::new("1"), &AttemptId::new("one"));
        let live = book.all().next().unwrap().live.clone();
        assert_eq!(live.map(|live| live.id), Some(AttemptId::new("two")));
    }
}
