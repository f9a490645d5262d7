//! Calls about a repository: itself, its labels, who may be assigned there.

use http::StatusCode;
use serde_json::{Value, json};

use super::server::{Answer, Asked, Reply};
use super::state::State;
use super::{lists, render};

/// Those that the account sees.
pub fn list(state: &State, asked: &Asked) -> Reply {
    let login = asked.user.as_ref().map(|user| user.login.as_str());
    let rows = state.repos.iter().map(|repo| render::repo(state, repo, login)).collect();
    lists::page(state, asked, rows)
}

pub fn below(state: &mut State, asked: &Asked, repo: u64, tail: &[&str]) -> Answer {
    let login = asked.user.as_ref().map(|user| user.login.clone());
    match (asked.method.as_str(), tail) {
        ("GET", []) => Ok(Reply::ok(render::repo(state, state.repo(repo), login.as_deref()))),
        ("GET", ["labels"]) => {
            let row = state.repo(repo);
            let rows = row.labels.iter().map(|label| render::label(state, row, label)).collect();
            Ok(lists::page(state, asked, rows))
        }
        ("POST", ["labels"]) => {
            let body = asked.object()?;
            let Some(name) = body["name"].as_str() else { return Err(Reply::invalid("Label", "name")) };
            let id = state.label_named(repo, name);
            Ok(Reply::of(StatusCode::CREATED, label(state, repo, id)))
        }
        (_, ["labels", name]) => of_label(state, asked, repo, name),
        ("GET", ["assignees"]) => {
            let rows = state.users.iter().map(|user| render::user(state, user)).collect();
            Ok(lists::page(state, asked, rows))
        }
        ("GET", ["assignees", login]) => {
            state.user_named(login).ok_or_else(Reply::missing)?;
            Ok(Reply::empty())
        }
        ("DELETE", ["git", "refs", "heads", branch @ ..]) => {
            let branch = branch.join("/");
            for issue in state.issues.iter_mut().filter(|it| it.repo == repo && it.branch.as_deref() == Some(&branch)) {
                issue.open = false;
            }
            Ok(Reply::empty())
        }
        _ => Err(Reply::missing()),
    }
}

fn of_label(state: &mut State, asked: &Asked, repo: u64, name: &str) -> Answer {
    let found = state.repo(repo).labels.iter().find(|label| label.name.to_lowercase() == name.to_lowercase());
    let id = found.ok_or_else(Reply::missing)?.id;
    match asked.method.as_str() {
        "GET" => {}
        "PATCH" | "POST" => {
            let body = asked.object()?;
            if let Some(name) = body["new_name"].as_str() {
                let labels = &mut state.repo_mut(repo).labels;
                for label in labels.iter_mut().filter(|label| label.id == id) {
                    name.clone_into(&mut label.name);
                }
            }
        }
        "DELETE" => {
            for issue in state.issues.iter_mut().filter(|issue| issue.repo == repo) {
                issue.labels.retain(|carried| *carried != id);
            }
            state.repo_mut(repo).labels.retain(|label| label.id != id);
            return Ok(Reply::empty());
        }
        _ => return Err(Reply::of(StatusCode::METHOD_NOT_ALLOWED, json!({ "message": "Method Not Allowed" }))),
    }
    Ok(Reply::ok(label(state, repo, id)))
}

fn label(state: &State, repo: u64, id: u64) -> Value {
    render::label(state, state.repo(repo), state.label(repo, id))
}
