//! Writes whose effect is on items that they do not name: judged before they go on as they came.
//!
//! Deleting a branch closes pull requests, an edit of a status label moves every item that carries it, a dependency keeps
//! an item from being closed, its `ref` says whose push closes it. None of them is an attempt on an item: no turn is taken,
//! and what they do is seen afterwards as an outside edit. So the gate refuses what would strike an item that another
//! holds at that moment, and otherwise writes down what will happen. It reads with the caller's own credential; where that
//! may not read, the tracker refuses the write, too.
//!
//! What cannot be found out is refused where somebody else holds anything that it could strike, and else it goes on.

use super::leases::LeaseUse;
use super::restore::address_of;
use super::{About, After, Answered, Gate, Reply, refusal};
use crate::admission::{self, By, Editors, Mode, OutsideEdit, Refused, Rules, TenureStep, Term, Web};
use crate::dialect::{
    Address, Credential, LabelEdit, LabelOwner, LabelState, PullBranches, ReadOutcome, SideEffect, SideWrite,
    WireRequest, WireResponse,
};
use crate::effect::{Authority, Decision, IdentifyError, LedgerError, Note};
use crate::model::{
    Account, Actor, Boot, Caller, Change, Code, Holding, Instance, ItemRecord, Kind, Locator, Ownership, Project,
    Rejection, ResourceKey, Snapshot, Status,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Such a write as the edge hands it over: parsed, nothing decided.
pub struct SideAsk {
    /// What it does, and who sends it where that is a session.
    pub write: SideWrite,
    /// With which credential.
    pub credential: Credential,
    /// Which agent behind the account, where it said so.
    pub instance: Option<Instance>,
    /// When its head had been read.
    pub arrived: Boot,
    /// For the audit.
    pub about: About,
}

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

/// The judgement of one such write.
struct SideSection {
    gate: Arc<Gate>,
    rules: Arc<Rules>,
    ask: SideAsk,
    caller: Caller,
    /// With what items can be read; a session cannot where newer trackers are.
    reader: Option<Credential>,
}

/// Why it does not go on.
enum Stop {
    /// Refused by the gate.
    Refuse(Box<Rejection>),
    /// The tracker will refuse it, or do nothing: it says so best itself.
    GoesOn,
}

/// The branch that goes, or every branch of its repository.
struct Deleted {
    project: Project,
    branch: Option<String>,
    /// The pull request that it came from, which is closed already.
    but: Option<Locator>,
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
/// After so long the tracker has closed what a deleted branch closes.
const CLOSED_AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

impl Gate {
    /// Judges the write.
    pub async fn judge_side_effect(self: &Arc<Self>, ask: SideAsk, runtime: &Handle) -> Judged {
        let gate = Arc::clone(self);
        let after = runtime.clone();
        let judged = self.whole(async move { SideSection::judge(gate, ask, &after).await }, runtime).await;
        if matches!(judged, Judged::Refused(_)) {
            self.recorded().await;
        }
        judged
    }
}

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

impl SideSection {
    async fn judge(gate: Arc<Gate>, ask: SideAsk, runtime: &Handle) -> Judged {
        let rules = gate.rules();
        let goes_on = |gate, leases| Judged::GoesOn(Filing { gate, leases });
        let (place, caller, reader) = match Self::whose(&gate, &rules, &ask).await {
            Ok(found) => found,
            Err(Stop::GoesOn) => return goes_on(gate, Vec::new()),
            Err(Stop::Refuse(rejection)) => return Judged::Refused(refused(&gate, &ask, None, *rejection)),
        };
        let section = Self { gate, rules, ask, caller, reader };
        let ended = section.run(runtime).await;
        place.leave();
        match ended {
            Ok(leases) => goes_on(section.gate, leases),
            Err(Stop::GoesOn) => goes_on(section.gate, Vec::new()),
            Err(Stop::Refuse(rejection)) => {
                Judged::Refused(refused(&section.gate, &section.ask, Some(&section.caller), *rejection))
            }
        }
    }

    /// The leases that it takes, where it goes on.
    async fn run(&self, runtime: &Handle) -> Result<Vec<LeaseUse>, Stop> {
        match &self.ask.write.effect {
            SideEffect::DeleteBranch { .. } | SideEffect::CleanUp { .. } | SideEffect::DeleteRepository { .. } => {
                self.closes(runtime).await?;
            }
            SideEffect::EditLabel { owner, label, edit } => self.relabels(owner, *label, edit).await?,
            SideEffect::AddDependency { item } => self.freezes(item).await?,
            SideEffect::File { project } => return self.files(project).await,
            SideEffect::EditRef { item, wanted } => self.points(item, wanted).await?,
        }
        Ok(Vec::new())
    }

    // === who ===

    async fn whose(
        gate: &Arc<Gate>,
        rules: &Rules,
        ask: &SideAsk,
    ) -> Result<(Arc<super::Place>, Caller, Option<Credential>), Stop> {
        let refuse = |rejection: Box<Rejection>| Stop::Refuse(rejection);
        let session = ask.write.sender.as_ref();
        let credential = session.map_or(&ask.credential, |sender| &sender.credential);
        if credential.is_anonymous() {
            return Err(Stop::GoesOn);
        }
        let place = gate.place(credential, ask.instance.as_ref());
        let place = place.map_err(|crowded| refuse(refusal::crowded(&locator(ask), &crowded)))?;
        let account = match gate.ports.identify.account(credential).await {
            Ok(account) => account,
            // The tracker does not tell of a session whose it is.
            Err(_) if session.is_some() => Account::Opaque(gate.ports.identify.fingerprint(credential)),
            Err(IdentifyError::Unreadable(why)) => return Err(refuse(refusal::unreadable(&locator(ask), &why))),
            // It will refuse the write as well.
            Err(IdentifyError::Refused(_)) => return Err(Stop::GoesOn),
        };
        let print = gate.ports.identify.fingerprint(credential);
        let named = account.login().is_some();
        let mut caller = Gate::caller(rules, account, ask.instance.clone(), print);
        place.becomes(&caller).map_err(|crowded| refuse(refusal::crowded(&locator(ask), &crowded)))?;
        let reader = if session.is_some() {
            caller.overrider |= rules.web == Web::Override;
            gate.ports.service.clone().or_else(|| named.then(|| credential.clone()))
        } else {
            Some(ask.credential.clone())
        };
        Ok((place, caller, reader))
    }

    // === what is closed ===

    async fn closes(&self, runtime: &Handle) -> Result<(), Stop> {
        let active = self.gate.ports.ledger.active().await;
        let active = match active {
            Ok(active) => active,
            Err(_) if !self.enforces() => Vec::new(),
            Err(error) => return Err(Stop::Refuse(refusal::no_ledger(&locator(&self.ask), &error.to_string()))),
        };
        let closed = self.closed().await;
        let own = match &self.ask.write.effect {
            SideEffect::DeleteRepository { project } => Some(project),
            _ => None,
        };
        let keys = self.keys_of(&closed, &active).await?;
        let strikes = |record: &&ItemRecord| Some(&record.locator.project) == own || keys.contains(&record.key);
        let struck: Vec<&ItemRecord> = active.iter().filter(strikes).collect();
        let mut observed = None;
        for record in &struck {
            if let Some(rejection) = self.held_elsewhere(record).await? {
                observed = self.refuse_or_observe(rejection)?;
            }
        }
        let at_risk = |record: &&ItemRecord| closed.places.contains(&record.locator.project) && self.is_held(record);
        for record in active.iter().filter(|_| !closed.whole && !self.caller.overrider).filter(at_risk) {
            if let Some(rejection) = self.struck_alone(&closed, record).await? {
                observed = self.refuse_or_observe(rejection)?;
            }
        }
        self.write_down(&closed, &struck, observed);
        self.look_again(&closed, &struck, runtime);
        Ok(())
    }

    /// The open pull requests from or into what is deleted, in its repository and in the one that it was forked from.
    async fn closed(&self) -> Closed {
        let Some(reader) = &self.reader else {
            return Closed { places: self.ask.write.effect.project().into_iter().collect(), ..Closed::default() };
        };
        let Some(mut project) = self.ask.write.effect.project() else { return Closed::default() };
        let (branch, but) = match &self.ask.write.effect {
            SideEffect::DeleteBranch { branch, .. } => (Some(branch.clone()), None),
            SideEffect::CleanUp { pull } => {
                let request = self.gate.ports.dialect.observe_pull(pull, reader);
                let head = self
                    .fetch(request)
                    .await
                    .and_then(|response| self.gate.ports.dialect.branches(&pull.project(), &response)?.head);
                let Some((from, branch)) = head else { return Closed::default() };
                project = from;
                (Some(branch), Some(pull.locator()))
            }
            _ => (None, None),
        };
        let response = self.fetch(self.gate.ports.dialect.read_project(&project, reader)).await;
        let parent = response.and_then(|response| self.gate.ports.dialect.parent(&response));
        let own = branch.is_some().then(|| project.clone());
        let places: Vec<Project> = own.into_iter().chain(parent.clone().flatten()).collect();
        let deleted = Deleted { project, branch, but };
        let (mut pulls, mut whole) = (Vec::new(), parent.is_some());
        for place in &places {
            match self.open_pulls(place, reader).await {
                Some(open) => pulls.extend(open.into_iter().filter(|pull| deleted.strikes(pull))),
                None => whole = false,
            }
        }
        Closed { deleted: Some(deleted), pulls, places, whole }
    }

    /// The records of what is closed, by their immutable ids: a place may have changed since the item was claimed.
    async fn keys_of(&self, closed: &Closed, active: &[ItemRecord]) -> Result<BTreeSet<ResourceKey>, Stop> {
        let mut keys = BTreeSet::new();
        let known = |at: &Locator| active.iter().find(|record| record.locator == *at);
        for pull in &closed.pulls {
            let found = match (known(&pull.at), &self.reader, address_of(&pull.at)) {
                (Some(record), ..) => Some(record.key.clone()),
                (None, Some(reader), Some(address)) if !active.is_empty() => match self.read(&address, reader).await {
                    Ok(seen) => seen.map(|seen| seen.key),
                    Err(_) if !self.enforces() => None,
                    Err(why) => return Err(Stop::Refuse(refusal::unreadable(&pull.at, &why))),
                },
                _ => None,
            };
            keys.extend(found);
        }
        Ok(keys)
    }

    /// The refusal where an item that another holds is closed, or nobody can say; it was not found in a list.
    async fn struck_alone(&self, closed: &Closed, record: &ItemRecord) -> Result<Option<Rejection>, Stop> {
        let unknown = || {
            let why = "the open pull requests could not be looked through";
            Rejection { resource: None, ..*refusal::unreadable(&locator(&self.ask), why) }
        };
        let (Some(deleted), Some(reader), Some(address)) = (&closed.deleted, &self.reader, address_of(&record.locator))
        else {
            return Ok(Some(unknown()));
        };
        let answer = self.gate.ports.upstream.read(self.gate.ports.dialect.observe_pull(&address, reader)).await;
        match answer {
            // An issue, which has no branch.
            Ok((response, _)) if response.status.as_u16() == 404 => Ok(None),
            Ok((response, _)) => match self.gate.ports.dialect.branches(&record.locator.project, &response) {
                Some(pull) if deleted.strikes(&pull) => self.held_elsewhere(record).await,
                Some(_) => Ok(None),
                None => Ok(Some(unknown())),
            },
            Err(_) => Ok(Some(unknown())),
        }
    }

    async fn open_pulls(&self, project: &Project, reader: &Credential) -> Option<Vec<PullBranches>> {
        let (mut all, mut rows) = (Vec::new(), 0);
        for page in 1..=MOST_PAGES {
            let response = self.fetch(self.gate.ports.dialect.list_pulls(project, page, reader)).await?;
            let listed = self.gate.ports.dialect.listed_branches(project, &response)?;
            rows += listed.rows;
            all.extend(listed.pulls);
            if listed.rows == 0 || listed.total.is_some_and(|total| rows >= total) {
                return Some(all);
            }
        }
        None
    }

    // === what a label moves ===

    async fn relabels(&self, owner: &LabelOwner, label: u64, edit: &LabelEdit) -> Result<(), Stop> {
        if self.rules.workflow.edit_labels == Editors::Anyone {
            return Ok(());
        }
        let Some(reader) = &self.reader else { return self.unread("the label") };
        let answer = self.gate.ports.upstream.read(self.gate.ports.dialect.read_label(owner, label, reader)).await;
        let shown = match answer {
            Ok((response, _)) if (300..500).contains(&response.status.as_u16()) => return Err(Stop::GoesOn),
            Ok((response, _)) => self.gate.ports.dialect.label(&response),
            Err(_) => None,
        };
        let Some(shown) = shown else { return self.unread("the label") };
        let is_status = |name: &str| self.rules.workflow.states.contains(&Status::new(name.trim()));
        let (before, after) = (is_status(&shown.name), edit.name(&shown).is_some_and(is_status));
        if !edit.changes(&shown) || !(before || after) {
            return Ok(());
        }
        let observed = self.refuse_or_observe(Self::moves_all(&shown, edit))?;
        let mut note = self.note(None, observed);
        note.reason = Some(described(&shown, edit));
        self.record(note);
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
    async fn files(&self, project: &Project) -> Result<Vec<LeaseUse>, Stop> {
        // Who may not see the repository takes no project, and is not told who works there.
        let session = self.ask.write.sender.as_ref().map(|sender| &sender.credential);
        let page = session.map(|session| self.gate.ports.dialect.read_project(project, session));
        let (Account::Named(_), Some(page)) = (&self.caller.actor.account, page) else { return Ok(Vec::new()) };
        if self.fetch(page).await.is_none() {
            return Err(Stop::GoesOn);
        }
        let (kind, ownership, change) = (Kind::Create, Ownership::Keep, Change::default());
        let terms = self.gate.terms(&self.rules, &self.caller, kind, &ownership, &change, project);
        let mut leases = Vec::new();
        for term in terms {
            let Term::Alone(take) = term else { continue };
            let (lease, now) = (self.gate.leases.enter(std::iter::once(&take)), self.gate.ports.clock.now());
            let rejection = match self.gate.ports.ledger.change_tenure(TenureStep::Take(vec![take]), now).await {
                Ok(tenures) => {
                    lease.taken(&tenures, &[now]);
                    leases.push(lease);
                    continue;
                }
                Err(LedgerError::Refused(Refused::Barred(barred))) if Gate::enforces(&self.rules, &barred) => {
                    Some(Box::new(Gate::refused_by(&barred, &locator(&self.ask), &[])))
                }
                Err(LedgerError::Refused(_)) => None,
                Err(error) => Some(refusal::no_ledger(&locator(&self.ask), &error.to_string())),
            };
            self.gate.give_back(lease).await;
            if let Some(rejection) = rejection {
                for lease in leases {
                    self.gate.give_back(lease).await;
                }
                return Err(Stop::Refuse(rejection));
            }
        }
        Ok(leases)
    }

    // === what freezes an item, or lets others close it ===

    async fn freezes(&self, item: &Address) -> Result<(), Stop> {
        let judged = self.rules.workflow.dependencies_by == By::Holder && self.enforces();
        let Some((record, held)) = self.held_item(item, judged).await? else { return Ok(()) };
        let observed = match self.rules.workflow.dependencies_by {
            By::Anyone => None,
            By::Holder => {
                let why = "a dependency would keep it from being closed; only its holder may add one";
                self.refuse_or_observe(self.not_holder(&record, why))?
            }
        };
        let mut note = self.note(Some(&record), observed);
        note.reason = Some(format!("keeps {} from being closed, which is held by {held}", record.locator));
        self.record(note);
        Ok(())
    }

    async fn points(&self, item: &Address, wanted: &str) -> Result<(), Stop> {
        let Some((record, held)) = self.held_item(item, self.enforces()).await? else { return Ok(()) };
        let Some(reader) = &self.reader else { return self.unread("the item") };
        let response = self.fetch(self.gate.ports.dialect.observe(item, reader)).await;
        let shown = response.and_then(|response| self.gate.ports.dialect.shown_ref(&response));
        if shown.as_deref() == Some(wanted) {
            return Ok(());
        }
        let why = "its `ref` says whose push may close it; only its holder may change that";
        let observed = self.refuse_or_observe(self.not_holder(&record, why))?;
        let mut note = self.note(Some(&record), observed);
        note.reason = Some(format!("whose push may close {} changes; it is held by {held}", record.locator));
        self.record(note);
        Ok(())
    }

    /// The record of an item that another holds, and who that is. What is only written down is never in the way.
    async fn held_item(&self, item: &Address, judged: bool) -> Result<Option<(ItemRecord, String)>, Stop> {
        let record = match self.find_held(item).await {
            Err(_) if !judged => None,
            found => found?,
        };
        Ok(record.map(|record| {
            let held = record.holding.as_ref().map(ToString::to_string).unwrap_or_default();
            (record, held)
        }))
    }

    /// By its immutable id, where it can be read: its place may have changed since it was claimed.
    async fn find_held(&self, item: &Address) -> Result<Option<ItemRecord>, Stop> {
        let (at, ledger) = (item.locator(), &self.gate.ports.ledger);
        let no_ledger = |error: LedgerError| Stop::Refuse(refusal::no_ledger(&at, &error.to_string()));
        let Some(reader) = &self.reader else {
            let active = ledger.active().await.map_err(no_ledger)?;
            return Ok(active.into_iter().find(|record| record.locator == at && self.is_held(record)));
        };
        match self.read(item, reader).await {
            Ok(Some(seen)) => {
                let record = ledger.item(&seen.key).await.map_err(no_ledger)?;
                Ok(record.filter(|record| self.is_held(record) && !self.is_taken(record, &seen)))
            }
            Ok(None) => Ok(None),
            Err(why) => Err(Stop::Refuse(refusal::unreadable(&at, &why))),
        }
    }

    // === who holds ===

    /// Whether somebody else holds it, to the exclusion of others. An account that is shared says nothing without a name.
    fn is_held(&self, record: &ItemRecord) -> bool {
        let nameless = self.caller.shared && self.caller.actor.instance.as_ref().is_none_or(Instance::is_address);
        let held = record.holding.as_ref().filter(|held| !held.parked);
        let own = |held: &Holding| {
            // It may have been known by its credential alone when it began.
            held.actor.goes_on_as(&self.caller.actor)
                || held.actor.account == Account::Opaque(self.caller.credential.clone())
        };
        held.is_some_and(|held| nameless || !own(held))
    }

    /// The refusal where another holds it, and the tracker shows nothing else.
    async fn held_elsewhere(&self, record: &ItemRecord) -> Result<Option<Rejection>, Stop> {
        if !self.is_held(record) || self.caller.overrider || !self.still_held(record).await? {
            return Ok(None);
        }
        Ok(Some(self.not_holder(record, "only its holder may close it")))
    }

    /// An outside edit has ended a holding whether or not the ledger knows yet.
    async fn still_held(&self, record: &ItemRecord) -> Result<bool, Stop> {
        let (Some(reader), Some(address)) = (&self.reader, address_of(&record.locator)) else { return Ok(true) };
        match self.read(&address, reader).await {
            Ok(Some(seen)) if seen.key == record.key => Ok(!self.is_taken(record, &seen)),
            // It is another item, or not for these eyes.
            Ok(_) => Ok(false),
            Err(_) if !self.enforces() => Ok(true),
            Err(why) => Err(Stop::Refuse(refusal::unreadable(&record.locator, &why))),
        }
    }

    fn is_taken(&self, record: &ItemRecord, seen: &Snapshot) -> bool {
        let edit = admission::outside_edit(record, seen, &self.rules, self.gate.ports.clock.now());
        matches!(edit, Some(OutsideEdit::Takes { .. }))
    }

    /// One read; a same-origin redirect is followed once. `None`: not for these eyes.
    async fn read(&self, address: &Address, reader: &Credential) -> Result<Option<Snapshot>, String> {
        let mut address = address.clone();
        for _ in 0..2 {
            let answer = self.gate.ports.upstream.read(self.gate.ports.dialect.observe(&address, reader)).await;
            let (response, _) = answer.map_err(|error| error.to_string())?;
            match self.gate.ports.dialect.read(&address, &response) {
                ReadOutcome::Item(seen) => return Ok(Some(seen)),
                ReadOutcome::Denied => return Ok(None),
                ReadOutcome::Moved(to) => address = to,
                ReadOutcome::Unreadable(why) => return Err(why),
            }
        }
        Err("it redirects more than once".to_owned())
    }

    /// An answer of 200.
    async fn fetch(&self, request: WireRequest) -> Option<WireResponse> {
        let (response, _) = self.gate.ports.upstream.read(request).await.ok()?;
        (response.status.as_u16() == 200).then_some(response)
    }

    // === what is told ===

    /// Whether a rule could refuse this caller.
    fn enforces(&self) -> bool {
        !self.caller.overrider && self.rules.workflow.mode == Mode::Enforce
    }

    /// The code that an observing rule would have refused with; none for who may do anything.
    fn refuse_or_observe(&self, rejection: Rejection) -> Result<Option<Code>, Stop> {
        match self.rules.workflow.mode {
            _ if self.caller.overrider => Ok(None),
            Mode::Observe => Ok(Some(rejection.code)),
            Mode::Enforce => Err(Stop::Refuse(Box::new(rejection))),
        }
    }

    fn unread(&self, what: &str) -> Result<(), Stop> {
        if self.enforces() {
            let why = format!("{what} could not be read");
            return Err(Stop::Refuse(refusal::unreadable(&locator(&self.ask), &why)));
        }
        let mut note = self.note(None, None);
        note.reason = Some(format!("{what} could not be read, so what it does is not known"));
        self.record(note);
        Ok(())
    }

    fn not_holder(&self, record: &ItemRecord, why: &str) -> Rejection {
        let (at, effect) = (&record.locator, &self.ask.write.effect);
        let held = record.holding.as_ref();
        if self.caller.shared && self.caller.actor.instance.is_none() {
            let message = format!(
                "{effect}: {at} is held, and the account {} is shared by several agents, so the request must say which \
                 one it is: use the base URL /as/<agent>/ or the header Claimgate-Agent",
                self.caller.actor.account
            );
            return *refusal::plain(Code::IdentityRequired, at, message);
        }
        let by = held.map(ToString::to_string).unwrap_or_default();
        // Of a session it is not known what it may see.
        let told = if self.ask.write.sender.is_some() { "another agent".to_owned() } else { by };
        let mut rejection = *refusal::plain(
            Code::NotHolder,
            at,
            format!("{effect}: {at} is held by {told}, and {why}; nothing was sent"),
        );
        "the caller holds the item, or nobody does".clone_into(&mut rejection.expected);
        if self.ask.write.sender.is_none() {
            rejection.holder = held.map(|held| held.actor.clone());
            rejection.since = held.map(|held| held.since);
        }
        rejection
    }

    /// One line for each item that will be closed, and one where that could not be found out.
    fn write_down(&self, closed: &Closed, struck: &[&ItemRecord], observed: Option<Code>) {
        let listed = closed.pulls.iter().map(|pull| &pull.at);
        let others =
            struck.iter().map(|record| &record.locator).filter(|at| !closed.pulls.iter().any(|pull| pull.at == **at));
        for at in listed.chain(others).take(MOST_LINES) {
            let record = struck.iter().find(|record| record.locator == *at);
            let mut note = self.note(record.copied(), observed);
            note.resource = Some(at.clone());
            let held =
                record.and_then(|record| record.holding.as_ref()).map(|held| format!(", which is held by {held}"));
            note.reason = Some(format!("ends {at}{}", held.unwrap_or_default()));
            self.record(note);
        }
        let rest = closed.pulls.len().saturating_sub(MOST_LINES);
        let rest = match (rest, closed.whole) {
            (0, true) => return,
            (rest, true) => format!("closes {rest} more pull requests"),
            (_, false) => "may close pull requests: they could not be looked through".to_owned(),
        };
        let mut note = self.note(None, observed);
        note.reason = Some(rest);
        self.record(note);
    }

    /// The tracker closes them a moment later: who holds one is not told otherwise for long.
    fn look_again(&self, closed: &Closed, struck: &[&ItemRecord], runtime: &Handle) {
        let held: Vec<Locator> = struck.iter().map(|record| record.locator.clone()).collect();
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

    fn note(&self, record: Option<&ItemRecord>, observed: Option<Code>) -> Note {
        let mut note = bare_note(&self.gate, &self.ask, Some(&self.caller));
        note.authority = self.caller.overrider.then_some(Authority::Overrider);
        note.decision = if observed.is_some() { Decision::Observe } else { Decision::Admit };
        note.code = observed;
        if let Some(record) = record {
            (note.resource, note.resource_id) = (Some(record.locator.clone()), Some(record.key.clone()));
        }
        note
    }

    fn record(&self, note: Note) {
        self.gate.ports.metrics.decided(note.decision, note.code);
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
    }
}

impl Deleted {
    /// Whether the pull request is closed with it.
    fn strikes(&self, pull: &PullBranches) -> bool {
        let from = match (&pull.head, &self.branch) {
            (Some((head, name)), Some(branch)) => *head == self.project && name == branch,
            (Some((head, _)), None) => *head == self.project,
            (None, _) => false,
        };
        let into = pull.at.project == self.project && self.branch.as_ref() == Some(&pull.base);
        (from || into) && self.but.as_ref() != Some(&pull.at)
    }
}

fn refused(gate: &Gate, ask: &SideAsk, caller: Option<&Caller>, rejection: Rejection) -> Reply {
    let mut note = bare_note(gate, ask, caller);
    (note.decision, note.code) = (Decision::Reject, Some(rejection.code));
    note.resource.clone_from(&rejection.resource);
    note.expected.clone_from(&rejection.expected);
    let (id, code) = (note.id.clone(), rejection.code);
    gate.ports.metrics.decided(Decision::Reject, Some(code));
    gate.ports.ledger.record(note, gate.ports.clock.now());
    let answer = Answered::Refused(Box::new(rejection));
    Reply { id, decision: Decision::Reject, code: Some(code), answer, state: None, after: After::default() }
}

fn bare_note(gate: &Gate, ask: &SideAsk, caller: Option<&Caller>) -> Note {
    let mut note = Note::of_gate(gate.ports.entropy.attempt_id(gate.ports.clock.now()).as_str().to_owned(), None);
    note.agent = caller.map(|caller: &Caller| (Actor::clone(&caller.actor), caller.credential.clone()));
    // Of what was sent nothing is recorded before the tracker has accepted its credential.
    note.change = caller.map_or_else(String::new, |_| ask.write.effect.to_string());
    note.took = Duration::from_micros(gate.ports.clock.boot().0.saturating_sub(ask.arrived.0));
    ask.about.fill(&mut note);
    note
}

/// For texts: the project as a whole.
fn locator(ask: &SideAsk) -> Locator {
    let project = ask.write.effect.project().unwrap_or_else(|| Project::new("-", "-"));
    Locator { project, number: 0 }
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
