//! `claimgate serve`: the gate itself.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;
use secrecy::SecretSlice;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ConfigArgs, compose};
use crate::audit::{Projector, Sinks};
use crate::clock::SystemClock;
use crate::config::{self, Config, LedgerUrl, Loaded};
use crate::effect::{Clock, FingerprintKey, Ledger, Metrics};
use crate::gate::Gate;
use crate::identity::{self, KeyError};
use crate::ledger::{OpenError, SqliteLedger};
use crate::model::Time;
use crate::server::admin::{Admin, AdminConfig};
use crate::server::{
    Bind, BindError, Certificates, Drained, GateFacts, Inherited, Interceptor, Operator, Server, socket_path,
};
use crate::telemetry;

/// `claimgate serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// What SIGHUP reads again: the rules, the certificates and the log's level. What does not read stays as it was.
struct Reload {
    args: ConfigArgs,
    /// The configuration as it is in force.
    running: Config,
    certificates: Vec<Arc<Certificates>>,
    interceptor: Option<Arc<Interceptor>>,
    gate: Arc<Gate>,
    log: telemetry::Handle,
}

/// How long the audit may take to be printed at the end.
const LAST_LINES: Duration = Duration::from_secs(10);
/// Threads of the runtime on which guarded sections run. They wait for the tracker and the disk, and one that is not woken
/// by another costs less than two that share.
const GATE_THREADS: usize = 1;
/// Files, pools and listeners.
const GATES_OWN_DESCRIPTORS: u64 = 256;

/// Runs until it is told to stop.
pub fn run(args: &ServeArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let inherited = Inherited::take();
    let log = telemetry::init(&loaded.config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(GATE_THREADS)
        .thread_name("gate")
        .enable_all()
        .build()
        .context("cannot start the gate's runtime")?;
    let ended = runtime.block_on(serve(args, &loaded.config, &log, inherited));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(
    args: &ServeArgs,
    config: &Config,
    log: &telemetry::Handle,
    inherited: Inherited,
) -> anyhow::Result<ExitCode> {
    // Heard from the first moment: a signal that nobody hears yet ends the process at once.
    let (stop, hup) = (told_to_stop()?, signal(SignalKind::hangup())?);
    raise_descriptors(config.server.max_connections);
    take_small_pages();
    give_memory_back();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let OpenedLedger { ledger, recovered, fingerprint_key } = open_ledger(config, &clock).await?;
    let mut metrics = Metrics::default();
    metrics.recovered = recovered;
    let gate = compose::gate(config, &clock, &ledger, &metrics, fingerprint_key)?;
    let interceptor = compose::interceptor(config, &clock, &metrics)?;
    let server =
        compose::edge(config, &gate, inherited, interceptor.as_ref()).map_err(|error| at_its_key(config, error))?;
    let operator = Arc::new(Operator::new(Arc::clone(&gate), facts(config, clock.now()), &config.server.state_dir));
    let admin = admin(config, &server, &operator, &metrics)?;
    let projector = Projector::start(Arc::clone(&ledger), sinks(&config.audit));
    let watching = tokio::spawn(Arc::clone(&gate).watch(config.ledger.renew_interval));
    let showing = tokio::spawn(operator.run());
    let leads_home = compose::leads_home(config)?;
    let minding = tokio::spawn(Arc::clone(&gate).watch_health(leads_home));
    let reload = Reload {
        args: args.config.clone(),
        running: config.clone(),
        certificates: server.certificates(),
        interceptor,
        gate: Arc::clone(&gate),
        log: log.clone(),
    };
    let reloading = tokio::spawn(reload.on(hup));
    announce(config, &server, &admin);
    tell_modes(config, &gate);
    count_reload(&gate);
    let (stop_admin, admin_stopped) = tokio::sync::oneshot::channel::<()>();
    let admin = tokio::spawn(admin.run(async move { drop(admin_stopped.await) }));

    let drained = server.run(stop).await?;

    tell_manager(sd_notify::NotifyState::Stopping);
    // What is in flight at the edge has ended; a section whose client has gone may go on for as long as a send may take.
    let finished = tokio::time::timeout(config.server.drain_timeout, gate.drained()).await;
    if drained == Drained::Cut || finished.is_err() {
        tracing::warn!("stopped before everything had finished; what was sent without an answer is in doubt");
    }
    gate.flush_renewals().await;
    watching.abort();
    minding.abort();
    reloading.abort();
    showing.abort();
    projector.drain(LAST_LINES).await;
    if let Err(error) = ledger.leave().await {
        tracing::warn!(ledger.error = %error, "the other gates were not told that this one has stopped");
    }
    drop(stop_admin);
    admin.await??;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Where the audit goes.
fn sinks(audit: &config::Audit) -> Sinks {
    Sinks { stdout: audit.stdout, file: audit.file.clone(), rotate_size: audit.rotate_size, keep: audit.keep }
}

/// A ledger, and what comes with it.
struct OpenedLedger {
    ledger: Arc<dyn Ledger>,
    /// Writes that ended processes left.
    recovered: Counter,
    /// Of credentials' fingerprints: the ledger's own where several gates share it.
    fingerprint_key: FingerprintKey,
}

async fn open_ledger(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<OpenedLedger> {
    match &config.ledger.url {
        LedgerUrl::Sqlite => {
            let ledger = match SqliteLedger::open(compose::sqlite_options(config, clock.now())) {
                Ok(ledger) => ledger,
                Err(error @ OpenError::Unavailable(_)) => return Err(error).context("cannot open the ledger"),
                Err(error) => anyhow::bail!("{error}"),
            };
            let (recovered, fingerprint_key) = (ledger.recovered(), FingerprintKey::new(&fingerprint_key(config)?));
            Ok(OpenedLedger { ledger: Arc::new(ledger), recovered, fingerprint_key })
        }
        #[cfg(feature = "postgres")]
        LedgerUrl::Postgres(url) => {
            let options = compose::postgres_options(config, url, clock)?;
            let ledger = crate::ledger::PostgresLedger::open(options).await.context("cannot open the ledger")?;
            let (recovered, fingerprint_key) = (ledger.recovered(), ledger.fingerprint_key());
            Ok(OpenedLedger { ledger: Arc::new(ledger), recovered, fingerprint_key })
        }
        #[cfg(not(feature = "postgres"))]
        LedgerUrl::Postgres(_) => anyhow::bail!("this claimgate was built without PostgreSQL"),
    }
}

/// The key of the state directory; where that cannot be written, one for this life of the process, so that all but
/// guarded writes goes on.
fn fingerprint_key(config: &Config) -> anyhow::Result<SecretSlice<u8>> {
    match identity::fingerprint_key(&config.server.state_dir) {
        Ok(key) => Ok(key),
        Err(error @ KeyError::Exposed { .. }) => Err(error.into()),
        Err(KeyError::Unusable(error)) => {
            tracing::error!(
                %error,
                state_dir = %config.server.state_dir.display(),
                "the fingerprint key cannot be kept, and fingerprints change with the next start: server.state_dir must be \
                 a directory that this user may write to"
            );
            Ok(SecretSlice::from(identity::random_key()?))
        }
    }
}

/// The admin listener's port, if there is one, and the operator's socket.
fn admin(config: &Config, server: &Server, operator: &Arc<Operator>, metrics: &Metrics) -> anyhow::Result<Admin> {
    let mut registry = Registry::default();
    if config.metrics.enabled {
        metrics.register(&mut registry);
        let (token, links) = (&config.upstream.service_token_file, &config.upstream.public_url);
        metrics.register_health(&mut registry, token.is_some(), links.is_some());
    }
    let token = compose::secret(config.server.admin_token_file.as_deref())?;
    let (bind, state_dir) = (config.server.admin, &config.server.state_dir);
    let settings = AdminConfig {
        bind,
        socket: Some(socket_path(state_dir)),
        hosts: Vec::new(),
        token,
        health: metrics.health.clone(),
    };
    let operator = Arc::clone(operator);
    let port = bind.map_or_else(|| "off".to_owned(), |bind| bind.to_string());
    Admin::bind(settings, Arc::new(Mutex::new(registry)), server.drain(), operator)
        .with_context(|| format!("cannot listen on server.admin = {port}"))
}

/// What the admin listener says of the gate.
fn facts(config: &Config, started: Time) -> GateFacts {
    GateFacts {
        version: super::version(),
        tracker: config.upstream.tracker.to_string(),
        upstream: config.upstream.url.clone(),
        public_url: config.upstream.public_url.clone(),
        service_token: config.upstream.service_token_file.is_some(),
        webhooks: config.upstream.webhook_secret_file.is_some(),
        started,
    }
}

/// Which modes are in force, and what an operator had switched that a restart has undone.
fn tell_modes(config: &Config, gate: &Gate) {
    let modes = gate.rules().modes();
    let said: Vec<String> = modes.iter().map(|(rule, _, mode)| format!("{rule}: {}", mode.as_str())).collect();
    tracing::info!(modes = said.join(", "), "rules in force");
    let Some(switched) = Operator::switched_before(&config.server.state_dir) else { return };
    let undone: Vec<String> = (modes.iter())
        .filter(|(_, part, mode)| switched.of(*part).is_some_and(|before| before != *mode))
        .map(|(rule, _, mode)| rule.clone() + ": " + mode.as_str())
        .collect();
    if !undone.is_empty() {
        tracing::warn!(
            %switched,
            now = undone.join(", "),
            "modes that `claimgate mode` had switched before the restart are the configuration's again"
        );
    }
}

/// A socket that could not be had, with the key that asks for it.
fn at_its_key(config: &Config, error: anyhow::Error) -> anyhow::Error {
    let Some(BindError::Listen { bind, .. }) = error.downcast_ref() else { return error };
    let key = match bind {
        Bind::Inherited(_) => "LISTEN_FDS",
        bind if bind.to_string() == config.server.listen.to_string() => "server.listen",
        Bind::Tcp(_) | Bind::Unix(_) => "[[server.listener]]",
    };
    error.context(key)
}

fn announce(config: &Config, server: &Server, admin: &Admin) {
    for place in server.places() {
        tracing::info!(listen = place, upstream = config.upstream.url, "listening");
    }
    if let Some(address) = admin.address() {
        tracing::info!(admin = %address, "admin listening");
    }
    if config.identity.agents_are_one() {
        tracing::warn!("{}", crate::config::NO_SHARED_ACCOUNT);
    }
    tell_manager(sd_notify::NotifyState::Ready);
}

fn tell_manager(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// Memory comes in pages of the usual size: of a huge one all two megabytes are cleared when it is touched first, and
/// whoever does that (a guarded section, the ledger's writer) would make all claims wait for milliseconds.
fn take_small_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages are not switched off");
    }
}

/// Takes as many file descriptors as the system lets this process have: two a connection, and some for the gate itself.
fn raise_descriptors(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let wanted = (connections as u64).saturating_mul(2).saturating_add(GATES_OWN_DESCRIPTORS);
    if let Some(most) = getrlimit(Resource::Nofile).current.filter(|most| *most < wanted) {
        tracing::warn!(
            most,
            wanted,
            "too few open files are allowed for server.max_connections (LimitNOFILE, ulimit -n)"
        );
    }
}

/// SIGTERM or SIGINT.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("draining");
    })
}

// === impl Reload ===

impl Reload {
    async fn on(mut self, mut hup: Signal) {
        while hup.recv().await.is_some() {
            for certificate in &self.certificates {
                if let Err(error) = certificate.reload() {
                    tracing::error!(%error, "certificate not reloaded; the old one stays");
                }
            }
            if let Some(Err(error)) = self.interceptor.as_ref().map(|interceptor| interceptor.renew()) {
                tracing::error!(%error, "the private authority was not reloaded; the old certificates stay");
            }
            match config::load(&self.args.layers()) {
                Err(errors) => {
                    tracing::error!(%errors, "configuration not reloaded; the old one stays");
                    self.record("configuration not reloaded, since it has mistakes; the old one stays");
                    self.gate.ports().metrics.reload_taken.set(0);
                }
                Ok(loaded) => self.take(&loaded.config),
            }
        }
    }

    fn record(&self, what: &str) {
        self.gate.record_operator(what, "SIGHUP");
    }

    fn take(&mut self, read: &Config) {
        let after = self.running.reloaded(read);
        let before = std::mem::replace(&mut self.running, after);
        let changes = before.changes(&self.running);
        let nothing = changes.is_empty().then(|| "nothing changed".to_owned());
        self.record(&format!("configuration reloaded: {}", nothing.unwrap_or_else(|| changes.join("; "))));
        count_reload(&self.gate);
        let switched = self.gate.set_rules(compose::rules(&self.running));
        if let Err(error) = self.log.reload(&self.running.log) {
            tracing::error!(%error, "log level not reloaded");
        }
        let waiting = self.running.differences(read);
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "changed keys that take effect with a restart only");
        }
        if !switched.is_empty() {
            tracing::warn!(%switched, "modes that `claimgate mode` switched stay, whatever the configuration says");
        }
        tracing::info!(changed = changes.len(), "rules and log level reloaded");
    }
}

/// How long memory that nobody uses may stay with the process after a flood of requests.
const MEMORY_KEPT: Duration = Duration::from_secs(2);

/// Gives memory back that a flood has taken. The allocator does that with what a thread leaves behind when it ends (mimalloc
/// 3: `_mi_theap_collect_abandon`), and of itself only while much is allocated, which is over by then. So a thread ends now
/// and then.
fn give_memory_back() {
    let ending = || {
        loop {
            std::thread::sleep(MEMORY_KEPT);
            if let Ok(thread) = std::thread::Builder::new().name("memory".to_owned()).spawn(|| ()) {
                drop(thread.join());
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("memory".to_owned()).spawn(ending) {
        tracing::warn!(%error, "memory is not given back after floods");
    }
}

/// The configuration that was read just now is in force.
fn count_reload(gate: &Gate) {
    let metrics = &gate.ports().metrics;
    metrics.reload_taken.set(1);
    metrics.reloaded_at.set(gate.ports().clock.now().0 / 1_000_000);
}
