//! Redmine: a real one where the machine has it (`tests/redmine/up install`), and the fake one everywhere.

mod classified;
mod conformance;
mod flows;
mod gate;
mod races;
mod real;
mod recorded;
mod shapes;
