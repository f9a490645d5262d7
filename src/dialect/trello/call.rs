//! A call that may be guarded, as `routes` found it: what its parameters ask for.

use super::super::{
    Address, GuardedRoute, Head, ParseError, Scrutiny, SideEffect, SideWrite, Subject, SweepScope, Understood,
    WireResponse,
};
use super::credential::Signed;
use super::fields::{self, WantedFields};
use super::params::{BodyParams, Params, SEND_JSON, refuse, unsupported};
use super::reply;
use super::routes::{BulkCall, CallSite, CardField, NO_BOARD, bent, names_board};
use super::write::{CardWrite, WriteKind, WriteWants, new_in};
use crate::model::{Account, Change, OpenState, Project, Rejection, SetChange, TagId, TagRef};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Such a call, before its parameters.
#[derive(Clone, Debug)]
pub struct CardCall(pub(super) CallSite);

/// What a call asks for, once its parameters were read.
#[derive(Debug)]
pub enum CallMeaning {
    /// Nothing guarded: it goes on as it came.
    Free,
    /// A guarded write.
    Write(Box<CardWrite>),
    /// It moves, archives or renames where many cards stand.
    Sweep(SweepScope, String),
}

impl GuardedRoute for CardCall {
    fn class(&self) -> &'static str {
        match self.0 {
            CallSite::Card(_)
            | CallSite::Field(..)
            | CallSite::Members(_)
            | CallSite::Member(..)
            | CallSite::Deletion(_) => "write",
            CallSite::Creation(_) | CallSite::Conversion(_) => "create",
            CallSite::List(..) | CallSite::Board(..) => "beside",
        }
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        Ok(match self.meaning(head, body, scrutiny.filing)? {
            CallMeaning::Free => Understood::default(),
            CallMeaning::Write(write) => Understood { guarded: Some(Arc::new(*write)), ..Understood::default() },
            CallMeaning::Sweep(scope, how) => {
                let beside = Some(SideWrite { effect: SideEffect::Sweep { scope, how }, sender: None });
                Understood { beside, ..Understood::default() }
            }
        })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        status.is_redirection() || status.is_client_error()
    }
}

// === impl CardCall ===

impl CardCall {
    /// What it asks for; `filing`: whether a rule is about who files cards.
    pub(super) fn meaning(&self, head: &Head<'_>, body: &[u8], filing: bool) -> Result<CallMeaning, ParseError> {
        match &self.0 {
            CallSite::Creation(_) | CallSite::Conversion(_) => return creation(&self.0, head, body, filing),
            CallSite::List(list, call) => return on_list(list, *call, head, body),
            CallSite::Board(board, call) => return on_board(board, *call, head, body),
            CallSite::Card(_)
            | CallSite::Field(..)
            | CallSite::Members(_)
            | CallSite::Member(..)
            | CallSite::Deletion(_) => {}
        }
        let mut params = Params::read(head, body)?;
        if matches!(params.body, BodyParams::Multipart(_)) {
            return Err(unsupported(SEND_JSON));
        }
        params.take("key")?;
        params.take("token")?;
        let (card, wants, kind) = match &self.0 {
            CallSite::Card(card) => match update(&mut params)? {
                Some(wants) => (card, wants, WriteKind::Update),
                None => return Ok(CallMeaning::Free),
            },
            CallSite::Field(card, field) => (card, one_field(*field, &mut params)?, WriteKind::Field(*field)),
            CallSite::Members(card) => (card, added(&mut params)?, WriteKind::AddMember),
            CallSite::Member(card, member) => {
                let members = SetChange::Remove([Account::new(member)].into());
                let change = Change { assignees: Some(members), ..Change::default() };
                (card, WriteWants::Change(change), WriteKind::RemoveMember(member.clone()))
            }
            CallSite::Deletion(card) => (card, WriteWants::Beside("delete".to_owned()), WriteKind::Delete),
            CallSite::Creation(_) | CallSite::Conversion(_) | CallSite::List(..) | CallSite::Board(..) => {
                return Ok(CallMeaning::Free);
            }
        };
        Ok(write(card, wants, kind, (params, Signed::read(head, body)?)))
    }
}

fn write(
    card: &Address,
    wants: WriteWants,
    kind: WriteKind,
    (params, signed): (Params, Option<Signed>),
) -> CallMeaning {
    let subject = Subject::At(card.clone());
    // What is edited beside it says that the list is echoed; alone it is meant.
    let write = CardWrite { subject, wants, kind, params, signed };
    let echoes = super::super::GuardedRequest::edits_more(&write);
    let wants = match write.wants {
        WriteWants::Change(change) if echoes => {
            let labels = change.labels.map(|labels| SetChange::Replace(labels.members().clone()));
            WriteWants::Change(Change { labels, ..change })
        }
        wants => wants,
    };
    CallMeaning::Write(Box::new(CardWrite { wants, ..write }))
}

/// `None`: no guarded field is among them.
fn update(params: &mut Params) -> Result<Option<WriteWants>, ParseError> {
    let wanted = fields::take(params)?;
    match &wanted {
        WantedFields { members: None, list: None, closed: None, board: None } => Ok(None),
        WantedFields { members: None, list: None, closed: None, board: Some(board) } => {
            Ok(Some(WriteWants::Beside(format!("idBoard={board}"))))
        }
        WantedFields { list: None, board: Some(_), .. } => Err(refuse(ANOTHER_BOARD)),
        WantedFields { .. } => Ok(Some(WriteWants::Change(change_of(wanted)))),
    }
}

fn change_of(wanted: WantedFields) -> Change {
    Change {
        assignees: wanted.members.map(SetChange::Replace),
        labels: wanted.list.map(stands_in),
        state: wanted.closed.map(state_of),
        reviewers: None,
    }
}

/// A card stands in exactly one list: this one takes the place of the other.
fn stands_in(list: String) -> SetChange<TagRef> {
    SetChange::Add([TagRef::Id(TagId::Text(list.into()))].into())
}

fn state_of(closed: bool) -> OpenState {
    if closed { OpenState::Closed } else { OpenState::Open }
}

fn one_field(field: CardField, params: &mut Params) -> Result<WriteWants, ParseError> {
    // On such a path these are somebody's mistake, and who knows whose.
    let stray = ["idMembers", "idList", "idBoard", "closed"].into_iter().find(|name| {
        let goes_along = field == CardField::Board && *name == "idList";
        !goes_along && params.has(name)
    });
    if let Some(name) = stray {
        return Err(refuse(&format!("the value of `{}` is `value`: leave out `{name}`", field.name())));
    }
    if field == CardField::Board {
        let value = params.look("value")?.ok_or_else(|| no_value(field))?;
        let board = fields::id("value", &value)?;
        let list = params.take("idList")?.map(|value| fields::id("idList", &value)).transpose()?;
        return Ok(match list {
            Some(list) => WriteWants::Change(Change { labels: Some(stands_in(list)), ..Change::default() }),
            None => WriteWants::Beside(format!("idBoard={board}")),
        });
    }
    let value = params.take("value")?.ok_or_else(|| no_value(field))?;
    let wanted = match field {
        CardField::Members => {
            WantedFields { members: Some(fields::members("value", &value)?), ..WantedFields::default() }
        }
        CardField::Closed => WantedFields { closed: Some(fields::flag("value", &value)?), ..WantedFields::default() },
        CardField::List | CardField::Board => {
            WantedFields { list: Some(fields::id("value", &value)?), ..WantedFields::default() }
        }
    };
    Ok(WriteWants::Change(change_of(wanted)))
}

fn no_value(field: CardField) -> ParseError {
    refuse(&format!("`{}` is set by the parameter `value`: send it", field.name()))
}

fn added(params: &mut Params) -> Result<WriteWants, ParseError> {
    if params.has("idMembers") {
        return Err(refuse("who is added is the parameter `value`: leave out `idMembers`"));
    }
    let value = params.take("value")?.ok_or_else(|| refuse("who is added is the parameter `value`: send it"))?;
    let added: BTreeSet<Account> = fields::members("value", &value)?;
    if added.len() != 1 {
        return Err(refuse("one member is added at a time: `value` is one id"));
    }
    Ok(WriteWants::Change(Change { assignees: Some(SetChange::Add(added)), ..Change::default() }))
}

// === new cards ===

/// One with members, or any where a rule is about who files.
fn creation(site: &CallSite, head: &Head<'_>, body: &[u8], filing: bool) -> Result<CallMeaning, ParseError> {
    let is_multipart = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
    let mut params = match Params::read(head, body) {
        // It may carry a file, and whom it assigns holds nothing by that.
        Err(_) if is_multipart && !filing => return Ok(CallMeaning::Free),
        params => params?,
    };
    params.take("key")?;
    params.take("token")?;
    let members = params.take("idMembers")?.map(|value| fields::members("idMembers", &value)).transpose()?;
    let members = members.filter(|members| !members.is_empty());
    if members.is_none() && !filing {
        return Ok(CallMeaning::Free);
    }
    if matches!(params.body, BodyParams::Multipart(_)) {
        return if filing { Err(unsupported(SEND_JSON)) } else { Ok(CallMeaning::Free) };
    }
    let in_list = params.look("idList")?.map(|value| fields::id("idList", &value)).transpose()?;
    let (path, list) = match site {
        CallSite::Creation(Some(list)) => (format!("/1/lists/{list}/cards"), Some(list.clone())),
        CallSite::Conversion(path) => (path.clone(), None),
        _ => ("/1/cards".to_owned(), in_list),
    };
    let named = list.clone().unwrap_or_else(|| "cards".to_owned());
    let change = Change { assignees: members.map(SetChange::Replace), ..Change::default() };
    let (wants, kind) = (WriteWants::Change(change), WriteKind::Create { path, list });
    let signed = Signed::read(head, body)?;
    Ok(CallMeaning::Write(Box::new(CardWrite { subject: new_in(&named), wants, kind, params, signed })))
}

// === many cards ===

fn on_list(list: &str, call: BulkCall, head: &Head<'_>, body: &[u8]) -> Result<CallMeaning, ParseError> {
    let says_where = |params: &Params| ["closed", "idBoard", "name"].into_iter().any(|name| params.has(name));
    if call == BulkCall::Update && !says_where(&Params::read(head, body)?) {
        return Ok(CallMeaning::Free);
    }
    let scope = SweepScope::Status(TagId::Text(list.into()));
    Ok(CallMeaning::Sweep(scope, format!("{} list {list}", call.describe())))
}

fn on_board(board: &str, call: BulkCall, head: &Head<'_>, body: &[u8]) -> Result<CallMeaning, ParseError> {
    if call == BulkCall::Update && !Params::read(head, body)?.has("closed") {
        return Ok(CallMeaning::Free);
    }
    if !names_board(board) {
        return Err(bent(NO_BOARD));
    }
    let scope = SweepScope::Project(Project::new(board));
    Ok(CallMeaning::Sweep(scope, format!("{} board {board}", call.describe())))
}

const ANOTHER_BOARD: &str = "on another board a card stands in another list: name `idList` too, or send `idBoard` in a \
    request of its own";

#[cfg(test)]
mod tests {
    use super::super::super::{Chosen, Credential, GuardedRequest as _, Request as _, Target, Wants};
    use super::super::routes::{RouteMatch, classify};
    use super::*;

    const CARD: &str = "5f0000000000000000000001";
    const ANN: &str = "5e00000000000000000000a1";
    const LIST: &str = "510000000000000000000002";

    /// What a request asks for, and what is sent for it; or a part of the refusal. `C`, `A`, `L`: a card, a member, a list.
    fn check(request: &str, body: &str, expected: Result<&str, &str>) {
        let spelled = |text: &str| text.replace("$C", CARD).replace("$A", ANN).replace("$L", LIST);
        let (request, body) = (spelled(request), spelled(body));
        let mut lines = request.split(" | ");
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        let kind = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            headers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let target = Target::parse(target);
        let head = Head { method: &method.parse().unwrap(), target: &target, headers: &headers };
        let RouteMatch::Guarded(site) = classify(&head) else { panic!("{request}") };
        let shown = match CardCall(site).meaning(&head, body.as_bytes(), false) {
            Ok(CallMeaning::Free) => "free".to_owned(),
            Ok(CallMeaning::Sweep(_, how)) => how,
            Ok(CallMeaning::Write(write)) => {
                let chosen = match write.wants() {
                    Wants::Change(change) => vec![Chosen::unread(None, change)],
                    _ => Vec::new(),
                };
                let sent = write.emit(&chosen, &HeaderMap::new(), &Credential::default());
                let body = String::from_utf8_lossy(&sent.body).into_owned();
                format!("{} => {} {} {body}", write.describe(), sent.method, sent.target).trim_end().to_owned()
            }
            Err(error) => error.to_string(),
        };
        match expected {
            Ok(wanted) => assert_eq!(shown, spelled(wanted), "{request} {body}"),
            Err(part) => assert!(shown.contains(part), "{request} {body}: {shown}"),
        }
    }

    #[test]
    fn members_by_every_route() {
        check("PUT /1/cards/$C?idMembers=$A", "", Ok("assignees=[$A] => PUT /1/cards/$C?idMembers=$A"));
        check(
            "PUT /1/cards/$C?key=k&token=t",
            r#"{"idMembers":["$A"],"name":"n"}"#,
            Ok(r#"assignees=[$A] => PUT /1/cards/$C {"name":"n","idMembers":"$A"}"#),
        );
        check("PUT /1/cards/$C", "idMembers=&key=k&token=t", Ok("assignees=[] => PUT /1/cards/$C idMembers="));
        check("PUT /1/cards/$C/idMembers?value=$A", "", Ok("assignees=[$A] => PUT /1/cards/$C/idMembers?value=$A"));
        check("POST /1/cards/$C/members", "value=$A", Ok("assignees+=[$A] => POST /1/cards/$C/idMembers value=$A"));
        check(
            "POST /1/card/AbCd1234/idMembers",
            r#"{"value":"$A"}"#,
            Ok(r#"assignees+=[$A] => POST /1/cards/AbCd1234/idMembers {"value":"$A"}"#),
        );
        check("DELETE /1/cards/$C/members/$A", "", Ok("assignees-=[$A] => DELETE /1/cards/$C/idMembers/$A"));
        check("PUT /1/cards/$C/idMembers", "", Err("set by the parameter `value`"));
        check("PUT /1/cards/$C/idMembers?value=$A", "value=$A", Err("given twice"));
        check("PUT /1/cards/$C/idMembers?value=$A&idList=$L", "", Err("leave out `idList`"));
        check("POST /1/cards/$C/idMembers?value=$A,5e00000000000000000000b2", "", Err("one member"));
        check("POST /1/cards/$C/idMembers?value=", "", Err("one member"));
        check("POST /1/cards/$C/idMembers?idMembers=$A", "", Err("leave out"));
    }

    #[test]
    fn lists_boards_and_the_archive_by_every_route() {
        check("PUT /1/cards/$C?idList=$L", "", Ok("labels+=[#$L] => PUT /1/cards/$C?idList=$L"));
        check(
            "PUT /1/cards/$C/idList",
            r#"{"value":"$L"}"#,
            Ok(r#"labels+=[#$L] => PUT /1/cards/$C/idList {"value":"$L"}"#),
        );
        check(
            "PUT /1/cards/$C?idList=$L&idBoard=5b0000000000000000000001&pos=top",
            "",
            Ok("labels+=[#$L] => PUT /1/cards/$C?idBoard=5b0000000000000000000001&pos=top&idList=$L"),
        );
        check("PUT /1/cards/$C?idList=$L&name=n", "", Ok("labels=[#$L] => PUT /1/cards/$C?name=n&idList=$L"));
        check("PUT /1/cards/$C?closed=true", "", Ok("state=closed => PUT /1/cards/$C?closed=true"));
        check("PUT /1/cards/$C/closed", "value=false", Ok("state=open => PUT /1/cards/$C/closed value=false"));
        check("PUT /1/cards/$C", r#"{"closed":true}"#, Ok(r#"state=closed => PUT /1/cards/$C {"closed":true}"#));
        check("DELETE /1/cards/$C", "", Ok("delete => DELETE /1/cards/$C"));
        check(
            "PUT /1/cards/$C?idBoard=5b0000000000000000000001",
            "",
            Ok("idBoard=5b0000000000000000000001 => PUT /1/cards/$C?idBoard=5b0000000000000000000001"),
        );
        check(
            "PUT /1/cards/$C/idBoard?value=5b0000000000000000000001&idList=$L",
            "",
            Ok("labels+=[#$L] => PUT /1/cards/$C/idBoard?value=5b0000000000000000000001&idList=$L"),
        );
        check("PUT /1/cards/$C?idBoard=5b0000000000000000000001&closed=true", "", Err("name `idList` too"));
        check("PUT /1/cards/$C?idList=", "", Err("`idList`"));
        check("PUT /1/cards/$C?closed=1", "", Err("true or false"));
        check("PUT /1/cards/$C?name=n&desc=d", "", Ok("free"));
        check("PUT /1/cards/$C?idLabels=x", "", Ok("free"));
    }

    #[test]
    fn what_is_signed_goes_as_it_came() {
        let signed = r#"authorization: OAuth oauth_consumer_key="k", oauth_token="t", oauth_signature="x%3D""#;
        check(
            &format!("PUT /1/cards/AbCd1234?name=a%20b&idList=$L | {signed}"),
            "",
            Ok("labels+=[#$L] => PUT /1/cards/AbCd1234?name=a%20b&idList=$L"),
        );
        check(
            &format!("POST /1/cards/$C/idMembers | {signed}"),
            r#"{ "value" : "$A" }"#,
            Ok(r#"assignees+=[$A] => POST /1/cards/$C/idMembers { "value" : "$A" }"#),
        );
        check(&format!("PUT /1//cards/$C?idList=$L | {signed}"), "", Err("write it plainly"));
    }

    #[test]
    fn creations_and_what_moves_many() {
        check(
            "POST /1/cards?idList=$L&name=n&idMembers=$A",
            "",
            Ok("assignees=[$A] => POST /1/cards?idList=$L&name=n&idMembers=$A"),
        );
        check("POST /1/cards", r#"{"idList":"$L","name":"n"}"#, Ok("free"));
        check("POST /1/cards?idMembers=", "", Ok("free"));
        check("POST /1/lists/$L/moveAllCards?idBoard=x&idList=y", "", Ok("move all cards of list $L"));
        check("POST /1/lists/$L/archiveAllCards", "", Ok("archive all cards of list $L"));
        check("PUT /1/lists/$L", r#"{"name":"x"}"#, Ok("change list $L"));
        check("PUT /1/lists/$L?pos=top", "", Ok("free"));
        check("PUT /1/boards/$L?closed=true", "", Ok("change board $L"));
        check("PUT /1/boards/AbCd1234?closed=true", "", Err("named by its id"));
        check("PUT /1/boards/AbCd1234?name=x", "", Ok("free"));
    }
}
