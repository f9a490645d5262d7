//! Rules, and parts of them, that can never apply: no mistake that a start fails for, and never what its writer meant.

use super::super::layers::Merged;
use super::super::{Action, Config, InstanceSource, Once, Singleton};
use crate::admission::{Glob, MemberPattern};

/// The longest name that an agent may give itself.
const LONGEST_INSTANCE: usize = 64;

/// Warns of each.
pub(super) fn check(config: &Config, out: &mut Merged<'_>) {
    for rule in &config.singleton {
        let here = format!("[[singleton]] {}", rule.name());
        agents(config, &here, &rule.agents, out);
        actions(config, &here, rule, out);
    }
    for rule in &config.once {
        let here = format!("[[once]] {}", rule.name);
        agents(config, &here, &rule.agents, out);
        shadowed(&here, rule, out);
    }
    moves(config, out);
    let limits = &config.limits;
    if limits.items > 0 && limits.items_per_repository > limits.items {
        let (all, here) = (limits.items, limits.items_per_repository);
        out.warn(format!(
            "limits.items_per_repository = {here} can never apply: limits.items = {all} is reached before"
        ));
    }
}

fn agents(config: &Config, here: &str, patterns: &[String], out: &mut Merged<'_>) {
    for text in patterns {
        // What cannot be read has been refused.
        let Ok(member) = MemberPattern::parse(text) else { continue };
        let why = match &member {
            MemberPattern::Either(_) if is_exempt(config, text) => {
                Some("it is an account of assignment.overriders, which no rule refuses".to_owned())
            }
            MemberPattern::Either(glob) => not_an_account(glob).and(not_an_instance(config, glob)),
            MemberPattern::Both { account, instance } => {
                not_an_account(account).or_else(|| not_an_instance(config, instance))
            }
        };
        if let Some(why) = why {
            out.warn(format!("{here}: agents = \"{text}\" can never match: {why}"));
        }
    }
}

fn is_exempt(config: &Config, text: &str) -> bool {
    config.assignment.overriders.iter().any(|login| login.eq_ignore_ascii_case(text))
}

/// Why no account is called so.
fn not_an_account(glob: &Glob) -> Option<String> {
    let odd = glob.literals().find(|c| !(c.is_ascii_alphanumeric() || "-_.:@[]".contains(*c)));
    odd.map(|odd| format!("no account has a `{odd}` in its name"))
}

/// Why no agent can call itself so.
fn not_an_instance(config: &Config, glob: &Glob) -> Option<String> {
    let odd = glob.literals().find(|c| !(c.is_ascii_alphanumeric() || "-_.:@".contains(*c)));
    if let Some(odd) = odd {
        return Some(format!("no agent has a `{odd}` in its name"));
    }
    if glob.literals().count() > LONGEST_INSTANCE {
        return Some(format!("an agent's name has at most {LONGEST_INSTANCE} characters"));
    }
    // A name that was not given is empty.
    if glob.matches("") {
        return None;
    }
    match &config.identity.sources[..] {
        [] => Some("identity.sources is empty, so that no agent has a name".to_owned()),
        [InstanceSource::Listener] => {
            let mut names = config.server.listener.iter().filter_map(|listener| listener.instance.as_deref());
            let none = !names.any(|name| glob.matches(name));
            none.then(|| "agents are named by their listener only, and no [[server.listener]] is called so".to_owned())
        }
        _ => None,
    }
}

/// Of a rule's patterns the first that fits counts.
fn shadowed(here: &str, rule: &Once, out: &mut Merged<'_>) {
    let is_any = |text: &String| matches!(MemberPattern::parse(text), Ok(MemberPattern::Either(glob)) if glob.is_any());
    if let Some(at) = rule.agents.iter().position(is_any) {
        for text in &rule.agents[at + 1..] {
            let all = &rule.agents[at];
            out.warn(format!("{here}: agents = \"{text}\" can never match: \"{all}\" stands before it and fits all"));
        }
    }
}

fn actions(config: &Config, here: &str, rule: &Singleton, out: &mut Merged<'_>) {
    if rule.actions.contains(&Action::TakeOver) && config.assignment.takeover_after.is_none() {
        out.warn(format!("{here}: the action \"take_over\" never happens: assignment.takeover_after is \"off\""));
    }
}

fn moves(config: &Config, out: &mut Merged<'_>) {
    for rule in &config.workflow.moves {
        if rule.from.iter().all(|from| from.eq_ignore_ascii_case(&rule.to)) {
            out.warn(format!("[[workflow.move]] to \"{}\" can never apply: it starts where it ends", rule.to));
        }
    }
}
