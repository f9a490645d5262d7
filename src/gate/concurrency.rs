//! How many guarded requests may be under way, over all items. No account takes more than its share of what all wait for,
//! whatever goes wrong with it.
//!
//! A slot is counted by the account, which the tracker knows; an agent's name is only what a request calls itself. A sender
//! that the tracker has not named yet takes one of a few slots for strangers.

use crate::model::{Actor, Caller, Instance, Principal};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many guarded writes may be under way, those that wait for their turn included.
#[derive(Clone, Copy, Debug)]
pub struct ConcurrencyLimits {
    /// Of all agents.
    pub all: usize,
    /// Of one account, or of one agent of a shared account.
    pub per_agent: usize,
}

/// Counts what everybody has under way.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter {
    limits: ConcurrencyLimits,
    counts: Mutex<Counts>,
}

/// One request or call of the claims API under way, until it is left or dropped.
#[derive(Debug)]
pub(super) struct Slot {
    limiter: Arc<ConcurrencyLimiter>,
    of: Mutex<Of>,
}

/// Why there is no slot.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Overloaded {
    /// All slots are taken.
    #[error("too many guarded writes are under way")]
    All,
    /// Those of senders who are not known yet.
    #[error("too many guarded writes are under way of senders that the tracker has not named yet")]
    Strangers,
    /// Those of this agent.
    #[error("{0} has {1} guarded writes under way, as many as it may")]
    Agent(Actor, usize),
    /// Those of all agents behind this account.
    #[error("the agents of {0} have {1} guarded writes under way, as many as they may together")]
    Account(Principal, usize),
}

#[derive(Debug, PartialEq, Eq)]
enum Of {
    /// Left.
    Nobody,
    Stranger,
    Agent(Actor),
}

#[derive(Debug, Default)]
struct Counts {
    strangers: usize,
    agents: usize,
    accounts: HashMap<Principal, AccountShare>,
}

/// What one account has under way.
#[derive(Debug, Default)]
struct AccountShare {
    all: usize,
    by_instance: HashMap<Option<Instance>, usize>,
}

// === impl ConcurrencyLimits ===

impl ConcurrencyLimits {
    /// Of senders who are not known yet.
    fn strangers(self) -> usize {
        (self.all / 4).max(1)
    }

    /// Of all agents behind one shared account: whoever has its credential can invent any number of names.
    fn per_shared_account(self) -> usize {
        (self.all / 2).max(self.per_agent)
    }
}

// === impl ConcurrencyLimiter ===

impl ConcurrencyLimiter {
    pub(super) fn new(limits: ConcurrencyLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// A slot for somebody who is to be asked about.
    pub(super) fn stranger(self: &Arc<Self>) -> Result<Arc<Slot>, Overloaded> {
        let mut counts = self.lock();
        if counts.strangers >= self.limits.strangers() {
            return Err(Overloaded::Strangers);
        }
        counts.strangers += 1;
        Ok(self.slot(Of::Stranger))
    }

    /// A slot for somebody who is known.
    pub(super) fn agent(self: &Arc<Self>, caller: &Caller) -> Result<Arc<Slot>, Overloaded> {
        self.lock().add(caller, self.limits)?;
        Ok(self.slot(Of::Agent(caller.actor.clone())))
    }

    fn slot(self: &Arc<Self>, of: Of) -> Arc<Slot> {
        Arc::new(Slot { limiter: Arc::clone(self), of: Mutex::new(of) })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Slot ===

impl Slot {
    /// The tracker has said whose it is.
    pub(super) fn becomes(&self, caller: &Caller) -> Result<(), Overloaded> {
        let mut of = self.lock();
        if matches!(&*of, Of::Agent(actor) if *actor == caller.actor) {
            return Ok(());
        }
        let mut counts = self.limiter.lock();
        counts.remove(&std::mem::replace(&mut *of, Of::Nobody));
        counts.add(caller, self.limiter.limits)?;
        *of = Of::Agent(caller.actor.clone());
        Ok(())
    }

    /// It is over: its client, who is told so, may come again at once.
    pub(super) fn leave(&self) {
        let of = std::mem::replace(&mut *self.lock(), Of::Nobody);
        self.limiter.lock().remove(&of);
    }

    fn lock(&self) -> MutexGuard<'_, Of> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leave();
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, caller: &Caller, limits: ConcurrencyLimits) -> Result<(), Overloaded> {
        let Actor { account, instance } = &caller.actor;
        if self.agents >= limits.all {
            return Err(Overloaded::All);
        }
        let share = self.accounts.get(account);
        let of_account = share.map_or(0, |share| share.all);
        let of_instance = share.and_then(|share| share.by_instance.get(instance)).copied().unwrap_or(0);
        if caller.shared && of_account >= limits.per_shared_account() {
            return Err(Overloaded::Account(account.clone(), limits.per_shared_account()));
        }
        let of_agent = if caller.shared { of_instance } else { of_account };
        if of_agent >= limits.per_agent {
            return Err(Overloaded::Agent(caller.actor.clone(), limits.per_agent));
        }
        self.agents += 1;
        let share = self.accounts.entry(account.clone()).or_default();
        share.all += 1;
        *share.by_instance.entry(instance.clone()).or_default() += 1;
        Ok(())
    }

    fn remove(&mut self, of: &Of) {
        match of {
            Of::Nobody => {}
            Of::Stranger => self.strangers -= 1,
            Of::Agent(actor) => {
                self.agents -= 1;
                self.forget(actor);
            }
        }
    }

    fn forget(&mut self, actor: &Actor) {
        let Some(share) = self.accounts.get_mut(&actor.account) else { return };
        share.all -= 1;
        if let Some(count) = share.by_instance.get_mut(&actor.instance) {
            *count -= 1;
            if *count == 0 {
                share.by_instance.remove(&actor.instance);
            }
        }
        if share.all == 0 {
            self.accounts.remove(&actor.account);
        }
    }
}
