//! A call that may be guarded, as `routes` found it: what its body asks for.

use super::super::json::{read_object, write_object};
use super::super::{
    GuardedRoute, Head, ParseError, Scrutiny, SideEffect, SideWrite, Subject, Understood, WireResponse,
};
use super::body::{self, IssueBody, JiraAccountMember, JiraAssignee, refuse};
use super::deployment::LearntFacts;
use super::routes::{IssuePath, JiraSite, is_project_key};
use super::write::{JiraWants, JiraWrite, JiraWriteKind, project_of};
use super::{address_of, credential, reply};
use crate::model::{Change, Project, Rejection};
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// Such a call, before its body.
#[derive(Clone, Debug)]
pub struct JiraCall {
    pub(super) site: JiraSite,
    pub(super) facts: Arc<LearntFacts>,
}

/// What a call asks for, once its body was read.
#[derive(Debug)]
pub enum JiraMeaning {
    /// Nothing guarded: it goes on as it came.
    Free,
    /// A guarded write.
    Write(Box<JiraWrite>),
    /// It ends every issue of a project.
    EndProject(Project),
}

impl GuardedRoute for JiraCall {
    fn class(&self) -> &'static str {
        match self.site {
            JiraSite::Create(_) | JiraSite::CreateMany => "create",
            JiraSite::Project(_) => "beside",
            _ => "write",
        }
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        Ok(match self.meaning(head, body, scrutiny.filing)? {
            JiraMeaning::Free => Understood::default(),
            JiraMeaning::Write(write) => Understood { guarded: Some(Arc::new(*write)), ..Understood::default() },
            JiraMeaning::EndProject(project) => {
                let beside = SideWrite { effect: SideEffect::DeleteRepository { project }, sender: None };
                Understood { beside: Some(beside), ..Understood::default() }
            }
        })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        status.is_client_error() || status.is_redirection()
    }
}

// === impl JiraCall ===

impl JiraCall {
    /// What it asks for; `filing`: whether a rule is about who files issues.
    pub(super) fn meaning(&self, head: &Head<'_>, body: &[u8], filing: bool) -> Result<JiraMeaning, ParseError> {
        match &self.site {
            JiraSite::Issue(path) if *head.method == Method::DELETE => self.delete(path, head),
            JiraSite::Issue(path) => self.edit(path, head, body),
            JiraSite::Assignee(path) => self.assign(path, head, body),
            JiraSite::Transitions(path) => self.transition(path, head, body),
            JiraSite::Create(version) => self.create(version, head, body, filing),
            JiraSite::CreateMany if filing => Err(refuse(
                "a rule limits who files issues, so that they are filed one at a time: POST /rest/api/2/issue",
            )),
            // Whom it assigns holds nothing by that: each is a foreign claim.
            JiraSite::CreateMany => Ok(JiraMeaning::Free),
            JiraSite::BulkFields => bulk_fields(head, body),
            JiraSite::Bulk => Err(refuse(NO_BULK)),
            JiraSite::Project(project) => end_project(project),
            JiraSite::Board => Err(refuse(
                "this may set whichever status the first column of the board has: set the status by POST \
                 /rest/api/2/issue/KEY/transitions",
            )),
            JiraSite::Backlog(board) => self.backlog(*board, head, body),
            JiraSite::RequestTransition(issue) => {
                body::expect_json(head)?;
                let (id, rest) = body::read_request_transition(body)?;
                let write = self.write(
                    ("2", issue, true),
                    JiraWants::Transition(id, None),
                    JiraWriteKind::RequestTransition,
                    head,
                )?;
                Ok(wrote(JiraWrite { body: IssueBody { rest, ..IssueBody::default() }, ..write }))
            }
            JiraSite::Approval(issue, approval) => {
                body::expect_json(head)?;
                let body = write_object(&read_object(body, &["decision"])?);
                let path = format!("/rest/servicedeskapi/request/{issue}/approval/{approval}");
                self.beside(("2", issue), "decide an approval", (Method::POST, path, Some(body)), head)
            }
        }
    }

    fn write(
        &self,
        (version, issue, with_transitions): (&'static str, &str, bool),
        wants: JiraWants,
        kind: JiraWriteKind,
        head: &Head<'_>,
    ) -> Result<JiraWrite, ParseError> {
        Ok(JiraWrite {
            subject: Subject::At(address_of(version, issue, with_transitions)),
            wants,
            kind,
            body: IssueBody::default(),
            query: query(head)?,
            by: None,
            facts: Arc::clone(&self.facts),
        })
    }

    /// A call of which no read shows what it does, sent as it was read.
    fn beside(
        &self,
        (version, issue): (&'static str, &str),
        what: &str,
        (method, path, body): (Method, String, Option<String>),
        head: &Head<'_>,
    ) -> Result<JiraMeaning, ParseError> {
        let kind = JiraWriteKind::Fixed { method, path, body, is_silent: false };
        Ok(wrote(self.write((version, issue, false), JiraWants::Beside(what.to_owned()), kind, head)?))
    }

    fn edit(&self, path: &IssuePath, head: &Head<'_>, body: &[u8]) -> Result<JiraMeaning, ParseError> {
        body::expect_json(head)?;
        let read = body::read_issue(body)?;
        if read.transition.is_some() {
            return Err(refuse(
                "Jira ignores `transition` here: a status is changed by POST /rest/api/2/issue/KEY/transitions",
            ));
        }
        let Some(assignee) = read.assignee.clone() else { return Ok(JiraMeaning::Free) };
        let Some(assignees) = assignee.change() else {
            if !read.fields.is_empty() || !read.update.is_empty() {
                return Err(refuse(
                    "the automatic assignee (\"-1\") is asked for by itself: PUT /rest/api/2/issue/KEY/assignee",
                ));
            }
            return self.automatic(path, &assignee, head);
        };
        let wants = JiraWants::Change(Change { assignees: Some(assignees), ..Change::default() });
        let write = self.write((path.version, &path.issue, false), wants, JiraWriteKind::Edit, head)?;
        Ok(wrote(JiraWrite { by: assignee.member(), body: read, ..write }))
    }

    fn assign(&self, path: &IssuePath, head: &Head<'_>, body: &[u8]) -> Result<JiraMeaning, ParseError> {
        body::expect_json(head)?;
        let assignee = body::read_assignee(body)?;
        let Some(assignees) = assignee.change() else { return self.automatic(path, &assignee, head) };
        let wants = JiraWants::Change(Change { assignees: Some(assignees), ..Change::default() });
        let write = self.write((path.version, &path.issue, false), wants, JiraWriteKind::Assign, head)?;
        Ok(wrote(JiraWrite { by: assignee.member(), ..write }))
    }

    /// Whoever the project's settings name: that may be anybody, and so is its holder's alone to ask for.
    fn automatic(&self, path: &IssuePath, assignee: &JiraAssignee, head: &Head<'_>) -> Result<JiraMeaning, ParseError> {
        let body = match assignee.member() {
            Some(JiraAccountMember::AccountId) => json!({ "accountId": "-1" }),
            Some(JiraAccountMember::Name) | None => json!({ "name": "-1" }),
        };
        let target = format!("/rest/api/{}/issue/{}/assignee", path.version, path.issue);
        let kind =
            JiraWriteKind::Fixed { method: Method::PUT, path: target, body: Some(body.to_string()), is_silent: true };
        let wants = JiraWants::Beside("assign automatically".to_owned());
        Ok(wrote(self.write((path.version, &path.issue, false), wants, kind, head)?))
    }

    fn transition(&self, path: &IssuePath, head: &Head<'_>, body: &[u8]) -> Result<JiraMeaning, ParseError> {
        body::expect_json(head)?;
        let read = body::read_issue(body)?;
        let id = read
            .transition
            .clone()
            .ok_or_else(|| refuse("`transition` is missing: {\"transition\": {\"id\": \"31\"}}"))?;
        let assignee = read.assignee.clone();
        if matches!(assignee, Some(JiraAssignee::Automatic(_))) {
            return Err(refuse(
                "the automatic assignee (\"-1\") is asked for by itself: PUT /rest/api/2/issue/KEY/assignee",
            ));
        }
        let by = assignee.as_ref().and_then(JiraAssignee::member);
        let wants = JiraWants::Transition(id, assignee.and_then(|assignee| assignee.change()));
        let write = self.write((path.version, &path.issue, true), wants, JiraWriteKind::Transition, head)?;
        Ok(wrote(JiraWrite { by, body: read, ..write }))
    }

    fn delete(&self, path: &IssuePath, head: &Head<'_>) -> Result<JiraMeaning, ParseError> {
        let pairs = head.target.pairs()?;
        if pairs.iter().any(|(name, value)| name == "deleteSubtasks" && value != "false") {
            return Err(refuse(
                "subtasks are deleted one at a time, since each may be somebody's: leave out deleteSubtasks",
            ));
        }
        let target = format!("/rest/api/{}/issue/{}", path.version, path.issue);
        self.beside((path.version, &path.issue), "delete", (Method::DELETE, target, None), head)
    }

    fn create(
        &self,
        version: &'static str,
        head: &Head<'_>,
        body: &[u8],
        filing: bool,
    ) -> Result<JiraMeaning, ParseError> {
        body::expect_json(head)?;
        let read = body::read_issue(body)?;
        let assignees = read.assignee.as_ref().and_then(JiraAssignee::change).filter(|set| !set.members().is_empty());
        if assignees.is_none() && !filing {
            return Ok(JiraMeaning::Free);
        }
        let project = project_of(&read.fields);
        if filing && !is_project_key(project.as_str()) {
            return Err(refuse(
                "a rule limits who files issues, by the key of the project: name it so, {\"key\": \"PROJ\"}",
            ));
        }
        let by = read.assignee.as_ref().and_then(JiraAssignee::member);
        Ok(wrote(JiraWrite {
            subject: Subject::New(project),
            wants: JiraWants::Change(Change { assignees, ..Change::default() }),
            kind: JiraWriteKind::Create(version),
            body: read,
            query: query(head)?,
            by,
            facts: Arc::clone(&self.facts),
        }))
    }

    /// Out of the sprints, and on some boards into the first status: like any move for which no rule is made.
    fn backlog(&self, board: Option<u64>, head: &Head<'_>, body: &[u8]) -> Result<JiraMeaning, ParseError> {
        body::expect_json(head)?;
        let members = read_object(body, &["issues"])?;
        let named = members.iter().find(|member| member.name == "issues").map(body::issue_names).transpose()?;
        let [issue] = &named.unwrap_or_default()[..] else {
            return Err(refuse(
                "issues are moved to the backlog one at a time, since each may be somebody's: name one",
            ));
        };
        let issue = super::routes::issue_name(issue)
            .ok_or_else(|| refuse("`issues` must name an issue by its key or its id"))?;
        let path = board.map_or_else(
            || "/rest/agile/1.0/backlog/issue".to_owned(),
            |board| format!("/rest/agile/1.0/backlog/{board}/issue"),
        );
        let call = (Method::POST, path, Some(write_object(&members)));
        self.beside(("2", &issue), "move to the backlog", call, head)
    }
}

fn wrote(write: JiraWrite) -> JiraMeaning {
    JiraMeaning::Write(Box::new(write))
}

/// Fields that nobody is kept from are free, however many issues they are set of.
fn bulk_fields(head: &Head<'_>, body: &[u8]) -> Result<JiraMeaning, ParseError> {
    body::expect_json(head)?;
    let members = read_object(body, &["selectedActions", "editedFieldsInput", "selectedIssueIdsOrKeys"])?;
    let is_about = |wanted: &str| {
        members.iter().any(|member| super::super::json::fold_text(&body::value_of(member).to_string()).contains(wanted))
    };
    if is_about("\"assignee\"") || is_about("\"status\"") {
        return Err(refuse(NO_BULK));
    }
    Ok(JiraMeaning::Free)
}

/// Its issues are known by the project's key.
fn end_project(project: &str) -> Result<JiraMeaning, ParseError> {
    if !is_project_key(project) {
        return Err(refuse(
            "which issues end with a project is known by its key alone, as in /rest/api/2/project/PROJ",
        ));
    }
    Ok(JiraMeaning::EndProject(Project::new(project)))
}

/// Each parameter once, without those that say who sends.
fn query(head: &Head<'_>) -> Result<Option<String>, ParseError> {
    if head.target.query().is_none_or(str::is_empty) {
        return Ok(None);
    }
    let pairs = head.target.pairs()?;
    let kept = pairs.iter().filter(|(name, _)| !credential::is_parameter(name));
    Ok(Some(form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()))
}

const NO_BULK: &str = "Jira carries this out later and issue by issue, so that nobody could be told who got which: change the assignee, the \
    status or the place of one issue at a time";
