//! The pure heart: what a guarded write means, whether it may go on, and what
//! a step of the claim protocol does to an item's record.
//!
//! Nothing here reads a clock, a socket or a file: every function is given all
//! that it judges by. `decide` is the only maker of a [`Permit`], and a permit is
//! the only way to a send; `transition` is the only writer of an
//! [`ItemRecord`](crate::model::ItemRecord), whichever ledger keeps it.
//! The order of judgement is manual: protocol, step 5.

mod authors;
mod constraint;
mod decide;
mod echo;
mod expectation;
mod limits;
mod mode;
mod moves;
mod offer;
pub mod once;
mod outside;
mod permit;
mod refused;
mod rules;
mod singleton;
mod transition;
mod verdict;

pub use authors::authors;
pub use constraint::{Constraint, ConstraintViolation, LeaseStep};
pub use decide::{DecisionInput, decide};
pub use echo::{echoed_fields, without_echo};
pub use expectation::{Expectation, StateTag, Stated, Tags};
pub use limits::{Bound, Excess, HoldingLimits, Whose};
pub use mode::{By, Mode};
pub use offer::{Aims, Offer, offer};
pub use outside::{OutsideEdit, outside_edit};
pub use permit::{Permit, Plan};
pub use refused::Refused;
pub use rules::{Assignment, Editors, MoveRule, Outside, Part, Rules, Switched, Unnamed, Web, Workflow};
pub use singleton::{AcquireLease, Glob, Heartbeat, MemberPattern, Singleton, renew};
pub use transition::{Applied, Event, Finish, Outcome, Stamp, Step, Verified, apply};
pub use verdict::{Answer, GrantWithoutSend, SentWrite, Verdict, judge, parks};
