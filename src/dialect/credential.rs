//! What a request proves about its sender, in the form in which it is sent on.

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretSlice};
use std::fmt;

/// The credential of one request as headers, wherever the client had put it. Wiped when dropped; never printed.
#[derive(Clone, Default)]
pub struct Credential {
    headers: Vec<(HeaderName, SecretSlice<u8>)>,
    sudo: Option<String>,
}

// === impl Credential ===

impl Credential {
    /// The gate's own account.
    pub fn service(token: &str) -> Self {
        let mut credential = Self::default();
        credential.add(AUTHORIZATION, format!("token {token}").into_bytes());
        credential
    }

    /// No credential at all (an anonymous read), or one that only names whom to act as.
    pub fn is_anonymous(&self) -> bool {
        !self.headers.iter().any(|(name, _)| *name == AUTHORIZATION || *name == COOKIE)
    }

    /// Canonical bytes for a keyed fingerprint: every header that is sent, and whom it acts as. Two forms of one token
    /// may differ here. The caller must not keep it.
    pub fn material(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in &self.headers {
            push_framed(&mut bytes, name.as_str().as_bytes());
            push_framed(&mut bytes, value.expose_secret());
        }
        if let Some(sudo) = &self.sudo {
            push_framed(&mut bytes, SUDO.as_str().as_bytes());
            push_framed(&mut bytes, sudo.to_ascii_lowercase().as_bytes());
        }
        bytes
    }

    /// Sets its headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if let Ok(mut value) = HeaderValue::from_bytes(value.expose_secret()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        if let Some(Ok(sudo)) = self.sudo.as_deref().map(HeaderValue::from_str) {
            headers.insert(SUDO, sudo);
        }
    }

    /// Whom it acts as, where it is an administrator's.
    pub fn sudo(&self) -> Option<&str> {
        self.sudo.as_deref()
    }

    /// Adds a header. The value must be one that a header can carry.
    pub(in crate::dialect) fn add(&mut self, name: HeaderName, value: Vec<u8>) {
        self.headers.push((name, value.into()));
    }

    /// Sets whom it acts as.
    pub(in crate::dialect) fn act_as(&mut self, login: &str) {
        self.sudo = Some(login.to_owned());
    }

    /// What kinds of proof there are, by name, for an operator.
    pub(in crate::dialect) fn kinds(&self) -> String {
        let mut kinds: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        kinds.extend(self.sudo.as_ref().map(|_| "sudo"));
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.kinds())
    }
}

fn push_framed(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
    bytes.extend_from_slice(part);
}

/// Forgejo's and Gitea's impersonation header.
pub(in crate::dialect) const SUDO: HeaderName = HeaderName::from_static("sudo");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_tells_credentials_apart() {
        let service = |token| Credential::service(token);
        let mut acting = service("a");
        acting.act_as("Bob");
        let mut same = service("a");
        same.act_as("bob");
        let all = [Credential::default(), service("a"), service("b"), acting.clone()];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert_eq!(one.material() == other.material(), i == j, "{i} {j}");
            }
        }
        assert_eq!(acting.material(), same.material(), "the tracker folds the name");
    }

    #[test]
    fn applies_as_sensitive_headers_and_prints_nothing() {
        let mut credential = Credential::service("hush");
        credential.act_as("bob");
        let mut headers = HeaderMap::new();
        credential.apply(&mut headers);
        assert_eq!(headers["authorization"], "token hush");
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(headers["sudo"], "bob");
        assert_eq!(format!("{credential:?}"), "Credential(authorization, sudo)");
        assert!(!credential.is_anonymous());
        let mut only_sudo = Credential::default();
        only_sudo.act_as("bob");
        assert!(only_sudo.is_anonymous());
    }
}
