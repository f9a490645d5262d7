//! What must hold beside an item's own record for a write of it to go on.
//!
//! A constraint is a step of its own in the same batch as the step that it is for: all or nothing, in one transaction.

use super::{AcquireLease, Bound, Excess, Heartbeat};
use crate::model::{Project, ProjectLease, Time};
use std::fmt;

/// One constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// The agent may hold one item more.
    Within(Bound),
    /// The agent is the one of its class at work in the project; it is from now on.
    Alone(AcquireLease),
}

impl Constraint {
    /// What it takes, if it takes something.
    pub fn take(&self) -> Option<&AcquireLease> {
        match self {
            Self::Alone(take) => Some(take),
            Self::Within(_) => None,
        }
    }
}

/// A constraint that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstraintViolation {
    /// The agent holds as many items as it may.
    Limit(Excess),
    /// Another agent of the class is at work in the project.
    Singleton(ProjectLease),
}

/// A change of who is at work that is no part of a write of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Before a write that has no item yet: all of them, or none.
    Acquire(Vec<AcquireLease>),
    /// The agents were heard of there.
    Renew {
        /// The rule's name.
        rule: String,
        /// Where.
        project: Project,
        /// Who, and when.
        heard: Vec<Heartbeat>,
        /// From the rule.
        idle: std::time::Duration,
    },
    /// It ends now, if it is still the one that began then, and its agent was not heard of since, by any gate.
    End {
        /// The rule's name.
        rule: String,
        /// Where.
        project: Project,
        /// When it began.
        since: Time,
        /// Until when its agent may have been heard of; `None`: whenever it was.
        unheard_since: Option<Time>,
    },
}

// === impl Constraint ===

impl Constraint {
    /// Whether this is the constraint that does not hold.
    pub fn is(&self, violation: &ConstraintViolation) -> bool {
        match (self, violation) {
            (Self::Within(bound), ConstraintViolation::Limit(excess)) => *bound == excess.bound,
            (Self::Alone(take), ConstraintViolation::Singleton(lease)) => take.rule == lease.rule,
            (Self::Within(_), ConstraintViolation::Singleton(_)) | (Self::Alone(_), ConstraintViolation::Limit(_)) => {
                false
            }
        }
    }
}

impl fmt::Display for ConstraintViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(excess) => write!(f, "{} holds {} items already", excess.bound.actor, excess.held.len()),
            Self::Singleton(lease) => write!(f, "{} is at work in {}", lease.actor, lease.project),
        }
    }
}
