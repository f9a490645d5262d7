//! What may come of a request.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

/// A whole answer, as [`super::FakeForge::call`] returns it.
#[derive(Debug, Clone)]
pub struct CollectedReply {
    /// The status code.
    pub status: u16,
    /// All header lines.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl CollectedReply {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The connection ended without a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fake forge cut the connection")
    }
}

impl std::error::Error for Cut {}

/// A refusal takes the same way out as an answer, by `?`.
pub(crate) type HandlerResult = Result<FakeReply, FakeReply>;

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

#[derive(Debug)]
pub(crate) enum Content {
    Whole(Bytes),
    Stream(Body),
}

#[derive(Debug)]
pub(crate) struct FakeReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
}

impl FakeReply {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), content: Content::Whole(Bytes::new()) }
    }

    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::typed(status, "application/json;charset=utf-8", format!("{value}\n"))
    }

    pub(super) fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    pub(super) fn created(value: &Value) -> Self {
        Self::json(StatusCode::CREATED, value)
    }

    pub(super) fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    pub(crate) fn typed(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Self {
        let mut reply = Self::empty(status);
        reply.content = Content::Whole(text.into());
        reply.with(CONTENT_TYPE, kind)
    }

    pub(super) fn html(status: StatusCode, text: &str) -> Self {
        Self::typed(
            status,
            "text/html; charset=UTF-8",
            format!("<!DOCTYPE html>\n<title>{text}</title>\n<p>{text}</p>\n"),
        )
    }

    pub(super) fn error(root: &str, status: StatusCode, message: &str) -> Self {
        Self::json(status, &json!({ "message": message, "url": format!("{root}/api/swagger") }))
    }

    pub(super) fn not_found(root: &str) -> Self {
        let body =
            json!({ "documentation_url": format!("{root}/api/swagger"), "errors": null, "message": "Not Found" });
        Self::json(StatusCode::NOT_FOUND, &body)
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::empty(StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND)).with(LOCATION, location)
    }

    /// With one more header line; one that is no legal value is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    pub(crate) fn into_response(self) -> http::Response<Body> {
        let body = match self.content {
            Content::Whole(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            Content::Stream(body) => body,
        };
        let mut response = http::Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        headers.insert("x-frame-options", HeaderValue::from_static("SAMEORIGIN"));
        response
    }

    pub(crate) async fn collect(self) -> Result<CollectedReply, Cut> {
        let (parts, body) = self.into_response().into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        Ok(CollectedReply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}
