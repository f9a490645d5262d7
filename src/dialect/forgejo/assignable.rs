//! Who may be assigned (manual: forgejo, section 1.3).
//!
//! A forge replaces assignees one by one. That somebody has no access it finds out when the old ones are gone, and answers
//! 500 then. Whoever may write may be assigned, on newer versions also whoever may read pull requests: in a public
//! repository everybody, in a private one its collaborators, whom the list of assignees does not name if they only read.

use super::super::target::join;
use super::super::{Address, Assignable, Credential, WireResponse};
use super::location::Location;
use super::{emit, read};
use crate::model::Account;
use serde_json::Value;

/// What to ask next: who may be assigned, whether the repository is private, and whether the account is a collaborator.
pub fn next(address: &Address, login: &Account, answers: &[WireResponse], credential: &Credential) -> Assignable {
    let at = Location::of(address);
    let below = |tail: &[&str]| {
        let repository = ["api", "v1", "repos", at.owner, at.repo];
        Assignable::Ask(emit::get(join(&[&repository[..], tail].concat()), credential))
    };
    match answers {
        [] => below(&["assignees"]),
        [listed] => match is_listed(listed, login) {
            Some(true) => Assignable::Told(true),
            Some(false) => below(&[]),
            None => Assignable::Unknown,
        },
        [_, repository] if is_private(repository) => below(&["collaborators", login.as_str()]),
        [_, _, collaborator] => match collaborator.status.as_u16() {
            204 => Assignable::Told(true),
            // Nobody has that name.
            404 | 422 => Assignable::Told(false),
            _ => Assignable::Unknown,
        },
        _ => Assignable::Unknown,
    }
}

/// `None` where there is no such list, or it is not for this caller.
fn is_listed(response: &WireResponse, login: &Account) -> Option<bool> {
    let answer = (response.status.as_u16() == 200).then(|| read::json(response).ok()).flatten()?;
    let names = answer.as_array()?.iter().map(|user| user.get("login").and_then(Value::as_str).map(Account::new));
    names.collect::<Option<Vec<Account>>>().map(|names| names.contains(login))
}

fn is_private(response: &WireResponse) -> bool {
    let repository = (response.status.as_u16() == 200).then(|| read::object(response).ok()).flatten();
    repository.is_some_and(|repository| repository.get("private") == Some(&Value::Bool(true)))
}
