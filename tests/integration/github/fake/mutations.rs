//! What GraphQL mutations do to the state.

use serde_json::{Value, json};

use super::graphql::{Field, FieldError, Given, Node, find};
use super::issues::{set_assignees, set_labels, set_open};
use super::server::Asked;
use super::state::{Comment, State};

type At = (u64, u64);

pub fn carry_out(state: &mut State, asked: &Asked, name: &str, input: &Value) -> Field {
    let item = |state: &State, member: &str| item(state, input, member);
    let done = |at: At| Ok(Given::One(Node::Payload(Some(Box::new(Node::Item(at.0, at.1))), json!({}))));
    match name {
        "updateIssue" | "updatePullRequest" => {
            let at = item(state, if name == "updateIssue" { "id" } else { "pullRequestId" })?;
            update(state, asked, at, input)?;
            done(at)
        }
        "addAssigneesToAssignable" | "removeAssigneesFromAssignable" | "replaceActorsForAssignable" => {
            let at = item(state, "assignableId")?;
            assign(state, asked, at, (name, input))?;
            done(at)
        }
        "addLabelsToLabelable" | "removeLabelsFromLabelable" | "clearLabelsFromLabelable" => {
            let at = item(state, "labelableId")?;
            expect_push(state, asked, at)?;
            let named = labels(state, &input["labelIds"])?;
            let now = carried(state, at);
            let now = match name {
                "addLabelsToLabelable" => [now, named].concat(),
                "removeLabelsFromLabelable" => now.into_iter().filter(|id| !named.contains(id)).collect(),
                _ => Vec::new(),
            };
            set_labels(state, asked, at, now);
            done(at)
        }
        "closeIssue" | "reopenIssue" | "closePullRequest" | "reopenPullRequest" => {
            let at = item(state, if name.ends_with("Issue") { "issueId" } else { "pullRequestId" })?;
            expect_push(state, asked, at)?;
            set_open(state, asked, at, (name.starts_with("reopen"), None));
            done(at)
        }
        "addComment" => {
            let at = item(state, "subjectId")?;
            let row = Comment {
                id: state.id(),
                author: asked.user.as_ref().map_or(0, |user| user.id),
                body: input["body"].as_str().unwrap_or_default().to_owned(),
            };
            let url = format!("https://github.com/acme/app/issues/{}#issuecomment-{}", at.1, row.id);
            state.edit(at.0, at.1, |issue| issue.comments.push(row));
            let edge = json!({ "commentEdge": { "node": { "url": url } } });
            Ok(Given::One(Node::Payload(Some(Box::new(Node::Item(at.0, at.1))), edge)))
        }
        "createIssue" => create(state, asked, input),
        "transferIssue" => {
            let at = item(state, "issueId")?;
            let Some(Node::Repo(to)) = find(state, input["repositoryId"].as_str().unwrap_or_default()) else {
                return Err(missing("repositoryId"));
            };
            expect_push(state, asked, at)?;
            let number = state.transfer(at.0, at.1, to);
            done((to, number))
        }
        _ => Err(FieldError {
            kind: "undefinedField",
            message: format!("Field '{name}' doesn't exist on type 'Mutation'"),
        }),
    }
}

fn update(state: &mut State, asked: &Asked, at: At, input: &Value) -> Result<(), FieldError> {
    expect_push(state, asked, at)?;
    let assignees = input.get("assigneeIds").filter(|ids| !ids.is_null()).map(|ids| users(state, ids)).transpose()?;
    let named = input.get("labelIds").filter(|ids| !ids.is_null()).map(|ids| labels(state, ids)).transpose()?;
    let title = input["title"].as_str().map(str::to_owned);
    if let Some(assignees) = assignees {
        assigned(set_assignees(state, asked, at, assignees))?;
    }
    if let Some(named) = named {
        set_labels(state, asked, at, named);
    }
    if let Some(state_wanted) = input["state"].as_str() {
        set_open(state, asked, at, (state_wanted == "OPEN", None));
    }
    state.edit(at.0, at.1, |issue| {
        if let Some(title) = title {
            issue.title = title;
        }
    });
    Ok(())
}

fn assign(state: &mut State, asked: &Asked, at: At, (name, input): (&str, &Value)) -> Result<(), FieldError> {
    expect_push(state, asked, at)?;
    let mut named = users(state, if name.starts_with("replace") { &input["actorIds"] } else { &input["assigneeIds"] })?;
    for login in input["actorLogins"].as_array().into_iter().flatten() {
        let user = state.user_named(login.as_str().unwrap_or_default()).ok_or_else(|| missing("actorLogins"))?;
        named.push(user.id);
    }
    let now = state.issue(at.0, at.1).map(|issue| issue.assignees.clone()).unwrap_or_default();
    let wanted = match name {
        "addAssigneesToAssignable" => [now, named].concat(),
        "removeAssigneesFromAssignable" => now.into_iter().filter(|id| !named.contains(id)).collect(),
        _ => named,
    };
    assigned(set_assignees(state, asked, at, wanted))
}

fn create(state: &mut State, asked: &Asked, input: &Value) -> Field {
    let Some(Node::Repo(repo)) = find(state, input["repositoryId"].as_str().unwrap_or_default()) else {
        return Err(missing("repositoryId"));
    };
    let author = asked.user.as_ref().map(|user| user.login.clone()).unwrap_or_default();
    let number = state.add_issue(repo, &author, input["title"].as_str().unwrap_or_default(), None).number;
    let assignees = users(state, &input["assigneeIds"])?;
    assigned(set_assignees(state, asked, (repo, number), assignees))?;
    Ok(Given::One(Node::Payload(Some(Box::new(Node::Item(repo, number))), json!({}))))
}

fn assigned<E>(done: Result<(), E>) -> Result<(), FieldError> {
    done.map_err(|_| FieldError { kind: "UNPROCESSABLE", message: "at most 10 may be assigned".to_owned() })
}

fn item(state: &State, input: &Value, member: &str) -> Result<At, FieldError> {
    match find(state, input[member].as_str().unwrap_or_default()) {
        Some(Node::Item(repo, number)) => Ok((repo, number)),
        _ => Err(missing(member)),
    }
}

fn missing(member: &str) -> FieldError {
    FieldError { kind: "NOT_FOUND", message: format!("Could not resolve to a node with the global id of `{member}`") }
}

fn users(state: &State, ids: &Value) -> Result<Vec<u64>, FieldError> {
    named(ids)
        .iter()
        .map(|id| match find(state, id) {
            Some(Node::User(user)) => Ok(user),
            _ => Err(missing(id)),
        })
        .collect()
}

fn labels(state: &State, ids: &Value) -> Result<Vec<u64>, FieldError> {
    named(ids)
        .iter()
        .map(|id| match find(state, id) {
            Some(Node::Label(_, label)) => Ok(label),
            _ => Err(missing(id)),
        })
        .collect()
}

/// A list, for which one stands, too.
fn named(ids: &Value) -> Vec<String> {
    match ids {
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(one) => vec![one.clone()],
        _ => Vec::new(),
    }
}

fn carried(state: &State, at: At) -> Vec<u64> {
    state.issue(at.0, at.1).map(|issue| issue.labels.clone()).unwrap_or_default()
}

fn expect_push(state: &State, asked: &Asked, at: At) -> Result<(), FieldError> {
    let may = asked.user.as_ref().is_some_and(|user| state.may_push(at.0, &user.login));
    let message = || "You do not have permission to do that".to_owned();
    if may { Ok(()) } else { Err(FieldError { kind: "FORBIDDEN", message: message() }) }
}
