//! What a request states of the item that it wants to change: `If-Match` and `Claimgate-Expect`.
//!
//! A precondition that is not understood is refused and never passed over: its sender relies on it. Neither header goes on
//! to the tracker with a guarded write.

use crate::admission::{Expectation, StateTag, Stated, Tags, Workflow};
use crate::model::{Account, OpenState, Status};
use http::header::{self, HeaderMap, HeaderName};
use std::collections::BTreeSet;

/// The header that states a condition in words.
const EXPECT: HeaderName = HeaderName::from_static("claimgate-expect");
const LONGEST_LOGIN: usize = 255;
const NONE: &str = "none";

/// What these headers state; why not, if that cannot be understood.
pub(super) fn read(headers: &HeaderMap, workflow: &Workflow) -> Result<Expectation, String> {
    let mut stated = Stated::default();
    if let Some(list) = joined(headers, &header::IF_MATCH) {
        let tags = tags(&list).ok_or("If-Match is neither * nor a list of quoted tags, as Claimgate-State has them")?;
        stated.tags = Some(tags);
    }
    if let Some(list) = joined(headers, &EXPECT) {
        let mut conditions = list.split(',').map(str::trim).filter(|condition| !condition.is_empty()).peekable();
        conditions.peek().ok_or_else(|| format!("Claimgate-Expect is empty; it knows {KNOWN}"))?;
        conditions.try_for_each(|condition| expect(&mut stated, condition, workflow))?;
    }
    if stated == Stated::default() {
        return Ok(Expectation::Implied);
    }
    Ok(Expectation::Stated(Box::new(stated)))
}

/// All lines of a header as the one list that they are (RFC 9110, 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// `*`, or entity tags with commas between them (RFC 9110, 8.8.3 and 13.1.1).
fn tags(list: &str) -> Option<Tags> {
    if list.trim_matches(BLANK) == "*" {
        return Some(Tags::Any);
    }
    let (mut strong, mut seen) = (BTreeSet::new(), false);
    let mut rest = skip_commas(list);
    while !rest.is_empty() {
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if tag.chars().any(|c| c.is_ascii_control() || c == ' ') {
            return None;
        }
        seen = true;
        if !is_weak {
            strong.insert(StateTag::quoted(tag));
        }
        let after = after.trim_start_matches(BLANK);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = skip_commas(after);
    }
    seen.then_some(Tags::These(strong))
}

fn skip_commas(list: &str) -> &str {
    list.trim_start_matches([' ', '\t', ','])
}

/// One condition more; those about the same field add up.
fn expect(stated: &mut Stated, condition: &str, workflow: &Workflow) -> Result<(), String> {
    let name = condition.split_once('=').map_or(condition, |(name, _)| name);
    match condition.split_once('=').map(|(_, value)| value) {
        None if name == "unassigned" => add(&mut stated.assignees, None),
        Some(login) if name == "assigned" && is_login(login) => add(&mut stated.assignees, Some(Account::new(login))),
        Some(NONE) if name == "status" => add(&mut stated.statuses, None),
        Some(status) if name == "status" => match Status::new(status) {
            status if workflow.states.contains(&status) => add(&mut stated.statuses, Some(status)),
            _ => {
                return Err(format!(
                    "Claimgate-Expect names a status that the workflow does not have; it has {}",
                    all(workflow)
                ));
            }
        },
        Some("open") if name == "state" => once(&mut stated.state, OpenState::Open),
        Some("closed") if name == "state" => once(&mut stated.state, OpenState::Closed),
        _ => return Err(format!("Claimgate-Expect has a condition that is not known; it knows {KNOWN}")),
    }
    .ok_or_else(|| "Claimgate-Expect has two conditions of which only one can hold".to_owned())
}

/// A member more, or that there is none; not both.
fn add<T: Ord>(set: &mut Option<BTreeSet<T>>, member: Option<T>) -> Option<()> {
    let clashes = set.as_ref().is_some_and(|set| set.is_empty() != member.is_none());
    set.get_or_insert_default().extend(member);
    (!clashes).then_some(())
}

fn once(state: &mut Option<OpenState>, wanted: OpenState) -> Option<()> {
    (*state.get_or_insert(wanted) == wanted).then_some(())
}

/// A refusal repeats it, and so does the audit.
fn is_login(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=LONGEST_LOGIN).contains(&text.len()) && text.bytes().all(plain)
}

fn all(workflow: &Workflow) -> String {
    let names: Vec<&str> = workflow.states.iter().map(Status::as_str).chain([NONE]).collect();
    names.join(", ")
}

const BLANK: [char; 2] = [' ', '\t'];
const KNOWN: &str = "unassigned, assigned=LOGIN, status=NAME or status=none, state=open, state=closed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{By, Editors, Mode};
    use http::HeaderValue;

    fn workflow() -> Workflow {
        let states = ["backlog", "todo", "in progress"].map(Status::new).into();
        let (working, consume) = (BTreeSet::new(), BTreeSet::new());
        Workflow {
            mode: Mode::Enforce,
            states,
            one_status: false,
            working,
            consume,
            moves: Vec::new(),
            put_back: true,
            edit_labels: Editors::Overriders,
            dependencies_by: By::Anyone,
        }
    }

    /// What the headers state, in the words of a refusal; its tags.
    fn stated(headers: &[(&'static str, &str)]) -> Result<(String, Option<Tags>), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match read(&map, &workflow())? {
            Expectation::Implied => Ok((String::new(), None)),
            Expectation::Stated(stated) => Ok((stated.to_string(), stated.tags)),
        }
    }

    #[test]
    fn conditions() {
        for (list, said) in [
            ("unassigned", Some("nobody assigned")),
            (" unassigned , status=Backlog ", Some("nobody assigned, status backlog")),
            ("status=none", Some("no status")),
            ("status=in progress,state=closed", Some("status in progress, closed")),
            ("status=todo,status=backlog", Some("status backlog + todo")),
            ("assigned=Ann", Some("assigned to Ann")),
            ("assigned=bob,assigned=ann,state=open", Some("assigned to ann + bob, open")),
            ("unassigned,,unassigned,", Some("nobody assigned")),
            ("", None),
            (" , ", None),
            ("Unassigned", None),
            ("unassigned=", None),
            ("unassigned=yes", None),
            ("assigned", None),
            ("assigned=", None),
            ("assigned=a b", None),
            ("assigned=a\"b", None),
            ("status", None),
            ("status=", None),
            ("status=doing", None),
            ("state=done", None),
            ("state", None),
            ("free", None),
            ("unassigned;status=backlog", None),
            ("unassigned,assigned=ann", None),
            ("assigned=ann,unassigned", None),
            ("status=none,status=todo", None),
            ("state=open,state=closed", None),
            ("unassigned,free", None),
        ] {
            let got = stated(&[("claimgate-expect", list)]);
            assert_eq!(got.as_ref().ok().map(|(said, _)| said.as_str()), said, "{list}: {got:?}");
        }
        let lines = [("claimgate-expect", "unassigned"), ("claimgate-expect", "status=todo")];
        assert_eq!(stated(&lines).unwrap().0, "nobody assigned, status todo");
        assert_eq!(stated(&[]).unwrap().0, "");
    }

    #[test]
    fn entity_tags() {
        let these = |tags: &[&str]| Some(Tags::These(tags.iter().map(|tag| StateTag::quoted(tag)).collect()));
        for (list, tags) in [
            ("*", Some(Tags::Any)),
            (" * ", Some(Tags::Any)),
            ("\"a\"", these(&["a"])),
            ("\"a\", \"b\"", these(&["a", "b"])),
            (",, \"a\" ,\t\"b\",", these(&["a", "b"])),
            ("\"a,b\"", these(&["a,b"])),
            ("\"\"", these(&[""])),
            ("\"ü\"", these(&["ü"])),
            // Weak ones never match.
            ("W/\"a\"", these(&[])),
            ("W/\"a\", \"b\"", these(&["b"])),
            ("", None),
            (",", None),
            ("a", None),
            ("\"a", None),
            ("a\"", None),
            ("\"a\" \"b\"", None),
            ("\"a\"b", None),
            ("\"a b\"", None),
            ("w/\"a\"", None),
            ("*, \"a\"", None),
            ("\"a\", *", None),
        ] {
            let got = stated(&[("if-match", list)]);
            assert_eq!(got.as_ref().ok().and_then(|(_, tags)| tags.clone()), tags, "{list}: {got:?}");
            assert_eq!(got.is_ok(), tags.is_some(), "{list}");
        }
        let both = [("if-match", "\"a\""), ("if-match", "\"b\""), ("claimgate-expect", "unassigned")];
        let (said, tags) = stated(&both).unwrap();
        assert_eq!((said.as_str(), tags), ("the state that If-Match names, nobody assigned", these(&["a", "b"])));
    }
}
