//! TLS on both sides: HTTP/2 by ALPN, certificates replaced while serving, upstreams that prove who they are.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use claimgate::proxy::full;
use claimgate::server::TlsFiles;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::edge_support::{Gate, Plan, ask, echo, forge, serve_http, status};

/// A certificate that signs itself.
pub fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// Puts a certificate and its key where they are expected.
pub fn write(made: &CertifiedKey<KeyPair>, files: &TlsFiles) {
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
}

/// Where they are expected.
pub fn files(at: &Path) -> TlsFiles {
    TlsFiles { cert: at.join("cert.pem"), key: at.join("key.pem") }
}

/// A client that trusts this certificate alone.
pub async fn connect(
    address: SocketAddr,
    trust: &CertifiedKey<KeyPair>,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_to("gate.test", address, trust, alpn).await
}

/// The same, where the certificate is another name's.
pub async fn connect_to(
    name: &'static str,
    address: SocketAddr,
    trust: &CertifiedKey<KeyPair>,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trust.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

async fn tls_gate(at: &Path) -> (Gate, CertifiedKey<KeyPair>) {
    let made = certificate("gate.test");
    write(&made, &files(at));
    let mut plan = Plan::to(&format!("http://{}", forge(echo).await));
    plan.server.listeners[0].tls = Some(files(at));
    (plan.start(), made)
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_chosen_by_alpn_and_goes_up_as_http1() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, made) = tls_gate(dir.path()).await;
    let stream = connect(gate.address, &made, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://gate.test/x?y")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(seen.starts_with("GET /x?y\n"), "{seen}");
    for there in ["host: gate.test\n", "cookie: a=1; b=2\n", "x-forwarded-proto: https\n"] {
        assert!(seen.contains(there), "{there} in {seen}");
    }
    let request = Request::get("https://gate.test/x").header("host", "other.test").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, made) = tls_gate(dir.path()).await;
    let stream = connect(gate.address, &made, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/x").header("host", "gate.test").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_while_serving_and_bad_ones_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, old) = tls_gate(dir.path()).await;
    assert!(connect(gate.address, &old, b"http/1.1").await.is_ok());

    std::fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
    assert!(gate.certificates[0].reload().is_err());
    assert!(connect(gate.address, &old, b"http/1.1").await.is_ok());

    let new = certificate("gate.test");
    write(&new, &files(dir.path()));
    gate.certificates[0].reload().unwrap();
    assert!(connect(gate.address, &new, b"http/1.1").await.is_ok());
    assert!(connect(gate.address, &old, b"http/1.1").await.is_err());
}

/// A server with this certificate.
pub fn acceptor(made: &CertifiedKey<KeyPair>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn tls_forge(made: &CertifiedKey<KeyPair>) -> u16 {
    let acceptor = acceptor(made);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve_http(stream, |_| async { Response::new(full("secret")) });
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_must_prove_its_name_to_a_known_authority() {
    let dir = tempfile::tempdir().unwrap();
    let made = certificate("localhost");
    let port = tls_forge(&made).await;
    let good = dir.path().join("good.pem");
    std::fs::write(&good, made.cert.pem()).unwrap();
    let other = dir.path().join("other.pem");
    std::fs::write(&other, certificate("localhost").cert.pem()).unwrap();
    for (host, ca, expected) in [("localhost", &good, 200), ("localhost", &other, 502), ("127.0.0.1", &good, 502)] {
        let mut plan = Plan::to(&format!("https://{host}:{port}"));
        plan.upstream.ca_file = Some(ca.clone());
        let answer = ask(plan.start().address, "GET /x", &[]).await;
        assert_eq!(status(&answer), expected, "{host} {ca:?}: {answer}");
        assert_eq!(answer.contains("secret"), expected == 200);
    }
    let mut plan = Plan::to(&format!("https://localhost:{port}"));
    plan.upstream.ca_file = None;
    assert_eq!(status(&ask(plan.start().address, "GET /x", &[]).await), 502);
}
