//! What stands in front of a path of the tracker in what a client asks for: the path below which the tracker is served,
//! the agent's prefix, doubled slashes.
//!
//! It is taken off once, before anything else looks at the request; what was there goes with the request as [`Came`].
//! A base URL that ends in a slash makes `//api/v1/…`. The tracker's later versions collapse such slashes and Gitea 1.15
//! does not, so for the API and the gate's own paths they are collapsed here: reads and writes mean the same everywhere.

use super::agent::agent_of;
use crate::dialect::PathAlias;
use crate::upstream::Origin;
use http::request::Parts;
use http::uri::PathAndQuery;
use std::borrow::Cow;

/// How clients address the gate.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// The path of the tracker's public address, such as `/forge`; empty for none.
    public: String,
    /// The path below which the upstream serves; clients may leave it out.
    upstream: String,
    /// Whether `/as/<agent>` names an agent.
    agents: bool,
    /// What stands for something else at the beginning of a path.
    aliases: &'static [PathAlias],
}

/// What was taken off a request's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// The agent that the path names.
    pub agent: Option<String>,
    /// What a link needs in front so that it leads back by the same way.
    pub prefix: String,
}

/// A path in its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// The agent that it names.
    pub agent: Option<&'a str>,
    /// Whether it begins with the path below which the tracker is served.
    pub is_based: bool,
    /// What was left out of it, since it stands for nothing.
    pub alias: &'static str,
    /// The tracker's own path, or the gate's.
    pub path: Cow<'a, str>,
}

// === impl Front ===

impl Front {
    /// For a tracker with this public address at this upstream.
    pub fn new(public: Option<&Origin>, upstream: &Origin, agents: bool) -> Self {
        let public = public.map_or("", Origin::base).to_owned();
        Self { public, upstream: upstream.base().to_owned(), agents, aliases: &[] }
    }

    /// For a tracker of which clients know another edition.
    #[must_use]
    pub fn with_aliases(self, aliases: &'static [PathAlias]) -> Self {
        Self { aliases, ..self }
    }

    /// The path below which clients find the tracker; empty for none.
    pub fn base(&self) -> &str {
        if self.public.is_empty() { &self.upstream } else { &self.public }
    }

    /// What links need in front where the request had nothing: a proxy may have taken the public path off.
    pub(super) fn prefix(&self) -> &str {
        &self.public
    }

    /// Takes a path apart.
    pub fn locate<'a>(&self, path: &'a str) -> Located<'a> {
        let (mut rest, mut agent, mut is_based) = (path, None, false);
        loop {
            if !is_based && let Some(below) = below(rest, self.base()) {
                (rest, is_based) = (below, true);
            } else if agent.is_none()
                && self.agents
                && let Some((name, below)) = agent_of(rest)
                && self.is_by_agent(name, below)
            {
                (rest, agent) = (below, Some(name));
            } else {
                break;
            }
        }
        let path = match rest {
            "" => Cow::Borrowed("/"),
            rest if has_doubled_slash(rest) && has_one_meaning(rest) => Cow::Owned(collapsed(rest)),
            rest => Cow::Borrowed(rest),
        };
        let aliased = self.aliases.iter().find_map(|alias| Some((alias, below(&path, alias.from)?)));
        match aliased {
            Some((alias, rest)) => {
                let path =
                    if alias.to.is_empty() && rest.is_empty() { "/".to_owned() } else { alias.to.to_owned() + rest };
                let left_out = if alias.to.is_empty() { alias.from } else { "" };
                Located { agent, is_based, alias: left_out, path: Cow::Owned(path) }
            }
            None => Located { agent, is_based, alias: "", path },
        }
    }

    /// Whether `/as/NAME` before this path is an agent's prefix, and not a repository of an owner who is called `as`.
    fn is_by_agent(&self, name: &str, path: &str) -> bool {
        let path = below(path, self.base()).unwrap_or(path);
        let mut pieces = pieces(path);
        let (first, second) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
        let is_git = |piece: &str| piece.strip_suffix(".git").is_some();
        let is_page = first.is_empty() || name == "-" || PAGES.contains(&first);
        has_one_meaning(path) || is_git(first) || (is_git(second) && pieces.next().is_some()) || !is_page
    }

    /// Takes off what stands in front, and notes it.
    pub(super) fn take_off(&self, head: &mut Parts) {
        let path = head.uri.path();
        if !path.starts_with('/') {
            return;
        }
        let located = self.locate(path);
        if located.path == path {
            return;
        }
        let target = match head.uri.query() {
            Some(query) => format!("{}?{query}", located.path),
            None => located.path.to_string(),
        };
        let base = if self.public.is_empty() && !located.is_based { "" } else { self.base() };
        let agent = located.agent.map(str::to_owned);
        let alias = located.alias;
        let prefix = agent.as_ref().map_or_else(|| base.to_owned(), |agent| format!("{base}/as/{agent}")) + alias;
        let Ok(target) = PathAndQuery::try_from(target) else { return };
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        uri.path_and_query = Some(target);
        head.uri = uri.try_into().unwrap_or_default();
        head.extensions.insert(Came { agent, prefix });
    }
}

/// What of a path lies below this base; slashes may be doubled.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    if base.is_empty() {
        return None;
    }
    pieces(base).try_fold(path, |rest, piece| {
        let rest = rest.strip_prefix('/')?.trim_start_matches('/').strip_prefix(piece)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    })
}

fn pieces(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|piece| !piece.is_empty())
}

/// Paths of the tracker's API and of the gate: no version has another meaning for a doubled slash in them.
pub(super) fn has_one_meaning(path: &str) -> bool {
    matches!(pieces(path).next(), Some("api" | "_claimgate"))
}

fn has_doubled_slash(path: &str) -> bool {
    path.as_bytes().windows(2).any(|two| two == b"//")
}

fn collapsed(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    out.extend(path.chars().filter({
        let mut before = ' ';
        move |letter| {
            let kept = !(before == '/' && *letter == '/');
            before = *letter;
            kept
        }
    }));
    out
}

/// What follows a repository in the paths of the web pages and of git (Gitea 1.15 to Forgejo 17, `routers/web/web.go`).
#[rustfmt::skip]
const PAGES: &[&str] = &[
    "HEAD", "_cherrypick", "_delete", "_diffpatch", "_edit", "_fork", "_new", "_preview", "_upload", "action", "actions",
    "activity", "activity_author_data", "archive", "atom", "attachments", "badges", "blame", "blob", "blob_excerpt",
    "branches", "cherry-pick", "code-frequency", "codeowners", "comments", "commit", "commits", "commitstatuses", "compare",
    "contributors", "files", "find", "fork", "forks", "git-receive-pack", "git-upload-archive", "git-upload-pack", "graph",
    "info", "issues", "labels", "lastcommit", "markup", "media", "migrate", "milestone", "milestones", "objects",
    "packages", "projects", "pull", "pulls", "pulse", "raw", "recent-commits", "release", "releases", "render", "rss",
    "search", "settings", "src", "star", "stars", "sync_fork", "tag", "tags", "tree", "tree-list", "topics", "transfer",
    "unstar", "unwatch", "watch", "watchers", "wiki",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn front(public: Option<&str>, upstream: &str) -> Front {
        Front::new(public.map(|it| it.parse().unwrap()).as_ref(), &upstream.parse().unwrap(), true)
    }

    #[track_caller]
    fn check(front: &Front, path: &str, agent: Option<&str>, rest: &str) {
        let located = front.locate(path);
        assert_eq!((located.agent, located.path.as_ref()), (agent, rest), "{path}");
    }

    #[test]
    fn another_editions_paths() {
        const ALIASES: &[PathAlias] =
            &[PathAlias { from: "/api/graphql", to: "/graphql" }, PathAlias { from: "/api/v3", to: "" }];
        let front = front(None, "http://f").with_aliases(ALIASES);
        for (path, agent, rest, alias) in [
            ("/api/v3/repos/o/r", None, "/repos/o/r", "/api/v3"),
            ("/as/bot/api/v3/repos/o/r", Some("bot"), "/repos/o/r", "/api/v3"),
            ("/api/v3", None, "/", "/api/v3"),
            ("/api/graphql", None, "/graphql", ""),
            ("/api/v30", None, "/api/v30", ""),
            ("/repos/o/r", None, "/repos/o/r", ""),
        ] {
            let located = front.locate(path);
            assert_eq!((located.agent, located.path.as_ref(), located.alias), (agent, rest, alias), "{path}");
        }
    }

    #[test]
    fn agents() {
        let front = front(None, "http://f");
        for (path, agent, rest) in [
            ("/as/bot-1/api/v1", Some("bot-1"), "/api/v1"),
            ("/as/bot//api//v1/", Some("bot"), "/api/v1/"),
            ("//as/bot/api/v1", Some("bot"), "/api/v1"),
            ("/as/bot:1@host/_claimgate/v1/claims", Some("bot:1@host"), "/_claimgate/v1/claims"),
            ("/as/bot/acme/app.git/info/refs", Some("bot"), "/acme/app.git/info/refs"),
            ("/as/bot/wiki/app.git/info/refs", Some("bot"), "/wiki/app.git/info/refs"),
            ("/as/bot/acme/app/git-upload-pack", Some("bot"), "/acme/app/git-upload-pack"),
            ("/as/bot/app.git/info/refs", Some("bot"), "/app.git/info/refs"),
            ("/as/bot/acme/app/issues/1", Some("bot"), "/acme/app/issues/1"),
            ("/as/me/as/you/api/v1", Some("me"), "/as/you/api/v1"),
            ("/as/-/packages", None, "/as/-/packages"),
            ("/as/tools", None, "/as/tools"),
            ("/as/tools/", None, "/as/tools/"),
            ("/as/tools/issues/1", None, "/as/tools/issues/1"),
            ("/as/tools/raw/branch/main/api/v1/x", None, "/as/tools/raw/branch/main/api/v1/x"),
            ("/as/tools.git/info/refs", None, "/as/tools.git/info/refs"),
            ("/as/tools/info/lfs/objects/batch", None, "/as/tools/info/lfs/objects/batch"),
            ("/as/tools/git-receive-pack", None, "/as/tools/git-receive-pack"),
            ("/as//x", None, "/as//x"),
            ("/as/../x", None, "/as/../x"),
            ("/as/%2e/x", None, "/as/%2e/x"),
            ("/assets/x", None, "/assets/x"),
            ("/api//v1", None, "/api/v1"),
            ("//api/v1/x//", None, "/api/v1/x/"),
            ("//acme//app", None, "//acme//app"),
        ] {
            check(&front, path, agent, rest);
        }
        let deaf = Front { agents: false, ..front };
        check(&deaf, "/as/bot-1/api/v1", None, "/as/bot-1/api/v1");
    }

    #[test]
    fn bases() {
        for front in [front(Some("https://git.example/forge"), "http://f"), front(None, "http://f/forge")] {
            for (path, agent, rest) in [
                ("/forge", None, "/"),
                ("/forge/", None, "/"),
                ("/forge/api/v1", None, "/api/v1"),
                ("//forge//api/v1", None, "/api/v1"),
                ("/forge/as/bot/api/v1", Some("bot"), "/api/v1"),
                ("/as/bot/forge/api/v1", Some("bot"), "/api/v1"),
                ("/forge/forge/api/v1", None, "/forge/api/v1"),
                ("/forge/as/tools/issues", None, "/as/tools/issues"),
                ("/forgery/x", None, "/forgery/x"),
                ("/api/v1", None, "/api/v1"),
                ("/v2/", None, "/v2/"),
            ] {
                check(&front, path, agent, rest);
            }
        }
    }
}
