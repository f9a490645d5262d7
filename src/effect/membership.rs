//! Who shares the ledger, as a port (manual: protocol, "Several gates").
//!
//! A gate never asks whether it is alone. It asks what follows from who shares the ledger with it, and the ledger answers.
//! The defaults are those of a ledger that one process keeps to itself.

use super::{BoxFuture, LedgerError};
use crate::model::{Epoch, GateId, ResourceKey, Time};
use std::time::Duration;

/// The gates that share a ledger, as one of them sees them.
pub trait Membership: Send + Sync + 'static {
    /// This gate, and which of its lives this is.
    fn identity(&self) -> (GateId, Epoch);

    /// Whether a read that began before its attempt was OPEN may carry an admission: only where nobody but this process
    /// can have had an attempt in between. A refusal may rest on it anywhere.
    fn admits_early_reads(&self) -> bool;

    /// The ledger's time, where this gate's own clock says `own`. Doubts, masks and silence are judged by it.
    fn time(&self, own: Time) -> Time {
        own
    }

    /// How often this gate has to say that it is alive; `None`: nobody would miss it.
    fn heartbeat(&self) -> Option<Duration> {
        None
    }

    /// Says that this gate is alive. Refused: another gate has declared it fallen, and nothing that it commits counts any
    /// more.
    fn beat(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async { Ok(()) })
    }

    /// A new life of this gate, which another has declared fallen: what the life before had under way is not its own any more.
    /// Refused: somebody else goes by this gate's name by now.
    fn rejoin(&self, _doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async { Ok(()) })
    }

    /// Declares fallen each gate that has been silent for too long, by the ledger's clock, and closes what fallen gates left
    /// under way: what was sent is in doubt for this long from now, what was not is aborted.
    fn recover_fallen(&self, _doubt_period: Duration) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async { Ok(()) })
    }

    /// Leaves those that share the ledger, once nothing of this gate is under way: nobody waits for it to be silent for long
    /// enough.
    fn leave(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async { Ok(()) })
    }

    /// Whether the items can be entered now. What a fallen gate left under way on them is closed, as by
    /// [`recover_fallen`](Self::recover_fallen).
    fn look_at_rivals(
        &self,
        _items: Vec<ResourceKey>,
        _doubt_period: Duration,
    ) -> BoxFuture<'_, Result<Rivals, LedgerError>> {
        Box::pin(async { Ok(Rivals::Own) })
    }
}

/// Whose attempts keep a request from entering its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rivals {
    /// Nobody's any more.
    Gone,
    /// Another gate's, which is alive: waiting helps.
    Elsewhere,
    /// This gate's own. Under the items' turns that is an attempt whose end could not be written yet.
    Own,
}
