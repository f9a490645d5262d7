//! The fault matrix: one claim, one fault, one row.

use crate::support::{Moment, Q, Told, Trap, WRITE_TIMEOUT, World};
use claimgate::fake_forge::Fault;
use claimgate::model::AttemptState;
use std::time::Duration;
use tokio::time::Instant;

/// What befalls the claim of `dev-1`, and what comes of it.
struct Row {
    what: &'static str,
    arrange: fn(&World),
    /// What `dev-1` is told.
    told: (u16, &'static str),
    /// What `dev-2` is told that claims right afterwards (a dead gate has been started again, an absent ledger is back).
    rival: (u16, &'static str),
    /// How it ends.
    ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Nobody held it: the next claim wins.
    Free,
    /// Free once the doubt period is over, and not before.
    FreeAfterQ,
    /// `dev-1` holds it: free once that has released it.
    Held,
}

/// How long after the fault everything is decided.
const DECIDED: Duration = Q.saturating_add(Duration::from_secs(10));

const CUT: (u16, &str) = (0, "");
const WON: (u16, &str) = (201, "");
const TAKEN: (u16, &str) = (409, "already_assigned");
const IN_DOUBT: (u16, &str) = (409, "in_doubt");
const UNKNOWN: (u16, &str) = (504, "outcome_unknown");
const NO_LEDGER: (u16, &str) = (503, "ledger_unavailable");

const ROWS: &[Row] = &[
    Row { what: "nothing goes wrong", arrange: |_| {}, told: WON, rival: TAKEN, ends: Ends::Held },
    // --- kill -9 ---
    Row {
        what: "killed before T1",
        arrange: |world| world.trap(Moment::BeforeT1, Trap::Crash),
        told: CUT,
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "killed between T1 and T2",
        arrange: |world| world.trap(Moment::AfterT1, Trap::Crash),
        told: CUT,
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "killed before T2 is written",
        arrange: |world| world.trap(Moment::BeforeT2, Trap::Crash),
        told: CUT,
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "killed between T2 and the send",
        arrange: |world| world.trap(Moment::AfterT2, Trap::Crash),
        told: CUT,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    Row {
        what: "killed with the connection ready and nothing sent",
        arrange: |world| world.trap(Moment::BeforeSend, Trap::Crash),
        told: CUT,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    Row {
        what: "killed between the send and its answer; the write lands",
        arrange: |world| world.trap(Moment::Answered, Trap::Crash),
        told: CUT,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "killed between the send and its answer; the write lands half a doubt period later",
        arrange: |world| {
            world.next_write(1, Fault::Zombie(Q / 2));
            world.trap(Moment::Answered, Trap::Crash);
        },
        told: CUT,
        rival: IN_DOUBT,
        ends: Ends::Held,
    },
    Row {
        what: "killed between the answer and T3",
        arrange: |world| world.trap(Moment::BeforeT3, Trap::Crash),
        told: CUT,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "killed after T3, before the reply",
        arrange: |world| world.trap(Moment::AfterT3, Trap::Crash),
        told: CUT,
        rival: TAKEN,
        ends: Ends::Held,
    },
    // --- the forge does not answer ---
    Row {
        what: "time-out; the write lands after half a doubt period",
        arrange: |world| world.next_write(1, Fault::Hang { lands_after: Some(Q / 2) }),
        told: UNKNOWN,
        rival: IN_DOUBT,
        ends: Ends::Held,
    },
    Row {
        what: "time-out; the write never lands",
        arrange: |world| world.next_write(1, Fault::Hang { lands_after: None }),
        told: UNKNOWN,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    Row {
        what: "connection cut before the write",
        arrange: |world| world.next_write(1, Fault::CutBefore),
        told: UNKNOWN,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    Row {
        what: "connection cut after the write",
        arrange: |world| world.next_write(1, Fault::CutAfter),
        told: UNKNOWN,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "connection refused",
        arrange: |world| world.process().upstream.refuse_connections(true),
        told: (502, "upstream_unreadable"),
        rival: WON,
        ends: Ends::Free,
    },
    // --- the forge answers with an error ---
    Row {
        what: "500 after writing",
        arrange: |world| world.next_write(1, Fault::ErrorAfterWrite(500)),
        told: WON,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "500 without writing",
        arrange: |world| world.next_write(1, Fault::ErrorBeforeWrite(500)),
        told: (500, ""),
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "502 after writing",
        arrange: |world| world.next_write(1, Fault::ErrorAfterWrite(502)),
        told: UNKNOWN,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "502 without writing",
        arrange: |world| world.next_write(1, Fault::ErrorBeforeWrite(502)),
        told: UNKNOWN,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    Row {
        what: "success answered, nothing written",
        arrange: |world| world.next_write(1, Fault::Ignore),
        told: (403, "not_applied"),
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "a redirect instead of an answer",
        arrange: |world| world.next_write(1, Fault::ErrorBeforeWrite(307)),
        told: (307, ""),
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "the answer breaks off",
        arrange: |world| world.next_write(1, Fault::Truncated),
        told: UNKNOWN,
        rival: TAKEN,
        ends: Ends::Held,
    },
    // --- the ledger is away ---
    Row {
        what: "ledger away at T1",
        arrange: |world| world.trap(Moment::BeforeT1, Trap::LedgerAway),
        told: NO_LEDGER,
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "ledger away at T2",
        arrange: |world| world.trap(Moment::BeforeT2, Trap::LedgerAway),
        told: NO_LEDGER,
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "ledger away at T3",
        arrange: |world| world.trap(Moment::BeforeT3, Trap::LedgerAway),
        told: UNKNOWN,
        rival: TAKEN,
        ends: Ends::Held,
    },
    // --- bugs ---
    Row {
        what: "a panic before T2",
        arrange: |world| world.trap(Moment::BeforeT2, Trap::Panic),
        told: UNKNOWN,
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "a panic after T2, before the send",
        arrange: |world| world.trap(Moment::BeforeSend, Trap::Panic),
        told: UNKNOWN,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    Row {
        what: "a panic after the answer",
        arrange: |world| world.trap(Moment::Answered, Trap::Panic),
        told: UNKNOWN,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "a panic at T3, once it is written",
        arrange: |world| world.trap(Moment::AfterT3, Trap::Panic),
        told: UNKNOWN,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "a panic before T2, with the ledger away",
        arrange: |world| {
            world.trap(Moment::AfterT1, Trap::LedgerAway);
            world.trap(Moment::BeforeT2, Trap::Panic);
        },
        told: UNKNOWN,
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "a panic after T2, with the ledger away",
        arrange: |world| {
            world.trap(Moment::AfterT2, Trap::LedgerAway);
            world.trap(Moment::BeforeSend, Trap::Panic);
        },
        told: UNKNOWN,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    // --- time ---
    Row {
        what: "suspended for 90 s between T2 and the send",
        arrange: |world| world.trap(Moment::BeforeSend, Trap::Suspend(Duration::from_secs(90))),
        told: (503, "fenced"),
        rival: WON,
        ends: Ends::Free,
    },
    Row {
        what: "suspended for 90 s between the answer and T3",
        arrange: |world| world.trap(Moment::BeforeT3, Trap::Suspend(Duration::from_secs(90))),
        told: WON,
        rival: TAKEN,
        ends: Ends::Held,
    },
    Row {
        what: "killed after T2, and the wall clock an hour ahead at the next start",
        arrange: |world| {
            world.trap(Moment::AfterT2, Trap::Crash);
            world.clock.step_wall(3600);
        },
        told: CUT,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
    Row {
        what: "killed after T2, and the wall clock an hour back at the next start",
        arrange: |world| {
            world.trap(Moment::AfterT2, Trap::Crash);
            world.clock.step_wall(-3600);
        },
        told: CUT,
        rival: IN_DOUBT,
        ends: Ends::FreeAfterQ,
    },
];

#[tokio::test(start_paused = true)]
async fn one_claim_one_fault() {
    for row in ROWS {
        eprintln!("--- {}", row.what);
        check(row).await;
    }
}

async fn check(row: &Row) {
    let world = World::new();
    (row.arrange)(&world);
    let told = world.claim("dev-1", 1).await;
    assert_eq!(outcome(&told), row.told, "dev-1: {told:?}");
    let since = Instant::now();
    recover(&world, &told).await;
    let rival = world.claim("dev-2", 1).await;
    assert_eq!(outcome(&rival), row.rival, "dev-2: {rival:?}");
    assert!(!(told.is_success() && rival.is_success()), "two holders");
    let rival = until_decided(&world, rival, since).await;
    assert!(since.elapsed() <= DECIDED, "decided after {:?}", since.elapsed());
    assert_eq!(row.ends == Ends::FreeAfterQ, since.elapsed() >= Q, "decided after {:?}", since.elapsed());
    assert_eq!(rival.is_success(), row.ends != Ends::Held, "{rival:?}");
    if row.ends == Ends::Held {
        world.shows(1, &["dev-1"]);
        world.is_held_by(1, "dev-1").await;
        world.release("dev-1", 1).await.wins();
        world.shows(1, &[]);
        world.claim("dev-2", 1).await.wins();
    }
    world.shows(1, &["dev-2"]);
    world.is_held_by(1, "dev-2").await;
    all_final(&world).await;
    world.log_is_sound().await;
}

/// The supervisor starts a dead gate again; an administrator brings the ledger and the network back.
async fn recover(world: &World, told: &Told) {
    if told.status == 0 {
        world.restart();
    }
    world.wait(Duration::from_secs(2)).await;
    world.store.set_available(true);
    world.process().upstream.refuse_connections(false);
    world.wait(Duration::from_secs(1)).await;
}

/// Claims for `dev-2` again and again, until it is neither busy nor in doubt; a doubt that has landed decides at the next look.
async fn until_decided(world: &World, mut rival: Told, since: Instant) -> Told {
    while matches!(rival.code, "in_doubt" | "busy") && since.elapsed() <= DECIDED {
        world.wait(Duration::from_secs(2)).await;
        rival = world.claim("dev-2", 1).await;
    }
    rival
}

async fn all_final(world: &World) {
    let record = world.record(1).await;
    assert!(record.live.is_none() && record.doubts.is_empty(), "{record:?}");
    assert!(world.states(1).await.into_iter().all(AttemptState::is_final));
}

fn outcome(told: &Told) -> (u16, &'static str) {
    (told.status, told.code)
}

// === what a row cannot say ===

#[tokio::test(start_paused = true)]
async fn a_write_that_lands_after_the_doubt_period_contests_and_revokes_nobody() {
    let world = World::new();
    world.next_write(1, Fault::Hang { lands_after: Some(Q + WRITE_TIMEOUT + Duration::from_secs(20)) });
    world.claim("dev-1", 1).await.is(504, "outcome_unknown");
    world.wait(Q + Duration::from_secs(1)).await;
    world.claim("dev-2", 1).await.wins();
    world.wait(Duration::from_secs(30)).await;
    world.shows(1, &["dev-1"]);
    world.claim("dev-1", 1).await.loses("already_assigned");
    world.claim("dev-3", 1).await.loses("already_assigned");
    world.is_held_by(1, "dev-2").await;
    assert!(world.record(1).await.contested);
    // The holder's next claim writes its name again.
    world.claim("dev-2", 1).await.wins();
    world.shows(1, &["dev-2"]);
    assert!(!world.record(1).await.contested);
}

#[tokio::test(start_paused = true)]
async fn past_the_emit_window_nothing_is_sent_and_the_attempt_is_aborted() {
    let world = World::new();
    world.trap(Moment::BeforeSend, Trap::Suspend(Duration::from_secs(90)));
    world.claim("dev-1", 1).await.is(503, "fenced");
    assert_eq!((world.writes(1), world.process().upstream.sends()), (0, 0));
    assert_eq!(world.states(1).await, [AttemptState::Aborted]);
}

#[tokio::test(start_paused = true)]
async fn while_the_ledger_is_away_no_write_leaves() {
    let world = World::new();
    world.store.set_available(false);
    for agent in ["dev-1", "dev-2"] {
        world.claim(agent, 1).await.is(503, "ledger_unavailable");
    }
    assert_eq!(world.writes(1), 0);
    world.store.set_available(true);
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_ledger_away_at_a_refusal_leaves_the_item_open() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.trap(Moment::BeforeClose, Trap::LedgerAway);
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.store.set_available(true);
    world.wait(Duration::from_secs(1)).await;
    world.release("dev-1", 1).await.wins();
    world.claim("dev-2", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn a_ledger_away_at_a_no_op_grants_nothing() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.trap(Moment::BeforeT3, Trap::LedgerAway);
    world.claim("dev-1", 1).await.is(503, "ledger_unavailable");
    world.store.set_available(true);
    world.wait(Duration::from_secs(1)).await;
    world.claim("dev-1", 1).await.needs_no_write();
    world.release("dev-1", 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn each_fault_leaves_one_final_record_and_one_audit_line_a_request() {
    for row in ROWS {
        eprintln!("--- {}", row.what);
        let world = World::new();
        (row.arrange)(&world);
        let told = world.claim("dev-1", 1).await;
        recover(&world, &told).await;
        world.wait(DECIDED).await;
        world.claim("dev-2", 1).await;
        let decisions: Vec<String> = world
            .lines()
            .await
            .into_iter()
            .filter(|line| line["kind"] == "decision" || line["kind"] == "recovered")
            .map(|line| format!("{} {}", line["id"], line["agent"]["account"]))
            .collect();
        let of_first = decisions.iter().filter(|line| line.contains("dev-1")).count();
        let recorded = usize::from(row.what != "killed before T1");
        assert_eq!((of_first, decisions.len() - of_first), (recorded, 1), "{decisions:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_gone_before_t1_leaves_nothing() {
    let world = World::new();
    world.slow_forge(20, 0, 0);
    // It is still being read which item this is.
    drop(tokio::time::timeout(Duration::from_millis(10), world.claim("dev-1", 1)).await);
    world.wait(Duration::from_secs(1)).await;
    assert!(world.known(1).await.is_none());
    assert_eq!(world.writes(1), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_gone_after_t1_changes_nothing() {
    let world = World::new();
    world.trap(Moment::AfterT1, Trap::Slow(Duration::from_millis(100)));
    drop(tokio::time::timeout(Duration::from_millis(50), world.claim("dev-1", 1)).await);
    world.wait(Duration::from_secs(1)).await;
    world.is_held_by(1, "dev-1").await;
    world.shows(1, &["dev-1"]);
    world.claim("dev-1", 1).await.needs_no_write();
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_what_is_under_way() {
    let world = World::new();
    world.slow_forge(50, 50, 50);
    drop(tokio::time::timeout(Duration::from_millis(130), world.claim("dev-1", 1)).await);
    world.is_held_by_nobody(1).await;
    world.process().gate.drained().await;
    world.is_held_by(1, "dev-1").await;
    world.process().gate.drained().await;
}

/// I13: at whichever moment the client hangs up, the item ends up wholly claimed or wholly free, and can be claimed.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_at_any_moment_changes_no_outcome() {
    let mut claimed = 0;
    for at in 0..20 {
        let world = World::new();
        world.slow_forge(10, 15, 20);
        drop(tokio::time::timeout(Duration::from_millis(1 + at * 7), world.claim("dev-1", 1)).await);
        world.wait(Duration::from_secs(1)).await;
        let holder = world.holder(1).await;
        let shown = world.assignees(1);
        assert_eq!(holder.iter().collect::<Vec<_>>(), shown.iter().collect::<Vec<_>>(), "hung up after {at} * 7 ms");
        match holder {
            Some(_) => {
                claimed += 1;
                world.claim("dev-2", 1).await.loses("already_assigned");
                world.claim("dev-1", 1).await.needs_no_write();
            }
            None => drop(world.claim("dev-2", 1).await.wins()),
        }
    }
    assert!((10..20).contains(&claimed), "{claimed} of 20 had passed T1");
}
