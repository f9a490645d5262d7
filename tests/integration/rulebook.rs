//! The rule book: what each agent may do to an item, in each situation that the ledger and the tracker can show.
//!
//! One table a situation; a row is what is asked, a column who asks. The table is the specification: it is compared with
//! what the decision itself says, cell by cell, and no combination is left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use claimgate::admission::{
    Assignment, By, DecisionInput, HoldingLimits, Mode, MoveRule, Outside, Rules, Verdict, Web, Workflow, decide,
};
use claimgate::model::{
    Account, Actor, AttemptId, Caller, Change, Fence, Fingerprint, Holding, Instance, ItemKind, ItemRecord, Kind,
    OpenState, Ownership, Place, Principal, ResourceKey, SetChange, Shown, Snapshot, Status, Tag, TagId, Time,
};

const BOOK: &str = include_str!("rulebook.txt");

/// Who asks: ann, ann's account in another process, ben, sue who overrides, somebody whose token does not say who it is.
const ACTORS: [&str; 5] = ["ann", "ann#2", "ben", "sue", "token"];

const ASKED: [&str; 15] = [
    "assign itself",
    "assign cid",
    "clear assignees",
    "set in-progress",
    "set todo",
    "set blocked",
    "remove in-progress",
    "remove approved",
    "put todo only",
    "put the same, and priority",
    "set priority",
    "close",
    "leave open",
    "leave open, and a text",
    "clear and close",
];

/// What the tracker shows and the ledger knows.
const SITUATIONS: [&str; 14] = [
    "backlog, nobody",
    "no status, nobody, opened by ann",
    "done, nobody",
    "approved, nobody",
    "in-progress, nobody, never held",
    "backlog, assigned to ann, never held",
    "in-progress, assigned to ann, never held",
    "in-progress, held by ann",
    "in-progress, held by ann by its label alone",
    "in-progress, held by ann#1",
    "blocked, parked by ann",
    "blocked, parked by ann, nobody assigned",
    "in-progress, held by ann who is silent for a day",
    "in-progress, held by ann, contested",
];

#[test]
fn the_gate_goes_by_the_book() {
    let told = book();
    let differs: Vec<String> = told
        .lines()
        .zip(BOOK.lines().chain(std::iter::repeat("")))
        .filter(|(is, says)| is.trim_end() != says.trim_end())
        .map(|(is, says)| format!("the book: {says}\nthe gate: {is}"))
        .collect();
    assert!(differs.is_empty() && told.lines().count() == BOOK.lines().count(), "{}\n\n{told}", differs.join("\n"));
}

fn book() -> String {
    let mut out = String::new();
    for situation in SITUATIONS {
        let heads = ACTORS.map(|actor| format!("{actor:28}")).concat();
        writeln!(out, "{situation}\n    {:28}{}", "", heads.trim_end()).expect("a string takes it");
        for asked in ASKED {
            let cells = ACTORS.map(|actor| format!("{:28}", told(situation, asked, actor))).concat();
            writeln!(out, "    {asked:28}{}", cells.trim_end()).expect("a string takes it");
        }
        out.push('\n');
    }
    out
}

fn told(situation: &str, asked: &str, actor: &str) -> String {
    let (rules, caller, change) = (rules(situation), caller(actor), change(asked, actor));
    let (seen, record) = item(situation);
    let change = match asked {
        "put the same, and priority" => put(seen.labels.iter().map(|label| &*label.name).chain(["priority"])),
        _ => change,
    };
    let labels = labels();
    let question = DecisionInput {
        rules: &rules,
        caller: &caller,
        change: &change,
        asks_more: asked.ends_with("and a text"),
        record: &record,
        seen: &seen,
        labels: &labels,
        now: NOW,
    };
    match decide(&question).0 {
        Verdict::Admit(permit) => meaning(permit.plan().kind, &permit.plan().ownership, &caller),
        Verdict::Noop(noop) => format!("{}, not sent", meaning(noop.kind, &noop.ownership, &caller)),
        Verdict::Reject(rejection) => rejection.code.as_str().to_owned(),
    }
}

fn meaning(kind: Kind, ownership: &Ownership, caller: &Caller) -> String {
    let holder = match ownership {
        Ownership::Keep => "",
        Ownership::Ends => ": ends",
        Ownership::Becomes(actor) if *actor == caller.actor => ": its own",
        Ownership::Becomes(_) => ": another's",
    };
    format!("{}{holder}", kind.as_str())
}

// === the item ===

const NOW: Time = Time(1_000_000_000_000);
const NAMES: [&str; 7] = ["backlog", "todo", "in-progress", "blocked", "done", "approved", "priority"];

fn label(name: &str) -> Tag {
    let id = NAMES.iter().position(|known| *known == name).expect("a known label") + 1;
    Tag { id: Some(TagId::Number(id as u64)), name: name.to_owned(), group: None, state: None }
}

fn labels() -> Vec<Tag> {
    NAMES.map(label).into()
}

fn item(situation: &str) -> (Snapshot, ItemRecord) {
    let is = |words: &str| situation.contains(words);
    let status = situation.split(',').next().filter(|status| NAMES.contains(status));
    let unassigned = is("nobody") || is("label alone");
    let locator = Place::from_stored("acme/app#7");
    let key = ResourceKey::new("107");
    let seen = Snapshot {
        key: key.clone(),
        locator: locator.clone(),
        kind: ItemKind::Issue,
        assignees: if unassigned { BTreeSet::new() } else { [Account::new("ann")].into() },
        labels: status.map(label).into_iter().collect(),
        state: OpenState::Open,
        author: is("opened by ann").then(|| Account::new("ann")),
    };
    let mut record = ItemRecord::new(key, locator);
    if is("held by ann") && !is("never") || is("parked") {
        let silent = Duration::from_secs(if is("silent") { 86_400 } else { 60 });
        let since = Time(NOW.0 - i64::try_from(silent.as_micros()).expect("a short time"));
        record.holding = Some(Holding {
            actor: actor(if is("ann#1") { "ann#1" } else { "ann" }),
            since,
            attempt: AttemptId::new("a"),
            fence: Fence(1),
            last_seen: Shown {
                assignees: seen.assignees.clone(),
                statuses: status.map(Status::new).into_iter().collect(),
                state: OpenState::Open,
            },
            status_before_claim: [Status::new("backlog")].into(),
            parked: is("parked"),
            renewed: since,
            closed: None,
        });
    }
    record.contested = is("contested");
    (seen, record)
}

// === who and what ===

fn actor(name: &str) -> Actor {
    let (login, instance) = name.split_once('#').map_or((name, None), |(login, instance)| (login, Some(instance)));
    let account = match login {
        "token" => Principal::Opaque(Fingerprint::new("token")),
        login => Principal::Named(Account::new(login)),
    };
    Actor { account, instance: instance.map(Instance::new) }
}

fn caller(name: &str) -> Caller {
    Caller { actor: actor(name), credential: Fingerprint::new(name), shared: false, overrider: name == "sue" }
}

fn change(asked: &str, by: &str) -> Change {
    let me = by.split('#').next().unwrap_or(by);
    let assign = |names: &[&str]| Some(SetChange::Replace(names.iter().map(|name| Account::new(name)).collect()));
    let refs = |name: &str| BTreeSet::from([label(name).to_ref()]);
    match asked.split_once(' ') {
        Some(("assign", "itself")) => Change { assignees: assign(&[me]), ..Change::default() },
        Some(("assign", name)) => Change { assignees: assign(&[name]), ..Change::default() },
        Some(("clear", "assignees")) => Change { assignees: assign(&[]), ..Change::default() },
        Some(("clear", _)) => Change { assignees: assign(&[]), state: Some(OpenState::Closed), ..Change::default() },
        Some(("set", name)) => Change { labels: Some(SetChange::Add(refs(name))), ..Change::default() },
        Some(("remove", name)) => Change { labels: Some(SetChange::Remove(refs(name))), ..Change::default() },
        Some(("leave", _)) => Change { state: Some(OpenState::Open), ..Change::default() },
        Some(("put", _)) => put(["todo"].into_iter()),
        _ => Change { state: Some(OpenState::Closed), ..Change::default() },
    }
}

fn put<'a>(names: impl Iterator<Item = &'a str>) -> Change {
    let refs = names.map(|name| label(name).to_ref()).collect();
    Change { labels: Some(SetChange::Replace(refs)), ..Change::default() }
}

/// The defaults; `approved` is a status that is left only once.
fn rules(situation: &str) -> Rules {
    let set = |names: &[&str]| names.iter().map(|name| Status::new(name)).collect::<BTreeSet<_>>();
    let step = |from: &[&str], to: &str, by| MoveRule { from: set(from), to: Status::new(to), by };
    Rules {
        assignment: Assignment {
            mode: Mode::Enforce,
            expect_status: BTreeSet::new(),
            max_assignees: 1,
            assign_others: false,
            release_by: By::Holder,
            outside: if situation.contains("contested") { Outside::Hold } else { Outside::Wins },
            overriders: BTreeSet::new(),
            stale_after: None,
            takeover_after: situation.contains("silent").then_some(Duration::from_hours(1)),
            closed_after: None,
            zombie_period: Duration::from_mins(20),
        },
        workflow: Workflow {
            mode: Mode::Enforce,
            states: set(&NAMES[..6]),
            one_status: false,
            working: set(&["in-progress"]),
            consume: set(&["approved"]),
            moves: vec![
                step(&["none", "backlog", "todo", "blocked"], "in-progress", By::Holder),
                step(&["none", "backlog", "blocked"], "todo", By::Anyone),
            ],
            put_back: true,
            edit_labels: claimgate::admission::Editors::Overriders,
            dependencies_by: claimgate::admission::By::Anyone,
        },
        once: Vec::new(),
        singletons: Vec::new(),
        limits: HoldingLimits::none(),
        shared_accounts: BTreeSet::new(),
        unnamed: claimgate::admission::Unnamed::One,
        web: Web::Override,
    }
}
