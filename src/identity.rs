//! Who is behind a credential: asked of the tracker, remembered under a keyed fingerprint.
//!
//! The tracker is asked once a credential (single flight, and about a bounded
//! number at once) and again when it is forgotten. A credential that may not ask (scoped tokens get 403) is an
//! account of its own, named by its fingerprint. The key of the fingerprint
//! lives in the state directory, so that a holding survives a restart; no token
//! is ever kept, logged or compared.

use crate::dialect::{Credential, Dialect, Whoami, WireResponse};
use crate::effect::{BoxFuture, Identify, IdentifyError, Metrics, Upstream};
use crate::model::{Account, Fingerprint, hex};
use hmac::{Hmac, Mac};
use moka::Expiry;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long accounts are remembered, and how many.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// An account that the tracker named.
    pub lifetime: Duration,
    /// A credential that may not ask who it is.
    pub negative_lifetime: Duration,
    /// Credentials at most; beyond that the least used are asked for again.
    pub capacity: u64,
    /// Credentials that the tracker is asked about at once.
    pub concurrency: usize,
}

/// The tracker's accounts, by credential.
pub struct Directory {
    dialect: Arc<dyn Dialect>,
    upstream: Arc<dyn Upstream>,
    metrics: Metrics,
    /// With its key in it.
    mac: Hmac<Sha256>,
    known: Cache<Fingerprint, Account>,
    /// Whose each credential was when that was last asked. Enough to tell who was heard of, never to judge by.
    last: Cache<Fingerprint, Account>,
    asking: Semaphore,
}

/// A whoami that named nobody, shared by all who asked for the same credential at once.
#[derive(Clone)]
enum Failed {
    Refused(Arc<WireResponse>),
    Unreadable(Arc<str>),
}

/// Why the key of a state directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Whoever can read it can find out whose fingerprint is whose.
    #[error("others than its owner may read or write {path} (mode {mode:o}); make it private: chmod 600 {path}")]
    Exposed {
        /// Which file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read, or not be made.
    #[error(transparent)]
    Unusable(#[from] std::io::Error),
}

/// An agent that only reads is told by what its last write found out, for as long as it goes on reading.
const LAST_KNOWN_FOR: Duration = Duration::from_hours(24);
const KEY_FILE: &str = "fingerprint.key";
const KEY_BYTES: usize = 32;
/// How long a credential may wait until the tracker is asked about it.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

// === impl DirectoryLimits ===

impl Expiry<Fingerprint, Account> for DirectoryLimits {
    fn expire_after_create(&self, _: &Fingerprint, account: &Account, _: std::time::Instant) -> Option<Duration> {
        Some(match account {
            Account::Named(_) => self.lifetime,
            Account::Opaque(_) => self.negative_lifetime,
        })
    }
}

// === impl Directory ===

impl Directory {
    /// A directory over this tracker; `key` keys the fingerprints.
    pub fn new(
        dialect: Arc<dyn Dialect>,
        upstream: Arc<dyn Upstream>,
        metrics: Metrics,
        key: &SecretSlice<u8>,
        limits: DirectoryLimits,
    ) -> Self {
        let known = Cache::builder().max_capacity(limits.capacity).expire_after(limits).build();
        let last = Cache::builder().max_capacity(limits.capacity).time_to_idle(LAST_KNOWN_FOR).build();
        let asking = Semaphore::new(limits.concurrency.min(Semaphore::MAX_PERMITS));
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(key.expose_secret()).expect("HMAC takes any key");
        Self { dialect, upstream, metrics, mac, known, last, asking }
    }

    async fn ask(&self, credential: &Credential, print: &Fingerprint) -> Result<Account, Failed> {
        // Whoever sends tokens that nobody knows does not get the tracker to itself.
        let turn = tokio::time::timeout(LONGEST_WAIT, self.asking.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Failed::Unreadable("too many unknown credentials at once".into()));
        };
        let started = tokio::time::Instant::now();
        let answer = self.upstream.read(self.dialect.whoami(credential)).await;
        self.metrics.upstream_took("whoami", started.elapsed());
        let (response, _) = answer.map_err(|error| Failed::Unreadable(error.to_string().into()))?;
        let account = match self.dialect.account(&response) {
            Whoami::Account(login) => Account::Named(login),
            Whoami::Forbidden => Account::Opaque(print.clone()),
            Whoami::Refused => return Err(Failed::Refused(Arc::new(response))),
            Whoami::Unreadable(why) => return Err(Failed::Unreadable(why.into())),
        };
        self.last.insert(print.clone(), account.clone()).await;
        Ok(account)
    }
}

impl Identify for Directory {
    fn fingerprint(&self, credential: &Credential) -> Fingerprint {
        let mut mac = self.mac.clone();
        mac.update(&credential.material());
        Fingerprint::new(&hex(&mac.finalize().into_bytes()[..16]))
    }

    fn account<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<Account, IdentifyError>> {
        Box::pin(async move {
            let print = self.fingerprint(credential);
            let known = self.known.try_get_with_by_ref(&print, self.ask(credential, &print)).await;
            known.map_err(|failed| match Failed::clone(&failed) {
                Failed::Refused(response) => IdentifyError::Refused(Box::new(WireResponse::clone(&response))),
                Failed::Unreadable(why) => IdentifyError::Unreadable(why.to_string()),
            })
        })
    }

    fn known(&self, print: &Fingerprint) -> Option<Account> {
        let now =
            |cache: &Cache<Fingerprint, Account>| futures_util::FutureExt::now_or_never(cache.get(print)).flatten();
        now(&self.known).or_else(|| now(&self.last))
    }

    fn forget(&self, print: &Fingerprint) {
        for cache in [&self.known, &self.last] {
            futures_util::FutureExt::now_or_never(cache.invalidate(print)).unwrap_or_default();
        }
    }
}

/// The key of this state directory, made at the first start; mode 0600.
pub fn fingerprint_key(dir: &Path) -> Result<SecretSlice<u8>, KeyError> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(KEY_FILE);
    let mut key = Vec::with_capacity(KEY_BYTES);
    match std::fs::File::open(&path) {
        Ok(mut file) => {
            let mode = file.metadata()?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(KeyError::Exposed { path: path.display().to_string(), mode });
            }
            file.read_to_end(&mut key)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            key.extend(random_key()?);
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&key)?;
            file.sync_all()?;
        }
        Err(error) => return Err(error.into()),
    }
    if key.len() != KEY_BYTES {
        let text = format!("{} is not {KEY_BYTES} bytes long; remove it to have a new one made", path.display());
        return Err(std::io::Error::other(text).into());
    }
    Ok(SecretSlice::from(key))
}

/// A key that lives as long as the process: where the state directory cannot be written, and for `demo`.
pub fn random_key() -> std::io::Result<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}
