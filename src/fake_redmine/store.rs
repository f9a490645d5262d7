//! The rows, and what Redmine's default roles may do with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;

use super::options::Options;
use crate::fake_forge::{Log, Script, Vices};

/// 2026-01-01T00:00:00Z: what the clock shows at the start. The calendar is not the machine's, so runs repeat.
const EPOCH: i64 = 1_767_225_600;

#[derive(Debug)]
pub(super) struct RedmineState {
    pub(super) principals: BTreeMap<u64, Principal>,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) projects: BTreeMap<u64, Project>,
    pub(super) statuses: Vec<Status>,
    pub(super) issues: BTreeMap<u64, Issue>,
    pub(super) log: Log,
    pub(super) vices: Vices,
    pub(super) script: Script,
    next_principal: u64,
    next_issue: u64,
    next_journal: u64,
    started: Instant,
}

/// A user, or a group, which can be assigned and cannot sign in.
#[derive(Debug, Clone)]
pub(super) struct Principal {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) name: (String, String),
    pub(super) key: String,
    pub(super) admin: bool,
    pub(super) is_group: bool,
    pub(super) created: i64,
    pub(super) last_login: Option<i64>,
}

/// A browser's session, and the token that its forms must carry.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) user: u64,
    pub(super) token: String,
}

#[derive(Debug)]
pub(super) struct Project {
    pub(super) id: u64,
    pub(super) identifier: String,
    pub(super) name: String,
    pub(super) is_public: bool,
    /// With the role of a developer, in the order in which they came.
    pub(super) members: Vec<u64>,
    pub(super) created: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) is_closed: bool,
    /// Where a developer may go from here; an administrator may go anywhere.
    pub(super) next: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) project: u64,
    pub(super) author: u64,
    pub(super) subject: String,
    pub(super) description: Option<String>,
    pub(super) assigned_to: Option<u64>,
    pub(super) status: u64,
    pub(super) lock_version: i64,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) closed: Option<i64>,
    pub(super) journals: Vec<Journal>,
}

/// One update, with the fields that it changed: name, old, new.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    pub(super) id: u64,
    pub(super) user: u64,
    pub(super) notes: String,
    pub(super) at: i64,
    pub(super) details: Vec<(&'static str, Option<String>, Option<String>)>,
}

impl Issue {
    /// A free one without a word, as all begin.
    pub(super) fn blank(id: u64, project: u64, author: u64, now: i64) -> Self {
        Self {
            id,
            project,
            author,
            subject: String::new(),
            description: None,
            assigned_to: None,
            status: 1,
            lock_version: 0,
            created: now,
            updated: now,
            closed: None,
            journals: Vec::new(),
        }
    }
}

impl RedmineState {
    pub(super) fn new(options: &Options) -> Self {
        let mut state = Self {
            principals: BTreeMap::new(),
            sessions: HashMap::new(),
            projects: BTreeMap::new(),
            statuses: statuses(),
            issues: BTreeMap::new(),
            log: Log::new(options.log_capacity),
            vices: Vices::default(),
            script: Script::default(),
            next_principal: 1,
            next_issue: options.first_issue,
            next_journal: 1,
            started: Instant::now(),
        };
        state.insert_principal("admin", ("Redmine", "Admin"), false);
        // The groups of non-members and of the anonymous, and the anonymous user itself.
        state.next_principal = 5;
        state
    }

    /// Seconds since 1970, by tokio's clock.
    pub(super) fn now(&self) -> i64 {
        EPOCH + i64::try_from(self.started.elapsed().as_secs()).unwrap_or(0)
    }

    pub(super) fn insert_principal(&mut self, login: &str, name: (&str, &str), is_group: bool) -> u64 {
        let id = self.next_principal;
        self.next_principal += 1;
        let principal = Principal {
            id,
            login: login.to_owned(),
            name: (name.0.to_owned(), name.1.to_owned()),
            key: String::new(),
            admin: login == "admin",
            is_group,
            created: self.now(),
            last_login: None,
        };
        self.principals.insert(id, principal);
        id
    }

    pub(super) fn user_named(&self, login: &str) -> Option<&Principal> {
        self.principals.values().find(|user| !user.is_group && user.login.eq_ignore_ascii_case(login))
    }

    /// The user with that API key.
    pub(super) fn user_with(&self, key: &str) -> Option<u64> {
        self.principals.values().find(|user| !user.is_group && user.key == key).map(|user| user.id)
    }

    pub(super) fn project_named(&self, name: &str) -> Option<&Project> {
        self.projects.values().find(|project| project.identifier == name || project.id.to_string() == name)
    }

    pub(super) fn status(&self, id: u64) -> Option<&Status> {
        self.statuses.iter().find(|status| status.id == id)
    }

    pub(super) fn is_admin(&self, user: Option<u64>) -> bool {
        user.and_then(|id| self.principals.get(&id)).is_some_and(|user| user.admin)
    }

    pub(super) fn is_member(&self, project: u64, user: Option<u64>) -> bool {
        let members = self.projects.get(&project).map(|project| &project.members);
        user.zip(members).is_some_and(|(user, members)| members.contains(&user))
    }

    /// Whether the user sees the project and its issues.
    pub(super) fn can_see(&self, project: u64, user: Option<u64>) -> bool {
        let is_public = self.projects.get(&project).is_some_and(|project| project.is_public);
        is_public || self.is_member(project, user) || self.is_admin(user)
    }

    /// Who is signed in may add issues and notes wherever they see a project; editing is for members.
    pub(super) fn can_edit(&self, project: u64, user: Option<u64>) -> bool {
        self.is_member(project, user) || self.is_admin(user)
    }

    /// The statuses that the user may give an issue, its own among them.
    pub(super) fn allowed(&self, issue: &Issue, user: Option<u64>) -> Vec<u64> {
        let all = || self.statuses.iter().map(|status| status.id);
        if self.is_admin(user) {
            return all().collect();
        }
        if !self.is_member(issue.project, user) {
            return vec![issue.status];
        }
        let next = self.status(issue.status).map(|status| status.next.clone()).unwrap_or_default();
        all().filter(|id| *id == issue.status || next.contains(id)).collect()
    }

    /// Members (users and groups), the author, and whoever is assigned already.
    pub(super) fn is_assignable(&self, issue: &Issue, principal: u64) -> bool {
        self.is_member(issue.project, Some(principal))
            || (issue.author == principal && self.principals.contains_key(&principal))
            || issue.assigned_to == Some(principal)
    }

    pub(super) fn insert_issue(&mut self, project: u64, author: u64, subject: &str) -> u64 {
        let (id, now) = (self.next_issue, self.now());
        self.next_issue += 1;
        let issue = Issue { subject: subject.to_owned(), ..Issue::blank(id, project, author, now) };
        self.issues.insert(id, issue);
        id
    }

    /// Saves what a request made of an issue that it had loaded; false where the row has changed since.
    pub(super) fn save(&mut self, wanted: &Issue, notes: &str, by: u64) -> bool {
        let now = self.now();
        let is_closed = self.status(wanted.status).is_some_and(|status| status.is_closed);
        let Some(row) = self.issues.get_mut(&wanted.id) else { return false };
        let changes = details(row, wanted);
        if changes.is_empty() && notes.is_empty() {
            return true;
        }
        if row.lock_version != wanted.lock_version {
            return false;
        }
        row.subject.clone_from(&wanted.subject);
        row.description.clone_from(&wanted.description);
        row.assigned_to = wanted.assigned_to;
        row.project = wanted.project;
        if row.status != wanted.status && is_closed {
            row.closed = Some(now);
        }
        row.status = wanted.status;
        row.lock_version += 1;
        row.updated = now;
        let id = self.next_journal;
        self.next_journal += 1;
        row.journals.push(Journal { id, user: by, notes: notes.to_owned(), at: now, details: changes });
        true
    }
}

fn details(row: &Issue, wanted: &Issue) -> Vec<(&'static str, Option<String>, Option<String>)> {
    let number = |id: Option<u64>| id.map(|id| id.to_string());
    let all = [
        ("project_id", number(Some(row.project)), number(Some(wanted.project))),
        ("subject", Some(row.subject.clone()), Some(wanted.subject.clone())),
        ("description", row.description.clone(), wanted.description.clone()),
        ("status_id", number(Some(row.status)), number(Some(wanted.status))),
        ("assigned_to_id", number(row.assigned_to), number(wanted.assigned_to)),
    ];
    all.into_iter().filter(|(_, old, new)| old != new).collect()
}

/// Redmine's default data: the workflow of a developer.
fn statuses() -> Vec<Status> {
    let all: [(u64, &str, bool, &[u64]); 6] = [
        (1, "New", false, &[2, 3, 4, 5]),
        (2, "In Progress", false, &[3, 4, 5]),
        (3, "Resolved", false, &[2, 4, 5]),
        (4, "Feedback", false, &[2, 3, 5]),
        (5, "Closed", true, &[]),
        (6, "Rejected", true, &[]),
    ];
    let status = |(id, name, is_closed, next): (u64, &str, bool, &[u64])| Status {
        id,
        name: name.to_owned(),
        is_closed,
        next: next.iter().copied().collect(),
    };
    all.into_iter().map(status).collect()
}
