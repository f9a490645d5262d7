//! The audit summed up for the day of an incident: by item, by agent, and who was in whose way.
//!
//! It counts what the lines say and judges nothing; whether the promise was kept is `verify`'s. Lines before the asked
//! time are read too, since they say who held what when it began.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead};
use std::time::Duration;

/// What to sum up.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Only lines before this time.
    pub until: Option<Timestamp>,
    /// Only what this agent did, `account` or `account (instance)`, and who was refused because of it.
    pub agent: Option<String>,
    /// Only lines about this item, `owner/repo#n`.
    pub item: Option<String>,
    /// A holder of whom the lines tell nothing for longer is marked as stale.
    pub stale_after: Option<Duration>,
}

/// The sums so far.
#[derive(Debug, Default)]
pub struct Report {
    scope: Scope,
    /// Lines come at least once: by their hash, those that were counted.
    seen: HashSet<String>,
    lines: u64,
    unreadable: u64,
    /// The first and the last line that was counted.
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    totals: Tally,
    items: BTreeMap<String, Tally>,
    agents: BTreeMap<String, Tally>,
    overlaps: Overlaps,
    /// The same of what a rule would have refused, had it not only observed.
    observed_overlaps: Overlaps,
    waits: Vec<Wait>,
    /// What was edited past the gate, and by forms of people whom only the tracker knows, oldest first.
    edits: Vec<OddEdit>,
    /// Silent holders that lost an item to another's claim, oldest first.
    takeovers: Vec<Takeover>,
    /// Who holds, by the last line that knew it.
    holdings: HashMap<String, Holding>,
}

/// By item, by who was refused, and because of whom.
type Overlaps = BTreeMap<(String, String, String), Overlap>;

/// Of one item, or of one agent.
#[derive(Clone, Debug, Default)]
struct Tally {
    grants: BTreeMap<String, u64>,
    refusals: BTreeMap<String, u64>,
    /// What went through, and would have been refused by a rule that only observes.
    observations: BTreeMap<String, u64>,
    doubts: u64,
    landed: u64,
    contested: u64,
    revoked: u64,
    taken_over: u64,
    finished: u64,
    operator: u64,
    longest_wait: f64,
}

/// One agent in the way of another on one item.
#[derive(Clone, Debug)]
struct Overlap {
    count: u64,
    codes: BTreeMap<String, u64>,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Clone, Debug)]
struct Wait {
    waited: f64,
    time: Timestamp,
    item: String,
    agent: String,
    outcome: String,
}

/// An edit of which the gate does not know by itself who made it.
#[derive(Clone, Debug)]
struct OddEdit {
    /// The line's name; an edit's authors have lines of the same name.
    id: String,
    item: String,
    what: String,
    /// As the tracker remembers.
    by: Option<String>,
    time: Timestamp,
}

#[derive(Clone, Debug)]
struct Takeover {
    item: String,
    agent: String,
    how: String,
    time: Timestamp,
}

#[derive(Clone, Debug)]
struct Holding {
    item: String,
    agent: String,
    since: Option<String>,
    heard: Timestamp,
    /// Nobody is at work on it.
    parked: bool,
}

/// The members of a line that are summed up. What is missing is as if it were null.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    hash: Option<String>,
    #[serde(deserialize_with = "time")]
    time: Timestamp,
    #[serde(default)]
    id: String,
    kind: String,
    #[serde(default)]
    decision: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    resource_id: Option<String>,
    #[serde(default)]
    agent: Option<Agent>,
    #[serde(default)]
    intent: Option<String>,
    #[serde(default)]
    observed: Option<Observed>,
    #[serde(default)]
    result: Option<String>,
    #[serde(default)]
    fence: Option<u64>,
    #[serde(default)]
    holder: Option<Agent>,
    #[serde(default)]
    holding_since: Option<String>,
    #[serde(default)]
    parked: Option<bool>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    waited_ms: f64,
}

#[derive(Debug, Deserialize)]
struct Agent {
    account: String,
    #[serde(default)]
    instance: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Observed {
    #[serde(default)]
    assignees: Vec<String>,
}

/// The longest waits that are listed.
const MOST_WAITS: usize = 10;
const NOBODY: &str = "(not known)";
const NO_ITEM: &str = "(no item)";
/// Refusals for which somebody else is the reason.
const IN_THE_WAY: [&str; 7] =
    ["already_assigned", "not_holder", "in_doubt", "busy", "contested", "singleton_busy", "multiple_assignees"];

// === impl Report ===

impl Report {
    /// Nothing yet.
    pub fn new(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// Adds the lines of an audit.
    pub fn read(&mut self, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            self.add(&line);
            line.clear();
        }
        Ok(())
    }

    /// Adds one line.
    pub fn add(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if line.hash.as_ref().is_some_and(|hash| !self.seen.insert(hash.clone())) => {}
            Ok(line) => self.take(&line),
            Err(_) => self.unreadable += 1,
        }
    }

    /// Lines that are no audit lines.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    fn take(&mut self, line: &Line) {
        let item = line.resource.clone().unwrap_or_else(|| NO_ITEM.to_owned());
        let wanted = self.scope.item.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(&item));
        if !wanted {
            return;
        }
        // What comes later says nothing about who held what then.
        if self.scope.until.is_some_and(|until| line.time >= until) {
            return;
        }
        if line.kind == "author" {
            return self.name_author(line, item);
        }
        if self.scope.since.is_none_or(|since| line.time >= since) {
            if self.scope.is_about(&name(line.agent.as_ref())) {
                self.lines += 1;
                self.first = self.first.or(Some(line.time)).min(Some(line.time));
                self.last = self.last.max(Some(line.time));
                self.count(line, &item);
            }
            self.overlap(line, &item);
        }
        self.follow(line, item);
    }

    fn count(&mut self, line: &Line, item: &str) {
        let agent = name(line.agent.as_ref());
        self.totals.count(line);
        self.items.entry(item.to_owned()).or_default().count(line);
        self.agents.entry(agent.clone()).or_default().count(line);
        if line.kind == "taken_over" {
            let (item, agent, how) = (item.to_owned(), agent.clone(), line.reason.clone().unwrap_or_default());
            self.takeovers.push(Takeover { item, agent, how, time: line.time });
        }
        if matches!(line.kind.as_str(), "revoked" | "contested") {
            let seen = line.observed.as_ref().map_or(&[][..], |seen| &seen.assignees);
            let what = edit_in_words(line.reason.as_deref().unwrap_or("contested"), seen);
            self.edits.push(OddEdit { id: line.id.clone(), item: item.to_owned(), what, by: None, time: line.time });
        }
        if line.kind == "decision" && line.waited_ms > 0.0 {
            let outcome = line.outcome();
            let (waited, time, item) = (line.waited_ms, line.time, item.to_owned());
            self.waits.push(Wait { waited, time, item, agent, outcome });
            self.waits.sort_by(|one, other| other.waited.total_cmp(&one.waited));
            self.waits.truncate(MOST_WAITS);
        }
    }

    /// Who made an edit: of a line before, or of an edit that no line tells of. It is counted for nobody.
    fn name_author(&mut self, line: &Line, item: String) {
        let (by, what) = (name(line.agent.as_ref()), line.reason.clone().unwrap_or_default());
        if let Some(known) = self.edits.iter_mut().rev().find(|edit| edit.id == line.id) {
            (known.by, known.what) = match known.by.take() {
                Some(before) => (Some(format!("{before}, {by}")), format!("{}; {what}", known.what)),
                None => (Some(by), what),
            };
            return;
        }
        let wanted = self.scope.since.is_none_or(|since| line.time >= since) && self.scope.is_about(&by);
        if wanted {
            self.lines += 1;
            self.edits.push(OddEdit { id: line.id.clone(), item, what, by: Some(by), time: line.time });
        }
    }

    /// Who was refused, and because of whom: the holder after the line or before it, else who is assigned. What only
    /// would have been refused may have made its agent the holder: there, who it was before.
    fn overlap(&mut self, line: &Line, item: &str) {
        let Some(code) = line.code.as_deref().filter(|code| IN_THE_WAY.contains(code)) else { return };
        let agent = name(line.agent.as_ref());
        let held = self.holdings.get(key(line, item)).map(|held| held.agent.clone());
        let (overlaps, holder) = match line.decision.as_deref() {
            Some("reject") => (&mut self.overlaps, line.holder.as_ref().map(|holder| name(Some(holder))).or(held)),
            Some("observe") => (&mut self.observed_overlaps, held.filter(|held| *held != agent)),
            _ => return,
        };
        let assigned = line.observed.as_ref().map(|seen| seen.assignees.join(", ")).filter(|names| !names.is_empty());
        let Some(other) = holder.or(assigned).filter(|other| *other != agent) else { return };
        if !self.scope.is_about(&agent) && !self.scope.is_about(&other) {
            return;
        }
        let overlap = overlaps.entry((item.to_owned(), agent, other)).or_insert_with(|| Overlap {
            count: 0,
            codes: BTreeMap::new(),
            first: line.time,
            last: line.time,
        });
        overlap.count += 1;
        *overlap.codes.entry(code.to_owned()).or_default() += 1;
        overlap.last = line.time;
    }

    /// Keeps up with who holds the item. Only lines of an item's record know it.
    fn follow(&mut self, line: &Line, item: String) {
        let key = key(line, &item).to_owned();
        let actor = name(line.agent.as_ref());
        if line.fence.is_none() {
            if let Some(held) = self.holdings.get_mut(&key).filter(|held| held.agent == actor) {
                held.heard = line.time;
            }
            return;
        }
        let Some(holder) = line.holder.as_ref().map(|holder| name(Some(holder))) else {
            self.holdings.remove(&key);
            return;
        };
        let since = line.holding_since.clone();
        let same = self.holdings.get(&key).filter(|held| held.agent == holder && held.since == since);
        let heard = same.filter(|_| actor != holder).map_or(line.time, |held| held.heard);
        self.holdings.insert(key, Holding { item, agent: holder, since, heard, parked: line.parked == Some(true) });
    }

    /// Everything, as JSON. `now` is for who has been silent.
    pub fn to_json(&self, now: Timestamp) -> Value {
        let mut holdings: Vec<_> = self.holdings.values().filter(|held| self.scope.is_about(&held.agent)).collect();
        holdings.sort_by_cached_key(|held| natural(&held.item));
        let held: Vec<Value> = holdings.iter().map(|held| held.to_json(self.is_stale(held, now))).collect();
        let stale = holdings.iter().filter(|held| self.is_stale(held, now)).count();
        let mut totals = self.totals.to_json("of", "all");
        for (name, count) in
            [("items", self.items.len()), ("agents", self.agents.len()), ("held", held.len()), ("stale", stale)]
        {
            totals[name] = count.into();
        }
        json!({
            "since": self.scope.since.or(self.first).map(shown),
            "until": self.scope.until.or(self.last).map(shown),
            "lines": self.lines,
            "unreadable": self.unreadable,
            "totals": totals,
            "items": worst_first(&self.items, "item"),
            "agents": worst_first(&self.agents, "agent"),
            "overlaps": most_first(&self.overlaps, "refused"),
            "observed_overlaps": most_first(&self.observed_overlaps, "observed"),
            "edits": self.edits.iter().map(OddEdit::to_json).collect::<Vec<_>>(),
            "taken_over": self.takeovers.iter().map(Takeover::to_json).collect::<Vec<_>>(),
            "waits": self.waits.iter().map(Wait::to_json).collect::<Vec<_>>(),
            "held": held,
        })
    }

    fn is_stale(&self, held: &Holding, now: Timestamp) -> bool {
        let silent = Duration::try_from(now.duration_since(held.heard)).unwrap_or_default();
        !held.parked && self.scope.stale_after.is_some_and(|limit| silent > limit)
    }
}

/// Why a holding ended, with the name of whoever was assigned then.
pub fn edit_in_words(reason: &str, assignees: &[String]) -> String {
    match reason.strip_prefix("reassigned by ") {
        Some(rest) if !assignees.is_empty() => format!("reassigned to {} by {rest}", assignees.join(", ")),
        _ => reason.to_owned(),
    }
}

/// Those first of whom there is something to say: refused most often, then in doubt, contested or ended from outside, then
/// those that a rule that only observes would have refused; else in the order in which a person counts.
fn worst_first(tallies: &BTreeMap<String, Tally>, of: &str) -> Vec<Value> {
    let mut sorted: Vec<_> = tallies.iter().collect();
    sorted.sort_by_cached_key(|(name, tally)| {
        let refused = tally.refusals.values().sum::<u64>();
        let ended = tally.doubts + tally.contested + tally.revoked + tally.taken_over + tally.operator;
        let observed = tally.observations.values().sum::<u64>();
        (std::cmp::Reverse((refused, ended, observed)), natural(name))
    });
    sorted.into_iter().map(|(name, tally)| tally.to_json(of, name)).collect()
}

/// A key by which `#4` comes before `#10`: runs of digits count as numbers.
fn natural(name: &str) -> Vec<(String, u128)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (text, tail) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
        let (digits, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len()));
        parts.push((text.to_owned(), digits.parse().unwrap_or(u128::MAX)));
        rest = tail;
    }
    parts
}

/// The pairs, each with its agent as the member `of`.
fn most_first(overlaps: &Overlaps, of: &str) -> Vec<Value> {
    let mut sorted: Vec<_> = overlaps.iter().collect();
    sorted.sort_by_key(|(_, overlap)| std::cmp::Reverse(overlap.count));
    sorted.into_iter().map(|(pair, overlap)| overlap.to_json(of, pair)).collect()
}

/// In one width, as the audit has it.
fn shown(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn name(agent: Option<&Agent>) -> String {
    match agent {
        Some(Agent { account, instance: Some(instance) }) => format!("{account} ({instance})"),
        Some(Agent { account, instance: None }) => account.clone(),
        None => NOBODY.to_owned(),
    }
}

/// The item's immutable id where the line has it.
fn key<'a>(line: &'a Line, item: &'a str) -> &'a str {
    line.resource_id.as_deref().unwrap_or(item)
}

// === impl Scope ===

impl Scope {
    /// Whether this agent, `account` or `account (instance)`, is one that is asked about.
    fn is_about(&self, agent: &str) -> bool {
        self.agent.as_ref().is_none_or(|wanted| {
            let account = agent.split_once(" (").map_or(agent, |(account, _)| account);
            wanted.eq_ignore_ascii_case(agent) || wanted.eq_ignore_ascii_case(account)
        })
    }
}

// === impl Line ===

impl Line {
    fn is_observed(&self) -> bool {
        self.decision.as_deref() == Some("observe")
    }

    /// The code, else the decision; of what only would have been refused both.
    fn outcome(&self) -> String {
        let decision = self.decision.as_deref().unwrap_or_default();
        match self.code.as_deref() {
            Some(code) if self.is_observed() => format!("{decision}: {code}"),
            Some(code) => code.to_owned(),
            None => decision.to_owned(),
        }
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, line: &Line) {
        self.longest_wait = self.longest_wait.max(line.waited_ms);
        match line.kind.as_str() {
            "decision" if line.is_observed() => self.observation(line),
            "decision" => self.decision(line),
            "landed" => self.landed += 1,
            "recovered" if line.result.as_deref() == Some("DOUBT") => self.doubts += 1,
            "contested" => self.contested += 1,
            "revoked" => self.revoked += 1,
            "taken_over" => self.taken_over += 1,
            "finished" | "gone" => self.finished += 1,
            "operator" => self.operator += 1,
            _ => {}
        }
    }

    fn decision(&mut self, line: &Line) {
        match (line.result.as_deref(), line.code.as_deref()) {
            (Some("DOUBT"), _) => self.doubts += 1,
            (Some("COMMITTED"), _) => {
                let intent = line.intent.clone().unwrap_or_else(|| "other".to_owned());
                *self.grants.entry(intent).or_default() += 1;
            }
            (_, Some(code)) => {
                self.contested += u64::from(code == "contested");
                *self.refusals.entry(code.to_owned()).or_default() += 1;
            }
            (Some("REFUSED" | "PARTIAL"), None) => *self.refusals.entry("by_the_tracker".to_owned()).or_default() += 1,
            _ => {}
        }
    }

    /// Neither a grant nor a refusal, whatever the tracker made of it.
    fn observation(&mut self, line: &Line) {
        self.doubts += u64::from(line.result.as_deref() == Some("DOUBT"));
        let code = line.code.clone().unwrap_or_else(|| "other".to_owned());
        *self.observations.entry(code).or_default() += 1;
    }

    fn to_json(&self, of: &str, name: &str) -> Value {
        json!({
            of: name,
            "granted": self.grants.values().sum::<u64>(),
            "refused": self.refusals.values().sum::<u64>(),
            "observed": self.observations.values().sum::<u64>(),
            "grants": self.grants,
            "refusals": self.refusals,
            "observations": self.observations,
            "doubts": self.doubts,
            "landed": self.landed,
            "contested": self.contested,
            "revoked": self.revoked,
            "taken_over": self.taken_over,
            "finished": self.finished,
            "operator": self.operator,
            "longest_wait_ms": self.longest_wait,
        })
    }
}

// === impl Overlap, Wait, Holding ===

impl Overlap {
    fn to_json(&self, of: &str, (item, agent, because_of): &(String, String, String)) -> Value {
        json!({
            "item": item,
            of: agent,
            "because_of": because_of,
            "count": self.count,
            "codes": self.codes,
            "first": shown(self.first),
            "last": shown(self.last),
        })
    }
}

impl Wait {
    fn to_json(&self) -> Value {
        json!({
            "waited_ms": self.waited,
            "item": self.item,
            "agent": self.agent,
            "outcome": self.outcome,
            "time": shown(self.time),
        })
    }
}

impl OddEdit {
    fn to_json(&self) -> Value {
        json!({ "item": self.item, "what": self.what, "by": self.by, "time": shown(self.time) })
    }
}

impl Takeover {
    fn to_json(&self) -> Value {
        json!({ "item": self.item, "agent": self.agent, "how": self.how, "time": shown(self.time) })
    }
}

impl Holding {
    fn to_json(&self, stale: bool) -> Value {
        json!({
            "item": self.item,
            "agent": self.agent,
            "since": self.since,
            "heard": shown(self.heard),
            "stale": stale,
        })
    }
}
