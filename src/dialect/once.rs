//! Creations that a rule may allow only once: what they are about, and how what exists is read.

use super::json::fold_text;
use super::{Address, Credential, WireRequest, WireResponse};
use crate::model::{Existing, Made, Project, What};
use std::collections::BTreeSet;
use std::fmt;

/// How a text says that merging its pull request closes an issue, as the tracker is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosingSyntax {
    /// The words before a reference, folded.
    pub(super) keywords: BTreeSet<String>,
    /// Where the tracker's own pages are; none: not known.
    pub(super) site: Option<Site>,
}

/// The public address of the tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// With its port, in lower case, without `www.`.
    host: String,
    /// The sub-path, without a slash at its end.
    pub(super) path: String,
}

/// Forgejo's and Gitea's, unless they are configured otherwise.
pub const CLOSING_KEYWORDS: [&str; 9] =
    ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];

/// A creation, as far as a rule can be about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// A review.
    Review {
        /// Of this pull request.
        pull: Address,
        /// Of this commit; none: of the pull request's head, whichever that is then.
        commit: Option<String>,
        /// With this verdict.
        event: String,
        /// It has been there as a draft, under this id, and with the draft's commit.
        submits: Option<u64>,
    },
    /// A pull request.
    Pull {
        /// In this repository.
        project: Project,
        /// It says that it closes these.
        closes: Vec<Address>,
    },
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// What could be read of it.
    pub found: Vec<T>,
    /// How many rows the page had.
    pub rows: usize,
    /// How many there are on all pages, where the tracker says so.
    pub total: Option<usize>,
}

/// The part of a dialect that is about creations. What is not overridden, the tracker has none of.
pub trait CreateOnce {
    /// A read of a repository.
    fn observe_project(&self, _project: &Project, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// Whether that read says that the credential may write there.
    fn may_write(&self, _response: &WireResponse) -> bool {
        false
    }

    /// A read of a pull request as such.
    fn observe_pull(&self, _pull: &Address, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// Its immutable id, its head commit, and, while it is open, the pull request as something created.
    fn pull(
        &self,
        _pull: &Address,
        _response: &WireResponse,
        _closing: &ClosingSyntax,
    ) -> Option<(String, String, Option<Existing>)> {
        None
    }

    /// A pull request that is closed, and the issues that it would close; none: it is open, or the answer cannot be used.
    fn closed_pull(
        &self,
        _pull: &Address,
        _response: &WireResponse,
        _closing: &ClosingSyntax,
    ) -> Option<(Made, Vec<Address>)> {
        None
    }

    /// A read of one page of a pull request's reviews; pages begin with 1.
    fn list_reviews(&self, _pull: &Address, _page: usize, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// What that read showed; drafts are among them, dismissed ones are not.
    fn reviews(&self, _pull: &Address, _response: &WireResponse) -> Option<Listed<Existing>> {
        None
    }

    /// A read of one page of a repository's open pull requests.
    fn list_pulls(&self, _project: &Project, _page: usize, _credential: &Credential) -> Option<WireRequest> {
        None
    }

    /// What that read showed.
    fn pulls(
        &self,
        _project: &Project,
        _response: &WireResponse,
        _closing: &ClosingSyntax,
    ) -> Option<Listed<Existing>> {
        None
    }

    /// Whether a read of an item shows a pull request: nothing closes one by naming it.
    fn is_pull(&self, _response: &WireResponse) -> bool {
        false
    }
}

// === impl ClosingSyntax, Site ===

impl ClosingSyntax {
    /// These words, at a tracker with this public address.
    pub fn new<'a>(keywords: impl IntoIterator<Item = &'a str>, public_url: Option<&str>) -> Self {
        let keywords = keywords.into_iter().map(|word| fold_text(word.trim())).collect();
        Self { keywords, site: public_url.and_then(Site::of) }
    }
}

impl Default for ClosingSyntax {
    fn default() -> Self {
        Self::new(CLOSING_KEYWORDS, None)
    }
}

impl Site {
    fn of(url: &str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some(Self { host: bare(host), path: path.trim_end_matches('/').to_owned() })
    }

    /// Whether an address with this host is the tracker's.
    pub(super) fn is_host(&self, host: &str) -> bool {
        bare(host) == self.host
    }
}

/// One site is often reached with `www.` and without.
fn bare(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    host.strip_prefix("www.").unwrap_or(&host).to_owned()
}

// === impl Creation ===

impl Creation {
    /// What a rule calls it.
    pub fn what(&self) -> What {
        match self {
            Self::Review { .. } => What::Review,
            Self::Pull { .. } => What::Pull,
        }
    }
}

impl fmt::Display for Creation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Review { commit, event, .. } => {
                write!(f, "create review {event} of {}", commit.as_deref().unwrap_or("the head"))
            }
            Self::Pull { closes, .. } => {
                let names: Vec<String> = closes.iter().map(|address| address.locator().to_string()).collect();
                write!(f, "create pull closing [{}]", names.join(", "))
            }
        }
    }
}
