//! The fake Redmine, and a real one where there is one, against what a real one (5.0.4) was recorded to answer.
//!
//! Every exchange is sent in order. Status, content type, where it leads, the body (but for times, keys and numbers that
//! another instance would give), and what the issue shows afterwards must be the same.
//! `CLAIMGATE_RECORD=1` writes what the real one answers to the file instead.

use std::path::Path;

use claimgate::fake_redmine::{FakeRedmine, Options};
use serde_json::Value;

use super::real::{self, Account, Accounts};
use super::recorded::Replay;

const RECORDINGS: &str = include_str!("../../recordings/redmine/exchanges.json");
const VERSION: &str = "5.0.4.stable";

fn exchanges() -> Vec<Value> {
    serde_json::from_str(RECORDINGS).expect("the recordings are JSON")
}

#[test]
fn the_real_one_answers_as_recorded() {
    let Some(real) = real::real() else { return };
    let _turn = real::turn();
    if real.version != VERSION {
        eprintln!("SKIPPED: this Redmine is {}, and {VERSION} was recorded", real.version);
        return;
    }
    let mut exchanges = exchanges();
    if std::env::var_os("CLAIMGATE_RECORD").is_none() {
        return assert_same(&exchanges, Replay::new(real.addr, &real.accounts));
    }
    let mut replay = Replay::new(real.addr, &real.accounts);
    for exchange in &mut exchanges {
        let (answer, left) = replay.answer(exchange);
        exchange["response"] = answer;
        if exchange.get("on").is_some() {
            exchange["after"] = left;
        }
    }
    let lines: Vec<String> = exchanges.iter().map(Value::to_string).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/redmine/exchanges.json");
    std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_one_answers_as_recorded() {
    let (redmine, accounts) = seeded().await;
    let addr = redmine.addr();
    let replay = move || assert_same(&exchanges(), Replay::new(addr, &accounts));
    tokio::task::spawn_blocking(replay).await.expect("the same answers");
}

/// What `tests/redmine/seed.rb` makes.
pub async fn seeded() -> (FakeRedmine, Accounts) {
    let redmine = FakeRedmine::start(Options::default()).await.expect("a free port");
    redmine.add_project("demo", "Demo");
    let agents = (1..=8).map(|number| format!("dev-{number}")).chain(["shared-bot".to_owned()]);
    let mut accounts = Accounts::new();
    for login in std::iter::once("admin".to_owned()).chain(agents).chain(["stranger".to_owned()]) {
        let key = format!("key-of-{login}");
        let id = redmine.add_user(&login, &key);
        if login != "admin" && login != "stranger" {
            redmine.add_member("demo", id);
        }
        accounts.insert(login, Account { id, key: Some(key) });
    }
    let crew = redmine.add_group("crew");
    redmine.add_member("demo", crew);
    accounts.insert("crew".to_owned(), Account { id: crew, key: None });
    (redmine, accounts)
}

fn assert_same(exchanges: &[Value], mut replay: Replay<'_>) {
    let mut differences = Vec::new();
    for exchange in exchanges {
        let (answer, left) = replay.answer(exchange);
        for (what, recorded, found) in
            [("answer", &exchange["response"], &answer), ("issue", &exchange["after"], &left)]
        {
            if recorded != found {
                differences.push(format!("{}: {what}\n  recorded {recorded}\n  found    {found}", exchange["what"]));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
