//! What the ledger does not keep: lines that were printed are in the audit, and there is no end of them.
//!
//! Each gate takes its own lines out, a few with each heartbeat, and any gate final attempts. The newest line stays, since
//! the chain goes on from its hash.

use super::PostgresLedger;
use super::connect::in_full;
use super::rows::{column, stored};
use crate::effect::{LedgerError, Membership as _, Pruned};
use crate::model::Time;

/// At most with each heartbeat: 2,500 a second.
const MOST: i64 = 5_000;
const LINES: &str = "DELETE FROM claimgate.audit a USING (
        SELECT o.gate, o.seq FROM claimgate.audit o JOIN claimgate.gate g ON g.name = o.gate
        WHERE o.gate = $1 AND o.seq <= g.printed AND o.seq < g.seq AND (o.at < $2 OR (o.refusal AND o.seq <= $3))
        ORDER BY o.seq LIMIT $4) d
    WHERE a.gate = d.gate AND a.seq = d.seq";
const ATTEMPTS: &str = "DELETE FROM claimgate.attempt a USING (
        SELECT key, id FROM claimgate.attempt WHERE settled < $1 LIMIT $2 FOR UPDATE SKIP LOCKED) d
    WHERE a.key = d.key AND a.id = d.id";

impl PostgresLedger {
    /// Takes out what need not be kept.
    pub(super) async fn prune(&self) -> Result<(), LedgerError> {
        let (shared, gate) = (&self.shared, column(self.identity().0.as_str()));
        let (keep, newest) = (shared.options.keep, *shared.newest.borrow());
        let now = self.time(shared.options.clock.now());
        let oldest = now.0.saturating_sub(i64::try_from(keep.history.as_micros()).unwrap_or(i64::MAX));
        let refusals = stored(newest.saturating_sub(keep.refusals as u64));
        let link = self.reader().await?;
        let failed = |error: tokio_postgres::Error| LedgerError::Unavailable(in_full(&error));
        link.client.execute(LINES, &[&gate, &oldest, &refusals, &MOST]).await.map_err(failed)?;
        link.client.execute(ATTEMPTS, &[&oldest, &MOST]).await.map(drop).map_err(failed)
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
