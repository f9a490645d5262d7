//! A holder's own release of an item that the tracker does not show it any more: deleted, or out of its reach.
//!
//! There is nothing to read and nothing to send, and the holder says that it is done. So its record ends, by a grant of
//! its own without a send; the tracker's answer goes back as it came.

use super::super::{After, Answered};
use super::{Ended, Entered, Section, Stop};
use crate::admission::{Step, Verified};
use crate::dialect::{Address, WireResponse};
use crate::effect::{Decision, Durability, LedgerError};
use crate::model::{Caller, ItemRecord, Kind, OpenState, Ownership, Shown};
use std::collections::BTreeSet;
use std::time::Duration;

impl Section {
    /// Whether the caller gives up what the tracker does not show it. A credential that nobody knows (401) says nothing.
    pub(super) fn lets_go_of(&self, record: &ItemRecord, caller: &Caller, denied: &WireResponse) -> bool {
        let Some(held) = record.holding.as_ref().filter(|held| held.actor.goes_on_as(&caller.actor)) else {
            return false;
        };
        let unseen = matches!(denied.status.as_u16(), 403 | 404 | 410);
        unseen && record.doubts.is_empty() && self.clears(&held.shown.assignees)
    }

    fn clears(&self, assigned: &BTreeSet<crate::model::Login>) -> bool {
        let asked = self.ask.intent.change.assignees.as_ref();
        asked.is_some_and(|change| change.apply(assigned).is_empty())
    }

    /// Under the turn, with an attempt OPEN: the holding ends.
    pub(super) async fn let_go(&self, at: &Entered<'_>, record: &ItemRecord, denied: WireResponse) -> Ended {
        let shown = record.holding.as_ref().map_or_else(nothing, |held| held.shown.clone());
        let step = Step::Grant { attempt: at.attempt.clone(), kind: Kind::Release, ownership: Ownership::Ends, shown };
        let mut note = self.note(at, Decision::Noop, None);
        note.upstream_status = Some(denied.status.as_u16());
        note.reason = Some("the tracker does not show the item to its holder".to_owned());
        let command = self.command(at.key, &record.locator, step, Some(note));
        at.turn.forget();
        match self.gate.ports.ledger.commit(vec![command], Durability::Awaited).await {
            Ok(_) => {
                let after = After { let_go: true, ..After::default() };
                Ok(crate::gate::Reply { after, ..self.reply(at, Decision::Noop, None, Answered::Tracker(denied)) })
            }
            Err(error) => {
                let refused = Stop::Refuse(Self::not_entered(&record.locator, &error));
                self.give_up(at, refused, Durability::NextGroup).await
            }
        }
    }

    /// The tracker did not let the caller read the item before its turn. What the caller holds there, it may give up.
    pub(super) async fn denied_item(&self, address: &Address, caller: &Caller, denied: WireResponse) -> Ended {
        match self.let_go_unread(address, caller, &denied).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(Stop::Tracker(Box::new(denied))),
            Err(error) => Err(Stop::Refuse(Self::not_entered(&address.locator(), &error))),
        }
    }

    async fn let_go_unread(
        &self,
        address: &Address,
        caller: &Caller,
        denied: &WireResponse,
    ) -> Result<Option<crate::gate::Reply>, LedgerError> {
        if !matches!(denied.status.as_u16(), 403 | 404 | 410) || self.ask.intent.change.assignees.is_none() {
            return Ok(None);
        }
        let (ledger, locator) = (&self.gate.ports.ledger, address.locator());
        let own = ledger.of_account(&caller.actor.account).await?;
        let Some(known) = own.into_iter().find(|record| record.locator == locator && self.may_let_go(record, caller))
        else {
            return Ok(None);
        };
        let Ok(turn) = self.enter(&known.key, address).await else { return Ok(None) };
        let Some(record) = self.without_old_doubts(&known, caller).await? else { return Ok(None) };
        if !self.lets_go_of(&record, caller, denied) {
            return Ok(None);
        }
        let attempt = self.attempt(&known.key, address, caller);
        let id = attempt.id.clone();
        ledger.commit(vec![self.command(&known.key, &locator, Step::Open(attempt), None)], Durability::Awaited).await?;
        self.note_entry(&known.key, &locator, &id, caller);
        let at = Entered { turn: &turn, caller, key: &known.key, attempt: id, waited: Duration::ZERO };
        let reply = self.let_go(&at, &record, denied.clone()).await.ok();
        self.entered.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        Ok(reply)
    }

    /// Whether there is something of the caller's own in the record, and nobody else's.
    fn may_let_go(&self, record: &ItemRecord, caller: &Caller) -> bool {
        let own = |doubt: &crate::model::Doubt| doubt.actor.goes_on_as(&caller.actor);
        let in_doubt = record.is_in_doubt(self.gate.ports.clock.now());
        !in_doubt
            && record.held_by_another(&caller.actor).is_none()
            && record.doubts.iter().all(own)
            && (record.is_held_by(&caller.actor) || !record.doubts.is_empty())
    }

    /// The record once the caller's own doubts past their time are over: nobody can look at what became of them.
    async fn without_old_doubts(&self, known: &ItemRecord, caller: &Caller) -> Result<Option<ItemRecord>, LedgerError> {
        let ledger = &self.gate.ports.ledger;
        let Some(record) = ledger.item(&known.key).await?.filter(|record| self.may_let_go(record, caller)) else {
            return Ok(None);
        };
        if record.doubts.is_empty() {
            return Ok(Some(record));
        }
        let doubts = record.doubts.iter().map(|doubt| doubt.attempt.clone()).collect();
        let step = Step::Resolve { doubts, verified: Verified::Unseen };
        let mut note = self.bare_note(Decision::Noop, None);
        note.reason = Some("its time is over, and the tracker does not show the item to its agent".to_owned());
        let command = self.command(&known.key, &record.locator, step, Some(Box::new(note)));
        Ok(ledger.commit(vec![command], Durability::Awaited).await?.pop())
    }
}

fn nothing() -> Shown {
    Shown { assignees: BTreeSet::new(), statuses: BTreeSet::new(), state: OpenState::Open }
}
