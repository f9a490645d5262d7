//! Who is behind a credential: asked of the tracker, remembered under a keyed fingerprint.
//!
//! The tracker is asked once a credential (single flight, and about a bounded
//! number at once) and again when it is forgotten. A credential that may not ask (scoped tokens get 403) is an
//! account of its own, named by its fingerprint; one that is signed anew every few minutes (a JWT), by that of the subject
//! whom it is for. The key of the fingerprint
//! lives in the state directory, so that a holding survives a restart; no token
//! is ever kept, logged or compared.

use crate::dialect::{Credential, Dialect, Whoami, WireResponse};
use crate::effect::{BoxFuture, FingerprintKey, Identify, IdentifyError, Metrics, Upstream};
use crate::model::{Fingerprint, Principal};
use moka::Expiry;
use moka::future::Cache;
use secrecy::SecretSlice;
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
    key: FingerprintKey,
    known: Cache<Fingerprint, Principal>,
    /// Whose each credential was when that was last asked. Enough to tell who was heard of, never to judge by.
    last: Cache<Fingerprint, Principal>,
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
/// The file of the key in the state directory.
pub const KEY_FILE: &str = "fingerprint.key";
const KEY_BYTES: usize = 32;
/// How long a credential may wait until the tracker is asked about it.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

// === impl DirectoryLimits ===

impl Expiry<Fingerprint, Principal> for DirectoryLimits {
    fn expire_after_create(&self, _: &Fingerprint, account: &Principal, _: std::time::Instant) -> Option<Duration> {
        Some(match account {
            Principal::Named(_) => self.lifetime,
            Principal::Opaque(_) => self.negative_lifetime,
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
        key: FingerprintKey,
        limits: DirectoryLimits,
    ) -> Self {
        let known = Cache::builder().max_capacity(limits.capacity).expire_after(limits).build();
        let last = Cache::builder().max_capacity(limits.capacity).time_to_idle(LAST_KNOWN_FOR).build();
        let asking = Semaphore::new(limits.concurrency.min(Semaphore::MAX_PERMITS));
        Self { dialect, upstream, metrics, key, known, last, asking }
    }

    async fn ask(&self, credential: &Credential, print: &Fingerprint) -> Result<Principal, Failed> {
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
            Whoami::Account(login) => Principal::Named(login),
            Whoami::Forbidden => Principal::Opaque(print.clone()),
            // Only now: before the tracker has checked a signature, claims are anybody's.
            Whoami::OutOfScope => Principal::Opaque(
                credential.subject().map_or_else(|| print.clone(), |subject| self.key.print(&subject)),
            ),
            Whoami::Refused => return Err(Failed::Refused(Arc::new(response))),
            Whoami::Unreadable(why) => return Err(Failed::Unreadable(why.into())),
        };
        self.last.insert(print.clone(), account.clone()).await;
        Ok(account)
    }
}

impl Identify for Directory {
    fn fingerprint(&self, credential: &Credential) -> Fingerprint {
        self.key.print(&credential.material())
    }

    fn account<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<Principal, IdentifyError>> {
        Box::pin(async move {
            let print = self.fingerprint(credential);
            let known = self.known.try_get_with_by_ref(&print, self.ask(credential, &print)).await;
            known.map_err(|failed| match Failed::clone(&failed) {
                Failed::Refused(response) => IdentifyError::Refused(Box::new(WireResponse::clone(&response))),
                Failed::Unreadable(why) => IdentifyError::Unreadable(why.to_string()),
            })
        })
    }

    fn known(&self, print: &Fingerprint) -> Option<Principal> {
        let now =
            |cache: &Cache<Fingerprint, Principal>| futures_util::FutureExt::now_or_never(cache.get(print)).flatten();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Head, Target, WireRequest};
    use crate::effect::{CallError, Carrier, Sending};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use http::{HeaderMap, Method, StatusCode};

    const NO_SCOPE: &str = "token does not have at least one of required scope(s): [read:user]";

    /// A tracker that answers each whoami with this status and message.
    struct Says(u16, &'static str);

    impl Upstream for Says {
        fn read(&self, _: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
            let headers = [("content-type", "application/json")];
            let headers: HeaderMap =
                headers.map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).into_iter().collect();
            let body = serde_json::json!({ "message": self.1 }).to_string().into();
            let status = StatusCode::from_u16(self.0).unwrap();
            Box::pin(async move { Ok((WireResponse { status, headers, body }, None)) })
        }

        fn send<'a>(
            &'a self,
            _: Sending,
            _: WireRequest,
            _: Option<Carrier>,
            _: &'a (dyn Fn() -> bool + Send + Sync),
        ) -> BoxFuture<'a, Result<WireResponse, CallError>> {
            unreachable!("who somebody is, is read")
        }
    }

    fn directory(says: Says) -> Directory {
        let dialect = crate::dialect::by_name("forgejo").unwrap();
        let second = Duration::from_secs(1);
        let limits = DirectoryLimits { lifetime: second, negative_lifetime: second, capacity: 100, concurrency: 4 };
        Directory::new(dialect, Arc::new(says), Metrics::default(), FingerprintKey::new(&vec![7; 32].into()), limits)
    }

    fn credential(lines: &[(&'static str, &str)]) -> Credential {
        let headers: HeaderMap = lines.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        let target = Target::parse("/api/v1/user");
        let head = Head { method: &Method::GET, target: &target, headers: &headers };
        crate::dialect::by_name("forgejo").unwrap().credential(&head, b"").unwrap()
    }

    fn bearer(claims: &str) -> String {
        format!("Bearer eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmVk", URL_SAFE_NO_PAD.encode(claims))
    }

    /// Whether these values of `Authorization` are one agent, where the tracker answers so.
    async fn are_one(says: Says, one: &str, other: &str) -> bool {
        let directory = directory(says);
        let account =
            async |value: &str| directory.account(&credential(&[("authorization", value)])).await.ok().unwrap();
        account(one).await == account(other).await
    }

    #[tokio::test]
    async fn jwts_of_one_subject_are_one_agent() {
        let first = bearer(r#"{"iss":"i","sub":"s","aud":["a","b"],"jti":"1"}"#);
        for same in [
            r#"{"iss":"i","sub":"s","aud":["a","b"],"jti":"2"}"#,
            r#"{"exp":9,"aud":["b","a"],"sub":"s","iss":"i","x":{"sub":"t"}}"#,
        ] {
            assert!(are_one(Says(403, NO_SCOPE), &first, &bearer(same)).await, "{same}");
        }
        let [text, list] = [r#"{"iss":"i","sub":"s","aud":"a"}"#, r#"{"iss":"i","sub":"s","aud":["a"]}"#].map(bearer);
        assert!(are_one(Says(403, NO_SCOPE), &text, &list).await);
        for other in [
            r#"{"iss":"j","sub":"s","aud":["a","b"]}"#,
            r#"{"iss":"i","sub":"t","aud":["a","b"]}"#,
            r#"{"iss":"i","sub":"s","aud":["a"]}"#,
            r#"{"iss":"i","sub":"s","aud":"ab"}"#,
            r#"{"iss":"is","sub":"","aud":["a","b"]}"#,
        ] {
            assert!(!are_one(Says(403, NO_SCOPE), &first, &bearer(other)).await, "{other}");
        }
    }

    /// The forge's own OAuth signs a new token at each refresh, and names the grant alone.
    #[tokio::test]
    async fn jwts_of_one_grant_are_one_agent() {
        let first = bearer(r#"{"gnt":7,"tt":0,"exp":1,"iat":1}"#);
        assert!(are_one(Says(403, NO_SCOPE), &first, &bearer(r#"{"gnt":7,"tt":0,"exp":2,"iat":2}"#)).await);
        for other in [
            r#"{"gnt":8,"tt":0,"exp":1,"iat":1}"#,
            r#"{"gnt":7,"tt":0,"iss":"i","sub":"s","aud":"a"}"#,
            r#"{"gnt":7,"tt":0,"iss":""}"#,
        ] {
            assert!(!are_one(Says(403, NO_SCOPE), &first, &bearer(other)).await, "{other}");
        }
        assert!(!are_one(Says(403, "Forbidden"), &first, &bearer(r#"{"gnt":7,"tt":0,"exp":2}"#)).await);
    }

    /// What names no subject, or two of them to two readers, is an agent by itself.
    #[tokio::test]
    async fn claims_that_can_be_read_in_two_ways_name_nobody() {
        for claims in [
            r#"{"iss":"i","sub":"s"}"#,
            r#"{"iss":"i","sub":"s","aud":[]}"#,
            r#"{"iss":"i","sub":"s","aud":[1]}"#,
            r#"{"iss":"i","sub":1,"aud":"a"}"#,
            r#"{"iss":"","sub":"s","aud":"a"}"#,
            r#"{"iss":"evil","iss":"i","sub":"s","aud":"a"}"#,
            r#"{"ISS":"evil","iss":"i","sub":"s","aud":"a"}"#,
            r#"{"iss":"i","sub":"s","aud":"a","iſs":"evil"}"#,
            r#"{"iss":"i","sub":"s","\u0073ub":"t","aud":"a"}"#,
            r#"{"gnt":7,"tt":1}"#,
            r#"{"gnt":7}"#,
            r#"{"gnt":0,"tt":0}"#,
            r#"{"gnt":"7","tt":0}"#,
            r#"{"gnt":7.5,"tt":0}"#,
            r#"{"gnt":7,"gnt":8,"tt":0}"#,
            r#"{"gnt":7,"GNT":8,"tt":0}"#,
            r#"{"gnt":7,"tt":0,"iss":null}"#,
            r#"{"gnt":7,"tt":0,"Iss":"evil"}"#,
            r#"["iss","sub","aud"]"#,
            "no JSON",
        ] {
            let [one, other] = ["c2lnbmVk", "YW5vdGhlcg"].map(|end| bearer(claims).replace("c2lnbmVk", end));
            assert!(!are_one(Says(403, NO_SCOPE), &one, &other).await, "{claims}");
            assert!(are_one(Says(403, NO_SCOPE), &one, &one).await, "{claims}");
        }
    }

    /// A tracker that takes an unknown token for a stranger, and lets no stranger in, proves nothing by its 403.
    #[tokio::test]
    async fn claims_count_only_where_the_tracker_knows_the_token() {
        let [one, other] = ["1", "2"].map(|id| bearer(&format!(r#"{{"iss":"i","sub":"s","aud":"a","jti":"{id}"}}"#)));
        for says in ["Only signed in user is allowed to call APIs.", "Forbidden", ""] {
            assert!(!are_one(Says(403, says), &one, &other).await, "{says}");
        }
        assert!(are_one(Says(403, "token does not have required scope: read:user"), &one, &other).await);
        let refused = directory(Says(401, "invalid token"));
        assert!(refused.account(&credential(&[("authorization", &one)])).await.is_err());
    }

    #[tokio::test]
    async fn whoever_acts_as_another_is_no_subject() {
        let directory = directory(Says(403, NO_SCOPE));
        let token = bearer(r#"{"iss":"i","sub":"s","aud":"a"}"#);
        let account = async |lines: &[(&'static str, &str)]| directory.account(&credential(lines)).await.ok().unwrap();
        let plain = account(&[("authorization", &token)]).await;
        assert_ne!(plain, account(&[("authorization", &token), ("sudo", "bob")]).await);
        let Principal::Opaque(print) = plain else { panic!("{plain:?}") };
        assert_ne!(
            print,
            directory.fingerprint(&credential(&[("authorization", &token)])),
            "the token's own is another"
        );
    }
}
