//! In whose name the gate writes by itself.

use crate::dialect::Credential;
use crate::model::Instance;

/// In whose name the gate writes.
pub(super) struct Writer {
    pub(super) credential: Credential,
    pub(super) instance: Option<Instance>,
}

impl Writer {
    pub(super) fn service(credential: &Credential) -> Self {
        Self { credential: credential.clone(), instance: None }
    }
}
