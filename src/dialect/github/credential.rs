//! Who sends a request, as GitHub would see it (manual: github, section 5): `Authorization`, and nothing else.

use super::super::{Credential, Head, ParseError};
use http::header::{AUTHORIZATION, HeaderName};

/// The credential of this request.
pub fn read(head: &Head<'_>) -> Result<Credential, ParseError> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let mut credential = Credential::default();
    match (values.next(), values.next()) {
        (None, _) => {}
        (Some(value), None) => credential.add(AUTHORIZATION, value.as_bytes().to_vec()),
        (Some(_), Some(_)) => {
            return Err(ParseError::Ambiguous("`Authorization` is given twice: send one".to_owned()));
        }
    }
    Ok(credential)
}

/// Whether [`read`] may look at this header.
pub fn may_identify(header: &HeaderName) -> bool {
    header == AUTHORIZATION
}
