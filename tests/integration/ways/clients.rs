//! Stock clients through the gate under the tracker's own name, each with the setting that makes it trust the private
//! authority (manual: ways), and without. What is not on this machine is skipped, loudly.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use http::Response;

use super::{HOST, free_address};
use crate::e2e::{Gate, Setup};

/// What a client finds at the tracker, whichever path it asks for.
const FOUND: &str = "{\"version\":\"found-it\"}";
/// What git finds there: a repository with one branch, over the protocol without a service.
const REFS: &str = "0123456789012345678901234567890123456789\trefs/heads/found-it\n";

struct Tracker {
    at: SocketAddr,
    root: PathBuf,
    dir: PathBuf,
    _gate: (Gate, Setup),
}

async fn tracker() -> Tracker {
    let upstream = crate::edge_support::forge(|request| async move {
        let is_git = request.uri().path().ends_with("/info/refs");
        let (kind, body) = if is_git { ("text/plain", REFS) } else { ("application/json", FOUND) };
        Response::builder().header("content-type", kind).body(claimgate::proxy::full(body)).expect("an answer")
    })
    .await;
    let at = free_address();
    let (gate, setup, root) = super::intercepting(&format!("http://{upstream}"), &[(at, "")], "").await;
    Tracker { at, root, dir: setup.dir().to_owned(), _gate: (gate, setup) }
}

impl Tracker {
    fn proxy(&self) -> String {
        format!("http://worker-7:x@{}", self.at)
    }

    /// A command that has the gate for its proxy, and no other settings of this kind.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("timeout");
        command.arg("240").arg(program).current_dir(&self.dir).stdin(Stdio::null());
        for name in [
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
            "CURL_CA_BUNDLE",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "GIT_SSL_CAINFO",
            "AWS_CA_BUNDLE",
            "NODE_TLS_REJECT_UNAUTHORIZED",
            "GIT_SSL_NO_VERIFY",
        ] {
            command.env_remove(name);
        }
        for name in ["HTTPS_PROXY", "https_proxy"] {
            command.env(name, self.proxy());
        }
        command
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

/// Whether a program is here; if not it is said.
fn is_here(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let is_here = found.is_ok_and(|output| output.status.success());
    if !is_here {
        eprintln!("SKIPPED: there is no {program} here");
    }
    is_here
}

/// With what makes it trust the authority the client finds the tracker, and without it does not.
async fn check(
    tracker: &Tracker,
    client: &str,
    command: impl Fn(&Tracker) -> Command,
    trust: impl Fn(&mut Command, &Path),
) {
    for is_trusted in [true, false] {
        let mut command = command(tracker);
        if is_trusted {
            trust(&mut command, &tracker.root);
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("found-it"), is_trusted, "{client}, trusted: {is_trusted}: {said}");
        assert_eq!(output.status.success(), is_trusted, "{client}, trusted: {is_trusted}: {said}");
        if !is_trusted {
            let lower = said.to_lowercase();
            assert!(["certif", "unable to get local issuer"].iter().any(|why| lower.contains(why)), "{client}: {said}");
        }
    }
}

fn by_variable(name: &'static str) -> impl Fn(&mut Command, &Path) {
    move |command, root| {
        command.env(name, root);
    }
}

#[tokio::test]
async fn curl_and_git() {
    let tracker = tracker().await;
    if is_here("curl") {
        let curl = |tracker: &Tracker| {
            let mut command = tracker.command("curl");
            command.args(["--silent", "--show-error", &format!("https://{HOST}/api/v1/version")]);
            command
        };
        for variable in ["CURL_CA_BUNDLE", "SSL_CERT_FILE"] {
            check(&tracker, "curl", curl, by_variable(variable)).await;
        }
        // By name, without a proxy.
        let by_name = |tracker: &Tracker| {
            let mut command = curl(tracker);
            let to = format!("{HOST}:443:{}", tracker.at);
            command.args(["--noproxy", "*", "--connect-to", &to]);
            command
        };
        check(&tracker, "curl", by_name, by_variable("CURL_CA_BUNDLE")).await;
    }
    if is_here("git") {
        let git = |tracker: &Tracker| {
            let mut command = tracker.command("git");
            command
                .env("GIT_TERMINAL_PROMPT", "0")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1");
            command.args(["ls-remote", &format!("https://{HOST}/acme/app.git")]);
            command
        };
        check(&tracker, "git", git, by_variable("GIT_SSL_CAINFO")).await;
        let configured = |command: &mut Command, root: &Path| {
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.sslCAInfo")
                .env("GIT_CONFIG_VALUE_0", root);
        };
        check(&tracker, "git", git, configured).await;
    }
}

/// A Python with the libraries of `tests/clients/requirements.txt`; none, loudly, where it cannot be had.
static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (wanted, folder) = (root.join("tests/clients/requirements.txt"), root.join("target/python-clients"));
    let (python, marker) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let texts = [&wanted, &marker].map(|path| std::fs::read(path).ok());
    if texts[0] == texts[1] {
        return Some(python);
    }
    let run = |program: &Path, arguments: &[&str], path: &Path| {
        let done = Command::new("timeout").arg("180").arg(program).args(arguments).arg(path).output();
        done.is_ok_and(|done| done.status.success())
    };
    let is_made = run(Path::new("python3"), &["-m", "venv", "--clear"], &folder)
        && run(&python, &["-m", "pip", "install", "--quiet", "--requirement"], &wanted);
    if !is_made {
        eprintln!("SKIPPED: no python3 with venv here, or no requests and py-trello");
        return None;
    }
    std::fs::copy(&wanted, &marker).expect("the folder is there");
    Some(python)
});

pub async fn python_with_libraries() -> Option<&'static PathBuf> {
    tokio::task::spawn_blocking(|| PYTHON.as_ref()).await.expect("no panic")
}

/// A client whose URL nobody can change, as it comes from its registry.
#[tokio::test]
async fn py_trello_as_it_is() {
    let Some(python) = python_with_libraries().await else { return };
    let upstream = crate::edge_support::forge(|request| async move {
        let (path, headers) = (request.uri().path(), request.headers());
        let is_as_sent = path.trim_end_matches('/') == "/1/members/me/boards"
            && headers["host"] == "api.trello.com"
            && headers["authorization"].as_bytes().starts_with(b"OAuth ")
            && !headers.contains_key("proxy-authorization");
        let board = "[{\"id\":\"5abbe4b7ddc1b351ef961414\",\"name\":\"found-it\",\"closed\":false,\
                      \"url\":\"https://trello.com/b/x\"}]";
        let body = if is_as_sent { board.to_owned() } else { format!("{path} {headers:?}") };
        Response::builder().header("content-type", "application/json").body(claimgate::proxy::full(body)).expect("one")
    })
    .await;
    let at = free_address();
    let (gate, setup, root) =
        super::intercepting_as("api.trello.com", &format!("http://{upstream}"), &[(at, "")], "").await;
    let tracker = Tracker { at, root, dir: setup.dir().to_owned(), _gate: (gate, setup) };
    let script = "from trello import TrelloClient\n\
                  client = TrelloClient(api_key='key', api_secret='secret', token='token')\n\
                  print([board.name for board in client.list_boards()])";
    let trello = |tracker: &Tracker| {
        let mut command = tracker.command(python);
        command.args(["-c", script]);
        command
    };
    check(&tracker, "py-trello", trello, by_variable("REQUESTS_CA_BUNDLE")).await;
}

#[tokio::test]
async fn python() {
    let tracker = tracker().await;
    if is_here("python3") {
        let script = format!("import urllib.request as u; print(u.urlopen('https://{HOST}/api/v1/version').read())");
        let standard = |tracker: &Tracker| {
            let mut command = tracker.command("python3");
            command.args(["-c", &script]);
            command
        };
        check(&tracker, "Python's urllib", standard, by_variable("SSL_CERT_FILE")).await;
    }
    if let Some(python) = python_with_libraries().await {
        let script = format!("import requests; print(requests.get('https://{HOST}/api/v1/version').text)");
        let requests = |tracker: &Tracker| {
            let mut command = tracker.command(python);
            command.args(["-c", &script]);
            command
        };
        for variable in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
            check(&tracker, "requests", requests, by_variable(variable)).await;
        }
    }
}

/// By name: the Node of this machine may not know `HTTPS_PROXY` yet.
#[tokio::test]
async fn node() {
    if !is_here("node") {
        return;
    }
    let tracker = tracker().await;
    let (host, port) = (tracker.at.ip(), tracker.at.port());
    let script = tracker.write(
        "client.mjs",
        &format!(
            "import https from 'node:https';\n\
             const at = {{ host: '{host}', port: {port}, servername: '{HOST}', headers: {{ host: '{HOST}' }}, path: '/api/v1/version' }};\n\
             https.get(at, (answer) => answer.pipe(process.stdout)).on('error', (error) => {{ console.error(error); process.exit(1); }});\n"
        ),
    );
    let node = |tracker: &Tracker| {
        let mut command = tracker.command("node");
        command.arg(&script);
        command
    };
    check(&tracker, "Node", node, by_variable("NODE_EXTRA_CA_CERTS")).await;
}

#[tokio::test]
async fn go() {
    if !is_here("go") {
        return;
    }
    let tracker = tracker().await;
    let script = tracker.write(
        "client.go",
        &format!(
            "package main\n\nimport (\n\t\"io\"\n\t\"log\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {{\n\
             \tanswer, err := http.Get(\"https://{HOST}/api/v1/version\")\n\tif err != nil {{\n\t\tlog.Fatal(err)\n\t}}\n\
             \tio.Copy(os.Stdout, answer.Body)\n}}\n"
        ),
    );
    let program = tracker.dir.join("client");
    let built = Command::new("timeout")
        .args(["400", "go", "build", "-o"])
        .args([&program, &script])
        .env("GOFLAGS", "-mod=mod")
        .current_dir(&tracker.dir)
        .output()
        .expect("it runs");
    if !built.status.success() {
        eprintln!("SKIPPED: Go builds nothing here: {}", String::from_utf8_lossy(&built.stderr));
        return;
    }
    check(&tracker, "Go", |tracker| tracker.command(&program), by_variable("SSL_CERT_FILE")).await;
}

#[tokio::test]
async fn java() {
    if !(is_here("java") && is_here("javac") && is_here("keytool")) {
        return;
    }
    let tracker = tracker().await;
    let source = tracker.write(
        "Client.java",
        &format!(
            "public class Client {{\n  public static void main(String[] args) throws Exception {{\n\
             \x20   var stream = new java.net.URL(\"https://{HOST}/api/v1/version\").openStream();\n\
             \x20   System.out.println(new String(stream.readAllBytes()));\n  }}\n}}\n"
        ),
    );
    let store = tracker.dir.join("trusted.p12");
    let made = Command::new("keytool")
        .args([
            "-importcert",
            "-noprompt",
            "-alias",
            "claimgate",
            "-storetype",
            "PKCS12",
            "-storepass",
            "changeit",
            "-file",
        ])
        .arg(&tracker.root)
        .arg("-keystore")
        .arg(&store)
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let java = |tracker: &Tracker| {
        let mut command = tracker.command("java");
        command
            .arg(format!("-Dhttps.proxyHost={}", tracker.at.ip()))
            .arg(format!("-Dhttps.proxyPort={}", tracker.at.port()));
        command
    };
    // The source comes last, so a truststore is given by the variable that every Java reads.
    let with_source = |tracker: &Tracker| {
        let mut command = java(tracker);
        command.arg(&source);
        command
    };
    let trust = |command: &mut Command, _: &Path| {
        let options =
            format!("-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword=changeit", store.display());
        command.env("JAVA_TOOL_OPTIONS", options);
    };
    check(&tracker, "Java", with_source, trust).await;
}
