//! Answers of the gate's own, in the shape that Jira's clients show (manual: jira, sections 6 and 7).
//!
//! `errors` stays an empty object: pycontribs' client shows its members instead of the messages.

use super::super::{WireResponse, refusal};
use crate::model::{Code, Rejection};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

/// A write that was carried out, or that needed nothing to be.
pub fn no_content() -> WireResponse {
    WireResponse { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() }
}

/// A refusal.
pub fn reject(rejection: &Rejection, decision: &str) -> WireResponse {
    let own = refusal::details(rejection, decision);
    let text = &rejection.message;
    // Jira Service Management has another name for the message.
    let body = json!({ "errorMessages": [text], "errors": {}, "errorMessage": text, "claimgate": own }).to_string();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    let response = WireResponse { status: StatusCode::CONFLICT, headers, body: body.into() };
    let mut response = refusal::headed(rejection, decision, response);
    // What the tracker did not do is an error of the request to its clients, and none of their rights.
    if matches!(rejection.code, Code::NotApplied | Code::Partial) {
        response.status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_shown_the_text() {
        let rejection = Rejection::of_request(Code::AlreadyAssigned, "PROJ-7 is held by ann");
        let response = reject(&rejection, "d");
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(response.status.as_u16(), 409);
        assert_eq!(body["errorMessages"], json!([rejection.message]));
        assert_eq!((&body["errors"], &body["claimgate"]["code"]), (&json!({}), &json!("already_assigned")));
        let silent = reject(&Rejection::of_request(Code::NotApplied, "no"), "d");
        assert_eq!((silent.status.as_u16(), silent.headers.get("retry-after")), (422, None));
    }
}
