//! `openapi.json` against what is answered: every status of every operation is brought about once, and each answer is
//! held to the schema that the document gives for it.

use super::{CLAIMS, NEXT, claim};
use crate::e2e::{self, Answer, Client, Gate, REPO, Setup};
use claimgate::fake_forge::{FakeForge, Fault, Matcher, Vices};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const BY_NAME: &str = "/_claimgate/v1/claims/{owner}/{repository}/{number}";

/// An operation, and a request to it about one item.
struct Operation {
    method: Method,
    template: String,
    path: String,
    body: Option<Value>,
}

fn operations(number: u64) -> Vec<Operation> {
    let operation =
        |method, template: &str, path: String, body| Operation { method, template: template.into(), path, body };
    vec![
        operation(Method::POST, NEXT, NEXT.into(), Some(json!({"repository": REPO}))),
        operation(Method::POST, CLAIMS, CLAIMS.into(), Some(json!({"item": format!("{REPO}#{number}")}))),
        operation(Method::DELETE, BY_NAME, claim(number), None),
        operation(
            Method::POST,
            &format!("{BY_NAME}/handover"),
            format!("{}/handover", claim(number)),
            Some(json!({"to": "bob"})),
        ),
    ]
}

/// A world in which every operation about the item of that number can succeed for `ann`, whichever is next.
async fn world(index: usize, config: &str) -> (FakeForge, Gate) {
    let forge = e2e::forge(&["ann", "bob", "eve"]).await;
    e2e::backlog_issue(&forge);
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    if index >= 2 {
        // There is something to release and to hand over.
        gate.agent("ann").claim(1).await.granted();
    }
    (forge, gate)
}

struct Seen {
    document: Value,
    found: BTreeSet<String>,
}

impl Seen {
    /// Holds an answer to what the document says of it.
    #[track_caller]
    fn check(&mut self, operation: &Operation, answer: &Answer, status: u16) {
        let Operation { method, template, .. } = operation;
        assert_eq!(answer.status, status, "{method} {template}: {answer:?}");
        let verb = method.as_str().to_lowercase();
        let said = self.resolve(&self.document["paths"][template][&verb]["responses"][status.to_string()]).clone();
        assert!(said.is_object(), "{method} {template} is not said to answer {status}");
        for (kind, media) in said["content"].as_object().into_iter().flatten() {
            let given = answer.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
            assert_eq!(given.split(';').next(), Some(kind.as_str()), "{method} {template} {status}");
            self.fits(&media["schema"], &answer.json(), &format!("{method} {template} {status}"));
        }
        for (name, header) in said["headers"].as_object().into_iter().flatten() {
            let needed = self.resolve(header)["required"] == true;
            assert!(!needed || answer.headers.contains_key(name.as_str()), "{method} {template} {status}: no {name}");
        }
        self.found.insert(format!("{method} {template} {status}"));
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(path) => self.document.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}")),
            None => value,
        }
    }

    /// As much of JSON Schema as the document uses of answers.
    #[track_caller]
    fn fits(&self, schema: &Value, value: &Value, at: &str) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let choice = choices.iter().find(|choice| (choice["type"] == "null") == value.is_null());
            return self.fits(choice.unwrap_or_else(|| panic!("{at}: {value}")), value, at);
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = &schema["type"];
        assert!(*kinds == kind || kinds.as_array().is_some_and(|all| all.contains(&json!(kind))), "{at}: {value}");
        let Some(members) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(name.as_str().unwrap()), "{at}: no {name} in {value}");
        }
        for (name, member) in members {
            match &schema["properties"][name] {
                Value::Null => assert!(schema["additionalProperties"] != false, "{at}: {name} is not described"),
                schema => self.fits(schema, member, &format!("{at}.{name}")),
            }
        }
    }
}

async fn send(agent: &mut Client, operation: &Operation) -> Answer {
    match &operation.body {
        Some(body) => agent.call(operation.method.clone(), &operation.path, Some(body.clone())).await,
        None => agent.send(operation.method.clone(), &operation.path, &[], "".into()).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_described_and_every_description_is_answered() {
    let forge = e2e::forge(&[]).await;
    let gate = e2e::gate(&forge).await;
    let answer = gate.anonymous().get("/_claimgate/v1/openapi.json").await;
    let describe = Operation {
        method: Method::GET,
        template: "/_claimgate/v1/openapi.json".into(),
        path: "/_claimgate/v1/openapi.json".into(),
        body: None,
    };
    let mut seen = Seen { document: answer.json(), found: BTreeSet::new() };
    seen.check(&describe, &answer, 200);

    for (index, operation) in operations(1).into_iter().enumerate() {
        refused_as_it_stands(&mut seen, index, &operation).await;
        answered_by_a_forge_in_trouble(&mut seen, index, &operation).await;
        let (_forge, gate) = world(index, "").await;
        let success = [201, 201, 204, 200][index];
        seen.check(&operation, &send(&mut gate.agent("ann"), &operation).await, success);
        if index == 0 {
            seen.check(&operation, &send(&mut gate.agent("bob"), &operation).await, 204);
        }
    }

    let mut said = BTreeSet::new();
    for (path, verbs) in seen.document["paths"].as_object().expect("paths") {
        for (verb, operation) in verbs.as_object().expect("verbs") {
            let statuses = operation["responses"].as_object().expect("responses").keys();
            let statuses = statuses.filter(|status| *status != "default");
            said.extend(statuses.map(|status| format!("{} {path} {status}", verb.to_uppercase())));
        }
    }
    assert_eq!(said, seen.found);
}

/// What is refused to a request, or to its sender, without anything being wrong with the forge.
async fn refused_as_it_stands(seen: &mut Seen, index: usize, operation: &Operation) {
    let (forge, gate) = world(index, "[identity]\nshared_accounts = [\"eve\"]\n").await;
    let mut ann = gate.agent("ann");
    let (method, path) = (&operation.method, operation.path.as_str());
    let typed = [("content-type", "application/json")];
    let wrong = ann.send(method.clone(), path, &typed, r#"{"surprise":1}"#.into()).await;
    seen.check(operation, &wrong, 400);
    if operation.body.is_some() {
        let large = format!(r#"{{"surprise":"{}"}}"#, "x".repeat(300 << 10));
        // Its connection is closed after that.
        let mut talker = gate.agent("ann");
        seen.check(operation, &talker.send(method.clone(), path, &typed, large.into()).await, 413);
        seen.check(operation, &ann.send(method.clone(), path, &[], "{}".into()).await, 415);
    }
    let mut nobody = gate.anonymous();
    seen.check(operation, &send(&mut nobody, operation).await, 401);
    // An account of several agents that does not say which.
    let shared = send(&mut gate.agent("eve"), operation).await;
    seen.check(operation, &shared, 409);
    shared.refused(409, "identity_required");
    let elsewhere = |text: &str| text.replace(REPO, "acme/none");
    let body = operation.body.as_ref().map(|body| serde_json::from_str(&elsewhere(&body.to_string())).unwrap());
    let missing =
        Operation { path: elsewhere(path), body, template: operation.template.clone(), method: method.clone() };
    seen.check(operation, &send(&mut ann, &missing).await, 404);
    if index > 0 {
        let mut doubting = gate.agent("ann").with("if-match", "\"00000000000000000000000000000000\"");
        let unmet = send(&mut doubting, operation).await;
        seen.check(operation, &unmet, 412);
        unmet.refused(412, "precondition_failed");
    }
    // The forge takes the write, and does not carry it out.
    forge.script(Fault::Ignore, Matcher::new("PATCH", "/issues/1"));
    let ignored = send(&mut ann, operation).await;
    seen.check(operation, &ignored, 403);
    assert_eq!(ignored.json()["claimgate"]["code"], "not_applied");
}

async fn answered_by_a_forge_in_trouble(seen: &mut Seen, index: usize, operation: &Operation) {
    let (forge, gate) = world(index, "").await;
    let mut ann = gate.agent("ann");
    forge.set_vices(Vices { read_fault: Some(Fault::ErrorBeforeWrite(503)), ..Vices::default() });
    seen.check(operation, &send(&mut ann, operation).await, 502);
    forge.set_vices(Vices { write_fault: Some(Fault::CutAfter), ..Vices::default() });
    seen.check(operation, &send(&mut ann, operation).await, 504);

    // Somebody is in the middle of a write of the only item, and nobody waits long for a turn.
    let (forge, gate) = world(index, "[assignment]\nlane_timeout = \"100ms\"\n").await;
    forge.set_vices(Vices { write_delay: Duration::from_secs(1), ..Vices::default() });
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let under_way = async {
        let written = || async {
            forge.requests().iter().any(|request| request.guarded && request.status.is_none()).then_some(())
        };
        e2e::eventually(written, Duration::from_secs(10)).await.expect("a write is under way");
        send(&mut bob, operation).await
    };
    let (_, busy) = tokio::join!(send(&mut ann, operation), under_way);
    seen.check(operation, &busy, 503);
    assert!(busy.headers.contains_key("retry-after"));
}

also_as_forgejo_17! {
    every_answer_is_described_and_every_description_is_answered,
}
