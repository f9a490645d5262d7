//! One agent of a class at a time in a project.
//!
//! The rule is here, the record is the ledger's: it judges an [`AcquireLease`] inside the transaction that makes a write SENDING
//! or grants it, so that of two agents of the class one comes first, whichever items they touch.

use super::Mode;
use crate::model::{Actor, Change, Fingerprint, Kind, Principal, Project, ProjectLease, Time};
use std::time::Duration;

/// One singleton rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Singleton {
    /// Its name, under which the ledger keeps who is at work.
    pub name: String,
    /// Enforce or observe.
    pub mode: Mode,
    /// Who belongs to the class: whoever one of these matches.
    pub agents: Vec<MemberPattern>,
    /// Which kinds of writes one agent at a time may make.
    pub actions: Vec<Kind>,
    /// How long after it was last heard of an agent is no longer at work.
    pub idle: Duration,
}

/// Who belongs to a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberPattern {
    /// `name`: the login matches, or the instance's name. Any account can call an instance of its own so.
    Either(Glob),
    /// `account/instance`: both match.
    Both {
        /// The login.
        account: Glob,
        /// The instance's name; one that was not given is empty.
        instance: Glob,
    },
}

/// A pattern of names: `*` stands for any run of characters, `?` for one, everything else for itself in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<char>);

/// A write that only the agent at work may make, and that makes its agent that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquireLease {
    /// The rule's name.
    pub rule: String,
    /// Where.
    pub project: Project,
    /// Who.
    pub actor: Actor,
    /// With which credential: the agent may have been known by nothing else before.
    pub credential: Fingerprint,
    /// From the rule.
    pub idle: Duration,
    /// Who of the class was heard of there since that was last written down.
    pub heard: Vec<Heartbeat>,
}

/// An agent was heard of, from then until then, never longer apart than the rule's `idle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub actor: Actor,
    /// First.
    pub from: Time,
    /// Last.
    pub to: Time,
}

// === impl Singleton ===

impl Singleton {
    /// Whether the agent is of the class.
    pub fn covers(&self, actor: &Actor) -> bool {
        self.agents.iter().any(|member| member.matches(actor))
    }

    /// Whether such a write is one of the rule's. One that does several things is each of them: a claim that also sets
    /// a label is a move too.
    pub fn acts(&self, kind: Kind, change: &Change) -> bool {
        let moves = kind != Kind::Create && (change.labels.is_some() || change.state.is_some());
        self.actions.iter().any(|action| *action == kind || (moves && *action == Kind::Move))
    }
}

// === impl MemberPattern ===

impl MemberPattern {
    /// From its text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None => Ok(Self::Either(Glob::parse(text)?)),
            Some((_, instance)) if instance.contains('/') => {
                Err(format!("`{text}` has more than one `/`: write a name, or account/instance"))
            }
            Some((account, instance)) => {
                Ok(Self::Both { account: Glob::parse(account)?, instance: Glob::parse(instance)? })
            }
        }
    }

    /// Whether the agent is one of these.
    pub fn matches(&self, actor: &Actor) -> bool {
        let (id, name) = (actor.account.id(), actor.account.login().map(ToString::to_string));
        let named = actor.instance.as_ref().map(crate::model::Instance::as_str);
        match self {
            Self::Either(glob) => {
                let login = actor.account.login().map(crate::model::Account::as_str);
                [login, name.as_deref(), named].iter().flatten().any(|name| glob.matches(name))
            }
            Self::Both { account, instance } => {
                let is_account = account.matches(&id) || name.is_some_and(|name| account.matches(&name));
                is_account && instance.matches(named.unwrap_or(""))
            }
        }
    }
}

// === impl Glob ===

impl Glob {
    /// From its text. Patterns that look like more than `*` and `?` are refused, with what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("a pattern of names must not be empty; \"*\" means every agent".to_owned());
        }
        match text.chars().find(|c| "[]{}\\!".contains(*c) || c.is_whitespace()) {
            Some(c) => Err(format!("`{text}` has a `{c}`: in a pattern only * and ? stand for other characters")),
            None => Ok(Self(text.to_lowercase().chars().collect())),
        }
    }

    /// The characters that stand for themselves.
    pub fn literals(&self) -> impl Iterator<Item = char> + '_ {
        self.0.iter().copied().filter(|c| !matches!(c, '*' | '?'))
    }

    /// Whether every name is one of these.
    pub fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|c| *c == '*')
    }

    /// Whether the whole name is one of these.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.to_lowercase().chars().collect();
        let (mut at, mut tried) = (0, 0);
        // Where to go on when what follows the last star does not fit: one character further.
        let mut star = None;
        while tried < name.len() {
            match self.0.get(at) {
                Some('*') => {
                    star = Some((at, tried));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == name[tried] => (at, tried) = (at + 1, tried + 1),
                _ => match star {
                    Some((of, from)) => {
                        star = Some((of, from + 1));
                        (at, tried) = (of + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.0[at..].iter().all(|c| *c == '*')
    }
}

// === impl AcquireLease ===

impl AcquireLease {
    /// Who is at work afterwards; or who is already, if that is another agent.
    pub fn over(&self, current: Option<&ProjectLease>, now: Time) -> Result<ProjectLease, Box<ProjectLease>> {
        let current = current.map(|lease| self.with_heard(lease));
        let (since, before) = match current.filter(|lease| lease.lasts(now)) {
            Some(lease) if self.is_own(&lease) => (lease.since, lease.actor.instance),
            Some(lease) => return Err(Box::new(lease)),
            None => (now, None),
        };
        let (rule, project) = (self.rule.clone(), self.project.clone());
        // An instance once named stays named.
        let actor = Actor { account: self.actor.account.clone(), instance: self.actor.instance.clone().or(before) };
        Ok(ProjectLease { rule, project, actor, since, seen: now, until: now + self.idle })
    }

    /// What was heard of the agent at work counts, written down or not.
    fn with_heard(&self, lease: &ProjectLease) -> ProjectLease {
        let mut lease = lease.clone();
        for heard in &self.heard {
            renew(&mut lease, heard, self.idle);
        }
        lease
    }

    fn is_own(&self, lease: &ProjectLease) -> bool {
        lease.actor.goes_on_as(&self.actor) || lease.actor.account == Principal::Opaque(self.credential.clone())
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    /// Heard of once.
    pub fn once(actor: Actor, at: Time) -> Self {
        Self { actor, from: at, to: at }
    }

    /// Heard of again. After a silence as long as `idle` only what follows it counts.
    pub fn again(&mut self, at: Time, idle: Duration) {
        if self.to + idle <= at {
            self.from = at;
        }
        self.to = self.to.max(at);
    }
}

/// The agent was heard of: if it is the one at work, it goes on from then. What had ended by idling stays ended.
pub fn renew(lease: &mut ProjectLease, heard: &Heartbeat, idle: Duration) -> bool {
    let renews = lease.actor.goes_on_as(&heard.actor) && lease.lasts(heard.from) && heard.to > lease.seen;
    if renews {
        (lease.seen, lease.until) = (heard.to, heard.to + idle);
    }
    renews
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Account, Instance, OpenState, SetChange, TagRef};

    const IDLE: Duration = Duration::from_mins(10);

    fn agent(name: &str) -> Actor {
        let (login, instance) = name.split_once('@').map_or((name, None), |(login, one)| (login, Some(one)));
        Actor { account: Principal::Named(Account::new(login)), instance: instance.map(Instance::new) }
    }

    fn minute(minutes: u64) -> Time {
        Time(0) + Duration::from_secs(minutes * 60)
    }

    fn take(who: &str, heard: &[(&str, u64)]) -> AcquireLease {
        AcquireLease {
            rule: "managers".to_owned(),
            project: Project::new("a/b"),
            actor: agent(who),
            credential: Fingerprint::new("feed"),
            idle: IDLE,
            heard: heard.iter().map(|(who, at)| Heartbeat::once(agent(who), minute(*at))).collect(),
        }
    }

    #[test]
    fn patterns() {
        for (glob, name, matches) in [
            ("backlog-manager*", "backlog-manager", true),
            ("backlog-manager*", "Backlog-Manager-2", true),
            ("backlog-manager*", "my-backlog-manager", false),
            ("*manager", "backlog-manager", true),
            ("*manager", "backlog-manager-2", false),
            ("*-man*-?", "a-man-man-2", true),
            ("*-man*-?", "a-man-man-", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("**", "x", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(Glob::parse(glob).unwrap().matches(name), matches, "{glob} {name}");
        }
        for bad in ["a/b/c", "/", "a/", "/b", "a/b c", ""] {
            assert!(MemberPattern::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "  ", "a[bc]", "{a,b}", "a\\*", "!a", "a b"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    fn rule(actions: &[Kind]) -> Singleton {
        let agents = ["backlog-manager*", "bot", "worker/job-*", "solo/*"]
            .map(|text| MemberPattern::parse(text).unwrap())
            .to_vec();
        let (name, mode) = ("managers".to_owned(), Mode::Enforce);
        Singleton { name, mode, agents, actions: actions.to_vec(), idle: IDLE }
    }

    #[test]
    fn the_class_is_by_login_or_by_instance() {
        for (who, covered) in [
            ("backlog-manager-1", true),
            ("bot", true),
            ("bot@anything", true),
            ("dev@backlog-manager-1", true),
            ("dev@robot", false),
            ("worker@job-1", true),
            ("Worker@Job-1", true),
            ("worker@other", false),
            ("worker", false),
            ("dev@job-1", false),
            ("dev@worker", false),
            ("solo", true),
            ("solo@anything", true),
            ("dev@solo", false),
            ("dev", false),
        ] {
            assert_eq!(rule(&[]).covers(&agent(who)), covered, "{who}");
        }
        let instance = Some(Instance::new("backlog-manager"));
        let opaque = Actor { account: Principal::Opaque(Fingerprint::new("bot")), instance };
        assert!(rule(&[]).covers(&opaque));
        assert!(!rule(&[]).covers(&Actor { instance: None, ..opaque }));
    }

    #[test]
    fn what_a_write_does() {
        let labels = Some(SetChange::Add([TagRef::number(1)].into()));
        let (moves, plain) = (Change { labels, ..Change::default() }, Change::default());
        let closes = Change { state: Some(OpenState::Closed), ..Change::default() };
        for (actions, kind, change, acts) in [
            (&[Kind::Move][..], Kind::Move, &moves, true),
            (&[Kind::Move], Kind::Claim, &plain, false),
            (&[Kind::Move], Kind::Claim, &moves, true),
            (&[Kind::Move], Kind::Release, &closes, true),
            (&[Kind::Move], Kind::Create, &moves, false),
            (&[Kind::Claim], Kind::Claim, &moves, true),
            (&[Kind::Claim], Kind::Move, &moves, false),
            (&[Kind::Create, Kind::Move], Kind::Create, &plain, true),
            (&[], Kind::Move, &moves, false),
        ] {
            assert_eq!(rule(actions).acts(kind, change), acts, "{actions:?} {kind:?} {change:?}");
        }
    }

    /// Who is at work at minute 15, after `one` took the project at minute 10, by who asks and what was heard.
    #[test]
    fn who_is_at_work() {
        type Case = (&'static str, &'static str, &'static [(&'static str, u64)], u64, Result<u64, u64>);
        let cases: [Case; 9] = [
            ("the same goes on", "one", &[], 15, Ok(10)),
            ("another is told who, and when it ends", "two", &[], 15, Err(20)),
            ("until the very end", "two", &[], 19, Err(20)),
            ("then it may", "two", &[], 20, Ok(20)),
            ("the same begins anew after idling", "one", &[], 20, Ok(20)),
            ("what was heard of the one counts", "two", &[("one", 18)], 21, Err(28)),
            ("of others not", "two", &[("three", 18), ("two", 19)], 21, Ok(21)),
            ("nor what was heard too late", "two", &[("one", 20)], 21, Ok(21)),
            ("the first that names itself goes on", "one@x", &[], 15, Ok(10)),
        ];
        let first = take("one", &[]).over(None, minute(10)).unwrap();
        let named = take("one@x", &[]).over(Some(&first), minute(15)).unwrap();
        assert!(take("one", &[]).over(Some(&named), minute(16)).is_err(), "then no name is another agent");
        for (case, who, heard, at, expected) in cases {
            let after = take(who, heard).over(Some(&first), minute(at));
            let told = after.map(|lease| lease.since).map_err(|lease| lease.until);
            assert_eq!(told, expected.map(minute).map_err(minute), "{case}");
        }
    }

    /// Written down late: what was heard without a gap counts to its end, what came after a silence does not.
    #[test]
    fn a_silence_cannot_be_made_up_for() {
        let first = take("one", &[]).over(None, minute(0)).unwrap();
        for (times, until) in [(&[8, 16, 24][..], 34), (&[8, 18], 10), (&[12], 10), (&[8, 17, 30], 10)] {
            let mut heard = Heartbeat::once(agent("one"), minute(times[0]));
            times[1..].iter().for_each(|at| heard.again(minute(*at), IDLE));
            let mut lease = first.clone();
            renew(&mut lease, &heard, IDLE);
            assert_eq!(lease.until, minute(until), "{times:?}");
        }
    }

    #[test]
    fn a_credential_that_got_a_name_is_the_same_agent() {
        let opaque = Actor { account: Principal::Opaque(Fingerprint::new("feed")), instance: None };
        let first = AcquireLease { actor: opaque, ..take("one", &[]) }.over(None, minute(0)).unwrap();
        assert_eq!(take("one", &[]).over(Some(&first), minute(5)).unwrap().since, minute(0));
        let stranger = AcquireLease { credential: Fingerprint::new("beef"), ..take("one", &[]) };
        assert!(stranger.over(Some(&first), minute(5)).is_err());
    }
}
