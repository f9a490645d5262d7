//! What the fake Linear knows, and what its fields do to it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::document::Selected;

#[derive(Clone, Debug)]
pub struct User {
    pub id: String,
    pub name: String,
    pub app: bool,
}

/// An issue, as its rows are. Its states, labels and people are their ids.
#[derive(Clone, Debug)]
pub struct Issue {
    pub id: String,
    pub team: usize,
    pub number: u64,
    pub title: String,
    pub state: String,
    pub assignee: Option<String>,
    pub delegate: Option<String>,
    pub creator: Option<String>,
    pub labels: Vec<String>,
    pub archived: bool,
    pub trashed: bool,
    /// Milliseconds since 1970.
    pub updated: i64,
}

/// A mutation's field that was carried out, and by whom.
#[derive(Clone, Debug)]
pub struct Written {
    pub by: String,
    pub field: String,
}

#[derive(Default)]
pub struct Store {
    /// By their keys.
    pub users: BTreeMap<String, User>,
    /// Their keys.
    pub teams: Vec<String>,
    /// Team, name and type of each state, by its id.
    pub states: BTreeMap<String, (usize, String, String)>,
    /// By their ids.
    pub labels: BTreeMap<String, String>,
    /// Each version of each issue, the newest last, and since when it is there.
    pub issues: BTreeMap<String, Vec<(Instant, Issue)>>,
    pub written: Vec<Written>,
    /// How long a write takes to show in reads.
    pub lag: Duration,
    /// Requests that are still answered before the limit is reached; none: there is no limit.
    pub left: Option<usize>,
    pub requests: usize,
    pub clock: i64,
}

const BEGIN: i64 = 1_784_700_000_000;

pub type Told<T> = Result<T, String>;

// === impl Store ===

impl Store {
    pub fn uuid(&mut self, kind: u8) -> String {
        self.clock += 1;
        format!("{kind:08x}-0000-4000-8000-{:012x}", self.clock)
    }

    pub fn add_issue(&mut self, team: usize, state: &str, title: &str, creator: Option<&str>) -> String {
        let id = self.uuid(7);
        let number = self.issues.values().filter(|all| all[0].1.team == team).count() as u64 + 1;
        let issue = Issue {
            id: id.clone(),
            team,
            number,
            title: title.to_owned(),
            state: self.state_named(team, state),
            assignee: None,
            delegate: None,
            creator: creator.map(str::to_owned),
            labels: Vec::new(),
            archived: false,
            trashed: false,
            updated: BEGIN + self.clock,
        };
        self.issues.insert(id.clone(), vec![(Instant::now(), issue)]);
        id
    }

    pub fn state_named(&self, team: usize, name: &str) -> String {
        let found = self.states.iter().find(|(_, (of, known, _))| *of == team && known == name);
        found.map(|(id, _)| id.clone()).expect("the team has the state")
    }

    pub fn identifier(&self, issue: &Issue) -> String {
        format!("{}-{}", self.teams[issue.team], issue.number)
    }

    /// The newest version.
    pub fn newest(&self, id: &str) -> Option<&Issue> {
        let by_name = |all: &&Vec<(Instant, Issue)>| {
            all.last().is_some_and(|(_, issue)| self.identifier(issue).eq_ignore_ascii_case(id))
        };
        let all = self.issues.get(&id.to_ascii_lowercase()).or_else(|| self.issues.values().find(by_name))?;
        all.last().map(|(_, issue)| issue)
    }

    /// The version that a read shows.
    fn shown(&self, id: &str) -> Option<&Issue> {
        let all = self.issues.get(&self.newest(id)?.id)?;
        let old = all.iter().rev().find(|(since, _)| since.elapsed() >= self.lag);
        // The first was there before anybody came.
        old.or(all.first()).map(|(_, issue)| issue)
    }

    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Issue)) -> Told<Issue> {
        let mut issue = self.newest(id).cloned().ok_or("Entity not found: Issue")?;
        change(&mut issue);
        self.clock += 1;
        issue.updated = BEGIN + self.clock;
        self.issues.entry(issue.id.clone()).or_default().push((Instant::now(), issue.clone()));
        Ok(issue)
    }

    // === what is shown ===

    fn user(&self, id: Option<&String>) -> Value {
        let user = id.and_then(|id| self.users.values().find(|user| user.id == *id));
        user.map_or(Value::Null, |user| {
            let email = format!("{}@example.org", user.name);
            json!({ "id": user.id, "name": user.name, "displayName": user.name, "app": user.app, "email": email })
        })
    }

    fn state(&self, id: &str) -> Value {
        let (_, name, kind) = &self.states[id];
        json!({ "id": id, "name": name, "type": kind })
    }

    fn list(nodes: Vec<Value>) -> Value {
        let page = json!({ "hasNextPage": false, "hasPreviousPage": false, "startCursor": null, "endCursor": null });
        let mut list = json!({ "pageInfo": page });
        list["nodes"] = Value::Array(nodes);
        list
    }

    fn issue(&self, issue: &Issue) -> Value {
        let labels = issue.labels.iter().map(|id| json!({ "id": id, "name": self.labels[id] })).collect();
        let key = &self.teams[issue.team];
        let time = jiff::Timestamp::from_millisecond(issue.updated).expect("a time");
        json!({
            "id": issue.id, "identifier": self.identifier(issue), "number": issue.number, "title": issue.title,
            "updatedAt": format!("{time:.3}"), "createdAt": "2026-07-22T06:00:00.000Z",
            "archivedAt": issue.archived.then_some("2026-07-22T06:00:00.000Z"), "trashed": issue.trashed.then_some(true),
            "team": { "id": format!("{:08x}-0000-4000-8000-000000000000", issue.team), "key": key, "name": key },
            "state": self.state(&issue.state), "assignee": self.user(issue.assignee.as_ref()),
            "delegate": self.user(issue.delegate.as_ref()), "creator": self.user(issue.creator.as_ref()),
            "labelIds": issue.labels, "labels": Self::list(labels),
        })
    }

    /// The answer to one field, before its selections are made.
    pub fn answer(&mut self, who: &User, field: &Selected, is_mutation: bool) -> Told<Value> {
        if is_mutation {
            return self.write(who, field);
        }
        let team = field.arguments.get("filter").map_or(Value::Null, |filter| {
            let plain = filter.pointer("/team/key/eq");
            plain.or_else(|| filter.pointer("/or/0/team/key/eq")).cloned().unwrap_or_default()
        });
        let is_of = |of: usize| team.as_str().is_none_or(|team| self.teams[of] == team);
        Ok(match field.name.as_str() {
            "viewer" => self.user(Some(&who.id)),
            "issue" => {
                let id = field.arguments["id"].as_str().unwrap_or_default();
                self.shown(id).map(|issue| self.issue(issue)).ok_or("Entity not found: Issue")?
            }
            "issues" => {
                let closed = ["completed", "canceled", "duplicate"];
                let is_open = |issue: &&Issue| !closed.contains(&self.states[&issue.state].2.as_str());
                let shown = self.issues.keys().filter_map(|id| self.shown(id));
                let asks_open =
                    field.arguments.get("filter").is_some_and(|filter| filter.pointer("/state/type/nin").is_some());
                let kept = shown.filter(|issue| is_of(issue.team)).filter(|issue| !asks_open || is_open(issue));
                Self::list(kept.map(|issue| self.issue(issue)).collect())
            }
            "teams" => Self::list(self.teams.iter().map(|key| json!({ "id": key, "key": key, "name": key })).collect()),
            "users" => {
                let ids = field.arguments.get("filter").and_then(|filter| filter.pointer("/id/in"));
                let asked =
                    |user: &&User| ids.and_then(Value::as_array).is_none_or(|ids| ids.contains(&json!(user.id)));
                Self::list(self.users.values().filter(asked).map(|user| self.user(Some(&user.id))).collect())
            }
            "workflowStates" => {
                let of = self.states.iter().filter(|(_, (of, ..))| is_of(*of));
                Self::list(of.map(|(id, _)| self.state(id)).collect())
            }
            "issueLabels" => {
                Self::list(self.labels.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect())
            }
            name => return Err(format!("the fake one has no {name}")),
        })
    }

    // === what is written ===

    fn write(&mut self, who: &User, field: &Selected) -> Told<Value> {
        let arguments = &field.arguments;
        let text = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let input = arguments.get("input").and_then(Value::as_object).cloned().unwrap_or_default();
        let (field_name, by) = (field.name.clone(), who.name.clone());
        self.written.push(Written { by, field: field_name });
        let payload = match field.name.as_str() {
            "issueUpdate" => json!({ "issue": self.update(&text("id"), &input)? }),
            "issueBatchUpdate" => {
                let ids = arguments["ids"].as_array().cloned().unwrap_or_default();
                let each = ids.iter().map(|id| self.update(id.as_str().unwrap_or_default(), &input));
                json!({ "issues": each.collect::<Told<Vec<Value>>>()? })
            }
            "issueAddLabel" | "issueRemoveLabel" => {
                let member = if field.name == "issueAddLabel" { "addedLabelIds" } else { "removedLabelIds" };
                let input = Map::from_iter([(member.to_owned(), json!([text("labelId")]))]);
                json!({ "issue": self.update(&text("id"), &input)? })
            }
            "issueArchive" | "issueUnarchive" => {
                let archived = field.name == "issueArchive";
                let issue = self.change(&text("id"), |issue| issue.archived = archived)?;
                json!({ "entity": self.issue(&issue) })
            }
            "issueDelete" => {
                let issue = self.change(&text("id"), |issue| issue.trashed = true)?;
                json!({ "entity": self.issue(&issue) })
            }
            "issueCreate" => {
                let key = input["teamId"].as_str().unwrap_or_default().to_owned();
                let team = self
                    .teams
                    .iter()
                    .position(|team| team.eq_ignore_ascii_case(&key))
                    .ok_or("Entity not found: Team")?;
                let title = input.get("title").and_then(Value::as_str).unwrap_or_default();
                let id = self.add_issue(team, "Backlog", title, Some(&who.id));
                let rest = input.into_iter().filter(|(name, _)| name != "teamId").collect();
                json!({ "issue": self.update(&id, &rest)? })
            }
            _ => json!({}),
        };
        let mut payload = payload;
        payload["success"] = json!(true);
        payload["lastSyncId"] = json!(self.clock);
        Ok(payload)
    }

    fn update(&mut self, id: &str, input: &Map<String, Value>) -> Told<Value> {
        let of = self.newest(id).ok_or("Entity not found: Issue")?.team;
        let person = |name: &str| input.get(name).map(|id| id.as_str().map(str::to_owned));
        let is_app = |id: &String| self.users.values().any(|user| user.id == *id && user.app);
        let known = |id: &String| self.users.values().any(|user| user.id == *id);
        let (mut assignee, mut delegate) = (person("assigneeId"), person("delegateId"));
        if [&assignee, &delegate].iter().any(|it| matches!(it, Some(Some(id)) if !known(id))) {
            return Err("Entity not found: User".to_owned());
        }
        // An app that is assigned is delegated to.
        if assignee.as_ref().and_then(Option::as_ref).is_some_and(is_app) {
            delegate = assignee.take();
        }
        let state = input.get("stateId").and_then(Value::as_str).map(str::to_owned);
        if state.as_ref().is_some_and(|id| self.states.get(id).is_none_or(|(team, ..)| *team != of)) {
            return Err("Entity not found: WorkflowState".to_owned());
        }
        let ids = |name: &str| -> Option<Vec<String>> {
            let all = input.get(name)?.as_array()?.iter();
            Some(all.filter_map(Value::as_str).map(str::to_owned).collect())
        };
        let (set, added, removed) = (ids("labelIds"), ids("addedLabelIds"), ids("removedLabelIds"));
        let mut named = set.iter().chain(&added).chain(&removed).flatten();
        if named.any(|id| !self.labels.contains_key(id)) {
            return Err("Entity not found: IssueLabel".to_owned());
        }
        let issue = self.change(id, |issue| {
            if let Some(assignee) = assignee {
                issue.assignee = assignee;
            }
            if let Some(delegate) = delegate {
                issue.delegate = delegate;
            }
            if let Some(state) = state {
                issue.state = state;
            }
            if let Some(set) = set {
                issue.labels = set;
            }
            issue.labels.retain(|id| !removed.iter().flatten().any(|gone| gone == id));
            for id in added.into_iter().flatten() {
                if !issue.labels.contains(&id) {
                    issue.labels.push(id);
                }
            }
            if let Some(title) = input.get("title").and_then(Value::as_str) {
                title.clone_into(&mut issue.title);
            }
            if let Some(trashed) = input.get("trashed").and_then(Value::as_bool) {
                issue.trashed = trashed;
            }
        })?;
        Ok(self.issue(&issue))
    }
}
