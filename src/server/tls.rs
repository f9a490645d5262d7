//! The gate's own certificates, replaceable while serving.
//!
//! New connections take what is current; open ones keep what they began with. Files that cannot be used change nothing.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Where certificate chain and key are, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// Chain and key do not fit, or rustls does not take them.
    #[error("cannot use the certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// The certificates of one listener.
pub struct Certificates {
    files: TlsFiles,
    http2: bool,
    current: ArcSwap<rustls::ServerConfig>,
}

impl Certificates {
    /// Reads the files. HTTP/2 is offered by ALPN if `http2`.
    pub fn load(files: TlsFiles, http2: bool) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read(&files, http2)?);
        Ok(Arc::new(Self { files, http2, current }))
    }

    /// Reads the files again; if they are bad the old certificate stays and the log says so.
    pub fn reload(&self) -> Result<(), TlsError> {
        let cert = self.files.cert.display();
        match read(&self.files, self.http2) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(%cert, "certificate reloaded");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%cert, %error, "certificate not reloaded, the old one stays");
                Err(error)
            }
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificates({:?})", self.files)
    }
}

fn read(files: &TlsFiles, http2: bool) -> Result<rustls::ServerConfig, TlsError> {
    let path = files.cert.display();
    let wrong = |source| TlsError::Read { path: path.to_string(), source };
    let chain =
        CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(wrong)?;
    let path = files.key.display();
    let wrong = |source| TlsError::Read { path: path.to_string(), source };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(wrong)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}
