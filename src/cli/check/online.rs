//! `claimgate check --online`: whether the tracker and the machine are as the configuration takes them to be.
//!
//! It reads and changes nothing in the tracker, and needs no running gate.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::super::compose;
use super::super::scan::tracker::{Links, Listed, Tracker, elsewhere};
use super::super::table::counted;
use crate::config::{Config, JOBS};
use crate::dialect::{Credential, Dialect, ListedProject, Whoami};
use crate::model::Status;

/// One thing that was looked at.
#[derive(Debug)]
pub(crate) struct Look {
    grade: Grade,
    what: String,
    /// What mends it.
    cure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Good,
    Doubtful,
    Bad,
}

const SERVICE_TOKEN: &str = "make a token of an account of the gate's own with the scopes write:issue, read:repository, \
    read:organization and read:user, and name its file in upstream.service_token_file";
/// Requests a second at most.
const RATE: u32 = 50;
/// Repositories whose labels are looked at.
const MOST_REPOSITORIES: usize = 50;
/// Names that are listed at most.
const MOST_NAMES: usize = 5;

/// Looks at everything.
pub(crate) async fn look(config: &Config) -> anyhow::Result<Vec<Look>> {
    let service = compose::service(config)?;
    let has_token = service.is_some();
    let mut tracker = Tracker::new(config, service.unwrap_or_else(Credential::default), RATE)?;
    let mut looks = vec![ledger(&config.server.state_dir)];
    let url = &config.upstream.url;
    let Some(answer) = tracker.ask(|dialect, _| dialect.ask_version()).await else {
        looks.push(
            Look::bad(format!("the tracker at {url} cannot be reached"))
                .cure("start the tracker, or correct upstream.url; a firewall may stand between it and this machine"),
        );
        return Ok(looks);
    };
    looks.push(match tracker.dialect().version(&answer) {
        Some(version) => Look::good(format!("the tracker at {url} is {} {version}", config.upstream.tracker)),
        None => Look::doubtful(format!("the tracker at {url} does not say its version: it answered {}", answer.status))
            .cure("make sure that upstream.url is the tracker's own address, and upstream.tracker its kind"),
    });
    looks.push(links(config, &mut tracker).await?);
    if has_token {
        looks.extend(token(&mut tracker).await);
    } else {
        looks.push(Look::doubtful(
            "upstream.service_token_file is not set: edits past the gate are noticed late, and only what everybody may \
             read was looked at"
                .to_owned(),
        )
        .cure(SERVICE_TOKEN));
    }
    for (key, names) in [
        ("identity.shared_accounts", &config.identity.shared_accounts),
        ("assignment.overriders", &config.assignment.overriders),
    ] {
        looks.extend(accounts(&mut tracker, key, names).await);
    }
    looks.extend(repositories(config, &mut tracker, has_token).await);
    Ok(looks)
}

/// The state directory, by a file in it: the ledger itself may be a running gate's.
fn ledger(dir: &Path) -> Look {
    let there = dir.ancestors().find(|dir| dir.as_os_str().is_empty() || dir.exists()).unwrap_or(dir);
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    match tempfile_in(there) {
        Ok(()) => Look::good(format!("the state directory {} can be written", dir.display())),
        Err(error) => Look::bad(format!(
            "the state directory {} cannot be written ({error}): guarded writes would be refused",
            dir.display()
        ))
        .cure("make it a directory that the gate's user may write to (server.state_dir), with room on its disk"),
    }
}

fn tempfile_in(dir: &Path) -> std::io::Result<()> {
    let file = dir.join(format!(".claimgate-check-{}", std::process::id()));
    let written = std::fs::write(&file, [0; 4096]);
    drop(std::fs::remove_file(&file));
    written
}

async fn links(config: &Config, tracker: &mut Tracker) -> anyhow::Result<Look> {
    Ok(match tracker.links(config).await? {
        Links::Unknown => {
            Look::doubtful("the tracker shows no link from which its public URL could be read".to_owned())
        }
        Links::Home(link) => Look::good(format!("the tracker's links lead to upstream.public_url ({link})")),
        Links::Elsewhere(link, public) => Look::bad(elsewhere(&link, &public))
            .cure(&format!("set ROOT_URL in [server] of the tracker's app.ini to {public} and restart it")),
        Links::Unsaid(link) => Look::doubtful(format!(
            "the tracker's links lead to {link}, and upstream.public_url is not set: make sure that this is the gate"
        ))
        .cure("set upstream.public_url to what people and agents type, and the tracker's ROOT_URL to the same"),
    })
}

async fn token(tracker: &mut Tracker) -> Vec<Look> {
    let Some(answer) = tracker.ask(Dialect::whoami).await else { return Vec::new() };
    vec![match tracker.dialect().account(&answer) {
        Whoami::Account(account) => Look::good(format!("the service token is {account}'s")),
        Whoami::Forbidden | Whoami::OutOfScope => {
            Look::good("the service token is known (it may not say whose it is)".to_owned())
        }
        Whoami::Refused => {
            Look::bad(format!("the tracker does not know the service token: it answered {}", answer.status.as_u16()))
                .cure(SERVICE_TOKEN)
        }
        Whoami::Unreadable(why) => Look::doubtful(format!("nobody can tell whose the service token is: {why}")),
    }]
}

async fn accounts(tracker: &mut Tracker, key: &str, names: &[String]) -> Vec<Look> {
    let mut looks = Vec::new();
    for name in names {
        let answer = tracker.ask(|dialect, credential| dialect.ask_account(name, credential)).await;
        looks.push(match answer.map(|answer| answer.status.as_u16()) {
            Some(200) => Look::good(format!("{key}: there is an account {name}")),
            // The built-in list names those of several trackers, and not each of them shows its own.
            Some(404) if JOBS.contains(&name.as_str()) => continue,
            Some(404) => Look::bad(format!("{key}: there is no account {name}"))
                .cure("correct the name, or make the account; a rule about nobody protects nobody"),
            status => {
                let why = status.map_or_else(|| "no answer".to_owned(), |status| format!("it answered {status}"));
                Look::doubtful(format!("{key}: the tracker does not say whether there is an account {name} ({why})"))
            }
        });
    }
    looks
}

/// What the token sees and may write, and which repositories lack labels that are statuses.
async fn repositories(config: &Config, tracker: &mut Tracker, has_token: bool) -> Vec<Look> {
    let mut incomplete = Vec::new();
    let listed = match tracker.repositories(&mut incomplete).await {
        Ok(listed) => listed,
        Err(error) => {
            return vec![
                Look::bad(format!("the token needs the scope read:repository: {error:#}")).cure(SERVICE_TOKEN),
            ];
        }
    };
    let live: Vec<&ListedProject> = listed.iter().filter(|one| !one.archived).collect();
    let mut looks = vec![match live.len() as u64 {
        0 => Look::bad(
            "no repository can be seen: give the account access, and the token the scope read:repository".to_owned(),
        )
        .cure(SERVICE_TOKEN),
        seen => Look::good(format!("{} can be seen", counted(seen, "repository"))),
    }];
    let closed: Vec<String> =
        live.iter().filter(|one| has_token && one.writable == Some(false)).map(|one| one.project.to_string()).collect();
    if !closed.is_empty() {
        let names = some_of(&closed);
        looks.push(
            Look::doubtful(format!(
                "the service account may not write to {names}: `claimgate release` cannot put items back there"
            ))
            .cure("make it a collaborator with write access"),
        );
    }
    let (mut lacking, mut unread) = (Vec::new(), BTreeSet::new());
    for one in live.iter().filter(|one| one.issues).take(MOST_REPOSITORIES) {
        match tracker.labels(&one.project, &mut incomplete).await {
            Ok(Listed::All(labels)) => {
                let there: BTreeSet<Status> = labels.iter().map(|label| Status::new(&label.name)).collect();
                let states = config.workflow.states.iter().map(|state| Status::new(state));
                let missing: Vec<String> =
                    states.filter(|state| !there.contains(state)).map(|state| state.as_str().to_owned()).collect();
                if !missing.is_empty() {
                    lacking.push(format!("{} ({})", one.project, missing.join(", ")));
                }
            }
            Ok(Listed::Partly(_)) => {
                unread.insert("the labels of an organisation cannot be read: the token needs read:organization");
            }
            Ok(Listed::Denied(_)) | Err(_) => {
                unread.insert("the labels of a repository cannot be read: the token needs read:issue");
            }
        }
        if let Ok(Listed::Denied(403)) = tracker.open_items(&one.project, &mut Vec::new()).await {
            unread.insert("issues cannot be read: the token needs read:issue");
        }
    }
    looks.extend(unread.into_iter().map(|why| Look::bad(why.to_owned()).cure(SERVICE_TOKEN)));
    looks.push(if lacking.is_empty() {
        Look::good("the labels that are statuses exist".to_owned())
    } else {
        Look::doubtful(format!("labels that are statuses are missing: {}", some_of(&lacking)))
            .cure("make the labels there, or leave out of workflow.states what you do not use")
    });
    looks
}

fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(MOST_NAMES);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

// === impl Look ===

impl Look {
    pub(crate) fn good(what: String) -> Self {
        Self { grade: Grade::Good, what, cure: None }
    }

    pub(crate) fn doubtful(what: String) -> Self {
        Self { grade: Grade::Doubtful, what, cure: None }
    }

    pub(crate) fn bad(what: String) -> Self {
        Self { grade: Grade::Bad, what, cure: None }
    }

    /// With what mends it.
    pub(crate) fn cure(self, how: &str) -> Self {
        Self { cure: Some(how.to_owned()), ..self }
    }

    /// What mends it, where there is something to mend.
    pub(crate) fn remedy(&self) -> Option<&str> {
        self.cure.as_deref()
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.grade == Grade::Bad
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.grade == Grade::Doubtful
    }

    fn word(&self) -> &'static str {
        match self.grade {
            Grade::Good => "ok",
            Grade::Doubtful => "warning",
            Grade::Bad => "failed",
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "result": self.word(), "what": self.what, "cure": self.cure })
    }
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "  {:8} {}", self.word(), self.what)
    }
}
