//! Putting an item back as its claim found it: no assignee, no label of a claim that is over.
//!
//! Every write here is a guarded write of its own, audited as the operator's: made with the service token, or in the
//! name of whoever comes next.

use super::cancellation::Cancellation;
use super::refusal;
use super::walk::Walk;
use super::watch::Remains;
use super::writer::Writer;
use super::{About, Answered, Ask, EntryCondition, Gate, InFlight, Reply, guarded};
use crate::admission::{Expectation, Stated};
use crate::dialect::{Address, Credential, Guarded};
use crate::model::{Place, SetChange, Snapshot, Status, Tag, TagRef};
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Gate {
    /// Clears the assignee and takes the labels back to what the claim found. What it says is for the operator; an error:
    /// that was not done, or not all of it.
    pub(super) async fn restore(self: &Arc<Self>, item: &Place, left: &Remains) -> Result<String, String> {
        let (Some(service), Some(address)) = (&self.ports.service, self.address_of(item)) else {
            return Ok(format!("{}. Clear that there; with upstream.service_token_file the gate does it", left.told));
        };
        let by = Writer::service(service);
        // Whom somebody has assigned since is not the holder's, and not for this release to clear.
        let shown = Stated { assignees: Some(left.assignees.clone()), ..Stated::default() };
        let clear = self.ports.dialect.clear_assignees(&address);
        let cleared = match self.look_up(&address, &by.credential).await {
            Ok(seen) if seen.assignees.is_empty() => Ok("nobody is assigned"),
            Ok(_) => {
                self.write(clear, Expectation::Stated(Box::new(shown)), &by).await.map(|_| "its assignee was cleared")
            }
            Err(why) => Err(why),
        };
        let cleared = cleared.map_err(|why| format!("its assignee was not cleared: {why}"))?;
        match self.restore_labels(&address, &left.status_before_claim, &by).await {
            Ok(writes) if writes.is_empty() => Ok(cleared.to_owned()),
            Ok(_) => Ok(format!("{cleared}; its status labels are what the claim found")),
            Err(why) => Err(format!("{cleared}; its labels were not put back: {why}")),
        }
    }

    /// Removes the working labels that a claim brought, and adds what it took away. Returns the writes that that took.
    async fn restore_labels(
        self: &Arc<Self>,
        address: &Address,
        found: &BTreeSet<Status>,
        by: &Writer,
    ) -> Result<Vec<Reply>, String> {
        let seen = self.look_up(address, &by.credential).await?;
        let (rules, dialect) = (self.rules(), &self.ports.dialect);
        let brought = |label: &&Tag| {
            let status = Status::new(&label.name);
            rules.workflow.working.contains(&status) && !found.contains(&status)
        };
        let brought: Vec<TagRef> = seen.labels.iter().filter(brought).map(Tag::to_ref).collect();
        if brought.is_empty() {
            return Ok(Vec::new());
        }
        let statuses = rules.workflow.statuses(&seen.labels);
        let taken: BTreeSet<Status> = found.difference(&statuses).cloned().collect();
        let taken = self.label_ids(address, &taken, &by.credential).await?;
        // Where an item has exactly one status, that of before pushes out the one that was brought.
        let is_removed = |label: &TagRef| dialect.relabel(address, SetChange::Remove([label.clone()].into())).is_some();
        let brought: Vec<TagRef> = brought.into_iter().filter(is_removed).collect();
        let removals = brought.into_iter().map(|label| SetChange::Remove(BTreeSet::from([label])));
        let addition = (!taken.is_empty()).then_some(SetChange::Add(taken));
        let changes: Vec<SetChange<TagRef>> = addition.into_iter().chain(removals).collect();
        let mut writes = Vec::new();
        for change in changes {
            writes.push(self.relabel(address, &change, by).await?);
        }
        Ok(writes)
    }

    /// Puts the labels of an item back whose holding ended half-way, before its next holder begins. What fails is left
    /// to the next write.
    pub(super) async fn put_back(
        self: &Arc<Self>,
        address: &Address,
        found: &BTreeSet<Status>,
        by: &Writer,
    ) -> Vec<Reply> {
        let written = self.restore_labels(address, found, by).await;
        match &written {
            Ok(writes) if writes.is_empty() => {}
            Ok(_) => tracing::info!(resource = %address.locator(), "labels of a claim that is over were put back"),
            Err(why) => tracing::warn!(resource = %address.locator(), why, "stray labels were not put back"),
        }
        written.unwrap_or_default()
    }

    /// The same with the operator's own credential, where there is one: nobody need come for it.
    pub(super) fn put_back_soon(self: &Arc<Self>, locator: &Place, found: Option<&BTreeSet<Status>>) {
        let (Some(service), Some(address), Some(found)) = (&self.ports.service, self.address_of(locator), found) else {
            return;
        };
        if !self.rules().workflow.put_back {
            return;
        }
        let (gate, by, found) = (Arc::clone(self), Writer::service(service), found.clone());
        let guard = InFlight::enter(Arc::clone(self));
        tokio::spawn(async move {
            let _guard = guard;
            gate.put_back(&address, &found, &by).await;
        });
    }

    async fn label_ids(
        &self,
        address: &Address,
        wanted: &BTreeSet<Status>,
        credential: &Credential,
    ) -> Result<BTreeSet<TagRef>, String> {
        if wanted.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut labels = Vec::new();
        for of_owner in [false, true] {
            labels
                .extend(self.list_labels(&address.place, of_owner, credential).await.map_err(|stop| stop.to_string())?);
            let names: BTreeSet<Status> = labels.iter().map(|label: &Tag| Status::new(&label.name)).collect();
            if wanted.is_subset(&names) {
                break;
            }
        }
        let is_found = |status: &Status| labels.iter().any(|label| Status::new(&label.name) == *status);
        let chosen = labels.iter().filter(|label| wanted.contains(&Status::new(&label.name)));
        let mut refs: BTreeSet<TagRef> = chosen.map(Tag::to_ref).collect();
        // Ids and names together no tracker takes in one way.
        if refs.is_empty() && self.has_more_labels(address.project()) {
            refs.extend(
                wanted.iter().filter(|status| !is_found(status)).map(|it| TagRef::Name(it.as_str().to_owned())),
            );
        }
        Ok(refs)
    }

    async fn look_up(&self, address: &Address, credential: &Credential) -> Result<Snapshot, String> {
        let read = self.read_item(address, credential, "look_up", true).await.map_err(|unread| unread.to_string())?;
        if read.address == *address { Ok(read.seen) } else { Err("the item has moved".to_owned()) }
    }

    /// A tracker that took a removal for another label's is told once more, in a way that it cannot.
    async fn relabel(
        self: &Arc<Self>,
        address: &Address,
        change: &SetChange<TagRef>,
        by: &Writer,
    ) -> Result<Reply, String> {
        let dialect = &self.ports.dialect;
        let first = dialect.relabel(address, change.clone()).ok_or(refusal::NEVER_NONE)?;
        let reply = self.submit_own(first, Expectation::Implied, by).await;
        let otherwise = reply.as_ref().filter(|reply| reply.was_not_applied());
        match otherwise.and_then(|_| dialect.relabel_otherwise(address, change)) {
            Some(intent) => self.write(intent, Expectation::Implied, by).await,
            None => carried_out(reply),
        }
    }

    async fn write(self: &Arc<Self>, request: Guarded, expectation: Expectation, by: &Writer) -> Result<Reply, String> {
        carried_out(self.submit_own(request, expectation, by).await)
    }

    /// Boxed: a walk may end in such a write, which is a walk itself.
    fn submit_own<'a>(
        self: &Arc<Self>,
        request: Guarded,
        expectation: Expectation,
        by: &'a Writer,
    ) -> BoxFuture<'a, Option<Reply>> {
        let ask = Ask {
            credential: by.credential.clone(),
            instance: by.instance.clone(),
            headers: http::HeaderMap::new(),
            arrived: self.ports.clock.boot(),
            about: About::default(),
            operator: true,
            expectation,
            condition: EntryCondition::Always,
            body: bytes::Bytes::new(),
        };
        let walk = Walk::new(Arc::clone(self), request, ask, None);
        Box::pin(async move { guarded(&walk, &Cancellation::default()).await })
    }
}

fn carried_out(reply: Option<Reply>) -> Result<Reply, String> {
    let reply = reply.ok_or("it was given up")?;
    match &reply.answer {
        Answered::Tracker(response) if response.is_success() => Ok(reply),
        Answered::Tracker(response) => Err(format!("the tracker answered {}", response.status)),
        Answered::Refused(rejection) => Err(rejection.message.clone()),
    }
}

impl Gate {
    /// Where an item is, by the name that the ledger keeps.
    pub(super) fn address_of(&self, place: &Place) -> Option<Address> {
        self.ports.dialect.address(place)
    }
}
