//! What the gate does without being asked: learn from passing traffic, and obey the operator.

mod sight;

use super::reads::ReadAccess;
use super::restore::address_of;
use super::{Gate, LaneError, Turn};
use crate::admission::{self, Refused, Step};
use crate::dialect::{Address, Credential, ReadOutcome, Shows};
use crate::effect::{Command, Durability, Held, LedgerError, Note};
use crate::model::{Actor, AttemptId, Holding, Instance, ItemRecord, Locator, Project, Snapshot};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

use sight::Blind;
pub(super) use sight::Sight;

/// What `claimgate release` did.
#[derive(Debug)]
pub struct Released {
    /// Whose holding ended.
    pub holder: Option<Actor>,
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
    /// The ledger knows no holding there.
    #[error("nobody holds {0}")]
    NotHeld(Locator),
    /// Another holding has begun meanwhile.
    #[error("{meant} does not hold {item} any more; {now} does now, and goes on: nothing was done")]
    Another {
        /// The item.
        item: Locator,
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
    items: Mutex<HashSet<Locator>>,
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

// === impl Gate ===

impl Gate {
    /// A request about the items of this project passed and got a 2xx: its credential has just been shown what the answer
    /// shows, and if it is a holder's, the holder is alive. Cheap: no lock is waited for, nobody is asked.
    pub fn saw_read(
        &self,
        credential: &Credential,
        instance: Option<Instance>,
        (project, address): (&Project, Option<&Address>),
        shows: Shows,
    ) {
        let print = self.ports.identify.fingerprint(credential);
        let access = match (shows, address) {
            (Shows::Items(kind), _) => ReadAccess::Kind(project.clone(), kind),
            (Shows::Item, Some(address)) => ReadAccess::Item(address.locator()),
            (Shows::Item, None) | (Shows::Beside, _) => ReadAccess::Project(project.clone()),
        };
        self.reads.learn_access(&print, access, self.ports.clock.boot());
        let Some(account) = self.ports.identify.known(&print) else { return };
        let actor = Actor { account, instance };
        self.hear(&actor, project);
        if let Some(address) = address {
            self.renewals.note(address.locator(), actor, self.ports.clock.now());
        }
    }

    /// Ends a holding by the operator's word; audited like any decision. With a service token its assignee is cleared
    /// too, as a guarded write of its own. Once begun it is carried through, whether or not it is waited for.
    pub async fn release(
        self: &Arc<Self>,
        item: &Locator,
        word: impl Into<OperatorWord>,
    ) -> Result<Released, ReleaseError> {
        let (gate, item, word) = (Arc::clone(self), item.clone(), word.into());
        let release = async move { gate.release_whole(&item, &word).await };
        self.whole(release, &tokio::runtime::Handle::current()).await
    }

    async fn release_whole(self: &Arc<Self>, item: &Locator, word: &OperatorWord) -> Result<Released, ReleaseError> {
        let active = self.ports.ledger.active().await?;
        let record = active
            .into_iter()
            .find(|record| record.locator == *item && record.holding.is_some())
            .ok_or_else(|| ReleaseError::NotHeld(item.clone()))?;
        let meant = record.holding.clone().ok_or_else(|| ReleaseError::NotHeld(item.clone()))?;
        let turn = self.lanes.enter(&record.key, self.boot_clock()).await?;
        let (held, after) = self.end_holding(&record, &meant, word, &turn).await?;
        drop(turn);
        let tracker = self.restore(item, &held).await;
        Ok(Released { holder: Some(held.actor), record: after, tracker })
    }

    /// Under the turn: ends the holding that is meant, as it is by now, and no other.
    async fn end_holding(
        &self,
        record: &ItemRecord,
        meant: &Holding,
        word: &OperatorWord,
        turn: &Turn,
    ) -> Result<(Holding, ItemRecord), ReleaseError> {
        let item = &record.locator;
        loop {
            let current = self.ports.ledger.item(&record.key).await?;
            let (fence, held) = current
                .and_then(|current| Some((current.fence, current.holding?)))
                .ok_or_else(|| ReleaseError::NotHeld(item.clone()))?;
            if held.attempt != meant.attempt {
                let (item, meant, now) = (item.clone(), meant.actor.clone(), held.actor);
                return Err(ReleaseError::Another { item, meant, now });
            }
            let now = self.ports.clock.now();
            let id = self.ports.entropy.attempt_id(now).as_str().to_owned();
            let note = Some(Box::new(word.note(id)));
            let step = Step::Release { fence };
            let command = Command { key: record.key.clone(), locator: item.clone(), step, note, now };
            turn.forget();
            match self.ports.ledger.commit(vec![command], Durability::Awaited).await {
                Ok(mut records) => return Ok((held, records.pop().unwrap_or_else(|| record.clone()))),
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
        note.operator = true;
        self.ports.ledger.record(note, now);
        id
    }

    /// Runs until it is aborted: writes renewals down, ends doubts that are due, looks at holdings one after another.
    pub async fn watch(self: Arc<Self>, renew_interval: Duration) {
        tokio::join!(self.keep_renewals(renew_interval), self.look_around());
    }

    async fn look_around(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = Round::default();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.hints.given.notified() => {
                    self.look_at_hinted().await;
                    continue;
                }
            }
            if let Err(error) = self.look(&mut round).await {
                tracing::debug!(ledger.error = %error, "holdings not looked at");
            }
        }
    }

    /// The tracker says that something happened to this item. A hint, unordered and perhaps untrue: it leads to a read.
    pub fn hint(&self, item: Locator) {
        let mut items = self.hints.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() < MOST_HINTS && items.insert(item) {
            self.hints.given.notify_one();
        }
    }

    async fn look_at_hinted(self: &Arc<Self>) {
        let items = std::mem::take(&mut *self.hints.items.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(active) = self.ports.ledger.active().await else { return };
        for record in active.iter().filter(|record| items.contains(&record.locator)) {
            self.look_at(record).await;
        }
    }

    /// One round: who is silent, every doubt, and a few holdings more.
    async fn look(self: &Arc<Self>, round: &mut Round) -> Result<(), LedgerError> {
        let ledger = &self.ports.ledger;
        if let Some(bytes) = ledger.bytes() {
            self.ports.metrics.ledger_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        // Once more after it was switched off: what was counted is taken back.
        let silent = &round.silent;
        if self.rules().assignment.stale_after.is_some() || !silent.flagged.is_empty() || silent.last.is_some() {
            self.flag_stale(&mut round.silent).await?;
        }
        let doubtful = ledger.doubtful().await?;
        self.ports.metrics.doubt.set(i64::try_from(doubtful.len()).unwrap_or(i64::MAX));
        if self.ports.service.is_none() {
            return Ok(());
        }
        let chosen = ledger.held_after(round.last.clone(), HOLDINGS_A_ROUND).await?;
        round.last = Held::after(&chosen, HOLDINGS_A_ROUND);
        let settled = chosen.iter().filter(|record| record.doubts.is_empty());
        for record in doubtful.iter().chain(settled) {
            self.look_at(record).await;
        }
        if round.last.is_none() {
            self.sight.round_ended();
        }
        Ok(())
    }

    /// Counts the holdings that are silent for too long, and names each in the log when it becomes so.
    async fn flag_stale(&self, pass: &mut Silent) -> Result<(), LedgerError> {
        for _ in 0..PAGES_A_TICK {
            let page = self.ports.ledger.held_after(pass.last.clone(), PAGE).await?;
            pass.last = Held::after(&page, PAGE);
            let (now, rules) = (self.ports.clock.now(), self.rules());
            for record in page.into_iter().map(|record| self.renewed(record)) {
                let Some(held) = record.holding.as_ref().filter(|held| rules.is_stale(held, now)) else { continue };
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

    /// Reads an item with the service token, ends its doubt if that is due, and judges what changed outside the gate.
    async fn look_at(self: &Arc<Self>, record: &ItemRecord) {
        let (Some(service), Some(address)) = (&self.ports.service, address_of(&record.locator)) else { return };
        let Ok(turn) = self.lanes.enter(&record.key, self.boot_clock()).await else { return };
        let seen = match self.watched(&address, service).await {
            Ok(seen) => seen,
            Err(why) => return self.sight.failed(&record.locator, &why),
        };
        self.sight.read(&record.locator);
        if seen.key != record.key {
            return;
        }
        let rules = self.rules();
        self.resolve_by(&record.key, &seen, &turn, &rules).await;
        let Ok(Some(current)) = self.ports.ledger.item(&record.key).await else { return };
        if current.live.is_some() {
            return;
        }
        let now = self.ports.clock.now();
        let Some(edit) = admission::outside_edit(&current, &seen, &rules, now) else { return };
        let command = Command {
            key: record.key.clone(),
            locator: seen.locator.clone(),
            step: Step::Edit { edit: edit.clone(), fence: current.fence },
            note: Some(self.outside_note(&seen)),
            now,
        };
        turn.forget();
        match self.ports.ledger.commit(vec![command], Durability::Awaited).await {
            Ok(records) => {
                self.count(&edit);
                let stray = records.first().and_then(|record| record.stray.as_ref());
                self.put_back_soon(&seen.locator, stray);
            }
            Err(error) => {
                tracing::debug!(ledger.error = %error, resource = %record.locator, "an outside edit was not recorded");
            }
        }
    }

    /// The item as the service token sees it; a same-origin redirect is followed once. 401, 403 and 404 are never evidence.
    async fn watched(&self, address: &Address, service: &Credential) -> Result<Snapshot, Blind> {
        let mut address = address.clone();
        for _ in 0..2 {
            let answer = self.ports.upstream.read(self.ports.dialect.observe(&address, service)).await;
            let (response, _) = answer.map_err(|error| Blind::Everywhere(error.to_string()))?;
            match self.ports.dialect.read(&address, &response) {
                ReadOutcome::Item(seen) => return Ok(seen),
                ReadOutcome::Denied if response.status == http::StatusCode::UNAUTHORIZED => {
                    return Err(Blind::Everywhere(response.status.to_string()));
                }
                ReadOutcome::Denied => return Err(Blind::Here(response.status.to_string())),
                ReadOutcome::Moved(to) => address = to,
                ReadOutcome::Unreadable(why) => return Err(Blind::Here(why)),
            }
        }
        Err(Blind::Here("it redirects more than once".to_owned()))
    }
}
