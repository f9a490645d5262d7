//! `git clone` and `git push` over smart HTTP, with git's own backend behind the gate; at the root, and below a path together with LFS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use claimgate::fake_forge::Options;
use claimgate::proxy::{Body, full};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use crate::e2e::{self, REPO, Setup};
use crate::edge_support::{Gate, client, forge, soon};
use crate::edge_tls::{acceptor, certificate, connect_to};

/// The path below which the tracker is served.
const BELOW: &str = "/forge";

/// Without git there is nothing to test, and the reader of the output is told so.
fn has_git() -> bool {
    let is_there = std::process::Command::new("git").args(["http-backend", "--version"]).output().is_ok();
    if !is_there {
        eprintln!("SKIPPED: there is no `git` on the path, so nothing was cloned or pushed");
    }
    is_there
}

/// RFC 3875, as much as `git http-backend` needs.
async fn cgi(root: Arc<PathBuf>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map_or("", |it| it.to_str().unwrap()).to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root.as_path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "tester")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    tokio::spawn(async move {
        let _ = input.write_all(&body).await;
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(&value[..3]),
            _ => response.header(name, value),
        };
    }
    response.body(full(Bytes::copy_from_slice(&output[end + 4..]))).unwrap()
}

async fn git(at: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.version=2",
        ])
        .args(arguments)
        .current_dir(at)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_SSL_CAINFO", at.join("ca.pem"))
        .env_remove("http_proxy")
        .env_remove("https_proxy")
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A bare repository that may be pushed to.
async fn serve_repository(root: &Path, name: &str) {
    std::fs::create_dir_all(root).unwrap();
    git(root, &["init", "--bare", "-b", "main", name]).await;
    git(&root.join(name), &["config", "http.receivepack", "true"]).await;
}

/// Incompressible and above `http.postBuffer`, so that git probes first and then pushes in chunks.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    bytes.take(3 << 20).collect()
}

/// A commit of noise on `main`.
async fn commit(work: &Path) -> Vec<u8> {
    let noise = noise();
    std::fs::write(work.join("noise"), &noise).unwrap();
    git(work, &["checkout", "-b", "main"]).await;
    git(work, &["add", "noise"]).await;
    git(work, &["commit", "-m", "noise"]).await;
    noise
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_and_push() {
    if !has_git() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("served");
    serve_repository(&root, "repo.git").await;
    let served = Arc::new(root.clone());
    let gate = Gate::before(forge(move |request| cgi(Arc::clone(&served), request)).await);

    let url = format!("http://{}/as/bot-1/repo.git", gate.address);
    let work = dir.path().join("work");
    soon(git(dir.path(), &["clone", &url, "work"])).await;
    let noise = commit(&work).await;
    soon(git(&work, &["push", "origin", "main"])).await;

    soon(git(dir.path(), &["clone", &format!("http://{}/repo.git", gate.address), "again"])).await;
    assert_eq!(std::fs::read(dir.path().join("again/noise")).unwrap(), noise);
    let pushed = git(&work, &["rev-parse", "HEAD"]).await;
    assert_eq!(git(&root.join("repo.git"), &["rev-parse", "main"]).await, pushed);
}

// === below a path ===

/// A tracker of three parts: its API, git's own backend, and a store for LFS.
struct Tracker {
    /// The root of its links.
    public: String,
    api: SocketAddr,
    root: Arc<PathBuf>,
    objects: Mutex<HashMap<String, Bytes>>,
}

impl Tracker {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path().split_once(".git/info/lfs/objects/") {
            Some((_, "batch")) => self.batch(request).await,
            Some((_, object)) => {
                let object = object.to_owned();
                self.object(&object, request).await
            }
            None if request.uri().path().contains(".git/") => cgi(Arc::clone(&self.root), request).await,
            None => client(self.api).await.send_request(request).await.unwrap().map(claimgate::proxy::boxed),
        }
    }

    /// As Forgejo answers it: each address is made of `ROOT_URL`.
    async fn batch(&self, request: Request<Incoming>) -> Response<Body> {
        let asked: Value = serde_json::from_slice(&request.collect().await.unwrap().to_bytes()).unwrap();
        let (operation, object) = (asked["operation"].as_str().unwrap(), &asked["objects"][0]);
        let href = format!("{}/{REPO}.git/info/lfs/objects/{}", self.public, object["oid"].as_str().unwrap());
        let object = json!({
            "oid": object["oid"], "size": object["size"], "authenticated": true,
            "actions": { operation: { "href": href } },
        });
        let answer = json!({ "transfer": "basic", "objects": [object] }).to_string();
        Response::builder().header("content-type", "application/vnd.git-lfs+json").body(full(answer)).unwrap()
    }

    async fn object(&self, name: &str, request: Request<Incoming>) -> Response<Body> {
        if *request.method() == Method::PUT {
            let bytes = request.collect().await.unwrap().to_bytes();
            self.objects.lock().unwrap().insert(name.to_owned(), bytes);
            return Response::new(full(""));
        }
        let found = self.objects.lock().unwrap().get(name).cloned();
        let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        Response::builder().status(status).body(full(found.unwrap_or_default())).unwrap()
    }
}

/// What ends TLS in front of the gate, and knows nothing else.
async fn front(listener: TcpListener, acceptor: TlsAcceptor, gate: SocketAddr) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut stream = acceptor.accept(stream).await?;
            copy_bidirectional(&mut stream, &mut TcpStream::connect(gate).await?).await
        });
    }
}

/// One call of a whole address, as the answer before it gave it.
async fn call(trust: &CertifiedKey<KeyPair>, method: Method, url: &str, body: Vec<u8>) -> Bytes {
    let (authority, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    let address: SocketAddr = authority.replace("localhost", "127.0.0.1").parse().unwrap();
    let stream = connect_to("localhost", address, trust, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(format!("/{path}"))
        .header("host", authority)
        .header("authorization", format!("token {}", e2e::token("dev")))
        .header("content-type", "application/vnd.git-lfs+json")
        .body(Full::<Bytes>::from(body))
        .unwrap();
    let answer = soon(sender.send_request(request)).await.unwrap();
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer.into_body().collect().await.unwrap().to_bytes()
}

/// TLS ends in front of the gate, and all is served below a path, of which `kept` goes on to the tracker.
async fn check_below_a_path(kept: &str) {
    if !has_git() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = certificate("localhost");
    std::fs::write(dir.path().join("ca.pem"), made.cert.pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let public = format!("https://localhost:{}{BELOW}", listener.local_addr().unwrap().port());
    let options = Options { sub_path: kept.to_owned(), ..Options::default() };
    let fake = e2e::forge_with(options.root_url(&public), &["dev"]).await;
    // The backend knows its repositories by the whole path.
    let root = dir.path().join("served");
    let below = root.join(kept.trim_start_matches('/')).join("acme");
    serve_repository(&below, "app.git").await;
    let objects = Mutex::default();
    let tracker = Arc::new(Tracker { public: public.clone(), api: fake.addr(), root: Arc::new(root), objects });
    let upstream = forge(move |request| Arc::clone(&tracker).answer(request)).await;
    let setup = Setup::before(&format!("http://{upstream}{kept}"));
    let gate = setup.config(&format!("[upstream]\npublic_url = \"{public}/\"\n")).start().await;
    tokio::spawn(front(listener, acceptor(&made), gate.address));

    let shown = call(&made, Method::GET, &format!("{public}/api/v1/repos/{REPO}"), Vec::new()).await;
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    let clone_url = shown["clone_url"].as_str().unwrap();
    assert!(clone_url.starts_with(&public), "{clone_url}");
    soon(git(dir.path(), &["clone", clone_url, "work"])).await;
    let work = dir.path().join("work");
    std::fs::copy(dir.path().join("ca.pem"), work.join("ca.pem")).unwrap();
    let noise = commit(&work).await;
    soon(git(&work, &["push", "origin", "main"])).await;
    soon(git(dir.path(), &["clone", clone_url, "again"])).await;
    assert_eq!(std::fs::read(dir.path().join("again/noise")).unwrap(), noise);

    let batch = format!("{clone_url}/info/lfs/objects/batch");
    let mut href = HashMap::new();
    for operation in ["upload", "download"] {
        let asked = json!({ "operation": operation, "objects": [{ "oid": "ab".repeat(32), "size": noise.len() }] });
        let answer = call(&made, Method::POST, &batch, asked.to_string().into()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let led = answer["objects"][0]["actions"][operation]["href"].as_str().unwrap().to_owned();
        assert!(led.starts_with(&public), "{led}");
        href.insert(operation, led);
    }
    call(&made, Method::PUT, &href["upload"], noise.clone()).await;
    assert_eq!(call(&made, Method::GET, &href["download"], Vec::new()).await, noise);
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_push_and_lfs_below_a_path_that_the_gate_takes_off() {
    check_below_a_path("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_push_and_lfs_below_a_path_that_the_tracker_has_too() {
    check_below_a_path(BELOW).await;
}
