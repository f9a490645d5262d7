//! What the gate does without being asked: learn from passing traffic, and obey the operator.

use super::{Gate, LaneError};
use crate::admission::Step;
use crate::effect::{Command, Durability, LedgerError, Note};
use crate::model::{Actor, Fingerprint, ItemRecord, Locator, Project};

/// What `claimgate release` did.
#[derive(Debug)]
pub struct Released {
    /// Whose holding ended.
    pub holder: Option<Actor>,
    /// The item as the ledger knows it now.
    pub record: ItemRecord,
}

/// Why the operator's release was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The ledger knows no holding there.
    #[error("nobody holds {0}")]
    NotHeld(Locator),
    /// Its turn did not come.
    #[error("{0}")]
    Lane(#[from] LaneError),
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

impl Gate {
    /// A read of an issue or pull of this project passed and got a 2xx: its credential may read there.
    pub async fn saw_reader(&self, credential: &Fingerprint, project: &Project) {
        self.reads.learn_reader(credential, project).await;
    }

    /// Ends a holding by the operator's word; audited like any decision.
    pub async fn release(self: &std::sync::Arc<Self>, item: &Locator, reason: &str) -> Result<Released, ReleaseError> {
        let active = self.ports.ledger.active().await?;
        let record = active
            .into_iter()
            .find(|record| record.locator == *item && record.holding.is_some())
            .ok_or_else(|| ReleaseError::NotHeld(item.clone()))?;
        let turn = self.lanes.enter(&record.key, self.boot_clock()).await?;
        let now = self.ports.clock.now();
        let id = self.ports.entropy.attempt_id(now).as_str().to_owned();
        let command = Command {
            key: record.key.clone(),
            locator: record.locator.clone(),
            step: Step::Release,
            note: Some(Box::new(Note::of_gate(id, Some(reason.to_owned())))),
            now,
        };
        turn.forget();
        let after = self.ports.ledger.commit(vec![command], Durability::Awaited).await?.pop();
        let holder = record.holding.as_ref().map(|holding| holding.actor.clone());
        Ok(Released { holder, record: after.unwrap_or(record) })
    }
}
