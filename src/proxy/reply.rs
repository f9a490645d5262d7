//! The one place where a decision becomes a response.

use super::{Body, full, pass_on};
use crate::admission::StateTag;
use crate::dialect::{WireRequest, WireResponse};
use crate::effect::Decision;
use crate::gate::{Answered, Reply};
use crate::model::{Code, Rejection};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Response, Uri};

/// On every response to a guarded write (manual: answers).
pub const DECISION: HeaderName = HeaderName::from_static("claimgate-decision");

/// On reads of an item and on answers to guarded writes: names the guarded fields that were read, for `If-Match`.
pub const STATE: HeaderName = HeaderName::from_static("claimgate-state");

/// The reply of a guarded section.
pub(super) fn decided(reply: Reply, reject: &dyn Fn(&Rejection, &str) -> WireResponse) -> Response<Body> {
    let mut response = response(match reply.answer {
        Answered::Tracker(response) => response,
        Answered::Refused(rejection) => reject(&rejection, &reply.id),
    });
    mark(&mut response, reply.decision, reply.code, &reply.id, reply.state.as_ref());
    response
}

/// What is left of a request goes on in its place: as a request that passes, with target and body written anew.
pub(super) fn passed_on(mut head: Parts, rest: WireRequest, reply: &Reply) -> Response<Body> {
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    for name in rest.headers.keys() {
        head.headers.remove(name);
    }
    head.headers.extend(rest.headers);
    let target = PathAndQuery::try_from(rest.target);
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.path_and_query = target.ok();
    head.uri = Uri::from_parts(uri).unwrap_or_default();
    head.method = rest.method;
    let mut answer = pass_on(head, rest.body);
    answer.headers_mut().insert(DECISION, decision(reply.decision, reply.code, &reply.id));
    answer
}

/// The headers that an answer to a guarded write has.
pub(super) fn mark(
    response: &mut Response<Body>,
    decided: Decision,
    code: Option<Code>,
    id: &str,
    shown: Option<&StateTag>,
) {
    response.headers_mut().insert(DECISION, decision(decided, code, id));
    if let Some(tag) = shown.and_then(state) {
        response.headers_mut().insert(STATE, tag);
    }
}

/// A state's tag as a header has it.
pub(super) fn state(tag: &StateTag) -> Option<HeaderValue> {
    HeaderValue::from_str(&tag.to_string()).ok()
}

/// A refusal that no walk made.
pub(super) fn refused(
    rejection: &Rejection,
    id: &str,
    reject: &dyn Fn(&Rejection, &str) -> WireResponse,
) -> Response<Body> {
    marked(reject(rejection, id), decision(Decision::Reject, Some(rejection.code), id))
}

fn marked(answer: WireResponse, decision: HeaderValue) -> Response<Body> {
    let mut response = response(answer);
    response.headers_mut().insert(DECISION, decision);
    response
}

fn response(answer: WireResponse) -> Response<Body> {
    let mut response = Response::new(full(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    // The body was read whole: its length is written anew.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    response
}

fn decision(decision: Decision, code: Option<Code>, id: &str) -> HeaderValue {
    let code = code.map(|code| format!(" code={};", code.as_str())).unwrap_or_default();
    let text = format!("{};{code} id={id}", decision.as_str());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("reject"))
}
