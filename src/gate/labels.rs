//! What labels there are: a request names them by id, a rule by name.
//!
//! Read with the caller's own credential and kept for a short while; read anew where a request names what is not known,
//! and forgotten when a request that passes the gate may have changed what labels there are.

use super::Gate;
use super::refusal;
use super::section::Stop;
use crate::dialect::{Address, Credential, Listing};
use crate::model::{Code, Label, LabelRef, Project, Rejection, Snapshot};
use moka::sync::Cache;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The labels of repositories, as lately read.
#[derive(Debug)]
pub(super) struct Labels {
    known: Cache<Project, Arc<[Label]>>,
    /// Rises when they are forgotten: a list that was asked for before is not kept.
    version: AtomicU64,
}

/// A label made outside the gate, or changed there, is known after this time.
const KEPT: Duration = Duration::from_secs(30);
const MOST_PROJECTS: u64 = 10_000;
/// Pages of labels that are looked through.
const MOST_PAGES: usize = 40;

// === impl Labels ===

impl Default for Labels {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(MOST_PROJECTS).time_to_live(KEPT).build();
        Self { known, version: AtomicU64::new(0) }
    }
}

// === impl Gate ===

impl Gate {
    /// A request has passed that may have changed what labels there are.
    pub fn forget_labels(&self) {
        self.labels.version.fetch_add(1, Ordering::AcqRel);
        self.labels.known.invalidate_all();
    }

    /// What these name besides the labels that the item carries, as far as is known without asking.
    pub(super) fn known_labels(&self, refs: &BTreeSet<LabelRef>, seen: &Snapshot) -> Option<Vec<Label>> {
        let known = self.labels.known.get(&seen.locator.project).unwrap_or_default();
        named(refs, seen, &known)
    }

    /// What these name. A name that is no label's is taken at its word.
    pub(super) async fn named_labels(
        &self,
        refs: &BTreeSet<LabelRef>,
        seen: &Snapshot,
        address: &Address,
        credential: &Credential,
    ) -> Result<Vec<Label>, Stop> {
        if let Some(labels) = self.known_labels(refs, seen) {
            return Ok(labels);
        }
        let version = self.labels.version.load(Ordering::Acquire);
        let mut all = Vec::new();
        for of_owner in [false, true] {
            if named(refs, seen, &all).is_none() {
                all.extend(self.list_labels(address, of_owner, credential).await?);
            }
        }
        let labels = match named(refs, seen, &all) {
            Some(labels) => labels,
            None => taken_at_word(refs, seen, &all).map_err(|name| Stop::Refuse(no_such_label(name, seen)))?,
        };
        if self.labels.version.load(Ordering::Acquire) == version {
            self.labels.known.insert(seen.locator.project.clone(), all.into());
        }
        Ok(labels)
    }

    /// Every label of a repository, or of the organisation that owns it.
    pub(super) async fn list_labels(
        &self,
        address: &Address,
        of_owner: bool,
        credential: &Credential,
    ) -> Result<Vec<Label>, Stop> {
        let unreadable = |why: &str| Stop::Refuse(refusal::unreadable(&address.locator(), why));
        let project = address.project();
        let listing = if of_owner { Listing::SharedLabels(&project) } else { Listing::Labels(&project) };
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let request = self.ports.dialect.list(listing, page, credential);
            let answer = self.ports.upstream.read(request).await;
            let (response, _) = answer.map_err(|error| unreadable(&error.to_string()))?;
            match response.status.as_u16() {
                // The owner is a person, or the caller may not see what the organisation has.
                401 | 403 | 404 if of_owner => break,
                401 | 403 | 404 | 429 => return Err(Stop::Tracker(Box::new(response))),
                _ => {}
            }
            let labels = self.ports.dialect.labels(&response);
            let labels = labels.ok_or_else(|| unreadable("the list of labels could not be read"))?;
            let none_more = labels.is_empty();
            all.extend(labels);
            if none_more {
                break;
            }
        }
        Ok(all)
    }
}

/// The labels that these name, besides those that the item carries; `None` where one of them is not known.
fn named(refs: &BTreeSet<LabelRef>, seen: &Snapshot, known: &[Label]) -> Option<Vec<Label>> {
    refs.iter().all(|wanted| is_known(wanted, seen, known)).then(|| meant(refs, known).collect())
}

fn is_known(wanted: &LabelRef, seen: &Snapshot, known: &[Label]) -> bool {
    seen.labels.iter().chain(known).any(|label| wanted.names(label.id, &label.name))
}

fn meant(refs: &BTreeSet<LabelRef>, known: &[Label]) -> impl Iterator<Item = Label> {
    known.iter().filter(|label| refs.iter().any(|wanted| wanted.may_mean(label))).cloned()
}

/// Names that no label has are taken at their word: the tracker makes nothing of them. One with accents and the like is
/// given back: some databases take it for a label without them.
fn taken_at_word<'a>(refs: &'a BTreeSet<LabelRef>, seen: &Snapshot, known: &[Label]) -> Result<Vec<Label>, &'a str> {
    let mut labels: Vec<Label> = meant(refs, known).collect();
    for wanted in refs {
        match wanted {
            LabelRef::Name(name) if !name.is_ascii() && !is_known(wanted, seen, known) => return Err(name),
            LabelRef::Name(name) => labels.push(Label { id: 0, name: name.clone(), exclusive: false }),
            LabelRef::Id(_) => {}
        }
    }
    Ok(labels)
}

fn no_such_label(name: &str, seen: &Snapshot) -> Box<Rejection> {
    let locator = &seen.locator;
    let message = format!("{} has no label `{name}`: name one that it has, as it is written there", locator.project);
    refusal::plain(Code::AmbiguousRequest, locator, message)
}
