//! Whole requests and responses as the gate writes and reads them: the few that it buffers. All else streams.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use std::fmt;

/// A request that the gate writes itself.
#[derive(Clone)]
pub struct WireRequest {
    /// The method.
    pub method: Method,
    /// Origin form: path and query.
    pub target: String,
    /// Every header but the framing and `Host`, which the transport adds.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A response that the gate read whole, or writes itself.
#[derive(Clone)]
pub struct WireResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// What an answer amounts to (RFC 9110, section 15). Whoever acts on an answer goes by this; the status itself is for the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerClass {
    /// 200: what was asked for.
    Ok,
    /// Any other 2xx.
    Success,
    /// 3xx: it is elsewhere, or to be asked for otherwise.
    Redirect,
    /// 401: nobody knows the credential.
    Unauthorized,
    /// 403
    Forbidden,
    /// 404: there is none, or none for who asks.
    Missing,
    /// 410: there is none any more.
    Gone,
    /// 429: too much was asked.
    Limited,
    /// Any other 4xx.
    Refused,
    /// 502 to 504: the tracker itself may not have answered.
    Unavailable,
    /// Any other 5xx, and what no whole answer has.
    Failed,
}

impl AnswerClass {
    /// Of a status.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200 => Self::Ok,
            201..=299 => Self::Success,
            300..=399 => Self::Redirect,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::Missing,
            410 => Self::Gone,
            429 => Self::Limited,
            400..=499 => Self::Refused,
            502..=504 => Self::Unavailable,
            _ => Self::Failed,
        }
    }

    /// Whether the tracker shows nothing to who asks, or hides it: 403 and 404.
    pub fn is_hidden(self) -> bool {
        matches!(self, Self::Forbidden | Self::Missing)
    }

    /// Whether the tracker shows nothing to who asks, whatever the reason. An unknown credential says nothing of the item.
    pub fn is_unseen(self) -> bool {
        self.is_hidden() || self == Self::Gone
    }

    /// Whether the tracker answered that it did nothing: 3xx and 4xx.
    pub fn is_refusal(self) -> bool {
        match self {
            Self::Redirect
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Missing
            | Self::Gone
            | Self::Limited
            | Self::Refused => true,
            Self::Ok | Self::Success | Self::Unavailable | Self::Failed => false,
        }
    }
}

impl WireResponse {
    /// What it amounts to.
    pub fn class(&self) -> AnswerClass {
        AnswerClass::of(self.status)
    }

    /// Whether it is a success.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The same answer under the status that a read has.
    #[must_use]
    pub fn as_read(self) -> Self {
        Self { status: StatusCode::OK, ..self }
    }

    /// The status as the audit writes it.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }
}

// Header values and bodies can carry secrets: neither is ever printed.

impl fmt::Debug for WireRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{} {path} ({} headers, {} bytes)", self.method, self.headers.len(), self.body.len())
    }
}

impl fmt::Debug for WireResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} headers, {} bytes)", self.status, self.headers.len(), self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_prints_secrets() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "token hush".parse().unwrap());
        let request = WireRequest {
            method: Method::PATCH,
            target: "/a?token=hush".into(),
            headers: headers.clone(),
            body: "hush".into(),
        };
        let response = WireResponse { status: StatusCode::OK, headers, body: "hush".into() };
        assert_eq!(format!("{request:?}"), "PATCH /a (1 headers, 4 bytes)");
        assert_eq!(format!("{response:?}"), "200 OK (1 headers, 4 bytes)");
    }
}
