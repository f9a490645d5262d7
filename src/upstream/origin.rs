//! Where the upstream is: read once from the configuration, so that nothing else takes a URL apart.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::HeaderValue;
use http::uri::Authority;

/// The upstream's address and the path below which it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    place: Endpoint,
    authority: HeaderValue,
    base: String,
}

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://host:port`
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port, 80 where the URL has none.
        port: u16,
    },
    /// `https://host:port`
    Tls {
        /// Name or address, without brackets; the certificate must carry it.
        host: String,
        /// Port, 443 where the URL has none.
        port: u16,
    },
    /// `unix:/path` or `http+unix:///path`
    Unix(PathBuf),
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Neither http, https nor unix.
    #[error("the upstream must begin with http://, https:// or unix:/, not `{0}`")]
    Scheme(String),
    /// No host, or one that cannot be read.
    #[error("`{0}` is not a host with an optional port")]
    Host(String),
    /// A user or a password before the host.
    #[error("the upstream's URL must not carry a user or a password")]
    Userinfo,
    /// A query or a fragment.
    #[error("the upstream's URL must not have a query or a fragment")]
    Tail,
    /// A base path that is not plain.
    #[error("the base path `{0}` must be plain: no `//`, `.`, `..` or spaces")]
    Base(String),
    /// A socket path that is not absolute.
    #[error("`{0}` is not an absolute path to a socket")]
    Socket(String),
}

impl Origin {
    /// What to connect to.
    pub fn place(&self) -> &Endpoint {
        &self.place
    }

    /// The `Host` that a request of the gate's own carries.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// `http` or `https`; none for a unix socket, which has no address that a client could use.
    pub fn scheme(&self) -> Option<&'static str> {
        match &self.place {
            Endpoint::Tcp { .. } => Some("http"),
            Endpoint::Tls { .. } => Some("https"),
            Endpoint::Unix(_) => None,
        }
    }

    /// The path in front of every target: empty, or `/` and more without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether both are one place, written in different ways or not.
    pub fn is_same(&self, other: &Self) -> bool {
        let (scheme, authority) = (self.scheme(), String::from_utf8_lossy(self.authority.as_bytes()));
        other.is_at(scheme, &authority) && self.base == other.base
    }

    /// Whether `scheme://authority` is this upstream. A scheme of `None` is that of a `//host/path`.
    pub fn is_at(&self, scheme: Option<&str>, authority: &str) -> bool {
        let (own, host, port) = match &self.place {
            Endpoint::Tcp { host, port } => ("http", host.as_str(), *port),
            Endpoint::Tls { host, port } => ("https", host.as_str(), *port),
            Endpoint::Unix(_) => ("http", "localhost", 80),
        };
        if scheme.is_some_and(|it| !it.eq_ignore_ascii_case(own)) {
            return false;
        }
        split_port(authority)
            .is_some_and(|(h, p)| h.eq_ignore_ascii_case(host) && p.unwrap_or(default_port(own)) == port)
    }
}

/// What of a `Location` lies below one of these origins: the path that their targets are made from, with its query.
/// `None` where it leads elsewhere. A path without a host lies at all of them, below their base or below none.
pub(super) fn path_within<'a>(location: &'a str, origins: &[&Origin]) -> Option<&'a str> {
    let (scheme, rest) = match location.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => (Some(scheme), rest),
        _ if location.starts_with("//") => (None, &location[2..]),
        _ if location.starts_with('/') => {
            let mut below = origins.iter().filter(|origin| !origin.base.is_empty());
            return Some(below.find_map(|origin| below_base(location, &origin.base)).unwrap_or(location));
        }
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let mut at = origins.iter().filter(|origin| origin.is_at(scheme, authority));
    at.find_map(|origin| below_base(path, &origin.base))
}

fn below_base<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base).filter(|rest| rest.starts_with('/') && !rest.starts_with("//"))
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if let Some(rest) = strip_scheme(text, "http+unix://") {
            let path = percent_encoding::percent_decode_str(rest).decode_utf8_lossy();
            return unix(&path);
        }
        if let Some(rest) = strip_scheme(text, "unix:") {
            return unix(rest.strip_prefix("//").unwrap_or(rest));
        }
        if let Some(rest) = strip_scheme(text, "http://") {
            return network(rest, false);
        }
        if let Some(rest) = strip_scheme(text, "https://") {
            return network(rest, true);
        }
        let scheme = text.split_once(':').map_or(text, |(scheme, _)| scheme);
        Err(OriginError::Scheme(scheme.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority.to_str().unwrap_or_default();
        match &self.place {
            Endpoint::Tcp { .. } => write!(f, "http://{authority}{}", self.base),
            Endpoint::Tls { .. } => write!(f, "https://{authority}{}", self.base),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let head = text.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
}

fn unix(path: &str) -> Result<Origin, OriginError> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(OriginError::Socket(path.to_owned()));
    }
    Ok(Origin {
        place: Endpoint::Unix(PathBuf::from(path)),
        authority: HeaderValue::from_static("localhost"),
        base: String::new(),
    })
}

fn network(rest: &str, tls: bool) -> Result<Origin, OriginError> {
    if rest.contains(['?', '#']) {
        return Err(OriginError::Tail);
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(OriginError::Userinfo);
    }
    let wrong = || OriginError::Host(authority.to_owned());
    let (host, port) = split_port(authority).ok_or_else(wrong)?;
    authority.parse::<Authority>().map_err(|_| wrong())?;
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Origin {
        place: if tls { Endpoint::Tls { host, port } } else { Endpoint::Tcp { host, port } },
        authority: HeaderValue::from_str(authority).map_err(|_| wrong())?,
        base: base_path(path)?,
    })
}

fn base_path(path: &str) -> Result<String, OriginError> {
    let base = path.trim_end_matches('/');
    let plain =
        |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_whitespace() || c == '%');
    if base.split('/').skip(1).all(plain) {
        return Ok(base.to_owned());
    }
    Err(OriginError::Base(path.to_owned()))
}

/// Host (brackets kept) and port of an authority without userinfo.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, tail) = authority.split_at(end);
    let port = match tail.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        None if tail.is_empty() => None,
        Some(_) | None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: Result<&str, OriginError>) {
        let got = text.parse::<Origin>().map(|it| it.to_string());
        assert_eq!(got, shown.map(str::to_owned), "{text}");
    }

    #[test]
    fn urls() {
        check("http://127.0.0.1:3000", Ok("http://127.0.0.1:3000"));
        check("HTTP://forge/", Ok("http://forge"));
        check("https://forge.example/sub/path/", Ok("https://forge.example/sub/path"));
        check("http://[::1]:3000", Ok("http://[::1]:3000"));
        check("unix:/run/forgejo.sock", Ok("unix:/run/forgejo.sock"));
        check("unix:///run/forgejo.sock", Ok("unix:/run/forgejo.sock"));
        check("http+unix://%2Frun%2Fforgejo.sock", Ok("unix:/run/forgejo.sock"));
        check("ftp://x", Err(OriginError::Scheme("ftp".into())));
        check("127.0.0.1:3000", Err(OriginError::Scheme("127.0.0.1".into())));
        check("http://", Err(OriginError::Host(String::new())));
        check("http://a:99999", Err(OriginError::Host("a:99999".into())));
        check("http://me:pw@a", Err(OriginError::Userinfo));
        check("http://a/?x", Err(OriginError::Tail));
        check("http://a/b//c", Err(OriginError::Base("/b//c".into())));
        check("http://a/../c", Err(OriginError::Base("/../c".into())));
        check("unix:run/x", Err(OriginError::Socket("run/x".into())));
    }

    #[test]
    fn redirects_lead_here_or_elsewhere() {
        let (origin, public): (Origin, Origin) =
            ("http://127.0.0.1:3000".parse().unwrap(), "https://git.example/forge".parse().unwrap());
        for (location, path) in [
            ("/a/b?c", Some("/a/b?c")),
            ("/forge/a", Some("/a")),
            ("/forgery/a", Some("/forgery/a")),
            ("http://127.0.0.1:3000/a?b", Some("/a?b")),
            ("https://git.example/forge/a", Some("/a")),
            ("https://GIT.example:443/forge/a?b://c", Some("/a?b://c")),
            ("//git.example/forge/a", Some("/a")),
            ("https://git.example/a", None),
            ("https://git.example/forgery/a", None),
            ("https://git.example/forge//evil.example/a", None),
            ("https://git.example/forge", None),
            ("http://git.example/forge/a", None),
            ("https://git.example.evil/forge/a", None),
            ("https://git.example@evil.example/forge/a", None),
            ("//evil.example/a", None),
            ("a/b", None),
            ("javascript:a", None),
            ("", None),
        ] {
            assert_eq!(path_within(location, &[&origin, &public]), path, "{location}");
        }
        assert_eq!(path_within("https://git.example/forge/a", &[&origin]), None);
    }

    #[test]
    fn knows_itself() {
        let origin: Origin = "http://Forge".parse().unwrap();
        assert!(origin.is_at(Some("http"), "forge:80"));
        assert!(origin.is_at(None, "forge"));
        assert!(!origin.is_at(Some("https"), "forge:80"));
        assert!(!origin.is_at(Some("http"), "forge:81"));
        let origin: Origin = "http://[::1]:3000".parse().unwrap();
        assert!(!origin.is_at(Some("http"), "[::2]:3000"));
    }
}
