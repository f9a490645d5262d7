//! A GraphQL document, before and after it is understood (manual: github, section 7).
//!
//! Queries pass. Of a mutation every field is read; what it does to items is judged as one request, all of it or nothing, and
//! is written anew. GitHub names items by nodes: a read of a node leads to the item's place, and one more read says what the
//! nodes of accounts and labels are called.

use super::super::graphql::{self, Mutation};
use super::super::refusal::{details, headed};
use super::super::{
    Address, Chosen, Credential, Guarded, GuardedRequest, GuardedRoute, Head, LabelOwner, ParseError, Request,
    Scrutiny, Sender, SideEffect, SideWrite, Subject, Understood, Wants, WireRequest, WireResponse,
};
use super::mutations::{ActorName, FieldEffect, NodeEdit, SetVerb, effect};
use super::{emit, node, read};
use crate::model::{Account, Change, Place, Project, Rejection, SetChange, Snapshot, TagId, TagRef};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Such a request, before its body.
#[derive(Clone, Debug)]
pub struct DocumentRoute {
    /// The path that it came by.
    pub(super) path: String,
}

/// A mutation that changes something guarded.
#[derive(Clone, Debug)]
pub struct DocumentWrite {
    path: String,
    mutation: Mutation,
    /// What becomes of each item, by its node, in the order in which they are named.
    items: Vec<(String, Vec<NodeEdit>)>,
}

impl GuardedRoute for DocumentRoute {
    fn class(&self) -> &'static str {
        "write"
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let operations = graphql::read(head, body)?;
        let mutation = match &operations.mutations[..] {
            [] => return Ok(Understood::default()),
            [mutation] if !operations.is_batch => mutation,
            _ => return Err(refuse("several documents with a mutation in one request: send each by itself")),
        };
        let (mut items, mut label) = (Vec::new(), None);
        for field in mutation.fields() {
            match effect(field)? {
                FieldEffect::Files if scrutiny.filing => {
                    return Err(refuse("a rule is about who files issues: file them by the REST API"));
                }
                FieldEffect::Passes | FieldEffect::Files => {}
                FieldEffect::Edits(id, edits) => add_edits(&mut items, id, edits),
                FieldEffect::Label(id, edit) if label.is_none() => label = Some((id, edit)),
                FieldEffect::Label(..) => return Err(refuse("it edits several labels: send each by itself")),
            }
        }
        items.retain(|(_, edits)| !edits.is_empty());
        expect_one_kind(&items)?;
        let beside = label.map(|(id, edit)| {
            let (owner, label) = (LabelOwner::Project(Project::new("-")), TagRef::Id(TagId::Text(id.into())));
            SideWrite { effect: SideEffect::EditLabel { owner, label, edit }, sender: None }
        });
        let guarded = (!items.is_empty())
            .then(|| Arc::new(DocumentWrite { path: self.path.clone(), mutation: mutation.clone(), items }) as Guarded);
        Ok(Understood { beside, guarded, ..Understood::default() })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reject(rejection, decision, None)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}

fn add_edits(items: &mut Vec<(String, Vec<NodeEdit>)>, id: String, edits: Vec<NodeEdit>) {
    match items.iter_mut().find(|(known, _)| *known == id) {
        Some((_, all)) => all.extend(edits),
        None => items.push((id, edits)),
    }
}

/// What a read shows afterwards is judged by that, and all else by itself.
fn expect_one_kind(items: &[(String, Vec<NodeEdit>)]) -> Result<(), ParseError> {
    let mut kinds = items.iter().flat_map(|(_, edits)| edits).map(|edit| matches!(edit, NodeEdit::Beside(_)));
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        return Err(refuse("it moves an item otherwise than by assignees, labels and state: send that by itself"));
    }
    Ok(())
}

/// 200, as GitHub tells what it does not carry out; no client repeats that. Where the gate has to be asked again the status says
/// so.
fn reject(rejection: &Rejection, decision: &str, path: Option<&str>) -> WireResponse {
    let own = details(rejection, decision);
    let extensions = json!({ "code": rejection.code.as_str(), "claimgate": own });
    let mut body = graphql::error_body(&rejection.message, path, &extensions);
    body["errors"][0]["type"] = "UNPROCESSABLE".into();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    let response = WireResponse { status: StatusCode::OK, headers, body: body.to_string().into() };
    let mut response = headed(rejection, decision, response);
    if !response.status.is_server_error() {
        response.status = StatusCode::OK;
    }
    response
}

// === impl DocumentWrite ===

impl DocumentWrite {
    fn address(id: &str) -> Address {
        node::address(id)
    }

    fn edits(&self) -> impl Iterator<Item = &NodeEdit> {
        self.items.iter().flat_map(|(_, edits)| edits)
    }

    /// The nodes whose names must be known, each once.
    fn named_nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = Vec::new();
        for edit in self.edits() {
            let of_edit: Vec<&str> = match edit {
                NodeEdit::Assignees(_, actors) => actors.iter().filter_map(ActorName::node).collect(),
                NodeEdit::Labels(_, labels) => labels.iter().map(String::as_str).collect(),
                NodeEdit::State(_) | NodeEdit::Beside(_) => Vec::new(),
            };
            for node in of_edit {
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        nodes
    }

    fn key(&self) -> Option<&str> {
        self.mutation.fields().first().map(|field| field.key.as_str())
    }
}

impl ActorName {
    fn node(&self) -> Option<&str> {
        match self {
            Self::Node(id) => Some(id),
            Self::Login(_) => None,
        }
    }
}

/// What the edits of one item come to. Two of one set are carried out one after another, so what they leave is known by what was
/// there.
fn spelled(edits: &[NodeEdit], seen: &Snapshot, names: &BTreeMap<String, String>) -> Result<Change, String> {
    let name = |id: &String| names.get(id).cloned().ok_or_else(|| format!("GitHub knows no account or label `{id}`"));
    let mut change = Change::default();
    for edit in edits {
        match edit {
            NodeEdit::Assignees(verb, actors) => {
                let actor = |actor: &ActorName| match actor {
                    ActorName::Node(id) => name(id).map(|login| Account::new(&login)),
                    ActorName::Login(login) => Ok(Account::new(login)),
                };
                let wanted = verb.of(actors.iter().map(actor).collect::<Result<_, _>>()?);
                change.assignees = Some(after(change.assignees.take(), wanted, &seen.assignees));
            }
            NodeEdit::Labels(verb, labels) => {
                let wanted = labels.iter().map(|id| name(id).map(TagRef::Name)).collect::<Result<_, _>>()?;
                let carried = seen.labels.iter().map(|label| TagRef::Name(label.name.clone())).collect();
                change.labels = Some(after(change.labels.take(), verb.of(wanted), &carried));
            }
            NodeEdit::State(state) => change.state = Some(*state),
            NodeEdit::Beside(_) => {}
        }
    }
    Ok(change)
}

fn after<T: Ord + Clone>(first: Option<SetChange<T>>, next: SetChange<T>, before: &BTreeSet<T>) -> SetChange<T> {
    match first {
        None => next,
        Some(first) => SetChange::Replace(next.apply(&first.apply(before))),
    }
}

impl SetVerb {
    fn of<T: Ord>(self, members: BTreeSet<T>) -> SetChange<T> {
        match self {
            Self::Replace => SetChange::Replace(members),
            Self::Add => SetChange::Add(members),
            Self::Remove => SetChange::Remove(members),
        }
    }
}

impl Request for DocumentWrite {
    fn locator(&self) -> Place {
        match &self.items[..] {
            [(id, _)] => Self::address(id).place,
            _ => Place::new("several items"),
        }
    }

    fn describe(&self) -> String {
        let fields = self.mutation.fields().iter().map(|field| field.name.as_str());
        fields.collect::<Vec<_>>().join(" ")
    }

    fn sender(&self) -> Option<&Sender> {
        None
    }

    fn is_about_one(&self) -> bool {
        self.items.len() == 1
    }
}

impl GuardedRequest for DocumentWrite {
    fn subject(&self) -> Subject {
        match &self.items[..] {
            [(id, _)] => Subject::At(Self::address(id)),
            items => Subject::Places(items.iter().map(|(id, _)| Self::address(id)).collect()),
        }
    }

    fn wants(&self) -> Wants<'_> {
        match self.edits().next() {
            Some(NodeEdit::Beside(_)) => Wants::Beside { moves: true },
            _ => Wants::Toggle,
        }
    }

    fn look_up(&self, credential: &Credential) -> Option<WireRequest> {
        let nodes = self.named_nodes();
        (!nodes.is_empty()).then(|| node::ask_names(&nodes, credential))
    }

    fn spell_out(&self, seen: &[(&Address, &Snapshot)], found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        let nodes = self.named_nodes();
        // Where nothing was looked up, what was found is the read of the item.
        let names = match found {
            Some(found) if !nodes.is_empty() => node::names(&nodes, found)?,
            _ => BTreeMap::new(),
        };
        let of_item = |(address, seen): &(&Address, &Snapshot)| {
            let item = self.items.iter().find(|(id, _)| Self::address(id).place == address.place);
            let (_, edits) = item.ok_or("an item was read that the document does not name")?;
            spelled(edits, seen, &names)
        };
        seen.iter().map(of_item).collect()
    }

    /// What a document selects of its answer only GitHub can say.
    fn asks_more(&self, _headers: &HeaderMap) -> bool {
        true
    }

    fn emit(&self, _chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest {
        let mut request = emit::write(Method::POST, self.path.clone(), (headers, credential), Some(String::new()));
        request.body = self.mutation.body();
        request
    }

    fn accept(&self, _read: Option<&WireResponse>) -> Option<WireResponse> {
        None
    }

    /// An error is told with 200.
    fn status(&self, response: &WireResponse) -> u16 {
        if response.status != StatusCode::OK {
            return response.status.as_u16();
        }
        match read::object(response) {
            Ok(answer) if answer.get("errors").is_none_or(Value::is_null) => 200,
            Ok(answer) if node::has_failed(&answer) => 502,
            Ok(_) => 422,
            Err(_) => 502,
        }
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reject(rejection, decision, self.key())
    }
}

fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}
