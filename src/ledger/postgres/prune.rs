//! What the ledger does not keep: lines that were printed are in the audit, final attempts are told of there, and an item that
//! nobody has touched for long needs no row.
//!
//! The gate that watches takes out a bounded number with each heartbeat, of all gates: more than they add, so that the
//! tables stay as large as they are. The newest line of each gate stays, since its chain goes on from its hash.

use super::PostgresLedger;
use super::connect::in_full;
use super::rows::{column, stored};
use crate::effect::{LedgerError, Membership as _, Pruned};
use crate::model::Time;
use std::time::Duration;
use tokio_postgres::types::ToSql;

/// At most with each heartbeat: 2,500 a second, of each gate's lines.
const MOST: i64 = 5_000;
/// An item that nobody holds, and nobody has touched for so long.
const IDLE: Duration = Duration::from_hours(90 * 24);
/// How often such items are looked for: it looks at all of them.
const LOOK_FOR_IDLE_EACH: Duration = Duration::from_mins(10);

/// The oldest of each gate: whether they are too old is looked at of no others.
const LINES: &str = "DELETE FROM claimgate.audit a USING claimgate.gate g CROSS JOIN LATERAL (
        SELECT o.seq, o.at FROM claimgate.audit o
        WHERE o.gate = g.name AND o.seq <= least(g.printed, g.seq - 1) ORDER BY o.seq LIMIT $2) d
    WHERE a.gate = g.name AND a.seq = d.seq AND d.at < $1";
const REFUSALS: &str = "DELETE FROM claimgate.audit a USING claimgate.gate g CROSS JOIN LATERAL (
        SELECT o.seq FROM claimgate.audit o
        WHERE o.gate = g.name AND o.refusal AND o.seq <= least(g.printed, g.seq - 1, g.seq - $1)
        ORDER BY o.seq LIMIT $2) d
    WHERE a.gate = g.name AND a.seq = d.seq";
const ATTEMPTS: &str = "DELETE FROM claimgate.attempt a USING (
        SELECT key, id FROM claimgate.attempt WHERE settled < $1 ORDER BY settled LIMIT $2 FOR UPDATE SKIP LOCKED) d
    WHERE a.key = d.key AND a.id = d.id";
/// What is left of each is its version: the next row of the item goes on from there.
const ITEMS: &str = "WITH idle AS (
        SELECT key, coalesce((record::json->>'fence')::bigint, last_fence, 0) AS fence FROM claimgate.item
        WHERE at < $1 AND account IS NULL AND heir IS NULL AND doubt_until IS NULL AND NOT masked AND live IS NULL
            AND (record IS NULL OR record::json->>'stray' IS NULL AND NOT (record::json->>'reassigned')::boolean)
        LIMIT $2 FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM claimgate.item i USING idle WHERE i.key = idle.key)
    INSERT INTO claimgate.retired(key, fence) SELECT key, fence FROM idle WHERE fence > 0
    ON CONFLICT (key) DO UPDATE SET fence = greatest(retired.fence, excluded.fence)";

impl PostgresLedger {
    /// Takes out what need not be kept.
    pub(super) async fn prune(&self) -> Result<(), LedgerError> {
        let (shared, keep) = (&self.shared, self.shared.options.keep);
        let now = self.time(shared.options.clock.now());
        let before = |span: Duration| now.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
        let (oldest, refusals) = (before(keep.history), stored(keep.refusals as u64));
        self.take_out(LINES, &[&oldest, &MOST]).await?;
        self.take_out(REFUSALS, &[&refusals, &MOST]).await?;
        self.take_out(ATTEMPTS, &[&oldest, &MOST]).await?;
        if shared.is_due_for_idle_items(shared.options.clock.boot(), LOOK_FOR_IDLE_EACH) {
            self.take_out(ITEMS, &[&before(IDLE), &MOST]).await?;
        }
        Ok(())
    }

    async fn take_out(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<(), LedgerError> {
        let link = self.reader().await?;
        let done = link.client.execute(sql, values).await;
        done.map(drop).map_err(|error| LedgerError::Unavailable(in_full(&error)))
    }

    /// The oldest line that is there says how far it has come: everything before it is in the audit only.
    pub(super) async fn pruned_until(&self) -> Result<Pruned, LedgerError> {
        let link = self.reader().await?;
        let sql =
            "SELECT min(at) FILTER (WHERE refusal), min(at) FILTER (WHERE NOT refusal), coalesce(min(seq) > 1, false)
            FROM claimgate.audit WHERE gate = $1";
        let gate = column(self.identity().0.as_str());
        let row = link.client.query_one(sql, &[&gate]).await;
        let row = row.map_err(|error| LedgerError::Unavailable(in_full(&error)))?;
        if !row.get::<_, bool>(2) {
            return Ok(Pruned::default());
        }
        let time = |column: usize| row.get::<_, Option<i64>>(column).map(Time);
        Ok(Pruned { refusals: time(0), all: time(1) })
    }
}
