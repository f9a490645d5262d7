//! The source state that a client says must hold, and the tag by which it can name one.
//!
//! Beside what the rules imply, a client may state what it has seen: a tag that an earlier answer carried (`If-Match`,
//! RFC 9110, 13.1.1) or a plain word for it (`Claimgate-Expect`). What is stated is compared with the read that the
//! decision itself rests on, and last: a write that would be refused anyway is refused for that reason (RFC 9110,
//! 13.2.1), so that a loser learns who holds the item and not only that it has changed. What would go through, a no-op
//! and an overrider's write and one that a rule only observes among them, goes through only if what is stated shows.
//! It is the client's own wish and no rule, so nothing lifts it.

use super::{DecisionInput, Verdict};
use crate::model::{Account, Code, Holding, OpenState, Place, Rejection, Shown, Status, hex};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;

/// Names the guarded fields of an item as one read showed them: a strong entity tag (RFC 9110, 8.8.3) over them alone.
///
/// Equal for equal assignees, status labels and open or closed, by whichever path they were read. An item that comes
/// back to an earlier state has that state's tag again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateTag(String);

/// The source state that must hold for a guarded write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// What the rules imply, and nothing more.
    #[default]
    Implied,
    /// What the client states besides.
    Stated(Box<Stated>),
}

/// What a client states; every part that is there must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// One of these tags.
    pub tags: Option<Tags>,
    /// Exactly these are assigned; none of them: nobody is.
    pub assignees: Option<BTreeSet<Account>>,
    /// Exactly these status labels show; none of them: no status label does.
    pub statuses: Option<BTreeSet<Status>>,
    /// Open or closed.
    pub state: Option<OpenState>,
}

/// The tags of `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any state, as long as the item is there.
    Any,
    /// One of these. Weak ones never match and are left out, so that there may be none.
    These(BTreeSet<StateTag>),
}

// === impl StateTag ===

impl StateTag {
    /// Of what a read showed.
    pub fn of(shown: &Shown) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"claimgate-state 1");
        let assignees = shown.assignees.iter().map(|login| login.as_str().to_ascii_lowercase());
        let statuses = shown.statuses.iter().map(|status| status.as_str().to_owned());
        list(&mut digest, &assignees.collect::<Vec<_>>());
        list(&mut digest, &statuses.collect::<Vec<_>>());
        list(&mut digest, &[shown.state.as_str().to_owned()]);
        Self(hex(&digest.finalize()[..TAG_BYTES]))
    }

    /// From what stands between the quotes.
    pub fn quoted(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// With its quotes, as a header has it.
impl fmt::Display for StateTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Lengths come first, so that no two states are the same bytes.
fn list(digest: &mut Sha256, members: &[String]) {
    digest.update((members.len() as u64).to_be_bytes());
    for member in members {
        digest.update((member.len() as u64).to_be_bytes());
        digest.update(member);
    }
}

const TAG_BYTES: usize = 16;

// === impl Expectation ===

impl Expectation {
    /// Whether what is stated, if anything is, shows.
    pub fn is_met(&self, shown: &Shown) -> bool {
        match self {
            Self::Implied => true,
            Self::Stated(stated) => stated.is_met(shown),
        }
    }

    /// The decision, unless it lets a write through whose stated state does not show.
    pub fn hold(&self, decided: (Verdict, Option<Code>), input: &DecisionInput<'_>) -> (Verdict, Option<Code>) {
        let Self::Stated(stated) = self else { return decided };
        let shown = input.rules.workflow.shown(input.seen);
        match decided.0 {
            Verdict::Reject(_) => decided,
            Verdict::Admit(_) | Verdict::Noop(_) if stated.is_met(&shown) => decided,
            Verdict::Admit(_) | Verdict::Noop(_) => {
                let held = input.record.holding.as_ref();
                (Verdict::Reject(stated.unmet(&input.seen.locator, shown, held)), None)
            }
        }
    }

    /// The refusal of a creation: what is not there yet shows no state at all.
    pub fn on_nothing(&self, place: &Place) -> Option<Box<Rejection>> {
        let Self::Stated(stated) = self else { return None };
        let message = format!(
            "a new item in {} has no state that could be as the request states ({stated}); send it without If-Match and \
             Claimgate-Expect",
            place.project_name()
        );
        let plain = Rejection::of_request(Code::PreconditionFailed, message);
        Some(Box::new(Rejection { expected: stated.to_string(), ..plain }))
    }
}

// === impl Stated ===

impl Stated {
    /// Whether a read shows all that is stated.
    pub fn is_met(&self, shown: &Shown) -> bool {
        let tag_shows = match &self.tags {
            None | Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.contains(&StateTag::of(shown)),
        };
        tag_shows
            && self.assignees.as_ref().is_none_or(|wanted| *wanted == shown.assignees)
            && self.statuses.as_ref().is_none_or(|wanted| *wanted == shown.statuses)
            && self.state.is_none_or(|wanted| wanted == shown.state)
    }

    fn unmet(&self, locator: &Place, shown: Shown, held: Option<&Holding>) -> Rejection {
        let message = format!(
            "{locator} is not as the request states it ({self}): {shown}; nothing was sent, so read the item again"
        );
        Rejection {
            resource: Some(locator.clone()),
            expected: self.to_string(),
            observed: Some(shown),
            holder: held.map(|held| held.actor.clone()),
            since: held.map(|held| held.since),
            ..Rejection::of_request(Code::PreconditionFailed, message)
        }
    }
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags = self.tags.as_ref().map(|tags| match tags {
            Tags::Any => "any state".to_owned(),
            // What the client chose to call a tag is not repeated.
            Tags::These(_) => "the state that If-Match names".to_owned(),
        });
        let assignees = self.assignees.as_ref().map(|logins| match names(logins.iter().map(Account::as_str)) {
            none if none.is_empty() => "nobody assigned".to_owned(),
            logins => format!("assigned to {logins}"),
        });
        let statuses = self.statuses.as_ref().map(|statuses| match names(statuses.iter().map(Status::as_str)) {
            none if none.is_empty() => "no status".to_owned(),
            statuses => format!("status {statuses}"),
        });
        let state = self.state.map(|state| state.as_str().to_owned());
        f.write_str(&[tags, assignees, statuses, state].into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ann,bob|backlog|open`
    fn shown(text: &str) -> Shown {
        let [assignees, statuses, state] = text.split('|').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let words = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        Shown {
            assignees: words(assignees).iter().map(|name| Account::new(name)).collect(),
            statuses: words(statuses).iter().map(|name| Status::new(name)).collect(),
            state: if state == "open" { OpenState::Open } else { OpenState::Closed },
        }
    }

    fn tag(text: &str) -> StateTag {
        StateTag::of(&shown(text))
    }

    #[test]
    fn a_tag_is_of_the_guarded_fields_and_of_nothing_else() {
        assert_eq!(tag("ann|backlog|open"), tag("ann|backlog|open"));
        assert_eq!(tag("Ann|BACKLOG|open"), tag("ann|backlog|open"), "names are compared without regard to case");
        assert_eq!(tag("bob,ann|todo,backlog|open"), tag("ann,bob|backlog,todo|open"), "these are sets");
        let states = [
            "||open",
            "||closed",
            "ann||open",
            "bob||open",
            "ann,bob||open",
            "annbob||open",
            "|ann|open",
            "|backlog|open",
            "|backlog,todo|open",
            "|backlogtodo|open",
            "ann|backlog|open",
            "ann|backlog|closed",
        ];
        let tags: BTreeSet<StateTag> = states.iter().map(|state| tag(state)).collect();
        assert_eq!(tags.len(), states.len());
        let text = tag("||open").to_string();
        assert!(text.len() == 34 && text.starts_with('"') && text.ends_with('"'), "{text}");
        assert!(text[1..33].bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        assert_eq!(StateTag::quoted(&text[1..33]), tag("||open"));
    }

    #[test]
    fn what_is_stated_holds_as_a_whole() {
        let logins = |names: &[&str]| Some(names.iter().map(|name| Account::new(name)).collect());
        let statuses = |names: &[&str]| Some(names.iter().map(|name| Status::new(name)).collect());
        let these = |states: &[&str]| Some(Tags::These(states.iter().map(|state| tag(state)).collect()));
        let none = Stated::default;
        let unassigned = || Stated { assignees: logins(&[]), ..none() };
        let anns = || Stated { assignees: logins(&["ANN"]), ..none() };
        let backlog = || Stated { statuses: statuses(&["backlog"]), ..none() };
        let no_status = || Stated { statuses: statuses(&[]), ..none() };
        let open = || Stated { state: Some(OpenState::Open), ..none() };
        for (stated, state, met) in [
            (unassigned(), "||open", true),
            (unassigned(), "ann||open", false),
            (anns(), "ann|backlog|closed", true),
            (anns(), "ann,bob||open", false),
            (anns(), "||open", false),
            (backlog(), "|backlog|open", true),
            // A move under way is in neither of its statuses alone.
            (backlog(), "|backlog,todo|open", false),
            (backlog(), "||open", false),
            (no_status(), "ann||open", true),
            (no_status(), "|todo|open", false),
            (open(), "ann|todo|open", true),
            (open(), "ann|todo|closed", false),
            (Stated { tags: Some(Tags::Any), ..none() }, "ann|todo|closed", true),
            (Stated { tags: these(&["||open"]), ..none() }, "||open", true),
            (Stated { tags: these(&["ann||open", "||open"]), ..none() }, "||open", true),
            (Stated { tags: these(&["ann||open"]), ..none() }, "||open", false),
            // Weak ones only.
            (Stated { tags: these(&[]), ..none() }, "||open", false),
            (Stated { tags: these(&["|backlog|open"]), ..backlog() }, "|backlog|open", true),
            (Stated { tags: these(&["|backlog|open"]), ..no_status() }, "|backlog|open", false),
            (Stated { tags: these(&["||open"]), ..backlog() }, "|backlog|open", false),
            (Stated { state: Some(OpenState::Closed), ..backlog() }, "|backlog|open", false),
        ] {
            assert_eq!(stated.is_met(&shown(state)), met, "{stated} of {state}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_stated_and_what_shows() {
        let stated = Stated {
            tags: Some(Tags::These(BTreeSet::new())),
            assignees: Some(BTreeSet::new()),
            statuses: Some([Status::new("backlog")].into()),
            state: Some(OpenState::Open),
        };
        let rejection = stated.unmet(&Place::from_stored("o/r#7"), shown("ann|todo|open"), None);
        assert_eq!(rejection.expected, "the state that If-Match names, nobody assigned, status backlog, open");
        assert_eq!(rejection.observed, Some(shown("ann|todo|open")));
        assert!(rejection.message.contains("assigned to ann, status todo, open"), "{}", rejection.message);
        assert_eq!(rejection.code.status(), 412);
        assert!(Expectation::Implied.on_nothing(&Place::from_stored("o/r#0")).is_none());
        let on_nothing = Expectation::Stated(Box::new(stated)).on_nothing(&Place::from_stored("o/r#0")).unwrap();
        assert_eq!((on_nothing.code, on_nothing.resource), (Code::PreconditionFailed, None));
    }
}
