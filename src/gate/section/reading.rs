//! What a section reads of its item: before its turn which item it is, inside it how it stands, and after a send what
//! came of it.

use super::super::lanes::KEPT;
use super::super::{Proviso, Turn, Verify, refusal};
use super::{Entered, Fresh, Section, Stop};
use crate::admission::{Answer, Mode, Outcome, Plan};
use crate::dialect::{Address, Assignable, ReadOutcome, WireResponse};
use crate::model::{Caller, Code, Login, Rejection, ResourceKey, Snapshot};

impl Section {
    /// The item's id, and the read that told it or that proved the caller to be a reader, if one was made.
    pub(super) async fn resolve(
        &self,
        address: &Address,
        caller: &Caller,
    ) -> Result<(ResourceKey, Option<Fresh>), Stop> {
        let locator = address.locator();
        let reads = &self.gate.reads;
        if let Some(key) = reads.key(&locator).await {
            let fresh = if reads.may_share_at(&caller.credential, &locator, self.ask.arrived).await {
                None
            } else {
                Some(self.read(address, "resolve").await?)
            };
            return Ok((fresh.as_ref().map_or(key, |fresh| fresh.seen.key.clone()), fresh));
        }
        let mut mine = None;
        let found = reads
            .key_or(&locator, async {
                let read = self.read(address, "resolve").await;
                let key = read.as_ref().map(|fresh| (fresh.seen.key.clone(), fresh.seen.kind)).map_err(|_| ());
                mine = Some(read);
                key
            })
            .await;
        match (mine, found) {
            (Some(read), _) => read.map(|fresh| (fresh.seen.key.clone(), Some(fresh))),
            (None, Ok(key)) if reads.may_share_at(&caller.credential, &locator, self.ask.arrived).await => {
                Ok((key, None))
            }
            // Another's read told the id, or failed; what this caller may see is its own matter.
            (None, _) => self.read(address, "resolve").await.map(|fresh| (fresh.seen.key.clone(), Some(fresh))),
        }
    }

    /// One read with the caller's credential; a same-origin redirect is followed once.
    pub(super) async fn read(&self, address: &Address, phase: &'static str) -> Result<Fresh, Stop> {
        let mut address = address.clone();
        for _ in 0..2 {
            let began = self.gate.ports.clock.boot();
            let request = self.gate.ports.dialect.observe(&address, &self.ask.credential);
            let started = tokio::time::Instant::now();
            let upstream = &self.gate.ports.upstream;
            // What nobody waits for is a part of what was done.
            let is_back = phase == "read_back" || !matches!(self.ask.proviso, Proviso::Awaited);
            let answer = if is_back { upstream.read_back(request).await } else { upstream.read(request).await };
            self.gate.ports.metrics.upstream_took(phase, started.elapsed());
            let status = answer.as_ref().ok().map(|(response, _)| response.status);
            self.gate.notice_answer(status);
            if let (None, Some(actor)) = (status, self.actor(self.print())) {
                self.gate.hear_about(&address, actor);
            }
            let (response, carrier) =
                answer.map_err(|error| Stop::Refuse(refusal::unanswered(&self.locator(), &error)))?;
            match self.gate.ports.dialect.read(&address, &response) {
                ReadOutcome::Item(seen) => {
                    self.learn(&address, &seen).await;
                    return Ok(Fresh { began, seen, address, response, carrier });
                }
                ReadOutcome::Denied => return Err(self.tracker_denies(response)),
                ReadOutcome::Moved(to) => address = to,
                ReadOutcome::Unreadable(why) => return Err(Stop::Refuse(refusal::unreadable(&self.locator(), &why))),
            }
        }
        Err(Stop::Refuse(refusal::unreadable(&self.locator(), "it redirects more than once")))
    }

    /// The success answer, as its route shows the item; by another read where what was read is not that.
    pub(super) async fn success(&self, address: &Address, read: &WireResponse) -> Result<WireResponse, Stop> {
        let dialect = &self.gate.ports.dialect;
        let intent = self.intent_at(address);
        let Some(request) = dialect.represent(&intent, &self.ask.credential) else {
            return Ok(dialect.accept(&intent, read));
        };
        let unreadable = |why: &str| Stop::Refuse(refusal::unreadable(&self.locator(), why));
        // The write may be done, and this is the answer to it.
        let answer = self.gate.ports.upstream.read_back(request).await;
        let (response, _) = answer.map_err(|error| Stop::Refuse(refusal::unanswered(&self.locator(), &error)))?;
        match response.status.as_u16() {
            200 => Ok(dialect.accept(&intent, &response)),
            401 | 403 | 404 | 429 => Err(self.tracker_denies(response)),
            status => Err(unreadable(&format!("the tracker answered {status}"))),
        }
    }

    /// The tracker's answer, or a success built from what shows where it said 5xx and had written.
    pub(super) async fn passed_or_built(
        &self,
        outcome: &Outcome,
        response: Option<WireResponse>,
        shown: Option<(&Address, &WireResponse)>,
    ) -> Option<WireResponse> {
        let failed = response.as_ref().is_some_and(|response| response.status.is_server_error());
        match (outcome, shown) {
            // Where that cannot be read either, the same request again is told.
            (Outcome::Committed { .. }, Some((at, read))) if failed => self.success(at, read).await.ok().or(response),
            _ => response,
        }
    }

    /// Somebody whom the write assigns and the tracker would not: a tracker that finds that out in the midst of a hand-over
    /// has unassigned the old one by then. What it does not tell is left to it.
    pub(super) async fn unassignable(
        &self,
        address: &Address,
        seen: &Snapshot,
        plan: &Plan,
        caller: &Caller,
    ) -> Option<Box<Rejection>> {
        let wanted = plan.goal.assignees.as_ref().filter(|_| self.rules.assignment.mode == Mode::Enforce)?;
        let own = caller.actor.account.login();
        for login in wanted.difference(&seen.assignees).filter(|login| Some(*login) != own) {
            if self.may_be_assigned(address, login).await == Some(false) {
                let locator = &seen.locator;
                let message = format!(
                    "{locator}: {login} may not be assigned there: {} is private, and the tracker names {login} neither among \
                     those who may be assigned nor as a collaborator; nothing was sent, and nothing has changed",
                    locator.project
                );
                return Some(refusal::plain(Code::NotApplied, locator, message));
            }
        }
        None
    }

    /// What the tracker says to it; `None` where it says nothing.
    async fn may_be_assigned(&self, address: &Address, login: &Login) -> Option<bool> {
        let (dialect, credential) = (&self.gate.ports.dialect, &self.ask.credential);
        let mut answers = Vec::new();
        loop {
            match dialect.assignable(address, login, &answers, credential) {
                Assignable::Ask(request) => answers.push(self.gate.ports.upstream.read(request).await.ok()?.0),
                Assignable::Told(may) => return Some(may),
                Assignable::Unknown => return None,
            }
        }
    }

    /// A removal that the tracker said it carried out, and the label is there: it took the number for another's name.
    pub(super) async fn misread(
        &self,
        address: &Address,
        seen: &Snapshot,
        outcome: &Outcome,
        response: Option<&WireResponse>,
    ) -> Option<Box<Rejection>> {
        let Outcome::Refused { shown } = outcome else { return None };
        let wanted =
            self.ask.intent.label_in_path().filter(|_| response.is_some_and(|said| said.status.is_success()))?;
        let (gate, credential) = (&self.gate, &self.ask.credential);
        let mut known = gate.list_labels(address, false, credential).await.unwrap_or_default();
        known.extend(gate.list_labels(address, true, credential).await.unwrap_or_default());
        known.iter().find(|label| wanted.is_shadowed_by(label))?;
        let carried = seen.labels.iter().find(|label| wanted.names(label.id, &label.name))?;
        let (locator, name) = (&seen.locator, &carried.name);
        let message = format!(
            "{locator}: {} is the number of `{name}` and the name of another label, for which the tracker took it, so nothing \
             was changed; remove `{name}` by its name, or PUT the labels that are to stay",
            wanted.to_string().trim_start_matches('#')
        );
        let rejection = refusal::plain(Code::AmbiguousRequest, locator, message);
        Some(Box::new(Rejection { observed: Some(shown.clone()), ..*rejection }))
    }

    pub(super) async fn learn(&self, address: &Address, seen: &Snapshot) {
        let locator = address.locator();
        self.gate.reads.learn_item(self.print(), seen, self.gate.ports.clock.boot());
        self.gate.reads.learn_key(&locator, &seen.key, seen.kind).await;
    }

    pub(super) fn tracker_denies(&self, response: WireResponse) -> Stop {
        if response.status == http::StatusCode::UNAUTHORIZED {
            self.gate.ports.identify.forget(self.print());
        }
        Stop::Tracker(Box::new(response))
    }

    pub(super) async fn observe(
        &self,
        at: &Entered<'_>,
        fresh: Option<Fresh>,
        address: &Address,
    ) -> Result<Fresh, Stop> {
        let fresh = match fresh.filter(|fresh| self.still_fresh(fresh, at.turn)) {
            Some(fresh) => fresh,
            None => self.read(address, "observe").await?,
        };
        if fresh.seen.key == *at.key { Ok(fresh) } else { Err(Stop::Moved) }
    }

    /// Whether a read from before the turn stands for one inside it: this process alone writes, and no turn of the item
    /// has ended since it began.
    pub(super) fn still_fresh(&self, fresh: &Fresh, turn: &Turn) -> bool {
        let untouched = match turn.last_ended {
            Some(ended) => ended < fresh.began,
            None => self.gate.ports.clock.boot() < fresh.began + KEPT,
        };
        untouched && self.gate.ports.ledger.exclusive() && fresh.began >= self.ask.arrived
    }

    pub(super) async fn read_back(
        &self,
        address: &Address,
        key: &ResourceKey,
        answer: Answer,
        response: Option<&WireResponse>,
    ) -> Option<Fresh> {
        let Answer::Complete(status) = answer else { return None };
        // A write's answer carries the item as a read's does, under a status of its own; a pull request's has another key.
        let as_read = |response: &WireResponse| WireResponse { status: http::StatusCode::OK, ..response.clone() };
        if self.gate.settings.verify == Verify::Answer
            && (200..300).contains(&status)
            && let Some(response) = response
            && let ReadOutcome::Item(seen) = self.gate.ports.dialect.read(address, &as_read(response))
            && seen.key == *key
        {
            let (began, address, response) = (self.gate.ports.clock.boot(), address.clone(), response.clone());
            return Some(Fresh { began, seen, address, response, carrier: None });
        }
        // What is not the same item any more is no evidence of this one.
        self.read(address, "read_back").await.ok().filter(|back| back.seen.key == *key)
    }
}
