//! No way round: thousands of shapes of one request, against an item that another account holds.
//!
//! `grammar` makes the shapes: every pair of choices along eight axes, and many chosen blindly. Each goes straight to a
//! forge first, which shows that the shape is worth something, then through the gate as raw bytes. What the gate passes
//! on, the forge must not have read as guarded; so says the fake forge by obeying, and Go's own library (`oracle`) by
//! reading. The held item must come out untouched.

mod grammar;
mod oracle;

use super::e2e::{self, REPO};
use claimgate::fake_forge::{FakeForge, Feature, Happening, IssueView, Logged, Options};
use grammar::{Field, Shape};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The least that must be tried.
const AT_LEAST: usize = 5_000;

/// Then no label of the held item may change.
const EVERY_LABEL_IS_A_STATUS: &str = "[workflow]\nstates = [\"backlog\", \"todo\", \"in-progress\", \"blocked\", \"done\", \"other\", \
     \"s/held\"]";
/// What the held item carries; the second excludes others of its scope.
const CARRIED: [&str; 2] = ["backlog", "s/held"];

const HOLDER: &str = "kim";
const OTHER: &str = "dev-b";
/// How many connections are open at once.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_shape_changes_an_item_that_another_holds() {
    let shapes = grammar::shapes(every());
    assert!(shapes.len() >= AT_LEAST, "{} shapes", shapes.len());
    let mut seen = Vec::new();
    // Only an administrator may delete an issue, and the fake one does not tell those apart.
    let mut newest = Options::forgejo_17();
    newest.features.remove(&Feature::DeleteIssue);
    for (name, options) in
        [("recorded", Options::default()), ("most forgiving", Options::most_forgiving()), ("Forgejo 17", newest)]
    {
        let obeyed = obeyed_directly(&shapes, options.clone()).await;
        let (passed, touched) = through_the_gate(&shapes, options).await;
        let ways: Vec<&str> = shapes
            .iter()
            .filter(|s| obeyed.contains_key(&s.id) && passed.contains_key(&s.id))
            .map(|s| &*s.told)
            .collect();
        assert!(ways.is_empty(), "{name}: ways round the gate:\n{}", ways.join("\n"));
        assert!(touched.is_empty(), "{name}: what happened to the held item: {touched:?}");
        seen.push((name, obeyed, passed));
    }
    worth_something(&shapes, &seen);
    ask_the_oracle(&shapes, &seen);
}

/// One in how many pairs of choices is tried; `CLAIMGATE_TEST_SHAPES=1` tries them all, which takes minutes.
fn every() -> usize {
    std::env::var("CLAIMGATE_TEST_SHAPES").ok().and_then(|every| every.parse().ok()).unwrap_or(10)
}

type Obeyed = BTreeMap<usize, BTreeSet<Field>>;
type PassedOn = BTreeMap<usize, Vec<Logged>>;
type Seen = (&'static str, Obeyed, PassedOn);

/// Without the gate each field is changed in many ways, and the forgiving forge knows more of them.
fn worth_something(shapes: &[Shape], seen: &[Seen]) {
    for (name, obeyed, passed) in seen {
        let count = |field: Field| obeyed.values().filter(|fields| fields.contains(&field)).count();
        let counts = [Field::Assignees, Field::Labels, Field::State].map(count);
        eprintln!("{name}: {} shapes, {counts:?} obeyed directly, {} passed on", shapes.len(), passed.len());
        assert!(counts.iter().all(|count| *count > 20), "{name}: {counts:?}");
        assert!(passed.len() > 100, "{name}: the gate lets through what is not guarded");
        let echoes = passed.values().flatten().filter(|logged| is_echo(logged)).count();
        assert!(echoes > 0, "{name}: what repeats the held item's own goes on without it");
    }
    assert!(seen[1].1.len() > seen[0].1.len());
}

/// Whether the gate has left out what the item showed already. What it writes asks for no coding, and no shape does.
fn is_echo(logged: &Logged) -> bool {
    logged.header("accept-encoding").is_some()
}

/// Go reads what the clients sent and what the gate passed on.
fn ask_the_oracle(shapes: &[Shape], seen: &[Seen]) {
    let mut questions: Vec<Vec<u8>> = shapes.iter().map(|shape| shape.bytes.clone()).collect();
    let passed: Vec<(usize, &Logged)> = seen
        .iter()
        .flat_map(|(_, _, passed)| passed.iter().flat_map(|(id, all)| all.iter().map(|one| (*id, one))))
        .collect();
    questions.extend(passed.iter().map(|(_, logged)| raw(logged)));
    let Some(answers) = oracle::ask(&questions) else { return };
    let (of_shapes, of_passed) = answers.split_at(shapes.len());
    let guarded = of_shapes.iter().filter(|sees| !sees.is_empty()).count();
    eprintln!("the oracle sees something guarded in {guarded} of {} shapes", shapes.len());
    assert!(guarded > 500);
    let mut exceptions = Vec::new();
    for (name, _, passed) in seen {
        let as_it_came = |shape: &Shape| passed.get(&shape.id).is_some_and(|all| !all.iter().all(is_echo));
        let unseen = shapes.iter().zip(of_shapes).filter(|(shape, sees)| !sees.is_empty() && as_it_came(shape));
        exceptions.extend(unseen.map(|(shape, sees)| format!("{name}: the gate did not see {sees}: {}", shape.told)));
    }
    let unseen = passed.iter().zip(of_passed).filter(|(_, sees)| !sees.is_empty());
    exceptions.extend(unseen.map(|((id, _), sees)| format!("the gate passed on {sees}: {}", shapes[*id].told)));
    assert!(exceptions.is_empty(), "{} exceptions:\n{}", exceptions.len(), exceptions.join("\n"));
}

/// A request that reached the forge, as bytes again.
fn raw(logged: &Logged) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", logged.method, logged.target).into_bytes();
    for (name, value) in
        logged.headers.iter().filter(|(name, _)| !["content-length", "transfer-encoding"].contains(&name.as_str()))
    {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", logged.body.len()).as_bytes());
    bytes.extend_from_slice(&logged.body);
    bytes
}

// === the two runs ===

/// A forge with an item that is to be held.
async fn forge(options: Options) -> FakeForge {
    let forge = FakeForge::start(options).await.expect("a free port");
    forge.add_user("acme", "token-of-acme");
    forge.add_repo("acme", "skit");
    for login in [HOLDER, OTHER] {
        forge.add_user(login, &e2e::token(login));
        forge.grant_write(login, grammar::REPO);
    }
    for label in ["backlog", "in-progress", "other"] {
        forge.add_label(grammar::REPO, label);
    }
    for label in ["s/held", "s/rival"] {
        forge.add_exclusive_label(grammar::REPO, label);
    }
    forge.add_pull(grammar::REPO, "held", "branch", "main");
    forge.outside_labels("acme", grammar::REPO, grammar::HELD, &CARRIED);
    forge
}

/// The shapes that change an item when nobody stands in between, and what they change. Each part has a forge of its own.
async fn obeyed_directly(shapes: &[Shape], options: Options) -> Obeyed {
    let parts: Vec<_> = shapes
        .chunks(shapes.len().div_ceil(AT_ONCE))
        .map(|part| tokio::spawn(obeyed_one_by_one(part.to_vec(), options.clone())))
        .collect();
    let mut obeyed = Obeyed::new();
    for part in parts {
        obeyed.extend(part.await.expect("it sends to the end"));
    }
    obeyed
}

async fn obeyed_one_by_one(shapes: Vec<Shape>, options: Options) -> Obeyed {
    let forge = forge(options).await;
    let mut obeyed = Obeyed::new();
    for shape in &shapes {
        restore(&forge, grammar::HELD);
        let before = forge.issue(grammar::REPO, grammar::HELD);
        send(forge.addr(), shape).await;
        let changed: BTreeSet<Field> =
            differences(&before, &forge.issue(grammar::REPO, grammar::HELD)).into_iter().collect();
        if !changed.is_empty() {
            obeyed.insert(shape.id, changed);
        }
    }
    obeyed
}

fn restore(forge: &FakeForge, number: u64) {
    let now = forge.issue(grammar::REPO, number);
    if now.assignees != [HOLDER] {
        forge.outside_assign("acme", grammar::REPO, number, &[HOLDER]);
    }
    if now.labels != CARRIED {
        forge.outside_labels("acme", grammar::REPO, number, &CARRIED);
    }
    if now.state != "open" {
        forge.outside_reopen("acme", grammar::REPO, number);
    }
}

fn differences(one: &IssueView, other: &IssueView) -> Vec<Field> {
    let all = [
        (Field::Assignees, one.assignees != other.assignees),
        (Field::Labels, one.labels != other.labels),
        (Field::State, one.state != other.state),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}

/// Sends all through a gate; what reached the forge as it came, and what happened to the held item.
async fn through_the_gate(shapes: &[Shape], options: Options) -> (PassedOn, Vec<String>) {
    let forge = forge(options).await;
    let gate = e2e::Setup::before(&forge.base_url()).config(EVERY_LABEL_IS_A_STATUS).start().await;
    let path = |number: u64| format!("/api/v1/repos/{}/issues/{number}", grammar::REPO);
    let claim = serde_json::json!({ "assignees": [HOLDER] });
    gate.agent(HOLDER).call(http::Method::PATCH, &path(grammar::HELD), Some(claim.clone())).await.granted();
    let before = forge.issue(grammar::REPO, grammar::HELD);
    let happened = forge.events(grammar::REPO, grammar::HELD).len();
    let next = Arc::new(AtomicUsize::new(0));
    let shared: Arc<[Shape]> = shapes.into();
    let senders = (0..AT_ONCE).map(|_| {
        let (next, shapes, address) = (Arc::clone(&next), Arc::clone(&shared), gate.address);
        tokio::spawn(async move {
            while let Some(shape) = shapes.get(next.fetch_add(1, Ordering::Relaxed)) {
                send(address, shape).await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("it sends to the end");
    }
    let touched = touched(&before, happened, &forge);
    if touched.is_empty() {
        // The gate is still there, still knows who holds the item, and nobody else.
        let theirs = serde_json::json!({ "assignees": [OTHER] });
        let again = gate.agent(OTHER).call(http::Method::PATCH, &path(grammar::HELD), Some(theirs)).await;
        again.refused(409, "already_assigned");
        gate.agent(HOLDER).call(http::Method::PATCH, &path(grammar::HELD), Some(claim)).await.granted();
    }
    let mut passed = PassedOn::new();
    for logged in forge.requests() {
        if let Some(id) = logged.header("x-shape").and_then(|id| id.parse().ok()) {
            passed.entry(id).or_default().push(logged);
        }
    }
    (passed, touched)
}

/// What became of the guarded fields of the held item since then.
fn touched(before: &IssueView, happened: usize, forge: &FakeForge) -> Vec<String> {
    let changed = differences(before, &forge.issue(grammar::REPO, grammar::HELD)).into_iter();
    let events = forge.events(grammar::REPO, grammar::HELD);
    let since = events[happened..].iter().filter(|event| field_of(&event.what).is_some());
    changed.map(|field| format!("{field:?} changed")).chain(since.map(|event| format!("{event:?}"))).collect()
}

fn field_of(what: &Happening) -> Option<Field> {
    match what {
        Happening::Assigned(_) | Happening::Unassigned(_) => Some(Field::Assignees),
        Happening::Labeled(_) | Happening::Unlabeled(_) => Some(Field::Labels),
        Happening::Closed | Happening::Reopened => Some(Field::State),
        _ => None,
    }
}

/// Sends the bytes on a connection of their own, and waits until the other side has had enough.
async fn send(address: SocketAddr, shape: &Shape) {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    // A refusal may come before the last byte is out.
    let _ = stream.write_all(&shape.bytes).await;
    if shape.breaks_off {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "no end of the answer to {}", shape.told);
}

/// The grammar's name for the repository is not the one of the other tests: its letters have look-alikes.
#[test]
fn the_repository_has_letters_that_fold() {
    assert!(grammar::REPO != REPO && grammar::REPO.contains('k') && grammar::REPO.contains('i'));
}
