//! One agent: the claim of an unchanged shell script, over one kept connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::upstream::{Dialer, Origin, UpstreamConfig};

/// A way to the tracker: its own address, or a gate's.
#[derive(Clone)]
pub(crate) struct Entrance {
    url: String,
    dialer: Arc<Dialer>,
}

/// Who an agent is.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The account's login.
    pub(crate) login: String,
    /// Its token.
    pub(crate) token: SecretString,
    /// The name of the agent, where several have the account.
    pub(crate) name: Option<String>,
    /// Its number, by which its haste differs from that of others.
    pub(crate) number: usize,
}

/// An agent with one connection.
pub(crate) struct Agent {
    pub(crate) identity: Identity,
    pub(crate) way: Entrance,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// What the answers to its claims said of a gate.
    pub(crate) seen: AnswerSigns,
}

/// What the answers to claims said.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnswerSigns {
    /// Answers without a word of a gate.
    pub(crate) without_a_gate: usize,
    /// Answers of a gate that refuses nothing.
    pub(crate) observed: usize,
    /// The first answer that neither grants nor refuses.
    pub(crate) odd: Option<String>,
}

/// What it races for.
#[derive(Clone, Copy)]
pub(crate) struct Prize<'a> {
    /// `owner/name`.
    pub(crate) repo: &'a str,
    /// The issue's number.
    pub(crate) number: u64,
    /// The labels that it changes once it has won; none where the repository lacks them.
    pub(crate) labels: Option<WorkLabels>,
}

/// The ids of the labels that say where an issue stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkLabels {
    /// It is being worked on.
    pub(crate) in_progress: u64,
    /// It waits.
    pub(crate) backlog: u64,
}

/// Before each of its calls an agent is busy with itself (a process is started, an answer is read), a different time at
/// each call and less than this. Without it all would move in step, as agents do not.
const HASTE_MS: usize = 16;
/// A call that takes longer has no answer.
const PATIENCE: Duration = Duration::from_mins(2);

// === impl Entrance ===

impl Entrance {
    /// To this URL.
    pub(crate) fn to(url: &str) -> anyhow::Result<Self> {
        let origin: Origin = url.parse().with_context(|| format!("`{url}`"))?;
        let dialer = Dialer::new(&UpstreamConfig::new(origin)).with_context(|| url.to_owned())?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), dialer: Arc::new(dialer) })
    }

    /// As it was written.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

// === impl Agent ===

impl Agent {
    pub(crate) fn new(identity: Identity, way: Entrance) -> Self {
        Self { identity, way, connection: None, seen: AnswerSigns::default() }
    }

    /// The claim: look, take, look again, relabel. Returns whether the agent believes that it won.
    pub(crate) async fn claim(&mut self, prize: Prize<'_>) -> anyhow::Result<bool> {
        let issue = issue(prize.repo, prize.number);
        self.hurry("/api/v1/user").await;
        self.call(Method::GET, "/api/v1/user", None).await?;
        self.hurry(&issue).await;
        let (_, before) = self.call(Method::GET, &issue, None).await?;
        if !assignees(&before).is_empty() {
            return Ok(false);
        }
        let me = self.identity.login.clone();
        self.hurry(&issue).await;
        let (taken, _) = self.take(&issue, &json!({ "assignees": [me] })).await?;
        if !taken.is_success() {
            return Ok(false);
        }
        self.hurry(&issue).await;
        let (_, after) = self.call(Method::GET, &issue, None).await?;
        if assignees(&after) != [me.as_str()] {
            return Ok(false);
        }
        if let Some(labels) = prize.labels {
            let (added, removed) = (format!("{issue}/labels"), format!("{issue}/labels/{}", labels.backlog));
            self.hurry(&added).await;
            self.call(Method::POST, &added, Some(json!({ "labels": [labels.in_progress] }))).await?;
            self.hurry(&removed).await;
            self.call(Method::DELETE, &removed, None).await?;
        }
        Ok(true)
    }

    /// The write that claims. Notes what the answer says of a gate.
    async fn take(&mut self, issue: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        let (status, decision, answer) = self.send(Method::PATCH, issue, Some(body.clone())).await?;
        match decision.as_ref().map(HeaderValue::as_bytes) {
            None => self.seen.without_a_gate += 1,
            Some(decision) if decision.starts_with(b"observe") => self.seen.observed += 1,
            Some(_) => {}
        }
        if !status.is_success() && status != StatusCode::CONFLICT {
            let text = answer["message"].as_str().unwrap_or_default();
            self.seen.odd.get_or_insert_with(|| format!("{} answered a claim with {status}: {text}", self.way.url));
        }
        Ok((status, answer))
    }

    /// One call, and its answer as JSON; null where it is none.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let (status, _, answer) = self.send(method, path, body).await?;
        Ok((status, answer))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Option<HeaderValue>, Value)> {
        let what = format!("{method} {}{path}", self.way.url);
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(method, path, body));
        exchange.await.map_err(|_| anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs()))?.context(what)
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Option<HeaderValue>, Value)> {
        let origin = self.way.dialer.origin();
        let mut token = HeaderValue::try_from(format!("token {}", self.identity.token.expose_secret()))?;
        token.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", origin.base()))
            .header(header::HOST, origin.authority())
            .header(header::AUTHORIZATION, token)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(name) = &self.identity.name {
            request = request.header("Claimgate-Agent", name);
        }
        let request = request.body(Full::from(body.map(|body| body.to_string()).unwrap_or_default()))?;
        let answer = self.connected().await?.send_request(request).await?;
        let (status, decision) = (answer.status(), answer.headers().get("Claimgate-Decision").cloned());
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, decision, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// The connection, opened anew where the other side has closed it.
    async fn connected(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        let is_open = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let (connection, driver) =
                hyper::client::conn::http1::handshake(TokioIo::new(self.way.dialer.dial().await?)).await?;
            tokio::spawn(driver);
            self.connection = Some(connection);
        }
        self.connection.as_mut().context("the connection is gone")
    }

    /// The same in each run: what differs between the runs is the way alone.
    async fn hurry(&self, path: &str) {
        let number = self.identity.number;
        let mixed = path.bytes().fold(number + 1, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(byte.into()));
        let haste = mixed.wrapping_mul(number * 2 + 7) / 8 % HASTE_MS;
        tokio::time::sleep(Duration::from_millis(haste as u64)).await;
    }
}

/// The path of an issue.
pub(crate) fn issue(repo: &str, number: u64) -> String {
    format!("/api/v1/repos/{repo}/issues/{number}")
}

/// Who is assigned, by an issue as the tracker shows it.
pub(crate) fn assignees(issue: &Value) -> Vec<&str> {
    let listed = issue["assignees"].as_array().into_iter().flatten();
    listed.filter_map(|user| user["login"].as_str()).collect()
}
