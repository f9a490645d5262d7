//! `git clone` and `git push` over smart HTTP, with git's own backend behind the gate.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use claimgate::proxy::{Body, full};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::edge_support::{Gate, forge, soon};

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
        .env_remove("http_proxy")
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_and_push() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("served");
    std::fs::create_dir(&root).unwrap();
    git(&root, &["init", "--bare", "-b", "main", "repo.git"]).await;
    git(&root.join("repo.git"), &["config", "http.receivepack", "true"]).await;
    let served = Arc::new(root.clone());
    let gate = Gate::before(forge(move |request| cgi(Arc::clone(&served), request)).await);

    let url = format!("http://{}/as/bot-1/repo.git", gate.address);
    let work = dir.path().join("work");
    soon(git(dir.path(), &["clone", &url, "work"])).await;
    // Incompressible and above `http.postBuffer`, so that git probes first and then pushes in chunks.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(3 << 20)
    .collect();
    std::fs::write(work.join("noise"), &noise).unwrap();
    git(&work, &["checkout", "-b", "main"]).await;
    git(&work, &["add", "."]).await;
    git(&work, &["commit", "-m", "noise"]).await;
    soon(git(&work, &["push", "origin", "main"])).await;

    soon(git(dir.path(), &["clone", &format!("http://{}/repo.git", gate.address), "again"])).await;
    assert_eq!(std::fs::read(dir.path().join("again/noise")).unwrap(), noise);
    let pushed = git(&work, &["rev-parse", "HEAD"]).await;
    assert_eq!(git(&root.join("repo.git"), &["rev-parse", "main"]).await, pushed);
}
