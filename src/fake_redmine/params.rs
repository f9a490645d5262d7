//! What Rails makes of a request: method, route, format and parameters.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::bad_request::BadRequest;
use super::{form, xml};

/// Whether the answer is the API's, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
    /// A page.
    Html,
    /// A format that nothing here has.
    Other,
}

/// A request as Rails hands it to a controller.
#[derive(Debug, Clone)]
pub(super) struct RailsRequest {
    pub(super) method: Method,
    /// Its pieces before the format, decoded: `issues`, `7`.
    pub(super) path: Vec<String>,
    /// The raw path is such that no route has it.
    pub(super) is_routable: bool,
    pub(super) format: Format,
    /// The query over the body; the path over both.
    pub(super) params: Map<String, Value>,
}

/// A header as Ruby's server hands it on: several lines are one, and underscores count where there is no line with dashes.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = |name: &str| {
        let all: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    lines(name).or_else(|| lines(&name.replace('-', "_")))
}

/// The format that the end of the path asks for, which errors are told in even where no route has the path.
pub(super) fn format_of_path(path: &str) -> Format {
    match path.trim_end_matches('/').rsplit_once('.') {
        Some((_, "json")) => Format::Json,
        Some((_, "xml")) => Format::Xml,
        _ => Format::Html,
    }
}

pub(super) fn read(parts: &Parts, body: &Bytes) -> Result<RailsRequest, BadRequest> {
    let kind = header(&parts.headers, "content-type");
    let posted = posted(&parts.method, kind.as_deref(), body)?;
    let method = overridden(&parts.method, &parts.headers, &posted);
    let mut params = match parser(kind.as_deref()) {
        Some(_) if body.is_empty() => Map::new(),
        Some(Format::Json) => json(body)?,
        Some(_) => xml::read(body)?,
        None => posted,
    };
    params.extend(form::query(parts.uri.query().unwrap_or_default())?);
    let (path, suffix, is_routable) = pieces(parts.uri.path());
    let named = suffix.or_else(|| params.get("format").and_then(Value::as_str).map(str::to_owned));
    let format = match named.as_deref() {
        Some("json") => Format::Json,
        Some("xml") => Format::Xml,
        Some("html") => Format::Html,
        None if !params.contains_key("format") => Format::Html,
        _ => Format::Other,
    };
    Ok(RailsRequest { method, path, is_routable, format, params })
}

/// `Rack::Request#POST`: a form, by its type, or a `POST` that names none.
fn posted(method: &Method, kind: Option<&str>, body: &Bytes) -> Result<Map<String, Value>, BadRequest> {
    let media = kind.map(media);
    match media.as_deref() {
        Some("application/x-www-form-urlencoded") => form::urlencoded(body),
        Some("multipart/form-data" | "multipart/mixed" | "multipart/related") => {
            form::multipart(body, kind.unwrap_or_default())
        }
        None if *method == Method::POST => form::urlencoded(body),
        _ => Ok(Map::new()),
    }
}

/// `Rack::MethodOverride`: of a `POST` alone, by a form's `_method` before the header.
fn overridden(method: &Method, headers: &HeaderMap, posted: &Map<String, Value>) -> Method {
    if *method != Method::POST {
        return method.clone();
    }
    let wanted = match posted.get("_method") {
        None | Some(Value::Null) => header(headers, "x-http-method-override").unwrap_or_default(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => String::new(),
    };
    let wanted = wanted.to_uppercase();
    let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "LINK", "UNLINK"];
    match Method::from_bytes(wanted.as_bytes()) {
        Ok(wanted) if known.contains(&wanted.as_str()) => wanted,
        _ => method.clone(),
    }
}

fn parser(kind: Option<&str>) -> Option<Format> {
    match media(kind?).as_str() {
        "application/json" | "text/x-json" | "application/jsonrequest" => Some(Format::Json),
        "application/xml" | "text/xml" | "application/x-xml" => Some(Format::Xml),
        _ => None,
    }
}

fn media(kind: &str) -> String {
    kind.split([',', ';']).next().unwrap_or_default().trim().to_lowercase()
}

/// Ruby's JSON: comments are allowed, the last of equal members wins.
fn json(body: &Bytes) -> Result<Map<String, Value>, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|_| BadRequest)?;
    let plain = without_comments(text);
    match serde_json::from_str(&plain).map_err(|_| BadRequest)? {
        Value::Object(members) => Ok(members),
        other => Ok(Map::from_iter([("_json".to_owned(), other)])),
    }
}

fn without_comments(text: &str) -> String {
    let (mut plain, mut rest, mut in_text) = (String::new(), text, false);
    while let Some(c) = rest.chars().next() {
        if !in_text && rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, after)| after);
            continue;
        }
        if !in_text && rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let taken = if in_text && c == '\\' { rest.chars().take(2).map(char::len_utf8).sum() } else { c.len_utf8() };
        in_text ^= c == '"';
        plain.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    plain
}

/// The path's pieces and its suffix. Routes are matched on the raw path; what they catch is decoded.
fn pieces(path: &str) -> (Vec<String>, Option<String>, bool) {
    let mut raw: Vec<&str> = path.split('/').filter(|piece| !piece.is_empty()).collect();
    let mut suffix = None;
    let mut is_routable = true;
    if let Some(last) = raw.last_mut() {
        let mut parts = last.split('.');
        *last = parts.next().unwrap_or_default();
        suffix = parts.next().map(str::to_owned);
        is_routable = !last.is_empty() && parts.next().is_none();
    }
    is_routable &= raw.iter().all(|piece| !piece.contains('.'));
    let decoded = raw.iter().enumerate().map(|(at, piece)| {
        // The first piece is a word of the route itself.
        if at == 0 { (*piece).to_owned() } else { percent_decode_str(piece).decode_utf8_lossy().into_owned() }
    });
    (decoded.collect(), suffix, is_routable)
}
