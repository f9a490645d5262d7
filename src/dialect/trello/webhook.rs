//! Webhook payloads, as far as they name a card (manual: trello, section 5).

use super::super::Webhook;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::Value;

/// What the payload says. The signature is not checked here.
pub fn read(headers: &HeaderMap, body: &[u8]) -> Webhook {
    let signature = headers.get(SIGNATURE).and_then(|value| STANDARD.decode(value.as_bytes().trim_ascii()).ok());
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let card = said.as_ref().and_then(|said| {
        let card = &said["action"]["data"]["card"];
        // People know it by its short link, and so does the ledger.
        card["shortLink"].as_str().or(card["id"].as_str())
    });
    Webhook { signature, payload: None, item: card.and_then(super::card).map(|address| address.locator()) }
}

const SIGNATURE: &str = "x-trello-webhook";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_its_card() {
        let headers: HeaderMap =
            [(http::HeaderName::from_static(SIGNATURE), "AQID".parse().unwrap())].into_iter().collect();
        let named = |body: &str| read(&headers, body.as_bytes()).item.map(|item| item.to_string());
        let body = r#"{"action":{"type":"updateCard","data":{"card":{"id":"5f0000000000000000000001","shortLink":"AbCd1234"}}}}"#;
        assert_eq!(named(body).as_deref(), Some("AbCd1234"));
        assert_eq!(named(r#"{"action":{"data":{"list":{"id":"x"}}}}"#), None);
        assert_eq!(named("no JSON"), None);
        assert_eq!(read(&headers, b"{}").signature, Some(vec![1, 2, 3]));
        assert_eq!(read(&HeaderMap::new(), b"{}").signature, None);
    }
}
