//! Guarded writes a second: different items, an instant forge, durable commits, the real binary.
//!
//! `cargo bench --bench claims` prints two tables. The peer is the same claim made directly at the same forge (GET, PATCH,
//! GET), measured in the same run with the same client, so that the figures can be read as a ratio on any machine. The
//! floor is a gate that does nothing but what no durable one can leave out: what it takes is the disk's and the machine's.
//! First as many claims as so many clients can make, each waiting for its answer; then claims that arrive at a fixed
//! rate whatever the answers do, each timed from the moment at which it was due (no coordinated omission).
//! The last columns tell the machine's part: how much of the processors' time a hypervisor gave to others meanwhile, and
//! the 99th percentile of the claims that were made in half seconds in which it gave none, with their share of all.
//! `CLAIMGATE_BENCH_CLIENTS=8 CLAIMGATE_BENCH_RATES=2000` choose other rows, `CLAIMGATE_BENCH_SECONDS` how long each is
//! measured.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a run are small, and an index is rounded on purpose"
)]

mod floor;
mod forge;

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// How long each measurement runs, seconds.
const SECONDS: usize = 5;
/// How often it is looked what was stolen.
const LOOK: Duration = Duration::from_millis(500);
/// Connections over which claims of a fixed rate come.
const CONNECTIONS: usize = 64;

fn main() {
    // `cargo test --benches` asks for a list; there is nothing to list.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let forge = forge::start();
    let floor = floor::start(forge);
    let gate = Gate::start(forge);
    heading("as many as the clients can make");
    for clients in chosen("CLAIMGATE_BENCH_CLIENTS", &[1, 4, 8, 16]) {
        let direct = measure(forge, clients, claim_directly);
        direct.print(&format!("direct GET+PATCH+GET, {clients} clients"));
        measure(floor, clients, claim_through).print(&format!("the floor, {clients} clients"));
        let before = gate.cpu();
        let gated = measure(gate.listen, clients, claim_through);
        gated.print(&format!("through the gate, {clients} clients"));
        let each = gate.cpu().saturating_sub(before).as_secs_f64() * 1e3 / gated.latencies.len() as f64;
        println!("{:<34} {:>8.2}x {each:>12.3} ms of CPU a claim", "  ratio", gated.rate() / direct.rate());
    }
    heading("at a fixed rate");
    for rate in chosen("CLAIMGATE_BENCH_RATES", &[500, 1000, 2000]) {
        let direct = arrive(forge, rate, claim_directly);
        direct.print(&format!("direct GET+PATCH+GET, {rate}/s"));
        arrive(floor, rate, claim_through).print(&format!("the floor, {rate}/s"));
        let gated = arrive(gate.listen, rate, claim_through);
        gated.print(&format!("through the gate, {rate}/s"));
        println!("{:<34} {:>28.2} ms more at p99", "  difference", gated.at(0.99) - direct.at(0.99));
    }
}

fn heading(what: &str) {
    let columns = ["claims/s", "p50 ms", "p99 ms", "max ms", "stolen %", "p99 alone", "of all %"];
    println!("{what:<34} {}", columns.map(|column| format!("{column:>9}")).join(" "));
}

/// A list from the environment, or this one.
fn chosen(variable: &str, otherwise: &[usize]) -> Vec<usize> {
    let list = std::env::var(variable).ok();
    let parse = |list: String| list.split(',').map(|one| one.trim().parse().expect("a number")).collect();
    list.map_or_else(|| otherwise.to_vec(), parse)
}

fn duration() -> Duration {
    Duration::from_secs(chosen("CLAIMGATE_BENCH_SECONDS", &[SECONDS])[0] as u64)
}

/// What one run showed.
struct Measured {
    latencies: Vec<Duration>,
    /// Those of claims during which no other machine had the processors.
    alone: Vec<Duration>,
    took: Duration,
    /// Of the processors' time, percent.
    stolen: f64,
}

/// A claim: when it was due, and when it was answered.
type Span = (Instant, Instant);

impl Measured {
    fn of(spans: &[Span], took: Duration, thefts: Thefts) -> Self {
        let (stolen, disturbed) = thefts.end();
        let clear = |span: &&Span| !disturbed.iter().any(|theft| theft.0 <= span.1 && span.0 <= theft.1);
        Self { latencies: latencies(spans.iter()), alone: latencies(spans.iter().filter(clear)), took, stolen }
    }

    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    fn at(&self, share: f64) -> f64 {
        at(&self.latencies, share)
    }

    fn print(&self, what: &str) {
        let (p50, p99, max) = (self.at(0.5), self.at(0.99), self.at(1.0));
        let share = 100.0 * self.alone.len() as f64 / self.latencies.len() as f64;
        println!(
            "{what:<34} {:>9.0} {p50:>9.2} {p99:>9.2} {max:>9.2} {:>9.1} {:>9.2} {share:>9.0}",
            self.rate(),
            self.stolen,
            at(&self.alone, 0.99)
        );
    }
}

/// How long these took, the shortest first.
fn latencies<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<Duration> {
    let mut latencies: Vec<Duration> = spans.map(|span| span.1 - span.0).collect();
    latencies.sort_unstable();
    latencies
}

fn at(sorted: &[Duration], share: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * share) as usize;
    sorted.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

/// Looks, while a measurement runs, at when the processors were given to other machines.
struct Thefts {
    stop: std::sync::mpsc::Sender<()>,
    looking: std::thread::JoinHandle<Vec<Span>>,
    before: (u64, u64),
}

impl Thefts {
    fn watch() -> Self {
        let before = processor_time();
        let (stop, stopped) = std::sync::mpsc::channel();
        let looking = std::thread::spawn(move || {
            let (mut found, mut last, mut since) = (Vec::new(), before, Instant::now());
            loop {
                let is_over = stopped.recv_timeout(LOOK) != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
                let (now, until) = (processor_time(), Instant::now());
                if now.1 > last.1 {
                    found.push((since, until));
                }
                if is_over {
                    return found;
                }
                (last, since) = (now, until);
            }
        });
        Self { stop, looking, before }
    }

    /// How much of the processors' time was stolen, percent, and when.
    fn end(self) -> (f64, Vec<Span>) {
        drop(self.stop);
        let found = self.looking.join().expect("somebody looks");
        let now = processor_time();
        (100.0 * (now.1 - self.before.1) as f64 / (now.0 - self.before.0).max(1) as f64, found)
    }
}

/// The processors' time so far, and what of it went to other machines (`proc_stat(5)`, ticks).
fn processor_time() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    // The last two count guests' time that the others hold already.
    (ticks.iter().take(8).sum(), ticks.get(7).copied().unwrap_or(0))
}

static NEXT: AtomicU64 = AtomicU64::new(1);

type Claim = for<'a> fn(&'a mut Client, u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

fn measure(at: SocketAddr, clients: usize, claim: Claim) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let (begun, thefts) = (Instant::now(), Thefts::watch());
        let until = begun + duration();
        let run = |agent: usize| async move {
            let mut client = Client::connect(at, agent).await;
            let mut spans = Vec::new();
            while Instant::now() < until {
                let item = NEXT.fetch_add(1, Ordering::Relaxed);
                let started = Instant::now();
                claim(&mut client, item).await;
                spans.push((started, Instant::now()));
            }
            spans
        };
        let tasks: Vec<_> = (0..clients).map(|agent| tokio::task::spawn_local(run(agent))).collect();
        let mut spans = Vec::new();
        for task in tasks {
            spans.extend(task.await.expect("client"));
        }
        Measured::of(&spans, begun.elapsed(), thefts)
    })
}

/// Claims that come at a fixed rate, over connections that are opened before; each is timed from when it was due.
fn arrive(at: SocketAddr, rate: usize, claim: Claim) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let idle = Rc::new(RefCell::new(Vec::new()));
        for agent in 0..CONNECTIONS {
            let client = Client::connect(at, agent).await;
            idle.borrow_mut().push(client);
        }
        let free = Rc::new(Semaphore::new(CONNECTIONS));
        let every = Duration::from_secs(1) / u32::try_from(rate).expect("a rate");
        let thefts = Thefts::watch();
        let begun = Instant::now() + Duration::from_millis(50);
        let total = (duration().as_secs_f64() * rate as f64) as u32;
        let mut running = Vec::new();
        for number in 0..total {
            let due = begun + every * number;
            tokio::time::sleep_until(due.into()).await;
            let (idle, free) = (Rc::clone(&idle), Rc::clone(&free));
            running.push(tokio::task::spawn_local(async move {
                let _one = free.acquire().await.expect("a connection");
                let mut client = idle.borrow_mut().pop().expect("one is idle");
                claim(&mut client, NEXT.fetch_add(1, Ordering::Relaxed)).await;
                idle.borrow_mut().push(client);
                (due, Instant::now())
            }));
        }
        let mut spans = Vec::with_capacity(running.len());
        for task in running {
            spans.push(task.await.expect("claim"));
        }
        Measured::of(&spans, begun.elapsed(), thefts)
    })
}

fn claim_directly(client: &mut Client, item: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
    Box::pin(async move {
        client.call(Method::GET, item, "").await;
        let body = format!(r#"{{"assignees":["{}"]}}"#, client.login);
        client.call(Method::PATCH, item, &body).await;
        client.call(Method::GET, item, "").await;
    })
}

fn claim_through(client: &mut Client, item: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
    Box::pin(async move {
        let body = format!(r#"{{"assignees":["{}"]}}"#, client.login);
        let status = client.call(Method::PATCH, item, &body).await;
        assert_eq!(status, StatusCode::CREATED, "item {item} is claimed once");
    })
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

    async fn call(&mut self, method: Method, item: u64, body: &str) -> StatusCode {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/repos/bench/bench/issues/{item}"))
            .header(header::HOST, "forge")
            .header(header::AUTHORIZATION, format!("token {}", self.login))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_owned()))
            .expect("request");
        self.sender.ready().await.expect("open");
        let answer = self.sender.send_request(request).await.expect("answer");
        let status = answer.status();
        answer.into_body().collect().await.expect("body");
        status
    }
}

/// The real binary, with its state in a temporary directory on disk.
struct Gate {
    child: Child,
    listen: SocketAddr,
    _state: tempfile::TempDir,
}

impl Gate {
    fn start(forge: SocketAddr) -> Self {
        let state = tempfile::tempdir().expect("state");
        let mut child = Command::new(env!("CARGO_BIN_EXE_claimgate"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--upstream", &format!("http://{forge}")])
            .arg("--state-dir")
            .arg(state.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("claimgate");
        let stderr = BufReader::new(child.stderr.take().expect("stderr"));
        let found = Arc::new(std::sync::Mutex::new(None));
        let (tell, told) = std::sync::mpsc::channel();
        let out = Arc::clone(&found);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(listen) = value["listen"].as_str().filter(|_| out.lock().expect("lock").is_none()) {
                    *out.lock().expect("lock") = listen.parse().ok();
                    let _ = tell.send(());
                } else if value["level"] == "ERROR" || value["level"] == "WARN" {
                    eprintln!("{line}");
                }
            }
        });
        told.recv_timeout(Duration::from_secs(20)).expect("the gate listens");
        let listen = found.lock().expect("lock").expect("an address");
        Self { child, listen, _state: state }
    }
}

impl Gate {
    /// The processor time that it has used, by `/proc`.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        Duration::from_millis(10) * (ticks(11) + ticks(12))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
