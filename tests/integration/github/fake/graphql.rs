//! GraphQL over the same state: the part of GitHub's schema that its clients use for issues. A field that is not in it is an error,
//! as to GitHub.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::server::{Asked, Reply};
use super::state::{Issue, State, node_id};
use super::syntax::{Document, Operation, Selected, Unless, parse};
use super::{mutations, render};

/// An object of the schema.
#[derive(Clone, Debug)]
pub enum Node {
    Query,
    Mutation,
    /// By repository and number.
    Item(u64, u64),
    User(u64),
    Repo(u64),
    /// By repository and id.
    Label(u64, u64),
    /// All nodes of a list, and of which there are that many.
    Connection(Vec<Node>, usize, bool),
    /// What stands as it is.
    Plain(Value),
    /// What a mutation answers: an item, and what else.
    Payload(Option<Box<Node>>, Value),
}

/// What a field gives.
pub enum Given {
    Value(Value),
    One(Node),
    Many(Vec<Node>),
}

/// An error of one field.
pub struct FieldError {
    pub kind: &'static str,
    pub message: String,
}

pub type Field = Result<Given, FieldError>;

struct Execution<'a> {
    asked: &'a Asked,
    document: &'a Document,
    variables: Map<String, Value>,
    errors: Vec<Value>,
}

pub fn answer(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    asked.user()?;
    let body = asked.object()?;
    let Some(text) = body["query"].as_str() else {
        return Err(Reply::error(StatusCode::BAD_REQUEST, "A query attribute must be specified and must be a string."));
    };
    let failed = |message: &str| Reply::ok(json!({ "errors": [{ "message": message, "type": "PARSE" }] }));
    let document = parse(text).map_err(|why| failed(&why))?;
    let named = body["operationName"].as_str();
    let wanted = |operation: &&Operation| named.is_none() || operation.name.as_deref() == named;
    let mut chosen = document.operations.iter().filter(wanted);
    let operation = match (chosen.next(), chosen.next()) {
        (Some(operation), None) => operation.clone(),
        _ => return Err(failed("An operation name is required")),
    };
    let mut variables = Map::new();
    for (name, value) in &operation.defaults {
        variables.insert(name.clone(), value.with(&Map::new()).unwrap_or_default());
    }
    variables.extend(body["variables"].as_object().cloned().unwrap_or_default());
    let root = if operation.kind == "mutation" { Node::Mutation } else { Node::Query };
    let mut execution = Execution { asked, document: &document, variables, errors: Vec::new() };
    let data = execution.object(state, &root, &operation.within, &mut Vec::new());
    let mut told = json!({ "data": data });
    if !execution.errors.is_empty() {
        told["errors"] = execution.errors.into();
    }
    Ok(Reply::ok(told))
}

impl Execution<'_> {
    fn object(&mut self, state: &mut State, node: &Node, within: &[Selected], path: &mut Vec<String>) -> Value {
        let mut shown = Map::new();
        self.fields(state, node, within, (path, &mut shown));
        Value::Object(shown)
    }

    fn fields(
        &mut self,
        state: &mut State,
        node: &Node,
        within: &[Selected],
        (path, shown): (&mut Vec<String>, &mut Map<String, Value>),
    ) {
        for selected in within {
            match selected {
                Selected::Field { key, name, arguments, within, unless } if self.stays(unless) => {
                    let arguments: Map<String, Value> = arguments
                        .iter()
                        .filter_map(|(name, value)| Some((name.clone(), value.with(&self.variables)?)))
                        .collect();
                    path.push(key.clone());
                    let value = self.field(state, node, (name, &arguments, within), path);
                    path.pop();
                    merge(shown, key, value);
                }
                Selected::Fragment { on, spread, within, unless } if self.stays(unless) => {
                    let known = self.document.fragments.iter().find(|(name, ..)| Some(name) == spread.as_ref());
                    let (on, within) = match known {
                        Some((_, on, within)) => (Some(on.clone()), within.clone()),
                        None => (on.clone(), within.clone()),
                    };
                    if on.is_none_or(|on| is_of(state, node, &on)) {
                        self.fields(state, node, &within, (path, shown));
                    }
                }
                Selected::Field { .. } | Selected::Fragment { .. } => {}
            }
        }
    }

    fn stays(&self, unless: &Unless) -> bool {
        unless.iter().all(|(wanted, value)| value.with(&self.variables) == Some(Value::Bool(*wanted)))
    }

    fn field(
        &mut self,
        state: &mut State,
        node: &Node,
        (name, arguments, within): (&str, &Map<String, Value>, &[Selected]),
        path: &mut Vec<String>,
    ) -> Value {
        let given = match node {
            _ if name == "__typename" => Ok(Given::Value(type_of(state, node).into())),
            Node::Mutation => mutations::carry_out(state, self.asked, name, &arguments["input"]),
            node => resolve(state, self.asked, node, (name, arguments)),
        };
        match given {
            Ok(Given::Value(value)) => value,
            Ok(Given::One(node)) => self.object(state, &node, within, path),
            Ok(Given::Many(nodes)) => nodes
                .iter()
                .map(|node| match node {
                    Node::Plain(Value::Null) => Value::Null,
                    node => self.object(state, node, within, path),
                })
                .collect(),
            Err(FieldError { kind, message }) => {
                let path: Vec<&String> = path.iter().collect();
                self.errors.push(json!({ "type": kind, "path": path, "message": message,
                    "locations": [{ "line": 1, "column": 1 }] }));
                Value::Null
            }
        }
    }
}

fn merge(shown: &mut Map<String, Value>, key: &str, value: Value) {
    match (shown.get_mut(key), value) {
        (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
        (_, value) => drop(shown.insert(key.to_owned(), value)),
    }
}

fn type_of(state: &State, node: &Node) -> &'static str {
    match node {
        Node::Query => "Query",
        Node::Mutation => "Mutation",
        Node::Item(repo, number) if state.issue(*repo, *number).is_some_and(|issue| issue.branch.is_some()) => {
            "PullRequest"
        }
        Node::Item(..) => "Issue",
        Node::User(id) => state.user(*id).kind,
        Node::Repo(_) => "Repository",
        Node::Label(..) => "Label",
        Node::Connection(..) => "Connection",
        Node::Plain(_) => "Object",
        Node::Payload(..) => "Payload",
    }
}

fn is_of(state: &State, node: &Node, wanted: &str) -> bool {
    let own = type_of(state, node);
    let also: &[&str] = match own {
        "Issue" | "PullRequest" => &["Node", "Assignable", "Labelable", "Closable", "Lockable", "Comment"],
        "User" | "Bot" => &["Node", "Actor", "RepositoryOwner"],
        _ => &["Node"],
    };
    own == wanted || also.contains(&wanted)
}

fn resolve(state: &mut State, asked: &Asked, node: &Node, (name, arguments): (&str, &Map<String, Value>)) -> Field {
    match node {
        Node::Query => of_query(state, asked, (name, arguments)),
        Node::Repo(repo) => of_repo(state, asked, *repo, (name, arguments)),
        Node::Item(repo, number) => of_item(state, (*repo, *number), (name, arguments)),
        Node::User(id) => of_user(state, *id, name),
        Node::Label(repo, id) => {
            let label = state.label(*repo, *id);
            Ok(Given::Value(match name {
                "id" => node_id("LA", label.id).into(),
                "name" => label.name.clone().into(),
                "color" => label.color.clone().into(),
                "description" => Value::Null,
                _ => return Err(unknown("Label", name)),
            }))
        }
        Node::Connection(nodes, total, more) => match name {
            "nodes" => Ok(Given::Many(nodes.clone())),
            "totalCount" | "issueCount" => Ok(Given::Value((*total).into())),
            "pageInfo" => {
                let end = nodes.last().map(cursor);
                Ok(Given::One(Node::Plain(json!({ "hasNextPage": more, "endCursor": end, "hasPreviousPage": false }))))
            }
            _ => Err(unknown("Connection", name)),
        },
        Node::Plain(value) => match value.get(name) {
            Some(Value::Object(inner)) => Ok(Given::One(Node::Plain(Value::Object(inner.clone())))),
            Some(value) => Ok(Given::Value(value.clone())),
            None => Err(unknown("Object", name)),
        },
        Node::Payload(item, more) => match (name, item, more.get(name)) {
            ("issue" | "pullRequest" | "assignable" | "labelable" | "subject" | "node", Some(item), _) => {
                Ok(Given::One((**item).clone()))
            }
            (_, _, Some(value)) => resolve(state, asked, &Node::Plain(json!({ name: value })), (name, arguments)),
            ("clientMutationId", ..) => Ok(Given::Value(Value::Null)),
            _ => Err(unknown("Payload", name)),
        },
        Node::Mutation => Err(unknown("Mutation", name)),
    }
}

fn unknown(kind: &str, name: &str) -> FieldError {
    FieldError { kind: "undefinedField", message: format!("Field '{name}' doesn't exist on type '{kind}'") }
}

fn not_found(message: String) -> FieldError {
    FieldError { kind: "NOT_FOUND", message }
}

/// The item, account, label or repository with this id, in the new form or the old.
pub fn find(state: &State, id: &str) -> Option<Node> {
    let issue = |issue: &&Issue| issue.node_id() == id || Issue::old_node_id(issue.id) == id;
    if let Some(issue) = state.issues.iter().find(issue) {
        return Some(Node::Item(issue.repo, issue.number));
    }
    if let Some(user) = state.users.iter().find(|user| node_id("U", user.id) == id) {
        return Some(Node::User(user.id));
    }
    let labels = state.repos.iter().flat_map(|repo| repo.labels.iter().map(|label| (repo.id, label.id)));
    let label = labels.into_iter().find(|(_, label)| node_id("LA", *label) == id);
    let repo = state.repos.iter().find(|repo| node_id("R", repo.id) == id).map(|repo| Node::Repo(repo.id));
    label.map(|(repo, label)| Node::Label(repo, label)).or(repo)
}

fn of_query(state: &mut State, asked: &Asked, (name, arguments): (&str, &Map<String, Value>)) -> Field {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
    match name {
        "viewer" => {
            let own = asked.user.as_ref().map(|user| user.id);
            own.map(|id| Given::One(Node::User(id))).ok_or_else(|| unknown("Query", name))
        }
        "repository" => {
            let (owner, name) = (text("owner"), text("name"));
            let repo = state.repo_named(owner, name).map(|repo| repo.id);
            repo.map(|repo| Given::One(Node::Repo(repo)))
                .ok_or_else(|| not_found(format!("Could not resolve to a Repository with the name '{owner}/{name}'.")))
        }
        "node" => find(state, text("id"))
            .map(Given::One)
            .ok_or_else(|| not_found(format!("Could not resolve to a node with the global id of '{}'", text("id")))),
        "nodes" => {
            let ids = arguments.get("ids").and_then(Value::as_array).cloned().unwrap_or_default();
            let found =
                ids.iter().map(|id| find(state, id.as_str().unwrap_or_default()).unwrap_or(Node::Plain(Value::Null)));
            Ok(Given::Many(found.collect()))
        }
        "search" => Ok(Given::One(search(state, text("query")))),
        "__type" => Ok(Given::Value(Value::Null)),
        _ => Err(unknown("Query", name)),
    }
}

/// `no:assignee label:todo repo:acme/app state:open type:issue`
fn search(state: &State, query: &str) -> Node {
    let has = |issue: &Issue, term: &str| match term.split_once(':') {
        Some(("no", "assignee")) => issue.assignees.is_empty(),
        Some(("assignee", login)) => issue.assignees.iter().any(|id| state.user(*id).login == login),
        Some(("label", name)) => {
            issue.labels.iter().any(|id| state.label(issue.repo, *id).name == name.trim_matches('"'))
        }
        Some(("state", wanted)) => issue.open == (wanted == "open"),
        Some(("type", kind)) => issue.branch.is_some() == (kind == "pr"),
        Some(("repo", name)) => {
            let repo = state.repo(issue.repo);
            format!("{}/{}", repo.owner, repo.name) == name
        }
        _ => true,
    };
    let found: Vec<Node> = state
        .issues
        .iter()
        .filter(|issue| query.split_whitespace().all(|term| has(issue, term)))
        .map(|issue| Node::Item(issue.repo, issue.number))
        .collect();
    let total = found.len();
    Node::Connection(found, total, false)
}

fn of_repo(state: &mut State, asked: &Asked, repo: u64, (name, arguments): (&str, &Map<String, Value>)) -> Field {
    let row = state.repo(repo);
    let number = || arguments.get("number").and_then(Value::as_u64).unwrap_or_default();
    Ok(Given::Value(match name {
        "id" => node_id("R", repo).into(),
        "databaseId" => repo.into(),
        "name" => row.name.clone().into(),
        "nameWithOwner" => format!("{}/{}", row.owner, row.name).into(),
        "owner" => return Ok(Given::One(Node::Plain(json!({ "login": row.owner })))),
        "hasIssuesEnabled" | "hasWikiEnabled" | "mergeCommitAllowed" | "rebaseMergeAllowed" | "squashMergeAllowed" => {
            true.into()
        }
        "description" | "parent" => Value::Null,
        "viewerPermission" => {
            let pushes = asked.user.as_ref().is_some_and(|user| state.may_push(repo, &user.login));
            if pushes { "WRITE" } else { "READ" }.into()
        }
        "defaultBranchRef" => return Ok(Given::One(Node::Plain(json!({ "name": "main" })))),
        "issue" | "pullRequest" | "issueOrPullRequest" => {
            let number = number();
            return match state.issue(repo, number) {
                Some(_) => Ok(Given::One(Node::Item(repo, number))),
                None => Err(not_found(format!(
                    "Could not resolve to an issue or pull request with the number of {number}."
                ))),
            };
        }
        "issues" => return Ok(Given::One(issues(state, repo, arguments))),
        "labels" => {
            let all = row.labels.iter().map(|label| Node::Label(repo, label.id)).collect();
            return Ok(Given::One(page(all, arguments)));
        }
        "assignableUsers" => {
            let all = state.users.iter().map(|user| Node::User(user.id)).collect();
            return Ok(Given::One(page(all, arguments)));
        }
        _ => return Err(unknown("Repository", name)),
    }))
}

fn issues(state: &State, repo: u64, arguments: &Map<String, Value>) -> Node {
    let states: Vec<&str> = match arguments.get("states") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => vec!["OPEN", "CLOSED"],
    };
    let login = arguments.get("filterBy").and_then(|by| by["assignee"].as_str());
    let fits = |issue: &&Issue| {
        let assigned = login.is_none_or(|login| issue.assignees.iter().any(|id| state.user(*id).login == login));
        let is_open = if issue.open { "OPEN" } else { "CLOSED" };
        issue.repo == repo && issue.branch.is_none() && states.contains(&is_open) && assigned
    };
    let mut all: Vec<Node> =
        state.issues.iter().filter(fits).map(|issue| Node::Item(issue.repo, issue.number)).collect();
    if arguments.get("orderBy").is_some_and(|by| by["direction"] == "DESC") {
        all.reverse();
    }
    page(all, arguments)
}

fn cursor(node: &Node) -> String {
    format!("{node:?}")
}

fn page(all: Vec<Node>, arguments: &Map<String, Value>) -> Node {
    let total = all.len();
    let after = arguments.get("after").and_then(Value::as_str).filter(|after| !after.is_empty());
    let from = after.and_then(|after| all.iter().position(|node| cursor(node) == after)).map_or(0, |at| at + 1);
    let size = arguments.get("first").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok()).unwrap_or(30);
    let more = from + size < total;
    Node::Connection(all.into_iter().skip(from).take(size).collect(), total, more)
}

fn of_item(state: &State, (repo, number): (u64, u64), (name, arguments): (&str, &Map<String, Value>)) -> Field {
    let issue = state.issue(repo, number).ok_or_else(|| not_found("it is gone".to_owned()))?;
    let shown = render::issue(state, issue);
    Ok(Given::Value(match name {
        "id" => issue.node_id().into(),
        "databaseId" | "fullDatabaseId" => issue.id.into(),
        "number" => number.into(),
        "title" | "body" | "locked" => shown[name].clone(),
        "state" => if issue.open { "OPEN" } else { "CLOSED" }.into(),
        "stateReason" => issue.state_reason.clone().map_or(Value::Null, |reason| reason.to_uppercase().into()),
        "url" => shown["html_url"].clone(),
        "updatedAt" => shown["updated_at"].clone(),
        "createdAt" => shown["created_at"].clone(),
        "isPinned" => false.into(),
        "repository" => return Ok(Given::One(Node::Repo(repo))),
        "author" => return Ok(Given::One(Node::User(issue.author))),
        "assignees" => {
            return Ok(Given::One(page(issue.assignees.iter().map(|id| Node::User(*id)).collect(), arguments)));
        }
        "labels" => {
            return Ok(Given::One(page(issue.labels.iter().map(|id| Node::Label(repo, *id)).collect(), arguments)));
        }
        "comments" => {
            let rows = issue.comments.iter().map(|comment| Node::Plain(render::comment(state, issue, comment)));
            return Ok(Given::One(page(rows.collect(), arguments)));
        }
        "milestone" => Value::Null,
        "reactionGroups" => json!([]),
        _ => return Err(unknown("Issue", name)),
    }))
}

fn of_user(state: &State, id: u64, name: &str) -> Field {
    let user = state.user(id);
    Ok(Given::Value(match name {
        "id" => node_id("U", id).into(),
        "databaseId" => id.into(),
        "login" => user.login.clone().into(),
        "name" => user.login.to_uppercase().into(),
        _ => return Err(unknown("User", name)),
    }))
}
