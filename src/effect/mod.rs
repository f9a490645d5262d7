//! The ports: what the gate needs of the world, as traits.
//!
//! The gate sees these and never an adapter; time, randomness, the tracker, the
//! ledger and identity all come through here, so that the whole guarded section
//! runs in a test on virtual time. Adapters (floor F3) implement one port each.

pub mod audit;
pub mod body_budget;
pub mod clock;
pub mod failpoint;
pub mod health;
pub mod identify;
pub mod ledger;
pub mod ledger_error;
pub mod log_once;
pub mod membership;
pub mod metrics;
pub mod once;
pub mod sending;
pub mod upstream;

pub use audit::{Authority, Decision, Line, Note, Subject};
pub use body_budget::{BodyBudget, Reads, SHORT_ANSWER, Share};
pub use clock::{Clock, Entropy};
pub use health::{Condition, Health};
pub use identify::{FingerprintKey, Identify, IdentifyError};
pub use ledger::{
    Batch, Command, Committed, Durability, Held, LeaseCommand, Ledger, LinesOfOthers, OtherLines, Pruned,
};
pub use ledger_error::LedgerError;
pub use log_once::LogOnce;
pub use membership::{DEAD_AFTER, HEARTBEAT, Membership, ModeSpread, Rivals, SharedModes, TIMELY};
pub use metrics::Metrics;
pub use once::{Creations, OnceCommand};
pub use sending::Sending;
pub use upstream::{CallError, Carrier, Upstream};

/// A boxed future, as the object-safe ports return it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
