//! What a request asks for: its method, the form of its answer, and its parameters, however they are encoded (manual: redmine,
//! sections 2 and 3).
//!
//! Redmine forgives nearly everything. What is read here has one reading, by whichever version; the rest is refused, and a
//! guarded write is written anew from what was read.

use super::super::json::{read_object, shorten};
use super::super::{Head, ParseError, form, multipart};
use super::xml;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};

/// The parameters, by their names.
pub type Parameters = Map<String, Value>;

/// A request as Redmine hands it to one of its controllers.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The method that counts: a form or a header can override a `POST`.
    pub method: Method,
    /// In which form it is answered.
    pub format: AnswerFormat,
    /// The query over the body, by whole members; without what the path says.
    pub members: Parameters,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// A call of the API, as JSON.
    Json,
    /// A call of the API, as XML.
    Xml,
    /// A page of the web interface.
    Page,
}

/// How a body is read.
enum BodyEncoding<'a> {
    Nothing,
    Json,
    Xml,
    Form,
    Multipart(&'a str),
}

// === impl AnswerFormat ===

impl AnswerFormat {
    /// Of a path that ends so; `None`: that is told by the parameter `format`.
    pub fn of_suffix(suffix: Option<&str>) -> Option<Self> {
        match suffix? {
            "json" => Some(Self::Json),
            "xml" => Some(Self::Xml),
            _ => Some(Self::Page),
        }
    }

    /// The end of a path that is answered so.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Json => ".json",
            Self::Xml => ".xml",
            Self::Page => "",
        }
    }

    fn of_parameter(members: &Parameters) -> Result<Self, ParseError> {
        match members.get("format") {
            None => Ok(Self::Page),
            Some(Value::String(text)) if text == "json" => Ok(Self::Json),
            Some(Value::String(text)) if text == "xml" => Ok(Self::Xml),
            Some(_) => Err(refuse("the parameter `format` is neither json nor xml")),
        }
    }
}

// === impl ReadRequest ===

impl ReadRequest {
    /// Reads a request whose path ends in this suffix.
    pub fn read(head: &Head<'_>, body: &[u8], suffix: Option<&str>) -> Result<Self, ParseError> {
        expect_dashes(head.headers)?;
        let encoding = encoding(head, body)?;
        let is_form = matches!(encoding, BodyEncoding::Form | BodyEncoding::Multipart(_));
        let mut members = match encoding {
            BodyEncoding::Nothing => Parameters::new(),
            BodyEncoding::Json => read_json(body)?,
            BodyEncoding::Xml => xml::read(body)?,
            BodyEncoding::Form => nested(form::read_pairs(expect_values(body)?)?)?,
            BodyEncoding::Multipart(boundary) => nested(multipart::read_fields(boundary, body)?)?,
        };
        let method = method(head, if is_form { members.remove("_method") } else { None })?;
        let query = head.target.query().unwrap_or_default();
        members.extend(nested(form::read_pairs(expect_values(query.as_bytes())?)?)?);
        let format = match AnswerFormat::of_suffix(suffix) {
            Some(format) => format,
            None => AnswerFormat::of_parameter(&members)?,
        };
        // What the path says wins.
        for name in ["format", "controller", "action"] {
            members.remove(name);
        }
        Ok(Self { method, format, members })
    }

    /// Takes out the fields of an item; none: nothing is asked of it.
    pub fn take_issue(&mut self) -> Result<Parameters, ParseError> {
        match self.members.remove("issue") {
            None | Some(Value::Null) => Ok(Parameters::new()),
            Some(Value::Object(members)) => Ok(members),
            Some(_) => Err(refuse("`issue` must be an object with the fields of the issue")),
        }
    }
}

/// The parameters alone, without regard to the method: for what a credential is looked for in.
pub fn members(head: &Head<'_>, body: &[u8]) -> Result<Parameters, ParseError> {
    ReadRequest::read(head, body, Some("json")).map(|asked| asked.members)
}

// === the method ===

/// `Rack::MethodOverride`: of a `POST` alone, by a form's `_method` or else by the header. One of the two is enough.
fn method(head: &Head<'_>, by_form: Option<Value>) -> Result<Method, ParseError> {
    if *head.method != Method::POST {
        return Ok(head.method.clone());
    }
    let by_header = one(head.headers, &OVERRIDE)?;
    let wanted = match (by_form, by_header) {
        (None, None) => return Ok(Method::POST),
        (Some(Value::String(text)), None) | (None, Some(text)) => text,
        (Some(_), None) => return Err(refuse("`_method` must be a text")),
        (Some(_), Some(_)) => return Err(refuse("the form and the header each name another method: name one")),
    };
    match wanted.to_ascii_uppercase().as_str() {
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "POST" => Ok(Method::POST),
        _ => Err(refuse(&format!("a POST cannot be made a `{}`: send that method itself", shorten(&wanted)))),
    }
}

/// The one line of this header.
pub fn one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, ParseError> {
    let mut lines = headers.get_all(name).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(refuse(&format!("the header `{name}` is given twice: send it once")));
    }
    let text = first.to_str().map_err(|_| refuse(&format!("the header `{name}` is no text")))?;
    Ok(Some(text.to_owned()))
}

/// Redmine's server takes a header with underscores for the one with dashes.
pub fn expect_dashes(headers: &HeaderMap) -> Result<(), ParseError> {
    let odd = headers.keys().find(|name| {
        let is_watched = || WATCHED_HEADERS.contains(&name.as_str().replace('_', "-").as_str());
        name.as_str().contains('_') && is_watched()
    });
    match odd {
        Some(name) => Err(refuse(&format!("the header `{name}` may be read as another: write it with dashes"))),
        None => Ok(()),
    }
}

// === the body ===

fn encoding<'h>(head: &Head<'h>, body: &[u8]) -> Result<BodyEncoding<'h>, ParseError> {
    let is_plain = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if !head.headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Err(unsupported("a compressed body is not read on this call: send it without Content-BodyEncoding"));
    }
    if body.is_empty() {
        return Ok(BodyEncoding::Nothing);
    }
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    let kind = match (types.next(), types.next()) {
        (Some(kind), None) => kind.to_str().map_err(|_| unsupported(SEND_JSON))?,
        // Rack takes the body of a POST for a form.
        (None, _) if *head.method == Method::POST => return Ok(BodyEncoding::Form),
        _ => return Err(unsupported(SEND_JSON)),
    };
    let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    let encoding = match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" | "text/x-json" | "application/jsonrequest" => BodyEncoding::Json,
        "application/xml" | "text/xml" | "application/x-xml" => BodyEncoding::Xml,
        "application/x-www-form-urlencoded" => BodyEncoding::Form,
        _ => return multipart::boundary(kind).map(BodyEncoding::Multipart).ok_or_else(|| unsupported(SEND_JSON)),
    };
    let charset = parameters.trim().to_ascii_lowercase();
    if matches!(charset.as_str(), "" | "charset=utf-8" | "charset=\"utf-8\"") {
        Ok(encoding)
    } else {
        Err(unsupported("the body must be UTF-8, without other parameters in its Content-Type"))
    }
}

/// What has two readings is refused: names twice, with escapes, or in another case.
fn read_json(body: &[u8]) -> Result<Parameters, ParseError> {
    let members = read_object(body, &["issue", "relation", "key", "format", "conflict_resolution"])?;
    for member in members.iter().filter(|member| member.name == "issue" && member.value.get().starts_with('{')) {
        read_object(member.value.get().as_bytes(), FIELDS)?;
    }
    let value = |member: &super::super::json::Member| serde_json::from_str(member.value.get());
    let read = members.iter().map(|member| Ok((member.name.clone(), value(member)?)));
    read.collect::<Result<_, serde_json::Error>>().map_err(|_| unsupported(SEND_JSON))
}

/// A name of `issue` without a value is no value, while an empty one clears: who leaves it out may mean either.
fn expect_values(raw: &[u8]) -> Result<&[u8], ParseError> {
    let lacks = raw.split(|byte| *byte == b'&').any(|pair| !pair.contains(&b'=') && pair.starts_with(b"issue"));
    if lacks { Err(refuse("a field of `issue` has no value: write `=` after its name")) } else { Ok(raw) }
}

// === nested parameters ===

/// `a[b][c]=d`, as Rack nests it where it is written plainly. The last of two equal names wins, but for those on which a
/// decision rests.
fn nested(pairs: Vec<(String, String)>) -> Result<Parameters, ParseError> {
    let mut all = Parameters::new();
    for (name, value) in pairs {
        let path = path_of(&name).ok_or_else(|| {
            refuse(&format!("the field `{}` can be read in two ways: write it as a[b]", shorten(&name)))
        })?;
        put(&mut all, &name, &path, value)?;
    }
    Ok(all)
}

/// `a`, `b`, and an empty one for `[]` at the end.
fn path_of(name: &str) -> Option<Vec<&str>> {
    let is_plain = |key: &str| !key.contains(['[', ']', '\0']) && key.trim() == key;
    let (key, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    if key.is_empty() || !is_plain(key) {
        return None;
    }
    let mut path = vec![key];
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('[')?.split_once(']')?;
        let is_list = key.is_empty() && after.is_empty();
        if path.len() == DEEPEST || !is_plain(key) || (key.is_empty() && !is_list) {
            return None;
        }
        path.push(key);
        rest = after;
    }
    Some(path)
}

fn put(all: &mut Parameters, name: &str, path: &[&str], value: String) -> Result<(), ParseError> {
    let both = || refuse(&format!("the field `{}` is both a text and something else", shorten(name)));
    match path {
        [key] => {
            let before = all.insert((*key).to_owned(), value.clone().into());
            let is_decisive = FIELDS.contains(key) || matches!(*key, "key" | "format" | "_method" | "id");
            match before {
                Some(Value::String(before)) if is_decisive && before != value => {
                    Err(refuse(&format!("the field `{}` is given twice: send it once", shorten(name))))
                }
                None | Some(Value::String(_)) => Ok(()),
                Some(_) => Err(both()),
            }
        }
        [key, ""] => {
            let list = all.entry(*key).or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut().ok_or_else(both)?.push(value.into());
            Ok(())
        }
        [key, rest @ ..] => {
            let inner = all.entry(*key).or_insert_with(|| Value::Object(Parameters::new()));
            put(inner.as_object_mut().ok_or_else(both)?, name, rest, value)
        }
        [] => Ok(()),
    }
}

pub(super) fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}

fn unsupported(text: &str) -> ParseError {
    ParseError::UnsupportedEncoding(text.to_owned())
}

/// Fields of an issue on which a decision rests.
pub(super) const FIELDS: &[&str] = &["assigned_to_id", "status_id", "project_id", "tracker_id", "notes"];
/// Brackets in one name.
const DEEPEST: usize = 8;
const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// Headers that decide who asks, and for what.
const WATCHED_HEADERS: [&str; 8] = [
    "authorization",
    "content-encoding",
    "content-type",
    "cookie",
    "x-csrf-token",
    "x-http-method-override",
    "x-redmine-api-key",
    "x-redmine-switch-user",
];
const SEND_JSON: &str = "send one JSON object with `Content-Type: application/json`";

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;

    /// `request`: method, target, and headers after ` | `.
    fn check(request: &str, kind: &str, body: &str, expected: Result<&str, &str>) {
        let mut lines = request.split(" | ");
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        let lines = lines.map(|line| line.split_once(": ").unwrap());
        for (name, value) in lines.chain((!kind.is_empty()).then_some(("content-type", kind))) {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let target = Target::parse(target);
        let head = Head { method: &method.parse().unwrap(), target: &target, headers: &headers };
        let suffix = target.path().rsplit_once('.').map(|(_, suffix)| suffix);
        match (ReadRequest::read(&head, body.as_bytes(), suffix), expected) {
            (Ok(asked), Ok(wanted)) => {
                let shown = format!("{} {:?} {}", asked.method, asked.format, Value::Object(asked.members));
                assert_eq!(shown, wanted, "{request} {body}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{request} {body}: {error}"),
            (read, _) => panic!("{request} {body}: {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_body_has_one_reading() {
        const J: &str = "application/json";
        const F: &str = "application/x-www-form-urlencoded";
        let put = "PUT /issues/7.json";
        check(put, J, r#"{"issue":{"a":1}}"#, Ok(r#"PUT Json {"issue":{"a":1}}"#));
        check(put, "Text/X-JSON; charset=UTF-8", r#"{"a":[1]}"#, Ok(r#"PUT Json {"a":[1]}"#));
        check(put, "text/xml", "<issue><a>1</a></issue>", Ok(r#"PUT Json {"issue":{"a":"1"}}"#));
        check(
            put,
            F,
            "issue[a]=1&issue[b][]=2&issue[b][]=3&x=y",
            Ok(r#"PUT Json {"issue":{"a":"1","b":["2","3"]},"x":"y"}"#),
        );
        check("PUT /issues/7.xml", F, "issue%5Ba%5D[b]=1+2", Ok(r#"PUT Xml {"issue":{"a":{"b":"1 2"}}}"#));
        check("PUT /issues/7", J, r#"{"format":"json","b":1}"#, Ok(r#"PUT Json {"b":1}"#));
        check("PUT /issues/7?format=xml", J, r#"{"format":"json"}"#, Ok("PUT Xml {}"));
        check("PUT /issues/7", J, "{}", Ok("PUT Page {}"));
        check(put, "", "", Ok("PUT Json {}"));
        check(put, "text/plain", "", Ok("PUT Json {}"));
        check(
            "PUT /issues/7.json?issue[a]=5",
            J,
            r#"{"issue":{"b":2},"c":3}"#,
            Ok(r#"PUT Json {"issue":{"a":"5"},"c":3}"#),
        );
        check(put, F, "issue[a]=0&issue[a]=1", Ok(r#"PUT Json {"issue":{"a":"1"}}"#));
        for (kind, body, why) in [
            (J, r#"{"issue":{"status_id":1,"status_id":2}}"#, "twice"),
            (J, r#"{"issue":1,"issue":2}"#, "twice"),
            (J, r#"{"Issue":{}}"#, "spell it exactly"),
            (J, r#"{"issue":{"StatusId":2}}"#, "spell it exactly"),
            (J, r#"{"iss\u0075e":{}}"#, "escape"),
            (J, r#"/* x */{"issue":{}}"#, "beginning with"),
            (J, "[]", "beginning with"),
            ("application/json; charset=utf-16", "{}", "UTF-8"),
            ("application/json, text/x", "{}", "send one JSON"),
            ("text/plain", "{}", "send one JSON"),
            ("", "{}", "send one JSON"),
            ("multipart/mixed; boundary=X", "--X--", "send one JSON"),
            (F, "issue[status_id]=1&issue[status_id]=2", "given twice"),
            (F, "issue[status_id=1", "two ways"),
            (F, "[issue][status_id]=1", "two ways"),
            (F, "]issue[status_id]=1", "two ways"),
            (F, "issue[status_id]x=1", "two ways"),
            (F, "a=b& issue[status_id]=1", "two ways"),
            (F, "issue[][status_id]=1", "two ways"),
            (F, "a=1;issue[status_id]=1", "two ways"),
            (F, "issue=x&issue[status_id]=1", "both"),
            (F, "issue[assigned_to_id]", "no value"),
        ] {
            check(put, kind, body, Err(why));
        }
    }

    #[test]
    fn one_method_counts() {
        const F: &str = "application/x-www-form-urlencoded";
        let post = "POST /issues/7.json";
        let by_header = "POST /issues/7.json | x-http-method-override: put";
        check(post, F, "_method=PaTCh&a=b", Ok(r#"PATCH Json {"a":"b"}"#));
        check(post, "", "_method=delete", Ok("DELETE Json {}"));
        check(by_header, "application/json", r#"{"_method":"get"}"#, Ok(r#"PUT Json {"_method":"get"}"#));
        check("PUT /issues/7.json | x-http-method-override: GET", "", "", Ok("PUT Json {}"));
        check("POST /issues/7.json?_method=put", "", "", Ok(r#"POST Json {"_method":"put"}"#));
        check(by_header, F, "_method=put", Err("name one"));
        check(post, F, "_method=get", Err("cannot be made"));
        check(post, F, "_method=", Err("cannot be made"));
        check(post, F, "_method[]=put", Err("must be a text"));
        check(post, F, "_method=get&_method=put", Err("given twice"));
        check(
            "POST /issues/7.json | x-http-method-override: PUT | x-http-method-override: PUT",
            "",
            "",
            Err("given twice"),
        );
        check("POST /issues/7.json | x_http_method_override: PUT", "", "", Err("dashes"));
        check("PUT /issues/7.json | content-encoding: gzip", "application/json", "{}", Err("compressed"));
    }
}
