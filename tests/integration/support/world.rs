//! A forge, agents, and a gate between them.

use super::life::{FaultyLedger, Life, Moment, SimClock, SimEntropy, Trap};
use super::upstream::{Link, SharedReads};
use super::{SimUpstream, Told};
use claimgate::admission::{
    Assignment, By, Expectation, HoldingLimits, Mode, MoveRule, Outside, Rules, Stated, Web, Workflow,
};
use claimgate::audit::verify::{Finding, Gravity, Verifier};
use claimgate::dialect::{
    self, Address, ClosingSyntax, Credential, Dialect, Guarded, Head, Request as _, Route, Scrutiny, Shows, Target,
};
use claimgate::effect::{BodyBudget, Clock, Entropy, FingerprintKey, Ledger as _, Membership as _, Metrics};
use claimgate::fake_forge::{FakeForge, Fault, Matcher, Options, Vices};
use claimgate::gate::{
    About, Ask, ClaimCall, Claimed, ConcurrencyLimits, EntryCondition, Gate, LaneLimits, Ports, Sender, Settings,
    Verify,
};
use claimgate::identity::{Directory, DirectoryLimits};
use claimgate::ledger::{Flaw, MemoryLedger, MemoryStore};
use claimgate::model::{
    Account, AttemptState, Instance, ItemKind, ItemRecord, Place, Project, ResourceKey, Settled, Status, Time,
};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The one repository.
pub const REPO: &str = "root/work";
/// The doubt period.
pub const Q: Duration = Duration::from_mins(2);
/// As `ledger.renew_interval`.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// As `upstream.write_timeout`.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a test may set before the world begins.
pub struct Setup {
    pub agents: usize,
    pub issues: usize,
    pub rules: Rules,
    pub settings: Settings,
    pub forge: Options,
    /// A user of the forge whose token is the gate's own.
    pub service: Option<&'static str>,
    /// Whether the gate looks around by itself.
    pub watching: bool,
    /// Gates on one ledger, each on a machine of its own.
    pub gates: usize,
    /// A bug that is planted in them.
    pub bug: Option<Bug>,
}

/// What a gate, or the ledger that several share, can be made to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The ledger's own.
    Of(Flaw),
    /// A read that began before the attempt was OPEN carries an admission.
    EarlyReads,
    /// What one gate has read, another takes for its own read.
    SharedReads,
}

tokio::task_local! {
    /// To which of several gates a client speaks, or what befalls which.
    static AT_GATE: usize;
}

/// What is done at this gate of several.
pub async fn at_gate<T>(gate: usize, what: impl Future<Output = T>) -> T {
    AT_GATE.scope(gate, what).await
}

fn this_gate() -> usize {
    AT_GATE.try_with(|gate| *gate).unwrap_or_default()
}

/// A forge, agents, and a gate between them.
pub struct World {
    pub forge: Arc<FakeForge>,
    pub clock: Arc<SimClock>,
    pub store: Arc<MemoryStore>,
    dialect: Arc<dyn Dialect>,
    entropy: Arc<SimEntropy>,
    rules: Rules,
    settings: Settings,
    service: Option<&'static str>,
    bug: Option<Bug>,
    link: Link,
    /// One for each gate.
    machines: Vec<Arc<SimClock>>,
    processes: Vec<Mutex<Arc<Process>>>,
    watching: bool,
    /// What each gate does by itself.
    tasks: Vec<Mutex<Option<tokio::task::JoinHandle<()>>>>,
    /// Grants of gates that had fallen before the request came.
    wrong_grants: Mutex<Vec<String>>,
    deleted: Mutex<BTreeMap<u64, ResourceKey>>,
    starts: Mutex<Vec<Time>>,
}

/// One life of the gate.
pub struct Process {
    pub gate: Arc<Gate>,
    pub life: Arc<Life>,
    pub ledger: MemoryLedger,
    pub upstream: Arc<SimUpstream>,
}

const LABELS: [&str; 5] = ["backlog", "todo", "in-progress", "blocked", "done"];

// === impl Setup ===

impl Default for Setup {
    fn default() -> Self {
        Self {
            agents: 8,
            issues: 3,
            rules: rules(),
            settings: settings(),
            forge: Options::default(),
            service: None,
            watching: false,
            gates: 1,
            bug: None,
        }
    }
}

fn statuses<const N: usize>(names: [&str; N]) -> BTreeSet<Status> {
    names.map(Status::new).into()
}

/// The built-in defaults.
fn rules() -> Rules {
    let starts = MoveRule {
        from: statuses(["none", "backlog", "todo", "blocked"]),
        to: Status::new("in-progress"),
        by: By::Holder,
    };
    let plans = MoveRule { from: statuses(["none", "backlog", "blocked"]), to: Status::new("todo"), by: By::Anyone };
    Rules {
        assignment: Assignment {
            mode: Mode::Enforce,
            expect_status: BTreeSet::new(),
            max_assignees: 1,
            assign_others: false,
            release_by: By::Holder,
            outside: Outside::Wins,
            overriders: ["supervisor"].map(Account::new).into(),
            stale_after: None,
            takeover_after: None,
            closed_after: None,
            zombie_period: Q * 10,
        },
        workflow: Workflow {
            mode: Mode::Enforce,
            states: LABELS.map(Status::new).into(),
            one_status: false,
            working: statuses(["in-progress"]),
            consume: BTreeSet::new(),
            put_back: true,
            edit_labels: claimgate::admission::Editors::Overriders,
            dependencies_by: claimgate::admission::By::Anyone,
            moves: vec![starts, plans],
        },
        limits: HoldingLimits::none(),
        singletons: Vec::new(),
        once: Vec::new(),
        shared_accounts: BTreeSet::new(),
        unnamed: claimgate::admission::Unnamed::One,
        web: Web::Override,
    }
}

fn settings() -> Settings {
    Settings {
        doubt_period: Q,
        emit_window: Duration::from_secs(5),
        verify: Verify::ReadBack,
        lanes: LaneLimits { capacity: 2048, timeout: Duration::from_mins(1) },
        concurrency: ConcurrencyLimits { all: 8192, per_agent: 256 },
        closing: ClosingSyntax::default(),
    }
}

// === impl World: beginning, ending, time ===

impl World {
    /// With every default.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let forge = Arc::new(populated(&setup));
        let clock = SimClock::start();
        let zombie_period = setup.rules.assignment.zombie_period;
        let machines: Vec<_> = (0..setup.gates).map(|gate| machine(gate, &clock)).collect();
        let store = if setup.gates == 1 {
            MemoryStore::new("gate-1", zombie_period)
        } else {
            // The ledger's machine is none of the gates'.
            MemoryStore::shared(zombie_period, SimClock::start().of_life())
        };
        if let Some(Bug::Of(flaw)) = setup.bug {
            store.plant(flaw);
        }
        let Setup { rules, settings, service, watching, gates, bug, .. } = setup;
        let mut world = Self {
            forge,
            clock,
            store,
            dialect: dialect::by_name("forgejo").expect("it is listed"),
            entropy: Arc::new(SimEntropy::default()),
            rules,
            settings,
            service,
            bug,
            link: Link { shared: (bug == Some(Bug::SharedReads)).then(SharedReads::default), ..Link::default() },
            machines,
            processes: Vec::new(),
            watching,
            tasks: (0..gates).map(|_| Mutex::default()).collect(),
            wrong_grants: Mutex::default(),
            deleted: Mutex::default(),
            starts: Mutex::default(),
        };
        for gate in 0..gates {
            let process = world.begin(gate);
            world.processes.push(Mutex::new(Arc::new(process)));
        }
        world
    }

    /// How many gates there are.
    pub fn gates(&self) -> usize {
        self.processes.len()
    }

    /// The life of this gate that runs now.
    pub fn process(&self) -> Arc<Process> {
        Arc::clone(&self.processes[this_gate()].lock().unwrap())
    }

    /// `kill -9`, if it is not dead yet, and a new start.
    pub fn restart(&self) -> Arc<Process> {
        let gate = this_gate();
        let ended = self.process();
        ended.life.freeze();
        let begun = Arc::new(self.begin(gate));
        *self.processes[gate].lock().unwrap() = begun;
        ended
    }

    /// Whether the other gates have declared this life of a gate fallen.
    pub fn has_fallen(&self, process: &Process) -> bool {
        self.store.fallen().contains(&process.ledger.identity())
    }

    /// Grants of gates that had fallen before the request came.
    pub fn wrong_grants(&self) -> Vec<String> {
        self.wrong_grants.lock().unwrap().clone()
    }

    /// A new life of this gate.
    fn begin(&self, gate: usize) -> Process {
        let machine = &self.machines[gate];
        let life = Life::new(Arc::clone(&self.store), Arc::clone(machine));
        let upstream = SimUpstream::new(Arc::clone(&self.forge), Arc::clone(&life), WRITE_TIMEOUT, self.link.clone());
        let clock = machine.of_life();
        let ledger = if self.machines.len() == 1 {
            self.store.open(clock.now(), clock.now() + self.settings.doubt_period)
        } else {
            self.store.join(&format!("gate-{}", gate + 1), self.settings.doubt_period)
        };
        let limits = DirectoryLimits {
            lifetime: Duration::from_mins(5),
            negative_lifetime: Duration::from_mins(5),
            capacity: 10_000,
            concurrency: 64,
        };
        let metrics = Metrics::default();
        let key = FingerprintKey::new(&vec![7; 32].into());
        let directory = Directory::new(Arc::clone(&self.dialect), upstream.clone(), metrics.clone(), key, limits);
        let early_reads = self.bug == Some(Bug::EarlyReads);
        let ports = Ports {
            dialect: Arc::clone(&self.dialect),
            upstream: upstream.clone(),
            ledger: Arc::new(FaultyLedger::new(ledger.clone(), Arc::clone(&life), early_reads)),
            identify: Arc::new(directory),
            clock,
            entropy: Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            metrics,
            service: self.service.map(Credential::service),
            room: BodyBudget::new(usize::MAX),
        };
        let gate_of = Gate::new(ports, self.settings.clone(), self.rules.clone());
        self.starts.lock().unwrap().push(gate_of.ports().clock.now());
        let begun = Arc::clone(&gate_of);
        let task = match (self.watching, self.machines.len()) {
            (true, _) => Some(tokio::spawn(begun.watch(RENEW_INTERVAL))),
            (false, 1) => None,
            (false, _) => Some(tokio::spawn(async move {
                // What one gate has heard of a holder, the others know soon.
                let renewals = async {
                    loop {
                        tokio::time::sleep(RENEW_INTERVAL).await;
                        begun.flush_renewals().await;
                    }
                };
                tokio::select! {
                    () = begun.keep_membership() => {}
                    () = renewals => {}
                }
            })),
        };
        if let Some(before) = std::mem::replace(&mut *self.tasks[gate].lock().unwrap(), task) {
            before.abort();
        }
        Process { gate: gate_of, life, ledger, upstream }
    }

    /// Something happens, once, when the gate comes to this step.
    pub fn trap(&self, at: Moment, trap: Trap) {
        self.process().life.trap(at, trap);
    }

    /// The next write of the item meets this at the forge.
    pub fn next_write(&self, n: u64, fault: Fault) {
        self.forge.script(fault, Matcher::new("PATCH", format!("/issues/{n}")));
    }

    /// Switches the forge's delays on.
    pub fn slow_forge(&self, read: u64, write: u64, answer: u64) {
        let millis = Duration::from_millis;
        let (read_delay, write_delay, answer_delay) = (millis(read), millis(write), millis(answer));
        self.forge.set_vices(Vices { read_delay, write_delay, answer_delay, ..Vices::default() });
    }

    /// Answers to reads are on their way for so long: what they show may have changed meanwhile.
    pub fn lag_reads(&self, millis: u64) {
        self.link.lag.store(millis, Ordering::Relaxed);
    }

    /// Cuts every call to the forge, or no longer.
    pub fn forge_is_away(&self, away: bool) {
        let fault = away.then_some(Fault::CutBefore);
        self.forge.set_vices(Vices { read_fault: fault, write_fault: fault, ..self.forge.vices() });
    }

    /// Somebody deletes the item at the forge.
    pub fn delete(&self, n: u64) {
        if !self.is_deleted(n) {
            let key = self.key(n);
            self.deleted.lock().unwrap().insert(n, key);
            self.forge.outside_delete("root", REPO, n);
        }
    }

    pub fn is_deleted(&self, n: u64) -> bool {
        self.deleted.lock().unwrap().contains_key(&n)
    }

    /// When each life of the gate began.
    pub fn starts(&self) -> Vec<Time> {
        self.starts.lock().unwrap().clone()
    }

    /// How many items there are, or were.
    pub fn items(&self) -> usize {
        self.forge.issues(REPO) + self.deleted.lock().unwrap().len()
    }

    fn key(&self, n: u64) -> ResourceKey {
        let deleted = self.deleted.lock().unwrap().get(&n).cloned();
        deleted.unwrap_or_else(|| ResourceKey::new(&self.forge.issue(REPO, n).id.to_string()))
    }

    /// Lets virtual time pass.
    pub async fn wait(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Lets these agents be known as readers, as their earlier reads through the gate would have.
    pub async fn knows_readers(&self, agents: usize) {
        let gate = self.process().gate.clone();
        let project = Project::new("root/work");
        let credentials: Vec<Credential> = (1..=agents).map(|n| self.credential(&format!("dev-{n}"))).collect();
        for credential in &credentials {
            assert!(gate.ports().identify.account(credential).await.is_ok(), "the forge knows them");
        }
        // Just now: what was shown a while ago says nothing any more.
        for credential in &credentials {
            gate.saw_read(credential, None, (Some(&project), None), Shows::Items(ItemKind::Issue));
        }
        self.forge.clear_log();
    }

    pub fn credential(&self, token: &str) -> Credential {
        let (headers, target) = (headers_of(token), Target::parse("/api/v1/user"));
        let head = Head { method: &Method::GET, target: &target, headers: &headers };
        self.dialect.credential(&head, b"").expect("a plain token")
    }
}

fn populated(setup: &Setup) -> FakeForge {
    let forge = FakeForge::offline(setup.forge.clone());
    forge.add_user("root", "root");
    forge.add_repo("root", "work");
    let people = ["gardener", "supervisor", "admin", "bot"].map(str::to_owned);
    for login in people.into_iter().chain((1..=setup.agents).map(|n| format!("dev-{n}"))) {
        forge.add_user(&login, &login);
        forge.grant_write(&login, REPO);
        forge.add_session(&login, &format!("session-of-{login}"));
    }
    forge.make_admin("admin");
    for label in LABELS.iter().chain(&["bug"]) {
        forge.add_label(REPO, label);
    }
    for n in 1..=setup.issues {
        forge.add_issue(REPO, &format!("issue {n}"), &["backlog"], &[]);
    }
    forge
}

/// The first gate's machine is the world's own.
fn machine(gate: usize, first: &Arc<SimClock>) -> Arc<SimClock> {
    match u32::try_from(gate).unwrap() {
        0 => Arc::clone(first),
        n => SimClock::of_machine(Duration::from_hours(10) * n, i64::from(n) * 1000),
    }
}

// === impl World: what agents do ===

impl World {
    /// Assigns itself.
    pub async fn claim(&self, who: &str, n: u64) -> Told {
        self.claim_for(who, login(who), n).await
    }

    /// Assigns a name, which an opaque credential or an overrider may do.
    pub async fn claim_for(&self, who: &str, assignee: &str, n: u64) -> Told {
        self.patch(who, n, json!({ "assignees": [assignee] })).await
    }

    /// Leaves nobody assigned.
    pub async fn release(&self, who: &str, n: u64) -> Told {
        self.patch(who, n, json!({ "assignees": [] })).await
    }

    /// Assigns somebody else instead.
    pub async fn hand_over(&self, who: &str, to: &str, n: u64) -> Told {
        self.claim_for(who, to, n).await
    }

    pub async fn close(&self, who: &str, n: u64) -> Told {
        self.patch(who, n, json!({ "state": "closed" })).await
    }

    pub async fn reopen(&self, who: &str, n: u64) -> Told {
        self.patch(who, n, json!({ "state": "open" })).await
    }

    /// Replaces all labels.
    pub async fn set_labels(&self, who: &str, n: u64, names: &[&str]) -> Told {
        let ids: Vec<u64> = names.iter().map(|name| label_id(name)).collect();
        self.write(who, "PUT", &format!("{}/labels", path(n)), json!({ "labels": ids })).await
    }

    pub async fn add_label(&self, who: &str, n: u64, name: &str) -> Told {
        self.write(who, "POST", &format!("{}/labels", path(n)), json!({ "labels": [label_id(name)] })).await
    }

    pub async fn remove_label(&self, who: &str, n: u64, name: &str) -> Told {
        self.write(who, "DELETE", &format!("{}/labels/{}", path(n), label_id(name)), Value::Null).await
    }

    pub async fn patch(&self, who: &str, n: u64, body: Value) -> Told {
        self.write(who, "PATCH", &path(n), body).await
    }

    /// Sends a guarded write as the proxy would, and waits for the answer or for the gate's end.
    ///
    /// `who` is a token, which for a user's first is the login, or a whole `Bearer x`; `bot@one` is the instance `one` of `bot`.
    pub async fn write(&self, who: &str, method: &str, path: &str, body: Value) -> Told {
        self.write_if(Expectation::Implied, who, (method, path), body).await
    }

    /// The same of a client that states what must hold.
    pub async fn patch_if(&self, stated: Stated, who: &str, n: u64, body: Value) -> Told {
        self.write_if(Expectation::Stated(Box::new(stated)), who, ("PATCH", &path(n)), body).await
    }

    pub async fn create_if(&self, stated: Stated, who: &str, path: &str, body: Value) -> Told {
        self.write_if(Expectation::Stated(Box::new(stated)), who, ("POST", path), body).await
    }

    /// A call of the claims API as the proxy would make it. Dropping the future is how its client hangs up.
    pub async fn ask_for(&self, who: &str, call: ClaimCall) -> Option<Claimed> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (token, instance) = who.split_once('@').map_or((who, None), |(token, name)| (token, Some(name)));
        let process = self.process();
        let gate = &process.gate;
        let sender = Sender {
            credential: self.credential(token),
            instance: instance.map(Instance::new),
            named: None,
            headers: headers_of(token),
            arrived: gate.ports().clock.boot(),
            about: About::default(),
            expectation: Expectation::Implied,
        };
        let runtime = tokio::runtime::Handle::current();
        tokio::select! {
            biased;
            claimed = gate.claim(call, sender, &runtime) => claimed,
            () = process.life.ended() => None,
        }
    }

    /// The same, as what its client was told.
    pub async fn told_by_api(&self, who: &str, call: ClaimCall) -> Told {
        self.ask_for(who, call).await.map_or_else(Told::nothing, |claimed| Told::claimed(claimed, &*self.dialect))
    }

    async fn write_if(&self, stated: Expectation, who: &str, (method, path): (&str, &str), body: Value) -> Told {
        // Nothing happens at the same microsecond as anything else.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let process = self.process();
        let Some((request, ask)) = self.ask(&process, who, (method, path, &body), stated) else {
            panic!("{method} {path} {body} is no guarded write");
        };
        let runtime = tokio::runtime::Handle::current();
        let began_fallen = self.has_fallen(&process);
        let told = tokio::select! {
            biased;
            reply = process.gate.submit(request, ask, &runtime) => {
                reply.map_or_else(Told::nothing, |reply| Told::of(reply, &*self.dialect))
            }
            () = process.life.ended() => Told::nothing(),
        };
        // Nobody told it, or it did not hear. A creation is nobody's to race for.
        let had_fallen = began_fallen && self.has_fallen(&process);
        if had_fallen && told.is_success() && !path.ends_with("/issues") {
            self.wrong_grants.lock().unwrap().push(format!("{who} {method} {path}: {told:?}"));
        }
        told
    }

    /// Sends a form of the web interface with this user's session, as the proxy would.
    pub async fn form(&self, who: &str, path: &str, form: &str) -> Told {
        self.form_on(REPO, who, path, form).await
    }

    /// The same on the page of another repository, or of an owner.
    pub async fn form_on(&self, page: &str, who: &str, path: &str, form: &str) -> Told {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let process = self.process();
        let mut headers = HeaderMap::new();
        let cookie = format!("lang=en; i_like_gitea=session-of-{who}");
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        let kind = if form.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let path = format!("/{page}/{path}");
        let target = Target::parse(&path);
        let head = Head { method: &Method::POST, target: &target, headers: &headers };
        let request = self.understood(&head, form.as_bytes());
        let request = request.unwrap_or_else(|| panic!("{path} {form} is no guarded form"));
        let arrived = process.gate.ports().clock.boot();
        let about = About { method: "POST".to_owned(), path: path.clone(), ..About::default() };
        let ask = Ask {
            credential: request.sender().expect("a session").credential.clone(),
            instance: None,
            headers,
            arrived,
            about,
            operator: false,
            expectation: Expectation::Implied,
            condition: EntryCondition::Always,
            body: bytes::Bytes::new(),
        };
        let runtime = tokio::runtime::Handle::current();
        tokio::select! {
            biased;
            reply = process.gate.submit(request, ask, &runtime) => {
                reply.map_or_else(Told::nothing, |reply| Told::of(reply, &*self.dialect))
            }
            () = process.life.ended() => Told::nothing(),
        }
    }

    /// The global ids of these issues, as forms name them.
    pub fn ids(&self, numbers: &[u64]) -> String {
        let ids = numbers.iter().map(|n| self.forge.issue(REPO, *n).id.to_string());
        ids.collect::<Vec<_>>().join(",")
    }

    /// What the request asks for, by the rules that this world began with.
    fn understood(&self, head: &Head<'_>, body: &[u8]) -> Option<Guarded> {
        let Route::Guarded(route) = self.dialect.classify(head) else { return None };
        let once = route.class() == "once";
        let scrutiny = Scrutiny {
            once: &|what| once || self.rules.is_ruled(what),
            counts: &|_| true,
            filing: false,
            dependencies: false,
            closing: &ClosingSyntax::default(),
        };
        route.understand(head, body, &scrutiny).ok()?.guarded
    }

    fn ask(
        &self,
        process: &Process,
        who: &str,
        (method, path, body): (&str, &str, &Value),
        expectation: Expectation,
    ) -> Option<(Guarded, Ask)> {
        let (token, instance) = who.split_once('@').map_or((who, None), |(token, name)| (token, Some(name)));
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (method, target, headers) = (method.parse::<Method>().unwrap(), Target::parse(path), headers_of(token));
        let head = Head { method: &method, target: &target, headers: &headers };
        let credential = self.dialect.credential(&head, text.as_bytes()).expect("a plain token");
        let request = self.understood(&head, text.as_bytes())?;
        let ask = Ask {
            credential,
            instance: instance.map(Instance::new),
            arrived: process.gate.ports().clock.boot(),
            about: About { method: method.to_string(), path: path.to_owned(), ..About::default() },
            headers,
            operator: false,
            expectation,
            condition: EntryCondition::Awaited,
            body: text.into(),
        };
        Some((request, ask))
    }
}

fn login(who: &str) -> &str {
    who.split('@').next().unwrap_or(who)
}

fn path(n: u64) -> String {
    format!("/api/v1/repos/{REPO}/issues/{n}")
}

/// Where the item with this number is.
pub fn address_of(n: u64) -> Address {
    let dialect = claimgate::dialect::by_name("forgejo").expect("a dialect");
    dialect.item(&format!("root/work#{n}")).expect("an item's name")
}

/// The number of the item at this place.
pub fn number(place: &Place) -> u64 {
    place.as_str().rsplit('#').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The forge numbers labels from 1, in the order in which they were made.
pub fn label_id(name: &str) -> u64 {
    let at = LABELS.iter().chain(&["bug"]).position(|label| *label == name);
    at.map_or_else(|| panic!("no label {name}"), |at| at as u64 + 1)
}

fn headers_of(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // One that names its scheme is sent as it is.
    let value = if token.contains(' ') { token.to_owned() } else { format!("token {token}") };
    headers.insert(header::AUTHORIZATION, value.parse().unwrap());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

// === impl World: what shows ===

impl World {
    /// What the forge shows.
    pub fn assignees(&self, n: u64) -> Vec<String> {
        self.forge.issue(REPO, n).assignees
    }

    /// Exactly these are assigned at the forge.
    #[track_caller]
    pub fn shows(&self, n: u64, assignees: &[&str]) {
        assert_eq!(self.assignees(n), assignees, "assignees of #{n} at the forge");
    }

    /// What the ledger knows of the item, if it was ever written.
    pub async fn known(&self, n: u64) -> Option<ItemRecord> {
        self.process().ledger.item(&self.key(n)).await.expect("the ledger is there")
    }

    /// The same; nothing, too, while the ledger is away.
    pub async fn try_record(&self, n: u64) -> Option<ItemRecord> {
        self.process().ledger.item(&self.key(n)).await.ok().flatten()
    }

    pub async fn record(&self, n: u64) -> ItemRecord {
        self.known(n).await.unwrap_or_else(|| panic!("the ledger knows nothing of #{n}"))
    }

    /// Who holds the item by the ledger: `account` or `account (instance)`.
    pub async fn holder(&self, n: u64) -> Option<String> {
        self.known(n).await?.holding.map(|holding| holding.actor.to_string())
    }

    #[track_caller]
    pub fn is_held_by(&self, n: u64, who: &str) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move { assert_eq!(self.holder(n).await.as_deref(), Some(who), "holder of #{n} at {at}") }
    }

    #[track_caller]
    pub fn is_held_by_nobody(&self, n: u64) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move { assert_eq!(self.holder(n).await, None, "holder of #{n} at {at}") }
    }

    /// The final attempts of the item, oldest first.
    pub async fn history(&self, n: u64) -> Vec<Settled> {
        let mut settled =
            self.process().ledger.history(&Place::from_stored(&format!("root/work#{n}")), 1000).await.unwrap();
        settled.reverse();
        settled
    }

    /// Their states.
    pub async fn states(&self, n: u64) -> Vec<AttemptState> {
        self.history(n).await.into_iter().map(|settled| settled.attempt.state).collect()
    }

    /// Every audit line.
    pub async fn lines(&self) -> Vec<Value> {
        let lines = self.process().ledger.lines(0, usize::MAX).await.unwrap();
        lines.into_iter().map(|(_, line)| serde_json::from_str(&line).unwrap()).collect()
    }

    /// What the log alone says is sound.
    pub async fn log_is_sound(&self) {
        let lines = self.process().ledger.lines(0, usize::MAX).await.unwrap();
        let text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
        let (mut verifier, mut found) = (Verifier::new(), Vec::new());
        // A clock that was set back is worth a warning, and no more.
        let mut keep = |finding: &Finding| {
            if finding.gravity == Gravity::Wrong {
                found.push(finding.what.clone());
            }
        };
        verifier.read("log", text.as_bytes(), &mut keep).expect("it is text");
        assert!(found.is_empty(), "{found:#?}\n{text}");
    }

    /// How many guarded writes of the item reached the forge.
    pub fn writes(&self, n: u64) -> usize {
        self.forge.requests_about(REPO, n).iter().filter(|entry| entry.guarded).count()
    }
}
