//! A form whose items are read, decided and read back: steps 8 to 12 of the walk, for each of them at once.

use super::{BulkSection, Ended, Fresh, Stop, Ticket, is_session, some_of};
use crate::admission::{
    self, Answer, Barred, Mode, Noop, Outcome, Permit, Question, Refused, Rules, Step, Term, Verdict,
};
use crate::dialect::{Address, Credential, Wants, WireResponse};
use crate::effect::{CallError, Command, Decision, Durability, LedgerError, Note, failpoint};
use crate::gate::authors::Way;
use crate::gate::leases::LeaseUse;
use crate::gate::passage::Passage;
use crate::gate::section::notes::authority;
use crate::gate::section::terms::Committed;
use crate::gate::section::{first_allowed, outcome_code};
use crate::gate::{Answered, Gate, Observation, Reply, Turn, refusal};
use crate::model::{
    Attempt, Caller, Change, Code, ItemRecord, Kind, Label, Locator, Login, Ownership, Reach, Rejection, ResourceKey,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// One item of the request, under its turn.
pub(super) struct Item {
    pub(super) address: Address,
    turn: Turn,
    pub(super) fresh: Fresh,
    pub(super) change: Change,
}

/// One item of the request with its attempt, decided.
pub(super) struct Course {
    pub(super) item: Item,
    ticket: Ticket,
    by_holder: bool,
    pub(super) verdict: Verdict,
    pub(super) observed: Option<Code>,
}

/// How one item of a sent form ended.
struct Settled<'a> {
    course: &'a Course,
    outcome: Outcome,
    back: Option<Fresh>,
}

impl BulkSection {
    pub(super) async fn judged(
        &self,
        caller: &Caller,
        reader: &Credential,
        places: &BTreeMap<ResourceKey, Address>,
        turns: Vec<Turn>,
        passage: &Passage,
    ) -> Ended {
        // Fresh reads of all, inside their turns; what a toggle means is told by them.
        let mut items = self.observe(reader, places, turns).await?;
        self.spell_out(&mut items, reader).await?;
        if !passage.cross() {
            return Err(Stop::Gone);
        }
        failpoint::reach("t1.before");
        // T1: from here on nothing cancels it.
        let rules = self.rules(caller);
        let (tickets, records) = self.open(caller, &items, &rules).await?;
        tickets.clone_into(&mut self.entered.lock().unwrap_or_else(PoisonError::into_inner));
        failpoint::reach("t1.after");
        let ended = self.entered(caller, reader, &rules, items, tickets, records).await;
        self.entered.lock().unwrap_or_else(PoisonError::into_inner).clear();
        ended
    }

    /// With an attempt OPEN for each: every way out of here settles them all.
    async fn entered(
        &self,
        caller: &Caller,
        reader: &Credential,
        rules: &Rules,
        items: Vec<Item>,
        tickets: Vec<Ticket>,
        records: Vec<ItemRecord>,
    ) -> Ended {
        let judged = match self.decide_all(caller, reader, rules, items, &tickets, records).await {
            Ok(courses) => courses,
            Err(stop) => return self.give_up(caller, &tickets, stop).await,
        };
        failpoint::reach("reconciled");
        if judged.iter().any(|course| matches!(course.verdict, Verdict::Reject(_))) {
            return Ok(self.reject_all(caller, &judged).await);
        }
        self.carry_out(caller, reader, rules, judged).await
    }

    // === observe ===

    async fn observe(
        &self,
        reader: &Credential,
        places: &BTreeMap<ResourceKey, Address>,
        turns: Vec<Turn>,
    ) -> Result<Vec<Item>, Stop> {
        // Both are in the order of the keys.
        let read = |key: ResourceKey, address: Address, turn| async move {
            let (key, address) = (&key, &address);
            let fresh = self.read(address, reader, "observe").await?;
            if fresh.seen.key != *key {
                self.gate.reads.forget_place(key).await;
                let why = "it is another item than it was";
                return Err(Stop::Refuse(refusal::unreadable(&address.locator(), why)));
            }
            Ok(Item { address: address.clone(), turn, fresh, change: Change::default() })
        };
        let each: Vec<_> = places.iter().zip(turns).map(|((k, a), turn)| read(k.clone(), a.clone(), turn)).collect();
        stream::iter(each).buffered(super::READS_AT_ONCE).try_collect().await
    }

    /// Toggles become absolute changes, names take the place of numbers.
    async fn spell_out(&self, items: &mut [Item], reader: &Credential) -> Result<(), Stop> {
        let bulk = &self.ask.bulk;
        let user = match &bulk.wants {
            Wants::Assignee { user, .. } => Some(self.user(*user, reader).await?),
            _ => None,
        };
        let seen: Vec<_> = items.iter().map(|item| &item.fresh.seen).collect();
        let changes = self.gate.ports.dialect.changes(bulk, &seen, user.as_ref());
        for (item, change) in items.iter_mut().zip(changes) {
            item.change = change;
        }
        Ok(())
    }

    async fn user(&self, user: u64, reader: &Credential) -> Result<Login, Stop> {
        let answer = self.gate.ports.upstream.read(self.gate.ports.dialect.find_user(user, reader)).await;
        let (response, _) =
            answer.map_err(|error| Stop::Refuse(refusal::unreadable(&self.locator(), &error.to_string())))?;
        self.gate.ports.dialect.user(user, &response).ok_or_else(|| {
            let message = format!("the tracker shows no user with the number {user}; nothing was sent");
            Stop::Refuse(Box::new(Rejection::of_request(Code::UpstreamUnreadable, message)))
        })
    }

    /// The rules in force. Assigning others is what the web interface is for; beside a holder it is refused all the same.
    fn rules(&self, caller: &Caller) -> Rules {
        let mut rules = Rules::clone(&self.rules);
        rules.assignment.assign_others |= !caller.overrider;
        rules
    }

    // === T1 ===

    async fn open(
        &self,
        caller: &Caller,
        items: &[Item],
        rules: &Rules,
    ) -> Result<(Vec<Ticket>, Vec<ItemRecord>), Stop> {
        for last in [false, true] {
            let tickets: Vec<Ticket> = items.iter().map(|item| self.ticket(caller, item)).collect();
            let each = items.iter().zip(&tickets);
            let opens =
                each.map(|(item, ticket)| self.command(ticket, Step::Open(self.attempt(caller, item, ticket)), None));
            match self.gate.ports.ledger.commit(opens.collect(), Durability::Awaited).await {
                Ok(records) => return Ok((tickets, records)),
                Err(LedgerError::Refused(Refused::InDoubt(_))) if !last => {
                    for item in items {
                        self.gate.resolve_by(&item.fresh.seen.key, &item.fresh.seen, &item.turn, rules).await;
                    }
                }
                Err(LedgerError::Unavailable(why)) => {
                    return Err(Stop::Refuse(refusal::no_ledger(&self.locator(), &why)));
                }
                Err(LedgerError::Refused(_)) => return Err(self.closed(items).await),
            }
        }
        unreachable!("the second round returns")
    }

    fn ticket(&self, caller: &Caller, item: &Item) -> Ticket {
        let attempt = self.gate.ports.entropy.attempt_id(self.gate.ports.clock.now());
        let (key, locator) = (item.fresh.seen.key.clone(), item.fresh.seen.locator.clone());
        Ticket { key, locator, attempt, decision: Decision::Admit, authority: authority(&self.rules, caller) }
    }

    fn attempt(&self, caller: &Caller, item: &Item, ticket: &Ticket) -> Attempt {
        self.gate.attempt(ticket.attempt.clone(), &ticket.key, &ticket.locator, caller, &item.change)
    }

    /// Which of the items are in doubt, or under way elsewhere.
    async fn closed(&self, items: &[Item]) -> Stop {
        let now = self.gate.ports.clock.now();
        let (mut names, mut left, mut doubtful) = (Vec::new(), Duration::ZERO, false);
        for item in items {
            let Ok(Some(record)) = self.gate.ports.ledger.item(&item.fresh.seen.key).await else { continue };
            if record.live.is_some() || !record.doubts.is_empty() {
                names.push(record.locator.to_string());
                doubtful |= record.live.is_none();
                left = left.max(record.doubt_left(now));
            }
        }
        let code = if doubtful { Code::InDoubt } else { Code::Busy };
        let message = if doubtful {
            format!(
                "the outcome of a write of {} is not known yet, for another {} s; nothing was sent",
                some_of(&names),
                left.as_secs()
            )
        } else {
            format!("another write of {} is under way; nothing was sent; try again", some_of(&names))
        };
        Stop::Refuse(Box::new(Rejection {
            retry_after: doubtful.then_some(left),
            ..Rejection::of_request(code, message)
        }))
    }

    // === decide ===

    async fn decide_all(
        &self,
        caller: &Caller,
        reader: &Credential,
        rules: &Rules,
        items: Vec<Item>,
        tickets: &[Ticket],
        records: Vec<ItemRecord>,
    ) -> Result<Vec<Course>, Stop> {
        if !self.gate.ports.ledger.exclusive() {
            self.still_as_read(&items, reader).await?;
        }
        let (mut courses, mut opened) = (Vec::with_capacity(items.len()), BTreeSet::new());
        for ((item, ticket), record) in items.into_iter().zip(tickets).zip(records) {
            // What changed outside the gate is judged first, and takes its own step.
            let record = self.gate.account_for(record, &item.fresh.seen, rules, &item.turn).await;
            let record = record.map_err(|error| self.no_ledger(&error))?;
            let labels = self.labels(&item, reader).await?;
            let course = self.decide(caller, rules, item, ticket.clone(), &record, &labels);
            courses.push(self.ask_reopening(course, caller, reader, &mut opened).await?);
        }
        Ok(courses)
    }

    /// Another gate may have written between the reads and T1: what they showed must show again.
    async fn still_as_read(&self, items: &[Item], reader: &Credential) -> Result<(), Stop> {
        for item in items {
            let again = self.read(&item.address, reader, "observe").await?;
            if again.seen != item.fresh.seen {
                let locator = &item.fresh.seen.locator;
                let message = format!("{locator} was changed meanwhile; nothing was sent; try again");
                return Err(Stop::Refuse(refusal::plain(Code::Busy, locator, message)));
            }
        }
        Ok(())
    }

    /// What the labels that the change names are called.
    async fn labels(&self, item: &Item, reader: &Credential) -> Result<Vec<Label>, Stop> {
        let Some(change) = &item.change.labels else { return Ok(Vec::new()) };
        let labels = self.gate.named_labels(change, &item.fresh.seen, &item.address, reader).await;
        labels.map_err(|stop| Stop::Refuse(refusal::unreadable(&item.fresh.seen.locator, &stop.to_string())))
    }

    fn decide(
        &self,
        caller: &Caller,
        rules: &Rules,
        item: Item,
        ticket: Ticket,
        record: &ItemRecord,
        labels: &[Label],
    ) -> Course {
        let (change, seen, now) = (&item.change, &item.fresh.seen, self.gate.ports.clock.now());
        let question = Question { rules, caller, change, asks_more: false, record, seen, labels, now };
        let (verdict, observed) = decide_for(&question);
        let verdict = match verdict {
            // A toggle that is sent where it is true already would undo it.
            Verdict::Admit(permit) if item.change.goal(seen).reach(seen) == Reach::Full => {
                let plan = permit.plan();
                Verdict::Noop(Noop { kind: plan.kind, ownership: plan.ownership.clone() })
            }
            verdict => verdict,
        };
        let by_holder = matches!(&verdict, Verdict::Admit(permit)
            if permit.plan().is_by_holder(&caller.actor, record.holding.as_ref()));
        Course { item, ticket, by_holder, verdict, observed }
    }

    /// One refusal refuses all: the refused ones as such, the others were never sent.
    async fn reject_all(&self, caller: &Caller, courses: &[Course]) -> Reply {
        let mut refused = Vec::new();
        let mut commands = Vec::new();
        for course in courses {
            let ticket = &course.ticket;
            let step = match &course.verdict {
                Verdict::Reject(rejection) => {
                    refused.push(rejection);
                    let mut note = self.note(caller, Decision::Reject, Some(rejection.code));
                    note.expected.clone_from(&rejection.expected);
                    note.observed.clone_from(&rejection.observed);
                    self.ending(ticket, Step::Reject(ticket.attempt.clone()), note, courses)
                }
                Verdict::Admit(_) | Verdict::Noop(_) => {
                    let note = self.note(caller, Decision::Reject, None);
                    self.ending(ticket, Step::Abort(ticket.attempt.clone()), note, courses)
                }
            };
            commands.push(step);
        }
        self.close(commands, Durability::NextGroup).await;
        let rejection = Self::all_refused(&refused, courses.len());
        let id = courses.first().map_or("", |course| course.ticket.attempt.as_str());
        self.decided(Decision::Reject, Some(rejection.code), id, Answered::Refused(rejection))
    }

    fn ending(&self, ticket: &Ticket, step: Step, mut note: Note, of: &[Course]) -> Command {
        ticket.attempt.as_str().clone_into(&mut note.id);
        if let [first, _, ..] = of {
            note.reason = Some(format!("one of {} items of one request ({})", of.len(), first.ticket.attempt));
        }
        self.command(ticket, step, Some(Box::new(note)))
    }

    // === T2, the send, T3 ===

    async fn carry_out(&self, caller: &Caller, reader: &Credential, rules: &Rules, mut courses: Vec<Course>) -> Ended {
        let sent: Vec<(&Course, &Permit)> = courses.iter().filter_map(Course::permit).collect();
        let chosen: Vec<(ResourceKey, Change)> =
            sent.iter().map(|(course, _)| (course.ticket.key.clone(), course.item.change.clone())).collect();
        let idle = if sent.is_empty() { self.gate.ports.dialect.accept_bulk(&self.ask.bulk) } else { None };
        if let Some(response) = idle {
            return self.grant_all(caller, rules, &courses, response).await;
        }
        failpoint::reach("t2.before");
        // T2: SENDING is durable for all of them before the first byte leaves, and the first byte must leave soon.
        let emit_by = self.gate.ports.clock.boot() + self.gate.settings.emit_window;
        let lease = match self.sending(caller, rules, &sent).await {
            Ok((also, lease)) => {
                for course in &mut courses {
                    course.observed = course.observed.or(also);
                }
                lease
            }
            Err(stop) => return self.give_up(caller, &tickets(&courses), stop).await,
        };
        let sent: Vec<(&Course, &Permit)> = courses.iter().filter_map(Course::permit).collect();
        failpoint::reach("t2.after");
        self.note_observed(&courses);
        let (answer, response) = match self.emit(&chosen, emit_by).await {
            Ok(response) => (Answer::Complete(as_judged(&response)), Some(response)),
            Err(CallError::Unknown(why)) => {
                tracing::warn!(upstream.error = why, items = sent.len(), "no certain answer to a form");
                (Answer::Uncertain, None)
            }
            Err(error) => {
                let ended = self.give_up(caller, &tickets(&courses), self.not_sent(&error)).await;
                self.gate.give_back(lease).await;
                return ended;
            }
        };
        failpoint::reach("answered");
        let settled = self.read_back(reader, rules, &sent, answer).await;
        failpoint::reach("read-back");
        let refused = settled.iter().all(|one| matches!(one.outcome, Outcome::Refused { .. }));
        let reply = self.settle(caller, rules, &courses, settled, response).await;
        if refused {
            self.gate.give_back(lease).await;
        }
        Ok(reply)
    }

    /// Should the section panic, the log says of these that a rule only observed.
    fn note_observed(&self, courses: &[Course]) {
        let observed = |ticket: &Ticket| {
            courses.iter().any(|course| course.observed.is_some() && course.ticket.attempt == ticket.attempt)
        };
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        for ticket in entered.iter_mut().filter(|ticket| observed(ticket)) {
            ticket.decision = Decision::Observe;
        }
    }

    /// Returns what a rule over agents that only observes would have refused with.
    async fn sending(
        &self,
        caller: &Caller,
        rules: &Rules,
        sent: &[(&Course, &Permit)],
    ) -> Result<(Option<Code>, LeaseUse), Stop> {
        let step = |course: &Course, permit: &Permit| {
            let (attempt, plan) = (course.ticket.attempt.clone(), permit.plan().clone());
            let terms = self.terms(caller, rules, course, plan.kind, &plan.ownership);
            (terms, self.command(&course.ticket, Step::Send { attempt, plan }, None))
        };
        let steps: Vec<_> = sent.iter().map(|(course, permit)| step(course, permit)).collect();
        if steps.is_empty() {
            return Ok((None, LeaseUse::none()));
        }
        match self.gate.commit_on_terms(rules, steps).await {
            Ok(Committed { observed, lease, .. }) => Ok((observed, lease)),
            Err(LedgerError::Refused(Refused::Barred(barred))) => Err(self.barred(&barred)),
            Err(LedgerError::Refused(_)) => {
                let message = "this gate was replaced while it worked; nothing was sent; try again".to_owned();
                Err(Stop::Refuse(refusal::retry(Code::Fenced, &self.locator(), message, Duration::from_secs(1))))
            }
            Err(LedgerError::Unavailable(why)) => Err(Stop::Refuse(refusal::no_ledger(&self.locator(), &why))),
        }
    }

    /// A session that nobody knows is no agent of any class.
    fn terms(&self, caller: &Caller, rules: &Rules, course: &Course, kind: Kind, ownership: &Ownership) -> Vec<Term> {
        let mut terms =
            self.gate.terms(rules, caller, kind, ownership, &course.item.change, &course.ticket.locator.project);
        terms.retain(|term| matches!(term, Term::Within(_)) || !is_session(&caller.actor));
        terms
    }

    fn barred(&self, barred: &Barred) -> Stop {
        let rejection = Gate::refused_by(barred, &self.locator(), &[]);
        let message = format!("none of the form's items was changed: {}", rejection.message);
        Stop::Refuse(Box::new(Rejection { message, ..rejection }))
    }

    async fn emit(
        &self,
        chosen: &[(ResourceKey, Change)],
        emit_by: crate::model::Boot,
    ) -> Result<WireResponse, CallError> {
        let request = self.gate.ports.dialect.emit_bulk(&self.ask.bulk, chosen, &self.ask.headers);
        let clock = Arc::clone(&self.gate.ports.clock);
        let in_time = move || clock.boot() <= emit_by;
        let started = tokio::time::Instant::now();
        let answer = self.gate.ports.upstream.send(request, None, &in_time).await;
        self.gate.measure_send(started.elapsed());
        answer
    }

    /// No byte was handed over: the items are as they were.
    fn not_sent(&self, error: &CallError) -> Stop {
        if matches!(error, CallError::Expired) {
            let message = "the gate was suspended before it could send; nothing was sent; try again".to_owned();
            return Stop::Refuse(refusal::retry(Code::Fenced, &self.locator(), message, Duration::from_secs(1)));
        }
        Stop::Refuse(refusal::unreadable(&self.locator(), &error.to_string()))
    }

    async fn read_back<'a>(
        &self,
        reader: &Credential,
        rules: &Rules,
        sent: &[(&'a Course, &'a Permit)],
        answer: Answer,
    ) -> Vec<Settled<'a>> {
        let judged = |course: &'a Course, permit: &'a Permit| async move {
            let back = match answer {
                Answer::Complete(_) => self.read(&course.item.address, reader, "read_back").await.ok(),
                Answer::Uncertain => None,
            };
            // What was not the same item is no evidence of this one.
            let back = back.filter(|back| back.seen.key == course.ticket.key);
            let outcome = admission::judge(
                permit.plan(),
                answer,
                &course.item.fresh.seen,
                back.as_ref().map(|back| &back.seen),
                course.by_holder,
                &rules.workflow,
            );
            Settled { course, outcome, back }
        };
        let each: Vec<_> = sent.iter().map(|(course, permit)| judged(course, permit)).collect();
        stream::iter(each).buffered(super::READS_AT_ONCE).collect().await
    }

    /// T3 for all, and the answer after it.
    async fn settle(
        &self,
        caller: &Caller,
        rules: &Rules,
        courses: &[Course],
        settled: Vec<Settled<'_>>,
        response: Option<WireResponse>,
    ) -> Reply {
        let status = response.as_ref().map(|response| response.status.as_u16());
        let doubt_until = self.gate.ports.clock.now() + self.gate.settings.doubt_period;
        let ended = settled.iter().map(|settled| {
            let (ticket, outcome) = (&settled.course.ticket, settled.outcome.clone());
            let decision = if settled.course.observed.is_some() { Decision::Observe } else { Decision::Admit };
            let mut note = self.note(caller, decision, settled.course.observed.or(outcome_code(&outcome, status)));
            note.observed = outcome.shown().cloned();
            note.upstream_status = status;
            let step = Step::Settle { attempt: ticket.attempt.clone(), outcome, doubt_until };
            self.ending(ticket, step, note, courses)
        });
        let commands: Vec<Command> = ended.chain(self.grants(caller, rules, courses)).collect();
        failpoint::reach("t3.before");
        for course in courses {
            course.item.turn.forget();
        }
        let id = courses.first().map_or("", |course| course.ticket.attempt.as_str());
        let Some(records) = self.close(commands, Durability::Awaited).await else {
            return self.decided(
                Decision::Admit,
                Some(Code::OutcomeUnknown),
                id,
                Answered::Refused(self.unknown_of(courses)),
            );
        };
        failpoint::reach("t3.after");
        let outcomes: Vec<(Locator, Outcome)> =
            settled.iter().map(|one| (one.course.ticket.locator.clone(), one.outcome.clone())).collect();
        for (one, record) in settled.into_iter().zip(records) {
            if let Some(back) = one.back {
                if is_session(&caller.actor) {
                    let change = [&one.course.item.fresh.seen, &back.seen].map(|seen| rules.workflow.shown(seen));
                    self.gate.look_for_authors(one.course.ticket.attempt.as_str(), &back.seen, change, Way::Form);
                }
                let record = ItemRecord { live: None, ..record };
                one.course.item.turn.publish(Observation { began: back.began, seen: back.seen, record });
            }
        }
        self.tell(id, courses, &outcomes, response)
    }

    /// What becomes of those that show what was asked already.
    fn grants<'a>(
        &'a self,
        caller: &'a Caller,
        rules: &'a Rules,
        courses: &'a [Course],
    ) -> impl Iterator<Item = Command> + 'a {
        courses.iter().filter_map(|course| {
            let Verdict::Noop(noop) = &course.verdict else { return None };
            let shown = rules.workflow.shown(&course.item.fresh.seen);
            let mut note = self.note(caller, Decision::Noop, None);
            note.observed = Some(shown.clone());
            let (attempt, ownership) = (course.ticket.attempt.clone(), noop.ownership.clone());
            let step = Step::Grant { attempt, kind: noop.kind, ownership, shown };
            Some(self.ending(&course.ticket, step, note, courses))
        })
    }

    async fn grant_all(&self, caller: &Caller, rules: &Rules, courses: &[Course], response: WireResponse) -> Ended {
        let terms = |course: &Course| match &course.verdict {
            Verdict::Noop(noop) => Some(self.terms(caller, rules, course, noop.kind, &noop.ownership)),
            Verdict::Admit(_) | Verdict::Reject(_) => None,
        };
        let terms = courses.iter().filter_map(terms);
        let steps = terms.zip(self.grants(caller, rules, courses)).collect();
        for course in courses {
            course.item.turn.forget();
        }
        let id = courses.first().map_or("", |course| course.ticket.attempt.as_str());
        match self.gate.commit_on_terms(rules, steps).await {
            Ok(Committed { observed, lease, .. }) => {
                self.gate.give_back(lease).await;
                if observed.is_none() {
                    return Ok(self.nothing_to_send(id, response));
                }
                Ok(self.decided(Decision::Observe, observed, id, Answered::Tracker(response)))
            }
            Err(LedgerError::Refused(Refused::Barred(barred))) => {
                self.give_up(caller, &tickets(courses), self.barred(&barred)).await
            }
            Err(error) => self.give_up(caller, &tickets(courses), self.no_ledger(&error)).await,
        }
    }

    fn tell(
        &self,
        id: &str,
        courses: &[Course],
        outcomes: &[(Locator, Outcome)],
        response: Option<WireResponse>,
    ) -> Reply {
        let of = |wanted: fn(&Outcome) -> bool| -> Vec<String> {
            outcomes.iter().filter(|(_, outcome)| wanted(outcome)).map(|(locator, _)| locator.to_string()).collect()
        };
        let doubtful = of(|outcome| matches!(outcome, Outcome::Doubt));
        let contested = of(|outcome| matches!(outcome, Outcome::Partial { holds: false, .. }));
        let unmoved = of(|outcome| matches!(outcome, Outcome::Refused { .. }));
        let refuse = |code, text: String| (Some(code), Answered::Refused(Box::new(Rejection::of_request(code, text))));
        let (code, answer) = match response {
            None => (Some(Code::OutcomeUnknown), Answered::Refused(self.unknown_of(courses))),
            Some(_) if !doubtful.is_empty() => {
                (Some(Code::OutcomeUnknown), Answered::Refused(self.unknown_of(courses)))
            }
            Some(_) if !contested.is_empty() => refuse(
                Code::Contested,
                format!("{} shows the work of a writer that did not pass the gate", some_of(&contested)),
            ),
            Some(response) if response.status.is_success() && !unmoved.is_empty() => refuse(
                Code::NotApplied,
                format!("the tracker answered {} and left {} as it was", response.status.as_u16(), some_of(&unmoved)),
            ),
            // Written, whatever it said.
            Some(response) if response.status.is_server_error() && unmoved.is_empty() => {
                let built = self.gate.ports.dialect.accept_bulk(&self.ask.bulk);
                (None, Answered::Tracker(built.unwrap_or(response)))
            }
            Some(response) => (None, Answered::Tracker(response)),
        };
        let observed = courses.iter().find_map(|course| course.observed);
        let decision = if observed.is_some() { Decision::Observe } else { Decision::Admit };
        self.decided(decision, observed.or(code), id, answer)
    }

    fn unknown_of(&self, courses: &[Course]) -> Box<Rejection> {
        let names: Vec<String> =
            courses.iter().filter(|c| c.permit().is_some()).map(|course| course.ticket.locator.to_string()).collect();
        if names.is_empty() {
            // A comment beside a state that showed already.
            return Self::unknown();
        }
        let message = format!(
            "the form was sent and its outcome is unknown; {} stay closed to others for up to {} s until it is known: \
             load the page again and look",
            some_of(&names),
            self.gate.settings.doubt_period.as_secs()
        );
        Box::new(Rejection::of_request(Code::OutcomeUnknown, message))
    }

    // === ways out ===

    /// Ends attempts of which nothing was sent.
    async fn give_up(&self, caller: &Caller, tickets: &[Ticket], stop: Stop) -> Ended {
        let code = match &stop {
            Stop::Refuse(rejection) => Some(rejection.code),
            Stop::Tracker(_) | Stop::Gone => Some(Code::UpstreamUnreadable),
        };
        let abort = |ticket: &Ticket| {
            let mut note = self.note(caller, Decision::Reject, code);
            ticket.attempt.as_str().clone_into(&mut note.id);
            self.command(ticket, Step::Abort(ticket.attempt.clone()), Some(Box::new(note)))
        };
        self.close(tickets.iter().map(abort).collect(), Durability::Awaited).await;
        let id = tickets.first().map_or("", |ticket| ticket.attempt.as_str());
        match stop {
            Stop::Refuse(rejection) => Ok(self.decided(Decision::Reject, code, id, Answered::Refused(rejection))),
            Stop::Tracker(response) => Ok(self.decided(Decision::Reject, code, id, Answered::Tracker(*response))),
            Stop::Gone => Err(stop),
        }
    }

    /// Ends all attempts in one transaction. Where that cannot be, each is tried by itself for as long as it takes: one
    /// that was taken over must not leave the others OPEN. `None`: it is not written yet.
    async fn close(&self, commands: Vec<Command>, durability: Durability) -> Option<Vec<ItemRecord>> {
        let ledger = &self.gate.ports.ledger;
        let error = match ledger.commit(commands.clone(), durability).await {
            Ok(records) => return Some(records),
            Err(error) => error,
        };
        tracing::error!(ledger.error = %error, items = commands.len(), "settlement not written");
        let ledger = Arc::clone(ledger);
        tokio::spawn(async move {
            for command in commands {
                first_allowed(Arc::clone(&ledger), vec![command]).await;
            }
        });
        None
    }
}

impl Course {
    fn permit(&self) -> Option<(&Self, &Permit)> {
        match &self.verdict {
            Verdict::Admit(permit) => Some((self, permit)),
            Verdict::Noop(_) | Verdict::Reject(_) => None,
        }
    }
}

fn tickets(courses: &[Course]) -> Vec<Ticket> {
    courses.iter().map(|course| course.ticket.clone()).collect()
}

/// Decides; but a session whose account nobody knows is made no holder: a later one of the same person could not release.
fn decide_for(question: &Question<'_>) -> (Verdict, Option<Code>) {
    let actor = &question.caller.actor;
    let claims = |permit: &Permit| matches!(&permit.plan().ownership, Ownership::Becomes(next) if next == actor);
    match admission::decide(question) {
        (Verdict::Admit(permit), _) if is_session(actor) && claims(&permit) => {
            if question.rules.workflow.mode == Mode::Observe {
                let caller = Caller { overrider: true, ..question.caller.clone() };
                let (verdict, _) = admission::decide(&Question { caller: &caller, ..*question });
                return (verdict, Some(Code::NotHolder));
            }
            let locator = &question.seen.locator;
            let message = format!(
                "{locator}: only a holder may set this, and the tracker does not say whose session it is; assign the \
                 item first"
            );
            (Verdict::Reject(*refusal::plain(Code::NotHolder, locator, message)), None)
        }
        decided => decided,
    }
}

/// Forms are answered with a redirect also where they were carried out: what shows decides.
fn as_judged(response: &WireResponse) -> u16 {
    if response.status.is_redirection() { 200 } else { response.status.as_u16() }
}
