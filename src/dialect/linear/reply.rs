//! Answers of the gate's own, in the shape that Linear's clients show (manual: linear).
//!
//! An error is an answer of 200 with `errors`: clients throw away the body of any other status. Its `type` is one that
//! `@linear/sdk` knows; of an unknown one it shows no text.

use super::super::graphql::{NOT_STORED, error_body};
use super::super::{WireResponse, refusal};
use crate::model::{Code, Rejection};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// A refusal; `path` is the field that it is about, where that is one.
pub fn reject(rejection: &Rejection, decision: &str, path: Option<&str>) -> WireResponse {
    let text = &rejection.message;
    let (kind, code) = match rejection.code {
        // What clients of stored documents wait for.
        _ if text == NOT_STORED => ("graphql error", "PERSISTED_QUERY_NOT_FOUND"),
        Code::LaneTimeout | Code::Busy | Code::InDoubt => ("lock timeout", "LOCK_TIMEOUT"),
        Code::Fenced | Code::LedgerUnavailable | Code::UpstreamUnreadable | Code::OutcomeUnknown => {
            ("internal error", "INTERNAL_SERVER_ERROR")
        }
        _ => ("invalid input", "INPUT_ERROR"),
    };
    let extensions = json!({
        "type": kind,
        "code": code,
        "statusCode": rejection.code.status(),
        "userError": true,
        "userPresentableMessage": text,
        "claimgate": refusal::details(rejection, decision),
    });
    let mut headed = refusal::headed(rejection, decision, answer(&error_body(text, path, &extensions)));
    headed.status = StatusCode::OK;
    headed
}

/// An answer of 200.
pub fn answer(body: &Value) -> WireResponse {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    WireResponse { status: StatusCode::OK, headers, body: body.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_error_that_the_client_shows() {
        let told = |code, text: &str| {
            let response = reject(&Rejection::of_request(code, text), "d", Some("alias"));
            assert_eq!(response.status, 200);
            serde_json::from_slice::<Value>(&response.body).unwrap()
        };
        let body = told(Code::AlreadyAssigned, "ENG-1 is held by ann");
        assert_eq!(body["data"], Value::Null);
        let error = &body["errors"][0];
        assert_eq!((&error["message"], &error["path"]), (&json!("ENG-1 is held by ann"), &json!(["alias"])));
        let extensions = &error["extensions"];
        assert_eq!((&extensions["type"], &extensions["statusCode"]), (&json!("invalid input"), &json!(409)));
        assert_eq!(extensions["userPresentableMessage"], "ENG-1 is held by ann");
        assert_eq!(extensions["claimgate"]["code"], "already_assigned");
        assert_eq!(told(Code::LaneTimeout, "late")["errors"][0]["extensions"]["type"], "lock timeout");
        let stored = told(Code::AmbiguousRequest, NOT_STORED);
        assert_eq!(stored["errors"][0]["extensions"]["code"], "PERSISTED_QUERY_NOT_FOUND");
    }
}
