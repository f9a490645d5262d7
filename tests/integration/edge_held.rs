//! Answers that are looked at before their head goes on: small ones get a header, all others stream as they come, and of
//! none is a byte changed.

use std::sync::Arc;

use bytes::Bytes;
use claimgate::proxy::{Body, Guard, Note, Passed, Peer, ReadMemo, Route, empty};
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;

use crate::edge_support::{Gate, Plan, channel, forge, get, raw_forge, read_head, soon};

/// Says of every answer how long it is.
struct Measure;

impl Guard for Measure {
    fn classify(&self, _: &Parts, _: &Peer, _: &ReadMemo) -> Route {
        Route::Pass(Note::default())
    }

    fn serve(self: Arc<Self>, _: Parts, _: Incoming, _: Peer, _: Note) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async { Response::new(empty()) })
    }

    fn passed(&self, _: Passed<'_>) {}

    fn shows_state(&self, _: Passed<'_>) -> bool {
        true
    }

    fn state_of(&self, _: Passed<'_>, body: &Bytes) -> Option<HeaderValue> {
        Some(HeaderValue::from(body.len()))
    }
}

fn gate(upstream: std::net::SocketAddr) -> Gate {
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.guard = Arc::new(Measure);
    plan.start()
}

fn state(answer: &Response<Incoming>) -> Option<&str> {
    answer.headers().get("claimgate-state").map(|value| value.to_str().unwrap())
}

/// Bytes that are all different from their neighbours.
fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_small_answer_is_read_whole() {
    for length in [0, 1, 5000, 256 << 10] {
        let upstream = forge(move |_| async move {
            let (sender, body) = channel();
            tokio::spawn(async move {
                for piece in bytes(length).chunks(1000) {
                    sender.send(Bytes::copy_from_slice(piece)).await.unwrap();
                }
            });
            Response::new(body)
        })
        .await;
        let gate = gate(upstream);
        let answer = soon(get(gate.address, "/x")).await;
        assert_eq!(state(&answer), Some(length.to_string().as_str()));
        assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), bytes(length));
    }
}

/// The head must be with the client before the upstream sends the rest.
#[tokio::test]
async fn a_long_answer_streams_though_nobody_said_that_it_is_long() {
    let (go_on, gone_on) = tokio::sync::watch::channel(false);
    let upstream = forge(move |_| {
        let mut gone_on = gone_on.clone();
        async move {
            let (sender, body) = channel();
            tokio::spawn(async move {
                sender.send(bytes(300 << 10)).await.unwrap();
                gone_on.wait_for(|go| *go).await.unwrap();
                sender.send(bytes(300 << 10)).await.unwrap();
            });
            Response::new(body)
        }
    })
    .await;
    let gate = gate(upstream);
    let answer = soon(get(gate.address, "/x")).await;
    assert_eq!(state(&answer), None);
    go_on.send(true).unwrap();
    let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body.len(), 600 << 10);
    assert!(body[..300 << 10] == bytes(300 << 10) && body[300 << 10..] == bytes(300 << 10));
}

#[tokio::test]
async fn a_long_answer_that_says_so_is_not_held_at_all() {
    let upstream = raw_forge(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\nbegin").await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let gate = gate(upstream);
    let mut answer = soon(get(gate.address, "/x")).await;
    assert_eq!((state(&answer), answer.headers()["content-length"].to_str().unwrap()), (None, "300000"));
    assert_eq!(soon(answer.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");
}

/// It goes on without the header, and with all that came until then.
#[tokio::test]
async fn a_slow_answer_is_not_held_for_ever() {
    let upstream = raw_forge(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let gate = gate(upstream);
    let mut answer = soon(get(gate.address, "/x")).await;
    assert_eq!((state(&answer), answer.headers()["content-length"].to_str().unwrap()), (None, "8"));
    assert_eq!(soon(answer.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let upstream = raw_forge(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await.unwrap();
    })
    .await;
    let gate = gate(upstream);
    let mut answer = soon(get(gate.address, "/x")).await;
    assert_eq!(state(&answer), None);
    assert_eq!(soon(answer.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
    assert!(soon(answer.into_body().collect()).await.is_err());
}
