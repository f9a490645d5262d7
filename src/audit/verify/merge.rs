//! The audits of several gates, each a chain of its own, in the order of what they did to items.
//!
//! Gates that share a ledger write lines of one item by one clock, the ledger's, and each later than the one before. So
//! the next line is the earliest of the chains' next ones. A line that changes no item stands where its chain has it.

use serde::Deserialize;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read as _};

/// One input, by its name.
pub type Input = (String, Box<dyn BufRead>);

/// One gate's audit: one input, or several that go on from each other.
pub(super) struct Stream {
    gate: String,
    inputs: VecDeque<Input>,
    number: u64,
    /// The next line, if it was looked at.
    pub(super) head: Option<Head>,
    /// The time of the last line that changed an item.
    at: jiff::Timestamp,
}

/// A line that is to be judged next.
pub(super) struct Head {
    /// Where it stands.
    pub(super) input: String,
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) seq: Option<u64>,
}

/// What the order rests on.
#[derive(Default, Deserialize)]
struct LineOrder {
    seq: Option<u64>,
    gate: Option<String>,
    time: Option<String>,
    fence: Option<u64>,
}

/// Sorts inputs by the gate that their first line names.
pub(super) fn streams(inputs: Vec<Input>) -> io::Result<Vec<Stream>> {
    let mut streams: Vec<Stream> = Vec::new();
    for (name, mut input) in inputs {
        let head = read_line(&mut input)?;
        let gate = place(&head).gate.unwrap_or_default();
        let whole: Input = (name, Box::new(io::Cursor::new(head).chain(input)));
        match streams.iter_mut().find(|stream| stream.gate == gate) {
            Some(stream) => stream.inputs.push_back(whole),
            None => streams.push(Stream {
                gate,
                inputs: VecDeque::from([whole]),
                number: 0,
                head: None,
                at: jiff::Timestamp::MIN,
            }),
        }
    }
    streams.iter_mut().try_for_each(Stream::advance)?;
    Ok(streams)
}

/// The stream whose next line comes first.
pub(super) fn next(streams: &[Stream]) -> Option<usize> {
    let waiting = (0..streams.len()).filter(|at| streams[*at].head.is_some());
    waiting.min_by_key(|at| streams[*at].at)
}

fn read_line(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(super::LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    Ok(bytes)
}

fn place(bytes: &[u8]) -> LineOrder {
    serde_json::from_slice(bytes).unwrap_or_default()
}

// === impl Stream ===

impl Stream {
    /// Looks at the next line.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        self.head = None;
        while let Some((name, input)) = self.inputs.front_mut() {
            let bytes = read_line(input.as_mut())?;
            if bytes.is_empty() {
                self.inputs.pop_front();
                self.number = 0;
                continue;
            }
            let (input, place) = (name.clone(), place(&bytes));
            self.number += 1;
            let time = place.time.filter(|_| place.fence.is_some()).and_then(|time| time.parse().ok());
            self.at = time.map_or(self.at, |time: jiff::Timestamp| time.max(self.at));
            self.head = Some(Head { input, number: self.number, bytes, seq: place.seq });
            return Ok(());
        }
        Ok(())
    }
}
