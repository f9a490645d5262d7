//! Which server a database stands on: a cluster, and which of its lines of history.

use std::fmt;
use std::io;
use std::path::Path;

/// A cluster's identifier, and its timeline: that rises with each standby that takes over and each recovery to a point in
/// time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) system: String,
    pub(super) timeline: String,
}

/// Where a gate keeps what it has seen last.
const FILE: &str = "ledger-server";

// === impl Lineage ===

impl Lineage {
    /// Whether a server is one that the other has replaced: an old primary.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        self.system == other.system && self.timeline < other.timeline
    }

    /// What this gate has seen in an earlier life; nothing where it has none, or kept nothing.
    pub(super) fn last_seen(dir: Option<&Path>) -> Self {
        let text = dir.and_then(|dir| std::fs::read_to_string(dir.join(FILE)).ok());
        let both = text.as_deref().and_then(|text| text.trim().split_once(' '));
        both.map(|(system, timeline)| Self { system: system.to_owned(), timeline: timeline.to_owned() })
            .unwrap_or_default()
    }

    /// Keeps it for this gate's next life: whole, or as it was.
    pub(super) fn keep(&self, dir: &Path) -> io::Result<()> {
        let (path, new) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        std::fs::write(&new, format!("{self}\n"))?;
        std::fs::rename(new, path)
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.system, self.timeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(system: &str, timeline: &str) -> Lineage {
        Lineage { system: system.to_owned(), timeline: timeline.to_owned() }
    }

    #[test]
    fn only_an_earlier_timeline_of_the_same_cluster_is_old() {
        let now = lineage("7", "0000000A");
        assert!(lineage("7", "00000009").is_older_than(&now));
        for other in [now.clone(), lineage("7", "0000000B"), lineage("8", "00000001"), Lineage::default()] {
            assert!(!other.is_older_than(&now), "{other}");
        }
        assert!(!now.is_older_than(&Lineage::default()), "nothing was seen yet");
    }

    #[test]
    fn what_was_seen_is_known_in_the_next_life() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Lineage::last_seen(Some(dir.path())), Lineage::default());
        let seen = lineage("7", "0000000A");
        seen.keep(dir.path()).unwrap();
        assert_eq!(Lineage::last_seen(Some(dir.path())), seen);
    }
}
