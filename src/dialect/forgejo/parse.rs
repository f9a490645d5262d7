//! What a guarded write wants (manual: forgejo, sections 1.1 to 1.5).
//!
//! The tracker binds JSON, forms and even the query to one structure. Here every form becomes JSON members, the guarded
//! ones are taken out and typed, and the rest is kept for [`super::emit`]. What some version reads otherwise is refused.

use super::super::json::{Member, fold_name, read_compared, shorten};
use super::super::target::fold_letters;
use super::super::{Head, ParseError, form};
use super::api_write::ApiWrite;
use super::credential::is_parameter;
use super::encoding::{Encoding, SEND_JSON, encoding, mentions_guarded, multipart_fields, names_nothing_guarded};
use super::path_names::plain_number;
use super::write::{Write, WriteForm};
use crate::model::{Account, Change, LONGEST_NAME, OpenState, SetChange, TagRef, is_short_name};
use http::Method;
use serde_json::Value;
use std::collections::BTreeSet;

/// Reads the body (or, where the tracker would, the query) of a guarded write; `None` where it touches no guarded field.
pub fn parse(write: &Write, head: &Head<'_>, body: &[u8]) -> Result<Option<ApiWrite>, ParseError> {
    match understand(write, head, body) {
        Ok(intent) if is_idle(&intent.change) => Ok(None),
        Ok(intent) => Ok(Some(intent)),
        // What the gate does not read may name nothing guarded for anybody who does.
        Err(_) if names_nothing_guarded(write.form, head, body) => Ok(None),
        Err(_) if edits_nothing_compared(write.form, head, body) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same, whether or not anything guarded would change.
pub fn understand(write: &Write, head: &Head<'_>, body: &[u8]) -> Result<ApiWrite, ParseError> {
    let mut members = RequestMembers(match write.form {
        // The tracker clears and removes whatever the body says: it is not sent on.
        WriteForm::ClearLabels | WriteForm::RemoveLabel => {
            expect_no_query(head)?;
            Vec::new()
        }
        form => read_members(form, head, body)?,
    });
    let change = change(write.form, head, &mut members)?;
    Ok(ApiWrite { scope: write.scope.clone(), change, form: write.form, rest: members.0 })
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

/// A label as a path names it. Numbers are ids (Forgejo from 13 would try the name first: the read-back shows it).
pub fn label_in_path(text: &str) -> Result<TagRef, ParseError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match (plain_number(text), numeric) {
        (Some(id), true) => Ok(TagRef::number(id)),
        (_, true) => Err(refuse("the label's number is not written plainly, as in /labels/3")),
        _ => label_name(text),
    }
}

/// Some databases take a name with a blank at its end, or with a character that is not seen, for the name without it.
fn label_name(text: &str) -> Result<TagRef, ParseError> {
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
    Ok(TagRef::Name(text.to_owned()))
}

/// Whether it is JSON in which no reader finds a member that is compared with anything, however it takes the case of names: a
/// `Title` is the tracker's to read. A creation is judged by its texts, too.
fn edits_nothing_compared(form: WriteForm, head: &Head<'_>, body: &[u8]) -> bool {
    let is_json = encoding(head.headers) == Ok(Encoding::Json) && expect_no_guarded_query(head).is_ok();
    let members = || read_compared(body, COMPARED, COMPARED);
    let is_compared = |member: &Member| COMPARED.contains(&member.name.as_str());
    is_edit(form) && is_json && members().is_ok_and(|members| !members.iter().any(is_compared))
}

/// Whether nothing guarded would change, whatever the item shows.
fn is_idle(change: &Change) -> bool {
    let adds_none = |change: &SetChange<TagRef>| matches!(change, SetChange::Add(set) if set.is_empty());
    change.assignees.is_none()
        && change.state.is_none()
        && change.reviewers.is_none()
        && change.labels.as_ref().is_none_or(adds_none)
}

// === Bodies to members ===

fn read_members(form: WriteForm, head: &Head<'_>, body: &[u8]) -> Result<Vec<Member>, ParseError> {
    match (encoding(head.headers)?, body.is_empty()) {
        // No version looks at the query then, and each takes an empty body for an empty object.
        (Encoding::Json, _) => {
            expect_no_guarded_query(head)?;
            match body.trim_ascii() {
                b"" | b"null" => Ok(Vec::new()),
                _ => read_compared(body, &watched(form), COMPARED),
            }
        }
        (Encoding::Multipart, _) => {
            expect_no_guarded_query(head)?;
            let fields = multipart_fields(head.headers, body).ok_or_else(|| unsupported(SEND_JSON))?;
            match fields.iter().find(|(name, _)| is_parameter(name)) {
                Some((name, _)) => Err(refuse(format!("`{name}` has no place in a multipart body: {SEND_JSON}"))),
                None => form_members(form, fields),
            }
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

/// Nothing that a reader who looks at the query could take for a guarded field.
fn expect_no_guarded_query(head: &Head<'_>) -> Result<(), ParseError> {
    match form::read_query(head.target.query())?.iter().find(|(name, _)| mentions_guarded(name)) {
        Some((name, _)) => {
            Err(refuse(format!("the query parameter `{}` has no place here: leave it out", shorten(name))))
        }
        None => Ok(()),
    }
}

/// Members that are compared with something, or that say who sends. Texts are only handed on.
const COMPARED: &[&str] = &[
    "assignee",
    "assignees",
    "labels",
    "state",
    "closed",
    "ref",
    "head",
    "base",
    "reviewers",
    "team_reviewers",
    "event",
    "commit_id",
    "token",
    "access_token",
    "sudo",
];

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

fn field(form: WriteForm, name: &str) -> Result<(&'static str, FieldKind), ParseError> {
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
enum FieldKind {
    Text,
    Texts,
    Number,
    Numbers,
    Flag,
    /// A pointer in the tracker's structure: not bound from a form by every version.
    Pointer,
}

impl FieldKind {
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
fn fields(form: WriteForm) -> &'static [(&'static str, FieldKind)] {
    use FieldKind::{Flag, Number, Numbers, Pointer, Text, Texts};
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

struct RequestMembers(Vec<Member>);

impl RequestMembers {
    /// Takes a member out; `null` is as good as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|member| member.name == name)?;
        let value = serde_json::from_str(self.0.remove(at).value.get()).unwrap_or(Value::Null);
        (!value.is_null()).then_some(value)
    }
}

fn change(form: WriteForm, head: &Head<'_>, members: &mut RequestMembers) -> Result<Change, ParseError> {
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
fn assignees(form: WriteForm, members: &mut RequestMembers) -> Result<Option<BTreeSet<Account>>, ParseError> {
    let one = members.take("assignee");
    let many = match members.take("assignees") {
        // A creation takes empty names for none; an edit fails at the tracker.
        Some(Value::Array(names)) if creates(form) && names.iter().all(is_blank) => Some(BTreeSet::new()),
        many => many.map(|value| logins(&value)).transpose()?,
    };
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

fn creates(form: WriteForm) -> bool {
    matches!(form, WriteForm::CreateIssue | WriteForm::CreatePull)
}

/// What a list of texts has for `null` is an empty text.
fn is_blank(name: &Value) -> bool {
    name.is_null() || name.as_str() == Some("")
}

/// Gitea 1.27's assignee calls: what it makes of none at all has not been seen.
fn named_assignees(members: &mut RequestMembers) -> Result<BTreeSet<Account>, ParseError> {
    let named = members.take("assignees").map(|value| logins(&value)).transpose()?;
    named.filter(|set| !set.is_empty()).ok_or_else(|| wrong("assignees", "a list of at least one login"))
}

fn logins(value: &Value) -> Result<BTreeSet<Account>, ParseError> {
    let list = value.as_array().ok_or_else(|| wrong("assignees", "a list of logins"))?;
    expect_few("assignees", list.len(), MOST_LOGINS)?;
    list.iter().map(|name| login(name.as_str().ok_or_else(|| wrong("assignees", "a list of logins"))?)).collect()
}

fn login(name: &str) -> Result<Account, ParseError> {
    if !is_short_name(name) {
        return Err(too_long("the login", &shorten(name)));
    }
    let folded = fold_letters(name);
    // What Forgejo and Gitea allow in a name; anything else could be a secret in the wrong place, and would be recorded.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let plain = !folded.is_empty() && folded.bytes().all(allowed);
    plain
        .then(|| Account::new(&folded))
        .ok_or_else(|| refuse(format!("`{}` is no login that the tracker gives (an empty list clears)", shorten(name))))
}

/// People and teams by their names, for the record; they are sent on as they came.
fn reviewers(members: &RequestMembers) -> Result<BTreeSet<Account>, ParseError> {
    let mut all = BTreeSet::new();
    for (field, before) in [("reviewers", ""), ("team_reviewers", "team ")] {
        let value = members.0.iter().find(|member| member.name == field).map(|member| member.value.get());
        let names: Option<Vec<String>> =
            serde_json::from_str(value.unwrap_or("null")).map_err(|_| wrong(field, "a list of names"))?;
        let names = names.unwrap_or_default();
        expect_few(field, names.len(), MOST_LOGINS)?;
        all.extend(names.iter().map(|name| Account::new(&format!("{before}{}", shorten(name)))));
    }
    Ok(all)
}

/// The tracker takes anything but `closed` to mean open.
fn state(members: &mut RequestMembers) -> Result<Option<OpenState>, ParseError> {
    match members.take("state") {
        None => Ok(None),
        Some(Value::String(text)) if text == "open" => Ok(Some(OpenState::Open)),
        Some(Value::String(text)) if text == "closed" => Ok(Some(OpenState::Closed)),
        Some(_) => Err(wrong("state", "exactly \"open\" or \"closed\"")),
    }
}

fn labels(form: WriteForm, members: &mut RequestMembers) -> Result<Option<BTreeSet<TagRef>>, ParseError> {
    let Some(value) = members.take("labels") else { return Ok(None) };
    let expected = if form == WriteForm::EditPull { "a list of label ids" } else { "a list of label ids, or of names" };
    let list = value.as_array().ok_or_else(|| wrong("labels", expected))?;
    expect_few("labels", list.len(), MOST_LABELS)?;
    let label = |value: &Value| match value {
        Value::Number(id) => id.as_u64().map(TagRef::number).ok_or_else(|| wrong("labels", expected)),
        Value::String(name) if !name.is_empty() => label_name(name),
        _ => Err(wrong("labels", expected)),
    };
    let refs: BTreeSet<TagRef> = list.iter().map(label).collect::<Result<_, _>>()?;
    let named = refs.iter().filter(|label| matches!(label, TagRef::Name(_))).count();
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
const MOST_LABELS: usize = 500;
/// People whom one write names. Each is recorded.
const MOST_LOGINS: usize = 100;

#[cfg(test)]
mod tests;
