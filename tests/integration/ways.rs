//! The ways in (manual: ways), through the real binary: sockets of one agent's own, answers that lead back, and
//! interception under the tracker's own name.

pub mod clients;
mod hostile;
mod interception;
mod rewriting;
mod sockets;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::e2e::{Gate, Setup};

/// The name under which clients know the tracker.
pub const HOST: &str = "forge.test";

/// The account that all agents use.
pub const BOT: &str = "bot";

/// An address that nobody listens on at the moment.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

/// Runs `claimgate` with these arguments and the configuration of a gate.
pub async fn claimgate(setup: &Setup, arguments: &[&str]) -> Output {
    let config = setup.dir().join("command.toml");
    std::fs::write(&config, setup.toml()).expect("written");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_claimgate"));
    command.args(arguments).arg("--config").arg(config).arg("--state-dir").arg(setup.state());
    command.output().await.expect("it runs")
}

/// Makes the private authority; where the root's certificate is for clients.
pub async fn authority(setup: &Setup, more: &[&str]) -> PathBuf {
    let made = claimgate(setup, &[&["ca", "--pem"], more].concat()).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let root = setup.dir().join("root-for-clients.pem");
    std::fs::write(&root, made.stdout).expect("written");
    root
}

/// A gate before `upstream` that intercepts [`HOST`] at these addresses, each for the agent of that name, if it has one.
pub async fn intercepting(upstream: &str, listeners: &[(SocketAddr, &str)], more: &str) -> (Gate, Setup, PathBuf) {
    intercepting_as(HOST, upstream, listeners, more).await
}

/// The same for another host.
pub async fn intercepting_as(
    host: &str,
    upstream: &str,
    listeners: &[(SocketAddr, &str)],
    more: &str,
) -> (Gate, Setup, PathBuf) {
    let listeners = listeners.iter().map(|(address, agent)| {
        format!("[[server.listener]]\naddress = \"{address}\"\nintercept = true\ninstance = \"{agent}\"\n")
    });
    let listeners = listeners.collect::<Vec<_>>().concat();
    let config = format!(
        "[upstream]\npublic_url = \"https://{host}\"\n[identity]\nshared_accounts = [\"{BOT}\"]\n{listeners}\
         [intercept]\nhosts = [\"{host}\"]\n{more}"
    );
    let setup = Setup::before(upstream).config(&config);
    let root = authority(&setup, &[]).await;
    (setup.start().await, setup, root)
}

/// TLS under this name over a connection, trusting this root alone.
pub async fn tls(stream: TcpStream, name: &str, root: &Path, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).expect("a name"), stream).await
}

/// What follows a CONNECT: the connection, and the head of its answer.
pub async fn connect(proxy: SocketAddr, target: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(proxy).await.expect("it listens");
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.expect("written");
    let answer = crate::edge_support::read_head(&mut stream).await;
    (stream, answer)
}

/// Sends a whole request and reads to the end of the connection.
pub async fn talk<S>(mut stream: S, request: &str) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut answer = Vec::new();
    let talking = async {
        // Who is refused may be cut off while it sends; what it was told counts.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.flush().await;
        stream.read_to_end(&mut answer).await
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), talking).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request whose connection is closed after it.
pub fn request(line: &str, host: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: token {}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}",
        crate::e2e::token(BOT)
    )
}

/// What a counter of the gate says.
pub async fn counted(gate: &Gate, name: &str) -> u64 {
    let text = gate.at_admin_port().get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("claimgate_{name}_total ")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}
