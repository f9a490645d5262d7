//! T3: how each item ended is durable before anybody is told (manual: protocol, steps 9 and 10).

use super::super::authors::EditOrigin;
use super::super::{Answered, Reply, refusal};
use super::exits::some_of;
use super::outcome::{half_done, not_applied, outcome_code, partial};
use super::party::is_session;
use super::{Decided, ItemRead, Sent, TurnContext, Walk};
use crate::admission::{Outcome, StateTag, Step};
use crate::dialect::{Request as _, WireResponse};
use crate::effect::{Command, Decision, Durability, failpoint};
use crate::model::{Code, ItemRecord, Kind, Rejection, Time};
use std::sync::PoisonError;

/// How the write of one item ended.
pub(super) struct Ending<'t> {
    pub(super) one: Sent<'t>,
    pub(super) outcome: Outcome,
    pub(super) back: Option<ItemRead>,
}

impl Walk {
    pub(super) async fn settle(
        &self,
        at: &TurnContext<'_>,
        endings: Vec<Ending<'_>>,
        granted: Vec<Decided<'_>>,
        response: Option<WireResponse>,
    ) -> Reply {
        let status = response.as_ref().map(WireResponse::code);
        let (code, answer) = match endings.as_slice() {
            [one] if self.request().is_about_one() => self.tell_one(at, one, response).await,
            _ => self.tell_several(&endings, response),
        };
        let commands = self.commands(at, &endings, &granted, (status, code));
        // What a step took from a silent holder is known by the step's own time.
        let times: Vec<Time> = commands.iter().map(|command| command.now).collect();
        failpoint::reach("t3.before");
        for turn in endings.iter().map(|ending| ending.one.at.turn).chain(granted.iter().map(|one| one.at.turn)) {
            turn.forget();
        }
        let observed =
            endings.iter().find_map(|it| it.one.observed).or_else(|| granted.iter().find_map(|one| one.observed));
        let decision = if observed.is_some() { Decision::Observe } else { Decision::Admit };
        let id = endings.first().map_or_else(String::new, |ending| ending.one.at.attempt.as_str().to_owned());
        let Some(records) = self.close(commands, Durability::Awaited).await else {
            let unknown = self.unknown(&names(&endings, |_| true));
            return self.decided(decision, Some(unknown.code), &id, Answered::Refused(unknown));
        };
        failpoint::reach("t3.after");
        let mut reply = self.decided(decision, observed.or(code), &id, answer);
        let single = endings.len() == 1 && self.request().is_about_one();
        for ((ending, record), now) in endings.into_iter().zip(records).zip(times) {
            if single {
                reply.after = ending.one.at.after(at, &record);
                reply.state = ending.outcome.shown().map(StateTag::of);
            }
            self.follow_up(at, ending, record, now).await;
        }
        reply
    }

    /// What is written of each item.
    fn commands(
        &self,
        at: &TurnContext<'_>,
        endings: &[Ending<'_>],
        granted: &[Decided<'_>],
        (status, code): (Option<u16>, Option<Code>),
    ) -> Vec<Command> {
        let doubt_until = self.gate.ports.clock.now() + self.doubt_period();
        let settled = endings.iter().map(|Ending { one, outcome, .. }| {
            let own = if self.request().is_about_one() { code } else { outcome_code(outcome, status) };
            let decision = if one.observed.is_some() { Decision::Observe } else { Decision::Admit };
            let mut note = self.note(at, &one.at.attempt, decision, one.observed.or(own));
            note.observed = outcome.shown().cloned();
            note.upstream_status = status;
            let step = Step::Settle { attempt: one.at.attempt.clone(), outcome: outcome.clone(), doubt_until };
            self.step_of(&one.at, step, note)
        });
        let granted = granted.iter().filter_map(|one| Some([self.confirm(&one.at), self.grant_of(at, one)?]));
        settled.chain(granted.flatten()).collect()
    }

    /// What follows from a settled write.
    async fn follow_up(&self, at: &TurnContext<'_>, ending: Ending<'_>, record: ItemRecord, now: Time) {
        let Ending { one, outcome, back } = ending;
        let committed = matches!(outcome, Outcome::Committed { .. });
        if one.plan.kind == Kind::TakeOver {
            self.gate.tell_taken_over(&record, now, one.at.attempt.as_str());
        }
        if one.plan.kind == Kind::Claim && committed && !self.is_form() {
            self.gate.notice_claim(&at.party.caller, &self.ask.about, &one.at.key, false).await;
        }
        let Some(back) = back else { return };
        let [stood, stands] = [&one.at.read.seen, &back.seen].map(|seen| self.rules.workflow.shown(seen).statuses);
        if committed && stood != stands {
            self.gate.movers.remember(&one.at.key, (&at.party.caller.actor, now), stands);
        }
        if is_session(&at.party.caller.actor) {
            let change = [&one.at.read.seen, &back.seen].map(|seen| self.rules.workflow.shown(seen));
            self.gate.look_for_authors(one.at.attempt.as_str(), &back.seen, change, EditOrigin::Form);
        }
        if self.rules.workflow.put_back && !self.ask.operator && !self.is_form() && committed {
            let pending = record.pending_restore.clone().map(|status| (back.address.clone(), status));
            *self.pending_restore.lock().unwrap_or_else(PoisonError::into_inner) = pending;
        }
        Self::publish(one.at.turn, back.began, back.seen, record);
    }

    // === what is told ===

    async fn tell_one(
        &self,
        at: &TurnContext<'_>,
        Ending { one, outcome, back }: &Ending<'_>,
        response: Option<WireResponse>,
    ) -> (Option<Code>, Answered) {
        let status = response.as_ref().map(WireResponse::code);
        let (read, locator) = (&one.at.read, &one.at.read.seen.locator);
        // What is told where the tracker said success and did something else.
        let instead = match half_done(&at.party.caller, &read.seen, &one.plan, outcome, status) {
            None => self.misread((&read.address, &read.seen), outcome, response.as_ref()).await,
            told => told,
        };
        let code = instead.as_ref().map(|rejection| rejection.code).or_else(|| outcome_code(outcome, status));
        let landed = matches!(outcome, Outcome::Committed { .. });
        let answer = match (outcome, self.passed_or_built(landed, response, back.as_ref()).await) {
            (Outcome::Doubt, _) | (_, None) => Answered::Refused(refusal::unknown(locator, self.doubt_period())),
            (Outcome::Refused { .. }, Some(response)) if response.is_success() => {
                let status = response.code();
                Answered::Refused(instead.unwrap_or_else(|| not_applied(locator, status, &one.plan.goal, outcome)))
            }
            (Outcome::Partial { holds: false, shown }, Some(_)) => {
                let message = format!("{locator} shows {shown} after the write: a writer that did not pass the gate");
                let mut rejection = refusal::plain(Code::Contested, locator, message);
                rejection.observed = Some(shown.clone());
                Answered::Refused(rejection)
            }
            // An answer that shows nothing does not show what is missing either.
            (Outcome::Partial { holds: true, shown }, Some(response))
                if response.is_success() && response.body.is_empty() =>
            {
                Answered::Refused(partial(locator, shown))
            }
            (Outcome::Halfway { .. }, Some(response)) => match instead {
                Some(rejection) if rejection.code == Code::Partial => {
                    // The tracker's own status, with a body that says what has become of the item.
                    let told = self.request().reject(&rejection, one.at.attempt.as_str(), &self.ask.headers);
                    Answered::Tracker(WireResponse { status: response.status, ..told })
                }
                Some(rejection) => Answered::Refused(rejection),
                None => Answered::Tracker(response),
            },
            (_, Some(response)) => Answered::Tracker(response),
        };
        (code, answer)
    }

    fn tell_several(&self, endings: &[Ending<'_>], response: Option<WireResponse>) -> (Option<Code>, Answered) {
        let doubtful = names(endings, |outcome| matches!(outcome, Outcome::Doubt));
        let contested = names(endings, |outcome| matches!(outcome, Outcome::Partial { holds: false, .. }));
        let unmoved = names(endings, |outcome| matches!(outcome, Outcome::Refused { .. }));
        let refuse = |code, text: String| (Some(code), Answered::Refused(Box::new(Rejection::of_request(code, text))));
        match response {
            Some(response) if doubtful.is_empty() => match () {
                () if !contested.is_empty() => refuse(
                    Code::Contested,
                    format!("{} shows the work of a writer that did not pass the gate", some_of(&contested)),
                ),
                () if response.is_success() && !unmoved.is_empty() => {
                    let (status, names) = (response.code(), some_of(&unmoved));
                    refuse(Code::NotApplied, format!("the tracker answered {status} and left {names} as it was"))
                }
                // Written, whatever it said.
                () if response.status.is_server_error() && unmoved.is_empty() => {
                    (None, Answered::Tracker(self.request().accept(None).unwrap_or(response)))
                }
                () => (None, Answered::Tracker(response)),
            },
            _ => {
                let unknown = self.unknown(&names(endings, |_| true));
                (Some(unknown.code), Answered::Refused(unknown))
            }
        }
    }
}

fn names(endings: &[Ending<'_>], wanted: fn(&Outcome) -> bool) -> Vec<String> {
    let wanted = endings.iter().filter(|ending| wanted(&ending.outcome));
    wanted.map(|ending| ending.one.at.read.seen.locator.to_string()).collect()
}
