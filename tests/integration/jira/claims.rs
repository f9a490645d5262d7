//! What claims, moves, releases and refusals are to Jira's clients.

use http::Method;
use serde_json::json;

use super::fake::{FakeFault, FakeJira, Flavour, JiraReply};
use super::support::{Agent, caller, gate, jira, seed};
use crate::e2e::stop_and_verify;

const FLAVOURS: [Flavour; 2] = [Flavour::Cloud, Flavour::DataCenter];

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transition_is_answered_without_being_sent() {
    for flavour in FLAVOURS {
        let jira = jira(flavour).await;
        let gate = gate(&jira, "").await;
        let issue = jira.add_issue("DIR", "one");
        let (mut holder, mut other) =
            (Agent::new(&jira, gate.address, "dev-1"), Agent::new(&jira, gate.address, "dev-2"));
        holder.take(&issue, "21").await.granted();
        // From In Progress the transition is not offered any more.
        assert_eq!(holder.take(&issue, "21").await.granted().status, 204);
        assert_eq!(jira.issue(&issue).transitions, 1);
        other.take(&issue, "21").await.refused(409, "already_assigned");
        other.take(&issue, "31").await.refused(409, "not_holder");
        other.assign(&issue).await.refused(409, "already_assigned");
        // With a comment the rest of it is written, and the transition is not taken again.
        let comment = json!({ "update": { "comment": [{ "add": { "body": "still at it" } }] } });
        holder.take_with(&issue, "21", comment).await.granted();
        assert_eq!((jira.issue(&issue).transitions, jira.issue(&issue).comments), (1, 1));
        holder.assign(&issue).await.granted();
        holder.take(&issue, "31").await.granted();
        assert_eq!((jira.issue(&issue).status.as_str(), jira.issue(&issue).transitions), ("In Review", 2));
        stop_and_verify(gate, 6).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_has_one_lane_whatever_it_is_called() {
    for flavour in FLAVOURS {
        let jira = jira(flavour).await;
        let gate = gate(&jira, "").await;
        let old = jira.add_issue("DIR", "one");
        let id = jira.id(&old);
        let mut holder = Agent::new(&jira, gate.address, "dev-1");
        holder.assign(&id).await.granted();
        let new = jira.rows().move_issue(&old, "GLO");
        let mut other = Agent::new(&jira, gate.address, "dev-2");
        for name in [old.as_str(), &new, &new.to_lowercase(), &id] {
            let told = other.assign(name).await;
            told.refused(409, "already_assigned");
            assert_eq!(told.json()["claimgate"]["resource"], new, "{told:?}");
        }
        let below = format!("/rest/api/latest/issue/{old}/assignee");
        let told = other.client.call(Method::PUT, &below, Some(jira.named("dev-2"))).await;
        told.refused(409, "already_assigned");
        holder.release(&old).await.granted();
        other.assign(&new).await.granted();
        assert_eq!(jira.issue(&new).assignee.as_deref(), Some("dev-2"));
        stop_and_verify(gate, 7).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_know_the_end_of_is_refused() {
    let jira = jira(Flavour::Cloud).await;
    let gate = gate(&jira, "").await;
    let issue = jira.add_issue("GLO", "one");
    let (mut holder, mut other) = (Agent::new(&jira, gate.address, "dev-1"), Agent::new(&jira, gate.address, "dev-2"));
    holder.assign(&issue).await.granted();
    let transition = json!({ "bulkTransitionInputs": [{ "selectedIssueIdsOrKeys": [issue], "transitionId": "51" }] });
    let assignee =
        json!({ "selectedIssueIdsOrKeys": [issue], "selectedActions": ["assignee"], "editedFieldsInput": {} });
    let calls = [
        (Method::POST, "/rest/api/3/bulk/issues/transition", transition),
        (Method::POST, "/rest/api/3/bulk/issues/fields", assignee),
        (Method::POST, "/rest/api/3/bulk/issues/move", json!({ "targetToSourcesMapping": {} })),
        (Method::POST, "/rest/api/3/bulk/issues/delete", json!({ "selectedIssueIdsOrKeys": [issue] })),
        (Method::PUT, "/rest/api/3/issue/archive", json!({ "issueIdsOrKeys": [issue] })),
        (Method::POST, "/rest/agile/1.0/board/4/issue", json!({ "issues": [issue] })),
        (Method::PUT, "/rest/api/3/issue/GLO-1/status", json!({})),
        (Method::DELETE, "/rest/api/3/issue/GLO-1?deleteSubtasks=true", json!({})),
    ];
    for (method, path, body) in calls {
        other.client.call(method, path, Some(body)).await.refused(400, "ambiguous_request");
    }
    let backlog = Some(json!({ "issues": [issue] }));
    other.client.call(Method::POST, "/rest/agile/1.0/backlog/issue", backlog.clone()).await.refused(409, "not_holder");
    other.client.call(Method::DELETE, "/rest/api/3/issue/GLO-1", None).await.refused(409, "not_holder");
    let automatic = Some(json!({ "accountId": "-1" }));
    other
        .client
        .call(Method::PUT, "/rest/api/3/issue/GLO-1/assignee", automatic.clone())
        .await
        .refused(409, "not_holder");
    let project = other.client.call(Method::DELETE, "/rest/api/3/project/GLO", None).await;
    assert_eq!((project.status, project.json()["errors"].is_object()), (409, true), "{project:?}");
    assert_eq!(jira.guarded().len(), 1);
    // Nobody is kept from other fields, nor from watching.
    let labels = json!({ "selectedIssueIdsOrKeys": [issue], "selectedActions": ["labels"], "editedFieldsInput": {} });
    assert_eq!(other.client.call(Method::POST, "/rest/api/3/bulk/issues/fields", Some(labels)).await.status, 201);
    let comment = Some(json!({ "body": "hello" }));
    assert_eq!(other.client.call(Method::POST, "/rest/api/3/issue/GLO-1/comment", comment).await.status, 201);
    assert_eq!(
        other.client.call(Method::PUT, "/rest/agile/1.0/issue/rank", Some(json!({ "issues": [issue] }))).await.status,
        204
    );
    // The holder may do each of them.
    assert_eq!(holder.client.call(Method::POST, "/rest/agile/1.0/backlog/issue", backlog).await.status, 204);
    assert_eq!(holder.client.call(Method::PUT, "/rest/api/3/issue/GLO-1/assignee", automatic).await.status, 204);
    stop_and_verify(gate, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_status_is_needed_before_an_assignee() {
    let jira = jira(Flavour::Cloud).await;
    for row in &mut jira.rows().projects.get_mut("DIR").expect("it is there").transitions {
        row.for_assignee = row.id == "21";
    }
    let gate = gate(&jira, "").await;
    let issue = jira.add_issue("DIR", "one");
    let (mut holder, mut other) = (Agent::new(&jira, gate.address, "dev-1"), Agent::new(&jira, gate.address, "dev-2"));
    // It is offered to the assignee alone.
    let told = holder.take(&issue, "21").await;
    told.refused(409, "wrong_source_state");
    holder.assign(&issue).await.granted();
    other.take(&issue, "21").await.refused(409, "already_assigned");
    holder.take(&issue, "21").await.granted();
    assert_eq!(jira.issue(&issue).status, "In Progress");
    stop_and_verify(gate, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guarded_write_keeps_of_its_request() {
    let jira = jira(Flavour::Cloud).await;
    let gate = gate(&jira, "").await;
    let issue = jira.add_issue("GLO", "one");
    let mut agent = Agent::new(&jira, gate.address, "dev-1");
    let path = format!("{}?notifyUsers=false&overrideEditableFlag=true&returnIssue=true", agent.path(&issue));
    let body =
        json!({ "fields": { "summary": "two", "assignee": jira.named("dev-1") }, "historyMetadata": { "type": "x" } });
    let headers = [
        ("content-type", "application/json"),
        ("x-atlassian-token", "no-check"),
        ("origin", "https://page.example"),
        ("user-agent", "Mozilla/5.0"),
    ];
    let told = agent.client.send(Method::PUT, &path, &headers, body.to_string().into()).await;
    assert_eq!((told.granted().status, &told.json()["fields"]["summary"]), (200, &json!("two")));
    let sent = jira.guarded();
    let [sent] = &sent[..] else { panic!("{sent:?}") };
    let id = jira.id(&issue);
    let target = format!("/rest/api/3/issue/{id}?notifyUsers=false&overrideEditableFlag=true&returnIssue=true");
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str(), sent.user.as_deref()),
        ("PUT", target.as_str(), Some("dev-1"))
    );
    for (name, value) in &headers[..3] {
        assert!(sent.headers.contains(&((*name).to_owned(), (*value).to_owned())), "{name}: {sent:?}");
    }
    assert!(sent.body.contains("\"historyMetadata\":{\"type\":\"x\"}"), "{}", sent.body);
    // The same without the proof is Jira's own refusal.
    let bare = [headers[0], headers[2], headers[3]];
    let release = json!({ "fields": { "assignee": null } }).to_string();
    let told = agent.client.send(Method::PUT, &agent.path(&issue), &bare, release.into()).await;
    assert_eq!((told.status, &told.json()["errorMessages"][0]), (403, &json!("XSRF check failed")));
    stop_and_verify(gate, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_what_cannot_be_read() {
    let jira = jira(Flavour::DataCenter).await;
    let gate = gate(&jira, "").await;
    let issue = jira.add_issue("GLO", "one");
    let mut agent = Agent::new(&jira, gate.address, "dev-1");
    let limited = || JiraReply {
        headers: vec![("retry-after", "7".to_owned())],
        ..JiraReply::error(429, "Rate limit exceeded.")
    };
    for (method, path) in [("GET", "/issue/"), ("PUT", "/issue/")] {
        let fault = FakeFault { method, path: path.to_owned(), reply: limited(), applies: false };
        jira.rows().script.push(fault);
        let told = agent.assign(&issue).await;
        assert_eq!((told.status, told.headers["retry-after"].to_str().ok()), (429, Some("7")), "{told:?}");
        assert_eq!(told.json(), json!({ "errorMessages": ["Rate limit exceeded."], "errors": {} }));
    }
    let metrics = gate.at_admin_port().get("/metrics").await.text();
    assert!(metrics.contains("claimgate_upstream_limited_total 2"), "{metrics}");
    let before = jira.guarded().len();
    let broken =
        FakeFault { method: "GET", path: "/issue/".to_owned(), reply: JiraReply::error(500, "oops"), applies: false };
    jira.rows().script.push(broken);
    let told = agent.take(&issue, "21").await;
    told.refused(502, "upstream_unreadable");
    assert!(told.json()["errorMessages"][0].is_string() && told.json()["errors"] == json!({}), "{told:?}");
    let gone = agent.assign("GLO-99").await;
    assert_eq!((gone.status, gone.headers.get("claimgate-decision").is_some()), (404, true), "{gone:?}");
    assert_eq!(jira.guarded().len(), before, "nothing was sent");
    // It was carried out, whatever the answer says.
    let lost =
        FakeFault { method: "PUT", path: "/issue/".to_owned(), reply: JiraReply::error(500, "oops"), applies: true };
    jira.rows().script.push(lost);
    assert_eq!(agent.assign(&issue).await.granted().status, 204);
    stop_and_verify(gate, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_below_a_path_is_served_and_its_links_lead_back() {
    for flavour in FLAVOURS {
        let jira = FakeJira::below(flavour, "/jira").await;
        seed(&jira);
        let gate = gate(&jira, "").await;
        let issue = jira.add_issue("GLO", "one");
        let mut agent = Agent::named(&jira, gate.address, "dev-1", "one");
        agent.assign(&issue).await.granted();
        let path = agent.path(&issue);
        let shown = agent.client.get(&path).await.json();
        let own = format!("http://{}/as/one/rest/api/", gate.address);
        assert!(shown["self"].as_str().is_some_and(|link| link.starts_with(&own)), "{shown}");
        let below = format!("/jira{path}/assignee");
        // With the path or without it, it is the same issue.
        agent.client.call(Method::PUT, &below, Some(jira.named("dev-1"))).await.granted();
        let mut other = Agent::new(&jira, gate.address, "dev-2");
        other.client.call(Method::PUT, &below, Some(jira.named("dev-2"))).await.refused(409, "already_assigned");
        stop_and_verify(gate, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_found_and_taken_by_the_claims_api() {
    for flavour in FLAVOURS {
        let jira = jira(flavour).await;
        let gate = gate(&jira, "").await;
        let issues: Vec<String> = (0..3).map(|number| jira.add_issue("DIR", &format!("work {number}"))).collect();
        jira.rows().set(&issues[0], Some("dev-3"), "Todo");
        let body = json!({ "repository": "DIR", "set_labels": ["In Progress"] });
        let mut found = Vec::new();
        for login in ["dev-1", "dev-2", "dev-4"] {
            let mut client = caller(&jira, gate.address, login);
            found.push(client.call(Method::POST, "/_claimgate/v1/claims/next", Some(body.clone())).await);
        }
        assert_eq!(found.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201, 204], "{found:?}");
        for (issue, login) in [(&issues[1], "dev-1"), (&issues[2], "dev-2")] {
            let seen = jira.issue(issue);
            assert_eq!(
                (seen.assignee.as_deref(), seen.status.as_str(), seen.transitions),
                (Some(login), "In Progress", 1)
            );
        }
        let mut second = caller(&jira, gate.address, "dev-2");
        let path = format!("/_claimgate/v1/claims/{}", issues[2]);
        assert_eq!(second.call(Method::DELETE, &path, None).await.status, 204);
        assert_eq!(jira.issue(&issues[2]).assignee, None);
        stop_and_verify(gate, 2).await;
    }
}
