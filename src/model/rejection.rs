//! Why a guarded write was not let through.

use super::{Actor, Place, Shown, Time};
use std::time::Duration;

/// What a client reads in `claimgate.code` and in the header `Claimgate-Decision` (manual: answers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Somebody else is assigned or holds it.
    AlreadyAssigned,
    /// A write was sent and nobody knows yet whether it landed.
    InDoubt,
    /// The item is not in a status from which this may be done.
    WrongSourceState,
    /// Only the holder may do this.
    NotHolder,
    /// More than one assignee.
    MultipleAssignees,
    /// A shared account did not say which agent it is, or two sources disagree.
    IdentityRequired,
    /// The agent holds as many items as it may.
    LimitReached,
    /// Another agent of the class is at work in the project.
    SingletonBusy,
    /// What may be created once exists.
    AlreadyCreated,
    /// The tracker shows a writer that did not pass the gate.
    Contested,
    /// Another write of this item is under way.
    Busy,
    /// The assignee was written, another field was not.
    Partial,
    /// The tracker answered success and changed nothing.
    NotApplied,
    /// The client's own precondition does not hold.
    PreconditionFailed,
    /// The request can be read in two ways.
    AmbiguousRequest,
    /// The body of a guarded write is too large to be read.
    BodyTooLarge,
    /// The body of a guarded write is in a form that the gate does not read.
    UnsupportedEncoding,
    /// The item's turn did not come in time.
    LaneTimeout,
    /// This process may no longer complete the attempt.
    Fenced,
    /// The ledger cannot be written.
    LedgerUnavailable,
    /// The tracker could not be read.
    UpstreamUnreadable,
    /// Sent; the outcome is unknown.
    OutcomeUnknown,
}

/// A refusal: what the agent reads, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason's name.
    pub code: Code,
    /// The item.
    pub resource: Option<Place>,
    /// The source state that had to hold.
    pub expected: String,
    /// What the tracker showed.
    pub observed: Option<Shown>,
    /// Who holds it.
    pub holder: Option<Actor>,
    /// Since when.
    pub since: Option<Time>,
    /// One sentence that is enough by itself.
    pub message: String,
    /// When a repetition makes sense; none on a final refusal.
    pub retry_after: Option<Duration>,
    /// It is one item's turn that did not come, and not the place for any write: another item may do.
    pub of_item: bool,
}

/// The longest message, characters: what a request said must not come back without end.
const LONGEST_MESSAGE: usize = 2_000;

// === impl Code ===

impl Code {
    /// As the wire and the audit spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyAssigned => "already_assigned",
            Self::InDoubt => "in_doubt",
            Self::WrongSourceState => "wrong_source_state",
            Self::NotHolder => "not_holder",
            Self::MultipleAssignees => "multiple_assignees",
            Self::IdentityRequired => "identity_required",
            Self::LimitReached => "limit_reached",
            Self::SingletonBusy => "singleton_busy",
            Self::AlreadyCreated => "already_created",
            Self::Contested => "contested",
            Self::Busy => "busy",
            Self::Partial => "partial",
            Self::NotApplied => "not_applied",
            Self::PreconditionFailed => "precondition_failed",
            Self::AmbiguousRequest => "ambiguous_request",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::LaneTimeout => "lane_timeout",
            Self::Fenced => "fenced",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::UpstreamUnreadable => "upstream_unreadable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// The HTTP status of the refusal (manual: answers).
    pub fn status(self) -> u16 {
        match self {
            Self::AmbiguousRequest => 400,
            Self::NotApplied => 403,
            Self::PreconditionFailed => 412,
            Self::BodyTooLarge => 413,
            Self::UnsupportedEncoding => 415,
            Self::UpstreamUnreadable => 502,
            Self::LaneTimeout | Self::Fenced | Self::LedgerUnavailable => 503,
            Self::OutcomeUnknown => 504,
            _ => 409,
        }
    }
}

impl Rejection {
    /// A refusal that rests on nothing but the request itself.
    pub fn of_request(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self {
            code,
            resource: None,
            expected: String::new(),
            observed: None,
            holder: None,
            since: None,
            message,
            retry_after: None,
            of_item: false,
        }
    }
}
