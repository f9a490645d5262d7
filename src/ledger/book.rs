//! Item records under change, whatever keeps them.
//!
//! A `Book` runs batches of steps, all or nothing, and says what there is to
//! store: records, final attempts, audit lines. `undo` takes back everything
//! since the last `keep`, for a store whose commit failed.

use super::tenures::{Changed, TenureRow, Tenures};
use crate::admission::{self, Barred, Bound, Event, Refused, Stamp, Step, TenureStep, Term};
use crate::effect::{Command, Decision, LedgerError, Line, Note};
use crate::model::{
    Account, Attempt, AttemptId, AttemptState, Epoch, Fingerprint, GateId, ItemRecord, Locator, ResourceKey, Settled,
    Tenure, Time,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Records known so far; one that is missing is loaded.
#[derive(Debug)]
pub(super) struct Book {
    records: Records,
    before: Vec<(ResourceKey, Option<ItemRecord>)>,
    /// Attempts opened on items that the group had changed before: whoever opened one has been told.
    opened: Vec<Attempt>,
    /// Items that may stand at another place than the store says: an OPEN attempt tells where, and is not stored.
    moved: HashSet<ResourceKey>,
    pub(super) tenures: Tenures,
    pub(super) gate: GateId,
    pub(super) epoch: Epoch,
    zombie_period: Duration,
}

/// The records that are in memory.
#[derive(Debug)]
struct Records {
    by_key: HashMap<ResourceKey, ItemRecord>,
    /// Their keys, the oldest first; one that was dropped in between may stand here twice or for nothing.
    order: VecDeque<ResourceKey>,
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
    /// Who is at work now, or is no longer.
    pub(super) tenures: Vec<TenureRow>,
    /// Whether anything but an OPEN attempt changed.
    pub(super) stored: bool,
}

/// Where records come from that the book does not have.
pub(super) trait Load {
    /// One item.
    fn item(&self, key: &ResourceKey) -> Result<Option<ItemRecord>, LedgerError>;
    /// Every item that the account holds, and every one that a write which is sent or in doubt may make it hold; others
    /// may be among them.
    fn of_account(&self, account: &Account) -> Result<Vec<ItemRecord>, LedgerError>;
}

/// The store behind a book; `None`: the book has everything.
pub(super) type Behind<'a> = Option<&'a dyn Load>;

/// Records kept in the book before idle ones are dropped; they can be loaded again.
const MOST_RECORDS: usize = 10_000;
/// Most records that are looked at in one `shrink`: nobody waits for many of them. More than a group can add.
const MOST_SHRUNK: usize = 2_000;

// === impl Book ===

impl Book {
    pub(super) fn new(gate: GateId, epoch: Epoch, zombie_period: Duration) -> Self {
        Self {
            records: Records::new(),
            before: Vec::new(),
            opened: Vec::new(),
            moved: HashSet::new(),
            tenures: Tenures::default(),
            gate,
            epoch,
            zombie_period,
        }
    }

    /// From now on it writes as this gate and epoch. Returns as which it wrote before.
    pub(super) fn write_as(&mut self, (gate, epoch): (GateId, Epoch)) -> (GateId, Epoch) {
        (std::mem::replace(&mut self.gate, gate), std::mem::replace(&mut self.epoch, epoch))
    }

    /// Runs a batch; nothing has changed if it is refused.
    pub(super) fn run(&mut self, commands: &[Command], load: Behind<'_>) -> Result<Changes, LedgerError> {
        let mark = (self.before.len(), self.tenures.mark());
        let mut changes = Changes::default();
        for command in commands {
            if let Err(error) = self.step(command, load, mark.0, &mut changes) {
                self.take_back(mark.0);
                self.tenures.take_back(mark.1);
                return Err(error);
            }
        }
        if !changes.stored {
            // An OPEN attempt is nowhere but here: there is nothing to take back should a group fail.
            let opened = self.before.split_off(mark.0);
            for (key, _) in opened {
                let in_group = self.before.iter().any(|(other, _)| *other == key);
                let live = self.records.by_key.get(&key).filter(|_| in_group).and_then(|record| record.live.clone());
                self.opened.extend(live);
            }
        }
        Ok(changes)
    }

    fn step(
        &mut self,
        command: &Command,
        load: Behind<'_>,
        batch: usize,
        changes: &mut Changes,
    ) -> Result<(), LedgerError> {
        let known = self.get(&command.key, load)?;
        let before = known.clone();
        let mut record = known.unwrap_or_else(|| ItemRecord::new(command.key.clone(), command.locator.clone()));
        if let Step::Require(term) = &command.step {
            changes.tenures.extend(self.require(term, &record, command.now, load, batch)?);
            changes.records.push(record);
            return Ok(());
        }
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
        if !stored && before.as_ref().is_some_and(|before| before.locator != record.locator) {
            self.moved.insert(command.key.clone());
        }
        if stored && (self.moved.remove(&command.key) || !is_row_enough(before.as_ref(), &record, &command.step)) {
            changes.items.push(record.clone());
        }
        changes.stored |= stored;
        changes.records.push(record.clone());
        self.before.push((command.key.clone(), before));
        self.records.put(command.key.clone(), record);
        Ok(())
    }

    /// Whether the term holds; `batch` is where this batch's changes begin.
    fn require(
        &mut self,
        term: &Term,
        item: &ItemRecord,
        now: Time,
        load: Behind<'_>,
        batch: usize,
    ) -> Result<Option<TenureRow>, LedgerError> {
        let barred = match term {
            Term::Alone(take) => match self.tenures.take(take, now) {
                Ok((row, _)) => return Ok(Some(row)),
                Err(tenure) => Barred::Singleton(*tenure),
            },
            Term::Within(bound) => match self.judge(bound, item, now, load, batch)? {
                Ok(()) => return Ok(None),
                Err(excess) => Barred::Limit(*excess),
            },
        };
        Err(Refused::Barred(Box::new(barred)).into())
    }

    fn judge(
        &self,
        bound: &Bound,
        item: &ItemRecord,
        now: Time,
        load: Behind<'_>,
        batch: usize,
    ) -> Result<Result<(), Box<admission::Excess>>, LedgerError> {
        let Some(load) = load else { return Ok(bound.judge(item, self.records.by_key.values(), now)) };
        // Rows are as new as the book but for this batch, which is not stored yet.
        let loaded = load.of_account(&bound.actor.account)?;
        let touched: BTreeMap<_, _> =
            self.before[batch..].iter().filter_map(|(key, _)| Some((key, self.records.by_key.get(key)?))).collect();
        let stored = loaded.iter().filter(|record| !touched.contains_key(&record.key));
        Ok(bound.judge(item, stored.chain(touched.values().copied()), now))
    }

    /// Changes who is at work, apart from any item.
    pub(super) fn change_tenure(&mut self, step: &TenureStep, now: Time) -> Result<Vec<Changed>, LedgerError> {
        let barred = |tenure: Box<Tenure>| Refused::Barred(Box::new(Barred::Singleton(*tenure)));
        Ok(self.tenures.step(step, now).map_err(barred)?)
    }

    /// A record, loaded if need be.
    pub(super) fn get(&mut self, key: &ResourceKey, load: Behind<'_>) -> Result<Option<ItemRecord>, LedgerError> {
        if let Some(record) = self.records.by_key.get(key) {
            return Ok(Some(record.clone()));
        }
        let loaded = load.map_or(Ok(None), |load| load.item(key))?;
        if let Some(record) = &loaded {
            self.records.put(key.clone(), record.clone());
        }
        Ok(loaded)
    }

    /// The attempt is under way again. For a store with a planted flaw.
    pub(super) fn revive(&mut self, attempt: Attempt) {
        if let Some(record) = self.records.by_key.get_mut(&attempt.key) {
            record.live.get_or_insert(attempt);
        }
    }

    /// Every record in the book.
    pub(super) fn all(&self) -> impl Iterator<Item = &ItemRecord> {
        self.records.by_key.values()
    }

    /// What was run since the last `keep` is stored.
    pub(super) fn keep(&mut self) {
        self.before.clear();
        self.opened.clear();
        self.tenures.keep();
    }

    /// What was run since the last `keep` could not be stored. An attempt that was opened beside it, and answered, is OPEN
    /// again, whatever the group made of it: whoever opened it has yet to end it.
    pub(super) fn undo(&mut self) {
        self.take_back(0);
        self.tenures.take_back(0);
        for attempt in std::mem::take(&mut self.opened) {
            let new = || ItemRecord::new(attempt.key.clone(), attempt.locator.clone());
            let record = self.records.by_key.remove(&attempt.key).unwrap_or_else(new);
            // The end of the one before it was in the group: that one is sent, and has yet to end. This one was not.
            let live = record.live.clone().filter(|before| before.state == AttemptState::Sending).unwrap_or(attempt);
            self.records.put(record.key.clone(), ItemRecord { live: Some(live), ..record });
        }
    }

    /// Forgets an attempt that was never sent, whatever became of its row.
    pub(super) fn close(&mut self, key: &ResourceKey, attempt: &AttemptId) {
        if let Some(record) = self.records.by_key.get_mut(key) {
            record.live.take_if(|live| live.id == *attempt);
        }
    }

    /// Drops the oldest records that nothing is going on with, when there are many. For books whose records can be loaded
    /// again.
    pub(super) fn shrink(&mut self) {
        self.records.shrink();
    }

    fn take_back(&mut self, mark: usize) {
        for (key, record) in self.before.drain(mark..).rev() {
            // Whether its place was among what is not stored now is not kept: it is stored with the next step.
            self.moved.insert(key.clone());
            match record {
                Some(record) => self.records.put(key, record),
                None => drop(self.records.by_key.remove(&key)),
            }
        }
    }
}

// === impl Records ===

impl Records {
    fn new() -> Self {
        // Room for all of them at once: a table that moves while it grows would make every claim wait.
        Self { by_key: HashMap::with_capacity(MOST_RECORDS + MOST_SHRUNK), order: VecDeque::new() }
    }

    fn put(&mut self, key: ResourceKey, record: ItemRecord) {
        if self.by_key.insert(key.clone(), record).is_none() {
            self.order.push_back(key);
        }
    }

    fn shrink(&mut self) {
        for _ in 0..MOST_SHRUNK {
            if self.order.len() <= MOST_RECORDS {
                return;
            }
            let Some(key) = self.order.pop_front() else { return };
            if self.by_key.get(&key).is_some_and(|record| record.live.is_some()) {
                self.order.push_back(key);
            } else {
                self.by_key.remove(&key);
            }
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
        Event::Finished { holder, cause, .. } | Event::TakenOver { holder, cause, .. } => {
            note.agent = Some((holder.clone(), Fingerprint::new("")));
            note.reason = Some(cause.clone());
        }
        Event::Released { holder: Some(holder) } | Event::Rebound { from: holder } => {
            note.agent = Some((holder.clone(), Fingerprint::new("")));
        }
        _ => {}
    }
    note.resource = Some(record.locator.clone());
    note.resource_id = Some(record.key.clone());
    let (fence, held) = match event {
        Event::Resolved { stood: Some(stood), .. } => (stood.0, stood.1.as_ref()),
        Event::TakenOver { fence, .. } => (*fence, None),
        _ => (record.fence, record.holding.as_ref()),
    };
    Line {
        time: command.now,
        kind,
        id: note.id.clone(),
        intent: attempt.and_then(|attempt| attempt.kind),
        result: result.map(AttemptState::as_str),
        fence: Some(fence),
        holder: held.map(|holding| holding.actor.clone()),
        parked: held.map(|holding| holding.parked),
        holding_since: held.map(|holding| holding.since),
        note,
        gate: gate.as_str().to_owned(),
    }
    .bounded()
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
        && one.reassigned == other.reassigned
        && one.lost == other.lost
}

/// The line of a decision that never became an attempt, of the operator's word, or of an edit's author.
pub(super) fn bare_line(mut note: Note, now: Time, gate: &GateId) -> Line {
    let (fence, held) = note.stood.take().map_or((None, None), |stood| (Some(stood.0), stood.1));
    Line {
        time: now,
        kind: note.subject.as_str(),
        id: note.id.clone(),
        intent: None,
        result: (note.decision == Decision::Reject).then_some(AttemptState::Rejected.as_str()),
        fence,
        holder: held.as_ref().map(|held| held.actor.clone()),
        parked: held.as_ref().map(|held| held.parked),
        holding_since: held.as_ref().map(|held| held.since),
        note,
        gate: gate.as_str().to_owned(),
    }
    .bounded()
}

/// How an audit line says which item it is about: by its place, and by its key if that is known.
pub(super) fn marks(locator: &Locator, key: Option<&ResourceKey>) -> [String; 2] {
    let of_place = format!("\"resource\":{}", Value::from(locator.to_string()));
    let of_key = key.map(|key| format!("\"resource_id\":{}", Value::from(key.as_str())));
    [of_place.clone(), of_key.unwrap_or(of_place)]
}

fn name(event: &Event) -> (&'static str, Option<AttemptState>) {
    match event {
        Event::Decision(state) => ("decision", Some(*state)),
        Event::Revoked { .. } => ("revoked", None),
        Event::Contested => ("contested", None),
        Event::Resolved { state: AttemptState::Landed, .. } => ("landed", Some(AttemptState::Landed)),
        Event::Resolved { state, .. } => ("not_landed", Some(*state)),
        Event::Recovered(state) => ("recovered", Some(*state)),
        Event::Released { .. } => ("operator", None),
        Event::Finished { gone: false, .. } => ("finished", None),
        Event::Finished { gone: true, .. } => ("gone", None),
        Event::TakenOver { .. } => ("taken_over", None),
        Event::Rebound { .. } => ("rebound", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Outcome, Plan, Step};
    use crate::model::{Account, Actor, Change, Goal, Kind, Locator, Login, OpenState, Ownership, Shown, Time};
    use std::collections::BTreeSet;

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
        book.run(&[Command { key, locator, step, note: None, now: Time(0) }], None)
    }

    /// What is under way stays in memory however old it is; of the rest only the newest do.
    #[test]
    fn the_oldest_idle_records_are_dropped() {
        let mut book = Book::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        run(&mut book, Step::Open(attempt("one"))).unwrap();
        for number in 0..MOST_RECORDS + MOST_SHRUNK {
            let key = ResourceKey::new(&format!("later {number}"));
            book.records.put(key.clone(), ItemRecord::new(key, Locator::new("a", "b", 2)));
            if number % 500 == 0 {
                book.shrink();
            }
        }
        book.shrink();
        assert!(book.all().count() <= MOST_RECORDS, "{}", book.all().count());
        assert!(book.get(&ResourceKey::new("1"), None).unwrap().unwrap().live.is_some());
        assert!(book.get(&ResourceKey::new("later 0"), None).unwrap().is_none());
        let last = format!("later {}", MOST_RECORDS + MOST_SHRUNK - 1);
        assert!(book.get(&ResourceKey::new(&last), None).unwrap().is_some());
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

    /// The next attempt is answered while the end of a sent one waits for its group. That one is sent still.
    #[test]
    fn a_sent_attempt_outlives_a_group_that_failed() {
        let mut book = Book::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        let plan = Plan { kind: Kind::Move, goal: Goal::default(), ownership: Ownership::Keep, heard: None };
        run(&mut book, Step::Open(attempt("one"))).unwrap();
        run(&mut book, Step::Send { attempt: AttemptId::new("one"), plan }).unwrap();
        book.keep();
        let settle = || {
            let shown = Shown { assignees: BTreeSet::new(), statuses: BTreeSet::new(), state: OpenState::Open };
            Step::Settle { attempt: AttemptId::new("one"), outcome: Outcome::Refused { shown }, doubt_until: Time(1) }
        };
        run(&mut book, settle()).unwrap();
        run(&mut book, Step::Open(attempt("two"))).unwrap();
        book.undo();
        assert_eq!(book.all().next().unwrap().live.as_ref().map(|live| live.state), Some(AttemptState::Sending));
        run(&mut book, settle()).unwrap();
    }

    /// The item's group is written for another step, and fails with the T2 of an attempt that was opened beside it.
    #[test]
    fn an_attempt_whose_send_was_in_a_group_that_failed_is_open_again() {
        let mut book = Book::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        let actor = Actor { account: Account::Named(Login::new("dev")), instance: None };
        run(&mut book, Step::Renew { actor, at: Time(0) }).unwrap();
        run(&mut book, Step::Open(attempt("one"))).unwrap();
        let plan = Plan { kind: Kind::Move, goal: Goal::default(), ownership: Ownership::Keep, heard: None };
        run(&mut book, Step::Send { attempt: AttemptId::new("one"), plan }).unwrap();
        book.undo();
        let changes = run(&mut book, Step::Abort(AttemptId::new("one"))).unwrap();
        assert_eq!(changes.lines.len(), 1);
    }

    /// It was opened and granted in one step: nobody knows of it who could end it.
    #[test]
    fn an_attempt_that_was_opened_within_a_group_that_failed_is_gone() {
        let mut book = Book::new(GateId::new("gate"), Epoch(1), Duration::ZERO);
        let (key, locator) = (ResourceKey::new("1"), Locator::new("a", "b", 1));
        let command = |step| Command { key: key.clone(), locator: locator.clone(), step, note: None, now: Time(0) };
        let plan = Plan { kind: Kind::Move, goal: Goal::default(), ownership: Ownership::Keep, heard: None };
        let send = Step::Send { attempt: AttemptId::new("one"), plan };
        book.run(&[command(Step::Open(attempt("one"))), command(send)], None).unwrap();
        book.undo();
        assert!(book.all().all(|record| record.live.is_none()));
    }
}
