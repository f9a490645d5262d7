//! Why a step was not carried out.

use super::ConstraintViolation;
use std::time::Duration;

/// Why a step was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another attempt is OPEN or SENDING.
    #[error("another write of this item is under way")]
    Busy,
    /// A doubt of another agent, or of another value.
    #[error("a write of this item is in doubt for another {} s", .0.as_secs())]
    InDoubt(Duration),
    /// The attempt is no longer this process's to complete.
    #[error("the attempt was taken over")]
    Fenced,
    /// The record is no longer the one that the step was made for.
    #[error("the item's record has changed")]
    Stale,
    /// A constraint of the step does not hold.
    #[error("{0}")]
    Violated(Box<ConstraintViolation>),
}
