//! TLS to the database: an authority of one's own, and a server that must be who it says.

use crate::support::postgres;
use claimgate::effect::Ledger as _;
use claimgate::ledger::{PostgresLedger, PostgresOptions};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::PathBuf;

/// A private authority, and what it has signed.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a private authority");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate of this name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.issuer).expect("signed").pem(), key.serialize_pem())
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Why this gate has not joined; nothing if it has.
async fn joined(options: PostgresOptions) -> Result<(), String> {
    let ledger = PostgresLedger::open(options).await.map_err(|error| error.to_string())?;
    claimgate::effect::Membership::has_joined(&ledger).map_err(|error| error.to_string())?;
    ledger.active().await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_gate_speaks_to_the_server_that_its_authority_vouches_for_and_to_no_other() {
    let Some(cluster) = postgres::cluster().map(postgres::Cluster::another) else { return };
    let database = postgres::name_of(&cluster.database()).to_owned();
    let (own, stranger, port) = (Authority::new(), Authority::new(), free_port());
    let serve = |(certificate, key): (String, String)| {
        let (certificate, key) = (cluster.file("server.crt", &certificate), cluster.file("server.key", &key));
        cluster.configure(&format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
            certificate.display(),
            key.display()
        ));
        cluster.control(&["-w", "-m", "fast", "restart"]);
    };
    let dir = tempfile::tempdir().expect("a directory");
    let trust = |authority: &Authority, name: &str| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, &authority.pem).expect("written");
        path
    };
    let (known, unknown) = (trust(&own, "own.pem"), trust(&stranger, "stranger.pem"));
    let url = format!("postgresql://claimgate@127.0.0.1:{port}/{database}?sslmode=require");
    let options = |gate: &str, ca_file: &PathBuf| PostgresOptions {
        ca_file: Some(ca_file.clone()),
        ..postgres::options(&url, gate, None)
    };
    serve(own.sign("127.0.0.1"));
    joined(options("one", &known)).await.expect("it is who it says");
    let refused = joined(options("two", &unknown)).await.expect_err("nobody vouches for it");
    assert!(refused.contains("UnknownIssuer") || refused.contains("certificate"), "{refused}");
    serve(own.sign("another.test"));
    let refused = joined(options("three", &known)).await.expect_err("it is another host's certificate");
    assert!(refused.contains("certificate"), "{refused}");
}
