//! Whom a client may ask for whose connection was intercepted.
//!
//! Such a client believes that it speaks to the tracker itself. The name that it connected to was settled before its first
//! request, by TLS or by CONNECT; a request that names another host would be read by the gate as one for the tracker, and
//! by its sender as one for somebody else.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::request::Parts;

use super::Peer;
use super::fault::Fault;
use super::headers::{host_and_port, host_of};

/// A host under whose name clients reach the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptedHost {
    name: String,
    port: Option<u16>,
}

/// Why a text is no such host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongHost {
    /// It has more than a name and a port, or a letter that no name has.
    #[error("`{0}` is not a host name with an optional port: write it as \"api.trello.com\"")]
    Malformed(String),
    /// An address: no certificate of the private authority names one.
    #[error("`{0}` is an address, and only names can be intercepted")]
    Address(String),
}

/// Some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(Vec<InterceptedHost>);

// === impl InterceptedHost ===

impl InterceptedHost {
    /// In small letters, without a dot at the end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is where it is; without a port of its own it is at the usual one.
    fn is_at(&self, name: &str, port: u16, usual: u16) -> bool {
        self.name.eq_ignore_ascii_case(name) && port == self.port.unwrap_or(usual)
    }
}

impl FromStr for InterceptedHost {
    type Err = WrongHost;

    fn from_str(text: &str) -> Result<Self, WrongHost> {
        let wrong = || WrongHost::Malformed(text.to_owned());
        if text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
            return Err(WrongHost::Address(text.to_owned()));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name.parse::<IpAddr>().is_ok() {
            return Err(WrongHost::Address(text.to_owned()));
        }
        let is_label = |label: &str| {
            let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(wrong());
        }
        Ok(Self { name, port })
    }
}

impl std::fmt::Display for InterceptedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

// === impl Hosts ===

impl Hosts {
    /// Any of these.
    pub fn any_of(hosts: Vec<InterceptedHost>) -> Arc<Self> {
        Arc::new(Self(hosts))
    }

    /// The host of this name, at whatever port.
    pub fn named(&self, name: &str) -> Option<&InterceptedHost> {
        self.0.iter().find(|host| host.name.eq_ignore_ascii_case(name))
    }

    /// The host at this place of HTTPS.
    pub fn at(&self, name: &str, port: u16) -> Option<&InterceptedHost> {
        self.0.iter().find(|host| host.is_at(name, port, HTTPS))
    }

    /// Whether `Host: authority` names one of them, where this scheme is spoken.
    fn has(&self, authority: &str, scheme: &str) -> bool {
        let (name, port) = host_and_port(authority, scheme);
        let usual = if scheme == "https" { HTTPS } else { HTTP };
        port.parse().is_ok_and(|port| self.0.iter().any(|host| host.is_at(name, port, usual)))
    }
}

impl std::fmt::Display for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

/// Refuses a request that names another host than its connection was made for.
pub(super) fn check(head: &Parts, peer: &Peer) -> Result<(), Fault> {
    let Some(hosts) = &peer.hosts else { return Ok(()) };
    let scheme = if peer.tls { "https" } else { "http" };
    match host_of(&head.uri, &head.headers) {
        Some(asked) if hosts.has(asked, scheme) => Ok(()),
        _ if peer.tls => Err(Fault::Misdirected),
        _ => Err(Fault::NotIntercepted),
    }
}

const HTTPS: u16 = 443;
const HTTP: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_ports_and_nothing_else() {
        for (text, shown) in [
            ("api.trello.com", Some("api.trello.com")),
            ("API.Trello.com.", Some("api.trello.com")),
            ("jira.corp:8443", Some("jira.corp:8443")),
            ("tracker", Some("tracker")),
            ("", None),
            ("https://api.trello.com", None),
            ("api.trello.com/1", None),
            ("user@api.trello.com", None),
            ("*.atlassian.net", None),
            ("a..b", None),
            ("-a.b", None),
            ("a:0", None),
            ("a:b", None),
            ("a:99999", None),
            ("127.0.0.1", None),
            ("127.0.0.1:443", None),
            ("[::1]", None),
            ("::1", None),
        ] {
            let got = text.parse::<InterceptedHost>().map(|host| host.to_string()).ok();
            assert_eq!(got.as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn a_host_is_at_its_port_alone() {
        let hosts = Hosts::any_of(vec!["a.test".parse().unwrap(), "b.test:8443".parse().unwrap()]);
        for (authority, scheme, found) in [
            ("a.test", "https", true),
            ("A.test.:443", "https", true),
            ("a.test", "http", true),
            ("a.test:80", "https", false),
            ("a.test:443", "http", false),
            ("a.test:8443", "https", false),
            ("b.test:8443", "https", true),
            ("b.test:8443", "http", true),
            ("b.test", "https", false),
            ("c.test", "https", false),
            ("x.a.test", "https", false),
        ] {
            assert_eq!(hosts.has(authority, scheme), found, "{scheme} {authority}");
        }
        assert!(hosts.at("a.test", 443).is_some() && hosts.at("a.test", 80).is_none());
        assert!(hosts.named("B.TEST").is_some() && hosts.named("x").is_none());
    }
}
