//! How a body becomes options: the real forge's forgiving reader.
//!
//! The decoder is chosen by a substring of the first content type. JSON keys match in any case, the last duplicate
//! wins, and what follows the first value is not looked at. A form merges body and query.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderMap, Method};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;

use super::options::{Feature, Options};

/// Decoded parameters in their order; the first of a name counts where one is wanted.
#[derive(Debug, Default)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(super) fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

/// What an option's member is in Go, which decides what may fill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    /// `string`
    Text,
    /// `*string`: not filled by a form.
    TextPointer,
    /// `[]string`
    Texts,
    /// `[]int64`
    Ids,
    /// `[]any`: ids or names.
    IdsOrNames,
    /// `bool`
    Flag,
}

/// An option struct: its name in Go, and its members.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) members: &'static [(&'static str, MemberKind)],
}

/// The members that the request set.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<&'static str, Value>);

/// The message of a 422.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) String);

/// The parts of a request that a decoder looks at.
#[derive(Debug)]
pub(super) struct BodySource<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a Pairs,
    pub(super) body: &'a [u8],
    pub(super) options: &'a Options,
}

impl Fields {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    pub(super) fn list(&self, name: &str) -> Option<&[Value]> {
        self.0.get(name)?.as_array().map(Vec::as_slice)
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        Some(self.list(name)?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    pub(super) fn ids(&self, name: &str) -> Option<Vec<u64>> {
        Some(self.list(name)?.iter().filter_map(Value::as_u64).collect())
    }
}

/// Binds a request to an option struct.
pub(super) fn bind(schema: &Schema, source: &BodySource<'_>) -> Result<Fields, Unreadable> {
    let first = source.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    let must_have = matches!(*source.method, Method::POST | Method::PUT);
    match first {
        "" if must_have => Err(Unreadable("Empty Content-Type".into())),
        "" => form(schema, &form_values(source), source.options),
        kind if kind.contains("form-urlencoded") => form(schema, &form_values(source), source.options),
        kind if kind.contains("multipart/form-data") => form(schema, &multipart(kind, source.body), source.options),
        kind if kind.contains("json") => json(schema, source),
        _ => Err(Unreadable("Unsupported Content-Type".into())),
    }
}

pub(super) fn pairs(text: &[u8]) -> Pairs {
    Pairs(form_urlencoded::parse(text).into_owned().collect())
}

/// The same, where a `;` may separate as well.
pub(super) fn pairs_of(text: &[u8], options: &Options) -> Pairs {
    if !options.has(Feature::SemicolonPairs) {
        return pairs(text);
    }
    let text: Vec<u8> = text.iter().map(|byte| if *byte == b';' { b'&' } else { *byte }).collect();
    pairs(&text)
}

/// Whether Go's `ParseForm` would read the body: the exact media type, unlike the substring that chooses the decoder.
pub(super) fn is_urlencoded(headers: &HeaderMap) -> bool {
    let first = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = first.split(';').next().unwrap_or("").trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// What the web's handlers see of a form: a body of either form type, then the query; the first of a name counts.
pub(super) fn web_values(headers: &HeaderMap, query: &Pairs, body: &[u8]) -> Pairs {
    let first = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut values = if is_urlencoded(headers) { pairs(body) } else { multipart(first, body) };
    values.extend(query);
    values
}

fn form_values(source: &BodySource<'_>) -> Pairs {
    let reads_body =
        matches!(*source.method, Method::POST | Method::PUT | Method::PATCH) && is_urlencoded(source.headers);
    let mut values = if reads_body { pairs_of(source.body, source.options) } else { Pairs::default() };
    values.extend(source.query);
    values
}

fn form(schema: &Schema, values: &Pairs, options: &Options) -> Result<Fields, Unreadable> {
    let mut fields = Fields::default();
    for (name, kind) in schema.members {
        let all = values.all(name);
        let Some(first) = all.first() else { continue };
        let value = match kind {
            MemberKind::TextPointer if !options.has(Feature::FormPointers) => continue,
            MemberKind::Text | MemberKind::TextPointer => Value::from(first.as_str()),
            MemberKind::Texts | MemberKind::IdsOrNames => Value::from(all),
            MemberKind::Ids => Value::from(all.iter().map(|one| number(one)).collect::<Result<Vec<_>, _>>()?),
            MemberKind::Flag => Value::from(matches!(first.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")),
        };
        fields.0.insert(name, value);
    }
    Ok(fields)
}

fn number(text: &str) -> Result<i64, Unreadable> {
    text.parse().map_err(|_| Unreadable("Value could not be parsed as integer".into()))
}

/// The plain values of a multipart body; files and the query do not count.
fn multipart(content_type: &str, body: &[u8]) -> Pairs {
    let Some((_, boundary)) = content_type.split_once("boundary=") else {
        return Pairs::default();
    };
    let boundary = boundary.split(';').next().unwrap_or("").trim().trim_matches('"');
    let text = String::from_utf8_lossy(body);
    let separator = format!("--{boundary}");
    let parts = text.split(&separator).filter_map(|part| {
        let (head, value) = part.split_once("\r\n\r\n").or_else(|| part.split_once("\n\n"))?;
        let name = head.split_once("name=")?.1.trim_start_matches('"').split(['"', ';', '\r', '\n']).next()?;
        let is_file = head.contains("filename=");
        (!is_file).then(|| (name.to_owned(), value.strip_suffix("\r\n").unwrap_or(value).to_owned()))
    });
    Pairs(parts.collect())
}

fn json(schema: &Schema, source: &BodySource<'_>) -> Result<Fields, Unreadable> {
    let text = mend_surrogates(&String::from_utf8_lossy(source.body));
    if matches!(text.trim_ascii(), "" | "null") {
        return Ok(Fields::default());
    }
    let mut reader = serde_json::Deserializer::from_str(&text);
    let members = reader.deserialize_map(BodyMembers).map_err(|error| syntax(schema, &text, &error))?;
    let fold = |key: &str| fold_key(key, source.options);
    let mut fields = Fields::default();
    for (key, value) in members {
        let folded = fold(&key);
        let Some((name, kind)) = schema.members.iter().find(|(name, _)| fold(name) == folded) else {
            continue;
        };
        match fitting(*kind, value) {
            Ok(Value::Null) => drop(fields.0.remove(name)),
            Ok(value) => drop(fields.0.insert(name, value)),
            Err(Misfit) => return Err(mismatch(schema, name, &text)),
        }
    }
    Ok(fields)
}

/// A value of a type that the member cannot hold.
struct Misfit;

fn fitting(kind: MemberKind, value: Value) -> Result<Value, Misfit> {
    let fits = match (kind, &value) {
        (_, Value::Null)
        | (MemberKind::Text | MemberKind::TextPointer, Value::String(_))
        | (MemberKind::Flag, Value::Bool(_))
        | (MemberKind::IdsOrNames, Value::Array(_)) => true,
        (MemberKind::Texts, Value::Array(list)) => list.iter().all(|one| one.is_string() || one.is_null()),
        (MemberKind::Ids, Value::Array(list)) => list.iter().all(|one| one.is_i64() || one.is_u64() || one.is_null()),
        _ => false,
    };
    if fits { Ok(blanks(kind, value)) } else { Err(Misfit) }
}

/// A null inside a list of texts is the empty text.
fn blanks(kind: MemberKind, value: Value) -> Value {
    match (kind, value) {
        (MemberKind::Texts, Value::Array(list)) => {
            list.into_iter().map(|one| if one.is_null() { Value::from("") } else { one }).collect()
        }
        (_, value) => value,
    }
}

/// Every member in the order of the text, duplicates included.
struct BodyMembers;

impl<'de> Visitor<'de> for BodyMembers {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// In the words of jsoniter, which names the place and quotes around it.
fn syntax(schema: &Schema, text: &str, error: &serde_json::Error) -> Unreadable {
    let at = error.column();
    let found = text.chars().nth(at.saturating_sub(1)).map_or_else(|| "\\u0000".to_owned(), String::from);
    let near: String = text.chars().take(40).collect();
    Unreadable(format!(
        "structs.{}.readFieldHash: expect \", but found {found}, error found in #{at} byte of ...|{near}|..., bigger context ...|{near}|...",
        schema.name
    ))
}

fn mismatch(schema: &Schema, member: &str, text: &str) -> Unreadable {
    let near: String = text.chars().take(40).collect();
    Unreadable(format!("structs.{}.{member}: unexpected type, error found near ...|{near}|...", schema.name))
}

fn fold_key(key: &str, options: &Options) -> String {
    let folded = if options.has(Feature::GoJsonFolding) { fold_as_go(key) } else { key.to_ascii_lowercase() };
    if options.has(Feature::JsonV2Folding) { folded.replace(['_', '-'], "") } else { folded }
}

/// Go's encoding/json folds keys over all of Unicode; only two letters beyond ASCII reach ours.
fn fold_as_go(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// A lone surrogate is accepted by Go and becomes the replacement character.
fn mend_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (taken, kept) = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, &rest[..12]),
            (Some(_), _) => (6, "\\ufffd"),
            (None, _) => {
                let end = rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end);
                (end, &rest[..end])
            }
        };
        out.push_str(kept);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// The value of an escape at the start of `text`, if that is a surrogate's.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let unit = u32::from_str_radix(digits, 16).ok()?;
    (0xd800..0xe000).contains(&unit).then_some(unit)
}
