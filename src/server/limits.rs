//! What a client may take: connections, requests, time, sizes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits on clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once, over all listeners. More wait in the listening sockets' queues.
    pub max_connections: usize,
    /// Connections at once from one client. More are closed.
    pub max_connections_per_client: usize,
    /// Requests at once, to the end of their answers; more are answered 503.
    pub max_requests: usize,
    /// Requests at once from one client; more are answered 503.
    pub max_requests_per_client: usize,
    /// How long the TLS handshake may take.
    pub tls_handshake_timeout: Duration,
    /// How long the head of a request may take, the first one from the accept.
    pub header_read_timeout: Duration,
    /// How long a connection may stay without a request.
    pub keep_alive_timeout: Duration,
    /// How long a client may let the answer stand without taking a byte.
    pub write_stall_timeout: Duration,
    /// What the system may hold of an answer that a client on TCP does not take; 0: as it likes, which is megabytes.
    pub send_buffer: usize,
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
    /// Counts the connections and requests that were one too many.
    pub turned_away: prometheus_client::metrics::counter::Counter,
}

/// Counts connections and requests against the limits.
pub(super) struct Gauge {
    pub(super) limits: Limits,
    all: Arc<Semaphore>,
    requests: AtomicUsize,
    clients: Mutex<HashMap<ClientName, Arc<Client>>>,
}

/// Who counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ClientName {
    /// Whoever comes from an address, or from its network.
    Address(IpAddr),
    /// Whoever may open a unix socket; this is the listener's number.
    Socket(usize),
}

/// What one client has open.
#[derive(Default)]
struct Client {
    /// Changed under the lock of all clients only.
    connections: AtomicUsize,
    requests: AtomicUsize,
    was_told_of: AtomicBool,
}

/// One connection's place, given back when it is dropped.
pub(super) struct ConnectionSlot {
    gauge: Arc<Gauge>,
    client: (ClientName, Arc<Client>),
    _one_of_all: OwnedSemaphorePermit,
}

// === impl Gauge ===

impl Gauge {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { limits, all, requests: AtomicUsize::new(0), clients: Mutex::default() })
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

    /// A place for a connection from this address to the listener with this number, unless its client has too many.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        listener: usize,
        permit: OwnedSemaphorePermit,
    ) -> Option<ConnectionSlot> {
        let name = address.map_or(ClientName::Socket(listener), |address| ClientName::Address(client_of(address)));
        let client = (name, self.connected(name)?);
        self.limits.open.inc();
        Some(ConnectionSlot { gauge: Arc::clone(self), client, _one_of_all: permit })
    }

    fn connected(&self, name: ClientName) -> Option<Arc<Client>> {
        let mut clients = self.clients();
        let client = clients.entry(name).or_default();
        if client.connections.load(Relaxed) < self.limits.max_connections_per_client {
            client.connections.fetch_add(1, Relaxed);
            return Some(Arc::clone(client));
        }
        self.limits.turned_away.inc();
        // Once is enough: a client can come as often as it likes.
        if !client.was_told_of.swap(true, Relaxed) {
            tracing::warn!(client = %name, "too many connections from one client; more are closed");
        }
        None
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClientName, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for ClientName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(listener) => write!(f, "unix socket, listener {listener}"),
        }
    }
}

/// Who comes from this address: whoever has an IPv6 address has a whole /64 network of them.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

// === impl ConnectionSlot ===

impl ConnectionSlot {
    /// One more request on this connection; false if that is one too many. One that was begun must be ended.
    pub(super) fn begin(&self) -> bool {
        let limits = &self.gauge.limits;
        let fits = one_more(&self.gauge.requests, limits.max_requests);
        if fits && one_more(&self.client.1.requests, limits.max_requests_per_client) {
            return true;
        }
        if fits {
            self.gauge.requests.fetch_sub(1, Relaxed);
        }
        limits.turned_away.inc();
        false
    }

    /// One request less.
    pub(super) fn end(&self) {
        self.gauge.requests.fetch_sub(1, Relaxed);
        self.client.1.requests.fetch_sub(1, Relaxed);
    }
}

fn one_more(count: &AtomicUsize, most: usize) -> bool {
    let fits = count.fetch_add(1, Relaxed) < most;
    if !fits {
        count.fetch_sub(1, Relaxed);
    }
    fits
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.gauge.limits.open.dec();
        let (name, client) = &self.client;
        let mut clients = self.gauge.clients();
        if client.connections.fetch_sub(1, Relaxed) == 1 {
            clients.remove(name);
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_client: 4_096,
            max_requests: 10_000,
            max_requests_per_client: 4_096,
            tls_handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_mins(1),
            send_buffer: 128 << 10,
            max_headers: 100,
            max_head_bytes: 64 << 10,
            http2: true,
            h2_max_streams: 100,
            h2_stream_window: 64 << 10,
            h2_connection_window: 1 << 20,
            h2_max_header_list: 16 << 10,
            h2_max_pending_reset: 20,
            open: prometheus_client::metrics::gauge::Gauge::default(),
            turned_away: prometheus_client::metrics::counter::Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_its_own() {
        for (address, client) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(client_of(address.parse().unwrap()), client.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[tokio::test]
    async fn what_ends_makes_room() {
        let gauge =
            Gauge::new(Limits { max_requests: 3, max_requests_per_client: 2, max_connections: 9, ..Limits::default() });
        let place = async |address: &str| gauge.admit(address.parse().ok(), 0, gauge.one_of_all().await).unwrap();
        let (one, same, other, socket) =
            (place("::1").await, place("::2").await, place("1.1.1.1").await, place("").await);
        assert!(one.begin() && same.begin() && !one.begin(), "two of one client");
        assert!(other.begin() && !socket.begin() && !other.begin(), "three of all");
        same.end();
        assert!(socket.begin() && !one.begin());
        socket.end();
        assert!(one.begin() && !same.begin());
        for ended in [&one, &one, &other] {
            ended.end();
        }
        assert!(socket.begin() && socket.begin() && !socket.begin(), "a socket is a client, too");
        for ended in [&socket, &socket] {
            ended.end();
        }
        drop((one, same, other, socket));
        assert!(gauge.clients().is_empty());
        assert_eq!(gauge.requests.load(Relaxed), 0);
        assert_eq!(gauge.limits.turned_away.get(), 6);
    }
}
