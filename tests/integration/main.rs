//! Integration tests: one binary.

mod config;
mod conformance;
mod deploy;
mod properties;
mod protocol;
mod support;
