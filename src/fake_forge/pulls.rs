//! Pull requests: also issues, with a few differences in how their PATCH behaves; and their reviews.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::body::{MemberKind, Schema};
use super::call::{ForgeCall, WritePart};
use super::issues::{self, add_assignees, assignees_of_new, assignees_wanted, set_assignees};
use super::journal::Happening;
use super::labels;
use super::options::Feature;
use super::pages::page;
use super::render;
use super::reply::{FakeReply, HandlerResult};
use super::store::{By, ForgeState, Merged, Pull, Review};
use super::target;

pub(super) const CREATE: Schema = Schema {
    name: "CreatePullRequestOption",
    members: &[
        ("head", MemberKind::Text),
        ("base", MemberKind::Text),
        ("title", MemberKind::Text),
        ("body", MemberKind::Text),
        ("assignee", MemberKind::Text),
        ("assignees", MemberKind::Texts),
        ("labels", MemberKind::Ids),
    ],
};

pub(super) const EDIT: Schema = Schema {
    name: "EditPullRequestOption",
    members: &[
        ("title", MemberKind::Text),
        ("body", MemberKind::Text),
        ("base", MemberKind::Text),
        ("assignee", MemberKind::Text),
        ("assignees", MemberKind::Texts),
        ("labels", MemberKind::Ids),
        ("state", MemberKind::TextPointer),
    ],
};

const MERGE: Schema = Schema {
    name: "MergePullRequestForm",
    members: &[
        ("do", MemberKind::Text),
        ("mergetitlefield", MemberKind::Text),
        ("mergemessagefield", MemberKind::Text),
    ],
};

const REVIEWERS: Schema = Schema { name: "PullReviewRequestOptions", members: &[("reviewers", MemberKind::Texts)] };

const REVIEW: Schema = Schema {
    name: "CreatePullReviewOptions",
    members: &[("event", MemberKind::Text), ("body", MemberKind::Text), ("commit_id", MemberKind::Text)],
};

/// As many rows as one page has at most.
const LARGEST_PAGE: usize = 50;

const DISMISS: Schema = Schema { name: "DismissPullReviewOptions", members: &[("message", MemberKind::Text)] };

pub(super) fn list(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let state = call.state();
    let rows = issues::matching(&state, repo, &call.query, |issue| issue.pull.is_some());
    Ok(page(&state, call, &rows, render::pull))
}

pub(super) fn get(call: &ForgeCall) -> HandlerResult {
    let pull = pull(call, call.repo()?)?;
    show(call, pull, StatusCode::OK)
}

fn show(call: &ForgeCall, pull: u64, status: StatusCode) -> HandlerResult {
    let state = call.state();
    let row = state.issues.get(&pull).ok_or_else(|| FakeReply::not_found(&state.root))?;
    Ok(FakeReply::json(status, &render::pull(&state, row)))
}

/// The path's number, if it is a pull request's.
fn pull(call: &ForgeCall, repo: u64) -> Result<u64, FakeReply> {
    let issue = call.issue(repo)?;
    let state = call.state();
    let is_pull = state.issues.get(&issue).is_some_and(|row| row.pull.is_some());
    if is_pull { Ok(issue) } else { Err(FakeReply::not_found(&state.root)) }
}

/// Nobody checks here whether the doer may assign or label.
pub(super) async fn create(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let fields = call.bind(&CREATE);
    let by = call.by()?;
    let fields = fields?;
    let (head, base) = (fields.text("head").unwrap_or(""), fields.text("base").unwrap_or(""));
    if head.is_empty() || base.is_empty() || head == base {
        return Err(call.error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid PullRequest: There are no changes between the head and the base",
        ));
    }
    if already_open(&call.state(), repo, head, base) {
        return Err(call.error(StatusCode::CONFLICT, "pull request already exists for these targets"));
    }
    let wanted = assignees_of_new(call, repo, &fields)?;
    let pull = {
        let mut state = call.state();
        let pull = state.insert_issue(repo, fields.text("title").unwrap_or(""), fields.text("body").unwrap_or(""), by);
        state.make_pull(pull, head, base);
        pull
    };
    if let Some(wanted) = wanted {
        set_assignees(call, pull, &wanted, by, StatusCode::UNPROCESSABLE_ENTITY).await?;
    }
    if let Some(ids) = fields.ids("labels") {
        labels::change(call, pull, by, labels::Change::Add(&ids)).await;
    }
    show(call, pull, StatusCode::CREATED)
}

fn already_open(state: &ForgeState, repo: u64, head: &str, base: &str) -> bool {
    let open = state.issues.values().filter(|row| row.repo == repo && row.closed_at.is_none());
    open.filter_map(|row| row.pull.as_ref()).any(|pull| pull.head == head && pull.base == base)
}

/// On 1.15 its assignees are only ever added; empty texts clear nothing; its labels are replaced.
pub(super) async fn edit(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let fields = call.bind(&EDIT);
    let by = call.by()?;
    let fields = fields?;
    let pull = pull(call, repo)?;
    let writes = issues::poster_or_writer(call, repo, pull, by)?;
    issues::edit_texts(call, pull, &fields, by);
    if writes && let Some(wanted) = assignees_wanted(call, &fields, StatusCode::UNPROCESSABLE_ENTITY)? {
        let means_it = fields.has("assignees") || !wanted.is_empty();
        if call.has(Feature::PullAssigneesReplace) && means_it {
            set_assignees(call, pull, &wanted, by, StatusCode::UNPROCESSABLE_ENTITY).await?;
        } else {
            add_assignees(call, pull, &wanted, by, StatusCode::UNPROCESSABLE_ENTITY).await?;
        }
    }
    if writes {
        labels::of_fields(call, pull, &fields, by).await;
    }
    issues::edit_state(call, pull, &fields, by)?;
    call.state().touch(pull);
    show(call, pull, StatusCode::CREATED)
}

// === merging ===

pub(super) fn is_merged(call: &ForgeCall) -> HandlerResult {
    let pull = pull(call, call.repo()?)?;
    let state = call.state();
    let merged = state.issues[&pull].pull.as_ref().and_then(|pull| pull.merged);
    merged.map(|_| FakeReply::no_content()).ok_or_else(|| FakeReply::not_found(&state.root))
}

/// Merging closes the pull request, and whatever issues its title and body say that it closes.
pub(super) fn merge(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let fields = call.bind(&MERGE)?;
    let pull = pull(call, repo)?;
    if !call.can_write(repo) {
        return Err(call.error(StatusCode::METHOD_NOT_ALLOWED, "User not allowed to merge PR"));
    }
    if fields.text("do").is_none_or(str::is_empty) {
        return Err(call.error(StatusCode::UNPROCESSABLE_ENTITY, "[Do]: Required"));
    }
    if call.state().issues[&pull].closed_at.is_some() {
        return Err(call.not_found());
    }
    if call.writes(WritePart::Rest) {
        let text = fields.text("mergemessagefield").unwrap_or("");
        carry_out_merge(&mut call.state(), repo, pull, text, by);
    }
    Ok(FakeReply::empty(StatusCode::OK))
}

fn carry_out_merge(state: &mut ForgeState, repo: u64, pull: u64, message: &str, by: By) {
    let at = state.now();
    let Some(row) = state.issues.get_mut(&pull) else {
        return;
    };
    let text = format!("{}\n{}\n{message}", row.title, row.body);
    if let Some(pull) = &mut row.pull {
        pull.merged = Some(Merged { at, by: by.user });
    }
    state.happened(pull, Happening::Merged, by, false);
    state.set_closed(pull, true, by);
    for number in closed_by(&text) {
        let closed = state.repos.get(&repo).and_then(|repo| repo.numbers.get(&number).copied());
        if let Some(issue) = closed {
            state.set_closed(issue, true, by);
        }
    }
}

/// The issues that a text closes by keyword.
fn closed_by(text: &str) -> Vec<u64> {
    const KEYWORDS: [&str; 9] =
        ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| {
        let word = pair[0].trim_end_matches(':').to_ascii_lowercase();
        KEYWORDS.contains(&word.as_str())
    });
    named
        .filter_map(|pair| pair[1].strip_prefix('#')?.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok())
        .collect()
}

// === reviews ===

/// Requests reviews, or withdraws the requests.
pub(super) fn requested_reviewers(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let fields = call.bind(&REVIEWERS)?;
    let pull = pull(call, repo)?;
    call.writer(repo)?;
    let users = reviewers(call, &fields.texts("reviewers").unwrap_or_default())?;
    if call.method == Method::DELETE {
        withdraw(&mut call.state(), pull, &users, by);
        return Ok(FakeReply::no_content());
    }
    if call.state().issues[&pull].closed_at.is_some() {
        return Err(FakeReply::empty(StatusCode::FORBIDDEN));
    }
    let new = request(&mut call.state(), pull, &users, by);
    let state = call.state();
    let (row, shown) = (&state.issues[&pull], new.iter());
    let shown: Vec<Value> = match &row.pull {
        Some(pull) => shown.map(|review| render::review(&state, row, pull, review)).collect(),
        None => Vec::new(),
    };
    Ok(FakeReply::created(&Value::from(shown)))
}

fn reviewers(call: &ForgeCall, names: &[String]) -> Result<Vec<u64>, FakeReply> {
    let state = call.state();
    let ids = names.iter().map(|name| state.user_named(name).map(|user| user.id));
    ids.collect::<Option<Vec<_>>>().ok_or_else(|| FakeReply::not_found(&state.root))
}

fn request(state: &mut ForgeState, pull: u64, users: &[u64], by: By) -> Vec<Review> {
    let mut new = Vec::new();
    for user in users {
        let review = review_row(state, *user, "REQUEST_REVIEW", "", "");
        let Some(row) = state.issues.get_mut(&pull).and_then(|row| row.pull.as_mut()) else {
            continue;
        };
        if row.requested.contains(user) {
            continue;
        }
        row.requested.push(*user);
        row.reviews.push(review.clone());
        new.push(review);
        let login = state.login(*user);
        state.happened(pull, Happening::ReviewRequested(login), by, false);
    }
    new
}

fn withdraw(state: &mut ForgeState, pull: u64, users: &[u64], by: By) {
    for user in users {
        let Some(row) = state.issues.get_mut(&pull).and_then(|row| row.pull.as_mut()) else {
            continue;
        };
        let before = row.requested.len();
        row.requested.retain(|other| other != user);
        row.reviews.retain(|review| review.user != *user || review.state != "REQUEST_REVIEW");
        if row.requested.len() < before {
            let login = state.login(*user);
            state.happened(pull, Happening::ReviewUnrequested(login), by, false);
        }
    }
}

fn review_row(state: &mut ForgeState, user: u64, verdict: &str, body: &str, commit: &str) -> Review {
    Review {
        id: state.next_row(),
        user,
        state: verdict.to_owned(),
        body: body.to_owned(),
        commit: commit.to_owned(),
        dismissed: false,
        at: state.now(),
    }
}

pub(super) fn reviews(call: &ForgeCall) -> HandlerResult {
    let pull = pull(call, call.repo()?)?;
    let state = call.state();
    let row = &state.issues[&pull];
    let number = |key: &str| call.query.first(key).and_then(|text| text.parse::<usize>().ok());
    let size = number("limit").unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    let skipped = (number("page").unwrap_or(1).max(1) - 1) * size;
    // A draft is for its author's eyes.
    let visible = |review: &&Review| review.state != "PENDING" || Some(review.user) == call.user();
    let shown = row.pull.as_ref().map(|pull| {
        let reviews = pull.reviews.iter().filter(visible).skip(skipped).take(size);
        reviews.map(|review| render::review(&state, row, pull, review)).collect::<Vec<_>>()
    });
    Ok(FakeReply::ok(&Value::from(shown.unwrap_or_default())))
}

pub(super) fn review(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    let fields = call.bind(&REVIEW)?;
    let pull = pull(call, repo)?;
    let mut state = call.state();
    let verdict = match fields.text("event").unwrap_or("") {
        "" => "PENDING",
        event => event,
    };
    let head = state.issues[&pull].pull.as_ref().map(render::head).unwrap_or_default();
    let commit = fields.text("commit_id").filter(|id| !id.is_empty()).unwrap_or(&head);
    let review = review_row(&mut state, by.user, verdict, fields.text("body").unwrap_or(""), commit);
    state.mark_applied(by);
    Ok(with_pull(&mut state, pull, |row| row.reviews.push(review.clone()), &review))
}

/// Changes a pull request's row and shows one of its reviews.
fn with_pull(state: &mut ForgeState, pull: u64, change: impl FnOnce(&mut Pull), review: &Review) -> FakeReply {
    if let Some(row) = state.issues.get_mut(&pull).and_then(|row| row.pull.as_mut()) {
        change(row);
    }
    let row = &state.issues[&pull];
    let shown = row.pull.as_ref().map(|pull| render::review(state, row, pull, review));
    FakeReply::ok(&shown.unwrap_or_else(|| json!(null)))
}

pub(super) fn one_review(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let pull = pull(call, repo)?;
    let review = find_review(call, pull)?;
    if call.method == Method::GET {
        return Ok(with_pull(&mut call.state(), pull, |_| (), &review));
    }
    if call.method == Method::POST {
        return submit(call, pull, review);
    }
    let by = call.by()?;
    if review.user != by.user && !call.can_write(repo) {
        return Err(FakeReply::empty(StatusCode::FORBIDDEN));
    }
    let mut state = call.state();
    with_pull(&mut state, pull, |row| row.reviews.retain(|other| other.id != review.id), &review);
    state.mark_applied(by);
    Ok(FakeReply::no_content())
}

/// Makes a draft a review, with the commit that it was begun at.
fn submit(call: &ForgeCall, pull: u64, mut review: Review) -> HandlerResult {
    let by = call.by()?;
    let fields = call.bind(&REVIEW)?;
    if review.user != by.user {
        return Err(FakeReply::empty(StatusCode::FORBIDDEN));
    }
    let verdict = fields.text("event").filter(|event| !event.is_empty() && *event != "PENDING");
    let Some(verdict) = verdict.filter(|_| review.state == "PENDING") else {
        return Err(call.error(StatusCode::UNPROCESSABLE_ENTITY, "review stay pending"));
    };
    verdict.clone_into(&mut review.state);
    fields.text("body").unwrap_or("").clone_into(&mut review.body);
    let mut state = call.state();
    review.at = state.now();
    state.mark_applied(by);
    let put = |row: &mut Pull| {
        row.reviews.iter_mut().filter(|other| other.id == review.id).for_each(|other| *other = review.clone());
    };
    Ok(with_pull(&mut state, pull, put, &review))
}

pub(super) fn dismiss(call: &ForgeCall) -> HandlerResult {
    let repo = call.repo()?;
    let by = call.by()?;
    call.bind(&DISMISS)?;
    let pull = pull(call, repo)?;
    call.writer(repo)?;
    let mut review = find_review(call, pull)?;
    review.dismissed = true;
    let mut state = call.state();
    state.mark_applied(by);
    let mark = |row: &mut Pull| {
        row.reviews.iter_mut().filter(|other| other.id == review.id).for_each(|other| other.dismissed = true);
    };
    Ok(with_pull(&mut state, pull, mark, &review))
}

fn find_review(call: &ForgeCall, pull: u64) -> Result<Review, FakeReply> {
    let state = call.state();
    let wanted = target::index(call.path.grandchild());
    let reviews = state.issues[&pull].pull.iter().flat_map(|pull| &pull.reviews);
    let found = reviews.into_iter().find(|review| Some(review.id) == wanted).cloned();
    found.ok_or_else(|| FakeReply::not_found(&state.root))
}
