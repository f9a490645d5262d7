//! The demonstration: it runs anywhere, and tells what happened.

use tokio::process::Command;

#[tokio::test]
async fn the_demo_shows_one_winner_for_each_issue() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    let output = command.args(["demo", "--agents", "6", "--issues", "8"]).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "the progress bar is for terminals");
    assert_eq!(row(&said, "through the gate")[..3], [8, 0, 0]);
    let without = row(&said, "without the gate");
    assert_eq!(without[..3].iter().sum::<u64>(), 8, "each issue is counted once: {said}");
    assert!(said.contains("claimgate serve --upstream"), "{said}");
}

/// The figures of a row of the table.
fn row(said: &str, name: &str) -> Vec<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {said}"));
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
