//! Model values as JSON text, as the SQLite ledger keeps them.
//!
//! Every value is written in full and read back strictly: a row that does not
//! read is an error of the ledger, never a guess.

use crate::model::{
    Account, Actor, AttemptId, Change, Doubt, Fence, Fingerprint, Goal, Holding, Instance, Kind, Loss, Masked,
    OpenState, Ownership, Principal, SetChange, SetGoal, Shown, Status, TagId, TagRef, Time,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use written::{ActorJson, ChangeJson, DoubtJson, GoalJson, HoldingJson, LossJson, MaskJson, OwnershipJson, ShownJson};

#[cfg(feature = "postgres")]
pub(super) mod record;
mod written;

/// A stored value that does not read.
#[derive(Debug, thiserror::Error)]
#[error("a stored {0} does not read")]
pub(super) struct Unreadable(pub(super) &'static str);

type Read<T> = Result<T, Unreadable>;

/// What a stored text is read as, written anew; `None` where it does not read. For those who test the reader from outside.
#[doc(hidden)]
pub fn reread(kind: &str, text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    Some(match kind {
        "actor" => actor(&read_actor(&value).ok()?),
        "ownership" => ownership(&read_ownership(&value).ok()?),
        "change" => change(&read_change(&value).ok()?),
        "goal" => goal(&read_goal(&value).ok()?),
        "shown" => shown(&read_shown(&value).ok()?),
        "holding" => holding(&read_holding(&value).ok()?),
        "doubts" => doubts(&read_doubts(&value).ok()?),
        "masks" => masks(&read_masks(&value).ok()?),
        "lost" => lost(&read_lost(&value).ok()?),
        _ => return None,
    })
}

// === written ===

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers are JSON")
}

pub(super) fn actor(actor: &Actor) -> String {
    json(&ActorJson::from(actor))
}

pub(super) fn ownership(ownership: &Ownership) -> String {
    json(&OwnershipJson::from(ownership))
}

pub(super) fn change(change: &Change) -> String {
    json(&ChangeJson::from(change))
}

pub(super) fn goal(goal: &Goal) -> String {
    json(&GoalJson::from(goal))
}

pub(super) fn shown(shown: &Shown) -> String {
    json(&ShownJson::from(shown))
}

pub(super) fn statuses(statuses: &BTreeSet<Status>) -> String {
    json(&written::statuses(statuses))
}

pub(super) fn holding(holding: &Holding) -> String {
    json(&HoldingJson::from(holding))
}

pub(super) fn doubts(doubts: &[Doubt]) -> String {
    json(&doubts.iter().map(DoubtJson::from).collect::<Vec<_>>())
}

pub(super) fn masks(masks: &[Masked]) -> String {
    json(&masks.iter().map(MaskJson::from).collect::<Vec<_>>())
}

pub(super) fn lost(loss: &Loss) -> String {
    json(&LossJson::from(loss))
}

// === actors ===

pub(super) fn read_actor(value: &Value) -> Read<Actor> {
    let named = value["login"].as_str().map(|login| {
        Principal::Named(match value["name"].as_str() {
            Some(name) => Account::named(login, name),
            None => Account::new(login),
        })
    });
    let opaque = || value["credential"].as_str().map(|print| Principal::Opaque(Fingerprint::new(print)));
    let instance = match &value["instance"] {
        Value::Null => None,
        instance => Some(Instance::new(instance.as_str().ok_or(Unreadable("instance"))?)),
    };
    Ok(Actor { account: named.or_else(opaque).ok_or(Unreadable("agent"))?, instance })
}

pub(super) fn read_ownership(value: &Value) -> Read<Ownership> {
    Ok(match value.as_str() {
        Some("keep") => Ownership::Keep,
        Some("ends") => Ownership::Ends,
        Some(_) => return Err(Unreadable("ownership")),
        None => Ownership::Becomes(read_actor(value)?),
    })
}

// === sets ===

fn read_set<T: Ord>(value: &Value, one: impl Fn(&Value) -> Option<T>) -> Read<BTreeSet<T>> {
    let members = value.as_array().ok_or(Unreadable("set"))?;
    members.iter().map(|member| one(member).ok_or(Unreadable("member of a set"))).collect()
}

fn read_account(value: &Value) -> Option<Account> {
    let named = || Some(Account::named(value["id"].as_str()?, value["name"].as_str()?));
    value.as_str().map(Account::new).or_else(named)
}

fn read_label(value: &Value) -> Option<TagRef> {
    let by_name = || value.as_str().map(|name| TagRef::Name(name.to_owned()));
    let by_id = || value["id"].as_str().map(|id| TagRef::Id(TagId::Text(id.into())));
    value.as_u64().map(TagRef::number).or_else(by_name).or_else(by_id)
}

pub(super) fn read_statuses(value: &Value) -> Read<BTreeSet<Status>> {
    read_set(value, |status| status.as_str().map(Status::new))
}

fn read_set_change<T: Ord>(value: &Value, one: impl Fn(&Value) -> Option<T>) -> Read<Option<SetChange<T>>> {
    if value.is_null() {
        return Ok(None);
    }
    let only = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
    let (verb, members) = only.ok_or(Unreadable("change of a set"))?;
    let members = read_set(members, one)?;
    Ok(Some(match verb.as_str() {
        "replace" => SetChange::Replace(members),
        "add" => SetChange::Add(members),
        "remove" => SetChange::Remove(members),
        _ => return Err(Unreadable("change of a set")),
    }))
}

// === change, goal, shown ===

fn read_state(value: &Value) -> Read<Option<OpenState>> {
    match (value, value.as_str()) {
        (Value::Null, _) => Ok(None),
        (_, Some("open")) => Ok(Some(OpenState::Open)),
        (_, Some("closed")) => Ok(Some(OpenState::Closed)),
        _ => Err(Unreadable("open or closed")),
    }
}

pub(super) fn read_change(value: &Value) -> Read<Change> {
    must_be_object(value, "change")?;
    Ok(Change {
        assignees: read_set_change(&value["assignees"], read_account)?,
        labels: read_set_change(&value["labels"], read_label)?,
        state: read_state(&value["state"])?,
        reviewers: read_set_change(&value["reviewers"], read_account)?,
    })
}

pub(super) fn read_goal(value: &Value) -> Read<Goal> {
    must_be_object(value, "goal")?;
    let some = |value: &Value| (!value.is_null()).then(|| value.clone());
    let labels = some(&value["labels"]).map(|labels| {
        let without = some(&labels["without"]).map(|members| read_set(&members, read_label)).transpose()?;
        Ok(SetGoal { with: read_set(&labels["with"], read_label)?, without })
    });
    Ok(Goal {
        assignees: some(&value["assignees"]).map(|members| read_set(&members, read_account)).transpose()?,
        labels: labels.transpose()?,
        state: read_state(&value["state"])?,
        // Written only where there is one.
        status_before: some(&value["found"]).map(|members| read_statuses(&members)).transpose()?.unwrap_or_default(),
        held_before: match &value["already"] {
            Value::Null => false,
            already => already.as_bool().ok_or(Unreadable("goal"))?,
        },
    })
}

pub(super) fn read_shown(value: &Value) -> Read<Shown> {
    Ok(Shown {
        assignees: read_set(&value["assignees"], read_account)?,
        statuses: read_statuses(&value["statuses"])?,
        state: read_state(&value["state"])?.ok_or(Unreadable("open or closed"))?,
    })
}

// === holding, doubts, masks ===

pub(super) fn read_holding(value: &Value) -> Read<Holding> {
    Ok(Holding {
        actor: read_actor(&value["actor"])?,
        since: read_time(&value["since"])?,
        attempt: AttemptId::new(text(&value["attempt"])?),
        fence: Fence(value["fence"].as_u64().ok_or(Unreadable("version"))?),
        last_seen: read_shown(&value["shown"])?,
        status_before_claim: read_statuses(&value["found"])?,
        parked: value["parked"].as_bool().ok_or(Unreadable("holding"))?,
        renewed: read_time(&value["renewed"])?,
        // Written only where it is.
        closed: if value["closed"].is_null() { None } else { Some(read_time(&value["closed"])?) },
    })
}

pub(super) fn read_doubts(value: &Value) -> Read<Vec<Doubt>> {
    let one = |value: &Value| {
        Ok(Doubt {
            attempt: AttemptId::new(text(&value["attempt"])?),
            actor: read_actor(&value["actor"])?,
            change: read_change(&value["change"])?,
            goal: read_goal(&value["goal"])?,
            kind: read_kind(&value["kind"])?,
            ownership: read_ownership(&value["ownership"])?,
        })
    };
    value.as_array().ok_or(Unreadable("doubt"))?.iter().map(one).collect()
}

/// An older ledger does not say it.
fn read_kind(value: &Value) -> Read<Option<Kind>> {
    match value {
        Value::Null => Ok(None),
        name => Ok(Some(name.as_str().and_then(Kind::parse).ok_or(Unreadable("kind"))?)),
    }
}

pub(super) fn read_lost(value: &Value) -> Read<Loss> {
    let cause = text(&value["cause"])?.to_owned();
    Ok(Loss { actor: read_actor(&value["actor"])?, at: read_time(&value["at"])?, cause })
}

pub(super) fn read_masks(value: &Value) -> Read<Vec<Masked>> {
    let one = |value: &Value| Ok(Masked { goal: read_goal(&value["goal"])?, settled: read_time(&value["settled"])? });
    value.as_array().ok_or(Unreadable("mask"))?.iter().map(one).collect()
}

/// Where every member may be absent, anything but an object would read as one without members.
fn must_be_object(value: &Value, what: &'static str) -> Read<()> {
    if value.is_object() { Ok(()) } else { Err(Unreadable(what)) }
}

fn read_time(value: &Value) -> Read<Time> {
    value.as_i64().map(Time).ok_or(Unreadable("time"))
}

fn text(value: &Value) -> Read<&str> {
    value.as_str().ok_or(Unreadable("name"))
}
