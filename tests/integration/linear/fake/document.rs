//! A reader of documents that is no kin to the gate's, so that an error of that one cannot hide in both sides of a test.
//! It reads what clients write, and panics at nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A field as it is to be answered, its fragments followed and its variables put in.
#[derive(Clone, Debug)]
pub struct Selected {
    pub key: String,
    pub name: String,
    pub arguments: Map<String, Value>,
    pub selections: Vec<Selected>,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub is_mutation: bool,
    pub fields: Vec<Selected>,
}

type Read<T> = Result<T, String>;

/// Pieces of a document: marks, words and numbers as they are, and texts behind a `"`.
fn pieces(text: &str) -> Read<Vec<String>> {
    let letters: Vec<char> = text.chars().collect();
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(&letter) = letters.get(at) {
        match letter {
            ' ' | '\t' | '\n' | '\r' | ',' | '\u{feff}' => at += 1,
            '#' => {
                while letters.get(at).is_some_and(|next| *next != '\n') {
                    at += 1;
                }
            }
            '"' if letters[at..].starts_with(&['"', '"', '"']) => {
                let rest: String = letters[at + 3..].iter().collect();
                let end = rest.find("\"\"\"").ok_or("a block has no end")?;
                all.push(format!("\"{}", rest[..end].trim()));
                at += 6 + rest[..end].chars().count();
            }
            '"' => {
                let from = at;
                at += 1;
                while *letters.get(at).ok_or("a text has no end")? != '"' {
                    at += if letters[at] == '\\' { 2 } else { 1 };
                }
                at += 1;
                let json: String = letters[from..at].iter().collect();
                let text: String = serde_json::from_str(&json).map_err(|error| error.to_string())?;
                all.push(format!("\"{text}"));
            }
            '.' => {
                all.push("...".to_owned());
                at += 3;
            }
            letter if letter.is_ascii_alphanumeric() || letter == '_' || letter == '-' => {
                let from = at;
                let goes_on = |next: &char| next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.' | '+');
                while letters.get(at).is_some_and(goes_on) {
                    at += 1;
                }
                all.push(letters[from..at].iter().collect());
            }
            mark => {
                all.push(mark.to_string());
                at += 1;
            }
        }
    }
    Ok(all)
}

struct Reader<'a> {
    pieces: &'a [String],
    at: usize,
    variables: Map<String, Value>,
    /// Where each fragment's selections begin.
    fragments: BTreeMap<String, usize>,
}

/// What the document asks for: the operation of that name, or its only one.
pub fn asked(text: &str, variables: &Map<String, Value>, name: Option<&str>) -> Read<Asked> {
    let pieces = pieces(text)?;
    let mut reader = Reader { pieces: &pieces, at: 0, variables: variables.clone(), fragments: BTreeMap::new() };
    let mut operations = Vec::new();
    while reader.at < pieces.len() {
        let begins = reader.at;
        let kind = if reader.peek() == "{" { "query".to_owned() } else { reader.next()? };
        let named = if matches!(reader.peek(), "{" | "(" | "@") { String::new() } else { reader.next()? };
        while reader.peek() != "{" {
            reader.skip()?;
        }
        match kind.as_str() {
            "fragment" => drop(reader.fragments.insert(named, reader.at)),
            "query" | "mutation" => operations.push((kind, named, begins)),
            kind => return Err(format!("{kind} is no definition")),
        }
        reader.skip()?;
    }
    let wanted = |(_, named, _): &&(String, String, usize)| name.is_none_or(|name| name == named);
    let (kind, _, begins) = operations.iter().find(wanted).cloned().ok_or("no such operation")?;
    reader.at = begins;
    reader.defaults()?;
    Ok(Asked { is_mutation: kind == "mutation", fields: reader.selections()? })
}

impl Reader<'_> {
    fn peek(&self) -> &str {
        self.pieces.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> Read<String> {
        self.at += 1;
        self.pieces.get(self.at - 1).cloned().ok_or_else(|| "the document ends too soon".to_owned())
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.peek() == wanted;
        self.at += usize::from(found);
        found
    }

    /// Past one piece, or past all that stands in brackets.
    fn skip(&mut self) -> Read<()> {
        let mut depth = 0;
        loop {
            match self.next()?.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth <= 0 {
                return Ok(());
            }
        }
    }

    /// The defaults of the variables, up to the first selection.
    fn defaults(&mut self) -> Read<()> {
        while self.peek() != "{" {
            if self.next()? != "(" {
                continue;
            }
            while !self.takes(")") {
                if !self.takes("$") {
                    return Err("a variable is missing".to_owned());
                }
                let name = self.next()?;
                while !matches!(self.peek(), "$" | ")" | "=") {
                    self.next()?;
                }
                if self.takes("=") {
                    let value = self.value()?.unwrap_or_default();
                    self.variables.entry(name).or_insert(value);
                }
            }
        }
        Ok(())
    }

    fn selections(&mut self) -> Read<Vec<Selected>> {
        let mut all: Vec<Selected> = Vec::new();
        if !self.takes("{") {
            return Err("a selection is missing".to_owned());
        }
        while !self.takes("}") {
            if self.takes("...") {
                let named = match self.peek() {
                    "on" => {
                        self.at += 2;
                        None
                    }
                    "{" | "@" => None,
                    _ => Some(self.next()?),
                };
                let is_there = self.directives()?;
                let found = match named {
                    None => self.selections()?,
                    Some(name) => {
                        let back = self.at;
                        self.at = *self.fragments.get(&name).ok_or("no such fragment")?;
                        let found = self.selections()?;
                        self.at = back;
                        found
                    }
                };
                all.extend(found.into_iter().filter(|_| is_there));
                continue;
            }
            let first = self.next()?;
            let (key, name) = if self.takes(":") { (first, self.next()?) } else { (first.clone(), first) };
            let mut arguments = Map::new();
            if self.takes("(") {
                while !self.takes(")") {
                    let (name, value) = self.member()?;
                    arguments.extend(value.map(|value| (name, value)));
                }
            }
            let is_there = self.directives()?;
            let selections = if self.peek() == "{" { self.selections()? } else { Vec::new() };
            if is_there {
                all.push(Selected { key, name, arguments, selections });
            }
        }
        Ok(all)
    }

    fn directives(&mut self) -> Read<bool> {
        let mut is_there = true;
        while self.takes("@") {
            let name = self.next()?;
            if !self.takes("(") {
                continue;
            }
            while !self.takes(")") {
                let (_, value) = self.member()?;
                is_there &= match name.as_str() {
                    "skip" => value != Some(Value::Bool(true)),
                    "include" => value == Some(Value::Bool(true)),
                    _ => true,
                };
            }
        }
        Ok(is_there)
    }

    fn member(&mut self) -> Read<(String, Option<Value>)> {
        let name = self.next()?;
        if !self.takes(":") {
            return Err("a value is missing".to_owned());
        }
        Ok((name, self.value()?))
    }

    fn value(&mut self) -> Read<Option<Value>> {
        let piece = self.next()?;
        Ok(Some(match piece.as_str() {
            "$" => {
                let name = self.next()?;
                return Ok(self.variables.get(&name).cloned());
            }
            "[" => {
                let mut all = Vec::new();
                while !self.takes("]") {
                    all.push(self.value()?.unwrap_or_default());
                }
                Value::Array(all)
            }
            "{" => {
                let mut all = Map::new();
                while !self.takes("}") {
                    let (name, value) = self.member()?;
                    all.extend(value.map(|value| (name, value)));
                }
                Value::Object(all)
            }
            text if text.starts_with('"') => text[1..].into(),
            word => serde_json::from_str(word).unwrap_or_else(|_| word.into()),
        }))
    }
}
