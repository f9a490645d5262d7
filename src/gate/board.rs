//! The board: who holds what, who waits, what is in doubt, the last refusals.
//!
//! Folded from the audit's lines in one place, as they become durable: a line says which item changed or who was refused, and
//! the item's record is read again, once for all lines about it. What other gates of the same ledger have written is folded
//! in when somebody asks. Whoever shows it (the admin listener, the live page, the
//! commands that watch) reads the board; none of them looks through the ledger. The ledger is looked through once, when the
//! board begins, and whenever so many lines were missed that it must begin again.

use super::Gate;
use crate::effect::{LedgerError, OtherLines};
use crate::model::{Actor, ItemRecord, Place, ResourceKey, Time};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What is known, and who wants to hear of changes.
#[derive(Default)]
pub(super) struct Board {
    state: Mutex<BoardState>,
    /// The number of the newest line that is folded in; none before the board has begun.
    folded: watch::Sender<Option<u64>>,
    /// Somebody waits for what is durable already.
    asked: Notify,
    /// Up to which line that of each other gate is folded in. Held while a record is read and put: of two that do so at
    /// once the older record might come last.
    folding: tokio::sync::Mutex<OtherLines>,
}

#[derive(Default)]
struct BoardState {
    /// Items that are held or in doubt.
    items: BTreeMap<ResourceKey, ItemRecord>,
    /// What items are called of which lines spoke lately, oldest first.
    names: HashMap<ResourceKey, Place>,
    named: VecDeque<ResourceKey>,
    /// The last refusals, oldest first.
    refusals: VecDeque<Arc<Refusal>>,
}

/// How an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody is at work on it.
    Active,
    /// Its holder has taken it out of work, or it is closed.
    Parked,
    /// Its holder is silent for longer than `stale_after`.
    Stale,
    /// A write of it was sent, and nobody knows yet whether it landed.
    Doubt,
    /// A writer that did not pass the gate was seen.
    Contested,
    /// Nobody holds it.
    Free,
}

/// The board at one moment.
#[derive(Clone, Debug, Default)]
pub struct BoardView {
    /// Items that are held or in doubt, by place, each holder as lately as it was heard of.
    pub items: Vec<(ItemRecord, Standing)>,
    /// Items whose turn somebody waits for.
    pub waiting: Vec<Waiting>,
    /// The last refusals, newest first.
    pub refusals: Vec<Arc<Refusal>>,
}

/// An item whose turn is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The item.
    pub key: ResourceKey,
    /// Where it is, if anybody has said so lately.
    pub place: Option<Place>,
    /// How many wait.
    pub count: usize,
    /// The agents that are there, the one whose turn it is among them.
    pub agents: Vec<Actor>,
}

/// A write that was refused, or would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its place among the refusals of the board: rises. Where no other gate shares the ledger, it is `seq`.
    pub number: u64,
    /// The number of its line in its gate's audit.
    pub seq: u64,
    /// The gate.
    pub gate: String,
    /// When, RFC 3339.
    pub time: String,
    /// The name of the decision.
    pub id: String,
    /// A rule that only observes would have refused it.
    pub observed: bool,
    /// Why, as a code.
    pub code: String,
    /// Where the item is.
    pub resource: Option<String>,
    /// Who asked: the account.
    pub account: Option<String>,
    /// Who asked: the agent behind it.
    pub instance: Option<String>,
    /// What was asked.
    pub change: String,
    /// What the client was told.
    pub text: String,
    /// Who held the item.
    pub holder: Option<String>,
    /// From where, where that is known.
    pub client: Option<String>,
}

/// When the tracker's webhooks came, microseconds since 1970; 0: not yet.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    signed: AtomicI64,
    refused: AtomicI64,
}

/// What the board reads of an audit line.
#[derive(Deserialize)]
struct BoardLine<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    decision: Option<Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    agent: Option<BoardAgent<'a>>,
    #[serde(borrow)]
    change: Cow<'a, str>,
    #[serde(borrow)]
    result: Option<Cow<'a, str>>,
    #[serde(borrow)]
    holder: Option<BoardAgent<'a>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    gate: Cow<'a, str>,
}

#[derive(Deserialize)]
struct BoardAgent<'a> {
    #[serde(borrow)]
    account: Cow<'a, str>,
    #[serde(borrow)]
    instance: Option<Cow<'a, str>>,
}

/// Refusals that are kept.
const MOST_REFUSALS: usize = 1000;
/// Names of items that are kept.
const MOST_NAMES: usize = 10_000;
/// Lines read at once.
const BATCH: usize = 512;
/// So many lines behind, the board begins again.
const MOST_BEHIND: u64 = 50_000;
/// Lines that follow one within this time are read together with it.
const GATHER: Duration = Duration::from_millis(50);
/// So long at most somebody waits for the newest lines.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries of a ledger that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

// === impl Board ===

impl Board {
    fn state(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an item is called that somebody may have to wait for.
    pub(super) fn name(&self, key: &ResourceKey, place: &Place) {
        let mut state = self.state();
        if state.names.get(key) != Some(place) {
            state.name(key, place.clone());
        }
    }

    /// Holders were written down as heard of.
    pub(super) fn renew(&self, records: &[ItemRecord]) {
        let mut state = self.state();
        for record in records {
            let Some(held) = &record.holding else { continue };
            let shown = state.items.get_mut(&record.key).and_then(|known| known.holding.as_mut());
            if let Some(shown) = shown.filter(|shown| shown.attempt == held.attempt) {
                shown.renewed = shown.renewed.max(held.renewed);
            }
        }
    }
}

impl BoardState {
    /// Takes a line in. Returns the item whose record it may have changed.
    fn take(&mut self, seq: u64, line: &BoardLine<'_>) -> Option<ResourceKey> {
        let key = line.resource_id.as_deref().map(ResourceKey::new);
        let place = line.resource.as_deref().map(Place::new);
        if let (Some(key), Some(place)) = (&key, place) {
            self.name(key, place);
        }
        let refused = line.decision.as_deref() == Some("reject");
        let observed = line.decision.as_deref() == Some("observe");
        if refused || observed {
            if self.refusals.len() == MOST_REFUSALS {
                self.refusals.pop_front();
            }
            let number = self.refusals.back().map_or(seq, |last| seq.max(last.number + 1));
            self.refusals.push_back(Arc::new(Refusal { number, ..line.refusal(seq, observed) }));
        }
        // What was refused by a rule, or was never sent, leaves the record as it was.
        let unchanged = refused && matches!(line.result.as_deref(), None | Some("REJECTED" | "ABORTED"));
        key.filter(|_| !unchanged)
    }

    fn name(&mut self, key: &ResourceKey, place: Place) {
        if self.names.insert(key.clone(), place).is_none() {
            self.named.push_back(key.clone());
            if self.named.len() > MOST_NAMES
                && let Some(oldest) = self.named.pop_front()
            {
                self.names.remove(&oldest);
            }
        }
    }

    /// The record of an item as it is now.
    fn put(&mut self, key: &ResourceKey, record: Option<ItemRecord>) {
        match record.filter(|record| record.holding.is_some() || !record.doubts.is_empty()) {
            Some(record) => drop(self.items.insert(key.clone(), record)),
            None => drop(self.items.remove(key)),
        }
    }
}

impl BoardLine<'_> {
    fn refusal(&self, seq: u64, observed: bool) -> Refusal {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let holder = self.holder.as_ref().map(|agent| match &agent.instance {
            Some(instance) => format!("{} ({instance})", agent.account),
            None => agent.account.clone().into_owned(),
        });
        Refusal {
            number: seq,
            seq,
            gate: self.gate.clone().into_owned(),
            time: self.time.clone().into_owned(),
            id: self.id.clone().into_owned(),
            observed,
            code: owned(&self.code).unwrap_or_default(),
            resource: owned(&self.resource),
            account: self.agent.as_ref().map(|agent| agent.account.clone().into_owned()),
            instance: self.agent.as_ref().and_then(|agent| owned(&agent.instance)),
            change: self.change.clone().into_owned(),
            text: owned(&self.reason).unwrap_or_default(),
            holder,
            client: owned(&self.client),
        }
    }
}

// === impl Standing ===

impl Standing {
    /// As the admin API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Parked => "parked",
            Self::Stale => "stale",
            Self::Doubt => "doubt",
            Self::Contested => "contested",
            Self::Free => "free",
        }
    }
}

// === impl Gate ===

impl Gate {
    /// Changes with each change of the board.
    pub fn board_changes(&self) -> watch::Receiver<Option<u64>> {
        self.board.folded.subscribe()
    }

    /// The board with all that is durable by now. An error: the ledger could not be read yet.
    pub async fn board(&self) -> Result<BoardView, LedgerError> {
        let newest = *self.ports.ledger.newest_line().borrow();
        let mut folded = self.board.folded.subscribe();
        self.board.asked.notify_one();
        let caught_up = folded.wait_for(|folded| folded.is_some_and(|folded| folded >= newest));
        drop(tokio::time::timeout(PATIENCE, caught_up).await);
        if self.board.folded.borrow().is_none() {
            return Err(LedgerError::Unavailable("it could not be read yet".to_owned()));
        }
        self.fold_others().await?;
        Ok(self.board_view())
    }

    /// What other gates have written since somebody asked last.
    async fn fold_others(&self) -> Result<(), LedgerError> {
        let mut read = self.board.folding.lock().await;
        loop {
            let Some(others) = self.ports.ledger.lines_of_others(Some(&read), BATCH).await? else { return Ok(()) };
            self.fold(&others.lines).await?;
            *read = others.last;
        }
    }

    fn board_view(&self) -> BoardView {
        let (items, refusals): (Vec<ItemRecord>, Vec<_>) = {
            let state = self.board.state();
            (state.items.values().cloned().collect(), state.refusals.iter().rev().cloned().collect())
        };
        let now = self.ports.clock.now();
        let stands = |record: &ItemRecord| record.holding.is_some() || record.is_in_doubt(now);
        let mut items: Vec<(ItemRecord, Standing)> = items
            .into_iter()
            .filter(stands)
            .map(|record| {
                let record = self.heard(record);
                let standing = self.standing(&record, now);
                (record, standing)
            })
            .collect();
        items.sort_by_cached_key(|(record, _)| in_order(record.locator.as_str()));
        BoardView { items, waiting: self.waiting(), refusals }
    }

    /// How the item of a record stands.
    pub fn standing(&self, record: &ItemRecord, now: Time) -> Standing {
        match &record.holding {
            _ if record.contested => Standing::Contested,
            _ if record.is_in_doubt(now) => Standing::Doubt,
            Some(held) if held.parked => Standing::Parked,
            Some(_) if self.is_stale(record) => Standing::Stale,
            Some(_) => Standing::Active,
            None => Standing::Free,
        }
    }

    /// Who waits for a turn just now.
    pub fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.lanes.waiting();
        let state = self.board.state();
        let place = |key: &ResourceKey| {
            state.names.get(key).or_else(|| state.items.get(key).map(|record| &record.locator)).cloned()
        };
        let waiting = waiting.into_iter();
        waiting.map(|(key, count, agents)| Waiting { place: place(&key), key, count, agents }).collect()
    }

    /// A webhook of the tracker came; whether its signature was good.
    pub fn saw_webhook(&self, signed: bool) {
        let at = if signed { &self.webhooks.signed } else { &self.webhooks.refused };
        at.store(self.ports.clock.now().0, Ordering::Relaxed);
    }

    /// When the last webhook with a good signature came, and the last with a bad one.
    pub fn webhooks(&self) -> (Option<Time>, Option<Time>) {
        let at = |slot: &AtomicI64| Some(Time(slot.load(Ordering::Relaxed))).filter(|time| time.0 != 0);
        (at(&self.webhooks.signed), at(&self.webhooks.refused))
    }

    /// Keeps the board until it is aborted.
    pub async fn keep_board(self: Arc<Self>) {
        loop {
            if let Err(error) = self.follow_lines().await {
                tracing::debug!(ledger.error = %error, "the board waits for the ledger");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Reads everything once, and then what lines say. Returns when it cannot go on.
    async fn follow_lines(&self) -> Result<(), LedgerError> {
        let ledger = &self.ports.ledger;
        let mut newest = ledger.newest_line();
        // What becomes durable after this is told by a line; what was before, by the records.
        let mut after = *newest.borrow_and_update();
        self.begin(after).await?;
        loop {
            if newest.changed().await.is_err() {
                return Err(LedgerError::Unavailable("it was closed".to_owned()));
            }
            drop(tokio::time::timeout(GATHER, self.board.asked.notified()).await);
            let end = *newest.borrow_and_update();
            // Another ledger is in its place, or too much was missed.
            if end < after || end - after > MOST_BEHIND {
                return Ok(());
            }
            while after < end {
                let lines = ledger.lines(after, BATCH).await?;
                let Some((last, _)) = lines.last() else { break };
                after = *last;
                {
                    let _folding = self.board.folding.lock().await;
                    self.fold(&lines).await?;
                }
                self.board.folded.send_replace(Some(after));
            }
        }
    }

    /// Every item that is held or in doubt, and the last refusals.
    async fn begin(&self, newest: u64) -> Result<(), LedgerError> {
        let mut lines = Vec::new();
        let mut after = newest.saturating_sub(MOST_REFUSALS as u64);
        while after < newest {
            let batch = self.ports.ledger.lines(after, BATCH).await?;
            let Some((last, _)) = batch.last() else { break };
            after = *last;
            lines.extend(batch.into_iter().filter(|(seq, _)| *seq <= newest));
        }
        let mut folding = self.board.folding.lock().await;
        // Their marks come before the records: what is written after the marks is told by lines.
        let others = self.ports.ledger.lines_of_others(None, BATCH).await?;
        lines.extend(others.iter().flat_map(|others| others.lines.iter().cloned()));
        *folding = others.map(|others| others.last).unwrap_or_default();
        let active = self.ports.ledger.active().await?;
        let mut state = self.board.state();
        state.refusals.clear();
        for (seq, line) in &lines {
            if let Ok(line) = serde_json::from_str::<BoardLine<'_>>(line) {
                state.take(*seq, &line);
            }
        }
        state.items = active.into_iter().map(|record| (record.key.clone(), record)).collect();
        drop(state);
        self.board.folded.send_replace(Some(newest));
        Ok(())
    }

    async fn fold(&self, lines: &[(u64, String)]) -> Result<(), LedgerError> {
        let changed: BTreeSet<ResourceKey> = {
            let mut state = self.board.state();
            let read = lines.iter().filter_map(|(seq, line)| Some((*seq, serde_json::from_str(line).ok()?)));
            read.filter_map(|(seq, line)| state.take(seq, &line)).collect()
        };
        for key in changed {
            let record = self.ports.ledger.item(&key).await?;
            self.board.state().put(&key, record);
        }
        Ok(())
    }
}

/// A key by which `#4` comes before `#10`.
fn in_order(place: &str) -> (String, u64, String) {
    let digits = place.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (name, number) = place.split_at(place.len() - digits);
    (name.to_owned(), number.parse().unwrap_or(0), place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> BoardLine<'_> {
        serde_json::from_str(text).expect("a line")
    }

    #[test]
    fn a_refusal_is_kept_with_its_text_and_changes_no_item() {
        let mut state = BoardState::default();
        let text = r#"{"seq":4,"time":"t","id":"d","kind":"decision","decision":"reject","code":"already_assigned",
            "resource":"o/r#1","resource_id":"7","agent":{"account":"bob","instance":"two","credential":"f"},"change":"assignees=[bob]",
            "expected":"","observed":null,"result":"REJECTED","holder":{"account":"ann","instance":null},"client":"::1",
            "reason":"o/r#1 is held by \"ann\"","gate":"g"}"#;
        assert_eq!(state.take(4, &line(text)), None);
        let kept = &state.refusals[0];
        assert_eq!(
            (kept.text.as_str(), kept.holder.as_deref(), kept.observed),
            ("o/r#1 is held by \"ann\"", Some("ann"), false)
        );
        assert_eq!((kept.account.as_deref(), kept.instance.as_deref()), (Some("bob"), Some("two")));
        let observed = text.replace("\"reject\"", "\"observe\"").replace("REJECTED", "COMMITTED");
        assert_eq!(state.take(5, &line(&observed)), Some(ResourceKey::new("7")));
        assert!(state.refusals[1].observed);
        assert_eq!(state.names[&ResourceKey::new("7")].to_string(), "o/r#1");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut state = BoardState::default();
        for seq in 0..(MOST_NAMES + MOST_REFUSALS) as u64 {
            let text = format!(
                r#"{{"time":"t","id":"d","decision":"reject","code":null,"resource":"o/r#{n}","resource_id":"{n}","agent":null,
                    "change":"","result":null,"holder":null,"client":null,"reason":null}}"#,
                n = seq + 1
            );
            state.take(seq, &line(&text));
        }
        assert_eq!(
            (state.refusals.len(), state.names.len(), state.named.len()),
            (MOST_REFUSALS, MOST_NAMES, MOST_NAMES)
        );
        assert_eq!(state.refusals[0].seq, MOST_NAMES as u64, "the newest are kept");
    }
}
