//! GitHub: the gate before a fake one, its stock clients unchanged, and what real exchanges are made of.

mod classified;
mod clients;
mod described;
mod documents;
mod fake;
mod operator;
mod races;
mod rest;
mod shapes;

use serde_json::{Value, json};

use self::fake::FakeGitHub;
use crate::e2e::{Client, Gate, Setup, agents, token};

/// The repository of these tests.
pub const REPO: &str = "acme/app";
pub const LABELS: [&str; 6] = ["backlog", "todo", "in-progress", "blocked", "done", "area/ui"];

/// A GitHub with a repository, its labels, and these agents.
pub async fn github(logins: &[String]) -> (FakeGitHub, u64) {
    let github = FakeGitHub::start().await;
    github.add_user("acme", &token("acme"));
    for login in logins {
        github.add_user(login, &token(login));
    }
    let repo = github.add_repo("acme", "app");
    for label in LABELS {
        github.add_label(repo, label);
    }
    (github, repo)
}

/// The usual eight.
pub async fn eight() -> (FakeGitHub, u64, Vec<String>) {
    let agents = agents(8);
    let (github, repo) = github(&agents).await;
    (github, repo, agents)
}

/// A gate that speaks GitHub, with more configuration.
pub async fn gate(github: &FakeGitHub, more: &str) -> Gate {
    let config = format!("[upstream]\ntracker = \"github\"\n{more}");
    Setup::before(&github.base()).config(&config).start().await
}

/// An agent with its own token, as GitHub wants one to name itself.
pub fn agent(gate: &Gate, login: &str) -> Client {
    gate.agent(login).with("user-agent", "test")
}

pub fn issue(number: u64) -> String {
    format!("/repos/{REPO}/issues/{number}")
}

/// A body that names these assignees.
pub fn assignees(logins: &[&str]) -> Value {
    json!({ "assignees": logins })
}
