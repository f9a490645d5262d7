//! `Hash.from_xml` of Rails: names without their namespaces and with `_` for `-`, attributes beside children, entities
//! of the document's own type expanded.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::bad_request::BadRequest;
use super::ruby;

/// An element while it is read.
#[derive(Debug, Default)]
struct Element {
    name: String,
    /// In Ruby one hash holds both; a name that is there already makes a list.
    members: Map<String, Value>,
    text: String,
    /// There is text, be it empty.
    has_text: bool,
    children: usize,
}

pub(super) fn read(body: &[u8]) -> Result<Map<String, Value>, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|_| BadRequest)?;
    let mut reader = Reader::from_str(text);
    let mut entities = HashMap::new();
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|_| BadRequest)?;
        match event {
            Event::Start(start) => open.push(element(&start)?),
            Event::Empty(start) => {
                let done = element(&start)?;
                close(&mut open, done)?;
            }
            Event::End(_) => {
                let done = open.pop().ok_or(BadRequest)?;
                close(&mut open, done)?;
            }
            Event::Text(text) => add(&mut open, &text)?,
            Event::CData(text) => add(&mut open, &text)?,
            Event::GeneralRef(name) => {
                let letter = name.resolve_char_ref().map_err(|_| BadRequest)?.map(String::from);
                let name = name.xml10_content();
                let known = || quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned);
                let value = letter.or_else(known).or_else(|| entities.get(&*name).cloned()).ok_or(BadRequest)?;
                add(&mut open, &value)?;
            }
            Event::DocType(kind) => declare(&kind, &mut entities),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match &mut open[..] {
        [root] => Ok(std::mem::take(&mut root.members)),
        _ => Err(BadRequest),
    }
}

/// `<!ENTITY name "value">`
fn declare(kind: &str, entities: &mut HashMap<String, String>) {
    for piece in kind.split("<!ENTITY").skip(1) {
        let mut words = piece.split(['"', '\'']);
        if let (Some(name), Some(value)) = (words.next(), words.next()) {
            entities.insert(name.trim().to_owned(), value.to_owned());
        }
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, BadRequest> {
    let mut made = Element { name: name(start.local_name().as_ref()), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| BadRequest)?;
        if attribute.key.as_ref() == "xmlns" || attribute.key.as_ref().starts_with("xmlns:") {
            continue;
        }
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|_| BadRequest)?;
        made.members.insert(name(attribute.key.local_name().as_ref()), value.into_owned().into());
    }
    Ok(made)
}

fn name(raw: &str) -> String {
    raw.replace('-', "_")
}

fn add(open: &mut [Element], text: &str) -> Result<(), BadRequest> {
    if open.len() == 1 && !text.trim().is_empty() {
        return Err(BadRequest);
    }
    let element = open.last_mut().ok_or(BadRequest)?;
    element.has_text = true;
    element.text.push_str(text);
    Ok(())
}

/// Puts an element that ended into the one around it.
fn close(open: &mut [Element], done: Element) -> Result<(), BadRequest> {
    let is_root = open.len() == 1;
    let around = open.last_mut().ok_or(BadRequest)?;
    if is_root && around.children > 0 {
        return Err(BadRequest);
    }
    around.children += 1;
    let name = done.name.clone();
    let value = value(done)?;
    match around.members.get_mut(&name) {
        None => drop(around.members.insert(name, value)),
        Some(Value::Array(all)) => all.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
    }
    Ok(())
}

/// What an element is, by its `type` where it has one.
fn value(mut element: Element) -> Result<Value, BadRequest> {
    let kind = element.members.get("type").and_then(Value::as_str).map(str::to_owned);
    // Text counts unless it is blank beside anything else.
    let is_text = element.has_text && (element.members.is_empty() || !element.text.trim().is_empty());
    match kind.as_deref() {
        Some("yaml" | "symbol" | "file") if is_text || kind.as_deref() == Some("file") => return Err(BadRequest),
        Some("array") => {
            element.members.shift_remove("type");
            let entries = element.members.into_iter().map(|(_, value)| value).next();
            return Ok(match entries {
                Some(Value::Array(all)) => Value::Array(all),
                Some(one) => Value::Array(vec![one]),
                None => Value::Array(Vec::new()),
            });
        }
        Some("integer") if is_text => return Ok(ruby::to_i(&element.text).into()),
        _ if is_text => return Ok(element.text.into()),
        _ => {}
    }
    let is_nil = element.members.get("nil").and_then(Value::as_str) == Some("true");
    if kind.as_deref() == Some("string") && !is_nil {
        return Ok("".into());
    }
    element.members.shift_remove("type");
    if is_nil || element.members.is_empty() {
        return Ok(Value::Null);
    }
    Ok(Value::Object(element.members))
}
