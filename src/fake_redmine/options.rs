//! How a fake Redmine begins.

/// How a fake Redmine begins.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The number of the first issue.
    pub first_issue: u64,
    /// How many requests the log keeps.
    pub log_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { first_issue: 1, log_capacity: 200_000 }
    }
}
