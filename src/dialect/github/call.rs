//! A call that may be guarded, before its body: how that is read, and how the call is refused.

use super::super::{GuardedRoute, Head, ParseError, Scrutiny, Understood, WireResponse};
use super::parse;
use super::reply;
use super::rest::RestWrite;
use super::routes::{RestForm, RestTarget};
use super::settings::RefusalStatus;
use crate::model::Rejection;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Such a call.
#[derive(Clone, Debug)]
pub struct RestRoute {
    pub(super) form: RestForm,
    pub(super) target: RestTarget,
    pub(super) refusal: RefusalStatus,
}

impl GuardedRoute for RestRoute {
    fn class(&self) -> &'static str {
        match self.target {
            RestTarget::Item(_) => "write",
            RestTarget::New(_) => "create",
        }
    }

    /// Who is assigned to a pull request is not said as it is made.
    fn passes(&self, scrutiny: &Scrutiny<'_>) -> bool {
        self.form == RestForm::CreatePull && !scrutiny.filing
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let body = parse::parse(&self.form, head, body)?;
        let files = matches!(self.target, RestTarget::New(_)) && scrutiny.filing;
        if body.is_idle() && !files {
            return Ok(Understood::default());
        }
        let (target, form) = (self.target.clone(), self.form.clone());
        let write = RestWrite { target, form, body, refusal: self.refusal };
        Ok(Understood { guarded: Some(Arc::new(write)), ..Understood::default() })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision, self.refusal)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}
