//! Closed pull requests that a form opens again, where people are judged like agents: asked like ones that are created.
//!
//! Judged by what stands in the tracker and in the ledger. A form leaves no entry of its own: what it opens stands, and counts
//! for those who come after it.

use super::super::refusal;
use super::{Decided, EarlyExit, TurnContext, Walk};
use crate::admission::once::{Facts, OnceRule, Ruling, judge};
use crate::admission::{By, Verdict};
use crate::dialect::{Address, Credential};
use crate::model::{Caller, Code, Existing, ItemKind, OnceKey, OpenState, Rejection, Snapshot, What};
use std::collections::BTreeSet;

impl Walk {
    /// The refusal of a second pull request for an issue. `taken`: what the form has opened so far.
    pub(super) async fn ask_reopening(
        &self,
        at: &TurnContext<'_>,
        one: &mut Decided<'_>,
        taken: &mut BTreeSet<OnceKey>,
    ) -> Result<(), EarlyExit> {
        let opens = self.is_form()
            && matches!(one.verdict, Verdict::Admit(_))
            && one.change.state == Some(OpenState::Open)
            && one.at.read.seen.state == OpenState::Closed;
        let (caller, Some(reader)) = (&at.party.caller, &at.party.reader) else { return Ok(()) };
        if !opens || caller.overrider || !self.rules.is_ruled(What::Pull) {
            return Ok(());
        }
        match self.second(&one.at.read.address, caller, reader, taken).await? {
            None => {}
            Some((rule, rejection)) if rule.enforces(caller) => one.verdict = Verdict::Reject(rejection),
            Some((_, rejection)) => one.observed = one.observed.or(Some(rejection.code)),
        }
        Ok(())
    }

    /// What the first rule that is in the way says.
    async fn second<'s>(
        &'s self,
        pull: &Address,
        caller: &Caller,
        reader: &Credential,
        taken: &mut BTreeSet<OnceKey>,
    ) -> Result<Option<(&'s OnceRule, Rejection)>, EarlyExit> {
        let (dialect, closing) = (&self.gate.ports.dialect, &self.gate.settings.closing);
        // An issue has no such page.
        let response = match self.gate.fetch(dialect.observe_pull(pull, reader)).await {
            Ok(response) => response,
            Err(unread) if unread.is_hidden() => return Ok(None),
            Err(_) => return Err(self.cannot_read("what the rules are about")),
        };
        let Some((_, closes)) = dialect.closed_pull(pull, &response, closing) else { return Ok(None) };
        let mut issues = Vec::new();
        for address in closes {
            issues.extend(self.issue_for(&address, reader).await?);
        }
        let open = match pull.project() {
            Some(project) if !issues.is_empty() => {
                let open = self.gate.open_pulls(project, reader).await;
                open.map_err(|_| self.cannot_read("the open pull requests"))?
            }
            _ => Vec::new(),
        };
        let mut observed = None;
        for issue in &issues {
            for rule in &self.rules.once {
                match self.ruled_out((rule, issue), caller, &open, taken).await? {
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
        (rule, issue): (&OnceRule, &Snapshot),
        caller: &Caller,
        open: &[Existing],
        taken: &mut BTreeSet<OnceKey>,
    ) -> Result<Option<Rejection>, EarlyExit> {
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
    async fn issue_for(&self, address: &Address, reader: &Credential) -> Result<Option<Snapshot>, EarlyExit> {
        match self.gate.read_item(address, reader, "resolve", false).await {
            Ok(read) if read.seen.kind == ItemKind::Pull => Ok(None),
            Ok(read) => Ok(Some(read.seen)),
            Err(unread) if unread.is_hidden() => Ok(None),
            Err(_) => Err(self.cannot_read("an issue")),
        }
    }
}
