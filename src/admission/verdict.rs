//! The two judgements of a guarded write: before the send, and after it.

use super::{Outcome, Permit, Plan, Workflow};
use crate::model::{Goal, Kind, OpenState, Ownership, Reach, Rejection, SetGoal, Shown, Snapshot};

/// What becomes of a guarded write.
#[derive(Debug)]
pub enum Verdict {
    /// It may be sent, once.
    Admit(Permit),
    /// Nothing need be sent: the item already shows it, or only the ledger changes.
    Noop(GrantWithoutSend),
    /// It is refused.
    Reject(Rejection),
}

/// A grant without a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantWithoutSend {
    /// `Claim` for a repeated claim, `Adopt`, or `Release`.
    pub kind: Kind,
    /// What becomes of the holding.
    pub ownership: Ownership,
}

impl GrantWithoutSend {
    /// Of a write that repeats what shows.
    pub const ECHO: Self = Self { kind: Kind::Move, ownership: Ownership::Keep };

    /// The same where the request must be sent all the same, for something else that it does. `goal` shows already.
    pub fn sent(self, goal: Goal) -> Permit {
        Permit::new(Plan { kind: self.kind, goal, ownership: self.ownership, heard: None })
    }
}

/// How a send ended, as far as its answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A complete answer with this status.
    Complete(u16),
    /// Time-out, reset, unparsable: no certain answer.
    Uncertain,
}

/// A write that was sent.
#[derive(Clone, Copy, Debug)]
pub struct SentWrite<'a> {
    /// What it was to do.
    pub plan: &'a Plan,
    /// The read that admitted it.
    pub before: &'a Snapshot,
    /// Whether whoever moves the item by it is its holder.
    pub by_holder: bool,
}

/// Judges a sent write by what the tracker shows afterwards, not by what it said (manual: protocol, steps 8 and 9).
///
/// `after` is the read-back, absent where it could not be had.
pub fn judge(sent: &SentWrite<'_>, answer: Answer, after: Option<&Snapshot>, workflow: &Workflow) -> Outcome {
    let SentWrite { plan, before, by_holder } = *sent;
    let Answer::Complete(status) = answer else { return Outcome::Doubt };
    if matches!(status, 502..=504) {
        return Outcome::Doubt;
    }
    let Some(after) = after else { return Outcome::Doubt };
    let shown = workflow.shown(after);
    match plan.goal.reach(after) {
        // A redirect says that the request was not taken; what shows is somebody else's doing.
        _ if (300..400).contains(&status) => Outcome::Refused { shown },
        // What showed before the send is no sign of it (and neither is a goal that names nothing): there the tracker's word
        // is all there is.
        Reach::Full if status >= 400 && plan.goal.reach(before) == Reach::Full => Outcome::Refused { shown },
        reach if reach == Reach::Full || (status < 300 && has_left(&plan.goal, before, after)) => {
            let parked = by_holder.then(|| parks(&workflow.shown(before), &shown, workflow)).flatten();
            Outcome::Committed { shown, parked }
        }
        Reach::AssigneesOnly => Outcome::Partial { holds: true, shown },
        Reach::Full | Reach::Missed if plan.goal.same_on_named_fields(before, after) => Outcome::Refused { shown },
        Reach::Full | Reach::Missed if status >= 400 && is_half_done(&plan.goal, before, after) => {
            Outcome::Halfway { shown }
        }
        Reach::Full | Reach::Missed => Outcome::Partial { holds: false, shown },
    }
}

/// Whether the write itself can have left this: some of those whom it unassigns are gone, nobody is there whom it does not
/// assign, and what a tracker writes after the assignees is as it was.
fn is_half_done(goal: &Goal, before: &Snapshot, after: &Snapshot) -> bool {
    let Some(wanted) = &goal.assignees else { return false };
    let mut gone = before.assignees.difference(&after.assignees).peekable();
    let rest = Goal { assignees: None, ..goal.clone() };
    gone.peek().is_some()
        && gone.all(|login| !wanted.contains(login))
        && after.assignees.difference(&before.assignees).all(|login| wanted.contains(login))
        && rest.same_on_named_fields(before, after)
}

/// Whether one of the labels that a removal could mean is gone, and nothing else changed. A number in a path is a name
/// first on some versions, and two labels can have one name: which of them was meant, only the tracker knows.
fn has_left(goal: &Goal, before: &Snapshot, after: &Snapshot) -> bool {
    let Some(SetGoal { with, without: Some(wanted) }) = &goal.labels else { return false };
    let alone = with.is_empty() && goal.assignees.is_none() && goal.state.is_none();
    let mut gone = before.labels.difference(&after.labels).peekable();
    alone && gone.peek().is_some() && gone.all(|label| wanted.iter().any(|wanted| wanted.may_mean(label)))
}

/// Whether the holder's own write takes its item out of work (`Some(true)`), back into it (`Some(false)`), or neither.
pub fn parks(was: &Shown, is: &Shown, workflow: &Workflow) -> Option<bool> {
    let closes = was.state == OpenState::Open && is.state == OpenState::Closed;
    let leaves = workflow.is_working(was) && !workflow.is_working(is);
    if closes || leaves { Some(true) } else { workflow.is_working(is).then_some(false) }
}
