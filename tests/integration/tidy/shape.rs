//! The shape of the code: what imports what, how many things one name stands for, how long functions are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, assert_none, sources, without_comment};

/// Of one function, from its first line to its last.
const MOST_LINES_OF_A_FUNCTION: usize = 70;
/// Of one function, `self` among them.
const MOST_ARGUMENTS: usize = 5;
/// In so many files a type name means something.
const MOST_MEANINGS: usize = 2;

/// Of the files beside each other none needs one that needs it; a folder's `mod.rs` and what is in the folder may.
#[test]
fn no_file_imports_one_that_imports_it() {
    let sources = sources("src");
    let graph = Imports::of(&sources);
    let mut found = Vec::new();
    for file in graph.0.keys() {
        if let Some(way) = graph.way_back_to(file) {
            let names: Vec<String> = way.iter().map(|file| file.join("/")).collect();
            found.push(format!("{} -> {}", file.join("/"), names.join(" -> ")));
        }
    }
    assert_none(&found);
    assert!(graph.0.values().map(BTreeSet::len).sum::<usize>() > 500, "imports are found");
}

/// One name, one meaning.
#[test]
fn no_type_name_stands_for_three_things() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources("src").into_iter().filter(|file| !file.is_of_tests()) {
        for line in file.main_code().lines() {
            if let Some(name) = type_name(line) {
                files.entry(name.to_owned()).or_default().insert(file.name.clone());
            }
        }
    }
    assert!(files.len() > 500, "types are found");
    files.retain(|_, files| files.len() > MOST_MEANINGS);
    let found: Vec<String> = files
        .into_iter()
        .map(|(name, files)| format!("{name}: {}", files.into_iter().collect::<Vec<_>>().join(", ")))
        .collect();
    assert_none(&found);
}

#[test]
fn functions_are_short_and_take_few_arguments() {
    let (mut found, mut seen) = (Vec::new(), 0);
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)) {
        let code = file.bare_code();
        for function in functions(&code) {
            seen += 1;
            let at = format!("{}:{}: {}", file.name, function.line, function.name);
            if function.arguments > MOST_ARGUMENTS {
                found.push(format!("{at} takes {} arguments", function.arguments));
            }
            if function.lines > MOST_LINES_OF_A_FUNCTION {
                found.push(format!("{at} has {} lines", function.lines));
            }
        }
    }
    assert_none(&found);
    assert!(seen > 3_000, "functions are found");
}

// === a source file ===

impl Source {
    /// Its lines without comments, up to its tests.
    fn main_code(&self) -> String {
        let main = self.text.split("#[cfg(test)]").next().unwrap_or_default();
        main.lines().map(|line| without_comment(line).to_owned() + "\n").collect()
    }

    /// Its code with blanks for what stands in comments and quotes, line by line.
    fn bare_code(&self) -> String {
        let mut code: Vec<u8> = self.text.clone().into_bytes();
        let mut at = 0;
        while at < code.len() {
            let end = at + quoted(&self.text[at..]);
            for byte in code[at..end].iter_mut().filter(|byte| **byte != b'\n') {
                *byte = b' ';
            }
            // To the next letter.
            at = (end.max(at + 1)..code.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(code.len());
        }
        String::from_utf8(code).unwrap()
    }

    fn is_of_tests(&self) -> bool {
        self.name.ends_with("tests.rs") || self.name.contains("/tests/")
    }

    /// The module that it is: `gate::walk` of `src/gate/walk.rs`, and of `src/gate/walk/mod.rs`.
    fn path(&self) -> Vec<String> {
        let name = self.name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        name.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
    }
}

/// Which files name which: by `use`, and by a path within the code.
struct Imports(BTreeMap<Vec<String>, BTreeSet<Vec<String>>>);

impl Imports {
    fn of(sources: &[Source]) -> Self {
        let sources = sources.iter().filter(|file| !file.is_of_tests() && file.name != "src/main.rs");
        let files: Vec<(Vec<String>, String)> = sources.map(|file| (file.path(), file.main_code())).collect();
        let modules: BTreeSet<Vec<String>> = files.iter().map(|(path, _)| path.clone()).collect();
        let module_of = |path: &[String]| (1..=path.len()).rev().find(|end| modules.contains(&path[..*end]));
        // What a folder hands on belongs to the file that it is from.
        let mut handed_on: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        for (file, code) in &files {
            for (path, name) in used(code, true) {
                let path = absolute(file, &path);
                if let Some(end) = module_of(&path[..path.len() - 1]) {
                    handed_on.insert([file.clone(), vec![name]].concat(), path[..end].to_vec());
                }
            }
        }
        let mut graph = BTreeMap::new();
        for (file, code) in &files {
            let mut needs = BTreeSet::new();
            for path in used(code, false).into_iter().map(|(path, _)| path).chain(paths_within(code)) {
                let path = absolute(file, &path);
                let Some(end) = module_of(&path) else { continue };
                let named = &path[..path.len().min(end + 1)];
                let to = handed_on.get(named).cloned().unwrap_or_else(|| path[..end].to_vec());
                if !file.starts_with(&to) && !to.starts_with(file) {
                    needs.insert(to);
                }
            }
            graph.insert(file.clone(), needs);
        }
        Self(graph)
    }

    /// The files by which this one needs itself, if it does.
    fn way_back_to(&self, file: &[String]) -> Option<Vec<Vec<String>>> {
        let (mut ways, mut seen) = (vec![vec![file.to_vec()]], BTreeSet::new());
        while let Some(way) = ways.pop() {
            for next in self.0.get(way.last()?).into_iter().flatten() {
                if next == file {
                    return Some([&way[1..], std::slice::from_ref(next)].concat());
                }
                if seen.insert(next.clone()) {
                    ways.push([way.clone(), vec![next.clone()]].concat());
                }
            }
        }
        None
    }
}

/// Every path of every `use`, with the name by which it is known then; or of those alone that hand something on.
fn used(code: &str, handed_on: bool) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        let visible = line.starts_with("pub");
        if !(line.is_empty() || visible && line.len() < 40) || handed_on && !visible {
            continue;
        }
        let tree: String =
            code[at + 4..].split(';').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        for path in branches(&tree) {
            let (path, name) = path.split_once(" as ").unwrap_or((path.as_str(), ""));
            let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
            let name = if name.is_empty() { path.last().cloned().unwrap_or_default() } else { name.trim().to_owned() };
            found.push((path, name));
        }
    }
    found
}

/// `a::b` and `a::c` of `a::{b, c}`.
fn branches(tree: &str) -> Vec<String> {
    let Some((front, inner)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut all, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let one = inner[start..at].trim();
                if !one.is_empty() {
                    all.extend(branches(&format!("{}{one}", front.trim())));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    all
}

/// `super::a::b` and `crate::a::b` wherever they stand.
fn paths_within(code: &str) -> Vec<Vec<String>> {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_of_path(c));
    let paths = words.filter(|word| ["super::", "crate::", "self::"].iter().any(|front| word.starts_with(front)));
    paths.map(|word| word.trim_end_matches(':').split("::").map(str::to_owned).collect()).collect()
}

/// The path from the crate's root.
fn absolute(file: &[String], path: &[String]) -> Vec<String> {
    let mut whole = match path[0].as_str() {
        "crate" => Vec::new(),
        _ => file.to_vec(),
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(whole.pop()),
            part => whole.push(part.to_owned()),
        }
    }
    whole
}

/// The type that begins on this line, at the file's top level.
fn type_name(line: &str) -> Option<&str> {
    let rest = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (kind, rest) = rest.split_once(' ')?;
    ["struct", "enum", "trait", "type", "union"]
        .contains(&kind)
        .then(|| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next())?
}

struct Function<'t> {
    name: &'t str,
    line: usize,
    lines: usize,
    arguments: usize,
}

fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric())) {
        let rest = &code[at + 3..];
        let name = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        let Some(open) = rest.find('(').filter(|_| !name.is_empty()) else { continue };
        let Some((arguments, end)) = arguments_of(&rest[open..]) else { continue };
        let after = &rest[open + end..];
        let lines = match after.find(['{', ';']) {
            Some(begin) if after[begin..].starts_with('{') => {
                let body = length_of_block(&after[begin..]);
                rest[..open + end + begin + body].matches('\n').count() + 1
            }
            _ => 1,
        };
        found.push(Function { name, line: code[..at].matches('\n').count() + 1, lines, arguments });
    }
    found
}

/// How many arguments stand in this pair of brackets, and where it ends.
fn arguments_of(brackets: &str) -> Option<(usize, usize)> {
    let (mut depth, mut angles, mut count, mut empty) = (0, 0, 0, true);
    let mut before = ' ';
    for (at, c) in brackets.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some((count + usize::from(!empty), at));
                }
            }
            '<' => angles += 1,
            '>' if !matches!(before, '-' | '=') => angles -= 1,
            ',' if depth == 1 && angles == 0 => {
                count += usize::from(!empty);
                empty = true;
            }
            _ => {}
        }
        empty &= c.is_whitespace() || at == 0 || c == ',' && depth == 1 && angles == 0;
        before = c;
    }
    None
}

fn length_of_block(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// How many bytes of a comment, of a text or of a letter in quotes begin here.
fn quoted(code: &str) -> usize {
    let to = |end: &str, from: usize| code[from..].find(end).map_or(code.len(), |at| from + at + end.len());
    if code.starts_with("//") {
        return code.find('\n').unwrap_or(code.len());
    }
    let raw = code.strip_prefix("r#\"").map(|_| to("\"#", 3)).or_else(|| code.strip_prefix("r\"").map(|_| to("\"", 2)));
    if let Some(end) = raw {
        return end;
    }
    let escapes = |quote: char| {
        let mut letters = code.char_indices().skip(1);
        while let Some((at, c)) = letters.next() {
            match c {
                '\\' => drop(letters.next()),
                c if c == quote => return at + c.len_utf8(),
                _ => {}
            }
        }
        code.len()
    };
    match code.as_bytes() {
        [b'"', ..] => escapes('"'),
        [b'\'', b'\\', ..] => escapes('\''),
        // Not a lifetime.
        [b'\'', ..] => {
            let mut letters = code.char_indices().skip(2);
            letters.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
        }
        _ => 0,
    }
}
