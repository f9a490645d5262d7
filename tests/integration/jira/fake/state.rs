//! The rows, and what tests do to them.

use std::collections::BTreeMap;
use std::time::Duration;

use http::request::Parts;
use serde_json::{Map, Value, json};

use super::answers::JiraReply;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Cloud,
    DataCenter,
}

pub struct JiraState {
    pub flavour: Flavour,
    /// Its own address, context path included.
    pub base: String,
    pub context: String,
    pub users: BTreeMap<String, FakeUser>,
    pub projects: BTreeMap<String, FakeProject>,
    pub statuses: Vec<FakeStatus>,
    pub issues: BTreeMap<u64, FakeIssue>,
    /// Keys that an issue once had.
    pub old_keys: BTreeMap<String, u64>,
    pub tasks: BTreeMap<u64, &'static str>,
    pub log: Vec<LoggedCall>,
    pub script: Vec<FakeFault>,
    /// Between the read of a row and its update.
    pub write_delay: Duration,
    next_issue: u64,
}

#[derive(Clone, Debug)]
pub struct FakeUser {
    pub login: String,
    pub account_id: String,
    pub secret: String,
    pub session: Option<String>,
    /// May it assign and move issues?
    pub writes: bool,
}

#[derive(Clone, Debug)]
pub struct FakeProject {
    pub id: u64,
    pub key: String,
    pub count: u64,
    pub transitions: Vec<FakeTransition>,
    /// To whom `-1` assigns.
    pub lead: Option<String>,
}

#[derive(Clone, Debug)]
pub struct FakeStatus {
    pub id: &'static str,
    pub name: String,
    pub category: &'static str,
}

#[derive(Clone, Debug)]
pub struct FakeTransition {
    pub id: &'static str,
    pub name: &'static str,
    /// Empty: from anywhere.
    pub from: Vec<&'static str>,
    pub to: &'static str,
    /// Offered to the assignee alone.
    pub for_assignee: bool,
}

#[derive(Clone, Debug)]
pub struct FakeIssue {
    pub id: u64,
    pub key: String,
    pub project: String,
    pub creator: String,
    pub assignee: Option<String>,
    pub status: &'static str,
    pub fields: Map<String, Value>,
    pub comments: Vec<Value>,
    pub histories: Vec<Value>,
    pub transitions: usize,
}

#[derive(Clone, Debug)]
pub struct LoggedCall {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub user: Option<String>,
    pub guarded: bool,
    pub applied: bool,
    pub status: u16,
}

/// Befalls the next request of this method whose path contains this.
pub struct FakeFault {
    pub method: &'static str,
    pub path: String,
    pub reply: JiraReply,
    /// It is carried out all the same.
    pub applies: bool,
}

impl FakeFault {
    pub fn hits(&self, head: &Parts) -> bool {
        head.method == self.method && head.uri.path().contains(&self.path)
    }
}

impl LoggedCall {
    pub fn new(head: &Parts, body: &[u8], user: Option<String>, guarded: bool) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: String::from_utf8_lossy(body).into_owned(),
            user,
            guarded,
            applied: false,
            status: 0,
        }
    }
}

const STATUSES: [(&str, &str, &str); 6] = [
    ("10000", "Backlog", "new"),
    ("10001", "Todo", "new"),
    ("3", "In Progress", "indeterminate"),
    ("10002", "In Review", "indeterminate"),
    ("10003", "Blocked", "indeterminate"),
    ("10004", "Done", "done"),
];

/// Directed where a status is entered from its sources alone; global where it is entered from anywhere.
fn transitions(is_global: bool) -> Vec<FakeTransition> {
    let rows: [(&str, &str, &[&str], &str); 6] = [
        ("11", "Plan", &["10000", "10003"], "10001"),
        ("21", "Start Progress", &["10000", "10001", "10003"], "3"),
        ("31", "Ask for review", &["3"], "10002"),
        ("41", "Block", &["3"], "10003"),
        ("51", "Finish", &[], "10004"),
        ("61", "Put back", &[], "10000"),
    ];
    let row = |(id, name, from, to): (&'static str, &'static str, &[&'static str], &'static str)| FakeTransition {
        id,
        name,
        from: if is_global { Vec::new() } else { from.to_vec() },
        to,
        for_assignee: false,
    };
    rows.into_iter().map(row).collect()
}

impl JiraState {
    pub fn new(flavour: Flavour, base: &str, context: &str) -> Self {
        let status = |(id, name, category): (&'static str, &str, &'static str)| FakeStatus {
            id,
            name: name.to_owned(),
            category,
        };
        Self {
            flavour,
            base: base.to_owned(),
            context: context.to_owned(),
            users: BTreeMap::new(),
            projects: BTreeMap::new(),
            statuses: STATUSES.into_iter().map(status).collect(),
            issues: BTreeMap::new(),
            old_keys: BTreeMap::new(),
            tasks: BTreeMap::new(),
            log: Vec::new(),
            script: Vec::new(),
            write_delay: Duration::ZERO,
            next_issue: 10_001,
        }
    }

    pub fn add_user(&mut self, login: &str) {
        let user = FakeUser {
            login: login.to_owned(),
            account_id: format!("5b10a2844c20165700ed:{login}"),
            secret: format!("secret-of-{login}"),
            session: None,
            writes: true,
        };
        self.users.insert(login.to_owned(), user);
    }

    /// Its workflow leads from anywhere to anywhere, or along its arrows.
    pub fn add_project(&mut self, key: &str, is_global: bool) {
        let id = 10_000 + self.projects.len() as u64;
        let project =
            FakeProject { id, key: key.to_owned(), count: 0, transitions: transitions(is_global), lead: None };
        self.projects.insert(key.to_owned(), project);
    }

    /// A free issue in the backlog; returns its key.
    pub fn add_issue(&mut self, project: &str, creator: &str, summary: &str) -> String {
        let row = self.projects.get_mut(project).unwrap_or_else(|| panic!("no project {project}"));
        row.count += 1;
        let key = format!("{project}-{}", row.count);
        let id = self.next_issue;
        self.next_issue += 1;
        let fields = json!({ "summary": summary }).as_object().cloned().unwrap_or_default();
        let issue = FakeIssue {
            id,
            key: key.clone(),
            project: project.to_owned(),
            creator: creator.to_owned(),
            assignee: None,
            status: "10000",
            fields,
            comments: Vec::new(),
            histories: Vec::new(),
            transitions: 0,
        };
        self.issues.insert(id, issue);
        key
    }

    /// It gets another key; the old one still finds it.
    pub fn move_issue(&mut self, key: &str, project: &str) -> String {
        let id = self.find(key).unwrap_or_else(|| panic!("no issue {key}")).id;
        let row = self.projects.get_mut(project).unwrap_or_else(|| panic!("no project {project}"));
        row.count += 1;
        let new = format!("{project}-{}", row.count);
        self.old_keys.insert(key.to_owned(), id);
        let issue = self.issues.get_mut(&id).expect("it is there");
        (issue.key, issue.project) = (new.clone(), project.to_owned());
        new
    }

    /// As somebody sets it who does not pass the gate.
    pub fn set(&mut self, key: &str, assignee: Option<&str>, status: &str) {
        let id = self.find(key).unwrap_or_else(|| panic!("no issue {key}")).id;
        let status = self.statuses.iter().find(|row| row.name == status).expect("a status").id;
        let issue = self.issues.get_mut(&id).expect("it is there");
        (issue.assignee, issue.status) = (assignee.map(str::to_owned), status);
    }

    pub fn find(&self, name: &str) -> Option<&FakeIssue> {
        if let Ok(id) = name.parse::<u64>() {
            return self.issues.get(&id);
        }
        let name = name.to_ascii_uppercase();
        let by_key = self.issues.values().find(|issue| issue.key == name);
        by_key.or_else(|| self.issues.get(self.old_keys.get(&name)?))
    }

    pub fn status(&self, id: &str) -> &FakeStatus {
        self.statuses.iter().find(|row| row.id == id).expect("a status")
    }

    /// Those that can be taken by this account from where the issue stands.
    pub fn transitions_of<'a>(
        &'a self,
        issue: &'a FakeIssue,
        user: &'a str,
    ) -> impl Iterator<Item = &'a FakeTransition> {
        self.projects[&issue.project].transitions.iter().filter(move |row| {
            (row.from.is_empty() || row.from.contains(&issue.status))
                && (!row.for_assignee || issue.assignee.as_deref() == Some(user))
        })
    }

    /// An account by the member that this flavour knows.
    pub fn user_named(&self, value: &Value) -> Option<&FakeUser> {
        match self.flavour {
            Flavour::Cloud => {
                let id = value.get("accountId").or_else(|| value.get("id"))?.as_str()?;
                self.users.values().find(|user| user.account_id == id)
            }
            Flavour::DataCenter => {
                let name = value.get("name")?.as_str()?;
                self.users.values().find(|user| user.login.eq_ignore_ascii_case(name))
            }
        }
    }

    /// How an account is named in a request.
    pub fn named(&self, login: &str) -> Value {
        match self.flavour {
            Flavour::Cloud => json!({ "accountId": self.users[login].account_id }),
            Flavour::DataCenter => json!({ "name": login }),
        }
    }
}
