//! One request under way, and the answers that Redmine gives it.

use std::sync::{Arc, MutexGuard};

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::api::Node;
use super::auth::{self, Who};
use super::bad_request::BadRequest;
use super::params::{Format, RailsRequest};
use super::store::RedmineState;
use crate::fake_forge::{FakeReply, ServerTasks, WriteScope};

#[derive(Debug)]
pub(super) struct RedmineCall {
    pub(super) redmine: Arc<ServerTasks<RedmineState>>,
    pub(super) seq: u64,
    pub(super) headers: HeaderMap,
    /// What the end of the path asks for: an error before any route is told in it.
    pub(super) path_format: Format,
    pub(super) read: Result<RailsRequest, BadRequest>,
    pub(super) who: Who,
    pub(super) scope: WriteScope,
}

/// A request that can be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) call: &'a RedmineCall,
    pub(super) read: &'a RailsRequest,
}

// === impl Asked ===

impl Asked<'_> {
    pub(super) fn state(&self) -> MutexGuard<'_, RedmineState> {
        self.call.redmine.rows()
    }

    pub(super) fn user(&self) -> Option<u64> {
        self.call.who.user()
    }

    pub(super) fn is_api(&self) -> bool {
        matches!(self.read.format, Format::Json | Format::Xml)
    }

    pub(super) fn param(&self, name: &str) -> Option<&Value> {
        self.read.params.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.param(name).map(super::ruby::text)
    }

    /// The moment between the read of a row and its update.
    pub(super) async fn gap(&self) {
        let delay = self.state().vices.write_delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }

    pub(super) fn shown(&self, status: StatusCode, node: &Node) -> FakeReply {
        let (kind, text) = node.write(self.read.format);
        FakeReply::typed(status, kind, text)
    }

    /// An empty answer; its type is that of the format.
    pub(super) fn head(&self, status: StatusCode) -> FakeReply {
        let wants_json =
            super::params::header(&self.call.headers, "accept").is_some_and(|all| all == "application/json");
        let kind = match self.read.format {
            Format::Json => "application/json",
            Format::Xml => "application/xml",
            Format::Html if wants_json => "application/json",
            Format::Html => return page(status),
            Format::Other => "text/html",
        };
        FakeReply::typed(status, kind, "")
    }

    pub(super) fn not_found(&self) -> FakeReply {
        self.head(StatusCode::NOT_FOUND)
    }

    /// No route has this.
    pub(super) fn no_route(&self) -> FakeReply {
        failure(self.call.path_format, StatusCode::NOT_FOUND)
    }

    pub(super) fn broken(&self) -> FakeReply {
        failure(self.call.path_format, StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Not allowed: 403, and 401 for whoever is not signed in.
    pub(super) fn denied(&self) -> FakeReply {
        if self.user().is_some() {
            return self.head(StatusCode::FORBIDDEN);
        }
        if !self.is_api() {
            return FakeReply::redirect(302, "http://redmine/login");
        }
        self.head(StatusCode::UNAUTHORIZED).with(WWW_AUTHENTICATE, "Basic realm=\"Redmine API\"")
    }

    /// Whether a form is the session's own; the API needs no such proof.
    pub(super) fn is_own_form(&self) -> bool {
        if self.is_api() {
            return true;
        }
        let state = self.state();
        let Some(session) = auth::session(&state, &self.call.headers) else { return false };
        let token =
            super::params::header(&self.call.headers, "x-csrf-token").or_else(|| self.text("authenticity_token"));
        token.as_deref() == Some(session.token.as_str())
    }

    pub(super) fn redirect(&self, path: &str) -> FakeReply {
        let host = super::params::header(&self.call.headers, "host").unwrap_or_else(|| "localhost".to_owned());
        let reply = page(StatusCode::FOUND);
        reply.with(LOCATION, &format!("http://{host}{path}"))
    }

    /// Enters in the log that the request changed something.
    pub(super) fn mark_applied(&self, state: &mut RedmineState) {
        if let Some(entry) = state.log.get_mut(self.call.seq) {
            entry.applied = true;
        }
    }
}

/// A page of the web interface.
pub(super) fn page(status: StatusCode) -> FakeReply {
    FakeReply::typed(status, "text/html; charset=utf-8", "<!DOCTYPE html>\n<title>Redmine</title>\n")
}

/// What Rails answers where no controller does.
pub(super) fn failure(format: Format, status: StatusCode) -> FakeReply {
    let (code, text) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
    match format {
        Format::Json => {
            let body = serde_json::json!({ "status": code, "error": text }).to_string();
            FakeReply::typed(status, "application/json; charset=utf-8", body)
        }
        Format::Xml => {
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<hash>\n  <status type=\"integer\">{code}</status>\n  \
                 <error>{text}</error>\n</hash>\n"
            );
            FakeReply::typed(status, "application/xml; charset=utf-8", body)
        }
        Format::Html | Format::Other => page(status),
    }
}
