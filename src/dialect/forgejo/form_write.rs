//! A form of the web interface, once understood: how it is written anew, and what its answers are (manual: forgejo,
//! section 1.8).

use super::super::json::{Member, write_object};
use super::super::target::join;
use super::super::{
    Address, Chosen, Credential, GuardedRequest, Request, Sender, Subject, Wants, WireRequest, WireResponse,
};
use super::web_form::{WebAct, WebForm};
use super::{emit, read, reply};
use crate::model::{Account, Change, OpenState, Place, Project, Rejection, ResourceKey, SetChange, Snapshot, TagRef};
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HOST, HeaderName, ORIGIN, REFERER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeSet;

/// A form that changes items.
#[derive(Clone, Debug)]
pub struct FormWrite {
    /// The repository, or whatever else owns the page that the form is on.
    pub(super) page: Project,
    pub(super) subject: Subject,
    pub(super) wants: FormWants,
    pub(super) sender: Sender,
    pub(super) form: WebForm,
    /// What else the form carries, in order.
    pub(super) rest: Rest,
}

/// What a form wants of each of its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormWants {
    /// This change, whatever shows.
    Change(Change),
    /// A user, known by number, joins the assignees or leaves them; `None`: whichever the items do not show yet.
    Assignee {
        /// The tracker's number of the user.
        user: u64,
        /// `true`: joins.
        joins: Option<bool>,
    },
    /// A label joins or leaves, whichever the items do not show yet.
    ToggleLabel(u64),
    /// Nothing of what a read of the item shows; the text is for the audit.
    Beside {
        /// What it does.
        what: String,
        /// Whether it moves the item, which is its holder's alone while somebody holds it.
        moves: bool,
    },
}

/// The members of a form that are not guarded.
#[derive(Clone)]
pub enum Rest {
    /// As a form: sent urlencoded.
    Pairs(Vec<(String, String)>),
    /// As JSON members.
    Members(Vec<Member>),
}

// === impl FormWrite ===

impl Request for FormWrite {
    fn locator(&self) -> Place {
        match &self.subject {
            Subject::At(address) => address.locator(),
            Subject::Places(_) | Subject::Keys(_) | Subject::New(_) => Place::whole(&self.page),
        }
    }

    fn describe(&self) -> String {
        self.wants.describe()
    }

    fn sender(&self) -> Option<&Sender> {
        Some(&self.sender)
    }
}

impl GuardedRequest for FormWrite {
    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    fn wants(&self) -> Wants<'_> {
        match &self.wants {
            FormWants::Change(change) => Wants::Change(change),
            FormWants::Assignee { .. } | FormWants::ToggleLabel(_) => Wants::Toggle,
            FormWants::Beside { moves, .. } => Wants::Beside { moves: *moves },
        }
    }

    fn page(&self) -> Option<&Project> {
        Some(&self.page)
    }

    fn prove_reader(&self) -> Vec<WireRequest> {
        prove_reader(self)
    }

    fn look_up(&self, credential: &Credential) -> Option<WireRequest> {
        match self.wants {
            FormWants::Assignee { user, .. } => Some(emit::find_user(user, credential)),
            _ => None,
        }
    }

    fn spell_out(&self, seen: &[(&Address, &Snapshot)], found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        let user = match self.wants {
            FormWants::Assignee { user, .. } => {
                let login = found.and_then(|response| read::user_numbered(user, response));
                Some(login.ok_or_else(|| format!("the tracker shows no user with the number {user}"))?)
            }
            _ => None,
        };
        let seen: Vec<&Snapshot> = seen.iter().map(|(_, item)| *item).collect();
        Ok(changes(&self.wants, &seen, user.as_ref()))
    }

    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, _credential: &Credential) -> WireRequest {
        emit_form(self, chosen, headers)
    }

    fn accept(&self, _read: Option<&WireResponse>) -> Option<WireResponse> {
        accept(self)
    }

    /// Forms are answered with a redirect also where they were carried out: what shows decides.
    fn status(&self, response: &WireResponse) -> u16 {
        if response.status.is_redirection() { 200 } else { response.status.as_u16() }
    }

    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse {
        reply::reject_form(rejection, decision, headers)
    }
}

// === impl FormWants, Rest ===

impl FormWants {
    /// For the audit, where the change was not spelled out.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Change(change) => change.to_string(),
            Self::Assignee { user, joins: Some(true) } => format!("assignees+=[user #{user}]"),
            Self::Assignee { user, joins: Some(false) } => format!("assignees-=[user #{user}]"),
            Self::Assignee { user, joins: None } => format!("assignees toggle [user #{user}]"),
            Self::ToggleLabel(label) => format!("labels toggle [#{label}]"),
            Self::Beside { what, .. } => what.clone(),
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Texts of people stay out of every log.
            Self::Pairs(pairs) => f.debug_list().entries(pairs.iter().map(|(name, _)| name)).finish(),
            Self::Members(members) => members.fmt(f),
        }
    }
}

// === what is sent ===

/// The change of each item, spelled out.
pub(super) fn changes(wants: &FormWants, seen: &[&Snapshot], user: Option<&Account>) -> Vec<Change> {
    let one = match (wants, user) {
        (FormWants::Change(change), _) => change.clone(),
        (FormWants::Assignee { joins, .. }, Some(user)) => {
            // Of a selection in which some have the user and some do not, the name was chosen to be given to all.
            let joins = joins.unwrap_or_else(|| seen.iter().any(|item| !item.assignees.contains(user)));
            let set = BTreeSet::from([user.clone()]);
            let change = if joins { SetChange::Add(set) } else { SetChange::Remove(set) };
            Change { assignees: Some(change), ..Change::default() }
        }
        (FormWants::ToggleLabel(label), _) => label_change(*label, toggled_on(*label, seen)),
        (FormWants::Assignee { .. }, None) | (FormWants::Beside { .. }, _) => Change::default(),
    };
    vec![one; seen.len()]
}

/// As the tracker toggles: detached if any has it. One that is exclusive is always attached, which detaches its rivals.
fn toggled_on(label: u64, seen: &[&Snapshot]) -> bool {
    let carried = seen.iter().flat_map(|item| &item.labels).find(|carried| carried.is_numbered(label));
    carried.is_none_or(|carried| carried.group.is_some())
}

pub(super) fn label_change(label: u64, joins: bool) -> Change {
    let set = BTreeSet::from([TagRef::number(label)]);
    let change = if joins { SetChange::Add(set) } else { SetChange::Remove(set) };
    Change { labels: Some(change), ..Change::default() }
}

/// The form, written anew.
pub(super) fn emit_form(write: &FormWrite, chosen: &[Chosen<'_>], head_headers: &HeaderMap) -> WireRequest {
    let mut headers = HeaderMap::new();
    for name in &KEPT {
        for value in head_headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    write.sender.credential.apply(&mut headers);
    let (kind, body) = match &write.rest {
        Rest::Pairs(rest) => {
            let mut body = form_urlencoded::Serializer::new(String::new());
            body.extend_pairs(written(write, chosen)).extend_pairs(rest);
            ("application/x-www-form-urlencoded", body.finish())
        }
        Rest::Members(rest) => {
            let own = written(write, chosen).into_iter().map(|(name, value)| Member::new(name, &Value::from(value)));
            ("application/json", write_object(&own.chain(rest.iter().cloned()).collect::<Vec<_>>()))
        }
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    WireRequest { method: Method::POST, target: write.form.path(), headers, body: Bytes::from(body) }
}

/// What the gate writes itself: the items that are left, and the change that was spelled out.
fn written(write: &FormWrite, chosen: &[Chosen<'_>]) -> Vec<(&'static str, String)> {
    let change = chosen.first().map(|chosen| chosen.change);
    let ids = || chosen.iter().filter_map(|chosen| chosen.key).map(ResourceKey::as_str).collect::<Vec<_>>().join(",");
    match write.form.act {
        WebAct::Assignee | WebAct::Labels | WebAct::Status => {
            let (action, id) = spelled_out(&write.wants, change);
            let id = id.map(|id| ("id", id.to_string()));
            let action = action.map(|action| ("action", action.to_owned()));
            [("issue_ids", ids())].into_iter().chain(id).chain(action).collect()
        }
        WebAct::Projects | WebAct::RequestReview | WebAct::Delete => vec![("issue_ids", ids())],
        WebAct::Comment => match change.and_then(|change| change.state) {
            Some(OpenState::Closed) => vec![("status", "close".to_owned())],
            Some(OpenState::Open) => vec![("status", "reopen".to_owned())],
            None => Vec::new(),
        },
        WebAct::DeleteOne | WebAct::New | WebAct::Compare | WebAct::MoveCards | WebAct::MoveCard | WebAct::Unknown => {
            Vec::new()
        }
    }
}

/// The action and the id that mean this change; where it was not spelled out, those that were asked for.
fn spelled_out(wants: &FormWants, change: Option<&Change>) -> (Option<&'static str>, Option<u64>) {
    let joins = |set: &SetChange<_>| matches!(set, SetChange::Add(_));
    let verb = |joins: bool| Some(if joins { "attach" } else { "detach" });
    let change = change.filter(|change| !change.is_empty());
    match (wants, change) {
        (FormWants::Assignee { user, .. }, Some(Change { assignees: Some(set), .. })) => {
            (verb(matches!(set, SetChange::Add(_))), Some(*user))
        }
        (FormWants::Assignee { user, joins }, _) => (joins.and_then(verb), Some(*user)),
        (FormWants::ToggleLabel(label), Some(Change { labels: Some(set), .. })) => (verb(joins(set)), Some(*label)),
        (FormWants::ToggleLabel(label), _) => (Some("toggle"), Some(*label)),
        (FormWants::Change(Change { assignees: Some(_), .. }), _) => (Some("clear"), Some(0)),
        (FormWants::Change(Change { labels: Some(SetChange::Replace(_)), .. }), _) => (Some("clear"), None),
        (FormWants::Change(Change { labels: Some(set), .. }), _) => (verb(joins(set)), only_id(set)),
        (FormWants::Change(Change { state: Some(OpenState::Closed), .. }), _) => (Some("close"), None),
        (FormWants::Change(_), _) => (Some("open"), None),
        (FormWants::Beside { .. }, _) => (None, None),
    }
}

fn only_id(set: &SetChange<TagRef>) -> Option<u64> {
    let (SetChange::Add(set) | SetChange::Remove(set) | SetChange::Replace(set)) = set;
    set.iter().find_map(|label| match label {
        TagRef::Id(id) => id.number(),
        TagRef::Name(_) => None,
    })
}

/// What a script gets that has asked for nothing new.
fn accept(write: &FormWrite) -> Option<WireResponse> {
    if write.form.act == WebAct::Comment {
        return None;
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    Some(WireResponse { status: StatusCode::OK, headers, body: Bytes::from_static(b"{\"ok\":true}\n") })
}

/// A page that only who is signed in gets, and the one that the form is on.
fn prove_reader(write: &FormWrite) -> Vec<WireRequest> {
    let form = &write.form;
    let page = if form.kind == "compare" { "pulls" } else { form.kind };
    let get = |target: String| {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
        write.sender.credential.apply(&mut headers);
        WireRequest { method: Method::GET, target, headers, body: Bytes::new() }
    };
    vec![get("/user/settings".to_owned()), get(join(&[form.owner.as_str(), form.repo.as_str(), page]))]
}

/// The client's headers that survive. Those from `Host` on are how later versions tell that a form is the user's own.
const KEPT: [HeaderName; 12] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-requested-with"),
    HOST,
    ORIGIN,
    REFERER,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
];
