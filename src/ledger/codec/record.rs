//! Whole records, attempts, leases and entries as one JSON text each, for a ledger that keeps one row of them.

use super::{Read, Unreadable, must_be_object, read_actor, read_change, read_goal, read_ownership, read_time, text};
use crate::model::{
    Attempt, AttemptId, AttemptState, Epoch, Fence, Fingerprint, GateId, ItemRecord, Kind, Made, OnceEntry, OnceKey,
    Place, Project, ProjectLease, ResourceKey, Standing,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

type Raw = Box<RawValue>;

#[derive(Serialize)]
struct RecordJson {
    fence: u64,
    holding: Option<Raw>,
    contested: bool,
    doubts: Raw,
    doubt_until: Option<i64>,
    masks: Raw,
    stray: Option<Raw>,
    reassigned: bool,
    lost: Option<Raw>,
}

#[derive(Serialize)]
struct AttemptJson<'a> {
    id: &'a str,
    locator: String,
    actor: Raw,
    credential: &'a str,
    change: Raw,
    goal: Option<Raw>,
    kind: Option<&'static str>,
    ownership: Raw,
    state: &'static str,
    gate: &'a str,
    epoch: u64,
    opened: i64,
}

#[derive(Serialize)]
struct LeaseJson {
    actor: Raw,
    since: i64,
    seen: i64,
    until: i64,
}

#[derive(Serialize)]
struct EntryJson<'a> {
    about: String,
    actor: Raw,
    since: i64,
    attempt: &'a str,
    gate: &'a str,
    epoch: u64,
    until: Option<i64>,
    made: Option<MadeJson<'a>>,
}

#[derive(Serialize)]
struct MadeJson<'a> {
    id: &'a str,
    url: &'a str,
    at: String,
}

fn raw(text: String) -> Raw {
    RawValue::from_string(text).expect("it was written as JSON")
}

/// All of an item's record but where it is and what is live.
pub(in crate::ledger) fn record(record: &ItemRecord) -> String {
    super::json(&RecordJson {
        fence: record.fence.0,
        holding: record.holding.as_ref().map(super::holding).map(raw),
        contested: record.contested,
        doubts: raw(super::doubts(&record.doubts)),
        doubt_until: record.doubt_until.map(|until| until.0),
        masks: raw(super::masks(&record.late_writes)),
        stray: record.pending_restore.as_ref().map(super::statuses).map(raw),
        reassigned: record.reassigned,
        lost: record.lost.as_ref().map(super::lost).map(raw),
    })
}

pub(in crate::ledger) fn read_record(key: &ResourceKey, locator: &str, stored: &str) -> Read<ItemRecord> {
    let value = parse(stored)?;
    must_be_object(&value, "record")?;
    let some = |member: &str| Some(&value[member]).filter(|value| !value.is_null());
    Ok(ItemRecord {
        fence: Fence(value["fence"].as_u64().ok_or(Unreadable("version"))?),
        holding: some("holding").map(super::read_holding).transpose()?,
        contested: value["contested"].as_bool().ok_or(Unreadable("record"))?,
        doubts: super::read_doubts(&value["doubts"])?,
        doubt_until: some("doubt_until").map(read_time).transpose()?,
        late_writes: super::read_masks(&value["masks"])?,
        pending_restore: some("stray").map(super::read_statuses).transpose()?,
        reassigned: value["reassigned"].as_bool().ok_or(Unreadable("record"))?,
        lost: some("lost").map(super::read_lost).transpose()?,
        ..ItemRecord::new(key.clone(), Place::from_stored(locator))
    })
}

/// An attempt, all but its item.
pub(in crate::ledger) fn attempt(attempt: &Attempt) -> String {
    super::json(&AttemptJson {
        id: attempt.id.as_str(),
        locator: attempt.locator.to_stored(),
        actor: raw(super::actor(&attempt.actor)),
        credential: attempt.credential.as_str(),
        change: raw(super::change(&attempt.change)),
        goal: attempt.goal.as_ref().map(super::goal).map(raw),
        kind: attempt.kind.map(Kind::as_str),
        ownership: raw(super::ownership(&attempt.ownership)),
        state: attempt.state.as_str(),
        gate: attempt.gate.as_str(),
        epoch: attempt.epoch.0,
        opened: attempt.opened.0,
    })
}

pub(in crate::ledger) fn read_attempt(key: &ResourceKey, stored: &str) -> Read<Attempt> {
    let value = parse(stored)?;
    let kind = Some(&value["kind"]).filter(|kind| !kind.is_null());
    let goal = Some(&value["goal"]).filter(|goal| !goal.is_null());
    Ok(Attempt {
        id: AttemptId::new(text(&value["id"])?),
        key: key.clone(),
        locator: Place::from_stored(text(&value["locator"])?),
        actor: read_actor(&value["actor"])?,
        credential: Fingerprint::new(text(&value["credential"])?),
        change: read_change(&value["change"])?,
        goal: goal.map(read_goal).transpose()?,
        kind: kind.map(|kind| Kind::parse(text(kind)?).ok_or(Unreadable("kind"))).transpose()?,
        ownership: read_ownership(&value["ownership"])?,
        state: read_attempt_state(text(&value["state"])?)?,
        gate: GateId::new(text(&value["gate"])?),
        epoch: read_epoch(&value["epoch"])?,
        opened: read_time(&value["opened"])?,
    })
}

pub(in crate::ledger) fn read_attempt_state(text: &str) -> Read<AttemptState> {
    AttemptState::parse(text).ok_or(Unreadable("state"))
}

pub(in crate::ledger) fn lease(lease: &ProjectLease) -> String {
    let actor = raw(super::actor(&lease.actor));
    super::json(&LeaseJson { actor, since: lease.since.0, seen: lease.seen.0, until: lease.until.0 })
}

pub(in crate::ledger) fn read_lease(rule: &str, project: &str, stored: &str) -> Read<ProjectLease> {
    let value = parse(stored)?;
    Ok(ProjectLease {
        rule: rule.to_owned(),
        project: Project::new(project),
        actor: read_actor(&value["actor"])?,
        since: read_time(&value["since"])?,
        seen: read_time(&value["seen"])?,
        until: read_time(&value["until"])?,
    })
}

/// What may be created once, all but its key.
pub(in crate::ledger) fn entry(entry: &OnceEntry) -> String {
    let (until, made) = match &entry.standing {
        Standing::Sent { until } => (Some(until.0), None),
        Standing::Made(made) => (None, Some(MadeJson { id: &made.id, url: &made.url, at: made.at.to_stored() })),
    };
    super::json(&EntryJson {
        about: entry.about.to_stored(),
        actor: raw(super::actor(&entry.actor)),
        since: entry.since.0,
        attempt: entry.attempt.as_str(),
        gate: entry.gate.as_str(),
        epoch: entry.epoch.0,
        until,
        made,
    })
}

pub(in crate::ledger) fn read_entry(key: &OnceKey, stored: &str) -> Read<OnceEntry> {
    let value = parse(stored)?;
    let made = &value["made"];
    let standing = if made.is_null() {
        Standing::Sent { until: read_time(&value["until"])? }
    } else {
        let (id, url) = (text(&made["id"])?.to_owned(), text(&made["url"])?.to_owned());
        Standing::Made(Made { id, url, at: Place::from_stored(text(&made["at"])?) })
    };
    Ok(OnceEntry {
        key: key.clone(),
        about: Place::from_stored(text(&value["about"])?),
        actor: read_actor(&value["actor"])?,
        since: read_time(&value["since"])?,
        attempt: AttemptId::new(text(&value["attempt"])?),
        gate: GateId::new(text(&value["gate"])?),
        epoch: read_epoch(&value["epoch"])?,
        standing,
    })
}

pub(in crate::ledger) fn parse(text: &str) -> Read<Value> {
    serde_json::from_str(text).map_err(|_| Unreadable("JSON value"))
}

fn read_epoch(value: &Value) -> Read<Epoch> {
    value.as_u64().map(Epoch).ok_or(Unreadable("epoch"))
}
