//! A reader of GraphQL documents, as lenient as a server's parser is: what it does not read is an error of the request.

use serde_json::{Map, Value};

/// A value as it is written: variables are still names.
#[derive(Clone, Debug)]
pub enum Written {
    Variable(String),
    Plain(Value),
    List(Vec<Written>),
    Object(Vec<(String, Written)>),
}

#[derive(Clone, Debug)]
pub enum Selected {
    Field {
        key: String,
        name: String,
        arguments: Vec<(String, Written)>,
        within: Vec<Selected>,
        unless: Unless,
    },
    /// Inline, or what a spread stands for.
    Fragment {
        on: Option<String>,
        spread: Option<String>,
        within: Vec<Selected>,
        unless: Unless,
    },
}

/// `@include` and `@skip`: the values that keep it in, and leave it out.
pub type Unless = Vec<(bool, Written)>;

#[derive(Clone, Debug)]
pub struct Document {
    pub operations: Vec<Operation>,
    pub fragments: Vec<(String, String, Vec<Selected>)>,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub kind: String,
    pub name: Option<String>,
    pub defaults: Vec<(String, Written)>,
    pub within: Vec<Selected>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(String),
    Mark(char),
    Spread,
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

type Read<T> = Result<T, String>;

pub fn parse(text: &str) -> Read<Document> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0 };
    let mut document = Document { operations: Vec::new(), fragments: Vec::new() };
    while reader.at < reader.tokens.len() {
        if reader.is_name("fragment") {
            let name = reader.name()?;
            reader.expect_name("on")?;
            let on = reader.name()?;
            reader.directives()?;
            document.fragments.push((name, on, reader.selections()?));
        } else {
            document.operations.push(reader.operation()?);
        }
    }
    if document.operations.is_empty() { Err("there is no operation".to_owned()) } else { Ok(document) }
}

fn tokens(text: &str) -> Read<Vec<Token>> {
    let letters: Vec<char> = text.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(letter) = letters.get(at).copied() {
        let run = |from: usize, fits: fn(char) -> bool| {
            letters[from..].iter().take_while(|letter| fits(**letter)).collect::<String>()
        };
        match letter {
            ' ' | '\t' | '\r' | '\n' | ',' | '\u{feff}' => at += 1,
            '#' => at += run(at, |letter| letter != '\n').chars().count(),
            '.' => (at, found) = (at + 3, [found, vec![Token::Spread]].concat()),
            '"' => {
                let (text, next) = text_at(&letters, at)?;
                found.push(Token::Text(text));
                at = next;
            }
            '_' | 'a'..='z' | 'A'..='Z' => {
                let name = run(at, |letter| letter.is_ascii_alphanumeric() || letter == '_');
                at += name.chars().count();
                found.push(Token::Name(name));
            }
            '-' | '0'..='9' => {
                let number = run(at, |letter| letter.is_ascii_digit() || "-+.eE".contains(letter));
                at += number.chars().count();
                found.push(Token::Number(number));
            }
            '!' | '$' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '}' | '|' | '&' => {
                at += 1;
                found.push(Token::Mark(letter));
            }
            other => return Err(format!("Expected a token, actual: `{other}`")),
        }
    }
    Ok(found)
}

fn text_at(letters: &[char], at: usize) -> Read<(String, usize)> {
    let starts =
        |from: usize, with: &str| with.chars().enumerate().all(|(plus, one)| letters.get(from + plus) == Some(&one));
    if starts(at, "\"\"\"") {
        let end = (at + 3..letters.len()).find(|from| starts(*from, "\"\"\"")).ok_or("an open block string")?;
        let text: String = letters[at + 3..end].iter().collect();
        return Ok((text.trim().to_owned(), end + 3));
    }
    let (mut json, mut from) = (String::from("\""), at + 1);
    loop {
        match letters.get(from).ok_or("an open string")? {
            '\\' => {
                json.extend(letters.get(from..from + 2).ok_or("an open string")?);
                from += 2;
            }
            '"' => break,
            letter => {
                json.push(*letter);
                from += 1;
            }
        }
    }
    json.push('"');
    Ok((serde_json::from_str(&json).map_err(|error| error.to_string())?, from + 1))
}

impl Reader {
    fn next(&mut self) -> Read<Token> {
        let token = self.tokens.get(self.at).cloned().ok_or("the document ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn is_mark(&mut self, mark: char) -> bool {
        let is = self.tokens.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(is);
        is
    }

    fn is_name(&mut self, name: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Name(given)) if given == name);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, mark: char) -> Read<()> {
        if self.is_mark(mark) {
            Ok(())
        } else {
            Err(format!("Expected `{mark}`, actual: {:?}", self.tokens.get(self.at)))
        }
    }

    fn expect_name(&mut self, name: &str) -> Read<()> {
        if self.is_name(name) { Ok(()) } else { Err(format!("Expected `{name}`")) }
    }

    fn name(&mut self) -> Read<String> {
        match self.next()? {
            Token::Name(name) => Ok(name),
            other => Err(format!("Expected a name, actual: {other:?}")),
        }
    }

    fn operation(&mut self) -> Read<Operation> {
        let mut operation =
            Operation { kind: "query".to_owned(), name: None, defaults: Vec::new(), within: Vec::new() };
        if self.tokens.get(self.at) != Some(&Token::Mark('{')) {
            operation.kind = self.name()?;
            if let Some(Token::Name(_)) = self.tokens.get(self.at) {
                operation.name = Some(self.name()?);
            }
            if self.is_mark('(') {
                while !self.is_mark(')') {
                    self.expect('$')?;
                    let name = self.name()?;
                    self.expect(':')?;
                    self.type_of()?;
                    if self.is_mark('=') {
                        operation.defaults.push((name, self.value()?));
                    }
                    self.directives()?;
                }
            }
            self.directives()?;
        }
        operation.within = self.selections()?;
        Ok(operation)
    }

    fn type_of(&mut self) -> Read<()> {
        if self.is_mark('[') {
            self.type_of()?;
            self.expect(']')?;
        } else {
            self.name()?;
        }
        self.is_mark('!');
        Ok(())
    }

    fn selections(&mut self) -> Read<Vec<Selected>> {
        self.expect('{')?;
        let mut all = Vec::new();
        while !self.is_mark('}') {
            all.push(self.selection()?);
        }
        Ok(all)
    }

    fn selection(&mut self) -> Read<Selected> {
        if self.tokens.get(self.at) == Some(&Token::Spread) {
            self.at += 1;
            let on = if self.is_name("on") { Some(self.name()?) } else { None };
            let spread = match self.tokens.get(self.at) {
                Some(Token::Name(_)) if on.is_none() => Some(self.name()?),
                _ => None,
            };
            let unless = self.directives()?;
            let within = if spread.is_some() { Vec::new() } else { self.selections()? };
            return Ok(Selected::Fragment { on, spread, within, unless });
        }
        let first = self.name()?;
        let (key, name) = if self.is_mark(':') { (first, self.name()?) } else { (first.clone(), first) };
        let arguments = self.arguments()?;
        let unless = self.directives()?;
        let has_more = self.tokens.get(self.at) == Some(&Token::Mark('{'));
        let within = if has_more { self.selections()? } else { Vec::new() };
        Ok(Selected::Field { key, name, arguments, within, unless })
    }

    fn arguments(&mut self) -> Read<Vec<(String, Written)>> {
        let mut all = Vec::new();
        if self.is_mark('(') {
            while !self.is_mark(')') {
                let name = self.name()?;
                self.expect(':')?;
                all.push((name, self.value()?));
            }
        }
        Ok(all)
    }

    fn directives(&mut self) -> Read<Unless> {
        let mut all = Vec::new();
        while self.is_mark('@') {
            let name = self.name()?;
            let mut condition = self.arguments()?.into_iter().filter(|(name, _)| name == "if").map(|(_, value)| value);
            match (name.as_str(), condition.next()) {
                ("include", Some(condition)) => all.push((true, condition)),
                ("skip", Some(condition)) => all.push((false, condition)),
                _ => {}
            }
        }
        Ok(all)
    }

    fn value(&mut self) -> Read<Written> {
        Ok(match self.next()? {
            Token::Mark('$') => Written::Variable(self.name()?),
            Token::Text(text) => Written::Plain(text.into()),
            Token::Number(number) => Written::Plain(serde_json::from_str(&number).map_err(|error| error.to_string())?),
            Token::Name(name) => Written::Plain(match name.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                "null" => Value::Null,
                _ => name.into(),
            }),
            Token::Mark('[') => {
                let mut items = Vec::new();
                while !self.is_mark(']') {
                    items.push(self.value()?);
                }
                Written::List(items)
            }
            Token::Mark('{') => {
                let mut members = Vec::new();
                while !self.is_mark('}') {
                    let name = self.name()?;
                    self.expect(':')?;
                    members.push((name, self.value()?));
                }
                Written::Object(members)
            }
            other => return Err(format!("Expected a value, actual: {other:?}")),
        })
    }
}

impl Written {
    /// With these variables; none where one has no value.
    pub fn with(&self, variables: &Map<String, Value>) -> Option<Value> {
        Some(match self {
            Self::Variable(name) => variables.get(name)?.clone(),
            Self::Plain(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.with(variables).unwrap_or(Value::Null)).collect(),
            Self::Object(members) => {
                let members = members.iter().filter_map(|(name, value)| Some((name.clone(), value.with(variables)?)));
                Value::Object(members.collect())
            }
        })
    }
}
