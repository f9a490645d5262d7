//! What is open to whom: the operator's listener, and the files of the state directory.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use claimgate::config::Config;
use http::Method;
use serde_json::json;

use crate::e2e::{self, REPO, Setup, backlog_issue, forge};

#[test]
fn both_listeners_are_on_loopback_by_default_and_no_credential_is_built_in() {
    let config = Config::defaults();
    assert!(config.server.listen.tcp().unwrap().ip().is_loopback());
    assert!(config.server.admin.unwrap().ip().is_loopback());
    let secrets = [&config.server.admin_token_file, &config.upstream.service_token_file];
    assert_eq!(secrets, [&None, &None]);
    assert_eq!((config.upstream.webhook_secret_file, config.server.tls.key), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_by_get() {
    let forge = forge(&["agent-0"]).await;
    let gate = e2e::gate(&forge).await;
    let number = backlog_issue(&forge).number;
    assert_eq!(gate.agent("agent-0").claim(number).await.status, 201);
    let mut operator = gate.operator();
    let item = format!("{REPO}#{number}");
    let release = json!({ "item": item });
    let observe = json!({ "mode": "observe" });
    for (path, body) in [("/release", &release), ("/mode", &observe)] {
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            let query = format!("{path}?item={REPO}%23{number}&mode=observe");
            for path in [path, query.as_str()] {
                let answer = operator.call(method.clone(), path, Some(body.clone())).await;
                // GET /mode only shows.
                let shows = path.starts_with("/mode") && method != Method::DELETE;
                assert_eq!(answer.status, if shows { 200 } else { 405 }, "{method} {path}");
            }
        }
    }
    assert_eq!(gate.holder(number).await.as_deref(), Some("agent-0"));
    assert!(gate.audit().iter().all(|line| line["kind"] != "operator"), "{:?}", gate.audit());
    // What is refused by GET is there by POST.
    assert_eq!(operator.call(Method::POST, "/release", Some(release)).await.status, 200);
    assert_eq!(gate.holder(number).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_listener_has_nothing_of_the_operators() {
    let forge = forge(&["agent-0"]).await;
    let gate = e2e::gate(&forge).await;
    let number = backlog_issue(&forge).number;
    let mut agent = gate.agent("agent-0");
    assert_eq!(agent.claim(number).await.status, 201);
    let release = json!({ "item": format!("{REPO}#{number}") });
    for prefix in ["", "/_claimgate", "/as/agent-0"] {
        for path in ["/claims", "/metrics", "/healthz", "/readyz", "/history", "/release", "/mode"] {
            let path = format!("{prefix}{path}");
            assert_eq!(agent.get(&path).await.status, 404, "{path}");
            let posted = agent.call(Method::POST, &path, Some(release.clone())).await;
            assert!(posted.status == 404 || posted.status == 405, "{path}: {}", posted.status);
        }
    }
    assert_eq!(gate.holder(number).await.as_deref(), Some("agent-0"));
}

/// All files below a directory, with their permission bits.
fn files(below: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap()) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((entry.path(), mode));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_state_are_their_owners_alone_whatever_the_umask() {
    let forge = forge(&["agent-0"]).await;
    let setup = Setup::before(&forge.base_url()).shell("umask 000");
    let audit = setup.state().join("audit.jsonl");
    let setup = setup.config(&format!("[audit]\nfile = {audit:?}\n"));
    let gate = setup.start().await;
    let number = backlog_issue(&forge).number;
    assert_eq!(gate.agent("agent-0").claim(number).await.status, 201);
    let found = files(setup.state());
    let others: Vec<_> = found.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(others.is_empty(), "{others:?}");
    for name in ["ledger.sqlite", "fingerprint.key", "audit.jsonl"] {
        assert!(found.iter().any(|(path, mode)| path.ends_with(name) && *mode == 0o600), "{name}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_or_key_that_others_may_read_is_refused() {
    let forge = forge(&["agent-0"]).await;
    let setup = Setup::before(&forge.base_url());
    assert!(setup.start().await.stop().await.success());
    for name in ["ledger.sqlite", "fingerprint.key"] {
        let path = setup.state().join(name);
        let allow = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o644, 0o640, 0o602] {
            allow(mode);
            let (status, said) = setup.refused_to_start().await;
            assert!(!status.success() && said.contains(name) && said.contains("chmod"), "{name} {mode:o}: {said}");
        }
        allow(0o600);
    }
    assert!(setup.start().await.stop().await.success());
}
