//! A thousand agents claim one item at once, at four real gates. Only a release build takes them in at once, so it is measured
//! where one is given; the same in virtual time is `protocol/herd.rs`.

use super::Fleet;
use crate::crash::CONFIG;
use crate::e2e::{REPO, agents, binary_was_given, issue};
use crate::support::postgres;
use http::Method;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const HERD: usize = 1000;
const FOUR: usize = 4;
/// What the forge sees of it: the winner's read, write and read-back, and one read by each other gate.
const MOST_REQUESTS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_claims_of_one_item_at_four_gates_are_six_requests_at_the_forge() {
    if !binary_was_given() {
        return eprintln!(
            "SKIPPED: a debug build takes no thousand claims in at once; name a release build in CLAIMGATE_TEST_BINARY"
        );
    }
    let Some(cluster) = postgres::cluster() else { return };
    let urls = vec![cluster.database(); FOUR];
    let config = format!(
        "[assignment]\nlane_timeout = \"60s\"\nlane_capacity = 2000\nmax_waiting = 4000\nmax_waiting_per_agent = 2000\n\
         [server]\nmax_connections = 4000\nmax_connections_per_client = 0\n{CONFIG}"
    );
    let fleet = Fleet::start_at(&urls, &config).await;
    let (item, warm, names) = (fleet.items[0], fleet.items[1], agents(super::AGENTS));
    // Each credential is known at each gate: what is counted is what the claims take.
    for gate in fleet.gates.iter().flatten() {
        for name in &names {
            gate.agent(name).with("claimgate-agent", "warm").claim(warm).await;
        }
    }
    fleet.forge.clear_log();
    let (mut claims, begin) = (JoinSet::new(), Arc::new(Barrier::new(HERD)));
    for number in 0..HERD {
        let gate = fleet.gates[number % FOUR].as_ref().expect("it runs");
        let name = &names[number % names.len()];
        let mut client = gate.agent(name).with("claimgate-agent", &format!("worker-{number}"));
        let claim = json!({ "assignees": [name] });
        let begin = Arc::clone(&begin);
        claims.spawn(async move {
            client.connected().await;
            begin.wait().await;
            client.attempt(Method::PATCH, &issue(item), &claim).await
        });
    }
    let answers = claims.join_all().await;
    let won = answers.iter().filter(|status| **status == Some(201)).count();
    let refused = answers.iter().filter(|status| **status == Some(409)).count();
    assert_eq!((won, refused), (1, HERD - 1), "{answers:?}");
    let requests = fleet.forge.requests_about(REPO, item).len();
    eprintln!("{HERD} claims at {FOUR} gates: {requests} requests at the forge");
    assert!(requests <= MOST_REQUESTS, "{requests} requests at the forge");
}
