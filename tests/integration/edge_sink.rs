//! Whatever clients send, the bytes that leave towards the tracker are whole and plain requests, and none but those that
//! the gate decided to send.
//!
//! Streams of bytes are made from good and bad requests by mutation, from a seed that is printed. What leaves is kept
//! by a tap and read by `edge_wire`; it is held against what the edge classified, and against the audit.
//! `CLAIMGATE_TEST_STREAMS` is how many streams there are, `CLAIMGATE_TEST_SEED` the seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claimgate::proxy::{Body, Guard, Note, PassAll, Passed, Peer, ReadMemo, Route, full};
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::e2e::{REPO, Setup, backlog_issue, eventually, issue, token};
use crate::edge_support::{Plan, forge};
use crate::edge_wire::{Tap, Wire};

const STREAMS: usize = 3_000;
/// As many clients at once.
const CLIENTS: usize = 192;
/// A client that has got nothing for so long, twice, hangs up: its request is not whole, or it was answered.
const PATIENCE: Duration = Duration::from_millis(20);

fn streams() -> usize {
    let told = std::env::var("CLAIMGATE_TEST_STREAMS").ok();
    told.map_or(STREAMS, |text| text.parse().expect("CLAIMGATE_TEST_STREAMS is a number"))
}

fn seed() -> u64 {
    let told = std::env::var("CLAIMGATE_TEST_SEED").ok();
    let seed = told.map_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0, |text| text.parse().expect("a number"));
    println!("CLAIMGATE_TEST_SEED={seed} CLAIMGATE_TEST_STREAMS={}", streams());
    seed
}

// === the streams ===

/// `SplitMix64`: the same streams from the same seed, whatever else changes.
struct Dice(u64);

impl Dice {
    fn of(seed: u64, stream: usize) -> Self {
        Self(seed ^ (stream as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % (end.max(1) as u64)).expect("below a usize")
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Requests to begin with: `{path}` is an item, `{body}` a claim or a release of it.
const SEEDS: [&str; 14] = [
    "PATCH {path} HTTP/1.1\r\n{who}content-length: {len}\r\n\r\n{body}",
    "PATCH {path} HTTP/1.1\r\n{who}transfer-encoding: chunked\r\n\r\n{chunks}",
    "PATCH /as/bot-1{path} HTTP/1.1\r\n{who}content-length: {len}\r\n\r\n{body}",
    "PATCH http://gate.test{path} HTTP/1.1\r\n{who}content-length: {len}\r\n\r\n{body}",
    "PATCH {path}?state=closed HTTP/1.1\r\n{who}content-length: {len}\r\n\r\n{body}",
    "POST {path}/labels HTTP/1.1\r\n{who}content-length: 21\r\n\r\n{\"labels\": [ 1, 2 ] }",
    "POST {path}/comments HTTP/1.1\r\n{who}content-length: 16\r\n\r\n{\"body\":\"hello\"}",
    "GET {path} HTTP/1.1\r\n{who}\r\n",
    "GET /x?a=b HTTP/1.1\r\nhost: gate.test\r\naccept: */*\r\n\r\n",
    "POST /x HTTP/1.1\r\nhost: gate.test\r\ncontent-length: 5\r\n\r\nhello",
    "POST /x HTTP/1.1\r\nhost: gate.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nbye\r\n0\r\nx-t: 1\r\n\r\n",
    "PUT /x HTTP/1.1\r\nhost: gate.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
    "GET /x HTTP/1.1\r\nhost: gate.test\r\nconnection: upgrade, x-a\r\nupgrade: h2c\r\nx-a: 1\r\nx-webauth-user: root\r\n\r\n",
    "HEAD /x HTTP/1.0\r\n\r\n",
];

const LINES: [&str; 18] = [
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "transfer-encoding: identity\r\n",
    "Transfer_Encoding: chunked\r\n",
    "content-length: 5\r\n",
    "content-length: 0\r\n",
    "Content-Length: 3\n",
    "host: evil.test\r\n",
    "X-WEBAUTH-USER: root\r\n",
    "x_forwarded_user: root\r\n",
    "connection: authorization, host, content-length, transfer-encoding\r\n",
    "connection: close\r\n",
    "authorization: token other\r\n",
    "expect: 100-continue\r\n",
    "te: trailers\r\n",
    " folded\r\n",
    "\r\n",
    "\n",
];

const BYTES: &[u8] = b"\r\n\0\t :;,#?/%_+-019afxX\x0b\x7f\x80\xff\"{}[]";

fn written(template: &str, path: &str, body: &str) -> String {
    let who =
        format!("host: gate.test\r\nauthorization: token {}\r\ncontent-type: application/json\r\n", token("agent-0"));
    let (front, back) = body.split_at(body.len() / 2);
    let chunks = format!("{:x}\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\n\r\n", front.len(), back.len());
    template
        .replace("{path}", path)
        .replace("{who}", &who)
        .replace("{len}", &body.len().to_string())
        .replace("{body}", body)
        .replace("{chunks}", &chunks)
}

/// One to three requests, some bytes of which are changed, removed, doubled or moved, and a plain request at the end.
fn stream(dice: &mut Dice, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(3) {
        let body = dice.one(&["{\"assignees\":[\"agent-0\"]}", "{\"assignees\":[]}", "{\"title\":\"t\"}", "{}"]);
        let seed = dice.one(&SEEDS);
        bytes.extend_from_slice(written(seed, path, body).as_bytes());
    }
    // One in four is left as it is: the good ones must be seen to pass.
    for _ in 0..dice.below(4) {
        mutate(dice, &mut bytes);
    }
    bytes.extend_from_slice(b"GET /end HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n\r\n");
    bytes
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    let end = (at + 1 + dice.below(24)).min(bytes.len());
    match dice.below(8) {
        0 => bytes[at] = dice.one(BYTES),
        1 => bytes.insert(at, dice.one(BYTES)),
        2 => drop(bytes.drain(at..end)),
        3 => bytes[at] ^= 1 << dice.below(8),
        4 => {
            let piece = bytes[at..end].to_vec();
            let to = dice.below(bytes.len() + 1);
            drop(bytes.splice(to..to, piece));
        }
        // A line where one ends.
        _ => {
            let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').map(|at| at + 1).collect();
            let to = if ends.is_empty() { at } else { dice.one(&ends) };
            drop(bytes.splice(to..to, dice.one(&LINES).bytes()));
        }
    }
}

async fn connected(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap_or_else(|why| panic!("{address} cannot be reached any more: {why}"))
}

/// Sends one stream in pieces and reads what comes, until the gate closes or says nothing more.
async fn send(address: SocketAddr, dice: &mut Dice, bytes: &[u8]) {
    let mut client = connected(address).await;
    let mut rest = bytes;
    let pieces = if dice.below(4) == 0 { 1 + dice.below(5) } else { 1 };
    for piece in 0..pieces {
        let length = if piece + 1 == pieces { rest.len() } else { dice.below(rest.len() + 1) };
        if client.write_all(&rest[..length]).await.is_err() {
            return;
        }
        rest = &rest[length..];
        tokio::task::yield_now().await;
    }
    let (mut scratch, mut was_silent) = ([0; 4096], false);
    loop {
        match tokio::time::timeout(PATIENCE, client.read(&mut scratch)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => was_silent = false,
            Err(_) if was_silent => return,
            Err(_) => {
                was_silent = true;
                others_are_answered(address).await;
            }
        }
    }
}

/// A busy gate is silent, too: whoever came after this client is answered first, and only then its patience ends.
async fn others_are_answered(address: SocketAddr) {
    let mut other = connected(address).await;
    let request = b"GET /other HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n\r\n";
    if other.write_all(request).await.is_ok() {
        let _ = other.read_to_end(&mut Vec::new()).await;
    }
}

/// Sends all streams, several at once.
async fn send_all(address: SocketAddr, seed: u64, paths: Arc<Vec<String>>) {
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (next, paths) = (Arc::clone(&next), Arc::clone(&paths));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= streams() {
                        return;
                    }
                    let mut dice = Dice::of(seed, number);
                    let bytes = stream(&mut dice, &paths[number % paths.len()]);
                    send(address, &mut dice, &bytes).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client panics");
    }
}

/// How often each of these was there.
fn counted(of: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in of {
        *counts.entry(one).or_insert(0) += 1;
    }
    counts
}

/// What of `these` is not among `others`.
fn missing(these: &BTreeMap<String, usize>, others: &BTreeMap<String, usize>) -> Vec<String> {
    let short = |(what, count): (&String, &usize)| {
        let found = others.get(what).copied().unwrap_or(0);
        (found < *count).then(|| format!("{what}: {found} of {count}"))
    };
    these.iter().filter_map(short).collect()
}

// === the pass path, against what the edge decided ===

/// Notes what it lets pass, and which of it was answered.
#[derive(Default)]
struct Noting {
    passing: Mutex<Vec<String>>,
    answered: Mutex<Vec<String>>,
}

fn line(head: &Parts) -> String {
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{} {}{query}", head.method, head.uri.path())
}

impl Guard for Noting {
    fn classify(&self, head: &Parts, peer: &Peer, memo: &ReadMemo) -> Route {
        self.passing.lock().unwrap().push(line(head));
        PassAll.classify(head, peer, memo)
    }

    fn serve(self: Arc<Self>, head: Parts, body: Incoming, peer: Peer, _: Note) -> BoxFuture<'static, Response<Body>> {
        Arc::new(PassAll).serve(head, body, peer, Note::default())
    }

    fn passed(&self, note: Passed<'_>) {
        self.answered.lock().unwrap().push(line(note.head));
    }
}

async fn ok(request: Request<Incoming>) -> Response<Body> {
    match request.into_body().collect().await {
        Ok(body) => Response::new(full(format!("{} bytes", body.to_bytes().len()))),
        Err(_) => Response::builder().status(400).body(full("broken")).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_what_the_edge_let_pass() {
    let seed = seed();
    let tap = Tap::before(forge(ok).await).await;
    let notes = Arc::new(Noting::default());
    let mut plan = Plan::to(&tap.url());
    plan.guard = Arc::clone(&notes) as Arc<dyn Guard>;
    let gate = plan.start();
    send_all(gate.address, seed, Arc::new(vec![issue(1), issue(2)])).await;
    // In this order: what clients gave up on may still be under way, and comes further while this looks.
    let answered = counted(notes.answered.lock().unwrap().clone());
    let found = tap.take().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    let sent = counted(found.iter().map(Wire::line));
    let passing = counted(notes.passing.lock().unwrap().clone());
    println!("{} requests left; {} were answered", found.len(), answered.values().sum::<usize>());
    assert_eq!(missing(&sent, &passing), Vec::<String>::new(), "seed {seed}: left without leave");
    assert_eq!(missing(&answered, &sent), Vec::<String>::new(), "seed {seed}: answered, and never left");
    assert!(found.len() > streams() / 2, "only {} left", found.len());
}

// === guarded writes, against the audit ===

/// The item of a guarded write, as the audit names it; none if it is none. A reading of its own: a write at an item
/// whose body names what is guarded, however it spells it.
fn guarded(wire: &Wire) -> Option<String> {
    if matches!(wire.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        return None;
    }
    let path = percent_encoding::percent_decode_str(wire.target.split('?').next()?).decode_utf8_lossy().to_lowercase();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let ["api", "v1", "repos", owner, repo, "issues" | "pulls", number, below @ ..] = &parts[..] else { return None };
    let is_guarded = match below {
        // Clearing takes neither body nor query.
        [] | ["labels" | "assignees"] => wire.method == "DELETE" || names_what_is_guarded(wire),
        ["labels", _] => true,
        _ => false,
    };
    is_guarded.then(|| format!("{owner}/{repo}#{number}"))
}

/// Whether a Go server would find a guarded field. Of JSON it reads the first value, and not what follows, with another
/// character for each byte that is no UTF-8; nothing but white space asks for nothing, and what is no object is taken to have
/// all. Of anything else it reads names of forms, in the
/// query or in the body.
fn names_what_is_guarded(wire: &Wire) -> bool {
    const NAMES: [&str; 4] = ["assignee", "assignees", "labels", "state"];
    if wire.header("content-type").is_some_and(|kind| kind.contains("json")) {
        let folded = |name: &str| name.to_lowercase().replace('\u{17f}', "s");
        let text = String::from_utf8_lossy(&wire.body);
        return match serde_json::Deserializer::from_str(&text).into_iter::<Value>().next() {
            None | Some(Ok(Value::Null)) => false,
            Some(Ok(Value::Object(members))) => members.keys().any(|name| NAMES.contains(&folded(name).as_str())),
            Some(_) => true,
        };
    }
    let query = wire.target.split_once('?').map_or("", |(_, query)| query).as_bytes();
    let text =
        [query, &wire.body].map(|part| percent_encoding::percent_decode(part).decode_utf8_lossy().to_lowercase());
    NAMES.iter().any(|name| text.iter().any(|text| text.contains(name)))
}

/// The item of an audit line that says that its write was sent.
fn sent(line: &Value) -> Option<String> {
    let is_sent = line["kind"] == "decision"
        && matches!(line["result"].as_str()?, "COMMITTED" | "REFUSED" | "PARTIAL" | "DOUBT")
        && line["decision"] == "admit";
    is_sent.then(|| line["resource"].as_str().map(str::to_lowercase)).flatten()
}

#[tokio::test(flavor = "multi_thread")]
async fn guarded_writes_that_leave_are_those_of_the_audit() {
    let seed = seed();
    let tracker = crate::e2e::forge(&["agent-0"]).await;
    let paths: Vec<String> = (0..100).map(|_| issue(backlog_issue(&tracker).number)).collect();
    let tap = Tap::before(tracker.base_url().trim_start_matches("http://").parse().unwrap()).await;
    let gate = Setup::before(&tap.url()).start().await;
    send_all(gate.address, seed, Arc::new(paths)).await;
    // A section outlives its client, and the audit is printed after it.
    let found = Mutex::new(Vec::<Wire>::new());
    let settled = eventually(
        || async {
            // Not before the last section has ended: what is equal now would not be so a moment later.
            let metrics = gate.operator().get("/metrics").await;
            if !String::from_utf8_lossy(&metrics.body).contains("claimgate_in_flight 0\n") {
                return None;
            }
            let more = tap.take().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            found.lock().unwrap().extend(more.into_iter().filter(|wire| !wire.is_cut));
            let left = counted(found.lock().unwrap().iter().filter_map(guarded));
            (left == counted(gate.audit().iter().filter_map(sent))).then_some(())
        },
        Duration::from_secs(20),
    );
    let settled = settled.await.is_some();
    let left = counted(found.lock().unwrap().iter().filter_map(guarded));
    let audited = counted(gate.audit().iter().filter_map(sent));
    println!("{} guarded writes left", left.values().sum::<usize>());
    let unknown = missing(&left, &audited);
    let wires = |of: &[String]| {
        let of: Vec<&str> = of.iter().filter_map(|one| one.split(':').next()).collect();
        let found = found.lock().unwrap();
        found
            .iter()
            .filter(|wire| guarded(wire).is_some_and(|item| of.contains(&item.as_str())))
            .map(|wire| format!("{wire:?}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(unknown.is_empty(), "seed {seed}: left, and not in the audit: {unknown:?}\n{}", wires(&unknown));
    assert_eq!(missing(&audited, &left), Vec::<String>::new(), "seed {seed}: in the audit, and never left");
    assert!(settled && left.values().sum::<usize>() > streams() / 50, "{left:?}");
    for wire in found.lock().unwrap().iter().filter(|wire| guarded(wire).is_some()) {
        // Written by the gate: its own framing, its own spelling, and only headers that cannot change what it means.
        assert!(!wire.is_cut && wire.has("content-length") != wire.body.is_empty(), "seed {seed}: {wire:?}");
        // The tracker takes the names of owner and repository in any case.
        let target = wire.target.to_lowercase();
        assert!(!target.contains('?') && target.starts_with(&format!("/api/v1/repos/{REPO}/")), "{wire:?}");
        let credential = wire.header("authorization").and_then(|it| it.split_whitespace().next_back());
        assert_eq!(credential, Some(token("agent-0").as_str()), "seed {seed}: {wire:?}");
        assert!(wire.body.is_empty() || serde_json::from_slice::<Value>(&wire.body).is_ok(), "{wire:?}");
    }
}
