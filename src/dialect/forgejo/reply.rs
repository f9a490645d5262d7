//! Answers of the gate's own, in the tracker's shape (manual: forgejo, section 4).

use super::super::WireResponse;
use super::api_write::ApiWrite;
use super::read::object;
use super::write::WriteForm;
use crate::model::{Account, Actor, Rejection, Shown, Status, Time};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// The success answer, from a read of the item. Clients compare exact status codes.
pub fn accept(intent: &ApiWrite, read: &WireResponse) -> WireResponse {
    match intent.form {
        WriteForm::ClearLabels
        | WriteForm::RemoveLabel
        | WriteForm::DropLabel
        | WriteForm::LeaveOtherLabels
        | WriteForm::RemoveReviewers => {
            WireResponse { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() }
        }
        WriteForm::AddLabels | WriteForm::ReplaceLabels => {
            let labels = object(read).ok().and_then(|mut issue| issue.remove("labels")).filter(Value::is_array);
            answer(StatusCode::OK, labels.unwrap_or_else(|| json!([])).to_string().into())
        }
        WriteForm::RemoveAssignees | WriteForm::CreateReview | WriteForm::SubmitReview(_) => {
            answer(StatusCode::OK, read.body.clone())
        }
        WriteForm::EditIssue
        | WriteForm::EditPull
        | WriteForm::CreateIssue
        | WriteForm::CreatePull
        | WriteForm::AddAssignees
        | WriteForm::AddReviewers => answer(StatusCode::CREATED, read.body.clone()),
    }
}

/// Forgejo from 13 answers a removal as GitHub does to whoever asks for that; older ones and Gitea do not.
pub fn answers_alone(intent: &ApiWrite, head_headers: &HeaderMap) -> bool {
    let accept = head_headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
    intent.form == WriteForm::RemoveLabel && accept == b"application/vnd.github+json"
}

/// A refusal.
pub fn reject(rejection: &Rejection, decision: &str) -> WireResponse {
    let body = json!({ "message": rejection.message, "url": "/api/swagger", "claimgate": own(rejection, decision) });
    refusal(rejection, decision, answer(StatusCode::CONFLICT, body.to_string().into()))
}

/// A refusal of a form of the web interface. Its scripts show `errorMessage` or, in older versions, `error`; where the
/// form was sent by the browser itself, the text is the page.
pub fn reject_form(rejection: &Rejection, decision: &str, head_headers: &HeaderMap) -> WireResponse {
    let accept = head_headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
    if accept.starts_with(b"text/html") && !head_headers.contains_key(BY_SCRIPT) {
        let mut page = answer(StatusCode::CONFLICT, rejection.message.clone().into());
        page.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return refusal(rejection, decision, page);
    }
    let text = &rejection.message;
    let body = json!({ "error": text, "errorMessage": text, "message": text, "claimgate": own(rejection, decision) });
    refusal(rejection, decision, answer(StatusCode::CONFLICT, body.to_string().into()))
}

fn own(rejection: &Rejection, decision: &str) -> Value {
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
fn refusal(rejection: &Rejection, decision: &str, mut response: WireResponse) -> WireResponse {
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

fn answer(status: StatusCode, body: Bytes) -> WireResponse {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    WireResponse { status, headers, body }
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

const BY_SCRIPT: HeaderName = HeaderName::from_static("x-requested-with");
const DECISION: HeaderName = HeaderName::from_static("claimgate-decision");

#[cfg(test)]
mod tests {
    use super::super::location;
    use super::*;
    use crate::model::{Change, Code, Instance, OpenState, Place, Principal};

    fn body(response: &WireResponse) -> Value {
        serde_json::from_slice(&response.body).unwrap()
    }

    #[test]
    fn a_refusal_says_all_in_the_trackers_shape() {
        let rejection = Rejection {
            code: Code::AlreadyAssigned,
            resource: Some(Place::from_stored("o/r#7")),
            expected: "nobody assigned".into(),
            observed: Some(Shown {
                assignees: [Account::new("ann")].into(),
                statuses: [Status::new("In-Progress")].into(),
                state: OpenState::Open,
            }),
            holder: Some(Actor { account: Principal::Named(Account::new("ann")), instance: Some(Instance::new("i1")) }),
            since: Some(Time(1_700_000_000_000_001)),
            message: "o/r#7 is ann's.".into(),
            retry_after: None,
            of_item: false,
        };
        let response = reject(&rejection, "0190-x");
        assert_eq!(response.status, 409);
        assert_eq!(response.headers["content-type"], "application/json;charset=utf-8");
        assert_eq!(response.headers["claimgate-decision"], "reject; code=already_assigned; id=0190-x");
        assert!(!response.headers.contains_key("retry-after"));
        assert_eq!(
            body(&response),
            json!({
                "message": "o/r#7 is ann's.",
                "url": "/api/swagger",
                "claimgate": {
                    "code": "already_assigned",
                    "resource": "o/r#7",
                    "expected": "nobody assigned",
                    "observed": {"assignees": ["ann"], "status": ["in-progress"], "state": "open"},
                    "holder": {"account": "ann", "instance": "i1"},
                    "since": "2023-11-14T22:13:20.000001Z",
                    "decision": "0190-x",
                    "retry_after_s": null,
                },
            })
        );
    }

    #[test]
    fn times_have_one_form() {
        assert_eq!(rfc3339(Time(0)).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!(rfc3339(Time(1_500_000)).as_deref(), Some("1970-01-01T00:00:01.500000Z"));
        assert_eq!(rfc3339(Time(i64::MAX)), None);
    }

    #[test]
    fn what_is_unknown_is_null() {
        let mut rejection = Rejection::of_request(Code::LaneTimeout, "later\r\nX: y");
        for (after, header) in [(1, "1"), (1000, "1"), (1001, "2"), (0, "1")] {
            rejection.retry_after = Some(Duration::from_millis(after));
            assert_eq!(reject(&rejection, "d").headers["retry-after"], header, "{after}");
        }
        let response = reject(&rejection, "d\r\nevil: 1");
        assert_eq!(response.status, 503);
        assert!(!response.headers.contains_key("claimgate-decision"), "an identifier with a line break is no header");
        let body = body(&response);
        assert_eq!(body["message"], "later\r\nX: y");
        for name in ["resource", "expected", "observed", "holder", "since"] {
            assert!(body["claimgate"][name].is_null(), "{name}");
        }
    }

    #[test]
    fn success_has_the_calls_own_status_and_shape() {
        let issue = r#"{"id":1,"labels":[{"id":3,"name":"x"}]}"#;
        let read = answer(StatusCode::OK, issue.into());
        for (form, status, body) in [
            (WriteForm::EditIssue, 201, issue),
            (WriteForm::EditPull, 201, issue),
            (WriteForm::CreateIssue, 201, issue),
            (WriteForm::AddAssignees, 201, issue),
            (WriteForm::RemoveAssignees, 200, issue),
            (WriteForm::AddLabels, 200, r#"[{"id":3,"name":"x"}]"#),
            (WriteForm::ReplaceLabels, 200, r#"[{"id":3,"name":"x"}]"#),
            (WriteForm::ClearLabels, 204, ""),
            (WriteForm::RemoveLabel, 204, ""),
        ] {
            let address = location::issue("o", "r", 7);
            let intent = ApiWrite::of(&address, form, Change::default());
            let response = accept(&intent, &read);
            assert_eq!((response.status.as_u16(), &response.body[..]), (status, body.as_bytes()), "{form:?}");
            assert_eq!(response.headers.contains_key("content-type"), !body.is_empty(), "{form:?}");
        }
    }
}
