//! Who sends a request, as Trello would see it (manual: trello, section 3).
//!
//! A key and a token come in the query, in a JSON body, in a form, or in a header of OAuth 1.0; wherever that was, they are
//! one credential, and go on in the header. One value in one place counts: what two readers could take for two senders is
//! refused. A request that is signed is sent on as it came, since its signature covers how it is written.

use super::super::{Credential, Head, ParseError};
use super::params::{Params, refuse};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, ORIGIN};
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::fmt;

/// The credential of this request. `body` may be empty where it is not guarded.
pub fn read(head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError> {
    let params = if body.is_empty() { Params::of_query(head)? } else { Params::read(head, body)? };
    let header = authorization(head.headers)?;
    let oauth = header.as_ref().and_then(|value| OAuth::read(value.expose_secret())).transpose()?;
    if params.names().any(|name| name.starts_with("oauth_")) {
        return Err(refuse("parameters of OAuth belong into the header `Authorization`"));
    }
    let own = oauth.unwrap_or_default();
    let key = the_one("key", &params, own.consumer_key)?;
    let token = the_one("token", &params, own.token)?;
    let mut credential = Credential::default();
    match (key, token) {
        (Some(key), Some(token)) => {
            if header.is_some_and(|header| OAuth::read(header.expose_secret()).is_none()) {
                return Err(refuse("the request names two senders, one in `Authorization`: name one"));
            }
            credential.add(AUTHORIZATION, written(&key, Some(&token)));
        }
        // A token without its key is nobody's.
        (None, Some(_)) => return Err(refuse("`token` goes with `key`: send both")),
        (key, None) => match header.filter(|header| OAuth::read(header.expose_secret()).is_none()) {
            Some(header) => credential.add(AUTHORIZATION, header.expose_secret().as_bytes().to_vec()),
            None => by_session(head.headers, key.as_deref(), &mut credential),
        },
    }
    if let (Some(origin), 1) = (head.headers.get(ORIGIN), head.headers.get_all(ORIGIN).iter().count()) {
        credential.speak_for(origin);
    }
    Ok(credential)
}

/// The gate's own account: `KEY:TOKEN`.
pub fn service(text: &str) -> Credential {
    let mut credential = Credential::default();
    match text.trim().split_once([':', ' ']) {
        Some((key, token)) => credential.add(AUTHORIZATION, written(key.trim(), Some(token.trim()))),
        None => credential.add(AUTHORIZATION, format!("Bearer {}", text.trim()).into_bytes()),
    }
    credential
}

/// Whether a parameter says who sends, and nothing else.
pub fn is_parameter(name: &str) -> bool {
    matches!(name, "key" | "token")
}

/// A browser's session, or nobody with an application's key.
fn by_session(headers: &HeaderMap, key: Option<&str>, credential: &mut Credential) {
    // HTTP/2 may split cookies.
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    match key {
        Some(key) => credential.add_beside(AUTHORIZATION, written(key, None)),
        None if !cookies.is_empty() => credential.add(COOKIE, cookies.join(&b"; "[..])),
        None => {}
    }
}

fn written(key: &str, token: Option<&str>) -> Vec<u8> {
    let token = token.map(|token| format!(", oauth_token=\"{token}\"")).unwrap_or_default();
    format!("OAuth oauth_consumer_key=\"{key}\"{token}").into_bytes()
}

/// What the parameters and the header say of a part of the proof.
fn the_one(name: &str, params: &Params, in_header: Option<String>) -> Result<Option<String>, ParseError> {
    let given = match params.look(name)? {
        None => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) if is_plain(&text) => Some(text),
        Some(_) => return Err(refuse(&format!("`{name}` holds what Trello gives to nobody"))),
    };
    match (given, in_header) {
        (Some(given), Some(in_header)) if given != in_header => {
            Err(refuse(&format!("`{name}` differs from that in the header `Authorization`: name one sender")))
        }
        (given, in_header) => Ok(given.or(in_header)),
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~=+/".contains(&byte))
}

fn authorization(headers: &HeaderMap) -> Result<Option<SecretString>, ParseError> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(refuse("the header `Authorization` is given twice: send it once"));
    }
    let text = first.to_str().map_err(|_| refuse("the header `Authorization` is no text"))?;
    Ok(Some(text.into()).filter(|_| !text.trim().is_empty()))
}

// === impl OAuth ===

/// A header of OAuth 1.0 (RFC 5849, 3.5.1).
#[derive(Default)]
struct OAuth {
    consumer_key: Option<String>,
    token: Option<String>,
    is_signed: bool,
}

impl OAuth {
    /// `None`: it is of another scheme.
    fn read(value: &str) -> Option<Result<Self, ParseError>> {
        let (scheme, rest) = value.trim().split_once([' ', '\t'])?;
        scheme.eq_ignore_ascii_case("OAuth").then(|| Self::parameters(rest))
    }

    fn parameters(text: &str) -> Result<Self, ParseError> {
        let wrong = || refuse("the header `Authorization: OAuth` is written as name=\"value\" with commas between");
        let mut read = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let value = value.trim().strip_prefix('"').and_then(|it| it.strip_suffix('"')).ok_or_else(wrong)?;
            let value = percent_decode_str(value).decode_utf8().map_err(|_| wrong())?.into_owned();
            let place = match name.trim() {
                "oauth_consumer_key" => &mut read.consumer_key,
                "oauth_token" => &mut read.token,
                "oauth_signature" if read.is_signed => return Err(wrong()),
                "oauth_signature" => {
                    read.is_signed = true;
                    continue;
                }
                _ => continue,
            };
            if place.is_some() || !is_plain(&value) {
                return Err(wrong());
            }
            *place = Some(value).filter(|value| !value.is_empty());
        }
        Ok(read)
    }
}

// === impl Signed ===

/// A request as it came, since it is signed: whoever writes anything anew breaks the signature.
#[derive(Clone)]
pub struct Signed {
    authorization: SecretString,
    /// Path and query.
    pub target: String,
    content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

impl Signed {
    /// `None`: it is not signed.
    pub fn read(head: &Head<'_>, body: &[u8]) -> Result<Option<Self>, ParseError> {
        let Some(header) = authorization(head.headers)? else { return Ok(None) };
        match OAuth::read(header.expose_secret()).transpose()? {
            Some(oauth) if oauth.is_signed => {}
            _ => return Ok(None),
        }
        if head.target.canonical() != head.target.path() {
            return Err(refuse(
                "the request is signed, so that its path is sent as it is: write it plainly, as in /1/cards/ID/idList",
            ));
        }
        Ok(Some(Self {
            authorization: header,
            target: head.target.raw().to_owned(),
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            body: Bytes::copy_from_slice(body),
        }))
    }

    /// Sets its own headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Ok(mut value) = HeaderValue::from_str(self.authorization.expose_secret()) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers.extend(self.content_type.clone().map(|kind| (CONTENT_TYPE, kind)));
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} bytes)", self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::Method;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        lines.iter().map(line).collect()
    }

    fn check(query: &str, lines: &[(&str, &str)], body: &str, expected: Result<&str, &str>) {
        let (target, headers) = (Target::parse(&format!("/1/cards/AbCd1234{query}")), headers(lines));
        let head = Head { method: &Method::PUT, target: &target, headers: &headers };
        match (read(&head, body.as_bytes()), expected) {
            (Ok(credential), Ok(wanted)) => {
                let mut sent = HeaderMap::new();
                credential.apply(&mut sent);
                let sent: Vec<&str> = sent.values().map(|value| value.to_str().unwrap()).collect();
                assert_eq!(sent.join(" | "), wanted, "{query} {lines:?} {body}");
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part) && !error.to_string().contains("T1"), "{query}: {error}");
            }
            (read, _) => panic!("{query} {lines:?} {body}: {read:?}"),
        }
    }

    const OWN: &str = r#"OAuth oauth_consumer_key="K1", oauth_token="T1""#;
    const JSON: (&str, &str) = ("content-type", "application/json");
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

    #[test]
    fn one_credential_wherever_it_stands() {
        check("?key=K1&token=T1", &[], "", Ok(OWN));
        check("", &[JSON], r#"{"key":"K1","token":"T1","value":"x"}"#, Ok(OWN));
        check("", &[FORM], "key=K1&token=T1", Ok(OWN));
        check("?key=K1", &[FORM], "token=T1", Ok(OWN));
        check("", &[("authorization", OWN)], "", Ok(OWN));
        let signed = r#"OAuth oauth_nonce="1", oauth_consumer_key="K1",oauth_token="T1", oauth_signature="a%3D""#;
        check("", &[("authorization", signed)], "", Ok(OWN));
        check("?key=K1&token=T1", &[("authorization", signed)], "", Ok(OWN));
        check("", &[("authorization", "Bearer B1")], "", Ok("Bearer B1"));
        check("?key=K1", &[], "", Ok(r#"OAuth oauth_consumer_key="K1""#));
        check("", &[("cookie", "a=b"), ("cookie", "c=d")], "", Ok("a=b; c=d"));
        check("", &[], "", Ok(""));
        check(
            "?key=K1&token=T1",
            &[("origin", "https://a.test")],
            "",
            Ok("OAuth oauth_consumer_key=\"K1\", oauth_token=\"T1\" | https://a.test"),
        );
    }

    #[test]
    fn what_may_be_two_senders_is_refused() {
        check("?key=K1&token=T1&token=T1", &[], "", Err("given twice"));
        check("?key=K1&token=T1", &[JSON], r#"{"token":"T1"}"#, Err("given twice"));
        check("?key=K1&token=T2", &[("authorization", OWN)], "", Err("differs"));
        check("?key=K1&token=T1", &[("authorization", "Bearer B1")], "", Err("two senders"));
        check("?token=T1", &[], "", Err("goes with"));
        check("?key=K1&token=T1%22", &[], "", Err("gives to nobody"));
        check("?key=K1&token[]=T1", &[], "", Err("gives to nobody"));
        check("?oauth_token=T1", &[], "", Err("belong into the header"));
        check("", &[("authorization", OWN), ("authorization", OWN)], "", Err("given twice"));
        check("", &[("authorization", "OAuth oauth_token=T1")], "", Err("written as"));
        check("", &[("authorization", r#"OAuth oauth_token="T1", oauth_token="T2""#)], "", Err("written as"));
    }

    #[test]
    fn a_signed_request_keeps_its_bytes() {
        let signed =
            [("authorization", r#"OAuth oauth_consumer_key="K1", oauth_token="T1", oauth_signature="x""#), JSON];
        let headers = headers(&signed);
        let read = |target: &str| {
            let target = Target::parse(target);
            Signed::read(&Head { method: &Method::PUT, target: &target, headers: &headers }, b"{ }")
        };
        let kept = read("/1/cards/AbCd1234?b=%20&a=1").unwrap().unwrap();
        assert_eq!((kept.target.as_str(), &kept.body[..]), ("/1/cards/AbCd1234?b=%20&a=1", &b"{ }"[..]));
        assert!(!format!("{kept:?}").contains("T1"));
        assert!(read("/1//cards/AbCd1234").is_err() && read("/1/cards/AbCd1234/").is_err());
        assert!(!service("k:t").is_anonymous() && service("k:t").material() != service("k:u").material());
    }
}
