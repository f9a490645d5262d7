//! Every known way of writing HTTP/1.1 so that two readers see two things, as data: what the gate must answer, and what
//! may leave it. Each row is tried on a request that passes and on one that is guarded, through the real binary.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::e2e::{Gate, Setup, backlog_issue, forge, issue, token};
use crate::edge_wire::{Tap, Wire};

/// What must become of a row.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// It reaches the tracker once, with the body that was meant.
    Passes,
    /// The gate answers with this status and a reason, closes, and nothing whole leaves.
    Refused(u16),
}
use Then::{Passes, Refused};

/// `{line}`: method, target and version; `{with}`: Host, credential, content type, `Connection: close`; `{body}`, `{len}`:
/// a body and its length; `{chunk}`: the body as one chunk, without the last one.
const FRAMING: &[(&str, &str, Then)] = &[
    ("a plain length", "{line}\r\n{with}content-length: {len}\r\n\r\n{body}", Passes),
    ("a plain chunk", "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n", Passes),
    (
        "CL.TE",
        "{line}\r\n{with}content-length: {len}\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
        Refused(400),
    ),
    ("TE.CL", "{line}\r\n{with}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{chunk}0\r\n\r\n", Refused(400)),
    (
        "CL.0 with TE",
        "{line}\r\n{with}content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE chunked, identity",
        "{line}\r\n{with}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{chunk}0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE identity, chunked",
        "{line}\r\n{with}transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
        Refused(400),
    ),
    ("TE gzip, chunked", "{line}\r\n{with}transfer-encoding: gzip, chunked\r\n\r\n{chunk}0\r\n\r\n", Refused(400)),
    (
        "TE chunked, chunked",
        "{line}\r\n{with}transfer-encoding: chunked, chunked\r\n\r\n{chunk}0\r\n\r\n",
        Refused(400),
    ),
    (
        "TE twice",
        "{line}\r\n{with}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
        Refused(400),
    ),
    ("TE xchunked", "{line}\r\n{with}transfer-encoding: xchunked\r\n\r\n{chunk}0\r\n\r\n", Refused(400)),
    ("TE after a vertical tab", "{line}\r\n{with}transfer-encoding: \x0bchunked\r\n\r\n{chunk}0\r\n\r\n", Refused(400)),
    ("TE empty", "{line}\r\n{with}transfer-encoding:\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("TE in HTTP/1.0", "{line0}\r\n{with}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n", Refused(400)),
    ("TE CHUNKED", "{line}\r\n{with}Transfer-Encoding: CHUNKED\r\n\r\n{chunk}0\r\n\r\n", Passes),
    ("CL twice, equal", "{line}\r\n{with}content-length: {len}\r\ncontent-length: 0{len}\r\n\r\n{body}", Passes),
    ("CL with a zero before", "{line}\r\n{with}content-length: 0{len}\r\n\r\n{body}", Passes),
    ("CL twice, different", "{line}\r\n{with}content-length: {len}\r\ncontent-length: 1\r\n\r\n{body}", Refused(400)),
    ("CL list", "{line}\r\n{with}content-length: {len}, {len}\r\n\r\n{body}", Refused(400)),
    ("CL +", "{line}\r\n{with}content-length: +{len}\r\n\r\n{body}", Refused(400)),
    ("CL 0x", "{line}\r\n{with}content-length: 0x{len}\r\n\r\n{body}", Refused(400)),
    ("CL -1", "{line}\r\n{with}content-length: -1\r\n\r\n{body}", Refused(400)),
    ("CL empty", "{line}\r\n{with}content-length:\r\n\r\n{body}", Refused(400)),
    ("CL 2^64", "{line}\r\n{with}content-length: 18446744073709551616\r\n\r\n{body}", Refused(400)),
    ("CL 2^64 - 1", "{line}\r\n{with}content-length: 18446744073709551615\r\n\r\n{body}", Refused(400)),
    ("blank before the colon", "{line}\r\n{with}content-length : {len}\r\n\r\n{body}", Refused(400)),
    ("obs-fold", "{line}\r\n{with}x: a\r\n b\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("obs-fold of TE", "{line}\r\n{with}transfer-encoding:\r\n chunked\r\n\r\n{chunk}0\r\n\r\n", Refused(400)),
    ("NUL in a value", "{line}\r\n{with}x: a\0b\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("bare CR in a value", "{line}\r\n{with}x: a\rb: c\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("empty name", "{line}\r\n{with}: a\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("no colon", "{line}\r\n{with}nonsense\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("LF ends the request line", "{line}\n{with}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("LF ends a header", "{line}\r\n{with}x: a\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    (
        "LF makes a second header",
        "{line}\r\n{with}x: a\nx-webauth-user: root\r\ncontent-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    ("LF ends the head", "{line}\r\n{with}content-length: {len}\r\n\n{body}", Refused(400)),
    ("all LF", "{line}\nhost: gate.test\ncontent-length: {len}\n\n{body}", Refused(400)),
    (
        "Transfer_Encoding",
        "{line}\r\n{with}Transfer_Encoding: chunked\r\ncontent-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    ("Content_Length", "{line}\r\n{with}Content_Length: 1\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    (
        "a chunk extension",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{size};a=b\r\n{body}\r\n0\r\n\r\n",
        Passes,
    ),
    (
        "a size with a blank after",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{size} \r\n{body}\r\n0\r\n\r\n",
        Passes,
    ),
    (
        "a size with zeros before",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n00000000{size}\r\n{body}\r\n0\r\n\r\n",
        Passes,
    ),
    (
        "LF in a chunk extension",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{size};a\nb\r\n{body}\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "CR in a chunk extension",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{size};a\rb\r\n{body}\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a size that ends in LF",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{size}\n{body}\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("a size of 0x", "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n0x{size}\r\n{body}\r\n0\r\n\r\n", Refused(400)),
    (
        "a size after a blank",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n {size}\r\n{body}\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a size with _",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{size}_0\r\n{body}\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a size past 2^64",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{body}\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a chunk without its CRLF",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{size}\r\n{body}0\r\n\r\n",
        Refused(400),
    ),
    (
        "trailers",
        "{line}\r\n{with}transfer-encoding: chunked\r\n\r\n{chunk}0\r\nauthorization: token x\r\ncontent-length: 99\r\nx-webauth-user: root\r\n\r\n",
        Passes,
    ),
    ("two Host", "{line}\r\n{with}host: gate.test\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("no Host", "{line}\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    (
        "a Host with more in it",
        "{line}\r\nhost: a@b/c?d\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    (
        "Expect of something else",
        "{line}\r\n{with}expect: a-miracle\r\ncontent-length: {len}\r\n\r\n{body}",
        Refused(417),
    ),
    (
        "Expect 100-continue without waiting",
        "{line}\r\n{with}expect: 100-continue\r\ncontent-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    (
        "Upgrade h2c",
        "{line}\r\n{with}upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\ncontent-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    ("Upgrade foo", "{line}\r\n{with}upgrade: foo\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    ("CRLF before the request", "\r\n\r\n{line}\r\n{with}content-length: {len}\r\n\r\n{body}", Passes),
    ("LF before the request", "\n{line}\r\n{with}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("HTTP/1.2", "{method} {target} HTTP/1.2\r\n{with}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("HTTP/2.0", "{method} {target} HTTP/2.0\r\n{with}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("HTTP/0.9", "{method} {target}\r\n\r\n", Refused(400)),
    (
        "a tab in the request line",
        "{method}\t{target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    (
        "two blanks in the request line",
        "{method}  {target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    ("a fragment", "{method} {target}#x HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("no slash", "{method} api/v1 HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}", Refused(400)),
    (
        "absolute, another host",
        "{method} http://evil.test{target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    (
        "absolute, userinfo",
        "{method} http://me@gate.test{target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    (
        "absolute, no host",
        "{method} http://{target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    (
        "absolute, the same host",
        "{method} http://gate.test{target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    (
        "absolute https, the same host",
        "{method} https://gate.test{target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    ("file:", "{method} file://{target} HTTP/1.1\r\n{with}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("X_WEBAUTH_USER", "{line}\r\n{with}X_WEBAUTH_USER: root\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("X-Forwarded_User", "{line}\r\n{with}X-Forwarded_User: root\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    (
        "identity headers",
        "{line}\r\n{with}X-WEBAUTH-USER: root\r\nx-webauth-EMAIL: r@x\r\nX-Forwarded-User: root\r\nX-Remote-User: root\r\nX-Auth-Request-User: root\r\ncontent-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    (
        "Connection names ours",
        "{line}\r\n{with}connection: authorization, host, content-length, content-type, x-forwarded-for, via\r\ncontent-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    ("obs-text in a value", "{line}\r\n{with}x-note: caf\u{e9}\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
];

/// Whole requests that never reach the tracker, and what they are answered.
const REFUSED: &[(&str, &str, u16)] = &[
    ("CONNECT", "CONNECT gate.test:443 HTTP/1.1\r\nhost: gate.test:443\r\n\r\n", 405),
    ("CONNECT to another", "CONNECT evil.test:443 HTTP/1.1\r\nhost: evil.test:443\r\n\r\n", 405),
    ("* for GET", "GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("authority-form GET", "GET gate.test:80 HTTP/1.1\r\nhost: gate.test:80\r\n\r\n", 400),
    ("an empty Host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
    ("a Host with a bad port", "GET / HTTP/1.1\r\nhost: a:b\r\n\r\n", 400),
    ("a Host list", "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400),
    ("quotes and braces", "GET /{\"a\"} <b> HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("a method that is no token", "G@T / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("HTTP/2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\u{7c}\x03\x03", 400),
    (
        "/api/internal",
        "POST /api/internal/hook/pre-receive/acme/app HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        400,
    ),
    (
        "/api/internal by GET",
        "GET /api/internal/manager/processes HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        400,
    ),
    (
        "/api/internal, escaped",
        "GET /api/%69nternal/manager/processes HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        400,
    ),
    (
        "/api/internal behind an agent",
        "GET /as/bot/api/internal/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        400,
    ),
    ("/api/internal, absolute", "GET http://a//api/internal/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400),
];

/// A gate whose every byte towards the tracker is seen.
async fn watched() -> (claimgate::fake_forge::FakeForge, Tap, Gate) {
    let forge = forge(&["agent-0"]).await;
    let tap = Tap::before(forge.base_url().trim_start_matches("http://").parse().unwrap()).await;
    let gate = Setup::before(&tap.url()).start().await;
    (forge, tap, gate)
}

fn fill(template: &str, method: &str, target: &str, body: &str) -> Vec<u8> {
    let with = format!(
        "host: gate.test\r\nauthorization: token {}\r\ncontent-type: application/json\r\nconnection: close\r\n",
        token("agent-0")
    );
    let size = format!("{:x}", body.len());
    let text = template
        .replace("{line0}", "{method} {target} HTTP/1.0")
        .replace("{line}", "{method} {target} HTTP/1.1")
        .replace("{method}", method)
        .replace("{target}", target)
        .replace("{with}", &with)
        .replace("{len}", &body.len().to_string())
        .replace("{chunk}", "{size}\r\n{body}\r\n")
        .replace("{size}", &size)
        .replace("{body}", body);
    // Latin 1: a character is a byte.
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// Sends, and reads until the gate closes.
async fn talk(gate: &Gate, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
    assert!(matches!(read, Ok(Ok(_))), "{read:?} after {:?}: {}", show(bytes), show(&answer));
    show(&answer)
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status of the final answer.
#[track_caller]
fn status(answer: &str) -> u16 {
    let answer = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(answer);
    answer.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

/// What of the requests at the tracker is not the gate's own.
fn clients(requests: Vec<Wire>) -> Vec<Wire> {
    requests.into_iter().filter(|wire| wire.method != "GET").collect()
}

#[track_caller]
fn refused(what: &str, answer: &str, expected: u16, reached: &[Wire]) {
    assert_eq!(status(answer), expected, "{what}: {answer}");
    let (head, body) = answer.rsplit_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: {answer}"));
    assert!(body["message"].as_str().is_some_and(|it| it.len() > 10), "{what}: {answer}");
    assert!(body["url"].is_string() && head.contains("application/json"), "{what}: {answer}");
    assert!(reached.iter().all(|wire| wire.is_cut), "{what}: {reached:?}");
}

async fn try_rows(gate: &Gate, tap: &Tap, method: &str, body: &str, target: impl Fn() -> String) {
    for (what, template, then) in FRAMING {
        let target = target();
        let answer = talk(gate, &fill(template, method, &target, body)).await;
        let reached = clients(tap.take().unwrap_or_else(|why| panic!("{what}: {why}")));
        match then {
            Refused(expected) => refused(what, &answer, *expected, &reached),
            Passes => {
                let reached: Vec<Wire> = reached.into_iter().filter(|wire| !wire.is_cut).collect();
                assert_eq!(reached.len(), 1, "{what}: {answer} {reached:?}");
                let wire = &reached[0];
                assert_eq!(wire.line(), format!("{method} {target}"), "{what}");
                assert_eq!(show(&wire.body), body, "{what}");
                let credential = format!("token {}", token("agent-0"));
                assert_eq!(wire.header("authorization"), Some(credential.as_str()), "{what}");
                assert_eq!(wire.header("content-type"), Some("application/json"), "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_of_a_request_that_passes() {
    let (_forge, tap, gate) = watched().await;
    try_rows(&gate, &tap, "POST", "{\"text\":\"a body\"}", || "/api/v1/markdown?a=%2F".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_of_a_guarded_write() {
    let (forge, tap, gate) = watched().await;
    let body = "{\"assignees\":[\"agent-0\"]}";
    try_rows(&gate, &tap, "PATCH", body, || issue(backlog_issue(&forge).number)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_reach_the_tracker() {
    let (_forge, tap, gate) = watched().await;
    for (what, text, expected) in REFUSED {
        let answer = talk(&gate, text.as_bytes()).await;
        let reached = tap.take().unwrap();
        refused(what, &answer, *expected, &reached);
        assert_eq!(reached, [], "{what}");
    }
    let many = "x: 1\r\n".repeat(101);
    let long = "x".repeat(70_000);
    for (what, text, expected) in [
        ("a long target", format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), &[414, 431][..]),
        ("a long header", format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), &[431]),
        ("many headers", format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), &[431]),
        ("an endless head", format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(3 << 20)), &[431]),
    ] {
        let answer = talk(&gate, text.as_bytes()).await;
        assert!(expected.contains(&status(&answer)), "{what}: {answer}");
        refused(what, &answer, status(&answer), &tap.take().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_and_later_heads_are_looked_at_too() {
    let (_forge, tap, gate) = watched().await;
    let good = |n: usize| format!("POST /api/v1/markdown?{n} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n\n#\n");
    let bad = "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n";
    // In one write: those before are answered, the bad one refused, and what follows is not read.
    let answer = talk(&gate, format!("{}{}{bad}{}", good(1), good(2), good(3)).as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 3, "{answer}");
    assert!(answer.rsplit_once("HTTP/1.1 ").unwrap().1.starts_with("400 "), "{answer}");
    let lines: Vec<String> = tap.take().unwrap().iter().map(Wire::line).collect();
    assert_eq!(lines, ["POST /api/v1/markdown?1", "POST /api/v1/markdown?2"]);
    // Byte by byte, with pauses where a segment would end.
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in format!("{}{}{bad}", good(4), good(5)).bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 3, "{answer}");
    assert_eq!(clients(tap.take().unwrap()).len(), 2);
    // Behind a chunked body nobody looks; what goes up is clean all the same.
    let chunked =
        "POST /api/v1/markdown?6 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let hidden = "POST /api/v1/markdown?7#x HTTP/1.1\nhost: a\ntransfer-encoding: chunked\ncontent-length: 9\n\n1\r\ny\r\n0\r\n\r\n";
    let answer = talk(&gate, format!("{chunked}{hidden}{}", good(8)).as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "hyper closes after a length beside a coding: {answer}");
    let reached = clients(tap.take().unwrap());
    let seen: Vec<(String, String)> = reached.iter().map(|wire| (wire.line(), show(&wire.body))).collect();
    assert_eq!(
        seen,
        [("POST /api/v1/markdown?6".into(), "x".into()), ("POST /api/v1/markdown?7".into(), "y".to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let (_forge, _tap, gate) = watched().await;
    for (head, expected) in [
        (format!("PATCH {} HTTP/1.1\r\nhost: a\r\ncontent-length: 20000000\r\n\r\n", issue(1)), 413),
        ("POST /a#b HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n".to_owned(), 400),
        ("POST /a HTTP/1.1\r\nhost: a\r\nexpect: b\r\ncontent-length: 3000000\r\n\r\n".to_owned(), 417),
    ] {
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        let bytes = [head.as_bytes(), &vec![b'x'; 3_000_000]].concat();
        // A socket that is closed over unread bytes is reset, and takes the answer with it.
        stream.write_all(&bytes).await.unwrap_or_else(|e| panic!("{expected}: {e}"));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap_or_else(|e| panic!("{expected}: {e}"));
        assert_eq!(status(&answer), expected, "{answer}");
    }
}
