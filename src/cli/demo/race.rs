//! One race: a fresh forge, the agents, and the count of what they believe afterwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use secrecy::SecretSlice;

use super::agent::{self, Agent, Prize};
use crate::cli::compose;
use crate::clock::SystemClock;
use crate::config::{self, Config, Flag, Layers};
use crate::effect::{Clock, Ledger, Metrics};
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

/// What came of a race.
#[derive(Debug)]
pub(super) struct Tally {
    /// Issues that exactly one agent believes to have won.
    pub(super) single: usize,
    /// Issues that two or more do.
    pub(super) several: usize,
    /// Issues that nobody does.
    pub(super) none: usize,
    /// Issues with one winner where the forge shows something else than that winner alone.
    pub(super) disagree: usize,
    /// Requests that the forge saw.
    pub(super) requests: usize,
    pub(super) took: Duration,
}

/// A forge with the issues to race for.
struct Track {
    forge: FakeForge,
    in_progress: u64,
    backlog: u64,
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
    race(plan, &track, track.forge.addr(), progress).await
}

pub(super) async fn through_gate(plan: Plan, progress: &ProgressBar) -> anyhow::Result<Tally> {
    let track = Track::new(plan).await?;
    let gate = Gate::start(&track.forge.base_url())?;
    race(plan, &track, gate.address, progress).await
}

async fn race(plan: Plan, track: &Track, at: SocketAddr, progress: &ProgressBar) -> anyhow::Result<Tally> {
    let mut agents = try_join_all((0..plan.agents).map(|number| Agent::connect(number, at))).await?;
    let mut tally = Tally { single: 0, several: 0, none: 0, disagree: 0, requests: 0, took: Duration::ZERO };
    let started = now();
    for number in &track.issues {
        let prize = track.prize(*number);
        let believes = try_join_all(agents.iter_mut().map(|agent| agent.claim(prize))).await?;
        tally.count(track, *number, &believes);
        progress.inc(1);
    }
    tally.took = started.elapsed();
    tally.requests = track.forge.requests().len();
    Ok(tally)
}

#[allow(clippy::disallowed_methods, reason = "the demo measures real time, in no simulation")]
fn now() -> Instant {
    Instant::now()
}

// === impl Tally ===

impl Tally {
    /// Whether each issue went to exactly one agent, and the forge agrees.
    pub(super) fn is_clean(&self, plan: Plan) -> bool {
        self.single == plan.issues && self.several == 0 && self.none == 0 && self.disagree == 0
    }

    fn count(&mut self, track: &Track, number: u64, believes: &[bool]) {
        let winners: Vec<String> =
            believes.iter().enumerate().filter(|(_, won)| **won).map(|(number, _)| agent::login(number)).collect();
        match winners.len() {
            0 => self.none += 1,
            1 => self.single += 1,
            _ => self.several += 1,
        }
        if winners.len() == 1 && track.forge.issue(REPO, number).assignees != winners {
            self.disagree += 1;
        }
    }
}

// === impl Track ===

impl Track {
    async fn new(plan: Plan) -> anyhow::Result<Self> {
        let forge = FakeForge::start(Options::default()).await.context("cannot open a port for the forge")?;
        forge.add_user("demo", "token-of-the-owner");
        forge.add_repo("demo", "work");
        for number in 0..plan.agents {
            forge.add_user(&agent::login(number), &agent::token(number));
            forge.grant_write(&agent::login(number), REPO);
        }
        let backlog = forge.add_label(REPO, "backlog");
        let in_progress = forge.add_label(REPO, "in-progress");
        let issues = (1..=plan.issues).map(|n| forge.add_issue(REPO, &format!("piece {n}"), &["backlog"], &[]).number);
        let issues = issues.collect();
        forge.set_vices(Vices { write_delay: WRITE_DELAY, ..Vices::default() });
        Ok(Self { forge, in_progress, backlog, issues })
    }

    fn prize(&self, number: u64) -> Prize<'_> {
        Prize { repo: REPO, number, in_progress: self.in_progress, backlog: self.backlog }
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
        let key = SecretSlice::from(identity::random_key()?);
        let gate = compose::gate(&config, &clock, &ledger, &Metrics::default(), &key)?;
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
