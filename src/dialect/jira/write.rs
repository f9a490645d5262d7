//! A guarded request, once understood: what it wants, how it is written anew, and what its answers are.
//!
//! An issue is written by its id, which stays when it gets another key. What stands beside the guarded fields goes along as it
//! was read.

use super::super::json::{Member, write_object};
use super::super::{
    Address, Chosen, Credential, GuardedRequest, Request, Sender, Subject, Wants, WireRequest, WireResponse,
};
use super::body::{IssueBody, JiraAccountMember, JiraAssignee};
use super::deployment::{Deployment, LearntFacts};
use super::{address_of, ask, read, reply, route_of};
use crate::model::{Account, Change, Place, Project, Rejection, SetChange, Snapshot, TagRef};
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A guarded request.
#[derive(Clone)]
pub struct JiraWrite {
    /// What it is about.
    pub(super) subject: Subject,
    pub(super) wants: JiraWants,
    pub(super) kind: JiraWriteKind,
    pub(super) body: IssueBody,
    /// Of the client's own request, without its question mark.
    pub(super) query: Option<String>,
    /// By which member the client names accounts; none: nobody has said it, and it is the tracker's own.
    pub(super) by: Option<JiraAccountMember>,
    pub(super) facts: Arc<LearntFacts>,
}

/// What becomes of the issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JiraWants {
    /// This change.
    Change(Change),
    /// Where this transition leads, and perhaps another assignee.
    Transition(String, Option<SetChange<Account>>),
    /// This status, by whichever transition leads there.
    Status(TagRef),
    /// Nothing that a read of the issue shows at once; the text is for the audit.
    Beside(String),
}

/// Which call it is.
#[derive(Clone, Debug)]
pub enum JiraWriteKind {
    /// `PUT issue/KEY`
    Edit,
    /// `PUT issue/KEY/assignee`
    Assign,
    /// `POST issue/KEY/transitions`
    Transition,
    /// The same of Jira Service Management.
    RequestTransition,
    /// `POST issue`
    Create(&'static str),
    /// A call that is sent as it was read.
    Fixed {
        /// The method.
        method: Method,
        /// The canonical path.
        path: String,
        /// The body; none: the call has none.
        body: Option<String>,
        /// Its answer of success is empty.
        is_silent: bool,
    },
}

// === impl JiraAssignee ===

impl JiraAssignee {
    /// The set that it leaves; none: whoever the project's settings name.
    pub fn change(&self) -> Option<SetChange<Account>> {
        match self {
            Self::Nobody => Some(SetChange::Replace(BTreeSet::new())),
            Self::One(_, id) => Some(SetChange::Replace([Account::new(id)].into())),
            Self::Automatic(_) => None,
        }
    }

    pub fn member(&self) -> Option<JiraAccountMember> {
        match self {
            Self::Nobody => None,
            Self::One(by, _) | Self::Automatic(by) => Some(*by),
        }
    }
}

// === impl JiraWrite ===

impl JiraWrite {
    /// A write of the gate's own.
    pub(super) fn own(address: &Address, wants: JiraWants, facts: &Arc<LearntFacts>) -> Self {
        let is_status = matches!(wants, JiraWants::Status(_));
        let route = route_of(address);
        Self {
            subject: Subject::At(Address {
                place: address.place.clone(),
                ..address_of(route.version, route.issue, is_status)
            }),
            kind: if is_status { JiraWriteKind::Transition } else { JiraWriteKind::Assign },
            wants,
            body: IssueBody::default(),
            query: None,
            by: None,
            facts: Arc::clone(facts),
        }
    }

    /// Fields and verbs that are not guarded.
    fn has_more(&self) -> bool {
        !self.body.fields.is_empty() || !self.body.update.is_empty()
    }

    /// Whether the issue is to be shown in the answer to an edit.
    fn returns_issue(&self) -> bool {
        let pairs = form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes());
        pairs.into_iter().any(|(name, value)| name == "returnIssue" && value == "true")
    }

    /// The account as this Jira names it.
    fn account(&self, id: Option<&Account>) -> Value {
        let by = self.by.unwrap_or(match self.facts.deployment() {
            Deployment::Cloud => JiraAccountMember::AccountId,
            Deployment::Server => JiraAccountMember::Name,
        });
        let id = id.map(Account::as_str);
        match by {
            JiraAccountMember::AccountId => json!({ "accountId": id }),
            JiraAccountMember::Name => json!({ "name": id }),
        }
    }

    /// The transition to take; none: the issue stands there already, and only the rest is left to be written.
    fn transition(&self, chosen: Option<&Chosen<'_>>) -> Option<String> {
        let shows = |wanted: &TagRef| {
            chosen.and_then(|one| one.seen).is_some_and(|seen| seen.labels.iter().any(|tag| wanted.names(tag)))
        };
        let target = chosen.and_then(|one| one.change.labels.as_ref()).and_then(|labels| labels.members().first());
        if target.is_some_and(shows) {
            return None;
        }
        match &self.wants {
            JiraWants::Transition(id, _) => Some(id.clone()),
            JiraWants::Status(wanted) => {
                let workflow = read::workflow(chosen?.shown?)?;
                workflow.leading_to(wanted).map(|transition| transition.id.clone())
            }
            JiraWants::Change(_) | JiraWants::Beside(_) => None,
        }
    }

    /// `{"fields": …, "update": …, "transition": …}`
    fn issue_body(&self, change: Option<&Change>, transition: Option<&str>) -> String {
        let mut all = Vec::new();
        if let Some(id) = transition {
            all.push(Member::new("transition", &json!({ "id": id })));
        }
        let mut fields = self.body.fields.clone();
        if let Some(assignees) = change.and_then(|change| change.assignees.as_ref()) {
            let value = assignees.members().first().map_or(Value::Null, |one| self.account(Some(one)));
            fields.push(Member::new("assignee", &value));
        }
        for (name, members) in [("fields", &fields), ("update", &self.body.update)] {
            if !members.is_empty() {
                all.push(Member::raw(name, write_object(members)));
            }
        }
        all.extend(self.body.rest.iter().cloned());
        write_object(&all)
    }

    /// Method, path and body, for the issue that was chosen.
    fn parts(&self, chosen: Option<&Chosen<'_>>) -> (Method, String, Option<String>) {
        let change = chosen.map(|one| one.change);
        let path = || self.path_of_issue(chosen);
        match &self.kind {
            JiraWriteKind::Fixed { method, path, body, .. } => (method.clone(), path.clone(), body.clone()),
            JiraWriteKind::Create(version) => (
                Method::POST,
                format!("/rest/api/{version}/issue"),
                Some(self.issue_body(change, self.body.transition.as_deref())),
            ),
            JiraWriteKind::Edit => (Method::PUT, path(), Some(self.issue_body(change, None))),
            JiraWriteKind::Assign => {
                let one = change.and_then(|change| change.assignees.as_ref()).and_then(|set| set.members().first());
                (Method::PUT, format!("{}/assignee", path()), Some(self.account(one).to_string()))
            }
            JiraWriteKind::Transition => match self.transition(chosen) {
                Some(id) => (Method::POST, format!("{}/transitions", path()), Some(self.issue_body(change, Some(&id)))),
                None => (Method::PUT, path(), Some(self.issue_body(change, None))),
            },
            JiraWriteKind::RequestTransition => {
                let id = self.transition(chosen).unwrap_or_default();
                let members: Vec<Member> =
                    std::iter::once(Member::new("id", &id.into())).chain(self.body.rest.iter().cloned()).collect();
                let path = format!("/rest/servicedeskapi/request/{}/transition", self.issue_of(chosen));
                (Method::POST, path, Some(write_object(&members)))
            }
        }
    }

    fn issue_of(&self, chosen: Option<&Chosen<'_>>) -> String {
        if let Some(key) = chosen.and_then(|one| one.key) {
            return key.as_str().to_owned();
        }
        match &self.subject {
            Subject::At(address) => route_of(address).issue.to_owned(),
            Subject::Places(_) | Subject::Keys(_) | Subject::New(_) => String::new(),
        }
    }

    fn path_of_issue(&self, chosen: Option<&Chosen<'_>>) -> String {
        let version = match &self.subject {
            Subject::At(address) => route_of(address).version,
            Subject::Places(_) | Subject::Keys(_) | Subject::New(_) => "2",
        };
        format!("/rest/api/{version}/issue/{}", self.issue_of(chosen))
    }

    /// Where the transition leads, from what the issue's own read shows.
    fn target_of(&self, wanted: &JiraWants, seen: &Snapshot, shown: &WireResponse) -> Result<TagRef, String> {
        let workflow = read::workflow(shown).ok_or("the tracker does not say which transitions there are")?;
        for transition in &workflow.transitions {
            if let Some(id) = &transition.to.id {
                self.facts.learn_target(&workflow.name, &transition.id, &id.to_string());
            }
        }
        let stands = seen.labels.iter().next().map_or("nowhere", |tag| tag.name.as_str());
        let here = |wanted: &TagRef| seen.labels.iter().find(|tag| wanted.names(tag)).map(crate::model::Tag::to_ref);
        match wanted {
            JiraWants::Transition(id, _) => match (workflow.of_id(id), self.facts.target(&workflow.name, id)) {
                (Some(transition), _) => Ok(transition.to.to_ref()),
                // It was taken, and cannot be taken again from where it leads.
                (None, Some(status)) if here(&TagRef::Id(read::tag_id(&status))).is_some() => {
                    Ok(TagRef::Id(read::tag_id(&status)))
                }
                (None, _) => {
                    Err(format!("transition {id} cannot be taken from {stands}, at least not by this account"))
                }
            },
            JiraWants::Status(status) => match (here(status), workflow.leading_to(status)) {
                (Some(already), _) => Ok(already),
                (None, Some(transition)) => Ok(transition.to.to_ref()),
                (None, None) => {
                    Err(format!("no transition leads from {stands} to {status}, at least not for this account"))
                }
            },
            JiraWants::Change(_) | JiraWants::Beside(_) => Err("it names no transition".to_owned()),
        }
    }
}

impl Request for JiraWrite {
    fn locator(&self) -> Place {
        match &self.subject {
            Subject::At(address) => address.locator(),
            Subject::New(project) => Place::whole(project),
            Subject::Places(_) | Subject::Keys(_) => Place::new("issues"),
        }
    }

    fn describe(&self) -> String {
        match &self.wants {
            JiraWants::Change(change) if change.is_empty() => "create".to_owned(),
            JiraWants::Change(change) => change.to_string(),
            JiraWants::Transition(id, None) => format!("transition {id}"),
            JiraWants::Transition(id, Some(assignees)) => {
                let change = Change { assignees: Some(assignees.clone()), ..Change::default() };
                format!("transition {id} {change}")
            }
            JiraWants::Status(status) => format!("labels+=[{status}]"),
            JiraWants::Beside(what) => what.clone(),
        }
    }

    fn sender(&self) -> Option<&Sender> {
        None
    }
}

impl GuardedRequest for JiraWrite {
    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    fn wants(&self) -> Wants<'_> {
        match &self.wants {
            JiraWants::Change(change) => Wants::Change(change),
            JiraWants::Transition(..) | JiraWants::Status(_) => Wants::Toggle,
            JiraWants::Beside(_) => Wants::Beside { moves: true },
        }
    }

    fn spell_out(&self, seen: &[(&Address, &Snapshot)], found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        let change = |(_, seen): &(&Address, &Snapshot)| {
            let target = self.target_of(&self.wants, seen, found.ok_or("the issue was not read")?)?;
            let assignees = match &self.wants {
                JiraWants::Transition(_, assignees) => assignees.clone(),
                JiraWants::Change(_) | JiraWants::Status(_) | JiraWants::Beside(_) => None,
            };
            // An issue has exactly one status: this one takes the place of the other.
            Ok(Change { assignees, labels: Some(SetChange::Add([target].into())), ..Change::default() })
        };
        match &self.wants {
            JiraWants::Change(change) => Ok(seen.iter().map(|_| change.clone()).collect()),
            _ => seen.iter().map(change).collect(),
        }
    }

    fn asks_more(&self, _headers: &HeaderMap) -> bool {
        match self.kind {
            JiraWriteKind::Edit | JiraWriteKind::Transition => self.has_more(),
            JiraWriteKind::Create(_) | JiraWriteKind::Fixed { .. } => true,
            JiraWriteKind::Assign | JiraWriteKind::RequestTransition => false,
        }
    }

    /// A comment is no edit: who sends one along means the rest. Nor is a transition, which is taken, and not set.
    fn edits_more(&self) -> bool {
        let is_edit = |member: &Member| member.name != "comment";
        matches!(self.kind, JiraWriteKind::Edit)
            && (!self.body.fields.is_empty() || self.body.update.iter().any(is_edit))
    }

    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest {
        let (method, path, body) = self.parts(chosen.first());
        let mut kept = HeaderMap::new();
        for name in &KEPT {
            for value in headers.get_all(name) {
                kept.append(name, value.clone());
            }
        }
        kept.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        credential.apply(&mut kept);
        if body.is_some() {
            kept.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let target = match &self.query {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path,
        };
        WireRequest { method, target, headers: kept, body: body.unwrap_or_default().into() }
    }

    /// An edit may ask for the whole issue.
    fn represent(&self, address: &Address, credential: &Credential) -> Option<WireRequest> {
        let route = route_of(address);
        let whole = || ask::get(format!("/rest/api/{}/issue/{}", route.version, route.issue), credential);
        (matches!(self.kind, JiraWriteKind::Edit) && self.returns_issue()).then(whole)
    }

    fn accept(&self, read: Option<&WireResponse>) -> Option<WireResponse> {
        match &self.kind {
            JiraWriteKind::Edit if self.returns_issue() => read.cloned(),
            JiraWriteKind::Edit
            | JiraWriteKind::Assign
            | JiraWriteKind::Transition
            | JiraWriteKind::RequestTransition
            | JiraWriteKind::Fixed { is_silent: true, .. } => Some(reply::no_content()),
            JiraWriteKind::Fixed { .. } | JiraWriteKind::Create(_) => None,
        }
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn created(&self, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        let JiraWriteKind::Create(version) = self.kind else { return None };
        read::created(response).map(|id| (address_of(version, &id, false), None))
    }
}

impl std::fmt::Debug for JiraWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Texts of people stay out of every log.
        let rest = self.body.fields.iter().chain(&self.body.update).chain(&self.body.rest);
        let names: Vec<&str> = rest.map(|member| member.name.as_str()).collect();
        f.debug_struct("JiraWrite")
            .field("subject", &self.subject)
            .field("wants", &self.wants)
            .field("rest", &names)
            .finish_non_exhaustive()
    }
}

/// The project of a new issue, as the request names it; the text is told to people.
pub fn project_of(fields: &[Member]) -> Project {
    let named = fields.iter().find(|member| member.name == "project").map(super::body::value_of);
    let text = |name: &str| named.as_ref()?.get(name)?.as_str().map(str::to_owned);
    Project::new(
        &text("key").or_else(|| text("id")).filter(|name| !name.is_empty()).unwrap_or_else(|| "issues".to_owned()),
    )
}

/// The client's headers that survive.
const KEPT: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    USER_AGENT,
    // By these Jira tells that a call is no other page's.
    HeaderName::from_static("x-atlassian-token"),
    REFERER,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
