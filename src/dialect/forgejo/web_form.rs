//! A form of the web interface, by its path.

use super::super::target::join;
use super::super::{Address, ParseError, Target};
use super::location;
use super::path_names::{bent, names, plain_number};
use crate::model::Project;

/// One form: whose page it is on, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebForm {
    pub(super) owner: String,
    pub(super) repo: String,
    pub(super) kind: &'static str,
    pub(super) act: WebAct,
    /// The path after the kind.
    pub(super) tail: Vec<String>,
}

/// What a form does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebAct {
    /// Toggles an assignee, or clears them.
    Assignee,
    /// Attaches, detaches, toggles or clears labels.
    Labels,
    /// Closes or reopens.
    Status,
    /// Puts issues on a board.
    Projects,
    /// Requests a review, or takes the request back.
    RequestReview,
    /// Deletes issues.
    Delete,
    /// Deletes the issue of the path.
    DeleteOne,
    /// Comments, and may close or reopen on the way.
    Comment,
    /// Files an issue.
    New,
    /// Opens a pull request.
    Compare,
    /// Moves cards into a column.
    MoveCards,
    /// Moves one card into a column (Gitea 1.15).
    MoveCard,
    /// Nothing that is known here: whether it can be a guarded form is told by what it names.
    Unknown,
}

/// The form at this path.
pub fn route(act: WebAct, target: &Target) -> Result<FormRoute, ParseError> {
    let [owner, repo, kind, tail @ ..] = target.segments() else { return Err(bent("it is too short")) };
    let repo = repo.strip_suffix(".git").unwrap_or(repo);
    if [".git", ".rss", ".atom"].iter().any(|end| repo.ends_with(end)) {
        return Err(bent("its repository has an ending that not every version takes away"));
    }
    let (owner, repo) = names(owner, repo)?;
    let kind = match kind.as_str() {
        "compare" => "compare",
        "projects" => "projects",
        // Forgejo 7 to 13 do not anchor the pattern of this segment.
        kind if kind.starts_with("issues") => "issues",
        kind if kind.ends_with("pulls") => "pulls",
        _ => return Err(bent("its fixed parts are not spelled in lower case")),
    };
    let project = location::project(&owner, &repo);
    let form = WebForm { owner, repo, kind, act, tail: tail.to_vec() };
    // What is not known is never written anew.
    if act != WebAct::Unknown && !form.is_spelled() {
        return Err(bent("its fixed parts are not spelled in lower case"));
    }
    Ok(FormRoute { project, form })
}

impl WebForm {
    pub(in crate::dialect) fn is_unknown(&self) -> bool {
        self.act == WebAct::Unknown
    }

    /// The canonical path.
    pub(super) fn path(&self) -> String {
        let head = [self.owner.as_str(), self.repo.as_str(), self.kind];
        join(&head.into_iter().chain(self.tail.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    /// Whether the words of the path that its pattern fixes are in lower case: others the tracker does not know.
    fn is_spelled(&self) -> bool {
        let words = self.tail.iter().filter(|_| self.act != WebAct::Compare);
        words.flat_map(|word| word.chars()).all(|letter| !letter.is_uppercase() && letter.is_ascii())
    }

    /// A number of the path, written plainly.
    pub(super) fn number(&self, at: usize) -> Result<u64, ParseError> {
        let number = self.tail.get(at).and_then(|text| plain_number(text));
        number.ok_or_else(|| bent("its number is not written plainly, as in /issues/7"))
    }

    pub(super) fn project(&self) -> Project {
        location::project(&self.owner, &self.repo)
    }

    pub(super) fn address(&self) -> Result<Address, ParseError> {
        Ok(location::address(&self.owner, &self.repo, self.number(0)?, location::kind_of(self.kind)))
    }
}

impl WebAct {
    /// The fields that the gate understands: each must be spelled exactly, and stand once.
    pub(super) fn watched(self) -> &'static [&'static str] {
        match self {
            Self::Assignee | Self::Labels | Self::Status | Self::RequestReview | Self::Projects | Self::Delete => {
                &["issue_ids", "id", "action"]
            }
            Self::Comment => &["status"],
            Self::New | Self::Compare => &["assignee_id", "assignee_ids"],
            Self::MoveCards => &["issues"],
            Self::DeleteOne | Self::MoveCard | Self::Unknown => &[],
        }
    }
}

/// A form that may change several items, before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormRoute {
    /// The repository, or whatever else owns the page that the form is on.
    pub(super) project: Project,
    pub(super) form: WebForm,
}

impl FormRoute {
    /// Whether the call is not known: it passes only where it can be no form of a guarded field.
    pub(super) fn is_unknown(&self) -> bool {
        self.form.is_unknown()
    }
}
