//! `claimgate ca`: the private authority for `[intercept]`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{ConfigArgs, compose, output};
use crate::clock::SystemClock;
use crate::config::Loaded;
use crate::effect::Clock as _;
use crate::proxy::InterceptedHost;
use crate::server::PrivateAuthority;

/// `claimgate ca`
#[derive(Debug, Args)]
pub struct CaArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Replace a root that is there; every client has to be given the new one
    #[arg(long)]
    pub force: bool,
    /// Print the root's certificate (PEM), to be given to clients, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub pem: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Makes a root if there is none, and says where it is and how it is told from others.
pub fn run(args: &CaArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    let hosts = compose::intercepted(config)?;
    anyhow::ensure!(
        !hosts.is_empty(),
        "the root can vouch for the hosts of intercept.hosts alone, and there are none: name them first"
    );
    let (dir, now) = (config.intercept.authority(&config.server.state_dir), SystemClock::start().now());
    let names: Vec<&str> = hosts.iter().map(InterceptedHost::name).collect();
    let is_new = PrivateAuthority::create(&dir, &names, now, args.force)?;
    let authority = PrivateAuthority::load(&dir)?;
    for name in &names {
        authority.check(name, now)?;
    }
    let (root, fingerprint) = (authority.root(), authority.fingerprint());
    if args.pem {
        output::print(authority.pem()?)?;
    } else if args.json {
        let made = json!({ "root": root, "fingerprint": fingerprint, "hosts": names, "new": is_new });
        output::print_line(made)?;
    } else {
        let what = if is_new { "made now" } else { "was there, and is kept" };
        output::print_line(format_args!("root         {} ({what})", root.display()))?;
        output::print_line(format_args!("fingerprint  SHA-256 {fingerprint}"))?;
        output::print_line(format_args!("hosts        {}", names.join(", ")))?;
        output::print_line(
            "clients      give them the root: claimgate ca --pem > claimgate-root.pem, and then for instance",
        )?;
        output::print_line(
            "             CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS (manual: ways)",
        )?;
        if is_new {
            output::print_line("gate         restart it, or send it SIGHUP, if it runs")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
