//! The guarded fields of an issue, as the parameters name them (manual: redmine, section 4).

use super::super::ParseError;
use super::super::json::shorten;
use super::params::{Parameters, refuse};
use serde_json::Value;

/// Whom a request assigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignee {
    /// Nobody.
    Nobody,
    /// Whoever sends it.
    Caller,
    /// The user or group with this number.
    Number(u64),
}

/// What a request makes of the guarded fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedFields {
    /// `assigned_to_id`.
    pub assignee: Option<Assignee>,
    /// `status_id`.
    pub status: Option<u64>,
}

/// Takes the guarded fields out of an update. What Redmine ignores is taken out, too.
pub fn take(issue: &mut Parameters) -> Result<WantedFields, ParseError> {
    let assignee = match issue.shift_remove("assigned_to_id") {
        Some(Value::String(text)) if text == "none" => Some(Assignee::Nobody),
        value => assignee(value)?,
    };
    Ok(WantedFields { assignee, status: status(issue.shift_remove("status_id"))? })
}

/// The same of a creation: its status is Redmine's to choose, and nobody's yet.
pub fn take_from_new(issue: &mut Parameters) -> Result<Option<Assignee>, ParseError> {
    let found = assignee(issue.shift_remove("assigned_to_id"))?;
    Ok(found.filter(|assignee| *assignee != Assignee::Nobody))
}

/// The same of the form for several issues, where an empty field says nothing.
pub fn take_from_many(issue: &mut Parameters) -> Result<WantedFields, ParseError> {
    issue.retain(|_, value| !matches!(value, Value::String(text) if is_blank(text)));
    let wanted = take(issue)?;
    match wanted.assignee {
        Some(Assignee::Caller) => Err(refuse("in a form for several issues `me` is nobody: name a number")),
        _ => Ok(wanted),
    }
}

/// Whether it names a field whose change may set another status: that of another project or tracker.
pub fn moves(issue: &Parameters) -> bool {
    ["project_id", "tracker_id"].iter().any(|name| issue.get(*name).is_some_and(is_something))
}

/// `null` and `false` are ignored.
fn assignee(value: Option<Value>) -> Result<Option<Assignee>, ParseError> {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) if is_blank(&text) => Ok(Some(Assignee::Nobody)),
        Some(Value::String(text)) if text == "me" => Ok(Some(Assignee::Caller)),
        Some(Value::String(text)) => match to_i(&text) {
            Some((number, _)) => Ok(Some(Assignee::Number(number))),
            None => Err(wrong("assigned_to_id", &text, "the number of a user or group, `me`, or empty")),
        },
        Some(Value::Number(number)) => match number.as_u64().filter(|number| *number > 0) {
            Some(number) => Ok(Some(Assignee::Number(number))),
            None => Err(wrong("assigned_to_id", &number.to_string(), "the number of a user or group")),
        },
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => {
            Err(refuse("`assigned_to_id` must be one number (an empty text clears it)"))
        }
    }
}

/// What is empty, or `none`, changes nothing.
fn status(value: Option<Value>) -> Result<Option<u64>, ParseError> {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) if is_blank(&text) || text == "none" => Ok(None),
        // Who writes more than a number has something else in mind than what Ruby makes of it.
        Some(Value::String(text)) => match to_i(&text) {
            Some((number, true)) => Ok(Some(number)),
            _ => Err(wrong("status_id", &text, "the number of a status")),
        },
        Some(Value::Number(number)) => match number.as_u64().filter(|number| *number > 0) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong("status_id", &number.to_string(), "the number of a status")),
        },
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => {
            Err(refuse("`status_id` must be the number of a status"))
        }
    }
}

/// Ruby's `to_i`, where it makes a positive number of a text, and whether the text is that number and nothing else but white
/// space, a plus, or zeros in front.
pub fn to_i(text: &str) -> Option<(u64, bool)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0B', '\x0C', '\r']);
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    // It reads on behind a single underscore.
    if text[end..].starts_with('_') {
        return None;
    }
    let number = text[..end].parse().ok().filter(|number| *number > 0 && i64::try_from(*number).is_ok())?;
    Some((number, text[end..].trim_end_matches([' ', '\t', '\n', '\r']).is_empty()))
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !is_blank(text),
        _ => true,
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

fn wrong(field: &str, given: &str, expected: &str) -> ParseError {
    refuse(&format!("`{field}` is `{}`, and must be {expected}", shorten(given)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(issue: &Value, expected: Result<(Option<Assignee>, Option<u64>), &str>) {
        let Value::Object(mut members) = issue.clone() else { panic!("{issue}") };
        match (take(&mut members), expected) {
            (Ok(wanted), Ok(expected)) => {
                assert_eq!((wanted.assignee, wanted.status), expected, "{issue}");
                assert!(members.is_empty(), "{issue}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{issue}: {error}"),
            (read, _) => panic!("{issue}: {read:?}"),
        }
    }

    #[test]
    fn assignees_in_all_their_forms() {
        use Assignee::{Caller, Nobody, Number};
        for (value, wanted) in [
            (json!(null), None),
            (json!(false), None),
            (json!(""), Some(Nobody)),
            (json!(" \n"), Some(Nobody)),
            (json!("none"), Some(Nobody)),
            (json!("me"), Some(Caller)),
            (json!(6), Some(Number(6))),
            (json!("6"), Some(Number(6))),
            (json!(" 06\n"), Some(Number(6))),
            (json!("+6"), Some(Number(6))),
            (json!("6abc"), Some(Number(6))),
        ] {
            check(&json!({ "assigned_to_id": value }), Ok((wanted, None)));
        }
        for value in [
            json!("ME"),
            json!("None"),
            json!("abc"),
            json!("0"),
            json!(0),
            json!(-1),
            json!("-1"),
            json!(6.9),
            json!(true),
            json!([6]),
            json!({ "id": 6 }),
            json!([]),
            json!("\u{666}"),
            json!("6_0"),
            json!("99999999999999999999"),
        ] {
            check(&json!({ "assigned_to_id": value }), Err("`assigned_to_id`"));
        }
    }

    #[test]
    fn a_status_is_a_number_and_nothing_else() {
        for (value, wanted) in [
            (json!(2), Some(2)),
            (json!("2"), Some(2)),
            (json!(" 02"), Some(2)),
            (json!("+2\n"), Some(2)),
            (json!(""), None),
            (json!("none"), None),
            (json!(null), None),
            (json!(false), None),
        ] {
            check(&json!({ "status_id": value }), Ok((None, wanted)));
        }
        for value in [
            json!("2abc"),
            json!("2.9"),
            json!(2.9),
            json!("0x2"),
            json!(0),
            json!([2]),
            json!({ "id": 2 }),
            json!(true),
        ] {
            check(&json!({ "status_id": value }), Err("`status_id`"));
        }
    }

    #[test]
    fn creations_and_forms_for_several() {
        let members = |value: Value| if let Value::Object(members) = value { members } else { panic!("{value}") };
        let mut new = members(json!({ "assigned_to_id": "me", "status_id": 2 }));
        assert_eq!(take_from_new(&mut new), Ok(Some(Assignee::Caller)));
        assert_eq!(Value::Object(new), json!({ "status_id": 2 }));
        assert_eq!(take_from_new(&mut members(json!({ "assigned_to_id": "" }))), Ok(None));
        assert!(take_from_new(&mut members(json!({ "assigned_to_id": "none" }))).is_err());
        let mut many = members(json!({ "assigned_to_id": "", "status_id": "5", "notes": "", "priority_id": "2" }));
        assert_eq!(take_from_many(&mut many), Ok(WantedFields { assignee: None, status: Some(5) }));
        assert_eq!(Value::Object(many), json!({ "priority_id": "2" }));
        assert!(take_from_many(&mut members(json!({ "assigned_to_id": "me" }))).is_err());
        assert!(moves(&members(json!({ "tracker_id": "2" }))) && !moves(&members(json!({ "project_id": "" }))));
    }
}
