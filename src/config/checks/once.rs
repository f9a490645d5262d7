//! What may be created once.

use std::collections::BTreeSet;

use super::super::layers::Merged;
use super::super::{By, Config, Once, OnceWhat};
use crate::admission::once::{AgentPattern, EVENTS, Template};

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
