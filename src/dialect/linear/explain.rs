//! What the gate makes of a request, in words for an operator. Secrets are named, never shown.

use super::super::explain::line;
use super::super::{Chosen, Credential, GuardedRequest as _, Head, Request as _, Subject, Wants};
use super::call::{DocumentMeaning, meaning};
use super::credential;
use super::routes::{EndpointMatch, classify};
use super::write::IssueMutation;
use http::HeaderMap;

/// Route, sender, guarded fields and the document as it is written anew, or the refusal.
pub fn explain(head: &Head<'_>, body: &[u8]) -> String {
    let mut text = String::new();
    line(&mut text, "request", format_args!("{} {}", head.method, head.target.path()));
    match classify(head) {
        EndpointMatch::Other => return text + "route: pass (streams untouched)\n",
        EndpointMatch::Refuse(error) => {
            line(&mut text, "route", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
            return text;
        }
        EndpointMatch::Graphql => text.push_str("route: may be guarded (its document says)\n"),
    }
    match meaning(head, body, false) {
        Ok(DocumentMeaning::Free) => text.push_str("guarded: nothing (goes on as it came)\n"),
        Ok(DocumentMeaning::Write(write)) => guarded(&mut text, head, &write),
        Err(error) => {
            line(&mut text, "body", format_args!("refuse ({})", error.code().as_str()));
            line(&mut text, "reason", error);
        }
    }
    text
}

fn guarded(text: &mut String, head: &Head<'_>, write: &IssueMutation) {
    match credential::read(head) {
        Ok(credential) => line(text, "credential", credential.kinds()),
        Err(error) => line(text, "credential", format_args!("refuse ({}): {error}", error.code().as_str())),
    }
    let items = match write.subject() {
        Subject::At(address) => address.locator().to_string(),
        Subject::Places(all) => all.iter().map(|at| at.locator().to_string()).collect::<Vec<_>>().join(", "),
        Subject::Keys(keys) => format!("{} by id", keys.len()),
        Subject::New(team) => format!("a new one in {team}"),
    };
    line(text, "items", items);
    let guarded = match write.wants() {
        Wants::Toggle => format!("{} (as each issue then stands)", write.describe()),
        Wants::Change(_) | Wants::Beside { .. } => write.describe(),
    };
    line(text, "guarded", guarded);
    let chosen: Vec<Chosen<'_>> = write.change.iter().map(|change| Chosen::unread(None, change)).collect();
    let request = write.emit(&chosen, &HeaderMap::new(), &Credential::default());
    line(text, "sends", format_args!("{} {}", request.method, request.target));
    line(text, "body", String::from_utf8_lossy(&request.body));
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use serde_json::json;

    fn explained(request: &str, query: &str) -> String {
        let (method, target) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "lin_api_hush".parse().unwrap());
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(target), headers: &headers };
        let text = explain(&head, json!({ "query": query }).to_string().as_bytes());
        assert!(!text.contains("hush"), "{text}");
        text
    }

    #[test]
    fn says_what_becomes_of_a_request() {
        assert_eq!(explained("POST /oauth/token", ""), "request: POST /oauth/token\nroute: pass (streams untouched)\n");
        let read = explained("POST /graphql", "{ viewer { id } }");
        assert!(read.ends_with("guarded: nothing (goes on as it came)\n"), "{read}");
        let moved = explained(
            "POST /graphql",
            "mutation { issueUpdate(id: \"eng-1\", input: { stateId: \"S\" }) { success } }",
        );
        assert!(
            moved.contains("credential: authorization\nitems: ENG-1\nguarded: labels+=[#s]\nsends: POST /graphql\n"),
            "{moved}"
        );
        let many = explained(
            "POST /graphql",
            "mutation { a: issueArchive(id: \"ENG-1\") { success } b: issueArchive(id: \"ENG-2\") { success } }",
        );
        assert!(
            many.contains(
                "items: ENG-1, ENG-2\nguarded: issueArchive, issueArchive of 2 issues (as each issue then stands)"
            ),
            "{many}"
        );
        let refused = explained("POST /graphql", "mutation { issueUpdate(id: \"x\", input: {}) { success } }");
        assert!(refused.contains("reason: `issueUpdate`: `id` must be an issue's id"), "{refused}");
        assert!(explained("POST /x/graphql", "").contains("route: refuse"));
    }
}
