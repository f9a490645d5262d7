//! The typed tree: one struct a section, in plain standard types.
//!
//! What a key means, its unit and when to change it is said once, in `config/claimgate.toml`. There is deliberately no
//! default in this file: a key that the built-in file lacks does not parse, so the two cannot drift apart.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{ListenAddress, choice, duration, file_mode, optional_path, optional_text, or_off, size};
use crate::admission::once::EVENTS;
use crate::model::What;

/// The whole configuration, as in force.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Classes of agents that work one at a time (`[[singleton]]`).
    pub singleton: Vec<Singleton>,
    /// What may be created once (`[[once]]`).
    pub once: Vec<Once>,
    /// Listeners, limits and time-outs towards clients.
    pub server: Server,
    /// The tracker, and how it is reached.
    pub upstream: Upstream,
    /// The record of claims and its periods.
    pub ledger: Ledger,
    /// Who is acting.
    pub identity: Identity,
    /// The rules of claims.
    pub assignment: Assignment,
    /// The rules of statuses.
    pub workflow: Workflow,
    /// The web interface.
    pub web: Web,
    /// How many items one agent may hold.
    pub limits: Limits,
    /// Clients that come under the tracker's own name.
    pub intercept: Intercept,
    /// Where decisions are recorded.
    pub audit: Audit,
    /// The operational log.
    pub log: Log,
    /// Metrics.
    pub metrics: Metrics,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The main listener.
    pub listen: ListenAddress,
    /// The admin listener, if any.
    #[serde(with = "or_off")]
    pub admin: Option<SocketAddr>,
    /// Ledger and keys.
    pub state_dir: PathBuf,
    /// Further listeners.
    pub listener: Vec<Listener>,
    /// Serving threads; 0: one a core.
    pub workers: usize,
    /// For the head of a request.
    #[serde(with = "duration")]
    pub header_read_timeout: Duration,
    /// For a TLS handshake.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// Between requests.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Between two pieces of a body, either way.
    #[serde(with = "duration")]
    pub body_idle_timeout: Duration,
    /// At once.
    pub max_connections: usize,
    /// At once from one address; 0: no limit.
    pub max_connections_per_client: usize,
    /// Requests at once; 0: no limit.
    pub max_requests: usize,
    /// The same from one address; 0: no limit.
    pub max_requests_per_client: usize,
    /// Bytes of an answer that the system holds for one connection; 0: its own measure.
    #[serde(with = "size")]
    pub send_buffer: u64,
    /// Fields of one head.
    pub max_headers: usize,
    /// Bytes of one head.
    #[serde(with = "size")]
    pub max_header_bytes: u64,
    /// Bytes of a guarded write.
    #[serde(with = "size")]
    pub max_guarded_body: u64,
    /// For the body of a guarded write.
    #[serde(with = "duration")]
    pub guarded_body_timeout: Duration,
    /// Bytes of all bodies that are read whole.
    #[serde(with = "size")]
    pub guarded_memory: u64,
    /// Of one HTTP/2 connection.
    pub max_h2_streams: u32,
    /// After SIGTERM.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// The forwarded headers towards the tracker.
    pub forwarded: Forwarded,
    /// Whether URLs in JSON answers lead back to the gate.
    pub rewrite_urls: RewriteUrls,
    /// The admin listener's token.
    #[serde(with = "optional_path")]
    pub admin_token_file: Option<PathBuf>,
    /// The server's certificate.
    pub tls: Tls,
}

/// `[server.tls]`: both, or neither.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, PEM.
    #[serde(with = "optional_path")]
    pub certificate: Option<PathBuf>,
    /// The private key, PEM.
    #[serde(with = "optional_path")]
    pub key: Option<PathBuf>,
}

/// `[[server.listener]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where.
    pub address: ListenAddress,
    /// The instance for which it stands; empty: for none.
    #[serde(default, with = "optional_text")]
    pub instance: Option<String>,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// Whether it takes clients that believe to speak to the tracker itself.
    #[serde(default)]
    pub intercept: bool,
    /// Of a unix socket: its permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "file_mode")]
    pub mode: Option<u32>,
    /// Of a unix socket: the user that it belongs to, by name or number; empty: the gate's own.
    #[serde(default, with = "optional_text")]
    pub owner: Option<String>,
    /// Of a unix socket: the group that it belongs to, by name or number; empty: the gate's own.
    #[serde(default, with = "optional_text")]
    pub group: Option<String>,
}

/// `[upstream]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `http` or `https`, an authority, perhaps a sub-path; no user, no query. Checked.
    pub url: String,
    /// The dialect.
    pub tracker: Tracker,
    /// The gate's URL as clients know it.
    #[serde(with = "optional_text")]
    pub public_url: Option<String>,
    /// The address to connect to. Checked.
    #[serde(with = "optional_text")]
    pub resolve: Option<String>,
    /// The `Host` that the tracker gets with what passes.
    pub host_header: HostHeader,
    /// Words by which a text closes an issue. Checked.
    pub closing_keywords: Vec<String>,
    /// The status of a final refusal. Checked.
    pub refusal_status: u16,
    /// Authorities instead of the system's.
    #[serde(with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// Of a connection.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Of the gate's own reads.
    #[serde(with = "duration")]
    pub read_timeout: Duration,
    /// Of guarded writes.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// To the head of a passed-through answer.
    #[serde(with = "duration")]
    pub pass_timeout: Duration,
    /// A token of the gate's own.
    #[serde(with = "optional_path")]
    pub service_token_file: Option<PathBuf>,
    /// What the tracker signs its webhooks with.
    #[serde(with = "optional_path")]
    pub webhook_secret_file: Option<PathBuf>,
    /// What the tracker calls, where it signs that along.
    #[serde(with = "optional_text")]
    pub webhook_url: Option<String>,
    /// Bytes of the head of an answer.
    #[serde(with = "size")]
    pub max_answer_head: u64,
    /// Fields of one head.
    pub max_answer_headers: usize,
    /// Of an unused connection.
    #[serde(with = "duration")]
    pub pool_idle_timeout: Duration,
    /// Unused connections a worker.
    pub pool_max_idle: usize,
}

/// `[intercept]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Intercept {
    /// The names under which clients ask for the tracker. Checked.
    pub hosts: Vec<String>,
    /// What becomes of connections to other hosts.
    pub others: OtherHosts,
    /// Where the private authority is; none: in the state directory.
    #[serde(with = "optional_path")]
    pub ca_dir: Option<PathBuf>,
    /// Of a host's certificate.
    #[serde(with = "duration")]
    pub leaf_lifetime: Duration,
}

impl Intercept {
    /// The directory of the private authority.
    pub fn authority(&self, state_dir: &std::path::Path) -> PathBuf {
        self.ca_dir.clone().unwrap_or_else(|| state_dir.join("ca"))
    }
}

/// `[ledger]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Which implementation, and where.
    pub url: LedgerUrl,
    /// The password of the role in a shared ledger's URL.
    #[serde(with = "optional_path")]
    pub password_file: Option<PathBuf>,
    /// Authorities instead of the system's, for a shared ledger.
    #[serde(with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// This gate's name among those that share the ledger.
    #[serde(with = "optional_text")]
    pub gate: Option<String>,
    /// Where a commit must be before it counts.
    pub durability: RequiredDurability,
    /// Whether acknowledged claims may be lost with the database.
    pub accept_loss: bool,
    /// Q.
    #[serde(with = "duration")]
    pub doubt_period: Duration,
    /// How long a late landing is expected.
    #[serde(with = "duration")]
    pub zombie_period: Duration,
    /// From SENDING to the first byte.
    #[serde(with = "duration")]
    pub emit_window: Duration,
    /// Between two flushes of when holders were seen.
    #[serde(with = "duration")]
    pub renew_interval: Duration,
    /// How long printed lines of decisions that changed something stay.
    #[serde(with = "duration")]
    pub keep_history: Duration,
    /// Refusals stay while they are among so many newest lines.
    pub keep_refusals: usize,
}

/// Where the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUrl {
    /// One file in the state directory.
    Sqlite,
    /// A PostgreSQL that several gates share. Checked.
    Postgres(String),
}

/// `[identity]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Where an instance may be named.
    pub sources: Vec<InstanceSource>,
    /// Accounts that must name an instance.
    pub shared_accounts: Vec<String>,
    /// What agents without a name are, on all other accounts.
    pub unnamed: Unnamed,
    /// Of a known credential.
    #[serde(with = "duration")]
    pub whoami_lifetime: Duration,
    /// Of an unknown one.
    #[serde(with = "duration")]
    pub whoami_negative_lifetime: Duration,
    /// Credentials remembered.
    pub whoami_capacity: u64,
    /// Credentials asked about at once.
    pub whoami_concurrency: usize,
}

impl Identity {
    /// Whether nothing is said of several agents behind one account, but for the jobs of a tracker's CI.
    pub fn agents_are_one(&self) -> bool {
        self.unnamed == Unnamed::One && self.shared_accounts.iter().all(|name| JOBS.contains(&name.as_str()))
    }
}

/// The accounts under which trackers run the jobs of their CI.
pub const JOBS: [&str; 3] = ["forgejo-actions", "gitea-actions", "github-actions[bot]"];

/// `[assignment]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Refuse, or only record.
    pub mode: Mode,
    /// From which statuses an item may be claimed; empty: any.
    pub expect_status: Vec<String>,
    /// At least 1.
    pub max_assignees: usize,
    /// Whether others than oneself may be assigned.
    pub assign_others: bool,
    /// Who may clear the assignee of a held item.
    pub release_by: By,
    /// Accounts of people above the rules.
    pub overriders: Vec<String>,
    /// What an outside edit does.
    pub outside: Outside,
    /// How a write is verified.
    pub verify: Verify,
    /// Silence after which a holding is flagged.
    #[serde(with = "or_off")]
    pub stale_after: Option<Duration>,
    /// Silence after which it may be taken over.
    #[serde(with = "or_off")]
    pub takeover_after: Option<Duration>,
    /// How long the holding of a closed item lasts.
    #[serde(with = "or_off")]
    pub closed_after: Option<Duration>,
    /// Waiting requests an item.
    pub lane_capacity: usize,
    /// The longest wait in a lane.
    #[serde(with = "duration")]
    pub lane_timeout: Duration,
    /// Guarded writes at once.
    pub max_waiting: usize,
    /// Those of one account, or of one agent of a shared account.
    pub max_waiting_per_agent: usize,
}

/// `[workflow]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// Refuse, or only record.
    pub mode: Mode,
    /// Labels that are statuses, as written; compared without case.
    pub states: Vec<String>,
    /// Those in which an item is worked on.
    pub working: Vec<String>,
    /// Those that can be left only once.
    pub consume: Vec<String>,
    /// Whether the labels of a claim that ended half-way are put back.
    pub put_back: bool,
    /// Who may change labels that are statuses.
    pub edit_labels: Editors,
    /// Who may make a held item depend on another.
    pub dependencies_by: By,
    /// The allowed moves (`[[workflow.move]]`).
    #[serde(rename = "move")]
    pub moves: Vec<Move>,
}

/// `[[workflow.move]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// States, or `none`, `open`, `closed`.
    pub from: Vec<String>,
    /// A state, or `none`, `open`, `closed`.
    pub to: String,
    /// Who may.
    pub by: By,
}

/// `[web]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// What its forms may do.
    pub mode: WebMode,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Refuse, or only record.
    pub mode: Mode,
    /// Items held at once; 0: no limit.
    pub items: usize,
    /// The same in one repository.
    pub items_per_repository: usize,
    /// Whose items are counted together.
    pub of: Whose,
}

/// `[[singleton]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Singleton {
    /// Under which it is kept and listed; none: made from the first pattern.
    #[serde(default, with = "optional_text")]
    pub name: Option<String>,
    /// Patterns of logins and instances, or of `account/instance`.
    pub agents: Vec<String>,
    /// Where one agent at a time works.
    #[serde(default)]
    pub per: Per,
    /// The kinds of writes that count.
    pub actions: Vec<Action>,
    /// Silence after which an agent is no longer at work.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// Refuse, or only record.
    #[serde(default = "enforce")]
    pub mode: Mode,
}

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

fn enforce() -> Mode {
    Mode::Enforce
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

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Whether to standard output.
    pub stdout: bool,
    /// Also to this file.
    #[serde(with = "optional_path")]
    pub file: Option<PathBuf>,
    /// At which size a new file begins.
    #[serde(with = "or_off")]
    pub rotate_size: Option<u64>,
    /// Old files kept; 0: all.
    pub keep: usize,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A filter directive. Checked.
    pub level: String,
    /// The shape of a line.
    pub format: LogFormat,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Whether they are served.
    pub enabled: bool,
}

choice! {
    /// Whether a rule refuses.
    Mode {
        /// It does.
        Enforce = "enforce",
        /// It is decided and recorded; nothing is refused.
        Observe = "observe",
    }
}

choice! {
    /// What forms of the web interface may do.
    WebMode {
        /// They take their turns and are recorded; no rule refuses them.
        Override = "override",
        /// They are judged like the API's writes.
        Enforce = "enforce",
    }
}

choice! {
    /// What the agents of one account are that do not name themselves.
    Unnamed {
        /// One agent.
        One = "one",
        /// One agent for each client address.
        Address = "address",
        /// Refused.
        Refuse = "refuse",
    }
}

choice! {
    /// Whose items are counted together.
    Whose {
        /// Those of an account and instance.
        Agent = "agent",
        /// Those of all instances of an account.
        Account = "account",
    }
}

choice! {
    /// What a write does.
    Action {
        /// Takes a free item.
        Claim = "claim",
        /// Gives one up.
        Release = "release",
        /// Passes one on.
        HandOver = "hand_over",
        /// Changes labels, or open and closed.
        Move = "move",
        /// Takes what its own account is assigned already.
        Adopt = "adopt",
        /// Takes what has been silent for too long.
        TakeOver = "take_over",
        /// Files a new item, whatever is asked of it.
        Create = "create",
    }
}

choice! {
    /// Where one agent at a time works.
    #[derive(Default)]
    Per {
        /// In a repository.
        #[default]
        Repository = "repository",
    }
}

choice! {
    /// Who may do something.
    By {
        /// Only who holds the item.
        Holder = "holder",
        /// Whoever may write to it.
        Anyone = "anyone",
    }
}

choice! {
    /// Who may change what many items share.
    Editors {
        /// Only people above the rules.
        Overriders = "overriders",
        /// Whoever may write to it.
        Anyone = "anyone",
    }
}

choice! {
    /// What an edit does that did not cross the gate.
    Outside {
        /// It ends the holding.
        Wins = "wins",
        /// The holding stays.
        Hold = "hold",
    }
}

choice! {
    /// Where a commit to a shared ledger must be before it counts.
    RequiredDurability {
        /// On the server's disk; where there are standbys, on each.
        AsFound = "as-found",
        /// On the server's disk, whatever standbys there are.
        Disk = "disk",
        /// On one synchronous standby at least.
        Standby = "standby",
    }
}

choice! {
    /// How a guarded write is verified.
    Verify {
        /// By a read of its own.
        ReadBack = "read-back",
        /// By the tracker's answer, where that shows the state.
        Answer = "answer",
    }
}

choice! {
    /// Where the name of an instance may come from.
    InstanceSource {
        /// The listener that it came in by.
        Listener = "listener",
        /// The prefix `/as/<agent>/`.
        Path = "path",
        /// The header `Claimgate-Agent`.
        Header = "header",
    }
}

choice! {
    /// What happens to the forwarded headers.
    Forwarded {
        /// Written anew.
        Set = "set",
        /// Extended.
        Append = "append",
        /// Removed.
        Strip = "strip",
    }
}

choice! {
    /// Whether URLs in JSON answers are rewritten.
    RewriteUrls {
        /// Unless the tracker can be told the gate's address.
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// The `Host` that the tracker gets.
    HostHeader {
        /// The one that the client asked for.
        Client = "client",
        /// That of `upstream.url`.
        Upstream = "upstream",
    }
}

choice! {
    /// What becomes of a CONNECT to a host that is not intercepted.
    OtherHosts {
        /// 403.
        Refuse = "refuse",
        /// Handed through untouched.
        Tunnel = "tunnel",
    }
}

choice! {
    /// The trackers that the gate can speak to.
    Tracker {
        /// Forgejo, and Gitea.
        Forgejo = "forgejo",
        /// github.com, and its data residency.
        GitHub = "github",
        /// Jira Cloud, Server and Data Center.
        Jira = "jira",
        /// Linear.
        Linear = "linear",
        /// Redmine from 5.0.
        Redmine = "redmine",
        /// Trello.
        Trello = "trello",
    }
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

choice! {
    /// The shape of a log line.
    LogFormat {
        /// One object a line.
        Json = "json",
        /// For a person.
        Text = "text",
    }
}

// === impl Singleton ===

impl Singleton {
    /// As it is called, or what its first pattern leaves without `*` and `?`.
    pub fn name(&self) -> String {
        let first = || self.agents.first().map_or("", String::as_str);
        let made = |text: &str| text.replace(['*', '?'], "").trim_matches(['-', '_', '.', ' ']).to_lowercase();
        // Of `account/instance` the instance's, if that is more than any.
        let of_first = || first().rsplit('/').map(made).find(|name| !name.is_empty()).unwrap_or_default();
        self.name.clone().unwrap_or_else(of_first)
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

// === impl LedgerUrl ===

impl<'de> Deserialize<'de> for LedgerUrl {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        match text.as_str() {
            "sqlite" => Ok(Self::Sqlite),
            _ if is_postgres && !cfg!(feature = "postgres") => Err(serde::de::Error::custom(
                "this claimgate was built without PostgreSQL: write \"sqlite\", or build it with the feature `postgres`",
            )),
            _ if is_postgres && holds_password(&text) => Err(serde::de::Error::custom(
                "the URL holds a password, and would show it to everybody who reads the configuration: put it into the file \
                 that ledger.password_file names",
            )),
            _ if is_postgres => Ok(Self::Postgres(text)),
            _ => Err(serde::de::Error::custom(
                "no such ledger: write \"sqlite\" (the file is put into server.state_dir), or \
                 \"postgresql://user@host/database\" for several gates",
            )),
        }
    }
}

/// `user:password@`, or a parameter of that name.
fn holds_password(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (authority, parameters) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || parameters.split(['?', '&']).any(|parameter| parameter.starts_with("password="))
}

impl Serialize for LedgerUrl {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sqlite => to.serialize_str("sqlite"),
            Self::Postgres(url) => to.serialize_str(url),
        }
    }
}
