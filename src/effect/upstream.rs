//! The port through which the gate speaks to the tracker.
//!
//! A read may be repeated, a send never is. The three ways in which a call can fail are kept apart because the ledger
//! treats them differently: nothing left, the window closed, or nobody knows.
//! The adapter is `crate::upstream::HttpUpstream`.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// A request that the gate wrote itself, whole.
#[derive(Clone)]
pub struct WireRequest {
    /// The method.
    pub method: http::Method,
    /// Origin-form: path and query, without the upstream's base path.
    pub target: String,
    /// Headers; framing and hop-by-hop headers are the adapter's.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// An answer that was read to its end.
#[derive(Clone)]
pub struct WireResponse {
    /// The status.
    pub status: http::StatusCode,
    /// Headers as the tracker sent them.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// The connection that carried a read, so that the send may use the same one.
pub struct Carrier(pub Box<dyn std::any::Any + Send>);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No byte was handed to a socket.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// The window closed: `ready` said no. Nothing was sent.
    #[error("nothing was sent: the window for it had closed")]
    Expired,
    /// Bytes left, and there is no certain answer.
    #[error("no certain answer: {0}")]
    Unknown(String),
}

/// The tracker, reached over some transport.
pub trait Upstream: Send + Sync + 'static {
    /// Idempotent read; may use a pooled connection and be tried once more on a new one when a pooled one was stale.
    fn read(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>>;

    /// Sends at most once, never retries; uses `on` if that is still open, else a new connection, never an idle
    /// pooled one. `ready` is asked once, when the connection is ready and just before the first byte is handed over;
    /// `false` means `Expired`, and nothing was sent.
    fn send<'a>(
        &'a self,
        request: WireRequest,
        on: Option<Carrier>,
        ready: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<WireResponse, CallError>>;
}

// Headers and bodies carry credentials: neither is ever printed.
impl fmt::Debug for WireRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireRequest({} {}, {} bytes)", self.method, self.path(), self.body.len())
    }
}

impl fmt::Debug for WireResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireResponse({}, {} bytes)", self.status, self.body.len())
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

impl WireRequest {
    /// The target without its query, which may hold a token.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}
