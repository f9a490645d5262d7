//! Several agents behind one account.

use crate::e2e::{self, Gate, REPO, Setup};
use claimgate::fake_forge::FakeForge;

/// A forge with the account `bot`, and a gate that knows it to be shared.
async fn shared() -> (FakeForge, Gate) {
    let forge = e2e::forge(&["bot", "ann"]).await;
    let setup = Setup::before(&forge.base_url()).config("[identity]\nshared_accounts = [\"bot\"]");
    let gate = setup.start().await;
    (forge, gate)
}

#[tokio::test]
async fn without_an_instance_a_shared_account_is_told_how_to_name_it() {
    let (forge, gate) = shared().await;
    let number = e2e::backlog_issue(&forge).number;
    let answer = gate.agent("bot").claim(number).await;
    let message = answer.refused(409, "identity_required").json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("/as/<agent>/") && message.contains("Claimgate-Agent"), "{message}");
    assert!(forge.issue(REPO, number).assignees.is_empty());
    gate.agent("ann").claim(number).await.granted();
}

#[tokio::test]
async fn two_instances_are_two_agents() {
    let (forge, gate) = shared().await;
    let by_path = |name: &str| gate.agent("bot").below(&format!("/as/{name}"));
    let by_header = |name: &str| gate.agent("bot").with("claimgate-agent", name);
    for (one, other) in [(by_path("a"), by_path("b")), (by_header("a"), by_header("b")), (by_path("a"), by_header("b"))]
    {
        let (mut one, mut other) = (one, other);
        let number = e2e::backlog_issue(&forge).number;
        one.claim(number).await.granted();
        let refused = other.claim(number).await;
        let holder = refused.refused(409, "already_assigned").json()["claimgate"]["holder"].clone();
        assert_eq!(holder, serde_json::json!({ "account": "bot", "instance": "a" }));
        other.release(number).await.refused(409, "not_holder");
        one.claim(number).await.granted();
        assert_eq!(forge.issue(REPO, number).assignees, ["bot"]);
        one.release(number).await.granted();
        other.claim(number).await.granted();
    }
}

// === without a name ===

/// Two processes with one token, which have not read the documents.
async fn two_nameless(config: &str) -> (FakeForge, Gate, u64) {
    let forge = e2e::forge(&["bot", "forgejo-actions"]).await;
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let number = e2e::backlog_issue(&forge).number;
    (forge, gate, number)
}

async fn counted(gate: &Gate) -> String {
    let metrics = gate.operator().get("/metrics").await.text();
    let line = metrics.lines().find(|line| line.starts_with("claimgate_unnamed_instances_total"));
    line.map(str::to_owned).unwrap_or(metrics)
}

#[tokio::test]
async fn two_agents_with_one_token_are_counted_and_said_whatever_their_address() {
    let (_forge, gate, number) = two_nameless("").await;
    let (mut one, mut two) = (gate.agent("bot"), gate.agent("bot"));
    one.claim(number).await.granted();
    one.claim(number).await.granted();
    assert!(counted(&gate).await.ends_with(" 0"), "one agent says it again: {}", counted(&gate).await);
    two.claim(number).await.granted();
    assert!(counted(&gate).await.ends_with(" 1"), "{}", counted(&gate).await);
    two.claim(number).await.granted();
    let said = gate.stderr().matches("each is told that it holds what the other claims").count();
    assert_eq!(said, 1, "once an account: {}", gate.stderr());
    assert!(gate.stderr().contains("no shared account is declared"), "{}", gate.stderr());
}

#[tokio::test]
async fn two_items_at_once_over_two_connections_are_a_sign_too() {
    let (forge, gate, number) = two_nameless("").await;
    let (mut one, mut two) = (gate.agent("bot"), gate.agent("bot"));
    one.claim(number).await.granted();
    one.claim(e2e::backlog_issue(&forge).number).await.granted();
    assert!(counted(&gate).await.ends_with(" 0"), "{}", counted(&gate).await);
    two.claim(e2e::backlog_issue(&forge).number).await.granted();
    assert!(counted(&gate).await.ends_with(" 1"), "{}", counted(&gate).await);
    let (mut with, number) = (gate.agent("bot").below("/as/three"), e2e::backlog_issue(&forge).number);
    with.claim(number).await.granted();
    assert!(counted(&gate).await.ends_with(" 1"), "who has a name is no sign: {}", counted(&gate).await);
}

#[tokio::test]
async fn each_address_is_an_agent_where_the_operator_says_so() {
    let (_forge, gate, number) = two_nameless("[identity]\nunnamed = \"address\"\n").await;
    gate.agent("bot").claim(number).await.granted();
    assert_eq!(gate.claim(number).await["agent"]["instance"], "addr:127.0.0.1");
    gate.agent("bot").claim(number).await.granted();
    let refused = gate.agent("bot").from("127.0.0.2").claim(number).await;
    let message = refused.refused(409, "already_assigned").json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("bot (addr:127.0.0.1)"), "{message}");
    // Nobody calls itself so; and on a shared account an address is no name.
    let mut liar = gate.agent("bot").from("127.0.0.2").with("claimgate-agent", "addr:127.0.0.1");
    liar.claim(number).await.refused(409, "identity_required");
    gate.agent("forgejo-actions").claim(number).await.refused(409, "identity_required");
    assert!(!gate.stderr().contains("no shared account is declared"), "{}", gate.stderr());
}

#[tokio::test]
async fn jobs_of_the_trackers_ci_must_name_themselves() {
    let (_forge, gate, number) = two_nameless("").await;
    gate.agent("forgejo-actions").claim(number).await.refused(409, "identity_required");
    gate.agent("forgejo-actions").below("/as/job-1").claim(number).await.granted();
    gate.agent("forgejo-actions").below("/as/job-2").claim(number).await.refused(409, "already_assigned");
    let (_forge, gate, number) = two_nameless("[identity]\nshared_accounts = []\n").await;
    gate.agent("forgejo-actions").claim(number).await.granted();
}

/// By the path as by the header. No tracker has such a place, and nothing is sent to it.
#[tokio::test]
async fn a_name_that_no_agent_may_have_is_told_so() {
    let (forge, gate) = shared().await;
    let number = e2e::backlog_issue(&forge).number;
    let long = "a".repeat(65);
    let by_path = ["wörker".replace('ö', "%C3%B6"), "a+b".to_owned(), long.clone(), String::new()];
    let mut answers = Vec::new();
    for name in by_path {
        let mut agent = gate.agent("bot").below(&format!("/as/{name}"));
        answers.push(agent.claim(number).await);
        let next = serde_json::json!({ "repository": REPO });
        answers.push(agent.call(http::Method::POST, "/_claimgate/v1/claims/next", Some(next)).await);
    }
    answers.push(gate.agent("bot").with("claimgate-agent", "a+b").claim(number).await);
    answers.push(gate.agent("bot").with("claimgate-agent", &long).claim(number).await);
    for answer in answers {
        let message = answer.refused(409, "identity_required").json()["message"].clone();
        assert!(
            message.as_str().is_some_and(|it| it.contains("1 to 64 letters, digits or any of - _ . : @")),
            "{message}"
        );
    }
    assert!(forge.issue(REPO, number).assignees.is_empty());
    gate.agent("bot").below("/as/w:1@host").claim(number).await.granted();
    assert_eq!(gate.claim(number).await["agent"]["instance"], "w:1@host");
}

#[tokio::test]
async fn one_instance_is_the_same_by_either_source() {
    let (forge, gate) = shared().await;
    let number = e2e::backlog_issue(&forge).number;
    gate.agent("bot").below("/as/a").claim(number).await.granted();
    let again = gate.agent("bot").with("claimgate-agent", "a").claim(number).await;
    assert!(again.granted().decision().starts_with("noop; "), "{again:?}");
}

#[tokio::test]
async fn sources_that_disagree_are_refused() {
    let (forge, gate) = shared().await;
    let number = e2e::backlog_issue(&forge).number;
    let mut torn = gate.agent("bot").below("/as/a").with("claimgate-agent", "b");
    torn.claim(number).await.refused(409, "identity_required");
    assert!(forge.issue(REPO, number).assignees.is_empty());
    let mut agreed = gate.agent("bot").below("/as/a").with("claimgate-agent", "a");
    agreed.claim(number).await.granted();
}

#[tokio::test]
async fn the_links_of_a_list_keep_the_prefix() {
    let (forge, gate) = shared().await;
    for _ in 0..25 {
        e2e::backlog_issue(&forge);
    }
    let mut agent = gate.agent("bot").below("/as/a");
    let mut next = Some(format!("/api/v1/repos/{REPO}/issues?limit=10"));
    let mut pages = Vec::new();
    while let Some(path) = next {
        let answer = agent.get(&path).await;
        pages.push(answer.json().as_array().expect("a list").len());
        let link = answer.headers.get("link").map(|link| link.to_str().expect("text").to_owned()).unwrap_or_default();
        next = link.split(',').find(|part| part.contains("rel=\"next\"")).map(|part| {
            let url = &part[part.find('<').expect("<") + 1..part.find('>').expect(">")];
            let own = format!("http://{}/as/a", gate.address);
            url.strip_prefix(&own).unwrap_or_else(|| panic!("{url} is not below {own}")).to_owned()
        });
    }
    assert_eq!(pages, [10, 10, 5]);
}
