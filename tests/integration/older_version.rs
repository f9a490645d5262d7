//! What the version before the doors wrote: its ledger file opens and keeps its holdings, and its audit verifies.
//!
//! `tests/recordings/before-doors` holds both, as that version left them when it was killed: alice holds #1 and closed #5,
//! bob was refused #1 and gave #2 back, carol holds #3, and bob's claim of #4 had been sent and not answered.

use crate::e2e::{self, Setup};
use serde_json::{Value, json};
use std::fs::{Permissions, copy, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::process::Command;

fn recorded(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/before-doors").join(file)
}

/// Its standard output, with the standard error where it failed.
async fn claimgate(arguments: &[&str]) -> Result<String, String> {
    let run = Command::new(env!("CARGO_BIN_EXE_claimgate")).args(arguments).output().await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if run.status.success() { Ok(text(&run.stdout)) } else { Err(text(&run.stdout) + &text(&run.stderr)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_ledger_opens_and_keeps_its_holdings() {
    // Nobody can be asked how the items stand now.
    let setup = Setup::before("http://127.0.0.1:9");
    std::fs::create_dir_all(setup.state()).expect("the state directory");
    for file in ["ledger.sqlite", "fingerprint.key"] {
        let to = setup.state().join(file);
        copy(recorded(file), &to).expect("the recorded file");
        set_permissions(&to, Permissions::from_mode(0o600)).expect("ours");
    }
    let gate = setup.start().await;
    let admin = gate.admin.to_string();
    let claims = claimgate(&["claims", "--json", "--admin", &admin]).await.expect("claims");
    let rows: Value = serde_json::from_str(&claims).expect("JSON");
    // That of #5, which was closed long ago, ends at the start.
    let rows: Vec<Value> = (rows.as_array().or_else(|| rows["claims"].as_array()).expect("a list").iter())
        .filter(|row| row["resource"] != "alice/shop#5")
        .map(|row| json!([row["resource"], row["agent"]["account"], row["state"]]))
        .collect();
    assert_eq!(
        rows,
        [
            json!(["alice/shop#1", "alice", "active"]),
            json!(["alice/shop#3", "carol", "active"]),
            json!(["alice/shop#4", null, "doubt"]),
        ]
    );
    // A parked holding, what was refused, and what was in doubt are remembered, too.
    for (item, words) in [
        ("alice/shop#1", &["already_assigned", "bob"][..]),
        ("alice/shop#2", &["assignees=[]"]),
        ("alice/shop#4", &["bob", "doubt"]),
        ("alice/shop#5", &["alice", "closed"]),
    ] {
        let told = claimgate(&["history", item, "--admin", &admin]).await.expect("history").to_lowercase();
        for word in words {
            assert!(told.contains(word), "{item}, {word}: {told}");
        }
    }
    // The chain goes on where the older version's ended.
    e2e::eventually(|| async { (!gate.audit().is_empty()).then_some(()) }, std::time::Duration::from_secs(10))
        .await
        .expect("the write that was sent is settled or in doubt: a line says so");
    let whole = setup.dir().join("whole.ndjson");
    let before = std::fs::read_to_string(recorded("audit.ndjson")).expect("the recorded audit");
    std::fs::write(&whole, before + &gate.stdout()).expect("ours");
    let said = claimgate(&["audit", "verify", whole.to_str().expect("UTF-8")]).await;
    assert!(said.as_ref().is_ok_and(|said| said.starts_with("ok: ")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_audit_verifies() {
    let file = recorded("audit.ndjson");
    let said = claimgate(&["audit", "verify", file.to_str().expect("UTF-8")]).await.expect("verified");
    assert!(said.starts_with("ok: 8 lines"), "{said}");
    // One letter less, and it does not.
    let text = std::fs::read_to_string(&file).expect("the recorded audit").replacen("carol", "caro1", 1);
    let forged = tempfile::NamedTempFile::new().expect("ours");
    std::fs::write(forged.path(), text).expect("ours");
    claimgate(&["audit", "verify", forged.path().to_str().expect("UTF-8")]).await.expect_err("a line was changed");
}
