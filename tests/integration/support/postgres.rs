//! A private PostgreSQL for the tests of one run: a cluster in a temporary directory, on a unix socket only, as a user who
//! may do nothing else. Each test has a database of its own. Where there is no server, what needs one is skipped, loudly.

use claimgate::clock::SystemClock;
use claimgate::ledger::{Demands, GateName, PostgresLedger, PostgresOptions, Retention};
use claimgate::model::Time;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// One cluster.
pub struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    /// One at a time: `CREATE DATABASE` copies another, which nobody may be connected to.
    creating: Mutex<()>,
}

/// The cluster of this run, if there is a server.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(Cluster::start).as_ref();
    if cluster.is_none() {
        eprintln!("SKIPPED: no PostgreSQL server here (apt-get install postgresql), so nothing was tested with one");
    }
    cluster
}

/// Options of a gate in this database; no two gates have one name.
pub fn options(url: &str, gate: &str, now: Option<Time>) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        password: None,
        ca_file: None,
        demands: Demands::default(),
        gate: GateName::new(gate, gate),
        host: "here".to_owned(),
        agreed: "doubt_period 120s".to_owned(),
        rules: "none".to_owned(),
        fingerprint_key: vec![7; 32],
        zombie_period: Duration::from_mins(20),
        doubt_period: Duration::from_mins(2),
        keep: Retention { history: Duration::MAX, refusals: usize::MAX },
        clock: Arc::new(SystemClock::start()),
        now,
    }
}

/// The URL of this database on several servers, of which one is the primary.
pub fn url_on(database: &str, clusters: &[&Cluster]) -> String {
    let hosts: Vec<String> = clusters.iter().map(|cluster| format!("host={}", cluster.dir.display())).collect();
    format!("postgresql:///{database}?{}&user=claimgate", hosts.join("&"))
}

/// The database that a ledger's URL names.
pub fn name_of(url: &str) -> &str {
    url.trim_start_matches("postgresql:///").split('?').next().unwrap_or_default()
}

/// Opens it.
pub async fn open(url: &str, gate: &str, now: Option<Time>) -> PostgresLedger {
    PostgresLedger::open(options(url, gate, now)).await.expect("a good database")
}

// === impl Cluster ===

impl Cluster {
    fn start() -> Option<Self> {
        let cluster = Self::make(&binaries()?);
        cluster.control(&["-w", "start"]);
        cluster.stop_with_this_process();
        Some(cluster)
    }

    /// One more, for a test that stops it.
    pub fn another(&self) -> Self {
        let cluster = Self::make(&self.bin);
        cluster.control(&["-w", "start"]);
        cluster.stop_with_this_process();
        cluster
    }

    /// A standby of this one, streaming from it: its commits wait for it, or they do not.
    pub fn standby(&self, is_synchronous: bool) -> Self {
        let cluster = Self::empty(&self.bin);
        let (data, host) = (cluster.data().display().to_string(), self.dir.display().to_string());
        let arguments = ["-D", &data, "-h", &host, "-U", "claimgate", "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        let made = cluster.tool("pg_basebackup", &arguments).output().expect("pg_basebackup runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        cluster.configure(&format!(
            "unix_socket_directories = '{}'\nsynchronous_standby_names = ''\n",
            cluster.dir.display()
        ));
        cluster.control(&["-w", "start"]);
        cluster.stop_with_this_process();
        if is_synchronous {
            self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
            self.sql("postgres", "SELECT pg_reload_conf()");
        }
        let wanted = if is_synchronous { "sync" } else { "async" };
        let streams = || self.sql("postgres", "SELECT string_agg(sync_state, ',') FROM pg_stat_replication") == wanted;
        let mut looks = 0;
        while !streams() {
            looks += 1;
            assert!(looks < 400, "the standby does not stream");
            std::thread::sleep(Duration::from_millis(50));
        }
        cluster
    }

    /// A standby takes over. What it was told about standbys of its own is forgotten.
    pub fn promote(&self) {
        self.control(&["-w", "promote"]);
    }

    /// More settings; the last one of a key counts.
    pub fn configure(&self, settings: &str) {
        let path = self.data().join("postgresql.auto.conf");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, before + settings).expect("it can be written");
    }

    /// Where its socket is.
    pub fn socket_dir(&self) -> &Path {
        &self.dir
    }

    /// A file that the server reads, and nobody else.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let (path, owner) = (self.dir.join(name), std::fs::metadata(self.data()).expect("it is there"));
        std::fs::write(&path, text).expect("it can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("it is ours");
        path
    }

    fn empty(bin: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("claimgate-pg").tempdir_in("/tmp").expect("a directory").keep();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).expect("it is ours");
        Self { bin: bin.to_owned(), dir, creating: Mutex::default() }
    }

    fn make(bin: &Path) -> Self {
        let cluster = Self::empty(bin);
        let data = cluster.data().display().to_string();
        let made = cluster
            .tool("initdb", &["-D", &data, "-U", "claimgate", "--auth=trust", "-E", "UTF8", "--locale=C", "-N"])
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = 200\nshared_buffers = '32MB'\n\
             wal_level = replica\nmax_wal_size = '256MB'\nautovacuum_naptime = '10s'\n",
            cluster.dir.display()
        );
        let path = cluster.data().join("postgresql.conf");
        let before = std::fs::read_to_string(&path).expect("initdb made it");
        std::fs::write(&path, before + &settings).expect("it can be written");
        cluster
    }

    /// As nobody in particular: PostgreSQL refuses to be root.
    fn tool(&self, name: &str, arguments: &[&str]) -> Command {
        let path = self.bin.join(name);
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.args(arguments).current_dir("/tmp").stdin(Stdio::null()).env("LC_ALL", "C");
        command
    }

    /// `pg_ctl`.
    pub fn control(&self, arguments: &[&str]) {
        let data = self.data().display().to_string();
        let log = self.dir.join("log").display().to_string();
        let mut command = self.tool("pg_ctl", &["-D", &data, "-l", &log]);
        let done = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("pg_ctl runs");
        assert!(done.success(), "pg_ctl {arguments:?}: {}", std::fs::read_to_string(&log).unwrap_or_default());
    }

    /// Whatever ends this process, the server ends with it: a shell waits for the end of a pipe.
    #[allow(clippy::zombie_processes, reason = "it outlives this process, and waits for its end")]
    fn stop_with_this_process(&self) {
        let script = "cat > /dev/null; kill -QUIT \"$(head -1 \"$1/data/postmaster.pid\")\"; sleep 1; rm -rf \"$1\"";
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script, "sh"])
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = shell.spawn().expect("a shell");
        std::mem::forget(child.stdin.take());
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A new database, as the URL of a ledger.
    pub fn database(&self) -> String {
        // A standby has those of its primary.
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let _one = self.creating.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&user=claimgate", self.dir.display())
    }

    /// What a statement answers, as `psql` prints it.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let host = self.dir.display().to_string();
        let mut command =
            self.tool("psql", &["-XqtA", "-v", "ON_ERROR_STOP=1", "-h", &host, "-U", "claimgate", "-d", database]);
        let mut child =
            command.args(["-c", sql]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql runs");
        let mut said = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        let done = child.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        said.trim().to_owned()
    }
}

fn binaries() -> Option<PathBuf> {
    let has = |dir: &PathBuf| dir.join("initdb").exists() && dir.join("pg_ctl").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    versions.into_iter().rev().chain(std::env::split_paths(&path)).find(has)
}
