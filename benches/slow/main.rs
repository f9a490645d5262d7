//! What 5,000 slow clients do to honest ones: the real binary, an instant forge, the same honest load without them and
//! with them in one run.
//!
//! `cargo bench --bench slow` takes two minutes. Honest requests come at a fixed rate whatever the answers do, each timed
//! from the moment at which it was due (no coordinated omission): reads that pass, and claims. A fifth each of the slow
//! clients sends its head, the body of a request that passes, or that of a guarded write, byte by byte, takes its answer so,
//! or does nothing. Whom the gate throws out comes again. It fails if the honest p99 is 50 ms worse, or memory is not
//! bounded. `CLAIMGATE_BENCH_SECONDS=5 CLAIMGATE_BENCH_SLOW=500 CLAIMGATE_BENCH_RATE=100` make it shorter;
//! `CLAIMGATE_BENCH_WAYS=head,body,guarded,reader,idle` names those that there shall be.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a run are small, and an index is rounded on purpose"
)]

mod clients;
#[path = "../claims/forge.rs"]
mod forge;

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

/// How much worse the honest p99 may be.
const MOST_WORSE: Duration = Duration::from_millis(50);
/// What a slow client may cost the gate.
const MOST_BYTES_EACH: u64 = 200 << 10;
/// Connections of the honest.
const CONNECTIONS: usize = 64;
/// One honest request in so many is a claim.
const CLAIMS: u32 = 5;
/// Until all slow clients are there, the first of them have been thrown out, and come again.
const SETTLING: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    // `cargo test --benches` asks for a list; there is nothing to list.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("file descriptors");
    let (seconds, count) = (chosen("CLAIMGATE_BENCH_SECONDS", 60), chosen("CLAIMGATE_BENCH_SLOW", 5_000));
    let (span, rate) = (Duration::from_secs(seconds as u64), chosen("CLAIMGATE_BENCH_RATE", 400));
    let gate = Gate::start(forge::start());
    drop(honest(gate.listen, rate, Duration::from_secs(2)));

    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9}",
        format!("{rate} honest requests/s"),
        "number",
        "p50 ms",
        "p99 ms",
        "max ms"
    );
    let before = gate.memory();
    let alone = honest(gate.listen, rate, span);
    alone.print("alone");
    let slow = Slow::start(gate.listen, count);
    std::thread::sleep(SETTLING);
    let watched = gate.watch();
    let among = honest(gate.listen, rate, span);
    let (connections, most) = watched.end();
    among.print(&format!("among {count} slow clients"));
    let came = slow.end();
    let after = gate.memory();

    let worse = among.p99().saturating_sub(alone.p99());
    let each = most.saturating_sub(before) / count.max(1) as u64;
    println!("{:<34} {:>29.2} ms more at p99", "difference", worse.as_secs_f64() * 1e3);
    println!("open connections: {connections} at least; slow clients came {came} times");
    println!(
        "memory of the gate: {} MiB before, {} MiB at most ({} KiB a slow client), {} MiB after",
        before >> 20,
        most >> 20,
        each >> 10,
        after >> 20
    );
    let holds = worse < MOST_WORSE && each < MOST_BYTES_EACH && connections >= count * 4 / 5;
    println!("{}", if holds { "holds: less than 50 ms worse, less than 200 KiB each" } else { "DOES NOT HOLD" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A number from the environment, or this one.
fn chosen(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

// === the honest ===

struct Measured {
    reads: Vec<Duration>,
    claims: Vec<Duration>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Requests at a fixed rate over connections that are opened before; each is timed from when it was due.
fn honest(at: SocketAddr, rate: usize, span: Duration) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let idle = Rc::new(RefCell::new(Vec::new()));
        for agent in 0..CONNECTIONS {
            let client = Client::connect(at, agent).await;
            idle.borrow_mut().push(client);
        }
        let every = Duration::from_secs(1) / u32::try_from(rate).expect("a rate");
        let begun = Instant::now() + Duration::from_millis(50);
        let running: Vec<_> = (0..(span.as_secs_f64() * rate as f64) as u32)
            .map(|number| {
                let idle = Rc::clone(&idle);
                tokio::task::spawn_local(async move {
                    let due = begun + every * number;
                    tokio::time::sleep_until(due.into()).await;
                    let mut client = loop {
                        let client = idle.borrow_mut().pop();
                        match client {
                            Some(client) => break client,
                            None => tokio::time::sleep(Duration::from_millis(1)).await,
                        }
                    };
                    let is_claim = number % CLAIMS == 0;
                    client.ask(is_claim).await;
                    idle.borrow_mut().push(client);
                    (is_claim, due.elapsed())
                })
            })
            .collect();
        let mut measured = Measured { reads: Vec::new(), claims: Vec::new() };
        for task in running {
            let (is_claim, took) = task.await.expect("an answer");
            if is_claim { &mut measured.claims } else { &mut measured.reads }.push(took);
        }
        measured.reads.sort_unstable();
        measured.claims.sort_unstable();
        measured
    })
}

impl Measured {
    fn print(&self, what: &str) {
        for (kind, all) in [("reads", &self.reads), ("claims", &self.claims)] {
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| at(all, share).as_secs_f64() * 1e3);
            println!("{:<34} {:>9} {p50:>9.2} {p99:>9.2} {max:>9.2}", format!("{what}, {kind}"), all.len());
        }
    }

    /// The worse of the two kinds.
    fn p99(&self) -> Duration {
        at(&self.reads, 0.99).max(at(&self.claims, 0.99))
    }
}

fn at(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

struct Client {
    login: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    async fn connect(at: SocketAddr, agent: usize) -> Self {
        let stream = TcpStream::connect(at).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("handshake");
        tokio::task::spawn_local(connection);
        Self { login: format!("dev-{agent}"), sender }
    }

    /// A read, or the claim of an item that nobody has.
    async fn ask(&mut self, is_claim: bool) {
        let item = NEXT.fetch_add(1, Ordering::Relaxed);
        let claim = format!(r#"{{"assignees":["{}"]}}"#, self.login);
        let (method, body, expected) = if is_claim {
            (Method::PATCH, claim, StatusCode::CREATED)
        } else {
            (Method::GET, String::new(), StatusCode::OK)
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/repos/bench/bench/issues/{item}"))
            .header(header::HOST, "forge")
            .header(header::AUTHORIZATION, format!("token {}", self.login))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .expect("request");
        self.sender.ready().await.expect("open");
        let answer = self.sender.send_request(request).await.expect("answer");
        assert_eq!(answer.status(), expected, "item {item}");
        answer.into_body().collect().await.expect("body");
    }
}

// === the slow ===

/// Slow clients, on a thread of their own.
struct Slow {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Slow {
    fn start(at: SocketAddr, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let came = clients::start(at, count);
                while !stopped.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                came.get()
            })
        });
        Self { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("slow clients")
    }
}

// === the gate ===

/// The real binary, with its state in a temporary directory on disk.
struct Gate {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
    _state: tempfile::TempDir,
}

/// The gate's connections and memory, looked at each second.
struct Watched {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, u64)>,
}

impl Gate {
    fn start(forge: SocketAddr) -> Self {
        let state = tempfile::tempdir().expect("state");
        let config = state.path().join("gate.toml");
        // All clients come from one address here.
        let limits = "[server]\nmax_connections_per_client = 0\nmax_requests_per_client = 0\n";
        std::fs::write(&config, limits).expect("configuration");
        let mut child = Command::new(env!("CARGO_BIN_EXE_claimgate"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--upstream", &format!("http://{forge}")])
            .arg("--config")
            .arg(config)
            .arg("--state-dir")
            .arg(state.path().join("state"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("claimgate");
        let stderr = BufReader::new(child.stderr.take().expect("stderr"));
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                for field in ["listen", "admin"] {
                    if let Some(address) = value[field].as_str().and_then(|text| text.parse::<SocketAddr>().ok()) {
                        tell.send((field, address)).expect("somebody listens");
                    }
                }
                if value["level"] == "ERROR" || value["level"] == "WARN" {
                    eprintln!("{line}");
                }
            }
        });
        let address = |wanted: &str| {
            let (field, address) = told.recv_timeout(Duration::from_secs(20)).expect("the gate listens");
            assert_eq!(field, wanted);
            address
        };
        let (listen, admin) = (address("listen"), address("admin"));
        Self { child, listen, admin, _state: state }
    }

    fn memory(&self) -> u64 {
        memory(self.child.id())
    }

    fn watch(&self) -> Watched {
        let (process, admin, stop) = (self.child.id(), self.admin, Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut fewest, mut most) = (usize::MAX, 0);
            while !stopped.load(Ordering::Relaxed) {
                fewest = fewest.min(connections(admin));
                most = most.max(memory(process));
                std::thread::sleep(Duration::from_secs(1));
            }
            (fewest, most)
        });
        Watched { stop, thread }
    }
}

impl Watched {
    /// The fewest connections that were open, and the most memory that was used.
    fn end(self) -> (usize, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("watching")
    }
}

/// Resident, in bytes.
fn memory(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") << 10
}

/// As the gate's own metrics have it.
fn connections(admin: SocketAddr) -> usize {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(admin).expect("the admin listener");
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("metrics");
    let line = text.lines().find_map(|line| line.strip_prefix("claimgate_connections "));
    line.and_then(|number| number.parse().ok()).expect("a number of connections")
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
