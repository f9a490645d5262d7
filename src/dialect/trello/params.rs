//! The parameters of a request, from its query and its body (manual: trello, section 2).
//!
//! Trello takes each of them in either place. One that is decisive has one value in one place; the rest is refused.

use super::super::json::{fold_name, read_object, shorten};
use super::super::{Head, ParseError, form, multipart};
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};

/// The parameters, each where it stands.
#[derive(Clone, Default)]
pub struct Params {
    /// Of the query, in order.
    pub query: Vec<(String, String)>,
    /// Of the body.
    pub body: BodyParams,
}

/// What a body carries.
#[derive(Clone, Default)]
pub enum BodyParams {
    /// There is none.
    #[default]
    Nothing,
    /// One object.
    Json(Map<String, Value>),
    /// A form.
    Form(Vec<(String, String)>),
    /// A form with a file perhaps, which is not written anew.
    Multipart(Vec<(String, String)>),
}

// === impl Params ===

impl Params {
    /// Reads both. What could be read in two ways is refused.
    pub fn read(head: &Head<'_>, body: &[u8]) -> Result<Self, ParseError> {
        let params = Self { query: head.target.pairs()?, body: BodyParams::read(head, body)? };
        params.expect_plain_names()?;
        Ok(params)
    }

    /// Of the query alone.
    pub fn of_query(head: &Head<'_>) -> Result<Self, ParseError> {
        let params = Self { query: head.target.pairs()?, body: BodyParams::Nothing };
        params.expect_plain_names()?;
        Ok(params)
    }

    /// The one value of a parameter, taken out.
    pub fn take(&mut self, name: &str) -> Result<Option<Value>, ParseError> {
        let found = self.look(name)?;
        self.query.retain(|(key, _)| !is_named(key, name));
        match &mut self.body {
            BodyParams::Nothing => {}
            BodyParams::Json(members) => drop(members.shift_remove(name)),
            BodyParams::Form(pairs) | BodyParams::Multipart(pairs) => pairs.retain(|(key, _)| !is_named(key, name)),
        }
        Ok(found)
    }

    /// The one value of a parameter.
    pub fn look(&self, name: &str) -> Result<Option<Value>, ParseError> {
        let in_query = one_of(&self.query, name)?;
        let in_body = match &self.body {
            BodyParams::Nothing => None,
            BodyParams::Json(members) => members.get(name).cloned(),
            BodyParams::Form(pairs) | BodyParams::Multipart(pairs) => one_of(pairs, name)?,
        };
        match (in_query, in_body) {
            (Some(_), Some(_)) => Err(twice(name)),
            (one, other) => Ok(one.or(other)),
        }
    }

    /// Whether there is such a parameter.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|key| is_named(key, name))
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let in_body: Vec<&str> = match &self.body {
            BodyParams::Nothing => Vec::new(),
            BodyParams::Json(members) => members.keys().map(String::as_str).collect(),
            BodyParams::Form(pairs) | BodyParams::Multipart(pairs) => {
                pairs.iter().map(|(key, _)| key.as_str()).collect()
            }
        };
        self.query.iter().map(|(key, _)| key.as_str()).chain(in_body)
    }

    /// Adds one, in the body if there is one.
    pub fn put(&mut self, name: &str, value: Value) {
        let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &mut self.body {
            BodyParams::Json(members) => drop(members.insert(name.to_owned(), value)),
            BodyParams::Form(pairs) => pairs.push((name.to_owned(), text())),
            BodyParams::Nothing | BodyParams::Multipart(_) => self.query.push((name.to_owned(), text())),
        }
    }

    /// A decisive name that is not spelled so is one to some readers, and none to others.
    fn expect_plain_names(&self) -> Result<(), ParseError> {
        let wrong = |name: &str| {
            let stem = name.split(['[', '.', '{']).next().unwrap_or_default();
            let meant = WATCHED.iter().find(|watched| fold_name(stem.trim()) == fold_name(watched));
            let exact = |watched: &str| is_named(name, watched);
            meant.is_some_and(|watched| !exact(watched)) || name.contains('{') || name.starts_with("_method")
        };
        match self.names().find(|name| wrong(name)) {
            Some(name) => Err(refuse(&format!(
                "the parameter `{}` may be read as another: spell it exactly, and send the method itself",
                shorten(name)
            ))),
            None => Ok(()),
        }
    }
}

/// `idMembers`, or `idMembers[]` for one of several.
fn is_named(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest == "[]")
}

fn one_of(pairs: &[(String, String)], name: &str) -> Result<Option<Value>, ParseError> {
    let found: Vec<&(String, String)> = pairs.iter().filter(|(key, _)| is_named(key, name)).collect();
    match &found[..] {
        [] => Ok(None),
        all if all.iter().all(|(key, _)| key.ends_with("[]")) => {
            Ok(Some(all.iter().map(|(_, value)| Value::from(value.as_str())).collect()))
        }
        [(_, value)] => Ok(Some(value.as_str().into())),
        _ => Err(twice(name)),
    }
}

fn twice(name: &str) -> ParseError {
    refuse(&format!("the parameter `{name}` is given twice: send it once, in the query or in the body"))
}

// === impl BodyParams ===

impl BodyParams {
    fn read(head: &Head<'_>, body: &[u8]) -> Result<Self, ParseError> {
        let is_plain = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
        if !head.headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
            return Err(unsupported("a compressed body is not read on this call: send it without Content-Encoding"));
        }
        if body.is_empty() {
            return Ok(Self::Nothing);
        }
        let mut types = head.headers.get_all(CONTENT_TYPE).iter();
        let (Some(kind), None) = (types.next(), types.next()) else { return Err(unsupported(SEND_JSON)) };
        let kind = kind.to_str().map_err(|_| unsupported(SEND_JSON))?;
        let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        let parameters = parameters.trim().to_ascii_lowercase();
        let is_utf8 = matches!(parameters.as_str(), "" | "charset=utf-8" | "charset=\"utf-8\"");
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" if is_utf8 => read_json(body),
            "application/x-www-form-urlencoded" if is_utf8 => form::read_pairs(body).map(Self::Form),
            "multipart/form-data" => {
                let boundary = multipart::boundary(kind).ok_or_else(|| unsupported(SEND_JSON))?;
                multipart::read_fields(boundary, body).map(Self::Multipart)
            }
            _ => Err(unsupported(SEND_JSON)),
        }
    }
}

fn read_json(body: &[u8]) -> Result<BodyParams, ParseError> {
    let members = read_object(body, WATCHED)?;
    let value = |member: &super::super::json::Member| serde_json::from_str(member.value.get());
    let read = members.iter().map(|member| Ok((member.name.clone(), value(member)?)));
    let read: Result<_, serde_json::Error> = read.collect();
    read.map(BodyParams::Json).map_err(|_| unsupported(SEND_JSON))
}

pub(super) fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}

pub(super) fn unsupported(text: &str) -> ParseError {
    ParseError::UnsupportedEncoding(text.to_owned())
}

/// Parameters on which a decision rests.
const WATCHED: &[&str] = &["idMembers", "idList", "idBoard", "closed", "value", "key", "token"];
pub(super) const SEND_JSON: &str = "send one JSON object with `Content-Type: application/json`, or a urlencoded form";

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::{HeaderMap, Method};

    /// What is found of `idList` and `idMembers`, and what is left.
    fn check(query: &str, kind: &str, body: &str, expected: Result<&str, &str>) {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        }
        let target = Target::parse(&format!("/1/cards/AbCd1234{query}"));
        let head = Head { method: &Method::PUT, target: &target, headers: &headers };
        let read = Params::read(&head, body.as_bytes()).and_then(|mut params| {
            let (list, members) = (params.take("idList")?, params.take("idMembers")?);
            let left: Vec<&str> = params.names().collect();
            let text = |value: Option<Value>| value.unwrap_or_default().to_string();
            Ok(format!("{} {} {}", text(list), text(members), left.join(",")))
        });
        match (read, expected) {
            (Ok(shown), Ok(wanted)) => assert_eq!(shown, wanted, "{query} {body}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{query} {body}: {error}"),
            (read, _) => panic!("{query} {body}: {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_parameter_has_one_value_in_one_place() {
        const J: &str = "application/json";
        const F: &str = "application/x-www-form-urlencoded";
        check("?idList=a&name=n", "", "", Ok(r#""a" null name"#));
        check("?pos=top", J, r#"{"idList":"a","idMembers":["b"],"due":null}"#, Ok(r#""a" ["b"] pos,due"#));
        check("", "application/json; charset=UTF-8", r#"{"idList":"a"}"#, Ok(r#""a" null "#));
        check("", F, "idList=a&idMembers%5B%5D=b&idMembers[]=c", Ok(r#""a" ["b","c"] "#));
        check("?idMembers=b%2Cc", F, "name=x", Ok(r#"null "b,c" name"#));
        for (query, kind, body, why) in [
            ("?idList=a&idList=a", "", "", "given twice"),
            ("?idList=a", J, r#"{"idList":"a"}"#, "given twice"),
            ("?idList=a", F, "idList=a", "given twice"),
            ("", F, "idList=a&idList=b", "given twice"),
            ("", F, "idMembers=a&idMembers[]=b", "given twice"),
            ("", J, r#"{"idList":"a","idList":"b"}"#, "twice"),
            ("", J, r#"{"idlist":"a"}"#, "spell it exactly"),
            ("", J, r#"{"idL\u0069st":"a"}"#, "escape"),
            ("?idlist=a", "", "", "spell it exactly"),
            ("?idList%20=a", "", "", "spell it exactly"),
            ("?id_list=a", "", "", "spell it exactly"),
            ("?idList[0]=a", "", "", "spell it exactly"),
            ("?idMembers[a]=a", "", "", "spell it exactly"),
            ("?a=1;idList=b", "", "", "two ways"),
            ("?_method=DELETE", "", "", "method itself"),
            ("", F, r#"{"idList":"a"}"#, "spell it exactly"),
            ("", "", "idList=a", "send one JSON"),
            ("", "text/plain", "{}", "send one JSON"),
            ("", "application/json; charset=utf-16", "{}", "send one JSON"),
            ("", J, "[]", "beginning with"),
        ] {
            check(query, kind, body, Err(why));
        }
        let headers: HeaderMap = [(CONTENT_ENCODING, "gzip".parse().unwrap())].into_iter().collect();
        let target = Target::parse("/1/cards/AbCd1234");
        let head = Head { method: &Method::PUT, target: &target, headers: &headers };
        assert!(Params::read(&head, b"").is_err());
    }
}
