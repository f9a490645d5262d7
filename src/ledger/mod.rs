//! The ledgers: in memory, and one SQLite file.
//!
//! Both run the same pure transaction over the rows that a batch needs
//! (`transaction.rs`); they differ only in what keeps the result. A shared
//! PostgreSQL ledger will be a third file here and pass the same contract suite.

mod book;
mod codec;
mod leases;
mod lines;
mod memory;
mod sqlite;
mod transaction;

#[doc(hidden)]
pub use codec::reread as reread_stored;
pub use memory::{Flaw, MemoryLedger, MemoryStore};
pub use sqlite::{LedgerFile, OpenError, Retention, SqliteLedger, SqliteOptions};
