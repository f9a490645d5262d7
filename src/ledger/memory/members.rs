//! The gates that share a store in memory: who is alive, which epoch is in force, and what fallen gates left under way.

use super::{Inner, MemoryLedger};
use crate::admission::{Refused, Step};
use crate::effect::{BoxFuture, Command, DEAD_AFTER, HEARTBEAT, LedgerError, Membership, Rivals, TIMELY};
use crate::model::{Attempt, AttemptState, Epoch, GateId, ResourceKey, Time};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A rule of the protocol that a store can be made to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It lets every epoch commit, as if it were in force.
    IgnoresEpochs,
    /// It recovers what a silent gate left, and leaves that gate's epoch in force.
    KeepsTheEpoch,
    /// It settles an attempt that another gate has closed.
    SettlesTwice,
}

/// Every gate that ever joined.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_gate: BTreeMap<GateId, Member>,
    /// Lives that were declared fallen.
    pub(super) fallen: Vec<(GateId, Epoch)>,
}

#[derive(Debug)]
struct Member {
    /// The one in force. What an older one enters or completes is refused.
    epoch: Epoch,
    /// When it last said that it is alive.
    beat: Time,
    /// How many of its heartbeats came in time, one after another.
    timely: u32,
}

/// Of a gate that was declared fallen, and has not joined again.
const NEVER: Time = Time(i64::MAX);

// === impl Members ===

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.by_gate.is_empty()
    }

    /// A new life of this gate. Returns its epoch.
    pub(super) fn join(&mut self, gate: &GateId, now: Time) -> Epoch {
        let before = self.by_gate.get(gate).map_or(0, |member| member.epoch.0);
        let epoch = Epoch(before + 1);
        self.by_gate.insert(gate.clone(), Member { epoch, beat: now, timely: 0 });
        epoch
    }

    /// A life that was declared fallen begins anew, unless somebody else has joined as this gate. Returns its epoch.
    fn rejoin(&mut self, gate: &GateId, fallen: Epoch, now: Time) -> Option<Epoch> {
        let member = self.by_gate.get_mut(gate)?;
        let is_vacant = member.beat == NEVER && member.epoch.0 == fallen.0 + 1;
        is_vacant.then(|| {
            (member.beat, member.timely) = (now, 0);
            member.epoch
        })
    }

    /// Whether this life is the gate's present one.
    fn is_in_force(&self, gate: &GateId, epoch: Epoch) -> bool {
        self.by_gate.get(gate).is_none_or(|member| member.epoch == epoch)
    }

    fn beat(&mut self, gate: &GateId, now: Time) {
        if let Some(member) = self.by_gate.get_mut(gate) {
            member.timely = if now.since(member.beat) <= 2 * HEARTBEAT { member.timely + 1 } else { 0 };
            member.beat = now;
        }
    }

    /// Whether this gate may judge others: it is in touch with the ledger itself.
    fn may_judge(&self, gate: &GateId, now: Time) -> bool {
        let judge = self.by_gate.get(gate);
        judge.is_some_and(|judge| judge.timely >= TIMELY && now.since(judge.beat) <= 2 * HEARTBEAT)
    }

    /// Declares the silent ones fallen: their epochs are over. Returns these.
    fn judge(&mut self, flaw: Option<Flaw>, now: Time) -> Vec<(GateId, Epoch)> {
        let known = self.fallen.len();
        for (gate, member) in &mut self.by_gate {
            let life = (gate.clone(), member.epoch);
            if now.since(member.beat) > DEAD_AFTER && !self.fallen.contains(&life) {
                if flaw != Some(Flaw::KeepsTheEpoch) {
                    member.epoch.0 += 1;
                    // Whoever is this gate from now on has yet to join.
                    member.beat = NEVER;
                }
                self.fallen.push(life);
            }
        }
        self.fallen[known..].to_vec()
    }
}

// === impl Inner ===

impl Inner {
    /// A life that has ended commits nothing.
    pub(super) fn admit(&self, ledger: &MemoryLedger) -> Result<(), LedgerError> {
        let is_admitted = self.flaw == Some(Flaw::IgnoresEpochs)
            || ledger.store.clock.is_none()
            || self.members.is_in_force(&ledger.gate, ledger.epoch());
        is_admitted.then_some(()).ok_or(LedgerError::Refused(Refused::Fenced))
    }

    /// What a settlement of this gate that finds nothing to settle is about is under way again.
    pub(super) fn revive(&mut self, commands: &[Command], by: &MemoryLedger) {
        for command in commands {
            let Step::Settle { attempt, .. } = &command.step else { continue };
            let sent = self.unsettled.get(attempt).filter(|sent| sent.gate == by.gate).cloned();
            if let Some(sent) = sent {
                self.cache.revive(Attempt { epoch: by.epoch(), state: AttemptState::Sending, ..sent });
            }
        }
    }
}

// === impl MemoryLedger ===

impl MemoryLedger {
    /// Judges the silent gates, and closes the live attempts and the unfinished creations of those that have fallen.
    fn judge(&self, inner: &mut Inner, doubt_period: Duration) {
        let now = self.store.now(Time(0));
        if !inner.members.may_judge(&self.gate, now) {
            return;
        }
        let flaw = inner.flaw;
        let before = inner.cache.write_as((self.gate.clone(), self.epoch()));
        for (gate, epoch) in inner.members.judge(flaw, now) {
            let of_it = |attempt: &Attempt| attempt.gate == gate && attempt.epoch <= epoch;
            inner.recover((&gate, Epoch(epoch.0 + 1)), of_it, now + doubt_period, now);
        }
        inner.cache.write_as(before);
        self.store.announce(inner);
    }
}

impl Membership for MemoryLedger {
    fn identity(&self) -> (GateId, Epoch) {
        (self.gate.clone(), self.epoch())
    }

    fn admits_early_reads(&self) -> bool {
        self.store.clock.is_none()
    }

    fn time(&self, own: Time) -> Time {
        self.store.now(own)
    }

    fn heartbeat(&self) -> Option<Duration> {
        self.store.clock.is_some().then_some(HEARTBEAT)
    }

    fn beat(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let mut inner = self.store.lock();
            inner.check()?;
            inner.admit(self)?;
            inner.members.beat(&self.gate, self.store.now(Time(0)));
            Ok(())
        })
    }

    fn rejoin(&self, _doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let mut inner = self.store.lock();
            inner.check()?;
            // Whoever declared it fallen has closed what it had under way.
            let epoch = inner.members.rejoin(&self.gate, self.epoch(), self.store.now(Time(0)));
            let epoch = epoch.ok_or(LedgerError::Refused(Refused::Fenced))?;
            self.epoch.store(epoch.0, Ordering::Release);
            Ok(())
        })
    }

    fn recover_fallen(&self, doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let mut inner = self.store.lock();
            inner.check()?;
            inner.admit(self)?;
            self.judge(&mut inner, doubt_period);
            Ok(())
        })
    }

    fn look_at_rivals(
        &self,
        items: Vec<ResourceKey>,
        doubt_period: Duration,
    ) -> BoxFuture<'_, Result<Rivals, LedgerError>> {
        Box::pin(async move {
            let mut inner = self.store.lock();
            inner.check()?;
            inner.admit(self)?;
            self.judge(&mut inner, doubt_period);
            let live: Vec<&Attempt> = (inner.cache.all().filter(|record| items.contains(&record.key)))
                .filter_map(|record| record.live.as_ref())
                .collect();
            Ok(match live.as_slice() {
                [] => Rivals::Gone,
                live if live.iter().any(|attempt| attempt.gate == self.gate) => Rivals::Own,
                _ => Rivals::Elsewhere,
            })
        })
    }
}
