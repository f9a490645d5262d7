//! The rulings as a table.

use super::*;
use crate::model::{Account, Instance, Place, Principal};

fn actor(text: &str) -> Actor {
    let (account, instance) = text.split_once('/').map_or((text, None), |(account, name)| (account, Some(name)));
    Actor { account: Principal::Named(Account::new(account)), instance: instance.map(Instance::new) }
}

fn made(id: &str) -> Made {
    Made { id: id.to_owned(), url: format!("http://forge/{id}"), at: Place::from_stored("o/r#5") }
}

fn existing(id: &str, author: &str, since: i64) -> Existing {
    Existing {
        made: made(id),
        author: actor(author),
        since: Time(since),
        commit: "abc".into(),
        event: "APPROVED".into(),
        closes: Vec::new(),
        text: String::new(),
    }
}

fn entry(by: &str, standing: Standing) -> OnceEntry {
    OnceEntry {
        key: OnceKey::new("review: 5 abc rev-*"),
        about: Place::from_stored("o/r#5"),
        actor: actor(by),
        since: Time(0),
        attempt: AttemptId::new("one"),
        gate: GateId::new("gate"),
        epoch: Epoch(1),
        standing,
    }
}

fn rule(what: What, agents: &[&str], key: &str) -> OnceRule {
    OnceRule {
        name: what.as_str().into(),
        what,
        agents: agents.iter().map(|text| AgentPattern::parse(text).unwrap()).collect(),
        events: EVENTS.map(str::to_owned).into(),
        key: Template::parse(what, key).unwrap(),
        by: By::Anyone,
        answer: SecondGets::Refusal,
        mode: Mode::Enforce,
    }
}

/// `free`, `exists <id> by <whom> (<news>)`, `doubt <seconds>`.
fn shown(ruling: &Ruling) -> String {
    match ruling {
        Ruling::Free { replaces } => format!("free {}", replaces.as_ref().map_or("", AttemptId::as_str)),
        Ruling::Exists { first, by, learns } => {
            let how = learns.as_ref().map_or("nothing new", |learns| learns.how.as_str());
            format!("{} by {by}, {how}", first.made.id)
        }
        Ruling::InDoubt { left } => format!("doubt {} s", left.as_secs()),
    }
}

#[test]
fn a_key_is_free_taken_or_in_doubt() {
    let (early, late) = (existing("1", "rev-1", 10), existing("2", "rev-2", 20));
    let until = Time(60_000_000);
    let (sent, stands) = (Standing::Sent { until }, |id: &str| Standing::Made(made(id)));
    let also = "the oldest counts: http://forge/1, and not http://forge/2";
    let rows: [(Option<OnceEntry>, &[&Existing], i64, String); 12] = [
        (None, &[], 0, "free ".into()),
        (None, &[&early], 0, "1 by rev-1, it was there before: http://forge/1".into()),
        (None, &[&early, &late], 0, format!("1 by rev-1, it was there before, 2 times; {also}")),
        // What the ledger knows stays the survivor, and its instance is known from there.
        (Some(entry("rev-2/b", stands("2"))), &[&early, &late], 0, "2 by rev-2 (b), nothing new".into()),
        // Dismissed: free again, or the next one counts.
        (Some(entry("rev-1", stands("1"))), &[], 0, "free one".into()),
        (
            Some(entry("rev-1", stands("1"))),
            &[&late],
            0,
            "2 by rev-2, the one before no longer counts: http://forge/2".into(),
        ),
        // Sent, and nobody knows.
        (Some(entry("rev-1", sent.clone())), &[], 0, "doubt 60 s".into()),
        (Some(entry("rev-1", sent.clone())), &[], 59_999_999, "doubt 0 s".into()),
        (Some(entry("rev-1", sent.clone())), &[], 60_000_000, "free one".into()),
        (
            Some(entry("rev-1/a", sent.clone())),
            &[&early],
            0,
            "1 by rev-1 (a), the creation in doubt shows: http://forge/1".into(),
        ),
        (
            Some(entry("rev-1", sent.clone())),
            &[&early],
            99_000_000,
            "1 by rev-1, the creation in doubt shows: http://forge/1".into(),
        ),
        (
            Some(entry("rev-3", sent)),
            &[&early, &late],
            0,
            format!("1 by rev-1, the creation in doubt shows, 2 times; {also}"),
        ),
    ];
    for (entry, standing, now, expected) in rows {
        assert_eq!(shown(&judge(entry.as_ref(), standing, Time(now))), expected, "{entry:?} {standing:?}");
    }
}

#[test]
fn a_template_says_what_is_one_and_the_same() {
    let facts = |actor, commit, event| Facts { what: What::Review, actor, about: "12", commit, event };
    let (one, other, shared, bot) = (actor("Rev-1"), actor("sec-1"), actor("bot/rev-7"), actor("bot"));
    let key = |rule: &OnceRule, facts: &Facts<'_>| rule.key(facts).map(|key| key.as_str().to_owned());
    let classes = rule(What::Review, &["bot/rev-*", "rev-*", "sec-*"], "{pull} {commit} {class}");
    assert_eq!(key(&classes, &facts(&one, "ABC", "APPROVED")).as_deref(), Some("review: 12 abc rev-*"));
    assert_eq!(key(&classes, &facts(&other, "abc", "COMMENT")).as_deref(), Some("review: 12 abc sec-*"));
    assert_eq!(key(&classes, &facts(&shared, "abc", "COMMENT")).as_deref(), Some("review: 12 abc bot/rev-*"));
    // Nobody's class, no verdict of the rule's, another sort of thing.
    assert_eq!(key(&classes, &facts(&bot, "abc", "APPROVED")), None);
    assert_eq!(key(&classes, &facts(&one, "abc", "PENDING")), None);
    assert_eq!(key(&classes, &Facts { what: What::Pull, ..facts(&one, "abc", "APPROVED") }), None);
    let alone = rule(What::Review, &["*"], "{pull}/{account}/{agent}/{event}");
    assert_eq!(key(&alone, &facts(&shared, "abc", "COMMENT")).as_deref(), Some("review: 12/bot/bot (rev-7)/COMMENT"));
    let pulls = rule(What::Pull, &["*"], "{issue}");
    let facts = Facts { what: What::Pull, actor: &one, about: "7", commit: "", event: "" };
    assert_eq!(key(&pulls, &facts).as_deref(), Some("pull: 7"));
}

#[test]
fn what_stands_counts_if_it_fills_in_the_same_key() {
    let rule = rule(What::Review, &["rev-*", "bot/x*"], "{pull} {commit} {class}");
    let mut all = [existing("3", "rev-1", 30), existing("1", "rev-2", 10), existing("4", "other", 5)];
    let mut elsewhere = existing("2", "rev-1", 20);
    elsewhere.commit = "fff".into();
    let bot = existing("9", "bot", 40);
    let list = |all: &[Existing]| -> Vec<Existing> { all.to_vec() };
    let ids = |key: &str, entry: Option<&OnceEntry>, all: &[&Existing]| -> Vec<String> {
        let standing = rule.standing(&OnceKey::new(key), "5", entry, all);
        standing.iter().map(|one| one.made.id.clone()).collect()
    };
    let three = list(&all);
    let refs: Vec<&Existing> = three.iter().chain([&elsewhere, &bot]).collect();
    // Oldest first; not another class's, not another commit's.
    assert_eq!(ids("review: 5 abc rev-*", None, &refs), ["1", "3"]);
    // What the ledger recorded counts, whatever the tracker can say of its author.
    let known = entry("bot/x", Standing::Made(made("9")));
    assert_eq!(ids("review: 5 abc bot/x*", Some(&known), &refs), ["9"]);
    let doubtful = entry("bot/x", Standing::Sent { until: Time(0) });
    assert_eq!(ids("review: 5 abc bot/x*", Some(&doubtful), &refs), ["9"]);
    assert_eq!(ids("review: 5 abc bot/x*", None, &refs), [""; 0]);
    all[0].event = "PENDING".into();
    assert_eq!(ids("review: 5 abc rev-*", None, &all.iter().collect::<Vec<_>>()), ["1"]);
}

#[test]
fn a_wrong_template_or_pattern_says_what_would_be_right() {
    for (what, text, part) in [
        (What::Review, "{commit}", "needs {pull}"),
        (What::Review, "{pull} {issue}", "`{issue}` is not known of a review; there are {pull}, {commit}"),
        (What::Review, "{pull} {sha}", "{sha}"),
        (What::Review, "{pull", "never closed"),
        (What::Review, "pull}", "without its"),
        (What::Review, "a} {pull}", "without its"),
        (What::Pull, "{pull}", "`{pull}` is not known of a pull; there are {issue}, {class}"),
        (What::Pull, "", "needs {issue}"),
    ] {
        let error = Template::parse(what, text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    for text in ["", "a/b/c", "a b", "a/"] {
        assert!(AgentPattern::parse(text).is_err(), "{text}");
    }
}

/// The language of a singleton's `agents`, so that one pattern means the same in both.
#[test]
fn a_pattern_means_what_it_means_in_a_singleton() {
    for (pattern, who, fit) in [
        ("*", "anybody", true),
        ("rev-*", "REV-1", true),
        ("rev-*", "prev-1", false),
        ("rev-?", "rev-1", true),
        ("bot", "bots", false),
        ("rev-*", "bot/rev-1", true),
        ("rev-*", "bot/dev-1", false),
        ("bot/rev-*", "bot/rev-1", true),
        ("bot/rev-*", "other/rev-1", false),
        ("bot/*", "bot", true),
    ] {
        assert_eq!(AgentPattern::parse(pattern).unwrap().matches(&actor(who)), fit, "{pattern} {who}");
    }
}

#[test]
fn an_entry_is_its_own_processs_to_end() {
    let (gate, epoch) = (GateId::new("gate"), Epoch(1));
    let sent = || Some(entry("rev-1", Standing::Sent { until: Time(9) }));
    let (attempt, other) = (AttemptId::new("one"), AttemptId::new("two"));
    let run = |mut before: Option<OnceEntry>, step: OnceStep, epoch: Epoch| {
        let unchanged = before.clone();
        let said = apply(&mut before, &step, &gate, epoch);
        assert!(said.is_ok() || before == unchanged, "a refused step changes nothing");
        (said, before.map(|entry| entry.standing))
    };
    let put = |replaces| OnceStep::Put { entry: entry("rev-2", Standing::Sent { until: Time(5) }), replaces };
    // Only in the place of the entry that was looked at.
    assert_eq!(run(None, put(None), epoch), (Ok(None), Some(Standing::Sent { until: Time(5) })));
    assert_eq!(run(sent(), put(Some(attempt.clone())), epoch).0, Ok(None));
    assert_eq!(run(sent(), put(None), epoch).0, Err(Refused::Busy));
    assert_eq!(run(None, put(Some(attempt.clone())), epoch).0, Err(Refused::Busy));
    assert_eq!(run(sent(), put(Some(other.clone())), epoch).0, Err(Refused::Busy));
    // By the process that sent it, and once.
    let done = || OnceStep::Made { attempt: attempt.clone(), made: made("1") };
    assert_eq!(run(sent(), done(), epoch), (Ok(Some("created")), Some(Standing::Made(made("1")))));
    assert_eq!(run(sent(), OnceStep::Freed { attempt: attempt.clone() }, epoch), (Ok(Some("not created")), None));
    for step in [done(), OnceStep::Freed { attempt: attempt.clone() }, OnceStep::Doubted { attempt, until: Time(7) }] {
        assert_eq!(run(sent(), step.clone(), Epoch(2)).0, Err(Refused::Fenced));
        assert_eq!(run(None, step.clone(), epoch).0, Err(Refused::Fenced));
        assert_eq!(run(Some(entry("x", Standing::Made(made("1")))), step, epoch).0, Err(Refused::Fenced));
    }
    assert_eq!(run(sent(), OnceStep::Freed { attempt: other }, epoch).0, Err(Refused::Fenced));
    // What an ended life left is in doubt from now.
    let recover = |before| OnceStep::Recover { gate: gate.clone(), before: Epoch(before), until: Time(3) };
    assert_eq!(run(sent(), recover(2), Epoch(2)).1, Some(Standing::Sent { until: Time(3) }));
    assert_eq!(run(sent(), recover(1), Epoch(2)).1, Some(Standing::Sent { until: Time(9) }));
    assert_eq!(run(None, recover(2), Epoch(2)), (Ok(None), None));
}
