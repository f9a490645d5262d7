//! One request under way.

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::auth::{AuthError, Who};
use super::body::{self, Fields, Pairs, Schema};
use super::inner::Inner;
use super::options::Feature;
use super::reply::FakeReply;
use super::store::{By, ForgeState, Repo, TokenScope};
use super::target::{self, ForgeRoute, Path};

/// Which of a request's writes are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteScope {
    Everything,
    Nothing,
    OnlyAssignees,
    AllButAssignees,
}

/// What a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WritePart {
    Assignees,
    Rest,
}

#[derive(Debug)]
pub(super) struct ForgeCall {
    pub(super) forge: Arc<Inner>,
    pub(super) seq: u64,
    pub(super) who: Result<Who, AuthError>,
    pub(super) method: Method,
    pub(super) path: Path,
    pub(super) route: ForgeRoute,
    pub(super) query: Pairs,
    pub(super) raw_query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) scope: WriteScope,
}

// === impl ForgeCall ===

impl ForgeCall {
    pub(super) fn state(&self) -> MutexGuard<'_, ForgeState> {
        self.forge.state()
    }

    pub(super) fn has(&self, feature: Feature) -> bool {
        self.forge.options.has(feature)
    }

    pub(super) fn user(&self) -> Option<u64> {
        self.who.ok().and_then(|who| who.user)
    }

    /// The doer of a write; 401 for a stranger.
    pub(super) fn by(&self) -> Result<By, FakeReply> {
        let user = self.user().ok_or_else(|| self.error(StatusCode::UNAUTHORIZED, "token is required"))?;
        Ok(By { user, request: Some(self.seq) })
    }

    /// The path's repository: 404 if there is none for this reader, a redirect if it is a former name.
    pub(super) fn repo(&self) -> Result<u64, FakeReply> {
        let scope = self.who.map(|who| who.scope).unwrap_or_default();
        if scope == TokenScope::RepositoryOnly && self.is_about_issues() {
            let text = "token does not have at least one of required scope(s): [read:issue]";
            return Err(self.error(StatusCode::FORBIDDEN, text));
        }
        let wanted = self.path.repo();
        let state = self.state();
        let open =
            |repo: &&Repo| state.can_read(repo, self.user()) && !(repo.private && scope == TokenScope::PublicOnly);
        let repo = state.repo_known_as(&wanted).filter(open);
        let Some(repo) = repo else {
            return Err(FakeReply::not_found(&state.root));
        };
        if state.is_current_name(repo, &wanted) {
            return Ok(repo.id);
        }
        let moved = self.path.joined().replacen(&wanted, &state.full_name(repo), 1);
        let options = &self.forge.options;
        let front = if options.absolute_redirects { &state.root } else { &options.sub_path };
        Err(FakeReply::redirect(options.redirect_status, &format!("{front}{}", self.with_query(&moved))))
    }

    /// The path's issue or pull request, by its number in the repository; 404 for who may not read its kind.
    pub(super) fn issue(&self, repo: u64) -> Result<u64, FakeReply> {
        let state = self.state();
        let number = target::index(self.path.child());
        let row = state.repos.get(&repo);
        let found = number.and_then(|number| row?.numbers.get(&number).copied()).filter(|id| {
            let is_pull = state.issues.get(id).is_some_and(|issue| issue.pull.is_some());
            is_pull || row.is_some_and(|row| state.can_read_issues(row, self.user()))
        });
        found.ok_or_else(|| FakeReply::not_found(&state.root))
    }

    /// Whether the call is of the group that takes a token's scope `issue`, also for a pull request's number.
    fn is_about_issues(&self) -> bool {
        use ForgeRoute::{
            Issue, IssueAssignees, IssueComments, IssueLabel, IssueLabels, IssueTimeline, Issues, RepoLabel, RepoLabels,
        };
        matches!(
            self.route,
            Issue
                | IssueAssignees
                | IssueComments
                | IssueLabel
                | IssueLabels
                | IssueTimeline
                | Issues
                | RepoLabel
                | RepoLabels
        )
    }

    pub(super) fn bind(&self, schema: &Schema) -> Result<Fields, FakeReply> {
        let source = body::BodySource {
            method: &self.method,
            headers: &self.headers,
            query: &self.query,
            body: &self.body,
            options: &self.forge.options,
        };
        body::bind(schema, &source).map_err(|error| self.error(StatusCode::UNPROCESSABLE_ENTITY, &error.0))
    }

    /// The doer, if they may write to the repository; a bare 403 if not.
    pub(super) fn writer(&self, repo: u64) -> Result<By, FakeReply> {
        let by = self.by()?;
        if self.can_write(repo) { Ok(by) } else { Err(FakeReply::empty(StatusCode::FORBIDDEN)) }
    }

    pub(super) fn can_write(&self, repo: u64) -> bool {
        let state = self.state();
        state.repos.get(&repo).is_some_and(|repo| state.can_write(repo, self.user()))
    }

    /// Whether this part of the request is to be carried out.
    pub(super) fn writes(&self, part: WritePart) -> bool {
        match self.scope {
            WriteScope::Everything => true,
            WriteScope::Nothing => false,
            WriteScope::OnlyAssignees => part == WritePart::Assignees,
            WriteScope::AllButAssignees => part == WritePart::Rest,
        }
    }

    /// The moment inside a write in which others may write.
    pub(super) async fn gap(&self) {
        let delay = self.state().vices.write_delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    pub(super) fn error(&self, status: StatusCode, message: &str) -> FakeReply {
        FakeReply::error(&self.state().root, status, message)
    }

    pub(super) fn not_found(&self) -> FakeReply {
        FakeReply::not_found(&self.state().root)
    }

    fn with_query(&self, path: &str) -> String {
        if self.raw_query.is_empty() { path.to_owned() } else { format!("{path}?{}", self.raw_query) }
    }
}
