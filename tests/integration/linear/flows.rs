//! Documents with several fields, delegates, labels, ends and beginnings; and what passes.

use serde_json::{Value, json};

use super::fake::FakeLinear;
use super::{Agent, Told, gate};
use crate::e2e::stop_and_verify;

async fn told(agent: &mut Agent, query: &str) -> Told {
    Told(agent.ask(query, json!({})).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_carried_out_as_a_whole_or_not_at_all() {
    let linear = FakeLinear::start(&["ann", "bob"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let (mut ann, mut bob) = (Agent::new(gate.address, "ann"), Agent::new(gate.address, "bob"));
    let issues: Vec<String> = (0..5).map(|_| linear.issue("Todo")).collect();
    let progress = linear.state("In Progress");
    let document = |issues: &[String]| {
        let field = |(at, issue): (usize, &String)| {
            format!("a{at}: issueUpdate(id: \"{issue}\", input: {{stateId: \"{progress}\"}}) {{ ...P }}")
        };
        let fields: Vec<String> = issues.iter().enumerate().map(field).collect();
        format!("mutation {{ {} }} fragment P on IssuePayload {{ success issue {{ identifier }} }}", fields.join(" "))
    };
    bob.update(&issues[4], json!({ "stateId": progress })).await.wins();
    let refused = told(&mut ann, &document(&issues)).await.loses("already_assigned");
    assert!(refused.contains("1 of 5 items cannot be changed, so none was") && refused.contains("bob"), "{refused}");
    assert_eq!(linear.log(), ["bob issueUpdate"]);
    let done = told(&mut ann, &document(&issues[..4])).await;
    let body = done.wins().body();
    assert_eq!(body["data"]["a3"]["issue"]["identifier"], issues[3].as_str(), "{body}");
    for issue in &issues[..4] {
        assert_eq!(linear.stands(issue).0, "In Progress");
        bob.update(issue, json!({ "assigneeId": linear.user("bob") })).await.loses("already_assigned");
    }
    // In two spellings an issue is one, and what is to become of it nobody can say.
    let id = linear.shown(&issues[0]).id;
    let twice = told(&mut ann, &document(&[issues[0].clone(), id.clone()])).await.loses("ambiguous_request");
    assert!(twice.contains("are one item"), "{twice}");
    // By ids, several at once.
    let ids: Vec<String> = issues[..2].iter().map(|issue| linear.shown(issue).id).collect();
    let batch = "mutation($ids: [UUID!]!, $in: IssueUpdateInput!) { issueBatchUpdate(ids: $ids, input: $in) { success issues { id } } }";
    let moved = Told(ann.ask(batch, json!({ "ids": ids, "in": { "stateId": linear.state("Done") } })).await);
    assert_eq!(moved.wins().body()["data"]["issueBatchUpdate"]["issues"].as_array().map(Vec::len), Some(2));
    assert_eq!(linear.stands(&issues[1]).0, "Done");
    stop_and_verify(gate, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_is_the_holder() {
    let linear = FakeLinear::start(&["ann", "bob"], &["codex", "devin"]).await;
    let gate = gate(linear.addr, "").await;
    let (mut ann, mut codex) = (Agent::new(gate.address, "ann"), Agent::new(gate.address, "codex"));
    let mut devin = Agent::new(gate.address, "devin");
    let issue = linear.issue("Todo");
    let of = |name: &str| linear.user(name);
    // An app that assigns itself is delegated to.
    codex.update(&issue, json!({ "assigneeId": of("codex") })).await.wins();
    assert_eq!(linear.stands(&issue), ("Todo".to_owned(), None, Some("codex".to_owned())));
    devin.update(&issue, json!({ "delegateId": of("devin") })).await.loses("already_assigned");
    ann.update(&issue, json!({ "assigneeId": of("ann") })).await.loses("already_assigned");
    // The first started state, as an agent is told to set it.
    codex.update(&issue, json!({ "delegateId": of("codex"), "stateId": linear.state("In Progress") })).await.wins();
    // It gives up: whoever stands behind it is assigned still.
    let behind = of("ann");
    linear.store().change(&issue, |issue| issue.assignee = Some(behind)).expect("it is there");
    codex.update(&issue, json!({ "delegateId": null })).await.wins();
    assert_eq!(linear.stands(&issue).2, None);
    stop_and_verify(gate, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_ends_and_beginnings() {
    let linear = FakeLinear::start(&["ann", "bob"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let (mut ann, mut bob) = (Agent::new(gate.address, "ann"), Agent::new(gate.address, "bob"));
    let issue = linear.issue("Todo");
    ann.update(&issue, json!({ "assigneeId": linear.user("ann") })).await.wins();
    // A label that is no status is free, and so is the whole set of them.
    let (bug, feature) = (linear.label("Bug"), linear.label("Feature"));
    bob.update(&issue, json!({ "addedLabelIds": [bug] })).await.wins();
    bob.update(&issue, json!({ "labelIds": [bug, feature] })).await.wins();
    told(&mut bob, &format!("mutation {{ issueRemoveLabel(id: \"{issue}\", labelId: \"{bug}\") {{ success }} }}"))
        .await
        .wins();
    assert_eq!(linear.shown(&issue).labels, [feature]);
    // A title beside the state that shows is a title.
    bob.update(&issue, json!({ "title": "renamed" })).await.wins();
    // Its end is the holder's.
    for field in ["issueArchive", "issueDelete"] {
        let query = format!("mutation {{ {field}(id: \"{issue}\") {{ success }} }}");
        told(&mut bob, &query).await.loses("not_holder");
    }
    let gone = format!("mutation {{ issueDelete(id: \"{issue}\", permanentlyDelete: true) {{ success }} }}");
    told(&mut bob, &gone).await.loses("not_holder");
    told(&mut ann, &format!("mutation {{ issueArchive(id: \"{issue}\") {{ success }} }}")).await.wins();
    assert!(linear.shown(&issue).archived);
    // Whoever makes an issue for itself holds it.
    let query = "mutation($in: IssueCreateInput!) { issueCreate(input: $in) { success issue { id } } }";
    let input = json!({ "teamId": "ENG", "title": "mine", "assigneeId": linear.user("bob") });
    let made = Told(bob.ask(query, json!({ "in": input })).await);
    let id = made.wins().body()["data"]["issueCreate"]["issue"]["id"].as_str().map(str::to_owned).expect("an id");
    ann.update(&id, json!({ "stateId": linear.state("In Progress") })).await.loses("already_assigned");
    bob.update(&id, json!({ "assigneeId": null })).await.wins();
    ann.update(&id, json!({ "stateId": linear.state("In Progress") })).await.wins();
    stop_and_verify(gate, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_guarded_passes_and_what_is_not_known_is_refused() {
    let linear = FakeLinear::start(&["ann"], &[]).await;
    let gate = gate(linear.addr, "").await;
    let mut ann = Agent::new(gate.address, "ann");
    let issue = linear.issue("Todo");
    let read = ann.ask(&format!("{{ issue(id: \"{issue}\") {{ identifier }} }}"), Value::Null).await;
    assert_eq!(read.json()["data"]["issue"]["identifier"], issue.as_str());
    let note = format!("mutation {{ commentCreate(input: {{issueId: \"{issue}\", body: \"hi\"}}) {{ success }} }}");
    told(&mut ann, &note).await.wins();
    let unknown = format!("mutation {{ stealThat(what: \"{issue}\") {{ success }} }}");
    told(&mut ann, &unknown).await.loses("ambiguous_request");
    // The tracker's own refusal goes back as it came.
    let odd = ann.ask("mutation { somethingElse { success } }", Value::Null).await;
    assert_eq!(odd.status, 400, "{}", odd.text());
    let twice = r#"{"query":"{viewer{id}}","query":"mutation{issueArchive(id:\"ENG-1\"){success}}"}"#;
    let refused = ann.0.send(http::Method::POST, "/graphql", &[], twice.into()).await;
    assert_eq!(refused.json()["errors"][0]["extensions"]["claimgate"]["code"], "ambiguous_request");
    assert_eq!(linear.log(), ["ann commentCreate"]);
    // No key is in what is logged.
    let said = format!("{}{}", gate.stdout(), gate.stderr());
    assert!(!said.contains("lin_api_"), "{said}");
    stop_and_verify(gate, 0).await;
}
