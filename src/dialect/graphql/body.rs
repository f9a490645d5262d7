//! The forms in which a request carries documents: JSON, a list of them, a form, a document by itself, a query.

use super::super::{Head, ParseError, form};
use super::syntax::{Document, OperationKind, parse};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// One document with what stands beside it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) document: Document,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Map<String, Value>,
}

/// What a request carries.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) entries: Vec<Entry>,
    pub(super) is_batch: bool,
}

/// The text that clients of stored documents wait for: they send the document itself then.
pub const NOT_STORED: &str = "PersistedQueryNotFound";
/// Documents of one request.
const MOST_ENTRIES: usize = 50;
/// Values of a body.
const MOST_VALUES: usize = 50_000;

const QUERY: &str = "query";
const VARIABLES: &str = "variables";
const OPERATION: &str = "operationName";
const EXTENSIONS: &str = "extensions";
const MEMBERS: [&str; 4] = [QUERY, VARIABLES, OPERATION, EXTENSIONS];

/// Reads a request. A tracker may look at the query before the body, or after: only one of them may speak.
pub(super) fn read(head: &Head<'_>, body: &[u8]) -> Result<Carried, ParseError> {
    let pairs = head.target.pairs()?;
    let in_query: Map<String, Value> = members_of(pairs)?;
    let has_body = !body.iter().all(u8::is_ascii_whitespace);
    if matches!(*head.method, Method::GET | Method::HEAD) {
        if has_body {
            return Err(refuse("a GET has a body: send the document in the query, or by POST"));
        }
        return single(&in_query);
    }
    if !in_query.is_empty() {
        return Err(refuse(
            "the document, its variables or its operation stand in the query of a POST: send them in its body",
        ));
    }
    let text = text_of(head.headers, body)?;
    let essence = essence(head.headers);
    let begins = text.trim_start_matches([' ', '\t', '\r', '\n']).chars().next();
    // Whatever the type says: some trackers read JSON under any.
    match begins {
        Some('[') => batch(json(text)?),
        Some('{') => match (json(text), essence.as_str()) {
            (Ok(value), _) => single(&object(value)?),
            (Err(_), "application/graphql") => alone(text),
            (Err(error), _) => Err(error),
        },
        None => Err(refuse("the body is empty: a GraphQL document was expected")),
        Some(_) if essence == "application/graphql" => alone(text),
        Some(_) if essence == "application/x-www-form-urlencoded" => single(&members_of(form::read_pairs(body)?)?),
        Some(_) => Err(refuse("the body is no JSON object with a `query`")),
    }
}

fn text_of<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<&'b str, ParseError> {
    let header = |name| headers.get_all(name).iter().map(|value| value.as_bytes().to_ascii_lowercase());
    if header(CONTENT_ENCODING).any(|coding| !coding.is_empty() && coding != b"identity") {
        return Err(ParseError::UnsupportedEncoding("the body is compressed: send it as it is".to_owned()));
    }
    if headers.get_all(CONTENT_TYPE).iter().count() > 1 {
        return Err(refuse("the header Content-Type stands twice"));
    }
    let parameters = |value: Vec<u8>| String::from_utf8_lossy(&value).replace(['"', ' '], "");
    let charset =
        header(CONTENT_TYPE).map(parameters).find_map(|it| it.split_once("charset=").map(|(_, set)| set.to_owned()));
    if charset.is_some_and(|set| !matches!(set.split(';').next(), Some("utf-8" | "utf8" | "us-ascii"))) {
        return Err(ParseError::UnsupportedEncoding("the body is in another charset: send it as UTF-8".to_owned()));
    }
    if essence(headers).starts_with("multipart/") {
        let why = "a GraphQL document in a multipart body is not read: send it as application/json";
        return Err(ParseError::UnsupportedEncoding(why.to_owned()));
    }
    std::str::from_utf8(body).map_err(|_| refuse("the body is not UTF-8"))
}

fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    String::from_utf8_lossy(essence).to_ascii_lowercase()
}

/// The parameters that name a document, of a query or a form.
fn members_of(pairs: Vec<(String, String)>) -> Result<Map<String, Value>, ParseError> {
    let mut members = Map::new();
    for (name, text) in pairs {
        let Some(name) = MEMBERS.into_iter().find(|known| *known == name) else { continue };
        if members.insert(name.to_owned(), text.into()).is_some() {
            return Err(refuse(&format!("the parameter `{name}` stands twice")));
        }
    }
    Ok(members)
}

fn batch(value: Value) -> Result<Carried, ParseError> {
    let Value::Array(all) = value else { return Err(refuse("the body is no list")) };
    if all.is_empty() || all.len() > MOST_ENTRIES {
        return Err(refuse(&format!("a request has one document at least, and {MOST_ENTRIES} at most")));
    }
    let entries = all.into_iter().map(|one| entry(&object(one)?)).collect::<Result<_, ParseError>>()?;
    Ok(Carried { entries, is_batch: true })
}

fn single(members: &Map<String, Value>) -> Result<Carried, ParseError> {
    Ok(Carried { entries: vec![entry(members)?], is_batch: false })
}

fn alone(text: &str) -> Result<Carried, ParseError> {
    let entry = Entry { document: parse(text)?, operation_name: None, variables: Map::new() };
    Ok(Carried { entries: vec![entry], is_batch: false })
}

fn entry(members: &Map<String, Value>) -> Result<Entry, ParseError> {
    let text = |name| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(refuse(&format!("`{name}` must be a text"))),
    };
    let Some(query) = text(QUERY)? else {
        let is_stored = members.get(EXTENSIONS).is_some();
        return Err(refuse(if is_stored { NOT_STORED } else { "the request has no `query`" }));
    };
    let operation_name = text(OPERATION)?.filter(|name| !name.is_empty()).map(str::to_owned);
    let variables = match members.get(VARIABLES) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(variables)) => variables.clone(),
        Some(Value::String(text)) if text.trim().is_empty() => Map::new(),
        Some(Value::String(text)) => object(json(text)?)?,
        Some(_) => return Err(refuse("`variables` must be an object")),
    };
    Ok(Entry { document: parse(query)?, operation_name, variables })
}

fn object(value: Value) -> Result<Map<String, Value>, ParseError> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Null => Ok(Map::new()),
        _ => Err(refuse("a JSON object was expected")),
    }
}

/// JSON of which no object has two members of one name.
fn json(text: &str) -> Result<Value, ParseError> {
    let read: UniqueValue = serde_json::from_str(text)
        .map_err(|error| refuse(&format!("the body can be read in two ways, or not at all: {error}")))?;
    let mut left = MOST_VALUES;
    count(&read.0, &mut left)?;
    Ok(read.0)
}

fn count(value: &Value, left: &mut usize) -> Result<(), ParseError> {
    *left = left.checked_sub(1).ok_or_else(|| refuse(&format!("the body has more than {MOST_VALUES} values")))?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| count(item, left)),
        Value::Object(members) => members.values().try_for_each(|member| count(member, left)),
        _ => Ok(()),
    }
}

fn refuse(why: &str) -> ParseError {
    ParseError::Ambiguous(why.to_owned())
}

// === impl Carried ===

impl Carried {
    /// Whether all of it only reads.
    pub(super) fn only_reads(&self) -> bool {
        let writes = |entry: &Entry| entry.document.operations.iter().any(|it| it.kind == OperationKind::Mutation);
        !self.entries.iter().any(writes)
    }
}

/// Any value, read so that a name that stands twice is an error.
struct UniqueValue(Value);

struct UniqueVisitor;

impl<'de> Deserialize<'de> for UniqueValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(UniqueValue(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, UniqueValue(value))) = members.next_entry::<String, UniqueValue>()? {
            if all.contains_key(&name) {
                let name: String = name.chars().take(40).collect();
                return Err(A::Error::custom(format!("the member `{name}` stands twice")));
            }
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}
