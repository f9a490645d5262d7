//! Documents of the gate's own (manual: linear).

use super::super::{Credential, WireRequest};
use super::read::ISSUE_FIELDS;
use super::routes::PATH;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

/// The most that Linear gives of a list at once.
pub const MOST_ROWS: usize = 250;

/// A document of the gate's own, with its variables.
pub fn document(query: &str, variables: &Value, credential: &Credential) -> WireRequest {
    body(json!({ "query": query, "variables": variables }).to_string().into(), credential)
}

/// A body that was written elsewhere.
pub fn body(body: Bytes, credential: &Credential) -> WireRequest {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    credential.apply(&mut headers);
    WireRequest { method: Method::POST, target: PATH.to_owned(), headers, body }
}

/// An issue, by its id or its identifier.
pub fn issue(id: &str, credential: &Credential) -> WireRequest {
    let query = format!("query ClaimgateIssue($id: String!) {{ issue(id: $id) {{ {ISSUE_FIELDS} }} }}");
    document(&query, &json!({ "id": id }), credential)
}

/// Whose the credential is.
pub fn viewer(credential: &Credential) -> WireRequest {
    document("query ClaimgateViewer { viewer { id displayName } }", &json!({}), credential)
}

/// What is asked where there is nothing more to ask for.
pub fn nothing(credential: &Credential) -> WireRequest {
    document("query ClaimgateNothing { __typename }", &json!({}), credential)
}

/// The workflow states of a team, and the labels that its issues may carry.
pub fn labels(team: Option<&str>, credential: &Credential) -> WireRequest {
    let query = "query ClaimgateLabels($states: WorkflowStateFilter, $labels: IssueLabelFilter, $most: Int) { \
        workflowStates(first: $most, filter: $states) { nodes { id name type } } \
        issueLabels(first: $most, filter: $labels) { nodes { id name } } }";
    let own = |team: &str| json!({ "team": { "key": { "eq": team } } });
    let (states, labels) = match team {
        Some(team) => (own(team), json!({ "or": [own(team), { "team": { "null": true } }] })),
        None => (Value::Null, Value::Null),
    };
    document(query, &json!({ "states": states, "labels": labels, "most": MOST_ROWS }), credential)
}

/// Which of these users are apps.
pub fn apps(ids: &[&str], credential: &Credential) -> WireRequest {
    let query = "query ClaimgateUsers($ids: [ID!]) { users(filter: { id: { in: $ids } }) { nodes { id app } } }";
    document(query, &json!({ "ids": ids }), credential)
}

/// The teams of the workspace.
pub fn teams(credential: &Credential) -> WireRequest {
    let query = "query ClaimgateTeams($most: Int) { teams(first: $most) { nodes { key } } }";
    document(query, &json!({ "most": MOST_ROWS }), credential)
}

/// Issues that a filter lets through, with what else is to be said of their order.
pub fn issues(filter: &Value, (order, most): (&str, usize), credential: &Credential) -> WireRequest {
    let query = format!(
        "query ClaimgateIssues($filter: IssueFilter, $most: Int) {{ issues(first: $most, filter: $filter, {order}) {{ nodes {{ {ISSUE_FIELDS} }} }} }}"
    );
    document(&query, &json!({ "filter": filter, "most": most.min(MOST_ROWS) }), credential)
}

/// Whether there is a user of this name.
pub fn user_named(name: &str, credential: &Credential) -> WireRequest {
    let query = "query ClaimgateUser($name: String!) { users(first: 1, filter: { displayName: { eq: $name } }) { nodes { id displayName } } }";
    document(query, &json!({ "name": name }), credential)
}
