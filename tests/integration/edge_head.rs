//! What crosses the gate of a head, which heads it refuses, and how its own errors look.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claimgate::proxy::full;
use http::Response;
use tokio::io::AsyncWriteExt;

use crate::edge_support::{Gate, Plan, ask, echo, forge, raw_forge, read_head, soon, status, talk};

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_crosses() {
    let gate = Gate::before(forge(echo).await);
    let answer = ask(
        gate.address,
        "GET /as/bot-7/api/v1/x?a=%2F&b",
        &[
            "Connection: x-mine, X-Forwarded-For",
            "X-Mine: 1",
            "X-WEBAUTH-USER: root",
            "X-Forwarded-User: root",
            "X_Mine: 1",
            "X-Forwarded-For: 6.6.6.6",
            "Forwarded: for=6.6.6.6",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
            "TE: trailers",
            "Authorization: token abc",
            "Accept: */*",
        ],
    )
    .await;
    assert_eq!(status(&answer), 200);
    let (head, seen) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("via: 1.1 claimgate"), "{head}");
    assert!(seen.starts_with("GET /api/v1/x?a=%2F&b\n"), "{seen}");
    for there in ["host: gate.test", "authorization: token abc", "accept: */*", "via: 1.1 claimgate"] {
        assert!(seen.contains(there), "{there} in {seen}");
    }
    for there in [
        "x-forwarded-for: 127.0.0.1\n",
        "x-real-ip: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: gate.test\n",
    ] {
        assert!(seen.contains(there), "{there} in {seen}");
    }
    for gone in
        ["x-mine", "x_mine", "x-forwarded-user", "webauth", "6.6.6.6", "upgrade", "http2-settings", "te:", "connection"]
    {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_with_two_readings_are_refused() {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let upstream = forge(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        echo(request)
    });
    let gate = Gate::before(upstream.await);
    let long = "x".repeat(70_000);
    let many = "x-a: 1\r\n".repeat(120);
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: a@b/c?d\r\n\r\n".to_owned(), 400),
        ("GET http://evil/ HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("GET * HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n".to_owned(), 405),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nhost: a\r\nexpect: luck\r\ncontent-length: 0\r\n\r\n".to_owned(), 417),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 431),
    ];
    for (request, expected) in cases {
        let request = request.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
        let answer = talk(gate.address, &request).await;
        let shown: String = request.chars().take(80).collect();
        assert!(
            [expected, if expected == 431 { 414 } else { expected }].contains(&status(&answer)),
            "{shown}: {answer}"
        );
        assert!(answer.contains("\"message\":") && answer.contains("\"url\":"), "{shown}: {answer}");
        assert!(answer.contains("application/json"), "{answer}");
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_in_answers_lead_back_to_the_gate() {
    let upstream = raw_forge(|_, mut stream| async move {
        let own = stream.local_addr().unwrap();
        let head = read_head(&mut stream).await;
        let to = if head.starts_with("GET /rel") { "/login".to_owned() } else { format!("http://{own}/login?x") };
        let answer = format!(
            "HTTP/1.1 303 See Other\r\nlocation: {to}\r\nlink: <https://forge.example/r?page=2>; rel=\"next\", <https://other/>; rel=\"x\"\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.pass.public_url = Some("https://forge.example".parse().unwrap());
    let gate = plan.start();
    let answer = ask(gate.address, "GET /abs", &[]).await;
    assert!(answer.contains("location: http://gate.test/login?x\r\n"), "{answer}");
    assert!(answer.contains("<http://gate.test/r?page=2>; rel=\"next\", <https://other/>"), "{answer}");
    let answer = ask(gate.address, "GET /as/bot/abs", &[]).await;
    assert!(answer.contains("location: http://gate.test/as/bot/login?x\r\n"), "{answer}");
    assert!(ask(gate.address, "GET /rel", &[]).await.contains("location: /login\r\n"));
    assert!(ask(gate.address, "GET /as/bot/rel", &[]).await.contains("location: /as/bot/login\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_path_is_added() {
    let upstream = forge(echo).await;
    let gate = Plan::to(&format!("http://{upstream}/forge")).start();
    assert!(ask(gate.address, "GET /api/v1?x=1", &[]).await.contains("\r\n\r\nGET /forge/api/v1?x=1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_upstream() {
    let cases: [(&str, u16); 5] = [
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", 502),
        ("nonsense\r\n\r\n", 502),
        ("", 502),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 502),
        ("hang", 504),
    ];
    for (bytes, expected) in cases {
        let upstream = raw_forge(move |_, mut stream| async move {
            read_head(&mut stream).await;
            if bytes == "hang" {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            stream.write_all(bytes.as_bytes()).await.unwrap();
        })
        .await;
        let mut plan = Plan::to(&format!("http://{upstream}"));
        plan.pass.head_timeout = Duration::from_millis(300);
        let answer = ask(plan.start().address, "GET /x", &[]).await;
        assert_eq!(status(&answer), expected, "{bytes}: {answer}");
        assert!(answer.contains("\"message\":") && answer.contains("via: 1.1 claimgate"), "{answer}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(status(&ask(Gate::before(closed).address, "GET /x", &[]).await), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_and_contradictory_framing_of_an_answer_end_here() {
    let upstream = raw_forge(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-end: 1\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let answer = ask(Gate::before(upstream).address, "GET /x", &[]).await;
    assert!(answer.contains("x-end: 1") && answer.ends_with("2\r\nok\r\n0\r\n\r\n"), "{answer}");
    for gone in ["x-hop", "keep-alive", "trailer", "x-t"] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_connection_costs_a_safe_request_nothing_and_is_not_used_for_others() {
    // Each connection answers once, then waits for a second request and closes without a word.
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let upstream = raw_forge(move |number, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let head = read_head(&mut stream).await;
            seen.lock().unwrap().push((number, head));
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            let head = read_head(&mut stream).await;
            seen.lock().unwrap().push((number, head));
        }
    })
    .await;
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.upstream.pool.fresh_for = Duration::ZERO;
    let gate = plan.start();
    assert_eq!(status(&ask(gate.address, "GET /1", &[]).await), 200);
    assert_eq!(status(&ask(gate.address, "GET /2", &[]).await), 200);
    assert_eq!(status(&ask(gate.address, "POST /3", &["content-length: 0"]).await), 200);
    let lines: Vec<_> =
        heads.lock().unwrap().iter().map(|(n, head)| (*n, head.chars().take(7).collect::<String>())).collect();
    assert_eq!(lines[..3], [(0, "GET /1 ".into()), (0, "GET /2 ".into()), (1, "GET /2 ".into())]);
    assert_eq!(lines[3], (2, "POST /3".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_range_are_the_forges_own() {
    let upstream = forge(|request| async move {
        assert!(request.method() == "HEAD" || request.headers()["range"] == "bytes=1-2");
        if request.method() == "HEAD" {
            return Response::builder().header("content-length", "12345").body(full("")).unwrap();
        }
        Response::builder().status(206).header("content-range", "bytes 1-2/9").body(full("bc")).unwrap()
    })
    .await;
    let gate = Gate::before(upstream);
    let answer = soon(ask(gate.address, "HEAD /x", &[])).await;
    assert!(answer.contains("content-length: 12345\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = soon(ask(gate.address, "GET /x", &["Range: bytes=1-2"])).await;
    assert_eq!(status(&answer), 206);
    assert!(answer.contains("content-range: bytes 1-2/9") && answer.ends_with("bc"), "{answer}");
}
