//! Moves: what a write does to where an item stands, by status label, open or closed (manual: rules).
//!
//! Judged after the assignees, and on what they leave the caller to be. A label that is no status is nobody's
//! business; one that is, by the workflow: from where, to where, by whom. Setting a status that only a holder may set
//! makes a holder of the one who sets it on a free item: that is a claim, and goes to one.

use super::decide::{DecisionInput, OwnershipEffect};
use super::rules::NO_STATUS;
use super::{By, MoveRule, Plan};
use crate::model::{Code, Holding, Kind, OpenState, Ownership, Rejection, SetChange, Status, Tag, TagRef};
use std::collections::BTreeSet;

/// What the caller is to the item, once the assignees of the same request are judged.
enum Role<'a> {
    /// Its holder, or about to be.
    Holder,
    /// Nobody holds it, or not any more to the exclusion of others.
    Free,
    /// Another is at work on it; a foreign claim has no holding.
    Outsider(Option<&'a Holding>),
}

/// What a request does to where an item stands.
struct Moved {
    /// Statuses that it names to be there.
    set: BTreeSet<Status>,
    /// Statuses that it names to be gone, one by one.
    removed: BTreeSet<Status>,
    before: BTreeSet<Status>,
    after: BTreeSet<Status>,
    /// All labels are replaced: what it says of a status is only what would change.
    whole: bool,
    /// All labels are replaced, and others change: a status that stays among them says nothing.
    about_others: bool,
    /// The state that it changes to.
    state: Option<OpenState>,
}

type MoveResult<T> = Result<T, Box<Rejection>>;

// === impl DecisionInput ===

impl DecisionInput<'_> {
    /// Judges labels and state; `plan` is what the assignees of the same request were admitted to mean.
    pub(super) fn judge_moves(&self, plan: &Plan) -> MoveResult<Option<OwnershipEffect>> {
        let Some(moved) = self.moved() else { return Ok(None) };
        match self.role(plan) {
            Role::Outsider(holding) if moved.is_contained() || self.sends_a_state() => {
                Err(self.contain(&moved, holding))
            }
            Role::Outsider(_) => Ok(None),
            role => {
                if plan.kind != Kind::Release && moved.is_contained() {
                    self.undisputed()?;
                }
                self.follow(&moved, &role, plan)
            }
        }
    }

    /// What the request makes of labels and state; `None` where it names neither.
    fn moved(&self) -> Option<Moved> {
        if self.change.labels.is_none() && self.change.state.is_none() {
            return None;
        }
        let workflow = &self.rules.workflow;
        let before = workflow.statuses(&self.seen.labels);
        let mut moved = Moved {
            set: BTreeSet::new(),
            removed: BTreeSet::new(),
            after: before.clone(),
            before,
            whole: matches!(self.change.labels, Some(SetChange::Replace(_))),
            about_others: false,
            state: self.change.state.filter(|state| *state != self.seen.state),
        };
        if let Some(change) = &self.change.labels {
            let named = workflow.statuses(self.meant(change.members()));
            let after = self.labels_after(change);
            moved.about_others = moved.whole && !after.iter().copied().eq(&self.seen.labels);
            let implied = after.iter().find_map(|label| label.state).filter(|state| *state != self.seen.state);
            moved.state = moved.state.or(implied);
            moved.after = workflow.statuses(after);
            match change {
                SetChange::Remove(_) => moved.removed = named,
                SetChange::Add(_) | SetChange::Replace(_) => moved.set = named,
            }
        }
        Some(moved)
    }

    /// Whether the labels and the state that the request wants are there.
    pub(super) fn shows_already(&self) -> bool {
        let same = |change| self.knows_all(change) && self.labels_after(change).into_iter().eq(&self.seen.labels);
        self.change.labels.as_ref().is_none_or(same) && self.change.state.is_none_or(|state| state == self.seen.state)
    }

    /// Whether all that the change names are labels of the tracker's.
    fn knows_all(&self, change: &SetChange<TagRef>) -> bool {
        let labels = || self.seen.labels.iter().chain(self.labels).filter(|label| label.id.is_some());
        change.members().iter().all(|wanted| labels().any(|label| wanted.names(label)))
    }

    /// Every label that these could mean.
    fn meant<'b>(&'b self, refs: &'b BTreeSet<TagRef>) -> impl Iterator<Item = &'b Tag> {
        let known = self.seen.labels.iter().chain(self.labels);
        known.filter(|label| refs.iter().any(|wanted| wanted.may_mean(label)))
    }

    /// The labels after the change; one that is exclusive in its scope pushes the others of it out.
    fn labels_after<'b>(&'b self, change: &'b SetChange<TagRef>) -> BTreeSet<&'b Tag> {
        let meant: BTreeSet<&Tag> = self.meant(change.members()).collect();
        match change {
            SetChange::Replace(_) => meant,
            SetChange::Remove(_) => self.seen.labels.iter().filter(|label| !meant.contains(label)).collect(),
            SetChange::Add(_) => {
                let pushed_out = |label: &Tag| meant.iter().any(|new| new.excludes(label));
                self.seen.labels.iter().filter(|label| !pushed_out(label)).chain(meant.iter().copied()).collect()
            }
        }
    }

    fn role(&self, plan: &Plan) -> Role<'_> {
        let caller = &self.caller.actor;
        match (&plan.ownership, &self.record.holding) {
            (ownership, _) if ownership.makes_holder(caller) => Role::Holder,
            (_, Some(holding)) if holding.parked => Role::Free,
            (_, Some(holding)) if holding.actor.goes_on_as(caller) => Role::Holder,
            // The rules let anyone release it.
            (Ownership::Ends, Some(_)) => Role::Free,
            (_, Some(holding)) => Role::Outsider(Some(holding)),
            (_, None) if self.is_at_work_elsewhere() => Role::Outsider(None),
            (_, None) => Role::Free,
        }
    }

    /// A foreign claim in a working status stands like a holding; outside of work it is treated as parked.
    fn is_at_work_elsewhere(&self) -> bool {
        let cleared =
            self.change.assignees.as_ref().is_some_and(|change| change.apply(&self.seen.assignees).is_empty());
        !self.seen.assignees.is_empty() && !cleared && !self.may_clear_foreign()
    }

    // === containment ===

    /// A state that shows already moves nothing, but where it is no echo it is sent along: by the time that the tracker
    /// takes it the holder's own may show, and an answer that does not come would keep the holder out.
    fn sends_a_state(&self) -> bool {
        self.change.state.is_some() && !self.is_spared()
    }

    /// While another is at work nobody else moves, closes or relabels the status of the item.
    fn contain(&self, moved: &Moved, holding: Option<&Holding>) -> Box<Rejection> {
        let claims = moved.set.iter().any(|status| self.rules_to(status.as_str()).any(|rule| rule.by == By::Holder));
        match (holding, claims) {
            (Some(holding), true) => self.held(holding),
            (Some(holding), false) => {
                let message = format!("{} is held by {holding}; only the holder may move it", self.seen.locator);
                self.rejection(Code::NotHolder, message, "the caller holds the item", Some(holding))
            }
            (None, true) => self.foreign(Code::AlreadyAssigned, "pick another item"),
            (None, false) => self.foreign(Code::NotHolder, "only that account, or an overrider, may move it"),
        }
    }

    // === the workflow ===

    fn follow(&self, moved: &Moved, role: &Role<'_>, plan: &Plan) -> MoveResult<Option<OwnershipEffect>> {
        self.spend(moved)?;
        let mut meaning = self.takes_up(plan);
        for status in moved.set.iter().filter(|status| !(moved.about_others && moved.before.contains(*status))) {
            let taken_up = self.is_for_holder(status.as_str(), moved) && matches!(role, Role::Free);
            if !moved.before.contains(status) || (!taken_up && self.comes_late(role)) {
                self.leaves_its_source(status.as_str(), &moved.before)?;
            }
            if taken_up {
                meaning = self.by_claim(status, moved, plan)?.or(meaning);
            }
        }
        for to in moved.without_label() {
            self.leaves_its_source(to, &moved.before)?;
            if self.is_for_holder(to, moved) && matches!(role, Role::Free) && meaning.is_none() {
                return Err(self.claim_it_first(to));
            }
        }
        Ok(meaning)
    }

    /// A status that is there already was set by somebody else: who would set it again has read too early. The holder
    /// may repeat itself, and so may whoever does not know yet whether it was heard.
    fn comes_late(&self, role: &Role<'_>) -> bool {
        matches!(role, Role::Free) && self.record.doubts.is_empty()
    }

    /// Whether from where the item stands only its holder may set this.
    fn is_for_holder(&self, to: &str, moved: &Moved) -> bool {
        let already = moved.before.contains(&Status::new(to));
        let mut rules = self.rules_to(to).filter(|rule| already || self.starts(rule, &moved.before)).peekable();
        rules.peek().is_some() && rules.all(|rule| rule.by == By::Holder)
    }

    /// A status that can be left only once: whoever finds it gone has come too late. Its own doubtful removal may have
    /// landed, so the same request again passes.
    fn spend(&self, moved: &Moved) -> MoveResult<()> {
        let gone = |status: &&Status| self.rules.workflow.consume.contains(status) && !moved.before.contains(status);
        match moved.removed.iter().find(gone) {
            Some(status) if self.record.doubts.is_empty() => {
                let why = format!(
                    "{status} is not there any more; it can be left only once, and another request has; pick another item"
                );
                Err(self.refuse(Code::WrongSourceState, &why, &format!("status {status}")))
            }
            _ => Ok(()),
        }
    }

    fn leaves_its_source(&self, to: &str, before: &BTreeSet<Status>) -> MoveResult<()> {
        let mut rules = self.rules_to(to).peekable();
        if rules.peek().is_none() || self.rules_to(to).any(|rule| self.starts(rule, before)) {
            return Ok(());
        }
        let names: BTreeSet<&str> = rules.flat_map(|rule| rule.from.iter().map(Status::as_str)).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(" or ");
        let stands = self.stands();
        let why = format!("it goes to {to} from {names}, and there is {stands}; read it again, or pick another item");
        Err(self.refuse(Code::WrongSourceState, &why, &format!("status {names}")))
    }

    /// Whether the rule starts from what shows: every status label (or `none`), or the open or closed state.
    fn starts(&self, rule: &MoveRule, before: &BTreeSet<Status>) -> bool {
        rule.starts_from(before) || rule.from.contains(&Status::new(self.seen.state.as_str()))
    }

    fn rules_to<'b>(&'b self, to: &'b str) -> impl Iterator<Item = &'b MoveRule> {
        self.rules.workflow.moves.iter().filter(move |rule| rule.to.as_str() == to)
    }

    // === moves that make a holder ===

    /// The sole assignee of an item in work takes up its foreign claim with its first guarded write, whatever that moves.
    fn takes_up(&self, plan: &Plan) -> Option<OwnershipEffect> {
        let own = self.caller.actor.account.login();
        let alone = own.is_some_and(|login| self.seen.assignees.iter().eq([login]));
        let unheld = self.is_working() && self.record.holding.is_none() && plan.kind == Kind::Move;
        (alone && unheld && !self.landed_late()).then(|| (Kind::Adopt, self.the_caller()))
    }

    /// A status for holders, set by one who is none: a claim on an item that nobody is assigned to and nobody holds.
    fn by_claim(&self, status: &Status, moved: &Moved, plan: &Plan) -> MoveResult<Option<OwnershipEffect>> {
        let own = self.caller.actor.account.login();
        match () {
            () if plan.kind != Kind::Move => Err(self.claim_it_first(status.as_str())),
            () if self.seen.assignees.is_empty() && self.files(status, moved) => Ok(None),
            () if self.seen.assignees.is_empty() => {
                self.expect_status().map(|()| Some((Kind::Claim, self.the_caller())))
            }
            () if !self.seen.assignees.iter().eq(own) => Err(self.foreign(Code::AlreadyAssigned, "pick another item")),
            () if self.landed_late() => Err(self.late_landing()),
            () if self.record.holding.is_none() => Ok(Some((Kind::Adopt, self.the_caller()))),
            () => Ok(Some((Kind::Claim, self.the_caller()))),
        }
    }

    /// An author who gives its own new item its first status is filing it for others, and takes nothing up.
    fn files(&self, status: &Status, moved: &Moved) -> bool {
        let author = self.seen.author.as_ref().is_some_and(|author| self.caller.actor.account.login() == Some(author));
        let first = moved.before.iter().all(|before| before == status);
        author && first && self.caller.actor.instance.is_none() && !self.caller.shared
    }

    fn claim_it_first(&self, to: &str) -> Box<Rejection> {
        let why = format!("only the holder may set {to}; claim the item first");
        self.refuse(Code::NotHolder, &why, "the caller holds the item")
    }
}

// === impl Moved ===

impl Moved {
    /// The targets that are no label: open, closed, and none left.
    fn without_label(&self) -> impl Iterator<Item = &'static str> {
        let none = (self.after.is_empty() && !self.before.is_empty()).then_some(NO_STATUS);
        self.state.map(OpenState::as_str).into_iter().chain(none)
    }

    /// Whether the request is about where the item stands at all. One that names a status is, whatever shows; one
    /// that replaces all labels is where a status would change.
    fn is_contained(&self) -> bool {
        let names = !self.whole && (!self.set.is_empty() || !self.removed.is_empty());
        names || self.before != self.after || self.state.is_some()
    }
}
