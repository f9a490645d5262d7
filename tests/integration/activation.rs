//! Sockets that a service manager opens and passes on, as `deploy/claimgate.socket` has it: `LISTEN_FDS`, from file
//! descriptor 3 on.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use claimgate::fake_forge::FakeForge;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};

use crate::e2e::{self, backlog_issue, issue, token};

/// Takes what came as standard input and output for file descriptors 3 and 4, and then the gate takes the shell's place.
const PASS_ON: &str = "exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// `claimgate serve` as a service manager starts it that passes on so many of these two.
fn activated(count: usize, passed: [Stdio; 2], forge: &FakeForge, listen: SocketAddr, dir: &Path) -> Child {
    let mut command = Command::new("sh");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLAIMGATE_")) {
        command.env_remove(name);
    }
    command.args(["-c", PASS_ON, env!("CARGO_BIN_EXE_claimgate"), "serve", "--upstream", &forge.base_url()]);
    // Where the passed socket is already: to open it as well would fail.
    command.args(["--listen", &listen.to_string(), "--admin", "127.0.0.1:0"]);
    command.arg("--state-dir").arg(dir.join("state")).env("LISTEN_FDS", count.to_string());
    let [first, second] = passed;
    command.stdin(first).stdout(second).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("it starts")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn handle(listener: &TcpListener) -> Stdio {
    OwnedFd::from(listener.try_clone().expect("a handle")).into()
}

/// The answer to a read of this issue, or why there is none: the manager's socket stays open, whatever the gate does.
async fn read(mut stream: impl AsyncRead + AsyncWrite + Unpin, number: u64, gate: &mut Child) -> String {
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nauthorization: token {}\r\nconnection: close\r\n",
        issue(number),
        token("ann")
    );
    stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("written");
    let mut answer = String::new();
    let ended = tokio::select! {
        read = stream.read_to_string(&mut answer) => { read.expect("an answer"); None }
        ended = gate.wait() => Some(ended),
    };
    match ended {
        None => answer,
        Some(ended) => panic!("{ended:?}: {}", said(gate).await),
    }
}

async fn said(gate: &mut Child) -> String {
    let mut text = String::new();
    drop(gate.stderr.take().expect("piped").read_to_string(&mut text).await);
    text
}

#[track_caller]
fn check_shown(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("a piece of work"), "{answer}");
}

/// What comes while the gate is away waits in the manager's socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passed_socket_is_served_and_survives_a_restart() {
    let forge = e2e::forge(&["ann"]).await;
    let number = backlog_issue(&forge).number;
    let dir = tempfile::tempdir().expect("a directory");
    let (socket, address) = listener();
    let start = || activated(1, [handle(&socket), Stdio::null()], &forge, address, dir.path());

    let mut gate = start();
    check_shown(&read(TcpStream::connect(address).await.expect("it listens"), number, &mut gate).await);
    let pid = gate.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())).expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be told");
    let ended = tokio::time::timeout(Duration::from_secs(30), gate.wait()).await.expect("it ends");
    assert!(ended.expect("it can be waited for").success(), "{}", said(&mut gate).await);

    let waiting = TcpStream::connect(address).await.expect("the manager listens");
    check_shown(&read(waiting, number, &mut start()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_passed_sockets_are_all_served() {
    let forge = e2e::forge(&["ann"]).await;
    let number = backlog_issue(&forge).number;
    let dir = tempfile::tempdir().expect("a directory");
    let (socket, address) = listener();
    let path = dir.path().join("gate.sock");
    let local = UnixListener::bind(&path).expect("a socket");
    let local = OwnedFd::from(local.try_clone().expect("a handle"));
    let mut gate = activated(2, [handle(&socket), local.into()], &forge, address, dir.path());
    check_shown(&read(TcpStream::connect(address).await.expect("it listens"), number, &mut gate).await);
    check_shown(&read(UnixStream::connect(&path).await.expect("it listens"), number, &mut gate).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_socket_is_said_where_it_comes_from() {
    let forge = e2e::forge(&[]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let (socket, address) = listener();
    let gate = activated(2, [handle(&socket), Stdio::null()], &forge, address, dir.path());
    let output = tokio::time::timeout(Duration::from_secs(30), gate.wait_with_output()).await.expect("it ends");
    let output = output.expect("it can be waited for");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let why =
        "error: LISTEN_FDS: cannot listen on inherited socket 1: what was passed is neither a TCP nor a unix socket";
    assert!(said.contains(why), "{said}");
}
