//! Who is at work by the singleton rules, for the agents themselves: `GET /_claimgate/v1/singletons`, and `DELETE` of
//! one's own when the work is done. Whose it is, the credential decides, as for any guarded write.

use super::{Body, full};
use crate::dialect::{Credential, WireResponse};
use crate::effect::audit::{agent, rfc3339};
use crate::gate::{Gate, TenureError};
use crate::model::{Instance, Project, Tenure};
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
            gate.tenures_for(credential, instance).await.map(|tenures| list(&tenures))
        }
        (&Method::DELETE, Some((rule, project))) => {
            let ended = gate.end_tenure_as((rule, &project), credential, instance, runtime).await;
            ended.map(|tenure| json!({ "message": ended_text(&tenure), "ended": tenure_json(&tenure) }))
        }
        (_, None) if !place.is_empty() => return say(StatusCode::NOT_FOUND, "a singleton is named NAME/OWNER/REPO"),
        _ => return say(StatusCode::METHOD_NOT_ALLOWED, "list them with GET, end one with DELETE …/NAME/OWNER/REPO"),
    };
    match answer {
        Ok(value) => as_json(StatusCode::OK, &value),
        Err(TenureError::Denied(response)) => trackers(*response),
        Err(error) => {
            let (status, message) = told(&error);
            say(status, &message)
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
pub fn list(tenures: &[Tenure]) -> Value {
    json!({ "singletons": tenures.iter().map(tenure_json).collect::<Vec<_>>() })
}

/// One of them.
pub fn tenure_json(tenure: &Tenure) -> Value {
    json!({
        "name": tenure.rule,
        "project": tenure.project.as_str(),
        "agent": agent(&tenure.actor, None),
        "since": rfc3339(tenure.since),
        "seen": rfc3339(tenure.seen),
        "until": rfc3339(tenure.until),
    })
}

/// What the one who ended it is told.
pub fn ended_text(tenure: &Tenure) -> String {
    format!("{} is no longer at work in {} (singleton {})", tenure.actor, tenure.project, tenure.rule)
}

/// Why not, for a caller.
pub fn told(error: &TenureError) -> (StatusCode, String) {
    match error {
        TenureError::Nobody => (StatusCode::NOT_FOUND, "nobody is at work there by that singleton".to_owned()),
        TenureError::NotYours(tenure) => {
            let message =
                format!("{} is at work in {}; only it, or an overrider, may end that", tenure.actor, tenure.project);
            (StatusCode::CONFLICT, message)
        }
        TenureError::Denied(response) => (response.status, "the tracker refuses the credential".to_owned()),
        TenureError::Unreadable(why) => (StatusCode::BAD_GATEWAY, format!("the tracker could not be asked: {why}")),
        TenureError::Ledger(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

fn trackers(response: WireResponse) -> Response<Body> {
    let mut answer = Response::new(full(response.body));
    (*answer.status_mut(), *answer.headers_mut()) = (response.status, response.headers);
    answer
}

fn say(status: StatusCode, message: &str) -> Response<Body> {
    as_json(status, &json!({ "message": message }))
}

fn as_json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
