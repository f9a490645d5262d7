//! What labels there are: a request names them by id, a rule by name.
//!
//! Read with the caller's own credential and kept for a short while; read anew where a request names what is not known,
//! and forgotten when a request that passes the gate may have changed what labels there are.

use super::Gate;
use super::conversation::Unread;
use super::refusal;
use super::walk::EarlyExit;
use crate::dialect::{AnswerClass, Credential, LabelOwner, Listing};
use crate::model::{Code, Place, Project, Rejection, SetChange, Snapshot, Tag, TagId, TagRef};
use moka::sync::Cache;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The labels of repositories, as lately read.
#[derive(Debug)]
pub(super) struct Labels {
    known: Cache<Option<Project>, Arc<Known>>,
    /// Repositories that have more labels than are looked through.
    more: Cache<Option<Project>, ()>,
    /// Rises when they are forgotten: a list that was asked for before is not kept.
    version: AtomicU64,
}

/// The labels of one repository.
#[derive(Clone, Debug, Default)]
struct Known {
    labels: Vec<Tag>,
    /// There are no more.
    whole: bool,
}

/// A label made outside the gate, or changed there, is known after this time.
const KEPT: Duration = Duration::from_secs(30);
const MOST_PROJECTS: u64 = 10_000;
/// Pages of labels that are looked through.
const MOST_PAGES: usize = 40;
/// So long somebody who reads a history waits for what its labels are called.
const NAMED_WITHIN: Duration = Duration::from_secs(2);

// === impl Labels ===

impl Default for Labels {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(MOST_PROJECTS).time_to_live(KEPT).build();
        let more = Cache::builder().max_capacity(MOST_PROJECTS).time_to_live(KEPT).build();
        Self { known, more, version: AtomicU64::new(0) }
    }
}

// === impl Gate ===

impl Gate {
    /// A request has passed that may have changed what labels there are.
    pub fn forget_labels(&self) {
        self.labels.version.fetch_add(1, Ordering::AcqRel);
        self.labels.known.invalidate_all();
        self.labels.more.invalidate_all();
    }

    /// What these name besides the labels that the item carries, as far as is known without asking.
    pub(super) fn known_labels(&self, refs: &BTreeSet<TagRef>, seen: &Snapshot) -> Option<Vec<Tag>> {
        let known = self.labels.known.get(&seen.locator.project().cloned()).unwrap_or_default();
        if self.ports.dialect.makes_labels() {
            return described(refs, seen, &known.labels);
        }
        named(refs, seen, &known.labels)
    }

    /// What labels with these ids are called, for a person to read: as lately read, else by the service token. What cannot
    /// be found out in a moment is left out.
    pub async fn label_names(&self, at: &Place, ids: &BTreeSet<u64>) -> BTreeMap<u64, String> {
        let known = self.labels.known.get(&at.project().cloned()).unwrap_or_default();
        let mut names = called(&known.labels, ids);
        let Some(service) = &self.ports.service else { return names };
        let asking = async {
            for of_owner in [false, true] {
                if ids.iter().any(|id| !names.contains_key(id)) {
                    let listed = self.list_labels(at, of_owner, service).await.unwrap_or_default();
                    names.extend(called(&listed, ids));
                }
            }
        };
        drop(tokio::time::timeout(NAMED_WITHIN, asking).await);
        names
    }

    /// Whether a repository was lately seen to have more labels than are looked through: one that was not found may be
    /// there all the same.
    pub(super) fn has_more_labels(&self, project: Option<&Project>) -> bool {
        self.labels.more.contains_key(&project.cloned())
    }

    /// What the change names, besides the labels that the item carries. What it sets must be a label, where all of them may be read.
    pub(super) async fn named_labels(
        &self,
        change: &SetChange<TagRef>,
        seen: &Snapshot,
        at: &Place,
        credential: &Credential,
    ) -> Result<Vec<Tag>, EarlyExit> {
        let refs = change.members();
        let labels = match self.known_labels(refs, seen) {
            Some(labels) => labels,
            None => self.listed_labels(change, seen, at, credential).await?,
        };
        match change {
            SetChange::Remove(_) => Ok(labels),
            SetChange::Add(_) | SetChange::Replace(_) => match rivals(refs, seen, &labels) {
                Some(pair) => Err(EarlyExit::Refuse(exclusive(pair, &seen.locator))),
                None => Ok(labels),
            },
        }
    }

    async fn listed_labels(
        &self,
        change: &SetChange<TagRef>,
        seen: &Snapshot,
        at: &Place,
        credential: &Credential,
    ) -> Result<Vec<Tag>, EarlyExit> {
        let refs = change.members();
        let version = self.labels.version.load(Ordering::Acquire);
        let lately = self.labels.known.get(&seen.locator.project().cloned()).filter(|known| !known.whole);
        // So many are not looked through again for each name.
        let (mut all, open) = match lately {
            Some(known) => (Known::clone(&known), false),
            None => self.list_all(refs, seen, at, credential).await?,
        };
        all.labels.extend(self.labels_by_id(refs, seen, &all, credential).await);
        let labels = match named(refs, seen, &all.labels) {
            Some(labels) => labels,
            None => taken_at_word(change, seen, &all.labels, open && all.whole)
                .map_err(|wanted| EarlyExit::Refuse(no_such_label(wanted, seen)))?,
        };
        if self.labels.version.load(Ordering::Acquire) == version {
            self.labels.known.insert(seen.locator.project().cloned(), all.into());
        }
        Ok(labels)
    }

    /// The repository's labels and, where these name others, its organisation's; and whether the caller may see those.
    async fn list_all(
        &self,
        refs: &BTreeSet<TagRef>,
        seen: &Snapshot,
        at: &Place,
        credential: &Credential,
    ) -> Result<(Known, bool), EarlyExit> {
        let mut all = self.labels_of(at, false, credential).await?.unwrap_or_default();
        // The organisation's labels may be closed to the caller, and open to the service token.
        let mut open = false;
        for reader in std::iter::once(credential).chain(&self.ports.service) {
            if !open && named(refs, seen, &all.labels).is_none() {
                let shared = self.labels_of(at, true, reader).await?;
                open = shared.is_some();
                let shared = shared.unwrap_or_else(|| Known { whole: true, ..Known::default() });
                all.labels.extend(shared.labels);
                all.whole &= shared.whole;
            }
        }
        Ok((all, open))
    }

    /// Those of the ids that were not found, each by a read of its own, where there may be more than was listed, or the
    /// tracker shows a label wherever it is. There is no such read for a name.
    async fn labels_by_id(
        &self,
        refs: &BTreeSet<TagRef>,
        seen: &Snapshot,
        known: &Known,
        credential: &Credential,
    ) -> Vec<Tag> {
        let mut found = Vec::new();
        for wanted in refs.iter().filter(|wanted| !is_known(wanted, seen, &known.labels)) {
            let TagRef::Id(id) = wanted else { continue };
            if let Some(request) = self.ports.dialect.read_tag(id, credential) {
                let answer = self.ports.upstream.read(request).await;
                found.extend(answer.ok().and_then(|(response, _)| self.ports.dialect.tag(&response)));
                continue;
            }
            let TagId::Number(id) = id else { continue };
            let Some(project) = seen.locator.project().filter(|_| !known.whole) else { continue };
            let owner = project.as_str().split_once('/').map_or("", |(owner, _)| owner);
            for of in [LabelOwner::Project(project.clone()), LabelOwner::Organisation(owner.to_owned())] {
                let Some(request) = self.ports.dialect.read_label(&of, wanted, credential) else { continue };
                let answer = self.ports.upstream.read(request).await;
                if let Some(label) = answer.ok().and_then(|(response, _)| self.ports.dialect.label(&response)) {
                    found.push(label.tag(*id));
                    break;
                }
            }
        }
        found
    }

    /// Every label of a repository, or of the organisation that owns it as far as the caller may see them.
    pub(super) async fn list_labels(
        &self,
        at: &Place,
        of_owner: bool,
        credential: &Credential,
    ) -> Result<Vec<Tag>, EarlyExit> {
        Ok(self.labels_of(at, of_owner, credential).await?.unwrap_or_default().labels)
    }

    /// The place of an item with its project, which a request that names the item by itself does not say.
    async fn placed(&self, at: &Place, credential: &Credential) -> Result<Place, EarlyExit> {
        let address = self.ports.dialect.address(at);
        let Some(address) = address.filter(|_| at.project().is_none() && !self.ports.dialect.has_global_labels())
        else {
            return Ok(at.clone());
        };
        match self.read_item(&address, credential, "project", true).await {
            Ok(read) => Ok(read.seen.locator),
            Err(Unread::Denied(response)) => Err(EarlyExit::Tracker(response)),
            Err(unread) => Err(EarlyExit::Refuse(refusal::unreadable(at, &unread.to_string()))),
        }
    }

    /// The same; of an owner that is a person there are none. `None`: the caller may not see the organisation's.
    async fn labels_of(&self, at: &Place, of_owner: bool, credential: &Credential) -> Result<Option<Known>, EarlyExit> {
        let unreadable = |why: &str| EarlyExit::Refuse(refusal::unreadable(at, why));
        let placed = self.placed(at, credential).await?;
        let project = placed.project();
        let listing = if of_owner { Listing::SharedLabels(project) } else { Listing::Labels(project) };
        let mut all = Known::default();
        for page in 1..=MOST_PAGES {
            let request = self.ports.dialect.list(listing, page, credential);
            let answer = self.ports.upstream.read(request).await;
            let (response, _) = answer.map_err(|error| unreadable(&error.to_string()))?;
            match response.class() {
                // The token lacks the scope.
                AnswerClass::Unauthorized | AnswerClass::Forbidden if of_owner => return Ok(None),
                // The owner is a person.
                AnswerClass::Missing if of_owner => {
                    all.whole = true;
                    break;
                }
                AnswerClass::Unauthorized | AnswerClass::Forbidden | AnswerClass::Missing | AnswerClass::Limited => {
                    return Err(EarlyExit::Tracker(Box::new(response)));
                }
                _ => {}
            }
            let labels = self.ports.dialect.labels(&response);
            let labels = labels.ok_or_else(|| unreadable("the list of labels could not be read"))?;
            // A tracker that has no pages shows the same ones again.
            let new: Vec<Tag> = labels.into_iter().filter(|label| !all.labels.contains(label)).collect();
            all.whole = new.is_empty();
            all.labels.extend(new);
            if all.whole {
                break;
            }
        }
        if !all.whole {
            self.labels.more.insert(project.cloned(), ());
        }
        Ok(Some(all))
    }
}

fn called(labels: &[Tag], ids: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let numbered = |label: &Tag| Some((label.id.as_ref()?.number()?, label.name.clone()));
    labels.iter().filter_map(numbered).filter(|(id, _)| ids.contains(id)).collect()
}

/// The labels that these name, besides those that the item carries; `None` where one of them is not known.
fn named(refs: &BTreeSet<TagRef>, seen: &Snapshot, known: &[Tag]) -> Option<Vec<Tag>> {
    refs.iter().all(|wanted| is_known(wanted, seen, known)).then(|| meant(refs, known).collect())
}

/// The same where a name alone says which label it is, whether or not there is one yet, in any case of its letters.
fn described(refs: &BTreeSet<TagRef>, seen: &Snapshot, known: &[Tag]) -> Option<Vec<Tag>> {
    let (names, ids): (BTreeSet<&TagRef>, BTreeSet<&TagRef>) =
        refs.iter().partition(|wanted| matches!(wanted, TagRef::Name(_)));
    let new = |wanted: &&&TagRef| !seen.labels.iter().any(|label| wanted.names(label));
    let new = names.iter().filter(new).map(|wanted| match wanted {
        TagRef::Name(name) => Tag { id: None, name: name.clone(), group: None, state: None },
        TagRef::Id(id) => Tag { id: Some(id.clone()), name: id.to_string(), group: None, state: None },
    });
    let ids: BTreeSet<TagRef> = ids.into_iter().cloned().collect();
    Some(new.chain(named(&ids, seen, known)?).collect())
}

fn is_known(wanted: &TagRef, seen: &Snapshot, known: &[Tag]) -> bool {
    seen.labels.iter().chain(known).any(|label| is_exactly(wanted, label))
}

/// As it is written: trackers drop a name in another case, or take it for the label, as their database compares.
fn is_exactly(wanted: &TagRef, label: &Tag) -> bool {
    match wanted {
        TagRef::Id(id) => label.id.as_ref() == Some(id),
        TagRef::Name(name) => *name == label.name,
    }
}

fn meant(refs: &BTreeSet<TagRef>, known: &[Tag]) -> impl Iterator<Item = Tag> {
    known.iter().filter(|label| refs.iter().any(|wanted| wanted.may_mean(label))).cloned()
}

/// What no label is called, is given back where it is to be set: the tracker would drop it without a word, and set the
/// rest. Where not all labels could be read (`whole`), a name is taken at its word; but one that differs from a label's in
/// case, accents and the like never is, since some databases take it for that label, nor is an id: what it sets nobody
/// knows.
fn taken_at_word<'a>(
    change: &'a SetChange<TagRef>,
    seen: &Snapshot,
    known: &[Tag],
    whole: bool,
) -> Result<Vec<Tag>, &'a TagRef> {
    let (refs, removes) = (change.members(), matches!(change, SetChange::Remove(_)));
    let mut labels: Vec<Tag> = meant(refs, known).collect();
    for wanted in refs.iter().filter(|wanted| !is_known(wanted, seen, known)) {
        let alike = || seen.labels.iter().chain(known).any(|label| wanted.names(label));
        match wanted {
            TagRef::Name(name) if !name.is_ascii() || alike() => return Err(wanted),
            TagRef::Name(_) if whole && !removes => return Err(wanted),
            TagRef::Name(name) => labels.push(Tag { id: None, name: name.clone(), group: None, state: None }),
            TagRef::Id(_) if removes => {}
            TagRef::Id(_) => return Err(wanted),
        }
    }
    Ok(labels)
}

/// Two of the labels to be there that exclude each other: which of them stays is the tracker's secret.
fn rivals(refs: &BTreeSet<TagRef>, seen: &Snapshot, known: &[Tag]) -> Option<[String; 2]> {
    let wanted = || seen.labels.iter().chain(known).filter(|label| refs.iter().any(|wanted| is_exactly(wanted, label)));
    wanted().find_map(|one| {
        let other = wanted().find(|other| one.excludes(other))?;
        Some([one.name.clone(), other.name.clone()])
    })
}

fn exclusive([one, other]: [String; 2], at: &Place) -> Box<Rejection> {
    let message = format!("{at}: the labels `{one}` and `{other}` exclude each other: name one of them");
    refusal::plain(Code::AmbiguousRequest, at, message)
}

fn no_such_label(wanted: &TagRef, seen: &Snapshot) -> Box<Rejection> {
    let locator = &seen.locator;
    let message = match wanted {
        TagRef::Name(name) => {
            format!("{} has no label `{name}`: name one that it has, as it is written there", locator.project_name())
        }
        TagRef::Id(TagId::Text(id)) => {
            format!("{locator}: there is no {id} where it could stand: name what its project has")
        }
        TagRef::Id(id) => format!(
            "{} has no label {id} that this token may list: name one that it may (one of an organisation takes the scope \
             read:organization)",
            locator.project_name()
        ),
    };
    refusal::plain(Code::AmbiguousRequest, locator, message)
}
