//! How Rack 2.2 reads queries and forms into nested parameters.

use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::bad_request::BadRequest;

/// A query separates by `;` as well as by `&`.
pub(super) fn query(raw: &str) -> Result<Map<String, Value>, BadRequest> {
    nested(raw.as_bytes(), b"&;")
}

/// A body separates by `&` alone.
pub(super) fn urlencoded(raw: &[u8]) -> Result<Map<String, Value>, BadRequest> {
    nested(raw, b"&")
}

fn nested(raw: &[u8], separators: &[u8]) -> Result<Map<String, Value>, BadRequest> {
    let mut all = Map::new();
    for (at, piece) in raw.split(|byte| separators.contains(byte)).enumerate() {
        // Spaces after a separator belong to it.
        let piece = if at == 0 { piece } else { piece.trim_ascii_start() };
        if piece.is_empty() {
            continue;
        }
        let mut parts = piece.splitn(2, |byte| *byte == b'=');
        let name = decode(parts.next().unwrap_or_default())?;
        let value = parts.next().map(decode).transpose()?.map_or(Value::Null, Value::String);
        put(&mut all, &name, value)?;
    }
    Ok(all)
}

fn decode(raw: &[u8]) -> Result<String, BadRequest> {
    let is_hex = |at: usize| raw.get(at).is_some_and(u8::is_ascii_hexdigit);
    if (0..raw.len()).any(|at| raw[at] == b'%' && !(is_hex(at + 1) && is_hex(at + 2))) {
        return Err(BadRequest);
    }
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| BadRequest)
}

/// `normalize_params`: `a[b][]=c` goes where the brackets say, as loosely as they may be written.
pub(super) fn put(all: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), BadRequest> {
    let is_bracket = |c: char| matches!(c, '[' | ']');
    let rest = name.trim_start_matches(is_bracket);
    let key_end = rest.find(is_bracket).unwrap_or(rest.len());
    let key = &rest[..key_end];
    let after = rest[key_end..].trim_start_matches(']');
    if key.is_empty() {
        return Ok(());
    }
    let inside_list = after.strip_prefix("[]");
    match (after, inside_list) {
        ("", _) => drop(all.insert(key.to_owned(), value)),
        ("[", _) => drop(all.insert(name.to_owned(), value)),
        ("[]", _) => list(all, key)?.push(value),
        (_, Some(child)) => {
            let child = child.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(child);
            let entries = list(all, key)?;
            match entries.last_mut() {
                Some(Value::Object(last)) if !last.contains_key(child) => put(last, child, value)?,
                _ => {
                    let mut made = Map::new();
                    put(&mut made, child, value)?;
                    entries.push(Value::Object(made));
                }
            }
        }
        (after, None) => {
            let inner = all.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            put(inner.as_object_mut().ok_or(BadRequest)?, after, value)?;
        }
    }
    Ok(())
}

fn list<'a>(all: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Vec<Value>, BadRequest> {
    all.entry(key.to_owned()).or_insert_with(|| Value::Array(Vec::new())).as_array_mut().ok_or(BadRequest)
}

/// The texts among the parts of a multipart body; a part with a file name is a file, of which nothing here reads anything.
pub(super) fn multipart(raw: &[u8], kind: &str) -> Result<Map<String, Value>, BadRequest> {
    let boundary = kind.split("boundary=").nth(1).ok_or(BadRequest)?.trim_matches('"');
    let text = String::from_utf8(raw.to_vec()).map_err(|_| BadRequest)?;
    let mut all = Map::new();
    for part in text.split(&format!("--{boundary}")).skip(1).take_while(|part| !part.starts_with("--")) {
        let (head, body) = part.split_once("\r\n\r\n").ok_or(BadRequest)?;
        let attribute = |name: &str| head.split(&format!("; {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let Some(name) = attribute("name") else { continue };
        let body = body.strip_suffix("\r\n").unwrap_or(body);
        let value = match attribute("filename") {
            Some(file) => serde_json::json!({ "filename": file }),
            None => body.into(),
        };
        put(&mut all, name, value)?;
    }
    Ok(all)
}
