//! Ending doubt: by what a read shows, when it is due (manual: protocol).

use super::authors::EditOrigin;
use super::{Gate, Turn};
use crate::admission::{self, OutsideEdit, Rules, Step, Verified};
use crate::effect::{Command, Durability, LedgerError, Note};
use crate::model::{
    AttemptId, BootTime, Doubt, ItemRecord, Kind, Ownership, Reach, ResourceKey, Shown, Snapshot, Time,
};
use std::sync::Arc;
use std::time::Duration;

impl Gate {
    /// Ends the item's doubt if this read allows it, which began then. Under the item's turn, with no attempt of its own.
    pub(super) async fn resolve_by(
        &self,
        key: &ResourceKey,
        (seen, began): (&Snapshot, BootTime),
        turn: &Turn,
        rules: &Rules,
    ) {
        let record = match self.ports.ledger.item(key).await {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => return tracing::warn!(ledger.error = %error, "doubt not looked at"),
        };
        let now = self.ports.clock.now();
        // What lands up to the end of the doubt, a read that began before it may not show.
        let read_at = Time(now.0.saturating_sub_unsigned(self.ports.clock.boot().0.saturating_sub(began.0)));
        let Some(verified) = verified(&record, seen, rules, read_at) else { return };
        let doubts = record.doubts.iter().map(|doubt| doubt.attempt.clone()).collect();
        let mut note = Note::of_gate(String::new(), None);
        note.observed = Some(rules.workflow.shown(seen));
        let command = Command {
            key: key.clone(),
            locator: seen.locator.clone(),
            step: Step::Resolve { doubts, verified },
            note: Some(Box::new(note)),
            now,
        };
        turn.forget();
        match self.ports.ledger.commit(vec![command], Durability::Awaited).await {
            Ok(records) => {
                let taking = record.doubts.iter().find(|doubt| doubt.kind == Some(Kind::TakeOver));
                if let (Some(doubt), Some(after)) = (taking, records.first()) {
                    self.tell_taken_over(after, now, doubt.attempt.as_str());
                }
            }
            Err(error) => tracing::warn!(ledger.error = %error, resource = %record.locator, "doubt not ended"),
        }
    }

    /// Records what changed outside the gate since the ledger's last look at the item, each edit as a step of its own. It was
    /// read under this attempt. What there is to judge by comes back.
    pub(super) async fn account_for(
        self: &Arc<Self>,
        mut record: ItemRecord,
        (seen, under): (&Snapshot, &AttemptId),
        rules: &Rules,
        turn: &Turn,
    ) -> Result<ItemRecord, LedgerError> {
        let now = self.ports.clock.now();
        while let Some(edit) = admission::outside_edit(&record, seen, rules, now) {
            // What was seen before it tells of an earlier version.
            turn.forget();
            let harmless = matches!(edit, OutsideEdit::Harmless { .. });
            let note = self.outside_note(seen);
            let (id, before) = (note.id.clone(), record.clone());
            let command = Command {
                key: record.key.clone(),
                locator: seen.locator.clone(),
                step: Step::Edit { edit: edit.clone(), fence: record.fence },
                note: Some(note),
                now: self.ports.clock.now(),
            };
            let durability = if harmless { Durability::NextGroup } else { Durability::Awaited };
            let confirm = Step::Confirm { attempt: under.clone(), fence: record.fence };
            let confirm = Command { step: confirm, note: None, ..command.clone() };
            record = self.ports.ledger.commit(vec![confirm, command], durability).await?.pop().unwrap_or(record);
            self.tell_edit(&edit, &before, seen, &id);
            self.put_back_soon(&seen.locator, record.pending_restore.as_ref());
        }
        Ok(self.renewed(record))
    }

    /// Counts an outside edit, says in the log whose holding it ended, and has its author looked for. `before` is the
    /// record that it was seen on.
    pub(super) fn tell_edit(&self, edit: &OutsideEdit, before: &ItemRecord, seen: &Snapshot, decision: &str) {
        let (resource, metrics) = (&before.locator, &self.ports.metrics);
        if let Some(held) = &before.holding {
            let way =
                if matches!(edit, OutsideEdit::Contested { .. }) { EditOrigin::Unknown } else { EditOrigin::Outside };
            let change = [held.last_seen.clone(), self.rules().workflow.shown(seen)];
            self.look_for_authors(decision, seen, change, way);
        }
        let agent = before.holding.as_ref().map(|held| held.actor.to_string()).unwrap_or_default();
        match edit {
            OutsideEdit::Takes { cause, .. } => {
                metrics.revoked.inc();
                tracing::warn!(%resource, agent, decision, cause, "a holding was revoked");
            }
            OutsideEdit::Finishes { cause } => {
                metrics.finished.inc();
                tracing::info!(%resource, agent, decision, cause, "a holding ended: nothing is left to hold");
            }
            OutsideEdit::Contested { .. } => {
                metrics.contested.inc();
                tracing::warn!(%resource, agent, decision, "a holding is contested");
            }
            OutsideEdit::Harmless { .. } => {}
        }
    }

    /// Says in the log that a step at this time took the item from a silent holder, and counts it.
    pub(super) fn tell_taken_over(&self, after: &ItemRecord, at: Time, decision: &str) {
        let Some(loss) = after.lost.as_ref().filter(|loss| loss.at == at) else { return };
        self.ports.metrics.taken_over.inc();
        let (agent, cause) = (&loss.actor, &loss.cause);
        tracing::warn!(resource = %after.locator, %agent, decision, cause, "a holding was taken over");
    }

    pub(super) fn outside_note(&self, seen: &Snapshot) -> Box<Note> {
        let id = self.ports.entropy.attempt_id(self.ports.clock.now());
        let mut note = Note::of_gate(id.as_str().to_owned(), None);
        note.observed = Some(self.rules().workflow.shown(seen));
        Box::new(note)
    }

    /// Q is an assumption: it is measured, and said when it comes near.
    pub(super) fn measure_send(&self, took: Duration) {
        self.ports.metrics.upstream_took("send", took);
        if self.ports.metrics.is_longest_send(took) && took > self.settings.doubt_period / 4 {
            tracing::warn!(
                took_ms = took.as_millis(),
                doubt_period_s = self.settings.doubt_period.as_secs(),
                "a guarded write took more than a quarter of ledger.doubt_period; raise it"
            );
        }
    }
}

/// What a read of this time says of the item's doubt, if it may be ended by it: early only if exactly one emission is doubtful, the
/// holder is not its target, and the tracker shows the target, which it did not before; else when its time has come.
pub(super) fn verified(record: &ItemRecord, seen: &Snapshot, rules: &Rules, read_at: Time) -> Option<Verified> {
    let doubt = record.doubts.first().filter(|_| record.live.is_none())?;
    let landed = doubt.goal.reach(seen) == Reach::Full;
    let early = record.doubts.len() == 1 && landed && !doubt.goal.held_before && !holds_already(record, doubt);
    let due = record.doubt_until.is_none_or(|until| until <= read_at);
    let shown = rules.workflow.shown(seen);
    match (early || due, landed) {
        (false, _) => None,
        (true, true) => Some(Verified::Landed { parked: parks_by(record, doubt, &shown, rules), shown }),
        (true, false) => Some(Verified::NotLanded(shown)),
    }
}

/// Whether the write that landed parks its holder's item, as an answered one would have.
fn parks_by(record: &ItemRecord, doubt: &Doubt, shown: &Shown, rules: &Rules) -> Option<bool> {
    let becomes = doubt.ownership.makes_holder(&doubt.actor);
    match &record.holding {
        Some(own) if own.actor.goes_on_as(&doubt.actor) => admission::parks(&own.last_seen, shown, &rules.workflow),
        // The agent has named itself since, and goes on under that name.
        Some(own) if becomes && own.actor.may_be(&doubt.actor) => None,
        _ if becomes => {
            let before = Shown { statuses: doubt.goal.status_before.clone(), ..shown.clone() };
            admission::parks(&before, shown, &rules.workflow)
        }
        _ => None,
    }
}

fn holds_already(record: &ItemRecord, doubt: &Doubt) -> bool {
    match &doubt.ownership {
        Ownership::Becomes(actor) => record.holding.as_ref().is_some_and(|held| held.actor.may_be(actor)),
        Ownership::Ends => record.holding.is_none(),
        Ownership::Keep => true,
    }
}
