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
