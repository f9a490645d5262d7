//! File, environment and flags become one typed [`Config`].
//!
//! Flags beat the environment, which beats the operator's file, which beats the built-in file `config/claimgate.toml`.
//! That file is the only place of defaults and of their explanation. Whatever is not understood is an error with its
//! file, line and column, never ignored: a typing mistake in a rule would otherwise open the gate without a word.
//! Several mistakes are reported at once.
//!
//! [`read`] is pure but for the operator's file; [`load`] also looks at the files that a configuration names. Nothing
//! here knows the gate's own types: the composition root maps a `Config` to the parts.

mod checks;
mod files;
mod layers;
mod reload;
mod schema;
mod sections;
mod source;
mod values;

use std::path::PathBuf;

pub use files::read_secret;
pub use layers::environment_names;
pub use schema::schema;
pub use sections::{
    Action, Assignment, Audit, By, Config, Editors, Forwarded, HostHeader, Identity, InstanceSource, Intercept, JOBS,
    Ledger, LedgerUrl, Limits, Listener, Log, LogFormat, Metrics, Mode, Move, Once, OnceAnswer, OnceWhat, OtherHosts,
    Outside, Per, RequiredDurability, RewriteUrls, Server, Singleton, Tls, Tracker, Unnamed, Upstream, Verify, Web,
    WebMode, Whose, Workflow,
};
pub use source::{ConfigErrors, Problem, SourceSpan};
pub use values::{ListenAddress, parse_duration, parse_size, show_duration, show_size};

use layers::Merged;

/// What an operator is told whose configuration tells agents apart by their accounts alone.
pub const NO_SHARED_ACCOUNT: &str = "no shared account is declared: two agents with one token are one agent, and both are told that they hold \
    what one of them claims (identity.shared_accounts, identity.unnamed)";

/// The built-in file: every key, explained, with its default.
pub const DEFAULTS: &str = include_str!("../../config/claimgate.toml");

/// What differs from it where a tracker needs other defaults: over it, and under everything of the operator's.
const OF_TRACKERS: &[(&str, &str)] = &[
    ("github", include_str!("../../config/github.toml")),
    ("jira", include_str!("../../config/jira.toml")),
    ("linear", include_str!("../../config/linear.toml")),
    ("redmine", include_str!("../../config/redmine.toml")),
    ("trello", include_str!("../../config/trello.toml")),
];

/// How many doubt periods the zombie period is, unless it is set (manual: protocol).
const ZOMBIE_PERIODS: u32 = 10;
/// How the built-in file is called in messages.
const DEFAULTS_NAME: &str = "built-in defaults";

/// What a configuration is made of, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// `--config`. Without it `CLAIMGATE_CONFIG` counts, and without that there is no file.
    pub file: Option<PathBuf>,
    /// All variables of the process; those of others are not looked at.
    pub environment: Vec<(String, String)>,
    /// Flags that set a key.
    pub flags: Vec<Flag>,
}

/// A flag that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed, `--listen`.
    pub name: &'static str,
    /// The key that it sets, `server.listen`.
    pub path: &'static str,
    /// The value, as typed.
    pub value: String,
}

/// A configuration in force, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The keys that are set somewhere, with that place (`gate.toml:3:10`, `environment`, `command line`).
    pub origins: Vec<(String, String)>,
    /// What is no mistake but looks like one.
    pub warnings: Vec<LoadWarning>,
}

/// Something that looks like a mistake and may be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadWarning(pub String);

/// A key that had another name once. It is refused, with its successor: two names for one thing would have to be
/// explained for ever.
#[derive(Clone, Copy, Debug)]
pub struct Renamed {
    /// The old dotted path.
    pub old: &'static str,
    /// The new one.
    pub new: &'static str,
    /// What to mind when changing it.
    pub help: &'static str,
}

/// The keys that were renamed, so far none.
const RENAMED: &[Renamed] = &[];

/// Reads and checks a configuration, and the permissions of the files that it names.
pub fn load(layers: &Layers) -> Result<Loaded, ConfigErrors> {
    read_with(layers, RENAMED, files::check)
}

/// As [`load`], and what the files hold as well: what would keep a gate from starting, and is not asked of somebody who
/// may not read its secrets.
pub fn rehearse(layers: &Layers) -> Result<Loaded, ConfigErrors> {
    read_with(layers, RENAMED, files::check_contents)
}

/// Reads and checks a configuration without looking at the files that it names.
pub fn read(layers: &Layers) -> Result<Loaded, ConfigErrors> {
    read_with(layers, RENAMED, |_, _| {})
}

fn read_with(layers: &Layers, renamed: &[Renamed], also: fn(&Config, &mut Merged<'_>)) -> Result<Loaded, ConfigErrors> {
    let file = file_of(layers).map(|path| (path.display().to_string(), std::fs::read_to_string(path)));
    let mut merged = merge(None, layers, file.as_ref(), renamed);
    // Which tracker it is, is known once all of it was read.
    let of_tracker = merged.text("upstream.tracker").and_then(|name| OF_TRACKERS.iter().find(|(of, _)| *of == name));
    if let Some(of_tracker) = of_tracker {
        merged = merge(Some(*of_tracker), layers, file.as_ref(), renamed);
    }
    let mut config = merged.read();
    if let Some(config) = &mut config {
        if merged.is_built_in("ledger.zombie_period") {
            config.ledger.zombie_period = config.ledger.doubt_period * ZOMBIE_PERIODS;
        }
        checks::check(config, &mut merged);
        also(config, &mut merged);
    }
    merged.finish(config)
}

/// All layers, one over the other; those built in are the file of defaults and, perhaps, a tracker's own.
fn merge<'t>(
    of_tracker: Option<(&str, &'static str)>,
    layers: &'t Layers,
    file: Option<&'t (String, std::io::Result<String>)>,
    renamed: &[Renamed],
) -> Merged<'t> {
    let mut merged = Merged::new(of_tracker);
    match file {
        Some((name, Ok(text))) => merged.add_file(name, text, renamed),
        Some((name, Err(error))) => {
            merged.report("", None, format!("cannot read the configuration {name}: {error}"), None);
        }
        None => {}
    }
    merged.add_environment(&layers.environment);
    merged.add_flags(&layers.flags);
    merged
}

fn file_of(layers: &Layers) -> Option<PathBuf> {
    let named = layers.environment.iter().find(|(name, value)| name == layers::FILE_VARIABLE && !value.is_empty());
    layers.file.clone().or_else(|| named.map(|(_, value)| value.into()))
}

impl Config {
    /// The built-in defaults alone.
    pub fn defaults() -> Self {
        Merged::new(None).read().expect("the built-in file is complete, as a test checks")
    }
}

#[cfg(test)]
mod tests;
