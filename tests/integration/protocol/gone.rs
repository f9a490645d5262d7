//! Items that are not there any more: deleted, or out of their holder's reach. Nothing of them counts for ever.

use crate::support::{Q, REPO, World, address_of};
use claimgate::dialect::{Address, Shows};
use claimgate::fake_forge::{Fault, Feature, Options};
use claimgate::gate::{ClaimCall, Relabelling};
use claimgate::model::ResourceKey;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn address(n: u64) -> Address {
    address_of(n)
}

/// Each agent may hold one item.
fn limited(service: bool) -> World {
    limited_before(service, Options::default())
}

/// The same before a tracker that says 401 to a token that it does not know; others answer as to a stranger.
fn strict(service: bool) -> World {
    limited_before(service, Options::default().with(Feature::StrictTokens))
}

fn limited_before(service: bool, forge: Options) -> World {
    World::with(|setup| {
        setup.forge = forge;
        setup.service = service.then_some("admin");
        setup.rules.limits.items = 1;
        setup.rules.assignment.closed_after = Some(HOUR);
    })
}

#[tokio::test(start_paused = true)]
async fn a_doubt_past_its_time_counts_for_nothing_though_its_item_is_gone() {
    for (service, restarts) in [(false, false), (false, true), (true, false)] {
        let world = limited(service);
        world.next_write(1, Fault::CutAfter);
        world.claim("dev-1", 1).await.is(504, "outcome_unknown");
        world.forge.outside_delete("root", REPO, 1);
        world.claim("dev-1", 2).await.loses("limit_reached");
        world.wait(Q + SECOND).await;
        if restarts {
            // It is in doubt anew, for as long.
            world.restart();
            world.claim("dev-1", 2).await.loses("limit_reached");
            world.wait(Q + SECOND).await;
        }
        let active = world.process().gate.active().await.unwrap();
        assert!(active.is_empty(), "{active:?}");
        world.claim("dev-1", 2).await.wins();
        world.log_is_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_operator_ends_a_doubt() {
    for (deleted, service) in [(true, false), (true, true), (false, false), (false, true)] {
        let world = limited(service);
        world.next_write(1, Fault::CutAfter);
        world.claim("dev-1", 1).await.is(504, "outcome_unknown");
        if deleted {
            world.forge.outside_delete("root", REPO, 1);
        }
        let released = world.operator_releases(1).await.expect("there is something to end");
        assert_eq!((released.holder, released.doubts), (None, 1));
        assert_eq!((released.record.doubts.len(), released.record.doubt_until), (0, None));
        world.claim("dev-1", 2).await.wins();
        let lines = world.lines().await;
        let of_operator =
            |kind: &str| lines.iter().filter(|line| line["kind"] == kind && line["reason"] == "stuck").count();
        assert_eq!((of_operator("not_landed"), of_operator("operator")), (1, 1));
        if !deleted && service {
            world.shows(1, &[]);
            world.claim("dev-2", 1).await.wins();
        }
        world.log_is_sound().await;
    }
}

/// What lands after the operator's word is known for what it is: it takes the item from nobody.
#[tokio::test(start_paused = true)]
async fn a_write_that_lands_after_its_doubt_was_ended_takes_nothing() {
    let world = World::new();
    world.next_write(1, Fault::Zombie(60 * SECOND));
    world.claim("dev-1", 1).await.is(504, "outcome_unknown");
    world.operator_releases(1).await.expect("a doubt");
    world.claim("dev-2", 1).await.wins();
    world.wait(90 * SECOND).await;
    world.claim("dev-3", 1).await.loses("already_assigned");
    world.is_held_by(1, "dev-2").await;
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_lets_go_of_what_is_not_there_any_more() {
    for restarts in [false, true] {
        let world = limited(false);
        world.claim("dev-1", 1).await.wins();
        world.forge.outside_delete("root", REPO, 1);
        if restarts {
            world.restart();
        }
        world.claim("dev-1", 2).await.loses("limit_reached");
        // Nobody else does that for it, even one whom the project was just shown.
        world.knows_readers(2).await;
        assert_eq!(world.release("dev-2", 1).await.status, 404);
        world.claim("dev-1", 2).await.loses("limit_reached");
        // The tracker's own answer goes back.
        assert_eq!(world.release("dev-1", 1).await.status, 404);
        world.claim("dev-1", 2).await.wins();
        world.log_is_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_claims_api_lets_go_of_it_too() {
    for labels in [Relabelling::default(), Relabelling { set: ["backlog".to_owned()].into(), ..Relabelling::default() }]
    {
        let world = limited(false);
        world.claim("dev-1", 1).await.wins();
        world.forge.outside_delete("root", REPO, 1);
        let told = world.told_by_api("dev-1", ClaimCall::Release(address(1), labels)).await;
        assert_eq!(told.status, 204, "{told:?}");
        world.claim("dev-1", 2).await.wins();
        world.log_is_sound().await;
    }
}

/// Its own release is in doubt, and the item is deleted before that is known.
#[tokio::test(start_paused = true)]
async fn a_release_in_doubt_of_a_deleted_item_ends_when_it_is_repeated_in_time() {
    let world = limited(false);
    world.claim("dev-1", 1).await.wins();
    world.next_write(1, Fault::CutBefore);
    world.release("dev-1", 1).await.is(504, "outcome_unknown");
    world.forge.outside_delete("root", REPO, 1);
    world.wait(Q + SECOND).await;
    assert_eq!(world.release("dev-1", 1).await.status, 404);
    world.claim("dev-1", 2).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn who_lost_access_may_let_go_and_whose_token_is_revoked_may_not() {
    let world = strict(false);
    world.claim("dev-1", 1).await.wins();
    world.forge.add_token("dev-1", "second", false);
    // The gate knows whose it is, and the tracker does not any more.
    let identify = &world.process().gate.ports().identify.clone();
    assert!(identify.account(&world.credential("second")).await.is_ok());
    world.forge.revoke_token("second");
    assert_eq!(world.release("second", 1).await.status, 401);
    world.is_held_by(1, "dev-1").await;
    world.forge.set_private(REPO, true);
    world.forge.outside_remove_collaborator("root", REPO, "dev-1");
    world.claim("dev-1", 2).await;
    assert_eq!(world.release("dev-1", 1).await.status, 404);
    world.is_held_by_nobody(1).await;
    world.log_is_sound().await;
}

/// The watcher's token is told that there is no such item, again and again.
#[tokio::test(start_paused = true)]
async fn the_watcher_ends_what_is_held_in_a_deleted_item() {
    let world = limited(true);
    let key = ResourceKey::new(&world.forge.issue(REPO, 1).id.to_string());
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_delete("root", REPO, 1);
    let gate = world.process().gate.clone();
    let watch = tokio::spawn(gate.clone().watch(Duration::from_mins(1)));
    world.wait(HOUR / 2).await;
    world.claim("dev-1", 2).await.loses("limit_reached");
    // To its holder it is there: perhaps the token may not see it.
    gate.saw_read(&world.credential("dev-1"), None, (address(1).project(), Some(&address(1))), Shows::Item);
    world.wait(HOUR * 3 / 4).await;
    assert!(gate.ports().ledger.item(&key).await.unwrap().unwrap().holding.is_some());
    world.wait(HOUR / 2).await;
    assert!(gate.ports().ledger.item(&key).await.unwrap().unwrap().holding.is_none());
    watch.abort();
    let lines = world.lines().await;
    let ended: Vec<_> = lines.iter().filter(|line| line["kind"] == "gone").collect();
    assert_eq!((ended.len(), ended[0]["agent"]["account"].as_str()), (1, Some("dev-1")));
    assert_eq!(gate.ports().metrics.finished.get(), 1);
    world.claim("dev-1", 2).await.wins();
    world.log_is_sound().await;
}

/// A tracker says 401 to a token that it does not know, or answers as to a stranger, who is shown nothing private.
#[tokio::test(start_paused = true)]
async fn a_token_that_may_not_ask_ends_nothing() {
    for world in [strict(true), limited(true)] {
        world.claim("dev-1", 1).await.wins();
        world.forge.set_private(REPO, true);
        world.forge.revoke_token("admin");
        let gate = world.process().gate.clone();
        let watch = tokio::spawn(gate.clone().watch(Duration::from_mins(1)));
        world.wait(HOUR * 5).await;
        world.is_held_by(1, "dev-1").await;
        watch.abort();
    }
}

/// An agent claimed with a token that may not ask whose it is, and the token is gone. Its account lets go.
#[tokio::test(start_paused = true)]
async fn an_account_lets_go_of_what_a_revoked_token_holds() {
    let world = World::new();
    world.forge.add_token("dev-1", "scoped", true);
    world.claim_for("scoped", "dev-1", 1).await.wins();
    world.forge.revoke_token("scoped");
    world.release("dev-2", 1).await.loses("not_holder");
    world.release("dev-1", 1).await.wins();
    world.shows(1, &[]);
    world.claim("dev-2", 1).await.wins();
    world.log_is_sound().await;
}
