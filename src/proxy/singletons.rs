//! Who is at work by the singleton rules, for the agents themselves: `GET /_claimgate/v1/singletons`, and `DELETE` of
//! one's own when the work is done. Whose it is, the credential decides, as for any guarded write.

use super::{Body, full};
use crate::dialect::{Credential, WireResponse};
use crate::effect::audit::{agent, rfc3339};
use crate::gate::{Gate, LeaseError};
use crate::model::{Instance, Project, ProjectLease};
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::runtime::Handle;

/// The list; one of them is `…/NAME/OWNER/REPO`.
pub(super) const ROOT: &str = "/_claimgate/v1/singletons";

/// Whether the path is one of these.
pub(super) fn is_here(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a caller whose credential was found.
pub(super) async fn serve(
    (gate, runtime): (&Arc<Gate>, &Handle),
    method: &Method,
    path: &str,
    credential: &Credential,
    instance: Option<Instance>,
) -> Response<Body> {
    let place = path.strip_prefix(ROOT).unwrap_or_default().trim_end_matches('/');
    let answer = match (method, named(place)) {
        (&Method::GET | &Method::HEAD, None) if place.is_empty() => {
            gate.leases_for(credential, instance).await.map(|leases| list(&leases))
        }
        (&Method::DELETE, Some((rule, project))) => {
            let ended = gate.end_lease_as((rule, &project), credential, instance, runtime).await;
            ended.map(|lease| json!({ "message": ended_text(&lease), "ended": lease_json(&lease) }))
        }
        (_, None) if !place.is_empty() => {
            return json_error(StatusCode::NOT_FOUND, "a singleton is named NAME/OWNER/REPO");
        }
        _ => {
            return json_error(
                StatusCode::METHOD_NOT_ALLOWED,
                "list them with GET, end one with DELETE …/NAME/OWNER/REPO",
            );
        }
    };
    match answer {
        Ok(value) => as_json(StatusCode::OK, &value),
        Err(LeaseError::Denied(response)) => trackers(*response),
        Err(error) => {
            let (status, message) = status_and_text(&error);
            json_error(status, &message)
        }
    }
}

/// `/NAME/PROJECT`; a forge's project is `OWNER/REPO`.
pub fn named(place: &str) -> Option<(&str, Project)> {
    let (rule, project) = place.strip_prefix('/')?.split_once('/')?;
    let is_named = !rule.is_empty() && !project.is_empty() && !project.split('/').any(str::is_empty);
    is_named.then(|| (rule, Project::new(project)))
}

/// `{"singletons": […]}`.
pub fn list(leases: &[ProjectLease]) -> Value {
    json!({ "singletons": leases.iter().map(lease_json).collect::<Vec<_>>() })
}

/// One of them.
pub fn lease_json(lease: &ProjectLease) -> Value {
    json!({
        "name": lease.rule,
        "project": lease.project.as_str(),
        "agent": agent(&lease.actor, None),
        "since": rfc3339(lease.since),
        "seen": rfc3339(lease.seen),
        "until": rfc3339(lease.until),
    })
}

/// What the one who ended it is told.
pub fn ended_text(lease: &ProjectLease) -> String {
    format!("{} is no longer at work in {} (singleton {})", lease.actor, lease.project, lease.rule)
}

/// Why not, for a caller.
pub fn status_and_text(error: &LeaseError) -> (StatusCode, String) {
    match error {
        LeaseError::Nobody => (StatusCode::NOT_FOUND, "nobody is at work there by that singleton".to_owned()),
        LeaseError::NotYours(lease) => {
            let message =
                format!("{} is at work in {}; only it, or an overrider, may end that", lease.actor, lease.project);
            (StatusCode::CONFLICT, message)
        }
        LeaseError::Denied(response) => (response.status, "the tracker refuses the credential".to_owned()),
        LeaseError::Unreadable(why) => (StatusCode::BAD_GATEWAY, format!("the tracker could not be asked: {why}")),
        LeaseError::Ledger(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

fn trackers(response: WireResponse) -> Response<Body> {
    let mut answer = Response::new(full(response.body));
    (*answer.status_mut(), *answer.headers_mut()) = (response.status, response.headers);
    answer
}

fn json_error(status: StatusCode, message: &str) -> Response<Body> {
    as_json(status, &json!({ "message": message }))
}

fn as_json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
