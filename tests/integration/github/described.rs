//! The fake GitHub, and the gate's own requests to it, against GitHub's official descriptions: npm's `@octokit/openapi` and
//! `@octokit/graphql-schema`, fetched when this runs. Without npm or the network it says that it was skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use http::Method;
use serde_json::{Value, json};

use super::{agent, assignees, eight, gate, issue};

/// The folder with the descriptions, if they can be had.
fn descriptions() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (list, folder) = (root.join("tests/github/descriptions/package.json"), root.join("target/github-descriptions"));
    let marker = folder.join("installed-from");
    if std::fs::read(&list).ok() != std::fs::read(&marker).ok() {
        std::fs::create_dir_all(&folder).ok()?;
        std::fs::copy(&list, folder.join("package.json")).ok()?;
        let npm = ["240", "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix"];
        let done = Command::new("timeout").args(npm).arg(&folder).output();
        if !done.is_ok_and(|done| done.status.success()) {
            eprintln!(
                "SKIPPED: no npm here, or no way to its packages, so nothing was held against GitHub's descriptions"
            );
            return None;
        }
        std::fs::copy(&list, &marker).expect("the folder is there");
    }
    Some(folder)
}

fn check(folder: &Path, exchanges: &Value) -> Value {
    let file = folder.join("exchanges.json");
    std::fs::write(&file, exchanges.to_string()).expect("it can be written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/github/descriptions/check.mjs");
    let output = Command::new("timeout").args(["240", "node"]).arg(script).arg(folder).arg(file).output();
    let output = output.expect("timeout runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_and_answered_is_as_described() {
    let Some(folder) = descriptions() else { return };
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let (number, pull) = (github.add_issue(repo, "acme", "work"), github.add_pull(repo, "acme", "more", "x"));
    let mut ann = agent(&gate, &agents[0]);
    let (_, node, _) = github.ids(repo, number);
    let below = format!("/repos/{}", super::REPO);
    for (method, path, body) in [
        (Method::POST, issue(number) + "/assignees", Some(assignees(&[&agents[0]]))),
        (Method::POST, issue(number) + "/labels", Some(json!(["in-progress"]))),
        (Method::GET, issue(number) + "/labels", None),
        (Method::DELETE, issue(number) + "/labels/in-progress", None),
        (Method::PUT, issue(number) + "/labels", Some(json!({ "labels": ["done"] }))),
        (Method::POST, issue(number) + "/comments", Some(json!({ "body": "b" }))),
        (Method::GET, issue(number) + "/comments", None),
        (Method::GET, issue(number) + "/events", None),
        (Method::PATCH, issue(number), Some(json!({ "state": "closed" }))),
        (Method::DELETE, issue(number) + "/assignees", Some(assignees(&[&agents[0]]))),
        (Method::DELETE, issue(number) + "/labels", None),
        (Method::GET, issue(9_999), None),
        (Method::POST, format!("{below}/issues"), Some(json!({ "title": "new" }))),
        (Method::GET, format!("{below}/issues?state=all"), None),
        (Method::GET, format!("{below}/pulls"), None),
        (Method::GET, format!("{below}/pulls/{pull}"), None),
        (Method::GET, format!("{below}/labels"), None),
        (Method::GET, format!("{below}/labels/todo"), None),
        (Method::GET, format!("{below}/assignees"), None),
        (Method::GET, "/user".to_owned(), None),
        (Method::GET, format!("/users/{}", agents[0]), None),
        (Method::POST, "/graphql".to_owned(), Some(json!({ "query": READ, "variables": { "id": node } }))),
    ] {
        ann.call(method, &path, body).await;
    }
    let told = check(&folder, &github.exchanges());
    eprintln!("{} answers held", told["held"]);
    let wrong: Vec<&str> = told["wrong"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(told["held"].as_u64().is_some_and(|held| held > 30), "{}", told["held"]);
}

const READ: &str = "query($id:ID!){node(id:$id){__typename ... on Issue{number title state assignees(first:5){nodes{login}} \
    labels(first:5){totalCount nodes{name}}}} viewer{login}}";
