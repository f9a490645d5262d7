//! Whose write began a lease of a project, for as long as it is not known whether the tracker carries that write out.
//!
//! A lease is taken in the transaction that makes a write SENDING, so that of two agents one comes first. A write that
//! the tracker refuses gives back the lease that it began, unless another write of the same agent rests on it by then:
//! whoever may only read a project keeps nobody out of it.

use crate::admission::{AcquireLease, LeaseStep};
use crate::model::{Actor, Project, ProjectLease, Time};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Leases that writes under way rest on.
#[derive(Debug, Default)]
pub(super) struct Leases(Arc<Mutex<Uses>>);

type Lease = (String, Project, Actor);
type Uses = HashMap<Lease, Use>;

#[derive(Debug, Default)]
struct Use {
    /// Under way.
    writes: usize,
    /// The lease began with one of them, at this time.
    begun: Option<Time>,
    /// When the newest of them took it.
    taken: Option<Time>,
    /// One of them went through, or may have.
    stands: bool,
}

/// One write that rests on leases. Dropping it is for one that went through, or may have.
#[derive(Debug)]
pub(super) struct LeaseUse {
    leases: Arc<Mutex<Uses>>,
    of: Vec<Lease>,
}

// === impl Leases ===

impl Leases {
    /// A write is about to take these.
    pub(super) fn enter<'a>(&self, takes: impl Iterator<Item = &'a AcquireLease>) -> LeaseUse {
        let of: Vec<Lease> = takes.map(|take| (take.rule.clone(), take.project.clone(), take.actor.clone())).collect();
        let mut uses = locked(&self.0);
        for lease in &of {
            uses.entry(lease.clone()).or_default().writes += 1;
        }
        drop(uses);
        LeaseUse { leases: Arc::clone(&self.0), of }
    }
}

// === impl LeaseUse ===

impl LeaseUse {
    /// Whether it rests on none.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// It has taken them at these times; those that began then, began with it.
    pub(super) fn taken(&self, held_leases: &[ProjectLease], at: &[Time]) {
        let mut uses = locked(&self.leases);
        for (rule, project, actor) in &self.of {
            let began = |held_lease: &&ProjectLease| {
                let of = held_lease.rule == *rule
                    && held_lease.project == *project
                    && held_lease.actor.account == actor.account;
                of && at.contains(&held_lease.since)
            };
            let lease = (rule.clone(), project.clone(), actor.clone());
            let Some(of) = uses.get_mut(&lease) else { continue };
            of.taken = of.taken.max(at.iter().max().copied());
            if let Some(held_lease) = held_leases.iter().find(began) {
                of.begun = Some(held_lease.since);
            }
        }
    }

    /// The tracker did not carry the write out. What ends the leases that nothing rests on any more.
    pub(super) fn give_back(mut self) -> Vec<LeaseStep> {
        let leases = Arc::clone(&self.leases);
        let mut uses = locked(&leases);
        let mut ends = Vec::new();
        for lease in std::mem::take(&mut self.of) {
            let Some(of) = leave(&mut uses, &lease, false) else { continue };
            if let (Some(since), false) = (of.begun, of.stands) {
                let (rule, project, _) = lease;
                // Another gate's write of the same agent may rest on it by now.
                ends.push(LeaseStep::End { rule, project, since, unheard_since: of.taken });
            }
        }
        ends
    }
}

impl Drop for LeaseUse {
    fn drop(&mut self) {
        let of = std::mem::take(&mut self.of);
        if of.is_empty() {
            return;
        }
        let mut uses = locked(&self.leases);
        for lease in of {
            leave(&mut uses, &lease, true);
        }
    }
}

/// One write less; the rest of it where it was the last.
fn leave(uses: &mut Uses, lease: &Lease, stands: bool) -> Option<Use> {
    let of = uses.get_mut(lease)?;
    of.stands |= stands;
    of.writes -= 1;
    if of.writes > 0 { None } else { uses.remove(lease) }
}

fn locked(uses: &Mutex<Uses>) -> MutexGuard<'_, Uses> {
    uses.lock().unwrap_or_else(PoisonError::into_inner)
}
