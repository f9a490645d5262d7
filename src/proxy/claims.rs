//! The claims API over HTTP: `/_claimgate/v1/claims` and what lies below it, described by `openapi.json`.
//!
//! Strict where a forge is lenient: an unknown member, a second spelling or a wrong type is refused by its name, because
//! a filter that is half understood would hand out the wrong work. Refusals have the form that those of guarded writes
//! have. Nothing is decided here.

use super::{Body, CollectError, collect_within, empty, full, preconditions, reply};
use crate::admission::{Expectation, Workflow};
use crate::dialect::{Address, Dialect, Filter, Order, Target};
use crate::effect::BodyBudget;
use crate::effect::audit::rfc3339;
use crate::gate::{ClaimCall, Claimed, Grant, Relabelling, Search};
use crate::model::{Account, Code, Rejection};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Describe,
    Next,
    Take,
    Release,
    HandOver,
}

/// A call that was read, and the account that it names for a credential that may not ask.
pub(super) struct Understood {
    pub(super) call: ClaimCall,
    pub(super) named: Option<Account>,
}

/// The body of a call to `next`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NextBody {
    repository: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    exclude_labels: Vec<String>,
    #[serde(default)]
    order: OrderName,
    #[serde(default = "usual_limit")]
    limit: usize,
    #[serde(default)]
    set_labels: Vec<String>,
    #[serde(default)]
    remove_labels: Vec<String>,
    #[serde(default, deserialize_with = "some")]
    assignee: Option<String>,
}

/// The body of a claim.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeBody {
    item: String,
    #[serde(default)]
    set_labels: Vec<String>,
    #[serde(default)]
    remove_labels: Vec<String>,
    #[serde(default, deserialize_with = "some")]
    assignee: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandOverBody {
    to: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderName {
    #[default]
    Oldest,
    Newest,
    Updated,
    LeastUpdated,
}

type Read<T> = Result<T, Box<Rejection>>;

const CLAIMS: &str = "/_claimgate/v1/claims";
const OPENAPI: &str = "/_claimgate/v1/openapi.json";

/// What describes all this, for machines.
const DOCUMENT: &str = include_str!("openapi.json");

/// More than any body with as many labels as there may be.
const LONGEST_BODY: usize = 256 << 10;
const MOST_LABELS: usize = 50;
const LONGEST_LABEL: usize = 255;
const LONGEST_LOGIN: usize = 255;
const MOST_LOOKED_AT: usize = 1_000;

/// Whether the path is one of these.
pub(super) fn is_here(path: &str) -> bool {
    path == OPENAPI || path.strip_prefix(CLAIMS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Which call it is; else the answer that says which there are.
pub(super) fn route(method: &Method, target: &Target) -> Result<Call, Box<Response<Body>>> {
    let call = match target.segments().iter().map(String::as_str).collect::<Vec<_>>()[..] {
        _ if target.ambiguity().is_some() => None,
        [_, _, "openapi.json"] => Some((Call::Describe, &[Method::GET, Method::HEAD][..])),
        [_, _, "claims"] => Some((Call::Take, &[Method::POST][..])),
        [_, _, "claims", "next"] => Some((Call::Next, &[Method::POST][..])),
        [_, _, "claims", _] | [_, _, "claims", _, _, _] => Some((Call::Release, &[Method::DELETE][..])),
        [_, _, "claims", _, "handover"] | [_, _, "claims", _, _, _, "handover"] => {
            Some((Call::HandOver, &[Method::POST][..]))
        }
        _ => None,
    };
    match call {
        None => Err(Box::new(json_error(StatusCode::NOT_FOUND, "not_found", "claimgate has nothing at this path"))),
        Some((call, methods)) if methods.contains(method) => Ok(call),
        Some((_, methods)) => {
            let names = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            let message = format!("{method} is not for this path: {names}");
            let mut response = json_error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_str(&names).unwrap_or(POST));
            Err(Box::new(response))
        }
    }
}

/// The document.
pub(super) fn describe() -> Response<Body> {
    let mut response = Response::new(full(DOCUMENT));
    let kind = HeaderValue::from_static("application/vnd.oai.openapi+json;version=3.1");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The body, read whole.
pub(super) async fn body(body: Incoming, most: usize, within: Duration, room: &Arc<BodyBudget>) -> Read<Bytes> {
    let most = most.min(LONGEST_BODY);
    match tokio::time::timeout(within, collect_within(body, most, room)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(CollectError::TooLarge(_))) => {
            let message = format!("a body here may have {most} bytes at most");
            Err(Box::new(Rejection::of_request(Code::BodyTooLarge, message)))
        }
        Ok(Err(CollectError::NoRoom)) => Err(Box::new(no_room())),
        Ok(Err(CollectError::Body(_))) => Err(unread("the body did not arrive whole")),
        Err(_) => Err(unread("the body did not arrive in time")),
    }
}

/// What the call wants.
pub(super) fn understand(
    dialect: &dyn Dialect,
    call: Call,
    (target, headers): (&Target, &HeaderMap),
    body: &[u8],
) -> Read<Understood> {
    match call {
        Call::Next => {
            parameters(dialect, target, &[])?;
            next(dialect, json_body(headers, body)?)
        }
        Call::Take => {
            parameters(dialect, target, &[])?;
            take(dialect, json_body(headers, body)?)
        }
        Call::HandOver => {
            parameters(dialect, target, &[])?;
            let wish: HandOverBody = json_body(headers, body)?;
            let call = ClaimCall::HandOver(item(dialect, target)?, login("to", &wish.to)?);
            Ok(Understood { call, named: None })
        }
        Call::Release | Call::Describe if !body.is_empty() => {
            Err(unread("this call has no body; labels are named in the query, as `set_labels` and `remove_labels`"))
        }
        Call::Release | Call::Describe => {
            let pairs = parameters(dialect, target, &["set_labels", "remove_labels"])?;
            let (set, remove): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name == "set_labels");
            let names = |pairs: Vec<(String, String)>| pairs.into_iter().map(|(_, label)| label).collect();
            let labels = relabelling(names(set), names(remove))?;
            Ok(Understood { call: ClaimCall::Release(item(dialect, target)?, labels), named: None })
        }
    }
}

/// What the client states of the item besides, as for any guarded write.
pub(super) fn stated(call: Call, headers: &HeaderMap, workflow: &Workflow) -> Read<Expectation> {
    match preconditions::read(headers, workflow) {
        Err(why) => Err(unread(&why)),
        Ok(Expectation::Stated(_)) if call == Call::Next => Err(unread(
            "this call chooses the item: say what must hold in its body, without If-Match and Claimgate-Expect",
        )),
        Ok(expectation) => Ok(expectation),
    }
}

/// What the caller is told.
pub(super) fn answer(dialect: &dyn Dialect, call: Call, claimed: Claimed) -> Response<Body> {
    let mut response = match claimed {
        Claimed::Granted(grant) => granted(call, &grant),
        Claimed::Released(released) => {
            let mut response = status(StatusCode::NO_CONTENT);
            reply::mark(&mut response, released.decision, released.code, &released.id, released.state.as_ref());
            response
        }
        Claimed::Nothing => status(StatusCode::NO_CONTENT),
        Claimed::Ended(ended) => reply::decided(*ended, &|rejection, id| dialect.reject(rejection, id)),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn granted(call: Call, grant: &Grant) -> Response<Body> {
    let item = grant.item.as_deref().and_then(|item| serde_json::from_slice::<&RawValue>(item).ok());
    // The tracker's own text, not one that was read and written anew.
    let item = item.map_or("null", RawValue::get);
    let claim = json!({
        "resource": grant.resource.to_string(),
        "holder": {
            "account": grant.holder.account.id(),
            "instance": grant.holder.instance.as_ref().map(crate::model::Instance::as_str),
        },
        "since": grant.since.map(rfc3339),
        "fence": grant.fence.map(|fence| fence.0),
        "decision": grant.id,
    });
    let made = if call == Call::HandOver { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = as_json(made, format!(r#"{{"item":{item},"claim":{claim}}}"#));
    reply::mark(&mut response, grant.decision, grant.code, &grant.id, grant.state.as_ref());
    response
}

// === bodies ===

fn next(dialect: &dyn Dialect, wish: NextBody) -> Read<Understood> {
    if !(1..=MOST_LOOKED_AT).contains(&wish.limit) {
        return Err(unread(&format!("`limit` must be 1 to {MOST_LOOKED_AT}")));
    }
    let project = dialect.repository(&wish.repository).map_err(|error| Box::new(error.rejection()))?;
    let order = match wish.order {
        OrderName::Oldest => Order::Oldest,
        OrderName::Newest => Order::Newest,
        OrderName::Updated => Order::Updated,
        OrderName::LeastUpdated => Order::LeastUpdated,
    };
    let search = Search {
        filter: Filter { project, labels: labels("labels", wish.labels)?, order },
        exclude: labels("exclude_labels", wish.exclude_labels)?,
        limit: wish.limit,
        labels: relabelling(wish.set_labels, wish.remove_labels)?,
    };
    let named = wish.assignee.map(|name| login("assignee", &name)).transpose()?;
    Ok(Understood { call: ClaimCall::Next(search), named })
}

fn take(dialect: &dyn Dialect, wish: TakeBody) -> Read<Understood> {
    let address = dialect.item(&wish.item).map_err(|error| Box::new(error.rejection()))?;
    let labels = relabelling(wish.set_labels, wish.remove_labels)?;
    let named = wish.assignee.map(|name| login("assignee", &name)).transpose()?;
    Ok(Understood { call: ClaimCall::Take(address, labels), named })
}

fn json_body<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Read<T> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (kind, second) = (kinds.next().map(HeaderValue::as_bytes), kinds.next());
    let essence = kind.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") || second.is_some() {
        let message = "send the body as JSON, with `Content-Type: application/json`";
        return Err(Box::new(Rejection::of_request(Code::UnsupportedEncoding, message)));
    }
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        let message = "send the body uncompressed";
        return Err(Box::new(Rejection::of_request(Code::UnsupportedEncoding, message)));
    }
    // A struct could also be read from a list.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(unread("the body must be one JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| unread(&format!("the body is not what this call takes: {error}")))
}

/// A member that is there has a value: `null` is not the same as leaving it out.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

fn usual_limit() -> usize {
    100
}

fn relabelling(set: Vec<String>, remove: Vec<String>) -> Read<Relabelling> {
    let (set, remove) = (labels("set_labels", set)?, labels("remove_labels", remove)?);
    let folded: BTreeSet<String> = set.iter().map(|name| name.to_lowercase()).collect();
    match remove.iter().find(|name| folded.contains(&name.to_lowercase())) {
        Some(name) => Err(unread(&format!("the label `{name}` is to be both set and removed"))),
        None => Ok(Relabelling { set, remove }),
    }
}

fn labels(member: &str, names: Vec<String>) -> Read<BTreeSet<String>> {
    if names.len() > MOST_LABELS {
        return Err(unread(&format!("`{member}` may name {MOST_LABELS} labels at most")));
    }
    let odd = |name: &String| name.trim().is_empty() || name.chars().count() > LONGEST_LABEL || name.contains('\0');
    match names.iter().find(|name| odd(name)) {
        Some(_) => Err(unread(&format!("a label in `{member}` has 1 to {LONGEST_LABEL} letters"))),
        None => Ok(names.into_iter().collect()),
    }
}

fn login(member: &str, name: &str) -> Read<Account> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=LONGEST_LOGIN).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(Account::new(name));
    }
    Err(unread(&format!("`{member}` must be an account's name: letters, digits and any of - _ .")))
}

// === paths and queries ===

fn item(dialect: &dyn Dialect, target: &Target) -> Read<Address> {
    match target.segments() {
        // Where an item's number is one of the whole tracker.
        [_, _, _, item] | [_, _, _, item, _] => dialect.item(item).map_err(|error| Box::new(error.rejection())),
        [_, _, _, owner, repo, number, ..] => {
            dialect.item(&format!("{owner}/{repo}#{number}")).map_err(|error| Box::new(error.rejection()))
        }
        _ => Err(unread("the path names no item")),
    }
}

/// The pairs of the query, which may have these names. What says who sends is read elsewhere.
fn parameters(dialect: &dyn Dialect, target: &Target, known: &[&str]) -> Read<Vec<(String, String)>> {
    let mut pairs = target.pairs().map_err(|error| Box::new(error.rejection()))?;
    pairs.retain(|(name, _)| !dialect.is_credential(name));
    match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => {
            let name: String = name.chars().take(40).collect();
            Err(unread(&format!("the parameter `{name}` is not known here")))
        }
        None => Ok(pairs),
    }
}

// === answers ===

fn unread(message: &str) -> Box<Rejection> {
    Box::new(Rejection::of_request(Code::AmbiguousRequest, message))
}

pub(super) fn no_room() -> Rejection {
    let message = "too many long bodies are being read at once; nothing was sent; try again, or send less";
    Rejection { retry_after: Some(Duration::from_secs(1)), ..Rejection::of_request(Code::LaneTimeout, message) }
}

fn json_error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let value: Value = json!({ "message": message, "claimgate": { "code": code } });
    as_json(status, value.to_string())
}

fn as_json(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

const POST: HeaderValue = HeaderValue::from_static("POST");
