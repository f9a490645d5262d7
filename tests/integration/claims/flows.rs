//! The call sequences of an unchanged fleet of agents: through the gate each goes exactly as without it.
//!
//! A flow is data: what the item is like before, how it may have come to be so, and the calls. It runs once directly at a
//! forge and once through the gate at another with the same content; status codes and the final item must be the same.
//! Each runs four times: with an account per role and with one for all, its item seeded in the forge and made by history.

use claimgate::fake_forge::{FakeForge, IssueView};
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Answer, Client, LABELS, REPO};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Dev,
    OtherDev,
    Gardener,
    Supervisor,
    Filer,
    Planner,
    Review,
}
use Role::{Dev, Filer, Gardener, OtherDev, Planner, Review, Supervisor};

/// One call of a script.
#[derive(Clone, Copy, Debug)]
enum Call {
    Whoami,
    Look,
    Claim,
    Clear,
    Close,
    Text,
    Comment,
    Add(&'static [&'static str]),
    Put(&'static [&'static str]),
    Remove(&'static str),
    /// The merge of a pull request that names the issue: closed past all API calls of the flow.
    ClosedByMerge,
    /// A new issue; the calls after it go there.
    File(&'static [&'static str]),
    /// A new pull request; the calls after it go there.
    OpenPull,
    ReviewPull,
    Dismiss,
    Merge,
    ClosePull,
}
use Call::{
    Add, Claim, Clear, Close, ClosePull, ClosedByMerge, Comment, Dismiss, File, Look, Merge, OpenPull, Put, Remove,
    ReviewPull, Text, Whoami,
};

struct Flow {
    name: &'static str,
    by: Role,
    before: Before,
    calls: &'static [&'static [Call]],
}

/// The item before the flow, and the calls that bring it there from `seed`.
struct Before {
    labels: &'static [&'static str],
    assignee: Option<Role>,
    closed: bool,
    seed: &'static [&'static str],
    history: &'static [(Role, &'static [Call])],
}

const CLAIM: &[Call] = &[Whoami, Look, Claim, Look, Add(&["in-progress"]), Remove("backlog"), Remove("blocked")];
const RELEASE: &[Call] = &[Clear, Remove("in-progress"), Add(&["backlog"])];
const BLOCK: &[Call] = &[Comment, Remove("in-progress"), Add(&["blocked"])];
const TOO_LARGE: &[Call] = &[Comment, Add(&["underspecified"]), Remove("backlog"), Remove("in-progress")];
const CLOSE: &[Call] = &[Clear, Close];
const CLOSE_AFTER_MERGE: &[Call] = &[Clear, Close, Remove("in-progress")];
const AWAIT: &[Call] = &[Clear, Add(&["awaiting-live-verification"])];
const STALE: &[Call] = &[Remove("in-progress"), Add(&["blocked"]), Comment];
const UNBLOCK: &[Call] = &[Comment, Remove("blocked"), Add(&["backlog"])];
const ENRICH: &[Call] = &[Text, Remove("underspecified"), Add(&["backlog"])];
const PROMOTE: &[Call] = &[Clear, Remove("tech-debt"), Add(&["backlog"])];
const SWEEP: &[Call] = &[Clear, Remove("blocked"), Add(&["backlog"]), Comment];

const BACKLOG: Before = seeded(&["backlog"]);
const MINE: Before = Before {
    labels: &["in-progress"],
    assignee: Some(Dev),
    closed: false,
    seed: &["backlog"],
    history: &[(Dev, CLAIM)],
};
const BLOCKED: Before = Before { labels: &["blocked"], history: &[(Dev, CLAIM), (Dev, BLOCK)], ..MINE };
const ORPHAN: Before = Before { assignee: None, history: &[(Dev, CLAIM), (Dev, &[Clear])], ..MINE };

const fn seeded(labels: &'static [&'static str]) -> Before {
    Before { labels, assignee: None, closed: false, seed: labels, history: &[] }
}

/// The rows of the manual (flows), but for the one that must be refused.
const FLOWS: &[Flow] = &[
    Flow { name: "claim", by: Dev, before: BACKLOG, calls: &[CLAIM] },
    Flow { name: "claim without a status", by: Dev, before: seeded(&[]), calls: &[CLAIM] },
    Flow {
        name: "claim of a blocked one",
        by: OtherDev,
        before: Before { assignee: None, history: &[(Dev, CLAIM), (Dev, BLOCK), (Supervisor, &[Clear])], ..BLOCKED },
        calls: &[CLAIM],
    },
    Flow { name: "claim of what is mine", by: Dev, before: MINE, calls: &[CLAIM] },
    Flow { name: "claim of what I blocked", by: Dev, before: BLOCKED, calls: &[CLAIM] },
    Flow { name: "release", by: Dev, before: MINE, calls: &[RELEASE] },
    Flow { name: "release and claim again", by: Dev, before: MINE, calls: &[RELEASE, CLAIM, RELEASE] },
    Flow { name: "block", by: Dev, before: MINE, calls: &[BLOCK] },
    Flow { name: "too large", by: Dev, before: MINE, calls: &[TOO_LARGE] },
    Flow { name: "close", by: Dev, before: MINE, calls: &[CLOSE] },
    Flow { name: "close after a merge", by: Dev, before: MINE, calls: &[CLOSE_AFTER_MERGE] },
    Flow {
        name: "close what the merge closed",
        by: Dev,
        before: Before { closed: true, history: &[(Dev, CLAIM), (Dev, &[ClosedByMerge])], ..MINE },
        calls: &[CLOSE_AFTER_MERGE],
    },
    Flow { name: "await verification", by: Dev, before: MINE, calls: &[AWAIT] },
    Flow { name: "stale relabel", by: OtherDev, before: ORPHAN, calls: &[STALE] },
    Flow { name: "orphan adoption", by: OtherDev, before: ORPHAN, calls: &[CLAIM] },
    Flow { name: "orphan adoption by the old holder", by: Dev, before: ORPHAN, calls: &[CLAIM] },
    Flow { name: "unblock", by: Gardener, before: BLOCKED, calls: &[UNBLOCK] },
    Flow {
        name: "enrich",
        by: Gardener,
        before: Before { labels: &["underspecified"], history: &[(Dev, CLAIM), (Dev, TOO_LARGE)], ..MINE },
        calls: &[ENRICH],
    },
    Flow {
        name: "promote",
        by: Gardener,
        before: Before {
            labels: &["tech-debt"],
            seed: &["tech-debt"],
            history: &[(Dev, CLAIM), (Dev, &[Remove("in-progress")])],
            ..MINE
        },
        calls: &[PROMOTE],
    },
    Flow { name: "sweep", by: Supervisor, before: BLOCKED, calls: &[SWEEP] },
    Flow {
        name: "re-claim",
        by: OtherDev,
        before: Before {
            history: &[(Dev, CLAIM), (Dev, BLOCK), (Gardener, UNBLOCK), (Supervisor, &[Clear])],
            ..BACKLOG
        },
        calls: &[CLAIM],
    },
    Flow { name: "triage", by: Filer, before: BACKLOG, calls: &[&[File(&[]), Add(&["in-progress"])]] },
    Flow { name: "filing", by: Filer, before: BACKLOG, calls: &[&[File(&["backlog", "priority"])]] },
    Flow { name: "plan", by: Planner, before: BACKLOG, calls: &[&[Put(&["backlog", "priority"])]] },
    Flow { name: "review", by: Review, before: BACKLOG, calls: &[&[OpenPull, ReviewPull, Dismiss, Comment]] },
    Flow { name: "pull request", by: Dev, before: MINE, calls: &[&[OpenPull, Merge, Merge]] },
    Flow { name: "given-up pull request", by: Dev, before: MINE, calls: &[&[OpenPull, ClosePull]] },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_account_a_role_and_items_seeded() {
    check(Accounts::OfRoles, Origin::Seeded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_account_a_role_and_items_with_a_history() {
    check(Accounts::OfRoles, Origin::History).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_account_and_items_seeded() {
    check(Accounts::One, Origin::Seeded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_account_and_items_with_a_history() {
    check(Accounts::One, Origin::History).await;
}

/// The one flow that must not go as without the gate: a bug in the wild.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_that_skips_an_item_of_another_is_refused() {
    for origin in [Origin::Seeded, Origin::History] {
        let stage = Stage::new(Accounts::OfRoles, true).await;
        let flow = Flow { name: "skip", by: OtherDev, before: MINE, calls: &[&[Remove("in-progress")]] };
        let outcome = stage.run(&flow, origin).await;
        assert_eq!(outcome.statuses[0].1, 409);
        assert_eq!(outcome.item.labels, ["in-progress"]);
    }
}

// === running ===

const NEWCOMER: &str = "dev-3";

#[derive(Clone, Copy, PartialEq)]
enum Accounts {
    OfRoles,
    One,
}

#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Seeded,
    History,
}

/// One way to a forge: directly, or through a gate.
struct Stage {
    forge: FakeForge,
    address: std::net::SocketAddr,
    accounts: Accounts,
    gate: Option<e2e::Gate>,
}

/// What came of a flow.
#[derive(Debug, PartialEq)]
struct Outcome {
    statuses: Vec<(String, u16)>,
    item: IssueView,
    last: IssueView,
}

async fn check(accounts: Accounts, origin: Origin) {
    let (direct, gated) = (Stage::new(accounts, false).await, Stage::new(accounts, true).await);
    let mut differences = Vec::new();
    for flow in FLOWS {
        let (plain, through) = (direct.run(flow, origin).await, gated.run(flow, origin).await);
        if plain != through {
            differences.push(format!("{}:\n  directly {plain:?}\n  gated    {through:?}", flow.name));
        }
    }
    assert!(differences.is_empty(), "{} flows differ\n{}", differences.len(), differences.join("\n"));
    gated.leaves_nothing_out_of_reach().await;
    let gate = gated.gate.expect("it has one");
    e2e::stop_and_verify(gate, FLOWS.len()).await;
}

impl Stage {
    async fn new(accounts: Accounts, gated: bool) -> Self {
        let roles = [Dev, OtherDev, Gardener, Supervisor, Filer, Planner, Review];
        let logins: Vec<&str> = match accounts {
            Accounts::OfRoles => roles.into_iter().map(|role| login(accounts, role)).collect(),
            Accounts::One => vec![login(accounts, Dev)],
        };
        let forge = e2e::forge(&logins).await;
        let gate = if gated { Some(e2e::gate(&forge).await) } else { None };
        let address = gate.as_ref().map_or(forge.addr(), |gate| gate.address);
        Self { forge, address, accounts, gate }
    }

    /// Whatever is open and shows nobody can be claimed by an agent that took no part.
    async fn leaves_nothing_out_of_reach(&self) {
        self.forge.add_user(NEWCOMER, &e2e::token(NEWCOMER));
        self.forge.grant_write(NEWCOMER, REPO);
        let mut newcomer = Client::new(self.address, NEWCOMER);
        let mut claimed = 0;
        for number in 1.. {
            let path = e2e::issue(number);
            let item = newcomer.get(&path).await;
            if item.status == 404 {
                break;
            }
            let free = item.json()["state"] == "open" && item.json()["assignee"].is_null();
            if free {
                newcomer.claim(number).await.granted();
                claimed += 1;
            }
        }
        assert!(claimed > 5, "{claimed} were free");
    }

    async fn run(&self, flow: &Flow, origin: Origin) -> Outcome {
        let first = self.before(flow, origin).await;
        let (mut number, mut statuses) = (first, Vec::new());
        let mut client = self.client(flow.by);
        for call in flow.calls.iter().copied().flatten() {
            let answer = self.call(&mut client, *call, &mut number).await;
            statuses.extend(answer.map(|answer| (format!("{call:?}"), answer.status)));
        }
        Outcome { statuses, item: self.view(first), last: self.view(number) }
    }

    /// The flow's item as it is to be before it.
    async fn before(&self, flow: &Flow, origin: Origin) -> u64 {
        let before = &flow.before;
        let assignee = before.assignee.map(|role| login(self.accounts, role));
        let (labels, assignees) = match origin {
            Origin::Seeded => (before.labels, assignee.as_slice()),
            Origin::History => (before.seed, [].as_slice()),
        };
        let mut number = self.forge.add_issue(REPO, flow.name, labels, assignees).number;
        if origin == Origin::Seeded && before.closed {
            self.forge.outside_close("acme", REPO, number);
        }
        if origin == Origin::History {
            for (role, calls) in before.history {
                let mut client = self.client(*role);
                for call in *calls {
                    self.call(&mut client, *call, &mut number).await;
                }
            }
        }
        let made = self.forge.issue(REPO, number);
        let state = if before.closed { "closed" } else { "open" };
        let (is, wanted) = ((&made.labels, &made.assignees, made.state), (labels_of(before), assignee, state));
        assert_eq!(
            (is.0, is.1.first().map(String::as_str), is.2),
            (&wanted.0, wanted.1, wanted.2),
            "before {}",
            flow.name
        );
        number
    }

    fn client(&self, role: Role) -> Client {
        Client::new(self.address, login(self.accounts, role))
    }

    fn view(&self, number: u64) -> IssueView {
        self.forge.issue(REPO, number)
    }

    async fn call(&self, client: &mut Client, call: Call, number: &mut u64) -> Option<Answer> {
        if matches!(call, ClosedByMerge) {
            self.forge.outside_close("acme", REPO, *number);
            return None;
        }
        let (method, path, body) = request(call, &client.login, *number);
        let answer = client.call(method, &path, body).await;
        if let (File(_) | OpenPull, Some(made)) = (call, answer.json()["number"].as_u64()) {
            *number = made;
        }
        if self.gate.is_some() && is_guarded(call) {
            assert!(!answer.decision().is_empty());
        }
        Some(answer)
    }
}

fn is_guarded(call: Call) -> bool {
    matches!(
        call,
        Claim
            | Clear
            | Close
            | Remove("in-progress" | "backlog" | "blocked")
            | Add(["in-progress" | "backlog" | "blocked"])
    )
}

fn request(call: Call, me: &str, number: u64) -> (Method, String, Option<Value>) {
    let repo = format!("/api/v1/repos/{REPO}");
    let (item, pull) = (format!("{repo}/issues/{number}"), format!("{repo}/pulls/{number}"));
    let patch = |body| (Method::PATCH, item.clone(), Some(body));
    match call {
        Whoami => (Method::GET, "/api/v1/user".to_owned(), None),
        Look | ClosedByMerge => (Method::GET, item, None),
        Claim => patch(json!({ "assignees": [me] })),
        Clear => patch(json!({ "assignees": [] })),
        Close => patch(json!({ "state": "closed" })),
        Text => patch(json!({ "body": "in more words" })),
        Comment => (Method::POST, format!("{item}/comments"), Some(json!({ "body": "a word" }))),
        Add(names) => (Method::POST, format!("{item}/labels"), Some(json!({ "labels": ids(names) }))),
        Put(names) => (Method::PUT, format!("{item}/labels"), Some(json!({ "labels": ids(names) }))),
        Remove(name) => (Method::DELETE, format!("{item}/labels/{}", id(name)), None),
        File(names) => {
            (Method::POST, format!("{repo}/issues"), Some(json!({ "title": "filed", "labels": ids(names) })))
        }
        OpenPull => {
            let body = json!({ "title": "the work", "head": format!("branch-of-{me}-{number}"), "base": "main" });
            (Method::POST, format!("{repo}/pulls"), Some(body))
        }
        ReviewPull => {
            let body = json!({ "event": "APPROVED", "body": "good", "commit_id": "0123abcd" });
            (Method::POST, format!("{pull}/reviews"), Some(body))
        }
        Dismiss => (Method::POST, format!("{pull}/reviews/1/dismissals"), Some(json!({ "message": "stale" }))),
        Merge => (Method::POST, format!("{pull}/merge"), Some(json!({ "Do": "merge" }))),
        ClosePull => (Method::PATCH, pull, Some(json!({ "state": "closed" }))),
    }
}

fn login(accounts: Accounts, role: Role) -> &'static str {
    match (accounts, role) {
        (Accounts::One, _) => "bot",
        (_, Dev) => "dev-1",
        (_, OtherDev) => "dev-2",
        (_, Gardener) => "gardener",
        (_, Supervisor) => "supervisor",
        (_, Filer) => "filer",
        (_, Planner) => "planner",
        (_, Review) => "review",
    }
}

/// Labels have the numbers in which order they were made.
fn id(name: &str) -> usize {
    LABELS.iter().position(|label| *label == name).expect("a known label") + 1
}

fn ids(names: &[&str]) -> Vec<usize> {
    names.iter().map(|name| id(name)).collect()
}

fn labels_of(before: &Before) -> Vec<String> {
    before.labels.iter().map(|label| (*label).to_owned()).collect()
}

also_as_forgejo_17! {
    with_an_account_a_role_and_items_seeded,
    with_an_account_a_role_and_items_with_a_history,
    with_one_account_and_items_seeded,
    with_one_account_and_items_with_a_history,
    a_dev_that_skips_an_item_of_another_is_refused,
}
