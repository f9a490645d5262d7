//! Forms of the web interface beside agents, through the real binary.

use std::time::Duration;

use claimgate::fake_forge::{FakeForge, Fault, Matcher, Options, Vices};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::e2e::{self, Answer, Client, Gate, LABELS, REPO, Setup, token};

/// Agents, and a person with a session and the token that its forms must carry.
async fn forge_with_a_person(logins: &[String], options: Options) -> FakeForge {
    let forge = FakeForge::start(options).await.expect("a free port");
    forge.add_user("acme", "token-of-acme");
    forge.add_repo("acme", "app");
    for login in logins.iter().map(String::as_str).chain(["person", "mate", "keeper"]) {
        forge.add_user(login, &token(login));
        forge.grant_write(login, REPO);
    }
    for label in LABELS {
        forge.add_label(REPO, label);
    }
    forge.add_session_with_token("person", "the-session", "the-form-token");
    forge
}

/// What the gate reads items with, where a form names them.
#[derive(Clone, Copy)]
enum Reads {
    /// A token of its own.
    Keeper,
    /// Nothing but what the session may: the built-in defaults.
    Nothing,
}

/// A gate that may read with the keeper's token.
async fn gate_that_reads(forge: &FakeForge, mode: &str) -> Gate {
    let setup = Setup::before(&forge.base_url());
    let file = setup.dir().join("service-token");
    std::fs::write(&file, token("keeper")).expect("it is written");
    restrict(&file);
    let config = format!("[upstream]\nservice_token_file = \"{}\"\n[web]\nmode = \"{mode}\"", file.display());
    setup.config(&config).start().await
}

fn restrict(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

fn person(gate: &Gate) -> Client {
    on_the_web(gate, "lang=en; i_like_gitea=the-session")
}

/// A browser: cookies, and no token.
fn on_the_web(gate: &Gate, cookies: &str) -> Client {
    let mut browser = gate.agent("person").with("cookie", cookies);
    browser.authorization = None;
    browser
}

async fn submit(person: &mut Client, path: &str, form: String) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-csrf-token", "the-form-token")];
    person.send(Method::POST, &format!("/{REPO}/{path}"), &headers, form.into()).await
}

/// Eight agents claim thirty issues, each in an order of its own, while a person gives all thirty to a mate by one form.
async fn race(reads: Reads, mode: &str, options: Options) -> (FakeForge, Gate, Vec<u64>, Answer) {
    let logins = e2e::agents(8);
    let forge = forge_with_a_person(&logins, options).await;
    forge.set_vices(Vices { write_delay: Duration::from_millis(3), ..Vices::default() });
    let gate = match reads {
        Reads::Keeper => gate_that_reads(&forge, mode).await,
        Reads::Nothing => Setup::before(&forge.base_url()).start().await,
    };
    let issues: Vec<_> = (0..30).map(|_| e2e::backlog_issue(&forge)).collect();
    let ids: Vec<String> = issues.iter().map(|issue| issue.id.to_string()).collect();
    let form = format!("issue_ids={}&id={}&action=attach", ids.join(","), forge.user_id("mate"));
    let numbers: Vec<u64> = issues.iter().map(|issue| issue.number).collect();
    let mut agents: Vec<Client> = logins.iter().map(|login| gate.agent(login)).collect();
    let claiming = agents.iter_mut().enumerate().map(|(at, agent)| {
        let mut order = numbers.clone();
        order.rotate_left(at * 4);
        async move {
            for number in order {
                let answer = agent.claim(number).await;
                assert!(matches!(answer.status, 201 | 409), "{answer:?}");
            }
        }
    });
    let mut person = person(&gate);
    let (_, answer) = tokio::join!(join_all(claiming), async {
        // In the midst of the claims: some are through, some are not.
        let claimed = || async { (gate.audit().len() > 20).then_some(()) };
        e2e::eventually(claimed, Duration::from_secs(20)).await.expect("claims are made");
        submit(&mut person, "issues/assignee", form).await
    });
    (forge, gate, numbers, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_assigned_by_one_form_while_eight_agents_claim_them() {
    // On the old forge a session may read the items itself.
    for (reads, options) in [
        (Reads::Keeper, Options::forgejo_17()),
        (Reads::Keeper, Options::default()),
        (Reads::Nothing, Options::default()),
    ] {
        let (forge, gate, numbers, answer) = race(reads, "override", options).await;
        answer.granted();
        assert_eq!(answer.json()["ok"], true);
        let (mut mates, mut beside) = (0, 0);
        for number in numbers {
            let holder = gate.holder(number).await.unwrap_or_else(|| panic!("#{number} is somebody's"));
            let shown = forge.issue(REPO, number).assignees;
            assert!(shown.contains(&"mate".to_owned()), "#{number} was given to the mate: {shown:?}");
            assert!(shown.contains(&holder), "#{number} shows its holder {holder}: {shown:?}");
            // The person put the mate beside an agent, who goes on holding; nobody else came between.
            assert_eq!(shown.len(), if holder == "mate" { 1 } else { 2 }, "#{number}: {shown:?}");
            mates += usize::from(holder == "mate");
            beside += usize::from(holder != "mate");
            // The mate's own claim is refused where an agent holds: it is never told that it has the item.
            let told = gate.agent("mate").claim(number).await;
            assert_eq!(told.status == 201, holder == "mate", "#{number}: {told:?}");
        }
        eprintln!("{mates} to the mate, {beside} beside an agent");
        assert!(beside > 0, "the form came while agents were at it");
        e2e::stop_and_verify(gate, 8 * 30).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_rules_are_enforced_the_form_takes_nothing_from_anybody() {
    let (forge, gate, numbers, answer) = race(Reads::Keeper, "enforce", Options::forgejo_17()).await;
    // Some were claimed already, so none was given away.
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.decision().starts_with("reject; code=already_assigned"), "{answer:?}");
    let told = answer.json();
    assert_eq!(told["error"], told["errorMessage"]);
    assert!(told["errorMessage"].as_str().unwrap().contains("items cannot be changed, so none was"), "{told}");
    for number in numbers {
        let holder = gate.holder(number).await;
        assert_eq!(forge.issue(REPO, number).assignees, holder.into_iter().collect::<Vec<_>>(), "#{number}");
        assert!(forge.max_assignees_ever(REPO, number) <= 1, "#{number}: never two at once");
    }
    e2e::stop_and_verify(gate, 8 * 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_defaults_a_toggle_over_what_agents_hold_is_refused_where_a_session_reads_nothing() {
    let (forge, gate, numbers, answer) = race(Reads::Nothing, "override", Options::forgejo_17()).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.decision().starts_with("reject; code=not_holder"), "{answer:?}");
    let mut mate = gate.agent("mate");
    for number in numbers {
        let holder = gate.holder(number).await.unwrap_or_else(|| panic!("#{number} is somebody's"));
        assert_eq!(forge.issue(REPO, number).assignees, [holder], "#{number}");
        mate.claim(number).await.refused(409, "already_assigned");
    }
    e2e::stop_and_verify(gate, 8 * 30).await;
}

#[tokio::test]
async fn forms_go_through_as_the_forge_expects_them() {
    for options in [Options::default(), Options::forgejo_17()] {
        let forge = forge_with_a_person(&[], options.clone()).await;
        let gate = gate_that_reads(&forge, "override").await;
        let issue = e2e::backlog_issue(&forge);
        let mut person = person(&gate).with("origin", &format!("http://{}", gate.address));
        let close = format!("issue_ids={}&action=close", issue.id);
        assert_eq!(submit(&mut person, "issues/status", close.clone()).await.granted().status, 200);
        assert_eq!(forge.issue(REPO, issue.number).state, "closed");
        // Reopened with a comment, sent by the page itself as multipart.
        let part = |name: &str, value: &str| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body =
            part("_csrf", "the-form-token") + &part("content", "again") + &part("status", "reopen") + "--XX--\r\n";
        let path = format!("/{REPO}.git/issues/{}/comments", issue.number);
        let headers = [("content-type", "multipart/form-data; boundary=XX")];
        let answer = person.send(Method::POST, &path, &headers, body.into()).await;
        assert!(answer.status == 302 && answer.decision().starts_with("admit; id="), "{answer:?}");
        assert_eq!(forge.issue(REPO, issue.number).state, "open");
        assert_eq!(forge.issue(REPO, issue.number).comments, ["again"]);
        // A comment alone is not guarded, and a form that is another site's stays the forge's to refuse.
        let path = format!("issues/{}/comments", issue.number);
        let answer = submit(&mut person, &path, "content=plain".to_owned()).await;
        assert!(answer.status == 302 && !answer.headers.contains_key("claimgate-decision"), "{answer:?}");
        let mut forged = on_the_web(&gate, "i_like_gitea=the-session").with("origin", "https://evil.example");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = forged.send(Method::POST, &format!("/{REPO}/issues/status"), &headers, close.into()).await;
        assert!(matches!(answer.status, 302 | 403), "{answer:?}");
        assert_eq!(forge.issue(REPO, issue.number).state, "open");
        // A token is nobody's session.
        let mut agent = gate.agent("mate");
        let answer = submit(&mut agent, "issues/status", format!("issue_ids={}&action=close", issue.id)).await;
        assert_eq!(answer.status, 302, "{answer:?}");
        let audit: Vec<Value> = gate.audit();
        assert!(
            audit.iter().any(|line| line["authority"] == "overrider" && line["result"] == "COMMITTED"),
            "{audit:#?}"
        );
        assert!(!gate.stdout().contains("the-session") && !gate.stderr().contains("the-session"));
        assert!(!gate.stdout().contains("the-form-token") && !gate.stderr().contains("the-form-token"));
        e2e::stop_and_verify(gate, 3).await;
    }
}

/// Of a class that files one at a time: the one whose form the forge refuses keeps nobody out.
async fn check_filing(fault: Option<Fault>, form: &str, then: u16) {
    let forge = forge_with_a_person(&[], Options::default()).await;
    let rule = "[[singleton]]\nname = \"filing\"\nagents = [\"person\", \"mate\"]\nactions = [\"create\"]\nidle = \"10m\"\n[web]\nmode = \"enforce\"\n";
    let gate = Setup::before(&forge.base_url()).config(rule).start().await;
    if let Some(fault) = fault {
        forge.script(fault, Matcher::new("POST", "/issues/new"));
    }
    let form = form.replace("MATE", &forge.user_id("mate").to_string());
    let answer = submit(&mut person(&gate), "issues/new", form.clone()).await;
    let (path, issue) = (format!("/api/v1/repos/{REPO}/issues"), json!({ "title": "y" }));
    let filed = gate.agent("mate").call(Method::POST, &path, Some(issue)).await;
    assert_eq!(filed.status, then, "{form}, {fault:?}, {answer:?}, {filed:?}");
}

#[tokio::test]
async fn a_form_that_the_forge_refuses_takes_no_project() {
    for form in ["title=x", "title=x&assignee_ids=MATE"] {
        check_filing(None, form, 409).await;
        check_filing(Some(Fault::ErrorBeforeWrite(403)), form, 201).await;
        check_filing(Some(Fault::ErrorBeforeWrite(404)), form, 201).await;
        // Nobody knows whether it was filed.
        check_filing(Some(Fault::CutAfter), form, 409).await;
        check_filing(Some(Fault::ErrorBeforeWrite(500)), form, 409).await;
    }
}

#[tokio::test]
async fn a_refusal_of_a_form_is_readable_where_a_browser_sent_it() {
    let forge = forge_with_a_person(&[], Options::forgejo_17()).await;
    let gate = Setup::before(&forge.base_url()).config("[web]\nmode = \"enforce\"").start().await;
    assert!(gate.stderr().contains("web.mode"), "said at the start: {}", gate.stderr());
    let issue = e2e::backlog_issue(&forge);
    let mut person = person(&gate).with("accept", "text/html,*/*");
    let path = format!("issues/{}/comments", issue.number);
    let answer = submit(&mut person, &path, "status=close".to_owned()).await;
    assert_eq!((answer.status, forge.issue(REPO, issue.number).state), (502, "open"));
    assert!(answer.text().starts_with("the rules are enforced for the web interface"), "{answer:?}");
}
