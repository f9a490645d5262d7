//! A call that may be guarded, as `routes` found it: how its body is read, and how it is refused.

use super::super::{
    Address, Creation, GuardedRequest, GuardedRoute, Head, ParseError, Route, Scrutiny, Shows, SideWrite, Subject,
    Understood, WireResponse,
};
use super::api_write::ApiWrite;
use super::routes::WriteForm;
use super::side_effects::SideForm;
use super::web::WebForm;
use super::{once, parse, reply, side_effects, web};
use crate::model::{Place, Project, Rejection, What};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// What a request is, by its head.
#[derive(Clone, Debug)]
pub enum Call {
    /// Not guarded.
    Pass,
    /// A read of one item, or (without an address) of the items of one repository.
    Read {
        /// The repository.
        project: Project,
        /// The item.
        address: Option<Address>,
        /// What a 2xx answer shows.
        shows: Shows,
    },
    /// May change a guarded field of one item, or make one.
    Write(Write),
    /// A form of the web interface, which may change guarded fields of several items.
    Form(FormRoute),
    /// A creation: guarded where a rule allows it only once. There an error is a refusal.
    Once(Result<Write, ParseError>),
    /// Changes guarded state of items that it does not name.
    SideEffect(SideRoute),
    /// Not understood.
    Refuse(ParseError),
}

/// A write that may change a guarded field, before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where it stands.
    pub(super) scope: Scope,
    pub(super) form: WriteForm,
}

/// Where a write stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// An item that exists.
    Item(Address),
    /// A new one.
    Create(Project),
}

/// A form that may change several items, before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormRoute {
    /// The repository, or whatever else owns the page that the form is on.
    pub(super) project: Project,
    pub(super) form: WebForm,
}

/// A write that changes items which it does not name, before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRoute {
    pub(super) form: SideForm,
    /// Of the path, decoded once.
    pub(super) segments: Vec<String>,
}

/// A creation that is guarded only where a rule allows it once; an error is a refusal only there.
#[derive(Debug)]
struct OnceRoute(Result<Write, ParseError>);

// === impl Scope, Write, FormRoute, SideRoute ===

impl Scope {
    /// The same as what a request is about.
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Item(address) => Subject::At(address.clone()),
            Self::Create(project) => Subject::New(project.clone()),
        }
    }

    /// For texts: the item, or the project as a whole.
    pub(super) fn locator(&self) -> Place {
        match self {
            Self::Item(address) => address.locator(),
            Self::Create(project) => Place::whole(project),
        }
    }
}

impl Write {
    /// Whether it files a new item.
    pub(super) fn is_new_item(&self) -> bool {
        matches!(self.scope, Scope::Create(_))
    }

    /// What it may create that a rule can be about.
    pub(super) fn creates(&self) -> Option<What> {
        match self.form {
            WriteForm::CreatePull => Some(What::Pull),
            WriteForm::CreateReview | WriteForm::SubmitReview(_) => Some(What::Review),
            _ => None,
        }
    }
}

impl FormRoute {
    /// Whether the call is not known: it passes only where it can be no form of a guarded field.
    pub(super) fn is_unknown(&self) -> bool {
        self.form.is_unknown()
    }
}

impl SideRoute {
    /// Whether it only adds a dependency.
    pub(super) fn is_dependency(&self) -> bool {
        matches!(self.form, SideForm::DependOn | SideForm::Block | SideForm::WebDependency)
    }

    /// Whether a page of the web interface sends it.
    pub(super) fn is_form(&self) -> bool {
        side_effects::is_web(self.form)
    }
}

// === impl Call ===

impl Call {
    /// What the other parts may know of it.
    pub(super) fn into_route(self) -> Route {
        match self {
            Self::Pass => Route::Pass,
            Self::Read { project, address, shows } => Route::Read { project: Some(project), address, shows },
            Self::Refuse(error) => Route::Refuse(error),
            Self::Write(write) => Route::Guarded(Box::new(write)),
            Self::Once(write) => Route::Guarded(Box::new(OnceRoute(write))),
            Self::Form(form) => Route::Guarded(Box::new(form)),
            Self::SideEffect(side) => Route::Guarded(Box::new(side)),
        }
    }
}

// === what they ask for ===

impl GuardedRoute for Write {
    fn class(&self) -> &'static str {
        if self.is_new_item() { "create" } else { "write" }
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let guarded = understand(self, head, body, scrutiny)?;
        let beside = side_effects::edits_ref(self, head, body);
        Ok(Understood { beside, guarded: guarded.map(|write| Arc::new(write) as _), unknown: false })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}

/// What the write wants. A creation that a rule is about is guarded, whatever else it touches.
fn understand(
    write: &Write,
    head: &Head<'_>,
    body: &[u8],
    scrutiny: &Scrutiny<'_>,
) -> Result<Option<ApiWrite>, ParseError> {
    if write.creates().is_some_and(|what| (scrutiny.once)(what)) {
        let creation = once::understand(write, head, body, scrutiny.closing)?;
        let is_ruled = match creation.creation(scrutiny.closing) {
            Some(Creation::Review { event, .. }) => (scrutiny.counts)(&event),
            Some(Creation::Pull { closes, .. }) => !closes.is_empty(),
            None => false,
        };
        if is_ruled {
            return Ok(Some(creation));
        }
    }
    if write.is_new_item() && scrutiny.filing {
        return parse::understand(write, head, body).map(Some);
    }
    parse::parse(write, head, body)
}

impl GuardedRoute for OnceRoute {
    fn class(&self) -> &'static str {
        "once"
    }

    fn passes(&self, scrutiny: &Scrutiny<'_>) -> bool {
        // Where no rule is about them, reviews stream as they come.
        !(scrutiny.once)(What::Review)
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        self.0.as_ref().map_err(ParseError::clone)?.understand(head, body, scrutiny)
    }

    fn reject(&self, rejection: &Rejection, decision: &str, _headers: &HeaderMap) -> WireResponse {
        reply::reject(rejection, decision)
    }

    fn undone_by(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        !status.is_success() && !status.is_server_error()
    }
}

impl GuardedRoute for FormRoute {
    fn class(&self) -> &'static str {
        "form"
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let guarded = web::parse(self, head, body)?;
        // Filed by a form, an item is a creation all the same.
        let beside = if scrutiny.filing { side_effects::files_item(self, head, body) } else { None };
        Ok(Understood { beside, guarded: guarded.map(|form| Arc::new(form) as _), unknown: self.is_unknown() })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse {
        reply::reject_form(rejection, decision, headers)
    }

    fn undone_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        side_effects::refuses_filing(status, headers)
    }
}

impl GuardedRoute for SideRoute {
    fn class(&self) -> &'static str {
        "beside"
    }

    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError> {
        let beside: Option<SideWrite> = match side_effects::parse(self, head, body) {
            // What is only written down is never in the way.
            Err(_) if self.is_dependency() && !scrutiny.dependencies => None,
            beside => beside?,
        };
        Ok(Understood { beside, ..Understood::default() })
    }

    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse {
        if self.is_form() {
            reply::reject_form(rejection, decision, headers)
        } else {
            reply::reject(rejection, decision)
        }
    }

    fn undone_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        side_effects::refuses_filing(status, headers)
    }
}
