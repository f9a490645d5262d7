//! What the gate makes of a request, in words for an operator. Secrets are named, never shown.

use super::super::{Dialect, Head, Intent, Parsed, Route, Scope};
use super::emit;
use crate::model::{Change, LabelRef, Login, SetChange};
use std::fmt::{Display, Write as _};

/// Route, sender, guarded fields and the canonical request, or the refusal.
pub fn explain(dialect: &dyn Dialect, head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(&mut text, "request", format_args!("{} {}", head.method, head.target.path()));
    let write = match dialect.classify(head) {
        Route::Pass => return text + "route: pass (streams untouched)\n",
        Route::Read { project, address } => {
            let what = address.map_or(project.to_string(), |address| address.locator().to_string());
            line(&mut text, "route", format_args!("read of {what} (streams untouched, noted)"));
            return text;
        }
        Route::Refuse(error) => {
            line(&mut text, "route", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
            return text;
        }
        Route::Write(write) => write,
    };
    let subject = match &write.scope {
        Scope::Item(address) => address.locator().to_string(),
        Scope::Create(project) => format!("a new item in {project}"),
    };
    line(&mut text, "route", format_args!("write ({:?}) on {subject}", write.form));
    match dialect.credential(head, body) {
        Ok(credential) => line(&mut text, "credential", credential.kinds()),
        Err(error) => line(&mut text, "credential", format_args!("refuse ({}): {error}", error.code().as_str())),
    }
    match dialect.parse(&write, head, body) {
        Ok(Parsed::Unguarded) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(Parsed::Guarded(intent)) => guarded(&mut text, &intent),
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

fn guarded(text: &mut String, intent: &Intent) {
    fields(text, &intent.change);
    line(text, "sends", format_args!("{} {}", emit::method(intent.form), emit::path(intent)));
    line(text, "body", emit::body(intent).unwrap_or_else(|| "none".to_owned()));
}

fn fields(text: &mut String, change: &Change) {
    if let Some(change) = &change.assignees {
        line(text, "guarded", format_args!("assignees {}", set(change, Login::as_str)));
    }
    if let Some(change) = &change.labels {
        let name = |label: &LabelRef| match label {
            LabelRef::Id(id) => format!("id {id}"),
            LabelRef::Name(name) => name.clone(),
        };
        line(text, "guarded", format_args!("labels {}", set(change, name)));
    }
    if let Some(state) = change.state {
        line(text, "guarded", format_args!("state {}", state.as_str()));
    }
}

fn set<'a, T: Ord, S: Display>(change: &'a SetChange<T>, show: impl Fn(&'a T) -> S) -> String {
    let (verb, set) = match change {
        SetChange::Replace(set) => ("become", set),
        SetChange::Add(set) => ("gain", set),
        SetChange::Remove(set) => ("lose", set),
    };
    let names: Vec<String> = set.iter().map(|member| show(member).to_string()).collect();
    format!("{verb} [{}]", names.join(", "))
}

fn line(text: &mut String, name: &str, value: impl Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name}: {value}");
}
