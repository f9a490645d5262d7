//! What a stranger can make the gate keep, measured at the process: its resident memory, and the bytes of its audit and
//! of its ledger. SECURITY.md lists each bound with its test.
//!
//! A stranger has no credential, or one that the tracker does not know. Each test sends a few seconds of bounded load
//! over loopback, and asks afterwards what has stayed.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use claimgate::effect::audit::LONGEST_LINE;
use claimgate::fake_forge::{Options, Vices};
use http::Method;
use tokio::task::JoinSet;

use crate::e2e::{Client, Gate, REPO, Setup, backlog_issue, eventually, forge, forge_with, issue};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// What no line may carry.
const SECRET: &str = "ghp-in-the-wrong-place";

/// Resident memory of the gate, bytes.
fn memory(gate: &Gate) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", gate.process())).expect("it runs");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

/// Bytes of the ledger's files.
fn ledger(state: &Path) -> u64 {
    let files = std::fs::read_dir(state).expect("a directory").map(|file| file.expect("a file"));
    files
        .filter(|file| file.file_name().to_string_lossy().starts_with("ledger"))
        .map(|it| it.metadata().unwrap().len())
        .sum()
}

/// Somebody whose token the tracker does not know.
fn stranger(gate: &Gate, number: usize) -> Client {
    let mut client = gate.anonymous();
    client.authorization = (!number.is_multiple_of(2)).then(|| format!("token {number:040x}"));
    client
}

/// Guarded writes, each with one name that is too long.
fn long_writes(number: u64) -> Vec<(Method, String, String)> {
    let name = format!("{SECRET}-{}", "n".repeat(3 << 20));
    let many: Vec<String> = (0..9_000).map(|n| format!("{SECRET}-{n}")).collect();
    let (item, pull) = (issue(number), format!("/api/v1/repos/acme/app/pulls/{number}"));
    let owner = format!("/api/v1/repos/{}/app/issues/1", "o".repeat(30_000));
    vec![
        (Method::PATCH, item.clone(), format!(r#"{{"assignees":["{name}"]}}"#)),
        (Method::PATCH, item.clone(), format!(r#"{{"assignee":"{name}"}}"#)),
        (Method::PATCH, item.clone(), serde_json::json!({ "assignees": many }).to_string()),
        (Method::POST, format!("{item}/labels"), format!(r#"{{"labels":["{name}"]}}"#)),
        (Method::PUT, format!("{item}/labels"), serde_json::json!({ "labels": many[..90] }).to_string()),
        (Method::POST, format!("{pull}/requested_reviewers"), format!(r#"{{"reviewers":["{name}"]}}"#)),
        (
            Method::POST,
            format!("{pull}/requested_reviewers"),
            serde_json::json!({ "team_reviewers": many }).to_string(),
        ),
        (
            Method::POST,
            "/api/v1/repos/acme/app/issues".to_owned(),
            format!(r#"{{"title":"t","assignees":["{name}"]}}"#),
        ),
        (Method::PATCH, owner, format!(r#"{{"assignees":["{SECRET}"]}}"#)),
        (Method::PATCH, item.clone(), format!(r#"{{"{name}":1,"assignees":["{SECRET}"]}}"#)),
        (Method::PATCH, item.clone(), format!(r#"{{"state":"{name}"}}"#)),
        (Method::PATCH, format!("{item}?{}=1", "q".repeat(30_000)), format!(r#"{{"assignees":["{SECRET}"]}}"#)),
        (Method::POST, "/_claimgate/v1/claims".to_owned(), format!(r#"{{"item":"acme/app#1","assignee":"{SECRET}"}}"#)),
        (Method::POST, "/_claimgate/v1/claims".to_owned(), format!(r#"{{"item":"{}"}}"#, "i".repeat(200_000))),
        (Method::PATCH, item, format!(r#"{{"assignees":["{SECRET}"]}}"#)),
    ]
}

/// The lines of what was refused, once each has one.
async fn lines(gate: &Gate, count: usize) -> String {
    let printed = || async { Some(gate.stdout()).filter(|text| text.lines().count() >= count) };
    eventually(printed, Duration::from_secs(20)).await.unwrap_or_else(|| panic!("{count} lines: {}", gate.stdout()))
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_end_leave_short_lines_and_nothing_of_the_body() {
    let forge = forge(&["agent-0"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let number = backlog_issue(&forge).number;
    let (before, mut sent) = (memory(&gate), 0);
    for round in 0..3 {
        for (method, path, body) in long_writes(number) {
            let headers = [JSON[0], ("x-request-id", &*"r".repeat(9_000)), ("claimgate-agent", &*"a".repeat(9_000))];
            let headers = if round == 2 { &headers[..] } else { &headers[..1] };
            let answer = stranger(&gate, round).send(method, &path, headers, body.into()).await;
            assert!((400..500).contains(&answer.status), "{path:.60}: {answer:?}");
            assert!(answer.body.len() < 4 << 10, "{path:.60} is echoed: {} bytes", answer.body.len());
            sent += 1;
        }
    }
    let text = lines(&gate, sent).await;
    let longest = text.lines().map(str::len).max().unwrap_or_default();
    assert!(longest <= LONGEST_LINE, "a line has {longest} bytes");
    assert!(!text.contains(SECRET), "what nobody has vouched for is in the audit");
    let (grown, ledger) = (memory(&gate).saturating_sub(before), ledger(gate.state_dir()));
    assert!(ledger < 1 << 20, "the ledger has {ledger} bytes after {sent} refusals");
    assert!(grown < 64 << 20, "{grown} bytes more after {sent} refusals");
}

/// What an account of the tracker sends is recorded, as much of it as a line holds; and read back within a bound.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_is_refused_leaves_short_lines() {
    let forge = forge(&["agent-0", "agent-1"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let number = backlog_issue(&forge).number;
    gate.agent("agent-1").claim(number).await.granted();
    let labels: Vec<String> = (0..100).map(|n| format!("{n:0>255}")).collect();
    let mut agent = gate.agent("agent-0");
    for _ in 0..20 {
        let body = serde_json::json!({ "labels": labels }).to_string();
        let answer = agent.send(Method::PUT, &format!("{}/labels", issue(number)), &JSON, body.into()).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    let text = lines(&gate, 21).await;
    assert!(text.lines().all(|line| line.len() <= LONGEST_LINE), "{text}");
    assert!(text.contains("labels=[000"), "who is known is recorded with what it asked: {text}");
}

/// An agent that is refused without end: its lines are in the audit, and the ledger does not grow by them.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_without_end_leave_a_ledger_of_a_steady_size() {
    let forge = forge(&["agent-0", "agent-1"]).await;
    let setup = Setup::before(&forge.base_url()).config("[ledger]\nkeep_refusals = 40\n");
    let gate = setup.start().await;
    let number = backlog_issue(&forge).number;
    gate.agent("agent-1").claim(number).await.granted();
    let refuse = |times: usize| {
        let mut clients: Vec<Client> = (0..8).map(|_| gate.agent("agent-0")).collect();
        async move {
            let mut refusing = JoinSet::new();
            for mut client in clients.drain(..) {
                refusing.spawn(async move {
                    for _ in 0..times / 8 {
                        client.claim(number).await.refused(409, "already_assigned");
                    }
                });
            }
            while let Some(done) = refusing.join_next().await {
                done.expect("each is refused");
            }
        }
    };
    refuse(240).await;
    lines(&gate, 241).await;
    let file = gate.state_dir().join("ledger.sqlite");
    let count =
        |sql: &str| rusqlite::Connection::open(&file).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let rows = || count("SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM attempt)");
    let pruned = || async { (rows() < 200).then_some(()) };
    eventually(pruned, Duration::from_secs(10)).await.unwrap_or_else(|| panic!("{} rows", rows()));
    let pages = count("PRAGMA page_count");
    refuse(240).await;
    let text = lines(&gate, 481).await;
    eventually(pruned, Duration::from_secs(10)).await.unwrap_or_else(|| panic!("{} rows", rows()));
    assert!(count("PRAGMA page_count") <= pages + pages / 2, "{} pages, {pages} before", count("PRAGMA page_count"));
    // The grant is still to be had, older refusals are not, and that is said.
    let history = gate.operator().get(&format!("/history?item=acme/app%23{number}")).await.json();
    let told = history["history"].as_array().expect("a list");
    assert!(told.iter().any(|line| line["decision"] == "admit") && told.len() < 200, "{} lines", told.len());
    assert!(history["older"].as_str().is_some_and(|text| text.starts_with("refusals until ")), "{}", history["older"]);
    let metrics = || async {
        let text = gate.operator().get("/metrics").await.text();
        let line = text.lines().find(|line| line.starts_with("claimgate_ledger_bytes "))?.to_owned();
        line.split(' ').nth(1)?.parse::<f64>().ok().filter(|bytes| *bytes > 1e5)
    };
    assert!(eventually(metrics, Duration::from_secs(10)).await.is_some());
    // The chain goes on, also over a start.
    let holder = gate.holder(number).await;
    gate.kill().await;
    let gate = setup.again(&forge.base_url()).start().await;
    assert_eq!(gate.holder(number).await, holder);
    gate.agent("agent-0").claim(number).await.refused(409, "already_assigned");
    let last = text.lines().last().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).unwrap();
    let next = || async {
        // Lines that were not marked as printed before the kill come again.
        gate.audit().into_iter().find(|line| line["seq"].as_u64() > last["seq"].as_u64())
    };
    let next = eventually(next, Duration::from_secs(10)).await.expect("a line");
    assert_eq!(next["prev_hash"], last["hash"]);
}

/// Of ten megabytes of labels that any writer can make: at their real size, by what the process really keeps.
#[tokio::test(flavor = "multi_thread")]
async fn labels_without_end_close_neither_an_item_nor_the_queue() {
    let forge = forge_with(Options::forgejo_17(), &["agent-0", "agent-1"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let numbers: Vec<u64> = (0..50).map(|_| backlog_issue(&forge).number).collect();
    let text = "\u{1}".repeat(200);
    for number in &numbers {
        forge.flood_labels((REPO, Some(*number)), 130, "f", &text);
    }
    let (one, before) = (numbers[49], memory(&gate));
    forge.flood_labels((REPO, Some(one)), 7_000, &"g".repeat(240), &text);
    // Only names and numbers of it are short enough; the queue goes on.
    let next = r#"{"repository":"acme/app","set_labels":["in-progress"],"remove_labels":["backlog"]}"#;
    let claimed = gate.agent("agent-0").send(Method::POST, "/_claimgate/v1/claims/next", &JSON, next.into()).await;
    assert_eq!(claimed.status, 201, "{}", &claimed.text()[..200.min(claimed.body.len())]);
    gate.agent("agent-1").claim(one).await.granted();
    gate.agent("agent-0").claim(one).await.refused(409, "already_assigned");
    gate.agent("agent-1").release(one).await.granted();
    let back = || async { (memory(&gate).saturating_sub(before) < 48 << 20).then_some(()) };
    assert!(eventually(back, Duration::from_secs(10)).await.is_some(), "{} MiB stay", memory(&gate) >> 20);
}

/// Of many at once, each with as much as it may send: while it lasts memory is bounded by `guarded_memory`, and goes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_long_bodies_takes_no_more_than_its_memory_and_gives_it_back() {
    let forge = forge(&["agent-0"]).await;
    let config = "[server]\nguarded_memory = \"64MiB\"\n";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let number = backlog_issue(&forge).number;
    gate.agent("agent-0").claim(number).await.granted();
    let before = memory(&gate);
    let bodies: Vec<Bytes> = vec![
        format!(r#"{{"assignees":["{}"]}}"#, "n".repeat(6 << 20)).into(),
        format!(r#"{{"assignees":["bob"],"body":"{}"}}"#, "b".repeat(6 << 20)).into(),
        format!(r#"{{"assignees":["bob"],"body":"{}"}}"#, "\\n".repeat(3 << 20)).into(),
        format!(r#"{{"assignees":[{}"x"]}}"#, "\"y\",".repeat(90_000)).into(),
    ];
    let mut sending = JoinSet::new();
    for client in 0..24_usize {
        let (mut client_of, body) = (stranger(&gate, client), bodies[client % bodies.len()].clone());
        sending.spawn(async move {
            for _ in 0..3 {
                // An early refusal may come while the body is still on its way, and end the connection.
                drop(client_of.try_send(Method::PATCH, &issue(number), &JSON, body.clone()).await);
            }
        });
    }
    let mut most = before;
    while !sending.is_empty() {
        tokio::select! {
            _ = sending.join_next() => {}
            () = tokio::time::sleep(Duration::from_millis(5)) => most = most.max(memory(&gate)),
        }
    }
    let grown = most.saturating_sub(before);
    println!("peak {} MiB more", grown >> 20);
    assert!(grown < 96 << 20, "{} MiB more at its worst", grown >> 20);
    let back = || async {
        let left = memory(&gate).saturating_sub(before);
        (left < 24 << 20).then_some(left)
    };
    let left = eventually(back, Duration::from_secs(10)).await;
    println!("left {:?} MiB", left.map(|left| left >> 20));
    assert!(left.is_some(), "{} MiB stay", memory(&gate).saturating_sub(before) >> 20);
    gate.agent("agent-0").claim(number).await.granted();
}

/// Items whose texts are as long as the forge takes them: what the gate reads for many writes at once has its bound too, and no
/// two writes wait for what the other has.
#[tokio::test(flavor = "multi_thread")]
async fn long_answers_share_the_memory_of_guarded_writes() {
    const WRITES: usize = 40;
    let names: Vec<String> = (0..=WRITES).map(|n| format!("agent-{n}")).collect();
    let forge = forge(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let config = "[server]\nguarded_memory = \"32MiB\"\n";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let long = format!(r#"{{"body":"{}"}}"#, "x".repeat(3 << 20));
    let (small, mut numbers) = (backlog_issue(&forge).number, Vec::new());
    for _ in 0..WRITES {
        let number = backlog_issue(&forge).number;
        gate.agent("agent-0").send(Method::PATCH, &issue(number), &JSON, long.clone().into()).await;
        numbers.push(number);
    }
    let fits = || async { gate.agent("agent-0").get(&issue(small)).await.status == 200 };
    assert!(fits().await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = memory(&gate);
    // Each stays in its turn for a while, with all that it has read.
    forge.set_vices(Vices { write_delay: Duration::from_millis(700), ..Vices::default() });
    let mut claiming = JoinSet::new();
    for (number, name) in numbers.iter().copied().zip(names.clone()) {
        let mut agent = gate.agent(&name);
        claiming.spawn(async move { (number, agent.claim(number).await) });
    }
    let mut other = gate.agent(&names[WRITES]);
    claiming.spawn(async move { (small, other.claim(small).await) });
    let (mut most, mut told) = (before, Vec::new());
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    while !claiming.is_empty() {
        tokio::select! {
            one = claiming.join_next() => told.extend(one.map(Result::unwrap)),
            () = tokio::time::sleep(Duration::from_millis(5)) => most = most.max(memory(&gate)),
            () = tokio::time::sleep_until(until) => panic!("{} wait for ever", claiming.len()),
        }
    }
    let grown = most.saturating_sub(before) >> 20;
    println!("peak {grown} MiB more, {} granted", told.iter().filter(|(_, answer)| answer.status == 201).count());
    assert!(grown < 128, "{grown} MiB more at its worst");
    for (number, answer) in &told {
        match answer.status {
            503 => {
                answer.clone().refused(503, "lane_timeout");
                assert!(
                    answer.headers.contains_key("retry-after") && *number != small,
                    "{number}: {:?}",
                    answer.headers
                );
            }
            status => assert_eq!(status, 201, "{number}"),
        }
    }
    assert!(told.iter().any(|(number, answer)| answer.status == 201 && *number != small), "one by itself has room");
    // What was refused goes through, one after another.
    forge.set_vices(Vices::default());
    for (number, name) in numbers.iter().zip(&names) {
        gate.agent(name).claim(*number).await.granted();
    }
}
