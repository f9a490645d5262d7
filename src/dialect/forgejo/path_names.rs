//! What a path may name, as the tracker writes it.

use super::super::ParseError;
use super::super::target::fold_letters;
use crate::model::is_short_name;

/// Owner and repository with the letters folded that the tracker folds away; nothing that it could not have named so.
pub fn names(owner: &str, repo: &str) -> Result<(String, String), ParseError> {
    let name = |text: &str| {
        let folded = fold_letters(text);
        let plain =
            is_short_name(text) && folded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        plain.then_some(folded).ok_or_else(|| bent("its owner or repository is no name that the tracker gives"))
    };
    Ok((name(owner)?, name(repo)?))
}

/// Decimal, without sign or leading zeros, within what the tracker can store.
pub fn plain_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().filter(|number| i64::try_from(*number).is_ok())
}

pub(super) fn bent(why: &str) -> ParseError {
    ParseError::Ambiguous(format!("the path can be read in two ways: {why}; send it in its plain form"))
}
