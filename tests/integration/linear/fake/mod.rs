//! A Linear for tests: stateful, in memory, behind a real socket. It is as strict as its part of the schema, reads documents
//! by a reader of its own, and knows nothing of the gate.

pub mod document;
pub mod schema;
mod store;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

pub use store::{Issue, Store, User};

static TYPES: LazyLock<schema::Types> = LazyLock::new(|| schema::types(schema::CUT));

/// A running fake Linear.
pub struct FakeLinear {
    pub addr: SocketAddr,
    store: Arc<Mutex<Store>>,
    serving: tokio::task::JoinHandle<()>,
}

/// The states of each team, with their types.
const STATES: [(&str, &str); 8] = [
    ("Triage", "triage"),
    ("Backlog", "backlog"),
    ("Todo", "unstarted"),
    ("In Progress", "started"),
    ("In Review", "started"),
    ("Done", "completed"),
    ("Canceled", "canceled"),
    ("Duplicate", "duplicate"),
];
/// What its answers take, so that two that come at once meet.
const TAKES: Duration = Duration::from_millis(3);

/// The key of a user.
pub fn key_of(name: &str) -> String {
    format!("lin_api_{name}")
}

impl FakeLinear {
    /// With a team `ENG` and one `OPS`, these people and these apps.
    pub async fn start(people: &[&str], apps: &[&str]) -> Self {
        let mut store = Store { teams: vec!["ENG".to_owned(), "OPS".to_owned()], ..Store::default() };
        for (name, app) in people.iter().map(|name| (name, false)).chain(apps.iter().map(|name| (name, true))) {
            let user = User { id: store.uuid(1), name: (*name).to_owned(), app };
            store.users.insert(key_of(name), user);
        }
        for team in 0..2 {
            for (name, kind) in STATES {
                let id = store.uuid(2);
                store.states.insert(id, (team, name.to_owned(), kind.to_owned()));
            }
        }
        for label in ["Bug", "Feature"] {
            let id = store.uuid(3);
            store.labels.insert(id, label.to_owned());
        }
        let store = Arc::new(Mutex::new(store));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let serving = tokio::spawn(serve(listener, Arc::clone(&store)));
        Self { addr, store, serving }
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An issue of the team `ENG`: its identifier.
    pub fn issue(&self, state: &str) -> String {
        let mut store = self.store();
        let id = store.add_issue(0, state, "a piece of work", None);
        store.newest(&id).map(|issue| store.identifier(issue)).expect("it is there")
    }

    pub fn shown(&self, id: &str) -> Issue {
        self.store().newest(id).cloned().expect("it is there")
    }

    /// The id of a state of `ENG`.
    pub fn state(&self, name: &str) -> String {
        self.store().state_named(0, name)
    }

    pub fn label(&self, name: &str) -> String {
        let store = self.store();
        let found = store.labels.iter().find(|(_, known)| *known == name);
        found.map(|(id, _)| id.clone()).expect("there is the label")
    }

    pub fn user(&self, name: &str) -> String {
        self.store().users[&key_of(name)].id.clone()
    }

    /// Who stands where: the state's name, the assignee and the delegate.
    pub fn stands(&self, id: &str) -> (String, Option<String>, Option<String>) {
        let issue = self.shown(id);
        let store = self.store();
        let named = |id: Option<&String>| {
            let user = store.users.values().find(|user| Some(&user.id) == id);
            user.map(|user| user.name.clone())
        };
        (store.states[&issue.state].1.clone(), named(issue.assignee.as_ref()), named(issue.delegate.as_ref()))
    }

    /// The mutations that were carried out, as `who field`.
    pub fn log(&self) -> Vec<String> {
        self.store().written.iter().map(|one| format!("{} {}", one.by, one.field)).collect()
    }
}

impl Drop for FakeLinear {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, store: Arc<Mutex<Store>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(Arc::clone(&store), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(connection.await);
        });
    }
}

async fn answer(store: Arc<Mutex<Store>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    tokio::time::sleep(TAKES).await;
    let (status, body) = if head.uri.path() == "/graphql" && head.method == "POST" {
        let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        execute(&mut store.lock().unwrap_or_else(PoisonError::into_inner), authorization.unwrap_or_default(), &body)
    } else {
        (404, json!({ "error": "not found" }))
    };
    let response = Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    Ok(response.body(Full::new(body.to_string().into())).expect("a response"))
}

fn error(message: &str, code: &str) -> Value {
    let extensions =
        json!({ "code": code, "type": "invalid input", "userError": true, "userPresentableMessage": message });
    json!({ "data": null, "errors": [{ "message": message, "extensions": extensions }] })
}

/// As Apollo's server does: a key that nobody knows is 401, a document that is none is 400, and all else 200.
fn execute(store: &mut Store, authorization: &str, body: &[u8]) -> (u16, Value) {
    store.requests += 1;
    if let Some(left) = &mut store.left {
        if *left == 0 {
            return (400, error("Rate limit exceeded", "RATELIMITED"));
        }
        *left -= 1;
    }
    let Ok(Value::Object(sent)) = serde_json::from_slice(body) else { return (400, error("no JSON", "BAD_REQUEST")) };
    let empty = Map::new();
    let variables = sent.get("variables").and_then(Value::as_object).unwrap_or(&empty);
    let name = sent.get("operationName").and_then(Value::as_str);
    let query = sent.get("query").and_then(Value::as_str).unwrap_or_default();
    let asked = match document::asked(query, variables, name) {
        Ok(asked) => asked,
        Err(why) => return (400, error(&format!("Syntax Error: {why}"), "GRAPHQL_PARSE_FAILED")),
    };
    let root = if asked.is_mutation { "Mutation" } else { "Query" };
    if let Err(why) = schema::check(&TYPES, root, &asked.fields) {
        return (400, error(&why, "GRAPHQL_VALIDATION_FAILED"));
    }
    if asked.fields.iter().all(|field| field.name == "__typename") {
        return (200, json!({ "data": { "__typename": root } }));
    }
    let Some(who) = store.users.get(authorization).cloned() else {
        return (401, error("Authentication required, not authenticated", "AUTHENTICATION_ERROR"));
    };
    let mut data = Map::new();
    for field in &asked.fields {
        match store.answer(&who, field, asked.is_mutation) {
            Ok(value) => drop(data.insert(field.key.clone(), select(root, &field.name, &value, &field.selections))),
            Err(why) => return (200, error(&why, "INPUT_ERROR")),
        }
    }
    (200, json!({ "data": data }))
}

/// What is selected of a value.
fn select(of: &str, field: &str, value: &Value, selections: &[document::Selected]) -> Value {
    let next = schema::bare(&TYPES[of][field].of);
    match value {
        Value::Array(items) => items.iter().map(|item| select(of, field, item, selections)).collect(),
        Value::Object(members) if !selections.is_empty() => {
            let each = selections.iter().map(|selected| {
                let value = match selected.name.as_str() {
                    "__typename" => next.into(),
                    name => select(next, name, members.get(name).unwrap_or(&Value::Null), &selected.selections),
                };
                (selected.key.clone(), value)
            });
            Value::Object(each.collect())
        }
        plain => plain.clone(),
    }
}
