//! GitHub's answers to the gate's own requests (manual: github, section 4). Typed strictly: what is missing or odd is
//! unreadable, never empty.

use super::super::{Address, ReadOutcome, Target, Whoami, WireResponse};
use super::location::{ItemPath, RepoPath, plain_number};
use crate::model::{Account, ItemKind, OpenState, Project, ResourceKey, Snapshot, Tag, TagId, Time, is_short_name};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

/// An account in an answer.
#[derive(Deserialize)]
pub(super) struct LoginRow {
    pub(super) login: String,
}

/// An issue or a pull request, as the issue calls show both.
#[derive(Deserialize)]
pub(super) struct ItemRow {
    id: u64,
    number: u64,
    state: String,
    repository_url: String,
    assignee: Option<LoginRow>,
    assignees: Vec<LoginRow>,
    labels: Vec<LabelEntry>,
    user: Option<LoginRow>,
    pub(super) pull_request: Option<IgnoredAny>,
}

/// A label; older versions write its name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum LabelEntry {
    Row(NamedLabel),
    Name(String),
}

#[derive(Deserialize)]
struct NamedLabel {
    node_id: Option<String>,
    name: String,
}

/// What GraphQL says to `viewer`.
#[derive(Deserialize)]
struct ViewerAnswer {
    data: ViewerData,
}

#[derive(Deserialize)]
struct ViewerData {
    viewer: LoginRow,
}

/// What a read of this item showed.
pub fn item(address: &Address, response: &WireResponse) -> ReadOutcome {
    match response.status.as_u16() {
        200 => match typed::<ItemRow>(response).and_then(ItemRow::snapshot) {
            Ok(seen) if is_at(&seen, address) => ReadOutcome::Item(seen),
            Ok(_) => ReadOutcome::Unreadable("the tracker answered with another item".to_owned()),
            Err(why) => ReadOutcome::Unreadable(why),
        },
        401 | 403 | 404 | 410 | 429 => ReadOutcome::Denied,
        301 | 302 | 307 | 308 => match moved(&response.headers) {
            Some(new) => ReadOutcome::Moved(new),
            None => ReadOutcome::Unreadable("the tracker redirects to what is no issue".to_owned()),
        },
        status => ReadOutcome::Unreadable(format!("the tracker answered {status}")),
    }
}

/// When the issue was last written: GitHub may answer from a copy that trails its writes.
pub fn written_at(response: &WireResponse) -> Option<Time> {
    #[derive(Deserialize)]
    struct UpdatedRow {
        updated_at: String,
    }
    let row = typed::<UpdatedRow>(response).ok()?;
    Some(Time(row.updated_at.parse::<jiff::Timestamp>().ok()?.as_microsecond()))
}

/// The item that a creation made, where the answer is an issue as every read shows it.
pub fn created(repo: &RepoPath, kind: ItemKind, response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
    #[derive(Deserialize)]
    struct CreatedRow {
        number: u64,
    }
    let made = typed::<CreatedRow>(response).ok().filter(|_| response.status.is_success())?;
    let address = repo.item(made.number, kind);
    // A pull request's own `id` is of another number space than the items' keys.
    let shown = typed::<ItemRow>(response).ok().filter(|_| kind == ItemKind::Issue);
    Some((address, shown.and_then(|row| row.snapshot().ok())))
}

/// Who GitHub says that the credential is.
pub fn account(response: &WireResponse) -> Whoami {
    match response.status.as_u16() {
        200 => {
            match typed::<LoginRow>(response).or_else(|_| typed::<ViewerAnswer>(response).map(|it| it.data.viewer)) {
                Ok(row) => match row.account() {
                    Ok(account) => Whoami::Account(account),
                    Err(why) => Whoami::Unreadable(why),
                },
                Err(why) => Whoami::Unreadable(why),
            }
        }
        403 if is_limited(response) => Whoami::Refused,
        403 => Whoami::Forbidden,
        401 | 404 | 429 => Whoami::Refused,
        status => Whoami::Unreadable(format!("the tracker answered {status}")),
    }
}

/// One page of labels.
pub fn labels(response: &WireResponse) -> Option<Vec<Tag>> {
    let rows = typed::<Vec<LabelEntry>>(response).ok().filter(|_| response.status.is_success())?;
    rows.into_iter().map(|row| row.tag().ok()).collect()
}

/// One page of items, each as strictly read as a single one.
pub fn items(response: &WireResponse) -> Option<Vec<Snapshot>> {
    let rows = typed::<Vec<ItemRow>>(response).ok().filter(|_| response.status.is_success())?;
    rows.into_iter().map(|row| row.snapshot().ok()).collect()
}

/// Where a redirect leads, if that is an item. It names GitHub's own host, which only GitHub knows; the path is asked of the
/// tracker that the gate stands before.
fn moved(headers: &HeaderMap) -> Option<Address> {
    let (repo, tail) = redirected(headers)?;
    let [kind, number] = &tail[..] else { return None };
    let kind = if kind == "pulls" { ItemKind::Pull } else { ItemKind::Issue };
    Some(repo.item(plain_number(number)?, kind))
}

/// The repository that a redirect names, and what follows it.
pub(super) fn redirected(headers: &HeaderMap) -> Option<(RepoPath, Vec<String>)> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => location,
    };
    let target = Target::parse(path);
    let (repo, tail) = RepoPath::split(target.segments()).filter(|_| target.ambiguity().is_none())?;
    Some((repo, tail.to_vec()))
}

/// Whether a 403 is about how much was asked, and not about who asks.
fn is_limited(response: &WireResponse) -> bool {
    let spent = response.headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    spent || response.headers.contains_key(RETRY_AFTER)
}

/// A numbered repository is told by its name, which nobody can compare with the number.
fn is_at(seen: &Snapshot, address: &Address) -> bool {
    let number = ItemPath::of(address).number;
    let same = seen.locator.as_str().rsplit_once('#').is_some_and(|(_, shown)| shown == number);
    let named = address.project().is_some_and(|project| project.as_str().contains('/'));
    same && (!named || seen.locator == address.place)
}

/// The answer's JSON object.
pub fn object(response: &WireResponse) -> Result<Map<String, Value>, String> {
    typed(response)
}

/// The members of the answer that this type names.
pub(super) fn typed<T: DeserializeOwned>(response: &WireResponse) -> Result<T, String> {
    let header = |name| response.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
    let coding = header(CONTENT_ENCODING);
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        return Err("the tracker's answer is compressed".to_owned());
    }
    let essence = header(CONTENT_TYPE).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.ends_with(b"/json") && !essence.ends_with(b"+json") {
        return Err("the tracker's answer is not JSON".to_owned());
    }
    serde_json::from_slice(&response.body).map_err(|error| format!("the tracker's answer cannot be read: {error}"))
}

// === impl LoginRow, LabelEntry, ItemRow ===

impl LoginRow {
    pub(super) fn account(&self) -> Result<Account, String> {
        let usable = !self.login.is_empty() && is_short_name(&self.login);
        usable.then(|| Account::new(&self.login)).ok_or_else(|| "the tracker's answer has no usable `login`".to_owned())
    }
}

impl LabelEntry {
    fn tag(self) -> Result<Tag, String> {
        let (id, name) = match self {
            Self::Row(row) => (row.node_id.map(|id| TagId::Text(id.into())), row.name),
            Self::Name(name) => (None, name),
        };
        if name.is_empty() {
            return Err("the tracker's answer has a label without a name".to_owned());
        }
        Ok(Tag { id, name, group: None, state: None })
    }
}

impl ItemRow {
    /// The project is the one that the item itself names: a request may have come by a number or an old name.
    pub(super) fn snapshot(self) -> Result<Snapshot, String> {
        let project = project_of(&self.repository_url).ok_or("the tracker's answer has no usable `repository_url`")?;
        let state = match self.state.as_str() {
            "open" => OpenState::Open,
            "closed" => OpenState::Closed,
            _ => return Err("the tracker's answer has no usable `state`".to_owned()),
        };
        let kind = if self.pull_request.is_some() { ItemKind::Pull } else { ItemKind::Issue };
        Ok(Snapshot {
            key: ResourceKey::new(&self.id.to_string()),
            locator: crate::model::Place::numbered(&project, self.number),
            kind,
            assignees: self.assignees.iter().chain(&self.assignee).map(LoginRow::account).collect::<Result<_, _>>()?,
            labels: self.labels.into_iter().map(LabelEntry::tag).collect::<Result<_, _>>()?,
            state,
            author: self.user.and_then(|user| user.account().ok()),
        })
    }
}

/// `octocat/shop` of `https://api.github.com/repos/octocat/shop`.
fn project_of(url: &str) -> Option<Project> {
    let mut parts = url.rsplit('/');
    let (name, owner, repos) = (parts.next()?, parts.next()?, parts.next()?);
    let usable = repos == "repos" && !name.is_empty() && !owner.is_empty();
    usable.then(|| Project::new(&format!("{owner}/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Place;
    use http::{HeaderValue, StatusCode};
    use serde_json::json;

    fn answer(status: u16, body: &Value) -> WireResponse {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        WireResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_string().into() }
    }

    fn issue() -> Value {
        json!({
            "id": 101, "number": 7, "state": "open", "repository_url": "https://api.github.com/repos/Octo/Shop",
            "assignee": { "login": "ann" }, "assignees": [{ "login": "ann" }], "user": { "login": "octo" },
            "labels": [{ "id": 3, "node_id": "LA_3", "name": "Todo" }], "updated_at": "2026-01-01T00:00:00Z",
        })
    }

    fn at(place: &str) -> Address {
        super::super::location::of_place(&Place::from_stored(place)).unwrap()
    }

    #[test]
    fn an_issue_is_read_strictly() {
        let read = |at: &Address, issue: &Value| match item(at, &answer(200, issue)) {
            ReadOutcome::Item(seen) => {
                let labels: Vec<&str> = seen.labels.iter().map(|label| label.name.as_str()).collect();
                format!(
                    "{} {} {:?} {labels:?} {:?} {:?}",
                    seen.key, seen.locator, seen.assignees, seen.state, seen.kind
                )
            }
            ReadOutcome::Unreadable(why) => why,
            other => format!("{other:?}"),
        };
        let shown = r#"101 octo/shop#7 {"ann"} ["Todo"] Open Issue"#;
        assert_eq!(read(&at("octo/shop#7"), &issue()), shown);
        assert_eq!(read(&at("id:5#7"), &issue()), shown, "a number leads to the same item");
        assert!(read(&at("octo/shop#8"), &issue()).contains("another item"));
        assert!(read(&at("octo/other#7"), &issue()).contains("another item"));
        for name in ["id", "state", "assignees", "labels", "repository_url"] {
            let mut issue = issue();
            issue.as_object_mut().unwrap().shift_remove(name);
            assert!(read(&at("octo/shop#7"), &issue).contains(name), "{name}");
        }
        let mut pull = issue();
        pull["pull_request"] = json!({ "url": "u" });
        assert!(read(&at("octo/shop#7"), &pull).ends_with("Pull"));
        for status in [401, 403, 404, 410, 429] {
            assert_eq!(item(&at("octo/shop#7"), &answer(status, &json!({}))), ReadOutcome::Denied);
        }
    }

    #[test]
    fn a_redirect_leads_to_an_item_by_its_path() {
        let moved_to = |location: &str| {
            let mut moved = answer(301, &json!({}));
            moved.headers.insert(LOCATION, location.parse().unwrap());
            match item(&at("octo/shop#7"), &moved) {
                ReadOutcome::Moved(address) => address.place.to_string(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(moved_to("https://api.github.com/repositories/9/issues/31"), "id:9#31");
        assert_eq!(moved_to("/repos/new/shop/issues/7"), "new/shop#7");
        assert!(moved_to("https://api.github.com/repositories/9").contains("no issue"));
        assert!(moved_to("https://github.com/login").contains("no issue"));
    }

    #[test]
    fn whose_a_token_is() {
        let told = |status, body: &Value| format!("{:?}", account(&answer(status, body)));
        assert_eq!(told(200, &json!({ "login": "ann", "id": 5 })), r#"Account("ann")"#);
        let viewer = json!({ "data": { "viewer": { "login": "github-actions[bot]" } } });
        assert_eq!(told(200, &viewer), r#"Account("github-actions[bot]")"#);
        assert_eq!(told(403, &json!({ "message": "Resource not accessible by integration" })), "Forbidden");
        assert_eq!(told(401, &json!({})), "Refused");
        assert!(told(200, &json!({ "data": null })).starts_with("Unreadable"));
        let mut limited = answer(403, &json!({}));
        limited.headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        assert_eq!(account(&limited), Whoami::Refused);
    }
}
