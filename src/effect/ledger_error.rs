//! Why the ledger did not do what it was asked for.

use crate::admission::Refused;

/// Why a commit did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The record does not allow the step.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The ledger cannot be written or read.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
}
