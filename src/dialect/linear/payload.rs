//! The success answer of a mutation that needed no send: what its document selects, read by a query of the same selections.

use super::super::WireResponse;
use super::super::graphql::{ExecutedField, FieldSelection, Literal, Mutation, items_of};
use super::reply;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// One member of a payload.
enum PayloadMember {
    /// It is the same whatever the issue is.
    Constant(Value),
    /// An issue, under this name in the query.
    Issue(FieldSelection),
    /// Several.
    Issues(Vec<FieldSelection>),
}

/// The query for the issues that the payloads show. `None`: they show none, or more than is known of a payload.
pub fn query(mutation: &Mutation) -> Option<Bytes> {
    let issues: Vec<FieldSelection> = plan(mutation)?
        .into_iter()
        .flat_map(|(_, members)| members)
        .flat_map(|(_, member)| match member {
            PayloadMember::Constant(_) => Vec::new(),
            PayloadMember::Issue(issue) => vec![issue],
            PayloadMember::Issues(issues) => issues,
        })
        .collect();
    (!issues.is_empty()).then(|| mutation.query_body(issues))
}

/// The answer, with what that query showed. `None`: it cannot be told from that.
pub fn success(mutation: &Mutation, shown: Option<&WireResponse>) -> Option<WireResponse> {
    let shown: Value = shown.and_then(|response| serde_json::from_slice(&response.body).ok()).unwrap_or_default();
    let issue = |asked: FieldSelection| {
        let found = shown.get("data")?.get(asked.alias?)?.clone();
        Some(found).filter(Value::is_object)
    };
    let mut data = Map::new();
    for (key, members) in plan(mutation)? {
        let mut payload = Map::new();
        for (name, member) in members {
            let value = match member {
                PayloadMember::Constant(value) => value,
                PayloadMember::Issue(asked) => issue(asked)?,
                PayloadMember::Issues(all) => Value::Array(all.into_iter().map(issue).collect::<Option<_>>()?),
            };
            payload.insert(name, value);
        }
        data.insert(key, Value::Object(payload));
    }
    Some(reply::answer(&json!({ "data": data })))
}

type PayloadPlan = Vec<(String, Vec<(String, PayloadMember)>)>;

fn plan(mutation: &Mutation) -> Option<PayloadPlan> {
    mutation
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| Some((field.key.clone(), members(mutation, at, field)?)))
        .collect()
}

fn members(mutation: &Mutation, at: usize, field: &ExecutedField) -> Option<Vec<(String, PayloadMember)>> {
    let of_type = match field.name.as_str() {
        "issueUpdate" | "issueAddLabel" | "issueRemoveLabel" => "IssuePayload",
        "issueBatchUpdate" => "IssueBatchPayload",
        _ => return None,
    };
    let selected = mutation.selected(of_type, &field.selections).ok()?;
    let member = |(number, member): (usize, &ExecutedField)| {
        let issue = |id: &Value, nth: usize| {
            Some(FieldSelection {
                alias: Some(format!("f{at}_{number}_{nth}")),
                name: "issue".to_owned(),
                arguments: vec![("id".to_owned(), Literal::Text(id.as_str()?.to_owned()))],
                directives: Vec::new(),
                selections: member.selections.clone(),
            })
        };
        let value = match member.name.as_str() {
            "success" => PayloadMember::Constant(true.into()),
            // Of a write that was not made there is none.
            "lastSyncId" => PayloadMember::Constant(0.into()),
            "__typename" => PayloadMember::Constant(of_type.into()),
            "issue" if of_type == "IssuePayload" => PayloadMember::Issue(issue(field.arguments.get("id")?, 0)?),
            "issues" if of_type == "IssueBatchPayload" => {
                let ids = items_of(field.arguments.get("ids")?).iter().enumerate();
                PayloadMember::Issues(ids.map(|(nth, id)| issue(id, nth)).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some((member.key.clone(), value))
    };
    selected.iter().enumerate().map(member).collect()
}
