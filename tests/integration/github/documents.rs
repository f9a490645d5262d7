//! GraphQL documents through the gate: every form of a mutation, several items at once, and `gh`'s three mutations of one command in
//! any order.

use http::Method;
use serde_json::{Value, json};

use super::fake::FakeGitHub;
use super::{agent, assignees, eight, gate, issue};
use crate::e2e::{Answer, Client, stop_and_verify};

async fn send(client: &mut Client, query: &str, variables: Value) -> Answer {
    client.call(Method::POST, "/graphql", Some(json!({ "query": query, "variables": variables }))).await
}

/// It was carried out, and so GitHub says.
#[track_caller]
fn carried_out(told: &Answer) {
    assert_eq!((told.status, told.json().get("errors")), (200, None), "{told:?}");
}

/// A refusal as clients of GraphQL show it.
#[track_caller]
fn refused(told: &Answer, code: &str) {
    let body = told.json();
    assert_eq!((told.status, &body["data"]), (200, &Value::Null), "{told:?}");
    assert_eq!(body["errors"][0]["extensions"]["code"], code, "{body}");
    assert_eq!(body["errors"][0]["type"], "UNPROCESSABLE");
    assert!(told.decision().starts_with(&format!("reject; code={code}; id=")), "{told:?}");
}

/// The nodes of an account and of a label.
fn nodes(github: &FakeGitHub, repo: u64, login: &str, label: &str) -> (String, String) {
    (github.user_node(login), github.label_node(repo, label))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_in_every_form_of_a_document() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    let (me, _) = nodes(&github, repo, &agents[0], "todo");
    let (him, todo) = nodes(&github, repo, &agents[1], "done");
    let forms: [(&str, Value); 7] = [
        (
            "mutation($input:UpdateIssueInput!){updateIssue(input:$input){__typename}}",
            json!({ "input": { "id": "ID", "assigneeIds": ["U"] } }),
        ),
        ("mutation{updateIssue(input:{id:\"ID\",assigneeIds:[\"U\"]}){issue{id}}}", json!({})),
        (
            "mutation($i:ID!,$u:[ID!]=[\"U\"]){a:addAssigneesToAssignable(input:{assignableId:$i,assigneeIds:$u}){clientMutationId}}",
            json!({ "i": "ID" }),
        ),
        (
            "fragment f on Mutation{replaceActorsForAssignable(input:{assignableId:\"ID\",actorIds:\"U\"}){__typename}} mutation{...f}",
            json!({}),
        ),
        (
            "mutation{... on Mutation{replaceActorsForAssignable(input:{assignableId:\"ID\",actorLogins:[\"LOGIN\"]}){__typename}}}",
            json!({}),
        ),
        (
            "mutation($no:Boolean=false){addComment(input:{subjectId:\"ID\",body:\"b\"}) @include(if:$no){__typename} updateIssue(input:{id:\"ID\",assigneeIds:[\"U\"]}){__typename}}",
            json!({}),
        ),
        (
            "query q{viewer{login}} mutation m{updateIssue(input:{id:\"\"\"ID\"\"\",assigneeIds:[\"U\"]}){__typename}}",
            json!({}),
        ),
    ];
    for (query, variables) in forms {
        let number = github.add_issue(repo, "acme", "work");
        let (_, node, old) = github.ids(repo, number);
        let spelled = |user: &str, login: &str, node: &str| {
            let fill = |text: &str| {
                text.replace("\"ID\"", &format!("\"{node}\""))
                    .replace("\"U\"", &format!("\"{user}\""))
                    .replace("LOGIN", login)
            };
            let variables: Value = serde_json::from_str(&fill(&variables.to_string())).expect("JSON");
            let name = query.contains("query q").then_some("m");
            json!({ "query": fill(query), "variables": variables, "operationName": name })
        };
        let told = ann.call(Method::POST, "/graphql", Some(spelled(&me, &agents[0], &node))).await;
        carried_out(&told);
        assert_eq!(github.issue(repo, number).assignees, agents[..1], "{query}");
        for node in [&node, &old] {
            for path in ["/graphql", "/api/graphql"] {
                refused(&bob.call(Method::POST, path, Some(spelled(&him, &agents[1], node))).await, "already_assigned");
            }
        }
        // By REST it is the same item.
        bob.call(Method::PATCH, &issue(number), Some(assignees(&[&agents[1]]))).await.refused(409, "already_assigned");
        let status = "mutation($i:ID!,$l:[ID!]!){addLabelsToLabelable(input:{labelableId:$i,labelIds:$l}){__typename}}";
        refused(&send(&mut bob, status, json!({ "i": node, "l": [todo] })).await, "not_holder");
        refused(
            &send(&mut bob, "mutation($i:ID!){closeIssue(input:{issueId:$i}){__typename}}", json!({ "i": node })).await,
            "not_holder",
        );
        assert_eq!(github.issue(repo, number).assignees, agents[..1]);
    }
    stop_and_verify(gate, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_items_in_one_document_all_or_none() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    let (me, _) = nodes(&github, repo, &agents[0], "todo");
    let (him, _) = nodes(&github, repo, &agents[1], "todo");
    let numbers: Vec<u64> = (0..20).map(|at| github.add_issue(repo, "acme", &format!("work {at}"))).collect();
    let document = |user: &str| {
        let one = |number: &u64| {
            let (_, node, _) = github.ids(repo, *number);
            format!("item{number}:updateIssue(input:{{id:\"{node}\",assigneeIds:[\"{user}\"]}}){{__typename}}")
        };
        format!("mutation{{{}}}", numbers.iter().map(one).collect::<Vec<_>>().join(" "))
    };
    ann.call(Method::PATCH, &issue(numbers[7]), Some(assignees(&[&agents[0]]))).await.granted();
    let sent = github.log().len();
    refused(&send(&mut bob, &document(&him), json!({})).await, "already_assigned");
    assert!(github.log()[sent..].iter().all(|logged| !logged.body.contains("updateIssue")), "nothing was sent");
    let held = numbers.iter().filter(|number| !github.issue(repo, **number).assignees.is_empty()).count();
    assert_eq!(held, 1);
    carried_out(&send(&mut ann, &document(&me), json!({})).await);
    assert!(numbers.iter().all(|number| github.issue(repo, *number).assignees == agents[..1]));
    refused(&send(&mut bob, &document(&him), json!({})).await, "already_assigned");
    stop_and_verify(gate, 40).await;
}

/// `gh issue edit --add-assignee --add-label --remove-label` sends three mutations at once.
#[tokio::test(flavor = "multi_thread")]
async fn three_mutations_of_one_command_end_alike_in_any_order() {
    let (github, repo, agents) = eight().await;
    let gate = gate(&github, "").await;
    let (me, doing) = nodes(&github, repo, &agents[0], "in-progress");
    let todo = github.label_node(repo, "todo");
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [3, 3, 3]] {
        let number = github.add_issue(repo, "acme", "work");
        github.set_labels(repo, number, &["todo"]);
        let (_, node, _) = github.ids(repo, number);
        let add =
            "mutation LabelAdd($input:AddLabelsToLabelableInput!){addLabelsToLabelable(input:$input){__typename}}";
        let remove = "mutation LabelRemove($input:RemoveLabelsFromLabelableInput!){removeLabelsFromLabelable(input:$input){__typename}}";
        let update = "mutation IssueUpdate($input:UpdateIssueInput!){updateIssue(input:$input){__typename}}";
        let all = [
            (add, json!({ "input": { "labelableId": node, "labelIds": [doing] } })),
            (remove, json!({ "input": { "labelableId": node, "labelIds": [todo] } })),
            (update, json!({ "input": { "id": node, "assigneeIds": [me] } })),
        ];
        if order == [3, 3, 3] {
            let mut clients = [0; 3].map(|_| agent(&gate, &agents[0]));
            let [one, two, three] = &mut clients;
            let told = tokio::join!(
                send(one, all[0].0, all[0].1.clone()),
                send(two, all[1].0, all[1].1.clone()),
                send(three, all[2].0, all[2].1.clone()),
            );
            for told in [told.0, told.1, told.2] {
                carried_out(&told);
            }
        } else {
            for at in order {
                carried_out(&send(&mut agent(&gate, &agents[0]), all[at].0, all[at].1.clone()).await);
            }
        }
        let shown = github.issue(repo, number);
        assert_eq!(
            (shown.assignees, shown.labels),
            (agents[..1].to_vec(), vec!["in-progress".to_owned()]),
            "{order:?}"
        );
        let told = send(&mut agent(&gate, &agents[1]), all[1].0, all[1].1.clone()).await;
        refused(&told, "not_holder");
        let told = send(
            &mut agent(&gate, &agents[1]),
            remove,
            json!({ "input": { "labelableId": node, "labelIds": [doing] } }),
        )
        .await;
        refused(&told, "not_holder");
    }
    stop_and_verify(gate, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_a_document_may_do() {
    let (github, repo, agents) = eight().await;
    let other = github.add_repo("acme", "other");
    let gate = gate(&github, "").await;
    let (mut ann, mut bob) = (agent(&gate, &agents[0]), agent(&gate, &agents[1]));
    let number = github.add_issue(repo, "acme", "work");
    let (_, node, _) = github.ids(repo, number);
    ann.call(Method::PATCH, &issue(number), Some(assignees(&[&agents[0]]))).await.granted();
    for query in ["query{viewer{login}}", "{viewer{login}}"] {
        carried_out(&send(&mut bob, query, json!({})).await);
    }
    carried_out(
        &send(
            &mut bob,
            "mutation($i:ID!){addComment(input:{subjectId:$i,body:\"b\"}){subject{id}}}",
            json!({ "i": node }),
        )
        .await,
    );
    let to = FakeGitHub::repo_node(other);
    let transfer = "mutation($i:ID!,$r:ID!){transferIssue(input:{issueId:$i,repositoryId:$r}){issue{number}}}";
    refused(&send(&mut bob, transfer, json!({ "i": node, "r": to })).await, "not_holder");
    for query in [
        "mutation($i:ID!){moveIssueAway(input:{issueId:$i}){clientMutationId}}",
        "mutation($i:ID!){closeIssue(input:{issueId:$i}){clientMutationId} transferIssue(input:{issueId:$i}){clientMutationId}}",
        "mutation($i:ID!){updateIssue(input:{id:$i,state:DONE}){clientMutationId}}",
        "mutation($i:ID!){closeIssue(input:{issueId:$i}){clientMutationId}",
        "mutation a($i:ID!){closeIssue(input:{issueId:$i}){clientMutationId}} mutation b{viewer{login}}",
    ] {
        refused(&send(&mut bob, query, json!({ "i": node })).await, "ambiguous_request");
    }
    let label = github.label_node(repo, "todo");
    let rename = "mutation($l:ID!){updateLabel(input:{id:$l,name:\"later\"}){label{id}}}";
    refused(&send(&mut bob, rename, json!({ "l": label })).await, "not_holder");
    carried_out(&send(&mut ann, transfer, json!({ "i": node, "r": to })).await);
    assert_eq!(github.issue(other, 1).assignees, agents[..1]);
    refused(
        &send(&mut bob, "mutation($i:ID!){closeIssue(input:{issueId:$i}){clientMutationId}}", json!({ "i": node }))
            .await,
        "not_holder",
    );
    // Nobody's node.
    let told = send(&mut bob, "mutation{closeIssue(input:{issueId:\"I_none\"}){clientMutationId}}", json!({})).await;
    assert!(
        told.json()["errors"][0]["message"].as_str().is_some_and(|text| text.contains("Could not resolve")),
        "{told:?}"
    );
    stop_and_verify(gate, 8).await;
}
