//! Eight agents take each of thirty issues at the same moment, in every way in which Jira's clients claim.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use super::fake::{FakeJira, Flavour};
use super::support::{Agent, gate, jira};
use crate::e2e::{Answer, Gate, eventually, stop_and_verify};

const AGENTS: usize = 8;
const ISSUES: usize = 30;

/// The ways to claim.
#[derive(Clone, Copy, Debug)]
enum Way {
    Assignee,
    Transition,
    Together,
    AssigneeFirst,
    TransitionFirst,
}

const WAYS: [Way; 5] = [Way::Assignee, Way::Transition, Way::Together, Way::AssigneeFirst, Way::TransitionFirst];

/// What an agent was told, up to its first refusal.
async fn claim(agent: &mut Agent, issue: &str, way: Way) -> Vec<Answer> {
    let first = match way {
        Way::Assignee | Way::AssigneeFirst => agent.assign(issue).await,
        Way::Transition | Way::TransitionFirst => agent.take(issue, "21").await,
        Way::Together => agent.take_and_assign(issue, "21").await,
    };
    if first.status != 204 {
        return vec![first];
    }
    match way {
        Way::Assignee | Way::Transition | Way::Together => vec![first],
        Way::AssigneeFirst => vec![first, agent.take(issue, "21").await],
        Way::TransitionFirst => vec![first, agent.assign(issue).await],
    }
}

async fn race_for(jira: &FakeJira, gate: &Gate, issue: &str, way: Way) {
    let barrier = Arc::new(Barrier::new(AGENTS));
    let mut all = tokio::task::JoinSet::new();
    for number in 1..=AGENTS {
        let login = format!("dev-{number}");
        let (barrier, issue) = (Arc::clone(&barrier), issue.to_owned());
        let mut agent = Agent::new(jira, gate.address, &login);
        all.spawn(async move {
            barrier.wait().await;
            (login, claim(&mut agent, &issue, way).await)
        });
    }
    let told = all.join_all().await;
    let won = |(_, answers): &&(String, Vec<Answer>)| answers.iter().all(|answer| answer.status == 204);
    let winners: Vec<&String> = told.iter().filter(won).map(|(login, _)| login).collect();
    assert_eq!(winners.len(), 1, "{way:?} {issue}: {told:?}");
    let seen = jira.issue(issue);
    let assigned = !matches!(way, Way::Transition);
    assert_eq!(seen.assignee.as_ref(), Some(winners[0]).filter(|_| assigned), "{way:?} {issue}");
    let moved = !matches!(way, Way::Assignee);
    assert_eq!(
        (seen.status.as_str(), seen.transitions),
        if moved { ("In Progress", 1) } else { ("Backlog", 0) },
        "{way:?}"
    );
    for (_, answers) in told.iter().filter(|one| !won(one)) {
        let lost = answers[0].refused(409, "already_assigned").json();
        assert!(lost["errorMessages"][0].as_str().is_some_and(|text| text.contains("is held by")), "{lost}");
    }
}

/// How many guarded writes the gate let through, by its audit.
fn permits(gate: &Gate) -> usize {
    gate.audit().iter().filter(|line| line["decision"] == "admit").count()
}

async fn race(flavour: Flavour) {
    let jira = jira(flavour).await;
    jira.rows().write_delay = Duration::from_millis(2);
    let gate = gate(&jira, "").await;
    for number in 0..ISSUES {
        let project = if number.is_multiple_of(2) { "DIR" } else { "GLO" };
        let issue = jira.add_issue(project, "race");
        race_for(&jira, &gate, &issue, WAYS[number % WAYS.len()]).await;
    }
    let sent = jira.guarded();
    assert!(sent.iter().all(|call| call.applied), "{sent:?}");
    let has_all = || async { (permits(&gate) >= sent.len()).then_some(()) };
    eventually(has_all, Duration::from_secs(5)).await.expect("the audit is printed");
    assert_eq!(sent.len(), permits(&gate), "each write has a permit of its own");
    // Two in five claims take two writes.
    assert_eq!(sent.len(), ISSUES + ISSUES * 2 / 5);
    stop_and_verify(gate, ISSUES * AGENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_one_gets_each_issue_of_cloud() {
    race(Flavour::Cloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_one_gets_each_issue_of_data_center() {
    race(Flavour::DataCenter).await;
}
