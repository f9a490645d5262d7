//! An item's timeline, as far as it tells who changed assignees, labels and state (manual: forgejo, section 6).
//!
//! Forgejo from 7 has it; Gitea 1.15 answers 404. Without the parameter `page` all of it comes at once, oldest first. What
//! leaves no entry is not in it: an account that lost its access, a label that was deleted.

use super::super::target::join;
use super::super::{Address, Credential, WireRequest, WireResponse};
use super::{emit, read};
use crate::model::{Edit, Login, Status, TimelineEntry, is_short_name};
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
    let (owner, repo, number) = (&address.owner, &address.repo, address.number.to_string());
    emit::get(join(&["api", "v1", "repos", owner, repo, "issues", &number, "timeline"]), credential)
}

/// What that read showed; `None` where it cannot be used.
pub fn entries(response: &WireResponse) -> Option<Vec<TimelineEntry>> {
    if !response.status.is_success() {
        return None;
    }
    let rows: Vec<Row> = read::typed(response).ok()?;
    Some(rows.into_iter().filter_map(Row::entry).collect())
}

// === impl Row ===

impl Row {
    fn entry(self) -> Option<TimelineEntry> {
        let edit = match self.kind.as_str() {
            "assignees" => {
                let login = Login::new(&self.assignee?.login);
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
        Some(TimelineEntry { id: self.id, by: Login::new(&by), edit })
    }
}
