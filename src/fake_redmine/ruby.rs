//! What Ruby and Rails make of a value: the readings on which it depends which issue, user or status is meant.

use serde_json::Value;

/// A value has no such method, or cannot be asked so: the request ends with a 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotANumber;

/// `String#to_i`: white space, a sign, digits with single underscores between them; whatever follows is ignored.
pub(super) fn to_i(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0B', '\x0C', '\r']);
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut number: i64 = 0;
    let mut before = b'_';
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => number = number.saturating_mul(10).saturating_add(i64::from(byte - b'0')),
            b'_' if before != b'_' => {}
            _ => break,
        }
        before = byte;
    }
    if negative { -number } else { number }
}

/// `value.to_i`, which lists, hashes and booleans do not have.
pub(super) fn number(value: &Value) -> Result<i64, NotANumber> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => Ok(to_i(text)),
        Value::Number(number) => Ok(whole(number)),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(NotANumber),
    }
}

/// What a column of numbers makes of a value: blank is none, and so is what has no `to_i`.
pub(super) fn column(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(yes) => Some(i64::from(*yes)),
        Value::String(text) if is_blank(text) => None,
        other => number(other).ok().filter(|_| !other.is_null()),
    }
}

/// Whether `if value` takes it for true.
pub(super) fn is_truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// `blank?`
pub(super) fn is_blank_value(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => is_blank(text),
        Value::Array(all) => all.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// `to_s` of what a client may send where a text is due.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

fn whole(number: &serde_json::Number) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "it is what Ruby does with a fraction")]
    number.as_i64().unwrap_or_else(|| number.as_f64().map_or(i64::MAX, |float| float as i64))
}
