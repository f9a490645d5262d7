//! A call of the API, before and after its document was read.

use super::super::graphql::{self, Mutation, Operations};
use super::super::{Address, GuardedRoute, Head, ParseError, Scrutiny, Understood, WireResponse};
use super::effects::{FieldEffect, IssueDraft, NewIssue, effect};
use super::reply;
use super::write::IssueMutation;
use crate::model::Rejection;
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;

/// A document, before it was read.
#[derive(Clone, Copy, Debug)]
pub struct GraphqlCall;

/// What a document asks for.
pub enum DocumentMeaning {
    /// Nothing that is guarded.
    Free,
    /// This.
    Write(Box<IssueMutation>),
}

impl GuardedRoute for GraphqlCall {
    fn class(&self) -> &'static str {
        "write"
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        Ok(match meaning(head, body, scrutiny.filing)? {
            DocumentMeaning::Free => Understood::default(),
            DocumentMeaning::Write(write) => Understood { guarded: Some(Arc::new(*write)), ..Understood::default() },
        })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision, None)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        status.is_client_error()
    }
}

/// What this request asks for. Where `filing` is ruled, a request makes one issue at most.
pub fn meaning(head: &Head<'_>, body: &[u8], filing: bool) -> Result<DocumentMeaning, ParseError> {
    let Operations { mut mutations, is_batch } = graphql::read(head, body)?;
    let Some(mutation) = mutations.pop() else { return Ok(DocumentMeaning::Free) };
    if *head.method != Method::POST {
        return Err(refuse("a mutation goes by POST"));
    }
    if is_batch || !mutations.is_empty() {
        let all = mutations.iter().chain([&mutation]);
        let free = all.map(|one| Ok(DocumentEffects::of(one)?.is_free())).collect::<Result<Vec<bool>, ParseError>>()?;
        if free.iter().all(|free| *free) {
            return Ok(DocumentMeaning::Free);
        }
        return Err(refuse("a list of documents changes issues: send each in a request of its own"));
    }
    let DocumentEffects { issues, makes, mut is_mixed } = DocumentEffects::of(&mutation)?;
    let makes_many = makes.len() > 1;
    match (issues.is_empty(), &makes[..]) {
        (true, []) => return Ok(DocumentMeaning::Free),
        (true, [new]) => {
            let write = IssueMutation::of_client(mutation, Vec::new(), Some(new.clone()));
            return Ok(DocumentMeaning::Write(Box::new(write)));
        }
        // Nobody holds what is not there yet, and whoever is assigned takes it up with its first write.
        (true, _) if !filing => return Ok(DocumentMeaning::Free),
        (_, []) => {}
        _ if filing => return Err(refuse("the rules are about who files issues: create each in a request of its own")),
        _ => is_mixed = true,
    }
    if makes_many && filing {
        return Err(refuse("the rules are about who files issues: create each in a request of its own"));
    }
    let besides = issues.iter().filter(|(_, draft)| draft.beside.is_some()).count();
    let alone = |draft: &IssueDraft| IssueDraft { beside: None, edits: false, ..draft.clone() }.is_free();
    if besides > 0 && (is_mixed || besides < issues.len() || !issues.iter().all(|(_, draft)| alone(draft))) {
        let what = issues.iter().find_map(|(_, draft)| draft.beside).unwrap_or_default();
        return Err(refuse(&format!("to {what} is to go by itself: send it in a request of its own")));
    }
    Ok(DocumentMeaning::Write(Box::new(IssueMutation::of_client(mutation, issues, None))))
}

/// What the fields of a mutation do, taken together.
#[derive(Default)]
struct DocumentEffects {
    /// Each issue once, in the order in which they are named.
    issues: Vec<(Address, IssueDraft)>,
    makes: Vec<NewIssue>,
    /// Beside them, other fields do other things.
    is_mixed: bool,
}

// === impl DocumentEffects ===

impl DocumentEffects {
    fn of(mutation: &Mutation) -> Result<Self, ParseError> {
        let mut all = Self::default();
        for field in mutation.fields() {
            match effect(field)? {
                FieldEffect::Free => all.is_mixed = true,
                FieldEffect::Creates(new) => all.makes.extend(new),
                FieldEffect::Issues(_, draft) if draft.is_free() => all.is_mixed = true,
                FieldEffect::Issues(issues, draft) => {
                    issues.into_iter().try_for_each(|address| all.add(address, &draft))?;
                }
            }
        }
        Ok(all)
    }

    fn add(&mut self, address: Address, draft: &IssueDraft) -> Result<(), ParseError> {
        let named = self.issues.len();
        match self.issues.iter_mut().find(|(known, _)| known.place == address.place) {
            Some((known, drafted)) => drafted.merge(draft).map_err(|why| {
                refuse(&format!("a field of {} {why} in one request: send one after the other", known.locator()))
            }),
            None if named == super::effects::MOST_ISSUES => {
                Err(refuse("a request names more issues than the gate takes at once: send fewer"))
            }
            None => {
                self.issues.push((address, draft.clone()));
                Ok(())
            }
        }
    }

    fn is_free(&self) -> bool {
        self.issues.is_empty() && self.makes.is_empty()
    }
}

fn refuse(why: &str) -> ParseError {
    ParseError::Ambiguous(why.to_owned())
}
