//! What an operator does with a shared ledger, beside the gates that run: make its tables, list its gates, accept a loss,
//! and take over what one gate's file holds.

use super::connect::{Database, Link, LinkError, Role, in_full};
use super::members::{self, GateMember};
use super::reads::ACTIVE;
use super::{Demands, OpenError, rows, schema};
use crate::admission::{Stamp, Step, apply};
use crate::ledger::sqlite::LedgerFile;
use crate::model::{Epoch, GateId, ItemRecord, OnceEntry, Standing, Time};
use secrecy::SecretString;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::Error;

/// Lines read at once.
const PAGE: i64 = 2_000;

/// A connection to the shared ledger that joins nothing.
pub struct SharedLedger {
    link: Link,
}

/// What was taken over from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Items.
    pub items: usize,
    /// Who is at work by the singleton rules.
    pub leases: usize,
    /// What was created once.
    pub once: usize,
}

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("{0}")]
    File(String),
    /// The shared ledger.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// It is in use, or holds something.
    #[error("{0}")]
    NotEmpty(&'static str),
}

// === impl SharedLedger ===

impl SharedLedger {
    /// Connects.
    pub async fn connect(
        url: &str,
        password: Option<&SecretString>,
        ca_file: Option<&Path>,
        demands: Demands,
    ) -> Result<Self, OpenError> {
        let database = Database::parse(url, password, ca_file, demands)?;
        let link = database.connect(Role::Durable).await.map_err(|error| match error {
            LinkError::Unfit(unfit) => OpenError::Unfit { ledger: database.name(), unfit },
            LinkError::Unreachable(why) => OpenError::Unavailable(format!("{}: {why}", database.name())),
        })?;
        Ok(Self { link })
    }

    /// Brings the tables to this program's version; says from which, and to which. There are none before version 1.
    pub async fn migrate(&self, fingerprint_key: &[u8]) -> Result<(i32, i32), OpenError> {
        let found = schema::migrate(&self.link, fingerprint_key).await?;
        Ok((found, schema::VERSION))
    }

    /// Every gate that ever joined.
    pub async fn gates(&self) -> Result<Vec<GateMember>, OpenError> {
        members::list(&self.link).await.map_err(unavailable)
    }

    /// Every item that is held or in doubt.
    pub async fn active(&self) -> Result<Vec<ItemRecord>, OpenError> {
        let rows = self.link.client.query(ACTIVE, &[]).await.map_err(unavailable)?;
        let read = |row| rows::read_item(row).map_err(|error| OpenError::Unavailable(error.to_string()));
        rows.iter().filter_map(|row| read(row).transpose()).collect()
    }

    /// Every audit line that is kept, of all gates, in the order of their times.
    pub async fn each_line(&self, tell: &mut dyn FnMut(&str)) -> Result<(), OpenError> {
        let mut gates = Vec::new();
        for gate in self.gates().await? {
            gates.push(LinesOfGate::first(&self.link, gate.name).await.map_err(unavailable)?);
        }
        loop {
            let heads = gates.iter().enumerate().filter_map(|(at, gate)| Some((gate.page.front()?.0, at)));
            let Some((_, at)) = heads.min() else { return Ok(()) };
            if let Some((_, line)) = gates[at].page.pop_front() {
                tell(&line);
            }
            gates[at].refill(&self.link).await.map_err(unavailable)?;
        }
    }

    /// A gate's audit lines after this one, in order; a page of them.
    pub async fn lines_of(&self, gate: &str, after: u64) -> Result<Vec<(u64, String)>, OpenError> {
        let sql = "SELECT seq, line FROM claimgate.audit WHERE gate = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let rows = self.link.client.query(sql, &[&rows::column(gate), &rows::stored(after), &PAGE]).await;
        let line = |row: &tokio_postgres::Row| (row.get::<_, i64>(0).unsigned_abs(), row.get(1));
        Ok(rows.map_err(unavailable)?.iter().map(line).collect())
    }

    /// A gate's lines up to this one are in somebody's hands: the ledger need not keep them.
    pub async fn mark_printed(&self, gate: &str, seq: u64) -> Result<(), OpenError> {
        let sql = "UPDATE claimgate.gate SET printed = greatest(printed, $2) WHERE name = $1";
        let done = self.link.client.execute(sql, &[&rows::column(gate), &rows::stored(seq)]).await;
        done.map(drop).map_err(unavailable)
    }

    /// Takes the database as it is for the ledger, whatever it has lost: the gates go on with it after the doubt period.
    /// Says what the ledger had said was wrong.
    pub async fn accept(&self, doubt_period: Duration) -> Result<Option<String>, OpenError> {
        let sql = "WITH before AS (SELECT lost FROM claimgate.meta)
            UPDATE claimgate.meta m SET system = $1, timeline = $2, lost = NULL, open = false, era = era + 1, postpone = true,
                accepted = era + 1, reopen_at = clock_timestamp() + make_interval(secs => $3)
            FROM before RETURNING before.lost";
        let facts = &self.link.facts.lineage;
        let row = self.link.client.query_one(sql, &[&facts.system, &facts.timeline, &doubt_period.as_secs_f64()]).await;
        Ok(row.map_err(unavailable)?.get(0))
    }

    /// Takes over what a gate's file holds, offline and once: holdings, doubts, who is at work, what was created, and the
    /// key of credentials' fingerprints.
    pub async fn import(
        &self,
        file: &LedgerFile,
        fingerprint_key: &[u8],
        (now, doubt_period): (Time, Duration),
    ) -> Result<Imported, ImportError> {
        let read = |error: crate::effect::LedgerError| ImportError::File(error.to_string());
        let mut items = file.items().map_err(read)?;
        for record in &mut items {
            recover(record, now, doubt_period);
        }
        let mut once = file.once().map_err(read)?;
        for entry in &mut once {
            doubt(entry, now, doubt_period);
        }
        let leases = file.leases().map_err(read)?;
        let imported = Imported { items: items.len(), leases: leases.len(), once: once.len() };
        let done = self.write(rows::Group::of(now, items, leases, once), fingerprint_key).await;
        done.map_err(unavailable)?.map_err(ImportError::NotEmpty)?;
        Ok(imported)
    }

    async fn write(&self, group: rows::Group, fingerprint_key: &[u8]) -> Result<Result<(), &'static str>, Error> {
        let client = &self.link.client;
        client.batch_execute("BEGIN; SET LOCAL statement_timeout = '10min'; LOCK TABLE claimgate.meta").await?;
        let sql = "SELECT EXISTS (SELECT 1 FROM claimgate.item WHERE record IS NOT NULL),
            EXISTS (SELECT 1 FROM claimgate.gate WHERE state IN ('up', 'leaving'))";
        let row = client.query_one(sql, &[]).await?;
        let refused = match (row.get(0), row.get(1)) {
            (true, _) => Some("the shared ledger has items already: a file is taken over once, into an empty one"),
            (_, true) => Some("gates are running on the shared ledger: stop them first"),
            (false, false) => None,
        };
        if let Some(why) = refused {
            client.batch_execute("ROLLBACK").await?;
            return Ok(Err(why));
        }
        group.import(&self.link).await?;
        client.execute("UPDATE claimgate.meta SET fp_key = $1", &[&fingerprint_key]).await?;
        client.batch_execute("COMMIT").await?;
        Ok(Ok(()))
    }
}

/// What is left to be told of one gate's lines.
struct LinesOfGate {
    name: String,
    after: i64,
    /// With their times.
    page: VecDeque<(i64, String)>,
}

impl LinesOfGate {
    async fn first(link: &Link, name: String) -> Result<Self, Error> {
        let mut lines = Self { name, after: 0, page: VecDeque::new() };
        lines.refill(link).await?;
        Ok(lines)
    }

    async fn refill(&mut self, link: &Link) -> Result<(), Error> {
        if !self.page.is_empty() || self.after == i64::MAX {
            return Ok(());
        }
        let sql = "SELECT seq, at, line FROM claimgate.audit WHERE gate = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let rows = link.client.query(sql, &[&rows::column(&self.name), &self.after, &PAGE]).await?;
        self.after = rows.last().map_or(i64::MAX, |row| row.get(0));
        self.page = rows.iter().map(|row| (row.get(1), row.get(2))).collect();
        Ok(())
    }
}

/// The file's gate has ended: what it sent is in doubt from now, and what it had opened was never sent.
fn recover(record: &mut ItemRecord, now: Time, doubt_period: Duration) {
    let gate = record.live.as_ref().map_or_else(|| GateId::new(""), |live| live.gate.clone());
    let stamp = Stamp { gate: gate.clone(), epoch: Epoch(u64::MAX), now, zombie_period: Duration::MAX };
    let step = Step::Recover { gate, before: Epoch(u64::MAX), doubt_until: now + doubt_period };
    // Nothing refuses a recovery.
    drop(apply(record, &step, &stamp));
}

fn doubt(entry: &mut OnceEntry, now: Time, doubt_period: Duration) {
    if let Standing::Sent { until } = &mut entry.standing {
        *until = now + doubt_period;
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unavailable(error: Error) -> OpenError {
    OpenError::Unavailable(in_full(&error))
}
