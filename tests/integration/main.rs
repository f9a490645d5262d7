//! Integration tests: one binary.

mod config;
mod conformance;
mod deploy;
mod ledgers;
mod properties;
mod protocol;
mod support;
