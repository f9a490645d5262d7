//! What keeps other gates out of an item while the watcher looks at it.
//!
//! What is read outside an attempt may be older than a write of another gate, and must not revoke what that write made.
//! So a look has an attempt of its own, which leaves no trace. Where turns keep everybody out it needs none.

use super::super::Gate;
use super::super::walk::first_allowed;
use crate::admission::Step;
use crate::effect::{Command, Durability};
use crate::model::{
    Actor, Attempt, AttemptId, AttemptState, Change, Fence, Fingerprint, ItemRecord, Ownership, Place, Principal,
    ResourceKey,
};
use std::sync::Arc;

/// A look at one item. It is closed whatever the look came to.
pub(super) struct LookEntry {
    gate: Arc<Gate>,
    item: (ResourceKey, Place),
    /// None: the turn alone keeps others out, or the item is in doubt, and then only its doubt is looked at.
    attempt: Option<AttemptId>,
}

impl LookEntry {
    /// Under the item's turn. `None`: another gate writes it just now.
    pub(super) async fn open(gate: &Arc<Gate>, record: &ItemRecord) -> Option<Self> {
        let item = (record.key.clone(), record.locator.clone());
        let mut entry = Self { gate: Arc::clone(gate), item, attempt: None };
        if !gate.ports.ledger.admits_early_reads() && record.doubts.is_empty() {
            let attempt = entry.new_attempt();
            let id = attempt.id.clone();
            let open = entry.command(Step::Open(attempt));
            gate.ports.ledger.commit(vec![open], Durability::Awaited).await.ok()?;
            entry.attempt = Some(id);
        }
        Some(entry)
    }

    /// Whether nobody else can have written the item since the read began.
    pub(super) fn keeps_others_out(&self, record: &ItemRecord) -> bool {
        let turns_suffice = self.gate.ports.ledger.admits_early_reads();
        match (&record.live, &self.attempt) {
            (None, None) => turns_suffice,
            (Some(live), Some(own)) => live.id == *own,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// What a step rests on that judges by this look: the item is at that version, and nobody has ended the look.
    pub(super) fn confirm(&self, fence: Fence) -> Option<Command> {
        let attempt = self.attempt.clone()?;
        Some(self.command(Step::Confirm { attempt, fence }))
    }

    pub(super) async fn close(self) {
        let Some(attempt) = self.attempt.clone() else { return };
        let withdraw = self.command(Step::Withdraw(attempt));
        if self.gate.ports.ledger.commit(vec![withdraw.clone()], Durability::NextGroup).await.is_err() {
            // It would keep everybody out.
            tokio::spawn(first_allowed(Arc::clone(&self.gate.ports.ledger), vec![withdraw]));
        }
    }

    fn new_attempt(&self) -> Attempt {
        let (ports, (key, locator)) = (&self.gate.ports, &self.item);
        let print = ports.service.as_ref().map_or_else(|| Fingerprint::new(""), |it| ports.identify.fingerprint(it));
        let (gate, epoch) = ports.ledger.identity();
        let now = ports.clock.now();
        Attempt {
            id: ports.entropy.attempt_id(now),
            key: key.clone(),
            locator: locator.clone(),
            actor: Actor { account: Principal::Opaque(print.clone()), instance: None },
            credential: print,
            change: Change::default(),
            goal: None,
            kind: None,
            ownership: Ownership::Keep,
            state: AttemptState::Open,
            gate,
            epoch,
            opened: now,
        }
    }

    fn command(&self, step: Step) -> Command {
        let (key, locator) = self.item.clone();
        Command { key, locator, step, note: None, now: self.gate.ports.clock.now() }
    }
}
