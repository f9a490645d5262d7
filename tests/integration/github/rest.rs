//! What single calls of the REST API are told through the gate, and leave.

use http::Method;
use serde_json::json;

use super::{agent, assignees, eight, gate, issue};
use crate::e2e::stop_and_verify;

#[tokio::test(flavor = "multi_thread")]
async fn one_item_by_every_spelling_of_its_path() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let number = github.add_issue(repo, "acme", "work");
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    ann.call(Method::POST, &(issue(number) + "/assignees"), Some(assignees(&[&agents[0]]))).await.granted();
    for path in [
        issue(number),
        format!("/repos/ACME/App/issues/{number}"),
        format!("/repositories/{repo}/issues/{number}"),
        format!("/api/v3/repos/acme/app/issues/{number}"),
        format!("/api/v3/repositories/{repo}/issues/{number}"),
    ] {
        let told = bob.call(Method::PATCH, &path, Some(assignees(&[&agents[1]]))).await;
        told.refused(409, "already_assigned");
        let told = bob.call(Method::POST, &format!("{path}/assignees"), Some(assignees(&[&agents[1]]))).await;
        told.refused(409, "already_assigned");
        let told = bob.call(Method::DELETE, &format!("{path}/assignees"), Some(assignees(&[&agents[0]]))).await;
        told.refused(409, "not_holder");
        // Its holder's own repetition.
        let again = ann.call(Method::POST, &format!("{path}/assignees"), Some(assignees(&[&agents[0]]))).await;
        assert_eq!((again.granted().status, &again.json()["number"]), (201, &json!(number)));
    }
    assert_eq!(github.issue(repo, number).assignees, agents[..1]);
    let released = ann.call(Method::DELETE, &(issue(number) + "/assignees"), Some(assignees(&[&agents[0]]))).await;
    assert_eq!(released.granted().status, 200);
    bob.call(Method::PATCH, &issue(number), Some(assignees(&[&agents[1]]))).await.granted();
    stop_and_verify(gate, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_has_moved_is_the_same_item() {
    let (github, repo, agents) = eight().await;
    let other = github.add_repo("acme", "other");
    let gate = gate(&github, "").await;
    let number = github.add_issue(repo, "acme", "work");
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    ann.call(Method::PATCH, &issue(number), Some(assignees(&[&agents[0]]))).await.granted();
    let new = github.transfer(repo, number, other);
    for path in
        [issue(number), format!("/repos/acme/other/issues/{new}"), format!("/repositories/{other}/issues/{new}")]
    {
        bob.call(Method::PATCH, &path, Some(assignees(&[&agents[1]]))).await.refused(409, "already_assigned");
    }
    github.rename(other, "elsewhere");
    let old = format!("/repos/acme/other/issues/{new}");
    bob.call(Method::PATCH, &old, Some(assignees(&[&agents[1]]))).await.refused(409, "already_assigned");
    ann.call(Method::PATCH, &old, Some(json!({ "state": "closed" }))).await.granted();
    assert!(!github.issue(other, new).open);
    stop_and_verify(gate, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_in_all_their_forms() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let number = github.add_issue(repo, "acme", "work");
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    let labels = issue(number) + "/labels";
    github.set_labels(repo, number, &["blocked"]);
    bob.call(Method::PUT, &labels, Some(json!(["todo"]))).await.granted();
    // The move of an issue that nobody has is a claim.
    let moved = ann.call(Method::POST, &labels, Some(json!({ "labels": ["In-Progress"] }))).await;
    assert_eq!(moved.granted().status, 200);
    assert_eq!(moved.json()[1]["name"], "in-progress");
    ann.call(Method::DELETE, &format!("{labels}/Todo"), None).await.granted();
    assert_eq!(github.issue(repo, number).labels, ["in-progress"]);
    // Another's status is nobody's to set, in any form; other labels are free, and made where there are none.
    for (method, body) in [
        (Method::PUT, json!(["todo"])),
        (Method::PUT, json!({ "labels": [{ "name": "done" }] })),
        (Method::PUT, json!("done")),
        (Method::POST, json!(["done", "bug"])),
        (Method::DELETE, json!({})),
    ] {
        bob.call(method, &labels, Some(body)).await.refused(409, "not_holder");
    }
    bob.call(Method::DELETE, &format!("{labels}/in-progress"), None).await.refused(409, "not_holder");
    bob.call(Method::POST, &labels, Some(json!(["a new one", "area/ui"]))).await.granted();
    bob.call(Method::DELETE, &format!("{labels}/area%2Fui"), None).await.granted();
    assert_eq!(github.issue(repo, number).labels, ["in-progress", "a new one"]);
    let whole = bob.call(Method::PATCH, &issue(number), Some(json!({ "labels": ["done"] }))).await;
    whole.refused(409, "not_holder");
    ann.call(Method::PUT, &labels, Some(json!(["done"]))).await.granted();
    assert_eq!(github.issue(repo, number).labels, ["done"]);
    stop_and_verify(gate, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_an_item_beside_its_guarded_fields_is_its_holders() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let number = github.add_issue(repo, "acme", "work");
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    ann.call(Method::PATCH, &issue(number), Some(assignees(&[&agents[0]]))).await.granted();
    let fields = json!({ "issue_field_values": [{ "field_id": 5, "value": "Done" }] });
    let propose = json!({ "assignees": [{ "login": agents[1], "suggest": true }] });
    for (method, path, body) in [
        (Method::POST, "/issue-field-values", fields.clone()),
        (Method::DELETE, "/issue-field-values/5", json!({})),
        (Method::PATCH, "", fields.clone()),
        (Method::PATCH, "", propose.clone()),
        (Method::POST, "/suggestions/9/approve", json!({})),
    ] {
        let told = bob.call(method, &(issue(number) + path), Some(body)).await;
        told.refused(409, "not_holder");
    }
    ann.call(Method::PATCH, &issue(number), Some(propose)).await.granted();
    ann.call(Method::POST, &(issue(number) + "/issue-field-values"), Some(fields)).await.granted();
    assert_eq!(github.issue(repo, number).assignees, agents[..1]);
    // All else is free.
    for (method, path, body) in [
        (Method::POST, "/comments", json!({ "body": "good luck" })),
        (Method::PUT, "/lock", json!({})),
        (Method::PATCH, "", json!({ "title": "better" })),
    ] {
        let told = bob.call(method, &(issue(number) + path), Some(body)).await;
        assert!(told.status < 300, "{told:?}");
    }
    let unknown = bob.call(Method::POST, &(issue(number) + "/assign"), Some(json!({}))).await;
    unknown.refused(400, "ambiguous_request");
    stop_and_verify(gate, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_push_is_told_that_nothing_was_done() {
    let (github, repo, agents) = eight().await;
    github.forbid_push(repo, &agents[0]);
    let gate = gate(&github, "").await;
    let number = github.add_issue(repo, "acme", "work");
    let mut ann = agent(&gate, &agents[0]);
    // GitHub says 201, and assigns nobody.
    let told = ann.call(Method::POST, &(issue(number) + "/assignees"), Some(assignees(&[&agents[0]]))).await;
    assert_eq!((told.status, &told.json()["claimgate"]["code"]), (403, &json!("not_applied")), "{told:?}");
    assert!(github.issue(repo, number).assignees.is_empty());
    stop_and_verify(gate, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_known_by_graphql_and_a_job_is_shared() {
    let (github, repo, agents) = eight().await;
    github.add_bot("github-actions[bot]", "ghs_job");
    let gate = gate(&github, "").await;
    let number = github.add_issue(repo, "acme", "work");
    let mut job = agent(&gate, &agents[0]);
    job.authorization = Some("Bearer ghs_job".to_owned());
    let claim = Some(assignees(&["github-actions[bot]"]));
    let told = job.call(Method::PATCH, &issue(number), claim.clone()).await;
    told.refused(409, "identity_required");
    let mut named = agent(&gate, &agents[0]).below("/as/run-1");
    named.authorization = Some("Bearer ghs_job".to_owned());
    named.call(Method::PATCH, &issue(number), claim).await.granted();
    let asked = github.log().into_iter().filter(|logged| logged.target == "/graphql");
    let asked: Vec<_> = asked.filter_map(|logged| logged.login).collect();
    assert_eq!(asked, ["github-actions[bot]"], "once");
    stop_and_verify(gate, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_422_for_clients_that_repeat_a_409() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "refusal_status = 422\n").await;
    let number = github.add_issue(repo, "acme", "work");
    github.assign_outside(repo, number, Some(&agents[1]));
    let told = agent(&gate, &agents[0]).call(Method::PATCH, &issue(number), Some(assignees(&[&agents[0]]))).await;
    told.refused(422, "already_assigned");
    assert_eq!(told.json()["errors"][0]["code"], "custom");
    stop_and_verify(gate, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strikes_items_beside_is_judged() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let pull = github.add_pull(repo, "acme", "work", "feature/one");
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    ann.call(Method::POST, &(issue(pull) + "/assignees"), Some(assignees(&[&agents[0]]))).await.granted();
    let repo_path = format!("/repos/{}", super::REPO);
    let branch = bob.call(Method::DELETE, &format!("{repo_path}/git/refs/heads/feature/one"), None).await;
    branch.refused(409, "not_holder");
    let renamed =
        bob.call(Method::PATCH, &format!("{repo_path}/labels/todo"), Some(json!({ "new_name": "later" }))).await;
    renamed.refused(409, "not_holder");
    let coloured =
        bob.call(Method::PATCH, &format!("{repo_path}/labels/todo"), Some(json!({ "color": "ff0000" }))).await;
    assert_eq!(coloured.status, 200);
    let other =
        bob.call(Method::PATCH, &format!("{repo_path}/labels/area%2Fui"), Some(json!({ "new_name": "ui" }))).await;
    assert_eq!(other.status, 200, "{other:?}");
    let closed =
        bob.call(Method::PATCH, &format!("{repo_path}/pulls/{pull}"), Some(json!({ "state": "closed" }))).await;
    closed.refused(409, "not_holder");
    ann.call(Method::PATCH, &format!("{repo_path}/pulls/{pull}"), Some(json!({ "state": "closed" }))).await.granted();
    stop_and_verify(gate, 5).await;
}

/// Work is found and taken by the gate's own API.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_issue_is_claimed_by_the_claims_api() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let numbers: Vec<u64> = (0..3).map(|at| github.add_issue(repo, "acme", &format!("work {at}"))).collect();
    github.add_pull(repo, "acme", "no work", "x");
    github.assign_outside(repo, numbers[0], Some(&agents[3]));
    let body = json!({ "repository": super::REPO, "set_labels": ["in-progress"] });
    for (login, status) in agents[..3].iter().zip([201, 201, 204]) {
        let told = agent(&gate, login).call(Method::POST, "/_claimgate/v1/claims/next", Some(body.clone())).await;
        assert_eq!(told.status, status, "{told:?}");
    }
    for (number, login) in numbers[1..].iter().zip(&agents) {
        let shown = github.issue(repo, *number);
        assert_eq!((shown.assignees, shown.labels), (vec![login.clone()], vec!["in-progress".to_owned()]));
    }
    stop_and_verify(gate, 2).await;
}

/// URLs of answers lead back by the way that the caller came.
#[tokio::test(flavor = "multi_thread")]
async fn answers_lead_back_to_the_gate() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    for at in 0..5 {
        github.add_issue(repo, "acme", &format!("work {at} of {}", github.base()));
    }
    let enterprise =
        agent(&gate, &agents[0]).below("/as/one").get(&format!("/api/v3/repos/{}/issues/5", super::REPO)).await;
    let url = format!("http://{}/as/one/api/v3/repos/{}/issues/5", gate.address, super::REPO);
    assert_eq!(enterprise.json()["url"], url, "as it was asked for");
    let mut ann = agent(&gate, &agents[0]).below("/as/one");
    let listed = ann.get(&format!("/repos/{}/issues?per_page=2", super::REPO)).await;
    let base = format!("http://{}/as/one", gate.address);
    let link = listed.headers["link"].to_str().expect("text");
    assert!(link.starts_with(&format!("<{base}/repositories/{repo}/issues?")), "{link}");
    let rows = listed.json();
    assert_eq!(rows[0]["url"], format!("{base}/repos/{}/issues/5", super::REPO));
    assert!(rows[0]["title"].as_str().is_some_and(|title| title.ends_with(&github.base())), "texts are never touched");
    stop_and_verify(gate, 0).await;
}
