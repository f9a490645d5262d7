//! The end of a gate's chain, and of its own row.

/// What a gate knows of its own row.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    /// Rises with each write of the row.
    pub(super) tick: i64,
    /// The tick of the last group: what a group of which nobody knows whether it was committed is known by.
    pub(super) proof: i64,
    pub(super) seq: u64,
    pub(super) hash: String,
}
