//! What an operator can set of how the gate speaks to GitHub and to its clients.

use crate::model::Code;
use http::StatusCode;

/// By which status a final refusal is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 409, with the shape of any error of GitHub's.
    #[default]
    Conflict,
    /// 422, with the shape of a failed validation: the bundled `octokit` repeats a 409 for 14 s.
    Unprocessable,
}

// === impl RefusalStatus ===

impl RefusalStatus {
    /// The status of this refusal.
    pub fn of(self, code: Code) -> StatusCode {
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::CONFLICT);
        match self {
            Self::Unprocessable if status == StatusCode::CONFLICT => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict | Self::Unprocessable => status,
        }
    }
}
