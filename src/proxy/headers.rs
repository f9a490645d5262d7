//! What of a head crosses the gate, and what the gate says for itself.
//!
//! A request's headers are written anew from those that may cross; the gate's own are added after that, so no
//! `Connection:` of a client can take them away. RFC 9110, 7.6.1 (hop-by-hop), 7.6.3 (`Via`); RFC 7239 (`Forwarded`).

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{StatusCode, Uri, Version};

use super::{Came, Front, Peer};
use crate::upstream::Origin;

/// What becomes of the headers that say where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// The client's are dropped and none are added.
    Strip,
    /// The client's are kept and this hop is added: for a gate behind another proxy that is trusted.
    Append,
    /// The client's are dropped and this connection is told instead.
    #[default]
    Set,
}

/// The gate as the client of one request sees it.
pub(super) struct ClientView<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: Option<&'a str>,
    /// The host as it was asked for, which a proxy in front may have changed.
    pub(super) asked: Option<&'a str>,
    /// What stands before the tracker's own path: the public path, `/as/<agent>`, both or nothing.
    pub(super) prefix: &'a str,
}

/// The same for longer than its request.
pub(super) struct OwnedView {
    scheme: String,
    host: Option<String>,
    asked: Option<String>,
    prefix: String,
}

/// What is needed to know how a client sees the gate.
pub(super) struct Views {
    pub(super) front: Front,
    /// The public address, where it is known.
    pub(super) public: Option<Origin>,
    /// The tracker's own address: clients on a socket, or whose connection was intercepted, ask for that name.
    pub(super) upstream: Origin,
    pub(super) policy: Forwarded,
}

/// How the client's own request was, by what proxies in front say of it. A list names the first one first.
#[derive(Default)]
struct Told<'a> {
    scheme: Option<&'static str>,
    host: Option<&'a str>,
}

pub(super) const VIA_VALUE: HeaderValue = HeaderValue::from_static("1.1 claimgate");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

// === impl Views ===

impl Views {
    pub(super) fn of<'a>(&'a self, head: &'a Parts, peer: &Peer) -> ClientView<'a> {
        self.of_parts(&head.uri, &head.headers, head.extensions.get(), peer)
    }

    pub(super) fn of_parts<'a>(
        &'a self,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        came: Option<&'a Came>,
        peer: &Peer,
    ) -> ClientView<'a> {
        let (asked, told) = (host_of(uri, headers), Told::read(headers));
        let is_trusted = self.policy == Forwarded::Append;
        let prefix = came.map_or(self.front.prefix(), |came| &came.prefix);
        let known = self.public_at(asked.into_iter().chain(told.host)).or_else(|| self.own_at(asked));
        if let Some((scheme, public)) = known {
            let host = if asked.is_some_and(|host| same_host(host, public, scheme)) { asked } else { Some(public) };
            return ClientView { scheme, host, asked, prefix };
        }
        let scheme = match (told.scheme, peer.tls) {
            (Some(told), _) if is_trusted => told,
            (_, true) => "https",
            // Nobody is told but the client itself, so it may say so.
            (told, false) => told.unwrap_or("http"),
        };
        ClientView { scheme, host: told.host.filter(|_| is_trusted).or(asked), asked, prefix }
    }

    /// The public address, if one of these hosts is its.
    fn public_at<'a>(&self, mut hosts: impl Iterator<Item = &'a str>) -> Option<(&'static str, &str)> {
        let (scheme, authority) = address_of(self.public.as_ref()?)?;
        hosts.any(|host| same_host(host, authority, scheme)).then_some((scheme, authority))
    }

    /// The tracker's own address, if that is what was asked for.
    fn own_at(&self, asked: Option<&str>) -> Option<(&'static str, &str)> {
        let (scheme, authority) = address_of(&self.upstream)?;
        same_host(asked?, authority, scheme).then_some((scheme, authority))
    }

    /// Whether the client asks for the tracker by the tracker's own name: then the links in answers are right as they are.
    pub(super) fn is_by_own_name(&self, view: &ClientView<'_>) -> bool {
        view.prefix.is_empty() && self.own_at(view.asked).is_some()
    }

    /// The scheme that the tracker is told: that of the public address, or of the connection. What a client says of it
    /// counts only where a proxy in front is trusted.
    fn scheme_to_tell(&self, head: &Parts, peer: &Peer) -> HeaderValue {
        let asked = || host_of(&head.uri, &head.headers);
        let public = self.public_at(std::iter::once_with(asked).flatten()).or_else(|| self.own_at(asked()));
        let told = || if self.policy == Forwarded::Append { Told::read(&head.headers).scheme } else { None };
        let connection = if peer.tls { "https" } else { "http" };
        HeaderValue::from_static(public.map(|(scheme, _)| scheme).or_else(told).unwrap_or(connection))
    }
}

fn address_of(origin: &Origin) -> Option<(&'static str, &str)> {
    origin.scheme().zip(origin.authority().to_str().ok())
}

// === impl Told ===

impl<'a> Told<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let tells = |name: &HeaderName| matches!(name.as_str(), "forwarded" | "x-forwarded-host" | "x-forwarded-proto");
        if !headers.keys().any(tells) {
            return Self::default();
        }
        let first = |name: &str| {
            headers.get(name).and_then(|it| it.to_str().ok()).and_then(|list| list.split(',').next()).map(str::trim)
        };
        let element = || first("forwarded").into_iter().flat_map(|it| it.split(';'));
        let parameter = |name: &str| {
            let mut pairs = element().filter_map(|pair| pair.trim().split_once('='));
            pairs
                .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().trim_matches('"'))
        };
        let scheme = first("x-forwarded-proto").or_else(|| parameter("proto"));
        let host = first("x-forwarded-host").or_else(|| parameter("host"));
        Self {
            scheme: ["https", "http"].into_iter().find(|it| scheme.is_some_and(|told| told.eq_ignore_ascii_case(it))),
            host: host.filter(|host| is_host(host)),
        }
    }
}

// === impl ClientView ===

impl ClientView<'_> {
    pub(super) fn owned(&self) -> OwnedView {
        OwnedView {
            scheme: self.scheme.to_owned(),
            host: self.host.map(str::to_owned),
            asked: self.asked.map(str::to_owned),
            prefix: self.prefix.to_owned(),
        }
    }

    /// Where nothing is known of the request.
    pub(super) fn unknown() -> Self {
        Self { scheme: "http", host: None, asked: None, prefix: "" }
    }

    /// The gate's URL for a path of the forge.
    pub(super) fn url(&self, path: &str) -> String {
        match self.host {
            Some(host) => format!("{}://{host}{}{path}", self.scheme, self.prefix),
            None => format!("{}{path}", self.prefix),
        }
    }
}

// === impl OwnedView ===

impl OwnedView {
    pub(super) fn view(&self) -> ClientView<'_> {
        let (host, asked) = (self.host.as_deref(), self.asked.as_deref());
        ClientView { scheme: &self.scheme, host, asked, prefix: &self.prefix }
    }
}

/// Whether a text is nothing but a host with perhaps a port.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte))
}

/// Whether two authorities are one where this scheme is spoken: letters in any case, a dot at the end, the usual port.
pub(super) fn same_host(one: &str, other: &str, scheme: &str) -> bool {
    let (one, other) = (host_and_port(one, scheme), host_and_port(other, scheme));
    one.0.eq_ignore_ascii_case(other.0) && one.1 == other.1
}

pub(super) fn host_and_port<'a>(authority: &'a str, scheme: &str) -> (&'a str, &'a str) {
    let usual = if scheme == "https" { "443" } else { "80" };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    let port = port.trim_start_matches('0');
    (host.strip_suffix('.').unwrap_or(host), if port.is_empty() { usual } else { port })
}

/// The host that the client asked for.
pub(super) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    text(headers, &header::HOST).or_else(|| uri.authority().map(http::uri::Authority::as_str))
}

/// The headers of a passed request as they go up.
pub(super) fn for_upstream(head: &Parts, peer: &Peer, origin: &Origin, views: &Views) -> HeaderMap {
    let policy = views.policy;
    let mut out = HeaderMap::with_capacity(head.headers.len() + 8);
    let named: Vec<&str> = named_by_connection(&head.headers).collect();
    for (name, value) in &head.headers {
        if crosses(name, policy) && (named.is_empty() || !is_named(&named, name)) {
            out.append(name.clone(), value.clone());
        }
    }
    if head.version == Version::HTTP_2 {
        join_cookies(&mut out);
    }
    out.insert(header::HOST, host_value(head, origin));
    out.append(header::VIA, VIA_VALUE);
    match policy {
        Forwarded::Strip => {}
        Forwarded::Set => set_forwarded(&mut out, head, peer, views.scheme_to_tell(head, peer)),
        Forwarded::Append => append(&mut out, head, peer, views.scheme_to_tell(head, peer)),
    }
    out
}

/// Removes from an answer what belongs to the hop before.
pub(super) fn for_client(status: StatusCode, headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        // What nearly every field names is taken away below.
        let rest = named_by_connection(headers).filter(|it| !it.eq_ignore_ascii_case("keep-alive"));
        let named: Vec<HeaderName> = rest.filter_map(|it| it.parse().ok()).collect();
        for name in named.iter().filter(|name| !END_TO_END.contains(name)) {
            headers.remove(name);
        }
    }
    // A length beside a coding is an attack on whoever comes next; the coding was believed, so the length goes.
    if headers.remove(header::TRANSFER_ENCODING).is_some() || status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    // Most answers have none or one of them, and looking for each would cost more than looking at all once.
    while let Some(name) = headers.keys().find_map(|name| HOP_BY_HOP_ANSWER.iter().find(|it| *it == name)) {
        headers.remove(name);
    }
    headers.append(header::VIA, VIA_VALUE);
}

fn crosses(name: &HeaderName, policy: Forwarded) -> bool {
    match name.as_str() {
        // Hop-by-hop. `expect` is answered here, `trailer` goes with the trailers, `host` is written by `host_value`.
        "connection"
        | "expect"
        | "host"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade" => false,
        "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" | "x-real-ip" | "forwarded" => {
            policy == Forwarded::Append
        }
        other => !claims_identity(other),
    }
}

/// Headers by which one proxy tells the next who the user is, or which resource is meant. No client may say that.
fn claims_identity(name: &str) -> bool {
    let prefixes = ["x-webauth-", "x-forwarded-", "x-remote-", "x-auth-request-", "x-original-", "x-http-method"];
    has_underscore(name)
        || matches!(name, "remote-user" | "x-rewrite-url" | "x-method-override" | "x-client-ip" | "true-client-ip")
        || (name.starts_with("x-") && prefixes.iter().any(|it| name.starts_with(it)))
        || name.starts_with("claimgate-")
}

/// Whether a header's name has a `_` where one of those that frame a message or say who sends it has a `-`. Servers that
/// make variables of headers (CGI, WSGI) cannot tell the two apart.
pub(super) fn masquerades(name: &str) -> bool {
    if !has_underscore(name) {
        return false;
    }
    let folded = name.replace('_', "-");
    FRAMES_OR_IDENTIFIES.contains(&folded.as_str()) || claims_identity(&folded)
}

fn has_underscore(name: &str) -> bool {
    memchr::memchr(b'_', name.as_bytes()).is_some()
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).into_iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split(',')).map(str::trim).filter(|it| !it.is_empty())
}

/// Whether a `Connection` field takes this header away; some it cannot, since the message would mean another thing.
fn is_named(named: &[&str], name: &HeaderName) -> bool {
    named.iter().any(|it| it.eq_ignore_ascii_case(name.as_str())) && !END_TO_END.contains(name)
}

/// RFC 9113, 8.2.3: HTTP/2 may split cookies, HTTP/1.1 may not.
fn join_cookies(headers: &mut HeaderMap) {
    let Entry::Occupied(cookies) = headers.entry(header::COOKIE) else { return };
    if cookies.iter().nth(1).is_none() {
        return;
    }
    let joined = cookies.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    cookies.remove_entry_mult();
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

/// The client's own `Host`: Forgejo compares it with `Origin`.
fn host_value(head: &Parts, origin: &Origin) -> HeaderValue {
    if let Some(host) = head.headers.get(header::HOST) {
        return host.clone();
    }
    let authority = head.uri.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    authority.unwrap_or_else(|| origin.authority().clone())
}

fn set_forwarded(out: &mut HeaderMap, head: &Parts, peer: &Peer, scheme: HeaderValue) {
    if let Some(address) = &peer.shown {
        out.insert(X_FORWARDED_FOR, address.clone());
        out.insert(X_REAL_IP, address.clone());
    }
    out.insert(X_FORWARDED_PROTO, scheme);
    if let Some(host) = client_host(head) {
        out.insert(X_FORWARDED_HOST, host);
    }
}

fn append(out: &mut HeaderMap, head: &Parts, peer: &Peer, scheme: HeaderValue) {
    if let Some(address) = &peer.shown {
        let chain = out.get_all(X_FORWARDED_FOR).iter().chain([address]);
        let chain = chain.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
        if let Ok(value) = HeaderValue::from_bytes(&chain) {
            out.insert(X_FORWARDED_FOR, value);
        }
        out.entry(X_REAL_IP).or_insert_with(|| address.clone());
    }
    out.entry(X_FORWARDED_PROTO).or_insert(scheme);
    if let Some(host) = client_host(head) {
        out.entry(X_FORWARDED_HOST).or_insert(host);
    }
    if out.contains_key(header::FORWARDED)
        && let Ok(value) = HeaderValue::from_str(&forwarded(peer))
    {
        out.append(header::FORWARDED, value);
    }
}

fn forwarded(peer: &Peer) -> String {
    let address = match peer.addr.map(|it| it.ip().to_canonical()) {
        Some(std::net::IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        Some(std::net::IpAddr::V4(ip)) => ip.to_string(),
        None => "unknown".to_owned(),
    };
    format!("for={address};proto={}", if peer.tls { "https" } else { "http" })
}

fn client_host(head: &Parts) -> Option<HeaderValue> {
    let host = head.headers.get(header::HOST).cloned();
    host.or_else(|| HeaderValue::from_str(head.uri.authority()?.as_str()).ok())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

const FRAMES_OR_IDENTIFIES: [&str; 14] = [
    "content-encoding",
    "content-length",
    "content-type",
    "http2-settings",
    "keep-alive",
    "private-token",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "x-csrf-token",
    "x-forgejo-otp",
    "x-gitea-otp",
    "x-real-ip",
    "x-ssh-certificate",
];

const END_TO_END: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
];

/// And what leads elsewhere: another address of the tracker is no other address of the gate (RFC 7838).
static HOP_BY_HOP_ANSWER: [HeaderName; 8] = [
    header::ALT_SVC,
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::TRAILER,
    header::TE,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn up(policy: Forwarded, headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut request = Request::builder().uri("/x").header("host", "gate:1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let peer = Peer::new(Some("10.0.0.9:5".parse().unwrap()), false, None);
        let views = Views { front: Front::default(), public: None, upstream: "http://f".parse().unwrap(), policy };
        for_upstream(&head, &peer, &"http://forge:3000".parse().unwrap(), &views)
    }

    #[track_caller]
    fn shows(headers: &HeaderMap, name: &str, expected: &[&str]) {
        let got: Vec<_> = headers.get_all(name).iter().map(|it| it.to_str().unwrap()).collect();
        assert_eq!(got, expected, "{name}");
    }

    #[test]
    fn a_client_says_neither_who_it_is_nor_where_it_comes_from() {
        let out = up(
            Forwarded::Set,
            &[
                ("x-webauth-user", "root"),
                ("x-forwarded-user", "root"),
                ("x_webauth_user", "root"),
                ("x-remote-user", "root"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-real-ip", "1.1.1.1"),
                ("forwarded", "for=1.1.1.1"),
                ("x-original-url", "/y"),
                ("accept", "*/*"),
            ],
        );
        shows(&out, "x-forwarded-for", &["10.0.0.9"]);
        shows(&out, "x-real-ip", &["10.0.0.9"]);
        shows(&out, "x-forwarded-proto", &["http"]);
        shows(&out, "x-forwarded-host", &["gate:1"]);
        shows(&out, "host", &["gate:1"]);
        shows(&out, "via", &["1.1 claimgate"]);
        shows(&out, "accept", &["*/*"]);
        assert_eq!(out.len(), 7, "{:?}", out.keys().collect::<Vec<_>>());
    }

    #[test]
    fn hop_by_hop() {
        let out = up(
            Forwarded::Set,
            &[
                ("connection", "x-mine, X-Forwarded-For, authorization"),
                ("x-mine", "1"),
                ("authorization", "token t"),
                ("upgrade", "h2c"),
                ("http2-settings", "AA"),
                ("te", "trailers"),
                ("expect", "100-continue"),
            ],
        );
        shows(&out, "authorization", &["token t"]);
        shows(&out, "x-forwarded-for", &["10.0.0.9"]);
        for name in ["x-mine", "upgrade", "http2-settings", "te", "expect", "connection"] {
            shows(&out, name, &[]);
        }
    }

    #[test]
    fn appending() {
        let out = up(Forwarded::Append, &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")]);
        shows(&out, "x-forwarded-for", &["1.1.1.1, 10.0.0.9"]);
        shows(&out, "x-forwarded-proto", &["https"]);
        let out = up(Forwarded::Append, &[("forwarded", "for=1.1.1.1")]);
        shows(&out, "forwarded", &["for=1.1.1.1", "for=10.0.0.9;proto=http"]);
        let out = up(Forwarded::Strip, &[("x-forwarded-for", "1.1.1.1")]);
        shows(&out, "x-forwarded-for", &[]);
    }
}
