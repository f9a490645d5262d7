//! A claim of a held issue, written in ways that nobody writes: drawn, with a seed that repeats them. None of them changes the
//! issue.

use http::Method;

use super::{agent, assignees, eight, gate, issue};
use crate::e2e::stop_and_verify;

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

    fn path(&mut self, repo: u64, number: u64) -> String {
        let by_number = format!("/repositories/{repo}");
        let odd = self.roll(6) == 0;
        let plain = ["/repos/acme/app", "/repos/ACME/App", &by_number];
        let repo = self.one(if odd { &["/repos/acme/x/../app", "/repos/acme%2Fapp"] } else { &plain });
        let odd = self.roll(6) == 0;
        let prefix =
            self.one(if odd { &["/", "/api/v3/", "/x/..", "/api/v3/.", "/x"] } else { &["", "/api/v3", "/API/V3"] });
        let odd = self.roll(6) == 0;
        let kind = self.one(if odd { &["%69ssues", "issues/", "issues/."] } else { &["issues", "Issues", "pulls"] });
        let (number, odd) = (number.to_string(), format!("0{number}"));
        let number = if self.roll(6) == 0 { self.one(&[&odd, "%31", "+1", "1%2F"]) } else { &number };
        let tail = self.one(TAILS);
        let query = self.one(&["", "", "?assignees[]=agent-1", "?_method=PATCH", "?state=closed"]);
        format!("{prefix}{repo}/{kind}/{number}{tail}{query}")
    }

    fn body(&mut self) -> String {
        match self.roll(18) {
            0 => r#"{"assignees":["agent-1"]}"#.to_owned(),
            1 => r#"{"assignees":["agent-0"],"assignees":["agent-1"]}"#.to_owned(),
            2 => r#"{"assignee":"agent-1"}"#.to_owned(),
            3 => r#"{"assignee":null}"#.to_owned(),
            4 => r#"{"\u0061ssignees":["agent-1"]}"#.to_owned(),
            5 => r#"{"assignees":[{"login":"agent-1"}]}"#.to_owned(),
            6 => r#"{"assignees":"agent-1"}"#.to_owned(),
            7 => r#"{"assignees":["agent-0","agent-1"]}"#.to_owned(),
            8 => r#"["in-progress"]"#.to_owned(),
            9 => r#"{"labels":["done"],"labels":["todo"]}"#.to_owned(),
            10 => r#""done""#.to_owned(),
            11 => r#"{"state":"closed"}"#.to_owned(),
            12 => r#"{"state":"open","state":"closed"}"#.to_owned(),
            13 => r#"{"title":"t","assignees":[],"labels":[]}"#.to_owned(),
            14 => r#"{"assignees":["AGENT-1"]} "#.to_owned(),
            15 => "assignees[]=agent-1".to_owned(),
            16 => r#"{"labels":[{"name":"Done"}]}"#.to_owned(),
            _ => "\u{feff}{\"assignees\":[\"agent-1\"]}".to_owned(),
        }
    }
}

const TAILS: &[&str] = &[
    "",
    "",
    "/assignees",
    "/assignees",
    "/assignees/",
    "/Assignees",
    "%2Fassignees",
    "/labels",
    "/labels/in-progress",
    "/x",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_shape_changes_a_held_issue() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (count, seed) =
        (number("CLAIMGATE_TEST_GITHUB_SHAPES").unwrap_or(500), number("CLAIMGATE_TEST_SEED").unwrap_or(7));
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let held = github.add_issue(repo, "acme", "held");
    let mut ann = agent(&gate, &agents[0]);
    ann.call(Method::PATCH, &issue(held), Some(assignees(&[&agents[0]]))).await.granted();
    ann.call(Method::POST, &(issue(held) + "/labels"), Some(serde_json::json!(["in-progress"]))).await.granted();
    let before = github.issue(repo, held);
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut refused, mut odd) = (0, 0);
    let mut bob = agent(&gate, &agents[1]);
    for _ in 0..count {
        let (path, body) = (dice.path(repo, held), dice.body());
        let method = match dice.roll(6) {
            0 | 1 => Method::PATCH,
            2 | 3 => Method::POST,
            4 => Method::PUT,
            _ => Method::DELETE,
        };
        let kind =
            dice.one(&["application/json", "application/x-www-form-urlencoded", "text/plain", "application/xml"]);
        let overriding = dice.one(&["", "", "", "", "", "", "", "PATCH", "DELETE"]);
        let mut headers = vec![("content-type", kind)];
        if !overriding.is_empty() {
            headers.push(("x-http-method-override", overriding));
        }
        let told = bob.send(method.clone(), &path, &headers, body.clone().into()).await;
        let mut after = github.issue(repo, held);
        // The caller's own account may have been left without a label that it set itself: none of these is a status.
        after.comments = before.comments;
        assert_eq!(after, before, "seed {seed}: {method} {path} {body} {headers:?}: {told:?}");
        refused += usize::from(told.status == 409);
        odd += usize::from(told.status == 400);
    }
    // Many are understood, and refused as what they are.
    assert!(refused > 20 && odd > 20, "{refused} {odd}");
    stop_and_verify(gate, refused).await;
}
