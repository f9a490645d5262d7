//! A strict reader of `application/x-www-form-urlencoded` text: queries and form bodies.

use super::ParseError;
use percent_encoding::percent_decode;

/// Most pairs of a query or form: what is kept of one is many times as long as it is.
pub const MOST_PAIRS: usize = 1_000;

/// Reads the pairs in order. What two readers could take differently (`;`, broken escapes, text that is not UTF-8) is
/// refused.
pub fn read_pairs(raw: &[u8]) -> Result<Vec<(String, String)>, ParseError> {
    let pieces = || raw.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    if pieces().nth(MOST_PAIRS).is_some() {
        return Err(refuse(&format!("the query or form has more than {MOST_PAIRS} fields")));
    }
    pieces().map(read_pair).collect()
}

/// The pairs of a query; none where there is no query.
pub fn read_query(query: Option<&str>) -> Result<Vec<(String, String)>, ParseError> {
    read_pairs(query.unwrap_or_default().as_bytes())
}

fn read_pair(piece: &[u8]) -> Result<(String, String), ParseError> {
    if piece.contains(&b';') {
        return Err(refuse("a `;` in a query or form can be read in two ways: encode it as %3B"));
    }
    let (name, value) = match piece.iter().position(|byte| *byte == b'=') {
        Some(at) => (&piece[..at], &piece[at + 1..]),
        None => (piece, &[][..]),
    };
    Ok((decode(name)?, decode(value)?))
}

fn decode(text: &[u8]) -> Result<String, ParseError> {
    if has_broken_escape(text) {
        return Err(refuse("the query or form has a broken percent escape"));
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaced).decode_utf8().map_err(|_| refuse("the query or form is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(refuse("the query or form has a NUL"));
    }
    Ok(decoded.into_owned())
}

fn has_broken_escape(text: &[u8]) -> bool {
    let is_hex = |at: usize| text.get(at).is_some_and(u8::is_ascii_hexdigit);
    (0..text.len()).any(|at| text[at] == b'%' && !(is_hex(at + 1) && is_hex(at + 2)))
}

fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &[u8], expected: Result<&[(&str, &str)], &str>) {
        let shown = String::from_utf8_lossy(raw);
        match (read_pairs(raw), expected) {
            (Ok(pairs), Ok(wanted)) => {
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                assert_eq!(pairs, wanted, "{shown}");
                // What is accepted reads the same to the common library.
                let common: Vec<(String, String)> = form_urlencoded::parse(raw).into_owned().collect();
                let common: Vec<(&str, &str)> = common.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                assert_eq!(common, wanted, "{shown}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{shown}: {error}"),
            (read, expected) => panic!("{shown}: read {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn reads_pairs() {
        check(b"", Ok(&[]));
        check(b"&&", Ok(&[]));
        check(b"a=b&c", Ok(&[("a", "b"), ("c", "")]));
        check(b"a=1&a=2", Ok(&[("a", "1"), ("a", "2")]));
        check(b"a+b=c%20d%3Bx%26", Ok(&[("a b", "c d;x&")]));
        check(b"a=b=c", Ok(&[("a", "b=c")]));
        check(b"%61ssignees=x", Ok(&[("assignees", "x")]));
        check(b"a=b;c=d", Err("two ways"));
        check(b"a=%zz", Err("broken"));
        check(b"a=%2", Err("broken"));
        check(b"a%=1", Err("broken"));
        check(b"a=%ff", Err("UTF-8"));
        check(b"a=\xff", Err("UTF-8"));
        check(b"a=%00", Err("NUL"));
        assert_eq!(read_pairs("a&".repeat(MOST_PAIRS).as_bytes()).unwrap().len(), MOST_PAIRS);
        check("a&".repeat(MOST_PAIRS + 1).as_bytes(), Err("more than 1000 fields"));
    }
}
