//! Who sends a request, as Redmine would see it (manual: redmine, section 5).
//!
//! The parameter `key` wins over the header, and that over `Authorization`; a bad one beside a good one is nobody's, so only the
//! one that counts is sent on. On a page a session counts before all of them.

use super::super::{Credential, Head, ParseError};
use super::params::{AnswerFormat, Parameters, expect_dashes, members, one, refuse};
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use serde_json::Value;

/// The credential of this request. `body` may be empty where it is not guarded.
pub fn read(head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError> {
    expect_dashes(head.headers)?;
    let may_hold_key = body.windows(3).any(|part| part == b"key") || head.target.query().is_some();
    let members = if may_hold_key { members(head, body)? } else { Parameters::new() };
    if is_page(head, &members) && head.headers.contains_key(COOKIE) {
        return Ok(session(head.headers));
    }
    let mut credential = Credential::default();
    match (key(&members)?, one(head.headers, &API_KEY)?) {
        (Some(key), _) => credential.add(API_KEY, key.as_bytes().to_vec()),
        (None, Some(key)) if !key.is_empty() => credential.add(API_KEY, key.into_bytes()),
        _ => {
            if let Some(value) = one(head.headers, &AUTHORIZATION)?.filter(|value| !value.is_empty()) {
                credential.add(AUTHORIZATION, value.into_bytes());
            }
        }
    }
    if let Some(login) = one(head.headers, &SWITCH_USER)?.filter(|login| !login.is_empty()) {
        credential.act_as(SWITCH_USER, &login);
    }
    Ok(credential)
}

/// A browser's session, which stays the same from one form to the next.
pub fn session(headers: &HeaderMap) -> Credential {
    let mut credential = Credential::default();
    // HTTP/2 may split cookies.
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        credential.add(COOKIE, cookies.join(&b"; "[..]));
    }
    credential
}

/// The gate's own account: its API key.
pub fn service(token: &str) -> Credential {
    let mut credential = Credential::default();
    credential.add(API_KEY, token.as_bytes().to_vec());
    credential
}

/// The name of a parameter that says who sends.
pub const PARAMETER: &str = "key";

fn key(members: &Parameters) -> Result<Option<&str>, ParseError> {
    match members.get(PARAMETER) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if key.trim().is_empty() => Ok(None),
        Some(Value::String(key)) if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(key)),
        Some(_) => Err(refuse("`key` holds what no API key has")),
    }
}

/// Whether the answer is a page. A suffix wins over the parameter.
fn is_page(head: &Head<'_>, members: &Parameters) -> bool {
    let last = head.target.segments().last().map_or("", String::as_str);
    match AnswerFormat::of_suffix(last.split_once('.').map(|(_, suffix)| suffix)) {
        Some(format) => format == AnswerFormat::Page,
        None => !matches!(members.get("format").and_then(Value::as_str), Some("json" | "xml")) && !asks_for_api(head),
    }
}

/// The parameter was taken out of what was read, so it is looked for as it came.
fn asks_for_api(head: &Head<'_>) -> bool {
    let pairs = head.target.pairs().unwrap_or_default();
    pairs.iter().any(|(name, value)| name == "format" && matches!(value.as_str(), "json" | "xml"))
}

const API_KEY: HeaderName = HeaderName::from_static("x-redmine-api-key");
const SWITCH_USER: HeaderName = HeaderName::from_static("x-redmine-switch-user");

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;

    fn check(target: &str, headers: &[(&str, &str)], body: &str, expected: Result<&[(&str, &str)], &str>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().chain(&[("content-type", "application/json")]) {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let head = Head { method: &http::Method::PUT, target: &Target::parse(target), headers: &map };
        match (read(&head, body.as_bytes()), expected) {
            (Ok(credential), Ok(wanted)) => {
                let mut sent = HeaderMap::new();
                credential.apply(&mut sent);
                let sent: Vec<(&str, &str)> =
                    sent.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
                assert_eq!(sent, wanted, "{target} {headers:?} {body}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{target}: {error}"),
            (read, _) => panic!("{target} {headers:?} {body}: {read:?}"),
        }
    }

    #[test]
    fn one_proof_counts() {
        const KEY: (&str, &str) = ("x-redmine-api-key", "h");
        const BASIC: (&str, &str) = ("authorization", "Basic YTpi");
        let path = "/issues/7.json";
        check(path, &[], "", Ok(&[]));
        check(path, &[KEY], "", Ok(&[KEY]));
        check(path, &[KEY, BASIC, ("cookie", "x")], "", Ok(&[KEY]));
        check(path, &[BASIC], "", Ok(&[BASIC]));
        check("/issues/7.json?key=q", &[KEY], r#"{"key":"b"}"#, Ok(&[("x-redmine-api-key", "q")]));
        check(path, &[KEY], r#"{"key":"b"}"#, Ok(&[("x-redmine-api-key", "b")]));
        check("/issues/7.json?key=", &[KEY], "", Ok(&[KEY]));
        check(path, &[("cookie", "x")], "", Ok(&[]));
        check("/issues/7", &[("cookie", "x"), KEY], "", Ok(&[("cookie", "x")]));
        check("/issues/7?format=json", &[("cookie", "x"), KEY], "", Ok(&[KEY]));
        check("/issues/7", &[KEY], "", Ok(&[KEY]));
        check(path, &[KEY, ("x-redmine-switch-user", "Dev-2")], "", Ok(&[KEY, ("x-redmine-switch-user", "Dev-2")]));
        check("/issues/7.json?key[]=q", &[KEY], "", Err("no API key"));
        check(path, &[KEY, KEY], "", Err("given twice"));
        check(path, &[("x_redmine_api_key", "h")], "", Err("dashes"));
    }

    #[test]
    fn only_whom_it_acts_for_is_no_proof() {
        let mut headers = HeaderMap::new();
        headers.insert(SWITCH_USER, "ann".parse().unwrap());
        let head = Head { method: &http::Method::GET, target: &Target::parse("/issues/7.json"), headers: &headers };
        assert!(read(&head, b"").unwrap().is_anonymous());
        assert!(!service("k").is_anonymous());
        assert_ne!(service("k").material(), service("l").material());
        // The key as the name of Basic, with and without a password.
        for proof in ["Basic MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzo=", "Basic YTpi"] {
            let acting = |login: &str| {
                let mut headers = HeaderMap::new();
                headers.insert(AUTHORIZATION, proof.parse().unwrap());
                headers.insert(SWITCH_USER, login.parse().unwrap());
                read(&Head { headers: &headers, ..head }, b"").unwrap().material()
            };
            assert!(acting("ann") != acting("bob") && acting("ann") == acting("Ann"), "{proof}");
        }
    }
}
