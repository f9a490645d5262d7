//! Addresses in an answer: those that point at the tracker itself would lead a client round the gate.
//!
//! `Location` and `Link` are rewritten to the gate as the client sees it, whether they name the upstream's own address
//! or the public one that the tracker announces. Only the front of a URL is replaced; what follows stays as it is. The same
//! becomes of URLs in JSON answers (`json_urls.rs`) where `server.rewrite_urls` says so.

use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use prometheus_client::metrics::counter::Counter;

use super::body::{Body, full};
use super::headers::{ClientView, same_host};
use super::json_urls::{JsonUrls, Rewritten};
use crate::upstream::Origin;

/// The addresses under which the forge may speak of itself.
pub struct Rewriter {
    upstream: Origin,
    public: Option<Origin>,
    /// The path below which it is served, for whom it does not serve below it by itself.
    base: String,
    /// Counts the JSON answers whose URLs could not be rewritten; none where those of bodies are left alone.
    bodies: Option<Counter>,
}

impl Rewriter {
    /// `public` is the `ROOT_URL` that the forge announces, `base` the path below which clients find it, `bodies` counts
    /// the JSON answers that could not be rewritten, where they are to be.
    pub fn new(upstream: Origin, public: Option<Origin>, base: &str, bodies: Option<Counter>) -> Self {
        Self { upstream, public, base: base.to_owned(), bodies }
    }

    /// Whether URLs in bodies are rewritten at all.
    pub(super) fn rewrites_bodies(&self) -> bool {
        self.bodies.is_some()
    }

    /// The body of an answer whose URLs are to lead back. What is no JSON stays as it is, and so does what is compressed, or
    /// a part of something.
    pub(super) fn body(
        self: &Arc<Self>,
        status: StatusCode,
        headers: &mut HeaderMap,
        body: Body,
        view: &ClientView<'_>,
    ) -> Body {
        // The answer to a HEAD is told of as the tracker tells of it.
        let concerns = view.host.is_some() && is_json(headers) && !body.is_end_stream();
        let Some(unrewritten) = self.bodies.clone().filter(|_| concerns) else {
            return body;
        };
        let is_plain = headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding == "identity");
        if !is_plain || status == StatusCode::PARTIAL_CONTENT {
            unrewritten.inc();
            return body;
        }
        headers.remove(header::CONTENT_LENGTH);
        let (rewriter, view) = (Arc::clone(self), view.owned());
        let urls = JsonUrls::new(Box::new(move |url| rewriter.absolute(url, &view.view())));
        let Some(whole) = body.whole() else {
            return Body::held(Rewritten::new(body, urls, unrewritten));
        };
        let (bytes, followed) = urls.whole(whole);
        if !followed {
            unrewritten.inc();
        }
        full(bytes)
    }

    pub(super) fn answer(&self, headers: &mut HeaderMap, view: &ClientView<'_>) {
        if headers.contains_key(header::LOCATION) {
            replace(headers, &header::LOCATION, |text| self.url(text, view));
        }
        if headers.contains_key(header::LINK) {
            replace(headers, &header::LINK, |text| self.links(text, view));
        }
    }

    /// The same resource through the gate; `None` where nothing is to change.
    fn url(&self, text: &str, view: &ClientView<'_>) -> Option<String> {
        if split_absolute(text).is_some() { self.absolute(text, view) } else { self.relative(text, view) }
    }

    /// The same for a URL that names a host.
    fn absolute(&self, text: &str, view: &ClientView<'_>) -> Option<String> {
        let (scheme, authority, path) = split_absolute(text)?;
        let host = view.host?;
        let at = |origin: &&Origin| origin.is_at(scheme, authority) && below(path, origin.base()).is_some();
        let is_own = |host: &str| same_host(authority, host, scheme.unwrap_or(view.scheme));
        let rest = match self.known().find(at) {
            Some(origin) if origin.base().is_empty() => below(path, &self.base).unwrap_or(path),
            Some(origin) => below(path, origin.base())?,
            // By the name that the client uses; trackers that make links of it may not know its scheme.
            None if [Some(host), view.asked].into_iter().flatten().any(is_own) => {
                below(path, &self.base).unwrap_or(path)
            }
            None => return None,
        };
        Some(view.url(rest))
    }

    fn relative(&self, text: &str, view: &ClientView<'_>) -> Option<String> {
        if !text.starts_with('/') {
            return None;
        }
        let rest = match below(text, self.upstream.base()) {
            Some(rest) if !self.upstream.base().is_empty() => Some(rest),
            _ if self.base.is_empty() => Some(text),
            _ => below(text, &self.base),
        };
        rest.map(|rest| format!("{}{rest}", view.prefix)).filter(|new| new != text)
    }

    /// `<url>; rel="next", <url>; rel="last"`: what stands between the angles.
    fn links(&self, text: &str, view: &ClientView<'_>) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut changed = false;
        while let Some((before, tail)) = rest.split_once('<') {
            let Some((url, after)) = tail.split_once('>') else { break };
            let new = self.url(url, view);
            changed |= new.is_some();
            out.extend([before, "<", new.as_deref().unwrap_or(url), ">"]);
            rest = after;
        }
        out.push_str(rest);
        changed.then_some(out)
    }

    fn known(&self) -> impl Iterator<Item = &Origin> {
        self.public.iter().chain([&self.upstream])
    }
}

/// `application/json`, and what is made of it: `application/hal+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    kind == b"application/json" || kind.ends_with(b"+json")
}

fn replace(headers: &mut HeaderMap, name: &HeaderName, new: impl Fn(&str) -> Option<String>) {
    let changed = |value: &HeaderValue| HeaderValue::try_from(new(value.to_str().ok()?)?).ok();
    if let header::Entry::Occupied(mut entry) = headers.entry(name) {
        for value in entry.iter_mut() {
            if let Some(new) = changed(value) {
                *value = new;
            }
        }
    }
}

/// Scheme, authority and the rest (path, query, fragment) of `scheme://authority/…` or `//authority/…`.
fn split_absolute(text: &str) -> Option<(Option<&str>, &str, &str)> {
    let (scheme, tail) = match text.strip_prefix("//") {
        Some(tail) => (None, tail),
        None => text.split_once("://").map(|(scheme, tail)| (Some(scheme), tail))?,
    };
    if scheme.is_some_and(|it| it.is_empty() || !it.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return None;
    }
    let (authority, rest) = tail.split_at(tail.find(['/', '?', '#']).unwrap_or(tail.len()));
    Some((scheme, authority, rest))
}

/// What of `path` lies below `base`; a path outside of it belongs to somebody else.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(base)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(prefix: &str) -> ClientView<'_> {
        ClientView { scheme: "https", host: Some("gate:8480"), asked: None, prefix }
    }

    #[track_caller]
    fn check(rewriter: &Rewriter, prefix: &str, from: &str, to: &str) {
        let got = rewriter.url(from, &view(prefix));
        assert_eq!(got.as_deref().unwrap_or(from), to, "{from}");
    }

    fn rewriter(upstream: &str, public: Option<&str>) -> Rewriter {
        let (upstream, public): (Origin, Option<Origin>) =
            (upstream.parse().unwrap(), public.map(|it| it.parse().unwrap()));
        let base = public.as_ref().unwrap_or(&upstream).base().to_owned();
        Rewriter::new(upstream, public, &base, None)
    }

    #[test]
    fn locations() {
        let plain = rewriter("http://127.0.0.1:3000", Some("https://git.example"));
        check(&plain, "", "http://127.0.0.1:3000/a?b#c", "https://gate:8480/a?b#c");
        check(&plain, "", "http://127.0.0.1:3001/a", "http://127.0.0.1:3001/a");
        check(&plain, "", "https://git.example/a", "https://gate:8480/a");
        check(&plain, "", "https://git.example:443", "https://gate:8480");
        check(&plain, "", "https://git.example.evil/a", "https://git.example.evil/a");
        check(&plain, "", "//127.0.0.1:3000/a", "https://gate:8480/a");
        check(&plain, "", "http://Gate:8480/a", "https://gate:8480/a");
        check(&plain, "", "/a", "/a");
        check(&plain, "", "a", "a");
        check(&plain, "", "/login?to=http://127.0.0.1:3000/a", "/login?to=http://127.0.0.1:3000/a");
        check(&plain, "/as/bot", "/a", "/as/bot/a");
        check(&plain, "/as/bot", "http://127.0.0.1:3000/a", "https://gate:8480/as/bot/a");
        check(&plain, "/as/bot", "a", "a");
        let sub = rewriter("http://127.0.0.1:3000/sub", None);
        check(&sub, "", "/sub/a", "/a");
        check(&sub, "/sub", "/sub/a", "/sub/a");
        check(&sub, "/sub/as/bot", "/sub/a", "/sub/as/bot/a");
        check(&sub, "", "http://127.0.0.1:3000/sub/a", "https://gate:8480/a");
        check(&sub, "", "http://127.0.0.1:3000/other", "http://127.0.0.1:3000/other");
    }

    /// Below a public path that the upstream knows of in its links only: a proxy in front may have taken it off.
    #[test]
    fn locations_below_a_path() {
        let forge = rewriter("http://127.0.0.1:3000", Some("https://git.example/forge"));
        for prefix in ["/forge", "/forge/as/bot"] {
            for from in [
                "/forge/a?b",
                "https://git.example/forge/a?b",
                "https://git.example:443/forge/a?b",
                "http://127.0.0.1:3000/forge/a?b",
                "http://127.0.0.1:3000/a?b",
                "http://gate:8480/forge/a?b",
            ] {
                let to = if from.starts_with('/') { "" } else { "https://gate:8480" };
                check(&forge, prefix, from, &format!("{to}{prefix}/a?b"));
            }
            for elsewhere in ["https://git.example/forgery/a", "https://git.example/a", "/v2/token", "/forgery"] {
                check(&forge, prefix, elsewhere, elsewhere);
            }
        }
    }

    #[test]
    fn links() {
        let rewriter = rewriter("http://f", None);
        let from = "<http://f/a?page=2>; rel=\"next\", <http://x/b>; rel=\"last\"";
        let to = "<https://gate:8480/a?page=2>; rel=\"next\", <http://x/b>; rel=\"last\"";
        assert_eq!(rewriter.links(from, &view("")).as_deref(), Some(to));
        assert_eq!(rewriter.links("<unclosed", &view("")), None);
    }
}
