//! The constraints of a write beside its item: how many items its agent may hold, and who of a class is at work in the project.
//!
//! They are judged by the ledger, in the transaction of the step that they are for. A rule that only observes is left
//! out when it would refuse, and the write goes on without it.

use super::super::cancellation::Cancellation;
use super::super::leases::LeaseUse;
use super::super::reads::Proof;
use super::super::{Gate, LaneError, Turn, refusal};
use super::party::is_session;
use super::{EarlyExit, TurnContext, Walk};
use crate::admission::{
    AcquireLease, Bound, Constraint, ConstraintViolation, Excess, LeaseStep, Mode, Permit, Refused, Rules, Step,
};
use crate::dialect::{ReadOutcome, Request as _, Subject};
use crate::effect::{Command, Decision, Durability, LedgerError, Sending};
use crate::model::{
    Actor, Caller, Change, Code, ItemRecord, Kind, Ownership, Place, Project, ProjectLease, Rejection, ResourceKey,
    Time,
};
use futures_util::{StreamExt as _, stream};
use std::time::Duration;

/// What a new item may be made under.
pub(super) struct CreationPermit {
    /// Keeps other creations of the agent out until its holding is in the ledger.
    pub(super) turn: Option<Turn>,
    /// What a rule that only observes would have said.
    pub(super) observed: Option<Code>,
    /// The project, where the creation has taken it: given back if nothing is made.
    pub(super) lease: Option<LeaseUse>,
}

/// A step, with what must hold for it.
pub(in crate::gate) struct ConstrainedStep {
    pub(in crate::gate) constraints: Vec<Constraint>,
    /// That the item is as it was judged.
    pub(in crate::gate) confirm: Command,
    pub(in crate::gate) command: Command,
}

/// Steps that were carried out under their constraints.
pub(in crate::gate) struct Committed {
    /// The records after each.
    pub(in crate::gate) records: Vec<ItemRecord>,
    /// What a rule that only observes would have refused with.
    pub(in crate::gate) observed: Option<Code>,
    /// What was taken for them.
    pub(in crate::gate) lease: LeaseUse,
}

/// Items that a refusal names; of more it says how many.
const MOST_NAMED: usize = 10;
const READS_AT_ONCE: usize = 5;

// === impl CreationPermit ===

impl CreationPermit {
    pub(super) fn decision(&self) -> Decision {
        if self.observed.is_some() { Decision::Observe } else { Decision::Admit }
    }
}

// === of an item ===

impl Walk {
    /// What must hold beside the record of an item. A session that nobody knows is no agent of any class.
    pub(super) fn constraints_of(
        &self,
        at: &TurnContext<'_>,
        locator: &Place,
        change: &Change,
        (kind, ownership): (Kind, &Ownership),
    ) -> Vec<Constraint> {
        let caller = &at.party.caller;
        let mut constraints =
            self.gate.constraints(&self.rules, caller, (kind, ownership, change), &locator.known_project());
        constraints.retain(|constraint| matches!(constraint, Constraint::Within(_)) || !is_session(&caller.actor));
        constraints
    }
}

impl Gate {
    /// What must hold beside the item's own record.
    pub(in crate::gate) fn constraints(
        &self,
        rules: &Rules,
        caller: &Caller,
        (kind, ownership, change): (Kind, &Ownership, &Change),
        project: &Project,
    ) -> Vec<Constraint> {
        if caller.overrider {
            return Vec::new();
        }
        let bounds = match ownership {
            Ownership::Becomes(actor) if !is_overrider(rules, actor) => rules.limits.bounds(actor, project),
            Ownership::Becomes(_) | Ownership::Keep | Ownership::Ends => Vec::new(),
        };
        let alone = rules.singletons.iter().filter(|rule| rule.covers(&caller.actor) && rule.acts(kind, change));
        let alone = alone.map(|rule| Constraint::Alone(self.take_by(rule, caller, project)));
        bounds.into_iter().map(Constraint::Within).chain(alone).collect()
    }

    /// Carries out steps under their constraints: all, or none.
    pub(in crate::gate) async fn commit_constrained(
        &self,
        rules: &Rules,
        steps: Vec<ConstrainedStep>,
    ) -> Result<Committed, LedgerError> {
        self.constrained(rules, steps, None).await.map(|(committed, _)| committed)
    }

    /// T2: the same of writes that are sent then.
    pub(in crate::gate) async fn begin_sending(
        &self,
        rules: &Rules,
        steps: Vec<ConstrainedStep>,
        permits: Vec<Permit>,
    ) -> Result<(Committed, Sending), LedgerError> {
        match self.constrained(rules, steps, Some(permits)).await? {
            (committed, Some(sending)) => Ok((committed, sending)),
            (_, None) => unreachable!("permits make a sending"),
        }
    }

    async fn constrained(
        &self,
        rules: &Rules,
        mut steps: Vec<ConstrainedStep>,
        mut permits: Option<Vec<Permit>>,
    ) -> Result<(Committed, Option<Sending>), LedgerError> {
        let mut observed = None;
        let takes = steps.iter().flat_map(|step| &step.constraints).filter_map(Constraint::take);
        let lease = self.leases.enter(takes);
        loop {
            let batch: Vec<Command> = steps.iter().flat_map(ConstrainedStep::batch).collect();
            let done = match permits.take() {
                Some(given) => match Sending::begin(&*self.ports.ledger, batch, given).await {
                    Ok((records, sending)) => Ok((records, Some(sending))),
                    Err((error, back)) => {
                        permits = Some(back);
                        Err(error)
                    }
                },
                None => self.ports.ledger.commit(batch, Durability::Awaited).await.map(|records| (records, None)),
            };
            match done {
                Ok((records, sending)) => {
                    if !lease.is_empty() {
                        let times: Vec<Time> = steps.iter().map(|step| step.command.now).collect();
                        lease.taken(&self.ports.ledger.leases().await.unwrap_or_default(), &times);
                    }
                    let records = of_steps(&steps, records);
                    return Ok((Committed { records, observed, lease }, sending));
                }
                Err(LedgerError::Refused(Refused::Violated(violation))) if mode(rules, &violation) == Mode::Observe => {
                    let code = *observed.get_or_insert(code(&violation));
                    for ConstrainedStep { constraints, command, .. } in &mut steps {
                        let before = constraints.len();
                        constraints.retain(|constraint| !constraint.is(&violation));
                        if let (true, Some(note)) = (constraints.len() < before, &mut command.note) {
                            (note.decision, note.code) = (Decision::Observe, note.code.or(Some(code)));
                        }
                    }
                }
                Err(error) => {
                    self.give_back(lease).await;
                    return Err(error);
                }
            }
        }
    }

    /// Whether the rule that is in the way refuses, or only observes.
    pub(in crate::gate) fn enforces(rules: &Rules, violation: &ConstraintViolation) -> bool {
        mode(rules, violation) == Mode::Enforce
    }

    /// What is said where a constraint does not hold, to somebody who may see the project. Of items it is told how many there
    /// are, and which these are.
    pub(in crate::gate) fn refused_by(violation: &ConstraintViolation, locator: &Place, named: &[Place]) -> Rejection {
        match violation {
            ConstraintViolation::Limit(excess) => limit_reached(excess, locator, named),
            ConstraintViolation::Singleton(held_lease) => singleton_busy(held_lease, locator),
        }
    }

    /// The write did not come about: its agent is not at work by it.
    pub(in crate::gate) async fn give_back(&self, lease: LeaseUse) {
        for step in lease.give_back() {
            if let Err(error) = self.ports.ledger.change_lease(step, self.ports.clock.now()).await {
                tracing::warn!(ledger.error = %error, "a project that a refused write had taken was not given back");
            }
        }
    }
}

impl ConstrainedStep {
    /// The step after what must hold for it.
    fn batch(&self) -> Vec<Command> {
        let require = |constraint| Command { step: Step::Check(constraint), note: None, ..self.command.clone() };
        let constraints = self.constraints.iter().cloned().map(require);
        [self.confirm.clone()].into_iter().chain(constraints).chain([self.command.clone()]).collect()
    }
}

/// The records after the steps themselves, of those after each command of their batch.
fn of_steps(steps: &[ConstrainedStep], records: Vec<ItemRecord>) -> Vec<ItemRecord> {
    let mut records = records.into_iter();
    steps.iter().filter_map(|step| records.nth(step.constraints.len() + 1)).collect()
}

// === what a refusal may name ===

impl Walk {
    pub(super) async fn refused_by(
        &self,
        caller: &Caller,
        violation: &ConstraintViolation,
        locator: &Place,
    ) -> Rejection {
        let named = match violation {
            ConstraintViolation::Limit(excess) if excess.bound.actor.account == caller.actor.account => {
                self.shown_to_caller(&excess.held).await
            }
            // Another's items, perhaps private ones.
            ConstraintViolation::Limit(_) | ConstraintViolation::Singleton(_) => Vec::new(),
        };
        Gate::refused_by(violation, locator, &named)
    }

    /// The first of these items that the tracker shows to this credential: a second token of one account may see less.
    async fn shown_to_caller(&self, items: &[Place]) -> Vec<Place> {
        let shown = |item: &Place| {
            let item = item.clone();
            async move { self.is_shown(&item).await.then_some(item) }
        };
        let each: Vec<_> = items.iter().take(MOST_NAMED).map(shown).collect();
        stream::iter(each).buffered(READS_AT_ONCE).filter_map(std::future::ready).collect().await
    }

    async fn is_shown(&self, item: &Place) -> bool {
        if self.gate.reads.may_share_at(self.print(), item, self.ask.arrived).await {
            return true;
        }
        let Some(address) = self.gate.address_of(item) else { return false };
        let dialect = &self.gate.ports.dialect;
        let answer = self.gate.ports.upstream.read(dialect.observe(&address, &self.ask.credential)).await;
        answer.is_ok_and(|(response, _)| matches!(dialect.read(&address, &response), ReadOutcome::Item(_)))
    }
}

fn is_overrider(rules: &Rules, actor: &Actor) -> bool {
    actor.account.login().is_some_and(|login| rules.is_overrider(login))
}

// === of a new item ===

impl Walk {
    /// Whether a new item may be made. It has no turn in the ledger before it is there: a limit is looked at before the
    /// send, with the agent's other creations kept waiting until this one's holding is recorded. A review is no item.
    ///
    /// Nothing cancels it once it is permitted: nobody would learn of the new item, and who repeats the request would have
    /// two.
    pub(super) async fn permit_to_create(
        &self,
        caller: &Caller,
        cancellation: &Cancellation,
    ) -> Result<CreationPermit, EarlyExit> {
        let locator = self.request().locator();
        let mut permit = CreationPermit { turn: None, observed: None, lease: None };
        let mut constraints = match (self.request().subject(), self.request().change()) {
            (Subject::New(project), Some(change)) => {
                let ownership = self.ownership_of_new(caller);
                self.gate.constraints(&self.rules, caller, (Kind::Create, &ownership, change), &project)
            }
            _ => Vec::new(),
        };
        let mut names = true;
        if constraints.iter().any(|constraint| constraint.take().is_some()) {
            names = self.expect_project(&mut constraints).await?;
        }
        let bound = constraints.iter().find_map(|constraint| match constraint {
            Constraint::Within(bound) => Some(bound),
            Constraint::Alone(_) => None,
        });
        if let Some(bound) = bound {
            permit.turn = Some(self.turn_to_create(bound, &locator).await?);
        }
        loop {
            match self.hold_before(&constraints).await {
                Ok(taken) => {
                    permit.lease = taken;
                    if let Err(stop) = self.commit(cancellation) {
                        self.give_back(&mut permit).await;
                        return Err(stop);
                    }
                    return Ok(permit);
                }
                Err(LedgerError::Refused(Refused::Violated(violation)))
                    if mode(&self.rules, &violation) == Mode::Observe =>
                {
                    permit.observed.get_or_insert(code(&violation));
                    constraints.retain(|constraint| !constraint.is(&violation));
                }
                Err(LedgerError::Refused(Refused::Violated(violation))) => {
                    let rejection = self.refused_by(caller, &violation, &locator).await;
                    return Err(EarlyExit::Refuse(Box::new(if names {
                        rejection
                    } else {
                        nameless(rejection, &violation)
                    })));
                }
                Err(error) => return Err(EarlyExit::Refuse(refusal::no_ledger(&locator, &error.to_string()))),
            }
        }
    }

    /// Who is at work in a project is told to those who may see what is to be made there; and nobody else takes it.
    ///
    /// Whether it may be told: it is not where the tracker shows the project, and nothing of that kind in it.
    async fn expect_project(&self, constraints: &mut Vec<Constraint>) -> Result<bool, EarlyExit> {
        let (at, kind, credential) = (self.request().locator(), self.request().kind_made(), &self.ask.credential);
        let Some(project) = at.project() else { return Ok(false) };
        match self.gate.prove_kind(project, kind, credential, self.ask.arrived).await {
            Proof::Shown => Ok(true),
            Proof::Empty => Ok(false),
            Proof::Denied(response) => Err(self.tracker_denies(*response)),
            // The tracker redirects the creation too, and makes nothing here.
            Proof::Moved => {
                constraints.retain(|constraint| constraint.take().is_none());
                Ok(false)
            }
            Proof::Unreadable(why) => Err(EarlyExit::Refuse(refusal::unreadable(&self.request().locator(), &why))),
        }
    }

    /// Nothing was made: who is at work is as before.
    pub(super) async fn give_back(&self, permit: &mut CreationPermit) {
        if let Some(lease) = permit.lease.take() {
            self.gate.give_back(lease).await;
        }
    }

    /// Whether the constraints hold; if one does not, nobody is at work who was not before.
    async fn hold_before(&self, constraints: &[Constraint]) -> Result<Option<LeaseUse>, LedgerError> {
        for constraint in constraints {
            if let Constraint::Within(bound) = constraint {
                self.is_within(bound).await?;
            }
        }
        let takes: Vec<AcquireLease> = constraints.iter().filter_map(Constraint::take).cloned().collect();
        if takes.is_empty() {
            return Ok(None);
        }
        let (lease, now) = (self.gate.leases.enter(takes.iter()), self.gate.ports.clock.now());
        match self.gate.ports.ledger.change_lease(LeaseStep::Acquire(takes), now).await {
            Ok(held_leases) => {
                lease.taken(&held_leases, &[now]);
                Ok(Some(lease))
            }
            Err(error) => {
                self.gate.give_back(lease).await;
                Err(error)
            }
        }
    }

    /// A new item is its creator's if it is the only assignee.
    fn ownership_of_new(&self, caller: &Caller) -> Ownership {
        let assignees =
            self.request().change().and_then(|change| change.assignees.as_ref()).map(|change| change.apply(&[].into()));
        let own = caller.actor.account.login();
        match assignees {
            Some(names) if names.len() == 1 && names.first() == own => Ownership::Becomes(caller.actor.clone()),
            Some(_) | None => Ownership::Keep,
        }
    }

    async fn turn_to_create(&self, bound: &Bound, locator: &Place) -> Result<Turn, EarlyExit> {
        // No tracker's id of an item looks like this.
        let key = ResourceKey::new(&format!("creations of {}", bound.actor.account).to_lowercase());
        self.gate.lanes.enter(&key, self.gate.boot_clock()).await.map_err(|error| {
            let message = match error {
                LaneError::Full => "too many creations of the same agent are waiting; try again",
                LaneError::Late => "other creations of the same agent took too long; try again",
            };
            let message = format!("{}: {message}", locator.project_name());
            EarlyExit::Refuse(refusal::retry(Code::LaneTimeout, locator, message, Duration::from_secs(1)))
        })
    }

    async fn is_within(&self, bound: &Bound) -> Result<(), LedgerError> {
        let items = self.gate.ports.ledger.of_account(&bound.actor.account).await?;
        let new = ItemRecord::new(ResourceKey::new("new"), self.request().locator());
        bound
            .judge(&new, &items, self.gate.ports.clock.now())
            .map_err(|excess| Refused::Violated(Box::new(ConstraintViolation::Limit(*excess))).into())
    }
}

// === what is told ===

fn mode(rules: &Rules, violation: &ConstraintViolation) -> Mode {
    match violation {
        ConstraintViolation::Limit(_) => rules.limits.mode,
        ConstraintViolation::Singleton(held_lease) => {
            rules.singletons.iter().find(|rule| rule.name == held_lease.rule).map_or(Mode::Enforce, |rule| rule.mode)
        }
    }
}

fn code(violation: &ConstraintViolation) -> Code {
    match violation {
        ConstraintViolation::Limit(_) => Code::LimitReached,
        ConstraintViolation::Singleton(_) => Code::SingletonBusy,
    }
}

fn limit_reached(excess: &Excess, locator: &Place, told: &[Place]) -> Rejection {
    let Excess { bound, held } = excess;
    let (key, place) = match &bound.within {
        Some(project) => ("limits.items_per_repository", format!("in {project}")),
        None => ("limits.items", "in all".to_owned()),
    };
    let mut items: Vec<String> = told.iter().map(ToString::to_string).collect();
    if !items.is_empty() && held.len() > items.len() {
        items.push(format!("and {} more", held.len() - items.len()));
    }
    let items = if items.is_empty() { String::new() } else { format!(": {}", items.join(", ")) };
    let message = format!(
        "{locator}: {} holds {} items {place}, and may hold {} ({key}){items}; finish or release one of them first",
        bound.actor,
        held.len(),
        bound.most,
    );
    let mut rejection = *refusal::plain(Code::LimitReached, locator, message);
    rejection.expected = format!("fewer than {} items held {place}", bound.most);
    rejection
}

fn singleton_busy(held_lease: &ProjectLease, locator: &Place) -> Rejection {
    let ProjectLease { rule, project, actor, since, until, .. } = held_lease;
    let message = format!(
        "{locator}: {actor} is at work in {project} since {} (singleton {rule}), and one agent of its class works there \
         at a time; unless it is heard of again, that ends at {}",
        clock(*since),
        clock(*until)
    );
    let mut rejection = *refusal::plain(Code::SingletonBusy, locator, message);
    rejection.expected = format!("no other agent of singleton {rule} at work in {project}");
    (rejection.holder, rejection.since) = (Some(actor.clone()), Some(*since));
    rejection
}

/// The same refusal to somebody who may not be told who it is.
fn nameless(rejection: Rejection, violation: &ConstraintViolation) -> Rejection {
    let ConstraintViolation::Singleton(held_lease) = violation else { return rejection };
    let locator = rejection.resource.as_ref().map_or_else(String::new, ToString::to_string);
    let message =
        format!("{locator}: another agent of singleton {} is at work there; try again later", held_lease.rule);
    Rejection { message, holder: None, since: None, ..rejection }
}

/// To the second: for people and agents.
fn clock(time: Time) -> String {
    crate::effect::audit::rfc3339(Time(time.0 - time.0.rem_euclid(1_000_000))).replace(".000000", "")
}
