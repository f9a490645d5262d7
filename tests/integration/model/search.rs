//! Breadth first over all states, so that the first trace that is found is a shortest one.

use super::rules::Rules;
use super::state::{Broken, State};
use super::steps::{Next, is_driven, steps};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// What a search came to.
#[derive(Debug)]
pub enum Searched {
    /// Every state was looked at.
    Clean { states: usize },
    /// This promise is broken after these steps.
    Found { broken: Broken, trace: Vec<&'static str> },
}

/// Many small values, fast also where nothing is optimised.
#[derive(Default)]
struct Mixer(u64);

struct Node {
    state: State,
    from: usize,
    label: &'static str,
}

/// More than any run here needs.
const MOST_STATES: usize = 3_000_000;

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value.cast_unsigned() as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

pub fn search(rules: &Rules) -> Searched {
    let mut known: HashSet<State, BuildHasherDefault<Mixer>> = HashSet::default();
    let first = State::new(rules.bounds);
    known.insert(first);
    let mut nodes = vec![Node { state: first, from: 0, label: "begin" }];
    let (mut at, mut next) = (0, Vec::new());
    while at < nodes.len() {
        let state = nodes[at].state;
        next.clear();
        steps(rules, &state, &mut next);
        if !next.iter().any(|next: &Next| is_driven(next.label)) {
            let mut rest = state;
            rest.check_at_rest(rules.outsiders());
            if let Some(broken) = rest.broken {
                return Searched::Found { broken, trace: trace(&nodes, at) };
            }
        }
        for Next { label, mut state } in next.drain(..) {
            state.requests.sort_unstable();
            state.check();
            if !known.insert(state) {
                continue;
            }
            nodes.push(Node { state, from: at, label });
            if let Some(broken) = state.broken {
                return Searched::Found { broken, trace: trace(&nodes, nodes.len() - 1) };
            }
        }
        at += 1;
        assert!(nodes.len() < MOST_STATES, "the run is larger than it was meant to be");
    }
    Searched::Clean { states: nodes.len() }
}

fn trace(nodes: &[Node], mut at: usize) -> Vec<&'static str> {
    let mut labels = Vec::new();
    while at > 0 {
        labels.push(nodes[at].label);
        at = nodes[at].from;
    }
    labels.reverse();
    labels
}
