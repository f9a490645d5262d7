//! Who edited an item past the gate, or by a form of the web interface: the tracker's timeline says so, and the audit, the log,
//! `history` and `report` tell it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use claimgate::fake_forge::{FakeForge, Fault, Matcher, Options};
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Gate, REPO, Setup, backlog_issue, eventually, stop_and_verify, token};

const SOON: Duration = Duration::from_secs(8);

async fn forge(options: Options) -> FakeForge {
    e2e::forge_with(options, &["ann", "bob", "cid", "keeper"]).await
}

/// A gate with a service token.
async fn gate(forge: &FakeForge, config: &str) -> Gate {
    let setup = Setup::before(&forge.base_url());
    let file = setup.dir().join("service-token");
    std::fs::write(&file, token("keeper")).expect("it is written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    setup.config(&format!("[upstream]\nservice_token_file = \"{}\"\n{config}", file.display())).start().await
}

/// The lines of this kind about the item, once there are so many.
async fn lines(gate: &Gate, kind: &str, number: u64, count: usize) -> Vec<Value> {
    let of = || {
        let lines = gate.audit().into_iter();
        lines.filter(|line| line["kind"] == kind && line["resource"] == item(number).as_str()).collect::<Vec<_>>()
    };
    let all = eventually(|| async { Some(of()).filter(|lines| lines.len() >= count) }, SOON).await;
    all.unwrap_or_else(|| panic!("no {count} lines {kind} of #{number}: {:#?}", gate.audit()))
}

async fn author(gate: &Gate, number: u64) -> Value {
    lines(gate, "author", number, 1).await.remove(0)
}

fn item(number: u64) -> String {
    format!("{REPO}#{number}")
}

async fn claimgate(gate: &Gate, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_claimgate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLAIMGATE_")) {
        command.env_remove(name);
    }
    let output = command.args(arguments).output().await.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let _ = gate;
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The item's history as a person reads it: each row without its time.
async fn history(gate: &Gate, number: u64) -> Vec<String> {
    let told = claimgate(gate, &["history", &item(number), "--admin", &gate.admin.to_string()]).await;
    told.lines().skip(2).map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_author_of_an_outside_edit_is_told_everywhere() {
    let forge = forge(Options::forgejo_17()).await;
    let gate = gate(&forge, "[log]\nlevel = \"info\"").await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    forge.outside_assign("bob", REPO, number, &["cid"]);
    let line = author(&gate, number).await;
    let revoked = lines(&gate, "revoked", number, 1).await.remove(0);
    assert_eq!(line["id"], revoked["id"], "it says of which line it tells the author");
    assert_eq!((&line["agent"]["account"], &line["change"]), (&json!("bob"), &json!("reassigned to cid")));
    assert_eq!(line["reason"], "reassigned to cid by bob, outside the gate");
    assert_eq!((&line["fence"], &line["holder"], &line["decision"]), (&Value::Null, &Value::Null, &Value::Null));
    let log =
        eventually(|| async { gate.stderr().lines().find(|line| line.contains("who made")).map(str::to_owned) }, SOON);
    let log = log.await.expect("the log tells it");
    for words in ["bob", "reassigned to cid", "outside the gate", revoked["id"].as_str().expect("an id")] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let told = history(&gate, number).await;
    assert_eq!(told[0], "revoked - - bob - ends the holding of ann - - reassigned to cid by bob, outside the gate");
    assert_eq!(told.len(), 2, "the author has no row of its own: {told:?}");
    let state = gate.state_dir().to_str().expect("UTF-8").to_owned();
    let report = claimgate(&gate, &["report", "--state-dir", &state]).await;
    let row = report.lines().find(|line| line.ends_with("reassigned to cid by bob, outside the gate"));
    assert!(row.is_some_and(|row| row.contains(&item(number)) && row.contains("  bob  ")), "{report}");
    assert!(report.contains(" about 1 item and 1 agent, "), "an editor is no agent: {report}");
    stop_and_verify(gate, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_outside_edit_has_its_author() {
    let forge = forge(Options::forgejo_17()).await;
    let gate = gate(&forge, "").await;
    let mut ann = gate.agent("ann");
    let numbers: Vec<u64> = (0..5).map(|_| backlog_issue(&forge).number).collect();
    let [closed, unassigned, second, stray, pushed] = numbers[..] else { unreachable!("five") };
    for number in &numbers {
        ann.claim(*number).await.granted();
    }
    forge.outside_close("bob", REPO, closed);
    forge.outside_assign("cid", REPO, unassigned, &[]);
    // Neither ends the holding: a second assignee, and another status.
    forge.outside_assign("bob", REPO, second, &["ann", "cid"]);
    forge.outside_labels("cid", REPO, stray, &["todo"]);
    // It is the agent itself that went round the gate.
    forge.outside_close("ann", REPO, pushed);
    for (number, by, reason) in [
        (closed, "bob", "closed by bob, outside the gate"),
        (unassigned, "cid", "ann unassigned by cid, outside the gate"),
        (second, "bob", "assigned to cid by bob, outside the gate"),
        (stray, "cid", "label backlog removed, label todo added by cid, outside the gate"),
        (pushed, "ann", "closed by ann, outside the gate"),
    ] {
        let line = author(&gate, number).await;
        assert_eq!((&line["agent"]["account"], &line["reason"]), (&json!(by), &json!(reason)), "{line:#}");
    }
    let told = history(&gate, second).await;
    assert_eq!(told[0], "author - - bob - assigned to cid - - assigned to cid by bob, outside the gate");
    assert_eq!(gate.holder(second).await.as_deref(), Some("ann"));
    stop_and_verify(gate, 13).await;
}

/// A guarded write that finds the edit itself does not wait for its author, and rests on nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_decision_waits_for_an_author() {
    let forge = forge(Options::forgejo_17()).await;
    let gate = gate(&forge, "[assignment]\noutside = \"hold\"").await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    forge.script(Fault::Delay(Duration::from_secs(3)), Matcher::new("GET", "/timeline"));
    forge.outside_assign("bob", REPO, number, &["cid"]);
    let began = tokio::time::Instant::now();
    gate.agent("ann").call(Method::PATCH, &e2e::issue(number), Some(json!({ "state": "closed" }))).await;
    gate.agent("bob").claim(number).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let line = author(&gate, number).await;
    let contested = lines(&gate, "contested", number, 1).await.remove(0);
    assert_eq!(line["id"], contested["id"]);
    // It may be a late landing of a write that passed the gate.
    assert_eq!(line["reason"], "reassigned to cid by bob, as the tracker tells");
    stop_and_verify(gate, 4).await;
}

/// What the tracker does not remember is nobody's; and older trackers remember nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_author_that_is_not_known_is_not_made_up() {
    for old in [false, true] {
        let forge = forge(if old { Options::default() } else { Options::forgejo_17() }).await;
        let gate = gate(&forge, "").await;
        let [silent, other] = [backlog_issue(&forge).number, backlog_issue(&forge).number];
        // Somebody did the same before; this time it leaves no trace.
        forge.outside_assign("bob", REPO, silent, &["ann"]);
        forge.outside_assign("bob", REPO, silent, &[]);
        gate.agent("ann").claim(silent).await.granted();
        gate.agent("cid").claim(other).await.granted();
        forge.outside_remove_collaborator("acme", REPO, "ann");
        lines(&gate, "revoked", silent, 1).await;
        forge.outside_assign("bob", REPO, other, &["keeper"]);
        lines(&gate, "revoked", other, 1).await;
        let asked = || async {
            let asked = forge.requests().iter().filter(|request| request.target.ends_with("/timeline")).count();
            (asked >= 2).then_some(())
        };
        eventually(asked, SOON).await.expect("it asked");
        if !old {
            author(&gate, other).await;
        }
        assert_eq!(
            history(&gate, silent).await[0],
            "revoked - - - - ends the holding of ann - - unassigned by an outside edit"
        );
        if old {
            let told = history(&gate, other).await;
            let reason = "reassigned to keeper by an outside edit";
            assert_eq!(told[0], format!("revoked - - - - ends the holding of cid - - {reason}"));
        }
        stop_and_verify(gate, 4).await;
    }
}

/// A session says nothing of its account; the tracker remembers whose its form was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_person_behind_a_form_is_told() {
    let forge = forge(Options::forgejo_17()).await;
    forge.add_session_with_token("bob", "the-session", "the-form-token");
    let gate = gate(&forge, "").await;
    let issue = backlog_issue(&forge);
    gate.agent("ann").claim(issue.number).await.granted();
    let mut browser = gate.agent("bob").with("cookie", "i_like_gitea=the-session");
    browser.authorization = None;
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-csrf-token", "the-form-token")];
    let form = format!("issue_ids={}&id={}&action=attach", issue.id, forge.user_id("cid"));
    browser.send(Method::POST, &format!("/{REPO}/issues/assignee"), &headers, form.into()).await.granted();
    let line = author(&gate, issue.number).await;
    assert_eq!(line["reason"], "assigned to cid by bob, by a form of the web interface");
    let decisions = lines(&gate, "decision", issue.number, 2).await;
    let form = decisions.iter().find(|decision| decision["id"] == line["id"]).expect("its line");
    assert!(form["agent"]["account"].as_str().is_some_and(|account| account.starts_with("session:")), "{form:#}");
    let told = history(&gate, issue.number).await;
    assert!(told[0].starts_with("decision admit - bob - assignees"), "{told:?}");
    assert!(told[0].ends_with("assigned to cid by bob, by a form of the web interface"), "{told:?}");
    stop_and_verify(gate, 3).await;
}
