//! A real Redmine for the tests of this process: started by the first that asks, ended with the process.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use serde_json::Value;

/// Who can be asked for, with their keys.
pub type Accounts = BTreeMap<String, Account>;

#[derive(Clone, Debug)]
pub struct Account {
    pub id: u64,
    /// A group has none.
    pub key: Option<String>,
}

#[derive(Debug)]
pub struct Real {
    pub addr: SocketAddr,
    pub version: String,
    pub accounts: Accounts,
    /// The end of its standard input ends it, and the system closes that with this process.
    _child: Child,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

static REAL: LazyLock<Option<Real>> = LazyLock::new(start);

/// The one that all tests share; none, loudly, where the packages are not installed.
pub fn real() -> Option<&'static Real> {
    REAL.as_ref()
}

/// One test at a time: two writes at once can find Redmine's SQLite locked, and that is a 500.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> Option<Real> {
    if !Path::new("/usr/share/redmine").is_dir() {
        eprintln!("SKIPPED: there is no Redmine here; `tests/redmine/up install` installs one from Debian's packages");
        return None;
    }
    // Nobody else is likely to take the port before Redmine does.
    let addr = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a free port");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redmine/up");
    let mut command = Command::new(script);
    command.arg("run").arg(addr.port().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("bash is there");
    let seeded = first_line(&mut child);
    let seeded: Value = serde_json::from_str(&seeded).expect("what was seeded is JSON");
    let accounts = seeded["accounts"].as_object().expect("accounts").iter().map(|(name, account)| {
        let key = account["key"].as_str().map(str::to_owned);
        (name.clone(), Account { id: account["id"].as_u64().expect("an id"), key })
    });
    let version = seeded["version"].as_str().expect("a version").to_owned();
    let real = Real { addr, version, accounts: accounts.collect(), _child: child };
    let listens = |_: &u32| {
        std::thread::sleep(TICK);
        TcpStream::connect(addr).is_ok()
    };
    (0..START_TICKS).find(listens).expect("Redmine listens in time");
    Some(real)
}

/// The line that says what was seeded, within the time for that.
fn first_line(child: &mut Child) -> String {
    let stdout = child.stdout.take().expect("piped");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // An error leaves the line empty, and that is told.
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    receiver.recv_timeout(SEED).expect("Redmine is seeded in time")
}

/// One call of a Redmine's API, with JSON.
pub fn call(addr: SocketAddr, accounts: &Accounts, who: &str, (method, path): (&str, &str), body: &str) -> Answer {
    let key = accounts[who].key.as_deref().expect("a key");
    let head = format!("{method} {path} HTTP/1.1\r\nX-Redmine-API-Key: {key}\r\nContent-Type: application/json\r\n");
    send(addr, &head, body.as_bytes())
}

/// Sends a request on a connection of its own. `head` has no framing yet.
pub fn send(addr: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(ANSWER)).expect("a timeout");
    let framing = format!("Host: redmine\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let message = [head.as_bytes(), framing.as_bytes(), body].concat();
    stream.write_all(&message).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers and closes");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: body.to_owned() }
}

/// The longest that making the tables may take; seven seconds are usual.
const SEED: Duration = Duration::from_secs(150);
/// The longest that it may take to listen; four seconds are usual.
const START_TICKS: u32 = 900;
const TICK: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(30);
