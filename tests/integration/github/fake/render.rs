//! Rows as the REST API shows them (official description: `simple-user`, `label`, `issue`, `pull-request`, `issue-comment`).

use serde_json::{Map, Value, json};

use super::state::{Comment, Issue, Label, Repo, State, User, node_id};

pub fn time(seconds: u64) -> String {
    format!(
        "2026-01-{:02}T{:02}:{:02}:{:02}Z",
        1 + seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

pub fn user(state: &State, user: &User) -> Value {
    let url = format!("{}/users/{}", state.base, user.login);
    let below = |tail: &str| Value::from(format!("{url}/{tail}"));
    json!({
        "login": user.login, "id": user.id, "node_id": node_id("U", user.id), "avatar_url": format!("{url}/avatar"),
        "gravatar_id": "", "url": url, "html_url": format!("https://github.com/{}", user.login),
        "followers_url": below("followers"), "following_url": below("following{/other_user}"),
        "gists_url": below("gists{/gist_id}"), "starred_url": below("starred{/owner}{/repo}"),
        "subscriptions_url": below("subscriptions"), "organizations_url": below("orgs"), "repos_url": below("repos"),
        "events_url": below("events{/privacy}"), "received_events_url": below("received_events"), "type": user.kind,
        "site_admin": false,
    })
}

/// As its own page shows it.
pub fn profile(state: &State, row: &User) -> Value {
    let mut shown = user(state, row);
    let more = json!({
        "name": row.login, "company": null, "blog": "", "location": null, "email": null, "hireable": null, "bio": null,
        "public_repos": 1, "public_gists": 0, "followers": 0, "following": 0, "created_at": time(0), "updated_at": time(0),
        "private_gists": 0, "total_private_repos": 0, "owned_private_repos": 0, "disk_usage": 0, "collaborators": 0,
        "two_factor_authentication": true,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        shown[name] = value.clone();
    }
    shown
}

pub fn label(state: &State, repo: &Repo, label: &Label) -> Value {
    json!({
        "id": label.id, "node_id": node_id("LA", label.id), "name": label.name, "color": label.color, "default": false,
        "description": null, "url": format!("{}/repos/{}/{}/labels/{}", state.base, repo.owner, repo.name, label.name),
    })
}

fn repo_url(state: &State, repo: &Repo) -> String {
    format!("{}/repos/{}/{}", state.base, repo.owner, repo.name)
}

pub fn repo(state: &State, repo: &Repo, login: Option<&str>) -> Value {
    let push = login.is_some_and(|login| state.may_push(repo.id, login));
    let owner = state.user_named(&repo.owner).map_or(Value::Null, |owner| user(state, owner));
    let url = repo_url(state, repo);
    let mut row = json!({
        "id": repo.id, "node_id": node_id("R", repo.id), "name": repo.name, "full_name": format!("{}/{}", repo.owner, repo.name),
        "private": false, "owner": owner, "html_url": format!("https://github.com/{}/{}", repo.owner, repo.name),
        "description": null, "fork": false, "url": url, "has_issues": true, "archived": false, "disabled": false,
        "default_branch": "main", "visibility": "public", "created_at": time(0), "updated_at": time(0), "pushed_at": time(0),
        "permissions": { "admin": false, "maintain": false, "push": push, "triage": push, "pull": true },
    });
    for name in URLS.split_whitespace() {
        row[name] = format!("{url}/{}", name.trim_end_matches("_url")).into();
    }
    for name in NUMBERS.split_whitespace() {
        row[name] = 0.into();
    }
    for name in ["has_downloads", "has_projects", "has_wiki", "has_pages"] {
        row[name] = false.into();
    }
    for name in ["homepage", "language", "mirror_url", "license"] {
        row[name] = Value::Null;
    }
    row
}

const URLS: &str = "archive_url assignees_url blobs_url branches_url collaborators_url comments_url commits_url compare_url \
    contents_url contributors_url deployments_url downloads_url events_url forks_url git_commits_url git_refs_url \
    git_tags_url hooks_url issue_comment_url issue_events_url issues_url keys_url labels_url languages_url merges_url \
    milestones_url notifications_url pulls_url releases_url stargazers_url statuses_url subscribers_url subscription_url \
    tags_url teams_url trees_url clone_url git_url ssh_url svn_url";
const NUMBERS: &str = "forks forks_count open_issues open_issues_count size stargazers_count watchers watchers_count";

pub fn issue(state: &State, issue: &Issue) -> Value {
    let repo = state.repo(issue.repo);
    let (base, number) = (repo_url(state, repo), issue.number);
    let url = format!("{base}/issues/{number}");
    let web = if issue.branch.is_some() { "pull" } else { "issues" };
    let html = format!("https://github.com/{}/{}/{web}/{number}", repo.owner, repo.name);
    let assignees = assignees(state, issue);
    let closed = if issue.open { Value::Null } else { Value::from(time(issue.updated)) };
    let mut row = json!({
        "url": url, "repository_url": base, "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"), "events_url": format!("{url}/events"), "html_url": html,
        "id": issue.id, "node_id": issue.node_id(), "number": number, "title": issue.title,
        "user": user(state, state.user(issue.author)), "labels": labels(state, issue),
        "state": if issue.open { "open" } else { "closed" }, "locked": issue.locked,
        "assignee": assignees.first().cloned(), "assignees": assignees, "milestone": null,
        "comments": issue.comments.len(), "created_at": time(0), "updated_at": time(issue.updated), "closed_at": closed,
        "author_association": "MEMBER", "active_lock_reason": null, "body": issue.body, "reactions": reactions(&url),
        "timeline_url": format!("{url}/timeline"), "performed_via_github_app": null, "state_reason": issue.state_reason,
    });
    if issue.branch.is_some() {
        let pull = format!("{base}/pulls/{number}");
        row["pull_request"] = json!({
            "url": pull, "html_url": html, "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"),
            "merged_at": null,
        });
        row["draft"] = false.into();
    }
    row
}

pub fn labels(state: &State, issue: &Issue) -> Vec<Value> {
    let repo = state.repo(issue.repo);
    issue.labels.iter().map(|id| label(state, repo, state.label(issue.repo, *id))).collect()
}

fn assignees(state: &State, issue: &Issue) -> Vec<Value> {
    issue.assignees.iter().map(|id| user(state, state.user(*id))).collect()
}

fn reactions(url: &str) -> Value {
    json!({
        "url": format!("{url}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0, "confused": 0,
        "heart": 0, "rocket": 0, "eyes": 0,
    })
}

/// A pull request as its own calls show it: under another id, with head and base.
pub fn pull(state: &State, issue: &Issue) -> Value {
    let repo_row = state.repo(issue.repo);
    let (base, number) = (repo_url(state, repo_row), issue.number);
    let (url, of_issue) = (format!("{base}/pulls/{number}"), format!("{base}/issues/{number}"));
    let html = format!("https://github.com/{}/{}/pull/{number}", repo_row.owner, repo_row.name);
    let branch = |name: &str| {
        json!({
            "label": format!("{}:{name}", repo_row.owner), "ref": name, "sha": "6dcb09b5b57875f334f61aebed695e2e4193db5e",
            "user": user(state, state.user(issue.author)), "repo": repo(state, repo_row, None),
        })
    };
    let mut row = json!({
        "url": url, "id": issue.id + 500_000, "node_id": issue.node_id(), "html_url": html, "issue_url": of_issue,
        "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"), "number": number,
        "state": if issue.open { "open" } else { "closed" }, "locked": issue.locked, "title": issue.title,
        "user": user(state, state.user(issue.author)), "body": issue.body, "created_at": time(0),
        "updated_at": time(issue.updated), "closed_at": null, "merged_at": null, "merge_commit_sha": null,
        "labels": labels(state, issue), "milestone": null, "draft": false, "commits_url": format!("{url}/commits"),
        "review_comments_url": format!("{url}/comments"), "review_comment_url": format!("{base}/pulls/comments{{/number}}"),
        "comments_url": format!("{of_issue}/comments"), "statuses_url": format!("{base}/statuses/6dcb09b"),
        "head": branch(issue.branch.as_deref().unwrap_or("gone")), "base": branch("main"),
    });
    let named =
        [("self", &url), ("html", &html), ("issue", &of_issue), ("comments", &of_issue), ("review_comments", &url)];
    let more_named = [("review_comment", &url), ("commits", &url), ("statuses", &url)];
    let links: Map<String, Value> =
        named.into_iter().chain(more_named).map(|(name, url)| (name.to_owned(), json!({ "href": url }))).collect();
    let assignees = assignees(state, issue);
    let more = json!({
        "_links": links,
        "author_association": "MEMBER", "auto_merge": null, "active_lock_reason": null, "merged": false, "mergeable": true,
        "rebaseable": true, "mergeable_state": "clean", "merged_by": null, "comments": issue.comments.len(),
        "review_comments": 0, "maintainer_can_modify": false, "commits": 1, "additions": 1, "deletions": 0,
        "changed_files": 1, "assignee": assignees.first().cloned(), "assignees": assignees, "requested_reviewers": [],
        "requested_teams": [],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        row[name] = value.clone();
    }
    row
}

pub fn comment(state: &State, issue: &Issue, row: &Comment) -> Value {
    let repo = state.repo(issue.repo);
    let base = repo_url(state, repo);
    let url = format!("{base}/issues/comments/{}", row.id);
    json!({
        "url": url, "id": row.id, "node_id": node_id("IC", row.id), "body": row.body, "author_association": "MEMBER",
        "html_url": format!("https://github.com/{}/{}/issues/{}#issuecomment-{}", repo.owner, repo.name, issue.number, row.id),
        "issue_url": format!("{base}/issues/{}", issue.number), "user": user(state, state.user(row.author)),
        "created_at": time(0), "updated_at": time(0), "performed_via_github_app": null, "reactions": reactions(&url),
    })
}
