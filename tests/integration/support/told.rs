//! What a client was told.

use claimgate::dialect::{Dialect, WireResponse};
use claimgate::effect::Decision;
use claimgate::gate::{Answered, Claimed, Reply};
use serde_json::{Value, json};

/// What a client was told; nothing, if its connection ended first.
#[derive(Clone)]
pub struct Told {
    /// The status; 0 where there was no answer.
    pub status: u16,
    /// The code of the header `Claimgate-Decision`; empty where there is none.
    pub code: &'static str,
    /// The decision, where a decision was made.
    pub decision: Option<Decision>,
    /// The decision's name.
    pub id: String,
    /// The body.
    pub body: Value,
}

// === impl Told ===

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {:?} {} {}", self.status, self.code, self.decision, self.id, self.body["message"])
    }
}

impl Told {
    /// The connection ended without an answer.
    pub fn nothing() -> Self {
        Self { status: 0, code: "", decision: None, id: String::new(), body: Value::Null }
    }

    pub fn of(reply: Reply, dialect: &dyn Dialect) -> Self {
        let response = match &reply.answer {
            Answered::Tracker(response) => response.clone(),
            Answered::Refused(rejection) => dialect.reject(rejection, &reply.id),
        };
        let code = reply.code.map_or("", claimgate::model::Code::as_str);
        Self { decision: Some(reply.decision), code, id: reply.id, ..Self::tracker(&response) }
    }

    /// Of a call of the claims API, as the edge puts it into an answer.
    pub fn claimed(claimed: Claimed, dialect: &dyn Dialect) -> Self {
        match claimed {
            Claimed::Granted(grant) => Self {
                status: 201,
                code: grant.code.map_or("", claimgate::model::Code::as_str),
                decision: Some(grant.decision),
                id: grant.id,
                body: json!({ "number": super::number(&grant.resource) }),
            },
            Claimed::Released(reply) => Self { status: 204, ..Self::of(*reply, dialect) },
            Claimed::Nothing => Self { status: 204, ..Self::nothing() },
            Claimed::Ended(reply) => Self::of(*reply, dialect),
        }
    }

    pub fn tracker(response: &WireResponse) -> Self {
        let body = serde_json::from_slice(&response.body).unwrap_or_default();
        Self { status: response.status.as_u16(), body, ..Self::nothing() }
    }

    /// Whether it is a grant.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it leaves the agent's own claim or release uncertain (manual: protocol, the belief rule).
    pub fn is_uncertain(&self) -> bool {
        matches!(self.status, 0 | 503 | 504)
    }

    #[track_caller]
    pub fn wins(self) -> Self {
        assert!(self.is_success(), "expected success: {self:?}");
        self
    }

    /// Success, and nothing was sent.
    #[track_caller]
    pub fn needs_no_write(self) -> Self {
        assert_eq!(self.decision, Some(Decision::Noop), "{self:?}");
        self.wins()
    }

    /// 409 with this code.
    #[track_caller]
    pub fn loses(self, code: &str) -> Self {
        self.is(409, code)
    }

    #[track_caller]
    pub fn is(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code), (status, code), "{self:?}");
        self
    }

    /// No answer at all.
    #[track_caller]
    pub fn heard_nothing(self) -> Self {
        self.is(0, "")
    }

    /// What the body names as the holder.
    pub fn holder(&self) -> Option<&str> {
        self.body["claimgate"]["holder"]["account"].as_str()
    }
}
