//! CONNECT (RFC 9110, 9.3.6): how a client that has the gate for its `HTTPS_PROXY` says whom it wants.
//!
//! The head is read byte for byte to its end and no further: what follows belongs to TLS. A head that can be read in two
//! ways is refused, and so are bytes that come before the answer, which nobody can tell from a second request.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxy::proxy_user;

/// Whom a client wants, and as which agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connect {
    /// A name or an address, in small letters, without brackets and without a dot at the end.
    pub(super) host: String,
    pub(super) port: u16,
    /// The user in `Proxy-Authorization`.
    pub(super) instance: Option<String>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: &'static str,
    pub(super) text: String,
}

/// Reads a CONNECT whose head has so many bytes at most.
pub(super) async fn read(stream: &mut TcpStream, most: usize) -> io::Result<Result<Connect, Refused>> {
    let mut head = Vec::new();
    loop {
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            if end + 4 < head.len() {
                return Ok(Err(Refused::bad("bytes came after the head of a CONNECT, before its answer")));
            }
            return Ok(parse(&head));
        }
        if head.len() >= most {
            return Ok(Err(Refused {
                status: "431 Request Header Fields Too Large",
                text: "the head is too long".into(),
            }));
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whom a whole head wants, and as which agent; or the status and the text of the refusal. For those who test the reader from
/// outside.
#[doc(hidden)]
pub fn read_connect(head: &[u8]) -> Result<(String, u16, Option<String>), (String, String)> {
    match parse(head) {
        Ok(Connect { host, port, instance }) => Ok((host, port, instance)),
        Err(Refused { status, text }) => Err((status.to_owned(), text)),
    }
}

/// Tells the client that it may begin with TLS.
pub(super) async fn accept(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await
}

/// Understands a head that is whole.
fn parse(head: &[u8]) -> Result<Connect, Refused> {
    let is_bare = |at: &usize| head[*at] == b'\n' && (*at == 0 || head[at - 1] != b'\r');
    if (0..head.len()).any(|at| is_bare(&at)) {
        return Err(Refused::bad("a line of the head ends in LF without CR"));
    }
    let mut room = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut room);
    if !matches!(request.parse(head), Ok(httparse::Status::Complete(_))) {
        return Err(Refused::bad("malformed head"));
    }
    if request.method != Some("CONNECT") {
        return Err(Refused { status: "405 Method Not Allowed", text: "this method is not supported".into() });
    }
    let target = request.path.unwrap_or_default();
    let (host, port) = authority(target).ok_or_else(|| Refused::bad("the target of a CONNECT is host:port alone"))?;
    let (mut instance, mut hosts, mut credentials) = (None, 0, 0);
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value).map_or("\u{fffd}", str::trim);
        match header.name.to_ascii_lowercase().as_str() {
            "host" => {
                hosts += 1;
                let named = authority(value).or_else(|| Some((authority(&format!("{value}:443"))?.0, port)));
                if named.as_ref() != Some(&(host.clone(), port)) {
                    return Err(Refused::bad("Host and the target of the CONNECT differ"));
                }
            }
            "transfer-encoding" => return Err(Refused::bad("a CONNECT has no body")),
            "content-length" if value != "0" => return Err(Refused::bad("a CONNECT has no body")),
            "proxy-authorization" => {
                credentials += 1;
                instance = proxy_user(value).map_err(Refused::bad)?;
            }
            _ => {}
        }
    }
    if hosts > 1 || credentials > 1 || (hosts == 0 && request.version == Some(1)) {
        return Err(Refused::bad("a CONNECT has one Host, and one Proxy-Authorization at most"));
    }
    Ok(Connect { host, port, instance })
}

/// `host:port`, and nothing else.
fn authority(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let name = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None if host.bytes().all(plain) => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
        None => return None,
    };
    (!name.is_empty() && port > 0).then_some((name, port))
}

// === impl Refused ===

impl Refused {
    fn bad(text: &str) -> Self {
        Self { status: "400 Bad Request", text: text.to_owned() }
    }

    pub(super) fn forbidden(text: String) -> Self {
        Self { status: "403 Forbidden", text }
    }

    /// The answer, after which the connection closes.
    pub(super) fn answer(&self) -> String {
        let text = format!("claimgate: {}\n", self.text);
        format!(
            "HTTP/1.1 {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            self.status,
            text.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(target: &str, headers: &str) -> Result<Connect, Refused> {
        parse(format!("CONNECT {target} HTTP/1.1\r\n{headers}\r\n").as_bytes())
    }

    #[test]
    fn plain_ones_are_understood() {
        for (target, headers, host, port, instance) in [
            ("api.test:443", "Host: api.test:443\r\n", "api.test", 443, None),
            ("API.Test.:443", "Host: api.test\r\nContent-Length: 0\r\n", "api.test", 443, None),
            ("[::1]:443", "Host: [::1]:443\r\n", "::1", 443, None),
            ("10.0.0.1:8443", "Host: 10.0.0.1:8443\r\n", "10.0.0.1", 8443, None),
            // worker-7:x, and :x
            ("a:443", "Host: a\r\nProxy-Authorization: Basic d29ya2VyLTc6eA==\r\n", "a", 443, Some("worker-7")),
            ("a:443", "Host: a\r\nProxy-Authorization: basic Ong=\r\n", "a", 443, None),
        ] {
            let wanted = Connect { host: host.into(), port, instance: instance.map(Into::into) };
            assert_eq!(ask(target, headers), Ok(wanted), "{target} {headers}");
        }
        assert!(parse(b"CONNECT a:443 HTTP/1.0\r\n\r\n").is_ok(), "HTTP/1.0 has no Host");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let host = "Host: a:443\r\n";
        for (target, headers) in [
            ("a", "Host: a\r\n"),
            ("a:0", "Host: a:0\r\n"),
            ("a:99999", "Host: a:99999\r\n"),
            ("a:+443", host),
            ("user@a:443", host),
            ("user:secret@a:443", host),
            ("https://a:443", host),
            ("a:443/x", host),
            ("/x", host),
            ("*", host),
            (":443", "Host: :443\r\n"),
            ("[a]:443", "Host: [a]:443\r\n"),
            ("a,b:443", "Host: a,b:443\r\n"),
            ("a%2e:443", "Host: a%2e:443\r\n"),
            ("a:443", ""),
            ("a:443", "Host: b:443\r\n"),
            ("a:443", "Host: a:444\r\n"),
            ("a:443", "Host: a\r\nHost: a\r\n"),
            ("a:443", "Host: a\r\nContent-Length: 5\r\n"),
            ("a:443", "Host: a\r\nTransfer-Encoding: chunked\r\n"),
            ("a:443", "Host: a\r\n folded\r\n"),
            ("a:443", "Host: a\nX: b\r\n"),
            ("a:443", "Host: a\r\nProxy-Authorization: Bearer x\r\n"),
            ("a:443", "Host: a\r\nProxy-Authorization: Basic !\r\n"),
            ("a:443", "Host: a\r\nProxy-Authorization: Basic YS9iOng=\r\n"),
            ("a:443", "Host: a\r\nProxy-Authorization: Basic Ong=\r\nProxy-Authorization: Basic Ong=\r\n"),
        ] {
            let refused = ask(target, headers).expect_err(target);
            assert!(refused.status.starts_with("400 "), "{target} {headers}: {refused:?}");
            assert!(!refused.answer().contains("secret"), "what was sent is not repeated");
        }
        let other = parse(b"COPY /x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err();
        assert!(other.status.starts_with("405 "));
    }
}
