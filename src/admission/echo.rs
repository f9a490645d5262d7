//! What is echoed is no write: an edit that repeats what the item shows asks for the rest of it only.
//!
//! Client libraries send a whole object back to change its title, with the assignees, the labels and the state that they
//! had read. Such a field is left out of what is judged and of what is sent, so it can overwrite nothing, whoever sends
//! it. Compared is the read that the decision itself rests on.

use crate::model::{Account, Caller, Change, Holding, ItemRecord, Principal, SetChange, Snapshot};
use std::collections::BTreeSet;

/// The guarded fields that an edit really asks to change.
pub fn without_echo(change: &Change, caller: &Caller, record: &ItemRecord, seen: &Snapshot) -> Change {
    // What shows may be the caller's own write that is in doubt: the same again is how it learns what became of it.
    if record.doubts.iter().any(|doubt| doubt.actor.goes_on_as(&caller.actor)) {
        return change.clone();
    }
    let assignees = change.assignees.clone().filter(|wanted| {
        let repeats = matches!(wanted, SetChange::Replace(logins) if *logins == seen.assignees);
        !repeats || claims(&seen.assignees, caller, record)
    });
    let labels = change.labels.clone().filter(|wanted| {
        let only = Change { labels: Some(wanted.clone()), ..Change::default() };
        !(matches!(wanted, SetChange::Replace(_)) && only.goal(seen).held_before)
    });
    let state = change.state.filter(|state| *state != seen.state);
    Change { assignees, labels, state, reviewers: change.reviewers.clone() }
}

/// The fields of `asked` that are not in `left`, for a person to read.
pub fn echoed_fields(asked: &Change, left: &Change) -> Option<String> {
    let fields = [
        (asked.assignees.is_some() && left.assignees.is_none(), "assignees"),
        (asked.labels.is_some() && left.labels.is_none(), "labels"),
        (asked.state.is_some() && left.state.is_none(), "state"),
    ];
    let names: Vec<&str> = fields.into_iter().filter(|(echoed, _)| *echoed).map(|(_, name)| name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Whether the assignees that show may be repeated as a claim. Several agents can be behind one account: to one of them
/// the success of its claim must not be told because another's shows. An account that is one agent has nobody to race.
fn claims(shown: &BTreeSet<Account>, caller: &Caller, record: &ItemRecord) -> bool {
    let actor = &caller.actor;
    let own = match actor.account.login() {
        Some(login) => shown.contains(login),
        None => shown.len() == 1,
    };
    let same_account = |holding: &Holding| match (&holding.actor.account, &actor.account) {
        (Principal::Named(holder), Principal::Named(own)) => holder == own,
        _ => true,
    };
    let several = caller.shared || actor.instance.is_some() || actor.account.login().is_none();
    own && match &record.holding {
        // A holding without a name becomes the first one's that has one: that takes a claim.
        Some(holding) => holding.actor != *actor && same_account(holding),
        None => several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Actor, AttemptId, Doubt, Fence, Fingerprint, Goal, Instance, ItemKind, OpenState, Ownership, Place,
        ResourceKey, Shown, Tag, TagId, TagRef, Time,
    };

    fn logins(names: &[&str]) -> BTreeSet<Account> {
        names.iter().map(|name| Account::new(name)).collect()
    }

    /// `bot`, `bot/1` with an instance, or `#print` for a credential that may not ask who it is.
    fn actor(text: &str) -> Actor {
        let (account, instance) = text.split_once('/').map_or((text, None), |(account, it)| (account, Some(it)));
        let account = match account.strip_prefix('#') {
            Some(print) => Principal::Opaque(Fingerprint::new(print)),
            None => Principal::Named(Account::new(account)),
        };
        Actor { account, instance: instance.map(Instance::new) }
    }

    fn caller(text: &str) -> Caller {
        Caller { actor: actor(text), credential: Fingerprint::new("p"), shared: false, overrider: false }
    }

    fn seen(assignees: &[&str], labels: &[(u64, &str)], state: OpenState) -> Snapshot {
        let label = |(id, name): &(u64, &str)| Tag {
            id: Some(TagId::Number(*id)),
            name: (*name).to_owned(),
            group: None,
            state: None,
        };
        Snapshot {
            key: ResourceKey::new("7"),
            locator: Place::from_stored("o/r#7"),
            assignees: logins(assignees),
            labels: labels.iter().map(label).collect(),
            state,
            author: None,
            kind: ItemKind::Issue,
        }
    }

    fn record(holder: Option<&str>) -> ItemRecord {
        let shown = Shown { assignees: BTreeSet::new(), statuses: BTreeSet::new(), state: OpenState::Open };
        let holding = holder.map(|holder| Holding {
            actor: actor(holder),
            since: Time(0),
            attempt: AttemptId::new("a"),
            fence: Fence(1),
            last_seen: shown,
            status_before_claim: BTreeSet::new(),
            parked: false,
            renewed: Time(0),
            closed: None,
        });
        ItemRecord { holding, ..ItemRecord::new(ResourceKey::new("7"), Place::from_stored("o/r#7")) }
    }

    fn whole(assignees: &[&str], labels: Option<&[u64]>, state: OpenState) -> Change {
        let ids = |ids: &[u64]| SetChange::Replace(ids.iter().map(|id| TagRef::number(*id)).collect());
        Change {
            assignees: Some(SetChange::Replace(logins(assignees))),
            labels: labels.map(ids),
            state: Some(state),
            reviewers: None,
        }
    }

    #[test]
    fn a_field_that_shows_is_left_out_and_only_that() {
        use OpenState::{Closed, Open};
        let item = seen(&["kim", "lee"], &[(1, "backlog"), (2, "x")], Open);
        let left = |change: Change| without_echo(&change, &caller("dev"), &record(Some("kim")), &item).to_string();
        assert_eq!(left(whole(&["Lee", "KIM"], Some(&[2, 1]), Open)), "");
        assert_eq!(left(whole(&["kim"], Some(&[2, 1]), Open)), "assignees=[kim]");
        assert_eq!(left(whole(&["kim", "lee"], Some(&[1]), Open)), "labels=[#1]");
        assert_eq!(left(whole(&["kim", "lee"], Some(&[1, 2, 3]), Open)), "labels=[#1, #2, #3]");
        assert_eq!(left(whole(&["kim", "lee"], None, Closed)), "state=closed");
        assert_eq!(left(whole(&[], None, Open)), "assignees=[]");
        let add = Change { labels: Some(SetChange::Add([TagRef::number(1)].into())), ..Change::default() };
        assert_eq!(left(add), "labels+=[#1]", "a label that is set says more than one that is listed");
        let bare = seen(&[], &[], Closed);
        let left = without_echo(&whole(&[], Some(&[]), Closed), &caller("dev"), &record(None), &bare);
        assert!(left.is_empty());
        let asked = whole(&["kim"], Some(&[]), Closed);
        let left = without_echo(&asked, &caller("dev"), &record(None), &bare);
        assert_eq!(echoed_fields(&asked, &left).as_deref(), Some("labels, state"));
        assert_eq!(echoed_fields(&asked, &asked), None);
    }

    #[test]
    fn what_may_be_a_claim_of_another_agent_of_the_account_is_judged() {
        let item = seen(&["bot"], &[], OpenState::Open);
        let asked = Change { assignees: Some(SetChange::Replace(logins(&["bot"]))), ..Change::default() };
        for (who, holder, echoes) in [
            ("dev", Some("bot/1"), true),
            ("dev", None, true),
            ("bot", None, true),
            ("bot", Some("bot"), true),
            ("bot/1", Some("bot/1"), true),
            ("bot", Some("dev"), true),
            ("bot/2", Some("bot/1"), false),
            ("bot/2", None, false),
            ("bot/2", Some("bot"), false),
            ("bot", Some("bot/1"), false),
            ("#x", Some("bot"), false),
            ("#x", Some("#y"), false),
            ("#x", None, false),
            ("#x", Some("#x"), true),
            ("bot", Some("#y"), false),
        ] {
            let left = without_echo(&asked, &caller(who), &record(holder), &item);
            assert_eq!(left.is_empty(), echoes, "{who} beside {holder:?}");
        }
        let shared = Caller { shared: true, ..caller("bot") };
        assert!(!without_echo(&asked, &shared, &record(None), &item).is_empty());
    }

    #[test]
    fn an_own_write_in_doubt_is_repeated_whole() {
        let asked = whole(&["dev"], None, OpenState::Closed);
        let item = seen(&["dev"], &[], OpenState::Closed);
        let mut record = record(None);
        record.doubts.push(Doubt {
            attempt: AttemptId::new("a"),
            actor: actor("dev"),
            change: asked.clone(),
            goal: Goal::default(),
            ownership: Ownership::Keep,
            kind: None,
        });
        assert_eq!(without_echo(&asked, &caller("dev"), &record, &item), asked);
        assert!(without_echo(&asked, &caller("lee"), &record, &item).is_empty());
    }
}
