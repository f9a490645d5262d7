//! claimgate.
pub mod dialect;
pub mod model;
