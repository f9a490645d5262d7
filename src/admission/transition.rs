//! What each step of the claim protocol does to an item's record (manual: protocol).
//!
//! Every ledger runs these functions inside its own transaction, so that the
//! protocol is written once. A step that the record does not allow is refused
//! and changes nothing; a final state is never left.

use super::{Constraint, OutsideEdit, Plan, Refused};
use crate::model::{
    Actor, Attempt, AttemptId, AttemptState, Code, Doubt, Epoch, Fence, GateId, Goal, Holding, ItemRecord, Kind, Loss,
    Masked, OpenState, Ownership, Settled, Shown, Status, Time,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// One step, carried out in one transaction.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, never in long lists")]
pub enum Step {
    /// T1: enter the attempt. Never judges who holds.
    Open(Attempt),
    /// OPEN -> REJECTED.
    Reject(AttemptId),
    /// OPEN or SENDING, before the first byte -> ABORTED.
    Abort(AttemptId),
    /// OPEN -> nothing: it was entered only to keep other gates out while the item was read.
    Withdraw(AttemptId),
    /// OPEN -> COMMITTED without a send: a no-op or an adoption.
    Grant {
        /// The attempt.
        attempt: AttemptId,
        /// What it means.
        kind: Kind,
        /// What becomes of the holding.
        ownership: Ownership,
        /// What the read showed.
        shown: Shown,
    },
    /// T2: OPEN -> SENDING.
    Send {
        /// The attempt.
        attempt: AttemptId,
        /// What it is to do.
        plan: Plan,
    },
    /// T3: SENDING -> COMMITTED, REFUSED, PARTIAL or DOUBT.
    Settle {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
        /// When a doubt ends.
        doubt_until: Time,
    },
    /// An outside edit was seen, at this version of the item.
    Edit {
        /// What was seen.
        edit: OutsideEdit,
        /// The version that it was judged against.
        fence: Fence,
    },
    /// DOUBT -> LANDED or `NOT_LANDED`, if no attempt is live and the doubtful ones are still these.
    Resolve {
        /// The attempts in doubt that the read was made for.
        doubts: Vec<AttemptId>,
        /// What the read showed.
        verified: Verified,
    },
    /// The operator ends the holding, at this version of the item, and every doubt with it: what lands late is a zombie.
    Release {
        /// The version that was meant.
        fence: Fence,
    },
    /// The holding ends because there is nothing left to hold, at this version of the item.
    Finish {
        /// The version that was meant.
        fence: Fence,
        /// Why.
        end: Finish,
    },
    /// The holder was heard of about this item.
    Renew {
        /// Who.
        actor: Actor,
        /// When.
        at: Time,
    },
    /// The live attempt's process has ended: OPEN -> ABORTED, SENDING -> DOUBT. Its clock may have been ahead.
    Recover {
        /// The gate whose attempts these are.
        gate: GateId,
        /// Every epoch before this one.
        before: Epoch,
        /// When the doubt ends.
        doubt_until: Time,
    },
    /// An opaque account turned out to be this one.
    Rebind {
        /// The holder as it was recorded.
        from: Actor,
        /// The same agent, named.
        to: Actor,
    },
    /// The batch that this stands in goes on only if the constraint holds. It stands before the step that it is for; the
    /// ledger judges it, since it rests on more than this item's record.
    Check(Constraint),
    /// The batch that this stands in goes on only if the item is as it was judged: this attempt is live, and nothing has
    /// ended or begun a holding since. It stands before the step that it is for.
    Confirm {
        /// The attempt under which the item was read.
        attempt: AttemptId,
        /// The version that it was judged by.
        fence: Fence,
    },
}

/// How a sent write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target was seen.
    Committed {
        /// What the read-back showed.
        shown: Shown,
        /// Whether the holder's write parks the item (`Some(true)`) or takes it back into work.
        parked: Option<bool>,
    },
    /// The old state was seen.
    Refused {
        /// What the read-back showed.
        shown: Shown,
    },
    /// The tracker gave up in the midst of this write: whom it was to unassign is gone, whom it was to assign is not there.
    Halfway {
        /// What the read-back showed.
        shown: Shown,
    },
    /// Something else was seen.
    Partial {
        /// The assignee reached its target; another field did not.
        holds: bool,
        /// What the read-back showed.
        shown: Shown,
    },
    /// No certain answer.
    Doubt,
}

/// What a read says of the attempts in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The target shows.
    Landed {
        /// What the read showed.
        shown: Shown,
        /// Whether the holder's write parks the item (`Some(true)`) or takes it back into work.
        parked: Option<bool>,
    },
    /// It does not.
    NotLanded(Shown),
    /// Nobody can see the item, and the doubt's time is over.
    Unseen,
}

/// Why nothing is left to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The item has been closed for this long.
    Closed(Duration),
    /// The tracker has said for this long that there is no such item.
    Gone(Duration),
}

/// Who carries the step out, and when.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The gate.
    pub gate: GateId,
    /// Its life.
    pub epoch: Epoch,
    /// The time.
    pub now: Time,
    /// How long masks are kept.
    pub zombie_period: Duration,
}

/// What happened, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A decision was recorded.
    Decision(AttemptState),
    /// An outside edit ended a holding.
    Revoked {
        /// Whose.
        holder: Actor,
        /// How.
        cause: &'static str,
    },
    /// An edit that nobody accounts for.
    Contested,
    /// A doubt ended.
    Resolved {
        /// How.
        state: AttemptState,
        /// The version, and who held the item, where another doubt of it ended by the same step and after this one.
        stood: Option<Box<(Fence, Option<Holding>)>>,
    },
    /// An attempt of an ended process was closed.
    Recovered(AttemptState),
    /// The operator ended it.
    Released {
        /// Whose holding, if there was one.
        holder: Option<Actor>,
    },
    /// The holding ended because nothing was left to hold.
    Finished {
        /// Whose.
        holder: Actor,
        /// Why.
        cause: String,
        /// The item is not there any more; else it is closed.
        gone: bool,
    },
    /// The holding of a silent agent ended, for the attempt that this event names.
    TakenOver {
        /// Whose.
        holder: Actor,
        /// By whom, and after how long.
        cause: String,
        /// The version at which nobody holds it.
        fence: Fence,
    },
    /// An opaque holder got its name.
    Rebound {
        /// As recorded until now.
        from: Actor,
    },
}

/// The effect of a step beside the record itself.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// For the audit, each with the attempt that it speaks of.
    pub events: Vec<(Event, Option<Attempt>)>,
    /// Attempts that became final.
    pub settled: Vec<Settled>,
    /// The refusal code of a decision, where the transition knows it.
    pub code: Option<Code>,
}

/// Masks that one item keeps: they are in its row, which is written with each step.
const MOST_MASKS: usize = 32;

/// Carries a step out on a record, or refuses and leaves the record as it was.
pub fn apply(record: &mut ItemRecord, step: &Step, stamp: &Stamp) -> Result<Applied, Refused> {
    let mut done = Applied::default();
    let was_open = record.holding.as_ref().is_some_and(|held| held.last_seen.state == OpenState::Open);
    let claims = claims_as_it_shows(record, step);
    carry_out(record, step, stamp, &mut done)?;
    // INVARIANT: an edit that nobody accounts for contests a holding, never an item that nobody holds.
    record.contested &= record.holding.is_some();
    if let Some(holding) = &mut record.holding {
        let closed = holding.last_seen.state == OpenState::Closed;
        // Whoever closes a held item ends the exclusive right of its holder; unless that is just told that it holds it.
        holding.parked |= closed && was_open && !claims;
        holding.closed = closed.then(|| holding.closed.unwrap_or(stamp.now));
    }
    prune(record, stamp);
    Ok(done)
}

/// Whether the step tells its agent that it holds the item as it shows, and not that it has closed it.
fn claims_as_it_shows(record: &ItemRecord, step: &Step) -> bool {
    let is_claim = |kind| matches!(kind, Kind::Claim | Kind::Adopt | Kind::TakeOver);
    let kind = match step {
        Step::Grant { kind, .. } => Some(*kind),
        Step::Settle { outcome: Outcome::Committed { .. }, .. } => record.live.as_ref().and_then(|live| live.kind),
        _ => None,
    };
    let closes = record.live.as_ref().is_some_and(|live| live.change.state == Some(OpenState::Closed));
    kind.is_some_and(is_claim) && !closes
}

fn carry_out(record: &mut ItemRecord, step: &Step, stamp: &Stamp, done: &mut Applied) -> Result<(), Refused> {
    match step {
        Step::Open(attempt) => open(record, attempt, stamp)?,
        Step::Reject(id) => {
            let attempt = take_live(record, id, &[AttemptState::Open], stamp)?;
            done.close(attempt, AttemptState::Rejected, None, stamp);
        }
        Step::Abort(id) => {
            let attempt = take_live(record, id, &[AttemptState::Open, AttemptState::Sending], stamp)?;
            done.close(attempt, AttemptState::Aborted, None, stamp);
        }
        Step::Withdraw(id) => drop(take_live(record, id, &[AttemptState::Open], stamp)?),
        // Somebody has had the item since it was made: its creator is not the first, and may be nothing to it any more.
        Step::Grant { kind: Kind::Create, .. } if record.fence != Fence::default() || record.holding.is_some() => {
            return Err(Refused::Stale);
        }
        Step::Grant { attempt, kind, ownership, shown } => {
            let mut attempt = take_live(record, attempt, &[AttemptState::Open], stamp)?;
            attempt.kind = Some(*kind);
            attempt.ownership = ownership.clone();
            own(record, &attempt, shown, stamp, done);
            done.close(attempt, AttemptState::Committed, Some(shown), stamp);
        }
        Step::Send { attempt, plan } => send(record, attempt, plan, stamp)?,
        Step::Settle { attempt, outcome, doubt_until } => {
            let attempt = take_live(record, attempt, &[AttemptState::Sending], stamp)?;
            settle(record, attempt, (outcome, *doubt_until), stamp, done);
        }
        Step::Edit { edit, fence } => edited(record, edit, *fence, stamp, done)?,
        Step::Resolve { doubts, verified } => resolve(record, doubts, verified, stamp, done)?,
        Step::Release { fence } => release(record, *fence, stamp, done)?,
        Step::Finish { fence, end } => finish(record, *fence, *end, stamp, done)?,
        Step::Renew { actor, at } => renew(record, actor, *at),
        Step::Recover { gate, before, doubt_until } => recover(record, (gate, *before), *doubt_until, stamp, done),
        Step::Rebind { from, to } => rebind(record, from, to, done)?,
        Step::Check(_) => {}
        Step::Confirm { attempt, fence } => confirm(record, attempt, *fence, stamp)?,
    }
    Ok(())
}

// === T1, T2, T3 ===

fn confirm(record: &ItemRecord, id: &AttemptId, fence: Fence, stamp: &Stamp) -> Result<(), Refused> {
    if !record.live.as_ref().is_some_and(|live| is_own(live, id, stamp)) {
        return Err(Refused::Fenced);
    }
    if record.fence == fence { Ok(()) } else { Err(Refused::Stale) }
}

fn open(record: &mut ItemRecord, attempt: &Attempt, stamp: &Stamp) -> Result<(), Refused> {
    if record.live.is_some() {
        return Err(Refused::Busy);
    }
    let same = |doubt: &Doubt| doubt.actor.goes_on_as(&attempt.actor) && doubt.change == attempt.change;
    if !record.doubts.iter().all(same) {
        return Err(Refused::InDoubt(record.doubt_left(stamp.now)));
    }
    // A request may name an item without its project, which the record knows.
    if attempt.locator.project().is_some() || record.locator.project().is_none() {
        record.locator = attempt.locator.clone();
    }
    // Whoever enters it completes it. An attempt that was made out while the ledger was not open yet names nobody.
    record.live = Some(Attempt { gate: stamp.gate.clone(), epoch: stamp.epoch, ..attempt.clone() });
    Ok(())
}

fn send(record: &mut ItemRecord, id: &AttemptId, plan: &Plan, stamp: &Stamp) -> Result<(), Refused> {
    let mut attempt = take_live(record, id, &[AttemptState::Open], stamp)?;
    // Silence that could not have been broken is none.
    if let (Some(heard), Some(holding)) = (plan.heard, &mut record.holding) {
        holding.renewed = holding.renewed.max(heard);
    }
    attempt.state = AttemptState::Sending;
    attempt.kind = Some(plan.kind);
    attempt.goal = Some(plan.goal.clone());
    attempt.ownership = plan.ownership.clone();
    record.live = Some(attempt);
    Ok(())
}

fn settle(
    record: &mut ItemRecord,
    attempt: Attempt,
    (outcome, doubt_until): (&Outcome, Time),
    stamp: &Stamp,
    done: &mut Applied,
) {
    match outcome {
        Outcome::Committed { shown, parked } => {
            record.contested &= leaves_dispute(record, &attempt);
            own(record, &attempt, shown, stamp, done);
            // Whoever relabels an item has seen to its labels.
            if attempt.goal.as_ref().is_some_and(|goal| goal.labels.is_some()) {
                record.pending_restore = None;
            }
            if let (Some(parked), Some(holding)) = (parked, record.holding.as_mut()) {
                holding.parked = *parked;
            }
            done.close(attempt, AttemptState::Committed, Some(shown), stamp);
        }
        Outcome::Refused { shown } => {
            mask(record, &attempt, stamp);
            done.close(attempt, AttemptState::Refused, Some(shown), stamp);
        }
        Outcome::Halfway { shown } => {
            let attempt = halfway(record, attempt, shown, stamp, done);
            done.close(attempt, AttemptState::Partial, Some(shown), stamp);
        }
        Outcome::Partial { holds, shown } => {
            partial(record, &attempt, (*holds, shown), stamp, done);
            done.close(attempt, AttemptState::Partial, Some(shown), stamp);
        }
        Outcome::Doubt => doubt(record, attempt, doubt_until, done),
    }
}

/// The target holds where the assignee reached it; otherwise a writer that did not pass the gate is in play.
fn partial(
    record: &mut ItemRecord,
    attempt: &Attempt,
    (holds, shown): (bool, &Shown),
    stamp: &Stamp,
    done: &mut Applied,
) {
    if !holds {
        record.contested = true;
        return;
    }
    // `shown` stays what the last COMMITTED read back, unless there was no holding to show anything.
    let kept = record.holding.as_ref().filter(|held| Ownership::Becomes(held.actor.clone()) == attempt.ownership);
    let shown = kept.map_or_else(|| shown.clone(), |held| held.last_seen.clone());
    own(record, attempt, &shown, stamp, done);
}

/// What a write of the gate's own has made of the item is nobody else's doing: a holder that it has unassigned holds no more,
/// and the item is free.
fn halfway(record: &mut ItemRecord, attempt: Attempt, shown: &Shown, stamp: &Stamp, done: &mut Applied) -> Attempt {
    let is_assigned = |held: &Holding| held.actor.account.login().is_some_and(|login| shown.assignees.contains(login));
    let goes_on = record.holding.as_ref().is_none_or(is_assigned);
    let ownership = if goes_on { Ownership::Keep } else { Ownership::Ends };
    let attempt = Attempt { ownership, ..attempt };
    own(record, &attempt, shown, stamp, done);
    record.contested &= record.holding.is_some();
    attempt
}

fn doubt(record: &mut ItemRecord, mut attempt: Attempt, until: Time, done: &mut Applied) {
    attempt.state = AttemptState::Doubt;
    record.doubts.push(Doubt {
        attempt: attempt.id.clone(),
        actor: attempt.actor.clone(),
        change: attempt.change.clone(),
        goal: attempt.goal.clone().unwrap_or_default(),
        kind: attempt.kind,
        ownership: attempt.ownership.clone(),
    });
    record.doubt_until = record.doubt_until.max(Some(until));
    done.events.push((Event::Decision(AttemptState::Doubt), Some(attempt)));
}

/// Makes the attempt's effect on ownership true. Every change of the holder or of what it shows is a new version.
fn own(record: &mut ItemRecord, attempt: &Attempt, shown: &Shown, stamp: &Stamp, done: &mut Applied) {
    record.reassigned &= !shown.assignees.is_empty() && attempt.ownership == Ownership::Keep;
    match &attempt.ownership {
        Ownership::Keep => {
            keep(record, attempt, shown, stamp);
        }
        Ownership::Ends => {
            if record.holding.take().is_some() {
                record.fence.0 += 1;
            }
            record.contested = false;
        }
        Ownership::Becomes(actor) => {
            let holding = hold(record, actor, attempt, shown, stamp);
            if attempt.kind == Some(Kind::TakeOver) {
                take_from(record, actor, attempt, stamp, done);
            }
            record.fence.0 += 1;
            record.contested = false;
            record.lost.take_if(|loss| loss.actor.goes_on_as(actor));
            record.holding = Some(Holding { fence: record.fence, ..holding });
        }
    }
}

/// A silent agent loses its item, as a step of its own in the audit.
fn take_from(record: &mut ItemRecord, by: &Actor, attempt: &Attempt, stamp: &Stamp, done: &mut Applied) {
    let Some(held) = record.holding.take_if(|held| !held.actor.goes_on_as(by)) else { return };
    record.fence.0 += 1;
    let cause = format!("taken over by {by} after {} s of silence", stamp.now.since(held.renewed).as_secs());
    record.lost = Some(Loss { actor: held.actor.clone(), at: stamp.now, cause: cause.clone() });
    let taken = Event::TakenOver { holder: held.actor, cause, fence: record.fence };
    done.events.push((taken, Some(attempt.clone())));
}

/// Whether a dispute over a held item stays as it is: somebody else's write that decides nothing of it, a label or a repeated
/// state, takes what shows for nobody's.
fn leaves_dispute(record: &ItemRecord, attempt: &Attempt) -> bool {
    let by_holder = record.is_held_by(&attempt.actor);
    let decides = attempt.goal.as_ref().is_some_and(|goal| goal.assignees.is_some() || goal.state.is_some());
    record.contested && attempt.ownership == Ownership::Keep && !by_holder && !decides
}

/// The holding stays: it shows what was read, its own agent was heard of, and an instance that is named for the first
/// time stays named.
fn keep(record: &mut ItemRecord, attempt: &Attempt, shown: &Shown, stamp: &Stamp) {
    if leaves_dispute(record, attempt) {
        return;
    }
    let Some(holding) = &mut record.holding else { return };
    holding.last_seen = shown.clone();
    if !holding.actor.goes_on_as(&attempt.actor) {
        return;
    }
    holding.renewed = holding.renewed.max(stamp.now);
    if let (None, Some(instance)) = (&holding.actor.instance, &attempt.actor.instance) {
        holding.actor.instance = Some(instance.clone());
        record.fence.0 += 1;
        holding.fence = record.fence;
    }
}

/// A holding of the same agent goes on since when it began; an instance once named stays named.
fn hold(record: &ItemRecord, actor: &Actor, attempt: &Attempt, shown: &Shown, stamp: &Stamp) -> Holding {
    let before = record.holding.as_ref().filter(|held| held.actor.goes_on_as(actor) && !held.parked);
    let instance = actor.instance.clone().or_else(|| before.and_then(|held| held.actor.instance.clone()));
    Holding {
        actor: Actor { account: actor.account.clone(), instance },
        since: before.map_or(stamp.now, |held| held.since),
        attempt: before.map_or_else(|| attempt.id.clone(), |held| held.attempt.clone()),
        fence: record.fence,
        last_seen: shown.clone(),
        status_before_claim: before
            .map_or_else(|| found(record, attempt, shown), |held| held.status_before_claim.clone()),
        parked: false,
        renewed: stamp.now,
        closed: None,
    }
}

/// Where the item stood before anybody took it up: before a holding that this one takes over or that ended half-way;
/// else as the claim's own read showed it, or, where nothing was sent, as it shows.
fn found(record: &ItemRecord, attempt: &Attempt, shown: &Shown) -> BTreeSet<Status> {
    let taken_over = record.holding.as_ref().filter(|held| !held.parked).map(|held| &held.status_before_claim);
    let read = attempt.goal.as_ref().map_or(&shown.statuses, |goal| &goal.status_before);
    record.pending_restore.as_ref().or(taken_over).unwrap_or(read).clone()
}

// === outside edits, doubt, recovery ===

fn edited(
    record: &mut ItemRecord,
    edit: &OutsideEdit,
    fence: Fence,
    stamp: &Stamp,
    done: &mut Applied,
) -> Result<(), Refused> {
    if record.fence != fence || !record.doubts.is_empty() {
        return Err(Refused::Stale);
    }
    match edit {
        OutsideEdit::Takes { shown, cause } => {
            let held = record.holding.take().ok_or(Refused::Stale)?;
            // Closed is finished, not half-way.
            let half_way = shown.state == OpenState::Open && shown.statuses != held.status_before_claim;
            record.pending_restore = half_way.then_some(held.status_before_claim);
            let holder = held.actor;
            record.reassigned = shown.assignees.iter().any(|other| holder.account.login() != Some(other));
            record.fence.0 += 1;
            record.contested = false;
            record.late_writes.clear();
            record.lost = Some(Loss { actor: holder.clone(), at: stamp.now, cause: (*cause).to_owned() });
            done.events.push((Event::Revoked { holder, cause }, None));
        }
        OutsideEdit::Finishes { cause } => {
            let held = record.holding.take().ok_or(Refused::Stale)?;
            record.fence.0 += 1;
            record.late_writes.clear();
            done.events.push((Event::Finished { holder: held.actor, cause: (*cause).to_owned(), gone: false }, None));
        }
        OutsideEdit::Harmless { shown } => {
            record.holding.as_mut().ok_or(Refused::Stale)?.last_seen = shown.clone();
            record.contested = false;
            record.late_writes.clear();
        }
        OutsideEdit::Contested { .. } => {
            record.contested = true;
            done.events.push((Event::Contested, None));
        }
    }
    Ok(())
}

fn resolve(
    record: &mut ItemRecord,
    expected: &[AttemptId],
    verified: &Verified,
    stamp: &Stamp,
    done: &mut Applied,
) -> Result<(), Refused> {
    let unchanged = record.doubts.iter().map(|doubt| &doubt.attempt).eq(expected);
    // Before its time only what has landed ends, and only where no other emission is doubtful. The gate that read it has
    // asked its own clock; here the ledger's is asked.
    let early = matches!(verified, Verified::Landed { .. }) && expected.len() == 1;
    if record.live.is_some() || !unchanged || (!early && record.is_in_doubt(stamp.now)) {
        return Err(Refused::Stale);
    }
    let (state, shown, parked) = match verified {
        Verified::Landed { shown, parked } => (AttemptState::Landed, shown, *parked),
        Verified::NotLanded(shown) => (AttemptState::NotLanded, shown, None),
        Verified::Unseen => {
            give_up_doubts(record, stamp, done);
            return Ok(());
        }
    };
    for doubt in std::mem::take(&mut record.doubts) {
        stood_before(record, done);
        let attempt = Attempt { state, ..doubtful_attempt(record, doubt, stamp) };
        let already = matches!(&attempt.ownership, Ownership::Becomes(actor) if holds_as(record, actor));
        if state == AttemptState::Landed && !already {
            own(record, &attempt, shown, stamp, done);
        } else if state == AttemptState::Landed
            && let Some(holding) = &mut record.holding
        {
            holding.last_seen = shown.clone();
            // The same agent's claim again: it is back at work. Whom another has handed the item to, that does not move.
            holding.parked &= !holding.actor.goes_on_as(&attempt.actor);
        }
        mask(record, &attempt, stamp);
        done.settled.push(Settled { attempt: attempt.clone(), at: stamp.now, shown: Some(shown.clone()) });
        done.events.push((Event::Resolved { state, stood: None }, Some(attempt)));
    }
    let fence = record.fence;
    if let (Some(parked), Some(holding)) = (parked, &mut record.holding) {
        holding.parked = parked;
        // The doubts before made this holding already, or one that it is the same as.
        let stood = done.events.iter_mut().filter_map(|(event, _)| match event {
            Event::Resolved { stood: Some(stood), .. } if stood.0 == fence => stood.1.as_mut(),
            _ => None,
        });
        stood.for_each(|held| held.parked = parked);
    }
    record.doubt_until = None;
    Ok(())
}

fn doubtful_attempt(record: &ItemRecord, doubt: Doubt, stamp: &Stamp) -> Attempt {
    Attempt {
        id: doubt.attempt,
        key: record.key.clone(),
        locator: record.locator.clone(),
        credential: crate::model::Fingerprint::new(""),
        actor: doubt.actor,
        change: doubt.change,
        goal: Some(doubt.goal),
        kind: doubt.kind,
        ownership: doubt.ownership,
        state: AttemptState::Doubt,
        gate: stamp.gate.clone(),
        epoch: stamp.epoch,
        opened: stamp.now,
    }
}

/// Every doubt ends without a look at the item. What lands late all the same is known for what it is.
fn give_up_doubts(record: &mut ItemRecord, stamp: &Stamp, done: &mut Applied) {
    for doubt in std::mem::take(&mut record.doubts) {
        stood_before(record, done);
        let attempt = Attempt { state: AttemptState::NotLanded, ..doubtful_attempt(record, doubt, stamp) };
        mask(record, &attempt, stamp);
        done.settled.push(Settled { attempt: attempt.clone(), at: stamp.now, shown: None });
        done.events.push((Event::Resolved { state: AttemptState::NotLanded, stood: None }, Some(attempt)));
    }
    record.doubt_until = None;
}

/// What stands after the newest doubt, when more follows by the same step.
fn stood_before(record: &ItemRecord, done: &mut Applied) {
    if let Some((Event::Resolved { stood, .. }, _)) = done.events.last_mut() {
        *stood = Some(Box::new((record.fence, record.holding.clone())));
    }
}

fn finish(
    record: &mut ItemRecord,
    fence: Fence,
    end: Finish,
    stamp: &Stamp,
    done: &mut Applied,
) -> Result<(), Refused> {
    if record.fence != fence || record.live.is_some() || record.is_in_doubt(stamp.now) {
        return Err(Refused::Stale);
    }
    // Its holder may have opened it again, by another gate.
    let is_open = record.holding.as_ref().is_some_and(|held| held.closed.is_none());
    if matches!(end, Finish::Closed(_)) && is_open {
        return Err(Refused::Stale);
    }
    let (cause, gone) = match end {
        Finish::Closed(since) => (format!("closed for {} s", since.as_secs()), false),
        Finish::Gone(since) => (format!("the tracker has had no such item for {} s", since.as_secs()), true),
    };
    if gone {
        give_up_doubts(record, stamp, done);
    } else if !record.doubts.is_empty() {
        return Err(Refused::Stale);
    }
    stood_before(record, done);
    if let Some(held) = record.holding.take() {
        record.fence.0 += 1;
        record.lost = Some(Loss { actor: held.actor.clone(), at: stamp.now, cause: cause.clone() });
        done.events.push((Event::Finished { holder: held.actor, cause, gone }, None));
    }
    Ok(())
}

fn release(record: &mut ItemRecord, fence: Fence, stamp: &Stamp, done: &mut Applied) -> Result<(), Refused> {
    if record.fence != fence {
        return Err(Refused::Stale);
    }
    give_up_doubts(record, stamp, done);
    stood_before(record, done);
    let holder = record.holding.take().map(|holding| holding.actor);
    if let Some(holder) = &holder {
        record.fence.0 += 1;
        record.lost = Some(Loss { actor: holder.clone(), at: stamp.now, cause: "released by the operator".to_owned() });
    }
    done.events.push((Event::Released { holder }, None));
    Ok(())
}

fn renew(record: &mut ItemRecord, actor: &Actor, at: Time) {
    if let Some(holding) = record.holding.as_mut().filter(|held| held.actor.goes_on_as(actor)) {
        holding.renewed = holding.renewed.max(at);
    }
}

fn recover(
    record: &mut ItemRecord,
    (gate, before): (&GateId, Epoch),
    doubt_until: Time,
    stamp: &Stamp,
    done: &mut Applied,
) {
    // Not the later of the two: the clock may have been ahead when the old one was written. Whatever is in doubt was
    // sent before now, so a whole period from now is enough.
    if !record.doubts.is_empty() {
        record.doubt_until = Some(doubt_until);
    }
    // Nor does anything else that it wrote last longer than if it were written now.
    for mask in &mut record.late_writes {
        mask.settled = mask.settled.min(stamp.now);
    }
    if let Some(holding) = &mut record.holding {
        holding.renewed = holding.renewed.min(stamp.now);
    }
    let ended = |attempt: &&mut Attempt| attempt.gate == *gate && attempt.epoch < before;
    let Some(state) = record.live.as_mut().filter(ended).map(|attempt| attempt.state) else { return };
    let Some(attempt) = record.live.take() else { return };
    if state == AttemptState::Sending {
        doubt(record, attempt, doubt_until, done);
        for (event, _) in &mut done.events {
            *event = Event::Recovered(AttemptState::Doubt);
        }
    } else {
        done.settled.push(Settled {
            attempt: Attempt { state: AttemptState::Aborted, ..attempt.clone() },
            at: stamp.now,
            shown: None,
        });
        done.events.push((Event::Recovered(AttemptState::Aborted), Some(attempt)));
    }
}

fn rebind(record: &mut ItemRecord, from: &Actor, to: &Actor, done: &mut Applied) -> Result<(), Refused> {
    let holding = record.holding.as_mut().filter(|held| held.actor == *from).ok_or(Refused::Stale)?;
    holding.actor = to.clone();
    for doubt in record.doubts.iter_mut().filter(|doubt| doubt.actor == *from) {
        doubt.actor = to.clone();
        if doubt.ownership == Ownership::Becomes(from.clone()) {
            doubt.ownership = Ownership::Becomes(to.clone());
        }
    }
    record.fence.0 += 1;
    done.events.push((Event::Rebound { from: from.clone() }, None));
    Ok(())
}

// === helpers ===

/// Whether a late claim of this agent has come true in the holding that is there: its own, or one that it cannot be told
/// from because the claim or the holding names no instance.
fn holds_as(record: &ItemRecord, actor: &Actor) -> bool {
    record.holding.as_ref().is_some_and(|held| held.actor.may_be(actor))
}

/// The live attempt, if it is this one, in one of these states, and this process's own. The fence of the protocol.
fn take_live(
    record: &mut ItemRecord,
    id: &AttemptId,
    states: &[AttemptState],
    stamp: &Stamp,
) -> Result<Attempt, Refused> {
    match record.live.take() {
        Some(attempt) if is_own(&attempt, id, stamp) && states.contains(&attempt.state) => Ok(attempt),
        other => {
            record.live = other;
            Err(Refused::Fenced)
        }
    }
}

fn is_own(attempt: &Attempt, id: &AttemptId, stamp: &Stamp) -> bool {
    attempt.id == *id && attempt.gate == stamp.gate && attempt.epoch == stamp.epoch
}

fn mask(record: &mut ItemRecord, attempt: &Attempt, stamp: &Stamp) {
    let Some(goal) = attempt.goal.as_ref().filter(|goal| !goal.is_empty()).map(Goal::value) else { return };
    // One that is masked already is masked anew.
    record.late_writes.retain(|mask| mask.goal.value() != goal);
    // The newest stand last. Of too many the oldest goes, whose late landing is the least likely. Without its mask that
    // landing is an outside edit: at worst it takes the item from its holder, on the record.
    let surplus = (record.late_writes.len() + 1).saturating_sub(MOST_MASKS);
    record.late_writes.drain(..surplus);
    record.late_writes.push(Masked { goal, settled: stamp.now });
}

fn prune(record: &mut ItemRecord, stamp: &Stamp) {
    record.late_writes.retain(|mask| stamp.now.since(mask.settled) < stamp.zombie_period);
}

// === impl Applied ===

impl Applied {
    fn close(&mut self, mut attempt: Attempt, state: AttemptState, shown: Option<&Shown>, stamp: &Stamp) {
        attempt.state = state;
        self.settled.push(Settled { attempt: attempt.clone(), at: stamp.now, shown: shown.cloned() });
        self.events.push((Event::Decision(state), Some(attempt)));
    }
}

// === impl Outcome ===

impl Outcome {
    /// What the read-back showed, where there was one.
    pub fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Committed { shown, .. }
            | Self::Refused { shown }
            | Self::Halfway { shown }
            | Self::Partial { shown, .. } => Some(shown),
            Self::Doubt => None,
        }
    }
}
