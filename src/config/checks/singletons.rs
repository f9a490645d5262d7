//! The classes of agents that work one at a time.

use std::collections::BTreeSet;

use super::super::layers::Merged;
use super::super::{Config, Singleton};
use crate::admission::MemberPattern;

/// Longest name of a rule.
const LONGEST_NAME: usize = 64;

/// Reports rules that can never apply, and names that do not tell rules apart.
pub(super) fn check(config: &Config, out: &mut Merged<'_>) {
    let mut seen = BTreeSet::new();
    for (index, rule) in config.singleton.iter().enumerate() {
        let base = format!("singleton.{index}");
        patterns(rule, &base, out);
        name(rule, &base, &mut seen, out);
        if rule.actions.is_empty() {
            let help = Some("write actions = [\"move\"], or what else must be done by one at a time".to_owned());
            out.report_at(
                &[&format!("{base}.actions"), &base],
                "a singleton without actions never applies".to_owned(),
                help,
            );
        }
    }
}

fn patterns(rule: &Singleton, base: &str, out: &mut Merged<'_>) {
    if rule.agents.is_empty() {
        let message = "a singleton without agents never applies".to_owned();
        out.report_at(&[&format!("{base}.agents"), base], message, None);
    }
    for (index, pattern) in rule.agents.iter().enumerate() {
        if let Err(why) = MemberPattern::parse(pattern) {
            out.report_at(&[&format!("{base}.agents.{index}"), &format!("{base}.agents")], why, None);
        }
    }
}

fn name(rule: &Singleton, base: &str, seen: &mut BTreeSet<String>, out: &mut Merged<'_>) {
    let name = rule.name();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let (of_name, of_agents) = (format!("{base}.name"), format!("{base}.agents"));
    let places = [of_name.as_str(), of_agents.as_str()];
    // What the patterns lack is said of them.
    let made = rule.name.is_none() && rule.agents.first().is_none_or(|first| MemberPattern::parse(first).is_err());
    if made {
        return;
    }
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        let message = format!("`{name}` cannot name a singleton: 1 to {LONGEST_NAME} letters, digits or any of - _ .");
        out.report_at(&places, message, Some("set `name`".to_owned()));
    } else if !seen.insert(name.to_lowercase()) {
        let message = format!("two singletons are called `{name}`: the ledger could not tell them apart");
        out.report_at(&places, message, Some("give one of them another `name`".to_owned()));
    }
}
