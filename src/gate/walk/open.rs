//! T1: an attempt for each item is in the ledger, or none (manual: protocol, step 4).

use super::super::refusal::{self, whole_seconds};
use super::exits::some_of;
use super::notes::authority;
use super::{EarlyExit, Item, OpenAttempt, Opened, TurnContext, Walk};
use crate::admission::{Refused, Step};
use crate::dialect::Request as _;
use crate::effect::{Decision, Durability, LedgerError, Rivals, failpoint};
use crate::gate::cancellation::Cancellation;
use crate::model::{Attempt, Caller, Code, Place, Rejection};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at whether another gate's attempt is over: the first pause, and the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

impl Walk {
    /// A request that has to wait for another gate runs the whole of it anew each time: nothing that was true before the
    /// wait need be so after it.
    pub(super) async fn open<'t>(
        &self,
        at: &TurnContext<'_>,
        mut items: Vec<Item<'t>>,
        cancellation: &Cancellation,
    ) -> Result<Vec<Opened<'t>>, EarlyExit> {
        let (mut looks, mut pause) = (0, SHORTEST_PAUSE);
        // What a call of the claims API has done before stays done, whether or not its client waits.
        let is_first = cancellation.is_open();
        loop {
            // An abandoned release must not strike a later claim.
            self.commit(cancellation)?;
            failpoint::reach("t1.before");
            let attempts: Vec<Attempt> = items.iter().map(|item| self.attempt(item, &at.party.caller)).collect();
            let entries: Vec<OpenAttempt> =
                attempts.iter().map(|attempt| self.entry(attempt, &at.party.caller)).collect();
            let open = |attempt: Attempt| {
                let (key, locator) = (attempt.key.clone(), attempt.locator.clone());
                self.command(&key, &locator, Step::Open(attempt), None)
            };
            let batch = attempts.into_iter().map(open).collect();
            match self.gate.ports.ledger.commit(batch, Durability::Awaited).await {
                Ok(records) => {
                    let opened = items.into_iter().zip(&entries).zip(records);
                    let opened = opened
                        .map(|((item, entry), record)| Opened { item, attempt: entry.attempt.clone(), record })
                        .collect();
                    *self.entered() = entries;
                    return Ok(opened);
                }
                // Without a service token doubt ends by the next request's credential; by a read that begins after its time.
                Err(LedgerError::Refused(Refused::InDoubt(left))) if looks == 0 || (looks == 1 && left.is_zero()) => {
                    looks += 1;
                    self.resolve_doubts(at, &mut items).await?;
                }
                Err(LedgerError::Refused(Refused::Busy)) if self.is_busy_elsewhere(&items).await? => {
                    if is_first && !cancellation.reset() {
                        return Err(EarlyExit::Gone);
                    }
                    self.wait_for_rivals(at, &items, &mut pause).await?;
                    looks = 0;
                }
                Err(error) => return Err(EarlyExit::Refuse(self.not_opened(&items, &error).await)),
            }
        }
    }

    /// Whether an attempt of another gate is in the way, and not one of this gate's own.
    async fn is_busy_elsewhere(&self, items: &[Item<'_>]) -> Result<bool, EarlyExit> {
        self.rivals(items).await.map(|rivals| rivals != Rivals::Own)
    }

    async fn rivals(&self, items: &[Item<'_>]) -> Result<Rivals, EarlyExit> {
        let keys = items.iter().map(|item| item.key.clone()).collect();
        let rivals = self.gate.ports.ledger.look_at_rivals(keys, self.doubt_period()).await;
        rivals.map_err(|error| EarlyExit::Refuse(Self::not_entered(&self.request().locator(), &error)))
    }

    /// Waits until the items seem to be free, or the time for it is over.
    async fn wait_for_rivals(
        &self,
        at: &TurnContext<'_>,
        items: &[Item<'_>],
        pause: &mut Duration,
    ) -> Result<(), EarlyExit> {
        loop {
            if Instant::now() + *pause > at.until {
                return Err(EarlyExit::Refuse(self.late()));
            }
            if self.rivals(items).await? == Rivals::Gone {
                return Ok(());
            }
            tokio::time::sleep(*pause).await;
            *pause = (*pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    fn late(&self) -> Box<Rejection> {
        let locator = self.request().locator();
        let message = format!("{locator}: a write by another gate took too long; nothing was sent; try again");
        let rejection = refusal::retry(Code::LaneTimeout, &locator, message, Duration::from_secs(1));
        Box::new(Rejection { of_item: self.request().is_about_one(), ..*rejection })
    }

    async fn resolve_doubts(&self, at: &TurnContext<'_>, items: &mut [Item<'_>]) -> Result<(), EarlyExit> {
        for item in items {
            // A form's were read in their turns.
            let read = match item.read.take().filter(|_| self.is_form()) {
                Some(read) => read,
                None => self.read(&item.address, "observe").await?,
            };
            if read.seen.key != item.key {
                return Err(EarlyExit::Moved);
            }
            self.gate.resolve_by(&item.key, (&read.seen, read.began), item.turn, &at.party.rules).await;
            item.read = Some(read);
        }
        Ok(())
    }

    pub(super) fn attempt(&self, item: &Item<'_>, caller: &Caller) -> Attempt {
        let id = self.gate.ports.entropy.attempt_id(self.gate.ports.clock.now());
        let locator = match item.read.as_ref().filter(|_| self.is_form()) {
            Some(read) => read.seen.locator.clone(),
            None => item.locator(),
        };
        self.gate.attempt(id, (&item.key, &locator), caller, &item.change)
    }

    /// What is known of an attempt as long as it is not settled.
    pub(super) fn entry(&self, attempt: &Attempt, caller: &Caller) -> OpenAttempt {
        let (key, locator, id) = (attempt.key.clone(), attempt.locator.clone(), attempt.id.clone());
        let authority = authority(&self.rules, caller);
        OpenAttempt { key, locator, attempt: id, decision: Decision::Admit, authority }
    }

    async fn not_opened(&self, items: &[Item<'_>], error: &LedgerError) -> Box<Rejection> {
        match error {
            LedgerError::Refused(refused) if !self.request().is_about_one() && *refused != Refused::Fenced => {
                self.closed(items).await
            }
            error => Self::not_entered(&self.request().locator(), error),
        }
    }

    pub(super) fn not_entered(locator: &Place, error: &LedgerError) -> Box<Rejection> {
        match error {
            LedgerError::Refused(Refused::InDoubt(left)) => {
                let message = format!(
                    "a write of {locator} was sent and its outcome is not known yet; it is closed for another {} s. If that \
                     write is yours, repeat the same request, or wait; else come back then, or pick another item",
                    whole_seconds(*left)
                );
                refusal::retry(Code::InDoubt, locator, message, *left)
            }
            LedgerError::Refused(Refused::Fenced) => refusal::fenced(locator),
            LedgerError::Refused(_) => {
                refusal::plain(Code::Busy, locator, format!("another write of {locator} is under way; try again"))
            }
            LedgerError::Unavailable(why) => refusal::no_ledger(locator, why),
        }
    }

    /// Which of several items are in doubt, or under way elsewhere.
    async fn closed(&self, items: &[Item<'_>]) -> Box<Rejection> {
        let now = self.gate.ports.clock.now();
        let (mut names, mut left, mut doubtful) = (Vec::new(), Duration::ZERO, false);
        for item in items {
            let Ok(Some(record)) = self.gate.ports.ledger.item(&item.key).await else { continue };
            if record.live.is_some() || !record.doubts.is_empty() {
                names.push(record.locator.to_string());
                doubtful |= record.live.is_none();
                left = left.max(record.doubt_left(now));
            }
        }
        let code = if doubtful { Code::InDoubt } else { Code::Busy };
        let message = if doubtful {
            format!(
                "the outcome of a write of {} is not known yet, for another {} s; nothing was sent",
                some_of(&names),
                left.as_secs()
            )
        } else {
            format!("another write of {} is under way; nothing was sent; try again", some_of(&names))
        };
        Box::new(Rejection { retry_after: doubtful.then_some(left), ..Rejection::of_request(code, message) })
    }
}
