//! The forms of the web interface that change guarded fields (manual: forgejo, sections 1.8 and 3.1).
//!
//! They name issues by global id, several at once, and some of them toggle: what they do depends on what the tracker
//! shows when it carries them out. Parameters come in the body or in the query, first one first; here each may be given
//! once. The sender is the session's cookie, and nothing else: the tracker ignores tokens on these paths.

use super::super::json::{Member, fold_name, read_compared, shorten};
use super::super::{Head, ParseError, Sender, Subject, form, multipart};
use super::encoding::{Encoding, encoding};
use super::form_write::{FormWants, FormWrite, Rest, label_change};
use super::path_names::plain_number;
use super::unknown::expect_no_guarded_name;
use super::web_form::{FormRoute, WebAct, WebForm};
use crate::model::{Change, OpenState, ResourceKey, SetChange};
use http::header::{CONTENT_TYPE, COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use std::collections::BTreeSet;

/// Reads the form.
pub fn parse(route: &FormRoute, head: &Head<'_>, body: &[u8]) -> Result<Option<FormWrite>, ParseError> {
    let form = &route.form;
    if form.act == WebAct::Unknown {
        return expect_no_guarded_name(head, body).map(|()| None);
    }
    let mut rest = match form.act {
        WebAct::MoveCards => Fields::Members(json(head, body, &["issues"])?),
        WebAct::Comment if encoding(head.headers) == Ok(Encoding::Json) => {
            Fields::Members(json(head, body, &["content", "status"])?)
        }
        _ => Fields::Pairs(pairs(head, body)?),
    };
    rest.spelled(form.act.watched())?;
    let sender = sender(head.headers, rest.take("_csrf")?)?;
    let Some((subject, wants)) = understand(form, &mut rest)? else { return Ok(None) };
    let page = route.project.clone();
    Ok(Some(FormWrite { page, subject, wants, sender, form: form.clone(), rest: rest.into() }))
}

// === what a form wants ===

/// Which items, and what of them; `None` where nothing guarded is asked for.
fn understand(form: &WebForm, fields: &mut Fields) -> Result<Option<(Subject, FormWants)>, ParseError> {
    let subject = match form.act {
        WebAct::Comment | WebAct::DeleteOne => Subject::At(form.address()?),
        WebAct::New | WebAct::Compare => Subject::New(form.project()),
        WebAct::Unknown => return Ok(None),
        WebAct::MoveCards => Subject::Keys(cards(fields)?),
        WebAct::MoveCard => Subject::Keys(BTreeSet::from([key(form.number(2)?)])),
        _ => Subject::Keys(keys(&fields.take("issue_ids")?.unwrap_or_default())?),
    };
    let wants = match form.act {
        WebAct::Assignee => Some(assignee(fields)?),
        WebAct::Labels => Some(labels(fields)?),
        WebAct::Status => Some(status(fields)?),
        WebAct::Comment => comment(fields)?,
        WebAct::New | WebAct::Compare => creation(form, fields)?,
        WebAct::Projects => {
            let id = fields.number("id")?;
            fields.put("id", id.to_string());
            Some(beside(format!("project={id}"), true))
        }
        WebAct::RequestReview => Some(review(fields)?),
        WebAct::Delete | WebAct::DeleteOne => Some(beside("delete".to_owned(), true)),
        WebAct::Unknown => None,
        WebAct::MoveCards | WebAct::MoveCard => {
            Some(beside(format!("column={} of project {}", form.number(1)?, form.number(0)?), true))
        }
    };
    Ok(wants.map(|wants| (subject, wants)))
}

fn assignee(fields: &mut Fields) -> Result<FormWants, ParseError> {
    let action = fields.take("action")?.unwrap_or_default();
    let joins = match action.as_str() {
        "clear" => {
            fields.take("id")?;
            let change = Change { assignees: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() };
            return Ok(FormWants::Change(change));
        }
        // The tracker toggles whatever the action says; what was said is what was meant.
        "attach" => Some(true),
        "detach" => Some(false),
        "" | "toggle" => None,
        _ => return Err(unknown("action", "attach, detach or clear")),
    };
    Ok(FormWants::Assignee { user: fields.number("id")?, joins })
}

fn labels(fields: &mut Fields) -> Result<FormWants, ParseError> {
    let action = fields.take("action")?.unwrap_or_default();
    if action == "clear" {
        fields.take("id")?;
        let change = Change { labels: Some(SetChange::Replace(BTreeSet::new())), ..Change::default() };
        return Ok(FormWants::Change(change));
    }
    let label = fields.number("id")?;
    match action.as_str() {
        "attach" => Ok(FormWants::Change(label_change(label, true))),
        "detach" | "toggle-alt" => Ok(FormWants::Change(label_change(label, false))),
        "toggle" => Ok(FormWants::ToggleLabel(label)),
        _ => Err(unknown("action", "attach, detach, toggle or clear")),
    }
}

/// Most versions take anything but `close` to mean open.
fn status(fields: &mut Fields) -> Result<FormWants, ParseError> {
    let state = match fields.take("action")?.as_deref() {
        Some("close") => OpenState::Closed,
        Some("open" | "reopen") => OpenState::Open,
        _ => return Err(unknown("action", "open or close")),
    };
    Ok(FormWants::Change(Change { state: Some(state), ..Change::default() }))
}

fn comment(fields: &mut Fields) -> Result<Option<FormWants>, ParseError> {
    let state = match fields.take("status")?.as_deref() {
        None | Some("") => return Ok(None),
        Some("close") => OpenState::Closed,
        Some("reopen") => OpenState::Open,
        Some(_) => return Err(unknown("status", "close or reopen")),
    };
    Ok(Some(FormWants::Change(Change { state: Some(state), ..Change::default() })))
}

fn review(fields: &mut Fields) -> Result<FormWants, ParseError> {
    let id = fields.take("id")?.unwrap_or_default();
    // A team is a negative number.
    let plain = plain_number(id.strip_prefix('-').unwrap_or(&id)).is_some();
    let action = fields.take("action")?.unwrap_or_default();
    let sign = match action.as_str() {
        "attach" if plain => "+=",
        "detach" if plain => "-=",
        _ => return Err(unknown("action", "attach or detach, with the number of a user or team")),
    };
    let what = format!("reviewers{sign}[user #{id}]");
    fields.put("id", id);
    fields.put("action", action);
    Ok(beside(what, false))
}

/// A new item with assignees; without, it is nobody's and goes on as it came.
fn creation(form: &WebForm, fields: &mut Fields) -> Result<Option<FormWants>, ParseError> {
    let mut users = BTreeSet::new();
    for name in ["assignee_ids", "assignee_id"] {
        let Some(text) = fields.take(name)? else { continue };
        for id in text.split(',').filter(|id| !matches!(*id, "" | "0")) {
            users.insert(plain_number(id).ok_or_else(|| unknown(name, "a list of numbers of users"))?);
        }
        fields.put(name, text);
    }
    let names: Vec<String> = users.iter().map(|id| format!("user #{id}")).collect();
    let what = format!("create in {}/{}: assignees=[{}]", form.owner, form.repo, names.join(", "));
    Ok((!users.is_empty()).then(|| beside(what, false)))
}

fn beside(what: String, moves: bool) -> FormWants {
    FormWants::Beside { what, moves }
}

/// Comma-separated global ids, each once.
fn keys(text: &str) -> Result<BTreeSet<ResourceKey>, ParseError> {
    let ids = text.split(',').filter(|id| !id.is_empty());
    let ids: Option<BTreeSet<u64>> = ids.map(plain_number).collect();
    let ids = ids.ok_or_else(|| unknown("issue_ids", "a list of whole numbers with commas between them"))?;
    enough(ids.len())?;
    Ok(ids.into_iter().map(key).collect())
}

/// The cards of a column, as its page sends them all.
fn cards(fields: &Fields) -> Result<BTreeSet<ResourceKey>, ParseError> {
    let wrong = || unknown("issues", "a list of objects with `issueID` and `sorting`");
    let Fields::Members(members) = fields else { return Err(wrong()) };
    let issues = members.iter().find(|member| member.name == "issues").ok_or_else(wrong)?;
    let Ok(Value::Array(issues)) = serde_json::from_str(issues.value.get()) else { return Err(wrong()) };
    enough(issues.len())?;
    let exact = |card: &serde_json::Map<String, Value>| {
        card.keys().all(|name| matches!(name.as_str(), "issueID" | "sorting")) && card.len() <= 2
    };
    let id = |card: &Value| card.as_object().filter(|card| exact(card))?.get("issueID")?.as_u64();
    issues.iter().map(|card| id(card).map(key)).collect::<Option<_>>().ok_or_else(wrong)
}

fn enough(count: usize) -> Result<(), ParseError> {
    match count {
        0 => Err(refuse("the form names no item")),
        1..=MOST_ITEMS => Ok(()),
        _ => Err(refuse(format!("one form may name {MOST_ITEMS} items at most"))),
    }
}

fn key(id: u64) -> ResourceKey {
    ResourceKey::new(&id.to_string())
}

// === fields ===

/// The fields of a form, in order.
enum Fields {
    Pairs(Vec<(String, String)>),
    Members(Vec<Member>),
}

impl Fields {
    /// Takes out the one value of this name.
    fn take(&mut self, name: &str) -> Result<Option<String>, ParseError> {
        match self {
            Self::Pairs(pairs) => {
                let Some(at) = pairs.iter().position(|(given, _)| given == name) else { return Ok(None) };
                let (_, value) = pairs.remove(at);
                if pairs.iter().any(|(given, _)| given == name) {
                    return Err(refuse(format!("`{name}` is given twice")));
                }
                Ok(Some(value))
            }
            Self::Members(members) => {
                let Some(at) = members.iter().position(|member| member.name == name) else { return Ok(None) };
                match serde_json::from_str(members.remove(at).value.get()) {
                    Ok(Value::String(text)) => Ok(Some(text)),
                    Ok(Value::Null) => Ok(None),
                    _ => Err(unknown(name, "a text")),
                }
            }
        }
    }

    fn number(&mut self, name: &str) -> Result<u64, ParseError> {
        let text = self.take(name)?.unwrap_or_default();
        plain_number(&text).ok_or_else(|| unknown(name, "a plain whole number"))
    }

    fn put(&mut self, name: &str, value: String) {
        match self {
            Self::Pairs(pairs) => pairs.push((name.to_owned(), value)),
            Self::Members(members) => members.push(Member::new(name, &Value::from(value))),
        }
    }

    /// Whether a watched name stands in no other spelling.
    fn spelled(&self, watched: &[&str]) -> Result<(), ParseError> {
        let Self::Pairs(pairs) = self else { return Ok(()) };
        let odd = |name: &&str| {
            watched
                .iter()
                .any(|exact| exact != name && fold_name(exact) == fold_name(name.strip_suffix("[]").unwrap_or(name)))
        };
        match pairs.iter().map(|(name, _)| name.as_str()).find(odd) {
            Some(name) => {
                Err(refuse(format!("the field `{}` may be read in two ways: spell it exactly", shorten(name))))
            }
            None => Ok(()),
        }
    }
}

impl From<Fields> for Rest {
    fn from(fields: Fields) -> Self {
        match fields {
            Fields::Pairs(pairs) => Self::Pairs(pairs),
            Fields::Members(members) => Self::Members(members),
        }
    }
}

/// Body first, then query, as the tracker merges them.
pub(super) fn pairs(head: &Head<'_>, body: &[u8]) -> Result<Vec<(String, String)>, ParseError> {
    let mut pairs = match content_type(head.headers) {
        Some(kind) if multipart::boundary(kind).is_some() => {
            multipart::read_fields(multipart::boundary(kind).unwrap_or_default(), body)?
        }
        _ => match encoding(head.headers)? {
            _ if body.is_empty() => Vec::new(),
            Encoding::Form => form::read_pairs(body)?,
            Encoding::Json | Encoding::Multipart | Encoding::Unnamed => return Err(unsupported(SEND_FORM)),
        },
    };
    pairs.extend(form::read_query(head.target.query())?);
    Ok(pairs)
}

fn json(head: &Head<'_>, body: &[u8], watched: &[&str]) -> Result<Vec<Member>, ParseError> {
    if encoding(head.headers)? != Encoding::Json {
        return Err(unsupported("send one JSON object with `Content-Type: application/json`"));
    }
    if !form::read_query(head.target.query())?.is_empty() {
        return Err(refuse("a query has no place here: leave it out"));
    }
    read_compared(body, watched, watched)
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    types.next().filter(|_| types.next().is_none()).and_then(|value| value.to_str().ok())
}

// === the sender ===

/// The session's cookie and the proof that the form is the user's own, in the header whichever way it came.
pub(super) fn sender(headers: &HeaderMap, csrf: Option<String>) -> Result<Sender, ParseError> {
    let mut sender = Sender::default();
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.is_empty() {
        return Ok(sender);
    }
    let cookies = cookies.join(&b"; "[..]);
    sender.session.add(COOKIE, lasting(&cookies));
    sender.credential.add(COOKIE, cookies);
    let mut given = headers.get_all(CSRF).iter();
    match (given.next(), given.next(), csrf) {
        (Some(_), Some(_), _) => return Err(refuse("the header `X-Csrf-Token` is given twice")),
        (Some(token), None, _) => sender.credential.add_beside(CSRF, token.as_bytes().to_vec()),
        (None, _, Some(token)) if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            sender.credential.add_beside(CSRF, token.into_bytes());
        }
        (None, _, Some(_)) => return Err(refuse("`_csrf` holds what no token has")),
        (None, _, None) => {}
    }
    Ok(sender)
}

/// The cookies that last as long as the session does, in one order.
fn lasting(cookies: &[u8]) -> Vec<u8> {
    let passing = |name: &[u8]| matches!(name, b"_csrf" | b"lang" | b"redirect_to") || name.ends_with(b"_flash");
    let all = cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = |cookie: &[u8]| cookie.split(|byte| *byte == b'=').next().unwrap_or_default().to_vec();
    let kept: BTreeSet<&[u8]> = all.filter(|cookie| !cookie.is_empty() && !passing(&name(cookie))).collect();
    kept.into_iter().collect::<Vec<_>>().join(&b"; "[..])
}

fn unknown(name: &str, expected: &str) -> ParseError {
    refuse(format!("`{name}` must be {expected}"))
}

fn refuse(text: impl Into<String>) -> ParseError {
    ParseError::Ambiguous(text.into())
}

fn unsupported(text: &str) -> ParseError {
    ParseError::UnsupportedEncoding(text.to_owned())
}

/// Items that one form may name: ten pages of the tracker's own list.
const MOST_ITEMS: usize = 500;
const SEND_FORM: &str = "send a form with `Content-Type: application/x-www-form-urlencoded`";
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

#[cfg(test)]
mod tests {
    use super::super::super::{Chosen, Credential, GuardedRequest as _, Request as _, Target};
    use super::super::call::Call;
    use super::super::form_write::changes;
    use super::super::routes::classify;
    use super::*;
    use crate::dialect::LabelState;
    use crate::model::{Account, ItemKind, Place, Snapshot};
    use http::Method;

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
    const JSON: (&str, &str) = ("content-type", "application/json");

    fn read(request: &str, headers: &[(&str, &str)], body: &str) -> Result<Option<FormWrite>, ParseError> {
        let target = Target::parse(request);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let head = Head { method: &Method::POST, target: &target, headers: &map };
        match classify(&head) {
            Call::Form(route) => parse(&route, &head, body.as_bytes()),
            Call::Refuse(error) => Err(error),
            other => panic!("{request} is no form: {other:?}"),
        }
    }

    fn guarded(request: &str, headers: &[(&str, &str)], body: &str) -> FormWrite {
        match read(request, headers, body) {
            Ok(Some(write)) => write,
            other => panic!("{request} {body}: {other:?}"),
        }
    }

    /// `expected` is what the form wants and what is sent without a read, `unguarded`, or the status and part of the refusal.
    fn check(request: &str, headers: &[(&str, &str)], body: &str, expected: &str) {
        let shown = match read(request, headers, body) {
            Ok(None) => "unguarded".to_owned(),
            Ok(Some(write)) => {
                let keys: Vec<ResourceKey> = match &write.subject {
                    Subject::Keys(keys) => keys.iter().cloned().collect(),
                    Subject::At(_) | Subject::Places(_) | Subject::New(_) => vec![key(0)],
                };
                let change = match &write.wants {
                    FormWants::Change(change) => change.clone(),
                    _ => Change::default(),
                };
                let chosen: Vec<_> = keys.iter().map(|key| Chosen::unread(Some(key), &change)).collect();
                let sent = write.emit(&chosen, &HeaderMap::new(), &Credential::default());
                let body = String::from_utf8_lossy(&sent.body).into_owned();
                format!("{} -> {} {body}", write.describe(), sent.target).trim_end().to_owned()
            }
            Err(error) => format!("{}: {error}", error.code().status()),
        };
        match expected.split_once(": ") {
            Some((status, part)) if status.len() == 3 => {
                assert!(shown.starts_with(status) && shown.contains(part), "{request} {body}: {shown}");
            }
            _ => assert_eq!(shown, expected, "{request} {body}"),
        }
    }

    #[test]
    fn assignees_by_every_spelling() {
        let sent = "assignees+=[user #5] -> /o/r/issues/assignee issue_ids=7&id=5&action=attach";
        check("/o/r/issues/assignee", &[FORM], "issue_ids=7&id=5&action=attach", sent);
        check("/o/r.git/issuesX/assignee", &[FORM], "issue_ids=7&id=5&action=attach", sent);
        check("/o/r/issues/assignee?issue_ids=7&id=5&action=attach", &[], "", sent);
        check("/o/r/issues/assignee?action=attach", &[FORM], "issue_ids=7&id=5", sent);
        let multipart = |text: &str| text.replace('|', "\r\n");
        check(
            "/o/r/issues/assignee?id=5",
            &[("content-type", "multipart/form-data; boundary=X")],
            &multipart(
                "--X|Content-Disposition: form-data; name=\"issue_ids\"||7|--X|Content-Disposition: form-data; \
                 name=\"action\"||attach|--X--|",
            ),
            sent,
        );
        let form = |body: &str, expected: &str| check("/o/r/issues/assignee", &[FORM], body, expected);
        form("issue_ids=12,7,,7&id=5", "assignees toggle [user #5] -> /o/r/issues/assignee issue_ids=12%2C7&id=5");
        form(
            "issue_ids=7&id=5&action=detach",
            "assignees-=[user #5] -> /o/r/issues/assignee issue_ids=7&id=5&action=detach",
        );
        form("issue_ids=7&id=0&action=clear", "assignees=[] -> /o/r/issues/assignee issue_ids=7&id=0&action=clear");
        form("issue_ids=7&id=5&x=a+b", "assignees toggle [user #5] -> /o/r/issues/assignee issue_ids=7&id=5&x=a+b");
        check(
            "/o/r/Xpulls/assignee",
            &[FORM],
            "issue_ids=7&id=5",
            "assignees toggle [user #5] -> /o/r/pulls/assignee issue_ids=7&id=5",
        );
        form("issue_ids=7&issue_ids=8&id=5", "400: `issue_ids` is given twice");
        check("/o/r/issues/assignee?issue_ids=8", &[FORM], "issue_ids=7&id=5", "400: `issue_ids` is given twice");
        form("Issue_IDs=7&id=5", "400: spell it exactly");
        form("issue_ids[]=7&id=5", "400: spell it exactly");
        form("issue_ids=7&id=05", "400: `id` must be");
        form("issue_ids=+7&id=5", "400: `issue_ids` must be");
        form("issue_ids=7;8&id=5", "400: two ways");
        form("issue_ids=&id=5", "400: names no item");
        form("id=5", "400: names no item");
        form("issue_ids=7&id=5&action=whatever", "400: `action` must be");
        form(&format!("id=5&issue_ids={}", (1..=501).map(|n| n.to_string()).collect::<Vec<_>>().join(",")), "400: 500");
        // The tracker reads the query alone here, and the gate reads nothing.
        check("/o/r/issues/assignee?issue_ids=7&id=5", &[JSON], r#"{"x":1}"#, "415: form");
        check("/o/r/issues/assignee?issue_ids=7&id=5", &[], "x=1", "415: form");
        check("/o/r/issues/assignee", &[("content-type", "text/plain")], "issue_ids=7", "415: application/json");
        check("/o/r/issues%2Fassignee", &[FORM], "issue_ids=7&id=5", "400: encoded slash");
        let plain = "assignees toggle [user #5] -> /o/r/issues/assignee issue_ids=7&id=5";
        check("/o//r/issues/assignee", &[FORM], "issue_ids=7&id=5", plain);
    }

    #[test]
    fn labels_states_and_comments() {
        let labels = |body: &str, expected: &str| check("/o/r/issues/labels", &[FORM], body, expected);
        labels("issue_ids=7&id=3&action=attach", "labels+=[#3] -> /o/r/issues/labels issue_ids=7&id=3&action=attach");
        labels(
            "issue_ids=7&id=3&action=toggle-alt",
            "labels-=[#3] -> /o/r/issues/labels issue_ids=7&id=3&action=detach",
        );
        labels(
            "issue_ids=7&id=3&action=toggle",
            "labels toggle [#3] -> /o/r/issues/labels issue_ids=7&id=3&action=toggle",
        );
        labels("issue_ids=7&action=clear&id=", "labels=[] -> /o/r/issues/labels issue_ids=7&action=clear");
        labels("issue_ids=7&id=3", "400: `action` must be");
        let status = |body: &str, expected: &str| check("/o/r/pulls/status", &[FORM], body, expected);
        status("issue_ids=7,8&action=close", "state=closed -> /o/r/pulls/status issue_ids=7%2C8&action=close");
        status("issue_ids=7&action=open", "state=open -> /o/r/pulls/status issue_ids=7&action=open");
        status("issue_ids=7&action=reopen", "state=open -> /o/r/pulls/status issue_ids=7&action=open");
        // What most versions take for `open`, and some for nothing.
        status("issue_ids=7&action=Close", "400: `action` must be");
        status("issue_ids=7", "400: `action` must be");
        let comment = |body: &str, expected: &str| check("/o/r/issues/7/comments", &[FORM], body, expected);
        comment("content=hello", "unguarded");
        comment("content=hello&status=", "unguarded");
        comment(
            "_csrf=t&content=a+%26+b&status=close",
            "state=closed -> /o/r/issues/7/comments status=close&content=a+%26+b",
        );
        comment("status=reopen", "state=open -> /o/r/issues/7/comments status=reopen");
        comment("status=Close", "400: `status` must be");
        comment("status=close&status=reopen", "400: given twice");
        check("/o/r/issues/07/comments", &[FORM], "status=close", "400: plainly");
        check(
            "/o/r/issues/7/comments",
            &[JSON],
            r#"{"content":"hi","status":"close"}"#,
            r#"state=closed -> /o/r/issues/7/comments {"status":"close","content":"hi"}"#,
        );
        check("/o/r/issues/7/comments", &[JSON], r#"{"Status":"close"}"#, "400: spell it exactly");
        check("/o/r/issues/7/comments?status=close", &[JSON], r#"{"content":"hi"}"#, "400: a query has no place");
    }

    #[test]
    fn what_no_read_shows() {
        check(
            "/o/r/issues/projects",
            &[FORM],
            "issue_ids=7,9&id=2",
            "project=2 -> /o/r/issues/projects issue_ids=7%2C9&id=2",
        );
        check(
            "/o/r/pulls/request_review",
            &[FORM],
            "issue_ids=7&id=-4&action=attach",
            "reviewers+=[user #-4] -> /o/r/pulls/request_review issue_ids=7&id=-4&action=attach",
        );
        check("/o/r/pulls/request_review", &[FORM], "issue_ids=7&id=4", "400: `action` must be");
        check("/o/r/issues/delete", &[FORM], "issue_ids=7", "delete -> /o/r/issues/delete issue_ids=7");
        check("/o/r/issues/7/delete", &[FORM], "", "delete -> /o/r/issues/7/delete");
        check(
            "/acme/-/projects/3/4/move",
            &[JSON],
            r#"{"issues":[{"issueID":7,"sorting":0},{"issueID":9,"sorting":1}]}"#,
            r#"column=4 of project 3 -> /acme/-/projects/3/4/move {"issues":[{"issueID":7,"sorting":0},{"issueID":9,"sorting":1}]}"#,
        );
        let moved = |body: &str, expected: &str| check("/o/r/projects/3/4/move", &[JSON], body, expected);
        moved(r#"{"issues":[{"issueid":7}]}"#, "400: `issues` must be");
        moved(r#"{"Issues":[{"issueID":7}]}"#, "400: spell it exactly");
        moved(r#"{"issues":[]}"#, "400: names no item");
        check("/o/r/projects/3/4/9", &[FORM], "", "column=4 of project 3 -> /o/r/projects/3/4/9");
        check("/o/r/issues/new", &[FORM], "title=x&assignee_ids=&assignee_id=0", "unguarded");
        check(
            "/o/r/issues/new",
            &[FORM],
            "title=x&assignee_ids=5,6",
            "create in o/r: assignees=[user #5, user #6] -> /o/r/issues/new title=x&assignee_ids=5%2C6",
        );
        check("/o/r/compare/main...x", &[FORM], "title=x", "unguarded");
        check(
            "/o/r/compare/main...x",
            &[FORM],
            "assignee_id=5",
            "create in o/r: assignees=[user #5] -> /o/r/compare/main...x assignee_id=5",
        );
    }

    fn snapshot(assignees: &[&str], labels: &[(u64, &str, bool)]) -> Snapshot {
        Snapshot {
            key: key(7),
            locator: Place::from_stored("o/r#7"),
            kind: ItemKind::Issue,
            assignees: assignees.iter().map(|name| Account::new(name)).collect(),
            labels: labels
                .iter()
                .map(|(id, name, exclusive)| {
                    LabelState { name: (*name).to_owned(), exclusive: *exclusive, archived: false }.tag(*id)
                })
                .collect(),
            state: OpenState::Open,
            author: None,
        }
    }

    #[test]
    fn toggles_are_spelled_out_over_the_selection() {
        let spelled = |path: &str, body: &str, seen: &[Snapshot]| {
            let write = guarded(path, &[FORM], body);
            let seen: Vec<&Snapshot> = seen.iter().collect();
            let changes = changes(&write.wants, &seen, Some(&Account::new("bob")));
            assert!(changes.windows(2).all(|pair| pair[0] == pair[1]) && changes.len() == seen.len());
            let key = key(7);
            let chosen = [Chosen::unread(Some(&key), &changes[0])];
            let sent = write.emit(&chosen, &HeaderMap::new(), &Credential::default());
            format!("{} {}", changes[0], String::from_utf8_lossy(&sent.body))
        };
        let (free, bobs) = (snapshot(&[], &[]), snapshot(&["Bob"], &[]));
        let assignee = |action: &str, seen: &[Snapshot]| {
            spelled("/o/r/issues/assignee", &format!("issue_ids=7&id=5{action}"), seen)
        };
        let (on, off) = ("issue_ids=7&id=5&action=attach", "issue_ids=7&id=5&action=detach");
        assert_eq!(assignee("", std::slice::from_ref(&free)), format!("assignees+=[bob] {on}"));
        assert_eq!(assignee("", std::slice::from_ref(&bobs)), format!("assignees-=[bob] {off}"));
        assert_eq!(assignee("", &[bobs.clone(), free.clone()]), format!("assignees+=[bob] {on}"));
        assert_eq!(assignee("&action=attach", std::slice::from_ref(&bobs)), format!("assignees+=[bob] {on}"));
        assert_eq!(assignee("&action=detach", &[free]), format!("assignees-=[bob] {off}"));
        let label = |seen: &[Snapshot]| spelled("/o/r/issues/labels", "issue_ids=7&id=3&action=toggle", seen);
        let (bare, todo) = (snapshot(&[], &[]), snapshot(&[], &[(3, "todo", false)]));
        let (scoped, named) = (snapshot(&[], &[(3, "status/todo", true)]), snapshot(&[], &[(3, "status/todo", false)]));
        let (on, off) = ("issue_ids=7&id=3&action=attach", "issue_ids=7&id=3&action=detach");
        assert_eq!(label(std::slice::from_ref(&bare)), format!("labels+=[#3] {on}"));
        assert_eq!(label(&[bare.clone(), todo]), format!("labels-=[#3] {off}"));
        assert_eq!(label(&[bare.clone(), scoped]), format!("labels+=[#3] {on}"));
        assert_eq!(label(&[bare, named]), format!("labels-=[#3] {off}"));
    }

    #[test]
    fn the_sender_is_the_session_and_nothing_else() {
        let names = |headers: &HeaderMap| {
            let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort_unstable();
            names
        };
        let headers = [
            FORM,
            ("cookie", "lang=en; i_like_gitea=s; _csrf=t1"),
            ("authorization", "token ours"),
            ("sudo", "root"),
            ("x-webauth-user", "root"),
            ("origin", "https://forge.example"),
            ("host", "forge.example"),
            ("sec-fetch-site", "same-origin"),
            ("x-forwarded-for", "6.6.6.6"),
        ];
        let body = "_csrf=t1&issue_ids=7&id=5";
        let write = guarded("/o/r/issues/assignee", &headers, body);
        let mut head = HeaderMap::new();
        for (name, value) in headers {
            head.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let (key, change) = (key(7), Change::default());
        let sent = write.emit(&[Chosen::unread(Some(&key), &change)], &head, &Credential::default());
        assert_eq!(
            names(&sent.headers),
            ["accept-encoding", "content-type", "cookie", "host", "origin", "sec-fetch-site", "x-csrf-token"]
        );
        assert_eq!((&sent.headers["x-csrf-token"], &sent.body[..]), (&"t1".parse().unwrap(), &b"issue_ids=7&id=5"[..]));
        // The same session in another request has another token, and its cookies in another order.
        let later = [FORM, ("cookie", "i_like_gitea=s; _csrf=t2; lang=de"), ("x-csrf-token", "t2")];
        let later = guarded("/o/r/issues/labels", &later, "issue_ids=7&id=5&action=attach");
        assert_eq!(write.sender.session.material(), later.sender.session.material());
        let other = guarded("/o/r/issues/assignee", &[FORM, ("cookie", "i_like_gitea=x")], body);
        assert_ne!(write.sender.session.material(), other.sender.session.material());
        let nobody = guarded("/o/r/issues/assignee", &[FORM, ("authorization", "token ours")], body);
        assert!(nobody.sender.credential.is_anonymous());
        let pages: Vec<String> = write.prove_reader().into_iter().map(|request| request.target).collect();
        assert_eq!(pages, ["/user/settings", "/o/r/issues"]);
    }
}
