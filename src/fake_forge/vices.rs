//! What can go wrong: standing vices, and faults scripted for the next matching requests.

use std::time::Duration;

use http::Method;

/// Standing bad habits; all off by default. Set with [`super::FakeForge::set_vices`].
#[derive(Debug, Clone, Default)]
pub struct Vices {
    /// Before a read is answered (the rows are read after it).
    pub read_delay: Duration,
    /// Inside a write: between the read of the rows and the delete, and again between the delete and the insert.
    /// Two writes of one issue then interleave as they do on a real forge.
    pub write_delay: Duration,
    /// After a write, before its answer.
    pub answer_delay: Duration,
    /// Befalls every read that has no script of its own.
    pub read_fault: Option<Fault>,
    /// Befalls every write that has no script of its own.
    pub write_fault: Option<Fault>,
}

/// What befalls one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Only slow: this long before anything is done.
    Delay(Duration),
    /// This status (500, 502, …), and nothing written.
    ErrorBeforeWrite(u16),
    /// Written, and then this status.
    ErrorAfterWrite(u16),
    /// The success status, and assignees, labels and state as they were.
    Ignore,
    /// The assignees written, then this status; nothing else of the request.
    AssigneesThenError(u16),
    /// All but the assignees written, then this status.
    RestThenError(u16),
    /// The connection cut, nothing written.
    CutBefore,
    /// Written, and the connection cut without an answer.
    CutAfter,
    /// The connection cut, nothing written; the write lands this much later.
    Zombie(Duration),
    /// Never answered; written after the time given, or never.
    Hang {
        /// When the write lands, counted from its arrival.
        lands_after: Option<Duration>,
    },
    /// Written; the answer's head is whole, its body breaks off half-way.
    Truncated,
    /// Written; the answer has the success status and a body that is no JSON.
    Garbled,
}

/// Which requests a scripted fault is for.
#[derive(Debug, Clone)]
pub struct Matcher {
    method: Option<Method>,
    path: String,
    skip: usize,
    times: usize,
}

impl Matcher {
    /// The next request with this method whose target contains `path`.
    ///
    /// # Panics
    /// If `method` is no method.
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        let method = method.parse().expect("a method's name");
        Self { method: Some(method), path: path.into(), skip: 0, times: 1 }
    }

    /// The next request with any method whose target contains `path`.
    pub fn any(path: impl Into<String>) -> Self {
        Self { method: None, path: path.into(), skip: 0, times: 1 }
    }

    /// For the next `times` matches instead of one.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Lets `skip` matches go unharmed first.
    #[must_use]
    pub fn skip(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    fn matches(&self, method: &Method, target: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted == method) && target.contains(&self.path)
    }
}

/// The scripted faults still to come, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Script(Vec<(Fault, Matcher)>);

impl Script {
    pub(crate) fn add(&mut self, fault: Fault, matcher: Matcher) {
        self.0.push((fault, matcher));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn remaining(&self) -> usize {
        self.0.iter().map(|(_, matcher)| matcher.times).sum()
    }

    /// The fault for this request, used up. A match that is skipped counts for the entry that skips it alone.
    pub(crate) fn take(&mut self, method: &Method, target: &str) -> Option<Fault> {
        for (fault, matcher) in &mut self.0 {
            if matcher.times == 0 || !matcher.matches(method, target) {
                continue;
            }
            if matcher.skip > 0 {
                matcher.skip -= 1;
                continue;
            }
            matcher.times -= 1;
            return Some(*fault);
        }
        None
    }
}
