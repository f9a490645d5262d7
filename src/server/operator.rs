//! What the admin listener adds for the operator: the live page, status, claims, refusals, history, release, mode, singletons.

use super::admin::{AdminBody, AdminRequest, AdminRoutes, whole};
use super::page::Page;
use super::status::{GateFacts, claim, refusals, status};
use crate::admission::{Mode, Part, Switched};
use crate::effect::ModeSpread;
use crate::gate::{Gate, OperatorWord, ReleaseError};
use crate::model::Place;
use crate::proxy::singletons::{ended_text, lease_json, list, named, status_and_text};
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The operator's routes.
pub struct Operator {
    gate: Arc<Gate>,
    facts: GateFacts,
    page: Page,
    /// Where it is kept what was switched, so that the next start can say that it is gone.
    switched: PathBuf,
}

type Answer = Result<Value, (StatusCode, String)>;

/// Audit lines that `history` shows at most.
const MOST_HISTORY: usize = 1000;
/// Refusals that are told at once.
const MOST_REFUSALS: usize = 200;
const LONG_HISTORY: usize = 3 << 20;
/// The file of the modes that were switched.
const SWITCHED: &str = "switched-modes";
/// Before the name of one.
const SINGLETON: &str = "/singletons/";
const NO_MODE: &str = "mode must be \"enforce\" or \"observe\"";
const NO_PART: &str = "rule must be \"assignment\", \"workflow\", \"limits\", \"singleton\" or \"once\"";

// === impl Operator ===

impl Operator {
    /// Over this gate, with its state directory.
    pub fn new(gate: Arc<Gate>, facts: GateFacts, state_dir: &Path) -> Self {
        let page = Page::new(Arc::clone(&gate), facts.clone());
        Self { gate, facts, page, switched: state_dir.join(SWITCHED) }
    }

    /// Keeps the board, and sends it to all who look at the live page. Runs until it is aborted.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(Arc::clone(&self.gate).keep_board(), self.page.run());
    }

    /// What the operator had switched in the gate's life before this one, and nothing keeps up: told once.
    pub fn switched_before(state_dir: &Path) -> Option<Switched> {
        let path = state_dir.join(SWITCHED);
        let switched = std::fs::read_to_string(&path).ok()?;
        drop(std::fs::remove_file(&path));
        Some(Switched::parse(&switched)).filter(|switched| !switched.is_empty())
    }

    async fn claims(&self) -> Answer {
        let now = self.gate.ports().clock.now();
        let board = self.gate.board().await.map_err(|error| unavailable(&error))?;
        let claims = board.items.iter().map(|(record, standing)| claim(record, *standing, now));
        Ok(json!({ "claims": claims.collect::<Vec<_>>() }))
    }

    async fn refusals(&self, query: Option<&str>) -> Answer {
        let (mut after, mut limit) = (None, MOST_REFUSALS);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let number: u64 = value.parse().map_err(|_| bad(&format!("{name} is not a number")))?;
            match &*name {
                "after" => after = Some(number),
                "limit" => limit = usize::try_from(number).unwrap_or(limit).min(limit),
                _ => return Err(bad("refusals are asked for with after=NUMBER and limit=NUMBER")),
            }
        }
        refusals(&self.gate, after, limit).await.map_err(|error| unavailable(&error))
    }

    async fn history(&self, query: Option<&str>) -> Answer {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let item = pairs.into_iter().find(|(name, _)| name == "item").map(|(_, value)| value.into_owned());
        let item = self.place(item.as_deref())?;
        // One more, to know whether there are more.
        let lines = self.gate.ports().ledger.lines_about(&item, MOST_HISTORY + 1).await;
        let mut lines = lines.map_err(|error| unavailable(&error))?;
        // The ledger reads a bounded memory of them at once, which only lines of older versions fill.
        let cut = lines.len() > MOST_HISTORY || lines.iter().map(String::len).sum::<usize>() > LONG_HISTORY;
        lines.truncate(MOST_HISTORY);
        let lines: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        // What is not here is no reason to tell nothing of what is.
        let pruned = self.gate.ports().ledger.pruned().await.unwrap_or_default().to_string();
        let older = Some(pruned).filter(|text| !text.is_empty());
        let ids = lines.iter().filter_map(|line| line["change"].as_str()).flat_map(label_ids).collect();
        let labels = self.gate.label_names(&item, &ids).await;
        Ok(json!({ "history": lines, "order": "newest_first", "cut": cut, "older": older, "labels": labels }))
    }

    async fn release(&self, body: &[u8], by: &str) -> Answer {
        let asked = object(body)?;
        let item = self.place(asked["item"].as_str())?;
        let reason = asked["reason"].as_str().filter(|reason| !reason.is_empty()).unwrap_or("no reason given");
        let word = OperatorWord { reason: reason.to_owned(), by: Some(by.to_owned()) };
        let released = self.gate.release(&item, word).await.map_err(|error| match error {
            ReleaseError::NotHeld(_) => (StatusCode::NOT_FOUND, error.to_string()),
            ReleaseError::Another { .. } => (StatusCode::CONFLICT, error.to_string()),
            ReleaseError::Lane(_) | ReleaseError::Ledger(_) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        })?;
        let holding = released.holder.map(|holder| format!("the holding of {holder} has ended"));
        let doubts = match released.doubts {
            0 => None,
            1 => Some("a write in doubt has ended".to_owned()),
            several => Some(format!("{several} writes in doubt have ended")),
        };
        let ended: Vec<String> = holding.into_iter().chain(doubts).collect();
        let (Ok(tracker) | Err(tracker)) = &released.tracker;
        let now = self.gate.ports().clock.now();
        Ok(json!({
            "message": format!("{item}: {}. {tracker}", ended.join("; ")),
            "left_undone": released.tracker.is_err(),
            "claim": claim(&released.record, self.gate.standing(&released.record, now), now),
        }))
    }

    fn place(&self, item: Option<&str>) -> Result<Place, (StatusCode, String)> {
        let address = self.gate.ports().dialect.item(item.unwrap_or_default());
        address.map(|address| address.place).map_err(|error| bad(&error.to_string()))
    }

    async fn singletons(&self) -> Answer {
        Ok(list(&self.gate.leases().await.map_err(|error| unavailable(&error))?))
    }

    async fn end_singleton(&self, place: &str, query: Option<&str>, by: &str) -> Answer {
        let (rule, project) = named(place).ok_or_else(|| bad("a singleton is named NAME/OWNER/REPO"))?;
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let reason = pairs.find(|(name, _)| name == "reason").map(|(_, value)| value.into_owned());
        let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| "no reason given".to_owned());
        let word = OperatorWord { reason, by: Some(by.to_owned()) };
        let ended = self.gate.end_lease(rule, &project, word).await.map_err(|error| status_and_text(&error))?;
        Ok(json!({ "message": ended_text(&ended), "ended": lease_json(&ended) }))
    }

    /// The modes that are in force, and which of them are not the configuration's.
    fn modes(&self) -> Value {
        let switched = self.gate.switched();
        let modes = self.gate.rules().modes().into_iter().map(|(rule, part, mode)| {
            json!({ "rule": rule, "mode": mode.as_str(), "switched": switched.of(part).is_some() })
        });
        json!({ "modes": modes.collect::<Vec<_>>() })
    }

    async fn mode(&self, body: &[u8], by: &str) -> Answer {
        let asked = object(body)?;
        let mode = asked["mode"].as_str().and_then(Mode::parse).ok_or_else(|| bad(NO_MODE))?;
        let parts = match asked["rule"].as_str() {
            None => Part::ALL.to_vec(),
            Some(name) => vec![Part::parse(name).ok_or_else(|| bad(NO_PART))?],
        };
        let spread = self.gate.switch_everywhere(&parts, mode, by).await.map_err(|error| unavailable(&error))?;
        let rule = asked["rule"].as_str().unwrap_or("all rules");
        let decision = self.gate.record_operator(&format!("mode {} for {rule}", mode.as_str()), by);
        self.gate.ports().metrics.mode_switches.inc();
        tracing::warn!(rule, mode = mode.as_str(), by, decision, "an operator switched a mode");
        if let Some(spread) = spread {
            return Ok(json!({ "message": spread_text(rule, mode, &spread), "missing": spread.missing }));
        }
        if let Err(error) = std::fs::write(&self.switched, self.gate.switched().to_string()) {
            tracing::warn!(%error, "the switch is not noted in the state directory: the next start will not speak of it");
        }
        Ok(json!({ "message": switched_text(rule, mode) }))
    }
}

impl AdminRoutes for Operator {
    fn handle<'a>(&'a self, request: AdminRequest<'a>) -> BoxFuture<'a, Option<Response<AdminBody>>> {
        Box::pin(async move {
            let AdminRequest { method, path, query, body, by } = request;
            let answer = match (method, path) {
                (&Method::GET, "/claims") => self.claims().await,
                (&Method::GET, "/refusals") => self.refusals(query).await,
                (&Method::GET, "/status") => status(&self.gate, &self.facts).await.map_err(|error| unavailable(&error)),
                (&Method::GET, "/history") => self.history(query).await,
                (&Method::POST, "/release") => self.release(&body, by).await,
                (&Method::GET, "/mode") => Ok(self.modes()),
                (&Method::POST, "/mode") => self.mode(&body, by).await,
                (&Method::GET, "/singletons") => self.singletons().await,
                (&Method::DELETE, _) if path.starts_with(SINGLETON) => {
                    self.end_singleton(&path[SINGLETON.len() - 1..], query, by).await
                }
                (_, "/claims" | "/refusals" | "/status" | "/history" | "/release" | "/mode" | "/singletons") => {
                    Err((StatusCode::METHOD_NOT_ALLOWED, format!("{path} is not for {method}")))
                }
                (&Method::GET, _) => return self.page.answer(path, query).await,
                _ => return None,
            };
            Some(response(answer))
        })
    }
}

fn switched_text(rule: &str, mode: Mode) -> String {
    let (does, opposite) = match mode {
        Mode::Enforce => ("also where the configuration only observes", Mode::Observe),
        Mode::Observe => ("whatever the configuration says", Mode::Enforce),
    };
    let (mode, opposite) = (mode.as_str(), opposite.as_str());
    format!("{rule}: {mode}, {does}, until the next start or `mode {opposite}`; SIGHUP leaves it so")
}

/// The ledger keeps what is switched for all gates: no start undoes it.
fn spread_text(rule: &str, mode: Mode, spread: &ModeSpread) -> String {
    let (at, gates) = (spread.gates, if spread.gates == 1 { "gate" } else { "gates" });
    let missing = match spread.missing.as_slice() {
        [] => String::new(),
        missing => format!("; not yet at {}, which will hear of it", missing.join(", ")),
    };
    format!("{rule}: {}, in force at {at} {gates}{missing}; it stays so until it is switched again", mode.as_str())
}

/// The ids by which a change of the audit names labels: `#41`.
fn label_ids(change: &str) -> impl Iterator<Item = u64> {
    let numbers = change.split('#').skip(1);
    numbers.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
}

fn object(body: &[u8]) -> Result<Value, (StatusCode, String)> {
    let value: Value = serde_json::from_slice(body).map_err(|error| bad(&format!("the body is not JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(bad("the body must be a JSON object")) }
}

fn bad(message: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.to_owned())
}

fn unavailable(error: &crate::effect::LedgerError) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

fn response(answer: Answer) -> Response<AdminBody> {
    let (status, value) = match answer {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({ "message": message })),
    };
    let mut response = Response::new(whole(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
