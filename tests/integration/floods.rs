//! What a stranger can make the gate keep, measured at the process: its resident memory, and the bytes of its audit and
//! of its ledger. SECURITY.md lists each bound with its test.
//!
//! A stranger has no credential, or one that the tracker does not know. Each test sends a few seconds of bounded load
//! over loopback, and asks afterwards what has stayed.

use std::path::Path;
use std::time::Duration;

use claimgate::effect::audit::LONGEST_LINE;
use http::Method;

use crate::e2e::{Client, Gate, Setup, backlog_issue, eventually, forge, issue};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// What no line may carry.
const SECRET: &str = "ghp-in-the-wrong-place";

/// Resident memory of the gate, bytes.
fn memory(gate: &Gate) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", gate.process())).expect("it runs");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

/// Bytes of the ledger's files.
fn ledger(state: &Path) -> u64 {
    let files = std::fs::read_dir(state).expect("a directory").map(|file| file.expect("a file"));
    files
        .filter(|file| file.file_name().to_string_lossy().starts_with("ledger"))
        .map(|it| it.metadata().unwrap().len())
        .sum()
}

/// Somebody whose token the tracker does not know.
fn stranger(gate: &Gate, number: usize) -> Client {
    let mut client = gate.anonymous();
    client.authorization = (!number.is_multiple_of(2)).then(|| format!("token {number:040x}"));
    client
}

/// Guarded writes, each with one name that is too long.
fn long_writes(number: u64) -> Vec<(Method, String, String)> {
    let name = format!("{SECRET}-{}", "n".repeat(3 << 20));
    let many: Vec<String> = (0..9_000).map(|n| format!("{SECRET}-{n}")).collect();
    let (item, pull) = (issue(number), format!("/api/v1/repos/acme/app/pulls/{number}"));
    let owner = format!("/api/v1/repos/{}/app/issues/1", "o".repeat(30_000));
    vec![
        (Method::PATCH, item.clone(), format!(r#"{{"assignees":["{name}"]}}"#)),
        (Method::PATCH, item.clone(), format!(r#"{{"assignee":"{name}"}}"#)),
        (Method::PATCH, item.clone(), serde_json::json!({ "assignees": many }).to_string()),
        (Method::POST, format!("{item}/labels"), format!(r#"{{"labels":["{name}"]}}"#)),
        (Method::PUT, format!("{item}/labels"), serde_json::json!({ "labels": many[..90] }).to_string()),
        (Method::POST, format!("{pull}/requested_reviewers"), format!(r#"{{"reviewers":["{name}"]}}"#)),
        (
            Method::POST,
            format!("{pull}/requested_reviewers"),
            serde_json::json!({ "team_reviewers": many }).to_string(),
        ),
        (
            Method::POST,
            "/api/v1/repos/acme/app/issues".to_owned(),
            format!(r#"{{"title":"t","assignees":["{name}"]}}"#),
        ),
        (Method::PATCH, owner, format!(r#"{{"assignees":["{SECRET}"]}}"#)),
        (Method::PATCH, item.clone(), format!(r#"{{"{name}":1,"assignees":["{SECRET}"]}}"#)),
        (Method::PATCH, item.clone(), format!(r#"{{"state":"{name}"}}"#)),
        (Method::PATCH, format!("{item}?{}=1", "q".repeat(30_000)), format!(r#"{{"assignees":["{SECRET}"]}}"#)),
        (Method::POST, "/_claimgate/v1/claims".to_owned(), format!(r#"{{"item":"acme/app#1","assignee":"{SECRET}"}}"#)),
        (Method::POST, "/_claimgate/v1/claims".to_owned(), format!(r#"{{"item":"{}"}}"#, "i".repeat(200_000))),
        (Method::PATCH, item, format!(r#"{{"assignees":["{SECRET}"]}}"#)),
    ]
}

/// The lines of what was refused, once each has one.
async fn lines(gate: &Gate, count: usize) -> String {
    let printed = || async { Some(gate.stdout()).filter(|text| text.lines().count() >= count) };
    eventually(printed, Duration::from_secs(20)).await.unwrap_or_else(|| panic!("{count} lines: {}", gate.stdout()))
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_end_leave_short_lines_and_nothing_of_the_body() {
    let forge = forge(&["agent-0"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let number = backlog_issue(&forge).number;
    let (before, mut sent) = (memory(&gate), 0);
    for round in 0..3 {
        for (method, path, body) in long_writes(number) {
            let headers = [JSON[0], ("x-request-id", &*"r".repeat(9_000)), ("claimgate-agent", &*"a".repeat(9_000))];
            let headers = if round == 2 { &headers[..] } else { &headers[..1] };
            let answer = stranger(&gate, round).send(method, &path, headers, body.into()).await;
            assert!((400..500).contains(&answer.status), "{path:.60}: {answer:?}");
            assert!(answer.body.len() < 4 << 10, "{path:.60} is echoed: {} bytes", answer.body.len());
            sent += 1;
        }
    }
    let text = lines(&gate, sent).await;
    let longest = text.lines().map(str::len).max().unwrap_or_default();
    assert!(longest <= LONGEST_LINE, "a line has {longest} bytes");
    assert!(!text.contains(SECRET), "what nobody has vouched for is in the audit");
    let (grown, ledger) = (memory(&gate).saturating_sub(before), ledger(gate.state_dir()));
    assert!(ledger < 1 << 20, "the ledger has {ledger} bytes after {sent} refusals");
    assert!(grown < 64 << 20, "{grown} bytes more after {sent} refusals");
}

/// What an account of the tracker sends is recorded, as much of it as a line holds; and read back within a bound.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_is_refused_leaves_short_lines() {
    let forge = forge(&["agent-0", "agent-1"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let number = backlog_issue(&forge).number;
    gate.agent("agent-1").claim(number).await.granted();
    let labels: Vec<String> = (0..100).map(|n| format!("{n:0>255}")).collect();
    let mut agent = gate.agent("agent-0");
    for _ in 0..20 {
        let body = serde_json::json!({ "labels": labels }).to_string();
        let answer = agent.send(Method::PUT, &format!("{}/labels", issue(number)), &JSON, body.into()).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    let text = lines(&gate, 21).await;
    assert!(text.lines().all(|line| line.len() <= LONGEST_LINE), "{text}");
    assert!(text.contains("labels=[000"), "who is known is recorded with what it asked: {text}");
}
