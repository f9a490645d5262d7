//! The rules as the configuration states them (manual: rules).

use super::once::OnceRule;
use super::{By, HoldingLimits, Mode, Singleton};
use crate::model::{Account, Holding, Kind, OpenState, Shown, Snapshot, Status, Tag, Time, What};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who may change what many items share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Editors {
    /// People whom no rule refuses.
    Overriders,
    /// Anyone.
    Anyone,
}

/// What an outside edit does to a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It wins: the holding ends as revoked.
    Wins,
    /// The item is refused to all until the holder releases or an operator decides.
    Hold,
}

/// What the agents of one account are that do not say which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// One agent.
    One,
    /// One agent for each client address, which is its name then.
    Address,
    /// Nobody: they must name themselves.
    Refuse,
}

/// What forms of the web interface may do: people use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Web {
    /// Serialized and recorded, refused by no rule.
    Override,
    /// Judged like any other write.
    Enforce,
}

/// Rules over who is assigned.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Enforce or observe.
    pub mode: Mode,
    /// Statuses from which an item may be claimed; empty: any. `none` is an item without status label.
    pub expect_status: BTreeSet<Status>,
    /// How many may be assigned at once.
    pub max_assignees: usize,
    /// Whether an agent may assign somebody else to a free item.
    pub assign_others: bool,
    /// Who may clear the assignee of a held item.
    pub release_by: By,
    /// Accounts of people, whom no rule refuses.
    pub overriders: BTreeSet<Account>,
    /// What an outside edit does.
    pub outside: Outside,
    /// A holder silent for longer is flagged; `None`: never.
    pub stale_after: Option<Duration>,
    /// How long a holder must have been silent for the next claim to take the item over; `None`: never.
    pub takeover_after: Option<Duration>,
    /// How long the holding of a closed item lasts; `None`: until its holder is not assigned any more.
    pub closed_after: Option<Duration>,
    /// How long after its settlement an attempt's late second landing is told from an outside edit.
    pub zombie_period: Duration,
}

/// One allowed move of the workflow.
#[derive(Clone, Debug)]
pub struct MoveRule {
    /// From one of these (`none`: no status label).
    pub from: BTreeSet<Status>,
    /// To this one.
    pub to: Status,
    /// By whom.
    pub by: By,
}

/// Rules over where an item stands.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Enforce or observe.
    pub mode: Mode,
    /// The labels that are statuses.
    pub states: BTreeSet<Status>,
    /// The tracker's items have exactly one label at all times, which is then a status whatever it is called.
    pub one_status: bool,
    /// Those in which somebody works on the item.
    pub working: BTreeSet<Status>,
    /// Those that can be left only once.
    pub consume: BTreeSet<Status>,
    /// Which moves are allowed.
    pub moves: Vec<MoveRule>,
    /// Whether the labels that a claim brought go when its holding ends half-way.
    pub put_back: bool,
    /// Who may rename, archive or delete a label that is a status.
    pub edit_labels: Editors,
    /// Who may make a held item depend on another.
    pub dependencies_by: By,
}

/// All rules of one gate, so that they are replaced in one step.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Over who is assigned.
    pub assignment: Assignment,
    /// Over where an item stands.
    pub workflow: Workflow,
    /// Over how many items one agent may hold.
    pub limits: HoldingLimits,
    /// Over which agents work one at a time.
    pub singletons: Vec<Singleton>,
    /// Over what may be created once.
    pub once: Vec<OnceRule>,
    /// Accounts that several agents share: each request must name its instance.
    pub shared_accounts: BTreeSet<Account>,
    /// What agents without a name are, on all other accounts.
    pub unnamed: Unnamed,
    /// What forms of the web interface may do.
    pub web: Web,
}

/// The parts of the rules that have a mode of their own, by section of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `[assignment]`
    Assignment,
    /// `[workflow]`
    Workflow,
    /// `[limits]`
    Limits,
    /// `[[singleton]]`, all of them.
    Singleton,
    /// `[[once]]`, all of them.
    Once,
}

/// The modes that an operator switched while the gate runs; they go over those of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switched(BTreeMap<Part, Mode>);

// === impl Rules ===

impl Rules {
    /// Whether this account is of a person whom no rule refuses.
    pub fn is_overrider(&self, login: &Account) -> bool {
        login.is_among(&self.assignment.overriders)
    }

    /// Whether a holder at work was silent for longer than `stale_after`. Parked and closed work is never stale.
    pub fn is_stale(&self, held: &Holding, now: Time) -> bool {
        held.is_live() && self.assignment.stale_after.is_some_and(|limit| now.since(held.renewed) > limit)
    }

    fn set_mode(&mut self, part: Part, mode: Mode) {
        match part {
            Part::Assignment => self.assignment.mode = mode,
            Part::Workflow => self.workflow.mode = mode,
            Part::Limits => self.limits.mode = mode,
            Part::Singleton => self.singletons.iter_mut().for_each(|rule| rule.mode = mode),
            Part::Once => self.once.iter_mut().for_each(|rule| rule.mode = mode),
        }
    }

    /// Each rule that has a mode, as a person names it, with the section by which its mode is switched.
    pub fn modes(&self) -> Vec<(String, Part, Mode)> {
        let named = |part: Part, name: &str| format!("{} {name}", part.as_str());
        let sections = [
            (Part::Assignment, self.assignment.mode),
            (Part::Workflow, self.workflow.mode),
            (Part::Limits, self.limits.mode),
        ];
        let sections = sections.map(|(part, mode)| (part.as_str().to_owned(), part, mode));
        let singletons =
            self.singletons.iter().map(|rule| (named(Part::Singleton, &rule.name), Part::Singleton, rule.mode));
        let once = self.once.iter().map(|rule| (named(Part::Once, &rule.name), Part::Once, rule.mode));
        sections.into_iter().chain(singletons).chain(once).collect()
    }

    /// Whether some rule is about filing new items, whatever is asked of them.
    pub fn judges_creations(&self) -> bool {
        self.singletons.iter().any(|rule| rule.actions.contains(&Kind::Create))
    }

    /// Whether some rule is about what may be created once.
    pub fn is_ruled(&self, what: What) -> bool {
        self.once.iter().any(|rule| rule.what == what)
    }

    /// Whether some rule counts reviews with this verdict.
    pub fn counts(&self, event: &str) -> bool {
        self.once.iter().any(|rule| rule.what == What::Review && rule.events.contains(event))
    }
}

// === impl Part ===

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Assignment, Self::Workflow, Self::Limits, Self::Singleton, Self::Once];

    /// As the configuration and the command line spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::Workflow => "workflow",
            Self::Limits => "limits",
            Self::Singleton => "singleton",
            Self::Once => "once",
        }
    }

    /// The reverse.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == text)
    }
}

// === impl Switched ===

impl Switched {
    /// Notes the operator's word; the last one about a part counts.
    pub fn switch(&mut self, parts: &[Part], mode: Mode) {
        self.0.extend(parts.iter().map(|part| (*part, mode)));
    }

    /// Puts what was switched over the rules.
    pub fn apply(&self, rules: &mut Rules) {
        self.0.iter().for_each(|(part, mode)| rules.set_mode(*part, *mode));
    }

    /// How the operator switched these rules, if so.
    pub fn of(&self, part: Part) -> Option<Mode> {
        self.0.get(&part).copied()
    }

    /// Reads what [`Display`](std::fmt::Display) wrote; what is not understood is left out.
    pub fn parse(text: &str) -> Self {
        let words = text.trim().split(", ").filter_map(|word| word.split_once(' '));
        Self(words.filter_map(|(mode, part)| Some((Part::parse(part)?, Mode::parse(mode)?))).collect())
    }

    /// Whether nothing was switched.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Switched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = self.0.iter().map(|(part, mode)| format!("{} {}", mode.as_str(), part.as_str()));
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}

/// Stands in `from` and `to` for an item without a status label.
pub(super) const NO_STATUS: &str = "none";

// === impl MoveRule ===

impl MoveRule {
    /// Whether it starts from these status labels: each of them, or none where there is none.
    pub(super) fn starts_from(&self, shown: &BTreeSet<Status>) -> bool {
        if shown.is_empty() { self.from.contains(&Status::new(NO_STATUS)) } else { shown.is_subset(&self.from) }
    }
}

// === impl Workflow ===

impl Workflow {
    /// The status labels among these.
    pub fn statuses<'a>(&self, labels: impl IntoIterator<Item = &'a Tag>) -> BTreeSet<Status> {
        let is_status = |name: &Status| self.one_status || self.states.contains(name);
        labels.into_iter().map(|label| Status::new(&label.name)).filter(is_status).collect()
    }

    /// The statuses in which work has ended: nobody works on them, and no move starts from them.
    pub fn final_states(&self) -> BTreeSet<Status> {
        let left = |status: &&Status| self.moves.iter().any(|rule| rule.from.contains(*status) && rule.to != **status);
        self.states.iter().filter(|status| !self.working.contains(*status) && !left(status)).cloned().collect()
    }

    /// What the ledger remembers of a read.
    pub fn shown(&self, read: &Snapshot) -> Shown {
        Shown { assignees: read.assignees.clone(), statuses: self.statuses(&read.labels), state: read.state }
    }

    /// Whether somebody is at work on an item that shows this.
    pub fn is_working(&self, shown: &Shown) -> bool {
        shown.state == OpenState::Open && shown.statuses.iter().any(|status| self.working.contains(status))
    }
}
