//! Lists of the tracker, read one page after another and never faster than asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::compose;
use crate::config::Config;
use crate::dialect::{Assignable, Credential, Dialect, ListedProject, Listing, Whoami, WireRequest, WireResponse};
use crate::effect::Upstream as _;
use crate::model::{Account, Place, Project, ResourceKey, Snapshot, Tag};
use crate::upstream::HttpUpstream;

/// The tracker, read with one credential.
pub(crate) struct Tracker {
    dialect: Arc<dyn Dialect>,
    url: String,
    upstream: HttpUpstream,
    credential: Credential,
    pace: Interval,
}

/// A whole list, or the status by which the tracker denies it.
pub(crate) enum Listed<T> {
    All(T),
    /// What could be read of it.
    Partly(T),
    Denied(u16),
}

/// Where the tracker's links to itself lead.
#[derive(Debug)]
pub(crate) enum Links {
    /// It shows none.
    Unknown,
    /// To `upstream.public_url`.
    Home(String),
    /// Past the gate: to the first, and not to the second, `upstream.public_url`.
    Elsewhere(String, String),
    /// There; where they should lead is not configured.
    Unsaid(String),
}

/// Pages of one list that are read at most.
const MOST_PAGES: usize = 1000;

// === impl Tracker ===

impl Tracker {
    /// Must be called on the runtime that will read.
    pub(crate) fn new(config: &Config, credential: Credential, rate: u32) -> anyhow::Result<Self> {
        let upstream = HttpUpstream::new(&compose::upstream(config)?)?;
        let mut pace = interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let url = config.upstream.url.clone();
        Ok(Self { dialect: compose::dialect(config)?, url, upstream, credential, pace })
    }

    /// An unknown token is no error to some trackers: they answer as to a stranger, and much would be missing.
    pub(crate) async fn check_token(&mut self) -> anyhow::Result<()> {
        self.pace.tick().await;
        let answer = self.upstream.read(self.dialect.whoami(&self.credential)).await;
        let (response, _) = answer.with_context(|| format!("the tracker at {} could not be read", self.url))?;
        match self.dialect.account(&response) {
            Whoami::Account(_) | Whoami::Forbidden | Whoami::OutOfScope => Ok(()),
            Whoami::Refused => bail!(
                "the tracker does not know the token of upstream.service_token_file: it answered {}",
                response.status.as_u16()
            ),
            Whoami::Unreadable(why) => bail!("the tracker could not be asked whose token this is: {why}"),
        }
    }

    pub(crate) async fn repositories(&mut self, incomplete: &mut Vec<String>) -> anyhow::Result<Vec<ListedProject>> {
        let read = |dialect: &dyn Dialect, response: &WireResponse| dialect.repositories(response);
        match self.list(Listing::Repositories, read, |listed| listed.project.clone(), incomplete).await? {
            Listed::All(projects) | Listed::Partly(projects) => Ok(projects),
            Listed::Denied(status) => {
                bail!(
                    "the tracker answered {status} for its repositories: look at upstream.service_token_file, or name one with --repo"
                )
            }
        }
    }

    /// The labels that can stand on the repository's items.
    pub(crate) async fn labels(
        &mut self,
        project: &Project,
        incomplete: &mut Vec<String>,
    ) -> anyhow::Result<Listed<Vec<Tag>>> {
        let read = |dialect: &dyn Dialect, response: &WireResponse| dialect.labels(response);
        let mut labels =
            match self.list(Listing::Labels(Some(project)), read, |label| label.id.clone(), incomplete).await? {
                Listed::All(labels) | Listed::Partly(labels) => labels,
                Listed::Denied(status) => return Ok(Listed::Denied(status)),
            };
        match self.list(Listing::SharedLabels(Some(project)), read, |label| label.id.clone(), incomplete).await? {
            Listed::All(shared) | Listed::Partly(shared) => labels.extend(shared),
            // A person has none to share.
            Listed::Denied(404) => {}
            Listed::Denied(status) => {
                let owner = project.as_str().split('/').next().unwrap_or_default();
                incomplete.push(format!(
                    "the labels of {owner} cannot be read (the tracker answered {status}): give the token of \
                     upstream.service_token_file the scope read:organization; until then nobody can say which labels {project} lacks"
                ));
                return Ok(Listed::Partly(labels));
            }
        }
        Ok(Listed::All(labels))
    }

    pub(crate) async fn open_items(
        &mut self,
        project: &Project,
        incomplete: &mut Vec<String>,
    ) -> anyhow::Result<Listed<Vec<Snapshot>>> {
        self.items(Listing::OpenItems(project), project, incomplete).await
    }

    /// The closed items that carry one of these labels.
    pub(super) async fn closed_items(
        &mut self,
        project: &Project,
        labels: &[&str],
        incomplete: &mut Vec<String>,
    ) -> anyhow::Result<Vec<Snapshot>> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::<ResourceKey>::new());
        for label in labels {
            let Listed::All(items) = self.items(Listing::ClosedItems(project, label), project, incomplete).await?
            else {
                incomplete.push(format!("{project}: its closed items could not be listed"));
                continue;
            };
            // A tracker that does not know the label may list every closed item.
            let carries = |item: &Snapshot| item.labels.iter().any(|other| other.name == **label);
            found.extend(items.into_iter().filter(carries).filter(|item| seen.insert(item.key.clone())));
        }
        Ok(found)
    }

    async fn items(
        &mut self,
        listing: Listing<'_>,
        project: &Project,
        incomplete: &mut Vec<String>,
    ) -> anyhow::Result<Listed<Vec<Snapshot>>> {
        let read = |dialect: &dyn Dialect, response: &WireResponse| dialect.items(project, response);
        self.list(listing, read, |item| item.key.clone(), incomplete).await
    }

    /// Page by page, until one brings nothing new: how many entries a page has is the tracker's to say.
    async fn list<T, K: Ord>(
        &mut self,
        listing: Listing<'_>,
        read: impl Fn(&dyn Dialect, &WireResponse) -> Option<Vec<T>>,
        key: impl Fn(&T) -> K,
        incomplete: &mut Vec<String>,
    ) -> anyhow::Result<Listed<Vec<T>>> {
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        for page in 1..=MOST_PAGES {
            let response = self.page(listing, page).await?;
            match response.status.as_u16() {
                status @ (401 | 403 | 404) => return Ok(Listed::Denied(status)),
                200 => {}
                status => bail!("the tracker answered {status} for {}", told(listing)),
            }
            let entries = read(&*self.dialect, &response)
                .with_context(|| format!("the tracker's answer for {} cannot be read", told(listing)))?;
            let before = all.len();
            all.extend(entries.into_iter().filter(|entry| seen.insert(key(entry))));
            if all.len() == before {
                return Ok(Listed::All(all));
            }
        }
        incomplete.push(format!("{}: only the first {MOST_PAGES} pages were looked through", told(listing)));
        Ok(Listed::All(all))
    }

    /// One request of the dialect's; `None` where there is no answer.
    pub(crate) async fn ask(
        &mut self,
        of: impl FnOnce(&dyn Dialect, &Credential) -> WireRequest,
    ) -> Option<WireResponse> {
        self.pace.tick().await;
        Some(self.upstream.read(of(&*self.dialect, &self.credential)).await.ok()?.0)
    }

    /// Where its links to itself lead.
    pub(crate) async fn links(&mut self, config: &Config) -> anyhow::Result<Links> {
        let answer = self.ask(Dialect::ask_link).await;
        let link = answer.and_then(|answer| self.dialect.link(&answer));
        let leads_home = compose::leads_home(config)?;
        Ok(match (link, leads_home, &config.upstream.public_url) {
            (None, ..) => Links::Unknown,
            (Some(link), Some(leads_home), _) if leads_home(&link) => Links::Home(link),
            (Some(link), _, Some(public)) => Links::Elsewhere(link, public.clone()),
            (Some(link), ..) => Links::Unsaid(link),
        })
    }

    /// Those of these accounts of whom the tracker says that they may not be assigned in this repository.
    pub(crate) async fn without_access(&mut self, project: &Project, logins: &BTreeSet<Account>) -> BTreeSet<Account> {
        let mut denied = BTreeSet::new();
        // Any item of it will do.
        let Some(at) = self.dialect.address(&Place::numbered(project, 1)) else { return denied };
        // Most of what is asked is the same for all of them.
        let mut answered: BTreeMap<String, WireResponse> = BTreeMap::new();
        for login in logins {
            let mut answers = Vec::new();
            loop {
                match self.dialect.assignable(&at, login, &answers, &self.credential) {
                    Assignable::Ask(request) => {
                        let target = request.target.clone();
                        if !answered.contains_key(&target) {
                            let Some(answer) = self.ask(|_, _| request).await else { break };
                            answered.insert(target.clone(), answer);
                        }
                        answers.extend(answered.get(&target).cloned());
                    }
                    Assignable::Told(false) => {
                        denied.insert(login.clone());
                        break;
                    }
                    Assignable::Told(true) | Assignable::Unknown => break,
                }
            }
        }
        denied
    }

    /// How the tracker's answers are read.
    pub(crate) fn dialect(&self) -> Arc<dyn Dialect> {
        Arc::clone(&self.dialect)
    }

    async fn page(&mut self, listing: Listing<'_>, page: usize) -> anyhow::Result<WireResponse> {
        self.pace.tick().await;
        let answer = self.upstream.read(self.dialect.list(listing, page, &self.credential)).await;
        let failed = || format!("the tracker at {} could not be read for {}", self.url, told(listing));
        Ok(answer.with_context(failed)?.0)
    }
}

/// Links that lead past the gate, for a person to read.
pub(crate) fn elsewhere(link: &str, public: &str) -> String {
    format!(
        "the tracker's links lead to {link}, not to upstream.public_url = {public}: whoever follows them goes round the \
         gate; set ROOT_URL to it"
    )
}

fn told(listing: Listing<'_>) -> String {
    match listing {
        Listing::Repositories => "its repositories".to_owned(),
        Listing::AllItems(project) => format!("the items of {project}"),
        Listing::OpenItems(project) => format!("the open items of {project}"),
        Listing::ClosedItems(project, label) => format!("the closed items of {project} with `{label}`"),
        Listing::Labels(Some(project)) => format!("the labels of {project}"),
        Listing::SharedLabels(Some(project)) => format!("the labels that {project} shares"),
        Listing::Labels(None) | Listing::SharedLabels(None) => "its labels".to_owned(),
    }
}
