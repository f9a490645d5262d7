//! GraphQL over HTTP: what a request makes its server carry out (manual: walk).
//!
//! [`read`] takes a request of any form that servers take. What only reads is nobody's business and passes. Of a mutation
//! it gives the fields that are carried out, each with its arguments as the server sees them: operations chosen, fragments,
//! `@skip` and `@include` followed, variables and defaults put in. What a field means is its tracker's affair. A document is
//! parsed and never validated: trackers accept documents that today's validators refuse. It is written anew from what was
//! understood, so that the tracker reads exactly what was judged.
//!
//! Hostile documents cost little: tokens, depth, fields, values and steps are all bounded, and a fragment is followed once
//! in each selection set, as servers do.
//!
//! `lexer` and `syntax` read documents, `execution` follows them, `body` reads requests, `mutation` and `print` write them.

mod body;
mod execution;
mod lexer;
mod mutation;
mod print;
mod syntax;
#[cfg(test)]
mod tests;

use super::{Head, ParseError};
use serde_json::{Value, json};

pub use body::NOT_STORED;
pub use execution::ExecutedField;
pub use mutation::Mutation;
pub use syntax::{Directive, FieldSelection, Literal, Selection};

/// What a request makes its server carry out.
#[derive(Debug)]
pub struct Operations {
    /// The mutations, one for each document that is one. None: it only reads.
    pub mutations: Vec<Mutation>,
    /// The documents stand in a list, and so do the answers.
    pub is_batch: bool,
}

/// Reads a request: the query of a GET, or the body of anything else.
pub fn read(head: &Head<'_>, body: &[u8]) -> Result<Operations, ParseError> {
    let carried = body::read(head, body)?;
    let is_batch = carried.is_batch;
    if carried.only_reads() {
        return Ok(Operations { mutations: Vec::new(), is_batch });
    }
    let mut mutations = Vec::new();
    for entry in carried.entries {
        mutations.extend(Mutation::read(entry)?);
    }
    Ok(Operations { mutations, is_batch })
}

/// The body of an answer that is one error. `data` is null: clients stumble over members that they did not select.
pub fn error_body(message: &str, path: Option<&str>, extensions: &Value) -> Value {
    let mut error = json!({ "message": message, "extensions": extensions });
    if let Some(path) = path {
        error["path"] = json!([path]);
    }
    json!({ "data": null, "errors": [error] })
}

/// The items of a list, which servers take a single value for.
pub fn items_of(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}
