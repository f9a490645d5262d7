//! Rows as the API shows them: the member names, their order and their nesting are those of the recordings.

use serde_json::{Value, json};

use super::journal::{Event, Happening};
use super::store::{Comment, ForgeState, Issue, Label, Pull, Repo, Review, User};

/// What Go shows for a time that was never set.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A user; with `own`, as users see themselves.
pub(super) fn user(state: &ForgeState, user: &User, own: bool) -> Value {
    json!({
        "id": user.id,
        "login": user.login,
        "full_name": "",
        "email": format!("{}@x.test", user.login),
        "avatar_url": format!("{}/user/avatar/{}/-1", state.root, user.login),
        "language": "",
        "is_admin": own && user.admin,
        "last_login": if own { "1970-01-01T00:00:00Z" } else { NEVER },
        "created": time(user.created),
        "restricted": false,
        "active": own,
        "prohibit_login": false,
        "location": "",
        "website": "",
        "description": "",
        "visibility": "public",
        "followers_count": 0,
        "following_count": 0,
        "starred_repos_count": 0,
        "username": user.login,
    })
}

pub(super) fn user_of(state: &ForgeState, id: u64) -> Value {
    state.users.get(&id).map_or(Value::Null, |found| user(state, found, false))
}

/// The recorded version knows nothing of `exclusive`; newer ones always say it.
pub(super) fn label(label: &Label) -> Value {
    let mut value = json!({
        "id": label.id,
        "name": label.name,
        "color": label.color,
        "description": label.description,
        "url": "",
    });
    if label.exclusive {
        value["exclusive"] = Value::Bool(true);
    }
    value
}

/// A repository's labels, by name.
pub(super) fn repo_labels(repo: &Repo) -> Value {
    sorted(repo.labels.values().collect())
}

/// An issue's labels, by name.
pub(super) fn issue_labels(state: &ForgeState, issue: &Issue) -> Value {
    let Some(repo) = state.repos.get(&issue.repo) else {
        return json!([]);
    };
    sorted(issue.labels.iter().filter_map(|id| state.label_for(repo, *id)).collect())
}

fn sorted(mut labels: Vec<&Label>) -> Value {
    labels.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    labels.into_iter().map(label).collect()
}

fn assignees(state: &ForgeState, issue: &Issue) -> (Value, Value) {
    let list: Vec<Value> = issue.assignees.iter().map(|id| user_of(state, *id)).collect();
    match list.first().cloned() {
        Some(first) => (first, Value::from(list)),
        None => (Value::Null, Value::Null),
    }
}

fn state_name(issue: &Issue) -> &'static str {
    if issue.closed_at.is_some() { "closed" } else { "open" }
}

fn links(state: &ForgeState, issue: &Issue, kind: &str) -> (String, String) {
    let name = state.repos.get(&issue.repo).map(|repo| state.full_name(repo)).unwrap_or_default();
    let root = &state.root;
    (format!("{root}/api/v1/repos/{name}/issues/{}", issue.number), format!("{root}/{name}/{kind}/{}", issue.number))
}

pub(super) fn issue(state: &ForgeState, issue: &Issue) -> Value {
    let Some(repo) = state.repos.get(&issue.repo) else {
        return Value::Null;
    };
    let kind = if issue.pull.is_some() { "pulls" } else { "issues" };
    let (url, html_url) = links(state, issue, kind);
    let (assignee, assignees) = assignees(state, issue);
    let pull = issue
        .pull
        .as_ref()
        .map(|pull| json!({ "merged": pull.merged.is_some(), "merged_at": pull.merged.map(|merged| time(merged.at)) }));
    json!({
        "id": issue.id,
        "url": url,
        "html_url": html_url,
        "number": issue.number,
        "user": user_of(state, issue.poster),
        "original_author": "",
        "original_author_id": 0,
        "title": issue.title,
        "body": issue.body,
        "ref": issue.git_ref,
        "labels": issue_labels(state, issue),
        "milestone": null,
        "assignee": assignee,
        "assignees": assignees,
        "state": state_name(issue),
        "is_locked": false,
        "comments": issue.comments.len(),
        "created_at": time(issue.created),
        "updated_at": time(issue.updated),
        "closed_at": issue.closed_at.map(time),
        "due_date": null,
        "pull_request": pull,
        "repository": {
            "id": repo.id,
            "name": repo.name,
            "owner": state.login(repo.owner),
            "full_name": state.full_name(repo),
        },
    })
}

pub(super) fn pull(state: &ForgeState, issue: &Issue) -> Value {
    let (Some(repo), Some(row)) = (state.repos.get(&issue.repo), &issue.pull) else {
        return Value::Null;
    };
    let (_, html_url) = links(state, issue, "pulls");
    let (assignee, assignees) = assignees(state, issue);
    let branch = |name: &str, of: u64| {
        let of = state.repos.get(&of).map(|of| repository(state, of, None));
        json!({ "label": name, "ref": name, "sha": head(row), "repo_id": repo.id, "repo": of })
    };
    json!({
        "id": row.id,
        "url": html_url,
        "number": issue.number,
        "user": user_of(state, issue.poster),
        "title": issue.title,
        "body": issue.body,
        "labels": issue_labels(state, issue),
        "milestone": null,
        "assignee": assignee,
        "assignees": assignees,
        "state": state_name(issue),
        "is_locked": false,
        "comments": issue.comments.len(),
        "html_url": html_url,
        "diff_url": format!("{html_url}.diff"),
        "patch_url": format!("{html_url}.patch"),
        "mergeable": row.merged.is_none() && issue.closed_at.is_none(),
        "merged": row.merged.is_some(),
        "merged_at": row.merged.map(|merged| time(merged.at)),
        "merge_commit_sha": row.merged.map(|_| sha(row.id + 1_000_000)),
        "merged_by": row.merged.map(|merged| user_of(state, merged.by)),
        "base": branch(&row.base, repo.id),
        "head": branch(&row.head, row.from.unwrap_or(repo.id)),
        "merge_base": sha(0),
        "due_date": null,
        "created_at": time(issue.created),
        "updated_at": time(issue.updated),
        "closed_at": issue.closed_at.map(time),
    })
}

/// The commit at the end of a pull request's branch.
pub(super) fn head(pull: &Pull) -> String {
    sha(pull.id + pull.pushes * 1_000)
}

/// A commit's name that depends on nothing but a number.
pub(super) fn sha(number: u64) -> String {
    format!("{number:040x}")
}

pub(super) fn review(state: &ForgeState, issue: &Issue, pull: &Pull, review: &Review) -> Value {
    let (_, html_url) = links(state, issue, "pulls");
    json!({
        "id": review.id,
        "user": user_of(state, review.user),
        "team": null,
        "state": review.state,
        "body": review.body,
        "commit_id": review.commit,
        "stale": review.commit != head(pull),
        "official": true,
        "dismissed": review.dismissed,
        "comments_count": 0,
        "submitted_at": time(review.at),
        "html_url": format!("{html_url}#issuecomment-{}", review.id),
        "pull_request_url": html_url,
    })
}

pub(super) fn comment(state: &ForgeState, issue: &Issue, comment: &Comment) -> Value {
    let (_, html_url) = links(state, issue, if issue.pull.is_some() { "pulls" } else { "issues" });
    let (of_issue, of_pull) = if issue.pull.is_some() { ("", html_url.as_str()) } else { (html_url.as_str(), "") };
    json!({
        "id": comment.id,
        "html_url": format!("{html_url}#issuecomment-{}", comment.id),
        "pull_request_url": of_pull,
        "issue_url": of_issue,
        "user": user_of(state, comment.user),
        "original_author": "",
        "original_author_id": 0,
        "body": comment.body,
        "created_at": time(comment.created),
        "updated_at": time(comment.created),
    })
}

/// An issue's timeline by id; what happens silently is not in it.
pub(super) fn timeline(state: &ForgeState, issue: &Issue) -> Value {
    let events = issue.events.iter().filter(|event| !event.silent).map(|event| (event.id, entry(state, issue, event)));
    let comments = issue.comments.iter().map(|row| {
        let mut entry = comment(state, issue, row);
        entry["type"] = "comment".into();
        (row.id, entry)
    });
    let mut entries: Vec<(u64, Value)> = events.chain(comments).collect();
    entries.sort_by_key(|(id, _)| *id);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn entry(state: &ForgeState, issue: &Issue, event: &Event) -> Value {
    let (_, html_url) = links(state, issue, "issues");
    let by_login = |login: &str| state.user_named(login).map_or(Value::Null, |found| user(state, found, false));
    let by_name = |name: &str| {
        let labels = state.repos.get(&issue.repo).map(|repo| &repo.labels);
        labels.and_then(|labels| labels.values().find(|one| one.name == name)).map_or(Value::Null, label)
    };
    let (kind, body, shown, assignee, removed) = match &event.what {
        Happening::Assigned(login) => ("assignees", "", Value::Null, by_login(login), false),
        Happening::Unassigned(login) => ("assignees", "", Value::Null, by_login(login), true),
        Happening::Labeled(name) => ("label", "1", by_name(name), Value::Null, false),
        Happening::Unlabeled(name) => ("label", "", by_name(name), Value::Null, false),
        Happening::Closed => ("close", "", Value::Null, Value::Null, false),
        Happening::Reopened => ("reopen", "", Value::Null, Value::Null, false),
        Happening::ReviewRequested(login) => ("review_request", "", Value::Null, by_login(login), false),
        Happening::ReviewUnrequested(login) => ("review_request", "", Value::Null, by_login(login), true),
        Happening::Merged => ("merge_pull", "", Value::Null, Value::Null, false),
    };
    json!({
        "id": event.id,
        "type": kind,
        "html_url": format!("{html_url}#issuecomment-{}", event.id),
        "pull_request_url": "",
        "issue_url": html_url,
        "user": by_login(&event.doer),
        "body": body,
        "created_at": time(state.seconds_at(event.at)),
        "updated_at": time(state.seconds_at(event.at)),
        "old_project_id": 0,
        "project_id": 0,
        "old_milestone": null,
        "milestone": null,
        "tracked_time": null,
        "old_title": "",
        "new_title": "",
        "old_ref": "",
        "new_ref": "",
        "ref_issue": null,
        "ref_comment": null,
        "ref_action": "",
        "ref_commit_sha": "",
        "review_id": 0,
        "label": shown,
        "assignee": assignee,
        "assignee_team": null,
        "removed_assignee": removed,
        "resolve_doer": null,
        "dependent_issue": null,
    })
}

pub(super) fn repository(state: &ForgeState, repo: &Repo, viewer: Option<u64>) -> Value {
    let name = state.full_name(repo);
    let root = &state.root;
    let writes = state.can_write(repo, viewer);
    let open = |pulls: bool| {
        let rows = repo.numbers.values().filter_map(|id| state.issues.get(id));
        rows.filter(|issue| issue.closed_at.is_none() && issue.pull.is_some() == pulls).count()
    };
    let mut shown = json!({
        "id": repo.id,
        "owner": user_of(state, repo.owner),
        "name": repo.name,
        "full_name": name,
        "description": "",
        "empty": false,
        "private": repo.private,
        "fork": repo.parent.is_some(),
        "template": false,
        "parent": repo.parent.and_then(|id| state.repos.get(&id)).map(|parent| json!({ "id": parent.id, "full_name": state.full_name(parent) })),
        "mirror": false,
        "size": 27,
        "html_url": format!("{root}/{name}"),
        "ssh_url": format!("git@localhost:{name}.git"),
        "clone_url": format!("{root}/{name}.git"),
        "original_url": "",
        "website": "",
        "stars_count": 0,
        "forks_count": 0,
        "watchers_count": 1,
        "open_issues_count": open(false),
        "open_pr_counter": open(true),
        "release_counter": 0,
        "default_branch": "master",
        "archived": repo.archived,
        "created_at": time(repo.created),
        "updated_at": time(repo.created),
        "permissions": { "admin": viewer == Some(repo.owner), "push": writes, "pull": true },
    });
    if let (Some(members), Value::Object(settings)) = (shown.as_object_mut(), repository_settings()) {
        members.extend(settings);
    }
    shown
}

/// The members that are the same for every repository.
fn repository_settings() -> Value {
    json!({
        "has_issues": true,
        "internal_tracker": {
            "enable_time_tracker": true,
            "allow_only_contributors_to_track_time": true,
            "enable_issue_dependencies": true,
        },
        "has_wiki": true,
        "has_pull_requests": true,
        "has_projects": true,
        "ignore_whitespace_conflicts": false,
        "allow_merge_commits": true,
        "allow_rebase": true,
        "allow_rebase_explicit": true,
        "allow_squash_merge": true,
        "default_merge_style": "merge",
        "avatar_url": "",
        "internal": false,
        "mirror_interval": "",
    })
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(super) fn time(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The Gregorian date of a day counted from 1970-01-01 (Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
