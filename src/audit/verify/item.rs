//! One item: its version, its holder, its writes in doubt, and who believes to hold it.
//!
//! The belief rule: an agent holds from a 2xx grant until its own release, or until it is told `not_holder`,
//! `already_assigned` or `contested`, or its own claim or release is uncertain, or it takes the item out of work (parks
//! it). A revocation ends it too: an outside edit, an operator, an overrider, a take-over, a release by anyone where the
//! rules allow that, or that nothing is left to hold (the item is closed for long, or gone). Nobody else may come to hold the item before.
//!
//! What rules that only observe let happen is exempt, and so is a write whose decision is not in the log: one that was
//! recovered after a crash, or that was put in doubt before the log begins.

use super::line::{AgentName, AttemptResult, Authority, CheckedLine, Decision, Intent, LineKind};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What the log has said of one item so far.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// `None`: not known, because the log's head is missing.
    state: Option<State>,
    /// The newest last.
    versions: VecDeque<Version>,
    believer: Option<Believer>,
    doubts: Vec<Doubt>,
    ended: VecDeque<(u64, AttemptResult)>,
    /// A silent holder lost the item by the line before, for a grant that is to follow.
    taken: Option<Believer>,
}

/// The holding as one line shows it.
#[derive(Clone, Debug, Default)]
struct State {
    fence: u64,
    holder: Option<AgentName>,
    parked: bool,
    since: Option<jiff::Timestamp>,
}

/// Who held the item at a version, and which gate made that version.
#[derive(Debug)]
struct Version {
    fence: u64,
    gate: String,
    holder: Option<AgentName>,
}

#[derive(Debug)]
struct Believer {
    agent: AgentName,
    seq: u64,
}

#[derive(Debug)]
struct Doubt {
    id: String,
    change: String,
    write: Write,
}

/// A write, as far as it may change who holds.
#[derive(Clone, Debug)]
struct Write {
    agent: AgentName,
    /// `None`: its decision is not in the log.
    intent: Option<Intent>,
    /// It may pass the holder by.
    bypasses: bool,
    /// It was let through by a person's right, or by rules that only observe: its success says nothing of who holds.
    unruled: bool,
}

/// Ended attempts remembered an item.
const ENDED: usize = 1024;
/// Versions remembered an item.
const VERSIONS: usize = 64;

// === impl Item ===

impl Item {
    /// An item that no line has spoken of, in a log that begins with its first line.
    pub(super) fn fresh() -> Self {
        let unheld = Version { fence: 0, gate: String::new(), holder: None };
        Self { state: Some(State::default()), versions: [unheld].into(), ..Self::default() }
    }

    /// Takes a line about the item, and says what is wrong with it.
    pub(super) fn take(&mut self, line: &CheckedLine, whole: bool) -> Vec<String> {
        let Some(after) = State::of(line) else {
            self.take_refusal(line);
            return Vec::new();
        };
        if let Some(then) = self.judged_before(&after, line) {
            let told = AgentName::same_as(then.holder.as_ref(), after.holder.as_ref());
            let wrong = format!("the holder of version {} was another one", then.fence);
            return (!told).then_some(wrong).into_iter().collect();
        }
        let mut wrong = Vec::new();
        let write = self.attempt(line, whole, &mut wrong);
        if let Some(before) = self.state.clone() {
            wrong.extend(self.change(&before, &after, line, write.as_ref()).err());
        }
        wrong.extend(write.as_ref().and_then(|write| kept(&after, line, write)));
        self.believe(&after, line, write.as_ref());
        self.take_refusal(line);
        self.remember(&after, line);
        self.state = Some(after);
        wrong
    }

    /// The earlier version that a refusal was judged by. It may rest on what another turn of its gate has seen, and other
    /// gates may have written since; its own has not.
    fn judged_before(&self, after: &State, line: &CheckedLine) -> Option<&Version> {
        let since = self.versions.iter().rev().take_while(|version| version.fence > after.fence);
        let (mut since, is_refusal) = (since.peekable(), line.result == Some(AttemptResult::Rejected));
        let only_others = since.peek().is_some() && since.all(|version| version.gate != line.gate);
        self.versions.iter().find(|version| is_refusal && only_others && version.fence == after.fence)
    }

    fn remember(&mut self, after: &State, line: &CheckedLine) {
        if self.versions.back().is_some_and(|version| version.fence == after.fence) {
            return;
        }
        if self.versions.len() == VERSIONS {
            self.versions.pop_front();
        }
        let (gate, holder) = (line.gate.clone(), after.holder.clone());
        self.versions.push_back(Version { fence: after.fence, gate, holder });
    }

    // === attempts ===

    /// Follows the attempt that the line speaks of; returns the write, for lines that may make it true.
    fn attempt(&mut self, line: &CheckedLine, whole: bool, wrong: &mut Vec<String>) -> Option<Write> {
        match (line.kind, line.result) {
            (LineKind::Landed | LineKind::NotLanded, Some(outcome)) => Some(self.resolve(line, outcome, whole, wrong)),
            (LineKind::Decision | LineKind::Recovered, Some(outcome)) => {
                wrong.extend(self.in_doubt(line));
                wrong.extend(self.once(line, outcome));
                let write = Write::of(line)?;
                if outcome == AttemptResult::Doubt {
                    self.doubts.push(Doubt { id: line.id.clone(), change: line.change.clone(), write: write.clone() });
                }
                Some(write)
            }
            (LineKind::Revoked | LineKind::Contested, _) if !self.doubts.is_empty() => {
                wrong.push("an outside edit cannot be told while a write is in doubt".to_owned());
                None
            }
            _ => None,
        }
    }

    fn resolve(&mut self, line: &CheckedLine, outcome: AttemptResult, whole: bool, wrong: &mut Vec<String>) -> Write {
        let at = self.doubts.iter().position(|doubt| doubt.id == line.id);
        let doubt = at.map(|at| self.doubts.remove(at));
        match &doubt {
            Some(doubt) if line.agent.as_ref().is_some_and(|agent| doubt.write.agent.may_be(agent)) => {}
            Some(doubt) => wrong.push(format!("the write in doubt was {}'s", doubt.write.agent)),
            None if whole || self.ended_as(&line.id).is_some() => {
                wrong.push(format!("no write {} is in doubt", line.id));
            }
            None => {}
        }
        self.end(&line.id, outcome);
        let unknown = || Write {
            agent: line.agent.clone().unwrap_or_else(AgentName::nobody),
            intent: line.intent,
            bypasses: true,
            unruled: true,
        };
        doubt.map_or_else(unknown, |doubt| doubt.write)
    }

    /// While a write is in doubt only its own agent may write, and only the same.
    fn in_doubt(&self, line: &CheckedLine) -> Option<String> {
        let agent = line.agent.as_ref()?;
        let other =
            self.doubts.iter().find(|doubt| !doubt.write.agent.goes_on_as(agent) || doubt.change != line.change)?;
        (other.id != line.id).then(|| {
            format!("{agent} writes {:?} while {}'s {:?} is in doubt", line.change, other.write.agent, other.change)
        })
    }

    /// What is final stays as it is; what is in doubt ends as landed or not landed.
    fn once(&mut self, line: &CheckedLine, outcome: AttemptResult) -> Option<String> {
        let before = self.ended_as(&line.id);
        if outcome != AttemptResult::Doubt {
            self.end(&line.id, outcome);
        }
        match before {
            // What was never sent may be said twice, where the first saying could not be stored at once.
            Some(before) if before == outcome && outcome.is_unsent() => None,
            Some(before) => Some(format!("the write {} had ended as {} before", line.id, before.as_str())),
            None if self.doubts.iter().any(|doubt| doubt.id == line.id) => {
                Some(format!("the write {} is in doubt: it can only turn out to have landed or not", line.id))
            }
            None => None,
        }
    }

    fn ended_as(&self, id: &str) -> Option<AttemptResult> {
        let name = name(id);
        self.ended.iter().rev().find(|(ended, _)| *ended == name).map(|(_, outcome)| *outcome)
    }

    fn end(&mut self, id: &str, outcome: AttemptResult) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((name(id), outcome));
    }

    // === who holds ===

    /// Whether the line explains what became of the holding.
    fn change(&self, before: &State, after: &State, line: &CheckedLine, write: Option<&Write>) -> Result<(), String> {
        if after.fence < before.fence {
            return Err(format!("the fence falls from {} to {}", before.fence, after.fence));
        }
        if after.fence - before.fence > 1 {
            return Err(format!("the fence rises from {} to {}: a change is missing", before.fence, after.fence));
        }
        match (line.kind, line.result, write) {
            (
                LineKind::Decision | LineKind::Landed,
                Some(AttemptResult::Committed | AttemptResult::Partial | AttemptResult::Landed),
                Some(write),
            ) => self.granted(before, after, line, write),
            (LineKind::Operator, ..) if before.holder.is_none() => same(before, after, line),
            (
                LineKind::Operator | LineKind::Revoked | LineKind::TakenOver | LineKind::Finished | LineKind::Gone,
                ..,
            ) => ended(before, after, line),
            (LineKind::Rebound, ..) => renamed(before, after, line),
            _ => same(before, after, line),
        }
    }

    fn granted(&self, before: &State, after: &State, line: &CheckedLine, write: &Write) -> Result<(), String> {
        if after.fence == before.fence {
            let own = after.holder.as_ref().is_some_and(|holder| holder.goes_on_as(&write.agent));
            // Whoever closes an item parks it.
            let parks = own || (after.parked && line.shows_closed());
            return if parks && after.parked != before.parked {
                same(&State { parked: after.parked, ..before.clone() }, after, line)
            } else {
                same(before, after, line)
            };
        }
        let own = |holder: &AgentName| holder.goes_on_as(&write.agent);
        if let (Some(taken), Some(next)) = (&self.taken, &after.holder)
            && !(write.unruled || write.intent.is_none() || write.intent == Some(Intent::TakeOver))
        {
            return Err(format!(
                "promise 1 is broken: {next} is granted it while {} holds it since seq {}",
                taken.agent, taken.seq
            ));
        }
        match (&before.holder, &after.holder) {
            (None, None) => Err("the fence rises, and nobody held it before or holds it now".to_owned()),
            // A tracker that fails half-way through a hand-over has unassigned the one, and not assigned the other.
            (Some(holder), None)
                if !matches!(write.intent, Some(Intent::Release) | None)
                    && line.result != Some(AttemptResult::Partial) =>
            {
                Err(format!("the holding of {holder} ends, but it was no release"))
            }
            (_, Some(holder)) if !write.may_make_holder(holder) => {
                let intent = write.intent.map_or("write", Intent::as_str);
                Err(format!("{holder} becomes the holder by a {intent} of {}", write.agent))
            }
            (Some(holder), _) if !(before.parked || write.may_take_from(holder)) => {
                Err(self.overlap(holder, after.holder.as_ref(), write))
            }
            // Who becomes the holder may move the item on with the same write, as may who hands it over.
            (was, is) if after.parked && !line.shows_closed() && ![was, is].into_iter().flatten().any(own) => {
                Err(format!("{} parks an item that it did not hold", write.agent))
            }
            _ => Ok(()),
        }
    }

    fn overlap(&self, holder: &AgentName, next: Option<&AgentName>, write: &Write) -> String {
        match (&self.believer, next) {
            (Some(believer), Some(next)) => format!(
                "promise 1 is broken: {next} is granted it while {} holds it since seq {}",
                believer.agent, believer.seq
            ),
            (_, Some(next)) => format!("{next} is granted it while {holder} holds it"),
            (_, None) => format!("{} ends the holding of {holder}, which was not its own", write.agent),
        }
    }

    // === who believes to hold ===

    fn believe(&mut self, after: &State, line: &CheckedLine, write: Option<&Write>) {
        let version = self.state.as_ref().is_none_or(|before| before.fence != after.fence);
        let granted =
            matches!(line.result, Some(AttemptResult::Committed | AttemptResult::Partial | AttemptResult::Landed));
        let own = write.filter(|write| after.holder.as_ref().is_some_and(|holder| holder.goes_on_as(&write.agent)));
        let told = line.result == Some(AttemptResult::Committed)
            && own.is_some_and(|write| write.intent.is_some_and(Intent::takes) || self.was_parked());
        let lost = self.believer.take_if(|_| line.kind == LineKind::TakenOver);
        self.taken = lost.or_else(|| self.taken.take().filter(|_| after.holder.is_none()));
        match &after.holder {
            None => self.believer = None,
            _ if after.parked => self.believer = None,
            Some(holder) if granted && (version || told) => {
                self.believer = Some(Believer { agent: holder.clone(), seq: line.seq });
            }
            Some(holder) if line.kind == LineKind::Rebound => {
                self.believer = self.believer.take().map(|before| Believer { agent: holder.clone(), ..before });
            }
            Some(_) => {}
        }
        if line.result == Some(AttemptResult::Doubt) && write.is_some_and(|write| write.intent != Some(Intent::Move)) {
            self.disbelieve(line);
        }
    }

    /// What a refusal tells the one who asked.
    fn take_refusal(&mut self, line: &CheckedLine) {
        if matches!(line.code.as_deref(), Some("not_holder" | "already_assigned" | "contested"))
            && line.decision != Some(Decision::Observe)
        {
            self.disbelieve(line);
        }
    }

    fn disbelieve(&mut self, line: &CheckedLine) {
        self.believer.take_if(|before| line.agent.as_ref().is_some_and(|agent| before.agent.goes_on_as(agent)));
    }

    fn was_parked(&self) -> bool {
        self.state.as_ref().is_some_and(|before| before.parked)
    }
}

// === impl State ===

impl State {
    fn of(line: &CheckedLine) -> Option<Self> {
        Some(Self {
            fence: line.fence?,
            holder: line.holder.clone(),
            parked: line.parked.unwrap_or(false),
            since: line.holding_since,
        })
    }
}

// === impl Write ===

impl Write {
    fn of(line: &CheckedLine) -> Option<Self> {
        let overrides = line.authority == Some(Authority::Overrider);
        let anyone = line.authority == Some(Authority::Anyone) && line.intent == Some(Intent::Release);
        let observed = line.decision == Some(Decision::Observe);
        // What a recovered write was allowed to do was never written down.
        let recovered = line.kind == LineKind::Recovered;
        Some(Self {
            agent: line.agent.clone()?,
            intent: line.intent,
            bypasses: overrides || anyone || observed || recovered,
            unruled: overrides || observed || recovered,
        })
    }

    fn may_take_from(&self, holder: &AgentName) -> bool {
        self.bypasses || self.intent == Some(Intent::TakeOver) || holder.goes_on_as(&self.agent)
    }

    /// Only a hand-over makes somebody else the holder.
    fn may_make_holder(&self, holder: &AgentName) -> bool {
        match self.intent {
            Some(Intent::HandOver) | None => true,
            Some(Intent::Release) => false,
            Some(_) => holder.goes_on_as(&self.agent),
        }
    }
}

// === impl AgentName ===

impl AgentName {
    fn same_as(before: Option<&Self>, after: Option<&Self>) -> bool {
        match (before, after) {
            (None, None) => true,
            (Some(before), Some(after)) => before.goes_on_as(after),
            _ => false,
        }
    }
}

// === what each kind of line may do ===

/// Nothing.
fn same(before: &State, after: &State, line: &CheckedLine) -> Result<(), String> {
    let what = line.result.map_or(line.kind.as_str(), AttemptResult::as_str);
    match () {
        () if !AgentName::same_as(before.holder.as_ref(), after.holder.as_ref()) => {
            let name = |holder: &Option<AgentName>| holder.as_ref().map_or("nobody".to_owned(), ToString::to_string);
            Err(format!(
                "the holder changes from {} to {} by {what}, at one fence",
                name(&before.holder),
                name(&after.holder)
            ))
        }
        () if after.fence != before.fence => Err(format!("the fence rises by {what}, which changes no holder")),
        () if after.parked != before.parked => {
            Err(format!("the item is parked or unparked by {what}, not by its holder"))
        }
        () if after.since != before.since => Err("holding_since changes within one holding".to_owned()),
        () => Ok(()),
    }
}

/// It ends the holding of the agent that it names.
fn ended(before: &State, after: &State, line: &CheckedLine) -> Result<(), String> {
    let whose = before.holder.as_ref().zip(line.agent.as_ref()).is_some_and(|(holder, agent)| holder.goes_on_as(agent));
    match () {
        () if !whose => Err(format!("{} of a holding that was not there", line.kind.as_str())),
        () if after.holder.is_some() => Err(format!("{} leaves a holder", line.kind.as_str())),
        () if after.fence == before.fence => Err("the holding ends without a rise of the fence".to_owned()),
        () => Ok(()),
    }
}

/// It gives the holder another name.
fn renamed(before: &State, after: &State, line: &CheckedLine) -> Result<(), String> {
    let whose = before.holder.as_ref().zip(line.agent.as_ref()).is_some_and(|(holder, agent)| holder.goes_on_as(agent));
    let goes_on = after.holder.is_some() && after.parked == before.parked && after.since == before.since;
    match () {
        () if !whose || !goes_on => Err("rebound of a holding that was not there, or to another one".to_owned()),
        () if after.fence == before.fence => Err("the holder changes without a rise of the fence".to_owned()),
        () => Ok(()),
    }
}

/// Whether the holding after the line is what the line tells its agent, whatever was before.
fn kept(after: &State, line: &CheckedLine, write: &Write) -> Option<String> {
    let certain = matches!(line.result, Some(AttemptResult::Committed | AttemptResult::Landed));
    let landed = line.result == Some(AttemptResult::Landed);
    // Who has named itself while its write was in doubt, goes on under that name.
    let own = |holder: &AgentName| holder.goes_on_as(&write.agent) || landed && holder.may_be(&write.agent);
    let holds = after.holder.as_ref().is_some_and(own);
    match (write.intent?, &after.holder) {
        _ if !certain => None,
        (Intent::Release, Some(holder)) => Some(format!("{} released it, and {holder} still holds it", write.agent)),
        (Intent::HandOver, None) => Some("it was handed over to nobody".to_owned()),
        (intent, holder) if intent.takes() && !holds && !write.unruled => {
            let holder = holder.as_ref().map_or("nobody".to_owned(), ToString::to_string);
            Some(format!("{} is told that it holds it, and the holder is {holder}", write.agent))
        }
        _ => None,
    }
}

fn name(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
