//! claimgate.

pub mod effect;
pub mod proxy;
pub mod server;
pub mod upstream;
