//! `claimgate audit verify`: whether the log alone shows that the promise was kept.
//!
//! Deliberately apart: it reads bytes, parses and hashes them itself, and follows who holds by rules of its own
//! (`item.rs`). A fault of the gate that decided wrongly and wrote it down truthfully is found here, and so is a log
//! that somebody changed. It streams: what it remembers of an item does not grow with the log.
//!
//! What a log does not show is not claimed: a head that was rotated away, a tail that was cut off. [`Pin`] names the
//! last line that there must be.

mod chain;
mod item;
mod line;
mod merge;
mod shape;

pub use merge::Input;

use self::chain::{Chain, Novelty};
use self::item::Item;
use self::line::{CheckedLine, Decision, LineKind};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io::{self, BufRead, Read as _};

/// Checks lines, one after the other.
#[derive(Debug)]
pub struct Verifier {
    /// One a gate.
    chains: Vec<Chain>,
    /// The one whose line is looked at.
    at: usize,
    /// Some gate's first line is not here.
    is_partial: bool,
    items: HashMap<String, Item>,
    summary: Summary,
    holders: HashSet<String>,
    /// Of each chain.
    latest: Vec<Option<jiff::Timestamp>>,
}

/// Something about one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The input, as it was named.
    pub input: String,
    /// The line's number in it, from 1.
    pub line: u64,
    /// The line's own number, where it could be read.
    pub seq: Option<u64>,
    /// Whether the log is wrong, or only odd.
    pub gravity: Gravity,
    /// What it is.
    pub what: String,
}

/// How much a finding says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// The log is wrong.
    Wrong,
    /// It is worth a look.
    Odd,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that are wrong, and what is wrong with the end.
    pub wrong: u64,
    /// All lines, repetitions included.
    pub lines: u64,
    /// Lines that were there before.
    pub repeated: u64,
    /// The numbers of the first and the last line, of one gate's audit.
    pub ends: Option<(u64, u64)>,
    /// Gates whose audits were read.
    pub gates: usize,
    /// Items.
    pub items: usize,
    /// Agents that held one.
    pub holders: usize,
    /// Decisions under rules that only observe: exempt from the promise.
    pub observed: u64,
    /// Lines a kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

/// The line that a log must end with: `SEQ:HASH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    seq: u64,
    hash: String,
}

/// No line of the gate's comes near this.
const LONGEST_LINE: u64 = 16 << 20;
/// Clocks of several gates, and decisions that overtake each other on their way to the ledger, differ by less.
const TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

// === impl Verifier ===

impl Verifier {
    /// A verifier that has seen nothing.
    pub fn new() -> Self {
        Self {
            chains: vec![Chain::default()],
            at: 0,
            is_partial: false,
            items: HashMap::new(),
            summary: Summary::default(),
            holders: HashSet::new(),
            latest: vec![None],
        }
    }

    /// Reads the audits of one gate or of several that share a ledger, each to its end. Of one gate's audit the oldest input
    /// comes first; the lines of several are judged in the order in which they changed items.
    pub fn read_all(&mut self, inputs: Vec<Input>, report: &mut dyn FnMut(&Finding)) -> io::Result<()> {
        let mut streams = merge::streams(inputs)?;
        self.chains.resize_with(streams.len().max(1), Chain::default);
        self.latest.resize(self.chains.len(), None);
        let begins = |stream: &merge::Stream| stream.head.as_ref().is_none_or(|head| head.seq == Some(1));
        self.is_partial = streams.len() > 1 && !streams.iter().all(begins);
        while let Some(at) = merge::next(&streams) {
            self.at = at;
            if let Some(head) = streams[at].head.take() {
                self.judge_line(&head.input, head.number, &head.bytes, report);
            }
            streams[at].advance()?;
        }
        Ok(())
    }

    /// Reads one input to its end; several go on from each other. An error is one of reading, not of the log.
    pub fn read(&mut self, name: &str, mut input: impl BufRead, report: &mut dyn FnMut(&Finding)) -> io::Result<()> {
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            self.judge_line(name, number, &bytes, report);
        }
        Ok(())
    }

    fn judge_line(&mut self, name: &str, number: u64, bytes: &[u8], report: &mut dyn FnMut(&Finding)) {
        let (seq, found) = self.line(bytes);
        let wrong = found.iter().any(|(gravity, _)| *gravity == Gravity::Wrong);
        self.summary.wrong += u64::from(wrong);
        for (gravity, what) in found {
            report(&Finding { input: name.to_owned(), line: number, seq, gravity, what });
        }
    }

    /// What was read so far.
    pub fn summary(&self) -> Summary {
        let (items, holders) = (self.items.len(), self.holders.len());
        let ends = self.chains.first().filter(|_| self.chains.len() == 1).and_then(Chain::ends);
        Summary { items, holders, ends, gates: self.chains.len(), ..self.summary.clone() }
    }

    /// What the end of the log shows to be wrong: that it is not the end, or that the files came in the wrong order.
    pub fn finish(&mut self, pin: Option<&Pin>) -> Vec<String> {
        let unproven = self.chains.iter().any(Chain::is_unproven).then(|| {
            "lines from before the first one do not lead up to it; are the files named oldest first?".to_owned()
        });
        let wrong: Vec<String> = unproven.into_iter().chain(pin.and_then(|pin| self.is_cut(pin))).collect();
        self.summary.wrong += wrong.len() as u64;
        wrong
    }

    fn is_cut(&self, pin: &Pin) -> Option<String> {
        if self.chains.iter().any(|chain| chain.last() == Some((pin.seq, pin.hash.as_str()))) {
            return None;
        }
        match self.chains[0].last() {
            Some((seq, _)) if seq == pin.seq => {
                Some(format!("the last line, seq {seq}, has another hash than expected"))
            }
            Some((seq, _)) => Some(format!("the log ends at seq {seq}, not at seq {}", pin.seq)),
            None => Some(format!("the log is empty, and does not end at seq {}", pin.seq)),
        }
    }

    /// One line with its end. Returns its number and what there is to say of it.
    fn line(&mut self, bytes: &[u8]) -> (Option<u64>, Vec<(Gravity, String)>) {
        self.summary.lines += 1;
        let whole = bytes.strip_suffix(b"\n").ok_or("the line is cut off: it has no end".to_owned());
        let line = match whole.and_then(|bytes| line::parse(bytes).map(|line| (line, bytes))) {
            Ok((line, bytes)) => (line::check_hash(bytes, &line), line),
            Err(what) => {
                self.chains[self.at].lose();
                return (None, vec![(Gravity::Wrong, what)]);
            }
        };
        let (broken, line) = line;
        let wrong = broken.map(str::to_owned).into_iter().chain(self.judge(&line));
        let mut found: Vec<(Gravity, String)> = wrong.map(|what| (Gravity::Wrong, what)).collect();
        found.extend(self.time(&line).map(|what| (Gravity::Odd, what)));
        (Some(line.seq), found)
    }

    fn judge(&mut self, line: &CheckedLine) -> Vec<String> {
        let (place, misplaced) = self.chains[self.at].place(line);
        let mut wrong: Vec<String> = misplaced.into_iter().collect();
        if place == Novelty::Repeated {
            self.summary.repeated += 1;
            return wrong;
        }
        self.count(line);
        wrong.extend(shape::check(line));
        let Some(id) = &line.resource_id else { return wrong };
        let whole = !self.is_partial && self.chains[self.at].is_whole();
        if !self.items.contains_key(id) {
            self.items.insert(id.clone(), if whole { Item::fresh() } else { Item::default() });
        }
        if let Some(item) = self.items.get_mut(id) {
            wrong.extend(item.take(line, whole));
        }
        wrong
    }

    fn count(&mut self, line: &CheckedLine) {
        *self.summary.kinds.entry(line.kind.as_str()).or_default() += 1;
        self.summary.observed += u64::from(line.kind == LineKind::Decision && line.decision == Some(Decision::Observe));
        if let Some(holder) = &line.holder {
            let name = holder.to_string().to_ascii_lowercase();
            if !self.holders.contains(&name) {
                self.holders.insert(name);
            }
        }
    }

    /// Clocks are set back at times; the chain is the order that counts.
    fn time(&mut self, line: &CheckedLine) -> Option<String> {
        let latest = *self.latest[self.at].get_or_insert(line.time);
        let back = latest.duration_since(line.time);
        if self.chains[self.at].last().is_some_and(|(seq, _)| seq == line.seq) {
            self.latest[self.at] = Some(line.time);
            return (back > TOLERANCE)
                .then(|| format!("its time is {} s before that of the line before", back.as_secs()));
        }
        None
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Pin ===

impl std::str::FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not SEQ:HASH, a line's number and its hash of 64 hexadecimal digits");
        let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
        let plain = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seq = seq.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        Ok(Self { seq, hash: hash.to_ascii_lowercase() })
    }
}

// === impl Finding, Summary ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.input, self.line)?;
        if self.gravity == Gravity::Odd {
            f.write_str("warning: ")?;
        }
        if let Some(seq) = self.seq {
            write!(f, "seq {seq}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wrong {
            0 if self.lines == 0 => return f.write_str("ok: 0 lines; the audit is empty, which proves nothing"),
            0 => f.write_str("ok: ")?,
            wrong => write!(f, "wrong in {wrong} {}: ", if *wrong == 1 { "place" } else { "places" })?,
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(f, "{} line{}", self.lines, if self.lines == 1 { "" } else { "s" })?;
        if let Some((first, last)) = self.ends {
            write!(f, " (seq {first} to {last}, {} repeated)", self.repeated)?;
        }
        if self.gates > 1 {
            write!(f, " of {} gates ({} repeated)", self.gates, self.repeated)?;
        }
        let (items, holders) = (self.items, self.holders);
        write!(f, ", {items} item{}, {holders} holder{}", plural(items), plural(holders))?;
        for (at, (kind, count)) in self.kinds.iter().enumerate() {
            write!(f, "{} {kind} {count}", if at == 0 { ";" } else { "," })?;
        }
        if self.observed > 0 {
            write!(f, "; only observed, and exempt: {}", self.observed)?;
        }
        Ok(())
    }
}
