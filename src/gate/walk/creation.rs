//! Creations: nobody can race for what is not there yet, so that the send takes no turn. The item is there before its
//! creator is told, though: the holding takes its turn like any other write.

use super::super::cancellation::Cancellation;
use super::super::lanes::KEPT;
use super::super::{Answered, Reply, Turn};
use super::constraints::CreationPermit;
use super::{EarlyExit, SectionResult, Walk, place_of};
use crate::admission::{StateTag, Step};
use crate::dialect::{Address, Guarded, Request as _, WireResponse};
use crate::effect::{CallError, Durability, Sending};
use crate::model::{BootTime, Caller, Code, Kind, Ownership, Place, Rejection, ResourceKey, Snapshot};

/// The item that an answer names. Its id is known once it was read.
struct New {
    at: Place,
    key: Option<ResourceKey>,
}

impl Walk {
    /// A new item cannot be raced for: it is sent once, and leaves a holding if a 2xx shows exactly the creator.
    pub(super) async fn create(&self, caller: &Caller, cancellation: &Cancellation) -> SectionResult {
        if let Some(rejection) = self.ask.expectation.on_nothing(&self.request().locator()) {
            return Err(EarlyExit::Refuse(rejection));
        }
        self.place_creation().await?;
        let mut permit = self.permit_to_create(caller, cancellation).await?;
        match self.send_creation(Sending::creation(), self.request(), self.emit_by()).await {
            Ok(response) => {
                if response.class().is_refusal() {
                    self.give_back(&mut permit).await;
                }
                self.gate.record_heartbeat(&caller.actor, self.request().locator().project());
                Ok(self.finish(caller, &permit, response).await)
            }
            Err(error) => {
                if !matches!(error, CallError::Unknown(_)) {
                    self.give_back(&mut permit).await;
                }
                Err(self.uncreated(&error))
            }
        }
    }

    /// In which project it is, which a rule may be about.
    async fn place_creation(&self) -> Result<(), EarlyExit> {
        let Some(request) = self.request().locate(&self.ask.credential) else { return Ok(()) };
        let found = self.fetch(request).await?;
        let located = self.request().located(&found).ok_or_else(|| self.cannot_read("where it is to be"))?;
        // A walk creates once.
        let _ = self.spelled.set(located);
        Ok(())
    }

    pub(super) async fn send_creation(
        &self,
        sending: Sending,
        request: &Guarded,
        emit_by: BootTime,
    ) -> Result<WireResponse, CallError> {
        let request = request.emit(&[], &self.ask.headers, &self.ask.credential);
        self.dispatch(sending, request, None, emit_by).await
    }

    /// What is told where there is no answer.
    pub(super) fn uncreated(&self, error: &CallError) -> EarlyExit {
        match error {
            CallError::Unknown(why) | CallError::TooLong(why) => {
                tracing::warn!(upstream.error = why, "no certain answer to a creation");
                EarlyExit::Refuse(self.unknown_creation())
            }
            CallError::Expired | CallError::NotSent(_) | CallError::NoRoom => self.not_sent(error),
        }
    }

    pub(super) fn unknown_creation(&self) -> Box<Rejection> {
        let message = format!(
            "the creation in {} was sent and its outcome is unknown; look before you repeat it",
            self.request().locator().project_name()
        );
        Box::new(Rejection::of_request(Code::OutcomeUnknown, message))
    }

    /// Answers with what the tracker said, and remembers what that means.
    pub(super) async fn finish(&self, caller: &Caller, permit: &CreationPermit, response: WireResponse) -> Reply {
        let Some((address, seen)) = self.request().created(&response) else {
            return self.passed_on(caller, permit, None, response);
        };
        let seen = match seen {
            Some(seen) => Some(seen),
            None => self.read(&address, "read_back").await.ok().map(|fresh| fresh.seen),
        };
        let new = New { at: address.locator(), key: seen.as_ref().map(|seen| seen.key.clone()) };
        let Some(seen) = seen else { return self.passed_on(caller, permit, Some(new), response) };
        self.learn(&address, &seen).await;
        let state = Some(StateTag::of(&self.rules.workflow.shown(&seen)));
        let reply = match self.hold(caller, permit, &address, (seen, &response)).await {
            Some(id) => self.decided(permit.decision(), permit.observed, &id, Answered::Tracker(response)),
            None => self.passed_on(caller, permit, Some(new), response),
        };
        Reply { state, ..reply }
    }

    /// Makes the creator the holder, under the item's turn: it was there for all before the answer came. Returns the
    /// attempt, if it does.
    async fn hold(
        &self,
        caller: &Caller,
        permit: &CreationPermit,
        address: &Address,
        (seen, response): (Snapshot, &WireResponse),
    ) -> Option<String> {
        if !is_own(caller, &seen) {
            return None;
        }
        let turn = self.enter_one(&seen.key, &address.locator(), caller).await.ok()?;
        let seen = self.still_own(caller, address, seen, &turn).await?;
        let place = place_of(address, &seen);
        let id = self.gate.ports.entropy.attempt_id(self.gate.ports.clock.now());
        let change = self.request().change().cloned().unwrap_or_default();
        let attempt = self.gate.attempt(id.clone(), (&seen.key, place), caller, &change);
        let mut note = self.bare_note(permit.decision(), permit.observed);
        note.upstream_status = Some(response.code());
        let grant = Step::Grant {
            attempt: id.clone(),
            kind: Kind::Create,
            ownership: Ownership::Becomes(caller.actor.clone()),
            shown: self.rules.workflow.shown(&seen),
        };
        let commands = vec![
            self.command(&seen.key, place, Step::Open(attempt), None),
            self.command(&seen.key, place, grant, Some(Box::new(note))),
        ];
        turn.forget();
        match self.gate.ports.ledger.commit(commands, Durability::Awaited).await {
            Ok(_) => Some(id.as_str().to_owned()),
            Err(error) => {
                // The item exists, and its assignee is a claim that the creator adopts with its next write.
                tracing::warn!(ledger.error = %error, "a creation left no holding");
                None
            }
        }
    }

    /// The item under its turn, while it is its creator's alone. What the answer showed stands as long as nobody else can
    /// have had a turn since the request came.
    async fn still_own(&self, caller: &Caller, address: &Address, seen: Snapshot, turn: &Turn) -> Option<Snapshot> {
        let recent = self.gate.ports.clock.boot() < self.ask.arrived + KEPT;
        if turn.last_ended.is_none() && recent && self.gate.ports.ledger.admits_early_reads() {
            return Some(seen);
        }
        let fresh = self.read(address, "observe").await.ok()?.seen;
        (fresh.key == seen.key && is_own(caller, &fresh)).then_some(fresh)
    }

    /// A creation that leaves no holding.
    fn passed_on(&self, caller: &Caller, permit: &CreationPermit, new: Option<New>, response: WireResponse) -> Reply {
        let mut note = self.bare_note(permit.decision(), permit.observed);
        note.agent = Some((caller.actor.clone(), caller.credential.clone()));
        note.upstream_status = Some(response.code());
        if let Some(new) = new {
            (note.resource, note.resource_id) = (Some(new.at), new.key);
        }
        if !note.change.starts_with("create") {
            let rest = if note.change.is_empty() { "" } else { " " };
            note.change.insert_str(0, &format!("create{rest}"));
        }
        self.recorded(note, permit.decision(), permit.observed, Answered::Tracker(response))
    }
}

/// Whether exactly the caller is assigned.
fn is_own(caller: &Caller, seen: &Snapshot) -> bool {
    caller.actor.account.login().is_some_and(|own| seen.assignees.len() == 1 && seen.assignees.contains(own))
}
