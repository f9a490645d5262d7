//! HTTP/2 as an attacker writes it: raw frames over TLS, as data, and what reaches the tracker of them.

use std::net::SocketAddr;
use std::time::Duration;

use claimgate::proxy::{Body, full};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::edge_support::{Gate, Plan, forge, soon};
use crate::edge_tls::{certificate, connect, files, write};
use crate::edge_wire::Tap;

type Fields<'a> = &'a [(&'a str, &'a str)];

/// How the gate took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It reached the tracker, and its answer came back.
    Passes,
    /// The gate answered by itself.
    Answered(u16),
    /// The stream was reset, or the connection ended, or the head was called malformed; all without the tracker.
    Ended,
}
use Then::{Answered, Ended, Passes};

/// A connection that speaks frames.
struct Frames {
    stream: TlsStream<TcpStream>,
}

/// What came of one stream.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Status(u16),
    Reset,
    Closed,
}

const START: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":path", "/x"), (":authority", "gate.test")];

/// Heads without a body, all on stream 1; `END_STREAM` is set.
const HEADS: &[(&str, Fields<'_>, Then)] = &[
    ("plain", &[START[0], START[1], START[2], START[3]], Passes),
    ("Host only", &[START[0], START[1], START[2], ("host", "gate.test")], Passes),
    ("authority and the same Host", &[START[0], START[1], START[2], START[3], ("host", "gate.test")], Passes),
    ("authority and another Host", &[START[0], START[1], START[2], START[3], ("host", "evil.test")], Answered(400)),
    (
        "two Host",
        &[START[0], START[1], START[2], START[3], ("host", "gate.test"), ("host", "gate.test")],
        Answered(400),
    ),
    ("two authorities", &[START[0], START[1], START[2], START[3], START[3]], Ended),
    ("userinfo in the authority", &[START[0], START[1], START[2], (":authority", "me@gate.test")], Ended),
    ("a path in the authority", &[START[0], START[1], START[2], (":authority", "gate.test/x")], Ended),
    (
        "two Authorization",
        &[START[0], START[1], START[2], START[3], ("authorization", "a"), ("authorization", "a")],
        Passes,
    ),
    ("CONNECT", &[(":method", "CONNECT"), START[3]], Answered(405)),
    ("extended CONNECT", &[(":method", "CONNECT"), (":protocol", "websocket"), START[1], START[2], START[3]], Ended),
    ("Expect of something else", &[START[0], START[1], START[2], START[3], ("expect", "luck")], Answered(417)),
    ("transfer-encoding", &[START[0], START[1], START[2], START[3], ("transfer-encoding", "chunked")], Ended),
    ("connection", &[START[0], START[1], START[2], START[3], ("connection", "x-a")], Ended),
    ("upgrade", &[START[0], START[1], START[2], START[3], ("upgrade", "h2c")], Ended),
    ("te: gzip", &[START[0], START[1], START[2], START[3], ("te", "gzip")], Ended),
    ("te: trailers", &[START[0], START[1], START[2], START[3], ("te", "trailers")], Passes),
    ("a length without a body", &[START[0], START[1], START[2], START[3], ("content-length", "5")], Ended),
    ("two lengths", &[START[0], START[1], START[2], START[3], ("content-length", "0"), ("content-length", "5")], Ended),
    ("a length of +2", &[START[0], START[1], START[2], START[3], ("content-length", "+2")], Ended),
    ("CRLF in a value", &[START[0], START[1], START[2], START[3], ("x", "a\r\nx-webauth-user: root")], Ended),
    ("LF in a value", &[START[0], START[1], START[2], START[3], ("x", "a\nb")], Ended),
    ("NUL in a value", &[START[0], START[1], START[2], START[3], ("x", "a\0b")], Ended),
    ("an upper-case name", &[START[0], START[1], START[2], START[3], ("X-A", "b")], Ended),
    ("a name with a colon", &[START[0], START[1], START[2], START[3], ("a:b", "c")], Ended),
    ("an empty path", &[START[0], START[1], (":path", ""), START[3]], Ended),
    ("no path", &[START[0], START[1], START[3]], Ended),
    ("a path without a slash", &[START[0], START[1], (":path", "x"), START[3]], Ended),
    ("an absolute path", &[START[0], START[1], (":path", "http://evil.test/x"), START[3]], Ended),
    ("a blank in the path", &[START[0], START[1], (":path", "/x y"), START[3]], Ended),
    ("CRLF in the path", &[START[0], START[1], (":path", "/x HTTP/1.1\r\na: b\r\n"), START[3]], Ended),
    ("a fragment in the path is not sent", &[START[0], START[1], (":path", "/x#y"), START[3]], Passes),
    ("a method that is no token", &[(":method", "PO ST"), START[1], START[2], START[3]], Ended),
    ("two methods", &[START[0], START[0], START[1], START[2], START[3]], Ended),
    ("a late pseudo header", &[START[0], START[1], START[3], ("x", "y"), START[2]], Ended),
    ("an unknown pseudo header", &[START[0], START[1], START[2], START[3], (":x", "y")], Ended),
    ("an identity header is dropped", &[START[0], START[1], START[2], START[3], ("x-webauth-user", "root")], Passes),
    ("its twin", &[START[0], START[1], START[2], START[3], ("x_webauth_user", "root")], Answered(400)),
    ("two cookies are joined", &[START[0], START[1], START[2], START[3], ("cookie", "a=1"), ("cookie", "b=2")], Passes),
];

async fn ok(request: Request<Incoming>) -> Response<Body> {
    let _ = request.into_body().collect().await;
    Response::new(full("ok"))
}

async fn gate(at: &std::path::Path) -> (Gate, Tap, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let (plan, tap, made) = plan(at).await;
    (plan.start(), tap, made)
}

async fn plan(at: &std::path::Path) -> (Plan, Tap, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let made = certificate("gate.test");
    write(&made, &files(at));
    let tap = Tap::before(forge(ok).await).await;
    let mut plan = Plan::to(&tap.url());
    plan.server.listeners[0].tls = Some(files(at));
    (plan, tap, made)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

impl Frames {
    async fn open(address: SocketAddr, trust: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let mut stream = connect(address, trust, b"h2").await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self { stream };
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// What it writes may be refused half-way: that is seen when reading.
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let _ = self.stream.write_all(&frame(kind, flags, stream, payload)).await;
    }

    async fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Reads until this stream has a head or an end.
    async fn outcome(&mut self, of: u32) -> Outcome {
        loop {
            match soon(self.read()).await {
                Some((HEADERS, _, stream, payload)) if stream == of => return Outcome::Status(status(&payload)),
                Some((RESET, _, stream, _)) if stream == of => return Outcome::Reset,
                Some((GO_AWAY, ..)) | None => return Outcome::Closed,
                Some(_) => {}
            }
        }
    }

    /// The settings that the gate announces.
    async fn settings(&mut self) -> Vec<(u16, u32)> {
        loop {
            let (kind, flags, _, payload) = soon(self.read()).await.expect("a frame");
            if kind == SETTINGS && flags & ACK == 0 {
                let number = |at: &[u8]| at.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                let one = |six: &[u8]| (u16::try_from(number(&six[..2])).unwrap(), number(&six[2..]));
                return payload.chunks_exact(6).map(one).collect();
            }
        }
    }
}

/// Literal fields without indexing and without Huffman (RFC 7541, 6.2.2).
fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// The status at the front of a block: of the static table, or a literal (RFC 7541, appendices A and B).
fn status(block: &[u8]) -> u16 {
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    if let first @ 0x88..=0x8e = block[0] {
        return indexed[usize::from(first - 0x88)];
    }
    let (length, is_huffman) = (usize::from(block[1] & 0x7f), block[1] & 0x80 != 0);
    let text = &block[2..2 + length];
    let digits = if is_huffman { huffman_digits(text) } else { String::from_utf8(text.to_vec()).unwrap() };
    digits.parse().unwrap()
}

fn huffman_digits(bytes: &[u8]) -> String {
    let all = bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let bits =
        |at: usize, width: usize| u32::try_from(all >> (bytes.len() * 8 - at - width) & ((1 << width) - 1)).unwrap();
    let (mut at, mut out) = (0, String::new());
    while out.len() < 3 {
        let (digit, width) = match bits(at, 5) {
            short @ 0..=2 => (short, 5),
            _ => (bits(at, 6) - 0b01_1001 + 3, 6),
        };
        out.push(char::from_digit(digit, 10).unwrap());
        at += width;
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn more_headers_than_there_may_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, tap, made) = gate(dir.path()).await;
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    for (count, expected) in [(90, 200), (101, 431)] {
        let fields: Vec<(&str, &str)> =
            START.into_iter().chain(names.iter().take(count).map(|name| (name.as_str(), "1"))).collect();
        let mut frames = Frames::open(gate.address, &made).await;
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields)).await;
        assert_eq!(frames.outcome(1).await, Outcome::Status(expected), "{count}");
        assert_eq!(tap.take().unwrap().len(), usize::from(expected == 200), "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, tap, made) = gate(dir.path()).await;
    for (what, fields, then) in HEADS {
        let mut frames = Frames::open(gate.address, &made).await;
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields)).await;
        let outcome = frames.outcome(1).await;
        let reached = tap.take().unwrap_or_else(|why| panic!("{what}: {why}"));
        match then {
            Passes => {
                assert_eq!(outcome, Outcome::Status(200), "{what}");
                assert_eq!(reached.len(), 1, "{what}");
                assert_eq!(reached[0].line(), "POST /x", "{what}");
                assert_eq!(reached[0].header("host"), Some("gate.test"), "{what}");
            }
            Answered(expected) => assert_eq!(outcome, Outcome::Status(*expected), "{what}"),
            Ended => assert!(
                matches!(outcome, Outcome::Reset | Outcome::Closed | Outcome::Status(400)),
                "{what}: {outcome:?}"
            ),
        }
        assert!(*then == Passes || reached.is_empty(), "{what}: {reached:?}");
        if fields.iter().any(|(name, _)| *name == "cookie") {
            assert_eq!(reached[0].header("cookie"), Some("a=1; b=2"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_trailers() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, tap, made) = gate(dir.path()).await;
    // Trailers end the body and go no further.
    let mut frames = Frames::open(gate.address, &made).await;
    frames.send(HEADERS, END_HEADERS, 1, &block(&START)).await;
    frames.send(DATA, 0, 1, b"hello").await;
    let trailers = block(&[("authorization", "token x"), ("x-webauth-user", "root"), ("content-length", "9")]);
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &trailers).await;
    assert_eq!(frames.outcome(1).await, Outcome::Status(200));
    let reached = tap.take().unwrap();
    assert_eq!((reached.len(), &reached[0].body[..]), (1, &b"hello"[..]));
    assert!(!reached[0].has("authorization"));
    // A body that is longer or shorter than was said does not arrive whole.
    for (length, body) in [("9", "hello"), ("2", "hello")] {
        let mut frames = Frames::open(gate.address, &made).await;
        let fields = [&START[..], &[("content-length", length)]].concat();
        frames.send(HEADERS, END_HEADERS, 1, &block(&fields)).await;
        frames.send(DATA, END_STREAM, 1, body.as_bytes()).await;
        let outcome = frames.outcome(1).await;
        assert!(outcome != Outcome::Status(200), "{length}: {outcome:?}");
        assert!(tap.take().unwrap().iter().all(|wire| wire.is_cut), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_announced_and_held() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, tap, made) = gate(dir.path()).await;
    let mut frames = Frames::open(gate.address, &made).await;
    let settings = frames.settings().await;
    for expected in [(MAX_CONCURRENT_STREAMS, 100), (INITIAL_WINDOW_SIZE, 64 << 10), (MAX_HEADER_LIST_SIZE, 16 << 10)] {
        assert!(settings.contains(&expected), "{expected:?}: {settings:?}");
    }
    // A header list past the limit, by CONTINUATION frames that never end.
    let mut frames = Frames::open(gate.address, &made).await;
    frames.send(HEADERS, END_STREAM, 1, &block(&START)).await;
    let value = "x".repeat(120);
    let many: Vec<u8> = (0..100).flat_map(|_| block(&[("x-a", &value)])).collect();
    for _ in 0..100 {
        frames.send(CONTINUATION, 0, 1, &many).await;
    }
    assert_eq!(frames.outcome(1).await, Outcome::Closed);
    // Rapid reset: streams that are opened and reset at once.
    let mut frames = Frames::open(gate.address, &made).await;
    // As one piece: a gate that has time to see to each has nothing to bear.
    let pair = |number: u32| {
        let opened = frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &block(&START));
        [opened, frame(RESET, 0, number * 2 + 1, &8_u32.to_be_bytes())].concat()
    };
    let all: Vec<u8> = (0..3_000).flat_map(pair).collect();
    let _ = frames.stream.write_all(&all).await;
    soon(ended(&mut frames)).await;
    assert!(tap.take().is_ok());
    // Honest requests still pass.
    let mut frames = Frames::open(gate.address, &made).await;
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&START)).await;
    assert_eq!(frames.outcome(1).await, Outcome::Status(200));
}

/// Reads until the connection is given up.
async fn ended(frames: &mut Frames) {
    while let Some((kind, ..)) = frames.read().await {
        if kind == GO_AWAY {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_window_stays_shut_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let (mut plan, _tap, made) = plan(dir.path()).await;
    plan.server.limits.write_stall_timeout = Duration::from_millis(300);
    let gate = plan.start();
    let mut frames = Frames::open(gate.address, &made).await;
    frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&START)).await;
    assert_eq!(frames.outcome(1).await, Outcome::Status(200));
    soon(ended(&mut frames)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_are_requests_of_one_client() {
    let dir = tempfile::tempdir().unwrap();
    let (mut plan, tap, made) = plan(dir.path()).await;
    plan.server.limits.max_requests_per_client = 2;
    let gate = plan.start();
    let mut frames = Frames::open(gate.address, &made).await;
    frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    for (stream, expected) in [(1, 200), (3, 200), (5, 503)] {
        frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&START)).await;
        assert_eq!(frames.outcome(stream).await, Outcome::Status(expected), "stream {stream}");
    }
    assert_eq!(tap.take().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_is_not_spoken() {
    let tap = Tap::before(forge(ok).await).await;
    let gate = Plan::to(&tap.url()).start();
    let answer = crate::edge_support::talk(gate.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_eq!(crate::edge_support::status(&answer), 400);
    assert_eq!(tap.take(), Ok(Vec::new()));
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_HEADER_LIST_SIZE: u16 = 6;
