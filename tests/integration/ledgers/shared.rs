//! Two gates on one database: what one has under way keeps the other out, limits hold over both, and whoever has fallen
//! commits nothing. And a database that is not the one that it was.

use super::constraints::{agent, sends, within};
use super::*;
use claimgate::effect::{Membership as _, Rivals};
use claimgate::ledger::{Demands, SharedLedger};

/// Two gates, and the database's URL.
struct Pair {
    url: String,
    one: PostgresLedger,
    two: PostgresLedger,
}

impl Pair {
    async fn open() -> Option<Self> {
        let url = postgres::cluster()?.database();
        let (one, two) = (postgres::open(&url, "one", None).await, postgres::open(&url, "two", None).await);
        Some(Self { url, one, two })
    }

    fn sql(&self, sql: &str) -> String {
        postgres::cluster().expect("there is one").sql(postgres::name_of(&self.url), sql)
    }

    /// Every connection of the gates ends, as when a server goes down.
    fn cut(&self) {
        self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                  WHERE application_name = 'claimgate' AND datname = current_database()",
        );
    }
}

fn attempt_of(ledger: &PostgresLedger, n: u8, login: &str) -> Attempt {
    let (gate, epoch) = ledger.identity();
    Attempt {
        id: attempt_id(u64::from(n)),
        key: key(n),
        locator: locator(n),
        actor: agent(login),
        credential: Fingerprint::new("beef"),
        change: change(0),
        goal: None,
        kind: None,
        ownership: Ownership::Keep,
        state: AttemptState::Open,
        gate,
        epoch,
        opened: START,
    }
}

async fn run(ledger: &PostgresLedger, n: u8, steps: Vec<Step>) -> Result<ItemRecord, LedgerError> {
    let now = ledger.time(START);
    let command = |step| Command { key: key(n), locator: locator(n), step, note: None, now };
    let done = ledger.commit(steps.into_iter().map(command).collect(), Durability::Awaited).await;
    done.map(|mut records| records.pop().expect("one record a command"))
}

async fn opens(ledger: &PostgresLedger, n: u8, login: &str) -> Result<ItemRecord, LedgerError> {
    run(ledger, n, vec![Step::Open(attempt_of(ledger, n, login))]).await
}

fn settles(n: u8) -> Step {
    let shown = Shown { assignees: [login(1)].into(), statuses: [].into(), state: OpenState::Open };
    let outcome = Outcome::Committed { shown, parked: None };
    Step::Settle { attempt: attempt_id(u64::from(n)), outcome, doubt_until: START + Q }
}

/// Heartbeats that all come in time, after which a gate may judge others; and it is the one that watches from now on.
async fn in_touch(pair: &Pair, ledger: &PostgresLedger) {
    pair.sql("UPDATE claimgate.chore SET until = '-infinity'");
    for _ in 0..5 {
        ledger.beat().await.expect("it is heard");
    }
    assert!(ledger.is_watcher());
}

fn is_fenced(done: &Result<ItemRecord, LedgerError>) -> bool {
    matches!(done, Err(LedgerError::Refused(Refused::Fenced)))
}

#[tokio::test]
async fn what_one_gate_has_under_way_keeps_the_other_out() {
    let Some(Pair { one, two, .. }) = Pair::open().await else { return };
    opens(&one, 1, "dev").await.unwrap();
    assert_eq!(opens(&two, 1, "eve").await.unwrap_err(), LedgerError::Refused(Refused::Busy));
    assert_eq!(two.look_at_rivals(vec![key(1)], Q).await.unwrap(), Rivals::Elsewhere);
    assert_eq!(one.look_at_rivals(vec![key(1)], Q).await.unwrap(), Rivals::Own);
    run(&one, 1, vec![sends(1, "dev")]).await.unwrap();
    assert!(is_fenced(&run(&two, 1, vec![settles(1)]).await), "it is the other's to complete");
    run(&one, 1, vec![settles(1)]).await.unwrap();
    assert_eq!(two.look_at_rivals(vec![key(1)], Q).await.unwrap(), Rivals::Gone);
    assert_eq!(opens(&two, 1, "eve").await.unwrap().holding.map(|held| held.actor), Some(agent("dev")));
}

#[tokio::test]
async fn claims_at_two_gates_at_once_do_not_pass_a_limit_side_by_side() {
    let Some(Pair { one, two, .. }) = Pair::open().await else { return };
    let (most, all) = (3, 24);
    let claims = (0..all).map(|n| {
        let gate = if n % 2 == 0 { &one } else { &two };
        async move {
            opens(gate, n, "dev").await.unwrap();
            run(gate, n, vec![Step::Check(within("dev", most)), sends(n, "dev")]).await.is_ok()
        }
    });
    let sent = futures_util::future::join_all(claims).await.into_iter().filter(|sent| *sent).count();
    assert_eq!(sent, most);
}

#[tokio::test]
async fn of_two_gates_agents_one_is_at_work_in_a_project() {
    let Some(Pair { one, two, .. }) = Pair::open().await else { return };
    let take = |login: &str| {
        let claimgate::admission::Constraint::Alone(take) = super::constraints::alone(login) else { unreachable!() };
        claimgate::admission::LeaseStep::Acquire(vec![take])
    };
    let now = one.time(START);
    let (first, second) = tokio::join!(one.change_lease(take("dev"), now), two.change_lease(take("eve"), now));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(one.leases().await.unwrap(), two.leases().await.unwrap());
}

#[tokio::test]
async fn a_gate_that_was_declared_fallen_commits_nothing_and_joins_again() {
    let Some(pair) = Pair::open().await else { return };
    let Pair { one, two, .. } = &pair;
    opens(one, 1, "dev").await.unwrap();
    run(one, 1, vec![sends(1, "dev")]).await.unwrap();
    opens(one, 2, "dev").await.unwrap();
    pair.sql("UPDATE claimgate.gate SET beat = clock_timestamp() - interval '1 min' WHERE name = 'one'");
    pair.sql("UPDATE claimgate.chore SET gate = 'two', until = 'infinity'");
    two.beat().await.unwrap();
    two.recover_fallen(Q).await.unwrap();
    assert!(two.item(&key(1)).await.unwrap().unwrap().live.is_some(), "who is not in touch itself judges nobody");
    in_touch(&pair, two).await;
    two.recover_fallen(Q).await.unwrap();
    let (sent, open) = (two.item(&key(1)).await.unwrap().unwrap(), two.item(&key(2)).await.unwrap().unwrap());
    assert!(sent.live.is_none() && sent.doubts.len() == 1, "what was sent is in doubt: {sent:?}");
    assert!(open.live.is_none() && open.doubts.is_empty(), "what was not is aborted: {open:?}");
    let before = one.identity().1;
    assert!(is_fenced(&run(one, 1, vec![settles(1)]).await));
    one.beat().await.unwrap();
    assert!(one.identity().1 > before, "it has joined again");
    assert!(is_fenced(&run(one, 1, vec![settles(1)]).await), "and what it had begun is over");
    opens(one, 3, "dev").await.unwrap();
}

#[tokio::test]
async fn a_new_process_of_the_same_directory_is_the_gate_from_then_on() {
    let Some(pair) = Pair::open().await else { return };
    opens(&pair.one, 1, "dev").await.unwrap();
    let again = postgres::open(&pair.url, "one", None).await;
    assert!(again.item(&key(1)).await.unwrap().unwrap().live.is_none(), "what its last life had begun is closed");
    assert!(is_fenced(&opens(&pair.one, 2, "dev").await));
    assert!(is_fenced(&run(&pair.one, 1, vec![settles(1)]).await));
    assert!(pair.one.beat().await.is_err(), "it takes the name back from nobody");
    opens(&again, 2, "dev").await.unwrap();
}

#[tokio::test]
async fn what_a_gate_leaves_is_nobody_s_to_wait_for() {
    let Some(Pair { one, two, .. }) = Pair::open().await else { return };
    opens(&one, 1, "dev").await.unwrap();
    one.leave().await.unwrap();
    assert_eq!(two.look_at_rivals(vec![key(1)], Q).await.unwrap(), Rivals::Gone);
    opens(&two, 1, "eve").await.unwrap();
}

#[tokio::test]
async fn connections_that_end_are_made_again_and_each_gate_has_a_chain_of_its_own() {
    let Some(pair) = Pair::open().await else { return };
    for (n, gate) in [(1, &pair.one), (2, &pair.two), (3, &pair.one)] {
        opens(gate, n, "dev").await.unwrap();
        pair.cut();
        run(gate, n, vec![sends(n, "dev")]).await.unwrap();
        pair.cut();
        run(gate, n, vec![settles(n)]).await.unwrap();
    }
    for (gate, lines) in [(&pair.one, 2), (&pair.two, 1)] {
        let all = gate.lines(0, 100).await.unwrap();
        assert!(all.iter().map(|(seq, _)| *seq).eq(1..=lines), "{all:?}");
        assert!(all[0].1.contains(GENESIS));
    }
}

#[tokio::test]
async fn a_database_that_has_lost_what_it_acknowledged_is_closed_until_that_is_accepted() {
    let Some(pair) = Pair::open().await else { return };
    opens(&pair.one, 1, "dev").await.unwrap();
    run(&pair.one, 1, vec![sends(1, "dev")]).await.unwrap();
    pair.sql("UPDATE claimgate.gate SET tick = tick - 1 WHERE name = 'one'");
    pair.cut();
    let told = run(&pair.one, 1, vec![settles(1)]).await.unwrap_err().to_string();
    assert!(told.contains("lost what it had acknowledged to the gate one"), "{told}");
    assert!(opens(&pair.two, 2, "dev").await.is_err(), "it is closed for all gates");
    let operator = SharedLedger::connect(&pair.url, None, None, Demands::default()).await.unwrap();
    assert!(operator.accept(Duration::ZERO).await.unwrap().is_some());
    for gate in [&pair.one, &pair.two] {
        let heard = || async { gate.beat().await.ok() };
        crate::e2e::eventually(heard, Duration::from_secs(10)).await.expect("it goes on");
        in_touch(&pair, gate).await;
        gate.recover_fallen(Q).await.unwrap();
    }
    run(&pair.one, 1, vec![settles(1)]).await.unwrap();
    opens(&pair.two, 2, "dev").await.unwrap();
}

/// A gate that was not running when its database lost something knows it at its next start.
#[tokio::test]
async fn a_gate_that_starts_knows_what_the_database_must_have() {
    let Some(cluster) = postgres::cluster() else { return };
    let (url, dir) = (cluster.database(), tempfile::tempdir().unwrap());
    let options = || {
        let gate = claimgate::ledger::GateName::in_dir(dir.path(), Some("one")).ok()?;
        Some(claimgate::ledger::PostgresOptions { gate, ..postgres::options(&url, "one", None) })
    };
    let open = || async { PostgresLedger::open(options()?).await.ok() };
    let gate = open().await.expect("it starts");
    opens(&gate, 1, "dev").await.unwrap();
    run(&gate, 1, vec![sends(1, "dev")]).await.unwrap();
    run(&gate, 1, vec![settles(1)]).await.unwrap();
    gate.beat().await.unwrap();
    drop(gate);
    let sql = |text: &str| cluster.sql(postgres::name_of(&url), text);
    sql("UPDATE claimgate.gate SET tick = tick - 1, seq = seq - 1; DELETE FROM claimgate.audit");
    let gate = crate::e2e::eventually(open, Duration::from_secs(5)).await.expect("the directory is free again");
    let told = gate.has_joined().unwrap_err().to_string();
    assert!(told.contains("has lost what it had acknowledged to the gate one"), "{told}");
    let operator = SharedLedger::connect(&url, None, None, Demands::default()).await.unwrap();
    operator.accept(Duration::ZERO).await.unwrap();
    let joins = || async {
        gate.beat().await.ok()?;
        gate.recover_fallen(Q).await.ok()?;
        opens(&gate, 2, "dev").await.ok()
    };
    crate::e2e::eventually(joins, Duration::from_secs(10)).await.expect("it goes on");
    run(&gate, 2, vec![sends(2, "dev")]).await.unwrap();
    run(&gate, 2, vec![settles(2)]).await.unwrap();
    let lines = gate.lines(1, 10).await.unwrap();
    assert_eq!(
        lines.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        vec![2],
        "its chain goes on from what it had printed"
    );
}

#[tokio::test]
async fn after_a_change_of_servers_every_gate_shows_first_that_all_is_there() {
    let Some(pair) = Pair::open().await else { return };
    opens(&pair.one, 1, "dev").await.unwrap();
    // A gate that has shown nothing yet.
    pair.sql(
        "INSERT INTO claimgate.gate SELECT 'three', 'token', 1, 'up', 1, 0, 0, hash, 0, clock_timestamp(), since, 0, host, pid,
            version, rules FROM claimgate.gate WHERE name = 'one'",
    );
    // The server's timeline is newer than the one that the ledger knows, as after a promotion.
    pair.sql("UPDATE claimgate.meta SET timeline = '00000000'");
    pair.cut();
    pair.one.beat().await.unwrap();
    pair.two.beat().await.unwrap();
    let told = run(&pair.one, 1, vec![sends(1, "dev")]).await.unwrap_err().to_string();
    assert!(told.contains("not every gate has shown yet"), "{told}");
    pair.sql("UPDATE claimgate.gate SET state = 'gone' WHERE name = 'three'");
    pair.two.recover_fallen(Q).await.unwrap();
    run(&pair.one, 1, vec![sends(1, "dev")]).await.unwrap();
    // And an older one is an old primary.
    pair.sql("UPDATE claimgate.meta SET timeline = 'FFFFFFFF'");
    pair.cut();
    let told = run(&pair.one, 1, vec![settles(1)]).await.unwrap_err().to_string();
    assert!(told.contains("old primary"), "{told}");
}

/// Only one of two gates that enter an item at once has it: the row is locked from before it is read.
#[tokio::test]
async fn of_two_gates_that_enter_an_item_at_once_one_has_it() {
    let Some(Pair { one, two, .. }) = Pair::open().await else { return };
    // So that it has a row: of one that is only made, the second waits for the first anyhow.
    opens(&one, 1, "dev").await.unwrap();
    run(&one, 1, vec![Step::Withdraw(attempt_id(1))]).await.unwrap();
    for _ in 0..100 {
        let (first, second) = tokio::join!(opens(&one, 1, "dev"), opens(&two, 1, "eve"));
        let winner = if first.is_ok() { &one } else { &two };
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        run(winner, 1, vec![Step::Withdraw(attempt_id(1))]).await.unwrap();
    }
}

/// A group that has begun when its gate is declared fallen is not committed: its gate's own row tells.
#[tokio::test]
async fn a_group_that_was_under_way_when_its_gate_fell_is_not_committed() {
    let Some(pair) = Pair::open().await else { return };
    let Pair { one, two, .. } = &pair;
    opens(one, 1, "dev").await.unwrap();
    run(one, 1, vec![sends(1, "dev")]).await.unwrap();
    let database = postgres::name_of(&pair.url).to_owned();
    let falls = std::thread::spawn(move || {
        // It holds the gate's row for a while, so that the group stands between its two flights.
        let sql = "BEGIN; UPDATE claimgate.gate SET state = 'fallen', tick = tick + 1 WHERE name = 'one';
            SELECT pg_sleep(1); COMMIT";
        postgres::cluster().expect("there is one").sql(&database, sql)
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    let told = run(one, 1, vec![settles(1)]).await;
    falls.join().expect("it has fallen");
    assert!(told.is_err(), "it was committed after its gate had fallen: {told:?}");
    let record = two.item(&key(1)).await.unwrap().unwrap();
    assert!(record.holding.is_none(), "{record:?}");
}

/// What is final stays as it is, whoever comes back to it.
#[tokio::test]
async fn a_final_attempt_is_immutable() {
    let Some(pair) = Pair::open().await else { return };
    let Pair { one, two, .. } = &pair;
    opens(one, 1, "dev").await.unwrap();
    run(one, 1, vec![sends(1, "dev")]).await.unwrap();
    run(one, 1, vec![settles(1)]).await.unwrap();
    let ended = two.ended(&key(1), 10).await.unwrap();
    // The same name once more, as no gate makes it: it leaves no second end.
    opens(two, 1, "dev").await.unwrap();
    run(two, 1, vec![Step::Abort(attempt_id(1))]).await.unwrap();
    assert_eq!(two.ended(&key(1), 10).await.unwrap(), ended);
    assert_eq!(ended.len(), 1);
}

/// A database whose clock the test sets: what the gates ask for is found before the server's own.
fn with_a_clock_to_set() -> Option<String> {
    let cluster = postgres::cluster()?;
    let url = cluster.database();
    let database = postgres::name_of(&url);
    cluster.sql(
        database,
        "CREATE SCHEMA set_clock; CREATE TABLE set_clock.ahead(by interval NOT NULL);
        INSERT INTO set_clock.ahead VALUES ('0 s');
        CREATE FUNCTION set_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
            AS 'SELECT pg_catalog.clock_timestamp() + (SELECT by FROM set_clock.ahead)'",
    );
    cluster.sql("postgres", &format!("ALTER DATABASE {database} SET search_path = set_clock, pg_catalog"));
    Some(url)
}

/// Until the gates take writes again, and at most for so long.
async fn open_again(pair: &Pair) {
    let opens = || async {
        for gate in [&pair.one, &pair.two] {
            gate.beat().await.ok()?;
            gate.recover_fallen(Q).await.ok()?;
        }
        opens(&pair.one, 9, "dev").await.ok()
    };
    crate::e2e::eventually(opens, Duration::from_secs(10)).await.expect("it goes on");
    run(&pair.one, 9, vec![Step::Withdraw(attempt_id(9))]).await.unwrap();
}

/// How long an item stays closed yet, as its gate says.
async fn doubt_left(gate: &PostgresLedger, n: u8) -> Duration {
    let refused = opens(gate, n, "eve").await;
    let Err(LedgerError::Refused(Refused::InDoubt(left))) = refused else { panic!("{refused:?}") };
    left
}

#[tokio::test]
async fn a_database_whose_clock_is_set_ends_no_doubt_too_early_and_none_too_late() {
    let Some(url) = with_a_clock_to_set() else { return };
    let (one, two) = (postgres::open(&url, "one", None).await, postgres::open(&url, "two", None).await);
    let pair = Pair { url, one, two };
    let Pair { one, two, .. } = &pair;
    opens(one, 1, "dev").await.unwrap();
    run(one, 1, vec![sends(1, "dev")]).await.unwrap();
    let doubt = Step::Settle { attempt: attempt_id(1), outcome: Outcome::Doubt, doubt_until: one.time(START) + Q };
    run(one, 1, vec![doubt]).await.unwrap();
    for by in ["1 hour", "-1 hour"] {
        pair.sql(&format!("UPDATE set_clock.ahead SET by = '{by}'"));
        let told = opens(two, 2, "dev").await.unwrap_err().to_string();
        assert!(told.contains("clock was set"), "{told}");
        let told = run(one, 1, vec![Step::Release { fence: Fence(0) }]).await.unwrap_err().to_string();
        assert!(told.contains("not every gate has shown"), "{told}");
        open_again(&pair).await;
        // Less than a period has passed, and no more than a period is left.
        let left = doubt_left(two, 1).await;
        assert!(left <= Q && left > Q / 2, "{by}: {left:?}");
    }
    assert_eq!(pair.sql("SELECT era FROM claimgate.meta"), "3", "it is closed once for all gates, each time");
}

/// A day of a ledger: claims, releases and refusals, all of them printed; then it takes out what need not be kept.
async fn a_day(gate: &PostgresLedger, first: u8, claims: u8) {
    for n in first..first + claims {
        opens(gate, n, "dev").await.unwrap();
        run(gate, n, vec![sends(n, "dev")]).await.unwrap();
        let held = run(gate, n, vec![settles(n)]).await.unwrap();
        run(gate, n, vec![Step::Release { fence: held.fence }]).await.unwrap();
        let mut note = Note::of_gate(format!("refusal-{n}"), None);
        note.decision = Decision::Reject;
        gate.record(note, gate.time(START));
    }
    gate.flushed().await.unwrap();
    let newest = *gate.newest_line().borrow();
    gate.mark_printed(newest).await.unwrap();
    gate.beat().await.unwrap();
    gate.recover_fallen(Q).await.unwrap();
}

#[tokio::test]
async fn what_a_ledger_keeps_is_bounded_and_no_version_of_an_item_comes_again() {
    const CLAIMS: u8 = 20;
    let Some(url) = with_a_clock_to_set() else { return };
    let database = postgres::name_of(&url).to_owned();
    let sql = |sql: &str| postgres::cluster().expect("there is one").sql(&database, sql);
    let keep = Retention { history: Duration::from_hours(3 * 24), refusals: 10 };
    let options = |gate: &str| claimgate::ledger::PostgresOptions { keep, ..postgres::options(&url, gate, None) };
    let gate = PostgresLedger::open(options("one")).await.unwrap();
    let goes_on = |gate: PostgresLedger| async move {
        gate.beat().await.ok()?;
        gate.recover_fallen(Q).await.ok()?;
        gate.probe().await.ok()
    };
    let mut sizes = Vec::new();
    for day in 0..10_u8 {
        sql(&format!("UPDATE set_clock.ahead SET by = '{day} days'"));
        crate::e2e::eventually(|| goes_on(gate.clone()), Duration::from_secs(10)).await.expect("it goes on");
        a_day(&gate, 1 + day * CLAIMS, CLAIMS).await;
        let counted =
            "SELECT (SELECT count(*) FROM claimgate.audit) || ' ' || (SELECT count(*) FROM claimgate.attempt)";
        sizes.push(sql(counted));
    }
    assert_eq!(sizes[5..], vec![sizes[5].clone(); 5], "the tables stay as large as they are: {sizes:?}");
    assert_ne!(sizes[0], sizes[2], "{sizes:?}");
    let kept: Vec<u64> = gate.lines(0, 1000).await.unwrap().iter().map(|(seq, _)| *seq).collect();
    assert!(kept.windows(2).all(|pair| pair[0] < pair[1]) && kept.last() == Some(&*gate.newest_line().borrow()));

    let before = gate.item(&key(1)).await.unwrap().unwrap().fence;
    sql("UPDATE set_clock.ahead SET by = '200 days'");
    gate.leave().await.unwrap();
    let later = PostgresLedger::open(options("later")).await.unwrap();
    sql("UPDATE claimgate.chore SET until = '-infinity'");
    crate::e2e::eventually(|| goes_on(later.clone()), Duration::from_secs(10)).await.expect("it goes on");
    assert_eq!(sql("SELECT count(*) FROM claimgate.item"), "0", "nobody has touched them for long");
    assert_eq!(later.item(&key(1)).await.unwrap(), None);
    opens(&later, 1, "dev").await.unwrap();
    run(&later, 1, vec![sends(1, "dev")]).await.unwrap();
    let held = run(&later, 1, vec![settles(1)]).await.unwrap();
    assert_eq!(held.fence, Fence(before.0 + 1), "its versions go on");
}

#[tokio::test]
async fn a_database_that_stops_keeping_what_it_acknowledges_is_left_alone_until_it_does() {
    let Some(cluster) = postgres::cluster().map(postgres::Cluster::another) else { return };
    let gate = postgres::open(&cluster.database(), "one", None).await;
    opens(&gate, 1, "dev").await.unwrap();
    run(&gate, 1, vec![sends(1, "dev")]).await.unwrap();
    let set = |to: &str| {
        cluster.sql("postgres", &format!("ALTER SYSTEM SET full_page_writes = {to}"));
        cluster.sql("postgres", "SELECT pg_reload_conf()");
    };
    set("off");
    let refused = || async {
        gate.beat().await.expect("it is alive");
        gate.probe().await.err().map(|error| error.to_string())
    };
    let told = crate::e2e::eventually(refused, Duration::from_secs(10)).await.expect("it is noticed");
    assert!(told.contains("full_page_writes = off"), "{told}");
    let told = opens(&gate, 2, "dev").await.unwrap_err().to_string();
    assert!(told.contains("full_page_writes = off"), "{told}");
    run(&gate, 1, vec![settles(1)]).await.expect("what was sent is settled");
    set("on");
    let fit = || async {
        gate.beat().await.expect("it is alive");
        gate.probe().await.ok()
    };
    crate::e2e::eventually(fit, Duration::from_secs(10)).await.expect("it is noticed");
    opens(&gate, 2, "dev").await.unwrap();
}

/// What another process does to the database in its own time, the gate cannot have done.
#[tokio::test]
async fn a_gate_that_starts_before_its_database_enters_nothing_and_joins_later() {
    let Some(cluster) = postgres::cluster().map(postgres::Cluster::another) else { return };
    let url = cluster.database();
    let first = postgres::open(&url, "first", None).await;
    let key = first.fingerprint_key().print(b"a token");
    drop(first);
    cluster.control(&["-w", "-m", "fast", "stop"]);
    let options = postgres::options(&url, "one", None);
    let gate = PostgresLedger::open(claimgate::ledger::PostgresOptions { fingerprint_key: vec![8; 32], ..options });
    let gate = gate.await.expect("it comes up");
    let began = tokio::time::Instant::now();
    let told = opens(&gate, 1, "dev").await.unwrap_err().to_string();
    assert!(told.contains("has not joined"), "{told}");
    assert!(gate.has_joined().is_err() && gate.active().await.is_err() && gate.probe().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for what is not there");
    assert_ne!(gate.fingerprint_key().print(b"a token"), key);
    cluster.control(&["-w", "start"]);
    let joined = || async { gate.beat().await.ok() };
    crate::e2e::eventually(joined, Duration::from_secs(10)).await.expect("it joins");
    gate.has_joined().expect("it has joined");
    assert_eq!(gate.fingerprint_key().print(b"a token"), key, "a credential is one agent at every gate");
    opens(&gate, 1, "dev").await.unwrap();
    run(&gate, 1, vec![sends(1, "dev")]).await.unwrap();
}

#[tokio::test]
async fn a_mode_that_is_switched_at_one_gate_is_switched_at_all() {
    use claimgate::admission::{Mode, Part, Switched};
    let Some(pair) = Pair::open().await else { return };
    let Pair { one, two, .. } = &pair;
    let mut expected = Switched::default();
    expected.switch(&[Part::Workflow], Mode::Observe);
    let heard = two.shared_modes().expect("it shares its ledger");
    let follow = async {
        let mut heard = heard.clone();
        loop {
            let modes = heard.borrow_and_update().clone();
            two.carries_modes(modes.revision);
            two.beat().await.expect("it is heard");
            if modes.switched == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let carry = async {
        let mut modes = one.shared_modes().expect("it shares its ledger");
        loop {
            one.carries_modes(modes.borrow_and_update().revision);
            modes.changed().await.expect("it lives");
        }
    };
    let switch = async {
        let spread = one.switch_modes(&[Part::Workflow], Mode::Observe, "somebody").await.unwrap().expect("shared");
        assert_eq!((spread.gates, spread.missing), (2, vec![]));
    };
    tokio::select! {
        () = async { tokio::join!(switch, follow); } => {}
        () = carry => unreachable!("it does not end"),
    }
    // Whoever joins later hears of it at once, and who does not follow is named.
    let three = postgres::open(&pair.url, "three", None).await;
    assert_eq!(three.shared_modes().expect("shared").borrow().switched, expected);
    let spread = one.switch_modes(&[Part::Once], Mode::Enforce, "somebody").await.unwrap().expect("shared");
    assert_eq!((spread.gates, spread.missing), (0, vec!["one".to_owned(), "three".to_owned(), "two".to_owned()]));
}

#[tokio::test]
async fn gates_that_do_not_agree_do_not_share_a_ledger() {
    let Some(pair) = Pair::open().await else { return };
    let options = postgres::options(&pair.url, "three", Some(START));
    let options = claimgate::ledger::PostgresOptions { agreed: "doubt_period 60s".to_owned(), ..options };
    let refused = PostgresLedger::open(options).await.unwrap_err().to_string();
    assert!(refused.contains("doubt_period 120s there, doubt_period 60s here"), "{refused}");
}
