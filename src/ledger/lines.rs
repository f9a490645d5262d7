//! What the audit says of a step, and of a decision that never became an attempt.

use crate::admission::Event;
use crate::effect::{Command, Decision, Line, Note};
use crate::model::{Attempt, AttemptState, Fingerprint, GateId, ItemRecord, Place, ResourceKey, Time};
use serde_json::Value;

/// The line of what a step did to an item.
pub(super) fn line(
    event: &Event,
    attempt: Option<&Attempt>,
    command: &Command,
    record: &ItemRecord,
    gate: &GateId,
) -> Line {
    let mut note = command.note.as_deref().cloned().unwrap_or_else(|| Note::of_gate(String::new(), None));
    let (kind, result) = name(event);
    // Nobody noted what was decided: what never was sent was refused.
    if command.note.is_none() && matches!(result, Some(AttemptState::Rejected | AttemptState::Aborted)) {
        note.decision = Decision::Reject;
    }
    if let Some(attempt) = attempt {
        attempt.id.as_str().clone_into(&mut note.id);
        note.change = attempt.change.to_string();
        note.agent = Some((attempt.actor.clone(), attempt.credential.clone()));
    }
    match event {
        Event::Revoked { holder, cause } => {
            note.agent = Some((holder.clone(), Fingerprint::new("")));
            note.reason = Some((*cause).to_owned());
        }
        Event::Finished { holder, cause, .. } | Event::TakenOver { holder, cause, .. } => {
            note.agent = Some((holder.clone(), Fingerprint::new("")));
            note.reason = Some(cause.clone());
        }
        Event::Released { holder: Some(holder) } | Event::Rebound { from: holder } => {
            note.agent = Some((holder.clone(), Fingerprint::new("")));
        }
        _ => {}
    }
    note.resource = Some(record.locator.clone());
    note.resource_id = Some(record.key.clone());
    let (fence, held) = match event {
        Event::Resolved { stood: Some(stood), .. } => (stood.0, stood.1.as_ref()),
        Event::TakenOver { fence, .. } => (*fence, None),
        _ => (record.fence, record.holding.as_ref()),
    };
    Line {
        time: command.now,
        kind,
        id: note.id.clone(),
        intent: attempt.and_then(|attempt| attempt.kind),
        result: result.map(AttemptState::as_str),
        fence: Some(fence),
        holder: held.map(|holding| holding.actor.clone()),
        parked: held.map(|holding| holding.parked),
        holding_since: held.map(|holding| holding.since),
        note,
        gate: gate.as_str().to_owned(),
    }
    .bounded()
}

/// The line of a decision that never became an attempt, of the operator's word, or of an edit's author.
pub(super) fn bare_line(mut note: Note, now: Time, gate: &GateId) -> Line {
    let (fence, held) = note.stood.take().map_or((None, None), |stood| (Some(stood.0), stood.1));
    Line {
        time: now,
        kind: note.subject.as_str(),
        id: note.id.clone(),
        intent: None,
        result: (note.decision == Decision::Reject).then_some(AttemptState::Rejected.as_str()),
        fence,
        holder: held.as_ref().map(|held| held.actor.clone()),
        parked: held.as_ref().map(|held| held.parked),
        holding_since: held.as_ref().map(|held| held.since),
        note,
        gate: gate.as_str().to_owned(),
    }
    .bounded()
}

/// How an audit line says which item it is about: by its place, and by its key if that is known.
pub(super) fn marks(locator: &Place, key: Option<&ResourceKey>) -> [String; 2] {
    let of_place = format!("\"resource\":{}", Value::from(locator.to_string()));
    let of_key = key.map(|key| format!("\"resource_id\":{}", Value::from(key.as_str())));
    [of_place.clone(), of_key.unwrap_or(of_place)]
}

fn name(event: &Event) -> (&'static str, Option<AttemptState>) {
    match event {
        Event::Decision(state) => ("decision", Some(*state)),
        Event::Revoked { .. } => ("revoked", None),
        Event::Contested => ("contested", None),
        Event::Resolved { state: AttemptState::Landed, .. } => ("landed", Some(AttemptState::Landed)),
        Event::Resolved { state, .. } => ("not_landed", Some(*state)),
        Event::Recovered(state) => ("recovered", Some(*state)),
        Event::Released { .. } => ("operator", None),
        Event::Finished { gone: false, .. } => ("finished", None),
        Event::Finished { gone: true, .. } => ("gone", None),
        Event::TakenOver { .. } => ("taken_over", None),
        Event::Rebound { .. } => ("rebound", None),
    }
}
