//! Answers of the gate's own, in the shapes that Redmine's clients show (manual: redmine, sections 6 and 7).
//!
//! python-redmine makes the text of a 422's `errors` its exception's, and takes a 409 for a conflict. A 412 means to it that
//! nobody can be acted for.

use super::super::{WireResponse, refusal};
use super::params::AnswerFormat;
use crate::model::{Code, Rejection};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

/// An update that was carried out, or that needed nothing to be.
pub fn no_content() -> WireResponse {
    WireResponse { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() }
}

/// A refusal.
pub fn reject(rejection: &Rejection, decision: &str, format: AnswerFormat) -> WireResponse {
    let text = &rejection.message;
    let (kind, body) = match format {
        AnswerFormat::Json => {
            let own = refusal::details(rejection, decision);
            ("application/json; charset=utf-8", json!({ "errors": [text], "claimgate": own }).to_string())
        }
        AnswerFormat::Xml => {
            let text = quick_xml::escape::escape(plain(text));
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><errors type=\"array\"><error>{text}</error></errors>"
            );
            ("application/xml; charset=utf-8", body)
        }
        AnswerFormat::Page => ("text/plain; charset=utf-8", text.clone()),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let response = WireResponse { status: StatusCode::CONFLICT, headers, body: body.into() };
    let mut response = refusal::headed(rejection, decision, response);
    // What the tracker did not do is an error of the request to its clients, and none of their rights.
    if matches!(rejection.code, Code::NotApplied | Code::Partial) {
        response.status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// Without what XML cannot carry.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_shown_the_text() {
        let rejection = Rejection::of_request(Code::AlreadyAssigned, "#7 is <ann>'s & nobody else's\u{1}");
        let told = |format| {
            let response = reject(&rejection, "d", format);
            let kind = response.headers["content-type"].to_str().unwrap().to_owned();
            (response.status.as_u16(), kind, String::from_utf8(response.body.to_vec()).unwrap())
        };
        let (status, kind, body) = told(AnswerFormat::Json);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, kind.as_str()), (409, "application/json; charset=utf-8"));
        assert_eq!(body["errors"], json!([rejection.message]));
        assert_eq!(body["claimgate"]["code"], "already_assigned");
        let (_, kind, body) = told(AnswerFormat::Xml);
        assert_eq!(kind, "application/xml; charset=utf-8");
        assert!(body.ends_with("<error>#7 is &lt;ann&gt;&apos;s &amp; nobody else&apos;s</error></errors>"), "{body}");
        assert_eq!(told(AnswerFormat::Page).2, rejection.message);
        let silent = reject(&Rejection::of_request(Code::NotApplied, "no"), "d", AnswerFormat::Json);
        assert_eq!(
            (silent.status.as_u16(), &silent.headers["claimgate-decision"]),
            (422, &"reject; code=not_applied; id=d".parse::<HeaderValue>().unwrap())
        );
    }
}
