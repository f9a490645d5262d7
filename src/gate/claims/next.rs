//! Finding an item for a caller: a list, a candidate that nobody else tries, a claim; and again where that is lost.
//!
//! A list may be somebody else's and a moment old: what it offers is tried by a claim that reads for itself. But that
//! nothing is free is said only by a list that was asked for after the caller came, and after every claim of the others
//! under way has ended.

use super::super::refusal;
use super::offers::{List, Reserved, Wanted};
use super::steps::{ClaimedItem, Failed};
use super::{ClaimOperation, OperationError, OperationResult, Search};
use crate::admission::{Aims, DecisionInput, Expectation, Mode, Offer, Rules, Stated, offer};
use crate::dialect::{Filter, ListOutcome, OpenItems, Page};
use crate::effect::CallError;
use crate::gate::reads::{Proof, ReadAccess};
use crate::model::{
    Account, Caller, Change, Code, ItemKind, ItemRecord, OpenState, Place, Project, Rejection, ResourceKey, SetChange,
    Snapshot, Status,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What is known of the caller and its wish before any list is read.
struct CandidateSearch<'a> {
    search: &'a Search,
    caller: Caller,
    login: Account,
    /// The rules as they would be if all of them were enforced: nobody is offered what another has.
    rules: Rules,
    aims: Aims,
    /// What this caller has tried already.
    tried: BTreeSet<ResourceKey>,
}

/// What a list has for a caller.
enum Pick<'a> {
    /// This may be tried, and by nobody else meanwhile.
    Try(Snapshot, Reserved<'a>),
    /// Others are trying all that is left.
    Wait,
    Nothing,
}

/// A list of somebody else's, then one since the caller came.
const ROUNDS: usize = 2;
/// Pages of one list, however many items are looked at.
const MOST_PAGES: usize = 40;
/// The most rows that Forgejo and Gitea give in one page by default.
const PAGE: usize = 50;
/// Rows asked for where so many are too long to be read at once.
const SHORT_PAGE: usize = 25;
/// Reads of one list for the sake of rows that are too long. Those that are left then are passed over.
const MOST_PARTS: usize = 100;

impl ClaimOperation {
    /// Claims some item that fits.
    pub(super) async fn next(&self, search: &Search) -> OperationResult<Option<ClaimedItem>> {
        let mut candidate_search = self.candidate_search(search).await?;
        let labels = self.resolve(&Place::whole(&search.filter.project), &search.labels).await?;
        let until = tokio::time::Instant::now() + self.gate.settings.lanes.timeout;
        for round in 0..ROUNDS {
            let list = self.offered(&candidate_search, round > 0).await?;
            loop {
                // Registered before looking, so that no end is missed in between.
                let ended = self.gate.offers.ended().notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                let (seen, reserved) = match self.pick(&list, &mut candidate_search).await? {
                    Pick::Try(seen, reserved) => (seen, reserved),
                    Pick::Nothing => break,
                    Pick::Wait => {
                        tokio::time::timeout_at(until, ended).await.map_err(|_| self.all_under_way())?;
                        continue;
                    }
                };
                candidate_search.tried.insert(seen.key.clone());
                let Some(address) = self.gate.address_of(&seen.locator) else { continue };
                let taken = self
                    .take(&address, &candidate_search.login, &labels, as_listed(&candidate_search.rules, &seen))
                    .await;
                // What only this caller could not have is still there for those who wait.
                if taken.as_ref().map_or_else(Failed::is_beaten, |_| true) {
                    list.set_gone(&seen.key);
                }
                drop(reserved);
                match taken {
                    Ok(taken) => return Ok(Some(taken)),
                    // Nothing of it is left to be given back: the caller may go again.
                    Err(failed) if failed.is_lost() && self.cancellation.reset() => {
                        tracing::trace!(resource = %seen.locator, "lost, going on");
                    }
                    Err(failed) if failed.is_lost() => return Err(OperationError::Gone),
                    Err(failed) => return Err(failed.end),
                }
            }
            if list.began >= self.sender.arrived {
                break;
            }
        }
        // To whoever has mistyped a label every queue is empty, and for ever.
        self.expect_labels(&Place::whole(&search.filter.project), &search.filter.labels).await?;
        Ok(None)
    }

    async fn candidate_search<'a>(&self, search: &'a Search) -> OperationResult<CandidateSearch<'a>> {
        let caller = self.caller().await?;
        let login = self.login(&caller)?;
        let mut rules = Rules::clone(&self.gate.rules());
        rules.assignment.mode = Mode::Enforce;
        let states = |names: &BTreeSet<String>| {
            let names = names.iter().map(|name| Status::new(name));
            names.filter(|name| rules.workflow.states.contains(name)).collect()
        };
        let aims = Aims { from: states(&search.filter.labels), to: states(&search.labels.set) };
        let caller = Caller { overrider: false, ..caller };
        Ok(CandidateSearch { search, caller, login, rules, aims, tried: BTreeSet::new() })
    }

    // === the choice ===

    async fn pick(&self, list: &List, candidate_search: &mut CandidateSearch<'_>) -> OperationResult<Pick<'_>> {
        let mut waits = false;
        for seen in &list.items {
            if candidate_search.tried.contains(&seen.key)
                || list.is_gone(&seen.key)
                || !candidate_search.search.fits(seen)
            {
                continue;
            }
            let Some(reserved) = self.gate.offers.reserve(&seen.key) else {
                waits = true;
                continue;
            };
            match self.judge(list, candidate_search, seen).await? {
                Offer::Free => return Ok(Pick::Try(seen.clone(), reserved)),
                Offer::Taken => list.set_gone(&seen.key),
                Offer::Refused(_) => drop(candidate_search.tried.insert(seen.key.clone())),
            }
        }
        Ok(if waits { Pick::Wait } else { Pick::Nothing })
    }

    async fn judge(
        &self,
        list: &List,
        candidate_search: &CandidateSearch<'_>,
        seen: &Snapshot,
    ) -> OperationResult<Offer> {
        let record = self.gate.ports.ledger.item(&seen.key).await.map_err(|error| {
            let rejection = super::refusal::no_ledger(&seen.locator, &error.to_string());
            self.refuse(*rejection)
        })?;
        let record = record.unwrap_or_else(|| ItemRecord::new(seen.key.clone(), seen.locator.clone()));
        let record = self.gate.renewed(record);
        let change = Change {
            assignees: Some(SetChange::Replace([candidate_search.login.clone()].into())),
            ..Change::default()
        };
        let question = DecisionInput {
            rules: &candidate_search.rules,
            caller: &candidate_search.caller,
            change: &change,
            asks_more: false,
            record: &record,
            seen,
            labels: &[],
            now: self.gate.ports.clock.now(),
        };
        Ok(offer(&question, list.asked, &candidate_search.aims))
    }

    fn all_under_way(&self) -> OperationError {
        let message = "others are claiming all that is left, and it takes long; try again";
        let rejection = Rejection::of_request(Code::LaneTimeout, message);
        self.refuse(Rejection { retry_after: Some(Duration::from_secs(1)), ..rejection })
    }

    // === the list ===

    /// A list that the caller may see. Of those who may read the repository one reads it for all; whose credential was
    /// not seen to read there reads for itself, and is known from then on.
    async fn offered(&self, candidate_search: &CandidateSearch<'_>, since_arrival: bool) -> OperationResult<Arc<List>> {
        let wanted = Wanted { filter: candidate_search.search.filter.clone(), limit: candidate_search.search.limit };
        let place = self.gate.offers.candidate_list(&wanted, self.gate.ports.clock.boot());
        if !self.may_see(&candidate_search.caller, &wanted.filter.project).await {
            let list = self.read_list(&wanted).await?;
            place.put(&list);
            return Ok(list);
        }
        let usable = || {
            let recent = || (!since_arrival).then(|| place.recent(self.gate.ports.clock.boot())).flatten();
            place.since(self.sender.arrived).or_else(recent)
        };
        if let Some(list) = usable() {
            return Ok(list);
        }
        let turn = tokio::time::timeout(self.gate.settings.lanes.timeout, place.turn.lock()).await;
        let _turn = turn.map_err(|_| self.unreadable("a list that others wait for, too, does not come"))?;
        if let Some(list) = usable() {
            return Ok(list);
        }
        let list = self.read_list(&wanted).await?;
        place.put(&list);
        Ok(list)
    }

    /// Whether a list of somebody else's is for this caller, too. What it then tries, it reads for itself.
    async fn may_see(&self, caller: &Caller, project: &Project) -> bool {
        let (gate, arrived) = (&self.gate, self.sender.arrived);
        if gate.reads.has_seen(&caller.credential, ReadAccess::Project(project.clone()), arrived) {
            return true;
        }
        let proof = gate.prove_kind(project, ItemKind::Issue, &self.sender.credential, arrived).await;
        matches!(proof, Proof::Shown)
    }

    async fn read_list(&self, wanted: &Wanted) -> OperationResult<Arc<List>> {
        let clock = &self.gate.ports.clock;
        let (began, asked) = (clock.boot(), clock.now());
        let (mut filter, mut parts) = (wanted.filter.clone(), MOST_PARTS);
        let (first, size) = match self.page(&mut filter, Page { number: 1, size: PAGE }).await? {
            Some(first) => {
                // A tracker that gives fewer rows than it was asked for counts its pages in those.
                let size = if first.total.is_some_and(|total| total > first.rows) { first.rows } else { PAGE };
                (first, size.clamp(1, PAGE))
            }
            None => (self.rows(&mut filter, Page { number: 1, size: SHORT_PAGE }, &mut parts).await?, SHORT_PAGE),
        };
        let pages = first.total.map_or(MOST_PAGES, |total| total.div_ceil(first.rows.max(1)).max(1));
        // A tracker that does not sort begins with the newest: the oldest are on the last page.
        let backwards = first.reversed && first.total.is_some();
        let mut first = Some(first);
        let (mut items, mut looked) = (Vec::new(), 0);
        for turn in 1..=pages.min(MOST_PAGES) {
            let number = if backwards { pages + 1 - turn } else { turn };
            let page = match first.take_if(|_| number == 1) {
                Some(page) => page,
                None => self.rows(&mut filter, Page { number, size }, &mut parts).await?,
            };
            looked += page.rows;
            items.extend(page.items);
            if page.rows == 0 || looked >= wanted.limit {
                break;
            }
        }
        items.truncate(wanted.limit);
        for seen in &items {
            self.gate.reads.learn_key(&seen.locator, &seen.key, seen.kind).await;
        }
        let print = self.gate.ports.identify.fingerprint(&self.sender.credential);
        let shown = ReadAccess::Kind(wanted.filter.project.clone(), ItemKind::Issue);
        self.gate.reads.learn_access(&print, shown, clock.boot());
        Ok(List::new(began, asked, items))
    }

    /// The rows of one page. What is too long is read again in parts, and a row that is too long by itself passed over: by
    /// what is written to one item nobody is kept from the others.
    async fn rows(&self, filter: &mut Filter, page: Page, parts: &mut usize) -> OperationResult<OpenItems> {
        let (mut left, mut found) = (vec![page], Vec::new());
        let mut skipped = 0;
        while let Some(page) = left.pop() {
            let is_part = found.len() + skipped + left.len() > 0;
            if is_part && *parts == 0 {
                skipped += page.size;
                continue;
            }
            *parts = parts.saturating_sub(usize::from(is_part));
            match self.page(filter, page).await? {
                Some(items) => found.push(items),
                None if page.size == 1 => skipped += 1,
                None => left.extend(page.parts().rev()),
            }
        }
        if skipped > 0 {
            tracing::warn!(project = %filter.project, skipped, "items too long to be read are passed over");
        }
        let reversed = found.iter().any(|part| part.reversed);
        let rows: usize = found.iter().map(|part| part.rows).sum();
        let total = found.iter().find_map(|part| part.total);
        if reversed {
            found.reverse();
        }
        let items = found.into_iter().flat_map(|part| part.items).collect();
        Ok(OpenItems { items, rows: skipped + rows, total, reversed })
    }

    /// One page, if it is not too long; where the repository has moved, the filter follows it.
    async fn page(&self, filter: &mut Filter, page: Page) -> OperationResult<Option<OpenItems>> {
        let ports = &self.gate.ports;
        for _ in 0..2 {
            let request = ports.dialect.list_open(filter, page, &self.sender.credential);
            let started = tokio::time::Instant::now();
            let answer = ports.upstream.read(request).await;
            ports.metrics.upstream_took("list", started.elapsed());
            let response = match answer {
                Ok((response, _)) => response,
                Err(CallError::TooLong(_)) => return Ok(None),
                Err(CallError::NoRoom) => return Err(self.refuse(refusal::no_room())),
                Err(error) => return Err(self.unreadable(&error.to_string())),
            };
            match ports.dialect.open_items(filter, &response) {
                ListOutcome::Items(page) => return Ok(Some(page)),
                ListOutcome::Denied => return Err(self.denied(response)),
                ListOutcome::Moved(project) => filter.project = project,
                ListOutcome::Unreadable(why) => return Err(self.unreadable(&why)),
            }
        }
        Err(self.unreadable("the repository redirects more than once"))
    }
}

// === impl Search ===

impl Search {
    /// Whether the item carries what it must and nothing that it must not. Tag names are compared without regard to
    /// case.
    fn fits(&self, seen: &Snapshot) -> bool {
        let carried: BTreeSet<String> = seen.labels.iter().map(|label| label.name.to_lowercase()).collect();
        let shows = |name: &String| carried.contains(&name.to_lowercase());
        self.filter.labels.iter().all(shows) && !self.exclude.iter().any(shows)
    }
}

/// The claim's own condition: what was listed is what is claimed, whoever asks, and even where rules only observe.
fn as_listed(rules: &Rules, seen: &Snapshot) -> Expectation {
    let statuses = Some(rules.workflow.statuses(&seen.labels));
    let (assignees, state) = (Some(BTreeSet::new()), Some(OpenState::Open));
    Expectation::Stated(Box::new(Stated { tags: None, assignees, statuses, state }))
}
