//! A claim and its labels as one step: all of it is done, or none of it.
//!
//! The tracker has no such step, so it is made of several, each of them guarded and recorded. What fails half-way is
//! undone in the reverse order by writes of the same kind. Between them others see the halves; but nobody else may
//! write to the item meanwhile, because the claim comes first and the release last.

use super::{
    ClaimOperation, Claimed, Grant, OperationError, OperationResult, Relabelling, not_assigned, refusal, succeeded, why,
};
use crate::admission::Expectation;
use crate::dialect::{Address, AnswerClass, WireResponse};
use crate::effect::Decision;
use crate::gate::conversation::{ItemRead, Unread};
use crate::gate::reads::ReadAccess;
use crate::gate::walk::EarlyExit;
use crate::gate::{Answered, EntryCondition, Reply};
use crate::model::{
    Account, AttemptId, Code, ItemKind, OpenState, Place, Rejection, ResourceKey, SetChange, Snapshot, Tag, TagRef,
};
use std::collections::BTreeSet;

/// Labels as the tracker knows them.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    set: BTreeSet<TagRef>,
    /// Names, in lower case.
    remove: BTreeSet<String>,
}

/// Under what the writes of one call are entered. What is stated is for the first of them alone.
struct FirstWrite {
    stated: Expectation,
    condition: EntryCondition,
}

/// An item that was claimed, and how to undo that.
pub(super) struct ClaimedItem {
    pub(super) address: Address,
    pub(super) grant: Grant,
    pub(super) undo: Undo,
}

/// What has been done so far, in the order in which it was done.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// The caller became the holder.
    claimed: bool,
    /// It is the holder, since then or from before.
    holds: bool,
    /// What takes each change of labels back.
    labels: Vec<SetChange<TagRef>>,
    /// The writes that did it, and those that undo it.
    ours: BTreeSet<AttemptId>,
}

/// A claim that came to nothing.
pub(super) struct Failed {
    pub(super) end: OperationError,
    /// It was the claim itself that failed, and not what was to follow it.
    pub(super) at_the_claim: bool,
}

impl ClaimOperation {
    /// Claims the item and changes its labels.
    pub(super) async fn take(
        &self,
        address: &Address,
        login: &Account,
        labels: &Resolved,
        stated: Expectation,
    ) -> Result<ClaimedItem, Failed> {
        let failed = |end| Failed { end, at_the_claim: true };
        let assign = self.gate.ports.dialect.assign(address, login);
        let reply = self.submit(assign, stated, EntryCondition::Awaited).await.map_err(failed)?;
        let (reply, response) = succeeded(reply).map_err(|reply| {
            let named = self.sender.named.is_some();
            failed(OperationError::Told(if named { not_assigned(address, login, reply) } else { reply }))
        })?;
        // What the caller held before is not taken from it again.
        let holds = reply.after.holds;
        let mut undo = Undo { claimed: reply.after.begun, holds, ..Undo::default() };
        undo.did(&reply);
        // Where more than one may be assigned the ledger names one of them, and not necessarily this one.
        let condition = if holds { EntryCondition::Held } else { EntryCondition::Always };
        // What was put back since, the answer does not show.
        let shown = Some(&response).filter(|_| reply.after.put_back.is_empty());
        let relabelled = self.relabel_taken((address, shown), labels, &mut undo, &condition).await;
        let item = match relabelled {
            Ok(false) if shown.is_some() && !response.body.is_empty() => Some(response.body.clone()),
            Ok(_) => self.look(address).await.ok().map(|read| read.response.body),
            Err(step) if step.is_unknown() || !self.is_taken_away(address, holds).await => {
                let end = self.undone(address, "its labels could not be changed", step, undo).await;
                return Err(Failed { end, at_the_claim: false });
            }
            Err(_) => return Err(failed(self.taken_away(address))),
        };
        if self.is_taken_away(address, holds).await {
            return Err(failed(self.taken_away(address)));
        }
        Ok(ClaimedItem { address: address.clone(), grant: self.grant(address, reply, item).await, undo })
    }

    /// Changes labels, and leaves the item to nobody. Whose caller goes meanwhile stops where it is, and nothing is undone:
    /// the same request again goes on from there.
    pub(super) async fn give_up(&self, address: &Address, labels: &Relabelling) -> OperationResult<Claimed> {
        let labels = self.resolve(&address.place, labels).await?;
        let mut undo = Undo::default();
        let mut first = FirstWrite { stated: self.sender.expectation.clone(), condition: EntryCondition::Awaited };
        if !labels.is_empty() {
            let seen = match self.look(address).await {
                Ok(read) => read.seen,
                // What the tracker does not show has no labels to change; the holder lets go of it all the same.
                Err(reply) if is_unseen(&reply) => return self.clear(address, first.stated, undo).await,
                Err(reply) => return Err(OperationError::Told(reply)),
            };
            if let Err(step) = self.relabel((address, &seen), &labels, &mut undo, &mut first).await {
                return Err(self.undone(address, "its labels could not be changed", step, undo).await);
            }
        }
        self.clear(address, first.stated, undo).await
    }

    /// Leaves the item to nobody; what had been done before is undone where that fails.
    async fn clear(&self, address: &Address, stated: Expectation, undo: Undo) -> OperationResult<Claimed> {
        let clear = self.gate.ports.dialect.clear_assignees(address);
        let reply = self.submit(clear, stated, EntryCondition::Awaited).await?;
        if reply.after.let_go {
            return Ok(Claimed::Released(Box::new(reply)));
        }
        match succeeded(reply) {
            Ok((reply, _)) => Ok(Claimed::Released(Box::new(reply))),
            Err(step) if undo.labels.is_empty() => Err(OperationError::Told(step)),
            Err(step) => Err(self.undone(address, "it could not be released", OperationError::Told(step), undo).await),
        }
    }

    /// Whether the caller's claim went through, and the item was taken from it since: by somebody whom no rule refuses, by
    /// the operator, or outside the gate.
    async fn is_taken_away(&self, address: &Address, held: bool) -> bool {
        held && self.record(address).await.is_some_and(|record| !record.is_held_by(&self.actor()))
    }

    /// Nothing is undone: what shows is for whoever took it to say.
    fn taken_away(&self, address: &Address) -> OperationError {
        let locator = address.locator();
        let message =
            format!("{locator} was claimed for you, and taken from you before that was all; pick another item");
        self.refuse(*refusal::plain(Code::NotHolder, &locator, message))
    }

    // === labels ===

    /// What the names mean, before anything is written. One that is to be set must exist.
    pub(super) async fn resolve(&self, at: &Place, labels: &Relabelling) -> OperationResult<Resolved> {
        let remove = labels.remove.iter().map(|name| name.to_lowercase()).collect();
        let set = self.expect_labels(at, &labels.set).await?;
        Ok(Resolved { set, remove })
    }

    /// The labels of these names, all of which must exist.
    pub(super) async fn expect_labels(
        &self,
        at: &Place,
        names: &BTreeSet<String>,
    ) -> OperationResult<BTreeSet<TagRef>> {
        let mut all = BTreeSet::new();
        if names.is_empty() {
            return Ok(all);
        }
        let known = self.labels(at, names).await?;
        for name in names {
            // What a name is not found for is taken at its word, without an id.
            all.insert(match known.iter().find(|label| label.id.is_some() && label.name == *name) {
                Some(label) => label.to_ref(),
                // The write itself will tell.
                None if name.is_ascii() && self.gate.has_more_labels(at.project()) => TagRef::Name(name.clone()),
                None => return Err(self.no_label(at, name)),
            });
        }
        Ok(all)
    }

    async fn labels(&self, at: &Place, names: &BTreeSet<String>) -> OperationResult<Vec<Tag>> {
        let (gate, credential) = (&self.gate, &self.sender.credential);
        let print = gate.ports.identify.fingerprint(credential);
        let is_reader = at
            .project()
            .cloned()
            .map(ReadAccess::Project)
            .is_some_and(|access| gate.reads.has_seen(&print, access, self.sender.arrived));
        let read = if is_reader {
            let names = SetChange::Remove(names.iter().map(|name| TagRef::Name(name.clone())).collect());
            gate.named_labels(&names, &blank(at), at, credential).await
        } else {
            // What others have read is for those who may read there.
            match gate.list_labels(at, false, credential).await {
                Ok(of_repo) => gate.list_labels(at, true, credential).await.map(|all| [of_repo, all].concat()),
                stop => stop,
            }
        };
        read.map_err(|stop| match stop {
            EarlyExit::Refuse(rejection) => self.refuse(*rejection),
            EarlyExit::Tracker(response) => self.denied(*response),
            EarlyExit::Gone | EarlyExit::Moved => OperationError::Gone,
        })
    }

    fn never_none(&self) -> OperationError {
        self.refuse(Rejection::of_request(Code::AmbiguousRequest, format!("{}; nothing was sent", refusal::NEVER_NONE)))
    }

    fn no_label(&self, at: &Place, name: &str) -> OperationError {
        let message = format!("{} has no label `{name}`; nothing was sent", at.project_name());
        self.refuse(Rejection::of_request(Code::AmbiguousRequest, message))
    }

    /// Whether anything had to be changed.
    async fn relabel_taken(
        &self,
        (address, claimed): (&Address, Option<&WireResponse>),
        labels: &Resolved,
        undo: &mut Undo,
        condition: &EntryCondition,
    ) -> OperationResult<bool> {
        if labels.is_empty() {
            return Ok(false);
        }
        // The answer to a claim shows the item as a read does.
        let seen = match claimed.and_then(|claimed| self.gate.answered_item(address, claimed)) {
            Some(read) => read.seen,
            None => self.look(address).await.map_err(OperationError::Told)?.seen,
        };
        let mut first = FirstWrite { stated: Expectation::Implied, condition: condition.clone() };
        self.relabel((address, &seen), labels, undo, &mut first).await
    }

    /// Sets what is missing, then removes what is there: in between an item stands in two places and never in none. What
    /// is stated is for the first write alone, which changes what shows.
    async fn relabel(
        &self,
        (address, seen): (&Address, &Snapshot),
        labels: &Resolved,
        undo: &mut Undo,
        first: &mut FirstWrite,
    ) -> OperationResult<bool> {
        let carried: BTreeSet<TagRef> = seen.labels.iter().map(Tag::to_ref).collect();
        let shows = |wanted: &TagRef| seen.labels.iter().any(|label| wanted.names(label));
        let missing: BTreeSet<TagRef> = labels.set.iter().filter(|wanted| !shows(wanted)).cloned().collect();
        let named = seen.labels.iter().filter(|label| labels.remove.contains(&label.name.to_lowercase()));
        let removed: Vec<TagRef> = named.map(Tag::to_ref).collect();
        let changes = !missing.is_empty() || !removed.is_empty();
        if !missing.is_empty() {
            let change = SetChange::Add(missing.clone());
            let (reply, response) =
                self.relabel_once(address, change, std::mem::take(&mut first.stated), first.condition.clone()).await?;
            undo.did(&reply);
            let back = SetChange::Remove(missing.clone());
            if self.gate.ports.dialect.relabel(address, back).is_none() {
                // An item has exactly one of these: the one before comes back, and what was to be removed is gone.
                undo.labels.push(SetChange::Add(carried));
                return Ok(true);
            }
            undo.labels.extend(missing.into_iter().map(|label| SetChange::Remove([label].into())));
            // A label that is exclusive in its scope pushes others out.
            if let Some(now) = self.gate.ports.dialect.labels(&response) {
                let now: BTreeSet<TagRef> = now.iter().map(Tag::to_ref).collect();
                let pushed_out: BTreeSet<TagRef> = carried.difference(&now).cloned().collect();
                if !pushed_out.is_empty() {
                    undo.labels.insert(0, SetChange::Add(pushed_out));
                }
            }
        }
        for label in removed {
            let change = SetChange::Remove([label.clone()].into());
            let (reply, _) =
                self.relabel_once(address, change, std::mem::take(&mut first.stated), first.condition.clone()).await?;
            undo.did(&reply);
            undo.labels.push(SetChange::Add([label].into()));
        }
        Ok(changes)
    }

    async fn relabel_once(
        &self,
        address: &Address,
        change: SetChange<TagRef>,
        stated: Expectation,
        condition: EntryCondition,
    ) -> OperationResult<(Reply, WireResponse)> {
        let dialect = &self.gate.ports.dialect;
        let first = dialect.relabel(address, change.clone()).ok_or_else(|| self.never_none())?;
        let mut reply = self.submit(first, stated.clone(), condition.clone()).await?;
        // A tracker that took a removal for another label's is told once more, in a way that it cannot.
        if reply.was_not_applied()
            && let Some(otherwise) = dialect.relabel_otherwise(address, &change)
        {
            reply = self.submit(otherwise, stated, condition).await?;
        }
        succeeded(reply).map_err(OperationError::Told)
    }

    /// One read of the item, with the caller's credential; mostly of what was done before.
    pub(super) async fn look(&self, address: &Address) -> Result<ItemRead, Box<Reply>> {
        let read = self.gate.read_item(address, &self.sender.credential, "look_up", true).await;
        read.map_err(|unread| {
            let at = address.locator();
            let told = match &unread {
                Unread::Unanswered(error) => refusal::unanswered(&at, error),
                Unread::Denied(_) | Unread::Unreadable(_) => refusal::unreadable(&at, &unread.to_string()),
            };
            let reply = Box::new(self.refusal(*told));
            match unread {
                Unread::Denied(response) => Box::new(Reply { answer: Answered::Tracker(*response), ..*reply }),
                Unread::Unanswered(_) | Unread::Unreadable(_) => reply,
            }
        })
    }

    // === undoing ===

    /// Takes back what was done, newest first; unless the agent was told meanwhile, by another of its requests, that the
    /// item is its own. What cannot be taken back keeps nothing else from it: a label that stays must not leave the item
    /// with somebody who does not know that it holds it.
    pub(super) async fn undo(&self, address: &Address, mut undo: Undo) -> Result<(), String> {
        let told = |end: OperationError| match end {
            OperationError::Told(reply) => why(&reply),
            OperationError::Gone => "it was given up".to_owned(),
        };
        let mut failures = Vec::new();
        for change in std::mem::take(&mut undo.labels).into_iter().rev() {
            match self.relabel_once(address, change, Expectation::Implied, undo.condition()).await {
                Ok((reply, _)) => undo.did(&reply),
                Err(end) => failures.push(told(end)),
            }
        }
        if undo.claimed {
            let clear = self.gate.ports.dialect.clear_assignees(address);
            let cleared = self.submit(clear, Expectation::Implied, undo.condition()).await.map_err(told);
            failures.extend(cleared.and_then(|reply| succeeded(reply).map_err(|reply| why(&reply))).err());
        }
        failures.dedup();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    /// What the item shows and who holds it, for who is told that something of its own is left there.
    async fn what_is_left(&self, address: &Address) -> String {
        let shown = match self.look(address).await {
            Ok(ItemRead { seen, .. }) => {
                let labels: Vec<&str> = seen.labels.iter().map(|label| label.name.as_str()).collect();
                let assignees: Vec<&str> = seen.assignees.iter().map(Account::as_str).collect();
                let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                format!("it shows assignees: {}; labels: {}", list(assignees), list(labels))
            }
            Err(_) => "what it shows now could not be read".to_owned(),
        };
        let record = self.record(address).await;
        let mine = record.as_ref().is_some_and(|record| record.is_held_by(&self.actor()));
        let held = match record.and_then(|record| record.holding) {
            Some(_) if mine => "you hold it: release it, or claim it again".to_owned(),
            Some(held) => format!("{} holds it", held.actor),
            None => "nobody holds it, and it can be claimed".to_owned(),
        };
        format!("{shown}; {held}")
    }

    /// What the caller is told of a step that failed, once what had been done was undone.
    async fn undone(&self, address: &Address, what: &str, step: OperationError, undo: Undo) -> OperationError {
        // Whether that step landed is not known, and so not what to undo: repeating the request goes on from here.
        if step.is_unknown() {
            return step;
        }
        let OperationError::Told(mut step) = step else { return step };
        let locator = address.locator();
        let reason = why(&step);
        let (untouched, holds) = (!undo.claimed && undo.labels.is_empty(), undo.holds && !undo.claimed);
        let (code, rest) = match self.undo(address, undo).await {
            Ok(()) if untouched && holds => (Code::NotApplied, "you hold it, as before".to_owned()),
            Ok(()) if untouched => (Code::NotApplied, "nothing else had been done".to_owned()),
            Ok(()) => (Code::NotApplied, "what had been done was undone".to_owned()),
            Err(why) => {
                let left = self.what_is_left(address).await;
                (Code::Partial, format!("what had been done was not all undone: {why}; {left}"))
            }
        };
        let message = format!("{locator}: {what}: {reason}; {rest}");
        match &mut step.answer {
            Answered::Refused(rejection) => rejection.message = message,
            // The tracker's own status, with a body that says what has become of the rest.
            Answered::Tracker(response) => {
                let mut told = self.gate.ports.dialect.reject(&refusal::plain(code, &locator, message), &step.id);
                if response.status.is_client_error() || response.status.is_server_error() {
                    told.status = response.status;
                }
                *response = told;
                (step.decision, step.code) = (Decision::Reject, Some(code));
            }
        }
        OperationError::Told(step)
    }
}

// === impl OperationError, Resolved, Undo, Failed ===

impl OperationError {
    /// Whether the write was sent, and nobody knows what came of it.
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Told(reply) if reply.code == Some(Code::OutcomeUnknown))
    }
}

impl Resolved {
    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

impl Undo {
    fn did(&mut self, reply: &Reply) {
        self.ours.insert(AttemptId::new(&reply.id));
        self.ours.extend(reply.after.put_back.iter().cloned());
    }

    fn condition(&self) -> EntryCondition {
        EntryCondition::UnconfirmedSince { ours: self.ours.clone(), held: self.holds }
    }
}

impl Failed {
    /// There may be others for this caller.
    pub(super) fn is_lost(&self) -> bool {
        self.is_hidden() || self.is_beaten()
    }

    /// The tracker does not show it to this caller.
    fn is_hidden(&self) -> bool {
        let OperationError::Told(reply) = &self.end else { return false };
        let hidden = matches!(&reply.answer, Answered::Tracker(response) if response.class() == AnswerClass::Missing);
        self.at_the_claim && hidden
    }

    /// Another has it, or it is not as the list showed it: it is not to be had for anybody.
    pub(super) fn is_beaten(&self) -> bool {
        let OperationError::Told(reply) = &self.end else { return false };
        // Where there is no place for any write, another item is no way out.
        let crowded = matches!(&reply.answer, Answered::Refused(rejection) if !rejection.of_item);
        let beaten = matches!(
            reply.code,
            Some(
                Code::AlreadyAssigned
                    | Code::WrongSourceState
                    | Code::NotHolder
                    | Code::Contested
                    | Code::InDoubt
                    | Code::Busy
                    | Code::PreconditionFailed
            )
        );
        self.at_the_claim && (beaten || reply.code == Some(Code::LaneTimeout) && !crowded)
    }
}

/// An item of which nothing is known but where it is.
fn blank(at: &Place) -> Snapshot {
    Snapshot {
        key: ResourceKey::new(""),
        locator: at.clone(),
        kind: ItemKind::Issue,
        assignees: BTreeSet::new(),
        labels: BTreeSet::new(),
        state: OpenState::Open,
        author: None,
    }
}

/// Whether the tracker does not show the item to who asks.
fn is_unseen(reply: &Reply) -> bool {
    matches!(&reply.answer, Answered::Tracker(response) if response.class().is_unseen())
}
