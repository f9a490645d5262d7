//! What every rule says beside what it is about: whether it refuses, and for whom it does not.

/// Whether a rule refuses, or only records what it would have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse.
    Enforce,
    /// Decide, record, keep holdings, refuse nothing.
    Observe,
}

/// Who may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The holder, or an overrider.
    Holder,
    /// Anyone.
    Anyone,
}

impl Mode {
    /// As the configuration and the command line spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }

    /// The reverse.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enforce, Self::Observe].into_iter().find(|mode| mode.as_str() == text)
    }
}
