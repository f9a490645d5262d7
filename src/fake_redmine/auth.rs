//! Who asks: parameter `key`, then the header, then Basic; whom an administrator acts as; a browser's session.

use base64::Engine as _;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::params::{Format, header};
use super::ruby;
use super::store::{RedmineState, Session};

/// Who a request is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Nobody,
    User(u64),
    /// An administrator who wants to act as somebody that is not there: 412.
    BadSwitch,
}

impl Who {
    pub(super) fn user(self) -> Option<u64> {
        match self {
            Self::User(id) => Some(id),
            Self::Nobody | Self::BadSwitch => None,
        }
    }
}

pub(super) fn who(state: &mut RedmineState, format: Format, headers: &HeaderMap, params: &Map<String, Value>) -> Who {
    let is_api = matches!(format, Format::Json | Format::Xml);
    if !is_api && let Some(session) = session(state, headers) {
        return Who::User(session.user);
    }
    let Some(user) = by_credential(state, headers, params) else { return Who::Nobody };
    match header(headers, "x-redmine-switch-user").filter(|login| !login.is_empty()) {
        Some(login) if state.is_admin(Some(user)) => {
            state.user_named(&login).map_or(Who::BadSwitch, |user| Who::User(user.id))
        }
        _ => Who::User(user),
    }
}

/// The session of a browser's request.
pub(super) fn session<'a>(state: &'a RedmineState, headers: &HeaderMap) -> Option<&'a Session> {
    let cookies = header(headers, "cookie")?;
    cookies.split(';').filter_map(|pair| pair.trim().split_once('=')).find_map(|(name, value)| {
        let is_session = name == "_redmine_session";
        is_session.then(|| state.sessions.get(value)).flatten()
    })
}

/// A password signs in, and the account shows when.
fn by_credential(state: &mut RedmineState, headers: &HeaderMap, params: &Map<String, Value>) -> Option<u64> {
    let parameter = params.get("key").filter(|key| !ruby::is_blank_value(key)).map(ruby::text);
    if let Some(key) = parameter.or_else(|| header(headers, "x-redmine-api-key").filter(|key| !key.is_empty())) {
        return state.user_with(&key);
    }
    let authorization = header(headers, "authorization")?;
    let (scheme, proof) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = base64::engine::general_purpose::STANDARD.decode(proof).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let (name, password) = plain.split_once(':').unwrap_or((&plain, ""));
    let by_password = state.user_named(name).filter(|user| password == format!("Passw0rd-{}", user.login));
    let by_password = by_password.map(|user| user.id);
    let user = by_password.or_else(|| state.user_with(name));
    if let Some(id) = by_password {
        let now = state.now();
        state.principals.entry(id).and_modify(|user| user.last_login = Some(now));
    }
    user
}
