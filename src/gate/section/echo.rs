//! An edit that repeats what the item shows: judged under the item's turn, before there is an attempt.
//!
//! What is echoed is no write, so it enters nothing: neither a holder nor a write in doubt stands in its way, and it can
//! leave no doubt behind. What is left of the request touches nothing guarded and goes on like all that passes.

use super::{Fresh, Section, Stop};
use crate::admission::{self, StateTag, Unnamed};
use crate::dialect::{Address, WireRequest};
use crate::effect::Decision;
use crate::gate::{After, Answered, Reply, Turn};
use crate::model::{Caller, Change, Instance, ItemRecord, ResourceKey, Snapshot};
use std::borrow::Cow;
use std::time::Duration;

impl Section {
    /// The answer of a request that changes nothing guarded; else what was read for it is kept.
    pub(super) async fn echo(
        &self,
        key: &ResourceKey,
        address: &Address,
        caller: &Caller,
        turn: &Turn,
        fresh: &mut Option<Fresh>,
        waited: Duration,
    ) -> Result<Option<Reply>, Stop> {
        if !self.ask.intent.edits_more() {
            return Ok(None);
        }
        let read = match fresh.take().filter(|fresh| self.still_fresh(fresh, turn)) {
            Some(read) => read,
            None => self.read(address, "observe").await?,
        };
        if read.seen.key != *key {
            return Err(Stop::Moved);
        }
        // Where the ledger cannot be read, it says so as the attempt is entered.
        let record = match self.gate.ports.ledger.item(key).await {
            Ok(Some(record)) => Some(record),
            Ok(None) => Some(ItemRecord::new(key.clone(), address.locator())),
            Err(_) => None,
        };
        let echoes = record.is_some_and(|record| self.beyond_echo(caller, &record, &read.seen).is_empty());
        let expected = self.ask.expectation.is_met(&self.rules.workflow.shown(&read.seen));
        if echoes && expected {
            return Ok(Some(self.repeats_what_shows(key, &read, waited)));
        }
        *fresh = Some(read);
        Ok(None)
    }

    /// What is asked for besides what shows. Only an edit of something else echoes: guarded fields alone are meant.
    pub(super) fn beyond_echo(&self, caller: &Caller, record: &ItemRecord, seen: &Snapshot) -> Cow<'_, Change> {
        let asked = &self.ask.intent.change;
        if !self.ask.intent.edits_more() {
            return Cow::Borrowed(asked);
        }
        let shared = caller.shared || self.must_name_itself(caller);
        Cow::Owned(admission::without_echo(asked, &Caller { shared, ..caller.clone() }, record, seen))
    }

    /// The same for the decision: what is left out is recorded.
    pub(super) fn asked_beyond_echo(&self, caller: &Caller, record: &ItemRecord, seen: &Snapshot) -> Cow<'_, Change> {
        let left = self.beyond_echo(caller, record, seen);
        if let Some(fields) = admission::echoed_fields(&self.ask.intent.change, &left) {
            // A section decides once; only a path that came to name another item would say it again.
            let _ = self.echoed.set(format!("left out, since the item shows it so: {fields}"));
        }
        left
    }

    pub(super) fn is_named(&self, caller: &Caller) -> Result<(), Stop> {
        if self.must_name_itself(caller) { Err(Stop::Refuse(self.nameless(caller))) } else { Ok(()) }
    }

    fn must_name_itself(&self, caller: &Caller) -> bool {
        let instance = caller.actor.instance.as_ref();
        let is_missing = caller.shared && instance.is_none_or(Instance::is_address)
            || self.rules.unnamed == Unnamed::Refuse && instance.is_none();
        is_missing && !caller.overrider
    }

    fn repeats_what_shows(&self, key: &ResourceKey, read: &Fresh, waited: Duration) -> Reply {
        let shown = self.rules.workflow.shown(&read.seen);
        let mut note = self.bare_note(Decision::Noop, None);
        note.resource_id = Some(key.clone());
        note.waited = waited;
        note.observed = Some(shown.clone());
        note.reason = Some("it repeats what the item shows; the rest of it was passed on".to_owned());
        let id = note.id.clone();
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        let answer = self.gate.ports.dialect.accept(&self.intent_at(&read.address), &read.response);
        let after = After { rest: Some(self.rest(&read.address)), ..After::default() };
        let state = Some(StateTag::of(&shown));
        Reply { state, after, ..self.decided(Decision::Noop, None, &id, Answered::Tracker(answer)) }
    }

    /// The request without anything guarded.
    pub(super) fn rest(&self, address: &Address) -> Box<WireRequest> {
        let intent = self.intent_at(address).asking_for(Change::default());
        Box::new(self.gate.ports.dialect.emit(&intent, &self.ask.headers, &self.ask.credential))
    }
}
