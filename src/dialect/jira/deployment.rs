//! Whose Jira it is: Atlassian's own (Cloud) names accounts by `accountId` and lists issues otherwise than one that somebody
//! runs (Server, Data Center), which names them by `name`. The tracker's answers say which it is; a client's request says it
//! by the member that it uses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whose Jira it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// Atlassian's.
    Cloud,
    /// Somebody's own.
    Server,
}

/// What the dialect has learnt of its Jira from answers. Nothing is admitted by it.
#[derive(Debug, Default)]
pub struct LearntFacts {
    deployment: AtomicU8,
    /// Where a transition leads, by the workflow that it is of and its id: Jira lists those alone that can be taken now.
    targets: Mutex<HashMap<(String, String), String>>,
}

impl LearntFacts {
    pub fn learn(&self, deployment: Deployment) {
        let value = match deployment {
            Deployment::Cloud => CLOUD,
            Deployment::Server => SERVER,
        };
        self.deployment.store(value, Ordering::Relaxed);
    }

    /// Before anything was answered, somebody's own.
    pub fn deployment(&self) -> Deployment {
        if self.deployment.load(Ordering::Relaxed) == CLOUD { Deployment::Cloud } else { Deployment::Server }
    }

    /// Of the workflow of a project's issues of one type.
    pub fn learn_target(&self, workflow: &str, transition: &str, status: &str) {
        let mut targets = self.targets();
        if targets.len() >= MOST_TARGETS {
            targets.clear();
        }
        targets.insert((workflow.to_owned(), transition.to_owned()), status.to_owned());
    }

    /// The status to which a transition was last seen to lead.
    pub fn target(&self, workflow: &str, transition: &str) -> Option<String> {
        self.targets().get(&(workflow.to_owned(), transition.to_owned())).cloned()
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<(String, String), String>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SERVER: u8 = 1;
const CLOUD: u8 = 2;
const MOST_TARGETS: usize = 20_000;
