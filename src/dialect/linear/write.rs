//! A guarded mutation, once understood: what it wants of each issue, how it is written anew, and what its answers are
//! (manual: linear).

use super::super::graphql::{ExecutedField, Mutation};
use super::super::{
    Address, Chosen, Credential, Guarded, GuardedRequest, Request, Sender, Subject, Wants, WireRequest, WireResponse,
};
use super::effects::{IssueDraft, NewIssue, PersonRef};
use super::{ask, own, payload, read, reply};
use crate::model::{Account, Change, Place, Principal, Rejection, SetChange, Snapshot};
use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, HeaderName, USER_AGENT};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::sync::Arc;

/// A guarded mutation.
#[derive(Clone)]
pub struct IssueMutation {
    pub(super) source: WriteSource,
    /// The issues that it names, each with what is to become of it.
    pub(super) issues: Vec<(Address, IssueDraft)>,
    /// The one that it makes, where it does nothing else.
    pub(super) makes: Option<NewIssue>,
    /// Who sends it, once that is known.
    pub(super) caller: Option<Account>,
    /// What becomes of its one issue, where that follows from the request alone.
    pub(super) change: Option<Change>,
}

/// Where it comes from.
#[derive(Clone)]
pub enum WriteSource {
    /// A client's document.
    Client(Box<Mutation>),
    /// The gate's own hand: the change is what is written.
    Gate,
}

// === impl IssueMutation ===

impl IssueMutation {
    /// Of a client's document that names these issues.
    pub(super) fn of_client(mutation: Mutation, issues: Vec<(Address, IssueDraft)>, makes: Option<NewIssue>) -> Self {
        let source = WriteSource::Client(Box::new(mutation));
        Self { source, issues, makes, caller: None, change: None }.spelled_for(None)
    }

    /// An update of the gate's own, which makes this change and no other.
    pub(super) fn of_gate(address: &Address, change: Change) -> Self {
        let issues = vec![(address.clone(), IssueDraft::default())];
        Self { source: WriteSource::Gate, issues, makes: None, caller: None, change: Some(change) }
    }

    /// What follows from the request alone, if this account sends it.
    fn spelled_for(mut self, caller: Option<&Account>) -> Self {
        self.caller = caller.cloned();
        self.change = match (&self.issues[..], &self.makes) {
            ([(_, draft)], _) => draft.direct(caller),
            ([], Some(new)) => Some(new.change()),
            _ => None,
        };
        self
    }

    /// The one issue that it names.
    fn only(&self) -> Option<(&Address, &IssueDraft)> {
        match &self.issues[..] {
            [(address, draft)] => Some((address, draft)),
            _ => None,
        }
    }

    fn mutation(&self) -> Option<&Mutation> {
        match &self.source {
            WriteSource::Client(mutation) => Some(mutation),
            WriteSource::Gate => None,
        }
    }

    fn fields(&self) -> &[ExecutedField] {
        self.mutation().map_or(&[], Mutation::fields)
    }

    /// Whom it assigns besides its sender.
    fn others(&self) -> Vec<&str> {
        let named = self.issues.iter().filter_map(|(_, draft)| draft.assignee.as_ref()?.id());
        let others = |id: &&String| self.caller.as_ref().is_none_or(|caller| caller.as_str() != id.as_str());
        named.filter(others).map(String::as_str).collect()
    }

    /// What a read of the issues does not show.
    fn beside(&self) -> Option<&'static str> {
        self.issues.iter().find_map(|(_, draft)| draft.beside)
    }

    /// The request with what is left to ask for: what is echoed is no write.
    fn rewritten(&self, chosen: &[Chosen<'_>]) -> Bytes {
        let (Some(mutation), left) = (self.mutation(), chosen.first().map(|one| one.change)) else {
            return own::body(&self.issues, chosen);
        };
        let (Some(asked), Some(left), true) = (&self.change, left, self.edits_more()) else { return mutation.body() };
        let mut members = Vec::new();
        if asked.assignees.is_some() && left.assignees.is_none() {
            members.extend(["assigneeId", "delegateId"]);
        }
        if asked.labels.is_some() && left.labels.is_none() {
            members.extend(["stateId", "addedLabelIds", "removedLabelIds"]);
        }
        match mutation.fields() {
            [field] if !members.is_empty() => mutation.without(&field.key, "input", &members).body(),
            _ => mutation.body(),
        }
    }
}

impl NewIssue {
    fn change(&self) -> Change {
        let only = |id: &String| SetChange::Replace([Account::new(id)].into());
        let state = self.state.as_deref().map(|id| SetChange::Add([super::draft::by_id(id)].into()));
        Change { assignees: self.holder.as_ref().map(only), labels: state, ..Change::default() }
    }
}

impl Request for IssueMutation {
    fn locator(&self) -> Place {
        match (self.only(), &self.makes) {
            (Some((address, _)), _) => address.locator(),
            (None, Some(new)) => Place::whole(&new.team),
            (None, None) => Place::new("issues"),
        }
    }

    fn describe(&self) -> String {
        match (&self.change, self.beside()) {
            (_, Some(what)) => what.to_owned(),
            (Some(change), _) if self.makes.is_some() => format!("create {change}").trim_end().to_owned(),
            (Some(change), _) => change.to_string(),
            (None, None) => {
                let names: Vec<&str> = self.fields().iter().map(|field| field.name.as_str()).take(MOST_NAMED).collect();
                format!("{} of {} issues", names.join(", "), self.issues.len())
            }
        }
    }

    fn sender(&self) -> Option<&Sender> {
        None
    }

    fn is_about_one(&self) -> bool {
        self.issues.len() < 2
    }
}

impl GuardedRequest for IssueMutation {
    fn subject(&self) -> Subject {
        match (&self.issues[..], &self.makes) {
            ([(address, _)], _) => Subject::At(address.clone()),
            ([], Some(new)) => Subject::New(new.team.clone()),
            (issues, _) => Subject::Places(issues.iter().map(|(address, _)| address.clone()).collect()),
        }
    }

    fn wants(&self) -> Wants<'_> {
        match &self.change {
            _ if self.beside().is_some() => Wants::Beside { moves: true },
            Some(change) => Wants::Change(change),
            None => Wants::Toggle,
        }
    }

    /// Whom it assigns, its sender or somebody else, makes the difference.
    fn sent_by(&self, caller: &Principal) -> Result<Option<Guarded>, String> {
        let names_people = self.only().is_some_and(|(_, draft)| draft.assignee.is_some() || draft.delegate.is_some());
        if self.change.is_some() || !names_people {
            return Ok(None);
        }
        Ok(Some(Arc::new(self.clone().spelled_for(caller.login()))))
    }

    /// Which of those whom it assigns are apps.
    fn look_up(&self, credential: &Credential) -> Option<WireRequest> {
        let others = self.others();
        (!others.is_empty()).then(|| ask::apps(&others, credential))
    }

    fn spell_out(&self, seen: &[(&Address, &Snapshot)], found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        let apps = match found.filter(|_| !self.others().is_empty()) {
            Some(response) => read::apps(response).ok_or("the tracker does not say which of the users are apps")?,
            None => Vec::new(),
        };
        let is_app = |id: &str| apps.iter().any(|app| app.eq_ignore_ascii_case(id));
        let of = |(named, seen): &(&Address, &Snapshot)| {
            let draft = self.issues.iter().find(|(address, _)| address.place == named.place);
            draft
                .map(|(_, draft)| draft.spell_out(seen, &is_app))
                .ok_or_else(|| "an issue was not asked for".to_owned())
        };
        seen.iter().map(of).collect()
    }

    fn asks_more(&self, _headers: &HeaderMap) -> bool {
        let Some((_, draft)) = self.only() else { return true };
        let behind = matches!(draft.assignee, Some(PersonRef::User(_))) || draft.delegate == Some(PersonRef::Nobody);
        self.fields().len() > 1 || draft.edits || draft.closes || (self.change.is_none() && behind)
    }

    fn edits_more(&self) -> bool {
        let is_update = matches!(self.fields(), [field] if field.name == "issueUpdate");
        is_update && self.change.is_some() && self.only().is_some_and(|(_, draft)| draft.edits)
    }

    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest {
        let mut request = ask::body(self.rewritten(chosen), credential);
        for name in KEPT {
            for value in headers.get_all(&name) {
                request.headers.append(&name, value.clone());
            }
        }
        request
    }

    fn represent(&self, _address: &Address, credential: &Credential) -> Option<WireRequest> {
        payload::query(self.mutation()?).map(|query| ask::body(query, credential))
    }

    fn accept(&self, shown: Option<&WireResponse>) -> Option<WireResponse> {
        match self.mutation() {
            Some(mutation) => payload::success(mutation, shown),
            None => Some(reply::answer(&serde_json::json!({ "data": { "issueUpdate": { "success": true } } }))),
        }
    }

    /// Errors come under 200; of several fields those before the one that failed are carried out.
    fn status(&self, response: &WireResponse) -> u16 {
        let Ok(body) = serde_json::from_slice::<Value>(&response.body) else { return response.code() };
        let failed = body["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        let refused = |payload: &Value| payload["success"] == Value::Bool(false);
        let refused = body["data"].as_object().is_some_and(|data| data.values().any(refused));
        match response.status {
            StatusCode::OK if failed || refused => StatusCode::UNPROCESSABLE_ENTITY.as_u16(),
            status => status.as_u16(),
        }
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision, self.fields().first().map(|field| field.key.as_str()))
    }

    fn created(&self, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        self.makes.as_ref()?;
        let made = self.fields().iter().find(|field| field.name == "issueCreate")?;
        read::created(&made.key, response).map(|address| (address, None))
    }
}

impl std::fmt::Debug for IssueMutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Texts of people stay out of every log.
        let names: Vec<&String> = self.fields().iter().map(|field| &field.name).collect();
        f.debug_struct("IssueMutation").field("fields", &names).field("change", &self.change).finish_non_exhaustive()
    }
}

/// Fields that a text names.
const MOST_NAMED: usize = 5;
/// The client's headers that survive.
const KEPT: [HeaderName; 5] = [
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
