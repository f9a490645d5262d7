//! The ledger's part in "create once", as a port of its own.

use super::{BoxFuture, LedgerError, Note};
use crate::admission::once::OnceStep;
use crate::model::{OnceEntry, OnceKey, Time};

/// One step on one key, with what the audit is to say of it.
#[derive(Clone, Debug)]
pub struct OnceCommand {
    /// The key.
    pub key: OnceKey,
    /// The step.
    pub step: OnceStep,
    /// What the audit line says beside it.
    pub note: Box<Note>,
    /// The time.
    pub now: Time,
}

/// What was, or is being, created once. A ledger keeps one entry a key.
pub trait Creations: Send + Sync + 'static {
    /// What is known of these keys, in their order.
    fn once(&self, keys: Vec<OnceKey>) -> BoxFuture<'_, Result<Vec<Option<OnceEntry>>, LedgerError>>;
}
