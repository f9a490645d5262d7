//! What the head of a request says about it, and how its body is understood.

use super::{Address, ClosingSyntax, Guarded, Head, ParseError, SideWrite, WireResponse};
use crate::model::{ItemKind, Project, Rejection, What};
use http::{HeaderMap, StatusCode};
use std::fmt;

/// What the head of a request says about it.
#[derive(Debug)]
pub enum Route {
    /// Not guarded: streams untouched.
    Pass,
    /// A read of one item, or (without an address) of the items of one repository: streams untouched, noted.
    Read {
        /// The repository, where the request says in which it is.
        project: Option<Project>,
        /// The item.
        address: Option<Address>,
        /// What a 2xx answer shows.
        shows: Shows,
    },
    /// May change what is guarded: its body must be read.
    Guarded(Box<dyn GuardedRoute>),
    /// Not understood, and therefore not sent.
    Refuse(ParseError),
}

/// What a 2xx answer to a read proves that the tracker shows to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The item that the read names, whose kind the request does not say.
    Item,
    /// Items of this kind.
    Items(ItemKind),
    /// What lies beside items, or items of a kind that the tracker chose: nothing that can be told from the request.
    Beside,
}

/// A request that may change what is guarded, before its body. Which call it is, is its tracker's own affair.
pub trait GuardedRoute: fmt::Debug + Send + Sync {
    /// In one word which kind of call it is: `write`, `create`, `once`, `form` or `beside`.
    fn class(&self) -> &'static str;

    /// Whether it streams untouched, since no rule is about what it does.
    fn passes(&self, _scrutiny: &Scrutiny<'_>) -> bool {
        false
    }

    /// What it asks for.
    fn understand(&self, head: &Head<'_>, body: &[u8], scrutiny: &Scrutiny<'_>) -> Result<Understood, ParseError>;

    /// A refusal, in the shape that its client shows. `decision` names it in the log.
    fn reject(&self, rejection: &Rejection, decision: &str, headers: &HeaderMap) -> WireResponse;

    /// Whether an answer says that nothing of what it does beside its items has come about.
    fn undone_by(&self, status: StatusCode, headers: &HeaderMap) -> bool;
}

/// What the rules are about, beside the guarded fields of items.
#[derive(Clone, Copy)]
pub struct Scrutiny<'a> {
    /// Whether a rule allows such a creation only once.
    pub once: &'a dyn Fn(What) -> bool,
    /// Whether a rule is about a review with this verdict.
    pub counts: &'a dyn Fn(&str) -> bool,
    /// Whether a rule is about who files items.
    pub filing: bool,
    /// Whether a rule forbids a dependency on a held item.
    pub dependencies: bool,
    /// How a text says that it closes an issue.
    pub closing: &'a ClosingSyntax,
}

/// A request whose body was read.
#[derive(Debug, Default)]
pub struct Understood {
    /// What it does to items that it does not name: judged first.
    pub beside: Option<SideWrite>,
    /// What it changes of items; `None`: it goes on as it came.
    pub guarded: Option<Guarded>,
    /// The call is not known. It names nothing that could be guarded.
    pub unknown: bool,
}

impl Scrutiny<'_> {
    /// No rule but those about the guarded fields.
    pub fn none(closing: &ClosingSyntax) -> Scrutiny<'_> {
        Scrutiny { once: &|_| false, counts: &|_| false, filing: false, dependencies: false, closing }
    }
}
