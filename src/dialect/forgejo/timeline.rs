//! An item's timeline, as far as it tells who changed assignees, labels and state (manual: forgejo, section 6).
//!
//! Forgejo from 7 has it; Gitea 1.15 answers 404. Without the parameter `page` all of it comes at once, oldest first. What
//! leaves no entry is not in it: an account that lost its access, a label that was deleted.

use super::super::target::join;
use super::super::{Address, Credential, WireRequest, WireResponse};
use super::location::Location;
use super::{emit, read};
use crate::model::{Account, Edit, Status, TimelineEntry, is_short_name};
use serde::Deserialize;

/// A row, of whichever type.
#[derive(Deserialize)]
struct Row {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    body: Option<String>,
    assignee: Option<User>,
    removed_assignee: Option<bool>,
    label: Option<LabelRow>,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

#[derive(Deserialize)]
struct LabelRow {
    name: String,
}

/// A read of it.
pub fn ask(address: &Address, credential: &Credential) -> WireRequest {
    let Location { owner, repo, number } = Location::of(address);
    emit::get(join(&["api", "v1", "repos", owner, repo, "issues", number, "timeline"]), credential)
}

/// What that read showed; `None` where it cannot be used.
pub fn entries(response: &WireResponse) -> Option<Vec<TimelineEntry>> {
    if !response.status.is_success() {
        return None;
    }
    // A row whose parts cannot be loaded is null.
    let rows: Vec<Option<Row>> = read::typed(response).ok()?;
    Some(rows.into_iter().flatten().filter_map(Row::entry).collect())
}

// === impl Row ===

impl Row {
    fn entry(self) -> Option<TimelineEntry> {
        let edit = match self.kind.as_str() {
            "assignees" => {
                let login = Account::new(&self.assignee?.login);
                if self.removed_assignee == Some(true) { Edit::Unassigned(login) } else { Edit::Assigned(login) }
            }
            "label" => {
                let label = Status::new(&self.label?.name);
                if self.body.as_deref() == Some("1") { Edit::Labelled(label) } else { Edit::Unlabelled(label) }
            }
            "close" | "merge_pull" => Edit::Closed,
            "reopen" => Edit::Reopened,
            _ => return None,
        };
        let by = self.user.map(|user| user.login).filter(|login| is_short_name(login))?;
        Some(TimelineEntry { id: self.id, by: Account::new(&by), edit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use serde_json::{Value, json};

    fn read(status: StatusCode, rows: &Value) -> Option<Vec<String>> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let response = WireResponse { status, headers, body: rows.to_string().into() };
        Some(
            entries(&response)?
                .into_iter()
                .map(|entry| format!("{} {} {:?}", entry.id, entry.by, entry.edit))
                .collect(),
        )
    }

    #[test]
    fn what_a_row_tells() {
        let (zoe, ann) = (json!({ "login": "zoe" }), json!({ "login": "ann" }));
        let rows = json!([
            { "id": 1, "type": "comment", "user": zoe, "body": "hello" },
            null,
            { "id": 2, "type": "assignees", "user": zoe, "body": "", "assignee": ann, "removed_assignee": false },
            { "id": 3, "type": "assignees", "user": zoe, "body": "", "assignee": ann, "removed_assignee": true },
            { "id": 4, "type": "label", "user": zoe, "body": "1", "label": { "name": "Doing" } },
            { "id": 5, "type": "label", "user": zoe, "body": "", "label": { "name": "doing" } },
            { "id": 6, "type": "close", "user": zoe, "body": "" },
            { "id": 7, "type": "reopen", "user": ann, "body": "" },
            { "id": 8, "type": "merge_pull", "user": ann, "body": "" },
            // Of an assigned team, of a deleted label, of nobody, of a kind that is new.
            { "id": 9, "type": "assignees", "user": zoe, "assignee": null, "assignee_team": { "name": "all" } },
            { "id": 10, "type": "label", "user": zoe, "body": "1", "label": null },
            { "id": 11, "type": "close", "user": null, "body": "" },
            { "id": 12, "type": "later", "user": zoe },
        ]);
        let told = [
            r#"2 zoe Assigned("ann")"#,
            r#"3 zoe Unassigned("ann")"#,
            "4 zoe Labelled(doing)",
            "5 zoe Unlabelled(doing)",
            "6 zoe Closed",
            "7 ann Reopened",
            "8 ann Closed",
        ];
        assert_eq!(read(StatusCode::OK, &rows).as_deref(), Some(&told.map(str::to_owned)[..]));
        assert_eq!(read(StatusCode::NOT_FOUND, &json!([])), None);
        assert_eq!(read(StatusCode::OK, &json!({ "message": "no" })), None);
    }
}
