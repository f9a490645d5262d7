//! Calls whose effect is on items that they do not name: an edited label, a deleted branch or repository (manual: github,
//! section 2).

use super::super::json::read_object;
use super::super::{
    Credential, GuardedRoute, Head, LabelEdit, LabelOwner, LabelState, Listed, ParseError, PullBranches, Scrutiny,
    SideEffect, SideEffects, SideWrite, Understood, WireRequest, WireResponse,
};
use super::location::RepoPath;
use super::routes::BesideForm;
use super::settings::RefusalStatus;
use super::{GitHub, emit, list, node, read, reply};
use crate::model::{Place, Project, Rejection, TagId, TagRef};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

/// Such a call, before its body.
#[derive(Clone, Debug)]
pub struct BesideRoute {
    pub(super) form: BesideForm,
    pub(super) repo: RepoPath,
    pub(super) refusal: RefusalStatus,
}

#[derive(Deserialize)]
struct ForkRow {
    parent: Option<ParentRow>,
}

#[derive(Deserialize)]
struct ParentRow {
    full_name: String,
}

#[derive(Deserialize)]
struct PullRow {
    number: u64,
    head: BranchRow,
    base: BranchRow,
}

#[derive(Deserialize)]
struct BranchRow {
    #[serde(rename = "ref")]
    name: String,
    /// None: it is gone.
    repo: Option<ParentRow>,
}

#[derive(Deserialize)]
struct LabelName {
    name: String,
}

impl GuardedRoute for BesideRoute {
    fn class(&self) -> &'static str {
        "beside"
    }

    fn understand(&self, _head: &Head<'_>, body: &[u8], _scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let project = self.repo.project.clone();
        let label = |name: &String, edit| {
            let (owner, label) = (LabelOwner::Project(project.clone()), TagRef::Name(name.clone()));
            SideEffect::EditLabel { owner, label, edit }
        };
        let effect = match &self.form {
            BesideForm::DeleteRepository => SideEffect::DeleteRepository { project },
            BesideForm::DeleteBranch(branch) => SideEffect::DeleteBranch { project, branch: branch.clone() },
            BesideForm::DeleteLabel(name) => label(name, LabelEdit::Delete),
            BesideForm::EditLabel(name) => label(name, edited(body)?),
        };
        Ok(Understood { beside: Some(SideWrite { effect, sender: None }), ..Understood::default() })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision, self.refusal)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}

/// `new_name`, or `name` as older clients write it.
fn edited(body: &[u8]) -> Result<LabelEdit, ParseError> {
    let unchanged = LabelEdit::Change { name: None, exclusive: None, archived: None };
    if body.trim_ascii().is_empty() {
        return Ok(unchanged);
    }
    let members = read_object(body, &["new_name", "name"])?;
    let named = ["new_name", "name"].iter().find_map(|wanted| members.iter().find(|member| member.name == *wanted));
    match named.map(|member| serde_json::from_str(member.value.get())) {
        None | Some(Ok(Value::Null)) => Ok(unchanged),
        Some(Ok(Value::String(name))) => Ok(LabelEdit::Change { name: Some(name), exclusive: None, archived: None }),
        Some(_) => Err(ParseError::Ambiguous("the label's new name must be a text".to_owned())),
    }
}

impl SideEffects for GitHub {
    fn read_project(&self, project: &Project, credential: &Credential) -> Option<WireRequest> {
        Some(emit::get(list::below(project, &[]), credential))
    }

    fn parent(&self, response: &WireResponse) -> Option<Option<Project>> {
        let row = read::typed::<ForkRow>(response).ok().filter(|_| response.status == StatusCode::OK)?;
        Some(row.parent.map(|parent| Project::new(&parent.full_name)))
    }

    fn branches(&self, project: &Project, response: &WireResponse) -> Option<PullBranches> {
        let row = read::typed::<PullRow>(response).ok().filter(|_| response.status == StatusCode::OK)?;
        Some(row.branches(project))
    }

    fn listed_branches(&self, project: &Project, response: &WireResponse) -> Option<Listed<PullBranches>> {
        let rows = read::typed::<Vec<PullRow>>(response).ok().filter(|_| response.status == StatusCode::OK)?;
        let found: Vec<PullBranches> = rows.into_iter().map(|row| row.branches(project)).collect();
        Some(Listed { rows: found.len(), found, total: None })
    }

    fn read_label(&self, owner: &LabelOwner, label: &TagRef, credential: &Credential) -> Option<WireRequest> {
        match (owner, label) {
            (LabelOwner::Project(project), TagRef::Name(name)) => {
                Some(emit::get(list::below(project, &["labels", name]), credential))
            }
            (_, TagRef::Id(TagId::Text(id))) => Some(node::ask(id, credential)),
            _ => None,
        }
    }

    fn label(&self, response: &WireResponse) -> Option<LabelState> {
        let row = read::typed::<LabelName>(response).ok().filter(|_| response.status == StatusCode::OK);
        let name = row.map(|row| row.name).or_else(|| node::label(response))?;
        Some(LabelState { name, exclusive: false, archived: false })
    }
}

impl PullRow {
    fn branches(self, project: &Project) -> PullBranches {
        let head = self.head.repo.map(|repo| (Project::new(&repo.full_name), self.head.name));
        PullBranches { at: Place::numbered(project, self.number), head, base: self.base.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<Option<&str>, &str>) {
        match (edited(body.as_bytes()), expected) {
            (Ok(LabelEdit::Change { name, .. }), Ok(wanted)) => assert_eq!(name.as_deref(), wanted, "{body}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{body}: {error}"),
            (edit, _) => panic!("{body}: {edit:?}"),
        }
    }

    #[test]
    fn what_a_label_is_renamed_to() {
        check(r#"{"new_name":"done","color":"f00"}"#, Ok(Some("done")));
        check(r#"{"name":"done"}"#, Ok(Some("done")));
        check(r#"{"color":"f00"}"#, Ok(None));
        check("", Ok(None));
        check(r#"{"new_name":5}"#, Err("a text"));
        check(r#"{"new_name":"a","new_name":"b"}"#, Err("twice"));
    }
}
