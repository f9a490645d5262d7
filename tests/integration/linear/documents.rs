//! What the gate reads in a document is what graphql-js carries out of it; and of the documents of Linear's own client no query
//! is refused, and each mutation of an issue is seen.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use claimgate::dialect::{
    ClosingSyntax, Dialect, GuardedRoute, Head, Route, Scrutiny, Target, Understood, by_name, graphql,
};
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::fake::schema;

/// Where `tests/run` installs what npm has.
pub fn clients() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/linear");
    let is_there = folder.join("node_modules/graphql").is_dir() && folder.join("node_modules/@linear/sdk").is_dir();
    if !is_there {
        eprintln!(
            "SKIPPED: graphql and @linear/sdk are not installed; `npm install` in tests/clients/linear installs them"
        );
    }
    is_there.then_some(folder)
}

// === as a server carries it out ===

/// A generator whose seed says all that follows.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).expect("it is small")
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// The mutations that documents are drawn of, each with its arguments and their types.
const FIELDS: [(&str, &[(&str, &str)]); 7] = [
    ("issueUpdate", &[("id", "String!"), ("input", "IssueUpdateInput!")]),
    ("issueBatchUpdate", &[("ids", "[UUID!]!"), ("input", "IssueUpdateInput!")]),
    ("issueAddLabel", &[("id", "String!"), ("labelId", "String!")]),
    ("issueArchive", &[("id", "String!"), ("trash", "Boolean")]),
    ("issueDelete", &[("id", "String!"), ("permanentlyDelete", "Boolean")]),
    ("issueCreate", &[("input", "IssueCreateInput!")]),
    ("commentCreate", &[("input", "CommentCreateInput!")]),
];
const UPDATED: [(&str, &str); 7] = [
    ("assigneeId", "String"),
    ("stateId", "String"),
    ("title", "String"),
    ("priority", "Int"),
    ("labelIds", "[String!]"),
    ("addedLabelIds", "[String!]"),
    ("trashed", "Boolean"),
];
const TEXTS: [&str; 6] = ["ENG-1", "0f3c9a52-0000-4000-8000-00000000000a", "a \"b\" \\ c", "ä€😀", "line\nline", ""];

/// One document under way.
struct Drawn<'d> {
    dice: &'d mut Dice,
    declared: Vec<String>,
    variables: Map<String, Value>,
    fragments: Vec<String>,
}

impl Drawn<'_> {
    fn field(&mut self, number: usize) -> String {
        let (name, arguments) = FIELDS[self.dice.below(FIELDS.len())];
        let mut written = Vec::new();
        for (argument, of) in arguments {
            if of.ends_with('!') || self.dice.one_in(2) {
                written.push(format!("{argument}: {}", self.value(of)));
            }
        }
        if self.dice.one_in(2) {
            written.reverse();
        }
        let shown = self.directive();
        let field =
            format!("f{number}: {name}({}){shown} {{ success }}", written.join(self.dice.of(&[", ", " ", "\n# c\n"])));
        match self.dice.below(5) {
            0 => format!("... on Mutation{} {{ {field} }}", self.directive()),
            1 => format!("...{} {{ {field} }}", self.directive()),
            2 | 3 => {
                let fragment = format!("F{}", self.fragments.len());
                let within = if self.dice.one_in(3) { format!("... {{ {field} }}") } else { field };
                self.fragments.push(format!("fragment {fragment} on Mutation {{ {within} }}"));
                let again = if self.dice.one_in(4) { format!(" ...{fragment}") } else { String::new() };
                format!("...{fragment}{}{again}", self.directive())
            }
            _ => field,
        }
    }

    fn directive(&mut self) -> String {
        if !self.dice.one_in(3) {
            return String::new();
        }
        let (name, wanted) = (self.dice.of(&["skip", "include"]), self.dice.one_in(3));
        let condition = match self.dice.below(3) {
            0 => self.variable("Boolean!", json!(wanted)),
            1 => {
                let name = format!("v{}", self.declared.len());
                self.declared.push(format!("${name}: Boolean = {wanted}"));
                format!("${name}")
            }
            _ => wanted.to_string(),
        };
        format!(" @{name}(if: {condition})")
    }

    fn variable(&mut self, of: &str, value: Value) -> String {
        let name = format!("v{}", self.declared.len());
        if self.dice.one_in(6) && !value.is_object() {
            let default = literal(&value, self.dice);
            self.declared.push(format!("${name}: {} = {default}", of.trim_end_matches('!')));
            if self.dice.one_in(2) {
                self.variables.insert(name.clone(), value);
            }
        } else {
            self.declared.push(format!("${name}: {of}"));
            self.variables.insert(name.clone(), value);
        }
        format!("${name}")
    }

    /// A value of this type, written in one of its ways.
    fn value(&mut self, of: &str) -> String {
        if self.dice.one_in(3) {
            let value = self.plain(of);
            return self.variable(of, value);
        }
        let members = match of {
            "IssueUpdateInput!" => &UPDATED[..],
            "IssueCreateInput!" => &[("teamId", "String!"), ("title", "String"), ("labelIds", "[String!]")],
            "CommentCreateInput!" => &[("issueId", "String"), ("body", "String")],
            of => {
                let plain = self.plain(of);
                return literal(&plain, self.dice);
            }
        };
        let mut written = Vec::new();
        for (name, of) in members {
            if of.ends_with('!') || self.dice.one_in(2) {
                written.push(format!("{name}: {}", self.value(of)));
            }
        }
        format!("{{{}}}", written.join(", "))
    }

    fn plain(&mut self, of: &str) -> Value {
        if !of.ends_with('!') && self.dice.one_in(6) {
            return Value::Null;
        }
        match of.trim_end_matches('!') {
            "Boolean" => json!(self.dice.one_in(2)),
            "Int" => json!(self.dice.below(5)),
            "IssueUpdateInput" => {
                let mut members = Map::new();
                for (name, of) in UPDATED {
                    if self.dice.one_in(2) {
                        members.insert(name.to_owned(), self.plain(of));
                    }
                }
                Value::Object(members)
            }
            "IssueCreateInput" => json!({ "teamId": "ENG", "title": self.dice.of(&TEXTS) }),
            "CommentCreateInput" => json!({ "issueId": "ENG-1", "body": self.dice.of(&TEXTS) }),
            // A single value stands for a list of it.
            of if of.starts_with('[') && self.dice.one_in(3) => json!(self.dice.of(&TEXTS)),
            of if of.starts_with('[') => {
                let count = self.dice.below(3);
                (0..count).map(|_| json!(self.dice.of(&TEXTS))).collect()
            }
            _ => json!(self.dice.of(&TEXTS)),
        }
    }
}

fn literal(value: &Value, dice: &mut Dice) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| literal(item, dice)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}: {}", literal(value, dice))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::String(text) if !text.contains(['"', '\\']) && !text.is_empty() && dice.one_in(3) => {
            format!("\"\"\"{text}\"\"\"")
        }
        Value::String(text) if text.is_ascii() && dice.one_in(4) => {
            let escape = |all: String, letter| all + &format!("\\u{:04x}", u32::from(letter));
            let escaped = text.chars().fold(String::new(), escape);
            format!("\"{escaped}\"")
        }
        plain => plain.to_string(),
    }
}

/// A request, as a client would send it.
pub fn drawn(dice: &mut Dice) -> Value {
    let mut drawn = Drawn { dice, declared: Vec::new(), variables: Map::new(), fragments: Vec::new() };
    let count = 1 + drawn.dice.below(4);
    let fields: Vec<String> = (0..count).map(|number| drawn.field(number)).collect();
    let Drawn { dice, declared, variables, fragments } = drawn;
    let declared = if declared.is_empty() { String::new() } else { format!("({})", declared.join(", ")) };
    let named = dice.one_in(2);
    let operation = format!("mutation {}{declared} {{ {} }}", if named { "M" } else { "" }, fields.join(" "));
    let decoy = if named && dice.one_in(2) {
        "query Q { __typename } mutation N { issueDelete(id: \"ENG-9\") { success } }"
    } else {
        ""
    };
    let mut parts = fragments;
    let at = dice.below(parts.len() + 1);
    parts.insert(at, operation);
    parts.push(decoy.to_owned());
    let mut request = json!({ "query": parts.join("\n"), "variables": variables });
    if named && (!decoy.is_empty() || dice.one_in(2)) {
        request["operationName"] = json!("M");
    }
    request
}

/// The fields that the gate reads in a request.
fn read(request: &Value) -> Result<Value, String> {
    let (target, headers) = (Target::parse("/graphql"), HeaderMap::new());
    let head = Head { method: &Method::POST, target: &target, headers: &headers };
    let read = graphql::read(&head, request.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let [mutation] = &read.mutations[..] else { return Ok(json!([])) };
    // What is written anew is carried out the same.
    let again = graphql::read(&head, &mutation.body()).map_err(|error| error.to_string())?;
    assert_eq!(fields(&again.mutations[0]), fields(mutation), "{request}");
    Ok(fields(mutation))
}

fn fields(mutation: &graphql::Mutation) -> Value {
    let field = |it: &graphql::ExecutedField| json!({ "key": it.key, "name": it.name, "arguments": it.arguments });
    mutation.fields().iter().map(field).collect()
}

/// Whether a value is what a server that knows its type made of it.
fn is_same(read: &Value, coerced: &Value) -> bool {
    match (read, coerced) {
        (Value::Array(read), Value::Array(coerced)) => {
            read.len() == coerced.len() && read.iter().zip(coerced).all(|(read, coerced)| is_same(read, coerced))
        }
        (read, Value::Array(coerced)) if !read.is_null() => coerced.len() == 1 && is_same(read, &coerced[0]),
        (Value::Object(read), Value::Object(coerced)) => {
            read.len() == coerced.len()
                && read.iter().all(|(name, read)| coerced.get(name).is_some_and(|coerced| is_same(read, coerced)))
        }
        (read, coerced) => read == coerced,
    }
}

/// The part of the schema that the fake one has; of what it leaves out, a type that takes anything.
fn whole_schema() -> String {
    let types = schema::types(schema::CUT);
    let members = types.values().flat_map(|members| members.values());
    let named = members.flat_map(|member| member.arguments.values().chain([&member.of]));
    let known = ["String", "Int", "Float", "Boolean", "ID"];
    let mut left: Vec<&str> =
        named.map(|of| schema::bare(of)).filter(|of| !known.contains(of) && !types.contains_key(*of)).collect();
    left.sort_unstable();
    left.dedup();
    let scalars: Vec<String> = left.iter().map(|name| format!("scalar {name}\n")).collect();
    format!("{}{}", schema::CUT, scalars.concat())
}

/// How many documents, and of which seed.
pub fn chosen(most: usize) -> (usize, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let count = number("CLAIMGATE_TEST_DOCUMENTS").map_or(most, |count| usize::try_from(count).expect("it fits"));
    (count, number("CLAIMGATE_TEST_SEED").unwrap_or(7))
}

#[test]
fn the_gate_sees_what_graphql_js_carries_out() {
    let Some(folder) = clients() else { return };
    let (count, seed) = chosen(5_000);
    let mut dice = Dice::new(seed);
    let requests: Vec<Value> = (0..count).map(|_| drawn(&mut dice)).collect();
    let place = tempfile::tempdir().expect("a directory");
    let schema = place.path().join("schema.graphql");
    std::fs::write(&schema, whole_schema()).expect("it can be written");
    let mut command = Command::new("node");
    command.current_dir(&folder).arg("evaluate.mjs").arg(&schema).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("node is there");
    let lines: Vec<String> = requests.iter().map(Value::to_string).collect();
    let mut stdin = child.stdin.take().expect("piped");
    let feeding = std::thread::spawn(move || stdin.write_all(format!("{}\n", lines.join("\n")).as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    feeding.join().expect("no panic").expect("it reads");
    let told: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(told.len(), requests.len());
    let (mut carried_out, mut fields) = (0, 0);
    for (request, told) in requests.iter().zip(&told) {
        let read = read(request);
        match told {
            // What is skipped is nothing, and that the gate refuses.
            Value::Array(called) if called.is_empty() => assert!(read.is_err(), "{request}"),
            Value::Array(called) => {
                carried_out += 1;
                fields += called.len();
                let read = read.unwrap_or_else(|why| panic!("seed {seed}: {request}: {why}"));
                assert!(is_same(&read, told), "seed {seed}: {request}\n{read}\n{told}");
            }
            _ => {}
        }
    }
    eprintln!("seed {seed}: {carried_out} of {count} documents carried out, {fields} fields");
    assert!(carried_out * 10 > count * 6, "only {carried_out} of {count} were carried out");
}

// === of Linear's own client ===

fn understood(dialect: &dyn Dialect, query: &str, variables: &Value) -> Result<Understood, String> {
    let (target, headers) = (Target::parse("/graphql"), HeaderMap::new());
    let head = Head { method: &Method::POST, target: &target, headers: &headers };
    let Route::Guarded(route) = dialect.classify(&head) else { panic!("it is the API") };
    let closing = ClosingSyntax::new(std::iter::empty::<&str>(), None);
    let body = json!({ "query": query, "variables": variables }).to_string();
    let route: &dyn GuardedRoute = &*route;
    route.understand(&head, body.as_bytes(), &Scrutiny::none(&closing)).map_err(|error| error.to_string())
}

/// Mutations of an issue's holder, state or life, by what their documents are called.
const OF_ISSUES: [&str; 9] = [
    "UpdateIssueDocument",
    "UpdateIssueBatchDocument",
    "IssueAddLabelDocument",
    "IssueRemoveLabelDocument",
    "ArchiveIssueDocument",
    "UnarchiveIssueDocument",
    "DeleteIssueDocument",
    "CreateIssueDocument",
    "AgentSessionCreateOnIssueDocument",
];

#[test]
fn of_the_clients_own_documents_no_query_is_refused_and_each_mutation_of_an_issue_is_seen() {
    let Some(folder) = clients() else { return };
    let output = Command::new("node").current_dir(&folder).arg("documents.mjs").output().expect("node is there");
    let lines = String::from_utf8(output.stdout).expect("text");
    let dialect = by_name("linear").expect("it is known");
    let variables = json!({
        "id": "ENG-1", "ids": ["0f3c9a52-0000-4000-8000-00000000000a"], "labelId": "l", "issueId": "ENG-1",
        "input": { "stateId": "s", "teamId": "t", "issueId": "ENG-1" }, "trash": false,
    });
    let (mut queries, mut seen) = (0, Vec::new());
    for line in lines.lines() {
        let document: Value = serde_json::from_str(line).expect("JSON");
        let (name, query) = (document["name"].as_str().expect("a name"), document["query"].as_str().expect("a text"));
        let is_query = query.trim_start().starts_with("query");
        let of_move = json!({ "id": "ENG-1", "ids": variables["ids"], "labelId": "l", "input": { "stateId": "s" } });
        let sent = if name.starts_with("UpdateIssue") { &of_move } else { &variables };
        match understood(&*dialect, query, sent) {
            Ok(understood) if understood.guarded.is_some() => seen.push(name.to_owned()),
            Ok(_) => queries += usize::from(is_query),
            Err(why) => assert!(!is_query, "{name}: {why}"),
        }
    }
    assert!(queries > 300, "{queries} queries pass");
    let missing: Vec<&&str> = OF_ISSUES.iter().filter(|name| !seen.iter().any(|seen| seen == **name)).collect();
    assert!(missing.is_empty(), "not seen: {missing:?}; seen: {seen:?}");
    eprintln!("{queries} queries pass, and these are seen: {seen:?}");
}
