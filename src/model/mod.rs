//! The vocabulary: what the gate talks about, without I/O, serde or http.
//!
//! The manual (words) defines the words. Everything here is a value; decisions
//! over these values live in `admission`, their wire forms in `dialect`, their
//! storage behind the ports of `effect`.

mod actor;
mod attempt;
mod change;
mod digest;
mod holding;
mod item;
mod lease;
mod once;
mod rejection;
mod snapshot;
mod tag;
mod time;
mod timeline;

pub use actor::{Account, Actor, Caller, Fingerprint, Instance, Principal};
pub use attempt::{Attempt, AttemptId, AttemptState, Epoch, GateId, Kind, Ownership, Settled};
pub use change::{Change, Goal, Reach, SetChange, SetGoal};
pub use digest::hex;
pub use holding::{Doubt, Fence, Holding, ItemRecord, Loss, Masked};
pub use item::{ItemKind, LONGEST_NAME, Place, Project, ResourceKey, is_short_name};
pub use lease::ProjectLease;
pub use once::{Existing, Made, OnceEntry, OnceKey, Standing, What};
pub use rejection::{Code, Rejection};
pub use snapshot::{Shown, Snapshot, Status};
pub use tag::{OpenState, Tag, TagId, TagRef};
pub use time::{BootTime, Time};
pub use timeline::{Edit, EditsInWords, TimelineEntry};
