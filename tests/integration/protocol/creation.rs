//! A new item is there for everybody before its creator is told: whoever comes first is first.

use crate::support::{Moment, REPO, Told, Trap, World};
use claimgate::audit::verify::Verifier;
use claimgate::effect::Ledger;
use claimgate::model::AttemptState;
use serde_json::{Value, json};
use std::time::Duration;

/// The first one that is made.
const NEW: u64 = 4;

const SECOND: Duration = Duration::from_secs(1);

/// `who` makes an item for itself.
async fn creates(world: &World, who: &str) -> Told {
    let body = json!({ "title": "new", "assignees": [who] });
    world.write(who, "POST", &format!("/api/v1/repos/{REPO}/issues"), body).await
}

/// The audit lines about the new item, of a log that keeps its promise.
async fn lines(world: &World) -> Vec<Value> {
    let lines = world.process().ledger.lines(0, usize::MAX).await.unwrap();
    let lines: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
    let (mut found, mut verifier) = (Vec::new(), Verifier::new());
    verifier.read("audit", lines.as_bytes(), &mut |finding| found.push(finding.to_string())).unwrap();
    assert!(found.is_empty() && verifier.finish(None).is_empty(), "{found:#?}\n{lines}");
    let about = |line: &Value| line["resource"] == format!("{REPO}#{NEW}");
    world.lines().await.into_iter().filter(about).collect()
}

/// Its answer takes four seconds, in which somebody else clears the item and claims it.
#[tokio::test(start_paused = true)]
async fn a_late_creation_takes_nothing_from_who_has_claimed_the_item_since() {
    let world = World::new();
    world.trap(Moment::Answered, Trap::Slow(4 * SECOND));
    let second = async {
        world.wait(SECOND).await;
        world.release("dev-2", NEW).await.wins();
        world.claim("dev-2", NEW).await.wins();
    };
    let (created, ()) = tokio::join!(creates(&world, "dev-1"), second);
    let created = created.wins();
    world.is_held_by(NEW, "dev-2").await;
    let lines = lines(&world).await;
    let line = lines.iter().find(|line| line["id"] == created.id.as_str()).expect("its own line");
    assert_eq!((&line["decision"], &line["holder"]), (&json!("admit"), &Value::Null), "{line}");
    world.claim("dev-1", NEW).await.loses("already_assigned");
}

/// Nobody's claim was recorded, and the item shows somebody else all the same.
#[tokio::test(start_paused = true)]
async fn a_late_creation_is_no_claim_once_the_item_is_somebody_elses() {
    let world = World::new();
    world.trap(Moment::Answered, Trap::Slow(4 * SECOND));
    let second = async {
        world.wait(SECOND).await;
        world.release("dev-2", NEW).await.wins();
        world.forge.outside_assign("gardener", REPO, NEW, &["dev-3"]);
    };
    let (created, ()) = tokio::join!(creates(&world, "dev-1"), second);
    created.wins();
    world.is_held_by_nobody(NEW).await;
    world.claim("dev-3", NEW).await.needs_no_write();
}

/// Somebody else has its turn when the answer comes, and is refused.
#[tokio::test(start_paused = true)]
async fn a_creation_waits_for_its_turn() {
    let world = World::new();
    world.trap(Moment::Answered, Trap::Slow(2 * SECOND));
    world.trap(Moment::AfterT1, Trap::Slow(4 * SECOND));
    let second = async {
        world.wait(SECOND).await;
        world.claim("dev-2", NEW).await.loses("already_assigned");
    };
    let (created, ()) = tokio::join!(creates(&world, "dev-1"), second);
    let created = created.wins();
    world.is_held_by(NEW, "dev-1").await;
    assert_eq!(world.states(NEW).await, [AttemptState::Rejected, AttemptState::Committed]);
    let lines = lines(&world).await;
    assert!(lines.iter().any(|line| line["id"] == created.id.as_str() && line["fence"] == 1), "{lines:#?}");
}

/// What leaves no holding is in the log under the item that the answer names.
#[tokio::test(start_paused = true)]
async fn a_creation_without_a_holding_has_a_line_about_its_item() {
    let world = World::new();
    let body = json!({ "title": "new", "assignees": ["dev-2"] });
    let told = world.write("dev-1", "POST", &format!("/api/v1/repos/{REPO}/issues"), body).await.wins();
    let id = world.forge.issue(REPO, NEW).id.to_string();
    let lines = lines(&world).await;
    let line = lines.iter().find(|line| line["id"] == told.id.as_str()).expect("its own line");
    assert_eq!((&line["resource_id"], &line["upstream_status"]), (&json!(id), &json!(201)), "{line}");
}

/// The ledger is away when the answer comes: there is a line once it is back.
#[tokio::test(start_paused = true)]
async fn a_creation_that_the_ledger_did_not_take_has_its_line() {
    let world = World::new();
    world.trap(Moment::Answered, Trap::LedgerAway);
    let told = creates(&world, "dev-1").await.wins();
    world.store.set_available(true);
    world.is_held_by_nobody(NEW).await;
    let lines = lines(&world).await;
    assert!(lines.iter().any(|line| line["id"] == told.id.as_str() && line["decision"] == "admit"), "{lines:#?}");
    world.claim("dev-1", NEW).await.needs_no_write();
}

/// It waits for another creation of the same agent, and its client does not.
#[tokio::test(start_paused = true)]
async fn a_creation_that_was_given_up_while_it_waited_is_not_sent() {
    let world = World::with(|setup| setup.rules.limits.items = 3);
    world.trap(Moment::Answered, Trap::Slow(4 * SECOND));
    let hasty = async {
        world.wait(SECOND).await;
        tokio::time::timeout(SECOND, creates(&world, "dev-1")).await
    };
    let (first, second) = tokio::join!(creates(&world, "dev-1"), hasty);
    first.wins();
    assert!(second.is_err(), "its client has gone");
    world.wait(20 * SECOND).await;
    world.process().gate.drained().await;
    assert_eq!(world.process().upstream.sends(), 1);
}
