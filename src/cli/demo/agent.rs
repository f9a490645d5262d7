//! One agent: the claim of an unchanged shell script, over one kept connection.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// An agent with an account of its own.
pub(super) struct Agent {
    number: usize,
    address: SocketAddr,
    connection: SendRequest<Full<Bytes>>,
}

/// What it races for.
#[derive(Clone, Copy)]
pub(super) struct Prize<'a> {
    /// `owner/name`.
    pub(super) repo: &'a str,
    /// The issue's number.
    pub(super) number: u64,
    /// The label that says that it is being worked on.
    pub(super) in_progress: u64,
    /// The label that it had before.
    pub(super) backlog: u64,
}

/// Before each of its calls an agent is busy with itself (a process is started, an answer is read), a different time at
/// each call and less than this. Without it all would move in step, as agents do not.
const HASTE_MS: usize = 16;

/// An agent's account.
pub(super) fn login(number: usize) -> String {
    format!("agent-{number}")
}

/// An agent's token.
pub(super) fn token(number: usize) -> String {
    format!("token-{number}")
}

// === impl Agent ===

impl Agent {
    pub(super) async fn connect(number: usize, address: SocketAddr) -> anyhow::Result<Self> {
        let stream = tokio::net::TcpStream::connect(address).await.context("nobody listens")?;
        stream.set_nodelay(true)?;
        let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self { number, address, connection })
    }

    /// The claim: look, take, look again, relabel. Returns whether the agent believes that it won.
    pub(super) async fn claim(&mut self, prize: Prize<'_>) -> anyhow::Result<bool> {
        let issue = format!("/api/v1/repos/{}/issues/{}", prize.repo, prize.number);
        self.call(Method::GET, "/api/v1/user", None).await?;
        let (_, before) = self.call(Method::GET, &issue, None).await?;
        if !assignees(&before).is_empty() {
            return Ok(false);
        }
        let me = login(self.number);
        let (taken, _) = self.call(Method::PATCH, &issue, Some(json!({ "assignees": [me] }))).await?;
        if !matches!(taken, StatusCode::OK | StatusCode::CREATED) {
            return Ok(false);
        }
        let (_, after) = self.call(Method::GET, &issue, None).await?;
        if assignees(&after) != [me.as_str()] {
            return Ok(false);
        }
        self.call(Method::POST, &format!("{issue}/labels"), Some(json!({ "labels": [prize.in_progress] }))).await?;
        self.call(Method::DELETE, &format!("{issue}/labels/{}", prize.backlog), None).await?;
        Ok(true)
    }

    async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<(StatusCode, Value)> {
        tokio::time::sleep(self.haste(path)).await;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("token {}", token(self.number)))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.map(|body| body.to_string()).unwrap_or_default()))?;
        self.connection.ready().await?;
        let answer = self.connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// The same in each run: what differs between the runs is the gate alone.
    fn haste(&self, path: &str) -> Duration {
        let mixed = path.bytes().fold(self.number + 1, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(byte.into()));
        Duration::from_millis((mixed.wrapping_mul(self.number * 2 + 7) / 8 % HASTE_MS) as u64)
    }
}

fn assignees(issue: &Value) -> Vec<&str> {
    let listed = issue["assignees"].as_array().into_iter().flatten();
    listed.filter_map(|user| user["login"].as_str()).collect()
}
