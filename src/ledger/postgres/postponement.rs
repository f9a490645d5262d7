//! After the database's clock was set, or may have been: whatever is in doubt is so for a whole period from now, and nothing
//! that was written down lasts longer than if it were written now.
//!
//! It only ever keeps items closed for longer, so that it needs neither a lock of its own nor a fence: two gates that do it
//! at once do the same.

use super::connect::Link;
use super::rows::{Group, Sealed, read_item};
use crate::admission::Step;
use crate::effect::{Batch, Command};
use crate::ledger::codec::record as json;
use crate::ledger::transaction::Author;
use crate::model::{Epoch, GateId, ItemRecord, OnceKey, ProjectLease, Standing, Time};
use std::time::Duration;
use tokio_postgres::Error;

const LASTING: &str = "SELECT key, locator, record, live, at FROM claimgate.item
    WHERE (account IS NOT NULL OR doubt_until IS NOT NULL OR masked) AND key > $1 ORDER BY key LIMIT $2";
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
/// Items of one transaction: others wait for its locks.
const PAGE: i64 = 200;

/// Who does it, and for how long whatever is in doubt is so from now.
pub(super) struct Postponement {
    pub(super) author: Author,
    pub(super) doubt_period: Duration,
    /// For tests in virtual time.
    pub(super) now: Option<Time>,
}

/// Does it if somebody has asked for it.
pub(super) async fn catch_up(link: &Link, postponement: &Postponement) -> Result<(), Error> {
    let row = link.client.query_one("SELECT postpone, era FROM claimgate.meta", &[]).await?;
    if !row.get::<_, bool>(0) {
        return Ok(());
    }
    run(link, postponement).await?;
    // Whoever has asked for it once more meanwhile is not answered by this.
    let era: i64 = row.get(1);
    link.client.execute("UPDATE claimgate.meta SET postpone = false WHERE era = $1", &[&era]).await.map(drop)
}

/// Does it.
pub(super) async fn run(link: &Link, postponement: &Postponement) -> Result<(), Error> {
    let now = match postponement.now {
        Some(now) => now,
        None => Time(link.client.query_one(NOW, &[]).await?.get(0)),
    };
    let until = now + postponement.doubt_period;
    let mut last = String::new();
    loop {
        let rows = link.client.query(LASTING, &[&last, &PAGE]).await?;
        let Some(end) = rows.last() else { break };
        last = end.get(0);
        // One that does not read is closed anyhow.
        let records: Vec<ItemRecord> = rows.iter().filter_map(|row| read_item(row).ok().flatten()).collect();
        let late = records.into_iter().filter(|record| is_late(record, now));
        let commands: Vec<Command> = late.map(|record| recovers(record, now, until)).collect();
        if !commands.is_empty() {
            postpone_items(link, postponement, Batch { items: commands, ..Batch::default() }).await?;
        }
    }
    postpone_creations(link, until).await?;
    shorten_leases(link, now).await
}

fn is_late(record: &ItemRecord, now: Time) -> bool {
    let renewed = record.holding.as_ref().is_some_and(|held| held.renewed > now);
    renewed || !record.doubts.is_empty() || record.late_writes.iter().any(|mask| mask.settled > now)
}

/// What an attempt under way does, is its gate's own concern.
fn recovers(record: ItemRecord, now: Time, doubt_until: Time) -> Command {
    let step = Step::Recover { gate: GateId::new(""), before: Epoch(0), doubt_until };
    Command { key: record.key, locator: record.locator, step, note: None, now }
}

async fn postpone_items(link: &Link, by: &Postponement, mut batch: Batch) -> Result<(), Error> {
    let mut group = Group::begin(link, &by.author, &[&batch], by.now.is_some()).await?;
    // Nothing refuses a recovery; a row that does not read keeps its page as it is.
    if group.run(&mut batch, &by.author).is_ok() {
        group.write(link, &Sealed { gate: "", hash: String::new(), lines: Vec::new() }).await?;
    }
    link.client.batch_execute("COMMIT").await
}

/// What was sent to be created once.
async fn postpone_creations(link: &Link, until: Time) -> Result<(), Error> {
    for row in link.client.query("SELECT key, body FROM claimgate.once WHERE sent", &[]).await? {
        let (key, body): (String, String) = (row.get(0), row.get(1));
        let Ok(mut entry) = json::read_entry(&OnceKey::new(&key), &body) else { continue };
        if let Standing::Sent { until: end } = &mut entry.standing {
            *end = until;
        }
        let sql = "UPDATE claimgate.once SET body = $3 WHERE key = $1 AND body = $2";
        link.client.execute(sql, &[&key, &body, &json::entry(&entry)]).await?;
    }
    Ok(())
}

/// Nobody is at work for longer than if it were written now.
async fn shorten_leases(link: &Link, now: Time) -> Result<(), Error> {
    for row in link.client.query("SELECT rule, project, body FROM claimgate.lease", &[]).await? {
        let (rule, project, body): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let Ok(lease) = json::read_lease(&rule, &project, &body) else { continue };
        if lease.seen <= now {
            continue;
        }
        let until = now + lease.until.since(lease.seen);
        let shorter = json::lease(&ProjectLease { until, ..lease });
        let sql = "UPDATE claimgate.lease SET body = $4 WHERE rule = $1 AND project = $2 AND body = $3";
        link.client.execute(sql, &[&rule, &project, &body, &shorter]).await?;
    }
    Ok(())
}
