//! A Redmine for tests: stateful, in memory, behind a real socket or without one.
//!
//! It answers as a real Redmine 5.0.4 was recorded to (`tests/recordings/redmine`, replayed by the conformance test), and
//! reads requests as *forgivingly* as that one: what Rack, Rails and Ruby make of a method, a path, a form, JSON and XML. So
//! whoever judges requests in front of it is tested against the reader that matters. Its faults are those of the other
//! fake tracker.
//!
//! Nothing of the gate is imported here, so that an error of the gate cannot hide in both sides of a test. All waiting is on
//! tokio's clock. No lock is held over an await.
//!
//! Start with [`FakeRedmine`] (in `seed.rs` what tests do to it), then `server.rs` (the walk of a request), `update.rs`.

mod api;
mod auth;
mod bad_request;
mod call;
mod form;
mod issues;
mod lists;
mod lookup;
mod options;
mod params;
mod ruby;
mod seed;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod update;
mod xml;

use std::net::SocketAddr;
use std::sync::Arc;

pub use options::Options;
pub use seed::IssueView;

use crate::fake_forge::{CollectedReply, Cut, ServerTasks, accept_tcp};
use store::RedmineState;

/// A running fake Redmine. Dropping it closes its socket and every connection, and ends every write still pending.
#[derive(Debug)]
pub struct FakeRedmine {
    inner: Arc<ServerTasks<RedmineState>>,
    addr: Option<SocketAddr>,
}

impl FakeRedmine {
    /// Serves on a free port of 127.0.0.1.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let inner = Arc::new(ServerTasks::new(RedmineState::new(&options)));
        inner.spawn(accept_tcp(Arc::clone(&inner), listener));
        Ok(Self { inner, addr: Some(addr) })
    }

    /// One without a socket, for [`FakeRedmine::call`]: under paused time nothing then depends on the network.
    pub fn offline(options: &Options) -> Self {
        Self { inner: Arc::new(ServerTasks::new(RedmineState::new(options))), addr: None }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If it does not listen.
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("this Redmine does not listen")
    }

    /// Answers one request without a socket, as if it had come over one; a hang never returns.
    pub async fn call(&self, request: http::Request<bytes::Bytes>) -> Result<CollectedReply, Cut> {
        let (parts, body) = request.into_parts();
        server::answer(&self.inner, parts, body).await?.collect().await
    }
}

impl Drop for FakeRedmine {
    fn drop(&mut self) {
        self.inner.close();
    }
}
