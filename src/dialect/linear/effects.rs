//! What the fields of a mutation do to issues (manual: linear).
//!
//! Each field of Linear's schema that names an issue is named here: it changes what is guarded, or it is beside that. One that
//! the schema has not and that names an issue is refused; all others are nobody's business.

use super::super::graphql::{ExecutedField, items_of};
use super::super::{Address, ParseError};
use super::address;
use super::read::is_uuid;
use crate::model::Project;
use serde_json::{Map, Value};

/// What one field does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEffect {
    /// Nothing that is guarded.
    Free,
    /// This, to each of these issues.
    Issues(Vec<Address>, IssueDraft),
    /// New issues.
    Creates(Vec<NewIssue>),
}

/// What is asked to become of an issue. Ids are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueDraft {
    /// Who is assigned.
    pub assignee: Option<PersonRef>,
    /// To whom it is delegated.
    pub delegate: Option<PersonRef>,
    /// Its workflow state.
    pub state: Option<String>,
    /// Exactly these labels.
    pub labels: Option<Vec<String>>,
    /// These labels too.
    pub added: Vec<String>,
    /// Not these labels.
    pub removed: Vec<String>,
    /// It is put away: archived, or in the trash.
    pub closes: bool,
    /// What a read of it does not show as any of these.
    pub beside: Option<&'static str>,
    /// It is edited in other fields along with them.
    pub edits: bool,
}

/// Whom a field of an issue names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonRef {
    /// Null.
    Nobody,
    /// This user, by the id.
    User(String),
}

/// An issue that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIssue {
    /// In which team, as the request names it.
    pub team: Project,
    /// To whom it is assigned or delegated.
    pub holder: Option<String>,
    /// In which state.
    pub state: Option<String>,
}

/// The members of an input that are guarded.
pub const GUARDED: [&str; 8] =
    ["assigneeId", "delegateId", "stateId", "labelIds", "addedLabelIds", "removedLabelIds", "trashed", "teamId"];

/// Fields of the schema that name an issue and leave alone what is guarded.
const BESIDE: [&str; 62] = [
    "agentActivityCreate",
    "attachmentCreate",
    "attachmentLinkDiscord",
    "attachmentLinkFront",
    "attachmentLinkGitHubIssue",
    "attachmentLinkGitHubPR",
    "attachmentLinkGitLabMR",
    "attachmentLinkIntercom",
    "attachmentLinkJiraIssue",
    "attachmentLinkSalesforce",
    "attachmentLinkSlack",
    "attachmentLinkURL",
    "attachmentLinkZendesk",
    "commentCreate",
    "commentUpdate",
    "customViewCreate",
    "customViewUpdate",
    "customerNeedCreate",
    "customerNeedUpdate",
    "documentCreate",
    "documentUpdate",
    "emailIntakeAddressCreate",
    "emailIntakeAddressUpdate",
    "favoriteCreate",
    "integrationSettingsUpdate",
    "integrationUpdate",
    "integrationsSettingsCreate",
    "integrationsSettingsUpdate",
    "issueDescriptionUpdateFromFront",
    "issueExternalSyncDisable",
    "issueImportCreateAsana",
    "issueImportCreateCSVJira",
    "issueImportCreateClubhouse",
    "issueImportCreateGithub",
    "issueImportCreateJira",
    "issueImportCreateLinearV2",
    "issueImportDelete",
    "issueImportProcess",
    "issueImportUpdate",
    "issueLabelCreate",
    "issueLabelDelete",
    "issueLabelRestore",
    "issueLabelRetire",
    "issueLabelUpdate",
    "issueRelationDelete",
    "issueReminder",
    "issueShare",
    "issueSubscribe",
    "issueToReleaseCreate",
    "issueToReleaseDelete",
    "issueToReleaseDeleteByIssueAndRelease",
    "issueUnshare",
    "issueUnsubscribe",
    "notificationArchiveAll",
    "notificationMarkReadAll",
    "notificationMarkUnreadAll",
    "notificationSnoozeAll",
    "notificationUnsnoozeAll",
    "organizationUpdate",
    "projectCreate",
    "projectUpdate",
    "reactionCreate",
];
/// The same of fields that speak of issues as such.
const BESIDE_ALL: [&str; 4] = ["releaseSync", "releaseSyncByAccessKey", "teamCreate", "teamUpdate"];
/// Fields that move issues which they do not name, and why an agent is not to send them.
const REFUSED: [(&str, &str); 3] = [
    ("projectMilestoneMove", "it moves issues to another team: move each by issueUpdate"),
    ("teamDelete", "it deletes every issue of the team: delete a team in Linear's own settings"),
    ("agentSessionCreateOnComment", "it may delegate the issue, which it does not name: use agentSessionCreateOnIssue"),
];
/// Issues that one request may name.
pub const MOST_ISSUES: usize = 50;

/// What this field does.
pub fn effect(field: &ExecutedField) -> Result<FieldEffect, ParseError> {
    let arguments = &field.arguments;
    let one = |draft| Ok(FieldEffect::Issues(vec![named(field, "id")?], draft));
    match field.name.as_str() {
        "issueUpdate" => one(updated(field)?),
        "issueBatchUpdate" => {
            let ids = items_of(arguments.get("ids").unwrap_or(&Value::Null));
            if ids.is_empty() || ids.len() > MOST_ISSUES {
                return Err(refuse(field, &format!("`ids` names one issue at least, and {MOST_ISSUES} at most")));
            }
            let issues = ids.iter().map(|id| of_text(field, "ids", id)).collect::<Result<_, _>>()?;
            Ok(FieldEffect::Issues(issues, updated(field)?))
        }
        "issueAddLabel" => {
            one(IssueDraft { added: vec![id_of(field, arguments, "labelId")?], ..IssueDraft::default() })
        }
        "issueRemoveLabel" => {
            one(IssueDraft { removed: vec![id_of(field, arguments, "labelId")?], ..IssueDraft::default() })
        }
        "issueDelete" if arguments.get("permanentlyDelete") == Some(&Value::Bool(true)) => {
            one(beside("delete for good"))
        }
        "issueArchive" | "issueDelete" => one(IssueDraft { closes: true, ..IssueDraft::default() }),
        "issueUnarchive" => one(beside("take out of the archive")),
        "issueCreate" => Ok(FieldEffect::Creates(vec![new_issue(field, input(field)?)?])),
        "issueBatchCreate" => {
            let issues = items_of(input(field)?.get("issues").unwrap_or(&Value::Null));
            let each = issues.iter().map(|issue| match issue {
                Value::Object(issue) => new_issue(field, issue),
                _ => Err(refuse(field, "each of `issues` must be an object")),
            });
            Ok(FieldEffect::Creates(each.collect::<Result<_, _>>()?))
        }
        "issueRelationCreate" | "issueRelationUpdate" => related(field),
        "agentSessionCreate" | "agentSessionCreateOnIssue" => session(field),
        "agentSessionUpdate" => ended_session(field),
        name => match REFUSED.iter().find(|(refused, _)| *refused == name) {
            Some((_, why)) => Err(refuse(field, why)),
            None if BESIDE.contains(&name) || BESIDE_ALL.contains(&name) => Ok(FieldEffect::Free),
            None if names_issue(field) => {
                let why = "the gate does not know it, and it names an issue: use a documented mutation";
                Err(ParseError::UnknownRoute(format!("`{}`: {why}", shown(name))))
            }
            None => Ok(FieldEffect::Free),
        },
    }
}

// === impl PersonRef ===

impl PersonRef {
    /// The user, if it is one.
    pub fn id(&self) -> Option<&String> {
        match self {
            Self::Nobody => None,
            Self::User(id) => Some(id),
        }
    }
}

// === of an issue ===

fn updated(field: &ExecutedField) -> Result<IssueDraft, ParseError> {
    let input = input(field)?;
    let mut draft = IssueDraft {
        assignee: person(field, input, "assigneeId")?,
        delegate: person(field, input, "delegateId")?,
        state: optional(field, input, "stateId")?,
        labels: None,
        added: ids(field, input, "addedLabelIds")?.unwrap_or_default(),
        removed: ids(field, input, "removedLabelIds")?.unwrap_or_default(),
        edits: input.keys().any(|name| !GUARDED.contains(&name.as_str())),
        ..IssueDraft::default()
    };
    if input.get("labelIds").is_some_and(Value::is_null) {
        return Err(refuse(field, "`labelIds` is null: send the list of labels"));
    }
    draft.labels = ids(field, input, "labelIds")?;
    match input.get("trashed") {
        Some(Value::Bool(true)) => draft.closes = true,
        Some(Value::Bool(false)) => draft.beside = Some("take out of the trash"),
        None | Some(Value::Null) => {}
        Some(_) => return Err(refuse(field, "`trashed` must be true or false")),
    }
    if optional(field, input, "teamId")?.is_some() {
        draft.beside = Some("move to another team");
    }
    Ok(draft)
}

/// Who closes an issue closes its duplicates, and an issue that becomes one leaves its state.
fn related(field: &ExecutedField) -> Result<FieldEffect, ParseError> {
    let input = input(field)?;
    if input.get("type").and_then(Value::as_str) != Some("duplicate") {
        return Ok(FieldEffect::Free);
    }
    if field.name == "issueRelationUpdate" {
        return Err(refuse(field, "which issue becomes a duplicate by it is not known: use issueRelationCreate"));
    }
    Ok(FieldEffect::Issues(vec![of_member(field, input, "issueId")?], beside("become a duplicate")))
}

/// An agent's session delegates its issue to it.
fn session(field: &ExecutedField) -> Result<FieldEffect, ParseError> {
    let input = input(field)?;
    if input.get("issueId").is_none_or(Value::is_null) {
        return Ok(FieldEffect::Free);
    }
    Ok(FieldEffect::Issues(vec![of_member(field, input, "issueId")?], beside("begin an agent's session")))
}

fn ended_session(field: &ExecutedField) -> Result<FieldEffect, ParseError> {
    match input(field)?.get("dismissedAt") {
        None | Some(Value::Null) => Ok(FieldEffect::Free),
        Some(_) => Err(refuse(
            field,
            "`dismissedAt` ends the delegation of an issue that it does not name: clear delegateId by issueUpdate",
        )),
    }
}

fn new_issue(field: &ExecutedField, input: &Map<String, Value>) -> Result<NewIssue, ParseError> {
    let team = optional(field, input, "teamId")?.ok_or_else(|| refuse(field, "`teamId` is missing"))?;
    let [delegate, assignee] = ["delegateId", "assigneeId"].map(|name| person(field, input, name));
    let user = |named: Option<PersonRef>| named.and_then(|it| it.id().cloned());
    let holder = user(delegate?).or(user(assignee?));
    Ok(NewIssue { team: Project::new(&team), holder, state: optional(field, input, "stateId")? })
}

fn beside(what: &'static str) -> IssueDraft {
    IssueDraft { beside: Some(what), ..IssueDraft::default() }
}

// === arguments ===

fn input(field: &ExecutedField) -> Result<&Map<String, Value>, ParseError> {
    field.arguments.get("input").and_then(Value::as_object).ok_or_else(|| refuse(field, "`input` must be an object"))
}

fn named(field: &ExecutedField, name: &str) -> Result<Address, ParseError> {
    of_member(field, &field.arguments, name)
}

fn of_member(field: &ExecutedField, members: &Map<String, Value>, name: &str) -> Result<Address, ParseError> {
    of_text(field, name, members.get(name).unwrap_or(&Value::Null))
}

fn of_text(field: &ExecutedField, name: &str, value: &Value) -> Result<Address, ParseError> {
    let found = value.as_str().and_then(address);
    found.ok_or_else(|| refuse(field, &format!("`{name}` must be an issue's id, or its identifier, as in ENG-12")))
}

/// An id, in the one case that it has.
fn id_of(field: &ExecutedField, members: &Map<String, Value>, name: &str) -> Result<String, ParseError> {
    optional(field, members, name)?.ok_or_else(|| refuse(field, &format!("`{name}` is missing")))
}

/// The same, where it may be left out. Null changes nothing.
fn optional(field: &ExecutedField, members: &Map<String, Value>, name: &str) -> Result<Option<String>, ParseError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if !id.is_empty() => Ok(Some(id.to_ascii_lowercase())),
        Some(_) => Err(refuse(field, &format!("`{name}` must be the text of an id"))),
    }
}

/// A user, or nobody.
fn person(field: &ExecutedField, members: &Map<String, Value>, name: &str) -> Result<Option<PersonRef>, ParseError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(PersonRef::Nobody)),
        Some(Value::String(id)) if is_uuid(id) => Ok(Some(PersonRef::User(id.to_ascii_lowercase()))),
        Some(_) => Err(refuse(field, &format!("`{name}` must be the id of a user, or null"))),
    }
}

fn ids(field: &ExecutedField, members: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, ParseError> {
    let Some(value) = members.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let each = items_of(value).iter().map(|id| id.as_str().filter(|id| !id.is_empty()).map(str::to_ascii_lowercase));
    let each: Option<Vec<String>> = each.collect();
    each.map(Some).ok_or_else(|| refuse(field, &format!("`{name}` must be a list of ids")))
}

/// Whether a field that nobody knows speaks of an issue: by its own name, by one of its arguments, or by an identifier.
fn names_issue(field: &ExecutedField) -> bool {
    is_of_issues(&field.name) || field.arguments.iter().any(|(name, value)| is_of_issues(name) || has_issue(value))
}

fn is_of_issues(name: &str) -> bool {
    name.to_ascii_lowercase().contains("issue")
}

fn has_issue(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_issue),
        Value::Object(members) => members.iter().any(|(name, value)| is_of_issues(name) || has_issue(value)),
        Value::String(text) => super::is_identifier(text),
        _ => false,
    }
}

fn refuse(field: &ExecutedField, why: &str) -> ParseError {
    ParseError::Ambiguous(format!("`{}`: {why}", shown(&field.name)))
}

fn shown(name: &str) -> String {
    name.chars().take(60).collect()
}
