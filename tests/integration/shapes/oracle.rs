//! Go's own reader of requests as a witness (`tests/oracle`): which guarded field it sees in each.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What Go sees in each request, empty for nothing guarded; none, loudly, where there is no Go.
pub fn ask(requests: &[Vec<u8>]) -> Option<Vec<String>> {
    if Command::new("go").arg("version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: no `go` here, so Go's own reader was not asked about {} requests", requests.len());
        return None;
    }
    let mut command = Command::new("go");
    command.args(["run", "."]).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle"));
    command.env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").env("GOPROXY", "off");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("go runs");
    let mut input = child.stdin.take().expect("piped");
    let mut framed = Vec::new();
    for request in requests {
        framed.extend_from_slice(&u32::try_from(request.len()).expect("a small request").to_be_bytes());
        framed.extend_from_slice(request);
    }
    // It reads to the end before it answers.
    input.write_all(&framed).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the oracle failed");
    let answers: Vec<String> = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), requests.len());
    Some(answers)
}
