//! Every mutating call of the tracker's published API, version by version (`tests/recordings/forgejo/api-writes.tsv`),
//! and what the gate makes of each. A new release is a diff of that table.

use claimgate::dialect::{self, Head, Route, Target};
use http::{HeaderMap, Method};

const CALLS: &str = include_str!("../recordings/forgejo/api-writes.tsv");

/// What the table says in the place of each name.
const PLACES: &[(&str, &str)] = &[
    ("{owner}", "o"),
    ("{repo}", "r"),
    ("{template_owner}", "o"),
    ("{template_repo}", "r"),
    ("{filepath}", "dir/a%20file.txt"),
    ("{branch}", "feature/x"),
    ("{identifier}", "in-progress"),
    ("{sha}", "0123456789abcdef0123456789abcdef01234567"),
];

/// What becomes of a call, in the table's word.
fn class(method: &Method, path: &str) -> &'static str {
    let dialect = dialect::by_name("forgejo").expect("it is known");
    let (target, headers) = (Target::parse(path), HeaderMap::new());
    match dialect.classify(&Head { method, target: &target, headers: &headers }) {
        Route::Pass => "pass",
        Route::Read { .. } => "read",
        Route::Guarded(route) => route.class(),
        Route::Refuse(_) => "refuse",
    }
}

fn filled_in(path: &str) -> String {
    let path = PLACES.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    let parts = path.split('/').map(|part| if part.starts_with('{') { "7" } else { part });
    format!("/api/v1{}", parts.collect::<Vec<_>>().join("/"))
}

#[test]
fn each_call_of_the_published_api_is_classified_as_written() {
    let rows: Vec<&str> = CALLS.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(rows.len() > 200, "{} calls", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let [path, method, _versions, expected] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row:?}") };
        let found = class(&method.parse().expect("a method"), &filled_in(path));
        if found != expected {
            wrong.push(format!("{method} {path} is {found}, and the table says {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} calls:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whatever a release adds below an item must be looked at before it passes.
#[test]
fn a_call_that_the_table_does_not_have_is_refused_below_an_item() {
    for (method, path) in [
        ("POST", "/repos/{owner}/{repo}/issues/{index}/a-new-call"),
        ("PUT", "/repos/{owner}/{repo}/issues/{index}"),
        ("PATCH", "/repos/{owner}/{repo}/pulls/{index}/labels/{id}"),
        ("POST", "/repos/{owner}/{repo}/projects/{id}/columns"),
    ] {
        assert_eq!(class(&method.parse().expect("a method"), &filled_in(path)), "refuse", "{method} {path}");
    }
}
