//! An issue's events, as far as they tell who changed assignees, labels and state (manual: github, section 4).
//!
//! They come oldest first, a hundred in a page. Of an issue with more the newest are not in the first, so that it tells
//! nothing.

use super::super::{Address, Credential, WireRequest, WireResponse};
use super::location::ItemPath;
use super::{emit, read};
use crate::model::{Edit, Status, TimelineEntry};
use serde::Deserialize;

#[derive(Deserialize)]
struct EventRow {
    id: u64,
    event: String,
    actor: Option<read::LoginRow>,
    assignee: Option<read::LoginRow>,
    label: Option<EventLabel>,
}

#[derive(Deserialize)]
struct EventLabel {
    name: String,
}

/// A read of them.
pub fn ask(address: &Address, credential: &Credential) -> WireRequest {
    emit::get(ItemPath::of(address).below("issues", &["events"]) + "?per_page=100", credential)
}

/// What that read showed; `None` where it cannot be used.
pub fn entries(response: &WireResponse) -> Option<Vec<TimelineEntry>> {
    let rows = read::typed::<Vec<EventRow>>(response).ok().filter(|_| response.status.is_success())?;
    (rows.len() < WHOLE_PAGE).then(|| rows.into_iter().filter_map(EventRow::entry).collect())
}

const WHOLE_PAGE: usize = 100;

impl EventRow {
    fn entry(self) -> Option<TimelineEntry> {
        let edit = match self.event.as_str() {
            "assigned" => Edit::Assigned(self.assignee?.account().ok()?),
            "unassigned" => Edit::Unassigned(self.assignee?.account().ok()?),
            "labeled" => Edit::Labelled(Status::new(&self.label?.name)),
            "unlabeled" => Edit::Unlabelled(Status::new(&self.label?.name)),
            "closed" => Edit::Closed,
            "reopened" => Edit::Reopened,
            _ => return None,
        };
        Some(TimelineEntry { id: self.id, by: self.actor?.account().ok()?, edit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use serde_json::{Value, json};

    fn told(rows: &Value) -> Option<Vec<String>> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let response = WireResponse { status: StatusCode::OK, headers, body: rows.to_string().into() };
        let entries = entries(&response)?;
        Some(entries.into_iter().map(|entry| format!("{} {} {:?}", entry.id, entry.by, entry.edit)).collect())
    }

    #[test]
    fn what_an_event_tells() {
        let (zoe, ann) = (json!({ "login": "zoe" }), json!({ "login": "ann" }));
        let rows = json!([
            { "id": 1, "event": "assigned", "actor": zoe, "assignee": ann },
            { "id": 2, "event": "unassigned", "actor": zoe, "assignee": ann },
            { "id": 3, "event": "labeled", "actor": zoe, "label": { "name": "Doing", "color": "f00" } },
            { "id": 4, "event": "unlabeled", "actor": zoe, "label": { "name": "doing" } },
            { "id": 5, "event": "closed", "actor": zoe },
            { "id": 6, "event": "reopened", "actor": ann },
            { "id": 7, "event": "subscribed", "actor": ann },
            { "id": 8, "event": "closed", "actor": null },
        ]);
        let wanted = [
            r#"1 zoe Assigned("ann")"#,
            r#"2 zoe Unassigned("ann")"#,
            "3 zoe Labelled(doing)",
            "4 zoe Unlabelled(doing)",
            "5 zoe Closed",
            "6 ann Reopened",
        ];
        assert_eq!(told(&rows).as_deref(), Some(&wanted.map(str::to_owned)[..]));
        assert_eq!(told(&Value::Array(vec![json!({ "id": 9, "event": "closed" }); 100])), None);
    }
}
