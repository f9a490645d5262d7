//! Exchanges with GitHub itself that two client libraries have recorded: each request, as the dialect understands it, against what
//! GitHub made of it. What changed an issue is a guarded write of just that change; no read is refused.
//!
//! `tests/github/exchanges.py` gets them from the libraries' source packages, which are no part of this repository; without
//! python3 or the network the test says that it was skipped.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use claimgate::dialect::{self, ClosingSyntax, Guarded, Head, Route, Scrutiny, Target};
use claimgate::model::{Account, OpenState, SetChange, TagRef};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

/// What becomes of a request.
enum Fate {
    Passes,
    Beside,
    Refused(String),
    Guarded(Guarded),
}

fn exchanges() -> Option<Vec<Value>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (script, folder) = (root.join("tests/github/exchanges.py"), root.join("target/github-exchanges"));
    let output = Command::new("timeout").args(["240", "python3"]).arg(script).arg(folder).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("SKIPPED: no python3 here, or no way to the packages, so no recorded exchange was looked at");
        return None;
    };
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect())
}

fn fate(exchange: &Value) -> Fate {
    let text = |name: &str| exchange[name].as_str().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in exchange["headers"].as_object().into_iter().flatten() {
        let value = HeaderValue::from_str(value.as_str().unwrap_or_default()).expect("a value");
        headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value);
    }
    let (method, target): (Method, _) = (text("method").parse().expect("a method"), Target::parse(text("path")));
    let head = Head { method: &method, target: &target, headers: &headers };
    let github = dialect::by_name("github").expect("there is one");
    let route = match github.classify(&head) {
        Route::Pass | Route::Read { .. } => return Fate::Passes,
        Route::Refuse(error) => return Fate::Refused(error.to_string()),
        Route::Guarded(route) => route,
    };
    let syntax = ClosingSyntax::default();
    if route.passes(&Scrutiny::none(&syntax)) {
        return Fate::Passes;
    }
    match route.understand(&head, text("body").as_bytes(), &Scrutiny::none(&syntax)) {
        Err(error) => Fate::Refused(error.to_string()),
        Ok(understood) if understood.beside.is_some() => Fate::Beside,
        Ok(understood) => understood.guarded.map_or(Fate::Passes, Fate::Guarded),
    }
}

fn names(rows: &Value, member: &str) -> BTreeSet<String> {
    let name = |row: &Value| row[member].as_str().map(str::to_lowercase);
    rows.as_array().into_iter().flatten().filter_map(name).collect()
}

/// Whether what GitHub showed afterwards is what the change says.
fn fits<T: Ord + Clone>(change: Option<&SetChange<T>>, name: impl Fn(&T) -> String, shown: &BTreeSet<String>) -> bool {
    let Some(change) = change else { return true };
    let wanted: BTreeSet<String> = change.members().iter().map(|one| name(one).to_lowercase()).collect();
    match change {
        SetChange::Replace(_) => wanted == *shown,
        SetChange::Add(_) => wanted.is_subset(shown),
        SetChange::Remove(_) => wanted.is_disjoint(shown),
    }
}

fn has_happened(write: &Guarded, answer: &Value) -> bool {
    let Some(change) = write.change() else { return true };
    let login = |account: &Account| account.as_str().to_owned();
    let label = |label: &TagRef| label.to_string();
    if answer.is_array() {
        return fits(change.labels.as_ref(), label, &names(answer, "name"));
    }
    let state = change
        .state
        .is_none_or(|state| answer["state"].as_str() == Some(if state == OpenState::Open { "open" } else { "closed" }));
    // Recorded answers of long ago name one assignee alone.
    let assignees = match answer.get("assignees") {
        Some(all) => names(all, "login"),
        None => answer["assignee"]["login"].as_str().map(str::to_lowercase).into_iter().collect(),
    };
    let labels = answer.get("labels").is_none_or(|rows| fits(change.labels.as_ref(), label, &names(rows, "name")));
    state && labels && fits(change.assignees.as_ref(), login, &assignees)
}

fn sets(body: &str, name: &str) -> bool {
    body.contains(&format!("\"{name}\""))
}

#[test]
fn each_recorded_request_is_what_its_effect_says() {
    let Some(exchanges) = exchanges() else { return };
    let (mut guarded, mut passed, mut beside, mut refused) = (0, 0, 0, Vec::new());
    for exchange in &exchanges {
        let text = |name: &str| exchange[name].as_str().unwrap_or_default();
        let what = format!("{}: {} {} {}", text("from"), text("method"), text("path"), text("body"));
        let succeeded = exchange["status"].as_u64().is_some_and(|status| (200..300).contains(&status));
        match fate(exchange) {
            Fate::Passes => {
                passed += 1;
                let is_item = ["/issues/", "/pulls/"].iter().any(|part| text("path").contains(part));
                let is_write = is_item && matches!(text("method"), "PATCH" | "PUT" | "DELETE");
                let named =
                    sets(text("body"), "assignees") || sets(text("body"), "state") || sets(text("body"), "labels");
                assert!(!(is_write && named), "{what} passes");
            }
            Fate::Beside => beside += 1,
            // Of these GitHub says the same: only one of the two may be provided.
            Fate::Refused(why) if why.contains("only one may be provided") => {
                assert!(sets(text("body"), "assignee") && sets(text("body"), "assignees"), "{what}: {why}");
            }
            Fate::Refused(why) => refused.push(format!("{what}: {why}")),
            Fate::Guarded(write) => {
                guarded += 1;
                assert!(text("method") != "GET", "{what}: a read is guarded");
                let answer = &exchange["answer"];
                assert!(!succeeded || answer.is_null() || has_happened(&write, answer), "{what}: {write:?} {answer}");
            }
        }
    }
    eprintln!("{guarded} guarded, {beside} beside, {passed} passed of {}", exchanges.len());
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(guarded > 40 && passed > 1_000, "{guarded} {passed}");
}
