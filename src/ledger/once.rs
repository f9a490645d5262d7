//! Entries of "create once" under change, whatever keeps them.

use super::book::bare_line;
use crate::admission::once::{OnceStep, apply};
use crate::effect::{LedgerError, Line, Note, OnceCommand};
use crate::model::{Epoch, GateId, OnceEntry, OnceKey, Standing, Time};
use std::collections::BTreeMap;

/// What a batch changes.
#[derive(Debug, Default)]
pub(super) struct OnceChanges {
    /// The entries after it; none: there is none any more.
    pub(super) entries: BTreeMap<OnceKey, Option<OnceEntry>>,
    /// Audit lines.
    pub(super) lines: Vec<Line>,
}

/// Runs a batch, all or nothing, over entries that are loaded as they are needed.
pub(super) fn run(
    commands: &[OnceCommand],
    gate: &GateId,
    epoch: Epoch,
    load: &mut dyn FnMut(&OnceKey) -> Result<Option<OnceEntry>, LedgerError>,
) -> Result<OnceChanges, LedgerError> {
    let mut changes = OnceChanges::default();
    for command in commands {
        let before = match changes.entries.get(&command.key) {
            Some(entry) => entry.clone(),
            None => load(&command.key)?,
        };
        let mut after = before.clone();
        let said = apply(&mut after, &command.step, gate, epoch)?;
        if let (Some(said), Some(entry)) = (said, after.as_ref().or(before.as_ref())) {
            changes.lines.push(line(said, entry, command, gate));
        }
        changes.entries.insert(command.key.clone(), after);
    }
    Ok(changes)
}

/// What a new life of this gate does first.
pub(super) fn recovery(keys: Vec<OnceKey>, gate: &GateId, before: Epoch, until: Time, now: Time) -> Vec<OnceCommand> {
    let step = OnceStep::Recover { gate: gate.clone(), before, until };
    let note = || Box::new(Note::of_gate(String::new(), None));
    keys.into_iter().map(|key| OnceCommand { key, step: step.clone(), note: note(), now }).collect()
}

fn line(said: &str, entry: &OnceEntry, command: &OnceCommand, gate: &GateId) -> Line {
    let mut note = (*command.note).clone();
    let more = note.reason.take().map(|more| format!(" ({more})")).unwrap_or_default();
    let place = match &entry.standing {
        Standing::Made(made) => format!(", {}", made.url),
        Standing::Sent { .. } => String::new(),
    };
    entry.attempt.as_str().clone_into(&mut note.id);
    note.reason = Some(format!("{said}{place}{more}"));
    note.change = format!("once {}", entry.key);
    note.resource = Some(entry.about.clone());
    note.agent = Some((entry.actor.clone(), crate::model::Fingerprint::new("")));
    Line { kind: "once", result: None, ..bare_line(note, command.now, gate) }
}
