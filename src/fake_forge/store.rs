//! The forge's rows, and the few ways to change them. Each change leaves its event and marks its request as applied.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;

use super::journal::{Event, Happening, Log};
use super::options::Options;
use super::vices::{Script, Vices};

/// 2026-01-01T00:00:00Z: what the forge's clock shows at its start. The calendar is not the machine's, so runs repeat.
const EPOCH: i64 = 1_767_225_600;

#[derive(Debug)]
pub(super) struct ForgeState {
    pub(super) root: String,
    pub(super) users: BTreeMap<u64, User>,
    pub(super) tokens: HashMap<String, Token>,
    pub(super) sessions: HashMap<String, u64>,
    /// The tokens of sessions whose forms must carry one.
    pub(super) csrf: HashMap<String, String>,
    pub(super) repos: BTreeMap<u64, Repo>,
    /// Of organisations: by owner, then by id.
    pub(super) owner_labels: BTreeMap<u64, BTreeMap<u64, Label>>,
    pub(super) issues: BTreeMap<u64, Issue>,
    pub(super) log: Log,
    pub(super) vices: Vices,
    pub(super) script: Script,
    logins: HashMap<String, u64>,
    names: HashMap<String, u64>,
    next: Next,
    started: Instant,
}

#[derive(Debug)]
struct Next {
    user: u64,
    repo: u64,
    label: u64,
    issue: u64,
    comment: u64,
    pull: u64,
    row: u64,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) admin: bool,
    pub(super) password: Option<String>,
    pub(super) created: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) user: u64,
    pub(super) scope: TokenScope,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenScope {
    /// Everything.
    #[default]
    All,
    /// All but `read:user`: `GET /user` is 403.
    WithoutUser,
    /// `write:repository` alone: the calls of issues and of the user are 403, those of pull requests work.
    RepositoryOnly,
    /// All, but in public repositories only.
    PublicOnly,
}

#[derive(Debug)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: u64,
    pub(super) name: String,
    pub(super) private: bool,
    pub(super) archived: bool,
    pub(super) readers: BTreeSet<u64>,
    pub(super) writers: BTreeSet<u64>,
    /// May read its pull requests and not its issues: a team with that unit alone.
    pub(super) pull_readers: BTreeSet<u64>,
    pub(super) labels: BTreeMap<u64, Label>,
    pub(super) numbers: BTreeMap<u64, u64>,
    pub(super) created: i64,
    /// Of which it is a fork.
    pub(super) parent: Option<u64>,
    next_number: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) color: String,
    pub(super) description: String,
    pub(super) exclusive: bool,
}

#[derive(Debug)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) repo: u64,
    pub(super) number: u64,
    pub(super) poster: u64,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) git_ref: String,
    pub(super) closed_at: Option<i64>,
    pub(super) created: i64,
    pub(super) updated: i64,
    /// In order of insertion; the table has no unique pair, so one user can be in it twice.
    pub(super) assignees: Vec<u64>,
    pub(super) labels: Vec<u64>,
    pub(super) comments: Vec<Comment>,
    pub(super) events: Vec<Event>,
    pub(super) most_assignees: usize,
    /// Project and column; no row of any timeline tells of it.
    pub(super) board: Option<(u64, u64)>,
    pub(super) pull: Option<Pull>,
    /// What must be closed before it.
    pub(super) depends_on: Vec<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) user: u64,
    pub(super) body: String,
    pub(super) created: i64,
}

#[derive(Debug)]
pub(super) struct Pull {
    pub(super) id: u64,
    /// The repository of its branch, where that is another.
    pub(super) from: Option<u64>,
    pub(super) head: String,
    pub(super) base: String,
    pub(super) merged: Option<Merged>,
    pub(super) requested: Vec<u64>,
    pub(super) reviews: Vec<Review>,
    /// How often its branch was pushed to since it was opened.
    pub(super) pushes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Merged {
    pub(super) at: i64,
    pub(super) by: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Review {
    pub(super) id: u64,
    pub(super) user: u64,
    pub(super) state: String,
    pub(super) body: String,
    pub(super) commit: String,
    pub(super) dismissed: bool,
    pub(super) at: i64,
}

/// On whose behalf a row changes: the user, and the request if there was one.
#[derive(Debug, Clone, Copy)]
pub(super) struct By {
    pub(super) user: u64,
    pub(super) request: Option<u64>,
}

impl ForgeState {
    pub(super) fn new(options: &Options, address: &str) -> Self {
        let first = options.first_ids;
        Self {
            root: options.root_url.clone().unwrap_or_else(|| address.to_owned()),
            users: BTreeMap::new(),
            tokens: HashMap::new(),
            sessions: HashMap::new(),
            csrf: HashMap::new(),
            repos: BTreeMap::new(),
            owner_labels: BTreeMap::new(),
            issues: BTreeMap::new(),
            log: Log::new(options.log_capacity),
            vices: Vices::default(),
            script: Script::default(),
            logins: HashMap::new(),
            names: HashMap::new(),
            next: Next {
                user: 1,
                repo: first.repo,
                label: first.label,
                issue: first.issue,
                comment: first.comment,
                pull: 1,
                row: 1,
            },
            started: Instant::now(),
        }
    }

    /// Seconds since 1970 on the forge's own calendar, which runs on tokio's clock.
    pub(super) fn now(&self) -> i64 {
        self.seconds_at(Instant::now())
    }

    /// The same for another instant.
    pub(super) fn seconds_at(&self, instant: Instant) -> i64 {
        EPOCH + i64::try_from(instant.duration_since(self.started).as_secs()).unwrap_or_default()
    }

    // === users ===

    pub(super) fn insert_user(&mut self, login: &str) -> u64 {
        let id = take(&mut self.next.user);
        let created = self.now();
        let user = User { id, login: login.to_owned(), admin: false, password: None, created };
        self.users.insert(id, user);
        self.logins.insert(fold(login), id);
        id
    }

    pub(super) fn user_named(&self, login: &str) -> Option<&User> {
        self.users.get(self.logins.get(&fold(login))?)
    }

    /// A user's login, for history and logs.
    pub(super) fn login(&self, id: u64) -> String {
        self.users.get(&id).map_or_else(|| "ghost".to_owned(), |user| user.login.clone())
    }

    // === repositories ===

    pub(super) fn insert_repo(&mut self, owner: u64, name: &str) -> u64 {
        let id = take(&mut self.next.repo);
        let created = self.now();
        let repo = Repo {
            id,
            owner,
            name: name.to_owned(),
            private: false,
            archived: false,
            readers: BTreeSet::new(),
            writers: BTreeSet::new(),
            pull_readers: BTreeSet::new(),
            labels: BTreeMap::new(),
            numbers: BTreeMap::new(),
            created,
            parent: None,
            next_number: 1,
        };
        self.repos.insert(id, repo);
        self.names.insert(fold(&format!("{}/{name}", self.login(owner))), id);
        id
    }

    /// The repository that has, or once had, this name.
    pub(super) fn repo_known_as(&self, full_name: &str) -> Option<&Repo> {
        self.repos.get(self.names.get(&fold(full_name))?)
    }

    pub(super) fn full_name(&self, repo: &Repo) -> String {
        format!("{}/{}", self.login(repo.owner), repo.name)
    }

    pub(super) fn is_current_name(&self, repo: &Repo, full_name: &str) -> bool {
        fold(&self.full_name(repo)) == fold(full_name)
    }

    /// The old name stays as a redirect.
    pub(super) fn rename_repo(&mut self, id: u64, name: &str) {
        let Some(repo) = self.repos.get_mut(&id) else {
            return;
        };
        name.clone_into(&mut repo.name);
        let full = format!("{}/{name}", self.login(self.repos[&id].owner));
        self.names.insert(fold(&full), id);
    }

    pub(super) fn can_write(&self, repo: &Repo, user: Option<u64>) -> bool {
        user.is_some_and(|user| {
            repo.owner == user || repo.writers.contains(&user) || self.users.get(&user).is_some_and(|user| user.admin)
        })
    }

    /// Whether there is something in it that they may read.
    pub(super) fn can_read(&self, repo: &Repo, user: Option<u64>) -> bool {
        self.can_read_issues(repo, user) || user.is_some_and(|user| repo.pull_readers.contains(&user))
    }

    pub(super) fn can_read_issues(&self, repo: &Repo, user: Option<u64>) -> bool {
        !repo.private || self.can_write(repo, user) || user.is_some_and(|user| repo.readers.contains(&user))
    }

    /// Removes a collaborator and, silently, all of their assignments in the repository.
    pub(super) fn remove_collaborator(&mut self, repo: u64, user: u64, by: By) {
        let Some(row) = self.repos.get_mut(&repo) else {
            return;
        };
        row.writers.remove(&user);
        row.readers.remove(&user);
        row.pull_readers.remove(&user);
        for issue in row.numbers.values().copied().collect::<Vec<_>>() {
            self.unassign(issue, user, by, true);
        }
        self.mark_applied(by);
    }

    // === labels of a repository ===

    pub(super) fn insert_label(&mut self, repo: u64, name: &str, exclusive: bool) -> Option<&mut Label> {
        let id = take(&mut self.next.label);
        let label = Label { id, name: name.to_owned(), color: "cccccc".into(), description: String::new(), exclusive };
        let repo = self.repos.get_mut(&repo)?;
        repo.labels.insert(id, label);
        repo.labels.get_mut(&id)
    }

    /// A label of everything that this owner has.
    pub(super) fn insert_owner_label(&mut self, owner: u64, name: &str) -> u64 {
        let id = take(&mut self.next.label);
        let label =
            Label { id, name: name.to_owned(), color: "cccccc".into(), description: String::new(), exclusive: false };
        self.owner_labels.entry(owner).or_default().insert(id, label);
        id
    }

    /// A label that issues of the repository may carry: its own, or its owner's.
    pub(super) fn label_for<'a>(&'a self, repo: &'a Repo, id: u64) -> Option<&'a Label> {
        repo.labels.get(&id).or_else(|| self.labels_of_owner(repo).find(|label| label.id == id))
    }

    pub(super) fn labels_of_owner(&self, repo: &Repo) -> impl Iterator<Item = &Label> {
        self.owner_labels.get(&repo.owner).into_iter().flat_map(BTreeMap::values)
    }

    /// Deletes a label everywhere, without a trace in any timeline.
    pub(super) fn delete_label(&mut self, repo: u64, label: u64, by: By) {
        let Some(row) = self.repos.get(&repo) else {
            return;
        };
        for issue in row.numbers.values().copied().collect::<Vec<_>>() {
            self.detach(issue, label, by, true);
        }
        self.repos.get_mut(&repo).and_then(|row| row.labels.remove(&label));
        self.mark_applied(by);
    }

    // === issues ===

    pub(super) fn insert_issue(&mut self, repo: u64, title: &str, body: &str, by: By) -> u64 {
        let id = take(&mut self.next.issue);
        let now = self.now();
        let row = self.repos.get_mut(&repo).expect("the repository of a new issue exists");
        let number = take(&mut row.next_number);
        row.numbers.insert(number, id);
        let issue = Issue {
            id,
            repo,
            number,
            poster: by.user,
            title: title.to_owned(),
            body: body.to_owned(),
            git_ref: String::new(),
            closed_at: None,
            created: now,
            updated: now,
            assignees: Vec::new(),
            labels: Vec::new(),
            comments: Vec::new(),
            events: Vec::new(),
            most_assignees: 0,
            board: None,
            depends_on: Vec::new(),
            pull: None,
        };
        self.issues.insert(id, issue);
        self.mark_applied(by);
        id
    }

    pub(super) fn make_pull(&mut self, issue: u64, head: &str, base: &str) {
        let id = take(&mut self.next.pull);
        let pull = Pull {
            id,
            from: None,
            head: head.to_owned(),
            base: base.to_owned(),
            merged: None,
            requested: Vec::new(),
            reviews: Vec::new(),
            pushes: 0,
        };
        if let Some(row) = self.issues.get_mut(&issue) {
            row.pull = Some(pull);
        }
    }

    pub(super) fn delete_issue(&mut self, issue: u64, by: By) {
        if let Some(row) = self.issues.remove(&issue)
            && let Some(repo) = self.repos.get_mut(&row.repo)
        {
            repo.numbers.remove(&row.number);
            self.mark_applied(by);
        }
    }

    /// Inserts the row, whether or not the user is assigned already.
    pub(super) fn assign(&mut self, issue: u64, user: u64, by: By) {
        let login = self.login(user);
        let Some(row) = self.issues.get_mut(&issue) else {
            return;
        };
        row.assignees.push(user);
        let distinct = row.assignees.iter().collect::<BTreeSet<_>>().len();
        row.most_assignees = row.most_assignees.max(distinct);
        self.happened(issue, Happening::Assigned(login), by, false);
    }

    pub(super) fn unassign(&mut self, issue: u64, user: u64, by: By, silent: bool) {
        let login = self.login(user);
        let Some(row) = self.issues.get_mut(&issue) else {
            return;
        };
        let before = row.assignees.len();
        row.assignees.retain(|assignee| *assignee != user);
        if row.assignees.len() < before {
            self.happened(issue, Happening::Unassigned(login), by, silent);
        }
    }

    /// Adds a label, once. With `exclusive`, others of its scope go first.
    pub(super) fn attach(&mut self, issue: u64, label: u64, exclusive: bool, by: By) {
        let Some((name, rivals)) = self.label_and_rivals(issue, label) else {
            return;
        };
        if exclusive {
            for rival in rivals {
                self.detach(issue, rival, by, false);
            }
        }
        let Some(row) = self.issues.get_mut(&issue) else {
            return;
        };
        if !row.labels.contains(&label) {
            row.labels.push(label);
            self.happened(issue, Happening::Labeled(name), by, false);
        }
    }

    pub(super) fn detach(&mut self, issue: u64, label: u64, by: By, silent: bool) {
        let Some((name, _)) = self.label_and_rivals(issue, label) else {
            return;
        };
        let Some(row) = self.issues.get_mut(&issue) else {
            return;
        };
        let before = row.labels.len();
        row.labels.retain(|other| *other != label);
        if row.labels.len() < before {
            self.happened(issue, Happening::Unlabeled(name), by, silent);
        }
    }

    /// The name of a label of the issue's repository, and the issue's labels that its exclusive scope pushes out.
    fn label_and_rivals(&self, issue: u64, label: u64) -> Option<(String, Vec<u64>)> {
        let row = self.issues.get(&issue)?;
        let repo = self.repos.get(&row.repo)?;
        let wanted = self.label_for(repo, label)?;
        let rival = |id: &&u64| {
            let excludes = |other: &Label| other.exclusive && same_scope(&other.name, &wanted.name);
            **id != label && wanted.exclusive && self.label_for(repo, **id).is_some_and(excludes)
        };
        let rivals = row.labels.iter().filter(rival).copied().collect();
        Some((wanted.name.clone(), rivals))
    }

    pub(super) fn set_closed(&mut self, issue: u64, closed: bool, by: By) {
        let now = self.now();
        let Some(row) = self.issues.get_mut(&issue) else {
            return;
        };
        if row.closed_at.is_some() == closed {
            return;
        }
        row.closed_at = closed.then_some(now);
        let what = if closed { Happening::Closed } else { Happening::Reopened };
        self.happened(issue, what, by, false);
    }

    pub(super) fn insert_comment(&mut self, issue: u64, body: &str, by: By) -> Option<Comment> {
        let comment =
            Comment { id: take(&mut self.next.comment), user: by.user, body: body.to_owned(), created: self.now() };
        let row = self.issues.get_mut(&issue)?;
        row.comments.push(comment.clone());
        row.updated = comment.created;
        self.mark_applied(by);
        Some(comment)
    }

    /// Puts a card into a column, or takes it off its board.
    pub(super) fn set_board(&mut self, issue: u64, board: Option<(u64, u64)>, by: By) {
        if let Some(row) = self.issues.get_mut(&issue) {
            row.board = board;
            self.mark_applied(by);
        }
    }

    pub(super) fn next_row(&mut self) -> u64 {
        take(&mut self.next.row)
    }

    pub(super) fn touch(&mut self, issue: u64) {
        let now = self.now();
        if let Some(row) = self.issues.get_mut(&issue) {
            row.updated = now;
        }
    }

    /// Enters an event; every change of a guarded field ends here.
    pub(super) fn happened(&mut self, issue: u64, what: Happening, by: By, silent: bool) {
        let id = take(&mut self.next.comment);
        let event = Event { id, what, doer: self.login(by.user), request: by.request, at: Instant::now(), silent };
        let now = self.now();
        if let Some(row) = self.issues.get_mut(&issue) {
            row.events.push(event);
            if !silent {
                row.updated = now;
            }
        }
        self.mark_applied(by);
    }

    pub(super) fn mark_applied(&mut self, by: By) {
        if let Some(entry) = by.request.and_then(|seq| self.log.get_mut(seq)) {
            entry.applied = true;
        }
    }
}

fn take(next: &mut u64) -> u64 {
    let id = *next;
    *next += 1;
    id
}

fn same_scope(one: &str, other: &str) -> bool {
    scope(one).is_some_and(|found| Some(found) == scope(other))
}

/// Everything before the last slash; none if that is the first or the last character.
fn scope(name: &str) -> Option<&str> {
    let (scope, rest) = name.rsplit_once('/')?;
    (!scope.is_empty() && !rest.is_empty()).then_some(scope)
}

/// Names compare as under Go's `ToLower`: the Kelvin sign is a k, and a dotted capital I is an i.
pub(super) fn fold(name: &str) -> String {
    name.chars().map(|c| if c == '\u{130}' { 'i' } else { c.to_lowercase().next().unwrap_or(c) }).collect()
}
