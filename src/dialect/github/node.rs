//! Nodes, which GraphQL names items, accounts and labels by: what they are called (manual: github, section 7).

use super::super::{Address, Credential, ReadOutcome, WireRequest, WireResponse};
use super::location::RepoPath;
use super::{emit, read};
use crate::model::{ItemKind, Place, Project};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct NodeAnswer {
    data: Option<NodeData>,
    #[serde(default)]
    errors: Vec<NodeError>,
}

#[derive(Deserialize)]
struct NodeData {
    node: Option<ItemNode>,
}

#[derive(Deserialize)]
struct ItemNode {
    number: Option<u64>,
    repository: Option<NodeRepository>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeRepository {
    name_with_owner: String,
}

#[derive(Deserialize)]
struct NodeError {
    #[serde(rename = "type")]
    kind: Option<String>,
    message: String,
}

#[derive(Deserialize)]
struct NamesAnswer {
    data: NamesData,
}

#[derive(Deserialize)]
struct NamesData {
    nodes: Vec<Option<NameNode>>,
}

#[derive(Deserialize)]
struct NameNode {
    login: Option<String>,
    name: Option<String>,
}

/// The address of the item with this node.
pub fn address(id: &str) -> Address {
    let route = format!("{PREFIX}{id}");
    Address { place: Place::new(&route), kind: ItemKind::Issue, route: route.into() }
}

/// The node of an address that names one.
pub fn id_of(address: &Address) -> Option<&str> {
    address.route.strip_prefix(PREFIX)
}

/// A read of a node that is an item or a label.
pub fn ask(id: &str, credential: &Credential) -> WireRequest {
    emit::document(NODE, &json!({ "id": id }), credential)
}

/// Where the item is.
pub fn item(response: &WireResponse) -> ReadOutcome {
    match response.status.as_u16() {
        200 => match read::typed::<NodeAnswer>(response).and_then(NodeAnswer::place) {
            Ok(Some(address)) => ReadOutcome::Moved(address),
            // GitHub says best itself that there is none.
            Ok(None) => ReadOutcome::Denied,
            Err(why) => ReadOutcome::Unreadable(why),
        },
        401 | 403 | 404 | 429 => ReadOutcome::Denied,
        status => ReadOutcome::Unreadable(format!("the tracker answered {status}")),
    }
}

/// What a label is called.
pub fn label(response: &WireResponse) -> Option<String> {
    read::typed::<NodeAnswer>(response).ok()?.data?.node?.name
}

/// A read of what these are called.
pub fn ask_names(ids: &[&str], credential: &Credential) -> WireRequest {
    emit::document(NAMES, &json!({ "ids": ids }), credential)
}

/// What that read showed of each; those that nobody knows are left out.
pub fn names(ids: &[&str], response: &WireResponse) -> Result<BTreeMap<String, String>, String> {
    let answer = read::typed::<NamesAnswer>(response)?;
    if answer.data.nodes.len() != ids.len() {
        return Err("the tracker's answer does not name each node".to_owned());
    }
    let named = |(id, node): (&&str, Option<NameNode>)| {
        let node = node?;
        Some(((*id).to_owned(), node.login.or(node.name)?))
    };
    Ok(ids.iter().zip(answer.data.nodes).filter_map(named).collect())
}

/// Whether an answer with errors says that GitHub itself has failed, so that nobody knows what it did.
pub fn has_failed(answer: &Map<String, Value>) -> bool {
    let errors = answer.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    errors.iter().any(|error| error["message"].as_str().is_some_and(|text| text.starts_with("Something went wrong")))
}

impl NodeAnswer {
    fn place(self) -> Result<Option<Address>, String> {
        let Self { data, errors } = self;
        let Some(node) = data.and_then(|data| data.node) else {
            let is_missing = errors.iter().any(|error| error.kind.as_deref() == Some("NOT_FOUND"));
            let why = errors.first().map_or("GitHub knows no such node", |error| error.message.as_str());
            return if is_missing { Ok(None) } else { Err(why.to_owned()) };
        };
        let (Some(number), Some(repository)) = (node.number, node.repository) else {
            return Err("the node is neither an issue nor a pull request".to_owned());
        };
        let repo =
            RepoPath::of(&Project::new(&repository.name_with_owner)).ok_or("the node has no usable repository")?;
        Ok(Some(repo.item(number, ItemKind::Issue)))
    }
}

/// No owner of a repository has a colon in its name.
const PREFIX: &str = "node:";
const NODE: &str = "query($id:ID!){node(id:$id){__typename ... on Issue{number repository{nameWithOwner}} \
    ... on PullRequest{number repository{nameWithOwner}} ... on Label{name}}}";
const NAMES: &str = "query($ids:[ID!]!){nodes(ids:$ids){__typename ... on User{login} ... on Bot{login} \
    ... on Mannequin{login} ... on Organization{login} ... on Label{name}}}";

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn answer(body: &Value) -> WireResponse {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        WireResponse { status: StatusCode::OK, headers, body: body.to_string().into() }
    }

    #[test]
    fn a_node_leads_to_its_item() {
        let told = |body: &Value| match item(&answer(body)) {
            ReadOutcome::Moved(address) => address.place.to_string(),
            other => format!("{other:?}"),
        };
        let issue = json!({ "data": { "node": { "__typename": "Issue", "number": 7, "repository": { "nameWithOwner": "Octo/Shop" } } } });
        assert_eq!(told(&issue), "octo/shop#7");
        let missing = json!({ "data": { "node": null }, "errors": [{ "type": "NOT_FOUND", "message": "Could not resolve to a node" }] });
        assert_eq!(told(&missing), "Denied");
        assert!(told(&json!({ "data": { "node": { "__typename": "User" } } })).contains("neither"));
    }

    #[test]
    fn names_come_in_the_order_in_which_they_were_asked_for() {
        let body = json!({ "data": { "nodes": [{ "login": "ann" }, null, { "name": "todo" }] } });
        let told = names(&["U_1", "U_2", "LA_1"], &answer(&body)).unwrap();
        assert_eq!(told, [("LA_1".to_owned(), "todo".to_owned()), ("U_1".to_owned(), "ann".to_owned())].into());
        assert!(names(&["U_1"], &answer(&body)).is_err());
    }
}
