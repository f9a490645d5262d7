//! Who made an edit that the gate found: by what the tracker remembers of it.
//!
//! The newest entry about a field must be the very edit, else nobody is named: what leaves no entry, such as an account
//! that loses its access, must not be laid at the door of whoever made the same edit before.

use crate::model::{Account, Edit, OpenState, Shown, TimelineEntry};
use std::collections::BTreeMap;

/// The authors of what is different, each with what it did. What nobody is known for is left out.
pub fn authors(before: &Shown, after: &Shown, timeline: &[TimelineEntry]) -> BTreeMap<Account, Vec<Edit>> {
    let mut authors = BTreeMap::<Account, Vec<Edit>>::new();
    for edit in edits(before, after) {
        let newest = timeline.iter().filter(|entry| entry.edit.is_about_the_same(&edit)).max_by_key(|entry| entry.id);
        if let Some(entry) = newest.filter(|entry| entry.edit == edit) {
            authors.entry(entry.by.clone()).or_default().push(edit);
        }
    }
    authors
}

/// What leads from one to the other.
fn edits(before: &Shown, after: &Shown) -> Vec<Edit> {
    let mut edits = Vec::new();
    edits.extend(before.assignees.difference(&after.assignees).cloned().map(Edit::Unassigned));
    edits.extend(after.assignees.difference(&before.assignees).cloned().map(Edit::Assigned));
    edits.extend(before.statuses.difference(&after.statuses).cloned().map(Edit::Unlabelled));
    edits.extend(after.statuses.difference(&before.statuses).cloned().map(Edit::Labelled));
    if before.state != after.state {
        edits.push(if after.state == OpenState::Closed { Edit::Closed } else { Edit::Reopened });
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EditsInWords, Status};

    fn shown(assignees: &[&str], statuses: &[&str], state: OpenState) -> Shown {
        Shown {
            assignees: assignees.iter().map(|name| Account::new(name)).collect(),
            statuses: statuses.iter().map(|name| Status::new(name)).collect(),
            state,
        }
    }

    fn login(name: &str) -> Account {
        Account::new(name)
    }

    /// Entries in their order.
    fn timeline(entries: &[(&str, Edit)]) -> Vec<TimelineEntry> {
        let numbered = (1..).zip(entries);
        numbered.map(|(id, (by, edit))| TimelineEntry { id, by: login(by), edit: edit.clone() }).collect()
    }

    #[test]
    fn the_newest_entry_about_a_field_names_its_author() {
        let todo = || Status::new("todo");
        let before = shown(&["ann"], &["todo"], OpenState::Open);
        let after = shown(&["cid"], &[], OpenState::Closed);
        let entries = [
            ("ann", Edit::Assigned(login("ann"))),
            ("zoe", Edit::Labelled(todo())),
            ("bob", Edit::Unassigned(login("ann"))),
            ("bob", Edit::Assigned(login("cid"))),
            ("bob", Edit::Unlabelled(todo())),
            ("eve", Edit::Reopened),
            ("eve", Edit::Closed),
        ];
        let mut entries = timeline(&entries);
        // In whichever order they are told.
        entries.reverse();
        let told: Vec<String> = authors(&before, &after, &entries)
            .into_iter()
            .map(|(by, edits)| format!("{} by {by}", EditsInWords(&edits)))
            .collect();
        assert_eq!(told, ["reassigned to cid, label todo removed by bob", "closed by eve"]);
    }

    #[test]
    fn what_left_no_entry_is_nobodys() {
        let (before, after) = (shown(&["ann"], &[], OpenState::Open), shown(&[], &[], OpenState::Open));
        let entries = timeline(&[
            ("bob", Edit::Unassigned(login("ann"))),
            ("ann", Edit::Assigned(login("ann"))),
            ("zoe", Edit::Unassigned(login("cid"))),
        ]);
        assert_eq!(authors(&before, &after, &entries), BTreeMap::new());
        assert_eq!(authors(&before, &before, &entries), BTreeMap::new());
    }

    #[test]
    fn edits_read_as_words() {
        for (edits, words) in [
            (vec![Edit::Assigned(login("a")), Edit::Assigned(login("b"))], "assigned to a, b"),
            (vec![Edit::Unassigned(login("a")), Edit::Labelled(Status::new("done"))], "a unassigned, label done added"),
            (vec![Edit::Reopened], "opened again"),
        ] {
            assert_eq!(EditsInWords(&edits).to_string(), words);
        }
    }
}
