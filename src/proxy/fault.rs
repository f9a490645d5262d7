//! Errors of the edge itself, in the forge's own shape, so that its clients show the sentence and not a stack trace.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::body::{Body, full};
use super::headers::{ClientView, VIA_VALUE};

/// Why the edge answered by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The head of the request can be read in more than one way.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// The target alone is longer than a head may be.
    #[error("the target is too long")]
    TargetTooLong,
    /// The head is too long, or has too many headers.
    #[error("the head of the request is too long, or has too many headers")]
    HeadTooLarge,
    /// CONNECT, and nothing else.
    #[error("this method is not supported")]
    Method,
    /// An expectation other than `100-continue`.
    #[error("this expectation cannot be met")]
    Expectation,
    /// A connection to one host, and a request that names another.
    #[error("this connection was made to another host than the one that the request names")]
    Misdirected,
    /// A plain request to a host that is not one of `intercept.hosts`.
    #[error("this listener is no general proxy: it takes requests for the hosts of intercept.hosts alone")]
    NotIntercepted,
    /// The tracker's address leads back to the gate.
    #[error(
        "this request has come through a claimgate several times: the tracker's address leads back to the gate \
         (upstream.url, upstream.resolve)"
    )]
    Loop,
    /// One request more than may be under way.
    #[error("too many requests are under way; try again")]
    Busy,
    /// The client stopped sending.
    #[error("the body of the request did not arrive in time")]
    ClientStalled,
    /// The client's body was broken.
    #[error("the body of the request could not be read")]
    ClientBody,
    /// No connection to the upstream.
    #[error("the forge behind this gate cannot be reached")]
    Unreachable(String),
    /// An answer that is none.
    #[error("the forge behind this gate gave no usable answer")]
    BadAnswer(String),
    /// No head in time.
    #[error("the forge behind this gate did not answer in time")]
    Timeout,
}

/// Goes with the answers that are made here, so that they can be told from the tracker's.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeHere {
    /// The upstream may have carried the request out.
    pub(super) may_be_done: bool,
}

impl Fault {
    /// The status that tells the client.
    pub fn status(&self) -> StatusCode {
        match self {
            Fault::BadRequest(_) | Fault::ClientBody => StatusCode::BAD_REQUEST,
            Fault::TargetTooLong => StatusCode::URI_TOO_LONG,
            Fault::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Fault::Method => StatusCode::METHOD_NOT_ALLOWED,
            Fault::Expectation => StatusCode::EXPECTATION_FAILED,
            Fault::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Fault::NotIntercepted => StatusCode::FORBIDDEN,
            Fault::Loop => StatusCode::LOOP_DETECTED,
            Fault::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Fault::ClientStalled => StatusCode::REQUEST_TIMEOUT,
            Fault::Unreachable(_) | Fault::BadAnswer(_) => StatusCode::BAD_GATEWAY,
            Fault::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What only the log should keep.
    pub fn detail(&self) -> &str {
        match self {
            Fault::Unreachable(why) | Fault::BadAnswer(why) => why,
            _ => "",
        }
    }

    /// The answer after which the connection closes: what follows a head like that is anybody's guess.
    pub(super) fn into_last_response(self, view: &ClientView<'_>) -> Response<Body> {
        let mut response = self.into_response(view);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    pub(super) fn into_response(self, view: &ClientView<'_>) -> Response<Body> {
        let text = serde_json::json!({ "message": self.to_string(), "url": view.url("/api/swagger") });
        let mut response = Response::new(full(text.to_string()));
        *response.status_mut() = self.status();
        response
            .extensions_mut()
            .insert(MadeHere { may_be_done: matches!(self, Fault::BadAnswer(_) | Fault::Timeout) });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
        headers.insert(header::VIA, VIA_VALUE);
        if self == Fault::Busy {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self == Fault::Method {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        response
    }
}
