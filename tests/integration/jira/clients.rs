//! Stock clients, directly and through the gate: they are told the same, and leave the same. Installed by
//! `tests/jira/install`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::fake::{FakeJira, Flavour};
use super::support::{gate, jira};
use crate::e2e::stop_and_verify;

#[derive(Clone, Copy)]
enum Stock {
    Pycontribs,
    JiraJs,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Stock {
    /// The command before its arguments; none, loudly, where the client is not installed.
    fn command(self) -> Option<Command> {
        let (wanted, installed, program, script) = match self {
            Self::Pycontribs => {
                ("requirements.txt", "jira-python/requirements.txt", "jira-python/bin/python", "flows.py")
            }
            Self::JiraJs => ("package.json", "jira-node/installed.json", "node", "flows.mjs"),
        };
        let same = std::fs::read(root().join("tests/jira").join(wanted)).ok();
        if same != std::fs::read(root().join("target").join(installed)).ok() {
            eprintln!("SKIPPED: no stock client of Jira: tests/jira/install installs {installed}");
            return None;
        }
        let program = if program == "node" { PathBuf::from(program) } else { root().join("target").join(program) };
        let mut command = Command::new("timeout");
        command.arg("120").arg(program).arg(root().join("tests/jira").join(script));
        command.current_dir(root().join("target").join(installed).parent().expect("a folder"));
        Some(command)
    }
}

fn accounts(jira: &FakeJira) -> Value {
    let rows = jira.rows();
    let account = |login: &str| {
        let (name, find, own) = match rows.flavour {
            Flavour::Cloud => (
                format!("{login}@example.com"),
                login.to_owned(),
                json!({ "accountId": format!("5b10a2844c20165700ed:{login}") }),
            ),
            Flavour::DataCenter => (login.to_owned(), login.to_owned(), json!({ "name": login })),
        };
        json!({ "name": name, "secret": format!("secret-of-{login}"), "find": find, "as": own })
    };
    json!({ "dev-1": account("dev-1"), "dev-2": account("dev-2"), "nobody": account("nobody") })
}

/// One line a step.
fn run(stock: Stock, base: &str, jira: &FakeJira, more: &[&str]) -> Option<Vec<Value>> {
    let issue = jira.add_issue("DIR", "first");
    let mut command = stock.command()?;
    let output =
        command.arg(base).arg(accounts(jira).to_string()).arg(issue).args(more).output().expect("timeout runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect())
}

async fn compare(stock: Stock, flavour: Flavour) {
    let jira = jira(flavour).await;
    let gate = gate(&jira, "").await;
    let base = format!("http://{}", gate.address);
    let (told, gate) = tokio::task::spawn_blocking(move || {
        let direct = run(stock, &jira.base(), &jira, &[]);
        let before = jira.rows().log.len();
        let through = run(stock, &base, &jira, &[]);
        let prefixed = run(stock, &format!("{base}/as/one"), &jira, &[]);
        let refused = run(stock, &base, &jira, &["refused"]);
        let sent: Vec<_> = jira.rows().log[before..].to_vec();
        let refusals = sent.iter().filter(|call| call.guarded && call.user.as_deref() == Some("dev-2")).count();
        ((direct, through, prefixed, refused, refusals), gate)
    })
    .await
    .expect("the flows run");
    let (Some(direct), Some(through), Some(prefixed), Some(refused), refusals) = told else { return };
    assert!(direct.len() >= 9, "{direct:?}");
    for (told, directly) in through.iter().chain(&prefixed).zip(direct.iter().chain(&direct)) {
        assert_eq!(told, directly);
    }
    assert_eq!((through.len(), prefixed.len()), (direct.len(), direct.len()));
    let others: Vec<&Value> =
        refused.iter().filter(|line| line["step"].as_str().is_some_and(|step| step.ends_with("of another"))).collect();
    assert_eq!(others.len(), 3, "{refused:?}");
    for line in others {
        let told = line["told"].as_str().unwrap_or_default();
        assert!(told.contains("409") && told.contains("is held by"), "{line}");
    }
    // Nothing was sent for them, and nobody tried again.
    assert_eq!(refusals, 0);
    let refusals = gate.audit().iter().filter(|line| line["decision"] == "reject").count();
    assert_eq!(refusals, 3, "{:?}", gate.audit());
    stop_and_verify(gate, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pycontribs_is_told_the_same_by_cloud() {
    compare(Stock::Pycontribs, Flavour::Cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pycontribs_is_told_the_same_by_data_center() {
    compare(Stock::Pycontribs, Flavour::DataCenter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_js_is_told_the_same_by_cloud() {
    compare(Stock::JiraJs, Flavour::Cloud).await;
}
