//! Creations: a new item has no turn to take, since nobody can race for what is not there yet.

use super::super::{Answered, Reply, refusal};
use super::{Ended, Section, Stop};
use crate::admission::{StateTag, Step};
use crate::dialect::{Address, WireResponse};
use crate::effect::{CallError, Decision, Durability};
use crate::model::{Caller, Code, Kind, Ownership, Rejection, Snapshot};

impl Section {
    /// A new item cannot be raced for: it is sent once, and leaves a holding if a 2xx shows exactly the creator.
    pub(super) async fn create(&self, caller: &Caller) -> Ended {
        if let Some(rejection) = self.ask.expectation.on_nothing(&self.locator()) {
            return Err(Stop::Refuse(rejection));
        }
        let request = self.gate.ports.dialect.emit(&self.ask.intent, &self.ask.headers, &self.ask.credential);
        let answer = self.gate.ports.upstream.send(request, None, &|| true).await;
        let locator = self.locator();
        let response = match answer {
            Ok(response) => response,
            Err(CallError::Unknown(why)) => {
                tracing::warn!(upstream.error = why, "no certain answer to a creation");
                let message = format!(
                    "the creation in {} was sent and its outcome is unknown; look before you \
                    repeat it",
                    locator.project
                );
                return Err(Stop::Refuse(Box::new(Rejection::of_request(Code::OutcomeUnknown, message))));
            }
            Err(error) => return Err(Stop::Refuse(refusal::unreadable(&locator, &error.to_string()))),
        };
        let Some((address, seen)) = self.gate.ports.dialect.created(&self.ask.intent, &response) else {
            return Ok(self.passed_on(caller, response));
        };
        let seen = match seen {
            Some(seen) => Some(seen),
            None => self.read(&address, "read_back").await.ok().map(|fresh| fresh.seen),
        };
        match seen {
            Some(seen) => {
                let state = Some(StateTag::of(&self.gate.rules().workflow.shown(&seen)));
                Ok(Reply { state, ..self.created(caller, &address, &seen, response).await })
            }
            None => Ok(self.passed_on(caller, response)),
        }
    }

    async fn created(&self, caller: &Caller, address: &Address, seen: &Snapshot, response: WireResponse) -> Reply {
        self.learn(address, seen).await;
        let own =
            caller.actor.account.login().is_some_and(|own| seen.assignees.len() == 1 && seen.assignees.contains(own));
        if !own {
            return self.passed_on(caller, response);
        }
        let attempt = self.attempt(&seen.key, address, caller);
        let rules = self.gate.rules();
        let id = attempt.id.clone();
        let mut note = self.bare_note(Decision::Admit, None);
        note.upstream_status = Some(response.status.as_u16());
        let grant = Step::Grant {
            attempt: id.clone(),
            kind: Kind::Create,
            ownership: Ownership::Becomes(caller.actor.clone()),
            shown: rules.workflow.shown(seen),
        };
        let commands = vec![
            self.command(&seen.key, &address.locator(), Step::Open(attempt), None),
            self.command(&seen.key, &address.locator(), grant, Some(Box::new(note))),
        ];
        if let Err(error) = self.gate.ports.ledger.commit(commands, Durability::Awaited).await {
            // The item exists, and its assignee is a claim that the creator adopts with its next write.
            tracing::warn!(ledger.error = %error, "a creation left no holding");
        }
        self.decided(Decision::Admit, None, id.as_str(), Answered::Tracker(response))
    }

    /// A creation that leaves no holding.
    fn passed_on(&self, caller: &Caller, response: WireResponse) -> Reply {
        let mut note = self.bare_note(Decision::Admit, None);
        note.agent = Some((caller.actor.clone(), caller.credential.clone()));
        note.upstream_status = Some(response.status.as_u16());
        note.change = format!("create {}", self.ask.intent.change);
        let id = note.id.clone();
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        self.decided(Decision::Admit, None, &id, Answered::Tracker(response))
    }
}
