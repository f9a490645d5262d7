//! Items that are given to somebody else: whom the tracker would not assign is refused before it is sent, and what a tracker
//! leaves half done by itself is said.
//!
//! A forge replaces assignees one by one. That the new one has no access it finds out when the old one is gone.

use claimgate::fake_forge::{FakeForge, Feature, Options};
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Answer, Gate, REPO, Setup};

/// A private repository of two writers, a reader and a stranger.
async fn private(options: Options) -> FakeForge {
    let forge = e2e::forge_with(options, &["ann", "bob"]).await;
    for login in ["reader", "stranger"] {
        forge.add_user(login, &e2e::token(login));
    }
    forge.grant_read("reader", REPO);
    forge.set_private(REPO, true);
    forge
}

async fn give(gate: &Gate, path: &str, to: &str) -> Answer {
    gate.agent("ann").call(Method::PATCH, path, Some(json!({ "assignees": [to] }))).await
}

async fn hand_over(gate: &Gate, number: u64, to: &str) -> Answer {
    let path = format!("/_claimgate/v1/claims/{REPO}/{number}/handover");
    gate.agent("ann").call(Method::POST, &path, Some(json!({ "to": to }))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_whom_has_no_access_is_refused_before_it_is_sent() {
    let forge = private(Options::forgejo_17()).await;
    let number = e2e::backlog_issue(&forge).number;
    let pull = forge.add_pull(REPO, "the work", "topic", "main").number;
    let gate = e2e::gate(&forge).await;
    for number in [number, pull] {
        gate.agent("ann").claim(number).await.granted();
    }
    forge.clear_log();
    let pulls = format!("/api/v1/repos/{REPO}/pulls/{pull}");
    for refused in [
        give(&gate, &e2e::issue(number), "stranger").await,
        give(&gate, &e2e::issue(number), "nobody").await,
        give(&gate, &pulls, "stranger").await,
        hand_over(&gate, number, "stranger").await,
    ] {
        refused.refused(403, "not_applied");
        let text = refused.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(text.contains("may not be assigned there") && text.contains("nothing was sent"), "{text}");
    }
    assert!(!forge.requests().iter().any(|request| request.guarded), "nothing was sent");
    for number in [number, pull] {
        assert_eq!(forge.issue(REPO, number).assignees, ["ann"]);
        assert_eq!(gate.holder(number).await.as_deref(), Some("ann"));
    }
    // Who may read may be assigned, though the list of assignees does not name it; and so may a writer.
    hand_over(&gate, number, "reader").await.granted();
    assert_eq!(gate.holder(number).await.as_deref(), Some("reader"));
    give(&gate, &pulls, "bob").await.granted();
    assert_eq!(gate.holder(pull).await.as_deref(), Some("bob"));
    e2e::stop_and_verify(gate, 6).await;
}

/// In a public repository everybody may read, and so be assigned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_public_repository_a_stranger_is_assigned() {
    let forge = private(Options::forgejo_17()).await;
    forge.set_private(REPO, false);
    let number = e2e::backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    gate.agent("ann").claim(number).await.granted();
    give(&gate, &e2e::issue(number), "stranger").await.granted();
    assert_eq!(forge.issue(REPO, number).assignees, ["stranger"]);
    e2e::stop_and_verify(gate, 2).await;
}

/// Where the tracker does not say who may be assigned, it fails in the midst of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_tracker_leaves_half_done_is_said_and_the_item_is_free() {
    let mut newest = Options::forgejo_17();
    newest.features.remove(&Feature::AssigneeList);
    for options in [Options::default(), newest] {
        for outside in ["wins", "hold"] {
            let forge = private(options.clone()).await;
            let numbers = [e2e::backlog_issue(&forge).number, e2e::backlog_issue(&forge).number];
            let rules = format!("[assignment]\noutside = \"{outside}\"");
            let gate = Setup::before(&forge.base_url()).config(&rules).start().await;
            for number in numbers {
                gate.agent("ann").claim(number).await.granted();
            }
            let failed = [
                give(&gate, &e2e::issue(numbers[0]), "stranger").await,
                hand_over(&gate, numbers[1], "stranger").await,
            ];
            for (number, failed) in numbers.into_iter().zip(failed) {
                let body = failed.json();
                assert_eq!((failed.status, &body["claimgate"]["code"]), (409, &json!("not_holder")), "{failed:?}");
                let text = body["message"].as_str().unwrap_or_default();
                for told in ["it unassigned ann", "did not assign stranger", "nobody holds it: it can be claimed"] {
                    assert!(text.contains(told), "{text}");
                }
                assert!(!text.contains("did not pass the gate"), "{text}");
                assert!(forge.issue(REPO, number).assignees.is_empty());
                assert_eq!(gate.holder(number).await, None, "{outside}");
                gate.agent("bob").claim(number).await.granted();
                assert_eq!(gate.holder(number).await.as_deref(), Some("bob"));
            }
            let lines: Vec<Value> = gate.audit();
            assert!(!lines.iter().any(|line| line["code"] == "contested" || line["kind"] == "revoked"), "{lines:#?}");
            e2e::stop_and_verify(gate, 6).await;
        }
    }
}
