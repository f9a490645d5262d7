//! The guarded section: one write of one item, from its turn to its answer.
//!
//! [`Gate::submit`] detaches it: a task of its own runs the steps, and a client that hangs up after the first durable one
//! changes nothing. `Walk::run` is steps 6 to 12 of the walk (manual: walk), in order, for whatever a request is about:
//! one item, several, or a new one. Nothing here knows a status of HTTP or a tracker; nothing here judges: judging is `admission`'s,
//! and the record is the ledger's.

mod authors;
mod board;
mod cancellation;
mod claims;
mod concurrency;
mod conversation;
mod creators;
mod entry_condition;
mod health;
mod hearing;
mod labels;
mod lanes;
mod leases;
mod membership;
mod movers;
mod nameless;
mod read_mark;
mod reads;
mod refusal;
mod renewals;
mod resolve;
mod restore;
mod singleton;
mod walk;
mod watch;
mod writer;

pub use board::{BoardView, Refusal, Standing, Waiting};
pub use claims::{ClaimCall, Claimed, Grant, Relabelling, Search, Sender};
pub use concurrency::ConcurrencyLimits;
pub use entry_condition::EntryCondition;
pub use health::LeadsHome;
pub use lanes::{LaneError, LaneLimits, Lanes, Observation, Turn};
pub use read_mark::ReadMark;
pub use singleton::LeaseError;
pub use walk::{Filing, Judged};
pub use watch::{OperatorWord, ReleaseError, Released};

use crate::admission::{self, Expectation, Mode, Rules, StateTag, Switched};
use crate::dialect::{ClosingSyntax, Credential, Dialect, Guarded, SideWrite, Subject, WireRequest, WireResponse};
use crate::effect::{
    BodyBudget, Clock, Decision, Entropy, Identify, Ledger, LedgerError, Metrics, ModeSpread, Note, Upstream,
};
use crate::model::{
    Account, Attempt, AttemptId, AttemptState, BootTime, Caller, Change, Code, Fingerprint, Instance, Ownership, Place,
    Rejection, ResourceKey,
};
use arc_swap::ArcSwap;
use cancellation::Cancellation;
use concurrency::{ConcurrencyLimiter, Overloaded, Slot};
use futures_util::FutureExt as _;
use hearing::Hearing;
use reads::Reads;
use renewals::PendingRenewals;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use walk::Walk;

/// What a send's read-back may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// A read of its own after the answer.
    ReadBack,
    /// The tracker's own answer, where it carries the state re-read after the write.
    Answer,
}

/// What holds for the life of a gate. Whatever judges a write is in the [`Rules`], which can be replaced while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a write without a certain answer keeps its item closed (Q).
    pub doubt_period: Duration,
    /// How long after T2 the first byte may leave.
    pub emit_window: Duration,
    /// What the read-back rests on.
    pub verify: Verify,
    /// Waiters a lane, and how long they wait.
    pub lanes: LaneLimits,
    /// Writes under way.
    pub concurrency: ConcurrencyLimits,
    /// How a text says that it closes an issue.
    pub closing: ClosingSyntax,
}

/// What the gate stands on.
pub struct Ports {
    /// Wire and model of the tracker.
    pub dialect: Arc<dyn Dialect>,
    /// The tracker.
    pub upstream: Arc<dyn Upstream>,
    /// The record.
    pub ledger: Arc<dyn Ledger>,
    /// Who is behind a credential.
    pub identify: Arc<dyn Identify>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Names.
    pub entropy: Arc<dyn Entropy>,
    /// Counters.
    pub metrics: Metrics,
    /// The operator's own credential, if one is configured.
    pub service: Option<Credential>,
    /// The memory that may be taken by what is read whole.
    pub room: Arc<BodyBudget>,
}

/// The gate. One a process.
pub struct Gate {
    ports: Ports,
    settings: Settings,
    rules: ArcSwap<Rules>,
    /// See [`Gate::rules_version`].
    rules_version: AtomicU64,
    /// Locked by whoever replaces the rules, so that none of two is lost.
    switched: Mutex<Switched>,
    lanes: Lanes,
    limiter: Arc<ConcurrencyLimiter>,
    reads: Reads,
    offers: claims::Offers,
    labels: labels::Labels,
    movers: movers::Movers,
    /// Claims of agents without a name.
    nameless: nameless::Claims,
    renewals: PendingRenewals,
    hearing: Hearing,
    heard: singleton::PendingHeartbeats,
    leases: leases::Leases,
    creators: creators::Creators,
    hints: watch::Hints,
    sight: watch::TrackerReachability,
    authors: authors::Authors,
    board: board::Board,
    webhooks: board::Webhooks,
    under_way: AtomicUsize,
    quiet: Notify,
}

/// What the edge knows of a request beside what it asks for: its credential and instance found, nothing decided.
pub struct Ask {
    /// With which credential; a form's is that of its session.
    pub credential: Credential,
    /// Which agent behind the account, where it said so.
    pub instance: Option<Instance>,
    /// The request's headers; the dialect keeps the allow-listed ones.
    pub headers: http::HeaderMap,
    /// When its head had been read.
    pub arrived: BootTime,
    /// For the audit.
    pub about: About,
    /// The operator's own write: no rule refuses it.
    pub operator: bool,
    /// The source state that the client states, if it does.
    pub expectation: Expectation,
    /// What else must hold when it is entered.
    pub condition: EntryCondition,
    /// The body as it came. Nothing looks at it any more; its memory counts as taken until the write has ended.
    pub body: bytes::Bytes,
}

/// Where a request came from, for the audit.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The client's address.
    pub client: Option<String>,
    /// The same with its port: another one is another connection. Not recorded.
    pub connection: Option<String>,
    /// Its `X-Request-Id`.
    pub request_id: Option<String>,
}

/// What the client is to be told.
#[derive(Debug)]
pub struct Reply {
    /// Names the decision.
    pub id: String,
    /// The decision, for the header.
    pub decision: Decision,
    /// The code, for the header.
    pub code: Option<Code>,
    /// The answer.
    pub answer: Answered,
    /// The item's guarded fields as they were last read for it, where that is known.
    pub state: Option<StateTag>,
    /// For whoever goes on from it.
    pub after: After,
}

/// How a write that went through left its item.
#[derive(Debug, Default)]
pub struct After {
    /// The caller holds it.
    pub holds: bool,
    /// That holding began with what was sent for it.
    pub begun: bool,
    /// The caller gave up an item that the tracker does not show it.
    pub let_go: bool,
    /// What the gate wrote along with it, in the caller's name.
    pub put_back: Vec<AttemptId>,
    /// What is left of a request whose guarded fields show already. It touches nothing guarded: whoever has the client
    /// forwards it like all that passes, and the tracker's answer takes the place of this one.
    pub rest: Option<Box<WireRequest>>,
}

/// The body of a reply.
pub enum Answered {
    /// The tracker's own answer, or a success built from a read.
    Tracker(WireResponse),
    /// A refusal; the dialect gives it its form.
    Refused(Box<Rejection>),
}

/// How long a refusal waits to be written: a disk that hangs must not keep it from its client.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

// === impl Gate ===

impl Gate {
    /// A gate over these ports.
    pub fn new(mut ports: Ports, settings: Settings, rules: Rules) -> Arc<Self> {
        ports.clock = membership::LedgerClock::over(ports.clock, &ports.ledger);
        let (lanes, limiter) = (Lanes::new(settings.lanes), ConcurrencyLimiter::new(settings.concurrency));
        count_modes(&ports.metrics, &rules);
        ports.metrics.doubt_period.set(settings.doubt_period.as_secs_f64());
        let hearing = Hearing::begin(ports.clock.now());
        let reads = Reads::new(ports.dialect.shows_item_by_item());
        Arc::new(Self {
            ports,
            settings,
            rules: ArcSwap::from_pointee(rules),
            rules_version: AtomicU64::new(0),
            switched: Mutex::default(),
            lanes,
            limiter,
            reads,
            offers: claims::Offers::default(),
            labels: labels::Labels::default(),
            movers: movers::Movers::default(),
            nameless: nameless::Claims::default(),
            renewals: PendingRenewals::default(),
            hearing,
            heard: singleton::PendingHeartbeats::default(),
            leases: leases::Leases::default(),
            creators: creators::Creators::default(),
            hints: watch::Hints::default(),
            sight: watch::TrackerReachability::default(),
            authors: authors::Authors::default(),
            board: board::Board::default(),
            webhooks: board::Webhooks::default(),
            under_way: AtomicUsize::new(0),
            quiet: Notify::new(),
        })
    }

    /// Runs the walk in a task of its own on `runtime`, and waits for its reply.
    ///
    /// Dropping the returned future is how a client hangs up: before T1 the request is dropped, after it nothing stops.
    pub async fn submit(
        self: &Arc<Self>,
        request: Guarded,
        ask: Ask,
        runtime: &tokio::runtime::Handle,
    ) -> Option<Reply> {
        let creates = matches!(request.subject(), Subject::New(_));
        let slot = match self.slot_of(&request, &ask.credential, ask.instance.as_ref()) {
            Ok(slot) => slot,
            Err(overloaded) => {
                let reply = Walk::new(Arc::clone(self), request, ask, None).refused_overloaded(&overloaded);
                self.recorded().await;
                return Some(reply);
            }
        };
        let walk = Walk::new(Arc::clone(self), request, ask, Some(Arc::clone(&slot)));
        let reply = self.detach(walk, Cancellation::new(), runtime).await;
        slot.leave();
        // A creation is no attempt of an item's: its line is written like that of a refusal.
        if reply.as_ref().is_some_and(|reply| creates || reply.may_be_unwritten()) {
            self.recorded().await;
        }
        reply
    }

    /// Judges a request that changes what it does not name.
    pub async fn judge_side_effect(
        self: &Arc<Self>,
        write: SideWrite,
        ask: Ask,
        runtime: &tokio::runtime::Handle,
    ) -> Judged {
        // Of one without a credential the tracker refuses it, too.
        let named = (!ask.credential.is_anonymous()).then(|| self.slot(&ask.credential, ask.instance.as_ref()));
        let slot = named.transpose();
        let judged = match slot {
            Err(overloaded) => {
                Judged::Refused(Walk::new(Arc::clone(self), write, ask, None).refused_overloaded(&overloaded))
            }
            Ok(slot) => {
                let walk = Walk::new(Arc::clone(self), write, ask, slot.clone());
                let after = runtime.clone();
                let judged = self.whole(async move { walk.judge(&after).await }, runtime).await;
                if let Some(slot) = slot {
                    slot.leave();
                }
                judged
            }
        };
        if matches!(judged, Judged::Refused(_)) {
            self.recorded().await;
        }
        judged
    }

    /// Waits until what was recorded without waiting is on disk, so that nobody is told a decision that a crash takes out
    /// of the audit. It shares its commit with whatever else is written then. A ledger that cannot be written holds no
    /// refusal up.
    pub async fn recorded(&self) {
        if let Ok(Err(error)) = tokio::time::timeout(RECORDED_WITHIN, self.ports.ledger.flushed()).await {
            tracing::debug!(ledger.error = %error, "a refusal is told before it is written");
        }
    }

    async fn detach(
        self: &Arc<Self>,
        walk: Walk,
        cancellation: Arc<Cancellation>,
        runtime: &tokio::runtime::Handle,
    ) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        let guard = InFlight::enter(Arc::clone(self));
        runtime.spawn(async move {
            let _guard = guard;
            detached(walk, &cancellation, reply).await;
        });
        answer.await.ok()
    }

    /// Carries out what must not be cut in half: on `runtime`, whether or not it is waited for to its end. A shutdown
    /// waits for it, too.
    async fn whole<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
        runtime: &tokio::runtime::Handle,
    ) -> T {
        let guard = InFlight::enter(Arc::clone(self));
        let task = runtime.spawn(async move {
            let _guard = guard;
            work.await
        });
        match task.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The process ends.
            Err(_) => std::future::pending().await,
        }
    }

    /// A slot for the sender, by what is known of it without asking.
    fn slot(&self, credential: &Credential, instance: Option<&Instance>) -> Result<Arc<Slot>, Overloaded> {
        let print = self.ports.identify.fingerprint(credential);
        match self.ports.identify.known(&print) {
            Some(account) => self.limiter.agent(&Self::caller(&self.rules(), account, instance.cloned(), print)),
            None => self.limiter.stranger(),
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Changes when other rules are in force. Whoever remembers what followed from them asks this before it asks for them.
    pub fn rules_version(&self) -> u64 {
        self.rules_version.load(Ordering::Acquire)
    }

    /// Puts other rules in force, all in one step; writes under way go on by the old ones. The modes that the operator
    /// switched stay, and are returned.
    pub fn set_rules(&self, mut rules: Rules) -> Switched {
        let switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner);
        switched.apply(&mut rules);
        self.put(rules);
        switched.clone()
    }

    /// The modes that an operator has switched for all gates, over the rules.
    fn take_modes(&self, modes: &Switched) {
        if modes.is_empty() {
            return;
        }
        let mut switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner);
        if *switched != *modes {
            switched.clone_from(modes);
            let mut rules = Rules::clone(&self.rules());
            switched.apply(&mut rules);
            self.put(rules);
            tracing::warn!(%modes, "an operator has switched modes for all gates");
        }
    }

    /// Switches the mode of these rules at every gate that shares the ledger, and waits a while until they carry it; at a
    /// gate that has its ledger to itself, here. `None`: it is such a gate.
    pub async fn switch_everywhere(
        &self,
        parts: &[admission::Part],
        mode: Mode,
        by: &str,
    ) -> Result<Option<ModeSpread>, LedgerError> {
        let spread = self.ports.ledger.switch_modes(parts, mode, by).await?;
        if spread.is_none() {
            self.switch(parts, mode);
        }
        Ok(spread)
    }

    /// Switches the mode of these rules, until the next start or the opposite word.
    pub fn switch(&self, parts: &[admission::Part], mode: Mode) {
        let mut switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner);
        switched.switch(parts, mode);
        let mut rules = Rules::clone(&self.rules());
        switched.apply(&mut rules);
        self.put(rules);
    }

    fn put(&self, rules: Rules) {
        count_modes(&self.ports.metrics, &rules);
        self.rules.store(Arc::new(rules));
        // After them: whoever knows this version has not seen older ones.
        self.rules_version.fetch_add(1, Ordering::Release);
    }

    /// What the operator has switched since the start.
    pub fn switched(&self) -> Switched {
        self.switched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the gate stands on.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The gate's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Waits until no guarded section is under way.
    pub async fn drained(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.under_way.load(Ordering::Acquire) == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// Records a refusal that was made before there was anything to guard: an unreadable body, an ambiguous path. It is on
    /// disk once [`recorded`](Self::recorded) returns.
    pub fn record_refusal(&self, rejection: &Rejection, about: &About, took: Duration) -> String {
        let now = self.ports.clock.now();
        let id = self.ports.entropy.attempt_id(now).as_str().to_owned();
        let mut note = Note::of_gate(id.clone(), None);
        note.decision = Decision::Reject;
        note.code = Some(rejection.code);
        note.resource.clone_from(&rejection.resource);
        note.expected.clone_from(&rejection.expected);
        // No word of it: nobody has vouched for the request, and the message may repeat what it says.
        note.took = took;
        about.fill(&mut note);
        self.ports.metrics.decided(Decision::Reject, Some(rejection.code));
        self.ports.ledger.record(note, now);
        id
    }

    fn caller(
        rules: &Rules,
        account: crate::model::Principal,
        instance: Option<Instance>,
        credential: Fingerprint,
    ) -> Caller {
        let listed = |list: &BTreeSet<Account>| account.login().is_some_and(|login| login.is_among(list));
        Caller {
            shared: listed(&rules.shared_accounts),
            overrider: listed(&rules.assignment.overriders),
            credential,
            actor: crate::model::Actor { account, instance },
        }
    }

    /// An attempt on an item that stands there, as it is entered (T1).
    fn attempt(
        &self,
        id: AttemptId,
        (key, locator): (&ResourceKey, &Place),
        caller: &Caller,
        change: &Change,
    ) -> Attempt {
        let (gate, epoch) = self.ports.ledger.identity();
        Attempt {
            id,
            key: key.clone(),
            locator: locator.clone(),
            actor: caller.actor.clone(),
            credential: caller.credential.clone(),
            change: change.clone(),
            goal: None,
            kind: None,
            ownership: Ownership::Keep,
            state: AttemptState::Open,
            gate,
            epoch,
            opened: self.ports.clock.now(),
        }
    }

    fn boot_clock(self: &Arc<Self>) -> Arc<dyn Fn() -> BootTime + Send + Sync> {
        let clock = Arc::clone(&self.ports.clock);
        Arc::new(move || clock.boot())
    }
}

fn count_modes(metrics: &Metrics, rules: &Rules) {
    metrics.set_modes(rules.modes().into_iter().map(|(rule, _, mode)| (rule, mode == Mode::Enforce)));
}

/// The walk, and what follows if it panics: an attempt that may have been sent is in doubt, not forgotten.
async fn guarded(walk: &Walk, cancellation: &Cancellation) -> Option<Reply> {
    // On the heap: the walk is long, and would be moved from one place to the next.
    if let Ok(done) = AssertUnwindSafe(Box::pin(walk.run(cancellation))).catch_unwind().await {
        return done;
    }
    tracing::error!("guarded section panicked");
    Some(Box::pin(walk.panicked()).await)
}

/// The walk, dropped where its client goes before anything is durable.
async fn detached(walk: Walk, cancellation: &Cancellation, mut reply: oneshot::Sender<Reply>) {
    let done = cancellation.unless_gone(Box::pin(guarded(&walk, cancellation)), reply.closed()).await;
    if let Some(done) = done.flatten() {
        // The client may have gone: what it would have been told is in the ledger.
        drop(reply.send(done));
    }
}

// === impl Reply ===

impl Reply {
    /// Whether its line was recorded without waiting for the disk: what changed something was waited for.
    fn may_be_unwritten(&self) -> bool {
        self.decision == Decision::Reject || self.code == Some(Code::AlreadyCreated)
    }

    /// Whether the tracker said success and left everything as it was.
    fn was_not_applied(&self) -> bool {
        matches!(&self.answer, Answered::Refused(rejection) if rejection.code == Code::NotApplied)
    }
}

// === impl About ===

impl About {
    fn fill(&self, note: &mut Note) {
        note.method.clone_from(&self.method);
        note.path.clone_from(&self.path);
        note.client.clone_from(&self.client);
        note.request_id.clone_from(&self.request_id);
    }
}

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tracker(response) => write!(f, "Tracker({})", response.status),
            Self::Refused(rejection) => write!(f, "Refused({})", rejection.code.as_str()),
        }
    }
}

/// Counts a guarded section for as long as it runs.
struct InFlight(Arc<Gate>);

impl InFlight {
    fn enter(gate: Arc<Gate>) -> Self {
        gate.under_way.fetch_add(1, Ordering::AcqRel);
        gate.ports.metrics.in_flight.inc();
        Self(gate)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ports.metrics.in_flight.dec();
        if self.0.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}
