//! What the gate asks of a tracker when it looks for work itself: the claims API.

use super::{Address, Credential, Guarded, ParseError, WireRequest, WireResponse};
use crate::model::{Account, ItemKind, Project, Snapshot};
use std::collections::BTreeSet;

/// In which order items are looked at. A tracker sorts by no more than this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// First filed, first served.
    #[default]
    Oldest,
    /// Last filed first.
    Newest,
    /// Last changed first.
    Updated,
    /// Longest untouched first.
    LeastUpdated,
}

/// Which open items are listed. The tracker applies what it can of it; the rest is the gate's to check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Of this repository.
    pub project: Project,
    /// With each of these labels, by name.
    pub labels: BTreeSet<String>,
    /// In this order.
    pub order: Order,
}

/// One page of a list of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenItems {
    /// The items as they were listed, first to be looked at first. What is no issue, or cannot be read, is left out.
    pub items: Vec<Snapshot>,
    /// How many rows the page had.
    pub rows: usize,
    /// How many there are on all pages, where the tracker says so.
    pub total: Option<usize>,
    /// Whether the rows came the wrong way round, as from a tracker that does not sort: the last page is the first then.
    pub reversed: bool,
}

/// What a read of such a page showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListOutcome {
    /// The page.
    Items(OpenItems),
    /// 401, 403, 404 or 429: goes back unchanged.
    Denied,
    /// The repository is elsewhere on the same tracker.
    Moved(Project),
    /// No answer that can be used, and why.
    Unreadable(String),
}

/// One page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Which, from 1.
    pub number: usize,
    /// Rows in each.
    pub size: usize,
}

/// The part of a dialect that is about finding and taking work.
pub trait FindWork {
    /// A repository as a client of the gate's own calls names it: `owner/name`.
    fn repository(&self, text: &str) -> Result<Project, ParseError>;

    /// An item as such a client names it: `owner/name#7`.
    fn item(&self, text: &str) -> Result<Address, ParseError>;

    /// Whether a parameter of a query says who sends, and nothing else.
    fn is_credential(&self, parameter: &str) -> bool;

    /// A write that leaves exactly this account assigned.
    fn assign(&self, address: &Address, login: &Account) -> Guarded;

    /// A read of a few items of this kind, by which it shows whether the credential may read any.
    fn show_kind(&self, project: &Project, kind: ItemKind, credential: &Credential) -> WireRequest;

    /// Whether an answer of success to it proves that; `false` where it would be the same if there were none.
    fn is_shown(&self, kind: ItemKind, response: &WireResponse) -> bool;

    /// A read of one page of a repository's open issues. The tracker may give fewer rows than are asked for.
    fn list_open(&self, filter: &Filter, page: Page, credential: &Credential) -> WireRequest;

    /// What that read showed.
    fn open_items(&self, filter: &Filter, response: &WireResponse) -> ListOutcome;
}

// === impl Page ===

impl Page {
    /// The same rows in smaller pages; none, where it has one row.
    pub fn parts(self) -> impl DoubleEndedIterator<Item = Self> {
        let size = PARTS.into_iter().find(|part| *part < self.size && self.size.is_multiple_of(*part));
        let size = size.unwrap_or(self.size);
        let parts = if size < self.size { self.size / size } else { 0 };
        let first = (self.number - 1) * parts + 1;
        (first..first + parts).map(move |number| Self { number, size })
    }
}

/// Each of them divides the one before, and the most that trackers give in a page.
const PARTS: [usize; 3] = [25, 5, 1];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_same_rows() {
        let rows = |page: Page| ((page.number - 1) * page.size..page.number * page.size).collect::<Vec<_>>();
        for (number, size, most) in [(1, 50, 25), (3, 50, 25), (2, 25, 5), (4, 30, 5), (7, 5, 1), (9, 40, 5)] {
            let page = Page { number, size };
            let parts: Vec<Page> = page.parts().collect();
            assert!(parts.iter().all(|part| part.size == most), "{parts:?}");
            assert_eq!(parts.into_iter().flat_map(rows).collect::<Vec<_>>(), rows(page));
        }
        assert_eq!(Page { number: 7, size: 1 }.parts().count(), 0);
    }
}
