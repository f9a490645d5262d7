//! Writes that change guarded state of items which they do not name: what is understood of them.
//!
//! Deleting a branch closes its pull requests, renaming a label moves whatever carries it. Such a write is judged, and then
//! goes on as it came: nothing of it is written anew.

use super::{Address, Credential, Listed, Request, Sender, WireRequest, WireResponse};
use crate::model::{Place, Project, ResourceKey, Tag, TagId, TagRef};
use std::fmt;

/// Such a write, once understood.
#[derive(Clone, Debug)]
pub struct SideWrite {
    /// What it does beside.
    pub effect: SideEffect,
    /// Who sends it, where that is a session of the web interface.
    pub sender: Option<Sender>,
}

/// What a write does to items that it does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideEffect {
    /// Deletes a branch: closes the open pull requests from it and into it.
    DeleteBranch {
        /// Of this repository.
        project: Project,
        /// Its name.
        branch: String,
    },
    /// Deletes the branch that a finished pull request came from: closes the others from it and into it.
    CleanUp {
        /// The pull request.
        pull: Address,
    },
    /// Deletes a repository: its items end, and the open pull requests from it are closed.
    DeleteRepository {
        /// The repository.
        project: Project,
    },
    /// Changes a label wherever it is.
    EditLabel {
        /// Whose label.
        owner: LabelOwner,
        /// The label.
        label: TagRef,
        /// How.
        edit: LabelEdit,
    },
    /// Makes an item depend on another, which keeps it from being closed.
    AddDependency {
        /// The item that cannot be closed then.
        item: Address,
    },
    /// Files a new item by a form.
    File {
        /// In this repository.
        project: Project,
    },
    /// Moves, closes or renames where items stand, all of them at once.
    Sweep {
        /// Which items.
        scope: SweepScope,
        /// What is done, for people.
        how: String,
    },
    /// Names the branch whose pushes may close an item.
    EditRef {
        /// The item.
        item: Address,
        /// The branch, as the tracker spells it.
        wanted: String,
    },
}

/// The items that are moved at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepScope {
    /// All that have this status.
    Status(TagId),
    /// All of a project.
    Project(Project),
}

/// Whose labels they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelOwner {
    /// A repository's.
    Project(Project),
    /// An organisation's.
    Organisation(String),
}

/// What becomes of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelEdit {
    /// It goes.
    Delete,
    /// What is named changes.
    Change {
        /// Its name.
        name: Option<String>,
        /// Whether it excludes others of its scope.
        exclusive: Option<bool>,
        /// Whether it is put away.
        archived: Option<bool>,
    },
}

/// A label as a read shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelState {
    /// As spelled there.
    pub name: String,
    /// Whether it excludes others of its scope.
    pub exclusive: bool,
    /// Whether it is put away.
    pub archived: bool,
}

/// An open pull request and its branches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullBranches {
    /// Where it is.
    pub at: Place,
    /// The repository and the branch that it comes from; none: they are gone.
    pub head: Option<(Project, String)>,
    /// The branch of its own repository that it goes into.
    pub base: String,
}

/// The part of a dialect that is about side effects. What is not overridden, the tracker has none of.
pub trait SideEffects {
    /// A read of a repository.
    fn read_project(&self, _project: &Project, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// The repository of which the one that was read is a fork. `None`: the answer cannot be used.
    fn parent(&self, _response: &WireResponse) -> Option<Option<Project>> {
        None
    }

    /// The branches of a pull request that was read.
    fn branches(&self, _project: &Project, _response: &WireResponse) -> Option<PullBranches> {
        None
    }

    /// What a page of a repository's open pull requests showed.
    fn listed_branches(&self, _project: &Project, _response: &WireResponse) -> Option<Listed<PullBranches>> {
        None
    }

    /// A read of a label.
    fn read_label(&self, _owner: &LabelOwner, _label: &TagRef, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// What that read showed.
    fn label(&self, _response: &WireResponse) -> Option<LabelState> {
        None
    }

    /// A read of a page of the items that have this status.
    fn list_standing(&self, _status: &TagId, _page: usize, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// What that page showed.
    fn standing(&self, _response: &WireResponse) -> Option<Listed<ResourceKey>> {
        None
    }

    /// The branch whose pushes may close the item that was read.
    fn shown_ref(&self, _response: &WireResponse) -> Option<String> {
        None
    }
}

// === impl SideWrite, SideEffect, LabelEdit ===

impl SideEffect {
    /// The repository that it is about; none: an organisation's.
    pub fn project(&self) -> Option<Project> {
        match self {
            Self::DeleteBranch { project, .. }
            | Self::DeleteRepository { project }
            | Self::File { project }
            | Self::Sweep { scope: SweepScope::Project(project), .. }
            | Self::EditLabel { owner: LabelOwner::Project(project), .. } => Some(project.clone()),
            Self::Sweep { scope: SweepScope::Status(_), .. }
            | Self::EditLabel { owner: LabelOwner::Organisation(_), .. } => None,
            Self::CleanUp { pull: item } | Self::AddDependency { item } | Self::EditRef { item, .. } => {
                item.project().cloned()
            }
        }
    }
}

impl Request for SideWrite {
    fn locator(&self) -> Place {
        match &self.effect {
            SideEffect::EditLabel { owner: LabelOwner::Organisation(name), .. } => Place::new(name),
            SideEffect::Sweep { scope: SweepScope::Status(status), .. } => Place::new(&status.to_string()),
            effect => effect.project().map_or_else(|| Place::new("-"), |project| Place::whole(&project)),
        }
    }

    fn describe(&self) -> String {
        self.effect.to_string()
    }

    fn sender(&self) -> Option<&Sender> {
        self.sender.as_ref()
    }
}

impl LabelState {
    /// The label, as an item carries it. One that is exclusive stands alone in its scope, which is what comes before the last
    /// `/` (Gitea from 1.19, Forgejo from 7).
    pub fn tag(self, id: u64) -> Tag {
        let scope = self.name.rsplit_once('/').filter(|(scope, name)| !scope.is_empty() && !name.is_empty());
        let group = scope.filter(|_| self.exclusive).map(|(scope, _)| scope.into());
        Tag { id: Some(TagId::Number(id)), name: self.name, group, state: None }
    }
}

impl LabelEdit {
    /// What it changes of this label besides colour and description.
    pub fn changes(&self, label: &LabelState) -> bool {
        match self {
            Self::Delete => true,
            Self::Change { name, exclusive, archived } => {
                name.as_ref().is_some_and(|name| *name != label.name)
                    || exclusive.is_some_and(|exclusive| exclusive != label.exclusive)
                    || archived.is_some_and(|archived| archived != label.archived)
            }
        }
    }

    /// What the label is called afterwards.
    pub fn name<'a>(&'a self, label: &'a LabelState) -> Option<&'a str> {
        match self {
            Self::Delete => None,
            Self::Change { name, .. } => Some(name.as_deref().unwrap_or(&label.name)),
        }
    }
}

/// Clients choose these texts; the audit keeps only so much of them.
fn bounded(text: &str) -> String {
    text.chars().take(MOST_LETTERS).collect()
}

const MOST_LETTERS: usize = 200;

/// For the audit.
impl fmt::Display for SideEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteBranch { project, branch } => write!(f, "delete branch {} of {project}", bounded(branch)),
            Self::CleanUp { pull } => write!(f, "delete the branch of {}", pull.locator()),
            Self::DeleteRepository { project } => write!(f, "delete repository {project}"),
            Self::EditLabel { owner, label, edit } => {
                let what = if *edit == LabelEdit::Delete { "delete" } else { "edit" };
                let label = bounded(&label.to_string());
                match owner {
                    LabelOwner::Project(project) => write!(f, "{what} label {label} of {project}"),
                    LabelOwner::Organisation(name) => {
                        write!(f, "{what} label {label} of organisation {}", bounded(name))
                    }
                }
            }
            Self::File { project } => write!(f, "create in {project}"),
            Self::Sweep { how, .. } => f.write_str(&bounded(how)),
            Self::AddDependency { item } => write!(f, "make {} depend on another", item.locator()),
            Self::EditRef { item, wanted } => write!(f, "set ref of {} to {:?}", item.locator(), bounded(wanted)),
        }
    }
}
