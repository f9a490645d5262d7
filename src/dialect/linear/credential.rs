//! Who sends a request, as Linear would see it: by `Authorization`, and by nothing else (manual: linear).
//!
//! A personal key stands there bare, and an OAuth token after `Bearer`; Linear refuses each in the other's form, so that the
//! two are never one.

use super::super::{Credential, Head, ParseError};
use http::header::AUTHORIZATION;

/// The credential of this request.
pub fn read(head: &Head<'_>) -> Result<Credential, ParseError> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let mut credential = Credential::default();
    match (values.next(), values.next()) {
        (_, Some(_)) => {
            return Err(ParseError::Ambiguous("the header Authorization stands twice; send it once".to_owned()));
        }
        (Some(value), None) if !value.is_empty() => credential.add(AUTHORIZATION, value.as_bytes().to_vec()),
        _ => {}
    }
    Ok(credential)
}

/// The gate's own account, by a key or a token.
pub fn service(token: &str) -> Credential {
    let mut credential = Credential::default();
    let is_key = token.starts_with("lin_api_");
    let value = if is_key { token.to_owned() } else { format!("Bearer {token}") };
    credential.add(AUTHORIZATION, value.into_bytes());
    credential
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::{HeaderMap, Method};

    #[test]
    fn a_key_and_a_token_are_each_sent_in_its_form() {
        let sent = |credential: &Credential| {
            let mut headers = HeaderMap::new();
            credential.apply(&mut headers);
            headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(sent(&service("lin_api_x")).as_deref(), Some("lin_api_x"));
        assert_eq!(sent(&service("lin_oauth_x")).as_deref(), Some("Bearer lin_oauth_x"));
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            read(&Head { method: &Method::POST, target: &Target::parse("/graphql"), headers: &headers })
        };
        let bare = read(&["lin_api_hush"]).unwrap();
        assert_eq!(sent(&bare).as_deref(), Some("lin_api_hush"));
        assert_eq!(format!("{bare:?}"), "Credential(authorization)");
        assert_ne!(bare.material(), read(&["Bearer lin_api_other"]).unwrap().material());
        assert!(read(&[]).unwrap().is_anonymous());
        assert!(read(&["a", "b"]).is_err());
    }
}
