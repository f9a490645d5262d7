//! Is the head of a request one that has a single reading? What is not, goes no further.
//!
//! hyper has done the syntax (RFC 9112); these are the rules between fields, and those that hyper leaves to the service.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Version};

use super::fault::Fault;
use super::headers::{masquerades, same_host};

/// Refuses a head that two readers could understand differently.
pub fn check(head: &Parts) -> Result<(), Fault> {
    target(head)?;
    host(head)?;
    framing(&head.headers)?;
    names(&head.headers)?;
    hops(&head.headers)?;
    expectation(&head.headers)
}

/// Whether at least the host is one that has a single reading.
pub fn names_one_host(head: &Parts) -> bool {
    host(head).is_ok()
}

fn target(head: &Parts) -> Result<(), Fault> {
    if head.method == Method::CONNECT {
        return Err(Fault::Method);
    }
    match head.uri.path() {
        "*" if head.method == Method::OPTIONS => Ok(()),
        path if path.starts_with('/') => Ok(()),
        _ => Err(Fault::BadRequest("the target must be a path")),
    }
}

fn host(head: &Parts) -> Result<(), Fault> {
    let host = match only(&head.headers, &header::HOST, "more than one Host")? {
        Some(host) => Some(plain_authority(host.as_bytes())?),
        None => None,
    };
    let Some(target) = head.uri.authority() else {
        let needed = head.version >= Version::HTTP_11;
        return if host.is_none() && needed { Err(Fault::BadRequest("no Host")) } else { Ok(()) };
    };
    let target = plain_authority(target.as_str().as_bytes())?;
    let scheme = head.uri.scheme_str().unwrap_or("http");
    if host.is_some_and(|host| !same_host(host, target, scheme)) {
        return Err(Fault::BadRequest("Host and target differ: name the same host in both"));
    }
    Ok(())
}

fn plain_authority(bytes: &[u8]) -> Result<&str, Fault> {
    let wrong = || Fault::BadRequest("malformed Host: send a name or an address, and perhaps its port");
    // A host by name or address. The other characters of a reg-name are in no name, and a comma is what two hosts become
    // where somebody joins them.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(byte);
    // A port may be left out, colon and all (RFC 3986, 3.2.3).
    let text = std::str::from_utf8(bytes.strip_suffix(b":").unwrap_or(bytes)).map_err(|_| wrong())?;
    if is_name_and_port(text) {
        return Ok(text);
    }
    if bytes.is_empty() || !bytes.iter().all(plain) {
        return Err(wrong());
    }
    let authority = Authority::try_from(text).map_err(|_| wrong())?;
    let good_port = text.ends_with(authority.host()) || authority.port_u16().is_some();
    if authority.host().is_empty() || !good_port { Err(wrong()) } else { Ok(text) }
}

/// What nearly every client sends: a name or an IPv4 address, and a port. Of all else a library says whether it is good.
fn is_name_and_port(text: &str) -> bool {
    let name = text.bytes().take_while(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.')).count();
    let port = match text.as_bytes().get(name) {
        Some(b':') => &text[name + 1..],
        Some(_) => return false,
        None => "80",
    };
    let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|it| it.is_ascii_digit());
    name > 0 && is_number && (port.len() < 5 || port <= "65535")
}

/// hyper takes `gzip, chunked` and the like; whoever reads that differently would see another end of the body.
fn framing(headers: &HeaderMap) -> Result<(), Fault> {
    match only(headers, &header::TRANSFER_ENCODING, "more than one Transfer-Encoding")? {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Err(Fault::BadRequest("a Transfer-Encoding other than chunked"))
        }
        _ => Ok(()),
    }
}

fn names(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.keys().find(|name| masquerades(name.as_str())) {
        Some(_) => Err(Fault::BadRequest("a header with `_` for `-` in the name of another")),
        None => Ok(()),
    }
}

/// A request that came through so many gates goes in a circle (RFC 9110, 7.6.3).
fn hops(headers: &HeaderMap) -> Result<(), Fault> {
    let values = headers.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    let hops = values.flat_map(|value| value.split(',')).filter_map(|hop| hop.split_whitespace().nth(1));
    if hops.filter(|by| *by == OWN_NAME).count() > MOST_GATES { Err(Fault::Loop) } else { Ok(()) }
}

fn expectation(headers: &HeaderMap) -> Result<(), Fault> {
    let known = |it: &HeaderValue| it.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(header::EXPECT).iter().all(known) { Ok(()) } else { Err(Fault::Expectation) }
}

/// The one field of that name.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName, why: &'static str) -> Result<Option<&'a HeaderValue>, Fault> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (_, Some(_)) => Err(Fault::BadRequest(why)),
        (one, None) => Ok(one),
    }
}

/// How the gate calls itself in `Via`.
const OWN_NAME: &str = "claimgate";
/// Nobody has a good reason for more gates one behind the other.
const MOST_GATES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[track_caller]
    fn check_head(method: &str, target: &str, headers: &[(&str, &str)], status: u16) {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let got = check(&head).map_or_else(|fault| fault.status().as_u16(), |()| 200);
        assert_eq!(got, status, "{method} {target} {headers:?}");
    }

    /// What is taken without the library is what the library takes.
    #[test]
    fn names_and_ports() {
        for text in ["gate", "gate:8480", "10.0.0.1:80", "a:65535", "a:00080", "a.:1", "-", "a-b.c", ".", "a:0"] {
            assert!(is_name_and_port(text), "{text}");
            let authority = Authority::try_from(text).unwrap();
            assert!(text.ends_with(authority.host()) || authority.port_u16().is_some(), "{text}");
        }
        for text in ["", ":80", "a:b", "a:99999", "a:65536", "a:", "a:1:2", "[::1]", "a_b", "a%20", "u@a"] {
            assert!(!is_name_and_port(text), "{text}");
        }
    }

    #[test]
    fn heads() {
        let host = ("host", "a:1");
        check_head("GET", "/x", &[host], 200);
        check_head("GET", "/x", &[], 400);
        check_head("GET", "/x", &[host, host], 400);
        check_head("GET", "/x", &[("host", "a@b")], 400);
        check_head("GET", "/x", &[("host", "a/c?d")], 400);
        check_head("GET", "/x", &[("host", "")], 400);
        check_head("GET", "/x", &[("host", "a,b")], 400);
        check_head("GET", "/x", &[("host", "[::1]:80")], 200);
        for odd in ["a:", "a.", "A:80", "forge_1", "[2001:DB8::1]", "[::ffff:10.0.0.1]:8480", "10.0.0.1:08480"] {
            check_head("GET", "/x", &[("host", odd)], 200);
        }
        check_head("GET", "/x", &[("host", ":80")], 400);
        check_head("GET", "/x", &[("host", "a:b")], 400);
        check_head("GET", "http://a/x", &[("host", "A.:80")], 200);
        check_head("GET", "http://a:80/x", &[("host", "a")], 200);
        check_head("GET", "https://a:443/x", &[("host", "a:")], 200);
        check_head("GET", "https://a:80/x", &[("host", "a")], 400);
        check_head("GET", "/x", &[("host", "a:99999")], 400);
        check_head("GET", "http://A:1/x", &[host], 200);
        check_head("GET", "http://b:1/x", &[host], 400);
        check_head("GET", "http://u@a:1/x", &[host], 400);
        check_head("OPTIONS", "*", &[host], 200);
        check_head("GET", "*", &[host], 400);
        check_head("CONNECT", "a:1", &[host], 405);
        check_head("GET", "/x", &[host, ("authorization", "a"), ("authorization", "b")], 200);
        check_head("POST", "/x", &[host, ("transfer-encoding", "gzip, chunked")], 400);
        check_head("POST", "/x", &[host, ("transfer-encoding", "Chunked")], 200);
        check_head("GET", "/x", &[host, ("x_webauth_user", "root")], 400);
        check_head("GET", "/x", &[host, ("x-forwarded_user", "root")], 400);
        check_head("POST", "/x", &[host, ("transfer_encoding", "chunked")], 400);
        check_head("POST", "/x", &[host, ("content_length", "1")], 400);
        check_head("GET", "/x", &[host, ("my_header", "1")], 200);
        let gate = ("via", "1.1 claimgate");
        check_head("GET", "/x", &[host, gate, gate, ("via", "1.0 fred, 1.1 claimgate (x)")], 200);
        check_head("GET", "/x", &[host, gate, gate, ("via", "1.0 fred, 1.1 claimgate, 2 claimgate")], 508);
        check_head("POST", "/x", &[host, ("expect", "100-Continue")], 200);
        check_head("POST", "/x", &[host, ("expect", "a-miracle")], 417);
    }
}
