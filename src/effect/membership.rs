//! Who shares the ledger, as a port (manual: protocol, "Several gates").
//!
//! A gate never asks whether it is alone. It asks what follows from who shares the ledger with it, and the ledger answers.
//! The defaults are those of a ledger that one process keeps to itself.

use super::{BoxFuture, LedgerError};
use crate::admission::{Mode, Part, Switched};
use crate::model::{Epoch, GateId, ResourceKey, Time};
use std::time::Duration;
use tokio::sync::watch;

/// A gate says this often that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// One that was silent for longer has fallen.
pub const DEAD_AFTER: Duration = Duration::from_secs(15);
/// Only a gate whose last heartbeats all came in time judges others: while nobody can write the ledger all are silent.
pub const TIMELY: u32 = 3;

/// The gates that share a ledger, as one of them sees them.
pub trait Membership: Send + Sync + 'static {
    /// This gate, and which of its lives this is.
    fn identity(&self) -> (GateId, Epoch);

    /// An error says why this gate has not joined those that share the ledger yet. Until then nothing is entered, and
    /// nobody's credential has its fingerprint.
    fn has_joined(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Whether this gate is the one that looks after what nobody asked for: holdings, doubts, what ended gates left. It
    /// saves work; whoever meets such a thing sees to it all the same.
    fn is_watcher(&self) -> bool {
        true
    }

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

    /// Modes that an operator has switched for all gates that share the ledger; they change as this gate hears of it.
    /// `None`: nobody shares it.
    fn shared_modes(&self) -> Option<watch::Receiver<SharedModes>> {
        None
    }

    /// The switches up to this one are in force at this gate.
    fn carries_modes(&self, _revision: i64) {}

    /// Switches modes for all gates that share the ledger, and waits a while until they carry it. `None`: nobody shares it.
    fn switch_modes<'a>(
        &'a self,
        _parts: &'a [Part],
        _mode: Mode,
        _by: &'a str,
    ) -> BoxFuture<'a, Result<Option<ModeSpread>, LedgerError>> {
        Box::pin(async { Ok(None) })
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

/// Modes that an operator has switched for all gates that share a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedModes {
    /// The number of the last switch.
    pub revision: i64,
    /// The modes.
    pub switched: Switched,
}

/// How far a switch of modes has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModeSpread {
    /// So many gates carry it.
    pub gates: usize,
    /// These do not yet.
    pub missing: Vec<String>,
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
