//! Writes whose effect is on items that they do not name: judged before they go on as they came.
//!
//! Deleting a branch closes pull requests, an edit of a status label moves every item that carries it, a dependency keeps
//! an item from being closed, its `ref` says whose push closes it. None of them is an attempt on an item: no turn is taken,
//! and what they do is seen afterwards as an outside edit. So the gate refuses what would strike an item that another
//! holds at that moment, and otherwise writes down what will happen. It reads with the caller's own credential; where that
//! may not read, the tracker refuses the write, too.
//!
//! What cannot be found out is refused where somebody else holds anything that it could strike, and else it goes on.

use super::super::leases::LeaseUse;
use super::super::{Reply, refusal};
use super::party::is_session;
use super::{EarlyExit, Party, Unread, Walk};
use crate::admission::{self, By, Constraint, Editors, LeaseStep, Mode, OutsideEdit, Refused, Web};
use crate::dialect::{
    Address, AnswerClass, Credential, LabelEdit, LabelOwner, LabelState, PullBranches, Request as _, SideEffect,
    SideWrite, SweepScope,
};
use crate::effect::{Authority, Decision, LedgerError, Note};
use crate::gate::Gate;
use crate::model::{
    Change, Code, Holding, Instance, ItemRecord, Kind, Ownership, Place, Principal, Project, Rejection, ResourceKey,
    Snapshot, Status, TagId, TagRef,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What is to become of such a write.
pub enum Judged {
    /// It goes on as it came.
    GoesOn(Filing),
    /// It does not.
    Refused(Reply),
}

/// A write that goes on, with the leases that began with it. Dropping it is for one that went through, or may have.
#[must_use]
pub struct Filing {
    gate: Arc<Gate>,
    leases: Vec<LeaseUse>,
}

/// The branch that goes, or every branch of its repository.
struct Deleted {
    project: Project,
    branch: Option<String>,
    /// The pull request that it came from, which is closed already.
    but: Option<Place>,
}

/// The pull requests that a write closes, as well as that could be found out.
#[derive(Default)]
struct Closed {
    deleted: Option<Deleted>,
    pulls: Vec<PullBranches>,
    /// Where such pull requests can be.
    places: Vec<Project>,
    /// All of them were looked through.
    whole: bool,
}

/// Pages of open pull requests that are looked through in one repository.
const MOST_PAGES: usize = 40;
/// Items of which it is written down, each by itself, that they are closed.
const MOST_LINES: usize = 100;
/// Why nobody else may do what closes an item.
const CLOSES: &str = "only its holder may close it";
/// After so long the tracker has closed what a deleted branch closes.
const CLOSED_AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

// === impl Filing ===

impl Filing {
    /// Whether nothing is at stake in how the tracker answers.
    pub fn is_idle(&self) -> bool {
        self.leases.is_empty()
    }

    /// The tracker did not carry it out: nobody is at work by it who was not before. A client that hangs up does not stop this.
    pub async fn give_back(self, runtime: &Handle) {
        let Self { gate, leases } = self;
        let all = Arc::clone(&gate);
        let given_back = async move {
            for lease in leases {
                all.give_back(lease).await;
            }
        };
        gate.whole(given_back, runtime).await;
    }
}

// === impl Walk ===

impl Walk<SideWrite> {
    /// Judges the write.
    pub(in crate::gate) async fn judge(&self, runtime: &Handle) -> Judged {
        if self.ask.credential.is_anonymous() {
            return self.goes_on(Vec::new());
        }
        let ended = match self.party().await {
            Ok(party) => self.judge_for(&party, runtime).await,
            Err(stop) => Err(stop),
        };
        match ended {
            Err(EarlyExit::Refuse(rejection)) => Judged::Refused(self.refused(*rejection)),
            Ok(leases) => self.goes_on(leases),
            // The tracker refuses the write, or does nothing: it says so best itself.
            Err(EarlyExit::Tracker(_) | EarlyExit::Gone | EarlyExit::Moved) => self.goes_on(Vec::new()),
        }
    }

    fn goes_on(&self, leases: Vec<LeaseUse>) -> Judged {
        Judged::GoesOn(Filing { gate: Arc::clone(&self.gate), leases })
    }

    /// The leases that it takes, where it goes on.
    async fn judge_for(&self, party: &Party, runtime: &Handle) -> Result<Vec<LeaseUse>, EarlyExit> {
        self.take_slot(&party.caller)?;
        match &self.request().effect {
            SideEffect::DeleteBranch { .. } | SideEffect::CleanUp { .. } | SideEffect::DeleteRepository { .. } => {
                self.closes(party, runtime).await?;
            }
            SideEffect::Sweep { scope, .. } => self.sweeps(party, scope).await?,
            SideEffect::EditLabel { owner, label, edit } => self.relabels(party, owner, label, edit).await?,
            SideEffect::AddDependency { item } => self.freezes(party, item).await?,
            SideEffect::File { project } => return self.files(party, project).await,
            SideEffect::EditRef { item, wanted } => self.points(party, item, wanted).await?,
        }
        Ok(Vec::new())
    }

    async fn party(&self) -> Result<Party, EarlyExit> {
        let (mut caller, reader) = match self.request().sender() {
            Some(sender) => self.by_session(sender).await,
            None => (self.by_credential().await?, Some(self.ask.credential.clone())),
        };
        caller.overrider |= self.is_form() && self.rules.web == Web::Override;
        Ok(self.known(caller, reader))
    }

    // === what is closed ===

    async fn closes(&self, party: &Party, runtime: &Handle) -> Result<(), EarlyExit> {
        let active = self.active(party).await?;
        let closed = self.closed(party).await;
        let own = match &self.request().effect {
            SideEffect::DeleteRepository { project } => Some(project),
            _ => None,
        };
        let keys = self.keys_of(party, &closed, &active).await?;
        let strikes =
            |record: &&ItemRecord| own.is_some_and(|own| record.locator.is_in(own)) || keys.contains(&record.key);
        let struck: Vec<&ItemRecord> = active.iter().filter(strikes).collect();
        let mut observed = None;
        for record in &struck {
            if let Some(rejection) = self.held_elsewhere(party, record, CLOSES).await? {
                observed = self.refuse_or_observe(party, rejection)?;
            }
        }
        let is_there = |at: &Place| at.project().is_some_and(|project| closed.places.contains(project));
        let at_risk = |record: &&ItemRecord| is_there(&record.locator) && is_held(party, record);
        for record in active.iter().filter(|_| !closed.whole && !party.caller.overrider).filter(at_risk) {
            if let Some(rejection) = self.struck_alone(party, &closed, record).await? {
                observed = self.refuse_or_observe(party, rejection)?;
            }
        }
        self.write_down(party, &closed, &struck, observed);
        self.look_again(&closed, &struck, runtime);
        Ok(())
    }

    /// The open pull requests from or into what is deleted, in its repository and in the one that it was forked from.
    async fn closed(&self, party: &Party) -> Closed {
        let Some(reader) = &party.reader else {
            return Closed { places: self.request().effect.project().into_iter().collect(), ..Closed::default() };
        };
        let Some(mut project) = self.request().effect.project() else { return Closed::default() };
        let (branch, but) = match &self.request().effect {
            SideEffect::DeleteBranch { branch, .. } => (Some(branch.clone()), None),
            SideEffect::CleanUp { pull } => {
                let dialect = &self.gate.ports.dialect;
                let response = self.gate.fetch(dialect.observe_pull(pull, reader)).await.ok();
                let head = response.and_then(|response| dialect.branches(pull.project()?, &response)?.head);
                let Some((from, branch)) = head else { return Closed::default() };
                project = from;
                (Some(branch), Some(pull.locator()))
            }
            _ => (None, None),
        };
        let response = self.gate.fetch(self.gate.ports.dialect.read_project(&project, reader)).await.ok();
        let parent = response.and_then(|response| self.gate.ports.dialect.parent(&response));
        let own = branch.is_some().then(|| project.clone());
        let places: Vec<Project> = own.into_iter().chain(parent.clone().flatten()).collect();
        let deleted = Deleted { project, branch, but };
        let (mut pulls, mut whole) = (Vec::new(), parent.is_some());
        for place in &places {
            match self.open_branches(place, reader).await {
                Ok(open) => pulls.extend(open.into_iter().filter(|pull| deleted.strikes(pull))),
                Err(_) => whole = false,
            }
        }
        Closed { deleted: Some(deleted), pulls, places, whole }
    }

    /// The records of what is closed, by their immutable ids: a place may have changed since the item was claimed.
    async fn keys_of(
        &self,
        party: &Party,
        closed: &Closed,
        active: &[ItemRecord],
    ) -> Result<BTreeSet<ResourceKey>, EarlyExit> {
        let mut keys = BTreeSet::new();
        let known = |at: &Place| active.iter().find(|record| record.locator == *at);
        for pull in &closed.pulls {
            let found = match (known(&pull.at), &party.reader, self.gate.address_of(&pull.at)) {
                (Some(record), ..) => Some(record.key.clone()),
                (None, Some(reader), Some(address)) if !active.is_empty() => match self.look(&address, reader).await {
                    Ok(seen) => seen.map(|seen| seen.key),
                    Err(_) if !self.enforces(party) => None,
                    Err(why) => return Err(EarlyExit::Refuse(refusal::unreadable(&pull.at, &why))),
                },
                _ => None,
            };
            keys.extend(found);
        }
        Ok(keys)
    }

    /// The refusal where an item that another holds is closed, or nobody can say; it was not found in a list.
    async fn struck_alone(
        &self,
        party: &Party,
        closed: &Closed,
        record: &ItemRecord,
    ) -> Result<Option<Rejection>, EarlyExit> {
        let unknown = || {
            let why = "the open pull requests could not be looked through";
            Rejection { resource: None, ..*refusal::unreadable(&self.request().locator(), why) }
        };
        let (Some(deleted), Some(reader), Some(address), Some(project)) =
            (&closed.deleted, &party.reader, self.gate.address_of(&record.locator), record.locator.project())
        else {
            return Ok(Some(unknown()));
        };
        // Where there are no pull requests, nothing has a branch.
        let Some(request) = self.gate.ports.dialect.observe_pull(&address, reader) else { return Ok(None) };
        match self.gate.ports.upstream.read(request).await {
            // An issue, which has no branch.
            Ok((response, _)) if response.class() == AnswerClass::Missing => Ok(None),
            Ok((response, _)) => match self.gate.ports.dialect.branches(project, &response) {
                Some(pull) if deleted.strikes(&pull) => self.held_elsewhere(party, record, CLOSES).await,
                Some(_) => Ok(None),
                None => Ok(Some(unknown())),
            },
            Err(_) => Ok(Some(unknown())),
        }
    }

    async fn open_branches(&self, project: &Project, reader: &Credential) -> Result<Vec<PullBranches>, Unread> {
        let dialect = &self.gate.ports.dialect;
        let page = |page| dialect.list_pulls(project, page, reader);
        let read = |response: &_| dialect.listed_branches(project, response);
        self.gate.fetch_all(MOST_PAGES, "the open pull requests", page, read).await
    }

    // === what moves many at once ===

    /// None of the items may be somebody else's. Those that nobody has are moved, and each is read anew before its next write.
    async fn sweeps(&self, party: &Party, scope: &SweepScope) -> Result<(), EarlyExit> {
        let active = self.active(party).await?;
        let held: Vec<&ItemRecord> = active.iter().filter(|record| is_held(party, record)).collect();
        if held.is_empty() {
            return Ok(());
        }
        let struck = match scope {
            SweepScope::Project(project) => held.into_iter().filter(|record| record.locator.is_in(project)).collect(),
            SweepScope::Status(status) => self.standing(party, status, held).await?,
        };
        for record in struck {
            let Some(rejection) = self.held_elsewhere(party, record, "only its holder may move it").await? else {
                continue;
            };
            let observed = self.refuse_or_observe(party, rejection)?;
            let mut note = self.side_note(party, Some(record), observed);
            let held = record.holding.as_ref().map(ToString::to_string).unwrap_or_default();
            note.reason = Some(format!("moves {}, which is held by {held}", record.locator));
            self.write_line(note);
        }
        Ok(())
    }

    /// Those of the items that have this status.
    async fn standing<'r>(
        &self,
        party: &Party,
        status: &TagId,
        held: Vec<&'r ItemRecord>,
    ) -> Result<Vec<&'r ItemRecord>, EarlyExit> {
        let what = "the list of the items that it moves";
        let Some(reader) = &party.reader else { return self.unread(party, what).map(|()| Vec::new()) };
        let dialect = &self.gate.ports.dialect;
        let page = |page| dialect.list_standing(status, page, reader);
        match self.gate.fetch_all(MOST_PAGES, what, page, |response: &_| dialect.standing(response)).await {
            Ok(found) => Ok(held.into_iter().filter(|record| found.contains(&record.key)).collect()),
            Err(Unread::Denied(_)) => Err(EarlyExit::Gone),
            Err(_) => self.unread(party, what).map(|()| Vec::new()),
        }
    }

    /// What the ledger knows of.
    async fn active(&self, party: &Party) -> Result<Vec<ItemRecord>, EarlyExit> {
        match self.gate.ports.ledger.active().await {
            Ok(active) => Ok(active),
            Err(_) if !self.enforces(party) => Ok(Vec::new()),
            Err(error) => Err(EarlyExit::Refuse(refusal::no_ledger(&self.request().locator(), &error.to_string()))),
        }
    }

    // === what a label moves ===

    async fn relabels(
        &self,
        party: &Party,
        owner: &LabelOwner,
        label: &TagRef,
        edit: &LabelEdit,
    ) -> Result<(), EarlyExit> {
        if self.rules.workflow.edit_labels == Editors::Anyone {
            return Ok(());
        }
        let Some(reader) = &party.reader else { return self.unread(party, "the label") };
        let Some(request) = self.gate.ports.dialect.read_label(owner, label, reader) else {
            return Err(EarlyExit::Gone);
        };
        let shown = match self.gate.ports.upstream.read(request).await {
            Ok((response, _)) if response.class().is_refusal() => return Err(EarlyExit::Gone),
            Ok((response, _)) => self.gate.ports.dialect.label(&response),
            Err(_) => None,
        };
        let Some(shown) = shown else { return self.unread(party, "the label") };
        let is_status = |name: &str| self.rules.workflow.states.contains(&Status::new(name.trim()));
        let (before, after) = (is_status(&shown.name), edit.name(&shown).is_some_and(is_status));
        if !edit.changes(&shown) || !(before || after) {
            return Ok(());
        }
        let observed = self.refuse_or_observe(party, Self::moves_all(&shown, edit))?;
        let mut note = self.side_note(party, None, observed);
        note.reason = Some(described(&shown, edit));
        self.write_line(note);
        Ok(())
    }

    fn moves_all(shown: &LabelState, edit: &LabelEdit) -> Rejection {
        let message = format!(
            "{}: that moves every item that carries the label at once, whoever holds it; ask one of \
             assignment.overriders, or set workflow.edit_labels (colour and description may be changed by anyone)",
            described(shown, edit)
        );
        let mut rejection = Rejection::of_request(Code::NotHolder, message);
        "a label that is no status, or an overrider".clone_into(&mut rejection.expected);
        rejection
    }

    // === what is filed by a form ===

    /// One of whose sender the tracker tells: of a class that files one at a time, it is the one at work from now on, unless the
    /// tracker refuses the form.
    async fn files(&self, party: &Party, project: &Project) -> Result<Vec<LeaseUse>, EarlyExit> {
        // Who may not see the repository takes no project, and is not told who works there.
        let session = self.request().sender().map(|sender| &sender.credential);
        let page = session.and_then(|session| self.gate.ports.dialect.read_project(project, session));
        let named = party.caller.actor.account.login().is_some() && !is_session(&party.caller.actor);
        let Some(page) = page.filter(|_| named) else { return Ok(Vec::new()) };
        if self.gate.fetch(page).await.is_err() {
            return Err(EarlyExit::Gone);
        }
        let meaning = (Kind::Create, &Ownership::Keep, &Change::default());
        let constraints = self.gate.constraints(&self.rules, &party.caller, meaning, project);
        let mut leases = Vec::new();
        for constraint in constraints {
            let Constraint::Alone(take) = constraint else { continue };
            let (lease, now) = (self.gate.leases.enter(std::iter::once(&take)), self.gate.ports.clock.now());
            let rejection = match self.gate.ports.ledger.change_lease(LeaseStep::Acquire(vec![take]), now).await {
                Ok(held_leases) => {
                    lease.taken(&held_leases, &[now]);
                    leases.push(lease);
                    continue;
                }
                Err(LedgerError::Refused(Refused::Violated(violation))) if Gate::enforces(&self.rules, &violation) => {
                    Some(Box::new(Gate::refused_by(&violation, &self.request().locator(), &[])))
                }
                Err(LedgerError::Refused(_)) => None,
                Err(error) => Some(refusal::no_ledger(&self.request().locator(), &error.to_string())),
            };
            self.gate.give_back(lease).await;
            if let Some(rejection) = rejection {
                for lease in leases {
                    self.gate.give_back(lease).await;
                }
                return Err(EarlyExit::Refuse(rejection));
            }
        }
        Ok(leases)
    }

    // === what freezes an item, or lets others close it ===

    async fn freezes(&self, party: &Party, item: &Address) -> Result<(), EarlyExit> {
        let judged = self.rules.workflow.dependencies_by == By::Holder && self.enforces(party);
        let Some((record, held)) = self.held_item(party, item, judged).await? else { return Ok(()) };
        let observed = match self.rules.workflow.dependencies_by {
            By::Anyone => None,
            By::Holder => {
                let why = "a dependency would keep it from being closed; only its holder may add one";
                self.refuse_or_observe(party, self.not_holder(party, &record, why))?
            }
        };
        let mut note = self.side_note(party, Some(&record), observed);
        note.reason = Some(format!("keeps {} from being closed, which is held by {held}", record.locator));
        self.write_line(note);
        Ok(())
    }

    async fn points(&self, party: &Party, item: &Address, wanted: &str) -> Result<(), EarlyExit> {
        let Some((record, held)) = self.held_item(party, item, self.enforces(party)).await? else { return Ok(()) };
        let Some(reader) = &party.reader else { return self.unread(party, "the item") };
        let response = self.gate.fetch(self.gate.ports.dialect.observe(item, reader)).await.ok();
        let shown = response.and_then(|response| self.gate.ports.dialect.shown_ref(&response));
        if shown.as_deref() == Some(wanted) {
            return Ok(());
        }
        let why = "its `ref` says whose push may close it; only its holder may change that";
        let observed = self.refuse_or_observe(party, self.not_holder(party, &record, why))?;
        let mut note = self.side_note(party, Some(&record), observed);
        note.reason = Some(format!("whose push may close {} changes; it is held by {held}", record.locator));
        self.write_line(note);
        Ok(())
    }

    /// The record of an item that another holds, and who that is. What is only written down is never in the way.
    async fn held_item(
        &self,
        party: &Party,
        item: &Address,
        judged: bool,
    ) -> Result<Option<(ItemRecord, String)>, EarlyExit> {
        let record = match self.find_held(party, item).await {
            Err(_) if !judged => None,
            found => found?,
        };
        Ok(record.map(|record| {
            let held = record.holding.as_ref().map(ToString::to_string).unwrap_or_default();
            (record, held)
        }))
    }

    /// By its immutable id, where it can be read: its place may have changed since it was claimed.
    async fn find_held(&self, party: &Party, item: &Address) -> Result<Option<ItemRecord>, EarlyExit> {
        let (at, ledger) = (item.locator(), &self.gate.ports.ledger);
        let no_ledger = |error: LedgerError| EarlyExit::Refuse(refusal::no_ledger(&at, &error.to_string()));
        let Some(reader) = &party.reader else {
            let active = ledger.active().await.map_err(no_ledger)?;
            return Ok(active.into_iter().find(|record| record.locator == at && is_held(party, record)));
        };
        match self.look(item, reader).await {
            Ok(Some(seen)) => {
                let record = ledger.item(&seen.key).await.map_err(no_ledger)?;
                Ok(record.filter(|record| is_held(party, record) && !self.is_taken(record, &seen)))
            }
            Ok(None) => Ok(None),
            Err(why) => Err(EarlyExit::Refuse(refusal::unreadable(&at, &why))),
        }
    }

    // === who holds ===

    /// The refusal where another holds it, and the tracker shows nothing else.
    async fn held_elsewhere(
        &self,
        party: &Party,
        record: &ItemRecord,
        why: &str,
    ) -> Result<Option<Rejection>, EarlyExit> {
        if !is_held(party, record) || party.caller.overrider || !self.still_held(party, record).await? {
            return Ok(None);
        }
        Ok(Some(self.not_holder(party, record, why)))
    }

    /// An outside edit has ended a holding whether or not the ledger knows yet.
    async fn still_held(&self, party: &Party, record: &ItemRecord) -> Result<bool, EarlyExit> {
        let (Some(reader), Some(address)) = (&party.reader, self.gate.address_of(&record.locator)) else {
            return Ok(true);
        };
        match self.look(&address, reader).await {
            Ok(Some(seen)) if seen.key == record.key => Ok(!self.is_taken(record, &seen)),
            // It is another item, or not for these eyes.
            Ok(_) => Ok(false),
            Err(_) if !self.enforces(party) => Ok(true),
            Err(why) => Err(EarlyExit::Refuse(refusal::unreadable(&record.locator, &why))),
        }
    }

    fn is_taken(&self, record: &ItemRecord, seen: &Snapshot) -> bool {
        let edit = admission::outside_edit(record, seen, &self.rules, self.gate.ports.clock.now());
        matches!(edit, Some(OutsideEdit::Takes { .. }))
    }

    /// The item. `None`: not for these eyes.
    async fn look(&self, address: &Address, reader: &Credential) -> Result<Option<Snapshot>, String> {
        match self.gate.read_item(address, reader, "beside", false).await {
            Ok(read) => Ok(Some(read.seen)),
            Err(Unread::Denied(_)) => Ok(None),
            Err(unread) => Err(unread.to_string()),
        }
    }

    // === what is told ===

    /// Whether a rule could refuse this caller.
    fn enforces(&self, party: &Party) -> bool {
        !party.caller.overrider && self.rules.workflow.mode == Mode::Enforce
    }

    /// The code that an observing rule would have refused with; none for who may do anything.
    fn refuse_or_observe(&self, party: &Party, rejection: Rejection) -> Result<Option<Code>, EarlyExit> {
        match self.rules.workflow.mode {
            _ if party.caller.overrider => Ok(None),
            Mode::Observe => Ok(Some(rejection.code)),
            Mode::Enforce => Err(EarlyExit::Refuse(Box::new(rejection))),
        }
    }

    fn unread(&self, party: &Party, what: &str) -> Result<(), EarlyExit> {
        if self.enforces(party) {
            return Err(self.cannot_read(what));
        }
        let mut note = self.side_note(party, None, None);
        note.reason = Some(format!("{what} could not be read, so what it does is not known"));
        self.write_line(note);
        Ok(())
    }

    fn not_holder(&self, party: &Party, record: &ItemRecord, why: &str) -> Rejection {
        let (at, effect) = (&record.locator, &self.request().effect);
        let held = record.holding.as_ref();
        if party.caller.shared && party.caller.actor.instance.is_none() {
            let message = format!(
                "{effect}: {at} is held, and the account {} is shared by several agents, so the request must say which \
                 one it is: use the base URL /as/<agent>/ or the header Claimgate-Agent",
                party.caller.actor.account
            );
            return *refusal::plain(Code::IdentityRequired, at, message);
        }
        let by = held.map(ToString::to_string).unwrap_or_default();
        // Of a session it is not known what it may see.
        let told = if self.is_form() { "another agent".to_owned() } else { by };
        let mut rejection = *refusal::plain(
            Code::NotHolder,
            at,
            format!("{effect}: {at} is held by {told}, and {why}; nothing was sent"),
        );
        "the caller holds the item, or nobody does".clone_into(&mut rejection.expected);
        if !self.is_form() {
            rejection.holder = held.map(|held| held.actor.clone());
            rejection.since = held.map(|held| held.since);
        }
        rejection
    }

    /// One line for each item that will be closed, and one where that could not be found out.
    fn write_down(&self, party: &Party, closed: &Closed, struck: &[&ItemRecord], observed: Option<Code>) {
        let listed = closed.pulls.iter().map(|pull| &pull.at);
        let others =
            struck.iter().map(|record| &record.locator).filter(|at| !closed.pulls.iter().any(|pull| pull.at == **at));
        for at in listed.chain(others).take(MOST_LINES) {
            let record = struck.iter().find(|record| record.locator == *at);
            let mut note = self.side_note(party, record.copied(), observed);
            note.resource = Some(at.clone());
            let held =
                record.and_then(|record| record.holding.as_ref()).map(|held| format!(", which is held by {held}"));
            note.reason = Some(format!("ends {at}{}", held.unwrap_or_default()));
            self.write_line(note);
        }
        let rest = closed.pulls.len().saturating_sub(MOST_LINES);
        let rest = match (rest, closed.whole) {
            (0, true) => return,
            (rest, true) => format!("closes {rest} more pull requests"),
            (_, false) => "may close pull requests: they could not be looked through".to_owned(),
        };
        let mut note = self.side_note(party, None, observed);
        note.reason = Some(rest);
        self.write_line(note);
    }

    /// The tracker closes them a moment later: who holds one is not told otherwise for long.
    fn look_again(&self, closed: &Closed, struck: &[&ItemRecord], runtime: &Handle) {
        let held: Vec<Place> = struck.iter().map(|record| record.locator.clone()).collect();
        if held.is_empty() && closed.pulls.is_empty() {
            return;
        }
        let gate = Arc::clone(&self.gate);
        runtime.spawn(async move {
            for wait in CLOSED_AFTER {
                tokio::time::sleep(wait).await;
                held.iter().cloned().for_each(|item| gate.hint(item));
            }
        });
    }

    fn side_note(&self, party: &Party, record: Option<&ItemRecord>, observed: Option<Code>) -> Note {
        let decision = if observed.is_some() { Decision::Observe } else { Decision::Admit };
        let mut note = self.bare_note(decision, observed);
        note.authority = party.caller.overrider.then_some(Authority::Overrider);
        note.resource = record.map(|record| record.locator.clone());
        note.resource_id = record.map(|record| record.key.clone());
        note
    }

    fn write_line(&self, note: Note) {
        self.gate.ports.metrics.decided(note.decision, note.code);
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
    }
}

/// Whether somebody else holds it, to the exclusion of others. An account that is shared says nothing without a name.
fn is_held(party: &Party, record: &ItemRecord) -> bool {
    let caller = &party.caller;
    let nameless = caller.shared && caller.actor.instance.as_ref().is_none_or(Instance::is_address);
    let held = record.holding.as_ref().filter(|held| !held.parked);
    let own = |held: &Holding| {
        // It may have been known by its credential alone when it began.
        held.actor.goes_on_as(&caller.actor) || held.actor.account == Principal::Opaque(caller.credential.clone())
    };
    held.is_some_and(|held| nameless || !own(held))
}

impl Deleted {
    /// Whether the pull request is closed with it.
    fn strikes(&self, pull: &PullBranches) -> bool {
        let from = match (&pull.head, &self.branch) {
            (Some((head, name)), Some(branch)) => *head == self.project && name == branch,
            (Some((head, _)), None) => *head == self.project,
            (None, _) => false,
        };
        let into = pull.at.is_in(&self.project) && self.branch.as_ref() == Some(&pull.base);
        (from || into) && self.but.as_ref() != Some(&pull.at)
    }
}

fn described(label: &LabelState, edit: &LabelEdit) -> String {
    let name = &label.name;
    match edit {
        LabelEdit::Delete => format!("the label `{name}` is deleted"),
        LabelEdit::Change { name: Some(new), .. } if new != name => {
            format!("the label `{name}` becomes `{}`", new.chars().take(100).collect::<String>())
        }
        LabelEdit::Change { exclusive: Some(exclusive), .. } if *exclusive != label.exclusive => {
            format!("the label `{name}` becomes {}", if *exclusive { "exclusive" } else { "one that excludes none" })
        }
        LabelEdit::Change { archived, .. } => {
            format!(
                "the label `{name}` is {}",
                if *archived == Some(true) { "archived" } else { "taken back into use" }
            )
        }
    }
}
