//! Edits that repeat what the item shows: no claim and no move, whoever sends them.

use claimgate::fake_forge::{FakeForge, Fault, Logged, Matcher, Options};
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup, backlog_issue, issue, token};

const LOGINS: [&str; 3] = ["ann", "bob", "sue"];

async fn begin(config: &str) -> (FakeForge, Gate) {
    let forge = e2e::forge(&LOGINS).await;
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    (forge, gate)
}

fn pull(number: u64) -> String {
    format!("/api/v1/repos/{REPO}/pulls/{number}")
}

async fn edit(client: &mut Client, path: &str, body: Value) -> Answer {
    client.call(Method::PATCH, path, Some(body)).await
}

/// The body of the last write that reached the forge.
fn sent(forge: &FakeForge, number: u64) -> Value {
    let written = |logged: &&Logged| logged.method == Method::PATCH;
    let last = forge.requests_about(REPO, number).iter().rfind(written).map(|logged| logged.body.clone());
    serde_json::from_slice(&last.expect("something was written")).expect("JSON")
}

/// What nobody touched, and the title.
fn shows(forge: &FakeForge, number: u64) -> (Vec<String>, Vec<String>, &'static str, String) {
    let item = forge.issue(REPO, number);
    (item.assignees, item.labels, item.state, item.title)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anybody_may_repeat_what_a_held_item_shows() {
    for options in [Options::default(), Options::forgejo_15()] {
        let forge = e2e::forge_with(options, &LOGINS).await;
        let gate = e2e::gate(&forge).await;
        let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
        let held = backlog_issue(&forge).number;
        ann.claim(held).await.granted();
        let before = shows(&forge, held);
        // As the common client libraries write what they had read.
        for (at, body) in [
            json!({"assignees": ["ann"]}),
            json!({"assignee": "ann", "assignees": ["ann"], "state": "open"}),
            json!({"assignee": "ANN", "milestone": null, "due_date": null, "unset_due_date": null}),
            json!({"state": "open", "assignee": null, "assignees": null, "ref": null}),
            json!({"assignees": ["Ann", "ann"], "labels": [1, 2], "state": "open"}),
        ]
        .into_iter()
        .enumerate()
        {
            for who in [&mut bob, &mut ann] {
                let title = format!("edited {at} by {}", who.login);
                let mut body = body.clone();
                body["title"] = json!(title);
                let answer = edit(who, &issue(held), body.clone()).await;
                assert_eq!(answer.status, 201, "{body}: {answer:?}");
                assert_eq!(answer.json()["title"], title.as_str(), "the tracker's own answer");
                assert!(answer.decision().starts_with("noop; id="), "{answer:?}");
                assert_eq!(shows(&forge, held), (before.0.clone(), before.1.clone(), before.2, title));
                let sent = sent(&forge, held);
                assert!(
                    ["assignee", "assignees", "state", "labels"].iter().all(|name| sent.get(name).is_none()),
                    "{sent}"
                );
            }
        }
        assert_eq!(gate.holder(held).await.as_deref(), Some("ann"));
        // Guarded fields alone are meant: a claim stays a claim, whatever a library writes beside it.
        edit(&mut bob, &issue(held), json!({"assignees": ["ann"]})).await.refused(409, "already_assigned");
        let bare =
            json!({"title": "", "assignees": ["ann"], "milestone": null, "state": null, "unset_due_date": false});
        edit(&mut bob, &issue(held), bare.clone()).await.refused(409, "already_assigned");
        assert!(edit(&mut ann, &issue(held), bare).await.granted().decision().starts_with("noop"));
        // What differs is judged, and what is echoed beside it is left out.
        let takes = json!({"title": "mine", "assignees": ["bob"], "state": "open"});
        edit(&mut bob, &issue(held), takes).await.refused(409, "already_assigned");
        edit(&mut bob, &issue(held), json!({"title": "mine", "assignees": ["ann"], "state": "closed"}))
            .await
            .refused(409, "not_holder");
        edit(&mut bob, &issue(held), json!({"title": "mine", "assignees": []})).await.refused(409, "not_holder");
        edit(&mut ann, &issue(held), json!({"body": "done", "assignees": ["ann"], "state": "closed"})).await.granted();
        assert_eq!(sent(&forge, held), json!({"body": "done", "state": "closed"}));
        // An echo of `closed`, likewise.
        let answer = edit(&mut bob, &issue(held), json!({"body": "well done", "state": "closed"})).await;
        assert_eq!((answer.granted().status, forge.issue(REPO, held).state), (201, "closed"));
        e2e::stop_and_verify(gate, 12).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_claims_nothing_and_moves_nothing() {
    let (forge, gate) = begin("").await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    // Free: nobody assigned.
    let free = backlog_issue(&forge).number;
    let answer = edit(&mut bob, &issue(free), json!({"title": "t", "assignees": [], "state": "open"})).await;
    assert_eq!(answer.granted().status, 201);
    assert_eq!((sent(&forge, free), gate.claim(free).await), (json!({"title": "t"}), Value::Null));
    // Somebody's by an edit outside the gate, its own account's edit included.
    let foreign = forge.add_issue(REPO, "theirs", &["in-progress"], &["sue"]).number;
    for who in ["bob", "sue"] {
        let echo = json!({"title": who, "assignees": ["sue"], "state": "open"});
        edit(&mut gate.agent(who), &issue(foreign), echo).await.granted();
        assert_eq!((forge.issue(REPO, foreign).title.as_str(), gate.claim(foreign).await), (who, Value::Null));
    }
    // Two assigned are more than the rules let anybody assign; to repeat them is nobody's assignment.
    let two = forge.add_issue(REPO, "two", &[], &["ann", "sue"]).number;
    let echo = json!({"title": "both", "assignee": "sue", "assignees": ["sue", "ann"]});
    edit(&mut bob, &issue(two), echo).await.granted();
    assert_eq!((forge.issue(REPO, two).title.as_str(), forge.issue(REPO, two).assignees.len()), ("both", 2));
    edit(&mut bob, &issue(two), json!({"title": "one", "assignee": "sue"})).await.refused(409, "already_assigned");
    // A holding that began with a label shows nobody; an echo of nobody does not end it.
    let labelled = backlog_issue(&forge).number;
    let labels = format!("{}/labels", issue(labelled));
    let listed = ann.get(&format!("/api/v1/repos/{REPO}/labels")).await.json();
    let label = listed.as_array().into_iter().flatten().find(|label| label["name"] == "in-progress").expect("there");
    ann.call(Method::POST, &labels, Some(json!({"labels": [label["id"]]}))).await.granted();
    for who in [&mut bob, &mut ann] {
        edit(who, &issue(labelled), json!({"title": "t", "assignees": []})).await.granted();
        assert_eq!(gate.holder(labelled).await.as_deref(), Some("ann"));
    }
    edit(&mut ann, &issue(labelled), json!({"assignees": []})).await.granted();
    assert_eq!(gate.holder(labelled).await, None, "alone it is a release");
    e2e::stop_and_verify(gate, 9).await;
}

/// Of an edit that is granted without its echoes.
const LEFT_OUT: &str = "left out, since the item shows it so: assignees, state";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_is_echoed_with_its_labels() {
    let forge = e2e::forge_with(Options::forgejo_15(), &LOGINS).await;
    let gate = e2e::gate(&forge).await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let held = forge.add_pull(REPO, "a change", "topic", "main").number;
    forge.outside_labels("acme", REPO, held, &["backlog", "priority"]);
    edit(&mut ann, &pull(held), json!({"assignees": ["ann"]})).await.granted();
    let labels = ann.get(&pull(held)).await.json()["labels"].clone();
    let id = |name: &str| {
        let label = labels.as_array().into_iter().flatten().find(|label| label["name"] == name);
        label.expect("it carries it")["id"].clone()
    };
    let (backlog, priority) = (id("backlog"), id("priority"));
    let before = shows(&forge, held);
    let whole = |labels: Value| json!({"title": "edited", "assignee": "ann", "assignees": ["ann"], "milestone": 0, "labels": labels, "state": "open"});
    edit(&mut bob, &pull(held), whole(json!([priority, backlog]))).await.granted();
    assert_eq!(shows(&forge, held), (before.0.clone(), before.1.clone(), before.2, "edited".to_owned()));
    assert_eq!(sent(&forge, held), json!({"title": "edited", "milestone": 0}));
    // One label less, and one more: where it stands, which is its holder's.
    edit(&mut bob, &pull(held), whole(json!([priority]))).await.refused(409, "not_holder");
    // One that is no status is anybody's; the rest is left out.
    let answer = edit(&mut bob, &pull(held), whole(json!([backlog]))).await;
    assert_eq!(answer.granted().status, 201);
    let left_out = json!({"title": "edited", "milestone": 0, "labels": [backlog]});
    assert_eq!((sent(&forge, held), gate.holder(held).await.as_deref()), (left_out, Some("ann")));
    // The audit says what was left out, and what was passed on.
    let reasons = || async {
        let lines = gate.audit();
        let reason = |line: &Value| line["reason"].as_str().map(str::to_owned);
        let reasons: Vec<String> = lines.iter().filter_map(reason).collect();
        reasons.iter().any(|why| why == LEFT_OUT).then_some(reasons)
    };
    let reasons =
        e2e::eventually(reasons, std::time::Duration::from_secs(5)).await.expect("a line says what was left out");
    assert_eq!(reasons[0], "it repeats what the item shows; the rest of it was passed on");
    e2e::stop_and_verify(gate, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_agent_of_the_account_is_not_told_that_its_claim_went_through() {
    let (forge, gate) = begin("[identity]\nshared_accounts = [\"bob\"]").await;
    let number = backlog_issue(&forge).number;
    let claim = |who: &str| json!({"assignees": [who], "body": "taken"});
    let agent = |login: &str, name: &str| gate.agent(login).below(&format!("/as/{name}"));
    edit(&mut agent("ann", "one"), &issue(number), claim("ann")).await.granted();
    edit(&mut agent("ann", "two"), &issue(number), claim("ann")).await.refused(409, "already_assigned");
    edit(&mut agent("ann", "one"), &issue(number), claim("ann")).await.granted();
    assert_eq!(gate.holder(number).await.as_deref(), Some("ann"));
    // Whoever is no agent of that account cannot mean a claim; not even one that must be told apart from others.
    edit(&mut gate.agent("bob"), &issue(number), claim("ann")).await.granted();
    edit(&mut agent("bob", "x"), &issue(number), claim("ann")).await.granted();
    edit(&mut gate.agent("bob"), &issue(number), claim("bob")).await.refused(409, "identity_required");
    let shown = forge.add_issue(REPO, "bob's", &[], &["bob"]).number;
    edit(&mut gate.agent("bob"), &issue(shown), claim("bob")).await.refused(409, "identity_required");
    edit(&mut agent("bob", "x"), &issue(shown), claim("bob")).await.granted();
    edit(&mut agent("bob", "y"), &issue(shown), claim("bob")).await.refused(409, "already_assigned");
    e2e::stop_and_verify(gate, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_beside_a_write_in_doubt() {
    let (forge, gate) = begin("").await;
    let number = backlog_issue(&forge).number;
    forge.script(Fault::CutBefore, Matcher::new("PATCH", format!("/issues/{number}")));
    let claim = json!({"title": "taken", "assignees": ["ann"], "state": "open"});
    assert_eq!(edit(&mut gate.agent("ann"), &issue(number), claim.clone()).await.status, 504);
    // It changes nothing guarded, so nothing is in its way, and it is in nobody's.
    let echo = json!({"title": "edited", "assignees": [], "state": "open"});
    edit(&mut gate.agent("bob"), &issue(number), echo).await.granted();
    assert_eq!(sent(&forge, number), json!({"title": "edited"}));
    let claims = json!({"title": "mine", "assignees": ["bob"], "state": "open"});
    edit(&mut gate.agent("bob"), &issue(number), claims).await.refused(409, "in_doubt");
    // The agent of the doubt repeats itself, and gets what it asked for: the item is its own.
    edit(&mut gate.agent("ann"), &issue(number), claim).await.granted();
    assert_eq!(gate.holder(number).await.as_deref(), Some("ann"));
    e2e::stop_and_verify(gate, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_whose_answer_is_lost_leaves_no_doubt() {
    let (forge, gate) = begin("").await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    forge.script(Fault::CutAfter, Matcher::new("PATCH", format!("/issues/{number}")));
    let echo = json!({"title": "edited", "assignees": ["ann"], "state": "open"});
    assert_eq!(edit(&mut gate.agent("bob"), &issue(number), echo).await.status, 502);
    gate.agent("ann").release(number).await.granted();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stated_state_holds_an_echo_too() {
    let (forge, gate) = begin("[assignment]\nmode = \"observe\"\n[workflow]\nmode = \"observe\"").await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    let tag = gate.agent("bob").get(&issue(number)).await.headers["claimgate-state"].clone();
    let tag = tag.to_str().expect("text");
    let echo = |title: &str| json!({"title": title, "assignees": ["ann"]}).to_string();
    for (header, value, status) in [
        ("if-match", tag, 201),
        ("if-match", "\"another\"", 412),
        ("claimgate-expect", "assigned=ann", 201),
        ("claimgate-expect", "unassigned", 412),
    ] {
        let headers = [("content-type", "application/json"), (header, value)];
        let answer = gate.agent("bob").send(Method::PATCH, &issue(number), &headers, echo(value).into()).await;
        assert_eq!(answer.status, status, "{header}: {value}: {answer:?}");
        assert_eq!(forge.issue(REPO, number).title == value, status == 201, "{header}: {value}");
    }
    assert_eq!(forge.issue(REPO, number).assignees, ["ann"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_of_echoes_is_not_refused_with_the_herd() {
    let (forge, gate) = begin("").await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    let claims = (0..12).map(|at| {
        let mut client = gate.agent(if at % 2 == 0 { "bob" } else { "sue" });
        let body = if at % 3 == 0 {
            json!({"title": format!("edited {at}"), "assignees": ["ann"], "state": "open"})
        } else {
            json!({"assignees": [client.login]})
        };
        async move { (at, edit(&mut client, &issue(number), body).await.status) }
    });
    for (at, status) in futures_util::future::join_all(claims).await {
        assert_eq!(status, if at % 3 == 0 { 201 } else { 409 }, "{at}");
    }
    assert_eq!(forge.max_assignees_ever(REPO, number), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_query_or_a_form_echoes_is_left_out_and_whoever_sends_it_stays() {
    let (forge, gate) = begin("").await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    // The credential stands in the query, where the gate takes what is left of it from.
    let mut anonymous = gate.anonymous().below("/as/me");
    let query = format!("?title=by+query&assignees=ann&token={}", token("bob"));
    let answer = anonymous.send(Method::PATCH, &format!("{}{query}", issue(number)), &[], "".into()).await;
    assert_eq!((answer.granted().status, forge.issue(REPO, number).title.as_str()), (201, "by query"));
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=UTF-8")];
    let form = format!("title=by+form&assignees=ann&access_token={}", token("bob"));
    let answer = anonymous.send(Method::PATCH, &issue(number), &headers, form.into()).await;
    assert_eq!((answer.granted().status, forge.issue(REPO, number).title.as_str()), (201, "by form"));
    let last = forge.requests_about(REPO, number).pop().expect("a request");
    assert_eq!(
        (last.header("authorization"), &last.body[..]),
        (Some("token token-of-bob"), &b"{\"title\":\"by form\"}"[..])
    );
    assert!(last.target.ends_with(&format!("/issues/{number}")), "{}", last.target);
    // Who may not write gets the tracker's own word, and who may not read its own word for that.
    assert_eq!(
        edit(&mut gate.anonymous(), &issue(number), json!({"title": "x", "assignees": ["ann"]})).await.status,
        401
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_says_more_than_what_shows() {
    let (forge, gate) = begin("").await;
    // A person gave the item to somebody else, outside the gate.
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    forge.outside_assign("acme", REPO, number, &["bob"]);
    edit(&mut gate.agent("ann"), &issue(number), json!({"title": "t", "assignees": ["bob"]})).await.granted();
    edit(&mut gate.agent("ann"), &issue(number), json!({"title": "u", "assignees": ["ann"]}))
        .await
        .refused(409, "already_assigned");
    assert_eq!(
        (forge.issue(REPO, number).title.as_str(), forge.issue(REPO, number).assignees.as_slice()),
        ("t", &["bob".to_owned()][..])
    );
}
