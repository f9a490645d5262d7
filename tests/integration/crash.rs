//! The real binary, killed: at random moments, and at every named point of the guarded section.
//!
//! What agents were told is kept under the published belief rule: an agent holds an item from a 2xx grant until it sends
//! its own claim or release again, or is told that it does not. However often the gate dies, never may two believe.
//! `CLAIMGATE_TEST_KILLS` says how often it is killed at random, `CLAIMGATE_TEST_FAILPOINTS` how often at each point.

use crate::e2e::{Client, Gate, Setup, agents, backlog_issue, eventually, forge, issue};
use claimgate::effect::failpoint;
use claimgate::fake_forge::{FakeForge, Vices};
use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

const AGENTS: usize = 12;
const ITEMS: usize = 6;
/// Q.
pub const DOUBT: Duration = Duration::from_secs(3);
pub const CONFIG: &str = "
[upstream]
connect_timeout = \"500ms\"
read_timeout = \"1s\"
write_timeout = \"1s\"
[ledger]
doubt_period = \"3s\"
zombie_period = \"6s\"
emit_window = \"500ms\"
";

/// What agents believe, and every moment at which two believed the same.
#[derive(Default)]
pub struct Beliefs {
    holders: BTreeMap<u64, BTreeSet<String>>,
    pub broken: Vec<String>,
    pub grants: usize,
}

pub type Shared = Arc<Mutex<Beliefs>>;

impl Beliefs {
    pub fn granted(&mut self, item: u64, agent: &str) {
        let holders = self.holders.entry(item).or_default();
        holders.insert(agent.to_owned());
        self.grants += 1;
        if holders.len() > 1 {
            self.broken.push(format!("{item} is held by {holders:?}"));
        }
    }

    pub fn uncertain(&mut self, item: u64, agent: &str) {
        self.holders.entry(item).or_default().remove(agent);
    }

    /// Nobody believes anything any more.
    pub fn forget(&mut self) {
        self.holders.clear();
    }

    pub fn holds(&self, item: u64, agent: &str) -> bool {
        self.holders.get(&item).is_some_and(|holders| holders.contains(agent))
    }
}

/// A forge, its items, and what is believed of them.
struct Scene {
    forge: FakeForge,
    setup: Setup,
    items: Vec<u64>,
    beliefs: Shared,
    audit: String,
}

impl Scene {
    async fn new() -> Self {
        let names = agents(AGENTS);
        let forge = forge(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        forge.set_vices(Vices { write_delay: Duration::from_millis(2), ..Vices::default() });
        let items = (0..ITEMS).map(|_| backlog_issue(&forge).number).collect();
        let setup = Setup::before(&forge.base_url()).config(CONFIG);
        Self { forge, setup, items, beliefs: Shared::default(), audit: String::new() }
    }

    /// One life of a gate: agents at work until `end` is done, then the gate is dead.
    async fn life(&mut self, setup: &Setup, seed: usize, end: impl AsyncFnOnce(&mut Gate)) {
        let mut gate = setup.start().await;
        let mut working = JoinSet::new();
        for (number, name) in agents(AGENTS).into_iter().enumerate() {
            let client = gate.agent(&name);
            working.spawn(work(client, self.items.clone(), Arc::clone(&self.beliefs), seed * AGENTS + number));
        }
        end(&mut gate).await;
        working.shutdown().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.audit += &gate.stdout();
    }

    fn check(&self) {
        let beliefs = self.beliefs.lock().expect("no panic");
        assert!(beliefs.broken.is_empty(), "two agents were told the same: {:?}", beliefs.broken);
        for item in &self.items {
            assert!(self.forge.max_assignees_ever(crate::e2e::REPO, *item) <= 1, "{item} had two assignees");
        }
    }

    /// Every item can be claimed by somebody new once its holder has let go, within Q and ten seconds.
    async fn all_can_be_claimed(&self) {
        let gate = self.setup.start().await;
        for item in &self.items {
            let free = || async {
                let holder = gate.holder(*item).await;
                if let Some(holder) = &holder {
                    gate.agent(holder).release(*item).await;
                }
                let other = if holder.as_deref() == Some("agent-0") { "agent-1" } else { "agent-0" };
                let mut other = gate.agent(other);
                let claimed = other.claim(*item).await.status == 201;
                if claimed {
                    other.release(*item).await;
                } else {
                    // An assignee without a holding is its own account's to clear.
                    for login in self.forge.issue(crate::e2e::REPO, *item).assignees {
                        gate.agent(&login).release(*item).await;
                    }
                }
                claimed.then_some(())
            };
            let claimed = eventually(free, DOUBT + Duration::from_secs(10)).await;
            assert!(claimed.is_some(), "{item} cannot be claimed: {}", gate.claim(*item).await);
        }
        assert!(gate.stop().await.success());
    }

    fn audit_holds(&self) {
        let file = self.setup.dir().join("audit.log");
        std::fs::write(&file, whole_lines(&self.audit)).expect("written");
        let verify = std::process::Command::new(env!("CARGO_BIN_EXE_claimgate"))
            .args(["audit", "verify"])
            .arg(&file)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&verify.stdout).into_owned() + &String::from_utf8_lossy(&verify.stderr);
        assert!(verify.status.success(), "the audit does not hold: {said}");
    }
}

/// A killed process may leave half a line; the next one prints it again.
pub fn whole_lines(text: &str) -> String {
    let whole = |line: &&str| serde_json::from_str::<Value>(line).is_ok();
    text.lines().filter(whole).flat_map(|line| [line, "\n"]).collect()
}

/// Claims, repeats and releases, at random, until the gate is gone.
async fn work(mut client: Client, items: Vec<u64>, beliefs: Shared, seed: usize) {
    let mut dice = Dice(seed as u64 + 1);
    let login = client.login.clone();
    loop {
        let item = items[dice.throw(items.len())];
        let holds = beliefs.lock().expect("no panic").holds(item, &login);
        let releases = holds && dice.throw(4) > 0;
        beliefs.lock().expect("no panic").uncertain(item, &login);
        let wanted = if releases { json!({"assignees": []}) } else { json!({"assignees": [login]}) };
        let Some(status) = client.attempt(Method::PATCH, &issue(item), &wanted).await else { return };
        if status == 201 && !releases {
            beliefs.lock().expect("no panic").granted(item, &login);
        }
    }
}

/// A small generator with a printed seed; nothing here needs a good one.
pub struct Dice(u64);

impl Dice {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_nothing_is_told_twice_and_nothing_is_lost() {
    let mut scene = Scene::new().await;
    let mut dice = Dice(7);
    for round in 0..times("CLAIMGATE_TEST_KILLS", 12) {
        let lives = Duration::from_millis(20 + dice.throw(180) as u64);
        let setup = scene.setup.again(&scene.forge.base_url());
        scene
            .life(&setup, round, async |gate| {
                tokio::time::sleep(lives).await;
                gate.tell(Signal::KILL);
                gate.ended().await;
            })
            .await;
        scene.check();
    }
    scene.all_can_be_claimed().await;
    scene.check();
    scene.audit_holds();
    assert!(scene.beliefs.lock().expect("no panic").grants > 0, "nobody was granted anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point_nothing_is_told_twice_and_nothing_is_lost() {
    let mut scene = Scene::new().await;
    let mut round = 0;
    for name in failpoint::NAMES {
        for hit in 1..=times("CLAIMGATE_TEST_FAILPOINTS", 2) {
            // Later hits of the same point find the gate in other states.
            let count = hit * 3;
            let plan: &'static str = Box::leak(format!("export CLAIMGATE_FAILPOINT={name}:{count}").into_boxed_str());
            let setup = scene.setup.again(&scene.forge.base_url()).shell(plan);
            round += 1;
            scene
                .life(&setup, round, async |gate| {
                    let ended = gate.ended().await;
                    assert!(!ended.success(), "the gate ended by itself at {name}:{count}");
                })
                .await;
            scene.check();
        }
    }
    scene.all_can_be_claimed().await;
    scene.check();
    scene.audit_holds();
}

/// Whoever was told a decision finds it in the audit, whenever the gate dies: what was told last was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_that_was_told_is_in_the_audit_after_a_kill() {
    let forge = forge(&["agent-0", "agent-1"]).await;
    let item = backlog_issue(&forge).number;
    let setup = Setup::before(&forge.base_url()).config(CONFIG);
    let (mut told, mut audit) = (BTreeSet::new(), String::new());
    for count in [6, 7, 8, 9] {
        let plan = Box::leak(format!("export CLAIMGATE_FAILPOINT=commit.before:{count}").into_boxed_str());
        let mut gate = setup.again(&forge.base_url()).shell(plan).start().await;
        let (mut one, mut two, mut stranger) = (gate.agent("agent-0"), gate.agent("agent-1"), gate.anonymous());
        let _ = one.attempt(Method::PATCH, &issue(item), &json!({ "assignees": ["agent-0"] })).await;
        // A held item, an unreadable body, no credential, a call of the gate's own, a creation.
        let (calls, api) = (json!({ "item": "acme/app#1" }), "/_claimgate/v1/claims");
        let creation = "/api/v1/repos/acme/app/issues";
        for round in 0..100 {
            let (client, path, body) = match round % 5 {
                0 => (&mut two, issue(item), json!({ "assignees": ["agent-1"] })),
                1 => (&mut two, issue(item), json!({ "state": 7 })),
                2 => (&mut stranger, issue(item), json!({ "assignees": ["agent-1"] })),
                3 => (&mut stranger, api.to_owned(), calls.clone()),
                _ => (&mut two, creation.to_owned(), json!({ "title": "t", "assignees": ["agent-0", "agent-1"] })),
            };
            let method = if path == issue(item) { Method::PATCH } else { Method::POST };
            if tokio::net::TcpStream::connect(gate.address).await.is_err() {
                break;
            }
            let headers = [("content-type", "application/json")];
            let Ok(answer) = client.try_send(method, &path, &headers, body.to_string().into()).await else { break };
            let decision = answer.headers.get("claimgate-decision").and_then(|value| value.to_str().ok());
            told.extend(decision.and_then(|text| text.split_once("id=")).map(|(_, id)| id.to_owned()));
        }
        assert!(!gate.ended().await.success(), "it was to die");
        audit += &gate.stdout();
    }
    let gate = setup.start().await;
    let all = || async {
        let text = format!("{audit}{}", gate.stdout());
        let missing: Vec<_> = told.iter().filter(|id| !text.contains(id.as_str())).cloned().collect();
        missing.is_empty().then_some(())
    };
    assert!(told.len() >= 4, "{told:?}");
    assert!(eventually(all, Duration::from_secs(3)).await.is_some(), "a decision was told and is in no line: {told:?}");
}
