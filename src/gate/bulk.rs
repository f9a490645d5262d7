//! One request that changes several items: all of them, or none.
//!
//! The same walk as one write's, with a list at each step: the turns of all items in sorted order, a fresh read of
//! each, one decision each, one transaction for T1, T2 and T3, and a single send. A refusal of one refuses all. Each item
//! has an attempt of its own, so that doubt, recovery and the audit know no difference.
//!
//! Its first users are the forms of a web interface, whose sender is a session that may not ask the API anything: items
//! are read with the service token. `judged` is the walk with reads, `unread` what is left of it without.

mod judged;
mod reopening;
mod unread;

use super::crowd::{Crowded, Place};
use super::passage::Passage;
use super::reads::ReadAccess;
use super::restore::address_of;
use super::section::notes::authority;
use super::section::{SETTLE_AGAIN, first_allowed, sharer};
use super::{After, Answered, BulkAsk, Gate, LaneError, Reply, Turn, refusal};
use crate::admission::{Outcome, Rules, Step, Web};
use crate::dialect::{Address, Bulk, Credential, Items, Listing, ReadOutcome, WireResponse};
use crate::effect::{Authority, Command, Decision, LedgerError, Note};
use crate::model::{
    Account, Actor, AttemptId, Boot, Caller, Code, Fingerprint, ItemKind, Locator, Login, Rejection, ResourceKey,
    Snapshot,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) struct BulkSection {
    gate: Arc<Gate>,
    /// Those in force when it began: one form is judged by one set of rules.
    rules: Arc<Rules>,
    ask: BulkAsk,
    place: Option<Arc<Place>>,
    /// What to settle should the section panic.
    entered: Mutex<Vec<Ticket>>,
}

/// An attempt that is under way.
#[derive(Clone)]
struct Ticket {
    key: ResourceKey,
    locator: Locator,
    attempt: AttemptId,
    /// As the log has it, should nothing more be known of the attempt than that it may have been sent.
    decision: Decision,
    authority: Option<Authority>,
}

/// Why the section ends: what the client is told.
enum Stop {
    /// Refused by the gate.
    Refuse(Box<Rejection>),
    /// The tracker's own answer goes back.
    Tracker(Box<WireResponse>),
    /// The client has gone before anything was durable.
    Gone,
}

/// Who sends, and with what the items can be read.
struct Who {
    caller: Caller,
    reader: Option<Credential>,
}

/// One read of one item.
struct Fresh {
    began: Boot,
    seen: Snapshot,
}

/// What the request was found to be about.
#[derive(Default)]
struct Found {
    keys: BTreeSet<ResourceKey>,
    /// Where they are, of those that can be read.
    places: BTreeMap<ResourceKey, Address>,
}

type Ended = Result<Reply, Stop>;

/// Reads under way at once.
const READS_AT_ONCE: usize = 8;
/// Pages of a repository's items that are looked through for a number.
const MOST_PAGES: usize = 200;
/// Before the name of a session whose account is not known; no login has a colon.
const SESSION: &str = "session:";
/// Items that a text names.
const MOST_NAMES: usize = 5;

// === impl BulkSection ===

impl BulkSection {
    pub(super) fn new(gate: Arc<Gate>, ask: BulkAsk, place: Option<Arc<Place>>) -> Self {
        Self { rules: gate.rules(), gate, ask, place, entered: Mutex::default() }
    }

    /// The walk. `None`: the client had gone before anything was durable, and nothing was done.
    pub(super) async fn run(&self, passage: &Passage) -> Option<Reply> {
        match self.walk(passage).await {
            Ok(reply) => Some(reply),
            Err(Stop::Refuse(rejection)) => Some(self.refused(*rejection)),
            Err(Stop::Tracker(response)) => Some(self.denied(*response)),
            Err(Stop::Gone) => None,
        }
    }

    async fn walk(&self, passage: &Passage) -> Ended {
        // A stranger takes no turns, and is not told who works on what.
        self.prove_reader().await?;
        let who = self.who().await;
        // No sender has more than its share of what all wait for.
        self.take_place(&who.caller)?;
        // Which items, by their immutable ids.
        let found = self.find(&who).await?;
        // The turns of all of them.
        let turns = self.enter(&found.keys, &who.caller).await?;
        match &who.reader {
            Some(reader) if self.ask.bulk.wants.is_judged() => {
                self.judged(&who.caller, reader, &found.places, turns, passage).await
            }
            _ => self.unread(&who.caller, &found.keys, &turns, passage).await,
        }
    }

    // === who ===

    /// Whether the tracker shows the sender the page that the form is on, and knows it as signed in.
    async fn prove_reader(&self) -> Result<(), Stop> {
        let bulk = &self.ask.bulk;
        if self.is_reader() {
            return Ok(());
        }
        for request in self.gate.ports.dialect.prove_reader(bulk) {
            let answer = self.gate.ports.upstream.read(request).await;
            let (response, _) = answer.map_err(|error| Stop::Refuse(refusal::unanswered(&self.locator(), &error)))?;
            if !response.status.is_success() {
                return Err(Stop::Tracker(Box::new(response)));
            }
        }
        if !bulk.sender.session.is_anonymous() {
            let print = self.gate.ports.identify.fingerprint(&bulk.sender.session);
            let page = ReadAccess::Page(bulk.project.clone());
            self.gate.reads.learn_access(&print, page, self.gate.ports.clock.boot());
        }
        Ok(())
    }

    /// Whether the tracker has lately shown the sender the page that the form is on.
    fn is_reader(&self) -> bool {
        let (session, page) = (&self.ask.bulk.sender.session, ReadAccess::Page(self.ask.bulk.project.clone()));
        let print = self.gate.ports.identify.fingerprint(session);
        !session.is_anonymous() && self.gate.reads.has_seen(&print, page, self.ask.arrived)
    }

    /// The account, where the tracker tells it of a session (Gitea 1.15 does; Forgejo from 7 does not); else a name for
    /// the session that no account can have, so that whom it assigns is never taken for the sender itself.
    async fn who(&self) -> Who {
        let sender = &self.ask.bulk.sender;
        let identify = &self.gate.ports.identify;
        let print = identify.fingerprint(&sender.session);
        let account = identify.account(&sender.credential).await.ok();
        let named = account.as_ref().and_then(Account::login).cloned();
        let reader = self.gate.ports.service.clone().or_else(|| named.as_ref().map(|_| sender.credential.clone()));
        let overrider =
            self.rules.web == Web::Override || named.as_ref().is_some_and(|login| self.rules.is_overrider(login));
        let account = named.map_or_else(|| session(&print), Account::Named);
        let actor = Actor { account, instance: None };
        Who { caller: Caller { actor, credential: print, shared: false, overrider }, reader }
    }

    fn take_place(&self, caller: &Caller) -> Result<(), Stop> {
        let Some(place) = &self.place else { return Ok(()) };
        place.becomes(caller).map_err(|crowded| Stop::Refuse(refusal::crowded(&self.locator(), &crowded)))
    }

    /// There is no place for it: nothing of it is begun.
    pub(super) fn crowded_out(&self, crowded: &Crowded) -> Reply {
        self.refused(*refusal::crowded(&self.locator(), crowded))
    }

    // === which items ===

    async fn find(&self, who: &Who) -> Result<Found, Stop> {
        let bulk = &self.ask.bulk;
        if bulk.wants.is_judged() && who.reader.is_none() && !who.caller.overrider {
            let message = "the rules are enforced for the web interface, and the gate has no service token with which \
                           to read the items: set upstream.service_token_file, or use the API";
            return Err(Stop::Refuse(Box::new(Rejection::of_request(Code::UpstreamUnreadable, message))));
        }
        match (&bulk.items, &who.reader) {
            (Items::New, _) => Ok(Found::default()),
            // Whoever sends a form has shown that it may see the repository of its page, and no other.
            (Items::Keys(keys), Some(reader)) if bulk.wants.is_judged() || self.owner().is_none() => {
                let places = self.locate(keys, reader).await?;
                Ok(Found { keys: keys.clone(), places })
            }
            (Items::Keys(keys), _) => {
                self.expect_own(keys).await?;
                Ok(Found { keys: keys.clone(), places: BTreeMap::new() })
            }
            (Items::At(address), Some(reader)) => {
                let key = self.read(address, reader, "resolve").await?.seen.key;
                Ok(Found { keys: BTreeSet::from([key.clone()]), places: BTreeMap::from([(key, address.clone())]) })
            }
            (Items::At(address), None) => {
                let keys = self.known_key(&address.locator()).await?.into_iter().collect();
                Ok(Found { keys, places: BTreeMap::new() })
            }
        }
    }

    /// The item at a place that cannot be read. One that the gate has never heard of is in nobody's hands, and no
    /// write of it is under way.
    async fn known_key(&self, locator: &Locator) -> Result<Option<ResourceKey>, Stop> {
        if let Some(key) = self.gate.reads.key(locator).await {
            return Ok(Some(key));
        }
        let active = self.gate.ports.ledger.active().await.map_err(|error| self.no_ledger(&error))?;
        Ok(active.into_iter().find(|record| record.locator == *locator).map(|record| record.key))
    }

    /// Where the items are. There is no call that finds one by its id: what is not known is looked for in the list.
    async fn locate(
        &self,
        keys: &BTreeSet<ResourceKey>,
        reader: &Credential,
    ) -> Result<BTreeMap<ResourceKey, Address>, Stop> {
        let mut places = BTreeMap::new();
        for key in keys {
            if let Some(address) = self.remembered(key).await? {
                places.insert(key.clone(), address);
            }
        }
        for page in 1..=MOST_PAGES {
            if places.len() == keys.len() {
                break;
            }
            let items = self.page(page, reader).await?;
            if items.is_empty() {
                break;
            }
            for (key, address) in items {
                let kind = if address.pull { ItemKind::Pull } else { ItemKind::Issue };
                self.gate.reads.learn_key(&address.locator(), &key, kind).await;
                if keys.contains(&key) {
                    places.insert(key, address);
                }
            }
        }
        let missing: Vec<&str> =
            keys.iter().filter(|key| !places.contains_key(*key)).map(ResourceKey::as_str).collect();
        if missing.is_empty() { Ok(places) } else { Err(self.no_such(&missing)) }
    }

    /// Without a read: none of the items is known to be another repository's. Of those it is not told that they exist.
    async fn expect_own(&self, keys: &BTreeSet<ResourceKey>) -> Result<(), Stop> {
        let mut strays = Vec::new();
        for key in keys {
            if self.last_seen(key).await?.is_some_and(|at| !self.is_own(&at)) {
                strays.push(key.as_str());
            }
        }
        if strays.is_empty() { Ok(()) } else { Err(self.no_such(&strays)) }
    }

    /// The same words for what does not exist and for what is elsewhere.
    fn no_such(&self, ids: &[&str]) -> Stop {
        let message = format!(
            "{} has no item with the id {}; nothing was sent: load the page again",
            self.ask.bulk.project,
            some_of(ids)
        );
        Stop::Refuse(Box::new(Rejection::of_request(Code::AmbiguousRequest, message)))
    }

    async fn remembered(&self, key: &ResourceKey) -> Result<Option<Address>, Stop> {
        // Another repository's items are not this form's to change, which old versions do not check.
        Ok(self.last_seen(key).await?.filter(|at| self.is_own(at)).as_ref().and_then(address_of))
    }

    async fn last_seen(&self, key: &ResourceKey) -> Result<Option<Locator>, Stop> {
        if let Some(locator) = self.gate.reads.place(key).await {
            return Ok(Some(locator));
        }
        let record = self.gate.ports.ledger.item(key).await.map_err(|error| self.no_ledger(&error))?;
        Ok(record.map(|record| record.locator))
    }

    /// Whether the item stands in the repository of the form's page, or in some of the owner's where the page is that.
    fn is_own(&self, at: &Locator) -> bool {
        let of = |owner: &str| at.project.as_str().split_once('/').is_some_and(|(of, _)| of == owner);
        at.project == self.ask.bulk.project || self.owner().is_some_and(of)
    }

    /// Whose page it is, where it is no repository's.
    fn owner(&self) -> Option<&str> {
        self.ask.bulk.project.as_str().strip_suffix("/-")
    }

    async fn page(&self, page: usize, reader: &Credential) -> Result<Vec<(ResourceKey, Address)>, Stop> {
        let (dialect, project) = (&self.gate.ports.dialect, &self.ask.bulk.project);
        let answer = self.gate.ports.upstream.read(dialect.list(Listing::AllItems(project), page, reader)).await;
        let (response, _) = answer.map_err(|error| Stop::Refuse(refusal::unanswered(&self.locator(), &error)))?;
        dialect.addresses(project, &response).ok_or_else(|| {
            let why = format!("the list of its items was answered {}", response.status);
            Stop::Refuse(refusal::unreadable(&self.locator(), &why))
        })
    }

    /// One read of one item; a same-origin redirect is followed once.
    async fn read(&self, address: &Address, reader: &Credential, phase: &'static str) -> Result<Fresh, Stop> {
        let mut address = address.clone();
        for _ in 0..2 {
            let began = self.gate.ports.clock.boot();
            let started = tokio::time::Instant::now();
            let (upstream, request) = (&self.gate.ports.upstream, self.gate.ports.dialect.observe(&address, reader));
            let is_back = phase == "read_back";
            let answer = if is_back { upstream.read_back(request).await } else { upstream.read(request).await };
            self.gate.ports.metrics.upstream_took(phase, started.elapsed());
            let locator = address.locator();
            let unreadable = |why: &str| Stop::Refuse(refusal::unreadable(&locator, why));
            let (response, _) = answer.map_err(|error| Stop::Refuse(refusal::unanswered(&locator, &error)))?;
            match self.gate.ports.dialect.read(&address, &response) {
                ReadOutcome::Item(seen) => {
                    self.gate.reads.learn_key(&seen.locator, &seen.key, seen.kind).await;
                    return Ok(Fresh { began, seen });
                }
                ReadOutcome::Moved(to) => address = to,
                ReadOutcome::Denied => return Err(unreadable(&format!("the reader was answered {}", response.status))),
                ReadOutcome::Unreadable(why) => return Err(unreadable(&why)),
            }
        }
        Err(Stop::Refuse(refusal::unreadable(&address.locator(), "it redirects more than once")))
    }

    async fn enter(&self, keys: &BTreeSet<ResourceKey>, caller: &Caller) -> Result<Vec<Turn>, Stop> {
        let turns = self.gate.lanes.enter_all(keys, &sharer(caller), self.gate.boot_clock()).await;
        self.gate.ports.metrics.waited(self.took());
        turns.map_err(|error| {
            let message = match error {
                LaneError::Full => "too many writes of one of the items are waiting; nothing was sent; try again",
                LaneError::Late => "the turns of all items did not come in time; nothing was sent; try again",
            };
            let rejection = Rejection::of_request(Code::LaneTimeout, message);
            Stop::Refuse(Box::new(Rejection { retry_after: Some(Duration::from_secs(1)), ..rejection }))
        })
    }

    // === ways out ===

    /// The section panicked: what may have been sent is in doubt, what was not is aborted.
    pub(super) async fn panicked(&self) -> Reply {
        let entered = std::mem::take(&mut *self.entered.lock().unwrap_or_else(PoisonError::into_inner));
        let doubt_until = self.gate.ports.clock.now() + self.gate.settings.doubt_period;
        for ticket in entered {
            let attempt = ticket.attempt.clone();
            let doubt = Step::Settle { attempt: attempt.clone(), outcome: Outcome::Doubt, doubt_until };
            let ending = |step, decision| {
                let mut note = self.bare_note(decision, Some(Code::OutcomeUnknown));
                note.authority = ticket.authority;
                attempt.as_str().clone_into(&mut note.id);
                self.command(&ticket, step, Some(Box::new(note)))
            };
            let abort = Step::Abort(attempt.clone());
            let alternatives = vec![ending(doubt, ticket.decision), ending(abort, Decision::Reject)];
            let ended = tokio::spawn(first_allowed(Arc::clone(&self.gate.ports.ledger), alternatives));
            drop(tokio::time::timeout(SETTLE_AGAIN, ended).await);
        }
        self.refused(*Self::unknown())
    }

    /// A refusal that is no attempt's: recorded as a line of its own.
    fn refused(&self, rejection: Rejection) -> Reply {
        let mut note = self.bare_note(Decision::Reject, Some(rejection.code));
        note.resource.clone_from(&rejection.resource);
        note.expected.clone_from(&rejection.expected);
        note.observed.clone_from(&rejection.observed);
        let (id, code) = (note.id.clone(), rejection.code);
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        self.decided(Decision::Reject, Some(code), &id, Answered::Refused(Box::new(rejection)))
    }

    /// The tracker does not show the sender what the form is about: its answer goes back unchanged.
    fn denied(&self, response: WireResponse) -> Reply {
        let mut note = self.bare_note(Decision::Reject, Some(Code::UpstreamUnreadable));
        note.upstream_status = Some(response.status.as_u16());
        let id = note.id.clone();
        self.gate.ports.ledger.record(note, self.gate.ports.clock.now());
        self.decided(Decision::Reject, Some(Code::UpstreamUnreadable), &id, Answered::Tracker(response))
    }

    fn decided(&self, decision: Decision, code: Option<Code>, id: &str, answer: Answered) -> Reply {
        self.gate.ports.metrics.decided(decision, code);
        Reply { id: id.to_owned(), decision, code, answer, state: None, after: After::default() }
    }

    fn no_ledger(&self, error: &LedgerError) -> Stop {
        Stop::Refuse(refusal::no_ledger(&self.locator(), &error.to_string()))
    }

    fn unknown() -> Box<Rejection> {
        let message = "the form was sent and its outcome is unknown: load the page again and look before you repeat it";
        Box::new(Rejection::of_request(Code::OutcomeUnknown, message))
    }

    // === small helpers ===

    /// Where the form stands, for texts: an item where it names one by its place, else the project as a whole.
    fn locator(&self) -> Locator {
        match &self.ask.bulk.items {
            Items::At(address) => address.locator(),
            Items::Keys(_) | Items::New => Locator { project: self.ask.bulk.project.clone(), number: 0 },
        }
    }

    fn command(&self, ticket: &Ticket, step: Step, note: Option<Box<Note>>) -> Command {
        let (key, locator) = (ticket.key.clone(), ticket.locator.clone());
        Command { key, locator, step, note, now: self.gate.ports.clock.now() }
    }

    fn note(&self, caller: &Caller, decision: Decision, code: Option<Code>) -> Note {
        let mut note = self.bare_note(decision, code);
        note.agent = Some((caller.actor.clone(), caller.credential.clone()));
        note.authority = authority(&self.rules, caller);
        note
    }

    fn bare_note(&self, decision: Decision, code: Option<Code>) -> Note {
        let now = self.gate.ports.clock.now();
        let mut note = Note::of_gate(self.gate.ports.entropy.attempt_id(now).as_str().to_owned(), None);
        note.decision = decision;
        note.code = code;
        // Of a body nothing is recorded before the tracker has shown its sender the page that it is from.
        if self.is_reader() {
            note.change = self.ask.bulk.wants.describe();
        }
        note.took = self.took();
        self.ask.about.fill(&mut note);
        note
    }

    fn took(&self) -> Duration {
        Duration::from_micros(self.gate.ports.clock.boot().0.saturating_sub(self.ask.arrived.0))
    }
}

impl Gate {
    /// A place for the sender, by what is known of it without asking.
    pub(super) fn place_of_form(&self, bulk: &Bulk) -> Result<Arc<Place>, Crowded> {
        let (identify, sender) = (&self.ports.identify, &bulk.sender);
        let print = identify.fingerprint(&sender.session);
        let signed_in = !sender.session.is_anonymous()
            && self.reads.has_seen_lately(&print, ReadAccess::Page(bulk.project.clone()));
        if !signed_in || identify.known(&identify.fingerprint(&sender.credential)).is_some() {
            return self.place(&sender.credential, None);
        }
        let actor = Actor { account: session(&print), instance: None };
        self.crowd.agent(&Caller { actor, credential: print, shared: false, overrider: false })
    }
}

/// A name that no account can have.
fn session(print: &Fingerprint) -> Account {
    let session: String = print.as_str().chars().take(12).collect();
    Account::Named(Login::new(&format!("{SESSION}{session}")))
}

fn is_session(actor: &Actor) -> bool {
    actor.account.login().is_some_and(|login| login.as_str().starts_with(SESSION))
}

/// The first few, and how many there are beside.
fn some_of(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
