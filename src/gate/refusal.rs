//! The refusals that come of the way, not of a rule.

use super::concurrency::Overloaded;
use crate::effect::CallError;
use crate::model::{Code, Place, Rejection};
use std::time::Duration;

/// Why a tag is not taken away.
pub(super) const NEVER_NONE: &str = "this tracker's items have exactly one status: set another";

/// A refusal that asks the client to come again.
pub(super) fn retry(code: Code, resource: &Place, message: String, after: Duration) -> Box<Rejection> {
    Box::new(Rejection { retry_after: Some(after), ..*plain(code, resource, message) })
}

/// A refusal about an item.
pub(super) fn plain(code: Code, resource: &Place, message: String) -> Box<Rejection> {
    Box::new(Rejection { resource: Some(resource.clone()), ..Rejection::of_request(code, message) })
}

/// 504: sent, and nobody knows.
pub(super) fn unknown(resource: &Place, doubt_period: Duration) -> Box<Rejection> {
    let message = format!(
        "the write of {resource} was sent and its outcome is unknown; repeat the same request: the item stays closed to \
         others for up to {} s until it is known",
        doubt_period.as_secs()
    );
    plain(Code::OutcomeUnknown, resource, message)
}

/// 503: there is no place for it.
pub(super) fn overloaded(resource: &Place, why: &Overloaded) -> Box<Rejection> {
    retry(Code::LaneTimeout, resource, format!("{resource}: {why}; try again"), Duration::from_secs(1))
}

/// 503: another process has taken over what this one had under way.
pub(super) fn fenced(resource: &Place) -> Box<Rejection> {
    let message = format!("{resource}: this gate was replaced while it worked; nothing was sent; try again");
    retry(Code::Fenced, resource, message, Duration::from_secs(1))
}

/// 503: the ledger cannot be written.
pub(super) fn no_ledger(resource: &Place, why: &str) -> Box<Rejection> {
    // The ledger itself says it, once.
    tracing::debug!(ledger.error = why, %resource, "guarded write refused");
    let message = format!("{resource}: the gate cannot write its ledger, so nothing was sent; try again");
    retry(Code::LedgerUnavailable, resource, message, Duration::from_secs(5))
}

/// 503: this gate has not joined those that share the ledger.
pub(super) fn not_joined(resource: &Place, why: &str) -> Box<Rejection> {
    tracing::debug!(ledger.error = why, %resource, "guarded write refused");
    let message =
        format!("{resource}: the gate waits for the database that holds its ledger, so nothing was sent; try again");
    retry(Code::LedgerUnavailable, resource, message, Duration::from_secs(2))
}

/// The tracker gave no answer that can be used to a read.
pub(super) fn unanswered(resource: &Place, error: &CallError) -> Box<Rejection> {
    if *error == CallError::NoRoom {
        return Box::new(Rejection { resource: Some(resource.clone()), ..no_room() });
    }
    unreadable(resource, &error.to_string())
}

/// 503: there is no room to read the tracker's answer.
pub(super) fn no_room() -> Rejection {
    let message = format!("{}; nothing was sent; try again", CallError::NoRoom);
    Rejection { retry_after: Some(Duration::from_secs(1)), ..Rejection::of_request(Code::LaneTimeout, message) }
}

/// 502: the tracker could not be read, so nothing was sent.
pub(super) fn unreadable(resource: &Place, why: &str) -> Box<Rejection> {
    if why.starts_with("nothing was sent") {
        // The tracker is not there: that is said once, for all.
        tracing::debug!(upstream.error = why, %resource, "guarded write refused: the tracker could not be read");
    } else {
        tracing::warn!(upstream.error = why, %resource, "guarded write refused: the tracker could not be read");
    }
    let message = format!("{resource}: the tracker could not be read, so nothing was sent; try again");
    plain(Code::UpstreamUnreadable, resource, message)
}

/// Seconds of a time that is left, rounded up: when they are over, it is.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX)
}
