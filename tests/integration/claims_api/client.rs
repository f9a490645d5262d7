//! A client that knows nothing but `openapi.json`: schemathesis, which `tests/schemathesis/run` installs and runs this
//! with.

use crate::e2e::{self, REPO};
use std::path::Path;
use tokio::process::Command;

/// All that it can check but one: that whatever fits the schema is accepted. A label that the repository does not have fits
/// it, and so does one that is to be both set and removed.
const UNCHECKED: &str = "positive_data_acceptance";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs schemathesis: tests/schemathesis/run"]
async fn a_client_made_of_the_description_finds_nothing() {
    let schemathesis = std::env::var("SCHEMATHESIS").expect("where it is installed");
    let examples = std::env::var("SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| "100".to_owned());
    let forge = e2e::forge(&["ann", "bob"]).await;
    for _ in 0..40 {
        e2e::backlog_issue(&forge);
    }
    let gate = e2e::gate(&forge).await;
    let url = format!("http://{}", gate.address);
    let work = tempfile::tempdir().expect("a temporary directory");
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/hooks.py");
    let status = Command::new(schemathesis)
        .arg("run")
        .arg(format!("{url}/_claimgate/v1/openapi.json"))
        .args(["--url", &url, "--header", &format!("Authorization: token {}", e2e::token("ann"))])
        .args(["--checks", "all", "--exclude-checks", UNCHECKED])
        .args(["--max-examples", &examples, "--seed", "1", "--workers", "2", "--continue-on-failure"])
        .env("SCHEMATHESIS_HOOKS", hooks)
        .current_dir(work.path())
        .status()
        .await
        .expect("it runs");
    assert!(status.success(), "{status}");
    let answered = forge.requests().iter().filter(|request| request.status.is_some()).count();
    let claimed = forge.requests().iter().any(|request| request.guarded && request.applied);
    assert!(claimed, "it did not claim anything in {REPO} with {answered} requests to the forge");
    e2e::stop_and_verify(gate, 1).await;
}
