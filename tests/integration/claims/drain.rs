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
    assert_eq!(gate.operator().get("/readyz").await.status, 200);
    gate.tell(Signal::TERM);
    let not_ready = || async { (gate.operator().get("/readyz").await.status == 503).then_some(()) };
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
            drop(gate);
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
