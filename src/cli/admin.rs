//! A small HTTP client of the gate's own admin listener.
//!
//! One request on one connection, bounded in time and size. Not for the tracker.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::table::plain;
use crate::config::{Config, read_secret};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 64 << 20;

/// The admin listener of a running gate.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
    token: Option<SecretString>,
}

// === impl Admin ===

impl Admin {
    /// The one that a configuration names.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let bound =
            config.server.admin.context("the admin listener is off (server.admin = \"off\"): nobody can be asked")?;
        let read =
            |path: &std::path::PathBuf| read_secret(path).with_context(|| format!("cannot read {}", path.display()));
        let token = config.server.admin_token_file.as_ref().map(read).transpose()?;
        Ok(Self { address: reachable(bound), token })
    }

    /// Asks, and reads JSON.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        read_json(&self.ask(Method::GET, path, Bytes::new())?)
    }

    /// Asks, and reads text.
    pub(super) fn get_text(&self, path: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.ask(Method::GET, path, Bytes::new())?).into_owned())
    }

    /// Changes something; an answer without a body is `null`.
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.post_within(PATIENCE, "", path, body)
    }

    /// The same of what takes longer; `then` is said when even that was not long enough.
    pub(super) fn post_within(
        &self,
        patience: Duration,
        then: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let answer = self.ask_within(patience, then, Method::POST, path, body.to_string().into())?;
        if answer.is_empty() { Ok(Value::Null) } else { read_json(&answer) }
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        self.ask_within(PATIENCE, "", method, path, body)
    }

    fn ask_within(
        &self,
        patience: Duration,
        then: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = async { tokio::time::timeout(patience, self.exchange(method, path, body)).await };
        let (status, body) = match runtime.block_on(answer) {
            Ok(answer) => answer?,
            Err(_) => bail!("the gate at {} did not answer within {} s{then}", self.address, patience.as_secs()),
        };
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = tokio::net::TcpStream::connect(self.address).await;
        let stream = stream.with_context(|| format!("no gate listens at {} (server.admin, --admin)", self.address))?;
        let talk = || format!("the gate at {} broke off", self.address);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(talk)?;
        tokio::spawn(connection);
        let answer = sender.send_request(self.request(method, path, body)?).await.with_context(talk)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{}: {error}", talk()))?;
        Ok((status, body.to_bytes()))
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            let mut value = http::HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request.body(Full::new(body))?)
    }
}

/// Checks that an item is written as `owner/repo#number`.
pub(super) fn check_item(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not an item: write it as owner/repo#7");
    let (repository, number) = text.split_once('#').ok_or_else(wrong)?;
    let (owner, name) = repository.split_once('/').ok_or_else(wrong)?;
    let named = !owner.is_empty() && !name.is_empty() && !name.contains('/');
    let numbered = number.parse::<u64>().is_ok_and(|number| number > 0);
    if named && numbered { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// A text as a query's value.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A listener on all addresses is asked on loopback.
fn reachable(bound: SocketAddr) -> SocketAddr {
    match bound {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

fn read_json(body: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(body).context("the answer is not JSON: does a gate listen there?")
}

/// The gate's own sentence where it has one.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let said =
        serde_json::from_slice::<Value>(body).ok().and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    let text = said.unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(300).collect());
    let text = plain(text.trim());
    match status {
        StatusCode::UNAUTHORIZED => {
            anyhow::anyhow!("the gate wants its admin token (server.admin_token_file): {text}")
        }
        _ => anyhow::anyhow!("the gate answered {status}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items() {
        for (text, good) in [
            ("o/r#7", true),
            ("o/r", false),
            ("o#7", false),
            ("o/r/s#7", false),
            ("o/r#0", false),
            ("/r#1", false),
            ("o/r#x", false),
        ] {
            assert_eq!(check_item(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        for (bound, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(reachable(bound.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
