//! What an operator sees of a running gate: the board and those who show it, in the terminal and in a browser.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use claimgate::fake_forge::{FakeForge, Fault, Matcher, Options};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::e2e::{self, Gate, REPO, Setup, backlog_issue, eventually};

mod alerts;
mod browser;

/// A command as somebody types it: its exit code, and what it says on each stream.
async fn claimgate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(arguments).stdin(Stdio::null()).output().await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLAIMGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir("/").kill_on_drop(true);
    command
}

fn item(number: u64) -> String {
    format!("{REPO}#{number}")
}

/// A gate with a service token and a secret for webhooks.
async fn watching_gate(forge: &FakeForge, config: &str) -> (Setup, Gate) {
    let setup = Setup::before(&forge.base_url());
    let (token, secret) = (setup.dir().join("token"), setup.dir().join("secret"));
    e2e::write_private(&token, &e2e::token("acme"));
    e2e::write_private(&secret, "hook");
    let (token, secret) = (token.display(), secret.display());
    let upstream =
        format!("[upstream]\nservice_token_file = \"{token}\"\nwebhook_secret_file = \"{secret}\"\n{config}");
    let setup = setup.config(&upstream);
    let gate = setup.start().await;
    (setup, gate)
}

// === status, claims, refusals ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_screen_tells_how_the_gate_is() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let (_setup, gate) = watching_gate(&forge, "[workflow]\nmode = \"observe\"\n").await;
    let admin = gate.admin.to_string();
    let (one, two) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    gate.agent("ann").claim(one).await.granted();
    gate.agent("ann").claim(two).await.granted();
    gate.agent("bob").claim(one).await.refused(409, "already_assigned");
    let (code, said, err) = claimgate(&["status", "--admin", &admin]).await;
    assert_eq!(code, Some(0), "{said}{err}");
    for words in [
        "claimgate     0.1.0 (commit ",
        "tracker       up, forgejo at http://127.0.0.1:",
        "ledger        up, ",
        "assignment enforce, workflow observe",
        "webhooks      none has come since the start",
        "items         2 held",
        "held by       ann 2",
        "refused       1 in the last hour",
        "bob  already_assigned  acme/app#1 is held by ann since ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours where nobody sees them");
    let (_, said, _) = claimgate(&["status", "--json", "--admin", &admin]).await;
    let status: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&status["held"], &status["held_by"][0]), (&json!(2), &json!({ "agent": "ann", "items": 2 })));
    // A webhook that is not signed is seen, too.
    let mut stranger = gate.anonymous();
    let hook = stranger.call(Method::POST, "/_claimgate/v1/webhooks/forgejo", Some(json!({}))).await;
    assert_eq!(hook.status, 401);
    let status = gate.operator().get("/status").await.json();
    assert!(status["webhooks"]["last_unsigned"].is_string() && status["webhooks"]["last"].is_null(), "{status:#}");
    // What is wrong stands at the top, and makes the command fail.
    std::fs::rename(gate.state_dir().join("ledger.sqlite"), gate.state_dir().join("away")).expect("ours");
    let fails = || async {
        let (code, said, _) = claimgate(&["status", "--admin", &admin]).await;
        (code == Some(1) && said.starts_with("! The ledger cannot be written")).then_some(())
    };
    eventually(fails, Duration::from_secs(15)).await.expect("it says that the ledger is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_filtered_by_agent_and_repository() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let admin = gate.admin.to_string();
    let (one, two) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    gate.agent("ann").claim(one).await.granted();
    gate.agent("bob").below("/as/two").claim(two).await.granted();
    let rows = async |more: &[&str]| {
        let (code, said, err) = claimgate(&[&["claims", "--admin", &admin], more].concat()).await;
        assert_eq!(code, Some(0), "{err}");
        said.lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&[]).await, [item(one), item(two)]);
    for (more, wanted) in [
        (&["--agent", "ann"][..], &[one][..]),
        (&["--agent", "two"], &[two]),
        (&["--agent", "bob/two"], &[two]),
        (&["--agent", "bob/"], &[]),
        (&["--repo", REPO], &[one, two]),
        (&["--repo", "acme/other"], &[]),
    ] {
        let wanted: Vec<String> = wanted.iter().map(|number| item(*number)).collect();
        assert_eq!(rows(more).await, wanted, "{more:?}");
    }
    let (_, said, _) = claimgate(&["claims", "--admin", &admin]).await;
    let head: Vec<&str> = said.lines().next().unwrap_or_default().split("  ").filter(|word| !word.is_empty()).collect();
    assert_eq!(
        head.iter().map(|word| word.trim()).collect::<Vec<_>>(),
        ["ITEM", "ACCOUNT", "INSTANCE", "SINCE", "AGE", "LAST SEEN", "SILENT", "STATE"]
    );
}

/// The next line that a command prints.
async fn next_line(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) -> String {
    let line = tokio::time::timeout(Duration::from_secs(8), lines.next_line()).await;
    line.expect("a line in time").expect("it reads").expect("it goes on")
}

fn spawned(arguments: &[&str]) -> (Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) {
    let mut child = command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    (child, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_followed_over_a_restart_of_the_gate() {
    let forge = e2e::forge(&["ann", "bob", "cid"]).await;
    let setup = Setup::before(&forge.base_url());
    let gate = setup.start().await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    let told = gate.agent("bob").claim(number).await;
    let message = told.json()["message"].as_str().expect("a text").to_owned();
    let socket = setup.state().display().to_string();
    let follow = ["refusals", "--follow", "--json", "--admin", "off", "--state-dir", &socket];
    let (_child, mut lines) = spawned(&follow);
    let refusal: Value = serde_json::from_str(&next_line(&mut lines).await).expect("JSON");
    assert_eq!((&refusal["message"], &refusal["code"]), (&json!(message), &json!("already_assigned")), "the full text");
    assert_eq!(
        (&refusal["resource"], &refusal["agent"]["account"], &refusal["holder"]),
        (&json!(item(number)), &json!("bob"), &json!("ann"))
    );
    gate.agent("cid").claim(number).await.refused(409, "already_assigned");
    let next: Value = serde_json::from_str(&next_line(&mut lines).await).expect("JSON");
    assert_eq!(next["agent"]["account"], "cid");
    gate.kill().await;
    let gate = setup.start().await;
    gate.agent("bob").claim(number).await.refused(409, "already_assigned");
    let next: Value = serde_json::from_str(&next_line(&mut lines).await).expect("JSON");
    assert_eq!(next["agent"]["account"], "bob", "each once, and none left out");
    assert_ne!(next["seq"], refusal["seq"]);
    // What was refused before the restart is known to the new gate.
    let (_, said, _) = claimgate(&["refusals", "--admin", "off", "--state-dir", &socket]).await;
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(
        said.lines().all(|line| line.contains("already_assigned") && line.contains("is held by ann since")),
        "{said}"
    );
    let (_, said, _) = claimgate(&["refusals", "--last", "1", "--admin", "off", "--state-dir", &socket]).await;
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_watched() {
    let forge = e2e::forge(&["ann"]).await;
    let gate = e2e::gate(&forge).await;
    let number = backlog_issue(&forge).number;
    let (_child, mut lines) = spawned(&["claims", "--watch", "--json", "--admin", &gate.admin.to_string()]);
    let shown: Value = serde_json::from_str(&next_line(&mut lines).await).expect("JSON");
    assert_eq!(shown["claims"], json!([]));
    gate.agent("ann").claim(number).await.granted();
    let shown: Value = serde_json::from_str(&next_line(&mut lines).await).expect("JSON");
    assert_eq!(shown["claims"][0]["resource"], json!(item(number)));
    gate.agent("ann").release(number).await.granted();
    let shown: Value = serde_json::from_str(&next_line(&mut lines).await).expect("JSON");
    assert_eq!(shown["claims"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_dead_agent_is_released_once_somebody_says_so() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let (_setup, gate) = watching_gate(&forge, "").await;
    let admin = gate.admin.to_string();
    let numbers: Vec<u64> = (0..3).map(|_| backlog_issue(&forge).number).collect();
    gate.agent("ann").claim(numbers[0]).await.granted();
    gate.agent("ann").claim(numbers[1]).await.granted();
    gate.agent("bob").claim(numbers[2]).await.granted();
    let (code, said, err) = claimgate(&["release", "--agent", "ann", "--admin", &admin]).await;
    assert_eq!((code, said.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.contains(&item(numbers[0])) && err.contains(&item(numbers[1])) && !err.contains(&item(numbers[2])),
        "{err}"
    );
    assert!(err.contains("nothing was done: say --yes to release 2 items of ann"), "{err}");
    assert_eq!(gate.holder(numbers[0]).await.as_deref(), Some("ann"));
    let (code, said, err) =
        claimgate(&["release", "--agent", "ann", "--yes", "--reason", "died", "--admin", &admin]).await;
    assert_eq!(code, Some(0), "{said}{err}");
    assert_eq!(said.matches("the holding of ann has ended").count(), 2, "{said}");
    let holders = [gate.holder(numbers[0]).await, gate.holder(numbers[1]).await, gate.holder(numbers[2]).await];
    assert_eq!(holders, [None, None, Some("bob".to_owned())]);
    assert!(forge.issue(REPO, numbers[0]).assignees.is_empty());
    let (code, _, err) = claimgate(&["release", "--agent", "ann", "--yes", "--admin", &admin]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("ann holds nothing"), "{err}");
    let (code, ..) = claimgate(&["release", "--admin", &admin]).await;
    assert_eq!(code, Some(2), "it says what to release");
}

// === incident ===

/// Two agents worked on one item: an outside edit, a takeover, an overrider and an operator, each with its cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_told_from_its_beginning() {
    let forge = e2e::forge_with(Options::forgejo_17(), &["ann", "bob", "cid", "boss", "eve"]).await;
    let config = "[assignment]\noverriders = [\"boss\"]\ntakeover_after = \"2s\"\nstale_after = \"1s\"\n";
    let (_setup, gate) = watching_gate(&forge, config).await;
    let admin = gate.admin.to_string();
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    gate.agent("bob").claim(number).await.refused(409, "already_assigned");
    gate.agent("bob").claim(number).await.refused(409, "already_assigned");
    // Past the gate.
    forge.outside_assign("eve", REPO, number, &["cid"]);
    let revoked = || async { gate.audit().into_iter().find(|line| line["kind"] == "author") };
    eventually(revoked, Duration::from_secs(15)).await.expect("the edit is noticed, and its author");
    gate.agent("boss").assign(number, &[]).await.granted();
    gate.agent("bob").claim(number).await.granted();
    // Silent for long enough that another may take over.
    let taken = || async { (gate.agent("ann").claim(number).await.status == 201).then_some(()) };
    eventually(taken, Duration::from_secs(15)).await.expect("it is taken over");
    let (code, ..) = claimgate(&["release", &item(number), "--reason", "enough", "--admin", &admin]).await;
    assert_eq!(code, Some(0));
    let (code, said, err) = claimgate(&["incident", &item(number), "--admin", &admin]).await;
    assert_eq!(code, Some(0), "{err}");
    for words in [
        "held 3 times, by one after another",
        "ended by outside edit: reassigned to cid by eve, outside the gate",
        "ended by takeover: taken over by ann after ",
        "process ",
        "enough",
        "ann -> nobody",
        "told already_assigned: acme/app#1 is held by ann since ",
        "(2 times, the last at ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (_, said, _) = claimgate(&["incident", &item(number), "--json", "--admin", &admin]).await;
    let told: Value = serde_json::from_str(&said).expect("JSON");
    let holders: Vec<&str> =
        told["holders"].as_array().expect("a list").iter().filter_map(|one| one["agent"].as_str()).collect();
    assert_eq!(holders, ["ann", "bob", "ann"], "{told:#}");
    let events = told["events"].as_array().expect("a list");
    assert!(events.windows(2).all(|two| two[0]["time"].as_str() <= two[1]["time"].as_str()), "oldest first");
    assert!(events.iter().any(|event| event["who"] == "eve" && event["what"] == "outside edit"), "{told:#}");
    let (_, _, err) = claimgate(&["incident", "acme/app#999", "--admin", &admin]).await;
    assert!(err.contains("has recorded nothing about it"), "{err}");
}

// === doctor, backup, version, completions, man, schema ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_names_what_is_wrong_and_its_cure() {
    let forge = e2e::forge(&["ann"]).await;
    let (setup, gate) = watching_gate(&forge, "public_url = \"https://forge.example\"\n[identity]\nshared_accounts = [\"nobody\"]\n[workflow]\nmode = \"observe\"\n").await;
    let (certificate, key) = (setup.dir().join("cert.pem"), setup.dir().join("key.pem"));
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let pair = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(&certificate, params.self_signed(&pair).expect("a certificate").pem()).expect("written");
    e2e::write_private(&key, &pair.serialize_pem());
    let config = setup.dir().join("doctor.toml");
    let text = std::fs::read_to_string(setup.dir().join("gate.toml")).expect("it is there");
    std::fs::write(&config, format!("{text}[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"))
        .expect("written");
    let (config, base, admin) = (config.display().to_string(), forge.base_url(), gate.admin.to_string());
    let state = setup.state().display().to_string();
    let doctor = ["doctor", "--config", &config, "--upstream", &base, "--admin", &admin, "--state-dir", &state];
    let (code, said, err) = claimgate(&doctor).await;
    assert_eq!(code, Some(1), "{said}{err}");
    for (finding, cure) in [
        (
            "failed   the tracker's links lead to",
            "cure: set ROOT_URL in [server] of the tracker's app.ini to https://forge.example",
        ),
        ("failed   identity.shared_accounts: there is no account nobody", "cure: correct the name"),
        ("ended at 2020-01-01T00:00:00Z", "cure: renew it"),
        ("warning  workflow only observes", "`claimgate report` shows what it would have refused"),
        (
            "warning  no webhook has come since the gate was started",
            "URL https://forge.example/_claimgate/v1/webhooks/forgejo",
        ),
    ] {
        let at = said.find(finding).unwrap_or_else(|| panic!("{finding}: {said}"));
        let next: String = said[at..].lines().nth(1).unwrap_or_default().to_owned();
        assert!(next.contains(cure), "{finding}: {next}");
    }
    assert!(said.contains("ok       a gate runs: 0.1.0") && said.contains("things are wrong"), "{said}");
    gate.kill().await;
    let (_, said, _) = claimgate(&[&doctor[..], &["--json"]].concat()).await;
    let told: Value = serde_json::from_str(&said).expect("JSON");
    let findings = told["findings"].as_array().expect("a list");
    assert!(
        findings.iter().any(|one| one["what"].as_str().is_some_and(|what| what.contains("no running gate"))),
        "{told:#}"
    );
    assert!(findings.iter().filter(|one| one["result"] != "ok").all(|one| one["cure"].is_string()), "{told:#}");
}

/// A copy of a running gate becomes the state of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_gate_is_a_state_directory() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let setup = Setup::before(&forge.base_url());
    let gate = setup.start().await;
    let (one, two) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    gate.agent("ann").claim(one).await.granted();
    let (state, copy) = (setup.state().display().to_string(), setup.dir().join("copy"));
    let copied = copy.display().to_string();
    let (code, said, err) = claimgate(&["backup", &copied, "--state-dir", &state]).await;
    assert_eq!(code, Some(0), "{said}{err}");
    let (code, _, err) = claimgate(&["backup", &copied, "--state-dir", &state]).await;
    assert_eq!(code, Some(1), "it overwrites nothing");
    assert!(err.contains("name a directory that is not there yet"), "{err}");
    gate.agent("bob").claim(two).await.granted();
    gate.kill().await;
    std::fs::rename(setup.state(), setup.dir().join("lost")).expect("ours");
    std::fs::rename(&copy, setup.state()).expect("ours");
    let gate = setup.start().await;
    assert_eq!((gate.holder(one).await.as_deref(), gate.holder(two).await), (Some("ann"), None), "as it was copied");
    gate.agent("bob").claim(one).await.refused(409, "already_assigned");
    let (code, _, err) = claimgate(&["backup", "/tmp", "--state-dir", "/nowhere"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no ledger in /nowhere"), "{err}");
}

#[tokio::test]
async fn the_command_line_knows_itself() {
    let (_, said, _) = claimgate(&["--version"]).await;
    assert!(said.starts_with("claimgate 0.1.0 (commit ") && said.contains(" build for "), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, said, err) = claimgate(&["completions", shell]).await;
        assert_eq!(code, Some(0), "{err}");
        assert!(said.contains("incident") && said.contains("through"), "{shell}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let pages = dir.path().join("man");
    let (code, said, err) = claimgate(&["man", &pages.display().to_string()]).await;
    assert_eq!(code, Some(0), "{said}{err}");
    for page in ["claimgate.1", "claimgate-race.1", "claimgate-doctor.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH "), "{page}");
    }
    let race = std::fs::read_to_string(pages.join("claimgate-race.1")).expect("a page");
    assert!(race.contains("Exit codes: 0 each issue had one winner"), "{race}");
    let (_, said, _) = claimgate(&["schema"]).await;
    let schema: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(schema["properties"]["assignment"]["properties"]["mode"]["enum"], json!(["enforce", "observe"]));
}

/// Whatever is claimed, waits or is refused is on the board, and nobody asks the ledger for all that is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_follows_what_happens() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let (_setup, gate) = watching_gate(&forge, "").await;
    let number = backlog_issue(&forge).number;
    let path = e2e::issue(number);
    // Its outcome is not known: the item is in doubt.
    forge.script(Fault::Hang { lands_after: None }, Matcher::new("PATCH", path.as_str()).times(1));
    let mut ann = gate.agent("ann");
    let hanging = tokio::spawn(async move { ann.claim(number).await });
    let mut bob = gate.agent("bob");
    let waiter = tokio::spawn(async move { bob.claim(number).await });
    let waits = || async {
        let status = gate.operator().get("/status").await.json();
        (status["waiting"][0]["requests"] == 1).then_some(status)
    };
    let status = eventually(waits, Duration::from_secs(10)).await.expect("somebody waits");
    assert_eq!(status["waiting"][0]["agents"].as_array().map(Vec::len), Some(2), "{status:#}");
    drop((hanging, waiter));
}

/// Reads server-sent events until one has these words in it; what it has read.
async fn event_with(gate: &Gate, words: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(gate.admin).await.expect("it listens");
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let mut read = String::new();
    let reading = async {
        let mut piece = vec![0; 16 << 10];
        loop {
            let length = stream.read(&mut piece).await.expect("it reads");
            assert!(length > 0, "it goes on: {read}");
            read.push_str(&String::from_utf8_lossy(&piece[..length]));
            if read.contains(words) {
                return;
            }
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(5), reading).await);
    assert!(read.contains(words), "{words}: {read}");
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_whole_without_script_and_loads_nothing_from_elsewhere() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    gate.agent("bob").claim(number).await.refused(409, "already_assigned");
    let mut port = gate.at_admin_port();
    let page = port.get("/").await;
    let policy = page.headers["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text();
    for words in ["acme/app#1", ">ann<", "is held by ann since", "Nobody waits", "role=\"search\"", "lang=\"en\""] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for outside in ["http://", "https://", "style=\"", "onclick", "<script>"] {
        assert!(!text.replace(&forge.base_url(), "").contains(outside), "{outside}: {text}");
    }
    let (found, none) = (port.get("/?q=ANN").await.text(), port.get("/?q=zoe").await.text());
    assert!(found.contains("<th scope=\"row\">acme/app#1</th>") && found.contains("value=\"ANN\""), "{found}");
    assert!(!none.contains("<th scope=\"row\">acme/app#1</th>"), "{none}");
    let odd = port.get("/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await.text();
    assert!(!odd.contains("<script>alert"), "{odd}");
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/icon.svg", "image/svg+xml")] {
        let file = port.get(path).await;
        assert!(file.status == 200 && file.headers["content-type"].to_str().unwrap().starts_with(kind), "{path}");
    }
    for method in [Method::POST, Method::DELETE] {
        assert_eq!(port.call(method, "/", None).await.status, 403, "nothing changes by it");
    }
    let first = event_with(&gate, "acme/app#1").await;
    assert!(first.contains("text/event-stream") && first.contains("event: board\ndata: "), "{first}");
    // What happens while somebody looks is sent within a second.
    let next = backlog_issue(&forge).number;
    let (events, ()) = tokio::join!(event_with(&gate, "acme/app#2"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        gate.agent("bob").claim(next).await.granted();
    });
    assert!(events.matches("event: board").count() >= 2, "{events}");
}

// === the README, followed ===

/// Whether a line is as it is shown; `…` stands for anything.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let parts: Vec<&str> = shown.trim_end().split('…').collect();
    let line = line.trim_end();
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    if parts.len() == 1 {
        return line == *first;
    }
    let Some(mut rest) = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    parts[1..parts.len() - 1].iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// What is printed is what is shown; `...` stands for lines that are left out.
#[track_caller]
fn assert_shown(command: &str, printed: &str, shown: &str) {
    let mut lines = printed.lines();
    let mut skipping = false;
    for wanted in shown.lines() {
        if wanted == "..." {
            skipping = true;
            continue;
        }
        let found = if skipping { lines.find(|line| is_as_shown(line, wanted)) } else { lines.next() };
        let found = found.is_some_and(|line| is_as_shown(line, wanted));
        assert!(found, "README: {command}\nprints\n{printed}\nnot\n{wanted}");
        skipping = false;
    }
    assert!(skipping || lines.next().is_none(), "README: {command}\nprints more:\n{printed}");
}

/// The README's hour with a gate, typed as it stands there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readme_is_followed() {
    if !Path::new("/usr/bin/curl").exists() {
        eprintln!("SKIPPED: there is no curl here");
        return;
    }
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there");
    let mut blocks = readme.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains("$ANN")).expect("the README shows an hour");
    let forge = e2e::forge(&["ann", "bob"]).await;
    forge.add_user("alice", &e2e::token("alice"));
    forge.add_repo("alice", "shop");
    for label in e2e::LABELS {
        forge.add_label("alice/shop", label);
    }
    forge.grant_write("ann", "alice/shop");
    forge.grant_write("bob", "alice/shop");
    forge.add_issue("alice/shop", "a piece of work", &["backlog"], &[]);
    let gate = e2e::gate(&forge).await;
    let binaries = Path::new(env!("CARGO_BIN_EXE_claimgate")).parent().expect("a directory").display().to_string();
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap_or_default());
    for part in block.split("$ ").filter(|part| part.starts_with("claimgate ") || part.starts_with("curl ")) {
        let (line, shown) = part.split_once('\n').expect("a command on a line of its own");
        // A `$ ` within a command is a variable's.
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("PATH", &path).env("FORGE", format!("http://{}", gate.address));
        shell.env("ANN", e2e::token("ann")).env("BOB", e2e::token("bob")).env("CLAIMGATE_UPSTREAM", forge.base_url());
        shell.env("CLAIMGATE_ADMIN", gate.admin.to_string()).env("CLAIMGATE_STATE_DIR", gate.state_dir());
        let output = shell.stdin(Stdio::null()).output().await.expect("it runs");
        assert_shown(line, &String::from_utf8_lossy(&output.stdout), shown);
    }
    assert!(block.matches("\n$ ").count() > 7);
    assert!(forge.issue("alice/shop", 1).assignees == ["ann"], "without a service token the gate clears nothing");
}

// === many who look ===

/// How long claims of new items take, the middle one of so many, while others are refused all the time.
async fn middle_claim(forge: &FakeForge, gate: &Gate, count: usize) -> Duration {
    let mut agent = gate.agent("ann");
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let number = backlog_issue(forge).number;
        let began = tokio::time::Instant::now();
        agent.claim(number).await.granted();
        took.push(began.elapsed());
        agent.release(number).await.granted();
    }
    took.sort();
    took[count / 2]
}

/// Two hundred open pages among a stream of decisions: the events are rendered once for all of them, and no claim waits for
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_hundred_pages_hold_up_no_claim() {
    let forge = e2e::forge(&["ann", "bob", "cid"]).await;
    let gate = e2e::gate(&forge).await;
    let held = backlog_issue(&forge).number;
    gate.agent("bob").claim(held).await.granted();
    let mut busy = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut agent = gate.agent("cid");
        busy.spawn(async move {
            loop {
                agent.claim(held).await.refused(409, "already_assigned");
            }
        });
    }
    let alone = middle_claim(&forge, &gate, 60).await;
    let mut pages = tokio::task::JoinSet::new();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(gate.admin).await.expect("it listens");
        let seen = std::sync::Arc::clone(&seen);
        pages.spawn(async move {
            stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
            let mut piece = vec![0; 64 << 10];
            while let Ok(length @ 1..) = stream.read(&mut piece).await {
                seen.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    let opened = || async { (seen.load(std::sync::atomic::Ordering::Relaxed) > 200 * 1000).then_some(()) };
    eventually(opened, Duration::from_secs(20)).await.expect("all pages get their board");
    let watched = middle_claim(&forge, &gate, 60).await;
    let decisions = gate.audit().len();
    eprintln!("a claim takes {alone:?} alone, {watched:?} with 200 pages; {decisions} lines of the audit");
    assert!(watched < alone * 2 + Duration::from_millis(5), "{alone:?} {watched:?}");
    assert_eq!(pages.len(), 200);
    assert!(pages.try_join_next().is_none(), "no page was cut");
}
