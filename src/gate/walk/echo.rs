//! What is echoed is no write: a request that repeats the guarded values that the item shows asks for the rest of it only
//! (manual: rules).

use super::super::{After, Answered, Reply};
use super::{EarlyExit, Item, TurnContext, Walk};
use crate::admission::{self, StateTag};
use crate::dialect::{Address, Chosen, WireRequest};
use crate::effect::Decision;
use crate::model::{Caller, Change, ItemRecord, Snapshot};
use std::borrow::Cow;

impl Walk {
    /// The answer of a request that changes nothing guarded; else what was read for it is kept.
    pub(super) async fn echo(&self, at: &TurnContext<'_>, items: &mut [Item<'_>]) -> Result<Option<Reply>, EarlyExit> {
        let ([item], true) = (items, self.request().edits_more()) else { return Ok(None) };
        let read = match item.read.take().filter(|read| self.still_stands(read, item.turn)) {
            Some(read) => read,
            None => self.read(&item.address, "observe").await?,
        };
        if read.seen.key != item.key {
            return Err(EarlyExit::Moved);
        }
        // Where the ledger cannot be read, it says so as the attempt is entered.
        let record = match self.gate.ports.ledger.item(&item.key).await {
            Ok(Some(record)) => Some(record),
            Ok(None) => Some(ItemRecord::new(item.key.clone(), item.locator())),
            Err(_) => None,
        };
        let caller = &at.party.caller;
        let left = |record| self.beyond_echo(&item.change, caller, record, &read.seen).is_empty();
        let echoes = record.as_ref().is_some_and(left);
        let expected = self.ask.expectation.is_met(&self.rules.workflow.shown(&read.seen));
        if echoes && expected {
            return Ok(Some(self.repeats_what_shows(at, item, &read)));
        }
        item.read = Some(read);
        Ok(None)
    }

    /// What is asked for besides what shows. Only an edit of something else echoes: guarded fields alone are meant.
    pub(super) fn beyond_echo<'c>(
        &self,
        asked: &'c Change,
        caller: &Caller,
        record: &ItemRecord,
        seen: &Snapshot,
    ) -> Cow<'c, Change> {
        if !self.request().edits_more() {
            return Cow::Borrowed(asked);
        }
        let shared = caller.shared || self.must_name_itself(caller);
        Cow::Owned(admission::without_echo(asked, &Caller { shared, ..caller.clone() }, record, seen))
    }

    /// The same for the decision: what is left out is recorded.
    pub(super) fn asked_beyond_echo<'c>(
        &self,
        asked: &'c Change,
        caller: &Caller,
        record: &ItemRecord,
        seen: &Snapshot,
    ) -> Cow<'c, Change> {
        let left = self.beyond_echo(asked, caller, record, seen);
        if let Some(fields) = admission::echoed_fields(asked, &left) {
            // A walk decides once; only a path that came to name another item would say it again.
            let _ = self.echoed.set(format!("left out, since the item shows it so: {fields}"));
        }
        left
    }

    fn repeats_what_shows(&self, at: &TurnContext<'_>, item: &Item<'_>, read: &super::ItemRead) -> Reply {
        let shown = self.rules.workflow.shown(&read.seen);
        let mut note = self.bare_note(Decision::Noop, None);
        note.resource_id = Some(item.key.clone());
        note.waited = at.waited;
        note.observed = Some(shown.clone());
        note.reason = Some("it repeats what the item shows; the rest of it was passed on".to_owned());
        // The tracker's answer to the rest takes its place.
        let answer = self.request().accept(Some(&read.response)).unwrap_or_else(|| read.response.clone());
        let after = After { rest: Some(self.rest(&read.address)), ..After::default() };
        let state = Some(StateTag::of(&shown));
        Reply { state, after, ..self.recorded(note, Decision::Noop, None, Answered::Tracker(answer)) }
    }

    /// The request without anything guarded.
    pub(super) fn rest(&self, address: &Address) -> Box<WireRequest> {
        let nothing = Change::default();
        let chosen = Chosen { address: Some(address), ..Chosen::unread(None, &nothing) };
        Box::new(self.request().emit(&[chosen], &self.ask.headers, &self.ask.credential))
    }
}
