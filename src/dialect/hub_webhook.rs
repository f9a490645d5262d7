//! Webhook payloads in GitHub's shape, as far as they name an item. GitHub signs the body with HMAC-SHA256 and sends the hex.
//! Forgejo and Gitea sign the JSON: a hook that is set to send a form has it in its field `payload`, and the signature is not
//! that of the form.

use super::{Webhook, form};
use crate::model::{Place, Project};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

/// Names of the header that carries the signature, newest first; the last one says `sha256=` before it.
const SIGNATURES: [&str; 3] = ["x-forgejo-signature", "x-gitea-signature", "x-hub-signature-256"];

/// What the payload says. The signature is not checked here.
pub fn read(headers: &HeaderMap, body: &[u8]) -> Webhook {
    let signature = SIGNATURES.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok());
    let payload = payload(headers, body);
    let item = serde_json::from_slice(payload.as_deref().unwrap_or(body)).ok().as_ref().and_then(item);
    Webhook {
        item,
        payload,
        signature: signature.and_then(|text| bytes_of(text.strip_prefix("sha256=").unwrap_or(text))),
    }
}

/// The JSON that a form has in its field `payload`; nothing of a form without it.
fn payload(headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return None;
    }
    let pairs = form::read_pairs(body).unwrap_or_default();
    let payload = pairs.into_iter().find(|(name, _)| name == "payload");
    Some(payload.map(|(_, text)| text.into_bytes()).unwrap_or_default())
}

fn item(payload: &Value) -> Option<Place> {
    let (owner, repo) = payload["repository"]["full_name"].as_str()?.split_once('/')?;
    let places = [&payload["issue"]["number"], &payload["pull_request"]["number"], &payload["number"]];
    let number = places.iter().find_map(|number| number.as_u64())?;
    Some(Place::numbered(&Project::new(&format!("{owner}/{repo}")), number))
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, signature: &str, body: &str) -> (Option<Vec<u8>>, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.insert(name, signature.parse().unwrap());
        let hook = read(&headers, body.as_bytes());
        (hook.signature, hook.item.map(|item| item.to_string()))
    }

    #[test]
    fn the_item_and_the_signature_are_found() {
        let issue = r#"{"action":"assigned","issue":{"number":7},"repository":{"full_name":"Root1/Rec"}}"#;
        let pull = r#"{"number":8,"pull_request":{"number":8},"repository":{"full_name":"a/b"}}"#;
        assert_eq!(check("x-gitea-signature", "0aff", issue), (Some(vec![10, 255]), Some("root1/rec#7".into())));
        assert_eq!(check("x-hub-signature-256", "sha256=01", pull), (Some(vec![1]), Some("a/b#8".into())));
    }

    #[test]
    fn a_form_carries_the_payload() {
        let json = r#"{"issue":{"number":7},"repository":{"full_name":"a/b"}}"#;
        let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("payload", json).finish();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8".parse().unwrap());
        let hook = read(&headers, form.as_bytes());
        assert_eq!(hook.item.map(|item| item.to_string()).as_deref(), Some("a/b#7"));
        assert_eq!(hook.payload.as_deref(), Some(json.as_bytes()));
        assert_eq!(read(&headers, json.as_bytes()).item, None);
    }

    #[test]
    fn what_does_not_read_is_nothing() {
        for (signature, body) in [("xy", "{}"), ("abc", "[]"), ("é", r#"{"repository":{"full_name":"a"}}"#)] {
            assert_eq!(check("x-forgejo-signature", signature, body), (None, None));
        }
    }
}
