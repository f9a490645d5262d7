//! Whether a request asks for a change of assignees, labels, state or reviewers. For the log alone: it is told from route
//! and body before anything befalls the request, so that it holds for a write that was refused or lost as well.

use super::body::Schema;
use super::call::ForgeCall;
use super::target::ForgeRoute;
use super::{issues, pulls, web};

/// The guarded members of the option structs.
const GUARDED: [&str; 6] = ["assignee", "assignees", "labels", "state", "closed", "status"];

pub(super) fn asks_for_it(call: &ForgeCall) -> bool {
    match (call.route, call.method.as_str()) {
        (ForgeRoute::Issues, "POST") => names_guarded(call, &issues::CREATE),
        (ForgeRoute::Issue, "PATCH") => names_guarded(call, &issues::EDIT),
        (ForgeRoute::Pulls, "POST") => names_guarded(call, &pulls::CREATE),
        (ForgeRoute::Pull, "PATCH") => names_guarded(call, &pulls::EDIT),
        (ForgeRoute::WebComments, "POST") => names_guarded(call, &web::COMMENT),
        (ForgeRoute::IssueLabels, "POST" | "PUT" | "DELETE")
        | (ForgeRoute::IssueAssignees | ForgeRoute::RequestedReviewers, "POST" | "DELETE")
        | (
            ForgeRoute::Issue
            | ForgeRoute::IssueLabel
            | ForgeRoute::RepoLabel
            | ForgeRoute::Collaborator
            | ForgeRoute::Repo,
            "DELETE",
        )
        | (
            ForgeRoute::PullMerge
            | ForgeRoute::WebAssignee
            | ForgeRoute::WebLabels
            | ForgeRoute::WebStatus
            | ForgeRoute::WebReview
            | ForgeRoute::WebDelete
            | ForgeRoute::WebDeleteOne,
            "POST",
        ) => true,
        _ => false,
    }
}

fn names_guarded(call: &ForgeCall, schema: &Schema) -> bool {
    call.bind(schema).is_ok_and(|fields| GUARDED.iter().any(|member| fields.has(member)))
}
