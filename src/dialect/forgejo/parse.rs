//! What a guarded write wants (`reference/forgejo.md` sections 1.1 to 1.5).
//!
//! The tracker binds JSON, forms and even the query to one structure. Here every form becomes JSON members, the guarded
//! ones are taken out and typed, and the rest is kept for [`super::emit`]. What some version reads otherwise is refused.

use super::super::json::{Member, fold_name, read_object, shorten};
use super::super::target::fold_letters;
use super::super::{Head, Intent, ParseError, Parsed, Write, form};
use super::credential::is_parameter;
use super::routes::WriteForm;
use crate::model::{Change, LabelRef, Login, OpenState, SetChange};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use serde_json::Value;
use std::collections::BTreeSet;

/// Reads the body (or, where the tracker would, the query) of a guarded write.
pub fn parse(write: &Write, head: &Head<'_>, body: &[u8]) -> Result<Parsed, ParseError> {
    let mut members = Members(match write.form {
        // The tracker clears and removes whatever the body says: it is not sent on.
        WriteForm::ClearLabels | WriteForm::RemoveLabel => {
            expect_no_query(head)?;
            Vec::new()
        }
        form => read_members(form, head, body)?,
    });
    let change = change(write.form, head, &mut members)?;
    if is_idle(&change) {
        return Ok(Parsed::Unguarded);
    }
    Ok(Parsed::Guarded(Intent { scope: write.scope.clone(), change, form: write.form, rest: members.0 }))
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
        _ => Ok(LabelRef::Name(text.to_owned())),
    }
}

/// Whether nothing guarded would change, whatever the item shows.
fn is_idle(change: &Change) -> bool {
    let adds_none = |change: &SetChange<LabelRef>| matches!(change, SetChange::Add(set) if set.is_empty());
    change.assignees.is_none() && change.state.is_none() && change.labels.as_ref().is_none_or(adds_none)
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
        WriteForm::AddLabels | WriteForm::ReplaceLabels => &[("labels", Numbers), ("updated_at", Pointer)],
        WriteForm::ClearLabels | WriteForm::RemoveLabel => &[],
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
        WriteForm::AddAssignees => change.assignees = Some(SetChange::Add(named_assignees(members)?)),
        WriteForm::RemoveAssignees => change.assignees = Some(SetChange::Remove(named_assignees(members)?)),
        WriteForm::AddLabels => change.labels = Some(SetChange::Add(labels(form, members)?.unwrap_or_default())),
        // Without labels the tracker takes all of them away.
        WriteForm::ReplaceLabels => {
            change.labels = Some(SetChange::Replace(labels(form, members)?.unwrap_or_default()));
        }
        WriteForm::ClearLabels => change.labels = Some(SetChange::Replace(BTreeSet::new())),
        WriteForm::RemoveLabel => {
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
    list.iter().map(|name| login(name.as_str().ok_or_else(|| wrong("assignees", "a list of logins"))?)).collect()
}

fn login(name: &str) -> Result<Login, ParseError> {
    let folded = fold_letters(name);
    let plain = !folded.is_empty() && folded.bytes().all(|byte| byte.is_ascii_graphic());
    plain
        .then(|| Login::new(&folded))
        .ok_or_else(|| refuse(format!("`{}` is no login that the tracker gives (an empty list clears)", shorten(name))))
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
    let refs: Option<BTreeSet<LabelRef>> = list.iter().map(label).collect();
    let refs = refs.ok_or_else(|| wrong("labels", expected))?;
    let named = refs.iter().filter(|label| matches!(label, LabelRef::Name(_))).count();
    match named {
        0 => Ok(Some(refs)),
        // Versions differ on a mixture: 400, or one kind is ignored.
        named if named == refs.len() && form != WriteForm::EditPull => Ok(Some(refs)),
        _ => Err(wrong("labels", expected)),
    }
}

fn label(value: &Value) -> Option<LabelRef> {
    match value {
        Value::Number(id) => id.as_i64().and_then(|id| u64::try_from(id).ok()).map(LabelRef::Id),
        Value::String(name) if !name.is_empty() => Some(LabelRef::Name(name.clone())),
        _ => None,
    }
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

const SEND_JSON: &str = "send one JSON object with `Content-Type: application/json`";
