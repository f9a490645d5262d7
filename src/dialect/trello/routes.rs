//! Which calls are guarded (manual: trello, section 1).
//!
//! Trello's names of resources are matched in any case, singular or plural, as its router takes them; ids keep theirs.
//! Whatever changes something below a card or a list is named here, or refused.

use super::super::{Address, Head, ParseError};
use super::card;
use super::fields::{hex_id, is_hex_id};
use super::params::refuse;
use http::{HeaderName, Method};

/// What a request is, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// Not guarded.
    Pass,
    /// A read of one card, or of something of it.
    Read {
        /// The card.
        card: Address,
        /// Whether it is the card itself.
        is_whole: bool,
    },
    /// Something is asked of the guard: its parameters say what.
    Guarded(CallSite),
    /// Not understood.
    Refuse(ParseError),
}

/// Where a call that may be guarded stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallSite {
    /// `PUT /1/cards/{card}`
    Card(Address),
    /// `PUT /1/cards/{card}/idList`: one field of it, of which the new value is `value`.
    Field(Address, CardField),
    /// `POST /1/cards/{card}/idMembers`
    Members(Address),
    /// `DELETE /1/cards/{card}/idMembers/{member}`
    Member(Address, String),
    /// `DELETE /1/cards/{card}`
    Deletion(Address),
    /// `POST /1/cards`, or `POST /1/lists/{list}/cards` with that list in the path.
    Creation(Option<String>),
    /// `POST /1/cards/{card}/checklist/{checklist}/checkItem/{item}/convertToCard`, as it stands there.
    Conversion(String),
    /// A list and what becomes of it.
    List(String, BulkCall),
    /// A board and what becomes of it.
    Board(String, BulkCall),
}

/// The guarded fields of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardField {
    /// `idMembers`
    Members,
    /// `idList`
    List,
    /// `idBoard`
    Board,
    /// `closed`
    Closed,
}

/// What becomes of many cards at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkCall {
    /// Some of its fields change: the parameters say which.
    Update,
    /// One field of those that say where its cards stand.
    Field,
    /// Its cards are moved.
    Move,
    /// Its cards are archived.
    Archive,
    /// It is deleted.
    Delete,
    /// Somebody is taken off it.
    RemoveMember,
}

// === impl CardField, BulkCall ===

impl CardField {
    /// As it stands in a path, and as a parameter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Members => "idMembers",
            Self::List => "idList",
            Self::Board => "idBoard",
            Self::Closed => "closed",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Members, Self::List, Self::Board, Self::Closed].into_iter().find(|field| field.name() == name)
    }
}

impl BulkCall {
    /// For the audit, before what it is done to.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Update | Self::Field => "change",
            Self::Move => "move all cards of",
            Self::Archive => "archive all cards of",
            Self::Delete => "delete",
            Self::RemoveMember => "take a member off",
        }
    }
}

pub fn classify(head: &Head<'_>) -> RouteMatch {
    let target = head.target;
    if matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return read(head).unwrap_or(RouteMatch::Pass);
    }
    if !target.readings().any(concerns) {
        return RouteMatch::Pass;
    }
    if let Some(why) = target.ambiguity() {
        return RouteMatch::Refuse(bent(why));
    }
    if let Some(name) = OVERRIDES.iter().find(|name| head.headers.contains_key(*name)) {
        return RouteMatch::Refuse(refuse(&format!("send the method itself instead of the header `{name}`")));
    }
    let segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    let unknown = || {
        let text = format!(
            "{} {} is not a call that the gate knows below cards and lists: use one of Trello's documented calls",
            head.method,
            super::redacted_path(target.path()).as_deref().unwrap_or(target.path())
        );
        RouteMatch::Refuse(ParseError::UnknownRoute(text))
    };
    let ["1", resource, rest @ ..] = &segments[..] else { return unknown() };
    match resource.to_ascii_lowercase().as_str() {
        "cards" | "card" => below_cards(head.method, rest, target.canonical()).unwrap_or_else(unknown),
        "lists" | "list" => below_lists(head.method, rest).unwrap_or_else(unknown),
        "boards" | "board" => below_boards(head.method, rest).unwrap_or_else(unknown),
        _ => unknown(),
    }
}

/// The card that a read names.
fn read(head: &Head<'_>) -> Option<RouteMatch> {
    let target = head.target;
    if *head.method != Method::GET || target.ambiguity().is_some() {
        return None;
    }
    let segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    let ["1", resource, id, rest @ ..] = &segments[..] else { return None };
    let is_card = ["card", "cards"].iter().any(|name| resource.eq_ignore_ascii_case(name));
    let card = is_card.then(|| card(id)).flatten()?;
    Some(RouteMatch::Read { card, is_whole: rest.is_empty() })
}

/// Whether what a router makes of a path can be guarded. Readings are folded.
fn concerns(reading: &[String]) -> bool {
    let is = |segment: &String, names: &[&str]| names.contains(&segment.trim());
    let in_api = |reading: &[String]| {
        let [version, resource, rest @ ..] = reading else { return false };
        let names_cards = rest.iter().any(|segment| is(segment, &["card", "cards", "list"]));
        version.trim() == "1"
            && (is(resource, &["card", "cards", "list", "lists", "board", "boards", "batch"]) || names_cards)
    };
    // Behind a path, or in another version, there is nothing that the gate could know.
    let elsewhere =
        reading.iter().take(DEEPEST_SUB_PATH).any(|segment| is(segment, &["card", "cards", "list", "lists"]));
    in_api(reading) || elsewhere && reading.first().is_none_or(|first| first.trim() != "1")
}

fn below_cards(method: &Method, rest: &[&str], path: String) -> Option<RouteMatch> {
    let [id, rest @ ..] = rest else {
        return (*method == Method::POST).then_some(RouteMatch::Guarded(CallSite::Creation(None)));
    };
    let Some(card) = card(id) else { return Some(RouteMatch::Refuse(bent(NO_CARD))) };
    let guarded = |site| Some(RouteMatch::Guarded(site));
    match (method.as_str(), rest) {
        ("PUT", []) => guarded(CallSite::Card(card)),
        ("DELETE", []) => guarded(CallSite::Deletion(card)),
        ("PUT", [field]) if CardField::of(field).is_some() => guarded(CallSite::Field(card, CardField::of(field)?)),
        ("POST", ["idMembers" | "members"]) => guarded(CallSite::Members(card)),
        ("DELETE", ["idMembers" | "members", member]) => match hex_id(member) {
            Some(member) => guarded(CallSite::Member(card, member)),
            None => Some(RouteMatch::Refuse(bent("a member is named by its id, of 24 hexadecimal digits"))),
        },
        ("POST", ["checklist", _, "checkItem", _, "convertToCard"]) => guarded(CallSite::Conversion(path)),
        ("PUT", [field]) => FREE_FIELDS.contains(field).then_some(RouteMatch::Pass),
        ("POST" | "PUT" | "DELETE", [first, ..]) => FREE_BELOW.contains(first).then_some(RouteMatch::Pass),
        _ => None,
    }
}

fn below_lists(method: &Method, rest: &[&str]) -> Option<RouteMatch> {
    let [id, rest @ ..] = rest else { return (*method == Method::POST).then_some(RouteMatch::Pass) };
    let Some(list) = hex_id(id) else {
        return Some(RouteMatch::Refuse(bent("a list is named by its id, of 24 hexadecimal digits")));
    };
    let bulk = |call| Some(RouteMatch::Guarded(CallSite::List(list.clone(), call)));
    match (method.as_str(), rest) {
        ("PUT", []) => bulk(BulkCall::Update),
        ("PUT", ["closed" | "idBoard" | "name"]) => bulk(BulkCall::Field),
        ("PUT", ["pos" | "softLimit" | "subscribed" | "color"]) => Some(RouteMatch::Pass),
        ("POST", ["moveAllCards"]) => bulk(BulkCall::Move),
        ("POST", ["archiveAllCards"]) => bulk(BulkCall::Archive),
        ("DELETE", []) => bulk(BulkCall::Delete),
        ("POST", ["cards"]) => Some(RouteMatch::Guarded(CallSite::Creation(Some(list)))),
        _ => None,
    }
}

/// A board has its own settings, which are nobody's work.
fn below_boards(method: &Method, rest: &[&str]) -> Option<RouteMatch> {
    let [id, rest @ ..] = rest else { return Some(RouteMatch::Pass) };
    let call = match (method.as_str(), rest) {
        ("PUT", []) => BulkCall::Update,
        ("PUT", ["closed"]) => BulkCall::Field,
        ("DELETE", []) => BulkCall::Delete,
        ("DELETE", ["members" | "idMembers", _]) => BulkCall::RemoveMember,
        (_, [first, ..]) if ["card", "cards", "list"].iter().any(|name| first.eq_ignore_ascii_case(name)) => {
            return None;
        }
        ("POST", ["lists"]) => return Some(RouteMatch::Pass),
        (_, [first, ..]) if first.eq_ignore_ascii_case("lists") => return None,
        _ => return Some(RouteMatch::Pass),
    };
    // Which cards stand on a board is known by its id.
    Some(match hex_id(id) {
        Some(board) => RouteMatch::Guarded(CallSite::Board(board, call)),
        None if call == BulkCall::Update => RouteMatch::Guarded(CallSite::Board((*id).to_owned(), call)),
        None => RouteMatch::Refuse(bent(NO_BOARD)),
    })
}

pub fn bent(why: &str) -> ParseError {
    ParseError::Ambiguous(format!("the path can be read in two ways: {why}; send it in its plain form"))
}

/// Whether this names a board by its id.
pub fn names_board(id: &str) -> bool {
    is_hex_id(id)
}

pub const NO_BOARD: &str = "a board whose cards all change is named by its id, of 24 hexadecimal digits";
const NO_CARD: &str = "a card is named by its id, of 24 hexadecimal digits, or by the 8 letters of its short link";
/// Segments of a sub-path that the gate looks behind.
const DEEPEST_SUB_PATH: usize = 4;
/// Fields that say nothing of who works on a card, or where it stands.
const FREE_FIELDS: &[&str] = &[
    "name",
    "desc",
    "due",
    "dueComplete",
    "dueReminder",
    "start",
    "pos",
    "idLabels",
    "labels",
    "idAttachmentCover",
    "cover",
    "subscribed",
    "address",
    "locationName",
    "coordinates",
    "customFields",
];
/// What lies below a card, and is free.
const FREE_BELOW: &[&str] = &[
    "actions",
    "attachments",
    "checkItem",
    "checklist",
    "checklists",
    "customField",
    "idLabels",
    "labels",
    "idChecklists",
    "markAssociatedNotificationsRead",
    "membersVoted",
    "pluginData",
    "stickers",
];
/// By these some routers take a POST for another method.
const OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::HeaderMap;

    const CARD: &str = "5f0000000000000000000001";

    fn check(request: &str, expected: &str) {
        let request = request.replace("{c}", CARD);
        let (method, target) = request.split_once(' ').unwrap();
        let (method, target, headers) = (method.parse().unwrap(), Target::parse(target), HeaderMap::new());
        let shown = match classify(&Head { method: &method, target: &target, headers: &headers }) {
            RouteMatch::Pass => "pass".to_owned(),
            RouteMatch::Read { card, is_whole } => format!("read {} {is_whole}", card.route),
            RouteMatch::Guarded(site) => match site {
                CallSite::Card(card) => format!("card {}", card.route),
                CallSite::Field(card, field) => format!("{} {}", field.name(), card.route),
                CallSite::Members(card) => format!("add {}", card.route),
                CallSite::Member(card, member) => format!("remove {member} {}", card.route),
                CallSite::Deletion(card) => format!("delete {}", card.route),
                site => format!("{site:?}"),
            },
            RouteMatch::Refuse(error) => format!("refuse {}", error.code().as_str()),
        };
        assert_eq!(shown, expected.replace("{c}", CARD), "{request}");
    }

    #[test]
    fn paths_are_matched_as_the_router_matches_them() {
        check("PUT /1/cards/{c}", "card {c}");
        check("PUT /1/Card/5F0000000000000000000001/", "card {c}");
        check("PUT //1//cards//AbCd1234", "card AbCd1234");
        check("PUT /1/cards/{c}/idList?value=x", "idList {c}");
        check("PUT /1/cards/{c}/idMembers", "idMembers {c}");
        check("PUT /1/cards/{c}/idBoard", "idBoard {c}");
        check("PUT /1/cards/{c}/closed", "closed {c}");
        check("POST /1/cards/{c}/members", "add {c}");
        check("POST /1/cards/{c}/idMembers", "add {c}");
        check("DELETE /1/card/AbCd1234/members/5F00000000000000000000AA", "remove 5f00000000000000000000aa AbCd1234");
        check("DELETE /1/cards/{c}", "delete {c}");
        check("POST /1/cards", "Creation(None)");
        check("POST /1/lists/{c}/cards", r#"Creation(Some("{c}"))"#);
        check("POST /1/lists/{c}/moveAllCards", r#"List("{c}", Move)"#);
        check("PUT /1/list/{c}/closed", r#"List("{c}", Field)"#);
        check("PUT /1/boards/AbCd1234", r#"Board("AbCd1234", Update)"#);
        check("DELETE /1/boards/{c}", r#"Board("{c}", Delete)"#);
        check("GET /1/cards/{c}?fields=all", "read {c} true");
        check("GET /1/cards/AbCd1234/members", "read AbCd1234 false");
    }

    #[test]
    fn what_is_not_guarded_passes() {
        for request in [
            "GET /1/batch?urls=/cards/x",
            "GET /1/cards/search",
            "HEAD /1/cards/{c}",
            "PUT /1/cards/{c}/name",
            "PUT /1/cards/{c}/dueComplete",
            "POST /1/cards/{c}/actions/comments",
            "POST /1/cards/{c}/idLabels?value=x",
            "DELETE /1/cards/{c}/idLabels/{c}",
            "PUT /1/cards/{c}/customField/{c}/item",
            "PUT /1/cards/{c}/checkItem/{c}",
            "POST /1/lists",
            "PUT /1/lists/{c}/pos",
            "POST /1/boards",
            "POST /1/boards/AbCd1234/lists",
            "PUT /1/boards/AbCd1234/members/{c}",
            "PUT /1/labels/{c}",
            "POST /1/webhooks",
            "DELETE /1/tokens/abc",
        ] {
            check(request, "pass");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for request in [
            "PATCH /1/cards/{c}",
            "POST /1/cards/{c}",
            "PUT /1/cards/{c}/idlist",
            "PUT /1/cards/{c}/idMembersVoted",
            "PUT /1/cards/{c}/list",
            "PUT /1/cards/{c}/idList/x",
            "PUT /1/cards/short",
            "PUT /1/cards/{c}%2FidList",
            "PUT /1/cards/../cards/{c}",
            "PUT /1/boards/AbCd1234/closed",
            "PUT /1/boards/AbCd1234/cards/7",
            "DELETE /1/boards/AbCd1234",
            "PUT /1/lists/AbCd1234",
            "POST /1/batch",
            "PUT /2/cards/{c}",
            "PUT /trello/1/cards/{c}",
            "PUT /cards/{c}",
            "DELETE /1/cards/{c}/idMembers/bob",
        ] {
            check(request, "refuse ambiguous_request");
        }
        let headers: HeaderMap = [(OVERRIDES[0].clone(), "PUT".parse().unwrap())].into_iter().collect();
        let target = Target::parse("/1/cards/AbCd1234/idMembers");
        let seen = classify(&Head { method: &Method::POST, target: &target, headers: &headers });
        assert!(matches!(seen, RouteMatch::Refuse(_)), "{seen:?}");
    }
}
