//! `claimgate doctor`: what is wrong with the set-up, and what cures it.
//!
//! All that `check --online` looks at, the certificate, and what the running gate has seen: it needs none, and says so.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::admin::Admin;
use super::check::online::{self, Look};
use super::output::{Colour, paint};
use super::table::{counted, plain, to_the_second};
use super::{ConfigArgs, output, refuse, version, warn};
use crate::clock::SystemClock;
use crate::config::{self, Config, NO_SHARED_ACCOUNT};
use crate::effect::Clock as _;
use crate::effect::audit::rfc3339;
use crate::server::certificate_end;

/// `claimgate doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// A certificate that ends sooner is told of.
const SOON: Duration = Duration::from_hours(24 * 21);

/// Prints each finding with its cure. Fails where something is wrong.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let loaded = match config::rehearse(&args.config.layers()) {
        Ok(loaded) => loaded,
        Err(errors) => return Ok(refuse(&errors)),
    };
    warn(&loaded.warnings);
    let config = &loaded.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut looks = runtime.block_on(online::look(config))?;
    drop(runtime);
    looks.extend(config.server.tls.certificate.as_deref().map(certificate));
    if config.identity.agents_are_one() {
        looks.push(Look::doubtful(NO_SHARED_ACCOUNT.to_owned()).cure(
            "give each agent an account of its own, or list the shared one in identity.shared_accounts and let each agent \
             name itself (/as/NAME in the base URL, or the header Claimgate-Agent)",
        ));
    }
    looks.extend(running(config));
    if args.json {
        let findings: Vec<Value> = looks.iter().map(Look::to_json).collect();
        output::print_line(format_args!("{:#}", json!({ "findings": findings })))?;
    } else {
        output::print(as_text(&looks))?;
    }
    Ok(if looks.iter().any(Look::is_bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is wrong first, each with its cure.
fn as_text(looks: &[Look]) -> String {
    let mut text = String::new();
    let (bad, doubtful) = (looks.iter().filter(|look| look.is_bad()), looks.iter().filter(|look| look.is_doubtful()));
    let good = looks.iter().filter(|look| !look.is_bad() && !look.is_doubtful());
    for look in bad.clone().chain(doubtful.clone()).chain(good) {
        let colour = match (look.is_bad(), look.is_doubtful()) {
            (true, _) => Colour::Bad,
            (_, true) => Colour::Warn,
            _ => Colour::Good,
        };
        text.extend([&paint(colour, &plain(&look.to_string())), "\n"]);
        if let Some(cure) = look.remedy() {
            text.extend(["           cure: ", &plain(cure), "\n"]);
        }
    }
    let (bad, doubtful) = (bad.count() as u64, doubtful.count() as u64);
    let verdict = match (bad, doubtful) {
        (0, 0) => "nothing is wrong".to_owned(),
        _ => format!(
            "{} wrong, {}",
            if bad == 1 { "1 thing is".to_owned() } else { format!("{bad} things are") },
            counted(doubtful, "warning")
        ),
    };
    text.extend(["\n", &verdict, "\n"]);
    text
}

fn certificate(path: &Path) -> Look {
    let cure = "renew it, and send the gate SIGHUP: it reads the files again";
    let shown = path.display();
    let Some(end) = certificate_end(path) else {
        return Look::doubtful(format!("nobody can tell when the certificate {shown} ends"));
    };
    let now = SystemClock::start().now();
    let until = to_the_second(&rfc3339(end));
    if end <= now {
        Look::bad(format!("the certificate {shown} ended at {until}")).cure(cure)
    } else if end.since(now) < SOON {
        Look::doubtful(format!("the certificate {shown} ends at {until}")).cure(cure)
    } else {
        Look::good(format!("the certificate {shown} is good until {until}"))
    }
}

/// What the running gate says of itself.
fn running(config: &Config) -> Vec<Look> {
    let status = match Admin::of(config).get("/status") {
        Ok(status) => status,
        Err(error) => {
            return vec![Look::doubtful(format!("no running gate was asked: {error:#}")).cure(
                "start it with `claimgate serve`, or name its admin listener with --admin; webhooks and modes are known by \
                 a running gate only",
            )];
        }
    };
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    let mut looks = Vec::new();
    let runs = text("/version").unwrap_or("unknown");
    looks.push(if runs == version() {
        Look::good(format!("a gate runs: {runs}"))
    } else {
        Look::doubtful(format!("the gate that runs is {runs}, and this command is {}", version()))
            .cure("restart the gate, so that it is the version that is installed")
    });
    for trouble in status["troubles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        looks.push(
            Look::bad(format!("the gate says: {trouble}"))
                .cure("its log says more; `claimgate status` shows whether it is over"),
        );
    }
    for rule in status["modes"].as_array().into_iter().flatten().filter(|rule| rule["mode"] == "observe") {
        let name = rule["rule"].as_str().unwrap_or_default();
        looks.push(
            Look::doubtful(format!("{name} only observes: nothing is refused by it"))
                .cure("`claimgate report` shows what it would have refused; then set its mode to \"enforce\""),
        );
    }
    looks.push(webhooks(config, text("/webhooks/last"), text("/webhooks/last_unsigned")));
    looks
}

fn webhooks(config: &Config, last: Option<&str>, unsigned: Option<&str>) -> Look {
    let url = config.upstream.public_url.clone().unwrap_or_else(|| format!("http://{}", config.server.listen));
    let target = format!("{}/_claimgate/v1/webhooks/{}", url.trim_end_matches('/'), config.upstream.tracker);
    let make = format!(
        "add a system webhook at the tracker: URL {target}, type JSON, events of issues and pull requests, with the secret of \
         upstream.webhook_secret_file; Forgejo calls no private address unless [webhook] ALLOWED_HOST_LIST names it"
    );
    match (last, unsigned) {
        _ if config.upstream.webhook_secret_file.is_none() => {
            Look::doubtful("webhooks are off: an edit past the gate is noticed by the next look at the item".to_owned())
                .cure(&format!("set upstream.webhook_secret_file, and {make}"))
        }
        (last, Some(unsigned)) if last.is_none_or(|last| last < unsigned) => {
            let at = to_the_second(unsigned);
            Look::bad(format!("a webhook came at {at} that was not signed with upstream.webhook_secret_file"))
                .cure("give the tracker's webhook the secret that is in that file")
        }
        (Some(last), _) => Look::good(format!("webhooks come, and are signed: the last at {}", to_the_second(last))),
        (None, _) => Look::doubtful("no webhook has come since the gate was started".to_owned()).cure(&make),
    }
}
