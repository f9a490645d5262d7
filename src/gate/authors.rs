//! Who made an edit that did not pass the gate, or that a session made whose account nobody knows: the tracker's timeline
//! can say so.
//!
//! It is asked after the edit was recorded, by one task, one item at a time. No decision waits for it or rests on it; what
//! cannot be found out stays unknown.

use super::Gate;
use crate::admission;
use crate::dialect::Credential;
use crate::effect::{Note, Subject};
use crate::model::{Actor, EditsInWords, Fingerprint, Place, Principal, ResourceKey, Shown, Snapshot};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How an edit came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EditOrigin {
    /// Past the gate.
    Outside,
    /// By a form of the web interface, through the gate.
    Form,
    /// Past the gate, or as the late landing of a write that passed it.
    Unknown,
}

/// Edits whose authors are still to be asked for.
#[derive(Debug, Default)]
pub(super) struct Authors {
    waiting: Mutex<VecDeque<Question>>,
    given: Notify,
}

/// An edit whose author is asked for.
#[derive(Debug)]
struct Question {
    /// The line that tells of it, if one does.
    decision: String,
    at: Place,
    key: ResourceKey,
    /// What the item showed before and after it.
    change: [Shown; 2],
    way: EditOrigin,
}

/// Edits that wait. Of more nobody is asked for.
const MOST_WAITING: usize = 1_000;
/// So long one answer may take.
const WITHIN: Duration = Duration::from_secs(10);

impl Gate {
    /// Has the authors of this edit looked for, if there is a credential to ask with. Never waits.
    pub(super) fn look_for_authors(&self, decision: &str, seen: &Snapshot, change: [Shown; 2], way: EditOrigin) {
        if self.ports.service.is_none() || change[0] == change[1] {
            return;
        }
        let (at, key) = (seen.locator.clone(), seen.key.clone());
        let mut waiting = self.authors.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push_back(Question { decision: decision.to_owned(), at, key, change, way });
            self.authors.given.notify_one();
        }
    }

    /// Answers one question after another, for as long as it is let.
    pub(super) async fn name_authors(self: &Arc<Self>) {
        let Some(service) = &self.ports.service else { return };
        loop {
            self.authors.given.notified().await;
            while let Some(question) = self.next_question() {
                if tokio::time::timeout(WITHIN, self.answer(&question, service)).await.is_err() {
                    tracing::debug!(resource = %question.at, "the tracker did not say in time who made an edit");
                }
            }
        }
    }

    fn next_question(&self) -> Option<Question> {
        self.authors.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    async fn answer(&self, question: &Question, service: &Credential) {
        let (dialect, Some(address)) = (&self.ports.dialect, self.address_of(&question.at)) else { return };
        let answer = self.ports.upstream.read(dialect.ask_timeline(&address, service)).await;
        let timeline = answer.ok().and_then(|(response, _)| dialect.timeline(&response));
        let Some(timeline) = timeline else {
            return tracing::debug!(resource = %question.at, "the tracker does not say who made an edit");
        };
        let [before, after] = &question.change;
        for (by, edits) in admission::authors(before, after, &timeline) {
            let (what, way) = (EditsInWords(&edits).to_string(), question.way.in_words());
            let (resource, decision) = (&question.at, &question.decision);
            tracing::info!(%resource, %by, decision, what, way, "the tracker says who made an edit");
            let mut note = Note::of_gate(question.decision.clone(), Some(format!("{what} by {by}, {way}")));
            note.subject = Subject::Author;
            note.agent = Some((Actor { account: Principal::Named(by), instance: None }, Fingerprint::new("")));
            (note.resource, note.resource_id) = (Some(question.at.clone()), Some(question.key.clone()));
            note.change = what;
            self.ports.ledger.record(note, self.ports.clock.now());
        }
    }
}

impl EditOrigin {
    fn in_words(self) -> &'static str {
        match self {
            Self::Outside => "outside the gate",
            Self::Form => "by a form of the web interface",
            Self::Unknown => "as the tracker tells",
        }
    }
}
