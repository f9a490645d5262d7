//! URLs in JSON answers that would lead a client round the gate.
//!
//! A small reader follows the structure of a JSON text as it streams, keeps only the name of the current member and the
//! beginning of a URL, and changes the front of those URLs: the tracker's origin becomes the caller's base. Which members
//! hold URLs is said by their names ([`holds_url`]), so texts that people write are never touched. All other bytes go on as
//! they came, at once, however long the text is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use prometheus_client::metrics::counter::Counter;

use super::body::{Body, BodyError};

/// The same URL as the client may follow it; `None` where it stays as it is.
pub(super) type LeadBack = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Follows one JSON text.
pub(super) struct JsonUrls {
    lead_back: LeadBack,
    at: At,
    /// The objects and arrays around the current place.
    around: Vec<Level>,
    /// The name of the current member, if it is short and has no escapes.
    name: Vec<u8>,
    /// The beginning of a URL, as it stands there.
    front: Vec<u8>,
}

/// Where in the text the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Not in a string.
    Between,
    /// In a member's name.
    Name { escaped: bool },
    /// In a string that stays as it is.
    Text { escaped: bool },
    /// At the beginning of a string that may be a URL.
    Url { escaped: bool },
    /// This is not JSON, or too deep: nothing is changed any more.
    Lost,
}

#[derive(Clone, Copy)]
struct Level {
    within: Within,
    /// Whether it is somewhere in the value of `_links`.
    in_links: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Array,
    /// An object whose next string is a name.
    Object,
    /// The value of a member; whether it holds a URL.
    Member(bool),
}

/// Deeper texts are not followed.
const DEEPEST: usize = 256;
/// No member that matters has a longer name.
const LONGEST_NAME: usize = 64;
/// Scheme, host, port and base path fit into so much.
const LONGEST_FRONT: usize = 2048;

/// A body whose URLs are rewritten while it streams.
pub(super) struct Rewritten {
    body: Body,
    urls: JsonUrls,
    /// Counts the texts that could not be followed; none once this one is counted.
    lost: Option<Counter>,
    has_ended: bool,
}

/// A JSON text in these pieces, with URLs that begin with `from` beginning with `to`; and whether it could be followed to its end.
/// For those who test the reader from outside.
#[doc(hidden)]
pub fn follow_urls(pieces: &[&[u8]], from: &str, to: &str) -> (Vec<u8>, bool) {
    let (from, to) = (from.to_owned(), to.to_owned());
    let mut urls = JsonUrls::new(Box::new(move |url| url.strip_prefix(&from).map(|rest| format!("{to}{rest}"))));
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&urls.next(&Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&urls.end());
    (out, !urls.is_lost())
}

// === impl Rewritten ===

impl Rewritten {
    pub(super) fn new(body: Body, urls: JsonUrls, lost: Counter) -> Self {
        Self { body, urls, lost: Some(lost), has_ended: false }
    }
}

impl HttpBody for Rewritten {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        while !this.has_ended {
            let bytes = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => this.urls.next(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.has_ended = true;
                    Bytes::from(this.urls.end())
                }
            };
            if this.urls.is_lost()
                && let Some(lost) = this.lost.take()
            {
                lost.inc();
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

// === impl JsonUrls ===

impl JsonUrls {
    pub(super) fn new(lead_back: LeadBack) -> Self {
        let (around, name, front) = (Vec::new(), Vec::new(), Vec::new());
        Self { lead_back, at: At::Between, around, name, front }
    }

    /// A whole text at once, and whether it could be followed to its end.
    pub(super) fn whole(mut self, text: &Bytes) -> (Bytes, bool) {
        let mut out = self.next(text).to_vec();
        out.extend_from_slice(&self.end());
        (Bytes::from(out), !self.is_lost())
    }

    /// What goes on of the next bytes, and of those that were kept back.
    pub(super) fn next(&mut self, bytes: &Bytes) -> Bytes {
        let mut out = Vec::new();
        // From here on nothing was copied yet.
        let mut from = 0;
        let mut at = 0;
        while at < bytes.len() {
            match self.at {
                At::Lost => break,
                At::Text { escaped } => at = self.text(bytes, at, escaped),
                At::Name { escaped } => {
                    self.in_name(bytes[at], escaped);
                    at += 1;
                }
                At::Url { escaped } => {
                    let ends = bytes[at] == b'"' && !escaped;
                    if ends || self.front.len() == LONGEST_FRONT {
                        out.extend_from_slice(&self.decided());
                        self.at = if ends { At::Between } else { At::Text { escaped } };
                        from = at;
                        at += usize::from(ends);
                    } else {
                        self.front.push(bytes[at]);
                        self.at = At::Url { escaped: bytes[at] == b'\\' && !escaped };
                        at += 1;
                        from = at;
                    }
                }
                At::Between => {
                    self.between(bytes[at]);
                    at += 1;
                    if matches!(self.at, At::Url { .. }) {
                        out.extend_from_slice(&bytes[from..at]);
                        from = at;
                    }
                }
            }
        }
        if from == 0 && out.is_empty() {
            return bytes.clone();
        }
        out.extend_from_slice(&bytes[from..]);
        Bytes::from(out)
    }

    /// What was kept back, where the text ends.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.front)
    }

    /// Whether the text could not be followed.
    pub(super) fn is_lost(&self) -> bool {
        self.at == At::Lost
    }

    /// Skips what stays of a string; where it ends, or the bytes do.
    fn text(&mut self, bytes: &[u8], mut at: usize, mut escaped: bool) -> usize {
        while at < bytes.len() {
            let byte = bytes[at];
            at += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.at = At::Between;
                    return at;
                }
                _ => {}
            }
        }
        self.at = At::Text { escaped };
        at
    }

    fn in_name(&mut self, byte: u8, escaped: bool) {
        match byte {
            b'"' if !escaped => {
                let is_url = holds_url(&self.name);
                let Some(level) = self.around.last_mut() else { return self.lose() };
                level.within = Within::Member(is_url || level.in_links);
                self.at = At::Between;
            }
            _ => {
                self.at = At::Name { escaped: byte == b'\\' && !escaped };
                // One byte more than any that matters, so that a longer name is none of them.
                if self.name.len() <= LONGEST_NAME {
                    self.name.push(byte);
                }
            }
        }
    }

    /// The front of a URL as it goes on.
    fn decided(&mut self) -> Vec<u8> {
        let front = std::mem::take(&mut self.front);
        // It may be cut within a letter, which is then behind all that is looked at.
        let length = std::str::from_utf8(&front).map_or_else(|error| error.valid_up_to(), str::len);
        let (text, rest) = front.split_at(length);
        let new = std::str::from_utf8(text).ok().and_then(|text| {
            let text = if text.contains("\\/") { with_plain_slashes(text) } else { text.to_owned() };
            (self.lead_back)(&text)
        });
        new.map_or_else(|| front.clone(), |new| [new.as_bytes(), rest].concat())
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b'"' => self.begin_string(),
            b'{' | b'[' => self.open(byte == b'{'),
            b'}' | b']' => self.close(byte == b'}'),
            b',' => {
                if let Some(level) = self.around.last_mut() {
                    level.next();
                }
            }
            b':' if self.around.last().is_none_or(|level| !matches!(level.within, Within::Member(_))) => self.lose(),
            // Numbers, words, blanks; a byte order mark.
            b'\'' | b'<' | b'(' => self.lose(),
            _ => {}
        }
    }

    fn begin_string(&mut self) {
        let escaped = false;
        self.at = match self.around.last() {
            Some(Level { within: Within::Object, .. }) => {
                self.name.clear();
                At::Name { escaped }
            }
            Some(Level { within: Within::Member(true), .. } | Level { within: Within::Array, in_links: true }) => {
                At::Url { escaped }
            }
            _ => At::Text { escaped },
        };
    }

    fn open(&mut self, is_object: bool) {
        let above = self.around.last().copied();
        let is_links = matches!(above, Some(Level { within: Within::Member(_), .. })) && self.name == b"_links";
        if self.around.len() == DEEPEST || above.is_some_and(|level| level.within == Within::Object) {
            return self.lose();
        }
        let within = if is_object { Within::Object } else { Within::Array };
        self.around.push(Level { within, in_links: is_links || above.is_some_and(|level| level.in_links) });
    }

    fn close(&mut self, is_object: bool) {
        match self.around.pop() {
            Some(level) if (level.within != Within::Array) == is_object => self.name.clear(),
            _ => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.at = At::Lost;
    }
}

impl Level {
    /// Behind a comma.
    fn next(&mut self) {
        if self.within != Within::Array {
            self.within = Within::Object;
        }
    }
}

/// Some languages write `/` as `\/`. Other escapes stay.
fn with_plain_slashes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letters.as_str().starts_with('/')) {
            ('\\', true) => {}
            ('\\', false) => {
                out.push(letter);
                out.extend(letters.next());
            }
            _ => out.push(letter),
        }
    }
    out
}

/// Whether a member of this name has a URL of the tracker as its value.
fn holds_url(name: &[u8]) -> bool {
    matches!(name, b"url" | b"self" | b"next" | b"previous" | b"nextPage" | b"previousPage")
        || (name.len() <= LONGEST_NAME && name.ends_with(b"_url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `http://forge:3000/sub` for the tracker and `https://gate:8480` for the gate, in any case of letters.
    fn urls(prefix: &'static str) -> JsonUrls {
        JsonUrls::new(Box::new(move |url| {
            let front = url.get(..FORGE.len()).filter(|front| front.eq_ignore_ascii_case(FORGE))?;
            let rest = &url[front.len()..];
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("https://gate:8480{prefix}{rest}"))
        }))
    }

    const FORGE: &str = "http://forge:3000/sub";

    /// The same in one piece, byte by byte, and in pieces of three.
    #[track_caller]
    fn check(from: &str, to: &str) {
        let (got, followed) = urls("/as/bot").whole(&Bytes::from(from.to_owned()));
        assert_eq!((std::str::from_utf8(&got).unwrap(), followed), (to, true), "{from}");
        for size in [1, 3] {
            let mut urls = urls("/as/bot");
            let mut out = Vec::new();
            for piece in from.as_bytes().chunks(size) {
                out.extend_from_slice(&urls.next(&Bytes::copy_from_slice(piece)));
            }
            out.extend_from_slice(&urls.end());
            assert_eq!(String::from_utf8(out).unwrap(), to, "in pieces of {size}");
        }
    }

    #[test]
    fn members_that_hold_urls_lead_back() {
        for name in ["url", "html_url", "self", "next", "previous", "nextPage"] {
            check(
                &format!(r#"{{"{name}":"http://forge:3000/sub/a?b=1"}}"#),
                &format!(r#"{{"{name}":"https://gate:8480/as/bot/a?b=1"}}"#),
            );
        }
        check(
            r#"[ {"id" : 1, "url" : "http:\/\/forge:3000\/sub\/a" , "n":-1.5e3, "b":[true,null,{"self":"http://FORGE:3000/sub"}]}]"#,
            r#"[ {"id" : 1, "url" : "https://gate:8480/as/bot/a" , "n":-1.5e3, "b":[true,null,{"self":"https://gate:8480/as/bot"}]}]"#,
        );
        check(
            r#"{"_links":{"self":{"href":"http://forge:3000/sub/a"},"all":[{"href":"http://forge:3000/sub/b"}],"x":"http://forge:3000/sub/c"},"href":"http://forge:3000/sub/d"}"#,
            r#"{"_links":{"self":{"href":"https://gate:8480/as/bot/a"},"all":[{"href":"https://gate:8480/as/bot/b"}],"x":"https://gate:8480/as/bot/c"},"href":"http://forge:3000/sub/d"}"#,
        );
        let long = "x".repeat(5000);
        check(
            &format!(r#"{{"url":"http://forge:3000/sub/{long}é\"{long}","self":"http://forge:3000/sub/"}}"#),
            &format!(r#"{{"url":"https://gate:8480/as/bot/{long}é\"{long}","self":"https://gate:8480/as/bot/"}}"#),
        );
    }

    #[test]
    fn all_else_stays() {
        for text in [
            r#"{"body":"see http://forge:3000/sub/a and \"url\":\"http://forge:3000/sub/a\"","title":"http://forge:3000/sub/a"}"#,
            r#"{"url":"http://forge:3000/other/a"}"#,
            r#"{"url":"http://forge:3001/sub/a"}"#,
            r#"{"url":"https://forge.evil/sub/a"}"#,
            r#"{"url":"/sub/a","next":null,"self":7,"x_url":["http://forge:3000/sub/a"],"_url_":"http://forge:3000/sub/a"}"#,
            r#"{"url":{"text":"http://forge:3000/sub/a"},"urls":"http://forge:3000/sub/a"}"#,
            r#"["http://forge:3000/sub/a","url","http://forge:3000/sub/a"]"#,
            r#""http://forge:3000/sub/a""#,
            r#"{"u\u0072l":"http://forge:3000/sub/a","\\":"\\\\","a":""}"#,
            "",
            "  7 ",
            "\u{feff}{}",
            r#"{"url":"http://forge:3000/su"#,
            r#"{"url":"é"#,
        ] {
            check(text, text);
        }
    }

    #[test]
    fn what_is_no_json_goes_on_as_it_came() {
        let deep = "[".repeat(DEEPEST + 1);
        for text in
            ["<html>", "{]", "]", r#"{"a":{,"url" "x"}}}"#, "{'url':'http://forge:3000/sub/a'}", &deep, "jsonp({})"]
        {
            let text = format!(r#"{text}{{"url":"http://forge:3000/sub/a"}}"#);
            let (got, followed) = urls("").whole(&Bytes::from(text.clone()));
            assert_eq!((std::str::from_utf8(&got).unwrap(), followed), (text.as_str(), false));
        }
    }

    proptest::proptest! {
        /// However a text is cut: the same bytes come out, and what is not a URL's front stays.
        #[test]
        fn pieces_make_no_difference(text in r#"([\[\]{}:,"\\ a1]|"url":|"http://forge:3000/sub/x|_links){0,40}"#, cut in 0_usize..200) {
            let bytes = Bytes::from(text);
            let (whole, followed) = urls("").whole(&bytes);
            let cut = cut.min(bytes.len());
            let mut pieces = urls("");
            let mut out = pieces.next(&bytes.slice(..cut)).to_vec();
            out.extend_from_slice(&pieces.next(&bytes.slice(cut..)));
            out.extend_from_slice(&pieces.end());
            proptest::prop_assert_eq!(&out[..], &whole[..]);
            proptest::prop_assert_eq!(!pieces.is_lost(), followed);
        }
    }
}
