//! Answers of the API: one tree, written as JSON or as XML.

use serde_json::{Map, Value, json};

use super::params::Format;
use super::store::{Issue, Principal, RedmineState};

/// A member of an answer.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A value: a member in JSON, an element with text in XML.
    Text(&'static str, Value),
    /// An object of values: attributes in XML.
    Attributes(&'static str, Vec<(&'static str, Value)>),
    /// An object; what comes first are attributes in XML.
    Object(&'static str, Vec<(&'static str, Value)>, Vec<Node>),
    /// A list, and what stands beside it.
    Array(&'static str, Vec<(&'static str, Value)>, Vec<Node>),
}

// === impl Node ===

impl Node {
    /// The whole answer, with its content type.
    pub(super) fn write(&self, format: Format) -> (&'static str, String) {
        if format == Format::Xml {
            let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned();
            self.write_xml(&mut text);
            return ("application/xml; charset=utf-8", text);
        }
        let mut members = Map::new();
        self.put(&mut members);
        ("application/json; charset=utf-8", Value::Object(members).to_string())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Text(name, _) | Self::Attributes(name, _) | Self::Object(name, ..) | Self::Array(name, ..) => name,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Text(_, value) => value.clone(),
            Self::Attributes(_, all) => all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            Self::Object(_, attributes, children) => {
                let mut members: Map<String, Value> =
                    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                for child in children {
                    child.put(&mut members);
                }
                Value::Object(members)
            }
            Self::Array(_, _, entries) => entries.iter().map(Self::value).collect(),
        }
    }

    fn put(&self, members: &mut Map<String, Value>) {
        members.insert(self.name().to_owned(), self.value());
        if let Self::Array(_, beside, _) = self {
            members.extend(beside.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
    }

    fn write_xml(&self, out: &mut String) {
        let name = self.name();
        let (attributes, children) = match self {
            Self::Text(_, value) => {
                let text = super::ruby::text(value);
                let text = quick_xml::escape::partial_escape(&text);
                let is_empty = text.is_empty();
                out.extend(["<", name, if is_empty { "/>" } else { ">" }, &text]);
                out.extend(if is_empty { ["", "", ""] } else { ["</", name, ">"] });
                return;
            }
            Self::Attributes(_, all) => (all.clone(), None),
            Self::Object(_, attributes, children) => (attributes.clone(), Some(children)),
            Self::Array(_, beside, entries) => {
                (beside.iter().cloned().chain([("type", "array".into())]).collect(), Some(entries))
            }
        };
        out.extend(["<", name]);
        for (name, value) in attributes {
            let text = super::ruby::text(&value);
            out.extend([" ", name, "=\"", &quick_xml::escape::escape(&text), "\""]);
        }
        let Some(children) = children else {
            out.push_str("/>");
            return;
        };
        out.push('>');
        for child in children {
            child.write_xml(out);
        }
        out.extend(["</", name, ">"]);
    }
}

// === what is shown ===

pub(super) fn errors(all: &[&str]) -> Node {
    Node::Array("errors", vec![], all.iter().map(|text| Node::Text("error", (*text).into())).collect())
}

fn named(state: &RedmineState, name: &'static str, id: u64) -> Node {
    let shown = state.principals.get(&id).map(Principal::full_name).unwrap_or_default();
    Node::Attributes(name, vec![("id", id.into()), ("name", shown.into())])
}

pub(super) fn status(state: &RedmineState, id: u64) -> Node {
    let status = state.status(id);
    let name = status.map(|status| status.name.clone()).unwrap_or_default();
    let is_closed = status.is_some_and(|status| status.is_closed);
    Node::Attributes("status", vec![("id", id.into()), ("name", name.into()), ("is_closed", is_closed.into())])
}

/// An issue as its own answer and a list show it.
pub(super) fn issue(state: &RedmineState, issue: &Issue, more: Vec<Node>) -> Node {
    let pair = |id: u64, name: &str| vec![("id", id.into()), ("name", name.into())];
    let project = state.projects.get(&issue.project).map(|project| project.name.clone()).unwrap_or_default();
    let mut all = vec![
        Node::Text("id", issue.id.into()),
        Node::Attributes("project", pair(issue.project, &project)),
        Node::Attributes("tracker", pair(1, "Bug")),
        status(state, issue.status),
        Node::Attributes("priority", pair(2, "Normal")),
        named(state, "author", issue.author),
    ];
    all.extend(issue.assigned_to.map(|id| named(state, "assigned_to", id)));
    all.extend([
        Node::Text("subject", issue.subject.clone().into()),
        Node::Text("description", json!(issue.description)),
        Node::Text("start_date", day(issue.created)),
        Node::Text("due_date", Value::Null),
        Node::Text("done_ratio", 0.into()),
        Node::Text("is_private", false.into()),
        Node::Text("estimated_hours", Value::Null),
        Node::Text("total_estimated_hours", Value::Null),
        Node::Text("created_on", time(issue.created)),
        Node::Text("updated_on", time(issue.updated)),
        Node::Text("closed_on", issue.closed.map_or(Value::Null, time)),
    ]);
    all.extend(more);
    Node::Object("issue", vec![], all)
}

/// What happened to an issue, oldest first.
pub(super) fn journals(state: &RedmineState, issue: &Issue) -> Node {
    let journals = issue.journals.iter().map(|journal| {
        let details = journal.details.iter().map(|(name, old, new)| {
            let changed = vec![Node::Text("old_value", json!(old)), Node::Text("new_value", json!(new))];
            Node::Object("detail", vec![("property", "attr".into()), ("name", (*name).into())], changed)
        });
        let all = vec![
            named(state, "user", journal.user),
            Node::Text("notes", journal.notes.clone().into()),
            Node::Text("created_on", time(journal.at)),
            Node::Text("private_notes", false.into()),
            Node::Array("details", vec![], details.collect()),
        ];
        Node::Object("journal", vec![("id", journal.id.into())], all)
    });
    Node::Array("journals", vec![], journals.collect())
}

pub(super) fn allowed(state: &RedmineState, issue: &Issue, user: Option<u64>) -> Node {
    let all = state.allowed(issue, user);
    Node::Array("allowed_statuses", vec![], all.into_iter().map(|id| status(state, id)).collect())
}

/// A user as the user, an administrator, or anybody else sees it.
pub(super) fn user(state: &RedmineState, user: &Principal, by: Option<u64>) -> Node {
    let (is_admin, is_self) = (state.is_admin(by), by == Some(user.id));
    let text = |name, value: Value| Node::Text(name, value);
    let mut all = vec![text("id", user.id.into()), text("login", user.login.clone().into())];
    all.extend((is_admin || is_self).then(|| text("admin", user.admin.into())));
    all.extend([text("firstname", user.name.0.clone().into()), text("lastname", user.name.1.clone().into())]);
    all.extend(is_admin.then(|| text("mail", user.mail().into())));
    let changed = if user.admin { Value::Null } else { time(user.created) };
    all.extend([
        text("created_on", time(user.created)),
        text("updated_on", time(user.created)),
        text("last_login_on", user.last_login.map_or(Value::Null, time)),
        text("passwd_changed_on", changed),
    ]);
    if is_admin || is_self {
        all.extend([text("twofa_scheme", Value::Null), text("api_key", user.key.clone().into())]);
    }
    all.extend(is_admin.then(|| text("status", 1.into())));
    Node::Object("user", vec![], all)
}

/// The same by the route of one's own account.
pub(super) fn account(user: &Principal) -> Node {
    let text = |name, value: Value| Node::Text(name, value);
    let all = vec![
        text("id", user.id.into()),
        text("login", user.login.clone().into()),
        text("admin", user.admin.into()),
        text("firstname", user.name.0.clone().into()),
        text("lastname", user.name.1.clone().into()),
        text("mail", user.mail().into()),
        text("created_on", time(user.created)),
        text("last_login_on", user.last_login.map_or(Value::Null, time)),
        text("api_key", user.key.clone().into()),
    ];
    Node::Object("user", vec![], all)
}

impl Principal {
    pub(super) fn full_name(&self) -> String {
        if self.is_group { self.login.clone() } else { format!("{} {}", self.name.0, self.name.1) }
    }

    fn mail(&self) -> String {
        let host = if self.admin { "example.net" } else { "example.invalid" };
        format!("{}@{host}", self.login)
    }
}

/// `2026-01-01T00:00:00Z`
pub(super) fn time(seconds: i64) -> Value {
    jiff::Timestamp::from_second(seconds).map_or(Value::Null, |time| time.to_string().into())
}

fn day(seconds: i64) -> Value {
    time(seconds).as_str().and_then(|text| text.get(..10)).into()
}
