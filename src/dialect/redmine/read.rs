//! Redmine's answers to the gate's own requests (manual: redmine, section 6). Typed strictly: what is missing or odd is
//! unreadable, never empty. Only where nobody is assigned a member is missing.

use super::super::{Address, ReadOutcome, Whoami, WireResponse};
use super::address;
use crate::model::{
    Account, Edit, ItemKind, OpenState, Place, Project, ResourceKey, Snapshot, Status, Tag, TagId, TimelineEntry,
    is_short_name,
};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `{"id": 5, "name": "Ann Agent"}`
#[derive(Deserialize)]
pub(super) struct NamedRow {
    pub(super) id: u64,
    pub(super) name: String,
}

/// A status, of an issue or in the list of them.
#[derive(Deserialize)]
struct StatusRow {
    id: u64,
    name: String,
    /// Redmine from 5.0 says it of an issue.
    is_closed: Option<bool>,
}

/// An issue, as far as it decides anything.
#[derive(Deserialize)]
pub(super) struct IssueRow {
    id: u64,
    project: NamedRow,
    status: StatusRow,
    author: Option<NamedRow>,
    assigned_to: Option<NamedRow>,
    #[serde(default)]
    journals: Vec<JournalRow>,
}

#[derive(Deserialize)]
struct JournalRow {
    id: u64,
    user: Option<NamedRow>,
    #[serde(default)]
    details: Vec<DetailRow>,
}

#[derive(Deserialize)]
struct DetailRow {
    property: String,
    name: String,
    old_value: Option<String>,
    new_value: Option<String>,
}

#[derive(Deserialize)]
struct IssueAnswer {
    issue: IssueRow,
}

#[derive(Deserialize)]
pub(super) struct IssuePage {
    pub(super) issues: Vec<IssueRow>,
    pub(super) total_count: usize,
}

#[derive(Deserialize)]
struct StatusList {
    issue_statuses: Vec<StatusRow>,
}

#[derive(Deserialize)]
struct WhoamiAnswer {
    user: UserRow,
}

#[derive(Deserialize)]
struct UserRow {
    id: u64,
    login: String,
}

/// What a read of this issue showed.
pub fn item(address: &Address, response: &WireResponse) -> ReadOutcome {
    match response.status.as_u16() {
        200 => match typed::<IssueAnswer>(response).and_then(|one| one.issue.snapshot()) {
            Ok(seen) if seen.locator == address.place => ReadOutcome::Item(seen),
            Ok(_) => ReadOutcome::Unreadable("the tracker answered with another issue".to_owned()),
            Err(why) => ReadOutcome::Unreadable(why),
        },
        // 412: an administrator's key that acts as somebody who is not there.
        401 | 403 | 404 | 412 | 429 => ReadOutcome::Denied,
        status => ReadOutcome::Unreadable(format!("the tracker answered {status}")),
    }
}

/// The issue that a creation made.
pub fn created(response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
    let one = typed::<IssueAnswer>(response).ok().filter(|_| response.status.is_success())?;
    Some((address(one.issue.id), one.issue.snapshot().ok()))
}

/// Who Redmine says that the credential is.
pub fn account(response: &WireResponse) -> Whoami {
    match response.status.as_u16() {
        200 => match typed::<WhoamiAnswer>(response) {
            Ok(WhoamiAnswer { user }) if is_short_name(&user.login) => {
                Whoami::Account(Account::named(&user.id.to_string(), &user.login))
            }
            Ok(_) => Whoami::Unreadable("the tracker's answer has no usable `login`".to_owned()),
            Err(why) => Whoami::Unreadable(why),
        },
        401 | 403 | 404 | 412 | 429 => Whoami::Refused,
        status => Whoami::Unreadable(format!("the tracker answered {status}")),
    }
}

/// Every status that there is.
pub fn statuses(response: &WireResponse) -> Option<Vec<Tag>> {
    let all = typed::<StatusList>(response).ok().filter(|_| response.status.is_success())?;
    all.issue_statuses.iter().map(|row| row.tag().ok()).collect()
}

/// The issues of a page, as strictly read as a single one.
pub fn items(response: &WireResponse) -> Option<Vec<Snapshot>> {
    let page = typed::<IssuePage>(response).ok().filter(|_| response.status.is_success())?;
    page.issues.iter().map(|issue| issue.snapshot().ok()).collect()
}

/// What the journals tell of assignee and status. They name a status by its number, and an issue shows the name of its own
/// alone.
pub fn timeline(response: &WireResponse) -> Option<Vec<TimelineEntry>> {
    let one = typed::<IssueAnswer>(response).ok().filter(|_| response.status.is_success())?;
    let status = &one.issue.status;
    let entries = one.issue.journals.iter().filter_map(|journal| {
        let by = journal.user.as_ref().map(NamedRow::account)?;
        let edits = journal.details.iter().filter(|detail| detail.property == "attr");
        let edits = edits.flat_map(|detail| detail.edits(status));
        Some(edits.map(move |edit| TimelineEntry { id: journal.id, by: by.clone(), edit }).collect::<Vec<_>>())
    });
    Some(entries.flatten().collect())
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

// === impl NamedRow, StatusRow, IssueRow, DetailRow ===

impl NamedRow {
    fn account(&self) -> Account {
        Account::named(&self.id.to_string(), &self.name)
    }
}

impl StatusRow {
    fn tag(&self) -> Result<Tag, String> {
        if self.name.is_empty() || !is_short_name(&self.name) {
            return Err("the tracker's answer has a status without a usable name".to_owned());
        }
        let is_closed = self.is_closed.ok_or(
            "the tracker does not say whether the issue's status is a closed one: Redmine 5.0 or later is needed",
        )?;
        let state = if is_closed { OpenState::Closed } else { OpenState::Open };
        let (id, group) = (Some(TagId::Number(self.id)), Some("status".into()));
        Ok(Tag { id, name: self.name.clone(), group, state: Some(state) })
    }
}

impl IssueRow {
    pub(super) fn snapshot(&self) -> Result<Snapshot, String> {
        let status = self.status.tag()?;
        Ok(Snapshot {
            key: ResourceKey::new(&self.id.to_string()),
            locator: Place::within(&Project::new(&self.project.id.to_string()), &format!("#{}", self.id)),
            kind: ItemKind::Issue,
            assignees: self.assigned_to.iter().map(NamedRow::account).collect(),
            state: status.state.unwrap_or(OpenState::Open),
            labels: [status].into(),
            author: self.author.as_ref().map(NamedRow::account),
        })
    }
}

impl DetailRow {
    fn edits(&self, now: &StatusRow) -> Vec<Edit> {
        let account = |id: &String| Account::new(id);
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let (old, new) = (given(&self.old_value), given(&self.new_value));
        match self.name.as_str() {
            "assigned_to_id" => {
                let gone = old.as_ref().map(|id| Edit::Unassigned(account(id)));
                gone.into_iter().chain(new.as_ref().map(|id| Edit::Assigned(account(id)))).collect()
            }
            "status_id" if new == Some(now.id.to_string()) => {
                let closes = now.is_closed.unwrap_or(false).then_some(Edit::Closed);
                [Edit::Labelled(Status::new(&now.name))].into_iter().chain(closes).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use serde_json::{Value, json};

    fn answer(status: u16, body: &Value) -> WireResponse {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        WireResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_string().into() }
    }

    fn issue() -> Value {
        json!({ "issue": {
            "id": 7, "project": { "id": 3, "name": "Demo" }, "status": { "id": 2, "name": "In Progress", "is_closed": false },
            "author": { "id": 1, "name": "Redmine Admin" }, "assigned_to": { "id": 5, "name": "Ann Agent" },
        }})
    }

    #[test]
    fn an_issue_is_read_strictly() {
        let read = |issue: &Value| match item(&address(7), &answer(200, issue)) {
            ReadOutcome::Item(seen) => {
                let assignees: Vec<&str> = seen.assignees.iter().map(Account::as_str).collect();
                let status: Vec<&str> = seen.labels.iter().map(|label| label.name.as_str()).collect();
                let project = seen.locator.known_project();
                format!("{} {} in {project} {assignees:?} {status:?} {:?}", seen.key, seen.locator, seen.state)
            }
            ReadOutcome::Unreadable(why) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(read(&issue()), r#"7 #7 in 3 ["5"] ["In Progress"] Open"#);
        let without = |path: &str, name: &str| {
            let mut issue = issue();
            issue.pointer_mut(path).unwrap().as_object_mut().unwrap().shift_remove(name);
            issue
        };
        assert_eq!(read(&without("/issue", "assigned_to")), r#"7 #7 in 3 [] ["In Progress"] Open"#);
        assert!(read(&without("/issue", "status")).contains("missing field `status`"));
        assert!(read(&without("/issue/status", "is_closed")).contains("Redmine 5.0"));
        assert!(read(&without("/issue", "project")).contains("missing field `project`"));
        let mut other = issue();
        other["issue"]["id"] = json!(8);
        assert!(read(&other).contains("another issue"));
        for (status, denied) in [(401, true), (403, true), (404, true), (412, true), (500, false), (302, false)] {
            let outcome = item(&address(7), &answer(status, &json!({})));
            assert_eq!(matches!(outcome, ReadOutcome::Denied), denied, "{status}");
        }
    }

    #[test]
    fn whose_a_key_is() {
        let told = account(&answer(200, &json!({ "user": { "id": 5, "login": "ann", "api_key": "x" } })));
        let Whoami::Account(ann) = told else { panic!("{told:?}") };
        assert_eq!((ann.as_str(), ann.other_name()), ("5", Some("ann")));
        assert_eq!(account(&answer(401, &json!({}))), Whoami::Refused);
        assert!(matches!(account(&answer(200, &json!({ "user": {} }))), Whoami::Unreadable(_)));
    }

    #[test]
    fn journals_tell_who_did_what() {
        let mut issue = issue();
        let detail = |name: &str, old: Value, new: Value| json!({ "property": "attr", "name": name, "old_value": old, "new_value": new });
        issue["issue"]["journals"] = json!([
            { "id": 1, "user": { "id": 6, "name": "Bob" }, "details": [detail("assigned_to_id", json!("5"), json!("6"))] },
            { "id": 2, "user": { "id": 6, "name": "Bob" }, "details": [detail("status_id", json!("1"), json!("2")), detail("subject", json!("a"), json!("b"))] },
            { "id": 3, "details": [detail("assigned_to_id", json!("6"), json!("5"))] },
        ]);
        let told = timeline(&answer(200, &issue)).unwrap();
        let told: Vec<String> =
            told.iter().map(|entry| format!("{} {} {:?}", entry.id, entry.by, entry.edit)).collect();
        assert_eq!(told, [r#"1 Bob Unassigned("5")"#, r#"1 Bob Assigned("6")"#, "2 Bob Labelled(in progress)"]);
    }
}
