//! The path prefix `/as/<agent>`, by which an agent's base URL alone says which instance it is.

/// Splits the agent off a path: `/as/bot-1/api/v1` is `(Some("bot-1"), "/api/v1")`. A path without a well-formed agent
/// is given back whole.
pub fn split_agent_prefix(path: &str) -> (Option<&str>, &str) {
    let Some(tail) = path.strip_prefix("/as/") else { return (None, path) };
    let (agent, rest) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
    if !is_agent(agent) {
        return (None, path);
    }
    (Some(agent), if rest.is_empty() { "/" } else { rest })
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

fn is_agent(name: &str) -> bool {
    is_name(name) && name.bytes().any(|byte| byte != b'.')
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::{behind_misnamed, split_agent_prefix};

    #[test]
    fn prefixes() {
        let cases = [
            ("/as/bot-1/api/v1", Some("bot-1"), "/api/v1"),
            ("/as/bot", Some("bot"), "/"),
            ("/as/bot/", Some("bot"), "/"),
            ("/as/bot//x", Some("bot"), "//x"),
            ("/as/bot:1@host/x", Some("bot:1@host"), "/x"),
            ("/as//x", None, "/as//x"),
            ("/as/../x", None, "/as/../x"),
            ("/as/%2e/x", None, "/as/%2e/x"),
            ("/assets/x", None, "/assets/x"),
            ("/api", None, "/api"),
            ("*", None, "*"),
        ];
        for (path, agent, rest) in cases {
            assert_eq!(split_agent_prefix(path), (agent, rest), "{path}");
        }
    }

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
