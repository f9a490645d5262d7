//! An answer as it is gathered, within a bound of memory.
//!
//! What decides about an item is short: names, numbers, states. Its texts are not, and whoever may write to it may write
//! one that no bound would hold: the item must not become unreadable by that. So an answer that fits is kept as it came,
//! and of one that does not, long texts are cut until it does, and lists of attached files are left out.

use bytes::Bytes;

/// What there is of an answer so far.
#[derive(Debug)]
pub struct Gathered {
    kept: Vec<u8>,
    most: usize,
    is_json: bool,
    /// How much of a text is kept; nothing is looked at before the answer has become too long.
    cut: Option<usize>,
    /// Where the text begins that the last byte was in.
    text: Option<usize>,
    escape: Escape,
    /// The rest of this text is left out.
    dropping: bool,
    list: List,
}

/// There is too much of it, even without its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is longer than {0} bytes")]
pub struct TooLong(usize);

/// Where the last byte left an escape of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// After the backslash.
    Begun,
    /// In `\u003c`, with so many digits to come.
    Digits(u8),
}

/// Where the last byte left a list that decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    None,
    /// Behind its name.
    Named,
    /// So many levels within it.
    Within(usize),
}

/// The longest answer that is kept.
pub const LONGEST_ANSWER: usize = 4 << 20;
/// What a text that was cut ends with, so that nobody takes it for the whole.
pub const CUT: &str = "… [claimgate: the rest of this text is left out]";
/// So much of a text is kept, while that is enough.
const CUTS: [usize; 4] = [64 << 10, 8 << 10, 1 << 10, 256];
/// What Forgejo and Gitea call the files that are attached, of which there may be any number.
const FILES: &[u8] = b"assets";

// === impl Gathered ===

impl Gathered {
    /// Nothing yet, of an answer that is JSON or is not.
    pub fn new(most: usize, is_json: bool) -> Self {
        let (kept, escape, list) = (Vec::new(), Escape::None, List::None);
        Self { kept, most, is_json, cut: None, text: None, escape, dropping: false, list }
    }

    /// What came next.
    pub fn push(&mut self, data: &[u8]) -> Result<(), TooLong> {
        self.take(data);
        while self.kept.len() > self.most {
            self.tighten()?;
        }
        Ok(())
    }

    /// All that was kept.
    pub fn done(self) -> Bytes {
        self.kept.into()
    }

    fn take(&mut self, data: &[u8]) {
        let Some(cut) = self.cut else { return self.kept.extend_from_slice(data) };
        let mut left = data;
        while !left.is_empty() {
            if self.dropping && self.escape == Escape::None {
                left = &left[left.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(left.len())..];
            }
            let Some((byte, after)) = left.split_first() else { return };
            self.take_one(*byte, cut);
            left = after;
        }
    }

    fn take_one(&mut self, byte: u8, cut: usize) {
        let Some(from) = self.text else { return self.take_between(byte) };
        let ends = byte == b'"' && self.escape != Escape::Begun;
        let is_long = !self.dropping && self.kept.len() - from >= cut;
        if is_long && !ends && self.escape == Escape::None && may_be_cut(&self.kept[from..], byte) {
            self.kept.extend_from_slice(CUT.as_bytes());
            self.dropping = true;
        }
        let is_within = self.list.is_within();
        if ends && !is_within {
            self.list = if &self.kept[from..] == FILES { List::Named } else { List::None };
        }
        if !is_within && (ends || !self.dropping) {
            self.kept.push(byte);
        }
        self.escape = self.escape.after(byte);
        if ends {
            (self.text, self.escape, self.dropping) = (None, Escape::None, false);
        }
    }

    /// What is in no text.
    fn take_between(&mut self, byte: u8) {
        let was_within = self.list.is_within();
        self.list = self.list.after(byte);
        let is_within = self.list.is_within();
        if !(was_within && is_within) {
            self.kept.push(byte);
        }
        if byte == b'"' {
            (self.text, self.dropping) = (Some(self.kept.len()), is_within);
        }
    }

    /// Goes over what was kept again, and leaves more out.
    fn tighten(&mut self) -> Result<(), TooLong> {
        let next = CUTS.into_iter().find(|next| self.cut.is_none_or(|cut| *next < cut)).filter(|_| self.is_json);
        let mut again = Self { cut: Some(next.ok_or(TooLong(self.most))?), ..Self::new(self.most, true) };
        again.take(&self.kept);
        // What was being left out left no trace.
        if self.dropping || self.list.is_within() {
            let text = self.text.map(|_| again.kept.len());
            again = Self { text, escape: self.escape, dropping: self.dropping, list: self.list, ..again };
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

// === impl List ===

impl List {
    fn is_within(self) -> bool {
        matches!(self, Self::Within(_))
    }

    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Named, b':') => Self::Named,
            (Self::Named, b'[') => Self::Within(1),
            (Self::None | Self::Named, _) | (Self::Within(..=1), b']') => Self::None,
            (Self::Within(depth), b'[' | b'{') => Self::Within(depth + 1),
            (Self::Within(depth), b']' | b'}') => Self::Within(depth.saturating_sub(1)),
            (within, _) => within,
        }
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
        let mut all = Gathered::new(most, true);
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
        let mut text = Gathered::new(4, false);
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

    #[test]
    fn memory_stays_bounded() {
        let rows = format!("[{}", "1,".repeat(1_000));
        assert_eq!(gathered(1_000, 64, rows.as_bytes()), Err(TooLong(1_000)));
        let mut endless = Gathered::new(1_000, true);
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
