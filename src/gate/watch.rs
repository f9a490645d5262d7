//! What the gate does without being asked: learn from passing traffic, and obey the operator.

use super::{Gate, LaneError};
use crate::admission::Step;
use crate::dialect::{Address, Credential};
use crate::effect::{Command, Durability, LedgerError, Note};
use crate::model::{Actor, Instance, ItemRecord, Locator, Project, Time};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

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

/// Who was heard of about which item, since it was last written down.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<HashMap<Locator, (Actor, Time)>>);

const MOST_RENEWALS: usize = 100_000;

// === impl Renewals ===

impl Renewals {
    fn note(&self, item: Locator, actor: Actor, at: Time) {
        // One that is being emptied is not waited for: the holder will be heard of again.
        if let Ok(mut heard) = self.0.try_lock()
            && (heard.len() < MOST_RENEWALS || heard.contains_key(&item))
        {
            heard.insert(item, (actor, at));
        }
    }

    fn take(&self) -> HashMap<Locator, (Actor, Time)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Gate ===

impl Gate {
    /// A read of an issue or pull of this project passed and got a 2xx: its credential may read there, and if it is a
    /// holder's, the holder is alive. Cheap: no lock is waited for, nobody is asked.
    pub fn saw_read(
        &self,
        credential: &Credential,
        instance: Option<Instance>,
        project: &Project,
        address: Option<&Address>,
    ) {
        let print = self.ports.identify.fingerprint(credential);
        self.reads.learn_reader_now(&print, project);
        if let (Some(account), Some(address)) = (self.ports.identify.known(&print), address) {
            self.renewals.note(address.locator(), Actor { account, instance }, self.ports.clock.now());
        }
    }

    /// Writes down who was heard of since the last time.
    pub async fn flush_renewals(&self) {
        let heard = self.renewals.take();
        if heard.is_empty() {
            return;
        }
        let active = match self.ports.ledger.active().await {
            Ok(active) => active,
            Err(error) => return tracing::warn!(ledger.error = %error, "renewals not written"),
        };
        let now = self.ports.clock.now();
        let renew = |record: ItemRecord| {
            let (actor, at) = heard.get(&record.locator)?.clone();
            let held = record.holding.as_ref().is_some_and(|held| held.actor.same_agent(&actor));
            held.then(|| Command {
                key: record.key,
                locator: record.locator,
                step: Step::Renew { actor, at },
                note: None,
                now,
            })
        };
        let commands: Vec<Command> = active.into_iter().filter_map(renew).collect();
        if !commands.is_empty()
            && let Err(error) = self.ports.ledger.commit(commands, Durability::NextGroup).await
        {
            tracing::warn!(ledger.error = %error, "renewals not written");
        }
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
