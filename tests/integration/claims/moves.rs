//! Where an item stands: moved by one at a time, from where the rules say, and by its holder while it has one.

use claimgate::fake_forge::{FakeForge, Feature};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Answer, Client, Gate, LABELS, REPO, Setup};
use crate::generations;

fn id(label: &str) -> usize {
    LABELS.iter().position(|name| *name == label).expect("a known label") + 1
}

fn labels(number: u64) -> String {
    format!("{}/labels", e2e::issue(number))
}

async fn add(agent: &mut Client, number: u64, label: &str) -> Answer {
    agent.call(Method::POST, &labels(number), Some(json!({ "labels": [id(label)] }))).await
}

async fn remove(agent: &mut Client, number: u64, label: &str) -> Answer {
    agent.call(Method::DELETE, &format!("{}/{}", labels(number), id(label)), None).await
}

async fn close(agent: &mut Client, number: u64) -> Answer {
    agent.call(Method::PATCH, &e2e::issue(number), Some(json!({ "state": "closed" }))).await
}

/// A forge, a gate with the defaults and this, and agents.
async fn stage(count: usize, config: &str) -> (FakeForge, Gate, Vec<Client>) {
    let logins = e2e::agents(count);
    let forge = e2e::forge(&logins.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let agents = logins.iter().map(|login| gate.agent(login)).collect();
    (forge, gate, agents)
}

/// How many got this status.
fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

// === a move that is a claim ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twelve_who_set_the_working_label_one_holds_the_item() {
    let (forge, gate, mut agents) = stage(12, "").await;
    for _ in 0..10 {
        let number = e2e::backlog_issue(&forge).number;
        let answers = join_all(agents.iter_mut().map(|agent| add(agent, number, "in-progress"))).await;
        assert_eq!((count(&answers, 200), count(&answers, 409)), (1, 11), "{answers:?}");
        let winner = answers.iter().position(|answer| answer.status == 200).expect("one");
        assert_eq!(gate.holder(number).await, Some(format!("agent-{winner}")));
        answers.iter().filter(|answer| answer.status == 409).for_each(|lost| {
            lost.refused(409, "already_assigned");
        });
    }
    e2e::stop_and_verify(gate, 120).await;
}

/// The claim flow of `agent-flows.md`; it stops where the script does, after its PATCH.
async fn assign_then_label(agent: &mut Client, number: u64) -> bool {
    if agent.claim(number).await.status != 201 {
        return false;
    }
    for label in ["in-progress", "backlog"] {
        let answer =
            if label == "in-progress" { add(agent, number, label).await } else { remove(agent, number, label).await };
        answer.granted();
    }
    true
}

/// The same with the label first. It ignores what the label call says, as scripts do.
async fn label_then_assign(agent: &mut Client, number: u64) -> bool {
    add(agent, number, "in-progress").await;
    remove(agent, number, "backlog").await;
    agent.claim(number).await.status == 201
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_agents_take_fifty_issues_and_leave_no_stray_label() {
    let (forge, gate, mut agents) = stage(8, "").await;
    for first in ["assign", "label"] {
        for _ in 0..25 {
            let number = e2e::backlog_issue(&forge).number;
            let won = join_all(agents.iter_mut().map(async |agent| match first {
                "assign" => assign_then_label(agent, number).await,
                _ => label_then_assign(agent, number).await,
            }))
            .await;
            assert_eq!(won.iter().filter(|won| **won).count(), 1, "{first} first");
            let winner = won.iter().position(|won| *won).expect("one");
            let item = forge.issue(REPO, number);
            assert_eq!(
                (item.labels, item.assignees),
                (vec!["in-progress".to_owned()], vec![format!("agent-{winner}")])
            );
        }
    }
    e2e::stop_and_verify(gate, 800).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_is_given_back_while_others_come_for_it_is_never_out_of_reach() {
    let (forge, gate, mut agents) = stage(6, "").await;
    let number = e2e::backlog_issue(&forge).number;
    for _ in 0..30 {
        let won = join_all(agents.iter_mut().map(async |agent| {
            let won = assign_then_label(agent, number).await;
            if won {
                agent.release(number).await;
                // Another may hold it by now: then these are refused, and the script does not care.
                remove(agent, number, "in-progress").await;
                add(agent, number, "backlog").await;
            }
            won
        }))
        .await;
        assert!(won.contains(&true));
    }
    // Whoever held it last has given it back: the next one gets it.
    assert_eq!(gate.holder(number).await, None);
    agents[0].claim(number).await.granted();
    e2e::stop_and_verify(gate, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_author_who_labels_its_new_item_takes_nothing_up() {
    let (forge, gate, mut agents) = stage(2, "").await;
    let filed =
        agents[0].call(Method::POST, &format!("/api/v1/repos/{REPO}/issues"), Some(json!({ "title": "filed" }))).await;
    let number = filed.json()["number"].as_u64().expect("a number");
    for _ in 0..2 {
        add(&mut agents[0], number, "in-progress").await.granted();
        assert_eq!(gate.holder(number).await, None);
    }
    agents[1].claim(number).await.granted();
    assert_eq!(forge.issue(REPO, number).assignees, ["agent-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_labels_an_orphan_takes_it_up() {
    let (forge, gate, mut agents) = stage(2, "").await;
    let number = forge.add_issue(REPO, "an orphan", &["in-progress"], &[]).number;
    add(&mut agents[0], number, "in-progress").await.granted();
    add(&mut agents[1], number, "in-progress").await.refused(409, "already_assigned");
    assert_eq!(gate.holder(number).await.as_deref(), Some("agent-0"));
}

// === containment ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_is_at_work_nobody_else_moves_its_item() {
    let (forge, gate, mut agents) = stage(2, "").await;
    let number = e2e::backlog_issue(&forge).number;
    assert!(assign_then_label(&mut agents[0], number).await);
    let before = forge.issue(REPO, number);
    let put = |names: &[&str]| json!({ "labels": names.iter().map(|name| id(name)).collect::<Vec<_>>() });
    let other = &mut agents[1];
    add(other, number, "in-progress").await.refused(409, "already_assigned");
    add(other, number, "blocked").await.refused(409, "not_holder");
    remove(other, number, "in-progress").await.refused(409, "not_holder");
    // The script of a loser: it is stopped at its first write, whether the label is there or not.
    remove(other, number, "backlog").await.refused(409, "not_holder");
    other.call(Method::PUT, &labels(number), Some(put(&["todo"]))).await.refused(409, "not_holder");
    other.call(Method::DELETE, &labels(number), None).await.refused(409, "not_holder");
    close(other, number).await.refused(409, "not_holder");
    assert_eq!(forge.issue(REPO, number), before);
    // What is no status is free, also among all labels.
    add(other, number, "priority").await.granted();
    other.call(Method::PUT, &labels(number), Some(put(&["in-progress", "tech-debt"]))).await.granted();
    let after = forge.issue(REPO, number);
    assert_eq!(after.labels, ["in-progress", "tech-debt"]);
    // Its holder parks it; then anybody may move it on, and its assignee keeps others from claiming.
    remove(&mut agents[0], number, "in-progress").await.granted();
    add(&mut agents[1], number, "blocked").await.granted();
    agents[1].claim(number).await.refused(409, "already_assigned");
    add(&mut agents[1], number, "in-progress").await.refused(409, "already_assigned");
    // A new claim by its holder makes it its own again.
    add(&mut agents[0], number, "in-progress").await.granted();
    remove(&mut agents[1], number, "blocked").await.refused(409, "not_holder");
    e2e::stop_and_verify(gate, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_claimed_before_the_gate_was_there_is_contained_too() {
    let (forge, _gate, mut agents) = stage(2, "").await;
    let number = forge.add_issue(REPO, "from before", &["in-progress"], &["agent-0"]).number;
    remove(&mut agents[1], number, "in-progress").await.refused(409, "not_holder");
    close(&mut agents[1], number).await.refused(409, "not_holder");
    remove(&mut agents[0], number, "in-progress").await.granted();
    close(&mut agents[1], number).await.granted();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_is_renamed_means_its_new_name_at_once() {
    let (forge, gate, mut agents) = stage(2, "[workflow]\nedit_labels = \"anyone\"\n").await;
    let number = forge.add_issue(REPO, "a piece of work", &[], &[]).number;
    // The gate learns what there is.
    add(&mut agents[0], number, "priority").await.granted();
    assert!(assign_then_label(&mut agents[1], number).await);
    let path = format!("/api/v1/repos/{REPO}/labels/{}", id("tech-debt"));
    let renamed = agents[0].call(Method::PATCH, &path, Some(json!({ "name": "Blocked" }))).await;
    assert_eq!(renamed.status, 200, "{renamed:?}");
    add(&mut agents[0], number, "tech-debt").await.refused(409, "not_holder");
    drop(gate);
}

// === the workflow ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_starts_from_where_the_rules_say() {
    let (forge, _gate, mut agents) = stage(2, "").await;
    let number = forge.add_issue(REPO, "done already", &["done"], &[]).number;
    let refused = add(&mut agents[0], number, "in-progress").await;
    let claim = refused.refused(409, "wrong_source_state").json()["claimgate"].clone();
    assert_eq!(claim["observed"]["status"], json!(["done"]), "{claim}");
    assert_eq!(claim["expected"], "status backlog or blocked or none or todo");
    add(&mut agents[0], number, "todo").await.refused(409, "wrong_source_state");
    // Two managers want it in todo: the second is told that it is there.
    let number = e2e::backlog_issue(&forge).number;
    add(&mut agents[0], number, "todo").await.granted();
    remove(&mut agents[0], number, "backlog").await.granted();
    let late = add(&mut agents[1], number, "todo").await;
    let claim = late.refused(409, "wrong_source_state").json()["claimgate"].clone();
    assert_eq!(claim["observed"]["status"], json!(["todo"]), "{claim}");
    assert_eq!(forge.issue(REPO, number).labels, ["todo"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_left_only_once_is_spent_by_one() {
    let (forge, gate, mut agents) = stage(8, "[workflow]\nconsume = [\"todo\"]").await;
    for _ in 0..5 {
        let number = forge.add_issue(REPO, "one approval", &["todo"], &[]).number;
        let answers = join_all(agents.iter_mut().map(|agent| remove(agent, number, "todo"))).await;
        assert_eq!((count(&answers, 204), count(&answers, 409)), (1, 7), "{answers:?}");
        answers.iter().filter(|answer| answer.status == 409).for_each(|late| {
            late.refused(409, "wrong_source_state");
        });
    }
    // Others may be removed by all.
    let number = e2e::backlog_issue(&forge).number;
    let answers = join_all(agents.iter_mut().map(|agent| remove(agent, number, "backlog"))).await;
    assert!(answers.iter().all(|answer| answer.status != 409), "{answers:?}");
    e2e::stop_and_verify(gate, 48).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_grants_are_spent_by_two_executions_and_no_third() {
    let (forge, _gate, mut agents) = stage(8, "[workflow]\nconsume = [\"todo\"]").await;
    let grants = ["one", "another"].map(|title| forge.add_issue(REPO, title, &["todo"], &[]).number);
    // Each takes the first grant that it gets, and half of them look from the other end.
    let spent = join_all(agents.iter_mut().enumerate().map(async |(place, agent)| {
        for grant in [grants[place % 2], grants[(place + 1) % 2]] {
            match remove(agent, grant, "todo").await {
                answer if answer.status == 204 => return Some(grant),
                answer => {
                    answer.refused(409, "wrong_source_state");
                }
            }
        }
        None
    }))
    .await;
    let mut spent: Vec<u64> = spent.into_iter().flatten().collect();
    spent.sort_unstable();
    assert_eq!(spent, grants);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_only_observe_say_what_they_would_have_refused() {
    let (forge, gate, mut agents) = stage(2, "[workflow]\nmode = \"observe\"").await;
    let number = e2e::backlog_issue(&forge).number;
    agents[0].claim(number).await.granted();
    let moved = close(&mut agents[1], number).await;
    assert_eq!(moved.status, 201);
    assert!(moved.decision().starts_with("observe; code=not_holder; id="), "{}", moved.decision());
    // The other rules go on.
    agents[1].claim(number).await.refused(409, "already_assigned");
    e2e::stop_and_verify(gate, 3).await;
}

// === no stray labels ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_of_a_claim_that_ended_half_way_go_before_the_next_one() {
    let (forge, gate, mut agents) = stage(2, "").await;
    let number = e2e::backlog_issue(&forge).number;
    assert!(assign_then_label(&mut agents[0], number).await);
    forge.outside_assign("acme", REPO, number, &[]);
    agents[1].claim(number).await.granted();
    let item = forge.issue(REPO, number);
    assert_eq!((item.labels, item.assignees), (vec!["backlog".to_owned()], vec!["agent-1".to_owned()]));
    assert_eq!(gate.holder(number).await.as_deref(), Some("agent-1"));
    // The new holder is at work, not parked: its item is its own.
    close(&mut agents[0], number).await.refused(409, "not_holder");
    assert!(assign_then_label(&mut agents[1], number).await);
    assert_eq!(forge.issue(REPO, number).labels, ["in-progress"]);
    e2e::stop_and_verify(gate, 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_relabels_an_item_has_seen_to_its_labels() {
    let (forge, _gate, mut agents) = stage(2, "").await;
    let number = e2e::backlog_issue(&forge).number;
    assert!(assign_then_label(&mut agents[0], number).await);
    forge.outside_assign("acme", REPO, number, &[]);
    remove(&mut agents[1], number, "in-progress").await.granted();
    add(&mut agents[1], number, "blocked").await.granted();
    agents[1].claim(number).await.granted();
    assert_eq!(forge.issue(REPO, number).labels, ["blocked"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stray_labels_stay_where_the_rules_say_so() {
    let (forge, _gate, mut agents) = stage(2, "[workflow]\nput_back = false").await;
    let number = e2e::backlog_issue(&forge).number;
    assert!(assign_then_label(&mut agents[0], number).await);
    forge.outside_assign("acme", REPO, number, &[]);
    agents[1].claim(number).await.granted();
    assert_eq!(forge.issue(REPO, number).labels, ["in-progress"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_of_its_own_the_gate_puts_labels_back_by_itself() {
    let logins = e2e::agents(1);
    let forge = e2e::forge(&["agent-0"]).await;
    let setup = Setup::before(&forge.base_url());
    let token = setup.dir().join("token");
    e2e::write_private(&token, &e2e::token("acme"));
    let gate = setup.config(&format!("[upstream]\nservice_token_file = {token:?}")).start().await;
    let number = e2e::backlog_issue(&forge).number;
    assert!(assign_then_label(&mut gate.agent(&logins[0]), number).await);
    forge.outside_assign("acme", REPO, number, &[]);
    let put_back = || async { (forge.issue(REPO, number).labels == ["backlog"]).then_some(()) };
    e2e::eventually(put_back, std::time::Duration::from_secs(20)).await.expect("put back");
    e2e::stop_and_verify(gate, 6).await;
}

// === reviewers, exclusive labels ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requested_reviewers_take_their_turn_and_are_recorded() {
    let (forge, gate, mut agents) = stage(2, "").await;
    let number = forge.add_pull(REPO, "the work", "branch", "main").number;
    let path = format!("/api/v1/repos/{REPO}/pulls/{number}/requested_reviewers");
    let asked = agents[0].call(Method::POST, &path, Some(json!({ "reviewers": ["agent-1"] }))).await;
    assert_eq!(asked.status, 201, "{asked:?}");
    assert!(asked.decision().starts_with("admit; id="));
    assert_eq!(forge.issue(REPO, number).requested_reviewers, ["agent-1"]);
    let gone = agents[0].call(Method::DELETE, &path, Some(json!({ "reviewers": ["agent-1"] }))).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    let changes = || async {
        let lines: Vec<Value> = gate.audit();
        let changes: Vec<&str> = lines.iter().filter_map(|line| line["change"].as_str()).collect();
        (changes == ["reviewers+=[agent-1]", "reviewers-=[agent-1]"]).then_some(())
    };
    e2e::eventually(changes, std::time::Duration::from_secs(10)).await.expect("both are printed");
    e2e::stop_and_verify(gate, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_label_moves_an_item_out_of_work_too() {
    let options = generations::forge().with(Feature::ExclusiveLabels);
    let forge = e2e::forge_with(options, &["agent-0", "agent-1"]).await;
    let (working, waiting) =
        (forge.add_exclusive_label(REPO, "status/doing"), forge.add_exclusive_label(REPO, "status/waiting"));
    let config = "[workflow]\nstates = [\"status/doing\", \"status/waiting\"]\nworking = [\"status/doing\"]\n\
                  [[workflow.move]]\nfrom = [\"none\", \"status/waiting\"]\nto = \"status/doing\"\nby = \"holder\"";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    let number = forge.add_issue(REPO, "a piece of work", &["status/waiting"], &[]).number;
    let set = |label: u64| json!({ "labels": [label] });
    one.call(Method::POST, &labels(number), Some(set(working))).await.granted();
    assert_eq!(forge.issue(REPO, number).labels, ["status/doing"]);
    other.call(Method::POST, &labels(number), Some(set(waiting))).await.refused(409, "not_holder");
    // No status itself, but of their scope: it would push the status out.
    let aside = forge.add_exclusive_label(REPO, "status/aside");
    other.call(Method::POST, &labels(number), Some(set(aside))).await.refused(409, "not_holder");
    one.call(Method::POST, &labels(number), Some(set(waiting))).await.granted();
    // Parked by that: it may be taken up by another, since nobody is assigned.
    other.call(Method::POST, &labels(number), Some(set(working))).await.granted();
    assert_eq!(gate.holder(number).await.as_deref(), Some("agent-1"));
}

/// Of two that exclude each other a tracker keeps the one that it likes: a held item's status could go that way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_that_exclude_each_other_are_not_set_together() {
    let options = generations::forge().with(Feature::ExclusiveLabels);
    let forge = e2e::forge_with(options, &["agent-0", "agent-1"]).await;
    let doing = forge.add_exclusive_label(REPO, "status/doing");
    let config = "[workflow]\nstates = [\"status/doing\"]\nworking = [\"status/doing\"]\n[[workflow.move]]\n\
                  from = [\"none\"]\nto = \"status/doing\"\nby = \"holder\"";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    let number = forge.add_issue(REPO, "a piece of work", &[], &[]).number;
    one.call(Method::POST, &labels(number), Some(json!({ "labels": [doing] }))).await.granted();
    let last = forge.add_exclusive_label(REPO, "status/zzz");
    let both = json!({ "labels": [doing, last] });
    let refused = other.call(Method::PUT, &labels(number), Some(both.clone())).await;
    refused.refused(400, "ambiguous_request");
    assert!(refused.text().contains("`status/doing` and `status/zzz` exclude each other"), "{refused:?}");
    other.call(Method::POST, &labels(number), Some(both)).await.refused(400, "ambiguous_request");
    assert_eq!(
        (forge.issue(REPO, number).labels, gate.holder(number).await),
        (vec!["status/doing".into()], Some("agent-0".into()))
    );
}

// === names and ids ===

/// A tracker drops a name that it does not know as it is written, and what it drops a PUT removes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_in_another_case_does_not_take_a_status_away() {
    let options = generations::forge().with(Feature::LabelNames);
    let forge = e2e::forge_with(options, &["agent-0", "agent-1"]).await;
    let gate = Setup::before(&forge.base_url()).start().await;
    let (mut one, mut other) = (gate.agent("agent-0"), gate.agent("agent-1"));
    let number = e2e::backlog_issue(&forge).number;
    one.call(Method::PUT, &labels(number), Some(json!({ "labels": ["in-progress"] }))).await.granted();
    for put in [json!(["IN-PROGRESS", "priority"]), json!(["In-Progress"])] {
        let refused = other.call(Method::PUT, &labels(number), Some(json!({ "labels": put }))).await;
        refused.refused(400, "ambiguous_request");
        assert!(refused.text().contains("as it is written there"), "{refused:?}");
    }
    assert_eq!(forge.issue(REPO, number).labels, ["in-progress"]);
    assert_eq!(gate.holder(number).await.as_deref(), Some("agent-0"));
    // As they are written they are sent by id, so that no tracker looks them up in a way of its own.
    one.call(Method::PUT, &labels(number), Some(json!({ "labels": ["in-progress", "priority"] }))).await.granted();
    assert_eq!(forge.issue(REPO, number).labels, ["in-progress", "priority"]);
    let journal = forge.requests();
    let put = journal.iter().rfind(|request| request.method == Method::PUT).expect("it was sent");
    let body: Value = serde_json::from_slice(&put.body).expect("JSON");
    assert_eq!(body["labels"], json!([id("in-progress"), id("priority")]));
}

/// The tracker would drop the name without a word, and with `PUT` every label that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_no_label_has_is_not_set() {
    let (forge, gate, mut agents) = stage(2, "").await;
    let number = e2e::backlog_issue(&forge).number;
    for (method, names) in [(Method::PUT, json!(["urgnt"])), (Method::POST, json!(["in-progress", "urgnt"]))] {
        let refused = agents[1].call(method, &labels(number), Some(json!({ "labels": names }))).await;
        refused.refused(400, "ambiguous_request");
        assert!(refused.text().contains("has no label `urgnt`"), "{refused:?}");
    }
    assert_eq!(forge.issue(REPO, number).labels, ["backlog"]);
    assert_eq!(gate.holder(number).await, None);
}

/// What an id sets that nobody could look up is not known: it may be the status of an organisation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_cannot_be_looked_up_is_not_set() {
    let (forge, gate, mut agents) = stage(2, "").await;
    let number = e2e::backlog_issue(&forge).number;
    for method in [Method::POST, Method::PUT] {
        let refused = agents[1].call(method, &labels(number), Some(json!({ "labels": [4711] }))).await;
        refused.refused(400, "ambiguous_request");
        assert!(refused.text().contains("has no label 4711 that this token may list"), "{refused:?}");
    }
    assert_eq!(forge.issue(REPO, number).labels, ["backlog"]);
    drop(gate);
}

also_as_forgejo_17! {
    of_twelve_who_set_the_working_label_one_holds_the_item,
    eight_agents_take_fifty_issues_and_leave_no_stray_label,
    an_item_that_is_given_back_while_others_come_for_it_is_never_out_of_reach,
    an_author_who_labels_its_new_item_takes_nothing_up,
    whoever_labels_an_orphan_takes_it_up,
    while_one_is_at_work_nobody_else_moves_its_item,
    what_was_claimed_before_the_gate_was_there_is_contained_too,
    a_label_that_is_renamed_means_its_new_name_at_once,
    a_move_starts_from_where_the_rules_say,
    what_can_be_left_only_once_is_spent_by_one,
    two_grants_are_spent_by_two_executions_and_no_third,
    rules_that_only_observe_say_what_they_would_have_refused,
    labels_of_a_claim_that_ended_half_way_go_before_the_next_one,
    who_relabels_an_item_has_seen_to_its_labels,
    stray_labels_stay_where_the_rules_say_so,
    with_a_token_of_its_own_the_gate_puts_labels_back_by_itself,
    requested_reviewers_take_their_turn_and_are_recorded,
    an_exclusive_label_moves_an_item_out_of_work_too,
    labels_that_exclude_each_other_are_not_set_together,
    a_label_in_another_case_does_not_take_a_status_away,
    a_name_that_no_label_has_is_not_set,
    an_id_that_cannot_be_looked_up_is_not_set,
}
