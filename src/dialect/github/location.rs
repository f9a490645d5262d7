//! Where GitHub has an item: a repository, by its name or by its number, and the item's number there (manual: github,
//! section 1).
//!
//! Both spellings of a path lead to one item: its key is the issue's immutable id, which every read shows.

use super::super::Address;
use super::super::target::join;
use crate::model::{ItemKind, Place, Project};

/// A repository as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoPath {
    /// `/repos/octocat/shop` or `/repositories/1296269`, encoded, perhaps below `/api/v3`.
    pub(super) base: String,
    /// As the gate names it: `octocat/shop`, or `id:1296269`.
    pub(super) project: Project,
}

/// The parts of an address that this dialect made.
#[derive(Clone, Copy, Debug)]
pub struct ItemPath<'a> {
    /// The path of its repository.
    pub(super) base: &'a str,
    /// Its number there.
    pub(super) number: &'a str,
}

/// The address of the item at this place.
pub fn of_place(place: &Place) -> Option<Address> {
    let (project, number) = place.as_str().rsplit_once('#')?;
    let number = number.parse().ok()?;
    Some(RepoPath::of(&Project::new(project))?.item(number, ItemKind::Issue))
}

/// A number as paths write it.
pub fn plain_number(text: &str) -> Option<u64> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

// === impl RepoPath ===

impl RepoPath {
    /// The repository with which these segments begin, and what follows it. The fixed parts are found in any case.
    pub fn split(segments: &[String]) -> Option<(Self, &[String])> {
        let is = |at: usize, name: &str| segments.get(at).is_some_and(|segment| segment.eq_ignore_ascii_case(name));
        let (prefix, rest) = if is(0, "api") && is(1, "v3") { segments.split_at(2) } else { segments.split_at(0) };
        let prefix = join_below(prefix);
        match rest {
            [first, owner, repo, tail @ ..] if first.eq_ignore_ascii_case("repos") => {
                let base = prefix + &join(&["repos", owner, repo]);
                let project = Project::new(&format!("{owner}/{repo}"));
                Some((Self { base, project }, tail))
            }
            [first, id, tail @ ..] if first.eq_ignore_ascii_case("repositories") => {
                let id = plain_number(id)?.to_string();
                let base = prefix + &join(&["repositories", &id]);
                Some((Self { base, project: Project::new(&format!("id:{id}")) }, tail))
            }
            _ => None,
        }
    }

    /// The repository that the gate calls so.
    pub fn of(project: &Project) -> Option<Self> {
        let base = match (project.as_str().split_once('/'), project.as_str().strip_prefix("id:")) {
            (Some((owner, repo)), _) => join(&["repos", owner, repo]),
            (None, Some(id)) => join(&["repositories", id]),
            (None, None) => return None,
        };
        Some(Self { base, project: project.clone() })
    }

    /// The item with this number.
    pub fn item(&self, number: u64, kind: ItemKind) -> Address {
        let place = Place::numbered(&self.project, number);
        Address { place, kind, route: format!("{}#{number}", self.base).into() }
    }

    /// The path of something below it.
    pub fn below(&self, tail: &[&str]) -> String {
        format!("{}{}", self.base, join(tail))
    }
}

fn join_below(segments: &[String]) -> String {
    if segments.is_empty() { String::new() } else { join(&["api", "v3"]) }
}

// === impl ItemPath ===

impl<'a> ItemPath<'a> {
    /// Of an address.
    pub fn of(address: &'a Address) -> Self {
        let (base, number) = address.route.rsplit_once('#').unwrap_or((&address.route, ""));
        Self { base, number }
    }

    /// The path of something below it, as an `issues` or `pulls` call.
    pub fn below(self, kind: &str, tail: &[&str]) -> String {
        let mut segments = vec![kind, self.number];
        segments.extend(tail);
        format!("{}{}", self.base, join(&segments))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;

    fn check(path: &str, expected: Option<(&str, &str, usize)>) {
        let target = Target::parse(path);
        let found = RepoPath::split(target.segments()).map(|(repo, rest)| (repo.base, repo.project, rest.len()));
        let found = found.as_ref().map(|(base, project, rest)| (base.as_str(), project.as_str(), *rest));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_repository_is_named_or_numbered() {
        check("/repos/Octo/Shop/issues/7", Some(("/repos/Octo/Shop", "octo/shop", 2)));
        check("/api/v3/repos/o/r", Some(("/api/v3/repos/o/r", "o/r", 0)));
        check("/repositories/12/issues", Some(("/repositories/12", "id:12", 1)));
        check("/API/V3/Repositories/12", Some(("/api/v3/repositories/12", "id:12", 0)));
        check("/repositories/012", None);
        check("/repositories", None);
        check("/repos/o", None);
        check("/orgs/o/repos/r", None);
    }

    #[test]
    fn a_place_leads_to_an_address() {
        for (place, path) in [("o/r#7", "/repos/o/r/issues/7/labels"), ("id:12#7", "/repositories/12/issues/7/labels")]
        {
            let address = of_place(&Place::from_stored(place)).unwrap();
            assert_eq!(ItemPath::of(&address).below("issues", &["labels"]), path);
            assert_eq!(address.place.as_str(), place);
        }
        assert!(of_place(&Place::new("o#7")).is_none() && of_place(&Place::new("o/r")).is_none());
    }
}
