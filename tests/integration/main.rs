//! Integration tests: one binary.

mod audit;
mod claims;
mod config;
mod conformance;
mod crash;
mod deploy;
mod e2e;
mod edge_admin;
mod edge_git;
mod edge_h2;
mod edge_head;
mod edge_server;
mod edge_sink;
mod edge_stream;
mod edge_support;
mod edge_tls;
mod edge_upstream;
mod edge_vectors;
mod edge_wire;
mod ledgers;
mod properties;
mod protocol;
mod restart;
mod support;
mod tidy;
mod watching;
