//! What must not get through a listener that intercepts.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{BOT, HOST, connect, free_address, request, talk, tls};
use crate::e2e::{self, Gate, Setup};

/// A gate whose tracker notes nothing: what reaches it is answered 200 with "reached".
async fn gate(more: &str) -> (Gate, Setup, PathBuf, SocketAddr) {
    let upstream = crate::edge_support::forge(crate::edge_support::echo).await;
    let at = free_address();
    let (gate, setup, root) = super::intercepting(&format!("http://{upstream}"), &[(at, "")], more).await;
    (gate, setup, root, at)
}

async fn dial(at: SocketAddr) -> TcpStream {
    TcpStream::connect(at).await.expect("it listens")
}

#[track_caller]
fn check_status(answer: &str, status: u16, what: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
}

#[tokio::test]
async fn only_the_hosts_that_were_named_are_connected_to() {
    let (_gate, _setup, _root, at) = gate("").await;
    for (target, status) in [
        ("forge.test:443", 200),
        ("FORGE.test.:443", 200),
        ("other.test:443", 403),
        ("forge.test.evil:443", 403),
        ("x.forge.test:443", 403),
        ("forge.test:80", 403),
        ("forge.test:22", 403),
        ("127.0.0.1:443", 403),
        ("169.254.169.254:443", 403),
        ("[::1]:443", 403),
        ("forge.test", 400),
        ("user@forge.test:443", 400),
        ("user:secret@forge.test:443", 400),
        ("https://forge.test:443", 400),
        ("forge.test:443/x", 400),
        ("forge.test:443@evil.test", 400),
        ("*", 400),
    ] {
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        let mut stream = dial(at).await;
        if status == 200 {
            check_status(&connect(at, target, "").await.1, status, target);
            continue;
        }
        stream.write_all(head.as_bytes()).await.expect("written");
        let answer = talk(stream, "").await;
        check_status(&answer, status, target);
        assert!(answer.contains("connection: close") && answer.contains("\r\n\r\nclaimgate: "), "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
}

/// What is tunnelled goes to a name, at port 443, and never to what only this machine can reach.
#[tokio::test]
async fn tunnels_do_not_lead_round_the_gate_or_into_its_machine() {
    let (_gate, _setup, _root, at) = gate("others = \"tunnel\"\n").await;
    for (target, status) in [
        ("forge.test:8443", 403),
        ("forge.test:80", 403),
        ("other.test:22", 403),
        ("10.0.0.1:443", 403),
        ("[2001:db8::1]:443", 403),
        ("localhost:443", 502),
        ("no-such-host.invalid:443", 502),
        ("forge.test:443", 200),
    ] {
        check_status(&connect(at, target, "").await.1, status, target);
    }
}

#[tokio::test]
async fn the_host_of_tls_is_the_host_of_the_connect() {
    let (_gate, _setup, root, at) = gate("").await;
    for (target, name, good) in [
        (Some("forge.test:443"), HOST, true),
        (Some("forge.test:443"), "other.test", false),
        (None, "other.test", false),
    ] {
        let stream = match target {
            Some(target) => connect(at, target, "").await.0,
            None => dial(at).await,
        };
        let secured = tls(stream, name, &root, "http/1.1").await;
        assert_eq!(secured.is_ok(), good, "{target:?} {name}");
    }
}

#[tokio::test]
async fn a_request_names_the_host_of_its_connection() {
    let (_gate, _setup, root, at) = gate("").await;
    for (line, host, status) in [
        ("GET /x", "forge.test", 200),
        ("GET /x", "forge.test:443", 200),
        ("GET https://forge.test/x", "forge.test", 200),
        ("GET /x", "other.test", 421),
        ("GET /x", "forge.test:8443", 421),
        ("GET https://other.test/x", "other.test", 421),
        ("GET http://127.0.0.1:8481/metrics", "127.0.0.1:8481", 421),
        ("GET https://other.test/x", "forge.test", 400),
        ("GET https://user@forge.test/x", "forge.test", 400),
        ("CONNECT forge.test:443", "forge.test:443", 405),
        ("CONNECT other.test:443", "other.test:443", 405),
    ] {
        for is_tunnel in [true, false] {
            let stream = if is_tunnel { connect(at, "forge.test:443", "").await.0 } else { dial(at).await };
            let stream = tls(stream, HOST, &root, "http/1.1").await.expect("trusted");
            check_status(&talk(stream, &request(line, host, "")).await, status, &format!("{line} {host} {is_tunnel}"));
        }
    }
}

/// Plain HTTP is taken for the hosts that were named; for others the listener is no proxy, and it is no base URL.
#[tokio::test]
async fn a_plain_request_is_for_the_hosts_that_were_named() {
    let (gate, _setup, _root, at) = gate("").await;
    let admin = gate.admin;
    for (line, host, status) in [
        ("GET http://forge.test/x", "forge.test".to_owned(), 200),
        ("GET /x", "forge.test".to_owned(), 200),
        ("GET http://other.test/x", "other.test".to_owned(), 403),
        ("GET /x", "other.test".to_owned(), 403),
        ("GET /x", at.to_string(), 403),
        ("GET /metrics", admin.to_string(), 403),
        ("GET http://forge.test/x", "other.test".to_owned(), 400),
        ("COPY /x", "forge.test".to_owned(), 405),
    ] {
        check_status(&talk(dial(at).await, &request(line, &host, "")).await, status, line);
    }
}

#[tokio::test]
async fn nothing_but_tls_follows_a_connect() {
    let (_gate, _setup, _root, at) = gate("").await;
    let head = "CONNECT forge.test:443 HTTP/1.1\r\nHost: forge.test:443\r\n";
    // Before its answer: whose these bytes are nobody can say.
    for early in ["GET /x HTTP/1.1\r\nHost: forge.test\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        check_status(&talk(dial(at).await, &format!("{head}\r\n{early}")).await, 400, early);
    }
    for framed in ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Host: other.test\r\n"] {
        check_status(&talk(dial(at).await, &format!("{head}{framed}\r\n")).await, 400, framed);
    }
    for broken in ["CONNECT forge.test:443 HTTP/1.1\nHost: forge.test:443\n\r\n\r\n", "CONNECT  HTTP/1.1\r\n\r\n"] {
        check_status(&talk(dial(at).await, broken).await, 400, broken);
    }
    let long = format!("{head}X: {}\r\n\r\n", "x".repeat(1 << 20));
    check_status(&talk(dial(at).await, &long).await, 431, "a long head");
    // After it: plain HTTP in the tunnel is told so, and not served.
    let (stream, _) = connect(at, "forge.test:443", "").await;
    let told = talk(stream, &request("GET /x", HOST, "")).await;
    check_status(&told, 400, "plain");
    assert!(told.contains("speaks HTTPS"), "{told}");
}

#[tokio::test]
async fn over_http2_the_same_holds() {
    let (_gate, _setup, root, at) = gate("").await;
    let stream = tls(connect(at, "forge.test:443", "").await.0, HOST, &root, "h2").await.expect("trusted");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    for (method, uri, status) in [
        (Method::GET, "https://forge.test/x", 200),
        (Method::GET, "https://other.test/x", 421),
        (Method::CONNECT, "forge.test:443", 405),
        (Method::CONNECT, "other.test:443", 405),
    ] {
        let asked = Request::builder().method(&method).uri(uri).body(Empty::<Bytes>::new()).expect("a request");
        let answer = sender.send_request(asked).await.expect("an answer");
        assert_eq!(answer.status(), status, "{method} {uri}");
    }
}

/// A listener that does not intercept opens no tunnel, as before.
#[tokio::test]
async fn other_listeners_know_no_connect() {
    let forge = e2e::forge(&[BOT]).await;
    let gate = e2e::gate(&forge).await;
    check_status(&connect(gate.address, "forge.test:443", "").await.1, 405, "the main listener");
}
