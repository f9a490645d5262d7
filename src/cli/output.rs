//! What is printed for a person or the next command: the only place of the command line that writes to standard output
//! and standard error.
//!
//! `println!` panics where the reader has gone (`| head -1`). Here that is a quiet end: nobody wants the rest, and the
//! exit code stays what the command says.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context as _;

/// What was asked for, as it is.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    until_closed(write!(out, "{text}").and_then(|()| out.flush())).context("cannot write to standard output")
}

/// What was asked for, and the end of the line.
pub(super) fn print_line(text: impl Display) -> anyhow::Result<()> {
    print(format_args!("{text}\n"))
}

/// What is said beside it, on standard error. Where nobody can read that, nobody can be told so.
pub(super) fn say(text: impl Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

fn until_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
