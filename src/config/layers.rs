//! Several texts become one tree, and the tree becomes a [`Config`].
//!
//! The layers are merged table by table with their spans, so `serde` reads the merged tree and still can say where a
//! value stands. `serde` stops at the first mistake; here the mistake is noted, the built-in value put in its place, and
//! the reading begun again, so that an operator sees all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::source::{Problem, ProblemSubject, Sources};
use super::{Config, ConfigErrors, DEFAULTS, DEFAULTS_NAME, Flag, LoadWarning, Loaded, Renamed};

type Table<'t> = DeTable<'t>;
type Node<'t> = Spanned<DeValue<'t>>;
type Key<'t> = Spanned<DeString<'t>>;

/// More mistakes than this are not listed.
const MOST_PROBLEMS: usize = 50;

/// The prefix of every variable.
const PREFIX: &str = "CLAIMGATE_";

/// Short names of the keys that nearly everybody sets.
const SHORT_NAMES: [(&str, &str); 4] = [
    ("CLAIMGATE_UPSTREAM", "upstream.url"),
    ("CLAIMGATE_LISTEN", "server.listen"),
    ("CLAIMGATE_ADMIN", "server.admin"),
    ("CLAIMGATE_STATE_DIR", "server.state_dir"),
];

/// The variable that names the file; it is no key of it.
pub(super) const FILE_VARIABLE: &str = "CLAIMGATE_CONFIG";

/// The keys of the tables in an array, which the built-in file cannot show when the array is empty.
const ELEMENT_KEYS: [(&str, &[&str]); 4] = [
    ("server.listener", &["address", "instance", "tls", "intercept", "mode", "owner", "group"]),
    ("workflow.move", &["from", "to", "by"]),
    ("singleton", &["name", "agents", "per", "actions", "idle", "mode"]),
    ("once", &["name", "what", "agents", "events", "key", "by", "answer", "mode"]),
];

/// The built-in file, which knows every key.
static BUILT_IN: LazyLock<Table<'static>> =
    LazyLock::new(|| DeTable::parse(DEFAULTS).expect("the built-in file is TOML").into_inner());

/// The tree so far, with what was wrong on the way.
pub(super) struct Merged<'t> {
    tree: Table<'t>,
    pub(super) sources: Sources,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<LoadWarning>,
}

// === impl Merged ===

impl<'t> Merged<'t> {
    /// Begins with the built-in file and, perhaps, the built-in one of a tracker.
    pub(super) fn new(of_tracker: Option<(&str, &'static str)>) -> Self {
        let mut sources = Sources::default();
        sources.add_file(DEFAULTS_NAME, DEFAULTS);
        let mut merged = Self { tree: BUILT_IN.clone(), sources, problems: Vec::new(), warnings: Vec::new() };
        if let Some((name, text)) = of_tracker {
            merged.add_file(&format!("{DEFAULTS_NAME} of {name}"), text, &[]);
        }
        merged.sources.end_built_in();
        merged
    }

    /// The text at a path, if it is one.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        match locate(&self.tree, path)?.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Lays an operator's file over what is there.
    pub(super) fn add_file(&mut self, name: &str, text: &'t str, renamed: &[Renamed]) {
        let base = self.sources.add_file(name, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        // The parser recovers, but what it then finds mostly follows from the first mistake.
        if let Some(error) = errors.first() {
            let span = error.span().unwrap_or(0..0);
            self.report("", Some(&shift_span(&span, base)), format!("this is not TOML: {}", error.message()), None);
        }
        if errors.is_empty() {
            let file = shift_table(table.into_inner(), base);
            let file = self.known_only("", file, &BUILT_IN, renamed);
            merge(&mut self.tree, file);
        }
    }

    /// Lays variables over what is there.
    pub(super) fn add_environment(&mut self, variables: &'t [(String, String)]) {
        let names = environment_names();
        self.refuse_twins(variables);
        for (name, value) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX) && name != FILE_VARIABLE) {
            match names.get(name) {
                Some(path) => self.add_scalar("environment", &format!("{name}={value}"), value, path),
                None => self.unknown_variable(name, &names),
            }
        }
    }

    /// Lays flags over what is there.
    pub(super) fn add_flags(&mut self, flags: &'t [Flag]) {
        for flag in flags {
            self.add_scalar("command line", &format!("{} {}", flag.name, flag.value), &flag.value, flag.path);
        }
    }

    /// A key that is set by its short and its long variable, differently: no order among them would be obvious.
    fn refuse_twins(&mut self, variables: &[(String, String)]) {
        let value_of = |wanted: &str| variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        for (short, path) in SHORT_NAMES {
            let long = variable_of(path);
            if value_of(short).zip(value_of(&long)).is_some_and(|(one, other)| one != other) {
                let message = format!("`{short}` and `{long}` both set `{path}`, differently");
                self.report(path, None, message, Some("remove one of them".to_owned()));
            }
        }
    }

    fn add_scalar(&mut self, source: &str, shown: &str, value: &'t str, path: &str) {
        let span = self.sources.add_value(source, shown, value);
        let value = match locate(&BUILT_IN, path).map(Spanned::get_ref) {
            Some(DeValue::String(_)) => text_node(value, span),
            Some(DeValue::Array(_)) => list_node(value, span),
            _ => scalar_node(value, span),
        };
        replace(&mut self.tree, path, value);
    }

    /// A variable of an existing section with an unknown key is a typing mistake. Others may be somebody else's:
    /// Kubernetes sets `CLAIMGATE_PORT_8480_TCP` for a Service called claimgate.
    fn unknown_variable(&mut self, name: &str, names: &BTreeMap<String, String>) {
        let begins = |section: &str| name.starts_with(&format!("{PREFIX}{}_", section.to_uppercase()));
        let ours = BUILT_IN.keys().any(|section| begins(section.get_ref()));
        if is_service_link(name) {
            return;
        }
        let help = nearest(name, names.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        if ours {
            let span = self.sources.add_value("environment", name, name);
            self.report("", Some(&span), format!("unknown variable `{name}`"), help);
        } else {
            self.warnings.push(LoadWarning(format!("the variable {name} names no key and is ignored")));
        }
    }

    /// Takes out, and reports, every key that the built-in file does not have.
    fn known_only(&mut self, path: &str, table: Table<'t>, defaults: &Table<'_>, renamed: &[Renamed]) -> Table<'t> {
        let known: Vec<String> = defaults.keys().map(|key| key.get_ref().to_string()).collect();
        let mut kept = Table::new();
        for (key, node) in table {
            let here = join(path, key.get_ref());
            match defaults.get(key.get_ref().as_ref()) {
                None => self.unknown_key(&here, &key, &known, renamed),
                Some(default) => {
                    if let Some(node) = self.known_node(&here, (&key, node), default, renamed) {
                        kept.insert(key, node);
                    }
                }
            }
        }
        kept
    }

    fn known_node(
        &mut self,
        path: &str,
        (key, node): (&Key<'_>, Node<'t>),
        default: &Node<'_>,
        renamed: &[Renamed],
    ) -> Option<Node<'t>> {
        let span = node.span();
        match (node.into_inner(), default.get_ref()) {
            (DeValue::Table(table), DeValue::Table(defaults)) => {
                let table = self.known_only(path, table, defaults, renamed);
                Some(Spanned::new(span, DeValue::Table(table)))
            }
            (other, DeValue::Table(_)) => {
                let message = format!("`{path}` is a section, and here it is given as {}", article(other.type_str()));
                self.report(
                    path,
                    Some(&key.span()),
                    message,
                    Some(format!("write `[{path}]` on a line of its own, and its keys below")),
                );
                None
            }
            (DeValue::Array(array), _) => {
                let keys = ELEMENT_KEYS.iter().find(|(of, _)| *of == path).map(|(_, keys)| *keys);
                let elements = array.into_iter().map(|element| self.known_element(path, element, keys)).collect();
                Some(Spanned::new(span, DeValue::Array(elements)))
            }
            (other, _) => Some(Spanned::new(span, other)),
        }
    }

    fn known_element(&mut self, path: &str, element: Node<'t>, keys: Option<&[&str]>) -> Node<'t> {
        let span = element.span();
        let value = match (element.into_inner(), keys) {
            (DeValue::Table(table), Some(keys)) => {
                let known: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let mut kept = Table::new();
                for (key, node) in table {
                    if known.iter().any(|known| known == key.get_ref().as_ref()) {
                        kept.insert(key, node);
                    } else {
                        self.unknown_key(&join(path, key.get_ref()), &key, &known, &[]);
                    }
                }
                DeValue::Table(kept)
            }
            (other, _) => other,
        };
        Spanned::new(span, value)
    }

    fn unknown_key(&mut self, path: &str, key: &Key<'_>, known: &[String], renamed: &[Renamed]) {
        if let Some(renamed) = renamed.iter().find(|renamed| renamed.old == path) {
            let message = format!("`{}` is now called `{}`", renamed.old, renamed.new);
            return self.report(path, Some(&key.span()), message, Some(renamed.help.to_owned()));
        }
        let help = match nearest(key.get_ref(), known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => elsewhere(key.get_ref()).unwrap_or_else(|| format!("known here: {}", known.join(", "))),
        };
        let sort = if path.contains('.') { "key" } else { "section" };
        self.report(path, Some(&key.span()), format!("unknown {sort} `{path}`"), Some(help));
    }

    /// Reads the tree. Each mistake is reported, and the built-in value used in its place.
    pub(super) fn read(&mut self) -> Option<Config> {
        while self.problems.len() < MOST_PROBLEMS {
            let span = 0..DEFAULTS.len();
            let error = match Config::deserialize(toml::Deserializer::from(Spanned::new(span, self.tree.clone()))) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let path = find(&self.tree, "", &span)?;
            let help = error.message().starts_with("invalid type").then(|| self.example(&path)).flatten();
            self.report(&path, Some(&span), format!("`{path}`: {}", in_words(error.message())), help);
            let built_in = locate(&BUILT_IN, &path)?.clone();
            replace(&mut self.tree, &path, built_in);
        }
        None
    }

    /// How a value of the right type is written, by the built-in one.
    fn example(&self, path: &str) -> Option<String> {
        let built_in = locate(&BUILT_IN, path)?;
        let shown = DEFAULTS.get(built_in.span())?;
        let is_tables = ELEMENT_KEYS.iter().any(|(of, _)| *of == path);
        Some(match (built_in.get_ref(), locate(&self.tree, path)?.get_ref()) {
            (DeValue::Array(_), DeValue::Array(_)) if is_tables => return None,
            (DeValue::Array(_), _) if is_tables => {
                format!("write `[[{path}]]` on a line of its own, and its keys below")
            }
            (DeValue::Array(_), DeValue::String(one)) => format!("write it as a list: [{one:?}]"),
            (DeValue::Array(list), _) if list.is_empty() => "write it as a list: [\"one\", \"another\"]".to_owned(),
            (DeValue::Array(_), _) => format!("write it as a list, such as {shown}"),
            (DeValue::String(text), _) if text.is_empty() => "write it in quotes".to_owned(),
            (DeValue::String(_), _) => format!("write it in quotes, such as {shown}"),
            (DeValue::Boolean(_), _) => "write true or false, without quotes".to_owned(),
            _ => format!("write a number, such as {shown}"),
        })
    }

    /// Whether nobody set the key at a path.
    pub(super) fn is_built_in(&self, path: &str) -> bool {
        locate(&self.tree, path).is_some_and(|node| self.sources.is_built_in(node.span().start))
    }

    /// Notes a mistake in the key at a path; the empty path stands for the whole.
    pub(super) fn report(&mut self, path: &str, span: Option<&Range<usize>>, message: String, help: Option<String>) {
        let subject = if path.is_empty() { ProblemSubject::Whole } else { ProblemSubject::Key(path.to_owned()) };
        self.push(subject, span, message, help);
    }

    fn push(&mut self, subject: ProblemSubject, span: Option<&Range<usize>>, message: String, help: Option<String>) {
        let place = span.and_then(|span| self.sources.place(span));
        let at = span.map_or(0, |span| span.start);
        self.problems.push(Problem { message, help, place, subject, at });
    }

    /// Notes that keys do not fit together, at the first of them that is not a built-in default. Says nothing about a
    /// section that has mistakes already: the one may follow from the other.
    pub(super) fn report_at(&mut self, paths: &[&str], message: String, help: Option<String>) {
        if paths.iter().any(|path| self.problems.iter().any(|known| known.casts_doubt_on(path))) {
            return;
        }
        let spans: Vec<_> = paths.iter().filter_map(|path| locate(&self.tree, path)).map(Spanned::span).collect();
        let span = spans.iter().find(|span| !self.sources.is_built_in(span.start)).or(spans.first()).cloned();
        self.push(ProblemSubject::Several, span.as_ref(), message, help);
    }

    /// Says what works, and hardly as its writer wants it.
    pub(super) fn warn(&mut self, message: String) {
        self.warnings.push(LoadWarning(message));
    }

    /// The configuration, if nothing is wrong.
    pub(super) fn finish(mut self, config: Option<Config>) -> Result<Loaded, ConfigErrors> {
        self.problems.sort_by_key(|problem| problem.at);
        let origins = self.origins();
        match config {
            Some(config) if self.problems.is_empty() => Ok(Loaded { config, origins, warnings: self.warnings }),
            _ => Err(ConfigErrors { problems: self.problems, warnings: self.warnings }),
        }
    }

    /// The keys that differ from the built-in ones, with the place that says so.
    fn origins(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        self.collect_origins(&self.tree, "", &mut out);
        out
    }

    fn collect_origins(&self, table: &Table<'_>, path: &str, out: &mut Vec<(String, String)>) {
        for (key, node) in table {
            let here = join(path, key.get_ref());
            match node.get_ref() {
                DeValue::Table(table) => self.collect_origins(table, &here, out),
                _ if self.sources.is_built_in(node.span().start) => {}
                _ => out.extend(self.sources.place(&node.span()).map(|place| (here, place.to_string()))),
            }
        }
    }
}

impl Problem {
    /// Whether a check of the key at a path could fail because of this mistake alone.
    fn casts_doubt_on(&self, path: &str) -> bool {
        match &self.subject {
            ProblemSubject::Whole => true,
            ProblemSubject::Key(key) => key.split('.').next() == path.split('.').next(),
            ProblemSubject::Several => false,
        }
    }
}

/// Every variable that is understood, with the key that it sets.
pub fn environment_names() -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    scalar_names(&BUILT_IN, "", &mut names);
    names.extend(SHORT_NAMES.map(|(name, path)| (name.to_owned(), path.to_owned())));
    names
}

fn scalar_names(table: &Table<'_>, path: &str, names: &mut BTreeMap<String, String>) {
    for (key, node) in table {
        let here = join(path, key.get_ref());
        match node.get_ref() {
            DeValue::Table(table) => scalar_names(table, &here, names),
            // A list of tables has no form of one line.
            DeValue::Array(_) if ELEMENT_KEYS.iter().any(|(of, _)| *of == here) => {}
            _ => {
                names.insert(variable_of(&here), here);
            }
        }
    }
}

/// A key that exists, but in other sections.
fn elsewhere(key: &str) -> Option<String> {
    let has = |node: &Node<'_>| node.get_ref().as_table().is_some_and(|table| table.contains_key(key));
    let sections = BUILT_IN.iter().filter(|(_, node)| has(node));
    let names: Vec<_> = sections.map(|(section, _)| format!("`[{}]`", section.get_ref())).collect();
    (!names.is_empty()).then(|| format!("`{key}` belongs into {}", names.join(" or ")))
}

/// `CLAIMGATE_SERVER_LISTEN` for `server.listen`.
fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// The variables that Kubernetes and Docker set for a service called claimgate-….
fn is_service_link(name: &str) -> bool {
    name.ends_with("_PORT")
        || name.contains("_PORT_")
        || name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
}

/// The known word that the given one is most likely meant to be.
fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let scored = known.map(|known| (strsim::damerau_levenshtein(word, known), known));
    let (distance, near) = scored.min()?;
    (distance <= 1 + word.chars().count() / 4).then_some(near)
}

/// Without the names of Rust and its libraries.
fn in_words(message: &str) -> String {
    ["usize", "u64", "u32"].iter().fold(message.replace("a sequence", "a list"), |text, name| {
        text.replace(&format!("expected {name}"), "expected a whole number, not negative")
    })
}

fn article(sort: &str) -> String {
    let vowel = sort.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {sort}", if vowel { "an" } else { "a" })
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

// === the tree ===

/// Tables are merged; everything else is replaced.
fn merge<'t>(below: &mut Table<'t>, above: Table<'t>) {
    for (key, node) in above {
        let span = node.span();
        match (below.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), node.into_inner()) {
            (Some(DeValue::Table(below)), DeValue::Table(above)) => merge(below, above),
            (_, value) => {
                below.remove(key.get_ref().as_ref());
                below.insert(key, Spanned::new(span, value));
            }
        }
    }
}

/// The node at a dotted path; a number is an index into an array.
fn locate<'a, 't>(table: &'a Table<'t>, path: &str) -> Option<&'a Node<'t>> {
    let mut keys = path.split('.');
    let mut node = table.get(keys.next()?)?;
    for key in keys {
        node = match node.get_ref() {
            DeValue::Table(table) => table.get(key)?,
            DeValue::Array(array) => array.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(node)
}

/// Puts a node in the place of the one at a dotted path of tables.
fn replace<'t>(table: &mut Table<'t>, path: &str, node: Node<'t>) {
    match path.split_once('.') {
        None => {
            table.remove(path);
            table.insert(Spanned::new(node.span(), path.to_owned().into()), node);
        }
        Some((section, rest)) => {
            if let Some(DeValue::Table(table)) = table.get_mut(section).map(Spanned::get_mut) {
                replace(table, rest, node);
            }
        }
    }
}

/// The path of the key, or of the array, whose value has the span.
fn find(table: &Table<'_>, path: &str, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, node)| {
        let here = join(path, key.get_ref());
        match node.get_ref() {
            DeValue::Table(table) => find(table, &here, span),
            value => holds(node.span(), value, span).then_some(here),
        }
    })
}

/// Whether a span is that of a value or of something in it.
fn holds(own: Range<usize>, value: &DeValue<'_>, span: &Range<usize>) -> bool {
    let within = own.start <= span.start && span.end <= own.end;
    within
        || match value {
            DeValue::Array(array) => array.iter().any(|node| holds(node.span(), node.get_ref(), span)),
            DeValue::Table(table) => table.values().any(|node| holds(node.span(), node.get_ref(), span)),
            _ => false,
        }
}

fn text_node(text: &str, span: Range<usize>) -> Node<'_> {
    Spanned::new(span, DeValue::String(text.into()))
}

/// A number or a truth value, as in a file; anything else stays a text, and `serde` says what was wanted.
fn scalar_node(text: &str, span: Range<usize>) -> Node<'_> {
    match DeValue::parse(text) {
        Ok(node) if node.get_ref().is_integer() || node.get_ref().is_bool() => Spanned::new(span, node.into_inner()),
        _ => text_node(text, span),
    }
}

/// A list as in a file, or its elements with commas between them; nothing is the empty list.
fn list_node(text: &str, span: Range<usize>) -> Node<'_> {
    if text.trim_start().starts_with('[') {
        return match DeValue::parse(text) {
            Ok(node) if node.get_ref().is_array() => shift_node(node, span.start),
            _ => text_node(text, span),
        };
    }
    let mut list = DeArray::new();
    for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
        list.push(text_node(element, span.clone()));
    }
    Spanned::new(span, DeValue::Array(list))
}

fn shift_span(span: &Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}

fn shift_table(table: Table<'_>, base: usize) -> Table<'_> {
    let shifted = table.into_iter().map(|(key, node)| {
        let span = shift_span(&key.span(), base);
        (Spanned::new(span, key.into_inner()), shift_node(node, base))
    });
    shifted.collect()
}

fn shift_node(node: Node<'_>, base: usize) -> Node<'_> {
    let span = shift_span(&node.span(), base);
    let value = match node.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift_table(table, base)),
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|node| shift_node(node, base)).collect()),
        scalar => scalar,
    };
    Spanned::new(span, value)
}
