//! Addresses in an answer's head: those that point at the forge itself would lead a client round the gate.
//!
//! `Location` and `Link` are rewritten to the gate as the client sees it, whether they name the upstream's own address
//! or the public one that the forge announces. Only the front of a URL is replaced; what follows stays as it is.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::headers::ClientView;
use crate::upstream::Origin;

/// The addresses under which the forge may speak of itself.
pub struct Rewriter {
    upstream: Origin,
    public: Option<Origin>,
}

impl Rewriter {
    /// `public` is the `ROOT_URL` that the forge announces.
    pub fn new(upstream: Origin, public: Option<Origin>) -> Self {
        Self { upstream, public }
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
        let Some((scheme, authority, path)) = split_absolute(text) else {
            return self.relative(text, view);
        };
        let rest = self
            .known()
            .find_map(|origin| origin.is_at(scheme, authority).then(|| below(path, origin.base())).flatten())?;
        view.host.map(|_| view.url(rest))
    }

    fn relative(&self, text: &str, view: &ClientView<'_>) -> Option<String> {
        let changes = !view.prefix.is_empty() || !self.upstream.base().is_empty();
        if !text.starts_with('/') || !changes {
            return None;
        }
        let rest = below(text, self.upstream.base()).unwrap_or(text);
        Some(format!("{}{rest}", view.prefix))
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
        ClientView { scheme: "https", host: Some("gate:8480"), prefix }
    }

    #[track_caller]
    fn check(rewriter: &Rewriter, prefix: &str, from: &str, to: &str) {
        let got = rewriter.url(from, &view(prefix));
        assert_eq!(got.as_deref().unwrap_or(from), to, "{from}");
    }

    #[test]
    fn locations() {
        let plain =
            Rewriter::new("http://127.0.0.1:3000".parse().unwrap(), Some("https://git.example/forge".parse().unwrap()));
        check(&plain, "", "http://127.0.0.1:3000/a?b#c", "https://gate:8480/a?b#c");
        check(&plain, "", "http://127.0.0.1:3001/a", "http://127.0.0.1:3001/a");
        check(&plain, "", "https://git.example/forge/a", "https://gate:8480/a");
        check(&plain, "", "https://git.example:443/forge", "https://gate:8480");
        check(&plain, "", "https://git.example/forgery/a", "https://git.example/forgery/a");
        check(&plain, "", "https://git.example.evil/forge/a", "https://git.example.evil/forge/a");
        check(&plain, "", "//127.0.0.1:3000/a", "https://gate:8480/a");
        check(&plain, "", "/a", "/a");
        check(&plain, "", "a", "a");
        check(&plain, "", "/login?to=http://127.0.0.1:3000/a", "/login?to=http://127.0.0.1:3000/a");
        check(&plain, "/as/bot", "/a", "/as/bot/a");
        check(&plain, "/as/bot", "http://127.0.0.1:3000/a", "https://gate:8480/as/bot/a");
        check(&plain, "/as/bot", "a", "a");
        let sub = Rewriter::new("http://127.0.0.1:3000/sub".parse().unwrap(), None);
        check(&sub, "", "/sub/a", "/a");
        check(&sub, "", "http://127.0.0.1:3000/sub/a", "https://gate:8480/a");
        check(&sub, "", "http://127.0.0.1:3000/other", "http://127.0.0.1:3000/other");
    }

    #[test]
    fn links() {
        let rewriter = Rewriter::new("http://f".parse().unwrap(), None);
        let from = "<http://f/a?page=2>; rel=\"next\", <http://x/b>; rel=\"last\"";
        let to = "<https://gate:8480/a?page=2>; rel=\"next\", <http://x/b>; rel=\"last\"";
        assert_eq!(rewriter.links(from, &view("")).as_deref(), Some(to));
        assert_eq!(rewriter.links("<unclosed", &view("")), None);
    }
}
