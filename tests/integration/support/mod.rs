//! A gate without sockets, on virtual time: everything around it is simulated, and everything in it is real.
//!
//! [`World`] is a forge, agents, and one gate over a ledger that outlives it, or several that share one. A test says who does what
//! (`world.claim("dev-1", 1).await.wins()`), sets traps (`world.trap(Moment::BeforeSend, Trap::Crash)`), and looks
//! at the forge, at the ledger, and at what each client was told.

pub mod database_proxy;
mod life;
pub mod postgres;
mod told;
mod upstream;
mod world;

pub use life::{Moment, Trap};
pub use told::Told;
pub use upstream::SimUpstream;
pub use world::{Bug, Q, REPO, Setup, WRITE_TIMEOUT, World, address_of, at_gate, label_id, number};
