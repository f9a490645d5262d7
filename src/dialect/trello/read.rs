//! Trello's answers to the gate's own requests (manual: trello, section 4). Typed strictly: what is missing or odd is
//! unreadable, never empty.

use super::super::{Address, Listed, ReadOutcome, Whoami, WireResponse};
use super::address;
use super::fields::is_hex_id;
use crate::model::{
    Account, Edit, ItemKind, OpenState, Place, Project, ResourceKey, Snapshot, Status, Tag, TagId, TimelineEntry,
    is_short_name,
};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A card, as far as it decides anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CardRow {
    pub(super) id: String,
    short_link: String,
    id_board: String,
    pub(super) id_list: String,
    id_members: Vec<String>,
    closed: bool,
    /// Trello keeps it to the millisecond; a text of one form, so that texts are in the order of time.
    pub(super) date_last_activity: Option<String>,
    /// Of a single card.
    list: Option<ListRow>,
    /// What the members are called.
    #[serde(default)]
    members: Vec<MemberRow>,
}

/// A list of a board.
#[derive(Deserialize)]
pub(super) struct ListRow {
    pub(super) id: String,
    name: String,
}

/// A member.
#[derive(Deserialize)]
pub(super) struct MemberRow {
    id: String,
    username: String,
}

/// A board with its cards.
#[derive(Deserialize)]
pub(super) struct BoardRow {
    /// None, beyond the first page.
    #[serde(default)]
    pub(super) cards: Vec<CardRow>,
    #[serde(default)]
    pub(super) lists: Vec<ListRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedRow {
    short_link: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnBoardRow {
    id_board: String,
}

#[derive(Deserialize)]
struct IdRow {
    id: String,
}

#[derive(Deserialize)]
struct StandingRow {
    #[serde(default)]
    cards: Vec<IdRow>,
}

/// Something that was done to a card.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActionRow {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    member_creator: Option<MemberRow>,
    member: Option<MemberRow>,
    #[serde(default)]
    data: ActionData,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ActionData {
    card: Option<ClosedRow>,
    old: Option<ClosedRow>,
    list_before: Option<ListRow>,
    list_after: Option<ListRow>,
}

#[derive(Deserialize)]
struct ClosedRow {
    closed: Option<bool>,
}

/// What a read of this card showed.
pub fn card(address: &Address, response: &WireResponse) -> ReadOutcome {
    match response.status.as_u16() {
        200 => match typed::<CardRow>(response).and_then(|row| row.seen()) {
            Ok(seen) if names(address, &seen) => ReadOutcome::Item(seen),
            Ok(_) => ReadOutcome::Unreadable("the tracker answered with another card".to_owned()),
            Err(why) => ReadOutcome::Unreadable(why),
        },
        // 400: what it was asked for is no card's id.
        400 | 401 | 403 | 404 | 410 | 429 => ReadOutcome::Denied,
        status => ReadOutcome::Unreadable(format!("the tracker answered {status}")),
    }
}

/// Whether the address is one of the two names of the card.
fn names(address: &Address, seen: &Snapshot) -> bool {
    *address.route == *seen.key.as_str() || *address.route == *seen.locator.as_str()
}

/// The card that a creation made. The name of its list must be read.
pub fn created(response: &WireResponse) -> Option<(Address, Option<Snapshot>)> {
    let row = typed::<CreatedRow>(response).ok().filter(|_| response.status.is_success())?;
    Some((address(&row.short_link), None))
}

/// The board of what was read.
pub fn board_of(response: &WireResponse) -> Option<Project> {
    let row = typed::<OnBoardRow>(response).ok().filter(|_| response.status.is_success())?;
    is_hex_id(&row.id_board).then(|| Project::new(&row.id_board))
}

/// Who Trello says that the credential is.
pub fn account(response: &WireResponse) -> Whoami {
    match response.status.as_u16() {
        200 => match typed::<MemberRow>(response) {
            Ok(member) if is_hex_id(&member.id) && is_short_name(&member.username) => Whoami::Account(member.account()),
            Ok(_) => Whoami::Unreadable("the tracker's answer has no usable `username`".to_owned()),
            Err(why) => Whoami::Unreadable(why),
        },
        400..=499 => Whoami::Refused,
        status => Whoami::Unreadable(format!("the tracker answered {status}")),
    }
}

/// What Trello remembers of a card's members and of where it stood.
pub fn timeline(response: &WireResponse) -> Option<Vec<TimelineEntry>> {
    let actions = typed::<Vec<ActionRow>>(response).ok().filter(|_| response.status.is_success())?;
    let entries = actions.iter().filter_map(|action| {
        let (id, by) = (action.number()?, action.member_creator.as_ref()?.account());
        Some(action.edits().into_iter().map(move |edit| TimelineEntry { id, by: by.clone(), edit }))
    });
    Some(entries.flatten().collect())
}

/// The cards that stand in a list: all of them are on one page.
pub fn standing(response: &WireResponse) -> Option<Listed<ResourceKey>> {
    let list = typed::<StandingRow>(response).ok().filter(|_| response.status.is_success())?;
    let rows = list.cards.len();
    let key = |row: &IdRow| ResourceKey::new(&row.id.to_ascii_lowercase());
    Some(Listed { found: list.cards.iter().map(key).collect(), rows, total: Some(rows) })
}

/// The lists of a board.
pub fn lists(response: &WireResponse) -> Option<Vec<Tag>> {
    let all = typed::<Vec<ListRow>>(response).ok().filter(|_| response.status.is_success())?;
    all.iter().map(|row| row.tag().ok()).collect()
}

/// One list.
pub fn list(response: &WireResponse) -> Option<Tag> {
    typed::<ListRow>(response).ok().filter(|_| response.status.is_success())?.tag().ok()
}

/// A board's cards, as strictly read as a single one.
pub fn cards(board: &BoardRow) -> Result<Vec<(Snapshot, Option<String>)>, String> {
    let read = board.cards.iter().map(|card| {
        let list = board.lists.iter().find(|list| list.id == card.id_list);
        Ok((card.snapshot(list)?, card.date_last_activity.clone()))
    });
    read.collect()
}

/// The members of the answer that this type names.
pub(super) fn typed<T: DeserializeOwned>(response: &WireResponse) -> Result<T, String> {
    let header = |name| response.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
    let coding = header(CONTENT_ENCODING);
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        return Err("the tracker's answer is compressed".to_owned());
    }
    let essence = header(CONTENT_TYPE).split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err("the tracker's answer is not JSON".to_owned());
    }
    serde_json::from_slice(&response.body).map_err(|error| format!("the tracker's answer cannot be read: {error}"))
}

// === impl CardRow, ListRow, MemberRow, ActionRow ===

impl CardRow {
    fn seen(&self) -> Result<Snapshot, String> {
        self.snapshot(self.list.as_ref())
    }

    fn snapshot(&self, list: Option<&ListRow>) -> Result<Snapshot, String> {
        let list = list.filter(|list| list.id == self.id_list).ok_or("the tracker does not show the card's list")?;
        let ids = [&self.id, &self.id_board, &self.id_list];
        if !ids.into_iter().chain(&self.id_members).all(|id| is_hex_id(id)) || super::card(&self.short_link).is_none() {
            return Err("the tracker's answer has an id that is none".to_owned());
        }
        let account = |id: &String| match self.members.iter().find(|member| member.id == *id) {
            Some(member) => member.account(),
            None => Account::new(id),
        };
        Ok(Snapshot {
            key: ResourceKey::new(&self.id.to_ascii_lowercase()),
            locator: Place::within(&Project::new(&self.id_board), &self.short_link),
            kind: ItemKind::Issue,
            assignees: self.id_members.iter().map(account).collect(),
            labels: [list.tag()?].into(),
            state: if self.closed { OpenState::Closed } else { OpenState::Open },
            author: None,
        })
    }
}

impl ListRow {
    pub(super) fn tag(&self) -> Result<Tag, String> {
        let name = self.name.trim();
        if !is_hex_id(&self.id) || name.is_empty() || !is_short_name(name) {
            return Err("the tracker's answer has a list without a usable name".to_owned());
        }
        let (id, group) = (Some(TagId::Text(self.id.to_ascii_lowercase().into())), Some("list".into()));
        Ok(Tag { id, name: name.to_owned(), group, state: None })
    }
}

impl MemberRow {
    fn account(&self) -> Account {
        Account::named(&self.id.to_ascii_lowercase(), &self.username)
    }
}

impl ActionRow {
    /// Rises: an id begins with the second of its making, and ends with a counter.
    fn number(&self) -> Option<u64> {
        let part = |range| u64::from_str_radix(self.id.get(range)?, 16).ok();
        Some(part(0..8)? << 24 | part(18..24)?)
    }

    fn edits(&self) -> Vec<Edit> {
        let member = || self.member.as_ref().map(MemberRow::account);
        let is_closed = |row: &Option<ClosedRow>| row.as_ref().and_then(|row| row.closed);
        let status = |row: &ListRow| Status::new(row.name.trim());
        match self.kind.as_str() {
            "addMemberToCard" => member().map(Edit::Assigned).into_iter().collect(),
            "removeMemberFromCard" => member().map(Edit::Unassigned).into_iter().collect(),
            "updateCard" => {
                let left = self.data.list_before.as_ref().map(|list| Edit::Unlabelled(status(list)));
                let set = self.data.list_after.as_ref().map(|list| Edit::Labelled(status(list)));
                let archived = is_closed(&self.data.old).and(is_closed(&self.data.card));
                let end = archived.map(|yes| if yes { Edit::Closed } else { Edit::Reopened });
                [left, set, end].into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use serde_json::{Value, json};

    fn answer(status: u16, body: &Value) -> WireResponse {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        WireResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_string().into() }
    }

    fn row() -> Value {
        json!({
            "id": "5f0000000000000000000001", "shortLink": "AbCd1234", "idBoard": "5b0000000000000000000001",
            "idList": "510000000000000000000001", "idMembers": ["5e00000000000000000000a1"], "closed": false,
            "list": { "id": "510000000000000000000001", "name": " To Do " },
            "members": [{ "id": "5e00000000000000000000a1", "username": "ann" }],
        })
    }

    #[test]
    fn a_card_is_read_strictly() {
        let read = |name: &str, row: &Value| match card(&address(name), &answer(200, row)) {
            ReadOutcome::Item(seen) => {
                let assignees: Vec<String> = seen.assignees.iter().map(ToString::to_string).collect();
                let status: Vec<&str> = seen.labels.iter().map(|label| label.name.as_str()).collect();
                let project = seen.locator.known_project();
                format!("{} {} in {project} {assignees:?} {status:?} {:?}", seen.key, seen.locator, seen.state)
            }
            ReadOutcome::Unreadable(why) => why,
            other => format!("{other:?}"),
        };
        let wanted = r#"5f0000000000000000000001 AbCd1234 in 5b0000000000000000000001 ["ann"] ["To Do"] Open"#;
        assert_eq!(read("AbCd1234", &row()), wanted);
        assert_eq!(read("5f0000000000000000000001", &row()), wanted);
        assert!(read("aBCd1234", &row()).contains("another card"), "the case of a short link counts");
        for name in ["id", "shortLink", "idBoard", "idList", "idMembers", "closed"] {
            let mut without = row();
            without.as_object_mut().unwrap().shift_remove(name);
            assert!(read("AbCd1234", &without).contains("missing field"), "{name}");
        }
        let mut other = row();
        other["list"]["id"] = json!("510000000000000000000002");
        assert!(read("AbCd1234", &other).contains("does not show the card's list"));
        let mut odd = row();
        odd["idMembers"] = json!(["ann"]);
        assert!(read("AbCd1234", &odd).contains("an id that is none"));
        for (status, denied) in [(400, true), (401, true), (404, true), (429, true), (500, false), (302, false)] {
            let outcome = card(&address("AbCd1234"), &answer(status, &json!({})));
            assert_eq!(matches!(outcome, ReadOutcome::Denied), denied, "{status}");
        }
    }

    #[test]
    fn whose_a_token_is() {
        let told = account(&answer(200, &json!({ "id": "5e00000000000000000000a1", "username": "ann" })));
        let Whoami::Account(ann) = told else { panic!("{told:?}") };
        assert_eq!((ann.as_str(), ann.other_name()), ("5e00000000000000000000a1", Some("ann")));
        assert_eq!(account(&answer(401, &json!({}))), Whoami::Refused);
        assert!(matches!(account(&answer(200, &json!({ "id": "x", "username": "y" }))), Whoami::Unreadable(_)));
    }

    #[test]
    fn actions_tell_who_did_what() {
        let ann = json!({ "id": "5e00000000000000000000a1", "username": "ann" });
        let bob = json!({ "id": "5e00000000000000000000b2", "username": "bob" });
        let list = |name: &str| json!({ "id": "510000000000000000000001", "name": name });
        let action = |id: &str, kind: &str, data: Value| json!({ "id": format!("6a0000{id}0000000000000001"), "type": kind, "memberCreator": ann, "member": bob, "data": data });
        let told = timeline(&answer(
            200,
            &json!([
                action("02", "updateCard", json!({ "listBefore": list("To Do"), "listAfter": list("Done") })),
                action("01", "addMemberToCard", json!({ "idMember": "5e00000000000000000000b2" })),
                action("03", "updateCard", json!({ "card": { "closed": true }, "old": { "closed": false } })),
                action("04", "commentCard", json!({ "text": "hello" })),
            ]),
        ));
        let told: Vec<String> = told.unwrap().iter().map(|entry| format!("{} {:?}", entry.by, entry.edit)).collect();
        assert_eq!(
            told,
            [
                "ann Unlabelled(to do)",
                "ann Labelled(done)",
                r#"ann Assigned("5e00000000000000000000b2" (bob))"#,
                "ann Closed",
            ]
        );
        let standing = standing(&answer(200, &json!({ "id": "x", "cards": [{ "id": "5F00000000000000000000AA" }] })));
        assert_eq!(standing.unwrap().found, [ResourceKey::new("5f00000000000000000000aa")]);
    }

    #[test]
    fn lists_are_statuses_of_which_a_card_has_one() {
        let told = lists(&answer(200, &json!([{ "id": "510000000000000000000001", "name": "A" }]))).unwrap();
        let other = list(&answer(200, &json!({ "id": "510000000000000000000002", "name": "B" }))).unwrap();
        assert!(told[0].excludes(&other) && told[0].name == "A");
        assert!(lists(&answer(200, &json!([{ "id": "x", "name": "A" }]))).is_none());
        assert!(list(&answer(404, &json!({}))).is_none());
    }
}
