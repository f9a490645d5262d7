//! Unix sockets, each for one agent.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::BOT;
use crate::e2e::{self, Client, Gate, Setup, backlog_issue, issue, token};

fn listener(path: &Path, more: &str) -> String {
    format!("[[server.listener]]\naddress = \"unix:{}\"\n{more}", path.display())
}

/// Two agents behind one account, each with a socket of its own.
async fn two(upstream: &str) -> (Gate, Setup, [PathBuf; 2]) {
    let setup = Setup::before(upstream);
    let paths = ["alice", "bob"].map(|name| setup.dir().join(format!("{name}.sock")));
    // Whoever is not root may give it to a group of its own only.
    let group = if rustix::process::geteuid().is_root() { "group = \"root\"\n" } else { "" };
    let config = format!(
        "[upstream]\npublic_url = \"https://git.example\"\n[identity]\nshared_accounts = [\"{BOT}\"]\n{}{}",
        listener(&paths[0], &format!("instance = \"alice\"\nmode = \"0660\"\n{group}")),
        listener(&paths[1], "instance = \"bob\"\n"),
    );
    let setup = setup.config(&config);
    (setup.start().await, setup, paths)
}

fn at(gate: &Gate, path: &Path) -> Client {
    gate.agent(BOT).over(path)
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn agents_on_sockets_of_their_own_are_told_apart() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let (gate, _setup, [alice, bob]) = two(&forge.base_url()).await;
    assert_eq!((mode(&alice), mode(&bob)), (0o660, 0o600));
    at(&gate, &bob).claim(number).await.granted();
    let refused = at(&gate, &alice).claim(number).await;
    refused.refused(409, "already_assigned");
    assert_eq!(gate.claim(number).await["agent"], json!({ "account": BOT, "instance": "bob" }));
    at(&gate, &bob).claim(number).await.granted();
    // A name that is not the socket's is two names.
    let two_names = at(&gate, &bob).with("claimgate-agent", "alice").claim(number).await;
    two_names.refused(409, "identity_required");
    gate.agent(BOT).claim(number).await.refused(409, "identity_required");
    e2e::stop_and_verify(gate, 5).await;
    assert!(!alice.exists() && !bob.exists(), "they go with the gate");
}

/// As a client with `http_unix_socket` speaks: no TLS, and the host that it would have asked for. What it is told to follow is
/// as the tracker says it, so that it comes by the same socket.
#[tokio::test]
async fn a_client_asks_over_a_socket_for_the_trackers_own_name() {
    let forge = e2e::forge(&[BOT]).await;
    for _ in 0..3 {
        backlog_issue(&forge);
    }
    let (gate, _setup, [alice, _]) = two(&forge.base_url()).await;
    let path = "/api/v1/repos/acme/app/issues?limit=1&state=open";
    for (host, base) in [
        ("git.example".to_owned(), "https://git.example".to_owned()),
        (forge.addr().to_string(), format!("http://{}", forge.addr())),
    ] {
        let answer = at(&gate, &alice).asking_for(&host).get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let link = answer.headers["link"].to_str().expect("text");
        assert!(link.contains(&format!("<{base}/api/v1/repos/acme/app/issues?")), "{link}");
        assert!(!link.contains("/as/"), "{link}");
    }
}

#[tokio::test]
async fn curl_claims_over_a_socket() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let (_gate, _setup, [alice, _]) = two(&forge.base_url()).await;
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--write-out", " %{http_code}", "--unix-socket"]).arg(&alice);
    command.args(["--request", "PATCH", "--header", "content-type: application/json"]);
    command.args(["--header", &format!("authorization: token {}", token(BOT))]);
    command.args([
        "--data",
        &format!("{{\"assignees\":[\"{BOT}\"]}}"),
        &format!("http://git.example{}", issue(number)),
    ]);
    let Ok(output) = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic") else {
        eprintln!("SKIPPED: there is no curl here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.ends_with(" 201"), "{said}");
    assert_eq!(forge.issue(e2e::REPO, number).assignees, [BOT]);
}

#[tokio::test]
async fn a_dead_gates_socket_is_replaced_and_a_live_ones_is_not() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let setup = Setup::before(&forge.base_url());
    let path = setup.dir().join("agent.sock");
    let setup = setup.config(&listener(&path, ""));
    setup.start().await.kill().await;
    assert!(std::fs::symlink_metadata(&path).expect("left behind").file_type().is_socket());

    let gate = setup.start().await;
    assert_eq!(at(&gate, &path).get(&issue(number)).await.status, 200);
    let other = Setup::before(&forge.base_url()).config(&listener(&path, ""));
    let (status, said) = other.refused_to_start().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let why =
        format!("error: [[server.listener]]: cannot listen on unix:{}: somebody listens on it already", path.display());
    assert!(said.contains(&why), "{said}");
    assert_eq!(at(&gate, &path).get(&issue(number)).await.status, 200, "the first one serves on");
    assert!(gate.stop().await.success());
    assert!(!path.exists());
}

/// While the old gate lets its last request finish, a new one may have taken the place: its socket stays.
#[tokio::test]
async fn what_another_gate_made_meanwhile_is_left_alone() {
    let forge = e2e::forge(&[BOT]).await;
    let setup = Setup::before(&forge.base_url());
    let path = setup.dir().join("agent.sock");
    let setup = setup.config(&listener(&path, ""));
    let mut gate = setup.start().await;
    std::fs::remove_file(&path).expect("removed");
    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    gate.tell(Signal::TERM);
    assert!(gate.ended().await.success());
    assert!(path.exists());
}

#[tokio::test]
async fn the_gate_may_have_a_socket_alone() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let setup = Setup::before(&forge.base_url());
    let (main, port) = (setup.dir().join("gate.sock"), super::free_address());
    // The helper waits for a listener with a port.
    let further = format!("[[server.listener]]\naddress = \"{port}\"\n");
    let gate = setup.config(&further).listen(&format!("unix:{}", main.display())).start().await;
    assert_eq!(at(&gate, &main).get(&issue(number)).await.status, 200);
    assert_eq!(mode(&main), 0o600);
}

#[tokio::test]
async fn an_owner_that_is_nobody_is_told_at_its_key() {
    let setup = Setup::before("http://127.0.0.1:1");
    let path = setup.dir().join("agent.sock");
    let setup = setup.config(&listener(&path, "owner = \"no-such-user\"\n"));
    let checked = super::claimgate(&setup, &["check"]).await;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(
        said.contains("there is no user `no-such-user` on this system") && said.contains("command.toml:3:"),
        "{said}"
    );
}
