//! Listeners, limits, the guard's place, and the orderly end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claimgate::proxy::{Body, Came, Guard, Note, Passed, Peer, ReadMemo, Route, collect_capped, full, pass_on};
use claimgate::server::{Bind, Drained, ListenerConfig, SocketFile};
use futures_util::future::BoxFuture;
use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::edge_support::{
    Gate, Plan, ask, channel, echo, forge, get, read_head, serve_http, soon, status, talk, text,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_the_current_request_finish() {
    let upstream = forge(|_| async {
        let (sender, body) = channel();
        tokio::spawn(async move {
            sender.send(Bytes::from_static(b"first ")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            sender.send(Bytes::from_static(b"last")).await.unwrap();
        });
        Response::new(body)
    })
    .await;
    let mut gate = Gate::before(upstream);
    let mut idle = TcpStream::connect(gate.address).await.unwrap();
    let answer = get(gate.address, "/x").await;
    gate.drain.start();
    assert_eq!(soon(text(answer)).await, "first last");
    assert_eq!(soon(idle.read(&mut [0; 1])).await.unwrap(), 0, "an idle connection is closed at once");
    assert_eq!(soon(&mut gate.running).await.unwrap(), Drained::Clean);
    assert!(TcpStream::connect(gate.address).await.is_err(), "nothing listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_bounded() {
    let upstream = forge(|_| async {
        let (sender, body) = channel();
        tokio::spawn(async move {
            let _ = sender.send(Bytes::from_static(b"x")).await;
            tokio::time::sleep(Duration::from_mins(1)).await;
            drop(sender);
        });
        Response::new(body)
    })
    .await;
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.server.drain_timeout = Duration::from_millis(200);
    let mut gate = plan.start();
    let _open = get(gate.address, "/x").await;
    gate.drain.start();
    assert_eq!(soon(&mut gate.running).await.unwrap(), Drained::Cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_sockets_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let (up, down) = (dir.path().join("up"), dir.path().join("down"));
    let listener = UnixListener::bind(&up).unwrap();
    tokio::spawn(async move {
        loop {
            serve_http(listener.accept().await.unwrap().0, echo);
        }
    });
    let mut plan = Plan::to(&format!("unix:{}", up.display()));
    plan.server.listeners = vec![ListenerConfig::at(Bind::Unix(SocketFile::at(down.clone())))];
    let mut gate = plan.start();
    let mut stream = UnixStream::connect(&down).await.unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("host: a\n") && !answer.contains("x-forwarded-for"), "{answer}");
    gate.drain.start();
    soon(&mut gate.running).await.unwrap();
    assert!(!down.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_idle_connections_are_closed() {
    let mut plan = Plan::to(&format!("http://{}", forge(echo).await));
    plan.server.limits.header_read_timeout = Duration::from_millis(300);
    plan.server.limits.keep_alive_timeout = Duration::from_millis(800);
    let gate = plan.start();
    let start = tokio::time::Instant::now();
    assert_eq!(soon(talk(gate.address, "GET / HT")).await, "");
    assert!(start.elapsed() < Duration::from_millis(790), "{:?}", start.elapsed());
    let answer = soon(talk(gate.address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    assert_eq!(status(&answer), 200);
    assert!(start.elapsed() > Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited_over_all_and_by_address() {
    let mut plan = Plan::to(&format!("http://{}", forge(echo).await));
    plan.server.limits.max_connections_per_client = 2;
    let gate = plan.start();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(status(&soon(read_head(&mut stream)).await), 200);
        held.push(stream);
    }
    let mut third = TcpStream::connect(gate.address).await.unwrap();
    assert!(matches!(soon(third.read(&mut [0; 1])).await, Ok(0) | Err(_)));

    let mut plan = Plan::to(&format!("http://{}", forge(echo).await));
    plan.server.limits.max_connections = 1;
    let gate = plan.start();
    let mut first = TcpStream::connect(gate.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(status(&soon(read_head(&mut first)).await), 200);
    let waiting = tokio::spawn(ask(gate.address, "GET /", &[]));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(status(&soon(waiting).await.unwrap()), 200);
}

/// Guards PATCH: answers itself when the body says so, and passes the rest on.
struct Picky;

impl Guard for Picky {
    fn classify(&self, head: &Parts, _: &Peer, _: &ReadMemo) -> Route {
        let route = if head.method == "PATCH" { Route::Guarded } else { Route::Pass };
        route(Note::default())
    }

    fn serve(self: Arc<Self>, head: Parts, body: Incoming, peer: Peer, _: Note) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let Ok(body) = collect_capped(body, 16).await else {
                return Response::builder().status(413).body(full("too large")).unwrap();
            };
            if &body[..] == b"mine" {
                return Response::builder().status(409).body(full(format!("{:?}", peer.instance))).unwrap();
            }
            pass_on(head, body)
        })
    }

    fn passed(&self, note: Passed<'_>) {
        assert_eq!(note.status, 200);
        let came = note.head.extensions.get::<Came>().and_then(|came| came.agent.as_deref());
        assert_eq!((came, note.head.uri.path()), (Some("x"), "/i"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_answers_or_passes_on() {
    let mut plan = Plan::to(&format!("http://{}", forge(echo).await));
    plan.guard = Arc::new(Picky);
    plan.server.listeners[0].instance = Some("bot-3".into());
    let gate = plan.start();
    let patch = |body: &'static str| {
        let length = format!("content-length: {}", body.len());
        let text = format!("PATCH /as/x/i HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{length}\r\n\r\n{body}");
        async move { talk(gate.address, &text).await }
    };
    let answer = patch("mine").await;
    assert_eq!(status(&answer), 409);
    assert!(answer.contains("Some(\"bot-3\")"), "{answer}");
    let answer = patch("other").await;
    assert!(answer.contains("PATCH /i\n") && answer.ends_with("\nother"), "{answer}");
    assert_eq!(status(&patch("a body that is longer than that").await), 413);
}
