//! What the whole gate promises, through the real binary: claims, races, hang-ups, secrets, restarts.

mod bodies;
mod bounds;
mod demo;
mod drain;
mod echoes;
mod flows;
mod handover;
mod hangups;
mod identity;
mod moves;
mod once;
mod races;
mod readers;
mod refusals;
mod secrets;
mod shadows;
mod stated;
mod ways;
mod web;
