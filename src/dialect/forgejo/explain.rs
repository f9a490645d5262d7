//! What the gate makes of a request, in words for an operator. Secrets are named, never shown.

use super::super::explain::line;
use super::super::{Head, Request as _, Subject};
use super::api_write::ApiWrite;
use super::call::Call;
use super::routes::classify;
use super::side_route::SideRoute;
use super::web_form::FormRoute;
use super::{credential, emit, parse, side_effects, web};
use crate::model::{Account, Change, SetChange, TagRef};
use std::fmt::Display;

/// Route, sender, guarded fields and the canonical request, or the refusal.
pub fn explain(head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(&mut text, "request", format_args!("{} {}", head.method, head.target.path()));
    let write = match classify(head) {
        Call::Pass => return text + "route: pass (streams untouched)\n",
        Call::Read { project, address, .. } => {
            let what = address.map_or(project.to_string(), |address| address.locator().to_string());
            line(&mut text, "route", format_args!("read of {what} (streams untouched, noted)"));
            return text;
        }
        Call::Refuse(error) => {
            line(&mut text, "route", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
            return text;
        }
        Call::Form(route) => return text + &form(&route, head, body),
        Call::Once(Ok(write)) => {
            let (form, place) = (write.form, write.scope.locator());
            let project = place.project_name();
            let what =
                format_args!("once ({form:?}) in {project}: judged where a [[once]] rule is about it, else untouched");
            line(&mut text, "route", what);
            return text;
        }
        Call::Once(Err(error)) => {
            line(&mut text, "route", format_args!("once ({}), else untouched: {error}", error.code().as_str()));
            return text;
        }
        Call::SideEffect(route) => return text + &side_effect(&route, head, body),
        Call::Write(write) => write,
    };
    let subject = match write.scope.subject() {
        Subject::New(project) => format!("a new item in {project}"),
        Subject::At(_) | Subject::Places(_) | Subject::Keys(_) => write.scope.locator().to_string(),
    };
    line(&mut text, "route", format_args!("write ({:?}) on {subject}", write.form));
    match credential::read(head, body) {
        Ok(credential) => line(&mut text, "credential", credential.kinds()),
        Err(error) => line(&mut text, "credential", format_args!("refuse ({}): {error}", error.code().as_str())),
    }
    match parse::parse(&write, head, body) {
        Ok(None) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(Some(intent)) => guarded(&mut text, &intent),
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

fn side_effect(route: &SideRoute, head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(
        &mut text,
        "route",
        format_args!("beside ({:?}): judged by the items that it changes, then untouched", route.form),
    );
    match side_effects::parse(route, head, body) {
        Ok(None) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(Some(write)) => line(&mut text, "does", write.effect),
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

fn form(route: &FormRoute, head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(&mut text, "route", format_args!("form of the web interface ({:?}) in {}", route.form.act, route.project));
    match web::parse(route, head, body) {
        Ok(None) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(Some(write)) => {
            let items = match &write.subject {
                Subject::Keys(keys) => format!("{} by id", keys.len()),
                Subject::Places(places) => format!("{} by place", places.len()),
                Subject::At(address) => address.locator().to_string(),
                Subject::New(_) => "a new one".to_owned(),
            };
            line(&mut text, "credential", write.sender.credential.kinds());
            line(&mut text, "items", items);
            line(&mut text, "guarded", write.describe());
        }
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

fn guarded(text: &mut String, intent: &ApiWrite) {
    fields(text, &intent.change);
    line(text, "sends", format_args!("{} {}", emit::method(intent.form), emit::path(intent)));
    line(text, "body", emit::body(intent).unwrap_or_else(|| "none".to_owned()));
}

fn fields(text: &mut String, change: &Change) {
    if let Some(change) = &change.assignees {
        line(text, "guarded", format_args!("assignees {}", set(change, Account::as_str)));
    }
    if let Some(change) = &change.labels {
        let name = |label: &TagRef| match label {
            TagRef::Id(id) => format!("id {id}"),
            TagRef::Name(name) => name.clone(),
        };
        line(text, "guarded", format_args!("labels {}", set(change, name)));
    }
    if let Some(state) = change.state {
        line(text, "guarded", format_args!("state {}", state.as_str()));
    }
}

fn set<'a, T: Ord, S: Display>(change: &'a SetChange<T>, show: impl Fn(&'a T) -> S) -> String {
    let (verb, set) = match change {
        SetChange::Replace(set) => ("become", set),
        SetChange::Add(set) => ("gain", set),
        SetChange::Remove(set) => ("lose", set),
    };
    let names: Vec<String> = set.iter().map(|member| show(member).to_string()).collect();
    format!("{verb} [{}]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::HeaderMap;

    fn check(request: &str, body: &str, expected: &str) {
        let (method, target) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("authorization", "token hush".parse().unwrap());
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(target), headers: &headers };
        let text = explain(&head, body.as_bytes());
        assert_eq!(text, expected, "{request}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn says_what_becomes_of_a_request() {
        check(
            "POST /o/r.git/git-receive-pack",
            "",
            "request: POST /o/r.git/git-receive-pack\nroute: pass (streams untouched)\n",
        );
        check(
            "GET /api/v1/repos/o/r/issues/7",
            "",
            "request: GET /api/v1/repos/o/r/issues/7\nroute: read of o/r#7 (streams untouched, noted)\n",
        );
        check(
            "PATCH /api/v1/repos/o/r/issues/7?token=hush",
            r#"{"title":"t","assignees":["bob"],"state":"closed"}"#,
            "request: PATCH /api/v1/repos/o/r/issues/7\nroute: write (EditIssue) on o/r#7\ncredential: authorization\n\
             guarded: assignees become [bob]\nguarded: state closed\nsends: PATCH /api/v1/repos/o/r/issues/7\n\
             body: {\"title\":\"t\",\"assignees\":[\"bob\"],\"state\":\"closed\"}\n",
        );
        check(
            "DELETE /api/v1/repos/o/r/issues/7/labels/3",
            "",
            "request: DELETE /api/v1/repos/o/r/issues/7/labels/3\nroute: write (RemoveLabel) on o/r#7\n\
             credential: authorization\nguarded: labels lose [id 3]\nsends: DELETE /api/v1/repos/o/r/issues/7/labels/3\n\
             body: none\n",
        );
        check(
            "POST /api/v1/repos/o/r/issues",
            r#"{"title":"t"}"#,
            "request: POST /api/v1/repos/o/r/issues\nroute: write (CreateIssue) on a new item in o/r\n\
             credential: authorization\nguarded: nothing (goes on as it came)\n",
        );
        check(
            "PATCH /api/v1/repos/o/r/issues/7",
            r#"{"state":"CLOSED"}"#,
            "request: PATCH /api/v1/repos/o/r/issues/7\nroute: write (EditIssue) on o/r#7\ncredential: authorization\n\
             body: refuse (ambiguous_request)\nreason: `state` must be exactly \"open\" or \"closed\"\n",
        );
        check(
            "PATCH /api/v1/repos/o/r/issues/07",
            "",
            "request: PATCH /api/v1/repos/o/r/issues/07\nroute: refuse (ambiguous_request)\nreason: the path can be read \
             in two ways: its number is not written plainly, as in /issues/7; send it in its plain form\n",
        );
    }
}
