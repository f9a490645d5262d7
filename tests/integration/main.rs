//! Integration tests: one binary.

mod config;
mod conformance;
mod deploy;
mod protocol;
mod support;
