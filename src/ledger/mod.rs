//! The ledgers: in memory, and one SQLite file.
//!
//! Both run the same pure transitions over an item's record (`book.rs`); they
//! differ only in what keeps the result. A shared PostgreSQL ledger will be a
//! third file here and pass the same contract suite.

mod book;
mod codec;
mod memory;
mod once;
mod sqlite;
mod tenures;

#[doc(hidden)]
pub use codec::reread as reread_stored;
pub use memory::{Flaw, MemoryLedger, MemoryStore};
pub use sqlite::{LedgerFile, OpenError, Retention, SqliteLedger, SqliteOptions};
