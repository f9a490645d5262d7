//! One guarded write, step by step (manual: walk, protocol).
//!
//! `run` is the outline; each step below it either goes on or ends the section with
//! what the client is to be told. From T1 on every way out settles the attempt.

use super::crowd::{Crowded, Place};
use super::passage::Passage;
use super::refusal;
use super::refusal::whole_seconds;
use super::restore::Writer;
use super::{After, Answered, Ask, Gate, LaneError, Observation, Proviso, Reply, Turn};
use crate::admission::{self, Answer, Noop, Outcome, Permit, Question, Refused, Rules, StateTag, Step, Verdict};
use crate::dialect::{Address, Scope, WireResponse};
use crate::effect::{
    Authority, CallError, Carrier, Command, Decision, Durability, IdentifyError, LedgerError, SHORT_ANSWER, failpoint,
};
use crate::model::{
    Account, Actor, Attempt, AttemptId, Boot, Caller, Change, Code, Fingerprint, Holding, ItemRecord, Kind, Label,
    Locator, Login, Rejection, ResourceKey, Snapshot, Status, What,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

mod creation;
mod echo;
mod exits;
mod gone;
pub(super) mod notes;
mod once;
mod reading;
mod reopening;
mod sent;
pub(super) mod terms;

pub(super) use exits::first_allowed;
pub(super) use sent::outcome_code;
use sent::{Sent, half_done, not_applied};

pub(super) struct Section {
    gate: Arc<Gate>,
    /// Those in force when it began: one write is judged by one set of rules.
    rules: Arc<Rules>,
    ask: Ask,
    /// Of the credential.
    print: OnceLock<Fingerprint>,
    /// Whose share of a lane its turns are of, once that is known.
    sharer: OnceLock<Actor>,
    /// Its own or its errand's; none is needed for what the gate writes itself.
    place: Option<Arc<Place>>,
    /// The guarded fields that were left out, since the item shows them as they were asked for.
    echoed: OnceLock<String>,
    /// What to settle should the section panic.
    entered: Mutex<Option<Entry>>,
    /// Where the item is, and where it stood before a holding that ended half-way: to be put right before the answer.
    stray: Mutex<Option<(Address, BTreeSet<Status>)>>,
}

/// An attempt that is not settled yet, with what the log must say of it whatever happens.
struct Entry {
    key: ResourceKey,
    locator: Locator,
    attempt: AttemptId,
    decision: Decision,
    authority: Option<Authority>,
}

/// Why the section ends before a send: what the client is told.
pub(super) enum Stop {
    /// Refused by the gate.
    Refuse(Box<Rejection>),
    /// The tracker's own answer goes back.
    Tracker(Box<WireResponse>),
    /// The client has gone before anything was durable.
    Gone,
    /// The path names another item than it did: start again.
    Moved,
}

/// One read of the item.
struct Fresh {
    began: Boot,
    seen: Snapshot,
    address: Address,
    response: WireResponse,
    carrier: Option<Carrier>,
}

/// What is left to ask for, and what the labels that it names are called.
#[derive(Clone, Copy)]
struct Asked<'a> {
    change: &'a Change,
    labels: &'a [Label],
}

/// A write under its item's turn.
struct Entered<'a> {
    turn: &'a Turn,
    caller: &'a Caller,
    key: &'a ResourceKey,
    attempt: AttemptId,
    waited: Duration,
}

type Ended = Result<Reply, Stop>;

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refuse(rejection) => f.write_str(&rejection.message),
            Self::Tracker(response) => write!(f, "the tracker answered {}", response.status),
            Self::Gone => f.write_str("the client has gone"),
            Self::Moved => f.write_str("the item has moved"),
        }
    }
}

/// A settlement that cannot be written is tried again this often.
pub(super) const SETTLE_AGAIN: Duration = Duration::from_millis(500);
/// Who comes while this runs shares the read after it.
const GATHER: Duration = Duration::from_millis(15);
/// Longest gathering.
const GATHER_MOST: Duration = Duration::from_millis(250);
/// An observation older than this says nothing about a herd.
const HERD: Duration = Duration::from_secs(2);

impl Section {
    pub(super) fn new(gate: Arc<Gate>, ask: Ask, place: Option<Arc<Place>>) -> Self {
        let (print, sharer, echoed) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (entered, stray) = (Mutex::default(), Mutex::default());
        Self { rules: gate.rules(), gate, ask, print, sharer, place, echoed, entered, stray }
    }

    fn print(&self) -> &Fingerprint {
        self.print.get_or_init(|| self.gate.ports.identify.fingerprint(&self.ask.credential))
    }

    /// The walk. `None`: the client had gone before anything was durable, and nothing was done.
    pub(super) async fn run(&self, passage: &Passage) -> Option<Reply> {
        let ended = self.walk(passage).await;
        let put_back = self.put_back().await;
        match ended {
            Ok(mut reply) => {
                reply.state = put_back.last().and_then(|last| last.state.clone()).or(reply.state);
                reply.after.put_back = put_back.into_iter().map(|write| AttemptId::new(&write.id)).collect();
                Some(reply)
            }
            Err(Stop::Refuse(rejection)) => Some(self.refused(*rejection)),
            Err(Stop::Tracker(response)) => Some(self.denied(*response)),
            Err(Stop::Gone) => None,
            Err(Stop::Moved) => Some(self.refused(*self.still_moving())),
        }
    }

    /// Labels of a claim that is over go before the next holder begins: its turn has ended, and its answer waits.
    async fn put_back(&self) -> Vec<Reply> {
        let stray = self.stray.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((address, found)) = stray else { return Vec::new() };
        let by = Writer { credential: self.ask.credential.clone(), instance: self.ask.instance.clone() };
        self.gate.put_back(&address, &found, &by).await
    }

    async fn walk(&self, passage: &Passage) -> Ended {
        // Who asks, as the tracker sees it.
        let caller = self.identify().await?;
        self.sharer.get_or_init(|| sharer(&caller));
        // Nobody has more than its share of what all wait for.
        self.take_place(&caller)?;
        // What some rule may allow only once.
        if let Some(creation) = self.gate.ports.dialect.creation(&self.ask.intent, &self.gate.settings.closing) {
            return self.once(&creation, &caller, passage).await;
        }
        let Scope::Item(address) = &self.ask.intent.scope else { return self.create(&caller, passage).await };
        if self.reopens() && self.rules.is_ruled(What::Pull) {
            return self.reopen(address, &caller, passage).await;
        }
        self.item_wherever(address, &caller, passage).await
    }

    async fn item_wherever(&self, address: &Address, caller: &Caller, passage: &Passage) -> Ended {
        // A path can come to name another item between two looks; twice is enough.
        for _ in 0..3 {
            match self.item(address, caller, passage).await {
                Err(Stop::Moved) => self.gate.reads.forget_key(&address.locator()).await,
                Err(Stop::Tracker(response)) => return self.denied_item(address, caller, *response).await,
                // Its own doubt stood in the way of letting go.
                Ok(Reply { decision: Decision::Reject, answer: Answered::Tracker(response), id, code, .. }) => {
                    let kept = |answer| self.decided(Decision::Reject, code, &id, answer);
                    return match self.denied_item(address, caller, response).await {
                        Err(Stop::Tracker(response)) => Ok(kept(Answered::Tracker(*response))),
                        ended => ended,
                    };
                }
                ended => return ended,
            }
        }
        Err(Stop::Moved)
    }

    async fn item(&self, address: &Address, caller: &Caller, passage: &Passage) -> Ended {
        // Which item: by its immutable id, never by its path.
        let (key, fresh) = self.resolve(address, caller).await?;
        // What is long is not kept while it waits.
        let mut fresh = fresh.filter(|fresh| fresh.response.body.len() <= SHORT_ANSWER);
        // The tracker shows it the item: from here on it is one who may be told, and is heard of.
        self.gate.hear(&caller.actor, &address.project());
        // Its turn, first come, first served.
        let queued = tokio::time::Instant::now();
        let turn = self.enter(&key, address).await?;
        // A refusal may rest on what somebody else has just seen.
        self.gather(&turn, caller).await;
        let waited = queued.elapsed();
        self.gate.ports.metrics.waited(waited);
        if let Some(reply) = self.shared_refusal(&turn, caller, waited) {
            return Ok(reply);
        }
        // What is echoed is no write.
        if let Some(reply) = self.echo(&key, address, caller, &turn, &mut fresh, waited).await? {
            return Ok(reply);
        }
        self.is_named(caller)?;
        // An abandoned release must not strike a later claim.
        self.cross(passage)?;
        failpoint::reach("t1.before");
        // T1: from here on nothing cancels it.
        let (attempt, record) = self.open(&key, address, caller, &turn, &mut fresh).await?;
        failpoint::reach("t1.after");
        let entered = Entered { turn: &turn, caller, key: &key, attempt, waited };
        let ended = self.entered(&entered, record, fresh, address).await;
        self.entered.lock().unwrap_or_else(PoisonError::into_inner).take();
        ended
    }

    /// Under the turn, with an attempt OPEN: every way out of here settles it.
    async fn entered(&self, at: &Entered<'_>, record: ItemRecord, fresh: Option<Fresh>, address: &Address) -> Ended {
        // Whatever comes of it: its holder is alive.
        if record.is_held_by(&at.caller.actor) {
            self.gate.hear_about(address, at.caller.actor.clone());
        }
        let fresh = match self.observe(at, fresh, address).await {
            Ok(fresh) => fresh,
            Err(Stop::Tracker(response)) if self.lets_go_of(&record, at.caller, &response) => {
                return self.let_go(at, &record, *response).await;
            }
            Err(stop) => return self.give_up(at, stop, Durability::NextGroup).await,
        };
        failpoint::reach("observed");
        // What changed outside the gate is judged first, and takes its own step.
        let record = match self.reconcile(at, record, &fresh.seen).await {
            Ok(record) => record,
            Err(stop) => return self.give_up(at, stop, Durability::NextGroup).await,
        };
        failpoint::reach("reconciled");
        // What the gate puts back or undoes by itself is left alone where somebody has come since.
        match self.superseded(at, &record).await {
            Ok(None) => {}
            Ok(Some(rejection)) => return Ok(self.reject(at, &record, fresh, *rejection).await),
            Err(stop) => return self.give_up(at, stop, Durability::NextGroup).await,
        }
        let change = self.asked_beyond_echo(at.caller, &record, &fresh.seen);
        let labels = match self.labels(&change, &fresh.seen, &fresh.address).await {
            Ok(labels) => labels,
            Err(stop) => return self.give_up(at, stop, Durability::NextGroup).await,
        };
        let question = Question {
            rules: &self.rules,
            caller: at.caller,
            change: &change,
            asks_more: self.asks_more(),
            record: &record,
            seen: &fresh.seen,
            labels: &labels,
            now: self.gate.ports.clock.now(),
        };
        let decided = if change.is_empty() { (Verdict::Noop(Noop::ECHO), None) } else { admission::decide(&question) };
        // What the client itself states must show, too; it is compared last.
        match self.ask.expectation.hold(decided, &question) {
            (Verdict::Reject(rejection), _) => Ok(self.reject(at, &record, fresh, rejection).await),
            (Verdict::Noop(noop), _) => {
                let rest = change.is_empty().then(|| self.rest(&fresh.address));
                let mut reply = self.grant(at, fresh, noop).await?;
                reply.after.rest = rest.filter(|_| reply.decision == Decision::Noop);
                Ok(reply)
            }
            (Verdict::Admit(permit), observed) => {
                if let Some(rejection) = self.unassignable(&fresh.address, &fresh.seen, permit.plan(), at.caller).await
                {
                    return Ok(self.reject(at, &record, fresh, *rejection).await);
                }
                let asked = Asked { change: &change, labels: &labels };
                self.send(at, fresh, asked, permit, observed).await
            }
        }
    }

    /// Whether the gate cannot answer it by itself: more is asked for than what it guards, or the answer is the tracker's.
    fn asks_more(&self) -> bool {
        let intent = &self.ask.intent;
        intent.asks_more() || self.gate.ports.dialect.answers_alone(intent, &self.ask.headers)
    }

    async fn superseded(&self, at: &Entered<'_>, record: &ItemRecord) -> Result<Option<Box<Rejection>>, Stop> {
        let locator = &record.locator;
        let left = |code, why| refusal::plain(code, locator, format!("{locator} {why}, so it was left as it is"));
        if let Some(held) = record.held_by_another(&at.caller.actor).filter(|_| self.ask.operator) {
            return Ok(Some(left(Code::AlreadyAssigned, format!("is held by {} again", held.actor))));
        }
        let must_hold = matches!(&self.ask.proviso, Proviso::Held | Proviso::UnconfirmedSince { held: true, .. });
        if must_hold && !record.is_held_by(&at.caller.actor) {
            return Ok(Some(left(Code::NotHolder, format!("is not held by {} any more", at.caller.actor))));
        }
        let Proviso::UnconfirmedSince { ours, .. } = &self.ask.proviso else { return Ok(None) };
        let confirmed = self.gate.is_confirmed_since(ours, at.key, &at.caller.actor).await;
        let confirmed = confirmed.map_err(|error| Stop::Refuse(Self::not_entered(locator, &error)))?;
        let why = || format!("was written by {} once more since", at.caller.actor);
        Ok(confirmed.then(|| left(Code::PreconditionFailed, why())))
    }

    /// From here on nothing cancels it; unless there is nobody any more who would be told.
    fn cross(&self, passage: &Passage) -> Result<(), Stop> {
        let across = match self.ask.proviso {
            Proviso::Awaited => passage.cross_awaited(),
            Proviso::Always | Proviso::Held | Proviso::UnconfirmedSince { .. } => passage.cross(),
        };
        across.then_some(()).ok_or(Stop::Gone)
    }

    // === before the turn ===

    async fn identify(&self) -> Result<Caller, Stop> {
        let identify = &self.gate.ports.identify;
        let account = identify.account(&self.ask.credential).await.map_err(|error| match error {
            IdentifyError::Refused(response) => Stop::Tracker(response),
            IdentifyError::Unreadable(why) => Stop::Refuse(refusal::unreadable(&self.locator(), &why)),
        })?;
        let mut caller = Gate::caller(&self.rules, account, self.ask.instance.clone(), self.print().clone());
        caller.overrider |= self.ask.operator;
        if self.ask.intent.change.assignees.is_some() {
            self.gate.notice_address(&caller, &self.ask.about);
        }
        // Whoever only repeats what shows need not say which agent it is.
        if !self.ask.intent.edits_more() {
            self.is_named(&caller)?;
        }
        Ok(caller)
    }

    fn take_place(&self, caller: &Caller) -> Result<(), Stop> {
        let Some(place) = &self.place else { return Ok(()) };
        place.becomes(caller).map_err(|crowded| Stop::Refuse(refusal::crowded(&self.locator(), &crowded)))
    }

    /// There is no place for it: nothing of it is begun.
    pub(super) fn crowded_out(&self, crowded: &Crowded) -> Reply {
        self.refused(*refusal::crowded(&self.locator(), crowded))
    }

    // === the turn ===

    async fn enter(&self, key: &ResourceKey, address: &Address) -> Result<Turn, Stop> {
        self.gate.lanes.enter_as(key, self.sharer.get(), self.gate.boot_clock()).await.map_err(|error| {
            let locator = address.locator();
            let message = match error {
                LaneError::Full => format!("{locator}: too many writes of this item are waiting; try again"),
                LaneError::Late => format!("{locator}: the item's turn did not come in time; try again"),
            };
            let rejection = refusal::retry(Code::LaneTimeout, &locator, message, Duration::from_secs(1));
            Stop::Refuse(Box::new(Rejection { of_item: true, ..*rejection }))
        })
    }

    /// While a herd comes at a held item, waits for it to gather, so that one read answers it.
    async fn gather(&self, turn: &Turn, caller: &Caller) {
        let herd = |seen: &Observation| {
            seen.began < self.ask.arrived
                && self.gate.ports.clock.boot() < seen.began + HERD
                && self.refusal_by(seen, caller).is_some()
        };
        if !turn.observation().is_some_and(|seen| herd(&seen)) {
            return;
        }
        let started = tokio::time::Instant::now();
        let mut before = turn.entered();
        while started.elapsed() < GATHER_MOST {
            tokio::time::sleep(GATHER).await;
            if std::mem::replace(&mut before, turn.entered()) == turn.entered() {
                return;
            }
        }
    }

    fn shared_refusal(&self, turn: &Turn, caller: &Caller, waited: Duration) -> Option<Reply> {
        let seen = turn.observation().filter(|seen| seen.began >= self.ask.arrived)?;
        let rejection = *self.refusal_by(&seen, caller)?;
        let mut note = self.refusal_note(&rejection);
        note.resource_id = Some(seen.seen.key.clone());
        note.waited = waited;
        note.stood = Some(Box::new((seen.record.fence, seen.record.holding.clone())));
        Some(self.record_refusal(note, rejection))
    }

    /// What would be refused by an observation alone; never anything that contradicts the holding.
    fn refusal_by(&self, seen: &Observation, caller: &Caller) -> Option<Box<Rejection>> {
        let now = self.gate.ports.clock.now();
        let held = seen.record.holding.as_ref();
        let settled = seen.record.doubts.is_empty()
            && !held.is_some_and(|held| {
                is_nameless_self(&held.actor, caller) || is_left_by_token(held, caller, &seen.seen)
            })
            && self.gate.reads.may_share(&caller.credential, &seen.seen, self.ask.arrived)
            && admission::outside_edit(&seen.record, &seen.seen, &self.rules, now).is_none();
        let change = &self.beyond_echo(caller, &seen.record, &seen.seen);
        let labels = match &change.labels {
            Some(change) => self.gate.known_labels(change.members(), &seen.seen)?,
            None => Vec::new(),
        };
        let question = Question {
            rules: &self.rules,
            caller,
            change,
            asks_more: self.asks_more(),
            record: &seen.record,
            seen: &seen.seen,
            labels: &labels,
            now,
        };
        match settled.then(|| admission::decide(&question)) {
            Some((Verdict::Reject(rejection), _)) => Some(Box::new(rejection)),
            _ => None,
        }
    }

    // === T1 ===

    async fn open(
        &self,
        key: &ResourceKey,
        address: &Address,
        caller: &Caller,
        turn: &Turn,
        fresh: &mut Option<Fresh>,
    ) -> Result<(AttemptId, ItemRecord), Stop> {
        for last in [false, true] {
            let attempt = self.attempt(key, address, caller);
            let (id, locator) = (attempt.id.clone(), address.locator());
            let command = self.command(key, &locator, Step::Open(attempt), None);
            match self.gate.ports.ledger.commit(vec![command], Durability::Awaited).await {
                Ok(mut records) => {
                    self.note_entry(key, &locator, &id, caller);
                    let record = records.pop().unwrap_or_else(|| ItemRecord::new(key.clone(), locator));
                    return Ok((id, record));
                }
                Err(LedgerError::Refused(Refused::InDoubt(_))) if !last => {
                    // Without a service token doubt ends by the next request's credential.
                    let read = self.read(address, "observe").await?;
                    if read.seen.key != *key {
                        return Err(Stop::Moved);
                    }
                    self.gate.resolve_by(key, &read.seen, turn, &self.rules).await;
                    *fresh = Some(read);
                }
                Err(error) => return Err(Stop::Refuse(Self::not_entered(&locator, &error))),
            }
        }
        unreachable!("the second round returns")
    }

    fn note_entry(&self, key: &ResourceKey, locator: &Locator, attempt: &AttemptId, caller: &Caller) {
        let (key, locator, attempt) = (key.clone(), locator.clone(), attempt.clone());
        let authority = notes::authority(&self.rules, caller);
        let entry = Entry { key, locator, attempt, decision: Decision::Admit, authority };
        *self.entered.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }

    fn attempt(&self, key: &ResourceKey, address: &Address, caller: &Caller) -> Attempt {
        let id = self.gate.ports.entropy.attempt_id(self.gate.ports.clock.now());
        self.gate.attempt(id, key, &address.locator(), caller, &self.ask.intent.change)
    }

    fn not_entered(locator: &Locator, error: &LedgerError) -> Box<Rejection> {
        match error {
            LedgerError::Refused(Refused::InDoubt(left)) => {
                let message = format!(
                    "a write of {locator} was sent and its outcome is not known yet; it is closed for another {} s. If that \
                     write is yours, repeat the same request, or wait; else come back then, or pick another item",
                    whole_seconds(*left)
                );
                refusal::retry(Code::InDoubt, locator, message, *left)
            }
            LedgerError::Refused(_) => {
                refusal::plain(Code::Busy, locator, format!("another write of {locator} is under way; try again"))
            }
            LedgerError::Unavailable(why) => refusal::no_ledger(locator, why),
        }
    }

    // === reconcile ===

    /// What the labels that the request names are called.
    async fn labels(&self, change: &Change, seen: &Snapshot, address: &Address) -> Result<Vec<Label>, Stop> {
        let Some(change) = &change.labels else { return Ok(Vec::new()) };
        self.gate.named_labels(change, seen, address, &self.ask.credential).await
    }

    async fn reconcile(&self, at: &Entered<'_>, record: ItemRecord, seen: &Snapshot) -> Result<ItemRecord, Stop> {
        let record = self.rebind(at, record, seen).await?;
        let done = self.gate.account_for(record, seen, &self.rules, at.turn).await;
        done.map_err(|error| Stop::Refuse(Self::not_entered(&seen.locator, &error)))
    }

    /// A holder that was known by its credential alone has got a name since: the same agent goes on under it.
    async fn rebind(&self, at: &Entered<'_>, record: ItemRecord, seen: &Snapshot) -> Result<ItemRecord, Stop> {
        let own = |held: &&Holding| is_nameless_self(&held.actor, at.caller) || is_left_by_token(held, at.caller, seen);
        let Some(held) = record.holding.as_ref().filter(own) else { return Ok(record) };
        let from = held.actor.clone();
        let instance = from.instance.clone().or_else(|| at.caller.actor.instance.clone());
        let to = Actor { account: at.caller.actor.account.clone(), instance };
        let note = self.gate.outside_note(seen);
        let command = self.command(at.key, &seen.locator, Step::Rebind { from, to }, Some(note));
        at.turn.forget();
        let done = self.gate.ports.ledger.commit(vec![command], Durability::Awaited).await;
        let done = done.map_err(|error| Stop::Refuse(Self::not_entered(&seen.locator, &error)))?.pop();
        Ok(done.unwrap_or(record))
    }

    // === the three verdicts ===

    async fn reject(&self, at: &Entered<'_>, record: &ItemRecord, fresh: Fresh, rejection: Rejection) -> Reply {
        let code = rejection.code;
        let mut note = self.note(at, Decision::Reject, Some(code));
        note.expected.clone_from(&rejection.expected);
        note.observed.clone_from(&rejection.observed);
        let command = self.command(at.key, &fresh.seen.locator, Step::Reject(at.attempt.clone()), Some(note));
        if let Err(error) = self.gate.ports.ledger.commit(vec![command.clone()], Durability::NextGroup).await {
            // The refusal stands, but an attempt that stays OPEN would keep everybody out.
            self.settle_later(command, &error);
        }
        Self::publish(at, fresh.began, fresh.seen, record.clone());
        let state = rejection.observed.as_ref().map(StateTag::of);
        let answer = Answered::Refused(Box::new(rejection));
        Reply { state, ..self.reply(at, Decision::Reject, Some(code), answer) }
    }

    async fn grant(&self, at: &Entered<'_>, fresh: Fresh, noop: Noop) -> Ended {
        // What its route shows, before anything is granted.
        let response = match self.success(&fresh.address, &fresh.response).await {
            Ok(response) => response,
            Err(stop) => return self.give_up(at, stop, Durability::NextGroup).await,
        };
        let shown = self.rules.workflow.shown(&fresh.seen);
        let (kind, ownership) = (noop.kind, noop.ownership.clone());
        let step = Step::Grant { attempt: at.attempt.clone(), kind, ownership, shown: shown.clone() };
        let mut note = self.note(at, Decision::Noop, None);
        note.observed = Some(shown.clone());
        let command = self.command(at.key, &fresh.seen.locator, step, Some(note));
        let locator = fresh.seen.locator.clone();
        match self.commit_on_terms(at, command, noop.kind, &noop.ownership).await {
            Ok((record, observed, lease)) => {
                // Nothing was sent, so that nobody knows whether the caller may write: it is not at work by this.
                self.gate.give_back(lease).await;
                if noop.kind == Kind::Claim {
                    self.gate.notice_claim(at.caller, &self.ask.about, at.key, true).await;
                }
                let after = After { begun: false, ..at.after(record.as_ref()) };
                if let Some(record) = record {
                    Self::publish(at, fresh.began, fresh.seen, record);
                }
                let decision = if observed.is_some() { Decision::Observe } else { Decision::Noop };
                let state = Some(StateTag::of(&shown));
                Ok(Reply { state, after, ..self.reply(at, decision, observed, Answered::Tracker(response)) })
            }
            Err(LedgerError::Refused(Refused::Barred(barred))) => Ok(self.barred(at, fresh, &barred).await),
            // Nothing was sent, but whether the grant was recorded is not known.
            Err(LedgerError::Refused(_)) => Err(Stop::Refuse(refusal::unknown(&locator, self.doubt_period()))),
            Err(LedgerError::Unavailable(why)) => {
                let refusal = Stop::Refuse(refusal::no_ledger(&locator, &why));
                self.give_up(at, refusal, Durability::NextGroup).await
            }
        }
    }

    async fn send(
        &self,
        at: &Entered<'_>,
        mut fresh: Fresh,
        asked: Asked<'_>,
        permit: Permit,
        observed: Option<Code>,
    ) -> Ended {
        let locator = fresh.seen.locator.clone();
        failpoint::reach("t2.before");
        // T2: SENDING is durable before the first byte leaves, and the first byte must leave soon.
        let emit_by = self.gate.ports.clock.boot() + self.gate.settings.emit_window;
        let step = Step::Send { attempt: at.attempt.clone(), plan: permit.plan().clone() };
        let command = self.command(at.key, &locator, step, None);
        let plan = permit.plan();
        let (record, observed, lease) = match self.commit_on_terms(at, command, plan.kind, &plan.ownership).await {
            Ok((record, also, lease)) => (record, observed.or(also), lease),
            Err(LedgerError::Refused(Refused::Barred(barred))) => return Ok(self.barred(at, fresh, &barred).await),
            Err(error) => return self.not_sending(at, &locator, error).await,
        };
        failpoint::reach("t2.after");
        if let (Some(_), Some(entry)) = (observed, self.entered.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
        {
            entry.decision = Decision::Observe;
        }
        // What the gate itself puts back moves nothing.
        let held = record.and_then(|record| record.holding);
        let by_holder = !self.ask.operator && permit.plan().is_by_holder(&at.caller.actor, held.as_ref());
        // Sent at most once, on the connection that carried the read or on a new one.
        let answer = self.emit(&mut fresh, asked, emit_by).await;
        let (status, response) = match answer {
            Ok(response) => (Answer::Complete(response.status.as_u16()), Some(response)),
            Err(CallError::Unknown(why) | CallError::TooLong(why)) => {
                tracing::warn!(upstream.error = why, resource = %locator, "no certain answer");
                (Answer::Uncertain, None)
            }
            Err(error) => {
                let ended = self.not_sent(at, &locator, &error).await;
                self.gate.give_back(lease).await;
                return ended;
            }
        };
        failpoint::reach("answered");
        let back = self.read_back(&fresh.address, &fresh.seen.key, status, response.as_ref()).await;
        failpoint::reach("read-back");
        let outcome = admission::judge(
            permit.plan(),
            status,
            &fresh.seen,
            back.as_ref().map(|back| &back.seen),
            by_holder,
            &self.rules.workflow,
        );
        let status = response.as_ref().map(|response| response.status.as_u16());
        let refused = matches!(outcome, Outcome::Refused { .. });
        let claimed = permit.plan().kind == Kind::Claim && matches!(outcome, Outcome::Committed { .. });
        let instead = match half_done(at.caller, &fresh.seen, permit.plan(), &outcome, status) {
            None => self.misread(&fresh.address, &fresh.seen, &outcome, response.as_ref()).await,
            told => told,
        };
        let shown = back.as_ref().map(|back| (&back.address, &back.response));
        let response = self.passed_or_built(&outcome, response, shown).await;
        let sent = Sent { plan: permit.plan().clone(), outcome, status, response, back, observed, instead };
        let reply = self.settle(at, &locator, sent).await;
        if refused {
            self.gate.give_back(lease).await;
        }
        if claimed {
            self.gate.notice_claim(at.caller, &self.ask.about, at.key, false).await;
        }
        Ok(reply)
    }

    async fn not_sending(&self, at: &Entered<'_>, locator: &Locator, error: LedgerError) -> Ended {
        match error {
            LedgerError::Refused(_) => {
                let message = format!("{locator}: this gate was replaced while it worked; nothing was sent; try again");
                Err(Stop::Refuse(refusal::retry(Code::Fenced, locator, message, Duration::from_secs(1))))
            }
            LedgerError::Unavailable(why) => {
                let stop = Stop::Refuse(refusal::no_ledger(locator, &why));
                self.give_up(at, stop, Durability::NextGroup).await
            }
        }
    }

    async fn emit(&self, fresh: &mut Fresh, asked: Asked<'_>, emit_by: Boot) -> Result<WireResponse, CallError> {
        let intent = self.intent_at(&fresh.address).asking_for(asked.change.clone());
        let intent = intent.spelled_out(&fresh.seen, asked.labels);
        let request = self.gate.ports.dialect.emit(&intent, &self.ask.headers, &self.ask.credential);
        let clock = Arc::clone(&self.gate.ports.clock);
        let in_time = move || clock.boot() <= emit_by;
        let started = tokio::time::Instant::now();
        let answer = self.gate.ports.upstream.send(request, fresh.carrier.take(), &in_time).await;
        self.gate.measure_send(started.elapsed());
        answer
    }

    /// No byte was handed over: the attempt is aborted, the item is as it was.
    async fn not_sent(&self, at: &Entered<'_>, locator: &Locator, error: &CallError) -> Ended {
        let rejection = if matches!(error, CallError::Expired) {
            let message =
                format!("{locator}: the gate was suspended before it could send; nothing was sent; try again");
            refusal::retry(Code::Fenced, locator, message, Duration::from_secs(1))
        } else {
            refusal::unreadable(locator, &error.to_string())
        };
        self.give_up(at, Stop::Refuse(rejection), Durability::Awaited).await
    }

    // === T3 ===

    async fn settle(&self, at: &Entered<'_>, locator: &Locator, sent: Sent) -> Reply {
        let mut note = self.note(at, sent.decision(), sent.code());
        note.observed = sent.outcome.shown().cloned();
        note.upstream_status = sent.status;
        let doubt_until = self.gate.ports.clock.now() + self.doubt_period();
        let step = Step::Settle { attempt: at.attempt.clone(), outcome: sent.outcome.clone(), doubt_until };
        let command = self.command(at.key, locator, step, Some(note));
        let now = command.now;
        failpoint::reach("t3.before");
        at.turn.forget();
        let record = match self.gate.ports.ledger.commit(vec![command.clone()], Durability::Awaited).await {
            Ok(mut records) => records.pop(),
            Err(error) => {
                self.settle_later(command, &error);
                let rejection = refusal::unknown(locator, self.doubt_period());
                let answer = Answered::Refused(rejection);
                return self.reply(at, sent.decision(), Some(Code::OutcomeUnknown), answer);
            }
        };
        failpoint::reach("t3.after");
        let after = at.after(record.as_ref());
        if let Some(record) = record.as_ref().filter(|_| sent.plan.kind == Kind::TakeOver) {
            self.gate.tell_taken_over(record, now, at.attempt.as_str());
        }
        if let (Some(record), Some(back)) = (record, &sent.back) {
            if self.rules.workflow.put_back && !self.ask.operator && matches!(sent.outcome, Outcome::Committed { .. }) {
                let stray = record.stray.clone().map(|found| (back.address.clone(), found));
                *self.stray.lock().unwrap_or_else(PoisonError::into_inner) = stray;
            }
            Self::publish(at, back.began, back.seen.clone(), record);
        }
        Reply { after, ..self.tell(at, locator, sent) }
    }

    /// Fence lost, or T3 not written: 504 for the client; the settlement goes on being tried.
    fn settle_later(&self, command: Command, error: &LedgerError) {
        tracing::error!(ledger.error = %error, "settlement not written");
        if matches!(error, LedgerError::Refused(_)) {
            return;
        }
        let ledger = Arc::clone(&self.gate.ports.ledger);
        tokio::spawn(async move {
            tokio::time::sleep(SETTLE_AGAIN).await;
            first_allowed(ledger, vec![command]).await;
        });
    }

    fn tell(&self, at: &Entered<'_>, locator: &Locator, sent: Sent) -> Reply {
        let (decision, code, state) = (sent.decision(), sent.code(), sent.outcome.shown().map(StateTag::of));
        let answer = match (&sent.outcome, sent.response) {
            (Outcome::Doubt, _) | (_, None) => Answered::Refused(refusal::unknown(locator, self.doubt_period())),
            (Outcome::Refused { .. }, Some(response)) if response.status.is_success() => {
                let status = response.status.as_u16();
                let told = sent.instead.unwrap_or_else(|| not_applied(locator, status, &sent.plan.goal, &sent.outcome));
                Answered::Refused(told)
            }
            (Outcome::Partial { holds: false, shown }, Some(_)) => {
                let message = format!("{locator} shows {shown} after the write: a writer that did not pass the gate");
                let mut rejection = refusal::plain(Code::Contested, locator, message);
                rejection.observed = Some(shown.clone());
                Answered::Refused(rejection)
            }
            (Outcome::Halfway { .. }, Some(response)) => match sent.instead {
                Some(rejection) if rejection.code == Code::Partial => {
                    // The tracker's own status, with a body that says what has become of the item.
                    let told = self.gate.ports.dialect.reject(&rejection, at.attempt.as_str());
                    Answered::Tracker(WireResponse { status: response.status, ..told })
                }
                Some(rejection) => Answered::Refused(rejection),
                None => Answered::Tracker(response),
            },
            (_, Some(response)) => Answered::Tracker(response),
        };
        Reply { state, ..self.reply(at, decision, code, answer) }
    }
}

// === impl Entered ===

impl Entered<'_> {
    /// What this write has made of the item, by the record that it left.
    fn after(&self, record: Option<&ItemRecord>) -> After {
        let held = record.and_then(|record| record.holding.as_ref());
        let held = held.filter(|held| held.actor.goes_on_as(&self.caller.actor));
        After {
            holds: held.is_some(),
            begun: held.is_some_and(|held| held.attempt == self.attempt),
            ..After::default()
        }
    }
}

/// Whose requests count together where nobody may have all turns: an account's, or, of one that is declared shared, an agent's.
pub(super) fn sharer(caller: &Caller) -> Actor {
    let instance = caller.actor.instance.clone().filter(|_| caller.shared);
    Actor { account: caller.actor.account.clone(), instance }
}

/// Whether another token of the caller's own account holds it, which may not say whose it is and may be revoked by now: the
/// account that the tracker shows as the only assignee, then as now, is the caller's. The two are one agent, as two tokens
/// are that may both say so.
fn is_left_by_token(held: &Holding, caller: &Caller, seen: &Snapshot) -> bool {
    let Some(login) = caller.actor.account.login() else { return false };
    let is_own = |assignees: &BTreeSet<Login>| assignees.len() == 1 && assignees.contains(login);
    let same_name = held.actor.instance == caller.actor.instance && (!caller.shared || caller.actor.instance.is_some());
    matches!(held.actor.account, Account::Opaque(_))
        && same_name
        && is_own(&held.shown.assignees)
        && is_own(&seen.assignees)
}

/// Whether the holder is recorded by the caller's credential alone, while the caller now has a name.
fn is_nameless_self(holder: &Actor, caller: &Caller) -> bool {
    caller.actor.account.login().is_some() && holder.account == Account::Opaque(caller.credential.clone())
}
