//! Five hundred ways to write what nobody writes: none of them changes an issue that somebody holds.

use http::Method;
use serde_json::Value;

use super::fake::{FakeJira, Flavour, IssueSeen};
use super::support::{Agent, caller, gate, jira};
use crate::e2e::{Client, stop_and_verify};

const SHAPES: usize = 500;
/// Changed by `CLAIMGATE_JIRA_SEED`.
const SEED: u64 = 20_260_715;

/// Numbers that look drawn, and are the same for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("it fits") % sides
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }
}

#[derive(Clone, Debug)]
struct Shape {
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

const KINDS: [(&str, &str); 6] = [
    ("content-type", "application/json"),
    ("content-type", "application/json"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-type", "Application/JSON"),
    ("content-type", "text/plain"),
    ("content-type", "application/x-www-form-urlencoded"),
];
const MORE: [(&str, &str); 6] = [
    ("x-atlassian-token", "no-check"),
    ("x-http-method-override", "PUT"),
    ("content-encoding", "identity"),
    ("content-encoding", "gzip"),
    ("accept-language", "de"),
    ("x-request-id", "shape"),
];

/// Mostly the first, so that one oddity meets what is plain besides.
fn mostly<'a>(dice: &mut Dice, plain: &'a str, odd: &[&'a str]) -> &'a str {
    if dice.roll(8) == 0 { dice.of(odd) } else { plain }
}

fn path(dice: &mut Dice, names: &[String]) -> String {
    let base = mostly(dice, "/rest/api", &["//rest/api", "/rest//api", "/REST/api", "/jira/rest/api", "/rest/%61pi"]);
    let version = dice.of(&["2", "latest"]);
    let version = mostly(dice, version, &["3", "1", "2.0.alpha1", "%32"]);
    let issue = dice.of(names);
    let plain = dice.of(&["", "/assignee", "/assignee", "/transitions", "/transitions"]);
    let odd = [
        "/assignee/",
        "/Assignee",
        "/assignee.json",
        "/assignee;a=b",
        "/%61ssignee",
        "/./assignee",
        "/comment/../assignee",
        "/transitions?x=y",
        "?notifyUsers=false&overrideEditableFlag=true",
        "/archive",
    ];
    let end = mostly(dice, plain, &odd);
    match dice.roll(12) {
        0 => format!("/rest/servicedeskapi/request/{issue}/transition"),
        1 => format!("/rest/agile/1.0/{}/issue", dice.of(&["board/1", "backlog", "backlog/1", "Backlog"])),
        2 => format!(
            "{base}/{version}/bulk/issues/{}",
            dice.of(&["transition", "fields", "move", "delete", "Transition"])
        ),
        _ => format!("{base}/{version}/issue/{issue}{end}"),
    }
}

fn body(dice: &mut Dice, account: &Value, issue: &str, path: &str) -> String {
    let end = ["/assignee", "/transitions"].into_iter().find(|end| path.ends_with(end));
    let end = end.unwrap_or(if path.contains("/issue/") { "" } else { "else" });
    let own = account.to_string();
    let odd = [
        r#"{"accountId":"-1"}"#.to_owned(),
        r#"{"name":"-1"}"#.into(),
        "[]".into(),
        "{}".into(),
        r#"{"accountId":null}"#.into(),
        own.replace("\":", "\" : "),
        own.replace("name", "Name"),
        r#""dev-2""#.into(),
        format!("{{\"name\":null,{}", &own[1..]),
        own.replace("accountId", "id"),
    ];
    let plain = [own.clone(), own.clone(), "null".to_owned()];
    let assignee = if dice.roll(4) == 0 { dice.of(&odd) } else { dice.of(&plain) };
    let name = mostly(dice, "assignee", &["Assignee", "\\u0061ssignee", "assig_nee"]);
    let id = dice.of(&["\"31\"", "\"51\"", "51", "\"61\""]);
    let id = mostly(dice, id, &["\"051\"", "\" 51\"", "51.0", "\"21\""]);
    let fields = format!("\"fields\":{{\"{name}\":{assignee}}}");
    let update = format!("\"update\":{{\"{name}\":[{{\"set\":{assignee}}}]}}");
    let transition = format!("\"transition\":{{\"id\":{id}}}");
    let what = match end {
        "/assignee" => dice.roll(3),
        "/transitions" => 6 + dice.roll(5),
        "" => 3 + dice.roll(3),
        _ => dice.roll(14),
    };
    match if dice.roll(5) == 0 { dice.roll(14) } else { what } {
        0 => assignee,
        1 | 2 => own,
        3 | 4 => format!("{{{fields}}}"),
        5 => format!("{{{update}}}"),
        6 | 7 => format!("{{{transition}}}"),
        8 => format!("{{{transition},{fields}}}"),
        9 => format!("{{\"fields\":{{}},{fields}}}"),
        10 => format!("{{\"transition\":{{\"id\":\"1\"}},{transition}}}"),
        11 => format!(
            "{{\"id\":{id},\"issues\":[\"{issue}\"],\"bulkTransitionInputs\":[{{\"selectedIssueIdsOrKeys\":[\"{issue}\"],\"transitionId\":{id}}}]}}"
        ),
        12 => format!("\u{feff}{{{fields}}}"),
        _ => format!("{{{fields},{update}}} {{}}"),
    }
}

fn drawn(dice: &mut Dice, jira: &FakeJira, issue: &str, names: &[String]) -> Shape {
    let account = jira.named("dev-2");
    let path = path(dice, names);
    let is_post = path.contains("/transition") || path.contains("/agile/") || path.contains("/bulk/");
    let plain = if is_post { Method::POST } else { Method::PUT };
    let method = match dice.roll(10) {
        0 => dice.of(&[Method::PUT, Method::POST, Method::PATCH, Method::DELETE]),
        _ => plain,
    };
    let mut headers = vec![if dice.roll(6) == 0 { dice.of(&KINDS) } else { KINDS[0] }];
    let body = body(dice, &account, issue, &path);
    if dice.roll(5) == 0 {
        headers.push(dice.of(&MORE));
    }
    Shape { method, path, headers, body }
}

async fn send(client: &mut Client, shape: &Shape) -> u16 {
    let answer = client.send(shape.method.clone(), &shape.path, &shape.headers, shape.body.clone().into()).await;
    answer.status
}

/// An issue that has had another key, so that it has four names.
fn renamed(jira: &FakeJira) -> (String, Vec<String>) {
    let old = jira.add_issue("GLO", "held");
    let issue = jira.rows().move_issue(&old, "DIR");
    let id = jira.id(&issue);
    let spelled = issue.replace("DIR", "%44IR");
    (
        issue.clone(),
        vec![issue.clone(), issue.clone(), issue.to_lowercase(), id, old, spelled, issue.replace('-', "-0")],
    )
}

async fn hold_against_shapes(flavour: Flavour, seed: u64) {
    let (jira, bare) = (jira(flavour).await, jira(flavour).await);
    let gate = gate(&jira, "").await;
    let (issue, names) = renamed(&jira);
    assert_eq!(renamed(&bare), (issue.clone(), names.clone()));
    let mut holder = Agent::new(&jira, gate.address, "dev-1");
    holder.assign(&issue).await.granted();
    holder.take(&issue, "21").await.granted();
    let held: IssueSeen = jira.issue(&issue);
    let (mut through, mut direct) = (caller(&jira, gate.address, "dev-2"), caller(&bare, bare.addr, "dev-2"));
    let (mut dice, mut refused, mut harmful) = (Dice(seed), 0, 0);
    for _ in 0..SHAPES {
        let shape = drawn(&mut dice, &jira, &issue, &names);
        // What the shape does where nothing stands before Jira.
        if bare.rows().find(&issue).is_none() {
            break;
        }
        bare.rows().set(&issue, Some("dev-1"), "In Progress");
        send(&mut direct, &shape).await;
        let gone = bare.rows().find(&issue).is_none();
        if gone {
            let row = jira.rows().find(&issue).cloned().expect("it is held");
            bare.rows().issues.insert(row.id, row);
        }
        let shown = bare.issue(&issue);
        harmful +=
            usize::from(gone || (shown.assignee.as_deref(), shown.status.as_str()) != (Some("dev-1"), "In Progress"));
        let status = send(&mut through, &shape).await;
        refused += usize::from(status == 409 || status == 400);
        assert_eq!(jira.issue(&issue), held, "seed {seed}: {shape:?} {status}");
    }
    assert!(harmful > SHAPES / 10, "{harmful} of the shapes would change it");
    assert!(refused > SHAPES / 2, "{refused} were refused");
    stop_and_verify(gate, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shape_takes_a_held_issue() {
    let seed = std::env::var("CLAIMGATE_JIRA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    hold_against_shapes(Flavour::Cloud, seed).await;
    hold_against_shapes(Flavour::DataCenter, seed + 1).await;
}
