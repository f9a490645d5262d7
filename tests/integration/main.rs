//! Integration tests: one binary.

mod claims;
mod audit;
mod config;
mod conformance;
mod deploy;
mod e2e;
mod edge_admin;
mod edge_git;
mod edge_head;
mod edge_server;
mod edge_stream;
mod edge_support;
mod edge_tls;
mod edge_upstream;
mod properties;
mod protocol;
mod support;
mod tidy;
