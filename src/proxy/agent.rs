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

fn is_agent(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && name.bytes().any(|b| b != b'.')
}

#[cfg(test)]
mod tests {
    use super::split_agent_prefix;

    #[test]
    fn prefixes() {
        let cases = [
            ("/as/bot-1/api/v1", Some("bot-1"), "/api/v1"),
            ("/as/bot", Some("bot"), "/"),
            ("/as/bot/", Some("bot"), "/"),
            ("/as/bot//x", Some("bot"), "//x"),
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
}
