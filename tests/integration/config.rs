//! The configuration as an operator meets it: through the binary.

use std::process::{Command, Output};

/// Runs `claimgate` in an empty environment, in a directory of its own with `gate.toml`.
fn claimgate(arguments: &[&str], file: &str, environment: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("gate.toml"), file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    command.args(arguments).current_dir(directory.path()).env_clear().envs(environment.iter().copied());
    command.output().unwrap()
}

/// Exit code 2, nothing on standard output, and exactly this on standard error.
#[track_caller]
fn check_refused(arguments: &[&str], file: &str, environment: &[(&str, &str)], expected: &str) {
    let output = claimgate(arguments, file, environment);
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), [].as_slice()));
}

/// Exit code 0, and each fragment on standard output.
#[track_caller]
fn check_printed(arguments: &[&str], file: &str, environment: &[(&str, &str)], fragments: &[&str]) {
    let output = claimgate(arguments, file, environment);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for fragment in fragments {
        assert!(shown.contains(fragment), "no {fragment:?} in\n{shown}");
    }
}

const WITH_FILE: [&str; 3] = ["check", "--config", "gate.toml"];

#[test]
fn a_typing_mistake_is_shown_at_its_place() {
    check_refused(
        &WITH_FILE,
        "[ledger]\ndoubt_perod = \"3m\"\n",
        &[],
        "error: unknown key `ledger.doubt_perod`
 --> gate.toml:2:1
  |
2 | doubt_perod = \"3m\"
  | ^^^^^^^^^^^
  = help: did you mean `doubt_period`?
",
    );
}

#[test]
fn several_mistakes_are_shown_in_the_order_of_the_file() {
    check_refused(
        &WITH_FILE,
        "[upstream]\nread_timeout = \"soon\"\n[workflow]\nworking = [\"doing\"]\n",
        &[],
        "error: `upstream.read_timeout`: `soon` is not a duration: write a number and a unit, such as \"250ms\", \"5s\", \"2m\" or \"1h\"
 --> gate.toml:2:16
  |
2 | read_timeout = \"soon\"
  |                ^^^^^^

error: `doing` is not among `workflow.states`
 --> gate.toml:4:12
  |
4 | working = [\"doing\"]
  |            ^^^^^^^
  = help: there are: backlog, todo, in-progress, blocked, done, and none, open, closed
",
    );
}

#[test]
fn a_flag_and_a_variable_are_named() {
    check_refused(
        &["check", "--listen", "here"],
        "",
        &[("CLAIMGATE_SERVER_WORKERS", "many")],
        "error: `server.workers`: invalid type: string \"many\", expected a whole number, not negative
 --> environment
  |
  | CLAIMGATE_SERVER_WORKERS=many
  |                          ^^^^
  = help: write a number, such as 0

error: `server.listen`: `here` is not an address and a port: write them as \"127.0.0.1:8480\", \"0.0.0.0:8480\" or \"[::1]:8480\"
 --> command line
  |
  | --listen here
  |          ^^^^
",
    );
}

/// What a start would stumble over: each at its key, with the file, and said once.
#[test]
fn check_reads_what_a_start_reads() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        crate::e2e::write_private(&path, text);
        path.to_str().unwrap().to_owned()
    };
    let made = rcgen::generate_simple_self_signed(["gate.test".to_owned()]).unwrap();
    let (cert, key) = (file("cert.pem", &made.cert.pem()), file("key.pem", &made.signing_key.serialize_pem()));
    let other = rcgen::generate_simple_self_signed(["gate.test".to_owned()]).unwrap();
    let other = file("other.pem", &other.signing_key.serialize_pem());
    let (empty, token, none) = (file("empty", " \n"), file("token", "hush\n"), file("none.pem", "no PEM\n"));
    let tls = |cert: &str, key: &str| format!("[server.tls]\ncertificate = {cert:?}\nkey = {key:?}\n");
    let ca = |file: &str| format!("[upstream]\nurl = \"https://h\"\nca_file = {file:?}\n");
    let cases = [
        (
            format!("[server]\nadmin_token_file = {empty:?}\n"),
            "`server.admin_token_file`: ",
            "empty: the file is empty",
        ),
        (format!("[upstream]\nservice_token_file = {empty:?}\n"), "`upstream.service_token_file`: ", "is empty"),
        (format!("[upstream]\nwebhook_secret_file = {empty:?}\n"), "`upstream.webhook_secret_file`: ", "is empty"),
        (tls(&none, &key), "`server.tls.certificate`: ", "none.pem holds no certificate in PEM"),
        (tls(&cert, &none), "`server.tls.key`: ", "none.pem holds no private key in PEM"),
        (tls(&cert, &other), "`server.tls.certificate`: ", "cannot use the certificate"),
        (ca(&none), "`upstream.ca_file`: ", "no certificate in it"),
    ];
    for (text, of, what) in cases {
        let output = claimgate(&WITH_FILE, &text, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert_eq!((said.matches("error: ").count(), said.matches(what).count()), (1, 1), "{what}: {said}");
        assert!(said.contains(&format!("error: {of}")) && said.contains("--> gate.toml:"), "{said}");
    }
    let good =
        format!("{}[upstream]\nservice_token_file = {token:?}\n[audit]\nfile = \"audit.log\"\n", tls(&cert, &key));
    check_printed(&WITH_FILE, &good, &[], &["listens on https://"]);
    check_printed(&WITH_FILE, &ca(&cert), &[], &["https://h"]);
}

/// A start does not fail for it either: the lines wait in the ledger.
#[test]
fn an_audit_that_cannot_be_written_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing/audit.log");
    for (file, what) in [(missing.as_path(), "missing is not a directory"), (directory.path(), "is a directory")] {
        let output = claimgate(&WITH_FILE, &format!("[audit]\nfile = {file:?}\n"), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.starts_with("warning: `audit.file`: ") && said.contains(what), "{said}");
        assert!(said.ends_with("until it can be written, the audit waits in the ledger\n"), "{said}");
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let expected = "error: cannot read the configuration /nowhere.toml: No such file or directory (os error 2)\n";
    check_refused(&["check", "--config", "/nowhere.toml"], "", &[], expected);
    check_refused(&["check"], "", &[("CLAIMGATE_CONFIG", "/nowhere.toml")], expected);
    check_refused(&["serve"], "", &[("CLAIMGATE_CONFIG", "/nowhere.toml")], expected);
}

#[test]
fn check_prints_the_rules_in_force() {
    check_printed(
        &WITH_FILE,
        "[assignment]\nmode = \"observe\"\noverriders = [\"alice\"]\n",
        &[("CLAIMGATE_UPSTREAM", "http://forge.example")],
        &[
            "listens on http://127.0.0.1:8480 and speaks to forgejo at http://forge.example",
            "Assignment (observed only: nothing is refused):",
            "or an overrider: alice",
            "to in-progress from none, backlog, todo, blocked, by its holder",
            "assignment.mode  (gate.toml:2:8)",
            "upstream.url  (environment)",
        ],
    );
}

#[test]
fn check_prints_json_that_a_file_would_accept() {
    check_printed(
        &["check", "--json", "--state-dir", "elsewhere"],
        "",
        &[],
        &["\"doubt_period\": \"2m\"", "\"state_dir\": \"elsewhere\"", "\"server.state_dir\": \"command line\""],
    );
}

/// The reader of the pipe has gone before anything is written.
#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let (address, request) = answer_once(200, r#"[{"kind":"decision"}]"#);
    let cases: [&[&str]; 7] = [
        &["check", "--json"],
        &["check"],
        &["explain", "GET", "/"],
        &["explain", "GET", "/_claimgate/v1"],
        &["demo", "--agents", "1", "--issues", "1"],
        &["history", "o/r#1", "--admin", &address],
        &["report", "gate.toml"],
    ];
    for arguments in cases {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("gate.toml"), "").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
        command.args(arguments).current_dir(directory.path()).env_clear().stdout(writer);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{arguments:?}");
    }
    request.join().unwrap();
}

/// Errors too: nobody is left who could be told.
#[test]
fn a_closed_pipe_leaves_the_exit_code_as_it_is() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    command.args(["check", "--config", "/nowhere.toml"]).env_clear().stderr(writer);
    assert_eq!(command.status().unwrap().code(), Some(2));
}

#[test]
fn a_path_of_the_gates_own_is_explained_as_that() {
    let cases = [
        ("POST", "/_claimgate/v1/claims", "route: claims API; answered by the gate itself, never forwarded"),
        ("POST", "/as/one/_claimgate/v1/claims/next", "route: claims API;"),
        ("POST", "/_claimgate/v1/webhooks/forgejo", "route: webhooks;"),
        ("GET", "/_claimgate/v1/singletons?x=1", "route: singletons;"),
        ("GET", "/_claimgate/v2", "route: nothing (404);"),
        ("GET", "/_claimgatex", "route: pass"),
    ];
    for (method, path, expected) in cases {
        check_printed(&["explain", method, path, "{}"], "", &[], &[expected]);
    }
}

#[test]
fn without_a_gate_the_clients_say_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for arguments in [&["claims"][..], &["history", "o/r#1"], &["release", "o/r#1"], &["mode", "observe"], &["health"]]
    {
        let output = claimgate(&[arguments, &["--admin", &free]].concat(), "", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(&format!("no gate listens at {free}")), "{said}");
    }
    let output = claimgate(&["claims", "--admin", "off"], "", &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the admin listener is off"));
}

#[test]
fn what_the_gate_answers_is_printed() {
    let claims = r#"{"claims":[{"resource":"o/r#7","agent":{"account":"bot","instance":"a1"},"since":"2026-11-21T09:00:00Z","state":"active"}]}"#;
    let cases: [(&[&str], u16, &str, &str, i32); 7] = [
        (&["claims"], 200, claims, "o/r#7  bot      a1        2026-11-21T09:00:00Z  -    -          -       active", 0),
        (&["claims", "--json"], 200, claims, "\"account\": \"bot\"", 0),
        (&["release", "o/r#7", "--reason", "stuck"], 200, "", "released", 0),
        (&["release", "o/r#7"], 404, r#"{"message":"nobody holds o/r#7"}"#, "404 Not Found: nobody holds o/r#7", 1),
        (
            &["claims"],
            401,
            "Unauthorized\n",
            "the gate wants its admin token (server.admin_token_file): Unauthorized\n",
            1,
        ),
        (&["health"], 200, "ok", "", 0),
        (&["health", "--ready"], 503, "draining", "503 Service Unavailable: draining", 1),
    ];
    for (arguments, status, body, fragment, code) in cases {
        let (address, request) = answer_once(status, body);
        let output = claimgate(&[arguments, &["--admin", &address]].concat(), "", &[]);
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(shown.contains(fragment), "{arguments:?}: {shown}");
        assert!(request.join().unwrap().contains(&format!("host: {address}")), "{arguments:?}");
    }
}

/// A listener that answers one request, and hands over what was asked.
fn answer_once(status: u16, body: &str) -> (String, std::thread::JoinHandle<String>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 8192];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).to_lowercase()
    });
    (address, thread)
}
