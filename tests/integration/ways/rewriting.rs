//! Answers that lead back to the gate, where `server.rewrite_urls` says so.

use bytes::Bytes;
use claimgate::fake_forge::FakeForge;
use http::{Method, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{BOT, counted};
use crate::e2e::{self, Gate, REPO, Setup, backlog_issue, issue};
use crate::edge_support;

const ON: &str = "[server]\nrewrite_urls = \"on\"\n[identity]\nshared_accounts = [\"bot\"]\n";

async fn gate(upstream: &str) -> Gate {
    Setup::before(upstream).config(ON).start().await
}

/// A client that takes each URL from the answer before, as object libraries do.
#[tokio::test]
async fn who_follows_urls_of_answers_never_leaves_the_gate_nor_its_own_name() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let gate = gate(&forge.base_url()).await;
    let base = format!("http://{}/as/worker-7", gate.address);
    let mut agent = gate.agent(BOT).below("/as/worker-7");
    let list = agent.get(&format!("/api/v1/repos/{REPO}/issues")).await.json();
    let url = list[0]["url"].as_str().expect("a URL").to_owned();
    assert_eq!(url, format!("{base}{}", issue(number)));
    let mut plain = gate.agent(BOT);
    let path = url.strip_prefix(&format!("http://{}", gate.address)).expect("the gate's");
    let answer = plain.call(Method::PATCH, path, Some(json!({ "assignees": [BOT] }))).await;
    answer.granted();
    assert_eq!(gate.claim(number).await["agent"]["instance"], "worker-7");
    // The answer to a guarded write leads back as well.
    assert_eq!(answer.json()["url"], url.as_str());
    assert_eq!(answer.headers["content-length"], answer.body.len().to_string().as_str());
    e2e::stop_and_verify(gate, 1).await;
}

/// Byte for byte: what the tracker says, but for the front of its URLs in members that hold them.
#[tokio::test]
async fn nothing_but_the_front_of_urls_changes() {
    let forge = e2e::forge(&[BOT]).await;
    let own = forge.base_url();
    let text = format!("see {own}/acme/app and \"url\":\"{own}/x\" \\ é");
    let number = forge.add_issue(REPO, &text, &["backlog"], &[]).number;
    let gate = gate(&own).await;
    for path in [issue(number), format!("/api/v1/repos/{REPO}"), format!("/api/v1/repos/{REPO}/issues")] {
        let direct = direct(&forge, &path).await;
        let through = gate.agent(BOT).below("/as/w").get(&path).await;
        let (from, to) = (format!("url\":\"{own}/"), format!("url\":\"http://{}/as/w/", gate.address));
        let expected = String::from_utf8(direct.to_vec()).expect("UTF-8").replace(&from, &to);
        assert_eq!(through.text(), expected, "{path}");
        assert_ne!(through.body, direct, "{path} has URLs");
    }
    let read = gate.agent(BOT).get(&issue(number)).await.json();
    assert_eq!(read["title"], text.as_str(), "texts stay");
    assert_eq!(counted(&gate, "unrewritten").await, 0);
}

/// What the tracker says by itself.
async fn direct(forge: &FakeForge, path: &str) -> Bytes {
    e2e::Client::new(forge.addr(), BOT).get(path).await.body
}

#[tokio::test]
async fn for_a_forge_with_a_root_url_all_passes_as_it_is_by_default() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let through = gate.agent(BOT).below("/as/w").get(&issue(number)).await;
    assert_eq!(through.body, direct(&forge, &issue(number)).await);
}

#[tokio::test]
async fn what_cannot_be_rewritten_goes_on_as_it_came_and_is_counted() {
    let body = |path: &str, own: &str| match path {
        "/broken" => format!("{{]{{\"url\":\"{own}/x\"}}"),
        "/text" => format!("{{\"url\":\"{own}/x\"}}"),
        _ => "compressed, says its head".to_owned(),
    };
    let upstream = edge_support::forge(move |request| async move {
        let own = format!("http://{}", request.headers()["x-own"].to_str().expect("text"));
        let path = request.uri().path().to_owned();
        let asked = request.headers().get("accept-encoding").map(|it| it.to_str().expect("text").to_owned());
        assert_eq!(asked.as_deref(), Some("identity"), "the tracker is asked for plain answers");
        let kind = if path == "/text" { "text/plain" } else { "application/json" };
        let answer = Response::builder().header("content-type", kind);
        let answer = if path == "/gzip" { answer.header("content-encoding", "gzip") } else { answer };
        let answer = if path == "/part" { answer.status(206) } else { answer };
        answer.body(claimgate::proxy::full(body(&path, &own))).expect("an answer")
    })
    .await;
    let gate = gate(&format!("http://{upstream}")).await;
    let mut counts = 0;
    for path in ["/gzip", "/part", "/broken", "/text"] {
        let own = upstream.to_string();
        let answer = gate.anonymous().with("x-own", &own).with("accept-encoding", "gzip, br").get(path).await;
        assert_eq!(answer.text(), body(path, &format!("http://{upstream}")), "{path}");
        counts += u64::from(path != "/text");
        assert_eq!(counted(&gate, "unrewritten").await, counts, "{path}");
    }
}

/// A long answer is on its way while the tracker still writes it, and no memory is held for it.
#[tokio::test]
async fn a_long_answer_streams() {
    let (sender, body) = edge_support::channel();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let upstream = edge_support::forge(move |_| {
        let body = body.lock().expect("no panic").take().expect("one request");
        async move { Response::builder().header("content-type", "application/json").body(body).expect("an answer") }
    })
    .await;
    let gate = gate(&format!("http://{upstream}")).await;
    let mut stream = TcpStream::connect(gate.address).await.expect("it listens");
    let head = format!("GET /as/w/x HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", gate.address);
    stream.write_all(head.as_bytes()).await.expect("written");
    let part = format!("{{\"url\":\"http://{upstream}/x\",");
    sender.send(Bytes::from(format!("[{part}"))).await.expect("taken");
    let mut got = String::new();
    let wanted = format!("[{{\"url\":\"http://{}/as/w/x\",", gate.address);
    while !got.contains(&wanted) {
        let mut bytes = [0; 1024];
        let length = edge_support::soon(stream.read(&mut bytes)).await.expect("more comes");
        assert!(length > 0, "{got}");
        got.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    sender.send(Bytes::from_static(b"\"a\":1}]")).await.expect("taken");
    drop(sender);
    let mut rest = String::new();
    edge_support::soon(stream.read_to_string(&mut rest)).await.expect("to the end");
    assert!(rest.contains("\"a\":1}]"), "{rest}");
}

/// The tracker gets its own name where it serves by name.
#[tokio::test]
async fn the_host_is_the_clients_or_the_trackers() {
    for (more, host) in [("", "git.example"), ("[upstream]\nhost_header = \"upstream\"\n", "")] {
        let upstream = edge_support::forge(edge_support::echo).await;
        let gate = Setup::before(&format!("http://{upstream}")).config(more).start().await;
        let said = gate.anonymous().asking_for("git.example").get("/x").await.text();
        let host = if host.is_empty() { upstream.to_string() } else { host.to_owned() };
        assert!(said.contains(&format!("\nhost: {host}\n")), "{said}");
    }
}

/// The alternative services of the tracker (RFC 7838) are no way to the gate.
#[tokio::test]
async fn other_addresses_of_the_tracker_are_kept_from_clients() {
    let upstream = edge_support::forge(|_| async {
        let answer = Response::builder().header("alt-svc", "h3=\":443\"").header("x-kept", "1");
        answer.body(claimgate::proxy::empty()).expect("an answer")
    })
    .await;
    let gate = Setup::before(&format!("http://{upstream}")).start().await;
    let answer = gate.anonymous().get("/x").await;
    assert!(answer.headers.contains_key("x-kept") && !answer.headers.contains_key("alt-svc"), "{answer:?}");
}
