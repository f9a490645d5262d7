//! A guarded call of the REST API, once understood: how it is written anew, and what its answers are.
//!
//! It becomes one JSON body on the caller's own path, or on the path to which the item has moved. What stands beside the
//! guarded fields goes along as it was read.

use super::super::json::{Member, write_object};
use super::super::{
    Address, Chosen, Credential, GuardedRequest, Request, Sender, Subject, Wants, WireRequest, WireResponse,
};
use super::emit;
use super::location::ItemPath;
use super::parse::RestBody;
use super::routes::{RestForm, RestTarget};
use super::settings::RefusalStatus;
use super::{read, reply};
use crate::model::{Account, Change, ItemKind, Place, Rejection, SetChange, Snapshot, TagRef};
use http::{HeaderMap, Method};
use serde_json::Value;
use std::collections::BTreeSet;

/// A guarded call.
#[derive(Clone, Debug)]
pub struct RestWrite {
    /// What it is about.
    pub(super) target: RestTarget,
    pub(super) form: RestForm,
    /// What it asks for.
    pub(super) body: RestBody,
    pub(super) refusal: RefusalStatus,
}

// === impl RestWrite ===

impl RestWrite {
    /// A call of the gate's own: this change of an item, and nothing else.
    pub(super) fn of(address: &Address, form: RestForm, change: Change) -> Self {
        let body = RestBody { change, ..RestBody::default() };
        Self { target: RestTarget::Item(address.clone()), form, body, refusal: RefusalStatus::default() }
    }

    /// Where it is sent: to the item's present place, after a followed redirect.
    fn path(&self, chosen: Option<&Chosen<'_>>) -> String {
        let at = match &self.target {
            RestTarget::New(repo) => {
                return repo.below(&[if self.form == RestForm::CreatePull { "pulls" } else { "issues" }]);
            }
            RestTarget::Item(asked) => chosen.and_then(|one| one.address).unwrap_or(asked),
        };
        let item = ItemPath::of(at);
        match &self.form {
            RestForm::EditPull => item.below("pulls", &[]),
            RestForm::EditIssue | RestForm::CreateIssue | RestForm::CreatePull => item.below("issues", &[]),
            RestForm::AddAssignees | RestForm::RemoveAssignees => item.below("issues", &["assignees"]),
            RestForm::AddLabels | RestForm::ReplaceLabels | RestForm::ClearLabels => item.below("issues", &["labels"]),
            RestForm::RemoveLabel(name) => item.below("issues", &["labels", &removed(name, chosen)]),
            RestForm::SetFields(_) => item.below("issues", &["issue-field-values"]),
            RestForm::ClearField(field) => item.below("issues", &["issue-field-values", field]),
            RestForm::ApproveSuggestion(id) => item.below("issues", &["suggestions", id, "approve"]),
        }
    }

    fn method(&self) -> Method {
        match &self.form {
            RestForm::EditIssue | RestForm::EditPull => Method::PATCH,
            RestForm::CreateIssue
            | RestForm::CreatePull
            | RestForm::AddAssignees
            | RestForm::AddLabels
            | RestForm::ApproveSuggestion(_) => Method::POST,
            RestForm::ReplaceLabels => Method::PUT,
            RestForm::SetFields(method) => method.clone(),
            RestForm::RemoveAssignees | RestForm::ClearLabels | RestForm::RemoveLabel(_) | RestForm::ClearField(_) => {
                Method::DELETE
            }
        }
    }

    /// The body; `None` where the call has none.
    fn json(&self, chosen: Option<&Chosen<'_>>) -> Option<String> {
        if matches!(self.form, RestForm::ClearLabels | RestForm::RemoveLabel(_) | RestForm::ClearField(_)) {
            return None;
        }
        let change = chosen.map_or(&self.body.change, |one| one.change);
        let mut members = self.body.rest.clone();
        if let Some(assignees) = &change.assignees {
            let names = assignees.members().iter().map(|account| account.as_str().to_owned());
            members.push(Member::new("assignees", &self.spelled(names.collect())));
        }
        if let Some(labels) = &change.labels {
            let names = labels.members().iter().map(|label| name_of(label, chosen));
            members.push(Member::new("labels", &self.spelled(names.collect())));
        }
        if let Some(state) = change.state {
            members.push(Member::new("state", &Value::from(state.as_str())));
        }
        Some(write_object(&members))
    }

    /// Entries as the caller wrote them, in its order: GitHub shows them so.
    fn spelled(&self, names: Vec<String>) -> Value {
        let place = |name: &String| self.body.spelled.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut placed: Vec<(usize, Value)> = names
            .into_iter()
            .map(|name| match place(&name) {
                Some(at) => (at, self.body.spelled[at].1.clone()),
                None => (usize::MAX, Value::from(name)),
            })
            .collect();
        placed.sort_by_key(|(at, _)| *at);
        placed.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// The label that a removal names; one of the gate's own is named by its id.
fn removed(name: &str, chosen: Option<&Chosen<'_>>) -> String {
    let change = chosen.and_then(|one| one.change.labels.as_ref());
    match change.and_then(|labels| labels.members().first()) {
        Some(label) => name_of(label, chosen),
        None => name.to_owned(),
    }
}

/// What a label is called: REST knows labels by their names alone.
fn name_of(label: &TagRef, chosen: Option<&Chosen<'_>>) -> String {
    let known =
        chosen.into_iter().flat_map(|one| one.labels.iter().chain(one.seen.into_iter().flat_map(|it| &it.labels)));
    match label {
        TagRef::Name(name) => name.clone(),
        TagRef::Id(id) => {
            known.into_iter().find(|tag| label.names(tag)).map_or_else(|| id.to_string(), |tag| tag.name.clone())
        }
    }
}

impl Request for RestWrite {
    fn locator(&self) -> Place {
        match &self.target {
            RestTarget::Item(address) => address.locator(),
            RestTarget::New(repo) => Place::whole(&repo.project),
        }
    }

    fn describe(&self) -> String {
        match (self.body.beside, &self.target) {
            (Some(beside), _) => beside.to_owned(),
            (None, RestTarget::New(_)) if self.body.change.is_empty() => "create".to_owned(),
            (None, _) => self.body.change.to_string(),
        }
    }

    fn sender(&self) -> Option<&Sender> {
        None
    }
}

impl GuardedRequest for RestWrite {
    fn subject(&self) -> Subject {
        match &self.target {
            RestTarget::Item(address) => Subject::At(address.clone()),
            RestTarget::New(repo) => Subject::New(repo.project.clone()),
        }
    }

    fn wants(&self) -> Wants<'_> {
        match self.body.beside {
            Some(_) => Wants::Beside { moves: true },
            None => Wants::Change(&self.body.change),
        }
    }

    fn spell_out(&self, seen: &[(&Address, &Snapshot)], _found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        Ok(vec![self.body.change.clone(); seen.len()])
    }

    fn asks_more(&self, _headers: &HeaderMap) -> bool {
        // Of a label that is not there GitHub says so itself.
        !self.body.rest.is_empty() || matches!(self.form, RestForm::RemoveLabel(_))
    }

    fn edits_more(&self) -> bool {
        matches!(self.form, RestForm::EditIssue | RestForm::EditPull) && !self.body.rest.is_empty()
    }

    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest {
        let one = chosen.first();
        emit::write(self.method(), self.path(one), (headers, credential), self.json(one))
    }

    /// A pull request as its own call shows it: under another `id`, with head and base.
    fn represent(&self, address: &Address, credential: &Credential) -> Option<WireRequest> {
        let of_pull = self.form == RestForm::EditPull;
        of_pull.then(|| emit::get(ItemPath::of(address).below("pulls", &[]), credential))
    }

    fn accept(&self, read: Option<&WireResponse>) -> Option<WireResponse> {
        read.and_then(|read| reply::accept(&self.form, read))
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision, self.refusal)
    }

    fn kind_made(&self) -> ItemKind {
        if self.form == RestForm::CreatePull { ItemKind::Pull } else { ItemKind::Issue }
    }

    fn created(&self, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        match &self.target {
            RestTarget::New(repo) => read::created(repo, self.kind_made(), response),
            RestTarget::Item(_) => None,
        }
    }
}

/// A write of the gate's own that leaves exactly these assigned.
pub fn assign(address: &Address, accounts: BTreeSet<Account>) -> RestWrite {
    let change = Change { assignees: Some(SetChange::Replace(accounts)), ..Change::default() };
    RestWrite::of(address, RestForm::EditIssue, change)
}

/// A write of the gate's own to the labels of an item; a removal is one label's.
pub fn relabel(address: &Address, change: SetChange<TagRef>) -> RestWrite {
    let form = match &change {
        SetChange::Add(_) => RestForm::AddLabels,
        SetChange::Replace(_) => RestForm::ReplaceLabels,
        SetChange::Remove(_) => RestForm::RemoveLabel(String::new()),
    };
    RestWrite::of(address, form, Change { labels: Some(change), ..Change::default() })
}

#[cfg(test)]
mod tests {
    use super::super::super::{Head, Target};
    use super::super::routes::{RestCall, classify};
    use super::super::{location, parse};
    use super::*;
    use crate::model::{OpenState, ResourceKey, Tag, TagId};

    fn understood(request: &str, body: &str) -> RestWrite {
        let (method, target) = request.split_once(' ').unwrap();
        let (method, target, headers) = (method.parse().unwrap(), Target::parse(target), HeaderMap::new());
        let head = Head { method: &method, target: &target, headers: &headers };
        let RestCall::Item(form, target) = classify(&head) else { panic!("{request}") };
        let body = parse::parse(&form, &head, body.as_bytes()).unwrap();
        RestWrite { target, form, body, refusal: RefusalStatus::default() }
    }

    #[track_caller]
    fn check(request: &str, body: &str, sent: &str, with: &str) {
        let write = understood(request, body);
        let emitted = write.emit(&[], &HeaderMap::new(), &Credential::default());
        assert_eq!(format!("{} {}", emitted.method, emitted.target), sent);
        assert_eq!(emitted.body, with);
    }

    #[test]
    fn each_call_is_written_anew() {
        let issue = "PATCH /repos/O/r/issues/7";
        check(
            "POST /repos/O/r/issues/7?x=1",
            r#"{"title":"t","assignees":["ann"]}"#,
            issue,
            r#"{"title":"t","assignees":["ann"]}"#,
        );
        check(
            "PATCH /api/v3/repos/O/r/issues/7/",
            r#"{"state":"closed"}"#,
            "PATCH /api/v3/repos/O/r/issues/7",
            r#"{"state":"closed"}"#,
        );
        check(
            "PATCH /repositories/5/issues/7",
            r#"{"assignee":""}"#,
            "PATCH /repositories/5/issues/7",
            r#"{"assignees":[]}"#,
        );
        check("POST /repos/O/r/issues/7/labels", r#"["a"]"#, "POST /repos/O/r/issues/7/labels", r#"{"labels":["a"]}"#);
        check("DELETE /repos/O/r/issues/7/labels/a%2Fb%20c", "", "DELETE /repos/O/r/issues/7/labels/a%2Fb%20c", "");
        check(
            issue,
            r#"{"assignees":[{"login":"ann","rationale":"r"}],"labels":[{"name":"x","color":"f00"}]}"#,
            issue,
            r#"{"assignees":[{"login":"ann","rationale":"r"}],"labels":[{"name":"x","color":"f00"}]}"#,
        );
        check(
            "POST /repos/O/r/issues/7/suggestions/9/approve",
            "",
            "POST /repos/O/r/issues/7/suggestions/9/approve",
            "{}",
        );
        check(
            "POST /repos/O/r/issues",
            r#"{"title":"t","assignees":["ann"]}"#,
            "POST /repos/O/r/issues",
            r#"{"title":"t","assignees":["ann"]}"#,
        );
    }

    #[test]
    fn it_is_written_for_the_items_present_place() {
        let write = understood("DELETE /repos/O/r/issues/7/assignees", r#"{"assignees":["ann"]}"#);
        let moved = location::of_place(&Place::from_stored("id:9#31")).unwrap();
        let change = write.body.change.clone();
        let chosen = Chosen { address: Some(&moved), ..Chosen::unread(None, &change) };
        let sent = write.emit(&[chosen], &HeaderMap::new(), &Credential::service("t"));
        assert_eq!((sent.method, sent.target.as_str()), (Method::DELETE, "/repositories/9/issues/31/assignees"));
        assert_eq!(sent.body, r#"{"assignees":["ann"]}"#);
        assert_eq!(sent.headers["authorization"], "token t");
        assert!(sent.headers.contains_key("user-agent"), "GitHub answers nobody without one");
    }

    #[test]
    fn a_label_of_the_gates_own_is_named() {
        let address = location::of_place(&Place::from_stored("o/r#7")).unwrap();
        let tag = Tag { id: Some(TagId::Text("LA_3".into())), name: "In progress".into(), group: None, state: None };
        let seen = Snapshot {
            key: ResourceKey::new("1"),
            locator: address.locator(),
            kind: ItemKind::Issue,
            assignees: BTreeSet::new(),
            labels: [tag.clone()].into(),
            state: OpenState::Open,
            author: None,
        };
        let write = relabel(&address, SetChange::Remove([tag.to_ref()].into()));
        let change = write.body.change.clone();
        let chosen = Chosen { seen: Some(&seen), ..Chosen::unread(None, &change) };
        let sent = write.emit(&[chosen], &HeaderMap::new(), &Credential::default());
        assert_eq!(sent.target, "/repos/o/r/issues/7/labels/In%20progress");
    }
}
