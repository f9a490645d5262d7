//! Limits and singletons through the real binary: parallel claims, its listeners, and a start in between.

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup};
use claimgate::fake_forge::{FakeForge, Vices};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const MANAGERS: &str = r#"
[identity]
shared_accounts = ["bot"]
[[singleton]]
agents = ["manager-*"]
actions = ["move"]
idle = "10m"
"#;

const LIST: &str = "/_claimgate/v1/singletons";
const OWN: &str = "/_claimgate/v1/singletons/manager/acme/app";

async fn with_managers() -> (FakeForge, Setup, Gate) {
    let forge = e2e::forge(&["bot", "ann"]).await;
    let setup = Setup::before(&forge.base_url()).config(MANAGERS);
    let gate = setup.start().await;
    (forge, setup, gate)
}

fn manager(gate: &Gate, name: &str) -> Client {
    gate.agent("bot").below(&format!("/as/{name}"))
}

/// Puts a new item of the backlog into todo.
async fn promotes(forge: &FakeForge, agent: &mut Client) -> Answer {
    let number = e2e::backlog_issue(forge).number;
    // The forge numbers labels from 1, in the order in which they were made.
    let todo = e2e::LABELS.iter().position(|label| *label == "todo").map(|at| at + 1);
    labels(agent, &e2e::issue(number), json!([todo])).await
}

async fn labels(agent: &mut Client, issue: &str, labels: Value) -> Answer {
    agent.call(Method::PUT, &format!("{issue}/labels"), Some(json!({ "labels": labels }))).await
}

/// The names of the instances that a list of singletons has.
fn instances(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = answer.json()["singletons"].as_array().cloned().expect("a list");
    list.iter().map(|one| one["agent"]["instance"].clone()).collect()
}

#[tokio::test]
async fn of_twenty_parallel_claims_of_one_agent_three_succeed() {
    let forge = e2e::forge(&["dev", "ann"]).await;
    let gate = Setup::before(&forge.base_url()).config("[limits]\nitems = 3").start().await;
    forge.set_vices(Vices { write_delay: Duration::from_millis(5), ..Vices::default() });
    let numbers: Vec<u64> = (0..20).map(|_| e2e::backlog_issue(&forge).number).collect();
    let claims = numbers.iter().map(|number| {
        let (mut agent, number) = (gate.agent("dev"), *number);
        tokio::spawn(async move { agent.claim(number).await })
    });
    let mut granted = 0;
    for claim in claims.collect::<Vec<_>>() {
        let answer = claim.await.expect("no panic");
        if answer.status == 201 {
            granted += 1;
        } else {
            answer.refused(409, "limit_reached");
        }
    }
    let assigned = numbers.iter().filter(|number| !forge.issue(REPO, **number).assignees.is_empty());
    assert_eq!((granted, assigned.count()), (3, 3));
    gate.agent("ann").claim(e2e::backlog_issue(&forge).number).await.granted();
    e2e::stop_and_verify(gate, 21).await;
}

#[tokio::test]
async fn two_triggers_a_start_in_between_and_the_word_that_it_is_done() {
    let (forge, setup, gate) = with_managers().await;
    let (mut one, mut two) = (manager(&gate, "manager-1"), manager(&gate, "manager-2"));
    promotes(&forge, &mut one).await.granted();
    let refused = promotes(&forge, &mut two).await;
    let body = refused.refused(409, "singleton_busy").json();
    assert_eq!(body["claimgate"]["holder"], json!({ "account": "bot", "instance": "manager-1" }));
    assert!(body["claimgate"]["since"].is_string(), "{body}");
    gate.kill().await;

    let gate = setup.again(&forge.base_url()).start().await;
    let (mut one, mut two) = (manager(&gate, "manager-1"), manager(&gate, "manager-2"));
    promotes(&forge, &mut two).await.refused(409, "singleton_busy");
    assert_eq!(instances(&two.get(LIST).await), ["manager-1"], "it has written there, so it may read there");
    assert_eq!(two.call(Method::DELETE, OWN, None).await.status, 409);
    assert_eq!(one.call(Method::DELETE, OWN, None).await.status, 200);
    assert_eq!(one.call(Method::DELETE, OWN, None).await.status, 404);
    promotes(&forge, &mut two).await.granted();
    assert_eq!(instances(&gate.operator().get("/singletons").await), ["manager-2"]);
    e2e::stop_and_verify(gate, 4).await;
}

/// The refused one may write elsewhere at once, and where it was refused as soon as the first one is done.
#[tokio::test]
async fn two_triggers_in_two_projects_stand_in_nobodys_way() {
    let (forge, _setup, gate) = with_managers().await;
    forge.add_repo("acme", "lib");
    forge.grant_write("bot", "acme/lib");
    let todo = forge.add_label("acme/lib", "todo");
    let elsewhere = forge.add_issue("acme/lib", "a piece of other work", &[], &[]).number;
    let elsewhere = format!("/api/v1/repos/acme/lib/issues/{elsewhere}");
    let (mut one, mut two) = (manager(&gate, "manager-1"), manager(&gate, "manager-2"));
    promotes(&forge, &mut one).await.granted();
    promotes(&forge, &mut two).await.refused(409, "singleton_busy");
    labels(&mut two, &elsewhere, json!([todo])).await.granted();
    labels(&mut one, &elsewhere, json!([])).await.refused(409, "singleton_busy");
    assert_eq!(instances(&gate.operator().get("/singletons").await), ["manager-1", "manager-2"]);
    assert_eq!(one.call(Method::DELETE, OWN, None).await.status, 200);
    promotes(&forge, &mut two).await.granted();
    e2e::stop_and_verify(gate, 5).await;
}

#[tokio::test]
async fn the_operator_lists_counts_and_ends_them() {
    let (forge, _setup, gate) = with_managers().await;
    promotes(&forge, &mut manager(&gate, "manager-1")).await.granted();
    let mut operator = gate.operator();
    assert_eq!(instances(&operator.get("/singletons").await), ["manager-1"]);
    let ended = operator.call(Method::DELETE, "/singletons/manager/acme/app?reason=it+hangs", None).await;
    assert_eq!(ended.json()["message"], "bot (manager-1) is no longer at work in acme/app (singleton manager)");
    assert_eq!(operator.call(Method::DELETE, "/singletons/manager/acme/app", None).await.status, 404);
    assert_eq!(operator.call(Method::DELETE, "/singletons/manager", None).await.status, 400);
    assert_eq!(operator.call(Method::POST, "/singletons", None).await.status, 405);
    promotes(&forge, &mut manager(&gate, "manager-2")).await.granted();
    let metrics = operator.get("/metrics").await.text();
    assert!(metrics.contains("claimgate_singletons"), "{metrics}");
    let told = || async { gate.audit().iter().any(|line| line["reason"] == "it hangs").then_some(()) };
    assert!(e2e::eventually(told, Duration::from_secs(10)).await.is_some(), "{}", gate.stdout());
}

#[tokio::test]
async fn strangers_learn_nothing_of_who_is_at_work() {
    let (forge, _setup, gate) = with_managers().await;
    promotes(&forge, &mut manager(&gate, "manager-1")).await.granted();
    assert_eq!(instances(&gate.agent("ann").get(LIST).await), [] as [Value; 0]);
    assert_eq!(gate.anonymous().get(LIST).await.status, 401);
    assert_eq!(gate.anonymous().call(Method::DELETE, OWN, None).await.status, 401);
    assert_eq!(gate.agent("ann").call(Method::DELETE, OWN, None).await.status, 409);
    assert_eq!(gate.agent("ann").call(Method::DELETE, &format!("{LIST}/manager"), None).await.status, 404);
    assert_eq!(gate.agent("ann").call(Method::POST, LIST, None).await.status, 405);
    promotes(&forge, &mut manager(&gate, "manager-2")).await.refused(409, "singleton_busy");
}

#[tokio::test]
async fn observing_is_switched_for_each_of_them_while_it_runs() {
    let (forge, _setup, gate) = with_managers().await;
    promotes(&forge, &mut manager(&gate, "manager-1")).await.granted();
    let mode = json!({ "mode": "observe", "rule": "singleton" });
    assert_eq!(gate.operator().call(Method::POST, "/mode", Some(mode)).await.status, 200);
    let answer = promotes(&forge, &mut manager(&gate, "manager-2")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.decision().starts_with("observe; code=singleton_busy; id="), "{answer:?}");
    e2e::stop_and_verify(gate, 2).await;
}
