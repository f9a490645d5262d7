//! Several real gates on one real PostgreSQL before one forge: agents go from gate to gate, gates are killed, the database
//! is restarted, and nobody is told what another believes. `CLAIMGATE_TEST_GATES_SECONDS` says for how long.

mod cuts;
mod failover;
mod herd;

use crate::crash::{CONFIG, DOUBT, Dice, Shared, whole_lines};
use crate::e2e::{Client, Gate, REPO, Setup, agents, backlog_issue, eventually, forge, issue, write_private};
use crate::support::postgres::{self, Cluster};
use claimgate::fake_forge::{FakeForge, Vices};
use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

const GATES: usize = 3;
const AGENTS: usize = 16;
const ITEMS: usize = 10;
/// A gate that is silent for so long has fallen, and a little more.
const FALLEN: Duration = Duration::from_secs(20);

/// Where each gate is now, if it runs.
type Addresses = Arc<Mutex<Vec<Option<SocketAddr>>>>;

/// A forge, and gates that share a database.
struct Fleet {
    forge: FakeForge,
    setups: Vec<Setup>,
    gates: Vec<Option<Gate>>,
    addresses: Addresses,
    /// What each has printed, over all its lives.
    audits: Vec<String>,
    items: Vec<u64>,
}

impl Fleet {
    /// One gate of a fleet.
    fn setup(url: &str, config: &str, number: usize, upstream: &str) -> Setup {
        let config = format!("{config}url = \"{url}\"\ngate = \"gate-{number}\"\n");
        Setup::before(upstream).config(&config)
    }

    async fn start(url: &str, config: &str) -> Self {
        Self::start_at(&vec![url.to_owned(); GATES], config).await
    }

    /// Each with a way of its own to the database.
    async fn start_at(urls: &[String], config: &str) -> Self {
        let names = agents(AGENTS);
        let forge = forge(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        forge.set_vices(Vices { write_delay: Duration::from_millis(2), ..Vices::default() });
        let items = (0..ITEMS).map(|_| backlog_issue(&forge).number).collect();
        let upstream = forge.base_url();
        let setups: Vec<Setup> =
            urls.iter().enumerate().map(|(number, url)| Self::setup(url, config, number, &upstream)).collect();
        let count = urls.len();
        let addresses = Arc::new(Mutex::new(vec![None; count]));
        let (gates, audits) = ((0..count).map(|_| None).collect(), vec![String::new(); count]);
        let mut fleet = Self { forge, setups, gates, addresses, audits, items };
        for gate in 0..count {
            fleet.run(gate).await;
        }
        fleet
    }

    async fn run(&mut self, gate: usize) {
        let running = self.setups[gate].start().await;
        self.addresses.lock().expect("no panic")[gate] = Some(running.address);
        self.gates[gate] = Some(running);
    }

    async fn end(&mut self, gate: usize, signal: Signal) {
        self.addresses.lock().expect("no panic")[gate] = None;
        let Some(mut running) = self.gates[gate].take() else { return };
        running.tell(signal);
        running.ended().await;
        // A killed process may leave half a line; the next one prints it again.
        self.audits[gate] += &whole_lines(&running.stdout());
    }

    /// The last lines about an item that the gates have printed, for whoever asks why.
    fn told_of(&self, item: u64) -> String {
        let printed = self.gates.iter().flatten().flat_map(Gate::audit);
        let about = printed.filter(|line| line["resource"] == format!("{REPO}#{item}"));
        let mut lines: Vec<String> = about
            .filter(|line| line["result"] != "REJECTED")
            .map(|line| {
                let members = ["time", "gate", "kind", "agent", "change", "result", "fence", "holder", "id", "reason"];
                members.map(|member| line[member].to_string()).join(" ")
            })
            .collect();
        lines.sort();
        lines.split_off(lines.len().saturating_sub(12)).join("\n")
    }

    fn audit_holds(&self) {
        let dir = self.setups[0].dir();
        let mut verify = std::process::Command::new(env!("CARGO_BIN_EXE_claimgate"));
        verify.args(["audit", "verify"]);
        for (gate, audit) in self.audits.iter().enumerate() {
            let file = dir.join(format!("gate-{gate}.log"));
            std::fs::write(&file, audit).expect("written");
            verify.arg(file);
        }
        let done = verify.output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "the audits do not hold: {said}");
        assert!(said.contains(&format!("of {GATES} gates")), "{said}");
    }

    /// Every item can be claimed by somebody new once its holder has let go.
    async fn all_can_be_claimed(&self, within: Duration) {
        let gate = self.gates.iter().flatten().next().expect("one runs");
        for item in &self.items {
            let free = || async {
                let holder = gate.holder(*item).await;
                if let Some(holder) = &holder {
                    gate.agent(holder).release(*item).await;
                }
                let other = if holder.as_deref() == Some("agent-0") { "agent-1" } else { "agent-0" };
                let claimed = gate.agent(other).claim(*item).await.status == 201;
                if claimed {
                    gate.agent(other).release(*item).await;
                } else {
                    for login in self.forge.issue(REPO, *item).assignees {
                        gate.agent(&login).release(*item).await;
                    }
                }
                claimed.then_some(())
            };
            assert!(eventually(free, within).await.is_some(), "{item} cannot be claimed: {}", gate.claim(*item).await);
        }
    }
}

/// Claims, repeats and releases at random, each time at any gate, until told to stop.
async fn roam(login: String, at: Addresses, items: Vec<u64>, beliefs: Shared, stop: Arc<AtomicBool>) {
    let mut dice = Dice::seeded(login.bytes().map(u64::from).sum());
    let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let gate = dice.throw(GATES);
        let Some(address) = at.lock().expect("no panic")[gate] else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut client = clients.remove(&address).unwrap_or_else(|| Client::new(address, &login));
        let item = items[dice.throw(items.len())];
        let releases = beliefs.lock().expect("no panic").holds(item, &login) && dice.throw(4) > 0;
        beliefs.lock().expect("no panic").uncertain(item, &login);
        let wanted = if releases { json!({"assignees": []}) } else { json!({"assignees": [login]}) };
        let Some(status) = client.attempt(Method::PATCH, &issue(item), &wanted).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if status == 201 && !releases {
            beliefs.lock().expect("no panic").granted(item, &login);
        }
        if status >= 500 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        clients.insert(address, client);
    }
}

/// What happens to the fleet, in turn.
async fn trouble(fleet: &mut Fleet, cluster: &Cluster, round: usize) {
    let gate = round % GATES;
    match round % 4 {
        1 => cluster.control(&["-w", "-m", "fast", "restart"]),
        3 => cluster.control(&["-w", "-m", "immediate", "restart"]),
        _ => {
            fleet.end(gate, Signal::KILL).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            fleet.run(gate).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_gates_and_a_restarted_database_tell_nobody_what_another_believes() {
    let Some(cluster) = postgres::cluster().map(Cluster::another) else { return };
    let mut fleet = Fleet::start(&cluster.database(), CONFIG).await;
    let (beliefs, stop) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let mut working = JoinSet::new();
    for name in agents(AGENTS) {
        let (at, items) = (Arc::clone(&fleet.addresses), fleet.items.clone());
        working.spawn(roam(name, at, items, Arc::clone(&beliefs), Arc::clone(&stop)));
    }
    let seconds = std::env::var("CLAIMGATE_TEST_GATES_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut round = 0;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        trouble(&mut fleet, &cluster, round).await;
        round += 1;
    }
    // One is gone for good: the others take over what it had under way.
    fleet.end(GATES - 1, Signal::KILL).await;
    stop.store(true, Ordering::Relaxed);
    while working.join_next().await.is_some() {}
    fleet.all_can_be_claimed(DOUBT + FALLEN).await;
    let (broken, grants) = {
        let beliefs = beliefs.lock().expect("no panic");
        (beliefs.broken.clone(), beliefs.grants)
    };
    assert!(broken.is_empty(), "two agents were told the same: {broken:?}");
    assert!(grants > 0, "nobody was granted anything");
    for item in &fleet.items {
        assert!(fleet.forge.max_assignees_ever(REPO, *item) <= 1, "{item} had two assignees");
    }
    // What it had not printed yet it prints at its next start.
    fleet.run(GATES - 1).await;
    for gate in 0..GATES {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fleet.end(gate, Signal::TERM).await;
    }
    fleet.audit_holds();
}

/// Whoever asks, at whichever gate, is told of all.
async fn knows_of_all(gate: &Gate, held: u64, free: u64) {
    assert_eq!(gate.holder(held).await.as_deref(), Some("agent-1"));
    assert_eq!(gate.holder(free).await.as_deref(), Some("agent-1"));
    let refusals = gate.operator().get("/refusals").await.json();
    let at: Vec<&str> =
        refusals["refusals"].as_array().expect("a list").iter().filter_map(|one| one["gate"].as_str()).collect();
    assert_eq!(at, vec!["two", "two"], "{refusals}");
    let history = gate.operator().get(&format!("/history?item={}%23{held}", crate::e2e::REPO)).await.json();
    let gates: Vec<&str> =
        history["history"].as_array().expect("a list").iter().filter_map(|one| one["gate"].as_str()).collect();
    assert!(gates.contains(&"one") && gates.contains(&"two"), "{history}");
    let status = gate.operator().get("/status").await.json();
    assert_eq!(status["held"], 2, "{status}");
}

/// The commands of an operator, from one gate's file to several gates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_taken_over_and_its_holder_holds_at_every_gate() {
    let Some(cluster) = postgres::cluster() else { return };
    let forge = forge(&["agent-0", "agent-1"]).await;
    let (held, free) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    let alone = Setup::before(&forge.base_url()).config(CONFIG);
    let mut first = alone.start().await;
    assert_eq!(first.agent("agent-0").claim(held).await.status, 201);
    first.tell(Signal::TERM);
    assert!(first.ended().await.success());
    let url = cluster.database();
    let setup = |name: &str| {
        let config = format!("{CONFIG}url = \"{url}\"\ngate = \"{name}\"\n");
        Setup::before(&forge.base_url()).config(&config)
    };
    let (one, two) = (setup("one"), setup("two"));
    let config = one.dir().join("shared.toml");
    write_private(&config, &format!("{CONFIG}url = \"{url}\"\n"));
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_claimgate"));
        let done = command.args(arguments).arg("--config").arg(&config).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout) + &text(&done.stderr))
    };
    let from = alone.state().display().to_string();
    let (code, said) = run(&["ledger", "import", "--from", &from]);
    assert!(code == Some(0) && said.contains("1 item"), "{said}");
    let (mut at_one, at_two) = (one.start().await, two.start().await);
    // By the same credential it is the same agent, and by another it is not.
    assert_eq!(at_two.agent("agent-1").claim(held).await.status, 409);
    assert_eq!(at_two.agent("agent-0").release(held).await.status, 201);
    assert_eq!(at_one.agent("agent-1").claim(held).await.status, 201);
    assert_eq!(at_one.agent("agent-1").claim(free).await.status, 201);
    assert_eq!(at_two.agent("agent-0").claim(free).await.status, 409);
    for gate in [&at_one, &at_two] {
        knows_of_all(gate, held, free).await;
    }
    let (code, said) = run(&["report", "--json"]);
    let mut printed = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    let report = printed.next().expect("a value").expect("JSON");
    assert!(code == Some(0) && report["lines"].as_u64() >= Some(5), "{said}");
    let (code, said) = run(&["ledger", "import", "--from", &from]);
    assert!(code == Some(1) && said.contains("once, into an empty one"), "{said}");
    let (code, said) = run(&["gates", "--json"]);
    let mut printed = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    let gates = printed.next().expect("a value").expect("JSON");
    let names: Vec<&str> =
        gates["gates"].as_array().expect("a list").iter().filter_map(|one| one["gate"].as_str()).collect();
    assert_eq!((code, names), (Some(0), vec!["one", "two"]));
    assert_eq!(run(&["ledger", "migrate"]).0, Some(0));
    // The same name twice is refused, with where the other runs.
    let (status, said) = setup("one").refused_to_start().await;
    assert!(!status.success() && said.contains("runs already"), "{said}");
    at_one.tell(Signal::TERM);
    assert!(at_one.ended().await.success());
    let (_, said) = run(&["gates"]);
    assert!(said.contains("gone"), "{said}");
    // Its chain can be had from the ledger, too; that of a gate that is up it prints itself.
    let (code, said) = run(&["audit", "export", "--gate", "one", "--after", "0"]);
    assert!(code == Some(0) && said.starts_with(&at_one.stdout()), "{said}");
    let (code, said) = run(&["audit", "export", "--gate", "two"]);
    assert!(code == Some(1) && said.contains("is up"), "{said}");
    drop(at_two);
}
