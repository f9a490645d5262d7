//! What the gate makes of a request, in words for an operator. Secrets are named, never shown.

use super::super::explain::line;
use super::super::{Chosen, Credential, GuardedRequest as _, Head, Request as _, Subject, Wants};
use super::call::{CallMeaning, IssueCall};
use super::routes::{RouteMatch, classify};
use super::write::IssueWrite;
use super::{address, credential};
use http::HeaderMap;

/// Route, sender, guarded fields and the canonical request, or the refusal.
pub fn explain(head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(&mut text, "request", format_args!("{} {}", head.method, head.target.path()));
    let (place, suffix) = match classify(head) {
        RouteMatch::Pass => return text + "route: pass (streams untouched)\n",
        RouteMatch::Read { issue, .. } => {
            line(&mut text, "route", format_args!("read of {} (streams untouched, noted)", address(issue).locator()));
            return text;
        }
        RouteMatch::Refuse(error) => {
            line(&mut text, "route", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
            return text;
        }
        RouteMatch::Guarded(place, suffix) => (place, suffix),
    };
    line(&mut text, "route", format_args!("may be guarded ({place:?})"));
    match (IssueCall { place, suffix }).meaning(head, body, false) {
        Ok(CallMeaning::Free) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(CallMeaning::Write(write)) => guarded(&mut text, head, body, &write),
        Ok(CallMeaning::DeleteProject(project, _)) => {
            line(&mut text, "does", format_args!("delete project {project}: judged by its issues, then untouched"));
        }
        Ok(CallMeaning::Files(project, _)) => line(&mut text, "does", format_args!("create in {project}")),
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

fn guarded(text: &mut String, head: &Head<'_>, body: &[u8], write: &IssueWrite) {
    match (write.sender(), credential::read(head, body)) {
        (Some(sender), _) => line(text, "credential", sender.credential.kinds()),
        (None, Ok(credential)) => line(text, "credential", credential.kinds()),
        (None, Err(error)) => line(text, "credential", format_args!("refuse ({}): {error}", error.code().as_str())),
    }
    let items = match write.subject() {
        Subject::At(address) => address.locator().to_string(),
        Subject::Places(places) => places.iter().map(|at| at.locator().to_string()).collect::<Vec<_>>().join(", "),
        Subject::Keys(keys) => keys.iter().map(|key| format!("#{key}")).collect::<Vec<_>>().join(", "),
        Subject::New(project) => format!("a new one in {project}"),
    };
    line(text, "items", items);
    line(text, "guarded", write.describe());
    let chosen = match write.wants() {
        Wants::Change(change) => vec![Chosen::unread(None, change)],
        Wants::Toggle | Wants::Beside { .. } => Vec::new(),
    };
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
        headers.insert("x-redmine-api-key", "hush".parse().unwrap());
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(target), headers: &headers };
        let text = explain(&head, body.as_bytes());
        assert_eq!(text, expected, "{request}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn says_what_becomes_of_a_request() {
        check("GET /issues/7.json", "", "request: GET /issues/7.json\nroute: read of #7 (streams untouched, noted)\n");
        check("POST /uploads.json", "x", "request: POST /uploads.json\nroute: pass (streams untouched)\n");
        check(
            "PUT /issues/7abc.json",
            r#"{"issue":{"assigned_to_id":5,"status_id":2,"notes":"hi"},"key":"hush"}"#,
            "request: PUT /issues/7abc.json\nroute: may be guarded (Issue(7))\ncredential: x-redmine-api-key\nitems: #7\n\
             guarded: assignees=[5] labels+=[#2]\nsends: PUT /issues/7.json\n\
             body: {\"issue\":{\"notes\":\"hi\",\"assigned_to_id\":5,\"status_id\":2}}\n",
        );
        check(
            "PUT /issues/7.json",
            r#"{"issue":{"assigned_to_id":"me"}}"#,
            "request: PUT /issues/7.json\nroute: may be guarded (Issue(7))\ncredential: x-redmine-api-key\nitems: #7\n\
             guarded: assignees=[me]\nsends: PUT /issues/7.json\nbody: {\"issue\":{\"assigned_to_id\":\"me\"}}\n",
        );
        check(
            "PUT /issues/7.json",
            r#"{"issue":{"subject":"s"}}"#,
            "request: PUT /issues/7.json\nroute: may be guarded (Issue(7))\nguarded: nothing (goes on as it came)\n",
        );
        check(
            "PUT /issues/7.json",
            r#"{"issue":{"status_id":"2abc"}}"#,
            "request: PUT /issues/7.json\nroute: may be guarded (Issue(7))\nbody: refuse (ambiguous_request)\nreason: \
             `status_id` is `2abc`, and must be the number of a status\n",
        );
    }
}
