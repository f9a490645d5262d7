//! The fuzz targets as plain functions; each program in `bin` gives one of them to libFuzzer.

pub mod targets;
