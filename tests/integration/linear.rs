//! Linear: a fake one, strict by its own schema, behind the real gate.

mod documents;
mod fake;
mod flows;
mod incident;
mod mangled;
mod races;
mod sdk;
mod stale;

use std::net::SocketAddr;

use http::Method;
use serde_json::{Value, json};

use crate::e2e::{Answer, Client, Gate, Setup};

/// A gate that speaks Linear, with more configuration.
async fn gate(linear: SocketAddr, more: &str) -> Gate {
    let config = format!("[upstream]\ntracker = \"linear\"\n{more}");
    Setup::before(&format!("http://{linear}")).config(&config).start().await
}

/// One agent, by its key.
struct Agent(Client);

impl Agent {
    fn new(address: SocketAddr, name: &str) -> Self {
        let mut client = Client::new(address, name);
        client.authorization = Some(fake::key_of(name));
        Self(client)
    }

    /// Below its own name, as agents that share a key are told apart.
    fn named(address: SocketAddr, key: &str, name: &str) -> Self {
        let Self(client) = Self::new(address, key);
        Self(client.below(&format!("/as/{name}")))
    }

    async fn ask(&mut self, query: &str, variables: Value) -> Answer {
        let body = json!({ "query": query, "variables": variables });
        self.0.call(Method::POST, "/graphql", Some(body)).await
    }

    /// One update of one issue.
    async fn update(&mut self, id: &str, input: Value) -> Told {
        let query = "mutation($id: String!, $input: IssueUpdateInput!) { issueUpdate(id: $id, input: $input) { success issue { id identifier state { name } } } }";
        Told(self.ask(query, json!({ "id": id, "input": input })).await)
    }
}

/// What an agent is told.
struct Told(Answer);

impl Told {
    #[track_caller]
    fn body(&self) -> Value {
        assert_eq!(self.0.status, 200, "{}", self.0.text());
        self.0.json()
    }

    fn is_success(&self) -> bool {
        let body = self.body();
        let all = body["data"].as_object().is_some_and(|data| data.values().all(|payload| payload["success"] == true));
        all && body.get("errors").is_none()
    }

    #[track_caller]
    fn wins(&self) -> &Self {
        assert!(self.is_success(), "{}", self.0.text());
        self
    }

    /// The text of the one error.
    #[track_caller]
    fn loses(&self, code: &str) -> String {
        let body = self.body();
        let error = &body["errors"][0];
        assert_eq!(
            (&body["data"], error["extensions"]["claimgate"]["code"].as_str()),
            (&Value::Null, Some(code)),
            "{body}"
        );
        error["message"].as_str().expect("a text").to_owned()
    }
}
