//! Model values in the form in which they are written.

use crate::model::{
    Account, Actor, Change, Doubt, Goal, Holding, Instance, Kind, LabelRef, Login, Loss, Masked, OpenState, Ownership,
    SetChange, SetGoal, Shown, Status,
};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum AnActor<'a> {
    Named { login: &'a str, instance: Option<&'a str> },
    Opaque { credential: &'a str, instance: Option<&'a str> },
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum AnOwnership<'a> {
    Word(&'static str),
    Becomes(AnActor<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ALabel<'a> {
    Id(u64),
    Name(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ASetChange<T> {
    Replace(Vec<T>),
    Add(Vec<T>),
    Remove(Vec<T>),
}

#[derive(Serialize)]
pub(super) struct AChange<'a> {
    assignees: Option<ASetChange<&'a str>>,
    labels: Option<ASetChange<ALabel<'a>>>,
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewers: Option<ASetChange<&'a str>>,
}

#[derive(Serialize)]
pub(super) struct AGoal<'a> {
    assignees: Option<Vec<&'a str>>,
    labels: Option<ASetGoal<'a>>,
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    found: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
}

#[derive(Serialize)]
struct ASetGoal<'a> {
    with: Vec<ALabel<'a>>,
    without: Option<Vec<ALabel<'a>>>,
}

#[derive(Serialize)]
pub(super) struct Seen<'a> {
    assignees: Vec<&'a str>,
    statuses: Vec<&'a str>,
    state: &'static str,
}

#[derive(Serialize)]
pub(super) struct AHolding<'a> {
    actor: AnActor<'a>,
    since: i64,
    attempt: &'a str,
    fence: u64,
    shown: Seen<'a>,
    found: Vec<&'a str>,
    parked: bool,
    renewed: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct LossJson<'a> {
    actor: AnActor<'a>,
    at: i64,
    cause: &'a str,
}

#[derive(Serialize)]
pub(super) struct ADoubt<'a> {
    attempt: &'a str,
    actor: AnActor<'a>,
    change: AChange<'a>,
    goal: AGoal<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    ownership: AnOwnership<'a>,
}

#[derive(Serialize)]
pub(super) struct AMask<'a> {
    goal: AGoal<'a>,
    settled: i64,
}

// === from the model ===

impl<'a> From<&'a Actor> for AnActor<'a> {
    fn from(actor: &'a Actor) -> Self {
        let instance = actor.instance.as_ref().map(Instance::as_str);
        match &actor.account {
            Account::Named(login) => Self::Named { login: login.as_str(), instance },
            Account::Opaque(print) => Self::Opaque { credential: print.as_str(), instance },
        }
    }
}

impl<'a> From<&'a Ownership> for AnOwnership<'a> {
    fn from(ownership: &'a Ownership) -> Self {
        match ownership {
            Ownership::Keep => Self::Word("keep"),
            Ownership::Ends => Self::Word("ends"),
            Ownership::Becomes(to) => Self::Becomes(to.into()),
        }
    }
}

impl<'a> From<&'a LabelRef> for ALabel<'a> {
    fn from(label: &'a LabelRef) -> Self {
        match label {
            LabelRef::Id(id) => Self::Id(*id),
            LabelRef::Name(name) => Self::Name(name),
        }
    }
}

fn set_change<'a, T: Ord, U>(change: &'a SetChange<T>, one: impl Fn(&'a T) -> U) -> ASetChange<U> {
    let all = |members: &'a BTreeSet<T>| members.iter().map(one).collect();
    match change {
        SetChange::Replace(members) => ASetChange::Replace(all(members)),
        SetChange::Add(members) => ASetChange::Add(all(members)),
        SetChange::Remove(members) => ASetChange::Remove(all(members)),
    }
}

fn logins(logins: &BTreeSet<Login>) -> Vec<&str> {
    logins.iter().map(Login::as_str).collect()
}

fn labels(labels: &BTreeSet<LabelRef>) -> Vec<ALabel<'_>> {
    labels.iter().map(ALabel::from).collect()
}

pub(super) fn statuses(statuses: &BTreeSet<Status>) -> Vec<&str> {
    statuses.iter().map(Status::as_str).collect()
}

impl<'a> From<&'a Change> for AChange<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            assignees: change.assignees.as_ref().map(|change| set_change(change, Login::as_str)),
            labels: change.labels.as_ref().map(|change| set_change(change, ALabel::from)),
            state: change.state.map(OpenState::as_str),
            reviewers: change.reviewers.as_ref().map(|change| set_change(change, Login::as_str)),
        }
    }
}

impl<'a> From<&'a SetGoal<LabelRef>> for ASetGoal<'a> {
    fn from(goal: &'a SetGoal<LabelRef>) -> Self {
        Self { with: labels(&goal.with), without: goal.without.as_ref().map(labels) }
    }
}

impl<'a> From<&'a Goal> for AGoal<'a> {
    fn from(goal: &'a Goal) -> Self {
        Self {
            assignees: goal.assignees.as_ref().map(logins),
            labels: goal.labels.as_ref().map(ASetGoal::from),
            state: goal.state.map(OpenState::as_str),
            found: statuses(&goal.found),
            already: goal.already,
        }
    }
}

impl<'a> From<&'a Shown> for Seen<'a> {
    fn from(shown: &'a Shown) -> Self {
        let (assignees, statuses) = (logins(&shown.assignees), statuses(&shown.statuses));
        Self { assignees, statuses, state: shown.state.as_str() }
    }
}

impl<'a> From<&'a Holding> for AHolding<'a> {
    fn from(holding: &'a Holding) -> Self {
        Self {
            actor: (&holding.actor).into(),
            since: holding.since.0,
            attempt: holding.attempt.as_str(),
            fence: holding.fence.0,
            shown: (&holding.shown).into(),
            found: statuses(&holding.found),
            parked: holding.parked,
            renewed: holding.renewed.0,
            closed: holding.closed.map(|at| at.0),
        }
    }
}

impl<'a> From<&'a Doubt> for ADoubt<'a> {
    fn from(doubt: &'a Doubt) -> Self {
        Self {
            attempt: doubt.attempt.as_str(),
            actor: (&doubt.actor).into(),
            change: (&doubt.change).into(),
            goal: (&doubt.goal).into(),
            kind: doubt.kind.map(Kind::as_str),
            ownership: (&doubt.ownership).into(),
        }
    }
}

impl<'a> From<&'a Loss> for LossJson<'a> {
    fn from(loss: &'a Loss) -> Self {
        Self { actor: (&loss.actor).into(), at: loss.at.0, cause: &loss.cause }
    }
}

impl<'a> From<&'a Masked> for AMask<'a> {
    fn from(mask: &'a Masked) -> Self {
        Self { goal: (&mask.goal).into(), settled: mask.settled.0 }
    }
}
