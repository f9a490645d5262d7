//! The tables, and how they come about.

use super::OpenError;
use super::connect::{Link, in_full};

/// The newest version that this program writes.
pub(super) const VERSION: i32 = 3;

/// Every version's step from the one before. Never edited, only appended to.
const MIGRATIONS: [&str; 3] = [FIRST, SECOND, THIRD];

/// All in a schema of its own. One row an item is its whole record: at most one live attempt is the shape of the row.
const FIRST: &str = "
    CREATE TABLE claimgate.meta(
        one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL, era bigint NOT NULL DEFAULT 1,
        open boolean NOT NULL DEFAULT true, reopen_at timestamptz, lost text,
        accepted bigint NOT NULL DEFAULT 0, system text NOT NULL,
        timeline text NOT NULL, fp_key bytea NOT NULL, agreed text);
    CREATE TABLE claimgate.gate(
        name text PRIMARY KEY, token text NOT NULL, epoch bigint NOT NULL, state text NOT NULL, tick bigint NOT NULL,
        proof bigint NOT NULL, seq bigint NOT NULL, hash text NOT NULL, printed bigint NOT NULL,
        beat timestamptz NOT NULL, since timestamptz NOT NULL, era bigint NOT NULL, host text NOT NULL,
        pid integer NOT NULL, version text NOT NULL, rules text NOT NULL) WITH (fillfactor = 20);
    CREATE TABLE claimgate.item(
        key text PRIMARY KEY, rev bigint NOT NULL DEFAULT 0, at bigint NOT NULL DEFAULT 0, locator text, place text,
        record text, account text, heir text, doubt_until bigint,
        masked boolean NOT NULL DEFAULT false, live text, live_gate text, live_epoch bigint)
        WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
    CREATE INDEX item_account ON claimgate.item(account, key) WHERE account IS NOT NULL;
    CREATE INDEX item_heir ON claimgate.item(heir) WHERE heir IS NOT NULL;
    CREATE INDEX item_doubt ON claimgate.item(key) WHERE doubt_until IS NOT NULL;
    CREATE INDEX item_masked ON claimgate.item(key) WHERE masked;
    CREATE INDEX item_live ON claimgate.item(live_gate) WHERE live_gate IS NOT NULL;
    CREATE INDEX item_place ON claimgate.item(place);
    CREATE TABLE claimgate.attempt(
        key text NOT NULL, id text NOT NULL, opened bigint NOT NULL, settled bigint, state text NOT NULL,
        ownership text NOT NULL, shown text, body text NOT NULL, PRIMARY KEY (key, id));
    CREATE INDEX attempt_settled ON claimgate.attempt(settled) WHERE settled IS NOT NULL;
    CREATE TABLE claimgate.audit(
        gate text NOT NULL, seq bigint NOT NULL, at bigint NOT NULL, key text, place text, refusal boolean NOT NULL,
        line text NOT NULL, PRIMARY KEY (gate, seq));
    CREATE INDEX audit_key ON claimgate.audit(key, at) WHERE key IS NOT NULL;
    CREATE INDEX audit_place ON claimgate.audit(place, at) WHERE place IS NOT NULL;
    CREATE TABLE claimgate.lease(rule text NOT NULL, project text NOT NULL, body text NOT NULL,
        PRIMARY KEY (rule, project));
    CREATE TABLE claimgate.once(
        key text PRIMARY KEY, gate text NOT NULL, epoch bigint NOT NULL, swept boolean NOT NULL, sent boolean NOT NULL,
        body text NOT NULL);
    CREATE INDEX once_sent ON claimgate.once(gate) WHERE sent AND NOT swept;
";

/// What all gates should know: that the clock was set, which modes were switched, and whose it is to watch.
const SECOND: &str = "
    ALTER TABLE claimgate.meta ADD COLUMN postpone boolean NOT NULL DEFAULT false,
        ADD COLUMN mode_rev bigint NOT NULL DEFAULT 0;
    ALTER TABLE claimgate.gate ADD COLUMN mode_rev bigint NOT NULL DEFAULT 0;
    CREATE TABLE claimgate.mode(
        part text PRIMARY KEY, mode text NOT NULL, rev bigint NOT NULL, who text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE claimgate.chore(name text PRIMARY KEY, gate text NOT NULL, until timestamptz NOT NULL);
    INSERT INTO claimgate.chore(name, gate, until) VALUES ('watch', '', '-infinity');
";

/// What an item leaves that nobody has touched for long: its version, so that none ever comes again. And an index by which
/// refusals are found that need not be kept.
const THIRD: &str = "
    CREATE TABLE claimgate.retired(key text PRIMARY KEY, fence bigint NOT NULL);
    ALTER TABLE claimgate.item ADD COLUMN last_fence bigint;
    CREATE INDEX audit_refusal ON claimgate.audit(gate, seq) WHERE refusal;
";

/// Brings the tables to the version that this program writes; says from which one. Several gates may start at once.
pub(super) async fn migrate(link: &Link, fp_key: &[u8]) -> Result<i32, OpenError> {
    let found = version(link).await?;
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    if found == VERSION {
        return Ok(found);
    }
    let changed = run(link, fp_key).await;
    changed.map_err(|error| OpenError::NotMigrated { found, wanted: VERSION, why: in_full(&error) })
}

/// The version of the tables; 0: there are none.
pub(super) async fn version(link: &Link) -> Result<i32, OpenError> {
    let unavailable = |error: tokio_postgres::Error| OpenError::Unavailable(in_full(&error));
    let there = link.client.query_one("SELECT to_regclass('claimgate.meta') IS NOT NULL", &[]).await;
    if !there.map_err(unavailable)?.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = link.client.query_opt("SELECT version FROM claimgate.meta", &[]).await.map_err(unavailable)?;
    Ok(row.map_or(0, |row| row.get(0)))
}

async fn run(link: &Link, fp_key: &[u8]) -> Result<i32, tokio_postgres::Error> {
    let client = &link.client;
    // One at a time, whoever comes first; the lock ends with the transaction.
    client.batch_execute("BEGIN; SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s';").await?;
    client.query("SELECT pg_advisory_xact_lock(4803912768331)", &[]).await?;
    let there: bool = client.query_one("SELECT to_regclass('claimgate.meta') IS NOT NULL", &[]).await?.get(0);
    let found: i32 = if there { client.query_one("SELECT version FROM claimgate.meta", &[]).await?.get(0) } else { 0 };
    if found == 0 {
        client.batch_execute("CREATE SCHEMA IF NOT EXISTS claimgate").await?;
    }
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        client.batch_execute(sql).await?;
    }
    let sql = "INSERT INTO claimgate.meta(version, system, timeline, fp_key) VALUES ($1, $2, $3, $4)
               ON CONFLICT (one) DO UPDATE SET version = excluded.version";
    client.execute(sql, &[&VERSION, &link.facts.lineage.system, &link.facts.lineage.timeline, &fp_key]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(found)
}
