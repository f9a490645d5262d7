//! Whether a request asks for a change of assignees, labels, state or reviewers. For the log alone: it is told from route
//! and body before anything befalls the request, so that it holds for a write that was refused or lost as well.

use super::body::Schema;
use super::call::Call;
use super::target::Route;
use super::{issues, pulls, web};

/// The guarded members of the option structs.
const GUARDED: [&str; 6] = ["assignee", "assignees", "labels", "state", "closed", "status"];

pub(super) fn asks_for_it(call: &Call) -> bool {
    match (call.route, call.method.as_str()) {
        (Route::Issues, "POST") => names_guarded(call, &issues::CREATE),
        (Route::Issue, "PATCH") => names_guarded(call, &issues::EDIT),
        (Route::Pulls, "POST") => names_guarded(call, &pulls::CREATE),
        (Route::Pull, "PATCH") => names_guarded(call, &pulls::EDIT),
        (Route::WebComments, "POST") => names_guarded(call, &web::COMMENT),
        (Route::IssueLabels, "POST" | "PUT" | "DELETE")
        | (Route::IssueAssignees | Route::RequestedReviewers, "POST" | "DELETE")
        | (Route::Issue | Route::IssueLabel | Route::RepoLabel | Route::Collaborator | Route::Repo, "DELETE")
        | (
            Route::PullMerge
            | Route::WebAssignee
            | Route::WebLabels
            | Route::WebStatus
            | Route::WebReview
            | Route::WebDelete
            | Route::WebDeleteOne,
            "POST",
        ) => true,
        _ => false,
    }
}

fn names_guarded(call: &Call, schema: &Schema) -> bool {
    call.bind(schema).is_ok_and(|fields| GUARDED.iter().any(|member| fields.has(member)))
}
