//! The heartbeat of an idle gate: one statement that says that it is alive, and hears what all gates should know.
//!
//! It need not be on disk, so it leaves the tick as it is: what a database loses of heartbeats is no loss.

use super::{GroupFailure, GroupWriter};
use crate::admission::{Mode, Part, Refused, Switched};
use crate::effect::{LedgerError, SharedModes};
use crate::ledger::postgres::connect::{Link, Role, in_full};
use crate::ledger::postgres::members::{self, Unusable};
use crate::ledger::postgres::rows::stored;
use crate::ledger::postgres::{try_enter, unavailable};
use crate::model::{BootTime, Time};
use std::sync::atomic::Ordering;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

/// What the others see, and whose it is to watch: who has done so goes on while it may judge others, and somebody else once
/// it is silent.
pub(super) const BEAT: &str = "WITH own AS (
        UPDATE claimgate.gate SET beat = clock_timestamp(), mode_rev = $4
        WHERE name = $1 AND epoch = $2 AND tick = $3 AND state IN ('up', 'leaving') RETURNING 1),
    watch AS (
        UPDATE claimgate.chore SET gate = $1, until = clock_timestamp() + interval '6 s'
        WHERE name = 'watch' AND (gate = $1 AND $5 OR until < clock_timestamp()) AND EXISTS (SELECT 1 FROM own) RETURNING 1)
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, m.era, m.mode_rev,
        EXISTS (SELECT 1 FROM own), EXISTS (SELECT 1 FROM watch), m.open
    FROM claimgate.meta m";

/// What a heartbeat hears.
struct Heard {
    clock: Time,
    era: i64,
    modes: i64,
    is_in_force: bool,
    is_watcher: bool,
    is_open: bool,
}

impl GroupWriter {
    /// Says that this gate is alive; connects, and joins, where it has not yet.
    pub(super) async fn beat(&mut self) -> Result<(), LedgerError> {
        if let Err(error) = self.connect().await {
            if let LedgerError::Unavailable(why) = &error {
                self.shared.waits_for(why);
            }
            return Err(error);
        }
        let mut sent = self.shared.options.clock.boot();
        let mut answer = self.ask_beat().await;
        if answer.is_err() {
            // A connection that has ended is only found out by its use.
            self.link = None;
            self.connect().await?;
            sent = self.shared.options.clock.boot();
            answer = self.ask_beat().await;
        }
        let heard = answer.map_err(|error| LedgerError::Unavailable(in_full(&error)))?;
        let Some(heard) = heard else { return Err(unavailable("the ledger has no row of its own")) };
        if let Some(jump) = self.clock_jump(heard.clock, sent) {
            self.stop_at_jump(jump).await;
            return self.connect().await.map(drop);
        }
        if !heard.is_in_force {
            // Connecting anew finds out whether it was declared fallen, and joins again.
            self.link = None;
            return Err(Refused::Fenced.into());
        }
        self.shared.hears(heard.is_watcher, heard.is_open);
        if heard.modes != self.shared.modes.borrow().revision {
            self.hear_modes(heard.modes).await?;
        }
        if self.kept != self.tail.tick {
            self.shared.options.gate.keep_tail(&self.tail);
            self.kept = self.tail.tick;
        }
        if heard.era != self.shared.era() {
            self.link = None;
            self.connect().await?;
        }
        Ok(())
    }

    async fn ask_beat(&self) -> Result<Option<Heard>, Error> {
        let Some(link) = &self.link else { return Ok(None) };
        let author = self.shared.author();
        let (name, epoch, carried) =
            (author.gate.as_str(), stored(author.epoch.0), self.shared.carried.load(Ordering::Acquire));
        let may_judge = self.shared.may_judge();
        let values: [&(dyn ToSql + Sync); 5] = [&name, &epoch, &self.tail.tick, &carried, &may_judge];
        let (begun, rows, committed) = tokio::join!(
            link.client.batch_execute("BEGIN; SET LOCAL synchronous_commit = off"),
            link.rows(BEAT, true, &values),
            link.client.batch_execute("COMMIT"),
        );
        begun?;
        let heard = rows?.first().map(heard);
        committed?;
        Ok(heard)
    }

    /// The modes that an operator has switched for all gates.
    async fn hear_modes(&mut self, revision: i64) -> Result<(), LedgerError> {
        let Some(link) = &self.link else { return Ok(()) };
        let rows = link.client.query("SELECT part, mode FROM claimgate.mode", &[]).await;
        let rows = rows.map_err(|error| LedgerError::Unavailable(in_full(&error)))?;
        let mut switched = Switched::default();
        for row in &rows {
            // What a newer claimgate has switched is not known here.
            let (part, mode) = (Part::parse(row.get(0)), Mode::parse(row.get(1)));
            if let (Some(part), Some(mode)) = (part, mode) {
                switched.switch(&[part], mode);
            }
        }
        self.shared.modes.send_replace(SharedModes { revision, switched });
        Ok(())
    }

    // === the database's clock ===

    /// By how much the database's clock was set since this gate looked at it last.
    pub(super) fn clock_jump(&self, clock: Time, sent: BootTime) -> Option<i64> {
        let seen = self.shared.read_clock(clock, sent);
        let jump = self.shared.clock_jump(seen);
        if jump.is_none() {
            self.shared.keep_clock(Some(seen));
        }
        jump
    }

    /// Closes the ledger until whatever is in doubt is so for a whole period by the clock as it is now.
    pub(super) async fn stop_at_jump(&mut self, jump: i64) -> GroupFailure {
        const WHY: &str = "the database's clock was set";
        drop(self.rollback().await);
        if self.role == Role::Entry {
            // The other writer sees it, too, and that one's word is on disk.
            return GroupFailure::Refused(unavailable(WHY));
        }
        tracing::warn!(seconds = jump / 1_000_000, "{WHY}: whatever is in doubt is so for a whole period from now");
        if let Some(link) = self.link.take()
            && let Err(error) = members::clock_was_set(&link, self.shared.era(), self.shared.options.doubt_period).await
        {
            return GroupFailure::Again(in_full(&error));
        }
        GroupFailure::Again(WHY.to_owned())
    }

    // === joining ===

    /// A connection of a gate that was started before its database was there.
    pub(super) async fn join(&mut self) -> Result<Link, Unusable> {
        const NOT_YET: &str = "this gate has not joined the ledger yet";
        if self.role == Role::Entry {
            return Err(Unusable::NotYet(NOT_YET.to_owned()));
        }
        let entered = try_enter(&self.shared.database, &self.shared.options).await;
        let (link, joined) = entered.map_err(|error| Unusable::NotYet(error.to_string()))?;
        self.tail = joined.tail.clone();
        self.shared.joined(&joined, &link.facts.lineage);
        Ok(link)
    }
}

fn heard(row: &Row) -> Heard {
    Heard {
        clock: Time(row.get(0)),
        era: row.get(1),
        modes: row.get(2),
        is_in_force: row.get(3),
        is_watcher: row.get(4),
        is_open: row.get(5),
    }
}
