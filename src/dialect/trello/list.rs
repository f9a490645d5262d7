//! Lists, and finding work (manual: trello, section 4).
//!
//! Trello shows a board with all of its open cards in one answer, which is the only page that there is. It does not sort
//! them; a card's id begins with the time at which it was made.

use super::super::{
    Address, Credential, Filter, FindWork, Guarded, ListOutcome, ListedProject, Listing, OpenItems, Order, Page,
    ParseError, WireRequest, WireResponse,
};
use super::fields::hex_id;
use super::params::refuse;
use super::read::BoardRow;
use super::request::get;
use super::write::CardWrite;
use super::{Trello, credential, read};
use crate::model::{Account, Change, ItemKind, Project, SetChange, Snapshot};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct BoardsAnswer {
    /// None, beyond the first page.
    #[serde(default)]
    boards: Vec<BoardsRow>,
}

#[derive(Deserialize)]
struct BoardsRow {
    id: String,
    closed: bool,
}

/// A read of the one page that there is; those beyond it have nothing.
pub fn request(listing: Listing<'_>, page: usize, credential: &Credential) -> WireRequest {
    let target = match listing {
        Listing::Repositories => {
            let boards = if page <= 1 { "all" } else { "none" };
            format!("/1/members/me?fields=id&boards={boards}&board_fields=closed")
        }
        Listing::AllItems(project) => board(project, "all", page),
        Listing::OpenItems(project) => board(project, "open", page),
        Listing::ClosedItems(project, _) => board(project, "closed", page),
        // Lists are each board's own.
        Listing::Labels(project) | Listing::SharedLabels(project) => {
            let board = project.map_or("me", Project::as_str);
            format!("/1/boards/{board}/lists?filter=all&fields=name")
        }
    };
    get(target, credential)
}

fn board(project: &Project, cards: &str, page: usize) -> String {
    let cards = if page <= 1 { cards } else { "none" };
    format!(
        "/1/boards/{project}?fields=id&cards={cards}&card_fields={CARD_FIELDS}&card_members=true\
         &card_member_fields=username&lists=all&list_fields=name"
    )
}

/// A read of a card with what decides anything.
pub fn card(id: &str) -> String {
    format!("/1/cards/{id}?fields={CARD_FIELDS}&list=true&list_fields=name&members=true&member_fields=username")
}

/// The boards of a member.
pub fn repositories(response: &WireResponse) -> Option<Vec<ListedProject>> {
    let answer = read::typed::<BoardsAnswer>(response).ok().filter(|_| response.status.is_success())?;
    let listed = |row: BoardsRow| ListedProject {
        project: Project::new(&row.id),
        archived: row.closed,
        issues: true,
        writable: None,
    };
    Some(answer.boards.into_iter().map(listed).collect())
}

/// The cards of a board.
pub fn items(response: &WireResponse) -> Option<Vec<Snapshot>> {
    let board = read::typed::<BoardRow>(response).ok().filter(|_| response.status.is_success())?;
    let cards = read::cards(&board).ok()?;
    Some(cards.into_iter().map(|(card, _)| card).collect())
}

// === impl FindWork ===

impl FindWork for Trello {
    fn repository(&self, text: &str) -> Result<Project, ParseError> {
        let id = hex_id(text).ok_or_else(|| refuse("a board is named by its id, of 24 hexadecimal digits"))?;
        Ok(Project::new(&id))
    }

    fn item(&self, text: &str) -> Result<Address, ParseError> {
        let wrong = || refuse("a card is named by its short link (AbCd1234), or by its id of 24 hexadecimal digits");
        super::card(text).ok_or_else(wrong)
    }

    fn is_credential(&self, parameter: &str) -> bool {
        credential::is_parameter(parameter)
    }

    fn assign(&self, address: &Address, account: &Account) -> Guarded {
        let change = Change { assignees: Some(SetChange::Replace([account.clone()].into())), ..Change::default() };
        Arc::new(CardWrite::of(address, change))
    }

    fn show_kind(&self, project: &Project, _kind: ItemKind, credential: &Credential) -> WireRequest {
        get(format!("/1/boards/{project}?fields=id"), credential)
    }

    /// Whoever sees a board sees its cards.
    fn is_shown(&self, kind: ItemKind, response: &WireResponse) -> bool {
        kind == ItemKind::Issue && response.is_success()
    }

    fn list_open(&self, filter: &Filter, page: Page, credential: &Credential) -> WireRequest {
        get(board(&filter.project, "open", page.number), credential)
    }

    fn open_items(&self, filter: &Filter, response: &WireResponse) -> ListOutcome {
        match response.status.as_u16() {
            200 => match read::typed::<BoardRow>(response).and_then(|board| read::cards(&board)) {
                Ok(cards) => {
                    let rows = cards.len();
                    let items = sorted(cards, filter.order);
                    ListOutcome::Items(OpenItems { items, rows, total: Some(rows), reversed: false })
                }
                Err(why) => ListOutcome::Unreadable(why),
            },
            400 | 401 | 403 | 404 | 410 | 429 => ListOutcome::Denied,
            status => ListOutcome::Unreadable(format!("the tracker answered {status}")),
        }
    }
}

fn sorted(mut cards: Vec<(Snapshot, Option<String>)>, order: Order) -> Vec<Snapshot> {
    match order {
        Order::Oldest | Order::Newest => cards.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key)),
        Order::Updated | Order::LeastUpdated => cards.sort_by(|(_, one), (_, other)| one.cmp(other)),
    }
    if matches!(order, Order::Newest | Order::Updated) {
        cards.reverse();
    }
    cards.into_iter().map(|(card, _)| card).collect()
}

const CARD_FIELDS: &str = "id,shortLink,idBoard,idList,idMembers,closed,dateLastActivity";

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONTENT_TYPE;
    use http::{HeaderValue, StatusCode};
    use serde_json::json;
    use std::collections::BTreeSet;

    #[test]
    fn there_is_one_page() {
        let project = Project::new("5b0000000000000000000001");
        let target = |listing, page| request(listing, page, &Credential::default()).target;
        assert!(target(Listing::Repositories, 1).contains("boards=all"));
        assert!(target(Listing::Repositories, 2).contains("boards=none"));
        assert!(target(Listing::OpenItems(&project), 1).contains("cards=open"));
        assert!(target(Listing::OpenItems(&project), 2).contains("cards=none"));
        assert_eq!(
            target(Listing::Labels(Some(&project)), 1),
            "/1/boards/5b0000000000000000000001/lists?filter=all&fields=name"
        );
    }

    #[test]
    fn cards_come_in_the_order_that_is_asked_for() {
        let row = |number: u8, touched: &str| {
            json!({
                "id": format!("5f00000000000000000000{number:02}"), "shortLink": format!("AbCd12{number:02}"),
                "idBoard": "5b0000000000000000000001", "idList": "510000000000000000000001", "idMembers": [],
                "closed": false, "dateLastActivity": touched,
            })
        };
        let board = json!({
            "id": "5b0000000000000000000001", "lists": [{ "id": "510000000000000000000001", "name": "To Do" }],
            "cards": [row(2, "2026-01-03T00:00:00.000Z"), row(1, "2026-01-02T00:00:00.000Z"), row(3, "2026-01-01T00:00:00.000Z")],
        });
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
        let response = WireResponse { status: StatusCode::OK, headers, body: board.to_string().into() };
        for (order, wanted) in [
            (Order::Oldest, ["01", "02", "03"]),
            (Order::Newest, ["03", "02", "01"]),
            (Order::Updated, ["02", "01", "03"]),
            (Order::LeastUpdated, ["03", "01", "02"]),
        ] {
            let filter = Filter { project: Project::new("5b0000000000000000000001"), labels: BTreeSet::new(), order };
            let ListOutcome::Items(shown) = Trello.open_items(&filter, &response) else { panic!("{order:?}") };
            let found: Vec<&str> = shown.items.iter().map(|item| &item.key.as_str()[22..]).collect();
            assert_eq!((found, shown.total), (wanted.to_vec(), Some(3)), "{order:?}");
        }
        assert_eq!(items(&response).map(|all| all.len()), Some(3));
    }

    #[test]
    fn names_of_the_claims_api() {
        assert_eq!(Trello.item("AbCd1234").map(|address| address.locator().to_string()), Ok("AbCd1234".to_owned()));
        assert!(Trello.item("#7").is_err() && Trello.repository("AbCd1234").is_err());
        assert!(Trello.repository("5B0000000000000000000001").is_ok());
    }
}
