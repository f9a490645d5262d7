//! Labels whose names look like other labels' numbers: story points, or what a writer made on purpose.
//!
//! From Forgejo 13 on the last part of `DELETE …/labels/{x}` is a name first. What the gate removes by itself is removed on
//! every version, and a client's own removal means what it means at its forge or is refused in words.

use claimgate::fake_forge::{FakeForge, Fault, Matcher};
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Client, LABELS, REPO, Setup};

const NEXT: &str = "/_claimgate/v1/claims/next";

fn id(label: &str) -> usize {
    LABELS.iter().position(|name| *name == label).expect("a known label") + 1
}

fn label(number: u64, last: &str) -> String {
    format!("{}/labels/{last}", e2e::issue(number))
}

/// Labels that are called as `backlog` and `in-progress` are numbered; of the repository, and of its owner.
async fn shadowed(logins: &[&str]) -> FakeForge {
    let forge = e2e::forge(logins).await;
    forge.add_label(REPO, &id("backlog").to_string());
    forge.add_owner_label("acme", &id("in-progress").to_string());
    forge
}

async fn next(agent: &mut Client, set: &[&str]) -> e2e::Answer {
    let wish = json!({ "repository": REPO, "set_labels": set, "remove_labels": ["backlog"] });
    agent.call(Method::POST, NEXT, Some(wish)).await
}

fn shown(forge: &FakeForge, number: u64) -> (Vec<String>, Vec<String>) {
    let issue = forge.issue(REPO, number);
    (issue.assignees, issue.labels)
}

fn of(assignees: &[&str], labels: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    (owned(assignees), owned(labels))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_removes_the_label_and_not_its_namesake() {
    // The first reads which labels there are, the second finds out by what the forge does.
    for set in [&["in-progress"][..], &[]] {
        let forge = shadowed(&["ann"]).await;
        // It carries the namesakes, too: they stay.
        let plain = e2e::backlog_issue(&forge).number;
        let carrying = forge.add_issue(REPO, "work", &["backlog", "1", "3"], &[]).number;
        let gate = e2e::gate(&forge).await;
        let mut ann = gate.agent("ann");
        for number in [plain, carrying] {
            let claimed = next(&mut ann, set).await;
            assert_eq!(claimed.granted().json()["item"]["number"], number, "{claimed:?}");
        }
        assert_eq!(shown(&forge, plain), of(&["ann"], set));
        assert_eq!(shown(&forge, carrying), of(&["ann"], &[&["1", "3"], set].concat()));
        let back = format!("/_claimgate/v1/claims/{REPO}/{plain}?set_labels=backlog&remove_labels=in-progress");
        assert_eq!(ann.send(Method::DELETE, &back, &[], "".into()).await.granted().status, 204);
        assert_eq!(shown(&forge, plain), of(&[], &["backlog"]));
        e2e::stop_and_verify(gate, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_claim_set_is_undone_though_its_number_is_a_name() {
    let forge = shadowed(&["ann", "bob"]).await;
    let number = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    // Neither way of removing `backlog` goes through.
    forge.script(Fault::ErrorBeforeWrite(403), Matcher::new("DELETE", "/labels/1"));
    forge.script(Fault::ErrorBeforeWrite(403), Matcher::new("PUT", "/labels"));
    let failed = next(&mut gate.agent("ann"), &["in-progress"]).await;
    assert_eq!((failed.status, failed.code().as_str()), (403, "not_applied"), "{failed:?}");
    assert!(failed.text().contains("what had been done was undone"), "{failed:?}");
    assert_eq!(shown(&forge, number), of(&[], &["backlog"]));
    assert_eq!(gate.holder(number).await, None);
    forge.clear_script();
    next(&mut gate.agent("bob"), &["in-progress"]).await.granted();
    assert_eq!(shown(&forge, number), of(&["bob"], &["in-progress"]));
    e2e::stop_and_verify(gate, 3).await;
}

/// A label that stays must not leave the item with somebody who was told that it does not hold it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_cannot_be_taken_back_does_not_keep_the_item() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let number = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    forge.script(Fault::ErrorBeforeWrite(403), Matcher::new("DELETE", "/labels/").times(3));
    let failed = next(&mut gate.agent("ann"), &["in-progress"]).await;
    assert_eq!((failed.status, failed.code().as_str()), (403, "partial"), "{failed:?}");
    let text = failed.json()["message"].as_str().unwrap_or_default().to_owned();
    for told in ["assignees: none", "labels: backlog, in-progress", "nobody holds it, and it can be claimed"] {
        assert!(text.contains(told), "{text}");
    }
    assert_eq!(shown(&forge, number), of(&[], &["backlog", "in-progress"]));
    assert_eq!(gate.holder(number).await, None);
    forge.clear_script();
    gate.agent("bob").claim(number).await.granted();
    e2e::stop_and_verify(gate, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_of_a_claim_that_is_over_are_put_back() {
    let forge = shadowed(&["ann", "bob"]).await;
    let number = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    next(&mut gate.agent("ann"), &["in-progress"]).await.granted();
    forge.outside_assign("acme", REPO, number, &[]);
    gate.agent("bob").claim(number).await.granted();
    assert_eq!(shown(&forge, number), of(&["bob"], &["backlog"]));
    e2e::stop_and_verify(gate, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_release_puts_them_back_too() {
    let forge = shadowed(&["ann"]).await;
    let number = e2e::backlog_issue(&forge).number;
    let setup = Setup::before(&forge.base_url());
    let token = setup.dir().join("token");
    e2e::write_private(&token, &e2e::token("acme"));
    let gate = setup.config(&format!("[upstream]\nservice_token_file = {token:?}")).start().await;
    next(&mut gate.agent("ann"), &["in-progress"]).await.granted();
    let wish = json!({ "item": format!("{REPO}#{number}"), "restore": true });
    let released = gate.operator().call(Method::POST, "/release", Some(wish)).await;
    assert_eq!(released.status, 200, "{released:?}");
    assert_eq!(shown(&forge, number), of(&[], &["backlog"]));
    e2e::stop_and_verify(gate, 4).await;
}

/// What a client removes by a number means what it means at its forge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_not_told_that_its_removal_was_not_applied() {
    let forge = shadowed(&["ann"]).await;
    let names_first = forge_takes_names_first();
    let gate = e2e::gate(&forge).await;
    let mut ann = gate.agent("ann");
    // Both are there: which goes is the forge's to say, and either is what was asked for.
    let both = forge.add_issue(REPO, "work", &["backlog", "1"], &[]).number;
    assert_eq!(ann.call(Method::DELETE, &label(both, "1"), None).await.granted().status, 204);
    assert_eq!(shown(&forge, both).1, [if names_first { "backlog" } else { "1" }]);
    // The namesake alone is there.
    let namesake = forge.add_issue(REPO, "work", &["1"], &[]).number;
    assert_eq!(ann.call(Method::DELETE, &label(namesake, "1"), None).await.granted().status, 204);
    assert_eq!(shown(&forge, namesake).1, if names_first { vec![] } else { vec!["1"] });
    // The label alone is there, and the forge takes its number for the namesake.
    let number = e2e::backlog_issue(&forge).number;
    let answer = ann.call(Method::DELETE, &label(number, "1"), None).await;
    if names_first {
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.json()["claimgate"]["code"], "ambiguous_request");
        assert!(answer.text().contains("remove `backlog` by its name"), "{answer:?}");
        assert_eq!(ann.call(Method::DELETE, &label(number, "backlog"), None).await.granted().status, 204);
    } else {
        assert_eq!(answer.granted().status, 204);
    }
    assert_eq!(shown(&forge, number).1, [""; 0]);
    e2e::stop_and_verify(gate, 3).await;
}

/// Names of labels in a path are escaped as they must be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_with_odd_names_are_removed() {
    let odd = ["status/doing", "50 %", "größe", "a?b#c", "2"];
    let forge = e2e::forge(&["ann"]).await;
    for name in odd {
        forge.add_label(REPO, name);
    }
    let number = forge.add_issue(REPO, "work", &[&odd[..], &["backlog"]].concat(), &[]).number;
    let gate = e2e::gate(&forge).await;
    let mut ann = gate.agent("ann");
    let wish = json!({ "item": format!("{REPO}#{number}"), "remove_labels": odd });
    let taken = ann.call(Method::POST, "/_claimgate/v1/claims", Some(wish)).await;
    assert_eq!(taken.granted().status, 201);
    assert_eq!(shown(&forge, number), of(&["ann"], &["backlog"]));
    if forge_takes_names_first() {
        forge.outside_labels("acme", REPO, number, &["50 %", "größe", "2"]);
        for escaped in ["50%20%25", "gr%C3%B6%C3%9Fe", "2"] {
            assert_eq!(
                ann.call(Method::DELETE, &label(number, escaped), None).await.granted().status,
                204,
                "{escaped}"
            );
        }
        assert_eq!(shown(&forge, number).1, [""; 0]);
    }
    e2e::stop_and_verify(gate, 6).await;
}

/// A success that the gate builds itself is what the route shows: a pull request is one, under its own number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_of_the_gates_own_has_the_shape_of_its_route() {
    let forge = e2e::forge(&["ann"]).await;
    e2e::backlog_issue(&forge);
    let number = forge.add_pull(REPO, "the work", "topic", "main").number;
    let gate = e2e::gate(&forge).await;
    let mut ann = gate.agent("ann");
    let path = format!("/api/v1/repos/{REPO}/pulls/{number}");
    let own = json!({ "assignees": ["ann"] });
    let sent = ann.call(Method::PATCH, &path, Some(own.clone())).await;
    assert!(sent.granted().decision().starts_with("admit"), "{sent:?}");
    let noop = ann.call(Method::PATCH, &path, Some(own)).await;
    assert!(noop.decision().starts_with("noop"), "{noop:?}");
    let closed = json!({ "state": "closed" });
    forge.script(Fault::ErrorAfterWrite(500), Matcher::new("PATCH", "/pulls/"));
    let written = ann.call(Method::PATCH, &path, Some(closed.clone())).await;
    let repeated = ann.call(Method::PATCH, &path, Some(closed)).await;
    for answer in [&sent, &noop, &written, &repeated] {
        let body = answer.json();
        assert_eq!((answer.status, &body["id"], &body["number"]), (201, &json!(1), &json!(number)), "{answer:?}");
        assert_eq!((&body["head"]["ref"], &body["base"]["ref"]), (&json!("topic"), &json!("main")), "{answer:?}");
    }
    let keys = |answer: &e2e::Answer| answer.json().as_object().map(|body| body.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&sent), keys(&noop));
    // By the issue's call it is an issue.
    let issue = ann.call(Method::PATCH, &e2e::issue(number), Some(json!({ "state": "closed" }))).await;
    assert!(issue.decision().starts_with("noop"), "{issue:?}");
    assert_eq!((&issue.json()["id"], &issue.json()["head"]), (&json!(102), &Value::Null));
    // A pull request that cannot be read grants nothing.
    forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("GET", format!("/pulls/{number}")));
    let unread = ann.call(Method::PATCH, &path, Some(json!({ "state": "closed" }))).await;
    unread.refused(502, "upstream_unreadable");
    e2e::stop_and_verify(gate, 4).await;
}

/// Forgejo from 13 lists what is left to who asks as at GitHub, also where nothing had to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_is_answered_as_its_forge_answers_it() {
    let forge = e2e::forge(&["ann"]).await;
    let number = forge.add_issue(REPO, "work", &["backlog", "priority"], &[]).number;
    let gate = e2e::gate(&forge).await;
    let mut direct = Client::new(forge.addr(), "ann").with("accept", "application/vnd.github+json");
    let mut ann = gate.agent("ann").with("accept", "application/vnd.github+json");
    for last in [id("priority"), id("priority"), id("blocked")] {
        let through = ann.call(Method::DELETE, &label(number, &last.to_string()), None).await;
        let same = direct.call(Method::DELETE, &label(number, &last.to_string()), None).await;
        assert_eq!((through.granted().status, through.json()), (same.status, same.json()));
    }
    let plain = gate.agent("ann").call(Method::DELETE, &label(number, &id("blocked").to_string()), None).await;
    assert_eq!((plain.status, plain.body.len()), (204, 0));
    assert!(plain.decision().starts_with("noop"), "{plain:?}");
    e2e::stop_and_verify(gate, 3).await;
}

fn forge_takes_names_first() -> bool {
    crate::generations::forge().version.starts_with("17")
}

also_as_forgejo_17! {
    a_claim_removes_the_label_and_not_its_namesake,
    what_a_claim_set_is_undone_though_its_number_is_a_name,
    a_label_that_cannot_be_taken_back_does_not_keep_the_item,
    labels_of_a_claim_that_is_over_are_put_back,
    the_operators_release_puts_them_back_too,
    a_client_is_not_told_that_its_removal_was_not_applied,
    labels_with_odd_names_are_removed,
    a_success_of_the_gates_own_has_the_shape_of_its_route,
    a_removal_is_answered_as_its_forge_answers_it,
}
