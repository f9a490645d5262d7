//! One `check` helper, and cases as data.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

/// Reads a file's text with variables and flags.
fn read_text(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Loaded, ConfigErrors> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let layers = Layers {
        file: Some(file.path().to_owned()),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        flags: flags.iter().map(|(name, path, value)| Flag { name, path, value: (*value).to_owned() }).collect(),
    };
    load(&layers)
}

/// Each expected fragment is in a problem of its own, and there are no more problems than fragments.
#[track_caller]
fn check_refused(text: &str, environment: &[(&str, &str)], expected: &[&str]) {
    let errors = read_text(text, environment, &[]).expect_err(text);
    let shown: Vec<String> = errors.problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), expected.len(), "{text}\n{errors}");
    for fragment in expected {
        assert!(shown.iter().any(|problem| problem.contains(fragment)), "no {fragment:?} in\n{errors}");
    }
}

#[track_caller]
fn check_accepted(text: &str, environment: &[(&str, &str)]) -> Config {
    read_text(text, environment, &[]).unwrap_or_else(|errors| panic!("{text}\n{errors}")).config
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(check_accepted("", &[]), Config::defaults());
    assert!(read_text("", &[], &[]).unwrap().origins.is_empty());
}

#[test]
fn what_is_written_reads_the_same() {
    let config = Config::defaults();
    assert_eq!(check_accepted(&toml::to_string(&config).unwrap(), &[]), config);
}

#[test]
fn what_tests_elsewhere_rely_on() {
    let config = Config::defaults();
    assert_eq!(config.upstream.url, "http://127.0.0.1:3000");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8480");
    assert_eq!(config.server.admin.unwrap().to_string(), "127.0.0.1:8481");
    assert_eq!(config.server.state_dir, PathBuf::from("./state"));
    assert_eq!(show_duration(config.ledger.doubt_period), "2m");
    assert_eq!(config.workflow.moves.len(), 2);
    assert_eq!(config.workflow.moves[0].by, By::Holder);
}

#[test]
fn every_key_is_typed_and_explained() {
    let typed = paths(&toml::Value::try_from(Config::defaults()).unwrap());
    let written = paths(&DEFAULTS.parse::<toml::Table>().unwrap().into());
    assert_eq!(typed, written, "the typed tree and config/claimgate.toml have different keys");
    let mut before = "";
    for line in DEFAULTS.lines() {
        let is_key = line.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '#']));
        assert!(!is_key || before.starts_with('#'), "no comment above: {line}");
        before = line;
    }
}

/// The dotted paths of all keys, those of tables in arrays without an index.
fn paths(value: &toml::Value) -> BTreeSet<String> {
    let below = |key: &str, value: &toml::Value| -> Vec<String> {
        paths(value).into_iter().map(|rest| format!("{key}.{rest}")).chain([key.to_owned()]).collect()
    };
    match value {
        toml::Value::Table(table) => table.iter().flat_map(|(key, value)| below(key, value)).collect(),
        toml::Value::Array(array) => array.iter().flat_map(paths).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn layers_beat_one_another_in_order() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:2\"\nworkers = 3\n[server.tls]\n";
    let environment =
        [("CLAIMGATE_LISTEN", "127.0.0.1:11"), ("CLAIMGATE_SERVER_WORKERS", "4"), ("CLAIMGATE_ADMIN", "off")];
    let flags = [("--listen", "server.listen", "127.0.0.1:111")];
    let loaded = read_text(file, &environment, &flags).unwrap();
    let server = &loaded.config.server;
    assert_eq!((server.listen.tcp().unwrap().port(), server.admin, server.workers), (111, None, 4));
    assert_eq!(server.max_headers, Config::defaults().server.max_headers);
    let origins: BTreeMap<_, _> = loaded.origins.into_iter().collect();
    assert_eq!(origins["server.listen"], "command line");
    assert_eq!(origins["server.workers"], "environment");
}

#[test]
fn arrays_are_replaced() {
    let config = check_accepted(
        "[workflow]\nstates = [\"new\"]\nworking = []\n[[workflow.move]]\nfrom = [\"none\"]\nto = \"new\"\nby = \"anyone\"\n",
        &[],
    );
    assert_eq!(config.workflow.states, ["new"]);
    assert_eq!(config.workflow.moves.len(), 1);
}

#[test]
fn mistakes_in_one_value() {
    let cases: &[(&str, &str)] = &[
        ("[upsteam]\nurl = \"http://h\"", "did you mean `upstream`?"),
        ("[server]\nlisen = \"127.0.0.1:1\"", "did you mean `listen`?"),
        ("[server]\ntracker = \"forgejo\"", "`tracker` belongs into `[upstream]`"),
        ("[server]\nmode = \"observe\"", "`mode` belongs into `[assignment]` or `[limits]` or `[web]` or `[workflow]`"),
        ("[server]\nxyzzyx = 1", "known here: "),
        ("[server.tls]\ncert = \"x\"", "unknown key `server.tls.cert`"),
        ("[[server.listener]]\naddress = \"127.0.0.1:1\"\ntsl = true", "did you mean `tls`?"),
        ("[[workflow.move]]\nfrom = [\"none\"]\nto = \"todo\"\nbye = 1\nby = \"anyone\"", "did you mean `by`?"),
        ("upstream = \"http://h\"", "`upstream` is a section"),
        ("[upstream]\nread_timeout = 5", "expected a string\n --> "),
        ("[upstream]\nread_timeout = 5", "help: write it in quotes, such as \"30s\""),
        ("[server]\nlisten = 8480", "help: write it in quotes, such as \"127.0.0.1:8480\""),
        ("[server]\nworkers = \"many\"", "help: write a number, such as 0"),
        ("[audit]\nstdout = \"yes\"", "help: write true or false"),
        ("[audit]\nfile = 1", "help: write it in quotes"),
        ("[assignment]\noverriders = \"alice\"", "expected a list\n --> "),
        ("[assignment]\noverriders = \"alice\"", "help: write it as a list: [\"alice\"]"),
        ("[assignment]\noverriders = [1]", "help: write it as a list: [\"one\", \"another\"]"),
        ("[identity]\nsources = 1", "help: write it as a list, such as [\"listener\", \"path\", \"header\"]"),
        ("singleton = 1", "help: write `[[singleton]]` on a line of its own"),
        ("[upstream]\nread_timeout = \"5\"", "is not a duration"),
        ("[upstream]\nread_timeout = \"off\"", "is not a duration"),
        ("[upstream]\nread_timeout = \"0s\"", "longer than zero"),
        ("[upstream]\ntracker = \"gitbub\"", "write `forgejo`"),
        ("[upstream]\nurl = \"ftp://h\"", "must begin with http"),
        ("[upstream]\nurl = \"http://u:secret@h\"", "http://u:******@h"),
        ("[upstream]\nurl = \"127.0.0.1:3000\"", "`upstream.url` "),
        ("[upstream]\npublic_url = \"http://h/?a\"", "query"),
        ("[upstream]\nrefusal_status = 423", "must be 409 or 422"),
        ("[upstream]\nrefusal_status = 422", "for clients of GitHub"),
        ("[upstream]\nclosing_keywords = [\"closes it\"]", "is not one word of letters alone"),
        ("[server]\nadmin = \"localhost:1\"", "is not an address and a port"),
        ("[server]\nworkers = -1", "expected a whole number, not negative"),
        ("[server]\nmax_header_bytes = \"64KB\"", "is not a size"),
        ("[server]\nmax_connections = 0", "must be at least 1"),
        ("[ledger]\nurl = \"postgres://u:pw@h/db\"", "the URL holds a password"),
        ("[ledger]\nurl = \"redis\"", "no such ledger"),
        ("[assignment]\nmax_assignees = 0", "must be at least 1"),
        ("[assignment]\nrelease_by = \"nobody\"", "write `holder` or `anyone`"),
        ("[assignment]\nmode = \"off\"", "write `enforce` or `observe`"),
        ("[assignment]\ntakeover_after = \"soon\"", ", or \"off\""),
        ("[[singleton]]\nagents = [\"a\"]\nactions = [\"moves\"]\nidle = \"1m\"", "write `claim`"),
        ("[[singleton]]\nagents = [\"a\"]\nactions = [\"move\"]\nidle = \"0s\"", "longer than zero"),
        ("[[singleton]]\nagents = [\"a\"]\nactions = [\"move\"]\nidel = \"1m\"\nidle = \"1m\"", "did you mean `idle`?"),
        ("[[singleton]]\nagents = [\"a\"]\nactions = [\"move\"]\nidle = \"1m\"\nper = \"item\"", "write `repository`"),
        ("[limits]\nitems = -1", "expected a whole number, not negative"),
        ("[limits]\nof = \"team\"", "write `agent` or `account`"),
        ("[log]\nlevel = \"loud=very\"", "`log.level` is not understood: `loud=very` is neither a level nor a target"),
        (
            "[log]\nlevel = \"warning\"",
            "help: write one of off, error, warn, info, debug, trace, or targets like claimgate",
        ),
        ("[log]\nlevel = \"\"", "`log.level` is not understood"),
        ("[log]\nlevel = \"claimgate\"", "`claimgate` is neither"),
        ("[log]\nlevel = \"info,claimgate::gate\"", "`claimgate::gate` is neither"),
        ("[log]\nlevel = \"info, hyper=warn\"", "` hyper=warn` is neither"),
        ("[log]\nlevel = \"=debug\"", "`=debug` is neither"),
        ("[log]\nlevel = \"a=b=debug\"", "`a=b=debug` is neither"),
        ("[log]\nformat = \"xml\"", "write `json` or `text`"),
        ("[server\n", "this is not TOML"),
        ("[server]\nworkers = 1\nworkers = 2", "this is not TOML: duplicate key"),
    ];
    for (text, fragment) in cases {
        check_refused(text, &[], &[fragment]);
    }
}

#[test]
fn levels_of_the_log() {
    for level in ["off", "error", "warn", "WARN", "info", "debug", "trace", "info,claimgate::gate=debug,hyper=off"] {
        let loaded = read_text(&format!("[log]\nlevel = \"{level}\""), &[], &[]);
        assert_eq!(loaded.unwrap_or_else(|errors| panic!("{level}\n{errors}")).config.log.level, level);
    }
}

/// Q is the operator's to judge, by what is measured; the gate says what is odd about it.
#[test]
fn a_short_doubt_period_is_warned_of() {
    for (text, warned) in [
        ("[ledger]\ndoubt_period = \"34s\"", true),
        ("[upstream]\nwrite_timeout = \"2m\"", true),
        ("[ledger]\ndoubt_period = \"35s\"", false),
    ] {
        let loaded = read_text(text, &[], &[]).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        let told = loaded.warnings.iter().any(|one| one.0.contains("shorter than upstream.write_timeout"));
        assert_eq!(told, warned, "{text}: {:?}", loaded.warnings);
    }
}

/// A late landing is expected for ten times as long as it is waited for.
#[test]
fn the_zombie_period_follows_the_doubt_period() {
    for (text, minutes) in [
        ("", 20),
        ("[ledger]\ndoubt_period = \"5m\"", 50),
        ("[ledger]\ndoubt_period = \"5m\"\nzombie_period = \"20m\"", 20),
    ] {
        let loaded = read_text(text, &[], &[]).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        assert_eq!(loaded.config.ledger.zombie_period, Duration::from_mins(minutes), "{text}");
    }
}

#[test]
fn keys_that_do_not_fit_together() {
    let cases: &[(&str, &str)] = &[
        ("[server]\nadmin = \"127.0.0.1:8480\"", "are the same address"),
        ("[server]\nlisten = \"0.0.0.0:8481\"", "are the same address"),
        ("[server]\nadmin = \"0.0.0.0:9\"", "asks for no token"),
        ("[[server.listener]]\naddress = \"127.0.0.1:8480\"", "are the same address"),
        ("[[server.listener]]\naddress = \"127.0.0.1:1\"\ntls = true", "there is no certificate"),
        ("[server.tls]\ncertificate = \"Cargo.toml\"", "without `server.tls.key`"),
        ("[upstream]\nurl = \"http://127.0.0.1:8480\"", "come back for ever"),
        ("[upstream]\nca_file = \"Cargo.toml\"", "has no use"),
        ("[ledger]\nzombie_period = \"1m\"", "`ledger.zombie_period` is shorter"),
        ("[assignment]\ntakeover_after = \"2h\"", "must be longer than `assignment.stale_after`"),
        (
            "[ledger]\nurl = \"postgresql://u@h/d\"\n[assignment]\nstale_after = \"off\"\ntakeover_after = \"74s\"",
            "1m15s in all",
        ),
        (
            "[ledger]\nurl = \"postgresql://u@h/d\"\n[[singleton]]\nagents = [\"dev-*\"]\nactions = [\"claim\"]\nidle = \"1m\"",
            "`singleton.0.idle` (1m) is too short for gates that share a ledger",
        ),
        (
            "[ledger]\nurl = \"postgresql://u@h/d\"\nemit_window = \"11s\"",
            "`ledger.emit_window` (11s) is too long for gates that share a ledger",
        ),
        ("[assignment]\noverriders = [\"Bot\"]\n[identity]\nshared_accounts = [\"bot\"]", "above the rules"),
        ("[identity]\nshared_accounts = [\"bot\"]\nsources = []", "every claim would be refused"),
        (
            "[[server.listener]]\naddress = \"127.0.0.1:1\"\ninstance = \"a\"\n[identity]\nsources = []",
            "not among `identity.sources`",
        ),
        ("[assignment]\nexpect_status = [\"new\"]", "`new` is not among `workflow.states`"),
        ("[workflow]\nworking = [\"doing\"]", "`doing` is not among `workflow.states`"),
        ("[workflow]\nworking = [\"open\"]", "`open` is not among `workflow.states`"),
        ("[workflow]\nconsume = [\"doing\"]", "`doing` is not among `workflow.states`"),
        ("[workflow]\nstates = [\"a\", \"A\"]\nworking = []\nmove = []", "twice"),
        ("[workflow]\nstates = [\"closed\"]\nworking = []\nmove = []", "without a label"),
        ("[[workflow.move]]\nfrom = [\"new\"]\nto = \"todo\"\nby = \"anyone\"", "`new` is not among"),
        ("[[workflow.move]]\nfrom = [\"none\"]\nto = \"doing\"\nby = \"anyone\"", "`doing` is not among"),
        ("[[workflow.move]]\nfrom = []\nto = \"todo\"\nby = \"anyone\"", "can never happen"),
        ("[[singleton]]\nagents = []\nactions = [\"move\"]\nidle = \"1m\"", "without agents"),
        ("[[singleton]]\nagents = [\"a\"]\nactions = []\nidle = \"1m\"", "without actions"),
        ("[[singleton]]\nagents = [\"a[bc]\"]\nactions = [\"move\"]\nidle = \"1m\"", "has a `[`"),
        ("[[singleton]]\nagents = [\"b\", \"\"]\nactions = [\"move\"]\nidle = \"1m\"", "must not be empty"),
        ("[[singleton]]\nagents = [\"*\"]\nactions = [\"move\"]\nidle = \"1m\"", "cannot name a singleton"),
        ("[[singleton]]\nname = \"a/b\"\nagents = [\"b\"]\nactions = [\"move\"]\nidle = \"1m\"", "cannot name"),
        (
            "[[singleton]]\nagents = [\"a*\"]\nactions = [\"move\"]\nidle = \"1m\"\n[[singleton]]\nname = \"A\"\n\
             agents = [\"b\"]\nactions = [\"claim\"]\nidle = \"1m\"",
            "two singletons are called `A`",
        ),
        ("[audit]\nstdout = false", "nothing would record"),
        ("[[once]]\nname = \"r\"\nwhat = \"review\"\nkey = \"{commit}\"", "needs {pull}"),
        ("[[once]]\nname = \"r\"\nwhat = \"review\"\nkey = \"{pull} {sha}\"", "`{sha}` is not known of a review"),
        ("[[once]]\nname = \"r\"\nwhat = \"issue\"\nkey = \"\"", "write `review` or `pull`"),
        ("[[once]]\nname = \"\"\nwhat = \"pull\"\nkey = \"{issue}\"", "needs a name"),
        ("[[once]]\nname = \"r\"\nwhat = \"pull\"\nkey = \"{issue}\"\nagents = []", "binds nobody"),
        ("[[once]]\nname = \"r\"\nwhat = \"pull\"\nkey = \"{issue}\"\nagents = [\"a b\"]", "has a ` `"),
        ("[[once]]\nname = \"r\"\nwhat = \"review\"\nkey = \"{pull}\"\nevents = [\"PENDING\"]", "not a verdict"),
        ("[[once]]\nname = \"r\"\nwhat = \"review\"\nkey = \"{pull}\"\nby = \"holder\"", "has no holder"),
        ("[[once]]\nname = \"r\"\nwhat = \"pull\"\nkye = \"x\"\nkey = \"{issue}\"", "did you mean `key`?"),
        ("[upstream]\nservice_token_file = \"/nowhere/token\"", "/nowhere/token"),
    ];
    for (text, fragment) in cases {
        check_refused(text, &[], &[fragment]);
    }
}

#[test]
fn ways_in_that_do_not_fit_together() {
    let cases: &[(&str, &str)] = &[
        ("[[server.listener]]\naddress = \"unix:agent.sock\"", "is not the path of a unix socket"),
        ("[server]\nlisten = \"unix:/a\"\n[[server.listener]]\naddress = \"unix:/a\"", "are the same address unix:/a"),
        ("[[server.listener]]\naddress = \"unix:/a\"\nmode = \"rw\"", "is not the mode of a file"),
        ("[[server.listener]]\naddress = \"unix:/a\"\nmode = \"1777\"", "is not the mode of a file"),
        ("[[server.listener]]\naddress = \"unix:/a\"\ntls = true", "does not speak TLS"),
        ("[[server.listener]]\naddress = \"127.0.0.1:1\"\nowner = \"root\"", "`owner` is for unix sockets"),
        ("[[server.listener]]\naddress = \"127.0.0.1:1\"\nintercept = true", "`intercept.hosts` is empty"),
        (
            "[intercept]\nhosts = [\"a.test\"]\n[[server.listener]]\naddress = \"unix:/a\"\nintercept = true",
            "cannot be intercepted: no client looks",
        ),
        (
            "[intercept]\nhosts = [\"a.test\"]\n[[server.listener]]\naddress = \"127.0.0.1:1\"\nintercept = true\ntls = true",
            "has certificates of its own",
        ),
        ("[intercept]\nhosts = [\"https://a.test\"]", "is not a host name with an optional port"),
        ("[intercept]\nhosts = [\"*.a.test\"]", "is not a host name with an optional port"),
        ("[intercept]\nhosts = [\"127.0.0.1\"]", "only names can be intercepted"),
        ("[upstream]\nresolve = \"forge\"", "is not an address with an optional port"),
        ("[upstream]\nresolve = \"127.0.0.1\"\nurl = \"unix:/run/forge.sock\"", "has no use"),
    ];
    for (text, fragment) in cases {
        check_refused(text, &[], &[fragment]);
    }
}

/// Renaming the states alone: each built-in key that names an old one is said once, with the names, and what to set.
#[test]
fn states_that_the_built_in_keys_name() {
    let help = "help: set workflow.working and [[workflow.move]], too";
    let working = "`workflow.working` (built in) names `in-progress`: not among `workflow.states`\n --> ";
    check_refused("[workflow]\nstates = [\"a\", \"b\"]", &[], &[working, "`workflow.move` (built in) names `"]);
    check_refused("[workflow]\nstates = [\"a\", \"b\"]", &[], &[help, help]);
    check_refused("[workflow]\nstates = [\"a\"]\nworking = [\"a\"]", &[], &["`workflow.move` (built in) names `"]);
    let own = "[workflow]\nstates = [\"a\"]\nworking = [\"a\"]\n[[workflow.move]]\nfrom = [\"b\", \"b\"]\nto = \"a\"\nby = \"anyone\"";
    check_refused(own, &[], &["`b` is not among `workflow.states`"]);
    let errors = read_text("[workflow]\nstates = [\"a\"]", &[], &[]).unwrap_err().to_string();
    assert_eq!(errors.matches("`in-progress`").count(), 2, "{errors}");
}

#[test]
fn a_singleton_is_named_by_its_first_pattern() {
    let config = check_accepted(
        "[[singleton]]\nagents = [\"Backlog-Manager-*\", \"x\"]\nactions = [\"move\"]\nidle = \"10m\"",
        &[("CLAIMGATE_LIMITS_ITEMS", "3")],
    );
    let rule = &config.singleton[0];
    assert_eq!((rule.name().as_str(), rule.mode, rule.per), ("backlog-manager", Mode::Enforce, Per::Repository));
    assert_eq!((config.limits.items, config.limits.of), (3, Whose::Agent));
}

/// The gate's own kinds of writes are what the file may name.
#[test]
fn every_kind_of_write_is_an_action() {
    let words: Vec<&str> = Action::ALL.iter().map(|(word, _)| *word).collect();
    for kind in crate::model::Kind::ALL {
        assert!(words.contains(&kind.as_str()), "{}", kind.as_str());
    }
    assert_eq!(words.len(), crate::model::Kind::ALL.len());
}

#[test]
fn a_key_without_a_certificate() {
    let key = tempfile::NamedTempFile::new().unwrap();
    check_refused(&format!("[server.tls]\nkey = {:?}", key.path()), &[], &["without `server.tls.certificate`"]);
}

#[test]
fn combinations_that_are_fine() {
    let cases = [
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"",
        "[assignment]\nstale_after = \"off\"\ntakeover_after = \"1h\"",
        "[assignment]\nexpect_status = [\"BACKLOG\", \"none\"]",
        "[[workflow.move]]\nfrom = [\"In-Progress\"]\nto = \"closed\"\nby = \"holder\"",
        "[upstream]\nurl = \"https://forge.example/sub\"\nca_file = \"Cargo.toml\"",
        "[workflow]\nmove = []",
        "[[singleton]]\nname = \"all\"\nagents = [\"*\"]\nactions = [\"hand_over\", \"take_over\"]\nidle = \"1m\"\nmode = \"observe\"",
        "[[once]]\nname = \"r\"\nwhat = \"review\"\nkey = \"{pull} {commit} {class}\"\nanswer = \"first\"",
        "[[once]]\nname = \"p\"\nwhat = \"pull\"\nkey = \"{issue}\"\nby = \"holder\"\nmode = \"observe\"",
    ];
    for text in cases {
        check_accepted(text, &[]);
    }
}

#[test]
fn all_mistakes_are_reported_at_once_and_nothing_that_follows_from_them() {
    check_refused(
        "[workflow]\nstats = [\"doing\"]\nworking = [\"doing\"]\n[upstream]\nread_timeout = \"5\"\ntracker = \"x\"\n[audit]\nstdout = false",
        &[("CLAIMGATE_LISTEN", "here")],
        &["`states`?", "not a duration", "`forgejo`", "nothing would record", "CLAIMGATE_LISTEN=here"],
    );
}

#[test]
fn variables() {
    check_refused("", &[("CLAIMGATE_LEDGER_DOUT_PERIOD", "1h")], &["did you mean `CLAIMGATE_LEDGER_DOUBT_PERIOD`?"]);
    check_refused("", &[("CLAIMGATE_SERVER_WORKERS", "many")], &["expected a whole number"]);
    let twins = [("CLAIMGATE_LISTEN", "127.0.0.1:1"), ("CLAIMGATE_SERVER_LISTEN", "127.0.0.1:2")];
    check_refused("", &twins, &["both set `server.listen`"]);
    let others =
        [("CLAIMGATE_SERVER_PORT_80_TCP", "x"), ("CLAIMGATE_PORT", "tcp://x"), ("CLAIMGATE_SERVER_SERVICE_HOST", "x")];
    assert_eq!(check_accepted("", &others), Config::defaults());
    assert_eq!(read_text("", &[("CLAIMGATE_FOO", "x")], &[]).unwrap().warnings.len(), 1);
    assert!(!check_accepted("[audit]\nfile = \"a\"", &[("CLAIMGATE_AUDIT_STDOUT", "false")]).audit.stdout);
}

#[test]
fn a_variable_sets_a_list() {
    let overriders = |value| check_accepted("", &[("CLAIMGATE_ASSIGNMENT_OVERRIDERS", value)]).assignment.overriders;
    for value in ["ann,bob", " ann , bob,", "[\"ann\", 'bob']"] {
        assert_eq!(overriders(value), ["ann", "bob"], "{value}");
    }
    assert_eq!(overriders("ann[bot]"), ["ann[bot]"]);
    assert_eq!(overriders("").len(), 0);
    let file = "[identity]\nshared_accounts = [\"other\"]";
    let variables = [("CLAIMGATE_IDENTITY_SHARED_ACCOUNTS", "a,b"), ("CLAIMGATE_IDENTITY_SOURCES", "header,path")];
    let identity = check_accepted(file, &variables).identity;
    assert_eq!(identity.shared_accounts, ["a", "b"]);
    assert_eq!(identity.sources, [InstanceSource::Header, InstanceSource::Path]);
    let origins = read_text(file, &variables, &[]).unwrap().origins;
    assert!(
        origins.iter().any(|(key, place)| key == "identity.shared_accounts" && place == "environment"),
        "{origins:?}"
    );
    check_refused("", &[("CLAIMGATE_IDENTITY_SOURCES", "header,heder")], &["CLAIMGATE_IDENTITY_SOURCES=header,heder"]);
    check_refused(
        "",
        &[("CLAIMGATE_ASSIGNMENT_OVERRIDERS", "[\"ann\"")],
        &["CLAIMGATE_ASSIGNMENT_OVERRIDERS=[\"ann\""],
    );
    check_refused("", &[("CLAIMGATE_SERVER_LISTENER", "a")], &["unknown variable"]);
}

#[test]
fn a_tracker_has_defaults_of_its_own() {
    let states = |file: &str, variables: &[(&str, &str)]| {
        let loaded = read_text(file, variables, &[]).unwrap();
        (loaded.config.workflow.states.join(","), loaded.origins.iter().any(|(key, _)| key.starts_with("workflow")))
    };
    let redmine = "New,In Progress,Resolved,Feedback";
    let file = "[upstream]\ntracker = \"redmine\"\n";
    assert_eq!(states(file, &[]), (redmine.to_owned(), false));
    assert_eq!(states("", &[("CLAIMGATE_UPSTREAM_TRACKER", "redmine")]), (redmine.to_owned(), false));
    let (linear, _) = states("[upstream]\ntracker = \"linear\"\n", &[]);
    assert_eq!(linear, "Triage,Backlog,Todo,In Progress,In Review,Done,Canceled,Duplicate");
    assert_eq!(states("", &[]), ("backlog,todo,in-progress,blocked,done".to_owned(), false));
    let jira = "Backlog,Selected for Development,To Do,Todo,Open status,Reopened,Blocked,In Progress,In Review";
    assert_eq!(states("[upstream]\ntracker = \"jira\"\n", &[]), (jira.to_owned(), false));
    let own = "[workflow]\nstates = [\"Doing\"]\nworking = [\"Doing\"]\nmove = []\n";
    assert_eq!(states(&format!("{file}{own}"), &[]), ("Doing".to_owned(), true));
    check_refused(&format!("{file}[workflow]\nworking = [\"Doing\"]"), &[], &["`Doing` is not among"]);
    let once = "[[once]]\nname = \"review\"\nwhat = \"review\"\nkey = \"{pull} {commit}\"\n";
    check_refused(&format!("{file}{once}"), &[], &["Redmine has neither"]);
    check_refused(&format!("[upstream]\ntracker = \"jira\"\n{once}"), &[], &["Jira has neither"]);
}

#[test]
fn an_old_key_names_its_successor() {
    let renamed = [Renamed { old: "ledger.quarantine", new: "ledger.doubt_period", help: "the unit was seconds" }];
    let mut merged = Merged::new(None);
    merged.add_file("old.toml", "[ledger]\nquarantine = 120\n", &renamed);
    let shown = merged.problems[0].to_string();
    assert!(shown.contains("`ledger.quarantine` is now called `ledger.doubt_period`"), "{shown}");
    assert!(shown.contains("old.toml:2:1") && shown.contains("the unit was seconds"), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_secret_that_everybody_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let token = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[server]\nadmin_token_file = {:?}", token.path());
    for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
        std::fs::set_permissions(token.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read_text(&text, &[], &[]).is_ok(), good, "{mode:o}");
    }
}

#[test]
fn a_reload_takes_what_judges_and_names_all_else() {
    let running = Config::defaults();
    let followed = "[assignment]\nmode = \"observe\"\nexpect_status = [\"none\"]\nmax_assignees = 2\nassign_others = true\n\
                    release_by = \"anyone\"\noverriders = [\"a\"]\noutside = \"hold\"\nstale_after = \"3h\"\n\
                    takeover_after = \"4h\"\n[identity]\nshared_accounts = [\"b\"]\n[workflow]\nmode = \"observe\"\n\
                    states = [\"x\"]\nworking = [\"x\"]\nconsume = [\"x\"]\nput_back = false\nmove = []\n[web]\n\
                    mode = \"enforce\"\n[limits]\nmode = \"observe\"\nitems = 2\nitems_per_repository = 1\nof = \"account\"\n\
                    [log]\nlevel = \"debug\"\n[[singleton]]\nagents = [\"c\"]\nactions = [\"move\"]\nidle = \"1m\"\n[[once]]\n\
                    name = \"r\"\nwhat = \"review\"\nkey = \"{pull}\"";
    let followed = check_accepted(followed, &[]);
    assert_eq!(running.reloaded(&followed), followed, "{:?}", running.reloaded(&followed).differences(&followed));
    assert_eq!(running.differences(&followed).len(), 24, "{:?}", running.differences(&followed));

    let waiting = "[server]\nlisten = \"127.0.0.1:1\"\nstate_dir = \"/s\"\n[[server.listener]]\naddress = \"127.0.0.1:2\"\n\
                   [upstream]\nurl = \"http://other\"\n[ledger]\nzombie_period = \"2h\"\n[identity]\nsources = [\"path\"]\n\
                   [assignment]\nverify = \"answer\"\nlane_timeout = \"1s\"\n[audit]\nkeep = 3\n[log]\nformat = \"text\"\n\
                   [metrics]\nenabled = false";
    let waiting = check_accepted(waiting, &[]);
    assert_eq!(running.reloaded(&waiting), running);
    let named = [
        "server.listen",
        "server.state_dir",
        "server.listener",
        "upstream.url",
        "ledger.zombie_period",
        "identity.sources",
        "assignment.verify",
        "assignment.lane_timeout",
        "audit.keep",
        "log.format",
        "metrics.enabled",
    ];
    assert_eq!(running.differences(&waiting), named);
    assert_eq!(waiting.differences(&running), named);
}

#[test]
fn webhooks_that_lead_to_nothing_are_warned_of() {
    let warned = |text: &str| read_text(text, &[], &[]).unwrap_or_else(|errors| panic!("{text}\n{errors}")).warnings;
    // Readable by its owner alone.
    let file = tempfile::NamedTempFile::new().unwrap();
    let secret = format!("[upstream]\nwebhook_secret_file = {:?}\n", file.path());
    let said = "upstream.webhook_secret_file without upstream.service_token_file";
    let warnings = warned(&secret);
    assert!(matches!(&warnings[..], [one] if one.0.starts_with(said)), "{warnings:?}");
    assert_eq!(warned(&format!("{secret}service_token_file = {:?}\n", file.path())), []);
}

#[test]
fn who_only_observes_claims_is_told_what_still_refuses() {
    let observed = "[assignment]\nmode = \"observe\"\n";
    let warned = |text: &str| read_text(text, &[], &[]).unwrap_or_else(|errors| panic!("{text}\n{errors}")).warnings;
    let rules = "[limits]\nitems = 1\n[[singleton]]\nagents = [\"a\"]\nactions = [\"move\"]\nidle = \"1m\"\n[[once]]\n\
                 name = \"r\"\nwhat = \"review\"\nkey = \"{pull}\"\n[[once]]\nname = \"s\"\nwhat = \"review\"\nkey = \"{pull}\"";
    for (more, still) in [("", "of workflow:"), (rules, "of workflow, limits, singleton, once:")] {
        let warnings = warned(&format!("{observed}{more}"));
        assert!(matches!(&warnings[..], [one] if one.0.contains(still)), "{warnings:?}");
    }
    let workflow = "[workflow]\nmode = \"observe\"\n";
    assert_eq!(warned(&format!("{observed}{workflow}")), [], "the first day");
    assert_eq!(warned(workflow), [], "claims are what matters most");
    assert_eq!(warned(rules), [], "all refuse");
}

/// A rule that binds nobody is found before the day on which it was needed.
#[test]
fn what_can_never_apply_is_warned_of() {
    let once = |more: &str| format!("{more}\n[[once]]\nname = \"r\"\nwhat = \"review\"\nkey = \"{{pull}}\"\n");
    let singleton = "[[singleton]]\nname = \"s\"\nactions = [\"move\"]\nidle = \"1m\"\n";
    let cases = [
        (once("") + "agents = [\"bot/review*\"]\n", None),
        (once("") + "agents = [\"review-*\"]\n", None),
        (once("") + "agents = [\"bot/réview\"]\n", Some("no agent has a `é`")),
        (once("") + "agents = [\"b#t\"]\n", Some("no agent has a `#`")),
        (once("[identity]\nsources = []\n") + "agents = [\"bot/review*\"]\n", Some("identity.sources is empty")),
        (once("[identity]\nsources = []\n") + "agents = [\"bot/*\"]\n", None),
        (
            once("[identity]\nsources = [\"listener\"]\n") + "agents = [\"bot/review*\"]\n",
            Some("no [[server.listener]]"),
        ),
        (once("[assignment]\noverriders = [\"Alice\"]\n") + "agents = [\"alice\"]\n", Some("assignment.overriders")),
        (once("") + "agents = [\"*\", \"bot\"]\n", Some("stands before it and fits all")),
        (format!("{singleton}agents = [\"bøt\"]\n"), Some("no agent has a `ø`")),
        (format!("{singleton}agents = [\"manager*\"]\n"), None),
        (
            "[[singleton]]\nactions = [\"take_over\"]\nidle = \"1m\"\nagents = [\"bot\"]\n".to_owned(),
            Some("assignment.takeover_after is \"off\""),
        ),
        ("[limits]\nitems = 2\nitems_per_repository = 3\n".to_owned(), Some("is reached before")),
        (
            "[[workflow.move]]\nfrom = [\"todo\"]\nto = \"todo\"\nby = \"anyone\"\n".to_owned(),
            Some("it starts where it ends"),
        ),
    ];
    for (text, fragment) in cases {
        let warnings = read_text(&text, &[], &[]).map(|loaded| loaded.warnings);
        let warnings = warnings.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        let said: Vec<&str> = warnings.iter().map(|warning| warning.0.as_str()).collect();
        match fragment {
            Some(fragment) => assert!(said.iter().any(|said| said.contains(fragment)), "{text}\n{said:?}"),
            None => assert!(said.is_empty(), "{text}\n{said:?}"),
        }
    }
}

#[test]
fn listeners_under_other_names_are_warned_of_where_they_lead_nowhere_or_everywhere() {
    let warned = |text: &str| read_text(text, &[], &[]).unwrap_or_else(|errors| panic!("{text}\n{errors}")).warnings;
    let hosts = "[intercept]\nhosts = [\"a.test\"]\n";
    let listener = |address: &str| format!("[[server.listener]]\naddress = \"{address}\"\nintercept = true\n");
    assert!(warned(hosts)[0].0.contains("nothing is intercepted"));
    assert_eq!(warned(&format!("{hosts}others = \"tunnel\"\n{}", listener("127.0.0.1:1"))), []);
    let open = warned(&format!("{hosts}others = \"tunnel\"\n{}", listener("0.0.0.0:1")));
    assert!(open[0].0.contains("whoever reaches 0.0.0.0:1"), "{open:?}");
    assert_eq!(warned(&format!("{hosts}{}", listener("0.0.0.0:1"))), []);
}
