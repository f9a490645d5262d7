//! What is only read, over a connection of its own.

use super::connect::{Link, Role, in_full};
use super::members::Unusable;
use super::rows::{account, column, read_item, stored};
use super::writer::WriterJob;
use super::{PostgresLedger, unavailable};
use crate::admission::Step;
use crate::effect::{
    Batch, BoxFuture, Command, Committed, Creations, DEAD_AFTER, Durability, Held, Ledger, LedgerError, LinesOfOthers,
    Membership as _, Note, OtherLines, Pruned,
};
use crate::ledger::codec::{self, Unreadable, record as json};
use crate::ledger::transaction::recovery_once;
use crate::model::{
    Attempt, Epoch, GateId, ItemRecord, OnceEntry, OnceKey, Place, Principal, ProjectLease, ResourceKey, Settled, Time,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

const ONE: &str = "SELECT key, locator, record, live, at FROM claimgate.item WHERE key = $1";
pub(super) const ACTIVE: &str = "SELECT key, locator, record, live, at FROM claimgate.item
    WHERE account IS NOT NULL OR doubt_until IS NOT NULL";
const DOUBTFUL: &str = "SELECT key, locator, record, live, at FROM claimgate.item WHERE doubt_until IS NOT NULL";
const HELD: &str = "SELECT key, locator, record, live, at FROM claimgate.item
    WHERE account IS NOT NULL AND (account, key) > ($1, $2) ORDER BY account, key LIMIT $3";
const OF_ACCOUNT: &str = "SELECT key, locator, record, live, at FROM claimgate.item WHERE account = $1 OR heir = $1";
const LEASES: &str = "SELECT rule, project, body FROM claimgate.lease ORDER BY rule, project";
const ONCE: &str = "SELECT key, body FROM claimgate.once WHERE key = ANY($1)";
const ENDED: &str = "SELECT key, body, state, ownership, settled, shown FROM claimgate.attempt
    WHERE key = $1 AND settled IS NOT NULL ORDER BY opened DESC, id DESC LIMIT $2";
const HISTORY: &str = "SELECT key, body, state, ownership, settled, shown FROM claimgate.attempt
    WHERE key IN (SELECT key FROM claimgate.item WHERE place = $1) AND settled IS NOT NULL
    ORDER BY opened DESC, id DESC LIMIT $2";
const LINES: &str = "SELECT seq, line FROM claimgate.audit WHERE gate = $1 AND seq > $2 ORDER BY seq LIMIT $3";
const LINES_ABOUT: &str = "SELECT line FROM claimgate.audit WHERE place = $1
        OR key IN (SELECT key FROM claimgate.item WHERE place = $1)
    ORDER BY at DESC, seq DESC LIMIT $2";
/// Of each gate so many at most, from where it was left or a few before its newest.
const OTHER_LINES: &str = "SELECT g.name, a.seq, a.line
    FROM claimgate.gate g LEFT JOIN unnest($2::text[], $3::bigint[]) AS known(name, seq) ON known.name = g.name
    CROSS JOIN LATERAL (
        SELECT seq, line, at FROM claimgate.audit
        WHERE gate = g.name AND seq > coalesce(known.seq, CASE WHEN $5 THEN g.seq - 100 ELSE 0 END)
        ORDER BY seq LIMIT $4) a
    WHERE g.name <> $1 AND g.seq > coalesce(known.seq, 0) ORDER BY a.at, g.name, a.seq";
const PRINTED: &str = "SELECT printed FROM claimgate.gate WHERE name = $1";
const RIVALS: &str = "SELECT i.key, i.locator, i.place, i.live_gate, i.live_epoch,
        coalesce(g.state NOT IN ('up', 'leaving') OR i.live_epoch < g.epoch, true),
        coalesce(g.beat < clock_timestamp() - make_interval(secs => $2), true)
    FROM claimgate.item i LEFT JOIN claimgate.gate g ON g.name = i.live_gate
    WHERE i.key = ANY($1) AND i.live_gate IS NOT NULL";
const LEFT_BEHIND: &str = "SELECT i.key, i.locator, i.place, i.live_gate, i.live_epoch, true, true
    FROM claimgate.item i LEFT JOIN claimgate.gate g ON g.name = i.live_gate
    WHERE i.live_gate IS NOT NULL
        AND coalesce(g.state NOT IN ('up', 'leaving') OR i.live_epoch < g.epoch, true)
    ORDER BY i.key LIMIT 100";
const SENT_BEHIND: &str = "SELECT o.key, o.gate, o.epoch FROM claimgate.once o
    LEFT JOIN claimgate.gate g ON g.name = o.gate WHERE o.sent AND NOT o.swept
        AND coalesce(g.state NOT IN ('up', 'leaving') OR o.epoch < g.epoch, true)
    ORDER BY o.key LIMIT 100";

const ALONE: &str = "SELECT NOT EXISTS (SELECT 1 FROM claimgate.gate WHERE name <> $1 AND state IN ('up', 'leaving')
    AND beat > clock_timestamp() - make_interval(secs => $2))";
/// Of a hundred each, with each look at what ended lives have left.
const MOST_ROUNDS: u32 = 50;

const STATEMENTS: [&str; 14] = [
    ONE,
    ACTIVE,
    DOUBTFUL,
    HELD,
    OF_ACCOUNT,
    LEASES,
    ONCE,
    ENDED,
    HISTORY,
    LINES,
    PRINTED,
    RIVALS,
    LEFT_BEHIND,
    SENT_BEHIND,
];

/// Somebody's live attempt on an item.
pub(super) struct Rival {
    key: ResourceKey,
    locator: String,
    /// For people.
    place: String,
    pub(super) gate: GateId,
    epoch: Epoch,
    /// Its epoch is over: anybody may close it.
    pub(super) has_ended: bool,
    /// Its gate has been silent for too long.
    pub(super) is_silent: bool,
}

type ReadResult<T> = Result<T, LedgerError>;

impl PostgresLedger {
    /// A connection to read over.
    pub(super) async fn reader(&self) -> ReadResult<Arc<Link>> {
        if !self.shared.is_member() {
            return Err(self.shared.has_begun().err().unwrap_or_else(|| unavailable("not joined")));
        }
        let mut reader = self.shared.reader.lock().await;
        if let Some(link) = reader.as_ref().filter(|link| !link.client.is_closed()) {
            return Ok(Arc::clone(link));
        }
        let connected = self.shared.database.connect(Role::Reader).await;
        let mut link = connected.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        self.shared.is_current(&link).map_err(|ended| match ended {
            Unusable::Replaced(why) | Unusable::NotYet(why) => LedgerError::Unavailable(why),
        })?;
        link.prepare(STATEMENTS).await.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let link = Arc::new(link);
        *reader = Some(Arc::clone(&link));
        Ok(link)
    }

    async fn read(&self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> ReadResult<Vec<Row>> {
        let link = self.reader().await?;
        let read = tokio::time::timeout(super::PATIENCE, link.rows(sql, true, values)).await;
        read.map_err(|_| unavailable("the database has not answered in time"))?.map_err(failed)
    }

    async fn items(&self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> ReadResult<Vec<ItemRecord>> {
        let rows = self.read(sql, values).await?;
        rows.iter().filter_map(|row| read_item(row).map_err(unreadable).transpose()).collect()
    }

    async fn settled(&self, sql: &'static str, what: &str, limit: usize) -> ReadResult<Vec<Settled>> {
        let rows = self.read(sql, &[&column(what), &stored(limit as u64)]).await?;
        rows.iter().map(|row| read_settled(row).map_err(unreadable)).collect()
    }

    // === gates ===

    /// Whose attempts are live on these items.
    pub(super) async fn rivals_of(&self, items: &[ResourceKey]) -> ReadResult<Vec<Rival>> {
        let keys: Vec<String> = items.iter().map(|key| column(key.as_str())).collect();
        let rows = self.read(RIVALS, &[&keys, &DEAD_AFTER.as_secs_f64()]).await?;
        Ok(rows.iter().map(rival).collect())
    }

    /// Opens a ledger again that was closed, if every gate has shown that it may be.
    pub(super) async fn reopen(&self) -> ReadResult<()> {
        if self.shared.is_open() {
            return Ok(());
        }
        let link = self.reader().await?;
        // A gate that has joined a closed ledger has proven nothing that way.
        super::postponement::catch_up(&link, &self.shared.postponement()).await.map_err(failed)?;
        super::members::reopen(&link).await.map_err(failed)
    }

    /// Declares silent gates fallen, if this one is in touch itself.
    pub(super) async fn judge(&self) -> ReadResult<()> {
        if !self.shared.may_judge() {
            return Ok(());
        }
        let link = self.reader().await?;
        for gate in super::members::judge(&link, &self.identity().0).await.map_err(failed)? {
            tracing::warn!(gate, "a gate was silent for too long: its unfinished writes are taken over");
        }
        Ok(())
    }

    /// Closes what ended lives have left under way.
    pub(super) async fn sweep(&self, doubt_period: Duration) -> ReadResult<()> {
        for _ in 0..MOST_ROUNDS {
            let left: Vec<Rival> = self.read(LEFT_BEHIND, &[]).await?.iter().map(rival).collect();
            let sent = self.read(SENT_BEHIND, &[]).await?;
            if left.is_empty() && sent.is_empty() {
                return Ok(());
            }
            self.recover(left, doubt_period).await?;
            self.recover_once(&sent, doubt_period).await?;
        }
        Ok(())
    }

    pub(super) async fn recover(&self, left: Vec<Rival>, doubt_period: Duration) -> ReadResult<()> {
        let now = self.now();
        let command = |rival: Rival| {
            let (resource, gate) = (rival.place, rival.gate.as_str());
            tracing::warn!(resource, gate, "a write that an ended process left is recovered");
            let before = Epoch(rival.epoch.0 + 1);
            let step = Step::Recover { gate: rival.gate, before, doubt_until: now + doubt_period };
            Command { key: rival.key, locator: Place::from_stored(&rival.locator), step, note: None, now }
        };
        let commands: Vec<Command> = left.into_iter().map(command).collect();
        self.shared.recovered.inc_by(commands.len() as u64);
        self.carry_out_each(commands).await
    }

    /// One by one in the same group: one that cannot be closed keeps no other from being closed.
    async fn carry_out_each(&self, commands: Vec<Command>) -> ReadResult<()> {
        let each = commands.into_iter().map(|one| self.carry_out(Batch { items: vec![one], ..Batch::default() }));
        for done in futures_util::future::join_all(each).await {
            if let Err(error) = done {
                tracing::error!(ledger.error = %error, "what an ended process left is not closed yet");
            }
        }
        Ok(())
    }

    async fn recover_once(&self, sent: &[Row], doubt_period: Duration) -> ReadResult<()> {
        let (now, mut once) = (self.now(), Vec::new());
        for row in sent {
            let (key, gate) = (OnceKey::new(row.get(0)), GateId::new(row.get(1)));
            let before = Epoch(row.get::<_, i64>(2).unsigned_abs() + 1);
            once.extend(recovery_once([key], (&gate, before), now + doubt_period, now));
        }
        if once.is_empty() {
            return Ok(());
        }
        self.carry_out(Batch { once, ..Batch::default() }).await.map(drop)
    }

    /// Who starts alone may do so after everything, the database's clock included, was stopped and set.
    pub(super) async fn start_alone(&self) -> ReadResult<()> {
        let (gate, _) = self.identity();
        let is_alone = self.read(ALONE, &[&column(gate.as_str()), &DEAD_AFTER.as_secs_f64()]).await?;
        if !is_alone[0].get::<_, bool>(0) {
            return Ok(());
        }
        let link = self.reader().await?;
        super::postponement::run(&link, &self.shared.postponement()).await.map_err(failed)
    }

    /// The ledger's time.
    fn now(&self) -> Time {
        let own = self.shared.options.now.unwrap_or_else(|| self.shared.options.clock.now());
        self.shared.time(own)
    }
}

fn rival(row: &Row) -> Rival {
    Rival {
        key: ResourceKey::new(row.get(0)),
        locator: row.get(1),
        place: row.get(2),
        gate: GateId::new(row.get(3)),
        epoch: Epoch(row.get::<_, i64>(4).unsigned_abs()),
        has_ended: row.get(5),
        is_silent: row.get(6),
    }
}

fn read_settled(row: &Row) -> Result<Settled, Unreadable> {
    let entered = json::read_attempt(&ResourceKey::new(row.get(0)), row.get(1))?;
    let ownership = codec::read_ownership(&json::parse(row.get(3))?)?;
    let shown: Option<&str> = row.get(5);
    Ok(Settled {
        attempt: Attempt { state: json::read_attempt_state(row.get(2))?, ownership, ..entered },
        at: Time(row.get(4)),
        shown: shown.map(|shown| codec::read_shown(&json::parse(shown)?)).transpose()?,
    })
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: Error) -> LedgerError {
    LedgerError::Unavailable(in_full(&error))
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unreadable(error: Unreadable) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

impl Ledger for PostgresLedger {
    fn transact(&self, batch: Batch, _durability: Durability) -> BoxFuture<'_, Result<Committed, LedgerError>> {
        // Also what nobody has to wait for: a refusal that is lost would leave its item entered.
        self.carry_out(batch)
    }

    fn record(&self, note: Note, now: Time) {
        self.note(note, now);
    }

    fn item(&self, key: &ResourceKey) -> BoxFuture<'_, Result<Option<ItemRecord>, LedgerError>> {
        let key = column(key.as_str());
        Box::pin(async move { Ok(self.items(ONE, &[&key]).await?.pop()) })
    }

    fn active(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(self.items(ACTIVE, &[]))
    }

    fn doubtful(&self) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(self.items(DOUBTFUL, &[]))
    }

    fn held_after(&self, last: Option<Held>, limit: usize) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        Box::pin(async move {
            let after = |last: &Held| (account(&last.account), column(last.key.as_str()));
            let (account, key) = last.as_ref().map(after).unwrap_or_default();
            self.items(HELD, &[&account, &key, &stored(limit as u64)]).await
        })
    }

    fn of_account(&self, of: &Principal) -> BoxFuture<'_, Result<Vec<ItemRecord>, LedgerError>> {
        let of = account(of);
        Box::pin(async move { self.items(OF_ACCOUNT, &[&of]).await })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<ProjectLease>, LedgerError>> {
        Box::pin(async move {
            let rows = self.read(LEASES, &[]).await?;
            let lease = |row: &Row| json::read_lease(row.get(0), row.get(1), row.get(2)).map_err(unreadable);
            rows.iter().map(lease).collect()
        })
    }

    fn ended(&self, key: &ResourceKey, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        let key = key.clone();
        Box::pin(async move { self.settled(ENDED, key.as_str(), limit).await })
    }

    fn history(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<Settled>, LedgerError>> {
        let place = locator.to_string();
        Box::pin(async move { self.settled(HISTORY, &place, limit).await })
    }

    fn lines(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<(u64, String)>, LedgerError>> {
        let recent = self.shared.recent().after(after, limit);
        Box::pin(async move {
            if let Some(lines) = recent {
                return Ok(lines);
            }
            let gate = column(self.identity().0.as_str());
            // A line may be 100 KB long: of many a few at a time.
            let rows = self.read(LINES, &[&gate, &stored(after), &stored(limit.min(1_000) as u64)]).await?;
            Ok(rows.iter().map(|row| (row.get::<_, i64>(0).unsigned_abs(), row.get(1))).collect())
        })
    }

    fn lines_of_others<'a>(
        &'a self,
        after: Option<&'a OtherLines>,
        limit: usize,
    ) -> BoxFuture<'a, ReadResult<Option<LinesOfOthers>>> {
        Box::pin(async move {
            let (begins, after) = (after.is_none(), after.cloned().unwrap_or_default());
            let names: Vec<String> = after.keys().map(|gate| column(gate.as_str())).collect();
            let seqs: Vec<i64> = after.values().map(|seq| stored(*seq)).collect();
            let own = column(self.identity().0.as_str());
            let rows = self.read(OTHER_LINES, &[&own, &names, &seqs, &stored(limit as u64), &begins]).await?;
            let mut last = after;
            let line = |row: &Row| {
                let seq = row.get::<_, i64>(1).unsigned_abs();
                let newest = last.entry(GateId::new(row.get(0))).or_default();
                *newest = seq.max(*newest);
                (seq, row.get(2))
            };
            let lines: Vec<(u64, String)> = rows.iter().map(line).collect();
            Ok((!lines.is_empty()).then_some(LinesOfOthers { lines, last }))
        })
    }

    fn lines_about(&self, locator: &Place, limit: usize) -> BoxFuture<'_, Result<Vec<String>, LedgerError>> {
        let place = column(&locator.to_string());
        Box::pin(async move {
            // A refusal's line is written with the next group. What cannot be written is no reason to tell nothing.
            drop(self.flushed().await);
            let rows = self.read(LINES_ABOUT, &[&place, &stored(limit as u64)]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn newest_line(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    fn printed(&self) -> BoxFuture<'_, Result<u64, LedgerError>> {
        Box::pin(async move {
            let rows = self.read(PRINTED, &[&column(self.identity().0.as_str())]).await?;
            Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
        })
    }

    fn mark_printed(&self, seq: u64) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.ask(&self.durable, move |reply| WriterJob::Printed(seq, reply)))
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.ask(&self.durable, WriterJob::Flush))
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Pruned, LedgerError>> {
        Box::pin(self.pruned_until())
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.look_at_database())
    }
}

impl Creations for PostgresLedger {
    fn once(&self, keys: Vec<OnceKey>) -> BoxFuture<'_, Result<Vec<Option<OnceEntry>>, LedgerError>> {
        Box::pin(async move {
            let names: Vec<String> = keys.iter().map(|key| column(key.as_str())).collect();
            let rows = self.read(ONCE, &[&names]).await?;
            let entry = |(key, name): (&OnceKey, &String)| {
                let row = rows.iter().find(|row| row.get::<_, &str>(0) == name);
                row.map(|row| json::read_entry(key, row.get(1)).map_err(unreadable)).transpose()
            };
            keys.iter().zip(&names).map(entry).collect()
        })
    }
}
