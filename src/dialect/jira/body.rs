//! The JSON bodies of guarded calls, read as strictly as may be (manual: jira, section 3).
//!
//! Members that nobody asks for keep their bytes. What two readers could take differently is refused.

use super::super::json::{Member, read_object, shorten};
use super::super::{Head, ParseError};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};

/// Whom a request assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JiraAssignee {
    /// `null`.
    Nobody,
    /// `"-1"`: whom the project's settings name, which may be anybody.
    Automatic(JiraAccountMember),
    /// This account.
    One(JiraAccountMember, String),
}

/// By which member a request names an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JiraAccountMember {
    /// Cloud: `accountId`, or `id`.
    AccountId,
    /// Server and Data Center: `name`.
    Name,
}

/// The body of an edit, a transition or a creation, the guarded parts taken out.
#[derive(Clone, Debug, Default)]
pub struct IssueBody {
    pub assignee: Option<JiraAssignee>,
    /// `fields`, without the assignee.
    pub fields: Vec<Member>,
    /// `update`, without the assignee.
    pub update: Vec<Member>,
    /// The id of `transition`, where there is one.
    pub transition: Option<String>,
    /// What stands beside them.
    pub rest: Vec<Member>,
}

/// That the body is plain JSON.
pub fn expect_json(head: &Head<'_>) -> Result<(), ParseError> {
    let header = |name| head.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
    let coding = header(CONTENT_ENCODING);
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        return Err(ParseError::UnsupportedEncoding("send the body uncompressed".to_owned()));
    }
    let essence = header(CONTENT_TYPE).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") && head.headers.get_all(CONTENT_TYPE).iter().count() == 1 {
        return Ok(());
    }
    Err(ParseError::UnsupportedEncoding("send the body as application/json, as Jira reads no other here".to_owned()))
}

/// An edit, a transition or a creation.
pub fn read_issue(body: &[u8]) -> Result<IssueBody, ParseError> {
    let mut read = IssueBody::default();
    for member in read_object(body, &["fields", "update", "transition"])? {
        match member.name.as_str() {
            "fields" => read.fields = object_of(&member, &["assignee", "status"])?,
            "update" => read.update = object_of(&member, &["assignee", "status"])?,
            "transition" => read.transition = Some(transition_id(&value_of(&member))?),
            _ => read.rest.push(member),
        }
    }
    for (what, members) in [("fields", &read.fields), ("update", &read.update)] {
        if members.iter().any(|member| member.name == "status") {
            return Err(refuse(format!(
                "`{what}.status` sets nothing in Jira: a status is changed by POST /rest/api/2/issue/KEY/transitions"
            )));
        }
    }
    let set = take(&mut read.fields, "assignee").map(|member| assignee(&value_of(&member), false)).transpose()?;
    let updated = take(&mut read.update, "assignee").map(|member| updated_assignee(&value_of(&member))).transpose()?;
    if set.is_some() && updated.is_some() {
        return Err(refuse("the assignee stands in `fields` and in `update`: name it once"));
    }
    read.assignee = set.or(updated);
    Ok(read)
}

/// `PUT issue/KEY/assignee`: the account itself.
pub fn read_assignee(body: &[u8]) -> Result<JiraAssignee, ParseError> {
    let members = read_object(body, &NAMES_OF_ACCOUNTS)?;
    let members = members.iter().map(|member| (member.name.clone(), value_of(member))).collect();
    assignee(&Value::Object(members), true)
}

/// A transition of a request of Jira Service Management: `{"id": "5", "additionalComment": {…}}`.
pub fn read_request_transition(body: &[u8]) -> Result<(String, Vec<Member>), ParseError> {
    let mut members = read_object(body, &["id", "additionalComment"])?;
    let id = take(&mut members, "id").map(|member| value_of(&member));
    let id = id.as_ref().and_then(number_text).ok_or_else(|| refuse("`id` must be the number of a transition"))?;
    Ok((id, members))
}

/// The issues that a call names.
pub fn issue_names(member: &Member) -> Result<Vec<String>, ParseError> {
    let wrong = || refuse(format!("`{}` must be a list of keys or ids of issues", member.name));
    let Value::Array(all) = value_of(member) else { return Err(wrong()) };
    all.iter().map(|one| one.as_str().map(str::to_owned).or_else(|| number_text(one)).ok_or_else(wrong)).collect()
}

/// The value of a member, which the reader has checked.
pub fn value_of(member: &Member) -> Value {
    serde_json::from_str(member.value.get()).unwrap_or(Value::Null)
}

pub fn take(members: &mut Vec<Member>, name: &str) -> Option<Member> {
    let at = members.iter().position(|member| member.name == name)?;
    Some(members.remove(at))
}

pub fn refuse(text: impl Into<String>) -> ParseError {
    ParseError::Ambiguous(text.into())
}

fn object_of(member: &Member, watched: &[&str]) -> Result<Vec<Member>, ParseError> {
    match member.value.get() {
        "null" => Ok(Vec::new()),
        text if text.starts_with('{') => read_object(text.as_bytes(), watched),
        _ => Err(refuse(format!("`{}` must be an object", member.name))),
    }
}

/// `[{"set": {…}}]`: the only verb that an assignee has.
fn updated_assignee(value: &Value) -> Result<JiraAssignee, ParseError> {
    let wrong = || refuse("`update.assignee` must be one operation: [{\"set\": {…}}]");
    let Value::Array(all) = value else { return Err(wrong()) };
    let [Value::Object(operation)] = &all[..] else { return Err(wrong()) };
    match operation.iter().next() {
        Some((verb, value)) if verb == "set" && operation.len() == 1 => assignee(value, false),
        _ => Err(wrong()),
    }
}

/// `may_be_empty`: where Jira takes an account without a name for nobody.
fn assignee(value: &Value, may_be_empty: bool) -> Result<JiraAssignee, ParseError> {
    let members = match value {
        Value::Null => return Ok(JiraAssignee::Nobody),
        Value::Object(members) => members,
        _ => return Err(refuse(HOW_TO_ASSIGN)),
    };
    for name in members.keys() {
        let folded = super::super::json::fold_name(name);
        let alike =
            NAMES_OF_ACCOUNTS.iter().find(|known| **known != name && super::super::json::fold_name(known) == folded);
        if let Some(known) = alike {
            return Err(refuse(format!("`{}` may be read as `{known}`: spell it exactly", shorten(name))));
        }
    }
    let cloud = match (members.get("accountId"), members.get("id")) {
        (Some(one), Some(other)) if one != other => {
            return Err(refuse("`accountId` and `id` of the assignee differ: name one account"));
        }
        (one, other) => one.or(other),
    };
    match (cloud, members.get("name")) {
        (Some(_), Some(_)) => Err(refuse("the assignee has an `accountId` and a `name`: name it by one of them")),
        (Some(id), None) => named(id, JiraAccountMember::AccountId),
        (None, Some(name)) => named(name, JiraAccountMember::Name),
        (None, None) if members.is_empty() && may_be_empty => Ok(JiraAssignee::Nobody),
        (None, None) => Err(refuse(HOW_TO_ASSIGN)),
    }
}

fn named(value: &Value, by: JiraAccountMember) -> Result<JiraAssignee, ParseError> {
    match value {
        Value::Null => Ok(JiraAssignee::Nobody),
        Value::String(text) if text == "-1" => Ok(JiraAssignee::Automatic(by)),
        Value::String(text) if is_account(text) => Ok(JiraAssignee::One(by, text.clone())),
        _ => Err(refuse(HOW_TO_ASSIGN)),
    }
}

fn is_account(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(char::is_control) && crate::model::is_short_name(text)
}

/// `{"id": "31"}`, `{"id": 31}`; the name beside it is a comment.
fn transition_id(value: &Value) -> Result<String, ParseError> {
    let id = value.as_object().and_then(|members: &Map<String, Value>| members.get("id")).and_then(number_text);
    id.ok_or_else(|| {
        refuse("`transition` must be an object with the id of a transition: {\"transition\": {\"id\": \"31\"}}")
    })
}

/// A number, or a text that is one and nothing else.
fn number_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        Value::String(text) => {
            let number: u64 = text.parse().ok()?;
            Some(text.clone()).filter(|text| *text == number.to_string())
        }
        _ => None,
    }
}

const NAMES_OF_ACCOUNTS: [&str; 4] = ["accountId", "id", "name", "key"];
const HOW_TO_ASSIGN: &str = "the assignee must be null, or an object that names one account: {\"accountId\": \"…\"} in Jira Cloud, \
    {\"name\": \"…\"} in Server and Data Center";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<Option<JiraAssignee>, &str>) {
        match (read_issue(body.as_bytes()), expected) {
            (Ok(read), Ok(wanted)) => assert_eq!(read.assignee, wanted, "{body}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{body}: {error}"),
            (read, _) => panic!("{body}: {read:?}"),
        }
    }

    #[test]
    fn an_assignee_has_one_reading() {
        let cloud = |id: &str| Some(JiraAssignee::One(JiraAccountMember::AccountId, id.to_owned()));
        check(r#"{"fields":{"assignee":{"accountId":"5b1"}}}"#, Ok(cloud("5b1")));
        check(r#"{"fields":{"assignee":{"id":"5b1","displayName":"Ann"}}}"#, Ok(cloud("5b1")));
        check(r#"{"update":{"assignee":[{"set":{"accountId":"5b1"}}]}}"#, Ok(cloud("5b1")));
        let ann = Some(JiraAssignee::One(JiraAccountMember::Name, "ann".to_owned()));
        check(r#"{"fields":{"assignee":{"name":"ann","key":"JIRAUSER1"}}}"#, Ok(ann));
        check(r#"{"fields":{"assignee":null}}"#, Ok(Some(JiraAssignee::Nobody)));
        check(r#"{"fields":{"assignee":{"name":null}}}"#, Ok(Some(JiraAssignee::Nobody)));
        check(
            r#"{"fields":{"assignee":{"accountId":"-1"}}}"#,
            Ok(Some(JiraAssignee::Automatic(JiraAccountMember::AccountId))),
        );
        check(r#"{"fields":{"summary":"s"},"update":{"comment":[{"add":{"body":"x"}}]}}"#, Ok(None));
        check(r#"{"fields":null}"#, Ok(None));
        for (body, part) in [
            (r#"{"fields":{"assignee":"ann"}}"#, "must be null, or an object"),
            (r#"{"fields":{"assignee":{}}}"#, "must be null, or an object"),
            (r#"{"fields":{"assignee":[]}}"#, "must be null, or an object"),
            (r#"{"fields":{"assignee":{"name":""}}}"#, "must be null, or an object"),
            (r#"{"fields":{"assignee":{"name":" ann"}}}"#, "must be null, or an object"),
            (r#"{"fields":{"assignee":{"key":"JIRAUSER1"}}}"#, "must be null, or an object"),
            (r#"{"fields":{"assignee":{"accountId":"a","name":"b"}}}"#, "by one of them"),
            (r#"{"fields":{"assignee":{"accountId":"a","id":"b"}}}"#, "differ"),
            (r#"{"fields":{"assignee":{"account_id":"a"}}}"#, "may be read as `accountId`"),
            (r#"{"fields":{"assignee":null,"assignee":{"name":"b"}}}"#, "occurs twice"),
            (r#"{"fields":{"Assignee":null}}"#, "may be read as `assignee`"),
            (r#"{"fields":{"assignee":null},"fields":{}}"#, "occurs twice"),
            (r#"{"fields":{"assignee":{"name":"a","name":"b"}}}"#, "read in two ways"),
            (r#"{"fields":{"assignee":null},"update":{"assignee":[{"set":null}]}}"#, "name it once"),
            (r#"{"update":{"assignee":[{"set":null},{"set":null}]}}"#, "one operation"),
            (r#"{"update":{"assignee":[{"add":{"name":"a"}}]}}"#, "one operation"),
            (r#"{"fields":{"status":{"name":"Done"}}}"#, "transitions"),
            (r#"{"fields":[]}"#, "must be an object"),
            (r#"[{"fields":{}}]"#, "JSON object"),
        ] {
            check(body, Err(part));
        }
    }

    #[test]
    fn a_transition_is_named_by_its_id() {
        let id = |body: &str| read_issue(body.as_bytes()).map(|read| read.transition);
        assert_eq!(id(r#"{"transition":{"id":"31","name":"Go"}}"#), Ok(Some("31".to_owned())));
        assert_eq!(id(r#"{"transition":{"id":31}}"#), Ok(Some("31".to_owned())));
        assert_eq!(id(r#"{"fields":{}}"#), Ok(None));
        for body in [
            r#"{"transition":"31"}"#,
            r#"{"transition":31}"#,
            r#"{"transition":{"id":"031"}}"#,
            r#"{"transition":{"id":" 31"}}"#,
            r#"{"transition":{"id":31.5}}"#,
            r#"{"transition":{"name":"Go"}}"#,
            r#"{"transition":null}"#,
            r#"{"transition":[]}"#,
        ] {
            assert!(id(body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_account_of_its_own_call() {
        let read = |body: &str| read_assignee(body.as_bytes());
        assert_eq!(read(r#"{"name":"ann"}"#), Ok(JiraAssignee::One(JiraAccountMember::Name, "ann".to_owned())));
        assert_eq!(read(r#"{"accountId":null}"#), Ok(JiraAssignee::Nobody));
        assert_eq!(read("{}"), Ok(JiraAssignee::Nobody));
        assert_eq!(read(r#"{"name":"-1"}"#), Ok(JiraAssignee::Automatic(JiraAccountMember::Name)));
        assert!(read(r#"{"name":"a","name":"b"}"#).is_err() && read(r#"{"Name":"a"}"#).is_err());
    }
}
