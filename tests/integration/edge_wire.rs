//! What leaves the gate, byte for byte: a tap on its connections to the tracker, and a reader of HTTP/1.1 that is stricter
//! than any server and shares no code with the gate.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Stands between gate and tracker and keeps what the gate sends.
pub struct Tap {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Recording>>>,
}

#[derive(Default)]
struct Recording {
    bytes: Vec<u8>,
    read: usize,
}

/// One request as it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection ended, or has come no further yet, before the body was whole.
    pub is_cut: bool,
}

impl Tap {
    pub async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((gate, _)) = listener.accept().await {
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Recording::default());
                    all.len() - 1
                };
                tokio::spawn(relay(gate, upstream, number, Arc::clone(&all)));
            }
        });
        Self { address, connections }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last call, or what is wrong with the bytes. A cut one is told only here and now.
    pub fn take(&self) -> Result<Vec<Wire>, String> {
        let mut all = self.connections.lock().unwrap();
        let mut found = Vec::new();
        for recording in all.iter_mut() {
            let (requests, used) = requests(&recording.bytes[recording.read..])
                .map_err(|why| format!("{why} on a connection of {} bytes", recording.bytes.len()))?;
            recording.read += used;
            found.extend(requests);
        }
        Ok(found)
    }
}

async fn relay(mut gate: TcpStream, upstream: SocketAddr, number: usize, all: Arc<Mutex<Vec<Recording>>>) {
    let Ok(mut tracker) = TcpStream::connect(upstream).await else { return };
    let _ = (gate.set_nodelay(true), tracker.set_nodelay(true));
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        tokio::select! {
            read = gate.read(&mut up) => match read {
                Ok(length) if length > 0 => {
                    all.lock().unwrap()[number].bytes.extend_from_slice(&up[..length]);
                    if tracker.write_all(&up[..length]).await.is_err() { return }
                }
                _ => return,
            },
            read = tracker.read(&mut down) => match read {
                Ok(length) if length > 0 => if gate.write_all(&down[..length]).await.is_err() { return },
                _ => return,
            },
        }
    }
}

// === the strict reader ===

/// All requests of one connection, and how many bytes they take; a cut one comes last and takes none.
pub fn requests(bytes: &[u8]) -> Result<(Vec<Wire>, usize), String> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let Some((mut wire, head)) = head(&bytes[at..])? else { break };
        let Some((body, length)) = body(&wire, &bytes[at + head..])? else {
            wire.is_cut = true;
            found.push(wire);
            break;
        };
        wire.body = body;
        at += head + length;
        found.push(wire);
    }
    Ok((found, at))
}

fn head(bytes: &[u8]) -> Result<Option<(Wire, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let text = &bytes[..end];
    for (at, byte) in text.iter().enumerate() {
        let fits = match byte {
            b'\n' => at > 0 && text[at - 1] == b'\r',
            b'\r' => text.get(at + 1) == Some(&b'\n'),
            0..=8 | 11..=31 | 127 => false,
            _ => true,
        };
        if !fits {
            return Err(format!("byte {byte:#x} at {at} of a head"));
        }
    }
    let mut room = [httparse::EMPTY_HEADER; 200];
    let mut parsed = httparse::Request::new(&mut room);
    match parsed.parse(text) {
        Ok(httparse::Status::Complete(length)) if length == end => {}
        other => return Err(format!("{other:?}")),
    }
    if parsed.version != Some(1) {
        return Err("not HTTP/1.1".to_owned());
    }
    let headers = parsed.headers.iter().map(|header| {
        let value = header.value.iter().fold(String::new(), |mut text, byte| {
            let _ = if byte.is_ascii() { write!(text, "{}", char::from(*byte)) } else { write!(text, "\\x{byte:x}") };
            text
        });
        (header.name.to_ascii_lowercase(), value)
    });
    let wire = Wire {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
        is_cut: false,
    };
    wire.check()?;
    Ok(Some((wire, end)))
}

fn body(wire: &Wire, bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    if wire.has("transfer-encoding") {
        return chunks(bytes);
    }
    let length: usize = wire.header("content-length").map_or(Ok(0), str::parse).map_err(|e| format!("{e}"))?;
    Ok(bytes.get(..length).map(|body| (body.to_vec(), length)))
}

fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line]).map_err(|e| e.to_string())?;
        if size.is_empty() || size.len() > 8 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("{size:?} is no chunk size"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|e| e.to_string())?;
        at += line + 2;
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if &chunk[size..] != b"\r\n" {
            return Err("a chunk without an end, or a trailer".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

impl Wire {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.header(name).is_some()
    }

    /// Method and target.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(have, _)| have == name).count()
    }

    fn check(&self) -> Result<(), String> {
        let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let wrong = |what: &str| Err(format!("{what}: {} {:?}", self.line(), self.headers));
        if !self.target.starts_with('/') && self.line() != "OPTIONS *" {
            return wrong("the target is not a path");
        }
        if self.target.contains('#') || self.target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return wrong("the target has a byte that may not be there");
        }
        if self.count("host") != 1 || self.header("host").is_some_and(|host| host.contains(['@', '/', '?', ' ', ','])) {
            return wrong("not one plain Host");
        }
        for once in ["content-length", "transfer-encoding", "content-type"] {
            if self.count(once) > 1 && once != "content-type" {
                return wrong(once);
            }
        }
        match (self.header("content-length"), self.header("transfer-encoding")) {
            (Some(_), Some(_)) => return wrong("two framings"),
            (Some(length), None) if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) => {
                return wrong("a length that is none");
            }
            (None, Some(coding)) if coding != "chunked" => return wrong("a coding"),
            _ => {}
        }
        for (name, _) in &self.headers {
            if !name.bytes().all(of_token) {
                return wrong("a name that is none");
            }
            let folded = name.replace('_', "-");
            let prefixes = ["x-webauth-", "x-remote-", "x-auth-request-", "x-original-", "proxy-", "claimgate-"];
            if prefixes.iter().any(|prefix| folded.starts_with(prefix))
                || NEVER_SENT.contains(&folded.as_str())
                || (name.contains('_') && (folded.starts_with("x-forwarded-") || FRAMING.contains(&folded.as_str())))
            {
                return wrong("a header that may not cross");
            }
        }
        Ok(())
    }
}

const NEVER_SENT: [&str; 10] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "x-forwarded-user",
    "x-rewrite-url",
    "remote-user",
];
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

#[test]
fn the_strict_reader_is_strict() {
    let good = "GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok";
    let (found, used) = requests(good.as_bytes()).unwrap();
    assert_eq!((found.len(), used), (2, good.len()));
    assert_eq!((found[1].line().as_str(), &found[1].body[..]), ("POST /b", &b"ok"[..]));
    let chunked = "POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(requests(format!("{chunked}2\r\nok\r\n0\r\n\r\n").as_bytes()).unwrap().0[0].body, b"ok");
    assert!(requests(format!("{chunked}2\r\nok\r\n0\r\n").as_bytes()).unwrap().0[0].is_cut);
    for body in ["2;x\r\nok\r\n0\r\n\r\n", "2\r\nokay\r\n0\r\n\r\n", "2\r\nok\r\n0\r\nx: 1\r\n\r\n"] {
        assert!(requests(format!("{chunked}{body}").as_bytes()).is_err(), "{body:?}");
    }
    for lines in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a\nx: b\r\n",
        "host: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: a\r\ncontent-length: +1\r\n",
        "host: a\r\nX-WEBAUTH-USER: root\r\n",
        "host: a\r\nX_Webauth_User: root\r\n",
        "host: a\r\nupgrade: h2c\r\n",
    ] {
        assert!(requests(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes()).is_err(), "{lines:?}");
    }
    assert!(requests(b"GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n").is_err());
    assert!(requests(b"GET /#a HTTP/1.1\r\nhost: a\r\n\r\n").is_err());
}
