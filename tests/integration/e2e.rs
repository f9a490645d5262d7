//! The real binary in front of a fake forge, and agents that talk to it over real sockets.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::generations;
use bytes::Bytes;
use claimgate::fake_forge::{FakeForge, IssueHandle, Options};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The repository of all these tests.
pub const REPO: &str = "acme/app";
/// Labels that the repository has.
pub const LABELS: [&str; 9] = [
    "backlog",
    "todo",
    "in-progress",
    "blocked",
    "done",
    "underspecified",
    "awaiting-live-verification",
    "tech-debt",
    "priority",
];

// === the forge ===

/// A forge with a repository, its labels and these accounts, who may all write.
pub async fn forge(logins: &[&str]) -> FakeForge {
    forge_with(generations::forge(), logins).await
}

/// Such a forge of another version.
pub async fn forge_with(options: Options, logins: &[&str]) -> FakeForge {
    let forge = FakeForge::start(options).await.expect("a free port");
    forge.add_user("acme", "token-of-acme");
    forge.add_repo("acme", "app");
    for login in logins {
        forge.add_user(login, &token(login));
        forge.grant_write(login, REPO);
    }
    for label in LABELS {
        forge.add_label(REPO, label);
    }
    forge
}

/// A file that only its owner may read, as a secret must be.
pub fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// An account's token.
pub fn token(login: &str) -> String {
    format!("token-of-{login}")
}

/// An issue in the backlog.
pub fn backlog_issue(forge: &FakeForge) -> IssueHandle {
    forge.add_issue(REPO, "a piece of work", &["backlog"], &[])
}

/// `agent-0`, `agent-1`, …
pub fn agents(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("agent-{number}")).collect()
}

/// The path of an issue in the API.
pub fn issue(number: u64) -> String {
    format!("/api/v1/repos/{REPO}/issues/{number}")
}

// === the gate ===

/// How a gate is to be started.
pub struct Setup {
    upstream: String,
    state: PathBuf,
    config: String,
    shell: Option<&'static str>,
    listen: String,
    keep: Arc<tempfile::TempDir>,
}

/// A running `claimgate serve`. It is killed when this is dropped.
pub struct Gate {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    output: Arc<Output>,
    /// Of its two streams, each until its end.
    followers: Vec<tokio::task::JoinHandle<()>>,
    state: PathBuf,
    _keep: Arc<tempfile::TempDir>,
}

#[derive(Default)]
struct Output {
    stdout: Mutex<String>,
    stderr: Mutex<String>,
}

/// Names the binary to be tested instead of the one that was built beside the tests: a release build, for measurements.
const BINARY: &str = "CLAIMGATE_TEST_BINARY";

/// Whether the binary under test was named, and is no debug build.
pub fn binary_was_given() -> bool {
    std::env::var_os(BINARY).is_some()
}

impl Setup {
    pub fn before(upstream: &str) -> Self {
        let keep = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let state = keep.path().join("state");
        let listen = "127.0.0.1:0".to_owned();
        Self { upstream: upstream.to_owned(), state, config: String::new(), shell: None, listen, keep }
    }

    /// Another address than a free one.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// More configuration, in TOML.
    pub fn config(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.config);
        self
    }

    /// A shell command before the gate takes the shell's place, such as `ulimit -f 8`.
    pub fn shell(mut self, command: &'static str) -> Self {
        self.shell = Some(command);
        self
    }

    /// The same state directory, without the shell command.
    pub fn again(&self, upstream: &str) -> Self {
        let keep = Arc::clone(&self.keep);
        Self {
            upstream: upstream.to_owned(),
            state: self.state.clone(),
            config: self.config.clone(),
            shell: None,
            listen: self.listen.clone(),
            keep,
        }
    }

    /// The configuration, in TOML.
    pub fn toml(&self) -> &str {
        &self.config
    }

    /// A directory for the files of a configuration.
    pub fn dir(&self) -> &Path {
        self.keep.path()
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    fn command(&self) -> Command {
        let config = self.keep.path().join("gate.toml");
        std::fs::write(&config, &self.config).expect("the configuration is written");
        let binary = std::env::var(BINARY).unwrap_or_else(|_| env!("CARGO_BIN_EXE_claimgate").to_owned());
        let mut command = match self.shell {
            None => Command::new(&binary),
            Some(before) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\""), &binary]);
                shell
            }
        };
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| name.to_string_lossy().starts_with("CLAIMGATE_")) {
            command.env_remove(name);
        }
        command.arg("serve").arg("--config").arg(config);
        command.args(["--upstream", &self.upstream, "--listen", &self.listen, "--admin", "127.0.0.1:0"]);
        command.arg("--state-dir").arg(&self.state);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts it and waits until it listens.
    pub async fn start(&self) -> Gate {
        crate::edge_support::open_files();
        let mut child = self.command().spawn().expect("the gate starts");
        let output = Arc::new(Output::default());
        let followers = vec![
            follow(child.stdout.take().expect("piped"), Arc::clone(&output), |output| &output.stdout),
            follow(child.stderr.take().expect("piped"), Arc::clone(&output), |output| &output.stderr),
        ];
        let address = announced(&output, "listen").await;
        let admin = announced(&output, "admin").await;
        Gate { address, admin, child, output, followers, state: self.state.clone(), _keep: Arc::clone(&self.keep) }
    }

    /// Starts one that is expected not to run; what it says on standard error.
    pub async fn refused_to_start(&self) -> (ExitStatus, String) {
        let output = tokio::time::timeout(Duration::from_secs(40), self.command().output());
        let output = output.await.expect("it ends by itself").expect("it starts");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A gate with the built-in defaults.
pub async fn gate(forge: &FakeForge) -> Gate {
    Setup::before(&forge.base_url()).start().await
}

impl Gate {
    /// An agent with this account's token.
    pub fn agent(&self, login: &str) -> Client {
        Client::new(self.address, login)
    }

    /// Somebody without a credential.
    pub fn anonymous(&self) -> Client {
        Client { authorization: None, ..Client::new(self.address, "") }
    }

    /// The operator, over the gate's socket.
    pub fn operator(&self) -> Client {
        Client { socket: Some(self.state.join("operator.sock")), ..self.at_admin_port() }
    }

    /// Whoever reaches the admin listener's port.
    pub fn at_admin_port(&self) -> Client {
        Client { authorization: None, ..Client::new(self.admin, "") }
    }

    pub fn stdout(&self) -> String {
        self.output.stdout.lock().expect("no panic").clone()
    }

    pub fn stderr(&self) -> String {
        self.output.stderr.lock().expect("no panic").clone()
    }

    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// The audit so far, line by line.
    pub fn audit(&self) -> Vec<Value> {
        let text = self.stdout();
        text.lines().map(|line| serde_json::from_str(line).expect("an audit line is JSON")).collect()
    }

    /// What `/claims` says of an item; null if nothing.
    pub async fn claim(&self, number: u64) -> Value {
        let answer = self.operator().get("/claims").await.json();
        let claims = answer["claims"].as_array().cloned().unwrap_or_default();
        claims.into_iter().find(|claim| claim["resource"] == format!("{REPO}#{number}")).unwrap_or(Value::Null)
    }

    /// The account that holds an item by the ledger.
    pub async fn holder(&self, number: u64) -> Option<String> {
        self.claim(number).await["agent"]["account"].as_str().map(str::to_owned)
    }

    /// The process's id.
    pub fn process(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(self.process().cast_signed()).expect("no process is 0")
    }

    pub fn tell(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it can be told");
    }

    /// `kill -9`, and the end.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Its end, and that of what it has printed.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait());
        let status = ended.await.expect("it ends in time").expect("it can be waited for");
        for follower in self.followers.drain(..) {
            tokio::time::timeout(Duration::from_secs(10), follower).await.expect("its output ends").expect("no panic");
        }
        status
    }

    /// SIGTERM, and the end.
    pub async fn stop(mut self) -> ExitStatus {
        self.tell(rustix::process::Signal::TERM);
        self.ended().await
    }
}

/// Stops the gate; `claimgate audit verify` finds nothing in what it printed, and as many lines as there must be.
pub async fn stop_and_verify(mut gate: Gate, at_least: usize) {
    gate.tell(rustix::process::Signal::TERM);
    assert!(gate.ended().await.success(), "{}", gate.stderr());
    let printed = || async { (gate.audit().len() >= at_least).then_some(()) };
    eventually(printed, Duration::from_secs(5)).await.unwrap_or_else(|| panic!("{} lines", gate.audit().len()));
    let file = gate.state_dir().join("audit.jsonl");
    std::fs::write(&file, gate.stdout()).expect("the audit is written down");
    let verified = Command::new(env!("CARGO_BIN_EXE_claimgate")).args(["audit", "verify"]).arg(&file).output().await;
    let verified = verified.expect("it runs");
    let said = String::from_utf8_lossy(&verified.stdout).into_owned() + &String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
}

fn follow(
    from: impl AsyncRead + Unpin + Send + 'static,
    output: Arc<Output>,
    to: fn(&Output) -> &Mutex<String>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut text = to(&output).lock().expect("no panic");
            text.push_str(&line);
            text.push('\n');
        }
    })
}

/// The address that a log line has in this field.
async fn announced(output: &Output, field: &str) -> SocketAddr {
    let stderr = || output.stderr.lock().expect("no panic").clone();
    let found = || {
        let text = stderr();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find_map(|line| line[field].as_str()?.parse().ok())
    };
    eventually(|| async { found() }, Duration::from_secs(20))
        .await
        .unwrap_or_else(|| panic!("the gate does not say `{field}`:\n{}", stderr()))
}

/// Looks again and again until there is something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F, most: Duration) -> Option<T> {
    let until = tokio::time::Instant::now() + most;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if tokio::time::Instant::now() > until {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// === the agents ===

/// One client with one kept connection.
pub struct Client {
    pub address: SocketAddr,
    pub login: String,
    /// Before each path, such as `/as/one`.
    pub prefix: String,
    /// The host that it asks for, where that is not the address.
    pub host: Option<String>,
    pub authorization: Option<String>,
    pub headers: Vec<(&'static str, String)>,
    /// A unix socket to be asked instead of the address.
    socket: Option<PathBuf>,
    /// The address that it comes from, where that is another than usual.
    source: Option<&'static str>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new(address: SocketAddr, login: &str) -> Self {
        let authorization = Some(format!("token {}", token(login)));
        let (login, prefix) = (login.to_owned(), String::new());
        let (source, socket) = (None, None);
        let host = None;
        Self { address, login, prefix, host, authorization, headers: Vec::new(), source, socket, connection: None }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// From another address of this machine.
    pub fn from(mut self, source: &'static str) -> Self {
        self.source = Some(source);
        self
    }

    /// Over a unix socket.
    pub fn over(mut self, socket: &Path) -> Self {
        self.socket = Some(socket.to_owned());
        self
    }

    /// For a host of this name.
    pub fn asking_for(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Under a path prefix.
    pub fn below(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// PATCH with these assignees.
    pub async fn assign(&mut self, number: u64, logins: &[&str]) -> Answer {
        self.call(Method::PATCH, &issue(number), Some(json!({ "assignees": logins }))).await
    }

    /// PATCH with itself as the only assignee.
    pub async fn claim(&mut self, number: u64) -> Answer {
        let me = self.login.clone();
        self.assign(number, &[&me]).await
    }

    pub async fn release(&mut self, number: u64) -> Answer {
        self.assign(number, &[]).await
    }

    pub async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, path, &[("content-type", "application/json")], body.into()).await
    }

    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A call to a gate that may die under it: the status, or none if there was no whole answer.
    pub async fn attempt(&mut self, method: Method, path: &str, body: &Value) -> Option<u16> {
        if TcpStream::connect(self.address).await.is_err() {
            return None;
        }
        let headers = [("content-type", "application/json")];
        self.try_send(method, path, &headers, body.to_string().into()).await.ok().map(|answer| answer.status)
    }

    pub async fn try_send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, hyper::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.prefix));
        request = request.header("host", self.host.clone().unwrap_or_else(|| self.address.to_string()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let connection = self.connected().await;
        let answer = connection.send_request(request).await?;
        let (head, body) = answer.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await?.to_bytes() })
    }

    /// Opens the connection, if it is not open.
    pub async fn connected(&mut self) -> &mut SendRequest<Full<Bytes>> {
        let open = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !open {
            let sender = if let Some(path) = &self.socket {
                handshake(tokio::net::UnixStream::connect(path).await.expect("the gate listens")).await
            } else {
                let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
                if let Some(source) = self.source {
                    socket.bind(format!("{source}:0").parse().expect("an address")).expect("it is this machine's");
                }
                let stream = socket.connect(self.address).await.expect("somebody listens");
                stream.set_nodelay(true).expect("an option");
                handshake(stream).await
            };
            self.connection = Some(sender);
        }
        self.connection.as_mut().expect("just opened")
    }
}

async fn handshake<S>(stream: S) -> SendRequest<Full<Bytes>>
where
    S: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("a connection");
    tokio::spawn(connection);
    sender
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The header that each answer to a guarded write has.
    #[track_caller]
    pub fn decision(&self) -> &str {
        let value = self.headers.get("claimgate-decision");
        value.unwrap_or_else(|| panic!("no decision: {self:?}")).to_str().expect("text")
    }

    /// The code of a refusal; its decision says the same.
    #[track_caller]
    pub fn code(&self) -> String {
        let code = self.json()["claimgate"]["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}")).to_owned();
        assert!(self.decision().starts_with(&format!("reject; code={code}; id=")), "{self:?}");
        code
    }

    /// It went through, by the gate.
    #[track_caller]
    pub fn granted(&self) -> &Self {
        assert!(StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success()), "{self:?}");
        let decision = self.decision();
        assert!(decision.starts_with("admit; id=") || decision.starts_with("noop; id="), "{decision}");
        self
    }

    /// It was refused by the gate, for this reason.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        self
    }
}
