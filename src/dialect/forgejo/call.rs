//! What a request is, by its head.

use super::super::{Address, ParseError, Route, Shows};
use super::side_route::SideRoute;
use super::web_form::FormRoute;
use super::write::Write;
use crate::model::Project;

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

/// A creation that is guarded only where a rule allows it once; an error is a refusal only there.
#[derive(Debug)]
pub(super) struct OnceRoute(pub(super) Result<Write, ParseError>);

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
