//! Integration tests: one binary.

mod config;
mod conformance;
mod deploy;
mod edge_admin;
mod edge_git;
mod edge_head;
mod edge_server;
mod edge_stream;
mod edge_support;
mod edge_tls;
mod edge_upstream;
mod protocol;
mod support;
mod tidy;
