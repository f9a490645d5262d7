//! Who is behind a credential, and what it is known by.

use super::BoxFuture;
use crate::dialect::{Credential, WireResponse};
use crate::model::{Fingerprint, Principal, hex};
use arc_swap::ArcSwap;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::Sha256;
use std::sync::Arc;

/// Why an account could not be had.
pub enum IdentifyError {
    /// The tracker refuses the credential; its own answer goes back.
    Refused(Box<WireResponse>),
    /// The tracker could not be asked.
    Unreadable(String),
}

/// The key of credentials' fingerprints. A gate that waits for a ledger which it shares learns the key when it joins.
#[derive(Clone)]
pub struct FingerprintKey(Arc<ArcSwap<Hmac<Sha256>>>);

// === impl FingerprintKey ===

impl FingerprintKey {
    /// This key.
    pub fn new(key: &SecretSlice<u8>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(mac(key))))
    }

    /// Another one from now on, for all clones.
    pub fn replace(&self, key: &SecretSlice<u8>) {
        self.0.store(Arc::new(mac(key)));
    }

    /// What these bytes are known by.
    pub fn print(&self, bytes: &[u8]) -> Fingerprint {
        let mut mac = Hmac::clone(&self.0.load());
        mac.update(bytes);
        Fingerprint::new(&hex(&mac.finalize().into_bytes()[..16]))
    }
}

/// With the key in it.
fn mac(key: &SecretSlice<u8>) -> Hmac<Sha256> {
    <Hmac<Sha256> as hmac::Mac>::new_from_slice(key.expose_secret()).expect("HMAC takes any key")
}

/// Finds the account that the tracker sees behind a credential.
pub trait Identify: Send + Sync + 'static {
    /// The credential's keyed fingerprint.
    fn fingerprint(&self, credential: &Credential) -> Fingerprint;
    /// The account, asked of the tracker once and remembered for a while.
    fn account<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<Principal, IdentifyError>>;
    /// The account if it is known, or was when it was last asked for; asks nobody.
    fn known(&self, fingerprint: &Fingerprint) -> Option<Principal>;
    /// The tracker answered 401: ask again next time.
    fn forget(&self, fingerprint: &Fingerprint);
}
