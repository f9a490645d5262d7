//! Named points of the guarded section at which a crash test kills the process.
//!
//! `CLAIMGATE_FAILPOINT=name:n` ends the process with SIGKILL the n-th time that the point is reached: no destructor
//! runs, nothing is flushed. Without the variable a point costs one load. Every name is in [`NAMES`], so that a sweep
//! can reach them all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct CrashPlan {
    name: String,
    left: AtomicU64,
}

static PLAN: OnceLock<Option<CrashPlan>> = OnceLock::new();

/// Every point, in the order of the walk.
pub const NAMES: &[&str] = &[
    "t1.before",
    "t1.after",
    "observed",
    "reconciled",
    "t2.before",
    "t2.after",
    "answered",
    "read-back",
    "t3.before",
    "t3.after",
    "commit.before",
    "commit.after",
];

/// The walk is here.
pub fn reach(name: &'static str) {
    debug_assert!(NAMES.contains(&name), "{name} is not listed");
    let Some(plan) = PLAN.get_or_init(planned) else { return };
    if plan.name == name && plan.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}

fn planned() -> Option<CrashPlan> {
    let text = std::env::var("CLAIMGATE_FAILPOINT").ok()?;
    let (name, count) = text.split_once(':')?;
    Some(CrashPlan { name: name.to_owned(), left: AtomicU64::new(count.parse().ok()?) })
}
