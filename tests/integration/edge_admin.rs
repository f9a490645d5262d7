//! The operator's listener.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use claimgate::server::Drain;
use claimgate::server::admin::{Admin, AdminBody, AdminConfig, AdminRequest, AdminRoutes, whole};
use futures_util::future::BoxFuture;
use http::Response;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::edge_support::{status, talk};

struct Claims;

impl AdminRoutes for Claims {
    fn handle<'a>(&'a self, request: AdminRequest<'a>) -> BoxFuture<'a, Option<Response<AdminBody>>> {
        Box::pin(async move {
            let AdminRequest { method, path, query, body, .. } = request;
            let text = format!("{method} {query:?} {}", body.len());
            (path == "/claims").then(|| Response::new(whole(text)))
        })
    }
}

fn start(token: Option<&str>) -> (SocketAddr, Drain) {
    let mut registry = Registry::default();
    let counter: Counter = Counter::default();
    counter.inc_by(7);
    registry.register("passes", "How many", counter);
    let config = AdminConfig {
        bind: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        socket: None,
        health: claimgate::effect::Health::default(),
        hosts: vec!["gate.example".to_owned()],
        token: token.map(|it| it.to_owned().into()),
    };
    let drain = Drain::new();
    let admin = Admin::bind(config, Arc::new(Mutex::new(registry)), drain.clone(), Arc::new(Claims)).unwrap();
    let address = admin.address().unwrap();
    tokio::spawn(admin.run(std::future::pending()));
    (address, drain)
}

async fn ask(at: SocketAddr, line: &str, headers: &str) -> String {
    talk(at, &format!("{line} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n")).await
}

#[tokio::test]
async fn health_metrics_and_routes() {
    let (at, drain) = start(None);
    let host = "host: localhost:8481\r\n";
    assert_eq!(status(&ask(at, "GET /healthz", host).await), 200);
    assert_eq!(status(&ask(at, "GET /readyz", host).await), 200);
    assert!(ask(at, "GET /metrics", host).await.contains("passes_total 7\n"));
    assert!(ask(at, "GET /claims?a=1", host).await.ends_with("GET Some(\"a=1\") 0"));
    assert_eq!(status(&ask(at, "GET /other", host).await), 404);
    assert_eq!(status(&ask(at, "PUT /claims", host).await), 405);
    drain.start();
    assert_eq!(status(&ask(at, "GET /healthz", host).await), 200);
    assert_eq!(status(&ask(at, "GET /readyz", host).await), 503);
}

#[tokio::test]
async fn pages_of_other_places_get_nothing() {
    let (at, _drain) = start(None);
    for (host, expected) in [("evil.example", 421), ("127.0.0.1:1", 200), ("[::1]", 200), ("gate.example:8481", 200)] {
        assert_eq!(status(&ask(at, "GET /claims", &format!("host: {host}\r\n")).await), expected, "{host}");
    }
    assert_eq!(status(&ask(at, "GET /claims", "").await), 400);
}

/// Browsers say from where also where they send no `Origin`.
#[tokio::test]
async fn a_write_of_a_page_from_elsewhere_is_refused() {
    let (at, _drain) = start(Some("s3cret"));
    let post =
        |more: &str| format!("host: localhost:1\r\nauthorization: Bearer s3cret\r\ncontent-length: 0\r\n{more}\r\n");
    for (more, expected) in [
        ("sec-fetch-site: cross-site", 403),
        ("sec-fetch-site: same-site", 403),
        ("sec-fetch-site: none", 200),
        ("sec-fetch-site: same-origin", 200),
        ("origin: http://localhost:1", 200),
        ("origin: http://evil.example", 403),
        ("origin: null", 403),
        ("origin: chrome-extension://localhost:1", 403),
    ] {
        assert_eq!(status(&ask(at, "POST /claims", &post(more)).await), expected, "{more}");
    }
}

#[tokio::test]
async fn idle_connections_do_not_silence_the_health() {
    let (at, _drain) = start(None);
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(tokio::net::TcpStream::connect(at).await.unwrap());
    }
    let asked = tokio::time::timeout(std::time::Duration::from_secs(1), ask(at, "GET /healthz", "host: localhost\r\n"));
    assert_eq!(status(&asked.await.expect("an answer")), 200);
}

#[tokio::test]
async fn the_token_opens_all_but_health() {
    let (at, _drain) = start(Some("s3cret"));
    let with = |line: &str| format!("host: localhost\r\n{line}");
    assert_eq!(status(&ask(at, "GET /healthz", &with("")).await), 200);
    assert_eq!(status(&ask(at, "GET /metrics", &with("")).await), 401);
    assert_eq!(status(&ask(at, "GET /metrics", &with("authorization: Bearer wrong\r\n")).await), 401);
    assert_eq!(status(&ask(at, "GET /metrics", &with("authorization: Bearer s3cret\r\n")).await), 200);
    // A browser gives it as a password, and looks with it.
    let basic = |secret: &str| {
        use base64::Engine as _;
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("anybody:{secret}"));
        format!("authorization: Basic {pair}\r\n")
    };
    let told = ask(at, "GET /claims", &with("")).await;
    assert!(status(&told) == 401 && told.contains("www-authenticate: Basic "), "{told}");
    assert_eq!(status(&ask(at, "GET /claims", &with(&basic("s3cret"))).await), 200);
    assert_eq!(status(&ask(at, "GET /claims", &with(&basic("wrong"))).await), 401);
    let forged = with(&format!("content-length: 0\r\n{}", basic("s3cret")));
    assert_eq!(
        status(&ask(at, "POST /claims", &forged).await),
        401,
        "nothing changes by what a browser sends by itself"
    );
    // Without a token the port changes nothing.
    let post = |more: &str| with(&format!("content-length: 0\r\n{more}"));
    assert_eq!(status(&ask(at, "POST /claims", &post("")).await), 401);
    assert_eq!(status(&ask(at, "POST /claims", &post("authorization: Bearer s3cret\r\n")).await), 200);
    let (at, _drain) = start(None);
    for line in ["POST /claims", "DELETE /claims", "POST /other"] {
        let told = ask(at, line, &post("")).await;
        assert_eq!(status(&told), 403, "{told}");
        assert!(told.contains("server.admin_token_file"), "{told}");
    }
}
