//! claimgate.
pub mod model;
