//! What becomes of an issue, in the words of the model.
//!
//! Who is at work is the delegate, or else the assignee. A workflow state is the model's label, of which an issue has exactly
//! one, and so are its labels. What follows from the request alone is said so; the rest, from a read.

use super::effects::{IssueDraft, PersonRef};
use super::read::{DELEGATION, STATES, behind};
use crate::model::{Account, Change, OpenState, SetChange, Snapshot, TagId, TagRef};
use std::collections::BTreeSet;

type Refs = BTreeSet<TagRef>;

// === impl IssueDraft ===

impl IssueDraft {
    /// The same issue in two fields of one request: both are to be done.
    pub fn merge(&mut self, other: &Self) -> Result<(), &'static str> {
        fn one<T: Clone + PartialEq>(into: &mut Option<T>, from: Option<&T>) -> Result<(), &'static str> {
            match (into.as_ref(), from) {
                (Some(known), Some(new)) if known != new => Err("is set to two values"),
                (_, Some(new)) => {
                    *into = Some(new.clone());
                    Ok(())
                }
                (_, None) => Ok(()),
            }
        }
        one(&mut self.assignee, other.assignee.as_ref())?;
        one(&mut self.delegate, other.delegate.as_ref())?;
        one(&mut self.state, other.state.as_ref())?;
        one(&mut self.labels, other.labels.as_ref())?;
        one(&mut self.beside, other.beside.as_ref())?;
        self.added.extend(other.added.iter().cloned());
        self.removed.extend(other.removed.iter().cloned());
        self.closes |= other.closes;
        self.edits |= other.edits;
        Ok(())
    }

    /// Whether it changes nothing that is guarded.
    pub fn is_free(&self) -> bool {
        let labels = self.labels.is_none() && self.added.is_empty() && self.removed.is_empty();
        let people = self.assignee.is_none() && self.delegate.is_none();
        people && labels && self.state.is_none() && !self.closes && self.beside.is_none()
    }

    /// The change, where it follows from the request alone: of an issue that nobody has its sender makes its own by either
    /// field; whoever else is assigned may stand behind a delegate.
    pub fn direct(&self, caller: Option<&Account>) -> Option<Change> {
        let own = |id: &str| caller.is_some_and(|caller| caller.as_str().eq_ignore_ascii_case(id));
        let assignees = match (&self.assignee, &self.delegate) {
            (None, None) => None,
            (Some(PersonRef::User(id)), None) | (None, Some(PersonRef::User(id))) if own(id) => Some(id),
            _ => return None,
        };
        if self.labels.is_some() {
            return None;
        }
        let refs = |ids: &[String]| -> Refs { ids.iter().map(|id| by_id(id)).collect() };
        let added: Refs = refs(&self.added).into_iter().chain(self.state.as_deref().map(by_id)).collect();
        let labels = match (added.is_empty(), self.removed.is_empty()) {
            (true, true) => None,
            (false, true) => Some(SetChange::Add(added)),
            (true, false) => Some(SetChange::Remove(refs(&self.removed))),
            (false, false) => return None,
        };
        let assignees = assignees.map(|id| SetChange::Replace([Account::new(id)].into()));
        Some(Change { assignees, labels, state: self.closes.then_some(OpenState::Closed), reviewers: None })
    }

    /// The change of an issue that stands so. `is_app` says of a user whether it is an app: assigned, it is delegated to.
    pub fn spell_out(&self, seen: &Snapshot, is_app: &dyn Fn(&str) -> bool) -> Change {
        let assignees = self
            .holder_after(seen, is_app)
            .map(|holder| SetChange::Replace(holder.id().map(String::as_str).map(Account::new).into_iter().collect()));
        let state = self.closes.then_some(OpenState::Closed);
        Change { assignees, labels: self.labels_after(seen), state, reviewers: None }
    }

    /// Who is at work afterwards, where it says anything of that.
    fn holder_after(&self, seen: &Snapshot, is_app: &dyn Fn(&str) -> bool) -> Option<PersonRef> {
        if self.assignee.is_none() && self.delegate.is_none() {
            return None;
        }
        let at_work = seen.assignees.first().map(|account| account.as_str().to_owned());
        let (mut assignee, mut delegate) = match behind(seen) {
            Some(behind) => (Some(behind.to_owned()).filter(|id| !id.is_empty()), at_work),
            None => (at_work, None),
        };
        match &self.assignee {
            Some(PersonRef::User(id)) if is_app(id) => delegate = Some(id.clone()),
            Some(asked) => assignee = asked.id().cloned(),
            None => {}
        }
        if let Some(asked) = &self.delegate {
            delegate = asked.id().cloned();
        }
        Some(delegate.or(assignee).map_or(PersonRef::Nobody, PersonRef::User))
    }

    fn labels_after(&self, seen: &Snapshot) -> Option<SetChange<TagRef>> {
        let is_label = |tag: &&crate::model::Tag| !matches!(tag.group.as_deref(), Some(STATES | DELEGATION));
        let have: Refs = seen.labels.iter().filter(is_label).map(crate::model::Tag::to_ref).collect();
        let wanted: Option<Refs> = self.labels.as_ref().map(|ids| ids.iter().map(|id| by_id(id)).collect());
        let mut added: Refs = wanted.iter().flat_map(|wanted| wanted.difference(&have)).cloned().collect();
        let mut removed: Refs = wanted.iter().flat_map(|wanted| have.difference(wanted)).cloned().collect();
        added.extend(self.added.iter().chain(&self.state).map(|id| by_id(id)));
        removed.extend(self.removed.iter().map(|id| by_id(id)));
        match (added.is_empty(), removed.is_empty()) {
            (true, true) => None,
            (false, true) => Some(SetChange::Add(added)),
            (true, false) => Some(SetChange::Remove(removed)),
            // All that it carries then: another state takes the place of the one that it has.
            (false, false) => {
                let stays = |tag: &&crate::model::Tag| self.state.is_none() || tag.group.as_deref() != Some(STATES);
                let kept: Refs = seen.labels.iter().filter(stays).map(crate::model::Tag::to_ref).collect();
                Some(SetChange::Replace(kept.union(&added).filter(|tag| !removed.contains(*tag)).cloned().collect()))
            }
        }
    }
}

/// A state or a label.
pub fn by_id(id: &str) -> TagRef {
    TagRef::Id(TagId::Text(id.into()))
}
