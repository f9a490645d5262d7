//! What the gate makes of a request, in words for an operator. Secrets are named, never shown.

use super::super::explain::line;
use super::super::graphql;
use super::super::{Chosen, Credential, GuardedRequest as _, Head, Request as _, Subject, Wants};
use super::call::RestRoute;
use super::credential;
use super::mutations;
use super::parse;
use super::rest::RestWrite;
use super::routes::{RestCall, classify};
use super::settings::RefusalStatus;
use http::HeaderMap;

/// Route, sender, guarded fields and the canonical request, or the refusal.
pub fn explain(head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(&mut text, "request", format_args!("{} {}", head.method, head.target.path()));
    match classify(head) {
        RestCall::Pass => text.push_str("route: pass (streams untouched)\n"),
        RestCall::Read { project, address, .. } => {
            let what = address.map_or_else(|| format!("items of {project}"), |address| address.place.to_string());
            line(&mut text, "route", format_args!("read of {what} (streams untouched, noted)"));
        }
        RestCall::Refuse(error) => {
            line(&mut text, "route", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
        RestCall::Document => of_document(&mut text, head, body),
        RestCall::Beside(form, repo) => {
            line(&mut text, "does", format_args!("{form:?} of {}: judged by its items, then untouched", repo.project));
        }
        RestCall::Item(form, target) => {
            let route = RestRoute { form, target, refusal: RefusalStatus::default() };
            of_item(&mut text, head, body, route);
        }
    }
    text
}

fn of_document(text: &mut String, head: &Head<'_>, body: &[u8]) {
    text.push_str("route: may be guarded (a GraphQL document)\n");
    let fields = graphql::read(head, body).map(|it| it.mutations.into_iter().flat_map(|it| it.fields().to_vec()));
    let fields: Vec<_> = match fields {
        Ok(fields) => fields.collect(),
        Err(error) => return line(text, "reason", error),
    };
    if fields.is_empty() {
        text.push_str("guarded: nothing (a query goes on as it came)\n");
    }
    for field in fields {
        match mutations::effect(&field) {
            Ok(effect) => line(text, &field.key, format_args!("{effect:?}")),
            Err(error) => line(text, &field.key, format_args!("refuse ({}): {error}", error.code().as_str())),
        }
    }
}

fn of_item(text: &mut String, head: &Head<'_>, body: &[u8], route: RestRoute) {
    line(text, "route", format_args!("may be guarded ({:?})", route.form));
    let read = match parse::parse(&route.form, head, body) {
        Ok(read) if read.is_idle() => return text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(read) => read,
        Err(error) => {
            line(text, "body", format_args!("refuse ({})", error.code().as_str()));
            return line(text, "reason", error);
        }
    };
    match credential::read(head) {
        Ok(credential) => line(text, "credential", credential.kinds()),
        Err(error) => line(text, "credential", format_args!("refuse ({}): {error}", error.code().as_str())),
    }
    let write = RestWrite { target: route.target, form: route.form, body: read, refusal: route.refusal };
    let items = match write.subject() {
        Subject::New(project) => format!("a new one in {project}"),
        _ => write.locator().to_string(),
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
        headers.insert("authorization", "token hush".parse().unwrap());
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(target), headers: &headers };
        let text = explain(&head, body.as_bytes());
        assert_eq!(text, expected, "{request}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn says_what_becomes_of_a_request() {
        check(
            "GET /repos/o/r/issues/7",
            "",
            "request: GET /repos/o/r/issues/7\nroute: read of o/r#7 (streams untouched, noted)\n",
        );
        check(
            "POST /repos/o/r/issues/7/assignees",
            r#"{"assignees":["ann"]}"#,
            "request: POST /repos/o/r/issues/7/assignees\nroute: may be guarded (AddAssignees)\ncredential: authorization\n\
             items: o/r#7\nguarded: assignees+=[ann]\nsends: POST /repos/o/r/issues/7/assignees\nbody: {\"assignees\":[\"ann\"]}\n",
        );
        check(
            "POST /graphql",
            r#"{"query":"mutation{closeIssue(input:{issueId:\"I_1\"}){clientMutationId}}"}"#,
            "request: POST /graphql\nroute: may be guarded (a GraphQL document)\ncloseIssue: Edits(\"I_1\", [State(Closed)])\n",
        );
        check(
            "PATCH /repos/o/r/issues/7",
            r#"{"title":"t"}"#,
            "request: PATCH /repos/o/r/issues/7\nroute: may be guarded (EditIssue)\nguarded: nothing (goes on as it came)\n",
        );
        check(
            "PATCH /repos/o/r/issues/7",
            r#"{"state":"done"}"#,
            "request: PATCH /repos/o/r/issues/7\nroute: may be guarded (EditIssue)\nbody: refuse (ambiguous_request)\n\
             reason: `state` must be open or closed\n",
        );
    }
}
