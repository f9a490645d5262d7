//! Bodies stream both ways: nothing is held, nothing is late, and a slow side slows the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use claimgate::proxy::{Body, empty, full};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge_support::{Gate, Plan, channel, client, forge, get, raw_forge, read_head, soon, status};

const MIB: u64 = 1 << 20;

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Sends the same bytes again and again.
fn endless(total: u64) -> Body {
    let (sender, body) = channel();
    let piece = Bytes::from(vec![7; 64 << 10]);
    tokio::spawn(async move {
        for _ in 0..total / piece.len() as u64 {
            if sender.send(piece.clone()).await.is_err() {
                return;
            }
        }
    });
    body
}

async fn count(mut body: Incoming) -> u64 {
    let mut sum = 0;
    while let Some(frame) = body.frame().await {
        sum += frame.unwrap().data_ref().map_or(0, |it| it.len() as u64);
    }
    sum
}

async fn big_forge(request: Request<Incoming>) -> Response<Body> {
    match request.method().as_str() {
        "PUT" => Response::new(full(count(request.into_body()).await.to_string())),
        _ => Response::new(endless(request.uri().path()[1..].parse().unwrap())),
    }
}

#[test]
fn a_gigabyte_down_and_64_megabytes_up_are_not_held() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "edge_stream::memory_while_streaming", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, alone in its process"]
async fn memory_while_streaming() {
    let gate = Gate::before(forge(big_forge).await);
    assert_eq!(count(get(gate.address, &format!("/{}", 8 * MIB)).await.into_body()).await, 8 * MIB);
    let before = rss();
    let peak = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&peak);
    let watch = tokio::spawn(async move {
        loop {
            watched.fetch_max(rss(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(count(get(gate.address, &format!("/{}", 1024 * MIB)).await.into_body()).await, 1024 * MIB);
    let request = Request::put("/up").header("host", "gate.test").body(endless(64 * MIB)).unwrap();
    let answer = client(gate.address).await.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), (64 * MIB).to_string());
    watch.abort();
    // Upstream and client are in the same process, so this is an upper bound.
    let grown = peak.load(Ordering::Relaxed).saturating_sub(before);
    println!("grew by {} KiB", grown >> 10);
    assert!(grown < 16 * MIB, "grew by {} KiB", grown >> 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_stops_the_upstream() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let upstream = raw_forge(move |_, mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let piece = vec![7; 64 << 10];
            while stream.write_all(&piece).await.is_ok() {
                counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    let gate = Gate::before(upstream);
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: gate.test\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    let mut last = u64::MAX;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = sent.load(Ordering::Relaxed);
        if now == last {
            break;
        }
        last = now;
    }
    assert_eq!(sent.load(Ordering::Relaxed), last, "the upstream still writes");
    assert!(last < 64 * MIB, "{last}");
    // Once the reader goes on, so does the writer.
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..64 {
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
    }
    soon(async {
        while sent.load(Ordering::Relaxed) == last {
            let _ = stream.read(&mut buffer).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_not_take_is_held_in_kilobytes() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let upstream = raw_forge(move |_, mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            set_socket_send_buffer_size(&stream, 4 << 10).unwrap();
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[7; 4 << 10]).await.is_ok() {
                counter.fetch_add(4 << 10, Ordering::Relaxed);
            }
        }
    })
    .await;
    let gate = Gate::before(upstream);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(gate.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: gate.test\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    let mut last = u64::MAX;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = sent.load(Ordering::Relaxed);
        if now == last {
            break;
        }
        last = now;
    }
    println!("{} KiB", last >> 10);
    assert!(last < 2 * MIB, "{} KiB between upstream and client", last >> 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upstream_stops_the_client() {
    let upstream = raw_forge(|_, mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let gate = Gate::before(upstream);
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    stream.write_all(b"PUT / HTTP/1.1\r\nhost: gate.test\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
    let piece = vec![7; 64 << 10];
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(500), stream.write_all(&piece)).await.is_ok() {
        sent += piece.len() as u64;
    }
    assert!(sent < 64 * MIB, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_one_by_one() {
    let (go, wait) = tokio::sync::mpsc::channel::<()>(1);
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let upstream = forge(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            let (sender, body) = channel();
            tokio::spawn(async move {
                for n in 0..3 {
                    wait.lock().await.recv().await;
                    sender.send(Bytes::from(format!("data: {n}\n\n"))).await.unwrap();
                }
            });
            Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
        }
    })
    .await;
    let gate = Gate::before(upstream);
    let mut answer = get(gate.address, "/user/events").await;
    for n in 0..3 {
        go.send(()).await.unwrap();
        let frame = soon(answer.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {n}\n\n"));
    }
    assert!(soon(answer.frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_is_said_when_the_body_is_wanted() {
    let upstream = forge(|request| async move {
        assert!(!request.headers().contains_key("expect"));
        Response::new(full(request.into_body().collect().await.unwrap().to_bytes()))
    })
    .await;
    let gate = Gate::before(upstream);
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: gate.test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert_eq!(status(&soon(read_head(&mut stream)).await), 100);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(status(&soon(read_head(&mut stream)).await), 200);
    let mut body = [0; 5];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_reused() {
    let opened = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&opened);
    let upstream = raw_forge(move |_, stream| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            crate::edge_support::serve_http(stream, |request: Request<Incoming>| async move {
                let length = count(request.into_body()).await;
                Response::new(if length == 0 { empty() } else { full(length.to_string()) })
            });
        }
    })
    .await;
    let gate = Gate::before(upstream);
    let mut client = client(gate.address).await;
    for n in 0..20 {
        let body = Full::new(Bytes::from(vec![1; n % 3]));
        let request = Request::post("/x").header("host", "gate.test").body(body).unwrap();
        client.ready().await.unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        count(answer.into_body()).await;
    }
    assert!(opened.load(Ordering::Relaxed) <= 2, "{}", opened.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_is_seen_as_broken() {
    let upstream = raw_forge(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    })
    .await;
    let answer = get(Gate::before(upstream).address, "/x").await;
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_limited_in_both_directions() {
    let upstream = raw_forge(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        if head.starts_with("GET") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        }
        tokio::time::sleep(Duration::from_mins(1)).await;
    })
    .await;
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.pass.body_idle_timeout = Duration::from_millis(300);
    let gate = plan.start();
    assert!(soon(get(gate.address, "/x").await.into_body().collect()).await.is_err());
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    stream.write_all(b"PUT / HTTP/1.1\r\nhost: gate.test\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    assert_eq!(status(&soon(read_head(&mut stream)).await), 408);
}
