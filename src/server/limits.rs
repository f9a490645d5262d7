//! What a client may take: connections, time, sizes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits on clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once, over all listeners. More wait in the listening sockets' queues.
    pub max_connections: usize,
    /// Connections at once from one address. More are closed.
    pub max_connections_per_address: usize,
    /// How long the TLS handshake may take.
    pub tls_handshake_timeout: Duration,
    /// How long the head of a request may take, the first one from the accept.
    pub header_read_timeout: Duration,
    /// How long a connection may stay without a request.
    pub keep_alive_timeout: Duration,
    /// How long a client may let the answer stand without taking a byte.
    pub write_stall_timeout: Duration,
    /// Headers in one request; more are answered 431.
    pub max_headers: usize,
    /// Bytes of a request's head, and of the read buffer; more are answered 431.
    pub max_head_bytes: usize,
    /// Whether HTTP/2 is offered, over TLS only.
    pub http2: bool,
    /// Streams at once on one HTTP/2 connection.
    pub h2_max_streams: u32,
    /// Bytes in flight on one HTTP/2 stream.
    pub h2_stream_window: u32,
    /// Bytes in flight on one HTTP/2 connection.
    pub h2_connection_window: u32,
    /// Bytes of one HTTP/2 head.
    pub h2_max_header_list: u32,
    /// Streams that a client may reset before they were looked at (rapid reset).
    pub h2_max_pending_reset: usize,
    /// Counts the connections that are open.
    pub open: prometheus_client::metrics::gauge::Gauge,
}

/// Counts connections against the limits.
pub(super) struct Gauge {
    pub(super) limits: Limits,
    all: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place, given back when it is dropped.
pub(super) struct Place {
    gauge: Arc<Gauge>,
    address: Option<IpAddr>,
    _one_of_all: OwnedSemaphorePermit,
}

// === impl Gauge ===

impl Gauge {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { limits, all, by_address: Mutex::default() })
    }

    /// Waits for a place among all connections.
    pub(super) async fn one_of_all(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.all).try_acquire_owned() {
            return permit;
        }
        tracing::warn!(limit = self.limits.max_connections, "all connections are in use; new ones wait");
        match Arc::clone(&self.all).acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }

    /// A place for a connection from this address, unless it has too many.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>, permit: OwnedSemaphorePermit) -> Option<Place> {
        let address = address.map(|it| it.to_canonical());
        if let Some(address) = address {
            let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_insert(0);
            if *count >= self.limits.max_connections_per_address {
                return None;
            }
            *count += 1;
        }
        self.limits.open.inc();
        Some(Place { gauge: Arc::clone(self), address, _one_of_all: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.limits.open.dec();
        let Some(address) = self.address else { return };
        let mut counts = self.gauge.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_address: 4_096,
            tls_handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_mins(1),
            max_headers: 100,
            max_head_bytes: 64 << 10,
            http2: true,
            h2_max_streams: 100,
            h2_stream_window: 64 << 10,
            h2_connection_window: 1 << 20,
            h2_max_header_list: 16 << 10,
            h2_max_pending_reset: 20,
            open: prometheus_client::metrics::gauge::Gauge::default(),
        }
    }
}
