//! Clients that believe to speak to the tracker itself: by name resolution, and with the gate as their proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use super::{BOT, HOST, authority, claimgate, connect, counted, free_address, intercepting, request, talk, tls};
use crate::e2e::{self, Setup, backlog_issue, eventually, issue};

async fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

fn claim(number: u64) -> String {
    request(&format!("PATCH {}", issue(number)), HOST, &json!({ "assignees": [BOT] }).to_string())
}

#[track_caller]
fn check_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
}

/// As a client does whose resolver leads the name here: it is the agent of the listener that it came by.
#[tokio::test]
async fn by_name_the_listener_says_who_it_is() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let (one, two) = (free_address(), free_address());
    let (gate, _setup, root) = intercepting(&forge.base_url(), &[(one, "alice"), (two, "bob")], "").await;
    let first = talk(tls(dial(two).await, HOST, &root, "http/1.1").await.expect("trusted"), &claim(number)).await;
    check_status(&first, 201);
    let second = talk(tls(dial(one).await, HOST, &root, "http/1.1").await.expect("trusted"), &claim(number)).await;
    check_status(&second, 409);
    assert!(second.contains("already_assigned"), "{second}");
    assert_eq!(gate.claim(number).await["agent"], json!({ "account": BOT, "instance": "bob" }));
    e2e::stop_and_verify(gate, 2).await;
}

/// As a client does that has the gate for its `HTTPS_PROXY`: the user in the proxy's URL is the agent.
#[tokio::test]
async fn by_proxy_the_user_of_the_proxy_says_who_it_is() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let at = free_address();
    let (gate, _setup, root) = intercepting(&forge.base_url(), &[(at, "")], "").await;
    let claims = async |user: &str| {
        let (stream, head) = connect(at, &format!("{HOST}:443"), user).await;
        check_status(&head, 200);
        talk(tls(stream, HOST, &root, "http/1.1").await.expect("trusted"), &claim(number)).await
    };
    // Nobody in particular, worker-7:x, and worker-8:
    let nameless = claims("").await;
    check_status(&nameless, 409);
    assert!(nameless.contains("identity_required"), "{nameless}");
    check_status(&claims("Proxy-Authorization: Basic d29ya2VyLTc6eA==\r\n").await, 201);
    check_status(&claims("Proxy-Authorization: Basic d29ya2VyLTg6\r\n").await, 409);
    assert_eq!(gate.claim(number).await["agent"], json!({ "account": BOT, "instance": "worker-7" }));
    e2e::stop_and_verify(gate, 3).await;
}

/// The same over plain HTTP, as a client does that has the gate for its `HTTP_PROXY`.
#[tokio::test]
async fn by_plain_proxy_the_user_of_the_proxy_says_who_it_is() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let (at, fixed) = (free_address(), free_address());
    let (gate, _setup, _root) = intercepting(&forge.base_url(), &[(at, ""), (fixed, "worker-7")], "").await;
    let claims = async |at: SocketAddr, user: &str| {
        let asked = claim(number).replacen("PATCH /", &format!("PATCH http://{HOST}/"), 1);
        talk(dial(at).await, &asked.replacen("\r\n", &format!("\r\n{user}"), 1)).await
    };
    let (seven, eight) =
        ("Proxy-Authorization: Basic d29ya2VyLTc6eA==\r\n", "Proxy-Authorization: Basic d29ya2VyLTg6\r\n");
    for (at, user, status, told) in [
        (at, "", 409, "identity_required"),
        (at, "Proxy-Authorization: Bearer x\r\n", 409, "is to be Basic"),
        (fixed, eight, 409, "two different agents"),
        (at, seven, 201, "claimgate-decision: admit"),
        (at, eight, 409, "already_assigned"),
        (fixed, seven, 201, "claimgate-decision: noop"),
    ] {
        let answer = claims(at, user).await;
        check_status(&answer, status);
        assert!(answer.contains(told), "{told}: {answer}");
    }
    assert_eq!(gate.claim(number).await["agent"], json!({ "account": BOT, "instance": "worker-7" }));
    e2e::stop_and_verify(gate, 6).await;
}

#[tokio::test]
async fn a_listener_of_one_agent_is_no_other_agents_proxy() {
    let forge = e2e::forge(&[BOT]).await;
    let at = free_address();
    let (_gate, _setup, _root) = intercepting(&forge.base_url(), &[(at, "worker-7")], "").await;
    for (user, status) in [("d29ya2VyLTg6", 403), ("d29ya2VyLTc6eA==", 200)] {
        let (_, head) = connect(at, &format!("{HOST}:443"), &format!("Proxy-Authorization: Basic {user}\r\n")).await;
        check_status(&head, status);
    }
}

/// Answers are as the tracker makes them: the URLs in them lead to the name that the client knows.
#[tokio::test]
async fn answers_stay_as_they_are() {
    let forge = e2e::forge_with(crate::generations::forge().root_url(format!("https://{HOST}")), &[BOT]).await;
    let number = backlog_issue(&forge).number;
    let at = free_address();
    let more = "[server]\nrewrite_urls = \"on\"\n";
    let (_gate, _setup, root) = intercepting(&forge.base_url(), &[(at, "alice")], more).await;
    let read = request(&format!("GET {}", issue(number)), HOST, "");
    let answer = talk(tls(dial(at).await, HOST, &root, "http/1.1").await.expect("trusted"), &read).await;
    check_status(&answer, 200);
    assert!(answer.contains(&format!("\"url\":\"https://{HOST}{}\"", issue(number))), "{answer}");
    assert!(answer.contains("content-length"), "{answer}");
    // In plain HTTP as well, where the client has it for its HTTP_PROXY.
    let plain = request(&format!("GET http://{HOST}{}", issue(number)), HOST, "");
    check_status(&talk(dial(at).await, &plain).await, 200);
}

#[tokio::test]
async fn a_client_without_the_root_fails_and_the_log_says_why() {
    let forge = e2e::forge(&[BOT]).await;
    let at = free_address();
    let (gate, setup, _root) = intercepting(&forge.base_url(), &[(at, "")], "").await;
    let stranger = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("made");
    let other = setup.dir().join("another-root.pem");
    std::fs::write(&other, stranger.cert.pem()).expect("written");
    for count in 1..=2 {
        let error = tls(dial(at).await, HOST, &other, "http/1.1").await.expect_err("it is not trusted");
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        let seen = || async { (counted(&gate, "distrusted").await == count).then_some(()) };
        eventually(seen, Duration::from_secs(5)).await.expect("it is counted");
    }
    let said = gate.stderr();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("does not trust")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    for told in ["\"WARN\"", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "root.pem", "UnknownCA"] {
        assert!(lines[0].contains(told), "{told}: {}", lines[0]);
    }
}

/// The certificate that is presented now.
async fn leaf(at: SocketAddr, root: &Path) -> Vec<u8> {
    let stream = tls(dial(at).await, HOST, root, "http/1.1").await.expect("trusted");
    stream.get_ref().1.peer_certificates().expect("one")[0].to_vec()
}

#[tokio::test]
async fn certificates_are_renewed_before_they_end_without_a_restart() {
    let forge = e2e::forge(&[BOT]).await;
    let at = free_address();
    let (_gate, _setup, root) = intercepting(&forge.base_url(), &[(at, "")], "leaf_lifetime = \"6s\"\n").await;
    let mut seen = vec![leaf(at, &root).await];
    assert_eq!(leaf(at, &root).await, seen[0], "one at a time");
    let since = tokio::time::Instant::now();
    while since.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // A connection at any time is good: none is refused between two certificates.
        let now = leaf(at, &root).await;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    assert!(seen.len() >= 3, "{} certificates in ten seconds", seen.len());
}

#[tokio::test]
async fn a_new_root_is_taken_with_sighup() {
    let forge = e2e::forge(&[BOT]).await;
    let at = free_address();
    let (gate, setup, old) = intercepting(&forge.base_url(), &[(at, "")], "").await;
    let kept = setup.dir().join("old.pem");
    std::fs::copy(&old, &kept).expect("copied");
    let new = authority(&setup, &["--force"]).await;
    assert!(tls(dial(at).await, HOST, &kept, "http/1.1").await.is_ok(), "until it is told");
    gate.tell(Signal::HUP);
    let trusted = || async { tls(dial(at).await, HOST, &new, "http/1.1").await.ok().map(drop) };
    eventually(trusted, Duration::from_secs(10)).await.expect("the new one");
    assert!(tls(dial(at).await, HOST, &kept, "http/1.1").await.is_err());
}

#[tokio::test]
async fn the_command_makes_a_root_once_and_says_where_and_which() {
    let setup = Setup::before("http://127.0.0.1:1").config("[intercept]\nhosts = [\"a.test\", \"b.test:8443\"]\n");
    let said = async |arguments: &[&str]| {
        let output = claimgate(&setup, arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let first = said(&["ca"]).await;
    let root = setup.state().join("ca/root.pem");
    assert!(first.contains(&format!("root         {} (made now)", root.display())), "{first}");
    assert!(first.contains("hosts        a.test, b.test\n"), "{first}");
    let pem = said(&["ca", "--pem"]).await;
    assert_eq!(pem, std::fs::read_to_string(&root).expect("it is there"));
    let der: rustls_pki_types::CertificateDer<'_> =
        rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).expect("PEM");
    let hex: Vec<String> = Sha256::digest(&der).iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(first.contains(&format!("fingerprint  SHA-256 {}\n", hex.join(":"))), "{first}");
    let again = said(&["ca"]).await;
    assert!(again.contains("was there, and is kept") && again.contains(&hex.join(":")), "{again}");
    let told: serde_json::Value = serde_json::from_str(&said(&["ca", "--json"]).await).expect("JSON");
    assert_eq!((&told["fingerprint"], &told["new"]), (&json!(hex.join(":")), &json!(false)));
    assert!(!said(&["ca", "--force"]).await.contains(&hex.join(":")));

    // A host that the root was not made for is told of, and the gate does not start.
    let at = free_address();
    let more =
        format!("[intercept]\nhosts = [\"c.test\"]\n[[server.listener]]\naddress = \"{at}\"\nintercept = true\n");
    let other = setup.again("http://127.0.0.1:1").config(&more);
    let output = claimgate(&other, &["ca"]).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("was not made for c.test: run `claimgate ca --force`"), "{error}");
    let (status, error) = other.refused_to_start().await;
    assert!(!status.success() && error.contains("was not made for c.test"), "{error}");
}

#[tokio::test]
async fn without_an_authority_the_gate_says_how_to_make_one() {
    let more = "[intercept]\nhosts = [\"a.test\"]\n[[server.listener]]\naddress = \"127.0.0.1:0\"\nintercept = true\n";
    let setup = Setup::before("http://127.0.0.1:1").config(more);
    let (status, said) = setup.refused_to_start().await;
    assert!(!status.success() && said.contains("run `claimgate ca`"), "{said}");
    let checked = claimgate(&setup, &["check"]).await;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("run `claimgate ca`"), "{said}");
    authority(&setup, &[]).await;
    let checked = claimgate(&setup, &["check"]).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("  and on 127.0.0.1:0 as a.test, by name and as HTTPS_PROXY"), "{said}");
}

/// Where the whole machine's resolver leads the name to the gate, the gate must not ask itself.
#[tokio::test]
async fn a_tracker_whose_name_leads_to_the_gate_is_told_of_and_may_be_given_an_address() {
    let forge = e2e::forge(&[BOT]).await;
    let number = backlog_issue(&forge).number;
    let at = free_address();
    let upstream = format!("http://localhost:{}", at.port());
    let listener = format!("[[server.listener]]\naddress = \"{at}\"\n");
    let gate = Setup::before(&upstream).config(&listener).start().await;
    assert_eq!(gate.agent(BOT).get(&issue(number)).await.status, 502);
    gate.agent(BOT).claim(number).await.refused(502, "upstream_unreadable");
    let said = gate.stderr();
    assert!(said.contains("resolves to a listener of this gate: set upstream.resolve"), "{said}");

    gate.kill().await;
    let resolve = format!("[upstream]\nresolve = \"{}\"\n{listener}", forge.addr());
    let gate = Setup::before(&upstream).config(&resolve).start().await;
    assert_eq!(gate.agent(BOT).get(&issue(number)).await.status, 200);
    gate.agent(BOT).claim(number).await.granted();
}
