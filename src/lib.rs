//! claimgate.

pub mod fake_forge;
