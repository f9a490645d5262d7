//! Who counts as whom: accounts, the instances behind them, and credentials that may not say who they are.

use crate::support::{Moment, REPO, Trap, World};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claimgate::admission::{By, Mode, Part, Rules, Unnamed};
use claimgate::effect::Decision;
use claimgate::model::Account;
use std::collections::BTreeSet;
use std::time::Duration;

fn with_shared_bot() -> World {
    World::with(|setup| setup.rules.shared_accounts = ["bot"].map(Account::new).into())
}

#[tokio::test(start_paused = true)]
async fn a_shared_account_must_name_its_instance() {
    let world = with_shared_bot();
    let told = world.claim("bot", 1).await.loses("identity_required");
    assert!(told.body["message"].as_str().unwrap().contains("Claimgate-Agent"), "{told:?}");
    assert_eq!(world.writes(1), 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_instances_of_one_account_one_wins() {
    let world = with_shared_bot();
    let (one, two) = tokio::join!(world.claim("bot@one", 1), world.claim("bot@two", 1));
    assert_eq!([one.is_success(), two.is_success()].iter().filter(|won| **won).count(), 1, "{one:?} {two:?}");
    let (winner, loser) = if one.is_success() { ("bot@one", "bot@two") } else { ("bot@two", "bot@one") };
    world.claim(winner, 1).await.needs_no_write();
    let told = world.claim(loser, 1).await.loses("already_assigned");
    assert_eq!(told.holder(), Some("bot"));
    world.release(loser, 1).await.loses("not_holder");
    world.release(winner, 1).await.wins();
    world.claim(loser, 1).await.wins();
}

#[tokio::test(start_paused = true)]
async fn instances_that_differ_are_two_agents_on_any_account() {
    let world = World::new();
    world.claim("dev-1@one", 1).await.wins();
    world.claim("dev-1@two", 1).await.loses("already_assigned");
    world.claim("dev-1@one", 1).await.needs_no_write();
}

/// Otherwise one would lose its item to another by way of a request that names nobody.
#[tokio::test(start_paused = true)]
async fn what_is_held_by_a_name_is_nobodys_who_names_none() {
    let world = World::new();
    world.claim("dev-1@one", 1).await.wins();
    let told = world.claim("dev-1", 1).await.loses("already_assigned");
    let message = told.body["message"].as_str().unwrap();
    assert!(message.contains("held by dev-1 (one)") && message.contains("name yourself"), "{message}");
    let told = world.release("dev-1", 1).await.loses("not_holder");
    assert!(told.body["message"].as_str().unwrap().contains("Claimgate-Agent"), "{told:?}");
    for labels in [["in-progress"], ["done"]] {
        let told = world.set_labels("dev-1", 1, &labels).await;
        assert_eq!(told.status, 409, "{told:?}");
    }
    world.close("dev-1", 1).await.loses("not_holder");
    world.hand_over("dev-1", "dev-2", 1).await.loses("already_assigned");
    world.claim("dev-1@two", 1).await.loses("already_assigned");
    world.claim("dev-1@one", 1).await.needs_no_write();
    world.release("dev-1@one", 1).await.wins();
    world.log_is_sound().await;
}

/// A claim whose outcome is not known yet, and one that has named itself meanwhile.
#[tokio::test(start_paused = true)]
async fn a_doubt_without_a_name_takes_nothing_from_the_name_that_went_on() {
    use claimgate::fake_forge::Fault;
    let world = World::new();
    world.next_write(1, Fault::CutAfter);
    world.claim("dev-1", 1).await.is(504, "outcome_unknown");
    world.claim("dev-1@one", 1).await.wins();
    world.wait(crate::support::Q * 2).await;
    world.claim("dev-1@two", 1).await.loses("already_assigned");
    world.claim("dev-1", 1).await.loses("already_assigned");
    world.is_held_by(1, "dev-1 (one)").await;
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_project_that_a_name_has_is_nobodys_who_names_none() {
    use claimgate::admission::{MemberPattern, Singleton};
    use claimgate::model::Kind;
    let world = World::with(|setup| {
        let agents = vec![MemberPattern::parse("bot/*").unwrap()];
        let (name, idle) = ("managers".to_owned(), Duration::from_mins(10));
        setup.rules.singletons = vec![Singleton { name, mode: Mode::Enforce, agents, actions: vec![Kind::Move], idle }];
    });
    world.set_labels("bot", 1, &["todo"]).await.wins();
    world.set_labels("bot@one", 2, &["todo"]).await.wins();
    world.set_labels("bot", 3, &["todo"]).await.loses("singleton_busy");
    world.set_labels("bot@one", 3, &["todo"]).await.wins();
}

#[tokio::test(start_paused = true)]
async fn where_nobody_may_be_without_a_name_all_accounts_are_told_so() {
    let world = World::with(|setup| setup.rules.unnamed = Unnamed::Refuse);
    world.forge.add_token("dev-2", "scoped-2", true);
    let told = world.claim("dev-1", 1).await.loses("identity_required");
    assert!(told.body["message"].as_str().unwrap().contains("identity.unnamed"), "{told:?}");
    world.claim_for("scoped-2", "dev-2", 1).await.loses("identity_required");
    world.close("dev-1", 1).await.loses("identity_required");
    world.claim("dev-1@one", 1).await.wins();
    world.close("supervisor", 2).await.wins();
    assert_eq!(world.writes(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_holding_without_an_instance_is_adopted_by_the_first_that_names_one() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.claim("dev-1@one", 1).await.needs_no_write();
    world.is_held_by(1, "dev-1 (one)").await;
    world.claim("dev-1@two", 1).await.loses("already_assigned");
}

#[tokio::test(start_paused = true)]
async fn a_move_names_the_instance_too() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.set_labels("dev-1@one", 1, &["in-progress"]).await.wins();
    world.claim("dev-1@two", 1).await.loses("already_assigned");
}

#[tokio::test(start_paused = true)]
async fn logins_are_compared_without_regard_to_case() {
    let world = World::new();
    world.claim_for("dev-1", "DEV-1", 1).await.wins();
    world.claim("dev-1", 1).await.needs_no_write();
    world.claim("dev-2", 1).await.loses("already_assigned");
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_may_not_say_who_it_is_holds_as_its_fingerprint() {
    let world = World::new();
    world.forge.add_token("dev-1", "scoped-1", true);
    world.forge.add_token("dev-2", "scoped-2", true);
    world.claim_for("scoped-1", "dev-1", 1).await.wins();
    assert!(world.holder(1).await.unwrap().starts_with("credential:"));
    world.claim_for("scoped-1", "dev-1", 1).await.needs_no_write();
    world.claim_for("scoped-2", "dev-2", 1).await.loses("already_assigned");
    world.release("scoped-2", 1).await.loses("not_holder");
    world.release("scoped-1", 1).await.wins();
    world.shows(1, &[]);
    world.claim_for("scoped-2", "dev-2", 1).await.wins();
}

/// What a token held that is no longer valid, its account goes on with or lets go; nobody else does.
#[tokio::test(start_paused = true)]
async fn what_a_revoked_token_held_is_its_accounts() {
    let world = World::new();
    world.forge.add_token("dev-1", "scoped-1", true);
    world.forge.add_token("dev-1", "scoped-2", true);
    for n in 1..=3 {
        world.claim_for("scoped-1", "dev-1", n).await.wins();
    }
    world.forge.revoke_token("scoped-1");
    let told = world.claim_for("scoped-2", "dev-1", 1).await.loses("already_assigned");
    assert!(told.body["message"].as_str().unwrap().contains("read:user"), "{told:?}");
    world.claim("dev-2", 1).await.loses("already_assigned");
    world.release("dev-2", 1).await.loses("not_holder");
    world.claim("dev-1@one", 1).await.loses("already_assigned");
    world.claim("dev-1", 1).await.needs_no_write();
    world.is_held_by(1, "dev-1").await;
    world.release("dev-1", 2).await.wins();
    world.shows(2, &[]);
    world.close("dev-1", 3).await.wins();
    let lines = world.lines().await;
    assert_eq!(lines.iter().filter(|line| line["kind"] == "rebound").count(), 3);
    world.log_is_sound().await;
}

/// A token that may not say whose it is names one agent, in whatever form it is sent.
#[tokio::test(start_paused = true)]
async fn a_token_in_another_form_is_no_other_agent() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
    let world = World::with(|setup| setup.rules.limits.items = 1);
    world.forge.add_token("dev-1", TOKEN, true);
    world.claim_for(TOKEN, "dev-1", 1).await.wins();
    // a:TOKEN and b:TOKEN
    let basic = [
        "YTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
        "YjowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    ];
    let plain = ["Bearer", "bearer", "token "].map(|scheme| format!("{scheme} {TOKEN}"));
    for form in plain.into_iter().chain(basic.map(|encoded| format!("Basic {encoded}"))) {
        world.claim_for(&form, "dev-1", 1).await.needs_no_write();
        world.claim_for(&form, "dev-1", 2).await.loses("limit_reached");
    }
}

/// A token as an outside issuer signs it; `id` is what differs from one refresh to the next.
fn jwt(id: &str, sub: &str) -> String {
    let claims = format!(r#"{{"iss":"https://ci.test","sub":"{sub}","aud":["forge"],"jti":"{id}"}}"#);
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmVk", URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_jwt_is_the_same_agent() {
    let world = World::with(|setup| setup.rules.limits.items = 1);
    let [first, next, other, forged] = [("1", "job"), ("2", "job"), ("1", "another job"), ("3", "job")]
        .map(|(id, sub)| format!("Bearer {}", jwt(id, sub)));
    for (who, token) in [("dev-1", &first), ("dev-1", &next), ("dev-2", &other)] {
        world.forge.add_token(who, token.strip_prefix("Bearer ").unwrap(), true);
    }
    world.claim_for(&first, "dev-1", 1).await.wins();
    let holder = world.holder(1).await.unwrap();
    assert!(holder.starts_with("credential:"), "{holder}");

    world.claim_for(&other, "dev-2", 1).await.loses("already_assigned");
    world.release(&other, 1).await.loses("not_holder");
    let told = world.release(&forged, 1).await;
    assert_eq!(told.status, 401, "{told:?}");
    assert!(!told.body.to_string().contains("dev-1") && told.body.get("claimgate").is_none(), "{told:?}");
    world.is_held_by(1, &holder).await;

    world.claim_for(&next, "dev-1", 1).await.needs_no_write();
    world.claim_for(&next, "dev-1", 2).await.loses("limit_reached");
    world.release(&next, 1).await.wins();
    world.shows(1, &[]);
    world.claim_for(&other, "dev-2", 1).await.wins();
    world.log_is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_opaque_account_adopts_nothing() {
    let world = World::new();
    world.forge.add_token("dev-1", "scoped-1", true);
    world.forge.outside_assign("root", REPO, 1, &["dev-1"]);
    world.claim_for("scoped-1", "dev-1", 1).await.loses("already_assigned");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_hears_what_the_tracker_says_and_nothing_else() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    world.forge.add_user("eve", "eve");
    world.forge.set_private(REPO, true);
    let told = world.claim("eve", 1).await;
    assert_eq!(told.status, 404, "{told:?}");
    let told = world.claim("nobody", 1).await;
    assert_eq!(told.status, 401, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_trackers_own_refusal_of_the_write_goes_back_unchanged() {
    let world = World::new();
    world.forge.add_user("eve", "eve");
    world.claim("eve", 1).await.is(403, "");
    world.is_held_by_nobody(1).await;
    world.claim("dev-1", 1).await.wins();
}

/// Whoever filed an issue may edit it; Gitea answers 201 and drops the assignee of those who may not write.
#[tokio::test(start_paused = true)]
async fn a_success_that_changed_nothing_is_not_applied() {
    let world = World::new();
    world.forge.add_user("eve", "eve");
    let own = world.forge.add_issue_by("eve", (REPO, "filed by a stranger"), &[], &[]).number;
    world.claim("eve", own).await.is(403, "not_applied");
    world.is_held_by_nobody(own).await;
    world.claim("dev-1", own).await.wins();
}

#[tokio::test(start_paused = true)]
async fn observing_refuses_nothing_and_says_what_it_would_have() {
    let world = World::with(|setup| setup.rules.assignment.mode = Mode::Observe);
    world.claim("dev-1", 1).await.wins();
    let told = world.claim("dev-2", 1).await.wins();
    assert_eq!((told.decision, told.code), (Some(Decision::Observe), "already_assigned"));
    world.shows(1, &["dev-2"]);
    world.is_held_by(1, "dev-2").await;
    let told = world.release("dev-1", 1).await.wins();
    assert_eq!((told.decision, told.code), (Some(Decision::Observe), "not_holder"));
    world.shows(1, &[]);
}

/// Puts changed rules in force.
fn replace_rules(world: &World, change: impl FnOnce(&mut Rules)) {
    let gate = world.process().gate.clone();
    let mut rules = Rules::clone(&gate.rules());
    change(&mut rules);
    gate.set_rules(rules);
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_goes_on_by_the_rules_that_it_began_with() {
    let second = Duration::from_secs(1);
    let world = World::with(|setup| setup.rules.assignment.release_by = By::Anyone);
    for (who, n) in [("dev-1", 1), ("dev-2", 2), ("dev-3", 3)] {
        world.claim(who, n).await.wins();
    }
    // While one write takes long, another one waits for its turn, and so does a person's.
    world.trap(Moment::AfterT1, Trap::Slow(5 * second));
    let replaced = async {
        world.wait(2 * second).await;
        replace_rules(&world, |rules| {
            rules.assignment.release_by = By::Holder;
            rules.assignment.overriders = BTreeSet::new();
        });
    };
    let waiting = async {
        world.wait(second).await;
        world.release("dev-4", 1).await
    };
    let (slow, waited, ()) = tokio::join!(world.add_label("dev-1", 1, "in-progress"), waiting, replaced);
    slow.wins();
    waited.wins();
    // Who comes later is judged by the new ones, in all of which they differ.
    world.release("dev-4", 2).await.loses("not_holder");
    world.release("supervisor", 2).await.loses("not_holder");
    replace_rules(&world, |rules| rules.shared_accounts = [Account::new("dev-3")].into());
    world.release("dev-3", 3).await.loses("identity_required");
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_switched_lies_over_every_rule_that_comes_after() {
    let world = World::new();
    world.claim("dev-1", 1).await.wins();
    let gate = world.process().gate.clone();
    gate.switch(&[Part::Assignment], Mode::Observe);
    for _ in 0..2 {
        world.release("dev-2", 1).await.wins();
        world.claim("dev-1", 1).await.wins();
        replace_rules(&world, |rules| rules.assignment.mode = Mode::Enforce);
    }
    // The opposite word is one, too.
    gate.switch(&Part::ALL, Mode::Enforce);
    replace_rules(&world, |rules| (rules.assignment.mode, rules.workflow.mode) = (Mode::Observe, Mode::Observe));
    world.release("dev-2", 1).await.loses("not_holder");
    assert_eq!(gate.rules().workflow.mode, Mode::Enforce);
}
