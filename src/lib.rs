//! claimgate.
pub mod admission;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dialect;
pub mod effect;
pub mod fake_forge;
pub mod gate;
pub mod identity;
pub mod ledger;
pub mod model;
pub mod telemetry;
