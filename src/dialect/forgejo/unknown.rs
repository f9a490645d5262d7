//! Calls of the web interface that are not known: what a new version brings below an item passes, unless it names a
//! guarded form. The API has no such calls: there the unknown is refused.

use super::super::json::{fold_name, read_compared, shorten, whole_pairs};
use super::super::{Head, ParseError, form, multipart};
use super::encoding::{Encoding, encoding};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

/// Whether the path of a call that is not known speaks of a guarded field, or of the item as a whole.
pub fn path_names_guarded(reading: &[String]) -> bool {
    let speaks = |segment: &String| {
        let folded = fold_name(segment);
        GUARDED_WORDS.iter().chain(&["open", "close", "requestreview"]).any(|word| folded.contains(*word))
    };
    // Owner, repository, kind and number come before.
    let tail = reading.get(4..).unwrap_or_default();
    let whole = |segment: &String| matches!(segment.as_str(), "delete" | "transfer" | "move" | "convert");
    tail.first().is_some_and(whole) || tail.iter().any(speaks)
}

/// A call that is not known passes where no field of it is of a guarded form, whichever way it is read.
pub fn expect_no_guarded_name(head: &Head<'_>, body: &[u8]) -> Result<(), ParseError> {
    let mut names: Vec<String> = form::read_query(head.target.query())?.into_iter().map(|(name, _)| name).collect();
    names.extend(names_in(head.headers, body)?);
    match names.iter().find(|name| is_of_guarded_form(name)) {
        Some(name) => Err(ParseError::UnknownRoute(format!(
            "this call is not known to the gate, and its field `{}` may change guarded fields: use one of the tracker's \
             documented calls",
            shorten(name)
        ))),
        None => Ok(()),
    }
}

/// Every name that a reader of the body may find.
fn names_in(headers: &HeaderMap, body: &[u8]) -> Result<Vec<String>, ParseError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let first = |(name, _): (String, String)| name;
    if let Some(boundary) = headers.get(CONTENT_TYPE).and_then(|kind| multipart::boundary(kind.to_str().ok()?)) {
        return Ok(match multipart::read_fields(boundary, body) {
            Ok(fields) => fields.into_iter().map(first).collect(),
            // With files among them all of it is looked at as one text.
            Err(_) => vec![String::from_utf8_lossy(body).into_owned()],
        });
    }
    match encoding(headers)? {
        Encoding::Form => Ok(form::read_pairs(body)?.into_iter().map(first).collect()),
        Encoding::Multipart => Err(unsupported(SEND_FORM)),
        // Handlers of the web read JSON whatever it is called.
        Encoding::Json | Encoding::Unnamed => {
            let mut names = Vec::new();
            for member in read_compared(body, &[], &[])? {
                let value = serde_json::from_str(&whole_pairs(&member)).map_err(|_| unsupported(SEND_FORM))?;
                inner_names(&value, &mut names);
                names.push(member.name);
            }
            Ok(names)
        }
    }
}

fn inner_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            names.push(name.clone());
            inner_names(value, names);
        }),
        Value::Array(all) => all.iter().for_each(|value| inner_names(value, names)),
        _ => {}
    }
}

/// Whether the forms that change guarded fields have a field of this name, or one like it.
fn is_of_guarded_form(name: &str) -> bool {
    let folded = fold_name(name);
    let exact = folded.split('[').next().unwrap_or_default();
    GUARDED_WORDS.iter().any(|word| folded.contains(word))
        || matches!(exact, "id" | "ids" | "action" | "issues" | "open" | "close" | "closed" | "reopen")
}

/// Words of which the guarded forms' names are made.
const GUARDED_WORDS: [&str; 8] = ["assign", "issueid", "label", "status", "state", "reviewer", "project", "column"];

fn unsupported(text: &str) -> ParseError {
    ParseError::UnsupportedEncoding(text.to_owned())
}

const SEND_FORM: &str = "send a form with `Content-Type: application/x-www-form-urlencoded`";

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::super::call::Call;
    use super::super::routes::classify;
    use super::super::web;
    use super::*;
    use http::Method;

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";

    fn check(request: &str, kind: &str, body: &str, expected: Result<(), &str>) {
        let (target, mut headers) = (Target::parse(request), HeaderMap::new());
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        let head = Head { method: &Method::POST, target: &target, headers: &headers };
        let Call::Form(route) = classify(&head) else { panic!("{request} is no form") };
        assert!(route.is_unknown(), "{request}");
        match (web::parse(&route, &head, body.as_bytes()), expected) {
            (Ok(None), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{request} {body}: {error}"),
            (read, _) => panic!("{request} {body}: {read:?}"),
        }
    }

    #[test]
    fn what_is_not_known_passes_unless_it_names_a_guarded_form() {
        let multipart = "multipart/form-data; boundary=b";
        let part = |head: &str| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\nx\r\n--b--\r\n");
        let path = "/o/r/issues/7/a-new-button";
        for (kind, body) in [
            (FORM, "_csrf=t&content=the+state&position=3"),
            (FORM, ""),
            (JSON, r#"{"content":"close it","time":[{"estimate":"1h"}]}"#),
            (multipart, &part("name=\"note\"")),
            (multipart, &part("name=\"file\"; filename=\"x.png\"")),
        ] {
            check(path, kind, body, Ok(()));
        }
        check(&format!("{path}?page=2"), FORM, "", Ok(()));
        for (kind, body) in [
            (FORM, "content=x&issue_ids=7"),
            (FORM, "assignee_ids=5"),
            (FORM, "AssigneeIDs=5"),
            (FORM, "label_ids[]=5"),
            (FORM, "%73tatus=close"),
            (FORM, "action=attach"),
            (FORM, "id=5"),
            (FORM, "new_state=closed"),
            (JSON, r#"{"x":[{"issueID":7}]}"#),
            (JSON, r#"{"state":"closed"}"#),
            (multipart, &part("name=\"status\"")),
            (multipart, &part("name=\"file\"; filename=\"status.png\"")),
        ] {
            check(path, kind, body, Err("may change guarded fields"));
        }
        check(&format!("{path}?status=close"), FORM, "", Err("may change guarded fields"));
        check(path, "text/plain", "status=close", Err("application/json"));
        check(path, JSON, "[1]", Err("one JSON object"));
        check(path, FORM, "a=1;status=close", Err("two ways"));
    }
}
