//! A strict reader of `multipart/form-data`: plain fields only, as the forms of a web interface send them.
//!
//! Readers of multipart differ in what they forgive (boundaries, line ends, doubled names of a part, encodings). What is
//! not in the one plain form that browsers write is refused; files are refused too, since nothing guarded has one.

use super::ParseError;
use super::form::MOST_PAIRS;

/// The boundary, if the content type is multipart. The essence is compared without case.
pub fn boundary(content_type: &str) -> Option<&str> {
    let (essence, rest) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let (name, value) = rest.trim().split_once('=')?;
    let value = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(value);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let good = name.eq_ignore_ascii_case("boundary") && (1..=70).contains(&value.len()) && value.bytes().all(plain);
    good.then_some(value)
}

/// Reads the fields in order.
pub fn read_fields(boundary: &str, body: &[u8]) -> Result<Vec<(String, String)>, ParseError> {
    let text = std::str::from_utf8(body).map_err(|_| refuse("it is not UTF-8"))?;
    let delimiter = format!("--{boundary}");
    let mut rest =
        text.strip_prefix(delimiter.as_str()).ok_or_else(|| refuse("it does not begin with its boundary"))?;
    let inner = format!("\r\n{delimiter}");
    let mut fields = Vec::new();
    loop {
        if matches!(rest, "--" | "--\r\n") {
            return Ok(fields);
        }
        let part = rest.strip_prefix("\r\n").ok_or_else(|| refuse("a boundary does not stand on a line of its own"))?;
        let (part, after) = part.split_once(inner.as_str()).ok_or_else(|| refuse("it has no end"))?;
        if fields.len() == MOST_PAIRS {
            return Err(refuse("it has more than 1000 fields"));
        }
        fields.extend(field(part)?);
        rest = after;
    }
}

/// `None`: a file that was not chosen, which browsers send all the same.
fn field(part: &str) -> Result<Option<(String, String)>, ParseError> {
    let (head, value) = part.split_once("\r\n\r\n").ok_or_else(|| refuse("a part has no head"))?;
    if value.is_empty() && head.contains("; filename=\"\"") {
        return Ok(None);
    }
    let name = head
        .strip_prefix("Content-Disposition: form-data; name=\"")
        .or_else(|| head.strip_prefix("content-disposition: form-data; name=\""))
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|name| !name.contains('"'))
        .ok_or_else(|| refuse("a part is not a plain field (files belong into a request of their own)"))?;
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"%\\;".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(refuse("the name of a part can be read in two ways"));
    }
    if value.contains('\0') {
        return Err(refuse("a field has a NUL"));
    }
    Ok(Some((name.to_owned(), value.to_owned())))
}

fn refuse(why: &str) -> ParseError {
    ParseError::UnsupportedEncoding(format!("the multipart body is not read: {why}; send a urlencoded form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<&[(&str, &str)], &str>) {
        let body = body.replace('|', "\r\n");
        match (read_fields("X", body.as_bytes()), expected) {
            (Ok(fields), Ok(wanted)) => {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                assert_eq!(fields, wanted, "{body}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{body}: {error}"),
            (read, expected) => panic!("{body}: read {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn reads_plain_fields() {
        const A: &str = "|Content-Disposition: form-data; name=\"a\"||";
        check("--X--", Ok(&[]));
        check(&format!("--X{A}1|--X--|"), Ok(&[("a", "1")]));
        check(&format!("--X{A}|--X{A}x|y|--X--"), Ok(&[("a", ""), ("a", "x\r\ny")]));
        check(&format!("--X{A}1|--X"), Err("of its own"));
        check(&format!("--X{A}1|--XY--"), Err("of its own"));
        check(&format!("--X{A}1"), Err("no end"));
        check(&format!(" --X{A}1|--X--"), Err("begin"));
        check(&format!("--X{A}1|--X--|more"), Err("of its own"));
        check(
            &format!("--X{}|--X--", format!("{A}1|--X").repeat(MOST_PAIRS + 1).trim_end_matches("|--X")),
            Err("more than 1000"),
        );
        check("--X|Content-Disposition: form-data; name=\"a\"; filename=\"f\"||1|--X--", Err("plain field"));
        check("--X|Content-Disposition: form-data; name=\"a\"|Content-Type: text/plain||1|--X--", Err("plain field"));
        let no_file =
            "|Content-Disposition: form-data; name=\"f\"; filename=\"\"|Content-Type: application/octet-stream||";
        check(&format!("--X{A}1|--X{no_file}|--X--"), Ok(&[("a", "1")]));
        check("--X|Content-Disposition: form-data; name=\"a%22b\"||1|--X--", Err("two ways"));
        check("--X|Content-Disposition: form-data; name=a||1|--X--", Err("plain field"));
    }

    #[test]
    fn finds_the_boundary() {
        for (kind, expected) in [
            ("multipart/form-data; boundary=----WebKitFormBoundary7MA4", Some("----WebKitFormBoundary7MA4")),
            ("Multipart/Form-Data; boundary=\"x y\"", None),
            ("multipart/form-data; boundary=\"xy\"", Some("xy")),
            ("multipart/form-data; boundary=x; charset=utf-8", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=x", None),
            ("multipart/form-data; boundary=", None),
        ] {
            assert_eq!(boundary(kind), expected, "{kind}");
        }
    }
}
