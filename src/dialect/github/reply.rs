//! Answers of the gate's own, in the shapes that GitHub's clients show (manual: github, section 6).
//!
//! `gh` and octokit parse an error only where its type is JSON. `gh` shows the text of `errors` where its code is `custom`;
//! PyGithub repeats a 403 that speaks of rate limits, and nobody a 422.

use super::super::WireResponse;
use super::super::refusal::{details, headed};
use super::read;
use super::routes::RestForm;
use super::settings::RefusalStatus;
use crate::model::Rejection;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// The success answer, from a read of the item. Clients compare exact status codes.
pub fn accept(form: &RestForm, read: &WireResponse) -> Option<WireResponse> {
    match form {
        RestForm::EditIssue | RestForm::EditPull | RestForm::RemoveAssignees => {
            Some(answer(StatusCode::OK, read.body.clone()))
        }
        RestForm::AddAssignees | RestForm::CreateIssue | RestForm::CreatePull => {
            Some(answer(StatusCode::CREATED, read.body.clone()))
        }
        RestForm::AddLabels | RestForm::ReplaceLabels | RestForm::RemoveLabel(_) => {
            let labels = read::object(read).ok().and_then(|mut issue| issue.remove("labels")).filter(Value::is_array);
            Some(answer(StatusCode::OK, labels.unwrap_or_else(|| json!([])).to_string().into()))
        }
        RestForm::ClearLabels => {
            Some(WireResponse { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() })
        }
        // How their answers look, only GitHub knows.
        RestForm::SetFields(_) | RestForm::ClearField(_) | RestForm::ApproveSuggestion(_) => None,
    }
}

/// A refusal.
pub fn reject(rejection: &Rejection, decision: &str, by: RefusalStatus) -> WireResponse {
    let status = by.of(rejection.code);
    let own = details(rejection, decision);
    let mut body = json!({
        "message": rejection.message,
        "documentation_url": DOCUMENTATION,
        "status": status.as_str(),
        "claimgate": own,
    });
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        body["errors"] = json!([
            { "resource": "Issue", "field": "assignees", "code": "custom", "message": rejection.message },
        ]);
    }
    let mut response = headed(rejection, decision, answer(status, body.to_string().into()));
    response.status = status;
    response
}

fn answer(status: StatusCode, body: Bytes) -> WireResponse {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    WireResponse { status, headers, body }
}

/// Where GitHub's own errors about issues lead.
const DOCUMENTATION: &str = "https://docs.github.com/rest/issues/assignees";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    #[test]
    fn a_refusal_is_told_as_github_tells_one() {
        let mut rejection = Rejection::of_request(Code::AlreadyAssigned, "o/r#7 is ann's.");
        let told = |rejection: &Rejection, by| {
            let response = reject(rejection, "d", by);
            let body: Value = serde_json::from_slice(&response.body).unwrap();
            (response, body)
        };
        let (response, body) = told(&rejection, RefusalStatus::Conflict);
        assert_eq!((response.status.as_u16(), &body["status"]), (409, &json!("409")));
        assert_eq!(response.headers["content-type"], "application/json; charset=utf-8");
        assert_eq!(
            (&body["message"], &body["claimgate"]["code"]),
            (&json!("o/r#7 is ann's."), &json!("already_assigned"))
        );
        assert!(body.get("errors").is_none() && !response.headers.contains_key("retry-after"));
        let (response, body) = told(&rejection, RefusalStatus::Unprocessable);
        assert_eq!((response.status.as_u16(), &body["status"]), (422, &json!("422")));
        assert_eq!(
            (&body["errors"][0]["code"], &body["errors"][0]["message"]),
            (&json!("custom"), &json!("o/r#7 is ann's."))
        );
        // When to come again, and that the tracker is away, is no conflict.
        rejection.code = Code::LaneTimeout;
        assert_eq!(told(&rejection, RefusalStatus::Unprocessable).0.status, 503);
    }

    #[test]
    fn success_has_the_calls_own_status_and_shape() {
        let issue = r#"{"id":1,"labels":[{"id":3,"name":"x"}]}"#;
        let read = answer(StatusCode::OK, issue.into());
        for (form, status, body) in [
            (RestForm::EditIssue, 200, issue),
            (RestForm::AddAssignees, 201, issue),
            (RestForm::RemoveAssignees, 200, issue),
            (RestForm::AddLabels, 200, r#"[{"id":3,"name":"x"}]"#),
            (RestForm::RemoveLabel("x".to_owned()), 200, r#"[{"id":3,"name":"x"}]"#),
            (RestForm::ClearLabels, 204, ""),
        ] {
            let response = accept(&form, &read).unwrap();
            assert_eq!((response.status.as_u16(), &response.body[..]), (status, body.as_bytes()), "{form:?}");
        }
        assert!(accept(&RestForm::ClearField("1".to_owned()), &read).is_none());
    }
}
