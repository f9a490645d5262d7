//! Logs that the real transitions made.

use super::{chained, claimgate, parsed, verified};
use claimgate::admission::{Finish, Outcome, OutsideEdit, Plan, Step, Verified};
use claimgate::effect::{Authority, Command, Decision, Durability, Ledger, Membership as _, Note};
use claimgate::ledger::{MemoryLedger, MemoryStore};
use claimgate::model::{
    Account, Actor, Attempt, AttemptId, AttemptState, Change, Code, Fence, Fingerprint, Goal, Instance, ItemRecord,
    Kind, OpenState, Ownership, Place, Principal, ResourceKey, SetChange, Shown, Time,
};
use futures_util::FutureExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A ledger, and steps on it in few words. What a line is about stands in its `reason`.
pub(super) struct Story {
    store: Arc<MemoryStore>,
    pub(super) ledger: MemoryLedger,
    now: i64,
    ids: u32,
}

/// A write as the story tells it.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) what: &'static str,
    pub(super) item: u64,
    pub(super) actor: Actor,
    pub(super) kind: Kind,
    pub(super) becomes: Ownership,
    pub(super) decision: Decision,
    pub(super) code: Option<Code>,
    pub(super) authority: Option<Authority>,
}

pub(super) fn agent(name: &str) -> Actor {
    let (account, instance) = name.split_once('/').map_or((name, None), |(account, rest)| (account, Some(rest)));
    Actor { account: Principal::Named(Account::new(account)), instance: instance.map(Instance::new) }
}

pub(super) fn write(what: &'static str, item: u64, actor: &str, kind: Kind, becomes: Ownership) -> Told {
    Told { what, item, actor: agent(actor), kind, becomes, decision: Decision::Admit, code: None, authority: None }
}

pub(super) fn claim(what: &'static str, item: u64, actor: &str) -> Told {
    write(what, item, actor, Kind::Claim, Ownership::Becomes(agent(actor)))
}

pub(super) fn release(what: &'static str, item: u64, actor: &str) -> Told {
    write(what, item, actor, Kind::Release, Ownership::Ends)
}

pub(super) fn committed() -> Outcome {
    Outcome::Committed { shown: shown(), parked: None }
}

pub(super) fn shown() -> Shown {
    Shown { assignees: BTreeSet::new(), statuses: BTreeSet::new(), state: OpenState::Open }
}

fn locator(item: u64) -> Place {
    Place::from_stored(&format!("o/r#{item}"))
}

fn key(item: u64) -> ResourceKey {
    ResourceKey::new(&format!("issue:{item}"))
}

fn change(kind: Kind, actor: &Actor) -> Change {
    let named: BTreeSet<Account> = actor.account.login().cloned().into_iter().collect();
    match kind {
        Kind::Move => Change { state: Some(OpenState::Closed), ..Change::default() },
        Kind::Release => Change { assignees: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() },
        _ => Change { assignees: Some(SetChange::Replace(named)), ..Change::default() },
    }
}

// === impl Story ===

impl Story {
    pub(super) fn new() -> Self {
        let store = MemoryStore::new("gate-1", Duration::from_mins(20));
        let ledger = store.open(Time(0), Time(0));
        Self { store, ledger, now: 1_700_000_000_000_000, ids: 0 }
    }

    pub(super) fn log(&self) -> String {
        let lines = self.ledger.lines(0, usize::MAX).now_or_never().unwrap().unwrap();
        lines.into_iter().map(|(_, line)| line + "\n").collect()
    }

    pub(super) fn set_available(&self, available: bool) {
        self.store.set_available(available);
    }

    pub(super) fn record(&self, item: u64) -> ItemRecord {
        self.ledger.item(&key(item)).now_or_never().unwrap().unwrap().unwrap()
    }

    fn step(&mut self, item: u64, step: Step, note: Option<Note>) {
        self.now += 1_000;
        let command =
            Command { key: key(item), locator: locator(item), step, note: note.map(Box::new), now: Time(self.now) };
        self.ledger.commit(vec![command], Durability::Awaited).now_or_never().unwrap().unwrap();
    }

    fn note(told: &Told) -> Note {
        let mut note = Note::of_gate(String::new(), Some(told.what.to_owned()));
        (note.decision, note.code, note.authority) = (told.decision, told.code, told.authority);
        note
    }

    fn open(&mut self, told: &Told) -> AttemptId {
        self.ids += 1;
        let id = AttemptId::new(&format!("0190-{:04}", self.ids));
        let (gate, epoch) = self.ledger.identity();
        let attempt = Attempt {
            id: id.clone(),
            key: key(told.item),
            locator: locator(told.item),
            actor: told.actor.clone(),
            credential: Fingerprint::new("c0ffee"),
            change: change(told.kind, &told.actor),
            goal: None,
            kind: None,
            ownership: Ownership::Keep,
            state: AttemptState::Open,
            gate,
            epoch,
            opened: Time(self.now),
        };
        self.step(told.item, Step::Open(attempt), None);
        id
    }

    fn send(&mut self, told: &Told) -> AttemptId {
        let attempt = self.open(told);
        let plan = Plan { kind: told.kind, goal: Goal::default(), ownership: told.becomes.clone(), heard: None };
        self.step(told.item, Step::Send { attempt: attempt.clone(), plan }, None);
        attempt
    }

    /// Sent, and settled so.
    pub(super) fn sent(&mut self, told: &Told, outcome: Outcome) -> AttemptId {
        let attempt = self.send(told);
        let doubt_until = Time(self.now + 120_000_000);
        self.step(told.item, Step::Settle { attempt: attempt.clone(), outcome, doubt_until }, Some(Self::note(told)));
        attempt
    }

    /// Granted without a send.
    pub(super) fn granted(&mut self, told: &Told) {
        let attempt = self.open(told);
        let mut note = Self::note(told);
        note.decision = if told.kind == Kind::Create { Decision::Admit } else { Decision::Noop };
        let grant = Step::Grant { attempt, kind: told.kind, ownership: told.becomes.clone(), shown: shown() };
        self.step(told.item, grant, Some(note));
    }

    pub(super) fn rejected(&mut self, told: &Told, code: Code) {
        let attempt = self.open(told);
        let mut note = Self::note(told);
        (note.decision, note.code) = (Decision::Reject, Some(code));
        self.step(told.item, Step::Reject(attempt), Some(note));
    }

    /// Refused on a shared observation, or before there was an item: a line without a version.
    fn refused(&mut self, told: &Told, code: Code, item: Option<u64>) {
        let mut note = Self::note(told);
        (note.decision, note.code) = (Decision::Reject, Some(code));
        note.agent = Some((told.actor.clone(), Fingerprint::new("c0ffee")));
        note.resource_id = item.map(key);
        self.ledger.record(note, Time(self.now));
    }

    fn aborted(&mut self, told: &Told) {
        let attempt = self.send(told);
        let mut note = Self::note(told);
        (note.decision, note.code) = (Decision::Reject, Some(Code::UpstreamUnreadable));
        self.step(told.item, Step::Abort(attempt), Some(note));
    }

    fn edit(&mut self, item: u64, edit: OutsideEdit) {
        let fence: Fence = self.record(item).fence;
        self.step(item, Step::Edit { edit, fence }, Some(Note::of_gate("0190-edit".to_owned(), None)));
    }

    pub(super) fn revoked(&mut self, item: u64) {
        self.edit(item, OutsideEdit::Takes { shown: shown(), cause: "reassigned by an outside edit" });
    }

    pub(super) fn resolved(&mut self, item: u64, landed: bool) {
        let record = self.record(item);
        // Its time is over.
        self.now = record.doubt_until.map_or(self.now, |until| self.now.max(until.0));
        let doubts = record.doubts.into_iter().map(|doubt| doubt.attempt).collect();
        let verified =
            if landed { Verified::Landed { shown: shown(), parked: None } } else { Verified::NotLanded(shown()) };
        self.step(item, Step::Resolve { doubts, verified }, Some(Note::of_gate(String::new(), None)));
    }

    fn operator(&mut self, item: u64) {
        let fence = self.record(item).fence;
        self.step(item, Step::Release { fence }, Some(Note::of_gate("0190-op".to_owned(), Some("stuck".to_owned()))));
    }

    /// The process ends and starts again.
    fn restarted(&mut self) {
        self.now += 1_000_000;
        self.ledger = self.store.open(Time(self.now), Time(self.now + 120_000_000));
    }
}

/// One line or more of every kind that there is.
pub(super) fn everything() -> String {
    let mut story = Story::new();
    handed_around(&mut story);
    doubted(&mut story);
    outside(&mut story);
    renamed_and_parked(&mut story);
    crashed(&mut story);
    passed_by(&mut story);
    not_as_planned(&mut story);
    story.log()
}

fn handed_around(story: &mut Story) {
    story.refused(&claim("unreadable body", 1, "bob"), Code::AmbiguousRequest, None);
    story.sent(&claim("alice claims", 1, "alice"), committed());
    story.rejected(&claim("bob is refused", 1, "bob"), Code::AlreadyAssigned);
    story.refused(&claim("carol shares the refusal", 1, "carol"), Code::AlreadyAssigned, Some(1));
    story.granted(&write("alice repeats", 1, "alice", Kind::Claim, Ownership::Keep));
    story.sent(&write("alice moves", 1, "alice", Kind::Move, Ownership::Keep), committed());
    story.rejected(&release("bob may not release", 1, "bob"), Code::NotHolder);
    story.sent(&release("alice releases", 1, "alice"), committed());
    story.granted(&write("bob clears what is clear", 1, "bob", Kind::Release, Ownership::Keep));
    story.sent(&claim("bob claims", 1, "bob"), committed());
    let to_carol = Ownership::Becomes(agent("carol"));
    story.sent(&write("bob hands over", 1, "bob", Kind::HandOver, to_carol), committed());
    story.granted(&write("carol repeats", 1, "carol", Kind::Claim, Ownership::Keep));
    story.operator(1);
    story.operator(1);
    story.sent(&claim("dave claims", 1, "dave"), committed());
}

fn doubted(story: &mut Story) {
    story.sent(&claim("alice in doubt", 2, "alice"), Outcome::Doubt);
    story.sent(&claim("alice again", 2, "alice"), committed());
    story.resolved(2, true);
    story.sent(&release("alice's release in doubt", 2, "alice"), Outcome::Doubt);
    story.sent(&release("and again", 2, "alice"), Outcome::Doubt);
    story.resolved(2, false);
    story.granted(&release("alice ends it", 2, "alice"));
    story.sent(&claim("bob in doubt", 3, "bob"), Outcome::Doubt);
    story.resolved(3, true);
    story.granted(&write("bob learns it", 3, "bob", Kind::Claim, Ownership::Keep));
    story.sent(&claim("carol in doubt", 9, "carol"), Outcome::Doubt);
    story.operator(9);
    story.resolved(9, true);
    story.sent(&release("carol's release in doubt", 9, "carol"), Outcome::Doubt);
    story.resolved(9, true);
}

fn outside(story: &mut Story) {
    story.revoked(3);
    story.sent(&claim("alice after the edit", 3, "alice"), committed());
    story.edit(3, OutsideEdit::Contested { shown: shown() });
    story.rejected(&claim("alice is told", 3, "alice"), Code::Contested);
    story.sent(&claim("alice once more", 3, "alice"), committed());
    story.edit(3, OutsideEdit::Harmless { shown: shown() });
    story.granted(&release("alice gives it up", 3, "alice"));
}

fn renamed_and_parked(story: &mut Story) {
    let opaque = Actor { account: Principal::Opaque(Fingerprint::new("abc123")), instance: None };
    let mut first = write("somebody claims", 4, "x", Kind::Claim, Ownership::Becomes(opaque.clone()));
    first.actor = opaque.clone();
    story.sent(&first, committed());
    story.step(4, Step::Rebind { from: opaque, to: agent("Erin") }, Some(Note::of_gate("0190-name".to_owned(), None)));
    story.sent(&claim("erin says which", 4, "erin/7"), committed());
    story.sent(&write("erin without instance", 4, "erin", Kind::Move, Ownership::Keep), committed());
    let parked = Outcome::Committed { shown: shown(), parked: Some(true) };
    story.sent(&write("erin closes it", 4, "erin/7", Kind::Move, Ownership::Keep), parked.clone());
    story.sent(&claim("bob claims the parked", 4, "bob"), committed());
    story.sent(&write("bob parks", 4, "bob", Kind::Move, Ownership::Keep), parked.clone());
    let unparked = Outcome::Committed { shown: shown(), parked: Some(false) };
    story.sent(&write("bob takes it back", 4, "bob", Kind::Move, Ownership::Keep), unparked);
    story.sent(&write("bob parks again", 4, "bob", Kind::Move, Ownership::Keep), parked.clone());
    story.sent(&release("carol clears the parked", 4, "carol"), committed());
    story.sent(&claim("bob reopens", 4, "bob"), committed());
    let to_dave = Ownership::Becomes(agent("dave"));
    story.sent(&write("bob hands over and closes", 4, "bob", Kind::HandOver, to_dave), parked);
    story.granted(&write("dave makes it active", 4, "dave", Kind::Claim, Ownership::Becomes(agent("dave"))));
}

fn crashed(story: &mut Story) {
    story.send(&claim("alice is sending", 5, "alice"));
    story.open(&claim("bob is entered", 6, "bob"));
    story.restarted();
    story.resolved(5, false);
    story.sent(&claim("bob after the crash", 5, "bob"), committed());
    story.send(&release("bob is sending", 5, "bob"));
    story.restarted();
    story.resolved(5, true);
}

fn passed_by(story: &mut Story) {
    story.granted(&write("alice adopts", 6, "alice", Kind::Adopt, Ownership::Becomes(agent("alice"))));
    story.sent(&write("bob takes over", 6, "bob", Kind::TakeOver, Ownership::Becomes(agent("bob"))), committed());
    let to_carol = write("a person decides", 6, "pat", Kind::HandOver, Ownership::Becomes(agent("carol")));
    story.sent(&Told { authority: Some(Authority::Overrider), ..to_carol.clone() }, committed());
    let joins = write("a person joins", 6, "pat", Kind::Claim, Ownership::Keep);
    story.sent(&Told { authority: Some(Authority::Overrider), ..joins }, committed());
    let observed =
        Told { decision: Decision::Observe, code: Some(Code::AlreadyAssigned), ..claim("only observed", 6, "dave") };
    story.sent(&observed, committed());
    let anyone = Told { authority: Some(Authority::Anyone), ..release("anyone may", 6, "alice") };
    story.sent(&anyone, committed());
    story.sent(&claim("carol has it", 6, "carol"), committed());
    let back = Told { what: "a person, in doubt", authority: Some(Authority::Overrider), ..to_carol };
    story.sent(&Told { becomes: Ownership::Becomes(agent("bob")), ..back }, Outcome::Doubt);
    story.resolved(6, true);
}

fn not_as_planned(story: &mut Story) {
    story.aborted(&claim("not sent", 7, "alice"));
    story.sent(&claim("not taken", 7, "alice"), Outcome::Refused { shown: shown() });
    let half = Outcome::Partial { holds: true, shown: shown() };
    story.sent(&Told { code: Some(Code::Partial), ..claim("half of it", 7, "alice") }, half);
    let crossed = Outcome::Partial { holds: false, shown: shown() };
    story.sent(&Told { code: Some(Code::Contested), ..claim("crossed", 7, "alice") }, crossed);
    story.granted(&write("created", 8, "bob", Kind::Create, Ownership::Becomes(agent("bob"))));
    for (end, actor) in
        [(Finish::Gone(Duration::from_hours(1)), "alice"), (Finish::Closed(Duration::from_hours(1)), "bob")]
    {
        story.edit(8, OutsideEdit::Harmless { shown: Shown { state: OpenState::Closed, ..shown() } });
        let fence = story.record(8).fence;
        story.step(8, Step::Finish { fence, end }, None);
        story.sent(&claim("claimed anew", 8, actor), committed());
    }
    let mut passed_on = Note::of_gate("0190-passed".to_owned(), None);
    passed_on.resource = Some(locator(0));
    story.ledger.record(passed_on, Time(story.now));
}

// === tests ===

const NOTHING: [&str; 0] = [];

#[test]
fn what_the_transitions_write_is_accepted() {
    let log = everything();
    let (found, summary) = verified(&log);
    assert_eq!(found, NOTHING);
    let kinds: Vec<&str> = summary.kinds.keys().copied().collect();
    let all = [
        "contested",
        "decision",
        "finished",
        "gone",
        "landed",
        "not_landed",
        "operator",
        "rebound",
        "recovered",
        "revoked",
        "taken_over",
    ];
    assert_eq!(kinds, all);
    assert_eq!((summary.items, summary.observed, summary.lines), (9, 1, log.lines().count() as u64));
}

#[test]
fn a_head_that_was_rotated_away_is_not_missed() {
    let log = everything();
    for cut in 1..log.lines().count() {
        let rest: String = log.split_inclusive('\n').skip(cut).collect();
        assert_eq!(verified(&rest).0, NOTHING, "cut before line {}", cut + 1);
    }
}

#[test]
fn what_was_printed_twice_after_a_restart_is_accepted() {
    let log = everything();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    for (first, again) in [(10, 0), (10, 9), (lines.len(), 3), (20, 15)] {
        let twice: String = lines[..first].iter().chain(&lines[again..]).copied().collect();
        let (found, summary) = verified(&twice);
        assert_eq!((found, summary.repeated), (vec![], (first - again) as u64));
    }
    // A restart during the repetition, and one whose first printing was rotated away.
    let thrice: String = lines[..20].iter().chain(&lines[10..15]).chain(&lines[10..]).copied().collect();
    assert_eq!(verified(&thrice).0, NOTHING);
    let headless: String = lines[10..20].iter().chain(&lines[5..]).copied().collect();
    assert_eq!(verified(&headless).0, NOTHING);
}

#[test]
fn the_test_chains_as_the_gate_does() {
    let log = everything();
    assert_eq!(chained(&parsed(&log)), log);
}

#[test]
fn a_random_walk_of_the_transitions_is_accepted() {
    for seed in 1..=60 {
        let mut story = Story::new();
        let mut random = seed;
        for _ in 0..80 {
            random = wander(&mut story, random);
        }
        let log = story.log();
        assert_eq!(verified(&log).0, NOTHING, "seed {seed}\n{log}");
    }
}

/// One legal step of one of three agents on one of two items.
fn wander(story: &mut Story, random: u64) -> u64 {
    let random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let pick = |of: u64, shift: u32| (random >> shift) % of;
    let (item, who) = (20 + pick(2, 20), ["alice", "bob", "carol"][usize::try_from(pick(3, 24)).unwrap()]);
    let record = story.ledger.item(&key(item)).now_or_never().unwrap().unwrap();
    let doubtful = record.as_ref().and_then(|record| record.doubts.first().cloned());
    let holder = record.and_then(|record| record.holding).map(|holding| holding.actor);
    let outcome = match pick(5, 30) {
        0 => Outcome::Doubt,
        1 => Outcome::Refused { shown: shown() },
        2 => Outcome::Partial { holds: true, shown: shown() },
        _ => committed(),
    };
    match (doubtful, holder) {
        (Some(_), _) if pick(2, 34) == 0 => story.resolved(item, pick(2, 36) == 0),
        (Some(doubt), _) => {
            let kind = if doubt.ownership == Ownership::Ends { Kind::Release } else { Kind::Claim };
            let again = Told { actor: doubt.actor, ..write("again", item, who, kind, doubt.ownership) };
            drop(story.sent(&again, outcome));
        }
        (None, Some(held)) if held == agent(who) => match pick(3, 38) {
            0 => story.granted(&write("repeat", item, who, Kind::Claim, Ownership::Keep)),
            1 => drop(story.sent(&write("move", item, who, Kind::Move, Ownership::Keep), committed())),
            _ => drop(story.sent(&release("release", item, who), outcome)),
        },
        (None, Some(_)) if pick(4, 40) == 0 => story.revoked(item),
        (None, Some(_)) => story.rejected(&claim("refused", item, who), Code::AlreadyAssigned),
        (None, None) => drop(story.sent(&claim("claim", item, who), outcome)),
    }
    random
}

// === through the binary ===

#[test]
fn the_binary_reads_files_in_order_and_standard_input() {
    let log = everything();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let directory = tempfile::tempdir().unwrap();
    let paths = ["audit.log.1", "audit.log"].map(|name| directory.path().join(name));
    std::fs::write(&paths[0], lines[..20].concat()).unwrap();
    std::fs::write(&paths[1], lines[20..].concat()).unwrap();
    let names = paths.each_ref().map(|path| path.to_str().unwrap());

    let both = claimgate(&names, "");
    let shown = String::from_utf8_lossy(&both.stdout).into_owned();
    assert_eq!(both.status.code(), Some(0), "{shown}");
    let summary = format!("ok: {0} lines (seq 1 to {0}, 0 repeated), 9 items, ", lines.len());
    assert!(shown.starts_with(&summary), "{shown}");
    assert!(shown.contains("revoked 1") && shown.contains("only observed, and exempt: 1"), "{shown}");

    assert_eq!(claimgate(&["-"], &log).stdout, both.stdout);
    assert_eq!(claimgate(&[names[1], names[0]], "").status.code(), Some(1), "in the wrong order");
}

#[test]
fn the_binary_names_the_lines_and_says_by_its_exit_code() {
    let log = everything();
    let forged = log.replacen("\"alice\"", "\"mallory\"", 1);
    let output = claimgate(&["-"], &forged);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("-:2: seq 2: its hash is not the hash of its bytes"), "{shown}");
    assert!(shown.lines().last().unwrap().starts_with("wrong in "), "{shown}");

    let missing = claimgate(&["/nowhere/audit.log"], "");
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(claimgate(&["/"], "").status.code(), Some(2), "a directory");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read /nowhere/audit.log"));
    assert_eq!(claimgate(&[], "").status.code(), Some(2), "no file at all");
    let empty = claimgate(&["-"], "");
    assert_eq!((empty.status.code(), empty.stdout.starts_with(b"ok: 0 lines")), (Some(0), true));
}

#[test]
fn a_cut_tail_is_noticed_where_the_last_line_is_known() {
    let log = everything();
    let last = parsed(&log).pop().unwrap();
    let pin = format!("{}:{}", last["seq"], last["hash"].as_str().unwrap());
    let cut: String = log.split_inclusive('\n').take(30).collect();
    let table = [
        (log.as_str(), pin.as_str(), 0, "ok: "),
        (&cut, &pin, 1, "the log ends at seq 30, not at seq"),
        ("", &pin, 1, "the log is empty"),
        (&log, &format!("{}:{}", last["seq"], "0".repeat(64)), 1, "has another hash than expected"),
    ];
    for (log, pin, code, words) in table {
        let output = claimgate(&["--expect-last", pin, "-"], log);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((output.status.code(), shown.contains(words)), (Some(code), true), "{shown}");
    }
    assert_eq!(claimgate(&["--expect-last", "7", "-"], &log).status.code(), Some(2));
}
