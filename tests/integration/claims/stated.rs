//! `Claimgate-State`, `If-Match` and `Claimgate-Expect` as a client meets them.

use claimgate::fake_forge::{FakeForge, Fault, Matcher};
use http::Method;
use serde_json::json;

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup, backlog_issue, issue};

/// A forge, a gate whose overrider is `sue`, and the number of a pull request.
async fn begin() -> (FakeForge, Gate, u64) {
    let forge = e2e::forge(&["ann", "bob", "sue"]).await;
    let gate = Setup::before(&forge.base_url()).config("[assignment]\noverriders = [\"sue\"]").start().await;
    let pull = forge.add_pull(REPO, "a change", "topic", "main").number;
    (forge, gate, pull)
}

fn pull_path(number: u64) -> String {
    format!("/api/v1/repos/{REPO}/pulls/{number}")
}

impl Answer {
    fn state(&self) -> Option<&str> {
        self.headers.get("claimgate-state").map(|tag| tag.to_str().expect("text"))
    }
}

impl Client {
    async fn state(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.state().unwrap_or_else(|| panic!("{path} shows no state: {answer:?}")).to_owned()
    }

    /// A claim with one more header.
    async fn claim_if(&mut self, number: u64, header: (&str, &str)) -> Answer {
        let body = json!({ "assignees": [self.login] }).to_string();
        let headers = [("content-type", "application/json"), header];
        self.send(Method::PATCH, &issue(number), &headers, body.into()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_shows_the_state_by_whichever_path() {
    let (forge, gate, pull) = begin().await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let before = ann.state(&issue(pull)).await;
    assert_eq!(ann.state(&pull_path(pull)).await, before, "one item, two paths");
    assert_eq!(bob.state(&issue(pull)).await, before, "whoever reads");
    // Bytes and length are those of the forge.
    let direct = Client::new(forge.addr(), "ann").get(&issue(pull)).await;
    let through = ann.get(&issue(pull)).await;
    assert_eq!((&through.body, &through.headers["content-type"]), (&direct.body, &direct.headers["content-type"]));
    assert!(direct.state().is_none());

    let claimed = ann.claim(pull).await;
    let after = claimed.granted().state().expect("the read-back is known").to_owned();
    assert_ne!(after, before);
    for path in [issue(pull), pull_path(pull)] {
        assert_eq!(bob.state(&path).await, after, "{path}");
    }
    assert_eq!(ann.claim(pull).await.granted().state(), Some(after.as_str()), "a no-op too");
    forge.outside_labels("acme", REPO, pull, &["tech-debt"]);
    assert_eq!(bob.state(&issue(pull)).await, after, "not a status");
    forge.outside_labels("acme", REPO, pull, &["todo"]);
    assert_ne!(bob.state(&issue(pull)).await, after);
    forge.outside_labels("acme", REPO, pull, &[]);
    let released = ann.release(pull).await;
    assert_eq!(released.granted().state(), Some(before.as_str()), "the same state has the same tag");
    // Closed is another state.
    forge.outside_close("acme", REPO, pull);
    assert_ne!(ann.state(&issue(pull)).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_shows_a_state() {
    let (forge, gate, pull) = begin().await;
    let number = backlog_issue(&forge).number;
    let mut ann = gate.agent("ann");
    for path in [
        format!("/api/v1/repos/{REPO}/issues"),
        format!("{}/comments", issue(number)),
        format!("{}/labels", issue(number)),
        format!("{}/reviews", pull_path(pull)),
        format!("/api/v1/repos/{REPO}"),
        format!("/{REPO}/issues/{number}"),
        issue(999),
    ] {
        let answer = ann.get(&path).await;
        assert!(answer.state().is_none(), "{path}: {answer:?}");
    }
    let head = ann.call(Method::HEAD, &issue(number), None).await;
    assert!(head.state().is_none(), "{head:?}");
    forge.script(Fault::Garbled, Matcher::new("GET", format!("/issues/{number}")));
    assert!(ann.get(&issue(number)).await.state().is_none(), "not JSON, whatever it says of itself");
    assert!(ann.get(&issue(number)).await.state().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_match_holds_a_write_to_what_was_read() {
    let (forge, gate, _) = begin().await;
    let number = backlog_issue(&forge).number;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let seen = ann.state(&issue(number)).await;
    forge.outside_labels("acme", REPO, number, &["blocked"]);
    let refused = ann.claim_if(number, ("if-match", &seen)).await;
    refused.refused(412, "precondition_failed");
    let body = refused.json();
    assert_eq!(body["claimgate"]["observed"]["status"], json!(["blocked"]), "{body}");
    assert_eq!(body["claimgate"]["expected"], "the state that If-Match names");
    assert!(body["message"].as_str().is_some_and(|message| message.contains("status blocked")), "{body}");
    let fresh = refused.state().expect("what was read instead").to_owned();
    assert!(forge.issue(REPO, number).assignees.is_empty());
    // Weak tags never match, however right they are.
    ann.claim_if(number, ("if-match", &format!("W/{fresh}"))).await.refused(412, "precondition_failed");
    forge.clear_log();
    let list = format!("\"other\", {fresh}");
    ann.claim_if(number, ("if-match", &list)).await.granted();
    let sent = forge.requests_about(REPO, number);
    assert!(sent.iter().any(|request| request.method == "PATCH"));
    assert!(sent.iter().all(|request| request.header("if-match").is_none()), "it is the gate's to judge");
    // Who has it comes first.
    bob.claim_if(number, ("if-match", &seen)).await.refused(409, "already_assigned");
    bob.claim_if(number, ("if-match", "*")).await.refused(409, "already_assigned");
    gate.agent("sue").claim_if(number, ("if-match", &seen)).await.refused(412, "precondition_failed");
    ann.claim_if(number, ("if-match", "*")).await.granted();
    ann.claim_if(number, ("if-match", &seen)).await.refused(412, "precondition_failed");
    ann.claim_if(number, ("if-match", "unquoted")).await.refused(400, "ambiguous_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claimgate_expect_says_it_in_words() {
    let (forge, gate, _) = begin().await;
    let number = backlog_issue(&forge).number;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    let expect = |list| ("claimgate-expect", list);
    ann.claim_if(number, expect("unassigned, status=todo")).await.refused(412, "precondition_failed");
    ann.claim_if(number, expect("status=none")).await.refused(412, "precondition_failed");
    ann.claim_if(number, expect("state=closed")).await.refused(412, "precondition_failed");
    let unknown = ann.claim_if(number, expect("unassigned, colour=red")).await;
    unknown.refused(400, "ambiguous_request");
    assert!(unknown.text().contains("assigned=LOGIN"), "{}", unknown.text());
    assert!(!unknown.text().contains("colour"), "what the client wrote is not repeated");
    ann.claim_if(number, expect("status=backlogg")).await.refused(400, "ambiguous_request");
    assert!(forge.issue(REPO, number).assignees.is_empty());
    forge.clear_log();
    ann.claim_if(number, expect("unassigned, status=backlog, state=open")).await.granted();
    assert!(forge.requests_about(REPO, number).iter().all(|request| request.header("claimgate-expect").is_none()));
    bob.claim_if(number, expect("unassigned")).await.refused(409, "already_assigned");
    ann.claim_if(number, expect("assigned=ann")).await.granted();
    ann.claim_if(number, expect("unassigned")).await.refused(412, "precondition_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_read_passes_as_it_is() {
    let (forge, gate, _) = begin().await;
    let number = forge.add_issue(REPO, &"long ".repeat(60 << 10), &["backlog"], &[]).number;
    let through = gate.agent("ann").get(&issue(number)).await;
    assert!(through.body.len() > 300 << 10 && through.state().is_none());
    let direct = Client::new(forge.addr(), "ann").get(&issue(number)).await;
    assert!(through.body == direct.body);
    let short = backlog_issue(&forge).number;
    assert!(gate.agent("ann").get(&issue(short)).await.state().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whole_and_plain_answers_show_a_state() {
    const JSON: &str = "application/json;charset=utf-8";
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(u16, Headers, bool); 7] = [
        (200, &[("content-type", JSON)], true),
        (200, &[("content-type", JSON), ("content-encoding", "identity")], true),
        (200, &[("content-type", JSON), ("content-encoding", "gzip")], false),
        (200, &[("content-type", "text/html")], false),
        (200, &[], false),
        (206, &[("content-type", JSON), ("content-range", "bytes 0-9/100")], false),
        (304, &[("content-type", JSON)], false),
    ];
    let upstream = crate::edge_support::forge(move |request| async move {
        let number: usize = request.uri().path().rsplit('/').next().unwrap_or_default().parse().unwrap_or_default();
        let (status, headers, _) = cases[number];
        let item = json!({ "id": 1, "number": number, "state": "open", "assignees": null, "labels": [] });
        let mut answer = http::Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        answer.body(claimgate::proxy::full(item.to_string())).expect("an answer")
    })
    .await;
    let gate = Setup::before(&format!("http://{upstream}")).start().await;
    let mut ann = gate.agent("ann");
    for (number, (status, headers, shows)) in cases.iter().enumerate() {
        let answer = ann.get(&issue(number as u64)).await;
        assert_eq!((answer.status, answer.state().is_some()), (*status, *shows), "{headers:?}: {answer:?}");
    }
}

/// A write that touches no guarded field is none of the gate's business, and neither is its precondition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_writes_pass_with_their_if_match() {
    let (forge, gate, _) = begin().await;
    let number = backlog_issue(&forge).number;
    let mut ann = gate.agent("ann");
    forge.clear_log();
    let headers = [("content-type", "application/json"), ("if-match", "\"theirs\"")];
    let answer = ann.send(Method::PATCH, &issue(number), &headers, r#"{"title":"new"}"#.into()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let comments = format!("{}/comments", issue(number));
    assert_eq!(ann.send(Method::POST, &comments, &headers, r#"{"body":"x"}"#.into()).await.status, 201);
    let sent = forge.requests_about(REPO, number);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|request| request.header("if-match") == Some("\"theirs\"")), "{sent:?}");
}

also_as_forgejo_17! {
    a_read_shows_the_state_by_whichever_path,
    nothing_else_shows_a_state,
    if_match_holds_a_write_to_what_was_read,
    claimgate_expect_says_it_in_words,
    a_long_read_passes_as_it_is,
    only_whole_and_plain_answers_show_a_state,
    other_writes_pass_with_their_if_match,
}
