//! What a section says: to the ledger, to the audit, and about itself.

use super::super::refusal;
use super::{Entered, Section};
use crate::admission::{By, Rules, Step};
use crate::dialect::{Address, Intent, Scope};
use crate::effect::{Authority, Command, Decision, Note};
use crate::model::{Actor, Caller, Code, Fingerprint, Locator, Rejection, ResourceKey};
use std::time::Duration;

/// Why a write of this caller may pass the holder of its item by.
pub(in crate::gate) fn authority(rules: &Rules, caller: &Caller) -> Option<Authority> {
    match rules.assignment.release_by {
        _ if caller.overrider => Some(Authority::Overrider),
        By::Anyone => Some(Authority::Anyone),
        By::Holder => None,
    }
}

impl Section {
    pub(super) fn intent_at(&self, address: &Address) -> Intent {
        match &self.ask.intent.scope {
            Scope::Item(asked) if asked.locator() == address.locator() => self.ask.intent.clone(),
            _ => self.gate.ports.dialect.relocate(&self.ask.intent, address),
        }
    }

    pub(super) fn locator(&self) -> Locator {
        match &self.ask.intent.scope {
            Scope::Item(address) => address.locator(),
            Scope::Create(project) => Locator { project: project.clone(), number: 0 },
        }
    }

    pub(super) fn command(&self, key: &ResourceKey, locator: &Locator, step: Step, note: Option<Box<Note>>) -> Command {
        let (key, locator) = (key.clone(), locator.clone());
        Command { key, locator, step, note, now: self.gate.ports.clock.now() }
    }

    pub(super) fn note(&self, at: &Entered<'_>, decision: Decision, code: Option<Code>) -> Box<Note> {
        let mut note = self.note_of(at.attempt.as_str().to_owned(), decision, code);
        note.waited = at.waited;
        note.authority = authority(&self.rules, at.caller);
        Box::new(note)
    }

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
        note.resource = Some(self.locator());
        note.agent = self.actor(self.print()).map(|actor| (actor, self.print().clone()));
        // Of a body nothing is recorded before the tracker has accepted its credential.
        if note.agent.is_some() {
            note.change = self.asked();
        }
        self.ask.about.fill(&mut note);
        note
    }

    pub(super) fn actor(&self, print: &Fingerprint) -> Option<Actor> {
        let account = self.gate.ports.identify.known(print)?;
        Some(Actor { account, instance: self.ask.instance.clone() })
    }

    pub(super) fn took(&self) -> Duration {
        Duration::from_micros(self.gate.ports.clock.boot().0.saturating_sub(self.ask.arrived.0))
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
        refusal::plain(Code::IdentityRequired, &self.locator(), message)
    }

    pub(super) fn still_moving(&self) -> Box<Rejection> {
        refusal::unreadable(&self.locator(), "the path named another item each time it was read")
    }
}
