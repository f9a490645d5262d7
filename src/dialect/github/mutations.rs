//! What the fields of a GraphQL mutation do to items (manual: github, section 7).
//!
//! Items, accounts and labels are named by node ids, of which GitHub reads an old form and a new one. What a field is not known
//! to do is refused where it names an item, and passes elsewhere.

use super::super::graphql::{ExecutedField, items_of};
use super::super::{LabelEdit, ParseError};
use crate::model::OpenState;
use serde_json::{Map, Value};

/// How a set changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetVerb {
    /// It becomes exactly this.
    Replace,
    /// These join it.
    Add,
    /// These leave it.
    Remove,
}

/// An account as a mutation names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActorName {
    /// By its node.
    Node(String),
    /// By its login.
    Login(String),
}

/// What one field does to one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEdit {
    /// Who is assigned.
    Assignees(SetVerb, Vec<ActorName>),
    /// Which labels it carries, by their nodes.
    Labels(SetVerb, Vec<String>),
    /// Whether it is open.
    State(OpenState),
    /// It moves otherwise; the text is for the audit.
    Beside(&'static str),
}

/// What one field does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEffect {
    /// Nothing that is guarded.
    Passes,
    /// This to the item with this node.
    Edits(String, Vec<NodeEdit>),
    /// This to the label with this node, wherever it is.
    Label(String, LabelEdit),
    /// It files an item.
    Files,
}

/// What this field does.
pub fn effect(field: &ExecutedField) -> Result<FieldEffect, ParseError> {
    let empty = Map::new();
    let input = match field.arguments.get("input") {
        Some(Value::Object(input)) => input,
        Some(Value::Null) | None => &empty,
        Some(_) => return Err(refuse(field, "its `input` is no object")),
    };
    let edits = |id: &str, edits| Ok(FieldEffect::Edits(text(field, input, id)?, edits));
    match field.name.as_str() {
        "addAssigneesToAssignable" => edits("assignableId", vec![named_actors(field, input, SetVerb::Add)?]),
        "removeAssigneesFromAssignable" => edits("assignableId", vec![named_actors(field, input, SetVerb::Remove)?]),
        "replaceActorsForAssignable" => edits("assignableId", vec![replaced_actors(field, input)?]),
        "updateIssue" => edits("id", of_update(field, input)?),
        "updatePullRequest" => edits("pullRequestId", of_update(field, input)?),
        "closeIssue" => edits("issueId", vec![NodeEdit::State(OpenState::Closed)]),
        "reopenIssue" => edits("issueId", vec![NodeEdit::State(OpenState::Open)]),
        "closePullRequest" => edits("pullRequestId", vec![NodeEdit::State(OpenState::Closed)]),
        "reopenPullRequest" => edits("pullRequestId", vec![NodeEdit::State(OpenState::Open)]),
        "addLabelsToLabelable" => edits("labelableId", vec![labels(field, input, SetVerb::Add)?]),
        "removeLabelsFromLabelable" => edits("labelableId", vec![labels(field, input, SetVerb::Remove)?]),
        "clearLabelsFromLabelable" => edits("labelableId", vec![NodeEdit::Labels(SetVerb::Replace, Vec::new())]),
        "transferIssue" => edits("issueId", vec![NodeEdit::Beside("transfer")]),
        "deleteIssue" => edits("issueId", vec![NodeEdit::Beside("delete")]),
        "unmarkIssueAsDuplicate" => edits("duplicateId", vec![NodeEdit::Beside("unmark as a duplicate")]),
        "setIssueFieldValue" | "createIssueFieldValue" | "updateIssueFieldValue" | "deleteIssueFieldValue" => {
            edits("issueId", vec![NodeEdit::Beside("set issue fields")])
        }
        "archivePullRequest" | "unarchivePullRequest" => edits("pullRequestId", vec![NodeEdit::Beside("archive")]),
        "updateLabel" => {
            let name = input.get("name").and_then(Value::as_str).map(str::to_owned);
            let edit = LabelEdit::Change { name, exclusive: None, archived: None };
            Ok(FieldEffect::Label(text(field, input, "id")?, edit))
        }
        "deleteLabel" => Ok(FieldEffect::Label(text(field, input, "id")?, LabelEdit::Delete)),
        "createIssue" => Ok(FieldEffect::Files),
        "deleteRef" => Err(refuse(field, "it may close pull requests: delete the branch by the REST API")),
        name if PASS.contains(&name) => Ok(FieldEffect::Passes),
        _ if field.arguments.values().any(names_item) => {
            Err(refuse(field, "it names an issue or a pull request, and the gate does not know what it does to it"))
        }
        _ => Ok(FieldEffect::Passes),
    }
}

/// An edit of an issue or a pull request: fields that are left out stay as they are.
fn of_update(field: &ExecutedField, input: &Map<String, Value>) -> Result<Vec<NodeEdit>, ParseError> {
    let mut edits = Vec::new();
    if input.contains_key("assigneeIds") {
        edits.push(NodeEdit::Assignees(SetVerb::Replace, nodes(field, input, "assigneeIds")?));
    }
    if let Some(assignees) = input.get("assignees") {
        let actors = items_of(assignees).iter().map(|entry| actor(field, entry)).collect::<Result<_, _>>()?;
        edits.push(NodeEdit::Assignees(SetVerb::Replace, actors));
    }
    if edits.len() > 1 {
        return Err(refuse(field, "`assignees` and `assigneeIds` are two ways to say one thing: use one"));
    }
    if input.contains_key("labelIds") {
        edits.push(labels(field, input, SetVerb::Replace)?);
    }
    match input.get("state").map(Value::as_str) {
        None => {}
        Some(Some("OPEN")) => edits.push(NodeEdit::State(OpenState::Open)),
        Some(Some("CLOSED")) => edits.push(NodeEdit::State(OpenState::Closed)),
        Some(_) => return Err(refuse(field, "`state` must be OPEN or CLOSED")),
    }
    let is_assigned = edits.iter().any(|edit| matches!(edit, NodeEdit::Assignees(..)));
    if !is_assigned && input.get("agentAssignment").is_some_and(|agent| !agent.is_null()) {
        return Err(refuse(field, "`agentAssignment` assigns somebody: name whom by `assigneeIds`"));
    }
    Ok(edits)
}

/// `{actorId, rationale, …}`; what is only proposed is not assigned.
fn actor(field: &ExecutedField, entry: &Value) -> Result<ActorName, ParseError> {
    if entry.get("suggest").is_some_and(|suggest| *suggest != Value::Bool(false)) {
        return Err(refuse(field, "it proposes an assignee: do that by the REST API"));
    }
    match entry.get("actorId").and_then(Value::as_str) {
        Some(id) => Ok(ActorName::Node(id.to_owned())),
        None => Err(refuse(field, "each of `assignees` must have an `actorId`")),
    }
}

fn named_actors(field: &ExecutedField, input: &Map<String, Value>, verb: SetVerb) -> Result<NodeEdit, ParseError> {
    let actors = nodes(field, input, "assigneeIds")?;
    if actors.is_empty() && input.get("agentAssignment").is_some_and(|agent| !agent.is_null()) {
        return Err(refuse(field, "`agentAssignment` assigns somebody: name whom by `assigneeIds`"));
    }
    Ok(NodeEdit::Assignees(verb, actors))
}

fn replaced_actors(field: &ExecutedField, input: &Map<String, Value>) -> Result<NodeEdit, ParseError> {
    let mut actors = nodes(field, input, "actorIds")?;
    let logins = texts(field, input, "actorLogins")?;
    actors.extend(logins.into_iter().map(ActorName::Login));
    Ok(NodeEdit::Assignees(SetVerb::Replace, actors))
}

fn labels(field: &ExecutedField, input: &Map<String, Value>, verb: SetVerb) -> Result<NodeEdit, ParseError> {
    let known = ["labelableId", "id", "pullRequestId", "labelIds", "clientMutationId"];
    let others = input.keys().any(|name| !known.contains(&name.as_str()) && name.starts_with("label"));
    if others {
        return Err(refuse(field, "it names labels otherwise than by `labelIds`: use those"));
    }
    Ok(NodeEdit::Labels(verb, texts(field, input, "labelIds")?))
}

fn nodes(field: &ExecutedField, input: &Map<String, Value>, name: &str) -> Result<Vec<ActorName>, ParseError> {
    Ok(texts(field, input, name)?.into_iter().map(ActorName::Node).collect())
}

/// A list of texts; one stands for a list of it, and none for an empty one.
fn texts(field: &ExecutedField, input: &Map<String, Value>, name: &str) -> Result<Vec<String>, ParseError> {
    let Some(value) = input.get(name) else { return Ok(Vec::new()) };
    let each = items_of(value).iter().map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned));
    each.collect::<Option<_>>().ok_or_else(|| refuse(field, &format!("`{name}` must be a list of ids")))
}

fn text(field: &ExecutedField, input: &Map<String, Value>, name: &str) -> Result<String, ParseError> {
    let id = input.get(name).and_then(Value::as_str).filter(|id| is_node_id(id)).map(str::to_owned);
    id.ok_or_else(|| refuse(field, &format!("`{name}` must be the id of one node")))
}

/// Of printable letters, none of which would end a path or a text.
fn is_node_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=+/".contains(&byte);
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain)
}

/// Whether somewhere in it an issue or a pull request is named.
fn names_item(value: &Value) -> bool {
    match value {
        Value::String(text) => ITEMS.iter().any(|prefix| text.starts_with(prefix)),
        Value::Array(items) => items.iter().any(names_item),
        Value::Object(members) => members.values().any(names_item),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn refuse(field: &ExecutedField, why: &str) -> ParseError {
    ParseError::Ambiguous(format!("the mutation `{}`: {why}", field.name))
}

const LONGEST_ID: usize = 200;
/// How the ids of issues and pull requests begin: the new ones, and the old (`05:Issue`, `011:PullRequest` in base 64).
const ITEMS: [&str; 4] = ["I_", "PR_", "MDU6SXNzdWU", "MDExOlB1bGxSZXF1ZXN0"];
/// Mutations that name an item and change nothing that is guarded. A merge closes a pull request, and is asked of whoever may merge.
#[rustfmt::skip]
const PASS: &[&str] = &[
    "addBlockedBy", "addComment", "addProjectV2ItemById", "addPullRequestReview", "addPullRequestReviewComment",
    "addPullRequestReviewThread", "addPullRequestReviewThreadReply", "addReaction", "addSubIssue",
    "convertPullRequestToDraft", "createLinkedBranch", "dequeuePullRequest", "disablePullRequestAutoMerge",
    "enablePullRequestAutoMerge", "enqueuePullRequest", "lockLockable", "markFileAsViewed", "markPullRequestReadyForReview",
    "mergePullRequest", "pinIssue", "removeBlockedBy", "removeReaction", "removeSubIssue", "reprioritizeSubIssue",
    "requestReviews", "requestReviewsByLogin", "revertPullRequest", "submitPullRequestReview", "unlockLockable",
    "unmarkFileAsViewed", "unpinIssue", "updateIssueIssueType", "updatePullRequestBranch", "updateSubscription",
];

#[cfg(test)]
mod tests {
    use super::super::super::graphql;
    use super::super::super::{Head, Target};
    use super::*;
    use http::{HeaderMap, Method};
    use serde_json::json;

    fn of(query: &str, variables: &Value) -> Result<Vec<FieldEffect>, ParseError> {
        let (target, mut headers) = (Target::parse("/graphql"), HeaderMap::new());
        headers.insert("content-type", "application/json".parse().unwrap());
        let head = Head { method: &Method::POST, target: &target, headers: &headers };
        let body = json!({ "query": query, "variables": variables }).to_string();
        let operations = graphql::read(&head, body.as_bytes())?;
        operations.mutations.iter().flat_map(|mutation| mutation.fields().iter().map(effect)).collect()
    }

    #[track_caller]
    fn check(query: &str, variables: &Value, expected: &str) {
        let told = match of(query, variables) {
            Ok(effects) => format!("{effects:?}"),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(expected), "{query}: {told}");
    }

    #[test]
    fn what_clients_send() {
        let input = json!({ "input": { "id": "I_1", "assigneeIds": ["U_1"] } });
        let gh = "mutation IssueUpdate($input:UpdateIssueInput!){updateIssue(input:$input){__typename}}";
        check(gh, &input, r#"[Edits("I_1", [Assignees(Replace, [Node("U_1")])])]"#);
        let newer = "mutation ReplaceActorsForAssignable($input: ReplaceActorsForAssignableInput!){replaceActorsForAssignable(input:$input){__typename}}";
        let input = json!({ "input": { "assignableId": "I_1", "actorIds": ["U_1"], "actorLogins": ["ann"] } });
        check(newer, &input, r#"[Assignees(Replace, [Node("U_1"), Login("ann")])]"#);
        let input = json!({ "input": { "labelableId": "I_1", "labelIds": ["LA_1"] } });
        let add =
            "mutation LabelAdd($input:AddLabelsToLabelableInput!){addLabelsToLabelable(input:$input){__typename}}";
        check(add, &input, r#"[Edits("I_1", [Labels(Add, ["LA_1"])])]"#);
        check(
            r#"mutation{closeIssue(input:{issueId:"I_1"}){issue{id}}}"#,
            &json!({}),
            r#"[Edits("I_1", [State(Closed)])]"#,
        );
        check(
            r#"mutation{a:closeIssue(input:{issueId:"I_1"}){__typename} b:addLabelsToLabelable(input:{labelableId:"I_2",labelIds:"LA_1"}){__typename}}"#,
            &json!({}),
            r#"[Edits("I_1", [State(Closed)]), Edits("I_2", [Labels(Add, ["LA_1"])])]"#,
        );
        let literal = r#"mutation{updateIssue(input:{id:"I_1",labelIds:[],state:CLOSED,title:"t"}){issue{id}}}"#;
        check(literal, &json!({}), "[Labels(Replace, []), State(Closed)]");
        check(r#"mutation{updateIssue(input:{id:"I_1",title:"t"}){issue{id}}}"#, &json!({}), r#"[Edits("I_1", [])]"#);
    }

    #[test]
    fn what_passes_and_what_is_refused() {
        check(r#"mutation{addComment(input:{subjectId:"I_1",body:"b"}){clientMutationId}}"#, &json!({}), "[Passes]");
        check(r#"mutation{addStar(input:{starrableId:"R_1"}){clientMutationId}}"#, &json!({}), "[Passes]");
        check(r#"mutation{moveIssueAway(input:{issueId:"I_1"}){clientMutationId}}"#, &json!({}), "does not know");
        check(r#"mutation{other(input:{x:[{y:"MDU6SXNzdWUx"}]}){clientMutationId}}"#, &json!({}), "does not know");
        check("mutation{closeIssue(input:{issueId:5}){clientMutationId}}", &json!({}), "the id of one node");
        check(
            r#"mutation{updateIssue(input:{id:"I_1",assignees:[{actorId:"U_1",suggest:true}]}){issue{id}}}"#,
            &json!({}),
            "proposes",
        );
        check(
            r#"mutation{updateIssue(input:{id:"I_1",agentAssignment:{baseRef:"m"}}){issue{id}}}"#,
            &json!({}),
            "name whom",
        );
        check("query{viewer{login}}", &json!({}), "[]");
        check(
            r#"mutation{deleteLabel(input:{id:"LA_1"}){clientMutationId}}"#,
            &json!({}),
            r#"[Label("LA_1", Delete)]"#,
        );
        check(r#"mutation{createIssue(input:{repositoryId:"R_1",title:"t"}){issue{id}}}"#, &json!({}), "[Files]");
    }
}
