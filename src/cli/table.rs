//! A list of JSON objects as a table for a person.
//!
//! Titles, accounts and reasons come from outside: control characters never reach the terminal.

use anyhow::Context as _;
use serde_json::Value;

use super::output;

/// A heading, and the JSON pointers at which its text may be; the first that is there counts.
pub(super) type Column = (&'static str, &'static [&'static str]);

/// Prints the list that is the answer, or its member `list`: as it is, or as a table.
pub(super) fn print(answer: &Value, list: &str, columns: &[Column], json: bool, none: &str) -> anyhow::Result<()> {
    if json {
        return output::print_line(serde_json::to_string_pretty(answer)?);
    }
    let rows = answer.as_array().or_else(|| answer.get(list)?.as_array()).context("the gate's answer is no list")?;
    if rows.is_empty() {
        output::say(none);
        return Ok(());
    }
    output::print(render(rows, columns))
}

/// One line of text that a terminal cannot take for a command.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Rows below a heading, aligned.
pub(super) fn render(rows: &[Value], columns: &[Column]) -> String {
    let heading: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lines =
        std::iter::once(heading).chain(rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()));
    let lines: Vec<Vec<String>> = lines.collect();
    let widths: Vec<usize> =
        (0..columns.len()).map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0)).collect();
    let shown = lines.iter().map(|line| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    });
    shown.collect()
}

/// A number with its noun: `1 line`, `2 lines`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

/// A time, in a width that does not vary; any other text as it is.
pub(super) fn to_the_second(text: &str) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(|_| text.to_owned(), |time| format!("{time:.0}"))
}

fn cell(row: &Value, (_, pointers): &Column) -> String {
    match pointers.iter().find_map(|pointer| row.pointer(pointer)) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_no_plural() {
        for (count, noun, text) in
            [(0, "item", "0 items"), (1, "item", "1 item"), (2, "repository", "2 repositories"), (1, "y", "1 y")]
        {
            assert_eq!(counted(count, noun), text);
        }
    }

    #[test]
    fn a_time_is_cut_to_the_second() {
        assert_eq!(to_the_second("2026-01-31T12:00:00.9Z"), "2026-01-31T12:00:00Z");
        assert_eq!(to_the_second("-"), "-");
    }

    #[test]
    fn a_table_is_aligned_and_harmless() {
        let rows = [
            serde_json::json!({ "resource": "a/b#1", "agent": { "account": "bot" } }),
            serde_json::json!({ "resource": "a/b#10", "agent": { "account": "\u{1b}[2J" } }),
        ];
        let columns: [Column; 2] = [("ITEM", &["/resource"]), ("ACCOUNT", &["/agent/account"])];
        assert_eq!(render(&rows, &columns), "ITEM    ACCOUNT\na/b#1   bot\na/b#10  \u{fffd}[2J\n");
    }
}
