//! A Trello for tests: stateful, in memory, behind a real socket.
//!
//! It answers as Trello's documentation and the recorded exchanges of its clients say, and is strict about what it is sent: an
//! id that is none, a member who is not on the board, a credential that nobody has. But it reads a request as *forgivingly*
//! as anybody has seen a router do it: in any case, with the parameters of query and body in one, doubled ones, arrays in
//! brackets, an overridden method. So whoever judges requests in front of it is tested against the reader that matters.
//!
//! Nothing of the gate is imported here, so that an error of the gate cannot hide in both sides of a test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use crate::edge_support;

/// A running fake.
#[derive(Clone)]
pub struct FakeTrello {
    state: Arc<Mutex<TrelloState>>,
    pub addr: SocketAddr,
}

/// A card as it is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub id: String,
    pub short_link: String,
    pub board: String,
    pub list: String,
    pub members: Vec<String>,
    pub closed: bool,
    pub name: String,
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: String,
    /// Who sent it.
    pub member: Option<String>,
    /// It set who works on a card, or where that stands.
    pub guarded: bool,
    pub status: u16,
}

#[derive(Clone, Debug)]
struct Member {
    username: String,
    key: String,
    token: String,
}

#[derive(Clone, Debug)]
struct List {
    name: String,
    board: String,
    closed: bool,
}

#[derive(Default)]
struct TrelloState {
    members: BTreeMap<String, Member>,
    /// Who is on each.
    boards: BTreeMap<String, Vec<String>>,
    lists: BTreeMap<String, List>,
    cards: BTreeMap<String, Card>,
    seen: Vec<Seen>,
    /// The next so many guarded writes are answered with this status, and not carried out.
    faults: Vec<u16>,
    /// Reads of cards are answered with this.
    read_fault: Option<u16>,
    next: u64,
}

/// A request as its router hands it on.
struct Asked {
    method: String,
    path: Vec<String>,
    params: Map<String, Value>,
    member: Option<String>,
}

type Told = Result<Value, (u16, String)>;

fn refuse<T>(status: u16, text: &str) -> Result<T, (u16, String)> {
    Err((status, text.to_owned()))
}

// === what tests do to it ===

impl FakeTrello {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(TrelloState::default()));
        let shared = Arc::clone(&state);
        let addr = edge_support::forge(move |request| answer(Arc::clone(&shared), request)).await;
        Self { state, addr }
    }

    fn state(&self) -> MutexGuard<'_, TrelloState> {
        self.state.lock().expect("no panic")
    }

    fn id(&self, kind: &str) -> String {
        let mut state = self.state();
        state.next += 1;
        format!("{kind}{:022x}", state.next)
    }

    /// A member with the key `key-NAME` and the token `token-NAME`; returns the id.
    pub fn add_member(&self, username: &str) -> String {
        let id = self.id("5e");
        let (key, token) = (format!("key-{username}"), format!("token-{username}"));
        self.state().members.insert(id.clone(), Member { username: username.to_owned(), key, token });
        id
    }

    /// A board of these members; returns its id.
    pub fn add_board(&self, members: &[&String]) -> String {
        let id = self.id("5b");
        self.state().boards.insert(id.clone(), members.iter().map(|id| (*id).clone()).collect());
        id
    }

    pub fn add_list(&self, board: &str, name: &str) -> String {
        let id = self.id("51");
        self.state().lists.insert(id.clone(), List { name: name.to_owned(), board: board.to_owned(), closed: false });
        id
    }

    /// A card that nobody has.
    pub fn add_card(&self, list: &str, name: &str) -> Card {
        let id = self.id("5f");
        let mut state = self.state();
        let board = state.lists.get(list).expect("a list").board.clone();
        let short_link = format!("Ab{:06X}", state.next);
        let (list, name) = (list.to_owned(), name.to_owned());
        let card = Card { id: id.clone(), short_link, board, list, members: Vec::new(), closed: false, name };
        state.cards.insert(id, card.clone());
        card
    }

    pub fn card(&self, id: &str) -> Card {
        self.state().cards.get(id).unwrap_or_else(|| panic!("no card {id}")).clone()
    }

    pub fn has_card(&self, id: &str) -> bool {
        self.state().cards.contains_key(id)
    }

    /// The name of the list that a card stands in.
    pub fn stands_in(&self, id: &str) -> String {
        let state = self.state();
        let card = state.cards.get(id).expect("a card");
        state.lists.get(&card.list).map(|list| list.name.clone()).unwrap_or_default()
    }

    /// As somebody does who does not pass the gate.
    pub fn edit_outside(&self, id: &str, edit: impl FnOnce(&mut Card)) {
        edit(self.state().cards.get_mut(id).expect("a card"));
    }

    /// As it was.
    pub fn put_back(&self, card: &Card) {
        self.state().cards.insert(card.id.clone(), card.clone());
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    pub fn guarded_writes(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.guarded).collect()
    }

    pub fn forget(&self) {
        self.state().seen.clear();
    }

    /// The next guarded write is answered so, and not carried out.
    pub fn fail_next(&self, status: u16) {
        self.state().faults.push(status);
    }

    /// Cards cannot be read any more.
    pub fn fail_reads(&self, status: Option<u16>) {
        self.state().read_fault = status;
    }
}

// === the walk of a request ===

async fn answer(state: Arc<Mutex<TrelloState>>, request: Request<Incoming>) -> Response<claimgate::proxy::Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let asked = {
        let state = state.lock().expect("no panic");
        read(&state, &parts.method, &target, &parts.headers, &body)
    };
    let guarded = is_guarded(&asked);
    let mut state = state.lock().expect("no panic");
    let is_card_read = asked.method == "GET" && asked.path.get(1).is_some_and(|name| name.starts_with("card"));
    let told = match state.read_fault.filter(|_| is_card_read) {
        Some(status) => refuse(status, "not now"),
        None if guarded && !state.faults.is_empty() => {
            let status = state.faults.remove(0);
            refuse(status, r#"{"error":"API_TOKEN_LIMIT_EXCEEDED","message":"Rate limit exceeded"}"#)
        }
        None => dispatch(&mut state, &asked),
    };
    let (status, kind, text) = match told {
        Ok(shown) => (200, "application/json; charset=utf-8", shown.to_string()),
        Err((status, text)) if text.starts_with('{') => (status, "application/json; charset=utf-8", text),
        Err((status, text)) => (status, "text/plain; charset=utf-8", text),
    };
    state.seen.push(Seen {
        method: parts.method.to_string(),
        target,
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        member: asked.member,
        guarded,
        status,
    });
    let mut response = Response::new(claimgate::proxy::full(text));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", kind.parse().expect("a type"));
    response
}

/// As forgivingly as any router.
fn read(state: &TrelloState, method: &Method, target: &str, headers: &HeaderMap, body: &Bytes) -> Asked {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let mut path: Vec<String> = Vec::new();
    for segment in decoded.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        if segment == ".." {
            path.pop();
        } else {
            path.push(segment.trim().to_owned());
        }
    }
    if let Some(resource) = path.get_mut(1) {
        let plural = resource.to_ascii_lowercase();
        *resource = if plural.ends_with('s') || plural == "batch" { plural } else { format!("{plural}s") };
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut params = Map::new();
    put_pairs(&mut params, query.as_bytes());
    let kind = header("content-type").to_ascii_lowercase();
    if kind.contains("json") {
        if let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) {
            params.extend(members);
        }
    } else if !kind.starts_with("multipart/") && !kind.starts_with("text/") {
        put_pairs(&mut params, body);
    }
    let by_header = ["x-http-method-override", "x-http-method", "x-method-override"].map(header);
    let by_param = params.get("_method").and_then(Value::as_str).unwrap_or_default().to_owned();
    let other = by_header.into_iter().chain([by_param]).find(|method| !method.is_empty());
    let method = match other {
        Some(other) if *method == Method::POST => other.to_ascii_uppercase(),
        _ => method.to_string(),
    };
    let member = who(state, &params, &header("authorization"));
    Asked { method, path, params, member }
}

/// The last of several wins, and what has brackets is an array.
fn put_pairs(params: &mut Map<String, Value>, text: &[u8]) {
    for (name, value) in form_urlencoded::parse(text) {
        let name = name.trim();
        match name.split_once('[') {
            Some((stem, _)) => {
                let list = params.entry(stem.to_owned()).or_insert_with(|| json!([]));
                if !list.is_array() {
                    *list = json!([]);
                }
                list.as_array_mut().expect("an array").push(value.into_owned().into());
            }
            None => drop(params.insert(name.to_owned(), value.into_owned().into())),
        }
    }
}

fn who(state: &TrelloState, params: &Map<String, Value>, authorization: &str) -> Option<String> {
    let in_header = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let given = |name: &str, header: &str| {
        params.get(name).and_then(Value::as_str).map(str::to_owned).or_else(|| in_header(header))
    };
    let (key, token) = (given("key", "oauth_consumer_key")?, given("token", "oauth_token")?);
    let found = state.members.iter().find(|(_, member)| member.key == key && member.token == token);
    found.map(|(id, _)| id.clone())
}

/// Whether it sets who works on a card, or where one stands.
fn is_guarded(asked: &Asked) -> bool {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    let sets = ["idMembers", "idList", "idBoard", "closed"].iter().any(|name| asked.params.contains_key(*name));
    match (asked.method.as_str(), &path[..]) {
        ("PUT", ["1", "cards", _]) => sets,
        ("PUT", ["1", "cards", _, field]) => matches!(*field, "idMembers" | "idList" | "idBoard" | "closed"),
        ("DELETE", ["1", "cards", _]) | ("POST" | "DELETE", ["1", "cards", _, "idMembers" | "members", ..]) => true,
        _ => false,
    }
}

fn dispatch(state: &mut TrelloState, asked: &Asked) -> Told {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    let Some(member) = asked.member.clone() else { return refuse(401, "invalid token") };
    match (asked.method.as_str(), &path[..]) {
        ("GET", ["1", "batch"]) => Ok(json!([])),
        ("GET", ["1", "members", name]) => shown_member(state, asked, name, &member),
        ("GET", ["1", "cards", card, rest @ ..]) => {
            let card = find_card(state, card, &member)?;
            match rest {
                [] => Ok(shown_card(state, &card, asked)),
                ["members"] => Ok(members_of(state, &card)),
                ["actions"] => Ok(json!([])),
                _ => refuse(404, "Not Found"),
            }
        }
        ("GET", ["1", "boards", board]) => Ok(shown_board(state, asked, &known(state, board, &member)?)),
        ("GET", ["1", "boards", board, "lists"]) => {
            let board = known(state, board, &member)?;
            Ok(state.lists.iter().filter(|(_, list)| list.board == board).map(shown_list).collect())
        }
        ("GET", ["1", "lists", list]) => {
            let (id, list) = find_list(state, list)?;
            let mut shown = shown_list((&id, &list));
            if matches!(text(&asked.params, "cards").as_str(), "all" | "open") {
                let cards = state.cards.values().filter(|card| card.list == id);
                shown["cards"] = cards.map(|card| json!({ "id": card.id })).collect();
            }
            Ok(shown)
        }
        ("POST", ["1", "cards"]) => make_card(state, asked, &text(&asked.params, "idList"), &member),
        ("POST", ["1", "lists", list, "cards"]) => make_card(state, asked, list, &member),
        ("POST", ["1", "lists", list, "moveAllCards" | "archiveAllCards"]) => move_all(state, asked, list, path[3]),
        ("PUT", ["1", "lists", list, ..]) => update_list(state, asked, list),
        ("PUT", ["1", "boards", ..]) => Ok(json!({})),
        ("PUT" | "POST" | "DELETE", ["1", "cards", card, rest @ ..]) => {
            let card = find_card(state, card, &member)?;
            change_card(state, asked, card, rest)
        }
        _ => refuse(404, "Cannot be found"),
    }
}

// === reads ===

fn text(params: &Map<String, Value>, name: &str) -> String {
    match params.get(name) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Array(all)) => all.last().and_then(Value::as_str).unwrap_or_default().to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

fn known(state: &TrelloState, board: &str, member: &str) -> Result<String, (u16, String)> {
    match state.boards.get(&board.to_ascii_lowercase()) {
        Some(members) if members.iter().any(|id| id == member) => Ok(board.to_ascii_lowercase()),
        Some(_) => refuse(401, "unauthorized permission requested"),
        None => refuse(404, "board not found"),
    }
}

fn find_card(state: &TrelloState, name: &str, member: &str) -> Result<Card, (u16, String)> {
    let id = name.to_ascii_lowercase();
    let found = state.cards.get(&id).or_else(|| state.cards.values().find(|card| card.short_link == name));
    let Some(card) = found else {
        return if name.len() == 24 {
            refuse(404, "The requested resource was not found.")
        } else {
            refuse(400, "invalid id")
        };
    };
    known(state, &card.board, member)?;
    Ok(card.clone())
}

fn find_list(state: &TrelloState, name: &str) -> Result<(String, List), (u16, String)> {
    let id = name.to_ascii_lowercase();
    state.lists.get(&id).map(|list| (id, list.clone())).ok_or_else(|| (400, "invalid value for idList".to_owned()))
}

fn shown_list((id, list): (&String, &List)) -> Value {
    json!({ "id": id, "name": list.name, "closed": list.closed, "idBoard": list.board })
}

fn shown_member(state: &TrelloState, asked: &Asked, name: &str, own: &str) -> Told {
    let named = state.members.iter().find(|(id, member)| *id == name || member.username == name);
    let id = if name == "me" {
        own
    } else {
        named.map(|(id, _)| id.as_str()).ok_or((404, "member not found".to_owned()))?
    };
    let mut shown = json!({ "id": id, "username": state.members[id].username });
    if text(&asked.params, "boards") == "all" {
        let boards = state.boards.iter().filter(|(_, members)| members.iter().any(|member| member == own));
        shown["boards"] = boards.map(|(id, _)| json!({ "id": id, "closed": false })).collect();
    }
    Ok(shown)
}

fn row(card: &Card) -> Value {
    json!({
        "id": card.id,
        "shortLink": card.short_link,
        "idBoard": card.board,
        "idList": card.list,
        "idMembers": card.members,
        "idLabels": [],
        "closed": card.closed,
        "name": card.name,
        "url": format!("https://trello.com/c/{}/1-{}", card.short_link, card.name.replace(' ', "-")),
        "dateLastActivity": "2026-11-30T12:00:00.000Z",
    })
}

fn shown_card(state: &TrelloState, card: &Card, asked: &Asked) -> Value {
    let mut shown = row(card);
    if text(&asked.params, "list") == "true" {
        shown["list"] = state.lists.get_key_value(&card.list).map(shown_list).unwrap_or_default();
    }
    if text(&asked.params, "members") == "true" {
        shown["members"] = members_of(state, card);
    }
    shown
}

fn members_of(state: &TrelloState, card: &Card) -> Value {
    let one =
        |id: &String| json!({ "id": id, "username": state.members.get(id).map(|member| member.username.clone()) });
    card.members.iter().map(one).collect()
}

fn shown_board(state: &TrelloState, asked: &Asked, board: &str) -> Value {
    let mut shown = json!({ "id": board });
    let wanted = text(&asked.params, "cards");
    if !matches!(wanted.as_str(), "" | "none") {
        let cards = state.cards.values().filter(|card| card.board == board);
        let cards = cards.filter(|card| wanted == "all" || card.closed == (wanted == "closed"));
        let with_members = |card: &Card| {
            let mut shown = row(card);
            shown["members"] = members_of(state, card);
            shown
        };
        shown["cards"] = cards.map(with_members).collect();
    }
    if text(&asked.params, "lists") == "all" {
        shown["lists"] = state.lists.iter().filter(|(_, list)| list.board == board).map(shown_list).collect();
    }
    shown
}

// === writes ===

fn change_card(state: &mut TrelloState, asked: &Asked, mut card: Card, rest: &[&str]) -> Told {
    let value = asked.params.get("value").cloned();
    match (asked.method.as_str(), rest) {
        ("PUT", []) => {
            // A board first: its lists are then others.
            for name in ["idBoard", "idList", "idMembers", "closed", "name"] {
                if let Some(value) = asked.params.get(name) {
                    set(state, &mut card, name, value)?;
                }
            }
        }
        ("PUT", [field]) => {
            let value = value.ok_or((400, "invalid value for value".to_owned()))?;
            set(state, &mut card, field, &value)?;
            if let Some(list) = asked.params.get("idList").filter(|_| *field == "idBoard") {
                set(state, &mut card, "idList", list)?;
            }
        }
        ("POST", ["idMembers" | "members"]) => {
            let member = member_id(state, &card, &text(&asked.params, "value"))?;
            if card.members.contains(&member) {
                return refuse(400, "member is already on the card");
            }
            card.members.push(member);
            let shown = members_of(state, &card);
            state.cards.insert(card.id.clone(), card);
            return Ok(shown);
        }
        ("DELETE", ["idMembers" | "members", member]) => {
            let member = member_id(state, &card, member)?;
            if !card.members.contains(&member) {
                return refuse(400, "member is not on the card");
            }
            card.members.retain(|id| *id != member);
            let shown = members_of(state, &card);
            state.cards.insert(card.id.clone(), card);
            return Ok(shown);
        }
        ("DELETE", []) => {
            state.cards.remove(&card.id);
            return Ok(json!({ "limits": {} }));
        }
        ("POST", ["idLabels" | "labels"]) => return Ok(json!([])),
        ("POST", ["actions", "comments"]) => return Ok(json!({ "type": "commentCard" })),
        _ => return refuse(404, "Cannot be found"),
    }
    let shown = row(&card);
    state.cards.insert(card.id.clone(), card);
    Ok(shown)
}

fn set(state: &TrelloState, card: &mut Card, field: &str, value: &Value) -> Result<(), (u16, String)> {
    let one = |value: &Value| text(&[("v".to_owned(), value.clone())].into_iter().collect(), "v");
    match field {
        "idMembers" => {
            let names: Vec<String> = match value {
                Value::Array(all) => all.iter().map(one).collect(),
                value => one(value).split(',').map(|name| name.trim().to_owned()).collect(),
            };
            let names = names.iter().filter(|name| !name.is_empty());
            card.members = names.map(|name| member_id(state, card, name)).collect::<Result<_, _>>()?;
        }
        "idList" => {
            let (id, list) = find_list(state, &one(value))?;
            card.board = list.board;
            card.list = id;
        }
        "idBoard" => {
            let board = one(value).to_ascii_lowercase();
            let first = state.lists.iter().find(|(_, list)| list.board == board);
            let Some((list, _)) = first else { return refuse(400, "invalid value for idBoard") };
            if board != card.board {
                list.clone_into(&mut card.list);
                card.board = board;
            }
        }
        "closed" => card.closed = matches!(one(value).as_str(), "true" | "1" | "True"),
        "name" => card.name = one(value),
        "desc" | "due" | "pos" | "idLabels" | "dueComplete" => {}
        _ => return refuse(404, "Cannot be found"),
    }
    Ok(())
}

/// By id or by name.
fn member_id(state: &TrelloState, card: &Card, name: &str) -> Result<String, (u16, String)> {
    let lower = name.trim().to_ascii_lowercase();
    let found = state.members.iter().find(|(id, member)| **id == lower || member.username == lower);
    let on_board = |id: &&String| state.boards.get(&card.board).is_some_and(|members| members.contains(*id));
    match found.map(|(id, _)| id).filter(on_board) {
        Some(id) => Ok(id.clone()),
        None => refuse(400, "invalid value for idMembers"),
    }
}

fn make_card(state: &mut TrelloState, asked: &Asked, list: &str, member: &str) -> Told {
    let (list, row_of_list) = find_list(state, list)?;
    known(state, &row_of_list.board, member)?;
    state.next += 1;
    let (id, short_link) = (format!("5f{:022x}", state.next), format!("Ab{:06X}", state.next));
    let name = text(&asked.params, "name");
    let mut card = Card { id, short_link, board: row_of_list.board, list, members: Vec::new(), closed: false, name };
    if let Some(members) = asked.params.get("idMembers") {
        set(state, &mut card, "idMembers", members)?;
    }
    let shown = row(&card);
    state.cards.insert(card.id.clone(), card);
    Ok(shown)
}

fn move_all(state: &mut TrelloState, asked: &Asked, list: &str, how: &str) -> Told {
    let (from, _) = find_list(state, list)?;
    let to = if how == "moveAllCards" { Some(find_list(state, &text(&asked.params, "idList"))?) } else { None };
    for card in state.cards.values_mut().filter(|card| card.list == from) {
        match &to {
            Some((id, list)) => (card.list, card.board) = (id.clone(), list.board.clone()),
            None => card.closed = true,
        }
    }
    Ok(json!([]))
}

fn update_list(state: &mut TrelloState, asked: &Asked, list: &str) -> Told {
    let (id, mut row) = find_list(state, list)?;
    let name = if asked.path.get(3).is_some_and(|field| field == "name") { "value" } else { "name" };
    let name = text(&asked.params, name);
    if !name.is_empty() {
        row.name = name;
    }
    row.closed |= text(&asked.params, "closed") == "true";
    let shown = shown_list((&id, &row));
    state.lists.insert(id, row);
    Ok(shown)
}
