//! claimgate.
pub mod admission;
pub mod dialect;
pub mod effect;
pub mod gate;
pub mod ledger;
pub mod model;
