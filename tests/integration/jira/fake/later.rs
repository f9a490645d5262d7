//! Bulk calls of Cloud: answered at once, carried out later.

use serde_json::{Value, json};

use super::api::rows;
use super::state::{Flavour, JiraState};
use super::{JiraReply, JiraRequest};

type Shared = std::sync::Arc<std::sync::Mutex<JiraState>>;

/// It is carried out before anybody can ask how it goes.
pub fn start(state: &Shared, request: &JiraRequest, what: &str) -> JiraReply {
    let mut rows = rows(state);
    if rows.flavour != Flavour::Cloud {
        return JiraReply::empty(404);
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match what {
        "transition" => {
            for input in body["bulkTransitionInputs"].as_array().into_iter().flatten() {
                for key in input["selectedIssueIdsOrKeys"].as_array().into_iter().flatten() {
                    let Some(issue) = rows.find(key.as_str().unwrap_or_default()).cloned() else { continue };
                    let to =
                        rows.projects[&issue.project].transitions.iter().find(|row| input["transitionId"] == row.id);
                    if let Some(to) = to.map(|row| row.to) {
                        rows.issues.get_mut(&issue.id).expect("it is there").status = to;
                    }
                }
            }
        }
        "fields" | "watch" | "unwatch" | "move" | "delete" => {}
        _ => return JiraReply::empty(404),
    }
    let id = 1 + rows.tasks.len() as u64;
    rows.tasks.insert(id, "COMPLETE");
    rows.log[request.seq].applied = true;
    JiraReply::json(201, json!({ "taskId": id.to_string() }))
}

pub fn progress(rows: &JiraState, task: &str) -> JiraReply {
    match task.parse().ok().and_then(|id: u64| rows.tasks.get(&id)) {
        Some(status) => JiraReply::json(200, json!({ "taskId": task, "status": status, "progressPercent": 100 })),
        None => JiraReply::error(404, "The task does not exist."),
    }
}
