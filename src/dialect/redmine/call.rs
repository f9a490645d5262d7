//! A call that may be guarded, as `routes` found it: what its body asks for.

use super::super::{
    GuardedRoute, Head, ParseError, Scrutiny, Sender, SideEffect, SideWrite, Subject, Understood, WireResponse,
};
use super::fields::{self, Assignee, WantedFields, to_i};
use super::params::{AnswerFormat, Parameters, ReadRequest, refuse};
use super::routes::{CallSite, bent};
use super::write::{IssueWrite, Via, WriteKind, WriteWants, keys, project_of};
use super::{address, credential, reply};
use crate::model::{Change, Project, Rejection};
use http::header::{CONTENT_TYPE, COOKIE, HeaderName, LOCATION};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::sync::Arc;

/// Such a call, before its body.
#[derive(Clone, Debug)]
pub struct IssueCall {
    pub(super) place: CallSite,
    /// What follows the dot of the path.
    pub(super) suffix: Option<String>,
}

/// What a call asks for, once its body was read.
#[derive(Debug)]
pub enum CallMeaning {
    /// Nothing guarded: it goes on as it came.
    Free,
    /// A guarded write.
    Write(Box<IssueWrite>),
    /// It ends every issue of a project.
    DeleteProject(Project, Option<Sender>),
    /// A page files an issue.
    Files(Project, Sender),
}

impl GuardedRoute for IssueCall {
    fn class(&self) -> &'static str {
        match self.place {
            CallSite::Issue(_) => "write",
            CallSite::Issues { .. } => "create",
            CallSite::Many => "form",
            CallSite::Relations(_) | CallSite::Project(_) => "beside",
        }
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let beside = |effect, sender| Some(SideWrite { effect, sender });
        Ok(match self.meaning(head, body, scrutiny.filing)? {
            CallMeaning::Free => Understood::default(),
            CallMeaning::Write(write) => Understood { guarded: Some(Arc::new(*write)), ..Understood::default() },
            CallMeaning::DeleteProject(project, sender) => {
                Understood { beside: beside(SideEffect::DeleteRepository { project }, sender), ..Understood::default() }
            }
            CallMeaning::Files(project, sender) => {
                Understood { beside: beside(SideEffect::File { project }, Some(sender)), ..Understood::default() }
            }
        })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse {
        let format = AnswerFormat::of_suffix(self.suffix.as_deref());
        // Without a suffix a parameter says it, which a browser has no need of.
        let format =
            format.unwrap_or(if headers.contains_key(COOKIE) { AnswerFormat::Page } else { AnswerFormat::Json });
        reply::reject(rejection, decision, format)
    }

    fn undone_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match status.as_u16() {
            // A form that was not saved is shown again.
            200..=299 => text(CONTENT_TYPE).starts_with("text/html"),
            300..=399 => text(LOCATION).split('?').next().is_some_and(|path| path.ends_with("/login")),
            status => (400..=499).contains(&status),
        }
    }
}

// === impl IssueCall ===

impl IssueCall {
    /// What it asks for; `filing`: whether a rule is about who files issues.
    pub(super) fn meaning(&self, head: &Head<'_>, body: &[u8], filing: bool) -> Result<CallMeaning, ParseError> {
        let mut asked = ReadRequest::read(head, body, self.suffix.as_deref())?;
        asked.members.shift_remove("key");
        match (&self.place, asked.method.as_str()) {
            (CallSite::Issue(issue), "PUT" | "PATCH") => update(*issue, head, asked),
            (CallSite::Issue(issue), "DELETE") => delete(*issue, head, asked),
            (CallSite::Issues { project }, "POST") => create(project.as_deref(), head, asked, filing),
            (CallSite::Issues { project: None }, "DELETE") => delete_many(head, asked),
            (CallSite::Many, "POST" | "PATCH") => update_many(head, asked),
            (CallSite::Relations(issue), "POST") => relate(*issue, head, asked),
            (CallSite::Project(_), "POST" | "PUT" | "PATCH") => Ok(CallMeaning::Free),
            (CallSite::Project(project), "DELETE") => delete_project(project, head, &asked),
            (_, method) => Err(ParseError::UnknownRoute(format!(
                "{method} {} is not a call that Redmine knows: use one of its documented calls",
                head.target.path()
            ))),
        }
    }
}

/// How it came. A page takes a session: without one Redmine saves nothing, and the sender has forgotten the suffix.
fn via(head: &Head<'_>, asked: &ReadRequest) -> Result<Via, ParseError> {
    if asked.format != AnswerFormat::Page {
        return Ok(Via::Api(asked.format));
    }
    if !head.headers.contains_key(COOKIE) {
        return Err(refuse(
            "this is the path of a page, which takes a browser's session: append .json (or .xml) to it",
        ));
    }
    let session = credential::session(head.headers);
    let mut all = session.clone();
    if let Some(token) = super::params::one(head.headers, &CSRF)? {
        all.add_beside(CSRF, token.into_bytes());
    }
    Ok(Via::Page(Box::new(Sender { credential: all, session })))
}

fn update(issue: u64, head: &Head<'_>, mut asked: ReadRequest) -> Result<CallMeaning, ParseError> {
    asked.members.shift_remove("id");
    let mut members = asked.take_issue()?;
    // Of these two answers to a conflict the one saves the note alone, the other nothing.
    let keeps = asked.members.get("conflict_resolution").and_then(Value::as_str);
    if matches!(keeps, Some("add_notes" | "cancel")) {
        return Ok(CallMeaning::Free);
    }
    let wanted = fields::take(&mut members)?;
    let moves = fields::moves(&members);
    let is_page = asked.format == AnswerFormat::Page;
    let wants = match (wanted == WantedFields::default(), moves) {
        (true, false) => return Ok(CallMeaning::Free),
        (true, true) => WriteWants::Beside(describe_move(&members)),
        // A page sends all that it shows.
        (false, true) if !is_page => {
            return Err(refuse(
                "another project or tracker may set another status: send `project_id` and `tracker_id` in a request of \
                 their own, without `assigned_to_id` and `status_id`",
            ));
        }
        (false, _) => WriteWants::of(wanted),
    };
    let via = via(head, &asked)?;
    Ok(CallMeaning::Write(Box::new(IssueWrite {
        subject: Subject::At(address(issue)),
        wants,
        kind: WriteKind::Update,
        issue: members,
        beside: asked.members,
        via,
    })))
}

fn describe_move(members: &Parameters) -> String {
    let named = ["project_id", "tracker_id"].into_iter().filter_map(|name| {
        let value = members.get(name)?;
        Some(format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    });
    named.collect::<Vec<_>>().join(" ")
}

fn delete(issue: u64, head: &Head<'_>, mut asked: ReadRequest) -> Result<CallMeaning, ParseError> {
    asked.members.shift_remove("id");
    asked.members.shift_remove("ids");
    let via = via(head, &asked)?;
    Ok(CallMeaning::Write(Box::new(ending(Subject::At(address(issue)), WriteKind::Delete, asked.members, via))))
}

/// By the API one at a time, so that each is shown to whoever asks.
fn delete_many(head: &Head<'_>, mut asked: ReadRequest) -> Result<CallMeaning, ParseError> {
    let ids = ids(&mut asked.members)?;
    let via = via(head, &asked)?;
    match (&ids[..], &via) {
        ([issue], Via::Api(_)) => Ok(CallMeaning::Write(Box::new(ending(
            Subject::At(address(*issue)),
            WriteKind::Delete,
            Parameters::new(),
            via,
        )))),
        (_, Via::Api(_)) => Err(refuse("several issues are deleted one at a time: DELETE /issues/7.json")),
        (_, Via::Page(_)) => {
            Ok(CallMeaning::Write(Box::new(ending(keys(ids), WriteKind::DeleteMany, asked.members, via))))
        }
    }
}

fn ending(subject: Subject, kind: WriteKind, beside: Parameters, via: Via) -> IssueWrite {
    let wants = WriteWants::Beside("delete".to_owned());
    IssueWrite { subject, wants, kind, issue: Parameters::new(), beside, via }
}

fn create(
    project: Option<&str>,
    head: &Head<'_>,
    mut asked: ReadRequest,
    filing: bool,
) -> Result<CallMeaning, ParseError> {
    let mut members = asked.take_issue()?;
    let assignee = fields::take_from_new(&mut members)?;
    if assignee.is_none() && !filing {
        return Ok(CallMeaning::Free);
    }
    let named = project_of(project, &members);
    let via = via(head, &asked)?;
    if let Via::Page(sender) = via {
        // Whom a page assigns holds nothing by that: the issue is a foreign claim.
        return Ok(if filing { CallMeaning::Files(named, *sender) } else { CallMeaning::Free });
    }
    if let Some(project) = project {
        members.insert("project_id".to_owned(), project.into());
    }
    let wants = match assignee {
        Some(Assignee::Nobody) | None => WriteWants::Change(Change::default()),
        assignee => WriteWants::of(WantedFields { assignee, status: None }),
    };
    let (issue, beside) = (members, asked.members);
    Ok(CallMeaning::Write(Box::new(IssueWrite {
        subject: Subject::New(named),
        wants,
        kind: WriteKind::Create,
        issue,
        beside,
        via,
    })))
}

/// A session's alone: to a key Redmine says 403.
fn update_many(head: &Head<'_>, mut asked: ReadRequest) -> Result<CallMeaning, ParseError> {
    if asked.format != AnswerFormat::Page {
        return Err(refuse("Redmine's API has no bulk edit: update the issues one at a time, PUT /issues/7.json"));
    }
    let ids = ids(&mut asked.members)?;
    let mut members = asked.take_issue()?;
    let wanted = fields::take_from_many(&mut members)?;
    // Copies are new, and nobody's yet.
    let copies = asked.members.get("copy").is_some_and(|copy| !copy.as_str().is_some_and(str::is_empty));
    let moves = fields::moves(&members);
    let wants = match wanted == WantedFields::default() {
        true if copies || !moves => return Ok(CallMeaning::Free),
        false if copies => return Ok(CallMeaning::Free),
        true => WriteWants::Beside(describe_move(&members)),
        false => WriteWants::of(wanted),
    };
    let via = via(head, &asked)?;
    Ok(CallMeaning::Write(Box::new(IssueWrite {
        subject: keys(ids),
        wants,
        kind: WriteKind::UpdateMany,
        issue: members,
        beside: asked.members,
        via,
    })))
}

/// Who closes an issue closes its duplicates, too: to be made one is its holder's to decide.
fn relate(issue: u64, head: &Head<'_>, asked: ReadRequest) -> Result<CallMeaning, ParseError> {
    let Some(Value::Object(relation)) = asked.members.get("relation") else { return Ok(CallMeaning::Free) };
    let other = relation.get("issue_to_id").map(|value| match value {
        Value::String(text) => to_i(text.trim_start_matches('#')).filter(|(_, whole)| *whole).map(|(id, _)| id),
        value => value.as_u64(),
    });
    let duplicate = match relation.get("relation_type").and_then(Value::as_str) {
        Some("duplicates") => issue,
        Some("duplicated") => other.flatten().ok_or_else(|| refuse("`issue_to_id` must be the number of one issue"))?,
        _ => return Ok(CallMeaning::Free),
    };
    let via = via(head, &asked)?;
    let (wants, beside) = (WriteWants::Beside("become a duplicate".to_owned()), asked.members);
    let (subject, kind) = (Subject::At(address(duplicate)), WriteKind::Relate(issue));
    Ok(CallMeaning::Write(Box::new(IssueWrite { subject, wants, kind, issue: Parameters::new(), beside, via })))
}

/// Its issues are known by the project's number.
fn delete_project(project: &str, head: &Head<'_>, asked: &ReadRequest) -> Result<CallMeaning, ParseError> {
    let number = to_i(project).filter(|(_, whole)| *whole).map(|(number, _)| number);
    let number = number.ok_or_else(|| {
        bent("which issues end with a project is known by the project's number alone, as in DELETE /projects/1.json")
    })?;
    let sender = match via(head, asked)? {
        Via::Api(_) => None,
        Via::Page(sender) => Some(*sender),
    };
    Ok(CallMeaning::DeleteProject(Project::new(&number.to_string()), sender))
}

/// The issues that `id` or else `ids` names, taken out.
fn ids(members: &mut Parameters) -> Result<Vec<u64>, ParseError> {
    let wrong = || refuse("`ids` must be a list of the numbers of issues");
    let (one, many) = (members.shift_remove("id"), members.shift_remove("ids"));
    let all = match one.or(many) {
        Some(Value::Array(all)) => all,
        Some(one) => vec![one],
        None => return Err(wrong()),
    };
    if all.is_empty() || all.len() > MOST_ISSUES {
        return Err(refuse("a request names at least one issue, and 100 at most"));
    }
    let number = |id: &Value| match id {
        Value::String(text) => to_i(text).filter(|(_, whole)| *whole).map(|(id, _)| id),
        id => id.as_u64(),
    };
    all.iter().map(number).collect::<Option<_>>().ok_or_else(wrong)
}

/// Of one form. Each is shown to its sender first.
const MOST_ISSUES: usize = 100;
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
