//! The port to the tracker: a read may be repeated, a send is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use claimgate::dialect::{WireRequest, WireResponse};
use claimgate::effect::{CallError, Sending, Upstream};
use claimgate::upstream::{CUT, HttpUpstream, UpstreamConfig};
use http::{HeaderMap, Method};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

use crate::edge_support::{echo, forge, raw_forge, read_head, soon};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn tracker(at: SocketAddr) -> HttpUpstream {
    let mut config = UpstreamConfig::new(format!("http://{at}").parse().unwrap());
    config.read_timeout = Duration::from_millis(500);
    config.write_timeout = Duration::from_millis(500);
    config.max_answer = 64 << 10;
    HttpUpstream::new(&config).unwrap()
}

fn request(method: Method, body: &'static str) -> WireRequest {
    let target = "/api/v1/x?y".to_owned();
    WireRequest { method, target, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
}

async fn send(tracker: &HttpUpstream) -> Result<WireResponse, CallError> {
    soon(tracker.send(Sending::creation(), request(Method::PATCH, "{}"), None, &|| true)).await
}

#[tokio::test]
async fn writes_the_request_that_it_was_given() {
    let tracker = tracker(forge(echo).await);
    let answer = send(&tracker).await.unwrap();
    let seen = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(seen.starts_with("PATCH /api/v1/x?y\n"), "{seen}");
    for there in ["host: 127.0.0.1:", "accept-encoding: identity\n", "content-length: 2\n"] {
        assert!(seen.contains(there), "{there} in {seen}");
    }
}

/// Counts connections and requests; each connection serves as many requests as come.
async fn counting() -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (c, r) = (Arc::clone(&connections), Arc::clone(&requests));
    let at = raw_forge(move |_, mut stream| {
        c.fetch_add(1, Ordering::SeqCst);
        let r = Arc::clone(&r);
        async move {
            while read_head(&mut stream).await.ends_with("\r\n\r\n") {
                r.fetch_add(1, Ordering::SeqCst);
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    (at, connections, requests)
}

#[tokio::test]
async fn a_send_takes_the_reads_connection_or_a_new_one_but_no_idle_one() {
    let (at, connections, requests) = counting().await;
    let tracker = tracker(at);
    let empty = || request(Method::POST, "");
    let (_, carrier) = tracker.read(request(Method::GET, "")).await.unwrap();
    tracker.send(Sending::creation(), empty(), carrier, &|| true).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // An idle one is there, and a send does not take it.
    tracker.send(Sending::creation(), empty(), None, &|| true).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    // A carrier that no send used goes back, and the next read takes it.
    drop(tracker.read(request(Method::GET, "")).await.unwrap());
    drop(tracker.read(request(Method::GET, "")).await.unwrap());
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    assert_eq!(requests.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn nothing_leaves_when_the_window_has_closed() {
    let (at, connections, requests) = counting().await;
    let tracker = tracker(at);
    let asked = AtomicUsize::new(0);
    let ready = || {
        asked.fetch_add(1, Ordering::SeqCst);
        false
    };
    assert_eq!(
        tracker.send(Sending::creation(), request(Method::POST, ""), None, &ready).await.err(),
        Some(CallError::Expired)
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection was ready before the question");
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = AtomicUsize::new(0);
    let ready = || {
        asked.fetch_add(1, Ordering::SeqCst);
        true
    };
    let outcome = tracker(closed).send(Sending::creation(), request(Method::POST, ""), None, &ready).await;
    assert!(matches!(outcome, Err(CallError::NotSent(_))), "{outcome:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert!(matches!(tracker(closed).read(request(Method::GET, "")).await, Err(CallError::NotSent(_))));
}

#[tokio::test]
async fn what_is_no_certain_answer_is_unknown_and_sent_once() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let answers: [&str; 8] = [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
        "hang",
        Box::leak(long.into_boxed_str()),
    ];
    for bytes in answers {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let at = raw_forge(move |_, mut stream| {
            let counter = Arc::clone(&counter);
            async move {
                read_head(&mut stream).await;
                counter.fetch_add(1, Ordering::SeqCst);
                if bytes == "hang" {
                    // The time-out must close the connection.
                    read_head(&mut stream).await;
                    counter.fetch_add(100, Ordering::SeqCst);
                    return;
                }
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
        })
        .await;
        let outcome = send(&tracker(at)).await;
        let shown: String = bytes.chars().take(50).collect();
        assert!(matches!(outcome, Err(CallError::Unknown(_))), "{shown}: {outcome:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let expected = if bytes == "hang" { 101 } else { 1 };
        assert_eq!(requests.load(Ordering::SeqCst), expected, "{shown}");
    }
}

/// A tracker's JSON is read whatever the length of the texts in it, by a read and as the answer to a send.
#[tokio::test]
async fn long_texts_are_cut_and_all_else_is_there() {
    let text = "\\u003c".repeat(100_000);
    let json = format!(r#"{{"id":7,"body":"{text}","state":"open"}}"#);
    for (kind, is_read) in [("application/json;charset=utf-8", true), ("text/html", false)] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", json.len());
        let bytes: &str = Box::leak(format!("{head}{json}").into_boxed_str());
        let at = raw_forge(move |_, mut stream| async move {
            while read_head(&mut stream).await.ends_with("\r\n\r\n") {
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
        })
        .await;
        let tracker = tracker(at);
        let read = soon(tracker.read(request(Method::GET, ""))).await.map(|(answer, _)| answer);
        let sent = soon(tracker.send(Sending::creation(), request(Method::POST, ""), None, &|| true)).await;
        for answer in [read, sent] {
            assert_eq!(answer.is_ok(), is_read, "{kind}: {answer:?}");
            let Ok(answer) = answer else { continue };
            let item: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((&item["id"], &item["state"]), (&7.into(), &"open".into()));
            assert!(item["body"].as_str().is_some_and(|text| text.starts_with("<<<") && text.ends_with(CUT)));
        }
    }
}

#[tokio::test]
async fn a_read_outlives_a_stale_connection_and_unexpected_bytes() {
    // The first connection answers once, then says something unasked; the second closes when it is asked again.
    let at = raw_forge(|number, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        if number == 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await.unwrap();
        }
        read_head(&mut stream).await;
    })
    .await;
    let tracker = tracker(at);
    for _ in 0..4 {
        let (answer, _) = soon(tracker.read(request(Method::GET, ""))).await.unwrap();
        assert_eq!(&answer.body[..], b"ok");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_carrier_that_closed_is_replaced_before_anything_leaves() {
    let at = raw_forge(|number, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        if number > 0 {
            read_head(&mut stream).await;
        }
    })
    .await;
    let tracker = tracker(at);
    let (_, carrier) = tracker.read(request(Method::GET, "")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = tracker.send(Sending::creation(), request(Method::POST, ""), carrier, &|| true).await.unwrap();
    assert_eq!(&answer.body[..], b"ok");
}
