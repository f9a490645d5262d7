//! What the edge may do with a call that may be guarded: how its body is read, and how it is refused.

use super::super::{
    Creation, GuardedRequest, GuardedRoute, Head, ParseError, Scrutiny, SideWrite, Understood, WireResponse,
};
use super::api_write::ApiWrite;
use super::call::OnceRoute;
use super::side_route::SideRoute;
use super::web_form::FormRoute;
use super::write::Write;
use super::{once, parse, reply, side_effects, web};
use crate::model::{Rejection, What};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

impl GuardedRoute for Write {
    fn class(&self) -> &'static str {
        if self.is_new_item() { "create" } else { "write" }
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let guarded = understand(self, head, body, scrutiny)?;
        let beside = side_effects::edits_ref(self, head, body);
        Ok(Understood { beside, guarded: guarded.map(|write| Arc::new(write) as _), unknown: false })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}

/// What the write wants. A creation that a rule is about is guarded, whatever else it touches.
fn understand(
    write: &Write,
    head: &Head<'_>,
    body: &[u8],
    scrutiny: &Scrutiny<'_>,
) -> Result<Option<ApiWrite>, ParseError> {
    if write.creates().is_some_and(|what| (scrutiny.once)(what)) {
        let creation = once::understand(write, head, body, scrutiny.closing)?;
        let is_ruled = match creation.creation(scrutiny.closing) {
            Some(Creation::Review { event, .. }) => (scrutiny.counts)(&event),
            Some(Creation::Pull { closes, .. }) => !closes.is_empty(),
            None => false,
        };
        if is_ruled {
            return Ok(Some(creation));
        }
    }
    if write.is_new_item() && scrutiny.filing {
        return parse::understand(write, head, body).map(Some);
    }
    parse::parse(write, head, body)
}

impl GuardedRoute for OnceRoute {
    fn class(&self) -> &'static str {
        "once"
    }

    fn passes(&self, scrutiny: &Scrutiny<'_>) -> bool {
        // Where no rule is about them, reviews stream as they come.
        !(scrutiny.once)(What::Review)
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        self.0.as_ref().map_err(ParseError::clone)?.understand(head, body, scrutiny)
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}

impl GuardedRoute for FormRoute {
    fn class(&self) -> &'static str {
        "form"
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let guarded = web::parse(self, head, body)?;
        // Filed by a form, an item is a creation all the same.
        let beside = if scrutiny.filing { side_effects::files_item(self, head, body) } else { None };
        Ok(Understood { beside, guarded: guarded.map(|form| Arc::new(form) as _), unknown: self.is_unknown() })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse {
        reply::reject_form(rejection, decision, headers)
    }

    fn undone_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        side_effects::refuses_filing(status, headers)
    }
}

impl GuardedRoute for SideRoute {
    fn class(&self) -> &'static str {
        "beside"
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let beside: Option<SideWrite> = match side_effects::parse(self, head, body) {
            // What is only written down is never in the way.
            Err(_) if self.is_dependency() && !scrutiny.dependencies => None,
            beside => beside?,
        };
        Ok(Understood { beside, ..Understood::default() })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse {
        if self.is_form() {
            reply::reject_form(rejection, decision, headers)
        } else {
            reply::reject(rejection, decision)
        }
    }

    fn undone_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        side_effects::refuses_filing(status, headers)
    }
}
