//! Who is at work by the singleton rules: the few rows that a cache keeps beside the items.
//!
//! All of them are in memory; `take_back` undoes what was done since the last `confirm`, for a group that failed.

use super::transaction::{LeaseName, name};
use crate::model::{ProjectLease, Time};
use std::collections::BTreeMap;

/// Every lease, ended ones that nobody has replaced included.
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    rows: BTreeMap<LeaseName, ProjectLease>,
    before: Vec<(LeaseName, Option<ProjectLease>)>,
}

// === impl LeaseTable ===

impl LeaseTable {
    /// As they were stored. What a clock that was ahead has written lasts no longer than if it were written now.
    pub(super) fn stored(rows: impl IntoIterator<Item = ProjectLease>, now: Time) -> Self {
        let mut leases = Self::default();
        for lease in rows {
            let idle = lease.until.since(lease.seen);
            let lease = ProjectLease { until: lease.until.min(now + idle), ..lease };
            leases.rows.insert(name(&lease), lease);
        }
        leases
    }

    pub(super) fn all(&self) -> Vec<ProjectLease> {
        self.rows.values().cloned().collect()
    }

    pub(super) fn get(&self, name: &LeaseName) -> Option<&ProjectLease> {
        self.rows.get(name)
    }

    pub(super) fn set(&mut self, name: LeaseName, lease: Option<ProjectLease>) {
        let before = match lease {
            Some(lease) => self.rows.insert(name.clone(), lease),
            None => self.rows.remove(&name),
        };
        self.before.push((name, before));
    }

    pub(super) fn confirm(&mut self) {
        self.before.clear();
    }

    pub(super) fn take_back(&mut self) {
        for (name, lease) in self.before.drain(..).rev() {
            match lease {
                Some(lease) => self.rows.insert(name, lease),
                None => self.rows.remove(&name),
            };
        }
    }
}
