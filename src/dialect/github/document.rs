//! A GraphQL document: queries pass, and a document with a mutation in it is refused.

use super::super::json::read_object;
use super::super::{GuardedRoute, Head, ParseError, Scrutiny, Understood, WireResponse};
use super::reply;
use super::settings::RefusalStatus;
use crate::model::Rejection;
use http::{HeaderMap, StatusCode};

/// Such a request, before its body.
#[derive(Clone, Copy, Debug)]
pub struct DocumentRoute {
    pub(super) refusal: RefusalStatus,
}

impl GuardedRoute for DocumentRoute {
    fn class(&self) -> &'static str {
        "write"
    }

    fn understand(&self, _head: &Head<'_>, body: &[u8], _scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let members = read_object(body, &["query", "variables", "operationName"])?;
        let query = members.iter().find(|member| member.name == "query");
        let text = query.and_then(|member| serde_json::from_str::<String>(member.value.get()).ok());
        match text {
            Some(text) if !text.contains("mutation") => Ok(Understood::default()),
            Some(_) => Err(refuse("the gate does not read GraphQL mutations of this tracker: use its REST API")),
            None => Err(refuse("the body must have the document as the text `query`")),
        }
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision, self.refusal)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}

fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}
