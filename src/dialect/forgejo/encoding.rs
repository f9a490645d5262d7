//! How a request is encoded, and what can be said of one that is read in no way (manual: forgejo, section 1.1).

use super::super::json::fold_name;
use super::super::{Head, ParseError, multipart};
use super::write::WriteForm;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// No Content-Type at all, or an empty one.
    Unnamed,
    /// `application/json` and whatever else every version reads as JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
}

/// The body's encoding, where it is one that every version of the tracker reads alike.
///
/// Each looks for three words anywhere in the first Content-Type, in this order and with regard to case:
/// `form-urlencoded`, `multipart/form-data`, `json`. Parameters, a charset among them, mean nothing to it.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, ParseError> {
    if is_coded(headers) {
        return Err(unsupported("a compressed body is not read on this call: send it without Content-Encoding"));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(first) = types.next() else { return Ok(Encoding::Unnamed) };
    let text = first.to_str().ok().filter(|_| types.all(|other| other == first));
    let text = text.ok_or_else(|| unsupported(SEND_JSON))?;
    let lower = text.to_ascii_lowercase();
    let (essence, parameters) = lower.split_once(';').unwrap_or((&lower, ""));
    let words = FORM_WORDS.map(|word| lower.contains(word));
    match (essence.trim(), words) {
        ("", [false, false, false]) if parameters.is_empty() => Ok(Encoding::Unnamed),
        ("application/x-www-form-urlencoded", [true, false, false]) if are_plain(parameters) => Ok(Encoding::Form),
        ("multipart/form-data", [false, true, false]) => Ok(Encoding::Multipart),
        ("application/json", [false, false, true]) => Ok(Encoding::Json),
        (_, [false, false, true]) if text.contains(FORM_WORDS[2]) => Ok(Encoding::Json),
        _ => Err(unsupported(SEND_JSON)),
    }
}

/// By which the tracker tells how to read a body.
const FORM_WORDS: [&str; 3] = ["form-urlencoded", "multipart/form-data", "json"];

/// Whether the body may be other bytes than it seems. `identity`, and nothing, is no coding.
fn is_coded(headers: &HeaderMap) -> bool {
    let codings =
        headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.map(<[u8]>::trim_ascii).any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

/// Whether these are parameters as RFC 9110 writes them: with others Go gives the form up.
fn are_plain(parameters: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
    };
    parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        token(name) && token(quoted.unwrap_or(value))
    })
}

// === what names nothing guarded ===

/// Whether no version of the tracker can find a guarded field, in whichever way it reads the request. JSON is not among
/// what is passed so: names in it can be written in more ways than a search finds.
pub fn names_nothing_guarded(form: WriteForm, head: &Head<'_>, body: &[u8]) -> bool {
    // Without a field the other calls change something all the same.
    let idle = matches!(
        form,
        WriteForm::EditIssue
            | WriteForm::EditPull
            | WriteForm::CreateIssue
            | WriteForm::CreatePull
            | WriteForm::AddLabels
    );
    let types = head.headers.get_all(CONTENT_TYPE).iter().map(|kind| kind.as_bytes().to_ascii_lowercase());
    let types: Vec<String> = types.map(|kind| String::from_utf8_lossy(&kind).into_owned()).collect();
    let is = |at: usize| types.iter().any(|kind| kind.contains(FORM_WORDS[at]));
    let in_body = match (is(0), is(1)) {
        (true, false) => form_names_guarded(body),
        _ => multipart_fields(head.headers, body).map_or_else(
            || form_names_guarded(body) || is_guarded(&String::from_utf8_lossy(body)),
            |fields| fields.iter().any(|(name, _)| is_guarded(name)),
        ),
    };
    let in_query = form_names_guarded(head.target.query().unwrap_or_default().as_bytes());
    idle && !is_coded(head.headers) && !is(2) && !in_body && !in_query
}

/// Whether a reader of forms finds a guarded name, whatever it takes for a separator and however it forgives.
fn form_names_guarded(raw: &[u8]) -> bool {
    raw.split(|byte| matches!(byte, b'&' | b';')).any(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        is_guarded(&percent_decode(name).decode_utf8_lossy())
    })
}

/// The same, with what is judged beside the guarded fields: whose push may close an issue.
fn is_guarded(text: &str) -> bool {
    mentions_guarded(text) || fold_name(text).contains("ref")
}

/// Whether a guarded name is among the words of this text; one that readers of multipart spell out is as good.
pub fn mentions_guarded(text: &str) -> bool {
    let folded = fold_name(text);
    ["assignee", "label", "state", "closed", "reviewer", "name*"].iter().any(|word| folded.contains(word))
}

pub fn multipart_fields(headers: &HeaderMap, body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let kind = types.next()?.to_str().ok().filter(|_| types.next().is_none())?;
    multipart::read_fields(multipart::boundary(kind)?, body).ok()
}

fn unsupported(text: &str) -> ParseError {
    ParseError::UnsupportedEncoding(text.to_owned())
}

pub const SEND_JSON: &str = "send one JSON object with `Content-Type: application/json`";
