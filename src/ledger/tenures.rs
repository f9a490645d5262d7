//! Who is at work by the singleton rules: the few rows that a book keeps beside the items.
//!
//! All of them are in memory; `take_back` undoes what was done since the last `keep`, for a group that failed.

use super::transaction::{TenureName, name};
use crate::model::{Tenure, Time};
use std::collections::BTreeMap;

/// Every tenure, ended ones that nobody has replaced included.
#[derive(Debug, Default)]
pub(super) struct Tenures {
    rows: BTreeMap<TenureName, Tenure>,
    before: Vec<(TenureName, Option<Tenure>)>,
}

// === impl Tenures ===

impl Tenures {
    /// As they were stored. What a clock that was ahead has written lasts no longer than if it were written now.
    pub(super) fn stored(rows: impl IntoIterator<Item = Tenure>, now: Time) -> Self {
        let mut tenures = Self::default();
        for tenure in rows {
            let idle = tenure.until.since(tenure.seen);
            let tenure = Tenure { until: tenure.until.min(now + idle), ..tenure };
            tenures.rows.insert(name(&tenure), tenure);
        }
        tenures
    }

    pub(super) fn all(&self) -> Vec<Tenure> {
        self.rows.values().cloned().collect()
    }

    pub(super) fn get(&self, name: &TenureName) -> Option<&Tenure> {
        self.rows.get(name)
    }

    pub(super) fn set(&mut self, name: TenureName, tenure: Option<Tenure>) {
        let before = match tenure {
            Some(tenure) => self.rows.insert(name.clone(), tenure),
            None => self.rows.remove(&name),
        };
        self.before.push((name, before));
    }

    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    pub(super) fn take_back(&mut self) {
        for (name, tenure) in self.before.drain(..).rev() {
            match tenure {
                Some(tenure) => self.rows.insert(name, tenure),
                None => self.rows.remove(&name),
            };
        }
    }
}
