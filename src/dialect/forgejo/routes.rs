//! Which requests change guarded fields: one table, first match wins.
//!
//! The table is matched on readings of a path (folded, decoded); whoever rewrites the path on its way could follow any
//! of them. A path with two readings passes only if every reading does. Source: manual: forgejo, sections 1.2
//! to 1.8 and 8, and the routers of Gitea 1.15 and Forgejo 7 to 17.

use super::super::target::{is_plain, pieces};
use super::super::{Address, Glance, Head, ParseError, Shows, Target};
use super::call::Call;
use super::path_names::{bent, names, plain_number};
use super::side_route::{SideForm, SideRoute};
use super::web_form::{self, WebAct};
use super::write::{Scope, Write, WriteForm};
use super::{location, unknown};
use crate::model::ItemKind;
use http::Method;

/// What the head of this request says.
pub fn classify(head: &Head<'_>) -> Call {
    let target = head.target;
    if is_internal(target) {
        return Call::Refuse(ParseError::UnknownRoute("/api/internal is not served through the gate".into()));
    }
    match *head.method {
        Method::GET => read(target),
        Method::HEAD | Method::OPTIONS => Call::Pass,
        _ => match (write(head.method, target), side_effect(head.method, target)) {
            (Call::Pass, Some(route)) => Call::SideEffect(route),
            (route, _) => route,
        },
    }
}

/// The item that a read of exactly `R/issues/{n}` or `R/pulls/{n}` answers with.
pub fn item_of(head: &Head<'_>) -> Option<Address> {
    match classify(head) {
        Call::Read { address, shows: Shows::Item | Shows::Items(_), .. } => address,
        _ => None,
    }
}

/// Whether a request may change what labels there are: any that writes below something called `labels`.
pub fn defines_labels(head: &Head<'_>) -> bool {
    !head.method.is_safe() && head.target.readings().any(|reading| reading.iter().any(|segment| segment == "labels"))
}

/// What becomes of a mutating request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Pass,
    /// A form of the web UI that changes guarded fields.
    Web(WebAct),
    Guard(WriteForm),
    /// A creation that a rule may allow only once; elsewhere it passes.
    Once(WriteForm),
    /// It changes guarded fields of items that it does not name.
    Side(SideForm),
    Refuse,
}

/// Methods (`|` between them, `*` for every one), pattern, act.
struct Row(&'static str, &'static str, Act);

/// Whether it leads to what the forge's own hooks call. Nearly every path is plain, and is not decoded for this.
fn is_internal(target: &Target) -> bool {
    match target.plain_pieces() {
        Some(pieces) => {
            let mut before = "";
            pieces.take(LONGEST_SUB_PATH + 2).any(|piece| {
                let is = before.eq_ignore_ascii_case("api") && piece.eq_ignore_ascii_case("internal");
                before = piece;
                is
            })
        }
        None => target.readings().any(|reading| tails(reading).any(|tail| starts_with(tail, &["api", "internal"]))),
    }
}

/// What the path of a GET says at a glance: a plain one that begins neither as an item's nor as what is refused passes.
pub fn glance(path: &str) -> Glance {
    if !is_plain(path) {
        return Glance::Unsure;
    }
    let mut pieces = pieces(path);
    let first: [&str; LONGEST_SUB_PATH + 2] = std::array::from_fn(|_| pieces.next().unwrap_or_default());
    match first {
        ["api", "v1", "repos", _] => Glance::Read,
        _ if first.iter().any(|piece| piece.eq_ignore_ascii_case("internal")) => Glance::Unsure,
        _ => Glance::Pass,
    }
}

fn read(target: &Target) -> Call {
    if target.ambiguity().is_some() {
        return Call::Pass;
    }
    match target.plain_pieces() {
        Some(pieces) => {
            let (mut first, mut count) = ([""; MOST_PIECES], 0);
            for piece in pieces.take(MOST_PIECES) {
                first[count] = piece;
                count += 1;
            }
            read_of(&first[..count])
        }
        None => read_of(&target.segments().iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// Of a path with one reading; only its first pieces count.
fn read_of(segments: &[&str]) -> Call {
    let ["api", "v1", "repos", owner, repo, kind @ ("issues" | "pulls"), rest @ ..] = segments else {
        return Call::Pass;
    };
    let Ok((owner, repo)) = names(owner, repo) else { return Call::Pass };
    let (kind, project) = (*kind, location::project(&owner, &repo));
    match rest.first().map(|number| plain_number(number)) {
        None => Call::Read { project, address: None, shows: listed(kind) },
        Some(Some(number)) => {
            let shows = match (rest.len(), kind) {
                (1, "pulls") => Shows::Items(ItemKind::Pull),
                (1, _) => Shows::Item,
                // Comments and the like are shown by rules of their own.
                _ => Shows::Beside,
            };
            let address = location::address(&owner, &repo, number, location::kind_of(kind));
            Call::Read { project, address: Some(address), shows }
        }
        Some(None) => Call::Pass,
    }
}

/// What a list shows. One of issues is empty for whoever may read none, and a 200 all the same.
fn listed(kind: &str) -> Shows {
    if kind == "pulls" { Shows::Items(ItemKind::Pull) } else { Shows::Beside }
}

fn write(method: &Method, target: &Target) -> Call {
    if let Some(removal) = named_label(method, target) {
        return removal.map_or_else(Call::Refuse, Call::Write);
    }
    let row = find(method, target.shadow_segments());
    match (target.ambiguity(), row) {
        (Some(why), _) if !target.readings().all(|reading| is_harmless(method, reading)) => Call::Refuse(bent(why)),
        // Not a path at all: nobody can say what an intermediary makes of it.
        (Some(why), _) if !target.path().starts_with('/') => Call::Refuse(bent(why)),
        (Some(why), _) if target.readings().any(|reading| is_once(method, reading)) => Call::Once(Err(bent(why))),
        (None, Some(Row(_, pattern, Act::Once(form)))) => Call::Once(guarded(*form, pattern, target)),
        (None, _) if is_below_a_path(method, target.shadow_segments()) => {
            Call::Refuse(ParseError::UnknownRoute(BELOW_A_PATH.to_owned()))
        }
        (None, None | Some(Row(_, _, Act::Pass | Act::Side(_) | Act::Web(_))))
            if is_once(method, target.shadow_segments()) =>
        {
            Call::Once(Err(ParseError::UnknownRoute(BELOW_A_PATH.to_owned())))
        }
        (None, Some(Row(_, _, Act::Web(WebAct::Unknown)))) if unknown::path_names_guarded(target.shadow_segments()) => {
            Call::Refuse(not_known(method, target))
        }
        (None, Some(Row(_, _, Act::Web(act)))) => web_form::route(*act, target).map_or_else(Call::Refuse, Call::Form),
        (Some(_), _) | (None, None | Some(Row(_, _, Act::Pass | Act::Side(_)))) => Call::Pass,
        (None, Some(Row(_, _, Act::Refuse))) => Call::Refuse(not_known(method, target)),
        (None, Some(Row(_, pattern, Act::Guard(form)))) => match guarded(*form, pattern, target) {
            Ok(write) => Call::Write(write),
            Err(error) => Call::Refuse(error),
        },
    }
}

/// What the path names as the tracker's router reads it: decoded once, its slashes within a name included.
fn side_effect(method: &Method, target: &Target) -> Option<SideRoute> {
    match find(method, target.segments()) {
        Some(Row(_, _, Act::Side(form))) => Some(SideRoute { form: *form, segments: target.segments().to_vec() }),
        _ => None,
    }
}

/// The removal of a label whose name must be encoded: scoped ones have a slash. Only this last part may be written so, since it
/// is sent on in the one form that every router decodes once.
fn named_label(method: &Method, target: &Target) -> Option<Result<Write, ParseError>> {
    const PATTERN: &str = "R/issues/{n}/labels/{}";
    target.ambiguity()?;
    let (front, last) = target.split_last();
    let front = Target::parse(front);
    let is_last = front.shadow_segments().len() + 1 == parts(PATTERN).count();
    if method != Method::DELETE || front.ambiguity().is_some() || !is_last {
        return None;
    }
    let whole: Vec<String> = front.shadow_segments().iter().cloned().chain([String::new()]).collect();
    if !matches(PATTERN, &whole) {
        return None;
    }
    let name = target.segments().last()?;
    // A path parameter and dots are an intermediary's to read, and a broken escape is nobody's.
    let is_name = Target::parse(&format!("/{last}")).is_name()
        && !last.contains(';')
        && name.split('/').all(|piece| !matches!(piece, "" | "." | ".."));
    is_name.then(|| guarded(WriteForm::RemoveLabel, PATTERN, target))
}

/// The path, and what is left of it should its front be a sub-path below which the tracker is served.
fn tails(reading: &[String]) -> impl Iterator<Item = &[String]> {
    (0..=LONGEST_SUB_PATH).filter_map(|front| reading.get(front..))
}

fn is_below_a_path(method: &Method, reading: &[String]) -> bool {
    let guarded = |tail: &[String]| matches!(find(method, tail), Some(Row(_, _, Act::Guard(_) | Act::Refuse)));
    tails(reading).skip(1).any(|tail| starts_with(tail, &["api", "v1"]) && guarded(tail))
}

/// No reading of the path may come near a guarded field: only rows that say so, and what lies elsewhere.
fn is_harmless(method: &Method, reading: &[String]) -> bool {
    if is_below_a_path(method, reading) {
        return false;
    }
    match find(method, reading) {
        Some(Row(_, _, act)) => matches!(act, Act::Pass | Act::Once(_) | Act::Side(_)),
        None => !starts_with(reading, &["api", "v1", "repos"]),
    }
}

fn is_once(method: &Method, reading: &[String]) -> bool {
    tails(reading).any(|tail| matches!(find(method, tail), Some(Row(_, _, Act::Once(_)))))
}

fn guarded(form: WriteForm, pattern: &str, target: &Target) -> Result<Write, ParseError> {
    let segments = target.segments();
    if !spelled(pattern, segments) {
        return Err(bent("its fixed parts are not spelled in lower case"));
    }
    let [_, _, _, owner, repo, kind, rest @ ..] = segments else { return Err(bent("it is too short")) };
    let (owner, repo) = names(owner, repo)?;
    let Some(number) = rest.first() else {
        return Ok(Write { scope: Scope::Create(location::project(&owner, &repo)), form });
    };
    let number = plain_number(number).ok_or_else(|| bent("its number is not written plainly, as in /issues/7"))?;
    let form = match (form, rest.get(2)) {
        (WriteForm::SubmitReview(_), Some(id)) => {
            WriteForm::SubmitReview(plain_number(id).ok_or_else(|| bent("the review's number is not written plainly"))?)
        }
        (form, _) => form,
    };
    let address = location::address(&owner, &repo, number, location::kind_of(kind));
    Ok(Write { scope: Scope::Item(address), form })
}

fn not_known(method: &Method, target: &Target) -> ParseError {
    let path = super::super::json::shorten(target.path());
    ParseError::UnknownRoute(format!(
        "{method} {path} is not a call that the gate knows, and it stands where guarded fields can be changed: use one of \
         the tracker's documented calls"
    ))
}

fn find(method: &Method, reading: &[String]) -> Option<&'static Row> {
    ROUTES.iter().find(|Row(methods, pattern, _)| {
        (*methods == "*" || methods.split('|').any(|known| known == method.as_str())) && matches(pattern, reading)
    })
}

fn starts_with(reading: &[String], prefix: &[&str]) -> bool {
    reading.len() >= prefix.len() && reading.iter().zip(prefix).all(|(segment, literal)| segment == literal)
}

/// The pattern's parts, its first one spelled out.
fn parts(pattern: &str) -> impl Iterator<Item = &str> {
    let (head, tail) = pattern.split_once('/').unwrap_or((pattern, ""));
    let head: &[&str] = match head {
        "R" => &["api", "v1", "repos", "{}", "{}"],
        "W" => &["{owner}", "{}"],
        "A" => &["api", "v1"],
        "O" => &["org", "{}", "settings"],
        // Matches nothing; a test holds that no row begins so.
        _ => &["\0"],
    };
    head.iter().copied().chain(tail.split('/').filter(|part| !part.is_empty()))
}

fn matches(pattern: &str, reading: &[String]) -> bool {
    let mut rest = reading.iter();
    for part in parts(pattern) {
        match (part, rest.next()) {
            ("**", _) => return true,
            (part, Some(segment)) if part_matches(part, segment) => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

fn part_matches(part: &str, segment: &str) -> bool {
    match part {
        "{}" => true,
        // Anything that the tracker's router could take for a number; `plain_number` is stricter.
        "{n}" => {
            let digits = segment.strip_prefix('+').unwrap_or(segment);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        // Forgejo 7 to 13 do not anchor this pattern.
        "{type}" => segment.starts_with("issues") || segment.ends_with("pulls"),
        "{owner}" => !RESERVED.contains(&segment),
        literal => literal == segment,
    }
}

/// Whether the fixed parts are byte for byte those of the pattern.
fn spelled(pattern: &str, segments: &[String]) -> bool {
    parts(pattern).zip(segments).all(|(part, segment)| part.starts_with('{') || part == segment)
}

/// As many pieces of a path are looked at to tell what a read is about: one more than an item's has.
const MOST_PIECES: usize = ITEM_SEGMENTS + 1;

/// Segments of a sub-path that the gate looks behind.
const LONGEST_SUB_PATH: usize = 2;

const BELOW_A_PATH: &str = "a guarded call stands below a sub-path: ask the gate without it, and if the tracker is served \
    below one, put it into `upstream.url`";

/// Of `api/v1/repos/{owner}/{repo}/issues/{n}`.
const ITEM_SEGMENTS: usize = 7;

/// First segments that are no owner: `/v2/<image>/…` and `/api/packages/…` can look like an issue path.
const RESERVED: &[&str] = &[
    "admin",
    "api",
    "assets",
    "attachments",
    "avatars",
    "captcha",
    "explore",
    "login",
    "metrics",
    "notifications",
    "org",
    "repo",
    "repo-avatars",
    "user",
    "v2",
];

use Act::{Guard, Once, Pass, Refuse, Side, Web};
use WriteForm::{
    AddAssignees, AddLabels, AddReviewers, ClearLabels, CreateIssue, CreatePull, CreateReview, EditIssue, EditPull,
    RemoveAssignees, RemoveLabel, RemoveReviewers, ReplaceLabels, SubmitReview,
};

/// `A` is `/api/v1`, `R` is `/api/v1/repos/{owner}/{repo}`, `W` is `/{owner}/{repo}` of the web UI, `O` the settings of an
/// organisation there. `{}` is one segment, `{n}` a number, `{type}` the web's `issues` or `pulls`, `**` the rest. What no row names lies elsewhere and passes.
#[rustfmt::skip]
const ROUTES: &[Row] = &[
    // --- API: assignee, labels, state, creation -------------------------------------------------------------------
    Row("POST", "R/issues", Guard(CreateIssue)),
    Row("PATCH", "R/issues/{n}", Guard(EditIssue)),
    Row("POST", "R/issues/{n}/assignees", Guard(AddAssignees)),         // Gitea 1.27
    Row("DELETE", "R/issues/{n}/assignees", Guard(RemoveAssignees)),    // Gitea 1.27
    Row("POST", "R/issues/{n}/labels", Guard(AddLabels)),
    Row("PUT", "R/issues/{n}/labels", Guard(ReplaceLabels)),
    Row("DELETE", "R/issues/{n}/labels", Guard(ClearLabels)),
    Row("DELETE", "R/issues/{n}/labels/{}", Guard(RemoveLabel)),
    Row("POST", "R/pulls", Guard(CreatePull)),
    Row("PATCH", "R/pulls/{n}", Guard(EditPull)),

    // --- API: all else about one item -----------------------------------------------------------------------------
    Row("DELETE", "R/issues/{n}", Pass),                                // repository admins only
    Row("POST", "R/issues/{n}/comments", Pass),
    Row("PATCH|DELETE", "R/issues/{n}/comments/{}", Pass),              // deprecated form
    Row("PATCH|DELETE", "R/issues/comments/{}", Pass),
    Row("POST|DELETE", "R/issues/comments/{}/reactions", Pass),
    Row("POST", "R/issues/comments/{}/assets", Pass),
    Row("PATCH|DELETE", "R/issues/comments/{}/assets/{}", Pass),
    Row("POST|DELETE", "R/issues/{n}/reactions", Pass),
    Row("POST", "R/issues/{n}/assets", Pass),
    Row("PATCH|DELETE", "R/issues/{n}/assets/{}", Pass),
    Row("PUT|DELETE", "R/issues/{n}/lock", Pass),
    Row("POST|DELETE", "R/issues/{n}/pin", Pass),
    Row("PATCH", "R/issues/{n}/pin/{}", Pass),
    Row("POST", "R/issues/{n}/deadline", Pass),
    Row("POST", "R/issues/{n}/dependencies", Side(SideForm::DependOn)),
    Row("POST", "R/issues/{n}/blocks", Side(SideForm::Block)),
    Row("DELETE", "R/issues/{n}/dependencies", Pass),
    Row("DELETE", "R/issues/{n}/blocks", Pass),
    Row("POST|DELETE", "R/issues/{n}/stopwatch/{}", Pass),
    Row("POST|DELETE", "R/issues/{n}/times", Pass),
    Row("DELETE", "R/issues/{n}/times/{}", Pass),
    Row("PUT|DELETE", "R/issues/{n}/subscriptions/{}", Pass),
    Row("POST", "R/pulls/{n}/requested_reviewers", Guard(AddReviewers)),
    Row("DELETE", "R/pulls/{n}/requested_reviewers", Guard(RemoveReviewers)),
    Row("POST", "R/pulls/{n}/reviews", Once(CreateReview)),
    Row("POST", "R/pulls/{n}/reviews/{}", Once(SubmitReview(0))),
    Row("DELETE", "R/pulls/{n}/reviews/{}", Pass),
    Row("POST", "R/pulls/{n}/reviews/{}/comments", Pass),
    Row("DELETE", "R/pulls/{n}/reviews/{}/comments/{}", Pass),
    Row("POST", "R/pulls/{n}/reviews/{}/dismissals", Pass),
    Row("POST", "R/pulls/{n}/reviews/{}/undismissals", Pass),
    Row("POST", "R/pulls/{n}/comments/{}/replies", Pass),               // Gitea 1.27
    Row("POST", "R/pulls/comments/{}/resolve", Pass),                   // Gitea 1.26
    Row("POST", "R/pulls/comments/{}/unresolve", Pass),
    Row("POST|DELETE", "R/pulls/{n}/merge", Pass),
    Row("POST", "R/pulls/{n}/update", Pass),

    // --- API: unknown, where guarded fields are -------------------------------------------------------------------
    Row("*", "R/issues/**", Refuse),
    Row("*", "R/pulls/**", Refuse),
    Row("*", "R/projects/**", Refuse),                                  // Gitea 1.27: columns
    Row("*", "A/orgs/{}/projects/**", Refuse),
    Row("*", "A/user/projects/**", Refuse),

    // --- API: items that it does not name -------------------------------------------------------------------------
    Row("PATCH", "R/labels/{}", Side(SideForm::EditLabel)),
    Row("DELETE", "R/labels/{}", Side(SideForm::DeleteLabel)),
    Row("PATCH", "A/orgs/{}/labels/{}", Side(SideForm::EditSharedLabel)),
    Row("DELETE", "A/orgs/{}/labels/{}", Side(SideForm::DeleteSharedLabel)),
    Row("DELETE", "R/branches/**", Side(SideForm::DeleteBranch)),       // names with slashes, often encoded
    Row("DELETE", "R", Side(SideForm::DeleteRepository)),

    // --- API: many items at once (1.6). Known gaps: noticed by the reconciler, not prevented ----------------------
    Row("POST|PATCH|DELETE", "R/labels/**", Pass),
    Row("POST|PATCH|DELETE", "A/orgs/{}/labels/**", Pass),
    Row("POST|PATCH|DELETE", "R/milestones/**", Pass),
    Row("PUT|DELETE", "R/collaborators/{}", Pass),
    Row("PUT|DELETE", "R/teams/{}", Pass),
    Row("*", "A/teams/**", Pass),
    Row("DELETE", "A/admin/users/{}", Pass),
    Row("PUT", "A/user/block/{}", Pass),
    Row("PUT", "A/orgs/{}/block/{}", Pass),
    Row("POST", "R/transfer/**", Pass),
    Row("PATCH", "R", Pass),
    Row("POST|PATCH|PUT", "R/branches/**", Pass),
    Row("POST", "R/statuses/{}", Pass),
    Row("*", "R/actions/**", Pass),
    Row("POST|PUT|DELETE", "R/contents/**", Pass),                      // file names of any kind
    Row("POST", "R/diffpatch", Pass),
    Row("POST", "R/sync_fork/**", Pass),
    Row("POST", "R/mirror-sync", Pass),
    // Names that clients encode in their own ways.
    Row("*", "R/branch_protections/**", Pass),
    Row("*", "R/tags/**", Pass),
    Row("*", "R/tag_protections/**", Pass),
    Row("*", "R/releases/**", Pass),
    Row("*", "R/wiki/**", Pass),
    Row("*", "R/git/**", Pass),
    Row("*", "R/topics/**", Pass),
    Row("*", "R/push_mirrors/**", Pass),

    // --- Web UI: guarded fields -----------------------------------------------------------------------------------
    Row("POST", "W/{type}/new", Web(WebAct::New)),
    Row("POST", "W/{type}/assignee", Web(WebAct::Assignee)),
    Row("POST", "W/{type}/labels", Web(WebAct::Labels)),
    Row("POST", "W/{type}/status", Web(WebAct::Status)),
    Row("POST", "W/{type}/projects", Web(WebAct::Projects)),
    Row("POST", "W/{type}/request_review", Web(WebAct::RequestReview)),
    Row("POST", "W/{type}/delete", Web(WebAct::Delete)),
    Row("POST", "W/{type}/{n}/comments", Web(WebAct::Comment)),         // may close or reopen
    Row("POST", "W/{type}/{n}/delete", Web(WebAct::DeleteOne)),
    Row("POST", "W/compare/**", Web(WebAct::Compare)),                  // opens a pull request
    Row("POST", "W/projects/{n}/{n}/move", Web(WebAct::MoveCards)),
    Row("POST", "W/projects/{n}/{n}/{n}", Web(WebAct::MoveCard)),       // Gitea 1.15

    // --- Web UI: items that it does not name ----------------------------------------------------------------------
    Row("POST", "W/{type}/{n}/ref", Side(SideForm::WebRef)),
    Row("POST", "W/{type}/{n}/dependency/add", Side(SideForm::WebDependency)),
    Row("POST", "W/pulls/{n}/cleanup", Side(SideForm::WebCleanUp)),
    Row("POST", "W/branches/delete", Side(SideForm::WebDeleteBranch)),
    Row("POST", "W/settings", Side(SideForm::WebSettings)),
    Row("POST", "W/labels/edit", Side(SideForm::WebEditLabel)),
    Row("POST", "W/labels/delete", Side(SideForm::WebDeleteLabel)),
    Row("POST", "O/labels/edit", Side(SideForm::WebEditSharedLabel)),
    Row("POST", "O/labels/delete", Side(SideForm::WebDeleteSharedLabel)),

    // --- Web UI: all else about items -----------------------------------------------------------------------------
    Row("POST", "W/{type}/milestone", Pass),
    Row("POST", "W/{type}/dismiss_review", Pass),
    Row("POST", "W/{type}/resolve_conversation", Pass),
    Row("POST", "W/{type}/attachments/**", Pass),
    Row("DELETE", "W/{type}/unpin/{n}", Pass),
    Row("POST", "W/{type}/move_pin", Pass),
    Row("POST", "W/{type}/{n}/title", Pass),
    Row("POST", "W/{type}/{n}/content", Pass),
    Row("POST", "W/{type}/{n}/content-history/soft-delete", Pass),
    Row("POST", "W/{type}/{n}/action-user-trust", Pass),
    Row("POST", "W/{type}/{n}/deadline", Pass),
    Row("POST", "W/{type}/{n}/watch", Pass),
    Row("POST", "W/{type}/{n}/pin", Pass),
    Row("POST", "W/{type}/{n}/lock", Pass),
    Row("POST", "W/{type}/{n}/unlock", Pass),
    Row("POST", "W/{type}/{n}/viewed-files", Pass),
    Row("POST", "W/{type}/{n}/dependency/{}", Pass),
    Row("POST", "W/{type}/{n}/times/**", Pass),
    Row("POST", "W/{type}/{n}/reactions/{}", Pass),
    Row("POST", "W/pulls/{n}/merge", Pass),                             // as the API's
    Row("POST", "W/pulls/{n}/cancel_auto_merge", Pass),
    Row("POST", "W/pulls/{n}/update", Pass),
    Row("POST", "W/pulls/{n}/set_allow_maintainer_edit", Pass),
    Row("POST", "W/pulls/{n}/files/reviews/{}", Pass),
    Row("POST", "W/pulls/{n}/commits/{}/reviews/{}", Pass),
    Row("POST", "W/pulls/{n}/commits/{}/notes", Pass),                  // Forgejo 13
    Row("POST", "W/pulls/{n}/commits/{}/notes/remove", Pass),
    Row("POST", "W/pull/{n}/target_branch", Pass),
    Row("POST", "W/projects/new", Pass),
    Row("POST", "W/projects/{n}", Pass),
    Row("POST", "W/projects/{n}/move", Pass),                           // order of columns
    Row("POST", "W/projects/{n}/{}", Pass),                             // edit, open, close
    Row("PUT|DELETE", "W/projects/{n}/{n}", Pass),
    Row("POST", "W/projects/{n}/{n}/default", Pass),
    Row("POST", "W/projects/{n}/{n}/unset_default", Pass),
    // What a new version brings below an item: a person's button, unless it names a guarded form.
    Row("*", "W/{type}/{n}", Refuse),
    Row("*", "W/{type}/{n}/**", Web(WebAct::Unknown)),
    Row("*", "W/{type}/**", Refuse),
    Row("*", "W/projects/**", Refuse),
];

#[cfg(test)]
mod tests {
    use super::super::location::Location;
    use super::*;
    use http::HeaderMap;

    fn route(request: &str) -> Call {
        let (method, target) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers = HeaderMap::new();
        classify(&Head { method: &method, target: &Target::parse(target), headers: &headers })
    }

    fn check(request: &str, expected: &str) {
        let shown = match route(request) {
            Call::Pass => "pass".to_owned(),
            Call::Read { project, address: None, .. } => format!("read {project}"),
            Call::Read { address: Some(address), .. } => format!("read {}", address.locator()),
            Call::Write(Write { scope: Scope::Item(a), form }) => {
                let Location { owner, repo, number } = Location::of(&a);
                format!("{form:?} {owner}/{repo}#{number}{}", if a.kind == ItemKind::Pull { " pull" } else { "" })
            }
            Call::Write(Write { scope: Scope::Create(project), form }) => format!("{form:?} {project}"),
            Call::Form(bulk) => format!("{:?} {}", bulk.form.act, bulk.form.path()),
            Call::Once(Ok(write)) => format!("once {:?} {}", write.form, write.scope.locator().project_name()),
            Call::Once(Err(error)) => format!("once: {error}"),
            Call::SideEffect(route) => format!("beside {:?} {}", route.form, route.segments.join("|")),
            Call::Refuse(ParseError::Ambiguous(_)) => "ambiguous".to_owned(),
            Call::Refuse(ParseError::UnknownRoute(_)) => "unknown".to_owned(),
            Call::Refuse(other) => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{request}");
    }

    /// What is known at a glance is what a whole look finds.
    #[test]
    fn a_glance_is_right() {
        for path in [
            "/",
            "/api/v1/version",
            "/api/v1/repos/o/r/issues/7",
            "//api//v1/repos/o/r/pulls",
            "/api/v1/repos",
            "/o/r/issues/7",
            "/api/internal/x",
            "/sub/API/Internal",
            "/a/b/api/internal",
            "/a/b/c/api/internal",
            "/api/v1/repos/internal/r",
            "/API/v1/repos/o/r/issues/7",
            "/api/v1/repos/o/r/issues%2F7",
            "/api/./internal",
            "/api;x/internal",
            "*",
            "",
        ] {
            let call = route(&format!("GET {path}"));
            let is_right = match glance(path) {
                Glance::Pass => matches!(call, Call::Pass),
                Glance::Read => matches!(call, Call::Read { .. } | Call::Pass),
                Glance::Unsure => true,
            };
            assert!(is_right, "{path}: {:?}, but {call:?}", glance(path));
        }
        assert_eq!(glance("/api/v1/version"), Glance::Pass);
        assert_eq!(glance("/o/r/src/branch/main/x.rs"), Glance::Pass);
        assert_eq!(glance("/api/v1/repos/o/r/issues/7"), Glance::Read);
    }

    #[test]
    fn every_guarded_route_is_a_write() {
        check("PATCH /api/v1/repos/O/r/issues/7", "EditIssue O/r#7");
        check("PATCH /api/v1/repos/o/r/issues/7/", "EditIssue o/r#7");
        check("PATCH /api/v1/repos/o/r/pulls/7?a=b", "EditPull o/r#7 pull");
        check("POST /api/v1/repos/O/r/issues", "CreateIssue o/r");
        check("POST /api/v1/repos/o/r/pulls", "CreatePull o/r");
        check("POST /api/v1/repos/o/r/issues/7/assignees", "AddAssignees o/r#7");
        check("POST /api/v1/repos/o/r/pulls/7/requested_reviewers", "AddReviewers o/r#7 pull");
        check("DELETE /api/v1/repos/o/r/pulls/7/requested_reviewers", "RemoveReviewers o/r#7 pull");
        check("DELETE /api/v1/repos/o/r/issues/7/assignees", "RemoveAssignees o/r#7");
        check("POST /api/v1/repos/o/r/issues/7/labels", "AddLabels o/r#7");
        check("PUT /api/v1/repos/o/r/issues/7/labels", "ReplaceLabels o/r#7");
        check("DELETE /api/v1/repos/o/r/issues/7/labels", "ClearLabels o/r#7");
        check("DELETE /api/v1/repos/o/r/issues/7/labels/3", "RemoveLabel o/r#7");
        check("DELETE /api/v1/repos/o/r/issues/7/labels/in%20progress", "RemoveLabel o/r#7");
    }

    #[test]
    fn what_is_not_guarded_passes() {
        for request in [
            "POST /api/v1/repos/o/r/issues/7/comments",
            "PATCH /api/v1/repos/o/r/issues/comments/9",
            "DELETE /api/v1/repos/o/r/issues/7",
            "DELETE /api/v1/repos/o/r/pulls/7/reviews/4",
            "POST /api/v1/repos/o/r/pulls/7/reviews/4/dismissals",
            "POST /api/v1/repos/o/r/pulls/7/merge",
            "POST /api/v1/repos/o/r/pulls/comments/7/resolve",
            "POST /api/v1/repos/o/r/pulls/7/comments/9/replies",
            "POST /api/v1/repos/o/r/labels",
            "POST /api/v1/repos/o/r/contents/a%20b.txt",
            "POST /api/v1/repos/o/r/hooks",
            "POST /api/v1/user/repos",
            "POST /api/v1/repos/migrate",
            "POST /o/r.git/git-receive-pack",
            "POST /o/r.git/info/lfs/objects/batch",
            "PUT /o/r/info/lfs/objects/abc/12",
            "POST /user/events",
            "POST /api/actions/runner.v1.RunnerService/FetchTask",
            "PUT /api/packages/o/generic/issues/1/x",
            "POST /v2/o/issues/blobs/uploads/",
            "PATCH /v2/o/pulls/blobs/uploads/1",
            "HEAD /api/v1/repos/o/r/issues/7",
            "OPTIONS /api/v1/repos/o/r/issues/7",
            "OPTIONS *",
            "POST /forge/api/v1/repos/o/r/issues/7/comments",
            "POST /o/api/issues/7/title",
            "GET /o/r/issues/7",
            "GET /api/v1/repos/o/r/issues/07",
            "GET /api/v1/repos/o/r/issues/comments",
        ] {
            check(request, "pass");
        }
        check("POST /api/v1/repos/O/r/pulls/7/reviews", "once CreateReview o/r");
        check("POST /api/v1/repos/o/r/pulls/7/reviews/4", "once SubmitReview(4) o/r");
        check("GET /api/v1/repos/O/r/issues/7", "read o/r#7");
        check("GET /api//v1/repos/O/r/issues/7", "read o/r#7");
        check("GET /api/v1/repos/o/r/issues/7/labels?x", "read o/r#7");
        check("GET /api/v1/repos/o/r/pulls/7", "read o/r#7");
        check("GET /api/v1/repos/o/r/issues?state=open", "read o/r");
    }

    #[test]
    fn the_unknown_near_guarded_fields_is_refused() {
        for request in [
            "PUT /api/v1/repos/o/r/issues/7",
            "POST /api/v1/repos/o/r/issues/7",
            "PATCH /api/v1/repos/o/r/issues",
            "patch /api/v1/repos/o/r/issues/7",
            "POST /api/v1/repos/o/r/issues/7/transfer",
            "PUT /api/v1/repos/o/r/issues/7/assignees",
            "POST /api/v1/repos/o/r/pulls/7/labels",
            "PUT /api/v1/repos/o/r/pulls/7/merge",
            "POST /api/v1/repos/o/r/pulls/7/ready",
            "PATCH /api/v1/repos/o/r/issues/0x1",
            "PATCH /api/v1/repos/o/r/issues/-0",
            "PATCH /api/v1/repos/o/r/issues/7.0",
            "PATCH /api/v1/repos/o/r/issues/%D9%A7",
            "POST /api/v1/repos/o/r/projects/1/columns/2/issues/3",
            "POST /api/v1/orgs/o/projects",
            "POST /api/v1/user/projects/1/columns",
            "POST /o/r/issues/bulk",
            "POST /o/r/issues/7/assignee",
            "PUT /o/r/pulls/7",
            "DELETE /o/r/issues/7",
            "POST /o/r/issues/7/set-state",
            "POST /o/r/issues/7/x/Label_IDs",
            "POST /o/r/issues/7/Reopen",
            "POST /o/r/issues/7/move",
            "POST /o/r/pulls/7/request_reviewers",
            "POST /o/r/issuesX/whatever",
            "POST /o/r/projects/1/2/3/4",
            "POST /api/internal/hook/pre-receive/o/r",
            "GET /api/internal/manager/processes",
            "GET /api/x%2F..%2Finternal/x",
            // A tracker that is served below a path, and a gate that was not told so.
            "PATCH /forge/api/v1/repos/o/r/issues/7",
            "PATCH /code/forge/api/v1/repos/o/r/pulls/7/",
            "PUT /forge/api/v1/repos/o/r/issues/7/anything",
            "GET /forge/api/internal/manager/processes",
        ] {
            check(request, "unknown");
        }
    }

    #[test]
    fn bent_paths_are_refused_where_a_reading_is_guarded() {
        for request in [
            // manual: forgejo, section 8, the vectors that were tried live.
            "PATCH /api/v1/./repos/o/r/issues/7",
            "PATCH /x/../api/v1/repos/o/r/issues/7",
            "PATCH /x/%2e%2e/api/v1/repos/o/r/issues/7",
            "PATCH /x/..%2Fapi/v1/repos/o/r/issues/7",
            "PATCH /API/V1/repos/o/r/issues/7",
            "PATCH /api/v1/repos/o/r/Issues/7",
            "PATCH /api/v1/repos/o/r/issues/%37",
            "PATCH /api/v1/repos/o/s%65m/issues/7",
            "PATCH /api/v1/repos/o/r/issues/%2B1",
            "PATCH /api/v1/repos/o/r/%69ssues/7",
            "PATCH /forge%2Fapi/v1/repos/o/r/issues/7",
            "PATCH /%61pi/v1/%72epos/o/sem\u{212A}/%69ssues/%31",
            "PATCH /api%2fv1/repos/o/sem\u{130}/issues/1",
            "PATCH /api/v1%2Frepos%2Froot1%2Fsem\u{130}%2Fissues%2F1",
            "PATCH /api/v1/repos/o/sem\u{212A}/issues/1",
            "PATCH /api/v1/repos/o/r%2Fissues/7",
            "PATCH /api/v1/repos/o/r/issues/7;x",
            "PATCH /api/v1/repos/o;x/r/issues/7",
            "PATCH /api/v1/repos/o/r/issues/7%00",
            "PATCH /api/v1/repos/o/r/issues/7\\",
            "PATCH /api/v1/repos/o/r/issues/7#x",
            "PATCH /api/v1/repos/o/r/issues/%zz",
            "PATCH /api/v1/repos/o/r/issues/007",
            "PATCH /api/v1/repos/o/r/issues/+7",
            "PATCH /api/v1/repos/o/r/issues/9223372036854775808",
            "PATCH /api/v1/repos/o/r/issues/99999999999999999999999",
            "PATCH /api/v1/repos/\u{FF4F}/r/issues/7",
            "PATCH /api/v1/repos/%EF%BD%8F/r/issues/7",
            "PATCH /api/v1/repos/o/r%20/issues/7",
            "DELETE /api/v1/repos/o/r/contents/..%2Fissues%2F7%2Flabels",
            "PATCH http://evil/api/v1/repos/o/r/issues/7",
            "PATCH http:///api/v1/repos/o/r/issues/7",
            "PATCH api/v1/repos/o/r/issues/7",
            "POST /o/sem\u{130}/%69ssues%2Fassignee",
            "POST /o/r/issues%2Fassignee",
            // The name of a label may be encoded, and nothing else of its path; nor may it be a way up.
            "DELETE /api/v1/repos/o/r/issues/%37/labels/a%2Fb",
            "DELETE /api/v1/repos/o/r/issues%2F7/labels/a%2Fb",
            "DELETE /api/v1/repos/o/r/issues/7%2Flabels/a%2Fb",
            "DELETE /api/v1/repos/o/r/issues/7/labels/a%2F..",
            "DELETE /api/v1/repos/o/r/issues/7/labels/..%2F..%2Fx",
            "DELETE /api/v1/repos/o/r/issues/7/labels/%2Fa",
            "DELETE /api/v1/repos/o/r/issues/7/labels/a%2F",
            "DELETE /api/v1/repos/o/r/issues/7/labels/%2e%2e",
            "DELETE /api/v1/repos/o/r/issues/7/labels/a%00",
            "DELETE /api/v1/repos/o/r/issues/7/labels/a%0a",
            "DELETE /api/v1/repos/o/r/issues/7/labels/a%2",
            "DELETE /api/v1/repos/o/r/issues/7/labels/a%ff",
            "DELETE /api/v1/repos/o/r/issues/7/labels/a;b",
            "PUT /api/v1/repos/o/r/issues/7/labels/a%2Fb",
            "DELETE /api/v1/repos/o/r/pulls/7/requested_reviewers%2Fx",
        ] {
            check(request, "ambiguous");
        }
    }

    #[test]
    fn what_has_one_reading_is_taken_by_it() {
        for name in ["a%2Fb", "a%2fb/", "a%2Fb%2Fc", "%61%2Db", "a%5Cb", "gr\u{fc}n", "a\"b", "100%25", "a%3Bb", "%61"]
        {
            check(&format!("DELETE /api/v1/repos/o/r/issues/7/labels/{name}"), "RemoveLabel o/r#7");
        }
        // A doubled slash is one, wherever it stands.
        for path in ["//api/v1/repos/o/r/issues/7", "/api/v1/repos//o/r/issues//7", "/api/v1/repos/o/r/issues/7//"] {
            check(&format!("PATCH {path}"), "EditIssue o/r#7");
        }
        check("POST /o/r//issues/assignee", "Assignee /o/r/issues/assignee");
        check("POST /o/r/projects//1/2/move", "MoveCards /o/r/projects/1/2/move");
        // K and dotted I in their encoded form have one reading, which the canonical path spells out.
        check("PATCH /api/v1/repos/%E2%84%AAate/r/issues/7", "EditIssue kate/r#7");
        check("PATCH /api/v1/repos/o/semk%C4%B0/issues/7", "EditIssue o/semki#7");
    }

    #[test]
    fn bent_paths_pass_where_no_reading_is_guarded() {
        for request in [
            "PUT /api/v1/repos/o/r/contents/d\u{e4}ta/\u{4e2d}.txt",
            "PUT /api/v1/repos/o/r/contents/dir%2Ffile",
            "PUT /api/v1/repos/o/r/contents/a;b~%7E",
            "PATCH /api/v1/repos/o/r/wiki/page/A%2FB",
            "PUT /api/packages/o/npm/%40scope%2fname",
            "PUT /api/packages/o//generic/x",
            "POST /v2/o//x/blobs/uploads/",
            "POST /o//r.git/git-upload-pack",
            "POST /user/settings//keys",
            "POST /o/r/_edit/main/%61.txt",
        ] {
            check(request, "pass");
        }
    }

    #[test]
    fn what_changes_items_that_it_does_not_name_is_told() {
        for (request, expected) in [
            ("DELETE /api/v1/repos/o/r/branches/feature", "DeleteBranch api|v1|repos|o|r|branches|feature"),
            ("DELETE /api/v1/repos/o/r/branches/a/B/c", "DeleteBranch api|v1|repos|o|r|branches|a|B|c"),
            ("DELETE /api/v1/repos/o/r/branches/feature%2FX", "DeleteBranch api|v1|repos|o|r|branches|feature/X"),
            ("DELETE /api/v1/repos/O/r", "DeleteRepository api|v1|repos|O|r"),
            ("PATCH /api/v1/repos/o/r/labels/3", "EditLabel api|v1|repos|o|r|labels|3"),
            ("DELETE /api/v1/repos/o/r/labels/+3/", "DeleteLabel api|v1|repos|o|r|labels|+3"),
            ("PATCH /api/v1/orgs/o/labels/3", "EditSharedLabel api|v1|orgs|o|labels|3"),
            ("DELETE /api/v1/orgs/o/labels/3", "DeleteSharedLabel api|v1|orgs|o|labels|3"),
            ("POST /api/v1/repos/o/r/issues/7/dependencies", "DependOn api|v1|repos|o|r|issues|7|dependencies"),
            ("POST /api/v1/repos/o/r/issues/7/blocks", "Block api|v1|repos|o|r|issues|7|blocks"),
            ("POST /o/r/branches/delete?name=x", "WebDeleteBranch o|r|branches|delete"),
            ("POST /o/r/pulls/7/cleanup", "WebCleanUp o|r|pulls|7|cleanup"),
            ("POST /o/r/settings", "WebSettings o|r|settings"),
            ("POST /o/r/labels/edit", "WebEditLabel o|r|labels|edit"),
            ("POST /o/r/labels/delete", "WebDeleteLabel o|r|labels|delete"),
            ("POST /org/o/settings/labels/edit", "WebEditSharedLabel org|o|settings|labels|edit"),
            ("POST /org/o/settings/labels/delete", "WebDeleteSharedLabel org|o|settings|labels|delete"),
            ("POST /o/r/issues/7/dependency/add", "WebDependency o|r|issues|7|dependency|add"),
            ("POST /o/r/issues/7/ref", "WebRef o|r|issues|7|ref"),
        ] {
            check(request, &format!("beside {expected}"));
        }
        for request in [
            "DELETE /api/v1/repos/o/r/issues/7/dependencies",
            "PATCH /api/v1/repos/o/r/branches/feature",
            "POST /api/v1/repos/o/r/branches",
            "PATCH /api/v1/repos/o/r",
            "POST /o/r/issues/7/dependency/delete",
            "POST /user/settings",
            "GET /api/v1/repos/o/r/branches/feature",
        ] {
            check(request, "pass");
        }
    }

    #[test]
    fn web_forms_are_told_apart() {
        for (request, expected) in [
            ("POST /O/r/issues/assignee", "Assignee /O/r/issues/assignee"),
            ("POST /o/r/pulls/labels?issue_ids=1", "Labels /o/r/pulls/labels"),
            ("POST /o/r/issuesANYTHING/status", "Status /o/r/issues/status"),
            ("POST /o/r/Xpulls/assignee/", "Assignee /o/r/pulls/assignee"),
            ("POST /o/r/%69ssuespulls/assignee", "ambiguous"),
            ("POST /o/r.git/issues/7/comments", "Comment /o/r/issues/7/comments"),
            ("POST /o/r.rss/issues/7/comments", "ambiguous"),
            ("POST /o/r.git.git/issues/assignee", "ambiguous"),
            ("POST /o/r/Issues/assignee", "ambiguous"),
            ("POST /o/r/issues/Assignee", "ambiguous"),
            ("POST /o/sem%E2%84%AA/issues/assignee", "Assignee /o/semk/issues/assignee"),
            ("POST /o/r/issues/new", "New /o/r/issues/new"),
            ("POST /o/r/issues/projects", "Projects /o/r/issues/projects"),
            ("POST /o/r/issues/delete", "Delete /o/r/issues/delete"),
            ("POST /o/r/pulls/7/delete", "DeleteOne /o/r/pulls/7/delete"),
            ("POST /o/r/pulls/request_review", "RequestReview /o/r/pulls/request_review"),
            ("POST /o/r/compare/main...feature/X", "Compare /o/r/compare/main...feature/X"),
            ("POST /o/r/projects/1/2/move", "MoveCards /o/r/projects/1/2/move"),
            ("POST /acme/-/projects/1/2/move", "MoveCards /acme/-/projects/1/2/move"),
            ("POST /o/r/projects/1/2/3", "MoveCard /o/r/projects/1/2/3"),
            ("POST /o/r/issues/7/a-new-button", "Unknown /o/r/issues/7/a-new-button"),
            ("DELETE /o/r.git/pulls/7/commits/ABC/x", "Unknown /o/r/pulls/7/commits/ABC/x"),
            ("POST /o/r/issues/7/a%2Fb", "ambiguous"),
        ] {
            check(request, expected);
        }
        for request in [
            "POST /o/r/issues/7/title",
            "DELETE /o/r/issues/unpin/7",
            "POST /o/r/projects/1/close",
            "POST /o/r/pulls/7/merge",
            "POST /o/r/pulls/7/commits/0123abc/notes",
            "POST /o/r/pulls/7/commits/0123abc/notes/remove",
        ] {
            check(request, "pass");
        }
    }

    #[test]
    fn the_table_is_well_formed() {
        for Row(methods, pattern, act) in ROUTES {
            let mut heads = parts(pattern);
            assert_ne!(heads.next(), Some("\0"), "{pattern}");
            assert!(parts(pattern).all(|part| !part.is_empty() && part.to_lowercase() == part), "{pattern}");
            assert!(*methods == "*" || methods.split('|').all(|m| m.bytes().all(|b| b.is_ascii_uppercase())));
            assert!(!matches!(act, Guard(_)) || pattern.starts_with("R/"), "{pattern}: a guard reads R/kind/number");
        }
    }
}
