//! A holder's own release of an item that the tracker does not show it any more: deleted, or out of its reach.
//!
//! There is nothing to read and nothing to send, and the holder says that it is done. So its record ends, by a grant of
//! its own without a send; the tracker's answer goes back as it came.

use super::super::{After, Answered, Reply};
use super::{EarlyExit, Item, Party, SectionResult, TurnContext, Walk};
use crate::admission::{Step, Verified};
use crate::dialect::{Address, Subject, WireResponse};
use crate::effect::{Decision, Durability, LedgerError};
use crate::model::{Account, AttemptId, Caller, Doubt, ItemRecord, Kind, OpenState, Ownership, Shown};
use std::collections::BTreeSet;
use std::time::Duration;

impl Walk {
    /// Whether the caller gives up what the tracker does not show it. A credential that nobody knows (401) says nothing.
    pub(super) fn lets_go_of(&self, record: &ItemRecord, caller: &Caller, denied: &WireResponse) -> bool {
        let Some(held) = record.holding.as_ref().filter(|held| held.actor.goes_on_as(&caller.actor)) else {
            return false;
        };
        is_unseen(denied) && record.doubts.is_empty() && self.clears(&held.last_seen.assignees)
    }

    fn clears(&self, assigned: &BTreeSet<Account>) -> bool {
        let asked = self.request().change().and_then(|change| change.assignees.as_ref());
        asked.is_some_and(|change| change.apply(assigned).is_empty())
    }

    /// Under the turn, with an attempt OPEN: the holding ends.
    pub(super) async fn let_go(
        &self,
        at: &TurnContext<'_>,
        item: &Item<'_>,
        (attempt, record): (&AttemptId, &ItemRecord),
        denied: WireResponse,
    ) -> Result<Reply, EarlyExit> {
        let shown = record.holding.as_ref().map_or_else(nothing, |held| held.last_seen.clone());
        let step = Step::Grant { attempt: attempt.clone(), kind: Kind::Release, ownership: Ownership::Ends, shown };
        let mut note = self.note(at, attempt, Decision::Noop, None);
        note.upstream_status = Some(denied.code());
        note.reason = Some("the tracker does not show the item to its holder".to_owned());
        let confirm = Step::Confirm { attempt: attempt.clone(), fence: record.fence };
        let confirm = self.command(&item.key, &record.locator, confirm, None);
        let command = self.command(&item.key, &record.locator, step, Some(note));
        item.turn.forget();
        let done = self.gate.ports.ledger.commit(vec![confirm, command], Durability::Awaited).await;
        done.map_err(|error| EarlyExit::Refuse(Self::not_entered(&record.locator, &error)))?;
        let after = After { let_go: true, ..After::default() };
        Ok(Reply { after, ..self.decided(Decision::Noop, None, attempt.as_str(), Answered::Tracker(denied)) })
    }

    /// What the tracker did not let the caller read, the caller may give up all the same.
    pub(super) async fn or_let_go(&self, ended: SectionResult, party: &Party) -> SectionResult {
        let Subject::At(address) = self.request().subject() else { return ended };
        if self.is_form() {
            return ended;
        }
        match ended {
            // Before its turn.
            Err(EarlyExit::Tracker(response)) => Box::pin(self.denied_item(&address, party, *response)).await,
            // Its own doubt stood in the way of letting go.
            Ok(Reply { decision: Decision::Reject, answer: Answered::Tracker(response), id, code, .. }) => {
                match Box::pin(self.denied_item(&address, party, response)).await {
                    Err(EarlyExit::Tracker(response)) => {
                        Ok(self.decided(Decision::Reject, code, &id, Answered::Tracker(*response)))
                    }
                    ended => ended,
                }
            }
            ended => ended,
        }
    }

    async fn denied_item(&self, address: &Address, party: &Party, denied: WireResponse) -> SectionResult {
        match self.let_go_unread(address, party, &denied).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(EarlyExit::Tracker(Box::new(denied))),
            Err(error) => Err(EarlyExit::Refuse(Self::not_entered(&address.locator(), &error))),
        }
    }

    async fn let_go_unread(
        &self,
        address: &Address,
        party: &Party,
        denied: &WireResponse,
    ) -> Result<Option<Reply>, LedgerError> {
        let asks = self.request().change().is_some_and(|change| change.assignees.is_some());
        if !is_unseen(denied) || !asks {
            return Ok(None);
        }
        let (ledger, locator, caller) = (&self.gate.ports.ledger, address.locator(), &party.caller);
        let own = ledger.of_account(&caller.actor.account).await?;
        let Some(known) = own.into_iter().find(|record| record.locator == locator && self.may_let_go(record, caller))
        else {
            return Ok(None);
        };
        let Ok(turn) = self.enter_one(&known.key, &locator, caller).await else { return Ok(None) };
        if !self
            .without_old_doubts(&known, caller)
            .await?
            .is_some_and(|record| self.lets_go_of(&record, caller, denied))
        {
            return Ok(None);
        }
        let change = self.request().change().cloned().unwrap_or_default();
        let item = Item {
            key: known.key.clone(),
            address: address.clone(),
            turn: &turn,
            read: None,
            change,
            spelled_by: None,
        };
        let at = TurnContext { party, waited: Duration::ZERO, until: tokio::time::Instant::now() };
        let attempt = self.attempt(&item, caller);
        let (id, entry) = (attempt.id.clone(), self.entry(&attempt, caller));
        let open = self.command(&known.key, &locator, Step::Open(attempt), None);
        let opened = ledger.commit(vec![open], Durability::Awaited).await?.pop();
        self.entered().push(entry);
        // Another gate may have written it since it was looked at.
        let own = opened.filter(|record| self.lets_go_of(record, caller, denied));
        let let_go = match own {
            Some(record) => self.let_go(&at, &item, (&id, &record), denied.clone()).await,
            None => Err(EarlyExit::Tracker(Box::new(denied.clone()))),
        };
        let reply = match let_go {
            Err(stop) => self.give_up(&at, stop, Durability::NextGroup).await.ok(),
            told => told.ok(),
        };
        self.entered().clear();
        Ok(reply)
    }

    /// Whether there is something of the caller's own in the record, and nobody else's.
    fn may_let_go(&self, record: &ItemRecord, caller: &Caller) -> bool {
        let own = |doubt: &Doubt| doubt.actor.goes_on_as(&caller.actor);
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

/// 401 says something about the credential only.
fn is_unseen(denied: &WireResponse) -> bool {
    denied.class().is_unseen()
}

fn nothing() -> Shown {
    Shown { assignees: BTreeSet::new(), statuses: BTreeSet::new(), state: OpenState::Open }
}
