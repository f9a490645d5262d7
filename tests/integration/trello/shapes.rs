//! A claim of a held card, written in ways that nobody writes: drawn, with a seed that repeats them. The fake one reads them as
//! forgivingly as any router; none of them may change the card.

use std::net::SocketAddr;

use super::{Stage, as_agent, board, gate_before, send};
use crate::e2e::stop_and_verify;

struct Dice(u64);

struct Shape {
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("a small number")
    }

    fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }

    /// What the rival wants, by a field: itself as the member, another list, the archive.
    fn wish(&mut self, board: &Stage) -> (&'static str, String) {
        let rival = &board.agents[1];
        match self.roll(4) {
            0 => ("idMembers", self.one(&[rival.as_str(), "agent-1", ""]).to_owned()),
            1 => ("idMembers", rival.to_uppercase()),
            2 => ("idList", self.one(&["Todo", "Done", "Ideas"]).to_owned()),
            _ => ("closed", self.one(&["true", "True", "1"]).to_owned()),
        }
    }

    fn shape(&mut self, board: &Stage, card: &super::fake::Card) -> Shape {
        let (field, value) = self.wish(board);
        let value = if field == "idList" { board.list(&value).to_owned() } else { value };
        let name = self.name(field);
        let (path, key) = match self.roll(4) {
            0 => (format!("/{}", self.name(field)), self.one(&["value", "Value", "value[]", "value%20"]).to_owned()),
            1 if field == "idMembers" => {
                (self.one(&["/members", "/idMembers", "/IdMembers"]).to_owned(), "value".to_owned())
            }
            _ => (String::new(), name),
        };
        let id = match self.roll(6) {
            0 => card.id.to_uppercase(),
            1 => card.short_link.clone(),
            2 => format!("%{:02x}{}", card.id.as_bytes()[0], &card.id[1..]),
            _ => card.id.clone(),
        };
        let start = if self.roll(3) > 0 { "/1/cards/" } else { self.one(STARTS) };
        let end = if self.roll(3) > 0 { "" } else { self.one(&["/", "//", "%2F"]) };
        let mut headers = Vec::new();
        let mut query = vec![as_agent(1)];
        let body = self.body(&key, &value, &mut headers, &mut query);
        let method = self.method(&path, &mut headers, &mut query);
        let joined = query.join(self.one(&["&", "&", "&", "&&"]));
        Shape { line: format!("{method} {start}{id}{path}{end}?{joined}"), headers, body }
    }

    fn name(&mut self, field: &str) -> String {
        match self.roll(16) {
            0 => field.to_uppercase(),
            1 => format!("{field}[]"),
            2 => format!("{field}[0]"),
            3 => format!("%20{field}"),
            4 => format!("id_{}", field.trim_start_matches("id")),
            _ => field.to_owned(),
        }
    }

    fn method(&mut self, path: &str, headers: &mut Vec<String>, query: &mut Vec<String>) -> &'static str {
        let usual = if path.to_ascii_lowercase().ends_with("members") { "POST" } else { "PUT" };
        match self.roll(16) {
            0 => {
                headers.push(format!(
                    "{}: PUT",
                    self.one(&["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
                ));
                "POST"
            }
            1 => {
                query.push("_method=PUT".to_owned());
                "POST"
            }
            2 => self.one(&["PATCH", "POST", "put", "DELETE"]),
            _ => usual,
        }
    }

    fn body(&mut self, key: &str, value: &str, headers: &mut Vec<String>, query: &mut Vec<String>) -> String {
        let plain = key.trim_start_matches("%20").trim_end_matches("%20");
        let escaped = || format!("\\u{:04x}{}", plain.as_bytes()[0], &plain[1..]);
        match self.roll(6) {
            0..=2 => {
                query.push(format!("{key}={value}"));
                String::new()
            }
            3 => {
                let kind = self.one(&[
                    "application/x-www-form-urlencoded",
                    "text/plain",
                    "",
                    "multipart/form-data; boundary=X",
                ]);
                headers.extend((!kind.is_empty()).then(|| format!("content-type: {kind}")));
                match self.roll(4) {
                    0 => format!("{key}=&{key}={value}"),
                    1 => format!("a=b;{key}={value}"),
                    _ => format!("{key}={value}"),
                }
            }
            4 => {
                query.push(format!("{key}="));
                headers.push("content-type: application/json".to_owned());
                format!("{{\"{plain}\":\"{value}\"}}")
            }
            _ => {
                let kind = self.one(&[
                    "application/json",
                    "application/json",
                    "Application/JSON; charset=utf-8",
                    "application/json; charset=utf-16",
                ]);
                headers.push(format!("content-type: {kind}"));
                match self.roll(5) {
                    0 => format!("{{\"{plain}\":\"\",\"{plain}\":\"{value}\"}}"),
                    1 => format!("{{\"{}\":\"{value}\"}}", escaped()),
                    2 => format!("{{\"{plain}\":[\"{value}\"]}}"),
                    3 => format!("\u{feff}{{\"{plain}\":\"{value}\"}}"),
                    _ => format!("{{\"{plain}\":\"{value}\",\"name\":\"n\"}}"),
                }
            }
        }
    }
}

const STARTS: &[&str] =
    &["/1/card/", "/1/Cards/", "//1/cards//", "/1/x/../cards/", "/1/./cards/", "/2/cards/", "/cards/"];

fn chosen(usual: usize) -> (usize, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("CLAIMGATE_TEST_TRELLO_SHAPES").and_then(|count| usize::try_from(count).ok()).unwrap_or(usual);
    (count, number("CLAIMGATE_TEST_SEED").unwrap_or(20_260))
}

/// How often a shape changed the card, and how many were refused as what they are.
async fn tried(to: SocketAddr, board: &Stage, name: &str) -> (usize, usize) {
    let (count, seed) = chosen(500);
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let card = board.trello.add_card(board.list("Todo"), name);
    let line = format!(
        "PUT /1/cards/{}?idMembers={}&idList={}&{}",
        card.id,
        board.agents[0],
        board.list("Doing"),
        as_agent(0)
    );
    assert_eq!(send(to, &line, &[], "").await.status, 200);
    let held = board.trello.card(&card.id);
    let (mut changed, mut refused) = (0, 0);
    for number in 0..count {
        let shape = dice.shape(board, &card);
        let headers: Vec<&str> = shape.headers.iter().map(String::as_str).collect();
        let told = send(to, &shape.line, &headers, &shape.body).await;
        let left = board.trello.has_card(&card.id).then(|| board.trello.card(&card.id));
        let is_same = left
            .as_ref()
            .is_some_and(|left| (&left.members, &left.list, left.closed) == (&held.members, &held.list, held.closed));
        if !is_same {
            changed += 1;
            let is_gated = to != board.trello.addr;
            assert!(
                !is_gated,
                "seed {seed}, shape {number}: {} {headers:?} {}: {told:?} {left:?}",
                shape.line, shape.body
            );
            board.trello.put_back(&held);
        }
        refused += usize::from(told.status == 409);
    }
    (changed, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shape_takes_a_held_card() {
    let board = board(2).await;
    let gate = gate_before(board.trello.addr, "").await;
    let (changed, refused) = tried(gate.address, &board, "held").await;
    assert_eq!(changed, 0);
    // Many are understood, and refused as what they are.
    assert!(refused > 30, "{refused}");
    stop_and_verify(gate, refused).await;
}

/// The same against Trello itself: they are ways to take it, so that the other test can fail.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_gate_many_of_them_do() {
    let board = board(2).await;
    let (changed, _) = tried(board.trello.addr, &board, "held").await;
    assert!(changed > 100, "{changed}");
}
