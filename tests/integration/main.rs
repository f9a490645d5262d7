//! Integration tests: one binary.

mod audit;
mod claims;
mod config;
mod conformance;
mod corpus;
mod crash;
mod deploy;
mod e2e;
mod edge_admin;
mod edge_git;
mod edge_head;
mod edge_held;
mod edge_server;
mod edge_stream;
mod edge_support;
mod edge_tls;
mod edge_upstream;
mod ledgers;
mod properties;
mod protocol;
mod restart;
mod shapes;
mod subpath;
mod support;
mod tidy;
mod watching;
