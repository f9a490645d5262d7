//! What unchanged clients send in paths, hosts and credentials means what it means at the forge: doubled slashes, a public path,
//! an owner called `as`, encoded labels, characters that a URI may not have, two lines of one credential.

use std::net::TcpListener;

use claimgate::fake_forge::Options;
use claimgate::proxy::{Forwarded, full};
use http::{Method, Response};
use serde_json::json;

use crate::e2e::{self, REPO, Setup, backlog_issue, issue, token};
use crate::edge_support::{Gate, Plan, ask, echo, forge, status, talk};

fn generations() -> [Options; 2] {
    [Options::default(), Options::forgejo_15()]
}

/// A PATCH as bytes, with what its head shall have.
async fn patch(gate: &e2e::Gate, target: &str, head: &[&str], body: &str) -> String {
    let head: String = head.iter().flat_map(|line| [line, "\r\n"]).collect();
    let length = body.len();
    let text = format!(
        "PATCH {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n{head}\
         content-length: {length}\r\n\r\n{body}"
    );
    talk(gate.address, &text).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_slash_means_the_same_to_reads_and_claims() {
    for options in generations() {
        let forge = e2e::forge_with(options, &["ann", "bob"]).await;
        let gate = e2e::gate(&forge).await;
        for bend in [
            |path: &str| format!("/{path}"),
            |path: &str| path.replace("/v1/", "//v1//"),
            |path: &str| path.replace("/issues/", "/issues///"),
            |path: &str| format!("{path}//"),
            |path: &str| format!("/as/w1/{path}"),
        ] {
            let number = backlog_issue(&forge).number;
            let path = bend(&issue(number));
            let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
            let claim = |login| Some(json!({ "assignees": [login] }));
            assert_eq!(ann.get(&path).await.status, 200, "{path}");
            ann.call(Method::PATCH, &path, claim("ann")).await.granted();
            bob.call(Method::PATCH, &path, claim("bob")).await.refused(409, "already_assigned");
            let labels = bend(&format!("{}/labels", issue(number)));
            bob.call(Method::PUT, &labels, Some(json!({"labels": []}))).await.refused(409, "not_holder");
            ann.call(Method::POST, &bend(&format!("{}/comments", issue(number))), Some(json!({"body": "x"}))).await;
            assert_eq!(forge.issue(REPO, number).assignees, ["ann"]);
        }
        assert_eq!(gate.anonymous().get("//_claimgate/v1/openapi.json").await.status, 200);
        assert_eq!(gate.anonymous().get("/as/w//_claimgate//v1/openapi.json").await.status, 200);
        assert!(forge.requests().iter().all(|entry| !entry.target.contains("//")), "one form goes out");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_with_a_slash_is_removed_by_its_name() {
    for options in generations() {
        let forge = e2e::forge_with(options, &["ann", "bob"]).await;
        let gate = e2e::gate(&forge).await;
        for (name, spellings) in [
            ("status/doing", &["status%2Fdoing", "status%2fdoing", "status%2Fdoing/", "%73tatus%2Fdoing"][..]),
            ("a/b/c", &["a%2Fb%2Fc"]),
            ("100%", &["100%25"]),
            ("a+b: \"c\"", &["a%2Bb%3A%20%22c%22"]),
            ("gr\u{fc}n", &["gr%C3%BCn"]),
        ] {
            forge.add_label(REPO, name);
            for spelled in spellings {
                let number = forge.add_issue(REPO, "work", &[name], &[]).number;
                let path = format!("{}/labels/{spelled}", issue(number));
                let answer = gate.agent("ann").call(Method::DELETE, &path, None).await;
                let sent =
                    forge.requests().iter().rev().find(|entry| entry.method == Method::DELETE).unwrap().target.clone();
                let name = name.replace('%', "%25").replace('/', "%2F").replace('+', "%2B").replace(':', "%3A");
                let name = name.replace(' ', "%20").replace('"', "%22").replace('\u{fc}', "%C3%BC");
                assert_eq!(sent, format!("{}/labels/{name}", issue(number)), "{answer:?}");
            }
        }
    }
}

/// Where an owner is called `as`, its pages, files and repositories are its own; agents keep their prefix.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_called_as_is_reached() {
    let upstream = forge(echo).await;
    let gate = Gate::before(upstream);
    for path in [
        "/as",
        "/as/tools",
        "/as/tools/issues/1",
        "/as/tools/pulls",
        "/as/tools/raw/branch/main/api/v1/x",
        "/as/tools/src/branch/main/README.md",
        "/as/tools/releases/download/v1/x.tar.gz",
        "/as/tools/archive/main.zip",
        "/as/tools.git/info/refs?service=git-upload-pack",
        "/as/tools/info/refs?service=git-upload-pack",
        "/as/tools.git/info/lfs/objects/batch",
        "/as/tools/git-upload-pack",
        "/as/-/packages",
    ] {
        let answer = ask(gate.address, &format!("GET {path}"), &[]).await;
        assert!(answer.contains(&format!("\r\n\r\nGET {path}\n")), "{path}: {answer}");
    }
    for path in
        ["/api/v1/user", "/acme/app.git/info/refs?service=git-upload-pack", "/acme/app/issues/1", "/api/packages/x"]
    {
        let answer = ask(gate.address, &format!("GET /as/tools{path}"), &[]).await;
        assert!(answer.contains(&format!("\r\n\r\nGET {path}\n")), "{path}: {answer}");
    }
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.pass.agents = false;
    let gate = plan.start();
    let answer = ask(gate.address, "GET /as/tools/api/v1/user", &[]).await;
    assert!(answer.contains("\r\n\r\nGET /as/tools/api/v1/user\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_an_owner_called_as_are_guarded() {
    let forge = e2e::forge(&["ann"]).await;
    forge.add_user("as", &token("as"));
    forge.add_repo("as", "tools");
    let number = forge.add_issue("as/tools", "work", &[], &[]).number;
    let path = format!("/as/tools/issues/{number}");
    for sources in ["\"path\", \"header\"", "\"header\""] {
        let config = format!("[identity]\nsources = [{sources}]\n[web]\nmode = \"enforce\"\n");
        let gate = Setup::before(&forge.base_url()).config(&config).start().await;
        assert_eq!(gate.agent("as").get(&path).await.status, 200, "{sources}");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let close =
            gate.agent("as").send(Method::POST, &format!("{path}/comments"), &form, "status=close".into()).await;
        assert!(close.headers.contains_key("claimgate-decision"), "{close:?}");
    }
    let config = "[identity]\nsources = [\"header\"]\n";
    let gate = Setup::before(&forge.base_url()).config(config).start().await;
    let claim = Some(json!({"assignees": ["ann"]}));
    gate.agent("ann").below("/as/w").call(Method::PATCH, &issue(1), claim).await.refused(400, "ambiguous_request");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The gate is `…/forge/` to its clients, by one setting: what the tracker hands out leads back to it, and is guarded.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_path_is_served() {
    for serves_below in [false, true] {
        let port = free_port();
        let public = format!("http://127.0.0.1:{port}/forge");
        let (sub_path, upstream_path) = if serves_below { ("/forge", "/forge") } else { ("", "") };
        let options = Options { absolute_redirects: true, sub_path: sub_path.into(), ..Options::default() };
        let forge = e2e::forge_with(options.root_url(&public), &["ann", "bob"]).await;
        let number = backlog_issue(&forge).number;
        for more in 0..3 {
            forge.add_issue(REPO, &format!("more {more}"), &[], &[]);
        }
        forge.rename_repo(REPO, "renamed");
        let gate = Setup::before(&format!("{}{upstream_path}", forge.base_url()))
            .config(&format!("[upstream]\npublic_url = \"{public}/\"\n"))
            .listen(&format!("127.0.0.1:{port}"))
            .start()
            .await;
        let mut ann = gate.agent("ann");
        let here = |url: &str| url.strip_prefix(&format!("http://127.0.0.1:{port}")).expect("the gate").to_owned();
        let read = ann.get("/forge/api/v1/repos/acme/renamed/issues?limit=1").await;
        // The links of a page, the item's own address, a redirect: each is followed as it stands.
        let link = read.headers["link"].to_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
        assert_eq!(ann.get(&here(&link)).await.status, 200, "{link}");
        let url = here(read.json()[0]["url"].as_str().unwrap());
        assert!(url.starts_with("/forge/api/v1/"), "{url}");
        assert_eq!(ann.get(&url).await.json()["id"], read.json()[0]["id"]);
        let moved = ann.get(&format!("/forge{}", issue(number))).await;
        let to = here(moved.headers["location"].to_str().unwrap());
        assert!(to.starts_with("/forge/api/"), "{to}");
        ann.call(Method::PATCH, &to, Some(json!({"assignees": ["ann"]}))).await.granted();
        for prefix in ["/forge", "", "/forge/as/w", "/as/w/forge", "//forge/"] {
            let path = format!("{prefix}/api/v1/repos/acme/renamed/issues/{number}");
            let claim = Some(json!({"assignees": ["bob"]}));
            gate.agent("bob").call(Method::PATCH, &path, claim).await.refused(409, "already_assigned");
        }
        assert_eq!(gate.agent("bob").get("/forge/_claimgate/v1/openapi.json").await.status, 200);
        assert_eq!(gate.agent("bob").get("/forge/acme/renamed/issues").await.status, 200, "a page");
        assert_eq!(forge.issue("acme/renamed", number).assignees, ["ann"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_at_the_root_and_pages_are_below_the_path() {
    let upstream = forge(echo).await;
    let gate = Plan::to(&format!("http://{upstream}/forge")).start();
    for (asked, reached) in [
        ("/v2/x/manifests/1", "/v2/x/manifests/1"),
        ("/forge/v2/token", "/v2/token"),
        (
            "/forge/acme/app.git/info/refs?service=git-upload-pack",
            "/forge/acme/app.git/info/refs?service=git-upload-pack",
        ),
        ("/acme/app.git/info/lfs/objects/batch", "/forge/acme/app.git/info/lfs/objects/batch"),
        ("/forge", "/forge/"),
    ] {
        let answer = ask(gate.address, &format!("GET {asked}"), &[]).await;
        assert!(answer.contains(&format!("\r\n\r\nGET {reached}\n")), "{asked}: {answer}");
    }
}

/// TLS ends in front of the gate: what leads back has the public scheme, whatever is done about `X-Forwarded-*`.
#[tokio::test(flavor = "multi_thread")]
async fn links_keep_the_public_scheme() {
    let upstream = forge(|request: http::Request<hyper::body::Incoming>| async move {
        let told = |name: &str| request.headers().get(name).map_or("", |it| it.to_str().unwrap()).to_owned();
        let host = told("host");
        Response::builder()
            .status(303)
            .header("location", format!("http://{host}/login"))
            .header("link", format!("<http://{host}/x?page=2>; rel=\"next\""))
            .header("x-told", told("x-forwarded-proto"))
            .body(full(""))
            .unwrap()
    })
    .await;
    for policy in [Forwarded::Set, Forwarded::Strip, Forwarded::Append] {
        for public in [None, Some("https://git.example"), Some("https://git.example/forge")] {
            let mut plan = Plan::to(&format!("http://{upstream}"));
            plan.pass.forwarded = policy;
            plan.pass.public_url = public.map(|it| it.parse().unwrap());
            let gate = plan.start();
            let path = public.and_then(|it| it.strip_prefix("https://git.example")).unwrap_or_default();
            for said in [
                &["x-forwarded-proto: https"][..],
                &["x-forwarded-proto: HTTPS, http"],
                &["x-forwarded-proto: https", "x-forwarded-proto: http"],
                &["forwarded: for=1.2.3.4;proto=https;host=git.example, for=10.0.0.1;proto=http"],
                &[],
            ] {
                let text =
                    format!("GET /x HTTP/1.1\r\nhost: git.example\r\nconnection: close\r\n{}", said.join("\r\n"));
                let end = if said.is_empty() { "\r\n" } else { "\r\n\r\n" };
                let answer = talk(gate.address, &format!("{text}{end}")).await;
                let is_known = public.is_some() || !said.is_empty();
                let scheme = if is_known { "https" } else { "http" };
                let context = format!("{policy:?} {public:?} {said:?}: {answer}");
                assert!(answer.contains(&format!("location: {scheme}://git.example{path}/login\r\n")), "{context}");
                assert!(answer.contains(&format!("<{scheme}://git.example{path}/x?page=2>")), "{context}");
                if public.is_some() && policy == Forwarded::Set {
                    assert!(answer.contains("x-told: https\r\n"), "{context}");
                }
            }
        }
    }
    // A proxy in front that asks by the gate's own name says which one the client used.
    let mut plan = Plan::to(&format!("http://{upstream}"));
    plan.pass.public_url = Some("https://git.example".parse().unwrap());
    let gate = plan.start();
    let answer = ask(gate.address, "GET /x", &["x-forwarded-host: git.example, inner"]).await;
    assert!(answer.contains("location: https://git.example/login\r\n"), "{answer}");
    let answer = ask(gate.address, "GET /x", &["x-forwarded-host: evil.example"]).await;
    assert!(answer.contains("location: http://gate.test/login\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_targets_that_go_takes() {
    let gate = Gate::before(forge(echo).await);
    for (line, host) in [
        ("GET /x", "gate.test:8480"),
        ("GET /x", "gate.test."),
        ("GET /x", "GATE.Test:"),
        ("GET /x", "my_forge"),
        ("GET /x", "[::1]:8480"),
        ("GET /x", "[2001:DB8::1]"),
        ("GET http://gate.test:80/x", "gate.test"),
        ("GET http://gate.test/x", "gate.test:80"),
        ("GET https://GATE.test:443/x", "gate.test"),
        ("GET http://gate.test.:8480/x", "gate.test:8480"),
    ] {
        let answer = talk(gate.address, &format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.contains("\r\n\r\nGET /x\n"), "{line} {host}: {answer}");
        assert!(answer.contains(&format!("\nhost: {host}\n")), "{line} {host}: {answer}");
    }
    for (query, reached) in [
        ("q=\"a\"", "q=%22a%22"),
        ("q={a}|b", "q={a}|b"),
        ("q=<a>^`\\", "q=%3Ca%3E%5E%60%5C"),
        ("q=[1]&labels=a:b,c", "q=[1]&labels=a:b,c"),
    ] {
        // In one piece, and in two.
        let head = format!("GET /x?{query} HTTP/1.1\r\nhost: a\r\n\r\nGET /y?\"{query} HTTP/1.1\r\nhost: a\r\n");
        let answer = talk(gate.address, &format!("{head}connection: close\r\n\r\n")).await;
        assert!(answer.contains(&format!("GET /x?{reached}\n")), "{query}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{query}: {answer}");
        assert!(answer.contains("GET /y?%22q"), "{query}: {answer}");
    }
    let refused = ask(gate.address, "GET /x?a#b", &[]).await;
    assert!(status(&refused) == 400 && refused.contains("%23"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_query_is_guarded_like_any_other() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let number = backlog_issue(&forge).number;
    let authorization = format!("authorization: token {}", token("ann"));
    let answer =
        patch(&gate, &format!("{}?\"x\"=1", issue(number)), &[&authorization], r#"{"assignees":["ann"]}"#).await;
    assert!(answer.contains("claimgate-decision: "), "{answer}");
    let read = ask(gate.address, &format!("GET {}?q=\"x\"", issue(number)), &[&authorization]).await;
    assert_eq!(status(&read), 200, "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_credential_in_two_lines_is_one() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let (ann, bob) = (token("ann"), token("bob"));
    let basic = |text: &str| {
        use base64::Engine as _;
        format!("authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let line = |token: &str| format!("authorization: token {token}");
    let claim = r#"{"assignees":["ann"]}"#;
    for lines in [
        vec![line(&ann), line(&ann)],
        vec![line(&ann), format!("Authorization: bearer {ann}")],
        vec![line(&ann), basic(&format!("ann:{ann}"))],
        vec![line(&ann), format!("sudo: {}", "ann"), format!("Sudo: {}", "ann")],
    ] {
        let number = backlog_issue(&forge).number;
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = patch(&gate, &issue(number), &lines, claim).await;
        let is_sudo = lines.iter().any(|line| line.starts_with("sudo"));
        assert_eq!(status(&answer), if is_sudo { 403 } else { 201 }, "{lines:?}: {answer}");
    }
    let number = backlog_issue(&forge).number;
    for (target, lines) in [
        (issue(number), vec![line(&ann), line(&bob)]),
        (format!("{}?token={bob}", issue(number)), vec![basic("ann:password")]),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = patch(&gate, &target, &lines, claim).await;
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(answer.contains("ambiguous_request") && answer.contains("send "), "{answer}");
    }
    assert!(forge.issue(REPO, number).assignees.is_empty());
    let same = format!("{}?token={ann}", issue(number));
    assert_eq!(status(&patch(&gate, &same, &[&basic(&format!("x:{ann}"))], claim).await), 201);
    // What is not guarded goes on as it came.
    let gate = Gate::before(self::forge(echo).await);
    let answer = ask(gate.address, "GET /x", &[&line("a"), &line("b")]).await;
    let (first, second) = (answer.find("\nauthorization: token a\n"), answer.find("\nauthorization: token b\n"));
    assert!(first.is_some() && first < second, "{answer}");
}
