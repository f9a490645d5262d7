//! A small HTTP client of the gate's own admin listener.
//!
//! One request on one connection, bounded in time and size. What the port refuses is asked once more over the operator's
//! socket, whose place the refusal names: so a command finds it from any directory, with the port's address alone. Not for
//! the tracker.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::table::plain;
use crate::config::{Config, read_secret};
use crate::server::{connect_to_socket, socket_path};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 64 << 20;

/// The admin listener of a running gate.
#[derive(Debug)]
pub(super) struct Admin {
    /// Its port; none where that is off.
    port: Option<SocketAddr>,
    /// The socket of the state directory that the configuration names.
    socket: PathBuf,
    /// The token, or why it cannot be read.
    token: Option<Result<SecretString, String>>,
}

/// One way to a gate.
enum Way {
    Port(SocketAddr),
    Socket(PathBuf),
}

// === impl Admin ===

impl Admin {
    /// The one that a configuration names.
    pub(super) fn of(config: &Config) -> Self {
        let read =
            |path: &PathBuf| read_secret(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        let token = config.server.admin_token_file.as_ref().map(read);
        let socket = socket_path(&config.server.state_dir);
        Self { port: config.server.admin.map(reachable), socket, token }
    }

    /// Asks, and reads JSON.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        read_json(&self.ask(&Method::GET, path, Bytes::new())?)
    }

    /// Asks, and reads text.
    pub(super) fn get_text(&self, path: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.ask(&Method::GET, path, Bytes::new())?).into_owned())
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
        let answer = self.ask_within((patience, then), &Method::POST, path, body.to_string().into())?;
        if answer.is_empty() { Ok(Value::Null) } else { read_json(&answer) }
    }

    fn ask(&self, method: &Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        self.ask_within((PATIENCE, ""), method, path, body)
    }

    fn ask_within(
        &self,
        (patience, then): (Duration, &str),
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let way = self.port.map_or_else(|| Way::Socket(self.socket.clone()), Way::Port);
        let asking = async {
            let answer = self.exchange(&way, method, path, body.clone()).await?;
            match elsewhere(answer.0, &answer.1).filter(|_| matches!(way, Way::Port(_))) {
                None => Ok(answer),
                Some(socket) => self.exchange_over(socket, (method, path, body), answer).await,
            }
        };
        let (status, body) = match runtime.block_on(async { tokio::time::timeout(patience, asking).await }) {
            Ok(answer) => answer?,
            Err(_) => bail!("the gate at {way} did not answer within {} s{then}", patience.as_secs()),
        };
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body)) }
    }

    /// What the port refused, over the socket; `refused` where this user may not open that.
    async fn exchange_over(
        &self,
        socket: PathBuf,
        (method, path, body): (&Method, &str, Bytes),
        refused: (StatusCode, Bytes),
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let shown = socket.display().to_string();
        match self.exchange(&Way::Socket(socket), method, path, body).await {
            Err(error) if error.downcast_ref::<NotReached>().is_some() => {
                let why = self.refusal(refused.0, &refused.1);
                bail!("{why}; its socket {shown} cannot be opened: {}", error.root_cause())
            }
            answer => answer,
        }
    }

    async fn exchange(
        &self,
        way: &Way,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = self.request(way, method, path, body)?;
        match way {
            Way::Port(address) => {
                let stream = tokio::net::TcpStream::connect(address).await;
                let hint = format!("no gate listens at {address} (server.admin, --admin)");
                talk(stream.map_err(|error| NotReached(hint, error))?, way, request).await
            }
            Way::Socket(path) => {
                let opened = connect_to_socket(path).and_then(|stream| {
                    stream.set_nonblocking(true)?;
                    tokio::net::UnixStream::from_std(stream)
                });
                let hint = format!(
                    "the admin listener is off (server.admin = \"off\"), and no gate listens at {}: name the gate's state \
                     directory with --state-dir, --config or CLAIMGATE_STATE_DIR",
                    path.display()
                );
                talk(opened.map_err(|error| NotReached(hint, error))?, way, request).await
            }
        }
    }

    fn request(&self, way: &Way, method: &Method, path: &str, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
        let (host, token) = match way {
            Way::Port(address) => (address.to_string(), self.token.as_ref().and_then(|token| token.as_ref().ok())),
            Way::Socket(_) => ("localhost".to_owned(), None),
        };
        let mut request = Request::builder().method(method.clone()).uri(path).header(header::HOST, host);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            let mut value = http::HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request.body(Full::new(body))?)
    }

    /// The gate's own sentence where it has one.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let said = serde_json::from_slice::<Value>(body).ok();
        let said = said.and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
        let text = said.unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(300).collect());
        let text = plain(text.trim());
        match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, Some(Err(why))) => {
                anyhow::anyhow!("the gate wants its admin token (server.admin_token_file): {text}; {why}")
            }
            (StatusCode::UNAUTHORIZED, _) => {
                anyhow::anyhow!("the gate wants its admin token (server.admin_token_file): {text}")
            }
            _ => anyhow::anyhow!("the gate answered {status}: {text}"),
        }
    }
}

/// Nobody listens there, or this user may not ask.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotReached(String, #[source] std::io::Error);

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

async fn talk<S>(stream: S, way: &Way, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broke = || format!("the gate at {way} broke off");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(broke)?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.with_context(broke)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{}: {error}", broke()))?;
    Ok((status, body.to_bytes()))
}

/// The socket over which a refusal says to ask.
fn elsewhere(status: StatusCode, body: &[u8]) -> Option<PathBuf> {
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let said = serde_json::from_slice::<Value>(body).ok().filter(|_| refused)?;
    Some(PathBuf::from(said.get("socket")?.as_str()?))
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
