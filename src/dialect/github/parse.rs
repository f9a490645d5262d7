//! What a call of the REST API wants (manual: github, section 3).
//!
//! GitHub reads every body as JSON, whatever its type says, and reads no query of a write. The guarded members are taken
//! out and typed, and the rest is kept for [`super::rest`]. What could be read in two ways is refused.

use super::super::json::{Member, read_compared, shorten};
use super::super::{Head, ParseError};
use super::routes::RestForm;
use crate::model::{Account, Change, OpenState, SetChange, TagRef, is_short_name};
use http::header::CONTENT_ENCODING;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::BTreeSet;

/// What a body asks for.
#[derive(Clone, Debug, Default)]
pub struct RestBody {
    /// The guarded fields that it changes.
    pub(super) change: Change,
    /// What it moves beside those that a read of the item shows: a proposal, the value of an issue field.
    pub(super) beside: Option<&'static str>,
    /// Each assignee and label as the caller wrote it, with what stands beside its name.
    pub(super) spelled: Vec<(String, Value)>,
    /// The members that are not guarded, verbatim.
    pub(super) rest: Vec<Member>,
}

/// Reads the body of a guarded call.
pub fn parse(form: &RestForm, head: &Head<'_>, body: &[u8]) -> Result<RestBody, ParseError> {
    if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ParseError::UnsupportedEncoding("the body is compressed: send it as it is".to_owned()));
    }
    let mut members = RestMembers(read_members(form, body)?);
    let mut read = RestBody::default();
    match form {
        RestForm::EditIssue => {
            read.change.assignees = assignees(&mut members, &mut read.spelled)?.map(SetChange::Replace);
            read.change.labels = labels(&mut members, &mut read.spelled)?.map(SetChange::Replace);
            read.change.state = state(&mut members)?;
            read.beside = beside(&members, &read.change)?;
        }
        RestForm::EditPull => {
            // This call reads neither.
            members.take("assignee");
            members.take("assignees");
            members.take("labels");
            read.change.state = state(&mut members)?;
        }
        RestForm::CreateIssue => {
            let assignees = if members.named_none() { None } else { assignees(&mut members, &mut read.spelled)? };
            read.change.assignees = assignees.filter(|set| !set.is_empty()).map(SetChange::Replace);
        }
        RestForm::AddAssignees => {
            read.change.assignees = Some(SetChange::Add(named(&mut members, &mut read.spelled)?));
            read.beside = proposes(&members);
        }
        RestForm::RemoveAssignees => {
            read.change.assignees = Some(SetChange::Remove(named(&mut members, &mut read.spelled)?));
        }
        RestForm::AddLabels => {
            read.change.labels = Some(SetChange::Add(labels(&mut members, &mut read.spelled)?.unwrap_or_default()));
            read.beside = proposes(&members);
        }
        // Without any GitHub takes all of them away.
        RestForm::ReplaceLabels => {
            let wanted = labels(&mut members, &mut read.spelled)?.unwrap_or_default();
            read.change.labels = Some(SetChange::Replace(wanted));
            read.beside = proposes(&members);
        }
        RestForm::ClearLabels => read.change.labels = Some(SetChange::Replace(BTreeSet::new())),
        RestForm::RemoveLabel(name) => read.change.labels = Some(SetChange::Remove([label_name(name)?].into())),
        RestForm::SetFields(_) | RestForm::ClearField(_) => read.beside = Some(FIELDS),
        RestForm::ApproveSuggestion(_) => read.beside = Some("approve a suggestion"),
        RestForm::CreatePull => {}
    }
    read.rest = members.0;
    if read.beside == Some(PROPOSAL) {
        expect_nothing_set(&read.change)?;
        read.change = Change::default();
    }
    Ok(read)
}

impl RestBody {
    /// Whether nothing guarded would change, whatever the item shows.
    pub fn is_idle(&self) -> bool {
        let change = &self.change;
        let adds_none = |change: &SetChange<TagRef>| matches!(change, SetChange::Add(set) if set.is_empty());
        self.beside.is_none()
            && change.assignees.is_none()
            && change.state.is_none()
            && change.labels.as_ref().is_none_or(adds_none)
    }
}

// === Bodies to members ===

struct RestMembers(Vec<Member>);

fn read_members(form: &RestForm, body: &[u8]) -> Result<Vec<Member>, ParseError> {
    let body = body.trim_ascii();
    match (form, body.first()) {
        // GitHub reads none of them.
        (RestForm::ClearLabels | RestForm::RemoveLabel(_) | RestForm::ClearField(_), _) | (_, None) => Ok(Vec::new()),
        (RestForm::AddLabels | RestForm::ReplaceLabels, Some(b'[' | b'"')) => {
            // By itself it is one value, so that nothing of it ends what stands around it.
            serde_json::from_slice::<IgnoredAny>(body)
                .map_err(|error| refuse(format!("the body is not one well-formed JSON value: {error}")))?;
            let wrapped = [&br#"{"labels":"#[..], body, b"}"].concat();
            read_compared(&wrapped, COMPARED, COMPARED)
        }
        _ => read_compared(body, COMPARED, COMPARED),
    }
}

impl RestMembers {
    /// Takes a member out.
    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|member| member.name == name)?;
        Some(serde_json::from_str(self.0.remove(at).value.get()).unwrap_or(Value::Null))
    }

    fn value(&self, name: &str) -> Option<Value> {
        let member = self.0.iter().find(|member| member.name == name)?;
        serde_json::from_str(member.value.get()).ok()
    }

    /// Takes out what names no assignee at all, as client libraries write a field that nobody set.
    fn named_none(&mut self) -> bool {
        let names_none = |value: Option<Value>| match value {
            None | Some(Value::Null) => true,
            Some(Value::String(name)) => name.is_empty(),
            Some(_) => false,
        };
        let none = names_none(self.value("assignee")) && names_none(self.value("assignees"));
        if none {
            self.0.retain(|member| !matches!(member.name.as_str(), "assignee" | "assignees"));
        }
        none
    }
}

/// Members that are compared with something. Texts are only handed on.
const COMPARED: &[&str] = &["assignee", "assignees", "labels", "state", "issue_field_values"];

// === Members to a change ===

/// `assignee` names one or nobody. GitHub itself refuses both at once.
fn assignees(
    members: &mut RestMembers,
    spelled: &mut Vec<(String, Value)>,
) -> Result<Option<BTreeSet<Account>>, ParseError> {
    let one = match members.take("assignee") {
        None => None,
        Some(Value::Null) => Some(BTreeSet::new()),
        Some(Value::String(name)) if name.is_empty() => Some(BTreeSet::new()),
        Some(Value::String(name)) => Some([login(&name)?].into()),
        Some(_) => return Err(wrong("assignee", "one login, or null")),
    };
    let many = listed_logins(members, spelled)?;
    if one.is_some() && many.is_some() {
        return Err(refuse(
            "`assignee` and `assignees`: only one may be provided; `assignee` is given up by GitHub".to_owned(),
        ));
    }
    Ok(many.or(one))
}

/// Of the calls that only take a list.
fn named(members: &mut RestMembers, spelled: &mut Vec<(String, Value)>) -> Result<BTreeSet<Account>, ParseError> {
    Ok(listed_logins(members, spelled)?.unwrap_or_default())
}

fn listed_logins(
    members: &mut RestMembers,
    spelled: &mut Vec<(String, Value)>,
) -> Result<Option<BTreeSet<Account>>, ParseError> {
    let Some(value) = members.value("assignees") else { return Ok(None) };
    let entries = match value {
        Value::Array(entries) => entries,
        // One name stands for a list of it.
        Value::String(name) => vec![Value::String(name)],
        _ => return Err(wrong("assignees", "a list of logins (`[]` for nobody)")),
    };
    if is_proposal("assignees", &entries)? {
        return Ok(None);
    }
    members.take("assignees");
    let mut all = BTreeSet::new();
    for entry in entries {
        let name = entry_name(&entry, "login").ok_or_else(|| wrong("assignees", "a list of logins"))?;
        let account = login(&name)?;
        spelled.push((name, entry));
        all.insert(account);
    }
    Ok(Some(all))
}

fn labels(
    members: &mut RestMembers,
    spelled: &mut Vec<(String, Value)>,
) -> Result<Option<BTreeSet<TagRef>>, ParseError> {
    let Some(value) = members.value("labels") else { return Ok(None) };
    let entries = match value {
        Value::Array(entries) => entries,
        Value::String(name) => vec![Value::String(name)],
        _ => return Err(wrong("labels", "a list of names (`[]` for none)")),
    };
    if is_proposal("labels", &entries)? {
        return Ok(None);
    }
    members.take("labels");
    let mut all = BTreeSet::new();
    for entry in entries {
        let name = entry_name(&entry, "name").ok_or_else(|| wrong("labels", "a list of names"))?;
        let label = label_name(&name)?;
        spelled.push((name, entry));
        all.insert(label);
    }
    Ok(Some(all))
}

/// A name, by itself or with what stands beside it.
fn entry_name(entry: &Value, member: &str) -> Option<String> {
    match entry {
        Value::String(name) => Some(name.clone()),
        Value::Object(entry) => entry.get(member)?.as_str().map(str::to_owned),
        _ => None,
    }
}

/// Whether all of them are proposed, and none is set.
fn is_proposal(member: &str, entries: &[Value]) -> Result<bool, ParseError> {
    let suggests = |entry: &&Value| entry.get("suggest").is_some_and(|suggest| *suggest != Value::Bool(false));
    match entries.iter().filter(suggests).count() {
        0 => Ok(false),
        some if some == entries.len() => Ok(true),
        _ => Err(refuse(format!("`{member}` sets some and proposes others: send the two in requests of their own"))),
    }
}

/// What is left of a list is a proposal.
fn proposes(members: &RestMembers) -> Option<&'static str> {
    let left = ["assignees", "labels"].iter().any(|name| members.value(name).is_some());
    left.then_some(PROPOSAL)
}

/// A proposal is judged like a move; what would be set beside it, nobody has read as such.
fn expect_nothing_set(change: &Change) -> Result<(), ParseError> {
    let is_empty = change.state.is_none()
        && change.assignees.as_ref().is_none_or(|set| set.members().is_empty())
        && change.labels.as_ref().is_none_or(|set| set.members().is_empty());
    if is_empty {
        return Ok(());
    }
    Err(refuse("it sets one field and proposes another: send the two in requests of their own".to_owned()))
}

/// An edit that does more than a read shows.
fn beside(members: &RestMembers, change: &Change) -> Result<Option<&'static str>, ParseError> {
    if let Some(proposal) = proposes(members) {
        return Ok(Some(proposal));
    }
    let fields = members.value("issue_field_values").is_some_and(|values| !values.is_null());
    // Whom these two are refused, those are refused with them.
    match (fields, change.assignees.is_some() || change.state.is_some(), change.labels.is_some()) {
        (false, ..) | (true, true, _) => Ok(None),
        (true, false, false) => Ok(Some(FIELDS)),
        (true, false, true) => Err(refuse(
            "`labels` and `issue_field_values` are two moves: send them in requests of their own".to_owned(),
        )),
    }
}

fn state(members: &mut RestMembers) -> Result<Option<OpenState>, ParseError> {
    match members.take("state").as_ref().map(Value::as_str) {
        None => Ok(None),
        Some(Some("open")) => Ok(Some(OpenState::Open)),
        Some(Some("closed")) => Ok(Some(OpenState::Closed)),
        Some(_) => Err(wrong("state", "open or closed")),
    }
}

fn login(name: &str) -> Result<Account, ParseError> {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) && is_short_name(name);
    if plain { Ok(Account::new(name)) } else { Err(wrong("assignees", "a list of logins, as GitHub writes them")) }
}

/// GitHub compares names without regard to case; a blank at an end is nobody's.
pub fn label_name(text: &str) -> Result<TagRef, ParseError> {
    let name = shorten(text);
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) || !is_short_name(text) {
        return Err(refuse(format!("the label name `{name}` is empty, too long, or begins or ends with a blank")));
    }
    Ok(TagRef::Name(text.to_owned()))
}

fn wrong(member: &str, expected: &str) -> ParseError {
    refuse(format!("`{member}` must be {expected}"))
}

fn refuse(text: String) -> ParseError {
    ParseError::Ambiguous(text)
}

const PROPOSAL: &str = "propose";
const FIELDS: &str = "set issue fields";

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::{HeaderMap, Method};

    #[track_caller]
    fn check(form: &RestForm, body: &str, expected: Result<&str, &str>) {
        let (target, mut headers) = (Target::parse("/repos/o/r/issues/7"), HeaderMap::new());
        // As curl sends it.
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let head = Head { method: &Method::POST, target: &target, headers: &headers };
        match (parse(form, &head, body.as_bytes()), expected) {
            (Ok(read), Ok(wanted)) => {
                let rest: Vec<&str> = read.rest.iter().map(|member| member.name.as_str()).collect();
                let mut told = format!("{} | {}", read.change, rest.join(" "));
                told.extend(read.beside.map(|beside| format!(" | {beside}")));
                assert_eq!(told, wanted, "{body}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{body}: {error}"),
            (read, _) => panic!("{body}: {read:?}"),
        }
    }

    #[test]
    fn an_edit_of_an_issue() {
        let check = |body, expected| check(&RestForm::EditIssue, body, expected);
        check(r#"{"assignees":["ann","Bob"],"title":"t"}"#, Ok("assignees=[ann, Bob] | title"));
        check(r#"{"assignees":[]}"#, Ok("assignees=[] | "));
        check(r#"{"assignee":null}"#, Ok("assignees=[] | "));
        check(r#"{"assignee":"","state":"closed"}"#, Ok("assignees=[] state=closed | "));
        check(r#"{"labels":["a",{"name":"b","color":"f00"}],"state":"open"}"#, Ok("labels=[a, b] state=open | "));
        check(r#"{"title":"t","body":"b","state_reason":"completed"}"#, Ok(" | title body state_reason"));
        check(r#"{"assignees":[{"login":"ann","rationale":"r"}]}"#, Ok("assignees=[ann] | "));
        check(r#"{"assignees":[{"login":"ann","suggest":true}]}"#, Ok(" | assignees | propose"));
        check(r#"{"issue_field_values":[{"field_id":1,"value":"x"}]}"#, Ok(" | issue_field_values | set issue fields"));
        check(r#"{"issue_field_values":[],"state":"closed"}"#, Ok("state=closed | issue_field_values"));
        check("", Ok(" | "));
        check(r#"{"labels":["a"],"issue_field_values":[{}]}"#, Err("two moves"));
        check(r#"{"assignees":[{"login":"ann","suggest":true},"bob"]}"#, Err("proposes others"));
        check(r#"{"assignees":[{"login":"ann","suggest":true}],"state":"closed"}"#, Err("proposes another"));
        check(r#"{"assignees":null}"#, Err("`assignees`"));
        check(r#"{"assignee":"ann","assignees":["bob"]}"#, Err("only one may be provided"));
        check(r#"{"assignees":["ann"],"assignees":["bob"]}"#, Err("twice"));
        check(r#"{"Assignees":["ann"]}"#, Err("spell it exactly"));
        check(r#"{"labels":[{"id":5}]}"#, Err("`labels`"));
        check(r#"{"state":"CLOSED"}"#, Err("`state`"));
        check("assignees[]=ann", Err("JSON"));
    }

    #[test]
    fn the_other_calls() {
        check(&RestForm::AddAssignees, r#"{"assignees":["ann"]}"#, Ok("assignees+=[ann] | "));
        check(&RestForm::AddAssignees, r#"{"assignees":"ann"}"#, Ok("assignees+=[ann] | "));
        check(&RestForm::AddAssignees, r#"{"assignees":[{"login":"a","suggest":true}]}"#, Ok(" | assignees | propose"));
        check(&RestForm::RemoveAssignees, r#"{"assignees":["ann"]}"#, Ok("assignees-=[ann] | "));
        for body in [r#"["a","b"]"#, r#"{"labels":["a","b"]}"#, r#"[{"name":"a"},"b"]"#] {
            check(&RestForm::AddLabels, body, Ok("labels+=[a, b] | "));
            check(&RestForm::ReplaceLabels, body, Ok("labels=[a, b] | "));
        }
        check(&RestForm::ReplaceLabels, r#""a""#, Ok("labels=[a] | "));
        check(&RestForm::ReplaceLabels, "", Ok("labels=[] | "));
        check(&RestForm::ClearLabels, r#"{"labels":["x"]}"#, Ok("labels=[] | "));
        check(&RestForm::RemoveLabel("area/ui".to_owned()), "", Ok("labels-=[area/ui] | "));
        check(&RestForm::RemoveLabel(" x".to_owned()), "", Err("blank"));
        check(&RestForm::EditPull, r#"{"state":"closed","assignees":["ann"],"base":"m"}"#, Ok("state=closed | base"));
        check(&RestForm::CreateIssue, r#"{"title":"t","assignee":null,"labels":["a"]}"#, Ok(" | title labels"));
        check(&RestForm::CreateIssue, r#"{"title":"t","assignees":["ann"]}"#, Ok("assignees=[ann] | title"));
        check(&RestForm::SetFields(Method::POST), "{}", Ok(" |  | set issue fields"));
        check(&RestForm::AddLabels, r#"["a"]{"labels":["b"]}"#, Err("JSON"));
    }
}
