//! Reads of the gate's own.

use super::super::{Credential, WireRequest};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderValue, Method};

pub fn get(target: String, credential: &Credential) -> WireRequest {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    credential.apply(&mut headers);
    WireRequest { method: Method::GET, target, headers, body: Bytes::new() }
}
