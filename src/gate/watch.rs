//! What the gate does without being asked: learn from passing traffic, and obey the operator.

mod entry;
mod reachability;

use super::conversation::{ItemRead, Unread};
use super::{Gate, LaneError, Turn};
use crate::admission::{self, Finish, Refused, Step};
use crate::dialect::{Address, AnswerClass, Credential};
use crate::effect::{Command, Durability, Held, LedgerError, Note, Subject};
use crate::model::{Account, Actor, AttemptId, ItemRecord, Place, ResourceKey, Status, Time};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

use entry::LookEntry;
use reachability::ReadFailure;
pub(super) use reachability::TrackerReachability;

/// What `claimgate release` did.
#[derive(Debug)]
pub struct Released {
    /// Whose holding ended.
    pub holder: Option<Actor>,
    /// Writes in doubt that ended with it.
    pub doubts: usize,
    /// The item as the ledger knows it now.
    pub record: ItemRecord,
    /// What became of the item in the tracker, a sentence for the operator; an error: what the gate was to put back there
    /// and could not.
    pub tracker: Result<String, String>,
}

/// What an operator said, for the audit.
#[derive(Clone, Debug)]
pub struct OperatorWord {
    /// Why.
    pub reason: String,
    /// Who said it: a user of the system, or the holder of a token. `None`: not known.
    pub by: Option<String>,
}

impl From<&str> for OperatorWord {
    fn from(reason: &str) -> Self {
        Self { reason: reason.to_owned(), by: None }
    }
}

impl OperatorWord {
    /// The line of the audit that it makes.
    fn note(&self, id: String) -> Note {
        let mut note = Note::of_gate(id, Some(self.reason.clone()));
        note.client.clone_from(&self.by);
        note
    }
}

/// Why the operator's release was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The ledger knows no holding there, and no write in doubt.
    #[error("nobody holds {0}, and no write of it is in doubt: there is nothing to end")]
    NotHeld(Place),
    /// Another holding has begun meanwhile.
    #[error("{meant} does not hold {item} any more; {now} does now, and goes on: nothing was done")]
    Another {
        /// The item.
        item: Place,
        /// Whose holding was to end.
        meant: Actor,
        /// Who holds it.
        now: Actor,
    },
    /// Its turn did not come.
    #[error("{0}")]
    Lane(#[from] LaneError),
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

/// Where the watcher is.
#[derive(Default)]
struct Round {
    /// Holdings after this one are compared with the tracker next.
    last: Option<Held>,
    silent: Silent,
    /// Rounds so far.
    count: u64,
    /// Items that the tracker does not know, as far as it says.
    missing: HashMap<ResourceKey, Missing>,
}

/// An item that the tracker says not to have.
struct Missing {
    since: Time,
    reads: u32,
}

/// What one look at an item came to.
enum Look {
    Seen,
    Missing,
    ReadFailure,
}

/// A pass over all holdings for those that are silent for too long, each named by the attempt that began it.
#[derive(Default)]
struct Silent {
    /// The pass goes on after this one.
    last: Option<Held>,
    /// Those of this pass so far.
    found: HashSet<AttemptId>,
    /// Those of the pass before.
    flagged: HashSet<AttemptId>,
}

/// Items of which the tracker said that something happened.
#[derive(Debug, Default)]
pub(super) struct Hints {
    items: Mutex<HashSet<Place>>,
    given: Notify,
}

const MOST_HINTS: usize = 10_000;
const TICK: Duration = Duration::from_secs(1);
/// Holdings read at once: each page takes about a millisecond of a processor, for which whoever claims meanwhile may wait.
pub(super) const PAGE: usize = 100;
/// Pages of a tick that are looked at for stale holdings; a pass over more of them goes on with the next tick.
const PAGES_A_TICK: usize = 5;
/// After each page that is not the last, so that they are never felt as one long page.
pub(super) const BETWEEN_PAGES: Duration = Duration::from_millis(20);
/// Holdings compared with the tracker in one round: the bound on what the reconciler asks of it.
const HOLDINGS_A_ROUND: usize = 5;
/// Parked work, and what could not be read, is looked at in one of so many rounds.
const RESTING: u64 = 10;
/// Reads that must say so before an item is taken to be gone.
const FEWEST_MISSES: u32 = 3;

// === impl Gate ===

impl Gate {
    /// What the tracker said to a call, or that it said nothing: while it does not answer, nobody can be heard.
    pub fn notice_answer(&self, answer: Option<AnswerClass>) {
        if answer == Some(AnswerClass::Limited) {
            self.ports.metrics.upstream_limited.inc();
        }
        match answer {
            Some(class) if class != AnswerClass::Unavailable => self.hearing.answered(|| self.ports.clock.now()),
            _ => self.hearing.failed(self.ports.clock.now()),
        }
    }

    /// A sign of life of an agent about an item.
    pub(super) fn hear_about(&self, address: &Address, actor: Actor) {
        self.renewals.note(address.locator(), actor, self.ports.clock.now());
    }

    /// Ends a holding by the operator's word; audited like any decision. With a service token its assignee is cleared
    /// too, as a guarded write of its own. Once begun it is carried through, whether or not it is waited for.
    pub async fn release(
        self: &Arc<Self>,
        item: &Place,
        word: impl Into<OperatorWord>,
    ) -> Result<Released, ReleaseError> {
        let (gate, item, word) = (Arc::clone(self), item.clone(), word.into());
        let release = async move { gate.release_whole(&item, &word).await };
        self.whole(release, &tokio::runtime::Handle::current()).await
    }

    async fn release_whole(self: &Arc<Self>, item: &Place, word: &OperatorWord) -> Result<Released, ReleaseError> {
        let active = self.ports.ledger.active().await?;
        // Of two at one place the held one: the other is in doubt alone.
        let here = active.into_iter().filter(|record| record.locator == *item);
        let record = here.max_by_key(|record| record.holding.is_some());
        let record = record.ok_or_else(|| ReleaseError::NotHeld(item.clone()))?;
        let turn = self.lanes.enter(&record.key, self.boot_clock()).await?;
        let (before, after) = self.end_holding(&record, word, &turn).await?;
        drop(turn);
        let tracker = match Remains::of(&before) {
            Some(remains) => self.restore(item, &remains).await,
            None => Ok("Nothing was sent to the tracker".to_owned()),
        };
        let (holder, doubts) = (before.holding.map(|held| held.actor), before.doubts.len());
        Ok(Released { holder, doubts, record: after, tracker })
    }

    /// Under the turn: ends the holding that is meant, as it is by now, and no other; and every doubt. Returns the record
    /// before and after.
    async fn end_holding(
        &self,
        record: &ItemRecord,
        word: &OperatorWord,
        turn: &Turn,
    ) -> Result<(ItemRecord, ItemRecord), ReleaseError> {
        let item = &record.locator;
        loop {
            let current = self.ports.ledger.item(&record.key).await?.unwrap_or_else(|| record.clone());
            if current.holding.is_none() && current.doubts.is_empty() {
                return Err(ReleaseError::NotHeld(item.clone()));
            }
            let meant = record.holding.as_ref();
            if let Some(held) =
                current.holding.as_ref().filter(|held| meant.is_none_or(|meant| held.attempt != meant.attempt))
            {
                let in_doubt = record.doubts.first().map(|doubt| &doubt.actor);
                let meant = meant.map(|meant| &meant.actor).or(in_doubt).unwrap_or(&held.actor);
                let (item, meant, now) = (item.clone(), meant.clone(), held.actor.clone());
                return Err(ReleaseError::Another { item, meant, now });
            }
            let now = self.ports.clock.now();
            let id = self.ports.entropy.attempt_id(now).as_str().to_owned();
            let note = Some(Box::new(word.note(id.clone())));
            let step = Step::Release { fence: current.fence };
            let command = Command { key: record.key.clone(), locator: item.clone(), step, note, now };
            turn.forget();
            match self.ports.ledger.commit(vec![command], Durability::Awaited).await {
                Ok(mut records) => {
                    let holder = current.holding.as_ref().map(|held| held.actor.to_string()).unwrap_or_default();
                    let doubts = current.doubts.len();
                    let (reason, by) = (&word.reason, word.by.as_deref().unwrap_or_default());
                    tracing::info!(resource = %item, agent = holder, doubts, decision = id, reason, by, "released by the operator");
                    self.ports.metrics.released.inc();
                    let after = records.pop().unwrap_or_else(|| current.clone());
                    return Ok((current, after));
                }
                // Another gate has written in between: once more.
                Err(LedgerError::Refused(Refused::Stale)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Records what the operator did beside the items. Returns the name of the line.
    pub fn record_operator(&self, what: &str, by: &str) -> String {
        let now = self.ports.clock.now();
        let id = self.ports.entropy.attempt_id(now).as_str().to_owned();
        let mut note = OperatorWord { reason: what.to_owned(), by: Some(by.to_owned()) }.note(id.clone());
        what.clone_into(&mut note.change);
        note.subject = Subject::Operator;
        self.ports.ledger.record(note, now);
        id
    }

    /// Runs until it is aborted: writes renewals down, ends doubts that are due, looks at holdings one after another.
    pub async fn watch(self: Arc<Self>, renew_interval: Duration) {
        tokio::join!(
            self.keep_membership(),
            self.keep_modes(),
            self.keep_renewals(renew_interval),
            self.look_around(),
            self.stay_awake(),
            self.name_authors()
        );
    }

    /// Notices when the gate itself was suspended.
    async fn stay_awake(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.hearing.awake(self.ports.clock.now());
        }
    }

    async fn look_around(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = Round::default();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.hints.given.notified() => {
                    self.look_at_hinted(&mut round).await;
                    continue;
                }
            }
            if !self.ports.ledger.is_watcher() {
                // Another gate looks.
                self.ports.metrics.doubt.set(0);
                self.ports.metrics.stale.set(0);
                round.silent = Silent::default();
                continue;
            }
            if let Err(error) = self.look(&mut round).await {
                tracing::debug!(ledger.error = %error, "holdings not looked at");
            }
        }
    }

    /// The tracker says that something happened to this item. A hint, unordered and perhaps untrue: it leads to a read.
    pub fn hint(&self, item: Place) {
        let mut items = self.hints.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() < MOST_HINTS && items.insert(item) {
            self.hints.given.notify_one();
        }
    }

    async fn look_at_hinted(self: &Arc<Self>, round: &mut Round) {
        let items = std::mem::take(&mut *self.hints.items.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(active) = self.ports.ledger.active().await else { return };
        for record in active.iter().filter(|record| items.contains(&record.locator)) {
            self.look_once(record, round).await;
        }
    }

    /// One round: who is silent, what is finished, every doubt, and a few holdings more.
    async fn look(self: &Arc<Self>, round: &mut Round) -> Result<(), LedgerError> {
        let ledger = &self.ports.ledger;
        if let Some(bytes) = ledger.bytes() {
            self.ports.metrics.ledger_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let (now, rules) = (self.ports.clock.now(), self.rules());
        round.count += 1;
        // Once more after it was switched off: what was counted is taken back.
        let (silent, limits) = (&round.silent, &rules.assignment);
        let limited = limits.stale_after.is_some() || limits.closed_after.is_some();
        if limited || !silent.flagged.is_empty() || silent.last.is_some() {
            self.look_through(&mut round.silent).await?;
        }
        let doubtful = ledger.doubtful().await?;
        let lasting = doubtful.iter().filter(|record| record.is_in_doubt(now)).count();
        self.ports.metrics.doubt.set(i64::try_from(lasting).unwrap_or(i64::MAX));
        if self.ports.service.is_none() {
            return Ok(());
        }
        for record in &doubtful {
            if round.is_due(record) {
                self.look_once(record, round).await;
            }
        }
        self.look_at_some(round).await
    }

    /// Compares a few holdings with the tracker: those that somebody is at work on, and now and then parked ones. What is
    /// closed is finished.
    async fn look_at_some(self: &Arc<Self>, round: &mut Round) -> Result<(), LedgerError> {
        let page = self.ports.ledger.held_after(round.last.clone(), PAGE).await?;
        round.last = Held::after(&page, PAGE);
        let mut looked = 0;
        for record in page.iter().filter(|record| record.doubts.is_empty()) {
            let Some(held) = record.holding.as_ref() else { continue };
            if held.parked && (held.closed.is_some() || !round.count.is_multiple_of(RESTING)) || !round.is_due(record) {
                continue;
            }
            if looked == HOLDINGS_A_ROUND {
                return Ok(());
            }
            self.look_once(record, round).await;
            looked += 1;
            if looked == HOLDINGS_A_ROUND {
                round.last = Held::of(record);
            }
        }
        if round.last.is_none() {
            self.sight.round_ended();
        }
        Ok(())
    }

    /// Looks at one item, and ends what is left of it where the tracker has said for long that there is none.
    async fn look_once(self: &Arc<Self>, record: &ItemRecord, round: &mut Round) {
        let now = self.ports.clock.now();
        match self.look_at(record).await {
            Look::Seen => drop(round.missing.remove(&record.key)),
            // A token that may not ask says nothing of the item: what was known of it stays.
            Look::ReadFailure => {}
            Look::Missing => {
                let missing = round.missing.entry(record.key.clone()).or_insert(Missing { since: now, reads: 0 });
                missing.reads += 1;
                // Its holder has been heard of: to others it is there.
                let heard = self.heard(record.clone()).holding.is_some_and(|held| held.renewed > missing.since);
                if heard {
                    *missing = Missing { since: now, reads: 1 };
                }
                let (gone_for, limit) = (now.since(missing.since), self.rules().assignment.closed_after);
                let is_due = missing.reads >= FEWEST_MISSES && limit.is_some_and(|limit| gone_for >= limit);
                // A token that the tracker does not know is told the same of all that is private.
                if is_due && self.check_token().await {
                    self.finish(record, Finish::Gone(gone_for)).await;
                    round.missing.remove(&record.key);
                }
            }
        }
    }

    /// Counts the holdings that are silent for too long, names each in the log when it becomes so, and ends those of items
    /// that have been closed for long enough.
    async fn look_through(self: &Arc<Self>, pass: &mut Silent) -> Result<(), LedgerError> {
        for _ in 0..PAGES_A_TICK {
            let page = self.ports.ledger.held_after(pass.last.clone(), PAGE).await?;
            pass.last = Held::after(&page, PAGE);
            let (now, rules) = (self.ports.clock.now(), self.rules());
            for record in page.into_iter().map(|record| self.renewed(record)) {
                let Some(held) = record.holding.as_ref() else { continue };
                let closed = held.closed.map(|at| now.since(at));
                if let Some(span) =
                    closed.filter(|span| rules.assignment.closed_after.is_some_and(|limit| *span >= limit))
                {
                    self.finish_closed(&record, span).await;
                    continue;
                }
                if !rules.is_stale(held, now) {
                    continue;
                }
                if pass.found.insert(held.attempt.clone()) && !pass.flagged.contains(&held.attempt) {
                    let silent_s = now.since(held.renewed).as_secs();
                    tracing::warn!(resource = %record.locator, agent = %held.actor, silent_s, "holding is stale");
                }
            }
            if pass.last.is_none() {
                self.ports.metrics.stale.set(i64::try_from(pass.found.len()).unwrap_or(i64::MAX));
                pass.flagged = std::mem::take(&mut pass.found);
                break;
            }
            tokio::time::sleep(BETWEEN_PAGES).await;
        }
        Ok(())
    }

    /// Ends the holding of a closed item; where the gate can look, only if it is closed still.
    async fn finish_closed(self: &Arc<Self>, record: &ItemRecord, span: Duration) {
        if self.ports.service.is_some() {
            self.look_at(record).await;
        }
        let Ok(Some(current)) = self.ports.ledger.item(&record.key).await else { return };
        if current.fence == record.fence && current.holding.as_ref().is_some_and(|held| held.closed.is_some()) {
            self.finish(&current, Finish::Closed(span)).await;
        }
    }

    async fn finish(self: &Arc<Self>, record: &ItemRecord, end: Finish) {
        let Ok(turn) = self.lanes.enter(&record.key, self.boot_clock()).await else { return };
        let now = self.ports.clock.now();
        let id = self.ports.entropy.attempt_id(now).as_str().to_owned();
        let command = Command {
            key: record.key.clone(),
            locator: record.locator.clone(),
            step: Step::Finish { fence: record.fence, end },
            note: Some(Box::new(Note::of_gate(id.clone(), None))),
            now,
        };
        turn.forget();
        match self.ports.ledger.commit(vec![command], Durability::Awaited).await {
            Ok(_) => {
                let agent = record.holding.as_ref().map(|held| held.actor.to_string()).unwrap_or_default();
                self.ports.metrics.finished.inc();
                tracing::info!(resource = %record.locator, agent, decision = id, ?end, "a holding ended: nothing is left to hold");
            }
            // Somebody writes it just now: the next round sees what becomes of it.
            Err(error) => tracing::debug!(ledger.error = %error, resource = %record.locator, "a holding did not end"),
        }
    }

    /// Reads an item with the service token, ends its doubt if that is due, and judges what changed outside the gate.
    async fn look_at(self: &Arc<Self>, record: &ItemRecord) -> Look {
        let (Some(service), Some(address)) = (&self.ports.service, self.address_of(&record.locator)) else {
            return Look::ReadFailure;
        };
        let Ok(turn) = self.lanes.enter(&record.key, self.boot_clock()).await else { return Look::ReadFailure };
        let Some(entry) = LookEntry::open(self, record).await else { return Look::ReadFailure };
        let look = match self.watched(&address, service).await {
            Ok(read) => {
                self.sight.read(&record.locator);
                if read.seen.key == record.key {
                    self.compare(record, &read, (&turn, &entry)).await;
                }
                Look::Seen
            }
            Err(why) => {
                self.sight.failed(&record.locator, &why);
                if matches!(why, ReadFailure::Missing(_)) { Look::Missing } else { Look::ReadFailure }
            }
        };
        entry.close().await;
        look
    }

    /// Ends the item's doubt if this read allows it, and records what changed outside the gate.
    async fn compare(self: &Arc<Self>, record: &ItemRecord, read: &ItemRead, (turn, entry): (&Turn, &LookEntry)) {
        let (rules, seen) = (self.rules(), &read.seen);
        self.resolve_by(&record.key, (seen, read.began), turn, &rules).await;
        let Ok(Some(current)) = self.ports.ledger.item(&record.key).await else { return };
        if !entry.keeps_others_out(&current) {
            return;
        }
        let now = self.ports.clock.now();
        let Some(edit) = admission::outside_edit(&current, seen, &rules, now) else { return };
        let note = self.outside_note(seen);
        let id = note.id.clone();
        let command = Command {
            key: record.key.clone(),
            locator: seen.locator.clone(),
            step: Step::Edit { edit: edit.clone(), fence: current.fence },
            note: Some(note),
            now,
        };
        turn.forget();
        let batch = entry.confirm(current.fence).into_iter().chain([command]).collect();
        match self.ports.ledger.commit(batch, Durability::Awaited).await {
            Ok(records) => {
                self.tell_edit(&edit, &current, seen, &id);
                let status = records.last().and_then(|record| record.pending_restore.as_ref());
                self.put_back_soon(&seen.locator, status);
            }
            Err(error) => {
                tracing::debug!(ledger.error = %error, resource = %record.locator, "an outside edit was not recorded");
            }
        }
    }

    /// The item as the service token sees it. 401, 403 and 404 are never evidence.
    async fn watched(&self, address: &Address, service: &Credential) -> Result<ItemRead, ReadFailure> {
        self.read_item(address, service, "watch", false).await.map_err(|unread| match unread {
            Unread::Unanswered(error) => ReadFailure::Everywhere(error.to_string()),
            Unread::Unreadable(why) => ReadFailure::Here(why),
            Unread::Denied(response) => match response.class() {
                AnswerClass::Unauthorized => ReadFailure::Everywhere(response.status.to_string()),
                AnswerClass::Missing | AnswerClass::Gone => ReadFailure::Missing(response.status.to_string()),
                _ => ReadFailure::Here(response.status.to_string()),
            },
        })
    }
}

// === impl Round ===

impl Round {
    /// Whether it is this item's time: what is not there is asked for now and then.
    fn is_due(&self, record: &ItemRecord) -> bool {
        !self.missing.contains_key(&record.key) || self.count.is_multiple_of(RESTING)
    }
}

/// What a holding, or a write in doubt, may have left at the tracker.
pub(super) struct Remains {
    /// Who is assigned, if it is this one's doing.
    pub(super) assignees: BTreeSet<Account>,
    /// The same for people, as a sentence without its end.
    pub(super) told: String,
    /// Where the item stood before.
    pub(super) status_before_claim: BTreeSet<Status>,
}

impl Remains {
    fn of(record: &ItemRecord) -> Option<Self> {
        if let Some(held) = &record.holding {
            let told = format!("the tracker still shows: {}", held.last_seen);
            return Some(Self {
                assignees: held.last_seen.assignees.clone(),
                told,
                status_before_claim: held.status_before_claim.clone(),
            });
        }
        let goal = &record.doubts.first()?.goal;
        let assignees = goal.assignees.clone()?;
        let names: Vec<&str> = assignees.iter().map(Account::as_str).collect();
        let told = format!("the tracker may show: assigned to {}", names.join(", "));
        Some(Self { told, assignees, status_before_claim: goal.status_before.clone() })
    }
}
