//! A Jira with accounts and projects, a gate before it, and who calls them.

use std::net::SocketAddr;

use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};

use super::fake::{FakeJira, Flavour};
use crate::e2e::{Answer, Client, Gate, Setup};

/// `dev-1` to `dev-8`, `lead`, and two projects: `DIR` has a workflow with arrows, `GLO` one that leads from anywhere.
pub async fn jira(flavour: Flavour) -> FakeJira {
    let jira = FakeJira::start(flavour).await;
    seed(&jira);
    jira
}

pub fn seed(jira: &FakeJira) {
    let mut rows = jira.rows();
    for number in 1..=8 {
        rows.add_user(&format!("dev-{number}"));
    }
    rows.add_user("lead");
    rows.add_project("DIR", false);
    rows.add_project("GLO", true);
}

/// A gate that speaks Jira, with more configuration.
pub async fn gate(jira: &FakeJira, more: &str) -> Gate {
    let config = format!("[upstream]\ntracker = \"jira\"\n{more}");
    Setup::before(&jira.base()).config(&config).start().await
}

/// Somebody with an account, by whichever credential this flavour has.
pub fn caller(jira: &FakeJira, address: SocketAddr, login: &str) -> Client {
    let name = match jira.flavour() {
        Flavour::Cloud => format!("{login}@example.com"),
        Flavour::DataCenter => login.to_owned(),
    };
    let proof = base64::engine::general_purpose::STANDARD.encode(format!("{name}:secret-of-{login}"));
    let mut client = Client::new(address, login);
    client.authorization = Some(format!("Basic {proof}"));
    client
}

/// The version of the interface that clients of this flavour call.
pub fn version(jira: &FakeJira) -> &'static str {
    match jira.flavour() {
        Flavour::Cloud => "3",
        Flavour::DataCenter => "2",
    }
}

/// One that calls about an issue.
pub struct Agent {
    pub client: Client,
    account: Value,
    version: &'static str,
}

impl Agent {
    pub fn new(jira: &FakeJira, address: SocketAddr, login: &str) -> Self {
        Self { client: caller(jira, address, login), account: jira.named(login), version: version(jira) }
    }

    /// As one of several behind an account.
    pub fn named(jira: &FakeJira, address: SocketAddr, login: &str, instance: &str) -> Self {
        let agent = Self::new(jira, address, login);
        let client = agent.client.below(&format!("/as/{instance}"));
        Self { client, account: agent.account, version: agent.version }
    }

    pub fn path(&self, issue: &str) -> String {
        format!("/rest/api/{}/issue/{issue}", self.version)
    }

    pub async fn assign(&mut self, issue: &str) -> Answer {
        let (path, body) = (format!("{}/assignee", self.path(issue)), self.account.clone());
        self.client.call(Method::PUT, &path, Some(body)).await
    }

    pub async fn release(&mut self, issue: &str) -> Answer {
        let body = json!({ "fields": { "assignee": null } });
        self.client.call(Method::PUT, &self.path(issue), Some(body)).await
    }

    pub async fn take(&mut self, issue: &str, transition: &str) -> Answer {
        self.take_with(issue, transition, json!({})).await
    }

    /// A transition with more members.
    pub async fn take_with(&mut self, issue: &str, transition: &str, mut body: Value) -> Answer {
        body["transition"] = json!({ "id": transition });
        self.client.call(Method::POST, &format!("{}/transitions", self.path(issue)), Some(body)).await
    }

    /// The transition that also assigns.
    pub async fn take_and_assign(&mut self, issue: &str, transition: &str) -> Answer {
        let body = json!({ "fields": { "assignee": self.account } });
        self.take_with(issue, transition, body).await
    }
}
