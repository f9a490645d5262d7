//! What stock python-redmine makes of claim, move, hand over, release and close, against the recording of a real Redmine
//! that it called directly. Whatever stands between the two must leave every line as it is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::conformance;
use super::real::{self, Accounts};

pub const RECORDED: &str = include_str!("../../recordings/redmine/flows.jsonl");

/// A Python with the library of `tests/redmine/requirements.txt`; none, loudly, where it cannot be had.
static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (wanted, folder) = (root.join("tests/redmine/requirements.txt"), root.join("target/python-redmine"));
    let (python, marker) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let texts = [&wanted, &marker].map(|path| std::fs::read(path).ok());
    if texts[0] == texts[1] {
        return Some(python);
    }
    let steps = [
        vec!["python3".as_ref(), "-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), folder.as_os_str()],
        // The library comes over the network.
        vec![
            "timeout".as_ref(),
            "120".as_ref(),
            python.as_os_str(),
            "-m".as_ref(),
            "pip".as_ref(),
            "install".as_ref(),
            "--quiet".as_ref(),
            "--requirement".as_ref(),
            wanted.as_os_str(),
        ],
    ];
    for step in steps {
        let done = Command::new(step[0]).args(&step[1..]).output();
        if !done.is_ok_and(|done| done.status.success()) {
            eprintln!("SKIPPED: no python3 with venv here, or no python-redmine, so no stock client was tried");
            return None;
        }
    }
    std::fs::copy(&wanted, &marker).expect("the folder is there");
    Some(python)
});

/// What each step of the flows was told and left; none where there is no such client here.
pub fn flows(addr: SocketAddr, accounts: &Accounts) -> Option<String> {
    let python = PYTHON.as_ref()?;
    let accounts =
        accounts.iter().map(|(name, account)| (name.clone(), json!({ "id": account.id, "key": account.key })));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), Value::Object(accounts.collect::<Map<_, _>>()).to_string()).expect("it can be written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redmine/flows.py");
    let mut command = Command::new("timeout");
    command.arg("120").arg(python).arg(script).arg(format!("http://{addr}")).arg(file.path());
    let output = command.output().expect("timeout runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn a_stock_client_is_told_by_the_real_one_what_was_recorded() {
    let Some(real) = real::real() else { return };
    let _turn = real::turn();
    let Some(told) = flows(real.addr, &real.accounts) else { return };
    assert_eq!(told, RECORDED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_is_told_by_the_fake_one_what_was_recorded() {
    let (redmine, accounts) = conformance::seeded().await;
    let addr = redmine.addr();
    let told = tokio::task::spawn_blocking(move || flows(addr, &accounts)).await.expect("the flows run");
    if let Some(told) = told {
        assert_eq!(told, RECORDED);
    }
}
