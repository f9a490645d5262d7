//! The claim protocol under virtual time: who was told what, what the forge shows, what the ledger says, and when the
//! item is free again (manual: protocol).
//!
//! One file a group: `faults` is the matrix of what can go wrong in one claim, `doubt` what follows a write of unknown
//! outcome, `outside` the edits past the gate, `agents` who counts as whom, `bounds` the rules over agents, `herd` many at
//! once, `long` texts that no answer would hold, `bulk` one request for several items, `once` what may be created once,
//! `creation` new items, `orphans` items in work that nobody holds, `stated` what a client says must hold, `strangers` those who may not read, `crowd` those who
//! ask for too much, `operator` what the operator does, `gates` several gates on one ledger.

mod agents;
mod bounds;
mod bulk;
mod creation;
mod crowd;
mod doubt;
mod faults;
mod finished;
mod gates;
mod gone;
mod herd;
mod liveness;
mod long;
mod once;
mod operator;
mod orphans;
mod outside;
mod silence;
mod stated;
mod strangers;
