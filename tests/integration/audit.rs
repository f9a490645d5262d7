//! The audit: logs that the real transitions made are accepted, forged ones are not; and the projector's promises.

mod forged;
mod history;
mod printed;

use claimgate::audit::verify::{Summary, Verifier};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// What the verifier says of these lines.
fn verified(log: &str) -> (Vec<String>, Summary) {
    let (mut verifier, mut found) = (Verifier::new(), Vec::new());
    verifier.read("log", log.as_bytes(), &mut |finding| found.push(finding.to_string())).unwrap();
    found.extend(verifier.finish(None));
    (found, verifier.summary())
}

/// Lines, as the parts of the log that a test changes.
fn parsed(log: &str) -> Vec<Map<String, Value>> {
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Numbers and chains the lines anew, from the first one's place on; without the gate's own code.
fn chained(lines: &[Map<String, Value>]) -> String {
    let mut log = String::new();
    let mut seq = lines.first().map_or(1, |line| line["seq"].as_u64().unwrap());
    let mut prev = lines.first().map_or(String::new(), |line| line["prev_hash"].as_str().unwrap().to_owned());
    for line in lines {
        let mut rest = line.clone();
        for name in ["seq", "prev_hash", "hash"] {
            rest.shift_remove(name);
        }
        let rest = Value::Object(rest).to_string();
        let rest = &rest[1..];
        let hash = format!("{:x}", Sha256::digest(format!("{{\"seq\":{seq},\"prev_hash\":\"{prev}\",{rest}")));
        writeln!(log, "{{\"seq\":{seq},\"prev_hash\":\"{prev}\",\"hash\":\"{hash}\",{rest}").unwrap();
        (seq, prev) = (seq + 1, hash);
    }
    log
}

/// `claimgate audit verify` with these arguments and this standard input.
fn claimgate(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_claimgate"))
        .args(["audit", "verify"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read its input may have ended.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}
