//! Routes about the forge itself, its users, repositories and collaborators.

use http::StatusCode;
use serde_json::{Value, json};

use super::body::{MemberKind, Schema};
use super::call::ForgeCall;
use super::options::Feature;
use super::render;
use super::reply::{FakeReply, HandlerResult};
use super::store::{Repo, TokenScope, User};

const EDIT_REPO: Schema = Schema {
    name: "EditRepoOption",
    members: &[("name", MemberKind::TextPointer), ("private", MemberKind::Flag), ("archived", MemberKind::Flag)],
};

/// As the real one is configured by default.
const LARGEST_PAGE: usize = 50;

const SCOPE: &str = "token does not have at least one of required scope(s): [read:user]";

pub(super) fn version(call: &ForgeCall) -> FakeReply {
    FakeReply::ok(&json!({ "version": call.forge.options.version }))
}

pub(super) fn me(call: &ForgeCall) -> HandlerResult {
    let by = call.by()?;
    if call.who.is_ok_and(|who| matches!(who.scope, TokenScope::WithoutUser | TokenScope::RepositoryOnly)) {
        return Err(call.error(StatusCode::FORBIDDEN, SCOPE));
    }
    let state = call.state();
    let own = state.users.get(&by.user).map(|user| render::user(&state, user, true));
    Ok(FakeReply::ok(&own.unwrap_or_default()))
}

pub(super) fn user(call: &ForgeCall) -> HandlerResult {
    let state = call.state();
    let found = state.user_named(call.path.login()).ok_or_else(|| FakeReply::not_found(&state.root))?;
    Ok(FakeReply::ok(&render::user(&state, found, call.user() == Some(found.id))))
}

/// The user with the number `uid`; without one, those whose name has the text `q`.
pub(super) fn search_users(call: &ForgeCall) -> FakeReply {
    let state = call.state();
    let uid = call.query.first("uid").and_then(|id| id.parse::<u64>().ok()).filter(|id| *id > 0);
    let text = call.query.first("q").unwrap_or("").to_lowercase();
    let wanted = |user: &&User| match uid {
        Some(id) => user.id == id,
        None => user.login.to_lowercase().contains(&text),
    };
    let found: Vec<_> = state.users.values().filter(wanted).map(|found| render::user(&state, found, false)).collect();
    FakeReply::ok(&json!({ "ok": true, "data": found }))
}

/// Tells even a token without `read:user` who it is, where the version has it.
pub(super) fn userinfo(call: &ForgeCall) -> HandlerResult {
    let by = call.by()?;
    if !call.has(Feature::Userinfo) {
        return Err(FakeReply::empty(StatusCode::UNAUTHORIZED));
    }
    let login = call.state().login(by.user);
    Ok(FakeReply::ok(&json!({
        "sub": by.user.to_string(),
        "name": "",
        "preferred_username": login,
        "email": format!("{login}@x.test"),
        "picture": "",
        "groups": [],
    })))
}

/// What the caller may read, by id, page by page.
pub(super) fn search(call: &ForgeCall) -> FakeReply {
    let number = |key: &str| call.query.first(key).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let size = if number("limit") == 0 { LARGEST_PAGE } else { number("limit").min(LARGEST_PAGE) };
    let state = call.state();
    let archived = |repo: &Repo| match call.query.first("archived") {
        Some("true") => repo.archived,
        Some("false") => !repo.archived,
        _ => true,
    };
    let seen = state.repos.values().filter(|repo| state.can_read(repo, call.user()) && archived(repo));
    let page = seen.skip((number("page").max(1) - 1) * size).take(size);
    let data: Vec<Value> = page.map(|repo| render::repository(&state, repo, call.user())).collect();
    FakeReply::ok(&json!({ "ok": true, "data": data }))
}

pub(super) fn get(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let state = call.state();
    Ok(FakeReply::ok(&render::repository(&state, &state.repos[&repo], call.user())))
}

/// Renames, hides or archives; the old name stays as a redirect.
pub(super) fn edit(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    let fields = call.bind(&EDIT_REPO)?;
    let mut state = call.state();
    if let Some(name) = fields.text("name").filter(|name| !name.is_empty()) {
        state.rename_repo(repo, name);
    }
    if let Some(row) = state.repos.get_mut(&repo) {
        row.private = fields.flag("private").unwrap_or(row.private);
        row.archived = fields.flag("archived").unwrap_or(row.archived);
    }
    state.mark_applied(by);
    Ok(FakeReply::ok(&render::repository(&state, &state.repos[&repo], Some(by.user))))
}

pub(super) fn delete(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    let mut state = call.state();
    for issue in state.repos[&repo].numbers.values().copied().collect::<Vec<_>>() {
        state.delete_issue(issue, by);
    }
    state.repos.remove(&repo);
    super::beside::close_pulls(&mut state, by, |_, pull| pull.from == Some(repo));
    state.mark_applied(by);
    Ok(FakeReply::no_content())
}

pub(super) fn is_collaborator(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    call.by()?;
    let state = call.state();
    let row = &state.repos[&repo];
    let user = state.user_named(call.path.child()).map(|user| user.id);
    match user.filter(|user| row.writers.contains(user) || row.readers.contains(user)) {
        Some(_) => Ok(FakeReply::no_content()),
        None => Err(FakeReply::not_found(&state.root)),
    }
}

/// Who may write here, and of teams who may read pull requests; never the other readers, though they may be assigned.
pub(super) fn assignees(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    call.by()?;
    let state = call.state();
    let row = &state.repos[&repo];
    let listed =
        |user: &&User| row.owner == user.id || row.writers.contains(&user.id) || row.pull_readers.contains(&user.id);
    let listed: Vec<Value> =
        state.users.values().filter(listed).map(|user| render::user(&state, user, false)).collect();
    Ok(FakeReply::ok(&Value::from(listed)))
}

pub(super) fn add_collaborator(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    let mut state = call.state();
    let user = state.user_named(call.path.child()).map(|user| user.id);
    let Some(user) = user else {
        return Err(FakeReply::error(&state.root, StatusCode::UNPROCESSABLE_ENTITY, "user does not exist"));
    };
    if let Some(row) = state.repos.get_mut(&repo) {
        row.writers.insert(user);
    }
    state.mark_applied(by);
    Ok(FakeReply::no_content())
}

/// Unassigns the user from every issue as well, and no timeline tells of it.
pub(super) fn remove_collaborator(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.writer(repo)?;
    let mut state = call.state();
    let user = state.user_named(call.path.child()).map(|user| user.id);
    let Some(user) = user else {
        return Err(FakeReply::error(&state.root, StatusCode::UNPROCESSABLE_ENTITY, "user does not exist"));
    };
    state.remove_collaborator(repo, user, by);
    Ok(FakeReply::no_content())
}
