//! Answers, as Jira writes them.

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::state::{FakeIssue, FakeStatus, FakeTransition, Flavour, JiraState};

#[derive(Clone, Debug)]
pub struct JiraReply {
    pub status: u16,
    pub body: Option<Value>,
    pub headers: Vec<(&'static str, String)>,
}

impl JiraReply {
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new() }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, body: None, headers: Vec::new() }
    }

    /// `{"errorMessages": […], "errors": {}}`
    pub fn error(status: u16, text: &str) -> Self {
        Self::json(status, json!({ "errorMessages": [text], "errors": {} }))
    }

    /// `{"errorMessages": [], "errors": {"field": …}}`
    pub fn invalid(field: &str, text: &str) -> Self {
        Self::json(400, json!({ "errorMessages": [], "errors": { field: text } }))
    }

    pub fn into_response(self) -> http::Response<Full<Bytes>> {
        let mut response = http::Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        if self.body.is_some() {
            response = response.header("content-type", "application/json;charset=UTF-8");
        }
        let body = self.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        response.body(Full::new(body)).expect("a response")
    }
}

impl JiraState {
    pub fn user_json(&self, login: &str) -> Value {
        let user = &self.users[login];
        match self.flavour {
            Flavour::Cloud => json!({
                "self": format!("{}/rest/api/3/user?accountId={}", self.base, user.account_id),
                "accountId": user.account_id, "accountType": "atlassian", "displayName": format!("{login} (agent)"),
                "active": true, "timeZone": "Etc/UTC", "emailAddress": format!("{login}@example.com"), "avatarUrls": {},
            }),
            Flavour::DataCenter => json!({
                "self": format!("{}/rest/api/2/user?username={login}", self.base),
                "name": login, "key": format!("JIRAUSER-{login}"), "displayName": format!("{login} (agent)"),
                "active": true, "timeZone": "Etc/UTC",
            }),
        }
    }

    pub fn status_json(&self, row: &FakeStatus) -> Value {
        let base = &self.base;
        let (id, name) = match row.category {
            "new" => (2, "To Do"),
            "done" => (3, "Done"),
            _ => (4, "In Progress"),
        };
        json!({
            "self": format!("{base}/rest/api/2/status/{}", row.id), "description": "", "iconUrl": format!("{base}/x.png"),
            "name": row.name, "id": row.id,
            "statusCategory": {
                "self": format!("{base}/rest/api/2/statuscategory/{id}"), "id": id, "key": row.category, "colorName": "blue-gray",
                "name": name,
            },
        })
    }

    pub fn transition_json(&self, row: &FakeTransition) -> Value {
        json!({
            "id": row.id, "name": row.name, "to": self.status_json(self.status(row.to)), "hasScreen": false,
            "isGlobal": row.from.is_empty(), "isInitial": false, "isConditional": row.for_assignee, "isLooped": false,
            "isAvailable": true,
        })
    }

    pub fn issue_json(&self, issue: &FakeIssue, version: &str, query: &[(String, String)]) -> Value {
        let value = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let project = &self.projects[&issue.project];
        let mut fields = issue.fields.clone();
        let own = json!({
            "assignee": issue.assignee.as_ref().map(|login| self.user_json(login)),
            "creator": self.user_json(&issue.creator),
            "status": self.status_json(self.status(issue.status)),
            "project": { "self": format!("{}/rest/api/{version}/project/{}", self.base, project.id), "id": project.id.to_string(),
                "key": project.key, "name": project.key },
            "issuetype": { "id": "10001", "name": "Task", "subtask": false },
        });
        fields.extend(own.as_object().cloned().unwrap_or_default());
        if let Some(wanted) = value("fields").filter(|wanted| !wanted.contains('*')) {
            let wanted: Vec<&str> = wanted.split(',').collect();
            fields.retain(|name, _| wanted.contains(&name.as_str()));
        }
        let expand: Vec<&str> = value("expand").unwrap_or_default().split(',').collect();
        let mut all = Map::new();
        all.insert("id".into(), issue.id.to_string().into());
        all.insert("key".into(), issue.key.clone().into());
        all.insert("self".into(), format!("{}/rest/api/{version}/issue/{}", self.base, issue.id).into());
        all.insert("fields".into(), fields.into());
        if expand.contains(&"changelog") {
            all.insert("changelog".into(), json!({ "histories": issue.histories, "total": issue.histories.len() }));
        }
        Value::Object(all)
    }
}
