//! The turns of a request's items, and the refusals that need no read of one's own (manual: walk, the herd).

use super::super::{LaneError, Observation, Reply, Turn, refusal};
use super::party::is_session;
use super::{EarlyExit, Found, TurnContext, Walk};
use crate::admission::{self, DecisionInput, Verdict};
use crate::model::{Account, Actor, Caller, Code, Holding, Place, Principal, Rejection, ResourceKey, Snapshot};
use std::collections::BTreeSet;
use std::time::Duration;

/// Who comes while this runs shares the read after it.
const GATHER: Duration = Duration::from_millis(15);
/// Longest gathering.
const GATHER_MOST: Duration = Duration::from_millis(250);
/// An observation older than this says nothing about a herd.
const HERD: Duration = Duration::from_secs(2);

impl Walk {
    /// The turns of all items, in the order of their keys.
    pub(super) async fn enter(&self, found: &[Found], caller: &Caller) -> Result<Vec<Turn>, EarlyExit> {
        let lanes = &self.gate.lanes;
        if let ([one], false) = (found, self.is_form()) {
            return Ok(vec![self.enter_one(&one.key, &self.request().locator(), caller).await?]);
        }
        let keys: BTreeSet<ResourceKey> = found.iter().map(|item| item.key.clone()).collect();
        lanes.enter_all(&keys, &sharer(caller), self.gate.boot_clock()).await.map_err(|error| {
            let message = match error {
                LaneError::Full => "too many writes of one of the items are waiting; nothing was sent; try again",
                LaneError::Late => "the turns of all items did not come in time; nothing was sent; try again",
            };
            let rejection = Rejection::of_request(Code::LaneTimeout, message);
            EarlyExit::Refuse(Box::new(Rejection { retry_after: Some(Duration::from_secs(1)), ..rejection }))
        })
    }

    /// One item's turn.
    pub(super) async fn enter_one(
        &self,
        key: &ResourceKey,
        locator: &Place,
        caller: &Caller,
    ) -> Result<Turn, EarlyExit> {
        let sharer = sharer(caller);
        self.gate.board.name(key, locator);
        self.gate.lanes.enter_as(key, Some(&sharer), self.gate.boot_clock()).await.map_err(|error| {
            let message = match error {
                LaneError::Full => format!("{locator}: too many writes of this item are waiting; try again"),
                LaneError::Late => format!("{locator}: the item's turn did not come in time; try again"),
            };
            let rejection = refusal::retry(Code::LaneTimeout, locator, message, Duration::from_secs(1));
            EarlyExit::Refuse(Box::new(Rejection { of_item: true, ..*rejection }))
        })
    }

    /// While a herd comes at a held item, waits for it to gather, so that one read answers it.
    pub(super) async fn gather(&self, turns: &[Turn], caller: &Caller) {
        let Some(turn) = self.herded(turns) else { return };
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

    /// The turn of which others may have seen what answers this request: only of one item, and for its caller's own eyes.
    fn herded<'t>(&self, turns: &'t [Turn]) -> Option<&'t Turn> {
        let [turn] = turns else { return None };
        (!self.is_form()).then_some(turn)
    }

    pub(super) fn shared_refusal(&self, turns: &[Turn], at: &TurnContext<'_>) -> Option<Reply> {
        let turn = self.herded(turns)?;
        let seen = turn.observation().filter(|seen| seen.began >= self.ask.arrived)?;
        let rejection = *self.refusal_by(&seen, &at.party.caller)?;
        let mut note = self.refusal_note(&rejection);
        note.resource_id = Some(seen.seen.key.clone());
        note.waited = at.waited;
        note.stood = Some(Box::new((seen.record.fence, seen.record.holding.clone())));
        Some(self.record_refusal(note, rejection))
    }

    /// Who comes too late is told who was first, where that is known.
    pub(super) fn naming_mover(&self, rejection: Rejection, seen: &Snapshot) -> Rejection {
        let stands = self.rules.workflow.shown(seen).statuses;
        match self.gate.movers.to(&seen.key, &stands).filter(|_| rejection.code == Code::WrongSourceState) {
            Some(last) => Rejection { message: format!("{}; {last}", rejection.message), ..rejection },
            None => rejection,
        }
    }

    /// What would be refused by an observation alone; never anything that contradicts the holding.
    fn refusal_by(&self, seen: &Observation, caller: &Caller) -> Option<Box<Rejection>> {
        let now = self.gate.ports.clock.now();
        let held = seen.record.holding.as_ref();
        let settled = seen.record.doubts.is_empty()
            && !held.is_some_and(|held| is_own_under_another_name(held, caller, &seen.seen))
            && self.gate.reads.may_share(&caller.credential, &seen.seen, self.ask.arrived)
            && admission::outside_edit(&seen.record, &seen.seen, &self.rules, now).is_none();
        let asked = self.request().change()?;
        let change = &self.beyond_echo(asked, caller, &seen.record, &seen.seen);
        let labels = match &change.labels {
            Some(change) => self.gate.known_labels(change.members(), &seen.seen)?,
            None => Vec::new(),
        };
        let input = DecisionInput {
            rules: &self.rules,
            caller,
            change,
            asks_more: self.request().asks_more(&self.ask.headers),
            record: &seen.record,
            seen: &seen.seen,
            labels: &labels,
            now,
        };
        match settled.then(|| admission::decide(&input)) {
            Some((Verdict::Reject(rejection), _)) => Some(Box::new(self.naming_mover(rejection, &seen.seen))),
            _ => None,
        }
    }
}

/// Whose requests count together where nobody may have all turns: an account's, or, of one that is declared shared, an agent's.
pub(super) fn sharer(caller: &Caller) -> Actor {
    let instance = caller.actor.instance.clone().filter(|_| caller.shared);
    Actor { account: caller.actor.account.clone(), instance }
}

/// Whether the holder is the caller, recorded under its credential alone, or by another token of its account.
pub(super) fn is_own_under_another_name(held: &Holding, caller: &Caller, seen: &Snapshot) -> bool {
    is_nameless_self(&held.actor, caller) || is_left_by_token(held, caller, seen)
}

/// Whether another token of the caller's own account holds it, which may not say whose it is and may be revoked by now: the
/// account that the tracker shows as the only assignee, then as now, is the caller's. The two are one agent, as two tokens
/// are that may both say so.
fn is_left_by_token(held: &Holding, caller: &Caller, seen: &Snapshot) -> bool {
    let Some(login) = caller.actor.account.login() else { return false };
    let is_own = |assignees: &BTreeSet<Account>| assignees.len() == 1 && assignees.contains(login);
    let same_name = held.actor.instance == caller.actor.instance && (!caller.shared || caller.actor.instance.is_some());
    matches!(held.actor.account, Principal::Opaque(_))
        && same_name
        && is_own(&held.last_seen.assignees)
        && is_own(&seen.assignees)
}

/// Whether the holder is recorded by the caller's credential alone, while the caller now has a name.
fn is_nameless_self(holder: &Actor, caller: &Caller) -> bool {
    let named = caller.actor.account.login().is_some() && !is_session(&caller.actor);
    named && holder.account == Principal::Opaque(caller.credential.clone())
}
