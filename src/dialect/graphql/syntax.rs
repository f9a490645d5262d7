//! A document as it was written: its operations and fragments (GraphQL specification, section 2).
//!
//! Only what can be executed is read; a document that defines types is refused. Nothing is compared with a schema: trackers
//! accept documents that a validator of today would not.

use super::super::ParseError;
use super::lexer::{Lexer, Token, malformed};
use std::collections::BTreeSet;

/// A document.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) operations: Vec<Operation>,
    pub(super) fragments: Vec<Fragment>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationKind {
    Query,
    Mutation,
    Subscription,
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) kind: OperationKind,
    pub(super) name: Option<String>,
    pub(super) variables: Vec<VariableDefinition>,
    pub(super) directives: Vec<Directive>,
    pub(super) selections: Vec<Selection>,
}

#[derive(Clone, Debug)]
pub(super) struct VariableDefinition {
    pub(super) name: String,
    /// As written: `[String!]!`.
    pub(super) of_type: String,
    pub(super) default: Option<Literal>,
    pub(super) directives: Vec<Directive>,
}

#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) name: String,
    pub(super) on: String,
    pub(super) directives: Vec<Directive>,
    pub(super) selections: Vec<Selection>,
}

/// `@include(if: $it)`
#[derive(Clone, Debug, PartialEq)]
pub struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<(String, Literal)>,
}

/// One line of a selection set.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// A field.
    Field(FieldSelection),
    /// `...Named`
    Spread {
        /// The fragment.
        name: String,
        /// Whether it is there.
        directives: Vec<Directive>,
    },
    /// `... on Type { }`
    Inline {
        /// Of this type alone.
        on: Option<String>,
        /// Whether it is there.
        directives: Vec<Directive>,
        /// What it selects.
        selections: Vec<Selection>,
    },
}

/// A field as it is selected.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSelection {
    /// By which the answer names it.
    pub alias: Option<String>,
    /// The field.
    pub name: String,
    /// With these arguments.
    pub arguments: Vec<(String, Literal)>,
    /// Whether it is there.
    pub directives: Vec<Directive>,
    /// What is selected of it.
    pub selections: Vec<Selection>,
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `$name`
    Variable(String),
    /// As written.
    Int(String),
    /// As written.
    Float(String),
    /// Decoded.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`
    Null,
    /// A bare word.
    Enum(String),
    /// `[…]`
    List(Vec<Literal>),
    /// `{…}`
    Object(Vec<(String, Literal)>),
}

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Document, ParseError> {
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    let mut parser = Parser { lexer, next, depth: 0 };
    let mut document = Document::default();
    while parser.next.is_some() {
        parser.definition(&mut document)?;
    }
    if document.operations.is_empty() {
        return Err(malformed("it has no operation"));
    }
    let names = document.operations.iter().map(|operation| operation.name.as_deref().unwrap_or_default());
    expect_unique("operation", names)?;
    if document.operations.len() > 1 && document.operations.iter().any(|operation| operation.name.is_none()) {
        return Err(malformed("an operation without a name stands beside another"));
    }
    expect_unique("fragment", document.fragments.iter().map(|fragment| fragment.name.as_str()))?;
    Ok(document)
}

/// Selection sets, lists, objects and types within each other. A tracker's own limit lies below.
const DEEPEST: usize = 64;

struct Parser<'a> {
    lexer: Lexer<'a>,
    next: Option<Token>,
    depth: usize,
}

type ParseResult<T> = Result<T, ParseError>;

// === impl Parser ===

impl Parser<'_> {
    fn definition(&mut self, document: &mut Document) -> ParseResult<()> {
        if self.is_mark('{') {
            let selections = self.selection_set()?;
            let (kind, name, variables, directives) = (OperationKind::Query, None, Vec::new(), Vec::new());
            document.operations.push(Operation { kind, name, variables, directives, selections });
            return Ok(());
        }
        let kind = match self.name()?.as_str() {
            "query" => OperationKind::Query,
            "mutation" => OperationKind::Mutation,
            "subscription" => OperationKind::Subscription,
            "fragment" => {
                document.fragments.push(self.fragment()?);
                return Ok(());
            }
            _ => return Err(malformed("a definition is neither an operation nor a fragment")),
        };
        let name = if matches!(self.next, Some(Token::Name(_))) { Some(self.name()?) } else { None };
        let variables = self.variable_definitions()?;
        let directives = self.directives()?;
        let selections = self.selection_set()?;
        document.operations.push(Operation { kind, name, variables, directives, selections });
        Ok(())
    }

    fn fragment(&mut self) -> ParseResult<Fragment> {
        let name = self.name()?;
        if name == "on" || self.name()? != "on" {
            return Err(malformed("a fragment has no type"));
        }
        let on = self.name()?;
        let directives = self.directives()?;
        Ok(Fragment { name, on, directives, selections: self.selection_set()? })
    }

    fn variable_definitions(&mut self) -> ParseResult<Vec<VariableDefinition>> {
        let mut all: Vec<VariableDefinition> = Vec::new();
        if !self.takes('(')? {
            return Ok(all);
        }
        loop {
            self.expect('$')?;
            let name = self.name()?;
            self.expect(':')?;
            let of_type = self.of_type()?;
            let default = if self.takes('=')? { Some(self.value(true)?) } else { None };
            let directives = self.directives()?;
            all.push(VariableDefinition { name, of_type, default, directives });
            if self.takes(')')? {
                break;
            }
        }
        expect_unique("variable", all.iter().map(|it| it.name.as_str()))?;
        Ok(all)
    }

    fn of_type(&mut self) -> ParseResult<String> {
        let mut text = if self.takes('[')? {
            self.enter()?;
            let inner = self.of_type()?;
            self.depth -= 1;
            self.expect(']')?;
            format!("[{inner}]")
        } else {
            self.name()?
        };
        if self.takes('!')? {
            text.push('!');
        }
        Ok(text)
    }

    fn directives(&mut self) -> ParseResult<Vec<Directive>> {
        let mut all = Vec::new();
        while self.takes('@')? {
            let name = self.name()?;
            all.push(Directive { name, arguments: self.arguments()? });
        }
        Ok(all)
    }

    fn arguments(&mut self) -> ParseResult<Vec<(String, Literal)>> {
        if !self.takes('(')? {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        loop {
            all.push(self.named_value(false)?);
            if self.takes(')')? {
                break;
            }
        }
        expect_unique("argument", all.iter().map(|(name, _)| name.as_str()))?;
        Ok(all)
    }

    fn named_value(&mut self, is_constant: bool) -> ParseResult<(String, Literal)> {
        let name = self.name()?;
        self.expect(':')?;
        Ok((name, self.value(is_constant)?))
    }

    fn selection_set(&mut self) -> ParseResult<Vec<Selection>> {
        self.expect('{')?;
        self.enter()?;
        let mut all = Vec::new();
        loop {
            all.push(self.selection()?);
            if self.takes('}')? {
                break;
            }
        }
        self.depth -= 1;
        Ok(all)
    }

    fn selection(&mut self) -> ParseResult<Selection> {
        if self.next != Some(Token::Spread) {
            return self.field().map(Selection::Field);
        }
        self.advance()?;
        let mut on = None;
        if matches!(self.next, Some(Token::Name(_))) {
            let name = self.name()?;
            if name != "on" {
                return Ok(Selection::Spread { name, directives: self.directives()? });
            }
            on = Some(self.name()?);
        }
        let directives = self.directives()?;
        Ok(Selection::Inline { on, directives, selections: self.selection_set()? })
    }

    fn field(&mut self) -> ParseResult<FieldSelection> {
        let first = self.name()?;
        let (alias, name) = if self.takes(':')? { (Some(first), self.name()?) } else { (None, first) };
        let arguments = self.arguments()?;
        let directives = self.directives()?;
        let selections = if self.is_mark('{') { self.selection_set()? } else { Vec::new() };
        Ok(FieldSelection { alias, name, arguments, directives, selections })
    }

    fn value(&mut self, is_constant: bool) -> ParseResult<Literal> {
        let wrong = || malformed("a value is missing");
        Ok(match self.advance()?.ok_or_else(wrong)? {
            Token::Mark('$') if !is_constant => Literal::Variable(self.name()?),
            Token::Int(text) => Literal::Int(text),
            Token::Float(text) => Literal::Float(text),
            Token::Text(text) => Literal::Text(text),
            Token::Name(word) => match word.as_str() {
                "true" => Literal::Boolean(true),
                "false" => Literal::Boolean(false),
                "null" => Literal::Null,
                _ => Literal::Enum(word),
            },
            Token::Mark('[') => {
                self.enter()?;
                let mut items = Vec::new();
                while !self.takes(']')? {
                    items.push(self.value(is_constant)?);
                }
                self.depth -= 1;
                Literal::List(items)
            }
            Token::Mark('{') => {
                self.enter()?;
                let mut members = Vec::new();
                while !self.takes('}')? {
                    members.push(self.named_value(is_constant)?);
                }
                self.depth -= 1;
                expect_unique("member", members.iter().map(|(name, _)| name.as_str()))?;
                Literal::Object(members)
            }
            Token::Mark(_) | Token::Spread => return Err(wrong()),
        })
    }

    // === tokens ===

    fn advance(&mut self) -> ParseResult<Option<Token>> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn is_mark(&self, mark: char) -> bool {
        self.next == Some(Token::Mark(mark))
    }

    fn takes(&mut self, mark: char) -> ParseResult<bool> {
        let is_next = self.is_mark(mark);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn expect(&mut self, mark: char) -> ParseResult<()> {
        if self.takes(mark)? { Ok(()) } else { Err(malformed(format!("a `{mark}` is missing"))) }
    }

    fn name(&mut self) -> ParseResult<String> {
        match self.advance()? {
            Some(Token::Name(name)) => Ok(name),
            _ => Err(malformed("a name is missing")),
        }
    }

    fn enter(&mut self) -> ParseResult<()> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(malformed(format!("it is nested more than {DEEPEST} deep"))) } else { Ok(()) }
    }
}

fn expect_unique<'n>(what: &str, names: impl Iterator<Item = &'n str>) -> Result<(), ParseError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let name: String = name.chars().take(40).collect();
            return Err(malformed(format!("the {what} `{name}` stands twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read() {
        let text = r#"
            query Q($a: [Int!]! = [1, 2] @d, $b: In = {x: "y", z: E}) @live { a: b(c: $a, d: -1.5) { ...F ... @skip(if: true) { e } ... on T { f } } }
            fragment F on T @x { g }
            mutation { m }
        "#;
        let error = parse(text).unwrap_err();
        assert!(error.to_string().contains("without a name"), "{error}");
        let document = parse(&text.replace("mutation", "mutation M")).unwrap();
        assert_eq!((document.operations.len(), document.fragments.len()), (2, 1));
        let first = &document.operations[0];
        assert_eq!(first.variables[0].of_type, "[Int!]!");
        let member = ("x".to_owned(), Literal::Text("y".to_owned()));
        let word = ("z".to_owned(), Literal::Enum("E".to_owned()));
        assert_eq!(first.variables[1].default, Some(Literal::Object(vec![member, word])));
        let Selection::Field(field) = &first.selections[0] else { panic!("{first:?}") };
        assert_eq!((field.alias.as_deref(), field.name.as_str(), field.selections.len()), (Some("a"), "b", 3));
        assert_eq!(parse("{ a }").unwrap().operations[0].kind, OperationKind::Query);
        assert_eq!(parse("{ query mutation fragment on: on }").unwrap().operations.len(), 1);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in [
            "",
            "#",
            "{",
            "{}",
            "{ a",
            "{ a } }",
            "mutation",
            "mutation M",
            "mutation M() { a }",
            "{ a() }",
            "{ a(b) }",
            "{ a(b:) }",
            "{ a(b: 1 b: 2) }",
            "{ a(b: {c: 1, c: 1}) }",
            "mutation($a: X $a: X) { a }",
            "type A { b: C }",
            "fragment on on T { a } { a }",
            "fragment F { a } { a }",
            "fragment F on T { a }",
            "{ ...on }",
            "fragment F on T { a } fragment F on T { a } { ...F }",
            "query A { a } query A { a }",
            "\"d\" query { a }",
            "mutation($a: X = $b) { a }",
            "{ a(b: $) }",
            "{ a: }",
            "{ a(b: [1) }",
            "extend schema { query: Q }",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "{ a ".repeat(depth), "}".repeat(depth));
        assert!(parse(&nested(DEEPEST)).is_ok());
        assert!(parse(&nested(DEEPEST + 1)).is_err());
        for open in ["{ a(b: ", "query($a: "] {
            assert!(parse(&format!("{open}{}", "[".repeat(9_000))).is_err());
        }
        assert!(parse(&format!("{{ a(b: {} }}", "{c:".repeat(9_000))).is_err());
    }
}
