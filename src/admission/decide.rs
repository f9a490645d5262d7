//! The decision over one guarded write of one item.
//!
//! The order is part of the contract (manual: protocol, step 5): the outside edit
//! was judged before; then held by another; already so; expected state. Assignees
//! come first, here; labels and state after them, in `moves`. A rule that refuses
//! in observe mode admits, and says what it would have said.

use super::outside::is_zombie;
use super::rules::NO_STATUS;
use super::{By, GrantWithoutSend, Mode, Outside, Permit, Plan, Rules, Verdict};
use crate::model::{
    Account, Actor, Caller, Code, Goal, Holding, ItemRecord, Kind, Ownership, Principal, Reach, Rejection, SetChange,
    Snapshot, Status, Tag, Time,
};
use std::collections::BTreeSet;

/// All that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct DecisionInput<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// Who asks.
    pub caller: &'a Caller,
    /// What for.
    pub change: &'a crate::model::Change,
    /// Whether the request asks for more than that, such as another title: then it cannot be answered without a send.
    pub asks_more: bool,
    /// What the ledger knows of the item.
    pub record: &'a ItemRecord,
    /// The item as the tracker shows it.
    pub seen: &'a Snapshot,
    /// The labels that the item could carry, as far as the change names any that it does not.
    pub labels: &'a [Tag],
    /// The time.
    pub now: Time,
}

type DecisionResult = Result<Verdict, Box<Rejection>>;
/// What a write means for the holding.
pub(super) type OwnershipEffect = (Kind, Ownership);

/// Decides. The second value is the code that an observing rule would have refused with.
pub fn decide(input: &DecisionInput<'_>) -> (Verdict, Option<Code>) {
    let workflow = &input.rules.workflow;
    let (permit, observed) = match input.judge_assignees() {
        Ok(Verdict::Admit(permit)) => (permit, None),
        Ok(verdict) => return (verdict, None),
        Err(rejection) if input.rules.assignment.mode == Mode::Observe => {
            (input.permit(input.unruled()), Some(rejection.code))
        }
        Err(rejection) => return (Verdict::Reject(*rejection), None),
    };
    if input.caller.overrider {
        return (Verdict::Admit(permit), observed);
    }
    match input.judge_moves(permit.plan()) {
        Ok(meaning) => {
            let permit = meaning.map_or(permit, |meaning| input.permit(meaning));
            (input.spare(permit), observed)
        }
        Err(rejection) if workflow.mode == Mode::Observe => (Verdict::Admit(permit), observed.or(Some(rejection.code))),
        Err(rejection) => (Verdict::Reject(*rejection), None),
    }
}

// === impl DecisionInput ===

impl DecisionInput<'_> {
    fn judge_assignees(&self) -> DecisionResult {
        let Some(assignees) = &self.change.assignees else { return Ok(self.admit(Kind::Move, Ownership::Keep)) };
        if self.caller.overrider {
            return Ok(Verdict::Admit(self.permit(self.unruled())));
        }
        let after = assignees.apply(&self.seen.assignees);
        if after.is_empty() { self.release(assignees) } else { self.assign(&after) }
    }

    // === clearing ===

    fn release(&self, asked: &SetChange<Account>) -> DecisionResult {
        match &self.record.holding {
            Some(holding) if holding.actor.goes_on_as(&self.caller.actor) => Ok(self.release_own(holding)),
            Some(holding) if holding.parked => Ok(self.clear(Ownership::Ends)),
            Some(_) if self.rules.assignment.release_by == By::Anyone => Ok(self.clear(Ownership::Ends)),
            Some(holding) => Err(self.not_holder(holding, asked)),
            None if self.seen.assignees.is_empty() || self.may_clear_foreign() => Ok(self.clear(Ownership::Keep)),
            None => Err(self.foreign(Code::NotHolder, "only that account, or an overrider, may clear it")),
        }
    }

    /// Never refused, contested or not: its own assignee shown: clear it; anything else: end the holding, send nothing.
    fn release_own(&self, holding: &Holding) -> Verdict {
        let own_shown = match self.caller.actor.account.login() {
            Some(login) => self.seen.assignees.len() == 1 && self.seen.assignees.contains(login),
            None => !self.seen.assignees.is_empty() && self.seen.assignees == holding.last_seen.assignees,
        };
        if self.calls_for_a_send(own_shown) {
            return self.admit(Kind::Release, Ownership::Ends);
        }
        Verdict::Noop(GrantWithoutSend { kind: Kind::Release, ownership: Ownership::Ends })
    }

    /// Whether a send is called for: what shows is one's own, or the request changes more than the assignees.
    fn calls_for_a_send(&self, own_shown: bool) -> bool {
        own_shown || (self.seen.assignees.is_empty() && !self.only_assignees())
    }

    fn clear(&self, ownership: Ownership) -> Verdict {
        if self.seen.assignees.is_empty() && self.only_assignees() {
            return Verdict::Noop(GrantWithoutSend { kind: Kind::Release, ownership });
        }
        self.admit(Kind::Release, ownership)
    }

    /// A foreign claim is its own account's to clear. Outside every working status it is treated as parked: the
    /// backlog keepers of `agent-flows.md` clear assignees that were there before the gate was. Whom somebody outside the
    /// gate gave a held item to, keeps it.
    pub(super) fn may_clear_foreign(&self) -> bool {
        let own = self.caller.actor.account.login().is_some_and(|login| self.seen.assignees.contains(login));
        own || (!self.is_working() && !self.record.reassigned)
    }

    // === assigning ===

    fn assign(&self, after: &BTreeSet<Account>) -> DecisionResult {
        if let Some(holding) = self.record.held_by_another(&self.caller.actor) {
            return self.assign_over(holding, after);
        }
        self.within_limits(after)?;
        match &self.record.holding {
            Some(holding) => self.assign_own(holding, after),
            None => self.assign_free(after),
        }
    }

    /// Held by another: refused, unless the holding no longer excludes.
    fn assign_over(&self, holding: &Holding, after: &BTreeSet<Account>) -> DecisionResult {
        let silent = |limit| self.now.since(holding.renewed) > limit;
        if self.rules.assignment.takeover_after.is_some_and(silent) && self.claims_for_self(after) {
            self.within_limits(after)?;
            return Ok(self.admit(Kind::TakeOver, self.the_caller()));
        }
        if holding.parked && self.seen.assignees.is_empty() {
            self.within_limits(after)?;
            return self.assign_free(after);
        }
        Err(self.held(holding))
    }

    fn assign_own(&self, holding: &Holding, after: &BTreeSet<Account>) -> DecisionResult {
        self.undisputed()?;
        match self.claims_for_self(after) {
            true if *after == self.seen.assignees && self.only_assignees() => {
                let ownership = if holding.parked { self.the_caller() } else { Ownership::Keep };
                Ok(Verdict::Noop(GrantWithoutSend { kind: Kind::Claim, ownership }))
            }
            true => Ok(self.admit(Kind::Claim, self.the_caller())),
            false => Ok(self.admit(Kind::HandOver, Ownership::Becomes(first_of(after)))),
        }
    }

    fn assign_free(&self, after: &BTreeSet<Account>) -> DecisionResult {
        let own_doubt = !self.record.doubts.is_empty();
        match (self.seen.assignees.is_empty(), self.claims_for_self(after)) {
            (true, true) => self.claim(),
            (true, false) if self.rules.assignment.assign_others => {
                Ok(self.admit(Kind::HandOver, Ownership::Becomes(first_of(after))))
            }
            (true, false) => Err(self.refuse(
                Code::NotHolder,
                "an agent assigns itself; handing an item over is for its holder",
                "the caller's own account as the only assignee",
            )),
            // With its own doubt the target may show already: the same value may be sent again.
            (false, true) if own_doubt && *after == self.seen.assignees => self.claim(),
            (false, true) if *after == self.seen.assignees => self.adopt(),
            (false, _) => Err(self.foreign(Code::AlreadyAssigned, "pick another item")),
        }
    }

    fn claim(&self) -> DecisionResult {
        self.expect_status()?;
        Ok(self.admit(Kind::Claim, self.the_caller()))
    }

    /// Whether the item stands where it may be claimed from.
    pub(super) fn expect_status(&self) -> Result<(), Box<Rejection>> {
        let expected = &self.rules.assignment.expect_status;
        let statuses = self.rules.workflow.shown(self.seen).statuses;
        let none = statuses.is_empty() && expected.contains(&Status::new(NO_STATUS));
        let state = expected.contains(&Status::new(self.seen.state.as_str()));
        if expected.is_empty() || none || state || statuses.iter().any(|status| expected.contains(status)) {
            return Ok(());
        }
        let names: Vec<&str> = expected.iter().map(Status::as_str).collect();
        let names = names.join(" or ");
        let why = format!("it may be claimed from {names}, and there is {}; pick another item", self.stands());
        Err(self.refuse(Code::WrongSourceState, &why, &format!("nobody assigned, status {names}")))
    }

    /// The account's own assignee without a holding: it becomes one, unless a late write of the gate's own put it there.
    fn adopt(&self) -> DecisionResult {
        let opaque = matches!(self.caller.actor.account, Principal::Opaque(_));
        match () {
            () if opaque => Err(self.foreign(Code::AlreadyAssigned, "pick another item")),
            () if self.landed_late() => Err(self.late_landing()),
            () if self.only_assignees() => {
                Ok(Verdict::Noop(GrantWithoutSend { kind: Kind::Adopt, ownership: self.the_caller() }))
            }
            () => Ok(self.admit(Kind::Adopt, self.the_caller())),
        }
    }

    fn within_limits(&self, after: &BTreeSet<Account>) -> Result<(), Box<Rejection>> {
        let most = self.rules.assignment.max_assignees;
        if after.len() <= most {
            return Ok(());
        }
        let message = format!("at most {most} may be assigned, this would make {}; name fewer", after.len());
        Err(self.refuse(Code::MultipleAssignees, &message, &format!("at most {most} assigned")))
    }

    /// What need not be sent. A claim must be: whether the caller may write at all, only the tracker knows.
    fn spare(&self, permit: Permit) -> Verdict {
        let plan = permit.plan();
        if plan.ownership == Ownership::Keep && self.is_spared() {
            return Verdict::Noop(GrantWithoutSend { kind: plan.kind, ownership: Ownership::Keep });
        }
        Verdict::Admit(permit)
    }

    /// Labels and states alone that show already. What becomes of a label that is not known here, and what an own write
    /// in doubt may have left, is the tracker's to say.
    pub(super) fn is_spared(&self) -> bool {
        let moves_alone = self.change.assignees.is_none() && !self.asks_more;
        moves_alone && self.shows_already() && self.record.doubts.is_empty()
    }

    // === helpers ===

    pub(super) fn is_working(&self) -> bool {
        self.rules.workflow.is_working(&self.rules.workflow.shown(self.seen))
    }

    /// Whether the caller's own assignee is a late write of the gate's own.
    pub(super) fn landed_late(&self) -> bool {
        let mut free = self.rules.workflow.shown(self.seen);
        free.assignees.clear();
        is_zombie(self.record, &free, self.seen, self.rules, self.now)
    }

    /// Where outside edits do not win, one that was seen keeps a held item as it is.
    pub(super) fn undisputed(&self) -> Result<(), Box<Rejection>> {
        let contested = self.record.contested && self.record.holding.is_some();
        if contested && self.rules.assignment.outside == Outside::Hold {
            return Err(self.contested("the holder's release or an operator decides"));
        }
        Ok(())
    }

    /// Whether the request is about the assignees alone; other guarded fields, where named, already show.
    fn only_assignees(&self) -> bool {
        let rest = crate::model::Change { assignees: None, ..self.change.clone() };
        !self.asks_more && rest.goal(self.seen).reach(self.seen) == Reach::Full
    }

    /// An opaque account may name one assignee, whose name nobody can check.
    fn claims_for_self(&self, after: &BTreeSet<Account>) -> bool {
        match self.caller.actor.account.login() {
            Some(login) => after.contains(login),
            None => after.len() == 1,
        }
    }

    pub(super) fn the_caller(&self) -> Ownership {
        Ownership::Becomes(self.caller.actor.clone())
    }

    fn admit(&self, kind: Kind, ownership: Ownership) -> Verdict {
        Verdict::Admit(self.permit((kind, ownership)))
    }

    fn permit(&self, (kind, ownership): OwnershipEffect) -> Permit {
        let status_before = self.rules.workflow.statuses(&self.seen.labels);
        let silent = self.record.holding.as_ref().filter(|_| kind == Kind::TakeOver);
        let (goal, heard) = (Goal { status_before, ..self.change.goal(self.seen) }, silent.map(|held| held.renewed));
        Permit::new(Plan { kind, goal, ownership, heard })
    }

    /// What the write means where no rule judges it: for overriders, and for rules that only observe.
    fn unruled(&self) -> OwnershipEffect {
        let Some(assignees) = &self.change.assignees else { return (Kind::Move, Ownership::Keep) };
        let after = assignees.apply(&self.seen.assignees);
        let holder = self.record.holding.as_ref().and_then(|holding| holding.actor.account.login());
        match holder {
            _ if after.is_empty() => (Kind::Release, Ownership::Ends),
            Some(login) if after.contains(login) => (Kind::Claim, Ownership::Keep),
            _ if self.claims_for_self(&after) => (Kind::Claim, self.the_caller()),
            _ => (Kind::HandOver, Ownership::Becomes(first_of(&after))),
        }
    }

    // === refusals ===

    /// Where the item stands, for a sentence.
    pub(super) fn stands(&self) -> String {
        self.rules.workflow.shown(self.seen).to_string()
    }

    pub(super) fn held(&self, holding: &Holding) -> Box<Rejection> {
        let advice = self.advice(holding).unwrap_or("pick another item");
        let message = format!("{} is held by {holding}; {advice}", self.seen.locator);
        self.rejection(Code::AlreadyAssigned, message, "nobody assigned", Some(holding))
    }

    /// What whoever may be the holder, and cannot be told to be, is to do.
    fn advice(&self, holding: &Holding) -> Option<&'static str> {
        let caller = &self.caller.actor;
        let is_opaque = |actor: &Actor| matches!(actor.account, Principal::Opaque(_));
        match () {
            () if caller.lacks_the_name_of(&holding.actor) => Some(NAME_YOURSELF),
            () if is_opaque(&holding.actor) && is_opaque(caller) => Some(OTHER_TOKEN),
            () => None,
        }
    }

    fn not_holder(&self, holding: &Holding, asked: &SetChange<Account>) -> Box<Rejection> {
        let what = match asked {
            SetChange::Remove(_) => "unassign",
            SetChange::Replace(_) | SetChange::Add(_) => "release",
        };
        let only = format!("only the holder may {what} it");
        let advice = self.advice(holding).map_or(only.clone(), |advice| format!("{only}; {advice}"));
        let message = format!("{} is held by {holding}; {advice}", self.seen.locator);
        self.rejection(Code::NotHolder, message, "the caller holds the item", Some(holding))
    }

    pub(super) fn foreign(&self, code: Code, advice: &str) -> Box<Rejection> {
        let names: Vec<&str> = self.seen.assignees.iter().map(Account::as_str).collect();
        let message = format!("{} is assigned to {}; {advice}", self.seen.locator, names.join(", "));
        self.rejection(code, message, "nobody assigned", None)
    }

    pub(super) fn late_landing(&self) -> Box<Rejection> {
        self.contested("a write of yours landed late: clear the assignee, then claim again")
    }

    fn contested(&self, advice: &str) -> Box<Rejection> {
        let message = format!("{} was changed by a write that did not pass the gate; {advice}", self.seen.locator);
        self.rejection(Code::Contested, message, "no outside edit", self.record.holding.as_ref())
    }

    pub(super) fn refuse(&self, code: Code, why: &str, expected: &str) -> Box<Rejection> {
        self.rejection(code, format!("{}: {why}", self.seen.locator), expected, self.record.holding.as_ref())
    }

    /// How the caller lost the item, if it was its own before.
    fn loss(&self) -> Option<String> {
        let loss = self.record.lost.as_ref().filter(|loss| loss.actor.goes_on_as(&self.caller.actor))?;
        Some(format!("you lost it at {}: {}", loss.at, loss.cause))
    }

    pub(super) fn rejection(
        &self,
        code: Code,
        message: String,
        expected: &str,
        holding: Option<&Holding>,
    ) -> Box<Rejection> {
        let message = match self.loss() {
            Some(loss) => format!("{message}; {loss}"),
            None => message,
        };
        Box::new(Rejection {
            code,
            resource: Some(self.seen.locator.clone()),
            expected: expected.to_owned(),
            observed: Some(self.rules.workflow.shown(self.seen)),
            holder: holding.map(|holding| holding.actor.clone()),
            since: holding.map(|holding| holding.since),
            message,
            retry_after: None,
            of_item: false,
        })
    }
}

const NAME_YOURSELF: &str = "this request names no agent, and so is another than that one: if it is yours, name yourself \
    (base URL /as/<agent>/, or the header Claimgate-Agent); else pick another item";
const OTHER_TOKEN: &str = "the gate does not know whose either token is: if it was yours, send the token that claimed it, or \
    one that may ask whose it is (scope read:user), or ask the operator for `claimgate release`; else pick another item";

fn first_of(after: &BTreeSet<Account>) -> Actor {
    let login = after.first().cloned().unwrap_or_else(|| Account::new(""));
    Actor { account: Principal::Named(login), instance: None }
}
