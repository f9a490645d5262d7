//! What one version's reader takes for something guarded and another does not: refused, and never sent.
//!
//! goccy/go-json (to v0.10.5; Forgejo 7 to 15, Gitea 1.16 to 1.25) counts the bytes of an escape in a name, so that a
//! shortened name counts as the whole, and after an escape of one character misses the end of the name. jsoniter (Gitea
//! 1.15) knows members by a hash of their names, for which others are found in a minute. Databases with
//! padded or accent-blind collations find a label by a name that is not quite its own.

use http::Method;

use crate::e2e::{self, Client, Setup, issue};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// What is sent to `.../issues/N` (PATCH), or below it (POST); `#` stands for the item's path.
const TRICKS: &[(&str, &str, &str)] = &[
    ("PATCH", "#", r#"{"\u0061ssigne":"eve"}"#),
    ("PATCH", "#", r#"{"\u0061ssigne":""}"#),
    ("PATCH", "#", r#"{"st\u0061t":"closed"}"#),
    ("PATCH", "#", r#"{"\u0073\u0074":"closed"}"#),
    ("PATCH", "#", r#"{"\\":":0,",":0,":{":0,":[":[\""],"state":"closed"}}"#),
    ("PATCH", "#", r#"{"\\":":0,",":0,":{":0,":[":[\""],"assignees":["eve"]}}"#),
    ("PATCH", "#", r#"{"title":"t","\\":":0,",":0,":{":0,":[":[\""],"state":"closed"}}"#),
    ("PATCH", "#", r#"{"title":"t","x":{"\"":1}}"#),
    ("PATCH", "#", r#"{"xajjxmxwsb.*g2y29":"eve"}"#),
    ("PATCH", "#", r#"{"ovrtgx993z(t7:2[5":["eve"]}"#),
    ("PATCH", "#", r#"{"nxgiiv1)58:h>6|9,":"closed"}"#),
    ("POST", "#/labels", r#"{"zkzxpc8{1$6u(:55>":[1]}"#),
    ("POST", "#/labels", r#"{"l\u0061b":[1]}"#),
    ("POST", "#/labels", r#"{"labels":["in-progress "]}"#),
    ("POST", "#/labels", r#"{"labels":["ín-progress"]}"#),
    ("POST", "#/labels", "{\"labels\":[\"in-\u{200B}progress\"]}"),
    ("PUT", "#/labels", r#"{"labels":[" backlog"]}"#),
    ("DELETE", "#/labels/in-progress%20", ""),
    ("DELETE", "#/labels/%C3%ADn-progress", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_some_readers_see_is_refused() {
    let forge = e2e::forge(&["ann", "eve"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let number = e2e::backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    let mut eve: Client = gate.agent("eve");
    for (method, path, body) in TRICKS {
        forge.clear_log();
        let method: Method = method.parse().expect("a method");
        let answer = eve.send(method, &path.replace('#', &issue(number)), JSON, (*body).into()).await;
        answer.refused(400, "ambiguous_request");
        let writes = forge.requests().into_iter().filter(|request| request.method != "GET").count();
        assert_eq!(writes, 0, "{path} {body}");
    }
    e2e::stop_and_verify(gate, 1 + TRICKS.len()).await;
}
