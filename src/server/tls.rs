//! The gate's own certificates, replaceable while serving.
//!
//! New connections take what is current; open ones keep what they began with. Files that cannot be used change nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::model::Time;

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
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: pem::Error,
    },
    /// A file holds no PEM of the kind.
    #[error("{path} holds no {what} in PEM")]
    Nothing {
        /// The file.
        path: String,
        /// What it should hold.
        what: &'static str,
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

impl TlsError {
    fn of(path: &Path, what: &'static str, source: pem::Error) -> Self {
        let path = path.display().to_string();
        match source {
            pem::Error::NoItemsFound => Self::Nothing { path, what },
            source => Self::Read { path, source },
        }
    }

    /// The file that is to blame, where one alone is.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Read { path, .. } | Self::Nothing { path, .. } => Some(path),
            Self::Use(_) => None,
        }
    }
}

/// Whether a listener could begin with these files; the same reading as its own.
pub fn check_certificate(files: &TlsFiles) -> Result<(), TlsError> {
    read(files, true).map(drop)
}

/// When the certificate in a file ends: the first in it, which is the listener's own. `None`: that cannot be read.
pub fn certificate_end(path: &Path) -> Option<Time> {
    not_after(read_chain(path).ok()?.first()?)
}

/// `notAfter` of an X.509 certificate (RFC 5280, 4.1). The signed part holds, in this order: `version` (tagged 0),
/// `serialNumber`, `signature`, `issuer`, `validity` (of `notBefore` and `notAfter`), and more.
fn not_after(certificate: &[u8]) -> Option<Time> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // The version may be left out, and then is that of 1988.
    if element(rest)?.0 == 0xa0 {
        rest = element(rest)?.2;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    // UTCTime has two digits of a year, of this century below 50 (RFC 5280, 4.1.2.5.1); GeneralizedTime has four.
    let text = match tag {
        0x17 if text.get(..2)? < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        _ => text.to_owned(),
    };
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Time(at.timestamp().as_microsecond()))
}

/// The first element of DER: its tag, what is in it, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, length, rest) = (*der.first()?, *der.get(1)?, der.get(2..)?);
    let (length, rest) = match length {
        short if short < 0x80 => (usize::from(short), rest),
        long => {
            let (bytes, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((tag, inside, after))
}

fn read(files: &TlsFiles, http2: bool) -> Result<rustls::ServerConfig, TlsError> {
    let chain = read_chain(&files.cert).map_err(|why| TlsError::of(&files.cert, "certificate", why))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|why| TlsError::of(&files.key, "private key", why))?;
    Ok(server_config(chain, key, http2)?)
}

/// What a listener needs that has this certificate.
pub(super) fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    http2: bool,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}

/// At least one.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}

/// What the client begins with, a letter of a method or a TLS record; it stays to be read.
pub(super) async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

/// Says the last words on a connection, and lets the client read them: a socket closed over unread bytes is reset.
pub(super) async fn close_with(mut stream: TcpStream, answer: &[u8]) {
    let closing = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(MOST_PLAIN), &mut tokio::io::sink()).await
    };
    // It is told or not: nothing else is done for it.
    let _ = tokio::time::timeout(WHILE_PLAIN, closing).await;
}

/// Tells a client that speaks plain HTTP what to do.
pub(super) async fn explain_tls(stream: TcpStream) -> io::Error {
    close_with(stream, SPEAK_TLS).await;
    io::Error::new(io::ErrorKind::InvalidData, "a client spoke plain HTTP on a TLS listener, and was told so")
}

const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 84\r\n\
    connection: close\r\n\r\nThis port speaks HTTPS, and the request came over plain HTTP: use https:// instead.\n";
const MOST_PLAIN: u64 = 1 << 20;
const WHILE_PLAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for (year, micros) in [(2031, 1_925_078_400_000_000), (2099, 4_070_995_200_000_000)] {
            let mut params = rcgen::CertificateParams::new(vec!["gate.example".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 2);
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            assert_eq!(not_after(certificate.der()), Some(Time(micros)), "{year}");
            for length in 0..certificate.der().len().min(150) {
                assert_eq!(not_after(&certificate.der()[..length]), None, "cut at {length}");
            }
        }
    }
}
