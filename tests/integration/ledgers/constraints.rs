//! The constraints of a write beside its item, in every ledger: limits count what is held, sent and in doubt; who is at work in
//! a project is kept like any record.

use super::*;
use claimgate::admission::{AcquireLease, Bound, Constraint, ConstraintViolation, Heartbeat, LeaseStep, Whose};
use claimgate::model::{Project, ProjectLease};

const IDLE: Duration = Duration::from_mins(10);

pub(super) fn agent(login: &str) -> Actor {
    Actor { account: Principal::Named(Account::new(login)), instance: None }
}

fn at(minutes: u64) -> Time {
    START + Duration::from_secs(minutes * 60)
}

pub(super) fn within(login: &str, most: usize) -> Constraint {
    Constraint::Within(Bound { actor: agent(login), of: Whose::Agent, within: None, most })
}

pub(super) fn alone(login: &str) -> Constraint {
    Constraint::Alone(AcquireLease {
        rule: "managers".to_owned(),
        project: Project::new("root/work"),
        actor: agent(login),
        credential: Fingerprint::new("feed"),
        idle: IDLE,
        heard: Vec::new(),
    })
}

fn claimed() -> Shown {
    Shown { assignees: [login(1)].into(), statuses: [].into(), state: OpenState::Open }
}

fn command(n: u8, step: Step, now: Time) -> Command {
    Command { key: key(n), locator: locator(n), step, note: None, now }
}

pub(super) fn sends(n: u8, login: &str) -> Step {
    let (kind, goal, ownership) = (Kind::Claim, goal(0), Ownership::Becomes(agent(login)));
    Step::Send { attempt: attempt_id(u64::from(n)), plan: Plan { kind, goal, ownership, heard: None } }
}

impl Bench {
    async fn opens(&self, n: u8, login: &str, now: Time) {
        let attempt = Attempt {
            key: key(n),
            locator: locator(n),
            actor: agent(login),
            change: change(0),
            ..self.attempt(u64::from(n), 0, now)
        };
        self.ledger().commit(vec![command(n, Step::Open(attempt), now)], Durability::Awaited).await.expect("T1");
    }

    /// T1 and T2 of a claim of item `n`, under this constraint.
    async fn sends(&self, n: u8, login: &str, constraint: Constraint, now: Time) -> Result<ItemRecord, LedgerError> {
        self.opens(n, login, now).await;
        let batch = vec![command(n, Step::Check(constraint), now), command(n, sends(n, login), now)];
        let done = self.ledger().commit(batch, Durability::Awaited).await;
        done.map(|mut records| records.pop().expect("one record a command"))
    }

    async fn settles(&self, n: u8, outcome: Outcome, now: Time) {
        let doubt_until = now + Q;
        let step = Step::Settle { attempt: attempt_id(u64::from(n)), outcome, doubt_until };
        self.ledger().commit(vec![command(n, step, now)], Durability::Awaited).await.expect("T3");
    }

    async fn rejects(&self, n: u8, now: Time) {
        let reject = command(n, Step::Reject(attempt_id(u64::from(n))), now);
        self.ledger().commit(vec![reject], Durability::Awaited).await.expect("it is open still");
    }

    async fn change_lease(&self, step: LeaseStep, now: Time) -> Result<Option<ProjectLease>, LedgerError> {
        self.ledger().change_lease(step, now).await.map(|mut changed| changed.pop())
    }

    async fn leases(&self) -> Vec<(String, Time, Time, Time)> {
        let leases = self.ledger().leases().await.unwrap();
        leases.into_iter().map(|one| (one.actor.to_string(), one.since, one.seen, one.until)).collect()
    }
}

fn violation(error: LedgerError) -> ConstraintViolation {
    match error {
        LedgerError::Refused(Refused::Violated(violation)) => *violation,
        other => panic!("{other}"),
    }
}

/// The items that a reached limit names.
#[track_caller]
fn held(done: Result<ItemRecord, LedgerError>) -> Vec<u64> {
    match violation(done.expect_err("the limit is reached")) {
        ConstraintViolation::Limit(excess) => {
            excess.held.iter().map(|place| place.as_str().rsplit('#').next().unwrap().parse().unwrap()).collect()
        }
        other @ ConstraintViolation::Singleton(_) => panic!("{other}"),
    }
}

#[track_caller]
fn at_work(done: Result<ItemRecord, LedgerError>) -> ProjectLease {
    match violation(done.expect_err("another is at work")) {
        ConstraintViolation::Singleton(lease) => lease,
        other @ ConstraintViolation::Limit(_) => panic!("{other}"),
    }
}

// === limits ===

#[tokio::test]
async fn what_is_held_sent_and_in_doubt_counts_also_after_a_start() {
    for mut bench in Bench::all().await {
        let committed = |parked| Outcome::Committed { shown: claimed(), parked };
        bench.sends(1, "dev", within("dev", 3), START).await.unwrap();
        bench.settles(1, committed(None), START).await;
        bench.sends(2, "dev", within("dev", 3), START).await.unwrap();
        bench.settles(2, Outcome::Doubt, START).await;
        bench.sends(3, "DEV", within("DEV", 3), START).await.unwrap();
        assert_eq!(held(bench.sends(4, "dev", within("dev", 3), START).await), [1, 2, 3]);
        // Refused, it is open as it was; and another agent's limit is its own.
        assert_eq!(item(&bench, 4).await.unwrap().live.map(|live| live.state), Some(AttemptState::Open));
        bench.rejects(4, START).await;
        bench.sends(4, "eve", within("eve", 1), START).await.unwrap();
        bench.settles(4, Outcome::Refused { shown: claimed() }, START).await;
        bench.reopen(at(1)).await;
        assert_eq!(held(bench.sends(5, "dev", within("dev", 3), at(1)).await), [1, 2, 3]);
        bench.rejects(5, at(1)).await;
        let fence = item(&bench, 1).await.unwrap().fence;
        bench.ledger().commit(vec![command(1, Step::Release { fence }, at(1))], Durability::Awaited).await.unwrap();
        bench.sends(5, "dev", within("dev", 3), at(1)).await.unwrap();
        bench.settles(5, committed(Some(true)), at(1)).await;
        // Parked, it does not count.
        bench.sends(6, "dev", within("dev", 3), at(1)).await.unwrap();
    }
}

#[tokio::test]
async fn an_item_that_is_its_own_already_is_not_counted_again() {
    for bench in Bench::all().await {
        for n in [1, 2] {
            bench.sends(n, "dev", within("dev", 2), START).await.unwrap();
            bench.settles(n, Outcome::Committed { shown: claimed(), parked: None }, START).await;
        }
        bench.sends(1, "dev", within("dev", 1), START).await.expect("it is over a limit that was lowered");
        bench.settles(1, Outcome::Committed { shown: claimed(), parked: None }, START).await;
        assert_eq!(held(bench.sends(3, "dev", within("dev", 2), START).await), [1, 2]);
    }
}

#[tokio::test]
async fn two_claims_of_one_batch_count_each_other() {
    for bench in Bench::all().await {
        bench.opens(1, "dev", START).await;
        bench.opens(2, "dev", START).await;
        let batch = [1, 2]
            .into_iter()
            .flat_map(|n| [command(n, Step::Check(within("dev", 1)), START), command(n, sends(n, "dev"), START)]);
        let error = bench.ledger().commit(batch.collect(), Durability::Awaited).await.unwrap_err();
        assert!(matches!(violation(error), ConstraintViolation::Limit(excess) if excess.held == [locator(1)]));
        let live = item(&bench, 1).await.unwrap().live.unwrap();
        assert_eq!(live.state, AttemptState::Open, "all or nothing");
    }
}

#[tokio::test]
async fn many_at_once_do_not_pass_a_limit_side_by_side() {
    let bench = Bench::file();
    let Bench::File(_, Some(ledger)) = &bench else { unreachable!() };
    let claims = (0..60_u8).map(|n| {
        let ledger = ledger.clone();
        let attempt =
            Attempt { key: key(n), locator: locator(n), actor: agent("dev"), ..bench.attempt(u64::from(n), 0, START) };
        tokio::spawn(async move {
            let open = vec![command(n, Step::Open(attempt), START)];
            ledger.commit(open, Durability::Awaited).await.expect("T1");
            let send = vec![command(n, Step::Check(within("dev", 3)), START), command(n, sends(n, "dev"), START)];
            ledger.commit(send, Durability::Awaited).await.is_ok()
        })
    });
    let mut sent = 0;
    for claim in claims.collect::<Vec<_>>() {
        sent += usize::from(claim.await.unwrap());
    }
    assert_eq!(sent, 3);
}

/// The file as version 6 left it.
pub const SIXTH: &str = "
    CREATE INDEX item_held ON item(key) WHERE holding IS NOT NULL;
    CREATE INDEX item_locator ON item(locator);
    CREATE UNIQUE INDEX attempt_live ON attempt(key) WHERE state IN ('OPEN', 'SENDING');
    INSERT INTO attempt SELECT id, key, locator, actor, credential, change, goal, kind, ownership, state, gate, epoch,
        opened, NULL, NULL FROM live;
    DROP TABLE live;
    ALTER TABLE item DROP COLUMN lost;
    PRAGMA user_version = 6;";

/// A file of version 6, as the version before the limits left it.
pub const BEFORE: &str = "DROP INDEX item_account; ALTER TABLE item DROP COLUMN account; DROP TABLE singleton;
    DROP INDEX item_masked; ALTER TABLE item DROP COLUMN reassigned;
    PRAGMA user_version = 4;";

#[tokio::test]
async fn a_file_from_before_the_limits_counts_what_it_holds() {
    let mut bench = Bench::file();
    let opaque = Actor { account: Principal::Opaque(Fingerprint::new("c0ffee")), instance: None };
    for (n, actor) in [(1, agent("Dev")), (2, opaque.clone())] {
        bench.opens(n, "dev", START).await;
        let (attempt, kind) = (attempt_id(u64::from(n)), Kind::Claim);
        let grant = Step::Grant { attempt, kind, ownership: Ownership::Becomes(actor), shown: claimed() };
        bench.ledger().commit(vec![command(n, grant, START)], Durability::Awaited).await.unwrap();
    }
    let Bench::File(dir, ledger) = &mut bench else { unreachable!() };
    drop(ledger.take());
    drop(open_file(dir.path(), START));
    execute(dir.path(), SIXTH);
    execute(dir.path(), BEFORE);
    *ledger = Some(open_file(dir.path(), START));
    assert_eq!(held(bench.sends(3, "dev", within("dev", 1), START).await), [1]);
    bench.rejects(3, START).await;
    let bound = Bound { actor: opaque, of: Whose::Agent, within: None, most: 1 };
    assert_eq!(held(bench.sends(3, "dev", Constraint::Within(bound), START).await), [2]);
    bench.rejects(3, START).await;
    bench.sends(3, "dev", alone("dev"), START).await.unwrap();
    assert_eq!(bench.leases().await.len(), 1);
}

// === who is at work ===

#[tokio::test]
async fn one_agent_is_at_work_until_it_idles_whatever_starts_in_between() {
    for mut bench in Bench::all().await {
        bench.sends(1, "one", alone("one"), at(0)).await.unwrap();
        let lease = at_work(bench.sends(2, "two", alone("two"), at(1)).await);
        assert_eq!((lease.actor, lease.since, lease.until), (agent("one"), at(0), at(10)));
        assert_eq!(item(&bench, 2).await.unwrap().live.map(|live| live.state), Some(AttemptState::Open));
        bench.reopen(at(5)).await;
        at_work(bench.sends(3, "two", alone("two"), at(5)).await);
        // Its own write goes on from then.
        bench.sends(4, "one", alone("one"), at(8)).await.unwrap();
        assert_eq!(bench.leases().await, [("one".to_owned(), at(0), at(8), at(18))]);
        bench.reopen(at(11)).await;
        at_work(bench.sends(5, "two", alone("two"), at(17)).await);
        bench.sends(6, "two", alone("two"), at(18)).await.unwrap();
        assert_eq!(bench.leases().await, [("two".to_owned(), at(18), at(18), at(28))]);
    }
}

#[tokio::test]
async fn another_project_and_another_rule_are_free() {
    for bench in Bench::all().await {
        let Constraint::Alone(take) = alone("two") else { unreachable!() };
        bench.sends(1, "one", alone("one"), START).await.unwrap();
        let elsewhere = AcquireLease { project: Project::new("root/play"), ..take.clone() };
        bench.sends(2, "two", Constraint::Alone(elsewhere), START).await.unwrap();
        let other_rule = AcquireLease { rule: "reviewers".to_owned(), ..take };
        bench.sends(3, "two", Constraint::Alone(other_rule), START).await.unwrap();
        assert_eq!(bench.leases().await.len(), 3);
    }
}

#[tokio::test]
async fn who_is_heard_of_goes_on_and_who_ends_is_gone() {
    let (rule, project) = ("managers".to_owned(), Project::new("root/work"));
    for mut bench in Bench::all().await {
        let heard = |who: &str, minute| LeaseStep::Renew {
            rule: rule.clone(),
            project: project.clone(),
            heard: vec![Heartbeat::once(agent(who), at(minute))],
            idle: IDLE,
        };
        let end_unless = |minute, heard: Option<u64>| {
            let unheard_since = heard.map(at);
            LeaseStep::End { rule: rule.clone(), project: project.clone(), since: at(minute), unheard_since }
        };
        let end = |minute| end_unless(minute, None);
        assert_eq!(bench.change_lease(heard("one", 0), at(0)).await, Ok(None), "nobody is at work");
        let Constraint::Alone(take) = alone("one") else { unreachable!() };
        assert!(bench.change_lease(LeaseStep::Acquire(vec![take]), at(0)).await.unwrap().is_some());
        assert_eq!(bench.change_lease(heard("two", 4), at(5)).await, Ok(None));
        assert_eq!(bench.change_lease(heard("one", 4), at(5)).await.unwrap().map(|one| one.until), Some(at(14)));
        bench.reopen(at(6)).await;
        assert_eq!(bench.leases().await, [("one".to_owned(), at(0), at(4), at(14))]);
        assert_eq!(bench.change_lease(end(3), at(7)).await, Ok(None), "another one than was meant");
        assert_eq!(bench.change_lease(end_unless(0, Some(3)), at(7)).await, Ok(None), "it was heard of since");
        assert_eq!(
            bench.change_lease(end_unless(0, Some(4)), at(7)).await.unwrap().map(|one| one.actor),
            Some(agent("one"))
        );
        bench.reopen(at(8)).await;
        assert_eq!(bench.leases().await, []);
        bench.sends(1, "two", alone("two"), at(8)).await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_closes_no_project_for_long() {
    for mut bench in Bench::all().await {
        bench.sends(1, "one", alone("one"), at(600)).await.unwrap();
        bench.reopen(at(0)).await;
        assert_eq!(at_work(bench.sends(2, "two", alone("two"), at(1)).await).until, at(10));
        bench.rejects(2, at(1)).await;
        bench.sends(2, "two", alone("two"), at(10)).await.unwrap();
    }
}

#[tokio::test]
async fn a_group_that_was_not_written_leaves_nobody_at_work() {
    let bench = Bench::file();
    let Bench::File(dir, _) = &bench else { unreachable!() };
    execute(dir.path(), "CREATE TRIGGER full BEFORE INSERT ON singleton BEGIN SELECT RAISE(FAIL, 'disk full'); END");
    let failed = bench.sends(1, "one", alone("one"), START).await.unwrap_err();
    assert!(matches!(&failed, LedgerError::Unavailable(why) if why.contains("disk full")), "{failed}");
    let Constraint::Alone(take) = alone("one") else { unreachable!() };
    let failed = bench.change_lease(LeaseStep::Acquire(vec![take]), START).await.unwrap_err();
    assert!(matches!(failed, LedgerError::Unavailable(_)), "{failed}");
    assert_eq!(bench.leases().await, []);
    execute(dir.path(), "DROP TRIGGER full");
    bench.sends(2, "two", alone("two"), START).await.unwrap();
}

#[tokio::test]
async fn who_may_not_have_one_of_two_places_gets_neither() {
    for bench in Bench::all().await {
        let Constraint::Alone(take) = alone("two") else { unreachable!() };
        let other = AcquireLease { rule: "reviewers".to_owned(), ..take.clone() };
        bench.sends(1, "one", alone("one"), START).await.unwrap();
        let both = vec![other.clone(), take];
        let refused = bench.change_lease(LeaseStep::Acquire(both), START).await.unwrap_err();
        assert!(matches!(violation(refused), ConstraintViolation::Singleton(lease) if lease.actor == agent("one")));
        assert_eq!(bench.leases().await.len(), 1);
        assert!(bench.change_lease(LeaseStep::Acquire(vec![other]), START).await.unwrap().is_some());
        assert_eq!(bench.leases().await.len(), 2);
    }
}

/// A limit that refuses takes no project, and a project that is taken counts no item.
#[tokio::test]
async fn of_two_terms_both_must_hold() {
    for bench in Bench::all().await {
        bench.sends(1, "one", within("one", 1), START).await.unwrap();
        bench.opens(2, "one", START).await;
        let require = |constraint| command(2, Step::Check(constraint), START);
        let batch = vec![require(alone("one")), require(within("one", 1)), command(2, sends(2, "one"), START)];
        let error = bench.ledger().commit(batch, Durability::Awaited).await.unwrap_err();
        assert!(matches!(violation(error), ConstraintViolation::Limit(_)));
        assert_eq!(bench.leases().await, [], "nothing of the batch is left");
    }
}
