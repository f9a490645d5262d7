//! What the gate may do with a guarded call of the API (see `dialect/guarded.rs`).

use super::super::{
    Address, Chosen, ClosingSyntax, Creation, Credential, Guarded, GuardedRequest, Request, Sender, Subject, Wants,
    WireRequest, WireResponse,
};
use super::api_write::ApiWrite;
use super::write::{Scope, WriteForm};
use super::{emit, once, parse, read, reply};
use crate::model::{Change, Existing, ItemKind, Made, Place, Rejection, Snapshot, TagRef};
use http::HeaderMap;
use std::sync::Arc;

impl Request for ApiWrite {
    fn locator(&self) -> Place {
        self.scope.locator()
    }

    fn describe(&self) -> String {
        match once::review(self) {
            Some(review) => review.to_string(),
            None if self.change.is_empty() && matches!(self.scope, Scope::Create(_)) => "create".to_owned(),
            None => self.change.to_string(),
        }
    }

    fn sender(&self) -> Option<&Sender> {
        None
    }
}

impl GuardedRequest for ApiWrite {
    fn subject(&self) -> Subject {
        self.scope.subject()
    }

    fn wants(&self) -> Wants<'_> {
        Wants::Change(&self.change)
    }

    fn spell_out(&self, seen: &[(&Address, &Snapshot)], _found: Option<&WireResponse>) -> Result<Vec<Change>, String> {
        Ok(vec![self.change.clone(); seen.len()])
    }

    fn asks_more(&self, headers: &HeaderMap) -> bool {
        self.rest.iter().any(|member| !parse::asks_nothing(self.form, member)) || reply::answers_alone(self, headers)
    }

    fn edits_more(&self) -> bool {
        self.rest.iter().any(|member| parse::edits(self.form, member))
    }

    fn label_in_path(&self) -> Option<&TagRef> {
        let change = self.change.labels.as_ref().filter(|_| self.form == WriteForm::RemoveLabel)?;
        change.members().first()
    }

    fn emit(&self, chosen: &[Chosen<'_>], headers: &HeaderMap, credential: &Credential) -> WireRequest {
        match chosen.first() {
            Some(item) => emit::emit(&self.written_for(item), headers, credential),
            None => emit::emit(self, headers, credential),
        }
    }

    fn represent(&self, address: &Address, credential: &Credential) -> Option<WireRequest> {
        emit::represent(&self.at(address), credential)
    }

    fn accept(&self, read: Option<&WireResponse>) -> Option<WireResponse> {
        read.map(|read| reply::accept(self, read))
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn creation(&self, closing: &ClosingSyntax) -> Option<Creation> {
        once::creation(self, closing)
    }

    fn kind_made(&self) -> ItemKind {
        if self.form == WriteForm::CreatePull { ItemKind::Pull } else { ItemKind::Issue }
    }

    fn pinned(&self, commit: &str) -> Option<Guarded> {
        Some(Arc::new(once::pinned(self, commit)))
    }

    fn made(&self, response: &WireResponse) -> Option<Made> {
        once::made(self, response)
    }

    fn created(&self, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
        read::created(self, response)
    }

    fn first(&self, existing: &Existing) -> Option<WireResponse> {
        Some(once::first(self, existing))
    }
}
