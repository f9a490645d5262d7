//! How many items one agent may hold at once.
//!
//! The counting is here, the items are the ledger's: it judges a [`Bound`] inside the transaction that makes a write
//! SENDING or grants it, so that claims of different items cannot pass it side by side. What counts is an item that the
//! agent holds and has not parked, and one that a write of it which is sent or in doubt would make it hold; a doubt past
//! its time counts for nothing.

use super::Mode;
use crate::model::{Actor, AttemptState, Doubt, ItemRecord, Ownership, Place, Project, Time};

/// The limits of every agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingLimits {
    /// Enforce or observe.
    pub mode: Mode,
    /// Items in all; 0: no limit.
    pub items: usize,
    /// Items in one repository; 0: no limit.
    pub items_per_repository: usize,
    /// Whose items are counted together.
    pub of: Whose,
}

/// Whose items are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of one agent: an account, and the instance where one is named.
    Agent,
    /// Those of all agents behind one account.
    Account,
}

/// One limit, as it applies to one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Who would hold the item.
    pub actor: Actor,
    /// Whose items are counted.
    pub of: Whose,
    /// In this repository only; `None`: in all.
    pub within: Option<Project>,
    /// How many there may be.
    pub most: usize,
}

/// A limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The limit.
    pub bound: Bound,
    /// What counts already, in order.
    pub held: Vec<Place>,
}

// === impl HoldingLimits ===

impl HoldingLimits {
    /// None at all.
    pub fn none() -> Self {
        Self { mode: Mode::Enforce, items: 0, items_per_repository: 0, of: Whose::Agent }
    }

    /// The limits that apply when this agent is to hold an item of this project.
    pub fn bounds(&self, actor: &Actor, project: &Project) -> Vec<Bound> {
        let limits = [(self.items, None), (self.items_per_repository, Some(project.clone()))];
        let set = limits.into_iter().filter(|(most, _)| *most > 0);
        set.map(|(most, within)| Bound { actor: actor.clone(), of: self.of, within, most }).collect()
    }
}

// === impl Bound ===

impl Bound {
    /// Whether the agent may hold `item` too, given all other items that may count. One that counts already is not
    /// counted again, however many there are.
    pub fn judge<'a>(
        &self,
        item: &ItemRecord,
        others: impl IntoIterator<Item = &'a ItemRecord>,
        now: Time,
    ) -> Result<(), Box<Excess>> {
        if self.holds(item) || self.awaits(item, now) {
            return Ok(());
        }
        let others = others.into_iter().filter(|other| other.key != item.key && self.counts(other, now));
        let mut held: Vec<Place> = others.map(|other| other.locator.clone()).collect();
        if held.len() < self.most {
            return Ok(());
        }
        held.sort();
        Err(Box::new(Excess { bound: self.clone(), held }))
    }

    fn counts(&self, item: &ItemRecord, now: Time) -> bool {
        let here = self.within.as_ref().is_none_or(|project| item.locator.is_in(project));
        here && (self.holds(item) || self.awaits(item, now) || self.is_sending(item))
    }

    fn holds(&self, item: &ItemRecord) -> bool {
        item.holding.as_ref().is_some_and(|held| !held.parked && self.is_of(&held.actor))
    }

    fn awaits(&self, item: &ItemRecord, now: Time) -> bool {
        item.is_in_doubt(now) && item.doubts.iter().any(|Doubt { ownership, .. }| self.gives(ownership))
    }

    fn is_sending(&self, item: &ItemRecord) -> bool {
        let sending = item.live.as_ref().filter(|live| live.state == AttemptState::Sending);
        sending.is_some_and(|live| self.gives(&live.ownership))
    }

    fn gives(&self, ownership: &Ownership) -> bool {
        matches!(ownership, Ownership::Becomes(actor) if self.is_of(actor))
    }

    fn is_of(&self, actor: &Actor) -> bool {
        match self.of {
            Whose::Agent => actor.goes_on_as(&self.actor),
            Whose::Account => actor.account == self.actor.account,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Account, Attempt, AttemptId, Change, Epoch, Fence, Fingerprint, GateId, Goal, Holding, Instance, OpenState,
        Principal, ResourceKey, Shown, Time,
    };
    use std::collections::BTreeSet;

    /// `dev`, or `dev@one`.
    fn agent(name: &str) -> Actor {
        let (login, instance) = name.split_once('@').map_or((name, None), |(login, one)| (login, Some(one)));
        Actor { account: Principal::Named(Account::new(login)), instance: instance.map(Instance::new) }
    }

    /// What becomes of item `n` of `a/b` (from 10 on: of `c/d`), said as a line of the rule book says it.
    fn item(n: u64, what: &str) -> ItemRecord {
        let (owner, repo) = if n < 10 { ("a", "b") } else { ("c", "d") };
        let mut record = ItemRecord::new(
            ResourceKey::new(&n.to_string()),
            Place::numbered(&Project::new(&format!("{owner}/{repo}")), n),
        );
        let (who, how) = what.split_once(' ').expect("who, and how");
        let ownership = Ownership::Becomes(agent(who));
        match how {
            "holds" => record.holding = Some(holding(who, false)),
            "parked" => record.holding = Some(holding(who, true)),
            "sends a claim" => record.live = Some(live(who, AttemptState::Sending, ownership)),
            "waits to claim" => record.live = Some(live(who, AttemptState::Open, Ownership::Keep)),
            "sends a move" => record.live = Some(live(who, AttemptState::Sending, Ownership::Keep)),
            "doubts a claim" => {
                record.doubts.push(doubt(who, ownership));
                record.doubt_until = Some(Time(101));
            }
            "doubted a claim" => {
                record.doubts.push(doubt(who, ownership));
                record.doubt_until = Some(Time(100));
            }
            "doubts a release" => record.doubts.push(doubt(who, Ownership::Ends)),
            other => panic!("{other}?"),
        }
        record
    }

    fn holding(who: &str, parked: bool) -> Holding {
        let shown = Shown { assignees: BTreeSet::new(), statuses: BTreeSet::new(), state: OpenState::Open };
        let (attempt, now) = (AttemptId::new("a"), Time(0));
        Holding {
            actor: agent(who),
            since: now,
            attempt,
            fence: Fence(1),
            last_seen: shown,
            status_before_claim: BTreeSet::new(),
            parked,
            renewed: now,
            closed: None,
        }
    }

    fn live(who: &str, state: AttemptState, ownership: Ownership) -> Attempt {
        Attempt {
            id: AttemptId::new("a"),
            key: ResourceKey::new("1"),
            locator: Place::from_stored("a/b#1"),
            actor: agent(who),
            credential: Fingerprint::new(""),
            change: Change::default(),
            goal: None,
            kind: None,
            ownership,
            state,
            gate: GateId::new("g"),
            epoch: Epoch(1),
            opened: Time(0),
        }
    }

    fn doubt(who: &str, ownership: Ownership) -> Doubt {
        let (change, goal) = (Change::default(), Goal::default());
        Doubt { attempt: AttemptId::new("a"), actor: agent(who), change, goal, kind: None, ownership }
    }

    /// What dev may do next, with a limit of one item, given what is known of item 2 (or, from 10 on, of another
    /// repository), and of item 1, which it asks for.
    #[test]
    fn what_counts() {
        type Case = (&'static str, Whose, &'static [(u64, &'static str)], bool);
        let cases: [Case; 22] = [
            ("nothing is held", Whose::Agent, &[], true),
            ("one is held", Whose::Agent, &[(2, "dev holds")], false),
            ("in another spelling", Whose::Agent, &[(2, "DEV holds")], false),
            ("another's does not count", Whose::Agent, &[(2, "eve holds")], true),
            ("a parked one does not count", Whose::Agent, &[(2, "dev parked")], true),
            ("a claim under way counts", Whose::Agent, &[(2, "dev sends a claim")], false),
            ("one that only waits does not", Whose::Agent, &[(2, "dev waits to claim")], true),
            ("a move of a foreign item does not", Whose::Agent, &[(2, "dev sends a move")], true),
            ("a claim in doubt counts", Whose::Agent, &[(2, "dev doubts a claim")], false),
            ("one whose time is over does not", Whose::Agent, &[(2, "dev doubted a claim")], true),
            ("a release in doubt by itself does not", Whose::Agent, &[(2, "dev doubts a release")], true),
            ("in another repository counts in all", Whose::Agent, &[(12, "dev holds")], false),
            ("its own item again", Whose::Agent, &[(1, "dev holds"), (2, "dev holds")], true),
            ("its own doubt again", Whose::Agent, &[(1, "dev doubts a claim"), (2, "dev holds")], true),
            ("its parked item is a new one", Whose::Agent, &[(1, "dev parked"), (2, "dev holds")], false),
            ("its parked item, alone", Whose::Agent, &[(1, "dev parked")], true),
            ("an item of another", Whose::Agent, &[(1, "eve holds"), (2, "dev holds")], false),
            ("an instance that has a name is another agent", Whose::Agent, &[(2, "dev@one holds")], true),
            ("an account's instance counts", Whose::Account, &[(2, "dev@one holds")], false),
            ("another account does not", Whose::Account, &[(2, "eve holds")], true),
            ("a parked one of the account", Whose::Account, &[(2, "dev@one parked")], true),
            (
                "far over the limit, its own again",
                Whose::Account,
                &[(1, "dev holds"), (2, "dev holds"), (3, "dev holds")],
                true,
            ),
        ];
        for (case, of, known, may) in cases {
            assert_eq!(judged("dev", of, None, known).is_ok(), may, "{case}");
        }
    }

    fn judged(who: &str, of: Whose, within: Option<Project>, known: &[(u64, &str)]) -> Result<(), Box<Excess>> {
        let known: Vec<ItemRecord> = known.iter().map(|(n, what)| item(*n, what)).collect();
        let new = ItemRecord::new(ResourceKey::new("1"), Place::from_stored("a/b#1"));
        let asked = known.iter().find(|record| record.key == new.key).unwrap_or(&new);
        Bound { actor: agent(who), of, within, most: 1 }.judge(asked, &known, Time(100))
    }

    #[test]
    fn instances_are_agents_of_their_own_and_one_account() {
        let known = [(2, "dev@one holds")];
        assert!(judged("dev@two", Whose::Agent, None, &known).is_ok());
        assert!(judged("dev@one", Whose::Agent, None, &known).is_err());
        // What is held without a name may be anybody's of the account.
        assert!(judged("dev@one", Whose::Agent, None, &[(2, "dev holds")]).is_err());
        assert!(judged("dev@two", Whose::Account, None, &known).is_err());
    }

    #[test]
    fn a_limit_of_a_repository_counts_there_only() {
        let here = Some(Project::new("a/b"));
        assert!(judged("dev", Whose::Agent, here.clone(), &[(12, "dev holds")]).is_ok());
        let excess = judged("dev", Whose::Agent, here, &[(3, "dev holds"), (2, "dev holds"), (12, "dev holds")]);
        assert_eq!(excess.unwrap_err().held, [Place::from_stored("a/b#2"), Place::from_stored("a/b#3")]);
    }

    #[test]
    fn limits_that_are_off_bind_nobody() {
        let project = Project::new("a/b");
        assert!(HoldingLimits::none().bounds(&agent("dev"), &project).is_empty());
        let both = HoldingLimits { items: 5, items_per_repository: 2, ..HoldingLimits::none() };
        let bounds: Vec<_> =
            both.bounds(&agent("dev"), &project).into_iter().map(|bound| (bound.most, bound.within)).collect();
        assert_eq!(bounds, [(5, None), (2, Some(project))]);
    }
}
