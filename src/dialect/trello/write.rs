//! A guarded request, once understood: what it wants, how it is written anew, and what its answers are.
//!
//! It goes to the card by its id, with each parameter in the place where it stood and the credential in a header. Only a signed
//! one goes as it came.

use super::super::{
    Address, Chosen, Credential, Guarded, GuardedRequest, Request, Sender, Subject, Wants, WireRequest, WireResponse,
};
use super::credential::Signed;
use super::params::{BodyParams, Params};
use super::routes::CardField;
use super::{read, reply, request};
use crate::model::{Account, Change, OpenState, Place, Project, Rejection, SetChange, Snapshot, TagId, TagRef};
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use std::sync::Arc;

/// A guarded request.
#[derive(Clone)]
pub struct CardWrite {
    /// What it is about.
    pub(super) subject: Subject,
    pub(super) wants: WriteWants,
    pub(super) kind: WriteKind,
    /// What is not guarded.
    pub(super) params: Params,
    pub(super) signed: Option<Signed>,
}

/// What becomes of the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteWants {
    /// This change.
    Change(Change),
    /// Nothing that a read of the card shows at once; the text is for the audit.
    Beside(String),
}

/// Which call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// `PUT /1/cards/{card}`
    Update,
    /// `PUT /1/cards/{card}/{field}`
    Field(CardField),
    /// `POST /1/cards/{card}/idMembers`
    AddMember,
    /// `DELETE /1/cards/{card}/idMembers/{member}`
    RemoveMember(String),
    /// `DELETE /1/cards/{card}`
    Delete,
    /// A new card, by a call at this path.
    Create {
        /// The path.
        path: String,
        /// The list that it is made in, while its board is not known.
        list: Option<String>,
    },
}

// === impl CardWrite ===

impl CardWrite {
    /// An update of the gate's own, which makes this change and no other.
    pub(super) fn of(address: &Address, change: Change) -> Self {
        Self {
            subject: Subject::At(address.clone()),
            wants: WriteWants::Change(change),
            kind: WriteKind::Update,
            params: Params::default(),
            signed: None,
        }
    }

    fn method(&self) -> Method {
        match self.kind {
            WriteKind::Update | WriteKind::Field(_) => Method::PUT,
            WriteKind::AddMember | WriteKind::Create { .. } => Method::POST,
            WriteKind::RemoveMember(_) | WriteKind::Delete => Method::DELETE,
        }
    }

    /// By its id where that is known: a short link is another name of it.
    fn path(&self, chosen: &[Chosen<'_>]) -> String {
        let named = match &self.subject {
            Subject::At(address) => address.route.to_string(),
            Subject::Places(_) | Subject::Keys(_) | Subject::New(_) => String::new(),
        };
        let id = chosen.first().and_then(|one| one.key).map_or(named, |key| key.as_str().to_owned());
        match &self.kind {
            WriteKind::Update | WriteKind::Delete => format!("/1/cards/{id}"),
            WriteKind::Field(field) => format!("/1/cards/{id}/{}", field.name()),
            WriteKind::AddMember => format!("/1/cards/{id}/idMembers"),
            WriteKind::RemoveMember(member) => format!("/1/cards/{id}/idMembers/{member}"),
            WriteKind::Create { path, .. } => path.clone(),
        }
    }

    /// The parameters with this change in them.
    fn params(&self, chosen: &[Chosen<'_>]) -> Params {
        let mut params = self.params.clone();
        let as_asked = match &self.wants {
            WriteWants::Change(change) => Some(change),
            WriteWants::Beside(_) => None,
        };
        let Some(change) = chosen.first().map(|one| one.change).or(as_asked) else { return params };
        let members = change
            .assignees
            .as_ref()
            .map(|members| Value::from(members.members().iter().map(Account::as_str).collect::<Vec<_>>().join(",")));
        let list = change.labels.as_ref().and_then(|labels| list_id(labels, chosen)).map(Value::from);
        let closed = change.state.map(|state| Value::from(state == OpenState::Closed));
        match self.kind {
            WriteKind::Update | WriteKind::Create { .. } => {
                let fields = [("idMembers", members), ("idList", list), ("closed", closed)];
                for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                    params.put(name, value);
                }
            }
            WriteKind::Field(CardField::Board) => {
                if let Some(list) = list {
                    params.put("idList", list);
                }
            }
            WriteKind::Field(_) | WriteKind::AddMember => {
                if let Some(value) = members.or(list).or(closed) {
                    params.put("value", value);
                }
            }
            WriteKind::RemoveMember(_) | WriteKind::Delete => {}
        }
        params
    }
}

/// The list that a change names.
fn list_id(labels: &SetChange<TagRef>, chosen: &[Chosen<'_>]) -> Option<String> {
    let text = |id: &TagId| match id {
        TagId::Text(text) => Some(text.to_string()),
        TagId::Number(_) => None,
    };
    match labels.members().first()? {
        TagRef::Id(id) => text(id),
        named @ TagRef::Name(_) => {
            let known = chosen.iter().flat_map(|one| one.labels).find(|tag| named.names(tag))?;
            text(known.id.as_ref()?)
        }
    }
}

/// The query and the body that carry them.
fn encoded(params: &Params) -> (String, Option<&'static str>, String) {
    let form = |pairs: &[(String, String)]| Serializer::new(String::new()).extend_pairs(pairs).finish();
    let query = if params.query.is_empty() { String::new() } else { format!("?{}", form(&params.query)) };
    match &params.body {
        BodyParams::Nothing | BodyParams::Multipart(_) => (query, None, String::new()),
        BodyParams::Json(members) => (query, Some("application/json"), Value::Object(members.clone()).to_string()),
        BodyParams::Form(pairs) => (query, Some("application/x-www-form-urlencoded"), form(pairs)),
    }
}

impl Request for CardWrite {
    fn locator(&self) -> Place {
        match &self.subject {
            Subject::At(address) => address.locator(),
            Subject::New(project) => Place::whole(project),
            Subject::Places(_) | Subject::Keys(_) => Place::new("cards"),
        }
    }

    fn describe(&self) -> String {
        match &self.wants {
            WriteWants::Change(change) if change.is_empty() => "create".to_owned(),
            WriteWants::Change(change) => change.to_string(),
            WriteWants::Beside(what) => what.clone(),
        }
    }

    fn sender(&self) -> Option<&Sender> {
        None
    }
}

impl GuardedRequest for CardWrite {
    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    fn wants(&self) -> Wants<'_> {
        match &self.wants {
            WriteWants::Change(change) => Wants::Change(change),
            WriteWants::Beside(_) => Wants::Beside { moves: true },
        }
    }

    fn spell_out(&self, seen: &[(&Address, &Snapshot)], _found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        let change = match &self.wants {
            WriteWants::Change(change) => change.clone(),
            WriteWants::Beside(_) => Change::default(),
        };
        Ok(vec![change; seen.len()])
    }

    fn asks_more(&self, _headers: &HeaderMap) -> bool {
        self.params.names().next().is_some()
    }

    /// What is signed is sent in whole or not at all. A position goes with a move.
    fn edits_more(&self) -> bool {
        let is_edit = |name: &str| EDITS.contains(&name);
        self.kind == WriteKind::Update && self.signed.is_none() && self.params.names().any(is_edit)
    }

    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest {
        let mut kept = HeaderMap::new();
        for name in &KEPT {
            for value in headers.get_all(name) {
                kept.append(name, value.clone());
            }
        }
        kept.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        credential.apply(&mut kept);
        if let Some(signed) = &self.signed {
            signed.apply(&mut kept);
            let (target, body) = (signed.target.clone(), signed.body.clone());
            return WireRequest { method: self.method(), target, headers: kept, body };
        }
        let params = self.params(chosen);
        let (query, kind, body) = encoded(&params);
        if let Some(kind) = kind {
            kept.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let target = format!("{}{query}", self.path(chosen));
        WireRequest { method: self.method(), target, headers: kept, body: Bytes::from(body) }
    }

    fn represent(&self, address: &Address, credential: &Credential) -> Option<WireRequest> {
        let card = &address.route;
        match self.kind {
            WriteKind::Update | WriteKind::Field(_) => Some(request::get(format!("/1/cards/{card}"), credential)),
            WriteKind::AddMember | WriteKind::RemoveMember(_) => {
                Some(request::get(format!("/1/cards/{card}/members"), credential))
            }
            WriteKind::Delete | WriteKind::Create { .. } => None,
        }
    }

    fn accept(&self, read: Option<&WireResponse>) -> Option<WireResponse> {
        match self.kind {
            WriteKind::Delete | WriteKind::Create { .. } => None,
            WriteKind::Update | WriteKind::Field(_) | WriteKind::AddMember | WriteKind::RemoveMember(_) => {
                read.map(reply::shown)
            }
        }
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn created(&self, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        if matches!(self.kind, WriteKind::Create { .. }) { read::created(response) } else { None }
    }

    fn locate(&self, credential: &Credential) -> Option<WireRequest> {
        let WriteKind::Create { list: Some(list), .. } = &self.kind else { return None };
        Some(request::get(format!("/1/lists/{list}?fields=idBoard"), credential))
    }

    fn located(&self, found: &WireResponse) -> Option<Guarded> {
        let WriteKind::Create { path, .. } = &self.kind else { return None };
        let (subject, kind) =
            (Subject::New(read::board_of(found)?), WriteKind::Create { path: path.clone(), list: None });
        Some(Arc::new(Self { subject, kind, ..self.clone() }))
    }
}

impl std::fmt::Debug for CardWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Texts of people stay out of every log.
        let names: Vec<&str> = self.params.names().collect();
        f.debug_struct("CardWrite")
            .field("subject", &self.subject)
            .field("kind", &self.kind)
            .field("wants", &self.wants)
            .field("rest", &names)
            .field("signed", &self.signed)
            .finish()
    }
}

/// A card that is not there yet.
pub fn new_in(project: &str) -> Subject {
    Subject::New(Project::new(project))
}

/// Parameters that edit a card beside its guarded fields.
const EDITS: &[&str] = &[
    "name",
    "desc",
    "due",
    "dueComplete",
    "dueReminder",
    "start",
    "idLabels",
    "labels",
    "idAttachmentCover",
    "cover",
    "subscribed",
    "address",
    "locationName",
    "coordinates",
];
/// The client's headers that survive.
const KEPT: [HeaderName; 6] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
