//! Updates of the gate's own hand: an operator's release, a label put back, a step of the claims API.

use super::super::{Address, Chosen};
use super::effects::IssueDraft;
use super::read::{DELEGATION, STATES};
use crate::model::{Account, Change, SetChange, Tag, TagId, TagRef};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The body of an update with this change.
pub fn body(issues: &[(Address, IssueDraft)], chosen: &[Chosen<'_>]) -> Bytes {
    let id = issues.first().map_or("", |(address, _)| &address.route);
    let query = "mutation ClaimgateUpdate($id: String!, $input: IssueUpdateInput!) { issueUpdate(id: $id, input: $input) { success } }";
    let input = chosen.first().map(input).unwrap_or_default();
    json!({ "query": query, "variables": { "id": id, "input": input } }).to_string().into()
}

fn input(one: &Chosen<'_>) -> Map<String, Value> {
    let Change { assignees, labels, .. } = one.change;
    let mut input = Map::new();
    if let Some(assignees) = assignees {
        // An app that is assigned is delegated to.
        let id = assignees.members().first().map(Account::as_str);
        if id.is_none() {
            input.insert("delegateId".to_owned(), Value::Null);
        }
        input.insert("assigneeId".to_owned(), id.into());
    }
    let known: Vec<&Tag> = one.labels.iter().chain(one.seen.iter().flat_map(|seen| &seen.labels)).collect();
    let tag_of = |wanted: &TagRef| known.iter().find(|tag| wanted.names(tag)).copied();
    let Some(labels) = labels else { return input };
    let mut ids = Vec::new();
    for wanted in labels.members() {
        let (tag, id) = (tag_of(wanted), id_of(wanted, tag_of(wanted)));
        match (tag.and_then(|tag| tag.group.as_deref()), id) {
            (Some(DELEGATION), _) | (_, None) => {}
            (Some(STATES), Some(id)) => drop(input.insert("stateId".to_owned(), id.into())),
            (_, Some(id)) => ids.push(Value::from(id)),
        }
    }
    let member = match labels {
        SetChange::Replace(_) => Some("labelIds"),
        SetChange::Add(_) => Some("addedLabelIds").filter(|_| !ids.is_empty()),
        SetChange::Remove(_) => Some("removedLabelIds"),
    };
    if let Some(member) = member {
        input.insert(member.to_owned(), Value::Array(ids));
    }
    input
}

fn id_of(wanted: &TagRef, tag: Option<&Tag>) -> Option<String> {
    match (wanted, tag.and_then(|tag| tag.id.as_ref())) {
        (TagRef::Id(TagId::Text(id)), _) | (_, Some(TagId::Text(id))) => Some(id.to_string()),
        _ => None,
    }
}
