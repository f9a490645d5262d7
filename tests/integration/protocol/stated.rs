//! A client says what must hold: compared with the read inside the turn, after everything else, and never passed over.

use crate::support::{Q, World};
use claimgate::admission::{Mode, StateTag, Stated, Tags};
use claimgate::fake_forge::Fault;
use claimgate::model::{Account, AttemptState, OpenState, Shown, Status};
use serde_json::json;
use std::collections::BTreeSet;

/// As every issue of this world begins.
fn free() -> Shown {
    Shown { assignees: BTreeSet::new(), statuses: [Status::new("backlog")].into(), state: OpenState::Open }
}

fn if_match(shown: &Shown) -> Stated {
    Stated { tags: Some(Tags::These([StateTag::of(shown)].into())), ..Stated::default() }
}

fn unassigned() -> Stated {
    Stated { assignees: Some(BTreeSet::new()), ..Stated::default() }
}

fn assigned(login: &str) -> Stated {
    Stated { assignees: Some([Account::new(login)].into()), ..Stated::default() }
}

impl World {
    async fn claim_if(&self, stated: Stated, who: &str) -> crate::support::Told {
        self.patch_if(stated, who, 1, json!({ "assignees": [who] })).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_shows_is_granted_and_what_does_not_is_never_sent() {
    let world = World::new();
    world.forge.outside_labels("root", "root/work", 1, &["todo"]);
    let told = world.claim_if(if_match(&free()), "dev-1").await.is(412, "precondition_failed");
    assert_eq!(told.body["claimgate"]["observed"]["status"], json!(["todo"]));
    assert_eq!(told.body["claimgate"]["expected"], "the state that If-Match names");
    assert_eq!((world.writes(1), world.states(1).await), (0, vec![AttemptState::Rejected]));
    world.is_held_by_nobody(1).await;
    let line = world.lines().await.pop().unwrap();
    assert_eq!((&line["code"], &line["decision"]), (&json!("precondition_failed"), &json!("reject")));
    assert_eq!(line["observed"]["status"], json!(["todo"]));
    let todo = Shown { statuses: [Status::new("todo")].into(), ..free() };
    world.claim_if(if_match(&todo), "dev-1").await.wins();
    world.is_held_by(1, "dev-1").await;
}

/// Somebody edits past the gate between the client's arrival and its turn: the read inside the turn counts.
#[tokio::test(start_paused = true)]
async fn the_read_inside_the_turn_decides() {
    let world = World::new();
    world.knows_readers(2).await;
    world.slow_forge(100, 0, 1000);
    let (first, second, ()) = tokio::join!(
        world.patch("dev-1", 1, json!({ "state": "open", "content_version": 1 })),
        async {
            world.wait(std::time::Duration::from_millis(200)).await;
            world.claim_if(if_match(&free()), "dev-2").await
        },
        async {
            world.wait(std::time::Duration::from_millis(500)).await;
            world.forge.outside_labels("root", "root/work", 1, &["blocked"]);
        }
    );
    first.wins();
    second.is(412, "precondition_failed");
}

/// RFC 9110, 13.2.1: what would be refused anyway is refused for that reason. The loser learns who has the item.
#[tokio::test(start_paused = true)]
async fn held_by_another_comes_first() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    for stated in [if_match(&free()), unassigned(), assigned("dev-1")] {
        let told = world.claim_if(stated, "dev-2").await.loses("already_assigned");
        assert_eq!(told.holder(), Some("dev-1"));
    }
    world.shows(1, &["dev-1"]);
}

#[tokio::test(start_paused = true)]
async fn of_many_with_one_tag_one_goes_through() {
    let world = World::new();
    let all = (1..=8).map(|n| {
        let (world, who) = (&world, format!("dev-{n}"));
        async move { world.claim_if(if_match(&free()), &who).await }
    });
    let told = futures_util::future::join_all(all).await;
    assert_eq!(told.iter().filter(|told| told.is_success()).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.code == "already_assigned").count(), 7, "{told:?}");
}

/// The holder's own claim again is a no-op; one that states what no longer shows is none.
#[tokio::test(start_paused = true)]
async fn a_noop_must_start_from_what_is_stated_too() {
    let world = World::new();
    world.claim_if(if_match(&free()), "dev-1").await.wins();
    let told = world.claim_if(if_match(&free()), "dev-1").await.is(412, "precondition_failed");
    assert_eq!(told.holder(), Some("dev-1"), "so it learns that it holds the item");
    world.claim_if(assigned("dev-1"), "dev-1").await.needs_no_write();
    let release = json!({ "assignees": [] });
    world.patch_if(unassigned(), "dev-1", 1, release.clone()).await.is(412, "precondition_failed");
    world.is_held_by(1, "dev-1").await;
    world.patch_if(assigned("dev-1"), "dev-1", 1, release.clone()).await.wins();
    world.is_held_by_nobody(1).await;
    world.patch_if(assigned("dev-1"), "dev-1", 1, release.clone()).await.is(412, "precondition_failed");
    world.patch_if(unassigned(), "dev-1", 1, release).await.needs_no_write();
}

/// No rule refuses them; but this is their own wish.
#[tokio::test(start_paused = true)]
async fn overriders_and_observing_rules_do_not_lift_it() {
    let world = World::with(|setup| setup.rules.assignment.mode = Mode::Observe);
    world.claim("dev-1", 1).await.wins();
    world.patch_if(unassigned(), "supervisor", 1, json!({ "assignees": [] })).await.is(412, "precondition_failed");
    world.claim_if(unassigned(), "dev-2").await.is(412, "precondition_failed");
    world.shows(1, &["dev-1"]);
    world.patch_if(assigned("dev-1"), "supervisor", 1, json!({ "assignees": [] })).await.wins();
    world.shows(1, &[]);
}

/// After a 504 the same request again finds its own claim there. It is told so, and what it must not be told is that
/// somebody else has it.
#[tokio::test(start_paused = true)]
async fn a_repetition_after_doubt_names_the_caller() {
    let world = World::new();
    world.next_write(1, Fault::CutAfter);
    world.claim_if(if_match(&free()), "dev-1").await.is(504, "outcome_unknown");
    world.claim_if(if_match(&free()), "dev-1").await.is(412, "precondition_failed");
    world.claim("dev-1", 1).await.wins();
    world.wait(Q).await;
    world.is_held_by(1, "dev-1").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_yet_shows_nothing() {
    let world = World::new();
    let body = json!({ "title": "new", "assignees": ["dev-1"] });
    let path = "/api/v1/repos/root/work/issues";
    world.create_if(unassigned(), "dev-1", path, body.clone()).await.is(412, "precondition_failed");
    world
        .create_if(Stated { tags: Some(Tags::Any), ..Stated::default() }, "dev-1", path, body.clone())
        .await
        .is(412, "precondition_failed");
    world.write("dev-1", "POST", path, body).await.wins();
}
