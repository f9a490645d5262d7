//! Answers of the gate's own, in the shapes that Trello's clients show (manual: trello, section 6).
//!
//! trello.js and py-trello make the whole body their error's text, and repeat no 409. Some clients look for the names of
//! Trello's limits in any body, and repeat what has one.

use super::super::{WireResponse, refusal};
use crate::model::Rejection;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

/// A success, with what the route shows.
pub fn shown(read: &WireResponse) -> WireResponse {
    WireResponse { status: StatusCode::OK, headers: json_type(), body: read.body.clone() }
}

/// A refusal.
pub fn reject(rejection: &Rejection, decision: &str) -> WireResponse {
    let own = refusal::details(rejection, decision);
    let body = json!({ "message": rejection.message, "error": "CONFLICT", "claimgate": own }).to_string();
    // A list may be called so, and is no limit.
    let body = LIMITS.iter().fold(body, |body, name| body.replace(name, &name.to_lowercase()));
    let response = WireResponse { status: StatusCode::CONFLICT, headers: json_type(), body: Bytes::from(body) };
    refusal::headed(rejection, decision, response)
}

fn json_type() -> HeaderMap {
    [(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))].into_iter().collect()
}

const LIMITS: [&str; 3] = ["API_KEY_LIMIT_EXCEEDED", "API_TOKEN_LIMIT_EXCEEDED", "RATE_LIMIT_EXCEEDED"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    #[test]
    fn each_client_is_shown_the_text() {
        let rejection = Rejection::of_request(Code::AlreadyAssigned, "AbCd1234 is bob's; RATE_LIMIT_EXCEEDED");
        let response = reject(&rejection, "d");
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(response.status, 409);
        assert_eq!(body["message"], "AbCd1234 is bob's; rate_limit_exceeded");
        assert_eq!((&body["error"], &body["claimgate"]["code"]), (&json!("CONFLICT"), &json!("already_assigned")));
        assert_eq!(response.headers["claimgate-decision"], "reject; code=already_assigned; id=d");
        assert!(!response.headers.contains_key("retry-after"));
    }
}
