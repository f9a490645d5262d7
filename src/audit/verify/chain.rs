//! The order of the lines: `seq` rises by one, and each line names the hash of the one before.
//!
//! After a restart the gate may print lines again; such a repetition must be the same, byte for byte, and go on
//! without a gap to where the first printing ended.

use super::line::CheckedLine;
use std::collections::VecDeque;

/// Where a line stands among those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It is the next one.
    New,
    /// It was there before.
    Repeated,
}

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Chain {
    first: Option<u64>,
    last: Option<Mark>,
    /// Where a repetition stands.
    repeating: Option<Mark>,
    /// The repetition has shown lines from before the first, and has not yet come to it.
    unproven: bool,
    /// The line before could not be read: this one is taken as it is.
    lost: bool,
    known: VecDeque<(u64, u128)>,
}

#[derive(Clone, Debug)]
struct Mark {
    seq: u64,
    hash: String,
}

/// Hashes kept to compare repetitions with; further back the chain within the repetition has to do.
const KNOWN: usize = 1 << 17;
const GENESIS: [u8; 64] = [b'0'; 64];

// === impl Chain ===

impl Chain {
    /// Places the line, and says what is wrong with its place.
    pub(super) fn place(&mut self, line: &CheckedLine) -> (Novelty, Option<String>) {
        let lost = std::mem::take(&mut self.lost);
        let Some(before) = self.last.clone() else { return (Novelty::New, self.begin(line, lost)) };
        if line.seq <= before.seq {
            let wrong = if lost { None } else { self.repeat(line) };
            self.repeating = (line.seq < before.seq).then(|| mark(line));
            return (Novelty::Repeated, wrong);
        }
        let wrong = match self.repeating.take() {
            _ if lost => None,
            Some(at) => Some(format!("the repetition breaks off at seq {}, before seq {}", at.seq, before.seq)),
            None => follows(&before, line),
        };
        self.append(line);
        (Novelty::New, wrong)
    }

    /// A line could not be read: what follows it cannot be compared with what went before.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether the log begins with its first line, so that nothing is hidden before it.
    pub(super) fn is_whole(&self) -> bool {
        self.first == Some(1)
    }

    /// The numbers of the first and the last line.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        self.first.zip(self.last.as_ref().map(|last| last.seq))
    }

    /// The last line's number and hash.
    pub(super) fn last(&self) -> Option<(u64, &str)> {
        self.last.as_ref().map(|last| (last.seq, last.hash.as_str()))
    }

    fn begin(&mut self, line: &CheckedLine, lost: bool) -> Option<String> {
        self.append(line);
        self.first = Some(if lost { line.seq.max(2) } else { line.seq });
        let at_genesis = line.prev_hash.as_bytes() == GENESIS;
        match (line.seq, at_genesis) {
            (0, _) => Some("seq begins with 1".to_owned()),
            (1, false) => Some("the first line must have 64 zeros as prev_hash".to_owned()),
            (2.., true) => Some("only the line with seq 1 may have 64 zeros as prev_hash".to_owned()),
            _ => None,
        }
    }

    fn append(&mut self, line: &CheckedLine) {
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back((line.seq, print(&line.hash)));
        self.last = Some(mark(line));
    }

    /// Whether lines from before the first did not lead up to it.
    pub(super) fn is_unproven(&self) -> bool {
        self.unproven
    }

    fn repeat(&mut self, line: &CheckedLine) -> Option<String> {
        if let Some(before) = &self.repeating
            && line.seq > before.seq
            && let Some(wrong) = follows(before, line)
        {
            return Some(wrong);
        }
        let oldest = self.known.front().map_or(0, |(seq, _)| *seq);
        let known = self.known.binary_search_by_key(&line.seq, |(seq, _)| *seq);
        self.unproven = known.is_err();
        match known {
            Ok(at) if self.known[at].1 == print(&line.hash) => None,
            Ok(_) => Some("there was another line with this seq".to_owned()),
            Err(_) if line.seq > oldest => Some("it comes after lines with a higher seq".to_owned()),
            Err(_) => None,
        }
    }
}

fn follows(last: &Mark, line: &CheckedLine) -> Option<String> {
    match line.seq - last.seq {
        1 if line.prev_hash == last.hash => None,
        1 => Some("its prev_hash is not the hash of the line before".to_owned()),
        jump => Some(format!("seq jumps from {} to {}: {} missing", last.seq, line.seq, lines(jump - 1))),
    }
}

fn lines(count: u64) -> String {
    if count == 1 { "a line is".to_owned() } else { format!("{count} lines are") }
}

fn mark(line: &CheckedLine) -> Mark {
    Mark { seq: line.seq, hash: line.hash.clone() }
}

/// Half of the hash is enough to tell two lines apart.
fn print(hash: &str) -> u128 {
    hash.get(..32).and_then(|half| u128::from_str_radix(half, 16).ok()).unwrap_or_default()
}
