//! What a guarded write wants (manual: forgejo, sections 1.1 to 1.5).
//!
//! The tracker binds JSON, forms and even the query to one structure. Here every form becomes JSON members, the guarded
//! ones are taken out and typed, and the rest is kept for [`super::emit`]. What some version reads otherwise is refused.

use super::super::json::{Member, fold_name, read_object, shorten};
use super::super::target::fold_letters;
use super::super::{Head, Intent, ParseError, Parsed, Write, form};
use super::credential::is_parameter;
use super::routes::WriteForm;
use crate::model::{Change, LONGEST_NAME, LabelRef, Login, OpenState, SetChange, is_short_name};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use serde_json::Value;
use std::collections::BTreeSet;

/// Reads the body (or, where the tracker would, the query) of a guarded write.
pub fn parse(write: &Write, head: &Head<'_>, body: &[u8]) -> Result<Parsed, ParseError> {
    let intent = understand(write, head, body)?;
    Ok(if is_idle(&intent.change) { Parsed::Unguarded } else { Parsed::Guarded(intent) })
}

/// The same, whether or not anything guarded would change.
pub fn understand(write: &Write, head: &Head<'_>, body: &[u8]) -> Result<Intent, ParseError> {
    let mut members = Members(match write.form {
        // The tracker clears and removes whatever the body says: it is not sent on.
        WriteForm::ClearLabels | WriteForm::RemoveLabel => {
            expect_no_query(head)?;
            Vec::new()
        }
        form => read_members(form, head, body)?,
    });
    let change = change(write.form, head, &mut members)?;
    Ok(Intent { scope: write.scope.clone(), change, form: write.form, rest: members.0 })
}

/// Whether the member leaves everything as it is: the common client libraries write every field that they know.
pub fn asks_nothing(form: WriteForm, member: &Member) -> bool {
    match (member.name.as_str(), member.value.get()) {
        (_, "null") => true,
        // An empty title is no title, and an empty base no branch; the pull call cannot clear a milestone.
        ("title" | "base", r#""""#) | ("unset_due_date", "false") => is_edit(form),
        ("milestone", "0") => form == WriteForm::EditPull,
        _ => false,
    }
}

/// Whether the member edits the item beside its guarded fields. When and after which version that is to be is no edit.
pub fn edits(form: WriteForm, member: &Member) -> bool {
    is_edit(form) && !asks_nothing(form, member) && !matches!(member.name.as_str(), "updated_at" | "content_version")
}

fn is_edit(form: WriteForm) -> bool {
    matches!(form, WriteForm::EditIssue | WriteForm::EditPull)
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// No Content-Type at all.
    Unnamed,
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// The body's encoding, where it is one that every version of the tracker reads alike.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, ParseError> {
    let coded =
        headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(unsupported("a compressed body is not read on this call: send it without Content-Encoding"));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(first) = types.next() else { return Ok(Encoding::Unnamed) };
    let text = first.to_str().ok().filter(|_| types.next().is_none()).map(str::to_ascii_lowercase);
    let text = text.ok_or_else(|| unsupported(SEND_JSON))?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let plain = parts.next().is_none_or(|part| matches!(part, "charset=utf-8" | "charset=\"utf-8\""));
    match essence {
        "application/json" if plain && parts.next().is_none() => Ok(Encoding::Json),
        "application/x-www-form-urlencoded" if plain && parts.next().is_none() => Ok(Encoding::Form),
        _ => Err(unsupported(SEND_JSON)),
    }
}

/// A label as a path names it. Numbers are ids (Forgejo from 13 would try the name first: the read-back shows it).
pub fn label_in_path(text: &str) -> Result<LabelRef, ParseError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match (super::routes::plain_number(text), numeric) {
        (Some(id), true) => Ok(LabelRef::Id(id)),
        (_, true) => Err(refuse("the label's number is not written plainly, as in /labels/3")),
        _ => label_name(text),
    }
}

/// Some databases take a name with a blank at its end, or with a character that is not seen, for the name without it.
fn label_name(text: &str) -> Result<LabelRef, ParseError> {
    let unseen = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
    };
    let name = shorten(text);
    if !is_short_name(text) {
        return Err(too_long("the label name", &name));
    }
    if text.is_empty() || text.trim() != text || text.contains(unseen) {
        return Err(refuse(format!(
            "the label name `{name}` begins or ends with a blank, or has a character that is not seen"
        )));
    }
    Ok(LabelRef::Name(text.to_owned()))
}

/// Whether nothing guarded would change, whatever the item shows.
fn is_idle(change: &Change) -> bool {
    let adds_none = |change: &SetChange<LabelRef>| matches!(change, SetChange::Add(set) if set.is_empty());
    change.assignees.is_none()
        && change.state.is_none()
        && change.reviewers.is_none()
        && change.labels.as_ref().is_none_or(adds_none)
}

// === Bodies to members ===

fn read_members(form: WriteForm, head: &Head<'_>, body: &[u8]) -> Result<Vec<Member>, ParseError> {
    match (encoding(head.headers)?, body.is_empty()) {
        (Encoding::Json, _) => {
            expect_no_query(head)?;
            read_object(body, &watched(form))
        }
        (Encoding::Form, false) => {
            expect_no_query(head)?;
            form_members(form, form::read_pairs(body)?)
        }
        (Encoding::Form, true) => form_members(form, form::read_query(head.target.query())?),
        // Without a type the tracker reads PATCH and DELETE from the query, and never the body.
        (Encoding::Unnamed, true) if [Method::PATCH, Method::DELETE].contains(head.method) => {
            form_members(form, form::read_query(head.target.query())?)
        }
        (Encoding::Unnamed, _) => Err(unsupported(SEND_JSON)),
    }
}

/// Nothing but what says who sends.
fn expect_no_query(head: &Head<'_>) -> Result<(), ParseError> {
    match form::read_query(head.target.query())?.iter().find(|(name, _)| !is_parameter(name)) {
        Some((name, _)) => {
            Err(refuse(format!("the query parameter `{}` has no place here: leave it out", shorten(name))))
        }
        None => Ok(()),
    }
}

/// Names that must be spelled exactly: the fields of this call, every guarded field, and what says who sends.
fn watched(form: WriteForm) -> Vec<&'static str> {
    let mut names: Vec<&str> = fields(form).iter().map(|(name, _)| *name).collect();
    names.extend(["assignee", "assignees", "labels", "state", "closed", "token", "access_token", "sudo"]);
    names
}

fn form_members(form: WriteForm, pairs: Vec<(String, String)>) -> Result<Vec<Member>, ParseError> {
    let mut members: Vec<(&'static str, Value)> = Vec::new();
    for (name, value) in pairs.into_iter().filter(|(name, _)| !is_parameter(name)) {
        let (known, kind) = field(form, &name)?;
        let value = kind.value(known, value)?;
        match members.iter_mut().find(|(seen, _)| *seen == known) {
            None if kind.is_list() => members.push((known, Value::Array(vec![value]))),
            None => members.push((known, value)),
            Some((_, Value::Array(list))) => list.push(value),
            Some(_) => return Err(refuse(format!("`{known}` is given twice"))),
        }
    }
    Ok(members.iter().map(|(name, value)| Member::new(name, value)).collect())
}

fn field(form: WriteForm, name: &str) -> Result<(&'static str, Kind), ParseError> {
    let fields = fields(form);
    fields.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| {
        let folded = fold_name(name.strip_suffix("[]").unwrap_or(name));
        let hint = match fields.iter().find(|(known, _)| fold_name(known) == folded) {
            Some((known, _)) => format!(", perhaps `{known}` was meant"),
            None => String::new(),
        };
        refuse(format!("the form field `{}` is not known here{hint}; {SEND_JSON}", shorten(name)))
    })
}

/// How the tracker binds a form field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Number,
    Numbers,
    Flag,
    /// A pointer in the tracker's structure: not bound from a form by every version.
    Pointer,
}

impl Kind {
    fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::Numbers)
    }

    fn value(self, name: &str, text: String) -> Result<Value, ParseError> {
        match self {
            Self::Text | Self::Texts => Ok(Value::from(text)),
            Self::Number | Self::Numbers => match text.parse::<i64>() {
                Ok(number) if number.to_string() == text => Ok(Value::from(number)),
                _ => Err(wrong(name, "a plain whole number")),
            },
            Self::Flag => match text.as_str() {
                "true" | "1" | "on" => Ok(Value::from(true)),
                "false" | "0" => Ok(Value::from(false)),
                _ => Err(wrong(name, "true or false")),
            },
            Self::Pointer => {
                Err(refuse(format!("not every version of the tracker reads `{name}` from a form; {SEND_JSON}")))
            }
        }
    }
}

/// The fields of each call, with what the tracker's form binder makes of them.
fn fields(form: WriteForm) -> &'static [(&'static str, Kind)] {
    use Kind::{Flag, Number, Numbers, Pointer, Text, Texts};
    match form {
        WriteForm::EditIssue => &[
            ("title", Text),
            ("body", Pointer),
            ("ref", Pointer),
            ("assignee", Pointer),
            ("assignees", Texts),
            ("milestone", Pointer),
            ("state", Pointer),
            ("due_date", Pointer),
            ("unset_due_date", Pointer),
            ("updated_at", Pointer),
            ("content_version", Pointer),
        ],
        WriteForm::EditPull => &[
            ("title", Text),
            ("body", Pointer),
            ("base", Text),
            ("assignee", Text),
            ("assignees", Texts),
            ("milestone", Number),
            ("labels", Numbers),
            ("state", Pointer),
            ("due_date", Pointer),
            ("unset_due_date", Pointer),
            ("allow_maintainer_edit", Pointer),
            ("content_version", Pointer),
        ],
        WriteForm::CreateIssue => &[
            ("title", Text),
            ("body", Text),
            ("ref", Text),
            ("assignee", Text),
            ("assignees", Texts),
            ("milestone", Number),
            ("labels", Numbers),
            ("closed", Flag),
            ("due_date", Pointer),
        ],
        WriteForm::CreatePull => &[
            ("head", Text),
            ("base", Text),
            ("title", Text),
            ("body", Text),
            ("assignee", Text),
            ("assignees", Texts),
            ("milestone", Number),
            ("labels", Numbers),
            ("due_date", Pointer),
            ("reviewers", Texts),
            ("team_reviewers", Texts),
        ],
        WriteForm::AddAssignees | WriteForm::RemoveAssignees => &[("assignees", Texts)],
        WriteForm::AddReviewers | WriteForm::RemoveReviewers => &[("reviewers", Texts), ("team_reviewers", Texts)],
        WriteForm::AddLabels | WriteForm::ReplaceLabels => &[("labels", Numbers), ("updated_at", Pointer)],
        WriteForm::ClearLabels | WriteForm::RemoveLabel | WriteForm::DropLabel | WriteForm::LeaveOtherLabels => &[],
        WriteForm::CreateReview | WriteForm::SubmitReview(_) => {
            &[("event", Text), ("body", Text), ("commit_id", Text), ("comments", Pointer)]
        }
    }
}

// === Members to a change ===

struct Members(Vec<Member>);

impl Members {
    /// Takes a member out; `null` is as good as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|member| member.name == name)?;
        let value = serde_json::from_str(self.0.remove(at).value.get()).unwrap_or(Value::Null);
        (!value.is_null()).then_some(value)
    }
}

fn change(form: WriteForm, head: &Head<'_>, members: &mut Members) -> Result<Change, ParseError> {
    let mut change = Change::default();
    match form {
        WriteForm::EditIssue => {
            change.assignees = assignees(form, members)?.map(SetChange::Replace);
            change.state = state(members)?;
            // The tracker ignores labels on this call.
            members.take("labels");
        }
        WriteForm::EditPull => {
            change.assignees = assignees(form, members)?.map(SetChange::Replace);
            change.labels = labels(form, members)?.map(SetChange::Replace);
            change.state = state(members)?;
        }
        WriteForm::CreateIssue | WriteForm::CreatePull => {
            change.assignees = assignees(form, members)?.filter(|set| !set.is_empty()).map(SetChange::Replace);
        }
        WriteForm::CreateReview | WriteForm::SubmitReview(_) => {}
        WriteForm::AddAssignees => change.assignees = Some(SetChange::Add(named_assignees(members)?)),
        WriteForm::RemoveAssignees => change.assignees = Some(SetChange::Remove(named_assignees(members)?)),
        WriteForm::AddLabels => change.labels = Some(SetChange::Add(labels(form, members)?.unwrap_or_default())),
        // Without labels the tracker takes all of them away.
        WriteForm::ReplaceLabels => {
            change.labels = Some(SetChange::Replace(labels(form, members)?.unwrap_or_default()));
        }
        WriteForm::AddReviewers => change.reviewers = Some(SetChange::Add(reviewers(members)?)),
        WriteForm::RemoveReviewers => change.reviewers = Some(SetChange::Remove(reviewers(members)?)),
        WriteForm::ClearLabels => change.labels = Some(SetChange::Replace(BTreeSet::new())),
        WriteForm::RemoveLabel | WriteForm::DropLabel | WriteForm::LeaveOtherLabels => {
            let name = head.target.segments().last().map_or("", String::as_str);
            change.labels = Some(SetChange::Remove([label_in_path(name)?].into()));
        }
    }
    Ok(change)
}

/// `assignee` and `assignees` together mean their union. `assignee: ""` clears on the issue call; on the others it is
/// ignored (the common Go client always sends it there). `null` leaves all as it is.
fn assignees(form: WriteForm, members: &mut Members) -> Result<Option<BTreeSet<Login>>, ParseError> {
    let one = members.take("assignee");
    let many = members.take("assignees").map(|value| logins(&value)).transpose()?;
    match one {
        None => Ok(many),
        Some(Value::String(name)) if name.is_empty() && form != WriteForm::EditIssue => Ok(many),
        Some(Value::String(name)) if name.is_empty() => Ok(Some(many.unwrap_or_default())),
        Some(Value::String(name)) => {
            let mut all = many.unwrap_or_default();
            all.insert(login(&name)?);
            Ok(Some(all))
        }
        Some(_) => Err(wrong("assignee", "one login, as text")),
    }
}

/// Gitea 1.27's assignee calls: what it makes of none at all has not been seen.
fn named_assignees(members: &mut Members) -> Result<BTreeSet<Login>, ParseError> {
    let named = members.take("assignees").map(|value| logins(&value)).transpose()?;
    named.filter(|set| !set.is_empty()).ok_or_else(|| wrong("assignees", "a list of at least one login"))
}

fn logins(value: &Value) -> Result<BTreeSet<Login>, ParseError> {
    let list = value.as_array().ok_or_else(|| wrong("assignees", "a list of logins"))?;
    expect_few("assignees", list.len(), MOST_LOGINS)?;
    list.iter().map(|name| login(name.as_str().ok_or_else(|| wrong("assignees", "a list of logins"))?)).collect()
}

fn login(name: &str) -> Result<Login, ParseError> {
    if !is_short_name(name) {
        return Err(too_long("the login", &shorten(name)));
    }
    let folded = fold_letters(name);
    // What Forgejo and Gitea allow in a name; anything else could be a secret in the wrong place, and would be recorded.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let plain = !folded.is_empty() && folded.bytes().all(allowed);
    plain
        .then(|| Login::new(&folded))
        .ok_or_else(|| refuse(format!("`{}` is no login that the tracker gives (an empty list clears)", shorten(name))))
}

/// People and teams by their names, for the record; they are sent on as they came.
fn reviewers(members: &Members) -> Result<BTreeSet<Login>, ParseError> {
    let mut all = BTreeSet::new();
    for (field, before) in [("reviewers", ""), ("team_reviewers", "team ")] {
        let value = members.0.iter().find(|member| member.name == field).map(|member| member.value.get());
        let names: Option<Vec<String>> =
            serde_json::from_str(value.unwrap_or("null")).map_err(|_| wrong(field, "a list of names"))?;
        let names = names.unwrap_or_default();
        expect_few(field, names.len(), MOST_LOGINS)?;
        all.extend(names.iter().map(|name| Login::new(&format!("{before}{}", shorten(name)))));
    }
    Ok(all)
}

/// The tracker takes anything but `closed` to mean open.
fn state(members: &mut Members) -> Result<Option<OpenState>, ParseError> {
    match members.take("state") {
        None => Ok(None),
        Some(Value::String(text)) if text == "open" => Ok(Some(OpenState::Open)),
        Some(Value::String(text)) if text == "closed" => Ok(Some(OpenState::Closed)),
        Some(_) => Err(wrong("state", "exactly \"open\" or \"closed\"")),
    }
}

fn labels(form: WriteForm, members: &mut Members) -> Result<Option<BTreeSet<LabelRef>>, ParseError> {
    let Some(value) = members.take("labels") else { return Ok(None) };
    let expected = if form == WriteForm::EditPull { "a list of label ids" } else { "a list of label ids, or of names" };
    let list = value.as_array().ok_or_else(|| wrong("labels", expected))?;
    expect_few("labels", list.len(), MOST_LABELS)?;
    let label = |value: &Value| match value {
        Value::Number(id) => id.as_u64().map(LabelRef::Id).ok_or_else(|| wrong("labels", expected)),
        Value::String(name) if !name.is_empty() => label_name(name),
        _ => Err(wrong("labels", expected)),
    };
    let refs: BTreeSet<LabelRef> = list.iter().map(label).collect::<Result<_, _>>()?;
    let named = refs.iter().filter(|label| matches!(label, LabelRef::Name(_))).count();
    match named {
        0 => Ok(Some(refs)),
        // Versions differ on a mixture: 400, or one kind is ignored.
        named if named == refs.len() && form != WriteForm::EditPull => Ok(Some(refs)),
        _ => Err(wrong("labels", expected)),
    }
}

fn expect_few(field: &str, named: usize, most: usize) -> Result<(), ParseError> {
    if named <= most {
        Ok(())
    } else {
        Err(refuse(format!("`{field}` names {named}, and {most} are the most: name fewer")))
    }
}

fn too_long(what: &str, start: &str) -> ParseError {
    refuse(format!("{what} `{start}` is longer than {LONGEST_NAME} characters, and no tracker gives such a name"))
}

fn wrong(name: &str, expected: &str) -> ParseError {
    refuse(format!("`{name}` must be {expected}"))
}

fn refuse(text: impl Into<String>) -> ParseError {
    ParseError::Ambiguous(text.into())
}

fn unsupported(text: &str) -> ParseError {
    ParseError::UnsupportedEncoding(text.to_owned())
}

/// More than an item would sensibly carry. Each is compared with every label that there is.
const MOST_LABELS: usize = 100;
/// People whom one write names. Each is recorded.
const MOST_LOGINS: usize = 100;
const SEND_JSON: &str = "send one JSON object with `Content-Type: application/json`";

#[cfg(test)]
mod tests {
    use super::super::super::{Route, Target};
    use super::super::{emit, routes};
    use super::*;
    use proptest::prelude::*;

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    fn read(request: &str, types: &[&str], body: &str) -> Result<Parsed, ParseError> {
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.replacen("R/", "/api/v1/repos/o/r/", 1);
        let mut headers = HeaderMap::new();
        for kind in types {
            headers.append(CONTENT_TYPE, kind.parse().unwrap());
        }
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(&path), headers: &headers };
        let Route::Write(write) = routes::classify(&head) else { panic!("{request} is not a write") };
        parse(&write, &head, body.as_bytes())
    }

    /// `expected` is the canonical request of a guarded write, `unguarded`, or the status and part of the refusal.
    fn check(request: &str, types: &[&str], body: &str, expected: &str) {
        let shown = match read(request, types, body) {
            Ok(Parsed::Unguarded) => "unguarded".to_owned(),
            Ok(Parsed::Guarded(intent)) => {
                let path = emit::path(&intent);
                let path = path.strip_prefix("/api/v1/repos/o/").unwrap();
                let body = emit::body(&intent).unwrap_or_default();
                format!("{} {path} {body}", emit::method(intent.form)).trim_end().to_owned()
            }
            Err(error) => format!("{}: {error}", error.code().status()),
        };
        match expected.split_once(": ") {
            Some((status, part)) if status.len() == 3 => {
                assert!(shown.starts_with(status) && shown.contains(part), "{request} {types:?} {body}: {shown}");
            }
            _ => assert_eq!(shown, expected, "{request} {types:?} {body}"),
        }
    }

    fn edit(body: &str, expected: &str) {
        check("PATCH R/issues/7", &[JSON], body, expected);
    }

    #[test]
    fn edits_of_an_issue() {
        edit(r#"{"assignees":["bob"]}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
        edit(r#"{"assignees":[]}"#, r#"PATCH r/issues/7 {"assignees":[]}"#);
        edit(r#"{"assignees":null}"#, "unguarded");
        edit(r#"{"assignee":null,"assignees":null,"state":null}"#, "unguarded");
        edit(r#"{"title":"x","body":"y"}"#, "unguarded");
        edit("{}", "unguarded");
        edit(r#"{"assignee":""}"#, r#"PATCH r/issues/7 {"assignees":[]}"#);
        edit(r#"{"assignee":"","assignees":["bob"]}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
        edit(r#"{"assignee":"bob"}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
        edit(r#"{"assignee":"bob","assignees":["ann"]}"#, r#"PATCH r/issues/7 {"assignees":["ann","bob"]}"#);
        edit(r#"{"assignee":"BOB","assignees":["bob"]}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
        edit(r#"{"assignees":["DEV-BOT","dev-bot"]}"#, r#"PATCH r/issues/7 {"assignees":["dev-bot"]}"#);
        edit("{\"assignees\":[\"\u{212A}ate\"]}", r#"PATCH r/issues/7 {"assignees":["kate"]}"#);
        edit(r#"{"state":"closed"}"#, r#"PATCH r/issues/7 {"state":"closed"}"#);
        edit(r#"{"state":"open","title":"t"}"#, r#"PATCH r/issues/7 {"title":"t","state":"open"}"#);
        edit(
            r#"{ "new_field" : {"a": [1.50]}, "assignees":["\u0062ob"], "labels":[1], "milestone":2 }"#,
            r#"PATCH r/issues/7 {"new_field":{"a": [1.50]},"milestone":2,"assignees":["bob"]}"#,
        );
        edit(r#"{"labels":[1]}"#, "unguarded");
        edit(r#"{"assignees":[""]}"#, "400: no login");
        edit(r#"{"assignees":["a b"]}"#, "400: no login");
        edit("{\"assignees\":[\"b\u{f6}b\"]}", "400: no login");
        edit(r#"{"assignees":"bob"}"#, "400: `assignees` must be a list of logins");
        edit(r#"{"assignees":[null]}"#, "400: `assignees` must be a list of logins");
        edit(r#"{"assignees":{}}"#, "400: `assignees` must be");
        edit(r#"{"assignee":["bob"]}"#, "400: `assignee` must be one login");
        for state in [r#""CLOSED""#, r#""Closed""#, r#""whatever""#, r#""""#, "1", "true", r#"["open"]"#] {
            edit(&format!("{{\"state\":{state}}}"), "400: `state` must be exactly");
        }
        edit(r#"{"assignees":["a"],"ASSIGNEES":["b"]}"#, "400: spell it exactly");
        edit(r#"{"assignees":["a"],"assignees":["a"]}"#, "400: occurs twice");
        edit("{\"\u{17F}tate\":\"closed\"}", "400: spell it exactly");
        edit(r#"{"Token":"x"}"#, "400: may be read as `token`");
        edit(r#"["t","bob",["bob"],"closed",1]"#, "400: beginning with");
        edit("null", "400: beginning with");
        edit("", "400: empty");
        edit("{}{\"assignees\":[\"bob\"]}", "400: trailing");
    }

    #[test]
    fn edits_of_a_pull_and_creations() {
        let pull = |body: &str, expected: &str| check("PATCH R/pulls/7", &[JSON], body, expected);
        // As the common Go client sends it.
        pull(r#"{"title":"x","assignee":"","assignees":null,"milestone":0,"labels":null,"state":null}"#, "unguarded");
        pull(
            r#"{"title":"x","assignee":"","assignees":null,"labels":null,"state":"closed"}"#,
            r#"PATCH r/pulls/7 {"title":"x","state":"closed"}"#,
        );
        pull(r#"{"assignees":["bob"]}"#, r#"PATCH r/pulls/7 {"assignees":["bob"]}"#);
        pull(r#"{"labels":[2,1,2]}"#, r#"PATCH r/pulls/7 {"labels":[1,2]}"#);
        pull(r#"{"labels":[]}"#, r#"PATCH r/pulls/7 {"labels":[]}"#);
        pull(r#"{"labels":["x"]}"#, "400: `labels` must be a list of label ids");
        let create = |body: &str, expected: &str| check("POST R/issues", &[JSON], body, expected);
        create(r#"{"title":"x"}"#, "unguarded");
        create(r#"{"title":"x","labels":[1],"closed":true}"#, "unguarded");
        create(r#"{"title":"x","assignee":"","assignees":null}"#, "unguarded");
        create(r#"{"title":"x","assignees":[]}"#, "unguarded");
        create(
            r#"{"title":"x","labels":[1],"assignee":"bob","assignees":["ann"]}"#,
            r#"POST r/issues {"title":"x","labels":[1],"assignees":["ann","bob"]}"#,
        );
        create(r#"{"title":"x","assignees":[""]}"#, "400: no login");
        create(r#"{"title":"x","Assignee":"bob"}"#, "400: spell it exactly");
        check(
            "POST R/pulls",
            &[JSON],
            r#"{"head":"a","base":"b","assignees":["bob"]}"#,
            r#"POST r/pulls {"head":"a","base":"b","assignees":["bob"]}"#,
        );
    }

    #[test]
    fn labels_and_assignee_calls() {
        let add = |body: &str, expected: &str| check("POST R/issues/7/labels", &[JSON], body, expected);
        add(r#"{"labels":[3,1]}"#, r#"POST r/issues/7/labels {"labels":[1,3]}"#);
        add(r#"{"labels":["in-progress"]}"#, r#"POST r/issues/7/labels {"labels":["in-progress"]}"#);
        add(r#"{"labels":[]}"#, "unguarded");
        add("{}", "unguarded");
        let many = |most: usize| (1..=most).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let most = format!("{{\"labels\":[{}]}}", many(100));
        add(&most, &format!("POST r/issues/7/labels {most}"));
        for list in [many(101), vec!["\"x\""; 5_000].join(",")] {
            add(&format!("{{\"labels\":[{list}]}}"), "400: 100 are the most");
        }
        for odd in ["[1,\"a\"]", "[2.7]", "[1e2]", "[-1]", "[\"\"]", "[null]", "[[1]]", "[99999999999999999999]", "1"] {
            add(&format!("{{\"labels\":{odd}}}"), "400: `labels` must be");
        }
        let put = |body: &str, expected: &str| check("PUT R/issues/7/labels", &[JSON], body, expected);
        put(r#"{"labels":[1]}"#, r#"PUT r/issues/7/labels {"labels":[1]}"#);
        put("{}", r#"PUT r/issues/7/labels {"labels":[]}"#);
        put(r#"{"labels":null}"#, r#"PUT r/issues/7/labels {"labels":[]}"#);
        put("", "400: empty");
        check("DELETE R/issues/7/labels", &[JSON], r#"{"labels":[1]}"#, "DELETE r/issues/7/labels");
        check("DELETE R/issues/7/labels", &["x/y"], "junk", "DELETE r/issues/7/labels");
        check("DELETE R/issues/7/labels?updated_at=x", &[], "", "400: `updated_at` has no place here");
        let remove = |name: &str, expected: &str| check(&format!("DELETE R/issues/7/labels/{name}"), &[], "", expected);
        remove("3", "DELETE r/issues/7/labels/3");
        remove("3/", "DELETE r/issues/7/labels/3");
        remove("in%20progress", "DELETE r/issues/7/labels/in%20progress");
        remove("a+b", "DELETE r/issues/7/labels/a%2Bb");
        for odd in ["03", "+3", "-3", "%2B3", "99999999999999999999"] {
            remove(odd, "400: not written plainly");
        }
        let assign = |request: &str, body: &str, expected: &str| check(request, &[JSON], body, expected);
        assign(
            "POST R/issues/7/assignees",
            r#"{"assignees":["bob"]}"#,
            r#"POST r/issues/7/assignees {"assignees":["bob"]}"#,
        );
        assign(
            "DELETE R/issues/7/assignees",
            r#"{"assignees":["bob"]}"#,
            r#"DELETE r/issues/7/assignees {"assignees":["bob"]}"#,
        );
        assign("DELETE R/issues/7/assignees", r#"{"assignees":[]}"#, "400: at least one login");
        assign("POST R/issues/7/assignees", "{}", "400: at least one login");
    }

    #[test]
    fn encodings() {
        let claim = r#"{"assignees":["bob"]}"#;
        let sent = r#"PATCH r/issues/7 {"assignees":["bob"]}"#;
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            check("PATCH R/issues/7", &[good], claim, sent);
        }
        for bad in [
            "text/x-json",
            "foo/json",
            "application/json; x=form-urlencoded",
            "application/json; charset=utf-16",
            "application/json; charset=utf-8; x=form-urlencoded",
            "application/json, application/json",
            "application/merge-patch+json",
            "multipart/form-data; boundary=x",
            "text/plain",
            "",
        ] {
            check("PATCH R/issues/7", &[bad], claim, "415: application/json");
        }
        check("PATCH R/issues/7", &[JSON, JSON], claim, "415: application/json");
        check("PATCH R/issues/7", &[], claim, "415: application/json");
        check("PUT R/issues/7/labels", &[], "", "415: application/json");
        check("POST R/issues", &[], "", "415: application/json");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON.parse().unwrap());
        for (coding, good) in [("identity", true), ("IDENTITY", true), ("gzip", false), ("identity, gzip", false)] {
            headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
            assert_eq!(encoding(&headers).is_ok(), good, "{coding}");
        }
    }

    #[test]
    fn forms_and_queries() {
        let form = |body: &str, expected: &str| check("PATCH R/issues/7", &[FORM], body, expected);
        form("assignees=bob&assignees=ann", r#"PATCH r/issues/7 {"assignees":["ann","bob"]}"#);
        form("%61ssignees=bob&title=a+b&token=x", r#"PATCH r/issues/7 {"title":"a b","assignees":["bob"]}"#);
        form("title=x", "unguarded");
        form("assignees=", "400: no login");
        form("assignee=bob", "400: `assignee` from a form");
        form("state=closed", "400: `state` from a form");
        form("ASSIGNEES=bob", "400: perhaps `assignees` was meant");
        form("assignees[]=bob", "400: perhaps `assignees` was meant");
        form(r#"{"assignees":["bob"]}"#, "400: is not known here");
        form("title=x&title=y", "400: `title` is given twice");
        form("assignees=a;b", "400: two ways");
        check("PATCH R/issues/7", &["application/x-www-form-urlencoded; charset=UTF-8"], "title=x", "unguarded");
        check("PATCH R/issues/7?assignees=x", &[FORM], "assignees=bob", "400: `assignees` has no place here");
        check("PATCH R/issues/7?assignees=x", &[JSON], "{}", "400: `assignees` has no place here");
        check("PATCH R/issues/7?x=y", &[JSON], "{}", "400: `x` has no place here");
        let claim = r#"{"assignees":["bob"]}"#;
        check(
            "PATCH R/issues/7?token=t&access_token=t&sudo=eve",
            &[JSON],
            claim,
            r#"PATCH r/issues/7 {"assignees":["bob"]}"#,
        );
        // What the tracker would read from the query alone.
        check("PATCH R/issues/7?assignees=bob&token=t", &[], "", r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
        check("PATCH R/issues/7?assignees=bob", &[FORM], "", r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
        check("PATCH R/issues/7?title=x", &[], "", "unguarded");
        check("PATCH R/issues/7", &[], "", "unguarded");
        check("PATCH R/issues/7?assignees=bob", &[], claim, "415: application/json");
        check("PATCH R/issues/7?state=closed", &[], "", "400: from a form");
        check(
            "DELETE R/issues/7/assignees?assignees=bob",
            &[],
            "",
            r#"DELETE r/issues/7/assignees {"assignees":["bob"]}"#,
        );
        let create = |body: &str, expected: &str| check("POST R/issues", &[FORM], body, expected);
        create("title=x&closed=on", "unguarded");
        create(
            "title=x&closed=on&labels=1&labels=2&milestone=3&assignee=bob",
            r#"POST r/issues {"title":"x","closed":true,"labels":[1,2],"milestone":3,"assignees":["bob"]}"#,
        );
        create("title=x&labels=01", "400: `labels` must be");
        create("title=x&closed=perhaps", "400: `closed` must be");
        check("PUT R/issues/7/labels", &[FORM], "labels=1", r#"PUT r/issues/7/labels {"labels":[1]}"#);
        check("PUT R/issues/7/labels", &[FORM], "labels=name", "400: `labels` must be");
    }

    /// What the most lenient reader would see: names folded, the last one counts.
    fn lenient(body: &str) -> Value {
        let Ok(Value::Object(object)) = serde_json::from_str(body) else { return Value::Null };
        object.into_iter().map(|(name, value)| (fold_name(&name), value)).collect::<serde_json::Map<_, _>>().into()
    }

    /// Mostly what may be accepted, now and then what may not.
    fn member() -> impl Strategy<Value = String> {
        let name = "(?i)assignees|assignee|(s|ſ)tate|title|asſignees|assign_ees|\\\\u0061ssignees|x";
        let value = r#"null|\[\]|\["(bob|Bob|ann)"\]|\["a","b"\]|"(bob|open|closed|CLOSED|)"|1|\{"state":"open"\}"#;
        prop_oneof![
            4 => r#""(\\u0061)?assignees":(null|\[\]|\["(bob|Bob)","(ann|bob)"\])"#.prop_map(|m| m.replace("0061a", "0061")),
            4 => r#""assignee":(null|"(bob|Ann|)")"#,
            4 => r#""state":(null|"(open|closed)")"#,
            4 => r#""(title|labels|x)":(1|\{"state":"open"\})"#,
            1 => (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_lenient_reader_sees_the_same(members in proptest::collection::vec(member(), 0..4)) {
            let body = format!("{{{}}}", members.join(","));
            let Ok(parsed) = read("PATCH R/issues/7", &[JSON], &body) else { return Ok(()) };
            let seen = lenient(&body);
            let change = match &parsed {
                Parsed::Unguarded => Change::default(),
                Parsed::Guarded(intent) => intent.change.clone(),
            };
            let state = seen["state"].as_str();
            prop_assert_eq!(change.state.map(OpenState::as_str), state, "{}", body);
            let mut names: Vec<Login> = seen["assignees"].as_array().into_iter().flatten()
                .chain(seen.get("assignee").filter(|one| one.as_str() != Some("")))
                .filter_map(Value::as_str).map(Login::new).collect();
            names.sort();
            names.dedup();
            let touched = !seen["assignees"].is_null() || !seen["assignee"].is_null();
            let wanted = touched.then(|| SetChange::Replace(names.into_iter().collect()));
            prop_assert_eq!(change.assignees, wanted, "{}", body);
        }
    }
}
