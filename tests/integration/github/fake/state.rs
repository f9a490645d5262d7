//! Everything that it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One request, for tests.
#[derive(Clone, Debug)]
pub struct Logged {
    pub method: String,
    pub target: String,
    pub login: Option<String>,
    pub body: String,
    pub status: u16,
    pub answer: Value,
}

#[derive(Clone, Debug)]
pub struct User {
    pub id: u64,
    pub login: String,
    pub token: String,
    /// `User` or `Bot`.
    pub kind: &'static str,
}

#[derive(Clone, Debug)]
pub struct Label {
    pub id: u64,
    pub name: String,
    pub color: String,
}

#[derive(Clone, Debug)]
pub struct Repo {
    pub id: u64,
    pub owner: String,
    pub name: String,
    pub labels: Vec<Label>,
    /// Who may not push.
    pub readers: BTreeSet<String>,
    pub next_number: u64,
}

#[derive(Clone, Debug)]
pub struct Comment {
    pub id: u64,
    pub author: u64,
    pub body: String,
}

#[derive(Clone, Debug)]
pub struct Issue {
    pub id: u64,
    pub repo: u64,
    pub number: u64,
    pub title: String,
    pub body: Option<String>,
    pub open: bool,
    pub state_reason: Option<String>,
    /// In the order in which they were assigned.
    pub assignees: Vec<u64>,
    pub labels: Vec<u64>,
    pub author: u64,
    /// Of a pull request, its branch.
    pub branch: Option<String>,
    pub comments: Vec<Comment>,
    pub events: Vec<Value>,
    pub locked: bool,
    pub proposals: BTreeMap<u64, Value>,
    pub fields: BTreeMap<u64, Value>,
    /// Seconds since the first.
    pub updated: u64,
}

pub struct State {
    /// Without a slash at its end.
    pub base: String,
    pub users: Vec<User>,
    pub repos: Vec<Repo>,
    pub issues: Vec<Issue>,
    /// Where transferred issues went.
    pub moved: BTreeMap<(u64, u64), (u64, u64)>,
    /// Former names, in lower case.
    pub renamed: BTreeMap<String, u64>,
    pub log: Vec<Logged>,
    pub answer_delay: Duration,
    /// How many reads of an issue trail each write of it, and what those show.
    pub trailing: usize,
    pub shown: BTreeMap<(u64, u64), (Value, usize)>,
    next_id: u64,
    clock: u64,
}

/// GitHub's own limit.
pub const MOST_ASSIGNEES: usize = 10;

impl State {
    pub fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            users: Vec::new(),
            repos: Vec::new(),
            issues: Vec::new(),
            moved: BTreeMap::new(),
            renamed: BTreeMap::new(),
            log: Vec::new(),
            answer_delay: Duration::ZERO,
            trailing: 0,
            shown: BTreeMap::new(),
            next_id: 1_000,
            clock: 0,
        }
    }

    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub fn add_user(&mut self, login: &str, token: &str, kind: &'static str) {
        let id = self.id();
        self.users.push(User { id, login: login.to_owned(), token: token.to_owned(), kind });
    }

    pub fn add_repo(&mut self, owner: &str, name: &str) -> u64 {
        let id = self.id();
        self.repos.push(Repo {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            labels: Vec::new(),
            readers: BTreeSet::new(),
            next_number: 1,
        });
        id
    }

    /// What a read of an issue shows that stands so now.
    pub fn trail(&mut self, at: (u64, u64), now: Value) -> Value {
        let trailing = self.trailing;
        let (shown, left) = self.shown.entry(at).or_insert((now.clone(), trailing));
        if *shown == now || *left == 0 {
            (*shown, *left) = (now, trailing);
        } else {
            *left -= 1;
        }
        shown.clone()
    }

    pub fn add_issue(&mut self, repo: u64, author: &str, title: &str, branch: Option<&str>) -> &mut Issue {
        let (id, updated) = (self.id(), self.tick());
        let author = self.user_named(author).expect("there is one").id;
        let row = self.repo_mut(repo);
        let number = row.next_number;
        row.next_number += 1;
        self.issues.push(Issue {
            id,
            repo,
            number,
            title: title.to_owned(),
            body: None,
            open: true,
            state_reason: None,
            assignees: Vec::new(),
            labels: Vec::new(),
            author,
            branch: branch.map(str::to_owned),
            comments: Vec::new(),
            events: Vec::new(),
            locked: false,
            proposals: BTreeMap::new(),
            fields: BTreeMap::new(),
            updated,
        });
        self.issues.last_mut().expect("it was pushed")
    }

    pub fn user(&self, id: u64) -> &User {
        self.users.iter().find(|user| user.id == id).expect("no account ends")
    }

    pub fn user_named(&self, login: &str) -> Option<&User> {
        self.users.iter().find(|user| user.login.eq_ignore_ascii_case(login))
    }

    pub fn repo(&self, id: u64) -> &Repo {
        self.repos.iter().find(|repo| repo.id == id).expect("no repository ends")
    }

    pub fn repo_mut(&mut self, id: u64) -> &mut Repo {
        self.repos.iter_mut().find(|repo| repo.id == id).expect("no repository ends")
    }

    pub fn repo_named(&self, owner: &str, name: &str) -> Option<&Repo> {
        let same = |repo: &&Repo| repo.owner.eq_ignore_ascii_case(owner) && repo.name.eq_ignore_ascii_case(name);
        self.repos.iter().find(same)
    }

    pub fn issue(&self, repo: u64, number: u64) -> Option<&Issue> {
        self.issues.iter().find(|issue| (issue.repo, issue.number) == (repo, number))
    }

    pub fn label(&self, repo: u64, id: u64) -> &Label {
        self.repo(repo).labels.iter().find(|label| label.id == id).expect("carried labels are there")
    }

    /// The label of this name in any case, made where there is none.
    pub fn label_named(&mut self, repo: u64, name: &str) -> u64 {
        let known = self.repo(repo).labels.iter().find(|label| label.name.to_lowercase() == name.to_lowercase());
        if let Some(known) = known {
            return known.id;
        }
        let id = self.id();
        self.repo_mut(repo).labels.push(Label { id, name: name.to_owned(), color: "ededed".to_owned() });
        id
    }

    /// Changes an issue, and writes down when.
    pub fn edit<T>(&mut self, repo: u64, number: u64, change: impl FnOnce(&mut Issue) -> T) -> T {
        let now = self.tick();
        let issue = self.issues.iter_mut().find(|issue| (issue.repo, issue.number) == (repo, number));
        let issue = issue.expect("there is one");
        issue.updated = now;
        change(issue)
    }

    pub fn transfer(&mut self, from: u64, number: u64, to: u64) -> u64 {
        let new = self.repo(to).next_number;
        self.repo_mut(to).next_number += 1;
        self.edit(from, number, |issue| (issue.repo, issue.number, issue.labels) = (to, new, Vec::new()));
        self.moved.insert((from, number), (to, new));
        new
    }

    pub fn rename(&mut self, repo: u64, name: &str) {
        let row = self.repo_mut(repo);
        let old = format!("{}/{}", row.owner, row.name).to_lowercase();
        name.clone_into(&mut row.name);
        self.renamed.insert(old, repo);
    }

    pub fn may_push(&self, repo: u64, login: &str) -> bool {
        !self.repo(repo).readers.contains(login)
    }
}

impl Issue {
    pub fn node_id(&self) -> String {
        node_id(if self.branch.is_some() { "PR" } else { "I" }, self.id)
    }

    /// As GitHub wrote them before 2021, and reads them still.
    pub fn old_node_id(id: u64) -> String {
        STANDARD.encode(format!("05:Issue{id}"))
    }
}

/// `I_kwDO000003E9`
pub fn node_id(kind: &str, id: u64) -> String {
    format!("{kind}_kwDO{id:08X}")
}
