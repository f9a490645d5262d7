//! From configuration to parts: the only place that knows both.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
#[cfg(feature = "postgres")]
use sha2::{Digest as _, Sha256};

use crate::admission::once::{AgentPattern, OnceRule, SecondGets, Template};
use crate::admission::{self, MemberPattern, Rules};
use crate::clock::SystemEntropy;
use crate::config::{self, Config, ListenAddress};
use crate::dialect::{self, ClosingSyntax, Credential, Dialect, DialectOptions, RefusalStatus};
use crate::effect::{BodyBudget, Clock, FingerprintKey, Identify, Ledger, Metrics, Upstream};
use crate::gate::{ConcurrencyLimits, Gate, LaneLimits, LeadsHome, Ports, Settings, Verify};
use crate::identity::{Directory, DirectoryLimits};
use crate::ledger::{Retention, SqliteOptions};
use crate::model::{Account, Kind, Status, Time};
use crate::proxy::{
    Forwarded, Front, GateGuard, GuardConfig, HostSent, InstanceSource, InterceptedHost, PassConfig, Shared,
};
use crate::server::{
    Bind, Inherited, InterceptConfig, Interceptor, Limits, ListenerConfig, Server, ServerConfig, SocketFile, TlsFiles,
};
use crate::upstream::{Endpoint, HttpUpstream, Origin, PoolConfig, UpstreamConfig, WatchedUpstream};

/// The gate over this clock and ledger. Needs the runtime on which guarded sections will run.
pub(super) fn gate(
    config: &Config,
    clock: &Arc<dyn Clock>,
    ledger: &Arc<dyn Ledger>,
    metrics: &Metrics,
    fingerprint_key: FingerprintKey,
) -> anyhow::Result<Arc<Gate>> {
    let dialect = dialect(config)?;
    let room = BodyBudget::new(usize::try_from(config.server.guarded_memory).unwrap_or(usize::MAX));
    let inner = HttpUpstream::new(&UpstreamConfig { room: Arc::clone(&room), ..self::upstream(config)? })?;
    let upstream: Arc<dyn Upstream> = Arc::new(WatchedUpstream { inner, health: metrics.health.clone() });
    let identify: Arc<dyn Identify> = Arc::new(Directory::new(
        Arc::clone(&dialect),
        Arc::clone(&upstream),
        metrics.clone(),
        fingerprint_key,
        directory_limits(config),
    ));
    let ports = Ports {
        dialect,
        upstream,
        ledger: Arc::clone(ledger),
        identify,
        clock: Arc::clone(clock),
        entropy: Arc::new(SystemEntropy),
        metrics: metrics.clone(),
        service: service(config)?,
        room,
    };
    Ok(Gate::new(ports, settings(config), rules(config)))
}

/// The edge in front of a gate, its sockets open. Guarded sections run on the runtime that this is called on.
pub(super) fn edge(
    config: &Config,
    gate: &Arc<Gate>,
    inherited: Inherited,
    interceptor: Option<&Arc<Interceptor>>,
) -> anyhow::Result<Server> {
    let handle = tokio::runtime::Handle::current();
    let guard = GateGuard::new(Arc::clone(gate), handle.clone(), guard_config(config)?);
    let metrics = &gate.ports().metrics;
    let rewritten = Some(metrics.unrewritten.clone()).filter(|_| rewrites_urls(config));
    let pass = PassConfig { rewritten, ..pass(config)? };
    let shared = Shared::new(guard, handle, upstream(config)?, pass)?;
    let mut listening = server(config, inherited.count(), interceptor);
    listening.limits.open = gate.ports().metrics.connections.clone();
    listening.limits.turned_away = gate.ports().metrics.turned_away.clone();
    Ok(Server::bind(listening, inherited, shared)?)
}

/// What stands behind the listeners that intercept, if there are any. Its certificates are renewed on the runtime that this
/// is called on.
pub(super) fn interceptor(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> anyhow::Result<Option<Arc<Interceptor>>> {
    if !config.server.listener.iter().any(|listener| listener.intercept) {
        return Ok(None);
    }
    let from = &config.intercept;
    let settings = InterceptConfig {
        hosts: intercepted(config)?,
        tunnels_others: from.others == config::OtherHosts::Tunnel,
        authority: from.authority(&config.server.state_dir),
        leaf_lifetime: from.leaf_lifetime,
        distrusted: metrics.distrusted.clone(),
    };
    let interceptor = Interceptor::start(settings, Arc::clone(clock)).context("[intercept]")?;
    tokio::spawn(Arc::clone(&interceptor).keep_fresh());
    Ok(Some(interceptor))
}

/// The hosts of `[intercept]`.
pub(super) fn intercepted(config: &Config) -> anyhow::Result<Vec<InterceptedHost>> {
    let hosts = config.intercept.hosts.iter().map(|host| host.parse());
    hosts.collect::<Result<_, _>>().context("intercept.hosts")
}

fn rewrites_urls(config: &Config) -> bool {
    match (config.server.rewrite_urls, config.upstream.tracker) {
        // Jira's clients write to the `self` of what they have read, and those of GitHub to the addresses that its answers name.
        (config::RewriteUrls::On, _) | (config::RewriteUrls::Auto, config::Tracker::Jira | config::Tracker::GitHub) => {
            true
        }
        // None of the others writes by the addresses of its answers: what is theirs is for people.
        (config::RewriteUrls::Off, _)
        | (
            config::RewriteUrls::Auto,
            config::Tracker::Forgejo | config::Tracker::Linear | config::Tracker::Redmine | config::Tracker::Trello,
        ) => false,
    }
}

pub(super) fn dialect(config: &Config) -> anyhow::Result<Arc<dyn Dialect>> {
    let name = config.upstream.tracker.as_str();
    let refusal = match config.upstream.refusal_status {
        422 => RefusalStatus::Unprocessable,
        _ => RefusalStatus::Conflict,
    };
    dialect::configured(name, &DialectOptions { refusal })
        .with_context(|| format!("no dialect for upstream.tracker = \"{name}\""))
}

pub(super) fn rules(config: &Config) -> Rules {
    let from = &config.assignment;
    let flow = &config.workflow;
    Rules {
        assignment: admission::Assignment {
            mode: mode(from.mode),
            expect_status: statuses(&from.expect_status),
            max_assignees: from.max_assignees,
            assign_others: from.assign_others,
            release_by: by(from.release_by),
            outside: match from.outside {
                config::Outside::Wins => admission::Outside::Wins,
                config::Outside::Hold => admission::Outside::Hold,
            },
            overriders: logins(&from.overriders),
            stale_after: from.stale_after,
            takeover_after: from.takeover_after,
            closed_after: from.closed_after,
            zombie_period: config.ledger.zombie_period,
        },
        workflow: admission::Workflow {
            mode: mode(flow.mode),
            states: statuses(&flow.states),
            one_status: dialect(config).is_ok_and(|dialect| dialect.has_one_status()),
            working: statuses(&flow.working),
            consume: statuses(&flow.consume),
            moves: flow
                .moves
                .iter()
                .map(|rule| admission::MoveRule {
                    from: statuses(&rule.from),
                    to: Status::new(&rule.to),
                    by: by(rule.by),
                })
                .collect(),
            put_back: flow.put_back,
            edit_labels: match flow.edit_labels {
                config::Editors::Overriders => admission::Editors::Overriders,
                config::Editors::Anyone => admission::Editors::Anyone,
            },
            dependencies_by: by(flow.dependencies_by),
        },
        limits: limits(&config.limits),
        singletons: config.singleton.iter().map(singleton).collect(),
        once: config.once.iter().map(once).collect(),
        shared_accounts: logins(&config.identity.shared_accounts),
        unnamed: match config.identity.unnamed {
            config::Unnamed::One => admission::Unnamed::One,
            config::Unnamed::Address => admission::Unnamed::Address,
            config::Unnamed::Refuse => admission::Unnamed::Refuse,
        },
        web: match config.web.mode {
            config::WebMode::Override => admission::Web::Override,
            config::WebMode::Enforce => admission::Web::Enforce,
        },
    }
}

fn limits(from: &config::Limits) -> admission::HoldingLimits {
    admission::HoldingLimits {
        mode: mode(from.mode),
        items: from.items,
        items_per_repository: from.items_per_repository,
        of: match from.of {
            config::Whose::Agent => admission::Whose::Agent,
            config::Whose::Account => admission::Whose::Account,
        },
    }
}

fn singleton(from: &config::Singleton) -> admission::Singleton {
    admission::Singleton {
        name: from.name(),
        mode: mode(from.mode),
        // A pattern that does not parse has been refused with the configuration.
        agents: from.agents.iter().filter_map(|text| MemberPattern::parse(text).ok()).collect(),
        actions: from.actions.iter().filter_map(|action| Kind::parse(action.as_str())).collect(),
        idle: from.idle,
    }
}

/// The texts were checked with the configuration; what is not understood all the same binds nobody.
fn once(rule: &config::Once) -> OnceRule {
    let what = rule.what.model();
    OnceRule {
        name: rule.name.clone(),
        what,
        agents: rule.agents.iter().filter_map(|text| AgentPattern::parse(text).ok()).collect(),
        events: rule.events.iter().cloned().collect(),
        key: Template::parse(what, &rule.key).unwrap_or_else(|_| Template::of(what)),
        by: by(rule.by),
        answer: match rule.answer {
            config::OnceAnswer::Refuse => SecondGets::Refusal,
            config::OnceAnswer::First => SecondGets::First,
        },
        mode: mode(rule.mode),
    }
}

fn statuses(names: &[String]) -> std::collections::BTreeSet<Status> {
    names.iter().map(|name| Status::new(name)).collect()
}

fn logins(names: &[String]) -> std::collections::BTreeSet<Account> {
    names.iter().map(|name| Account::new(name)).collect()
}

fn by(by: config::By) -> admission::By {
    match by {
        config::By::Holder => admission::By::Holder,
        config::By::Anyone => admission::By::Anyone,
    }
}

pub(super) fn mode(mode: config::Mode) -> admission::Mode {
    match mode {
        config::Mode::Enforce => admission::Mode::Enforce,
        config::Mode::Observe => admission::Mode::Observe,
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        doubt_period: config.ledger.doubt_period,
        emit_window: config.ledger.emit_window,
        verify: match config.assignment.verify {
            config::Verify::ReadBack => Verify::ReadBack,
            config::Verify::Answer => Verify::Answer,
        },
        concurrency: ConcurrencyLimits {
            all: config.assignment.max_waiting,
            per_agent: config.assignment.max_waiting_per_agent,
        },
        lanes: LaneLimits { capacity: config.assignment.lane_capacity, timeout: config.assignment.lane_timeout },
        closing: ClosingSyntax::new(
            config.upstream.closing_keywords.iter().map(String::as_str),
            config.upstream.public_url.as_deref(),
        ),
    }
}

fn directory_limits(config: &Config) -> DirectoryLimits {
    DirectoryLimits {
        lifetime: config.identity.whoami_lifetime,
        negative_lifetime: config.identity.whoami_negative_lifetime,
        capacity: config.identity.whoami_capacity,
        concurrency: config.identity.whoami_concurrency,
    }
}

fn guard_config(config: &Config) -> anyhow::Result<GuardConfig> {
    let source = |source: &config::InstanceSource| match source {
        config::InstanceSource::Listener => InstanceSource::Listener,
        config::InstanceSource::Path => InstanceSource::Path,
        config::InstanceSource::Header => InstanceSource::Header,
    };
    Ok(GuardConfig {
        max_body: usize::try_from(config.server.max_guarded_body).unwrap_or(usize::MAX),
        body_timeout: config.server.guarded_body_timeout,
        sources: config.identity.sources.iter().map(source).collect(),
        webhook_secret: secret(config.upstream.webhook_secret_file.as_deref())?,
        webhook_url: config.upstream.webhook_url.clone(),
    })
}

pub(super) fn sqlite_options(config: &Config, now: Time) -> SqliteOptions {
    SqliteOptions {
        dir: config.server.state_dir.clone(),
        zombie_period: config.ledger.zombie_period,
        doubt_period: config.ledger.doubt_period,
        keep: Retention { history: config.ledger.keep_history, refusals: config.ledger.keep_refusals },
        now,
    }
}

/// What a shared ledger's database must keep.
#[cfg(feature = "postgres")]
pub(super) fn demands(config: &Config) -> crate::ledger::Demands {
    use crate::ledger::RequiredDurability;
    let durability = match config.ledger.durability {
        config::RequiredDurability::AsFound => RequiredDurability::AsFound,
        config::RequiredDurability::Disk => RequiredDurability::Disk,
        config::RequiredDurability::Standby => RequiredDurability::Standby,
    };
    crate::ledger::Demands { durability, accept_loss: config.ledger.accept_loss }
}

/// The ledger that several gates share, as this gate sees it.
#[cfg(feature = "postgres")]
pub(super) fn postgres_options(
    config: &Config,
    url: &str,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<crate::ledger::PostgresOptions> {
    use crate::ledger::{GateName, PostgresOptions};
    let (from, upstream) = (&config.ledger, &config.upstream);
    let gate = GateName::in_dir(&config.server.state_dir, from.gate.as_deref())?;
    let rules = format!("{:?}", rules(config));
    Ok(PostgresOptions {
        url: url.to_owned(),
        password: secret(from.password_file.as_deref())?,
        ca_file: from.ca_file.clone(),
        demands: demands(config),
        gate,
        host: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        agreed: format!(
            "upstream.url {}, upstream.tracker {}, ledger.doubt_period {}, ledger.zombie_period {}",
            upstream.url,
            upstream.tracker.as_str(),
            config::show_duration(from.doubt_period),
            config::show_duration(from.zombie_period),
        ),
        rules: crate::model::hex(&Sha256::digest(rules.as_bytes()))[..8].to_owned(),
        fingerprint_key: crate::identity::random_key()?,
        zombie_period: from.zombie_period,
        doubt_period: from.doubt_period,
        keep: Retention { history: from.keep_history, refusals: from.keep_refusals },
        clock: Arc::clone(clock),
        now: None,
    })
}

pub(super) fn upstream(config: &Config) -> anyhow::Result<UpstreamConfig> {
    let from = &config.upstream;
    let origin: Origin = from.url.parse().with_context(|| format!("upstream.url = \"{}\"", from.url))?;
    let public = from.public_url.as_deref().map(str::parse).transpose().context("upstream.public_url")?;
    let resolve = from.resolve.as_deref().map(|address| resolved(address, &origin)).transpose()?;
    let listeners = config.server.listener.iter().map(|listener| &listener.address);
    Ok(UpstreamConfig {
        public,
        resolve,
        own: listeners.chain([&config.server.listen]).filter_map(ListenAddress::tcp).collect(),
        ca_file: from.ca_file.clone(),
        connect_timeout: from.connect_timeout,
        read_timeout: from.read_timeout,
        write_timeout: from.write_timeout,
        pool: PoolConfig {
            max_idle: from.pool_max_idle,
            idle_timeout: from.pool_idle_timeout,
            max_head: usize::try_from(from.max_answer_head).unwrap_or(usize::MAX),
            max_headers: from.max_answer_headers,
            ..PoolConfig::default()
        },
        ..UpstreamConfig::new(origin)
    })
}

/// An address with a port, or with the origin's.
fn resolved(address: &str, origin: &Origin) -> anyhow::Result<SocketAddr> {
    if let Ok(whole) = address.parse() {
        return Ok(whole);
    }
    let ip: IpAddr = address.parse().with_context(|| format!("upstream.resolve = \"{address}\""))?;
    match origin.place() {
        Endpoint::Tcp { port, .. } | Endpoint::Tls { port, .. } => Ok(SocketAddr::new(ip, *port)),
        Endpoint::Unix(_) => anyhow::bail!("upstream.resolve: upstream.url is a unix socket"),
    }
}

/// How clients address the gate.
pub(super) fn front(config: &Config) -> anyhow::Result<Front> {
    let (pass, upstream) = (pass(config)?, upstream(config)?);
    Ok(Front::new(pass.public_url.as_ref(), &upstream.origin, pass.agents).with_aliases(pass.aliases))
}

/// Whether a link leads to the gate's public URL, where that is known.
pub(super) fn leads_home(config: &Config) -> anyhow::Result<Option<LeadsHome>> {
    let public = config.upstream.public_url.as_deref().map(str::parse::<Origin>).transpose();
    let public = public.context("upstream.public_url")?;
    Ok(public.map(|public| -> LeadsHome {
        Box::new(move |link: &str| link.parse::<Origin>().is_ok_and(|link| link.is_same(&public)))
    }))
}

fn pass(config: &Config) -> anyhow::Result<PassConfig> {
    let public_url = config.upstream.public_url.as_deref().map(str::parse::<Origin>).transpose();
    Ok(PassConfig {
        public_url: public_url.context("upstream.public_url")?,
        forwarded: match config.server.forwarded {
            config::Forwarded::Set => Forwarded::Set,
            config::Forwarded::Append => Forwarded::Append,
            config::Forwarded::Strip => Forwarded::Strip,
        },
        host: match config.upstream.host_header {
            config::HostHeader::Client => HostSent::Clients,
            config::HostHeader::Upstream => HostSent::Upstreams,
        },
        aliases: dialect(config)?.aliases(),
        agents: config.identity.sources.contains(&config::InstanceSource::Path),
        head_timeout: config.upstream.pass_timeout,
        body_idle_timeout: config.server.body_idle_timeout,
        ..PassConfig::default()
    })
}

/// The listeners and limits; sockets that the service manager passed on stand in for `server.listen`.
fn server(config: &Config, inherited: usize, interceptor: Option<&Arc<Interceptor>>) -> ServerConfig {
    let from = &config.server;
    let files = from.tls.certificate.clone().zip(from.tls.key.clone());
    let tls = files.map(|(cert, key)| TlsFiles { cert, key });
    let main = ListenerConfig { tls: tls.clone(), ..ListenerConfig::at(bind(&from.listen)) };
    let mut listeners: Vec<ListenerConfig> = match inherited {
        0 => vec![main],
        sockets => (0..sockets).map(|index| ListenerConfig { bind: Bind::Inherited(index), ..main.clone() }).collect(),
    };
    listeners.extend(from.listener.iter().map(|listener| ListenerConfig {
        tls: tls.clone().filter(|_| listener.tls),
        instance: listener.instance.as_deref().map(Into::into),
        interceptor: interceptor.cloned().filter(|_| listener.intercept),
        ..ListenerConfig::at(further(listener))
    }));
    let or_none = |limit: usize| if limit == 0 { usize::MAX } else { limit };
    ServerConfig {
        listeners,
        workers: Some(from.workers).filter(|workers| *workers > 0),
        limits: Limits {
            max_connections: from.max_connections,
            max_connections_per_client: or_none(from.max_connections_per_client),
            max_requests: or_none(from.max_requests),
            max_requests_per_client: or_none(from.max_requests_per_client),
            tls_handshake_timeout: from.handshake_timeout,
            header_read_timeout: from.header_read_timeout,
            keep_alive_timeout: from.idle_timeout,
            write_stall_timeout: from.body_idle_timeout,
            send_buffer: usize::try_from(from.send_buffer).unwrap_or(usize::MAX),
            max_headers: from.max_headers,
            max_head_bytes: usize::try_from(from.max_header_bytes).unwrap_or(usize::MAX),
            h2_max_streams: from.max_h2_streams,
            ..Limits::default()
        },
        drain_timeout: from.drain_timeout,
    }
}

fn bind(address: &ListenAddress) -> Bind {
    match address {
        ListenAddress::Tcp(address) => Bind::Tcp(*address),
        ListenAddress::Unix(path) => Bind::Unix(SocketFile::at(path.clone())),
    }
}

fn further(listener: &config::Listener) -> Bind {
    let Bind::Unix(file) = bind(&listener.address) else { return bind(&listener.address) };
    let mode = listener.mode.unwrap_or(file.mode);
    Bind::Unix(SocketFile { mode, owner: listener.owner.clone(), group: listener.group.clone(), ..file })
}

/// The operator's own credential, from its file.
pub(super) fn service(config: &Config) -> anyhow::Result<Option<Credential>> {
    let Some(path) = &config.upstream.service_token_file else { return Ok(None) };
    let token = config::read_secret(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(dialect(config)?.service(token.expose_secret())))
}

pub(super) fn secret(path: Option<&Path>) -> anyhow::Result<Option<SecretString>> {
    path.map(|path| config::read_secret(path).with_context(|| format!("cannot read {}", path.display()))).transpose()
}
