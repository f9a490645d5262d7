//! Connections to hosts that are not intercepted, handed through untouched where `intercept.others` allows it.
//!
//! The gate stands where its clients may not: on the host of its own admin listener, next to services that listen on
//! loopback. So a tunnel goes to a name, to the port of HTTPS, and never to an address that only this machine can reach.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::server::Drain;

/// How long a tunnel may be silent once the gate is about to stop.
const SILENT_IN_DRAIN: Duration = Duration::from_secs(1);

/// Connects to a host that somebody else's resolver could name as well.
pub(super) async fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address that others can reach");
    for address in tokio::net::lookup_host((host, port)).await?.filter(is_for_all) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Not loopback, nor the link of this machine, where clouds keep their machines' credentials.
fn is_for_all(address: &SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast()),
    }
}

/// Copies both ways until both have ended, or neither has sent anything for `idle`.
pub(super) async fn copy(client: TcpStream, other: TcpStream, idle: Duration, drain: Drain) {
    let heard = Mutex::new(Instant::now());
    let ((from_client, to_client), (from_other, to_other)) = (client.into_split(), other.into_split());
    let both = async { tokio::join!(pump(from_client, to_other, &heard), pump(from_other, to_client, &heard)) };
    let silence = async {
        let mut idle = idle;
        let mut draining = std::pin::pin!(drain.started());
        loop {
            let until = *heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) + idle;
            if until <= Instant::now() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = &mut draining, if idle > SILENT_IN_DRAIN => idle = SILENT_IN_DRAIN,
            }
        }
    };
    tokio::select! {
        _ = both => {}
        () = silence => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, heard: &Mutex<Instant>) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        match from.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(length) if to.write_all(&bytes[..length]).await.is_err() => break,
            Ok(_) => *heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now(),
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_too() {
        for (address, good) in [
            ("127.0.0.1:443", false),
            ("127.9.9.9:443", false),
            ("0.0.0.0:443", false),
            ("169.254.169.254:443", false),
            ("[::1]:443", false),
            ("[::ffff:127.0.0.1]:443", false),
            ("[fe80::1]:443", false),
            ("10.1.2.3:443", true),
            ("192.0.2.1:443", true),
            ("[2001:db8::1]:443", true),
        ] {
            assert_eq!(is_for_all(&address.parse().unwrap()), good, "{address}");
        }
    }

    #[tokio::test]
    async fn loopback_is_no_tunnels_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(open("localhost", port).await.is_err());
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_silence_ends_it() {
        let pair = async || {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            (near, listener.accept().await.unwrap().0)
        };
        let ((mut client, inner), (outer, mut other)) = (pair().await, pair().await);
        let copying = tokio::spawn(copy(inner, outer, Duration::from_millis(300), Drain::new()));
        client.write_all(b"to").await.unwrap();
        let mut got = [0; 2];
        other.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"to");
        other.write_all(b"fro").await.unwrap();
        other.shutdown().await.unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "fro");
        // The client neither sends nor ends.
        tokio::time::timeout(Duration::from_secs(5), copying).await.expect("it ends by itself").unwrap();
    }
}
