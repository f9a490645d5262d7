//! The operational log: what goes to standard error, and how.
//!
//! Standard output belongs to the audit alone. Nothing here may print a credential, a cookie or a body; who logs says
//! what it logs, field by field. The audit never passes through a filter of this module.

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt};

use crate::config::{Log, LogFormat};

/// Changes the level of a running gate (SIGHUP).
#[derive(Clone, Debug)]
pub struct Handle(reload::Handle<Targets, Registry>);

/// Why the log could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter directive.
    #[error("`log.level` is not understood")]
    Level(#[from] ParseError),
    /// There is a log already.
    #[error("a log is set up already")]
    Twice(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("the log has ended")]
    Gone(#[from] reload::Error),
}

/// Sets up the log of the whole process, once.
pub fn init(log: &Log) -> Result<Handle, TelemetryError> {
    let (filter, handle) = reload::Layer::new(log.level.parse::<Targets>()?);
    let writer = fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Json => writer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        LogFormat::Text => writer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(Handle(handle))
}

// === impl Handle ===

impl Handle {
    /// Puts another level in force. The shape of the lines stays until a restart.
    pub fn reload(&self, log: &Log) -> Result<(), TelemetryError> {
        Ok(self.0.reload(log.level.parse::<Targets>()?)?)
    }
}
