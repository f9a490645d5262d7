//! What documents are taken for, and what is written for them.

use super::*;
use crate::dialect::{Chosen, GuardedRequest as _, Request as _, Subject, Target, Wants};
use crate::model::{OpenState, Principal, TagId};
use call::{DocumentMeaning, meaning};
use http::{Method, StatusCode};
use serde_json::{Value, json};

const ME: &str = "0f3c9a52-0000-4000-8000-00000000000a";
const OTHER: &str = "0f3c9a52-0000-4000-8000-00000000000b";

fn understood(query: &str, variables: &Value) -> Result<Option<write::IssueMutation>, ParseError> {
    let body = json!({ "query": query, "variables": variables }).to_string();
    let (target, headers) = (Target::parse("/graphql"), HeaderMap::new());
    let head = Head { method: &Method::POST, target: &target, headers: &headers };
    Ok(match meaning(&head, body.as_bytes(), false)? {
        DocumentMeaning::Free => None,
        DocumentMeaning::Write(write) => Some(*write),
    })
}

fn shown(query: &str) -> String {
    let write = match understood(query, &json!({ "me": ME })) {
        Ok(None) => return "free".to_owned(),
        Ok(Some(write)) => write,
        Err(error) => return format!("refused: {error}"),
    };
    let items = match write.subject() {
        Subject::At(address) => address.locator().to_string(),
        Subject::Places(all) => all.iter().map(|at| at.locator().to_string()).collect::<Vec<_>>().join("+"),
        Subject::New(team) => format!("new in {team}"),
        Subject::Keys(_) => "keys".to_owned(),
    };
    let wants = match write.wants() {
        Wants::Change(change) => change.to_string(),
        Wants::Toggle => "toggle".to_owned(),
        Wants::Beside { .. } => format!("beside: {}", write.describe()),
    };
    format!("{items} {wants}").trim_end().to_owned()
}

fn field(text: &str) -> String {
    format!("mutation($me: String) {{ {text} {{ success }} }}")
}

#[test]
fn each_field_is_taken_for_what_it_does() {
    for (text, wanted) in [
        (r#"issueUpdate(id: "eng-1", input: {stateId: "S"})"#, "ENG-1 labels+=[#s]"),
        (r#"issueUpdate(id: "ENG-1", input: {assigneeId: $me})"#, "ENG-1 toggle"),
        (r#"issueUpdate(id: "ENG-1", input: {addedLabelIds: ["a"], stateId: "s"})"#, "ENG-1 labels+=[#a, #s]"),
        (r#"issueUpdate(id: "ENG-1", input: {removedLabelIds: "a"})"#, "ENG-1 labels-=[#a]"),
        (r#"issueUpdate(id: "ENG-1", input: {removedLabelIds: "a", stateId: "s"})"#, "ENG-1 toggle"),
        (r#"issueUpdate(id: "ENG-1", input: {labelIds: []})"#, "ENG-1 toggle"),
        (r#"issueUpdate(id: "ENG-1", input: {trashed: true})"#, "ENG-1 state=closed"),
        (r#"issueUpdate(id: "ENG-1", input: {trashed: false})"#, "ENG-1 beside: take out of the trash"),
        (r#"issueUpdate(id: "ENG-1", input: {teamId: "t"})"#, "ENG-1 beside: move to another team"),
        (r#"issueUpdate(id: "ENG-1", input: {title: "t"})"#, "free"),
        (r#"issueUpdate(id: "ENG-1", input: {stateId: null})"#, "free"),
        (
            r#"issueBatchUpdate(ids: ["0F3C9A52-0000-4000-8000-00000000000A"], input: {stateId: "s"})"#,
            "0f3c9a52-0000-4000-8000-00000000000a labels+=[#s]",
        ),
        (r#"issueBatchUpdate(ids: ["ENG-1", "ENG-2"], input: {stateId: "s"})"#, "ENG-1+ENG-2 toggle"),
        (r#"issueAddLabel(id: "ENG-1", labelId: "L")"#, "ENG-1 labels+=[#l]"),
        (r#"issueRemoveLabel(id: "ENG-1", labelId: "L")"#, "ENG-1 labels-=[#l]"),
        (r#"issueArchive(id: "ENG-1")"#, "ENG-1 state=closed"),
        (r#"issueDelete(id: "ENG-1")"#, "ENG-1 state=closed"),
        (r#"issueDelete(id: "ENG-1", permanentlyDelete: true)"#, "ENG-1 beside: delete for good"),
        (r#"issueUnarchive(id: "ENG-1")"#, "ENG-1 beside: take out of the archive"),
        (
            r#"issueRelationCreate(input: {issueId: "ENG-1", relatedIssueId: "ENG-2", type: duplicate})"#,
            "ENG-1 beside: become a duplicate",
        ),
        (r#"issueRelationCreate(input: {issueId: "ENG-1", relatedIssueId: "ENG-2", type: blocks})"#, "free"),
        (r#"agentSessionCreateOnIssue(input: {issueId: "ENG-1"})"#, "ENG-1 beside: begin an agent's session"),
        (r#"issueCreate(input: {teamId: "T", title: "t"})"#, "new in t"),
        (r#"issueBatchCreate(input: {issues: [{teamId: "t"}, {teamId: "t"}]})"#, "free"),
        (r#"commentCreate(input: {issueId: "ENG-1", body: "ENG-2"})"#, "free"),
        (r#"attachmentLinkGitHubPR(issueId: "ENG-1", url: "u")"#, "free"),
        (r#"projectDelete(id: "p")"#, "free"),
        (r#"somethingNew(id: "p")"#, "free"),
    ] {
        assert_eq!(shown(&field(text)), wanted, "{text}");
    }
    assert_eq!(
        shown(&format!(
            "mutation {{ issueCreate(input: {{teamId: \"t\", delegateId: \"{ME}\", stateId: \"s\"}}) {{ success }} }}"
        )),
        format!("new in t assignees=[{ME}] labels+=[#s]")
    );
    assert_eq!(shown("{ issue(id: \"ENG-1\") { id } }"), "free");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    for (text, why) in [
        (r#"issueUpdate(id: "x", input: {stateId: "s"})"#, "`id` must be"),
        (r#"issueUpdate(id: 7, input: {stateId: "s"})"#, "`id` must be"),
        (r#"issueUpdate(id: "ENG-1", input: 3)"#, "`input` must be"),
        (r#"issueUpdate(id: "ENG-1", input: {stateId: 3})"#, "`stateId` must be"),
        (r#"issueUpdate(id: "ENG-1", input: {assigneeId: "me"})"#, "`assigneeId` must be"),
        (r#"issueUpdate(id: "ENG-1", input: {labelIds: null})"#, "`labelIds` is null"),
        (r#"issueUpdate(id: "ENG-1", input: {teamId: "t", stateId: "s"})"#, "by itself"),
        (r#"issueBatchUpdate(ids: [], input: {stateId: "s"})"#, "one issue at least"),
        (r#"issueRelationUpdate(id: "r", input: {type: "duplicate"})"#, "is not known"),
        (r#"teamDelete(id: "t")"#, "every issue of the team"),
        (r#"projectMilestoneMove(id: "m", input: {})"#, "another team"),
        (r#"agentSessionCreateOnComment(input: {commentId: "c"})"#, "does not name"),
        (r#"agentSessionUpdate(id: "s", input: {dismissedAt: "2026-01-01"})"#, "delegation"),
        (r#"issueSteal(id: "x")"#, "does not know it"),
        (r#"steal(issueId: "x")"#, "does not know it"),
        (r#"steal(of: [{what: "ENG-1"}])"#, "does not know it"),
    ] {
        let told = shown(&field(text));
        assert!(told.starts_with("refused") && told.contains(why), "{text}: {told}");
    }
}

#[test]
fn one_document_may_name_several_issues_and_one_issue_several_times() {
    let two = r#"mutation { a: issueUpdate(id: "ENG-1", input: {stateId: "s"}) { success } b: issueUpdate(id: "eng-1", input: {addedLabelIds: "l"}) { success } }"#;
    assert_eq!(shown(two), "ENG-1 labels+=[#l, #s]");
    let split = two.replace("addedLabelIds: \"l\"", "stateId: \"r\"");
    assert!(shown(&split).contains("is set to two values"), "{}", shown(&split));
    let mixed = r#"mutation { a: issueArchive(id: "ENG-1") { success } b: issueUnarchive(id: "ENG-2") { success } }"#;
    assert!(shown(mixed).contains("by itself"), "{}", shown(mixed));
    let batch = json!([{ "query": field(r#"issueArchive(id: "ENG-1")"#) }]).to_string();
    let (target, headers) = (Target::parse("/graphql"), HeaderMap::new());
    let head = Head { method: &Method::POST, target: &target, headers: &headers };
    assert!(meaning(&head, batch.as_bytes(), false).is_err());
    let free = json!([{ "query": field("projectDelete(id: \"p\")") }, { "query": "{ a }" }]).to_string();
    assert!(matches!(meaning(&head, free.as_bytes(), false), Ok(DocumentMeaning::Free)));
    let get = Target::parse("/graphql?query=mutation%7BissueArchive(id:%22ENG-1%22)%7Bsuccess%7D%7D");
    let head_of_get = Head { method: &Method::GET, target: &get, headers: &headers };
    assert!(meaning(&head_of_get, b"", false).is_err());
    let create = field(r#"issueBatchCreate(input: {issues: [{teamId: "t"}, {teamId: "t"}]})"#);
    assert!(meaning(&head, json!({ "query": create }).to_string().as_bytes(), true).is_err());
}

fn account(id: &str) -> Account {
    Account::new(id)
}

fn issue(assignee: Option<&str>, delegate: Option<&str>, labels: &[&str]) -> Snapshot {
    let user = |id: Option<&str>| id.map_or(Value::Null, |id| json!({ "id": id, "displayName": id }));
    let labels: Vec<Value> = labels.iter().map(|id| json!({ "id": id, "name": id })).collect();
    let body = json!({ "data": { "issue": {
        "id": "0f3c9a52-0000-4000-8000-000000000001", "identifier": "ENG-1", "updatedAt": "2026-07-22T10:00:00.123Z",
        "archivedAt": null, "trashed": null, "team": { "key": "ENG" },
        "state": { "id": "s0", "name": "Todo", "type": "unstarted" }, "assignee": user(assignee), "delegate": user(delegate),
        "creator": null, "labels": { "nodes": labels, "pageInfo": { "hasNextPage": false } },
    }}});
    let response = WireResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: body.to_string().into() };
    match Linear.read(&address("ENG-1").unwrap(), &response) {
        ReadOutcome::Item(seen) => seen,
        other => panic!("{other:?}"),
    }
}

fn spelled(text: &str, seen: &Snapshot, apps: &[&str]) -> String {
    let write = understood(&field(text), &json!({ "me": ME })).unwrap().unwrap();
    let users: Vec<Value> = apps.iter().map(|id| json!({ "id": id, "app": true })).collect();
    let body = json!({ "data": { "users": { "nodes": users } } }).to_string();
    let found = WireResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() };
    let named = address("ENG-1").unwrap();
    write.spell_out(&[(&named, seen)], Some(&found)).unwrap()[0].to_string()
}

#[test]
fn the_delegate_is_at_work_or_else_the_assignee() {
    let (free, assigned) = (issue(None, None, &[]), issue(Some(ME), None, &[]));
    let delegated = issue(Some(ME), Some(OTHER), &[]);
    let update = |input: &str| format!("issueUpdate(id: \"ENG-1\", input: {{{input}}})");
    for (input, seen, apps, wanted) in [
        (format!("assigneeId: \"{OTHER}\""), &free, &[][..], format!("assignees=[{OTHER}]")),
        ("assigneeId: null".to_owned(), &assigned, &[], "assignees=[]".to_owned()),
        // The assignee stands behind the delegate.
        ("assigneeId: null".to_owned(), &delegated, &[], format!("assignees=[{OTHER}]")),
        ("delegateId: null".to_owned(), &delegated, &[], format!("assignees=[{ME}]")),
        ("delegateId: null, assigneeId: null".to_owned(), &delegated, &[], "assignees=[]".to_owned()),
        // An app that is assigned becomes the delegate.
        (format!("assigneeId: \"{ME}\""), &delegated, &[ME], format!("assignees=[{ME}]")),
        (format!("assigneeId: \"{ME}\""), &delegated, &[], format!("assignees=[{OTHER}]")),
    ] {
        assert_eq!(spelled(&update(&input), seen, apps), wanted, "{input}");
    }
    let own = understood(&field("issueUpdate(id: \"ENG-1\", input: {assigneeId: $me})"), &json!({ "me": ME }));
    let own = own.unwrap().unwrap().sent_by(&Principal::Named(account(ME))).unwrap().unwrap();
    assert_eq!(own.change().map(ToString::to_string), Some(format!("assignees=[{ME}]")));
    assert!(!own.asks_more(&HeaderMap::new()));
}

#[test]
fn a_set_of_labels_is_what_it_changes() {
    let seen = issue(None, None, &["a", "b"]);
    let update = |input: &str| spelled(&format!("issueUpdate(id: \"ENG-1\", input: {{{input}}})"), &seen, &[]);
    assert_eq!(update("labelIds: [\"b\", \"a\"]"), "");
    assert_eq!(update("labelIds: [\"a\", \"b\", \"c\"]"), "labels+=[#c]");
    assert_eq!(update("labelIds: [\"a\"]"), "labels-=[#b]");
    assert_eq!(update("labelIds: [\"c\"], stateId: \"s1\""), "labels=[#c, #s1]");
    assert_eq!(update("removedLabelIds: [\"a\"], addedLabelIds: [\"c\"]"), "labels=[#b, #c, #s0]");
}

#[test]
fn what_is_echoed_is_left_out_of_what_is_sent() {
    let query = "mutation($in: IssueUpdateInput!) { issueUpdate(id: \"ENG-1\", input: $in) { success } }";
    let write = understood(query, &json!({ "in": { "title": "t", "stateId": "s" } })).unwrap().unwrap();
    assert!(write.edits_more());
    let nothing = Change::default();
    let rest = write.emit(&[Chosen::unread(None, &nothing)], &HeaderMap::new(), &Credential::default());
    let body: Value = serde_json::from_slice(&rest.body).unwrap();
    assert_eq!(body["variables"], json!({ "in_": { "title": "t" } }));
    let whole = write.change.as_ref().unwrap();
    let sent = write.emit(&[Chosen::unread(None, whole)], &HeaderMap::new(), &Credential::default());
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["variables"], json!({ "in": { "title": "t", "stateId": "s" } }));
    let toggle = understood(query, &json!({ "in": { "title": "t", "labelIds": [] } })).unwrap().unwrap();
    assert!(!toggle.edits_more() && toggle.asks_more(&HeaderMap::new()));
}

#[test]
fn a_success_without_a_send_is_what_the_document_selects() {
    let query =
        "mutation { m: issueUpdate(id: \"ENG-1\", input: {stateId: \"s\"}) { __typename ...P now: issue { id } } }
        fragment P on IssuePayload { success lastSyncId issue { ...I } } fragment I on Issue { identifier }";
    let write = understood(query, &json!({})).unwrap().unwrap();
    let asked = write.represent(&address("ENG-1").unwrap(), &Credential::default()).unwrap();
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(
        body["query"],
        "query { f0_3_0: issue(id: \"ENG-1\") { ...I } f0_4_0: issue(id: \"ENG-1\") { id } } fragment I on Issue { identifier }"
    );
    let shown = json!({ "data": { "f0_3_0": { "identifier": "ENG-1" }, "f0_4_0": { "id": "x" } } }).to_string();
    let shown = WireResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: shown.into() };
    let told = write.accept(Some(&shown)).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&told.body).unwrap(),
        json!({ "data": { "m": { "__typename": "IssuePayload", "success": true, "lastSyncId": 0,
            "issue": { "identifier": "ENG-1" }, "now": { "id": "x" } } } })
    );
    assert!(write.accept(None).is_none());
    let plain = understood(&field("issueAddLabel(id: \"ENG-1\", labelId: \"l\")"), &json!({})).unwrap().unwrap();
    assert!(plain.represent(&address("ENG-1").unwrap(), &Credential::default()).is_none());
    assert_eq!(plain.accept(None).unwrap().body, r#"{"data":{"issueAddLabel":{"success":true}}}"#);
}

#[test]
fn what_an_answer_amounts_to() {
    let write = understood(&field("issueArchive(id: \"ENG-1\")"), &json!({})).unwrap().unwrap();
    let status = |status: u16, body: Value| {
        let status = StatusCode::from_u16(status).unwrap();
        write.status(&WireResponse { status, headers: HeaderMap::new(), body: body.to_string().into() })
    };
    assert_eq!(status(200, json!({ "data": { "issueArchive": { "success": true } } })), 200);
    assert_eq!(status(200, json!({ "data": { "issueArchive": { "success": false } } })), 422);
    assert_eq!(status(200, json!({ "data": null, "errors": [{}] })), 422);
    assert_eq!(status(400, json!({ "errors": [{}] })), 400);
    assert_eq!(status(502, json!("bad gateway")), 502);
}

#[test]
fn the_gate_writes_by_its_own_hand() {
    let seen = issue(None, None, &["a"]);
    let at = address("ENG-1").unwrap();
    let written = |guarded: &Guarded, labels: &[Tag]| {
        let change = guarded.change().unwrap().clone();
        let chosen = Chosen { key: None, address: None, change: &change, seen: Some(&seen), shown: None, labels };
        let body = guarded.emit(&[chosen], &HeaderMap::new(), &Credential::default()).body;
        serde_json::from_slice::<Value>(&body).unwrap()["variables"]["input"].clone()
    };
    assert_eq!(written(&Linear.clear_assignees(&at), &[]), json!({ "delegateId": null, "assigneeId": null }));
    let state = Tag {
        id: Some(TagId::Text("s1".into())),
        name: "In Progress".to_owned(),
        group: Some(read::STATES.into()),
        state: Some(OpenState::Open),
    };
    let moved = Linear.relabel(&at, SetChange::Add([TagRef::Name("in progress".to_owned())].into())).unwrap();
    assert_eq!(written(&moved, std::slice::from_ref(&state)), json!({ "stateId": "s1" }));
    let labelled = Linear.relabel(&at, SetChange::Add([draft::by_id("b"), draft::by_id("s1")].into())).unwrap();
    assert_eq!(written(&labelled, &[state]), json!({ "addedLabelIds": ["b"], "stateId": "s1" }));
    assert!(Linear.relabel(&at, SetChange::Remove([draft::by_id("b")].into())).is_none());
}

#[test]
fn identifiers_and_ids_are_told_apart() {
    for (text, wanted) in [
        ("eng-12", Some("ENG-12")),
        ("A1-1", Some("A1-1")),
        ("0F3C9A52-0000-4000-8000-00000000000A", Some(ME)),
        ("ENG-0", None),
        ("ENG-012", None),
        ("1E-1", None),
        ("ENG", None),
        ("ENG-", None),
        ("ENG-1 ", None),
        ("", None),
        ("0f3c9a52-0000-4000-8000-00000000000", None),
    ] {
        assert_eq!(address(text).map(|at| at.place.to_string()).as_deref(), wanted, "{text}");
    }
}
