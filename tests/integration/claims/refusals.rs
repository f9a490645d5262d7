//! What a refused client sees, what the audit keeps of it, and the tracker's own refusals.

use std::time::Duration;

use claimgate::fake_forge::{FakeForge, Fault, Matcher};
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup};

#[tokio::test]
async fn a_refusal_says_all_that_an_agent_needs() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let number = e2e::backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    let answer = gate.agent("bob").claim(number).await;
    answer.refused(409, "already_assigned");
    assert_eq!(answer.headers["content-type"], "application/json;charset=utf-8");
    assert!(!answer.headers.contains_key("retry-after"), "it is final");
    let body = answer.json();
    let (message, told) = (body["message"].as_str().unwrap_or_default(), &body["claimgate"]);
    assert!(message.contains("acme/app#1 is held by ann") && message.contains("pick another"), "{message}");
    assert!(body["url"].is_string());
    assert_eq!(told["resource"], format!("{REPO}#{number}"));
    assert_eq!(told["expected"], "nobody assigned");
    assert_eq!(told["observed"], json!({ "assignees": ["ann"], "status": ["backlog"], "state": "open" }));
    assert_eq!(told["holder"], json!({ "account": "ann", "instance": null }));
    assert!(told["since"].as_str().is_some_and(|since| since.ends_with('Z') && since.len() == 27), "{told}");
    assert_eq!(answer.decision(), format!("reject; code=already_assigned; id={}", told["decision"].as_str().unwrap()));
}

#[tokio::test]
async fn the_audit_has_one_line_a_decision_with_every_field() {
    const FIELDS: [&str; 24] = [
        "seq",
        "prev_hash",
        "hash",
        "time",
        "id",
        "kind",
        "decision",
        "code",
        "resource",
        "resource_id",
        "agent",
        "change",
        "expected",
        "observed",
        "result",
        "upstream_status",
        "fence",
        "holding_since",
        "waited_ms",
        "took_ms",
        "method",
        "path",
        "client",
        "request_id",
    ];
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let number = e2e::backlog_issue(&forge).number;
    let won = gate.agent("ann").with("x-request-id", "request-of-ann").claim(number).await;
    let lost = gate.agent("bob").with("x-request-id", "request-of-bob").claim(number).await;
    let lines = e2e::eventually(
        || async {
            let lines = gate.audit();
            (lines.len() >= 2).then_some(lines)
        },
        Duration::from_secs(5),
    );
    let lines = lines.await.expect("both decisions are printed");
    for (line, answer, decision, request) in
        [(&lines[0], &won, "admit", "request-of-ann"), (&lines[1], &lost, "reject", "request-of-bob")]
    {
        for field in FIELDS {
            assert!(line.get(field).is_some(), "{field} is missing in {line}");
        }
        let id = line["id"].as_str().expect("a name");
        assert!(answer.decision().ends_with(&format!("id={id}")), "{line} {answer:?}");
        assert_eq!((&line["decision"], &line["request_id"]), (&json!(decision), &json!(request)));
        assert_eq!(line["resource"], format!("{REPO}#{number}"));
        assert_eq!((&line["method"], &line["path"]), (&json!("PATCH"), &json!(e2e::issue(number))));
        assert!(line["agent"]["credential"].is_string() && line["gate"].is_string(), "{line}");
    }
    assert_eq!(lines[1]["prev_hash"], lines[0]["hash"]);
    assert_eq!((&lines[0]["agent"]["account"], &lines[1]["code"]), (&json!("ann"), &json!("already_assigned")));
}

#[tokio::test]
async fn an_issue_that_is_filed_with_oneself_as_assignee_is_held() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let filed = json!({ "title": "mine", "assignees": ["ann"] });
    let answer = gate.agent("ann").call(Method::POST, &format!("/api/v1/repos/{REPO}/issues"), Some(filed)).await;
    assert_eq!(answer.granted().status, 201);
    let number = answer.json()["number"].as_u64().expect("a number");
    assert_eq!(gate.holder(number).await.as_deref(), Some("ann"));
    let refused = gate.agent("bob").claim(number).await;
    assert_eq!(refused.refused(409, "already_assigned").json()["claimgate"]["holder"]["account"], "ann");
    assert_eq!(forge.issue(REPO, number).assignees, ["ann"]);
}

// === the tracker's own refusals ===

/// A guarded write in each form.
async fn write(agent: &mut Client, form: &str, number: u64) -> Answer {
    let at = e2e::issue(number);
    match form {
        "claim" => agent.claim(number).await,
        "label" => agent.call(Method::POST, &format!("{at}/labels"), Some(json!({ "labels": [3] }))).await,
        "close" => agent.call(Method::PATCH, &at, Some(json!({ "state": "closed" }))).await,
        _ => agent.call(Method::DELETE, &format!("{at}/labels/1"), None).await,
    }
}

#[tokio::test]
async fn what_the_tracker_refuses_goes_back_as_it_came() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    for status in [401, 403, 404, 422] {
        for (form, method) in [("claim", "PATCH"), ("label", "POST"), ("close", "PATCH"), ("unlabel", "DELETE")] {
            let number = e2e::backlog_issue(&forge).number;
            let before = forge.issue(REPO, number);
            forge.script(Fault::ErrorBeforeWrite(status), Matcher::new(method, "/issues/").times(2));
            let direct = write(&mut Client::new(forge.addr(), "ann"), form, number).await;
            let gated = write(&mut gate.agent("ann"), form, number).await;
            assert_eq!(forge.script_remaining(), 0, "both were asked");
            assert_same(&direct, &gated);
            assert_eq!(forge.issue(REPO, number), before);
            assert_eq!(gate.claim(number).await, Value::Null, "{status} {form}");
            gate.agent("bob").claim(number).await.granted();
        }
    }
}

#[tokio::test]
async fn who_may_not_see_or_write_learns_it_from_the_tracker() {
    let forge = e2e::forge(&["ann"]).await;
    forge.add_user("eve", &e2e::token("eve"));
    let gate = e2e::gate(&forge).await;
    let number = e2e::backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    forge.set_private(REPO, true);
    for form in ["claim", "label", "close", "unlabel"] {
        let direct = write(&mut Client::new(forge.addr(), "eve"), form, number).await;
        let gated = write(&mut gate.agent("eve"), form, number).await;
        assert_eq!(direct.status, 404);
        assert_same(&direct, &gated);
        assert!(!gated.text().contains("ann"), "a stranger is not told who works on what");
    }
    let absent = number + 1000;
    assert_same(&Client::new(forge.addr(), "ann").claim(absent).await, &gate.agent("ann").claim(absent).await);
    assert_eq!(gate.holder(number).await.as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_claim_that_the_tracker_ignores_is_not_told_as_won() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let number = e2e::backlog_issue(&forge).number;
    forge.script(Fault::Ignore, Matcher::new("PATCH", "/issues/"));
    let answer = gate.agent("ann").claim(number).await;
    assert!(answer.status >= 400, "{answer:?}");
    assert_eq!(gate.claim(number).await, Value::Null);
    gate.agent("bob").claim(number).await.granted();
}

/// Status, type and body; and the gate's mark on its own.
#[track_caller]
fn assert_same(direct: &Answer, gated: &Answer) {
    assert_eq!((direct.status, direct.text()), (gated.status, gated.text()));
    assert_eq!(direct.headers.get("content-type"), gated.headers.get("content-type"));
    assert!(!gated.decision().is_empty());
}

// === the ledger cannot be written ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_ledger_guarded_writes_wait_and_all_else_flows() {
    let forge = e2e::forge(&["ann"]).await;
    // Files may not grow beyond half a MiB, and the kernel's signal about it is ignored: writes fail.
    let setup = Setup::before(&forge.base_url()).shell("trap '' XFSZ; ulimit -f 1000");
    let gate = setup.start().await;
    let mut ann = gate.agent("ann");
    let (won, full) = claim_until_full(&forge, &mut ann).await;
    assert!(!won.is_empty(), "some were recorded");
    // From now on none may grow at all: what moves from the log to the file makes no room again.
    let none = rustix::process::Rlimit { current: Some(1), maximum: Some(1) };
    rustix::process::prlimit(Some(gate.pid()), rustix::process::Resource::Fsize, none).expect("it can be limited");
    let refused = ann.claim(full).await;
    refused.refused(503, "ledger_unavailable");
    assert!(refused.headers.contains_key("retry-after"));
    assert!(forge.issue(REPO, full).assignees.is_empty(), "nothing was sent");
    assert_all_else_flows(&forge, &gate, &mut ann, full).await;
    gate.kill().await;
    assert_kept(&forge, &setup, &won).await;
}

/// Claims until the ledger is full: what was won, and an issue that was refused with nothing sent.
async fn claim_until_full(forge: &FakeForge, ann: &mut Client) -> (Vec<u64>, u64) {
    let mut won = Vec::new();
    for _ in 0..500 {
        let number = e2e::backlog_issue(forge).number;
        let answer = ann.claim(number).await;
        match answer.status {
            201 => won.push(number),
            503 => return (won, number),
            _ => assert_eq!(answer.status, 504, "{answer:?}"),
        }
    }
    panic!("the ledger never became full");
}

async fn assert_all_else_flows(forge: &FakeForge, gate: &Gate, ann: &mut Client, number: u64) {
    assert_eq!(ann.get(&e2e::issue(number)).await.status, 200);
    let comment = json!({ "body": "still here" });
    let commented = ann.call(Method::POST, &format!("{}/comments", e2e::issue(number)), Some(comment)).await;
    assert_eq!(commented.status, 201);
    let text = ann.call(Method::PATCH, &e2e::issue(number), Some(json!({ "body": "new" }))).await;
    assert_eq!(text.status, 201);
    assert_eq!(forge.issue(REPO, number).body, "new");
    assert_eq!(gate.operator().get("/healthz").await.status, 200);
}

/// What was told as won is held by the next process too.
async fn assert_kept(forge: &FakeForge, full: &Setup, won: &[u64]) {
    let gate = full.again(&forge.base_url()).start().await;
    for number in won {
        assert_eq!(gate.holder(*number).await.as_deref(), Some("ann"), "{number}");
        assert_eq!(forge.issue(REPO, *number).assignees, ["ann"]);
    }
}

also_as_forgejo_17! {
    a_refusal_says_all_that_an_agent_needs,
    the_audit_has_one_line_a_decision_with_every_field,
    an_issue_that_is_filed_with_oneself_as_assignee_is_held,
    what_the_tracker_refuses_goes_back_as_it_came,
    who_may_not_see_or_write_learns_it_from_the_tracker,
    a_claim_that_the_tracker_ignores_is_not_told_as_won,
}
