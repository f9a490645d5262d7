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
