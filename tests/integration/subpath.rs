//! A tracker that is served below a path, and redirects of a renamed repository: relative, below that path, absolute.

use super::e2e::{self, LABELS, REPO, Setup, token};
use claimgate::fake_forge::{FakeForge, Options};
use http::Method;
use serde_json::json;

/// The tracker's own name for itself.
const PUBLIC: &str = "https://git.example/forge";

/// Two agents race for an item by the repository's old name; the gate reads it where it has gone.
async fn check(options: Options, upstream_path: &str, config: &str) {
    let forge = forge(options).await;
    let number = forge.add_issue(REPO, "work", &["backlog"], &[]).number;
    forge.rename_repo(REPO, "renamed");
    let gate = Setup::before(&format!("{}{upstream_path}", forge.base_url())).config(config).start().await;
    gate.agent("one").claim(number).await.granted();
    gate.agent("two").claim(number).await.refused(409, "already_assigned");
    let path = format!("/api/v1/repos/acme/renamed/issues/{number}");
    gate.agent("two")
        .call(Method::PATCH, &path, Some(json!({"assignees": ["two"]})))
        .await
        .refused(409, "already_assigned");
    assert_eq!(forge.issue("acme/renamed", number).assignees, ["one"]);
    assert_eq!(forge.max_assignees_ever("acme/renamed", number), 1);
}

#[tokio::test]
async fn a_relative_redirect_is_followed() {
    check(Options::default(), "", "").await;
}

#[tokio::test]
async fn a_redirect_to_the_trackers_own_address_is_followed() {
    check(Options { absolute_redirects: true, ..Options::default() }, "", "").await;
}

#[tokio::test]
async fn a_redirect_to_the_trackers_public_address_is_followed() {
    let options = Options { absolute_redirects: true, ..Options::default() }.root_url(PUBLIC);
    check(options, "", &format!("[upstream]\npublic_url = \"{PUBLIC}\"\n")).await;
}

#[tokio::test]
async fn a_tracker_below_a_path_is_guarded() {
    check(Options { sub_path: "/forge".into(), ..Options::default() }, "/forge", "").await;
    let options = Options { sub_path: "/forge".into(), absolute_redirects: true, ..Options::default() };
    check(options.root_url(PUBLIC), "/forge/", &format!("[upstream]\npublic_url = \"{PUBLIC}\"\n")).await;
}

/// Elsewhere nothing is read: not every tracker that has an item of this number has this item.
#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let options = Options { absolute_redirects: true, ..Options::default() }.root_url("https://elsewhere.example");
    let forge = forge(options).await;
    let number = forge.add_issue(REPO, "work", &["backlog"], &[]).number;
    forge.rename_repo(REPO, "renamed");
    let gate = e2e::gate(&forge).await;
    gate.agent("one").claim(number).await.refused(502, "upstream_unreadable");
    assert!(forge.issue("acme/renamed", number).assignees.is_empty());
}

/// The gate was not told of the path: what would reach the tracker below it is refused, not passed on.
#[tokio::test]
async fn a_path_that_the_gate_does_not_know_of_is_no_way_round() {
    let forge = forge(Options { sub_path: "/forge".into(), ..Options::default() }).await;
    let number = forge.add_issue(REPO, "work", &["backlog"], &[]).number;
    let gate = e2e::gate(&forge).await;
    let path = format!("/forge{}", e2e::issue(number));
    let claim = json!({"assignees": ["one"]});
    assert_eq!(gate.agent("one").get(&path).await.status, 200, "reads go through");
    gate.agent("one").call(Method::PATCH, &path, Some(claim)).await.refused(400, "ambiguous_request");
    assert!(forge.issue(REPO, number).assignees.is_empty());
}

async fn forge(options: Options) -> FakeForge {
    let forge = FakeForge::start(options).await.expect("a free port");
    forge.add_user("acme", &token("acme"));
    forge.add_repo("acme", "app");
    for login in ["one", "two"] {
        forge.add_user(login, &token(login));
        forge.grant_write(login, REPO);
    }
    for label in LABELS {
        forge.add_label(REPO, label);
    }
    forge
}
