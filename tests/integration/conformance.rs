//! The fake forge against what a real one (Gitea 1.15.11) was recorded to answer: every exchange is replayed in order
//! over a socket, and status, content type and the shape of the body must be the same. Where a value does not hang on
//! the clock or the address it must be the same, too.

use claimgate::fake_forge::{FakeForge, FirstIds, Options};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const RECORDINGS: &str = include_str!("../recordings/forgejo/exchanges.json");

/// Members whose values must be those recorded.
const SAME_VALUES: [&str; 14] = [
    "number",
    "state",
    "title",
    "login",
    "name",
    "full_name",
    "message",
    "body",
    "color",
    "comments",
    "version",
    "owner",
    "errors",
    "id",
];

#[tokio::test]
async fn answers_as_the_recorded_forge_did() {
    let forge = seeded().await;
    let exchanges: Vec<Value> = serde_json::from_str(RECORDINGS).expect("the recordings are JSON");
    assert_eq!(exchanges.len(), 47);
    let mut differences = Vec::new();
    for (at, exchange) in exchanges.iter().enumerate() {
        let (status, headers, body) = send(&forge, &exchange["what"], &exchange["request"]).await;
        let place = format!("{at} ({})", exchange["what"].as_str().unwrap_or(""));
        compare(&exchange["response"], (status, &headers, &body), &place, &mut differences);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Users, repository and number spaces as they were when the recording began.
async fn seeded() -> FakeForge {
    // Comments share their numbers with events; 21 of those come before the recorded comment 1591.
    let first_ids = FirstIds { repo: 6, label: 19, issue: 116, comment: 1591 - 21 };
    let forge = FakeForge::start(Options { first_ids, ..Options::default() }).await.expect("a free port");
    for login in ["dev-bot", "dev-qwen", "dev-qwen2", "root1"] {
        forge.add_user(login, &token(login));
    }
    forge.make_admin("root1");
    forge.add_repo("root1", "rec");
    forge.grant_write("dev-bot", "root1/rec");
    forge.grant_write("dev-qwen", "root1/rec");
    forge
}

fn token(login: &str) -> String {
    format!("token-of-{login}")
}

/// Sends a recorded request on a connection of its own; what came back, the headers in lower case.
async fn send(forge: &FakeForge, what: &Value, request: &Value) -> (u16, Vec<(String, String)>, String) {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: forge\r\nconnection: close\r\n",
        text(request, "method"),
        text(request, "path")
    );
    if let Some(who) = request["as"].as_str() {
        let token = if who.starts_with("000") { who.to_owned() } else { token(who) };
        head.extend(["authorization: token ", &token, "\r\n"]);
    }
    if what == "impersonation by header" {
        head += "sudo: dev-bot\r\n";
    }
    if let Some(kind) = request["content_type"].as_str() {
        head.extend(["content-type: ", kind, "\r\n"]);
    }
    let body = match &request["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let mut stream = TcpStream::connect(forge.addr()).await.expect("it listens");
    let message = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(message.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers and closes");
    parse(&answer)
}

fn parse(answer: &str) -> (u16, Vec<(String, String)>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    (status, headers.collect(), body.to_owned())
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or("")
}

fn compare(
    recorded: &Value,
    (status, headers, body): (u16, &[(String, String)], &str),
    place: &str,
    differences: &mut Vec<String>,
) {
    if recorded["status"] != status {
        differences.push(format!("{place}: status {status} for {}", recorded["status"]));
    }
    // Of the framing nothing is promised, and addresses differ.
    let wanted = recorded["headers"].as_object().expect("headers");
    for (name, value) in
        wanted.iter().filter(|(name, _)| !matches!(name.as_str(), "content-length" | "transfer-encoding"))
    {
        let found = headers.iter().find(|(other, _)| other == name).map(|(_, value)| without_origin(value));
        if found.as_deref() != value.as_str().map(without_origin).as_deref() {
            differences.push(format!("{place}: header {name} is {found:?} for {value}"));
        }
    }
    if !wanted.contains_key("content-type") && headers.iter().any(|(name, _)| name == "content-type") {
        differences.push(format!("{place}: a content type where there was none"));
    }
    let found = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    shape(&recorded["body"], &found, place, differences);
}

/// A text without the scheme, host and port of its links.
fn without_origin(text: &str) -> String {
    let mut parts = text.split("http://");
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |out, part| out + part.split_once('/').map_or("", |(_, path)| path))
}

/// The same members in the same order, the same types, and the same values where they are determined.
fn shape(recorded: &Value, found: &Value, place: &str, differences: &mut Vec<String>) {
    match (recorded, found) {
        (Value::Object(recorded), Value::Object(found)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            if names(recorded) != names(found) {
                differences.push(format!("{place}: members {:?} for {:?}", names(found), names(recorded)));
            }
            for (name, value) in recorded {
                let place = format!("{place}.{name}");
                let there = found.get(name).unwrap_or(&Value::Null);
                shape(value, there, &place, differences);
                let plain = !value.is_object() && !value.is_array();
                if plain && SAME_VALUES.contains(&name.as_str()) && value != there {
                    differences.push(format!("{place}: {there} for {value}"));
                }
            }
        }
        (Value::Array(recorded), Value::Array(found)) => {
            if recorded.len() != found.len() {
                differences.push(format!("{place}: {} entries for {}", found.len(), recorded.len()));
            }
            for (at, (recorded, found)) in recorded.iter().zip(found).enumerate() {
                shape(recorded, found, &format!("{place}[{at}]"), differences);
            }
        }
        (Value::String(recorded), Value::String(found)) if recorded.contains("http://") => {
            if without_origin(recorded) != without_origin(found) {
                differences.push(format!("{place}: {found:?} for {recorded:?}"));
            }
        }
        (recorded, found) => {
            if std::mem::discriminant(recorded) != std::mem::discriminant(found) {
                differences.push(format!("{place}: {found} for {recorded}"));
            }
        }
    }
}
