//! Outside edits: what changed between two reads without passing the gate (manual: protocol).

use super::{Outside, Rules};
use crate::model::{Holding, ItemRecord, Masked, OpenState, Shown, Snapshot, Time};

/// A difference between a fresh read and what the holding last showed, while nothing is in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideEdit {
    /// It takes the item from its holder.
    Takes {
        /// What shows now.
        shown: Shown,
        /// What happened, for the audit and for the old holder.
        cause: &'static str,
    },
    /// It takes a closed item from its holder: that work is done.
    Finishes {
        /// What happened, for the audit.
        cause: &'static str,
    },
    /// It leaves the holder where it is.
    Harmless {
        /// What shows now.
        shown: Shown,
    },
    /// A late landing of an older write of the gate's own, or an edit that the rules say to hold.
    Contested {
        /// What shows now.
        shown: Shown,
    },
}

/// Judges a read against the record; `None` where there is nothing to record.
pub fn outside_edit(record: &ItemRecord, read: &Snapshot, rules: &Rules, now: Time) -> Option<OutsideEdit> {
    let holding = record.holding.as_ref().filter(|_| record.doubts.is_empty())?;
    let shown = rules.workflow.shown(read);
    if shown == holding.last_seen {
        return None;
    }
    let taken = takes(holding, &shown, rules);
    let finished = holding.last_seen.state == OpenState::Closed && shown.state == OpenState::Closed;
    let held = taken.is_some() && !finished && rules.assignment.outside == Outside::Hold;
    if held || is_zombie(record, &holding.last_seen, read, rules, now) {
        return (!record.contested).then_some(OutsideEdit::Contested { shown });
    }
    Some(match taken {
        Some(_) if finished => OutsideEdit::Finishes { cause: "closed, and its holder is not assigned any more" },
        Some(cause) => OutsideEdit::Takes { shown, cause },
        None => OutsideEdit::Harmless { shown },
    })
}

/// Whether the read is explained by the late landing of a masked attempt: every field that differs is one which that
/// attempt names, and shows its target.
pub(super) fn is_zombie(record: &ItemRecord, shown: &Shown, read: &Snapshot, rules: &Rules, now: Time) -> bool {
    let recent = |mask: &&Masked| now.since(mask.settled) < rules.assignment.zombie_period;
    record.late_writes.iter().filter(recent).any(|mask| explains(mask, shown, read, rules))
}

fn explains(mask: &Masked, shown: &Shown, read: &Snapshot, rules: &Rules) -> bool {
    let is = rules.workflow.shown(read);
    let named = |differs: bool, named: bool| !differs || named;
    mask.goal.reach(read) == crate::model::Reach::Full
        && named(is.assignees != shown.assignees, mask.goal.assignees.is_some())
        && named(is.statuses != shown.statuses, mask.goal.labels.is_some())
        && named(is.state != shown.state, mask.goal.state.is_some())
}

fn takes(holding: &Holding, now: &Shown, rules: &Rules) -> Option<&'static str> {
    let was = &holding.last_seen;
    let own = |login| holding.actor.account.login() == Some(login);
    let lost = !was.assignees.is_empty() && !was.assignees.is_subset(&now.assignees);
    let joined = was.assignees.is_empty() && now.assignees.iter().any(|login| !own(login));
    match () {
        () if lost && now.assignees.is_empty() => Some("unassigned by an outside edit"),
        () if lost || joined => Some("reassigned by an outside edit"),
        () if was.state != now.state && now.state == OpenState::Closed => Some("closed by an outside edit"),
        () if rules.workflow.is_working(was) && !rules.workflow.is_working(now) => {
            Some("moved out of work by an outside edit")
        }
        () => None,
    }
}
