//! A guarded call of the API, once understood: enough to judge it, and to write it anew.

use super::super::json::Member;
use super::super::{Address, Chosen};
use super::write::{Scope, WriteForm};
use crate::model::{Change, SetChange, Snapshot, Tag, TagRef};
use std::collections::BTreeSet;
use std::fmt;

/// A guarded call.
#[derive(Clone)]
pub struct ApiWrite {
    /// What it is about.
    pub(super) scope: Scope,
    /// The guarded fields that it changes.
    pub(super) change: Change,
    pub(super) form: WriteForm,
    /// The members of the body that are not guarded, verbatim.
    pub(super) rest: Vec<Member>,
}

impl ApiWrite {
    /// A call of the gate's own: this change of an item, and nothing else.
    pub(super) fn of(address: &Address, form: WriteForm, change: Change) -> Self {
        Self { scope: Scope::Item(address.clone()), change, form, rest: Vec::new() }
    }

    /// The same call for the item's present place, after a followed redirect.
    pub(super) fn at(&self, address: &Address) -> Self {
        match &self.scope {
            Scope::Item(asked) if asked.locator() == address.locator() => self.clone(),
            Scope::Item(asked) => {
                let scope = Scope::Item(Address { kind: asked.kind, ..address.clone() });
                Self { scope, ..self.clone() }
            }
            Scope::Create(asked) => {
                let project = address.project().unwrap_or(asked).clone();
                Self { scope: Scope::Create(project), ..self.clone() }
            }
        }
    }

    /// As it is sent for this item: where that is now, with the change that is left of it, and with labels that every
    /// version of the tracker takes for the same.
    pub(super) fn written_for(&self, item: &Chosen<'_>) -> Self {
        let placed = item.address.map_or_else(|| self.clone(), |address| self.at(address));
        let write = Self { change: item.change.clone(), ..placed };
        match item.seen {
            Some(seen) => write.spelled_out_for(seen, item.labels),
            None => write,
        }
    }

    fn spelled_out_for(self, seen: &Snapshot, known: &[Tag]) -> Self {
        let labels = || seen.labels.iter().chain(known);
        let Some(SetChange::Remove(gone)) = self.change.labels.clone() else { return self.with_label_ids(labels()) };
        // A number in a path is a name first (Forgejo from 13).
        let taken_for_it = |label: &Tag| gone.iter().any(|wanted| wanted.is_shadowed_by(label));
        match self.form {
            WriteForm::LeaveOtherLabels => self.leaving_others(seen, &gone),
            WriteForm::DropLabel if labels().any(taken_for_it) => self.leaving_others(seen, &gone),
            _ => self,
        }
    }

    /// The removal of these labels, as the set of those that stay: a body's numbers are ids everywhere.
    fn leaving_others(mut self, seen: &Snapshot, gone: &BTreeSet<TagRef>) -> Self {
        let stays = |label: &&Tag| !gone.iter().any(|gone| gone.names(label));
        let rest = seen.labels.iter().filter(stays).map(Tag::to_ref).collect();
        self.change.labels = Some(SetChange::Replace(rest));
        self.form = WriteForm::ReplaceLabels;
        self
    }

    /// With the labels to be there named by id, where all of them are known: a tracker looks names up in its own way, and
    /// drops those of an organisation (Forgejo 8 and 9); ids and names together it takes in no one way.
    fn with_label_ids<'a>(mut self, known: impl Iterator<Item = &'a Tag> + Clone) -> Self {
        if let Some(SetChange::Add(refs) | SetChange::Replace(refs)) = &mut self.change.labels {
            let is_named = |label: &Tag| refs.contains(&TagRef::Name(label.name.clone()));
            let ids: BTreeSet<TagRef> =
                known.filter(|label| label.id.is_some() && is_named(label)).map(Tag::to_ref).collect();
            if ids.len() >= refs.len() {
                *refs = ids;
            }
        }
        self
    }
}

impl fmt::Debug for ApiWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiWrite")
            .field("scope", &self.scope)
            .field("form", &self.form)
            .field("change", &self.change)
            .field("rest", &self.rest)
            .finish()
    }
}
