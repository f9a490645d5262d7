//! T2, and the one send (manual: protocol, steps 7 and 8).

use super::super::refusal;
use super::constraints::ConstrainedStep;
use super::settle::Ending;
use super::{Decided, EarlyExit, ItemRead, READS_AT_ONCE, SectionResult, Sent, TurnContext, Walk};
use crate::admission::{self, Answer, Outcome, Permit, Refused, SentWrite, Step, Verdict};
use crate::dialect::{AnswerClass, Chosen, Request as _, WireRequest, WireResponse};
use crate::effect::{CallError, Carrier, Decision, Durability, LedgerError, Sending, failpoint};
use crate::gate::Verify;
use crate::gate::conversation::STALE_PAUSES;
use crate::gate::leases::LeaseUse;
use crate::model::{BootTime, Code, Reach};
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;
use std::time::Duration;

/// How often a read-back is repeated that may be from after the write and look as if it were not.
const COARSE_PAUSES: usize = 3;

impl Walk {
    pub(super) async fn send(&self, at: &TurnContext<'_>, decided: Vec<Decided<'_>>) -> SectionResult {
        let (mut sent, permits, granted) = self.divide(at, decided);
        failpoint::reach("t2.before");
        // T2: SENDING is durable for all of them before the first byte leaves, and the first byte must leave soon.
        let emit_by = self.emit_by();
        let (sending, lease) = match self.begin_sending(at, &mut sent, permits).await {
            Ok(begun) => begun,
            Err(LedgerError::Refused(Refused::Violated(violation))) => {
                return self.violation(at, sent.into_iter().map(|one| one.at).collect(), &violation).await;
            }
            Err(error) => return Err(self.not_sending(error)),
        };
        failpoint::reach("t2.after");
        self.note_observed(&sent);
        // Sent at most once, on the connection that carried the read or on a new one.
        let (answer, response) = match self.emit(&mut sent, sending, emit_by).await {
            Ok(response) => (Answer::Complete(self.request().status(&response)), Some(response)),
            Err(CallError::Unknown(why) | CallError::TooLong(why)) => {
                tracing::warn!(upstream.error = why, resource = %self.request().locator(), "no certain answer");
                (Answer::Uncertain, None)
            }
            Err(error) => {
                let ended = self.give_up(at, self.not_sent(&error), Durability::Awaited).await;
                self.gate.give_back(lease).await;
                return ended;
            }
        };
        failpoint::reach("answered");
        let endings = self.read_back(at, sent, answer, response.as_ref()).await;
        failpoint::reach("read-back");
        let refused = endings.iter().all(|ending| matches!(ending.outcome, Outcome::Refused { .. }));
        let reply = self.settle(at, endings, granted, response).await;
        if refused {
            self.gate.give_back(lease).await;
        }
        Ok(reply)
    }

    /// Those that are sent with their permits, and those that are granted along with them. A request that must be sent for its
    /// own sake is sent for all of its items.
    fn divide<'t>(
        &self,
        at: &TurnContext<'_>,
        decided: Vec<Decided<'t>>,
    ) -> (Vec<Sent<'t>>, Vec<Permit>, Vec<Decided<'t>>) {
        let for_its_own_sake = !decided.iter().any(|one| matches!(one.verdict, Verdict::Admit(_)));
        let (mut sent, mut permits, mut granted) = (Vec::new(), Vec::new(), Vec::new());
        for Decided { at: one, change, labels, verdict, observed } in decided {
            let permit = match verdict {
                Verdict::Admit(permit) => permit,
                Verdict::Noop(noop) if for_its_own_sake => noop.sent(change.goal(&one.read.seen)),
                verdict => {
                    granted.push(Decided { at: one, change, labels, verdict, observed });
                    continue;
                }
            };
            let (actor, plan) = (&at.party.caller.actor, permit.plan().clone());
            // What the gate itself puts back moves nothing.
            let by_holder = !self.ask.operator && plan.is_by_holder(actor, one.record.holding.as_ref());
            sent.push(Sent { at: one, change, labels, plan, observed, by_holder });
            permits.push(permit);
        }
        (sent, permits, granted)
    }

    async fn begin_sending(
        &self,
        at: &TurnContext<'_>,
        sent: &mut [Sent<'_>],
        permits: Vec<Permit>,
    ) -> Result<(Sending, LeaseUse), LedgerError> {
        let step = |one: &Sent<'_>| {
            let (attempt, plan, locator) = (one.at.attempt.clone(), one.plan.clone(), &one.at.read.seen.locator);
            let constraints = self.constraints_of(at, locator, &one.at.change, (plan.kind, &plan.ownership));
            let command = self.command(&one.at.key, locator, Step::Send { attempt, plan }, None);
            ConstrainedStep { constraints, confirm: self.confirm(&one.at), command }
        };
        let steps = sent.iter().map(step).collect();
        let (committed, sending) = self.gate.begin_sending(&self.rules, steps, permits).await?;
        for one in sent {
            one.observed = one.observed.or(committed.observed);
        }
        Ok((sending, committed.lease))
    }

    /// Should the walk panic, the log says of these that a rule only observed.
    fn note_observed(&self, sent: &[Sent<'_>]) {
        let observed = |id: &_| sent.iter().any(|one| one.observed.is_some() && one.at.attempt == *id);
        for entry in self.entered().iter_mut().filter(|entry| observed(&entry.attempt)) {
            entry.decision = Decision::Observe;
        }
    }

    fn not_sending(&self, error: LedgerError) -> EarlyExit {
        let locator = self.request().locator();
        match error {
            LedgerError::Refused(Refused::Stale) => self.overtaken(),
            LedgerError::Refused(_) => EarlyExit::Refuse(refusal::fenced(&locator)),
            LedgerError::Unavailable(why) => EarlyExit::Refuse(refusal::no_ledger(&locator, &why)),
        }
    }

    async fn emit(
        &self,
        sent: &mut [Sent<'_>],
        sending: Sending,
        emit_by: BootTime,
    ) -> Result<WireResponse, CallError> {
        let carrier = match &mut *sent {
            [one] => one.at.read.carrier.take(),
            _ => None,
        };
        let chosen: Vec<Chosen<'_>> = sent.iter().map(Sent::chosen).collect();
        let request = self.request().emit(&chosen, &self.ask.headers, &self.ask.credential);
        self.dispatch(sending, request, carrier, emit_by).await
    }

    /// Sends it, once, if that begins in time.
    pub(super) async fn dispatch(
        &self,
        sending: Sending,
        request: WireRequest,
        carrier: Option<Carrier>,
        emit_by: BootTime,
    ) -> Result<WireResponse, CallError> {
        let clock = Arc::clone(&self.gate.ports.clock);
        let in_time = move || clock.boot() <= emit_by;
        let started = tokio::time::Instant::now();
        let answer = self.gate.ports.upstream.send(sending, request, carrier, &in_time).await;
        self.gate.measure_send(started.elapsed());
        if answer.as_ref().is_ok_and(|response| response.class() == AnswerClass::Limited) {
            self.gate.ports.metrics.upstream_limited.inc();
        }
        answer
    }

    /// Until when the first byte of what is durable by now must leave.
    pub(super) fn emit_by(&self) -> BootTime {
        self.gate.ports.clock.boot() + self.gate.settings.emit_window
    }

    /// No byte was handed over: the items are as they were.
    pub(super) fn not_sent(&self, error: &CallError) -> EarlyExit {
        let locator = self.request().locator();
        if matches!(error, CallError::Expired) {
            let message =
                format!("{locator}: the gate was suspended before it could send; nothing was sent; try again");
            return EarlyExit::Refuse(refusal::retry(Code::Fenced, &locator, message, Duration::from_secs(1)));
        }
        EarlyExit::Refuse(refusal::unreadable(&locator, &error.to_string()))
    }

    /// What each item shows after the answer.
    async fn read_back<'t>(
        &self,
        at: &TurnContext<'_>,
        sent: Vec<Sent<'t>>,
        answer: Answer,
        response: Option<&WireResponse>,
    ) -> Vec<Ending<'t>> {
        let judged = |one: Sent<'t>| async move {
            let back = match answer {
                Answer::Complete(status) => self.look_back(at, &one, (status, response)).await,
                Answer::Uncertain => None,
            };
            let sent = SentWrite { plan: &one.plan, before: &one.at.read.seen, by_holder: one.by_holder };
            let outcome = admission::judge(&sent, answer, back.as_ref().map(|back| &back.seen), &self.rules.workflow);
            Ending { one, outcome, back }
        };
        let each: Vec<_> = sent.into_iter().map(judged).collect();
        stream::iter(each).buffered(READS_AT_ONCE).collect().await
    }

    /// A read from before a write that the tracker says it carried out is no evidence: it is repeated, a few times. Where times are
    /// coarse, one that shows what was written is from after it, and in the end any is taken for that.
    async fn look_back(
        &self,
        at: &TurnContext<'_>,
        one: &Sent<'_>,
        answer: (u16, Option<&WireResponse>),
    ) -> Option<ItemRead> {
        let before = one.at.read.written.filter(|_| (200..300).contains(&answer.0) && !one.plan.goal.held_before);
        let most = if self.gate.ports.dialect.writes_share_times() { COARSE_PAUSES } else { STALE_PAUSES.len() };
        let mut pauses = STALE_PAUSES.iter().take(most);
        loop {
            let back = self.look_back_once(at, one, answer).await?;
            let coarse = self.gate.ports.dialect.writes_share_times();
            let is_newer = before.is_none_or(|before| back.written.is_some_and(|written| written > before));
            if is_newer || coarse && one.plan.goal.reach(&back.seen) == Reach::Full {
                return Some(back);
            }
            self.gate.ports.metrics.stale_reads.inc();
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return coarse.then_some(back),
            }
        }
    }

    async fn look_back_once(
        &self,
        at: &TurnContext<'_>,
        one: &Sent<'_>,
        (status, response): (u16, Option<&WireResponse>),
    ) -> Option<ItemRead> {
        let (address, key) = (&one.at.read.address, &one.at.key);
        let shown = match (&at.party.reader, response) {
            (Some(reader), _) if self.is_form() => self.read_for_session(address, reader, "read_back").await.ok(),
            (_, Some(response)) if self.gate.settings.verify == Verify::Answer && (200..300).contains(&status) => {
                match self.gate.answered_item(address, response).filter(|read| read.seen.key == *key) {
                    Some(read) => Some(read),
                    None => self.read(address, "read_back").await.ok(),
                }
            }
            _ => self.read(address, "read_back").await.ok(),
        };
        // What is not the same item any more is no evidence of this one.
        shown.filter(|back| back.seen.key == *key)
    }
}

impl Sent<'_> {
    fn chosen(&self) -> Chosen<'_> {
        let read = &self.at.read;
        Chosen {
            key: Some(&self.at.key),
            address: Some(&read.address),
            change: &self.change,
            seen: Some(&read.seen),
            shown: Some(&read.response),
            labels: &self.labels,
        }
    }
}
