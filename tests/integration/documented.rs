//! Calls that the README, the manual and the configuration show, carried out.

use std::path::Path;

use claimgate::fake_forge::FakeForge;
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, REPO, Setup, backlog_issue};

fn text(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is there")
}

/// The targets of all calls by this method that the file shows, of those that begin so.
fn shown(file: &str, method: &str, begin: &str) -> Vec<String> {
    let (text, method) = (text(file).replace("\n# ", " "), format!("{method} "));
    let calls = text.split(&method).skip(1).filter(|rest| rest.starts_with(begin));
    let ends = |c: char| c.is_whitespace() || matches!(c, '`' | ',' | ';');
    calls.map(|rest| rest.split(ends).next().unwrap_or_default().trim_end_matches('.').to_owned()).collect()
}

async fn forge() -> FakeForge {
    e2e::forge(&["ann"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_ends_a_singleton_as_the_configuration_says() {
    let calls = shown("config/claimgate.toml", "DELETE", "/singletons/");
    let [call] = &calls[..] else { panic!("{calls:?}") };
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let config = "[[singleton]]\nname = \"manager\"\nagents = [\"ann\"]\nactions = [\"claim\"]\nidle = \"1h\"\n";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    gate.agent("ann").claim(number).await.granted();
    let place = call.replace("NAME", "manager").replace("OWNER/REPO", REPO).replace("TEXT", "it+hangs");
    let ended = gate.operator().call(Method::DELETE, &place, None).await;
    assert_eq!((ended.status, &ended.json()["ended"]["agent"]["account"]), (200, &json!("ann")), "{}", ended.text());
    let told = || async { gate.audit().into_iter().find(|line| line.to_string().contains("it hangs")) };
    e2e::eventually(told, std::time::Duration::from_secs(8)).await.expect("the reason is recorded");
}

/// As the call before it in the manual has taken it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_is_given_back_as_the_manual_says() {
    let calls = shown("src/manual/agents.md", "DELETE", "/_claimgate/v1/claims/");
    let [call] = &calls[..] else { panic!("{calls:?}") };
    let page = text("src/manual/agents.md");
    let taken = page.split("claims/next").skip(1).find_map(|rest| rest.split_once("-d '")?.1.split('\'').next());
    let taken = taken.expect("the manual takes an item").replace("alice/shop", REPO);
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let mut ann = gate.agent("ann");
    let body: Value = serde_json::from_str(&taken).expect("JSON");
    assert_eq!(ann.call(Method::POST, "/_claimgate/v1/claims/next", Some(body)).await.status, 201);
    assert_eq!(forge.issue(REPO, number).labels, ["in-progress"]);
    let place = call.replace("alice/shop/1", &format!("{REPO}/{number}"));
    let given = ann.call(Method::DELETE, &place, None).await;
    assert_eq!(given.status / 100, 2, "{}", given.text());
    let now = forge.issue(REPO, number);
    assert_eq!((now.assignees, now.labels), (vec![], vec!["backlog".to_owned()]));
}
