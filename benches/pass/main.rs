//! What a look at a request costs: `cargo bench --bench pass`. What a whole request costs, beside other proxies, is measured by
//! `benches/pass/run`.
//!
//! Each row is the best of several runs in nanoseconds, without anything else: good for telling two versions of one function
//! apart on one machine.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use claimgate::dialect::{self, Head, Target};
use claimgate::server::sniff;
use http::{HeaderMap, HeaderValue, Method, Uri, header};

const TURNS: u32 = 20_000;
const RUNS: u32 = 20;

fn main() -> ExitCode {
    // `cargo test --benches` asks for a list; there is nothing to list.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let head = b"GET /api/v1/repos/o/r/issues/7 HTTP/1.1\r\nHost: gate:8480\r\nUser-Agent: curl/8.5.0\r\nAccept: application/json\r\n\
        Authorization: token 0123456789abcdef0123456789abcdef01234567\r\n\r\n";
    row("head: what hyper would not say", || sniff(&[black_box(head)]).0);
    for (name, text) in [
        ("nobody's item", "/api/v1/version"),
        ("an item", "/api/v1/repos/o/r/issues/7"),
        ("two readings", "/api/v1/repos/o/r/issues%2F7"),
    ] {
        let uri: Uri = text.parse().expect("a URI");
        row(&format!("target: {name}"), || Target::of(black_box(&uri)).ambiguity().is_some());
        for method in [Method::GET, Method::PATCH] {
            looks(&format!("look: {method}, {name}"), &method, &uri);
        }
    }
    ExitCode::SUCCESS
}

/// The target, what the head says, and who sends it.
fn looks(name: &str, method: &Method, uri: &Uri) {
    let dialect = dialect::by_name("forgejo").expect("a dialect");
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("gate:8480"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("token 0123456789abcdef0123456789abcdef01234567"));
    row(name, || {
        let target = Target::of(black_box(uri));
        let head = Head { method, target: &target, headers: &headers };
        (dialect.classify(&head), dialect.credential(&head, b""))
    });
}

fn row<T>(name: &str, mut look: impl FnMut() -> T) {
    let run = |_| {
        let started = Instant::now();
        for _ in 0..TURNS {
            black_box(look());
        }
        started.elapsed()
    };
    let best = (0..RUNS).map(run).min().unwrap_or(Duration::ZERO);
    println!("{name:<40} {:>8} ns", (best / TURNS).as_nanos());
}
