//! Linear's answers to the gate's own requests (manual: linear). Typed strictly: what is missing or odd is unreadable,
//! never empty.
//!
//! An error comes under 200 or 400, with `errors` and a `code` in each. Those that say what the caller may not do go back as
//! they came; one of Linear's own is no answer.

use super::super::{Address, ReadOutcome, Webhook, Whoami, WireResponse};
use super::address;
use crate::model::{
    Account, ItemKind, OpenState, Place, Project, ResourceKey, Snapshot, Tag, TagId, Time, is_short_name,
};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What every read of an issue selects.
pub const ISSUE_FIELDS: &str = "id identifier updatedAt archivedAt trashed team { key } state { id name type } \
    assignee { id displayName } delegate { id displayName } creator { id displayName } \
    labels(first: 100) { nodes { id name } pageInfo { hasNextPage } }";

/// The group of the tags that say in which workflow state an issue is.
pub const STATES: &str = "state";
/// The group of the tags that say who stands behind a delegate.
pub const DELEGATION: &str = "delegation";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IssueNode {
    id: String,
    identifier: String,
    updated_at: String,
    archived_at: Option<String>,
    trashed: Option<bool>,
    team: TeamNode,
    state: StateNode,
    assignee: Option<UserNode>,
    delegate: Option<UserNode>,
    creator: Option<UserNode>,
    labels: LabelPage,
}

#[derive(Deserialize)]
pub(super) struct TeamNode {
    pub(super) key: String,
}

#[derive(Deserialize)]
pub(super) struct StateNode {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserNode {
    id: String,
    display_name: String,
}

#[derive(Deserialize)]
pub(super) struct LabelNode {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LabelPage {
    nodes: Vec<LabelNode>,
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
}

/// A list.
#[derive(Deserialize)]
pub(super) struct NodeList<T> {
    pub(super) nodes: Vec<T>,
}

#[derive(Deserialize)]
struct IssueData {
    issue: IssueNode,
}

#[derive(Deserialize)]
struct ViewerAnswer {
    viewer: UserNode,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LabelsAnswer {
    workflow_states: NodeList<StateNode>,
    issue_labels: NodeList<LabelNode>,
}

/// Why an answer is no data.
pub(super) enum AnswerFailure {
    /// The tracker's own answer goes back.
    Denied,
    /// It cannot be used.
    Unreadable(String),
}

/// What a read of this issue showed.
pub fn item(address: &Address, response: &WireResponse) -> ReadOutcome {
    let row = match data::<IssueData>(response) {
        Ok(answer) => answer.issue,
        Err(AnswerFailure::Denied) => return ReadOutcome::Denied,
        Err(AnswerFailure::Unreadable(why)) => return ReadOutcome::Unreadable(why),
    };
    match row.snapshot() {
        // An identifier of before a move still leads to the issue, under its new one.
        Ok(seen) if is_uuid(&address.route) && !address.route.eq_ignore_ascii_case(seen.key.as_str()) => {
            ReadOutcome::Unreadable("the tracker answered with another issue".to_owned())
        }
        Ok(seen) => ReadOutcome::Item(seen),
        Err(why) => ReadOutcome::Unreadable(why),
    }
}

/// When the issue of this answer was last written.
pub fn written_at(response: &WireResponse) -> Option<Time> {
    data::<IssueData>(response).ok().and_then(|answer| time(&answer.issue.updated_at))
}

/// Who Linear says that the credential is.
pub fn account(response: &WireResponse) -> Whoami {
    match data::<ViewerAnswer>(response) {
        Ok(ViewerAnswer { viewer }) if is_uuid(&viewer.id) => Whoami::Account(viewer.account()),
        Ok(_) => Whoami::Unreadable("the tracker's answer has no usable `id`".to_owned()),
        Err(AnswerFailure::Denied) => Whoami::Refused,
        Err(AnswerFailure::Unreadable(why)) => Whoami::Unreadable(why),
    }
}

/// The workflow states and labels of a list.
pub fn labels(response: &WireResponse) -> Option<Vec<Tag>> {
    let Ok(answer) = data::<LabelsAnswer>(response) else {
        // Of the pages after the first, of which there are none.
        return data::<Value>(response).ok().filter(|data| data.get("__typename").is_some()).map(|_| Vec::new());
    };
    let states = answer.workflow_states.nodes.iter().flat_map(StateNode::tags);
    Some(states.chain(answer.issue_labels.nodes.iter().map(LabelNode::tag)).collect())
}

/// The apps among the users of a list.
pub fn apps(response: &WireResponse) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct AppNode {
        id: String,
        app: bool,
    }
    #[derive(Deserialize)]
    struct UsersAnswer {
        users: NodeList<AppNode>,
    }
    let answer = data::<UsersAnswer>(response).ok()?;
    Some(answer.users.nodes.into_iter().filter(|user| user.app).map(|user| user.id).collect())
}

/// The id or identifier of the issue that a creation says it has made.
pub fn created(key: &str, response: &WireResponse) -> Option<Address> {
    let body: Value = serde_json::from_slice(&response.body).ok()?;
    let issue = body.get("data")?.get(key)?.get("issue")?;
    let named = |name| issue.get(name).and_then(Value::as_str);
    named("id").filter(|id| is_uuid(id)).or_else(|| named("identifier")).and_then(address)
}

/// The data of an answer.
pub(super) fn data<T: DeserializeOwned>(response: &WireResponse) -> Result<T, AnswerFailure> {
    let unreadable = |why: String| Err(AnswerFailure::Unreadable(why));
    let coding = response.headers.get(CONTENT_ENCODING).map_or(&b""[..], http::HeaderValue::as_bytes);
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        return unreadable("the tracker's answer is compressed".to_owned());
    }
    let status = response.status.as_u16();
    if matches!(status, 401 | 403 | 404 | 429) {
        return Err(AnswerFailure::Denied);
    }
    if !matches!(status, 200 | 400) {
        return unreadable(format!("the tracker answered {status}"));
    }
    let body: Value = match serde_json::from_slice(&response.body) {
        Ok(body) => body,
        Err(error) => return unreadable(format!("the tracker's answer cannot be read: {error}")),
    };
    match body.get("errors").and_then(Value::as_array).map(Vec::as_slice) {
        None | Some([]) if status == 200 => {
            let data = body.get("data").cloned().unwrap_or(Value::Null);
            serde_json::from_value(data)
                .map_err(|error| AnswerFailure::Unreadable(format!("the tracker's answer cannot be read: {error}")))
        }
        Some(errors) if !errors.is_empty() && !errors.iter().any(is_internal) => Err(AnswerFailure::Denied),
        Some([error, ..]) => unreadable(format!("the tracker answered with an error: {}", code_of(error))),
        _ => unreadable(format!("the tracker answered {status}")),
    }
}

/// Whether an error is Linear's own trouble.
fn is_internal(error: &Value) -> bool {
    matches!(code_of(error), "" | "INTERNAL_SERVER_ERROR" | "LOCK_TIMEOUT" | "NETWORK_ERROR" | "BOOTSTRAP_ERROR")
}

fn code_of(error: &Value) -> &str {
    error.pointer("/extensions/code").and_then(Value::as_str).unwrap_or_default()
}

/// What a webhook says. Linear signs the bytes of the body.
pub fn webhook(headers: &HeaderMap, body: &[u8]) -> Webhook {
    let signature = headers.get("linear-signature").and_then(|value| unhex(value.as_bytes()));
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let data = &said["data"];
    let identifier = [&data["identifier"], &data["issue"]["identifier"]].into_iter().find_map(Value::as_str);
    let item = identifier.and_then(address).map(|at| at.place);
    Webhook { signature, payload: None, item }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = text.chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?));
    pairs.collect()
}

/// `0f3c…-…`, in any case.
pub fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn time(text: &str) -> Option<Time> {
    text.parse::<jiff::Timestamp>().ok().map(|time| Time(time.as_microsecond()))
}

// === impl UserNode, StateNode, LabelNode, IssueNode ===

impl UserNode {
    fn account(&self) -> Account {
        Account::named(&self.id, &self.display_name)
    }
}

impl StateNode {
    /// One under its name, and one under the name of its type: a rule may list either.
    pub(super) fn tags(&self) -> impl Iterator<Item = Tag> + '_ {
        let is_closed = matches!(self.kind.as_str(), "completed" | "canceled" | "duplicate");
        let state = Some(if is_closed { OpenState::Closed } else { OpenState::Open });
        [&self.name, &self.kind].into_iter().map(move |name| Tag {
            id: Some(TagId::Text(self.id.as_str().into())),
            name: name.clone(),
            group: Some(STATES.into()),
            state,
        })
    }
}

impl LabelNode {
    fn tag(&self) -> Tag {
        Tag { id: Some(TagId::Text(self.id.as_str().into())), name: self.name.clone(), group: None, state: None }
    }
}

impl IssueNode {
    pub(super) fn snapshot(&self) -> Result<Snapshot, String> {
        let odd = |what: &str| Err(format!("the tracker's answer has no usable {what}"));
        if !is_uuid(&self.id) {
            return odd("`id`");
        }
        if self.state.name.is_empty() || !is_short_name(&self.state.name) {
            return odd("state");
        }
        if time(&self.updated_at).is_none() {
            return odd("`updatedAt`");
        }
        if self.labels.page_info.has_next_page {
            return Err("the issue has more than 100 labels".to_owned());
        }
        let mut tags: std::collections::BTreeSet<Tag> = self.state.tags().collect();
        let is_closed = tags.iter().any(|tag| tag.state == Some(OpenState::Closed));
        tags.extend(self.labels.nodes.iter().map(LabelNode::tag));
        tags.extend(self.behind());
        let put_away = self.archived_at.is_some() || self.trashed == Some(true);
        let holder = self.delegate.as_ref().or(self.assignee.as_ref());
        Ok(Snapshot {
            key: ResourceKey::new(&self.id.to_ascii_lowercase()),
            locator: Place::within(&Project::new(&self.team.key), &self.identifier),
            kind: ItemKind::Issue,
            assignees: holder.map(UserNode::account).into_iter().collect(),
            state: if is_closed || put_away { OpenState::Closed } else { OpenState::Open },
            labels: tags,
            author: self.creator.as_ref().map(UserNode::account),
        })
    }

    /// Who is assigned behind a delegate, who is the one at work. Of such an issue only.
    fn behind(&self) -> Option<Tag> {
        self.delegate.as_ref()?;
        let (id, name) = match &self.assignee {
            Some(assignee) => (assignee.id.as_str(), format!("for {}", assignee.display_name)),
            None => ("", "for nobody".to_owned()),
        };
        let id = Some(TagId::Text(format!("{BEHIND}{id}").into()));
        Some(Tag { id, name, group: Some(DELEGATION.into()), state: None })
    }
}

/// Who is assigned behind the delegate: `None` where there is no delegate, and an empty text where nobody is.
pub fn behind(seen: &Snapshot) -> Option<&str> {
    seen.labels.iter().find_map(|tag| match &tag.id {
        Some(TagId::Text(id)) if tag.group.as_deref() == Some(DELEGATION) => id.strip_prefix(BEHIND),
        _ => None,
    })
}

/// What no id of Linear's begins with.
const BEHIND: &str = "behind:";

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    const ID: &str = "0f3c9a52-0000-4000-8000-000000000001";
    const ANN: &str = "0f3c9a52-0000-4000-8000-00000000000a";
    const BOT: &str = "0f3c9a52-0000-4000-8000-00000000000b";

    fn answer(status: u16, body: &Value) -> WireResponse {
        let status = StatusCode::from_u16(status).unwrap();
        WireResponse { status, headers: HeaderMap::new(), body: body.to_string().into() }
    }

    fn issue() -> Value {
        json!({ "data": { "issue": {
            "id": ID, "identifier": "ENG-1", "updatedAt": "2026-07-22T10:00:00.123Z", "archivedAt": null, "trashed": null,
            "team": { "key": "ENG" }, "state": { "id": "s1", "name": "In Progress", "type": "started" },
            "assignee": { "id": ANN, "displayName": "ann" }, "delegate": null, "creator": null,
            "labels": { "nodes": [{ "id": "l1", "name": "Bug" }], "pageInfo": { "hasNextPage": false } },
        }}})
    }

    fn shown(body: &Value) -> String {
        match item(&address("ENG-1").unwrap(), &answer(200, body)) {
            ReadOutcome::Item(seen) => {
                let names: Vec<&str> = seen.labels.iter().map(|tag| tag.name.as_str()).collect();
                let who: Vec<String> = seen.assignees.iter().map(Account::to_string).collect();
                format!(
                    "{} {} {who:?} {names:?} {:?} {:?}",
                    seen.locator,
                    seen.locator.known_project(),
                    seen.state,
                    behind(&seen)
                )
            }
            ReadOutcome::Denied => "denied".to_owned(),
            ReadOutcome::Unreadable(why) => why,
            ReadOutcome::Moved(_) => "moved".to_owned(),
        }
    }

    #[test]
    fn an_issue_is_read_strictly() {
        assert_eq!(shown(&issue()), r#"ENG-1 eng ["ann"] ["Bug", "In Progress", "started"] Open None"#);
        let with = |path: &str, value: Value| {
            let mut body = issue();
            *body.pointer_mut(path).unwrap() = value;
            shown(&body)
        };
        let bot = json!({ "id": BOT, "displayName": "bot" });
        assert!(
            with("/data/issue/delegate", bot).contains(&format!(
                "[\"bot\"] [\"for ann\", \"Bug\", \"In Progress\", \"started\"] Open Some({ANN:?})"
            ))
        );
        assert!(with("/data/issue/assignee", Value::Null).contains("eng []"));
        assert!(with("/data/issue/state/type", json!("canceled")).contains("Closed"));
        assert!(with("/data/issue/archivedAt", json!("2026-07-22T10:00:00Z")).contains("Closed"));
        assert!(with("/data/issue/trashed", json!(true)).contains("Closed"));
        assert!(with("/data/issue/id", json!("x")).contains("no usable `id`"));
        assert!(with("/data/issue/updatedAt", json!("x")).contains("no usable `updatedAt`"));
        assert!(with("/data/issue/state", Value::Null).contains("cannot be read"));
        assert!(with("/data/issue/labels/pageInfo/hasNextPage", json!(true)).contains("100 labels"));
        assert_eq!(written_at(&answer(200, &issue())), Some(Time(1_784_714_400_123_000)));
    }

    #[test]
    fn what_the_caller_may_not_goes_back_and_what_failed_is_no_answer() {
        let error =
            |code: &str| json!({ "data": null, "errors": [{ "message": "m", "extensions": { "code": code } }] });
        for (status, body, wanted) in [
            (200, error("INPUT_ERROR"), "denied"),
            (400, error("RATELIMITED"), "denied"),
            (400, error("AUTHENTICATION_ERROR"), "denied"),
            (401, json!({}), "denied"),
            (429, json!({}), "denied"),
            (200, error("INTERNAL_SERVER_ERROR"), "INTERNAL_SERVER_ERROR"),
            (200, json!({ "errors": [{ "message": "m" }] }), "with an error"),
            (400, json!({ "data": {} }), "answered 400"),
            (500, error("INPUT_ERROR"), "answered 500"),
            (200, json!({ "data": { "issue": null } }), "cannot be read"),
        ] {
            let told = match item(&address(ID).unwrap(), &answer(status, &body)) {
                ReadOutcome::Denied => "denied".to_owned(),
                ReadOutcome::Unreadable(why) => why,
                other => format!("{other:?}"),
            };
            assert!(told.contains(wanted), "{status} {body}: {told}");
        }
        let mut other = issue();
        other["data"]["issue"]["id"] = json!(ANN);
        assert!(matches!(item(&address(ID).unwrap(), &answer(200, &other)), ReadOutcome::Unreadable(_)));
    }

    #[test]
    fn a_webhook_is_signed_in_hex() {
        let mut headers = HeaderMap::new();
        headers.insert("linear-signature", "00ffA1".parse().unwrap());
        let body = json!({ "type": "Comment", "data": { "issue": { "identifier": "eng-7" } } }).to_string();
        let told = webhook(&headers, body.as_bytes());
        assert_eq!((told.signature, told.item), (Some(vec![0, 255, 161]), Some(Place::new("ENG-7"))));
        headers.insert("linear-signature", "0".parse().unwrap());
        assert_eq!(webhook(&headers, b"no JSON"), Webhook { signature: None, payload: None, item: None });
    }
}
