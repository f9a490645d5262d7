//! A guarded write once understood, and the value that it wants to reach.

use super::{Account, OpenState, Snapshot, Status, TagRef};
use std::collections::BTreeSet;
use std::fmt;

/// How a request changes a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetChange<T: Ord> {
    /// The set becomes exactly this.
    Replace(BTreeSet<T>),
    /// These join it.
    Add(BTreeSet<T>),
    /// These leave it.
    Remove(BTreeSet<T>),
}

/// The guarded fields that one request changes on one item. `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Change {
    /// Who is assigned.
    pub assignees: Option<SetChange<Account>>,
    /// Which tags it carries: labels, or whatever else says where it stands.
    pub labels: Option<SetChange<TagRef>>,
    /// Whether it is open.
    pub state: Option<OpenState>,
    /// Who is asked to review it: takes its turn and is recorded; no rule is about it, and no read-back shows it.
    pub reviewers: Option<SetChange<Account>>,
}

/// What a read-back must show for a set change to have happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetGoal<T: Ord> {
    /// Members that must be there.
    pub with: BTreeSet<T>,
    /// Members that must not be there; `None`: no others than `with`.
    pub without: Option<BTreeSet<T>>,
}

/// What a read-back must show, field by field; only the fields that the change names are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Goal {
    /// Exactly who is to be assigned.
    pub assignees: Option<BTreeSet<Account>>,
    /// Which labels must and must not be there.
    pub labels: Option<SetGoal<TagRef>>,
    /// Whether it is to be open.
    pub state: Option<OpenState>,
    /// The statuses that the item stood in before; never compared.
    pub status_before: BTreeSet<Status>,
    /// Whether the item showed all of it before, so that a read which shows it proves nothing; never compared.
    pub held_before: bool,
}

/// How far a read shows a goal to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every named field shows the goal.
    Full,
    /// The assignees show it, another named field does not.
    AssigneesOnly,
    /// The assignees (or, where they are not named, the other fields) do not show it.
    Missed,
}

// === impl SetChange ===

impl<T: Ord + Clone> SetChange<T> {
    /// Those that the change names.
    pub fn members(&self) -> &BTreeSet<T> {
        match self {
            Self::Replace(members) | Self::Add(members) | Self::Remove(members) => members,
        }
    }

    /// The set after the change.
    pub fn apply(&self, before: &BTreeSet<T>) -> BTreeSet<T> {
        match self {
            Self::Replace(value) => value.clone(),
            Self::Add(value) => before.union(value).cloned().collect(),
            Self::Remove(value) => before.difference(value).cloned().collect(),
        }
    }

    /// What must hold afterwards, whatever else happens to the set.
    pub fn goal(&self) -> SetGoal<T> {
        match self {
            Self::Replace(value) => SetGoal { with: value.clone(), without: None },
            Self::Add(value) => SetGoal { with: value.clone(), without: Some(BTreeSet::new()) },
            Self::Remove(value) => SetGoal { with: BTreeSet::new(), without: Some(value.clone()) },
        }
    }
}

// === impl Change ===

impl Change {
    /// Whether no guarded field is named.
    pub fn is_empty(&self) -> bool {
        self.assignees.is_none() && self.labels.is_none() && self.state.is_none() && self.reviewers.is_none()
    }

    /// The value that the change reaches from what the item shows now.
    pub fn goal(&self, now: &Snapshot) -> Goal {
        let goal = Goal {
            assignees: self.assignees.as_ref().map(|change| change.apply(&now.assignees)),
            labels: self.labels.as_ref().map(SetChange::goal),
            state: self.state,
            ..Goal::default()
        };
        Goal { held_before: goal.reach(now) == Reach::Full, ..goal }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let assignees = self.assignees.as_ref().map(|change| described("assignees", change, Account::to_string));
        let labels = self.labels.as_ref().map(|change| described("labels", change, TagRef::to_string));
        let state = self.state.map(|state| format!("state={}", state.as_str()));
        let reviewers = self.reviewers.as_ref().map(|change| described("reviewers", change, Account::to_string));
        f.write_str(&[assignees, labels, state, reviewers].into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

fn described<T: Ord>(field: &str, change: &SetChange<T>, name: impl Fn(&T) -> String) -> String {
    let (sign, members) = match change {
        SetChange::Replace(members) => ("=", members),
        SetChange::Add(members) => ("+=", members),
        SetChange::Remove(members) => ("-=", members),
    };
    format!("{field}{sign}[{}]", members.iter().map(name).collect::<Vec<_>>().join(", "))
}

// === impl Goal ===

impl Goal {
    /// Whether it names no field.
    pub fn is_empty(&self) -> bool {
        self.assignees.is_none() && self.labels.is_none() && self.state.is_none()
    }

    /// The value alone, without how it was come by.
    #[must_use]
    pub fn value(&self) -> Self {
        Self { status_before: BTreeSet::new(), held_before: false, ..self.clone() }
    }

    /// How far this read shows the goal reached.
    pub fn reach(&self, read: &Snapshot) -> Reach {
        let assignees = self.assignees.as_ref().is_none_or(|wanted| *wanted == read.assignees);
        let labels = self.labels.as_ref().is_none_or(|wanted| labels_show(wanted, read));
        let rest = labels && self.state.is_none_or(|wanted| wanted == read.state);
        match (assignees, rest) {
            (true, true) => Reach::Full,
            (true, false) if self.assignees.is_some() => Reach::AssigneesOnly,
            _ => Reach::Missed,
        }
    }

    /// Whether the two reads agree on every field that the goal names.
    pub fn same_on_named_fields(&self, one: &Snapshot, other: &Snapshot) -> bool {
        (self.assignees.is_none() || one.assignees == other.assignees)
            && (self.labels.is_none() || one.labels == other.labels)
            && (self.state.is_none() || one.state == other.state)
    }
}

fn labels_show(wanted: &SetGoal<TagRef>, read: &Snapshot) -> bool {
    let carried = |label: &TagRef| read.labels.iter().any(|l| label.names(l));
    wanted.with.iter().all(carried)
        && match &wanted.without {
            Some(without) => !without.iter().any(carried),
            None => read.labels.iter().all(|l| wanted.with.iter().any(|w| w.names(l))),
        }
}
