//! Answers of the gate's own, in the tracker's shape (`reference/forgejo.md` section 4).

use super::super::{Intent, WireResponse};
use super::read::object;
use super::routes::WriteForm;
use crate::model::{Actor, Login, Rejection, Shown, Status, Time};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// The success answer, from a read of the item. Clients compare exact status codes.
pub fn accept(intent: &Intent, read: &WireResponse) -> WireResponse {
    match intent.form {
        WriteForm::ClearLabels | WriteForm::RemoveLabel => {
            WireResponse { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() }
        }
        WriteForm::AddLabels | WriteForm::ReplaceLabels => {
            let labels = object(read).ok().and_then(|mut issue| issue.remove("labels")).filter(Value::is_array);
            answer(StatusCode::OK, labels.unwrap_or_else(|| json!([])).to_string().into())
        }
        WriteForm::RemoveAssignees => answer(StatusCode::OK, read.body.clone()),
        WriteForm::EditIssue
        | WriteForm::EditPull
        | WriteForm::CreateIssue
        | WriteForm::CreatePull
        | WriteForm::AddAssignees => answer(StatusCode::CREATED, read.body.clone()),
    }
}

/// A refusal.
pub fn reject(rejection: &Rejection, decision: &str) -> WireResponse {
    let status = StatusCode::from_u16(rejection.code.status()).unwrap_or(StatusCode::CONFLICT);
    let body = json!({
        "message": rejection.message,
        "url": "/api/swagger",
        "claimgate": {
            "code": rejection.code.as_str(),
            "resource": rejection.resource.as_ref().map(ToString::to_string),
            "expected": Some(&rejection.expected).filter(|text| !text.is_empty()),
            "observed": rejection.observed.as_ref().map(observed),
            "holder": rejection.holder.as_ref().map(holder),
            "since": rejection.since.map(rfc3339),
            "decision": decision,
        },
    });
    let mut response = answer(status, body.to_string().into());
    let verdict = format!("reject; code={}; id={decision}", rejection.code.as_str());
    if let Ok(verdict) = HeaderValue::from_str(&verdict) {
        response.headers.insert(DECISION, verdict);
    }
    if let Some(after) = rejection.retry_after {
        // Whole seconds, and never 0: that would invite a loop.
        let seconds = after.as_millis().div_ceil(1000).max(1);
        response.headers.insert(RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    }
    response
}

fn answer(status: StatusCode, body: Bytes) -> WireResponse {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    WireResponse { status, headers, body }
}

fn observed(shown: &Shown) -> Value {
    json!({
        "assignees": shown.assignees.iter().map(Login::as_str).collect::<Vec<_>>(),
        "statuses": shown.statuses.iter().map(Status::as_str).collect::<Vec<_>>(),
        "state": shown.state.as_str(),
    })
}

fn holder(actor: &Actor) -> Value {
    json!({
        "account": actor.account.to_string(),
        "instance": actor.instance.as_ref().map(crate::model::Instance::as_str),
    })
}

/// RFC 3339, UTC, microseconds.
fn rfc3339(time: Time) -> Option<String> {
    jiff::Timestamp::from_microsecond(time.0).ok().map(|time| format!("{time:.6}"))
}

const DECISION: HeaderName = HeaderName::from_static("claimgate-decision");
