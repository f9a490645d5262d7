//! What a test does to Redmine directly, without a request: seed it, look at it, act as somebody outside, set faults.

use std::sync::MutexGuard;

use super::FakeRedmine;
use super::store::{Project, RedmineState, Session};
use crate::fake_forge::{Fault, Logged, Matcher, Vices};

/// An issue as it is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueView {
    /// Its number, which stays when it moves to another project.
    pub id: u64,
    /// Its subject.
    pub subject: String,
    /// The login of a user, or the name of a group.
    pub assigned_to: Option<String>,
    /// The name of its status.
    pub status: String,
    /// Whether that status is a closed one.
    pub is_closed: bool,
    /// The notes of its journals, oldest first, empty ones left out.
    pub notes: Vec<String>,
}

/// Seeds name what exists: each panics, with the name, on one that does not.
impl FakeRedmine {
    /// A user with an API key and the password `Passw0rd-LOGIN`; returns the user's id. `admin` is there already and
    /// only gets the key.
    pub fn add_user(&self, login: &str, key: &str) -> u64 {
        let mut state = self.state();
        let known = state.user_named(login).map(|user| user.id);
        let id = known.unwrap_or_else(|| state.insert_principal(login, (login, "Agent"), false));
        state.principals.entry(id).and_modify(|user| key.clone_into(&mut user.key));
        id
    }

    /// A group, which can be assigned; returns its id.
    pub fn add_group(&self, name: &str) -> u64 {
        self.state().insert_principal(name, ("", name), true)
    }

    /// A project that everybody sees; returns its id.
    pub fn add_project(&self, identifier: &str, name: &str) -> u64 {
        let mut state = self.state();
        let id = state.projects.keys().next_back().map_or(1, |last| last + 1);
        let created = state.now();
        let project = Project {
            id,
            identifier: identifier.to_owned(),
            name: name.to_owned(),
            is_public: true,
            members: Vec::new(),
            created,
        };
        state.projects.insert(id, project);
        id
    }

    /// Hides a project from everybody but its members and administrators.
    pub fn make_private(&self, project: &str) {
        let mut state = self.state();
        let id = project_id(&state, project);
        state.projects.entry(id).and_modify(|project| project.is_public = false);
    }

    /// Makes a user or a group a developer of a project.
    pub fn add_member(&self, project: &str, principal: u64) {
        let mut state = self.state();
        let id = project_id(&state, project);
        state.projects.entry(id).and_modify(|project| project.members.push(principal));
    }

    /// Signs a browser in: the value of its cookie, and the token that its forms carry.
    pub fn add_session(&self, login: &str, cookie: &str, token: &str) {
        let mut state = self.state();
        let user = state.user_named(login).unwrap_or_else(|| panic!("no user {login}")).id;
        state.sessions.insert(cookie.to_owned(), Session { user, token: token.to_owned() });
    }

    /// A new issue of an author, free, with the status New; returns its number.
    pub fn add_issue(&self, project: &str, author: &str, subject: &str) -> u64 {
        let mut state = self.state();
        let project = project_id(&state, project);
        let author = state.user_named(author).unwrap_or_else(|| panic!("no user {author}")).id;
        state.insert_issue(project, author, subject)
    }

    /// Sets assignee and status as somebody does who does not pass the gate.
    pub fn edit_outside(&self, issue: u64, assigned_to: Option<u64>, status: u64) {
        let mut state = self.state();
        let mut wanted = state.issues.get(&issue).unwrap_or_else(|| panic!("no issue {issue}")).clone();
        wanted.assigned_to = assigned_to;
        wanted.status = status;
        state.save(&wanted, "", 1);
    }

    /// Deletes a user; its issues are then assigned to nobody.
    pub fn delete_user(&self, id: u64) {
        let mut state = self.state();
        state.principals.remove(&id);
        for issue in state.issues.values_mut().filter(|issue| issue.assigned_to == Some(id)) {
            issue.assigned_to = None;
        }
    }

    /// An issue as it is now.
    pub fn issue(&self, id: u64) -> IssueView {
        let state = self.state();
        let issue = state.issues.get(&id).unwrap_or_else(|| panic!("no issue {id}"));
        let status = state.status(issue.status);
        let notes = issue.journals.iter().map(|journal| journal.notes.clone());
        IssueView {
            id,
            subject: issue.subject.clone(),
            assigned_to: issue.assigned_to.and_then(|id| state.principals.get(&id)).map(|who| who.login.clone()),
            status: status.map(|status| status.name.clone()).unwrap_or_default(),
            is_closed: status.is_some_and(|status| status.is_closed),
            notes: notes.filter(|notes| !notes.is_empty()).collect(),
        }
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.state().log.entries().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.state().log.clear();
    }

    /// Sets the standing vices.
    pub fn set_vices(&self, vices: Vices) {
        self.state().vices = vices;
    }

    /// Lets a fault befall the next matching request.
    pub fn script(&self, fault: Fault, matcher: Matcher) {
        self.state().script.add(fault, matcher);
    }

    /// How many scripted faults are still to come.
    pub fn scripted(&self) -> usize {
        self.state().script.remaining()
    }

    fn state(&self) -> MutexGuard<'_, RedmineState> {
        self.inner.rows()
    }
}

fn project_id(state: &RedmineState, name: &str) -> u64 {
    state.project_named(name).unwrap_or_else(|| panic!("no project {name}")).id
}
