//! A Jira for tests: stateful, in memory, behind a real socket. Strict where Jira is, and as forgiving as its JSON reader.
//!
//! Cloud names accounts by `accountId`, has version 3 and bulk calls that are carried out later; Data Center names them by
//! `name`, has sessions and `os_username`. Writes are what a database without compare-and-set makes of them: read, then
//! written a moment later. Nothing of the gate is imported here.

mod answers;
mod api;
mod auth;
mod edit;
mod later;
mod state;

pub use answers::JiraReply;
pub use state::{FakeFault, FakeStatus, Flavour, JiraState, LoggedCall};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// A running fake Jira; it ends when this is dropped.
pub struct FakeJira {
    pub addr: SocketAddr,
    state: Arc<Mutex<JiraState>>,
    listens: tokio::task::JoinHandle<()>,
}

/// An issue as it is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueSeen {
    pub key: String,
    /// The login of the account.
    pub assignee: Option<String>,
    /// The name of its status.
    pub status: String,
    /// How many transitions were carried out.
    pub transitions: usize,
    pub summary: String,
    pub comments: usize,
}

/// One request, read whole.
pub struct JiraRequest {
    pub head: Parts,
    pub body: Bytes,
    /// Who sends it.
    pub user: Option<String>,
    /// Its place in the log.
    pub seq: usize,
}

impl FakeJira {
    pub async fn start(flavour: Flavour) -> Self {
        Self::below(flavour, "").await
    }

    /// One that is served below a path.
    pub async fn below(flavour: Flavour, context: &str) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(JiraState::new(flavour, &format!("http://{addr}{context}"), context)));
        let shared = Arc::clone(&state);
        let listens = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(answer(shared, request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { addr, state, listens }
    }

    pub fn base(&self) -> String {
        self.rows().base.clone()
    }

    pub fn rows(&self) -> MutexGuard<'_, JiraState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn issue(&self, key: &str) -> IssueSeen {
        let rows = self.rows();
        let issue = rows.find(key).unwrap_or_else(|| panic!("no issue {key}"));
        IssueSeen {
            key: issue.key.clone(),
            assignee: issue.assignee.clone(),
            status: rows.status(issue.status).name.clone(),
            transitions: issue.transitions,
            comments: issue.comments.len(),
            summary: issue.fields.get("summary").and_then(Value::as_str).unwrap_or_default().to_owned(),
        }
    }

    /// How an account is named in a request.
    pub fn named(&self, login: &str) -> Value {
        self.rows().named(login)
    }

    /// The id of an issue, which stays.
    pub fn id(&self, key: &str) -> String {
        self.rows().find(key).unwrap_or_else(|| panic!("no issue {key}")).id.to_string()
    }

    pub fn flavour(&self) -> Flavour {
        self.rows().flavour
    }

    pub fn add_issue(&self, project: &str, summary: &str) -> String {
        self.rows().add_issue(project, "lead", summary)
    }

    /// The requests that would change assignee or status, in their order.
    pub fn guarded(&self) -> Vec<LoggedCall> {
        self.rows().log.iter().filter(|call| call.guarded).cloned().collect()
    }
}

impl Drop for FakeJira {
    fn drop(&mut self) {
        self.listens.abort();
    }
}

async fn answer(state: Arc<Mutex<JiraState>>, request: http::Request<Incoming>) -> http::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let (request, early, delay) = {
        let mut rows = lock();
        let user = auth::who(&rows, &head);
        let seq = rows.log.len();
        let guarded = api::is_guarded(&head, &body);
        rows.log.push(LoggedCall::new(&head, &body, user.clone(), guarded));
        let early = rows.script.iter().position(|fault| fault.hits(&head)).map(|at| rows.script.remove(at));
        let delay = if head.method == http::Method::GET { Duration::ZERO } else { rows.write_delay };
        (JiraRequest { head, body, user, seq }, early, delay)
    };
    let reply = match early {
        Some(fault) if !fault.applies => fault.reply,
        Some(fault) => {
            api::respond(&state, &request, delay).await;
            fault.reply
        }
        None => api::respond(&state, &request, delay).await,
    };
    if let Some(call) = lock().log.get_mut(request.seq) {
        call.status = reply.status;
    }
    reply.into_response()
}
