//! A form whose items are not read: nothing of what it changes shows in a read, or there is nothing to read with and its
//! sender is above the rules.
//!
//! It takes the turns, respects what is under way and in doubt, and is recorded before it is sent. The next guarded write of
//! each item reads anew, and takes what it finds as the edit that it is.

use super::notes::authority;
use super::{EarlyExit, Found, SectionResult, TurnContext, Walk};
use crate::admission::{Mode, Step};
use crate::dialect::{Chosen, Request as _, Subject, Wants};
use crate::effect::{CallError, Command, Decision, Durability, Note, Sending};
use crate::gate::cancellation::Cancellation;
use crate::gate::{Answered, Turn, refusal};
use crate::model::{Attempt, Caller, Change, Code, ItemRecord, Place, Rejection, ResourceKey};

impl Walk {
    pub(super) async fn unread(
        &self,
        at: &TurnContext<'_>,
        found: &[Found],
        turns: &[Turn],
        cancellation: &Cancellation,
    ) -> SectionResult {
        let caller = &at.party.caller;
        let records = self.records(found).await?;
        records.iter().try_for_each(|record| self.is_quiet(record))?;
        self.judge_unread(caller, &records)?;
        if !cancellation.commit() {
            return Err(EarlyExit::Gone);
        }
        // What was seen before may not stand after this.
        turns.iter().for_each(Turn::forget);
        let entered = self.keep_others_out(found, &records, caller).await?;
        let ended = match self.records(found).await {
            Ok(records) => self.send_unread(caller, found, &records).await,
            Err(stop) => Err(stop),
        };
        if !entered.is_empty() {
            self.close(entered, Durability::NextGroup).await;
            self.entered().clear();
        }
        ended
    }

    /// Where turns keep out this gate's own requests only, an attempt of each item does, which leaves no trace. An item in
    /// doubt lets nobody else in. Returns what ends the attempts.
    async fn keep_others_out(
        &self,
        found: &[Found],
        records: &[ItemRecord],
        caller: &Caller,
    ) -> Result<Vec<Command>, EarlyExit> {
        let ledger = &self.gate.ports.ledger;
        if ledger.admits_early_reads() {
            return Ok(Vec::new());
        }
        let (mut attempts, unchanged) = (Vec::new(), Change::default());
        for Found { key, .. } in found {
            let known = records.iter().find(|record| record.key == *key);
            let place = match known {
                Some(record) if !record.doubts.is_empty() => continue,
                Some(record) => record.locator.clone(),
                None => self.gate.reads.place(key).await.unwrap_or_else(|| self.request().locator()),
            };
            let id = self.gate.ports.entropy.attempt_id(self.gate.ports.clock.now());
            attempts.push(self.gate.attempt(id, (key, &place), caller, &unchanged));
        }
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        let step = |attempt: &Attempt, step| self.command(&attempt.key, &attempt.locator, step, None);
        let open = attempts.iter().map(|attempt| step(attempt, Step::Open(attempt.clone()))).collect();
        let opened = ledger.commit(open, Durability::Awaited).await;
        opened.map_err(|error| EarlyExit::Refuse(Self::not_entered(&self.request().locator(), &error)))?;
        *self.entered() = attempts.iter().map(|attempt| self.entry(attempt, caller)).collect();
        Ok(attempts.iter().map(|attempt| step(attempt, Step::Withdraw(attempt.id.clone()))).collect())
    }

    /// Judged by what the items' records are now that nobody else can write them.
    async fn send_unread(&self, caller: &Caller, found: &[Found], records: &[ItemRecord]) -> SectionResult {
        let observed = self.judge_unread(caller, records)?;
        let lines = self.lines(caller, found, records, observed).await;
        let id = lines.first().map_or_else(String::new, |line| line.id.clone());
        let recorded = Sending::recorded(&*self.gate.ports.ledger, lines, self.gate.ports.clock.now()).await;
        let sending = recorded.map_err(|error| self.no_ledger(&error))?;
        let change = self.request().change().cloned().unwrap_or_default();
        let chosen: Vec<Chosen<'_>> = found.iter().map(|item| Chosen::unread(Some(&item.key), &change)).collect();
        // Named by its place alone, which is what the form is sent to.
        let chosen = if chosen.is_empty() { vec![Chosen::unread(None, &change)] } else { chosen };
        let request = self.request().emit(&chosen, &self.ask.headers, &self.ask.credential);
        let answer = self.dispatch(sending, request, None, self.emit_by()).await;
        match answer {
            Ok(response) => Ok(self.decided(admitted(observed), observed, &id, Answered::Tracker(response))),
            Err(CallError::Unknown(why) | CallError::TooLong(why)) => {
                tracing::warn!(upstream.error = why, "no certain answer to a form");
                Err(EarlyExit::Refuse(self.unknown(&[])))
            }
            Err(error) => Err(self.not_sent(&error)),
        }
    }

    /// What the ledger knows of the items.
    async fn records(&self, found: &[Found]) -> Result<Vec<ItemRecord>, EarlyExit> {
        let mut records = Vec::new();
        for item in found {
            records.extend(self.gate.ports.ledger.item(&item.key).await.map_err(|error| self.no_ledger(&error))?);
        }
        Ok(records)
    }

    /// What a rule that only observes would have refused with; else the refusal.
    fn judge_unread(&self, caller: &Caller, records: &[ItemRecord]) -> Result<Option<Code>, EarlyExit> {
        match records.iter().find_map(|record| self.refusal_by_holding(caller, record)) {
            None => Ok(None),
            Some(rejection) if self.is_observing() => Ok(Some(rejection.code)),
            Some(rejection) => Err(EarlyExit::Refuse(rejection)),
        }
    }

    /// Above the rules is not above what is under way, nor above a doubt that is not over yet.
    fn is_quiet(&self, record: &ItemRecord) -> Result<(), EarlyExit> {
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
        Err(EarlyExit::Refuse(rejection))
    }

    /// Where a refusal says that the item is: of a form on its page, if it is not known to be in the repository of that,
    /// which is all that the sender has shown to see.
    fn told_of(&self, record: &ItemRecord) -> Place {
        if !self.is_form() || self.request().page().is_some_and(|page| record.locator.is_in(page)) {
            record.locator.clone()
        } else {
            self.request().locator()
        }
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
        let message = match self.request().wants() {
            Wants::Beside { moves: true } if !caller.overrider => {
                format!("{locator} is held by {held}; only the holder may move it")
            }
            Wants::Toggle => format!(
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
        matches!(self.request().wants(), Wants::Beside { .. }) && self.rules.workflow.mode == Mode::Observe
    }

    /// One line an item, durable before anything is sent.
    async fn lines(
        &self,
        caller: &Caller,
        found: &[Found],
        records: &[ItemRecord],
        observed: Option<Code>,
    ) -> Vec<Note> {
        let mut about: Vec<(Option<ResourceKey>, Option<Place>)> = Vec::new();
        for Found { key, .. } in found {
            let known = records.iter().find(|record| record.key == *key).map(|record| record.locator.clone());
            let place = match known {
                Some(locator) => Some(locator),
                None => self.gate.reads.place(key).await,
            };
            about.push((Some(key.clone()), place));
        }
        if about.is_empty() {
            let place = matches!(self.request().subject(), Subject::At(_)).then(|| self.request().locator());
            about.push((None, place));
        }
        let mut lines: Vec<Note> = Vec::new();
        for (key, place) in about {
            let mut note = self.bare_note(admitted(observed), observed);
            note.authority = authority(&self.rules, caller);
            (note.resource_id, note.resource) = (key, place);
            note.reason = lines.first().map(|first| format!("in one request with {}", first.id));
            lines.push(note);
        }
        lines
    }
}

fn admitted(observed: Option<Code>) -> Decision {
    if observed.is_some() { Decision::Observe } else { Decision::Admit }
}
