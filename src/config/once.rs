//! `[[once]]`: what may be created once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Config;
use super::layers::Merged;
use super::sections::{By, Mode};
use super::values::choice;
use crate::admission::once::{AgentPattern, EVENTS, Template};
use crate::model::What;

/// `[[once]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Once {
    /// For messages.
    pub name: String,
    /// What it is about.
    pub what: OnceWhat,
    /// Whom it binds.
    #[serde(default = "everybody")]
    pub agents: Vec<String>,
    /// The verdicts that count.
    #[serde(default = "verdicts")]
    pub events: Vec<String>,
    /// What makes two of them one.
    pub key: String,
    /// Who may open a pull request.
    #[serde(default = "anyone")]
    pub by: By,
    /// What the second caller gets.
    #[serde(default = "refuse")]
    pub answer: OnceAnswer,
    /// Refuse, or only record.
    #[serde(default = "enforce")]
    pub mode: Mode,
}

choice! {
    /// What may be created once.
    OnceWhat {
        /// A review of a pull request.
        Review = "review",
        /// A pull request that closes an issue.
        Pull = "pull",
    }
}

choice! {
    /// What the second caller gets.
    OnceAnswer {
        /// A refusal.
        Refuse = "refuse",
        /// The first, as if it were its own.
        First = "first",
    }
}

fn everybody() -> Vec<String> {
    vec!["*".to_owned()]
}

fn verdicts() -> Vec<String> {
    EVENTS.map(str::to_owned).into()
}

fn anyone() -> By {
    By::Anyone
}

fn refuse() -> OnceAnswer {
    OnceAnswer::Refuse
}

fn enforce() -> Mode {
    Mode::Enforce
}

/// Reports what does not fit together.
pub(super) fn check(config: &Config, out: &mut Merged<'_>) {
    let mut names = BTreeSet::new();
    for (index, rule) in config.once.iter().enumerate() {
        let base = format!("once.{index}");
        if rule.name.trim().is_empty() {
            out.report_at(&[&format!("{base}.name")], "a rule needs a name".to_owned(), None);
        } else if !names.insert(rule.name.as_str()) {
            let message = format!("two `[[once]]` rules are called `{}`", rule.name);
            out.report_at(&[&format!("{base}.name")], message, None);
        }
        if let Err(why) = Template::parse(rule.what.model(), &rule.key) {
            let help = Some("write it as \"{pull} {commit} {class}\" for reviews, \"{issue}\" for pulls".to_owned());
            out.report_at(&[&format!("{base}.key")], format!("the key \"{}\": {why}", rule.key), help);
        }
        agents(rule, &base, out);
        events(rule, &base, out);
        if rule.what == OnceWhat::Review && rule.by == By::Holder {
            let message = "`by` is about pull requests: a review has no holder".to_owned();
            out.report_at(&[&format!("{base}.by")], message, None);
        }
    }
}

fn agents(rule: &Once, base: &str, out: &mut Merged<'_>) {
    if rule.agents.is_empty() {
        let help = Some("leave `agents` out for everybody".to_owned());
        out.report_at(&[&format!("{base}.agents")], "the rule binds nobody".to_owned(), help);
    }
    for (at, text) in rule.agents.iter().enumerate() {
        if let Err(why) = AgentPattern::parse(text) {
            out.report_at(&[&format!("{base}.agents.{at}")], why, None);
        }
    }
}

fn events(rule: &Once, base: &str, out: &mut Merged<'_>) {
    let path = format!("{base}.events");
    if rule.events.is_empty() {
        out.report_at(&[&path], "no verdict counts, so the rule is about nothing".to_owned(), None);
    }
    for (at, event) in rule.events.iter().enumerate().filter(|(_, event)| !EVENTS.contains(&event.as_str())) {
        let help = Some(format!("there are {}", EVENTS.join(", ")));
        out.report_at(&[&format!("{path}.{at}"), &path], format!("`{event}` is not a verdict"), help);
    }
}

// === impl OnceWhat ===

impl OnceWhat {
    /// As the rules know it.
    pub fn model(self) -> What {
        match self {
            Self::Review => What::Review,
            Self::Pull => What::Pull,
        }
    }
}
