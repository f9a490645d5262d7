//! What a gate would stumble over, judged from one read of an item, the rules, and the ledger if there is one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::tracker::elsewhere;
use crate::admission::{OutsideEdit, Rules, outside_edit};
use crate::model::{Account, ItemRecord, OpenState, Project, ResourceKey, Shown, Snapshot, Status, Tag, Time};

/// One thing that was found.
#[derive(Debug)]
pub(super) struct Finding {
    kind: FindingKind,
    /// `owner/repo#n`, or the repository.
    resource: String,
    detail: String,
    shown: Option<Shown>,
}

/// What findings rest on beside the tracker.
pub(super) struct Judge<'a> {
    pub(super) rules: &'a Rules,
    pub(super) shared: &'a BTreeSet<Account>,
    /// What the ledger has of items that are held or in doubt.
    pub(super) held: Vec<ItemRecord>,
    pub(super) now: Time,
}

/// In the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FindingKind {
    PublicUrl,
    SeveralAssignees,
    WorkingUnassigned,
    AssignedNotWorking,
    SeveralStatuses,
    ClosedWorking,
    NoAccess,
    SharedAccount,
    HeldOtherwise,
    InDoubt,
    DoneOpen,
    LabelTwice,
    MissingLabel,
}

// === impl Judge ===

impl Judge<'_> {
    /// About one item.
    pub(super) fn item(&self, seen: &Snapshot) -> Vec<Finding> {
        let shown = self.rules.workflow.shown(seen);
        let record = self.record(&seen.key);
        let holding = record.and_then(|record| record.holding.as_ref());
        let held = holding.is_some_and(|held| !held.parked);
        // The ledger knows which agent of a shared account it is.
        let named = holding.is_some_and(|held| held.actor.instance.is_some());
        let done = self.rules.workflow.final_states();
        let is_done = shown.statuses.iter().any(|status| done.contains(status));
        let open = shown.state == OpenState::Open;
        let is_working = shown.statuses.iter().any(|status| self.rules.workflow.working.contains(status));
        let (assignees, statuses) = (names(shown.assignees.iter().map(Account::as_str)), status_names(&shown));
        let checks = [
            (shown.assignees.len() > 1, FindingKind::SeveralAssignees, format!("assigned to {assignees}")),
            // A claim by its label alone is held by the ledger.
            (
                open && is_working && shown.assignees.is_empty() && !held,
                FindingKind::WorkingUnassigned,
                format!("{statuses}, and nobody is assigned"),
            ),
            (
                open && !is_working && !shown.assignees.is_empty(),
                FindingKind::AssignedNotWorking,
                format!("assigned to {assignees}, and its status is {statuses}"),
            ),
            (open && shown.statuses.len() > 1, FindingKind::SeveralStatuses, format!("it carries {statuses}")),
            (open && is_done, FindingKind::DoneOpen, format!("it carries {statuses}, and it is open")),
            (!open && is_working, FindingKind::ClosedWorking, format!("closed, and it still carries {statuses}")),
            (
                open && !named && shown.assignees.iter().any(|login| self.shared.contains(login)),
                FindingKind::SharedAccount,
                format!("assigned to {assignees}: which agent that is, nobody can tell"),
            ),
            (
                record.is_some_and(|record| record.is_in_doubt(self.now)),
                FindingKind::InDoubt,
                "a write of unknown fate".to_owned(),
            ),
        ];
        let found = checks.into_iter().filter(|(is, ..)| *is).map(|(_, kind, detail)| (kind, detail));
        let by_ledger = record.and_then(|record| self.against_ledger(record, seen));
        found.chain(by_ledger).map(|(kind, detail)| Finding::of_item(kind, seen, shown.clone(), detail)).collect()
    }

    fn against_ledger(&self, record: &ItemRecord, seen: &Snapshot) -> Option<(FindingKind, String)> {
        let holder = &record.holding.as_ref()?.actor;
        let what = match outside_edit(record, seen, self.rules, self.now)? {
            OutsideEdit::Takes { cause, .. } => cause,
            OutsideEdit::Contested { .. } => "changed by a write that did not pass the gate",
            OutsideEdit::Harmless { .. } | OutsideEdit::Finishes { .. } => return None,
        };
        Some((FindingKind::HeldOtherwise, format!("the ledger says that {holder} holds it; {what}")))
    }

    /// Open items that are assigned to accounts which may not be assigned there.
    pub(super) fn without_access(&self, open: &[Snapshot], denied: &BTreeSet<Account>) -> Vec<Finding> {
        let finding = |item: &Snapshot| {
            let denied = names(item.assignees.intersection(denied).map(Account::as_str));
            let detail =
                format!("assigned to {denied}, who may not be assigned there: access was taken away, or never given");
            (!denied.is_empty())
                .then(|| Finding::of_item(FindingKind::NoAccess, item, self.rules.workflow.shown(item), detail))
        };
        open.iter().filter_map(finding).collect()
    }

    /// Holdings of this repository whose items are not open any more.
    pub(super) fn held_elsewhere(&self, project: &Project, open: &[Snapshot]) -> Vec<Finding> {
        let open: BTreeSet<&ResourceKey> = open.iter().map(|item| &item.key).collect();
        let gone = self.held.iter().filter(|record| record.locator.is_in(project) && !open.contains(&record.key));
        let gone = gone.filter_map(|record| Some((record, record.holding.as_ref().filter(|held| !held.parked)?)));
        let finding = |(record, held): (&ItemRecord, &crate::model::Holding)| Finding {
            kind: FindingKind::HeldOtherwise,
            resource: record.locator.to_string(),
            detail: format!("the ledger says that {} holds it; it is not open in the tracker", held.actor),
            shown: None,
        };
        gone.map(finding).collect()
    }

    /// About the labels that a repository has. Where they are not all known, none is missing for certain.
    pub(super) fn labels(&self, project: &Project, labels: &[Tag], all: bool) -> Vec<Finding> {
        // One that is listed twice is one.
        let distinct: BTreeSet<&Tag> = labels.iter().collect();
        let there: Vec<Status> = distinct.iter().map(|label| Status::new(&label.name)).collect();
        let finding = |kind, detail| Finding { kind, resource: project.to_string(), detail, shown: None };
        let missing = self.rules.workflow.states.iter().filter(|state| !there.contains(state));
        let missing: Vec<String> = missing.map(|state| with_guess(state, labels)).collect();
        let missing = (all && !missing.is_empty())
            .then(|| finding(FindingKind::MissingLabel, format!("it has no label {}", missing.join(", "))));
        let twice =
            self.rules.workflow.states.iter().filter(|state| there.iter().filter(|one| one == state).count() > 1);
        let twice = twice.map(|state| {
            let names =
                names(labels.iter().map(|label| label.name.as_str()).filter(|name| Status::new(name) == *state));
            finding(FindingKind::LabelTwice, format!("several labels are the status {}: {names}", state.as_str()))
        });
        missing.into_iter().chain(twice).collect()
    }

    /// Those of these labels that stand for work.
    pub(super) fn working_labels<'l>(&self, labels: &'l [Tag]) -> Vec<&'l str> {
        let is_working = |label: &&Tag| self.rules.workflow.working.contains(&Status::new(&label.name));
        labels.iter().filter(is_working).map(|label| label.name.as_str()).collect()
    }

    fn record(&self, key: &ResourceKey) -> Option<&ItemRecord> {
        self.held.iter().find(|record| record.key == *key)
    }
}

/// A label that is missing, with one that is probably meant to be it.
fn with_guess(state: &Status, labels: &[Tag]) -> String {
    let letters = |name: &str| name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let wanted = letters(state.as_str());
    let near = labels.iter().find(|label| {
        let name = letters(&label.name);
        // A scope before it, as in `status/todo`, is another name for it.
        let last = letters(label.name.rsplit('/').next().unwrap_or_default());
        name == wanted || last == wanted || (wanted.len() > 4 && strsim::damerau_levenshtein(&name, &wanted) == 1)
    });
    near.map_or_else(
        || state.as_str().to_owned(),
        |label| format!("{} (did you mean `{}`?)", state.as_str(), label.name),
    )
}

fn status_names(shown: &Shown) -> String {
    match names(shown.statuses.iter().map(Status::as_str)) {
        none if none.is_empty() => "none".to_owned(),
        statuses => statuses,
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

// === impl Finding ===

impl Finding {
    fn of_item(kind: FindingKind, seen: &Snapshot, shown: Shown, detail: String) -> Self {
        Self { kind, resource: seen.locator.to_string(), detail, shown: Some(shown) }
    }

    /// The tracker's own links lead past the gate.
    pub(super) fn of_links(link: &str, public: &str) -> Self {
        let (resource, detail) = (link.to_owned(), elsewhere(link, public));
        Self { kind: FindingKind::PublicUrl, resource, detail, shown: None }
    }

    /// By kind, then by place.
    pub(super) fn order(&self) -> (u8, String, u64) {
        let (project, number) = self.resource.rsplit_once('#').unwrap_or((&self.resource, "0"));
        (self.kind as u8, project.to_owned(), number.parse().unwrap_or_default())
    }

    pub(super) fn kind(&self) -> &'static str {
        self.kind.as_str()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "kind": self.kind.as_str(),
            "resource": self.resource,
            "detail": self.detail,
            "observed": self.shown.as_ref().map(crate::effect::audit::shown),
        })
    }
}

impl FindingKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::SeveralAssignees => "several_assignees",
            Self::WorkingUnassigned => "working_unassigned",
            Self::AssignedNotWorking => "assigned_not_working",
            Self::SeveralStatuses => "several_statuses",
            Self::ClosedWorking => "closed_working",
            Self::PublicUrl => "public_url",
            Self::NoAccess => "no_access",
            Self::SharedAccount => "shared_account",
            Self::HeldOtherwise => "held_otherwise",
            Self::InDoubt => "in_doubt",
            Self::DoneOpen => "done_open",
            Self::LabelTwice => "label_twice",
            Self::MissingLabel => "missing_label",
        }
    }
}
