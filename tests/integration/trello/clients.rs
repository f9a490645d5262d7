//! Stock clients of Trello through the gate, as they come from their registries: trello.js by its base URL, and py-trello, which
//! knows api.trello.com and nothing else, by interception. What is not on this machine is skipped, loudly.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Stage, board, gate_before};
use crate::e2e::{Gate, Setup, eventually, stop_and_verify};
use crate::ways;

const HOST: &str = "api.trello.com";

/// A folder with trello.js; none, loudly, where it cannot be had.
static TRELLO_JS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/node-trello");
    if folder.join("node_modules/trello.js/package.json").exists() {
        return Some(folder);
    }
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut npm = Command::new("timeout");
    npm.args(["180", "npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix"]).arg(&folder);
    let made = npm.args(["trello.js@2.2.0"]).output().is_ok_and(|output| output.status.success());
    if !made {
        eprintln!("SKIPPED: no npm here, or no trello.js, so that client was not tried");
    }
    made.then_some(folder)
});

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said} {wrong}");
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said} {wrong}")))
        .collect()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn trello_js_by_its_base_url() {
    let folder = tokio::task::spawn_blocking(|| TRELLO_JS.as_ref()).await.expect("no panic");
    let Some(folder) = folder else { return };
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, "[identity]\nshared_accounts = [\"agent-0\"]\n").await;
    let card = board.trello.add_card(board.list("Todo"), "work");
    let (own, doing) = (&board.agents[0], board.list("Doing"));
    let client = |agent: &str| {
        let mut node = Command::new("timeout");
        node.args(["60", "node"]).arg(script("trello.mjs")).arg(folder);
        node.arg(format!("http://{}/as/{agent}/1", gate.address));
        node.args(["key-agent-0", "token-agent-0", &card.id, own, doing]);
        run(node)
    };
    let won = lines(&client("one").await);
    assert_eq!(
        won,
        [
            json!({ "what": "add", "told": [own] }),
            json!({ "what": "add again", "told": [own] }),
            json!({ "what": "move", "told": doing }),
            json!({ "what": "set", "told": doing }),
        ]
    );
    let sent = board.trello.guarded_writes().len();
    let lost = lines(&client("two").await);
    assert_eq!(lost.len(), 4, "{lost:?}");
    for told in &lost {
        let error = told["error"].as_str().unwrap_or_else(|| panic!("{told}"));
        assert!(error.starts_with("Request failed: 409 Conflict - {\"message\":\""), "{error}");
        assert!(error.contains("agent-0") && error.contains("one"), "the winner is named: {error}");
    }
    assert_eq!((sent, board.trello.guarded_writes().len()), (2, 2), "nothing was tried twice");
    stop_and_verify(gate, 8).await;
}

/// A gate that speaks for api.trello.com at this address.
async fn intercepting(board: &Stage, at: SocketAddr) -> (Gate, Setup, PathBuf) {
    let config = format!(
        "[upstream]\ntracker = \"trello\"\npublic_url = \"https://{HOST}\"\n[identity]\nshared_accounts = [\"agent-0\"]\n\
         [[server.listener]]\naddress = \"{at}\"\nintercept = true\n[intercept]\nhosts = [\"{HOST}\"]\n"
    );
    let setup = Setup::before(&format!("http://{}", board.trello.addr)).config(&config);
    let root = ways::authority(&setup, &[]).await;
    (setup.start().await, setup, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn py_trello_under_trellos_own_name() {
    let Some(python) = ways::clients::python_with_libraries().await else { return };
    let (board, at) = (board(1).await, ways::free_address());
    let (gate, _setup, root) = intercepting(&board, at).await;
    let card = board.trello.add_card(board.list("Todo"), "work");
    let client = |agent: &str, root: Option<&Path>| {
        let mut command = Command::new("timeout");
        command.arg("60").arg(python).arg(script("py_trello.py"));
        command.args(["key-agent-0", "token-agent-0", &board.board, &card.id, &board.agents[0], board.list("Doing")]);
        for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NO_PROXY", "no_proxy", "https_proxy"] {
            command.env_remove(name);
        }
        command.env("HTTPS_PROXY", format!("http://{agent}:x@{at}"));
        command.envs(root.map(|root| ("REQUESTS_CA_BUNDLE", root)));
        run(command)
    };
    let told = lines(&client("one", Some(&root)).await);
    assert_eq!(told, [json!({ "what": "assign", "told": "ok" }), json!({ "what": "move", "told": "ok" })]);
    assert_eq!(
        (board.trello.stands_in(&card.id).as_str(), &board.trello.card(&card.id).members),
        ("Doing", &board.agents)
    );
    // It signs whatever it sends, and that arrives as it was.
    let writes = board.trello.guarded_writes();
    assert_eq!(writes.len(), 2, "{writes:?}");
    for write in &writes {
        assert!(
            write.headers["authorization"].to_str().is_ok_and(|text| text.contains("oauth_signature=")),
            "{write:?}"
        );
    }
    for told in lines(&client("two", Some(&root)).await) {
        let error = told["error"].as_str().unwrap_or_else(|| panic!("{told}"));
        assert!(error.starts_with("ResourceUnavailable: ") && error.contains("(HTTP status: 409)"), "{error}");
        assert!(error.contains("one"), "the winner is named: {error}");
    }
    assert_eq!(board.trello.guarded_writes().len(), 2, "nothing more was sent");
    // Without the authority it goes nowhere, and the log says what is missing.
    for told in lines(&client("three", None).await) {
        assert!(told["error"].as_str().is_some_and(|error| error.to_lowercase().contains("certificate")), "{told}");
    }
    let seen = || async { gate.stderr().contains("does not trust").then_some(()) };
    eventually(seen, Duration::from_secs(5)).await.unwrap_or_else(|| panic!("{}", gate.stderr()));
    let (_, refused) = ways::connect(at, "example.com:443", "").await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    stop_and_verify(gate, 4).await;
}
