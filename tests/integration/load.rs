//! Clients that ask for too much, or too slowly: what they may take is bounded, and the others do not notice.
//!
//! The real time here is only waited for, never measured. `CLAIMGATE_TEST_IDLE` is how many connections stand idle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::e2e::{Gate, Setup, backlog_issue, eventually, forge, issue, token};
use crate::edge_support::{self, Plan, channel, echo, open_files, read_head, soon, status};

const PLAIN: &[u8] = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";

/// A connection from an address of this machine.
async fn from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(PLAIN).await.unwrap();
    soon(read_head(stream)).await
}

/// Resident memory of a process, in bytes.
fn memory(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_limited_over_all_and_by_client() {
    let (begun, bodies) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let (counter, kept) = (Arc::clone(&begun), Arc::clone(&bodies));
    // Every answer begins, and ends when the test says so.
    let upstream = edge_support::forge(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        let (sender, body) = channel();
        kept.lock().unwrap().push(sender);
        async { Response::new(body) }
    });
    let mut plan = Plan::to(&format!("http://{}", upstream.await));
    (plan.server.limits.max_requests, plan.server.limits.max_requests_per_client) = (3, 2);
    let gate = plan.start();
    let mut one = Vec::new();
    for _ in 0..2 {
        let mut stream = from("127.0.0.1", gate.address).await;
        assert_eq!(status(&ask(&mut stream).await), 200);
        one.push(stream);
    }
    // A third of the same client is one too many; its connection can be used again.
    let mut third = from("127.0.0.1", gate.address).await;
    let answer = ask(&mut third).await;
    assert!(status(&answer) == 503 && answer.contains("retry-after: 1\r\n"), "{answer}");
    let mut other = from("127.0.0.2", gate.address).await;
    assert_eq!(status(&ask(&mut other).await), 200, "another client has its own share");
    let mut last = from("127.0.0.3", gate.address).await;
    assert_eq!(status(&ask(&mut last).await), 503, "three are all that may be under way");
    assert_eq!(begun.load(Ordering::Relaxed), 3, "what is turned away does not reach the tracker");
    // An answer that has ended makes room.
    bodies.lock().unwrap().clear();
    let again = || async {
        let mut stream = from("127.0.0.1", gate.address).await;
        (status(&ask(&mut stream).await) == 200).then_some(())
    };
    eventually(again, Duration::from_secs(20)).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let upstream = edge_support::raw_forge(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let piece = vec![7; 64 << 10];
        while stream.write_all(&piece).await.is_ok() {}
    });
    let mut plan = Plan::to(&format!("http://{}", upstream.await));
    plan.server.limits.write_stall_timeout = Duration::from_millis(300);
    plan.server.limits.max_connections = 1;
    let gate = plan.start();
    let mut stalled = TcpStream::connect(gate.address).await.unwrap();
    stalled.write_all(PLAIN).await.unwrap();
    // The next one is served only once the first was let go.
    let mut next = TcpStream::connect(gate.address).await.unwrap();
    assert_eq!(status(&ask(&mut next).await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_share_a_bounded_memory_and_claims_go_on() {
    let forge = forge(&["agent-0", "agent-1"]).await;
    let config = "[server]\nmax_guarded_body = \"1MiB\"\nguarded_memory = \"1MiB\"\n";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let (slow, claimed) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    let half_sent = || async {
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        let head = format!(
            "PATCH {} HTTP/1.1\r\nhost: a\r\nauthorization: token {}\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n",
            issue(slow),
            token("agent-0")
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; 700_000]).await.unwrap();
        stream
    };
    let long = Bytes::from(format!("{{\"assignees\":[\"agent-1\"]}}{}", " ".repeat(700_000)));
    let json = [("content-type", "application/json")];
    let send = || async {
        let mut agent = gate.agent("agent-1");
        agent.send(Method::PATCH, &issue(slow), &json, long.clone()).await
    };
    // The one whose bytes come second does not fit; where that is the unfinished one, both begin anew.
    let refused = || async {
        let half = half_sent().await;
        tokio::task::yield_now().await;
        Some((half, send().await)).filter(|(_, answer)| answer.status == 503)
    };
    let (half, refused) = eventually(refused, Duration::from_secs(20)).await.expect("there is no room for both");
    assert!(refused.headers["claimgate-decision"].to_str().unwrap().contains("code=lane_timeout"), "{refused:?}");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(gate.agent("agent-1").claim(claimed).await.status, 201, "a short body needs no room");
    drop(half);
    let fits = || async { Some(send().await).filter(|answer| answer.status == 201) };
    eventually(fits, Duration::from_secs(20)).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_guarded_write_must_come_in_time() {
    let forge = forge(&["agent-0"]).await;
    let number = backlog_issue(&forge).number;
    let setup = Setup::before(&forge.base_url()).config("[server]\nguarded_body_timeout = \"300ms\"\n");
    let gate = setup.start().await;
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    let head = format!("PATCH {} HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n{{", issue(number));
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = soon(read_head(&mut stream)).await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(soon(gate.agent("agent-0").claim(number)).await.status, 201);
}

/// How many connections this process and the gate may have, each with as many descriptors.
fn many(wanted: usize) -> usize {
    let told = std::env::var("CLAIMGATE_TEST_IDLE").ok().map(|text| text.parse().expect("a number"));
    told.unwrap_or(wanted).min(open_files().saturating_sub(400))
}

async fn honest(gate: &Gate, forge: &claimgate::fake_forge::FakeForge) {
    let number = backlog_issue(forge).number;
    let mut agent = gate.agent("agent-0");
    for _ in 0..20 {
        assert_eq!(soon(agent.get(&issue(number))).await.status, 200);
    }
    assert_eq!(soon(agent.claim(number)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_cost_little_and_stop_nobody() {
    let forge = forge(&["agent-0"]).await;
    let setup = Setup::before(&forge.base_url()).config("[server]\nmax_connections_per_client = 0\n");
    let gate = setup.start().await;
    honest(&gate, &forge).await;
    let (count, before) = (many(2_000), memory(gate.process()));
    let mut idle = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        // One in four has a head that does not go on, and one in four had an answer.
        match number % 4 {
            0 => stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await.unwrap(),
            1 => assert_eq!(status(&ask(&mut stream).await), 404),
            _ => {}
        }
        idle.push(stream);
    }
    honest(&gate, &forge).await;
    let grown = memory(gate.process()).saturating_sub(before);
    println!("{count} connections: {} bytes each", grown / count as u64);
    assert!(grown < (8 << 20) + 40_000 * count as u64, "grew by {} KiB", grown >> 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pipelined_requests_waits_for_its_own_answers() {
    let forge = forge(&["agent-0"]).await;
    let gate = crate::e2e::gate(&forge).await;
    honest(&gate, &forge).await;
    let before = memory(gate.process());
    let address = gate.address;
    let floods: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(&PLAIN.repeat(1_000_000)).await.unwrap();
            })
        })
        .collect();
    for _ in 0..5 {
        honest(&gate, &forge).await;
    }
    let grown = memory(gate.process()).saturating_sub(before);
    assert!(grown < 32 << 20, "grew by {} KiB", grown >> 10);
    for flood in floods {
        assert!(!flood.is_finished(), "nobody reads the answers, so nobody takes the requests");
        flood.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_waits_in_the_systems_queue() {
    let mut plan = Plan::to(&format!("http://{}", edge_support::forge(echo).await));
    plan.server.limits.max_connections = 1;
    let gate = plan.start();
    let mut held = TcpStream::connect(gate.address).await.unwrap();
    assert_eq!(status(&ask(&mut held).await), 200);
    // Nobody is accepted now. The system, too, has a limit on those that wait.
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let crowd = limit.trim().parse::<usize>().unwrap().min(600) - 1;
    let mut waiting = Vec::new();
    for _ in 0..crowd {
        waiting.push(soon(TcpStream::connect(gate.address)).await.unwrap());
    }
    drop(held);
    let mut first = waiting.remove(0);
    assert_eq!(status(&ask(&mut first).await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_cannot_take_the_connections_of_another() {
    let mut plan = Plan::to(&format!("http://{}", edge_support::forge(echo).await));
    plan.server.limits.max_connections_per_client = 1;
    let gate = plan.start();
    let mut held = from("127.0.0.1", gate.address).await;
    assert_eq!(status(&ask(&mut held).await), 200);
    let mut second = from("127.0.0.1", gate.address).await;
    assert!(matches!(soon(second.read(&mut [0; 1])).await, Ok(0) | Err(_)), "one connection is all it may have");
    assert_eq!(status(&ask(&mut from("127.0.0.2", gate.address).await).await), 200);
}

/// Clearing a huge page would make all claims wait for as long as that takes.
#[tokio::test]
async fn memory_comes_in_small_pages() {
    let forge = forge(&["agent-0"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let told = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(told.map(str::trim), Some("0"), "{status}");
}

/// Moving the log into the file takes milliseconds of a processor, and nobody waits for it.
#[tokio::test]
async fn what_nobody_waits_for_stands_back() {
    let forge = forge(&["agent-0"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let nice_of = |thread: &str| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gate.pid())).unwrap();
        let stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default());
        // proc_pid_stat(5): the name, which is cut at 15 bytes, and 17 fields on how nice it is.
        let mut of_it = stats.filter_map(|stat| Some(stat.split_once(&format!("({thread}) "))?.1.to_owned()));
        of_it.next().map(|rest| rest.split(' ').nth(16).unwrap().parse::<i32>().unwrap())
    };
    let stands_back = || async { nice_of("ledger-checkpoi").filter(|nice| *nice == 10) };
    eventually(stands_back, Duration::from_secs(10)).await.expect("the thread is nice");
    assert_eq!(nice_of("ledger-writer"), Some(0));
}
