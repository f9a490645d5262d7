//! Values with units: durations, sizes, optional paths, closed choices.
//!
//! Each `serde` helper reads what an operator writes (`"5s"`, `"64KiB"`, `"off"`, `""`) and writes it back the same way,
//! so that `claimgate check --json` can be pasted into a file. A value that cannot be read says what would be accepted.

#![expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde gives the signatures")]

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// The units of a duration, longest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of a size, in bytes.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Longer than any period that makes sense, and short enough for sums that cannot overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Reads a duration such as `250ms`, `5s` or `1h30m`. Zero is no duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let total = sum_of_units(text, &DURATION_UNITS).ok_or_else(|| {
        format!("`{text}` is not a duration: write a number and a unit, such as \"250ms\", \"5s\", \"2m\" or \"1h\"")
    })?;
    match Duration::from_millis(total) {
        Duration::ZERO => Err(format!("`{text}` is no time at all: it must be longer than zero")),
        long if long > LONGEST => Err(format!("`{text}` is longer than ten years")),
        duration => Ok(duration),
    }
}

/// Writes a duration so that [`parse_duration`] reads the same again.
pub fn show_duration(duration: Duration) -> String {
    show_units(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Reads a size such as `64KiB`. Zero is no size.
pub fn parse_size(text: &str) -> Result<u64, String> {
    match sum_of_units(text, &SIZE_UNITS) {
        Some(0) => Err(format!("`{text}` is no size at all: it must be larger than zero")),
        Some(size) => Ok(size),
        None => {
            Err(format!("`{text}` is not a size: write a number and a unit, such as \"512B\", \"64KiB\" or \"16MiB\""))
        }
    }
}

/// Writes a size so that [`parse_size`] reads the same again.
pub fn show_size(size: u64) -> String {
    match SIZE_UNITS.iter().find(|(_, bytes)| size != 0 && size.is_multiple_of(*bytes)) {
        Some((unit, bytes)) => format!("{}{unit}", size / bytes),
        None => format!("{size}B"),
    }
}

/// `1h30m` as a sum in the smallest unit; `None` unless every part is a number with a known unit, units descending.
fn sum_of_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (mut rest, mut sum, mut last) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        if *factor >= last {
            return None;
        }
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        (rest, last) = (tail, *factor);
    }
    (last != u64::MAX).then_some(sum)
}

fn show_units(mut total: u64, units: &[(&str, u64)]) -> String {
    let mut text = String::new();
    for (unit, factor) in units {
        if total >= *factor {
            text += &(total / factor).to_string();
            text += unit;
            total %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `"5s"`, for `#[serde(with = "...")]`.
pub mod duration {
    use super::{Deserialize, Deserializer, Duration, Serializer};
    use serde::de::Error as _;

    /// Reads a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        super::parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    /// Writes a duration.
    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::show_duration(*value))
    }
}

/// `"64KiB"`, for `#[serde(with = "...")]`.
pub mod size {
    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    /// Reads a size.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        super::parse_size(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    /// Writes a size.
    pub fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::show_size(*value))
    }
}

/// A value that may be `"off"`, for `#[serde(with = "...")]`.
pub mod or_off {
    use super::{Deserialize, Deserializer, OrOff, Serializer};
    use serde::de::Error as _;

    /// Reads a value, or `None` for `"off"`.
    pub fn deserialize<'de, T: OrOff, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        match String::deserialize(from)?.as_str() {
            "off" => Ok(None),
            text => T::parse(text).map(Some).map_err(|error| D::Error::custom(format!("{error}, or \"off\""))),
        }
    }

    /// Writes a value, or `"off"`.
    pub fn serialize<T: OrOff, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.as_ref().map_or_else(|| "off".to_owned(), OrOff::show))
    }
}

/// What can be switched off by writing `"off"` in its place.
pub trait OrOff: Sized {
    /// Reads what is not `"off"`.
    fn parse(text: &str) -> Result<Self, String>;
    /// Writes it back.
    fn show(&self) -> String;
}

impl OrOff for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        parse_duration(text)
    }
    fn show(&self) -> String {
        show_duration(*self)
    }
}

impl OrOff for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        parse_size(text)
    }
    fn show(&self) -> String {
        show_size(*self)
    }
}

impl OrOff for std::net::SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        parse_address(text)
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// Reads `address:port`. No names: what they resolve to can change between a check and a start.
pub fn parse_address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address and a port: write them as \"127.0.0.1:8480\", \"0.0.0.0:8480\" or \"[::1]:8480\"")
    })
}

/// Where clients connect: `"127.0.0.1:8480"`, or `"unix:/run/claimgate/alice.sock"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port.
    Tcp(std::net::SocketAddr),
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address and port, if it is no unix socket.
    pub fn tcp(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl std::str::FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            return parse_address(text).map(Self::Tcp);
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(format!(
                "`{text}` is not the path of a unix socket: write it as \"unix:/run/claimgate/alice.sock\""
            ));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl serde::Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The permission bits of a file, `"0660"`, for `#[serde(with = "...")]`.
pub mod file_mode {
    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    /// Reads permission bits.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        let text = String::deserialize(from)?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
        let wrong = || D::Error::custom(format!("`{text}` is not the mode of a file: write it as \"0660\""));
        mode.map(Some).ok_or_else(wrong)
    }

    /// Writes permission bits.
    pub fn serialize<S: Serializer>(value: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(mode) => to.collect_str(&format_args!("{mode:04o}")),
            None => to.serialize_none(),
        }
    }
}

/// A path where the empty string means "not set", for `#[serde(with = "...")]`.
pub mod optional_path {
    use super::{Deserialize, Deserializer, PathBuf, Serializer};

    /// Reads a path, or `None`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Some(PathBuf::deserialize(from)?).filter(|path| !path.as_os_str().is_empty()))
    }

    /// Writes a path, or the empty string.
    pub fn serialize<S: Serializer>(value: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&value.as_deref().unwrap_or_else(|| "".as_ref()).display())
    }
}

/// A text where the empty string means "not set", for `#[serde(with = "...")]`.
pub mod optional_text {
    use super::{Deserialize, Deserializer, Serializer};

    /// Reads a text, or `None`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        Ok(Some(String::deserialize(from)?).filter(|text| !text.is_empty()))
    }

    /// Writes a text, or the empty string.
    pub fn serialize<S: Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.as_deref().unwrap_or_default())
    }
}

/// One of a closed list of words, read with an error that names them all.
pub(crate) fn one_of<'de, T: Copy, D: Deserializer<'de>>(from: D, all: &[(&str, T)]) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    let known = all.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|(word, _)| format!("`{word}`")).collect();
        D::Error::custom(format!("`{text}` is not known here: write {}", words.join(" or ")))
    })
}

/// An enum whose variants have one word each in the file.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every choice with its word.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// The word for it in the file.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::config::values::one_of(from, Self::ALL)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("250ms", Some(250)),
            ("5s", Some(5_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("1h30m", Some(5_400_000)),
            ("1m500ms", Some(60_500)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-5s", None),
            ("1.5s", None),
            ("0s", None),
            ("5S", None),
            ("30m1h", None),
            ("1s1s", None),
            ("4000d", None),
            ("99999999999999999999s", None),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse_duration(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("512B", Some(512)),
            ("64KiB", Some(65_536)),
            ("16MiB", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("64", None),
            ("64KB", None),
            ("0B", None),
            ("99999999999999GiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        for milliseconds in [1, 250, 1_000, 60_500, 5_400_000, 90_061_001] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        for bytes in [1, 512, 1_024, 1_500, 16 << 20, 3 << 30] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
    }
}
