//! What is guarded: an item, keyed by what cannot change.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The tracker's immutable id of an item (Forgejo: the global issue id, which an issue and its pull request share).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey(Arc<str>);

/// A repository, board, team or project, as its dialect names it (`owner/repo`). Compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Project(Arc<str>);

/// Where an item is found today: a text that its dialect makes and reads (`alice/shop#7`, `ENG-12`, `#7`), which no two
/// items of a tracker share. It can change (rename, transfer); the key cannot.
#[derive(Clone)]
pub struct Place {
    text: Arc<str>,
    /// The project that it stands in, where the text says so or a read did.
    project: Option<Project>,
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

// === impl Project, Place ===

impl Project {
    /// From its name, folded to lower case as trackers compare it.
    pub fn new(name: &str) -> Self {
        Self(name.to_lowercase().into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Place {
    /// A place whose text does not say in which project it is.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), project: None }
    }

    /// A place in this project.
    pub fn within(project: &Project, text: &str) -> Self {
        Self { text: text.into(), project: Some(project.clone()) }
    }

    /// An item by its number in a project: `owner/repo#7`.
    pub fn numbered(project: &Project, number: u64) -> Self {
        Self::within(project, &format!("{project}#{number}"))
    }

    /// A project as a whole: of what does not exist yet there is no other place.
    pub fn whole(project: &Project) -> Self {
        Self::within(project, project.as_str())
    }

    /// As its dialect writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The project, where it is known.
    pub fn project(&self) -> Option<&Project> {
        self.project.as_ref()
    }

    /// The project of a place that was read: every read tells it.
    pub fn known_project(&self) -> Project {
        self.project.clone().unwrap_or_else(|| Project::new(&self.text))
    }

    /// Whether it is known to stand in this project.
    pub fn is_in(&self, project: &Project) -> bool {
        self.project.as_ref() == Some(project)
    }

    /// What people call the project, or the place itself where that is not known.
    pub fn project_name(&self) -> &str {
        self.project.as_ref().map_or(&self.text, Project::as_str)
    }

    /// With its project, as ledgers keep it: that comes first, unless the text begins with it. Neither has a space in it
    /// that comes last.
    pub fn to_stored(&self) -> String {
        match &self.project {
            Some(project) if Self::named_in(&self.text) != Some(project.as_str()) => format!("{project} {}", self.text),
            _ => self.text.to_string(),
        }
    }

    /// Reads what [`to_stored`](Self::to_stored) wrote.
    pub fn from_stored(stored: &str) -> Self {
        match stored.rsplit_once(' ') {
            Some((project, text)) => Self::within(&Project::new(project), text),
            None => match Self::named_in(stored) {
                Some(project) => Self::within(&Project::new(project), stored),
                None => Self::new(stored),
            },
        }
    }

    /// The project of a text like `owner/repo#7`.
    fn named_in(text: &str) -> Option<&str> {
        text.rsplit_once('#').map(|(project, _)| project).filter(|project| !project.is_empty())
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_place_keeps_its_project() {
        let shop = Project::new("Web Shop");
        for place in [
            Place::from_stored("alice/shop#7"),
            Place::within(&shop, "#7"),
            Place::within(&Project::new("ENG"), "ENG-12"),
            Place::new("#7"),
            Place::whole(&Project::new("alice/shop")),
        ] {
            let read = Place::from_stored(&place.to_stored());
            assert_eq!((read.as_str(), read.project()), (place.as_str(), place.project()));
        }
        assert_eq!(Place::within(&shop, "#7"), Place::new("#7"), "the text alone names an item");
        // As an older ledger wrote it.
        assert!(Place::from_stored("alice/shop#7").is_in(&Project::new("alice/shop")));
    }
}
