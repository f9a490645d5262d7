//! The target of a request, read once.
//!
//! After [`Target::parse`] no function takes a raw path. A path that can be read two ways keeps all of its readings:
//! a router somewhere may follow any of them, so a matcher must look at each (manual: forgejo, section 8).
//! What is sent for a guarded write is rebuilt from typed values; the raw form never is.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;
use std::sync::OnceLock;

/// A request target in origin form (`/path?query`), with every way in which its path can be read.
///
/// Nearly all targets are plain: their pieces are their only reading, and nothing is copied to know that.
#[derive(Clone)]
pub struct Target {
    raw: Raw,
    path_len: usize,
    is_plain: bool,
    ambiguity: Option<&'static str>,
    /// Decoded when somebody asks.
    decoded: OnceLock<Decoded>,
}

/// The text of a target.
#[derive(Clone)]
enum Raw {
    Text(String),
    /// Shared with the request that it came with.
    Shared(PathAndQuery),
}

#[derive(Clone)]
struct Decoded {
    segments: Vec<String>,
    readings: Vec<Vec<String>>,
}

// === impl Target ===

impl Target {
    /// Reads the origin-form path and query as received, an agent prefix already removed. Never fails: what is wrong
    /// with the path is told by [`Self::ambiguity`].
    pub fn parse(raw: &str) -> Self {
        Self::read(Raw::Text(raw.to_owned()))
    }

    /// The same of a request's URI, whose text is shared.
    pub fn of(uri: &Uri) -> Self {
        match (uri.path_and_query(), uri.query()) {
            (Some(whole), _) if whole.as_str().starts_with(uri.path()) => Self::read(Raw::Shared(whole.clone())),
            // An absolute form without a path.
            (_, Some(query)) => Self::parse(&format!("{}?{query}", uri.path())),
            (_, None) => Self::parse(uri.path()),
        }
    }

    fn read(raw: Raw) -> Self {
        let text = raw.as_str();
        let path_len = text.find('?').unwrap_or(text.len());
        let is_plain = is_plain(&text[..path_len]);
        let ambiguity = if is_plain { None } else { doubt(&text[..path_len]) };
        Self { raw, path_len, is_plain, ambiguity, decoded: OnceLock::new() }
    }

    /// As received.
    pub fn raw(&self) -> &str {
        self.raw.as_str()
    }

    /// The path as received.
    pub fn path(&self) -> &str {
        &self.raw()[..self.path_len]
    }

    /// The query as received, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.raw().get(self.path_len + 1..)
    }

    /// The pieces of a path that nobody can read in another way, case kept, empty ones dropped. The same as
    /// [`segments`](Self::segments), and `None` only where that has to be decoded.
    pub fn plain_pieces(&self) -> Option<impl Iterator<Item = &str>> {
        self.is_plain.then(|| pieces(self.path()))
    }

    /// The query's pairs, in order; what two readers could take differently is refused.
    pub fn pairs(&self) -> Result<Vec<(String, String)>, super::ParseError> {
        super::form::read_query(self.query())
    }

    /// Decoded once, case kept, empty ones dropped: what a canonical path is rebuilt from.
    pub fn segments(&self) -> &[String] {
        &self.decoded().segments
    }

    /// Decoded once (`%2F` separates too), slashes collapsed, folded as the tracker folds names.
    pub fn shadow_segments(&self) -> &[String] {
        &self.decoded().readings[0]
    }

    /// The shadow and, where the path is ambiguous, every other reading of it, all folded.
    pub fn readings(&self) -> impl Iterator<Item = &[String]> {
        self.decoded().readings.iter().map(Vec::as_slice)
    }

    fn decoded(&self) -> &Decoded {
        self.decoded.get_or_init(|| {
            let segments: Vec<String> = pieces(self.path()).map(decode).collect();
            let readings = readings(self.path(), &segments, self.ambiguity);
            Decoded { segments, readings }
        })
    }

    /// Why the path can be read two ways, if it can. Doubled and trailing slashes are plain: Forgejo from 7 on and Gitea from
    /// 1.26 on collapse them, Gitea 1.15 finds nothing there, and no guarded write is sent on with them.
    pub fn ambiguity(&self) -> Option<&'static str> {
        self.ambiguity
    }

    /// Whether what is ambiguous is no more than how a name is encoded: it is UTF-8, with whole escapes, and shows no control
    /// characters.
    pub fn is_name(&self) -> bool {
        let mut escapes = self.path().split('%').skip(1);
        let is_whole = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        let decoded = percent_decode_str(self.path()).decode_utf8();
        escapes.all(is_whole) && decoded.is_ok_and(|text| !text.contains(char::is_control))
    }

    /// The path before its last segment, and that segment as it is written; trailing slashes count for nothing.
    pub fn split_last(&self) -> (&str, &str) {
        let path = self.path().trim_end_matches('/');
        path.rsplit_once('/').unwrap_or(("", path))
    }

    /// The one spelling of this path: its segments, encoded where they must be.
    pub fn canonical(&self) -> String {
        join(self.segments())
    }
}

impl Raw {
    fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Shared(whole) => whole.as_str(),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may carry a token.
        write!(f, "{:?}", self.path())
    }
}

/// `/a/b%20c` from `a`, `b c`.
pub fn join<S: AsRef<str>>(segments: &[S]) -> String {
    if segments.is_empty() {
        return "/".to_owned();
    }
    let encoded: Vec<String> = segments.iter().map(|s| utf8_percent_encode(s.as_ref(), RESERVED).to_string()).collect();
    format!("/{}", encoded.join("/"))
}

/// Kelvin sign and dotted capital I become the letters that the tracker's lower-casing makes of them; the rest stays.
pub fn fold_letters(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.chars().map(fold_letter).collect()
}

fn fold_letter(letter: char) -> char {
    match letter {
        '\u{212A}' => 'k',
        '\u{130}' => 'i',
        other => other,
    }
}

fn fold(segment: &str) -> String {
    if segment.is_ascii() {
        return segment.to_ascii_lowercase();
    }
    segment.chars().flat_map(|letter| fold_letter(letter).to_lowercase()).collect()
}

pub(super) fn pieces(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|piece| !piece.is_empty())
}

fn decode(piece: &str) -> String {
    percent_decode_str(piece).decode_utf8_lossy().into_owned()
}

/// The shadow first. A plain path has no other.
fn readings(path: &str, segments: &[String], ambiguity: Option<&'static str>) -> Vec<Vec<String>> {
    let shadow: Vec<String> = pieces(&decode(path)).map(fold).collect();
    if ambiguity.is_none() {
        return vec![shadow];
    }
    let unsplit: Vec<String> = segments.iter().map(|segment| fold(segment)).collect();
    let mut all = vec![shadow, unsplit];
    for index in 0..2 {
        let resolved = without_dots(&all[index]);
        all.push(resolved);
    }
    // The shadow stays first.
    let mut kept: Vec<Vec<String>> = Vec::new();
    for reading in all {
        if !kept.contains(&reading) {
            kept.push(reading);
        }
    }
    kept
}

fn without_dots(segments: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    for segment in segments {
        match segment.as_str() {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment.clone()),
        }
    }
    kept
}

/// Whether a path has one reading without being decoded: letters, digits and the other characters that stand for
/// themselves, and no dot segments. What this says of a path, [`doubt`] says too.
pub(super) fn is_plain(path: &str) -> bool {
    let mut before = 0;
    let mut has_dots = false;
    for byte in path.bytes() {
        if !STANDS_FOR_ITSELF[usize::from(byte)] {
            return false;
        }
        has_dots |= before == b'/' && byte == b'.';
        before = byte;
    }
    path.starts_with('/') && !(has_dots && pieces(path).any(|piece| matches!(piece, "." | "..")))
}

/// A slash and all that RFC 3986, section 3.3, lets stand in a path, but for the semicolon.
const STANDS_FOR_ITSELF: [bool; 256] = {
    let mut stands = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        stands[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"/-._~!$&'()*+,=:@";
    let mut at = 0;
    while at < others.len() {
        stands[others[at] as usize] = true;
        at += 1;
    }
    stands
};

/// The first reason for which two routers might disagree about this path.
fn doubt(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("it does not start with a slash");
    }
    if pieces(path).any(|piece| matches!(piece, "." | "..")) {
        return Some("it has a dot segment");
    }
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => match doubtful_escape(high << 4 | low) {
                    Some(why) => return Some(why),
                    None => after,
                },
                _ => return Some("it has a broken percent escape"),
            },
            (b'%', _) => return Some("it has a broken percent escape"),
            (b';', _) => return Some("it has a path parameter"),
            (byte, after) if *byte == b'/' || is_pchar(*byte) => after,
            _ => return Some("it has a character that a path must encode"),
        };
    }
    percent_decode_str(path).decode_utf8().is_err().then_some("it is not UTF-8")
}

fn doubtful_escape(byte: u8) -> Option<&'static str> {
    match byte {
        b'/' => Some("it has an encoded slash"),
        b'\\' => Some("it has an encoded backslash"),
        0..=0x1F | 0x7F => Some("it has an encoded control character"),
        byte if is_unreserved(byte) => Some("it encodes a character that needs no encoding"),
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 section 3.3, without the percent sign.
fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte)
}

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(raw: &str, ambiguity: Option<&str>, shadow: &str, canonical: &str) {
        let target = Target::parse(raw);
        assert_eq!(target.ambiguity(), ambiguity, "{raw}");
        assert_eq!(target.shadow_segments().join("|"), shadow, "{raw}");
        assert_eq!(target.canonical(), canonical, "{raw}");
    }

    #[test]
    fn reads_paths() {
        let escape = Some("it encodes a character that needs no encoding");
        let raw = Some("it has a character that a path must encode");
        let broken = Some("it has a broken percent escape");
        let dots = Some("it has a dot segment");
        check("/api/v1/user", None, "api|v1|user", "/api/v1/user");
        check("/", None, "", "/");
        check("/a/B/", None, "a|b", "/a/B");
        check("/a//b", None, "a|b", "/a/b");
        check("/a/b//", None, "a|b", "/a/b");
        check("//a", None, "a", "/a");
        check("/a/./b", dots, "a|.|b", "/a/./b");
        check("/a/../b", dots, "a|..|b", "/a/../b");
        check("/a/%2e%2E/b", escape, "a|..|b", "/a/../b");
        check("/a/%69ssues", escape, "a|issues", "/a/issues");
        check("/a/%31", escape, "a|1", "/a/1");
        check("/a%2Fb", Some("it has an encoded slash"), "a|b", "/a%2Fb");
        check("/a%2fb", Some("it has an encoded slash"), "a|b", "/a%2Fb");
        check("/a%5Cb", Some("it has an encoded backslash"), "a\\b", "/a%5Cb");
        check("/a%00", Some("it has an encoded control character"), "a\0", "/a%00");
        check("/a%zz", broken, "a%zz", "/a%25zz");
        check("/a%2", broken, "a%2", "/a%252");
        check("/a%", broken, "a%", "/a%25");
        check("/a;x=1/b", Some("it has a path parameter"), "a;x=1|b", "/a%3Bx%3D1/b");
        check("/a%3Bb", None, "a;b", "/a%3Bb");
        check("/a%20b", None, "a b", "/a%20b");
        check("/a+1", None, "a+1", "/a%2B1");
        check("/a%2B1", None, "a+1", "/a%2B1");
        check("/%E2%84%AAate", None, "kate", "/%E2%84%AAate");
        check("/sem\u{212A}", raw, "semk", "/sem%E2%84%AA");
        check("/sem\u{130}", raw, "semi", "/sem%C4%B0");
        check("/%C4%B0", None, "i", "/%C4%B0");
        check("/\u{661}", raw, "\u{661}", "/%D9%A1");
        check("/a\\b", raw, "a\\b", "/a%5Cb");
        check("/a{b}|\"<>^`", raw, "a{b}|\"<>^`", "/a%7Bb%7D%7C%22%3C%3E%5E%60");
        check("/a#b", raw, "a#b", "/a%23b");
        check("/%c0%af", Some("it is not UTF-8"), "\u{FFFD}\u{FFFD}", "/%EF%BF%BD%EF%BF%BD");
        check("*", Some("it does not start with a slash"), "*", "/%2A");
        check("http://h/api", Some("it does not start with a slash"), "http:|h|api", "/http%3A/h/api");
        check("", Some("it does not start with a slash"), "", "/");
    }

    #[test]
    fn keeps_every_reading() {
        let target = Target::parse("/x/..%2Fapi/b%2Fc");
        let readings: Vec<String> = target.readings().map(|reading| reading.join("|")).collect();
        assert_eq!(readings, ["x|..|api|b|c", "x|../api|b/c", "api|b|c"]);
    }

    #[test]
    fn shares_the_text_of_a_uri() {
        for (text, path, query) in [
            ("/a/b?c=d", "/a/b", Some("c=d")),
            ("http://h:1/a?b", "/a", Some("b")),
            ("http://h", "/", None),
            ("http://h?b", "/", Some("b")),
            ("*", "*", None),
        ] {
            let target = Target::of(&text.parse().unwrap());
            assert_eq!((target.path(), target.query()), (path, query), "{text}");
        }
    }

    #[test]
    fn splits_the_query() {
        for (raw, path, query) in [
            ("/a?b=c", "/a", Some("b=c")),
            ("/a?", "/a", Some("")),
            ("/a", "/a", None),
            ("/a/?b?c#d", "/a/", Some("b?c#d")),
        ] {
            let target = Target::parse(raw);
            assert_eq!((target.path(), target.query()), (path, query), "{raw}");
        }
        assert_eq!(format!("{:?}", Target::parse("/a?token=hush")), "\"/a\"");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_plain_path_has_one_reading(raw in "/([a-zA-Z0-9./;%:@ ]|//|%2[fFeE5]){0,24}") {
            let target = Target::parse(&raw);
            if let Some(pieces) = target.plain_pieces() {
                let pieces: Vec<&str> = pieces.collect();
                prop_assert_eq!(target.segments(), &pieces[..]);
                prop_assert_eq!(doubt(target.path()), None);
                prop_assert_eq!(target.readings().count(), 1);
                let folded: Vec<String> = pieces.iter().map(|piece| piece.to_ascii_lowercase()).collect();
                prop_assert_eq!(target.shadow_segments(), &folded[..]);
            }
        }

        #[test]
        fn canonicalisation_is_idempotent(raw in "/([a-zA-Z0-9./;%\u{212A}\u{130}ſ ]|%2[fFeE5]|%[0-9a-f]{2}){0,24}") {
            let once = Target::parse(&raw);
            let canonical = once.canonical();
            let twice = Target::parse(&canonical);
            prop_assert_eq!(twice.segments(), once.segments());
            prop_assert_eq!(twice.shadow_segments(), once.shadow_segments());
            prop_assert_eq!(twice.canonical(), canonical);
            prop_assert!(once.ambiguity().is_some() || twice.ambiguity().is_none());
        }
    }
}
