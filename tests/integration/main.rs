//! Integration tests: one binary.

mod audit;
mod config;
mod conformance;
mod deploy;
