//! What the gate promises, how it keeps the promise, and the facts about trackers that the code rests on.
//!
//! Comments in the code name a page and a section of it, such as `(manual: protocol, step 8)`. Start with [`promise`] and
//! [`words`]; [`protocol`] is the page to have at hand while reading `gate` and `admission`.

#![allow(clippy::doc_markdown, reason = "the pages name routes, fields and products in tables")]

#[doc = include_str!("agents.md")]
pub mod agents {}
#[doc = include_str!("answers.md")]
pub mod answers {}
#[doc = include_str!("doors.md")]
pub mod doors {}
#[doc = include_str!("flows.md")]
pub mod flows {}
#[doc = include_str!("forgejo.md")]
pub mod forgejo {}
#[doc = include_str!("github.md")]
pub mod github {}
#[doc = include_str!("jira.md")]
pub mod jira {}
#[doc = include_str!("linear.md")]
pub mod linear {}
#[doc = include_str!("operating.md")]
pub mod operating {}
#[doc = include_str!("gates.md")]
pub mod gates {}
#[doc = include_str!("promise.md")]
pub mod promise {}
#[doc = include_str!("protocol.md")]
pub mod protocol {}
#[doc = include_str!("redmine.md")]
pub mod redmine {}
#[doc = include_str!("rules.md")]
pub mod rules {}
#[doc = include_str!("trello.md")]
pub mod trello {}
#[doc = include_str!("walk.md")]
pub mod walk {}
#[doc = include_str!("ways.md")]
pub mod ways {}
#[doc = include_str!("words.md")]
pub mod words {}
