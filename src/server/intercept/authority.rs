//! The gate's private authority: a root that clients are told to trust, and certificates under the tracker's own names.
//!
//! The root can vouch for the hosts that it was made for and for nothing else (name constraints, RFC 5280, 4.2.1.10): who
//! steals its key can pretend to be the tracker, and nobody else. Only the root is on disk. The certificates of the hosts
//! are made when the gate starts, live for a short time, and are made anew before they end.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
    PublicKeyData as _, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::model::{Time, hex};

/// A root and its key.
pub struct PrivateAuthority {
    dir: PathBuf,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate of one host, and its key.
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Why there is no authority, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Nobody has made one.
    #[error("there is no private authority in {}: run `claimgate ca` as the gate's user", .0.display())]
    Missing(PathBuf),
    /// Its key is no secret.
    #[error("everybody on this system can read or write {path}: chmod o= {path}", path = .0.display())]
    Exposed(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{} is not in PEM, or of another kind: run `claimgate ca --force`", .0.display())]
    Unreadable(PathBuf),
    /// The root must not vouch for this host.
    #[error(
        "the private authority in {} was not made for {host}: run `claimgate ca --force`, and give the new root to the \
         clients ({why})",
        .dir.display()
    )]
    NotFor {
        /// Where the authority is.
        dir: PathBuf,
        /// The host.
        host: String,
        /// What the check says.
        why: rustls::Error,
    },
    /// The library refuses.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// The root's certificate in an authority's directory.
const ROOT: &str = "root.pem";
/// Its private key.
const KEY: &str = "root.key";
/// How long a root is valid. Whoever trusts it has to be told of a new one by hand.
const ROOT_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);
/// Clocks of clients may be behind by so much.
const BACKDATED: Duration = Duration::from_hours(1);

// === impl PrivateAuthority ===

impl PrivateAuthority {
    /// Makes a root for these hosts. One that is there is kept, unless `replace`; false if it was.
    pub fn create(dir: &Path, hosts: &[&str], now: Time, replace: bool) -> Result<bool, AuthorityError> {
        if dir.join(ROOT).exists() && !replace {
            return Ok(false);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let root = root_params(&key, hosts, now).self_signed(&key)?;
        let wrong = |source| AuthorityError::File { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(wrong)?;
        write_private(&dir.join(KEY), &key.serialize_pem())?;
        write_private(&dir.join(ROOT), &root.pem())?;
        Ok(true)
    }

    /// Reads a root and its key.
    pub fn load(dir: &Path) -> Result<Self, AuthorityError> {
        let (root, key) = (dir.join(ROOT), dir.join(KEY));
        if !root.exists() {
            return Err(AuthorityError::Missing(dir.to_owned()));
        }
        let text = zeroize::Zeroizing::new(read(&key)?);
        let mode = fs::metadata(&key).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o006 != 0) {
            return Err(AuthorityError::Exposed(key));
        }
        let certificate = CertificateDer::from_pem_slice(read(&root)?.as_bytes());
        let certificate = certificate.map_err(|_| AuthorityError::Unreadable(root))?;
        let key = KeyPair::from_pem(&text).map_err(|_| AuthorityError::Unreadable(key))?;
        // What goes into other certificates is the same as when the root was made: its name follows from its key.
        let issuer = Issuer::new(root_params(&key, &[], Time(0)), key);
        Ok(Self { dir: dir.to_owned(), certificate, issuer })
    }

    /// Where the root's certificate is.
    pub fn root(&self) -> PathBuf {
        self.dir.join(ROOT)
    }

    /// SHA-256 of the root's certificate, as other programs show it.
    pub fn fingerprint(&self) -> String {
        let bytes = Sha256::digest(&self.certificate);
        bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// The root's certificate, PEM.
    pub fn pem(&self) -> Result<String, AuthorityError> {
        read(&self.root())
    }

    /// Whether the root may vouch for this host.
    pub fn check(&self, host: &str, now: Time) -> Result<(), AuthorityError> {
        self.leaf(host, now, BACKDATED).map(drop)
    }

    /// A new certificate of this host, which a client that trusts the root accepts.
    pub(super) fn leaf(&self, host: &str, now: Time, lifetime: Duration) -> Result<Leaf, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "claimgate");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now) - BACKDATED;
        params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now) + lifetime;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        self.accepts(&certificate, host, now).map_err(|why| self.not_for(host, why))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Leaf { chain: vec![certificate], key })
    }

    pub(super) fn not_for(&self, host: &str, why: rustls::Error) -> AuthorityError {
        AuthorityError::NotFor { dir: self.dir.clone(), host: host.to_owned(), why }
    }

    /// As a client would check it.
    fn accepts(&self, certificate: &CertificateDer<'_>, host: &str, now: Time) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        let name = ServerName::try_from(host).map_err(|error| rustls::Error::General(error.to_string()))?;
        let now = UnixTime::since_unix_epoch(since_1970(now));
        verifier.verify_server_cert(certificate, &[], &name, &[], now).map(drop)
    }
}

fn root_params(key: &KeyPair, hosts: &[&str], now: Time) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = hex(&Sha256::digest(key.der_bytes())[..4]);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("claimgate private authority {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let any_address = [CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16])];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: hosts.iter().map(|host| GeneralSubtree::DnsName((*host).to_owned())).collect(),
        excluded_subtrees: any_address.into_iter().map(GeneralSubtree::IpAddress).collect(),
    });
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now) - BACKDATED;
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now) + ROOT_LIFETIME;
    params
}

fn since_1970(time: Time) -> Duration {
    Duration::from_micros(u64::try_from(time.0).unwrap_or(0))
}

/// Complete or not at all, and nobody else's to read at any moment.
fn write_private(path: &Path, text: &str) -> Result<(), AuthorityError> {
    let wrong = |source| AuthorityError::File { path: path.to_owned(), source };
    let making = path.with_extension("new");
    let _ = fs::remove_file(&making);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&making).map_err(wrong)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
    fs::set_permissions(&making, Permissions::from_mode(0o600)).map_err(wrong)?;
    fs::rename(&making, path).map_err(wrong)
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000_000_000);

    #[test]
    fn a_root_vouches_for_its_hosts_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("ca");
        assert!(matches!(PrivateAuthority::load(&dir), Err(AuthorityError::Missing(_))));
        assert!(PrivateAuthority::create(&dir, &["api.tracker.test", "tracker.test"], NOW, false).unwrap());
        let authority = PrivateAuthority::load(&dir).unwrap();
        for host in ["api.tracker.test", "tracker.test"] {
            authority.check(host, NOW).unwrap();
        }
        for host in ["other.test", "test", "10.0.0.1", "::1"] {
            let error = authority.check(host, NOW).unwrap_err();
            assert!(matches!(error, AuthorityError::NotFor { .. }), "{host}: {error}");
        }
        for file in [ROOT, KEY] {
            assert_eq!(fs::metadata(dir.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_root_is_kept_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let made = |replace| PrivateAuthority::create(dir.path(), &["a.test"], NOW, replace).unwrap();
        let fingerprint = || PrivateAuthority::load(dir.path()).unwrap().fingerprint();
        assert!(made(false));
        let first = fingerprint();
        assert!(!made(false));
        assert_eq!(fingerprint(), first);
        assert!(made(true));
        assert_ne!(fingerprint(), first);
        assert_eq!(first.len(), 32 * 3 - 1);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        PrivateAuthority::create(dir.path(), &["a.test"], NOW, false).unwrap();
        let key = dir.path().join(KEY);
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(PrivateAuthority::load(dir.path()), Err(AuthorityError::Exposed(_))));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        // A root of one authority and the key of another.
        let other = tempfile::tempdir().unwrap();
        PrivateAuthority::create(other.path(), &["a.test"], NOW, false).unwrap();
        fs::copy(other.path().join(ROOT), dir.path().join(ROOT)).unwrap();
        assert!(PrivateAuthority::load(dir.path()).unwrap().check("a.test", NOW).is_err());
        fs::write(dir.path().join(ROOT), "x").unwrap();
        assert!(matches!(PrivateAuthority::load(dir.path()), Err(AuthorityError::Unreadable(_))));
    }

    /// Its end is never later than said, and clients whose clocks are behind accept it as well.
    #[test]
    fn a_leaf_has_its_time() {
        let dir = tempfile::tempdir().unwrap();
        PrivateAuthority::create(dir.path(), &["a.test"], NOW, false).unwrap();
        let authority = PrivateAuthority::load(dir.path()).unwrap();
        let leaf = authority.leaf("a.test", NOW, Duration::from_hours(24)).unwrap();
        let hours = |count: i64| Time(NOW.0 + count * 3_600_000_000);
        for (now, good) in [(hours(0), true), (hours(23), true), (hours(25), false), (hours(-2), false)] {
            assert_eq!(authority.accepts(&leaf.chain[0], "a.test", now).is_ok(), good, "{now:?}");
        }
        assert!(authority.accepts(&leaf.chain[0], "b.test", NOW).is_err());
    }
}
