//! A GitHub for tests: stateful, in memory, behind a real socket. REST and GraphQL speak of one state.
//!
//! It reads requests as forgivingly as GitHub does (a body is JSON whatever its type says, POST stands for PATCH, an unknown
//! label is made) and answers in the shapes of the official descriptions. Nothing of the gate is imported here, so that an
//! error of the gate cannot hide in both sides of a test.

mod graphql;
mod issues;
mod lists;
mod mutations;
mod render;
mod repos;
mod server;
mod state;
mod syntax;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

pub use state::Logged;
use state::{Issue, State, node_id};

/// A running fake GitHub. Dropping it closes its socket.
pub struct FakeGitHub {
    state: Arc<Mutex<State>>,
    addr: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

/// An issue as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueView {
    pub assignees: Vec<String>,
    pub labels: Vec<String>,
    pub open: bool,
    pub comments: usize,
}

impl FakeGitHub {
    /// Serves on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::new(&format!("http://{addr}"))));
        let task = tokio::spawn(server::run(listener, Arc::clone(&state)));
        Self { state, addr, task }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.addr)
    }

    fn rows(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// An account, and the token that is its own.
    pub fn add_user(&self, login: &str, token: &str) {
        self.rows().add_user(login, token, "User");
    }

    /// An account of an app, whose token may not ask REST who it is.
    pub fn add_bot(&self, login: &str, token: &str) {
        self.rows().add_user(login, token, "Bot");
    }

    /// A repository, which all accounts may push to.
    pub fn add_repo(&self, owner: &str, name: &str) -> u64 {
        self.rows().add_repo(owner, name)
    }

    /// This account may read the repository, and no more.
    pub fn forbid_push(&self, repo: u64, login: &str) {
        self.rows().repo_mut(repo).readers.insert(login.to_owned());
    }

    pub fn add_label(&self, repo: u64, name: &str) {
        self.rows().label_named(repo, name);
    }

    pub fn add_issue(&self, repo: u64, author: &str, title: &str) -> u64 {
        self.rows().add_issue(repo, author, title, None).number
    }

    pub fn add_pull(&self, repo: u64, author: &str, title: &str, branch: &str) -> u64 {
        self.rows().add_issue(repo, author, title, Some(branch)).number
    }

    /// It carries exactly these.
    pub fn set_labels(&self, repo: u64, number: u64, names: &[&str]) {
        let mut rows = self.rows();
        let ids = names.iter().map(|name| rows.label_named(repo, name)).collect();
        rows.edit(repo, number, |issue| issue.labels = ids);
    }

    /// Serves at a unix socket, too.
    pub fn listen_at(&self, path: &std::path::Path) {
        let listener = tokio::net::UnixListener::bind(path).expect("a free path");
        tokio::spawn(server::run_at(listener, Arc::clone(&self.state)));
    }

    /// What somebody does past the gate.
    pub fn assign_outside(&self, repo: u64, number: u64, login: Option<&str>) {
        let mut rows = self.rows();
        let user = login.map(|login| rows.user_named(login).expect("there is one").id);
        rows.edit(repo, number, |issue| issue.assignees = user.into_iter().collect());
    }

    /// The same of several.
    pub fn assign_all_outside(&self, repo: u64, number: u64, logins: &[&str]) {
        let mut rows = self.rows();
        let users = logins.iter().map(|login| rows.user_named(login).expect("there is one").id).collect();
        rows.edit(repo, number, |issue| issue.assignees = users);
    }

    /// The issue goes to another repository, under another number; the old path leads there.
    pub fn transfer(&self, from: u64, number: u64, to: u64) -> u64 {
        self.rows().transfer(from, number, to)
    }

    /// The old name leads to the repository.
    pub fn rename(&self, repo: u64, name: &str) {
        self.rows().rename(repo, name);
    }

    pub fn issue(&self, repo: u64, number: u64) -> IssueView {
        let rows = self.rows();
        let issue = rows.issue(repo, number).expect("there is one");
        IssueView {
            assignees: issue.assignees.iter().map(|id| rows.user(*id).login.clone()).collect(),
            labels: issue.labels.iter().map(|id| rows.label(issue.repo, *id).name.clone()).collect(),
            open: issue.open,
            comments: issue.comments.len(),
        }
    }

    /// The ids by which an issue is known: its own, and its node's in the new form and the old.
    pub fn ids(&self, repo: u64, number: u64) -> (u64, String, String) {
        let rows = self.rows();
        let issue = rows.issue(repo, number).expect("there is one");
        (issue.id, issue.node_id(), Issue::old_node_id(issue.id))
    }

    /// The nodes of what mutations name beside items.
    pub fn user_node(&self, login: &str) -> String {
        node_id("U", self.rows().user_named(login).expect("there is one").id)
    }

    pub fn label_node(&self, repo: u64, name: &str) -> String {
        node_id("LA", self.rows().label_named(repo, name))
    }

    pub fn repo_node(repo: u64) -> String {
        node_id("R", repo)
    }

    /// What was asked so far.
    pub fn log(&self) -> Vec<Logged> {
        self.rows().log.clone()
    }

    /// The same with the answers, as JSON.
    pub fn exchanges(&self) -> serde_json::Value {
        let one = |logged: &Logged| {
            serde_json::json!({ "method": logged.method, "path": logged.target, "body": logged.body, "status": logged.status,
                "answer": logged.answer })
        };
        self.log().iter().map(one).collect()
    }

    /// So many reads of an issue show it as it was before it was last written.
    pub fn trail_writes(&self, reads: usize) {
        self.rows().trailing = reads;
    }

    /// Each answer to a write is so late, and what it does is not.
    pub fn answer_late(&self, by: std::time::Duration) {
        self.rows().answer_delay = by;
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.task.abort();
    }
}
