//! A call of the API that may change guarded fields, before its body is read.

use super::super::{Address, Subject};
use crate::model::{Place, Project, What};

/// Which guarded route a write came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteForm {
    /// PATCH of an issue.
    EditIssue,
    /// PATCH of a pull request.
    EditPull,
    /// POST of an issue.
    CreateIssue,
    /// POST of a pull request.
    CreatePull,
    /// POST of assignees (Gitea 1.27).
    AddAssignees,
    /// DELETE of assignees (Gitea 1.27).
    RemoveAssignees,
    /// POST of labels.
    AddLabels,
    /// PUT of labels.
    ReplaceLabels,
    /// DELETE of every label.
    ClearLabels,
    /// DELETE of one label.
    RemoveLabel,
    /// The gate's own removal of one label, by id: a DELETE where nothing else is known by that name, else a PUT.
    DropLabel,
    /// The same, a PUT of the labels that stay.
    LeaveOtherLabels,
    /// POST of requested reviewers.
    AddReviewers,
    /// DELETE of requested reviewers.
    RemoveReviewers,
    /// POST of a review.
    CreateReview,
    /// POST to a review that is a draft yet, by its id.
    SubmitReview(u64),
}

/// A write that may change a guarded field, before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where it stands.
    pub(super) scope: Scope,
    pub(super) form: WriteForm,
}

/// Where a write stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// An item that exists.
    Item(Address),
    /// A new one.
    Create(Project),
}

impl Scope {
    /// The same as what a request is about.
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Item(address) => Subject::At(address.clone()),
            Self::Create(project) => Subject::New(project.clone()),
        }
    }

    /// For texts: the item, or the project as a whole.
    pub(super) fn locator(&self) -> Place {
        match self {
            Self::Item(address) => address.locator(),
            Self::Create(project) => Place::whole(project),
        }
    }
}

impl Write {
    /// Whether it files a new item.
    pub(super) fn is_new_item(&self) -> bool {
        matches!(self.scope, Scope::Create(_))
    }

    /// What it may create that a rule can be about.
    pub(super) fn creates(&self) -> Option<What> {
        match self.form {
            WriteForm::CreatePull => Some(What::Pull),
            WriteForm::CreateReview | WriteForm::SubmitReview(_) => Some(What::Review),
            _ => None,
        }
    }
}
