//! Where the forge has an item: the owner, the repository, and the number there.

use super::super::Address;
use super::super::target::join;
use crate::model::{ItemKind, Place, Project};

/// The parts of an address, in the caller's spelling but for letters that the forge itself folds away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location<'a> {
    /// The owner.
    pub(super) owner: &'a str,
    /// The repository.
    pub(super) repo: &'a str,
    /// The number there, without leading zeros.
    pub(super) number: &'a str,
}

/// The repository as the gate names it.
pub(super) fn project(owner: &str, repo: &str) -> Project {
    Project::new(&format!("{owner}/{repo}"))
}

/// The owner and the name of a repository.
pub(super) fn halves(project: &Project) -> Option<(&str, &str)> {
    project.as_str().split_once('/')
}

/// The path of the API's calls below a repository.
pub(super) fn below(project: &Project, tail: &[&str]) -> String {
    let (owner, repo) = halves(project).unwrap_or((project.as_str(), ""));
    join(&[&["api", "v1", "repos", owner, repo], tail].concat())
}

/// The address of an item.
pub(super) fn address(owner: &str, repo: &str, number: u64, kind: ItemKind) -> Address {
    let place = Place::numbered(&project(owner, repo), number);
    Address { place, kind, route: format!("{owner}/{repo}/{number}").into() }
}

/// The address of what is named without saying which kind of item it is.
pub(super) fn issue(owner: &str, repo: &str, number: u64) -> Address {
    address(owner, repo, number, ItemKind::Issue)
}

/// The address of what stands at this place.
pub(super) fn of_place(place: &Place) -> Option<Address> {
    let (project, number) = place.as_str().rsplit_once('#')?;
    let (owner, repo) = project.split_once('/')?;
    Some(issue(owner, repo, number.parse().ok()?))
}

/// The number of the item at this place.
pub(super) fn number(place: &Place) -> Option<u64> {
    place.as_str().rsplit_once('#')?.1.parse().ok()
}

impl<'a> Location<'a> {
    /// The parts of an address that this dialect made.
    pub(super) fn of(address: &'a Address) -> Self {
        let mut parts = address.route.splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        Self { owner: next(), repo: next(), number: next() }
    }
}

/// The kind that a path's segment names.
pub(super) fn kind_of(segment: &str) -> ItemKind {
    if segment == "pulls" { ItemKind::Pull } else { ItemKind::Issue }
}
