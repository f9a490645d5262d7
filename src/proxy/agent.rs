//! The path prefix `/as/<agent>`, by which an agent's base URL alone says which instance it is.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Splits a well-formed agent off a path: `/as/bot-1/api/v1` is `("bot-1", "/api/v1")`. Slashes may be doubled. Whether that
/// is meant, [`super::Front`] knows: an owner may be called `as`.
pub(super) fn agent_of(path: &str) -> Option<(&str, &str)> {
    let (name, rest) = behind_as(path)?;
    is_agent(name).then_some((name, rest))
}

/// What follows a prefix whose name no agent may have: `/as/über/api/v1` is `/api/v1`. Dots alone are no name that
/// somebody chose, but a way up.
pub(super) fn behind_misnamed(path: &str) -> Option<&str> {
    let tail = path.strip_prefix("/as/")?;
    let (name, rest) = tail.split_at(tail.find('/')?);
    let up = !name.is_empty() && name.bytes().all(|byte| byte == b'.');
    (!up && !is_agent(name)).then_some(rest)
}

/// Whether an agent may be called so, by the path or by the header.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'@');
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(plain)
}

/// The agent that a client names as its user at a proxy (`Proxy-Authorization`, RFC 7617); what it gives for a password means
/// nothing. `None` where that is empty, an error's text where it is no name.
pub fn proxy_user(value: &str) -> Result<Option<String>, &'static str> {
    let encoded =
        value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic")).map(|(_, rest)| rest);
    let decoded = encoded.and_then(|rest| BASE64_STANDARD.decode(rest.trim()).ok());
    let user = decoded.and_then(|bytes| Some(String::from_utf8(bytes).ok()?.split_once(':')?.0.to_owned()));
    match user {
        Some(user) if user.is_empty() => Ok(None),
        Some(user) if is_name(&user) => Ok(Some(user)),
        Some(_) => Err("an agent's name, as the user of the proxy, has 1 to 64 letters, digits or any of - _ . : @"),
        None => Err("Proxy-Authorization is to be Basic, with the agent's name as the user"),
    }
}

fn behind_as(path: &str) -> Option<(&str, &str)> {
    let tail = path.strip_prefix('/')?.trim_start_matches('/').strip_prefix("as/")?;
    Some(tail.split_at(tail.find('/').unwrap_or(tail.len())))
}

fn is_agent(name: &str) -> bool {
    is_name(name) && name.bytes().any(|byte| byte != b'.')
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::behind_misnamed;

    #[test]
    fn misnamed() {
        let (most, more) = ("a".repeat(64), "a".repeat(65));
        let cases = [
            ("/as/bot/x".to_owned(), None),
            (format!("/as/{most}/x"), None),
            (format!("/as/{more}/x"), Some("/x")),
            ("/as/a+b/x/y".to_owned(), Some("/x/y")),
            ("/as/b%C3%BC/x".to_owned(), Some("/x")),
            ("/as//x".to_owned(), Some("/x")),
            ("/as/../x".to_owned(), None),
            ("/as/a+b".to_owned(), None),
            ("/assets/a+b/x".to_owned(), None),
        ];
        for (path, rest) in cases {
            assert_eq!(behind_misnamed(&path), rest, "{path}");
        }
    }
}
