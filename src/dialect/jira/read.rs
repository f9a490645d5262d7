//! Jira's answers to the gate's own requests (manual: jira, section 6). Typed strictly: what is missing or odd is unreadable,
//! never empty. That nobody is assigned is said by `null`.

use super::super::{Address, ReadOutcome, Webhook, Whoami, WireResponse};
use super::deployment::{Deployment, LearntFacts};
use super::route_of;
use crate::model::{
    Account, Edit, ItemKind, OpenState, Place, Project, ResourceKey, Snapshot, Status, Tag, TagId, TagRef,
    TimelineEntry, is_short_name,
};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An account: Cloud says `accountId`, Server and Data Center say `name`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JiraUser {
    account_id: Option<String>,
    name: Option<String>,
    display_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JiraStatus {
    id: String,
    name: String,
    status_category: JiraCategory,
}

#[derive(Deserialize)]
struct JiraCategory {
    key: String,
}

#[derive(Deserialize)]
pub(super) struct JiraProject {
    pub(super) key: String,
    #[serde(default)]
    pub(super) archived: bool,
}

#[derive(Deserialize)]
struct JiraType {
    id: String,
}

/// An issue, as far as it decides anything.
#[derive(Deserialize)]
pub(super) struct JiraIssue {
    id: String,
    key: String,
    fields: JiraFields,
    #[serde(default)]
    transitions: Vec<TransitionMember>,
    changelog: Option<JiraChangelog>,
}

#[derive(Deserialize)]
struct JiraFields {
    /// A member that must be there, be it `null`.
    #[serde(deserialize_with = "Option::deserialize")]
    assignee: Option<JiraUser>,
    status: JiraStatus,
    project: JiraProject,
    issuetype: Option<JiraType>,
    creator: Option<JiraUser>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransitionMember {
    id: String,
    to: JiraStatus,
    #[serde(default)]
    has_screen: bool,
    is_available: Option<bool>,
}

#[derive(Deserialize)]
struct JiraChangelog {
    histories: Vec<JiraHistory>,
}

#[derive(Deserialize)]
struct JiraHistory {
    id: String,
    author: Option<JiraUser>,
    items: Vec<JiraEdit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JiraEdit {
    field: String,
    from: Option<String>,
    from_string: Option<String>,
    to: Option<String>,
    to_string: Option<String>,
}

#[derive(Deserialize)]
struct StatusesOfType {
    statuses: Vec<JiraStatus>,
}

/// What this transition of an issue leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JiraTransition {
    pub id: String,
    pub to: Tag,
    /// It asks for fields.
    has_screen: bool,
}

/// What can be done to an issue that was read.
#[derive(Clone, Debug)]
pub struct JiraWorkflow {
    /// Names the workflow: that of a project's issues of one type.
    pub name: String,
    pub transitions: Vec<JiraTransition>,
}

/// What a read of this issue showed.
pub fn item(address: &Address, response: &WireResponse, facts: &LearntFacts) -> ReadOutcome {
    match response.status.as_u16() {
        200 => match typed::<JiraIssue>(response).and_then(|issue| issue.snapshot(facts)) {
            Ok(seen) if is_asked_for(address, &seen) => ReadOutcome::Item(seen),
            Ok(_) => ReadOutcome::Unreadable("the tracker answered with another issue".to_owned()),
            Err(why) => ReadOutcome::Unreadable(why),
        },
        401 | 403 | 404 | 429 => ReadOutcome::Denied,
        status => ReadOutcome::Unreadable(format!("the tracker answered {status}")),
    }
}

/// A key may be an old one, under which Jira still finds the issue.
fn is_asked_for(address: &Address, seen: &Snapshot) -> bool {
    let asked = route_of(address).issue;
    !asked.bytes().all(|byte| byte.is_ascii_digit()) || asked == seen.key.as_str()
}

/// What can be done to the issue of this answer; `None`: it does not say.
pub fn workflow(response: &WireResponse) -> Option<JiraWorkflow> {
    let issue = typed::<JiraIssue>(response).ok()?;
    let name = format!("{} {}", issue.fields.project.key, issue.fields.issuetype.as_ref().map_or("", |kind| &kind.id));
    let is_available = |row: &&TransitionMember| row.is_available != Some(false);
    let listed = |row: &TransitionMember| {
        Some(JiraTransition { id: row.id.clone(), to: row.to.tag().ok()?, has_screen: row.has_screen })
    };
    Some(JiraWorkflow { name, transitions: issue.transitions.iter().filter(is_available).filter_map(listed).collect() })
}

/// Who Jira says that the credential is.
pub fn account(response: &WireResponse, facts: &LearntFacts) -> Whoami {
    match response.status.as_u16() {
        200 => match typed::<JiraUser>(response).and_then(|user| user.account(facts)) {
            Ok(account) => Whoami::Account(account),
            Err(why) => Whoami::Unreadable(why),
        },
        403 => Whoami::Forbidden,
        // A token with scopes, of which none is about who it is.
        401 if String::from_utf8_lossy(&response.body).contains("scope does not match") => Whoami::OutOfScope,
        401 | 404 | 429 => Whoami::Refused,
        status => Whoami::Unreadable(format!("the tracker answered {status}")),
    }
}

/// Every status of a project, by the types of its issues; or of the whole tracker.
pub fn statuses(response: &WireResponse) -> Option<Vec<Tag>> {
    if !response.status.is_success() {
        return None;
    }
    let rows: Vec<JiraStatus> = match typed::<Vec<StatusesOfType>>(response) {
        Ok(kinds) => kinds.into_iter().flat_map(|kind| kind.statuses).collect(),
        Err(_) => typed::<Vec<JiraStatus>>(response).ok()?,
    };
    let mut tags: Vec<Tag> = Vec::new();
    for row in &rows {
        let tag = row.tag().ok()?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Some(tags)
}

/// What the changelog tells of assignee and status, oldest first.
pub fn timeline(response: &WireResponse) -> Option<Vec<TimelineEntry>> {
    let issue = typed::<JiraIssue>(response).ok().filter(|_| response.status.is_success())?;
    let mut entries = Vec::new();
    for history in &issue.changelog?.histories {
        let (Ok(id), Some(by)) = (history.id.parse(), history.author.as_ref().and_then(JiraUser::known)) else {
            continue;
        };
        let edits = history.items.iter().flat_map(JiraEdit::edits);
        entries.extend(edits.map(|edit| TimelineEntry { id, by: by.clone(), edit }));
    }
    entries.sort_by_key(|entry: &TimelineEntry| entry.id);
    Some(entries)
}

/// The issue that a creation made: its answer names it, and shows nothing of it.
pub fn created(response: &WireResponse) -> Option<String> {
    let made: Value = typed(response).ok().filter(|_| response.status.is_success())?;
    let id = made.get("id")?.as_str()?;
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.to_owned())
}

/// What a webhook says: signed over the body, as `WebSub` has it.
pub fn webhook(headers: &HeaderMap, body: &[u8]) -> Webhook {
    let signature = headers.get("x-hub-signature").and_then(|value| value.to_str().ok());
    let signature = signature.and_then(|text| text.strip_prefix("sha256=")).and_then(of_hex);
    let named = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).ok()?;
        let key = super::routes::issue_name(event.pointer("/issue/key")?.as_str()?)?;
        Some(Place::new(&key))
    };
    Webhook { signature, payload: None, item: named(body) }
}

/// `1001.0.0-SNAPSHOT`, `9.12.4`; and whose Jira it is.
pub fn version(response: &WireResponse, facts: &LearntFacts) -> Option<String> {
    let info: Value = typed(response).ok().filter(|_| response.status.is_success())?;
    match info.get("deploymentType").and_then(Value::as_str) {
        Some("Cloud") => facts.learn(Deployment::Cloud),
        Some(_) => facts.learn(Deployment::Server),
        None => {}
    }
    info.get("version")?.as_str().map(str::to_owned)
}

/// The members of the answer that this type names.
pub(super) fn typed<T: DeserializeOwned>(response: &WireResponse) -> Result<T, String> {
    let header = |name| response.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
    let coding = header(CONTENT_ENCODING);
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        return Err("the tracker's answer is compressed".to_owned());
    }
    let essence = header(CONTENT_TYPE).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err("the tracker's answer is not JSON".to_owned());
    }
    serde_json::from_slice(&response.body).map_err(|error| format!("the tracker's answer cannot be read: {error}"))
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

// === impl JiraUser, JiraStatus, JiraIssue, JiraEdit ===

impl JiraUser {
    fn account(&self, facts: &LearntFacts) -> Result<Account, String> {
        let (deployment, account) = match (&self.account_id, &self.name) {
            (Some(_), _) => (Deployment::Cloud, self.known()),
            (None, Some(_)) => (Deployment::Server, self.known()),
            (None, None) => {
                return Err("the tracker's answer names an account by neither accountId nor name".to_owned());
            }
        };
        facts.learn(deployment);
        account.ok_or_else(|| "the tracker's answer has an account without a usable name".to_owned())
    }

    /// People call it by its display name in Cloud, where the id is no name.
    fn known(&self) -> Option<Account> {
        let id = self.account_id.as_ref().or(self.name.as_ref()).filter(|id| !id.is_empty() && is_short_name(id))?;
        Some(match (&self.account_id, &self.display_name) {
            (Some(_), Some(name)) if !name.is_empty() && is_short_name(name) => Account::named(id, name),
            _ => Account::new(id),
        })
    }
}

impl JiraStatus {
    fn tag(&self) -> Result<Tag, String> {
        if self.name.is_empty() || self.id.is_empty() || !is_short_name(&self.name) {
            return Err("the tracker's answer has a status without a usable name".to_owned());
        }
        let state = if self.status_category.key == "done" { OpenState::Closed } else { OpenState::Open };
        Ok(Tag {
            id: Some(tag_id(&self.id)),
            name: self.name.clone(),
            group: Some("status".into()),
            state: Some(state),
        })
    }
}

/// What the rules call a status: they use these words for something else.
fn rule_name(name: &str) -> String {
    let is_taken = ["open", "closed", "none"].iter().any(|word| name.eq_ignore_ascii_case(word));
    if is_taken { format!("{name}{STATUS}") } else { name.to_owned() }
}

/// What Jira calls it.
pub fn jira_name(name: &str) -> &str {
    name.strip_suffix(STATUS).filter(|rest| rule_name(rest) == name).unwrap_or(name)
}

const STATUS: &str = " status";

/// A status by its id, which is a number in all versions so far.
pub fn tag_id(text: &str) -> TagId {
    text.parse().map_or_else(|_| TagId::Text(text.into()), TagId::Number)
}

impl JiraIssue {
    pub(super) fn snapshot(&self, facts: &LearntFacts) -> Result<Snapshot, String> {
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("the tracker's answer has an issue without a number".to_owned());
        }
        let status = self.fields.status.tag()?;
        let assignee = self.fields.assignee.as_ref().map(|user| user.account(facts)).transpose()?;
        Ok(Snapshot {
            key: ResourceKey::new(&self.id),
            locator: Place::within(&Project::new(&self.fields.project.key), &self.key),
            kind: ItemKind::Issue,
            assignees: assignee.into_iter().collect(),
            state: status.state.unwrap_or(OpenState::Open),
            labels: [status].into(),
            author: self.fields.creator.as_ref().and_then(JiraUser::known),
        })
    }
}

impl JiraEdit {
    fn edits(&self) -> Vec<Edit> {
        let account = |id: &Option<String>| id.as_ref().filter(|id| !id.is_empty()).map(|id| Account::new(id));
        let status = |name: &Option<String>| name.as_ref().map(|name| Status::new(&rule_name(name)));
        match self.field.as_str() {
            "assignee" => {
                let gone = account(&self.from).map(Edit::Unassigned);
                gone.into_iter().chain(account(&self.to).map(Edit::Assigned)).collect()
            }
            "status" => {
                let gone = status(&self.from_string).map(Edit::Unlabelled);
                gone.into_iter().chain(status(&self.to_string).map(Edit::Labelled)).collect()
            }
            _ => Vec::new(),
        }
    }
}

// === impl JiraWorkflow ===

impl JiraWorkflow {
    pub fn of_id(&self, id: &str) -> Option<&JiraTransition> {
        self.transitions.iter().find(|transition| transition.id == id)
    }

    /// One that leads there; one that asks for no fields first.
    pub fn leading_to(&self, wanted: &TagRef) -> Option<&JiraTransition> {
        let leads = |transition: &&JiraTransition| wanted.names(&transition.to);
        let mut all = self.transitions.iter().filter(leads);
        all.clone().find(|transition| !transition.has_screen).or_else(|| all.next())
    }
}

#[cfg(test)]
mod tests {
    use super::super::address_of;
    use super::*;
    use http::{HeaderValue, StatusCode};
    use serde_json::json;

    fn answer(status: u16, body: &Value) -> WireResponse {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
        WireResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_string().into() }
    }

    fn status(id: &str, name: &str, category: &str) -> Value {
        json!({ "id": id, "name": name, "statusCategory": { "key": category } })
    }

    fn issue() -> Value {
        json!({
            "id": "10007", "key": "PROJ-7", "self": "https://x/rest/api/3/issue/10007",
            "fields": {
                "assignee": { "accountId": "5b1", "displayName": "Ann Agent" },
                "status": status("3", "In Progress", "indeterminate"),
                "project": { "id": "10000", "key": "PROJ" }, "issuetype": { "id": "10001" },
                "creator": { "accountId": "5b2", "displayName": "Bob" },
            },
            "transitions": [
                { "id": "31", "name": "Done", "to": status("10", "Done", "done"), "hasScreen": true },
                { "id": "41", "name": "Finish", "to": status("10", "Done", "done") },
                { "id": "51", "name": "No", "to": status("11", "Other", "new"), "isAvailable": false },
            ],
        })
    }

    #[test]
    fn an_issue_is_read_strictly() {
        let facts = LearntFacts::default();
        let read = |name: &str, issue: &Value| match item(&address_of("3", name, false), &answer(200, issue), &facts) {
            ReadOutcome::Item(seen) => {
                let assignees: Vec<&str> = seen.assignees.iter().map(Account::as_str).collect();
                let status: Vec<&str> = seen.labels.iter().map(|label| label.name.as_str()).collect();
                let project = seen.locator.known_project();
                format!("{} {} in {project} {assignees:?} {status:?} {:?}", seen.key, seen.locator, seen.state)
            }
            ReadOutcome::Unreadable(why) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(read("PROJ-7", &issue()), r#"10007 PROJ-7 in proj ["5b1"] ["In Progress"] Open"#);
        assert_eq!(read("OLD-3", &issue()), r#"10007 PROJ-7 in proj ["5b1"] ["In Progress"] Open"#);
        assert_eq!(facts.deployment(), Deployment::Cloud);
        assert!(read("10008", &issue()).contains("another issue"));
        let without = |name: &str| {
            let mut issue = issue();
            issue["fields"].as_object_mut().unwrap().shift_remove(name);
            issue
        };
        for name in ["assignee", "status", "project"] {
            assert!(read("PROJ-7", &without(name)).contains(&format!("missing field `{name}`")), "{name}");
        }
        let mut free = issue();
        free["fields"]["assignee"] = Value::Null;
        assert_eq!(read("PROJ-7", &free), r#"10007 PROJ-7 in proj [] ["In Progress"] Open"#);
        free["fields"]["assignee"] = json!({ "name": "ann", "displayName": "Ann Agent" });
        assert_eq!(read("PROJ-7", &free), r#"10007 PROJ-7 in proj ["ann"] ["In Progress"] Open"#);
        assert_eq!(facts.deployment(), Deployment::Server);
        for (status, denied) in [(401, true), (403, true), (404, true), (429, true), (500, false), (302, false)] {
            let outcome = item(&address_of("3", "PROJ-7", false), &answer(status, &json!({})), &facts);
            assert_eq!(matches!(outcome, ReadOutcome::Denied), denied, "{status}");
        }
    }

    #[test]
    fn words_of_the_rules_are_no_statuses() {
        for (name, told) in
            [("Open", "Open status"), ("CLOSED", "CLOSED status"), ("Opened", "Opened"), ("To Do", "To Do")]
        {
            assert_eq!((rule_name(name).as_str(), jira_name(told)), (told, name));
        }
        assert_eq!(jira_name("Some status"), "Some status");
    }

    #[test]
    fn transitions_say_where_they_lead() {
        let workflow = workflow(&answer(200, &issue())).unwrap();
        assert_eq!(workflow.name, "PROJ 10001");
        assert_eq!(workflow.of_id("31").map(|it| it.to.name.as_str()), Some("Done"));
        assert_eq!(workflow.of_id("51"), None);
        assert_eq!(workflow.leading_to(&TagRef::Name("DONE".into())).map(|it| it.id.as_str()), Some("41"));
        assert_eq!(workflow.leading_to(&TagRef::number(3)), None);
    }

    #[test]
    fn whose_a_credential_is() {
        let facts = LearntFacts::default();
        let told = account(&answer(200, &json!({ "accountId": "5b1", "displayName": "Ann" })), &facts);
        let Whoami::Account(ann) = told else { panic!("{told:?}") };
        assert_eq!((ann.as_str(), ann.other_name()), ("5b1", Some("Ann")));
        let scope = json!({ "code": 401, "message": "Unauthorized; scope does not match" });
        assert_eq!(account(&answer(401, &scope), &facts), Whoami::OutOfScope);
        assert_eq!(account(&answer(401, &json!({})), &facts), Whoami::Refused);
        assert_eq!(account(&answer(403, &json!({})), &facts), Whoami::Forbidden);
        assert!(matches!(account(&answer(200, &json!({})), &facts), Whoami::Unreadable(_)));
    }

    #[test]
    fn the_changelog_tells_who_did_what() {
        let mut issue = issue();
        issue["changelog"] = json!({ "histories": [
            { "id": "20", "author": { "name": "bob" }, "items": [
                { "field": "status", "from": "1", "fromString": "To Do", "to": "3", "toString": "In Progress" },
                { "field": "summary", "from": null, "fromString": "a", "to": null, "toString": "b" }] },
            { "id": "10", "author": { "name": "ann" }, "items": [
                { "field": "assignee", "from": null, "fromString": null, "to": "bob", "toString": "Bob" }] },
        ]});
        let told = timeline(&answer(200, &issue)).unwrap();
        let told: Vec<String> =
            told.iter().map(|entry| format!("{} {} {:?}", entry.id, entry.by, entry.edit)).collect();
        assert_eq!(told, [r#"10 ann Assigned("bob")"#, "20 bob Unlabelled(to do)", "20 bob Labelled(in progress)"]);
    }

    #[test]
    fn a_webhook_is_signed_over_its_body() {
        let mut headers = HeaderMap::new();
        headers.insert("x-hub-signature", "sha256=0aff".parse().unwrap());
        let told = webhook(&headers, br#"{"webhookEvent":"jira:issue_updated","issue":{"id":"10007","key":"PROJ-7"}}"#);
        assert_eq!((told.signature, told.item), (Some(vec![10, 255]), Some(Place::new("PROJ-7"))));
        headers.insert("x-hub-signature", "sha1=0aff".parse().unwrap());
        assert_eq!(webhook(&headers, b"{}").signature, None);
    }
}
