//! The deployment files hold what they promise: one way in, not root, and nothing that the binary does not understand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use claimgate::cli::Cli;
use claimgate::config::{Layers, environment_names, read};
use clap::CommandFactory as _;
use serde_yaml_ng::Value;

const BINARY: &str = "/usr/local/bin/claimgate";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn documents(name: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    serde_yaml_ng::Deserializer::from_str(&text(name)).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn words(value: &Value) -> Vec<String> {
    value.as_sequence().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The command line, without the program's name, is one that the binary takes.
#[track_caller]
fn check_command(arguments: &[String]) {
    let all = std::iter::once("claimgate".to_owned()).chain(arguments.iter().cloned());
    Cli::command().try_get_matches_from(all).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
}

/// The variables are ones that the configuration reads, with values that it accepts.
#[track_caller]
fn check_environment(variables: &[(String, String)]) {
    let known = environment_names();
    for (name, _) in variables.iter().filter(|(name, _)| name.starts_with("CLAIMGATE_")) {
        assert!(known.contains_key(name) || name == "CLAIMGATE_CONFIG", "{name} is not understood");
    }
    let layers = Layers { environment: variables.to_vec(), ..Layers::default() };
    read(&layers).unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn the_compose_file_leaves_one_way_in() {
    let compose = &documents("compose.yaml")[0];
    let (forgejo, gate) = (&compose["services"]["forgejo"], &compose["services"]["claimgate"]);
    assert!(forgejo["ports"].is_null() && forgejo["network_mode"].is_null(), "Forgejo's port is published");
    assert_eq!(words(&forgejo["networks"]), ["inside"]);
    assert_eq!(compose["networks"]["inside"]["internal"].as_bool(), Some(true));
    assert_eq!(words(&gate["ports"]), ["8480:8480"]);
    assert_eq!(gate["user"].as_str(), Some("65532:65532"));
    assert_eq!(gate["read_only"].as_bool(), Some(true));
    assert!(words(&gate["volumes"]).contains(&"claimgate-state:/var/lib/claimgate".to_owned()));
    assert!(!compose["volumes"]["claimgate-state"].is_null());
}

#[test]
fn the_compose_file_is_understood_by_the_gate() {
    let compose = &documents("compose.yaml")[0];
    let (forgejo, gate) = (&compose["services"]["forgejo"], &compose["services"]["claimgate"]);
    let public = gate["environment"]["CLAIMGATE_UPSTREAM_PUBLIC_URL"].as_str().unwrap();
    assert_eq!(forgejo["environment"]["FORGEJO__server__ROOT_URL"].as_str(), Some(public));
    check_command(&words(&gate["command"]));
    let variables = gate["environment"].as_mapping().unwrap().iter();
    let plain = variables.map(|(name, value)| (name.as_str().unwrap().to_owned(), default_of(value.as_str().unwrap())));
    check_environment(&plain.collect::<Vec<_>>());
    let health = words(&gate["healthcheck"]["test"]);
    assert_eq!(health[..2], ["CMD", BINARY]);
    check_command(&health[2..]);
    assert!(!forgejo["healthcheck"]["test"].is_null());
    assert!(seconds(gate["stop_grace_period"].as_str().unwrap()) > drain_timeout());
}

#[test]
fn the_example_for_trello_is_understood_by_the_gate() {
    let layers = Layers { file: Some(path("trello.toml")), ..Layers::default() };
    let config = read(&layers).unwrap_or_else(|errors| panic!("{errors}")).config;
    assert_eq!(
        (config.upstream.url.as_str(), config.intercept.hosts),
        ("https://api.trello.com", vec!["api.trello.com".to_owned()])
    );
}

#[test]
fn the_configuration_for_github_is_understood() {
    let layers = Layers { file: Some(path("github.toml")), ..Layers::default() };
    let loaded = read(&layers).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    let upstream = &loaded.config.upstream;
    assert_eq!((upstream.url.as_str(), upstream.tracker.as_str()), ("https://api.github.com", "github"));
    let instances: Vec<_> = loaded.config.server.listener.iter().filter_map(|it| it.instance.as_deref()).collect();
    assert_eq!(instances, ["worker-1", "worker-2"]);
}

/// Two gates, one record: each with a name and a state of its own, and no way round them.
#[test]
fn two_gates_share_a_database_and_nothing_else() {
    let compose = &documents("compose-gates.yaml")[0];
    let services = &compose["services"];
    assert!(services["forgejo"]["ports"].is_null() && services["ledger"]["ports"].is_null());
    let mut names = Vec::new();
    for gate in ["gate-1", "gate-2"] {
        let merged = merged(&services[gate]);
        check_command(&words(&merged["command"]));
        let variables = merged["environment"].as_mapping().unwrap().iter();
        let plain =
            variables.map(|(name, value)| (name.as_str().unwrap().to_owned(), default_of(value.as_str().unwrap())));
        let plain: Vec<(String, String)> = plain.collect();
        check_environment(&plain);
        let of = |name: &str| plain.iter().find(|(one, _)| one == name).unwrap().1.clone();
        assert!(of("CLAIMGATE_LEDGER_URL").starts_with("postgresql://"));
        names.push((of("CLAIMGATE_LEDGER_GATE"), words(&merged["volumes"])[0].clone()));
        assert_eq!(merged["read_only"].as_bool(), Some(true));
        assert!(seconds(merged["stop_grace_period"].as_str().unwrap()) > drain_timeout());
    }
    assert!(names[0].0 != names[1].0 && names[0].1 != names[1].1, "{names:?}");
}

/// A mapping with what its `<<` brings in, as compose reads it.
fn merged(value: &Value) -> Value {
    let mut value = value.clone();
    value.apply_merge().unwrap();
    let environment = value["environment"].clone();
    if let Some(mapping) = value.as_mapping_mut() {
        let mut environment = environment;
        environment.apply_merge().unwrap();
        mapping.insert("environment".into(), environment);
    }
    value
}

#[test]
fn the_set_of_gates_is_hardened_and_understood() {
    let all = documents("kubernetes-gates.yaml");
    let set = all.iter().find(|one| one["kind"] == "StatefulSet").unwrap();
    assert!(set["spec"]["replicas"].as_u64() > Some(1));
    let pod = &set["spec"]["template"]["spec"];
    let gate = &pod["containers"][0];
    assert_eq!(gate["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(words(&gate["securityContext"]["capabilities"]["drop"]), ["ALL"]);
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > drain_timeout());
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let command = words(&gate[probe]["exec"]["command"]);
        assert_eq!(command[0], BINARY);
        check_command(&command[1..]);
    }
    check_command(&words(&gate["args"]));
    assert!(environment_names().contains_key("CLAIMGATE_LEDGER_GATE"));
    let map = all.iter().find(|one| one["kind"] == "ConfigMap").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), map["data"]["claimgate.toml"].as_str().unwrap()).unwrap();
    let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
    read(&layers).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(all.iter().any(|one| one["kind"] == "NetworkPolicy"));
}

/// `${NAME:-default}` as compose would fill it in.
fn default_of(value: &str) -> String {
    let inner = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.and_then(|inner| inner.split_once(":-")).map_or(value, |(_, default)| default).to_owned()
}

fn drain_timeout() -> u64 {
    claimgate::config::Config::defaults().server.drain_timeout.as_secs()
}

fn seconds(text: &str) -> u64 {
    claimgate::config::parse_duration(text).unwrap().as_secs()
}

#[test]
fn the_sidecar_is_the_only_way_into_the_pod() {
    let all = documents("kubernetes.yaml");
    let kind = |kind: &str| all.iter().filter(|one| one["kind"] == kind).cloned().collect::<Vec<_>>();
    let deployment = &kind("Deployment")[0];
    let pod = &deployment["spec"]["template"]["spec"];
    let (gate, forgejo) = (&pod["initContainers"][0], &pod["containers"][0]);
    assert_eq!(deployment["spec"]["replicas"].as_u64(), Some(1));
    assert_eq!(deployment["spec"]["strategy"]["type"].as_str(), Some("Recreate"));
    assert_eq!(gate["restartPolicy"].as_str(), Some("Always"));
    assert!(forgejo["ports"].is_null(), "Forgejo's port is named");
    let variables = environment_of(forgejo);
    assert_eq!(variables["FORGEJO__server__HTTP_ADDR"], "127.0.0.1");
    assert!(variables["FORGEJO__server__ROOT_URL"].starts_with("https://"));
    let services = kind("Service");
    assert_eq!(services.len(), 1);
    assert_eq!(words_of_ports(&services[0]), [8480]);
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > drain_timeout());
    assert!(kind("PersistentVolumeClaim").iter().any(|claim| claim["metadata"]["name"] == "claimgate-state"));
}

fn words_of_ports(service: &Value) -> Vec<u64> {
    let ports = service["spec"]["ports"].as_sequence().unwrap();
    ports.iter().map(|port| port["targetPort"].as_u64().unwrap()).collect()
}

fn environment_of(container: &Value) -> BTreeMap<String, String> {
    let list = container["env"].as_sequence().unwrap();
    list.iter()
        .map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn the_pod_is_hardened_and_its_probes_ask_the_gate() {
    let all = documents("kubernetes.yaml");
    let pod = &all.iter().find(|one| one["kind"] == "Deployment").unwrap()["spec"]["template"]["spec"];
    let gate = &pod["initContainers"][0];
    for container in [gate, &pod["containers"][0]] {
        let context = &container["securityContext"];
        assert_eq!(context["runAsNonRoot"].as_bool(), Some(true));
        assert_eq!(context["allowPrivilegeEscalation"].as_bool(), Some(false));
        assert_eq!(words(&context["capabilities"]["drop"]), ["ALL"]);
    }
    assert_eq!(gate["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let command = words(&gate[probe]["exec"]["command"]);
        assert_eq!(command[0], BINARY);
        check_command(&command[1..]);
    }
    check_command(&words(&gate["args"]));
}

#[test]
fn the_pods_configuration_is_accepted() {
    let all = documents("kubernetes.yaml");
    let map = all.iter().find(|one| one["kind"] == "ConfigMap").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), map["data"]["claimgate.toml"].as_str().unwrap()).unwrap();
    let loaded = read(&Layers { file: Some(file.path().to_owned()), ..Layers::default() });
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, [], "a first day refuses nothing");
    let config = loaded.config;
    assert_eq!(config.server.listen.tcp().unwrap().port(), 8480);
    assert!(config.server.admin.unwrap().ip().is_loopback());
}

/// `[section]` and `key=value`, keys in order, repeated ones kept.
fn unit(name: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut sections = BTreeMap::<String, Vec<_>>::new();
    let mut section = String::new();
    for line in text(name).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix('['), line.split_once('=')) {
            (Some(title), _) => title.trim_end_matches(']').clone_into(&mut section),
            (None, Some((key, value))) => {
                sections.entry(section.clone()).or_default().push((key.to_owned(), value.to_owned()));
            }
            (None, None) => panic!("{name}: {line}"),
        }
    }
    sections
}

#[test]
fn the_service_is_hardened_and_drains() {
    let service = unit("claimgate.service").remove("Service").unwrap();
    let calls: Vec<&str> = service.iter().filter(|(key, _)| key == "SystemCallFilter").map(|(_, of)| &**of).collect();
    // systemd.exec(5): each line changes what those before it left. The checkpoint's thread sets its own priority.
    assert_eq!(calls, ["@system-service", "~@privileged @resources", "setpriority"]);
    // What does not read is told by the reload itself, not by a line in the log.
    let reload: Vec<&str> = service.iter().filter(|(key, _)| key == "ExecReload").map(|(_, of)| &**of).collect();
    assert_eq!(reload.len(), 2);
    check_command(&reload[0].split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>());
    assert!(reload[0].starts_with(&format!("{BINARY} check --config ")), "{reload:?}");
    let service: BTreeMap<_, _> = service.into_iter().collect();
    let wanted = [
        ("Type", "notify"),
        ("DynamicUser", "yes"),
        ("StateDirectory", "claimgate"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("CapabilityBoundingSet", ""),
        ("MemoryDenyWriteExecute", "yes"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("KillSignal", "SIGTERM"),
    ];
    for (key, value) in wanted {
        assert_eq!(service.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(seconds(&service["TimeoutStopSec"]) > drain_timeout());
    for key in ["ExecStart", "ExecStartPre"] {
        let command: Vec<String> = service[key].split(' ').map(str::to_owned).collect();
        assert_eq!(command[0], BINARY);
        check_command(&command[1..]);
    }
}

/// The lines of a unit as they are once its operator takes the example in.
fn uncommented(name: &str) -> String {
    text(name).replace("\n#LoadCredential=", "\nLoadCredential=")
}

#[test]
fn a_secret_reaches_the_service() {
    let unit = uncommented("claimgate.service");
    let given = unit.lines().find_map(|line| line.strip_prefix("LoadCredential=")).expect("an example");
    let (name, from) = given.split_once(':').expect("a name and a file");
    assert!(from.starts_with("/etc/claimgate/"), "{from}");
    let path = format!("/run/credentials/claimgate.service/{name}");
    let key = format!("service_token_file = {path:?}");
    assert!(unit.contains(&format!("#   {key}\n")), "the unit says what to write: {key}");
    assert!(text("README.md").contains(&format!("`{path}`")));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[upstream]\n{key}\n")).unwrap();
    let loaded = read(&Layers { file: Some(file.path().to_owned()), ..Layers::default() });
    let token = loaded.unwrap_or_else(|errors| panic!("{errors}")).config.upstream.service_token_file;
    assert_eq!(token, Some(PathBuf::from(path)));
}

#[test]
fn the_socket_listens_where_the_gate_would() {
    let socket: BTreeMap<_, _> = unit("claimgate.socket").remove("Socket").unwrap().into_iter().collect();
    assert_eq!(socket["ListenStream"], claimgate::config::Config::defaults().server.listen.to_string());
}

#[test]
fn systemd_accepts_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("claimgate.service");
    // The installed program does not exist here; any other does for the check.
    std::fs::write(&unit, uncommented("claimgate.service").replace(BINARY, "/bin/true")).unwrap();
    std::fs::write(directory.path().join("claimgate.socket"), text("claimgate.socket")).unwrap();
    let output = std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let ours: Vec<_> = said.lines().filter(|line| line.contains("claimgate")).collect();
            assert!(ours.is_empty(), "{said}");
        }
        Err(error) => eprintln!("SKIPPED: systemd-analyze is not here ({error}); the units are checked by key only"),
    }
}

#[test]
fn the_image_is_small_and_not_root() {
    let joined = text("Containerfile").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let instructions: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
    let of =
        |name: &str| instructions.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value).collect::<Vec<_>>();
    let stages = of("FROM");
    assert_eq!(stages.len(), 2);
    assert!(stages[0].ends_with(" AS build") && stages[1].contains("distroless") && stages[1].ends_with(":nonroot"));
    assert_eq!(of("USER"), ["65532:65532"]);
    assert!(!of("RUN").iter().any(|run| run.contains("cmake")), "the README says that it is not needed");
    let health = of("HEALTHCHECK")[0];
    check_command(&exec_form(&health[health.find('[').unwrap()..])[1..]);
    assert_eq!(exec_form(of("ENTRYPOINT")[0]), [BINARY]);
    check_command(&exec_form(of("CMD")[0]));
    let variables = of("ENV").into_iter().filter_map(|pair| pair.split_once('='));
    check_environment(&variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>());
}

fn exec_form(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap()
}

/// A gate alone, before somebody else's service.
#[test]
fn the_compose_file_for_jira_is_understood_by_the_gate() {
    let gate = &documents("compose-jira.yaml")[0]["services"]["claimgate"];
    assert_eq!(words(&gate["ports"]), ["127.0.0.1:8480:8480"]);
    assert_eq!((gate["user"].as_str(), gate["read_only"].as_bool()), (Some("65532:65532"), Some(true)));
    let command = words(&gate["command"]);
    check_command(&command.iter().map(|word| default_of(word)).collect::<Vec<_>>());
    let variables = gate["environment"].as_mapping().unwrap().iter();
    let plain = variables.map(|(name, value)| (name.as_str().unwrap().to_owned(), default_of(value.as_str().unwrap())));
    let plain: Vec<(String, String)> = plain.collect();
    assert!(plain.contains(&("CLAIMGATE_UPSTREAM_TRACKER".to_owned(), "jira".to_owned())));
    check_environment(&plain);
    assert!(seconds(gate["stop_grace_period"].as_str().unwrap()) > drain_timeout());
}

#[test]
fn the_configuration_for_linear_is_accepted() {
    let loaded = read(&Layers { file: Some(path("linear.toml")), ..Layers::default() });
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.config.upstream.tracker.as_str(), "linear");
    assert_eq!(loaded.config.workflow.states.len(), 8);
}
