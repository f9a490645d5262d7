//! Create once: which creations are one and the same thing, whether it exists, and what each step does to its record.
//!
//! A rule's template, filled in with what is known of a creation, is its key; a creation that stands in the tracker
//! counts if it fills in the same key. The tracker is what counts and the ledger what keeps the turn: an entry is
//! durable before the send, and one whose end is not known keeps its key closed until a read shows the creation, or
//! until its time is up and a read does not.

use super::{By, MemberPattern, Mode, Refused};
use crate::model::{
    Actor, AttemptId, Caller, Code, Epoch, Existing, GateId, Made, OnceEntry, OnceKey, Place, Rejection, Standing,
    Time, What,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the second caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondGets {
    /// 409, with who created the first.
    Refusal,
    /// The success answer, with the first.
    First,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct OnceRule {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub what: What,
    /// Whom it binds. The first pattern that an agent matches is its class.
    pub agents: Vec<AgentPattern>,
    /// The verdicts of reviews that count.
    pub events: BTreeSet<String>,
    /// What makes two creations one and the same.
    pub key: Template,
    /// Who may open a pull request that closes an issue.
    pub by: By,
    /// What the second caller gets.
    pub answer: SecondGets,
    /// Enforce or observe.
    pub mode: Mode,
}

/// Agents by a name, `review-*`, which is an account's or an instance's, or by account and instance, `bot/review-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPattern {
    member: MemberPattern,
    text: String,
}

/// A key with gaps, such as `{pull} {commit} {class}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<TemplatePart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Slot(Slot),
}

/// A gap in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The pull request that is reviewed, by its immutable id.
    Pull,
    /// The commit that is reviewed.
    Commit,
    /// A review's verdict.
    Event,
    /// The issue that is closed, by its immutable id.
    Issue,
    /// The pattern of the rule that the agent matches.
    Class,
    /// The agent's account.
    Account,
    /// The agent: account and instance.
    Agent,
}

/// What is known of one creation, wished for or standing.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What it is.
    pub what: What,
    /// Whose.
    pub actor: &'a Actor,
    /// The pull request or issue that it is about, by its immutable id.
    pub about: &'a str,
    /// A review's commit.
    pub commit: &'a str,
    /// A review's verdict.
    pub event: &'a str,
}

/// Whether something may be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It does not exist. An entry that no longer stands is replaced.
    Free {
        /// The entry that the judgement was made by.
        replaces: Option<AttemptId>,
    },
    /// It exists.
    Exists {
        /// Which of those that exist counts.
        first: Box<Existing>,
        /// Who created it, as well as that is known.
        by: Actor,
        /// What the ledger is to learn of it, if that is new.
        learns: Option<Learns>,
    },
    /// One was sent, and nobody knows whether it landed.
    InDoubt {
        /// How long that may last.
        left: Duration,
    },
}

/// News for the ledger about something that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learns {
    /// The entry that it replaces.
    pub replaces: Option<AttemptId>,
    /// What happened, for the log and the audit.
    pub how: String,
}

/// One step on one key, carried out in one transaction with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnceStep {
    /// A new entry, in the place of exactly this one.
    Put {
        /// The entry.
        entry: OnceEntry,
        /// The one that it was judged by.
        replaces: Option<AttemptId>,
    },
    /// The sent creation exists.
    Made {
        /// The entry.
        attempt: AttemptId,
        /// What the tracker made.
        made: Made,
    },
    /// It was not created: the key is free again.
    Freed {
        /// The entry.
        attempt: AttemptId,
    },
    /// Nobody knows whether it was.
    Doubted {
        /// The entry.
        attempt: AttemptId,
        /// When that ends.
        until: Time,
    },
    /// What an ended process left.
    Recover {
        /// The gate whose entries these are.
        gate: GateId,
        /// Every epoch before this one.
        before: Epoch,
        /// When the doubt ends.
        until: Time,
    },
}

const UNOPENED: &str = "a `}` stands without its `{`";
/// Verdicts that count unless a rule says otherwise.
pub const EVENTS: [&str; 3] = ["APPROVED", "REQUEST_CHANGES", "COMMENT"];

/// Judges a creation by the ledger's entry and by what stands in the tracker, oldest first.
pub fn judge(entry: Option<&OnceEntry>, standing: &[&Existing], now: Time) -> Ruling {
    let replaces = entry.map(|entry| entry.attempt.clone());
    let known = |made: &Made| standing.iter().find(|one| one.made.id == made.id && one.made.at == made.at);
    match (entry.map(|entry| (entry, &entry.standing)), standing.first()) {
        (Some((entry, Standing::Made(made))), _) if known(made).is_some() => {
            let first = known(made).map_or_else(|| unreachable!("just found"), |one| Box::new((*one).clone()));
            Ruling::Exists { first, by: entry.actor.clone(), learns: None }
        }
        (Some((entry, Standing::Sent { .. })), Some(first)) => {
            // Nothing stood when it was sent: what stands now is it, or somebody else's that came in between.
            let own = first.author.account == entry.actor.account;
            let by = if own { entry.actor.clone() } else { first.author.clone() };
            exists(first, by, replaces, "the creation in doubt shows", standing)
        }
        (Some((_, Standing::Sent { until })), None) if now < *until => Ruling::InDoubt { left: until.since(now) },
        (Some(_), Some(first)) => {
            exists(first, first.author.clone(), replaces, "the one before no longer counts", standing)
        }
        (None, Some(first)) => exists(first, first.author.clone(), replaces, "it was there before", standing),
        (_, None) => Ruling::Free { replaces },
    }
}

fn exists(first: &Existing, by: Actor, replaces: Option<AttemptId>, why: &str, standing: &[&Existing]) -> Ruling {
    let also: Vec<&str> = standing.iter().skip(1).map(|one| one.made.url.as_str()).collect();
    let how = match also.as_slice() {
        [] => format!("{why}: {}", first.made.url),
        also => format!(
            "{why}, {} times; the oldest counts: {}, and not {}",
            also.len() + 1,
            first.made.url,
            also.join(", ")
        ),
    };
    Ruling::Exists { first: Box::new(first.clone()), by, learns: Some(Learns { replaces, how }) }
}

/// Carries out one step. What the entry does not allow is refused, and nothing changes. Returns a word for the audit
/// where there is something to say.
pub fn apply(
    entry: &mut Option<OnceEntry>,
    step: &OnceStep,
    gate: &GateId,
    epoch: Epoch,
) -> Result<Option<&'static str>, Refused> {
    let sent = |attempt: &AttemptId, entry: &Option<OnceEntry>| {
        entry.as_ref().is_some_and(|entry| {
            let own = entry.gate == *gate && entry.epoch == epoch && entry.attempt == *attempt;
            own && matches!(entry.standing, Standing::Sent { .. })
        })
    };
    match step {
        OnceStep::Put { entry: new, replaces } => {
            if entry.as_ref().map(|entry| &entry.attempt) != replaces.as_ref() {
                return Err(Refused::Busy);
            }
            // Whoever enters it settles it, as with an attempt.
            *entry = Some(OnceEntry { gate: gate.clone(), epoch, ..new.clone() });
            // What is sent is told with how that ended.
            Ok(matches!(new.standing, Standing::Made(_)).then_some("found"))
        }
        OnceStep::Made { attempt, made } if sent(attempt, entry) => {
            if let Some(entry) = entry {
                entry.standing = Standing::Made(made.clone());
            }
            Ok(Some("created"))
        }
        OnceStep::Freed { attempt } if sent(attempt, entry) => {
            *entry = None;
            Ok(Some("not created"))
        }
        OnceStep::Doubted { attempt, until } if sent(attempt, entry) => {
            if let Some(entry) = entry {
                entry.standing = Standing::Sent { until: *until };
            }
            Ok(Some("in doubt"))
        }
        OnceStep::Recover { gate, before, until } => {
            let ended = |entry: &&mut OnceEntry| entry.gate == *gate && entry.epoch < *before;
            let Some(entry) = entry.as_mut().filter(ended) else { return Ok(None) };
            let Standing::Sent { until: end } = &mut entry.standing else { return Ok(None) };
            // Not the later of the two: the clock may have been ahead when the old one was written.
            *end = *until;
            Ok(Some("in doubt, left by a process that ended"))
        }
        OnceStep::Made { .. } | OnceStep::Freed { .. } | OnceStep::Doubted { .. } => Err(Refused::Fenced),
    }
}

// === impl OnceRule ===

impl OnceRule {
    /// The key of a creation; none where the rule is not about it.
    pub fn key(&self, facts: &Facts<'_>) -> Option<OnceKey> {
        let counts = facts.what == self.what && (self.what == What::Pull || self.events.contains(facts.event));
        let class = self.agents.iter().find(|pattern| pattern.matches(facts.actor)).filter(|_| counts)?;
        Some(OnceKey::new(&format!("{}: {}", self.name, self.key.fill(facts, class))))
    }

    /// Those of a list that fill in this key, and the one that the ledger knows under it, oldest first.
    pub fn standing<'e>(
        &self,
        key: &OnceKey,
        about: &str,
        entry: Option<&OnceEntry>,
        all: &[&'e Existing],
    ) -> Vec<&'e Existing> {
        let fills = |one: &&&Existing| {
            let facts = Facts { what: self.what, actor: &one.author, about, commit: &one.commit, event: &one.event };
            self.key(&facts).as_ref() == Some(key)
        };
        let recorded = |one: &&&Existing| match entry.map(|entry| &entry.standing) {
            Some(Standing::Made(made)) => made.id == one.made.id && made.at == one.made.at,
            // The tracker does not name the instance: what this account made of it since is the one in doubt.
            Some(Standing::Sent { .. }) => entry.is_some_and(|entry| {
                let whole =
                    Facts { what: self.what, actor: &entry.actor, about, commit: &one.commit, event: &one.event };
                entry.actor.account == one.author.account && self.key(&whole).as_ref() == Some(key)
            }),
            None => false,
        };
        let mut standing: Vec<&Existing> = all.iter().filter(|one| fills(one) || recorded(one)).copied().collect();
        // Of two in one second the one with the lower number.
        standing.sort_by_key(|one| (one.since, one.made.id.len(), one.made.id.clone()));
        standing
    }

    /// Whether the rule refuses.
    pub fn enforces(&self, caller: &Caller) -> bool {
        self.mode == Mode::Enforce && !caller.overrider
    }

    /// The refusal of the second caller.
    pub fn already_created(&self, about: &Place, key: &OnceKey, first: &Existing, by: &Actor) -> Rejection {
        let (since, url) = (first.since, &first.made.url);
        let message = match self.what {
            What::Review => format!(
                "{about} was reviewed at commit {} by {by} already: {url}; a new commit may be reviewed again",
                short(&first.commit)
            ),
            What::Pull => format!(
                "{by} has an open pull request that closes {about} already: {url}; work on that one, or pick another item"
            ),
        };
        Rejection {
            resource: Some(about.clone()),
            expected: format!("nothing created yet for \"{key}\""),
            holder: Some(by.clone()),
            since: Some(since),
            ..Rejection::of_request(Code::AlreadyCreated, message)
        }
    }
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

// === impl AgentPattern ===

impl AgentPattern {
    /// Reads a pattern in the language of [`MemberPattern`], the same as in a singleton rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { member: MemberPattern::parse(text)?, text: text.to_owned() })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn matches(&self, actor: &Actor) -> bool {
        self.member.matches(actor)
    }
}

// === impl Template, Slot ===

impl Template {
    /// Reads a template. One that leaves out what it is about would make all creations one and the same.
    pub fn parse(what: What, text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').ok_or("a `{` is never closed")?;
            if before.contains('}') {
                return Err(UNOPENED.to_owned());
            }
            let slot = Slot::named(what, name).ok_or_else(|| Slot::unknown(what, name))?;
            parts.extend([TemplatePart::Text(before.to_owned()), TemplatePart::Slot(slot)]);
            rest = tail;
        }
        if rest.contains('}') {
            return Err(UNOPENED.to_owned());
        }
        parts.push(TemplatePart::Text(rest.to_owned()));
        let about = if what == What::Review { Slot::Pull } else { Slot::Issue };
        if !parts.contains(&TemplatePart::Slot(about)) {
            return Err(format!("it needs {{{}}}: without it one would stand for all of them", about.name()));
        }
        Ok(Self(parts))
    }

    /// The shortest one: a review of a pull request, or a pull request for an issue.
    pub fn of(what: What) -> Self {
        Self(vec![TemplatePart::Slot(if what == What::Review { Slot::Pull } else { Slot::Issue })])
    }

    fn fill(&self, facts: &Facts<'_>, class: &AgentPattern) -> String {
        let value = |slot: &Slot| match slot {
            Slot::Pull | Slot::Issue => facts.about.to_owned(),
            Slot::Commit => facts.commit.to_ascii_lowercase(),
            Slot::Event => facts.event.to_owned(),
            Slot::Class => class.as_str().to_owned(),
            Slot::Account => facts.actor.account.id().to_ascii_lowercase(),
            Slot::Agent => facts.actor.id().to_ascii_lowercase(),
        };
        let parts = self.0.iter().map(|part| match part {
            TemplatePart::Text(text) => text.clone(),
            TemplatePart::Slot(slot) => value(slot),
        });
        parts.collect()
    }
}

impl Slot {
    const ALL: [Self; 7] =
        [Self::Pull, Self::Commit, Self::Event, Self::Issue, Self::Class, Self::Account, Self::Agent];

    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Commit => "commit",
            Self::Event => "event",
            Self::Issue => "issue",
            Self::Class => "class",
            Self::Account => "account",
            Self::Agent => "agent",
        }
    }

    fn is_of(self, what: What) -> bool {
        match self {
            Self::Pull | Self::Commit | Self::Event => what == What::Review,
            Self::Issue => what == What::Pull,
            Self::Class | Self::Account | Self::Agent => true,
        }
    }

    fn named(what: What, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.name() == name && slot.is_of(what))
    }

    fn unknown(what: What, name: &str) -> String {
        let known: Vec<String> =
            Self::ALL.iter().filter(|slot| slot.is_of(what)).map(|slot| format!("{{{}}}", slot.name())).collect();
        format!("`{{{name}}}` is not known of a {}; there are {}", what.as_str(), known.join(", "))
    }
}

#[cfg(test)]
mod tests;
