//! The end of a gate's chain, and of its own row: what it knows that the database must have.

use std::io;
use std::path::Path;

/// What a gate knows of its own row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Rises with each write of the row.
    pub(super) tick: i64,
    /// The tick of the last group: what a group of which nobody knows whether it was committed is known by.
    pub(super) proof: i64,
    pub(super) seq: u64,
    pub(super) hash: String,
}

/// Where it is kept in the state directory, so that a gate that starts knows whether the database has lost something.
const FILE: &str = "ledger-tail";

// === impl Tail ===

impl Tail {
    /// Keeps it for this gate's next life: whole, or as it was.
    pub(super) fn keep(&self, dir: &Path) -> io::Result<()> {
        let (path, new) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        std::fs::write(&new, format!("{} {} {}\n", self.tick, self.seq, self.hash))?;
        std::fs::rename(new, path)
    }

    /// As an earlier life has kept it: at least so much was acknowledged. `None`: it has kept nothing.
    pub(super) fn last_kept(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(dir.join(FILE)).ok()?;
        let mut words = text.split_whitespace();
        let (tick, seq) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { tick, proof: 0, seq, hash: words.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_known_in_the_next_life() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Tail::last_kept(dir.path()), None);
        let tail = Tail { tick: 7, proof: 0, seq: 3, hash: "beef".to_owned() };
        tail.keep(dir.path()).unwrap();
        assert_eq!(Tail::last_kept(dir.path()), Some(tail));
        std::fs::write(dir.path().join(FILE), "half a lin").unwrap();
        assert_eq!(Tail::last_kept(dir.path()), None);
    }
}
