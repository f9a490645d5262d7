//! The walk of a guarded request, step by step (manual: walk, protocol).
//!
//! A write of one item, a form that names thirty, a creation and what the gate writes itself take the same steps in the
//! same code: who asks, which items, their turns, T1, a fresh read of each, one decision each, T2, one send, T3. A refusal
//! of one item refuses all. Each step takes the value that the step before it made: no item is decided unread, and nothing
//! is sent that was not admitted and recorded. From T1 on every way out settles every attempt.
//!
//! `Walk::run` is the outline. Requests that change what they do not name take its first steps and go on as they came
//! (`side_effects`).

use super::cancellation::Cancellation;
use super::concurrency::Slot;
use super::conversation::{ItemRead, Unread};
use super::writer::Writer;
use super::{Ask, EntryCondition, Gate, Reply, Turn};
use crate::admission::{Plan, Rules, Verdict};
use crate::dialect::{Address, Credential, Guarded, Request, Subject};
use crate::effect::{Authority, Decision, Durability, failpoint};
use crate::model::{
    AttemptId, Caller, Change, Code, Fingerprint, ItemRecord, Place, Rejection, ResourceKey, Snapshot, Status, Tag,
    What,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

mod constraints;
mod creation;
mod decide;
mod echo;
mod exits;
mod gone;
mod meaning;
mod notes;
mod observe;
mod once;
mod open;
mod outcome;
mod party;
mod reading;
mod reopening;
mod second_pull;
mod send;
mod settle;
mod side_effects;
mod subjects;
mod turns;
mod unread;

pub(super) use exits::{EarlyExit, first_allowed};
pub use side_effects::{Filing, Judged};

/// One request under way: of guarded fields, or (with [`SideWrite`]) of what changes them without naming them.
pub(super) struct Walk<R = Guarded> {
    gate: Arc<Gate>,
    /// Those in force when it began: one request is judged by one set of rules.
    rules: Arc<Rules>,
    /// As it was understood.
    asked: R,
    /// With its sender spelled out, where it names that by a word.
    spelled: OnceLock<R>,
    ask: Ask,
    /// Of the credential.
    print: OnceLock<Fingerprint>,
    /// Who it was found to be from.
    caller: OnceLock<Caller>,
    /// Its own, or that of its call of the claims API; none is needed for what the gate writes itself.
    slot: Option<Arc<Slot>>,
    /// The guarded fields that were left out, since the item shows them as they were asked for.
    echoed: OnceLock<String>,
    /// Attempts that are not settled yet.
    entered: Mutex<Vec<OpenAttempt>>,
    /// Where the item is, and where it stood before a holding that ended half-way: to be put right before the answer.
    pending_restore: Mutex<Option<(Address, BTreeSet<Status>)>>,
}

/// An attempt that is not settled yet, with what the log must say of it whatever happens.
#[derive(Clone)]
struct OpenAttempt {
    key: ResourceKey,
    locator: Place,
    attempt: AttemptId,
    decision: Decision,
    authority: Option<Authority>,
}

/// Who asks, and how the gate looks at what it is about.
struct Party {
    caller: Caller,
    /// With what the items can be read; a session cannot where newer trackers are.
    reader: Option<Credential>,
    /// As they are for this caller.
    rules: Arc<Rules>,
}

/// The caller, once its turn has come.
struct TurnContext<'a> {
    party: &'a Party,
    waited: Duration,
    /// How long it may wait for other gates.
    until: tokio::time::Instant,
}

/// An item that a request is about.
struct Found {
    key: ResourceKey,
    /// Where it is, if that can be known.
    address: Option<Address>,
    /// The read that told it, or that proved the caller to be a reader, if one was made.
    read: Option<ItemRead>,
}

/// An item under its turn.
struct Item<'t> {
    key: ResourceKey,
    address: Address,
    turn: &'t Turn,
    /// A read that was made before T1.
    read: Option<ItemRead>,
    /// What becomes of it, spelled out.
    change: Change,
    /// The read by which that was spelled out.
    spelled_by: Option<Snapshot>,
}

/// An item with an attempt OPEN.
struct Opened<'t> {
    item: Item<'t>,
    attempt: AttemptId,
    record: ItemRecord,
}

/// An item as it stands, read while its attempt is OPEN.
struct Observed<'t> {
    key: ResourceKey,
    turn: &'t Turn,
    attempt: AttemptId,
    change: Change,
    record: ItemRecord,
    read: ItemRead,
}

/// An item of which it is decided what becomes of it.
struct Decided<'t> {
    at: Observed<'t>,
    /// What is left to ask for, and what the labels that it names are called.
    change: Change,
    labels: Vec<Tag>,
    verdict: Verdict,
    /// What a rule that only observes would have said.
    observed: Option<Code>,
}

/// An item whose write is SENDING.
struct Sent<'t> {
    at: Observed<'t>,
    change: Change,
    labels: Vec<Tag>,
    plan: Plan,
    observed: Option<Code>,
    /// Whoever moves the item by it is its holder.
    by_holder: bool,
}

type SectionResult = Result<Reply, EarlyExit>;

/// Reads under way at once.
const READS_AT_ONCE: usize = 8;

impl<R: Request> Walk<R> {
    pub(super) fn new(gate: Arc<Gate>, request: R, ask: Ask, slot: Option<Arc<Slot>>) -> Self {
        let (print, caller, echoed) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (entered, pending_restore, spelled) = (Mutex::default(), Mutex::default(), OnceLock::new());
        let (rules, asked) = (gate.rules(), request);
        Self { gate, rules, asked, spelled, ask, print, caller, slot, echoed, entered, pending_restore }
    }

    fn request(&self) -> &R {
        self.spelled.get().unwrap_or(&self.asked)
    }

    fn print(&self) -> &Fingerprint {
        self.print.get_or_init(|| self.gate.ports.identify.fingerprint(&self.ask.credential))
    }

    /// Whether it is sent by a session of a web interface.
    fn is_form(&self) -> bool {
        self.request().sender().is_some()
    }

    fn entered(&self) -> MutexGuard<'_, Vec<OpenAttempt>> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Walk {
    /// The walk. `None`: the client had gone before anything was durable, and nothing was done.
    pub(super) async fn run(&self, cancellation: &Cancellation) -> Option<Reply> {
        let ended = self.walk(cancellation).await;
        let put_back = self.put_back().await;
        match ended {
            Ok(mut reply) => {
                reply.state = put_back.last().and_then(|last| last.state.clone()).or(reply.state);
                reply.after.put_back = put_back.into_iter().map(|write| AttemptId::new(&write.id)).collect();
                Some(reply)
            }
            Err(stop) => self.stopped(stop),
        }
    }

    /// Labels of a claim that is over go before the next holder begins: its turn has ended, and its answer waits.
    async fn put_back(&self) -> Vec<Reply> {
        let pending = self.pending_restore.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((address, found)) = pending else { return Vec::new() };
        let by = Writer { credential: self.ask.credential.clone(), instance: self.ask.instance.clone() };
        Box::pin(self.gate.put_back(&address, &found, &by)).await
    }

    async fn walk(&self, cancellation: &Cancellation) -> SectionResult {
        // Who asks, as the tracker sees it. A stranger takes no turns, and is not told who works on what.
        let party = self.party().await?;
        // Nobody has more than its share of what all wait for.
        self.take_slot(&party.caller)?;
        // What some rule may allow only once.
        if let Some(creation) = self.request().creation(&self.gate.settings.closing) {
            // Rare, and large: what most walks need not carry.
            return Box::pin(self.once(&creation, &party.caller, cancellation)).await;
        }
        match self.request().subject() {
            Subject::New(_) if !self.is_form() => Box::pin(self.create(&party.caller, cancellation)).await,
            Subject::At(address) if self.reopens() && self.rules.is_ruled(What::Pull) => {
                Box::pin(self.reopen(&address, &party, cancellation)).await
            }
            Subject::At(_) | Subject::Places(_) | Subject::Keys(_) | Subject::New(_) => {
                self.items_wherever(&party, cancellation).await
            }
        }
    }

    async fn items_wherever(&self, party: &Party, cancellation: &Cancellation) -> SectionResult {
        // A path can come to name another item between two looks; twice is enough.
        for _ in 0..3 {
            match self.items(party, cancellation).await {
                Err(EarlyExit::Moved) => Box::pin(self.forget_place()).await,
                ended => return self.or_let_go(ended, party).await,
            }
        }
        Err(EarlyExit::Moved)
    }

    async fn items(&self, party: &Party, cancellation: &Cancellation) -> SectionResult {
        // Which items: by their immutable ids, never by their paths.
        let found = self.find(party).await?;
        // Their turns, first come, first served.
        let queued = tokio::time::Instant::now();
        let turns = self.enter(&found, &party.caller).await?;
        // A refusal may rest on what somebody else has just seen.
        self.gather(&turns, &party.caller).await;
        let until = queued + self.gate.lanes.timeout();
        let at = TurnContext { party, waited: queued.elapsed(), until };
        self.gate.ports.metrics.waited(at.waited);
        if let Some(reply) = self.shared_refusal(&turns, &at) {
            return Ok(reply);
        }
        if party.reader.is_none() || !self.request().wants().is_judged() {
            return Box::pin(self.unread(&at, &found, &turns, cancellation)).await;
        }
        let mut items = self.under_turns(found, &turns);
        // What is echoed is no write.
        if let Some(reply) = self.echo(&at, &mut items).await? {
            return Ok(reply);
        }
        self.is_named(&party.caller)?;
        // What a toggle means is told by how the items stand.
        self.spell_out(party, &mut items).await?;
        // T1: from here on nothing cancels it.
        let opened = self.open(&at, items, cancellation).await?;
        failpoint::reach("t1.after");
        let ended = match self.carry_out(&at, opened).await {
            Err(stop) => Box::pin(self.give_up(&at, stop, Durability::NextGroup)).await,
            ended => ended,
        };
        self.entered().clear();
        ended
    }

    /// Under the turns, with an attempt OPEN for each item. An error ends the attempts, of which nothing was sent.
    async fn carry_out(&self, at: &TurnContext<'_>, opened: Vec<Opened<'_>>) -> SectionResult {
        // Whatever comes of it: its holder is alive.
        self.hear_holder(at, &opened);
        let observed = match self.observe(at, opened).await? {
            observe::Sight::Shown(observed) => observed,
            observe::Sight::LetGo(reply) => return Ok(*reply),
        };
        let decided = self.decide(at, observed).await?;
        if decided.iter().any(|item| matches!(item.verdict, Verdict::Reject(_))) {
            return Ok(self.reject(at, decided.into_iter().map(Decided::judged).collect()).await);
        }
        if decided.iter().all(|item| matches!(item.verdict, Verdict::Noop(_)))
            && let Some(answer) = self.own_success(&decided).await?
        {
            return self.grant(at, decided, answer).await;
        }
        self.send(at, decided).await
    }

    /// From here on nothing cancels it; unless there is nobody any more who would be told.
    fn commit(&self, cancellation: &Cancellation) -> Result<(), EarlyExit> {
        let committed = match self.ask.condition {
            EntryCondition::Awaited => cancellation.commit_awaited(),
            EntryCondition::Always | EntryCondition::Held | EntryCondition::UnconfirmedSince { .. } => {
                cancellation.commit()
            }
        };
        committed.then_some(()).ok_or(EarlyExit::Gone)
    }
}

impl Item<'_> {
    /// What it is called, as far as that is known.
    fn locator(&self) -> Place {
        self.read.as_ref().map_or_else(|| self.address.locator(), |read| place_of(&self.address, &read.seen).clone())
    }
}

/// Where an item is: as it was named, or, where that does not say the project, as it was read.
fn place_of<'a>(address: &'a Address, seen: &'a Snapshot) -> &'a Place {
    if address.place.project().is_some() { &address.place } else { &seen.locator }
}

impl<'t> Decided<'t> {
    fn judged(self) -> (Observed<'t>, Option<Rejection>) {
        match self.verdict {
            Verdict::Reject(rejection) => (self.at, Some(rejection)),
            Verdict::Admit(_) | Verdict::Noop(_) => (self.at, None),
        }
    }
}
