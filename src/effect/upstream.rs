//! The port through which the gate speaks to the tracker.
//!
//! A read may be repeated, a send never is. The three ways in which a call can fail are kept apart because the ledger
//! treats them differently: nothing left, the window closed, or nobody knows.
//! The adapter is in `upstream/http.rs`.

use super::{BoxFuture, Sending};
use crate::dialect::{WireRequest, WireResponse};

/// The connection that carried a read, so that the send may use the same one.
pub struct Carrier(pub Box<dyn std::any::Any + Send + Sync>);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No byte was handed to a socket.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// The window closed: `ready` said no. Nothing was sent.
    #[error("nothing was sent: the window for it had closed")]
    Expired,
    /// The answer to a read is longer than the gate keeps, even without what decides nothing. Never of a send.
    #[error("no certain answer: {0}")]
    TooLong(String),
    /// There is no room to read the answer to a read. Never of a send, and never of what was just sent.
    #[error("too many long answers are being read at once")]
    NoRoom,
    /// Bytes left, and there is no certain answer.
    #[error("no certain answer: {0}")]
    Unknown(String),
}

/// The tracker, reached over some transport.
pub trait Upstream: Send + Sync + 'static {
    /// Idempotent read; may use a pooled connection and be tried once more on a new one when a pooled one was stale.
    fn read(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>>;

    /// The same of what became of a send, or where there would be nothing to read without it: whether or not there is room.
    fn read_back(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
        self.read(request)
    }

    /// Sends what `sending` stands for at most once, never retries; uses `on` if that is still open, else a new connection, never an idle
    /// pooled one. `ready` is asked once, when the connection is ready and just before the first byte is handed over;
    /// `false` means `Expired`, and nothing was sent.
    fn send<'a>(
        &'a self,
        sending: Sending,
        request: WireRequest,
        on: Option<Carrier>,
        ready: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<WireResponse, CallError>>;

    /// Whether the tracker can be reached at all; asks nothing of it.
    fn reach(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async { Ok(()) })
    }
}
