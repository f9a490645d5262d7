//! The ways out of a section: refusals, attempts of which nothing was sent, and a panic.

use super::{Ended, Entered, Entry, SETTLE_AGAIN, Section, Stop};
use crate::admission::{Outcome, Step};
use crate::dialect::WireResponse;
use crate::effect::{Command, Decision, Durability, Ledger, LedgerError, Note};
use crate::gate::{After, Answered, Observation, Reply, refusal};
use crate::model::{Boot, Code, ItemRecord, Rejection, Snapshot};
use std::sync::{Arc, PoisonError};

impl Section {
    /// The section panicked: what may have been sent is in doubt, what was not is aborted.
    pub(in crate::gate) async fn panicked(&self) -> Reply {
        let entry = self.entered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let unknown = refusal::unknown(&self.locator(), self.doubt_period());
        let Some(Entry { key, locator, attempt, decision, authority }) = entry else {
            return self.refused(*unknown);
        };
        let ending = |step, decision| {
            let mut note = self.note_of(attempt.as_str().to_owned(), decision, Some(Code::OutcomeUnknown));
            note.authority = authority;
            self.command(&key, &locator, step, Some(Box::new(note)))
        };
        let doubt_until = self.gate.ports.clock.now() + self.doubt_period();
        // What was not sent cannot be in doubt; and what was settled, stays so. What may have been sent had been let through.
        let doubt = Step::Settle { attempt: attempt.clone(), outcome: Outcome::Doubt, doubt_until };
        let (doubt, abort) = (ending(doubt, decision), ending(Step::Abort(attempt.clone()), Decision::Reject));
        let ended = tokio::spawn(first_allowed(Arc::clone(&self.gate.ports.ledger), vec![doubt, abort]));
        drop(tokio::time::timeout(SETTLE_AGAIN, ended).await);
        self.decided(Decision::Reject, Some(Code::OutcomeUnknown), attempt.as_str(), Answered::Refused(unknown))
    }

    /// Ends an attempt of which nothing was sent. It is the one record of this request; a path that names another item
    /// by now starts again with an attempt of its own.
    pub(super) async fn give_up(&self, at: &Entered<'_>, stop: Stop, durability: Durability) -> Ended {
        let (code, upstream_status) = match &stop {
            Stop::Refuse(rejection) => (rejection.code, None),
            Stop::Tracker(response) => (Code::UpstreamUnreadable, Some(response.status.as_u16())),
            Stop::Gone | Stop::Moved => (Code::UpstreamUnreadable, None),
        };
        let mut note = self.note(at, Decision::Reject, Some(code));
        note.upstream_status = upstream_status;
        let command = self.command(at.key, &self.locator(), Step::Abort(at.attempt.clone()), Some(note));
        if let Err(error) = self.gate.ports.ledger.commit(vec![command.clone()], durability).await {
            self.settle_later(command, &error);
        }
        match stop {
            Stop::Refuse(rejection) => Ok(self.reply(at, Decision::Reject, Some(code), Answered::Refused(rejection))),
            Stop::Tracker(response) => Ok(self.reply(at, Decision::Reject, Some(code), Answered::Tracker(*response))),
            Stop::Gone | Stop::Moved => Err(stop),
        }
    }

    /// A refusal that is not an attempt's: recorded as a line of its own.
    pub(super) fn refused(&self, rejection: Rejection) -> Reply {
        self.record_refusal(self.refusal_note(&rejection), rejection)
    }

    pub(super) fn refusal_note(&self, rejection: &Rejection) -> Note {
        let mut note = self.bare_note(Decision::Reject, Some(rejection.code));
        note.resource.clone_from(&rejection.resource);
        note.expected.clone_from(&rejection.expected);
        note.observed.clone_from(&rejection.observed);
        note
    }

    pub(super) fn record_refusal(&self, note: Note, rejection: Rejection) -> Reply {
        let id = note.id.clone();
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        self.decided(Decision::Reject, Some(rejection.code), &id, Answered::Refused(Box::new(rejection)))
    }

    /// The tracker's own refusal of the read goes back unchanged.
    pub(super) fn denied(&self, response: WireResponse) -> Reply {
        let mut note = self.bare_note(Decision::Reject, Some(Code::UpstreamUnreadable));
        note.upstream_status = Some(response.status.as_u16());
        let id = note.id.clone();
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        self.decided(Decision::Reject, Some(Code::UpstreamUnreadable), &id, Answered::Tracker(response))
    }

    pub(super) fn publish(at: &Entered<'_>, began: Boot, seen: Snapshot, record: ItemRecord) {
        at.turn.publish(Observation { began, seen, record: ItemRecord { live: None, ..record } });
    }

    pub(super) fn reply(&self, at: &Entered<'_>, decision: Decision, code: Option<Code>, answer: Answered) -> Reply {
        self.decided(decision, code, at.attempt.as_str(), answer)
    }

    pub(super) fn decided(&self, decision: Decision, code: Option<Code>, id: &str, answer: Answered) -> Reply {
        self.gate.ports.metrics.decided(decision, code);
        Reply { id: id.to_owned(), decision, code, answer, state: None, after: After::default() }
    }
}

/// Carries out the first of these that the record allows, however long the ledger is away.
pub(in crate::gate) async fn first_allowed(ledger: Arc<dyn Ledger>, alternatives: Vec<Command>) {
    for command in alternatives {
        loop {
            match ledger.commit(vec![command.clone()], Durability::Awaited).await {
                Ok(_) => return,
                Err(LedgerError::Refused(_)) => break,
                Err(LedgerError::Unavailable(_)) => tokio::time::sleep(SETTLE_AGAIN).await,
            }
        }
    }
}
