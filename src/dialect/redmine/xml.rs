//! XML as Rails makes parameters of it, where it has one reading (manual: redmine, section 3).
//!
//! Attributes count like children, and `-` in a name is `_`. Document types, entities of the document's own, namespaces, and
//! text beside children are refused: readers of XML differ in all of them.

use super::super::ParseError;
use super::super::json::shorten;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// An element while it is read.
#[derive(Default)]
struct XmlElement {
    name: String,
    kind: Option<String>,
    is_nil: bool,
    members: Map<String, Value>,
    /// Children in their order, for lists.
    entries: Vec<(String, Value)>,
    text: String,
    has_text: bool,
}

/// The parameters: one, with the name of the root.
pub fn read(body: &[u8]) -> Result<Map<String, Value>, ParseError> {
    let text = std::str::from_utf8(body).map_err(|_| refuse("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<XmlElement> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|_| refuse("it is not well-formed"))?;
        match event {
            Event::Start(start) => {
                elements += 1;
                open.push(XmlElement::begin(&start)?);
            }
            Event::Empty(start) => {
                elements += 1;
                let done = XmlElement::begin(&start)?;
                close(&mut open, &mut root, done)?;
            }
            Event::End(_) => {
                let done = open.pop().ok_or_else(|| refuse("it is not well-formed"))?;
                close(&mut open, &mut root, done)?;
            }
            Event::Text(text) => add(&mut open, &text)?,
            Event::CData(text) if !text.is_empty() => add(&mut open, &text)?,
            Event::GeneralRef(name) => {
                let letter = name.resolve_char_ref().map_err(|_| refuse("it names no character"))?.map(String::from);
                let known = || quick_xml::escape::resolve_predefined_entity(&name.xml10_content()).map(str::to_owned);
                let letter = letter.or_else(known).ok_or_else(|| refuse("it has an entity of its own"))?;
                add(&mut open, &letter)?;
            }
            Event::Decl(declaration) => expect_utf8(&declaration)?,
            Event::Comment(_) => {}
            Event::Eof => break,
            Event::CData(_) => return Err(refuse("it has an empty CDATA section")),
            Event::DocType(_) => return Err(refuse("it has a document type")),
            Event::PI(_) => return Err(refuse("it has a processing instruction")),
        }
        if open.len() > DEEPEST || elements > MOST_ELEMENTS {
            return Err(refuse("it has too many elements, or too deep ones"));
        }
    }
    match (root, open.is_empty()) {
        (Some((name, value)), true) => Ok(Map::from_iter([(name, value)])),
        _ => Err(refuse("it has no whole root element")),
    }
}

fn expect_utf8(declaration: &str) -> Result<(), ParseError> {
    let lower = declaration.to_ascii_lowercase();
    match lower.split_once("encoding") {
        Some((_, rest)) if !rest.contains("utf-8") => Err(refuse("it declares another encoding than UTF-8")),
        _ => Ok(()),
    }
}

fn add(open: &mut [XmlElement], text: &str) -> Result<(), ParseError> {
    match open.last_mut() {
        Some(element) => {
            element.has_text = true;
            element.text.push_str(text);
            Ok(())
        }
        None if text.trim().is_empty() => Ok(()),
        None => Err(refuse("it has text outside of its root")),
    }
}

fn close(open: &mut [XmlElement], root: &mut Option<(String, Value)>, done: XmlElement) -> Result<(), ParseError> {
    let name = done.name.clone();
    let value = done.end()?;
    let Some(around) = open.last_mut() else {
        return match root.replace((name, value)) {
            None => Ok(()),
            Some(_) => Err(refuse("it has two roots")),
        };
    };
    if around.kind.as_deref() == Some("array") {
        around.entries.push((name, value));
        return Ok(());
    }
    around.put(name, value)
}

// === impl XmlElement ===

impl XmlElement {
    fn begin(start: &BytesStart<'_>) -> Result<Self, ParseError> {
        let mut made = Self { name: name(start.name().as_ref())?, ..Self::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| refuse("it has an attribute twice, or an odd one"))?;
            let key: &str = attribute.key.as_ref();
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
            let value = value.map_err(|_| refuse("it has an entity of its own"))?.into_owned();
            match key {
                "type" => made.kind = Some(value),
                "nil" if value == "true" => made.is_nil = true,
                _ => made.put(name(key)?, value.into())?,
            }
        }
        Ok(made)
    }

    fn put(&mut self, name: String, value: Value) -> Result<(), ParseError> {
        match self.members.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(refuse("an element has two children, or attributes, of one name")),
        }
    }

    fn end(self) -> Result<Value, ParseError> {
        let is_blank = self.text.trim().is_empty();
        let has_members = !self.members.is_empty() || !self.entries.is_empty();
        if has_members && !is_blank {
            return Err(refuse("an element has text beside children or attributes"));
        }
        if self.is_nil && (has_members || self.has_text) {
            return Err(refuse("an element is nil and has content"));
        }
        match self.kind.as_deref() {
            Some("array") if self.has_text && !is_blank => Err(refuse("a list has text")),
            Some("array") if self.members.is_empty() => self.list(),
            Some("array") => Err(refuse("a list has attributes")),
            _ if has_members => Ok(Value::Object(self.members)),
            None | Some("string") if self.has_text => Ok(self.text.into()),
            Some("string") if !self.is_nil => Ok("".into()),
            None | Some("string") => Ok(Value::Null),
            Some(kind) if PLAIN_TYPES.contains(&kind) => {
                let plain = !is_blank && self.text.trim() == self.text;
                if plain { Ok(self.text.into()) } else { self.no_value() }
            }
            Some("integer") => match self.text.parse::<i64>() {
                Ok(number) => Ok(number.into()),
                Err(_) => self.no_value(),
            },
            Some(kind) => Err(refuse(&format!("it has an element of the type `{}`", shorten(kind)))),
        }
    }

    /// Of a typed element: none where nothing is in it.
    fn no_value(&self) -> Result<Value, ParseError> {
        if self.has_text { Err(refuse("the text of an element does not have its type")) } else { Ok(Value::Null) }
    }

    /// Rails takes the entries of the first name alone.
    fn list(self) -> Result<Value, ParseError> {
        if self.entries.windows(2).any(|two| two[0].0 != two[1].0) {
            return Err(refuse("a list has entries of two names"));
        }
        Ok(self.entries.into_iter().map(|(_, value)| value).collect())
    }
}

/// Without a namespace.
fn name(raw: &str) -> Result<String, ParseError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if raw.is_empty() || !raw.bytes().all(plain) {
        return Err(refuse("a name has a namespace, or odd letters"));
    }
    Ok(raw.replace('-', "_"))
}

fn refuse(why: &str) -> ParseError {
    ParseError::Ambiguous(format!("the XML body is not read: {why}; send plain elements, or JSON"))
}

/// Of these a database makes the same as of the text.
const PLAIN_TYPES: [&str; 7] = ["boolean", "date", "datetime", "dateTime", "decimal", "double", "float"];
const DEEPEST: usize = 16;
const MOST_ELEMENTS: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<&str, &str>) {
        match (read(body.as_bytes()), expected) {
            (Ok(members), Ok(wanted)) => assert_eq!(Value::Object(members).to_string(), wanted, "{body}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{body}: {error}"),
            (read, _) => panic!("{body}: {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn elements_become_members() {
        check("<issue><a>5</a><b-c>x</b-c></issue>", Ok(r#"{"issue":{"a":"5","b_c":"x"}}"#));
        check("<issue a=\"5\"/>", Ok(r#"{"issue":{"a":"5"}}"#));
        check(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<issue>\n <a>1 &amp; &#50;<![CDATA[<3>]]></a>\n</issue>\n",
            Ok(r#"{"issue":{"a":"1 & 2<3>"}}"#),
        );
        check(
            "<i><a/><b></b><c> </c><d nil=\"true\"/><e type=\"string\"/></i>",
            Ok(r#"{"i":{"a":null,"b":null,"c":" ","d":null,"e":""}}"#),
        );
        check(
            "<i><a type=\"integer\">5</a><b type=\"integer\"></b><c type=\"date\">2026-01-01</c></i>",
            Ok(r#"{"i":{"a":5,"b":null,"c":"2026-01-01"}}"#),
        );
        check(
            "<i><f type=\"array\"><x id=\"1\"><value>a</value></x><x id=\"2\"/></f></i>",
            Ok(r#"{"i":{"f":[{"id":"1","value":"a"},{"id":"2"}]}}"#),
        );
        check("<i/>", Ok(r#"{"i":null}"#));
    }

    #[test]
    fn what_readers_differ_in_is_refused() {
        for (body, why) in [
            ("<!DOCTYPE i [<!ENTITY e \"5\">]><i><a>&e;</a></i>", "document type"),
            ("<i><a>&e;</a></i>", "entity of its own"),
            ("<x:i xmlns:x=\"u\"/>", "namespace"),
            ("<i><a>1</a><a>2</a></i>", "of one name"),
            ("<i a=\"1\"><a>2</a></i>", "of one name"),
            ("<i>x<a>1</a></i>", "text beside"),
            ("<i><a x=\"1\">5</a></i>", "text beside"),
            ("<i><a><![CDATA[]]></a></i>", "empty CDATA"),
            ("<i><a type=\"yaml\">--- 5</a></i>", "of the type"),
            ("<i><a type=\"integer\">5abc</a></i>", "does not have its type"),
            ("<i><a nil=\"true\">5</a></i>", "nil and has content"),
            ("<i/><i/>", "two roots"),
            ("<i><a>1</a>", "no whole root"),
            ("<i></a>", "well-formed"),
            ("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><i/>", "another encoding"),
            ("<i type=\"array\"><a>1</a><b>2</b></i>", "two names"),
            ("", "no whole root"),
            ("x<i/>", "outside"),
            ("<?php x?><i/>", "processing instruction"),
        ] {
            check(body, Err(why));
        }
    }
}
