//! What each key may say alone but not together with another.
//!
//! Pure: a typed configuration in, sentences out, each put at the key that the operator wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::layers::Merged;
use super::{Config, LedgerUrl, ListenAddress, Mode, Server, Tracker, Upstream, WebMode, Workflow, show_duration};
use crate::effect::{DEAD_AFTER, HEARTBEAT};

mod intercept;
mod once;
mod singletons;
mod unreachable;

/// States that every item has without a label, and which therefore no label may be called.
const BUILT_IN_STATES: [&str; 3] = ["none", "open", "closed"];

/// Of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Names of states, each with the path at which it stands.
type Named<'a> = Vec<(String, &'a String)>;

/// Reports everything that does not fit together.
pub(super) fn check(config: &Config, out: &mut Merged<'_>) {
    listeners(config, out);
    tls(config, out);
    intercept::check(config, out);
    limits(config, out);
    urls(config, out);
    periods(config, out);
    shared_periods(config, out);
    people(config, out);
    states(&config.workflow, out);
    moves(&config.workflow, out);
    expect_status(config, out);
    singletons::check(config, out);
    once::check(config, out);
    outputs(config, out);
    web(config, out);
    webhooks(config, out);
    github(config, out);
    redmine(config, out);
    linear(config, out);
    trello(config, out);
    jira(config, out);
    first_day(config, out);
    unreachable::check(config, out);
}

/// Who only observes claims means to refuse nothing yet; what refuses all the same is said.
fn first_day(config: &Config, out: &mut Merged<'_>) {
    let limited = config.limits.items > 0 || config.limits.items_per_repository > 0;
    let modes = [
        ("assignment", config.assignment.mode),
        ("workflow", config.workflow.mode),
        ("limits", if limited { config.limits.mode } else { Mode::Observe }),
    ];
    let singletons = config.singleton.iter().map(|rule| ("singleton", rule.mode));
    let once = config.once.iter().map(|rule| ("once", rule.mode));
    let all = modes.into_iter().chain(singletons).chain(once);
    let mut enforced: Vec<&str> = all.filter(|(_, mode)| *mode == Mode::Enforce).map(|(name, _)| name).collect();
    enforced.dedup();
    if config.assignment.mode == Mode::Observe && !enforced.is_empty() {
        out.warn(format!(
            "assignment.mode is \"observe\", and still \"enforce\" is the mode of {}: writes are refused by that",
            enforced.join(", ")
        ));
    }
}

/// Works, and refuses nearly all: said, not refused.
fn web(config: &Config, out: &mut Merged<'_>) {
    if config.web.mode == WebMode::Enforce && config.upstream.service_token_file.is_none() {
        out.warn(
            "web.mode = \"enforce\" without upstream.service_token_file: a session cannot be read with, so every form of \
             the web interface that changes an assignee, a label or a state will be refused"
                .to_owned(),
        );
    }
}

/// They are taken, and lead to nothing: said, not refused.
fn webhooks(config: &Config, out: &mut Merged<'_>) {
    if config.upstream.webhook_secret_file.is_some() && config.upstream.service_token_file.is_none() {
        out.warn(
            "upstream.webhook_secret_file without upstream.service_token_file: webhooks will be taken and change \
             nothing, since each only leads to a read, for which there is no token"
                .to_owned(),
        );
    }
}

/// The gate does not read GitHub's reviews.
fn github(config: &Config, out: &mut Merged<'_>) {
    if config.upstream.tracker == Tracker::GitHub && !config.once.is_empty() {
        let message = "[[once]] is about reviews and pull requests, which the gate does not read of GitHub".to_owned();
        out.report_at(&["once", "upstream.tracker"], message, Some("leave the rules out".to_owned()));
    }
}

/// Linear has neither.
fn linear(config: &Config, out: &mut Merged<'_>) {
    if config.upstream.tracker == Tracker::Linear && !config.once.is_empty() {
        let message = "[[once]] is about reviews and pull requests, and Linear has neither".to_owned();
        out.report_at(&["once", "upstream.tracker"], message, Some("leave the rules out".to_owned()));
    }
}

/// What is about things that Redmine does not have would never apply.
fn redmine(config: &Config, out: &mut Merged<'_>) {
    if config.upstream.tracker != Tracker::Redmine {
        return;
    }
    if !config.once.is_empty() {
        let message = "[[once]] is about reviews and pull requests, and Redmine has neither".to_owned();
        out.report_at(&["once", "upstream.tracker"], message, Some("leave the rules out".to_owned()));
    }
    if config.upstream.webhook_secret_file.is_some() {
        out.warn(
            "upstream.webhook_secret_file: Redmine's webhooks are not read, so that it means nothing here".to_owned(),
        );
    }
}

/// The same of Trello, which signs its webhooks together with the address that it calls.
fn trello(config: &Config, out: &mut Merged<'_>) {
    if config.upstream.tracker != Tracker::Trello {
        return;
    }
    if config.upstream.webhook_secret_file.is_some() && config.upstream.webhook_url.is_none() {
        let message =
            "Trello signs the address that it calls, too: without it no webhook can be told from a forged one";
        let help = Some("set upstream.webhook_url to the address with which the webhook was made".to_owned());
        out.report_at(&["upstream.webhook_url"], message.to_owned(), help);
    }
    if !config.once.is_empty() {
        let message = "[[once]] is about reviews and pull requests, and Trello has neither".to_owned();
        out.report_at(&["once", "upstream.tracker"], message, Some("leave the rules out".to_owned()));
    }
}

fn jira(config: &Config, out: &mut Merged<'_>) {
    if config.upstream.tracker == Tracker::Jira && !config.once.is_empty() {
        let message = "[[once]] is about reviews and pull requests, and Jira has neither".to_owned();
        out.report_at(&["once", "upstream.tracker"], message, Some("leave the rules out".to_owned()));
    }
}

fn listeners(config: &Config, out: &mut Merged<'_>) {
    let server = &config.server;
    let further = server.listener.iter().enumerate();
    let further = further.map(|(index, l)| (format!("server.listener.{index}.address"), l.address.clone()));
    let mut all = vec![("server.listen".to_owned(), server.listen.clone())];
    all.extend(server.admin.map(|admin| ("server.admin".to_owned(), ListenAddress::Tcp(admin))));
    all.extend(further);
    for (index, (path, address)) in all.iter().enumerate() {
        if let Some((other, _)) = all[..index].iter().find(|(_, other)| collide(address, other)) {
            let message = format!("`{path}` and `{other}` are the same address {address}");
            let help =
                if address.tcp().is_some() { "give each listener a port of its own" } else { "give each its own" };
            out.report_at(&[path, other], message, Some(help.to_owned()));
        }
    }
    socket_files(server, out);
    let exposed = server.admin.filter(|admin| !admin.ip().is_loopback());
    if let (Some(admin), None) = (exposed, &server.admin_token_file) {
        let message = format!("the admin listener {admin} can be reached from outside and asks for no token");
        let help = "set server.admin_token_file, or keep it on 127.0.0.1".to_owned();
        out.report_at(&["server.admin", "server.admin_token_file"], message, Some(help));
    }
    let mut names = BTreeSet::new();
    for (index, name) in server.listener.iter().enumerate().filter_map(|(index, l)| Some((index, l.instance.as_ref()?)))
    {
        if !names.insert(name) {
            let message = format!("two listeners stand for the instance `{name}`");
            out.report_at(&[&format!("server.listener.{index}.instance")], message, None);
        }
    }
}

/// Whether two addresses cannot both be bound. Port 0 is a new port each time.
fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    let (Some(one), Some(other)) = (one.tcp(), other.tcp()) else { return one == other };
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}

/// What only a socket in the file system has, and what it has not.
fn socket_files(server: &Server, out: &mut Merged<'_>) {
    for (index, listener) in server.listener.iter().enumerate() {
        let at = |key: &str| format!("server.listener.{index}.{key}");
        if listener.address.tcp().is_none() {
            if listener.tls {
                let message = "a unix socket does not speak TLS: nobody is between its two ends".to_owned();
                out.report_at(&[&at("tls")], message, Some("remove tls".to_owned()));
            }
            continue;
        }
        let given = [
            ("mode", listener.mode.is_some()),
            ("owner", listener.owner.is_some()),
            ("group", listener.group.is_some()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            let message = format!("`{key}` is for unix sockets, and this listener has a port");
            out.report_at(&[&at(key)], message, None);
        }
    }
}

fn tls(config: &Config, out: &mut Merged<'_>) {
    let tls = &config.server.tls;
    if tls.key.is_some() != tls.certificate.is_some() {
        let (there, missing) = if tls.key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
        let message = format!("`server.tls.{there}` without `server.tls.{missing}`");
        out.report_at(&[&format!("server.tls.{there}")], message, Some("TLS needs both".to_owned()));
    }
    let with_tls = config.server.listener.iter().enumerate().filter(|(_, l)| l.tls && l.address.tcp().is_some());
    for (index, _) in with_tls.filter(|(_, l)| !l.intercept && tls.certificate.is_none()) {
        let message = "this listener speaks TLS, and there is no certificate".to_owned();
        let help = "set server.tls.certificate and server.tls.key".to_owned();
        out.report_at(&[&format!("server.listener.{index}.tls")], message, Some(help));
    }
}

fn limits(config: &Config, out: &mut Merged<'_>) {
    let (server, assignment) = (&config.server, &config.assignment);
    let positive = [
        ("server.max_connections", server.max_connections),
        ("server.max_headers", server.max_headers),
        ("upstream.max_answer_headers", config.upstream.max_answer_headers),
        ("server.max_h2_streams", server.max_h2_streams as usize),
        ("assignment.max_assignees", assignment.max_assignees),
        ("assignment.lane_capacity", assignment.lane_capacity),
        ("assignment.max_waiting", assignment.max_waiting),
        ("assignment.max_waiting_per_agent", assignment.max_waiting_per_agent),
        ("identity.whoami_concurrency", config.identity.whoami_concurrency),
        ("identity.whoami_capacity", usize::try_from(config.identity.whoami_capacity).unwrap_or(usize::MAX)),
    ];
    for (path, _) in positive.iter().filter(|(_, value)| *value == 0) {
        out.report_at(&[path], format!("`{path}` must be at least 1: with 0 nothing would ever pass"), None);
    }
    if server.guarded_memory < server.max_guarded_body {
        let message =
            "`server.guarded_memory` is less than `server.max_guarded_body`: one such body would not fit".to_owned();
        out.report_at(&["server.guarded_memory", "server.max_guarded_body"], message, None);
    }
}

fn urls(config: &Config, out: &mut Merged<'_>) {
    let upstream = &config.upstream;
    let given = [("upstream.url", Some(&upstream.url)), ("upstream.public_url", upstream.public_url.as_ref())];
    for (path, url) in given.iter().filter_map(|(path, url)| Some((path, (*url)?))) {
        // A unix socket has no authority to check; only the tracker can be behind one.
        if *path == "upstream.url" && url.starts_with("unix:") {
            if let Err(error) = url.parse::<crate::upstream::Origin>() {
                out.report_at(&[path], format!("`{path}`: {error}"), None);
            }
        } else if let Err(reason) = check_url(url) {
            let help = Some(
                "write it as \"http://127.0.0.1:3000\", \"https://forge.example/sub\" or \"unix:/run/forgejo.sock\""
                    .to_owned(),
            );
            out.report_at(&[path], format!("`{path}` {reason}"), help);
        }
    }
    let authority = upstream.url.parse::<http::Uri>().ok().and_then(|uri| uri.authority()?.as_str().parse().ok());
    if authority.is_some_and(|address: SocketAddr| address.port() != 0 && Some(address) == config.server.listen.tcp()) {
        let message = "`upstream.url` is the gate's own listener: each request would come back for ever".to_owned();
        out.report_at(&["upstream.url", "server.listen"], message, None);
    }
    resolve(upstream, out);
    for word in &upstream.closing_keywords {
        if word.is_empty() || !word.chars().all(char::is_alphabetic) {
            let message = format!("`upstream.closing_keywords`: `{word}` is not one word of letters alone");
            out.report_at(&["upstream.closing_keywords"], message, None);
        }
    }
    if !matches!(upstream.refusal_status, 409 | 422) {
        let message = format!("`upstream.refusal_status` is {}, and must be 409 or 422", upstream.refusal_status);
        out.report_at(&["upstream.refusal_status"], message, None);
    }
    if upstream.refusal_status == 422 && upstream.tracker != Tracker::GitHub {
        let message = "`upstream.refusal_status` is for clients of GitHub".to_owned();
        out.report_at(&["upstream.refusal_status", "upstream.tracker"], message, None);
    }
    if upstream.ca_file.is_some() && !upstream.url.starts_with("https:") {
        let message = "`upstream.ca_file` has no use: `upstream.url` is not https".to_owned();
        out.report_at(&["upstream.ca_file", "upstream.url"], message, None);
    }
}

fn resolve(upstream: &Upstream, out: &mut Merged<'_>) {
    let Some(text) = &upstream.resolve else { return };
    let is_address = text.parse::<SocketAddr>().is_ok() || text.parse::<IpAddr>().is_ok();
    if !is_address {
        let message = format!("`upstream.resolve`: `{text}` is not an address with an optional port");
        out.report_at(
            &["upstream.resolve"],
            message,
            Some("write it as \"192.0.2.7\" or \"192.0.2.7:443\"".to_owned()),
        );
    } else if upstream.url.starts_with("unix:") {
        let message = "`upstream.resolve` has no use: `upstream.url` is a unix socket".to_owned();
        out.report_at(&["upstream.resolve", "upstream.url"], message, None);
    }
}

fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: http::Uri = url.parse().map_err(|_| "is not a URL")?;
    let authority = uri.authority().ok_or("has no host")?.as_str();
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("must begin with http:// or https://"),
    }
    if authority.contains('@') {
        return Err("must not contain a user or a password: callers bring their own credentials");
    }
    if uri.query().is_some() || url.contains('#') {
        return Err("must not have a query or a fragment");
    }
    Ok(())
}

fn periods(config: &Config, out: &mut Merged<'_>) {
    let (ledger, upstream, assignment) = (&config.ledger, &config.upstream, &config.assignment);
    let sent_by = upstream.write_timeout + ledger.emit_window;
    if ledger.doubt_period < sent_by {
        let message = format!(
            "`ledger.doubt_period` ({}) is shorter than upstream.write_timeout + ledger.emit_window ({}): an item may open \
             again while a write of it may still land; raise it, or shorten the others",
            show_duration(ledger.doubt_period),
            show_duration(sent_by),
        );
        out.warn(message);
    }
    if ledger.zombie_period < ledger.doubt_period {
        let message = "`ledger.zombie_period` is shorter than `ledger.doubt_period`".to_owned();
        let help = Some("about ten times doubt_period".to_owned());
        out.report_at(&["ledger.zombie_period", "ledger.doubt_period"], message, help);
    }
    if let (Some(stale), Some(takeover)) = (assignment.stale_after, assignment.takeover_after)
        && takeover <= stale
    {
        let message = "`assignment.takeover_after` must be longer than `assignment.stale_after`: a holding is flagged before it is lost".to_owned();
        out.report_at(&["assignment.takeover_after", "assignment.stale_after"], message, None);
    }
}

/// Among gates that share a ledger an agent is heard of by one and judged by another: what it said last must have been written
/// down by then, also where the gate that heard it has died. And a gate must be done with what it may still send before it
/// is declared fallen.
fn shared_periods(config: &Config, out: &mut Merged<'_>) {
    let LedgerUrl::Postgres(_) = &config.ledger.url else { return };
    let least = 4 * config.ledger.renew_interval + DEAD_AFTER;
    let takeover = config.assignment.takeover_after.map(|span| ("assignment.takeover_after".to_owned(), span));
    let idle = config.singleton.iter().enumerate();
    let idle = idle.map(|(index, rule)| (format!("singleton.{index}.idle"), rule.idle));
    for (path, span) in takeover.into_iter().chain(idle).filter(|(_, span)| *span < least) {
        let message = format!(
            "`{path}` ({}) is too short for gates that share a ledger: what one gate hears of an agent the others know after \
             up to 4 * ledger.renew_interval and {}, {} in all",
            show_duration(span),
            show_duration(DEAD_AFTER),
            show_duration(least),
        );
        out.report_at(&[&path, "ledger.renew_interval"], message, Some("make it longer".to_owned()));
    }
    let most = DEAD_AFTER.saturating_sub(2 * HEARTBEAT);
    if config.ledger.emit_window >= most {
        let message = format!(
            "`ledger.emit_window` ({}) is too long for gates that share a ledger: a gate that is silent for {} is declared fallen",
            show_duration(config.ledger.emit_window),
            show_duration(DEAD_AFTER),
        );
        let help = format!("make it shorter than {}", show_duration(most));
        out.report_at(&["ledger.emit_window", "ledger.url"], message, Some(help));
    }
}

fn people(config: &Config, out: &mut Merged<'_>) {
    let shared: BTreeSet<_> = config.identity.shared_accounts.iter().map(|name| fold(name)).collect();
    for (index, name) in
        config.assignment.overriders.iter().enumerate().filter(|(_, name)| shared.contains(&fold(name)))
    {
        let message =
            format!("`{name}` is an overrider and a shared account: all agents behind it would be above the rules");
        let path = format!("assignment.overriders.{index}");
        out.report_at(&[&path, "assignment.overriders", "identity.shared_accounts"], message, None);
    }
    let must_name = config.identity.unnamed == super::Unnamed::Refuse;
    if must_name && config.identity.sources.is_empty() {
        let message = "`identity.unnamed = \"refuse\"` needs an instance, and `identity.sources` is empty: every claim would be refused".to_owned();
        out.report_at(&["identity.unnamed", "identity.sources"], message, None);
    }
    if !shared.is_empty() && !out.is_built_in("identity.shared_accounts") && config.identity.sources.is_empty() {
        let message = "`identity.shared_accounts` need an instance, and `identity.sources` is empty: every claim would be refused".to_owned();
        out.report_at(&["identity.sources", "identity.shared_accounts"], message, None);
    }
    let by_listener = config.identity.sources.contains(&super::InstanceSource::Listener);
    if let Some(index) = config.server.listener.iter().position(|l| l.instance.is_some()).filter(|_| !by_listener) {
        let message = "this listener names an instance, and \"listener\" is not among `identity.sources`".to_owned();
        out.report_at(&[&format!("server.listener.{index}.instance"), "identity.sources"], message, None);
    }
}

fn states(workflow: &Workflow, out: &mut Merged<'_>) {
    let mut seen = BTreeSet::new();
    for (index, state) in workflow.states.iter().enumerate() {
        let path = format!("workflow.states.{index}");
        if BUILT_IN_STATES.contains(&fold(state).as_str()) {
            let message =
                format!("`{state}` is a state that every item has without a label: no label may be called so");
            out.report_at(&[&path], message, None);
        } else if state.trim().is_empty() {
            out.report_at(&[&path], "a status needs a name".to_owned(), None);
        } else if !seen.insert(fold(state)) {
            out.report_at(&[&path], format!("`{state}` is in `workflow.states` twice (case does not count)"), None);
        }
    }
    for (key, names) in [("working", &workflow.working), ("consume", &workflow.consume)] {
        let unknown = names.iter().enumerate().filter(|(_, name)| !seen.contains(&fold(name)));
        let unknown: Named<'_> = unknown.map(|(index, name)| (format!("workflow.{key}.{index}"), name)).collect();
        unknown_states(&format!("workflow.{key}"), &unknown, &workflow.states, out);
    }
}

fn moves(workflow: &Workflow, out: &mut Merged<'_>) {
    let known = known_states(workflow);
    let (mut by_pair, mut unknown) = (BTreeMap::new(), Named::new());
    for (index, rule) in workflow.moves.iter().enumerate() {
        let base = format!("workflow.move.{index}");
        let froms = rule.from.iter().enumerate().map(|(at, name)| (format!("{base}.from.{at}"), name));
        let all = froms.chain([(format!("{base}.to"), &rule.to)]);
        unknown.extend(all.filter(|(_, name)| !known.contains(&fold(name))));
        if rule.from.is_empty() {
            let path = format!("{base}.from");
            out.report_at(&[&path], format!("a move to `{}` from nowhere can never happen", rule.to), None);
        }
        for from in &rule.from {
            let before = by_pair.insert((fold(from), fold(&rule.to)), rule.by);
            if before.is_some_and(|by| by != rule.by) {
                let message = format!(
                    "the move from `{from}` to `{}` is allowed by one rule to the holder, by another to anyone",
                    rule.to
                );
                out.report_at(&[&format!("{base}.by"), &format!("{base}.from")], message, None);
            }
        }
    }
    unknown_states("workflow.move", &unknown, &workflow.states, out);
}

fn expect_status(config: &Config, out: &mut Merged<'_>) {
    let known = known_states(&config.workflow);
    let key = "assignment.expect_status";
    let names = config.assignment.expect_status.iter().enumerate().filter(|(_, name)| !known.contains(&fold(name)));
    let unknown: Named<'_> = names.map(|(index, name)| (format!("{key}.{index}"), name)).collect();
    unknown_states(key, &unknown, &config.workflow.states, out);
}

/// Says each name once. One that a built-in key names is no mistake where it stands: whoever renames the states must
/// write that key, too.
fn unknown_states(key: &str, named: &Named<'_>, states: &[String], out: &mut Merged<'_>) {
    let mut said = BTreeSet::new();
    let first = named.iter().filter(|(_, name)| said.insert(fold(name)));
    let first: Vec<_> = first.map(|(path, name)| (path, format!("`{name}`"))).collect();
    if first.is_empty() {
        return;
    }
    if out.is_built_in(key) {
        let list: Vec<&str> = first.iter().map(|(_, name)| name.as_str()).collect();
        let message = format!("`{key}` (built in) names {}: not among `workflow.states`", list.join(", "));
        let help = "set workflow.working and [[workflow.move]], too".to_owned();
        return out.report_at(&["workflow.states", key], message, Some(help));
    }
    for (path, name) in first {
        let help = format!("there are: {}, and none, open, closed", states.join(", "));
        out.report_at(&[path, key, "workflow.states"], format!("{name} is not among `workflow.states`"), Some(help));
    }
}

fn known_states(workflow: &Workflow) -> BTreeSet<String> {
    let labels = workflow.states.iter().map(|state| fold(state));
    labels.chain(BUILT_IN_STATES.map(str::to_owned)).collect()
}

fn outputs(config: &Config, out: &mut Merged<'_>) {
    if !config.audit.stdout && config.audit.file.is_none() {
        let message = "nothing would record the decisions: `audit.stdout` is off and `audit.file` is empty".to_owned();
        out.report_at(&["audit.stdout"], message, None);
    }
    if let Some(why) = not_understood(&config.log.level) {
        let help = format!("write one of {}, or targets like claimgate=debug,hyper=warn", LEVELS.join(", "));
        out.report_at(&["log.level"], format!("`log.level` is not understood: {why}"), Some(help));
    }
}

/// Why the log would not be what its level says. Its library takes any word that is no level for a module, and logs
/// nothing else then.
fn not_understood(level: &str) -> Option<String> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_directive = |part: &str| match part.split_once('=') {
        Some((target, level)) => !target.is_empty() && !target.contains(char::is_whitespace) && is_level(level),
        None => is_level(part),
    };
    match level.split(',').find(|part| !is_directive(part)) {
        Some(part) => Some(format!("`{part}` is neither a level nor a target with one")),
        None => level.parse::<tracing_subscriber::filter::Targets>().err().map(|error| error.to_string()),
    }
}

fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}
