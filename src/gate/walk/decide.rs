//! One decision for each item, by its fresh read and its record; and the two that need no send: a refusal and a grant.

use super::super::{After, Answered, EntryCondition, Reply, refusal};
use super::constraints::{Committed, ConstrainedStep};
use super::exits::some_of;
use super::party::is_session;
use super::{Decided, EarlyExit, Observed, SectionResult, TurnContext, Walk, place_of};
use crate::admission::{
    self, ConstraintViolation, DecisionInput, GrantWithoutSend, Mode, Permit, Refused, StateTag, Step, Verdict,
};
use crate::dialect::{Request as _, WireResponse};
use crate::effect::{Command, Decision, Durability, LedgerError, Note};
use crate::gate::Gate;
use crate::model::{Caller, Change, Code, ItemRecord, Kind, Ownership, Reach, Rejection, Tag};
use std::borrow::Cow;
use std::collections::BTreeSet;

impl Walk {
    pub(super) async fn decide<'t>(
        &self,
        at: &TurnContext<'_>,
        observed: Vec<Observed<'t>>,
    ) -> Result<Vec<Decided<'t>>, EarlyExit> {
        let (mut decided, mut opened) = (Vec::with_capacity(observed.len()), BTreeSet::new());
        for one in observed {
            let mut one = self.decide_one(at, one).await?;
            self.ask_reopening(at, &mut one, &mut opened).await?;
            decided.push(one);
        }
        Ok(decided)
    }

    async fn decide_one<'t>(&self, at: &TurnContext<'_>, one: Observed<'t>) -> Result<Decided<'t>, EarlyExit> {
        let caller = &at.party.caller;
        // What the gate puts back or undoes by itself is left alone where somebody has come since.
        if let Some(rejection) = self.superseded(caller, &one).await? {
            let (change, verdict) = (one.change.clone(), Verdict::Reject(*rejection));
            return Ok(Decided { at: one, change, labels: Vec::new(), verdict, observed: None });
        }
        let change = self.asked_beyond_echo(&one.change, caller, &one.record, &one.read.seen);
        let change = Cow::into_owned(change);
        let labels = self.labels(at, &one, &change).await?;
        let input = DecisionInput {
            rules: &at.party.rules,
            caller,
            change: &change,
            asks_more: self.request().asks_more(&self.ask.headers),
            record: &one.record,
            seen: &one.read.seen,
            labels: &labels,
            now: self.gate.ports.clock.now(),
        };
        let first = if change.is_empty() { (Verdict::Noop(GrantWithoutSend::ECHO), None) } else { decide_for(&input) };
        // What the client itself states must show, too; it is compared last.
        let (mut verdict, observed) = self.ask.expectation.hold(first, &input);
        if let Verdict::Admit(permit) = &verdict {
            let plan = permit.plan();
            if self.is_form() && change.goal(&one.read.seen).reach(&one.read.seen) == Reach::Full {
                // A toggle that is sent where it is true already would undo it.
                verdict = Verdict::Noop(GrantWithoutSend { kind: plan.kind, ownership: plan.ownership.clone() });
            } else if let Some(rejection) = self.unassignable(&one.read, plan, caller).await {
                verdict = Verdict::Reject(*rejection);
            }
        }
        if let Verdict::Reject(rejection) = verdict {
            verdict = Verdict::Reject(self.naming_mover(rejection, &one.read.seen));
        }
        Ok(Decided { at: one, change, labels, verdict, observed })
    }

    /// What the labels that the change names are called.
    async fn labels(&self, at: &TurnContext<'_>, one: &Observed<'_>, change: &Change) -> Result<Vec<Tag>, EarlyExit> {
        let Some(change) = &change.labels else { return Ok(Vec::new()) };
        let (seen, address) = (&one.read.seen, &one.read.address);
        let reader = at.party.reader.as_ref().unwrap_or(&self.ask.credential);
        let labels = self.gate.named_labels(change, seen, place_of(address, seen), reader).await;
        match labels {
            // What the service may not see is not for the session.
            Err(stop) if self.is_form() => {
                Err(EarlyExit::Refuse(refusal::unreadable(&seen.locator, &stop.to_string())))
            }
            labels => labels,
        }
    }

    async fn superseded(&self, caller: &Caller, one: &Observed<'_>) -> Result<Option<Box<Rejection>>, EarlyExit> {
        let (record, locator) = (&one.record, &one.record.locator);
        let left = |code, why| refusal::plain(code, locator, format!("{locator} {why}, so it was left as it is"));
        if let Some(held) = record.held_by_another(&caller.actor).filter(|_| self.ask.operator) {
            return Ok(Some(left(Code::AlreadyAssigned, format!("is held by {} again", held.actor))));
        }
        let must_hold =
            matches!(&self.ask.condition, EntryCondition::Held | EntryCondition::UnconfirmedSince { held: true, .. });
        if must_hold && !record.is_held_by(&caller.actor) {
            return Ok(Some(left(Code::NotHolder, format!("is not held by {} any more", caller.actor))));
        }
        let EntryCondition::UnconfirmedSince { ours, .. } = &self.ask.condition else { return Ok(None) };
        let confirmed = self.gate.is_confirmed_since(ours, &one.key, &caller.actor).await;
        let confirmed = confirmed.map_err(|error| EarlyExit::Refuse(Self::not_entered(locator, &error)))?;
        let why = || format!("was written by {} once more since", caller.actor);
        Ok(confirmed.then(|| left(Code::PreconditionFailed, why())))
    }

    // === a refusal ===

    /// One refusal refuses all: the refused ones as such, the others were never sent.
    pub(super) async fn reject(&self, at: &TurnContext<'_>, judged: Vec<(Observed<'_>, Option<Rejection>)>) -> Reply {
        let (mut refused, mut commands) = (Vec::new(), Vec::new());
        for (one, rejection) in &judged {
            let mut note = self.note(at, &one.attempt, Decision::Reject, rejection.as_ref().map(|it| it.code));
            let step = match rejection {
                Some(rejection) => {
                    note.expected.clone_from(&rejection.expected);
                    note.observed.clone_from(&rejection.observed);
                    note.say(&rejection.message);
                    refused.push(rejection);
                    Step::Reject(one.attempt.clone())
                }
                None => Step::Abort(one.attempt.clone()),
            };
            commands.push(self.step_of(one, step, note));
        }
        let rejection = all_refused(&refused, judged.len());
        // The refusal stands also where it cannot be written; but an attempt that stays OPEN would keep everybody out.
        self.close(commands, Durability::NextGroup).await;
        let id = judged.first().map_or_else(String::new, |(one, _)| one.attempt.as_str().to_owned());
        for (one, _) in judged {
            Self::publish(one.turn, one.read.began, one.read.seen, one.record);
        }
        let (code, state) = (rejection.code, rejection.observed.as_ref().map(StateTag::of));
        Reply { state, ..self.decided(Decision::Reject, Some(code), &id, Answered::Refused(rejection)) }
    }

    pub(super) fn step_of(&self, one: &Observed<'_>, step: Step, note: Box<Note>) -> Command {
        self.command(&one.key, &one.read.seen.locator, step, Some(note))
    }

    /// What a step rests on: the attempt is live, and the item is at the version that was judged.
    pub(super) fn confirm(&self, one: &Observed<'_>) -> Command {
        let step = Step::Confirm { attempt: one.attempt.clone(), fence: one.record.fence };
        self.command(&one.key, &one.read.seen.locator, step, None)
    }

    /// The holding that it was decided by has ended: an operator's word needs no turn of this gate.
    pub(super) fn overtaken(&self) -> EarlyExit {
        let locator = self.request().locator();
        let message = format!("{locator} was released by an operator meanwhile; nothing was sent; try again");
        EarlyExit::Refuse(refusal::plain(Code::Busy, &locator, message))
    }

    /// A constraint does not hold: nothing was sent.
    pub(super) async fn violation(
        &self,
        at: &TurnContext<'_>,
        mut items: Vec<Observed<'_>>,
        violation: &ConstraintViolation,
    ) -> SectionResult {
        match items.pop() {
            Some(one) if self.request().is_about_one() => {
                let mut rejection = self.refused_by(&at.party.caller, violation, &one.read.seen.locator).await;
                rejection.observed = Some(self.rules.workflow.shown(&one.read.seen));
                Ok(self.reject(at, vec![(one, Some(rejection))]).await)
            }
            _ => {
                let rejection = Gate::refused_by(violation, &self.request().locator(), &[]);
                let message = format!("none of the items was changed: {}", rejection.message);
                Err(EarlyExit::Refuse(Box::new(Rejection { message, ..rejection })))
            }
        }
    }

    // === a grant ===

    /// The answer where nothing needs to be sent: what the route shows, before anything is granted.
    pub(super) async fn own_success(&self, decided: &[Decided<'_>]) -> Result<Option<WireResponse>, EarlyExit> {
        match decided {
            [one] => self.success(&one.at.read).await,
            [one, ..] => match self.request().represent(&one.at.read.address, &self.ask.credential) {
                Some(request) => {
                    let shown = self.gate.fetch_back(request).await.map_err(|unread| self.not_read(unread))?;
                    Ok(self.request().accept(Some(&shown)))
                }
                None => Ok(self.request().accept(None)),
            },
            [] => Ok(self.request().accept(None)),
        }
    }

    /// What becomes of an item that shows already what was asked.
    pub(super) fn grant_of(&self, at: &TurnContext<'_>, one: &Decided<'_>) -> Option<Command> {
        let Verdict::Noop(noop) = &one.verdict else { return None };
        let shown = self.rules.workflow.shown(&one.at.read.seen);
        let mut note = self.note(at, &one.at.attempt, Decision::Noop, None);
        note.observed = Some(shown.clone());
        let (attempt, ownership) = (one.at.attempt.clone(), noop.ownership.clone());
        Some(self.step_of(&one.at, Step::Grant { attempt, kind: noop.kind, ownership, shown }, note))
    }

    /// All items show it already: nothing is sent.
    pub(super) async fn grant(
        &self,
        at: &TurnContext<'_>,
        decided: Vec<Decided<'_>>,
        answer: WireResponse,
    ) -> SectionResult {
        let steps = decided.iter().filter_map(|one| {
            let Verdict::Noop(noop) = &one.verdict else { return None };
            let (locator, change) = (&one.at.read.seen.locator, &one.at.change);
            let constraints = self.constraints_of(at, locator, change, (noop.kind, &noop.ownership));
            Some(ConstrainedStep { constraints, confirm: self.confirm(&one.at), command: self.grant_of(at, one)? })
        });
        if !self.request().is_about_one() {
            for one in &decided {
                one.at.turn.forget();
            }
        }
        match self.gate.commit_constrained(&self.rules, steps.collect()).await {
            Ok(granted) => Ok(self.granted(at, decided, granted, answer).await),
            Err(LedgerError::Refused(Refused::Violated(violation))) => {
                self.violation(at, decided.into_iter().map(|one| one.at).collect(), &violation).await
            }
            Err(LedgerError::Refused(Refused::Stale)) => Err(self.overtaken()),
            // Nothing was sent, but whether the grant was recorded is not known.
            Err(LedgerError::Refused(_)) if !self.is_form() => Ok(self.refused(*self.unknown(&[]))),
            Err(error) => Err(self.no_ledger(&error)),
        }
    }

    async fn granted(
        &self,
        at: &TurnContext<'_>,
        decided: Vec<Decided<'_>>,
        Committed { records, observed, lease }: Committed,
        answer: WireResponse,
    ) -> Reply {
        // Nothing was sent, so that nobody knows whether the caller may write: it is not at work by this.
        self.gate.give_back(lease).await;
        let mut after = After::default();
        let (mut id, mut state) = (String::new(), None);
        let single = decided.len() == 1;
        for (one, record) in decided.into_iter().zip(records) {
            if id.is_empty() {
                one.at.attempt.as_str().clone_into(&mut id);
            }
            if matches!(&one.verdict, Verdict::Noop(noop) if noop.kind == Kind::Claim) && !self.is_form() {
                self.gate.notice_claim(&at.party.caller, &self.ask.about, &one.at.key, true).await;
            }
            if single {
                after = After { begun: false, ..one.at.after(at, &record) };
                after.rest = one.change.is_empty().then(|| self.rest(&one.at.read.address));
                state = Some(StateTag::of(&self.rules.workflow.shown(&one.at.read.seen)));
            }
            Self::publish(one.at.turn, one.at.read.began, one.at.read.seen, record);
        }
        let decision = if observed.is_some() { Decision::Observe } else { Decision::Noop };
        after.rest = after.rest.filter(|_| decision == Decision::Noop);
        let state = state.filter(|_| self.request().is_about_one());
        Reply { state, after, ..self.decided(decision, observed, &id, Answered::Tracker(answer)) }
    }
}

impl Observed<'_> {
    /// What a write has made of the item, by the record that it left.
    pub(super) fn after(&self, at: &TurnContext<'_>, record: &ItemRecord) -> After {
        let held = record.holding.as_ref().filter(|held| held.actor.goes_on_as(&at.party.caller.actor));
        After {
            holds: held.is_some(),
            begun: held.is_some_and(|held| held.attempt == self.attempt),
            ..After::default()
        }
    }
}

/// Decides; but a session whose account nobody knows is made no holder: a later one of the same person could not release.
fn decide_for(input: &DecisionInput<'_>) -> (Verdict, Option<Code>) {
    let actor = &input.caller.actor;
    let claims = |permit: &Permit| matches!(&permit.plan().ownership, Ownership::Becomes(next) if next == actor);
    match admission::decide(input) {
        (Verdict::Admit(permit), _) if is_session(actor) && claims(&permit) => {
            if input.rules.workflow.mode == Mode::Observe {
                let caller = Caller { overrider: true, ..input.caller.clone() };
                let (verdict, _) = admission::decide(&DecisionInput { caller: &caller, ..*input });
                return (verdict, Some(Code::NotHolder));
            }
            let locator = &input.seen.locator;
            let message = format!(
                "{locator}: only a holder may set this, and the tracker does not say whose session it is; assign the \
                 item first"
            );
            (Verdict::Reject(*refusal::plain(Code::NotHolder, locator, message)), None)
        }
        decided => decided,
    }
}

/// Several refusals as one: nothing was sent, and why, by name.
fn all_refused(rejections: &[&Rejection], of: usize) -> Box<Rejection> {
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
