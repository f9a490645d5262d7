//! This gate among those that share the ledger, as the port says it.

use super::connect::{Link, in_full};
use super::writer::WriterJob;
use super::{PATIENCE, PostgresLedger, members, unavailable};
use crate::admission::{Mode, Part};
use crate::effect::{BoxFuture, HEARTBEAT, LedgerError, Membership, ModeSpread, Rivals, SharedModes};
use crate::model::{Epoch, GateId, ResourceKey, Time};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether the database keeps what it acknowledges, and takes commits at all, while nothing is
/// committed.
const LOOK_EACH: Duration = Duration::from_secs(8);
/// How long somebody who switches a mode waits for the other gates.
const SPREAD_WITHIN: Duration = Duration::from_secs(10);
const SPREAD_EACH: Duration = Duration::from_millis(200);

impl Membership for PostgresLedger {
    fn identity(&self) -> (GateId, Epoch) {
        self.shared.identity()
    }

    fn has_joined(&self) -> Result<(), LedgerError> {
        self.shared.has_begun()
    }

    fn is_watcher(&self) -> bool {
        self.shared.is_watcher()
    }

    fn admits_early_reads(&self) -> bool {
        false
    }

    fn time(&self, own: Time) -> Time {
        self.shared.time(own)
    }

    fn heartbeat(&self) -> Option<Duration> {
        Some(HEARTBEAT)
    }

    fn beat(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            let sent = self.shared.options.clock.boot();
            self.ask_writer(&self.durable, WriterJob::Beat).await?;
            self.shared.beaten(sent);
            if self.shared.has_begun().is_err() {
                self.begin().await?;
            }
            Ok(())
        })
    }

    fn rejoin(&self, doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            // The writer joins again with its next connection, unless somebody else goes by this gate's name.
            self.ask(&self.durable, WriterJob::Beat).await?;
            self.sweep(doubt_period).await
        })
    }

    fn recover_fallen(&self, doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            self.reopen().await?;
            if !self.shared.is_watcher() {
                return Ok(());
            }
            self.judge().await?;
            self.sweep(doubt_period).await?;
            self.prune().await
        })
    }

    fn look_at_rivals(
        &self,
        items: Vec<ResourceKey>,
        doubt_period: Duration,
    ) -> BoxFuture<'_, Result<Rivals, LedgerError>> {
        Box::pin(async move {
            let mut rivals = self.rivals_of(&items).await?;
            if rivals.iter().any(|rival| rival.is_silent) {
                self.judge().await?;
                rivals = self.rivals_of(&items).await?;
            }
            let (ended, alive): (Vec<_>, Vec<_>) = rivals.into_iter().partition(|rival| rival.has_ended);
            if !ended.is_empty() {
                self.recover(ended, doubt_period).await?;
            }
            let own = self.shared.identity().0;
            Ok(match alive.as_slice() {
                [] => Rivals::Gone,
                alive if alive.iter().any(|rival| rival.gate == own) => Rivals::Own,
                _ => Rivals::Elsewhere,
            })
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async {
            let (gate, epoch) = self.shared.identity();
            let link = self.reader().await?;
            members::leave(&link, &gate, epoch).await.map_err(|error| LedgerError::Unavailable(in_full(&error)))
        })
    }

    fn shared_modes(&self) -> Option<watch::Receiver<SharedModes>> {
        Some(self.shared.modes.subscribe())
    }

    fn carries_modes(&self, revision: i64) {
        self.shared.carried.store(revision, Ordering::Release);
    }

    fn switch_modes<'a>(
        &'a self,
        parts: &'a [Part],
        mode: Mode,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Option<ModeSpread>, LedgerError>> {
        Box::pin(async move {
            let link = self.reader().await?;
            let revision = put_modes(&link, (parts, mode), by).await.map_err(|error| failed(&error))?;
            let until = tokio::time::Instant::now() + SPREAD_WITHIN;
            loop {
                // This gate hears of it by its own heartbeat.
                self.beat().await?;
                let spread = spread(&*self.reader().await?, revision).await.map_err(|error| failed(&error))?;
                if spread.missing.is_empty() || tokio::time::Instant::now() >= until {
                    return Ok(Some(spread));
                }
                tokio::time::sleep(SPREAD_EACH).await;
            }
        })
    }
}

/// Written down for all gates; returns the number of the switch.
async fn put_modes(link: &Link, (parts, mode): (&[Part], Mode), by: &str) -> Result<i64, tokio_postgres::Error> {
    let names: Vec<&str> = parts.iter().map(|part| part.as_str()).collect();
    let sql = "WITH switch AS (UPDATE claimgate.meta SET mode_rev = mode_rev + 1 RETURNING mode_rev),
        put AS (
            INSERT INTO claimgate.mode(part, mode, rev, who)
            SELECT part, $2, switch.mode_rev, $3 FROM unnest($1::text[]) AS part, switch
            ON CONFLICT (part) DO UPDATE SET mode = excluded.mode, rev = excluded.rev, who = excluded.who,
                at = excluded.at)
        SELECT mode_rev FROM switch";
    let row = link.client.query_one(sql, &[&names, &mode.as_str(), &super::rows::column(by)]).await?;
    Ok(row.get(0))
}

/// Which gates carry a switch, and which do not yet.
async fn spread(link: &Link, revision: i64) -> Result<ModeSpread, tokio_postgres::Error> {
    let sql = "SELECT name, mode_rev >= $1 FROM claimgate.gate WHERE state IN ('up', 'leaving') ORDER BY name";
    let mut spread = ModeSpread::default();
    for row in link.client.query(sql, &[&revision]).await? {
        if row.get(1) {
            spread.gates += 1;
        } else {
            spread.missing.push(row.get(0));
        }
    }
    Ok(spread)
}

fn failed(error: &tokio_postgres::Error) -> LedgerError {
    LedgerError::Unavailable(in_full(error))
}

impl PostgresLedger {
    /// What a new life does first, before anything is entered.
    pub(super) async fn begin(&self) -> Result<(), LedgerError> {
        let doubt_period = self.shared.options.doubt_period;
        self.start_alone().await?;
        self.sweep(doubt_period).await?;
        self.shared.begins();
        let (gate, epoch) = self.shared.identity();
        tracing::info!(gate = gate.as_str(), epoch = epoch.0, "joined the gates that share the ledger");
        Ok(())
    }

    /// Whether the database takes commits, and keeps them. Something of this gate that was committed lately answers the one.
    pub(super) async fn look_at_database(&self) -> Result<(), LedgerError> {
        self.shared.has_begun()?;
        if self.shared.is_in_trouble() || !self.shared.is_open() || !self.shared.has_committed_within(LOOK_EACH) {
            self.ask(&self.durable, WriterJob::Flush).await?;
        }
        self.look_at_durability().await?;
        self.shared.is_fit()
    }

    /// What keeps a commit may be switched off, and a standby may go or come, while connections last.
    async fn look_at_durability(&self) -> Result<(), LedgerError> {
        let now = self.shared.options.clock.boot();
        if !self.shared.is_due_for_a_look(now, LOOK_EACH) {
            return Ok(());
        }
        let link = self.reader().await?;
        let demands = self.shared.options.demands;
        let judged = tokio::time::timeout(PATIENCE, link.look_again(demands)).await;
        let judged = judged.map_err(|_| unavailable("the database has not answered in time"))?;
        self.shared.judged(judged.map_err(|error| failed(&error))?.err().map(|unfit| unfit.to_string()));
        Ok(())
    }
}
