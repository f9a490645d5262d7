//! What the demo's agents race on: a fresh forge in memory, and a gate before it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use secrecy::SecretSlice;

use super::super::compose;
use super::super::race::agent::{Agent, Entrance, Identity, WorkLabels};
use super::super::race::tally::{Course, Tally, race};
use crate::clock::SystemClock;
use crate::config::{self, Config, Flag, Layers};
use crate::effect::{Clock, FingerprintKey, Ledger, Metrics};
use crate::fake_forge::{FakeForge, Options, Vices};
use crate::identity;
use crate::ledger::MemoryStore;
use crate::server::{Drain, Inherited};

/// How large a race is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) agents: usize,
    pub(super) issues: usize,
}

/// A forge with the issues to race for.
struct Track {
    forge: FakeForge,
    labels: WorkLabels,
    issues: Vec<u64>,
}

/// A gate on a real socket. Dropping it stops it.
struct Gate {
    address: SocketAddr,
    drain: Drain,
}

const REPO: &str = "demo/work";
/// Between a write's read, its delete and its insert, as on a forge whose database is on a disk.
const WRITE_DELAY: Duration = Duration::from_millis(4);

pub(super) async fn without_gate(plan: Plan, progress: &ProgressBar) -> anyhow::Result<Tally> {
    let track = Track::new(plan).await?;
    track.race(plan, &track.forge.base_url(), progress).await
}

pub(super) async fn through_gate(plan: Plan, progress: &ProgressBar) -> anyhow::Result<Tally> {
    let track = Track::new(plan).await?;
    let gate = Gate::start(&track.forge.base_url())?;
    track.race(plan, &format!("http://{}", gate.address), progress).await
}

/// An agent's account.
fn login(number: usize) -> String {
    format!("agent-{number}")
}

/// An agent's token.
fn token(number: usize) -> String {
    format!("token-{number}")
}

// === impl Track ===

impl Track {
    async fn new(plan: Plan) -> anyhow::Result<Self> {
        let forge = FakeForge::start(Options::default()).await.context("cannot open a port for the forge")?;
        forge.add_user("demo", "token-of-the-owner");
        forge.add_repo("demo", "work");
        for number in 0..plan.agents {
            forge.add_user(&login(number), &token(number));
            forge.grant_write(&login(number), REPO);
        }
        let backlog = forge.add_label(REPO, "backlog");
        let in_progress = forge.add_label(REPO, "in-progress");
        let issues = (1..=plan.issues).map(|n| forge.add_issue(REPO, &format!("piece {n}"), &["backlog"], &[]).number);
        let issues = issues.collect();
        forge.set_vices(Vices { write_delay: WRITE_DELAY, ..Vices::default() });
        Ok(Self { forge, labels: WorkLabels { in_progress, backlog }, issues })
    }

    async fn race(&self, plan: Plan, url: &str, progress: &ProgressBar) -> anyhow::Result<Tally> {
        let way = Entrance::to(url)?;
        let identity = |number| Identity { login: login(number), token: token(number).into(), name: None, number };
        let mut agents: Vec<Agent> = (0..plan.agents).map(|number| Agent::new(identity(number), way.clone())).collect();
        let course = Course { repo: REPO, labels: Some(self.labels), issues: &self.issues };
        let end = async |number| Ok(self.forge.issue(REPO, number).assignees);
        let tally = race(&course, &mut agents, end, progress).await?;
        Ok(Tally { requests: Some(self.forge.requests().len()), ..tally })
    }
}

// === impl Gate ===

impl Gate {
    /// The parts of `serve` with the built-in rules; only the ledger is in memory.
    fn start(upstream: &str) -> anyhow::Result<Self> {
        let config = configured(upstream)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let now = clock.now();
        let store = MemoryStore::new("demo", config.ledger.zombie_period);
        let ledger: Arc<dyn Ledger> = Arc::new(store.open(now, now + config.ledger.doubt_period));
        let key = FingerprintKey::new(&SecretSlice::from(identity::random_key()?));
        let gate = compose::gate(&config, &clock, &ledger, &Metrics::default(), key)?;
        let server = compose::edge(&config, &gate, Inherited::none(), None)?;
        let address = server.addresses().into_iter().flatten().next().context("the gate listens nowhere")?;
        let drain = server.drain();
        tokio::spawn(server.run(std::future::pending()));
        Ok(Self { address, drain })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.drain.start();
    }
}

/// The built-in defaults, on a free port; the environment has no say in a demonstration.
fn configured(upstream: &str) -> anyhow::Result<Config> {
    let flag = |name, path, value: &str| Flag { name, path, value: value.to_owned() };
    let flags = vec![
        flag("--upstream", "upstream.url", upstream),
        flag("--listen", "server.listen", "127.0.0.1:0"),
        flag("--max-connections-per-client", "server.max_connections_per_client", "0"),
    ];
    let loaded = config::load(&Layers { flags, ..Layers::default() });
    Ok(loaded.map_err(|errors| anyhow::anyhow!("{errors}"))?.config)
}
