//! Connections to the database: where it is, TLS, and what each of them sets for itself.

use super::durability::{self, Demands, ServerFacts, Standbys};
use super::lineage::Lineage;
use super::tls::Tls;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Row, Statement};

/// Where the database is, ready to be connected to.
#[derive(Clone)]
pub(super) struct Database {
    config: Config,
    tls: Option<Tls>,
    demands: Demands,
    /// A connection has ended, or leads to a server that is not to be used: whoever proves the ledger should look at once.
    pub(super) lost: Arc<Notify>,
}

/// What a URL of a ledger says wrongly, or needs and has not.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It does not read.
    #[error("the URL of the ledger does not read: {0}")]
    Unreadable(String),
    /// The authorities to trust cannot be read.
    #[error("cannot read the certificates to trust: {0}")]
    Roots(String),
}

/// One connection. What is asked over it at once is answered in order.
pub(super) struct Link {
    pub(super) client: Client,
    statements: HashMap<&'static str, Statement>,
    /// The server has said that a commit may be on its own disk only.
    warned: Arc<AtomicBool>,
    /// The server's own timeline and system identifier.
    pub(super) facts: ServerFacts,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Its commits are awaited on disk, and on the synchronous standby where there is one.
    Durable,
    /// Its commits are on disk with the next durable one.
    Entry,
    /// It only reads.
    Reader,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// It may be there later.
    #[error("{0}")]
    Unreachable(String),
    /// The server may lose what it has acknowledged, or is no primary.
    #[error(transparent)]
    Unfit(#[from] durability::Unfit),
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What the server gives up by itself, so that no gate that was stopped inside a transaction keeps others out.
const LIMITS: &str = "SET lock_timeout = '2s'; SET statement_timeout = '5s';
    SET idle_in_transaction_session_timeout = '5s'; SET client_min_messages = 'warning';
    SET default_transaction_isolation = 'read committed'; SET tcp_user_timeout = '5s';";

// === impl Database ===

impl Database {
    /// From the ledger's URL: `postgresql://user@host,host/database`, or with `?host=/directory` for a unix socket.
    pub(super) fn parse(
        url: &str,
        password: Option<&SecretString>,
        ca_file: Option<&Path>,
        demands: Demands,
    ) -> Result<Self, UrlError> {
        let mut config = Config::from_str(url).map_err(|error| UrlError::Unreadable(in_full(&error)))?;
        if config.get_dbname().is_none() {
            return Err(UrlError::Unreadable("it names no database".to_owned()));
        }
        if config.get_password().is_some() {
            let why = "it holds a password; put that into the file that ledger.password_file names".to_owned();
            return Err(UrlError::Unreadable(why));
        }
        if let Some(password) = password {
            config.password(password.expose_secret());
        }
        let is_near = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        };
        let is_near = config.get_hosts().iter().all(is_near);
        // Over a network the server's name is always verified; nearby it is the operator's choice (`sslmode`).
        let tls = (!is_near || config.get_ssl_mode() == SslMode::Require).then(|| roots(ca_file)).transpose()?;
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.application_name("claimgate").connect_timeout(CONNECT_TIMEOUT);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite).tcp_user_timeout(Duration::from_secs(5));
        // An old primary that was started again must not be the first to be asked each time.
        config.load_balance_hosts(LoadBalanceHosts::Random);
        config.keepalives_idle(Duration::from_secs(5));
        Ok(Self { config, tls, demands, lost: Arc::default() })
    }

    /// Host and database, for messages.
    pub(super) fn name(&self) -> String {
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let hosts: Vec<String> = self.config.get_hosts().iter().map(host).collect();
        format!("{} at {}", self.config.get_dbname().unwrap_or_default(), hosts.join(", "))
    }

    /// Opens a connection to the primary, and looks whether it keeps what it acknowledges.
    pub(super) async fn connect(&self, role: Role) -> Result<Link, LinkError> {
        let opened = tokio::time::timeout(2 * CONNECT_TIMEOUT, self.open(role)).await;
        opened.unwrap_or_else(|_| Err(LinkError::Unreachable("no answer in time".to_owned())))
    }

    async fn open(&self, role: Role) -> Result<Link, LinkError> {
        let warned = Arc::new(AtomicBool::new(false));
        let client = if let Some(tls) = &self.tls {
            let (client, connection) = self.config.connect(tls.clone()).await.map_err(unreachable_server)?;
            watch(connection, &warned, &self.lost);
            client
        } else {
            let (client, connection) = self.config.connect(NoTls).await.map_err(unreachable_server)?;
            watch(connection, &warned, &self.lost);
            client
        };
        let commits = match role {
            Role::Entry => "SET synchronous_commit = off;",
            Role::Durable | Role::Reader => "SET synchronous_commit = on;",
        };
        client.batch_execute(&format!("{LIMITS}{commits}")).await.map_err(unreachable_server)?;
        let facts = facts(&client).await.map_err(unreachable_server)?;
        self.demands.judge(&facts)?;
        if let Some(loss) = self.demands.loss(&facts) {
            tracing::warn!(%loss, "acknowledged claims may be lost with the database; ledger.accept_loss accepts that");
        }
        Ok(Link { client, statements: HashMap::new(), warned, facts })
    }
}

// === impl Link ===

impl Link {
    /// Prepares what will be asked again and again.
    pub(super) async fn prepare(&mut self, all: impl IntoIterator<Item = &'static str>) -> Result<(), LinkError> {
        for sql in all {
            let statement = self.client.prepare(sql).await.map_err(unreachable_server)?;
            self.statements.insert(sql, statement);
        }
        Ok(())
    }

    /// The rows of a prepared statement; none where nothing is asked. Sent when it is polled first, so that statements which
    /// are polled together travel together.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        is_asked: bool,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        if !is_asked {
            return Ok(Vec::new());
        }
        match self.statements.get(sql) {
            Some(statement) => self.client.query(statement, values).await,
            None => self.client.query(sql, values).await,
        }
    }

    /// Whether the server keeps what it acknowledges, as it is now.
    pub(super) async fn look_again(&self, demands: Demands) -> Result<Result<(), durability::Unfit>, Error> {
        Ok(demands.judge(&facts(&self.client).await?))
    }

    /// Whether a commit since the last call may be lost with its server.
    pub(super) fn was_warned(&self) -> bool {
        self.warned.swap(false, Ordering::AcqRel)
    }
}

/// Drives a connection, and listens to what the server says beside its answers.
fn watch<S, T>(mut connection: tokio_postgres::Connection<S, T>, warned: &Arc<AtomicBool>, lost: &Arc<Notify>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (warned, lost) = (Arc::clone(warned), Arc::clone(lost));
    tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            match message {
                // "canceling wait for synchronous replication": the commit is reported as a success.
                Ok(AsyncMessage::Notice(notice)) if *notice.code() == SqlState::WARNING => {
                    warned.store(true, Ordering::Release);
                    tracing::warn!(notice = notice.message(), "the database warns");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a connection to the database ended");
                    break;
                }
            }
        }
        lost.notify_one();
    });
}

async fn facts(client: &Client) -> Result<ServerFacts, Error> {
    let sql = "SELECT pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'),
        current_setting('server_version_num')::int, current_setting('server_encoding'),
        (SELECT system_identifier::text FROM pg_control_system())";
    let row = client.query_one(sql, &[]).await?;
    let in_recovery: bool = row.get(0);
    let timeline = if in_recovery {
        String::new()
    } else {
        let sql = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)";
        client.query_one(sql, &[]).await?.get(0)
    };
    // Without pg_monitor the rows show, and what they say is empty.
    let sql = "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')),
        count(*) FILTER (WHERE sync_state IS NULL) FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'";
    let standbys = client.query_one(sql, &[]).await?;
    Ok(ServerFacts {
        in_recovery,
        fsync: row.get::<_, String>(1) == "on",
        full_page_writes: row.get::<_, String>(2) == "on",
        version: row.get(3),
        encoding: row.get(4),
        lineage: Lineage { system: row.get(5), timeline },
        standbys: Standbys { all: standbys.get(0), synchronous: standbys.get(1), unknown: standbys.get(2) },
    })
}

fn roots(ca_file: Option<&Path>) -> Result<Tls, UrlError> {
    let mut roots = rustls::RootCertStore::empty();
    match ca_file {
        Some(path) => read_roots(path, &mut roots)?,
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        let place = ca_file.map_or_else(|| PathBuf::from("the system"), Path::to_path_buf);
        return Err(UrlError::Roots(format!("no certificate in {}", place.display())));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| UrlError::Roots(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Tls(Arc::new(config)))
}

fn read_roots(path: &Path, roots: &mut rustls::RootCertStore) -> Result<(), UrlError> {
    use rustls_pki_types::pem::PemObject as _;
    let wrong = |error: &dyn std::fmt::Display| UrlError::Roots(format!("{}: {error}", path.display()));
    for certificate in rustls_pki_types::CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unreachable_server(error: Error) -> LinkError {
    LinkError::Unreachable(in_full(&error))
}

/// The driver names only its own level; what the server or the system said is below it.
pub(super) fn in_full(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
