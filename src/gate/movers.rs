//! Who moved an item last, so that whoever comes too late is told who was first.
//!
//! A move that anybody may make leaves no holder. Nothing is decided by this: it is a part of a sentence, and forgotten when
//! the gate ends or the item stands elsewhere.

use crate::model::{Actor, ResourceKey, Status, Time};
use moka::sync::Cache;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The last moves that were carried out.
#[derive(Debug)]
pub(super) struct Movers(Cache<ResourceKey, LastMove>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct LastMove {
    actor: Actor,
    at: Time,
    to: BTreeSet<Status>,
}

const MOST_ITEMS: u64 = 50_000;
const KEPT: Duration = Duration::from_hours(24);

// === impl Movers ===

impl Default for Movers {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST_ITEMS).time_to_live(KEPT).build())
    }
}

impl Movers {
    /// The item stands there now, by this agent's move.
    pub(super) fn remember(&self, key: &ResourceKey, (actor, at): (&Actor, Time), to: BTreeSet<Status>) {
        self.0.insert(key.clone(), LastMove { actor: actor.clone(), at, to });
    }

    /// Who moved the item to where it stands.
    pub(super) fn to(&self, key: &ResourceKey, stands: &BTreeSet<Status>) -> Option<LastMove> {
        self.0.get(key).filter(|last| last.to == *stands)
    }
}

/// As the end of a sentence.
impl fmt::Display for LastMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} moved it there at {}", self.actor, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Account, Principal};

    #[test]
    fn a_move_is_told_while_the_item_stands_there() {
        let (movers, key) = (Movers::default(), ResourceKey::new("7"));
        let actor = Actor { account: Principal::Named(Account::new("ann")), instance: None };
        let [todo, done] = ["todo", "done"].map(|name| BTreeSet::from([Status::new(name)]));
        movers.remember(&key, (&actor, Time(0)), todo.clone());
        let told = movers.to(&key, &todo).map(|last| last.to_string());
        assert_eq!(told.as_deref().map(|text| text.starts_with("ann moved it there at")), Some(true), "{told:?}");
        assert!(movers.to(&key, &done).is_none() && movers.to(&ResourceKey::new("8"), &todo).is_none());
    }
}
