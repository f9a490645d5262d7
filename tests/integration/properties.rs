//! The invariants of the manual (protocol) over random histories: agents, outsiders and faults in any order.

mod gates;

use crate::support::{Moment, Q, REPO, Setup, Told, Trap, World, address_of, at_gate};
use claimgate::admission::{By, Outside as OutsideEdits};
use claimgate::dialect::{Filter, Order};
use claimgate::effect::audit::GENESIS;
use claimgate::effect::{Decision, Ledger as _};
use claimgate::fake_forge::{Fault, Logged, Matcher, Options};
use claimgate::gate::{ClaimCall, Relabelling, Search, Verify};
use claimgate::model::{Account, Actor, AttemptState, ItemRecord, Place, Project, hex};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

const AGENTS: u8 = 4;
/// At the beginning; agents make more.
const ISSUES: u64 = 2;
/// Stands for the issue that was made last.
const NEWEST: u64 = 0;
/// No part in the histories: it looks at what they leave.
const PROBE: &str = "dev-8";
/// Lines that end a holding without its holder's doing.
const ENDS: [&str; 5] = ["revoked", "operator", "taken_over", "finished", "gone"];

/// What one agent does.
#[derive(Clone, Debug)]
struct Deed {
    agent: u8,
    issue: u64,
    act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Claim,
    Release,
    HandOver(u8),
    /// In one request.
    HandOverClosed(u8),
    Labels(&'static str),
    Close,
    Reopen,
    Api(Call),
    /// A new issue, assigned to its author.
    Create,
    /// By the operator, not by the agent.
    Operator,
    /// By the form of the web interface, with which a human assigns the agent.
    Form(&'static str),
}

/// Of the claims API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Next,
    Take,
    GiveUp,
    Pass(u8),
}

/// Under which rules, and before which forge.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// The gate has a token of its own.
    service: bool,
    /// All agents are instances of one account.
    shared: bool,
    /// That account is not listed as shared, and the last of them does not say which it is.
    mixed: bool,
    /// A version whose web interface tells whose a session is, else a newer one.
    old_forge: bool,
    outside: OutsideEdits,
    release_by: By,
    takeover: bool,
    /// Closed work is over after a while.
    finishes: bool,
    /// The gate looks around by itself.
    watching: bool,
    put_back: bool,
    verify: Verify,
    /// Of the forge, ms.
    delays: (u64, u64),
}

/// What befalls a round before its deeds.
#[derive(Clone, Debug)]
enum Mishap {
    None,
    NextWrite(u64, Fault),
    Outside(u64, Outside),
    LedgerAway,
    LedgerBack,
    At(Moment, Trap),
    Restart,
    StepWall(i64),
    HangUp(u64),
    /// Of the forge: nothing is answered, or is again.
    ForgeAway,
    ForgeBack,
    /// The gate is down for so many seconds.
    Down(u64),
    Delete(u64),
}

#[derive(Clone, Copy, Debug)]
enum Outside {
    Clear,
    Assign(u8),
    Tag(&'static str),
    Close,
    Reopen,
}

#[derive(Clone, Debug)]
struct Round {
    mishap: Mishap,
    deeds: Vec<Deed>,
    /// Afterwards.
    pause: Duration,
}

// === impl Setting, Deed, Act ===

impl Setting {
    fn world(self, gates: impl FnOnce(&mut Setup)) -> World {
        let world = World::with(|setup| {
            gates(setup);
            setup.issues = usize::try_from(ISSUES).unwrap();
            setup.service = self.service.then_some("admin");
            if !self.old_forge {
                setup.forge = Options::forgejo_15();
            }
            setup.settings.verify = self.verify;
            setup.watching = self.watching;
            setup.rules.workflow.put_back = self.put_back;
            let assignment = &mut setup.rules.assignment;
            (assignment.outside, assignment.release_by) = (self.outside, self.release_by);
            assignment.closed_after = self.finishes.then_some(2 * Q);
            if self.takeover {
                (assignment.stale_after, assignment.takeover_after) = (Some(Q / 2), Some(Q));
            }
            if self.shared && !self.mixed {
                setup.rules.shared_accounts = [Account::new("bot")].into();
            }
        });
        world.slow_forge(self.delays.0, self.delays.1, 0);
        world
    }

    /// Of the agent's account.
    fn login(self, agent: u8) -> &'static str {
        if self.shared { "bot" } else { ["dev-1", "dev-2", "dev-3", "dev-4"][usize::from(agent - 1)] }
    }

    /// As it sends its requests.
    fn name(self, agent: u8) -> String {
        match self.shared {
            true if self.mixed && agent == AGENTS => "bot".to_owned(),
            true => format!("bot@{agent}"),
            false => self.login(agent).to_owned(),
        }
    }
}

impl Deed {
    /// Whether who does it stops believing that it holds, whatever it is told.
    fn gives_up(&self, setting: Setting) -> bool {
        match self.act {
            Act::Release | Act::Api(Call::GiveUp) => true,
            Act::HandOver(to) | Act::HandOverClosed(to) | Act::Api(Call::Pass(to)) => {
                setting.login(to) != setting.login(self.agent)
            }
            _ => false,
        }
    }
}

impl Act {
    /// Whether who does it says something of an issue that it may hold.
    fn is_about_its_own(self) -> bool {
        !matches!(self, Self::Api(Call::Next) | Self::Create | Self::Operator | Self::Form(_))
    }
}

// === histories ===

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Claim),
        3 => Just(Act::Release),
        1 => (1..=AGENTS).prop_map(Act::HandOver),
        1 => (1..=AGENTS).prop_map(Act::HandOverClosed),
        1 => prop::sample::select(vec!["todo", "in-progress", "blocked", "done"]).prop_map(Act::Labels),
        1 => Just(Act::Close),
        1 => Just(Act::Reopen),
        4 => call().prop_map(Act::Api),
        1 => Just(Act::Create),
        1 => Just(Act::Operator),
        1 => prop::sample::select(vec!["attach", "clear"]).prop_map(Act::Form),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => Just(Call::Next),
        3 => Just(Call::Take),
        3 => Just(Call::GiveUp),
        1 => (1..=AGENTS).prop_map(Call::Pass),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    // Most of it happens to one item, else little meets.
    let issue = prop_oneof![6 => Just(1), 1 => 1..=ISSUES, 1 => Just(NEWEST)];
    (1..=AGENTS, issue, act()).prop_map(|(agent, issue, act)| Deed { agent, issue, act })
}

fn fault() -> impl Strategy<Value = Fault> {
    // Late landings come within the doubt period, and beyond it, too: then the tracker may show somebody else, but
    // never are two agents told that they hold.
    let late = || prop_oneof![3 => 1..90u64, 1 => 90..300u64].prop_map(Duration::from_secs);
    prop_oneof![
        2 => Just(Fault::CutBefore),
        3 => Just(Fault::CutAfter),
        4 => late().prop_map(Fault::Zombie),
        2 => prop::option::of(late()).prop_map(|lands_after| Fault::Hang { lands_after }),
        1 => prop::sample::select(vec![500, 502]).prop_map(Fault::ErrorBeforeWrite),
        2 => prop::sample::select(vec![500, 502]).prop_map(Fault::ErrorAfterWrite),
        1 => Just(Fault::Ignore),
        1 => Just(Fault::AssigneesThenError(500)),
        1 => Just(Fault::RestThenError(500)),
        1 => Just(Fault::Garbled),
    ]
}

fn moment() -> impl Strategy<Value = Moment> {
    use Moment::{
        AfterT1, AfterT2, AfterT3, Answered, BeforeClose, BeforeResolve, BeforeSend, BeforeT1, BeforeT2, BeforeT3,
    };
    prop::sample::select(vec![
        BeforeT1,
        AfterT1,
        BeforeT2,
        AfterT2,
        BeforeSend,
        Answered,
        BeforeT3,
        AfterT3,
        BeforeClose,
        BeforeResolve,
    ])
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let trap = prop_oneof![
        3 => Just(Trap::Crash),
        2 => Just(Trap::LedgerAway),
        1 => Just(Trap::Suspend(Duration::from_secs(90))),
        1 => (1..500u64).prop_map(|millis| Trap::Slow(Duration::from_millis(millis))),
    ];
    let outside = prop_oneof![
        3 => Just(Outside::Clear),
        2 => (1..=AGENTS).prop_map(Outside::Assign),
        1 => prop::sample::select(vec!["backlog", "in-progress", "blocked"]).prop_map(Outside::Tag),
        1 => Just(Outside::Close),
        1 => Just(Outside::Reopen),
    ];
    prop_oneof![
        6 => Just(Mishap::None),
        8 => (1..=ISSUES, fault()).prop_map(|(issue, fault)| Mishap::NextWrite(issue, fault)),
        3 => (1..=ISSUES, outside).prop_map(|(issue, outside)| Mishap::Outside(issue, outside)),
        1 => Just(Mishap::LedgerAway),
        2 => Just(Mishap::LedgerBack),
        4 => (moment(), trap).prop_map(|(moment, trap)| Mishap::At(moment, trap)),
        1 => Just(Mishap::Restart),
        1 => (-4000..4000i64).prop_map(Mishap::StepWall),
        1 => (1..60u64).prop_map(Mishap::HangUp),
        1 => Just(Mishap::ForgeAway),
        2 => Just(Mishap::ForgeBack),
        1 => (1..300u64).prop_map(Mishap::Down),
        1 => (1..=ISSUES).prop_map(Mishap::Delete),
    ]
}

fn setting() -> impl Strategy<Value = Setting> {
    let rarely = || prop::bool::weighted(0.25);
    let outside = prop_oneof![3 => Just(OutsideEdits::Wins), 1 => Just(OutsideEdits::Hold)];
    let release_by = prop_oneof![3 => Just(By::Holder), 1 => Just(By::Anyone)];
    let verify = prop_oneof![3 => Just(Verify::ReadBack), 1 => Just(Verify::Answer)];
    // Who looks around asks much of the forge.
    let watching = prop::bool::weighted(0.02);
    let mixed = prop::bool::weighted(0.4);
    let flags = (any::<bool>(), mixed, any::<bool>(), rarely(), rarely(), rarely(), any::<bool>(), watching);
    (flags, outside, release_by, verify, (0..8u64, 0..8u64)).prop_map(|(flags, outside, release_by, verify, delays)| {
        let (service, shared, mixed, old_forge, takeover, leaves_stray, finishes, watching) = flags;
        Setting {
            service,
            shared,
            mixed,
            old_forge,
            outside,
            release_by,
            takeover,
            finishes,
            watching,
            put_back: !leaves_stray,
            verify,
            delays,
        }
    })
}

fn round() -> impl Strategy<Value = Round> {
    let pause = prop_oneof![6 => 0..3000u64, 2 => 3000..60_000u64, 1 => 60_000..200_000u64];
    let deeds = prop::collection::vec(deed(), 1..=3).prop_map(|mut deeds| {
        // One agent does one thing at a time.
        deeds.sort_by_key(|deed| deed.agent);
        deeds.dedup_by_key(|deed| deed.agent);
        deeds
    });
    (mishap(), deeds, pause).prop_map(|(mishap, deeds, pause)| Round {
        mishap,
        deeds,
        pause: Duration::from_millis(pause),
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(300),
        max_shrink_iters: 3000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/integration/properties.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_invariants_hold_over_any_history(
        rounds in prop::collection::vec(round(), 1..25),
        setting in setting(),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(live_through(&rounds, setting));
    }
}

async fn live_through(rounds: &[Round], setting: Setting) {
    let world = setting.world(|_| {});
    let beliefs = Beliefs::default();
    let mut sends = 0;
    for round in rounds {
        sends += live_through_round(&world, setting, &beliefs, round, &Places::default()).await;
    }
    sends += calm(&world).await;
    the_invariants_held(&world, setting, &beliefs, sends).await;
    silence_is_not_the_gates_own(&world, rounds).await;
    every_item_can_be_claimed(&world).await;
}

/// At which of several gates the parts of a round happen.
#[derive(Clone, Debug, Default)]
struct Places {
    mishap: usize,
    deeds: [usize; 3],
}

/// Returns what dead processes had sent.
async fn live_through_round(
    world: &World,
    setting: Setting,
    beliefs: &Beliefs,
    round: &Round,
    places: &Places,
) -> usize {
    let mut sends = restart_the_dead(world).await;
    let patience = at_gate(places.mishap, befall(world, setting, &round.mishap, &mut sends)).await;
    let deeds = round.deeds.iter().enumerate().map(|(at, deed)| {
        let patience = if at == 0 { patience } else { None };
        at_gate(places.deeds[at], carry_out(world, setting, beliefs, deed, patience))
    });
    join_all(deeds).await;
    world.wait(round.pause).await;
    sends
}

async fn the_invariants_held(world: &World, setting: Setting, beliefs: &Beliefs, mut sends: usize) {
    for gate in 0..world.gates() {
        sends += at_gate(gate, async { world.process().upstream.sends() }).await;
    }
    each_write_has_its_attempt(world, sends).await;
    never_two_holders(world, setting, beliefs).await;
    the_audit_is_whole(world).await;
    world.log_is_sound().await;
}

/// Returns what the dead processes had sent.
async fn restart_the_dead(world: &World) -> usize {
    let mut sends = 0;
    for gate in 0..world.gates() {
        let restart = async { if world.process().life.is_frozen() { world.restart().upstream.sends() } else { 0 } };
        sends += at_gate(gate, restart).await;
    }
    sends
}

/// Arranges it; returns after how long the first client hangs up.
async fn befall(world: &World, setting: Setting, mishap: &Mishap, sends: &mut usize) -> Option<Duration> {
    match mishap {
        Mishap::None => {}
        Mishap::NextWrite(issue, fault) => {
            world.forge.clear_script();
            for method in ["PATCH", "PUT"] {
                world.forge.script(*fault, Matcher::new(method, format!("/issues/{issue}")));
            }
            // Labels that go with a claim, a new issue, a form.
            world.forge.script(*fault, Matcher::new("POST", "/issues"));
        }
        Mishap::Outside(issue, outside) => edit(world, setting, *issue, *outside),
        Mishap::LedgerAway => world.store.set_available(false),
        Mishap::LedgerBack => world.store.set_available(true),
        Mishap::At(moment, trap) => world.trap(*moment, trap.clone()),
        Mishap::Restart => *sends += world.restart().upstream.sends(),
        Mishap::StepWall(seconds) => {
            world.clock.step_wall(*seconds);
            *sends += world.restart().upstream.sends();
        }
        Mishap::ForgeAway => world.forge_is_away(true),
        Mishap::ForgeBack => world.forge_is_away(false),
        Mishap::Down(seconds) => {
            world.process().life.freeze();
            world.wait(Duration::from_secs(*seconds)).await;
            *sends += world.restart().upstream.sends();
        }
        Mishap::Delete(issue) => world.delete(*issue),
        Mishap::HangUp(millis) => return Some(Duration::from_millis(*millis)),
    }
    None
}

fn edit(world: &World, setting: Setting, n: u64, outside: Outside) {
    if world.is_deleted(n) {
        return;
    }
    match outside {
        Outside::Clear => world.forge.outside_assign("root", REPO, n, &[]),
        Outside::Assign(agent) => world.forge.outside_assign("root", REPO, n, &[setting.login(agent)]),
        Outside::Tag(name) => world.forge.outside_labels("root", REPO, n, &[name]),
        Outside::Close => world.forge.outside_close("root", REPO, n),
        Outside::Reopen => world.forge.outside_reopen("root", REPO, n),
    }
}

async fn carry_out(world: &World, setting: Setting, beliefs: &Beliefs, deed: &Deed, patience: Option<Duration>) {
    let n = if deed.issue == NEWEST { newest(world) } else { deed.issue };
    let (who, account) = (setting.name(deed.agent), setting.login(deed.agent));
    if deed.gives_up(setting) {
        beliefs.drop(&who, n);
    }
    let since = *world.process().ledger.newest_line().borrow();
    let write = async {
        let told = match deed.act {
            Act::Claim => world.claim(&who, n).await,
            Act::Release => world.release(&who, n).await,
            Act::HandOver(to) => world.hand_over(&who, setting.login(to), n).await,
            Act::HandOverClosed(to) => {
                world.patch(&who, n, json!({ "assignees": [setting.login(to)], "state": "closed" })).await
            }
            Act::Labels(name) => world.set_labels(&who, n, &[name]).await,
            Act::Close => world.close(&who, n).await,
            Act::Reopen => world.reopen(&who, n).await,
            Act::Api(call) => world.told_by_api(&who, claim_call(setting, call, n)).await,
            Act::Create => {
                let body = json!({ "title": "new", "assignees": [account] });
                world.write(&who, "POST", &format!("/api/v1/repos/{REPO}/issues"), body).await
            }
            Act::Operator => return operator_releases(world, n).await,
            Act::Form(action) => return human_assigns(world, action, account, n).await,
        };
        beliefs.note_refusal(world, n, since, &told);
        beliefs.learn(world, setting, (&who, n), (deed, &told)).await;
    };
    if tokio::time::timeout(patience.unwrap_or(Duration::MAX), write).await.is_err() && deed.act.is_about_its_own() {
        beliefs.drop(&who, n);
    }
}

async fn operator_releases(world: &World, n: u64) {
    let process = world.process();
    let item = Place::from_stored(&format!("root/work#{n}"));
    tokio::select! {
        _ = process.gate.release(&item, "stuck") => {}
        () = process.life.ended() => {}
    }
}

/// By the form of a list, which takes several at once.
async fn human_assigns(world: &World, action: &str, account: &str, n: u64) {
    if [1, n].iter().any(|n| world.is_deleted(*n)) {
        return;
    }
    let form = format!("issue_ids={}&id={}&action={action}", world.ids(&[1, n]), world.forge.user_id(account));
    world.form("gardener", "issues/assignee", &form).await;
}

fn newest(world: &World) -> u64 {
    u64::try_from(world.items()).unwrap()
}

fn claim_call(setting: Setting, call: Call, n: u64) -> ClaimCall {
    let one = |name: &str| BTreeSet::from([name.to_owned()]);
    let address = address_of(n);
    let starts = Relabelling { set: one("in-progress"), remove: one("backlog") };
    match call {
        Call::Next => {
            let filter = Filter { project: Project::new("root/work"), labels: BTreeSet::new(), order: Order::Oldest };
            ClaimCall::Next(Search { filter, exclude: BTreeSet::new(), limit: 100, labels: starts })
        }
        Call::Take => ClaimCall::Take(address, starts),
        Call::GiveUp => ClaimCall::Release(address, Relabelling { set: one("backlog"), remove: one("in-progress") }),
        Call::Pass(to) => ClaimCall::HandOver(address, Account::new(setting.login(to))),
    }
}

// === what agents believe ===

/// Who may believe to hold what, by the published rule, and every grant that met another's belief.
#[derive(Default)]
struct Beliefs {
    held: Mutex<BTreeMap<(u64, String), u64>>,
    grants: Mutex<Vec<String>>,
    refusals: Mutex<Vec<Refusal>>,
    overlaps: Mutex<Vec<Overlap>>,
}

/// `granted` was told that it holds while `before` believed so. Each was told when so many audit lines were there.
#[derive(Debug)]
struct Overlap {
    issue: u64,
    before: (String, u64),
    granted: (String, u64),
}

/// Somebody was told that this account holds the item. So many audit lines were there when it asked, and when it was told.
#[derive(Debug)]
struct Refusal {
    issue: u64,
    holder: String,
    since: u64,
    until: u64,
}

impl Beliefs {
    /// What a refusal says of the holder.
    fn note_refusal(&self, world: &World, issue: u64, since: u64, told: &Told) {
        if let (409, "already_assigned", Some(holder)) = (told.status, told.code, told.holder()) {
            let until = *world.process().ledger.newest_line().borrow();
            self.refusals.lock().unwrap().push(Refusal { issue, holder: holder.to_owned(), since, until });
        }
    }

    fn drop(&self, who: &str, n: u64) {
        self.held.lock().unwrap().remove(&(n, who.to_owned()));
    }

    async fn learn(&self, world: &World, setting: Setting, (who, n): (&str, u64), (deed, told): (&Deed, &Told)) {
        let issue = match deed.act {
            // Which one, its answer says; else it is about none.
            Act::Api(Call::Next) | Act::Create => match told.body["number"].as_u64() {
                Some(issue) if told.is_success() => issue,
                _ => return,
            },
            _ => n,
        };
        let claims = match deed.act {
            Act::Claim | Act::Create | Act::Api(Call::Next | Call::Take) => true,
            Act::HandOver(to) | Act::Api(Call::Pass(to)) => setting.login(to) == setting.login(deed.agent),
            _ => false,
        };
        let refused = matches!(told.code, "not_holder" | "already_assigned" | "contested") && !told.is_success();
        match deed.act {
            _ if refused || told.is_uncertain() => self.drop(who, issue),
            // It is there, whatever the ledger says; a grant it is if that has it, and nobody else came first.
            Act::Create if self.is_anothers(world, who, issue).await => {}
            _ if claims && told.is_success() => self.grant(world, who, issue, told),
            Act::Labels(_) | Act::Close | Act::HandOverClosed(_) if told.is_success() => {
                // Its own move out of work ends its exclusive right; one into work is a claim.
                let held = world.try_record(issue).await.and_then(|record| record.holding);
                match held.filter(|held| !held.parked && called(&held.actor) == who) {
                    Some(_) if deed.act == Act::Labels("in-progress") => self.grant(world, who, issue, told),
                    Some(_) => {}
                    None => self.drop(who, issue),
                }
            }
            _ => {}
        }
    }

    async fn is_anothers(&self, world: &World, who: &str, issue: u64) -> bool {
        let holding = world.try_record(issue).await.and_then(|record| record.holding);
        holding.is_none_or(|held| called(&held.actor) != who)
    }

    fn grant(&self, world: &World, who: &str, issue: u64, told: &Told) {
        let newest = *world.process().ledger.newest_line().borrow();
        let mut held = self.held.lock().unwrap();
        for ((n, before), told) in held.iter().filter(|((n, other), _)| *n == issue && other != who) {
            let (before, granted) = ((before.clone(), *told), (who.to_owned(), newest));
            self.overlaps.lock().unwrap().push(Overlap { issue: *n, before, granted });
        }
        held.insert((issue, who.to_owned()), newest);
        if matches!(told.decision, Some(Decision::Admit | Decision::Noop)) {
            self.grants.lock().unwrap().push(told.id.clone());
        }
    }
}

// === invariants ===

/// Faults stop, and all that is late has landed. Returns what a dead process had sent.
async fn calm(world: &World) -> usize {
    world.forge.clear_script();
    world.forge_is_away(false);
    world.store.set_available(true);
    let mut sends = 0;
    for gate in 0..world.gates() {
        let calmed = async {
            let process = world.process();
            process.life.disarm();
            process.life.stop(false);
            // One that was declared fallen joins again by itself.
            if process.life.is_frozen() { world.restart().upstream.sends() } else { 0 }
        };
        sends += at_gate(gate, calmed).await;
    }
    world.wait(Duration::from_secs(301)).await;
    world.wait(Q + Duration::from_secs(10)).await;
    for n in 1..=newest(world) {
        if world.is_deleted(n) {
            let_go(world, n).await;
        } else {
            world.reopen(PROBE, n).await;
        }
    }
    // What the gate does of its own when it sees an item.
    world.wait(Duration::from_secs(1)).await;
    sends
}

/// What is gone counts for nothing once its doubt is over; its holder lets go of it, and the operator can.
async fn let_go(world: &World, n: u64) {
    let Some(record) = at_rest(world, n).await else { return };
    let now = world.process().gate.ports().clock.now();
    assert!(record.live.is_none() && !record.is_in_doubt(now), "#{n}: {record:?}");
    if let Some(holding) = record.holding.filter(|_| record.doubts.is_empty()) {
        world.release(&called(&holding.actor), n).await;
        // Whom a human names, is one of the account's agents.
        let ended = world.known(n).await.is_some_and(|record| record.holding.is_none());
        assert!(ended || holding.actor.instance.is_none(), "#{n}: {} cannot let go", holding.actor);
    }
    operator_releases(world, n).await;
    let record = world.known(n).await.expect("it is known");
    assert!(record.holding.is_none() && record.doubts.is_empty(), "#{n}: {record:?}");
}

/// A holder that is lost to silence could have been heard for as long as the rules say.
async fn silence_is_not_the_gates_own(world: &World, rounds: &[Round]) {
    // The lines' times are those of a clock that was not set.
    if rounds.iter().any(|round| matches!(round.mishap, Mishap::StepWall(_))) {
        return;
    }
    let micros = |line: &Value| line["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let (starts, lines) = (world.starts(), world.lines().await);
    // What landed was decided in a life before, which had heard nothing for as long.
    let landed = |taken: &&Value| {
        lines.iter().any(|line| line["kind"] == "landed" && ["time", "resource"].iter().all(|at| line[at] == taken[at]))
    };
    for line in lines.iter().filter(|line| line["kind"] == "taken_over").filter(|line| !landed(line)) {
        let at = micros(line);
        let since = at - i64::try_from(Q.as_micros()).unwrap();
        assert!(!starts.iter().any(|start| (since..at).contains(&start.0)), "the gate began within {line}");
    }
}

/// I3: nothing guarded reaches the forge but what an attempt that was SENDING carried.
async fn each_write_has_its_attempt(world: &World, sends: usize) {
    let guarded: Vec<_> = world.forge.requests().into_iter().filter(|entry| entry.guarded).collect();
    let at_forge = guarded.len();
    assert_eq!(at_forge, sends, "guarded writes at the forge, and sends of the gate");
    // Of a new issue nothing is known before it is there; a form may be about several issues, or about ones not read.
    let is_of_no_issue = |entry: &&Logged| entry.target.ends_with("/issues") || !entry.target.starts_with("/api/");
    let others = guarded.iter().filter(is_of_no_issue).count();
    let mut sent = 0;
    for n in 1..=newest(world) {
        let history = world.history(n).await;
        assert!(history.iter().all(|settled| settled.attempt.state.is_final()));
        let may_have_left = |state| !matches!(state, AttemptState::Rejected | AttemptState::Aborted);
        sent += history
            .iter()
            .filter(|settled| settled.attempt.goal.is_some() && may_have_left(settled.attempt.state))
            .count();
    }
    assert!(at_forge - others <= sent, "{at_forge} writes at the forge, {sent} attempts that were sent");
}

/// I1: never two, unless a recorded revocation lies between. I2: every grant is recorded.
async fn never_two_holders(world: &World, setting: Setting, beliefs: &Beliefs) {
    let lines = world.lines().await;
    // What such a write has done may show only later, on a line that does not say it.
    let of_human = |line: &Value| name(&line["agent"]) == "gardener" || name(&line["agent"]).starts_with("session:");
    let by_anyone = |line: &Value| setting.release_by == By::Anyone && line["change"] == "assignees=[]";
    let takes_over = |line: &Value| line["intent"] == "take_over";
    let lawful = lines.iter().filter(|line| of_human(line) || by_anyone(line) || takes_over(line));
    let may_take_away: HashSet<&Value> = lawful.map(|line| &line["id"]).collect();
    for overlap in beliefs.overlaps.lock().unwrap().iter() {
        let resource = format!("{REPO}#{}", overlap.issue);
        // An answer may be on its way for a while: what counts is the last line that the agent itself had written.
        let own = |(who, told): &(String, u64)| {
            let of_agent = lines.iter().filter(|line| line["resource"] == *resource && name(&line["agent"]) == *who);
            let written = of_agent.filter(|line| line["result"] == "COMMITTED" && line["authority"] != "overrider");
            written.filter_map(|line| line["seq"].as_u64()).filter(|seq| seq <= told).max().unwrap_or(0)
        };
        let mut two = [(own(&overlap.before), &overlap.before.0), (own(&overlap.granted), &overlap.granted.0)];
        two.sort_unstable();
        let [(since, first), (until, _)] = two;
        let between = |line: &&Value| (since + 1..=until).contains(&line["seq"].as_u64().unwrap());
        let revoked = |line: &Value| {
            let ended = ENDS.contains(&line["kind"].as_str().unwrap()) && name(&line["agent"]) == *first;
            let lawful = may_take_away.contains(&line["id"]) && name(&line["holder"]) != *first;
            // What was held without a name goes on as the first that names one, whoever else had no name.
            let named = name(&line["holder"]).strip_prefix(first.as_str()).is_some_and(|rest| rest.starts_with('@'));
            line["resource"] == *resource && (ended || lawful || named)
        };
        let story = || told_by(&lines, &resource);
        assert!(lines.iter().filter(between).any(revoked), "{overlap:?}, since {since}\n{}", story());
    }
    for id in beliefs.grants.lock().unwrap().iter() {
        let committed = |line: &&Value| line["id"] == **id && line["result"] == "COMMITTED";
        assert_eq!(lines.iter().filter(committed).count(), 1, "grant {id} is recorded once");
    }
}

/// As an agent is called here.
fn called(actor: &Actor) -> String {
    let instance = actor.instance.as_ref().map_or_else(String::new, |it| format!("@{}", it.as_str()));
    format!("{}{instance}", actor.account)
}

/// The same, of its member in an audit line.
fn name(agent: &Value) -> String {
    let instance = agent["instance"].as_str().map_or_else(String::new, |it| format!("@{it}"));
    format!("{}{instance}", agent["account"].as_str().unwrap_or_default())
}

/// I8: versions never fall, final states never change, and the chain is whole.
async fn the_audit_is_whole(world: &World) {
    let process = world.process();
    let mut previous = GENESIS.to_owned();
    let (mut fences, mut states) = (HashMap::new(), HashMap::new());
    let mut entered = HashSet::new();
    for n in 1..=newest(world) {
        entered.extend(world.history(n).await.into_iter().map(|ended| ended.attempt.id.as_str().to_owned()));
    }
    for (seq, text) in process.ledger.lines(0, usize::MAX).await.unwrap() {
        let line: Value = serde_json::from_str(&text).unwrap();
        let hash = line["hash"].as_str().unwrap().to_owned();
        let unhashed = text.replacen(&format!("\"hash\":\"{hash}\","), "", 1);
        assert_eq!(hex(&Sha256::digest(unhashed)), hash, "line {seq}");
        assert_eq!((line["seq"].as_u64(), line["prev_hash"].as_str()), (Some(seq), Some(&*previous)));
        previous = hash;
        if let Some(fence) = line["fence"].as_u64() {
            let text = |member: &str| line[member].as_str().unwrap().to_owned();
            // What rests on another turn's read tells the version that was read: no older than what its own gate has written.
            let shared = line["result"] == "REJECTED" && !entered.contains(line["id"].as_str().unwrap());
            let (item, gate) = (text("resource"), Some(text("gate")));
            let before = fences.get(&(item.clone(), gate.clone().filter(|_| shared))).copied();
            assert!(before.is_none_or(|before| before <= fence), "line {seq}: version {fence} after {before:?}");
            for of in [None, gate].into_iter().filter(|_| !shared) {
                fences.insert((item.clone(), of), fence);
            }
        }
        if let Some(state) = line["result"].as_str() {
            let before = states.insert(line["id"].as_str().unwrap().to_owned(), state.to_owned());
            let follows = before.as_deref().is_none_or(|before| before == "DOUBT" && state.ends_with("LANDED"));
            assert!(follows, "line {seq}: {state} after {before:?}");
        }
    }
}

/// What the ledger knows of the item while no gate happens to look at it by itself.
async fn at_rest(world: &World, n: u64) -> Option<ItemRecord> {
    let is_look = |record: &ItemRecord| record.live.as_ref().is_some_and(|live| live.change.is_empty());
    for _ in 0..100 {
        let record = world.known(n).await;
        if !record.as_ref().is_some_and(is_look) {
            return record;
        }
        world.wait(Duration::from_millis(3)).await;
    }
    world.known(n).await
}

/// I14: every attempt is final, every holder can release, and then everybody can claim.
async fn every_item_can_be_claimed(world: &World) {
    for n in 1..=newest(world) {
        let Some(record) = at_rest(world, n).await.filter(|_| !world.is_deleted(n)) else { continue };
        assert!(record.live.is_none() && record.doubts.is_empty(), "#{n}: {record:?}");
        if let Some(holding) = record.holding {
            // Whom a human names, is one of the account's agents, and any of them may say so.
            let any = if holding.actor.account.to_string() == "bot" { "@1" } else { "" };
            let any = if holding.actor.instance.is_none() { any } else { "" };
            let told = world.release(&format!("{}{any}", called(&holding.actor)), n).await;
            assert!(told.is_success(), "#{n}: {} cannot release: {told:?}", holding.actor);
        }
        world.forge.outside_assign("root", REPO, n, &[]);
        let told = world.claim(PROBE, n).await;
        assert!(told.is_success(), "#{n}: {told:?}\n{}", told_by(&world.lines().await, &format!("{REPO}#{n}")));
        world.shows(n, &[PROBE]);
    }
}

/// The audit of one item, shortened, for whoever reads a failure.
fn told_by(lines: &[Value], resource: &str) -> String {
    let of_item = lines.iter().filter(|line| line["resource"] == resource);
    let short = |line: &Value| {
        let members = [
            "seq",
            "time",
            "id",
            "kind",
            "decision",
            "code",
            "change",
            "result",
            "fence",
            "authority",
            "observed",
            "reason",
        ];
        let texts = members.map(|name| line[name].to_string());
        format!("{} by {} -> {}", texts.join(" "), line["agent"]["account"], line["holder"]["account"])
    };
    of_item.map(short).collect::<Vec<_>>().join("\n")
}
