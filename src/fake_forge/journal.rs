//! What happened: the log of requests, and each issue's history.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;

/// One request as the forge received it.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Counts from 1 in the order of arrival, over the forge's life.
    pub seq: u64,
    /// When its head and body had arrived.
    pub at: Instant,
    /// The method.
    pub method: Method,
    /// The request target as received: raw path and query.
    pub target: String,
    /// All header lines, in order.
    pub headers: HeaderMap,
    /// The body's first 64 KiB.
    pub body: Bytes,
    /// Who the credential is, impersonation included; none when anonymous.
    pub login: Option<String>,
    /// The status answered; none while pending, and when the connection was cut.
    pub status: Option<u16>,
    /// Whether it changed anything in the store.
    pub applied: bool,
    /// Whether it asked to change assignees, labels, state or reviewers, allowed or not.
    pub guarded: bool,
}

impl Logged {
    /// Whether the path mentions this issue or pull request, below the API or the web.
    pub fn is_about(&self, repo: &str, number: u64) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        segments.windows(4).any(|window| {
            format!("{}/{}", window[0], window[1]).eq_ignore_ascii_case(repo)
                && matches!(window[2], "issues" | "pulls")
                && window[3].parse() == Ok(number)
        })
    }

    /// A header's first value as text, for assertions.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// One entry of an issue's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// From the number space of comments.
    pub id: u64,
    /// What happened.
    pub what: Happening,
    /// The login of who did it.
    pub doer: String,
    /// The request that did it; none for an outside edit.
    pub request: Option<u64>,
    /// When.
    pub at: Instant,
    /// Whether it left no timeline entry, as on a real forge (a collaborator removed, a label deleted).
    pub silent: bool,
}

/// What can happen to an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// This login was assigned.
    Assigned(String),
    /// This login was unassigned.
    Unassigned(String),
    /// The label of this name was added.
    Labeled(String),
    /// The label of this name was removed.
    Unlabeled(String),
    /// It was closed.
    Closed,
    /// It was reopened.
    Reopened,
    /// A review was requested of this login.
    ReviewRequested(String),
    /// The request for this login's review was withdrawn.
    ReviewUnrequested(String),
    /// The pull request was merged.
    Merged,
}

/// The most recent requests.
#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Logged>,
    capacity: usize,
    next: u64,
}

impl Log {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity: capacity.max(1), next: 1 }
    }

    /// Enters one request; its number is set here.
    pub(crate) fn push(&mut self, mut entry: Logged) -> u64 {
        entry.seq = self.next;
        self.next += 1;
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.next - 1
    }

    /// The entry of this number, unless it has been cleared or pushed out.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Logged> {
        let first = self.entries.front()?.seq;
        self.entries.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Logged> {
        self.entries.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// An upload that arrived at `/sink/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The request's number in the log.
    pub seq: u64,
    /// How many bytes its body had.
    pub bytes: u64,
    /// The body's SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Whether the body came to its proper end.
    pub complete: bool,
}
