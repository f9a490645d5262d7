//! claimgate.
