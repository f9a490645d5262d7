//! A strict reader of JSON objects: what it accepts has one reading, whoever reads it.
//!
//! Trackers read JSON leniently and not alike: names without regard to case (by Unicode simple folding, and lately
//! without regard to `_` and `-`), the last of two equal members, text after the document. One of them (goccy/go-json to
//! v0.10.5, in Forgejo 7 to 15 and Gitea 1.16 to 1.25) loses its place at a name with an escape: it takes the beginning
//! of a name for the whole, or what is in a string for members. Another (jsoniter, in Gitea 1.15) compares names by a hash
//! that is easily made to collide. Whatever two readers could take differently is refused here. Members that nobody asks
//! for keep their bytes.

use super::ParseError;
use serde::de::{Deserialize, DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

/// One member of an object: its value as it was written.
#[derive(Clone)]
pub struct Member {
    /// Its name, decoded.
    pub name: String,
    /// Its value, verbatim.
    pub value: Box<RawValue>,
}

/// Reads one JSON object. A name that folds to a watched one must be spelled exactly so.
pub fn read_object(body: &[u8], watched: &[&str]) -> Result<Vec<Member>, ParseError> {
    let text = std::str::from_utf8(body).map_err(|_| refuse("the body is not UTF-8"))?;
    read_members(text, watched, |_| true)
}

/// The same, of which only these members are compared with anything. In all others half of a surrogate pair, which every
/// reader takes for one character that it does not know, is kept as it came; and so is a byte that is no UTF-8 replaced by
/// that character, as the trackers' readers replace it.
pub fn read_compared(body: &[u8], watched: &[&str], compared: &[&str]) -> Result<Vec<Member>, ParseError> {
    let is_compared = |name: &str| compared.contains(&name);
    if let Ok(text) = std::str::from_utf8(body) {
        return read_members(text, watched, is_compared);
    }
    let members = read_members(&with_whole_letters(body), watched, is_compared)?;
    let is_replaced = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    match members.iter().find(|it| is_replaced(&it.name) || (is_compared(&it.name) && is_replaced(it.value.get()))) {
        Some(member) => Err(refuse(format!("the member `{}` is not UTF-8", shorten(&member.name)))),
        None => Ok(members),
    }
}

/// Each byte that is no UTF-8 replaced. None of them is a quote or a bracket, so every reader sees the same members.
fn with_whole_letters(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

fn read_members(text: &str, watched: &[&str], is_compared: impl Fn(&str) -> bool) -> Result<Vec<Member>, ParseError> {
    match text.trim_start_matches([' ', '\t', '\r', '\n']).bytes().next() {
        Some(b'{') => {}
        Some(_) => return Err(refuse("the body must be one JSON object, beginning with `{`")),
        None => return Err(refuse("the body is empty: a JSON object was expected (`{}` changes nothing)")),
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).map_err(|error| malformed(&error))?;
    reader.end().map_err(|error| malformed(&error))?;
    check_names(&members, watched)?;
    let values = Cell::new(0);
    members.iter().try_for_each(|member| {
        let text = member.value.get();
        let text = if is_compared(&member.name) { Cow::Borrowed(text) } else { with_whole_pairs(text) };
        check_value(&text, &values)
    })?;
    Ok(members)
}

/// Writes members as one object.
pub fn write_object(members: &[Member]) -> String {
    let body: Vec<String> = members.iter().map(|m| format!("{}:{}", quote(&m.name), m.value.get())).collect();
    format!("{{{}}}", body.join(","))
}

/// How any of the trackers' readers may fold a name: Unicode simple folding, `_` and `-` left out.
pub fn fold_name(name: &str) -> String {
    if name.is_ascii() {
        let mut folded = name.to_ascii_lowercase();
        folded.retain(|letter| !matches!(letter, '_' | '-'));
        return folded;
    }
    name.chars().filter(|letter| !matches!(letter, '_' | '-')).map(fold_char).collect()
}

/// Equal texts, whatever the case of their letters, by Unicode simple folding.
pub fn fold_text(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

// === impl Member ===

impl Member {
    /// A member with a value of the gate's own.
    pub fn new(name: &str, value: &serde_json::Value) -> Self {
        let raw = serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { name: name.to_owned(), value: raw }
    }

    /// One whose value is JSON already.
    pub fn raw(name: &str, json: String) -> Self {
        let value = RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { name: name.to_owned(), value }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} bytes)", self.name, self.value.get().len())
    }
}

fn quote(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

fn refuse(text: impl Into<String>) -> ParseError {
    ParseError::Ambiguous(text.into())
}

fn malformed(error: &serde_json::Error) -> ParseError {
    refuse(match error.classify() {
        // What this reader refuses; the library's own errors are of other kinds.
        Category::Data => format!("the body can be read in two ways: {error}"),
        _ => format!("the body is not one well-formed JSON object: {error}"),
    })
}

fn check_names(members: &[Member], watched: &[&str]) -> Result<(), ParseError> {
    let mut seen = BTreeSet::new();
    let watched: Vec<_> = watched.iter().map(|exact| (*exact, fold_name(exact), jsoniter_hash(exact))).collect();
    for Member { name, .. } in members {
        let folded = fold_name(name);
        let hash = jsoniter_hash(name);
        let alike = |(exact, fold, of): &&(&str, String, u64)| *exact != name && (*fold == folded || *of == hash);
        if let Some((exact, ..)) = watched.iter().find(alike) {
            let name = shorten(name);
            return Err(refuse(format!("the member `{name}` may be read as `{exact}`: spell it exactly")));
        }
        if !seen.insert(folded) {
            return Err(refuse(format!(
                "the member `{}` occurs twice, perhaps in another spelling: send it once",
                shorten(name)
            )));
        }
    }
    Ok(())
}

/// By this, and by nothing else, jsoniter knows the members of an object with up to ten (`reflect_struct_decoder.go`,
/// v1.1.11: FNV-1a of 32 bits in 64).
fn jsoniter_hash(name: &str) -> u64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
    name.bytes().fold(0x811C_9DC5, add)
}

/// The text of a member, half surrogate pairs replaced as every reader replaces them; empty where it is none.
pub fn text_of(member: &Member) -> String {
    serde_json::from_str(&with_whole_pairs(member.value.get())).unwrap_or_default()
}

/// The JSON of a member's value, with each half of a surrogate pair replaced.
pub fn whole_pairs(member: &Member) -> Cow<'_, str> {
    with_whole_pairs(member.value.get())
}

/// JSON with each escape of half a surrogate pair replaced by the one of U+FFFD.
fn with_whole_pairs(json: &str) -> Cow<'_, str> {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| plain)
    };
    let (mut whole, mut kept, mut at) = (String::new(), 0, 0);
    while let Some(next) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += next;
        match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 12,
            (Some(0xD800..=0xDFFF), _) => {
                whole.push_str(&json[kept..at]);
                whole.push_str("\\ufffd");
                at += 6;
                kept = at;
            }
            // Whatever is escaped, in its first byte.
            _ => at += 2,
        }
    }
    if kept == 0 { Cow::Borrowed(json) } else { Cow::Owned(whole + &json[kept..]) }
}

fn check_value(value: &str, values: &Cell<usize>) -> Result<(), ParseError> {
    let mut reader = serde_json::Deserializer::from_str(value);
    Strict { depth: 1, values }.deserialize(&mut reader).map_err(|error| malformed(&error))
}

/// A name from a request, short enough for a message.
pub fn shorten(name: &str) -> String {
    match name.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Unicode simple folding, and a little more (`ı` folds to `i`): equal letters are equal here too.
fn fold_char(letter: char) -> char {
    match letter {
        ascii if ascii.is_ascii() => ascii.to_ascii_lowercase(),
        // The three pairs whose fold is not the lower case of a single upper-case letter.
        '\u{1FD3}' => '\u{390}',
        '\u{1FE3}' => '\u{3B0}',
        '\u{FB05}' => '\u{FB06}',
        other => {
            let upper = only(other, other.to_uppercase());
            only(upper, upper.to_lowercase())
        }
    }
}

/// The mapped letter where the mapping is one to one.
fn only(letter: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

/// A name without any escape, as every client writes it.
struct PlainName<'de>(&'de str);

impl<'de> Deserialize<'de> for PlainName<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Plain).map(PlainName)
    }
}

struct Plain;

impl<'de> Visitor<'de> for Plain {
    type Value = &'de str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> Result<&'de str, E> {
        if name.starts_with(PRIVATE) {
            return Err(E::custom(format!("the member `{}` is an instruction to the reader", shorten(name))));
        }
        Ok(name)
    }

    /// Only a name with an escape cannot be borrowed.
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<&'de str, E> {
        Err(E::custom(format!(
            "the name of the member `{}` is written with an escape: write it plainly",
            shorten(name)
        )))
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((PlainName(name), value)) = map.next_entry()? {
            if members.len() == MOST_MEMBERS {
                return Err(A::Error::custom(format!("it has more than {MOST_MEMBERS} members")));
            }
            members.push(Member { name: name.to_owned(), value });
        }
        Ok(members)
    }
}

/// Walks a value that is kept verbatim, so that nothing in it has two readings either.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    /// How many there were so far in the whole body.
    values: &'a Cell<usize>,
}

impl Strict<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH {
            Ok(Self { depth: self.depth + 1, ..self })
        } else {
            Err(E::custom("nested too deeply"))
        }
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MOST_VALUES {
            return Err(E::custom(format!("it has more than {MOST_VALUES} values")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut seen = BTreeSet::new();
        while let Some(PlainName(name)) = map.next_key()? {
            if !seen.insert(fold_name(name)) {
                return Err(A::Error::custom(format!("the member `{}` occurs twice: send it once", shorten(name))));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// `serde_json` takes what follows such a name for the value itself, in text.
const PRIVATE: &str = "$serde_json::private::";
/// Deep enough for any tracker's body, far from any reader's limit.
const MAX_DEPTH: usize = 32;
/// Most members of the body; trackers know some twenty.
const MOST_MEMBERS: usize = 256;
/// Most values in the body, those within others counted: what is kept of them is many times as long as they are.
const MOST_VALUES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHED: &[&str] = &["assignees", "state", "token", "due_date"];

    fn check(body: &[u8], expected: Result<&str, &str>) {
        let read = read_object(body, WATCHED);
        let shown = String::from_utf8_lossy(body);
        match (read, expected) {
            (Ok(members), Ok(text)) => assert_eq!(write_object(&members), text, "{shown}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{shown}: {error}"),
            (read, expected) => panic!("{shown}: read {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn reads_one_object_one_way() {
        check(br#"{"assignees":["a"]}"#, Ok(r#"{"assignees":["a"]}"#));
        check(b" \r\n\t{ } \n", Ok("{}"));
        check(br#"{"x":1e2, "y" : [ 1 , {"a":null} ]}"#, Ok(r#"{"x":1e2,"y":[ 1 , {"a":null} ]}"#));
        check(br#"{"x":18446744073709551616}"#, Ok(r#"{"x":18446744073709551616}"#));
        check("{\"ä\":\"\\ud83d\\ude00\"}".as_bytes(), Ok("{\"ä\":\"\\ud83d\\ude00\"}"));
        // Two readings.
        check(br#"{"x":1,"x":1}"#, Err("occurs twice"));
        check(br#"{"x":1,"X":1}"#, Err("occurs twice"));
        check(br#"{"a_b":1,"ab":1}"#, Err("occurs twice"));
        check("{\"s\":1,\"ſ\":1}".as_bytes(), Err("occurs twice"));
        check(br#"{"x":{"y":1,"Y":2}}"#, Err("occurs twice"));
        check(br#"{"ASSIGNEES":[]}"#, Err("`ASSIGNEES` may be read as `assignees`"));
        check(br#"{"assignees":[],"ASSIGNEES":[]}"#, Err("spell it exactly"));
        check("{\"aſſignees\":[]}".as_bytes(), Err("spell it exactly"));
        check("{\"\u{17F}tate\":1}".as_bytes(), Err("may be read as `state`"));
        check("{\"to\u{212A}en\":1}".as_bytes(), Err("may be read as `token`"));
        check(br#"{"DueDate":1}"#, Err("may be read as `due_date`"));
        check(br#"{"assign-ees":1}"#, Err("may be read as `assignees`"));
        // Names with the hash of another; jsoniter 1.1.11 takes each for the one that it is refused for.
        check(br#"{"ovrtgx993z(t7:2[5":["eve"]}"#, Err("may be read as `assignees`"));
        check(br#"{"nxgiiv1)58:h>6|9,":"closed"}"#, Err("may be read as `state`"));
        // Names that the library, asked for any value, would take for an instruction.
        check(br#"{"$serde_json::private::RawValue":"{}"}"#, Err("an instruction to the reader"));
        check(br#"{"state":{"$serde_json::private::RawValue":"null"}}"#, Err("an instruction to the reader"));
        // Names with an escape, which goccy/go-json reads as others, or as the end of a string.
        check(br#"{"\u0061ssignees":["a"]}"#, Err("`assignees` is written with an escape"));
        check(br#"{"\u0061ssigne":"eve"}"#, Err("with an escape"));
        check(br#"{"st\u0061t":"closed"}"#, Err("with an escape"));
        check(br#"{"a\u017f\u017fignees":[]}"#, Err("with an escape"));
        check(br#"{"\\":":0,",":0,":{":0,":[":[\""],"state":"closed"}}"#, Err("with an escape"));
        check(br#"{"x":[{"a\"":1}]}"#, Err("with an escape"));
        // Not one object.
        check(b"", Err("empty"));
        check(b"  ", Err("empty"));
        check(b"null", Err("beginning with"));
        check(br#"["t","bob"]"#, Err("beginning with"));
        check(b"\xEF\xBB\xBF{}", Err("beginning with"));
        check(b"{}{}", Err("trailing"));
        check(b"{} x", Err("trailing"));
        check(b"{}\0", Err("trailing"));
        check(br#"{"x":1,}"#, Err("well-formed"));
        check(br#"{"x":01}"#, Err("well-formed"));
        check(br#"{"x":NaN}"#, Err("well-formed"));
        check(b"{\"x\":/* */1}", Err("well-formed"));
        check(b"{'x':1}", Err("well-formed"));
        check(b"{\"x\":\"\n\"}", Err("well-formed"));
        check(br#"{"x":1e999999}"#, Err("out of range"));
        check(br#"{"x":"\ud800"}"#, Err("well-formed"));
        check(br#"{"x":["\udc00"]}"#, Err("well-formed"));
        check(br#"{"\ud800":1}"#, Err("well-formed"));
        check(b"{\"x\":\"\xFF\"}", Err("not UTF-8"));
        check(br#"{"x":1"#, Err("well-formed"));
    }

    #[test]
    fn half_a_pair_is_kept_in_what_nobody_compares() {
        let read = |body: &str| read_compared(body.as_bytes(), WATCHED, WATCHED).map(|members| write_object(&members));
        for body in [
            r#"{"x":"\ud83d"}"#,
            r#"{"x":"\udE00\ud83d","y":{"z":["\\\ud83d\"\ud83d\ude00\\"]}}"#,
            r#"{"x":"\ud83d\ud83d\ude00","state":"closed"}"#,
            "{\"x\":\"\\ud83d\u{e4}\\\\\"}",
        ] {
            assert_eq!(read(body).as_deref(), Ok(body));
        }
        for body in [
            r#"{"state":"\ud83d"}"#,
            r#"{"assignees":["\udc00"]}"#,
            r#"{"\ud83d":1}"#,
            r#"{"x":"\ud8"}"#,
            r#"{"x":"\ud83"#,
            r#"{"x":"\ud83d"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
        let members = read_compared(br#"{"x":"fix\ud83des \ud83d\ude00"}"#, &[], &[]).unwrap();
        assert_eq!(text_of(&members[0]), "fix\u{fffd}es \u{1f600}");
    }

    #[test]
    fn a_byte_that_is_no_utf_8_is_replaced_in_what_nobody_compares() {
        let read = |body: &[u8]| read_compared(body, WATCHED, WATCHED).map(|members| write_object(&members));
        for (body, wanted) in [
            (&b"{\"x\":\"a\xFFb\"}"[..], "{\"x\":\"a\u{fffd}b\"}"),
            (b"{\"x\":\"\xE2\x82\",\"state\":\"closed\"}", "{\"x\":\"\u{fffd}\u{fffd}\",\"state\":\"closed\"}"),
            (b"{\"x\":{\"y\":[\"\xF0\"]}}", "{\"x\":{\"y\":[\"\u{fffd}\"]}}"),
        ] {
            assert_eq!(read(body).as_deref(), Ok(wanted));
        }
        for body in [
            &b"{\"state\":\"\xFF\"}"[..],
            b"{\"assignees\":[\"b\xFFb\"]}",
            b"{\"x\xFF\":1}",
            b"{\"stat\xFFe\":1}",
            b"{\"x\":\"\\\xFF\"}",
            b"{\"x\":\xFF}",
            b"{\"x\":\"a\xC5",
            b"\xFF{}",
        ] {
            assert!(read(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_object(nested(MAX_DEPTH - 1).as_bytes(), &[]).is_ok());
        for depth in [MAX_DEPTH, 200, 20_000] {
            let error = read_object(nested(depth).as_bytes(), &[]).unwrap_err().to_string();
            assert!(error.contains("nested too deeply") || error.contains("recursion limit"), "{depth}: {error}");
        }
    }

    #[test]
    fn members_and_values_are_bounded() {
        let members =
            |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n}x\":1")).collect::<Vec<_>>().join(","));
        assert_eq!(read_object(members(MOST_MEMBERS).as_bytes(), &[]).unwrap().len(), MOST_MEMBERS);
        let error = read_object(members(MOST_MEMBERS + 1).as_bytes(), &[]).unwrap_err();
        assert!(error.to_string().contains("more than 256 members"), "{error}");
        let within = |count: usize| format!("{{\"x\":[1{}],\"y\":2}}", ",1".repeat(count - 3));
        assert!(read_object(within(MOST_VALUES).as_bytes(), &[]).is_ok());
        for body in [within(MOST_VALUES + 1), format!("{{\"x\":{}}}", members(MOST_VALUES))] {
            let error = read_object(body.as_bytes(), &[]).unwrap_err();
            assert!(error.to_string().contains("more than 10000 values"), "{error}");
        }
    }

    #[test]
    fn folds_like_every_reader() {
        for (one, other) in [
            ("KELVIN", "\u{212A}elvin"),
            ("masse", "maſſe"),
            ("ΣΑΣ", "σας"),
            ("µ", "μ"),
            ("Å", "\u{212B}"),
            ("ω", "\u{2126}"),
            ("ẞ", "ß"),
            ("Ꭰ", "ꭰ"),
            ("ᾳ", "ᾼ"),
            ("ǆ", "ǅ"),
            ("\u{1FD3}", "\u{390}"),
            ("\u{1FE3}", "\u{3B0}"),
            ("\u{FB05}", "\u{FB06}"),
        ] {
            assert_eq!(fold_name(one), fold_name(other), "{one} {other}");
        }
        assert_ne!(fold_name("state"), fold_name("estate"));
    }
}
