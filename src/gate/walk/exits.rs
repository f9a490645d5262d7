//! The ways out of a walk: refusals, attempts of which nothing was sent, and a panic.

use super::{OpenAttempt, SectionResult, TurnContext, Walk};
use crate::admission::{Outcome, Step};
use crate::dialect::{Request, WireResponse};
use crate::effect::{Command, Decision, Durability, Ledger, LedgerError, Note};
use crate::gate::{After, Answered, Observation, Reply, Turn, refusal};
use crate::model::{BootTime, Code, ItemRecord, Rejection, Snapshot};
use std::sync::Arc;
use std::time::Duration;

/// Why a walk ends before a send: what the client is told.
pub(in crate::gate) enum EarlyExit {
    /// Refused by the gate.
    Refuse(Box<Rejection>),
    /// The tracker's own answer goes back.
    Tracker(Box<WireResponse>),
    /// The client has gone before anything was durable.
    Gone,
    /// The path names another item than it did: start again.
    Moved,
}

/// A settlement that cannot be written is tried again this often.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);
/// Items that a text names.
const MOST_NAMES: usize = 5;

impl<R: Request> Walk<R> {
    /// What the client is told. `None`: it has gone.
    pub(super) fn stopped(&self, stop: EarlyExit) -> Option<Reply> {
        match stop {
            EarlyExit::Refuse(rejection) => Some(self.refused(*rejection)),
            EarlyExit::Tracker(response) => Some(self.denied(*response)),
            EarlyExit::Gone => None,
            EarlyExit::Moved => {
                let why = "the path named another item each time it was read";
                Some(self.refused(*refusal::unreadable(&self.request().locator(), why)))
            }
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
        note.reason = Some(rejection.message.clone());
        note
    }

    pub(super) fn record_refusal(&self, note: Note, rejection: Rejection) -> Reply {
        let code = rejection.code;
        self.recorded(note, Decision::Reject, Some(code), Answered::Refused(Box::new(rejection)))
    }

    /// The tracker's own refusal of the read goes back unchanged.
    pub(super) fn denied(&self, response: WireResponse) -> Reply {
        let mut note = self.bare_note(Decision::Reject, Some(Code::UpstreamUnreadable));
        note.upstream_status = Some(response.code());
        self.recorded(note, Decision::Reject, Some(Code::UpstreamUnreadable), Answered::Tracker(response))
    }

    /// The reply of a line that is no attempt's.
    pub(super) fn recorded(&self, note: Note, decision: Decision, code: Option<Code>, answer: Answered) -> Reply {
        let id = note.id.clone();
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        self.decided(decision, code, &id, answer)
    }

    pub(super) fn decided(&self, decision: Decision, code: Option<Code>, id: &str, answer: Answered) -> Reply {
        self.gate.ports.metrics.decided(decision, code);
        Reply { id: id.to_owned(), decision, code, answer, state: None, after: After::default() }
    }

    pub(super) fn no_ledger(&self, error: &LedgerError) -> EarlyExit {
        EarlyExit::Refuse(refusal::no_ledger(&self.request().locator(), &error.to_string()))
    }
}

impl Walk {
    /// The walk panicked: what may have been sent is in doubt, what was not is aborted.
    pub(in crate::gate) async fn panicked(&self) -> Reply {
        let entries = std::mem::take(&mut *self.entered());
        let unknown = self.unknown(&[]);
        let Some(first) = entries.first().map(|entry| entry.attempt.clone()) else { return self.refused(*unknown) };
        let doubt_until = self.gate.ports.clock.now() + self.doubt_period();
        for entry in entries {
            // What was not sent cannot be in doubt; and what was settled, stays so. What may have been sent had been let
            // through.
            let doubt = Step::Settle { attempt: entry.attempt.clone(), outcome: Outcome::Doubt, doubt_until };
            let doubt = self.ending(&entry, doubt, entry.decision);
            let abort = self.ending(&entry, Step::Abort(entry.attempt.clone()), Decision::Reject);
            let ended = tokio::spawn(first_allowed(Arc::clone(&self.gate.ports.ledger), vec![doubt, abort]));
            drop(tokio::time::timeout(SETTLE_AGAIN, ended).await);
        }
        self.decided(Decision::Reject, Some(Code::OutcomeUnknown), first.as_str(), Answered::Refused(unknown))
    }

    fn ending(&self, entry: &OpenAttempt, step: Step, decision: Decision) -> Command {
        let mut note = self.note_of(entry.attempt.as_str().to_owned(), decision, Some(Code::OutcomeUnknown));
        note.authority = entry.authority;
        self.command(&entry.key, &entry.locator, step, Some(Box::new(note)))
    }

    /// Ends attempts of which nothing was sent. Theirs are the records of this request; a path that names another item by now
    /// starts again with an attempt of its own.
    pub(super) async fn give_up(&self, at: &TurnContext<'_>, stop: EarlyExit, durability: Durability) -> SectionResult {
        let (code, upstream_status) = match &stop {
            EarlyExit::Refuse(rejection) => (rejection.code, None),
            EarlyExit::Tracker(response) => (Code::UpstreamUnreadable, Some(response.code())),
            EarlyExit::Gone | EarlyExit::Moved => (Code::UpstreamUnreadable, None),
        };
        let entries = self.entered().clone();
        let abort = |entry: &OpenAttempt| {
            let mut note = self.note(at, &entry.attempt, Decision::Reject, Some(code));
            note.upstream_status = upstream_status;
            if let EarlyExit::Refuse(rejection) = &stop {
                note.say(&rejection.message);
            }
            self.command(&entry.key, &entry.locator, Step::Abort(entry.attempt.clone()), Some(note))
        };
        self.close(entries.iter().map(abort).collect(), durability).await;
        let id = entries.first().map_or("", |entry| entry.attempt.as_str());
        match stop {
            EarlyExit::Refuse(rejection) => {
                Ok(self.decided(Decision::Reject, Some(code), id, Answered::Refused(rejection)))
            }
            EarlyExit::Tracker(response) => {
                Ok(self.decided(Decision::Reject, Some(code), id, Answered::Tracker(*response)))
            }
            EarlyExit::Gone | EarlyExit::Moved => Err(stop),
        }
    }

    /// Ends attempts in one transaction. Where that cannot be, each is tried by itself for as long as it takes: one that was
    /// taken over must not leave the others OPEN. `None`: it is not written yet.
    pub(super) async fn close(&self, commands: Vec<Command>, durability: Durability) -> Option<Vec<ItemRecord>> {
        let ledger = &self.gate.ports.ledger;
        let error = match ledger.commit(commands.clone(), durability).await {
            Ok(records) => return Some(records),
            Err(error) => error,
        };
        tracing::error!(ledger.error = %error, items = commands.len(), "settlement not written");
        // Alone it would be refused again.
        if !matches!(error, LedgerError::Refused(_)) || commands.len() > 1 {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move {
                tokio::time::sleep(SETTLE_AGAIN).await;
                for command in commands.into_iter().filter_map(alone) {
                    first_allowed(Arc::clone(&ledger), vec![command]).await;
                }
            });
        }
        None
    }

    pub(super) fn publish(turn: &Turn, began: BootTime, seen: Snapshot, record: ItemRecord) {
        turn.publish(Observation { began, seen, record: ItemRecord { live: None, ..record } });
    }
}

/// The step as it is tried by itself. What was to be granted along with a write that is not settled yet, is not: nothing was
/// sent for it, and nobody was told.
fn alone(command: Command) -> Option<Command> {
    match command.step {
        Step::Confirm { .. } => None,
        Step::Grant { attempt, .. } => {
            let note = command.note.map(|mut note| {
                (note.decision, note.code) = (Decision::Reject, Some(Code::OutcomeUnknown));
                note
            });
            Some(Command { step: Step::Abort(attempt), note, ..command })
        }
        _ => Some(command),
    }
}

impl std::fmt::Display for EarlyExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refuse(rejection) => f.write_str(&rejection.message),
            Self::Tracker(response) => write!(f, "the tracker answered {}", response.status),
            Self::Gone => f.write_str("the client has gone"),
            Self::Moved => f.write_str("the item has moved"),
        }
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

/// The first few, and how many there are beside.
pub(super) fn some_of(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
