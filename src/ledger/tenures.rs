//! Who is at work by the singleton rules: the few rows that a book keeps beside the items.
//!
//! All of them are in memory; `take_back` undoes what was done since a mark, for a batch or a group that failed.

use crate::admission::{Take, TenureStep, renew};
use crate::model::{Project, Tenure, Time};
use std::collections::BTreeMap;

type Name = (String, Project);

/// What is to be stored, and the tenure that it is about.
pub(super) type Changed = (TenureRow, Tenure);

/// Every tenure, ended ones that nobody has replaced included.
#[derive(Debug, Default)]
pub(super) struct Tenures {
    rows: BTreeMap<Name, Tenure>,
    before: Vec<(Name, Option<Tenure>)>,
}

/// What is to be stored of one.
#[derive(Clone, Debug)]
pub(super) enum TenureRow {
    Put(Tenure),
    Remove { rule: String, project: Project },
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

    /// The project is the agent's, or it is told whose it is.
    pub(super) fn take(&mut self, take: &Take, now: Time) -> Result<Changed, Box<Tenure>> {
        let current = self.rows.get(&(take.rule.clone(), take.project.clone()));
        let tenure = take.over(current, now)?;
        self.set(name(&tenure), Some(tenure.clone()));
        Ok((TenureRow::Put(tenure.clone()), tenure))
    }

    /// What the step changed, each with the tenure as it is after it, or was before it ended.
    pub(super) fn step(&mut self, step: &TenureStep, now: Time) -> Result<Vec<Changed>, Box<Tenure>> {
        match step {
            TenureStep::Take(takes) => self.take_all(takes, now),
            TenureStep::Heard { rule, project, heard, idle } => {
                let name = (rule.clone(), project.clone());
                let Some(mut tenure) = self.rows.get(&name).cloned() else { return Ok(Vec::new()) };
                if heard.iter().filter(|heard| renew(&mut tenure, heard, *idle)).count() == 0 {
                    return Ok(Vec::new());
                }
                self.set(name, Some(tenure.clone()));
                Ok(vec![(TenureRow::Put(tenure.clone()), tenure)])
            }
            TenureStep::End { rule, project, since } => {
                let name = (rule.clone(), project.clone());
                let Some(ended) = self.rows.get(&name).filter(|tenure| tenure.since == *since).cloned() else {
                    return Ok(Vec::new());
                };
                self.set(name, None);
                Ok(vec![(TenureRow::Remove { rule: rule.clone(), project: project.clone() }, ended)])
            }
        }
    }

    fn take_all(&mut self, takes: &[Take], now: Time) -> Result<Vec<Changed>, Box<Tenure>> {
        let mark = self.mark();
        let changed: Result<Vec<Changed>, _> = takes.iter().map(|take| self.take(take, now)).collect();
        // Who may not have one of them gets none.
        changed.inspect_err(|_| self.take_back(mark))
    }

    fn set(&mut self, name: Name, tenure: Option<Tenure>) {
        let before = match tenure {
            Some(tenure) => self.rows.insert(name.clone(), tenure),
            None => self.rows.remove(&name),
        };
        self.before.push((name, before));
    }

    pub(super) fn mark(&self) -> usize {
        self.before.len()
    }

    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    pub(super) fn take_back(&mut self, mark: usize) {
        for (name, tenure) in self.before.drain(mark..).rev() {
            match tenure {
                Some(tenure) => self.rows.insert(name, tenure),
                None => self.rows.remove(&name),
            };
        }
    }
}

fn name(tenure: &Tenure) -> Name {
    (tenure.rule.clone(), tenure.project.clone())
}
