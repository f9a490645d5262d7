//! The real gate before a Redmine: one winner of each issue, the same answers to a stock client, and no way round.

use std::net::SocketAddr;
use std::sync::Barrier;

use serde_json::{Value, json};

use super::conformance;
use super::flows;
use super::real::{self, Accounts};
use super::recorded::Replay;
use super::shapes;
use crate::e2e::{Gate, Setup, stop_and_verify};

/// A gate that speaks Redmine, with more configuration.
async fn gate(redmine: SocketAddr, more: &str) -> Gate {
    let config = format!("[upstream]\ntracker = \"redmine\"\n{more}");
    Setup::before(&format!("http://{redmine}")).config(&config).start().await
}

async fn blocking<T: Send + 'static>(of: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(of).await.expect("no panic")
}

const AGENTS: usize = 8;
const ISSUES: usize = 30;

/// Eight agents claim each of thirty issues at the same moment: what each was told, and who is assigned.
fn race(direct: SocketAddr, through: SocketAddr, accounts: &Accounts) {
    for issue in 0..ISSUES {
        let body = json!({ "issue": { "project_id": "demo", "subject": format!("race {issue}") } }).to_string();
        let made = real::call(direct, accounts, "admin", ("POST", "/issues.json"), &body);
        let made: Value = serde_json::from_str(&made.body).expect("what was made is JSON");
        let path = format!("/issues/{}.json", made["issue"]["id"]);
        let barrier = Barrier::new(AGENTS);
        let claim = |number: usize| {
            let who = format!("dev-{number}");
            // Some name themselves, as clients do, and some are `me`.
            let own = if number.is_multiple_of(2) { json!("me") } else { json!(accounts[&who].id) };
            let body = json!({ "issue": { "assigned_to_id": own, "status_id": 2 } }).to_string();
            barrier.wait();
            real::call(through, accounts, &who, ("PUT", &path), &body)
        };
        let told: Vec<(u64, real::Answer)> = std::thread::scope(|scope| {
            let all: Vec<_> = (1..=AGENTS).map(|number| (number, scope.spawn(move || claim(number)))).collect();
            let joined = all
                .into_iter()
                .map(|(number, thread)| (accounts[&format!("dev-{number}")].id, thread.join().expect("it claims")));
            joined.collect()
        });
        let winners: Vec<u64> = told.iter().filter(|(_, answer)| answer.status == 204).map(|(id, _)| *id).collect();
        let shown = real::call(direct, accounts, "admin", ("GET", &path), "");
        let shown: Value = serde_json::from_str(&shown.body).expect("JSON");
        let assigned = shown["issue"]["assigned_to"]["id"].as_u64();
        assert_eq!(winners.len(), 1, "{path}: {told:?}");
        assert_eq!((assigned, &shown["issue"]["status"]["id"]), (Some(winners[0]), &json!(2)), "{path}");
        for (_, answer) in told.iter().filter(|(_, answer)| answer.status != 204) {
            assert_eq!(answer.status, 409, "{answer:?}");
            let body: Value = serde_json::from_str(&answer.body).expect("a refusal is JSON");
            assert_eq!(body["claimgate"]["code"], "already_assigned", "{body}");
            assert!(body["errors"][0].as_str().is_some_and(|text| text.contains("is held by")), "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_one_gets_each_issue_of_the_fake_one() {
    let (redmine, accounts) = conformance::seeded().await;
    let gate = gate(redmine.addr(), "").await;
    let (direct, through) = (redmine.addr(), gate.address);
    blocking(move || race(direct, through, &accounts)).await;
    stop_and_verify(gate, ISSUES * AGENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_one_gets_each_issue_of_the_real_one() {
    let Some(real) = blocking(real::real).await else { return };
    let gate = gate(real.addr, "").await;
    let through = gate.address;
    blocking(move || {
        let _turn = real::turn();
        race(real.addr, through, &real.accounts);
    })
    .await;
    stop_and_verify(gate, ISSUES * AGENTS).await;
}

// === a stock client ===

/// Where the gate tells something else than Redmine, on purpose: what it does not see done it does not call done, and what is
/// somebody's is nobody else's to delete.
const TOLD_OTHERWISE: [(&str, &str); 2] =
    [("a status that the workflow has not", "ValidationError"), ("delete", "ConflictError")];

fn compare_flows(told: &str) {
    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    };
    let (told, recorded) = (lines(told), lines(flows::RECORDED));
    assert_eq!(told.len(), recorded.len());
    for (told, recorded) in told.iter().zip(&recorded) {
        let otherwise = TOLD_OTHERWISE.iter().find(|(step, _)| recorded["step"] == *step);
        assert_eq!(told["left"], recorded["left"], "{told} {recorded}");
        match otherwise {
            Some((_, kind)) => assert!(told["told"].as_str().is_some_and(|text| text.starts_with(kind)), "{told}"),
            None => assert_eq!(told, recorded),
        }
    }
}

/// To whom an item is handed is told by its client alone, so that agents may assign each other here.
const HANDING: &str = "[assignment]\nassign_others = true\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_is_told_the_same_as_by_the_fake_one_itself() {
    let (redmine, accounts) = conformance::seeded().await;
    let gate = gate(redmine.addr(), HANDING).await;
    let through = gate.address;
    if let Some(told) = blocking(move || flows::flows(through, &accounts)).await {
        compare_flows(&told);
        stop_and_verify(gate, 20).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_is_told_the_same_as_by_the_real_one_itself() {
    let Some(real) = blocking(real::real).await else { return };
    let gate = gate(real.addr, HANDING).await;
    let through = gate.address;
    let told = blocking(move || {
        let _turn = real::turn();
        flows::flows(through, &real.accounts)
    });
    if let Some(told) = told.await {
        compare_flows(&told);
        stop_and_verify(gate, 20).await;
    }
}

// === ways that nobody writes ===

/// An administrator gives the issue to `dev-2` before each shape, and is above the rules.
const ADMIN: &str = "[assignment]\noverriders = [\"admin\"]\n";

fn hold_against_shapes(through: SocketAddr, accounts: &Accounts) -> usize {
    let (count, seed) = shapes::chosen(200);
    let drawn = shapes::drawn(count, seed);
    let mut replay = Replay::new(through, accounts);
    let mut refused = 0;
    for shape in &drawn {
        let (answer, left) = replay.answer(shape);
        if shape.get("on").is_some() {
            assert_eq!(left, json!([accounts["dev-2"].id, 1]), "seed {seed}: {} {answer}", shape["request"]);
            refused += usize::from(answer["status"] == 409);
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shape_takes_a_held_issue_of_the_fake_one() {
    let (redmine, accounts) = conformance::seeded().await;
    let gate = gate(redmine.addr(), ADMIN).await;
    let through = gate.address;
    let refused = blocking(move || hold_against_shapes(through, &accounts)).await;
    // Many are understood, and refused as what they are.
    assert!(refused > 20, "{refused}");
    stop_and_verify(gate, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shape_takes_a_held_issue_of_the_real_one() {
    let Some(real) = blocking(real::real).await else { return };
    let gate = gate(real.addr, ADMIN).await;
    let through = gate.address;
    let refused = blocking(move || {
        let _turn = real::turn();
        hold_against_shapes(through, &real.accounts)
    });
    let refused = refused.await;
    assert!(refused > 20, "{refused}");
    stop_and_verify(gate, refused).await;
}

// === what else is told ===

/// A change that Redmine ignores is no success, and what is asked for as XML is told as XML.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_refusal() {
    let (redmine, accounts) = conformance::seeded().await;
    let gate = gate(redmine.addr(), "").await;
    let id = redmine.add_issue("demo", "admin", "one");
    let through = gate.address;
    let (path, moved) = (format!("/issues/{id}.json"), format!("/issues/{id}.xml"));
    let stranger = accounts["stranger"].id;
    blocking(move || {
        let call =
            |who: &str, path: &str, body: Value| real::call(through, &accounts, who, ("PUT", path), &body.to_string());
        // No member: Redmine says 204 and saves nothing.
        let silent = call("stranger", &path, json!({ "issue": { "status_id": 2 } }));
        assert_eq!(silent.status, 422, "{silent:?}");
        assert!(silent.body.contains("\"not_applied\""), "{silent:?}");
        let claimed = call("dev-1", &path, json!({ "issue": { "assigned_to_id": "me" } }));
        assert_eq!((claimed.status, claimed.body.as_str()), (204, ""));
        let again = call("dev-1", &path, json!({ "issue": { "assigned_to_id": "me" } }));
        assert_eq!(again.status, 204);
        let taken = call("dev-2", &moved, json!({ "issue": { "assigned_to_id": accounts["dev-2"].id } }));
        assert_eq!(taken.status, 409);
        let is_xml =
            taken.headers.iter().any(|(name, value)| name == "content-type" && value.starts_with("application/xml"));
        assert!(is_xml && taken.body.contains("<errors type=\"array\"><error>#"), "{taken:?}");
        // Its tracker would choose another status.
        let other = call("dev-2", &path, json!({ "issue": { "tracker_id": 2 } }));
        assert_eq!(other.status, 409, "{other:?}");
        let note = call("dev-2", &path, json!({ "issue": { "notes": "good luck" } }));
        assert_eq!(note.status, 204);
        let closed = call("dev-1", &path, json!({ "issue": { "status_id": 5 } }));
        assert_eq!(closed.status, 204);
        let nobody = call("dev-1", &path, json!({ "issue": { "assigned_to_id": stranger } }));
        assert_eq!(nobody.status, 422, "Redmine's own refusal goes back: {nobody:?}");
        assert!(nobody.body.contains("Assignee is invalid"), "{nobody:?}");
    })
    .await;
    let shown = redmine.issue(id);
    assert_eq!((shown.assigned_to.as_deref(), shown.status.as_str()), (Some("dev-1"), "Closed"));
    stop_and_verify(gate, 5).await;
}

/// Work is found and taken by the gate's own API.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_issue_is_claimed_by_the_claims_api() {
    let (redmine, accounts) = conformance::seeded().await;
    let gate = gate(redmine.addr(), "").await;
    let ids: Vec<u64> = (0..3).map(|number| redmine.add_issue("demo", "admin", &format!("work {number}"))).collect();
    redmine.edit_outside(ids[0], Some(accounts["dev-3"].id), 1);
    let through = gate.address;
    let found = blocking(move || {
        let body = json!({ "repository": "demo", "set_labels": ["In Progress"] }).to_string();
        let next = |who: &str| real::call(through, &accounts, who, ("POST", "/_claimgate/v1/claims/next"), &body);
        let found = [next("dev-1"), next("dev-2"), next("dev-4")];
        let call =
            |who: &str, method: &str, path: &str, body: &str| real::call(through, &accounts, who, (method, path), body);
        let given = call("dev-1", "POST", &format!("/_claimgate/v1/claims/{}/handover", ids[1]), "{\"to\":\"9\"}");
        let shown: Value = serde_json::from_str(&given.body).expect("JSON");
        assert_eq!((given.status, &shown["item"]["issue"]["assigned_to"]["id"]), (200, &json!(9)), "{given:?}");
        let released = call("dev-2", "DELETE", &format!("/_claimgate/v1/claims/{}", ids[2]), "");
        assert_eq!(released.status, 204, "{released:?}");
        (found, ids)
    });
    let (found, ids) = found.await;
    assert_eq!(found.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201, 204], "{found:?}");
    for answer in &found[..2] {
        let shown: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(shown["item"]["issue"]["status"]["name"], "In Progress", "{answer:?}");
    }
    for (id, who) in [(ids[1], Some("dev-5")), (ids[2], None)] {
        let shown = redmine.issue(id);
        assert_eq!((shown.assigned_to.as_deref(), shown.status.as_str()), (who, "In Progress"));
    }
    stop_and_verify(gate, 2).await;
}
