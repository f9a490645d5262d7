//! Places for guarded writes, over all items: nobody's turn waits for more than the share of one account, whatever goes
//! wrong with it.
//!
//! Whose place it is, the account says, which the tracker knows; an agent's name is what a request likes to call itself.
//! A sender that the tracker has not named yet has a place beside those, of which there are few.

use crate::model::{Account, Actor, Caller, Instance};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many guarded writes may be under way, those that wait for their turn included.
#[derive(Clone, Copy, Debug)]
pub struct CrowdLimits {
    /// Of all agents.
    pub all: usize,
    /// Of one account, or of one agent of a shared account.
    pub per_agent: usize,
}

/// What everybody has under way.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: CrowdLimits,
    counts: Mutex<Counts>,
}

/// One write or errand among those under way, until it is left or dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    of: Mutex<Of>,
}

/// Why there is no place.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Crowded {
    /// All places are taken.
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
    Account(Account, usize),
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
    accounts: HashMap<Account, Share>,
}

/// What one account has under way.
#[derive(Debug, Default)]
struct Share {
    all: usize,
    by_instance: HashMap<Option<Instance>, usize>,
}

// === impl CrowdLimits ===

impl CrowdLimits {
    /// Of senders who are not known yet.
    fn strangers(self) -> usize {
        (self.all / 4).max(1)
    }

    /// Of all agents behind one shared account: whoever has its credential can invent any number of names.
    fn per_shared_account(self) -> usize {
        (self.all / 2).max(self.per_agent)
    }
}

// === impl Crowd ===

impl Crowd {
    pub(super) fn new(limits: CrowdLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// A place for somebody who is to be asked about.
    pub(super) fn stranger(self: &Arc<Self>) -> Result<Arc<Place>, Crowded> {
        let mut counts = self.lock();
        if counts.strangers >= self.limits.strangers() {
            return Err(Crowded::Strangers);
        }
        counts.strangers += 1;
        Ok(self.place(Of::Stranger))
    }

    /// A place for somebody who is known.
    pub(super) fn agent(self: &Arc<Self>, caller: &Caller) -> Result<Arc<Place>, Crowded> {
        self.lock().add(caller, self.limits)?;
        Ok(self.place(Of::Agent(caller.actor.clone())))
    }

    fn place(self: &Arc<Self>, of: Of) -> Arc<Place> {
        Arc::new(Place { crowd: Arc::clone(self), of: Mutex::new(of) })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Place {
    /// The tracker has said whose it is.
    pub(super) fn becomes(&self, caller: &Caller) -> Result<(), Crowded> {
        let mut of = self.lock();
        if matches!(&*of, Of::Agent(actor) if *actor == caller.actor) {
            return Ok(());
        }
        let mut counts = self.crowd.lock();
        counts.remove(&std::mem::replace(&mut *of, Of::Nobody));
        counts.add(caller, self.crowd.limits)?;
        *of = Of::Agent(caller.actor.clone());
        Ok(())
    }

    /// It is over: its client, who is told so, may come again at once.
    pub(super) fn leave(&self) {
        let of = std::mem::replace(&mut *self.lock(), Of::Nobody);
        self.crowd.lock().remove(&of);
    }

    fn lock(&self) -> MutexGuard<'_, Of> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, caller: &Caller, limits: CrowdLimits) -> Result<(), Crowded> {
        let Actor { account, instance } = &caller.actor;
        if self.agents >= limits.all {
            return Err(Crowded::All);
        }
        let share = self.accounts.get(account);
        let of_account = share.map_or(0, |share| share.all);
        let of_instance = share.and_then(|share| share.by_instance.get(instance)).copied().unwrap_or(0);
        if caller.shared && of_account >= limits.per_shared_account() {
            return Err(Crowded::Account(account.clone(), limits.per_shared_account()));
        }
        let of_agent = if caller.shared { of_instance } else { of_account };
        if of_agent >= limits.per_agent {
            return Err(Crowded::Agent(caller.actor.clone(), limits.per_agent));
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
