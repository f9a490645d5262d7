//! What the tracker says of itself: its version, and where its links lead (`ROOT_URL`).

use super::super::target::join;
use super::super::{Credential, WireRequest, WireResponse};
use super::emit::get;
use super::read::json;
use serde_json::Value;

/// Needs no credential, but on instances that show strangers nothing.
pub fn ask_version(credential: &Credential) -> WireRequest {
    get("/api/v1/version".to_owned(), credential)
}

/// 200: there is one; 404: there is none, or none that may be seen.
pub fn ask_account(login: &str, credential: &Credential) -> WireRequest {
    get(join(&["api", "v1", "users", login]), credential)
}

/// `{"version": "…"}`
pub fn version(response: &WireResponse) -> Option<String> {
    let answer = response.status.is_success().then(|| json(response).ok()).flatten()?;
    Some(answer.get("version")?.as_str()?.to_owned())
}

/// What nobody has is answered with a link to the API's description, by every version and to everybody.
pub fn ask_link(credential: &Credential) -> WireRequest {
    get("/api/v1/repos/-/-".to_owned(), credential)
}

/// `ROOT_URL` itself, where the answer has a link that shows it.
pub fn link(response: &WireResponse) -> Option<String> {
    let answer: Value = json(response).ok()?;
    let link = answer.get("url").or_else(|| answer.get("documentation_url"))?.as_str()?;
    let root = link.strip_suffix("api/swagger")?;
    (root.starts_with("http://") || root.starts_with("https://")).then(|| root.to_owned())
}
