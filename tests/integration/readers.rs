//! The JSON libraries with which versions of the tracker bind bodies (`tests/readers`), as witnesses against the gate's
//! own reader: what goes on as unguarded must set nothing guarded for any of them, and what is written anew must say to
//! all of them what was judged.
//!
//! Bodies are random, made of what such libraries have tripped over: parts of names, escapes, cases and folds, strings
//! that look like members. `CLAIMGATE_TEST_BODIES=1000000 CLAIMGATE_TEST_SEED=7` tries more, or the same again.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use claimgate::dialect::{self, ClosingSyntax, Head, Route, Scrutiny, Target};
use claimgate::model::SetChange;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};

use crate::witness;

const NAMES: &[&str] = &[
    "assignee",
    "assignees",
    "state",
    "title",
    "body",
    "labels",
    "milestone",
    "x",
    "",
    "assigne",
    "stat",
    "assig",
    "s",
    "xajjxmxwsb.*g2y29",
    "nxgiiv1)58:h>6|9,",
    "unset_due_date",
    "due_date",
    "ref",
    "statestate",
];
const VALUES: &[&str] = &[
    "\"eve\"",
    "[\"eve\"]",
    "\"closed\"",
    "\"\"",
    "[]",
    "null",
    "{}",
    "1",
    "-0.5e3",
    "true",
    "\":0,\"",
    "\",\"",
    "\"[\\\"\"",
    "[\"[\\\"\"]",
    "\"\\\\\"",
    "\"\\\\\\\"\"",
    "\"}\"",
    "{\"state\":\"closed\"}",
    "{\"assignees\":[\"eve\"]}",
    "\"\\u0022,\\u0022state\\u0022:\\u0022closed\"",
    "[[{\"state\":\"closed\"}]]",
    "\"\u{e4}\u{17f}\"",
    "\"\\/\\b\\n\"",
    "\"\\ud83d\"",
    "\"\\ud83d\\\\\"",
    "\"x\\ude00\\\"\\ud83d\"",
    "\"\\ud83d\\ud83d\\ude00\\n\"",
    "[\"\\udbff\\u0022,\",\"\\ud800\\u0000\"]",
];
const GOOD: &[&str] =
    &["\"assignees\":[\"eve\"]", "\"assignee\":\"eve\"", "\"state\":\"closed\"", "\"title\":\"t\"", "\"y\":[1]"];
const BYTES: &[u8] = b"{}[]\":,\\ \ta/u0\x00\xc5\xff\xe2\x82";

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("small")
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len())]
    }

    fn name(&mut self) -> String {
        let mut letters: Vec<String> = self.one_of(NAMES).chars().map(String::from).collect();
        for _ in 0..[0, 0, 0, 1, 2][self.roll(5)] {
            let at = self.roll(letters.len().max(1));
            let Some(letter) = letters.get(at).and_then(|letter| letter.chars().next()) else { break };
            let instead = match self.roll(8) {
                0 | 1 => format!("\\u{:04x}", u32::from(letter)),
                2 => letter.to_ascii_uppercase().to_string(),
                3 => String::new(),
                4 => format!("{letter}\\\\"),
                5 => format!("\\\"{letter}"),
                6 => letter.to_string().replace('s', "\u{17f}"),
                _ => format!("{letter}\\n"),
            };
            letters[at] = instead;
        }
        letters.concat()
    }

    fn object(&mut self, depth: usize) -> String {
        let members: Vec<String> = (0..self.roll(5))
            .map(|_| {
                if self.roll(3) == 0 {
                    return self.one_of(GOOD).to_owned();
                }
                let name = self.name();
                let value = if depth > 0 && self.roll(6) == 0 {
                    self.object(depth - 1)
                } else {
                    self.one_of(VALUES).to_owned()
                };
                let blank = self.one_of(&["", "", " ", "\n\t"]);
                format!("{blank}\"{name}\":{blank}{value}")
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn body(&mut self) -> Vec<u8> {
        let mut body = self.object(2).into_bytes();
        for _ in 0..[0, 0, 0, 1, 2][self.roll(5)] {
            let (at, byte) = (self.roll(body.len()), BYTES[self.roll(BYTES.len())]);
            match self.roll(3) {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
            if body.is_empty() {
                break;
            }
        }
        body
    }
}

/// What is sent for a body, and what the tracker may set by it.
fn gate(body: &[u8]) -> Option<(Vec<u8>, Value)> {
    let dialect = dialect::by_name("forgejo").expect("it is known");
    let target = Target::parse("/api/v1/repos/o/r/issues/7");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("token a"));
    let head = Head { method: &Method::PATCH, target: &target, headers: &headers };
    let Route::Guarded(route) = dialect.classify(&head) else { panic!("an edit is guarded") };
    match route.understand(&head, body, &Scrutiny::none(&ClosingSyntax::default())).ok()?.guarded {
        None => Some((body.to_vec(), json!({ "assignee": null, "assignees": null, "state": null }))),
        Some(request) => {
            let sent = request.emit(&[], &headers, &dialect.credential(&head, body).expect("one"));
            let change = request.change().expect("an edit is no toggle");
            let assignees = change.assignees.as_ref().map(|change| match change {
                SetChange::Replace(logins) => logins.iter().map(|login| login.as_str().to_owned()).collect::<Vec<_>>(),
                other => panic!("an edit replaces: {other:?}"),
            });
            let state = change.state.map(claimgate::model::OpenState::as_str);
            Some((sent.body.to_vec(), json!({ "assignee": null, "assignees": assignees, "state": state })))
        }
    }
}

/// What each library makes of each body; none, loudly, where it cannot be asked.
fn ask(bodies: &[Vec<u8>]) -> Option<Vec<BTreeMap<String, Value>>> {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("readers");
    // The libraries come over the network.
    let mut command = Command::new("timeout");
    command.args(["120", "go", "build", "-o"]).arg(&program).arg(".").env("GOTOOLCHAIN", "local");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers"));
    let built = command.output().expect("timeout runs");
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr).into_owned();
        assert!(!why.contains("main.go"), "{why}");
        eprintln!("SKIPPED: no `go` here, or not the trackers' JSON libraries, so they were not asked: {why}");
        return None;
    }
    let lines = witness::answers(&mut Command::new(&program), bodies);
    Some(lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

#[test]
fn no_tracker_reads_what_the_gate_did_not() {
    let chosen =
        |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (count, seed) = (chosen("CLAIMGATE_TEST_BODIES", 50_000), chosen("CLAIMGATE_TEST_SEED", 20_260));
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let sent: Vec<(Vec<u8>, Value)> = (0..count).filter_map(|_| gate(&dice.body())).collect();
    let guarded =
        sent.iter().filter(|(_, wanted)| wanted.as_object().is_some_and(|all| !all.values().all(Value::is_null)));
    let (guarded, bodies) = (guarded.count(), sent.iter().map(|(body, _)| body.clone()).collect::<Vec<_>>());
    assert!(guarded > 1_000 && sent.len() > guarded + 100, "{guarded} of {}", sent.len());
    let Some(answers) = ask(&bodies) else { return };
    for ((body, wanted), answer) in sent.iter().zip(&answers) {
        for (library, bound) in answer {
            assert_eq!(bound, wanted, "{library} reads {} (seed {seed})", String::from_utf8_lossy(body));
        }
    }
    eprintln!("{} of {count} bodies went on, {guarded} of them written anew; seed {seed}", sent.len());
}
