//! What a test does to the forge directly, without a request: seed it, look at it, act as a human in the web interface,
//! set vices.

use std::sync::MutexGuard;

use super::FakeForge;
use super::journal::{Event, Logged};
use super::store::{By, ForgeState, Token, TokenScope};
use super::vices::{Fault, Matcher, Vices};

/// What identifies an issue or pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssueHandle {
    /// The immutable id, over all repositories.
    pub id: u64,
    /// The number in the repository, shared by issues and pull requests.
    pub number: u64,
}

/// An issue as it is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueView {
    /// The immutable id.
    pub id: u64,
    /// The number in the repository.
    pub number: u64,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// The assignees' logins in order of insertion; a race can leave one twice.
    pub assignees: Vec<String>,
    /// The labels' names, sorted.
    pub labels: Vec<String>,
    /// `open` or `closed`.
    pub state: &'static str,
    /// The comments' texts.
    pub comments: Vec<String>,
    /// The logins whose review is requested.
    pub requested_reviewers: Vec<String>,
    /// Whether it is a merged pull request.
    pub merged: bool,
}

// === seeding ===

/// Seeds name what exists: each panics, with the name, on one that does not.
impl FakeForge {
    /// A user with an API token; returns the user's id.
    pub fn add_user(&self, login: &str, token: &str) -> u64 {
        let mut state = self.state();
        let user = state.insert_user(login);
        state.tokens.insert(token.to_owned(), Token { user, scope: TokenScope::All });
        user
    }

    /// One more token of a user. With `scoped` it lacks `read:user`, so `GET /user` is 403.
    pub fn add_token(&self, login: &str, token: &str, scoped: bool) {
        self.add_scoped_token(login, token, if scoped { TokenScope::WithoutUser } else { TokenScope::All });
    }

    /// One more token of a user, good for this much.
    pub fn add_scoped_token(&self, login: &str, token: &str, scope: TokenScope) {
        let mut state = self.state();
        let user = user(&state, login);
        state.tokens.insert(token.to_owned(), Token { user, scope });
    }

    /// Withdraws a token.
    pub fn revoke_token(&self, token: &str) {
        self.state().tokens.remove(token);
    }

    /// Makes a user an administrator, who may write everywhere and act as others by `Sudo`.
    pub fn make_admin(&self, login: &str) {
        let mut state = self.state();
        let id = user(&state, login);
        state.users.entry(id).and_modify(|user| user.admin = true);
    }

    /// Gives a user a password for Basic.
    pub fn set_password(&self, login: &str, password: &str) {
        let mut state = self.state();
        let id = user(&state, login);
        state.users.entry(id).and_modify(|user| user.password = Some(password.to_owned()));
    }

    /// A session of the web interface: the value of the cookie `i_like_gitea`.
    pub fn add_session(&self, login: &str, cookie: &str) {
        let mut state = self.state();
        let id = user(&state, login);
        state.sessions.insert(cookie.to_owned(), id);
    }

    /// A session whose forms must carry this token, as up to Forgejo 13.
    pub fn add_session_with_token(&self, login: &str, cookie: &str, token: &str) {
        self.add_session(login, cookie);
        self.state().csrf.insert(cookie.to_owned(), token.to_owned());
    }

    /// A user's number.
    pub fn user_id(&self, login: &str) -> u64 {
        user(&self.state(), login)
    }

    /// The project and the column in which an issue's card is.
    pub fn board(&self, repo: &str, number: u64) -> Option<(u64, u64)> {
        let id = self.issue(repo, number).id;
        self.state().issues.get(&id).and_then(|row| row.board)
    }

    /// A public repository; its owner, who must exist, may write. Returns its id.
    pub fn add_repo(&self, owner: &str, name: &str) -> u64 {
        let mut state = self.state();
        let owner = user(&state, owner);
        state.insert_repo(owner, name)
    }

    /// Hides a repository from strangers, or shows it.
    pub fn set_private(&self, repo: &str, private: bool) {
        let mut state = self.state();
        let id = repo_id(&state, repo);
        state.repos.entry(id).and_modify(|repo| repo.private = private);
    }

    /// Lets a user write to a repository, and be assigned in it.
    pub fn grant_write(&self, login: &str, repo: &str) {
        let mut state = self.state();
        let (user, id) = (user(&state, login), repo_id(&state, repo));
        state.repos.entry(id).and_modify(|repo| repo.writers.extend([user]));
    }

    /// Lets a user read a private repository.
    pub fn grant_read(&self, login: &str, repo: &str) {
        let mut state = self.state();
        let (user, id) = (user(&state, login), repo_id(&state, repo));
        state.repos.entry(id).and_modify(|repo| repo.readers.extend([user]));
    }

    /// Lets a user read the pull requests of a private repository, and not its issues.
    pub fn grant_read_pulls(&self, login: &str, repo: &str) {
        let mut state = self.state();
        let (user, id) = (user(&state, login), repo_id(&state, repo));
        state.repos.entry(id).and_modify(|repo| repo.pull_readers.extend([user]));
    }

    /// Makes a user an organisation and gives it a label, which all of its repositories share; returns the label's id.
    pub fn add_owner_label(&self, owner: &str, name: &str) -> u64 {
        let mut state = self.state();
        let owner = user(&state, owner);
        state.insert_owner_label(owner, name)
    }

    /// A label; returns its id.
    pub fn add_label(&self, repo: &str, name: &str) -> u64 {
        self.new_label(repo, name, false)
    }

    /// A label that pushes out others of its scope, where the version knows that.
    pub fn add_exclusive_label(&self, repo: &str, name: &str) -> u64 {
        self.new_label(repo, name, true)
    }

    fn new_label(&self, repo: &str, name: &str, exclusive: bool) -> u64 {
        let mut state = self.state();
        let id = repo_id(&state, repo);
        state.insert_label(id, name, exclusive).map(|label| label.id).expect("the repository exists")
    }

    /// As many labels as somebody cares to make, with names that begin so, and with this description; on that issue, if one
    /// is named.
    pub fn flood_labels(&self, (repo, number): (&str, Option<u64>), count: usize, name: &str, description: &str) {
        let mut state = self.state();
        let repo = repo_id(&state, repo);
        let by = By { user: state.repos[&repo].owner, request: None };
        let issue = state.issues.values().find(|it| it.repo == repo && Some(it.number) == number).map(|issue| issue.id);
        for nth in 0..count {
            let Some(label) = state.insert_label(repo, &format!("{name}{nth}"), false) else { return };
            description.clone_into(&mut label.description);
            let id = label.id;
            if let Some(issue) = issue {
                state.attach(issue, id, false, by);
            }
        }
    }

    /// An issue, filed by the repository's owner.
    pub fn add_issue(&self, repo: &str, title: &str, labels: &[&str], assignees: &[&str]) -> IssueHandle {
        let owner = {
            let state = self.state();
            state.login(state.repos[&repo_id(&state, repo)].owner)
        };
        self.add_issue_by(&owner, (repo, title), labels, assignees)
    }

    /// An issue, filed by this user in that repository and with that title.
    pub fn add_issue_by(
        &self,
        poster: &str,
        (repo, title): (&str, &str),
        labels: &[&str],
        assignees: &[&str],
    ) -> IssueHandle {
        let mut state = self.state();
        let repo = repo_id(&state, repo);
        let by = By { user: user(&state, poster), request: None };
        let labels: Vec<u64> = labels.iter().map(|name| label_id(&state, repo, name)).collect();
        let assignees: Vec<u64> = assignees.iter().map(|login| user(&state, login)).collect();
        let id = state.insert_issue(repo, title, "", by);
        for label in labels {
            state.attach(id, label, false, by);
        }
        for assignee in assignees {
            state.assign(id, assignee, by);
        }
        IssueHandle { id, number: state.issues[&id].number }
    }

    /// A pull request from `head` to `base`. Its `id` here is its issue's, not the pull's own.
    pub fn add_pull(&self, repo: &str, title: &str, head: &str, base: &str) -> IssueHandle {
        let handle = self.add_issue(repo, title, &[], &[]);
        self.state().make_pull(handle.id, head, base);
        handle
    }

    /// A fork of a repository, with the same name.
    pub fn add_fork(&self, owner: &str, of: &str) -> u64 {
        let name = of.split_once('/').map_or(of, |(_, name)| name);
        let id = self.add_repo(owner, name);
        let mut state = self.state();
        let parent = repo_id(&state, of);
        state.repos.entry(id).and_modify(|repo| repo.parent = Some(parent));
        id
    }

    /// A pull request from a branch of another repository.
    pub fn add_pull_from(&self, from: &str, repo: &str, head: &str, base: &str) -> IssueHandle {
        let handle = self.add_pull(repo, "from a fork", head, base);
        let mut state = self.state();
        let from = repo_id(&state, from);
        if let Some(pull) = state.issues.get_mut(&handle.id).and_then(|row| row.pull.as_mut()) {
            pull.from = Some(from);
        }
        handle
    }

    /// The branch whose pushes may close an issue.
    pub fn git_ref(&self, repo: &str, number: u64) -> String {
        let id = self.issue(repo, number).id;
        self.state().issues[&id].git_ref.clone()
    }

    /// Pushes to a pull request's branch: it has a new head commit, whose id this returns.
    pub fn push(&self, repo: &str, number: u64) -> String {
        let mut state = self.state();
        let id = issue_id(&state, repo, number);
        let pull = state.issues.get_mut(&id).and_then(|row| row.pull.as_mut()).expect("it is a pull request");
        pull.pushes += 1;
        super::render::head(pull)
    }

    /// The verdict and the author of each of a pull request's reviews, dismissed ones left out.
    pub fn reviews(&self, repo: &str, number: u64) -> Vec<(String, String)> {
        let state = self.state();
        let pull = state.issues[&issue_id(&state, repo, number)].pull.as_ref().expect("it is a pull request");
        let standing = pull.reviews.iter().filter(|review| !review.dismissed);
        standing.map(|review| (review.state.clone(), state.login(review.user))).collect()
    }

    /// How many open pull requests a repository has.
    pub fn open_pulls(&self, repo: &str) -> usize {
        let state = self.state();
        let id = repo_id(&state, repo);
        state.issues.values().filter(|row| row.repo == id && row.pull.is_some() && row.closed_at.is_none()).count()
    }
}

// === reading ===

impl FakeForge {
    /// An issue or pull request as it is now.
    pub fn issue(&self, repo: &str, number: u64) -> IssueView {
        let state = self.state();
        view(&state, issue_id(&state, repo, number))
    }

    /// How many issues and pull requests a repository has: numbers begin with 1.
    pub fn issues(&self, repo: &str) -> usize {
        let state = self.state();
        state.repos[&repo_id(&state, repo)].numbers.len()
    }

    /// Everything that has happened to an issue, in order.
    pub fn events(&self, repo: &str, number: u64) -> Vec<Event> {
        let state = self.state();
        state.issues[&issue_id(&state, repo, number)].events.clone()
    }

    /// The most users that an issue was ever assigned to at once.
    pub fn max_assignees_ever(&self, repo: &str, number: u64) -> usize {
        let state = self.state();
        state.issues[&issue_id(&state, repo, number)].most_assignees
    }

    /// Every request received, in order.
    pub fn requests(&self) -> Vec<Logged> {
        self.state().log.entries().cloned().collect()
    }

    /// The requests whose path mentions this issue or pull request.
    pub fn requests_about(&self, repo: &str, number: u64) -> Vec<Logged> {
        self.state().log.entries().filter(|entry| entry.is_about(repo, number)).cloned().collect()
    }

    /// Empties the log of requests; numbers go on. A request still under way then leaves no entry.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    fn state(&self) -> MutexGuard<'_, ForgeState> {
        self.inner.state()
    }
}

// === outsiders: what a human does in the web interface, past everything that stands in front ===

impl FakeForge {
    /// Sets the assignees, as this user.
    pub fn outside_assign(&self, doer: &str, repo: &str, number: u64, assignees: &[&str]) {
        let mut state = self.state();
        let (issue, by) = (issue_id(&state, repo, number), outsider(&state, doer));
        let wanted: Vec<u64> = assignees.iter().map(|login| user(&state, login)).collect();
        let before = state.issues[&issue].assignees.clone();
        for gone in before.iter().filter(|id| !wanted.contains(id)) {
            state.unassign(issue, *gone, by, false);
        }
        for new in wanted.iter().filter(|id| !before.contains(id)) {
            state.assign(issue, *new, by);
        }
    }

    /// Sets the labels, as this user.
    pub fn outside_labels(&self, doer: &str, repo: &str, number: u64, labels: &[&str]) {
        let mut state = self.state();
        let (issue, by) = (issue_id(&state, repo, number), outsider(&state, doer));
        let repo = state.issues[&issue].repo;
        let wanted: Vec<u64> = labels.iter().map(|name| label_id(&state, repo, name)).collect();
        for gone in state.issues[&issue].labels.clone().into_iter().filter(|id| !wanted.contains(id)) {
            state.detach(issue, gone, by, false);
        }
        for new in wanted {
            state.attach(issue, new, false, by);
        }
    }

    /// Closes an issue, as this user.
    pub fn outside_close(&self, doer: &str, repo: &str, number: u64) {
        self.outside_state(doer, repo, number, true);
    }

    /// Reopens an issue, as this user.
    pub fn outside_reopen(&self, doer: &str, repo: &str, number: u64) {
        self.outside_state(doer, repo, number, false);
    }

    fn outside_state(&self, doer: &str, repo: &str, number: u64, closed: bool) {
        let mut state = self.state();
        let (issue, by) = (issue_id(&state, repo, number), outsider(&state, doer));
        state.set_closed(issue, closed, by);
    }

    /// Deletes an issue.
    pub fn outside_delete(&self, doer: &str, repo: &str, number: u64) {
        let mut state = self.state();
        let (issue, by) = (issue_id(&state, repo, number), outsider(&state, doer));
        state.delete_issue(issue, by);
    }

    /// Removes a collaborator, and silently all of their assignments.
    pub fn outside_remove_collaborator(&self, doer: &str, repo: &str, login: &str) {
        let mut state = self.state();
        let (repo, user, by) = (repo_id(&state, repo), user(&state, login), outsider(&state, doer));
        state.remove_collaborator(repo, user, by);
    }

    /// Renames a repository; the old name redirects.
    pub fn rename_repo(&self, repo: &str, name: &str) {
        let mut state = self.state();
        let id = repo_id(&state, repo);
        state.rename_repo(id, name);
    }
}

// === vices ===

impl FakeForge {
    /// The standing vices.
    pub fn vices(&self) -> Vices {
        self.state().vices.clone()
    }

    /// Sets the standing vices, for requests that arrive from now on.
    pub fn set_vices(&self, vices: Vices) {
        self.state().vices = vices;
    }

    /// Scripts a fault for the next requests that match. Of several scripts the oldest goes first.
    pub fn script(&self, fault: Fault, matcher: Matcher) {
        self.state().script.add(fault, matcher);
    }

    /// How many scripted faults have not befallen anything yet.
    pub fn script_remaining(&self) -> usize {
        self.state().script.remaining()
    }

    /// Forgets the script.
    pub fn clear_script(&self) {
        self.state().script.clear();
    }
}

fn user(state: &ForgeState, login: &str) -> u64 {
    state.user_named(login).unwrap_or_else(|| panic!("no user {login}")).id
}

fn outsider(state: &ForgeState, login: &str) -> By {
    By { user: user(state, login), request: None }
}

fn repo_id(state: &ForgeState, name: &str) -> u64 {
    state.repo_known_as(name).unwrap_or_else(|| panic!("no repository {name}")).id
}

fn label_id(state: &ForgeState, repo: u64, name: &str) -> u64 {
    let repo = &state.repos[&repo];
    let found = repo.labels.values().chain(state.labels_of_owner(repo)).find(|label| label.name == name);
    found.unwrap_or_else(|| panic!("no label {name}")).id
}

fn issue_id(state: &ForgeState, repo: &str, number: u64) -> u64 {
    let found = state.repos[&repo_id(state, repo)].numbers.get(&number);
    *found.unwrap_or_else(|| panic!("no issue {repo}#{number}"))
}

fn view(state: &ForgeState, issue: u64) -> IssueView {
    let row = &state.issues[&issue];
    let known = |id: &u64| state.label_for(&state.repos[&row.repo], *id).expect("what it carries exists").name.clone();
    let mut labels: Vec<String> = row.labels.iter().map(known).collect();
    labels.sort();
    let logins = |ids: &[u64]| ids.iter().map(|id| state.login(*id)).collect::<Vec<_>>();
    IssueView {
        id: row.id,
        number: row.number,
        title: row.title.clone(),
        body: row.body.clone(),
        assignees: logins(&row.assignees),
        labels,
        state: if row.closed_at.is_some() { "closed" } else { "open" },
        comments: row.comments.iter().map(|comment| comment.body.clone()).collect(),
        requested_reviewers: row.pull.as_ref().map(|pull| logins(&pull.requested)).unwrap_or_default(),
        merged: row.pull.as_ref().is_some_and(|pull| pull.merged.is_some()),
    }
}
