//! The audit line: one JSON object a decision, chained by hash.
//!
//! A line is `{"seq":N,"prev_hash":"…","hash":"…",…}`. Its hash is SHA-256 over the
//! line's bytes with the member `hash` left out; `prev_hash` is the hash of the line
//! before. `claimgate audit verify` checks this with code of its own.

use crate::model::{
    Account, Actor, Code, Fence, Fingerprint, Holding, Kind, LONGEST_NAME, Place, ResourceKey, Shown, Status, Time, hex,
};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::time::Duration;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Sent.
    Admit,
    /// Granted, nothing sent.
    Noop,
    /// Refused.
    Reject,
    /// A rule would have refused, but only observes.
    Observe,
}

/// What a line is that no step makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A decision over a request.
    Decision,
    /// What the operator did beside the items.
    Operator,
    /// Who made an edit that an earlier line tells of, or that no line does: its agent, as the tracker remembers.
    Author,
}

/// Why a write may pass the holder of its item by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// A person whom no rule refuses.
    Overrider,
    /// The rules let anyone release (`release_by = "anyone"`).
    Anyone,
}

/// What the edge and the gate know of a decision beside the ledger's record.
#[derive(Clone, Debug)]
pub struct Note {
    /// Names the decision; for an attempt its id.
    pub id: String,
    /// What its line is, where no step says it.
    pub subject: Subject,
    /// What was decided.
    pub decision: Decision,
    /// The reason of a refusal.
    pub code: Option<Code>,
    /// Who asked, where that was found out.
    pub agent: Option<(Actor, Fingerprint)>,
    /// Where the item is.
    pub resource: Option<Place>,
    /// Its immutable id.
    pub resource_id: Option<ResourceKey>,
    /// Why it may pass the holder by, if it may.
    pub authority: Option<Authority>,
    /// What was asked.
    pub change: String,
    /// The source state that had to hold.
    pub expected: String,
    /// What the tracker showed.
    pub observed: Option<Shown>,
    /// The tracker's status.
    pub upstream_status: Option<u16>,
    /// Where no step says it: the item's version, and who held it.
    pub stood: Option<Box<(Fence, Option<Holding>)>>,
    /// For the item's turn.
    pub waited: Duration,
    /// From the request's arrival to this line.
    pub took: Duration,
    /// The request's method.
    pub method: String,
    /// The canonical path, without query.
    pub path: String,
    /// The client's address.
    pub client: Option<String>,
    /// The client's `X-Request-Id`, if any.
    pub request_id: Option<String>,
    /// A word for people: what a refused client is told, the operator's reason, the cause of a revocation.
    pub reason: Option<String>,
}

/// One line before it is numbered and chained.
#[derive(Clone, Debug)]
pub struct Line {
    /// When.
    pub time: Time,
    /// `decision`, `revoked`, `landed`, `not_landed`, `recovered`, `contested`, `operator`, `author`, `rebound`, ….
    pub kind: &'static str,
    /// The decision's or attempt's name.
    pub id: String,
    /// What the attempt means for the holding, once that was decided.
    pub intent: Option<Kind>,
    /// Where the attempt stands after this line.
    pub result: Option<&'static str>,
    /// The item's version after this line.
    pub fence: Option<Fence>,
    /// Who holds the item after this line.
    pub holder: Option<Actor>,
    /// Whether the holder has taken the item out of work, which ends its exclusive right.
    pub parked: Option<bool>,
    /// Since when.
    pub holding_since: Option<Time>,
    /// All else.
    pub note: Note,
    /// The gate.
    pub gate: String,
}

/// The hash before the first line.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The longest line, bytes: whoever is refused without end writes no more than this with each request.
pub const LONGEST_LINE: usize = 16 << 10;
/// So much of a text stands in a line, bytes as JSON writes them.
const LONGEST_TEXT: usize = 1 << 10;
/// So much of all names that a read showed.
const LONGEST_LIST: usize = 1 << 10;
/// What a text that was cut ends with.
const CUT: &str = "…";

// === impl Decision ===

impl Decision {
    /// As the header and the audit spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Noop => "noop",
            Self::Reject => "reject",
            Self::Observe => "observe",
        }
    }
}

// === impl Subject ===

impl Subject {
    /// As the audit spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Operator => "operator",
            Self::Author => "author",
        }
    }
}

// === impl Authority ===

impl Authority {
    /// As the audit spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overrider => "overrider",
            Self::Anyone => "anyone",
        }
    }
}

// === impl Note ===

impl Note {
    /// A line that no request caused.
    pub fn of_gate(id: String, reason: Option<String>) -> Self {
        Self {
            id,
            subject: Subject::Decision,
            decision: Decision::Admit,
            code: None,
            agent: None,
            authority: None,
            resource: None,
            resource_id: None,
            change: String::new(),
            expected: String::new(),
            observed: None,
            upstream_status: None,
            stood: None,
            waited: Duration::ZERO,
            took: Duration::ZERO,
            method: String::new(),
            path: String::new(),
            client: None,
            request_id: None,
            reason,
        }
    }

    /// Adds what the client is told, before what was known already.
    pub fn say(&mut self, message: &str) {
        self.reason = Some(match self.reason.take() {
            None => message.to_owned(),
            Some(known) => format!("{message} ({known})"),
        });
    }
}

// === impl Line ===

impl Line {
    /// With every text that a client or a tracker chose cut to what a line keeps of it, so that no line is longer than
    /// [`LONGEST_LINE`]. Names are short where they become typed, and stay whole: they tell items and agents apart.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let note = &mut self.note;
        let words = [&mut note.client, &mut note.request_id, &mut note.reason];
        let texts = [&mut note.change, &mut note.expected, &mut note.method, &mut note.path];
        for text in texts.into_iter().chain(words.into_iter().flatten()) {
            cut(text, LONGEST_TEXT);
        }
        if let Some(shown) = &mut note.observed {
            let mut left = LONGEST_LIST;
            let mut fits = |name: &str| {
                let length = written(name);
                let fits = left.checked_sub(length);
                left = fits.unwrap_or(0);
                fits.is_some()
            };
            shown.assignees.retain(|login| fits(login.as_str()));
            shown.statuses.retain(|status| fits(status.as_str()));
        }
        self
    }

    /// About how much memory the line takes, bytes.
    pub fn weight(&self) -> usize {
        let note = &self.note;
        let words = [&note.client, &note.request_id, &note.reason].into_iter().flatten();
        let texts = [&note.change, &note.expected, &note.method, &note.path].into_iter().chain(words);
        size_of::<Self>() + texts.map(String::len).sum::<usize>() + LONGEST_NAME
    }

    /// Numbers and chains the line; returns its text and its hash.
    pub fn seal(&self, seq: u64, prev_hash: &str) -> (String, String) {
        let rest = serde_json::to_string(&self.members()).unwrap_or_default();
        let rest = rest.strip_prefix('{').unwrap_or(&rest);
        let hash = hex(&Sha256::digest(format!("{{\"seq\":{seq},\"prev_hash\":\"{prev_hash}\",{rest}")));
        (format!("{{\"seq\":{seq},\"prev_hash\":\"{prev_hash}\",\"hash\":\"{hash}\",{rest}"), hash)
    }

    /// The members that the hash covers, in their order.
    fn members(&self) -> LineMembers<'_> {
        let note = &self.note;
        LineMembers {
            time: rfc3339(self.time),
            id: &self.id,
            kind: self.kind,
            decision: matches!(self.kind, "decision").then(|| note.decision.as_str()),
            code: note.code.map(Code::as_str),
            resource: note.resource.as_ref().map(ToString::to_string),
            resource_id: note.resource_id.as_ref().map(ResourceKey::as_str),
            agent: note.agent.as_ref().map(|(actor, credential)| AgentMember::of(actor, Some(credential))),
            intent: self.intent.map(Kind::as_str),
            authority: note.authority.map(Authority::as_str),
            change: &note.change,
            expected: &note.expected,
            observed: note.observed.as_ref().map(ShownMember::of),
            result: self.result,
            upstream_status: note.upstream_status,
            fence: self.fence.map(|fence| fence.0),
            holder: self.holder.as_ref().map(|actor| AgentMember::of(actor, None)),
            parked: self.parked,
            holding_since: self.holding_since.map(rfc3339),
            waited_ms: millis(note.waited),
            took_ms: millis(note.took),
            method: &note.method,
            path: &note.path,
            client: note.client.as_deref(),
            request_id: note.request_id.as_deref(),
            reason: note.reason.as_deref(),
            gate: &self.gate,
        }
    }
}

#[derive(Serialize)]
struct LineMembers<'a> {
    time: String,
    id: &'a str,
    kind: &'static str,
    decision: Option<&'static str>,
    code: Option<&'static str>,
    resource: Option<String>,
    resource_id: Option<&'a str>,
    agent: Option<AgentMember<'a>>,
    intent: Option<&'static str>,
    authority: Option<&'static str>,
    change: &'a str,
    expected: &'a str,
    observed: Option<ShownMember<'a>>,
    result: Option<&'static str>,
    upstream_status: Option<u16>,
    fence: Option<u64>,
    holder: Option<AgentMember<'a>>,
    parked: Option<bool>,
    holding_since: Option<String>,
    waited_ms: f64,
    took_ms: f64,
    method: &'a str,
    path: &'a str,
    client: Option<&'a str>,
    request_id: Option<&'a str>,
    reason: Option<&'a str>,
    gate: &'a str,
}

#[derive(Serialize)]
struct AgentMember<'a> {
    account: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownMember<'a> {
    assignees: Vec<&'a str>,
    status: Vec<&'a str>,
    state: &'static str,
}

impl<'a> AgentMember<'a> {
    fn of(actor: &'a Actor, credential: Option<&'a Fingerprint>) -> Self {
        Self {
            account: actor.account.id(),
            name: actor.account.login().and_then(Account::other_name),
            instance: actor.instance.as_ref().map(crate::model::Instance::as_str),
            credential: credential.map(Fingerprint::as_str),
        }
    }
}

impl<'a> ShownMember<'a> {
    fn of(shown: &'a Shown) -> Self {
        Self {
            assignees: shown.assignees.iter().map(Account::as_str).collect(),
            status: shown.statuses.iter().map(Status::as_str).collect(),
            state: shown.state.as_str(),
        }
    }
}

/// The wire form of an agent, as the audit and `/claims` show it.
pub fn agent(actor: &Actor, credential: Option<&Fingerprint>) -> Value {
    json!(AgentMember::of(actor, credential))
}

/// The wire form of what a read showed.
pub fn shown(shown: &Shown) -> Value {
    json!(ShownMember::of(shown))
}

/// RFC 3339 in UTC with microseconds.
pub fn rfc3339(time: Time) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| time.0.to_string(), |at| format!("{at:.6}"))
}

/// How many bytes JSON needs for a text.
fn written(text: &str) -> usize {
    text.chars().map(written_letter).sum()
}

fn written_letter(letter: char) -> usize {
    match letter {
        '"' | '\\' => 2,
        letter if letter < ' ' => 6,
        letter => letter.len_utf8(),
    }
}

/// Cuts a text that JSON would need more bytes for.
fn cut(text: &mut String, most: usize) {
    if written(text) <= most {
        return;
    }
    let mut left = most - CUT.len();
    let end = text.char_indices().find(|(_, letter)| match left.checked_sub(written_letter(*letter)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    text.truncate(end.map_or(0, |(end, _)| end));
    text.push_str(CUT);
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instance, OpenState, Principal};

    /// The longest of everything, and each letter the dearest that there is.
    #[test]
    fn no_line_is_longer_than_the_longest() {
        for letter in ["\u{1}", "\"", "x", "😀"] {
            let name = letter.repeat(LONGEST_NAME);
            let text = letter.repeat(100_000);
            let login = |n: usize| Account::new(&format!("{n}{}", letter.repeat(LONGEST_NAME - 5)));
            let actor = Actor {
                account: Principal::Named(Account::new(&name)),
                instance: Some(Instance::new(&letter.repeat(64))),
            };
            let mut note = Note::of_gate("0190".to_owned(), Some(text.clone()));
            note.code = Some(Code::AmbiguousRequest);
            note.agent = Some((actor.clone(), Fingerprint::new(&"f".repeat(32))));
            note.resource = Some(Place::from_stored(&format!("{name}/{name}#{}", u64::MAX)));
            note.resource_id = Some(ResourceKey::new(&u64::MAX.to_string()));
            (note.change, note.expected) = (text.clone(), text.clone());
            (note.method, note.path) = (text.clone(), text.clone());
            (note.client, note.request_id) = (Some(text.clone()), Some(text.clone()));
            note.observed = Some(Shown {
                assignees: (0..9_999).map(login).collect(),
                statuses: (0..999).map(|n| Status::new(&format!("{n}{letter}"))).collect(),
                state: OpenState::Closed,
            });
            let line = Line {
                time: Time(i64::MAX / 2),
                kind: "not_landed",
                id: "0190".to_owned(),
                intent: Some(Kind::Claim),
                result: Some("NOT_LANDED"),
                fence: Some(Fence(u64::MAX)),
                holder: Some(actor),
                parked: Some(true),
                holding_since: Some(Time(0)),
                note,
                gate: "0190".to_owned(),
            };
            let (sealed, _) = line.bounded().seal(u64::MAX, GENESIS);
            assert!(sealed.len() <= LONGEST_LINE, "{letter:?}: {}", sealed.len());
            let read: Value = serde_json::from_str(&sealed).unwrap();
            assert!(read["change"].as_str().is_some_and(|text| text.ends_with(CUT) && text.len() > 100));
            assert_eq!(read["holder"]["account"], name.as_str(), "names stay whole");
        }
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        for text in ["", "labels+=[todo]", &"x".repeat(LONGEST_TEXT)] {
            let mut kept = text.to_owned();
            cut(&mut kept, LONGEST_TEXT);
            assert_eq!(kept, text);
        }
        let mut kept = "é".repeat(LONGEST_TEXT);
        cut(&mut kept, LONGEST_TEXT);
        assert!(kept.len() <= LONGEST_TEXT && kept.len() > LONGEST_TEXT - 5, "{}", kept.len());
    }
}
