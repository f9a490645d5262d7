//! Who is behind a credential.

use super::BoxFuture;
use crate::dialect::{Credential, WireResponse};
use crate::model::{Fingerprint, Principal};

/// Why an account could not be had.
pub enum IdentifyError {
    /// The tracker refuses the credential; its own answer goes back.
    Refused(Box<WireResponse>),
    /// The tracker could not be asked.
    Unreadable(String),
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
