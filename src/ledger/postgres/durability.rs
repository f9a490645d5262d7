//! Whether a database keeps what it acknowledges. Checked on each connection, not assumed.

use super::lineage::Lineage;

/// What an operator asks of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Where a commit must be.
    pub durability: Durability,
    /// The operator has accepted that acknowledged claims may be lost.
    pub accept_loss: bool,
}

/// Where a commit must be before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On the server's disk where there is no standby; where there are some, each must be synchronous.
    #[default]
    AsFound,
    /// On the server's disk; what standbys there are is the operator's own concern.
    Disk,
    /// On one synchronous standby at least.
    Standby,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerFacts {
    pub(super) in_recovery: bool,
    pub(super) fsync: bool,
    pub(super) full_page_writes: bool,
    /// `server_version_num`.
    pub(super) version: i32,
    pub(super) encoding: String,
    /// Which cluster, and which of its lines of history.
    pub(super) lineage: Lineage,
    pub(super) standbys: Standbys,
}

/// Of those that are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standbys {
    pub(super) all: i64,
    pub(super) synchronous: i64,
    /// Of whom this role may not see what they are.
    pub(super) unknown: i64,
}

/// Why a server is no ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It takes no writes.
    #[error("the server is a standby: ledger.url must lead to the primary")]
    Standby,
    /// Too old.
    #[error("the server is PostgreSQL {0}; the ledger needs 14 or newer")]
    Old(i32),
    /// Texts would not read back.
    #[error("the database's encoding is {0}: create it with ENCODING 'UTF8'")]
    Encoding(String),
    /// It may lose what it has acknowledged.
    #[error(
        "{0}, so that acknowledged claims may be lost: {1}, or set ledger.accept_loss = true where that loss is accepted"
    )]
    Loses(String, &'static str),
}

// === impl Demands ===

impl Demands {
    /// Whether this server will do. What is accepted in writing is told as a warning by who calls this.
    pub(super) fn judge(self, facts: &ServerFacts) -> Result<(), Unfit> {
        if facts.in_recovery {
            return Err(Unfit::Standby);
        }
        if facts.version < 140_000 {
            return Err(Unfit::Old(facts.version / 10_000));
        }
        if facts.encoding != "UTF8" {
            return Err(Unfit::Encoding(facts.encoding.clone()));
        }
        match self.loss(facts) {
            Some(unfit) if !self.accept_loss => Err(unfit),
            _ => Ok(()),
        }
    }

    /// By what acknowledged commits may be lost, accepted or not.
    pub(super) fn loss(self, facts: &ServerFacts) -> Option<Unfit> {
        let loses = |what: &str, cure| Some(Unfit::Loses(what.to_owned(), cure));
        if !facts.fsync {
            return loses("the server has fsync = off", "switch it on");
        }
        if !facts.full_page_writes {
            return loses("the server has full_page_writes = off", "switch it on");
        }
        let Standbys { all, synchronous, unknown } = facts.standbys;
        match self.durability {
            Durability::AsFound if unknown > 0 => {
                loses("the role may not see what the standbys are", "GRANT pg_monitor to it")
            }
            Durability::AsFound if all > synchronous => loses(
                "a standby is not synchronous",
                "name it in synchronous_standby_names, or set ledger.durability = \"disk\" if it is never promoted",
            ),
            Durability::Standby if synchronous == 0 => {
                loses("no synchronous standby is connected", "start one, and name it in synchronous_standby_names")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            in_recovery: false,
            fsync: true,
            full_page_writes: true,
            version: 150_018,
            encoding: "UTF8".to_owned(),
            lineage: Lineage::default(),
            standbys: Standbys::default(),
        }
    }

    fn with(all: i64, synchronous: i64, unknown: i64) -> ServerFacts {
        ServerFacts { standbys: Standbys { all, synchronous, unknown }, ..facts() }
    }

    #[test]
    fn a_server_that_may_lose_what_it_acknowledged_is_refused_unless_that_is_accepted() {
        use Durability::{AsFound, Disk, Standby};
        for (case, facts, durability, fit) in [
            ("one disk", facts(), AsFound, true),
            ("fsync off", ServerFacts { fsync: false, ..facts() }, Disk, false),
            ("full_page_writes off", ServerFacts { full_page_writes: false, ..facts() }, Disk, false),
            ("a synchronous standby", with(1, 1, 0), AsFound, true),
            ("an asynchronous one", with(1, 0, 0), AsFound, false),
            ("one of each", with(2, 1, 0), AsFound, false),
            ("nobody knows", with(1, 0, 1), AsFound, false),
            ("an asynchronous one for reports", with(1, 0, 0), Disk, true),
            ("a standby is asked for and there is none", facts(), Standby, false),
            ("a standby is asked for and there is one", with(2, 1, 0), Standby, true),
        ] {
            let demands = Demands { durability, accept_loss: false };
            assert_eq!(demands.judge(&facts).is_ok(), fit, "{case}");
            assert!(Demands { accept_loss: true, ..demands }.judge(&facts).is_ok(), "{case}");
        }
    }

    #[test]
    fn what_cannot_be_a_ledger_is_refused_whatever_is_accepted() {
        let demands = Demands { durability: Durability::Disk, accept_loss: true };
        for unfit in [
            ServerFacts { in_recovery: true, ..facts() },
            ServerFacts { version: 130_011, ..facts() },
            ServerFacts { encoding: "LATIN1".to_owned(), ..facts() },
        ] {
            assert!(demands.judge(&unfit).is_err(), "{unfit:?}");
        }
    }
}
