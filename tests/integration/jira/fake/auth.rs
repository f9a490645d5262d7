//! Who sends a request.

use base64::Engine as _;
use http::request::Parts;

use super::state::{Flavour, JiraState};

pub fn who(rows: &JiraState, head: &Parts) -> Option<String> {
    let header = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    match header {
        Some(value) => by_header(rows, value),
        None => by_cookie(rows, head).or_else(|| by_query(rows, head)),
    }
}

fn by_header(rows: &JiraState, value: &str) -> Option<String> {
    let (scheme, proof) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return rows.users.values().find(|user| user.secret == proof).map(|user| user.login.clone());
    }
    let plain = base64::engine::general_purpose::STANDARD.decode(proof).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let (name, secret) = plain.split_once(':')?;
    by_password(rows, name, secret)
}

/// Cloud: the e-mail address and an API token. Data Center: login and password.
fn by_password(rows: &JiraState, name: &str, secret: &str) -> Option<String> {
    let login = match rows.flavour {
        Flavour::Cloud => name.strip_suffix("@example.com")?,
        Flavour::DataCenter => name,
    };
    rows.users.get(login).filter(|user| user.secret == secret).map(|user| user.login.clone())
}

fn by_cookie(rows: &JiraState, head: &Parts) -> Option<String> {
    let cookies = head.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, session) = pairs.find(|(name, _)| *name == "JSESSIONID")?;
    rows.users.values().find(|user| user.session.as_deref() == Some(session)).map(|user| user.login.clone())
}

fn by_query(rows: &JiraState, head: &Parts) -> Option<String> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(head.uri.query()?.as_bytes()).into_owned().collect();
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    (rows.flavour == Flavour::DataCenter).then(|| by_password(rows, value("os_username")?, value("os_password")?))?
}
