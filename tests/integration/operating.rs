//! `claimgate scan` and `claimgate report`, run as an operator would: on a forge that has seen better days, and on the logs
//! of gates that ran.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use claimgate::fake_forge::{FakeForge, Fault, Matcher, Options};
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::e2e::{self, Gate, REPO, Setup, agents, backlog_issue, eventually, issue};

/// What a command did.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        // 3: a scan found something.
        assert!(matches!(self.code, Some(0 | 3)), "{:?}: {}", self.code, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

async fn claimgate(arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLAIMGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // One that does not read its input may have ended.
    drop(child.stdin.take().expect("piped").write_all(input.as_bytes()).await);
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn item(number: u64) -> String {
    format!("{REPO}#{number}")
}

// === scan ===

/// A directory with a configuration for this forge, and the path of that.
fn configured(forge: &FakeForge, more: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let (token, config) = (dir.path().join("token"), dir.path().join("gate.toml"));
    std::fs::write(&token, e2e::token("acme")).expect("written");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let (url, state) = (forge.base_url(), dir.path().join("state").display().to_string());
    let token = token.display().to_string();
    let text = format!(
        "[server]\nstate_dir = {state:?}\n[identity]\nshared_accounts = [\"bot\"]\n[upstream]\nurl = {url:?}\n\
         service_token_file = {token:?}\n{more}"
    );
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8").to_owned();
    (dir, config)
}

/// Each finding as `kind where`.
fn found(scan: &Value) -> Vec<String> {
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = scan["findings"].as_array().expect("a list");
    findings.iter().map(|finding| format!("{} {}", word(finding, "kind"), word(finding, "resource"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_lists_what_a_gate_would_meet() {
    let forge = e2e::forge(&["ann", "bob", "bot"]).await;
    let add = |labels: &[&str], assignees: &[&str]| item(forge.add_issue(REPO, "work", labels, assignees).number);
    let double = add(&["in-progress"], &["ann", "bob"]);
    let unassigned = add(&["in-progress", "tech-debt"], &[]);
    let idle = add(&["backlog"], &["ann"]);
    let both = add(&["todo", "in-progress"], &["ann"]);
    let shared = add(&["in-progress"], &["bot"]);
    add(&["in-progress"], &["bob"]);
    add(&["backlog"], &[]);
    let closed = forge.add_issue(REPO, "done", &["in-progress"], &["ann"]).number;
    forge.outside_close("acme", REPO, closed);
    let finished = forge.add_issue(REPO, "done", &["done"], &["ann"]).number;
    forge.outside_close("acme", REPO, finished);
    // More than one page; and a repository that only its owner sees.
    (0..60).for_each(|_| drop(add(&[], &[])));
    let last = add(&["blocked"], &["bob"]);
    forge.add_repo("acme", "bare");
    forge.set_private("acme/bare", true);
    let pull = forge.add_pull(REPO, "a change", "topic", "main").number;
    forge.outside_assign("acme", REPO, pull, &["ann", "bob"]);

    let (_keep, config) = configured(&forge, "");
    forge.clear_log();
    let said = claimgate(&["scan", "--config", &config, "--json", "--rate", "1000"], "").await;
    let scan = said.json();
    let mut wanted = vec![
        format!("several_assignees {double}"),
        format!("several_assignees {}", item(pull)),
        format!("working_unassigned {unassigned}"),
        format!("assigned_not_working {idle}"),
        format!("assigned_not_working {last}"),
        format!("assigned_not_working {}", item(pull)),
        format!("several_statuses {both}"),
        format!("closed_working {}", item(closed)),
        format!("shared_account {shared}"),
        "missing_label acme/bare".to_owned(),
    ];
    let mut got = found(&scan);
    wanted.sort();
    got.sort();
    assert_eq!(got, wanted, "{scan:#}");
    assert_eq!(scan["repositories"], json!(["acme/app", "acme/bare"]));
    assert_eq!(scan["items"], json!(70), "closed ones only with a label of work");
    assert!(forge.requests().iter().all(|request| request.method == "GET"), "it changes nothing");

    let said = claimgate(&["scan", "--config", &config, "--rate", "1000", "--repo", "acme/bare"], "").await;
    assert_eq!(said.code, Some(3), "findings are no success");
    let missing = "it has no label backlog, blocked, done, in-progress, todo";
    let line = said.out.lines().find(|line| line.starts_with("missing_label")).unwrap_or_default();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), format!("missing_label acme/bare {missing}"));
    assert!(said.out.starts_with("1 finding in 0 items of 1 repository: missing_label 1\n"), "{}", said.out);
    for (more, code) in [("never", 0), ("findings", 3), ("incomplete", 3)] {
        let arguments = ["scan", "--config", &config, "--rate", "1000", "--repo", "acme/bare", "--fail-on", more];
        assert_eq!(claimgate(&arguments, "").await.code, Some(code), "{more}");
    }
}

/// What a person would see at a glance: labels that are nearly right, a status that two labels are, work that is done and
/// open; and nothing of a repository that nobody can write to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_reads_as_a_person_does() {
    let forge = e2e::forge(&["ann"]).await;
    forge.add_label(REPO, "Done");
    let done = forge.add_issue(REPO, "finished", &["done"], &[]).number;
    forge.add_repo("acme", "near");
    for label in ["In Progress", "status/todo", "Blokced", "backlog", "done"] {
        forge.add_label("acme/near", label);
    }
    forge.add_repo("acme", "old");
    let mut owner =
        e2e::Client::new(forge.base_url().trim_start_matches("http://").parse().expect("an address"), "acme");
    let archived = owner.call(Method::PATCH, "/api/v1/repos/acme/old", Some(json!({ "archived": true }))).await;
    assert_eq!(archived.status, 200, "{archived:?}");
    let (_keep, config) = configured(&forge, "");
    let said = claimgate(&["scan", "--config", &config, "--json", "--rate", "1000"], "").await;
    let scan = said.json();
    let wanted =
        [format!("done_open {}", item(done)), format!("label_twice {REPO}"), "missing_label acme/near".to_owned()];
    assert_eq!(found(&scan), wanted, "{scan:#}");
    let details = scan["findings"][2]["detail"].as_str().unwrap_or_default();
    let near = "it has no label blocked (did you mean `Blokced`?), in-progress (did you mean `In Progress`?), todo (did \
                you mean `status/todo`?)";
    assert_eq!(details, near);
    assert_eq!(scan["skipped"], json!(["acme/old: it is archived"]));
    let out = claimgate(&["scan", "--config", &config, "--rate", "1000"], "").await.out;
    assert!(
        out.starts_with("3 findings in 1 item of 2 repositories: done_open 1, label_twice 1, missing_label 1\n"),
        "{out}"
    );
    assert!(out.contains("\nleft out: acme/old: it is archived\n"), "{out}");
}

/// An assignee that lost its access, as the tracker tells; and links that lead past the gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_finds_assignees_without_access_and_links_past_the_gate() {
    let forge = e2e::forge_with(Options::forgejo_17(), &["ann", "bob"]).await;
    for login in ["reader", "stranger"] {
        forge.add_user(login, &e2e::token(login));
    }
    forge.grant_read("reader", REPO);
    let add = |assignee: &str| forge.add_issue(REPO, "work", &["in-progress"], &[assignee]).number;
    let (_, _, gone, closed) = (add("ann"), add("reader"), add("stranger"), add("stranger"));
    forge.outside_close("acme", REPO, closed);
    forge.outside_labels("acme", REPO, closed, &[]);
    let (_keep, config) = configured(&forge, "public_url = \"https://forge.example/\"\n");
    let scan = async || claimgate(&["scan", "--config", &config, "--json", "--rate", "1000"], "").await.json();
    let links = format!("public_url {}/", forge.base_url());
    // In a public repository everybody has access.
    assert_eq!(found(&scan().await), [links.as_str()]);
    forge.set_private(REPO, true);
    let scan = scan().await;
    assert_eq!(found(&scan), [links, format!("no_access {}", item(gone))], "{scan:#}");
    assert!(
        scan["findings"][0]["detail"].as_str().is_some_and(|text| text.contains("goes round the gate")),
        "{scan:#}"
    );
    assert!(scan["findings"][1]["detail"].as_str().is_some_and(|text| text.starts_with("assigned to stranger, who")));
    assert!(forge.requests().iter().all(|request| request.method == "GET"), "it changes nothing");
}

/// Labels that the token may not see are no missing ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_says_what_it_could_not_read() {
    let forge = e2e::forge(&[]).await;
    forge.add_repo("acme", "bare");
    // As for a token without read:organization.
    for _ in 0..4 {
        forge.script(Fault::ErrorBeforeWrite(403), Matcher::new("GET", "/orgs/acme/labels"));
    }
    let (_keep, config) = configured(&forge, "");
    let arguments = ["scan", "--config", &config, "--json", "--rate", "1000"];
    let said = claimgate(&arguments, "").await;
    assert_eq!(found(&said.json()), [""; 0], "{}", said.out);
    assert_eq!(said.code, Some(0));
    assert!(said.err.contains("read:organization") && said.err.contains("the labels of acme"), "{}", said.err);
    let said = claimgate(&[&arguments[..], &["--fail-on", "incomplete"]].concat(), "").await;
    assert_eq!(said.code, Some(3), "{}", said.err);
}

/// Beside a running gate: what the ledger knows is no finding, and what contradicts it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_compares_with_the_ledger() {
    let forge = e2e::forge(&["ann", "bob", "bot"]).await;
    let numbers: Vec<u64> = (0..4).map(|_| forge.add_issue(REPO, "work", &["in-progress"], &[]).number).collect();
    let gate = Setup::before(&forge.base_url()).start().await;
    for number in &numbers[..3] {
        gate.agent("ann").claim(*number).await.granted();
    }
    forge.outside_assign("acme", REPO, numbers[1], &["bob"]);
    forge.outside_close("acme", REPO, numbers[2]);
    let (_keep, config) = configured(&forge, "");
    let state = gate.state_dir().to_str().expect("UTF-8").to_owned();
    let arguments = ["scan", "--config", &config, "--rate", "1000", "--state-dir", &state, "--json"];
    let with_ledger = claimgate(&arguments, "").await.json();
    let wanted = [
        format!("working_unassigned {}", item(numbers[3])),
        format!("closed_working {}", item(numbers[2])),
        format!("held_otherwise {}", item(numbers[1])),
    ];
    let mut got = found(&with_ledger);
    let twice = format!("held_otherwise {}", item(numbers[2]));
    assert!(got.contains(&twice), "{got:?}");
    got.retain(|finding| *finding != twice);
    assert_eq!(got, wanted, "{with_ledger:#}");
    assert!(with_ledger.to_string().contains("the ledger says that ann holds it; reassigned by an outside edit"));
    // The gate goes on.
    gate.agent("ann").release(numbers[0]).await.granted();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_that_cannot_read_says_why() {
    let forge = e2e::forge(&["bot"]).await;
    let (keep, config) = configured(&forge, "");
    let run = async |more: &[&str]| {
        let arguments: Vec<&str> =
            ["scan", "--config", &config, "--rate", "1000"].iter().chain(more).copied().collect();
        let said = claimgate(&arguments, "").await;
        (said.code, said.out, said.err)
    };
    let (code, out, err) = run(&["--repo", "acme/none"]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("the tracker answered 404 for acme/none"), "{err}");
    let (code, _, err) = run(&["--repo", "acme"]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("owner/name"), "{err}");
    forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("GET", "/issues"));
    let (code, out, err) = run(&[]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""), "never half a list: {err}");
    assert!(err.contains("the tracker answered 500 for the open items of acme/app"), "{err}");
    std::fs::write(keep.path().join("token"), "wrong").expect("written");
    let (code, _, err) = run(&[]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("does not know the token of upstream.service_token_file"), "{err}");
    let (code, _, err) = run(&["--upstream", "http://127.0.0.1:1"]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("the tracker at http://127.0.0.1:1 could not be read"), "{err}");
    assert_eq!(err.to_lowercase().matches("connection refused").count(), 1, "{err}");
}

// === report ===

/// A gate's day: a race for one item, a doubt, an outside edit, a move, an operator's release.
async fn a_day(config: &str) -> (FakeForge, Gate, u64, u64) {
    let names = agents(5);
    let logins: Vec<&str> = names.iter().map(String::as_str).collect();
    let forge = e2e::forge(&logins).await;
    let (raced, doubted) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    gate.agent("agent-0").claim(raced).await.granted();
    for login in &logins[1..] {
        gate.agent(login).claim(raced).await.refused(409, "already_assigned");
        gate.agent(login).claim(raced).await.refused(409, "already_assigned");
    }
    forge.script(Fault::CutAfter, Matcher::new("PATCH", issue(doubted)));
    assert_eq!(gate.agent("agent-1").claim(doubted).await.status, 504);
    gate.agent("agent-2").claim(doubted).await.refused(409, "already_assigned");
    forge.outside_assign("acme", REPO, raced, &["agent-3"]);
    let closed = gate.agent("agent-0").call(Method::PATCH, &issue(raced), Some(json!({ "state": "closed" }))).await;
    closed.refused(409, "not_holder");
    let path = format!("/api/v1/repos/{REPO}/issues/{raced}/nonsense");
    assert_eq!(gate.agent("agent-4").call(Method::POST, &path, None).await.status, 400);
    let printed = || async { gate.audit().iter().any(|line| line["code"] == "ambiguous_request").then_some(()) };
    eventually(printed, std::time::Duration::from_secs(10)).await.expect("the last line is printed");
    (forge, gate, raced, doubted)
}

fn row<'a>(report: &'a Value, list: &str, of: &str, name: &str) -> &'a Value {
    let rows = report[list].as_array().expect("a list");
    rows.iter().find(|row| row[of] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

fn check_day(report: &Value, raced: u64, doubted: u64) {
    let (raced, doubted) = (item(raced), item(doubted));
    let race = row(report, "items", "item", &raced);
    assert_eq!((&race["refusals"]["already_assigned"], &race["grants"]["claim"]), (&json!(8), &json!(1)), "{race:#}");
    assert_eq!((&race["revoked"], &race["doubts"]), (&json!(1), &json!(0)), "{race:#}");
    let doubt = row(report, "items", "item", &doubted);
    assert_eq!((&doubt["doubts"], &doubt["landed"]), (&json!(1), &json!(1)), "{doubt:#}");
    assert_eq!(doubt["refusals"], json!({ "already_assigned": 1 }));
    let winner = row(report, "agents", "agent", "agent-0");
    assert_eq!((&winner["grants"]["claim"], &winner["revoked"]), (&json!(1), &json!(1)), "{winner:#}");
    let loser = row(report, "agents", "agent", "agent-2");
    assert_eq!(loser["refusals"], json!({ "already_assigned": 3 }));
    assert_eq!(loser["granted"], json!(0));
    let overlaps = report["overlaps"].as_array().expect("a list");
    let of = |refused: &str| -> Vec<&Value> {
        overlaps.iter().filter(|row| row["refused"] == refused && row["item"] == raced.as_str()).collect()
    };
    for refused in ["agent-1", "agent-2", "agent-3", "agent-4"] {
        let rows = of(refused);
        assert_eq!(rows.len(), 1, "{report:#}");
        assert_eq!((&rows[0]["because_of"], &rows[0]["count"]), (&json!("agent-0"), &json!(2)), "{rows:?}");
        assert_eq!(rows[0]["codes"], json!({ "already_assigned": 2 }));
    }
    // Whom somebody gave its item, past the gate.
    let ended = of("agent-0");
    assert_eq!((ended.len(), &ended[0]["because_of"]), (1, &json!("agent-3")), "{report:#}");
    let waits: Vec<f64> =
        report["waits"].as_array().expect("a list").iter().filter_map(|wait| wait["waited_ms"].as_f64()).collect();
    assert!(!waits.is_empty() && waits.is_sorted_by(|one, other| one >= other), "{waits:?}");
    assert_eq!(row(report, "agents", "agent", "(not known)")["refusals"]["ambiguous_request"], json!(1), "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_sums_up_a_log() {
    let (_forge, gate, raced, doubted) = a_day("").await;
    let log = gate.stdout();
    let report = claimgate(&["report", "-", "--json"], &log).await.json();
    check_day(&report, raced, doubted);
    let lines = log.lines().count();
    assert_eq!(report["lines"], json!(lines));
    // At least once: what was printed twice counts once. And a torn line is told of.
    let said = claimgate(&["report", "-", "--json"], &format!("{log}{log}{{\"seq\":")).await;
    assert_eq!(said.json()["items"], report["items"]);
    assert!(said.err.contains("no audit line, and left out: 1 line\n"), "{}", said.err);

    let only = claimgate(&["report", "-", "--json", "--item", &item(raced).to_uppercase()], &log).await.json();
    assert_eq!(only["items"].as_array().map(Vec::len), Some(1), "{only:#}");
    let none = claimgate(&["report", "-", "--json", "--since", "2200-01-01T00:00:00Z"], &log).await.json();
    assert_eq!((&none["lines"], &none["items"]), (&json!(0), &json!([])));
    let all = claimgate(&["report", "-", "--json", "--since", "1d"], &log).await.json();
    assert_eq!(all["items"], report["items"]);
    // What was held before is still known to be in the way after.
    let text = |line: &Value| line["time"].as_str().expect("a time").to_owned();
    let second = gate.audit().into_iter().find(|line| line["code"] == "already_assigned").expect("a refusal");
    let later = claimgate(&["report", "-", "--json", "--since", &text(&second)], &log).await.json();
    assert_eq!(row(&later, "overlaps", "refused", "agent-4")["because_of"], "agent-0");
    assert_eq!(row(&later, "items", "item", &item(raced))["grants"].get("claim"), None, "{later:#}");

    let table = claimgate(&["report", "-"], &log).await;
    for heading in ["By item:", "By agent:", "Who was refused because of whom:", "Longest waits:"] {
        assert!(table.out.contains(heading), "{}", table.out);
    }
    let line = table.out.lines().find(|line| line.starts_with(&item(raced))).expect("its row");
    assert!(line.contains("already_assigned 8"), "{line}");
}

/// The same from the ledger beside the running gate, from its file, and from the files that the log was rotated to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_finds_its_log_by_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("audit.jsonl");
    let (_forge, mut gate, raced, doubted) =
        a_day(&format!("[audit]\nfile = {file:?}\nrotate_size = \"2KiB\"\n")).await;
    let state = gate.state_dir().to_str().expect("UTF-8").to_owned();
    check_day(&claimgate(&["report", "--json", "--state-dir", &state], "").await.json(), raced, doubted);
    let lines = gate.audit().len();
    gate.tell(rustix::process::Signal::TERM);
    assert!(gate.ended().await.success());
    check_day(&claimgate(&["report", "--json", "--state-dir", &state], "").await.json(), raced, doubted);
    assert!(Path::new(&format!("{}.2", file.display())).exists(), "it was rotated");
    let config = write(dir.path(), &format!("[audit]\nfile = {file:?}\n"));
    let report = claimgate(&["report", "--json", "--config", &config], "").await.json();
    check_day(&report, raced, doubted);
    assert_eq!(report["lines"], json!(lines), "with the oldest file");
}

/// A line of the audit at a minute of a day.
fn decided(minute: u64, number: u64, agent: &str, code: Option<&str>) -> String {
    let time = format!("2026-01-31T12:{minute:02}:00.5Z");
    json!({
        "time": time, "kind": "decision", "decision": if code.is_some() { "reject" } else { "admit" }, "code": code,
        "resource": format!("o/r#{number}"), "resource_id": number.to_string(), "agent": { "account": agent },
        "intent": "claim", "result": if code.is_some() { "REJECTED" } else { "COMMITTED" }, "fence": 1,
        "holder": { "account": "ann" }, "holding_since": time, "waited_ms": 0.0,
    })
    .to_string()
        + "\n"
}

/// What matters comes first, in five sentences; then the rows with refusals, counted as a person counts, and no more of
/// them than somebody reads.
#[tokio::test]
async fn a_report_says_what_matters_first() {
    let mut log: String = (1..=30).map(|number| decided(1, number, "ann", None)).collect();
    log += &decided(5, 10, "bob", Some("already_assigned"));
    log += &decided(6, 4, "bob", Some("already_assigned"));
    log += &decided(7, 4, "cid", Some("already_assigned"));
    let out = claimgate(&["report", "-"], &log).await.out;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "33 lines about 30 items and 3 agents, from 2026-01-31T12:01:00Z until 2026-01-31T12:07:00Z.",
            "Granted: 30 (claim 30).",
            "Refused: 3 (already_assigned 3). Rules that only observe would have refused 0 more.",
            "In doubt: 0, of which 0 landed. Contested: 0. Ended by an outside edit: 0. By the operator: 0.",
            "Held at the end: 30 items, of which 30 stale.",
            "",
        ],
        "{out}"
    );
    let items = |out: &str| -> Vec<String> {
        let rows =
            out.lines().skip_while(|line| *line != "By item:").skip(2).take_while(|line| line.starts_with("o/r"));
        rows.map(|row| row.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let shown = items(&out);
    assert_eq!((shown.len(), &shown[..4]), (20, &["o/r#4", "o/r#10", "o/r#1", "o/r#2"].map(String::from)[..]), "{out}");
    assert!(out.contains("... and 10 rows more; --top 0 shows all"), "{out}");
    assert_eq!(items(&claimgate(&["report", "-", "--top", "0"], &log).await.out).len(), 30);
    assert_eq!(items(&claimgate(&["report", "-", "--top", "3"], &log).await.out).len(), 3);
    let totals = &claimgate(&["report", "-", "--json"], &log).await.json()["totals"];
    assert_eq!(
        (&totals["granted"], &totals["refused"], &totals["held"]),
        (&json!(30), &json!(3), &json!(30)),
        "{totals:#}"
    );
}

#[tokio::test]
async fn a_report_is_of_the_time_and_the_agent_that_are_asked_for() {
    let log =
        [decided(1, 1, "ann", None), decided(5, 1, "bob", Some("not_holder")), decided(9, 1, "cid", Some("busy"))];
    let log = log.concat();
    let report = async |more: &[&str]| {
        let arguments: Vec<&str> = ["report", "-", "--json"].iter().chain(more).copied().collect();
        claimgate(&arguments, &log).await.json()
    };
    for (more, lines) in [
        (&["--since", "2026-01-31"][..], 3),
        (&["--since", "2026-02-01"], 0),
        (&["--since", "2026-01-31T12:05"], 2),
        (&["--until", "2026-01-31T12:05"], 1),
        (&["--since", "2026-01-31 12:02:00", "--until", "2026-01-31T12:09:00Z"], 1),
        (&["--agent", "BOB"], 1),
        (&["--agent", "dan"], 0),
    ] {
        assert_eq!(report(more).await["lines"], json!(lines), "{more:?}");
    }
    let of_holder = report(&["--agent", "ann"]).await;
    let refused: Vec<&Value> =
        of_holder["overlaps"].as_array().expect("a list").iter().map(|row| &row["refused"]).collect();
    assert_eq!((&of_holder["lines"], refused), (&json!(1), vec![&json!("bob"), &json!("cid")]), "{of_holder:#}");
    // Of what came later nothing is known yet.
    let before = report(&["--until", "2026-01-31T12:00:30Z"]).await;
    assert_eq!(before["held"], json!([]));
}

#[tokio::test]
async fn an_empty_audit_proves_nothing() {
    let said = claimgate(&["audit", "verify", "-"], "").await;
    assert_eq!(said.out, "ok: 0 lines; the audit is empty, which proves nothing\n");
}

/// Which end of the history comes first, and that there is more than is shown, is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_says_in_which_order_it_is() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let number = backlog_issue(&forge).number;
    let gate = Setup::before(&forge.base_url()).start().await;
    gate.agent("ann").claim(number).await.granted();
    gate.agent("bob").claim(number).await.refused(409, "already_assigned");
    let admin = gate.admin.to_string();
    let arguments = ["history", &item(number), "--admin", &admin];
    let out = claimgate(&arguments, "").await.out;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("{}: 2 lines, newest first", item(number)), "{out}");
    assert!(lines[2].contains("bob") && lines[3].contains("ann"), "{out}");
    let answer = gate.operator().get(&format!("/history?item={REPO}%23{number}")).await.json();
    assert_eq!((&answer["order"], &answer["cut"]), (&json!("newest_first"), &json!(false)), "{answer:#}");
}

#[tokio::test]
async fn a_report_without_a_log_says_what_to_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().to_str().expect("UTF-8");
    let said = claimgate(&["report", "--state-dir", state], "").await;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains("audit.file is not set"), "{}", said.err);
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 0, "nothing is made by looking");
    let said = claimgate(&["report", "/nowhere/audit.jsonl"], "").await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("cannot read /nowhere/audit.jsonl"), "{}", said.err);
    let said = claimgate(&["report", "-", "--since", "yesterday"], "").await;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("such as 2h"), "{}", said.err);
}

/// What a rule only observes is neither a grant nor a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_a_day_that_was_only_observed_says_what_would_have_been_refused() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let raced = backlog_issue(&forge).number;
    let gate = Setup::before(&forge.base_url()).config("[assignment]\nmode = \"observe\"\n").start().await;
    gate.agent("ann").claim(raced).await.granted();
    let answer = gate.agent("bob").claim(raced).await;
    assert!(answer.status < 300 && answer.decision().starts_with("observe; code=already_assigned"), "{answer:?}");
    let printed = || async { gate.audit().iter().any(|line| line["decision"] == "observe").then_some(()) };
    eventually(printed, std::time::Duration::from_secs(10)).await.expect("the last line is printed");

    let log = gate.stdout();
    let report = claimgate(&["report", "-", "--json"], &log).await.json();
    for (list, of, name, granted, observed) in
        [("agents", "agent", "ann", 1, 0), ("agents", "agent", "bob", 0, 1), ("items", "item", &item(raced), 1, 1)]
    {
        let row = row(&report, list, of, name);
        assert_eq!((&row["granted"], &row["observed"]), (&json!(granted), &json!(observed)), "{row:#}");
        assert_eq!((&row["refused"], &row["refusals"]), (&json!(0), &json!({})), "{row:#}");
    }
    assert_eq!(row(&report, "agents", "agent", "bob")["observations"], json!({ "already_assigned": 1 }));
    assert_eq!(report["overlaps"], json!([]));
    let other = &report["observed_overlaps"][0];
    assert_eq!((&other["observed"], &other["because_of"]), (&json!("bob"), &json!("ann")), "{report:#}");

    let table = claimgate(&["report", "-"], &log).await.out;
    assert!(table.contains("Who would have been refused because of whom, by rules that only observe:"), "{table}");
    assert!(!table.contains("Who was refused"), "{table}");
    let line = table.lines().find(|line| line.starts_with(&item(raced))).expect("its row");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[..4], [&item(raced), "1", "0", "1"], "{table}");
    assert!(line.ends_with("already_assigned 1"), "{table}");
}

/// A silent holder is one of whom the lines tell nothing.
#[tokio::test]
async fn a_report_marks_who_is_silent() {
    let line = |time: &str, item: u64, agent: &str, holder: &str| {
        json!({
            "time": time, "kind": "decision", "decision": "admit", "resource": format!("o/r#{item}"),
            "resource_id": item.to_string(), "agent": { "account": agent }, "intent": "claim", "result": "COMMITTED",
            "fence": 1, "holder": { "account": holder }, "holding_since": time, "waited_ms": 0.0,
        })
        .to_string()
    };
    let log = [line("2020-01-01T00:00:00Z", 1, "ann", "ann"), line("2200-01-01T00:00:00Z", 2, "bob", "bob")].join("\n");
    let dir = tempfile::tempdir().expect("a directory");
    let config = write(dir.path(), "[assignment]\nstale_after = \"1h\"\n");
    let report = claimgate(&["report", "-", "--json", "--config", &config], &log).await.json();
    let stale: Vec<_> =
        report["held"].as_array().expect("a list").iter().map(|held| (&held["agent"], &held["stale"])).collect();
    assert_eq!(stale, [(&json!("ann"), &json!(true)), (&json!("bob"), &json!(false))]);
}

fn write(dir: &Path, config: &str) -> String {
    let file: PathBuf = dir.join("config.toml");
    std::fs::write(&file, config).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}
