//! Documents that are none, or nearly: whatever comes, the reader says so soon, and stays up.

use std::time::Duration;

use claimgate::dialect::{Head, Target, graphql};
use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::documents::{Dice, chosen, drawn};

/// Pieces that readers stumble over.
const PIECES: [&str; 22] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "\"\"\"",
    "\\",
    "\\u",
    "\\u{110000}",
    "\\ud800",
    "...",
    "... on",
    "$",
    "@skip(if:",
    ":",
    "#",
    "\u{0}",
    "\u{feff}",
    "1e",
    "é",
];

fn mangle(text: &str, dice: &mut Dice) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=dice.below(4) {
        let at = dice.below(letters.len() + 1);
        let end = (at + dice.below(12)).min(letters.len());
        match dice.below(4) {
            0 => drop(letters.drain(at..end)),
            1 => {
                let piece: Vec<char> = PIECES[dice.below(PIECES.len())].chars().collect();
                letters.splice(at..at, piece);
            }
            2 => {
                let again: Vec<char> = letters[at..end].to_vec();
                letters.splice(at..at, again);
            }
            _ => {
                let piece: Vec<char> = PIECES[dice.below(PIECES.len())].repeat(1 + dice.below(200)).chars().collect();
                letters.splice(at..end, piece);
            }
        }
    }
    letters.into_iter().collect()
}

/// `CLAIMGATE_TEST_DOCUMENTS=100000` for the long run.
#[test]
fn no_mangled_document_brings_the_reader_down() {
    let (count, seed) = chosen(5_000);
    let mut dice = Dice::new(seed);
    let (target, headers) = (Target::parse("/graphql"), HeaderMap::new());
    let head = Head { method: &Method::POST, target: &target, headers: &headers };
    let (mut read, mut longest) = (0, Duration::ZERO);
    for _ in 0..count {
        let mut request = drawn(&mut dice);
        let body = if dice.below(3) == 0 {
            mangle(&request.to_string(), &mut dice)
        } else {
            let query = mangle(request["query"].as_str().expect("a text"), &mut dice);
            request["query"] = query.into();
            request.to_string()
        };
        let began = Instant::now();
        if let Ok(operations) = graphql::read(&head, body.as_bytes()) {
            read += 1;
            for mutation in &operations.mutations {
                let again =
                    graphql::read(&head, &mutation.body()).unwrap_or_else(|why| panic!("seed {seed}: {body}: {why}"));
                let fields = |one: &graphql::Mutation| {
                    one.fields().iter().map(|it| (it.key.clone(), it.arguments.clone())).collect::<Vec<_>>()
                };
                assert_eq!(fields(&again.mutations[0]), fields(mutation), "seed {seed}: {body}");
            }
        }
        longest = longest.max(began.elapsed());
    }
    eprintln!("seed {seed}: {read} of {count} are documents still; the slowest took {longest:?}");
    assert!(read > 0 && longest < Duration::from_secs(2), "{read} {longest:?}");
}
