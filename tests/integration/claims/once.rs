//! What may be created once, through the real binary: one review of a commit, one open pull request for an issue.

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup};
use claimgate::fake_forge::{FakeForge, Vices};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const REVIEW: &str =
    "[[once]]\nname = \"review\"\nwhat = \"review\"\nagents = [\"agent-*\"]\nkey = \"{pull} {commit} {class}\"\n";
const PULL: &str = "[[once]]\nname = \"work\"\nwhat = \"pull\"\nkey = \"{issue}\"\n";

/// Eight agents, an outsider, and a forge that takes its time.
async fn forge() -> FakeForge {
    let logins = e2e::agents(8);
    let forge = e2e::forge(&logins.iter().map(String::as_str).chain(["gardener"]).collect::<Vec<_>>()).await;
    let (read_delay, answer_delay) = (Duration::from_millis(2), Duration::from_millis(20));
    forge.set_vices(Vices { read_delay, answer_delay, ..Vices::default() });
    forge
}

fn all(gate: &Gate) -> Vec<Client> {
    e2e::agents(8).iter().map(|login| gate.agent(login)).collect()
}

/// Past the gate.
fn past(forge: &FakeForge, login: &str) -> Client {
    let address = forge.base_url().trim_start_matches("http://").trim_end_matches('/').parse();
    Client::new(address.expect("an address"), login)
}

fn reviews_of(number: u64) -> String {
    format!("/api/v1/repos/{REPO}/pulls/{number}/reviews")
}

async fn review(agent: &mut Client, number: u64, commit: Option<&str>) -> Answer {
    let mut body = json!({ "event": "APPROVED", "body": "fine", "comments": [{ "path": "a", "body": "b" }] });
    if let Some(commit) = commit {
        body["commit_id"] = commit.into();
    }
    agent.call(Method::POST, &reviews_of(number), Some(body)).await
}

async fn open_pull(agent: &mut Client, text: &str) -> Answer {
    let body = json!({ "title": "work", "body": text, "head": agent.login, "base": "main" });
    agent.call(Method::POST, &format!("/api/v1/repos/{REPO}/pulls"), Some(body)).await
}

async fn all_review(agents: &mut [Client], number: u64) -> Vec<Answer> {
    join_all(agents.iter_mut().map(|agent| review(agent, number, None))).await
}

/// Exactly one created it; each other is told who did, when and where. Returns the one.
#[track_caller]
fn only_one(answers: &[Answer], success: u16) -> (String, Value) {
    let (won, lost): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.status == success);
    assert_eq!((won.len(), lost.len()), (1, answers.len() - 1), "{answers:?}");
    let created = won[0].granted().json();
    let winner = created["user"]["login"].as_str().expect("it has an author").to_owned();
    for answer in lost {
        answer.refused(409, "already_created");
        let told = answer.json();
        assert_eq!(told["claimgate"]["holder"]["account"], winner, "{told}");
        assert!(told["claimgate"]["since"].is_string(), "{told}");
        let url = created["html_url"].as_str().expect("it has a page");
        assert!(told["message"].as_str().is_some_and(|text| text.contains(url) && text.contains(&winner)), "{told}");
    }
    (winner, created)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_reviews_of_one_commit_are_one() {
    let forge = forge().await;
    let setup = Setup::before(&forge.base_url()).config(REVIEW);
    let gate = setup.start().await;
    let mut agents = all(&gate);
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let (first, _) = only_one(&all_review(&mut agents, number).await, 200);
    assert_eq!(forge.reviews(REPO, number), [("APPROVED".to_owned(), first.clone())]);
    // Whom the rule does not bind, it does not refuse.
    review(&mut gate.agent("gardener"), number, None).await.granted();
    // After a restart it is still so.
    drop(agents);
    assert!(gate.stop().await.success());
    let gate = setup.again(&forge.base_url()).start().await;
    let mut agents = all(&gate);
    let answers = all_review(&mut agents, number).await;
    for answer in &answers {
        answer.refused(409, "already_created");
        assert_eq!(answer.json()["claimgate"]["holder"]["account"], first);
    }
    // A new head commit: one more.
    let head = forge.push(REPO, number);
    let (_, second) = only_one(&all_review(&mut agents, number).await, 200);
    assert_eq!(second["commit_id"], head, "an omitted commit is the head");
    assert_eq!(forge.reviews(REPO, number).len(), 3);
    // Dismissed: it may be repeated, once.
    let dismissals = format!("{}/{}/dismissals", reviews_of(number), second["id"]);
    let dismissed = gate.agent("gardener").call(Method::POST, &dismissals, Some(json!({ "message": "stale" }))).await;
    assert_eq!(dismissed.status, 200, "{dismissed:?}");
    only_one(&all_review(&mut agents, number).await, 200);
    // Another pull request with the same commit is another matter.
    let other = forge.add_pull(REPO, "another", "elsewhere", "main").number;
    review(&mut agents[0], other, Some(&head)).await.granted();
    review(&mut agents[1], other, Some(&head)).await.refused(409, "already_created");
    e2e::stop_and_verify(gate, 8 * 3 + 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_gets_the_first_where_the_rule_says_so() {
    let forge = forge().await;
    let config = format!("{REVIEW}answer = \"first\"\n{PULL}answer = \"first\"\n");
    let gate = Setup::before(&forge.base_url()).config(&config).start().await;
    let mut agents = all(&gate);
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let answers = all_review(&mut agents, number).await;
    same_for_all(&answers, 200);
    assert_eq!(forge.reviews(REPO, number).len(), 1);
    let issue = e2e::backlog_issue(&forge).number;
    let text = format!("Fixes #{issue}");
    let answers = join_all(agents.iter_mut().map(|agent| open_pull(agent, &text))).await;
    same_for_all(&answers, 201);
    assert_eq!(forge.open_pulls(REPO), 2);
    e2e::stop_and_verify(gate, 16).await;
}

/// The same representation, and of all but one a mark that nothing was created.
#[track_caller]
fn same_for_all(answers: &[Answer], status: u16) {
    let id = answers[0].json()["id"].clone();
    assert!(id.is_u64(), "{answers:?}");
    for answer in answers {
        assert_eq!((answer.status, &answer.json()["id"]), (status, &id), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json;charset=utf-8");
    }
    let noops = answers.iter().filter(|answer| answer.decision().starts_with("noop; code=already_created; id="));
    assert_eq!(noops.count(), answers.len() - 1);
}

#[tokio::test]
async fn an_omitted_commit_is_the_head_that_was_read() {
    let forge = forge().await;
    let gate = Setup::before(&forge.base_url()).config(REVIEW).start().await;
    let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let head = forge.push(REPO, number);
    review(&mut one, number, None).await.granted();
    let sent = forge.requests().into_iter().rfind(|entry| entry.method == Method::POST).expect("it was sent");
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    assert_eq!((&body["commit_id"], &body["comments"][0]["path"]), (&json!(head), &json!("a")), "{body}");
    review(&mut other, number, Some(&head)).await.refused(409, "already_created");
    review(&mut other, number, Some(&head.to_uppercase())).await.refused(409, "already_created");
    review(&mut other, number, Some(&head[..7])).await.refused(400, "ambiguous_request");
    // An older commit is its own, and so is a draft, until it is submitted.
    let old = format!("{:040x}", 0xabc);
    review(&mut other, number, Some(&old)).await.granted();
    let draft = other.call(Method::POST, &reviews_of(number), Some(json!({ "body": "later" }))).await;
    assert_eq!((draft.status, &draft.json()["state"]), (200, &json!("PENDING")), "{draft:?}");
    let submit = format!("{}/{}", reviews_of(number), draft.json()["id"]);
    let verdict = || Some(json!({ "event": "COMMENT", "body": "x" }));
    other.call(Method::POST, &submit, verdict()).await.refused(409, "already_created");
    // Past the gate its head moves on; the draft's commit is what counts.
    forge.push(REPO, number);
    other.call(Method::POST, &submit, verdict()).await.refused(409, "already_created");
    let draft = other.call(Method::POST, &reviews_of(number), Some(json!({ "body": "later" }))).await.json();
    let submit = format!("{}/{}", reviews_of(number), draft["id"]);
    other.call(Method::POST, &submit, verdict()).await.granted();
    review(&mut one, number, None).await.refused(409, "already_created");
    e2e::stop_and_verify(gate, 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_pull_requests_for_one_issue_are_one() {
    let forge = forge().await;
    let gate = Setup::before(&forge.base_url()).config(PULL).start().await;
    let mut agents = all(&gate);
    let issue = e2e::backlog_issue(&forge).number;
    let texts = ["fixes #{}", "Closes: #{}", "resolved acme/app#{}", "(fix #{})"];
    let tries = agents.iter_mut().zip(texts.iter().cycle()).map(|(agent, text)| async move {
        let text = text.replace("{}", &issue.to_string());
        open_pull(agent, &text).await
    });
    let answers = join_all(tries).await;
    let (_, created) = only_one(&answers, 201);
    assert_eq!(forge.open_pulls(REPO), 1);
    // One that closes nothing, and one for another issue, are nobody's second.
    open_pull(&mut agents[0], &format!("see #{issue}")).await;
    let other = e2e::backlog_issue(&forge).number;
    let claimed = open_pull(&mut gate.agent("gardener"), &format!("fixes #{other}")).await;
    claimed.granted();
    // Closed without a merge: it no longer counts.
    let path = format!("/api/v1/repos/{REPO}/pulls/{}", created["number"]);
    let closed = agents[0].call(Method::PATCH, &path, Some(json!({ "state": "closed" }))).await;
    assert_eq!(closed.status, 201, "{closed:?}");
    let again: Vec<Answer> = join_all(agents.iter_mut().map(|agent| async move {
        let body = json!({ "title": format!("fix #{issue}"), "head": format!("{}-2", agent.login), "base": "main" });
        agent.call(Method::POST, &format!("/api/v1/repos/{REPO}/pulls"), Some(body)).await
    }))
    .await;
    only_one(&again, 201);
    e2e::stop_and_verify(gate, 17).await;
}

#[tokio::test]
async fn only_the_holder_opens_the_pull_request_of_a_held_issue() {
    let forge = forge().await;
    let gate = Setup::before(&forge.base_url()).config(&format!("{PULL}by = \"holder\"\n")).start().await;
    let (mut holder, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    let issue = e2e::backlog_issue(&forge).number;
    let text = format!("fixes #{issue}");
    holder.claim(issue).await.granted();
    let refused = open_pull(&mut other, &text).await;
    refused.refused(409, "not_holder");
    assert_eq!(refused.json()["claimgate"]["holder"]["account"], "agent-0");
    open_pull(&mut holder, &text).await.granted();
    open_pull(&mut other, &text).await.refused(409, "not_holder");
    assert_eq!(forge.open_pulls(REPO), 1);
    // With nobody holding, anybody; and an outside edit has ended a holding whether or not the ledger knows yet.
    let free = e2e::backlog_issue(&forge).number;
    open_pull(&mut other, &format!("fixes #{free}")).await.granted();
    let taken = e2e::backlog_issue(&forge).number;
    let mut third = gate.agent("agent-2");
    holder.claim(taken).await.granted();
    forge.outside_assign("acme", REPO, taken, &["agent-2"]);
    open_pull(&mut third, &format!("fixes #{taken}")).await.granted();
    e2e::stop_and_verify(gate, 7).await;
}

#[tokio::test]
async fn what_exists_twice_already_is_collapsed_and_said() {
    let forge = forge().await;
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let mut made = Vec::new();
    for login in ["agent-3", "agent-4", "gardener"] {
        made.push(review(&mut past(&forge, login), number, None).await.json());
    }
    let gate = Setup::before(&forge.base_url()).config(REVIEW).start().await;
    let mut agent = gate.agent("agent-0");
    for _ in 0..2 {
        let told = review(&mut agent, number, None).await;
        told.refused(409, "already_created");
        assert_eq!(told.json()["claimgate"]["holder"]["account"], "agent-3");
    }
    let said = |text: &str| gate.stderr().lines().filter(|line| line.contains(text)).count();
    assert_eq!(said("2 times; the oldest counts"), 1, "{}", gate.stderr());
    let found = gate.audit().into_iter().filter(|line| line["kind"] == "once").collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0]["reason"].as_str().is_some_and(|text| text.contains("2 times")), "{found:?}");
    // The survivor goes: the other one counts. Then nothing does.
    for (gone, left) in [(&made[0], Some("agent-4")), (&made[1], None)] {
        let path = format!("{}/{}/dismissals", reviews_of(number), gone["id"]);
        let dismissed = past(&forge, "acme").call(Method::POST, &path, Some(json!({ "message": "stale" }))).await;
        assert_eq!(dismissed.status, 200, "{dismissed:?}");
        let told = review(&mut agent, number, None).await;
        match left {
            Some(left) => {
                assert_eq!(told.refused(409, "already_created").json()["claimgate"]["holder"]["account"], left);
            }
            None => drop(told.granted()),
        }
    }
    e2e::stop_and_verify(gate, 6).await;
}

#[tokio::test]
async fn a_rule_that_only_observes_refuses_nothing() {
    let forge = forge().await;
    let config = format!("{REVIEW}mode = \"observe\"\n{PULL}by = \"holder\"\nmode = \"observe\"\n");
    let gate = Setup::before(&forge.base_url()).config(&config).start().await;
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    review(&mut one, number, None).await.granted();
    let second = review(&mut other, number, None).await;
    assert_eq!(second.status, 200, "{second:?}");
    assert!(second.decision().starts_with("observe; code=already_created; id="), "{}", second.decision());
    let issue = e2e::backlog_issue(&forge).number;
    one.claim(issue).await.granted();
    let pull = open_pull(&mut other, &format!("fixes #{issue}")).await;
    assert_eq!(pull.status, 201, "{pull:?}");
    assert!(pull.decision().starts_with("observe; code=not_holder; id="), "{}", pull.decision());
    assert_eq!((forge.reviews(REPO, number).len(), forge.open_pulls(REPO)), (2, 2));
    // The operator's word makes it binding.
    let body = Some(json!({ "mode": "enforce", "rule": "once" }));
    assert_eq!(gate.operator().call(Method::POST, "/mode", body).await.status, 200);
    review(&mut gate.agent("agent-2"), number, None).await.refused(409, "already_created");
    e2e::stop_and_verify(gate, 6).await;
}

/// The manual's own rule, for agents behind one account: the pattern is met by the name that they give themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_binds_agents_by_the_name_that_they_give_themselves() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual/operating.md")).expect("it is there");
    let rule = readme.split("[[once]]").find(|part| part.contains("what = \"review\"")).expect("the manual has one");
    let forge = forge().await;
    let config = format!("[identity]\nshared_accounts = [\"gardener\"]\n[[once]]{rule}");
    let gate = Setup::before(&forge.base_url()).config(&config).start().await;
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let mut agents: Vec<Client> =
        (0..7).map(|name| gate.agent("gardener").below(&format!("/as/review-{name}"))).collect();
    let answers = all_review(&mut agents, number).await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((granted, forge.reviews(REPO, number).len()), (1, 1), "{answers:?}");
    // Who is not of the class is not bound.
    review(&mut gate.agent("gardener").below("/as/other"), number, None).await;
    assert_eq!(forge.reviews(REPO, number).len(), 2);
}

#[tokio::test]
async fn without_rules_all_of_it_streams_as_it_comes() {
    let forge = forge().await;
    let gate = e2e::gate(&forge).await;
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let issue = e2e::backlog_issue(&forge).number;
    for login in ["agent-0", "agent-1"] {
        let mut agent = gate.agent(login);
        for answer in [review(&mut agent, number, None).await, open_pull(&mut agent, &format!("fixes #{issue}")).await]
        {
            assert!(answer.status < 300 && !answer.headers.contains_key("claimgate-decision"), "{answer:?}");
        }
    }
    assert_eq!((forge.reviews(REPO, number).len(), forge.open_pulls(REPO)), (2, 3));
    assert!(gate.audit().is_empty());
    assert!(forge.requests().iter().all(|entry| entry.method == Method::POST), "the gate reads nothing of its own");
}

/// Killed at each step of a creation: it is there once, or not and possible again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_is_killed_leaves_neither_two_nor_a_lock() {
    for (point, landed) in [
        ("export CLAIMGATE_FAILPOINT=t2.before:1", false),
        ("export CLAIMGATE_FAILPOINT=t2.after:1", false),
        ("export CLAIMGATE_FAILPOINT=answered:1", true),
        ("export CLAIMGATE_FAILPOINT=t3.before:1", true),
        ("export CLAIMGATE_FAILPOINT=t3.after:1", true),
    ] {
        let forge = forge().await;
        let periods =
            "[upstream]\nwrite_timeout = \"1s\"\n[ledger]\nemit_window = \"500ms\"\ndoubt_period = \"1500ms\"\n";
        let setup = Setup::before(&forge.base_url()).config(&format!("{REVIEW}{periods}")).shell(point);
        let number = forge.add_pull(REPO, "a change", "branch", "main").number;
        let mut gate = setup.start().await;
        let body = json!({ "event": "APPROVED" });
        let told = gate.agent("agent-0").attempt(Method::POST, &reviews_of(number), &body).await;
        assert_eq!((told, gate.ended().await.success()), (None, false), "{point}");
        assert_eq!(forge.reviews(REPO, number).len(), usize::from(landed), "{point}");
        let gate = setup.again(&forge.base_url()).start().await;
        let decided = e2e::eventually(
            || async {
                let answer = review(&mut gate.agent("agent-1"), number, None).await;
                (answer.status == 200 || answer.code() != "in_doubt").then_some(answer)
            },
            Duration::from_secs(20),
        );
        let decided = decided.await.expect("no key stays locked");
        let winner = if landed { "agent-0" } else { "agent-1" };
        assert_eq!(decided.status, if landed { 409 } else { 200 }, "{point}: {decided:?}");
        assert_eq!(forge.reviews(REPO, number), [("APPROVED".to_owned(), winner.to_owned())], "{point}");
    }
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_no_way_round() {
    let forge = forge().await;
    let gate = Setup::before(&forge.base_url()).config(REVIEW).start().await;
    let number = forge.add_pull(REPO, "a change", "branch", "main").number;
    let mut agent = gate.agent("agent-0");
    review(&mut agent, number, None).await.granted();
    let body = || Some(json!({ "event": "APPROVED" }));
    for path in [
        format!("//api/v1/repos/{REPO}/pulls/{number}/reviews"),
        format!("/api/v1/repos/{REPO}/pulls/0{number}/reviews"),
        format!("/api/v1/repos/{REPO}/pulls/{number}/%72eviews/"),
        format!("/api/v1/repos/{REPO}/x/../pulls/{number}/reviews"),
        format!("/forge/api/v1/repos/{REPO}/pulls/{number}/reviews"),
    ] {
        let told = agent.call(Method::POST, &path, body()).await;
        assert!(told.status == 400 || told.status == 409, "{path}: {told:?}");
    }
    // Fields in another spelling, and other encodings.
    for (kind, body) in [
        ("application/json", r#"{"Event":"APPROVED"}"#),
        ("application/json", r#"{"event":"approved"}"#),
        ("application/json", r#"{"event":"PENDING","event":"APPROVED"}"#),
        ("application/x-www-form-urlencoded", "event=APPROVED"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\nAPPROVED\r\n--x--\r\n",
        ),
        ("text/x-json", r#"{"event":"APPROVED"}"#),
    ] {
        let told = agent.send(Method::POST, &reviews_of(number), &[("content-type", kind)], body.into()).await;
        assert!(matches!(told.status, 400 | 409 | 415), "{kind} {body}: {told:?}");
    }
    assert_eq!(forge.reviews(REPO, number).len(), 1);
}

/// What closes an issue for the forge counts, in whatever letters; what it does not read as text does not.
#[tokio::test]
async fn only_what_the_forge_reads_as_closing_words_counts() {
    let forge = forge().await;
    let config = format!("{PULL}\n[upstream]\nclosing_keywords = [\"fixes\", \"cierra\"]\n");
    let gate = Setup::before(&forge.base_url()).config(&config).start().await;
    let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    let issue = e2e::backlog_issue(&forge).number;
    let template =
        format!("<!-- e.g.\n\nFixes #{issue}\n-->\n```\nfixes #{issue}\n```\n`fixes #{issue}` closes #{issue}");
    for agent in [&mut one, &mut other] {
        assert_eq!(open_pull(agent, &template).await.status, 201);
    }
    let (mut third, mut fourth) = (gate.agent("agent-2"), gate.agent("agent-3"));
    open_pull(&mut third, &format!("fixe\u{17F} #{issue}")).await.granted();
    open_pull(&mut fourth, &format!("Cierra: !{issue}")).await.refused(409, "already_created");
    assert_eq!(forge.open_pulls(REPO), 3);
    e2e::stop_and_verify(gate, 2).await;
}

/// A closed pull request that is opened again is asked like one that is created.
#[tokio::test]
async fn a_second_one_is_not_opened_again_either() {
    let forge = forge().await;
    let gate = Setup::before(&forge.base_url()).config(&format!("{PULL}by = \"holder\"\n")).start().await;
    let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    let issue = e2e::backlog_issue(&forge).number;
    let text = format!("fixes #{issue}");
    let state = |state: &str| Some(json!({ "state": state }));
    let path = |number: &Value| format!("/api/v1/repos/{REPO}/pulls/{number}");
    let first = open_pull(&mut one, &text).await.granted().json()["number"].clone();
    one.call(Method::PATCH, &path(&first), state("closed")).await.granted();
    let second = open_pull(&mut other, &text).await.granted().json()["number"].clone();
    // By either path, since an issue's leads to a pull request as well.
    for path in [path(&first), e2e::issue(first.as_u64().expect("a number"))] {
        let refused = one.call(Method::PATCH, &path, state("open")).await;
        refused.refused(409, "already_created");
        assert_eq!(refused.json()["claimgate"]["holder"]["account"], "agent-1");
    }
    assert_eq!(forge.open_pulls(REPO), 1);
    // What is open already, and what closes nothing, is no creation.
    other.call(Method::PATCH, &path(&second), state("open")).await.granted();
    other.call(Method::PATCH, &path(&second), state("closed")).await.granted();
    // While somebody holds the issue, only the holder's.
    other.claim(issue).await.granted();
    one.call(Method::PATCH, &path(&first), state("open")).await.refused(409, "not_holder");
    other.release(issue).await.granted();
    one.call(Method::PATCH, &path(&first), state("open")).await.granted();
    other.call(Method::PATCH, &path(&second), state("open")).await.refused(409, "already_created");
    open_pull(&mut gate.agent("agent-2"), &text).await.refused(409, "already_created");
    assert_eq!(forge.open_pulls(REPO), 1);
    e2e::stop_and_verify(gate, 12).await;
}

/// Where people are judged like agents, a form opens no second one either; elsewhere what it opens counts.
#[tokio::test]
async fn a_form_opens_no_second_one_again_where_it_is_judged() {
    for enforced in [true, false] {
        let forge = forge().await;
        forge.add_session("gardener", "session");
        let setup = Setup::before(&forge.base_url());
        let file = setup.dir().join("service");
        e2e::write_private(&file, "token-of-acme");
        let web = if enforced { "enforce" } else { "override" };
        let token = file.display();
        let toml = format!("{PULL}[web]\nmode = \"{web}\"\n[upstream]\nservice_token_file = \"{token}\"\n");
        let gate = setup.config(&toml).start().await;
        let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
        let issue = e2e::backlog_issue(&forge).number;
        let text = format!("fixes #{issue}");
        let number = |answer: Answer| answer.granted().json()["number"].as_u64().expect("a number");
        let first = number(open_pull(&mut one, &text).await);
        let path = |number: u64| format!("/api/v1/repos/{REPO}/pulls/{number}");
        let closed = || Some(json!({ "state": "closed" }));
        one.call(Method::PATCH, &path(first), closed()).await.granted();
        let second = number(open_pull(&mut other, &text).await);
        let id = forge.issue(REPO, first).id;
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", "i_like_gitea=session")];
        for (form, body) in [
            (format!("/{REPO}/issues/status"), format!("action=open&issue_ids={id}")),
            (format!("/{REPO}/issues/{first}/comments"), "status=reopen".to_owned()),
        ] {
            let answer = gate.anonymous().send(Method::POST, &form, &headers, body.into()).await;
            if enforced {
                answer.refused(409, "already_created");
            }
            assert_eq!(forge.open_pulls(REPO), if enforced { 1 } else { 2 }, "{answer:?}");
        }
        if enforced {
            // None is open any more: the form may.
            other.call(Method::PATCH, &path(second), closed()).await.granted();
            let body = format!("action=open&issue_ids={id}");
            let (mut person, form) = (gate.anonymous(), format!("/{REPO}/issues/status"));
            assert_eq!(person.send(Method::POST, &form, &headers, body.into()).await.status, 200);
        }
        open_pull(&mut gate.agent("agent-2"), &text).await.refused(409, "already_created");
        e2e::stop_and_verify(gate, 6).await;
    }
}
