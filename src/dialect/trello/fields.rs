//! The guarded fields of a card, as the parameters name them (manual: trello, section 2).

use super::super::ParseError;
use super::super::json::shorten;
use super::params::{Params, refuse};
use crate::model::Account;
use serde_json::Value;
use std::collections::BTreeSet;

/// What an update makes of the guarded fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedFields {
    /// `idMembers`: all of them.
    pub members: Option<BTreeSet<Account>>,
    /// `idList`
    pub list: Option<String>,
    /// `closed`
    pub closed: Option<bool>,
    /// `idBoard`, which stays among the parameters.
    pub board: Option<String>,
}

/// Takes the guarded fields out of an update.
pub fn take(params: &mut Params) -> Result<WantedFields, ParseError> {
    Ok(WantedFields {
        members: params.take("idMembers")?.map(|value| members("idMembers", &value)).transpose()?,
        list: params.take("idList")?.map(|value| id("idList", &value)).transpose()?,
        closed: params.take("closed")?.map(|value| flag("closed", &value)).transpose()?,
        board: params.look("idBoard")?.map(|value| id("idBoard", &value)).transpose()?,
    })
}

/// A list of ids: with commas between, or an array. Empty: nobody.
pub fn members(field: &str, value: &Value) -> Result<BTreeSet<Account>, ParseError> {
    let wrong = || refuse(&format!("`{field}` must be ids of members, of 24 hexadecimal digits, with commas between"));
    let account = |text: &str| hex_id(text).map(|id| Account::new(&id)).ok_or_else(wrong);
    match value {
        Value::String(text) if text.is_empty() => Ok(BTreeSet::new()),
        Value::String(text) => text.split(',').map(account).collect(),
        Value::Array(all) => all.iter().map(|one| account(one.as_str().unwrap_or_default())).collect(),
        _ => Err(wrong()),
    }
}

/// One id.
pub fn id(field: &str, value: &Value) -> Result<String, ParseError> {
    let text = value.as_str().unwrap_or_default();
    hex_id(text).ok_or_else(|| {
        refuse(&format!("`{field}` is `{}`, and must be one id, of 24 hexadecimal digits", shorten(&value.to_string())))
    })
}

/// True or false, as JSON or as a text.
pub fn flag(field: &str, value: &Value) -> Result<bool, ParseError> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err(refuse(&format!("`{field}` must be true or false"))),
    }
}

/// Trello's ids are numbers of 12 bytes: the case of their digits means nothing.
pub fn hex_id(text: &str) -> Option<String> {
    is_hex_id(text).then(|| text.to_ascii_lowercase())
}

/// Whether it is such an id.
pub fn is_hex_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ANN: &str = "5e00000000000000000000a1";
    const BOB: &str = "5e00000000000000000000b2";

    #[test]
    fn members_in_all_their_forms() {
        let both = || BTreeSet::from([Account::new(ANN), Account::new(BOB)]);
        for (value, wanted) in [
            (json!(""), Some(BTreeSet::new())),
            (json!([]), Some(BTreeSet::new())),
            (json!(ANN), Some([Account::new(ANN)].into())),
            (json!(ANN.to_uppercase()), Some([Account::new(ANN)].into())),
            (json!(format!("{ANN},{BOB}")), Some(both())),
            (json!([BOB, ANN]), Some(both())),
            (json!(format!("{ANN}, {BOB}")), None),
            (json!([format!("{ANN},{BOB}")]), None),
            (json!([ANN, ""]), None),
            (json!([ANN, null]), None),
            (json!(null), None),
            (json!("me"), None),
            (json!("bob"), None),
            (json!(5), None),
            (json!({ "id": ANN }), None),
            (json!(format!("{ANN},")), None),
        ] {
            assert_eq!(members("idMembers", &value).ok(), wanted, "{value}");
        }
    }

    #[test]
    fn flags_and_ids_are_nothing_else() {
        assert_eq!(flag("closed", &json!(true)), Ok(true));
        assert_eq!(flag("closed", &json!("false")), Ok(false));
        for odd in [json!("True"), json!(1), json!("1"), json!(""), json!(null), json!([true])] {
            assert!(flag("closed", &odd).is_err(), "{odd}");
        }
        assert_eq!(id("idList", &json!(ANN)), Ok(ANN.to_owned()));
        for odd in [json!(""), json!(null), json!([ANN]), json!(format!("{ANN} ")), json!("5e00"), json!(7)] {
            assert!(id("idList", &odd).is_err(), "{odd}");
        }
    }
}
