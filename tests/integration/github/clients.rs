//! Stock clients, unchanged: `gh` through a unix socket, octokit and PyGithub through the base URL. Of eight that claim an issue at
//! once one gets it; and what one agent does in a day looks the same through the gate as directly. What is not on this machine and
//! cannot be installed is skipped, loudly.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::fake::{FakeGitHub, IssueView};
use super::{LABELS, REPO, eight};
use crate::e2e::{Gate, Setup, stop_and_verify, token};

const ISSUES: u64 = 30;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs to a good end within a time, or does not; it may need the network.
fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let done = Command::new("timeout").arg("240").arg(program).args(arguments).output();
    done.is_ok_and(|done| done.status.success())
}

/// A folder below `target` in which this was installed from that list, once for each state of the list.
fn installed(list: &str, folder: &str, install: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    let (list, folder) = (root().join(list), root().join("target").join(folder));
    let marker = folder.join("installed-from");
    if std::fs::read(&list).ok() != std::fs::read(&marker).ok() {
        std::fs::create_dir_all(&folder).ok()?;
        if !install(list.to_str()?, folder.to_str()?) {
            eprintln!("SKIPPED: {} could not be installed here", list.display());
            return None;
        }
        std::fs::copy(&list, &marker).expect("the folder is there");
    }
    Some(folder)
}

static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let folder = installed("tests/github/requirements.txt", "github-python", |list, folder| {
        succeeds("python3", &["-m", "venv", "--clear", folder])
            && succeeds(&format!("{folder}/bin/python"), &["-m", "pip", "install", "--quiet", "--requirement", list])
    })?;
    Some(folder.join("bin/python"))
});

static MODULES: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    installed("tests/github/package.json", "github-node", |list, folder| {
        std::fs::copy(list, format!("{folder}/package.json")).is_ok()
            && succeeds("npm", &["install", "--silent", "--no-audit", "--no-fund", "--prefix", folder])
    })
});

/// A program that says its version.
fn is_here(program: &str) -> bool {
    let is_here = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_here {
        eprintln!("SKIPPED: there is no {program} here");
    }
    is_here
}

/// A GitHub in the state that the flows begin with.
async fn seeded() -> (FakeGitHub, u64, Vec<String>) {
    let (github, repo, agents) = eight().await;
    for number in 0..7 {
        github.add_issue(repo, "acme", &format!("work {number}"));
    }
    github.set_labels(repo, 1, &["todo"]);
    github.assign_outside(repo, 3, Some(&agents[5]));
    (github, repo, agents)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn blocking<T: Send + 'static>(of: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(of).await.expect("no panic")
}

// === octokit and PyGithub ===

/// A client that is a script, as a command that takes its plan.
#[derive(Clone, Copy)]
enum Script {
    Octokit,
    PyGithub,
}

impl Script {
    fn command(self) -> Option<Command> {
        let (program, script) = match self {
            Self::Octokit => {
                MODULES.as_ref()?;
                (PathBuf::from("node"), "tests/github/octokit.mjs")
            }
            Self::PyGithub => (PYTHON.clone()?, "tests/github/pygithub.py"),
        };
        let mut command = Command::new("timeout");
        command.arg("240").arg(program).arg(root().join(script));
        Some(command)
    }

    /// What the client was told; none where there is none here.
    async fn run(self, mode: &str, (repo, issues): (u64, Vec<u64>), agents: Vec<Value>) -> Option<Value> {
        let mut command = self.command()?;
        let modules = MODULES.as_ref().map(|path| path.display().to_string());
        let plan = json!({
            "mode": mode, "owner": "acme", "repo": "app", "repo_id": repo, "issues": issues, "agents": agents, "modules": modules,
        });
        blocking(move || {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), plan.to_string()).expect("it can be written");
            let output = command.arg(file.path()).output().expect("timeout runs");
            assert!(output.status.success(), "{}", text(&output));
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
        })
        .await
    }
}

fn agent_of(base: &str, login: &str) -> Value {
    json!({ "base": base, "token": token(login), "login": login })
}

async fn gate(github: &FakeGitHub, more: &str) -> Gate {
    super::gate(github, more).await
}

/// Each round has one winner, and whoever lost was refused.
fn assert_won(ends: &Value, refusal: u64) {
    let rounds = ends.as_array().expect("a list");
    assert_eq!(rounds.len(), usize::try_from(ISSUES).expect("a small number"));
    for (at, round) in rounds.iter().enumerate() {
        let (winners, losers): (Vec<&Value>, Vec<&Value>) =
            round.as_array().expect("a list").iter().partition(|end| end.is_string());
        assert_eq!(winners.len(), 1, "issue {at}: {round}");
        assert!(losers.iter().all(|end| **end == json!(refusal)), "issue {at}: {round}");
    }
}

async fn race(script: Script, status: u64) {
    let (github, repo, agents) = eight().await;
    let issues: Vec<u64> = (0..2 * ISSUES).map(|at| github.add_issue(repo, "acme", &format!("work {at}"))).collect();
    let (own, behind_one) = issues.split_at(issues.len() / 2);
    let more = format!("refusal_status = {status}\n[identity]\nshared_accounts = [\"acme\"]\n");
    let gate = gate(&github, &more).await;
    let base = format!("http://{}", gate.address);
    let each = agents.iter().map(|login| agent_of(&base, login)).collect();
    let Some(ends) = script.run("race", (repo, own.to_vec()), each).await else { return };
    assert_won(&ends, status);
    let each = (0..8).map(|at| agent_of(&format!("{base}/as/worker-{at}"), "acme")).collect();
    let ends = script.run("race", (repo, behind_one.to_vec()), each).await.expect("it ran before");
    assert_won(&ends, status);
    for number in issues {
        assert_eq!(github.issue(repo, number).assignees.len(), 1, "{number}");
    }
    stop_and_verify(gate, 16 * usize::try_from(ISSUES).expect("a small number")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_octokits_one_gets_each_issue() {
    if is_here("node") && is_here("npm") {
        race(Script::Octokit, 422).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_pygithubs_one_gets_each_issue() {
    if is_here("python3") {
        race(Script::PyGithub, 409).await;
    }
}

/// What the client was told, and how every issue stood at the end.
async fn flows(script: Script, through: Option<&str>) -> Option<(Value, Vec<IssueView>)> {
    let (github, repo, agents) = seeded().await;
    let gate = match through {
        Some(_) => Some(gate(&github, "").await),
        None => None,
    };
    let base = match (&gate, through) {
        (Some(gate), Some(prefix)) => format!("http://{}{prefix}", gate.address),
        _ => github.base(),
    };
    let told = script.run("flows", (repo, vec![1]), vec![agent_of(&base, &agents[0])]).await?;
    let left = (1..=7).map(|number| github.issue(repo, number)).collect();
    if let Some(gate) = gate {
        assert!(github.log().iter().all(|logged| !logged.target.contains("/as/")), "no way round the prefix");
        stop_and_verify(gate, 5).await;
    }
    Some((told, left))
}

async fn check_flows(script: Script) {
    let Some(direct) = flows(script, None).await else { return };
    assert_eq!(flows(script, Some("")).await.as_ref(), Some(&direct));
    assert_eq!(flows(script, Some("/as/worker-1")).await.as_ref(), Some(&direct));
}

#[tokio::test(flavor = "multi_thread")]
async fn octokit_is_told_the_same_as_directly() {
    if is_here("node") && is_here("npm") {
        check_flows(Script::Octokit).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pygithub_is_told_the_same_as_directly() {
    if is_here("python3") {
        check_flows(Script::PyGithub).await;
    }
}

// === gh ===

/// `gh` as an agent has it: its own configuration, with the socket that it asks by.
#[derive(Clone)]
struct Gh {
    dir: PathBuf,
    token: String,
}

impl Gh {
    fn new(dir: &Path, socket: &Path, token: &str) -> Self {
        let dir = dir.join(format!("gh-{}", socket.file_stem().and_then(|name| name.to_str()).expect("a name")));
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join("config.yml"), format!("http_unix_socket: {}\n", socket.display())).expect("written");
        Self { dir, token: token.to_owned() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("120").arg("gh").args(arguments);
        command.env("GH_CONFIG_DIR", &self.dir).env("GH_TOKEN", &self.token).env("GH_REPO", REPO);
        command.env("GH_NO_UPDATE_NOTIFIER", "1").env("NO_COLOR", "1").env_remove("GH_HOST").env_remove("GITHUB_TOKEN");
        command.output().expect("timeout runs")
    }
}

fn listeners(dir: &Path, names: &[String]) -> String {
    let one = |name: &String| {
        let path = dir.join(format!("{name}.sock"));
        format!("[[server.listener]]\naddress = \"unix:{}\"\ninstance = \"{name}\"\n", path.display())
    };
    names.iter().map(one).collect()
}

async fn gate_of_sockets(github: &FakeGitHub, names: &[String], more: &str) -> (Gate, Setup) {
    let setup = Setup::before(&github.base());
    let config = format!("{more}[upstream]\ntracker = \"github\"\n{}", listeners(setup.dir(), names));
    let setup = setup.config(&config);
    (setup.start().await, setup)
}

/// The canonical claim of shell agents: assign oneself, and look who is assigned.
fn claims(gh: &Gh, login: &str, number: u64) -> bool {
    let number = number.to_string();
    let told = gh.run(&["issue", "edit", &number, "--add-assignee", "@me"]);
    if !told.status.success() {
        assert!(text(&told).contains("is held by") || text(&told).contains("assigned"), "{}", text(&told));
        return false;
    }
    let shown = gh.run(&["api", &format!("repos/{REPO}/issues/{number}"), "--jq", ".assignees[].login"]);
    String::from_utf8_lossy(&shown.stdout).lines().any(|line| line == login)
}

/// By how many each issue was won.
async fn gh_race(agents: Vec<(Gh, String)>, numbers: Vec<u64>) -> Vec<usize> {
    blocking(move || {
        let round = |number: &u64| {
            std::thread::scope(|scope| {
                let each: Vec<_> =
                    agents.iter().map(|(gh, login)| scope.spawn(move || claims(gh, login, *number))).collect();
                each.into_iter().map(|one| usize::from(one.join().expect("it claims"))).sum()
            })
        };
        numbers.iter().map(round).collect()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_ghs_one_gets_each_issue() {
    if !is_here("gh") {
        return;
    }
    let (github, repo, agents) = eight().await;
    let (gate, setup) = gate_of_sockets(&github, &agents, "").await;
    let numbers: Vec<u64> = (0..ISSUES).map(|at| github.add_issue(repo, "acme", &format!("work {at}"))).collect();
    let each = agents
        .iter()
        .map(|login| (Gh::new(setup.dir(), &setup.dir().join(format!("{login}.sock")), &token(login)), login.clone()));
    let won = gh_race(each.collect(), numbers.clone()).await;
    assert!(won.iter().all(|winners| *winners == 1), "{won:?}");
    for number in numbers {
        assert_eq!(github.issue(repo, number).assignees.len(), 1, "{number}");
    }
    stop_and_verify(gate, 8 * 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_ghs_behind_one_account_one_gets_each_issue() {
    if !is_here("gh") {
        return;
    }
    let (github, repo, agents) = eight().await;
    let (gate, setup) = gate_of_sockets(&github, &agents, "[identity]\nshared_accounts = [\"acme\"]\n").await;
    let numbers: Vec<u64> = (0..ISSUES).map(|at| github.add_issue(repo, "acme", &format!("work {at}"))).collect();
    let each = agents.iter().map(|name| {
        (Gh::new(setup.dir(), &setup.dir().join(format!("{name}.sock")), &token("acme")), "acme".to_owned())
    });
    let won = gh_race(each.collect(), numbers).await;
    assert!(won.iter().all(|winners| *winners == 1), "{won:?}");
    stop_and_verify(gate, 8 * 30).await;
}

/// What an agent does in a day: each command's answer, and how every issue stood at the end.
async fn gh_flows(is_direct: bool) -> (Vec<(i32, String)>, Vec<IssueView>) {
    let (github, repo, agents) = seeded().await;
    let names = [agents[0].clone()];
    let (gate, setup) = gate_of_sockets(&github, &names, "").await;
    let socket = setup.dir().join(if is_direct { "direct.sock" } else { "agent-0.sock" });
    if is_direct {
        github.listen_at(&socket);
    }
    let gh = Gh::new(setup.dir(), &socket, &token(&agents[0]));
    let told = blocking(move || {
        let paths = format!("repos/{REPO}/issues");
        let [pages, fourth, fifth, none] =
            ["?state=all&per_page=3", "/4", "/5/assignees", "/9999"].map(|tail| paths.clone() + tail);
        let commands = [
            vec!["issue", "list", "--assignee", "@me"],
            vec!["issue", "list", "--search", "no:assignee"],
            vec!["issue", "list", "--label", "todo", "--json", "number,title"],
            vec!["issue", "edit", "1", "--add-assignee", "@me", "--add-label", "in-progress", "--remove-label", "todo"],
            vec!["issue", "view", "1", "--json", "number,state,assignees,labels"],
            vec!["issue", "comment", "1", "--body", "on it"],
            vec!["issue", "close", "1"],
            vec!["issue", "reopen", "1"],
            vec!["issue", "edit", "2", "--title", "better"],
            vec!["issue", "edit", "1", "--remove-assignee", "@me", "--add-label", "area/ui"],
            vec!["issue", "create", "--title", "new work", "--body", "b"],
            vec!["api", "--paginate", &pages, "--jq", ".[].number"],
            vec!["api", &fourth, "-f", "state=closed", "--jq", ".state"],
            vec!["api", "-X", "POST", &fifth, "-f", "assignees[]=agent-0", "--jq", ".assignees[].login"],
            vec!["api", &none],
        ];
        let run = |command: &Vec<&str>| {
            let output = gh.run(command);
            (output.status.code().unwrap_or(-1), text(&output))
        };
        commands.iter().map(run).collect::<Vec<_>>()
    })
    .await;
    let left = (1..=8).map(|number| github.issue(repo, number)).collect();
    stop_and_verify(gate, 0).await;
    (told, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn gh_is_told_the_same_as_directly() {
    if !is_here("gh") {
        return;
    }
    let (direct, through) = (gh_flows(true).await, gh_flows(false).await);
    // Labels of one command are set in an order of their own.
    let sorted = |left: &[IssueView]| -> Vec<(Vec<String>, BTreeSet<String>, bool, usize)> {
        let one = |issue: &IssueView| {
            (issue.assignees.clone(), issue.labels.iter().cloned().collect(), issue.open, issue.comments)
        };
        left.iter().map(one).collect()
    };
    assert_eq!(through.0, direct.0);
    assert_eq!(sorted(&through.1), sorted(&direct.1));
    assert!(LABELS.contains(&"in-progress") && through.1[0].labels.contains(&"in-progress".to_owned()));
}
