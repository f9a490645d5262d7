//! What Jira itself tells of an edit that did not pass the gate.

use std::time::Duration;

use hmac::{Hmac, Mac as _};
use http::Method;
use serde_json::json;
use sha2::Sha256;

use super::fake::Flavour;
use super::support::{Agent, jira};
use crate::e2e::{self, Setup, eventually, stop_and_verify};

const SECRET: &str = "a secret of webhooks";
const WEBHOOKS: &str = "/_claimgate/v1/webhooks/jira";

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_makes_an_outside_edit_noticed_at_once() {
    let jira = jira(Flavour::DataCenter).await;
    let setup = Setup::before(&jira.base());
    let file = |name: &str, text: &str| {
        let path = setup.dir().join(name);
        e2e::write_private(&path, text);
        path.display().to_string()
    };
    let (token, key) = (file("service", "secret-of-lead"), file("webhooks", SECRET));
    let config =
        format!("[upstream]\ntracker = \"jira\"\nservice_token_file = {token:?}\nwebhook_secret_file = {key:?}\n");
    let gate = setup.config(&config).start().await;
    let issue = jira.add_issue("GLO", "one");
    let mut agent = Agent::new(&jira, gate.address, "dev-1");
    agent.assign(&issue).await.granted();
    jira.rows().set(&issue, Some("dev-2"), "Todo");
    let body =
        json!({ "webhookEvent": "jira:issue_updated", "issue": { "id": jira.id(&issue), "key": issue } }).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", claimgate::model::hex(&mac.finalize().into_bytes()));
    let mut tracker = gate.anonymous();
    for (signature, status) in [("sha256=00", 401), (signature.as_str(), 204)] {
        let told = tracker.send(Method::POST, WEBHOOKS, &[("x-hub-signature", signature)], body.clone().into()).await;
        assert_eq!(told.status, status, "{told:?}");
    }
    let is_gone = || async {
        let told = gate.operator().get("/claims").await.json();
        (told == json!({ "claims": [] })).then_some(())
    };
    eventually(is_gone, Duration::from_secs(4)).await.expect("the edit is noticed");
    agent.take(&issue, "21").await.refused(409, "already_assigned");
    stop_and_verify(gate, 3).await;
}
