//! Two agents claim one issue at the same moment: what each is told, and who is assigned at the end.

use std::net::SocketAddr;
use std::sync::Barrier;

use serde_json::{Value, json};

use super::conformance;
use super::real::{self, Accounts};

/// How many pairs ended so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Races {
    pub one_winner: usize,
    pub both_told: usize,
    pub nobody_told: usize,
    /// Told that it has the issue, and it has not.
    pub deceived: usize,
}

/// Lets `dev-1` and `dev-2` claim as many new issues at the same moment: by one address each, as through two listeners,
/// or by one and the same. Issues are made, and looked at, at `direct`.
pub fn race(direct: SocketAddr, through: [SocketAddr; 2], accounts: &Accounts, pairs: usize) -> Races {
    let mut races = Races::default();
    for pair in 0..pairs {
        let body = json!({ "issue": { "project_id": "demo", "subject": format!("race {pair}") } }).to_string();
        let made = real::call(direct, accounts, "admin", ("POST", "/issues.json"), &body);
        let made: Value = serde_json::from_str(&made.body).expect("what was made is JSON");
        let path = format!("/issues/{}.json", made["issue"]["id"]);
        let told = claim_at_once(through, accounts, &path);
        let shown = real::call(direct, accounts, "admin", ("GET", &path), "");
        let shown: Value = serde_json::from_str(&shown.body).expect("JSON");
        let assigned = shown["issue"]["assigned_to"]["id"].as_u64();
        match told.iter().filter(|told| **told).count() {
            0 => races.nobody_told += 1,
            1 => races.one_winner += 1,
            _ => races.both_told += 1,
        }
        let who = AGENTS.map(|who| accounts[who].id);
        races.deceived += told.iter().zip(who).filter(|(told, id)| **told && assigned != Some(*id)).count();
    }
    races
}

/// Whether each was told that the issue is its own.
fn claim_at_once(through: [SocketAddr; 2], accounts: &Accounts, path: &str) -> [bool; 2] {
    let barrier = Barrier::new(AGENTS.len());
    let claim = |addr: SocketAddr, who: &str| {
        let body = json!({ "issue": { "assigned_to_id": accounts[who].id, "status_id": 2 } }).to_string();
        barrier.wait();
        real::call(addr, accounts, who, ("PUT", path), &body).status == 204
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| claim(through[1], AGENTS[1]));
        let one = claim(through[0], AGENTS[0]);
        [one, other.join().expect("it claims")]
    })
}

const AGENTS: [&str; 2] = ["dev-1", "dev-2"];

/// What the gate is for. Measured: all of 40 pairs.
#[test]
fn the_real_one_tells_both_of_a_pair_that_they_have_it() {
    let Some(real) = real::real() else { return };
    let _turn = real::turn();
    let pairs = std::env::var("CLAIMGATE_TEST_PAIRS").map_or(10, |text| text.parse().expect("a number"));
    let races = race(real.addr, [real.addr; 2], &real.accounts, pairs);
    eprintln!("{pairs} pairs at Redmine {} itself: {races:?}", real.version);
    assert!(races.both_told > pairs / 2 && races.deceived >= races.both_told, "{races:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_the_fake_one() {
    let (redmine, accounts) = conformance::seeded().await;
    let addr = redmine.addr();
    let races = tokio::task::spawn_blocking(move || race(addr, [addr; 2], &accounts, 10)).await.expect("the race runs");
    assert!(races.both_told > 0 && races.deceived >= races.both_told, "{races:?}");
}
