//! What the rules over agents rest on: who is at work where, and which items an account has.

use super::super::super::transaction::LeaseName;
use super::{Store, codec, json, stored};
use crate::effect::{Held, LedgerError};
use crate::model::{ItemRecord, Principal, Project, ProjectLease, ResourceKey, Time};
use rusqlite::{Row, params};
use std::collections::BTreeMap;

/// Version 5 of the schema. Of the holder an item row has text for people; what it is found by is computed from the holding itself, so that the
/// two cannot differ.
pub(super) const SCHEMA: &str = "
    CREATE TABLE singleton(
        rule TEXT NOT NULL, project TEXT NOT NULL, actor TEXT NOT NULL, since INTEGER NOT NULL, seen INTEGER NOT NULL,
        until INTEGER NOT NULL, PRIMARY KEY (rule, project)) STRICT, WITHOUT ROWID;
    ALTER TABLE item ADD COLUMN account TEXT GENERATED ALWAYS AS (coalesce(
        lower(json_extract(holding, '$.actor.login')), 'credential:' || json_extract(holding, '$.actor.credential')))
        VIRTUAL;
    CREATE INDEX item_account ON item(account) WHERE account IS NOT NULL;
";

impl Store {
    /// Items that the account holds, all in doubt, and those that a write of it which is sent would make it hold.
    pub(in crate::ledger) fn of_account(&self, account: &Principal) -> Result<Vec<ItemRecord>, LedgerError> {
        let sql = "SELECT key FROM item WHERE account = ?1
                   UNION SELECT key FROM item WHERE doubt_until IS NOT NULL
                   UNION SELECT key FROM live WHERE ?1 = coalesce(
                       lower(json_extract(ownership, '$.login')),
                       'credential:' || json_extract(ownership, '$.credential'))";
        let keys = self.rows(sql, [column(account)], |row| Ok(ResourceKey::new(&row.get::<_, String>(0)?)))?;
        keys.iter().filter_map(|key| self.item(key).transpose()).collect()
    }

    /// Held items in the order of the index by account.
    pub(in crate::ledger) fn held_after(
        &self,
        last: Option<&Held>,
        limit: usize,
    ) -> Result<Vec<ItemRecord>, LedgerError> {
        let (account, key) = last.map_or((String::new(), ""), |last| (column(&last.account), last.key.as_str()));
        let which = "account IS NOT NULL AND (account, key) > (?1, ?2) ORDER BY account, key LIMIT ?3";
        self.items(which, params![account, key, stored(limit as u64)])
    }

    pub(in crate::ledger) fn leases(&self) -> Result<Vec<ProjectLease>, LedgerError> {
        self.rows("SELECT rule, project, actor, since, seen, until FROM singleton", [], read_lease)
    }

    pub(in crate::ledger) fn put_leases(
        &self,
        rows: &BTreeMap<LeaseName, Option<ProjectLease>>,
    ) -> Result<(), LedgerError> {
        rows.iter().try_for_each(|((rule, project), lease)| match lease {
            Some(lease) => self.execute(
                "INSERT OR REPLACE INTO singleton VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    lease.rule,
                    lease.project.as_str(),
                    codec::actor(&lease.actor),
                    lease.since.0,
                    lease.seen.0,
                    lease.until.0,
                ],
            ),
            None => {
                self.execute("DELETE FROM singleton WHERE rule = ?1 AND project = ?2", params![rule, project.as_str()])
            }
        })
    }
}

fn read_lease(row: &Row<'_>) -> rusqlite::Result<ProjectLease> {
    Ok(ProjectLease {
        rule: row.get(0)?,
        project: Project::new(&row.get::<_, String>(1)?),
        actor: json(&row.get::<_, String>(2)?, codec::read_actor)?,
        since: Time(row.get(3)?),
        seen: Time(row.get(4)?),
        until: Time(row.get(5)?),
    })
}

/// As the column spells it; logins are compared without regard to case.
fn column(account: &Principal) -> String {
    match account {
        Principal::Named(login) => login.as_str().to_ascii_lowercase(),
        Principal::Opaque(print) => format!("credential:{}", print.as_str()),
    }
}
