//! Who may say what the gate does, how a command finds it, and what is seen of that: the operator's socket, `claimgate mode`,
//! readiness, and the set-up as the tracker sees it.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use clap::CommandFactory as _;
use http::Method;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::{JoinHandle, JoinSet};

use crate::e2e::{self, Gate, REPO, Setup, backlog_issue, eventually};

/// A command, as somebody types it in another directory: what it says, on both streams, and its exit code.
async fn claimgate(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLAIMGATE_")) {
        command.env_remove(name);
    }
    let output = command.args(arguments).current_dir("/").stdin(Stdio::null()).output().await.expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The audit's lines of what operators did, once there are so many.
async fn operators_lines(gate: &Gate, count: usize) -> Vec<Value> {
    let lines = || async {
        let lines: Vec<Value> = gate.audit().into_iter().filter(|line| line["kind"] == "operator").collect();
        (lines.len() >= count).then_some(lines)
    };
    eventually(lines, Duration::from_secs(10)).await.unwrap_or_else(|| panic!("{}", gate.stdout()))
}

fn socket(gate: &Gate) -> std::path::PathBuf {
    gate.state_dir().join("operator.sock")
}

/// A port is open to every local user, agents among them: it shows, and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_shows_and_changes_nothing() {
    let forge = e2e::forge(&["ann"]).await;
    let number = backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    gate.agent("ann").claim(number).await.granted();
    let mut port = gate.at_admin_port();
    for path in ["/healthz", "/readyz", "/metrics", "/claims", "/singletons", "/mode"] {
        assert_eq!(port.get(path).await.status, 200, "{path}");
    }
    let release = json!({ "item": format!("{REPO}#{number}") });
    for (method, path, body) in [
        (Method::POST, "/release", release),
        (Method::POST, "/mode", json!({ "mode": "observe" })),
        (Method::DELETE, "/singletons/a/b/c", Value::Null),
    ] {
        let told = port.call(method, path, Some(body)).await;
        assert_eq!(told.status, 403, "{path}: {told:?}");
        assert_eq!(told.json()["socket"], json!(socket(&gate)), "it says where the gate's own user asks");
    }
    assert_eq!(gate.holder(number).await.as_deref(), Some("ann"));
    let found = std::fs::symlink_metadata(socket(&gate)).expect("it is there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
}

/// The port's address is all that a command needs, whatever its directory; the audit has who it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_finds_the_socket_by_the_port() {
    let forge = e2e::forge(&["ann"]).await;
    let number = backlog_issue(&forge).number;
    let mut gate = e2e::gate(&forge).await;
    gate.agent("ann").claim(number).await.granted();
    let (admin, item) = (gate.admin.to_string(), format!("{REPO}#{number}"));
    let (code, said) = claimgate(&["release", &item, "--reason", "worker died", "--admin", &admin]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the holding of ann has ended"), "{said}");
    let (code, said) = claimgate(&["mode", "observe", "workflow", "--admin", &admin]).await;
    assert_eq!(code, Some(0), "{said}");
    let lines = operators_lines(&gate, 2).await;
    let user = format!("user {}, process ", rustix::process::geteuid().as_raw());
    for line in &lines {
        assert!(line["client"].as_str().is_some_and(|by| by.starts_with(&user)), "{line:#}");
    }
    let told = || async { gate.stderr().contains("an operator switched a mode").then_some(()) };
    eventually(told, Duration::from_secs(5)).await.expect("the log says it, too");
    gate.tell(rustix::process::Signal::TERM);
    assert!(gate.ended().await.success());
    assert!(!socket(&gate).exists(), "it goes with the gate");
}

/// With the port off, or a token that is not there any more, the state directory is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_finds_the_socket_by_the_state_directory() {
    let forge = e2e::forge(&[]).await;
    let setup = Setup::before(&forge.base_url());
    let token = setup.dir().join("admin-token");
    e2e::write_private(&token, "s3cret");
    let setup = setup.config(&format!("[server]\nadmin_token_file = {token:?}\n"));
    let gate = setup.start().await;
    let (admin, state) = (gate.admin.to_string(), gate.state_dir().display().to_string());
    let config = setup.dir().join("gate.toml").display().to_string();
    assert_eq!(gate.at_admin_port().get("/claims").await.status, 401);
    let (code, said) = claimgate(&["mode", "observe", "--admin", &admin, "--config", &config]).await;
    assert_eq!(code, Some(0), "{said}");
    let by = operators_lines(&gate, 1).await[0]["client"].clone();
    assert_eq!(by, "the admin token, from 127.0.0.1");
    std::fs::remove_file(&token).expect("it was there");
    for arguments in [
        &["claims", "--admin", &admin, "--config", &config][..],
        &["mode", "--admin", &admin],
        &["mode", "enforce", "--admin", "off", "--state-dir", &state],
        &["health", "--admin", "off", "--state-dir", &state],
        &["report", "--config", &config, "--state-dir", &state],
    ] {
        let (code, said) = claimgate(arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
    let (code, said) = claimgate(&["mode", "observe", "--admin", "off"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/state/operator.sock") && said.contains("--state-dir"), "{said}");
}

/// Another user is refused by the file's mode; where there is no other to try it with, by what the mode is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_is_refused() {
    let forge = e2e::forge(&[]).await;
    let gate = e2e::gate(&forge).await;
    let setpriv = Path::new("/usr/bin/setpriv");
    if !rustix::process::geteuid().is_root() || !setpriv.exists() {
        eprintln!("SKIPPED: this needs root and setpriv");
        return;
    }
    // Even a socket that everybody could open asks who it is.
    let mut open = gate.state_dir().to_owned();
    while open.starts_with("/tmp") && open != Path::new("/tmp") {
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).expect("ours");
        open.pop();
    }
    let binary = gate.state_dir().join("claimgate");
    std::fs::copy(env!("CARGO_BIN_EXE_claimgate"), &binary).expect("a copy that anybody can run");
    for mode in [0o600, 0o666] {
        std::fs::set_permissions(socket(&gate), std::fs::Permissions::from_mode(mode)).expect("ours");
        let output = Command::new(setpriv)
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary)
            .args(["mode", "observe", "--admin", &gate.admin.to_string()])
            .current_dir("/")
            .output()
            .await
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{mode:o}: {said}");
    }
    let modes = gate.operator().get("/mode").await.json();
    assert!(modes["modes"].as_array().expect("a list").iter().all(|rule| rule["mode"] == "enforce"), "{modes:#}");
}

/// Which modes are in force is told by the gate, not by its file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_modes_in_force_are_told() {
    let forge = e2e::forge(&[]).await;
    let setup = Setup::before(&forge.base_url()).config("[workflow]\nmode = \"observe\"\n");
    let gate = setup.start().await;
    let admin = gate.admin.to_string();
    let row = |said: &str, rule: &str| {
        let line = said.lines().find(|line| line.starts_with(rule)).unwrap_or_default();
        line.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
    };
    let (_, said) = claimgate(&["mode", "--admin", &admin]).await;
    assert_eq!(row(&said, "assignment"), "assignment enforce the configuration", "{said}");
    assert_eq!(row(&said, "workflow"), "workflow observe the configuration", "{said}");
    assert_eq!(claimgate(&["mode", "enforce", "workflow", "--admin", &admin]).await.0, Some(0));
    assert_eq!(claimgate(&["mode", "observe", "assignment", "--admin", &admin]).await.0, Some(0));
    let (_, said) = claimgate(&["mode", "--admin", &admin]).await;
    assert_eq!(row(&said, "assignment"), "assignment observe claimgate mode,", "{said}");
    let metrics = gate.operator().get("/metrics").await.text();
    for line in ["claimgate_mode{rule=\"assignment\"} 0", "claimgate_mode{rule=\"workflow\"} 1"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    // A crash undoes both switches: said at the start, once.
    gate.kill().await;
    let gate = setup.start().await;
    let said =
        |gate: &Gate| gate.stderr().lines().any(|line| line.contains("before the restart") && line.contains("WARN"));
    eventually(|| async { said(&gate).then_some(()) }, Duration::from_secs(5)).await.expect("it is warned of");
    assert!(gate.stderr().contains("assignment: enforce, workflow: observe"), "{}", gate.stderr());
    gate.kill().await;
    let gate = setup.start().await;
    gate.operator().get("/mode").await;
    assert!(!said(&gate), "{}", gate.stderr());
}

/// A switch is in the log and in the audit under one name, is counted, and holds from the next write on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_of_a_mode_is_recorded_and_counted() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let number = backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let admin = gate.admin.to_string();
    gate.agent("ann").claim(number).await.granted();
    gate.agent("bob").claim(number).await.refused(409, "already_assigned");
    assert_eq!(gauge(&gate, "claimgate_mode_switches_total").await.as_deref(), Some("0"));
    let told = |line: &Value| ["decision", "by", "mode", "rule", "level"].map(|name| line[name].clone());
    for (at, words, reason, rule, in_force) in [
        (0, &["observe", "assignment"][..], "mode observe for assignment", "assignment", "0"),
        (1, &["enforce"], "mode enforce for all rules", "all rules", "1"),
    ] {
        let (code, said) = claimgate(&[&["mode", "--admin", &admin], words].concat()).await;
        assert_eq!(code, Some(0), "{said}");
        let line = &operators_lines(&gate, at + 1).await[at];
        assert_eq!((&line["reason"], line["id"].is_string()), (&json!(reason), true), "{line:#}");
        let logged = || async {
            let said = gate.stderr();
            let lines = said.lines().filter(|line| line.contains("an operator switched a mode"));
            let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
            (lines.len() > at).then_some(lines)
        };
        let lines = eventually(logged, Duration::from_secs(5)).await.expect("the log says it");
        let wanted = [&line["id"], &line["client"], &json!(words[0]), &json!(rule), &json!("WARN")].map(Value::clone);
        assert_eq!((lines.len(), told(&lines[at])), (at + 1, wanted));
        let counted = (at + 1).to_string();
        assert_eq!(gauge(&gate, "claimgate_mode_switches_total").await, Some(counted));
        assert_eq!(gauge(&gate, "claimgate_mode{rule=\"assignment\"}").await.as_deref(), Some(in_force));
        if in_force == "0" {
            let passed = gate.agent("bob").claim(number).await;
            assert!(
                passed.status == 201 && passed.decision().starts_with("observe; code=already_assigned"),
                "{passed:?}"
            );
        }
    }
    gate.agent("ann").claim(number).await.refused(409, "already_assigned");
    e2e::stop_and_verify(gate, 6).await;
}

/// The gauge's value, or none where it is not shown.
async fn gauge(gate: &Gate, name: &str) -> Option<String> {
    let metrics = gate.operator().get("/metrics").await.text();
    metrics.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
}

async fn until(what: &str, look: impl AsyncFn() -> bool) {
    let look = || async { look().await.then_some(()) };
    eventually(look, Duration::from_secs(15)).await.unwrap_or_else(|| panic!("{what}"));
}

/// Lines of the log by level that have this in them.
fn logged(gate: &Gate, level: &str, words: &str) -> usize {
    gate.stderr().lines().filter(|line| line.contains(level) && line.contains(words)).count()
}

/// Where guarded writes cannot be served the gate is not ready, and says why; when they can be, it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_without_a_ledger_is_not_ready() {
    let forge = e2e::forge(&["ann"]).await;
    let setup = Setup::before(&forge.base_url());
    std::fs::write(setup.state(), "").expect("a file in the directory's place");
    let gate = setup.start().await;
    let mut port = gate.at_admin_port();
    until("not ready from the start", async || gate.at_admin_port().get("/readyz").await.status == 503).await;
    let told = port.get("/readyz").await.text();
    assert!(told.contains("the ledger is not available"), "{told}");
    let metrics = port.get("/metrics").await.text();
    assert!(metrics.contains("\nclaimgate_ledger_up 0\n"), "{metrics}");
    assert_eq!(port.get("/healthz").await.status, 200, "it lives");
    let (code, said) = claimgate(&["health", "--ready", "--admin", &gate.admin.to_string()]).await;
    assert_eq!(code, Some(1), "{said}");
    // Without a single write it heals.
    std::fs::remove_file(setup.state()).expect("ours");
    until("ready again", async || gate.at_admin_port().get("/readyz").await.status == 200).await;
    assert!(port.get("/metrics").await.text().contains("\nclaimgate_ledger_up 1\n"));
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    // And one that goes while nobody writes.
    std::fs::rename(setup.state().join("ledger.sqlite"), setup.state().join("elsewhere")).expect("ours");
    until("not ready without its file", async || gate.at_admin_port().get("/readyz").await.status == 503).await;
}

/// A disk that is full is noticed before somebody claims, and so is room on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_on_a_full_disk_is_not_ready() {
    let forge = e2e::forge(&["ann"]).await;
    // The kernel's signal about a file that may not grow is ignored: writes fail.
    let gate = Setup::before(&forge.base_url()).shell("trap '' XFSZ").start().await;
    let files_up_to = |current| {
        let limit = rustix::process::Rlimit { current, maximum: None };
        rustix::process::prlimit(Some(gate.pid()), rustix::process::Resource::Fsize, limit).expect("it can be limited");
    };
    let ready = async || gate.at_admin_port().get("/readyz").await;
    until("ready at first", async || ready().await.status == 200).await;
    files_up_to(Some(1));
    until("not ready when nothing can be written", async || ready().await.status == 503).await;
    let told = ready().await.text();
    assert!(told.contains("the ledger is not available"), "{told}");
    assert_eq!(gauge(&gate, "claimgate_ledger_up").await.as_deref(), Some("0"));
    files_up_to(None);
    until("ready again", async || ready().await.status == 200).await;
    assert_eq!(gauge(&gate, "claimgate_ledger_up").await.as_deref(), Some("1"));
    gate.agent("ann").claim(backlog_issue(&forge).number).await.granted();
}

/// One line when the tracker goes, and one when it comes back, whatever is asked meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracker_that_is_gone_is_told_once() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = place.local_addr().expect("an address");
    drop(place);
    let gate = Setup::before(&format!("http://{address}")).start().await;
    let mut ann = gate.agent("ann");
    for _ in 0..20 {
        assert_eq!(ann.get("/api/v1/version").await.status, 502);
        assert_eq!(ann.claim(7).await.status, 502);
    }
    assert_eq!(gauge(&gate, "claimgate_upstream_up").await.as_deref(), Some("0"));
    let about_it = |level| logged(&gate, level, "upstream.error") + logged(&gate, level, "pass failed");
    assert_eq!((about_it("WARN"), about_it("ERROR")), (1, 0), "{}", gate.stderr());
    assert_eq!(logged(&gate, "WARN", "the tracker cannot be reached"), 1);
    let ready = gate.at_admin_port().get("/readyz").await;
    assert_eq!((ready.status, ready.text().contains("the tracker is not available")), (503, true), "{ready:?}");
    let back = TcpListener::bind(address).await.expect("its port again");
    let accepting = tokio::spawn(async move { while back.accept().await.is_ok() {} });
    until("seen again", async || gauge(&gate, "claimgate_upstream_up").await.as_deref() == Some("1")).await;
    assert_eq!(logged(&gate, "INFO", "the tracker can be reached again"), 1, "{}", gate.stderr());
    assert_eq!(gate.at_admin_port().get("/readyz").await.status, 200);
    accepting.abort();
}

/// What leads to the forge at an address of its own, until it is aborted.
fn relay(place: TcpListener, forge: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut client, _)) = place.accept().await {
            open.spawn(async move {
                let mut there = TcpStream::connect(forge).await?;
                tokio::io::copy_bidirectional(&mut client, &mut there).await
            });
        }
    })
}

/// It goes and comes back twice: each time is one line, whoever asks how often, and the gauge follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracker_that_comes_back_is_told_once() {
    let forge = e2e::forge(&["ann"]).await;
    let number = backlog_issue(&forge).number;
    let upstream = forge.base_url().strip_prefix("http://").expect("a URL").parse().expect("an address");
    let place = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = place.local_addr().expect("an address");
    let mut there = relay(place, upstream);
    let gate = Setup::before(&format!("http://{address}")).start().await;
    let mut ann = gate.agent("ann");
    for round in 1..=2 {
        ann.claim(number).await.granted();
        assert_eq!(gauge(&gate, "claimgate_upstream_up").await.as_deref(), Some("1"));
        there.abort();
        drop(there.await);
        for _ in 0..10 {
            assert_eq!(ann.get("/api/v1/version").await.status, 502);
            assert_eq!(ann.claim(number).await.status, 502);
        }
        assert_eq!(gauge(&gate, "claimgate_upstream_up").await.as_deref(), Some("0"));
        there = relay(TcpListener::bind(address).await.expect("its port again"), upstream);
        for _ in 0..10 {
            assert_eq!(ann.get("/api/v1/version").await.status, 200);
            ann.claim(number).await.granted();
        }
        assert_eq!(gauge(&gate, "claimgate_upstream_up").await.as_deref(), Some("1"));
        let said = |level, words| logged(&gate, level, words);
        let told = (said("WARN", "the tracker cannot be reached"), said("INFO", "the tracker can be reached again"));
        assert_eq!(told, (round, round), "{}", gate.stderr());
    }
    there.abort();
}

/// What is set up wrongly between the gate and the tracker is seen at the start, not on the day when it is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setup_is_told_at_the_start() {
    let forge = e2e::forge(&[]).await;
    for (token, public, token_valid, links_match) in
        [("wrong", "https://forge.example", "0", "0"), (&*e2e::token("acme"), &*forge.base_url(), "1", "1")]
    {
        let setup = Setup::before(&forge.base_url());
        let file = setup.dir().join("token");
        e2e::write_private(&file, token);
        let config = format!("[upstream]\nservice_token_file = {file:?}\npublic_url = {public:?}\n");
        let gate = setup.config(&config).start().await;
        until("the token is looked at", async || {
            gauge(&gate, "claimgate_service_token_valid").await.as_deref() == Some(token_valid)
        })
        .await;
        until("the links are looked at", async || {
            gauge(&gate, "claimgate_public_url_matches").await.as_deref() == Some(links_match)
        })
        .await;
        let warned = usize::from(token == "wrong");
        assert_eq!(logged(&gate, "WARN", "does not know the gate's service token"), warned);
        assert_eq!(logged(&gate, "WARN", "do not lead to upstream.public_url"), warned, "{}", gate.stderr());
    }
}

/// A reload is in the audit with what it changed, and counted, whether it was taken or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_recorded_and_counted() {
    let forge = e2e::forge(&[]).await;
    let setup = Setup::before(&forge.base_url());
    let gate = setup.start().await;
    assert_eq!(gauge(&gate, "claimgate_config_last_reload_successful").await.as_deref(), Some("1"));
    let at = gauge(&gate, "claimgate_config_last_reload_success_timestamp_seconds").await.expect("it is shown");
    assert!(at.parse::<u64>().is_ok_and(|at| at > 1_700_000_000), "{at}");
    let file = setup.dir().join("gate.toml");
    std::fs::write(&file, "[assignment]\noverriders = [\"ann\"]\n").expect("ours");
    gate.tell(rustix::process::Signal::HUP);
    let lines = operators_lines(&gate, 1).await;
    let wanted = "configuration reloaded: assignment.overriders: [] -> [\"ann\"]";
    assert_eq!((&lines[0]["reason"], &lines[0]["client"]), (&json!(wanted), &json!("SIGHUP")));
    std::fs::write(&file, "[assignment]\noveriders = []\n").expect("ours");
    gate.tell(rustix::process::Signal::HUP);
    let lines = operators_lines(&gate, 2).await;
    assert!(lines[1]["reason"].as_str().is_some_and(|why| why.contains("not reloaded")), "{lines:#?}");
    assert_eq!(gauge(&gate, "claimgate_config_last_reload_successful").await.as_deref(), Some("0"));
    e2e::stop_and_verify(gate, 2).await;
}

/// What somebody moved away, as logrotate does, gets no more lines; none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_file_that_was_moved_is_begun_anew() {
    let forge = e2e::forge(&["ann"]).await;
    let setup = Setup::before(&forge.base_url());
    let (file, moved) = (setup.dir().join("audit.jsonl"), setup.dir().join("audit.jsonl.old"));
    let gate = setup.config(&format!("[audit]\nfile = {file:?}\n")).start().await;
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let mut ann = gate.agent("ann");
    ann.claim(backlog_issue(&forge).number).await.granted();
    until("the first line", async || lines(&file) == 1).await;
    std::fs::rename(&file, &moved).expect("ours");
    ann.claim(backlog_issue(&forge).number).await.granted();
    until("the second line", async || lines(&file) == 1).await;
    assert_eq!(lines(&moved), 1);
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let both = [moved.display().to_string(), file.display().to_string()];
    let (code, said) = claimgate(&["audit", "verify", &both[0], &both[1]]).await;
    assert_eq!(code, Some(0), "{said}");
}

/// A script finds in each command's help what its exit code means, and it is so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_help_says_the_exit_codes() {
    fn leaves(command: &clap::Command, before: &[String], all: &mut Vec<Vec<String>>) {
        let below: Vec<_> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
        for below in &below {
            leaves(below, &[before, &[below.get_name().to_owned()]].concat(), all);
        }
        if below.is_empty() {
            all.push(before.to_vec());
        }
    }
    let mut all = vec![Vec::new()];
    leaves(&claimgate::cli::Cli::command(), &[], &mut all);
    assert!(all.len() > 10, "{all:?}");
    for command in &all {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (code, said) = claimgate(&arguments).await;
        let codes = said.split("Exit codes: 0 ").nth(1).unwrap_or_else(|| panic!("{command:?}: {said}"));
        assert_eq!((code, codes.contains("3 ")), (Some(0), command == &["scan"]), "{codes}");
        arguments.pop();
        arguments.push("--no-such-flag");
        assert_eq!(claimgate(&arguments).await.0, Some(2), "{command:?}");
    }
    let (code, said) = claimgate(&["audit", "verify", "/nowhere/audit.jsonl"]).await;
    assert_eq!(code, Some(2), "{said}");
}

/// What is wrong between gate and tracker is found before the start, by one command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_asks_the_tracker() {
    let forge = e2e::forge(&["ann"]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let (token, config) = (dir.path().join("token"), dir.path().join("gate.toml"));
    let check = async |secret: &str, more: &str, public: &str| {
        e2e::write_private(&token, secret);
        let (url, state) = (forge.base_url(), dir.path().join("state"));
        let text = format!(
            "[server]\nstate_dir = {state:?}\n[upstream]\nurl = {url:?}\npublic_url = {public:?}\n\
             service_token_file = {token:?}\n{more}"
        );
        std::fs::write(&config, text).expect("ours");
        claimgate(&["check", "--online", "--config", config.to_str().expect("UTF-8")]).await
    };
    let (acme, base) = (e2e::token("acme"), forge.base_url());
    let (code, said) = check(&acme, "[assignment]\noverriders = [\"ann\"]\n", &base).await;
    assert_eq!(code, Some(0), "{said}");
    for words in [
        "ok       the state directory",
        "is forgejo 1.",
        "ok       the tracker's links lead to upstream.public_url",
        "ok       the service token is acme's",
        "ok       assignment.overriders: there is an account ann",
        "ok       1 repository can be seen",
        "ok       the labels that are statuses exist",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (code, said) = check("wrong", "[identity]\nshared_accounts = [\"nobody\"]\n", "https://forge.example").await;
    assert_eq!(code, Some(1), "{said}");
    for words in ["failed   the tracker's links lead to", "failed   the tracker does not know the service token"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (_, said) = check(&acme, "[identity]\nshared_accounts = [\"nobody\"]\n", &base).await;
    assert!(said.contains("failed   identity.shared_accounts: there is no account nobody"), "{said}");
    forge.add_repo("acme", "bare");
    let (code, said) = check(&acme, "", &base).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning  labels that are statuses are missing: acme/bare (backlog, "), "{said}");
    assert!(forge.requests().iter().all(|request| request.method == "GET"), "it changes nothing");
    let state = dir.path().join("state");
    std::fs::write(&state, "").expect("a file in the directory's place");
    let (code, said) = check(&acme, "", &base).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("failed   the state directory"), "{said}");
}
