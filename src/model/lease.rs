//! Which agent of a class is at work in a project, where only one may be.

use super::{Actor, Project, Time};

/// One agent of a class at work in a project, by a singleton rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectLease {
    /// The rule's name.
    pub rule: String,
    /// The project.
    pub project: Project,
    /// The agent.
    pub actor: Actor,
    /// Since when.
    pub since: Time,
    /// When it was last heard of there.
    pub seen: Time,
    /// When it ends, if nothing more is heard.
    pub until: Time,
}

// === impl ProjectLease ===

impl ProjectLease {
    /// Whether it still keeps others out.
    pub fn lasts(&self, now: Time) -> bool {
        now < self.until
    }
}
