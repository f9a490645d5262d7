//! What must hold for a write to be entered, besides that its client still waits (`cancellation`).
//!
//! The writes of one call come one after another, and between two of them its caller may go, ask again and be told
//! something else. A write that would then take from it what it was told must not be made.

use super::Gate;
use crate::effect::LedgerError;
use crate::model::{Actor, AttemptId, AttemptState, Ownership, ResourceKey, Settled};
use std::collections::BTreeSet;

/// The condition.
#[derive(Clone, Debug)]
pub enum EntryCondition {
    /// None.
    Always,
    /// Somebody waits for what comes of it, whatever its call has done before: one that was abandoned must not strike
    /// what its caller was told since.
    Awaited,
    /// The caller holds the item: it is a step of its claim, and of no use without that.
    Held,
    /// Since the last of these writes, which this one undoes, nothing else has told the agent that the item is its own.
    UnconfirmedSince {
        /// These writes.
        ours: BTreeSet<AttemptId>,
        /// They were a holder's, and what became of the item once it was taken away is not theirs to undo.
        held: bool,
    },
}

/// Ended attempts of one item that are looked through for one's own.
const MOST: usize = 1000;

impl Gate {
    /// Whether the agent was told by another write than these, after the last of them, where it stands with the item.
    /// Where they are too long ago to be found, it may have been.
    pub(super) async fn is_confirmed_since(
        &self,
        ours: &BTreeSet<AttemptId>,
        item: &ResourceKey,
        actor: &Actor,
    ) -> Result<bool, LedgerError> {
        let newest = self.ports.ledger.ended(item, MOST).await?;
        let last = newest.iter().position(|ended| ours.contains(&ended.attempt.id));
        Ok(last.is_none_or(|last| newest[..last].iter().any(|ended| tells(ended, actor))))
    }
}

/// Whether it went through, and was the agent's own or changed who holds.
fn tells(ended: &Settled, actor: &Actor) -> bool {
    use AttemptState::{Committed, Landed, Partial};
    let attempt = &ended.attempt;
    matches!(attempt.state, Committed | Landed | Partial)
        && (attempt.actor.may_be(actor) || attempt.ownership != Ownership::Keep)
}
