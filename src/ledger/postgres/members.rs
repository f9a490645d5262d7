//! The gates that share the database: joining, proving that the database has what it acknowledged, falling and leaving.

use super::connect::{Link, LinkError, in_full};
use super::rows::{column, stored};
use super::state::{GateState, Joined};
use super::tail::Tail;
use super::{OpenError, PostgresOptions, postponement};
use crate::effect::DEAD_AFTER;
use crate::effect::audit::GENESIS;
use crate::model::{Epoch, GateId};
use std::time::Duration;
use tokio_postgres::{Error, Row};

/// Why a connection is not taken into use.
pub(super) enum Unusable {
    /// Another process has this gate's name: this one commits nothing any more.
    Replaced(String),
    /// It may be later.
    NotYet(String),
}

/// Another gate of this name that is alive, or may be.
pub(super) struct SameName {
    pub(super) host: String,
    pub(super) pid: i32,
    pub(super) since: String,
}

/// One gate of those that share a ledger, as somebody sees it who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateMember {
    /// Its name.
    pub name: String,
    /// `up`, `leaving`, `fallen` or `gone`.
    pub state: String,
    /// Which of its lives this is.
    pub epoch: i64,
    /// Seconds since it was last heard of.
    pub silent_for: i64,
    /// Since when this life lasts, RFC 3339.
    pub since: String,
    /// Where it runs.
    pub host: String,
    /// Its process.
    pub pid: i32,
    /// Its program.
    pub version: String,
    /// What its rules amount to; equal where they are.
    pub rules: String,
    /// The newest line of its audit.
    pub seq: i64,
    /// How far it has printed.
    pub printed: i64,
    /// Attempts of its that are under way.
    pub live: i64,
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Self::NotYet(in_full(&error))
    }
}

impl From<LinkError> for Unusable {
    fn from(error: LinkError) -> Self {
        Self::NotYet(error.to_string())
    }
}

// === joining ===

/// Enters this gate as a new life of its name. A predecessor of the same state directory has ended; any other must have
/// been silent.
pub(super) async fn join(link: &Link, options: &PostgresOptions) -> Result<Result<Joined, SameName>, Error> {
    let client = &link.client;
    client.batch_execute("BEGIN").await?;
    let sql = "SELECT token, state, host, pid, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
        beat < clock_timestamp() - make_interval(secs => $2) FROM claimgate.gate WHERE name = $1 FOR UPDATE";
    let name = column(&options.gate.name);
    let found = client.query_opt(sql, &[&name, &DEAD_AFTER.as_secs_f64()]).await?;
    if let Some(row) = found.as_ref().filter(|row| is_anothers(row, options)) {
        let other = SameName { host: row.get(2), pid: row.get(3), since: row.get(4) };
        client.batch_execute("ROLLBACK").await?;
        return Ok(Err(other));
    }
    let sql = "INSERT INTO claimgate.gate AS g(name, token, epoch, state, tick, proof, seq, hash, printed, beat, since,
            era, host, pid, version, rules)
        SELECT $1, $2, 1, 'up', 1, 0, 0, $3, 0, clock_timestamp(), clock_timestamp(), era, $4, $5, $6, $7
        FROM claimgate.meta
        ON CONFLICT (name) DO UPDATE SET token = excluded.token, epoch = g.epoch + 1, state = 'up', tick = g.tick + 1,
            beat = excluded.beat, since = excluded.since, era = excluded.era, host = excluded.host, pid = excluded.pid,
            version = excluded.version, rules = excluded.rules
        RETURNING epoch, tick, proof, seq, hash, era";
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let version = env!("CARGO_PKG_VERSION");
    let host = column(&options.host);
    let row =
        client.query_one(sql, &[&name, &options.gate.token, &GENESIS, &host, &pid, &version, &options.rules]).await?;
    client.batch_execute("COMMIT").await?;
    let epoch = Epoch(row.get::<_, i64>(0).unsigned_abs());
    let key = client.query_one("SELECT fp_key FROM claimgate.meta", &[]).await?.get(0);
    Ok(Ok(Joined { epoch, tail: tail(&row), era: row.get(5), key }))
}

fn is_anothers(row: &Row, options: &PostgresOptions) -> bool {
    let (token, state): (String, String) = (row.get(0), row.get(1));
    token != options.gate.token && matches!(state.as_str(), "up" | "leaving") && !row.get::<_, bool>(5)
}

/// From the third column on: proof, seq and hash; the second is the tick.
fn tail(row: &Row) -> Tail {
    let seq: i64 = row.get(3);
    Tail { tick: row.get(1), proof: row.get(2), seq: seq.unsigned_abs(), hash: row.get(4) }
}

/// What must be equal at every gate. Whoever is alone may change it.
pub(super) async fn agree(link: &Link, options: &PostgresOptions) -> Result<(), OpenError> {
    let unavailable = |error: Error| OpenError::Unavailable(in_full(&error));
    let sql = "UPDATE claimgate.meta SET agreed = $1 WHERE agreed IS NULL OR NOT EXISTS (
        SELECT 1 FROM claimgate.gate WHERE name <> $2 AND state IN ('up', 'leaving')
            AND beat > clock_timestamp() - make_interval(secs => $3))";
    let name = column(&options.gate.name);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&options.agreed, &name, &DEAD_AFTER.as_secs_f64()];
    link.client.execute(sql, &values).await.map_err(unavailable)?;
    let row = link.client.query_one("SELECT agreed FROM claimgate.meta", &[]).await.map_err(unavailable)?;
    let ledger: String = row.get(0);
    if ledger == options.agreed {
        return Ok(());
    }
    let pairs = ledger.split(", ").zip(options.agreed.split(", ")).filter(|(one, other)| one != other);
    let differing: Vec<String> = pairs.map(|(one, other)| format!("{one} there, {other} here")).collect();
    Err(OpenError::Differs(differing.join("; ")))
}

// === proving ===

/// Looks, before a gate joins, whether the ledger has what an earlier life of the gate was told is there. What was accepted
/// since that life counts as accepted.
pub(super) async fn has_kept(link: &Link, options: &PostgresOptions) -> Result<(), Unusable> {
    let Some(known) = options.gate.last_tail() else { return Ok(()) };
    let sql = "SELECT g.tick, g.seq, m.accepted > g.era FROM claimgate.gate g, claimgate.meta m
        WHERE g.name = $1 AND g.token = $2";
    let name = column(&options.gate.name);
    // In another ledger than that life's there is nothing of it.
    let Some(row) = link.client.query_opt(sql, &[&name, &options.gate.token]).await? else { return Ok(()) };
    let (tick, seq, is_accepted): (i64, i64, bool) = (row.get(0), row.get(1), row.get(2));
    if tick >= known.tick && seq >= stored(known.seq) {
        return Ok(());
    }
    let why = lost_words(&name, &known, (tick, seq));
    if !is_accepted && !options.demands.accept_loss {
        return Err(close_for_loss(link, &why).await?);
    }
    if !is_accepted {
        wait_for_doubts(link, options.doubt_period).await?;
    }
    tracing::error!("{why}; the loss is accepted");
    // The chain goes on from what is printed already.
    let sql = "UPDATE claimgate.gate SET seq = greatest(seq, $2), tick = greatest(tick, $4),
            hash = CASE WHEN seq < $2 THEN $3 ELSE hash END WHERE name = $1";
    link.client.execute(sql, &[&name, &stored(known.seq), &known.hash, &known.tick]).await?;
    Ok(())
}

fn lost_words(name: &str, known: &Tail, (tick, seq): (i64, i64)) -> String {
    format!(
        "the database has lost what it had acknowledged to the gate {name}: its write {} and audit line {}, and it has {tick} \
         and {seq}",
        known.tick, known.seq
    )
}

/// Closes the ledger for as long as what was lost may still land.
async fn wait_for_doubts(link: &Link, doubt_period: Duration) -> Result<(), Error> {
    let sql = "UPDATE claimgate.meta SET open = false, era = era + 1,
        reopen_at = greatest(reopen_at, clock_timestamp() + make_interval(secs => $1))";
    link.client.execute(sql, &[&doubt_period.as_secs_f64()]).await.map(drop)
}

/// The server is the one that the ledger knows, or a later state of it.
pub(super) async fn look_at(link: &Link) -> Result<(), Unusable> {
    let sql = "SELECT system, timeline, lost FROM claimgate.meta";
    let row = link.client.query_one(sql, &[]).await?;
    let (system, timeline): (String, String) = (row.get(0), row.get(1));
    if system != link.facts.lineage.system {
        let why = "the ledger's database stands in another cluster than before (restored or copied): run `claimgate ledger \
                   accept` once it is sure that no other copy is in use";
        return Err(Unusable::NotYet(why.to_owned()));
    }
    if link.facts.lineage.timeline < timeline {
        let why = format!("the server is an old primary (timeline {}, not {timeline})", link.facts.lineage.timeline);
        return Err(Unusable::NotYet(why));
    }
    if link.facts.lineage.timeline > timeline {
        // Two servers have two clocks: whatever is in doubt is so for a whole period by the new one's.
        let sql = "UPDATE claimgate.meta SET timeline = $1, era = era + 1, open = false, postpone = true
            WHERE timeline = $2";
        link.client.execute(sql, &[&link.facts.lineage.timeline, &timeline]).await?;
        tracing::warn!(timeline = link.facts.lineage.timeline, "the database has changed over to another server");
    }
    match row.get::<_, Option<String>>(2) {
        Some(lost) => Err(Unusable::NotYet(lost)),
        None => Ok(()),
    }
}

/// Shows that the database still has all that it has acknowledged to this gate, and takes a new tick: what an older
/// connection sent and did not commit until now never will be.
pub(super) async fn prove(shared: &GateState, link: &Link, known: &Tail) -> Result<Tail, Unusable> {
    shared.is_no_older(link)?;
    look_at(link).await?;
    let (options, author) = (&shared.options, shared.author());
    let name = column(author.gate.as_str());
    let sql = "SELECT epoch, tick, proof, seq, hash, token, state, host, pid FROM claimgate.gate WHERE name = $1";
    let Some(row) = link.client.query_opt(sql, &[&name]).await? else {
        return Err(lost(shared, link, "the database does not know this gate any more").await?);
    };
    let epoch: i64 = row.get(0);
    if row.get::<_, String>(5) != options.gate.token || epoch > stored(author.epoch.0) {
        let (host, pid): (String, i32) = (row.get(7), row.get(8));
        let why = format!("another process is the gate {name} now: {pid} on {host}; give each gate a name of its own");
        return Err(Unusable::Replaced(why));
    }
    let found = tail(&row);
    let mut kept = found.clone();
    if found.tick < known.tick || found.seq < known.seq || epoch < stored(author.epoch.0) {
        let why = lost_words(&name, known, (found.tick, stored(found.seq)));
        let row = link.client.query_one("SELECT accepted FROM claimgate.meta", &[]).await?;
        let is_accepted = row.get::<_, i64>(0) > shared.era();
        if !is_accepted && !options.demands.accept_loss {
            return Err(lost(shared, link, &why).await?);
        }
        tracing::error!("{why}; the loss is accepted, and guarded writes wait for the doubt period");
        if !is_accepted {
            wait_for_doubts(link, options.doubt_period).await?;
        }
        // The chain goes on from what is printed already.
        kept = if known.seq > found.seq { known.clone() } else { found };
    }
    let is_over = !matches!(row.get::<_, &str>(6), "up" | "leaving");
    let next = epoch.max(stored(author.epoch.0)) + i64::from(is_over);
    let sql = "UPDATE claimgate.gate SET epoch = $3, state = CASE WHEN state = 'leaving' THEN state ELSE 'up' END,
            tick = tick + 1, seq = $4, hash = $5, beat = clock_timestamp(), era = (SELECT era FROM claimgate.meta)
        WHERE name = $1 AND epoch = $2 AND token = $6 RETURNING epoch, tick, proof, seq, hash, era";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&name, &epoch, &next, &stored(kept.seq), &kept.hash, &options.gate.token];
    let Some(row) = link.client.query_opt(sql, &values).await? else {
        return Err(Unusable::NotYet("the gate's own row has changed".to_owned()));
    };
    if is_over {
        tracing::warn!(gate = name, epoch = next, "another gate had declared this one fallen; it has joined again");
    }
    postponement::catch_up(link, &shared.postponement()).await?;
    reopen(link).await?;
    let tail = tail(&row);
    shared.proven((author.gate, Epoch(next.unsigned_abs())), row.get(5), &link.facts.lineage, tail.seq);
    Ok(tail)
}

/// Closes the ledger for all gates until an operator accepts the loss.
async fn lost(shared: &GateState, link: &Link, why: &str) -> Result<Unusable, Error> {
    let closed = close_for_loss(link, why).await?;
    if let Unusable::NotYet(why) = &closed {
        shared.log_trouble(why);
    }
    Ok(closed)
}

async fn close_for_loss(link: &Link, why: &str) -> Result<Unusable, Error> {
    let cure =
        "guarded writes are refused at every gate: bring the newer database back, or run `claimgate ledger accept`";
    let why = format!("{why}; {cure}");
    let sql = "UPDATE claimgate.meta SET open = false, era = era + 1, lost = coalesce(lost, $1)";
    link.client.execute(sql, &[&why]).await?;
    Ok(Unusable::NotYet(why))
}

/// Closes the ledger: whatever was judged by the database's clock must be judged anew. Once for all gates, whoever sees it
/// first.
pub(super) async fn clock_was_set(link: &Link, era: i64, doubt_period: Duration) -> Result<(), Error> {
    let sql = "WITH closed AS (
            UPDATE claimgate.meta SET era = era + 1, open = false, postpone = true,
                reopen_at = CASE WHEN reopen_at IS NOT NULL THEN clock_timestamp() + make_interval(secs => $2) END
            WHERE era = $1 RETURNING 1),
        heard AS (
            UPDATE claimgate.gate SET beat = clock_timestamp()
            WHERE state IN ('up', 'leaving') AND EXISTS (SELECT 1 FROM closed))
        UPDATE claimgate.chore SET until = '-infinity' WHERE EXISTS (SELECT 1 FROM closed)";
    link.client.execute(sql, &[&era, &doubt_period.as_secs_f64()]).await.map(drop)
}

/// Opens the ledger again once every gate that is up has shown that the database has all of its own.
pub(super) async fn reopen(link: &Link) -> Result<(), Error> {
    let sql =
        "UPDATE claimgate.meta m SET open = true, reopen_at = NULL WHERE NOT open AND lost IS NULL AND NOT postpone
        AND coalesce(reopen_at <= clock_timestamp(), true) AND NOT EXISTS (
            SELECT 1 FROM claimgate.gate g WHERE g.state IN ('up', 'leaving') AND g.era < m.era)";
    link.client.execute(sql, &[]).await.map(drop)
}

impl GateState {
    /// Whether a connection leads to the server that this gate has proven to have everything.
    pub(super) fn is_current(&self, link: &Link) -> Result<(), Unusable> {
        let server = self.server();
        if link.facts.lineage == *server {
            return Ok(());
        }
        self.database.lost.notify_one();
        Err(Unusable::NotYet(format!("the server is {}, not {server}", link.facts.lineage)))
    }

    /// Whether a server is not one that another has replaced, as far as this gate has seen. Before anything is asked of it: a
    /// commit of an old primary may never come back.
    pub(super) fn is_no_older(&self, link: &Link) -> Result<(), Unusable> {
        let server = self.server();
        if !link.facts.lineage.is_older_than(&server) {
            return Ok(());
        }
        let (old, new) = (&link.facts.lineage.timeline, &server.timeline);
        Err(Unusable::NotYet(format!("the server is an old primary (timeline {old}, not {new})")))
    }
}

// === falling, leaving ===

/// Declares the gates fallen that have been silent for too long. Their groups that are under way come first, and what they
/// have left then is looked at again.
pub(super) async fn judge(link: &Link, own: &GateId) -> Result<Vec<String>, Error> {
    let sql =
        "UPDATE claimgate.gate SET state = 'fallen', tick = tick + 1 WHERE name <> $1 AND state IN ('up', 'leaving')
        AND beat < clock_timestamp() - make_interval(secs => $2) RETURNING name";
    let rows = link.client.query(sql, &[&column(own.as_str()), &DEAD_AFTER.as_secs_f64()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Leaves: nobody waits for this gate to be silent for long enough.
pub(super) async fn leave(link: &Link, own: &GateId, epoch: Epoch) -> Result<(), Error> {
    let sql = "UPDATE claimgate.gate SET state = 'gone', tick = tick + 1 WHERE name = $1 AND epoch = $2";
    link.client.execute(sql, &[&column(own.as_str()), &stored(epoch.0)]).await.map(drop)
}

/// Every gate that ever joined.
pub(super) async fn list(link: &Link) -> Result<Vec<GateMember>, Error> {
    let sql = "SELECT name, state, epoch, extract(epoch FROM clock_timestamp() - beat)::bigint,
            to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), host, pid, version, rules, seq, printed,
            (SELECT count(*) FROM claimgate.item WHERE live_gate = name)
        FROM claimgate.gate ORDER BY name";
    let member = |row: &Row| GateMember {
        name: row.get(0),
        state: row.get(1),
        epoch: row.get(2),
        silent_for: row.get(3),
        since: row.get(4),
        host: row.get(5),
        pid: row.get(6),
        version: row.get(7),
        rules: row.get(8),
        seq: row.get(9),
        printed: row.get(10),
        live: row.get(11),
    };
    Ok(link.client.query(sql, &[]).await?.iter().map(member).collect())
}
