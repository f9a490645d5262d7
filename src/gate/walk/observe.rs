//! How the items stand: each is read inside its turn, and what changed outside the gate is accounted for first.

use super::super::lanes::KEPT;
use super::super::{Reply, Turn, refusal};
use super::turns::is_own_under_another_name;
use super::{EarlyExit, Item, ItemRead, Observed, Opened, TurnContext, Walk};
use crate::admission::Step;
use crate::effect::{Durability, failpoint};
use crate::model::{Actor, Code, ItemRecord};

/// What the items showed.
pub(super) enum Sight<'t> {
    Shown(Vec<Observed<'t>>),
    /// Nothing to its own holder, who gave the item up and is told so.
    LetGo(Box<Reply>),
}

impl Walk {
    pub(super) fn hear_holder(&self, at: &TurnContext<'_>, opened: &[Opened<'_>]) {
        let caller = &at.party.caller.actor;
        for one in opened.iter().filter(|one| one.record.is_held_by(caller)) {
            self.gate.hear_about(&one.item.address, caller.clone());
        }
    }

    pub(super) async fn observe<'t>(
        &self,
        at: &TurnContext<'_>,
        opened: Vec<Opened<'t>>,
    ) -> Result<Sight<'t>, EarlyExit> {
        let mut observed = Vec::with_capacity(opened.len());
        for Opened { mut item, attempt, record } in opened {
            let read = match self.look(at, &mut item).await {
                Ok(read) => read,
                Err(EarlyExit::Tracker(response)) if self.lets_go_of(&record, &at.party.caller, &response) => {
                    return self
                        .let_go(at, &item, (&attempt, &record), *response)
                        .await
                        .map(|reply| Sight::LetGo(Box::new(reply)));
                }
                Err(stop) => return Err(stop),
            };
            failpoint::reach("observed");
            // What was spelled out by another state of the item is not what was asked.
            if item.spelled_by.as_ref().is_some_and(|by| *by != read.seen) {
                let locator = &read.seen.locator;
                let message = format!("{locator} was changed meanwhile; nothing was sent; try again");
                return Err(EarlyExit::Refuse(refusal::plain(Code::Busy, locator, message)));
            }
            let Item { key, turn, change, .. } = item;
            let one = Observed { key, turn, attempt, change, record, read };
            observed.push(self.reconcile(at, one).await?);
        }
        Ok(Sight::Shown(observed))
    }

    /// The item as it stands inside its turn: as it was read there, or just before it.
    async fn look(&self, at: &TurnContext<'_>, item: &mut Item<'_>) -> Result<ItemRead, EarlyExit> {
        let before = item.read.take();
        let Some(reader) = at.party.reader.as_ref().filter(|_| self.is_form()) else {
            return match before.filter(|read| self.still_stands(read, item.turn)) {
                Some(read) => item.is_still(read),
                None => item.is_still(self.read(&item.address, "observe").await?),
            };
        };
        match before {
            // It was read in this turn.
            Some(read) if self.gate.ports.ledger.admits_early_reads() => Ok(read),
            before => {
                let again = self.read_again(item.key.clone(), item.address.clone(), reader).await?;
                if before.is_some_and(|before| before.seen != again.seen) {
                    let locator = &again.seen.locator;
                    let message = format!("{locator} was changed meanwhile; nothing was sent; try again");
                    return Err(EarlyExit::Refuse(refusal::plain(Code::Busy, locator, message)));
                }
                Ok(again)
            }
        }
    }

    /// Whether a read from before the turn stands for one inside it: no turn of the item has ended since it began, and
    /// there are no turns but those of this process.
    pub(super) fn still_stands(&self, read: &ItemRead, turn: &Turn) -> bool {
        let untouched = match turn.last_ended {
            Some(ended) => ended < read.began,
            None => self.gate.ports.clock.boot() < read.began + KEPT,
        };
        untouched && self.gate.ports.ledger.admits_early_reads() && read.began >= self.ask.arrived
    }

    /// What changed outside the gate is judged first, and takes its own step.
    async fn reconcile<'t>(&self, at: &TurnContext<'_>, mut one: Observed<'t>) -> Result<Observed<'t>, EarlyExit> {
        one.record = self.rebind(at, &one).await?.unwrap_or(one.record);
        let seen = &one.read.seen;
        let done = self.gate.account_for(one.record, (seen, &one.attempt), &at.party.rules, one.turn).await;
        one.record = done.map_err(|error| EarlyExit::Refuse(Self::not_entered(&seen.locator, &error)))?;
        failpoint::reach("reconciled");
        Ok(one)
    }

    /// A holder that was known by its credential alone has got a name since: the same agent goes on under it.
    async fn rebind(&self, at: &TurnContext<'_>, one: &Observed<'_>) -> Result<Option<ItemRecord>, EarlyExit> {
        let (caller, seen) = (&at.party.caller, &one.read.seen);
        let held = one.record.holding.as_ref().filter(|held| is_own_under_another_name(held, caller, seen));
        let Some(held) = held.filter(|_| !self.is_form()) else { return Ok(None) };
        let from = held.actor.clone();
        let instance = from.instance.clone().or_else(|| caller.actor.instance.clone());
        let to = Actor { account: caller.actor.account.clone(), instance };
        let note = self.gate.outside_note(seen);
        let command = self.command(&one.key, &seen.locator, Step::Rebind { from, to }, Some(note));
        one.turn.forget();
        let done = self.gate.ports.ledger.commit(vec![self.confirm(one), command], Durability::Awaited).await;
        Ok(done.map_err(|error| EarlyExit::Refuse(Self::not_entered(&seen.locator, &error)))?.pop())
    }
}

impl Item<'_> {
    /// The read, if its path still names this item.
    pub(super) fn is_still(&self, read: ItemRead) -> Result<ItemRead, EarlyExit> {
        if read.seen.key == self.key { Ok(read) } else { Err(EarlyExit::Moved) }
    }
}
