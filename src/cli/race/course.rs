//! The scratch issues of a race on a real tracker: made by the first account, and closed again, whatever happens.

use std::path::Path;

use anyhow::{Context as _, bail};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::super::table::plain;
use super::RaceArgs;
use super::agent::{Agent, Entrance, Identity, WorkLabels, assignees, issue};
use crate::config::{Config, Layers, read, read_secret};

/// The accounts, and the issues that were made with them.
pub(super) struct Scratch {
    pub(super) forge: Entrance,
    pub(super) labels: Option<WorkLabels>,
    repo: String,
    identities: Vec<Identity>,
    /// How many accounts there are.
    accounts: usize,
    made: Vec<Made>,
}

/// For which of the races issues are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issues {
    Direct,
    Through,
}

struct Made {
    number: u64,
    /// Who believes to have won it, and by which way each goes: whoever holds it by a gate gives it back there.
    winners: Vec<(usize, Entrance)>,
}

/// Reads issues past every gate.
pub(super) struct Reader(Agent);

/// Labels on one page of the tracker's list.
const PAGE: usize = 50;
/// Pages of it that are read at most.
const MOST_PAGES: usize = 20;

// === impl Scratch ===

impl Scratch {
    /// Asks whose the tokens are, and whether each may write to the repository. Changes nothing.
    pub(super) async fn prepare(args: &RaceArgs) -> anyhow::Result<Self> {
        let tokens = tokens(&args.tokens)?;
        let forge = Entrance::to(&args.forge)?;
        let agents = args.agents.map_or(tokens.len(), usize::from);
        if agents < 2 {
            bail!(
                "{} has one token: a race takes two; add tokens, or let agents share it with --agents 8",
                args.tokens.display()
            );
        }
        let repo = args.repo.as_str().to_owned();
        let mut accounts: Vec<Identity> = Vec::new();
        for (at, token) in tokens.into_iter().take(agents).enumerate() {
            let identity = Identity { login: String::new(), token, name: None, number: at };
            let mut agent = Agent::new(identity.clone(), forge.clone());
            let login = whose(&mut agent, at).await?;
            may_write(&mut agent, &login, &repo).await?;
            accounts.push(Identity { login, ..identity });
        }
        let identities: Vec<Identity> = (0..agents)
            .map(|number| {
                let account = &accounts[number % accounts.len()];
                let shared = (0..agents).any(|other| {
                    other != number && accounts[other % accounts.len()].login.eq_ignore_ascii_case(&account.login)
                });
                let name = shared.then(|| format!("race-{}", number + 1));
                Identity { name, number, ..account.clone() }
            })
            .collect();
        let mut scratch = Self { forge, labels: None, repo, identities, accounts: accounts.len(), made: Vec::new() };
        scratch.labels = scratch.work_labels().await?;
        Ok(scratch)
    }

    pub(super) fn introduction(&self, args: &RaceArgs) -> String {
        let (agents, issues, repo) = (self.identities.len(), args.issues, &self.repo);
        let accounts = if agents > self.accounts {
            format!(
                ", which share accounts ({} in all) and name themselves by the header Claimgate-Agent,",
                self.accounts
            )
        } else {
            String::new()
        };
        let labels = if self.labels.is_some() { "" } else { ". The repository has no labels of work, so none are set" };
        format!(
            "{agents} agents{accounts} go for each of {issues} scratch issues in {repo} at once, directly and then through the gate.\n\
             Each looks whether it is free, assigns itself, and looks again whether it is the one that is assigned{labels}.\n"
        )
    }

    /// An agent for each identity, spread over these ways.
    pub(super) fn agents(&self, ways: &[Entrance]) -> Vec<Agent> {
        let identities = self.identities.iter().enumerate();
        identities.map(|(at, identity)| Agent::new(identity.clone(), ways[at % ways.len()].clone())).collect()
    }

    pub(super) fn reader(&self) -> Mutex<Reader> {
        Mutex::new(Reader(self.owner()))
    }

    /// Makes issues to race for.
    pub(super) async fn make(&mut self, count: usize, which: Issues) -> anyhow::Result<Vec<u64>> {
        let mut owner = self.owner();
        let path = format!("/api/v1/repos/{}/issues", self.repo);
        let way = match which {
            Issues::Direct => "directly",
            Issues::Through => "through the gate",
        };
        let mut numbers = Vec::with_capacity(count);
        for at in 1..=count {
            let mut body = json!({
                "title": format!("claimgate race {way}, {at} of {count}"),
                "body": "A scratch issue of `claimgate race`; it is closed when the race is over.",
            });
            if let Some(labels) = self.labels {
                body["labels"] = json!([labels.backlog]);
            }
            let (status, answer) = owner.call(Method::POST, &path, Some(body)).await?;
            let number = answer["number"].as_u64().filter(|_| status == StatusCode::CREATED);
            let number = number
                .with_context(|| format!("no issue could be made in {}: {}", self.repo, told(status, &answer)))?;
            self.made.push(Made { number, winners: Vec::new() });
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Notes who believes to have won which issue.
    pub(super) fn won(&mut self, winners: &[(u64, Vec<usize>)], ways: &[Entrance]) {
        for (number, agents) in winners {
            if let Some(made) = self.made.iter_mut().find(|made| made.number == *number) {
                made.winners = agents.iter().map(|at| (*at, ways[at % ways.len()].clone())).collect();
            }
        }
    }

    /// Closes or deletes every issue; those that could not be are named. Whoever holds one gives it back first, where it
    /// holds it, so that no gate keeps a holding of an issue that is gone.
    pub(super) async fn clear(&mut self, delete: bool) -> Vec<String> {
        let mut left = Vec::new();
        let mut owner = self.owner();
        for made in std::mem::take(&mut self.made) {
            let path = issue(&self.repo, made.number);
            for (at, way) in &made.winners {
                let mut agent = Agent::new(self.identities[*at].clone(), way.clone());
                // Where it is no longer the holder's there is nothing to give back.
                drop(agent.call(Method::PATCH, &path, Some(json!({ "assignees": [] }))).await);
            }
            let end = if delete {
                owner.call(Method::DELETE, &path, None).await
            } else {
                owner.call(Method::PATCH, &path, Some(json!({ "state": "closed", "assignees": [] }))).await
            };
            if !end.is_ok_and(|(status, _)| status.is_success()) {
                left.push(format!("{}#{}", self.repo, made.number));
            }
        }
        left
    }

    /// The first account, past every gate.
    fn owner(&self) -> Agent {
        Agent::new(Identity { name: None, ..self.identities[0].clone() }, self.forge.clone())
    }

    /// The labels that say that an issue waits, and that it is worked on, where the repository has both.
    async fn work_labels(&self) -> anyhow::Result<Option<WorkLabels>> {
        let (backlog, in_progress) = names_of_work()?;
        let (mut waits, mut works) = (None, None);
        let owner = self.repo.split('/').next().unwrap_or_default();
        for list in [format!("/api/v1/repos/{}/labels", self.repo), format!("/api/v1/orgs/{owner}/labels")] {
            for page in 1..=MOST_PAGES {
                let (status, answer) =
                    self.owner().call(Method::GET, &format!("{list}?limit={PAGE}&page={page}"), None).await?;
                // A person has none to share, and a token may not ask for an organisation's.
                let Some(labels) = answer.as_array().filter(|_| status.is_success()) else { break };
                for label in labels {
                    let is = |name: &str| label["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name));
                    waits = waits.or_else(|| label["id"].as_u64().filter(|_| is(&backlog)));
                    works = works.or_else(|| label["id"].as_u64().filter(|_| is(&in_progress)));
                }
                if labels.len() < PAGE {
                    break;
                }
            }
        }
        Ok(works.zip(waits).map(|(in_progress, backlog)| WorkLabels { in_progress, backlog }))
    }
}

// === impl Reader ===

impl Reader {
    pub(super) async fn assignees(&mut self, repo: &str, number: u64) -> anyhow::Result<Vec<String>> {
        let (status, answer) = self.0.call(Method::GET, &issue(repo, number), None).await?;
        if status != StatusCode::OK {
            bail!("{repo}#{number} cannot be read: {}", told(status, &answer));
        }
        Ok(assignees(&answer).into_iter().map(str::to_owned).collect())
    }
}

/// The tokens of a file: one a line; blank lines and those that begin with `#` are left out.
fn tokens(file: &Path) -> anyhow::Result<Vec<SecretString>> {
    let text = read_secret(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let tokens: Vec<SecretString> = lines.map(SecretString::from).collect();
    if tokens.is_empty() {
        bail!("{} has no token: write one a line", file.display());
    }
    Ok(tokens)
}

async fn whose(agent: &mut Agent, at: usize) -> anyhow::Result<String> {
    let (status, answer) = agent.call(Method::GET, "/api/v1/user", None).await?;
    let login = answer["login"].as_str().filter(|_| status.is_success());
    let login = login.with_context(|| {
        format!(
            "the tracker does not say whose token {} is: {}; it needs the scope read:user",
            at + 1,
            told(status, &answer)
        )
    })?;
    Ok(login.to_owned())
}

async fn may_write(agent: &mut Agent, login: &str, repo: &str) -> anyhow::Result<()> {
    let (status, answer) = agent.call(Method::GET, &format!("/api/v1/repos/{repo}"), None).await?;
    if !status.is_success() {
        bail!("{login} cannot see {repo}: {}; its token needs the scope read:repository", told(status, &answer));
    }
    if answer["permissions"]["push"] == false {
        bail!("{login} may not write to {repo}: make the account a collaborator with write access");
    }
    Ok(())
}

/// What the tracker said, for people.
fn told(status: StatusCode, answer: &Value) -> String {
    match answer["message"].as_str() {
        Some(text) => plain(&format!("it answered {status}: {text}")),
        None => format!("it answered {status}"),
    }
}

/// What the built-in rules call waiting and working.
fn names_of_work() -> anyhow::Result<(String, String)> {
    let loaded = read(&Layers::default()).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let Config { workflow, .. } = loaded.config;
    let working = workflow.working.first().cloned().context("no status of work")?;
    let waiting = workflow.states.iter().find(|state| !workflow.working.contains(*state));
    Ok((waiting.cloned().context("no status of waiting")?, working))
}
