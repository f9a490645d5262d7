//! Trello: a fake one, behind the real binary.

mod clients;
mod commands;
mod fake;
mod gate;
mod incident;
mod shapes;
mod webhooks;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::e2e::{Gate, Setup};
use crate::ways::talk;
use fake::FakeTrello;

/// A gate that speaks Trello, with more configuration.
pub async fn gate_before(trello: SocketAddr, more: &str) -> Gate {
    let config = format!("[upstream]\ntracker = \"trello\"\n{more}");
    Setup::before(&format!("http://{trello}")).config(&config).start().await
}

/// A board with the lists of [`LISTS`] and so many agents, `agent-0` and so on; ids of the agents and of the lists.
pub struct Stage {
    pub trello: FakeTrello,
    pub agents: Vec<String>,
    pub board: String,
    pub lists: Vec<String>,
}

pub const LISTS: [&str; 5] = ["Backlog", "Todo", "Doing", "Done", "Ideas"];

pub async fn board(agents: usize) -> Stage {
    let trello = FakeTrello::start().await;
    let agents: Vec<String> = (0..agents).map(|number| trello.add_member(&format!("agent-{number}"))).collect();
    let board = trello.add_board(&agents.iter().collect::<Vec<_>>());
    let lists = LISTS.iter().map(|name| trello.add_list(&board, name)).collect();
    Stage { trello, agents, board, lists }
}

impl Stage {
    /// The id of a list.
    pub fn list(&self, name: &str) -> &str {
        let at = LISTS.iter().position(|known| *known == name).expect("a list");
        &self.lists[at]
    }
}

/// An answer, as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["claimgate"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends `METHOD /path`, with lines of headers and a body.
pub async fn send(to: SocketAddr, line: &str, headers: &[&str], body: &str) -> Answer {
    let head = headers.iter().flat_map(|line| [line, "\r\n"]).collect::<String>();
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n{body}");
    let stream = TcpStream::connect(to).await.expect("it listens");
    let answer = tokio::time::timeout(Duration::from_mins(1), talk(stream, &request)).await.expect("it ends");
    read_answer(&answer)
}

pub fn read_answer(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

/// The query by which an agent says who it is.
pub fn as_agent(number: usize) -> String {
    format!("key=key-agent-{number}&token=token-agent-{number}")
}

/// Decisions of the audit about writes that were sent.
pub fn admitted(gate: &Gate) -> usize {
    gate.audit().iter().filter(|line| line["kind"] == "decision" && line["decision"] == "admit").count()
}
