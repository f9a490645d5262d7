//! Answers of the gate's own, in the tracker's shape (manual: forgejo, section 4).

use super::super::WireResponse;
use super::super::refusal::{details, headed};
use super::api_write::ApiWrite;
use super::read::object;
use super::write::WriteForm;
use crate::model::Rejection;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

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
    let body =
        json!({ "message": rejection.message, "url": "/api/swagger", "claimgate": details(rejection, decision) });
    headed(rejection, decision, answer(StatusCode::CONFLICT, body.to_string().into()))
}

/// A refusal of a form of the web interface. Its scripts show `errorMessage` or, in older versions, `error`; where the
/// form was sent by the browser itself, the text is the page.
pub fn reject_form(rejection: &Rejection, decision: &str, head_headers: &HeaderMap) -> WireResponse {
    let accept = head_headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
    if accept.starts_with(b"text/html") && !head_headers.contains_key(BY_SCRIPT) {
        let mut page = answer(StatusCode::CONFLICT, rejection.message.clone().into());
        page.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return headed(rejection, decision, page);
    }
    let text = &rejection.message;
    let body =
        json!({ "error": text, "errorMessage": text, "message": text, "claimgate": details(rejection, decision) });
    headed(rejection, decision, answer(StatusCode::CONFLICT, body.to_string().into()))
}

fn answer(status: StatusCode, body: Bytes) -> WireResponse {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    WireResponse { status, headers, body }
}

const BY_SCRIPT: HeaderName = HeaderName::from_static("x-requested-with");

#[cfg(test)]
mod tests {
    use super::super::location;
    use super::*;
    use crate::model::{Account, Actor, Change, Code, Instance, OpenState, Place, Principal, Shown, Status, Time};
    use std::time::Duration;

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
