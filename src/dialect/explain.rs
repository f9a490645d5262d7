//! What every dialect's `claimgate explain` is made of.

use std::fmt::{Display, Write as _};

/// One line: a name, and what there is to say under it.
pub fn line(text: &mut String, name: &str, value: impl Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name}: {value}");
}
