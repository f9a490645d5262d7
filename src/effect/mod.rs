//! Ports: what the gate asks of the world, without saying who answers.

pub mod upstream;
