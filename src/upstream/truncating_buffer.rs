//! An answer as it is gathered, within a bound of memory.
//!
//! What decides about an item is short: names, numbers, states. Its texts are not, and neither are the texts of its labels,
//! of which whoever may write can make any number: the item must not become unreadable by that. So an answer that fits is
//! kept as it came, and of one that does not, more and more of what decides nothing is left out until it does. What is
//! kept is whole JSON, with every member in its place.

use bytes::Bytes;

/// What there is of an answer so far.
#[derive(Debug)]
pub struct TruncatingBuffer {
    kept: Vec<u8>,
    most: usize,
    is_json: bool,
    /// How much is left out; nothing is looked at before the answer has become too long.
    level: Option<usize>,
    /// The objects and lists that the last byte was in.
    within: Vec<Frame>,
    /// The text that it was in.
    text: Option<Text>,
    escape: Escape,
    /// The rest of this text is left out.
    dropping: bool,
    /// So many levels within a list that is left out.
    emptied: usize,
}

/// There is too much of it, even without what decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is longer than {0} bytes")]
pub struct TooLong(usize);

/// What is kept of an answer.
struct Level {
    /// So much of a text that may decide, bytes.
    decides: usize,
    /// So much of any other.
    other: usize,
    /// Lists that decide nothing are left out, beside those of files.
    lists: bool,
}

/// An object or a list that has begun.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// Before a colon the next text is a name; after it, the value is that of the last name.
    Object {
        before_colon: bool,
        of: Name,
    },
    List,
}

/// What the name of a member says about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// A list of attached files.
    Files,
    /// A list that decides.
    List,
    /// A text that may decide.
    Text,
    Other,
}

/// A text that has begun.
#[derive(Clone, Copy, Debug)]
struct Text {
    /// Where, in what was kept.
    from: usize,
    /// How much of it is kept, bytes.
    most: usize,
}

/// Where the last byte left an escape of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// After the backslash.
    Begun,
    /// In `\u003c`, with so many digits to come.
    Digits(u8),
}

/// The longest answer that is kept.
pub const LONGEST_ANSWER: usize = 4 << 20;
/// What a text that was cut ends with, so that nobody takes it for the whole.
pub const CUT: &str = "… [claimgate: the rest of this text is left out]";
/// The same of a text of which next to nothing is kept.
const CUT_SHORT: &str = "…";
/// The first that is enough is taken.
const LEVELS: [Level; 6] = [
    Level { decides: 64 << 10, other: 64 << 10, lists: false },
    Level { decides: 8 << 10, other: 8 << 10, lists: false },
    Level { decides: 1 << 10, other: 1 << 10, lists: false },
    Level { decides: 256, other: 256, lists: false },
    // Ten thousand labels have a description and an address each.
    Level { decides: 256, other: 32, lists: true },
    Level { decides: 128, other: 0, lists: true },
];
/// No name of a member is longer.
const LONGEST_NAME: usize = 256;
/// What Forgejo and Gitea call the files that are attached, of which there may be any number.
const FILES: &[&[u8]] = &[b"assets"];
const LISTS: &[&[u8]] = &[b"assignees", b"data", b"labels"];
/// Texts by which an item, a label, an account, a review or a pull request is told from another, and what they say.
const TEXTS: &[&[u8]] = &[
    b"body",
    b"commit_id",
    b"created_at",
    b"event",
    b"full_name",
    b"html_url",
    b"label",
    b"login",
    b"name",
    b"ref",
    b"sha",
    b"state",
    b"submitted_at",
    b"title",
    b"updated_at",
];

// === impl TruncatingBuffer ===

impl TruncatingBuffer {
    /// Nothing yet, of an answer that is JSON or is not.
    pub fn new(most: usize, is_json: bool) -> Self {
        Self {
            kept: Vec::new(),
            most,
            is_json,
            level: None,
            within: Vec::new(),
            text: None,
            escape: Escape::None,
            dropping: false,
            emptied: 0,
        }
    }

    /// What came next.
    pub fn push(&mut self, data: &[u8]) -> Result<(), TooLong> {
        self.take(data);
        while self.kept.len() > self.most {
            self.tighten()?;
        }
        Ok(())
    }

    /// How much is kept so far.
    pub fn length(&self) -> usize {
        self.kept.len()
    }

    /// All that was kept.
    pub fn done(self) -> Bytes {
        self.kept.into()
    }

    fn take(&mut self, data: &[u8]) {
        let Some(level) = self.level.map(|at| &LEVELS[at]) else { return self.kept.extend_from_slice(data) };
        let mut left = data;
        while !left.is_empty() {
            if self.dropping && self.escape == Escape::None {
                left = &left[left.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(left.len())..];
            }
            let Some((byte, after)) = left.split_first() else { return };
            match self.text {
                Some(text) => self.take_in(text, *byte),
                None if self.emptied > 0 => self.leave_out(*byte),
                None => self.take_between(*byte, level),
            }
            left = after;
        }
    }

    /// A byte of a text.
    fn take_in(&mut self, text: Text, byte: u8) {
        let ends = byte == b'"' && self.escape != Escape::Begun;
        let is_long = !self.dropping && self.kept.len() - text.from >= text.most;
        if is_long && !ends && self.escape == Escape::None && may_be_cut(&self.kept[text.from..], byte) {
            let mark = if text.most > CUT.len() { CUT } else { CUT_SHORT };
            self.kept.extend_from_slice(mark.as_bytes());
            self.dropping = true;
        }
        if ends && let Some(Frame::Object { before_colon: true, of }) = self.within.last_mut() {
            *of = Name::of(&self.kept[text.from..]);
        }
        if self.emptied == 0 && (ends || !self.dropping) {
            self.kept.push(byte);
        }
        self.escape = self.escape.after(byte);
        if ends {
            (self.text, self.escape, self.dropping) = (None, Escape::None, false);
        }
    }

    /// What is in no text.
    fn take_between(&mut self, byte: u8, level: &Level) {
        self.kept.push(byte);
        let in_list = matches!(self.within.last(), None | Some(Frame::List));
        match (byte, self.within.last_mut()) {
            (b'{', _) => self.within.push(Frame::Object { before_colon: true, of: Name::Other }),
            (b'[', Some(Frame::Object { of, .. })) if of.is_emptied(level) => self.emptied = 1,
            (b'[', _) => self.within.push(Frame::List),
            (b'}' | b']', _) => {
                self.within.pop();
            }
            (b',', Some(Frame::Object { before_colon, .. })) => *before_colon = true,
            (b':', Some(Frame::Object { before_colon, .. })) => *before_colon = false,
            (b'"', Some(Frame::Object { before_colon: true, .. })) => self.begin_text(LONGEST_NAME),
            (b'"', Some(Frame::Object { of: Name::Text, .. })) => self.begin_text(level.decides),
            (b'"', _) if in_list && !level.lists => self.begin_text(level.decides),
            (b'"', _) => self.begin_text(level.other),
            _ => {}
        }
    }

    fn begin_text(&mut self, most: usize) {
        self.text = Some(Text { from: self.kept.len(), most });
    }

    /// A byte within a list that is left out, but for its brackets.
    fn leave_out(&mut self, byte: u8) {
        match byte {
            b'[' | b'{' => self.emptied += 1,
            b']' | b'}' => self.emptied -= 1,
            b'"' => (self.text, self.dropping) = (Some(Text { from: self.kept.len(), most: 0 }), true),
            _ => {}
        }
        if self.emptied == 0 {
            self.kept.push(byte);
        }
    }

    /// Goes over what was kept again, and leaves more out.
    fn tighten(&mut self) -> Result<(), TooLong> {
        let next = self.level.map_or(0, |level| level + 1);
        if !self.is_json || next == LEVELS.len() {
            return Err(TooLong(self.most));
        }
        let mut again = Self { level: Some(next), ..Self::new(self.most, true) };
        again.take(&self.kept);
        // What was being left out left no trace.
        if self.dropping || self.emptied > 0 {
            let text = self.text.map(|text| Text { from: again.kept.len(), ..text });
            again = Self { text, escape: self.escape, dropping: self.dropping, emptied: self.emptied, ..again };
        }
        *self = again;
        Ok(())
    }
}

/// Whether a text may end before this byte: not within a letter, and not between the two halves of one.
fn may_be_cut(text: &[u8], byte: u8) -> bool {
    let is_half = |tail: &[u8]| {
        tail.starts_with(br"\u") && matches!(tail[2..4], [b'd' | b'D', b'8'..=b'9' | b'a' | b'b' | b'A' | b'B'])
    };
    byte & 0xC0 != 0x80 && !text.last_chunk::<6>().is_some_and(|tail| is_half(tail))
}

// === impl Name ===

impl Name {
    fn of(name: &[u8]) -> Self {
        let kinds = [(FILES, Self::Files), (LISTS, Self::List), (TEXTS, Self::Text)];
        kinds.into_iter().find(|(names, _)| names.contains(&name)).map_or(Self::Other, |(_, kind)| kind)
    }

    fn is_emptied(self, level: &Level) -> bool {
        self == Self::Files || (level.lists && self != Self::List)
    }
}

// === impl Escape ===

impl Escape {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::None, b'\\') => Self::Begun,
            (Self::Begun, b'u') => Self::Digits(4),
            (Self::Digits(more @ 2..), _) => Self::Digits(more - 1),
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn gathered(most: usize, chunk: usize, body: &[u8]) -> Result<Bytes, TooLong> {
        let mut all = TruncatingBuffer::new(most, true);
        body.chunks(chunk).try_for_each(|data| all.push(data)).map(|()| all.done())
    }

    /// The same, with texts that are whole or begin like it.
    fn is_cut_of(cut: &Value, whole: &Value) -> bool {
        match (cut, whole) {
            (Value::String(cut), Value::String(whole)) => {
                cut == whole || cut.strip_suffix(CUT).is_some_and(|start| whole.starts_with(start))
            }
            (Value::Array(cut), Value::Array(whole)) => {
                cut.len() == whole.len() && cut.iter().zip(whole).all(|(cut, whole)| is_cut_of(cut, whole))
            }
            (Value::Object(cut), Value::Object(whole)) => {
                let same =
                    |((a, cut), (b, whole)): ((&String, &Value), (&String, &Value))| a == b && is_cut_of(cut, whole);
                cut.len() == whole.len() && cut.iter().zip(whole).all(same)
            }
            (cut, whole) => cut == whole,
        }
    }

    #[test]
    fn what_fits_stays_as_it_came() {
        let body = json!({"id": 1, "body": "x".repeat(100_000)}).to_string();
        assert_eq!(gathered(body.len(), 1000, body.as_bytes()).unwrap(), body);
        // Whatever it is.
        let mut text = TruncatingBuffer::new(4, false);
        assert_eq!((text.push(b"\"\\\"x"), text.push(b"y")), (Ok(()), Err(TooLong(4))));
    }

    #[test]
    fn of_what_does_not_texts_are_cut_and_nothing_else() {
        // As a tracker may write them: plain, with escapes of two and of six, of many bytes, in halves.
        for unit in
            ["x", "\\n", "\\\\", "\\\"", "\\u003c", "ü", "€", "😀", "\\ud83d\\ude00", "\\\\ud83d", "a\\u0001\\\\u"]
        {
            let long = unit.repeat(400_000 / unit.len());
            let body = format!(
                r#"{{"id":7,"body":"{long}","labels":[{{"name":"{long}"}},{{"name":"todo"}}],"state":"open"}}"#
            );
            for (most, chunk) in [(200_000, 1000), (20_000, 7), (2_000, 1001), (1_000, 64)] {
                let kept = gathered(most, chunk, body.as_bytes()).unwrap_or_else(|error| panic!("{unit}: {error}"));
                assert!(kept.len() <= most, "{unit}: {}", kept.len());
                let cut: Value = serde_json::from_slice(&kept).unwrap_or_else(|error| panic!("{unit}: {error}"));
                assert!(is_cut_of(&cut, &serde_json::from_str(&body).unwrap()), "{unit}");
                assert!(
                    cut["body"].as_str().is_some_and(|text| text.ends_with(CUT) && text.len() > CUT.len() + 40),
                    "{unit}"
                );
                assert_eq!(
                    (&cut["id"], &cut["labels"][1]["name"], &cut["state"]),
                    (&json!(7), &json!("todo"), &json!("open"))
                );
            }
        }
    }

    #[test]
    fn as_little_is_left_out_as_will_do() {
        let rows: Vec<Value> = (0..50).map(|n| json!({"number": n, "body": "x".repeat(85_000)})).collect();
        let kept = gathered(LONGEST_ANSWER, 8 << 10, Value::from(rows).to_string().as_bytes()).unwrap();
        let rows: Vec<Value> = serde_json::from_slice(&kept).unwrap();
        assert!(rows.len() == 50 && rows.iter().all(|row| row["body"].as_str().unwrap().len() > 64 << 10));
    }

    #[test]
    fn attached_files_are_left_out() {
        let file = |n: usize| json!({"id": n, "name": "]\\\"[", "of": [{"x": []}], "url": "x".repeat(n % 90)});
        let files: Vec<Value> = (0..1_000).map(file).collect();
        let named = json!(["assets", ["assets"], {"assets": {"x": ["assets"]}, "y": "assets"}]);
        let text = "y".repeat(5_000);
        let whole = json!({"id": 7, "body": text, "assets": files, "labels": named, "more": [{"assets": files}, {"assets": []}]});
        let whole = whole.to_string();
        for (most, chunk) in [(40_000, 1_000), (6_000, 1), (6_000, 700), (4_000, 13), (1_000, 64)] {
            let kept = gathered(most, chunk, whole.as_bytes()).unwrap();
            let kept: Value = serde_json::from_slice(&kept).unwrap();
            let expected = json!({"id": 7, "body": kept["body"], "assets": [], "labels": named, "more": [{"assets": []}, {"assets": []}]});
            assert_eq!(kept, expected);
            assert!(is_cut_of(&kept["body"], &json!(text)));
        }
        assert_eq!(gathered(whole.len(), 9, whole.as_bytes()).unwrap(), whole, "where they fit, they stay");
    }

    /// Any number of labels, by whoever may write there: names and numbers stay, and so does every member.
    #[test]
    fn labels_without_end_leave_what_decides() {
        let label = |n: usize| {
            json!({"id": n, "name": format!("f{n:0>30}"), "exclusive": n.is_multiple_of(2), "is_archived": false,
                   "color": "00aabb", "description": "\u{1}".repeat(200), "url": "u".repeat(90), "list": [n, n]})
        };
        let labels = |count: usize| (0..count).map(label).collect::<Vec<_>>();
        let issue = json!({
            "id": 7, "url": "https://forge/7", "title": "a piece of work", "body": "b".repeat(9_000), "labels": labels(10_500),
            "state": "open", "assignees": [{"id": 1, "login": "ann", "email": "x".repeat(300)}], "extra": ["x", {"y": [1]}],
        });
        let page =
            json!((0..50).map(|n| json!({"number": n, "labels": labels(200), "state": "open"})).collect::<Vec<_>>());
        for (whole, chunk) in [(issue, 8 << 10), (page, 1_001)] {
            let text = whole.to_string();
            assert!(text.len() > 2 * LONGEST_ANSWER);
            let kept = gathered(LONGEST_ANSWER, chunk, text.as_bytes()).unwrap();
            let kept: Value = serde_json::from_slice(&kept).unwrap();
            let (items, rows) = match (&whole, &kept) {
                (Value::Array(whole), Value::Array(kept)) => (whole.clone(), kept.clone()),
                _ => (vec![whole.clone()], vec![kept.clone()]),
            };
            for (item, row) in items.iter().zip(&rows) {
                let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
                assert_eq!(names(row), names(item), "every member is in its place");
                for name in ["id", "number", "title", "state"] {
                    assert_eq!(row[name], item[name]);
                }
                let (ours, theirs) = (row["labels"].as_array().unwrap(), item["labels"].as_array().unwrap());
                assert_eq!(ours.len(), theirs.len());
                for (ours, theirs) in ours.iter().zip(theirs) {
                    assert_eq!(names(ours), names(theirs));
                    assert!(["id", "name", "exclusive"].iter().all(|name| ours[name] == theirs[name]), "{ours}");
                    assert!(ours["description"].as_str().is_some_and(|text| text.ends_with(CUT_SHORT)));
                }
            }
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let rows = format!("[{}", "1,".repeat(1_000));
        assert_eq!(gathered(1_000, 64, rows.as_bytes()), Err(TooLong(1_000)));
        let mut endless = TruncatingBuffer::new(1_000, true);
        endless.push(b"{\"body\":\"").unwrap();
        for _ in 0..10_000 {
            endless.push(&[b'x'; 100]).unwrap();
            assert!(endless.kept.capacity() < 10_000);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_cut_reads_as_before(
            texts in prop::collection::vec("([a-z\"\\\\\\n\u{1}é€😀]{0,9}){0,99}", 1..9),
            most in 3_500_usize..9_000,
            chunk in 1_usize..700,
        ) {
            let whole = json!({ "texts": texts, "id": 7 });
            let kept = gathered(most, chunk, whole.to_string().as_bytes()).unwrap();
            prop_assert!(kept.len() <= most);
            let cut: Value = serde_json::from_slice(&kept).unwrap();
            prop_assert!(is_cut_of(&cut, &whole), "{cut}");
        }
    }
}
