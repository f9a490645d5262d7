//! What every dialect says of a refusal, beside the text in its tracker's own shape (manual: answers).

use super::WireResponse;
use crate::model::{Account, Actor, Rejection, Shown, Status, Time};
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// The member of a refusal's body that programs read.
pub fn details(rejection: &Rejection, decision: &str) -> Value {
    json!({
        "code": rejection.code.as_str(),
        "resource": rejection.resource.as_ref().map(ToString::to_string),
        "expected": Some(&rejection.expected).filter(|text| !text.is_empty()),
        "observed": rejection.observed.as_ref().map(observed),
        "holder": rejection.holder.as_ref().map(holder),
        "since": rejection.since.map(rfc3339),
        "decision": decision,
        "retry_after_s": rejection.retry_after.map(whole_seconds),
    })
}

/// With the status and the headers of a refusal.
pub fn headed(rejection: &Rejection, decision: &str, mut response: WireResponse) -> WireResponse {
    response.status = StatusCode::from_u16(rejection.code.status()).unwrap_or(StatusCode::CONFLICT);
    let verdict = format!("reject; code={}; id={decision}", rejection.code.as_str());
    if let Ok(verdict) = HeaderValue::from_str(&verdict) {
        response.headers.insert(DECISION, verdict);
    }
    if let Some(after) = rejection.retry_after {
        response.headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    response
}

/// Never 0: that would invite a loop.
fn whole_seconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX)
}

fn observed(shown: &Shown) -> Value {
    json!({
        "assignees": shown.assignees.iter().map(Account::as_str).collect::<Vec<_>>(),
        "status": shown.statuses.iter().map(Status::as_str).collect::<Vec<_>>(),
        "state": shown.state.as_str(),
    })
}

fn holder(actor: &Actor) -> Value {
    json!({
        "account": actor.account.id(),
        "instance": actor.instance.as_ref().map(crate::model::Instance::as_str),
    })
}

/// RFC 3339, UTC, microseconds.
fn rfc3339(time: Time) -> Option<String> {
    jiff::Timestamp::from_microsecond(time.0).ok().map(|time| format!("{time:.6}"))
}

const DECISION: HeaderName = HeaderName::from_static("claimgate-decision");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form() {
        assert_eq!(rfc3339(Time(0)).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!(rfc3339(Time(1_500_000)).as_deref(), Some("1970-01-01T00:00:01.500000Z"));
        assert_eq!(rfc3339(Time(i64::MAX)), None);
    }
}
