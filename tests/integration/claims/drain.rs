//! The end of a gate and the next one on the same state.

use std::time::Duration;

use claimgate::fake_forge::Vices;
use rustix::process::Signal;

use crate::e2e::{self, REPO, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_at_sigterm_is_answered() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let mut gate = e2e::gate(&forge).await;
    let number = e2e::backlog_issue(&forge).number;
    forge.set_vices(Vices { write_delay: Duration::from_millis(400), ..Vices::default() });
    let mut ann = gate.agent("ann");
    let claim = tokio::spawn(async move { ann.claim(number).await });
    let sent = || async { forge.requests().iter().any(|entry| entry.method == "PATCH").then_some(()) };
    e2e::eventually(sent, Duration::from_secs(10)).await.expect("the write reaches the forge");
    assert_eq!(gate.at_admin_port().get("/readyz").await.status, 200);
    gate.tell(Signal::TERM);
    let not_ready = || async { (gate.at_admin_port().get("/readyz").await.status == 503).then_some(()) };
    e2e::eventually(not_ready, Duration::from_secs(5)).await.expect("it says that it drains");
    assert!(!claim.is_finished(), "the write is still under way");
    claim.await.expect("no panic").granted();
    assert_eq!(forge.issue(REPO, number).assignees, ["ann"]);
    assert!(gate.ended().await.success(), "{}", gate.stderr());
}

#[tokio::test]
async fn a_second_gate_on_the_same_state_names_the_first() {
    let forge = e2e::forge(&["ann"]).await;
    let setup = Setup::before(&forge.base_url());
    let first = setup.start().await;
    let (status, said) = setup.refused_to_start().await;
    assert!(!status.success());
    assert!(said.contains(&first.process().to_string()), "the process is named: {said}");
    assert!(said.contains(&setup.state().display().to_string()), "and the directory: {said}");
    let number = e2e::backlog_issue(&forge).number;
    first.agent("ann").claim(number).await.granted();
}

/// Passing goes on, each guarded write is refused, and the log says once why, and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_that_cannot_be_used_is_said_once() {
    let forge = e2e::forge(&["ann"]).await;
    let number = e2e::backlog_issue(&forge).number;
    for in_it in [None, Some("ledger.sqlite")] {
        let setup = Setup::before(&forge.base_url());
        let spoiled = match in_it {
            None => setup.state().to_owned(),
            Some(name) => {
                std::fs::create_dir(setup.state()).expect("a directory");
                setup.state().join(name)
            }
        };
        e2e::write_private(&spoiled, &"no database ".repeat(1000));
        let mut gate = setup.start().await;
        for _ in 0..20 {
            assert_eq!(gate.agent("ann").claim(number).await.status, 503);
            assert_eq!(gate.at_admin_port().get("/claims").await.status, 503);
        }
        gate.tell(Signal::TERM);
        assert!(gate.ended().await.success(), "{}", gate.stderr());
        let stopped = || async { gate.stderr().contains("\"stopped\"").then_some(()) };
        e2e::eventually(stopped, Duration::from_secs(5)).await.expect("it says so");

        let log = gate.stderr();
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        // What is refused is told of each write; too few open files are not about this.
        let of_ledger = lines.filter(|line| line["message"] != "guarded write refused" && line["most"].is_null());
        let complaints: Vec<_> = of_ledger.filter(|line| line["level"] == "ERROR" || line["level"] == "WARN").collect();
        let says = |line: &serde_json::Value, what: &str| line["message"].as_str().unwrap_or_default().contains(what);
        assert!(complaints.iter().all(|line| says(line, " ")), "each says something: {log}");
        assert!(says(&complaints[0], "server.state_dir"), "{log}");
        assert!(!log.contains("not printed to its end"), "there was nothing to print: {log}");
        assert!(complaints.len() <= 6, "{} complaints: {log}", complaints.len());
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_once_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (key, config, listen) in [
        ("server.listen", String::new(), address.as_str()),
        ("[[server.listener]]", format!("[[server.listener]]\naddress = {address:?}\n"), "127.0.0.1:0"),
    ] {
        let setup = Setup::before("http://127.0.0.1:1").config(&config).listen(listen);
        let (status, said) = setup.refused_to_start().await;
        assert!(!status.success());
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        let wanted = format!("error: {key}: cannot listen on {address}: Address already in use (os error 98)");
        assert_eq!(error, wanted, "{said}");
    }
}

/// The audit's lines wait in the ledger for a file that cannot be made; one that has none holds up nothing.
#[tokio::test]
async fn an_audit_file_that_cannot_be_made_is_named_and_holds_up_no_stop() {
    let setup = Setup::before("http://127.0.0.1:1");
    let file = setup.dir().join("missing/audit.log");
    let setup = setup.config(&format!("[audit]\nfile = {file:?}\n"));
    let mut gate = setup.start().await;
    let said = || async { gate.stderr().contains("(audit.file)").then_some(()) };
    e2e::eventually(said, Duration::from_secs(10)).await.expect("it says so");
    assert!(gate.stderr().contains("missing/audit.log"), "{}", gate.stderr());
    gate.tell(Signal::TERM);
    assert!(gate.ended().await.success(), "{}", gate.stderr());
    let stopped = || async { gate.stderr().contains("\"stopped\"").then_some(()) };
    e2e::eventually(stopped, Duration::from_secs(5)).await.expect("it says so");
    assert!(!gate.stderr().contains("not printed to its end"), "{}", gate.stderr());
}

#[tokio::test]
async fn holdings_outlive_the_process_that_granted_them() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    let setup = Setup::before(&forge.base_url());
    let (held, free) = (e2e::backlog_issue(&forge).number, e2e::backlog_issue(&forge).number);
    for ends_well in [true, false] {
        let gate = setup.start().await;
        gate.agent("ann").claim(held).await.granted();
        gate.agent("ann").claim(free).await.granted();
        gate.agent("ann").release(free).await.granted();
        let since = gate.claim(held).await["since"].clone();
        if ends_well {
            assert!(gate.stop().await.success());
        } else {
            gate.kill().await;
        }
        let gate = setup.start().await;
        let claim = gate.claim(held).await;
        assert_eq!((claim["agent"]["account"].as_str(), &claim["since"]), (Some("ann"), &since));
        assert!(gate.claim(free).await.is_null());
        gate.agent("bob").claim(held).await.refused(409, "already_assigned");
        gate.agent("bob").claim(free).await.granted();
        gate.agent("bob").release(free).await.granted();
        gate.stop().await;
    }
}
