//! Which items a request is about: by their immutable ids, never by their paths.

use super::super::refusal;
use super::exits::some_of;
use super::{EarlyExit, Found, Item, ItemRead, Party, READS_AT_ONCE, Walk};
use crate::dialect::{Address, Credential, Listing, Subject, Wants};
use crate::effect::SHORT_ANSWER;
use crate::gate::Turn;
use crate::model::{Caller, Change, Code, Place, Rejection, ResourceKey};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::{BTreeMap, BTreeSet};

/// Pages of a repository's items that are looked through for an id.
const MOST_PAGES: usize = 200;

impl Walk {
    pub(super) async fn find(&self, party: &Party) -> Result<Vec<Found>, EarlyExit> {
        match self.request().subject() {
            Subject::New(_) => Ok(Vec::new()),
            Subject::At(address) if !self.is_form() => Ok(vec![self.find_named(address, &party.caller).await?]),
            Subject::Places(addresses) => self.find_places(addresses, &party.caller).await,
            subject => self.find_for_session(subject, party).await,
        }
    }

    /// In the order of their ids. What is to become of an item that is named in two ways, nobody can say.
    async fn find_places(&self, addresses: Vec<Address>, caller: &Caller) -> Result<Vec<Found>, EarlyExit> {
        let each = addresses.into_iter().map(|address| self.find_named(address, caller));
        let each: Vec<_> = each.collect();
        let found: Vec<Found> = stream::iter(each).buffered(READS_AT_ONCE).try_collect().await?;
        let mut all: BTreeMap<ResourceKey, Found> = BTreeMap::new();
        for one in found {
            let named = |found: &Found| found.address.as_ref().map(|at| at.locator().to_string()).unwrap_or_default();
            if let Some(other) = all.get(&one.key) {
                let message = format!(
                    "`{}` and `{}` are one item: name it in one way; nothing was sent",
                    named(other),
                    named(&one)
                );
                return Err(EarlyExit::Refuse(Box::new(Rejection::of_request(Code::AmbiguousRequest, message))));
            }
            all.insert(one.key.clone(), one);
        }
        Ok(all.into_values().collect())
    }

    async fn find_named(&self, address: Address, caller: &Caller) -> Result<Found, EarlyExit> {
        let (key, read) = self.resolve(&address, caller).await?;
        // What is long is not kept while it waits.
        let read = read.filter(|read| read.response.body.len() <= SHORT_ANSWER);
        // The tracker shows it the item: from here on it is one who may be told, and is heard of.
        let project = read.as_ref().and_then(|read| read.seen.locator.project()).or(address.project());
        self.gate.record_heartbeat(&caller.actor, project);
        Ok(Found { key, address: Some(address), read })
    }

    /// The item's id, and the read that told it or that proved the caller to be a reader, if one was made.
    async fn resolve(&self, address: &Address, caller: &Caller) -> Result<(ResourceKey, Option<ItemRead>), EarlyExit> {
        let locator = address.locator();
        let reads = &self.gate.reads;
        if let Some(key) = reads.key(&locator).await {
            let read = if reads.may_share_at(&caller.credential, &locator, self.ask.arrived).await {
                None
            } else {
                Some(self.read(address, "resolve").await?)
            };
            return Ok((read.as_ref().map_or(key, |read| read.seen.key.clone()), read));
        }
        let mut mine = None;
        let found = reads
            .key_or(&locator, async {
                let read = self.read(address, "resolve").await;
                let key = read.as_ref().map(|read| (read.seen.key.clone(), read.seen.kind)).map_err(|_| ());
                mine = Some(read);
                key
            })
            .await;
        match (mine, found) {
            (Some(read), _) => read.map(|read| (read.seen.key.clone(), Some(read))),
            (None, Ok(key)) if reads.may_share_at(&caller.credential, &locator, self.ask.arrived).await => {
                Ok((key, None))
            }
            // Another's read told the id, or failed; what this caller may see is its own matter.
            (None, _) => self.read(address, "resolve").await.map(|read| (read.seen.key.clone(), Some(read))),
        }
    }

    // === of a form ===

    async fn find_for_session(&self, subject: Subject, party: &Party) -> Result<Vec<Found>, EarlyExit> {
        let judged = self.request().wants().is_judged();
        if judged && party.reader.is_none() && !party.caller.overrider {
            let message = "the rules are enforced for the web interface, and the gate has no service token with which \
                           to read the items: set upstream.service_token_file, or use the API";
            return Err(EarlyExit::Refuse(Box::new(Rejection::of_request(Code::UpstreamUnreadable, message))));
        }
        let unread = |key: ResourceKey| Found { key, address: None, read: None };
        match (subject, &party.reader) {
            // Only requests of the API name several places.
            (Subject::New(_) | Subject::Places(_), _) => Ok(Vec::new()),
            // Whoever sends a form has shown that it may see the repository of its page, and no other.
            (Subject::Keys(keys), Some(reader)) if judged || self.owner().is_none() => {
                let placed = |(key, address)| Found { key, address: Some(address), read: None };
                Ok(self.locate(&keys, reader).await?.into_iter().map(placed).collect())
            }
            (Subject::Keys(keys), _) => {
                self.expect_own(&keys).await?;
                Ok(keys.into_iter().map(unread).collect())
            }
            (Subject::At(address), Some(reader)) => {
                let key = self.read_for_session(&address, reader, "resolve").await?.seen.key;
                Ok(vec![Found { key, address: Some(address), read: None }])
            }
            (Subject::At(address), None) => {
                Ok(self.known_key(&address.locator()).await?.into_iter().map(unread).collect())
            }
        }
    }

    /// The item at a place that cannot be read. One that the gate has never heard of is in nobody's hands, and no
    /// write of it is under way.
    async fn known_key(&self, locator: &Place) -> Result<Option<ResourceKey>, EarlyExit> {
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
    ) -> Result<BTreeMap<ResourceKey, Address>, EarlyExit> {
        let mut places = BTreeMap::new();
        for key in keys {
            let known = self.gate.ports.dialect.address_of_key(key);
            let known = if known.is_some() { known } else { self.remembered(key).await? };
            if let Some(address) = known {
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
                self.gate.reads.learn_key(&address.place, &key, address.kind).await;
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
    async fn expect_own(&self, keys: &BTreeSet<ResourceKey>) -> Result<(), EarlyExit> {
        let mut strays = Vec::new();
        for key in keys {
            if self.last_seen(key).await?.is_some_and(|at| !self.is_own(&at)) {
                strays.push(key.as_str());
            }
        }
        if strays.is_empty() { Ok(()) } else { Err(self.no_such(&strays)) }
    }

    /// The same words for what does not exist and for what is elsewhere.
    fn no_such(&self, ids: &[&str]) -> EarlyExit {
        let page = self.request().page().map(ToString::to_string).unwrap_or_default();
        let message = format!("{page} has no item with the id {}; nothing was sent: load the page again", some_of(ids));
        EarlyExit::Refuse(Box::new(Rejection::of_request(Code::AmbiguousRequest, message)))
    }

    async fn remembered(&self, key: &ResourceKey) -> Result<Option<Address>, EarlyExit> {
        // Another repository's items are not this form's to change, which old versions do not check.
        Ok(self.last_seen(key).await?.filter(|at| self.is_own(at)).and_then(|at| self.gate.address_of(&at)))
    }

    async fn last_seen(&self, key: &ResourceKey) -> Result<Option<Place>, EarlyExit> {
        if let Some(locator) = self.gate.reads.place(key).await {
            return Ok(Some(locator));
        }
        let record = self.gate.ports.ledger.item(key).await.map_err(|error| self.no_ledger(&error))?;
        Ok(record.map(|record| record.locator))
    }

    /// Whether the item stands in the repository of the form's page, or in some of the owner's where the page is that.
    fn is_own(&self, at: &Place) -> bool {
        // Where the form is on no project's page, its sender has shown that it may see each of its items.
        if self.request().page().is_none() {
            return true;
        }
        let project = at.project();
        let of = |owner: &str| project.and_then(|it| it.as_str().split_once('/')).is_some_and(|(of, _)| of == owner);
        project.is_some() && project == self.request().page() || self.owner().is_some_and(of)
    }

    /// Whose page it is, where it is no repository's.
    fn owner(&self) -> Option<&str> {
        self.request().page()?.as_str().strip_suffix("/-")
    }

    async fn page(&self, page: usize, reader: &Credential) -> Result<Vec<(ResourceKey, Address)>, EarlyExit> {
        let (dialect, at) = (&self.gate.ports.dialect, self.request().locator());
        let Some(project) = at.project() else { return Ok(Vec::new()) };
        let answer = self.gate.ports.upstream.read(dialect.list(Listing::AllItems(project), page, reader)).await;
        let (response, _) = answer.map_err(|error| self.not_answered(&error))?;
        dialect.addresses(project, &response).ok_or_else(|| {
            let why = format!("the list of its items was answered {}", response.status);
            EarlyExit::Refuse(refusal::unreadable(&at, &why))
        })
    }

    // === under the turns ===

    /// Each item with its turn: both are in the order of the keys.
    pub(super) fn under_turns<'t>(&self, found: Vec<Found>, turns: &'t [Turn]) -> Vec<Item<'t>> {
        let change = self.request().change().cloned().unwrap_or_default();
        let item = |(Found { key, address, read }, turn)| {
            Some(Item { key, address: address?, turn, read, change: change.clone(), spelled_by: None })
        };
        found.into_iter().zip(turns).filter_map(item).collect()
    }

    /// Of a form, and of whatever depends on how its items stand, every item is read before T1: toggles become absolute
    /// changes, names take the place of numbers.
    pub(super) async fn spell_out(&self, party: &Party, items: &mut [Item<'_>]) -> Result<(), EarlyExit> {
        let depends = self.is_form() || matches!(self.request().wants(), Wants::Toggle);
        let Some(reader) = party.reader.as_ref().filter(|_| depends) else { return Ok(()) };
        let each: Vec<_> = items.iter_mut().map(|item| self.read_to_spell(item, reader)).collect();
        let reads: Vec<ItemRead> = stream::iter(each).buffered(READS_AT_ONCE).try_collect().await?;
        let found = match self.request().look_up(reader) {
            Some(request) => {
                let answer = self.gate.ports.upstream.read(request).await;
                Some(answer.map_err(|error| self.not_answered(&error))?.0)
            }
            None => None,
        };
        let seen: Vec<_> = items.iter().zip(&reads).map(|(item, read)| (&item.address, &read.seen)).collect();
        let own = reads.first().filter(|_| reads.len() == 1).map(|read| &read.response);
        let changes: Vec<Change> = match self.request().spell_out(&seen, found.as_ref().or(own)) {
            Ok(changes) => changes,
            Err(why) => return Err(self.means_nothing(&party.caller, &reads, &why).await),
        };
        for ((item, read), change) in items.iter_mut().zip(reads).zip(changes) {
            item.spelled_by = (!self.is_form()).then(|| read.seen.clone());
            (item.read, item.change) = (Some(read), change);
        }
        Ok(())
    }

    async fn read_to_spell(&self, item: &mut Item<'_>, reader: &Credential) -> Result<ItemRead, EarlyExit> {
        if self.is_form() {
            return self.read_again(item.key.clone(), item.address.clone(), reader).await;
        }
        let read = match item.read.take().filter(|read| self.still_stands(read, item.turn)) {
            Some(read) => read,
            None => self.read(&item.address, "observe").await?,
        };
        item.is_still(read)
    }

    /// The item by its place, where that still is this item.
    pub(super) async fn read_again(
        &self,
        key: ResourceKey,
        address: Address,
        reader: &Credential,
    ) -> Result<ItemRead, EarlyExit> {
        let read = self.read_for_session(&address, reader, "observe").await?;
        if read.seen.key == key {
            return Ok(read);
        }
        self.gate.reads.forget_place(&key).await;
        Err(EarlyExit::Refuse(refusal::unreadable(&address.locator(), "it is another item than it was")))
    }

    /// The path of the request names another item than it did.
    pub(super) async fn forget_place(&self) {
        let named = match self.request().subject() {
            Subject::At(address) => vec![address],
            Subject::Places(addresses) => addresses,
            Subject::Keys(_) | Subject::New(_) => Vec::new(),
        };
        for address in named {
            self.gate.reads.forget_key(&address.locator()).await;
        }
    }
}
