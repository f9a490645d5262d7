//! The upstream: where it is, how it is dialled, which connections are kept, and the adapter of the gate's port.
//!
//! Nothing here follows a redirect, and nothing here has a switch that turns off a check of TLS. The pass path uses
//! [`Pool`] directly, one for each edge worker; the gate uses [`HttpUpstream`], which has a pool of its own.

mod dial;
mod early;
mod http;
mod io;
mod origin;
mod pool;
mod truncating_buffer;
mod watched;

use crate::effect::BodyBudget;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::dial::{DialError, Dialer, check_roots};
pub use self::early::has_closed;
pub use self::http::HttpUpstream;
pub use self::io::Io;
pub use self::origin::{Endpoint, Origin, OriginError};
pub use self::pool::{Lease, Pool, PoolConfig, SendError};
pub use self::truncating_buffer::{CUT, LONGEST_ANSWER, TooLong, TruncatingBuffer};
pub use self::watched::WatchedUpstream;

/// How to reach the upstream, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// Where it is.
    pub origin: Origin,
    /// Where it says that it is, if that is known: its redirects may lead there.
    pub public: Option<Origin>,
    /// The address to connect to, instead of what the origin's host resolves to.
    pub resolve: Option<SocketAddr>,
    /// Where the gate itself listens: a tracker that is found there is a circle.
    pub own: Vec<SocketAddr>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Limit on name lookup, connect and TLS handshake together.
    pub connect_timeout: Duration,
    /// Limit on one whole read of the gate.
    pub read_timeout: Duration,
    /// Limit on one whole send of the gate, from the first byte.
    pub write_timeout: Duration,
    /// The longest answer that the gate keeps. Of a longer one that is JSON, long texts are cut.
    pub max_answer: usize,
    /// Idle connections.
    pub pool: PoolConfig,
    /// The memory that answers may take together.
    pub room: Arc<BodyBudget>,
}

impl UpstreamConfig {
    /// The defaults, for one origin.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            public: None,
            resolve: None,
            own: Vec::new(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            max_answer: LONGEST_ANSWER,
            pool: PoolConfig::default(),
            room: BodyBudget::new(usize::MAX),
        }
    }
}
