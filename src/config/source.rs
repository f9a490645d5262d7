//! Where a value was written, and how a mistake in it is shown.
//!
//! All texts that a configuration is made of (the built-in file, the operator's file, variables, flags) lie behind one
//! another in one [`Sources`], so that one number says where something is. A [`Problem`] carries the place, the line
//! and a caret. A password within a URL never gets into a message.

use std::fmt;
use std::ops::Range;

use super::LoadWarning;

/// Longest line that is shown; a longer one is cut, since only the place matters.
const SHOWN: usize = 160;

/// The texts, one behind the other. The first are built in.
#[derive(Debug, Default)]
pub(super) struct Sources {
    texts: Vec<Source>,
    /// How many are built in.
    built_in: usize,
}

#[derive(Debug)]
struct Source {
    name: String,
    text: String,
    base: usize,
    single: bool,
}

/// One mistake, at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, as one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where; `None` if no place in a text is to blame.
    pub place: Option<SourceSpan>,
    /// What it is about.
    pub(super) subject: ProblemSubject,
    /// Where it is among all texts, for the order.
    pub(super) at: usize,
}

/// What a mistake is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProblemSubject {
    /// A text as a whole, which therefore is not known.
    Whole,
    /// One key, as a dotted path.
    Key(String),
    /// Several keys, each of which is right alone.
    Several,
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpan {
    /// A file's path, `environment`, or `command line`.
    pub source: String,
    /// From 1; `None` for a variable or a flag, which are one line.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: usize,
    /// How many characters are meant; at least 1.
    pub width: usize,
    /// The whole line, passwords masked.
    pub text: String,
}

/// Everything that is wrong with a configuration, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
    /// What was noticed besides.
    pub warnings: Vec<LoadWarning>,
}

// === impl Sources ===

impl Sources {
    /// Adds a file, and says where it begins.
    pub(super) fn add_file(&mut self, name: &str, text: &str) -> usize {
        self.add(name, text, false)
    }

    /// Adds one variable or flag; `shown` ends with `value`. Says where the value is.
    pub(super) fn add_value(&mut self, name: &str, shown: &str, value: &str) -> Range<usize> {
        let base = self.add(name, shown, true);
        base + shown.len() - value.len()..base + shown.len()
    }

    fn add(&mut self, name: &str, text: &str, single: bool) -> usize {
        let base = self.texts.last().map_or(0, |last| last.base + last.text.len() + 1);
        self.texts.push(Source { name: name.to_owned(), text: text.to_owned(), base, single });
        base
    }

    /// What was added so far is built in.
    pub(super) fn end_built_in(&mut self) {
        self.built_in = self.texts.len();
    }

    /// Whether the place lies in a built-in file.
    pub(super) fn is_built_in(&self, at: usize) -> bool {
        self.texts.get(self.built_in).is_none_or(|first| at < first.base)
    }

    /// The place of a span.
    pub(super) fn place(&self, span: &Range<usize>) -> Option<SourceSpan> {
        let source = self.texts.iter().rev().find(|source| source.base <= span.start)?;
        let start = floor(&source.text, span.start - source.base);
        let end = floor(&source.text, span.end.saturating_sub(source.base)).max(start);
        let line_start = source.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = source.text[line_start..].lines().next().unwrap_or_default();
        let on_line = &source.text[start..end.min(line_start + line.len()).max(start)];
        Some(SourceSpan {
            source: source.name.clone(),
            line: (!source.single).then(|| source.text[..start].matches('\n').count() + 1),
            column: source.text[line_start..start].chars().count() + 1,
            width: on_line.chars().count().max(1),
            text: plain(&mask_passwords(line)),
        })
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// `postgres://user:secret@host` as `postgres://user:******@host`; the same length, so that carets stay right.
fn mask_passwords(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(scheme) = rest.find("://") {
        let (before, after) = rest.split_at(scheme + 3);
        out.push_str(before);
        let authority = after.split(['/', '"', '\'', ' ']).next().unwrap_or_default();
        let secret = authority.rfind('@').and_then(|at| Some((authority[..at].find(':')? + 1, at)));
        let (from, to) = secret.unwrap_or((0, 0));
        out.push_str(&after[..from]);
        out.extend(after[from..to].chars().map(|_| '*'));
        rest = &after[to..];
    }
    out + rest
}

/// One line for a terminal: control characters become spaces.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "error: {}", plain(&mask_passwords(&self.message)))?;
        let mut margin = 1;
        if let Some(place) = &self.place {
            margin = place.write(out)?;
        }
        match &self.help {
            Some(help) => writeln!(out, "{:margin$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}

impl SourceSpan {
    /// Writes the place, the line and the caret; says how wide the margin is.
    fn write(&self, out: &mut fmt::Formatter<'_>) -> Result<usize, fmt::Error> {
        let number = self.line.map_or_else(String::new, |line| line.to_string());
        let margin = number.len().max(1);
        let skip = if self.column > SHOWN { self.column - SHOWN / 2 } else { 0 };
        let text: String = self.text.chars().skip(skip).take(SHOWN).collect();
        let carets = "^".repeat(self.width.min(SHOWN));
        writeln!(out, "{:margin$}--> {self}", "")?;
        writeln!(out, "{:margin$} |", "")?;
        writeln!(out, "{number:margin$} | {text}")?;
        writeln!(out, "{:margin$} | {:indent$}{carets}", "", "", indent = self.column - 1 - skip)?;
        Ok(margin)
    }
}

impl fmt::Display for SourceSpan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}:{}", self.source, self.column),
            None => write!(out, "{}", self.source),
        }
    }
}

// === impl ConfigErrors ===

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_and_nothing_else() {
        let cases = [
            ("url = \"postgres://u:pw@host/db\"", "url = \"postgres://u:**@host/db\""),
            ("url = \"https://u:p:w@host\"", "url = \"https://u:***@host\""),
            ("url = \"http://127.0.0.1:3000\"", "url = \"http://127.0.0.1:3000\""),
            ("a = \"http://u:p@h\" # http://v:q@h", "a = \"http://u:*@h\" # http://v:*@h"),
            ("listen = \"127.0.0.1:80\"", "listen = \"127.0.0.1:80\""),
        ];
        for (line, masked) in cases {
            assert_eq!(mask_passwords(line), masked);
        }
    }

    #[test]
    fn the_caret_is_under_the_mistake() {
        let mut sources = Sources::default();
        sources.add_file("built-in", "x = 1\n");
        sources.end_built_in();
        let base = sources.add_file("gate.toml", "# \u{e4}\nname = \"\u{e4}\u{e4}\" \n");
        let place = sources.place(&(base + 12..base + 18)).unwrap();
        assert_eq!((place.line, place.column, place.width), (Some(2), 8, 4));
        assert!(sources.is_built_in(0) && !sources.is_built_in(base));
    }
}
