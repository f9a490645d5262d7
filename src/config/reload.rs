//! What a running gate takes from a configuration that is read again, and which changes have to wait for a restart.
//!
//! The first is a list; the second is all else, found by comparing, so that a key that is added later is named as well.

use serde_json::Value;

use super::{Assignment, Config, Identity, Log};

impl Config {
    /// This configuration, with the keys of `read` that a running gate can follow.
    #[must_use]
    pub fn reloaded(&self, read: &Self) -> Self {
        let (was, now) = (&self.assignment, read.assignment.clone());
        Self {
            singleton: read.singleton.clone(),
            once: read.once.clone(),
            workflow: read.workflow.clone(),
            web: read.web.clone(),
            limits: read.limits.clone(),
            assignment: Assignment {
                verify: was.verify,
                lane_capacity: was.lane_capacity,
                lane_timeout: was.lane_timeout,
                max_waiting: was.max_waiting,
                max_waiting_per_agent: was.max_waiting_per_agent,
                ..now
            },
            identity: Identity {
                shared_accounts: read.identity.shared_accounts.clone(),
                unnamed: read.identity.unnamed,
                ..self.identity.clone()
            },
            log: Log { level: read.log.level.clone(), ..self.log.clone() },
            ..self.clone()
        }
    }

    /// What another configuration changes, each as `key: old -> new`, for the audit.
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let tree = |config| serde_json::to_value(config).unwrap_or_default();
        let (one, two) = (tree(self), tree(other));
        let at =
            |tree: &Value, key: &str| tree.pointer(&format!("/{}", key.replace('.', "/"))).cloned().unwrap_or_default();
        let keys = self.differences(other).into_iter();
        keys.map(|key| format!("{key}: {} -> {}", at(&one, &key), at(&two, &key))).collect()
    }

    /// The keys in which another configuration differs, as `section.key`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        // Paths come from TOML, and are text: there is nothing that JSON could not say.
        let tree = |config| serde_json::to_value(config).unwrap_or_default();
        let mut found = Vec::new();
        compare("", &tree(self), &tree(other), &mut found);
        found
    }
}

fn compare(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(table), Value::Object(others)) => {
            for (key, value) in table {
                let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&here, value, &others[key], found);
            }
        }
        _ if one == other => {}
        _ => found.push(path.to_owned()),
    }
}
