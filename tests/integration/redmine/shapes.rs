//! A claim of a held issue, written in ways that nobody writes: drawn, with a seed that repeats them.
//!
//! The fake one must read each as the real one does. Whatever stands before a Redmine must not let any of them change the
//! issue.

use serde_json::{Value, json};

use super::conformance;
use super::real::{self, Accounts};
use super::recorded::Replay;

/// Exchanges for [`Replay`]: the first makes the issue `a`, each other is one shape, sent by `dev-1` while `dev-2` has
/// the issue.
pub fn drawn(count: usize, seed: u64) -> Vec<Value> {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let body = json!({ "issue": { "project_id": "demo", "subject": "held" } }).to_string();
    let request = json!({ "method": "POST", "path": "/issues.json", "content_type": JSON, "body": body });
    let make = json!({ "what": "make", "as": "admin", "keep": "a", "request": request });
    std::iter::once(make).chain((0..count).map(|at| dice.shape(at))).collect()
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("a small number")
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len())]
    }

    fn shape(&mut self, at: usize) -> Value {
        let field = self.one(&["assigned_to_id", "status_id"]);
        let value = if field == "assigned_to_id" { self.one(ASSIGNEES) } else { self.one(STATUSES) };
        let (mut kind, mut body) = self.body(field, value);
        let mut query = Vec::new();
        if self.roll(4) == 0 {
            let plain = value.trim_matches('"');
            query.push(format!("issue[{field}]={}", plain.replace(' ', "%20").replace('+', "%2B")));
            if self.roll(2) == 0 {
                (kind, body) = (JSON.to_owned(), "{}".to_owned());
            }
        }
        let suffix = self.one(&[".json", ".json", ".json", ".xml", ""]);
        if suffix.is_empty() {
            query.push(format!("format={}", self.one(&["json", "xml"])));
        }
        let id = self.one(&["{a}", "{a}", "{a}", "0{a}", "{a}x", "+{a}", "%20{a}", "/{a}"]);
        let mut path = format!("/issues/{id}{suffix}");
        if !query.is_empty() {
            path.extend(["?", &query.join(self.one(&["&", "&", ";"]))]);
        }
        let mut headers: Vec<&str> = Vec::new();
        let method = match self.roll(6) {
            0 | 1 => "PUT",
            2 => "PATCH",
            3 => {
                headers.push(self.one(&["X-HTTP-Method-Override: PUT", "X_HTTP_Method_Override: patch"]));
                "POST"
            }
            4 => {
                if kind == FORM {
                    body = format!("_method={}&{body}", self.one(&["put", "PATCH", "get", ""]));
                }
                headers.extend((self.roll(2) == 0).then_some("X-HTTP-Method-Override: PUT"));
                "POST"
            }
            _ => {
                headers.push("X-HTTP-Method-Override: GET");
                "PUT"
            }
        };
        let request = json!({ "method": method, "path": path, "headers": headers, "content_type": kind, "body": body });
        json!({ "what": format!("shape {at}"), "as": "dev-1", "on": "a", "before": ["6", 1], "request": request })
    }

    fn body(&mut self, field: &str, value: &str) -> (String, String) {
        let plain = value.trim_matches('"');
        let escaped = plain.replace('+', "%2B").replace(' ', "+");
        match self.roll(3) {
            0 => (self.one(&[JSON, JSON, "text/x-json", "Application/JSON; charset=utf-8", "text/json"]).to_owned(), {
                let other = self.one(&["2", "5", "null"]);
                match self.roll(7) {
                    0 => format!("{{\"issue\":{{\"{field}\":{other},\"{field}\":{value}}}}}"),
                    1 => format!("{{\"issue\":{{\"{field}\":{other}}},\"issue\":{{\"{field}\":{value}}}}}"),
                    2 => format!("{{\"issue\":{{\"\\u{:04x}{}\":{value}}}}}", field.as_bytes()[0], &field[1..]),
                    3 => format!("/* x */{{\"issue\":/* y */{{\"{field}\":{value}}}}}"),
                    4 => format!("{{\"Issue\":{{\"{field}\":{value}}}}}"),
                    _ => format!("{{\"issue\":{{\"{field}\":{value}}}}}"),
                }
            }),
            1 => (self.one(&["application/xml", "text/xml", "application/x-xml; charset=utf-8"]).to_owned(), {
                let dashed = field.replace('_', "-");
                match self.roll(8) {
                    0 => format!("<issue {field}=\"{plain}\"/>"),
                    1 => format!("<issue><{dashed}>{plain}</{dashed}></issue>"),
                    2 => format!("<!DOCTYPE issue [<!ENTITY e \"{plain}\">]><issue><{field}>&e;</{field}></issue>"),
                    3 => format!("<issue><{field}><![CDATA[{plain}]]></{field}></issue>"),
                    4 => format!("<issue><{field} type=\"integer\">{plain}</{field}></issue>"),
                    5 => format!("<x:issue xmlns:x=\"u\"><x:{field}>{plain}</x:{field}></x:issue>"),
                    6 => format!("<issue><{field}>{plain}</{field}><{field}>{plain}</{field}></issue>"),
                    _ => format!("<issue><{field}>{plain}</{field}></issue>"),
                }
            }),
            _ => (
                FORM.to_owned(),
                match self.roll(8) {
                    0 => format!("issue[{field}={escaped}"),
                    1 => format!("[issue][{field}]={escaped}"),
                    2 => format!("]issue[{field}]={escaped}"),
                    3 => format!("issue[{field}]x={escaped}"),
                    4 => format!("issue[{field}]=2&issue[{field}]={escaped}"),
                    5 => format!("x=1& issue[{field}]={escaped}"),
                    6 => format!("x=1;issue[{field}]={escaped}"),
                    _ => format!("issue%5B{field}%5D={escaped}"),
                },
            ),
        }
    }
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const ASSIGNEES: &[&str] =
    &["5", "\"5\"", "\"5abc\"", "\" 5\"", "\"05\"", "\"+5\"", "\"me\"", "\"none\"", "\"\"", "null"];
const STATUSES: &[&str] =
    &["2", "\"2\"", "\"2abc\"", "\" 2\"", "\"02\"", "\"+2\"", "\"2.9\"", "\"none\"", "\"\"", "null", "5"];

pub fn chosen(usual: usize) -> (usize, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("CLAIMGATE_TEST_REDMINE_SHAPES").and_then(|count| usize::try_from(count).ok()).unwrap_or(usual);
    (count, number("CLAIMGATE_TEST_SEED").unwrap_or(20_260))
}

fn replayed(addr: std::net::SocketAddr, accounts: &Accounts, shapes: &[Value]) -> Vec<(Value, Value)> {
    let mut replay = Replay::new(addr, accounts);
    shapes.iter().map(|shape| replay.answer(shape)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_one_reads_odd_shapes_as_the_real_one_does() {
    let Some(real) = real::real() else { return };
    let (count, seed) = chosen(60);
    let shapes = drawn(count, seed);
    let (redmine, accounts) = conformance::seeded().await;
    let addr = redmine.addr();
    let asked = shapes.clone();
    let found = tokio::task::spawn_blocking(move || replayed(addr, &accounts, &asked)).await.expect("it answers");
    let wanted = tokio::task::spawn_blocking({
        let asked = shapes.clone();
        move || {
            let _turn = real::turn();
            replayed(real.addr, &real.accounts, &asked)
        }
    });
    let wanted = wanted.await.expect("it answers");
    let answers = found.iter().zip(&wanted);
    let differences: Vec<String> = shapes
        .iter()
        .zip(answers)
        .filter(|(_, (found, wanted))| found != wanted)
        .map(|(shape, (found, wanted))| format!("{}\n  real {wanted:?}\n  fake {found:?}", shape["request"]))
        .collect();
    let taken = wanted.iter().skip(1).filter(|(_, left)| *left != json!([6, 1])).count();
    eprintln!("{count} shapes, seed {seed}: {taken} of them changed the held issue of the real one");
    assert!(taken > count / 8, "{taken}");
    assert!(
        differences.is_empty(),
        "{} of {count} differ (seed {seed}):\n{}",
        differences.len(),
        differences.join("\n")
    );
}
