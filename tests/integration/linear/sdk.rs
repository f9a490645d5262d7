//! Linear's own client through the gate; and one that cannot be given another address, under the real name.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};

use super::documents::clients;
use super::fake::{FakeLinear, key_of};
use super::{Agent, gate};
use crate::e2e::{Setup, stop_and_verify};
use crate::ways;

/// What each step of `client.mjs` came to.
async fn steps(at: SocketAddr, linear: &FakeLinear, name: &str, issue: &str) -> Option<Vec<Value>> {
    let folder = clients()?;
    let mut command = tokio::process::Command::new("node");
    command.current_dir(folder).arg("client.mjs").arg(format!("http://{at}/graphql")).arg(key_of(name)).arg(issue);
    command.arg(linear.user(name)).arg(linear.state("In Progress")).stdout(Stdio::piped());
    let output = command.output().await.expect("node is there");
    let lines = String::from_utf8(output.stdout).expect("text");
    Some(lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_client_goes_through_and_shows_a_refusal() {
    let linear = FakeLinear::start(&["ann", "bob"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let issue = linear.issue("Todo");
    let Some(told) = steps(gate.address, &linear, "ann", &issue).await else { return };
    let success = |step: &str| json!({ "step": step, "told": true });
    assert_eq!(told[0], json!({ "step": "viewer", "told": "ann" }));
    assert_eq!(told[1..], [success("claim"), success("again"), success("move"), success("archive")], "{told:?}");
    let taken = linear.issue("Todo");
    Agent::new(gate.address, "ann").update(&taken, json!({ "assigneeId": linear.user("ann") })).await.wins();
    let sent = linear.log().len();
    let told = steps(gate.address, &linear, "bob", &taken).await.expect("it ran before");
    for step in &told[1..] {
        assert_eq!(step["error"], "InvalidInputLinearError", "{step}");
        assert!(step["message"].as_str().is_some_and(|text| text.contains("ann")), "{step}");
    }
    assert_eq!(linear.log().len(), sent, "a refusal is repeated by nobody");
    stop_and_verify(gate, 6).await;
}

/// As a client does that knows `api.linear.app` alone: by name resolution, each listener one agent's.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_real_name_is_intercepted() {
    const HOST: &str = "api.linear.app";
    let linear = FakeLinear::start(&["bot"], &[]).await;
    let issue = linear.issue("Todo");
    let (one, two) = (ways::free_address(), ways::free_address());
    let listeners = [(one, "alice"), (two, "bob")].map(|(address, agent)| {
        format!("[[server.listener]]\naddress = \"{address}\"\nintercept = true\ninstance = \"{agent}\"\n")
    });
    let config = format!(
        "[upstream]\ntracker = \"linear\"\npublic_url = \"https://{HOST}\"\n[intercept]\nhosts = [\"{HOST}\"]\n{}",
        listeners.concat()
    );
    let setup = Setup::before(&format!("http://{}", linear.addr)).config(&config);
    let root = ways::authority(&setup, &[]).await;
    let gate = setup.start().await;
    let query = "mutation($id: String!, $input: IssueUpdateInput!) { issueUpdate(id: $id, input: $input) { success } }";
    let input = json!({ "stateId": linear.state("In Progress") });
    let body = json!({ "query": query, "variables": { "id": issue, "input": input } }).to_string();
    let claims = async |at: SocketAddr| {
        let stream = tokio::net::TcpStream::connect(at).await.expect("it listens");
        let stream = ways::tls(stream, HOST, &root, "http/1.1").await.expect("it is trusted");
        let asked = format!(
            "POST /graphql HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\nauthorization: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            key_of("bot"),
            body.len()
        );
        ways::talk(stream, &asked).await
    };
    let first = claims(two).await;
    assert!(first.contains("\"success\":true"), "{first}");
    let second = claims(one).await;
    assert!(second.starts_with("HTTP/1.1 200 ") && second.contains("already_assigned"), "{second}");
    assert_eq!(linear.log(), ["bot issueUpdate"]);
    stop_and_verify(gate, 2).await;
}
