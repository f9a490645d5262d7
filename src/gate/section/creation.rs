//! Creations: a new item has no turn to take, since nobody can race for what is not there yet.

use super::super::{Answered, Reply, refusal};
use super::terms::Leave;
use super::{Ended, Section, Stop};
use crate::admission::{StateTag, Step};
use crate::dialect::{Address, Intent, WireResponse};
use crate::effect::{CallError, Durability};
use crate::model::{Caller, Code, Kind, Ownership, Rejection, Snapshot};
use std::time::Duration;

impl Section {
    /// A new item cannot be raced for: it is sent once, and leaves a holding if a 2xx shows exactly the creator.
    pub(super) async fn create(&self, caller: &Caller) -> Ended {
        if let Some(rejection) = self.ask.expectation.on_nothing(&self.locator()) {
            return Err(Stop::Refuse(rejection));
        }
        let leave = self.leave_to_create(caller).await?;
        match self.send_creation(&self.ask.intent, &|| true).await {
            Ok(response) => Ok(self.finish(caller, &leave, response).await),
            Err(error) => Err(self.uncreated(&error)),
        }
    }

    /// Sends it, once, while `ready` says so.
    pub(super) async fn send_creation(
        &self,
        intent: &Intent,
        ready: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<WireResponse, CallError> {
        let request = self.gate.ports.dialect.emit(intent, &self.ask.headers, &self.ask.credential);
        self.gate.ports.upstream.send(request, None, ready).await
    }

    /// What is told where there is no answer.
    pub(super) fn uncreated(&self, error: &CallError) -> Stop {
        match error {
            CallError::Unknown(why) => {
                tracing::warn!(upstream.error = why, "no certain answer to a creation");
                Stop::Refuse(self.unknown_creation())
            }
            CallError::Expired => {
                let (at, wait) = (self.locator(), Duration::from_secs(1));
                let message = format!("{at}: the gate was suspended before it could send; nothing was sent; try again");
                Stop::Refuse(refusal::retry(Code::Fenced, &at, message, wait))
            }
            CallError::NotSent(_) => Stop::Refuse(refusal::unreadable(&self.locator(), &error.to_string())),
        }
    }

    pub(super) fn unknown_creation(&self) -> Box<Rejection> {
        let message = format!(
            "the creation in {} was sent and its outcome is unknown; look before you repeat it",
            self.locator().project
        );
        Box::new(Rejection::of_request(Code::OutcomeUnknown, message))
    }

    /// Answers with what the tracker said, and remembers what that means.
    pub(super) async fn finish(&self, caller: &Caller, leave: &Leave, response: WireResponse) -> Reply {
        let Some((address, seen)) = self.gate.ports.dialect.created(&self.ask.intent, &response) else {
            return self.passed_on(caller, leave, response);
        };
        let seen = match seen {
            Some(seen) => Some(seen),
            None => self.read(&address, "read_back").await.ok().map(|fresh| fresh.seen),
        };
        match seen {
            Some(seen) => {
                let state = Some(StateTag::of(&self.rules.workflow.shown(&seen)));
                Reply { state, ..self.created(caller, leave, &address, &seen, response).await }
            }
            None => self.passed_on(caller, leave, response),
        }
    }

    async fn created(
        &self,
        caller: &Caller,
        leave: &Leave,
        address: &Address,
        seen: &Snapshot,
        response: WireResponse,
    ) -> Reply {
        self.learn(address, seen).await;
        let own =
            caller.actor.account.login().is_some_and(|own| seen.assignees.len() == 1 && seen.assignees.contains(own));
        if !own {
            return self.passed_on(caller, leave, response);
        }
        let attempt = self.attempt(&seen.key, address, caller);
        let id = attempt.id.clone();
        let mut note = self.bare_note(leave.decision(), leave.observed);
        note.upstream_status = Some(response.status.as_u16());
        let grant = Step::Grant {
            attempt: id.clone(),
            kind: Kind::Create,
            ownership: Ownership::Becomes(caller.actor.clone()),
            shown: self.rules.workflow.shown(seen),
        };
        let commands = vec![
            self.command(&seen.key, &address.locator(), Step::Open(attempt), None),
            self.command(&seen.key, &address.locator(), grant, Some(Box::new(note))),
        ];
        if let Err(error) = self.gate.ports.ledger.commit(commands, Durability::Awaited).await {
            // The item exists, and its assignee is a claim that the creator adopts with its next write.
            tracing::warn!(ledger.error = %error, "a creation left no holding");
        }
        self.decided(leave.decision(), leave.observed, id.as_str(), Answered::Tracker(response))
    }

    /// A creation that leaves no holding.
    fn passed_on(&self, caller: &Caller, leave: &Leave, response: WireResponse) -> Reply {
        let mut note = self.bare_note(leave.decision(), leave.observed);
        note.agent = Some((caller.actor.clone(), caller.credential.clone()));
        note.upstream_status = Some(response.status.as_u16());
        if !note.change.starts_with("create ") {
            note.change.insert_str(0, "create ");
        }
        let id = note.id.clone();
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        self.decided(leave.decision(), leave.observed, &id, Answered::Tracker(response))
    }
}
