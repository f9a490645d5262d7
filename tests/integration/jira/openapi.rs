//! The fake Cloud against Atlassian's own description of its interface, which is no part of this repository: the test says so
//! where the file is not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};

use super::fake::{FakeJira, Flavour};
use super::support::{caller, jira};
use crate::e2e::Answer;

/// Named by `CLAIMGATE_JIRA_OPENAPI`, or laid into `target/jira-openapi.json`.
fn description() -> Option<Value> {
    let laid = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/jira-openapi.json");
    let named = std::env::var_os("CLAIMGATE_JIRA_OPENAPI").map_or_else(laid, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(named) else {
        eprintln!("SKIPPED: there is no description of Jira's interface here; CLAIMGATE_JIRA_OPENAPI names one");
        return None;
    };
    Some(serde_json::from_str(&text).expect("the description is JSON"))
}

/// What does not fit, by where it stands.
fn misfits(whole: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return misfits(whole, whole.pointer(pointer).unwrap_or(&Value::Null), value, at);
    }
    let mut found = Vec::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(misfits(whole, part, value, at));
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        // Of what was empty before, Jira says null.
        Some("string") => value.is_string() || (value.is_null() && at.contains("/changelog/")),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => true,
    };
    if !fits {
        found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    for (index, one) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(misfits(whole, &schema["items"], one, &format!("{at}/{index}")));
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    found.extend(required.filter(|name| value.get(name).is_none()).map(|name| format!("{at}: {name} is missing")));
    for (name, one) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(known) => found.extend(misfits(whole, known, one, &format!("{at}/{name}"))),
            None if schema["additionalProperties"] == false => found.push(format!("{at}: {name} is unknown")),
            None => {}
        }
    }
    found
}

const ISSUE: &str = "/rest/api/3/issue/{issueIdOrKey}";
const ASSIGNEE: &str = "/rest/api/3/issue/{issueIdOrKey}/assignee";
const TRANSITIONS: &str = "/rest/api/3/issue/{issueIdOrKey}/transitions";
const COMMENT: &str = "/rest/api/3/issue/{issueIdOrKey}/comment";

/// Each call of the fake one: the path as the description names it, the request, and what it is answered.
async fn calls(jira: &FakeJira) -> Vec<(&'static str, Method, Answer)> {
    let issue = jira.add_issue("DIR", "one");
    let dev = jira.named("dev-1");
    let one = format!("/rest/api/3/issue/{issue}");
    let new = json!({ "fields": { "project": { "key": "DIR" }, "summary": "s", "issuetype": { "id": "10001" } } });
    let bulk = json!({ "bulkTransitionInputs": [{ "selectedIssueIdsOrKeys": [issue], "transitionId": "51" }] });
    let requests = [
        ("/rest/api/3/myself", Method::GET, "/rest/api/3/myself".to_owned(), None),
        ("/rest/api/3/status", Method::GET, "/rest/api/3/status".to_owned(), None),
        (
            "/rest/api/3/project/{projectIdOrKey}/statuses",
            Method::GET,
            "/rest/api/3/project/DIR/statuses".to_owned(),
            None,
        ),
        (
            "/rest/api/3/search/jql",
            Method::GET,
            "/rest/api/3/search/jql?jql=project+%3D+%22DIR%22&fields=status".to_owned(),
            None,
        ),
        (ISSUE, Method::GET, format!("{one}?expand=transitions,changelog"), None),
        (ISSUE, Method::GET, "/rest/api/3/issue/DIR-99".to_owned(), None),
        (TRANSITIONS, Method::GET, format!("{one}/transitions"), None),
        (ASSIGNEE, Method::PUT, format!("{one}/assignee"), Some(dev.clone())),
        (ASSIGNEE, Method::PUT, format!("{one}/assignee"), Some(json!({ "accountId": "nobody" }))),
        (TRANSITIONS, Method::POST, format!("{one}/transitions"), Some(json!({ "transition": { "id": "21" } }))),
        (TRANSITIONS, Method::POST, format!("{one}/transitions"), Some(json!({ "transition": { "id": "21" } }))),
        (ISSUE, Method::PUT, one.clone(), Some(json!({ "fields": { "summary": "x", "assignee": dev } }))),
        (ISSUE, Method::PUT, format!("{one}?returnIssue=true"), Some(json!({ "fields": { "summary": "y" } }))),
        (ISSUE, Method::PUT, one.clone(), Some(json!({ "fields": { "status": { "name": "Done" } } }))),
        (COMMENT, Method::POST, format!("{one}/comment"), Some(json!({ "body": "x" }))),
        (COMMENT, Method::GET, format!("{one}/comment"), None),
        (
            "/rest/api/3/issue/{issueIdOrKey}/worklog",
            Method::POST,
            format!("{one}/worklog"),
            Some(json!({ "timeSpent": "1h" })),
        ),
        ("/rest/api/3/issue", Method::POST, "/rest/api/3/issue".to_owned(), Some(new.clone())),
        (
            "/rest/api/3/issue/bulk",
            Method::POST,
            "/rest/api/3/issue/bulk".to_owned(),
            Some(json!({ "issueUpdates": [new] })),
        ),
        (
            "/rest/api/3/bulk/issues/transition",
            Method::POST,
            "/rest/api/3/bulk/issues/transition".to_owned(),
            Some(bulk),
        ),
        (ISSUE, Method::DELETE, one.clone(), None),
    ];
    let address = jira.addr;
    let mut client = caller(jira, address, "dev-1");
    let mut answers = Vec::new();
    for (named, method, path, body) in requests {
        let answer = client.call(method.clone(), &path, body).await;
        answers.push((named, method, answer));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_one_answers_as_its_description_says() {
    let Some(description) = description() else { return };
    let jira = jira(Flavour::Cloud).await;
    let (mut found, mut statuses) = (Vec::new(), BTreeSet::new());
    for (path, method, answer) in calls(&jira).await {
        let operation = &description["paths"][path][method.as_str().to_lowercase()];
        let at = format!("{method} {path} {}", answer.status);
        statuses.insert(answer.status);
        let Some(response) = operation["responses"].get(answer.status.to_string()) else {
            found.push(format!("{at}: no such answer"));
            continue;
        };
        let schema = &response["content"]["application/json"]["schema"];
        // Of an error the description gives an example alone.
        if answer.body.is_empty() || answer.status >= 400 {
            assert!(answer.status < 400 || answer.json()["errorMessages"].is_array(), "{at}: {answer:?}");
            continue;
        }
        found.extend(misfits(&description, schema, &answer.json(), &at));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 201, 204, 400, 404]);
}

/// Every call of the description that changes an issue is one that the gate knows, whichever way it takes it.
#[test]
fn no_documented_call_is_unknown() {
    use claimgate::dialect::{Head, Route, Target, by_name};
    let Some(description) = description() else { return };
    let dialect = by_name("jira").expect("there is one");
    let mut guarded = 0;
    for (path, operations) in description["paths"].as_object().into_iter().flatten() {
        let filled = path.replace("{issueIdOrKey}", "PROJ-7").replace("{projectIdOrKey}", "PROJ");
        let filled =
            filled.split('/').map(|part| if part.starts_with('{') { "10" } else { part }).collect::<Vec<_>>().join("/");
        for method in ["put", "post", "delete"].into_iter().filter(|method| operations.get(method).is_some()) {
            let (method, headers) = (method.to_uppercase().parse().expect("a method"), http::HeaderMap::new());
            let target = Target::parse(&filled);
            match dialect.classify(&Head { method: &method, target: &target, headers: &headers }) {
                Route::Refuse(error) => panic!("{method} {filled}: {error}"),
                Route::Guarded(_) => guarded += 1,
                Route::Pass | Route::Read { .. } => {}
            }
        }
    }
    assert!(guarded >= 9, "{guarded}");
}
