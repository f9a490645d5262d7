//! What a walk says: to the ledger, to the audit, and about itself.

use super::super::refusal;
use super::exits::some_of;
use super::{TurnContext, Walk};
use crate::admission::{By, Rules, Step};
use crate::dialect::Request;
use crate::effect::{Authority, Command, Decision, Note};
use crate::model::{Actor, AttemptId, Caller, Code, Fingerprint, Place, Rejection, ResourceKey};
use std::time::Duration;

/// Why a write of this caller may pass the holder of its item by.
pub(in crate::gate) fn authority(rules: &Rules, caller: &Caller) -> Option<Authority> {
    match rules.assignment.release_by {
        _ if caller.overrider => Some(Authority::Overrider),
        By::Anyone => Some(Authority::Anyone),
        By::Holder => None,
    }
}

impl<R: Request> Walk<R> {
    /// A line that is no attempt's, with a name of its own.
    pub(super) fn bare_note(&self, decision: Decision, code: Option<Code>) -> Note {
        let id = self.gate.ports.entropy.attempt_id(self.gate.ports.clock.now());
        self.note_of(id.as_str().to_owned(), decision, code)
    }

    pub(super) fn note_of(&self, id: String, decision: Decision, code: Option<Code>) -> Note {
        let mut note = Note::of_gate(id, None);
        note.decision = decision;
        note.code = code;
        note.reason = self.echoed.get().cloned();
        note.took = self.took();
        note.resource = self.request().is_about_one().then(|| self.request().locator());
        note.agent = self.sender();
        // Of a body nothing is recorded before the tracker has accepted its credential.
        if note.agent.is_some() {
            note.change = self.request().describe();
        }
        self.ask.about.fill(&mut note);
        note
    }

    /// Who it is from, as far as the tracker has said so.
    fn sender(&self) -> Option<(Actor, Fingerprint)> {
        if let Some(caller) = self.caller.get() {
            return Some((caller.actor.clone(), caller.credential.clone()));
        }
        if self.is_form() {
            return None;
        }
        let account = self.gate.ports.identify.known(self.print())?;
        let actor = Actor { account, instance: self.ask.instance.clone() };
        Some((actor, self.print().clone()))
    }

    pub(super) fn took(&self) -> Duration {
        Duration::from_micros(self.gate.ports.clock.boot().0.saturating_sub(self.ask.arrived.0))
    }
}

impl Walk {
    pub(super) fn command(&self, key: &ResourceKey, locator: &Place, step: Step, note: Option<Box<Note>>) -> Command {
        let (key, locator) = (key.clone(), locator.clone());
        Command { key, locator, step, note, now: self.gate.ports.clock.now() }
    }

    /// The line of an attempt.
    pub(super) fn note(
        &self,
        at: &TurnContext<'_>,
        attempt: &AttemptId,
        decision: Decision,
        code: Option<Code>,
    ) -> Box<Note> {
        let mut note = self.note_of(attempt.as_str().to_owned(), decision, code);
        note.waited = at.waited;
        note.authority = authority(&self.rules, &at.party.caller);
        let entries = self.entered();
        if let [first, _, ..] = entries.as_slice() {
            note.reason = Some(format!("one of {} items of one request ({})", entries.len(), first.attempt));
        }
        Box::new(note)
    }

    pub(super) fn doubt_period(&self) -> Duration {
        self.gate.settings.doubt_period
    }

    pub(super) fn nameless(&self, caller: &Caller) -> Box<Rejection> {
        let account = &caller.actor.account;
        let why = if caller.shared {
            format!("the account {account} is shared by several agents, so the request must say which one it is")
        } else {
            format!(
                "here every request must say which agent it is, and this one of {account} does not (identity.unnamed)"
            )
        };
        let message = format!("{why}: use the base URL /as/<agent>/ or the header Claimgate-Agent");
        refusal::plain(Code::IdentityRequired, &self.request().locator(), message)
    }

    /// 504: it was sent, and nobody knows what came of it.
    pub(super) fn unknown(&self, items: &[String]) -> Box<Rejection> {
        if self.request().is_about_one() {
            return refusal::unknown(&self.request().locator(), self.doubt_period());
        }
        let (sent, look) = if self.is_form() {
            ("the form", "load the page again and look")
        } else {
            ("the request", "read the items again and look")
        };
        let message = if items.is_empty() {
            format!("{sent} was sent and its outcome is unknown: {look} before you repeat it")
        } else {
            format!(
                "{sent} was sent and its outcome is unknown; {} stay closed to others for up to {} s until it is \
                 known: {look}",
                some_of(items),
                self.doubt_period().as_secs()
            )
        };
        Box::new(Rejection::of_request(Code::OutcomeUnknown, message))
    }
}
