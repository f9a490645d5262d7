//! The command line before a Trello: what it would make of a request, which rules are in force, what stands on the boards.

use serde_json::Value;

use super::board;
use crate::e2e::{Setup, write_private};
use crate::ways::claimgate;

async fn told(setup: &Setup, arguments: &[&str]) -> String {
    let output = claimgate(setup, arguments).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // `scan` ends with 3 where it has found something.
    let code = if arguments[0] == "scan" { 3 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_speak_trello() {
    let board = board(2).await;
    let setup = Setup::before("");
    let service = setup.dir().join("service");
    write_private(&service, "key-agent-0:token-agent-0");
    let setup = setup.config(&format!(
        "[upstream]\ntracker = \"trello\"\nurl = \"http://{}\"\nservice_token_file = {service:?}\n",
        board.trello.addr
    ));
    let card = board.trello.add_card(board.list("Doing"), "in work, and nobody's");
    board.trello.add_card(board.list("Todo"), "waits");
    let explained =
        told(&setup, &["explain", "PUT", "/1/cards/AbCd1234?idList=510000000000000000000002&key=k&token=hush"]).await;
    assert!(
        explained.contains("guarded: labels+=[#510000000000000000000002]") && !explained.contains("hush"),
        "{explained}"
    );
    let passed = told(&setup, &["explain", "GET", "/1/tokens/hush"]).await;
    assert!(passed.contains("pass") && !passed.contains("hush"), "{passed}");
    let rules = told(&setup, &["check"]).await;
    assert!(rules.contains("Doing") && rules.contains("trello"), "{rules}");
    let found: Value = serde_json::from_str(&told(&setup, &["scan", "--json"]).await).expect("JSON");
    assert_eq!((&found["items"], &found["incomplete"]), (&2.into(), &Value::Array(Vec::new())), "{found}");
    assert_eq!(found["repositories"][0], board.board, "{found}");
    let findings = found["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|one| one["resource"] == card.short_link), "{found}");
}
