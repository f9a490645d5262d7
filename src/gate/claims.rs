//! The claims API: what an agent would do in several requests, done as one.
//!
//! [`Gate::claim`] detaches a call as [`Gate::submit`] does a write. Each of its writes is a guarded write of the caller's
//! own, made by the dialect and given to [`Gate::submit`]: judged, recorded and read back like any other. What is left for
//! this module is to put them in a row, to undo what was done when a later one fails (`steps`), and to find an item that
//! the caller may have (`next`, over the lists of `offers`).

mod next;
mod offers;
mod steps;

pub(super) use offers::Offers;

use super::cancellation::{Cancellation, ClientGuard};
use super::concurrency::{Overloaded, Slot};
use super::refusal;
use super::walk::Walk;
use super::{About, After, Answered, Ask, EntryCondition, Gate, InFlight, Reply};
use crate::admission::{Expectation, StateTag};
use crate::dialect::{Address, AnswerClass, Credential, Filter, Guarded, WireResponse};
use crate::effect::{Decision, IdentifyError};
use crate::model::{
    Account, Actor, BootTime, Caller, Code, Fence, Instance, ItemRecord, Place, Principal, Rejection, Time,
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::HeaderMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What is asked.
#[derive(Clone, Debug)]
pub enum ClaimCall {
    /// Find a free item and claim it.
    Next(Search),
    /// Claim this one.
    Take(Address, Relabelling),
    /// Give this one up.
    Release(Address, Relabelling),
    /// Pass it on to another account.
    HandOver(Address, Account),
}

/// Which item is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// What the tracker is asked for.
    pub filter: Filter,
    /// Labels that it must not carry.
    pub exclude: BTreeSet<String>,
    /// How many items are looked at.
    pub limit: usize,
    /// What becomes of its labels.
    pub labels: Relabelling,
}

/// Labels that go with a claim or a release, by name. One that is there already is not set, one that is not is not
/// removed.
#[derive(Clone, Debug, Default)]
pub struct Relabelling {
    /// These are set.
    pub set: BTreeSet<String>,
    /// These are removed.
    pub remove: BTreeSet<String>,
}

/// Who asks, as the edge knows it.
#[derive(Clone, Debug)]
pub struct Sender {
    /// With which credential.
    pub credential: Credential,
    /// Which agent behind the account, where it said so.
    pub instance: Option<Instance>,
    /// The account's name, for a credential that may not ask for it.
    pub named: Option<Account>,
    /// The request's headers; the dialect keeps the allow-listed ones.
    pub headers: HeaderMap,
    /// When its head had been read.
    pub arrived: BootTime,
    /// For the audit.
    pub about: About,
    /// The source state that the client states for an item that it names, if it does.
    pub expectation: Expectation,
}

/// What the caller is to be told.
#[derive(Debug)]
pub enum Claimed {
    /// Somebody holds the item now.
    Granted(Box<Grant>),
    /// Nobody does.
    Released(Box<Reply>),
    /// Nothing is free.
    Nothing,
    /// It came to nothing: a refusal, or the tracker's own answer.
    Ended(Box<Reply>),
}

/// An item that somebody holds.
#[derive(Debug)]
pub struct Grant {
    /// As the tracker shows it; nothing where it could not be read once more.
    pub item: Option<Bytes>,
    /// Where it is.
    pub resource: Place,
    /// Who holds it.
    pub holder: Actor,
    /// Since when.
    pub since: Option<Time>,
    /// The version of its ownership.
    pub fence: Option<Fence>,
    /// Names the decision.
    pub id: String,
    /// The decision, for the header.
    pub decision: Decision,
    /// The code, for the header.
    pub code: Option<Code>,
    /// The guarded fields as they were last read.
    pub state: Option<StateTag>,
}

/// One call under way.
struct ClaimOperation {
    gate: Arc<Gate>,
    sender: Sender,
    /// One for the call and its writes, of which there is one at a time.
    slot: Arc<Slot>,
    cancellation: Arc<Cancellation>,
    runtime: Handle,
}

/// Why a call ends early.
enum OperationError {
    /// The caller is told this.
    Told(Box<Reply>),
    /// There is nobody to be told.
    Gone,
}

type OperationResult<T> = Result<T, OperationError>;

// === impl Gate ===

impl Gate {
    /// Carries the call out in a task of its own on `runtime`, and waits for what came of it.
    ///
    /// A caller that has hung up before its item was found gets none, and one found for it is given back: nobody would
    /// know that it holds it. `None` is for whoever has gone.
    pub async fn claim(self: &Arc<Self>, call: ClaimCall, sender: Sender, runtime: &Handle) -> Option<Claimed> {
        let slot = match self.slot(&sender.credential, sender.instance.as_ref()) {
            Ok(slot) => slot,
            Err(overloaded) => {
                let reply = self.refused_overloaded(&overloaded, &sender);
                self.recorded().await;
                return Some(Claimed::Ended(Box::new(reply)));
            }
        };
        let (tell, told) = oneshot::channel();
        let waiter = ClientGuard::default();
        let guard = InFlight::enter(Arc::clone(self));
        let (gate, runtime_of, cancellation) = (Arc::clone(self), runtime.clone(), Arc::clone(&waiter.0));
        let operation = ClaimOperation { gate, sender, slot: Arc::clone(&slot), cancellation, runtime: runtime_of };
        runtime.spawn(async move {
            let _guard = guard;
            operation.run(call, tell).await;
        });
        let claimed = told.await.ok();
        drop(waiter);
        slot.leave();
        if matches!(&claimed, Some(Claimed::Ended(reply)) if reply.may_be_unwritten()) {
            self.recorded().await;
        }
        claimed
    }

    /// A refusal without anything that it is about, recorded.
    fn refuse_sender(&self, rejection: Rejection, sender: &Sender) -> Reply {
        let took = Duration::from_micros(self.ports.clock.boot().0.saturating_sub(sender.arrived.0));
        let id = self.record_refusal(&rejection, &sender.about, took);
        let code = Some(rejection.code);
        Reply {
            id,
            decision: Decision::Reject,
            code,
            answer: Answered::Refused(Box::new(rejection)),
            state: None,
            after: After::default(),
        }
    }

    /// There is no slot for the call: nothing of it is begun.
    fn refused_overloaded(&self, overloaded: &Overloaded, sender: &Sender) -> Reply {
        self.refuse_sender(no_slot(overloaded), sender)
    }
}

// === impl ClaimOperation ===

impl ClaimOperation {
    async fn run(&self, call: ClaimCall, mut tell: oneshot::Sender<Claimed>) {
        let call = match &call {
            ClaimCall::Next(search) => return self.run_next(search, tell).await,
            ClaimCall::Take(address, labels) => self.take_named(address, labels).boxed(),
            ClaimCall::Release(address, labels) => self.give_up(address, labels).boxed(),
            ClaimCall::HandOver(address, to) => self.hand_over(address, to).boxed(),
        };
        let done = self.cancellation.unless_gone(call, tell.closed()).await.unwrap_or(Err(OperationError::Gone));
        // The caller may have gone: the same request again tells it where it stands.
        match done {
            Ok(claimed) => drop(tell.send(claimed)),
            Err(OperationError::Told(reply)) => drop(tell.send(Claimed::Ended(self.explained(reply)))),
            Err(OperationError::Gone) => {}
        }
    }

    async fn run_next(&self, search: &Search, mut tell: oneshot::Sender<Claimed>) {
        let found = self.cancellation.unless_gone(Box::pin(self.next(search)), tell.closed()).await;
        match found.unwrap_or(Err(OperationError::Gone)) {
            Ok(None) => drop(tell.send(Claimed::Nothing)),
            Ok(Some(taken)) => {
                let undo = taken.undo;
                if let Err(Claimed::Granted(grant)) = tell.send(Claimed::Granted(Box::new(taken.grant)))
                    && let Err(why) = self.undo(&taken.address, undo).await
                {
                    tracing::warn!(resource = %grant.resource, why, "claimed for a caller that has gone, and not given back");
                }
            }
            Err(OperationError::Told(reply)) => drop(tell.send(Claimed::Ended(self.explained(reply)))),
            Err(OperationError::Gone) => {}
        }
    }

    async fn take_named(&self, address: &Address, labels: &Relabelling) -> OperationResult<Claimed> {
        let caller = self.caller().await?;
        let login = self.login(&caller)?;
        let labels = self.resolve(&address.place, labels).await?;
        let taken = self.take(address, &login, &labels, self.sender.expectation.clone()).await;
        let taken = taken.map_err(|failed| failed.end)?;
        Ok(Claimed::Granted(Box::new(taken.grant)))
    }

    async fn hand_over(&self, address: &Address, to: &Account) -> OperationResult<Claimed> {
        let (intent, stated) = (self.gate.ports.dialect.assign(address, to), self.sender.expectation.clone());
        let reply = self.submit(intent, stated, EntryCondition::Awaited).await?;
        let (reply, response) =
            succeeded(reply).map_err(|reply| OperationError::Told(not_assigned(address, to, reply)))?;
        let item = match response.body {
            // Not every tracker shows the item in its answer.
            empty if empty.is_empty() => self.look(address).await.ok().map(|read| read.response.body),
            body => Some(body),
        };
        let grant = self.grant(address, reply, item).await;
        Ok(Claimed::Granted(Box::new(grant)))
    }

    // === who asks ===

    async fn caller(&self) -> OperationResult<Caller> {
        let credential = &self.sender.credential;
        let account = self.gate.ports.identify.account(credential).await.map_err(|error| match error {
            IdentifyError::Refused(response) => self.denied(*response),
            IdentifyError::Unreadable(why) => self.unreadable(&why),
        })?;
        let print = self.gate.ports.identify.fingerprint(credential);
        let caller = Gate::caller(&self.gate.rules(), account, self.sender.instance.clone(), print);
        self.slot.becomes(&caller).map_err(|overloaded| self.refuse(no_slot(&overloaded)))?;
        Ok(caller)
    }

    /// Whom the tracker is to show as the assignee.
    fn login(&self, caller: &Caller) -> OperationResult<Account> {
        match (caller.actor.account.login(), &self.sender.named) {
            (Some(login), None) => Ok(login.clone()),
            (Some(login), Some(named)) if login == named => Ok(login.clone()),
            (Some(login), Some(named)) => Err(self.refuse(Rejection::of_request(
                Code::AmbiguousRequest,
                format!("`assignee` is {named}, but the credential is {login}'s: leave it out, or hand the item over"),
            ))),
            (None, Some(named)) => Ok(named.clone()),
            (None, None) => Err(self.refuse(Rejection::of_request(
                Code::IdentityRequired,
                "this credential may not ask the tracker whose it is: name its account in `assignee`",
            ))),
        }
    }

    // === one write ===

    /// A guarded write of the caller's own.
    async fn submit(
        &self,
        request: Guarded,
        expectation: Expectation,
        condition: EntryCondition,
    ) -> OperationResult<Reply> {
        let ask = Ask {
            credential: self.sender.credential.clone(),
            instance: self.sender.instance.clone(),
            headers: self.sender.headers.clone(),
            arrived: self.gate.ports.clock.boot(),
            about: self.sender.about.clone(),
            body: Bytes::new(),
            operator: false,
            expectation,
            condition,
        };
        let walk = Walk::new(Arc::clone(&self.gate), request, ask, Some(Arc::clone(&self.slot)));
        // Only a walk whose client has gone answers nothing.
        self.gate.detach(walk, Arc::clone(&self.cancellation), &self.runtime).await.ok_or(OperationError::Gone)
    }

    /// What the caller is told of an item that somebody holds now.
    async fn grant(&self, address: &Address, reply: Reply, item: Option<Bytes>) -> Grant {
        let held = self.record(address).await.and_then(|record| record.holding);
        Grant {
            item,
            resource: address.locator(),
            since: held.as_ref().map(|held| held.since),
            fence: held.as_ref().map(|held| held.fence),
            holder: held.map_or_else(|| self.actor(), |held| held.actor),
            id: reply.id,
            decision: reply.decision,
            code: reply.code,
            state: reply.state,
        }
    }

    /// What the ledger knows of the item, if it can be asked.
    async fn record(&self, address: &Address) -> Option<ItemRecord> {
        let key = self.gate.reads.key(&address.locator()).await?;
        self.gate.ports.ledger.item(&key).await.ok().flatten()
    }

    /// The caller, as it is recorded.
    fn actor(&self) -> Actor {
        let identify = &self.gate.ports.identify;
        let print = identify.fingerprint(&self.sender.credential);
        let account = identify.known(&print).unwrap_or(Principal::Opaque(print));
        Actor { account, instance: self.sender.instance.clone() }
    }

    // === ways out ===

    fn refuse(&self, rejection: Rejection) -> OperationError {
        OperationError::Told(Box::new(self.refusal(rejection)))
    }

    fn refusal(&self, rejection: Rejection) -> Reply {
        self.gate.refuse_sender(rejection, &self.sender)
    }

    fn unreadable(&self, why: &str) -> OperationError {
        tracing::warn!(upstream.error = why, "claim refused: the tracker could not be read");
        let message = "the tracker could not be read, so nothing was sent; try again";
        self.refuse(Rejection::of_request(Code::UpstreamUnreadable, message))
    }

    /// What the tracker refused has a code, so that nobody takes it for done: the gate admitted the write, and the tracker
    /// did not. The tracker's own words go back; where it has none (Forgejo's 403), the gate says what is known.
    fn explained(&self, mut reply: Box<Reply>) -> Box<Reply> {
        let Answered::Tracker(response) = &mut reply.answer else { return reply };
        if !response.status.is_client_error() && !response.status.is_server_error() {
            return reply;
        }
        let code = *reply.code.get_or_insert(Code::NotApplied);
        if response.body.trim_ascii().is_empty() {
            let unchanged = if code == Code::NotApplied { "; nothing was changed" } else { "" };
            let message = format!(
                "the tracker answered {} and gave no reason: the account may lack access{unchanged}",
                response.status
            );
            let told = self.gate.ports.dialect.reject(&Rejection::of_request(code, message), &reply.id);
            *response = WireResponse { status: response.status, ..told };
        }
        reply
    }

    /// The tracker's own refusal of a read goes back unchanged.
    fn denied(&self, response: WireResponse) -> OperationError {
        let identify = &self.gate.ports.identify;
        if response.class() == AnswerClass::Unauthorized {
            identify.forget(&identify.fingerprint(&self.sender.credential));
        }
        let why = format!("the tracker answered {}", response.status);
        let reply = self.refusal(Rejection::of_request(Code::UpstreamUnreadable, why));
        OperationError::Told(Box::new(Reply { answer: Answered::Tracker(response), ..reply }))
    }
}

fn no_slot(overloaded: &Overloaded) -> Rejection {
    let rejection = Rejection::of_request(Code::LaneTimeout, format!("{overloaded}; try again"));
    Rejection { retry_after: Some(Duration::from_secs(1)), ..rejection }
}

/// The tracker's answer of a write that went through; else the reply as it is.
fn succeeded(reply: Reply) -> Result<(Reply, WireResponse), Box<Reply>> {
    match &reply.answer {
        Answered::Tracker(response) if response.is_success() => {
            let response = response.clone();
            Ok((reply, response))
        }
        _ => Err(Box::new(reply)),
    }
}

/// Why a write did not go through, in a sentence.
fn why(reply: &Reply) -> String {
    match &reply.answer {
        Answered::Refused(rejection) => rejection.message.clone(),
        Answered::Tracker(response) => format!("the tracker answered {}", response.status),
    }
}

/// A tracker that does not know the name may say that it failed, though it changed nothing and never will.
fn not_assigned(address: &Address, to: &Account, mut reply: Box<Reply>) -> Box<Reply> {
    if let Answered::Tracker(response) = &reply.answer
        && response.status.is_server_error()
    {
        let locator = address.locator();
        let message = format!(
            "{locator}: the tracker answered {} and left the assignee as it was: {to} may be unknown there, or not \
             assignable",
            response.status
        );
        reply.code = Some(Code::NotApplied);
        reply.answer = Answered::Refused(refusal::plain(Code::NotApplied, &locator, message));
    }
    reply
}
