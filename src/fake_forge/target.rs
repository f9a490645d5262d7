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
pub(super) enum ForgeRoute {
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

    pub(super) fn route(&self, options: &Options) -> ForgeRoute {
        let written: Vec<&str> = self.written.iter().map(String::as_str).collect();
        if self.decoded.iter().any(String::is_empty) && self.decoded.len() > 1 {
            return if written.first() == Some(&"api") { ForgeRoute::UnknownApi } else { ForgeRoute::UnknownWeb };
        }
        match written.as_slice() {
            ["api", "v1", rest @ ..] => api_route(rest, options),
            ["api", ..] => ForgeRoute::UnknownApi,
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

fn api_route(rest: &[&str], options: &Options) -> ForgeRoute {
    let has = |feature, route| {
        if options.has(feature) { route } else { ForgeRoute::UnknownApi }
    };
    match rest {
        ["version"] => ForgeRoute::Version,
        ["user"] => ForgeRoute::Me,
        ["users", "search"] => ForgeRoute::UserSearch,
        ["users", _] => ForgeRoute::UserOf,
        ["repos", "search"] => ForgeRoute::Search,
        ["repos", _, _] => ForgeRoute::Repo,
        ["repos", _, _, "labels"] => ForgeRoute::RepoLabels,
        ["repos", _, _, "labels", _] => ForgeRoute::RepoLabel,
        ["orgs", _, "labels"] => ForgeRoute::OwnerLabels,
        ["repos", _, _, "assignees"] => has(Feature::AssigneeList, ForgeRoute::Assignable),
        ["repos", _, _, "branches", _, ..] => ForgeRoute::Branch,
        ["repos", _, _, "issues", _, "dependencies"] => ForgeRoute::Dependencies,
        ["repos", _, _, "issues", _, "blocks"] => ForgeRoute::Blocks,
        ["repos", _, _, "collaborators", _] => ForgeRoute::Collaborator,
        ["repos", _, _, "issues"] => ForgeRoute::Issues,
        ["repos", _, _, "issues", _] => ForgeRoute::Issue,
        ["repos", _, _, "issues", _, "labels"] => ForgeRoute::IssueLabels,
        ["repos", _, _, "issues", _, "labels", _] => ForgeRoute::IssueLabel,
        ["repos", _, _, "issues", _, "comments"] => ForgeRoute::IssueComments,
        ["repos", _, _, "issues", _, "assignees"] => has(Feature::AssigneeRoutes, ForgeRoute::IssueAssignees),
        ["repos", _, _, "issues", _, "timeline"] => has(Feature::Timeline, ForgeRoute::IssueTimeline),
        ["repos", _, _, "pulls"] => ForgeRoute::Pulls,
        ["repos", _, _, "pulls", _] => ForgeRoute::Pull,
        ["repos", _, _, "pulls", _, "merge"] => ForgeRoute::PullMerge,
        ["repos", _, _, "pulls", _, "requested_reviewers"] => ForgeRoute::RequestedReviewers,
        ["repos", _, _, "pulls", _, "reviews"] => ForgeRoute::Reviews,
        ["repos", _, _, "pulls", _, "reviews", _] => ForgeRoute::Review,
        ["repos", _, _, "pulls", _, "reviews", _, "dismissals"] => ForgeRoute::Dismissals,
        _ => ForgeRoute::UnknownApi,
    }
}

fn web_route(rest: &[&str], options: &Options) -> ForgeRoute {
    let issues = |kind: &str| match kind {
        "issues" => true,
        "pulls" => options.has(Feature::WebChecksRepository),
        // As the pattern `^issues|pulls$` has it.
        _ => options.has(Feature::UnanchoredTypes) && (kind.starts_with("issues") || kind.ends_with("pulls")),
    };
    match rest {
        ["login", "oauth", "userinfo"] => ForgeRoute::Userinfo,
        ["user", "settings"] => ForgeRoute::WebSettings,
        [_, _, kind, "assignee"] if issues(kind) => ForgeRoute::WebAssignee,
        [_, _, kind, "labels"] if issues(kind) => ForgeRoute::WebLabels,
        [_, _, kind, "status"] if issues(kind) => ForgeRoute::WebStatus,
        [_, _, kind, "projects"] if issues(kind) => ForgeRoute::WebProjects,
        [_, _, kind, "request_review"] if issues(kind) => ForgeRoute::WebReview,
        [_, _, kind, "delete"] if issues(kind) && options.has(Feature::DeleteIssue) => ForgeRoute::WebDelete,
        [_, _, kind, _, "delete"] if issues(kind) && options.has(Feature::DeleteIssue) => ForgeRoute::WebDeleteOne,
        [_, _, kind, "new"] if issues(kind) => ForgeRoute::WebNew,
        [_, _, kind, _, "comments"] if issues(kind) => ForgeRoute::WebComments,
        [_, _, kind, _, "ref"] if issues(kind) => ForgeRoute::WebRef,
        [_, _, "branches", "delete"] => ForgeRoute::WebDeleteBranch,
        [_, _, "labels", "edit"] => ForgeRoute::WebEditLabel,
        [_, _, "labels", "delete"] => ForgeRoute::WebDeleteLabel,
        [_, _, "projects", _, _, "move"] => ForgeRoute::WebMoveCards,
        [_, _] | [_, _, "issues" | "pulls" | "projects"] | [_, _, "issues" | "pulls", _] => ForgeRoute::WebPage,
        _ => ForgeRoute::UnknownWeb,
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
