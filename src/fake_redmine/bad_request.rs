//! What no reader can make anything of.

/// The request cannot be read: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadRequest;
