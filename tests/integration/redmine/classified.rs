//! Each recorded request, as the dialect understands it, against what a real Redmine made of it.
//!
//! What changed an issue is a guarded write of just that change, or is refused; whatever passes changed nothing.

use claimgate::dialect::{self, ClosingSyntax, Guarded, Head, Route, Scrutiny, Target, Wants};
use claimgate::model::{Account, Change, Principal, SetChange, TagRef};
use http::{HeaderMap, HeaderName};
use serde_json::Value;

const RECORDINGS: &str = include_str!("../../recordings/redmine/exchanges.json");

/// What becomes of a request.
enum Fate {
    Passes,
    Refused(String),
    Guarded(Guarded),
}

fn filled(text: &str) -> String {
    ["a", "b", "c", "d"]
        .iter()
        .zip(101..)
        .fold(text.to_owned(), |text, (letter, id)| text.replace(&format!("{{{letter}}}"), &id.to_string()))
}

fn fate(request: &Value) -> Fate {
    let text = |name: &str| filled(request[name].as_str().unwrap_or_default());
    let mut headers = HeaderMap::new();
    let lines = request["headers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value.parse().expect("a value"));
    }
    if let Some(kind) = request["content_type"].as_str() {
        headers.insert("content-type", kind.parse().expect("a value"));
    }
    let (method, target) = (text("method").parse().expect("a method"), Target::parse(&text("path")));
    let head = Head { method: &method, target: &target, headers: &headers };
    let redmine = dialect::by_name("redmine").expect("there is one");
    let route = match redmine.classify(&head) {
        Route::Pass | Route::Read { .. } => return Fate::Passes,
        Route::Refuse(error) => return Fate::Refused(error.to_string()),
        Route::Guarded(route) => route,
    };
    match route.understand(&head, text("body").as_bytes(), &Scrutiny::none(&ClosingSyntax::default())) {
        Err(error) => Fate::Refused(error.to_string()),
        Ok(understood) => understood.guarded.map_or(Fate::Passes, Fate::Guarded),
    }
}

/// The change, with `me` as who sends it.
fn change_of(write: &Guarded, sender: &str) -> Option<Change> {
    let sender = Principal::Named(Account::new(sender));
    let spelled = write.sent_by(&sender).expect("the sender is known");
    spelled.as_ref().unwrap_or(write).change().cloned()
}

/// `[assignee, status]` after the change.
fn left(change: &Change, before: &[Option<u64>; 2]) -> [Option<u64>; 2] {
    let assignee = match &change.assignees {
        None => before[0],
        Some(SetChange::Replace(accounts)) => accounts.first().and_then(|account| account.as_str().parse().ok()),
        Some(other) => panic!("{other:?}"),
    };
    let status = match &change.labels {
        None => before[1],
        Some(SetChange::Add(tags)) => tags.first().and_then(|tag| match tag {
            TagRef::Id(id) => id.number(),
            TagRef::Name(_) => None,
        }),
        Some(other) => panic!("{other:?}"),
    };
    [assignee, status]
}

/// The number of the account that an exchange is sent by.
fn sender(exchange: &Value, after: Option<u64>) -> String {
    match exchange["as"].as_str() {
        Some("dev-1") => "5".to_owned(),
        // By the credential in the request; `me` is whoever Redmine then assigned.
        _ => after.unwrap_or(5).to_string(),
    }
}

#[test]
fn each_recorded_request_is_what_its_effect_says() {
    let exchanges: Vec<Value> = serde_json::from_str(RECORDINGS).expect("the recordings are JSON");
    let (mut guarded, mut refused, mut passed) = (0, 0, 0);
    for exchange in exchanges {
        let (what, request) = (&exchange["what"], &exchange["request"]);
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let of = |value: &Value| [number(&value[0]), number(&value[1])];
        let effect = exchange.get("on").map(|_| (of(&exchange["before"]), of(&exchange["after"])));
        let has_effect = effect.is_some_and(|(before, after)| before != after);
        let deleted = request["method"] == "DELETE" && exchange["response"]["status"] == 204;
        match fate(request) {
            Fate::Passes => {
                passed += 1;
                assert!(!has_effect && !deleted, "{what} passes, and {effect:?}");
            }
            Fate::Refused(why) => {
                refused += 1;
                // What clients send is understood.
                let plain = ["claim", "claim as XML", "claim for me", "claim and move", "form: plain", "life: close"];
                assert!(!plain.iter().any(|plain| what == plain), "{what} is refused: {why}");
            }
            Fate::Guarded(write) => {
                guarded += 1;
                assert!(!deleted || matches!(write.wants(), Wants::Beside { moves: true }), "{what}: {write:?}");
                let Some((before, after)) = effect.filter(|_| has_effect) else { continue };
                let change =
                    change_of(&write, &sender(&exchange, after[0])).unwrap_or_else(|| panic!("{what}: {write:?}"));
                // A status that the workflow does not allow is ignored, and assignees are not.
                assert_eq!(left(&change, &before), after, "{what}: {write:?}");
            }
        }
    }
    eprintln!("{guarded} guarded, {refused} refused, {passed} passed");
    assert!(guarded > 90 && passed > 30, "{guarded} guarded, {refused} refused, {passed} passed");
}
