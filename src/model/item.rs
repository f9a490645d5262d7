//! What is guarded: an item, keyed by what cannot change.

use std::fmt;
use std::sync::Arc;

/// The tracker's immutable id of an item (Forgejo: the global issue id, which an issue and its pull request share).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey(Arc<str>);

/// A repository, board or team: `owner/repo`, lower-case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Project(Arc<str>);

/// Where an item is found today: `owner/repo#n`. It can change (rename, transfer); the key cannot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locator {
    /// The project that it stands in.
    pub project: Project,
    /// Its number there.
    pub number: u64,
}

/// What kind of item it is. A tracker may let an account read the one kind and not the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemKind {
    /// An issue.
    Issue,
    /// A pull request.
    Pull,
}

/// The longest name of an account, a repository or a label, characters: what trackers keep of one (`VARCHAR(255)`).
pub const LONGEST_NAME: usize = 255;

/// Whether a name is no longer than any that a tracker gives.
pub fn is_short_name(name: &str) -> bool {
    name.chars().nth(LONGEST_NAME).is_none()
}

// === impl ResourceKey ===

impl ResourceKey {
    /// From the tracker's own form.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The tracker's own form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Project, Locator ===

impl Project {
    /// From `owner` and `repo`, folded to lower case as the tracker compares them.
    pub fn new(owner: &str, repo: &str) -> Self {
        Self(format!("{owner}/{repo}").to_lowercase().into())
    }

    /// `owner/repo`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Locator {
    /// `owner/repo#n`.
    pub fn new(owner: &str, repo: &str, number: u64) -> Self {
        Self { project: Project::new(owner, repo), number }
    }

    /// Reads `owner/repo#n`.
    pub fn parse(text: &str) -> Option<Self> {
        let (project, number) = text.split_once('#')?;
        let (owner, repo) = project.split_once('/')?;
        let plain = !owner.is_empty() && !repo.is_empty() && !repo.contains('/');
        plain.then(|| number.parse().ok()).flatten().map(|number| Self::new(owner, repo, number))
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.project, self.number)
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
