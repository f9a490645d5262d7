//! What must hold for any bytes at all, reader by reader.
//!
//! Each function takes one input and panics where a promise is broken. libFuzzer looks for such inputs; a plain test
//! (`tests/integration/corpus.rs`) replays those in `tests/fuzz/corpus`, which needs no fuzzer.

use claimgate::audit::verify::Verifier;
use claimgate::config::{self, Layers};
use claimgate::dialect::{
    self, Chosen, ClosingSyntax, Dialect, Guarded, GuardedRoute, Head, Request as _, Route, Scrutiny, Subject, Target,
};
use claimgate::ledger;
use claimgate::model::ResourceKey;
use claimgate::{proxy, server};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A target: what it takes one input with.
pub type Run = fn(&[u8]);

/// Every target, by the name of its program and of its folder in the corpus.
pub const ALL: [(&str, Run); 10] = [
    ("head", head),
    ("request", request),
    ("target", target),
    ("json", json),
    ("config", config),
    ("ledger", ledger),
    ("webhook", webhook),
    ("audit", audit),
    ("json_urls", json_urls),
    ("connect", connect),
];

/// What a client sends over HTTP/1: the same is seen of it whatever pieces it comes in, and a head that goes on has one
/// reading.
pub fn head(data: &[u8]) {
    // What is wrong in a long line may be told only when the line has ended.
    let data = [data, b"\r\n\r\n"].concat();
    let (heads, refused) = server::sniff(&[&data]);
    assert_eq!((heads, refused), server::sniff(&data.chunks(1).collect::<Vec<_>>()));
    if heads == 0 {
        return;
    }
    let text = String::from_utf8_lossy(&data);
    let (first, _) = text.trim_start_matches("\r\n").split_once("\r\n\r\n").expect("it has an end");
    let (mut lengths, mut codings) = (Vec::new(), 0);
    for line in first.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "{line:?}");
        match line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value)) {
            Some((name, value)) if name == "content-length" => lengths.push(value.trim().to_owned()),
            Some((name, _)) if name == "transfer-encoding" => codings += 1,
            _ => {}
        }
    }
    let number = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    assert!(lengths.iter().all(|length| number(length).flatten().is_some()), "{first:?}");
    assert!(lengths.windows(2).all(|two| number(&two[0]) == number(&two[1])), "{first:?}");
    assert!(codings == 0 || (codings == 1 && lengths.is_empty()), "{first:?}");
}

/// A head and a body: what is understood as guarded is written so that it is understood the same again, and what is not
/// holds nothing guarded. The input is `METHOD target`, header lines, an empty line, the body.
pub fn request(data: &[u8]) {
    let Some((method, target, headers, body)) = split_request(data) else { return };
    let (dialect, target) = (forgejo(), Target::parse(target));
    let head = Head { method: &method, target: &target, headers: &headers };
    let _ = dialect.explain(&head, body);
    let Route::Guarded(route) = dialect.classify(&head) else { return };
    let Ok(understood) = route.understand(&head, body, &Scrutiny::none(&ClosingSyntax::default())) else { return };
    match (understood.guarded, dialect.credential(&head, body)) {
        (Some(form), _) if form.sender().is_some() => form_means_the_same(&*dialect, &form, &head),
        (Some(intent), Ok(credential)) => {
            let sent = intent.emit(&[], &headers, &credential);
            means_the_same(&*dialect, &intent, &sent);
        }
        (None, _) => holds_nothing_guarded(&*route, &head, body),
        (Some(_), Err(_)) => {}
    }
}

/// An answer whose URLs lead back: the same comes of it whatever pieces it comes in, and of a JSON text nothing changes but the
/// front of URLs in the members that hold them.
pub fn json_urls(data: &[u8]) {
    const FROM: &str = "http://tracker:3000/sub/";
    const TO: &str = "https://gate/as/one/";
    let (whole, is_followed) = proxy::follow_urls(&[data], FROM, TO);
    assert_eq!(proxy::follow_urls(&data.chunks(1).collect::<Vec<_>>(), FROM, TO), (whole.clone(), is_followed));
    let (one, other) = data.split_at(data.len() / 2);
    assert_eq!(proxy::follow_urls(&[one, other], FROM, TO), (whole.clone(), is_followed));
    assert_eq!(proxy::follow_urls(&[data], "\u{1}", TO).0, data, "what is no URL of the tracker's stays");
    let Ok(before) = serde_json::from_slice::<Value>(data) else { return };
    assert!(is_followed, "a JSON text is followed to its end");
    let after: Value = serde_json::from_slice(&whole).expect("JSON stays JSON");
    leads_back(None, false, (&before, &after), (FROM, TO));
}

fn leads_back(name: Option<&str>, in_links: bool, values: (&Value, &Value), prefix: (&str, &str)) {
    match values {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()), "names stay");
            let in_links = in_links || name == Some("_links");
            for ((key, one), other) in before.iter().zip(after.values()) {
                leads_back(Some(key), in_links, (one, other), prefix);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            let in_links = in_links || name == Some("_links");
            before.iter().zip(after).for_each(|values| leads_back(None, in_links, values, prefix));
        }
        (Value::String(before), Value::String(after)) if before != after => {
            let known = ["url", "self", "next", "previous", "nextPage", "previousPage"];
            assert!(in_links || name.is_some_and(|name| known.contains(&name) || name.ends_with("_url")), "{name:?}");
            let rest = before.strip_prefix(prefix.0).expect("it was a URL of the tracker's");
            assert_eq!(after.strip_prefix(prefix.1), Some(rest), "only its front changed");
        }
        (before, after) => assert_eq!(before, after),
    }
}

/// The head of a CONNECT: what is accepted names one host and one port, and so does the plain form of it.
pub fn connect(data: &[u8]) {
    let end = data.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(data.len());
    let head = [&data[..end], b"\r\n\r\n"].concat();
    match server::read_connect(&head) {
        Ok((host, port, instance)) => {
            assert!(!host.is_empty() && port > 0 && !host.ends_with('.'), "{host:?}");
            assert!(host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{host:?}");
            assert!(instance.is_none_or(|name| !name.is_empty()), "an agent without a name is none");
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            assert!(text.trim_start().starts_with("connect "), "{text:?}");
            assert!(!text.contains("\r\ntransfer-encoding") && text.matches("\r\nhost:").count() <= 1, "{text:?}");
            let named = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            let plain = format!("CONNECT {named} HTTP/1.1\r\nHost: {named}\r\n\r\n");
            assert_eq!(server::read_connect(plain.as_bytes()), Ok((host, port, None)));
        }
        Err((status, text)) => {
            assert!(status.starts_with("40") && !text.is_empty(), "{status} {text}");
        }
    }
}

/// A target: its canonical form is read as the target was, and has one reading.
pub fn target(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let once = Target::parse(raw);
    let whole = once.query().map_or_else(|| once.path().to_owned(), |query| format!("{}?{query}", once.path()));
    assert_eq!(whole, raw);
    let canonical = once.canonical();
    let twice = Target::parse(&canonical);
    assert_eq!(twice.segments(), once.segments());
    assert_eq!(twice.shadow_segments(), once.shadow_segments());
    assert_eq!(twice.canonical(), canonical);
    assert!(once.ambiguity().is_some() || twice.ambiguity().is_none(), "{canonical}");
    assert!(once.ambiguity().is_some() || once.readings().count() == 1, "{canonical}");
}

/// A JSON object: what the strict reader accepts is what the common library reads, and is written as it was read.
pub fn json(data: &[u8]) {
    let Ok(text) = dialect::reread_object(data, &["assignees", "state"]) else { return };
    let common: Value = serde_json::from_slice(data).expect("the common reader accepts it, too");
    let again: Value = serde_json::from_str(&text).expect("what was written is JSON");
    assert_eq!(common, again);
    assert_eq!(dialect::reread_object(text.as_bytes(), &["assignees", "state"]).expect("it reads"), text);
    let names: Vec<String> = common.as_object().expect("an object").keys().map(|name| fold(name)).collect();
    for name in &names {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
}

/// A configuration: accepted or refused with a text, never a panic, and twice the same.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = std::env::temp_dir().join(format!("claimgate-fuzz-{}.toml", std::process::id()));
    std::fs::write(&file, text).expect("the temporary directory takes a file");
    let read = || config::read(&Layers { file: Some(file.clone()), ..Layers::default() });
    match (read(), read()) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{:?}", one.config), format!("{:?}", other.config)),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("one file was accepted and refused"),
    }
}

/// A value of the ledger: what reads is written so that it reads the same. The first line names the kind.
pub fn ledger(data: &[u8]) {
    let Some((kind, text)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    let Some(once) = ledger::reread_stored(kind, text) else { return };
    assert_eq!(ledger::reread_stored(kind, &once).as_deref(), Some(once.as_str()), "{kind}");
    let (before, after): (Value, Value) = (parsed(text), parsed(&once));
    assert!(keeps(&before, &after), "{before} became {after}");
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("it was read before")
}

/// Whether all that was written anew stood in what was read: nothing is taken for absent that is only odd.
fn keeps(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            after.iter().all(|(name, value)| keeps(before.get(name).unwrap_or(&Value::Null), value))
        }
        // Sets lose what is there twice; names are folded.
        (Value::Array(before), Value::Array(after)) => {
            before.is_empty() == after.is_empty() && after.len() <= before.len()
        }
        (Value::String(_), Value::String(_)) => true,
        (before, after) => before == after,
    }
}

/// A webhook: header lines, an empty line, the payload.
pub fn webhook(data: &[u8]) {
    let (head, body) = split_at_empty_line(data);
    let hook = forgejo().webhook(&headers_of(head), body);
    assert!(hook.signature.is_none_or(|signature| !signature.is_empty() || head.len() > 1));
}

/// An audit log: verified to its end whatever is in it, with the same findings whether it comes in one piece or line by line.
pub fn audit(data: &[u8]) {
    let verified = |pieces: &[&[u8]]| {
        let (mut verifier, mut found) = (Verifier::new(), Vec::new());
        for piece in pieces {
            verifier
                .read("log", *piece, &mut |finding| found.push((finding.seq, finding.what.clone())))
                .expect("memory");
        }
        let end = verifier.finish(None);
        (found, end, verifier.summary().wrong)
    };
    let lines: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(verified(&[data]), verified(&lines));
}

fn forgejo() -> Arc<dyn Dialect> {
    thread_local!(static DIALECT: OnceCell<Arc<dyn Dialect>> = const { OnceCell::new() });
    DIALECT.with(|cell| Arc::clone(cell.get_or_init(|| dialect::by_name("forgejo").expect("it is known"))))
}

// === requests ===

fn split_request(data: &[u8]) -> Option<(Method, &str, HeaderMap, &[u8])> {
    let (head, body) = split_at_empty_line(data);
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    let (method, target) = std::str::from_utf8(&head[..end]).ok()?.split_once(' ')?;
    Some((method.parse().ok()?, target, headers_of(head.get(end + 1..).unwrap_or_default()), body))
}

fn split_at_empty_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[]),
    }
}

fn headers_of(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn means_the_same(dialect: &dyn Dialect, intent: &Guarded, sent: &dialect::WireRequest) {
    let target = Target::parse(&sent.target);
    assert_eq!((target.ambiguity(), target.query()), (None, None), "{}", sent.target);
    let head = Head { method: &sent.method, target: &target, headers: &sent.headers };
    let again = understood_again(dialect, &head, &sent.body);
    assert_eq!((again.subject(), again.change()), (intent.subject(), intent.change()));
    let credential = dialect.credential(&head, &sent.body).expect("what is sent on names one sender");
    let twice = again.emit(&[], &sent.headers, &credential);
    assert_eq!((&twice.method, &twice.target, &twice.body), (&sent.method, &sent.target, &sent.body));
    assert_eq!(twice.headers, sent.headers);
    if !sent.body.is_empty() {
        let body: Value = serde_json::from_slice(&sent.body).expect("what is sent is JSON");
        assert!(body.is_object());
    }
}

/// A form of the web interface that is written anew asks for the same of the same items.
fn form_means_the_same(dialect: &dyn Dialect, form: &Guarded, head: &Head<'_>) {
    let change = form.change().cloned().unwrap_or_default();
    let keys = match form.subject() {
        Subject::Keys(keys) => keys,
        Subject::At(_) | Subject::Places(_) | Subject::New(_) if form.change().is_some() => {
            BTreeSet::from([ResourceKey::new("1")])
        }
        Subject::At(_) | Subject::Places(_) | Subject::New(_) => BTreeSet::new(),
    };
    let chosen: Vec<_> = keys.iter().map(|key| Chosen::unread(Some(key), &change)).collect();
    let sent = form.emit(&chosen, head.headers, &dialect::Credential::default());
    let target = Target::parse(&sent.target);
    assert_eq!(target.ambiguity(), None, "{}", sent.target);
    let head = Head { method: &sent.method, target: &target, headers: &sent.headers };
    let again = understood_again(dialect, &head, &sent.body);
    assert_eq!((again.subject(), again.page(), again.describe()), (form.subject(), form.page(), form.describe()));
}

/// What was written anew, read once more.
fn understood_again(dialect: &dyn Dialect, head: &Head<'_>, body: &[u8]) -> Guarded {
    let Route::Guarded(route) = dialect.classify(head) else { panic!("{} is not guarded", head.target.path()) };
    let understood = route.understand(head, body, &Scrutiny::none(&ClosingSyntax::default()));
    let guarded = understood.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body))).guarded;
    guarded.unwrap_or_else(|| panic!("nothing is guarded in {}", String::from_utf8_lossy(body)))
}

/// What the most forgiving of the tracker's readers would see in the body of an edit.
fn holds_nothing_guarded(write: &dyn GuardedRoute, head: &Head<'_>, body: &[u8]) {
    let is_edit = *head.method == Method::PATCH && format!("{write:?}").contains("EditIssue");
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes).to_ascii_lowercase();
    let is_json = kind.windows(4).any(|part| part == b"json") && !kind.windows(4).any(|part| part == b"form");
    if !(is_edit && is_json) {
        return;
    }
    let text = String::from_utf8_lossy(body);
    let mut documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let Some(Ok(Value::Object(members))) = documents.next() else { return };
    // Only names without an escape can be borrowed; others some version reads as something else.
    let plain = serde_json::from_str::<BTreeMap<&str, &RawValue>>(&text);
    assert!(plain.is_ok(), "{plain:?}");
    for (name, value) in &members {
        let guarded = ["assignee", "assignees", "state"].contains(&fold(name).as_str());
        assert!(!guarded || value.is_null(), "{name} was not seen in {text}");
    }
}

/// As Go's readers fold a name, old and new.
fn fold(name: &str) -> String {
    let folded = name.chars().filter(|letter| !matches!(letter, '_' | '-')).map(|letter| match letter {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.collect()
}
