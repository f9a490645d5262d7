//! Streams that do not go as a textbook has it: early answers, half-closed connections, long heads, plain HTTP where TLS is spoken;
//! and answers of the gate's own to pages from elsewhere.

use std::time::Duration;

use claimgate::fake_forge::{Fault, Feature, Options, Vices};
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::e2e::{self, REPO, Setup, backlog_issue, issue, token};
use crate::edge_support::{Gate, Plan, ask, echo, forge, raw_forge, read_head, soon, status};
use crate::edge_tls;

/// An upstream that answers as soon as it has seen the head, and closes over what it has not read: its system resets then.
async fn hasty(answer: &'static str) -> std::net::SocketAddr {
    raw_forge(move |_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    for (early, code) in [
        ("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\ncontent-length: 4\r\n\r\nname", 401),
        ("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\nlong", 413),
    ] {
        let gate = Gate::before(hasty(early).await);
        for (path, framing) in [
            ("POST /o/r.git/git-receive-pack", "transfer-encoding: chunked"),
            ("PUT /o/r.git/info/lfs/objects/x/9", "content-length: 40000000"),
        ] {
            let mut stream = TcpStream::connect(gate.address).await.unwrap();
            let head = format!("{path} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let chunk = match framing {
                "transfer-encoding: chunked" => [&b"10000\r\n"[..], &vec![b'x'; 1 << 16], b"\r\n"].concat(),
                _ => vec![b'x'; 1 << 16],
            };
            let (mut reading, mut writing) = stream.into_split();
            let sending = tokio::spawn(async move {
                for _ in 0..600 {
                    if writing.write_all(&chunk).await.is_err() {
                        return false;
                    }
                }
                true
            });
            let mut answer = Vec::new();
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = soon(reading.read(&mut part)).await {
                answer.extend_from_slice(&part[..length]);
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 ") && status(&answer) == code, "{path}: {answer:?}");
            assert!(answer.contains("name") || answer.contains("long"), "{path}: {answer}");
            assert!(soon(sending).await.unwrap(), "{path}: all was taken in");
        }
    }
}

/// The reset comes while the client has nothing to send just then, so that no write of the gate meets it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_in_a_reset_is_whole_where_the_upload_was_not_taken() {
    let gate = Gate::before(hasty("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\nlong").await);
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    stream
        .write_all(b"PUT /o/r.git/info/lfs/objects/x/9 HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&[b'x'; 500]).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(status(&answer) == 413 && answer.ends_with("4\r\nlong\r\n0\r\n\r\n"), "{answer:?}");
    stream.write_all(&[b'x'; 500]).await.unwrap();
}

/// `nc -N` and the like: the request, and then no more from this side.
async fn half_closed(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_side_gets_its_answer() {
    let upstream = forge(|request| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        echo(request).await
    })
    .await;
    let gate = Gate::before(upstream);
    for rest in [
        "GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
        "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "GET /x HTTP/1.0\r\n\r\n",
    ] {
        let answer = half_closed(gate.address, rest).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.contains(" /x\n"), "{rest:?}: {answer:?}");
        let two = format!("GET /first HTTP/1.1\r\nhost: a\r\n\r\n{rest}");
        let answer = half_closed(gate.address, &two).await;
        assert_eq!(answer.matches(" 200 OK\r\n").count(), 2, "{rest:?}: {answer:?}");
    }
    // What was not whole is not answered as if it were.
    for cut in ["GET /x HTTP/1.1\r\nhost: a\r\n", "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhi"] {
        assert!(!half_closed(gate.address, cut).await.contains("200 OK"), "{cut:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_answered_though_its_client_has_closed_its_side() {
    let forge = e2e::forge(&["ann"]).await;
    let gate = e2e::gate(&forge).await;
    let number = backlog_issue(&forge).number;
    let body = r#"{"assignees":["ann"]}"#;
    let request = format!(
        "PATCH {} HTTP/1.1\r\nhost: a\r\nauthorization: token {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        issue(number),
        token("ann"),
        body.len()
    );
    let answer = half_closed(gate.address, &request).await;
    assert_eq!(status(&answer), 201, "{answer}");
    assert_eq!(forge.issue(REPO, number).assignees, ["ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_heads_of_answers_pass() {
    let upstream = raw_forge(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        let fields = match head.split(' ').nth(1) {
            Some("/long") => format!("x-long: {}\r\n", "x".repeat(200_000)),
            Some("/many") => "x-a: 1\r\n".repeat(400),
            _ => "x-a: 1\r\n".repeat(600),
        };
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let gate = Gate::before(upstream);
    for (path, code) in [("/long", 200), ("/many", 200), ("/more", 502)] {
        let answer = ask(gate.address, &format!("GET {path}"), &[]).await;
        assert_eq!(status(&answer), code, "{path}");
    }
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.upstream.pool.max_headers = 700;
    assert_eq!(status(&ask(plan.start().address, "GET /more", &[]).await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_the_tls_port_is_answered_in_words() {
    let dir = tempfile::tempdir().unwrap();
    edge_tls::write(&edge_tls::certificate("gate.test"), &edge_tls::files(dir.path()));
    let mut plan = Plan::to(&format!("http://{}", forge(echo).await));
    plan.server.listeners[0].tls = Some(edge_tls::files(dir.path()));
    let gate = plan.start();
    for request in
        ["GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), format!("POST / HTTP/1.1\r\nx: {}", "x".repeat(9000))]
    {
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = async {
            let mut buffer = [0; 512];
            let length = stream.read(&mut buffer).await.unwrap();
            answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        };
        soon(read).await;
        assert_eq!(status(&answer), 400, "{answer}");
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(text.contains("https://") && head.contains(&format!("content-length: {}", text.len())), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_see_what_the_gate_answers() {
    let options = Options::forgejo_17().with(Feature::Cors);
    let forge = e2e::forge_with(options, &["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let number = backlog_issue(&forge).number;
    let page = [("origin", "https://board.example"), ("content-type", "application/json")];
    let claim = |login: &str| json!({"assignees": [login]}).to_string();
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let path = issue(number);
    let next = json!({"repository": REPO}).to_string();
    for (what, answer, code) in [
        ("a claim", ann.send(Method::PATCH, &path, &page, claim("ann").into()).await, 201),
        ("a no-op", ann.send(Method::PATCH, &path, &page, claim("ann").into()).await, 201),
        ("a refusal", bob.send(Method::PATCH, &path, &page, claim("bob").into()).await, 409),
        ("at parse", bob.send(Method::PATCH, &path, &page, "{\"assignees\":7}".into()).await, 400),
        ("an unknown call", bob.send(Method::PUT, &format!("{path}/x"), &page, "{}".into()).await, 400),
        ("the claims API", bob.send(Method::POST, "/_claimgate/v1/claims/next", &page, next.into()).await, 204),
        ("a lost path", bob.send(Method::GET, "/_claimgate/v1/x", &page, "".into()).await, 404),
        ("its document", bob.send(Method::GET, "/_claimgate/v1/openapi.json", &page, "".into()).await, 200),
        ("a read", bob.send(Method::GET, &path, &page, "".into()).await, 200),
        ("no credential", gate.anonymous().send(Method::PATCH, &path, &page, claim("bob").into()).await, 401),
    ] {
        assert_eq!(answer.status, code, "{what}: {answer:?}");
        let allowed: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(allowed, ["*"], "{what}: {answer:?}");
    }
    let sent: Vec<_> = forge.requests().into_iter().filter(|entry| entry.method == Method::PATCH).collect();
    assert!(!sent.is_empty() && sent.iter().all(|entry| entry.header("origin") == Some("https://board.example")));
    // The gate's own reads are for that page too; only whose a credential is, is everybody's.
    let reads = forge
        .requests()
        .into_iter()
        .filter(|entry| entry.method == Method::GET && entry.header("authorization").is_some());
    let reads: Vec<_> = reads.map(|entry| (entry.header("origin").is_some(), entry.target)).collect();
    assert!(reads.iter().all(|(is_for_page, target)| *is_for_page != target.ends_with("/user")), "{reads:?}");
    assert!(
        reads.iter().any(|(_, target)| *target == path) && reads.iter().any(|(_, target)| target.ends_with("/user"))
    );
    // Preflights: the tracker's own for its routes, and its word for the gate's.
    for path in [path.as_str(), "/_claimgate/v1/claims/next", "/_claimgate/v1/singletons"] {
        let asks = [
            ("origin", "https://board.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization, content-type"),
        ];
        let answer = gate.anonymous().send(Method::OPTIONS, path, &asks, "".into()).await;
        assert!(answer.status < 300, "{path}: {answer:?}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*", "{path}");
        assert_eq!(answer.headers["access-control-allow-methods"], "POST", "{path}");
        assert!(answer.headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"), "{path}");
    }
    let named = [
        ("origin", "https://board.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, claimgate-agent"),
    ];
    let answer = gate.anonymous().send(Method::OPTIONS, "/_claimgate/v1/claims", &named, "".into()).await;
    assert!(
        answer.headers.get_all("access-control-allow-headers").iter().any(|it| it == "claimgate-agent"),
        "{answer:?}"
    );
    // Where nobody asks from elsewhere, nobody is told, and the tracker is not asked.
    let before = forge.requests().len();
    let answer = bob.send(Method::PUT, &format!("{path}/x"), &page[1..], "{}".into()).await;
    assert!(answer.status == 400 && !answer.headers.contains_key("access-control-allow-origin"));
    assert_eq!(forge.requests().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_see_the_errors_of_the_edge() {
    let forge = e2e::forge_with(Options::forgejo_17().with(Feature::Cors), &["ann"]).await;
    let config = "[server]\nmax_guarded_body = \"8KiB\"\nmax_requests_per_client = 1\n";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let path = issue(backlog_issue(&forge).number);
    let (unguarded, long) = ("/api/v1/repos/acme/app", vec![b' '; 9 << 10]);
    let page = ("origin", "https://board.example");
    let json = ("content-type", "application/json");
    let mut ann = gate.agent("ann");
    let mut answers = vec![
        // The tracker is asked for its word.
        (417, ann.send(Method::GET, unguarded, &[page, ("expect", "a miracle")], "".into()).await),
        (413, ann.send(Method::PATCH, &path, &[page, json], long.into()).await),
        (200, ann.send(Method::GET, unguarded, &[page], "".into()).await),
    ];
    forge.set_vices(Vices {
        read_fault: Some(Fault::CutBefore),
        write_fault: Some(Fault::CutBefore),
        ..Vices::default()
    });
    answers.push((502, ann.send(Method::GET, unguarded, &[page], "".into()).await));
    // It touches nothing guarded, and is passed on.
    answers.push((502, ann.send(Method::PATCH, &path, &[page, json], "{\"title\":\"x\"}".into()).await));
    answers.push((502, ann.send(Method::PATCH, &path, &[page, json], "{\"assignees\":[\"ann\"]}".into()).await));
    forge.set_vices(Vices::default());
    let mut events = TcpStream::connect(gate.address).await.unwrap();
    events
        .write_all(b"GET /user/events HTTP/1.1\r\nhost: a\r\nauthorization: token token-of-ann\r\n\r\n")
        .await
        .unwrap();
    read_head(&mut events).await;
    answers.push((503, ann.send(Method::GET, unguarded, &[page], "".into()).await));
    for (code, answer) in answers {
        assert_eq!(answer.status, code, "{answer:?}");
        let allowed: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(allowed, ["*"], "{code}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cors_at_the_tracker_there_is_none() {
    let forge = e2e::forge_with(Options::forgejo_17(), &["ann"]).await;
    let gate = e2e::gate(&forge).await;
    let page = [("origin", "https://board.example"), ("content-type", "application/json")];
    let answer = gate.agent("ann").send(Method::PATCH, &issue(1), &page, "{\"assignees\":7}".into()).await;
    assert!(answer.status == 400 && !answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_is_away_is_told_of_in_words() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = Setup::before(&format!("http://{closed}")).start().await;
    let mut ann = gate.agent("ann");
    for (method, path, body) in [
        (Method::GET, "/_claimgate/v1/singletons", None),
        (Method::DELETE, "/_claimgate/v1/singletons/m/acme/app", None),
        (Method::PATCH, "/api/v1/repos/acme/app/issues/1", Some(json!({"assignees": ["ann"]}))),
        (Method::POST, "/_claimgate/v1/claims", Some(json!({"item": "acme/app#1"}))),
        (Method::GET, "/api/v1/version", None),
    ] {
        let answer = ann.call(method, path, body).await;
        assert!(answer.status == 502 && !answer.text().contains("os error"), "{path}: {answer:?}");
    }
}
