//! The audit's ends: the projector, which prints it, the verifier, which checks it, and the report, which sums it up.
//!
//! The lines themselves are written by the ledger, in the same transaction as what they
//! speak of (`effect::audit` has their form). The projector only copies them out, so that
//! a slow reader of standard output never holds up a guarded write. The verifier knows
//! nothing of either: it reads bytes, and has its own idea of what they must say.

mod project;
pub mod report;
mod rotate;
pub mod verify;

pub use project::{Projector, Sink, Sinks};
pub use rotate::files;
