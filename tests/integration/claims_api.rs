//! The claims API over the real binary: what it answers, what it leaves in the forge, and what it costs.
//!
//! `races` in virtual time has what needs a certain moment, `document` holds `openapi.json` to what is answered.

mod client;
mod document;
mod races;

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup};
use claimgate::fake_forge::{FakeForge, Fault, Feature, Logged, Matcher, Options};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const NEXT: &str = "/_claimgate/v1/claims/next";
pub const CLAIMS: &str = "/_claimgate/v1/claims";

/// The path of a claim.
pub fn claim(number: u64) -> String {
    format!("{CLAIMS}/{REPO}/{number}")
}

async fn next(agent: &mut Client, wish: Value) -> Answer {
    let mut wish = wish;
    wish["repository"] = json!(REPO);
    agent.call(Method::POST, NEXT, Some(wish)).await
}

async fn take(agent: &mut Client, wish: Value) -> Answer {
    agent.call(Method::POST, CLAIMS, Some(wish)).await
}

fn number(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.granted().json();
    let number = body["item"]["number"].as_u64().expect("an item");
    assert_eq!(body["claim"]["resource"], format!("{REPO}#{number}"));
    number
}

fn shown(forge: &FakeForge, number: u64) -> String {
    let issue = forge.issue(REPO, number);
    format!("{:?} {:?}", issue.assignees, issue.labels)
}

// === claim next ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_on_twenty_items() {
    for known in [false, true] {
        let logins = e2e::agents(64);
        let forge = e2e::forge(&logins.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for _ in 0..20 {
            e2e::backlog_issue(&forge);
        }
        let gate = e2e::gate(&forge).await;
        let mut agents: Vec<Client> = logins.iter().map(|login| gate.agent(login)).collect();
        if known {
            let reads =
                join_all(agents.iter_mut().map(|agent| agent.get("/api/v1/repos/acme/app/issues?limit=1"))).await;
            assert!(reads.iter().all(|read| read.status == 200));
        }
        forge.clear_log();
        let answers = join_all(agents.iter_mut().map(|agent| next(agent, json!({"labels": ["backlog"]})))).await;

        let granted: BTreeSet<u64> = answers.iter().filter(|answer| answer.status == 201).map(number).collect();
        assert_eq!(granted.len(), 20, "distinct");
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(201), count(204)), (20, 44), "{answers:?}");
        for (login, answer) in logins.iter().zip(&answers).filter(|(_, answer)| answer.status == 201) {
            let (number, claim) = (number(answer), answer.json()["claim"].clone());
            assert_eq!(forge.issue(REPO, number).assignees, [login.as_str()]);
            assert_eq!(claim["holder"]["account"], login.as_str());
            assert_eq!(claim["fence"], 1);
            assert!(answer.decision().ends_with(claim["decision"].as_str().expect("a name")), "{answer:?}");
            assert_eq!(gate.holder(number).await.as_deref(), Some(login.as_str()));
        }
        let log = forge.requests();
        let lists = log.iter().filter(|request| request.target.contains("/issues?")).count();
        let labels = log.iter().filter(|request| request.target.contains("/labels?")).count();
        let whoami = log.iter().filter(|request| request.target == "/api/v1/user").count();
        assert!(whoami <= 64, "asked once a credential: {whoami}");
        let items = log.len() - lists - labels - whoami;
        assert!(items <= 3 * 20, "{items} requests about items");
        assert!(labels <= 2 * 44, "only who gets nothing asks which labels there are, once: {labels}");
        // Who may see it shares a list that began after it came, or the one before; all others read their own once.
        assert!(lists <= if known { 8 } else { 64 + 8 }, "{lists} lists");
        e2e::stop_and_verify(gate, 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_only_what_can_be_taken_up() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let add = |labels: &[&str], assignees: &[&str]| forge.add_issue(REPO, "work", labels, assignees).number;
    add(&["backlog"], &["bob"]);
    add(&["in-progress"], &[]);
    add(&["done"], &[]);
    forge.add_pull(REPO, "a pull request", "topic", "main");
    let closed = add(&["backlog"], &[]);
    forge.outside_close("acme", REPO, closed);
    let by_label = add(&["backlog"], &[]);
    let tech = add(&["tech-debt"], &[]);
    let backlog = add(&["backlog", "priority"], &[]);
    let todo = add(&["todo"], &[]);
    let gate = e2e::gate(&forge).await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    // Held by its label alone: nobody is assigned, and it is not free.
    let ids = label_ids(&mut bob).await;
    let labels = json!({"labels": [ids["in-progress"]]});
    bob.call(Method::POST, &format!("{}/labels", e2e::issue(by_label)), Some(labels)).await.granted();
    bob.call(Method::DELETE, &format!("{}/labels/{}", e2e::issue(by_label), ids["in-progress"]), None).await.granted();
    bob.call(Method::POST, &format!("{}/labels", e2e::issue(by_label)), Some(json!({"labels": [ids["in-progress"]]})))
        .await
        .granted();

    assert_eq!(number(&next(&mut ann, json!({"labels": ["BACKLOG"]})).await), backlog);
    assert_eq!(next(&mut ann, json!({"labels": ["backlog"]})).await.status, 204);
    assert_eq!(next(&mut ann, json!({"exclude_labels": ["tech-debt", "Todo"]})).await.status, 204);
    assert_eq!(number(&next(&mut ann, json!({"order": "newest"})).await), todo);
    assert_eq!(number(&next(&mut ann, json!({})).await), tech);
    assert_eq!(next(&mut ann, json!({})).await.status, 204);
    // Who asks for what stands in work without anybody gets it.
    let orphan = next(&mut ann, json!({"labels": ["in-progress"], "limit": 1000})).await;
    assert_eq!(shown(&forge, number(&orphan)), r#"["ann"] ["in-progress"]"#);
    e2e::stop_and_verify(gate, 4).await;
}

async fn label_ids(agent: &mut Client) -> Value {
    let all = agent.get("/api/v1/repos/acme/app/labels").await.json();
    all.as_array()
        .unwrap()
        .iter()
        .map(|label| (label["name"].as_str().unwrap().to_owned(), label["id"].clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_come_first_whether_the_forge_sorts_or_not() {
    for options in [Options::default(), Options::default().with(Feature::SortedLists)] {
        let forge = FakeForge::start(options).await.expect("a free port");
        forge.add_user("acme", "token-of-acme");
        forge.add_repo("acme", "app");
        for _ in 0..120 {
            forge.add_issue(REPO, "work", &[], &[]);
        }
        let gate = e2e::gate(&forge).await;
        let mut agent = gate.agent("acme");
        for expected in [1, 2] {
            assert_eq!(number(&next(&mut agent, json!({"limit": 20})).await), expected);
        }
        assert_eq!(number(&next(&mut agent, json!({"limit": 1, "order": "newest"})).await), 120);
        for expected in 3..=60 {
            assert_eq!(number(&next(&mut agent, json!({"limit": 500})).await), expected);
        }
        // The first twenty are taken, and it looks no further than it was told.
        assert_eq!(next(&mut agent, json!({"limit": 20})).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_one_account_get_different_items() {
    let forge = e2e::forge(&["bot"]).await;
    for _ in 0..3 {
        e2e::backlog_issue(&forge);
    }
    let gate = Setup::before(&forge.base_url()).config("[identity]\nshared_accounts = [\"bot\"]\n").start().await;
    let mut instances: Vec<Client> = (1..=4).map(|n| gate.agent("bot").below(&format!("/as/bot-{n}"))).collect();
    let answers = join_all(instances.iter_mut().map(|agent| next(agent, json!({})))).await;
    let granted: BTreeSet<u64> = answers.iter().filter(|answer| answer.status == 201).map(number).collect();
    assert_eq!((granted.len(), answers.iter().filter(|answer| answer.status == 204).count()), (3, 1));
    for (n, answer) in (1..).zip(&answers).filter(|(_, answer)| answer.status == 201) {
        assert_eq!(answer.json()["claim"]["holder"], json!({"account": "bot", "instance": format!("bot-{n}")}));
    }
    e2e::backlog_issue(&forge);
    next(&mut gate.agent("bot"), json!({})).await.refused(409, "identity_required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_only_observe_give_nobody_what_another_has() {
    let forge = e2e::forge(&["ann", "bob", "boss"]).await;
    e2e::backlog_issue(&forge);
    let config = "[assignment]\nmode = \"observe\"\noverriders = [\"boss\"]\n";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    assert_eq!(number(&next(&mut gate.agent("ann"), json!({})).await), 1);
    for other in ["bob", "boss"] {
        assert_eq!(next(&mut gate.agent(other), json!({})).await.status, 204, "{other}");
    }
    assert_eq!(forge.issue(REPO, 1).assignees, ["ann"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_list_is_the_forges_to_refuse() {
    let forge = e2e::forge(&["ann", "eve"]).await;
    forge.add_repo("acme", "secret");
    forge.add_label("acme/secret", "quiet");
    forge.set_private("acme/secret", true);
    forge.grant_write("ann", "acme/secret");
    for _ in 0..2 {
        forge.add_issue("acme/secret", "work", &[], &[]);
    }
    let gate = e2e::gate(&forge).await;
    let wish = json!({"repository": "acme/secret"});
    let (mut ann, mut eve) = (gate.agent("ann"), gate.agent("eve"));
    assert_eq!(ann.call(Method::POST, NEXT, Some(wish.clone())).await.status, 201);
    for _ in 0..2 {
        assert_eq!(
            eve.call(Method::POST, NEXT, Some(wish.clone())).await.status,
            404,
            "the list of another is not hers"
        );
    }
    let about_items =
        |request: &&Logged| request.login.as_deref() == Some("eve") && request.target.contains("/issues/");
    assert_eq!(forge.requests().iter().filter(about_items).count(), 0, "and nothing of it was tried for her");
    for labels in [json!(["quiet"]), json!(["loud"])] {
        let wish = json!({"item": "acme/secret#1", "set_labels": labels});
        assert_eq!(take(&mut eve, wish).await.status, 404);
    }
    assert_eq!(gate.anonymous().call(Method::POST, NEXT, Some(wish.clone())).await.status, 401);
    let mut bad = gate.agent("nobody");
    assert_eq!(bad.call(Method::POST, NEXT, Some(wish)).await.status, 401);
    assert_eq!(forge.issue("acme/secret", 1).assignees, ["ann"]);
}

// === claim, release, hand over ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_and_its_labels_are_one_step() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let wish = json!({
        "item": format!("{REPO}#{issue}"), "set_labels": ["in-progress"], "remove_labels": ["Backlog", "blocked", "no such"],
    });
    let answer = take(&mut ann, wish.clone()).await;
    assert_eq!(number(&answer), issue);
    let (item, claim) = (answer.json()["item"].clone(), answer.json()["claim"].clone());
    assert_eq!((&item["assignee"]["login"], &item["labels"][0]["name"]), (&json!("ann"), &json!("in-progress")));
    assert_eq!(claim["holder"], json!({"account": "ann", "instance": null}));
    assert!(claim["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{claim}");
    assert_eq!(shown(&forge, issue), r#"["ann"] ["in-progress"]"#);
    // Again: nothing to do. Another: refused, and nothing of the item changes.
    let again = take(&mut ann, wish.clone()).await;
    assert!(again.decision().starts_with("noop;"), "{again:?}");
    assert_eq!((again.status, &again.json()["claim"]["fence"]), (201, &claim["fence"]));
    let refused = take(&mut bob, wish).await;
    refused.refused(409, "already_assigned");
    assert_eq!(refused.json()["claimgate"]["holder"]["account"], "ann");
    assert_eq!(shown(&forge, issue), r#"["ann"] ["in-progress"]"#);
    e2e::stop_and_verify(gate, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_labels_fail_is_undone() {
    let add = || Matcher::new("POST", "/labels");
    let remove = || Matcher::new("DELETE", "/labels/");
    let cases: [(&str, Fault, Matcher, u16, &str); 5] = [
        ("the first label", Fault::ErrorBeforeWrite(422), add(), 422, "not_applied"),
        ("a removal", Fault::ErrorBeforeWrite(403), remove(), 403, "not_applied"),
        ("an internal error", Fault::ErrorBeforeWrite(500), remove(), 500, "not_applied"),
        ("a success that was none", Fault::Ignore, add(), 403, "not_applied"),
        ("the second removal", Fault::ErrorBeforeWrite(404), remove().skip(1), 404, "not_applied"),
    ];
    for (what, fault, matcher, status, code) in cases {
        let forge = e2e::forge(&["ann"]).await;
        let issue = forge.add_issue(REPO, "work", &["backlog", "priority"], &[]).number;
        let gate = e2e::gate(&forge).await;
        forge.script(fault, matcher);
        let wish = json!({
            "item": format!("{REPO}#{issue}"), "set_labels": ["in-progress"], "remove_labels": ["backlog", "priority"],
        });
        let answer = take(&mut gate.agent("ann"), wish).await;
        assert_eq!((answer.status, &answer.json()["claimgate"]["code"]), (status, &json!(code)), "{what}: {answer:?}");
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("what had been done was undone"), "{what}: {message}");
        assert_eq!(shown(&forge, issue), r#"[] ["backlog", "priority"]"#, "{what}");
        assert_eq!(gate.holder(issue).await, None, "{what}");
        assert_eq!(forge.script_remaining(), 0, "{what}");
        e2e::stop_and_verify(gate, 3).await;
    }
}

/// Forgejo refuses who may read and not write with a 403 that has no body. A refusal with a body goes back with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_tracker_refuses_is_told_with_a_reason_and_a_code() {
    let forge = e2e::forge(&["ann"]).await;
    forge.add_user("eve", &e2e::token("eve"));
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let mut eve = gate.agent("eve");
    let wish = json!({"item": format!("{REPO}#{issue}")});
    for answer in [take(&mut eve, wish.clone()).await, next(&mut eve, json!({})).await] {
        assert_eq!(answer.status, 403);
        assert!(answer.decision().starts_with("admit; code=not_applied; id="), "the gate let it through: {answer:?}");
        let told = answer.json();
        assert_eq!(
            (&told["claimgate"]["code"], &told["message"]),
            (
                &json!("not_applied"),
                &json!(
                    "the tracker answered 403 Forbidden and gave no reason: the account may lack access; nothing was changed"
                ),
            )
        );
    }
    assert_eq!(shown(&forge, issue), r#"[] ["backlog"]"#);
    forge.script(Fault::ErrorBeforeWrite(422), Matcher::new("PATCH", "/issues/").times(2));
    let direct = Client::new(forge.addr(), "ann").claim(issue).await;
    let refused = take(&mut gate.agent("ann"), wish).await;
    assert_eq!((refused.status, refused.text()), (422, direct.text()));
    assert!(refused.decision().starts_with("admit; code=not_applied; id="), "{refused:?}");
    e2e::stop_and_verify(gate, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_undone_is_said() {
    let forge = e2e::forge(&["ann"]).await;
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    forge.script(Fault::ErrorBeforeWrite(422), Matcher::new("POST", "/labels"));
    forge.script(Fault::ErrorBeforeWrite(403), Matcher::new("PATCH", "/issues/").skip(1));
    let wish = json!({"item": format!("{REPO}#{issue}"), "set_labels": ["in-progress"]});
    let answer = take(&mut gate.agent("ann"), wish.clone()).await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "partial"), "{answer:?}");
    assert!(answer.text().contains("was not all undone: the tracker answered 403"), "{}", answer.text());
    assert_eq!(gate.holder(issue).await.as_deref(), Some("ann"), "what the forge shows is what is recorded");
    // What it held already is not taken from a holder whose labels fail.
    forge.script(Fault::ErrorBeforeWrite(422), Matcher::new("POST", "/labels"));
    assert_eq!(take(&mut gate.agent("ann"), wish).await.code(), "not_applied");
    assert_eq!(shown(&forge, issue), r#"["ann"] ["backlog"]"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_does_not_exist_is_told_before_anything_is_written() {
    let forge = e2e::forge(&["ann"]).await;
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let mut ann = gate.agent("ann");
    for wish in [json!({"item": format!("{REPO}#{issue}")}), json!({"repository": REPO})] {
        let path = if wish.get("item").is_some() { CLAIMS } else { NEXT };
        let mut wish = wish;
        wish["set_labels"] = json!(["in-progress", "no such label"]);
        let answer = ann.call(Method::POST, path, Some(wish)).await;
        answer.refused(400, "ambiguous_request");
        assert!(answer.text().contains("`no such label`"), "{}", answer.text());
    }
    let written = forge.requests().iter().filter(|request| request.guarded).count();
    assert_eq!((written, shown(&forge, issue).as_str()), (0, r#"[] ["backlog"]"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_puts_labels_back_and_is_the_holders() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let wish = json!({"set_labels": ["in-progress"], "remove_labels": ["backlog"]});
    assert_eq!(number(&next(&mut ann, wish).await), issue);
    let back = format!("{}?set_labels=backlog&remove_labels=in-progress", claim(issue));
    bob.call(Method::DELETE, &back, None).await.refused(409, "not_holder");
    assert_eq!(shown(&forge, issue), r#"["ann"] ["in-progress"]"#);
    let released = ann.send(Method::DELETE, &back, &[], "".into()).await;
    assert_eq!((released.status, released.granted().body.len()), (204, 0));
    assert_eq!(shown(&forge, issue), r#"[] ["backlog"]"#);
    assert_eq!(gate.holder(issue).await, None);
    // Clearing what is clear is no mistake; and the item is free.
    assert_eq!(ann.send(Method::DELETE, &claim(issue), &[], "".into()).await.granted().status, 204);
    assert_eq!(number(&next(&mut bob, json!({})).await), issue);
    assert_eq!(bob.send(Method::DELETE, &claim(issue), &[], "".into()).await.granted().status, 204);
    assert_eq!(shown(&forge, issue), r#"[] ["backlog"]"#);
    e2e::stop_and_verify(gate, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_hands_over_and_nobody_else_does() {
    let forge = e2e::forge(&["ann", "bob", "eve"]).await;
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let (mut ann, mut bob, mut eve) = (gate.agent("ann"), gate.agent("bob"), gate.agent("eve"));
    assert_eq!(number(&next(&mut ann, json!({})).await), issue);
    let over = format!("{}/handover", claim(issue));
    eve.call(Method::POST, &over, Some(json!({"to": "eve"}))).await.refused(409, "already_assigned");
    // A forge that does not know the name says that it failed.
    let unknown = ann.call(Method::POST, &over, Some(json!({"to": "nobody"}))).await;
    assert_eq!((unknown.status, &unknown.json()["claimgate"]["code"]), (403, &json!("not_applied")), "{unknown:?}");
    assert_eq!(gate.holder(issue).await.as_deref(), Some("ann"));
    let answer = ann.call(Method::POST, &over, Some(json!({"to": "bob"}))).await;
    assert_eq!((answer.status, &answer.granted().json()["claim"]["holder"]["account"]), (200, &json!("bob")));
    assert_eq!(answer.json()["claim"]["fence"], 2);
    assert_eq!(forge.issue(REPO, issue).assignees, ["bob"]);
    ann.send(Method::DELETE, &claim(issue), &[], "".into()).await.refused(409, "not_holder");
    assert_eq!(bob.send(Method::DELETE, &claim(issue), &[], "".into()).await.granted().status, 204);
    // Nobody holds it now, and so nobody has anything to hand over.
    ann.call(Method::POST, &over, Some(json!({"to": "bob"}))).await.refused(409, "not_holder");
    e2e::stop_and_verify(gate, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_may_not_ask_names_its_account() {
    let forge = e2e::forge(&["ann"]).await;
    forge.add_token("ann", "narrow", true);
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let mut narrow = gate.agent("ann");
    narrow.authorization = Some("token narrow".to_owned());
    next(&mut narrow, json!({})).await.refused(409, "identity_required");
    let unknown = next(&mut narrow, json!({"assignee": "nobody"})).await;
    assert_eq!((unknown.status, &unknown.json()["claimgate"]["code"]), (403, &json!("not_applied")), "{unknown:?}");
    assert_eq!(number(&next(&mut narrow, json!({"assignee": "ann"})).await), issue);
    assert_eq!(forge.issue(REPO, issue).assignees, ["ann"]);
    let mut ann = gate.agent("ann");
    let other = take(&mut ann, json!({"item": format!("{REPO}#{issue}"), "assignee": "acme"})).await;
    other.refused(400, "ambiguous_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_states_is_for_the_first_write() {
    let forge = e2e::forge(&["ann"]).await;
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let tag = gate.agent("ann").get(&e2e::issue(issue)).await.headers["claimgate-state"].to_str().unwrap().to_owned();
    let stating = || gate.agent("ann").with("if-match", &tag);
    let labels = json!({"set_labels": ["in-progress"], "remove_labels": ["backlog"]});
    let mut wish = labels.clone();
    wish["item"] = json!(format!("{REPO}#{issue}"));
    assert_eq!(number(&take(&mut stating(), wish).await), issue);
    let back = format!("{}?set_labels=backlog&remove_labels=in-progress", claim(issue));
    stating().send(Method::DELETE, &back, &[], "".into()).await.refused(412, "precondition_failed");
    assert_eq!(shown(&forge, issue), r#"["ann"] ["in-progress"]"#);
    let mut sure = gate.agent("ann").with("claimgate-expect", "assigned=ann, status=in-progress");
    assert_eq!(sure.send(Method::DELETE, &back, &[], "".into()).await.granted().status, 204);
    assert_eq!(shown(&forge, issue), r#"[] ["backlog"]"#);
    next(&mut stating(), labels).await.refused(400, "ambiguous_request");
    e2e::stop_and_verify(gate, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_label_is_no_empty_queue() {
    let forge = e2e::forge(&["ann"]).await;
    e2e::backlog_issue(&forge);
    let gate = e2e::gate(&forge).await;
    let mut ann = gate.agent("ann");
    let answer = next(&mut ann, json!({"labels": ["backlgo"]})).await;
    answer.refused(400, "ambiguous_request");
    assert!(answer.json()["message"].as_str().unwrap().contains("has no label `backlgo`"), "{answer:?}");
    assert_eq!(next(&mut ann, json!({"labels": ["in-progress"]})).await.status, 204);
    assert_eq!(next(&mut ann, json!({"labels": ["backlog"], "exclude_labels": ["blockd"]})).await.status, 201);
    assert_eq!(next(&mut ann, json!({"labels": ["backlog"]})).await.status, 204);
    e2e::stop_and_verify(gate, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_as_many_as_it_may_is_told_so() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    for _ in 0..3 {
        e2e::backlog_issue(&forge);
    }
    let gate = Setup::before(&forge.base_url()).config("[limits]\nitems_per_repository = 1\n").start().await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    assert_eq!(number(&next(&mut ann, json!({})).await), 1);
    next(&mut ann, json!({})).await.refused(409, "limit_reached");
    assert_eq!(number(&next(&mut bob, json!({})).await), 2, "what ann could not have is there for bob");
}

// === what is refused before anything is asked of the forge ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_read_strictly() {
    let forge = e2e::forge(&["ann"]).await;
    let issue = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let over = format!("{}/handover", claim(issue));
    let json_type = "application/json";
    let long = format!(r#"{{"repository":"a/b","labels":["{}"]}}"#, "x".repeat(300_000));
    // Each is a 400: method, path, body, what is said.
    let ambiguous: &[(&str, &str, &str, &str)] = &[
        ("POST", NEXT, r#"{"repository":"a/b","label":"x"}"#, "unknown field `label`"),
        ("POST", NEXT, r#"{"labels":["x"]}"#, "missing field `repository`"),
        ("POST", NEXT, r#"{"repository":"a/b","repository":"c/d"}"#, "duplicate field"),
        ("POST", NEXT, r#"["a/b"]"#, "JSON object"),
        ("POST", NEXT, r#"{"repository":"a/b"} {}"#, "trailing"),
        ("POST", NEXT, "", "JSON object"),
        ("POST", NEXT, r#"{"repository":"ab"}"#, "`owner/name`"),
        ("POST", NEXT, r#"{"repository":"../x"}"#, "`owner/name`"),
        ("POST", NEXT, r#"{"repository":"a/b","order":"random"}"#, "unknown variant `random`"),
        ("POST", NEXT, r#"{"repository":"a/b","limit":0}"#, "`limit`"),
        ("POST", NEXT, r#"{"repository":"a/b","limit":1.5}"#, "floating point"),
        ("POST", NEXT, r#"{"repository":"a/b","labels":null}"#, "null"),
        ("POST", NEXT, r#"{"repository":"a/b","assignee":null}"#, "null"),
        ("POST", NEXT, r#"{"repository":"a/b","labels":[""]}"#, "`labels`"),
        ("POST", NEXT, r#"{"repository":"a/b","set_labels":["x"],"remove_labels":["X"]}"#, "both set and removed"),
        ("POST", "/_claimgate/v1/claims/next?labels=x", r#"{"repository":"a/b"}"#, "`labels`"),
        ("POST", CLAIMS, r#"{"item":"a/b"}"#, "`owner/name#7`"),
        ("POST", CLAIMS, r#"{"item":"a/b#07"}"#, "`owner/name#7`"),
        ("POST", CLAIMS, r#"{"item":"a/b#7","repository":"a/b"}"#, "unknown field"),
        ("POST", &over, r#"{"to":"a b"}"#, "`to`"),
        ("POST", &over, r"{}", "missing field `to`"),
        ("DELETE", &claim(issue), r#"{"labels":[]}"#, "no body"),
        ("DELETE", "/_claimgate/v1/claims/a/b/0", "", "`owner/name#7`"),
        ("DELETE", "/_claimgate/v1/claims/a/b/7?set_label=x", "", "`set_label`"),
        ("DELETE", "/_claimgate/v1/claims/a/b/7?set_labels=x&remove_labels=x", "", "both"),
    ];
    let others: &[(&str, &str, &str, &str, u16, &str, &str)] = &[
        (
            "POST",
            NEXT,
            "application/x-www-form-urlencoded",
            "repository=a/b",
            415,
            "unsupported_encoding",
            "application/json",
        ),
        ("POST", NEXT, "", r#"{"repository":"a/b"}"#, 415, "unsupported_encoding", "application/json"),
        ("POST", NEXT, json_type, &long, 413, "body_too_large", "bytes at most"),
        ("GET", NEXT, "", "", 405, "method_not_allowed", "POST"),
        ("DELETE", CLAIMS, "", "", 405, "method_not_allowed", "POST"),
        ("POST", &claim(issue), json_type, "{}", 405, "method_not_allowed", "DELETE"),
        ("PUT", "/_claimgate/v1/openapi.json", "", "", 405, "method_not_allowed", "GET, HEAD"),
        ("POST", "/_claimgate/v1/claims/a/b", json_type, "{}", 404, "not_found", "nothing"),
        ("POST", "/_claimgate/v1/claims/%6eext/../next", json_type, "{}", 404, "not_found", "nothing"),
    ];
    let ambiguous = ambiguous.iter().map(|(method, path, body, text)| {
        // What has no body names no type.
        let kind = if body.is_empty() && *method == "DELETE" { "" } else { json_type };
        (*method, *path, kind, *body, 400, "ambiguous_request", *text)
    });
    for (method, path, kind, body, status, code, text) in ambiguous.chain(others.iter().copied()) {
        let headers: &[(&str, &str)] = if kind.is_empty() { &[] } else { &[("content-type", kind)] };
        let answer = gate.agent("ann").send(method.parse().unwrap(), path, headers, body.to_owned().into()).await;
        says(&answer, (status, code, text), &format!("{method} {path} {body:.80}"));
    }
    assert_eq!(forge.requests().len(), 0, "none of them reached the forge");
    assert!(gate.operator().get("/healthz").await.status == 200);
}

fn says(answer: &Answer, (status, code, text): (u16, &str, &str), case: &str) {
    let (found, message) = (answer.json()["claimgate"]["code"].clone(), answer.json()["message"].clone());
    assert_eq!((answer.status, found), (status, json!(code)), "{case}: {}", answer.text());
    assert!(message.as_str().is_some_and(|message| message.contains(text)), "{case}: {message}");
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json"));
    assert_eq!(answer.headers.contains_key("allow"), status == 405, "{case}");
}

/// The description is the gate's to serve, to anybody, and only there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_is_served() {
    let forge = e2e::forge(&["ann"]).await;
    let gate: Gate = e2e::gate(&forge).await;
    let answer = gate.anonymous().get("/_claimgate/v1/openapi.json").await;
    assert_eq!((answer.status, &answer.json()["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(gate.agent("ann").below("/as/one").get("/_claimgate/v1/openapi.json").await.body, answer.body);
    assert_eq!(forge.requests().len(), 0);
}

also_as_forgejo_17! {
    sixty_four_callers_on_twenty_items,
    it_finds_only_what_can_be_taken_up,
    instances_of_one_account_get_different_items,
    rules_that_only_observe_give_nobody_what_another_has,
    a_strangers_list_is_the_forges_to_refuse,
    a_claim_and_its_labels_are_one_step,
    a_claim_whose_labels_fail_is_undone,
    what_cannot_be_undone_is_said,
    a_label_that_does_not_exist_is_told_before_anything_is_written,
    a_release_puts_labels_back_and_is_the_holders,
    a_holder_hands_over_and_nobody_else_does,
    a_credential_that_may_not_ask_names_its_account,
    what_a_client_states_is_for_the_first_write,
    a_mistyped_label_is_no_empty_queue,
    who_holds_as_many_as_it_may_is_told_so,
    requests_are_read_strictly,
}
