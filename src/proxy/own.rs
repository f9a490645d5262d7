//! What the gate itself answers on the public listener, under `/_claimgate/`: never forwarded.

use super::{Body, claims, collect_within, full, singletons};
use crate::dialect::WebhookScheme;
use crate::gate::Gate;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha1::Sha1;
use sha2::Sha256;
use std::time::Duration;

/// This, and everything below it, is the gate's own.
const ROOT: &str = "/_claimgate";

const WEBHOOKS: &str = "/_claimgate/v1/webhooks/";
/// Payloads carry the whole issue and repository, no more.
const LONGEST_HOOK: usize = 4 << 20;
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// By what a webhook of the tracker's is known.
#[derive(Clone, Copy)]
pub(super) struct WebhookProof<'a> {
    /// What it is signed with; none: webhooks are off.
    pub(super) secret: Option<&'a SecretString>,
    /// The address that the tracker calls, where it is signed along.
    pub(super) address: Option<&'a str>,
}

/// Whether the gate itself answers at this path.
pub(super) fn is_own(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the gate has at a path of its own, in words for an operator; `None` for a path of the tracker.
pub fn own_path(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or_default();
    match path {
        _ if claims::is_here(path) => Some("claims API"),
        _ if singletons::is_here(path) => Some("singletons"),
        _ if path.starts_with(WEBHOOKS) => Some("webhooks"),
        _ => is_own(path).then_some("nothing (404)"),
    }
}

/// Answers a request for one of the gate's own paths.
pub(super) async fn serve(
    gate: &Gate,
    proof: WebhookProof<'_>,
    path: &str,
    head: &Parts,
    body: Incoming,
) -> Response<Body> {
    let is_own = |tracker: &str| tracker == gate.ports().dialect.name();
    match path.strip_prefix(WEBHOOKS) {
        Some(tracker) if is_own(tracker) && head.method == Method::POST => webhook(gate, proof, head, body).await,
        // Some trackers look whether anybody is there before they make a webhook.
        Some(tracker) if is_own(tracker) && head.method == Method::HEAD && proof.secret.is_some() => {
            Response::new(super::empty())
        }
        Some(_) if head.method != Method::POST => json_error(StatusCode::METHOD_NOT_ALLOWED, "a webhook is a POST"),
        _ => json_error(StatusCode::NOT_FOUND, "claimgate has nothing at this path"),
    }
}

/// A hint that something happened to an item: it leads to a read, and is never believed.
async fn webhook(gate: &Gate, proof: WebhookProof<'_>, head: &Parts, body: Incoming) -> Response<Body> {
    let Some(secret) = proof.secret else {
        return json_error(StatusCode::NOT_FOUND, "webhooks are off: set upstream.webhook_secret_file");
    };
    let Ok(Ok(body)) = tokio::time::timeout(HOOK_TIMEOUT, collect_within(body, LONGEST_HOOK, &gate.ports().room)).await
    else {
        return json_error(StatusCode::BAD_REQUEST, "the payload did not arrive whole, or is too large");
    };
    let hook = gate.ports().dialect.webhook(&head.headers, &body);
    // Of a form only the payload in it is signed.
    let signed = hook.payload.as_deref().unwrap_or(&body);
    let address = proof.address.unwrap_or_default();
    let is_good = |signature: &[u8]| match gate.ports().dialect.webhook_scheme() {
        WebhookScheme::Sha256 => proves::<Hmac<Sha256>>(secret, &[signed], signature),
        WebhookScheme::Sha1WithAddress => proves::<Hmac<Sha1>>(secret, &[signed, address.as_bytes()], signature),
    };
    if !hook.signature.as_deref().is_some_and(is_good) {
        tracing::warn!("a webhook without a valid signature was refused");
        gate.saw_webhook(false);
        return json_error(StatusCode::UNAUTHORIZED, "the payload is not signed with upstream.webhook_secret_file");
    }
    gate.saw_webhook(true);
    if let Some(item) = hook.item {
        gate.hint(item);
    }
    let mut response = Response::new(super::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn proves<M: Mac + KeyInit>(secret: &SecretString, parts: &[&[u8]], signature: &[u8]) -> bool {
    let mut mac = <M as Mac>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes any key");
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(signature).is_ok()
}

fn json_error(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(full(json!({ "message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
