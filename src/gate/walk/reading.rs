//! What a walk reads besides how its items stand: with the caller's own credential, or for a session with the service's.

use super::super::{EntryCondition, refusal};
use super::{EarlyExit, ItemRead, Unread, Walk};
use crate::admission::{Mode, Outcome, Plan};
use crate::dialect::{Address, AnswerClass, Assignable, Credential, Request, WireRequest, WireResponse};
use crate::effect::CallError;
use crate::model::{Account, Caller, Code, Rejection, Snapshot};

impl<R: Request> Walk<R> {
    pub(super) fn tracker_denies(&self, response: WireResponse) -> EarlyExit {
        if response.class() == AnswerClass::Unauthorized {
            self.gate.ports.identify.forget(self.print());
        }
        EarlyExit::Tracker(Box::new(response))
    }

    /// What the client is told of a read of its own.
    pub(super) fn not_read(&self, unread: Unread) -> EarlyExit {
        match unread {
            Unread::Denied(response) => self.tracker_denies(*response),
            Unread::Unanswered(error) => self.not_answered(&error),
            Unread::Unreadable(why) => EarlyExit::Refuse(refusal::unreadable(&self.request().locator(), &why)),
        }
    }

    pub(super) fn not_answered(&self, error: &CallError) -> EarlyExit {
        EarlyExit::Refuse(refusal::unanswered(&self.request().locator(), error))
    }

    pub(super) fn cannot_read(&self, what: &str) -> EarlyExit {
        EarlyExit::Refuse(refusal::unreadable(&self.request().locator(), &format!("{what} could not be read")))
    }
}

impl Walk {
    /// One read with the caller's credential.
    pub(super) async fn read(&self, address: &Address, phase: &'static str) -> Result<ItemRead, EarlyExit> {
        // What nobody waits for is a part of what was done.
        let must = phase == "read_back" || !matches!(self.ask.condition, EntryCondition::Awaited);
        match self.gate.read_item(address, &self.ask.credential, phase, must).await {
            Ok(read) => {
                self.learn(&read.address, &read.seen).await;
                Ok(read)
            }
            Err(unread) => {
                // Its holder is alive, whether or not the tracker is.
                if let (Unread::Unanswered(_), Some(caller)) = (&unread, self.caller.get()) {
                    self.gate.hear_about(address, caller.actor.clone());
                }
                Err(self.not_read(unread))
            }
        }
    }

    /// One read for a session: what the reader may not see is not told to it.
    pub(super) async fn read_for_session(
        &self,
        address: &Address,
        reader: &Credential,
        phase: &'static str,
    ) -> Result<ItemRead, EarlyExit> {
        match self.gate.read_item(address, reader, phase, phase == "read_back").await {
            Ok(read) => {
                self.gate.reads.learn_key(&read.seen.locator, &read.seen.key, read.seen.kind).await;
                Ok(read)
            }
            Err(unread) => {
                let locator = address.locator();
                Err(EarlyExit::Refuse(match unread {
                    Unread::Denied(response) => {
                        refusal::unreadable(&locator, &format!("the reader was answered {}", response.status))
                    }
                    Unread::Unanswered(error) => refusal::unanswered(&locator, &error),
                    Unread::Unreadable(why) => refusal::unreadable(&locator, &why),
                }))
            }
        }
    }

    pub(super) async fn learn(&self, address: &Address, seen: &Snapshot) {
        self.gate.reads.learn_item(self.print(), seen, self.gate.ports.clock.boot());
        self.gate.reads.learn_key(&address.locator(), &seen.key, seen.kind).await;
    }

    /// An answer of 200 to a read with the caller's credential. What else the tracker says goes back as it is, but for its
    /// own failures.
    pub(super) async fn fetch(&self, request: impl Into<Option<WireRequest>>) -> Result<WireResponse, EarlyExit> {
        self.gate.fetch(request).await.map_err(|unread| self.not_read(unread))
    }

    /// The success answer, as its route shows the item; by another read where what was read is not that. `None`: the request
    /// must be sent for its own sake.
    pub(super) async fn success(&self, read: &ItemRead) -> Result<Option<WireResponse>, EarlyExit> {
        match self.request().represent(&read.address, &self.ask.credential) {
            None => Ok(self.request().accept(Some(&read.response))),
            // The write may be done, and this is the answer to it.
            Some(request) => {
                let shown = self.gate.fetch_back(request).await.map_err(|unread| self.not_read(unread))?;
                Ok(self.request().accept(Some(&shown)))
            }
        }
    }

    /// The tracker's answer, or a success built from what shows where it said 5xx and had written.
    pub(super) async fn passed_or_built(
        &self,
        landed: bool,
        response: Option<WireResponse>,
        shown: Option<&ItemRead>,
    ) -> Option<WireResponse> {
        let failed = response.as_ref().is_some_and(|response| response.status.is_server_error());
        match shown {
            // Where that cannot be read either, the same request again is told.
            Some(read) if landed && failed => self.success(read).await.ok().flatten().or(response),
            _ => response,
        }
    }

    /// Somebody whom the write assigns and the tracker would not: a tracker that finds that out in the midst of a hand-over
    /// has unassigned the old one by then. What it does not tell is left to it.
    pub(super) async fn unassignable(&self, read: &ItemRead, plan: &Plan, caller: &Caller) -> Option<Box<Rejection>> {
        let enforces = self.rules.assignment.mode == Mode::Enforce && !self.is_form();
        let wanted = plan.goal.assignees.as_ref().filter(|_| enforces)?;
        let own = caller.actor.account.login();
        for login in wanted.difference(&read.seen.assignees).filter(|login| Some(*login) != own) {
            if self.may_be_assigned(&read.address, login).await == Some(false) {
                let locator = &read.seen.locator;
                let message = format!(
                    "{locator}: {login} may not be assigned there: {} is private, and the tracker names {login} neither among \
                     those who may be assigned nor as a collaborator; nothing was sent, and nothing has changed",
                    locator.project_name()
                );
                return Some(refusal::plain(Code::NotApplied, locator, message));
            }
        }
        None
    }

    /// What the tracker says to it; `None` where it says nothing.
    async fn may_be_assigned(&self, address: &Address, login: &Account) -> Option<bool> {
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
        read: (&Address, &Snapshot),
        outcome: &Outcome,
        response: Option<&WireResponse>,
    ) -> Option<Box<Rejection>> {
        let (address, seen) = read;
        let Outcome::Refused { shown } = outcome else { return None };
        let wanted = self.request().label_in_path().filter(|_| response.is_some_and(WireResponse::is_success))?;
        let (gate, credential) = (&self.gate, &self.ask.credential);
        let mut known = gate.list_labels(&address.place, false, credential).await.unwrap_or_default();
        known.extend(gate.list_labels(&address.place, true, credential).await.unwrap_or_default());
        known.iter().find(|label| wanted.is_shadowed_by(label))?;
        let carried = seen.labels.iter().find(|label| wanted.names(label))?;
        let (locator, name) = (&seen.locator, &carried.name);
        let message = format!(
            "{locator}: {} is the number of `{name}` and the name of another label, for which the tracker took it, so nothing \
             was changed; remove `{name}` by its name, or PUT the labels that are to stay",
            wanted.to_string().trim_start_matches('#')
        );
        let rejection = refusal::plain(Code::AmbiguousRequest, locator, message);
        Some(Box::new(Rejection { observed: Some(shown.clone()), ..*rejection }))
    }
}
