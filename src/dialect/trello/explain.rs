//! What the gate makes of a request, in words for an operator. Secrets are named, never shown.

use super::super::explain::line;
use super::super::{Chosen, Credential, GuardedRequest as _, Head, Request as _, Subject, Wants};
use super::call::{CallMeaning, CardCall};
use super::credential;
use super::routes::{RouteMatch, classify};
use super::write::CardWrite;
use http::HeaderMap;

/// Route, sender, guarded fields and the canonical request, or the refusal.
pub fn explain(head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(&mut text, "request", format_args!("{} {}", head.method, shown_path(head)));
    let site = match classify(head) {
        RouteMatch::Pass => return text + "route: pass (streams untouched)\n",
        RouteMatch::Read { card, .. } => {
            line(&mut text, "route", format_args!("read of {} (streams untouched, noted)", card.locator()));
            return text;
        }
        RouteMatch::Refuse(error) => {
            line(&mut text, "route", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
            return text;
        }
        RouteMatch::Guarded(site) => site,
    };
    line(&mut text, "route", "may be guarded");
    match CardCall(site).meaning(head, body, false) {
        Ok(CallMeaning::Free) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(CallMeaning::Write(write)) => guarded(&mut text, head, body, &write),
        Ok(CallMeaning::Sweep(_, how)) => {
            line(&mut text, "does", format_args!("{how}: judged by whose cards those are, then untouched"));
        }
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

/// Some paths of Trello's have a token in them.
fn shown_path(head: &Head<'_>) -> String {
    super::redacted_path(head.target.path()).unwrap_or_else(|| head.target.path().to_owned())
}

fn guarded(text: &mut String, head: &Head<'_>, body: &[u8], write: &CardWrite) {
    match credential::read(head, body) {
        Ok(credential) => line(text, "credential", credential.kinds()),
        Err(error) => line(text, "credential", format_args!("refuse ({}): {error}", error.code().as_str())),
    }
    let items = match write.subject() {
        Subject::At(address) => address.locator().to_string(),
        Subject::Places(_) | Subject::Keys(_) | Subject::New(_) => "a new one".to_owned(),
    };
    line(text, "items", items);
    line(text, "guarded", write.describe());
    let chosen = match write.wants() {
        Wants::Change(change) => vec![Chosen::unread(None, change)],
        Wants::Toggle | Wants::Beside { .. } => Vec::new(),
    };
    if write.signed.is_some() {
        line(text, "sends", "it as it came, since it is signed");
        return;
    }
    let request = write.emit(&chosen, &HeaderMap::new(), &Credential::default());
    line(text, "sends", format_args!("{} {}", request.method, request.target));
    let body = if request.body.is_empty() { "none".into() } else { String::from_utf8_lossy(&request.body) };
    line(text, "body", body);
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;

    fn check(request: &str, body: &str, expected: &str) {
        let (method, target) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(target), headers: &headers };
        let text = explain(&head, body.as_bytes());
        assert_eq!(text, expected, "{request}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn says_what_becomes_of_a_request() {
        check(
            "GET /1/cards/AbCd1234",
            "",
            "request: GET /1/cards/AbCd1234\nroute: read of AbCd1234 (streams untouched, noted)\n",
        );
        check(
            "POST /1/tokens/hush/webhooks",
            "x",
            "request: POST /1/tokens/***/webhooks\nroute: pass (streams untouched)\n",
        );
        check(
            "POST /1/card/AbCd1234/members?key=hush",
            r#"{"value":"5e00000000000000000000a1","token":"hush"}"#,
            "request: POST /1/card/AbCd1234/members\nroute: may be guarded\ncredential: authorization\nitems: AbCd1234\n\
             guarded: assignees+=[5e00000000000000000000a1]\nsends: POST /1/cards/AbCd1234/idMembers\n\
             body: {\"value\":\"5e00000000000000000000a1\"}\n",
        );
        check(
            "PUT /1/cards/AbCd1234",
            r#"{"name":"n"}"#,
            "request: PUT /1/cards/AbCd1234\nroute: may be guarded\nguarded: nothing (goes on as it came)\n",
        );
        check(
            "PUT /1/cards/AbCd1234",
            r#"{"closed":1}"#,
            "request: PUT /1/cards/AbCd1234\nroute: may be guarded\nbody: refuse (ambiguous_request)\nreason: `closed` \
             must be true or false\n",
        );
        check(
            "POST /1/lists/510000000000000000000002/archiveAllCards",
            "",
            "request: POST /1/lists/510000000000000000000002/archiveAllCards\nroute: may be guarded\ndoes: archive all \
             cards of list 510000000000000000000002: judged by whose cards those are, then untouched\n",
        );
    }
}
