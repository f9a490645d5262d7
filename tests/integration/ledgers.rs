//! One contract for every ledger: the same steps give the same records, the same refusals, the same history and the same
//! audit, in memory and in a file; and what only a file can do.

mod constraints;
mod once;
mod shared;
mod tls;

use crate::support::postgres;
use claimgate::admission::{Finish, Outcome, OutsideEdit, Plan, Refused, Stamp, Step, Verified, apply};
use claimgate::effect::audit::GENESIS;
use claimgate::effect::{Command, Decision, Durability, Ledger, LedgerError, Note};
use claimgate::ledger::{
    LedgerFile, MemoryLedger, MemoryStore, OpenError, PostgresLedger, Retention, SqliteLedger, SqliteOptions,
};
use claimgate::model::{
    Account, Actor, Attempt, AttemptId, AttemptState, Change, Epoch, Fence, Fingerprint, GateId, Goal, Instance,
    ItemRecord, Kind, OpenState, Ownership, Place, Principal, ResourceKey, SetChange, SetGoal, Settled, Shown, Status,
    TagRef, Time, hex,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const Q: Duration = Duration::from_mins(2);
const ZOMBIE_PERIOD: Duration = Duration::from_mins(20);
const START: Time = Time(1_767_225_600_000_000);

// === values ===

fn key(n: u8) -> ResourceKey {
    ResourceKey::new(&format!("{}", 100 + u32::from(n)))
}

fn locator(n: u8) -> Place {
    Place::from_stored(&format!("root/work#{n}"))
}

fn actor(n: u8) -> Actor {
    match n % 3 {
        0 => Actor { account: Principal::Opaque(Fingerprint::new("c0ffee")), instance: None },
        1 => Actor { account: Principal::Named(Account::new("Dev-1")), instance: None },
        _ => Actor { account: Principal::Named(Account::new("bot")), instance: Some(Instance::new("one")) },
    }
}

fn login(n: u8) -> Account {
    Account::new(["nobody", "dev-1", "bot"][usize::from(n % 3)])
}

/// Every shape of a change, by number.
fn change(n: u8) -> Change {
    let names = |name: &str| [TagRef::Name(name.to_owned()), TagRef::number(7)].into();
    match n % 5 {
        0 => Change { assignees: Some(SetChange::Replace([login(n)].into())), ..Change::default() },
        1 => Change { assignees: Some(SetChange::Replace([].into())), ..Change::default() },
        2 => Change { labels: Some(SetChange::Add(names("todo"))), state: Some(OpenState::Open), ..Change::default() },
        3 => Change { labels: Some(SetChange::Remove(names("done"))), ..Change::default() },
        _ => Change {
            assignees: Some(SetChange::Remove([login(n)].into())),
            labels: Some(SetChange::Replace(names("blocked"))),
            reviewers: Some(SetChange::Add([login(n)].into())),
            state: Some(OpenState::Closed),
        },
    }
}

fn goal(n: u8) -> Goal {
    let label = |name: &str| TagRef::Name(name.to_owned());
    match n % 4 {
        0 => Goal { assignees: Some([login(n)].into()), ..Goal::default() },
        1 => Goal { assignees: Some([].into()), state: Some(OpenState::Closed), ..Goal::default() },
        2 => Goal {
            labels: Some(SetGoal { with: [label("todo")].into(), without: Some([TagRef::number(3)].into()) }),
            ..Goal::default()
        },
        _ => Goal { labels: Some(SetGoal { with: [].into(), without: None }), ..Goal::default() },
    }
}

fn shown(n: u8) -> Shown {
    Shown {
        assignees: if n.is_multiple_of(2) { [login(n)].into() } else { [].into() },
        statuses: if n.is_multiple_of(3) {
            [Status::new("todo"), Status::new("in-progress")].into()
        } else {
            [].into()
        },
        state: if n.is_multiple_of(5) { OpenState::Closed } else { OpenState::Open },
    }
}

fn ownership(n: u8) -> Ownership {
    match n % 4 {
        0 | 1 => Ownership::Becomes(actor(n / 4)),
        2 => Ownership::Ends,
        _ => Ownership::Keep,
    }
}

fn outcome(n: u8) -> Outcome {
    match n % 6 {
        0 => Outcome::Committed { shown: shown(n), parked: None },
        1 => Outcome::Committed { shown: shown(n), parked: Some(n % 4 == 1) },
        2 => Outcome::Refused { shown: shown(n) },
        3 => Outcome::Partial { holds: n % 4 == 3, shown: shown(n) },
        _ => Outcome::Doubt,
    }
}

fn kind(n: u8) -> Kind {
    [Kind::Claim, Kind::Release, Kind::HandOver, Kind::Move, Kind::Adopt, Kind::TakeOver, Kind::Create]
        [usize::from(n % 7)]
}

fn edit(n: u8) -> OutsideEdit {
    match n % 4 {
        3 => OutsideEdit::Finishes { cause: "closed, and its holder is not assigned any more" },
        0 => OutsideEdit::Takes { shown: shown(n), cause: "reassigned by an outside edit" },
        1 => OutsideEdit::Harmless { shown: shown(n) },
        _ => OutsideEdit::Contested { shown: shown(n) },
    }
}

// === a ledger under test ===

/// One ledger, closed and opened again at will.
enum Bench {
    Memory(Arc<MemoryStore>, MemoryLedger),
    File(TempDir, Option<SqliteLedger>),
    /// By the URL of its database.
    Shared(String, PostgresLedger),
}

fn options(dir: &Path, now: Time) -> SqliteOptions {
    SqliteOptions { zombie_period: ZOMBIE_PERIOD, doubt_period: Q, now, ..SqliteOptions::in_dir(dir) }
}

/// Opens the file; the thread of a ledger just dropped may still hold the lock for a moment.
fn open_file(dir: &Path, now: Time) -> SqliteLedger {
    for _ in 0..2000 {
        match SqliteLedger::open(options(dir, now)) {
            Err(OpenError::InUse { .. }) => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened.expect("a good file"),
        }
    }
    panic!("the lock is never let go");
}

impl Bench {
    fn memory() -> Self {
        let store = MemoryStore::new("the-gate-in-memory", ZOMBIE_PERIOD);
        let ledger = store.open(START, START + Q);
        Self::Memory(store, ledger)
    }

    fn file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open_file(dir.path(), START);
        Self::File(dir, Some(ledger))
    }

    /// One in a database of its own; none where there is no server.
    async fn shared() -> Option<Self> {
        let url = postgres::cluster()?.database();
        let ledger = postgres::open(&url, "the-gate", Some(START)).await;
        Some(Self::Shared(url, ledger))
    }

    /// Every kind of ledger that can be had here.
    async fn all() -> Vec<Self> {
        [Self::memory(), Self::file()].into_iter().chain(Self::shared().await).collect()
    }

    /// The directory of one with a file.
    fn dir(&self) -> &Path {
        let Self::File(dir, _) = self else { panic!("it is in memory") };
        dir.path()
    }

    fn ledger(&self) -> &dyn Ledger {
        match self {
            Self::Memory(_, ledger) => ledger,
            Self::File(_, ledger) => ledger.as_ref().expect("it is open"),
            Self::Shared(_, ledger) => ledger,
        }
    }

    async fn reopen(&mut self, now: Time) {
        match self {
            Self::Memory(store, ledger) => *ledger = store.open(now, now + Q),
            Self::File(dir, ledger) => {
                drop(ledger.take());
                *ledger = Some(open_file(dir.path(), now));
            }
            Self::Shared(url, ledger) => *ledger = postgres::open(url, "the-gate", Some(now)).await,
        }
    }

    fn attempt(&self, id: u64, n: u8, now: Time) -> Attempt {
        let (gate, epoch) = self.ledger().identity();
        Attempt {
            id: attempt_id(id),
            key: key(n % 2),
            locator: locator(n % 2),
            actor: actor(n / 2),
            credential: Fingerprint::new("beef"),
            change: change(n),
            goal: None,
            kind: None,
            ownership: Ownership::Keep,
            state: AttemptState::Open,
            gate,
            epoch,
            opened: now,
        }
    }

    async fn commit(&self, n: u8, step: Step, now: Time) -> Result<ItemRecord, LedgerError> {
        let mut note = Note::of_gate(format!("note-{}", now.0), None);
        note.decision = Decision::Reject;
        let command = Command { key: key(n), locator: locator(n), step, note: Some(Box::new(note)), now };
        let done = self.ledger().commit(vec![command], Durability::Awaited).await;
        done.map(|mut records| records.pop().expect("one record a command"))
    }

    /// Text that must be the same in every implementation.
    fn plain(&self, value: &impl std::fmt::Debug) -> String {
        format!("{value:?}").replace(self.ledger().identity().0.as_str(), "GATE")
    }

    async fn lines(&self) -> Vec<String> {
        let lines = self.ledger().lines(0, 100_000).await.expect("it can be read");
        assert!(lines.iter().map(|(seq, _)| *seq).eq(1..=lines.len() as u64), "numbered without gaps");
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

fn attempt_id(n: u64) -> AttemptId {
    AttemptId::new(&format!("attempt-{n:06}"))
}

/// Without what chains it, and what an attempt that was never sent leaves in one ledger and not in the other.
async fn story(bench: &Bench) -> Vec<String> {
    let mut told = Vec::new();
    for line in bench.lines().await {
        let mut line: Value = serde_json::from_str(&line).unwrap();
        for member in ["seq", "prev_hash", "hash", "gate"] {
            line.as_object_mut().unwrap().remove(member);
        }
        if !(line["kind"] == "recovered" && line["result"] == "ABORTED") {
            told.push(line.to_string());
        }
    }
    told
}

async fn past(bench: &Bench) -> Vec<String> {
    let mut all = Vec::new();
    for n in 0..2 {
        let history = bench.ledger().history(&locator(n), 1000).await.unwrap();
        let entered = |settled: &&Settled| settled.attempt.state != AttemptState::Aborted;
        all.extend(history.iter().filter(entered).map(|settled| bench.plain(settled)));
    }
    all
}

// === the contract ===

#[derive(Clone, Debug)]
enum Op {
    Open(u8),
    /// Something with the item's live attempt.
    Live(u8, Next, u8),
    Edit(u8, u8),
    Resolve(u8, u8),
    Release(u8),
    Finish(u8, bool),
    Renew(u8, u8),
    Rebind(u8),
    Reopen,
    /// A decision that never became an attempt.
    Record,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Reject,
    Abort,
    Withdraw,
    Grant,
    Send,
    Settle,
}

fn op() -> impl Strategy<Value = Op> {
    let next = prop::sample::select(vec![
        Next::Reject,
        Next::Abort,
        Next::Withdraw,
        Next::Grant,
        Next::Send,
        Next::Send,
        Next::Settle,
        Next::Settle,
    ]);
    prop_oneof![
        8 => any::<u8>().prop_map(Op::Open),
        16 => (0..2u8, next, any::<u8>()).prop_map(|(n, next, with)| Op::Live(n, next, with)),
        2 => (0..2u8, any::<u8>()).prop_map(|(n, with)| Op::Edit(n, with)),
        3 => (0..2u8, any::<u8>()).prop_map(|(n, with)| Op::Resolve(n, with)),
        1 => (0..2u8).prop_map(Op::Release),
        1 => (0..2u8, any::<bool>()).prop_map(|(n, gone)| Op::Finish(n, gone)),
        1 => (0..2u8, any::<u8>()).prop_map(|(n, with)| Op::Renew(n, with)),
        1 => (0..2u8).prop_map(Op::Rebind),
        1 => Just(Op::Reopen),
        1 => Just(Op::Record),
    ]
}

/// Carries one operation out; what it gave, as text.
async fn carry_out(bench: &mut Bench, op: &Op, at: u64, now: Time) -> String {
    let done = match op {
        Op::Open(n) => bench.commit(n % 2, Step::Open(bench.attempt(at, *n, now)), now).await,
        Op::Live(n, next, with) => {
            let live =
                item(bench, *n).await.and_then(|record| record.live).map_or_else(|| attempt_id(0), |live| live.id);
            bench.commit(*n, step(live, *next, *with, now), now).await
        }
        Op::Edit(n, with) => {
            let fence = item(bench, *n).await.map_or(Fence(0), |record| record.fence);
            bench.commit(*n, Step::Edit { edit: edit(*with), fence }, now).await
        }
        Op::Resolve(n, with) => {
            let doubts = item(bench, *n).await.map(|record| record.doubts).unwrap_or_default();
            let doubts = doubts.into_iter().map(|doubt| doubt.attempt).collect();
            let verified = match with % 3 {
                2 => Verified::Unseen,
                0 => Verified::Landed { shown: shown(*with), parked: (with % 3 == 0).then_some(with % 4 == 0) },
                _ => Verified::NotLanded(shown(*with)),
            };
            bench.commit(*n, Step::Resolve { doubts, verified }, now).await
        }
        Op::Release(n) => {
            let fence = item(bench, *n).await.map_or(Fence(0), |record| record.fence);
            bench.commit(*n, Step::Release { fence }, now).await
        }
        Op::Finish(n, gone) => {
            let fence = item(bench, *n).await.map_or(Fence(0), |record| record.fence);
            let end = if *gone { Finish::Gone(Q) } else { Finish::Closed(Q) };
            bench.commit(*n, Step::Finish { fence, end }, now).await
        }
        Op::Renew(n, with) => bench.commit(*n, Step::Renew { actor: actor(*with), at: now }, now).await,
        Op::Rebind(n) => bench.commit(*n, Step::Rebind { from: actor(0), to: actor(1) }, now).await,
        Op::Reopen => {
            bench.reopen(now).await;
            return String::new();
        }
        Op::Record => {
            let mut note = Note::of_gate(format!("bare-{at}"), None);
            note.decision = Decision::Reject;
            bench.ledger().record(note, now);
            return String::new();
        }
    };
    bench.plain(&done)
}

fn step(attempt: AttemptId, next: Next, with: u8, now: Time) -> Step {
    match next {
        Next::Reject => Step::Reject(attempt),
        Next::Abort => Step::Abort(attempt),
        Next::Withdraw => Step::Withdraw(attempt),
        Next::Grant => Step::Grant { attempt, kind: kind(with), ownership: ownership(with), shown: shown(with) },
        Next::Send => {
            let heard = with.is_multiple_of(5).then_some(now);
            let plan = Plan { kind: kind(with), goal: goal(with), ownership: ownership(with), heard };
            Step::Send { attempt, plan }
        }
        Next::Settle => Step::Settle { attempt, outcome: outcome(with), doubt_until: now + Q },
    }
}

async fn item(bench: &Bench, n: u8) -> Option<ItemRecord> {
    bench.ledger().item(&key(n)).await.expect("it can be read")
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/integration/ledgers.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_file_and_a_memory_tell_the_same_story(ops in prop::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(compare(&ops, Bench::file()));
    }

    #[test]
    fn a_database_and_a_memory_tell_the_same_story(ops in prop::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            if let Some(shared) = Bench::shared().await {
                compare(&ops, shared).await;
            }
        });
    }
}

/// The same in memory and in something that lasts.
async fn compare(ops: &[Op], mut file: Bench) {
    let mut memory = Bench::memory();
    for (at, op) in (1..).zip(ops) {
        let now = START + Duration::from_secs(at * 17);
        let expected = carry_out(&mut memory, op, at, now).await;
        assert_eq!(carry_out(&mut file, op, at, now).await, expected, "{op:?}");
        for n in 0..2 {
            let (one, other) = (item(&memory, n).await, item(&file, n).await);
            let known = |record: &Option<ItemRecord>| {
                record.clone().filter(|record| *record != ItemRecord::new(key(n), locator(n)))
            };
            assert_eq!(file.plain(&known(&other)), memory.plain(&known(&one)), "after {op:?}");
        }
    }
    // What nobody waits for is there once something is that came after it.
    for bench in [&memory, &file] {
        bench.ledger().mark_printed(0).await.unwrap();
    }
    let active = |records: Vec<ItemRecord>| {
        let records = records.into_iter().map(|record| ItemRecord { live: None, ..record });
        let mut records: Vec<String> = records.map(|record| format!("{record:?}")).collect();
        records.sort();
        records
    };
    assert_eq!(active(file.ledger().active().await.unwrap()), active(memory.ledger().active().await.unwrap()));
    same(&past(&file).await, &past(&memory).await);
    same(&story(&file).await, &story(&memory).await);
    is_chained(&file).await;
    // A file that is opened again says the same of every item.
    let end = START + Duration::from_hours(9);
    memory.reopen(end).await;
    file.reopen(end).await;
    for n in 0..2 {
        let (one, other) = (item(&memory, n).await, item(&file, n).await);
        // Masks that are too old go whenever an item is next looked at.
        let lasting = |record: Option<ItemRecord>| {
            let lasts = |record: &ItemRecord| record.fence.0 > 0 || !record.doubts.is_empty();
            record.filter(lasts).map(|record| ItemRecord { late_writes: Vec::new(), ..record })
        };
        assert_eq!(file.plain(&lasting(other)), memory.plain(&lasting(one)), "after a last start");
    }
}

/// The file's entries against the memory's; only the first that differs is shown.
#[track_caller]
fn same(file: &[String], memory: &[String]) {
    let differs = file.iter().zip(memory).position(|(one, other)| one != other);
    let at = differs.unwrap_or_else(|| file.len().min(memory.len()));
    assert_eq!(file.get(at), memory.get(at), "entry {at}");
}

async fn is_chained(bench: &Bench) {
    let mut previous = GENESIS.to_owned();
    for text in bench.lines().await {
        let line: Value = serde_json::from_str(&text).unwrap();
        let hash = line["hash"].as_str().unwrap();
        assert_eq!(line["prev_hash"], *previous);
        let unhashed = text.replacen(&format!("\"hash\":\"{hash}\","), "", 1);
        assert_eq!(hex(&Sha256::digest(unhashed)), hash);
        hash.clone_into(&mut previous);
    }
}

// === recovery ===

/// Enters and sends one attempt; nothing is settled.
async fn sending(bench: &Bench, id: u64, n: u8, now: Time) {
    bench.commit(n % 2, Step::Open(bench.attempt(id, n, now)), now).await.unwrap();
    bench.commit(n % 2, step(attempt_id(id), Next::Send, 0, now), now).await.unwrap();
}

/// Whatever the memory makes of it: the file says that something else was sent, and a start will find out what came of it.
#[tokio::test]
async fn what_is_under_way_is_not_written_over() {
    let bench = Bench::file();
    let dir = bench.dir();
    sending(&bench, 1, 0, START).await;
    execute(dir, "UPDATE live SET id = 'another'");
    bench.commit(0, step(attempt_id(1), Next::Settle, 0, START), START).await.unwrap();
    bench.commit(0, Step::Open(bench.attempt(2, 0, START)), START).await.unwrap();
    let refused = bench.commit(0, step(attempt_id(2), Next::Send, 0, START), START).await.unwrap_err();
    assert!(matches!(&refused, LedgerError::Unavailable(why) if why.contains("another write under way")), "{refused}");
}

/// What was under way stood among what was final, and is recovered from there.
#[tokio::test]
async fn what_was_under_way_in_an_older_file_is_recovered() {
    let mut bench = Bench::file();
    sending(&bench, 1, 0, START).await;
    bench.commit(1, Step::Open(bench.attempt(2, 1, START)), START).await.unwrap();
    bench.commit(1, step(attempt_id(2), Next::Grant, 1, START), START).await.unwrap();
    let Bench::File(dir, ledger) = &mut bench else { unreachable!() };
    drop(ledger.take());
    execute(dir.path(), constraints::SIXTH);
    bench.reopen(START + Duration::from_mins(1)).await;
    let record = item(&bench, 0).await.unwrap();
    assert_eq!((record.doubts.len(), record.doubts[0].attempt.clone()), (1, attempt_id(1)));
    let resolve = Step::Resolve { doubts: vec![attempt_id(1)], verified: Verified::NotLanded(shown(0)) };
    bench.commit(0, resolve, START + Duration::from_mins(5)).await.unwrap();
    let history = bench.ledger().history(&locator(0), 10).await.unwrap();
    assert_eq!(history.iter().map(|one| one.attempt.id.clone()).collect::<Vec<_>>(), [attempt_id(1)]);
    assert!(history[0].attempt.goal.is_some(), "as it was entered");
    assert!(item(&bench, 1).await.unwrap().holding.is_some());
}

#[tokio::test]
async fn what_an_ended_process_left_is_recovered() {
    for mut bench in Bench::all().await {
        bench.commit(0, Step::Open(bench.attempt(1, 0, START)), START).await.unwrap();
        sending(&bench, 2, 1, START).await;
        let later = START + Duration::from_mins(10);
        bench.reopen(later).await;
        assert!(item(&bench, 0).await.is_none_or(|record| record.live.is_none()), "the OPEN one is gone");
        let record = item(&bench, 1).await.unwrap();
        assert_eq!((record.live, record.doubts.len(), record.doubt_until), (None, 1, Some(later + Q)));
        // Again, before it is resolved: the doubt lasts from then.
        bench.reopen(later + Q / 2).await;
        assert_eq!(item(&bench, 1).await.unwrap().doubt_until, Some(later + Q / 2 + Q));
        is_chained(&bench).await;
    }
}

/// The clock was a day ahead, and is right again.
#[tokio::test]
async fn what_a_clock_that_was_ahead_has_written_lasts_no_longer_than_if_it_were_written_now() {
    for mut bench in Bench::all().await {
        let ahead = START + Duration::from_hours(24);
        // Item 0 has a mask, item 1 a holder.
        for (n, with) in [(0, 2), (1, 0)] {
            sending(&bench, u64::from(n) + 1, n, ahead).await;
            let id = attempt_id(u64::from(n) + 1);
            bench.commit(n, step(id, Next::Settle, with, ahead), ahead).await.unwrap();
        }
        bench.reopen(START).await;
        let (masked, held) = (item(&bench, 0).await.unwrap(), item(&bench, 1).await.unwrap());
        assert_eq!(masked.late_writes.iter().map(|mask| mask.settled).collect::<Vec<_>>(), [START]);
        assert_eq!(held.holding.map(|held| held.renewed), Some(START));
        let active = bench.ledger().active().await.unwrap();
        assert!(active.iter().all(|record| record.holding.as_ref().is_some_and(|held| held.renewed == START)));
    }
}

/// Its repository was renamed, and the write that found it so was never sent.
#[tokio::test]
async fn where_an_item_has_moved_is_stored_with_whatever_ends_the_attempt_that_found_it() {
    for next in [Next::Reject, Next::Abort, Next::Send] {
        for mut bench in Bench::all().await {
            sending(&bench, 1, 0, START).await;
            bench.commit(0, step(attempt_id(1), Next::Settle, 0, START), START).await.unwrap();
            let renamed = Place::from_stored("root/renamed#7");
            let attempt = Attempt { locator: renamed.clone(), ..bench.attempt(2, 0, START) };
            bench.commit(0, Step::Open(attempt), START).await.unwrap();
            bench.commit(0, step(attempt_id(2), next, 0, START), START).await.unwrap();
            bench.reopen(START).await;
            assert_eq!(item(&bench, 0).await.unwrap().locator, renamed, "{next:?}");
        }
    }
}

/// The gate that has read the item asked its own clock; the ledger asks its own.
#[tokio::test]
async fn before_its_time_a_doubt_ends_only_by_what_has_landed() {
    for bench in Bench::all().await {
        let start = START;
        sending(&bench, 1, 0, start).await;
        let doubt = Step::Settle { attempt: attempt_id(1), outcome: Outcome::Doubt, doubt_until: start + Q };
        bench.commit(0, doubt, start).await.unwrap();
        let resolve = |verified| Step::Resolve { doubts: vec![attempt_id(1)], verified };
        let early = bench.commit(0, resolve(Verified::NotLanded(shown(0))), start + Q / 2).await;
        assert_eq!(early, Err(LedgerError::Refused(Refused::Stale)));
        let after = bench.commit(0, resolve(Verified::NotLanded(shown(0))), start + Q).await.unwrap();
        assert!(after.doubts.is_empty(), "{after:?}");
    }
}

/// What was judged must be there still: the attempt, and the version.
#[tokio::test]
async fn a_step_stands_or_falls_with_what_it_was_judged_by() {
    for bench in Bench::all().await {
        let now = START;
        bench.commit(0, Step::Open(bench.attempt(1, 0, now)), now).await.unwrap();
        let fence = bench.commit(0, step(attempt_id(1), Next::Grant, 0, now), now).await.unwrap().fence;
        bench.commit(0, Step::Open(bench.attempt(2, 0, now)), now).await.unwrap();
        let refused_as = |id, fence| {
            let command = |step| Command { key: key(0), locator: locator(0), step, note: None, now };
            let confirm = command(Step::Confirm { attempt: attempt_id(id), fence });
            let batch = vec![confirm, command(step(attempt_id(2), Next::Send, 0, now))];
            let ledger = bench.ledger();
            async move { ledger.commit(batch, Durability::Awaited).await.err() }
        };
        assert_eq!(refused_as(1, fence).await, Some(LedgerError::Refused(Refused::Fenced)));
        assert_eq!(refused_as(2, Fence(fence.0 + 1)).await, Some(LedgerError::Refused(Refused::Stale)));
        assert_eq!(refused_as(2, fence).await, None);
    }
}

/// Another gate may have opened it again since this one saw it closed.
#[tokio::test]
async fn what_is_open_is_not_finished_for_having_been_closed() {
    for bench in Bench::all().await {
        let now = START;
        bench.commit(0, Step::Open(bench.attempt(1, 0, now)), now).await.unwrap();
        let open = Shown { state: OpenState::Open, ..shown(0) };
        let ownership = Ownership::Becomes(actor(0));
        let grant = Step::Grant { attempt: attempt_id(1), kind: Kind::Claim, ownership, shown: open.clone() };
        let fence = bench.commit(0, grant, now).await.unwrap().fence;
        let finish = || Step::Finish { fence, end: Finish::Closed(Q) };
        assert_eq!(bench.commit(0, finish(), now).await, Err(LedgerError::Refused(Refused::Stale)));
        let closed = OutsideEdit::Harmless { shown: Shown { state: OpenState::Closed, ..open } };
        bench.commit(0, Step::Edit { edit: closed, fence }, now).await.unwrap();
        assert!(bench.commit(0, finish(), now).await.unwrap().holding.is_none());
    }
}

/// A look that decided nothing.
#[tokio::test]
async fn what_is_withdrawn_leaves_no_line_and_no_attempt() {
    for bench in Bench::all().await {
        let now = START;
        let before = bench.lines().await.len();
        bench.commit(0, Step::Open(bench.attempt(1, 0, now)), now).await.unwrap();
        let after = bench.commit(0, Step::Withdraw(attempt_id(1)), now).await.unwrap();
        assert!(after.live.is_none(), "{after:?}");
        assert_eq!(bench.lines().await.len(), before);
        assert_eq!(bench.ledger().ended(&key(0), 10).await.unwrap(), []);
        sending(&bench, 2, 0, now).await;
        let late = bench.commit(0, Step::Withdraw(attempt_id(2)), now).await;
        assert_eq!(late, Err(LedgerError::Refused(Refused::Fenced)));
    }
}

#[tokio::test]
async fn an_older_epoch_completes_nothing() {
    let bench = Bench::memory();
    sending(&bench, 1, 0, START).await;
    let Bench::Memory(store, old) = &bench else { unreachable!() };
    let _new = store.open(START, START + Q);
    let settle = step(attempt_id(1), Next::Settle, 0, START);
    let command = Command { key: key(0), locator: locator(0), step: settle, note: None, now: START };
    let done = old.commit(vec![command], Durability::Awaited).await;
    assert_eq!(done.unwrap_err(), LedgerError::Refused(Refused::Fenced));
}

#[test]
fn a_row_of_another_epoch_or_gate_is_not_this_process_s_to_complete() {
    type Foreign = fn(&mut Stamp);
    let own = Stamp { gate: GateId::new("gate"), epoch: Epoch(2), now: START, zombie_period: ZOMBIE_PERIOD };
    let foreign: [Foreign; 2] = [|stamp| stamp.epoch = Epoch(1), |stamp| stamp.gate = GateId::new("another")];
    for alter in foreign {
        let mut theirs = own.clone();
        alter(&mut theirs);
        let mut record = ItemRecord::new(key(0), locator(0));
        apply(&mut record, &Step::Open(Bench::memory().attempt(1, 0, START)), &theirs).unwrap();
        for next in [Next::Reject, Next::Abort, Next::Grant, Next::Send] {
            let done = apply(&mut record.clone(), &step(attempt_id(1), next, 0, START), &own);
            assert_eq!(done.unwrap_err(), Refused::Fenced, "{next:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    for bench in Bench::all().await {
        let command = |n: u8, step| Command { key: key(n), locator: locator(n), step, note: None, now: START };
        let good = command(0, Step::Open(bench.attempt(1, 0, START)));
        let bad = command(1, Step::Reject(attempt_id(9)));
        let done = bench.ledger().commit(vec![good.clone(), bad], Durability::Awaited).await;
        assert_eq!(done.unwrap_err(), LedgerError::Refused(Refused::Fenced));
        assert!(item(&bench, 0).await.is_none_or(|record| record.live.is_none()));
        let grant = command(0, step(attempt_id(1), Next::Grant, 0, START));
        let records = bench.ledger().commit(vec![good, grant], Durability::Awaited).await.unwrap();
        assert_eq!(records.len(), 2);
        assert!(records[0].live.is_some() && records[1].holding.is_some());
    }
}

#[tokio::test]
async fn the_newest_line_and_how_far_was_printed_are_remembered() {
    for mut bench in Bench::all().await {
        sending(&bench, 1, 0, START).await;
        bench.commit(0, step(attempt_id(1), Next::Settle, 0, START), START).await.unwrap();
        assert_eq!(*bench.ledger().newest_line().borrow(), 1);
        assert_eq!(bench.ledger().printed().await.unwrap(), 0);
        bench.ledger().mark_printed(1).await.unwrap();
        assert_eq!(bench.ledger().printed().await.unwrap(), 1);
        bench.reopen(START).await;
        assert_eq!((*bench.ledger().newest_line().borrow(), bench.ledger().printed().await.unwrap()), (1, 1));
    }
}

// === the file ===

#[tokio::test]
async fn a_second_process_is_refused_and_told_whose_it_is() {
    let bench = Bench::file();
    let dir = bench.dir();
    let error = SqliteLedger::open(options(dir, START)).unwrap_err().to_string();
    assert!(error.contains(&format!("in use by claimgate process {}", std::process::id())), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_file(dir.path(), START));
    execute(dir.path(), "PRAGMA user_version = 99");
    let error = loop {
        match SqliteLedger::open(options(dir.path(), START)) {
            Err(OpenError::InUse { .. }) => std::thread::sleep(Duration::from_millis(1)),
            other => break other.unwrap_err(),
        }
    };
    assert!(matches!(error, OpenError::Newer { found: 99, known: 8, .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ledger.sqlite"), "").unwrap();
    std::fs::set_permissions(dir.path().join("ledger.sqlite"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = SqliteLedger::open(options(dir.path(), START)).unwrap_err();
    assert!(matches!(error, OpenError::Exposed { mode: 0o644, .. }), "{error}");
}

#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    let bench = Bench::file();
    sending(&bench, 1, 0, START).await;
    let dir = bench.dir();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
}

/// Runs a statement from outside, as the `sqlite3` shell would.
fn execute(dir: &Path, sql: &str) {
    let db = rusqlite::Connection::open(dir.join("ledger.sqlite")).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_group_that_cannot_be_written_leaves_no_trace_and_the_next_can() {
    let bench = Bench::file();
    let dir = bench.dir();
    sending(&bench, 1, 0, START).await;
    let before = item(&bench, 0).await;
    let block = "CREATE TRIGGER full BEFORE INSERT ON item BEGIN SELECT RAISE(FAIL, 'disk full'); END";
    execute(dir, block);
    let settle = || step(attempt_id(1), Next::Settle, 0, START);
    let failed = bench.commit(0, settle(), START).await.unwrap_err();
    assert!(matches!(&failed, LedgerError::Unavailable(why) if why.contains("disk full")), "{failed}");
    assert_eq!(item(&bench, 0).await, before);
    assert!(bench.lines().await.is_empty());
    execute(dir, "DROP TRIGGER full");
    assert!(bench.commit(0, settle(), START).await.unwrap().holding.is_some());
    assert_eq!(bench.lines().await.len(), 1);
    is_chained(&bench).await;
}

/// A refusal is answered before it is on disk; its line must come yet, once, and its attempt must not stay open.
#[tokio::test]
async fn a_refusal_in_a_group_that_failed_is_kept_for_the_next() {
    let bench = Bench::file();
    let dir = bench.dir();
    bench.commit(0, Step::Open(bench.attempt(1, 0, START)), START).await.unwrap();
    execute(dir, "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'disk full'); END");
    let reject =
        Command { key: key(0), locator: locator(0), step: Step::Reject(attempt_id(1)), note: None, now: START };
    bench.ledger().commit(vec![reject], Durability::NextGroup).await.unwrap();
    // The next group finds the item free, whatever became of the row.
    bench.commit(0, Step::Open(bench.attempt(2, 0, START)), START).await.unwrap();
    execute(dir, "DROP TRIGGER full");
    bench.commit(0, step(attempt_id(2), Next::Grant, 0, START), START).await.unwrap();
    let ids: Vec<Value> =
        bench.lines().await.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["attempt-000001", "attempt-000002"]);
    is_chained(&bench).await;
}

/// An abort that is waited for is tried again by the gate: a failed group must not leave its line behind.
#[tokio::test]
async fn an_awaited_abort_that_failed_leaves_one_line_once_it_is_written() {
    let bench = Bench::file();
    let dir = bench.dir();
    sending(&bench, 1, 0, START).await;
    execute(dir, "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'disk full'); END");
    bench.commit(0, Step::Abort(attempt_id(1)), START).await.unwrap_err();
    execute(dir, "DROP TRIGGER full");
    bench.commit(0, Step::Abort(attempt_id(1)), START).await.unwrap();
    assert_eq!(bench.lines().await.len(), 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_yet_is_opened_later_and_serves() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ledger.sqlite")).unwrap();
    let bench = Bench::File(dir, None);
    let Bench::File(dir, _) = &bench else { unreachable!() };
    let ledger = SqliteLedger::open(options(dir.path(), START)).expect("a reason that may pass");
    assert!(matches!(ledger.item(&key(0)).await, Err(LedgerError::Unavailable(_))));
    assert!(ledger.active().await.is_err());
    std::fs::remove_dir(dir.path().join("ledger.sqlite")).unwrap();
    // Each look tries the file again; on a busy machine it may not be the first that finds it mended.
    let mended = async {
        loop {
            match ledger.item(&key(0)).await {
                Err(LedgerError::Unavailable(_)) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                found => break found,
            }
        }
    };
    assert_eq!(tokio::time::timeout(std::time::Duration::from_secs(10), mended).await, Ok(Ok(None)));
    let Bench::File(dir, _) = bench else { unreachable!() };
    let bench = Bench::File(dir, Some(ledger));
    sending(&bench, 1, 0, START).await;
    bench.commit(0, step(attempt_id(1), Next::Settle, 0, START), START).await.unwrap();
    assert_eq!(bench.ledger().active().await.unwrap().len(), 1);
}

/// The first write to come opens the file in its T1, after its attempt was made out.
#[tokio::test]
async fn the_write_that_finds_the_file_mended_is_carried_through() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ledger.sqlite")).unwrap();
    let ledger = SqliteLedger::open(options(dir.path(), START)).expect("a reason that may pass");
    std::fs::remove_dir(dir.path().join("ledger.sqlite")).unwrap();
    let bench = Bench::File(dir, Some(ledger));
    sending(&bench, 1, 0, START).await;
    bench.commit(0, step(attempt_id(1), Next::Settle, 0, START), START).await.unwrap();
    assert!(item(&bench, 0).await.is_some_and(|record| record.live.is_none() && record.holding.is_some()));
}

#[tokio::test]
async fn many_writers_share_few_commits_and_lose_nothing() {
    let bench = Bench::file();
    let ledger = match &bench {
        Bench::File(_, Some(ledger)) => ledger.clone(),
        _ => unreachable!(),
    };
    let writers = (0..200u64).map(|n| {
        let ledger = ledger.clone();
        let mut attempt = bench.attempt(n + 1, 0, START);
        attempt.key = ResourceKey::new(&format!("{n}"));
        tokio::spawn(async move {
            let key = attempt.key.clone();
            let command = |step| Command { key: key.clone(), locator: locator(0), step, note: None, now: START };
            let grant = step(attempt.id.clone(), Next::Grant, 0, START);
            let commands = vec![command(Step::Open(attempt)), command(grant)];
            ledger.commit(commands, Durability::Awaited).await.expect("written");
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(bench.lines().await.len(), 200);
    assert_eq!(bench.ledger().active().await.unwrap().len(), 200);
    is_chained(&bench).await;
}

/// Every shape of every stored value, through the file and back.
#[tokio::test]
async fn whatever_is_stored_reads_back_the_same() {
    let mut bench = Bench::file();
    let mut expected = HashMap::new();
    let mut id = 0;
    for with in 0..60 {
        id += 1;
        let now = START + Duration::from_secs(id);
        let mut attempt = bench.attempt(id, with, now);
        attempt.key = ResourceKey::new(&format!("item-{with}"));
        let key = attempt.key.clone();
        let steps = [
            Step::Open(attempt),
            step(attempt_id(id), Next::Send, with, now),
            step(attempt_id(id), Next::Settle, with / 2, now),
        ];
        for step in steps {
            let command = Command { key: key.clone(), locator: locator(with % 2), step, note: None, now };
            let done = bench.ledger().commit(vec![command], Durability::Awaited).await.unwrap().pop();
            expected.insert(key.clone(), done.unwrap());
        }
    }
    let later = START + Duration::from_mins(1);
    bench.reopen(later).await;
    for (key, mut record) in expected {
        record.doubt_until = record.doubt_until.map(|_| later + Q);
        assert_eq!(bench.ledger().item(&key).await.unwrap(), Some(record));
    }
}

/// The audit is the archive: what was printed there goes, refusals first, and nothing that was not.
#[tokio::test]
async fn lines_that_were_printed_go_in_their_time_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Retention { history: Duration::from_mins(1), refusals: 10 };
    let open = || SqliteLedger::open(SqliteOptions { keep, ..options(dir.path(), START) });
    let ledger = open().unwrap();
    let decide = |ledger: &SqliteLedger, n: u64| {
        let mut note = Note::of_gate(format!("id-{n}"), None);
        note.decision = if n.is_multiple_of(2) { Decision::Reject } else { Decision::Admit };
        ledger.record(note, START + Duration::from_secs(n));
    };
    (1..=100).for_each(|n| decide(&ledger, n));
    ledger.flushed().await.unwrap();
    let lines = async |ledger: &SqliteLedger| ledger.lines(0, 1_000).await.unwrap();
    let numbers = async |ledger: &SqliteLedger| lines_of(ledger.lines(0, 1_000).await.unwrap());
    assert_eq!(LedgerFile::open(dir.path()).unwrap().unwrap().lines(0, 1_000).unwrap().len(), 100, "none was printed");
    let left = |printed: u64| {
        let stays = |n: &u64| match n {
            n if *n > printed => true,
            n if n.is_multiple_of(2) => *n > 90,
            // By the time of the newest line.
            n => *n >= 40,
        };
        (1..=100).filter(stays).collect::<Vec<_>>()
    };
    for printed in [60, 100] {
        // A little with each mark.
        for _ in 0..10 {
            ledger.mark_printed(printed).await.unwrap();
        }
        let file = LedgerFile::open(dir.path()).unwrap().unwrap();
        assert_eq!(lines_of(file.lines(0, 1_000).unwrap()), left(printed), "{printed} were printed");
    }
    let told = ledger.pruned().await.unwrap();
    assert_eq!(told.refusals, Some(START + Duration::from_secs(90)));
    assert_eq!(told.all, Some(START + Duration::from_secs(39)));
    let last = lines(&ledger).await.pop().unwrap().1;
    drop(ledger);
    let again = loop {
        match open() {
            Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => break other.unwrap(),
        }
    };
    decide(&again, 101);
    again.flushed().await.unwrap();
    assert_eq!(numbers(&again).await.pop(), Some(101));
    let (_, newest) = lines(&again).await.pop().unwrap();
    let hash = |line: &str, member: &str| serde_json::from_str::<Value>(line).unwrap()[member].clone();
    assert_eq!(hash(&newest, "prev_hash"), hash(&last, "hash"));
}

fn lines_of(lines: Vec<(u64, String)>) -> Vec<u64> {
    lines.into_iter().map(|(seq, _)| seq).collect()
}
