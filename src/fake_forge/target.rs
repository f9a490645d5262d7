//! Paths, as a forge's router reads them, and the routes.

use super::options::{Feature, Options};

/// A path in segments: as written (literals compare with that) and decoded once (parameters are read from that).
#[derive(Debug, Default)]
pub(super) struct Path {
    written: Vec<String>,
    decoded: Vec<String>,
    /// The repository's name in a path of the web, without the endings that are taken off there.
    web_name: String,
}

/// What a path leads to. The parameters stay in the [`Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Version,
    Me,
    UserOf,
    UserSearch,
    Userinfo,
    Search,
    Repo,
    RepoLabels,
    RepoLabel,
    OwnerLabels,
    Assignable,
    Collaborator,
    Issues,
    Issue,
    IssueLabels,
    IssueLabel,
    IssueComments,
    IssueAssignees,
    IssueTimeline,
    Pulls,
    Pull,
    PullMerge,
    RequestedReviewers,
    Reviews,
    Review,
    Dismissals,
    Branch,
    Dependencies,
    Blocks,
    WebAssignee,
    WebLabels,
    WebStatus,
    WebComments,
    WebNew,
    WebProjects,
    WebReview,
    WebDelete,
    WebDeleteOne,
    WebMoveCards,
    WebDeleteBranch,
    WebEditLabel,
    WebDeleteLabel,
    WebRef,
    WebSettings,
    WebPage,
    UnknownApi,
    UnknownWeb,
}

/// A path with a `%` that no two hexadecimal digits follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct BadEscape;

impl Path {
    pub(super) fn parse(raw: &str, options: &Options) -> Result<Self, BadEscape> {
        let whole = decode(raw)?;
        // Go drops the raw form of such a path and escapes the decoded one anew: an encoded slash separates, then.
        let reescaped = raw.bytes().any(|byte| !byte.is_ascii() || b"\"<>^`{}|\\".contains(&byte));
        let text = if reescaped { &whole } else { raw };
        let mut written: Vec<String> = text.strip_prefix('/').unwrap_or(text).split('/').map(str::to_owned).collect();
        if options.has(Feature::CollapseSlashes) {
            written.retain(|segment| !segment.is_empty());
        } else if written.len() > 1 && written.last().is_some_and(String::is_empty) {
            written.pop();
        }
        let decoded = if reescaped { Ok(written.clone()) } else { written.iter().map(|one| decode(one)).collect() };
        let decoded = decoded?;
        let web_name = without_endings(decoded.get(1).map_or("", String::as_str), options).to_owned();
        Ok(Self { written, decoded, web_name })
    }

    pub(super) fn route(&self, options: &Options) -> Route {
        let written: Vec<&str> = self.written.iter().map(String::as_str).collect();
        if self.decoded.iter().any(String::is_empty) && self.decoded.len() > 1 {
            return if written.first() == Some(&"api") { Route::UnknownApi } else { Route::UnknownWeb };
        }
        match written.as_slice() {
            ["api", "v1", rest @ ..] => api_route(rest, options),
            ["api", ..] => Route::UnknownApi,
            rest => web_route(rest, options),
        }
    }

    fn get(&self, at: usize) -> &str {
        self.decoded.get(at).map_or("", String::as_str)
    }

    /// `owner/name` of a repository route.
    pub(super) fn repo(&self) -> String {
        if self.get(0) == "api" {
            return format!("{}/{}", self.get(3), self.get(4));
        }
        format!("{}/{}", self.get(0), self.web_name)
    }

    /// The parameter after `/users/` or `/orgs/`.
    pub(super) fn login(&self) -> &str {
        self.get(3)
    }

    /// The parameter after the repository's `/issues/`, `/pulls/`, `/labels/` or `/collaborators/`.
    pub(super) fn child(&self) -> &str {
        self.get(if self.get(0) == "api" { 6 } else { 3 })
    }

    /// The parameter after the issue's `/labels/` or the pull's `/reviews/`.
    pub(super) fn grandchild(&self) -> &str {
        self.get(8)
    }

    /// All that follows the repository's `/branches/`.
    pub(super) fn tail(&self) -> String {
        self.decoded.get(6..).unwrap_or_default().join("/")
    }

    /// Project and column of a board's path.
    pub(super) fn column(&self) -> Option<(u64, u64)> {
        index(self.get(3)).zip(index(self.get(4)))
    }

    /// The decoded path, for a redirect.
    pub(super) fn joined(&self) -> String {
        format!("/{}", self.decoded.join("/"))
    }
}

fn without_endings<'a>(name: &'a str, options: &Options) -> &'a str {
    let name = name.strip_suffix(".git").unwrap_or(name);
    if !options.has(Feature::Feeds) {
        return name;
    }
    let name = name.strip_suffix(".rss").unwrap_or(name);
    name.strip_suffix(".atom").unwrap_or(name)
}

fn api_route(rest: &[&str], options: &Options) -> Route {
    let has = |feature, route| {
        if options.has(feature) { route } else { Route::UnknownApi }
    };
    match rest {
        ["version"] => Route::Version,
        ["user"] => Route::Me,
        ["users", "search"] => Route::UserSearch,
        ["users", _] => Route::UserOf,
        ["repos", "search"] => Route::Search,
        ["repos", _, _] => Route::Repo,
        ["repos", _, _, "labels"] => Route::RepoLabels,
        ["repos", _, _, "labels", _] => Route::RepoLabel,
        ["orgs", _, "labels"] => Route::OwnerLabels,
        ["repos", _, _, "assignees"] => has(Feature::AssigneeList, Route::Assignable),
        ["repos", _, _, "branches", _, ..] => Route::Branch,
        ["repos", _, _, "issues", _, "dependencies"] => Route::Dependencies,
        ["repos", _, _, "issues", _, "blocks"] => Route::Blocks,
        ["repos", _, _, "collaborators", _] => Route::Collaborator,
        ["repos", _, _, "issues"] => Route::Issues,
        ["repos", _, _, "issues", _] => Route::Issue,
        ["repos", _, _, "issues", _, "labels"] => Route::IssueLabels,
        ["repos", _, _, "issues", _, "labels", _] => Route::IssueLabel,
        ["repos", _, _, "issues", _, "comments"] => Route::IssueComments,
        ["repos", _, _, "issues", _, "assignees"] => has(Feature::AssigneeRoutes, Route::IssueAssignees),
        ["repos", _, _, "issues", _, "timeline"] => has(Feature::Timeline, Route::IssueTimeline),
        ["repos", _, _, "pulls"] => Route::Pulls,
        ["repos", _, _, "pulls", _] => Route::Pull,
        ["repos", _, _, "pulls", _, "merge"] => Route::PullMerge,
        ["repos", _, _, "pulls", _, "requested_reviewers"] => Route::RequestedReviewers,
        ["repos", _, _, "pulls", _, "reviews"] => Route::Reviews,
        ["repos", _, _, "pulls", _, "reviews", _] => Route::Review,
        ["repos", _, _, "pulls", _, "reviews", _, "dismissals"] => Route::Dismissals,
        _ => Route::UnknownApi,
    }
}

fn web_route(rest: &[&str], options: &Options) -> Route {
    let issues = |kind: &str| match kind {
        "issues" => true,
        "pulls" => options.has(Feature::WebChecksRepository),
        // As the pattern `^issues|pulls$` has it.
        _ => options.has(Feature::UnanchoredTypes) && (kind.starts_with("issues") || kind.ends_with("pulls")),
    };
    match rest {
        ["login", "oauth", "userinfo"] => Route::Userinfo,
        ["user", "settings"] => Route::WebSettings,
        [_, _, kind, "assignee"] if issues(kind) => Route::WebAssignee,
        [_, _, kind, "labels"] if issues(kind) => Route::WebLabels,
        [_, _, kind, "status"] if issues(kind) => Route::WebStatus,
        [_, _, kind, "projects"] if issues(kind) => Route::WebProjects,
        [_, _, kind, "request_review"] if issues(kind) => Route::WebReview,
        [_, _, kind, "delete"] if issues(kind) && options.has(Feature::DeleteIssue) => Route::WebDelete,
        [_, _, kind, _, "delete"] if issues(kind) && options.has(Feature::DeleteIssue) => Route::WebDeleteOne,
        [_, _, kind, "new"] if issues(kind) => Route::WebNew,
        [_, _, kind, _, "comments"] if issues(kind) => Route::WebComments,
        [_, _, kind, _, "ref"] if issues(kind) => Route::WebRef,
        [_, _, "branches", "delete"] => Route::WebDeleteBranch,
        [_, _, "labels", "edit"] => Route::WebEditLabel,
        [_, _, "labels", "delete"] => Route::WebDeleteLabel,
        [_, _, "projects", _, _, "move"] => Route::WebMoveCards,
        [_, _] | [_, _, "issues" | "pulls" | "projects"] | [_, _, "issues" | "pulls", _] => Route::WebPage,
        _ => Route::UnknownWeb,
    }
}

/// An issue's number: decimal; leading zeros and a plus are fine.
pub(super) fn index(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())
}

fn decode(text: &str) -> Result<String, BadEscape> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' { hex(bytes.next())? << 4 | hex(bytes.next())? } else { byte });
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn hex(digit: Option<u8>) -> Result<u8, BadEscape> {
    let digit = digit.and_then(|byte| char::from(byte).to_digit(16)).ok_or(BadEscape)?;
    u8::try_from(digit).map_err(|_| BadEscape)
}
