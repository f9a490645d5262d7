//! What the gate makes of a request, in words for an operator. Secrets are named, never shown.

use super::super::explain::line;
use super::super::{Chosen, Credential, GuardedRequest as _, Head, Request as _, Subject, Wants};
use super::call::{JiraCall, JiraMeaning};
use super::credential;
use super::deployment::LearntFacts;
use super::routes::{JiraRoute, classify};
use super::write::JiraWrite;
use http::HeaderMap;
use std::sync::Arc;

/// Route, sender, guarded fields and the canonical request, or the refusal.
pub fn explain(head: &Head<'_>, body: &[u8], facts: &Arc<LearntFacts>) -> String {
    let mut text = String::new();
    line(&mut text, "request", format_args!("{} {}", head.method, head.target.path()));
    let site = match classify(head) {
        JiraRoute::Pass => return text + "route: pass (streams untouched)\n",
        JiraRoute::Read(path) | JiraRoute::ReadBeside(path) => {
            line(&mut text, "route", format_args!("read of {} (streams untouched, noted)", path.issue));
            return text;
        }
        JiraRoute::Refuse(error) => {
            line(&mut text, "route", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
            return text;
        }
        JiraRoute::Guarded(site) => site,
    };
    line(&mut text, "route", "may be guarded");
    match (JiraCall { site, facts: Arc::clone(facts) }).meaning(head, body, false) {
        Ok(JiraMeaning::Free) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(JiraMeaning::Write(write)) => guarded(&mut text, head, &write),
        Ok(JiraMeaning::EndProject(project)) => {
            line(&mut text, "does", format_args!("end project {project}: judged by its issues, then untouched"));
        }
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

fn guarded(text: &mut String, head: &Head<'_>, write: &JiraWrite) {
    match credential::read(head) {
        Ok(credential) => line(text, "credential", credential.kinds()),
        Err(error) => line(text, "credential", format_args!("refuse ({}): {error}", error.code().as_str())),
    }
    match write.subject() {
        Subject::At(address) => line(text, "items", address.locator()),
        Subject::New(project) => line(text, "items", format_args!("a new one in {project}")),
        Subject::Places(_) | Subject::Keys(_) => {}
    }
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
        headers.insert("authorization", "Bearer hush".parse().unwrap());
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(target), headers: &headers };
        let text = explain(&head, body.as_bytes(), &Arc::default());
        assert_eq!(text, expected, "{request}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn says_what_becomes_of_a_request() {
        check(
            "GET /rest/api/3/issue/PROJ-7",
            "",
            "request: GET /rest/api/3/issue/PROJ-7\nroute: read of PROJ-7 (streams untouched, noted)\n",
        );
        check(
            "POST /rest/api/2/issue/PROJ-7/comment",
            "x",
            "request: POST /rest/api/2/issue/PROJ-7/comment\nroute: pass (streams untouched)\n",
        );
        check(
            "POST /rest/api/3/issue/proj-7/transitions",
            r#"{"transition":{"id":"31","name":"Go"},"fields":{"assignee":{"accountId":"5b1"},"resolution":{"name":"Done"}}}"#,
            "request: POST /rest/api/3/issue/proj-7/transitions\nroute: may be guarded\ncredential: authorization\nitems: PROJ-7\n\
             guarded: transition 31 assignees=[5b1]\nsends: POST /rest/api/3/issue/PROJ-7/transitions\n\
             body: {\"transition\":{\"id\":\"31\"},\"fields\":{\"resolution\":{\"name\":\"Done\"}}}\n",
        );
        check(
            "PUT /rest/api/2/issue/PROJ-7/assignee?os_username=a&notifyUsers=false&os_password=hush",
            r#"{"name":"ann"}"#,
            "request: PUT /rest/api/2/issue/PROJ-7/assignee\nroute: may be guarded\n\
             credential: refuse (ambiguous_request): the request has two credentials, a header and parameters: send the header \
             Authorization\nitems: PROJ-7\nguarded: assignees=[ann]\n\
             sends: PUT /rest/api/2/issue/PROJ-7/assignee?notifyUsers=false\nbody: {\"name\":\"ann\"}\n",
        );
        check(
            "PUT /rest/api/2/issue/PROJ-7",
            r#"{"fields":{"summary":"s"}}"#,
            "request: PUT /rest/api/2/issue/PROJ-7\nroute: may be guarded\nguarded: nothing (goes on as it came)\n",
        );
        check(
            "PUT /rest/api/2/issue/PROJ-7",
            r#"{"fields":{"assignee":"ann"}}"#,
            "request: PUT /rest/api/2/issue/PROJ-7\nroute: may be guarded\nbody: refuse (ambiguous_request)\nreason: the assignee \
             must be null, or an object that names one account: {\"accountId\": \"…\"} in Jira Cloud, {\"name\": \"…\"} in Server \
             and Data Center\n",
        );
    }
}
