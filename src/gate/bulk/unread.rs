//! A form whose items are not read: nothing of what it changes shows in a read, or there is nothing to read with and its
//! sender is above the rules.
//!
//! It takes the turns, respects what is under way and in doubt, and is recorded before it is sent. The next guarded write of
//! each item reads anew, and takes what it finds as the edit that it is.

use super::{BulkSection, Ended, Stop, some_of};
use crate::admission::Mode;
use crate::dialect::{Items, Wants, WireResponse};
use crate::effect::{CallError, Decision};
use crate::gate::passage::Passage;
use crate::gate::{Answered, Reply, Turn, refusal};
use crate::model::{Caller, Change, Code, ItemRecord, Locator, Rejection, ResourceKey};
use std::collections::BTreeSet;

impl BulkSection {
    pub(super) async fn unread(
        &self,
        caller: &Caller,
        keys: &BTreeSet<ResourceKey>,
        turns: &[Turn],
        passage: &Passage,
    ) -> Ended {
        let records = self.records(keys).await?;
        let observed = self.judge_unread(caller, &records)?;
        if !passage.cross() {
            return Err(Stop::Gone);
        }
        // What was seen before may not stand after this.
        turns.iter().for_each(Turn::forget);
        let id = self.record_all(caller, keys, &records, observed).await?;
        let (dialect, headers) = (&self.gate.ports.dialect, &self.ask.headers);
        let request = dialect.emit_bulk(&self.ask.bulk, &self.as_asked(keys), headers);
        let emit_by = self.gate.ports.clock.boot() + self.gate.settings.emit_window;
        let clock = std::sync::Arc::clone(&self.gate.ports.clock);
        let started = tokio::time::Instant::now();
        let answer = self.gate.ports.upstream.send(request, None, &move || clock.boot() <= emit_by).await;
        self.gate.measure_send(started.elapsed());
        self.answered(&id, observed, answer)
    }

    fn answered(&self, id: &str, observed: Option<Code>, answer: Result<WireResponse, CallError>) -> Ended {
        match answer {
            Ok(response) => {
                tracing::debug!(decision = id, status = response.status.as_u16(), "a form was sent unread");
                Ok(self.decided(admitted(observed), observed, id, Answered::Tracker(response)))
            }
            Err(CallError::Unknown(why)) => {
                tracing::warn!(upstream.error = why, "no certain answer to a form");
                Err(Stop::Refuse(Self::unknown()))
            }
            Err(error) => Err(Stop::Refuse(refusal::unreadable(&self.locator(), &error.to_string()))),
        }
    }

    /// What the ledger knows of the items.
    async fn records(&self, keys: &BTreeSet<ResourceKey>) -> Result<Vec<ItemRecord>, Stop> {
        let mut records = Vec::new();
        for key in keys {
            records.extend(self.gate.ports.ledger.item(key).await.map_err(|error| self.no_ledger(&error))?);
        }
        Ok(records)
    }

    /// What a rule that only observes would have refused with; else the refusal.
    fn judge_unread(&self, caller: &Caller, records: &[ItemRecord]) -> Result<Option<Code>, Stop> {
        records.iter().try_for_each(|record| self.is_quiet(record))?;
        match records.iter().find_map(|record| self.refusal_by_holding(caller, record)) {
            None => Ok(None),
            Some(rejection) if self.is_observing() => Ok(Some(rejection.code)),
            Some(rejection) => Err(Stop::Refuse(rejection)),
        }
    }

    /// Above the rules is not above what is under way, nor above a doubt that is not over yet.
    fn is_quiet(&self, record: &ItemRecord) -> Result<(), Stop> {
        let locator = &self.told_of(record);
        let left = record.doubt_left(self.gate.ports.clock.now());
        let rejection = match () {
            () if record.live.is_some() => {
                refusal::plain(Code::Busy, locator, format!("another write of {locator} is under way; try again"))
            }
            () if !record.doubts.is_empty() && !left.is_zero() => {
                let message = format!(
                    "a write of {locator} was sent and its outcome is not known yet; it is closed for another {} s",
                    left.as_secs()
                );
                refusal::retry(Code::InDoubt, locator, message, left)
            }
            () => return Ok(()),
        };
        Err(Stop::Refuse(rejection))
    }

    /// Where a refusal says that the item is: on the form's page, if it is not known to be in the repository of that,
    /// which is all that the sender has shown to see.
    fn told_of(&self, record: &ItemRecord) -> Locator {
        if record.locator.project == self.ask.bulk.project { record.locator.clone() } else { self.locator() }
    }

    /// While somebody holds an item, it is its holder's to move; and nobody, above the rules or not, can know what a
    /// toggle does to it unread.
    fn refusal_by_holding(&self, caller: &Caller, record: &ItemRecord) -> Option<Box<Rejection>> {
        let held = record.held_by_another(&caller.actor).filter(|held| !held.parked)?;
        let locator = &self.told_of(record);
        if *locator != record.locator {
            let message =
                "somebody holds an item of this form; nothing was sent: use its repository's pages, or the API";
            return Some(refusal::plain(Code::NotHolder, locator, message.to_owned()));
        }
        let message = match &self.ask.bulk.wants {
            Wants::Beside { moves: true, .. } if !caller.overrider => {
                format!("{locator} is held by {held}; only the holder may move it")
            }
            Wants::Assignee { .. } | Wants::ToggleLabel(_) => format!(
                "{locator} is held by {}, and this form toggles: without upstream.service_token_file the gate cannot \
                 read what it would do; clear the assignees, attach or detach the label, or use the API",
                held.actor
            ),
            Wants::Beside { .. } | Wants::Change(_) => return None,
        };
        let rejection = refusal::plain(Code::NotHolder, locator, message);
        Some(Box::new(Rejection { holder: Some(held.actor.clone()), since: Some(held.since), ..*rejection }))
    }

    /// Whether it was the workflow's refusal, and that only observes. What a toggle would do no mode can tell.
    fn is_observing(&self) -> bool {
        matches!(self.ask.bulk.wants, Wants::Beside { .. }) && self.rules.workflow.mode == Mode::Observe
    }

    /// One line an item, durable before anything is sent. Returns the first one's name.
    async fn record_all(
        &self,
        caller: &Caller,
        keys: &BTreeSet<ResourceKey>,
        records: &[ItemRecord],
        observed: Option<Code>,
    ) -> Result<String, Stop> {
        let mut about: Vec<(Option<ResourceKey>, Option<Locator>)> = Vec::new();
        for key in keys {
            let known = records.iter().find(|record| record.key == *key).map(|record| record.locator.clone());
            let place = match known {
                Some(locator) => Some(locator),
                None => self.gate.reads.place(key).await,
            };
            about.push((Some(key.clone()), place));
        }
        if about.is_empty() {
            let place = matches!(self.ask.bulk.items, Items::At(_)).then(|| self.locator());
            about.push((None, place));
        }
        let ledger = &self.gate.ports.ledger;
        let mut first = None;
        for (key, place) in about {
            let mut note = self.note(caller, admitted(observed), observed);
            note.resource_id = key;
            note.resource = place;
            note.reason = first.as_ref().map(|first| format!("in one request with {first}"));
            first.get_or_insert_with(|| note.id.clone());
            ledger.record(note, self.gate.ports.clock.now());
        }
        ledger.flushed().await.map_err(|error| self.no_ledger(&error))?;
        Ok(first.unwrap_or_default())
    }

    /// Every item, as the form named it.
    fn as_asked(&self, keys: &BTreeSet<ResourceKey>) -> Vec<(ResourceKey, Change)> {
        let change = match &self.ask.bulk.wants {
            Wants::Change(change) => change.clone(),
            Wants::Assignee { .. } | Wants::ToggleLabel(_) | Wants::Beside { .. } => Change::default(),
        };
        if keys.is_empty() {
            // Named by its place alone, which is what the form is sent to.
            return vec![(ResourceKey::new(""), change)];
        }
        keys.iter().map(|key| (key.clone(), change.clone())).collect()
    }

    /// The answer to a form of which no item needed a write.
    pub(super) fn nothing_to_send(&self, id: &str, response: WireResponse) -> Reply {
        self.decided(Decision::Noop, None, id, Answered::Tracker(response))
    }

    /// Several refusals as one: nothing was sent, and why, by name.
    pub(super) fn all_refused(rejections: &[&Rejection], of: usize) -> Box<Rejection> {
        let Some(first) = rejections.first() else {
            return Box::new(Rejection::of_request(Code::Busy, "try again"));
        };
        if of == 1 {
            return Box::new((*first).clone());
        }
        let texts: Vec<&str> = rejections.iter().map(|rejection| rejection.message.as_str()).collect();
        let message = format!("{} of {of} items cannot be changed, so none was: {}", rejections.len(), some_of(&texts));
        Box::new(Rejection { message, ..(*first).clone() })
    }
}

fn admitted(observed: Option<Code>) -> Decision {
    if observed.is_some() { Decision::Observe } else { Decision::Admit }
}
