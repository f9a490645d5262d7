//! The ledgers: in memory, one SQLite file, and a PostgreSQL that several gates share.
//!
//! All run the same pure transaction over the rows that a batch needs
//! (`transaction.rs`); they differ only in what keeps the result. All pass one
//! contract suite.

mod codec;
mod leases;
mod lines;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod recent;
mod record_cache;
mod sqlite;
mod transaction;

#[doc(hidden)]
pub use codec::reread as reread_stored;
pub use memory::{Flaw, MemoryLedger, MemoryStore};
#[cfg(feature = "postgres")]
pub use postgres::{
    Demands, GateMember, GateName, ImportError, Imported, OpenError as PostgresOpenError, PostgresLedger,
    PostgresOptions, RequiredDurability, SharedLedger, Unfit, UrlError,
};
pub use sqlite::{LedgerFile, OpenError, Retention, SqliteLedger, SqliteOptions};
