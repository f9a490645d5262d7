//! No credential that passes the gate is to be found anywhere afterwards.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use claimgate::fake_forge::{FakeForge, Fault, Matcher};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::e2e::{self, Gate, REPO, Setup};
use crate::edge_tls;

/// One request with a secret somewhere in it.
struct Carrier {
    secret: String,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

const TALKATIVE: &str = "[log]\nlevel = \"trace\"";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const CLAIM: &str = r#"{"assignees":["ann"]}"#;

/// Where a secret may stand.
#[derive(Clone, Copy, Debug)]
enum Spot {
    Header(&'static str, &'static str),
    BasicPassword,
    BasicName,
    Query(&'static str),
    FormField(&'static str),
    Cookie(&'static str),
    PathOf(&'static str),
    Text,
}

const PLACES: &[Spot] = &[
    Spot::Header("authorization", "token "),
    Spot::Header("authorization", "Token "),
    Spot::Header("authorization", "Bearer "),
    Spot::Header("authorization", "bearer "),
    Spot::Header("authorization", "Negotiate "),
    Spot::Header("authorization", ""),
    Spot::BasicPassword,
    Spot::BasicName,
    Spot::Query("token"),
    Spot::Query("access_token"),
    Spot::Query("sudo"),
    Spot::Query("private_token"),
    Spot::FormField("token"),
    Spot::FormField("access_token"),
    Spot::Cookie("i_like_gitea"),
    Spot::Cookie("gitea_incredible"),
    Spot::PathOf("/api/packages/acme/npm/-/"),
    Spot::PathOf("/acme/app.git/info/refs?service="),
    Spot::Header("sudo", ""),
    Spot::Header("x-gitea-otp", ""),
    Spot::Header("x-forgejo-otp", ""),
    Spot::Header("x-csrf-token", ""),
    Spot::Header("x-api-key", ""),
    Spot::Header("x-auth-token", ""),
    Spot::Header("x-webauth-user", ""),
    Spot::Header("private-token", ""),
    Spot::Header("proxy-authorization", "Basic "),
    Spot::Header("x-hub-signature", "sha1="),
    Spot::Header("signature", "keyId="),
    Spot::Text,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_kept_or_told() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gone = unused_address().await;
    let gate = Setup::before(&forge.base_url()).config(TALKATIVE).start().await;
    let orphan = Setup::before(&gone).config(TALKATIVE).start().await;
    let number = e2e::backlog_issue(&forge).number;
    let mut carriers = carriers(number);
    assert!(carriers.len() >= 40, "{}", carriers.len());
    // Half of the secrets are real tokens, so that what they open is met, too.
    for carrier in carriers.iter().step_by(2) {
        forge.add_token("ann", &carrier.secret, false);
    }
    let mut told = Vec::new();
    for carrier in &carriers {
        told.extend(send_everywhere(&forge, &gate, &orphan, carrier).await);
    }
    let (encrypted, carrier) = over_http2(&forge, number).await;
    carriers.push(carrier);
    told.extend(what_operators_see(&gate, number).await);
    told.extend(what_operators_see(&orphan, number).await);
    for gate in [&gate, &orphan, &encrypted] {
        told.push(("standard output".to_owned(), gate.stdout()));
        told.push(("standard error".to_owned(), gate.stderr()));
        told.extend(files_of(gate.state_dir()));
    }
    assert!(gate.stderr().contains("\"level\":\"TRACE\""), "the log was as talkative as it can be");
    assert!(told.iter().any(|(place, _)| place.contains("sqlite")), "the ledger was looked at");
    let leaks: Vec<String> = carriers.iter().flat_map(|carrier| found(&carrier.secret, &told)).collect();
    assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks.join("\n"));
}

/// Every place with a guarded write, every second one with a read as well.
fn carriers(number: u64) -> Vec<Carrier> {
    let item = e2e::issue(number);
    let writes = PLACES.iter().enumerate().map(|(at, place)| carry(*place, at, Method::PATCH, &item));
    let reads = PLACES.iter().enumerate().map(|(at, place)| carry(*place, at + PLACES.len(), Method::GET, &item));
    writes.chain(reads.step_by(2)).collect()
}

fn carry(place: Spot, number: usize, method: Method, path: &str) -> Carrier {
    let secret = format!("c0ffee{:034x}", 0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(number as u128 + 1));
    let mut carrier = Carrier {
        method,
        path: path.to_owned(),
        headers: vec![("content-type", JSON.to_owned())],
        body: CLAIM.to_owned(),
        secret,
    };
    let secret = carrier.secret.clone();
    match place {
        Spot::Header(name, before) => carrier.headers.push((name, format!("{before}{secret}"))),
        Spot::BasicPassword => carrier.headers.push(("authorization", basic(&format!("ann:{secret}")))),
        Spot::BasicName => carrier.headers.push(("authorization", basic(&format!("{secret}:x-oauth-basic")))),
        Spot::Query(name) => carrier.path = format!("{path}?{name}={secret}"),
        Spot::FormField(name) => {
            carrier.headers = vec![("content-type", FORM.to_owned())];
            carrier.body = format!("{name}={secret}&assignees=ann");
        }
        Spot::Cookie(name) => carrier.headers.push(("cookie", format!("{name}={secret}"))),
        Spot::PathOf(before) => carrier.path = format!("{before}{secret}"),
        Spot::Text => carrier.body = format!(r#"{{"assignees":["ann"],"body":"{secret}","title":"{secret}"}}"#),
    }
    carrier
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

/// As it is, with a broken body, with a forge that fails in several ways, and with none. What is told of errors.
async fn send_everywhere(forge: &FakeForge, gate: &Gate, orphan: &Gate, carrier: &Carrier) -> Vec<(String, String)> {
    let mut answers = vec![send(gate, carrier, &carrier.body).await];
    let broken = carrier.body.replace(':', "").replace('&', ";%zz&");
    answers.push(send(gate, carrier, &broken).await);
    answers.push(send(gate, carrier, &format!("{}&{}", carrier.body, carrier.body)).await);
    for fault in [Fault::ErrorBeforeWrite(500), Fault::ErrorAfterWrite(502), Fault::Garbled, Fault::CutBefore] {
        forge.script(fault, Matcher::any("/"));
        answers.push(send(gate, carrier, &carrier.body).await);
        forge.clear_script();
    }
    answers.push(send(orphan, carrier, &carrier.body).await);
    let errors = answers.into_iter().filter(|answer| answer.0 >= 400);
    errors.map(|(status, text)| (format!("an answer {status}"), text)).collect()
}

/// The status, and the answer's head and body.
async fn send(gate: &Gate, carrier: &Carrier, body: &str) -> (u16, String) {
    let mut client = gate.anonymous();
    let names_sender = carrier.headers.iter().any(|(name, _)| *name == "authorization" || *name == "cookie");
    let in_query = carrier.path.contains("token=") || carrier.body.contains("token=");
    if !names_sender && !in_query {
        client.authorization = Some(format!("token {}", e2e::token("ann")));
    }
    let headers: Vec<(&str, &str)> = carrier.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = Bytes::from(body.to_owned());
    match client.try_send(carrier.method.clone(), &carrier.path, &headers, body).await {
        Ok(answer) => (answer.status, format!("{:?}{}", answer.headers, answer.text())),
        Err(_) => (0, String::new()),
    }
}

/// A gate that speaks TLS, as talkative as the others, after a secret has passed over HTTP/2: its libraries have logs of
/// their own.
async fn over_http2(forge: &FakeForge, number: u64) -> (Gate, Carrier) {
    let (setup, made) = encrypted(&forge.base_url());
    let gate = setup.start().await;
    let carrier = carry(Spot::Header("authorization", "token "), 1000, Method::PATCH, &e2e::issue(number));
    let stream = edge_tls::connect(gate.address, &made, b"h2").await.expect("TLS is spoken");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    let mut request = Request::builder().method(Method::PATCH).uri(format!("https://gate.test{}", carrier.path));
    for (name, value) in &carrier.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from_static(CLAIM.as_bytes()))).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    assert!(answer.headers()["claimgate-decision"].as_bytes().starts_with(b"reject"));
    answer.into_body().collect().await.expect("a body");
    (gate, carrier)
}

fn encrypted(upstream: &str) -> (Setup, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let made = edge_tls::certificate("gate.test");
    let setup = Setup::before(upstream);
    let files = edge_tls::files(setup.dir());
    edge_tls::write(&made, &files);
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let (cert, key) = (files.cert.display(), files.key.display());
    let config = format!("{TALKATIVE}\n[server.tls]\ncertificate = \"{cert}\"\nkey = \"{key}\"");
    (setup.config(&config), made)
}

async fn what_operators_see(gate: &Gate, number: u64) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for path in ["/metrics".to_owned(), "/claims".to_owned(), format!("/history?item={REPO}%23{number}")] {
        let answer = gate.at_admin_port().get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        seen.push((path, answer.text()));
    }
    seen
}

fn files_of(dir: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(dir).expect("the state directory").map(|entry| entry.expect("an entry").path());
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).expect("it can be read")).into_owned();
    // The operator's socket has nothing in it to read.
    entries.filter(|path| path.is_file()).map(|path| (path.display().to_string(), text(&path))).collect()
}

/// Where the secret stands, in whatever form.
fn found(secret: &str, told: &[(String, String)]) -> Vec<String> {
    let mut places = Vec::new();
    for (form, needle) in forms(secret) {
        for (place, text) in told {
            if let Some(at) = text.find(&needle) {
                let (before, after) = text.split_at(at);
                let before: String = before.chars().rev().take(200).collect();
                let before: String = before.chars().rev().collect();
                let after: String = after.chars().take(200).collect();
                places.push(format!("{form} in {place}: {before}{after}"));
            }
        }
    }
    places
}

/// The forms in which a secret could be written down.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let each = |form: fn(u8) -> String, between: &str| secret.bytes().map(form).collect::<Vec<_>>().join(between);
    let hex = each(|byte| format!("{byte:02x}"), "");
    let percent = each(|byte| format!("%{byte:02X}"), "");
    let mut forms = vec![
        ("plain", secret.to_owned()),
        ("upper case", secret.to_uppercase()),
        ("hex", hex.clone()),
        ("upper-case hex", hex.to_uppercase()),
        ("percent", percent.clone()),
        ("lower-case percent", percent.to_lowercase()),
        ("bytes", each(|byte| byte.to_string(), ", ")),
        ("its first half", secret[..secret.len() / 2].to_owned() + "\""),
    ];
    // Base64 depends on what stands before: each of the three alignments, without the ends that depend on neighbours.
    for skip in 0..3 {
        let padded = format!("{}{secret}", &"aaa"[..skip]);
        for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            forms.push(("base64", text[4..text.len() - 4].to_owned()));
        }
    }
    forms
}

/// Where nobody listens.
async fn unused_address() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}
