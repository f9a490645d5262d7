//! Calls and forms whose effect is on items that they do not name (manual: forgejo, sections 1.6 and 1.8).

use super::super::json::{Member, fold_name, read_object};
use super::super::target::join;
use super::super::{
    Address, Credential, Head, LabelEdit, LabelOwner, LabelState, Listed, ParseError, PullBranches, Sender, SideEffect,
    SideEffects, SideWrite, WireRequest, WireResponse, form,
};
use super::encoding::{Encoding, SEND_JSON, encoding, multipart_fields};
use super::location;
use super::location::Location;
use super::path_names::names;
use super::side_route::{SideForm, SideRoute};
use super::web_form::{FormRoute, WebAct};
use super::write::{Scope, Write, WriteForm};
use super::{Forgejo, emit, parse, read, web};
use crate::model::{ItemKind, Place, Project, TagRef};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

impl SideEffects for Forgejo {
    fn read_project(&self, project: &Project, credential: &Credential) -> Option<WireRequest> {
        Some(emit::get(location::below(project, &[]), credential))
    }

    fn parent(&self, response: &WireResponse) -> Option<Option<Project>> {
        let row = read::object(response).ok().filter(|_| response.status == StatusCode::OK)?;
        let parent = row.get("parent").and_then(Value::as_object);
        Some(parent.and_then(full_name))
    }

    fn branches(&self, project: &Project, response: &WireResponse) -> Option<PullBranches> {
        let row = read::object(response).ok().filter(|_| response.status == StatusCode::OK)?;
        pull_branches(project, &row)
    }

    fn listed_branches(&self, project: &Project, response: &WireResponse) -> Option<Listed<PullBranches>> {
        let rows = read::json(response).ok().filter(|_| response.status == StatusCode::OK)?;
        let rows = rows.as_array()?;
        let found = rows.iter().map(|row| pull_branches(project, row.as_object()?)).collect::<Option<_>>()?;
        let total = response.headers.get("x-total-count").and_then(|value| value.to_str().ok()?.parse().ok());
        Some(Listed { found, rows: rows.len(), total })
    }

    fn read_label(&self, owner: &LabelOwner, label: &TagRef, credential: &Credential) -> Option<WireRequest> {
        let label = match label {
            TagRef::Id(id) => id.to_string(),
            TagRef::Name(name) => name.clone(),
        };
        let path = match owner {
            LabelOwner::Project(project) => location::below(project, &["labels", &label]),
            LabelOwner::Organisation(name) => join(&["api", "v1", "orgs", name, "labels", &label]),
        };
        Some(emit::get(path, credential))
    }

    fn label(&self, response: &WireResponse) -> Option<LabelState> {
        let row = read::object(response).ok().filter(|_| response.status == StatusCode::OK)?;
        let flag = |name| row.get(name).and_then(Value::as_bool).unwrap_or(false);
        let name = row.get("name")?.as_str()?.to_owned();
        Some(LabelState { name, exclusive: flag("exclusive"), archived: flag("is_archived") })
    }

    fn shown_ref(&self, response: &WireResponse) -> Option<String> {
        Some(read::object(response).ok()?.get("ref").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

// === what is asked by the API ===

/// None where the path names nothing that the tracker could have: it will say so.
/// What the call does beside; none: nothing that anybody guards.
pub(super) fn parse(route: &SideRoute, head: &Head<'_>, body: &[u8]) -> Result<Option<SideWrite>, ParseError> {
    if route.form.is_web() {
        return of_web(route, head, body);
    }
    Ok(of_api(route, head, body)?.map(|effect| SideWrite { effect, sender: None }))
}

/// What an edit of an item says about whose push may close it, if it says anything.
pub(super) fn edits_ref(write: &Write, head: &Head<'_>, body: &[u8]) -> Option<SideWrite> {
    let Scope::Item(item) = &write.scope else { return None };
    let names_one = write.form == WriteForm::EditIssue && body.windows(5).any(|part| part == b"\"ref\"");
    let intent = names_one.then(|| parse::understand(write, head, body).ok())??;
    let wanted = value(&intent.rest, "ref")?.as_str()?.to_owned();
    Some(SideWrite { effect: SideEffect::EditRef { item: item.clone(), wanted }, sender: None })
}

/// The new item that a form files, if it files one.
pub(super) fn files_item(route: &FormRoute, head: &Head<'_>, body: &[u8]) -> Option<SideWrite> {
    let files = matches!(route.form.act, WebAct::New | WebAct::Compare);
    let form = files.then(|| web::pairs(head, body).ok().map(Form))??;
    let sender = web::sender(head.headers, form.one("_csrf").ok()?.map(str::to_owned)).ok()?;
    Some(SideWrite { effect: SideEffect::File { project: route.project.clone() }, sender: Some(sender) })
}

/// Whether the answer to such a form says that nothing was filed.
pub(super) fn refuses_filing(status: StatusCode, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match status.as_u16() {
        // The form again, with what is wrong with it. A script gets JSON, with where the new item is.
        200..=299 => text(CONTENT_TYPE).starts_with("text/html"),
        300..=399 => text(LOCATION).split(['?', '#']).next().is_some_and(|path| path.ends_with("/user/login")),
        status => (400..=499).contains(&status),
    }
}

fn of_api(route: &SideRoute, head: &Head<'_>, body: &[u8]) -> Result<Option<SideEffect>, ParseError> {
    let segments: Vec<&str> = route.segments.iter().map(String::as_str).collect();
    if let ["api", "v1", "orgs", owner, "labels", id] = segments[..] {
        let (Some(label), owner) = (number(id).map(TagRef::number), LabelOwner::Organisation(owner.to_owned())) else {
            return Ok(None);
        };
        let edit = match route.form {
            SideForm::DeleteSharedLabel => LabelEdit::Delete,
            _ => edited(head, body)?,
        };
        return Ok(Some(SideEffect::EditLabel { owner, label, edit }));
    }
    let ["api", "v1", "repos", owner, repo, ref rest @ ..] = segments[..] else { return Ok(None) };
    let Ok((owner, repo)) = names(owner, repo) else { return Ok(None) };
    let project = location::project(&owner, &repo);
    let item = |id: &str| Some(location::issue(&owner, &repo, number(id)?));
    let label = |id: &str, edit| {
        number(id).map(|label| SideEffect::EditLabel {
            owner: LabelOwner::Project(project.clone()),
            label: TagRef::number(label),
            edit,
        })
    };
    Ok(match (route.form, rest) {
        (SideForm::DeleteRepository, []) => Some(SideEffect::DeleteRepository { project }),
        (SideForm::DeleteBranch, ["branches", name @ ..]) => {
            Some(SideEffect::DeleteBranch { project, branch: name.join("/") })
        }
        (SideForm::DeleteLabel, ["labels", id]) => label(id, LabelEdit::Delete),
        (SideForm::EditLabel, ["labels", id]) => label(id, edited(head, body)?),
        (SideForm::DependOn, ["issues", id, ..]) => item(id).map(|item| SideEffect::AddDependency { item }),
        (SideForm::Block, ["issues", id, ..]) => match item(id) {
            Some(item) => blocked(&item, head, body)?.map(|item| SideEffect::AddDependency { item }),
            None => None,
        },
        _ => None,
    })
}

/// A number as the tracker's router reads it: a plus and leading zeros are fine.
fn number(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())
}

/// The members of a body, each of which has one reading. Without a type the tracker reads the query of a PATCH.
fn members(head: &Head<'_>, body: &[u8], watched: &[&str]) -> Result<Vec<Member>, ParseError> {
    let pairs = match encoding(head.headers)? {
        Encoding::Json => return read_object(body, watched),
        Encoding::Form if !body.is_empty() => form::read_pairs(body)?,
        Encoding::Multipart => {
            multipart_fields(head.headers, body).ok_or_else(|| ParseError::UnsupportedEncoding(SEND_JSON.to_owned()))?
        }
        Encoding::Form | Encoding::Unnamed => form::read_query(head.target.query())?,
    };
    let form = Form(pairs);
    let mut members = Vec::new();
    for name in watched {
        let Some(text) = form.one(name)? else { continue };
        let value = match text {
            "true" | "on" | "1" => Value::from(true),
            "false" | "0" => Value::from(false),
            text => Value::from(text),
        };
        members.push(Member::new(name, &value));
    }
    Ok(members)
}

fn value(members: &[Member], name: &str) -> Option<Value> {
    let member = members.iter().find(|member| member.name == name)?;
    serde_json::from_str(member.value.get()).ok().filter(|value: &Value| !value.is_null())
}

fn edited(head: &Head<'_>, body: &[u8]) -> Result<LabelEdit, ParseError> {
    let members = members(head, body, &["name", "color", "description", "exclusive", "is_archived"])?;
    let flag = |name| value(&members, name).and_then(|value| value.as_bool());
    let name = value(&members, "name").and_then(|name| name.as_str().map(str::to_owned));
    Ok(LabelEdit::Change { name, exclusive: flag("exclusive"), archived: flag("is_archived") })
}

/// The item that the body names, in the repository of the path unless it names another.
fn blocked(item: &Address, head: &Head<'_>, body: &[u8]) -> Result<Option<Address>, ParseError> {
    let members = members(head, body, &["index", "owner", "repo"])?;
    let Some(number) = value(&members, "index").and_then(|index| index.as_u64()) else { return Ok(None) };
    let text = |name| value(&members, name).and_then(|value| value.as_str().map(str::to_owned));
    let at = Location::of(item);
    let owner = text("owner").unwrap_or_else(|| at.owner.to_owned());
    let repo = text("repo").unwrap_or_else(|| at.repo.to_owned());
    Ok(names(&owner, &repo).ok().map(|(owner, repo)| location::issue(&owner, &repo, number)))
}

// === what is asked by a form ===

fn of_web(route: &SideRoute, head: &Head<'_>, body: &[u8]) -> Result<Option<SideWrite>, ParseError> {
    let form = Form(web::pairs(head, body)?);
    let [owner, repo, rest @ ..] = &route.segments[..] else { return Ok(None) };
    let repo = repo.strip_suffix(".git").unwrap_or(repo);
    let Ok((owner, repo)) = names(owner, repo) else { return Ok(None) };
    let item = |kind| {
        let number = rest.get(1).and_then(|text| number(text))?;
        Some(location::address(&owner, &repo, number, kind))
    };
    let project = location::project(&owner, &repo);
    // `/org/{name}/settings/labels/…`
    let of_organisation = || LabelOwner::Organisation(repo.clone());
    let effect = match route.form {
        SideForm::WebDeleteBranch => {
            form.one("name")?.map(|branch| SideEffect::DeleteBranch { project, branch: branch.to_owned() })
        }
        SideForm::WebCleanUp => item(ItemKind::Pull).map(|pull| SideEffect::CleanUp { pull }),
        SideForm::WebSettings => {
            let deletes = form.one("action")? == Some("delete");
            deletes.then_some(SideEffect::DeleteRepository { project })
        }
        SideForm::WebEditLabel => form.label(LabelOwner::Project(project), true)?,
        SideForm::WebDeleteLabel => form.label(LabelOwner::Project(project), false)?,
        SideForm::WebEditSharedLabel => form.label(of_organisation(), true)?,
        SideForm::WebDeleteSharedLabel => form.label(of_organisation(), false)?,
        SideForm::WebDependency => item(ItemKind::Issue).map(|item| SideEffect::AddDependency { item }),
        SideForm::WebRef => {
            let wanted = form.one("ref")?.unwrap_or_default().to_owned();
            item(ItemKind::Issue).map(|item| SideEffect::EditRef { item, wanted })
        }
        _ => None,
    };
    let Some(effect) = effect else { return Ok(None) };
    let sender: Sender = web::sender(head.headers, form.one("_csrf")?.map(str::to_owned))?;
    Ok(Some(SideWrite { effect, sender: Some(sender) }))
}

/// The fields of a form, body first.
struct Form(Vec<(String, String)>);

impl Form {
    /// The value of this name, which stands once and in this spelling.
    fn one(&self, name: &str) -> Result<Option<&str>, ParseError> {
        let mut alike = self.0.iter().filter(|(given, _)| fold_name(given) == fold_name(name));
        match (alike.next(), alike.next()) {
            (None, _) => Ok(None),
            (Some((given, value)), None) if given == name => Ok(Some(value)),
            _ => Err(ParseError::Ambiguous(format!("the field `{name}` may be read in two ways: send it once"))),
        }
    }

    fn label(&self, owner: LabelOwner, edits: bool) -> Result<Option<SideEffect>, ParseError> {
        let Some(label) = self.one("id")?.and_then(number).map(TagRef::number) else { return Ok(None) };
        let flag =
            |name| Ok::<_, ParseError>(self.one(name)?.is_some_and(|value| !matches!(value, "" | "false" | "0")));
        let edit = if edits {
            let name = self.one("title")?.map(str::to_owned);
            // A box that is not ticked is not sent.
            LabelEdit::Change { name, exclusive: Some(flag("exclusive")?), archived: Some(flag("is_archived")?) }
        } else {
            LabelEdit::Delete
        };
        Ok(Some(SideEffect::EditLabel { owner, label, edit }))
    }
}

// === what is read ===

fn full_name(repository: &Map<String, Value>) -> Option<Project> {
    let (owner, repo) = repository.get("full_name")?.as_str()?.split_once('/')?;
    Some(location::project(owner, repo))
}

fn pull_branches(project: &Project, row: &Map<String, Value>) -> Option<PullBranches> {
    let branch = |side: &str| row.get(side).and_then(Value::as_object);
    let name = |side: &Map<String, Value>| side.get("ref").and_then(Value::as_str).map(str::to_owned);
    let head = branch("head").and_then(|head| {
        let project = head.get("repo").and_then(Value::as_object).and_then(full_name)?;
        Some((project, name(head)?))
    });
    let number = read::number(row, "number").ok()?;
    let at = Place::numbered(project, number);
    Some(PullBranches { at, head, base: branch("base").and_then(name).unwrap_or_default() })
}
