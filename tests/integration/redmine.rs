//! Redmine: a real one where the machine has it (`tests/redmine/up install`), and the fake one everywhere.

mod conformance;
mod flows;
mod races;
mod real;
mod recorded;
mod shapes;
