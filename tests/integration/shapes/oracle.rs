//! Go's own reader of requests as a witness (`tests/oracle`): which guarded field it sees in each.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::witness;

/// What Go sees in each request, empty for nothing guarded; none, loudly, where there is no Go.
pub fn ask(requests: &[Vec<u8>]) -> Option<Vec<String>> {
    if Command::new("go").arg("version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: no `go` here, so Go's own reader was not asked about {} requests", requests.len());
        return None;
    }
    let mut command = Command::new("go");
    command.args(["run", "."]).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle"));
    command.env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").env("GOPROXY", "off");
    Some(witness::answers(&mut command, requests))
}
