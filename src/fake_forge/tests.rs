//! The vices, and the readings that outsiders to a forge would not expect. What is as recorded is tested in
//! `tests/integration/conformance.rs`.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{CollectedReply, Cut, FakeForge, Fault, Feature, Happening, Matcher, Options, TokenScope, Vices};

const ISSUE: &str = "/api/v1/repos/root/work/issues/1";

/// Two writers, one stranger, one open issue with a label.
fn forge_with(options: Options) -> FakeForge {
    let forge = FakeForge::offline(options);
    for login in ["root", "ann", "bob", "eve", "mark"] {
        forge.add_user(login, login);
    }
    forge.add_session("ann", "cookie-of-ann");
    forge.make_admin("root");
    forge.add_repo("root", "work");
    for writer in ["ann", "bob", "mark"] {
        forge.grant_write(writer, "root/work");
    }
    forge.add_label("root/work", "backlog");
    forge.add_label("root/work", "doing");
    forge.add_issue("root/work", "first", &["backlog"], &[]);
    forge
}

fn forge() -> FakeForge {
    forge_with(Options::default())
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::copy_from_slice(body.as_bytes())).expect("a legal request")
}

/// One API call as this user, with JSON.
async fn call(forge: &FakeForge, who: &str, method: &str, target: &str, body: &str) -> Result<CollectedReply, Cut> {
    let credential = format!("token {who}");
    let headers = [("authorization", credential.as_str()), ("content-type", "application/json")];
    forge.call(request(method, target, &headers, body)).await
}

async fn status(forge: &FakeForge, who: &str, method: &str, target: &str, body: &str) -> u16 {
    call(forge, who, method, target, body).await.expect("an answer").status
}

async fn claim(forge: &FakeForge, who: &str) -> Result<CollectedReply, Cut> {
    call(forge, who, "PATCH", ISSUE, &json!({ "assignees": [who] }).to_string()).await
}

/// Everything that comes back for these bytes until the connection ends.
async fn exchange(forge: &FakeForge, message: &str) -> String {
    let mut stream = TcpStream::connect(forge.addr()).await.expect("it listens");
    stream.write_all(message.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    // An end that is not clean is what some of the tests are about.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn assignees(forge: &FakeForge) -> Vec<String> {
    forge.issue("root/work", 1).assignees
}

// === vices ===

#[tokio::test(start_paused = true)]
async fn two_claims_at_once_leave_both_assigned() {
    let forge = forge();
    forge.set_vices(Vices { write_delay: Duration::from_millis(20), ..Vices::default() });
    let (one, other) = tokio::join!(claim(&forge, "ann"), claim(&forge, "bob"));
    assert_eq!((one.expect("201").status, other.expect("201").status), (201, 201));
    assert_eq!(assignees(&forge).len(), 2);
    assert_eq!(forge.max_assignees_ever("root/work", 1), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_claim_twice_at_once_leaves_one_user_twice() {
    let forge = forge();
    forge.set_vices(Vices { write_delay: Duration::from_millis(20), ..Vices::default() });
    let _ = tokio::join!(claim(&forge, "ann"), claim(&forge, "ann"));
    assert_eq!(assignees(&forge), ["ann", "ann"]);
    assert_eq!(forge.max_assignees_ever("root/work", 1), 1);
}

#[tokio::test]
async fn an_error_can_come_after_the_write_or_instead_of_it() {
    let forge = forge();
    forge.script(Fault::ErrorBeforeWrite(503), Matcher::new("PATCH", "/issues/1"));
    forge.script(Fault::ErrorAfterWrite(500), Matcher::new("PATCH", "/issues/1"));
    assert_eq!(claim(&forge, "ann").await.expect("an answer").status, 503);
    assert!(assignees(&forge).is_empty());
    assert_eq!(claim(&forge, "ann").await.expect("an answer").status, 500);
    assert_eq!(assignees(&forge), ["ann"]);
    assert_eq!(forge.script_remaining(), 0);
    let log = forge.requests_about("root/work", 1);
    assert_eq!(
        log.iter().map(|entry| (entry.status, entry.applied)).collect::<Vec<_>>(),
        [(Some(503), false), (Some(500), true)]
    );
    assert!(log.iter().all(|entry| entry.guarded && entry.login.as_deref() == Some("ann")));
}

#[tokio::test(start_paused = true)]
async fn a_zombie_lands_after_everybody_has_given_up() {
    let forge = forge();
    forge.script(Fault::Zombie(Duration::from_mins(1)), Matcher::new("PATCH", "/issues/1"));
    assert_eq!(claim(&forge, "ann").await.err(), Some(Cut));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(assignees(&forge).is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(assignees(&forge), ["ann"]);
}

#[tokio::test(start_paused = true)]
async fn a_hang_may_land_though_its_client_has_gone() {
    let forge = forge();
    forge.script(Fault::Hang { lands_after: Some(Duration::from_secs(9)) }, Matcher::any(ISSUE));
    let gone = tokio::time::timeout(Duration::from_secs(5), claim(&forge, "ann")).await;
    assert!(gone.is_err() && assignees(&forge).is_empty());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(assignees(&forge), ["ann"]);
}

#[tokio::test]
async fn a_write_can_be_half_done_or_not_at_all() {
    let forge = forge();
    let both = r#"{"assignees":["ann"],"state":"closed"}"#;
    forge.script(Fault::Ignore, Matcher::new("PATCH", ISSUE));
    assert_eq!(status(&forge, "ann", "PATCH", ISSUE, both).await, 201);
    assert_eq!((assignees(&forge).len(), forge.issue("root/work", 1).state), (0, "open"));
    forge.script(Fault::RestThenError(500), Matcher::new("PATCH", ISSUE));
    assert_eq!(status(&forge, "ann", "PATCH", ISSUE, both).await, 500);
    assert_eq!((assignees(&forge).len(), forge.issue("root/work", 1).state), (0, "closed"));
    forge.outside_reopen("root", "root/work", 1);
    forge.script(Fault::AssigneesThenError(502), Matcher::new("PATCH", ISSUE));
    assert_eq!(status(&forge, "ann", "PATCH", ISSUE, both).await, 502);
    assert_eq!((assignees(&forge).len(), forge.issue("root/work", 1).state), (1, "open"));
}

#[tokio::test]
async fn an_answer_can_break_off_or_be_no_json() {
    let forge = forge();
    forge.script(Fault::Truncated, Matcher::any(ISSUE));
    forge.script(Fault::Garbled, Matcher::any(ISSUE));
    assert_eq!(claim(&forge, "ann").await.err(), Some(Cut));
    assert_eq!(assignees(&forge), ["ann"]);
    let garbled = claim(&forge, "bob").await.expect("an answer");
    assert_eq!((garbled.status, garbled.json()), (201, json!(null)));
    assert_eq!(assignees(&forge), ["bob"]);
}

#[tokio::test]
async fn a_cut_and_a_truncation_are_seen_on_the_socket() {
    let forge = FakeForge::start(Options::default()).await.expect("a free port");
    forge.script(Fault::CutAfter, Matcher::any("/version"));
    forge.script(Fault::Truncated, Matcher::any("/version"));
    let version = "GET /api/v1/version HTTP/1.1\r\nhost: x\r\n\r\n";
    let seen = [exchange(&forge, version).await, exchange(&forge, version).await];
    assert_eq!(seen[0], "");
    assert!(seen[1].contains("content-length: 22") && seen[1].ends_with("{\"version\":"), "{}", seen[1]);
}

// === outsiders, toggles, history ===

#[tokio::test]
async fn the_web_toggles_whatever_the_action_says() {
    let forge = forge();
    let id = forge.issue("root/work", 1).id;
    let body = format!("issue_ids={id}&id=3&action=attach");
    let cookie = [("cookie", "i_like_gitea=cookie-of-ann"), ("content-type", "application/x-www-form-urlencoded")];
    for expected in [1, 0] {
        let toggle = request("POST", "/root/work.git/issues/assignee", &cookie, &body);
        assert_eq!(forge.call(toggle).await.expect("an answer").json(), json!({ "ok": true }));
        assert_eq!(assignees(&forge).len(), expected);
    }
    let by_query = request("POST", &format!("/root/work/issues/status?issue_ids={id}&action=close"), &cookie[..1], "");
    assert_eq!(forge.call(by_query).await.expect("an answer").status, 200);
    assert_eq!(forge.issue("root/work", 1).state, "closed");
    let reopen = request("POST", "/root/work/issues/1/comments", &cookie, "content=&status=reopen");
    assert_eq!(forge.call(reopen).await.expect("an answer").status, 302);
    assert_eq!(forge.issue("root/work", 1).state, "open");
}

#[tokio::test]
async fn the_webs_label_toggle_looks_at_the_whole_selection() {
    let forge = forge();
    let second = forge.add_issue("root/work", "another", &["doing"], &[]);
    let ids = format!("{},{},999999", forge.issue("root/work", 1).id, second.id);
    // The second of the labels.
    let label = 2;
    let cookie = [("cookie", "i_like_gitea=cookie-of-ann"), ("content-type", "application/x-www-form-urlencoded")];
    // Detached where any has it, attached only where none has; what does not exist is passed over.
    for (action, expected) in [("toggle", [0, 0]), ("toggle", [1, 1]), ("toggle-alt", [0, 0])] {
        let body = format!("issue_ids={ids}&id={label}&action={action}");
        let toggle = request("POST", "/root/work/issues/labels", &cookie, &body);
        assert_eq!(forge.call(toggle).await.expect("an answer").status, 200);
        let carried = [1, second.number]
            .map(|n| forge.issue("root/work", n).labels.iter().filter(|name| *name == "doing").count());
        assert_eq!(carried, expected, "{action}");
    }
}

#[tokio::test]
async fn a_form_must_be_its_users_own() {
    let old = forge();
    old.add_session_with_token("ann", "guarded-cookie", "the-token");
    let new = forge_with(Options::forgejo_15());
    let form = "application/x-www-form-urlencoded";
    for (forge, headers, expected) in [
        (&old, vec![("cookie", "i_like_gitea=guarded-cookie")], 302),
        (&old, vec![("cookie", "i_like_gitea=guarded-cookie"), ("x-csrf-token", "the-token")], 200),
        (&new, vec![("cookie", "i_like_gitea=cookie-of-ann"), ("sec-fetch-site", "cross-site")], 403),
        (&new, vec![("cookie", "i_like_gitea=cookie-of-ann"), ("sec-fetch-site", "same-origin")], 200),
        (
            &new,
            vec![("cookie", "i_like_gitea=cookie-of-ann"), ("host", "f.test"), ("origin", "https://evil.test")],
            403,
        ),
        (&new, vec![("cookie", "i_like_gitea=cookie-of-ann"), ("host", "f.test"), ("origin", "https://f.test")], 200),
        (&new, vec![], 302),
    ] {
        let mut headers = headers.clone();
        headers.push(("content-type", form));
        let body = format!("issue_ids={}&action=close", forge.issue("root/work", 1).id);
        let answer = forge.call(request("POST", "/root/work/issues/status", &headers, &body)).await;
        assert_eq!(answer.expect("an answer").status, expected, "{headers:?}");
    }
    // The newer one does not take the cookie on the API.
    let headers = [("cookie", "i_like_gitea=cookie-of-ann"), ("x-csrf-token", "any")];
    for (forge, expected) in [(&old, 200), (&new, 401)] {
        let me = forge.call(request("GET", "/api/v1/user", &headers, "")).await;
        assert_eq!(me.expect("an answer").status, expected);
    }
}

#[tokio::test]
async fn history_tells_who_did_what_by_which_request() {
    let forge = forge();
    let labels = format!("{ISSUE}/labels");
    assert_eq!(status(&forge, "ann", "PUT", &labels, r#"{"labels":[2]}"#).await, 200);
    forge.outside_assign("root", "root/work", 1, &["bob"]);
    forge.outside_remove_collaborator("root", "root/work", "bob");
    let events: Vec<_> =
        forge.events("root/work", 1).into_iter().map(|one| (one.what, one.doer, one.request, one.silent)).collect();
    let (ann, root) = (|| "ann".to_owned(), || "root".to_owned());
    assert_eq!(
        events,
        [
            (Happening::Labeled("backlog".into()), root(), None, false),
            (Happening::Unlabeled("backlog".into()), ann(), Some(1), false),
            (Happening::Labeled("doing".into()), ann(), Some(1), false),
            (Happening::Assigned("bob".into()), root(), None, false),
            (Happening::Unassigned("bob".into()), root(), None, true),
        ]
    );
}

// === the forgiving reader ===

#[tokio::test]
async fn many_bodies_mean_the_same_claim() {
    let cases = [
        ("application/json", "", r#"{"ASSIGNEES":["ann"]}"#),
        ("text/x-json", "", r#"{"\u0061ssignees":["ann"]} and more"#),
        ("application/json", "", r#"{"assignees":["bob"],"Assignees":["ann"]}"#),
        ("application/json", "", r#"{"assignees":["bob"],"Assignees":["eve"],"assignees":["ann"]}"#),
        ("application/json", "", r#"{"assignee":"ann","assignees":null}"#),
        ("application/json", "", r#"{"title":"\ud800","assignees":["ANN"]}"#),
        ("application/json; x=form-urlencoded", "?assignees=ann", r#"{"assignees":["bob"]}"#),
        ("application/x-www-form-urlencoded", "", "assignees=ann&assignee=bob"),
        (
            "multipart/form-data; boundary=x",
            "?assignees=bob",
            "--x\r\nContent-Disposition: form-data; name=\"assignees\"\r\n\r\nann\r\n--x--\r\n",
        ),
        ("", "?assignees=ann", r#"{"assignees":["bob"]}"#),
    ];
    for (kind, query, body) in cases {
        let forge = forge();
        let headers = [("authorization", "token ann"), ("content-type", kind)];
        let headers = if kind.is_empty() { &headers[..1] } else { &headers[..] };
        let answer = forge.call(request("PATCH", &format!("{ISSUE}{query}"), headers, body)).await.expect("an answer");
        assert_eq!((answer.status, assignees(&forge)), (201, vec!["ann".to_owned()]), "{kind} {query} {body}");
    }
}

#[tokio::test]
async fn some_bodies_are_refused() {
    let bodies =
        ["\u{feff}{}", "[]", r#"{"assignees":["ann"],}"#, r#"{"assignees":"ann"}"#, r#"{"x":NaN}"#, r#"{"x":01}"#];
    for body in bodies {
        assert_eq!(status(&forge(), "ann", "PATCH", ISSUE, body).await, 422, "{body}");
    }
    for body in ["", "null", "{}"] {
        assert_eq!(status(&forge(), "ann", "PATCH", ISSUE, body).await, 201, "{body}");
    }
}

#[tokio::test]
async fn keys_fold_over_unicode_only_where_go_does() {
    let body = r#"{"aſſigneeſ":["ann"],"ſtate":"closed"}"#;
    for (options, expected) in
        [(Options::default(), "open"), (Options::default().with(Feature::GoJsonFolding), "closed")]
    {
        let forge = forge_with(options);
        assert_eq!(status(&forge, "ann", "PATCH", ISSUE, body).await, 201);
        assert_eq!(forge.issue("root/work", 1).state, expected);
    }
}

#[tokio::test]
async fn many_paths_mean_the_same_issue() {
    let found = [
        "/api/v1/repos/root/work/issues/1/",
        "/api/v1/repos/ROOT/Work/issues/+01",
        "/api/v1/repos/root/wor%E2%84%AA/issues/%31",
    ];
    for path in found {
        assert_eq!(status(&forge(), "ann", "GET", path, "").await, 200, "{path}");
    }
    let lost = [
        "/api/v1//repos/root/work/issues/1",
        "/api/v1/repos/root/work/%69ssues/1",
        "/API/v1/repos/root/work/issues/1",
        "/api/v1/repos/root/work.git/issues/1",
    ];
    for path in lost {
        assert_eq!(status(&forge(), "ann", "GET", path, "").await, 404, "{path}");
    }
    let newer = forge_with(Options::forgejo_15());
    assert_eq!(status(&newer, "ann", "GET", "//api/v1//repos/root/work/issues/1//", "").await, 200);
    // A raw byte beyond ASCII makes Go decode first and split afterwards.
    assert_eq!(status(&forge(), "ann", "GET", "/api%2fv1/repos/root/wor\u{212a}%2F%69ssues/1", "").await, 200);
}

#[tokio::test]
async fn credentials_have_their_precedence() {
    let forge = forge();
    forge.add_token("ann", "narrow", true);
    assert_eq!(status(&forge, "narrow", "GET", "/api/v1/user", "").await, 403);
    let login = |answer: CollectedReply| answer.json()["login"].as_str().unwrap_or("").to_owned();
    let by_query = call(&forge, "ann", "GET", "/api/v1/user?token=bob", "").await.expect("an answer");
    assert_eq!(login(by_query), "bob");
    let sudo = call(&forge, "root", "GET", "/api/v1/user?sudo=EVE", "").await.expect("an answer");
    assert_eq!(login(sudo), "eve");
    assert_eq!(status(&forge, "ann", "GET", "/api/v1/user?sudo=eve", "").await, 403);
    let basic = [("authorization", "Basic cm9vdDphbm4=")];
    let by_basic = forge.call(request("GET", "/api/v1/user", &basic, "")).await.expect("an answer");
    assert_eq!(login(by_basic), "ann");
    // With a third word it is neither: whoever sends it is nobody.
    for three in ["token ann bob", "Bearer ann bob", "Basic cm9vdDphbm4= bob"] {
        let headers = [("authorization", three)];
        let answer = forge.call(request("GET", "/api/v1/user", &headers, "")).await.expect("an answer");
        assert_eq!(answer.status, 401, "{three}");
    }
    let in_form = [("authorization", "token ann"), ("content-type", "application/x-www-form-urlencoded")];
    let patch = request("PATCH", ISSUE, &in_form, "assignees=ann&token=bob");
    forge.call(patch).await.expect("an answer");
    assert_eq!(forge.requests().last().and_then(|entry| entry.login.clone()).as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_stranger_is_dropped_without_a_word() {
    let forge = forge();
    let body = r#"{"title":"mine","labels":[1],"assignees":["ann"]}"#;
    let filed = call(&forge, "eve", "POST", "/api/v1/repos/root/work/issues", body).await.expect("an answer");
    assert_eq!((filed.status, filed.json()["assignees"].clone()), (201, json!(null)));
    let own = "/api/v1/repos/root/work/issues/2";
    assert_eq!(status(&forge, "eve", "PATCH", own, r#"{"assignees":["ann"],"state":"closed"}"#).await, 201);
    let view = forge.issue("root/work", 2);
    assert_eq!((view.assignees.len(), view.labels.len(), view.state), (0, 0, "closed"));
}

#[tokio::test]
async fn a_pull_on_1_15_only_gains_assignees_and_closes_by_keyword() {
    let forge = forge();
    let pull = forge.add_pull("root/work", "fixes #1", "topic", "main");
    let path = format!("/api/v1/repos/root/work/pulls/{}", pull.number);
    for name in ["ann", "bob"] {
        let body = json!({ "assignees": [name] }).to_string();
        assert_eq!(status(&forge, "ann", "PATCH", &path, &body).await, 201);
    }
    assert_eq!(forge.issue("root/work", pull.number).assignees, ["ann", "bob"]);
    let merge = format!("{path}/merge");
    assert_eq!(status(&forge, "ann", "POST", &merge, r#"{"Do":"merge"}"#).await, 200);
    assert_eq!(forge.issue("root/work", 1).state, "closed");
    assert_eq!(status(&forge, "ann", "PATCH", &path, r#"{"state":"open"}"#).await, 412);
}

// === on the socket ===

#[tokio::test]
async fn uploads_are_counted_and_downloads_made_up() {
    let forge = FakeForge::start(Options::default()).await.expect("a free port");
    let upload = "PUT /sink/upload HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert!(exchange(&forge, upload).await.contains(r#""bytes":3"#));
    let received = forge.received();
    assert_eq!((received[0].bytes, received[0].complete), (3, true));
    assert!(received[0].sha256.starts_with("ba7816bf"), "{received:?}");
    let download = exchange(&forge, "GET /source/100000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(download.contains("content-length: 100000"));
    assert_eq!(FakeForge::source_byte(252), 1);
}

#[tokio::test]
async fn events_reach_who_listens() {
    let forge = FakeForge::start(Options::default()).await.expect("a free port");
    let mut stream = TcpStream::connect(forge.addr()).await.expect("it listens");
    stream.write_all(b"GET /user/events HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while !seen.contains("data: 7") {
        let size = stream.read(&mut buffer).await.expect("it goes on");
        assert!(size > 0, "{seen}");
        seen += &String::from_utf8_lossy(&buffer[..size]);
        if seen.contains("\r\n\r\n") {
            forge.push_event("notification-count", "7");
        }
    }
    assert!(seen.contains("text/event-stream") && seen.contains("x-accel-buffering: no"), "{seen}");
    assert_eq!(forge.listeners(), 1);
    drop(forge);
    while stream.read(&mut buffer).await.is_ok_and(|size| size > 0) {}
}

#[tokio::test]
async fn odd_targets_pass_the_server() {
    let forge = FakeForge::start(Options::default()).await.expect("a free port");
    forge.add_user("root", "root");
    forge.add_repo("root", "work");
    forge.add_issue("root/work", "first", &[], &[]);
    let targets = [
        "http://elsewhere.test/api/v1/repos/root/work/issues/1",
        "/api%2fv1/repos/root/wor\u{212a}%2F%69ssues/1",
        "/api/v1/repos/root/work/issues/1?a#b?c",
    ];
    for target in targets {
        let answer = exchange(&forge, &format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    }
}

#[tokio::test]
async fn a_unix_socket_serves_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("forge.sock");
    let _forge = FakeForge::start_unix(&path, Options::default()).expect("it binds");
    let mut stream = tokio::net::UnixStream::connect(&path).await.expect("it listens");
    stream.write_all(b"GET /api/v1/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn newer_versions_know_names_and_a_timeline() {
    let forge = forge_with(Options::forgejo_15());
    let labels = format!("{ISSUE}/labels");
    assert_eq!(status(&forge, "ann", "POST", &labels, r#"{"labels":["doing"]}"#).await, 200);
    assert_eq!(status(&forge, "ann", "DELETE", &format!("{labels}/backlog"), "").await, 204);
    assert_eq!(forge.issue("root/work", 1).labels, ["doing"]);
    let timeline = call(&forge, "ann", "GET", &format!("{ISSUE}/timeline"), "").await.expect("an answer").json();
    let entries: Vec<_> =
        timeline.as_array().into_iter().flatten().map(|one| (one["type"].clone(), one["body"].clone())).collect();
    assert_eq!(entries, [(json!("label"), json!("1")), (json!("label"), json!("1")), (json!("label"), json!(""))]);
    assert_eq!(status(&forge_with(Options::default()), "ann", "GET", &format!("{ISSUE}/timeline"), "").await, 404);
}

// === Forgejo 17 ===

fn newest() -> FakeForge {
    forge_with(Options::forgejo_17())
}

#[tokio::test]
async fn the_last_part_of_a_removal_is_a_name_first_where_it_may_be_one() {
    for (options, left) in [(Options::default(), ["2", "backlog"]), (Options::forgejo_17(), ["backlog", "doing"])] {
        let forge = forge_with(options);
        let shadow = forge.add_label("root/work", "2");
        forge.outside_labels("ann", "root/work", 1, &["backlog", "doing", "2"]);
        // Labels 1 and 2 are `backlog` and `doing`.
        assert_eq!(status(&forge, "ann", "DELETE", &format!("{ISSUE}/labels/2"), "").await, 204);
        assert_eq!(forge.issue("root/work", 1).labels, left);
        assert_eq!(status(&forge, "ann", "DELETE", &format!("{ISSUE}/labels/{shadow}"), "").await, 204);
    }
}

#[tokio::test]
async fn labels_of_an_owner_are_shared_and_shadow_too() {
    let forge = newest();
    let owners = forge.add_owner_label("root", "1");
    let shared = call(&forge, "ann", "GET", "/api/v1/orgs/root/labels", "").await.expect("an answer").json();
    assert_eq!(shared[0]["id"], owners);
    assert_eq!(status(&forge, "ann", "DELETE", &format!("{ISSUE}/labels/1"), "").await, 204);
    assert_eq!(forge.issue("root/work", 1).labels, ["backlog"], "the owner's label is called 1");
    let added = call(&forge, "ann", "POST", &format!("{ISSUE}/labels"), r#"{"labels":["1"]}"#).await;
    assert_eq!(added.expect("an answer").json()[0]["name"], "1");
    assert_eq!(status(&forge, "ann", "GET", "/api/v1/orgs/ann/labels", "").await, 404);
}

#[tokio::test]
async fn a_removal_answers_a_list_to_who_asks_as_at_github() {
    for (options, expected) in [(Options::default(), 204), (Options::forgejo_17(), 200)] {
        let forge = forge_with(options);
        forge.outside_labels("ann", "root/work", 1, &["backlog", "doing"]);
        let headers = [("authorization", "token ann"), ("accept", "application/vnd.github+json")];
        let answer =
            forge.call(request("DELETE", &format!("{ISSUE}/labels/1"), &headers, "")).await.expect("an answer");
        assert_eq!(answer.status, expected);
        assert_eq!(answer.json()[0]["name"].as_str(), (expected == 200).then_some("doing"));
    }
}

#[tokio::test]
async fn a_hand_over_to_who_has_no_access_unassigns_and_then_fails() {
    let (forge, old) = (newest(), forge());
    forge.outside_assign("root", "root/work", 1, &["ann"]);
    let to_eve = r#"{"assignees":["eve"]}"#;
    forge.set_private("root/work", true);
    assert_eq!(status(&forge, "ann", "PATCH", ISSUE, to_eve).await, 500);
    assert!(forge.issue("root/work", 1).assignees.is_empty(), "the old one is gone");
    let listed = call(&forge, "ann", "GET", "/api/v1/repos/root/work/assignees", "").await.expect("an answer").json();
    let logins: Vec<&str> = listed.as_array().unwrap().iter().filter_map(|user| user["login"].as_str()).collect();
    assert_eq!(logins, ["root", "ann", "bob", "mark"]);
    // Whoever may read may be assigned: that list does not name them all.
    forge.grant_read("eve", "root/work");
    assert_eq!(status(&forge, "ann", "PATCH", ISSUE, to_eve).await, 201);
    assert_eq!(status(&forge, "ann", "POST", &format!("{ISSUE}/assignees"), to_eve).await, 404);
    assert_eq!(status(&old, "ann", "PATCH", ISSUE, to_eve).await, 500, "older ones want a writer");
    let created = r#"{"title":"x","assignees":["eve"]}"#;
    assert_eq!(status(&old, "ann", "POST", "/api/v1/repos/root/work/issues", created).await, 422);
    assert_eq!(old.issues("root/work"), 1, "nothing was created");
}

#[tokio::test]
async fn tokens_and_teams_read_one_kind_alone() {
    let forge = newest();
    forge.add_pull("root/work", "second", "b", "main");
    forge.add_scoped_token("ann", "code", TokenScope::RepositoryOnly);
    forge.add_scoped_token("ann", "open", TokenScope::PublicOnly);
    let pull = "/api/v1/repos/root/work/pulls/2";
    for (path, expected) in [(ISSUE, 403), (pull, 200), ("/api/v1/user", 403)] {
        assert_eq!(status(&forge, "code", "GET", path, "").await, expected, "{path}");
    }
    assert_eq!(status(&forge, "open", "GET", ISSUE, "").await, 200);
    forge.set_private("root/work", true);
    forge.grant_read_pulls("eve", "root/work");
    for (who, path, expected) in [("open", ISSUE, 404), ("eve", ISSUE, 404), ("eve", pull, 200), ("ann", ISSUE, 200)] {
        assert_eq!(status(&forge, who, "GET", path, "").await, expected, "{who} {path}");
    }
    let listed = call(&forge, "eve", "GET", "/api/v1/repos/root/work/issues", "").await.expect("an answer").json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "the pull request alone");
}

#[tokio::test]
async fn a_browser_may_ask_across_origins_where_that_is_set_up() {
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let options = || request("OPTIONS", ISSUE, &preflight, "");
    let refused = newest().call(options()).await.expect("an answer");
    assert_eq!((refused.status, refused.headers.get("access-control-allow-origin")), (405, None));
    let forge = forge_with(Options::forgejo_17().with(Feature::Cors));
    let answer = forge.call(options()).await.expect("an answer");
    let says = |answer: &CollectedReply, name: &str| {
        answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    assert_eq!(answer.status, 200);
    assert_eq!(says(&answer, "access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(says(&answer, "access-control-allow-methods").as_deref(), Some("PATCH"));
    assert_eq!(says(&answer, "access-control-allow-headers").as_deref(), Some("authorization, content-type"));
    let headers = [("origin", "https://app.example"), ("authorization", "token ann")];
    let read = forge.call(request("GET", ISSUE, &headers, "")).await.expect("an answer");
    assert_eq!(says(&read, "access-control-allow-origin").as_deref(), Some("*"));
    let odd = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "x-odd"),
    ];
    let odd = forge.call(request("OPTIONS", ISSUE, &odd, "")).await.expect("an answer");
    assert_eq!((odd.status, says(&odd, "access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn an_empty_first_name_assigns_nobody_to_a_new_item() {
    for options in Options::generations() {
        let forge = forge_with(options);
        let created =
            call(&forge, "ann", "POST", "/api/v1/repos/root/work/issues", r#"{"title":"x","assignees":[""]}"#).await;
        let created = created.expect("an answer");
        assert_eq!((created.status, created.json()["assignees"].is_null()), (201, true));
    }
}
