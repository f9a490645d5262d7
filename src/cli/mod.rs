//! The command line: arguments as typed, then resolved, then one function a subcommand.
//!
//! This is the composition root. Exit codes are what `--help` says of each command. Standard output is for what was asked for (in `serve`, for the audit alone); everything else goes to standard error.

mod admin;
pub mod audit;
pub mod backup;
pub mod ca;
pub mod check;
pub mod claims;
mod compose;
pub mod demo;
pub mod doctor;
pub mod explain;
#[cfg(feature = "postgres")]
pub mod gates;
pub mod health;
pub mod history;
pub mod incident;
#[cfg(feature = "postgres")]
pub mod ledger;
pub mod manual;
pub mod mode;
mod output;
pub mod race;
pub mod refusals;
pub mod release;
pub mod report;
pub mod scan;
pub mod serve;
#[cfg(feature = "postgres")]
mod shared;
pub mod status;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Flag, Layers, Loaded};

const EXITS: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration";
const EXITS_OF_CHECK: &str = "Exit codes: 0 the configuration is accepted; 1 with --online, something is wrong; \
    2 wrong usage, or the configuration is refused";
const EXITS_OF_DOCTOR: &str = "Exit codes: 0 nothing is wrong, though there may be warnings; 1 something is wrong; \
    2 wrong usage, or the configuration is refused";
const EXITS_OF_DEMO: &str =
    "Exit codes: 0 each issue had one winner through the gate; 1 not so, or failed; 2 wrong usage";
const EXITS_OF_RACE: &str = "Exit codes: 0 each issue had one winner through the gate; 1 not so, or failed, or issues \
    could not be closed; 2 wrong usage";
const EXITS_OF_RELEASE: &str = "Exit codes: 0 done; 1 failed, or nothing was to be released, or the tracker refused a part \
    of what was to be put back; 2 wrong usage or configuration";
const EXITS_OF_STATUS: &str = "Exit codes: 0 all is well; 1 something is wrong with the gate, or it does not answer; 2 wrong usage or configuration";
const EXITS_OF_AUDIT: &str =
    "Exit codes: 0 nothing is wrong; 1 something is wrong; 2 wrong usage, or the audit cannot be read";
const EXITS_OF_SCAN: &str = "Exit codes: 0 nothing to fail on (see --fail-on); 1 failed; 2 wrong usage or configuration; \
    3 found what --fail-on names";
const EXITS_OF_HEALTH: &str =
    "Exit codes: 0 it is well; 1 it is not, or does not answer; 2 wrong usage or configuration";

/// A gate in front of a forge: one piece of work goes to one agent.
#[derive(Debug, Parser)]
#[command(name = "claimgate", version = version(), about, max_term_width = 100, after_help = EXITS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gate; the audit goes to standard output, the log to standard error
    #[command(after_help = EXITS)]
    Serve(serve::ServeArgs),
    /// Print the rules in force and what is guarded, or what is wrong with the configuration
    #[command(after_help = EXITS_OF_CHECK)]
    Check(check::CheckArgs),
    /// Look for what is wrong with the set-up, and say what cures it
    #[command(after_help = EXITS_OF_DOCTOR)]
    Doctor(doctor::DoctorArgs),
    /// Say what the gate would make of one request
    #[command(after_help = EXITS)]
    Explain(explain::ExplainArgs),
    /// Let agents race for the issues of a forge in memory, without and with the gate
    #[command(after_help = EXITS_OF_DEMO)]
    Demo(demo::DemoArgs),
    /// Let agents race for scratch issues of your own tracker, directly and through the gate
    #[command(after_help = EXITS_OF_RACE)]
    Race(race::RaceArgs),
    /// Show the running gate on one screen: mode, rules, tracker, ledger, who holds how much, what was refused
    #[command(after_help = EXITS_OF_STATUS)]
    Status(status::StatusArgs),
    /// List who holds what, as the running gate has it
    #[command(after_help = EXITS)]
    Claims(claims::ClaimsArgs),
    /// Print what was refused, with the full text
    #[command(after_help = EXITS)]
    Refusals(refusals::RefusalsArgs),
    /// Print what the running gate decided about one item
    #[command(after_help = EXITS)]
    History(history::HistoryArgs),
    /// Tell what happened to one item: who held it one after another, what ended that, what each agent was told
    #[command(after_help = EXITS)]
    Incident(incident::IncidentArgs),
    /// End a holding by hand, or all of a dead agent
    #[command(after_help = EXITS_OF_RELEASE)]
    Release(release::ReleaseArgs),
    /// List the gates that share the ledger
    #[cfg(feature = "postgres")]
    #[command(after_help = EXITS)]
    Gates(gates::GatesArgs),
    /// Work on a ledger that several gates share
    #[cfg(feature = "postgres")]
    #[command(after_help = EXITS)]
    Ledger(ledger::LedgerArgs),
    /// Work on audit files
    #[command(after_help = EXITS_OF_AUDIT)]
    Audit(audit::AuditArgs),
    /// List what a gate would meet in the tracker: double assignees, stray labels and the like
    #[command(after_help = EXITS_OF_SCAN)]
    Scan(scan::ScanArgs),
    /// Sum up what was decided: who got what, who was refused because of whom, who waited
    #[command(after_help = EXITS)]
    Report(report::ReportArgs),
    /// Let the running gate enforce its rules, or only observe
    #[command(after_help = EXITS)]
    Mode(mode::ModeArgs),
    /// Make the private authority for clients that come under the tracker's own name, or say where it is
    #[command(after_help = EXITS)]
    Ca(ca::CaArgs),
    /// Ask the running gate whether it is well; for the health check of a container
    #[command(after_help = EXITS_OF_HEALTH)]
    Health(health::HealthArgs),
    /// Copy the ledger and the fingerprint key of a gate that may be running
    #[command(after_help = EXITS)]
    Backup(backup::BackupArgs),
    /// Print the script by which a shell completes claimgate's commands
    #[command(after_help = EXITS)]
    Completions(manual::CompletionsArgs),
    /// Write man pages
    #[command(after_help = EXITS)]
    Man(manual::ManArgs),
    /// Print the JSON schema of the configuration, for editors
    #[command(after_help = EXITS)]
    Schema(manual::SchemaArgs),
}

/// Version, commit and build.
pub(crate) fn version() -> &'static str {
    env!("CLAIMGATE_BUILD")
}

/// Where the configuration comes from, and the flags that override it.
#[derive(Debug, Default, Clone, Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help as it is")]
pub struct ConfigArgs {
    /// The configuration file [env: CLAIMGATE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The tracker's URL (upstream.url) [env: CLAIMGATE_UPSTREAM]
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// Where clients connect (server.listen) [env: CLAIMGATE_LISTEN]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// The admin listener (server.admin) [env: CLAIMGATE_ADMIN]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// The state directory (server.state_dir) [env: CLAIMGATE_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
}

/// The process, from arguments to exit code.
pub fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| {
        output::say(format_args!("error: {}", in_full(&error)));
        ExitCode::FAILURE
    })
}

/// An error and its causes; one that is quoted by what it caused is not said again.
fn in_full(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Does what the arguments say.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Race(args) => race::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Completions(args) => manual::completions(args),
        Command::Man(args) => manual::pages(args),
        Command::Schema(args) => manual::schema_of_config(args),
        Command::Serve(args) => with_config(&args.config, |loaded| serve::run(args, loaded)),
        Command::Scan(args) => with_config(&args.config, |loaded| scan::run(args, loaded)),
        Command::Ca(args) => with_settings(&args.config, |loaded| ca::run(args, loaded)),
        #[cfg(feature = "postgres")]
        Command::Gates(args) => with_config(&args.config, |loaded| gates::run(args, loaded)),
        #[cfg(feature = "postgres")]
        Command::Ledger(args) => with_config(args.config(), |loaded| ledger::run(args, loaded)),
        // These need no secret of the gate's, and are needed most where one is missing.
        Command::Explain(args) => with_settings(&args.config, |loaded| explain::run(args, loaded)),
        Command::Status(args) => with_settings(&args.config, |loaded| status::run(args, loaded)),
        Command::Refusals(args) => with_settings(&args.config, |loaded| refusals::run(args, loaded)),
        Command::Claims(args) => with_settings(&args.config, |loaded| claims::run(args, loaded)),
        Command::History(args) => with_settings(&args.config, |loaded| history::run(args, loaded)),
        Command::Incident(args) => with_settings(&args.config, |loaded| incident::run(args, loaded)),
        Command::Backup(args) => with_settings(&args.config, |loaded| backup::run(args, loaded)),
        Command::Release(args) => with_settings(&args.config, |loaded| release::run(args, loaded)),
        Command::Report(args) => with_settings(&args.config, |loaded| report::run(args, loaded)),
        Command::Mode(args) => with_settings(&args.config, |loaded| mode::run(args, loaded)),
        Command::Health(args) => with_settings(&args.config, |loaded| health::run(args, loaded)),
    }
}

/// With a configuration and the files that it names.
fn with_config(args: &ConfigArgs, then: impl FnOnce(&Loaded) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    with(config::load(&args.layers()), then)
}

/// With a configuration, whatever has become of the files that it names.
fn with_settings(
    args: &ConfigArgs,
    then: impl FnOnce(&Loaded) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    with(config::read(&args.layers()), then)
}

fn with(
    loaded: Result<Loaded, config::ConfigErrors>,
    then: impl FnOnce(&Loaded) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match loaded {
        Ok(loaded) => {
            warn(&loaded.warnings);
            then(&loaded)
        }
        Err(errors) => Ok(refuse(&errors)),
    }
}

/// Prints what is wrong with a configuration.
fn refuse(errors: &config::ConfigErrors) -> ExitCode {
    warn(&errors.warnings);
    output::say(errors.to_string().trim_end());
    ExitCode::from(2)
}

fn warn(warnings: &[config::LoadWarning]) {
    for warning in warnings {
        output::say(format_args!("warning: {}", warning.0));
    }
}

// === impl ConfigArgs ===

impl ConfigArgs {
    /// The layers that these arguments and the environment of the process make.
    pub fn layers(&self) -> Layers {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Layers { file: self.config.clone(), environment: environment.collect(), flags: self.flags() }
    }

    fn flags(&self) -> Vec<Flag> {
        let given = [
            ("--upstream", "upstream.url", &self.upstream),
            ("--listen", "server.listen", &self.listen),
            ("--admin", "server.admin", &self.admin),
            ("--state-dir", "server.state_dir", &self.state_dir),
        ];
        let set = given.into_iter().filter_map(|(name, path, value)| Some((name, path, value.clone()?)));
        set.map(|(name, path, value)| Flag { name, path, value }).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }
}
