//! Who edited an item, as far as its tracker remembers.

use super::{Account, Status};
use std::fmt;

/// What one edit did to the guarded fields of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    /// It assigned this account.
    Assigned(Account),
    /// It took the item from this one.
    Unassigned(Account),
    /// It added this label.
    Labelled(Status),
    /// It removed this one.
    Unlabelled(Status),
    /// It closed the item.
    Closed,
    /// It opened the item again.
    Reopened,
}

/// One edit that the tracker remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Rises from one entry of an item to the next.
    pub id: u64,
    /// Who made the edit.
    pub by: Account,
    /// The edit.
    pub edit: Edit,
}

/// Edits that one account made at once, for a person to read: `reassigned to bob, label todo removed`.
pub struct EditsInWords<'a>(pub &'a [Edit]);

// === impl Edit ===

impl Edit {
    /// Whether both are about the same: one assignee, one label, or whether the item is open.
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Assigned(one) | Self::Unassigned(one), Self::Assigned(other) | Self::Unassigned(other)) => {
                one == other
            }
            (Self::Labelled(one) | Self::Unlabelled(one), Self::Labelled(other) | Self::Unlabelled(other)) => {
                one == other
            }
            (Self::Closed | Self::Reopened, Self::Closed | Self::Reopened) => true,
            _ => false,
        }
    }
}

// === impl EditsInWords ===

impl fmt::Display for EditsInWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logins = |of: fn(&Edit) -> Option<&Account>| {
            self.0.iter().filter_map(of).map(Account::as_str).collect::<Vec<_>>().join(", ")
        };
        let to = logins(|edit| if let Edit::Assigned(login) = edit { Some(login) } else { None });
        let from = logins(|edit| if let Edit::Unassigned(login) = edit { Some(login) } else { None });
        let assignees = match (from.is_empty(), to.is_empty()) {
            (true, true) => None,
            (true, false) => Some(format!("assigned to {to}")),
            (false, true) => Some(format!("{from} unassigned")),
            (false, false) => Some(format!("reassigned to {to}")),
        };
        let rest = self.0.iter().filter_map(|edit| match edit {
            Edit::Assigned(_) | Edit::Unassigned(_) => None,
            Edit::Labelled(label) => Some(format!("label {} added", label.as_str())),
            Edit::Unlabelled(label) => Some(format!("label {} removed", label.as_str())),
            Edit::Closed => Some("closed".to_owned()),
            Edit::Reopened => Some("opened again".to_owned()),
        });
        f.write_str(&assignees.into_iter().chain(rest).collect::<Vec<_>>().join(", "))
    }
}
