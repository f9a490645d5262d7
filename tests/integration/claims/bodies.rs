//! Bodies that every version of the forge reads in one way, and calls that touch nothing guarded: they mean at the gate
//! what they mean at the forge.

use claimgate::fake_forge::{FakeForge, Options};
use http::Method;
use serde_json::json;

use crate::e2e::{self, Gate, REPO, backlog_issue, issue};

const FORM: &str = "application/x-www-form-urlencoded";

async fn begin() -> (FakeForge, Gate) {
    let forge = e2e::forge_with(Options::forgejo_15(), &["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    (forge, gate)
}

fn multipart(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}--b--\r\n", fields.iter().map(part).collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_whatever_every_version_reads() {
    let (forge, gate) = begin().await;
    let json = json!({"assignees": ["ann"]}).to_string();
    let parts = multipart(&[("title", "t"), ("assignees", "ann")]);
    for (headers, body) in [
        (vec![("content-type", "application/json;charset=utf8")], json.as_str()),
        (vec![("content-type", "application/json; charset=\"UTF-8\"")], &json),
        (vec![("content-type", "application/json;")], &json),
        (vec![("content-type", "application/vnd.api+json")], &json),
        (vec![("content-type", "application/merge-patch+json; charset=utf-8")], &json),
        (vec![("content-type", "application/json"), ("content-encoding", "identity")], &json),
        (vec![("content-type", "application/json"), ("content-encoding", "")], &json),
        (vec![("content-type", "application/json"), ("content-type", "application/json")], &json),
        (vec![("content-type", "application/x-www-form-urlencoded;")], "assignees=ann"),
        (vec![("content-type", "multipart/form-data; boundary=b")], &parts),
    ] {
        let number = backlog_issue(&forge).number;
        let body = || body.to_owned().into();
        let won = gate.agent("ann").send(Method::PATCH, &issue(number), &headers, body()).await;
        assert_eq!(
            (won.granted().status, forge.issue(REPO, number).assignees),
            (201, vec!["ann".to_owned()]),
            "{headers:?}"
        );
        // The holder's by the same reading: another's is refused.
        let theirs = String::from_utf8_lossy(&body()).replace("ann", "bob");
        let lost = gate.agent("bob").send(Method::PATCH, &issue(number), &headers, theirs.into()).await;
        lost.refused(409, "already_assigned");
    }
    // What versions read in two ways is refused, and told how to be sent.
    let number = backlog_issue(&forge).number;
    for kind in ["application/json; x=form-urlencoded", "text/plain", "multipart/form-data; boundary=c"] {
        let body = json.clone().into();
        let lost = gate.agent("ann").send(Method::PATCH, &issue(number), &[("content-type", kind)], body).await;
        assert!(lost.refused(415, "unsupported_encoding").text().contains("application/json"), "{kind}");
    }
    assert!(forge.requests_about(REPO, number).iter().all(|logged| logged.method == Method::GET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_touches_nothing_guarded_goes_on_as_it_came() {
    let (forge, gate) = begin().await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    let patch = issue(number);
    let create = format!("/api/v1/repos/{REPO}/issues");
    let parts = multipart(&[("title", "the state of a label"), ("unknown", "1")]);
    for (method, path, kind, body) in [
        ("PATCH", patch.clone(), "application/json", ""),
        ("PATCH", patch.clone(), "application/json", "null"),
        ("PATCH", patch.clone(), "application/json", r#"{"title":"half \ud83d","body":"\ude00 of it"}"#),
        ("PATCH", patch.clone(), "application/vnd.api+json", r#"{"title":"x"}"#),
        ("PATCH", format!("{patch}?x=y"), "application/json", r#"{"title":"x"}"#),
        ("PATCH", patch.clone(), FORM, "title=x&body=the+state&due_date=&unknown=1"),
        ("PATCH", patch.clone(), FORM, "title=half;a=1"),
        ("PATCH", patch.clone(), "multipart/form-data; boundary=b", &parts),
        ("PATCH", patch.clone(), "text/plain", r#"{"title":"x"}"#),
        ("POST", create.clone(), "application/json", r#"{"title":"x","assignees":[""]}"#),
        ("POST", create.clone(), "application/json", r#"{"title":"x","assignee":"","assignees":[null]}"#),
        ("POST", format!("{create}?x=y&draft=1"), "application/json", r#"{"title":"\ud83d","labels":[1]}"#),
        ("POST", create.clone(), FORM, "title=x&unknown=1&title=y"),
        ("POST", format!("{patch}/labels"), "application/json", ""),
        ("POST", format!("/{REPO}/pulls/{number}/commits/0123abc/notes"), FORM, "notes=the+state"),
        ("POST", format!("/{REPO}/pulls/{number}/commits/0123abc/notes/remove"), FORM, ""),
        ("POST", format!("/{REPO}/issues/{number}/a-new-button"), FORM, "content=x"),
    ] {
        let headers = [("content-type", kind)];
        let method: Method = method.parse().expect("a method");
        let answer = gate.agent("bob").send(method.clone(), &path, &headers, body.to_owned().into()).await;
        assert!(!answer.headers.contains_key("claimgate-decision"), "{method} {path} {kind} {body}: {answer:?}");
        let arrived = forge.requests().pop().expect("a request");
        let told =
            (arrived.method.as_str(), arrived.target.as_str(), arrived.header("content-type"), &arrived.body[..]);
        assert_eq!(told, (method.as_str(), path.as_str(), Some(kind), body.as_bytes()));
    }
    assert_eq!(
        (forge.issue(REPO, number).assignees, gate.holder(number).await),
        (vec!["ann".to_owned()], Some("ann".to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_labels_are_set_at_once() {
    let (forge, gate) = begin().await;
    let number = backlog_issue(&forge).number;
    for at in 0..150 {
        forge.add_label(REPO, &format!("topic-{at}"));
    }
    let names: Vec<String> = (0..150).map(|at| format!("topic-{at}")).collect();
    let labels = format!("{}/labels", issue(number));
    let mut bob = gate.agent("bob");
    bob.call(Method::PUT, &labels, Some(json!({"labels": names}))).await.granted();
    assert_eq!(forge.issue(REPO, number).labels.len(), 150);
    // An empty body is an empty list here: all of them go, as at the forge.
    bob.call(Method::PUT, &labels, None).await.granted();
    assert_eq!(forge.issue(REPO, number).labels.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_button_of_the_web_passes_and_is_counted() {
    let (forge, gate) = begin().await;
    let number = backlog_issue(&forge).number;
    let button = format!("/{REPO}/issues/{number}/a-new-button");
    let mut person = gate.agent("bob");
    for _ in 0..2 {
        person.send(Method::POST, &button, &[("content-type", FORM)], "content=x".into()).await;
    }
    let metrics = gate.operator().get("/metrics").await.text();
    assert!(metrics.contains("claimgate_unknown_web_calls_total 2"), "{metrics}");
    let before = forge.requests().len();
    for (path, body) in [
        (button.clone(), "content=x&issue_ids=1&action=close"),
        (button.clone(), "status=close"),
        (format!("{button}?assignee_ids=2"), ""),
        (format!("/{REPO}/issues/{number}/new-state"), ""),
        (format!("/{REPO}/issues/new-bulk-call"), ""),
        (format!("/api/v1/repos/{REPO}/issues/{number}/a-new-call"), ""),
    ] {
        let answer = person.send(Method::POST, &path, &[("content-type", FORM)], body.into()).await;
        answer.refused(400, "ambiguous_request");
    }
    assert_eq!(forge.requests().len(), before);
}
