//! The newest audit lines that are on disk, for whoever prints them: reading each back from the file would cost more than
//! printing it.

use std::collections::VecDeque;

/// An unbroken run of lines up to the newest.
#[derive(Default)]
pub(super) struct Recent {
    lines: VecDeque<(u64, String)>,
    /// Of their texts.
    bytes: usize,
}

/// A printer that is further behind reads from the file.
const MOST: usize = 2_000;
const MOST_BYTES: usize = 8 << 20;

// === impl Recent ===

impl Recent {
    /// Lines that follow those before, and are on disk.
    pub(super) fn add(&mut self, lines: impl IntoIterator<Item = (u64, String)>) {
        for (seq, line) in lines {
            self.bytes += line.len();
            self.lines.push_back((seq, line));
        }
        while self.lines.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }

    /// So many lines after this number, in order. `None`: the first of them is no longer here.
    pub(super) fn after(&self, seq: u64, limit: usize) -> Option<Vec<(u64, String)>> {
        let (oldest, _) = self.lines.front()?;
        let known = usize::try_from((seq + 1).checked_sub(*oldest)?).ok()?;
        Some(self.lines.iter().skip(known).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(lines: Option<Vec<(u64, String)>>) -> Option<Vec<u64>> {
        lines.map(|lines| lines.into_iter().map(|(seq, _)| seq).collect())
    }

    #[test]
    fn what_is_no_longer_here_is_not_passed_over() {
        let mut recent = Recent::default();
        assert_eq!(recent.after(0, 10), None);
        recent.add((1..=5).map(|seq| (seq, String::new())));
        assert_eq!(numbers(recent.after(0, 2)), Some(vec![1, 2]));
        assert_eq!(numbers(recent.after(3, 10)), Some(vec![4, 5]));
        assert_eq!(numbers(recent.after(5, 10)), Some(vec![]));
        recent.add((6..=MOST as u64 + 5).map(|seq| (seq, String::new())));
        assert_eq!(numbers(recent.after(4, 10)), None);
        assert_eq!(numbers(recent.after(5, 1)), Some(vec![6]));
        let long = || "x".repeat(MOST_BYTES / 4);
        recent.add((MOST as u64 + 6..MOST as u64 + 12).map(|seq| (seq, long())));
        assert_eq!((recent.lines.len(), recent.bytes), (4, MOST_BYTES));
        recent.add([(MOST as u64 + 12, "x".repeat(2 * MOST_BYTES))]);
        assert_eq!((recent.lines.len(), recent.bytes, recent.after(0, 1)), (0, 0, None), "it is read from the file");
    }
}
