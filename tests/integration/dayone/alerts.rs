//! The alert rules and the dashboard of `deploy/`: each rule fires by its own trouble at a real gate, and by nothing else.
//!
//! What a gate serves before and after the trouble becomes the input of `promtool test rules`, so that the rules are judged by
//! Prometheus itself. Without promtool (Debian's `prometheus`) these tests say that they were skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claimgate::effect::{Decision, Metrics};
use claimgate::fake_forge::{Fault, Matcher};
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::watching_gate;
use crate::e2e::{self, Gate, REPO, Setup, backlog_issue, eventually};

/// What a gate serves, by series.
type Samples = BTreeMap<String, f64>;

fn promtool() -> bool {
    let there = Path::new("/usr/bin/promtool").exists();
    if !there {
        eprintln!("SKIPPED: there is no promtool here; Debian has it in the package prometheus");
    }
    there
}

fn rules_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/alerts.yaml")
}

/// The names of all rules.
fn names() -> BTreeSet<String> {
    let rules: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&std::fs::read_to_string(rules_file()).expect("it is there")).expect("YAML");
    let rules = rules["groups"][0]["rules"].as_sequence().expect("a list").clone();
    rules.iter().map(|rule| rule["alert"].as_str().expect("a name").to_owned()).collect()
}

async fn samples(gate: &Gate) -> Samples {
    let text = gate.at_admin_port().get("/metrics").await.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Scrapes until the series has this value or more; what was served then.
async fn until(gate: &Gate, series: &str, is: impl Fn(f64) -> bool) -> Samples {
    let served = || async { Some(samples(gate).await).filter(|served| served.get(series).copied().is_some_and(&is)) };
    let found = eventually(served, Duration::from_secs(20)).await;
    match found {
        Some(found) => found,
        None => panic!("{series}: {:#?}", samples(gate).await.get(series)),
    }
}

/// Which rules fire where the gate served `before` for an hour and then `after` for half of one.
async fn firing(before: &Samples, after: &Samples) -> BTreeSet<String> {
    let mut series = String::new();
    let labelled = |name: &str| match name.split_once('{') {
        Some((name, rest)) => format!("{name}{{job=\"claimgate\",instance=\"gate\",{rest}"),
        None => format!("{name}{{job=\"claimgate\",instance=\"gate\"}}"),
    };
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in all.into_iter().filter(|name| !name.contains("_bucket") && !name.contains("_sum")) {
        let values = match (before.get(name), after.get(name)) {
            (Some(one), Some(other)) => format!("{one}+0x60 {other}+0x30"),
            (None, Some(other)) => format!("_x61 {other}+0x30"),
            (Some(one), None) => format!("{one}+0x60 _x31"),
            (None, None) => continue,
        };
        let _ = writeln!(series, "      - series: '{}'\n        values: '{values}'", labelled(name));
    }
    let mut fires = BTreeSet::new();
    // Soon after the trouble began, and a while after: some rules wait, and others see only what is new.
    for at in ["63m", "72m"] {
        let mut test = format!(
            "rule_files: [\"{}\"]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    promql_expr_test:\n",
            rules_file().display()
        );
        for name in names() {
            let _ = write!(
                test,
                "      - expr: 'count(ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}) or vector(0)'\n        \
                 eval_time: {at}\n        exp_samples: [{{ labels: '{{}}', value: 1 }}]\n"
            );
        }
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
        std::fs::write(file.path(), test).expect("written");
        let output = Command::new("/usr/bin/promtool").args(["test", "rules"]).arg(file.path()).output().await;
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).replace('\\', "");
        assert!(output.status.success() || said.contains("got:"), "{said}");
        // It names those that were not as expected.
        fires.extend(names().into_iter().filter(|name| !said.contains(&format!("alertname=\"{name}\""))));
    }
    fires
}

fn with(mut samples: Samples, more: &[(&str, f64)]) -> Samples {
    samples.extend(more.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    samples
}

#[track_caller]
fn fired(fires: &BTreeSet<String>, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|name| format!("Claimgate{name}")).collect();
    assert_eq!(*fires, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_dashboard_speak_of_metrics_that_exist() {
    let (metrics, mut registry) = (Metrics::default(), prometheus_client::registry::Registry::default());
    metrics.register(&mut registry);
    metrics.register_health(&mut registry, true, true);
    metrics.decided(Decision::Admit, None);
    metrics.upstream_took("send", Duration::ZERO);
    let mut served = String::new();
    prometheus_client::encoding::text::encode(&mut served, &registry).expect("text");
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        words.filter(|word| word.starts_with("claimgate_")).map(str::to_owned).collect()
    };
    let served = words(&served);
    for file in ["alerts.yaml", "grafana.json"] {
        let text = std::fs::read_to_string(rules_file().with_file_name(file)).expect("it is there");
        let unknown: Vec<String> = words(&text).into_iter().filter(|name| !served.contains(name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let board: Value = serde_json::from_str(
        &std::fs::read_to_string(rules_file().with_file_name("grafana.json")).expect("it is there"),
    )
    .expect("JSON");
    assert!(board["panels"].as_array().is_some_and(|panels| panels.len() > 6), "{board}");
    if promtool() {
        let output = Command::new("/usr/bin/promtool").args(["check", "rules"]).arg(rules_file()).output().await;
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What agents, people and the tracker do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_fire_by_what_happens_to_items() {
    if !promtool() {
        return;
    }
    let forge = e2e::forge(&["ann", "bob", "eve"]).await;
    let config = "write_timeout = \"6s\"\n[ledger]\ndoubt_period = \"8s\"\nzombie_period = \"60s\"\n[assignment]\nlane_timeout = \"1s\"\n\
                  stale_after = \"1s\"\ntakeover_after = \"3s\"\n";
    let (_setup, gate) = watching_gate(&forge, config).await;
    let path = |number| e2e::issue(number);
    let up = |samples: Samples| with(samples, &[("up", 1.0)]);
    let numbers: Vec<u64> = (0..6).map(|_| backlog_issue(&forge).number).collect();
    gate.agent("ann").claim(numbers[0]).await.granted();
    let before = up(samples(&gate).await);
    fired(&firing(&before, &before).await, &[]);

    // Past the gate; and one who is silent, and loses it.
    forge.outside_assign("eve", REPO, numbers[0], &["eve"]);
    let after = up(until(&gate, "claimgate_revoked_total", |count| count > 0.0).await);
    assert!(firing(&before, &after).await.contains("ClaimgateOutsideEdits"));

    gate.agent("ann").claim(numbers[1]).await.granted();
    let after = up(until(&gate, "claimgate_stale", |count| count > 0.0).await);
    assert!(firing(&before, &after).await.contains("ClaimgateStale"));
    let taken = || async { (gate.agent("bob").claim(numbers[1]).await.status == 201).then_some(()) };
    eventually(taken, Duration::from_secs(15)).await.expect("it is taken over");
    let after = up(until(&gate, "claimgate_taken_over_total", |count| count > 0.0).await);
    assert!(firing(&before, &after).await.contains("ClaimgateTakenOver"));

    // A write that takes long; whoever waits for its turn meanwhile gets none.
    let before = up(samples(&gate).await);
    forge.script(Fault::Delay(Duration::from_secs(3)), Matcher::new("PATCH", path(numbers[2])).times(1));
    let mut slow = gate.agent("ann");
    let number = numbers[2];
    let slow = tokio::spawn(async move { slow.claim(number).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.agent("bob").claim(number).await.refused(503, "lane_timeout");
    slow.await.expect("no panic").granted();
    let fires = firing(&before, &up(samples(&gate).await)).await;
    for name in ["ClaimgateLaneTimeouts", "ClaimgateDoubtPeriodShort"] {
        assert!(fires.contains(name), "{name}: {fires:?}");
    }

    // Nobody knows what became of a write; and it lands late, when another holds the item.
    forge.script(Fault::Zombie(Duration::from_secs(13)), Matcher::new("PATCH", path(numbers[3])).times(1));
    assert_eq!(gate.agent("ann").claim(numbers[3]).await.status, 504);
    let after = up(until(&gate, "claimgate_doubt", |count| count > 0.0).await);
    assert!(firing(&before, &after).await.contains("ClaimgateDoubt"));
    let claimed = || async { (gate.agent("bob").claim(numbers[3]).await.status == 201).then_some(()) };
    eventually(claimed, Duration::from_secs(12)).await.expect("its doubt ends");
    let before = up(samples(&gate).await);
    let after = up(until(&gate, "claimgate_contested_total", |count| count > 0.0).await);
    assert!(firing(&before, &after).await.contains("ClaimgateContested"));
}

/// What the gate needs, and what an operator does to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_fire_by_what_happens_to_the_gate() {
    if !promtool() {
        return;
    }
    let forge = e2e::forge(&["ann"]).await;
    let (setup, gate) = watching_gate(&forge, "public_url = \"https://forge.example\"\n").await;
    let up = |samples: Samples| with(samples, &[("up", 1.0)]);
    let well = [("claimgate_public_url_matches", 1.0)];
    let after = up(until(&gate, "claimgate_public_url_matches", |value| value < 1.0).await);
    let before = with(after.clone(), &well);
    fired(&firing(&before, &before).await, &[]);
    fired(&firing(&before, &after).await, &["LinksLeadRound"]);
    fired(&firing(&before, &with(before.clone(), &[("up", 0.0)])).await, &["Down"]);
    assert_eq!(
        gate.operator()
            .call(Method::POST, "/mode", Some(json!({ "mode": "observe", "rule": "workflow" })))
            .await
            .status,
        200
    );
    let after = with(up(samples(&gate).await), &well);
    fired(&firing(&before, &after).await, &["ModeSwitched"]);
    // One account from two addresses.
    let number = backlog_issue(&forge).number;
    gate.agent("ann").claim(number).await.granted();
    gate.agent("ann").from("127.0.0.2").claim(number).await.granted();
    let before = after;
    let after = with(up(until(&gate, "claimgate_unnamed_instances_total", |count| count > 0.0).await), &well);
    fired(&firing(&before, &after).await, &["UnnamedAgents"]);
    std::fs::write(setup.dir().join("gate.toml"), "[assignment]\nmode = \"perhaps\"\n").expect("written");
    gate.tell(rustix::process::Signal::HUP);
    let before = after;
    let after = with(up(until(&gate, "claimgate_config_last_reload_successful", |value| value < 1.0).await), &well);
    fired(&firing(&before, &after).await, &["ReloadFailed"]);
    let well = [&well[..], &[("claimgate_config_last_reload_successful", 1.0)]].concat();
    let before = with(after, &well);
    std::fs::rename(gate.state_dir().join("ledger.sqlite"), gate.state_dir().join("away")).expect("ours");
    let after = with(up(until(&gate, "claimgate_ledger_up", |value| value < 1.0).await), &well);
    fired(&firing(&before, &after).await, &["LedgerDown"]);
    std::fs::rename(gate.state_dir().join("away"), gate.state_dir().join("ledger.sqlite")).expect("ours");
    let before = with(up(until(&gate, "claimgate_ledger_up", |value| value > 0.0).await), &well);
    drop(forge);
    let after = with(up(until(&gate, "claimgate_upstream_up", |value| value < 1.0).await), &well);
    fired(&firing(&before, &after).await, &["TrackerDown"]);
    // A token that the tracker does not know.
    let forge = e2e::forge(&["ann"]).await;
    let token = setup.dir().join("token");
    e2e::write_private(&token, "nobody-s-token");
    let config = format!("[upstream]\nservice_token_file = {token:?}\n");
    let gate = Setup::before(&forge.base_url()).config(&config).start().await;
    let after = up(until(&gate, "claimgate_service_token_valid", |value| value < 1.0).await);
    fired(&firing(&with(after.clone(), &[("claimgate_service_token_valid", 1.0)]), &after).await, &["ServiceToken"]);
}

/// The tests above cause the trouble of each rule.
#[test]
fn every_rule_is_caused_by_a_test() {
    let tests = include_str!("alerts.rs");
    let missing: Vec<String> = names()
        .into_iter()
        .filter(|name| {
            let short = name.strip_prefix("Claimgate").unwrap_or(name);
            !tests.contains(&format!("\"{name}\"")) && !tests.contains(&format!("&[\"{short}\"]"))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
