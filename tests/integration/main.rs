//! Integration tests: one binary.

mod config;
mod conformance;
mod deploy;
