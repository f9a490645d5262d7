//! `claimgate race`, run as somebody would who met the race yesterday: on a forge of their own, with tokens of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use claimgate::fake_forge::{FakeForge, Vices};
use serde_json::Value;
use tokio::process::Command;

use crate::e2e::{self, REPO, agents};

/// A forge on which agents race: its writes take a while, as on a database that is on a disk.
async fn forge(logins: &[&str]) -> FakeForge {
    let forge = e2e::forge(logins).await;
    forge.set_vices(Vices { write_delay: Duration::from_millis(15), ..Vices::default() });
    forge
}

/// A file of tokens.
fn tokens(dir: &Path, logins: &[&str]) -> PathBuf {
    let file = dir.join("tokens");
    let lines: Vec<String> = logins.iter().map(|login| e2e::token(login)).collect();
    e2e::write_private(&file, &format!("# one a line\n\n{}\n", lines.join("\n")));
    file
}

/// What it says and its exit code; `more` after the forge, the repository and the tokens.
async fn race(forge: &FakeForge, logins: &[&str], more: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    command
        .args(["race", "--forge", &forge.base_url(), "--repo", REPO])
        .arg("--tokens")
        .arg(tokens(dir.path(), logins));
    let output = command.args(more).stdin(Stdio::null()).output().await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The figures of a row: one winner, two or more, none, two assignees.
#[track_caller]
fn row(said: &str, name: &str) -> Vec<usize> {
    let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {said}"));
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Every scratch issue is closed, and nobody is assigned.
#[track_caller]
fn assert_cleared(forge: &FakeForge, count: usize) {
    assert_eq!(forge.issues(REPO), count);
    for number in 1..=count as u64 {
        let issue = forge.issue(REPO, number);
        assert!(issue.state == "closed" && issue.assignees.is_empty(), "{issue:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_winner_through_the_gate_and_the_issues_closed_again() {
    let names = agents(6);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let forge = forge(&names).await;
    let gate = e2e::gate(&forge).await;
    let through = format!("http://{}", gate.address);
    let (code, said, err) = race(&forge, &names, &["--through", &through, "--issues", "6"]).await;
    assert_eq!(code, Some(0), "{said}{err}");
    assert_eq!(row(&said, &format!("through {through}"))[..4], [6, 0, 0, 0], "{said}");
    let direct = row(&said, "directly");
    assert_eq!(direct[..3].iter().sum::<usize>(), 6, "each issue is counted once: {said}");
    assert!(direct[1] + direct[2] + direct[3] > 0, "the forge alone does not get through it: {said}");
    assert!(said.contains("Through the gate: each of 6 issues had one winner."), "{said}");
    assert_eq!(err, "", "the progress bar is for terminals");
    assert_cleared(&forge, 12);
    assert_eq!(gate.operator().get("/claims").await.json()["claims"], serde_json::json!([]), "nobody holds one");
    e2e::stop_and_verify(gate, 6).await;
}

/// A second way to the forge, and a gate with a ledger of its own: both show, and each is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_chain_is_found_and_named() {
    let names = agents(8);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let forge = forge(&names).await;
    let (gate, other) = (e2e::gate(&forge).await, e2e::gate(&forge).await);
    let (through, beside, hole) =
        (format!("http://{}", gate.address), format!("http://{}", other.address), forge.base_url());
    let (code, said, err) = race(&forge, &names, &["--through", &through, "--through", &hole, "--issues", "6"]).await;
    assert_eq!(code, Some(1), "{said}{err}");
    assert!(said.contains("There is a hole"), "{said}");
    assert!(said.contains(&format!("{hole} leads to the tracker past the gate")), "{said}");
    assert!(!said.contains(&format!("{through} leads")), "{said}");
    let (code, said, err) = race(&forge, &names, &["--through", &through, "--through", &beside, "--issues", "6"]).await;
    assert_eq!(code, Some(1), "{said}{err}");
    assert!(said.contains("the gates do not share a ledger"), "{said}");
    assert_cleared(&forge, 24);
}

/// A gate that only observes is no hole, and is named as what it is. As JSON, and with the issues deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_only_observes_is_named() {
    let names = agents(6);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let forge = forge(&names).await;
    let setup = e2e::Setup::before(&forge.base_url()).config("[assignment]\nmode = \"observe\"\n");
    let gate = setup.start().await;
    let through = format!("http://{}", gate.address);
    let (code, said, err) = race(&forge, &names, &["--through", &through, "--issues", "6", "--json", "--delete"]).await;
    let told: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{err}"));
    // Only an administrator deletes; whatever could not be is named.
    assert_eq!(code, Some(1), "{said}{err}");
    let verdict = told["verdict"].to_string();
    assert!(told["through"]["one_winner"] == 6 || verdict.contains("only observes"), "{told:#}");
    assert_eq!(told["left_open"].as_array().map(Vec::len), Some(12), "{told:#}");
    assert!(err.contains("close them by hand: acme/app#1, "), "{err}");
}

/// Agents behind one account are told apart by the names that they give.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_may_share_an_account() {
    let forge = forge(&["bot"]).await;
    let gate = e2e::gate(&forge).await;
    let through = format!("http://{}", gate.address);
    let (code, said, err) = race(&forge, &["bot"], &["--through", &through, "--issues", "4", "--agents", "5"]).await;
    assert_eq!(code, Some(0), "{said}{err}");
    assert!(said.contains("5 agents, which share accounts (1 in all)"), "{said}");
    assert_eq!(row(&said, &format!("through {through}"))[..4], [4, 0, 0, 0], "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_race_from_starting_is_said_before_an_issue_is_made() {
    let forge = forge(&["ann", "bob"]).await;
    forge.add_user("reader", &e2e::token("reader"));
    let url = forge.base_url();
    for (logins, more, words) in [
        (&["ann"][..], &["--through", url.as_str()][..], "has one token: a race takes two"),
        (&["ann", "nobody"], &["--through", &url], "does not say whose token 2 is"),
        (&["ann", "reader"], &["--through", &url], "reader may not write to acme/app"),
        (&[], &["--through", &url], "has no token"),
        (&["ann", "bob"], &["--through", "ftp://x"], "must begin with http://"),
    ] {
        let (code, said, err) = race(&forge, logins, more).await;
        assert_eq!(code, Some(1), "{said}{err}");
        assert!(err.contains(words), "{words}: {err}");
        assert_eq!(forge.issues(REPO), 0, "{words}");
    }
    let (code, said, err) = race(&forge, &["ann", "bob"], &["--through", "http://127.0.0.1:9"]).await;
    assert_eq!(code, Some(1), "{said}{err}");
    assert!(err.contains("http://127.0.0.1:9"), "{err}");
    assert_cleared(&forge, 20);
}
