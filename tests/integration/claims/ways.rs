//! Writes whose effect is on items that they do not name, through the real binary: deleted branches and forks, edited
//! labels, dependencies, the branch of an issue.

use crate::e2e::{self, Answer, Client, Gate, REPO, Setup};
use crate::generations;
use claimgate::fake_forge::{FakeForge, Fault, Matcher};
use http::Method;
use serde_json::{Value, json};

const HOLDER: &str = "agent-0";
const OTHER: &str = "agent-1";
const BOSS: &str = "boss";

async fn forge() -> FakeForge {
    e2e::forge_with(generations::forge(), &[HOLDER, OTHER, BOSS]).await
}

fn config(more: &str) -> String {
    format!("[assignment]\noverriders = [\"{BOSS}\"]\n{more}")
}

async fn gate(forge: &FakeForge, more: &str) -> Gate {
    Setup::before(&forge.base_url()).config(&config(more)).start().await
}

fn repo(tail: &str) -> String {
    format!("/api/v1/repos/{REPO}{tail}")
}

async fn delete(agent: &mut Client, path: &str) -> Answer {
    agent.call(Method::DELETE, path, None).await
}

async fn patch(agent: &mut Client, path: &str, body: Value) -> Answer {
    agent.call(Method::PATCH, path, Some(body)).await
}

/// The lines of the audit about this change, once there are so many.
async fn lines(gate: &Gate, change: &str, count: usize) -> Vec<Value> {
    let about = |line: &Value| line["change"].as_str().is_some_and(|it| it.starts_with(change));
    let found = || async {
        let found: Vec<Value> = gate.audit().into_iter().filter(about).collect();
        (found.len() >= count).then_some(found)
    };
    let found = e2e::eventually(found, std::time::Duration::from_secs(5)).await;
    found.unwrap_or_else(|| panic!("{count} lines of {change}: {:?}", gate.audit()))
}

fn said(line: &Value) -> (&str, &str, &str) {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    (text("decision"), text("resource"), text("reason"))
}

// === branches and forks ===

#[tokio::test]
async fn a_branch_of_a_held_pull_request_is_its_holders_to_delete() {
    let forge = forge().await;
    let gate = gate(&forge, "").await;
    let (mut holder, mut other) = (gate.agent(HOLDER), gate.agent(OTHER));
    // From the branch, and into it; with a slash in its name, in either spelling.
    let from = forge.add_pull(REPO, "a change", "work/feature", "main").number;
    let into = forge.add_pull(REPO, "on top of it", "more", "work/feature").number;
    for pull in [from, into] {
        holder.claim(pull).await.granted();
        for name in ["work/feature", "work%2Ffeature"] {
            let refused = delete(&mut other, &repo(&format!("/branches/{name}"))).await;
            refused.refused(409, "not_holder");
            assert_eq!(refused.json()["claimgate"]["holder"]["account"], HOLDER);
        }
        assert_eq!(forge.issue(REPO, pull).state, "open");
        holder.release(pull).await.granted();
    }
    assert!(lines(&gate, "delete branch", 4).await.iter().all(|line| line["decision"] == "reject"));
    // Another branch, of the same name in other letters too, is nobody's affair.
    for name in ["Work/feature", "elsewhere", "feature"] {
        assert_eq!(delete(&mut other, &repo(&format!("/branches/{name}"))).await.status, 204);
    }
    // Nobody holds one any more: it goes, and what that closes is written down, item by item.
    assert_eq!(delete(&mut other, &repo("/branches/work/feature")).await.status, 204);
    assert_eq!((forge.issue(REPO, from).state, forge.issue(REPO, into).state), ("closed", "closed"));
    let found = lines(&gate, "delete branch work/feature", 6).await;
    let admitted: Vec<&Value> = found.iter().filter(|line| line["decision"] == "admit").collect();
    let told: Vec<&str> = admitted.iter().map(|line| said(line).1).collect();
    assert_eq!(told, [format!("{REPO}#{into}"), format!("{REPO}#{from}")], "{admitted:?}");
    e2e::stop_and_verify(gate, 8).await;
}

#[tokio::test]
async fn the_holder_and_people_delete_it_and_the_record_does_not_lie_for_long() {
    let forge = forge().await;
    let (token, setup) = ("token-of-acme", Setup::before(&forge.base_url()));
    let file = setup.dir().join("service");
    e2e::write_private(&file, token);
    let config = config(&format!("[upstream]\nservice_token_file = \"{}\"\n", file.display()));
    let gate = setup.config(&config).start().await;
    let (mut holder, mut boss) = (gate.agent(HOLDER), gate.agent(BOSS));
    for (who, branch) in [(&mut holder, "mine"), (&mut boss, "theirs")] {
        let pull = forge.add_pull(REPO, "a change", branch, "main").number;
        gate.agent(HOLDER).claim(pull).await.granted();
        assert_eq!(delete(who, &repo(&format!("/branches/{branch}"))).await.status, 204);
        assert_eq!(forge.issue(REPO, pull).state, "closed");
        let found = lines(&gate, &format!("delete branch {branch}"), 1).await;
        let (decision, resource, reason) = said(&found[0]);
        assert_eq!((decision, resource), ("admit", format!("{REPO}#{pull}").as_str()));
        assert!(reason.contains("held by agent-0"), "{reason}");
        let ended = || async { gate.holder(pull).await.is_none().then_some(()) };
        e2e::eventually(ended, std::time::Duration::from_secs(10)).await.expect("the holding ends");
    }
    e2e::stop_and_verify(gate, 4).await;
}

#[tokio::test]
async fn a_fork_of_a_held_pull_request_is_not_deleted_either() {
    let forge = forge().await;
    forge.add_fork(OTHER, REPO);
    let fork = format!("{OTHER}/app");
    let pull = forge.add_pull_from(&fork, REPO, "feature", "main").number;
    let own = forge.add_issue(&fork, "of the fork", &[], &[]).number;
    let gate = gate(&forge, "").await;
    let (mut holder, mut other) = (gate.agent(HOLDER), gate.agent(OTHER));
    holder.claim(pull).await.granted();
    for path in [format!("/api/v1/repos/{fork}"), format!("/api/v1/repos/{fork}/branches/feature")] {
        delete(&mut other, &path).await.refused(409, "not_holder");
    }
    // A branch of the same name in the other repository closes nothing.
    assert_eq!(delete(&mut other, &repo("/branches/feature")).await.status, 204);
    assert_eq!(forge.issue(REPO, pull).state, "open");
    holder.release(pull).await.granted();
    // What the fork itself has of others is theirs as well.
    forge.grant_write(HOLDER, &fork);
    let claim = Some(json!({ "assignees": [HOLDER] }));
    let own = format!("/api/v1/repos/{fork}/issues/{own}");
    holder.call(Method::PATCH, &own, claim).await.granted();
    delete(&mut other, &format!("/api/v1/repos/{fork}")).await.refused(409, "not_holder");
    holder.call(Method::PATCH, &own, Some(json!({ "assignees": [] }))).await.granted();
    assert_eq!(delete(&mut other, &format!("/api/v1/repos/{fork}")).await.status, 204);
    assert_eq!(forge.issue(REPO, pull).state, "closed");
    e2e::stop_and_verify(gate, 8).await;
}

#[tokio::test]
async fn where_pull_requests_cannot_be_read_only_what_could_strike_nobody_goes_on() {
    let forge = forge().await;
    let gate = gate(&forge, "").await;
    let (mut holder, mut other) = (gate.agent(HOLDER), gate.agent(OTHER));
    forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("GET", "/pulls?state=open"));
    assert_eq!(delete(&mut other, &repo("/branches/one")).await.status, 204);
    let found = lines(&gate, "delete branch one", 1).await;
    assert!(said(&found[0]).2.contains("could not be looked through"), "{found:?}");
    let issue = e2e::backlog_issue(&forge).number;
    holder.claim(issue).await.granted();
    // Then those that others hold are looked at one by one.
    let pull = forge.add_pull(REPO, "a change", "two", "main").number;
    holder.claim(pull).await.granted();
    let unlisted = || forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("GET", "/pulls?state=open"));
    unlisted();
    delete(&mut other, &repo("/branches/two")).await.refused(409, "not_holder");
    unlisted();
    assert_eq!(delete(&mut other, &repo("/branches/three")).await.status, 204);
    unlisted();
    forge.script(Fault::ErrorBeforeWrite(500), Matcher::new("GET", format!("/pulls/{pull}")));
    delete(&mut other, &repo("/branches/four")).await.refused(502, "upstream_unreadable");
    e2e::stop_and_verify(gate, 5).await;
}

#[tokio::test]
async fn an_item_is_its_holders_wherever_it_has_moved_to() {
    let forge = forge().await;
    let gate = gate(&forge, "[workflow]\ndependencies_by = \"holder\"\n").await;
    let (mut holder, mut other) = (gate.agent(HOLDER), gate.agent(OTHER));
    let pull = forge.add_pull(REPO, "a change", "feature", "main").number;
    let issue = e2e::backlog_issue(&forge).number;
    for item in [pull, issue] {
        holder.claim(item).await.granted();
    }
    let renamed = gate.agent("acme").call(Method::PATCH, &repo(""), Some(json!({ "name": "moved" }))).await;
    assert_eq!(renamed.status, 200, "{renamed:?}");
    let moved = "/api/v1/repos/acme/moved";
    delete(&mut other, &format!("{moved}/branches/feature")).await.refused(409, "not_holder");
    let edit = json!({ "ref": "refs/heads/mine" });
    patch(&mut other, &format!("{moved}/issues/{issue}"), edit).await.refused(409, "not_holder");
    let body = Some(json!({ "index": pull, "owner": "acme", "repo": "moved" }));
    let dependencies = format!("{moved}/issues/{issue}/dependencies");
    other.call(Method::POST, &dependencies, body).await.refused(409, "not_holder");
    e2e::stop_and_verify(gate, 5).await;
}

// === labels ===

async fn label(gate: &Gate, name: &str) -> u64 {
    let labels = gate.agent(BOSS).get(&repo("/labels")).await.json();
    let found = labels.as_array().and_then(|all| all.iter().find(|label| label["name"] == name)?["id"].as_u64());
    found.unwrap_or_else(|| panic!("no label {name}: {labels}"))
}

#[tokio::test]
async fn a_label_that_is_a_status_is_peoples_to_change() {
    let forge = forge().await;
    let gate = gate(&forge, "").await;
    let (mut other, mut boss) = (gate.agent(OTHER), gate.agent(BOSS));
    let (status, free) = (label(&gate, "in-progress").await, label(&gate, "tech-debt").await);
    let path = |id: u64| repo(&format!("/labels/{id}"));
    for edit in [
        json!({ "name": "done" }),
        json!({ "name": "anything" }),
        json!({ "exclusive": true }),
        json!({ "is_archived": true, "color": "#123456" }),
    ] {
        patch(&mut other, &path(status), edit).await.refused(409, "not_holder");
    }
    patch(&mut other, &path(free), json!({ "name": "Todo" })).await.refused(409, "not_holder");
    for path in [path(status), repo(&format!("/labels/+{status}"))] {
        delete(&mut other, &path).await.refused(409, "not_holder");
    }
    patch(&mut other, &path(status), json!({ "Name": "done" })).await.refused(400, "ambiguous_request");
    assert_eq!(label(&gate, "in-progress").await, status);
    // Colour and description, also with all the rest as it is; and labels that are no status.
    for edit in
        [json!({ "color": "#abcdef" }), json!({ "name": "in-progress", "exclusive": false, "description": "x" })]
    {
        assert_eq!(patch(&mut other, &path(status), edit).await.status, 200);
    }
    assert_eq!(patch(&mut other, &path(free), json!({ "name": "debt" })).await.status, 200);
    assert_eq!(delete(&mut other, &path(free)).await.status, 204);
    assert_eq!(patch(&mut other, &path(999), json!({ "name": "done" })).await.status, 404);
    // People.
    assert_eq!(patch(&mut boss, &path(status), json!({ "name": "doing" })).await.status, 200);
    let found = lines(&gate, "edit label", 6).await;
    let admitted: Vec<_> = found.iter().filter(|line| line["decision"] == "admit").collect();
    assert_eq!(admitted.len(), 1, "{found:?}");
    assert_eq!(admitted[0]["authority"], "overrider");
    assert_eq!(said(admitted[0]).2, "the label `in-progress` becomes `doing`");
    assert_eq!(found.iter().filter(|line| line["code"] == "not_holder").count(), 5);
    e2e::stop_and_verify(gate, 8).await;
}

#[tokio::test]
async fn a_rule_lets_anyone_edit_labels_and_one_that_observes_records_it() {
    for (more, observed) in [("[workflow]\nedit_labels = \"anyone\"\n", 0), ("[workflow]\nmode = \"observe\"\n", 1)] {
        let forge = forge().await;
        let gate = gate(&forge, more).await;
        let path = repo(&format!("/labels/{}", label(&gate, "todo").await));
        assert_eq!(patch(&mut gate.agent(OTHER), &path, json!({ "name": "later" })).await.status, 200);
        let found = if observed == 0 { Vec::new() } else { lines(&gate, "edit label", 1).await };
        assert_eq!(found.iter().filter(|line| line["decision"] == "observe").count(), observed, "{found:?}");
        e2e::stop_and_verify(gate, 0).await;
    }
}

// === dependencies, and the branch of an issue ===

#[tokio::test]
async fn a_dependency_that_another_adds_is_recorded_or_refused() {
    for (more, forbidden) in [("", false), ("[workflow]\ndependencies_by = \"holder\"\n", true)] {
        let forge = forge().await;
        let gate = gate(&forge, more).await;
        let (mut holder, mut other, mut boss) = (gate.agent(HOLDER), gate.agent(OTHER), gate.agent(BOSS));
        let (held, free) = (e2e::backlog_issue(&forge).number, e2e::backlog_issue(&forge).number);
        holder.claim(held).await.granted();
        let (on, blocks) = (format!("{}/dependencies", e2e::issue(held)), format!("{}/blocks", e2e::issue(free)));
        let (owner, name) = REPO.split_once('/').expect("a repository");
        for (path, index) in [(&on, free), (&blocks, held)] {
            let body = Some(json!({ "index": index, "owner": owner, "repo": name }));
            let answer = other.call(Method::POST, path, body.clone()).await;
            if forbidden {
                answer.refused(409, "not_holder");
            } else {
                assert_eq!(answer.status, 201, "{answer:?}");
            }
            assert_eq!(boss.call(Method::POST, path, body.clone()).await.status, 201);
            // Not about an item that somebody else holds: its holder's own, and one of a free item.
            assert_eq!(holder.call(Method::POST, path, body).await.status, 201);
        }
        let body = Some(json!({ "index": held, "owner": owner, "repo": name }));
        let freely = format!("{}/dependencies", e2e::issue(free));
        assert_eq!(other.call(Method::POST, &freely, body).await.status, 201);
        let found = lines(&gate, "make ", 4).await;
        let of = |decision: &str| found.iter().filter(|line| line["decision"] == decision).count();
        assert_eq!((of("admit"), of("reject")), if forbidden { (2, 2) } else { (4, 0) }, "{found:?}");
        for line in &found {
            assert_eq!(line["resource"], format!("{REPO}#{held}"));
        }
        let admitted = found.iter().find(|line| line["decision"] == "admit").expect("one");
        assert!(said(admitted).2.contains("held by agent-0"), "{admitted}");
        // The holder's own close is what it keeps waiting.
        let closed = patch(&mut holder, &e2e::issue(held), json!({ "state": "closed" })).await;
        assert_eq!(closed.status, 412, "{closed:?}");
        e2e::stop_and_verify(gate, 5).await;
    }
}

#[tokio::test]
async fn whose_push_may_close_a_held_issue_is_its_holders_to_say() {
    let forge = forge().await;
    let gate = gate(&forge, "[web]\nmode = \"override\"\n").await;
    let (mut holder, mut other, mut boss) = (gate.agent(HOLDER), gate.agent(OTHER), gate.agent(BOSS));
    let held = e2e::backlog_issue(&forge).number;
    let path = e2e::issue(held);
    assert_eq!(patch(&mut other, &path, json!({ "ref": "refs/heads/early" })).await.status, 201);
    holder.claim(held).await.granted();
    for body in [json!({ "ref": "refs/heads/mine" }), json!({ "title": "x", "ref": "" })] {
        let refused = patch(&mut other, &path, body).await;
        refused.refused(409, "not_holder");
        assert_eq!(refused.json()["claimgate"]["holder"]["account"], HOLDER);
    }
    assert_eq!(forge.git_ref(REPO, held), "refs/heads/early");
    // What shows already is no change; nor is what says nothing.
    for body in [json!({ "title": "y", "ref": "refs/heads/early" }), json!({ "body": "say \"ref\"", "ref": null })] {
        assert_eq!(patch(&mut other, &path, body).await.status, 201);
    }
    assert_eq!(patch(&mut holder, &path, json!({ "ref": "refs/heads/work" })).await.status, 201);
    assert_eq!(patch(&mut boss, &path, json!({ "ref": "refs/heads/main" })).await.status, 201);
    assert_eq!(forge.git_ref(REPO, held), "refs/heads/main");
    let found = lines(&gate, "set ref", 3).await;
    assert_eq!(found.iter().filter(|line| line["decision"] == "admit").count(), 1, "{found:?}");
    e2e::stop_and_verify(gate, 4).await;
}

// === forms of the web interface ===

async fn form(gate: &Gate, path: &str, body: &str) -> Answer {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("cookie", "i_like_gitea=session-of-other"),
        ("sec-fetch-site", "same-origin"),
    ];
    gate.anonymous().send(Method::POST, &format!("/{REPO}{path}"), &headers, body.to_owned().into()).await
}

#[tokio::test]
async fn forms_of_people_are_recorded_and_judged_where_the_web_is() {
    for enforced in [false, true] {
        let forge = forge().await;
        forge.add_session(OTHER, "session-of-other");
        let setup = Setup::before(&forge.base_url());
        let file = setup.dir().join("service");
        e2e::write_private(&file, "token-of-acme");
        let web = if enforced { "enforce" } else { "override" };
        let toml = format!("[web]\nmode = \"{web}\"\n[upstream]\nservice_token_file = \"{}\"\n", file.display());
        let gate = setup.config(&config(&toml)).start().await;
        let issue = e2e::backlog_issue(&forge).number;
        let pull = forge.add_pull(REPO, "a change", "feature", "main").number;
        for item in [issue, pull] {
            gate.agent(HOLDER).claim(item).await.granted();
        }
        let status = label(&gate, "todo").await;
        for (path, body) in [
            ("/branches/delete?name=feature".to_owned(), String::new()),
            (format!("/issues/{issue}/ref"), "ref=mine".to_owned()),
            ("/labels/edit".to_owned(), format!("id={status}&title=later&color=%23cccccc")),
        ] {
            let answer = form(&gate, &path, &body).await;
            if enforced {
                answer.refused(409, "not_holder");
                assert!(!answer.text().contains(HOLDER), "a session is not told who: {answer:?}");
            } else {
                assert!(answer.status < 400, "{answer:?}");
            }
        }
        assert_eq!(form(&gate, "/labels/edit", &format!("id={status}&title=todo&color=%23123456")).await.status, 303);
        let untouched = (forge.issue(REPO, pull).state, forge.git_ref(REPO, issue));
        assert_eq!(untouched, if enforced { ("open", String::new()) } else { ("closed", "mine".to_owned()) });
        for change in ["delete branch", "set ref", "edit label"] {
            let found = lines(&gate, change, 1).await;
            assert_eq!(found[0]["decision"], if enforced { "reject" } else { "admit" }, "{found:?}");
        }
        e2e::stop_and_verify(gate, 5).await;
    }
}

// === filing ===

#[tokio::test]
async fn filing_without_assignees_is_a_creation() {
    let forge = forge().await;
    let rule = "[[singleton]]\nname = \"filing\"\nagents = [\"agent-*\"]\nactions = [\"create\"]\nidle = \"10m\"\n";
    let gate = Setup::before(&forge.base_url()).config(rule).start().await;
    let (mut one, mut other) = (gate.agent(HOLDER), gate.agent(OTHER));
    let (issues, pulls) = (repo("/issues"), repo("/pulls"));
    let file =
        |labels: bool| Some(if labels { json!({ "title": "x", "labels": [1] }) } else { json!({ "title": "x" }) });
    let open = |head: &str| Some(json!({ "title": "x", "head": head, "base": "main" }));
    let filed = one.call(Method::POST, &issues, file(false)).await;
    assert_eq!((filed.status, filed.granted().json()["title"].as_str()), (201, Some("x")));
    for labels in [false, true] {
        other.call(Method::POST, &issues, file(labels)).await.refused(409, "singleton_busy");
    }
    other.call(Method::POST, &pulls, open("b")).await.refused(409, "singleton_busy");
    one.call(Method::POST, &pulls, open("a")).await.granted();
    // Whom the rule does not cover.
    gate.agent(BOSS).call(Method::POST, &issues, file(false)).await.granted();
    e2e::stop_and_verify(gate, 6).await;
    // Without such a rule all of it streams.
    let gate = e2e::gate(&forge).await;
    let filed = gate.agent(OTHER).call(Method::POST, &issues, file(true)).await;
    assert_eq!((filed.status, filed.headers.get("claimgate-decision")), (201, None));
}

also_as_forgejo_17! {
    a_branch_of_a_held_pull_request_is_its_holders_to_delete,
    a_fork_of_a_held_pull_request_is_not_deleted_either,
    a_label_that_is_a_status_is_peoples_to_change,
    a_dependency_that_another_adds_is_recorded_or_refused,
    whose_push_may_close_a_held_issue_is_its_holders_to_say,
    forms_of_people_are_recorded_and_judged_where_the_web_is,
    filing_without_assignees_is_a_creation,
}
