//! The live page in a real browser: headless Chromium, where there is one. `tests/run` installs Debian's.
//!
//! The browser is driven over its debugging pipe (NUL-separated JSON on descriptors 3 and 4), so that the tests need nothing
//! beside it. With `CLAIMGATE_PICTURES` set to a directory, the pictures are left there to be looked at.

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use claimgate::fake_forge::{FakeForge, Fault, Matcher};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{item, watching_gate};
use crate::e2e::{self, Gate, REPO, Setup, backlog_issue};

/// One page in one browser.
struct Browser {
    to: File,
    from: std::io::BufReader<File>,
    session: Option<String>,
    calls: u64,
    /// What the page complained of.
    errors: Vec<String>,
    /// Ends with this, or when it has run for too long.
    _life: tokio::task::JoinSet<()>,
    _dir: tempfile::TempDir,
}

/// The browser, if it is here.
fn chromium() -> Option<&'static str> {
    let found = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("SKIPPED: there is no chromium here; tests/run installs it where there is apt");
    }
    found
}

impl Browser {
    /// Starts one and loads the page, with a window of this size.
    async fn open(chromium: &str, gate: &Gate, (width, height): (u32, u32), dark: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (to, from) = (dir.path().join("to"), dir.path().join("from"));
        let made = std::process::Command::new("mkfifo").args([&to, &from]).status().expect("it runs");
        assert!(made.success());
        let start = "exec \"$0\" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --disable-dev-shm-usage \
                     --no-first-run --disable-background-networking --disable-component-update \
                     --remote-debugging-pipe --user-data-dir=\"$1\" about:blank 3<\"$2\" 4>\"$3\"";
        let mut command = Command::new("sh");
        command.args(["-c", start, chromium]).arg(dir.path().join("profile")).args([&to, &from]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let mut life = tokio::task::JoinSet::new();
        life.spawn(async move {
            drop(tokio::time::timeout(Duration::from_secs(90), child.wait()).await);
        });
        let opening = tokio::task::spawn_blocking(move || {
            let to = File::options().write(true).open(to).expect("a pipe");
            (to, File::open(from).expect("a pipe"))
        });
        let (to, from) =
            tokio::time::timeout(Duration::from_secs(30), opening).await.expect("it opens").expect("no panic");
        let from = std::io::BufReader::new(from);
        let mut browser = Self { to, from, session: None, calls: 0, errors: Vec::new(), _life: life, _dir: dir };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Log.enable", json!({}));
        browser.call("Page.enable", json!({}));
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        browser.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", media);
        browser.call("Page.navigate", json!({ "url": format!("http://{}/", gate.admin) }));
        browser.until("document.getElementById('live')?.textContent === 'live'").await;
        browser
    }

    /// One command, and its result.
    fn call(&mut self, method: &str, params: Value) -> Value {
        tokio::task::block_in_place(|| {
            self.calls += 1;
            let mut message = json!({ "id": self.calls, "method": method });
            message["params"] = params;
            if let Some(session) = &self.session {
                message["sessionId"] = session.as_str().into();
            }
            self.to.write_all(format!("{message}\0").as_bytes()).expect("it listens");
            loop {
                let mut answer = Vec::new();
                self.from.read_until(0, &mut answer).expect("it reads");
                assert_eq!(answer.pop(), Some(0), "the browser has ended");
                let answer: Value = serde_json::from_slice(&answer).expect("JSON");
                if answer["method"] == "Log.entryAdded" && answer["params"]["entry"]["level"] == "error" {
                    self.errors.push(answer["params"]["entry"]["text"].to_string());
                }
                if answer["id"] == self.calls {
                    assert!(answer["error"].is_null(), "{method}: {answer}");
                    return answer["result"].clone();
                }
            }
        })
    }

    fn eval(&mut self, script: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": script, "returnByValue": true }));
        answer["result"]["value"].clone()
    }

    /// Looks until a script says that it is so; how long that took.
    async fn until(&mut self, script: &str) -> Duration {
        let began = tokio::time::Instant::now();
        while self.eval(script) != true {
            assert!(began.elapsed() < Duration::from_secs(20), "{script}: {}", self.eval("document.body.innerText"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// The page as it is seen, as PNG.
    fn picture(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        BASE64_STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64")
    }
}

const ROWS: &str =
    "[...document.querySelectorAll('#held tbody tr')].filter(row => !row.hidden).map(row => row.cells[0].textContent)";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_claim_shows_in_a_browser_within_a_second() {
    let Some(chromium) = chromium() else { return };
    let forge = e2e::forge(&["ann", "bob"]).await;
    let gate = e2e::gate(&forge).await;
    let mut browser = Browser::open(chromium, &gate, (1000, 700), false).await;
    let (one, two) = (backlog_issue(&forge).number, backlog_issue(&forge).number);
    let mut slowest = Duration::ZERO;
    for (login, number) in [("ann", one), ("bob", two)] {
        gate.agent(login).claim(number).await.granted();
        let took =
            browser.until(&format!("document.getElementById('held')?.textContent.includes('{}')", item(number))).await;
        slowest = slowest.max(took);
    }
    eprintln!("a claim shows after {slowest:?} at most");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    gate.agent("ann").claim(two).await.refused(409, "already_assigned");
    browser.until("document.getElementById('no')?.textContent.includes('is held by bob since')").await;

    // The search hides what it does not ask for, and goes on with what comes.
    let search = |words: &str| {
        format!(
            "(() => {{ const q = document.getElementById('q'); q.value = '{words}'; q.dispatchEvent(new Event('input')); }})()"
        )
    };
    browser.eval(&search("ANN"));
    assert_eq!(browser.eval(ROWS), json!([item(one)]));
    assert_eq!(browser.eval("location.search"), "?q=ANN");
    let three = backlog_issue(&forge).number;
    gate.agent("ann").claim(three).await.granted();
    browser.until(&format!("({ROWS}).join() === '{},{}'", item(one), item(three))).await;
    browser.eval(&search("zoe"));
    browser.until("!document.getElementById('held-none').hidden").await;
    browser.eval(&search(""));

    // By keyboard: the first stop leads to the board, the next is the search field.
    browser.eval("document.activeElement.blur()");
    browser.press("Tab", 9);
    assert_eq!(browser.eval("document.activeElement.getAttribute('href')"), "#board");
    browser.press("Tab", 9);
    assert_eq!(browser.eval("document.activeElement.id"), "q");
    assert_eq!(browser.errors, Vec::<String>::new(), "its own policy is no obstacle to it");

    // A gate that goes is said to have gone.
    gate.kill().await;
    browser.until("document.getElementById('live').textContent.startsWith('not connected')").await;
}

/// A gate before which much has happened: held, parked, silent, in doubt, waited for, refused.
async fn busy_gate(forge: &FakeForge) -> (Setup, Gate) {
    let config =
        "write_timeout = \"20s\"\n[assignment]\nstale_after = \"2s\"\n[identity]\nshared_accounts = [\"agents-bot\"]\n";
    let (setup, gate) = watching_gate(forge, config).await;
    let numbers: Vec<u64> = (0..12).map(|_| backlog_issue(forge).number).collect();
    for number in &numbers[..8] {
        forge.outside_labels("acme", REPO, *number, &["in-progress"]);
    }
    let holders: Vec<(&str, u64)> = (0..7).map(|at| (["dev-1", "dev-2", "dev-3"][at % 3], numbers[at])).collect();
    for (login, number) in &holders {
        gate.agent(login).claim(*number).await.granted();
    }
    gate.agent("agents-bot").below("/as/worker-7").claim(numbers[7]).await.granted();
    for (number, login) in [(numbers[0], "dev-2"), (numbers[7], "dev-1"), (numbers[1], "dev-3")] {
        gate.agent(login).claim(number).await.refused(409, "already_assigned");
    }
    gate.agent("dev-1").assign(numbers[8], &["dev-1", "dev-2"]).await.refused(409, "multiple_assignees");
    gate.agent("agents-bot").claim(numbers[8]).await.refused(409, "identity_required");
    let late = Fault::Zombie(Duration::from_secs(90));
    forge.script(late, Matcher::new("PATCH", e2e::issue(numbers[9])).times(1));
    assert_eq!(gate.agent("dev-3").claim(numbers[9]).await.status, 504);
    forge.script(Fault::Delay(Duration::from_secs(18)), Matcher::new("PATCH", e2e::issue(numbers[10])).times(1));
    for login in ["dev-1", "dev-2", "dev-3"] {
        let (mut agent, number) = (gate.agent(login), numbers[10]);
        tokio::spawn(async move { drop(agent.claim(number).await) });
    }
    (setup, gate)
}

/// All but the first holder are heard of again, once they could be silent for too long.
async fn hear_all_but_one(gate: &Gate) {
    tokio::time::sleep(Duration::from_millis(2300)).await;
    for (number, login) in (2_u64..).zip(["dev-2", "dev-3", "dev-1", "dev-2", "dev-3", "dev-1"]) {
        assert_eq!(gate.agent(login).get(&e2e::issue(number)).await.status, 200);
    }
    gate.agent("agents-bot").below("/as/worker-7").get(&e2e::issue(8)).await;
}

/// Pictures in light, dark and phone width: nothing is wider than the screen, and text stands out from its ground.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn pictures_in_light_dark_and_phone_width() {
    let Some(chromium) = chromium() else { return };
    let forge = e2e::forge(&["dev-1", "dev-2", "dev-3", "agents-bot"]).await;
    let (_setup, gate) = busy_gate(&forge).await;
    let kept = std::env::var_os("CLAIMGATE_PICTURES").map(PathBuf::from);
    let mut grounds = Vec::new();
    for (name, size, dark) in
        [("light", (1000, 1180), false), ("dark", (1000, 1180), true), ("phone", (390, 1700), false)]
    {
        hear_all_but_one(&gate).await;
        let mut browser = Browser::open(chromium, &gate, size, dark).await;
        browser.until("document.getElementById('held')?.rows.length > 8").await;
        let picture = browser.picture();
        assert!(picture.len() > 20_000, "{name}: {} bytes", picture.len());
        if let Some(dir) = &kept {
            std::fs::write(dir.join(format!("{name}.png")), picture).expect("written");
        }
        let wide = browser.eval("document.documentElement.scrollWidth - innerWidth");
        assert_eq!(wide, 0, "{name}: it is wider than the screen");
        let colours = browser
            .eval("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color].join()");
        grounds.push(colours.as_str().expect("text").to_owned());
        let text = browser.eval("document.body.innerText");
        for words in [
            "agents-bot (worker-7)",
            "identity_required",
            "multiple_assignees",
            "is held by dev-1 since",
            "Its holder is silent",
        ] {
            assert!(text.as_str().is_some_and(|text| text.contains(words)), "{name}: {words}: {text}");
        }
        assert_eq!(browser.errors, Vec::<String>::new(), "{name}");
    }
    assert!(grounds[0] != grounds[1] && grounds[0] == grounds[2], "{grounds:?}");
}
