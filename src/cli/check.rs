//! `claimgate check`: the rules in force, for a person or as JSON.
//!
//! What it prints is what an operator wants to know before a start: what is guarded, by which rules, and which of the
//! settings are not the built-in ones.

pub(super) mod online;

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use self::online::Look;
use super::{ConfigArgs, output, refuse, warn};
use crate::config::{
    self, Assignment, By, Config, Limits, ListenAddress, Loaded, Mode, Once, OnceAnswer, OnceWhat, Outside, Server,
    Singleton, Unnamed, Verify, WebMode, Whose, Workflow, show_duration, show_size,
};

/// `claimgate check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print every key with its value, and where it was set, as JSON
    #[arg(long)]
    pub json: bool,
    /// Ask the tracker, too: its version and public URL, the service token and what it sees, accounts and labels; and
    /// whether the state directory can be written. Exits 1 if something is wrong
    #[arg(long)]
    pub online: bool,
}

/// Prints the rules, or what is wrong with them.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = match config::rehearse(&args.config.layers()) {
        Ok(loaded) => loaded,
        Err(errors) => return Ok(refuse(&errors)),
    };
    warn(&loaded.warnings);
    let looks = if args.online {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Some(runtime.block_on(online::look(&loaded.config))?)
    } else {
        None
    };
    if args.json {
        let mut shown = as_json(&loaded)?;
        if let Some(looks) = &looks {
            shown["online"] = looks.iter().map(Look::to_json).collect();
        }
        output::print_line(format_args!("{shown:#}"))?;
    } else {
        output::print(as_text(&loaded)?)?;
        if let Some(looks) = &looks {
            let lines: Vec<String> = looks.iter().map(ToString::to_string).collect();
            output::print_line(format_args!("\nAsked of the tracker and the machine:\n{}", lines.join("\n")))?;
        }
    }
    Ok(if looks.iter().flatten().any(Look::is_bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn as_json(loaded: &Loaded) -> anyhow::Result<serde_json::Value> {
    let set: serde_json::Map<_, _> =
        loaded.origins.iter().map(|(key, place)| (key.clone(), place.clone().into())).collect();
    Ok(json!({ "config": serde_json::to_value(&loaded.config)?, "set_by": set }))
}

fn as_text(loaded: &Loaded) -> Result<String, fmt::Error> {
    let mut out = String::new();
    let config = &loaded.config;
    listeners(&mut out, config)?;
    guarded(&mut out, config)?;
    assignment(&mut out, &config.assignment)?;
    workflow(&mut out, &config.workflow)?;
    limits(&mut out, &config.limits)?;
    config.singleton.iter().try_for_each(|rule| singleton(&mut out, rule))?;
    once(&mut out, &config.once)?;
    web(&mut out, config)?;
    identity(&mut out, config)?;
    ledger(&mut out, config)?;
    settings(&mut out, loaded)?;
    Ok(out)
}

fn listeners(out: &mut String, config: &Config) -> fmt::Result {
    let Server { listen, admin, tls, listener, .. } = &config.server;
    let shown = |address: &ListenAddress, tls: bool| match address {
        ListenAddress::Tcp(address) if tls => format!("https://{address}"),
        ListenAddress::Tcp(address) => format!("http://{address}"),
        ListenAddress::Unix(_) => address.to_string(),
    };
    let first = shown(listen, tls.certificate.is_some());
    let (tracker, url) = (config.upstream.tracker, &config.upstream.url);
    writeln!(out, "claimgate listens on {first} and speaks to {tracker} at {url}")?;
    for more in listener {
        let stands = more.instance.as_ref().map_or_else(String::new, |name| format!(", for the agent `{name}`"));
        if more.intercept {
            let hosts = config.intercept.hosts.join(", ");
            writeln!(out, "  and on {} as {hosts}, by name and as HTTPS_PROXY{stands}", more.address)?;
        } else {
            writeln!(out, "  and on {}{stands}", shown(&more.address, more.tls))?;
        }
    }
    match admin {
        Some(admin) => {
            writeln!(
                out,
                "  admin listener on {admin}: the live page at /, /healthz /readyz /metrics /status /claims /refusals /history \
                 /mode /singletons"
            )
        }
        None => writeln!(out, "  no admin listener"),
    }
}

fn guarded(out: &mut String, config: &Config) -> fmt::Result {
    writeln!(out, "\nGuarded, one at a time per issue or pull request:")?;
    writeln!(out, "  assignees; the status labels {}; open and closed", config.workflow.states.join(", "))?;
    writeln!(
        out,
        "  bodies of such writes up to {}; everything else streams through unchanged",
        show_size(config.server.max_guarded_body)
    )
}

fn assignment(out: &mut String, rules: &Assignment) -> fmt::Result {
    writeln!(out, "\nAssignment ({}):", mode(rules.mode))?;
    let from = if rules.expect_status.is_empty() { "any status".to_owned() } else { rules.expect_status.join(", ") };
    writeln!(out, "  an item may be claimed when nobody is assigned, from {from}")?;
    writeln!(
        out,
        "  at most {} assigned; assigning somebody else is {}",
        rules.max_assignees,
        if rules.assign_others { "allowed" } else { "refused" }
    )?;
    let who = match rules.release_by {
        By::Holder => "only its holder",
        By::Anyone => "anyone",
    };
    writeln!(out, "  a held item is released by {who}{}", names(", or an overrider: ", &rules.overriders))?;
    let outside = match rules.outside {
        Outside::Wins => "ends the holding",
        Outside::Hold => "leaves the holding, and closes the item to others",
    };
    writeln!(out, "  an edit that did not cross the gate {outside}")?;
    let verify = match rules.verify {
        Verify::ReadBack => "a read of its own",
        Verify::Answer => "the tracker's answer where that shows the new state",
    };
    writeln!(out, "  each write is verified by {verify}")?;
    let after =
        |after: Option<_>| after.map_or_else(|| "never".to_owned(), |after| format!("after {}", show_duration(after)));
    writeln!(
        out,
        "  a silent holder is flagged {}, and may be taken over {}",
        after(rules.stale_after),
        after(rules.takeover_after)
    )?;
    writeln!(out, "  the holding of a closed item ends {}", after(rules.closed_after))
}

fn workflow(out: &mut String, rules: &Workflow) -> fmt::Result {
    writeln!(out, "\nWorkflow ({}):", mode(rules.mode))?;
    writeln!(out, "  worked on in: {}", or_none(&rules.working))?;
    writeln!(out, "  left only once: {}", or_none(&rules.consume))?;
    for rule in &rules.moves {
        writeln!(out, "  to {} from {}, by {}", rule.to, rule.from.join(", "), who(rule.by))?;
    }
    writeln!(out, "  to any other status: by anyone while nobody holds the item, then by its holder")?;
    let fate = if rules.put_back { "are put back" } else { "stay" };
    writeln!(out, "  labels of a claim that ended half-way {fate}")
}

fn limits(out: &mut String, rules: &Limits) -> fmt::Result {
    let (all, here) = (rules.items, rules.items_per_repository);
    if all == 0 && here == 0 {
        return writeln!(out, "\nLimits: none; an agent may hold any number of items");
    }
    let whose = match rules.of {
        Whose::Agent => "an agent (account and instance)",
        Whose::Account => "an account",
    };
    let most = |count: usize| if count == 0 { "any number of".to_owned() } else { format!("at most {count}") };
    writeln!(out, "\nLimits ({}):", mode(rules.mode))?;
    writeln!(out, "  {whose} may hold {} items at once, {} in one repository", most(all), most(here))
}

fn singleton(out: &mut String, rule: &Singleton) -> fmt::Result {
    let actions: Vec<&str> = rule.actions.iter().map(|action| action.as_str()).collect();
    writeln!(out, "\nSingleton {} ({}):", rule.name(), mode(rule.mode))?;
    writeln!(out, "  of the agents {} one at a time per {}", rule.agents.join(", "), rule.per)?;
    writeln!(out, "  counting {}, until idle for {}", actions.join(", "), show_duration(rule.idle))
}

fn web(out: &mut String, config: &Config) -> fmt::Result {
    let read = config.upstream.service_token_file.is_some();
    let how = match (config.web.mode, read) {
        (WebMode::Override, true) => "read before and after, refused by no rule: people are above them",
        (WebMode::Override, false) => {
            "refused only where they toggle what somebody holds; what they did is seen by the item's next guarded write"
        }
        (WebMode::Enforce, true) => "judged like the API's writes, all items of a form or none",
        (WebMode::Enforce, false) => {
            "refused where they change an assignee, a label or a state: there is no service token"
        }
    };
    writeln!(out, "\nWeb interface ({}):", config.web.mode)?;
    writeln!(out, "  its forms take the turns of all their items, and are recorded; {how}")
}

fn once(out: &mut String, rules: &[Once]) -> fmt::Result {
    if rules.is_empty() {
        return writeln!(out, "\nCreated once: nothing; reviews and pull requests are not limited");
    }
    writeln!(out, "\nCreated once:")?;
    for rule in rules {
        let answer = match rule.answer {
            OnceAnswer::Refuse => "is refused",
            OnceAnswer::First => "gets the first",
        };
        let what = match (rule.what, rule.by) {
            (OnceWhat::Review, _) => format!("a review ({})", rule.events.join(", ")),
            (OnceWhat::Pull, By::Anyone) => "an open pull request that closes an issue".to_owned(),
            (OnceWhat::Pull, By::Holder) => {
                "an open pull request that closes an issue, while somebody holds that by its holder".to_owned()
            }
        };
        writeln!(out, "  {} ({}): {what}", rule.name, mode(rule.mode))?;
        writeln!(out, "    one for each \"{}\" of {}; a second one {answer}", rule.key, rule.agents.join(", "))?;
    }
    Ok(())
}

fn identity(out: &mut String, config: &Config) -> fmt::Result {
    let sources: Vec<_> = config.identity.sources.iter().map(ToString::to_string).collect();
    writeln!(out, "\nWho is acting:")?;
    writeln!(out, "  the account of the credential; the agent behind it by: {}", or_none(&sources))?;
    writeln!(out, "  accounts that must name the agent: {}", or_none(&config.identity.shared_accounts))?;
    writeln!(out, "  agents without a name: {}", unnamed(config))?;
    if config.identity.agents_are_one() {
        writeln!(out, "  {}", crate::config::NO_SHARED_ACCOUNT)?;
    }
    Ok(())
}

fn unnamed(config: &Config) -> &'static str {
    match config.identity.unnamed {
        Unnamed::One => "one agent an account",
        Unnamed::Address => "one agent an account and client address",
        Unnamed::Refuse => "refused",
    }
}

fn ledger(out: &mut String, config: &Config) -> fmt::Result {
    writeln!(out, "\nLedger:")?;
    writeln!(out, "  {}", config.server.state_dir.join("ledger.sqlite").display())?;
    writeln!(
        out,
        "  after a write of unknown fate an item stays closed for {}",
        show_duration(config.ledger.doubt_period)
    )
}

fn settings(out: &mut String, loaded: &Loaded) -> fmt::Result {
    writeln!(
        out,
        "\nSet by you ({}):",
        if loaded.origins.is_empty() { "nothing; all built-in" } else { "all else built-in" }
    )?;
    loaded.origins.iter().try_for_each(|(key, place)| writeln!(out, "  {key}  ({place})"))
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforced",
        Mode::Observe => "observed only: nothing is refused",
    }
}

fn who(by: By) -> &'static str {
    match by {
        By::Holder => "its holder, or as a claim",
        By::Anyone => "anyone",
    }
}

fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn names(before: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{before}{}", names.join(", ")) }
}
