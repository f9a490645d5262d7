//! What the gate does unasked, and by the operator's word, through the real binary: the watcher, webhooks, the command
//! line over the admin listener, SIGHUP.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use claimgate::fake_forge::{FakeForge, Fault, Matcher, Options};
use hmac::{Hmac, Mac};
use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::e2e::{self, Answer, Client, Gate, LABELS, REPO, Setup, backlog_issue, eventually, issue, stop_and_verify};

/// The account of the gate's own token.
const SERVICE: &str = "gate-bot";
const WEBHOOK_SECRET: &str = "a secret of webhooks";
const WEBHOOKS: &str = "/_claimgate/v1/webhooks/forgejo";
/// In which the watcher must have noticed.
const SOON: Duration = Duration::from_secs(8);

async fn forge() -> FakeForge {
    e2e::forge(&["ann", "bob", SERVICE]).await
}

/// A gate with a service token. `more` goes on in the section `[upstream]`.
fn with_service(forge: &FakeForge, more: &str) -> Setup {
    let setup = Setup::before(&forge.base_url());
    let token = secret(&setup, "service-token", &e2e::token(SERVICE));
    setup.config(&format!("[upstream]\nservice_token_file = {token:?}\n{more}"))
}

fn secret(setup: &Setup, name: &str, text: &str) -> String {
    let file = setup.dir().join(name);
    std::fs::write(&file, text).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    file.to_str().expect("UTF-8").to_owned()
}

/// What a command of the command line did.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// `claimgate …`, asked of this gate.
async fn claimgate(gate: &Gate, arguments: &[&str]) -> Said {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_claimgate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLAIMGATE_")) {
        command.env_remove(name);
    }
    let output = command.args(arguments).args(["--admin", &gate.admin.to_string()]).output().await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn item(number: u64) -> String {
    format!("{REPO}#{number}")
}

fn label(name: &str) -> usize {
    LABELS.iter().position(|label| *label == name).expect("a known label") + 1
}

impl Client {
    async fn add_label(&mut self, number: u64, name: &str) -> Answer {
        let labels = json!({ "labels": [label(name)] });
        self.call(Method::POST, &format!("{}/labels", issue(number)), Some(labels)).await
    }

    async fn remove_label(&mut self, number: u64, name: &str) -> Answer {
        self.call(Method::DELETE, &format!("{}/labels/{}", issue(number), label(name)), None).await
    }

    /// A webhook, signed with this secret.
    async fn hook(&mut self, header: &'static str, secret: &str, payload: &Value) -> u16 {
        let body = payload.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
        mac.update(body.as_bytes());
        let hex = claimgate::model::hex(&mac.finalize().into_bytes());
        let signature = if header.ends_with("-256") { format!("sha256={hex}") } else { hex };
        self.send(Method::POST, WEBHOOKS, &[(header, &signature)], body.into()).await.status
    }
}

fn payload(number: u64) -> Value {
    json!({ "action": "assigned", "issue": { "number": number }, "repository": { "full_name": REPO } })
}

impl Gate {
    /// A metric's value.
    async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.operator().get("/metrics").await.text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until the metric has this value.
    async fn counts(&self, name: &str, value: f64) {
        let there = || async { self.metric(name).await.filter(|is| (is - value).abs() < 0.5) };
        let said = eventually(there, SOON).await;
        assert!(said.is_some(), "{name} is {:?}, not {value}", self.metric(name).await);
    }

    /// Waits until `/claims` says this of the item in this field.
    async fn shows(&self, number: u64, field: &str, value: Value) {
        let there = || async { (self.claim(number).await[field] == value).then_some(()) };
        let said = eventually(there, SOON).await;
        assert!(said.is_some(), "{field} is not {value}: {}", self.claim(number).await);
    }

    /// Waits until this account, or nobody, holds the item.
    async fn is_held_by(&self, number: u64, account: Option<&str>) {
        let there = || async { (self.holder(number).await.as_deref() == account).then_some(()) };
        let said = eventually(there, SOON).await;
        assert!(said.is_some(), "not held by {account:?}: {}", self.claim(number).await);
    }

    /// The audit's lines of this kind, once there are so many.
    async fn lines(&self, kind: &str, count: usize) -> Vec<Value> {
        let found = || async {
            let lines: Vec<Value> = self.audit().into_iter().filter(|line| line["kind"] == kind).collect();
            (lines.len() >= count).then_some(lines)
        };
        let lines = eventually(found, SOON).await;
        lines.unwrap_or_else(|| panic!("not {count} lines of kind {kind}:\n{}\n{}", self.stdout(), self.stderr()))
    }

    /// Lines of the operational log with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let text = self.stderr();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line.to_string().contains(message)).collect()
    }

    /// SIGHUP, and the message that follows it.
    async fn reloads(&self, message: &str) -> Value {
        let before = self.logged(message).len();
        self.tell(Signal::HUP);
        let said = || async { self.logged(message).get(before).cloned() };
        eventually(said, SOON).await.unwrap_or_else(|| panic!("not `{message}`:\n{}", self.stderr()))
    }
}

// === claimgate release ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_item_is_as_its_claim_found_it() {
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let gate = with_service(&forge, "").start().await;
    let mut ann = gate.agent("ann");
    ann.claim(number).await.granted();
    ann.add_label(number, "in-progress").await.granted();
    ann.remove_label(number, "backlog").await.granted();

    let said = claimgate(&gate, &["release", &item(number), "--reason", "ann went home"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("the holding of ann has ended"), "{}", said.out);
    assert!(said.out.contains("its assignee was cleared; its status labels are what the claim found"), "{}", said.out);
    assert_eq!(gate.holder(number).await, None);
    let now = forge.issue(REPO, number);
    assert_eq!((now.assignees, now.labels, now.state), (vec![], vec!["backlog".to_owned()], "open"));

    let operator = gate.lines("operator", 1).await;
    assert_eq!((&operator[0]["reason"], &operator[0]["resource"]), (&json!("ann went home"), &json!(item(number))));
    let own = || async {
        let lines = gate.audit().into_iter().filter(|line| line["agent"]["account"] == SERVICE);
        let lines: Vec<Value> = lines.collect();
        (lines.len() == 3).then_some(lines)
    };
    let own = eventually(own, SOON).await.unwrap_or_else(|| panic!("{}", gate.stdout()));
    for line in own {
        assert_eq!((&line["decision"], &line["authority"]), (&json!("admit"), &json!("overrider")), "{line}");
        assert_eq!(line["result"], "COMMITTED", "{line}");
    }

    gate.agent("bob").claim(number).await.granted();
    ann.release(number).await.refused(409, "not_holder");
    forge.outside_assign("acme", REPO, number, &["ann"]);
    gate.is_held_by(number, None).await;
    let kinds = kinds_in_history(&gate, number).await;
    assert_eq!(
        (&kinds[..3], kinds.contains(&"operator".to_owned())),
        (&["revoked", "decision", "decision"].map(str::to_owned)[..], true)
    );
    stop_and_verify(gate, 9).await;
}

/// What `history` tells of the item, newest first.
async fn kinds_in_history(gate: &Gate, number: u64) -> Vec<String> {
    let said = claimgate(gate, &["history", &item(number), "--json"]).await;
    let said: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
    let lines = said["history"].as_array().expect("a list");
    lines.iter().map(|line| line["kind"].as_str().expect("a kind").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_service_token_a_release_says_what_is_left_to_do() {
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    gate.agent("ann").claim(number).await.granted();
    forge.clear_log();
    let said = claimgate(&gate, &["release", &item(number), "--reason", "stuck"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("the tracker still shows: assigned to ann"), "{}", said.out);
    assert!(said.out.contains("upstream.service_token_file"), "{}", said.out);
    assert_eq!((gate.holder(number).await, forge.issue(REPO, number).assignees), (None, vec!["ann".to_owned()]));
    assert_eq!(forge.requests().len(), 0, "nothing was asked of the forge");
    assert_eq!(gate.lines("operator", 1).await[0]["reason"], "stuck");

    for (unheld, why) in [(number, "free by now"), (4711, "never seen")] {
        let said = claimgate(&gate, &["release", &item(unheld)]).await;
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{why}");
        assert!(said.err.contains(&format!("nobody holds {}", item(unheld))), "{why}: {}", said.err);
    }
    stop_and_verify(gate, 2).await;
}

/// The holding has ended, and a script must not take the item for cleared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_the_tracker_does_not_show_fails() {
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let gate = with_service(&forge, "[assignment]\noutside = \"hold\"").start().await;
    gate.agent("ann").claim(number).await.granted();
    forge.outside_assign("acme", REPO, number, &["bob"]);
    let said = claimgate(&gate, &["release", &item(number), "--reason", "stuck"]).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.out.contains("the holding of ann has ended. its assignee was not cleared"), "{}", said.out);
    assert_eq!((gate.holder(number).await, forge.issue(REPO, number).assignees), (None, vec!["bob".to_owned()]));
}

/// Who lost the item did not end its own holding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_says_why_a_holding_ended_and_whose() {
    let forge = forge().await;
    let (released, reassigned) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    let gate = e2e::gate(&forge).await;
    gate.agent("ann").below("/as/w1").claim(released).await.granted();
    gate.agent("ann").claim(reassigned).await.granted();
    let said = claimgate(&gate, &["release", &item(released), "--reason", "worker died"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    forge.outside_assign("acme", REPO, reassigned, &["bob"]);
    gate.agent("ann").release(reassigned).await.refused(409, "not_holder");

    let row = async |number: u64, kind: &str| {
        let told = claimgate(&gate, &["history", &item(number)]).await.out;
        let rows = told.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "));
        rows.into_iter().find(|row| row.starts_with(kind)).unwrap_or_else(|| panic!("no {kind}: {told}"))
    };
    let operator = row(released, "operator").await;
    assert_eq!(operator, "operator - - - - ends the holding of ann (w1) - - worker died");
    let revoked = row(reassigned, "revoked").await;
    assert!(revoked.starts_with("revoked - - - - ends the holding of ann - "), "{revoked}");
    assert!(row(released, "decision").await.starts_with("decision admit - ann w1 "));
}

/// A change reads as words: a label by its name where the gate can find it out, else by its number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_calls_labels_by_their_names() {
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let gate = with_service(&forge, "").start().await;
    let (mut ann, backlog) = (gate.agent("ann"), label("backlog"));
    ann.claim(number).await.granted();
    ann.remove_label(number, "backlog").await.granted();
    let told = claimgate(&gate, &["history", &item(number)]).await.out;
    assert!(told.contains(" label backlog removed "), "{told}");
    gate.stop().await;
    // Without a token nobody can ask; what was read lately is forgotten.
    let gate = e2e::gate(&forge).await;
    let (mut bob, number) = (gate.agent("bob"), backlog_issue(&forge).number);
    bob.remove_label(number, "backlog").await.granted();
    let told = claimgate(&gate, &["history", &item(number)]).await.out;
    assert!(told.contains(&format!(" label {backlog} removed ")), "{told}");
    let rule = "[[singleton]]\nname = \"filing\"\nagents = [\"ann\"]\nactions = [\"create\"]\nidle = \"10m\"\n";
    let gate = Setup::before(&forge.base_url()).config(rule).start().await;
    let (mut ann, issues) = (gate.agent("ann"), format!("/api/v1/repos/{REPO}/issues"));
    let filed = ann.call(Method::POST, &issues, Some(json!({ "title": "x" }))).await;
    let filed = filed.granted().json()["number"].as_u64().expect("a number");
    let told = claimgate(&gate, &["history", &item(filed), "--json"]).await.out;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["history"][0]["change"], "create");
}

// === outside edits, noticed without a request ===

/// Blind is what the gate is with a token that the tracker refuses: said once, and once when it sees again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_token_that_is_refused_is_said_once() {
    let forge = e2e::forge_with(Options::forgejo_15(), &["ann", SERVICE]).await;
    let (first, second) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    forge.revoke_token(&e2e::token(SERVICE));
    let gate = with_service(&forge, "").start().await;
    gate.agent("ann").claim(first).await.granted();
    gate.agent("ann").claim(second).await.granted();
    let said = |level: &str| {
        let log = gate.stderr();
        let lines = log.lines().filter(|line| line.contains("upstream.service_token_file") && line.contains(level));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = || forge.requests().iter().filter(|request| request.status == Some(401)).count();
    let often = || async { (refused() >= 6).then_some(()) };
    assert!(eventually(often, SOON).await.is_some(), "{} reads", refused());
    let warned = said("WARN");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("401 Unauthorized"), "{warned:?}");

    forge.add_token(SERVICE, &e2e::token(SERVICE), false);
    let told = || async { (!said("INFO").is_empty()).then_some(()) };
    assert!(eventually(told, SOON).await.is_some(), "{}", gate.stderr());
    assert_eq!((said("WARN").len(), said("INFO").len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_edits_end_holdings_without_any_request() {
    let forge = forge().await;
    let gate = with_service(&forge, "").start().await;
    let [given, cleared, closed, untouched] = std::array::from_fn(|_| backlog_issue(&forge).number);
    for number in [given, cleared, closed, untouched] {
        gate.agent("ann").claim(number).await.granted();
    }
    forge.outside_assign("acme", REPO, given, &["bob"]);
    forge.outside_assign("acme", REPO, cleared, &[]);
    forge.outside_close("acme", REPO, closed);
    for number in [given, cleared, closed] {
        gate.is_held_by(number, None).await;
    }
    gate.counts("claimgate_revoked_total", 3.0).await;
    assert_eq!(gate.holder(untouched).await.as_deref(), Some("ann"));
    let mut causes: Vec<String> =
        gate.lines("revoked", 3).await.iter().map(|line| line["reason"].to_string()).collect();
    causes.sort();
    assert!(
        causes[0].contains("closed") && causes[1].contains("reassigned") && causes[2].contains("unassigned"),
        "{causes:?}"
    );

    let mut ann = gate.agent("ann");
    ann.claim(given).await.refused(409, "already_assigned");
    gate.agent("bob").claim(cleared).await.granted();
    ann.claim(cleared).await.refused(409, "already_assigned");
    ann.release(cleared).await.refused(409, "not_holder");
    stop_and_verify(gate, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_makes_an_outside_edit_noticed_at_once() {
    const HOLDINGS: usize = 40;
    let forge = forge().await;
    let setup = Setup::before(&forge.base_url());
    let token = secret(&setup, "service-token", &e2e::token(SERVICE));
    let key = secret(&setup, "webhooks", WEBHOOK_SECRET);
    let setup = setup.config(&format!("[upstream]\nservice_token_file = {token:?}\nwebhook_secret_file = {key:?}"));
    let gate = setup.start().await;
    let numbers: Vec<u64> = (0..HOLDINGS).map(|_| backlog_issue(&forge).number).collect();
    let mut ann = gate.agent("ann");
    for number in &numbers {
        ann.claim(*number).await.granted();
    }
    // Five a second are looked at in turn: all of them take eight seconds.
    let started = tokio::time::Instant::now();
    let mut forgejo = gate.anonymous();
    for (at, number) in numbers.iter().enumerate() {
        forge.outside_assign("acme", REPO, *number, &["bob"]);
        let header = ["x-forgejo-signature", "x-gitea-signature", "x-hub-signature-256"][at % 3];
        assert_eq!(forgejo.hook(header, WEBHOOK_SECRET, &payload(*number)).await, 204);
    }
    gate.counts("claimgate_revoked_total", 40.0).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(gate.operator().get("/claims").await.json(), json!({ "claims": [] }));
    stop_and_verify(gate, 80).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_webhook_is_refused_and_never_forwarded() {
    let forge = forge().await;
    let setup = Setup::before(&forge.base_url());
    let key = secret(&setup, "webhooks", WEBHOOK_SECRET);
    let gate = setup.config(&format!("[upstream]\nwebhook_secret_file = {key:?}")).start().await;
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    forge.clear_log();
    let mut any = gate.anonymous();
    for unknown in [payload(4711), json!({}), json!([]), json!({ "repository": { "full_name": "a" } })] {
        assert_eq!(any.hook("x-forgejo-signature", WEBHOOK_SECRET, &unknown).await, 204, "{unknown}");
    }
    assert_eq!(any.hook("x-forgejo-signature", "another secret", &payload(number)).await, 401);
    // As a form: Forgejo and Gitea sign the JSON in it, and not the form.
    let json = payload(4711).to_string();
    let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish();
    for (signed, status) in [(&json, 204), (&form, 401), (&"payload=".to_owned(), 401)] {
        let mut mac = Hmac::<Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).expect("any key");
        mac.update(signed.as_bytes());
        let hex = claimgate::model::hex(&mac.finalize().into_bytes());
        let headers = [("x-forgejo-signature", hex.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(any.send(Method::POST, WEBHOOKS, &headers, form.clone().into()).await.status, status, "{signed}");
    }
    assert_eq!(any.hook("x-signature", WEBHOOK_SECRET, &payload(number)).await, 401, "unsigned");
    for (method, path, status) in [
        (Method::GET, WEBHOOKS, 405),
        (Method::POST, "/_claimgate/v1/webhooks/another", 404),
        (Method::GET, "/_claimgate/v1/other", 404),
        (Method::POST, "/_claimgate/", 404),
        (Method::GET, "/_claimgate", 404),
        (Method::GET, "/_claimgate?x=1", 404),
        (Method::GET, "/as/one/_claimgate/v2", 404),
    ] {
        assert_eq!(any.call(method.clone(), path, None).await.status, status, "{method} {path}");
    }
    assert_eq!(gate.holder(number).await.as_deref(), Some("ann"));
    let off = e2e::gate(&forge).await;
    assert_eq!(off.anonymous().hook("x-forgejo-signature", "", &payload(number)).await, 404, "no secret is configured");
    assert_eq!(forge.requests().len(), 0, "{:?}", forge.requests());
}

// === doubt ===

/// Short enough for a test.
fn short_doubt(forge: &FakeForge, doubt_period: &str) -> Setup {
    let ledger = format!("[ledger]\nemit_window = \"200ms\"\ndoubt_period = \"{doubt_period}\"");
    with_service(forge, &format!("write_timeout = \"300ms\"\n{ledger}"))
}

fn script(forge: &FakeForge, fault: Fault, number: u64) {
    forge.script(fault, Matcher::new("PATCH", issue(number)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubt_ends_by_itself() {
    let forge = forge().await;
    let gate = short_doubt(&forge, "3s").start().await;
    let (lands, never) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    script(&forge, Fault::Hang { lands_after: Some(Duration::from_millis(900)) }, lands);
    script(&forge, Fault::Hang { lands_after: None }, never);
    for number in [lands, never] {
        gate.agent("ann").claim(number).await.refused_as_unknown();
        assert_eq!(gate.claim(number).await["state"], "doubt");
        gate.agent("bob").claim(number).await.refused(409, "in_doubt");
    }
    // No request from here on.
    gate.is_held_by(lands, Some("ann")).await;
    gate.shows(lands, "state", json!("active")).await;
    gate.shows(never, "state", Value::Null).await;
    gate.counts("claimgate_doubt", 0.0).await;
    assert_eq!(gate.lines("landed", 1).await[0]["resource"], item(lands));
    assert_eq!(gate.lines("not_landed", 1).await[0]["resource"], item(never));
    let history = claimgate(&gate, &["history", &item(never)]).await.out;
    assert!(history.contains("NOT_LANDED"), "{history}");
    assert!(history.contains("in_doubt"), "what never became an attempt is told, too: {history}");

    gate.agent("bob").claim(lands).await.refused(409, "already_assigned");
    gate.agent("bob").claim(never).await.granted();
    gate.agent("ann").claim(lands).await.granted();
    stop_and_verify(gate, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_lands_after_its_doubt_is_contested_and_the_holder_stays() {
    let forge = forge().await;
    let gate = short_doubt(&forge, "1s").start().await;
    let number = backlog_issue(&forge).number;
    script(&forge, Fault::Zombie(Duration::from_secs(5)), number);
    gate.agent("ann").claim(number).await.refused_as_unknown();
    gate.lines("not_landed", 1).await;
    gate.agent("bob").claim(number).await.granted();
    assert_eq!(forge.issue(REPO, number).assignees, ["bob"], "it has not landed yet");

    gate.shows(number, "state", json!("contested")).await;
    gate.counts("claimgate_contested_total", 1.0).await;
    assert_eq!(forge.issue(REPO, number).assignees, ["ann"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    gate.counts("claimgate_contested_total", 1.0).await;
    assert_eq!(gate.holder(number).await.as_deref(), Some("bob"), "another round changes nothing");
    gate.counts("claimgate_revoked_total", 0.0).await;
    assert_eq!(gate.lines("contested", 1).await.len(), 1);
    gate.agent("bob").claim(number).await.granted();
    assert_eq!(forge.issue(REPO, number).assignees, ["bob"], "the holder puts it right");
    stop_and_verify(gate, 5).await;
}

impl Answer {
    #[track_caller]
    fn refused_as_unknown(&self) {
        assert_eq!((self.status, &self.json()["claimgate"]["code"]), (504, &json!("outcome_unknown")), "{self:?}");
    }
}

// === silence ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_holder_is_flagged_and_may_be_taken_over() {
    let forge = forge().await;
    let [kept, idle, reported] = std::array::from_fn(|_| backlog_issue(&forge).number);
    // No service token: none of this needs one.
    let setup = Setup::before(&forge.base_url())
        .config("[ledger]\nrenew_interval = \"1s\"\n[assignment]\nstale_after = \"2500ms\"\ntakeover_after = \"6s\"");
    let gate = setup.start().await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    for number in [kept, idle, reported] {
        ann.claim(number).await.granted();
    }
    let claimed = gate.claim(kept).await;
    // Its holder looks at the one, and writes about another; somebody else looks at the third.
    let until = tokio::time::Instant::now() + Duration::from_millis(4500);
    while tokio::time::Instant::now() < until {
        assert_eq!(ann.get(&issue(kept)).await.status, 200);
        assert_eq!(bob.get(&issue(idle)).await.status, 200);
        let comment = Some(json!({ "body": "at it" }));
        assert_eq!(ann.call(Method::POST, &format!("{}/comments", issue(reported)), comment).await.status, 201);
        assert_eq!(gate.claim(kept).await["stale"], json!(false));
        assert_eq!(gate.claim(reported).await["stale"], json!(false));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let (renewed, silent) = (gate.claim(kept).await, gate.claim(idle).await);
    assert!(renewed["seen"].as_str() > claimed["seen"].as_str(), "{renewed}");
    assert_eq!((&renewed["since"], &renewed["state"]), (&claimed["since"], &json!("active")));
    assert_eq!((&silent["stale"], &silent["state"]), (&json!(true), &json!("stale")));
    assert_eq!(silent["seen"], silent["since"], "never heard of again");
    gate.counts("claimgate_stale", 1.0).await;
    let warned = gate.logged("holding is stale");
    assert_eq!(warned.len(), 1, "once: {warned:?}");
    let line = warned[0].to_string();
    assert_eq!(warned[0]["level"], "WARN", "{line}");
    assert!(line.contains(&format!("\"{}\"", item(idle))) && line.contains("\"ann\""), "{line}");
    bob.claim(idle).await.refused(409, "already_assigned");

    let next_claim = || async { (gate.agent("bob").claim(idle).await.status == 201).then_some(()) };
    eventually(next_claim, SOON).await.expect("the next claim takes it over");
    assert_eq!(forge.issue(REPO, idle).assignees, ["bob"]);
    ann.claim(idle).await.refused(409, "already_assigned");
    let admitted = gate.lines("decision", 5).await;
    let taken: Vec<&Value> = admitted.iter().filter(|line| line["intent"] == "take_over").collect();
    assert_eq!(taken.len(), 1, "{admitted:?}");
    assert_eq!((&taken[0]["agent"]["account"], &taken[0]["resource"]), (&json!("bob"), &json!(item(idle))));
    // The other has been silent since, and is flagged now.
    gate.shows(kept, "stale", json!(true)).await;
    stop_and_verify(gate, 6).await;
}

// === the mode, and the rules, at run time ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mode_is_switched_at_run_time() {
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let gate = e2e::gate(&forge).await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    ann.claim(number).await.granted();
    bob.claim(number).await.refused(409, "already_assigned");

    let said = claimgate(&gate, &["mode", "observe"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out
            .contains("all rules: observe, whatever the configuration says, until the next start or `mode enforce`"),
        "{}",
        said.out
    );
    let passed = bob.claim(number).await;
    assert_eq!(passed.status, 201, "{passed:?}");
    assert!(passed.decision().starts_with("observe; code=already_assigned; id="), "{}", passed.decision());
    assert_eq!(forge.issue(REPO, number).assignees, ["bob"]);

    assert_eq!(claimgate(&gate, &["mode", "enforce"]).await.code, Some(0));
    let holder = gate.holder(number).await.expect("a holder");
    assert_eq!(holder, "bob");
    ann.claim(number).await.refused(409, "already_assigned");
    let observed = || async { gate.audit().into_iter().find(|line| line["decision"] == "observe") };
    let observed = eventually(observed, SOON).await.expect("the line is marked");
    assert_eq!((&observed["code"], &observed["result"]), (&json!("already_assigned"), &json!("COMMITTED")));
    let changes: Vec<Value> = gate.lines("operator", 2).await.iter().map(|line| line["change"].clone()).collect();
    assert_eq!(changes, ["mode observe for all rules", "mode enforce for all rules"]);

    let history = claimgate(&gate, &["history", &item(number)]).await;
    let rows: Vec<Vec<&str>> = history.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let heading = ["TIME", "KIND", "DECISION", "CODE", "ACCOUNT", "INSTANCE", "CHANGE", "RESULT", "HOLDER", "REASON"];
    assert_eq!(history.out.lines().next(), Some("acme/app#1: 4 lines, newest first"), "{}", history.out);
    assert_eq!(rows[1], heading, "{}", history.out);
    let told: Vec<[&str; 4]> = rows[2..].iter().map(|row| [row[2], row[3], row[7], row[8]]).collect();
    let newest_first = [
        ["reject", "already_assigned", "REJECTED", "bob"],
        ["observe", "already_assigned", "COMMITTED", "bob"],
        ["reject", "already_assigned", "REJECTED", "ann"],
        ["admit", "-", "COMMITTED", "ann"],
    ];
    assert_eq!(told, newest_first, "{}", history.out);
    let claims = claimgate(&gate, &["claims", "--json"]).await.out;
    let claims: Value = serde_json::from_str(&claims).expect("JSON");
    assert_eq!(claims, gate.operator().get("/claims").await.json());
    assert_eq!((&claims["claims"][0]["resource"], &claims["claims"][1]), (&json!(item(number)), &Value::Null));
    stop_and_verify(gate, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_reloads_the_rules_and_a_bad_file_keeps_the_old_ones() {
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let setup = Setup::before(&forge.base_url());
    let gate = setup.start().await;
    let file = setup.dir().join("gate.toml");
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    ann.claim(number).await.granted();
    bob.release(number).await.refused(409, "not_holder");
    ann.assign(number, &["ann", "bob"]).await.refused(409, "multiple_assignees");

    std::fs::write(&file, "[assignment]\nrelease_by = \"anyone\"\nmax_assignees = 2").expect("written");
    gate.reloads("rules and log level reloaded").await;
    ann.assign(number, &["ann", "bob"]).await.granted();
    bob.release(number).await.granted();
    ann.claim(number).await.granted();

    for bad in ["[assignment]\nrelease_by = \"nobody\"", "[assignment]\nno_such_key = 1", "[[["] {
        std::fs::write(&file, bad).expect("written");
        let said = gate.reloads("configuration not reloaded; the old one stays").await;
        assert_eq!(said["level"], "ERROR", "{said}");
        assert!(said.to_string().contains("gate.toml"), "it names the file: {said}");
    }
    bob.release(number).await.granted();
    assert_eq!(forge.issue(REPO, number).assignees, Vec::<String>::new());

    std::fs::write(&file, "").expect("written");
    gate.reloads("rules and log level reloaded").await;
    ann.claim(number).await.granted();
    bob.release(number).await.refused(409, "not_holder");
    stop_and_verify(gate, 8).await;
}

impl Client {
    /// A form of the web interface that assigns somebody.
    async fn assign_by_form(&mut self, id: u64, user: u64) -> u16 {
        let path = format!("/{REPO}/issues/assignee");
        let headers =
            [("cookie", "i_like_gitea=session-of-bob"), ("content-type", "application/x-www-form-urlencoded")];
        let body = format!("issue_ids={id}&id={user}&action=attach");
        self.send(Method::POST, &path, &headers, body.into()).await.status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_replaces_every_key_that_judges_and_names_those_that_wait() {
    let forge = forge().await;
    forge.add_session("bob", "session-of-bob");
    let [first, second] = std::array::from_fn(|_| backlog_issue(&forge));
    let setup = Setup::before(&forge.base_url());
    let gate = setup.start().await;
    let file = setup.dir().join("gate.toml");
    let (mut ann, mut bob, mut web) = (gate.agent("ann"), gate.agent("bob"), gate.anonymous());
    let waits = "changed keys that take effect with a restart only";
    let done = "rules and log level reloaded";
    ann.claim(first.number).await.granted();
    bob.release(first.number).await.refused(409, "not_holder");

    let changed = "[server]\nmax_headers = 90\n[server.tls]\n[assignment]\noverriders = [\"bob\"]\nstale_after = \"1ms\"\n\
                   lane_capacity = 7\n[identity]\nshared_accounts = [\"ann\"]\n[web]\nmode = \"enforce\"\n\
                   [ledger]\nzombie_period = \"1h\"\n[log]\nformat = \"text\"";
    std::fs::write(&file, changed).expect("written");
    gate.reloads(done).await;
    let said = gate.logged(waits);
    assert_eq!(said.len(), 1, "one line: {said:?}");
    let keys = "server.max_headers, ledger.zombie_period, assignment.lane_capacity, log.format";
    assert_eq!((&said[0]["keys"], &said[0]["level"]), (&json!(keys), &json!("WARN")));
    ann.claim(first.number).await.refused(409, "identity_required");
    gate.shows(first.number, "stale", json!(true)).await;
    gate.counts("claimgate_stale", 1.0).await;
    let form = web.assign_by_form(first.id, forge.user_id("bob")).await;
    assert_eq!(form, 502, "a session cannot be read with");
    bob.release(first.number).await.granted();

    // All of it is taken back.
    std::fs::write(&file, "[assignment]\nstale_after = \"off\"").expect("written");
    gate.reloads(done).await;
    assert_eq!(gate.logged(waits).len(), 1, "nothing waits any more");
    for issue in [&first, &second] {
        ann.claim(issue.number).await.granted();
    }
    bob.release(first.number).await.refused(409, "not_holder");
    gate.counts("claimgate_stale", 0.0).await;
    assert_eq!(gate.claim(first.number).await["stale"], json!(false));
    let form = web.assign_by_form(second.id, forge.user_id("bob")).await;
    assert_ne!(form, 502);
    stop_and_verify(gate, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_leaves_the_mode_that_the_operator_switched() {
    let forge = forge().await;
    let number = backlog_issue(&forge).number;
    let setup = Setup::before(&forge.base_url());
    let gate = setup.start().await;
    let (mut ann, mut bob) = (gate.agent("ann"), gate.agent("bob"));
    ann.claim(number).await.granted();
    let said = claimgate(&gate, &["mode", "observe", "assignment"]).await;
    assert!(said.out.contains("until the next start or `mode enforce`; SIGHUP leaves it so"), "{}", said.out);
    let stays = "modes that `claimgate mode` switched stay";
    let said = gate.reloads(stays).await;
    assert_eq!(said["switched"], "observe assignment", "{said}");
    let passed = bob.claim(number).await;
    assert_eq!(passed.status, 201, "{passed:?}");

    // Enforced, although the file now says otherwise, and before as well as after the file is read.
    let file = setup.dir().join("gate.toml");
    std::fs::write(&file, "[assignment]\nmode = \"observe\"\n[workflow]\nmode = \"observe\"").expect("written");
    let said = claimgate(&gate, &["mode", "enforce"]).await;
    let words = "all rules: enforce, also where the configuration only observes, until the next start";
    assert!(said.out.contains(words), "{}", said.out);
    ann.claim(number).await.refused(409, "already_assigned");
    gate.reloads(stays).await;
    ann.claim(number).await.refused(409, "already_assigned");
    let mut changes: Vec<Value> = gate.lines("operator", 4).await.iter().map(|line| line["change"].clone()).collect();
    changes.retain(|change| change.as_str().is_some_and(|change| change.starts_with("mode ")));
    assert_eq!(changes, ["mode observe for assignment", "mode enforce for all rules"]);
    stop_and_verify(gate, 4).await;
}
