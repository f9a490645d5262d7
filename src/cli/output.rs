//! What is printed for a person or the next command: the only place of the command line that writes to standard output
//! and standard error.
//!
//! `println!` panics where the reader has gone (`| head -1`). Here that is a quiet end: nobody wants the rest, and the
//! exit code stays what the command says.

use std::fmt::Display;
use std::io::{self, BufRead as _, ErrorKind, IsTerminal as _, Write};

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

/// What a text means, on a terminal by its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
    /// Beside the point.
    Quiet,
}

/// Whether somebody sees it as it is printed.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The text in its colour; on a terminal only, and where `NO_COLOR` does not say otherwise (no-color.org).
pub(super) fn paint(colour: Colour, text: &str) -> String {
    if !is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Good => 32,
        Colour::Warn => 33,
        Colour::Bad => 31,
        Colour::Quiet => 2,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Asks a person; `None` where there is none to ask.
pub(super) fn confirm(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    drop(write!(io::stderr().lock(), "{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn until_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
