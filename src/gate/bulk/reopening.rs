//! Closed pull requests that a form opens again, where people are judged like agents: asked like ones that are created.
//!
//! Judged by what stands in the tracker and in the ledger. A form leaves no entry of its own: what it opens stands, and counts
//! for those who come after it.

use super::judged::Course;
use super::{BulkSection, Stop};
use crate::admission::once::{Facts, OnceRule, Ruling, judge};
use crate::admission::{By, Verdict};
use crate::dialect::{Address, Credential, ReadOutcome, WireRequest, WireResponse};
use crate::gate::refusal;
use crate::model::{Caller, Code, Existing, OnceKey, OpenState, Project, Rejection, Snapshot, What};
use std::collections::BTreeSet;

/// Pages of open pull requests that are read at most.
const MOST_PAGES: usize = 100;

impl BulkSection {
    /// The same course, or the refusal of a second pull request for an issue. `taken`: what the form has opened so far.
    pub(super) async fn ask_reopening(
        &self,
        mut course: Course,
        caller: &Caller,
        reader: &Credential,
        taken: &mut BTreeSet<OnceKey>,
    ) -> Result<Course, Stop> {
        let opens = matches!(course.verdict, Verdict::Admit(_))
            && course.item.change.state == Some(OpenState::Open)
            && course.item.fresh.seen.state == OpenState::Closed;
        if !opens || caller.overrider || !self.rules.is_ruled(What::Pull) {
            return Ok(course);
        }
        let address = course.item.address.clone();
        match self.second(&address, caller, reader, taken).await? {
            None => {}
            Some((rule, rejection)) if rule.enforces(caller) => course.verdict = Verdict::Reject(rejection),
            Some((_, rejection)) => course.observed = course.observed.or(Some(rejection.code)),
        }
        Ok(course)
    }

    /// What the first rule that is in the way says.
    async fn second<'s>(
        &'s self,
        pull: &Address,
        caller: &Caller,
        reader: &Credential,
        taken: &mut BTreeSet<OnceKey>,
    ) -> Result<Option<(&'s OnceRule, Rejection)>, Stop> {
        let (dialect, closing) = (&self.gate.ports.dialect, &self.gate.settings.closing);
        // An issue has no such page.
        let Some(response) = self.found(dialect.observe_pull(pull, reader)).await? else { return Ok(None) };
        let Some((_, closes)) = dialect.closed_pull(pull, &response, closing) else { return Ok(None) };
        let mut issues = Vec::new();
        for address in closes {
            issues.extend(self.closed_issue(&address, reader).await?);
        }
        let open = if issues.is_empty() { Vec::new() } else { self.open_pulls(&pull.project(), reader).await? };
        let mut observed = None;
        for issue in &issues {
            for rule in &self.rules.once {
                match self.ruled_out(rule, issue, caller, &open, taken).await? {
                    Some(rejection) if rule.enforces(caller) => return Ok(Some((rule, rejection))),
                    Some(rejection) => observed = observed.or(Some((rule, rejection))),
                    None => {}
                }
            }
        }
        Ok(observed)
    }

    async fn ruled_out(
        &self,
        rule: &OnceRule,
        issue: &Snapshot,
        caller: &Caller,
        open: &[Existing],
        taken: &mut BTreeSet<OnceKey>,
    ) -> Result<Option<Rejection>, Stop> {
        let (about, at) = (issue.key.as_str(), &issue.locator);
        let facts = Facts { what: What::Pull, actor: &caller.actor, about, commit: "", event: "" };
        let Some(key) = rule.key(&facts) else { return Ok(None) };
        let ledger = &self.gate.ports.ledger;
        if rule.by == By::Holder {
            let record = ledger.item(&issue.key).await.map_err(|error| self.no_ledger(&error))?;
            let held = record.as_ref().and_then(|record| record.held_by_another(&caller.actor));
            if let Some(held) = held.filter(|held| !held.parked) {
                let message = format!("{at} is held by {held}; only the holder may open a pull request that closes it");
                return Ok(Some(*refusal::plain(Code::NotHolder, at, message)));
            }
        }
        let entry = ledger.once(vec![key.clone()]).await.map_err(|error| self.no_ledger(&error))?.pop().flatten();
        let all: Vec<&Existing> = open.iter().filter(|one| one.closes.contains(at)).collect();
        let standing = rule.standing(&key, about, entry.as_ref(), &all);
        Ok(match judge(entry.as_ref(), &standing, self.gate.ports.clock.now()) {
            Ruling::Exists { first, by, .. } => Some(rule.already_created(at, &key, &first, &by)),
            Ruling::InDoubt { left } => {
                let message = format!("{at}: a creation for \"{key}\" was sent and its outcome is not known yet");
                Some(*refusal::retry(Code::InDoubt, at, message, left))
            }
            Ruling::Free { .. } if !taken.insert(key.clone()) => {
                let message = format!("this form opens two pull requests that close {at}; open one of them");
                Some(*refusal::plain(Code::AlreadyCreated, at, message))
            }
            Ruling::Free { .. } => None,
        })
    }

    /// The issue, if the reader can see one there: naming it closes nothing else.
    async fn closed_issue(&self, address: &Address, reader: &Credential) -> Result<Option<Snapshot>, Stop> {
        let dialect = &self.gate.ports.dialect;
        let Some(response) = self.found(dialect.observe(address, reader)).await? else { return Ok(None) };
        match dialect.read(address, &response) {
            ReadOutcome::Item(_) if dialect.is_pull(&response) => Ok(None),
            ReadOutcome::Item(seen) => Ok(Some(seen)),
            _ => Err(self.cannot_read("an issue")),
        }
    }

    async fn open_pulls(&self, project: &Project, reader: &Credential) -> Result<Vec<Existing>, Stop> {
        let (dialect, closing) = (&self.gate.ports.dialect, &self.gate.settings.closing);
        let (mut all, mut rows) = (Vec::new(), 0);
        for page in 1..=MOST_PAGES {
            let response = self.found(dialect.list_pulls(project, page, reader)).await?;
            let listed = response.and_then(|response| dialect.pulls(project, &response, closing));
            let listed = listed.ok_or_else(|| self.cannot_read("the open pull requests"))?;
            rows += listed.rows;
            all.extend(listed.standing);
            if listed.rows == 0 || listed.total.is_some_and(|total| rows >= total) {
                return Ok(all);
            }
        }
        Err(self.cannot_read("the open pull requests"))
    }

    /// An answer of 200; none of 403 and 404.
    async fn found(&self, request: WireRequest) -> Result<Option<WireResponse>, Stop> {
        match self.gate.ports.upstream.read(request).await {
            Ok((response, _)) if response.status.as_u16() == 200 => Ok(Some(response)),
            Ok((response, _)) if matches!(response.status.as_u16(), 403 | 404) => Ok(None),
            Ok(_) | Err(_) => Err(self.cannot_read("what the rules are about")),
        }
    }

    fn cannot_read(&self, what: &str) -> Stop {
        Stop::Refuse(refusal::unreadable(&self.locator(), &format!("{what} could not be read")))
    }
}
