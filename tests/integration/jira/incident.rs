//! Two managers, started by different triggers 13 seconds apart with different parents, promote one issue.

use super::fake::{FakeJira, Flavour};
use super::support::{Agent, gate, jira};
use crate::e2e::{Answer, Gate, stop_and_verify};

const SINGLETON: &str = "\n[[singleton]]\nagents = [\"manager-*\"]\nactions = [\"move\"]\n\
    idle = \"10m\"\n";
/// Without rules about where a move starts.
const ANYWHERE: &str =
    "\n[workflow]\nstates = [\"Backlog\", \"Todo\", \"In Progress\"]\nworking = [\"In Progress\"]\nmove = []\n";

fn manager(jira: &FakeJira, gate: &Gate, name: &str) -> Agent {
    Agent::named(jira, gate.address, "lead", name)
}

fn text(answer: &Answer) -> String {
    answer.json()["errorMessages"][0].as_str().unwrap_or_default().to_owned()
}

/// Which rules are on, and by which of them the second is refused.
const CASES: [(&str, &str, &str); 3] = [
    ("source state alone", "", "wrong_source_state"),
    ("both", SINGLETON, "wrong_source_state"),
    ("singleton alone", ANYWHERE, "singleton_busy"),
];

async fn check(flavour: Flavour, project: &str, (name, rules, code): (&str, &str, &str)) {
    let jira = jira(flavour).await;
    let rules = if name == "singleton alone" { format!("{rules}{SINGLETON}") } else { rules.to_owned() };
    let gate = gate(&jira, &rules).await;
    let (issue, next) = (jira.add_issue(project, "the piece of work"), jira.add_issue(project, "the next"));
    let other = jira.add_issue(if project == "DIR" { "GLO" } else { "DIR" }, "elsewhere");
    let (mut first, mut second) = (manager(&jira, &gate, "manager-a"), manager(&jira, &gate, "manager-b"));
    first.take(&issue, "11").await.granted();
    let told = second.take(&issue, "11").await;
    told.refused(409, code);
    assert!(text(&told).contains("manager-a"), "{name} {project}: {told:?}");
    assert_eq!((jira.issue(&issue).status.as_str(), jira.issue(&issue).transitions), ("Todo", 1), "{name}");
    // One at a time in a project, where that is a rule; in another both are free.
    let told = second.take(&next, "11").await;
    let is_single = rules.contains("[[singleton]]");
    if is_single {
        assert!(text(told.refused(409, "singleton_busy")).contains("manager-a"), "{told:?}");
    } else {
        assert_eq!(told.granted().status, 204);
    }
    second.take(&other, "11").await.granted();
    let moves = if is_single { 2 } else { 3 };
    assert_eq!(jira.guarded().len(), moves, "{name}");
    stop_and_verify(gate, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_managers_the_second_is_refused_and_told_who_was_first() {
    for case in CASES {
        check(Flavour::Cloud, "GLO", case).await;
    }
    check(Flavour::DataCenter, "GLO", CASES[0]).await;
    // By the workflow itself the transition is not offered any more.
    check(Flavour::Cloud, "DIR", CASES[0]).await;
    check(Flavour::DataCenter, "DIR", CASES[1]).await;
}

/// The holder's own repetition is the same success, with nothing sent; statuses are compared in any case of letters.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_a_success_for_its_holder_alone() {
    let jira = jira(Flavour::Cloud).await;
    let gate = gate(&jira, "").await;
    let name = |row: &mut super::fake::FakeStatus| row.name = row.name.to_uppercase();
    jira.rows().statuses.iter_mut().for_each(name);
    let issue = jira.add_issue("GLO", "one");
    let (mut first, mut second) = (manager(&jira, &gate, "agent-a"), manager(&jira, &gate, "agent-b"));
    first.take(&issue, "11").await.granted();
    first.take(&issue, "21").await.granted();
    assert_eq!(first.take(&issue, "21").await.granted().status, 204);
    second.take(&issue, "21").await.refused(409, "already_assigned");
    second.take(&issue, "11").await.refused(409, "not_holder");
    assert_eq!((jira.issue(&issue).status.as_str(), jira.issue(&issue).transitions), ("IN PROGRESS", 2));
    stop_and_verify(gate, 5).await;
}
