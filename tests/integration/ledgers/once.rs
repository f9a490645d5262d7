//! What may be created once: the same in every ledger, and after every restart.

use super::{Bench, Q, START, actor, constraints, execute, locator};
use claimgate::admission::Refused;
use claimgate::admission::once::OnceStep;
use claimgate::effect::{LedgerError, Note, OnceCommand};
use claimgate::model::{AttemptId, Epoch, GateId, Made, OnceEntry, OnceKey, Standing, Time};
use std::time::Duration;

fn key(n: u8) -> OnceKey {
    OnceKey::new(&format!("review: {n} abc rev-*"))
}

fn attempt(id: u8) -> AttemptId {
    AttemptId::new(&format!("entry-{id}"))
}

fn made() -> Made {
    Made { id: "17".into(), url: "http://forge/root/work/pulls/1#17".into(), at: locator(1) }
}

/// An entry that is about to be sent.
fn sent(bench: &Bench, n: u8, id: u8) -> OnceEntry {
    let (gate, epoch) = bench.ledger().identity();
    let standing = Standing::Sent { until: START + Q };
    OnceEntry {
        key: key(n),
        about: locator(n),
        actor: actor(id),
        since: START,
        attempt: attempt(id),
        gate,
        epoch,
        standing,
    }
}

fn put(bench: &Bench, n: u8, id: u8, replaces: Option<u8>) -> OnceStep {
    OnceStep::Put { entry: sent(bench, n, id), replaces: replaces.map(attempt) }
}

fn command(n: u8, step: OnceStep) -> OnceCommand {
    OnceCommand { key: key(n), step, note: Box::new(Note::of_gate(String::new(), None)), now: START }
}

async fn run(bench: &Bench, n: u8, step: OnceStep) -> Result<(), LedgerError> {
    bench.ledger().commit_once(vec![command(n, step)]).await
}

async fn standing(bench: &Bench, n: u8) -> Option<Standing> {
    bench.ledger().once(vec![key(n)]).await.unwrap().pop().flatten().map(|entry| entry.standing)
}

fn refused(why: Refused) -> Result<(), LedgerError> {
    Err(LedgerError::Refused(why))
}

async fn lines(bench: &Bench) -> Vec<String> {
    bench.ledger().lines(0, 100).await.unwrap().into_iter().map(|(_, line)| line).collect()
}

#[tokio::test]
async fn a_key_has_one_entry_and_its_end_is_kept() {
    for mut bench in Bench::all().await {
        assert_eq!(bench.ledger().once(vec![key(1), key(2)]).await.unwrap(), [None, None]);
        run(&bench, 1, put(&bench, 1, 1, None)).await.unwrap();
        assert_eq!(run(&bench, 1, put(&bench, 1, 2, None)).await, refused(Refused::Busy), "one entry a key");
        run(&bench, 2, put(&bench, 2, 3, None)).await.unwrap();
        let wrong = OnceStep::Made { attempt: attempt(9), made: made() };
        assert_eq!(run(&bench, 1, wrong).await, refused(Refused::Fenced));
        run(&bench, 1, OnceStep::Made { attempt: attempt(1), made: made() }).await.unwrap();
        run(&bench, 2, OnceStep::Freed { attempt: attempt(3) }).await.unwrap();
        let expected = OnceEntry { standing: Standing::Made(made()), ..sent(&bench, 1, 1) };
        let found = bench.ledger().once(vec![key(2), key(1)]).await.unwrap();
        assert_eq!(found, [None, Some(expected.clone())], "in the order asked");
        bench.reopen(START).await;
        assert_eq!(bench.ledger().once(vec![key(1)]).await.unwrap(), [Some(expected)]);
        // Dismissed since: in its place, and in no other's.
        assert_eq!(run(&bench, 1, put(&bench, 1, 4, None)).await, refused(Refused::Busy));
        run(&bench, 1, put(&bench, 1, 4, Some(1))).await.unwrap();
        let lines = lines(&bench).await;
        let told = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        assert_eq!((lines.len(), told("\"reason\":\"created, http://forge")), (2, 1), "{lines:#?}");
        assert_eq!(told("\"reason\":\"not created\""), 1, "{lines:#?}");
    }
}

#[tokio::test]
async fn several_keys_are_entered_together_or_not_at_all() {
    for bench in Bench::all().await {
        run(&bench, 2, put(&bench, 2, 1, None)).await.unwrap();
        let both = vec![command(1, put(&bench, 1, 2, None)), command(2, put(&bench, 2, 2, None))];
        assert_eq!(bench.ledger().commit_once(both.clone()).await, refused(Refused::Busy));
        assert_eq!(standing(&bench, 1).await, None);
        // Beside other work of the same group, too.
        let (other, refused_again) =
            tokio::join!(run(&bench, 3, put(&bench, 3, 3, None)), bench.ledger().commit_once(both));
        assert_eq!((other, refused_again), (Ok(()), refused(Refused::Busy)));
        assert!(standing(&bench, 3).await.is_some() && standing(&bench, 1).await.is_none());
    }
}

#[tokio::test]
async fn what_an_ended_process_left_is_in_doubt_from_the_start() {
    for mut bench in Bench::all().await {
        run(&bench, 1, put(&bench, 1, 1, None)).await.unwrap();
        let doubt = OnceStep::Doubted { attempt: attempt(2), until: START + Q * 9 };
        run(&bench, 2, put(&bench, 2, 2, None)).await.unwrap();
        run(&bench, 2, doubt).await.unwrap();
        let later = Time(START.0 + 60_000_000);
        bench.reopen(later).await;
        for n in [1, 2] {
            assert_eq!(standing(&bench, n).await, Some(Standing::Sent { until: later + Q }), "{n}");
        }
        // The old life's step comes too late.
        let old = OnceStep::Made { attempt: attempt(1), made: made() };
        assert_eq!(run(&bench, 1, old).await, refused(Refused::Fenced));
        let told = lines(&bench).await;
        assert_eq!(told.iter().filter(|line| line.contains("left by a process that ended")).count(), 2, "{told:#?}");
    }
}

#[tokio::test]
async fn a_file_from_before_has_room_for_them() {
    let mut bench = Bench::file();
    run(&bench, 1, put(&bench, 1, 1, None)).await.unwrap();
    let Bench::File(dir, _) = &bench else { unreachable!() };
    execute(dir.path(), constraints::SIXTH);
    execute(dir.path(), constraints::BEFORE);
    execute(dir.path(), "DROP TABLE once; ALTER TABLE item DROP COLUMN stray; PRAGMA user_version = 1");
    bench.reopen(START + Duration::from_secs(1)).await;
    assert_eq!(standing(&bench, 1).await, None);
    run(&bench, 1, put(&bench, 1, 1, None)).await.unwrap();
    assert!(standing(&bench, 1).await.is_some());
}

/// The entry was made out while the file could not be opened yet: no ledger had said who it is.
#[tokio::test]
async fn an_entry_is_settled_by_whoever_entered_it() {
    for bench in Bench::all().await {
        let entry = OnceEntry { gate: GateId::new(""), epoch: Epoch(0), ..sent(&bench, 1, 1) };
        run(&bench, 1, OnceStep::Put { entry, replaces: None }).await.unwrap();
        run(&bench, 1, OnceStep::Made { attempt: attempt(1), made: made() }).await.unwrap();
        assert_eq!(standing(&bench, 1).await, Some(Standing::Made(made())));
    }
}
