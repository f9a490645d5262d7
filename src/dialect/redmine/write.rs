//! A guarded request, once understood: what it wants, how it is written anew, and what its answers are.
//!
//! A call of the API becomes one JSON body on the canonical path; a form of the web interface stays a form. What stands
//! beside the guarded fields goes along as it was read.

use super::super::{
    Address, Chosen, Credential, Guarded, GuardedRequest, Request, Sender, Subject, Wants, WireRequest, WireResponse,
};
use super::fields::{Assignee, WantedFields};
use super::params::{AnswerFormat, Parameters};
use super::{read, reply};
use crate::model::{Account, Change, Place, Principal, Project, Rejection, ResourceKey, SetChange, Snapshot, TagRef};
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HOST, HeaderName, ORIGIN, REFERER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A guarded request.
#[derive(Clone)]
pub struct IssueWrite {
    /// What it is about.
    pub(super) subject: Subject,
    pub(super) wants: WriteWants,
    pub(super) kind: WriteKind,
    /// The fields of the issue that are not guarded.
    pub(super) issue: Parameters,
    /// What stands beside them.
    pub(super) beside: Parameters,
    pub(super) via: Via,
}

/// What becomes of each issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteWants {
    /// This change.
    Change(Change),
    /// Its sender is assigned, who is not known by name yet.
    Caller(Change),
    /// Nothing that a read of the issue shows at once; the text is for the audit.
    Beside(String),
}

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// An update of one issue.
    Update,
    /// The form for several.
    UpdateMany,
    /// A new issue.
    Create,
    /// An issue ends.
    Delete,
    /// Issues end.
    DeleteMany,
    /// An issue is said to be another's duplicate.
    Relate(u64),
}

/// The way in which it came.
#[derive(Clone, Debug)]
pub enum Via {
    /// A call of the API, answered in this form.
    Api(AnswerFormat),
    /// A form of the web interface.
    Page(Box<Sender>),
}

// === impl WriteWants, Via ===

impl WriteWants {
    /// Of these fields.
    pub fn of(wanted: WantedFields) -> Self {
        // An issue has exactly one status: this one takes the place of the other.
        let labels = wanted.status.map(|status| SetChange::Add([TagRef::number(status)].into()));
        let mut change = Change { labels, ..Change::default() };
        let only = |account| Some(SetChange::Replace(BTreeSet::from([account])));
        match wanted.assignee {
            Some(Assignee::Caller) => return Self::Caller(change),
            Some(Assignee::Number(number)) => change.assignees = only(Account::new(&number.to_string())),
            Some(Assignee::Nobody) => change.assignees = Some(SetChange::Replace(BTreeSet::new())),
            None => {}
        }
        Self::Change(change)
    }
}

impl Via {
    pub(super) fn format(&self) -> AnswerFormat {
        match self {
            Self::Api(format) => *format,
            Self::Page(_) => AnswerFormat::Page,
        }
    }
}

// === impl IssueWrite ===

impl IssueWrite {
    /// An update of the gate's own, which makes this change and no other.
    pub(super) fn of(address: &Address, change: Change) -> Self {
        Self {
            subject: Subject::At(address.clone()),
            wants: WriteWants::Change(change),
            kind: WriteKind::Update,
            issue: Parameters::new(),
            beside: Parameters::new(),
            via: Via::Api(AnswerFormat::Json),
        }
    }

    fn method(&self) -> Method {
        match (self.kind, &self.via) {
            (WriteKind::Update, Via::Api(_)) => Method::PUT,
            (WriteKind::Delete | WriteKind::DeleteMany, Via::Api(_)) => Method::DELETE,
            _ => Method::POST,
        }
    }

    /// By which a form says what it is.
    fn override_of_form(&self) -> Option<&'static str> {
        match self.kind {
            WriteKind::Update => Some("patch"),
            WriteKind::Delete | WriteKind::DeleteMany => Some("delete"),
            WriteKind::UpdateMany | WriteKind::Create | WriteKind::Relate(_) => None,
        }
    }

    fn path(&self) -> String {
        let suffix = self.via.format().suffix();
        let issue = || match &self.subject {
            Subject::At(address) => address.route.to_string(),
            Subject::Places(_) | Subject::Keys(_) | Subject::New(_) => String::new(),
        };
        match self.kind {
            WriteKind::Update | WriteKind::Delete => format!("/issues/{}{suffix}", issue()),
            WriteKind::UpdateMany => format!("/issues/bulk_update{suffix}"),
            // Where the project was in the path, the answer to a form leads back there.
            WriteKind::Create | WriteKind::DeleteMany => format!("/issues{suffix}"),
            WriteKind::Relate(at) => format!("/issues/{at}/relations{suffix}"),
        }
    }

    /// The parameters with this change in them.
    fn members(&self, chosen: &[Chosen<'_>]) -> Parameters {
        let mut issue = self.issue.clone();
        let as_asked = match &self.wants {
            WriteWants::Change(change) => Some(change),
            WriteWants::Caller(_) => {
                issue.insert("assigned_to_id".to_owned(), "me".into());
                None
            }
            WriteWants::Beside(_) => None,
        };
        if let Some(change) = chosen.first().map(|one| one.change).or(as_asked) {
            put_change(&mut issue, change, chosen, self.kind);
        }
        let mut all = self.beside.clone();
        if matches!(self.kind, WriteKind::UpdateMany | WriteKind::DeleteMany) {
            let ids = chosen.iter().filter_map(|one| one.key).map(|key| Value::from(key.as_str()));
            all.insert("ids".to_owned(), ids.collect());
        }
        if !issue.is_empty() || self.kind == WriteKind::Create {
            all.insert("issue".to_owned(), Value::Object(issue));
        }
        all
    }

    /// Whether it asks for anything that is no guarded field.
    fn has_more(&self) -> bool {
        !self.issue.is_empty() || !self.beside.is_empty()
    }
}

/// The guarded fields as Redmine reads them.
fn put_change(issue: &mut Parameters, change: &Change, chosen: &[Chosen<'_>], kind: WriteKind) {
    if let Some(assignees) = &change.assignees {
        // An issue has one assignee at most. In a form for several an empty field says nothing.
        let nobody = if kind == WriteKind::UpdateMany { "none" } else { "" };
        let number = assignees.members().first().map(|account| account.as_str().parse::<u64>());
        let value = match number {
            Some(Ok(number)) => Value::from(number),
            Some(Err(_)) => assignees.members().first().map_or("", Account::as_str).into(),
            None => nobody.into(),
        };
        issue.insert("assigned_to_id".to_owned(), value);
    }
    let known = |wanted: &TagRef| chosen.iter().flat_map(|one| one.labels).find(|tag| wanted.names(tag))?.id.clone();
    let status = change.labels.as_ref().and_then(|labels| labels.members().first()).and_then(|status| match status {
        TagRef::Id(id) => id.number(),
        TagRef::Name(_) => known(status)?.number(),
    });
    if let Some(status) = status {
        issue.insert("status_id".to_owned(), status.into());
    }
}

impl Request for IssueWrite {
    fn locator(&self) -> Place {
        match &self.subject {
            Subject::At(address) => address.locator(),
            Subject::New(project) => Place::whole(project),
            Subject::Places(_) | Subject::Keys(_) => Place::new("issues"),
        }
    }

    fn describe(&self) -> String {
        match &self.wants {
            WriteWants::Change(change) if change.is_empty() && self.kind == WriteKind::Create => "create".to_owned(),
            WriteWants::Change(change) => change.to_string(),
            WriteWants::Caller(change) => format!("assignees=[me] {change}").trim_end().to_owned(),
            WriteWants::Beside(what) => what.clone(),
        }
    }

    fn sender(&self) -> Option<&Sender> {
        match &self.via {
            Via::Api(_) => None,
            Via::Page(sender) => Some(&**sender),
        }
    }
}

impl GuardedRequest for IssueWrite {
    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    fn wants(&self) -> Wants<'_> {
        match &self.wants {
            WriteWants::Change(change) => Wants::Change(change),
            WriteWants::Caller(_) => Wants::Toggle,
            WriteWants::Beside(_) => Wants::Beside { moves: true },
        }
    }

    fn sent_by(&self, caller: &Principal) -> Result<Option<Guarded>, String> {
        let WriteWants::Caller(change) = &self.wants else { return Ok(None) };
        let Some(account) = caller.login() else {
            return Err("the tracker does not say who `me` is: name the account by its number".to_owned());
        };
        let assignees = Some(SetChange::Replace(BTreeSet::from([account.clone()])));
        let wants = WriteWants::Change(Change { assignees, ..change.clone() });
        Ok(Some(Arc::new(Self { wants, ..self.clone() })))
    }

    /// Who sees none of the issues on a page may learn nothing of them.
    fn prove_reader(&self) -> Vec<WireRequest> {
        let Via::Page(sender) = &self.via else { return Vec::new() };
        let get = |target: String| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
            sender.credential.apply(&mut headers);
            WireRequest { method: Method::GET, target, headers, body: Bytes::new() }
        };
        let pages: Vec<String> = match &self.subject {
            Subject::At(address) => vec![format!("/issues/{}", address.route)],
            Subject::Keys(keys) => keys.iter().map(|key| format!("/issues/{key}")).collect(),
            Subject::Places(places) => places.iter().map(|at| format!("/issues/{}", at.route)).collect(),
            Subject::New(_) => Vec::new(),
        };
        // That one only who is signed in gets.
        std::iter::once("/my/account".to_owned()).chain(pages).map(get).collect()
    }

    /// A page sends all of its fields: what shows already is no change.
    fn spell_out(&self, seen: &[(&Address, &Snapshot)], _found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        let WriteWants::Change(change) = &self.wants else {
            return Err("a session does not say who `me` is: name the account by its number".to_owned());
        };
        Ok(seen.iter().map(|(_, item)| without_what_shows(change, item)).collect())
    }

    fn asks_more(&self, _headers: &HeaderMap) -> bool {
        self.has_more()
    }

    /// A note is no edit: who sends one along means the rest.
    fn edits_more(&self) -> bool {
        let is_edit = |name: &String| !matches!(name.as_str(), "notes" | "private_notes" | "lock_version");
        self.kind == WriteKind::Update && self.sender().is_none() && self.issue.keys().any(is_edit)
    }

    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest {
        let mut kept = HeaderMap::new();
        let is_page = matches!(self.via, Via::Page(_));
        for name in KEPT.iter().chain(KEPT_OF_FORMS.iter().filter(|_| is_page)) {
            for value in headers.get_all(name) {
                kept.append(name, value.clone());
            }
        }
        kept.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let members = self.members(chosen);
        let body = match &self.via {
            Via::Page(sender) => {
                sender.credential.apply(&mut kept);
                kept.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                form(self.override_of_form(), &members)
            }
            Via::Api(_) if self.method() == Method::DELETE => {
                credential.apply(&mut kept);
                String::new()
            }
            Via::Api(_) => {
                credential.apply(&mut kept);
                kept.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Value::Object(members).to_string()
            }
        };
        WireRequest { method: self.method(), target: self.path(), headers: kept, body: body.into() }
    }

    fn accept(&self, _read: Option<&WireResponse>) -> Option<WireResponse> {
        match (&self.via, self.kind) {
            (Via::Api(_), WriteKind::Update) => Some(reply::no_content()),
            // A form's answer leads to a page, and says there that it was saved.
            _ => None,
        }
    }

    /// A form that was saved is answered by a redirect, and one that was not is shown again.
    fn status(&self, response: &WireResponse) -> u16 {
        match (&self.via, response.status) {
            (Via::Page(_), status) if status.is_redirection() => 200,
            (Via::Page(_), StatusCode::OK) if self.kind != WriteKind::UpdateMany => 422,
            (_, status) => status.as_u16(),
        }
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision, self.via.format())
    }

    fn created(&self, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        if self.kind == WriteKind::Create { read::created(response) } else { None }
    }
}

fn without_what_shows(change: &Change, seen: &Snapshot) -> Change {
    let shows = |change: &SetChange<_>| change.apply(&seen.assignees) == seen.assignees;
    let stands = |labels: &SetChange<TagRef>| {
        labels.members().iter().all(|wanted| seen.labels.iter().any(|label| wanted.names(label)))
    };
    Change {
        assignees: change.assignees.clone().filter(|change| !shows(change)),
        labels: change.labels.clone().filter(|labels| !stands(labels)),
        ..Change::default()
    }
}

impl std::fmt::Debug for IssueWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Texts of people stay out of every log.
        let names: Vec<&String> = self.issue.keys().chain(self.beside.keys()).collect();
        f.debug_struct("IssueWrite")
            .field("subject", &self.subject)
            .field("kind", &self.kind)
            .field("wants", &self.wants)
            .field("rest", &names)
            .finish_non_exhaustive()
    }
}

// === forms ===

/// The members as a form nests them.
fn form(method: Option<&str>, members: &Parameters) -> String {
    let mut pairs = Vec::new();
    for (name, value) in members {
        flatten(name.clone(), value, &mut pairs);
    }
    let method = method.map(|method| ("_method".to_owned(), method.to_owned()));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(method.into_iter().chain(pairs)).finish()
}

fn flatten(name: String, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Null => pairs.push((name, String::new())),
        Value::String(text) => pairs.push((name, text.clone())),
        Value::Bool(_) | Value::Number(_) => pairs.push((name, value.to_string())),
        Value::Array(all) => all.iter().for_each(|one| flatten(format!("{name}[]"), one, pairs)),
        Value::Object(all) => all.iter().for_each(|(key, one)| flatten(format!("{name}[{key}]"), one, pairs)),
    }
}

/// The project of a new issue, as the request names it; the text is told to people.
pub fn project_of(path: Option<&str>, issue: &Parameters) -> Project {
    let named = issue.get("project_id").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    Project::new(path.or(named.as_deref()).filter(|name| !name.is_empty()).unwrap_or("issues"))
}

/// Issues by their numbers.
pub fn keys(ids: impl IntoIterator<Item = u64>) -> Subject {
    Subject::Keys(ids.into_iter().map(|id| ResourceKey::new(&id.to_string())).collect())
}

/// The client's headers that survive.
const KEPT: [HeaderName; 6] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
/// By these Redmine tells that a form is the user's own, and how to answer it.
const KEPT_OF_FORMS: [HeaderName; 6] = [
    HOST,
    ORIGIN,
    REFERER,
    HeaderName::from_static("x-requested-with"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
];
