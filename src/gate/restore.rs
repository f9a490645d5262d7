//! Putting an item back as its claim found it: no assignee, no label of a claim that is over.
//!
//! Every write here is a guarded write of its own, made with the service token and audited as the operator's.

use super::section::Section;
use super::{About, Answered, Ask, Gate};
use crate::admission::Expectation;
use crate::dialect::{Address, Credential, Intent, ReadOutcome};
use crate::model::{Holding, Label, LabelRef, Locator, SetChange, Snapshot, Status};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Pages of a repository's labels that are looked through.
const MOST_PAGES: usize = 40;

impl Gate {
    /// Clears the assignee and takes the labels back to what the claim found. What it says is for the operator.
    pub(super) async fn restore(self: &Arc<Self>, item: &Locator, held: &Holding) -> String {
        let (Some(service), Some(address)) = (&self.ports.service, address_of(item)) else {
            return format!(
                "the tracker still shows: {}. Clear that there; with upstream.service_token_file the gate does it",
                held.shown
            );
        };
        let mut done = Vec::new();
        if let Err(why) = self.write(self.ports.dialect.clear_assignees(&address), service).await {
            return format!("its assignee was not cleared: {why}");
        }
        done.push("its assignee was cleared".to_owned());
        match self.restore_labels(&address, held, service).await {
            Ok(0) => {}
            Ok(_) => done.push("its status labels are what the claim found".to_owned()),
            Err(why) => done.push(format!("its labels were not put back: {why}")),
        }
        done.join("; ")
    }

    /// Removes the working labels that the claim brought, and adds what it took away. Returns how many writes that took.
    async fn restore_labels(
        self: &Arc<Self>,
        address: &Address,
        held: &Holding,
        service: &Credential,
    ) -> Result<usize, String> {
        let seen = self.look_up(address, service).await?;
        let rules = self.rules();
        let brought = |label: &&Label| {
            let status = Status::new(&label.name);
            rules.workflow.working.contains(&status) && !held.found.contains(&status)
        };
        let brought: Vec<LabelRef> = seen.labels.iter().filter(brought).map(|label| LabelRef::Id(label.id)).collect();
        if brought.is_empty() {
            return Ok(0);
        }
        let statuses = rules.workflow.statuses(&seen.labels);
        let taken: BTreeSet<Status> = held.found.difference(&statuses).cloned().collect();
        let taken = self.label_ids(address, &taken, service).await?;
        let removals = brought.into_iter().map(|label| SetChange::Remove(BTreeSet::from([label])));
        let addition = (!taken.is_empty()).then_some(SetChange::Add(taken));
        let changes: Vec<SetChange<LabelRef>> = addition.into_iter().chain(removals).collect();
        for change in &changes {
            self.write(self.ports.dialect.relabel(address, change.clone()), service).await?;
        }
        Ok(changes.len())
    }

    async fn label_ids(
        &self,
        address: &Address,
        wanted: &BTreeSet<Status>,
        service: &Credential,
    ) -> Result<BTreeSet<LabelRef>, String> {
        let mut found = BTreeSet::new();
        for page in 1..=MOST_PAGES {
            if found.len() == wanted.len() {
                break;
            }
            let request = self.ports.dialect.list_labels(address, page, service);
            let (response, _) = self.ports.upstream.read(request).await.map_err(|error| error.to_string())?;
            let labels = self.ports.dialect.labels(&response).ok_or("the repository's labels could not be read")?;
            if labels.is_empty() {
                break;
            }
            let chosen = labels.iter().filter(|label| wanted.contains(&Status::new(&label.name)));
            found.extend(chosen.map(|label| LabelRef::Id(label.id)));
        }
        Ok(found)
    }

    async fn look_up(&self, address: &Address, service: &Credential) -> Result<Snapshot, String> {
        let request = self.ports.dialect.observe(address, service);
        let (response, _) = self.ports.upstream.read(request).await.map_err(|error| error.to_string())?;
        match self.ports.dialect.read(address, &response) {
            ReadOutcome::Item(seen) => Ok(seen),
            ReadOutcome::Denied => Err(format!("the tracker answered {}", response.status)),
            ReadOutcome::Moved(_) => Err("the item has moved".to_owned()),
            ReadOutcome::Unreadable(why) => Err(why),
        }
    }

    async fn write(self: &Arc<Self>, intent: Intent, service: &Credential) -> Result<(), String> {
        let ask = Ask {
            intent,
            credential: service.clone(),
            instance: None,
            headers: http::HeaderMap::new(),
            arrived: self.ports.clock.boot(),
            about: About::default(),
            operator: true,
            expectation: Expectation::Implied,
        };
        match Section::new(Arc::clone(self), ask).run(&|| false).await.map(|reply| reply.answer) {
            Some(Answered::Tracker(response)) if response.status.is_success() => Ok(()),
            Some(Answered::Tracker(response)) => Err(format!("the tracker answered {}", response.status)),
            Some(Answered::Refused(rejection)) => Err(rejection.message),
            None => Err("it was given up".to_owned()),
        }
    }
}

/// Where an item is, by the name that the ledger keeps.
pub(super) fn address_of(locator: &Locator) -> Option<Address> {
    let (owner, repo) = locator.project.as_str().split_once('/')?;
    Some(Address { owner: owner.to_owned(), repo: repo.to_owned(), number: locator.number, pull: false })
}
