//! A forge for tests and for the demo: a stateful, in-memory Forgejo behind a real socket.
//!
//! It answers as a recorded Gitea 1.15.11 does (`tests/recordings/forgejo`, replayed by the conformance test), and with
//! [`Feature`]s as newer versions do. It reads requests as *forgivingly* as the real one, so that whoever judges requests in
//! front of it can be tested against the reader that matters; and it has [`Vices`]: slow and lost writes, half-done writes,
//! writes that land after everybody has given up.
//!
//! It must stand alone: nothing of the rest of the crate is imported here, so that an error of ours cannot hide in both
//! sides of a test. All waiting is on tokio's clock. No lock is held over an await.
//!
//! Start with [`FakeForge`] (in `seed.rs` what tests do to it), then `server.rs` (the walk of a request), `issues.rs`.

mod auth;
mod beside;
mod body;
mod call;
mod cors;
mod entry;
mod faults;
mod guarded;
mod inner;
mod issues;
mod journal;
mod labels;
mod options;
mod pages;
mod pulls;
mod render;
mod reply;
mod repos;
mod seed;
mod server;
mod store;
mod streams;
mod target;
mod tasks;
#[cfg(test)]
mod tests;
mod vices;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

pub use journal::{Event, Happening, Logged, Received};
pub use options::{Feature, FirstIds, Options};
pub use reply::{CollectedReply, Cut};
pub use seed::{IssueHandle, IssueView};
pub use store::TokenScope;
pub use vices::{Fault, Matcher, Vices};

// The parts that every fake tracker has.
pub(crate) use call::WriteScope;
pub(crate) use faults::{Work, meet};
pub(crate) use journal::Log;
pub(crate) use reply::{Body, FakeReply, HandlerResult};
pub(crate) use tasks::{ServerTasks, Serves, accept_tcp};
pub(crate) use vices::Script;

use inner::Inner;

/// A running fake forge. Dropping it closes its socket and every connection, and ends every write still pending.
#[derive(Debug)]
pub struct FakeForge {
    inner: Arc<Inner>,
    addr: Option<SocketAddr>,
}

impl FakeForge {
    /// Serves on a free port of 127.0.0.1.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let inner = Inner::new(options, &format!("http://{addr}"));
        inner.spawn(accept_tcp(Arc::clone(&inner), listener));
        Ok(Self { inner, addr: Some(addr) })
    }

    /// Serves on a unix socket at `path`, which must not exist yet.
    pub fn start_unix(path: impl AsRef<std::path::Path>, options: Options) -> std::io::Result<Self> {
        let listener = tokio::net::UnixListener::bind(path)?;
        let inner = Inner::new(options, "http://localhost");
        inner.spawn(server::accept_unix(Arc::clone(&inner), listener));
        Ok(Self { inner, addr: None })
    }

    /// A forge without a socket, for [`FakeForge::call`]: under paused time nothing then depends on the network.
    pub fn offline(options: Options) -> Self {
        Self { inner: Inner::new(options, "http://localhost"), addr: None }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If it does not listen on TCP.
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("this forge does not listen on TCP")
    }

    /// `http://127.0.0.1:port`, whatever `ROOT_URL` is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Answers one request without a socket, as if it had come over one; a hang never returns.
    pub async fn call(&self, request: http::Request<bytes::Bytes>) -> Result<CollectedReply, Cut> {
        let (parts, body) = request.into_parts();
        server::answer(&self.inner, parts, body).await?.collect().await
    }
}

impl Drop for FakeForge {
    fn drop(&mut self) {
        self.inner.tasks.close();
    }
}
