//! What an operator has of a gate before GitHub: webhooks, `scan`, `check`, `explain`.

use hmac::{Hmac, Mac as _};
use http::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;

use super::fake::FakeGitHub;
use super::{REPO, agent, assignees, eight, issue};
use crate::e2e::{Setup, eventually, stop_and_verify, token, write_private};
use crate::ways::claimgate;

const SECRET: &str = "of the hook";

/// With a token of the gate's own, and the secret of a hook.
fn configured(github: &FakeGitHub, more: &str) -> Setup {
    let setup = Setup::before(&github.base());
    let [service, hook] = ["service", "hook"].map(|name| setup.dir().join(name));
    write_private(&service, &token("acme"));
    write_private(&hook, SECRET);
    let config = format!(
        "{more}[upstream]\ntracker = \"github\"\nurl = \"{}\"\nservice_token_file = \"{}\"\nwebhook_secret_file = \"{}\"\n",
        github.base(),
        service.display(),
        hook.display()
    );
    setup.config(&config)
}

fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    format!("sha256={}", claimgate::model::hex(&mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_makes_an_outside_edit_noticed_at_once() {
    let (github, repo, agents) = eight().await;
    let gate = configured(&github, "").start().await;
    let mut hook = gate.anonymous().with("user-agent", "GitHub-Hookshot/1").with("x-github-event", "issues");
    for as_form in [false, true] {
        let number = github.add_issue(repo, "acme", "work");
        agent(&gate, &agents[0]).call(Method::PATCH, &issue(number), Some(assignees(&[&agents[0]]))).await.granted();
        github.assign_outside(repo, number, Some(&agents[1]));
        let payload =
            json!({ "action": "assigned", "issue": { "number": number }, "repository": { "full_name": REPO } });
        let (kind, body) = if as_form {
            let mut form = form_urlencoded::Serializer::new(String::new());
            ("application/x-www-form-urlencoded", form.append_pair("payload", &payload.to_string()).finish())
        } else {
            ("application/json", payload.to_string())
        };
        for (signed, status) in [(signature("another"), 401), (signature(&body), 204)] {
            let headers = [("content-type", kind), ("x-hub-signature-256", signed.as_str())];
            let told = hook.send(Method::POST, "/_claimgate/v1/webhooks/github", &headers, body.clone().into()).await;
            assert_eq!(told.status, status, "{told:?}");
        }
        let ended = || async {
            let claims = gate.operator().get("/claims").await.json();
            claims["claims"].as_array().is_some_and(Vec::is_empty).then_some(())
        };
        eventually(ended, Duration::from_secs(5)).await.expect("the holding ends");
    }
    stop_and_verify(gate, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_finds_what_a_gate_would_meet() {
    let (github, repo, agents) = eight().await;
    let [double, idle] = [0; 2].map(|_| github.add_issue(repo, "acme", "work"));
    github.assign_all_outside(repo, double, &[&agents[0], &agents[1]]);
    github.set_labels(repo, double, &["in-progress"]);
    github.assign_outside(repo, idle, Some(&agents[2]));
    let setup = configured(&github, "");
    let said = claimgate(&setup, &["scan", "--json", "--rate", "1000"]).await;
    let scan: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    let found: Vec<String> = scan["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| {
            format!(
                "{} {}",
                finding["kind"].as_str().unwrap_or_default(),
                finding["resource"].as_str().unwrap_or_default()
            )
        })
        .collect();
    assert!(found.contains(&format!("several_assignees {REPO}#{double}")), "{found:?}");
    assert!(found.contains(&format!("assigned_not_working {REPO}#{idle}")), "{found:?}");
    assert!(
        github.log().iter().all(|logged| logged.method == "GET" || logged.target == "/graphql"),
        "it changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_is_said() {
    let (github, ..) = eight().await;
    let setup = configured(&github, "[[once]]\nwhat = \"review\"\nname = \"x\"\nkey = \"{pull}\"\n");
    let said = claimgate(&setup, &["check"]).await;
    assert!(String::from_utf8_lossy(&said.stderr).contains("[[once]] is about reviews and pull requests"), "{said:?}");
    let setup = configured(&github, "");
    let said = claimgate(&setup, &["check", "--json"]).await;
    let checked: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!(checked["config"]["identity"]["shared_accounts"], json!(["github-actions[bot]"]), "{checked:#}");
    let said =
        claimgate(&setup, &["explain", "POST", "/repos/o/r/issues/7/assignees", "{\"assignees\":[\"ann\"]}"]).await;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains("guarded: assignees+=[ann]"), "{said:?}");
}
