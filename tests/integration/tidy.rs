//! What the compiler does not check about the code as a whole: floors, dead files, the single maker of a permit, what may
//! stand where, and that the README and `lib.rs` speak of things that exist.
//!
//! The rules are data at the top of each part; a finding names file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use claimgate::cli::Cli;
use claimgate::config::{Layers, read};
use claimgate::effect::{Decision, Metrics};
use clap::CommandFactory as _;
use prometheus_client::registry::Registry;

mod shape;

/// Modules and the floor that each is on. A module imports only from floors below its own.
const FLOORS: [(&str, u8); 15] = [
    ("model", 0),
    ("admission", 1),
    ("dialect", 1),
    ("effect", 2),
    ("upstream", 3),
    ("identity", 3),
    ("ledger", 3),
    ("audit", 3),
    ("clock", 3),
    ("gate", 4),
    ("proxy", 5),
    ("config", 6),
    ("telemetry", 6),
    ("server", 6),
    ("cli", 7),
];

/// Imports that are allowed beside the floors, with the reason.
const BESIDE_THE_FLOORS: [(&str, &str, &str); 4] = [
    ("config", "server", "a certificate is checked as the listener will read it; the server knows nothing of config"),
    ("telemetry", "config", "the log takes its own section of the configuration; config knows nothing of the log"),
    ("cli", "fake_forge", "the demo runs against it"),
    ("fake_redmine", "fake_forge", "faults, log and answers are those of any fake tracker; neither knows the gate"),
];

/// The gate sees ports only, even where the floors would allow more.
const GATE_SEES: [&str; 4] = ["model", "admission", "dialect", "effect"];

/// Crates that a module must not know, by module.
const FORBIDDEN_CRATES: [(&str, &[&str]); 3] = [
    ("model", &["serde", "serde_json", "http", "hyper", "tokio", "std::fs", "std::net"]),
    ("admission", &["serde", "serde_json", "http", "hyper", "tokio", "std::fs", "std::net", "std::time::Instant"]),
    // A status is the dialect's: the gate goes by what an answer amounts to. Headers it only hands on.
    ("gate", &["hyper", "http::StatusCode", "StatusCode"]),
];

/// Texts of the code, and the only files or folders in which each may stand.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("Permit::new(", &["src/admission/"]),
    ("upstream.send(", &["src/gate/walk/send.rs"]),
    ("Self(())", &["src/effect/sending.rs"]),
    (
        "moka::",
        &["src/gate/labels.rs", "src/gate/movers.rs", "src/gate/nameless.rs", "src/gate/reads.rs", "src/identity.rs"],
    ),
    // They panic where the reader has gone.
    ("println!(", &["src/build.rs"]),
    ("print!(", &[]),
    ("io::stdout()", &["src/cli/output.rs", "src/audit/"]),
    ("clippy::disallowed_methods", &["src/clock.rs", "src/cli/race/"]),
];

/// What the top level of the repository may have.
const TOP_LEVEL: [&str; 21] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "benches",
    "clippy.toml",
    "config",
    "deny.toml",
    "deploy",
    "rustfmt.toml",
    "src",
    "tests",
    // What builds and runs leave behind; both are ignored by git.
    "state",
    "target",
];

const MOST_LINES: usize = 900;

// === the code ===

#[test]
fn each_module_imports_from_lower_floors_only() {
    let floors = BTreeMap::from(FLOORS);
    let mut found = Vec::new();
    for file in sources("src").iter().filter(|file| !["lib", "main", "build"].contains(&file.module())) {
        for (line, to) in file.imports() {
            let from = file.module();
            let beside = BESIDE_THE_FLOORS.iter().any(|(a, b, _)| (*a, *b) == (from, to.as_str()));
            let lower = match (floors.get(from), floors.get(to.as_str())) {
                (Some(from), Some(to)) => to < from,
                _ => false,
            };
            let seen = from != "gate" || GATE_SEES.contains(&to.as_str());
            if !(beside || lower && seen) {
                found.push(format!("{}:{line}: {from} imports {to}", file.name));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn the_floors_and_the_code_map_name_every_module() {
    let lib = text("src/lib.rs");
    let declared: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let floors: BTreeSet<&str> =
        FLOORS.iter().map(|(name, _)| *name).chain(["fake_forge", "fake_redmine", "manual"]).collect();
    assert_eq!(declared, floors);
    let mut found = Vec::new();
    for (name, floor) in FLOORS {
        if !lib.contains(&format!("| F{floor} | [`{name}`] |")) {
            found.push(format!("src/lib.rs: no row `F{floor} {name}` in the code map"));
        }
    }
    assert_none(&found);
}

#[test]
fn pure_modules_know_no_wire_and_no_io() {
    let mut found = Vec::new();
    for file in sources("src") {
        for (module, crates) in FORBIDDEN_CRATES.iter().filter(|(module, _)| *module == file.module()) {
            for (number, line) in file.code() {
                for name in crates.iter().filter(|name| mentions_path(line, name)) {
                    found.push(format!("{}:{number}: {module} knows {name}", file.name));
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn some_texts_stand_in_few_places() {
    let mut found = Vec::new();
    for file in sources("src") {
        for (number, line) in file.code() {
            for (text, places) in ONLY_IN {
                let here = places.iter().any(|place| file.name.starts_with(place));
                if mentions(line, text) && !here {
                    found.push(format!("{}:{number}: `{text}` stands only in {}", file.name, places.join(", ")));
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn published_numbers_are_counted() {
    let lib = text("src/lib.rs");
    let words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let files = |wanted: &str| {
        let uses = |file: &&Source| file.code().any(|(_, line)| mentions(line, wanted));
        sources("src").iter().filter(uses).count()
    };
    let moka = format!("in {} files (tidy)", words[files("moka::")]);
    assert!(lib.contains(&moka), "src/lib.rs does not say that moka is used {moka}");
    let sends =
        sources("src").iter().flat_map(Source::code).filter(|(_, line)| mentions(line, "upstream.send(")).count();
    let place = if sends == 1 { "place" } else { "places" };
    let sends = format!("`send` is called in {} {place}", words[sends]);
    assert!(lib.contains(&sends), "src/lib.rs does not say that {sends}");
    let asks = |file: &&Source| {
        file.name.starts_with("src/gate/") && file.code().any(|(_, line)| line.contains("admits_early_reads()"))
    };
    let asks =
        format!("`Membership::admits_early_reads`, in {} files", words[sources("src").iter().filter(asks).count()]);
    assert!(lib.contains(&asks), "src/lib.rs does not say that it asks {asks}");
}

#[test]
fn every_file_is_part_of_the_build() {
    let mut found = Vec::new();
    for (folder, roots) in [
        ("src", &["src/lib.rs", "src/main.rs", "src/build.rs"][..]),
        ("tests/integration", &["tests/integration/main.rs"]),
    ] {
        let all: BTreeMap<String, Source> = sources(folder).into_iter().map(|file| (file.name.clone(), file)).collect();
        let mut reached = BTreeSet::new();
        let mut next: Vec<String> = roots.iter().map(|root| (*root).to_owned()).collect();
        while let Some(name) = next.pop() {
            if let Some(file) = all.get(&name)
                && reached.insert(name)
            {
                next.extend(file.modules().into_iter().filter(|name| all.contains_key(name)));
            }
        }
        found.extend(
            all.keys().filter(|name| !reached.contains(*name)).map(|name| format!("{name}: no `mod` names it")),
        );
    }
    assert_none(&found);
}

#[test]
fn files_are_short_and_nothing_is_left_for_later() {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat());
    let calls = [["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]].map(|parts| parts.concat());
    let mut found = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)) {
        if file.name.starts_with("src") && file.text.lines().count() > MOST_LINES {
            found.push(format!("{}: more than {MOST_LINES} lines", file.name));
        }
        for (number, line) in file.text.lines().enumerate() {
            let later =
                marks.iter().any(|mark| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == mark));
            if later || calls.iter().any(|call| line.contains(call.as_str())) {
                found.push(format!("{}:{}: left for later", file.name, number + 1));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn the_top_level_has_only_what_belongs_there() {
    let entries = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = entries.filter(|name| !TOP_LEVEL.contains(&name.as_str())).collect();
    assert_none(&found);
}

/// Comments refer to pages of the manual, and to no text outside the repository.
#[test]
fn comments_refer_to_pages_that_the_repository_holds() {
    // In parts, so that this file does not name them.
    let outside = [["DES", "IGN"], ["refer", "ence/"]].map(|parts| parts.concat());
    let mut found = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)) {
        for (number, line) in file.text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            if outside.iter().any(|name| line.contains(name.as_str())) {
                found.push(format!("{}:{number}: refers to a text outside the repository", file.name));
            }
            for page in line.split("manual: ").skip(1).filter(|_| line.contains("//")) {
                let page: String = page.chars().take_while(char::is_ascii_lowercase).collect();
                if !page.is_empty() && !root().join(format!("src/manual/{page}.md")).is_file() {
                    found.push(format!("{}:{number}: the manual has no page `{page}`", file.name));
                }
            }
        }
    }
    assert_none(&found);
}

/// Whoever gets a code finds it in the manual.
#[test]
fn the_manual_explains_every_code() {
    let page = text("src/manual/answers.md");
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let source = text("src/model/rejection.rs");
    let codes: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \"")?.1.split('"').next())
        .collect();
    assert!(codes.len() > 20, "no codes were found");
    let missing = codes.iter().filter(|code| !rows.iter().any(|row| format!("`{row}").contains(&format!("`{code}`"))));
    assert_none(&missing.map(|code| format!("src/manual/answers.md: no row for `{code}`")).collect::<Vec<_>>());
}

/// Each function that the walk in `lib.rs` names is in one of the files beside it.
#[test]
fn the_walk_names_functions_that_exist() {
    let lib = text("src/lib.rs");
    let rows: Vec<Vec<&str>> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .filter(|row| row.starts_with(|first: char| first.is_ascii_digit()))
        .map(|row| row.split(" | ").collect())
        .collect();
    assert_eq!(rows.len(), 12, "the walk has twelve steps");
    let mut found = Vec::new();
    for row in &rows {
        let files: Vec<String> = code_spans(row[2]).iter().map(|name| text(&format!("src/{name}"))).collect();
        for name in code_spans(row[1]) {
            let function = format!("fn {}", name.rsplit("::").next().unwrap_or(name));
            let begins = |file: &String| ["(", "<"].iter().any(|next| file.contains(&format!("{function}{next}")));
            if !files.iter().any(begins) {
                found.push(format!("step {}: no {name} in {}", row[0], row[2]));
            }
        }
    }
    assert_none(&found);
}

// === the configuration and the README ===

#[test]
fn every_key_is_explained() {
    let config = text("config/claimgate.toml");
    let lines: Vec<&str> = config.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_key(line)) {
        if !lines[at.saturating_sub(1)].starts_with('#') {
            found.push(format!("config/claimgate.toml:{}: {line}", at + 1));
        }
    }
    assert_none(&found);
}

/// The README, and the pages of the manual that took what it has no room for.
fn read_by_operators() -> String {
    ["README.md", "src/manual/agents.md", "src/manual/operating.md"].map(text).join("\n")
}

#[test]
fn the_readme_is_short() {
    let lines = text("README.md").lines().count();
    assert!(lines <= 200, "README.md has {lines} lines");
}

fn is_key(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

#[test]
fn the_readmes_settings_are_accepted() {
    let readme = read_by_operators();
    let blocks = blocks(&readme, "toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &block).unwrap();
        let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
        let loaded = read(&layers).unwrap_or_else(|errors| panic!("{block}\n{errors}"));
        assert_eq!(loaded.warnings, [], "{block}");
    }
    // `section.key` in the running text.
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut section = String::new();
    for line in text("config/claimgate.toml").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim_matches(['[', ']']).clone_into(&mut section);
        } else if is_key(line) {
            known.insert(format!("{section}.{}", line.split(' ').next().unwrap_or_default()));
        }
    }
    let sections: BTreeSet<&str> = known.iter().filter_map(|key| key.split('.').next()).collect();
    let unknown: Vec<String> = code_spans(&without_blocks(&readme))
        .iter()
        .map(|span| span.split(" = ").next().unwrap_or(span))
        .filter(|span| span.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte)))
        .filter(|span| span.split_once('.').is_some_and(|(section, _)| sections.contains(section)))
        .filter(|span| !known.contains(*span))
        .map(ToOwned::to_owned)
        .collect();
    assert_none(&unknown);
}

#[test]
fn the_readmes_commands_are_ones_that_the_binary_takes() {
    let readme = read_by_operators();
    let mut commands: Vec<String> = blocks(&readme, "sh")
        .iter()
        .flat_map(|block| block.lines().map(ToOwned::to_owned).collect::<Vec<_>>())
        .chain(blocks(&readme, "console").iter().flat_map(|block| {
            block.lines().filter_map(|line| Some(line.strip_prefix("$ ")?.to_owned())).collect::<Vec<_>>()
        }))
        .collect();
    commands.extend(code_spans(&without_blocks(&readme)).iter().map(|&span| span.to_owned()));
    let mut seen = 0;
    for command in &commands {
        let Some(arguments) = arguments(command) else { continue };
        seen += 1;
        let all = std::iter::once("claimgate".to_owned()).chain(arguments.iter().cloned());
        // In running text a subcommand may stand without what it needs.
        let alone = arguments.len() == 1 && Cli::command().find_subcommand(&arguments[0]).is_some();
        if !alone {
            Cli::command().try_get_matches_from(all).unwrap_or_else(|error| panic!("README: {command}\n{error}"));
        }
    }
    assert!(seen > 8, "the README shows how to use the binary");
}

/// What follows `$ claimgate explain …` and `$ claimgate check …` is what they print; `...` stands for left out lines.
#[test]
fn the_readme_shows_what_is_printed() {
    let mut seen = 0;
    for block in blocks(&read_by_operators(), "console") {
        for part in block.split("$ ").filter(|part| !part.trim().is_empty()) {
            let (command, shown) = part.split_once('\n').unwrap_or((part, ""));
            let Some(arguments) = arguments(command) else { continue };
            if !["explain", "check"].contains(&arguments[0].as_str()) {
                continue;
            }
            seen += 1;
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_claimgate"))
                .args(&arguments)
                .current_dir(std::env::temp_dir())
                .env_clear()
                .output()
                .unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            let mut rest = printed.as_str();
            for piece in shown.split("...\n").map(str::trim).filter(|piece| !piece.is_empty()) {
                let at =
                    rest.find(piece).unwrap_or_else(|| panic!("README: {command}\nprints\n{printed}\nnot\n{piece}"));
                rest = &rest[at + piece.len()..];
            }
        }
    }
    assert!(seen > 1);
}

#[test]
fn the_metrics_that_operators_are_told_of_exist() {
    let (metrics, mut registry) = (Metrics::default(), Registry::default());
    metrics.register(&mut registry);
    metrics.register_health(&mut registry, true, true);
    metrics.decided(Decision::Admit, None);
    metrics.upstream_took("send", std::time::Duration::ZERO);
    let mut served = String::new();
    prometheus_client::encoding::text::encode(&mut served, &registry).unwrap();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let served: BTreeSet<&str> = served.split(|c| !is_of_name(c)).collect();
    let (mut found, mut seen) = (Vec::new(), 0);
    for file in [
        "README.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "config/claimgate.toml",
        "deploy/README.md",
        "src/manual/operating.md",
    ] {
        let text = text(file);
        for name in text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("claimgate_")) {
            seen += 1;
            if !served.contains(name) {
                found.push(format!("{file}: there is no metric {name}"));
            }
        }
    }
    assert_none(&found);
    assert!(seen > 1);
}

#[test]
fn the_readmes_links_and_paths_exist() {
    let readme = text("README.md");
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let files = files.map(|target| target.split('#').next().unwrap_or(target));
    let found: Vec<String> = files.filter(|file| !root().join(file).exists()).map(ToOwned::to_owned).collect();
    assert_none(&found);
}

#[test]
fn the_threat_models_claims_name_tests_that_exist() {
    let security = text("SECURITY.md");
    let (_, model) = security.split_once("## Threat model").expect("SECURITY.md has a threat model");
    let all: Vec<Source> = ["src", "tests/integration"].into_iter().flat_map(sources).collect();
    let mut found = Vec::new();
    for claim in model.split("\n- ").skip(1) {
        let claim = claim.split("\n\n").next().unwrap_or_default();
        let tests: Vec<&str> = code_spans(claim).into_iter().filter(|span| span.contains("::")).collect();
        if tests.is_empty() {
            found.push(format!("SECURITY.md: no test for the claim: {claim}"));
        }
        let missing = tests.iter().filter(|test| !all.iter().any(|file| file.has_test(test)));
        found.extend(missing.map(|test| format!("SECURITY.md: there is no test {test}")));
    }
    assert_none(&found);
    assert!(model.matches("\n- ").count() > 25, "the claims are list items");
}

// === a source file ===

struct Source {
    /// From the repository's root.
    name: String,
    text: String,
}

impl Source {
    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        let rest = self.name.strip_prefix("src/").unwrap_or(&self.name);
        rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs")
    }

    /// Its lines without comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, without_comment(line)))
    }

    /// Whether it has this test, named as `cargo test` does: by its modules.
    fn has_test(&self, test: &str) -> bool {
        let file = self.name.trim_start_matches("tests/integration/").trim_start_matches("src/");
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let Some(name) = test.strip_prefix(&module).and_then(|rest| rest.strip_prefix("::")) else { return false };
        let name = name.trim_start_matches("tests::");
        let head = format!("fn {name}(");
        let mut lines = self.text.lines().map(str::trim).scan("", |before, line| {
            let is_test = before.starts_with("#[test]") || before.starts_with("#[tokio::test");
            *before = line;
            Some((is_test, line.trim_start_matches("async ")))
        });
        lines.any(|(is_test, line)| is_test && line.starts_with(&head))
    }

    /// How many modules deep it is: `src/gate/mod.rs` is 1.
    fn depth(&self) -> usize {
        let parts = self.name.split('/').count() - 1;
        if self.name.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    /// The other top-level modules that it names, with the line: by `crate::`, or by as many `super::` as lead there.
    fn imports(&self) -> Vec<(usize, String)> {
        let known: BTreeSet<&str> =
            FLOORS.iter().map(|(name, _)| *name).chain(["fake_forge", "fake_redmine", "manual"]).collect();
        let code: Vec<&str> = self.code().map(|(_, line)| line).collect();
        let code = code.join("\n");
        let up = "super::".repeat(self.depth());
        let mut found = Vec::new();
        for prefix in ["crate::", up.as_str()] {
            for (at, _) in code.match_indices(prefix) {
                let line = code[..at].matches('\n').count() + 1;
                let names = first_names(&code[at + prefix.len()..]);
                let others = names.into_iter().filter(|name| known.contains(name.as_str()) && name != self.module());
                found.extend(others.map(|name| (line, name)));
            }
        }
        found
    }

    /// The files that its `mod x;` may mean.
    fn modules(&self) -> Vec<String> {
        let path = Path::new(&self.name);
        let folder = path.parent().unwrap_or(Path::new(""));
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let base = if ["mod", "lib", "main"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
        let names = self.code().filter_map(|(_, line)| {
            let line = line.trim().strip_suffix(';')?;
            let (before, name) = line.split_once("mod ")?;
            (before.is_empty() || before.starts_with("pub")).then_some(name)
        });
        let files = names.flat_map(|name| [base.join(format!("{name}.rs")), base.join(name).join("mod.rs")]);
        files.map(|file| file.to_str().unwrap_or_default().to_owned()).collect()
    }
}

/// `a` of `a::b`, or each first name of `{a::b, c}`.
fn first_names(rest: &str) -> Vec<String> {
    let ident = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![ident(rest)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(ident(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// Cuts off `// …`, but not the `//` of a URL.
fn without_comment(line: &str) -> &str {
    let mut comments = line.match_indices("//").map(|(at, _)| at);
    comments.find(|at| !line[..*at].ends_with(':')).map_or(line, |at| &line[..at])
}

/// Whether the text stands in the line, and not as the end of a longer word.
fn mentions(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Whether a path of the line begins with that name: `http::Method`, but not `crate::http::Method`.
fn mentions_path(line: &str, name: &str) -> bool {
    let inside = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    line.match_indices(&format!("{name}::")).any(|(at, _)| !inside(&line[..at]))
        || line.trim() == format!("use {name};")
}

// === files and texts ===

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut next = vec![root().join(folder)];
    while let Some(folder) = next.pop() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                next.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { text: std::fs::read_to_string(&path).unwrap(), name });
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// The fenced blocks of that language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    markdown.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

fn without_blocks(markdown: &str) -> String {
    markdown.split("```").step_by(2).collect()
}

/// What stands between single backticks.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The arguments of `claimgate …` or `cargo run --release -- …`, up to the first redirection or pipe.
fn arguments(command: &str) -> Option<Vec<String>> {
    let rest = command.strip_prefix("cargo run --release -- ").or_else(|| command.strip_prefix("claimgate "))?;
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in rest.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None, '|' | '>' | '<') => break,
            (_, c) => words.last_mut()?.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    (!words.is_empty()).then_some(words)
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
