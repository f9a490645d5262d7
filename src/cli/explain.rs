//! `claimgate explain`: what the gate would make of one request, without sending anything.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use http::{HeaderMap, HeaderValue, Method, header};

use super::{ConfigArgs, compose, output};
use crate::config::Loaded;
use crate::dialect::{Head, Target};
use crate::proxy::own_path;

/// `claimgate explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The request's method
    pub method: String,
    /// The request's path, with its query
    pub path: String,
    /// The request's body
    pub body: Option<String>,
}

/// Prints the route, the intent and the rules that apply.
pub fn run(args: &ExplainArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let method: Method = args.method.to_uppercase().parse().with_context(|| format!("no method: {}", args.method))?;
    anyhow::ensure!(args.path.starts_with('/'), "the path must begin with / (it has no scheme and no host)");
    let dialect = compose::dialect(&loaded.config)?;
    let front = compose::front(&loaded.config)?;
    let (path, query) = args.path.split_at(args.path.find('?').unwrap_or(args.path.len()));
    let located = front.locate(path);
    let (agent, path) = (located.agent, &format!("{}{query}", located.path));
    let body = args.body.clone().unwrap_or_default();
    let mut headers = HeaderMap::new();
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let target = Target::parse(path);
    if let Some(agent) = agent {
        output::print_line(format_args!("agent: {agent} (from the path prefix)"))?;
    }
    if let Some(what) = own_path(path) {
        let request =
            format_args!("request: {method} {path}\nroute: {what}; answered by the gate itself, never forwarded");
        output::print_line(request)?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = Head { method: &method, target: &target, headers: &headers };
    output::print_line(dialect.explain(&head, body.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}
