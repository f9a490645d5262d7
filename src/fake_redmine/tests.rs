//! The faults, and the readings that outsiders would not expect. What is as recorded is tested in
//! `tests/integration/redmine`.

use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::{FakeRedmine, Options};
use crate::fake_forge::{CollectedReply, Cut, Fault, Matcher, Vices};

const ISSUE: &str = "/issues/1.json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Two members, one stranger, one free issue.
fn redmine() -> FakeRedmine {
    let redmine = FakeRedmine::offline(&Options::default());
    redmine.add_project("demo", "Demo");
    for login in ["ann", "bob", "eve"] {
        let id = redmine.add_user(login, login);
        if login != "eve" {
            redmine.add_member("demo", id);
        }
    }
    redmine.add_user("admin", "root");
    redmine.add_session("ann", "cookie-of-ann", "token-of-ann");
    redmine.add_issue("demo", "admin", "first");
    redmine
}

async fn send(redmine: &FakeRedmine, line: &str, headers: &[(&str, &str)], body: &str) -> Result<CollectedReply, Cut> {
    let (method, target) = line.split_once(' ').expect("a method and a target");
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    redmine.call(request.body(Bytes::copy_from_slice(body.as_bytes())).expect("a legal request")).await
}

async fn claim(redmine: &FakeRedmine, who: &str) -> Result<u16, Cut> {
    let headers = [("x-redmine-api-key", who), ("content-type", "application/json")];
    let body = r#"{"issue":{"assigned_to_id":"me","status_id":2}}"#;
    send(redmine, &format!("PUT {ISSUE}"), &headers, body).await.map(|answer| answer.status)
}

fn shown(redmine: &FakeRedmine) -> (Option<String>, String) {
    let issue = redmine.issue(1);
    (issue.assigned_to, issue.status)
}

#[tokio::test(start_paused = true)]
async fn the_later_of_two_wins_and_an_overlap_is_a_conflict() {
    let redmine = redmine();
    assert_eq!((claim(&redmine, "ann").await, claim(&redmine, "bob").await), (Ok(204), Ok(204)));
    assert_eq!(shown(&redmine), (Some("bob".to_owned()), "In Progress".to_owned()));
    redmine.edit_outside(1, None, 1);
    redmine.set_vices(Vices { write_delay: Duration::from_millis(5), ..Vices::default() });
    let both = tokio::join!(claim(&redmine, "ann"), claim(&redmine, "bob"));
    assert_eq!(both, (Ok(204), Ok(422)), "the row had changed between read and write");
    assert_eq!(shown(&redmine).0.as_deref(), Some("ann"));
}

#[tokio::test(start_paused = true)]
async fn faults_befall_a_write() {
    let cases = [
        (Fault::ErrorBeforeWrite(502), Ok(502), None, "New"),
        (Fault::ErrorAfterWrite(500), Ok(500), Some("ann"), "In Progress"),
        (Fault::Ignore, Ok(204), None, "New"),
        (Fault::AssigneesThenError(500), Ok(500), Some("ann"), "New"),
        (Fault::RestThenError(500), Ok(500), None, "In Progress"),
        (Fault::CutBefore, Err(Cut), None, "New"),
        (Fault::CutAfter, Err(Cut), Some("ann"), "In Progress"),
    ];
    for (fault, told, assignee, status) in cases {
        let redmine = redmine();
        redmine.script(fault, Matcher::new("PUT", "/issues/1"));
        assert_eq!(claim(&redmine, "ann").await, told, "{fault:?}");
        assert_eq!(shown(&redmine), (assignee.map(str::to_owned), status.to_owned()), "{fault:?}");
        assert_eq!(redmine.scripted(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_lands_after_everybody_has_given_up() {
    let redmine = redmine();
    redmine.script(Fault::Zombie(Duration::from_mins(1)), Matcher::any("/issues/1"));
    assert_eq!(claim(&redmine, "ann").await, Err(Cut));
    assert_eq!(claim(&redmine, "bob").await, Ok(204));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(shown(&redmine).0.as_deref(), Some("ann"));
    let applied: Vec<bool> = redmine.requests().iter().map(|request| request.applied).collect();
    assert_eq!(applied, [true, true]);
}

/// A form of the web proves itself by its session's token. Of many issues, whatever can be saved is.
#[tokio::test]
async fn forms_of_a_session() {
    let redmine = redmine();
    redmine.add_issue("demo", "admin", "second");
    let cookie = ("cookie", "_redmine_session=cookie-of-ann");
    let (kind, token) = (("content-type", FORM), ("x-csrf-token", "token-of-ann"));
    let status = async |line: &str, headers: &[(&str, &str)], body: &str| {
        send(&redmine, line, headers, body).await.map(|answer| answer.status)
    };
    assert_eq!(status("PATCH /issues/1", &[cookie, kind], "issue[assigned_to_id]=me").await, Ok(422));
    assert_eq!(status("PUT /issues/1.json", &[cookie, kind, token], "issue[assigned_to_id]=me").await, Ok(401));
    assert_eq!(shown(&redmine).0, None);
    assert_eq!(status("PATCH /issues/1", &[cookie, kind, token], "issue[assigned_to_id]=me").await, Ok(302));
    assert_eq!(shown(&redmine).0.as_deref(), Some("ann"));
    let with_token = "_method=patch&authenticity_token=token-of-ann&issue[assigned_to_id]=none";
    assert_eq!(status("POST /issues/1", &[cookie, kind], with_token).await, Ok(302));
    assert_eq!(shown(&redmine).0, None);
    assert_eq!(status("PATCH /issues/1", &[cookie, kind, token], "issue[assigned_to_id]=99").await, Ok(200));
    let bulk = "POST /issues/bulk_update?ids[]=1&ids[]=2";
    assert_eq!(status(bulk, &[cookie, kind, token], "issue[status_id]=2&issue[assigned_to_id]=").await, Ok(302));
    assert_eq!([1, 2].map(|id| redmine.issue(id).status), ["In Progress", "In Progress"]);
    assert_eq!(status(bulk, &[cookie, kind, token], "issue[assigned_to_id]=me").await, Ok(200), "nobody's number");
}

#[tokio::test]
async fn what_is_private_is_not_there_for_strangers() {
    let redmine = redmine();
    let read = async |who: &str| send(&redmine, &format!("GET {ISSUE}"), &[("x-redmine-api-key", who)], "").await;
    let status = async |who: &str| read(who).await.map(|answer| answer.status);
    assert_eq!((status("eve").await, status("nobody").await), (Ok(200), Ok(200)));
    redmine.make_private("demo");
    assert_eq!((status("eve").await, status("nobody").await, status("bob").await), (Ok(403), Ok(401), Ok(200)));
}

#[tokio::test]
async fn a_deleted_user_leaves_its_issues_to_nobody() {
    let redmine = redmine();
    let ann = redmine.add_user("ann", "ann");
    assert_eq!(claim(&redmine, "ann").await, Ok(204));
    redmine.delete_user(ann);
    assert_eq!(shown(&redmine), (None, "In Progress".to_owned()));
    redmine.clear_requests();
    assert!(redmine.requests().is_empty());
}
