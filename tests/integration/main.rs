//! Integration tests: one binary.

#[macro_use]
mod generations;

mod activation;
mod audit;
mod claims;
mod claims_api;
mod config;
mod conformance;
mod corpus;
mod crash;
mod deploy;
mod documented;
mod e2e;
mod edge_admin;
mod edge_front;
mod edge_git;
mod edge_h2;
mod edge_head;
mod edge_held;
mod edge_odd;
mod edge_server;
mod edge_sink;
mod edge_stream;
mod edge_support;
mod edge_tls;
mod edge_upstream;
mod edge_vectors;
mod edge_wire;
mod exposure;
mod floods;
mod ledgers;
mod load;
mod operating;
mod operators;
mod properties;
mod protocol;
mod readers;
mod restart;
mod rulebook;
mod shapes;
mod subpath;
mod support;
mod tidy;
mod watching;
mod witness;
