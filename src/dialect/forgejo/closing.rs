//! Which issues the title and the text of a pull request close when it is merged.
//!
//! As Forgejo reads them (`modules/references`, `modules/markup/mdstripper`): the title as it is, the text without its
//! Markdown. Code, HTML and comments are not text there; a keyword counts if it stands with one blank before `#7`, `!7`,
//! `owner/repo#7` or the address of an issue. Versions differ at the edges; what closes for one of them is taken to close.

use super::super::json::fold_text;
use super::super::{Address, ClosingSyntax};
use super::location;
use super::path_names::plain_number;
use crate::model::Project;
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};
use std::collections::BTreeSet;
use std::ops::Range;

/// The issues that a title and a text say they close, each once, and no more than so many: a text can name millions.
pub fn closed_by(syntax: &ClosingSyntax, project: &Project, (title, body): (&str, &str), most: usize) -> Vec<Address> {
    let body = without_markdown(body);
    let mut known = BTreeSet::new();
    let all = [title, &body].into_iter().flat_map(|part| named(syntax, project, part));
    all.filter(|address| known.insert(address.locator())).take(most).collect()
}

// === keywords and what follows them ===

fn named<'a>(syntax: &'a ClosingSyntax, project: &'a Project, text: &'a str) -> impl Iterator<Item = Address> + 'a {
    let blanks = text.match_indices(' ').map(|(at, _)| at);
    blanks
        .filter(move |at| syntax.ends_with_keyword(&text[..*at]))
        .filter_map(move |at| reference(syntax, project, &text[at + 1..]))
}

impl ClosingSyntax {
    /// A keyword, perhaps with a colon, at the end of what stands before a reference.
    fn ends_with_keyword(&self, before: &str) -> bool {
        let before = before.strip_suffix(':').unwrap_or(before);
        let start = before.rfind([' ', '\t', '\n', '\r', '\u{C}', '(', '[']);
        let word = &before[start.map_or(0, |at| at + 1)..];
        word.len() <= LONGEST_KEYWORD && self.keywords.contains(&fold_text(word))
    }
}

/// The issue that a text begins with.
fn reference(syntax: &ClosingSyntax, project: &Project, text: &str) -> Option<Address> {
    if let Some((place, number)) = link(syntax, text) {
        return address(project, place, number);
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let sign = text.bytes().position(|byte| !is_name(byte)).filter(|at| b"#!".contains(&text.as_bytes()[*at]))?;
    let (place, number) = (&text[..sign], &text[sign + 1..]);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    ends(&number[digits..]).then(|| address(project, place, &number[..digits]))?
}

/// Whether a reference may end before this.
fn ends(after: &str) -> bool {
    let mut letters = after.chars();
    let blank = |letter: Option<char>| letter.is_none_or(|letter| letter.is_ascii_whitespace());
    match letters.next() {
        Some(')' | ']' | '\'' | '"') => true,
        Some(':' | ';' | ',' | '.' | '?' | '!') => blank(letters.next()),
        other => blank(other),
    }
}

fn address(project: &Project, place: &str, number: &str) -> Option<Address> {
    // The forge reads leading zeros as it reads any number.
    let number = plain_number(number.trim_start_matches('0')).filter(|_| !number.is_empty())?;
    let (owner, repo) = if place.is_empty() { project.as_str() } else { place }.split_once('/')?;
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let address = location::issue(owner, repo, number);
    (is_name(owner) && is_name(repo)).then_some(address)
}

/// `owner/repo` and the number in the address of an issue at the forge, or at any host where the forge's is not known:
/// what is not here is not found here.
fn link<'t>(syntax: &ClosingSyntax, text: &'t str) -> Option<(&'t str, &'t str)> {
    let url = text.split(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>')).next()?;
    let scheme = |scheme: &str| url.get(..scheme.len()).filter(|it| it.eq_ignore_ascii_case(scheme)).map(str::len);
    let rest = match scheme("https://").or_else(|| scheme("http://")) {
        Some(length) => &url[length..],
        // As a page links it, or within this forge.
        None if scheme("www.").is_some() || url.starts_with('/') => url,
        None => return None,
    };
    let (host, path) = rest.split_at(rest.find('/')?);
    let path = match &syntax.site {
        Some(site) if !host.is_empty() && !site.is_host(host) => return None,
        Some(site) => path.strip_prefix(site.path.as_str())?,
        None => path,
    };
    let (place, number) = path.split_once("/issues/").or_else(|| path.split_once("/pulls/"))?;
    let repo = place.rfind('/')?;
    let owner = place[..repo].rfind('/')?;
    // Where the site is known nothing stands between it and the owner.
    if syntax.site.is_some() && owner != 0 {
        return None;
    }
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let after = &number[digits..];
    let whole = after.starts_with(['/', '?', '#']) || ends(after);
    whole.then(|| (&place[owner + 1..], &number[..digits]))
}

// === Markdown ===

/// The text of a document, its blocks and whatever is marked in it on lines of their own. What is escaped stays so:
/// `\#7` names nothing.
fn without_markdown(source: &str) -> String {
    let mut plain = Plain { source, text: String::new(), joins: None };
    let mut skipped: Option<TagEnd> = None;
    for (event, range) in Parser::new_ext(source, extensions()).into_offset_iter() {
        match event {
            Event::End(end) if Some(end) == skipped => skipped = None,
            _ if skipped.is_some() => {}
            Event::Text(_) => plain.text(range),
            Event::SoftBreak => plain.line(),
            Event::HardBreak => plain.hard_break(&range),
            Event::Start(Tag::Link { link_type, dest_url, .. }) => {
                skipped = Some(TagEnd::Link);
                if link_type != LinkType::Email {
                    plain.text.push_str(&dest_url);
                }
                plain.joins = None;
            }
            Event::Start(tag @ (Tag::CodeBlock(_) | Tag::HtmlBlock)) => {
                skipped = Some(tag.to_end());
                plain.joins = None;
            }
            _ => plain.joins = None,
        }
    }
    plain.text
}

/// Those of the forge's parser.
fn extensions() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_HEADING_ATTRIBUTES
}

struct Plain<'s> {
    source: &'s str,
    text: String,
    /// The end of the piece of text that the next one would go on from; `usize::MAX` after a hard break.
    joins: Option<usize>,
}

impl Plain<'_> {
    /// As it is written, not as it is meant.
    fn text(&mut self, range: Range<usize>) {
        match self.joins {
            // An escape between two pieces.
            Some(end) => self.text.push_str(self.source.get(end..range.start).unwrap_or_default()),
            None => self.text.push('\n'),
        }
        self.joins = Some(range.end);
        self.text.push_str(&self.source[range]);
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.joins = Some(usize::MAX);
    }

    /// The forge writes nothing for it: the next line goes on. Only before a backslash do blanks stay.
    fn hard_break(&mut self, range: &Range<usize>) {
        if let Some(end) = self.joins.filter(|_| self.source[range.clone()].starts_with('\\')) {
            self.text.push_str(self.source.get(end..range.start).unwrap_or_default());
        }
        self.joins = Some(usize::MAX);
    }
}

/// Bytes; a longer word is none of anybody's.
const LONGEST_KEYWORD: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(syntax: &ClosingSyntax, title: &str, body: &str, expected: &str) {
        let found = closed_by(syntax, &Project::new("o/r"), (title, body), 9);
        let found: Vec<String> = found.iter().map(|one| one.locator().to_string()).collect();
        assert_eq!(found.join(" "), expected, "title {title:?}, text {body:?}");
    }

    fn check(text: &str, expected: &str) {
        check_with(&ClosingSyntax::default(), "", text, expected);
    }

    #[test]
    fn keywords_close_what_follows_them() {
        for (text, expected) in [
            ("Fixes #7", "o/r#7"),
            ("closes: #7, and more", "o/r#7"),
            ("(resolves #7)", "o/r#7"),
            ("[fix #7]", "o/r#7"),
            ("RESOLVED a/b.c#12.", "a/b.c#12"),
            ("fixes !7", "o/r#7"),
            ("fixes a/b!7", "a/b#7"),
            ("fixes #007", "o/r#7"),
            ("fixes #7; fixes #8? fixes #9! fixes #10: x", "o/r#7 o/r#8 o/r#9 o/r#10"),
            ("fixes #1 closes #2 closes #1", "o/r#1 o/r#2"),
            ("fixes #7's cause", "o/r#7"),
            ("see #7", ""),
            ("prefixes #7", ""),
            ("un-fixes #7", ""),
            ("fixes #7a", ""),
            ("fixes #7.5", ""),
            ("fixes #7#8", ""),
            ("fixes #", ""),
            ("fixes a#7", ""),
            ("fixes a/b/c#7", ""),
            ("fixes the bug of #7", ""),
            // One blank, and that in one line.
            ("fixes  #7", ""),
            ("fix\n#7", ""),
            ("fixes\t#7", ""),
            ("fixes :#7", ""),
            ("fixes:: #7", ""),
        ] {
            check(text, expected);
            check_with(&ClosingSyntax::default(), text, "", expected);
        }
        check_with(&ClosingSyntax::default(), "fixes #7", "fixes #7", "o/r#7");
    }

    #[test]
    fn letters_fold_as_the_forge_folds_them() {
        for text in ["fixe\u{17F} #7", "clo\u{17F}es #7", "re\u{17F}olved: #7", "FIXE\u{17F} #7"] {
            check(text, "o/r#7");
        }
        let syntax = |words: &[&str]| ClosingSyntax::new(words.iter().copied(), None);
        check_with(&syntax(&["tak"]), "", "ta\u{212A} #7", "o/r#7");
        check_with(&syntax(&["cerró"]), "AQUÍ SE CERRÓ: #7", "", "o/r#7");
        check_with(&syntax(&["закрывается", "关闭"]), "", "Закрывается #7\n\n关闭 #8", "o/r#7 o/r#8");
        // Others than the configured ones close nothing.
        check_with(&syntax(&["cierra"]), "fixes #7", "closes #7", "");
        check_with(&syntax(&[]), "fixes #7", "closes #7", "");
    }

    #[test]
    fn addresses_of_issues() {
        check("fixes http://forge.example/sub/a/b/issues/9#top", "a/b#9");
        check("fixes <https://forge.example/a/b/pulls/9>", "a/b#9");
        let public = |url| ClosingSyntax::new(crate::dialect::CLOSING_KEYWORDS, Some(url));
        for (public_url, text, expected) in [
            ("https://forge.example/", "fixes https://forge.example/a/b/issues/9", "a/b#9"),
            ("https://forge.example", "fixes http://FORGE.example/a/b/issues/9/", "a/b#9"),
            ("https://forge.example", "fixes https://www.forge.example/a/b/issues/9", "a/b#9"),
            ("https://www.forge.example", "fixes www.forge.example/a/b/issues/9", "a/b#9"),
            ("https://www.forge.example", "fixes https://forge.example/a/b/issues/9.", "a/b#9"),
            ("https://forge.example", "fixes https://elsewhere.example/a/b/issues/9", ""),
            ("https://forge.example", "fixes https://forge.example.org/a/b/issues/9", ""),
            ("https://forge.example:3000", "fixes https://forge.example/a/b/issues/9", ""),
            ("https://forge.example/git/", "fixes https://forge.example/git/a/b/issues/9?x#y", "a/b#9"),
            ("https://forge.example/git", "fixes https://forge.example/a/b/issues/9", ""),
            ("https://forge.example", "fixes https://forge.example/x/a/b/issues/9", ""),
            ("https://forge.example", "fixes https://forge.example/a/b/issues/9/files", "a/b#9"),
            ("https://forge.example", "fixes https://forge.example/a/b/issues/9x", ""),
            ("https://forge.example", "fixes https://forge.example/a/b/wiki/9", ""),
            ("https://forge.example", "fixes [it](https://forge.example/a/b/issues/9)", "a/b#9"),
            ("https://forge.example", "fixes [it](/a/b/issues/9)", "a/b#9"),
            ("https://forge.example", "fixes [it](https://elsewhere.example/a/b/issues/9)", ""),
            ("https://forge.example", "see https://forge.example/a/b/issues/9", ""),
        ] {
            check_with(&public(public_url), "", text, expected);
        }
    }

    #[test]
    fn markdown_is_read_as_the_forge_reads_it() {
        for (text, expected) in [
            // Marked text.
            ("**closes #7**", "o/r#7"),
            ("_closes #7_ and ~~fixes #8~~", "o/r#7 o/r#8"),
            ("# fixes #7\n\n## closes #8 ##", "o/r#7 o/r#8"),
            ("- fixes #7\n  * closes #8\n1. [x] fixes #9\n- [ ] closes #10", "o/r#7 o/r#8 o/r#9 o/r#10"),
            ("> fixes #7\n> > closes #8", "o/r#7 o/r#8"),
            ("| a | b |\n|---|---|\n| fixes #7 | closes #8 |", "o/r#7 o/r#8"),
            ("text[^1]\n\n[^1]: fixes #7", "o/r#7"),
            ("![fixes #7](picture.png)", "o/r#7"),
            ("fixes #7\r\ncloses #8\r\n", "o/r#7 o/r#8"),
            // A keyword and its reference on two sides of a mark.
            ("**Closes** #7", ""),
            ("fix**es** #7", ""),
            ("fixes **#7**", ""),
            ("fixes [#7](http://x)", ""),
            ("fixes \\#7", ""),
            ("fixes &#35;7", ""),
            ("fixes `x` #7", ""),
            // What is code.
            ("`fixes #7`", ""),
            ("``a ` fixes #7``", ""),
            ("```\nfixes #7\n```", ""),
            ("```\nfixes #7", ""),
            ("~~~ md\nfixes #7\n```\n~~~\nfixes #8", "o/r#8"),
            ("    fixes #7", ""),
            ("text\n    fixes #7", "o/r#7"),
            ("- a\n\n      fixes #7", ""),
            ("- a\n\n  fixes #7", "o/r#7"),
            ("> ```\n> fixes #7\n> ```", ""),
            ("\\`fixes #7\\`", ""),
            ("\\` fixes #7 \\`", "o/r#7"),
            ("`` fixes #7 `", "o/r#7"),
            // What is HTML.
            ("<!-- fixes #7 -->", ""),
            ("<!-- e.g.\n\nFixes #123\n-->\nfixes #7", "o/r#7"),
            ("text <!-- fixes #7 --> fixes #8", "o/r#8"),
            ("<!-- never closed\n\nfixes #7", ""),
            ("<div>fixes #7</div>", ""),
            ("<details>\nfixes #7\n</details>", ""),
            ("<details>\n\nfixes #7\n\n</details>", "o/r#7"),
            ("<b>fixes #7</b>", "o/r#7"),
            ("<pre>\n\nfixes #7\n\n</pre>", ""),
            ("a <i title=\"fixes #7\">b</i>", ""),
            ("<script>\nfixes #7\n</script>", ""),
            // What only defines a link.
            ("[fixes #7]: http://x", ""),
            ("[a](http://x \"fixes #7\")", ""),
            // A break.
            ("fixes \\\n#7", "o/r#7"),
            ("fixes  \n#7", ""),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn a_title_has_no_markdown() {
        for (title, expected) in [("`fixes #7", ""), ("a ` fixes #7 `", "o/r#7"), ("<!-- fixes #7 -->", "o/r#7")] {
            check_with(&ClosingSyntax::default(), title, "", expected);
        }
    }
}
