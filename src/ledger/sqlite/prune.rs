//! What the ledger does not keep: lines that were printed are in the audit, and there is no end of them.
//!
//! The writer deletes a few with each group, about twice as many as it adds, so that the file stays as large as it is and
//! no commit waits for many. Refusals go first: nothing hangs on them. The newest line stays, since the chain goes on from
//! its hash. A file that is too large for what is in it does not shrink; its room is used again.

use super::Retention;
use super::store::{Store, stored};
use crate::effect::{LedgerError, Pruned};
use crate::model::Time;
use rusqlite::{Row, params};
use serde::Deserialize;

/// Lines looked at with each mark of what was printed, whatever was added.
pub(super) const WITH_A_MARK: usize = 256;

/// What is known of a line by itself.
#[derive(Deserialize)]
struct Printed {
    time: Option<String>,
    decision: Option<String>,
    id: Option<String>,
    resource_id: Option<String>,
}

// === impl Store ===

impl Store {
    /// Deletes what need not be kept, and looks at so many lines at most for each reason. In the writer's transaction.
    pub(super) fn prune(&self, keep: Retention, now: Time, most: usize) -> Result<(), LedgerError> {
        if most == 0 {
            return Ok(());
        }
        let (printed, newest) = (self.printed()?, self.newest_line());
        let refusals = newest.saturating_sub(keep.refusals as u64).min(printed);
        self.prune_refusals(refusals, most)?;
        self.prune_old(printed.min(newest.saturating_sub(1)), now.0.saturating_sub(micros(keep.history)), most)
    }

    /// How far it has come.
    pub(super) fn pruned(&self) -> Result<Pruned, LedgerError> {
        let time = |name| Ok::<_, LedgerError>(self.number(name)?.map(Time));
        Ok(Pruned { refusals: time("pruned_refusals_at")?, all: time("pruned_at")? })
    }

    /// Refusals up to this line.
    fn prune_refusals(&self, until: u64, most: usize) -> Result<(), LedgerError> {
        let done = self.number("pruned_refusals")?.unwrap_or(0).unsigned_abs();
        if done >= until {
            return Ok(());
        }
        let lines = self.lines_between(done, until, most)?;
        let mut newest = None;
        for (seq, text) in &lines {
            let Some(line) = read(text).filter(|line| line.decision.as_deref() == Some("reject")) else { continue };
            self.forget(*seq, &line, "settled IS NOT NULL AND state IN ('REJECTED', 'ABORTED')")?;
            newest = line.at().or(newest);
        }
        // Long lines of older versions are read a few at a time.
        let done = lines.last().map_or(until, |(seq, _)| *seq);
        self.set_number("pruned_refusals", stored(done))?;
        newest.map_or(Ok(()), |at| self.set_number("pruned_refusals_at", at))
    }

    /// Whatever is older than this, up to this line. Lines stand in the order of their times.
    fn prune_old(&self, until: u64, oldest: i64, most: usize) -> Result<(), LedgerError> {
        let is_old = |(_, text): &(u64, String)| read(text).is_none_or(|line| line.at().is_none_or(|at| at < oldest));
        if !self.lines_between(0, until, 1)?.first().is_some_and(is_old) {
            return Ok(());
        }
        let mut newest = None;
        for (seq, text) in self.lines_between(0, until, most)? {
            match read(&text) {
                // What is no line of ours says nothing, and was printed.
                None => self.execute("DELETE FROM audit WHERE seq = ?1", [stored(seq)])?,
                Some(line) if line.at().is_some_and(|at| at >= oldest) => break,
                Some(line) => {
                    self.forget(seq, &line, "settled IS NOT NULL")?;
                    newest = line.at().or(newest);
                }
            }
        }
        newest.map_or(Ok(()), |at| self.set_number("pruned_at", at))
    }

    /// Deletes a line, and the attempt that it is about where that is such a one.
    fn forget(&self, seq: u64, line: &Printed, which: &str) -> Result<(), LedgerError> {
        if let (Some(key), Some(id)) = (&line.resource_id, &line.id) {
            let sql = format!("DELETE FROM attempt WHERE key = ?1 AND id = ?2 AND {which}");
            self.execute(&sql, params![key, id])?;
        }
        self.execute("DELETE FROM audit WHERE seq = ?1", [stored(seq)])
    }

    fn lines_between(&self, after: u64, until: u64, most: usize) -> Result<Vec<(u64, String)>, LedgerError> {
        let sql = "SELECT seq, line FROM audit WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?));
        let bounds = params![stored(after), stored(until), stored(most as u64)];
        self.rows_within(sql, bounds, read, |(_, line): &(u64, String)| line.len())
    }
}

// === impl Printed ===

impl Printed {
    fn at(&self) -> Option<i64> {
        self.time.as_deref()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
    }
}

fn read(line: &str) -> Option<Printed> {
    serde_json::from_str(line).ok()
}

fn micros(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
