//! The tokens of a document (GraphQL specification, section 2.1). What the lexer of graphql-js refuses is refused here.

use super::super::ParseError;
use std::iter::Peekable;
use std::str::CharIndices;

/// One token, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `!`, `$`, `(`, `)`, `:`, `=`, `@`, `[`, `]`, `{` or `}`.
    Mark(char),
    /// `...`
    Spread,
    Name(String),
    /// As written.
    Int(String),
    /// As written.
    Float(String),
    /// A string or block string, decoded.
    Text(String),
}

/// Reads a document's tokens one after another, and no more of them than it may have.
pub(super) struct Lexer<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    count: usize,
}

/// A document of a client's has some hundred.
pub(super) const MOST_TOKENS: usize = 20_000;

/// A document that cannot be read.
pub(super) fn malformed(why: impl std::fmt::Display) -> ParseError {
    ParseError::Ambiguous(format!("the GraphQL document cannot be read: {why}"))
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text.char_indices().peekable(), count: 0 }
    }

    /// The next token; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Token>, ParseError> {
        self.skip_ignored();
        let Some((at, letter)) = self.rest.next() else { return Ok(None) };
        self.count += 1;
        if self.count > MOST_TOKENS {
            return Err(malformed(format!("it has more than {MOST_TOKENS} tokens")));
        }
        let token = match letter {
            '!' | '$' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '}' => Token::Mark(letter),
            '.' if self.takes("..") => Token::Spread,
            '"' if self.takes("\"\"") => self.block_string(at + 3)?,
            '"' => self.string()?,
            '-' | '0'..='9' => self.number(at)?,
            letter if is_name_start(letter) => Token::Name(self.word(at).to_owned()),
            letter => return Err(malformed(format!("there is an unexpected {letter:?}"))),
        };
        Ok(Some(token))
    }

    fn skip_ignored(&mut self) {
        while let Some((_, letter)) = self.rest.peek() {
            match letter {
                '\u{FEFF}' | '\t' | ' ' | '\n' | '\r' | ',' => {}
                '#' => {
                    while self.rest.next_if(|(_, letter)| !matches!(letter, '\n' | '\r')).is_some() {}
                    continue;
                }
                _ => return,
            }
            self.rest.next();
        }
    }

    /// Takes this text, if it is next.
    fn takes(&mut self, wanted: &str) -> bool {
        let Some((at, _)) = self.rest.peek() else { return false };
        if !self.text[*at..].starts_with(wanted) {
            return false;
        }
        let end = *at + wanted.len();
        while self.rest.next_if(|(at, _)| *at < end).is_some() {}
        true
    }

    fn offset(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn word(&mut self, from: usize) -> &'a str {
        while self.rest.next_if(|(_, letter)| is_name_start(*letter) || letter.is_ascii_digit()).is_some() {}
        let end = self.offset();
        &self.text[from..end]
    }

    fn number(&mut self, from: usize) -> Result<Token, ParseError> {
        let mut is_float = false;
        let digits = |lexer: &mut Self| {
            let mut count = 0;
            while lexer.rest.next_if(|(_, letter)| letter.is_ascii_digit()).is_some() {
                count += 1;
            }
            count
        };
        let first = digits(self);
        if self.rest.next_if(|(_, letter)| *letter == '.').is_some() {
            is_float = true;
            if digits(self) == 0 {
                return Err(malformed("a number has nothing after its point"));
            }
        }
        if self.rest.next_if(|(_, letter)| matches!(letter, 'e' | 'E')).is_some() {
            is_float = true;
            self.rest.next_if(|(_, letter)| matches!(letter, '+' | '-'));
            if digits(self) == 0 {
                return Err(malformed("a number has no exponent"));
            }
        }
        let end = self.offset();
        let text = &self.text[from..end];
        let whole = text.strip_prefix('-').unwrap_or(text);
        let has_digits = first > 0 || whole.starts_with(|letter: char| letter.is_ascii_digit());
        let zero_first = whole.starts_with('0') && whole[1..].starts_with(|letter: char| letter.is_ascii_digit());
        let runs_on = self.rest.peek().is_some_and(|(_, next)| *next == '.' || is_name_start(*next));
        if !has_digits || zero_first || runs_on {
            return Err(malformed(format!("{:?} is no number", shorten(text))));
        }
        Ok(if is_float { Token::Float(text.to_owned()) } else { Token::Int(text.to_owned()) })
    }

    fn string(&mut self) -> Result<Token, ParseError> {
        let mut decoded = String::new();
        loop {
            match self.rest.next() {
                Some((_, '"')) => return Ok(Token::Text(decoded)),
                None | Some((_, '\n' | '\r')) => return Err(malformed("a string has no end")),
                Some((_, '\\')) => decoded.push(self.escape()?),
                Some((_, letter)) if is_source(letter) => decoded.push(letter),
                Some((_, letter)) => return Err(malformed(format!("there is a {letter:?} in a string"))),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let plain = match self.rest.next() {
            Some((_, letter @ ('"' | '\\' | '/'))) => letter,
            Some((_, 'b')) => '\u{8}',
            Some((_, 'f')) => '\u{c}',
            Some((_, 'n')) => '\n',
            Some((_, 'r')) => '\r',
            Some((_, 't')) => '\t',
            Some((_, 'u')) => return self.unicode(),
            _ => return Err(malformed("a string has an unknown escape")),
        };
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, ParseError> {
        let wrong = || malformed("a string has an escape that is no character");
        if self.takes("{") {
            let mut value: u32 = 0;
            let mut digits = 0;
            while let Some((_, digit)) = self.rest.next_if(|(_, letter)| letter.is_ascii_hexdigit()) {
                value = value.saturating_mul(16).saturating_add(digit.to_digit(16).unwrap_or_default());
                digits += 1;
            }
            let closed = self.takes("}");
            return char::from_u32(value).filter(|_| closed && digits > 0).ok_or_else(wrong);
        }
        match self.four_digits().ok_or_else(wrong)? {
            high @ 0xD800..=0xDBFF if self.takes("\\u") => match self.four_digits() {
                Some(low @ 0xDC00..=0xDFFF) => {
                    char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)).ok_or_else(wrong)
                }
                _ => Err(wrong()),
            },
            value => char::from_u32(value).ok_or_else(wrong),
        }
    }

    fn four_digits(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let (_, digit) = self.rest.next_if(|(_, letter)| letter.is_ascii_hexdigit())?;
            value = value * 16 + digit.to_digit(16)?;
        }
        Some(value)
    }

    fn block_string(&mut self, from: usize) -> Result<Token, ParseError> {
        let mut end = from;
        loop {
            let left = &self.text[end..];
            if left.starts_with("\"\"\"") {
                break;
            }
            // An escaped end of the string.
            end += match left.chars().next() {
                Some('\\') if left.starts_with("\\\"\"\"") => 4,
                Some(letter) if is_source(letter) || matches!(letter, '\n' | '\r') => letter.len_utf8(),
                Some(letter) => return Err(malformed(format!("there is a {letter:?} in a block string"))),
                None => return Err(malformed("a block string has no end")),
            };
        }
        let raw = self.text[from..end].replace("\\\"\"\"", "\"\"\"");
        while self.rest.next_if(|(at, _)| *at < end + 3).is_some() {}
        Ok(Token::Text(dedent(&raw)))
    }
}

/// The text of a block string without the indentation that all of its lines but the first share, and without blank lines at
/// either end (section 2.9.4, `BlockStringValue`).
fn dedent(raw: &str) -> String {
    let raw = raw.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = raw.split('\n').collect();
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let is_blank = |line: &&str| indent(line) == line.len();
    let common = lines.iter().skip(1).filter(|line| !is_blank(line)).map(|line| indent(line)).min().unwrap_or(0);
    let Some(first) = lines.iter().position(|line| !is_blank(line)) else { return String::new() };
    let last = lines.iter().rposition(|line| !is_blank(line)).unwrap_or(first);
    let cut = |(at, line): (usize, &&str)| {
        if at == 0 { (*line).to_owned() } else { line.get(common..).unwrap_or_default().to_owned() }
    };
    let kept: Vec<String> = lines.iter().enumerate().map(cut).collect();
    kept[first..=last].join("\n")
}

fn is_name_start(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphabetic()
}

/// Whether a string may have it as it is.
fn is_source(letter: char) -> bool {
    letter == '\t' || letter >= ' '
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
        let mut lexer = Lexer::new(text);
        let mut all = Vec::new();
        while let Some(token) = lexer.next()? {
            all.push(token);
        }
        Ok(all)
    }

    fn decoded(text: &str) -> Option<String> {
        match tokens(text).ok()?.as_slice() {
            [Token::Text(decoded)] => Some(decoded.clone()),
            _ => None,
        }
    }

    #[test]
    fn strings_are_decoded_as_graphql_js_decodes_them() {
        for (text, wanted) in [
            (r#""""#, ""),
            (r#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u0041\uD83D\uDE00\u{1F600}""#, "A\u{1f600}\u{1f600}"),
            ("\"tab\there\"", "tab\there"),
            (r#""""one""""#, "one"),
            ("\"\"\"\n    a\n      b\n\n    c\n  \"\"\"", "a\n  b\n\nc"),
            (r#""""a \""" b \n""""#, "a \"\"\" b \\n"),
            ("\"\"\"\n \t\n\"\"\"", ""),
            ("\"\"\"  x\r\n    y\r  z\"\"\"", "  x\n  y\nz"),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(wanted), "{text}");
        }
        for text in [
            "\"",
            "\"a\nb\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\uD83D""#,
            r#""\uDE00""#,
            r#""\u{110000}""#,
            r#""\u{}""#,
            "\"\"\"a",
            "\"\u{1}\"",
        ] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_graphql_js_reads_them() {
        for text in ["0", "-0", "12", "-9"] {
            assert_eq!(tokens(text), Ok(vec![Token::Int(text.to_owned())]));
        }
        for text in ["0.5", "1e3", "-1.5E-2", "0e+1"] {
            assert_eq!(tokens(text), Ok(vec![Token::Float(text.to_owned())]));
        }
        for text in ["00", "01", "-", "+1", "1.", ".5", "1e", "1a", "1.2.3", "0x1", "1_0", "-a"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_lies_between_tokens_is_ignored() {
        let wanted = vec![Token::Mark('{'), Token::Name("a".to_owned()), Token::Spread, Token::Name("b".to_owned())];
        assert_eq!(tokens("\u{FEFF}{ ,,a # }\r\n\t...b"), Ok(wanted));
        assert!(tokens("{ a .. b }").is_err());
        assert!(tokens("a & b").is_err());
        assert!(tokens("a\u{0}").is_err());
        assert!(tokens("\u{e4}").is_err());
    }

    #[test]
    fn tokens_are_bounded() {
        assert!(tokens(&"a ".repeat(MOST_TOKENS)).is_ok());
        assert!(tokens(&"a ".repeat(MOST_TOKENS + 1)).is_err());
    }
}
