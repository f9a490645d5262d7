//! Requests across origins, as with `[cors] ENABLED = true` and its other settings as they come: every origin, no cookies.
//!
//! Only the API's answers carry the headers; without the feature a preflight is 405 as any `OPTIONS` is.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode};

use super::options::{Feature, Options};
use super::reply::FakeReply;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const HEADERS: [&str; 6] = ["origin", "authorization", "x-gitea-otp", "x-forgejo-otp", "content-type", "user-agent"];

/// What a request says of where it comes from, where the forge minds.
#[derive(Debug)]
pub(super) struct Origin {
    /// It names an origin and a method that are allowed.
    allowed: bool,
}

/// Nothing where the forge is not set up for it, and for what is not the API.
pub(super) fn origin(parts: &Parts, options: &Options) -> Option<Origin> {
    let path = parts.uri.path().strip_prefix(options.sub_path.as_str())?;
    let applies = options.has(Feature::Cors) && path.starts_with("/api/v1/");
    let allowed = parts.headers.contains_key(ORIGIN) && METHODS.contains(&parts.method.as_str());
    applies.then_some(Origin { allowed })
}

/// The answer to a preflight. What is not allowed is not named in it.
pub(super) fn preflight(parts: &Parts, options: &Options) -> Option<FakeReply> {
    let origin = origin(parts, options).filter(|_| parts.method == Method::OPTIONS)?;
    let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let method = Some(header(ACCESS_CONTROL_REQUEST_METHOD)).filter(|method| !method.is_empty())?;
    let mut reply = FakeReply::empty(StatusCode::OK);
    for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
        reply = reply.with(VARY, name);
    }
    let asked = header(ACCESS_CONTROL_REQUEST_HEADERS);
    let names: Vec<&str> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let known = names.iter().all(|name| HEADERS.contains(&name.to_ascii_lowercase().as_str()));
    if !(origin.allowed && known && METHODS.contains(&method)) {
        return Some(reply);
    }
    reply = reply.with(ACCESS_CONTROL_ALLOW_ORIGIN, "*").with(ACCESS_CONTROL_ALLOW_METHODS, method);
    if !names.is_empty() {
        reply = reply.with(ACCESS_CONTROL_ALLOW_HEADERS, &names.join(", "));
    }
    Some(reply.with(ACCESS_CONTROL_MAX_AGE, "600"))
}

/// The answer, with what a browser looks for.
pub(super) fn shown(reply: FakeReply, origin: Option<&Origin>) -> FakeReply {
    match origin {
        None => reply,
        Some(Origin { allowed: false }) => reply.with(VARY, "Origin"),
        Some(Origin { allowed: true }) => reply.with(VARY, "Origin").with(ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    }
}
