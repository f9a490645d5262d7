//! One line: its bytes, its hash, its members and their types.
//!
//! A line begins `{"seq":N,"prev_hash":"…","hash":"…",`. Its hash is SHA-256 over its bytes without the member `hash`.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt;

/// The members that are checked; a null where there is an `Option`, and never left out.
#[derive(Debug, Deserialize)]
pub(super) struct CheckedLine {
    pub(super) seq: u64,
    pub(super) prev_hash: String,
    pub(super) hash: String,
    #[serde(deserialize_with = "time")]
    pub(super) time: jiff::Timestamp,
    pub(super) id: String,
    pub(super) kind: LineKind,
    #[serde(deserialize_with = "present")]
    pub(super) decision: Option<Decision>,
    #[serde(deserialize_with = "present")]
    pub(super) code: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) resource: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) resource_id: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) agent: Option<AgentName>,
    #[serde(deserialize_with = "present")]
    pub(super) intent: Option<Intent>,
    #[serde(deserialize_with = "present")]
    pub(super) authority: Option<Authority>,
    pub(super) change: String,
    #[serde(rename = "expected")]
    _expected: String,
    #[serde(deserialize_with = "present")]
    pub(super) observed: Option<ObservedFields>,
    #[serde(deserialize_with = "present")]
    pub(super) result: Option<AttemptResult>,
    #[serde(rename = "upstream_status", deserialize_with = "present")]
    _upstream_status: Option<u16>,
    #[serde(deserialize_with = "present")]
    pub(super) fence: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub(super) holder: Option<AgentName>,
    #[serde(deserialize_with = "present")]
    pub(super) parked: Option<bool>,
    #[serde(deserialize_with = "time_or_null")]
    pub(super) holding_since: Option<jiff::Timestamp>,
    #[serde(rename = "waited_ms")]
    _waited_ms: f64,
    #[serde(rename = "took_ms")]
    _took_ms: f64,
    #[serde(rename = "method")]
    _method: String,
    #[serde(rename = "path")]
    _path: String,
    #[serde(rename = "client", deserialize_with = "present")]
    _client: Option<String>,
    #[serde(rename = "request_id", deserialize_with = "present")]
    _request_id: Option<String>,
    #[serde(rename = "reason", deserialize_with = "present")]
    _reason: Option<String>,
    pub(super) gate: String,
}

/// Who acts or holds.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AgentName {
    pub(super) account: String,
    #[serde(deserialize_with = "present")]
    pub(super) instance: Option<String>,
    #[serde(rename = "credential", default)]
    _credential: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ObservedFields {
    #[serde(rename = "assignees")]
    _assignees: Vec<String>,
    #[serde(rename = "status")]
    _status: Vec<String>,
    pub(super) state: OpenState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OpenState {
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LineKind {
    Decision,
    Revoked,
    Contested,
    Landed,
    NotLanded,
    Recovered,
    Operator,
    Rebound,
    TakenOver,
    Finished,
    Gone,
    /// Of something that may be created once.
    Once,
    /// Who made an edit, as the tracker remembers.
    Author,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    Admit,
    Noop,
    Reject,
    Observe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Intent {
    Claim,
    Release,
    HandOver,
    Move,
    Adopt,
    TakeOver,
    Create,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Authority {
    Overrider,
    Anyone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AttemptResult {
    Rejected,
    Aborted,
    Committed,
    Refused,
    Partial,
    Doubt,
    Landed,
    NotLanded,
}

/// Reads a line, or says why it is none. The hash is checked apart.
pub(super) fn parse(bytes: &[u8]) -> Result<CheckedLine, String> {
    if bytes.is_empty() {
        return Err("the line is empty".to_owned());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    NamedOnce
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| format!("not one object: {error}"))?;
    serde_json::from_slice(bytes).map_err(|error| format!("not an audit line: {error}"))
}

/// What is wrong with the line's hash, if anything.
pub(super) fn check_hash(bytes: &[u8], line: &CheckedLine) -> Option<&'static str> {
    match hash(bytes) {
        None => Some("it does not begin with seq, prev_hash and hash in their form"),
        Some(ours) if ours != line.hash => Some("its hash is not the hash of its bytes: it was changed"),
        Some(_) => None,
    }
}

/// SHA-256 over the bytes with the member `hash` cut out; nothing if the line does not begin as it must.
fn hash(bytes: &[u8]) -> Option<String> {
    let digits = bytes.strip_prefix(b"{\"seq\":")?;
    let number = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let after_prev = member(digits.get(number..)?, b",\"prev_hash\":\"")?;
    let after_hash = member(after_prev, b",\"hash\":\"")?;
    let head = &bytes[..bytes.len() - after_prev.len()];
    let digest = Sha256::new().chain_update(head).chain_update(after_hash).finalize();
    Some(format!("{digest:x}"))
}

/// What follows a member with 64 hexadecimal digits as its value.
fn member<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = bytes.strip_prefix(name)?;
    let (hex, rest) = (value.get(..64)?, value.get(64..)?);
    let plain = hex.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    rest.strip_prefix(b"\"").filter(|rest| plain && rest.first() == Some(&b','))
}

/// RFC 3339 in UTC with microseconds.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<jiff::Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    let plain = text.len() == "2026-01-02T03:04:05.678901Z".len() && text.ends_with('Z');
    let time = text.parse().ok().filter(|_| plain);
    time.ok_or_else(|| D::Error::custom(format_args!("{text:?} is not a time in UTC with microseconds")))
}

fn time_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<jiff::Timestamp>, D::Error> {
    #[derive(Deserialize)]
    struct Time(#[serde(deserialize_with = "time")] jiff::Timestamp);
    Ok(Option::<Time>::deserialize(from)?.map(|Time(time)| time))
}

/// A member that may be null but must be there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

// === impl AgentName ===

impl AgentName {
    /// Stands for an agent that a line does not name.
    pub(super) fn nobody() -> Self {
        Self { account: String::new(), instance: None, _credential: None }
    }

    /// Whether what is this agent's is `other`'s to go on with: the same account and instance; what has no instance goes on
    /// as the first that names one.
    pub(super) fn goes_on_as(&self, other: &Self) -> bool {
        let instance = self.instance.is_none() || self.instance == other.instance;
        instance && self.account.eq_ignore_ascii_case(&other.account)
    }

    /// Whether the two may be one: instances that do not differ where both are named.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        self.goes_on_as(other) || other.goes_on_as(self)
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instance {
            Some(instance) => write!(f, "{} ({instance})", self.account),
            None => f.write_str(&self.account),
        }
    }
}

// === impl CheckedLine ===

impl CheckedLine {
    /// Whether the tracker showed the item closed.
    pub(super) fn shows_closed(&self) -> bool {
        self.observed.as_ref().is_some_and(|seen| seen.state == OpenState::Closed)
    }
}

// === impl Kind, Intent, Outcome ===

impl LineKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Revoked => "revoked",
            Self::Contested => "contested",
            Self::Landed => "landed",
            Self::NotLanded => "not_landed",
            Self::Recovered => "recovered",
            Self::Operator => "operator",
            Self::Rebound => "rebound",
            Self::TakenOver => "taken_over",
            Self::Finished => "finished",
            Self::Gone => "gone",
            Self::Once => "once",
            Self::Author => "author",
        }
    }
}

impl Intent {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Release => "release",
            Self::HandOver => "hand_over",
            Self::Move => "move",
            Self::Adopt => "adopt",
            Self::TakeOver => "take_over",
            Self::Create => "create",
        }
    }

    /// Whether its success says "you hold it".
    pub(super) fn takes(self) -> bool {
        matches!(self, Self::Claim | Self::Adopt | Self::TakeOver | Self::Create)
    }
}

impl AttemptResult {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Aborted => "ABORTED",
            Self::Committed => "COMMITTED",
            Self::Refused => "REFUSED",
            Self::Partial => "PARTIAL",
            Self::Doubt => "DOUBT",
            Self::Landed => "LANDED",
            Self::NotLanded => "NOT_LANDED",
        }
    }

    /// Never sent.
    pub(super) fn is_unsent(self) -> bool {
        matches!(self, Self::Rejected | Self::Aborted)
    }
}

// === members named once ===

/// Walks an object and refuses a member that is named twice, at any depth: two readers could read it in two ways.
struct NamedOnce;

struct Anything;

impl<'de> DeserializeSeed<'de> for NamedOnce {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NamedOnce {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Anything.visit_map(map)
    }
}

impl<'de> DeserializeSeed<'de> for Anything {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("the member {name:?} is named twice")));
            }
            names.insert(name);
            map.next_value_seed(Anything)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Anything)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
