//! No item may ever answer 409 for ever: every state that a short history can reach has a way out.
//!
//! The pure core is searched, not sampled: two agents, a writer outside, an operator, and every outcome of a send. From
//! each state found an operator's release and an outside edit, or an outside edit alone where nobody holds the item, must
//! lead to one that a claim gets; and where nobody holds it, no rule may speak of a dispute.

use crate::support::Setup;
use claimgate::admission::{
    Answer, DecisionInput, Outcome, Outside, Rules, SentWrite, Stamp, Step, Verdict, Verified, apply, decide, judge,
    outside_edit,
};
use claimgate::model::{
    Account, Actor, Attempt, AttemptId, AttemptState, Caller, Change, Code, Epoch, Fingerprint, GateId, ItemRecord,
    OpenState, Ownership, Place, Principal, ResourceKey, SetChange, Snapshot, Tag, TagId, TagRef, Time,
};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

const NOW: Time = Time(1_000_000_000_000);
const UNTIL: Time = Time(1_000_120_000_000);
type Edit = fn(&mut Snapshot);

/// States that are looked at under each rule; those nearest to the beginning come first.
const STATES: usize = 2_500;

#[derive(Clone, Debug)]
struct World {
    record: ItemRecord,
    seen: Snapshot,
    story: Vec<String>,
}

fn labels() -> [Tag; 3] {
    [(1, "backlog"), (2, "todo"), (3, "in-progress")].map(|(id, name)| Tag {
        id: Some(TagId::Number(id)),
        name: name.into(),
        group: None,
        state: None,
    })
}

fn caller(login: &str) -> Caller {
    let actor = Actor { account: Principal::Named(Account::new(login)), instance: None };
    Caller { actor, credential: Fingerprint::new("c0ffee"), shared: false, overrider: login == "boss" }
}

fn stamp() -> Stamp {
    Stamp { gate: GateId::new("g"), epoch: Epoch(1), now: NOW, zombie_period: Duration::from_mins(20) }
}

fn assignees(names: &[&str]) -> BTreeSet<Account> {
    names.iter().map(|name| Account::new(name)).collect()
}

/// All that an agent may ask for here.
fn changes() -> Vec<Change> {
    let assign = |names: &[&str]| Change { assignees: Some(SetChange::Replace(assignees(names))), ..Change::default() };
    let label = |id| Change { labels: Some(SetChange::Replace([TagRef::number(id)].into())), ..Change::default() };
    let state = |state| Change { state: Some(state), ..Change::default() };
    let mut all = vec![assign(&[]), assign(&["ann"]), assign(&["bob"])];
    all.extend([label(2), label(3), state(OpenState::Closed), state(OpenState::Open)]);
    all.push(Change { state: Some(OpenState::Closed), ..assign(&[]) });
    all
}

// === impl World ===

impl World {
    fn begin() -> Self {
        let (key, locator) = (ResourceKey::new("107"), Place::from_stored("root/work#7"));
        let seen = Snapshot {
            key: key.clone(),
            locator: locator.clone(),
            assignees: BTreeSet::new(),
            labels: [labels()[0].clone()].into(),
            state: OpenState::Open,
            author: None,
            kind: claimgate::model::ItemKind::Issue,
        };
        Self { record: ItemRecord::new(key, locator), seen, story: Vec::new() }
    }

    /// What makes it another state: versions and names of attempts do not.
    fn name(&self) -> String {
        let (record, mut name) = (&self.record, String::new());
        let held =
            record.holding.as_ref().map(|held| (&held.actor, held.parked, &held.last_seen, &held.status_before_claim));
        write!(name, "{held:?} {} {:?} {:?}", record.contested, record.pending_restore, record.reassigned).unwrap();
        for doubt in &record.doubts {
            write!(name, " {} {:?} {:?}", doubt.actor, doubt.change, doubt.ownership).unwrap();
        }
        for mask in &record.late_writes {
            write!(name, " {:?}", mask.goal.value()).unwrap();
        }
        write!(name, " {:?} {:?} {:?}", self.seen.assignees, self.seen.labels, self.seen.state).unwrap();
        name
    }

    fn told(mut self, what: String) -> Self {
        self.story.push(what);
        self
    }

    fn step(&mut self, step: &Step) -> bool {
        apply(&mut self.record, step, &stamp()).is_ok()
    }

    fn account_for(&mut self, rules: &Rules) {
        while let Some(edit) = outside_edit(&self.record, &self.seen, rules, NOW) {
            assert!(self.step(&Step::Edit { edit, fence: self.record.fence }), "{:#?}", self.story);
        }
    }

    /// T1, the outside edits, and the decision. `None`: T1 does not let it in.
    fn ask(&mut self, rules: &Rules, who: &Caller, change: &Change) -> Option<Verdict> {
        let attempt = Attempt {
            id: AttemptId::new("x"),
            key: self.record.key.clone(),
            locator: self.record.locator.clone(),
            actor: who.actor.clone(),
            credential: who.credential.clone(),
            change: change.clone(),
            goal: None,
            kind: None,
            ownership: Ownership::Keep,
            state: AttemptState::Open,
            gate: GateId::new("g"),
            epoch: Epoch(1),
            opened: NOW,
        };
        if !self.step(&Step::Open(attempt)) {
            return None;
        }
        self.account_for(rules);
        let (record, seen, labels) = (&self.record, &self.seen, labels());
        let question =
            DecisionInput { rules, caller: who, change, asks_more: false, record, seen, labels: &labels, now: NOW };
        Some(decide(&question).0)
    }

    /// Everything that may follow when this agent asks for that.
    fn asked(&self, rules: &Rules, who: &Caller, change: &Change) -> Vec<Self> {
        let mut world = self.clone().told(format!("{} asks for {change}", who.actor));
        let attempt = AttemptId::new("x");
        match world.ask(rules, who, change) {
            None => Vec::new(),
            Some(Verdict::Reject(_)) => {
                assert!(world.step(&Step::Reject(attempt)));
                vec![world]
            }
            Some(Verdict::Noop(noop)) => {
                let shown = rules.workflow.shown(&world.seen);
                let (kind, ownership) = (noop.kind, noop.ownership);
                assert!(world.step(&Step::Grant { attempt, kind, ownership, shown }));
                vec![world]
            }
            Some(Verdict::Admit(permit)) => {
                let plan = permit.plan().clone();
                let held = world.record.holding.clone();
                let by_holder = plan.is_by_holder(&who.actor, held.as_ref());
                assert!(world.step(&Step::Send { attempt: attempt.clone(), plan: plan.clone() }));
                let before = world.seen.clone();
                let landed = after(&before, change);
                let half = Snapshot { state: before.state, labels: before.labels.clone(), ..landed.clone() };
                let other = Snapshot { assignees: assignees(&["eve"]), ..before.clone() };
                let ends = [
                    (Some(200), landed.clone()),
                    (Some(500), before.clone()),
                    (Some(500), half),
                    (Some(500), other),
                    (None, landed),
                    (None, before.clone()),
                ];
                let end = |(status, shows): (Option<u16>, Snapshot)| {
                    let mut world = world.clone();
                    let answer = status.map_or(Answer::Uncertain, Answer::Complete);
                    let sent = SentWrite { plan: &plan, before: &before, by_holder };
                    let outcome = judge(&sent, answer, Some(&shows), &rules.workflow);
                    world.seen = shows;
                    assert!(world.step(&Step::Settle {
                        attempt: attempt.clone(),
                        outcome: outcome.clone(),
                        doubt_until: UNTIL
                    }));
                    let what = match outcome {
                        Outcome::Committed { .. } => "done",
                        Outcome::Refused { .. } => "refused",
                        Outcome::Halfway { .. } => "half done",
                        Outcome::Partial { .. } => "partial",
                        Outcome::Doubt => "in doubt",
                    };
                    world.told(format!("-> {what}"))
                };
                ends.map(end).into()
            }
        }
    }

    fn next(&self, rules: &Rules) -> Vec<Self> {
        let mut next = Vec::new();
        for (who, change) in ["ann", "bob"].into_iter().flat_map(|who| changes().into_iter().map(move |one| (who, one)))
        {
            next.extend(self.asked(rules, &caller(who), &change));
        }
        for change in changes().iter().take(3) {
            next.extend(self.asked(rules, &caller("boss"), change));
        }
        let edits: [(&str, Edit); 6] = [
            ("clears it", |seen| seen.assignees.clear()),
            ("assigns eve", |seen| seen.assignees = assignees(&["eve"])),
            ("assigns ann", |seen| seen.assignees = assignees(&["ann"])),
            ("closes it", |seen| seen.state = OpenState::Closed),
            ("opens it", |seen| seen.state = OpenState::Open),
            ("moves it", |seen| seen.labels = [labels()[1].clone()].into()),
        ];
        for (what, edit) in edits {
            let mut world = self.clone().told(format!("somebody outside {what}"));
            edit(&mut world.seen);
            next.push(world.clone());
            world.account_for(rules);
            next.push(world);
        }
        next.extend(self.known(rules));
        next.retain(|world| world.record.doubts.len() < 3);
        next
    }

    /// The doubt's time is over, and a read says what became of it.
    fn known(&self, rules: &Rules) -> Option<Self> {
        let mut world = self.clone().told("the doubt is over".to_owned());
        let doubts: Vec<AttemptId> = world.record.doubts.iter().map(|doubt| doubt.attempt.clone()).collect();
        let shown = rules.workflow.shown(&world.seen);
        let landed = world.record.doubts.first()?.goal.reach(&world.seen) == claimgate::model::Reach::Full;
        let verified = if landed { Verified::Landed { shown, parked: None } } else { Verified::NotLanded(shown) };
        let over = Stamp { now: UNTIL, ..stamp() };
        assert!(apply(&mut world.record, &Step::Resolve { doubts, verified }, &over).is_ok());
        Some(world)
    }

    fn cleared(&self) -> Self {
        let mut world = self.clone().told("somebody outside makes it as new".to_owned());
        (world.seen.assignees, world.seen.state) = (BTreeSet::new(), OpenState::Open);
        world.seen.labels = [labels()[0].clone()].into();
        world
    }

    fn is_claimed_by_anybody(&self, rules: &Rules) -> bool {
        let mut world = self.clone();
        let change = Change { assignees: Some(SetChange::Replace(assignees(&["cid"]))), ..Change::default() };
        matches!(world.ask(rules, &caller("cid"), &change), Some(Verdict::Admit(_)))
    }

    /// There is a way out of here.
    fn is_alive(&self, rules: &Rules) -> Result<(), &'static str> {
        let mut released = self.clone().told("the operator releases it".to_owned());
        let fence = released.record.fence;
        if !released.step(&Step::Release { fence }) {
            return Err("a release is refused");
        }
        if !released.cleared().is_claimed_by_anybody(rules) {
            return Err("nobody gets it after a release and an outside edit");
        }
        let settled = self.known(rules).unwrap_or_else(|| self.clone());
        if settled.record.holding.is_some() {
            return Ok(());
        }
        if !settled.cleared().is_claimed_by_anybody(rules) {
            return Err("nobody holds it, and nobody gets it after an outside edit");
        }
        let disputed = |change: Change| {
            let verdict = settled.clone().ask(rules, &caller("cid"), &change);
            matches!(verdict, Some(Verdict::Reject(rejection)) if rejection.code == Code::Contested)
        };
        if changes().into_iter().any(disputed) { Err("nobody holds it, and it is disputed") } else { Ok(()) }
    }
}

fn after(before: &Snapshot, change: &Change) -> Snapshot {
    let labels = change.labels.as_ref().map(|change| {
        let known = labels().into_iter().filter(|label| change.members().contains(&label.to_ref()));
        known.collect()
    });
    Snapshot {
        assignees: change.assignees.as_ref().map_or_else(|| before.assignees.clone(), |to| to.apply(&before.assignees)),
        labels: labels.unwrap_or_else(|| before.labels.clone()),
        state: change.state.unwrap_or(before.state),
        ..before.clone()
    }
}

#[test]
fn every_state_has_a_way_out() {
    for outside in [Outside::Wins, Outside::Hold] {
        let mut rules = Setup::default().rules;
        rules.assignment.outside = outside;
        let (mut known, mut ahead) = (HashSet::new(), VecDeque::from([World::begin()]));
        while let Some(world) = ahead.pop_front().filter(|_| known.len() < STATES) {
            if !known.insert(world.name()) {
                continue;
            }
            if let Err(why) = world.is_alive(&rules) {
                panic!("{outside:?}: {why}:\n{}\n{:#?}", world.story.join("\n"), world.record);
            }
            ahead.extend(world.next(&rules).into_iter().filter(|next| !known.contains(&next.name())));
        }
        assert!(known.len() >= STATES, "{} states", known.len());
    }
}

// === before the gate ===

/// Whatever becomes contested is so for as long as somebody holds it.
#[tokio::test(start_paused = true)]
async fn a_dispute_ends_with_the_holding() {
    use crate::support::{REPO, World};
    let world = World::with(|setup| setup.rules.assignment.outside = Outside::Hold);
    world.claim("dev-1", 1).await.wins();
    world.forge.outside_assign("root", REPO, 1, &[]);
    world.add_label("dev-2", 1, "todo").await.loses("not_holder");
    world.release("dev-1", 1).await.needs_no_write();
    world.set_labels("dev-2", 1, &["todo"]).await.wins();
    world.claim("dev-2", 1).await.wins();
    world.forge.outside_assign("root", REPO, 1, &["dev-3"]);
    world.close("dev-2", 1).await.loses("contested");
    world.operator_releases(1).await.expect("it always works");
    world.forge.outside_assign("root", REPO, 1, &[]);
    world.set_labels("dev-1", 1, &["blocked"]).await.wins();
    world.claim("dev-1", 1).await.wins();
    world.log_is_sound().await;
}
