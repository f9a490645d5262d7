//! Proof that a write may leave: it was admitted, and that it is being sent is durable (manual: protocol, step 7).

use super::{Command, Durability, Ledger, LedgerError, Note};
use crate::admission::{Permit, Step};
use crate::model::{ItemRecord, Time};

/// Allows one send. Not `Clone`, and consumed by [`Upstream::send`](super::Upstream::send).
///
// INVARIANT: made only in this file, and only after the record of the send is on disk.
#[derive(Debug)]
#[must_use = "a write that was committed to sending is sent, or its attempt is ended"]
pub struct Sending(());

impl Sending {
    /// T2: the batch, in which each of these permits has its step, is durable when this returns. On an error nothing was
    /// carried out, and the permits come back.
    pub async fn begin(
        ledger: &dyn Ledger,
        batch: Vec<Command>,
        permits: Vec<Permit>,
    ) -> Result<(Vec<ItemRecord>, Self), (LedgerError, Vec<Permit>)> {
        let is_entered = |permit: &Permit| batch.iter().any(|command| sends(command, permit));
        if permits.is_empty() || !permits.iter().all(is_entered) {
            let why = "a write without a record was about to be sent".to_owned();
            return Err((LedgerError::Unavailable(why), permits));
        }
        match ledger.commit(batch, Durability::Awaited).await {
            Ok(records) => Ok((records, Self(()))),
            Err(error) => Err((error, permits)),
        }
    }

    /// The same for a request of whose effect a read of its items shows nothing: it leaves lines, and no attempts.
    pub async fn recorded(ledger: &dyn Ledger, lines: Vec<Note>, now: Time) -> Result<Self, LedgerError> {
        for line in lines {
            ledger.record(line, now);
        }
        ledger.flushed().await.map(|()| Self(()))
    }

    /// A creation: nobody can hold what is not there yet. What a rule allows only once has its entry in the ledger by now.
    pub fn creation() -> Self {
        Self(())
    }
}

fn sends(command: &Command, permit: &Permit) -> bool {
    matches!(&command.step, Step::Send { plan, .. } if plan == permit.plan())
}
