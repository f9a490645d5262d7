//! How the gate reads the tracker: one request, one item, or one list, within bounds.
//!
//! Three other places go over more than one answer: the labels of a repository, the search for an item by its id, and the page
//! that claim-next reads, which follows a repository that has moved.

use super::Gate;
use crate::dialect::{Address, AnswerClass, Credential, Listed, ReadOutcome, WireRequest, WireResponse};
use crate::effect::{CallError, Carrier};
use crate::model::{BootTime, Existing, Project, Snapshot, Time};
use std::time::Duration;

/// Pages of what exists that are read at most.
pub(super) const MOST_PAGES: usize = 100;
/// How long a read that trails a write waits before it is repeated, each time.
pub(super) const STALE_PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_millis(900),
    Duration::from_millis(1_500),
];
/// Why nothing is read of what a tracker does not have: pull requests, reviews, labels of its projects.
pub(super) const NOTHING_LIKE_IT: &str = "this tracker has nothing of the kind";

/// What one read of an item showed.
pub(super) struct ItemRead {
    /// When the read began.
    pub(super) began: BootTime,
    pub(super) seen: Snapshot,
    /// Where the item is, after a followed redirect.
    pub(super) address: Address,
    pub(super) response: WireResponse,
    /// When the item was last written, where a read may be older than that.
    pub(super) written: Option<Time>,
    /// The connection that carried it.
    pub(super) carrier: Option<Carrier>,
}

/// Why a read showed nothing.
#[derive(Debug)]
pub(super) enum Unread {
    /// The tracker refused it: its own answer.
    Denied(Box<WireResponse>),
    /// There was no answer, and why.
    Unanswered(CallError),
    /// The answer cannot be used, and why.
    Unreadable(String),
}

impl Gate {
    /// One read of an item; a same-origin redirect is followed once. `phase` names it in the metrics. What `must` be read, since
    /// something was done already, is read whether or not there is room for it.
    ///
    /// A read that is older than what was seen of the item already decides nothing: it is repeated, a few times.
    pub(super) async fn read_item(
        &self,
        address: &Address,
        credential: &Credential,
        phase: &'static str,
        must: bool,
    ) -> Result<ItemRead, Unread> {
        let mut pauses = STALE_PAUSES.iter();
        loop {
            let read = self.read_once(address, credential, phase, must).await?;
            if self.reads.is_current(&read.seen.key, read.written) {
                return Ok(read);
            }
            self.ports.metrics.stale_reads.inc();
            let Some(pause) = pauses.next() else { return Err(Unread::Unreadable(TRAILS.to_owned())) };
            tokio::time::sleep(*pause).await;
        }
    }

    async fn read_once(
        &self,
        address: &Address,
        credential: &Credential,
        phase: &'static str,
        must: bool,
    ) -> Result<ItemRead, Unread> {
        let (dialect, upstream) = (&self.ports.dialect, &self.ports.upstream);
        let mut address = address.clone();
        for _ in 0..2 {
            let began = self.ports.clock.boot();
            let started = tokio::time::Instant::now();
            let request = dialect.observe(&address, credential);
            let answer = if must { upstream.read_back(request).await } else { upstream.read(request).await };
            self.ports.metrics.upstream_took(phase, started.elapsed());
            self.notice_answer(answer.as_ref().ok().map(|(response, _)| response.class()));
            let (response, carrier) = answer.map_err(Unread::Unanswered)?;
            match dialect.read(&address, &response) {
                ReadOutcome::Item(seen) => {
                    let written = dialect.written_at(&response);
                    return Ok(ItemRead { began, seen, address, response, written, carrier });
                }
                ReadOutcome::Moved(to) => address = to,
                ReadOutcome::Denied => return Err(Unread::Denied(Box::new(response))),
                ReadOutcome::Unreadable(why) => return Err(Unread::Unreadable(why)),
            }
        }
        Err(Unread::Unreadable("it redirects more than once".to_owned()))
    }

    /// The item that the answer to a write carries, where it carries it as a read does, under a status of its own.
    pub(super) fn answered_item(&self, address: &Address, response: &WireResponse) -> Option<ItemRead> {
        let ReadOutcome::Item(seen) = self.ports.dialect.read(address, &response.clone().as_read()) else {
            return None;
        };
        let (began, address, response) = (self.ports.clock.boot(), address.clone(), response.clone());
        let written = self.ports.dialect.written_at(&response);
        Some(ItemRead { began, seen, address, response, written, carrier: None })
    }

    /// An answer of 200. The tracker's own failures are no answer. There is none to what the tracker cannot be asked.
    pub(super) async fn fetch(&self, request: impl Into<Option<WireRequest>>) -> Result<WireResponse, Unread> {
        let request = request.into().ok_or_else(|| Unread::Unreadable(NOTHING_LIKE_IT.to_owned()))?;
        found(self.ports.upstream.read(request).await)
    }

    /// The same of what became of a send, whether or not there is room for it.
    pub(super) async fn fetch_back(&self, request: WireRequest) -> Result<WireResponse, Unread> {
        found(self.ports.upstream.read_back(request).await)
    }

    /// The open pull requests of a repository, and the issues that each closes.
    pub(super) async fn open_pulls(&self, project: &Project, credential: &Credential) -> Result<Vec<Existing>, Unread> {
        let (dialect, closing) = (&self.ports.dialect, &self.settings.closing);
        let page = |page| dialect.list_pulls(project, page, credential);
        let read = |response: &WireResponse| dialect.pulls(project, response, closing);
        self.fetch_all(MOST_PAGES, "the open pull requests", page, read).await
    }

    /// A whole list, page by page; `what` names it where it cannot be read, or is longer than so many pages.
    pub(super) async fn fetch_all<T>(
        &self,
        most: usize,
        what: &str,
        request: impl Fn(usize) -> Option<WireRequest>,
        read: impl Fn(&WireResponse) -> Option<Listed<T>>,
    ) -> Result<Vec<T>, Unread> {
        let unreadable = || Unread::Unreadable(format!("{what} could not be read"));
        let (mut all, mut rows) = (Vec::new(), 0);
        for page in 1..=most {
            let listed = read(&self.fetch(request(page)).await?).ok_or_else(unreadable)?;
            rows += listed.rows;
            all.extend(listed.found);
            if listed.rows == 0 || listed.total.is_some_and(|total| rows >= total) {
                return Ok(all);
            }
        }
        Err(unreadable())
    }
}

const TRAILS: &str = "the tracker shows it as it was before a write that it has shown already; ask again in a moment";

fn found(answer: Result<(WireResponse, Option<Carrier>), CallError>) -> Result<WireResponse, Unread> {
    let (response, _) = answer.map_err(Unread::Unanswered)?;
    match response.class() {
        AnswerClass::Ok => Ok(response),
        AnswerClass::Unavailable | AnswerClass::Failed => {
            Err(Unread::Unreadable(format!("the tracker answered {}", response.code())))
        }
        _ => Err(Unread::Denied(Box::new(response))),
    }
}

impl Unread {
    /// The tracker's answer, if it was none for these eyes: 403 or 404.
    pub(super) fn is_hidden(&self) -> bool {
        matches!(self, Self::Denied(response) if response.class().is_hidden())
    }
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(response) => write!(f, "the tracker answered {}", response.status),
            Self::Unanswered(error) => error.fmt(f),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}
