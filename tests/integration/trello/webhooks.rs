//! Webhooks: looked for by HEAD, and signed together with the address that they are sent to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha1::Sha1;

use super::{as_agent, board, send};
use crate::e2e::{Setup, eventually, write_private};

const ADDRESS: &str = "https://gate.test/_claimgate/v1/webhooks/trello";
const PATH: &str = "/_claimgate/v1/webhooks/trello";

fn signature(secret: &str, body: &str, address: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    mac.update(address.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_past_the_gate_is_noticed_by_its_webhook() {
    let board = board(1).await;
    let setup = Setup::before(&format!("http://{}", board.trello.addr));
    let (secret, service) = (setup.dir().join("secret"), setup.dir().join("service"));
    write_private(&secret, "hush");
    write_private(&service, "key-agent-0:token-agent-0");
    let gate = setup
        .config(&format!(
            "[upstream]\ntracker = \"trello\"\nwebhook_secret_file = {secret:?}\nservice_token_file = {service:?}\n\
             webhook_url = \"{ADDRESS}\"\n"
        ))
        .start()
        .await;
    let (card, to) = (board.trello.add_card(board.list("Todo"), "work"), gate.address);
    assert_eq!(send(to, &format!("HEAD {PATH}"), &[], "").await.status, 200);
    let line = format!("PUT /1/cards/{}?idMembers={}&{}", card.id, board.agents[0], as_agent(0));
    assert_eq!(send(to, &line, &[], "").await.status, 200);
    board.trello.edit_outside(&card.id, |card| card.members.clear());
    let body = json!({ "action": { "type": "removeMemberFromCard", "data": { "card": { "id": card.id, "shortLink": card.short_link } } } });
    let body = body.to_string();
    let post = |signature: String| {
        let body = body.clone();
        async move {
            let header = format!("x-trello-webhook: {signature}");
            send(to, &format!("POST {PATH}"), &[&header, "content-type: application/json"], &body).await.status
        }
    };
    for wrong in [signature("other", &body, ADDRESS), signature("hush", &body, "https://else"), String::new()] {
        assert_eq!(post(wrong).await, 401);
    }
    assert_eq!(post(signature("hush", &body, ADDRESS)).await, 204);
    let revoked = || async { gate.audit().iter().any(|line| line["kind"] == "revoked").then_some(()) };
    eventually(revoked, Duration::from_secs(10)).await.unwrap_or_else(|| panic!("{:?}", gate.audit()));
}

/// Without the address no signature can be checked: that is said at the start.
#[tokio::test]
async fn the_address_must_be_known() {
    let setup = Setup::before("http://127.0.0.1:1");
    let secret = setup.dir().join("secret");
    write_private(&secret, "hush");
    let setup = setup.config(&format!("[upstream]\ntracker = \"trello\"\nwebhook_secret_file = {secret:?}\n"));
    let (status, said) = setup.refused_to_start().await;
    assert!(!status.success() && said.contains("upstream.webhook_url"), "{said}");
}
