//! Model values in the form in which they are written.

use crate::model::{
    Account, Actor, Change, Doubt, Goal, Holding, Instance, Kind, Loss, Masked, OpenState, Ownership, Principal,
    SetChange, SetGoal, Shown, Status, TagId, TagRef,
};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ActorJson<'a> {
    Named {
        login: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        instance: Option<&'a str>,
    },
    Opaque {
        credential: &'a str,
        instance: Option<&'a str>,
    },
}

/// A text where the account's name is its id.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum AccountJson<'a> {
    Id(&'a str),
    Named { id: &'a str, name: &'a str },
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OwnershipJson<'a> {
    Word(&'static str),
    Becomes(ActorJson<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum TagJson<'a> {
    Number(u64),
    Id { id: &'a str },
    Name(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SetChangeJson<T> {
    Replace(Vec<T>),
    Add(Vec<T>),
    Remove(Vec<T>),
}

#[derive(Serialize)]
pub(super) struct ChangeJson<'a> {
    assignees: Option<SetChangeJson<AccountJson<'a>>>,
    labels: Option<SetChangeJson<TagJson<'a>>>,
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewers: Option<SetChangeJson<AccountJson<'a>>>,
}

#[derive(Serialize)]
pub(super) struct GoalJson<'a> {
    assignees: Option<Vec<AccountJson<'a>>>,
    labels: Option<SetGoalJson<'a>>,
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    found: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
}

#[derive(Serialize)]
struct SetGoalJson<'a> {
    with: Vec<TagJson<'a>>,
    without: Option<Vec<TagJson<'a>>>,
}

#[derive(Serialize)]
pub(super) struct ShownJson<'a> {
    assignees: Vec<AccountJson<'a>>,
    statuses: Vec<&'a str>,
    state: &'static str,
}

#[derive(Serialize)]
pub(super) struct HoldingJson<'a> {
    actor: ActorJson<'a>,
    since: i64,
    attempt: &'a str,
    fence: u64,
    shown: ShownJson<'a>,
    found: Vec<&'a str>,
    parked: bool,
    renewed: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct LossJson<'a> {
    actor: ActorJson<'a>,
    at: i64,
    cause: &'a str,
}

#[derive(Serialize)]
pub(super) struct DoubtJson<'a> {
    attempt: &'a str,
    actor: ActorJson<'a>,
    change: ChangeJson<'a>,
    goal: GoalJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    ownership: OwnershipJson<'a>,
}

#[derive(Serialize)]
pub(super) struct MaskJson<'a> {
    goal: GoalJson<'a>,
    settled: i64,
}

// === from the model ===

impl<'a> From<&'a Actor> for ActorJson<'a> {
    fn from(actor: &'a Actor) -> Self {
        let instance = actor.instance.as_ref().map(Instance::as_str);
        match &actor.account {
            Principal::Named(login) => Self::Named { login: login.as_str(), name: login.other_name(), instance },
            Principal::Opaque(print) => Self::Opaque { credential: print.as_str(), instance },
        }
    }
}

impl<'a> From<&'a Account> for AccountJson<'a> {
    fn from(account: &'a Account) -> Self {
        match account.other_name() {
            None => Self::Id(account.as_str()),
            Some(name) => Self::Named { id: account.as_str(), name },
        }
    }
}

impl<'a> From<&'a Ownership> for OwnershipJson<'a> {
    fn from(ownership: &'a Ownership) -> Self {
        match ownership {
            Ownership::Keep => Self::Word("keep"),
            Ownership::Ends => Self::Word("ends"),
            Ownership::Becomes(to) => Self::Becomes(to.into()),
        }
    }
}

impl<'a> From<&'a TagRef> for TagJson<'a> {
    fn from(label: &'a TagRef) -> Self {
        match label {
            TagRef::Id(TagId::Number(id)) => Self::Number(*id),
            TagRef::Id(TagId::Text(id)) => Self::Id { id },
            TagRef::Name(name) => Self::Name(name),
        }
    }
}

fn set_change<'a, T: Ord, U>(change: &'a SetChange<T>, one: impl Fn(&'a T) -> U) -> SetChangeJson<U> {
    let all = |members: &'a BTreeSet<T>| members.iter().map(one).collect();
    match change {
        SetChange::Replace(members) => SetChangeJson::Replace(all(members)),
        SetChange::Add(members) => SetChangeJson::Add(all(members)),
        SetChange::Remove(members) => SetChangeJson::Remove(all(members)),
    }
}

fn accounts(accounts: &BTreeSet<Account>) -> Vec<AccountJson<'_>> {
    accounts.iter().map(AccountJson::from).collect()
}

fn labels(labels: &BTreeSet<TagRef>) -> Vec<TagJson<'_>> {
    labels.iter().map(TagJson::from).collect()
}

pub(super) fn statuses(statuses: &BTreeSet<Status>) -> Vec<&str> {
    statuses.iter().map(Status::as_str).collect()
}

impl<'a> From<&'a Change> for ChangeJson<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            assignees: change.assignees.as_ref().map(|change| set_change(change, AccountJson::from)),
            labels: change.labels.as_ref().map(|change| set_change(change, TagJson::from)),
            state: change.state.map(OpenState::as_str),
            reviewers: change.reviewers.as_ref().map(|change| set_change(change, AccountJson::from)),
        }
    }
}

impl<'a> From<&'a SetGoal<TagRef>> for SetGoalJson<'a> {
    fn from(goal: &'a SetGoal<TagRef>) -> Self {
        Self { with: labels(&goal.with), without: goal.without.as_ref().map(labels) }
    }
}

impl<'a> From<&'a Goal> for GoalJson<'a> {
    fn from(goal: &'a Goal) -> Self {
        Self {
            assignees: goal.assignees.as_ref().map(accounts),
            labels: goal.labels.as_ref().map(SetGoalJson::from),
            state: goal.state.map(OpenState::as_str),
            found: statuses(&goal.status_before),
            already: goal.held_before,
        }
    }
}

impl<'a> From<&'a Shown> for ShownJson<'a> {
    fn from(shown: &'a Shown) -> Self {
        let (assignees, statuses) = (accounts(&shown.assignees), statuses(&shown.statuses));
        Self { assignees, statuses, state: shown.state.as_str() }
    }
}

impl<'a> From<&'a Holding> for HoldingJson<'a> {
    fn from(holding: &'a Holding) -> Self {
        Self {
            actor: (&holding.actor).into(),
            since: holding.since.0,
            attempt: holding.attempt.as_str(),
            fence: holding.fence.0,
            shown: (&holding.last_seen).into(),
            found: statuses(&holding.status_before_claim),
            parked: holding.parked,
            renewed: holding.renewed.0,
            closed: holding.closed.map(|at| at.0),
        }
    }
}

impl<'a> From<&'a Doubt> for DoubtJson<'a> {
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

impl<'a> From<&'a Masked> for MaskJson<'a> {
    fn from(mask: &'a Masked) -> Self {
        Self { goal: (&mask.goal).into(), settled: mask.settled.0 }
    }
}
