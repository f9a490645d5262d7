//! Requests as a server would carry them out.

use super::*;
use crate::dialect::Target;
use http::{HeaderMap, Method};

fn request(method: &Method, target: &str, kind: &str, body: &str) -> Result<Operations, ParseError> {
    let target = Target::parse(target);
    let mut headers = HeaderMap::new();
    if !kind.is_empty() {
        headers.insert("content-type", kind.parse().unwrap());
    }
    read(&Head { method, target: &target, headers: &headers }, body.as_bytes())
}

fn post(body: &Value) -> Result<Operations, ParseError> {
    request(&Method::POST, "/graphql", "application/json", &body.to_string())
}

/// The fields of a document, as `key=name(arguments)`.
fn fields(query: &str, variables: &Value) -> String {
    shown(post(&json!({ "query": query, "variables": variables })))
}

fn shown(operations: Result<Operations, ParseError>) -> String {
    let operations = match operations {
        Ok(operations) => operations,
        Err(error) => return format!("refused: {error}"),
    };
    let field = |it: &ExecutedField| format!("{}={}({})", it.key, it.name, Value::Object(it.arguments.clone()));
    let one = |mutation: &Mutation| mutation.fields().iter().map(field).collect::<Vec<_>>().join(" ");
    operations.mutations.iter().map(one).collect::<Vec<_>>().join(" | ")
}

fn repeated(times: std::ops::Range<usize>, part: impl Fn(usize) -> String) -> String {
    times.map(part).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_way_to_write_a_value_has_the_same_value() {
    let wanted = r#"issueUpdate=issueUpdate({"id":"ENG-1","input":{"stateId":"s"}})"#;
    for (query, variables) in [
        (r#"mutation { issueUpdate(id: "ENG-1", input: {stateId: "s"}) { success } }"#, json!(null)),
        (r#"mutation { issueUpdate(id: """ENG-1""", input: {stateId: "\u0073"}) { success } }"#, json!({})),
        (
            r"mutation($i: String!, $s: String) { issueUpdate(id: $i, input: {stateId: $s}) { success } }",
            json!({"i": "ENG-1", "s": "s"}),
        ),
        (
            r#"mutation($i: String! = "ENG-1", $in: In = {stateId: "s"}) { issueUpdate(id: $i, input: $in) { success } }"#,
            json!({}),
        ),
        (
            r"mutation($i: String!, $in: In!) { ...F } fragment F on Mutation { issueUpdate(id: $i, input: $in) { success } }",
            json!({"i": "ENG-1", "in": {"stateId": "s"}, "unused": 1}),
        ),
        (
            r#"fragment F on Mutation { ... @include(if: true) { issueUpdate(id: "ENG-1", input: {stateId: "s"}) { success } } } mutation { ...F @skip(if: false) ...F }"#,
            json!({}),
        ),
        (
            r#"mutation($x: String) { issueUpdate(id: "ENG-1", input: {stateId: "s", assigneeId: $x}) { a } ... on Mutation { issueUpdate(id: "ENG-1", input: {assigneeId: $x, stateId: "s"}) { b } } }"#,
            json!({}),
        ),
    ] {
        let read = fields(query, &variables);
        assert_eq!(read, wanted, "{query}");
        // As a text, too, which some clients send.
        let text = variables.as_object().map(|it| Value::Object(it.clone()).to_string());
        let again = post(&json!({ "query": query, "variables": text }));
        assert_eq!(shown(again), wanted);
    }
}

#[test]
fn a_variable_without_a_value_is_absent_and_null_is_null() {
    let query = "mutation($a: ID, $b: ID = \"d\") { m(a: $a, b: $b, c: [$a, $b], d: {e: $a, f: $b}) }";
    assert_eq!(fields(query, &json!({})), r#"m=m({"b":"d","c":[null,"d"],"d":{"f":"d"}})"#);
    assert_eq!(
        fields(query, &json!({ "a": null, "b": null })),
        r#"m=m({"a":null,"b":null,"c":[null,null],"d":{"e":null,"f":null}})"#
    );
    assert!(fields("mutation { m(a: $a) }", &json!({ "a": 1 })).contains("not declared"));
}

#[test]
fn aliases_and_directives_are_followed() {
    let query = r"mutation($no: Boolean = false, $yes: Boolean!) {
        a: m(id: 1) b: m(id: 2) @skip(if: $yes) c: m(id: 3) @include(if: $no) @skip(if: $no)
        d: m(id: 007x) }";
    assert!(fields(query, &json!({ "yes": true })).contains("is no number"));
    let query = query.replace("007x", "$yes");
    assert_eq!(fields(&query, &json!({ "yes": true })), r#"a=m({"id":1}) d=m({"id":true})"#);
    assert!(fields(&query, &json!({})).contains("neither true nor false"));
    assert!(fields("mutation { a: m(id: 1) a: m(id: 2) }", &json!({})).contains("two different fields"));
    assert!(fields("mutation { a: m a: n }", &json!({})).contains("two different fields"));
    assert!(fields("mutation { ... on Query { m } }", &json!({})).contains("another type"));
    assert!(fields("mutation { ...F }", &json!({})).contains("is not there"));
    assert!(fields("mutation { m @skip(if: true) }", &json!({})).contains("has no field"));
}

#[test]
fn the_operation_that_is_named_is_carried_out() {
    let query = "query Q { a } mutation M { m } mutation N { n }";
    let named = |name: Value| shown(post(&json!({ "query": query, "operationName": name })));
    assert_eq!(named(json!("Q")), "");
    assert_eq!(named(json!("M")), "m=m({})");
    assert_eq!(named(json!("N")), "n=n({})");
    for name in [json!(null), json!(""), json!("O"), json!(1)] {
        assert!(named(name).starts_with("refused"), "not one of them is named");
    }
    assert_eq!(
        shown(post(&json!({ "query": "query A { a } query B { b }" }))),
        "",
        "a server refuses it, and it reads only"
    );
    assert_eq!(fields("subscription { s }", &json!({})), "");
}

#[test]
fn each_form_of_a_request_is_read() {
    let (post, get) = (Method::POST, Method::GET);
    let json = r#"{"query":"mutation { m }"}"#;
    for (method, target, kind, body, wanted) in [
        (&post, "/graphql", "application/json", json, "m=m({})"),
        (&post, "/graphql", "application/json; charset=UTF-8", json, "m=m({})"),
        (&post, "/graphql", "application/x-www-form-urlencoded", json, "m=m({})"),
        (&post, "/graphql", "text/plain", json, "m=m({})"),
        (&post, "/graphql", "", json, "m=m({})"),
        (&post, "/graphql", "application/graphql", "mutation { m }", "m=m({})"),
        (&post, "/graphql", "application/graphql", "{ a }", ""),
        (&post, "/graphql", "application/graphql", json, "m=m({})"),
        (&post, "/graphql", "application/x-www-form-urlencoded", "query=mutation+%7B+m+%7D&other=1", "m=m({})"),
        (
            &post,
            "/graphql",
            "application/json",
            r#"[{"query":"{a}"},{"query":"mutation{m}"},{"query":"mutation{n}"}]"#,
            "m=m({}) | n=n({})",
        ),
        (&get, "/graphql?query=%7Ba%7D&variables=%7B%7D", "", "", ""),
        (&get, "/graphql?query=mutation%7Bm%7D", "", "", "m=m({})"),
    ] {
        assert_eq!(shown(request(method, target, kind, body)), wanted, "{target} {kind} {body}");
    }
    for (method, target, kind, body, why) in [
        (&post, "/graphql?query=%7Ba%7D", "application/json", json, "in its body"),
        (&post, "/graphql?operationName=M", "application/json", json, "in its body"),
        (&get, "/graphql?query=%7Ba%7D", "", json, "a GET has a body"),
        (&get, "/graphql?query=%7Ba%7D&query=%7Bb%7D", "", "", "stands twice"),
        (&post, "/graphql", "application/json", r#"{"query":"{a}","query":"mutation{m}"}"#, "stands twice"),
        (
            &post,
            "/graphql",
            "application/json",
            r#"{"query":"mutation{m}","variables":{"a":{"b":1,"b":2}}}"#,
            "stands twice",
        ),
        (
            &post,
            "/graphql",
            "application/json",
            r#"{"query":"mutation{m}","variables":"{\"a\":1,\"a\":2}"}"#,
            "stands twice",
        ),
        (&post, "/graphql", "application/json", r#"{"query":"mutation{m}"} x"#, "not at all"),
        (&post, "/graphql", "application/json", "mutation { m }", "no JSON object"),
        (&post, "/graphql", "application/json", "", "empty"),
        (&post, "/graphql", "application/json", "[]", "one document at least"),
        (&post, "/graphql", "application/json", "[1]", "object was expected"),
        (&post, "/graphql", "application/json", r#"{"query":["mutation{m}"]}"#, "must be a text"),
        (&post, "/graphql", "application/json", r#"{"query":"mutation{m}","variables":[1]}"#, "must be an object"),
        (&post, "/graphql", "application/json; charset=utf-16", json, "as UTF-8"),
        (&post, "/graphql", "multipart/form-data; boundary=x", json, "multipart"),
        (&post, "/graphql", "application/json", r#"{"extensions":{"persistedQuery":{}}}"#, NOT_STORED),
    ] {
        let read = shown(request(method, target, kind, body));
        assert!(read.starts_with("refused") && read.contains(why), "{target} {kind} {body}: {read}");
    }
    let target = Target::parse("/graphql");
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", "gzip".parse().unwrap());
    let error = read(&Head { method: &post, target: &target, headers: &headers }, json.as_bytes()).unwrap_err();
    assert!(matches!(error, ParseError::UnsupportedEncoding(_)));
}

#[test]
fn what_is_written_anew_is_carried_out_the_same() {
    let query = r#"query Other { x } mutation M($i: String!, $in: In!, $spare: Int = 1) @live {
        ... @include(if: true) { one: issueUpdate(id: $i, input: $in) { ...P } } ...Root }
        fragment Root on Mutation { two: issueDelete(id: "a\"b") { success } }
        fragment P on IssuePayload { success issue { ...I } } fragment I on Issue { id } fragment Unused on Issue { id }"#;
    let variables = json!({ "i": "ENG-1", "in": { "stateId": "s", "title": "t" }, "stray": 1 });
    let read = post(&json!({ "query": query, "variables": variables, "operationName": "M" })).unwrap();
    let body = read.mutations[0].body();
    let written: Value = serde_json::from_slice(&body).unwrap();
    let wanted = "mutation M($i: String!, $in: In!) @live { one: issueUpdate(id: $i, input: $in) { ...P } two: issueDelete(id: \"a\\\"b\") { success } } fragment I on Issue { id } fragment P on IssuePayload { success issue { ...I } }";
    assert_eq!(written["query"], wanted);
    assert_eq!(written["variables"], json!({ "i": "ENG-1", "in": { "stateId": "s", "title": "t" } }));
    assert_eq!(written["operationName"], "M");
    let again = shown(request(&Method::POST, "/graphql", "application/json", std::str::from_utf8(&body).unwrap()));
    assert_eq!(again, shown(Ok(read)));
}

#[test]
fn members_of_an_argument_can_be_left_out() {
    for query in [
        r#"mutation { issueUpdate(id: "E", input: {stateId: "s", title: "t"}) { success } }"#,
        r#"mutation($in: In!) { issueUpdate(id: "E", input: $in) { success } }"#,
    ] {
        let read = post(&json!({ "query": query, "variables": { "in": { "stateId": "s", "title": "t" } } })).unwrap();
        let left = read.mutations[0].without("issueUpdate", "input", &["stateId"]);
        let body = String::from_utf8(left.body().to_vec()).unwrap();
        let again = shown(request(&Method::POST, "/graphql", "", &body));
        assert_eq!(again, r#"issueUpdate=issueUpdate({"id":"E","input":{"title":"t"}})"#, "{body}");
    }
}

#[test]
fn a_query_is_built_of_what_was_selected() {
    let query = r#"mutation($n: Int) { issueUpdate(id: "E", input: {}) { success issue { ...I } } } fragment I on Issue { labels(first: $n) { x } }"#;
    let read = post(&json!({ "query": query, "variables": { "n": 5 } })).unwrap();
    let mutation = &read.mutations[0];
    let payload = mutation.selected("IssuePayload", &mutation.fields()[0].selections).unwrap();
    assert_eq!(payload.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["success", "issue"]);
    let arguments = vec![("id".to_owned(), Literal::Text("E".to_owned()))];
    let field = FieldSelection {
        alias: None,
        name: "issue".to_owned(),
        arguments,
        directives: Vec::new(),
        selections: payload[1].selections.clone(),
    };
    let body: Value = serde_json::from_slice(&mutation.query_body(vec![field])).unwrap();
    assert_eq!(
        body["query"],
        "query($n: Int) { issue(id: \"E\") { ...I } } fragment I on Issue { labels(first: $n) { x } }"
    );
    assert_eq!(body["variables"], json!({ "n": 5 }));
}

#[test]
fn hostile_documents_cost_little() {
    // Each fragment twice the next one: 2^500 fields, were each followed.
    let bomb = repeated(0..500, |n| format!("fragment F{n} on Mutation {{ ...F{} ...F{} }}", n + 1, n + 1));
    let bomb = format!("mutation {{ ...F0 }} {bomb} fragment F500 on Mutation {{ m }}");
    assert!(fields(&bomb, &json!({})).contains("32 deep"));
    let shallow = repeated(0..30, |n| format!("fragment F{n} on Mutation {{ ...F{} ...F{} }}", n + 1, n + 1));
    let shallow = format!("mutation {{ ...F0 }} {shallow} fragment F30 on Mutation {{ m }}");
    assert_eq!(fields(&shallow, &json!({})), "m=m({})");
    // A circle.
    assert_eq!(
        fields("mutation { ...F m } fragment F on Mutation { ...G } fragment G on Mutation { ...F }", &json!({})),
        "m=m({})"
    );
    // A large variable in each of many fields.
    let many = repeated(0..90, |n| format!("a{n}: m(a: [$v, $v, $v, $v, $v, $v, $v, $v])"));
    let large = json!({ "v": vec![0; 1_000] });
    assert!(fields(&format!("mutation($v: [Int]) {{ {many} }}"), &large).contains("20000 values"));
    let aliases = repeated(0..101, |n| format!("a{n}: m "));
    assert!(fields(&format!("mutation {{ {aliases} }}"), &json!({})).contains("100 fields"));
    assert!(fields(&"{ a ".repeat(9_000), &json!({})).contains("deep"));
    assert!(fields(&format!("mutation {{ m(a: \"{}\") }}", "x".repeat(1_000_000)), &json!({})).starts_with("m=m"));
}

#[test]
fn an_answer_with_an_error_has_no_data() {
    let body = error_body("no", Some("a"), &json!({ "code": "X" }));
    assert_eq!(
        body,
        json!({ "data": null, "errors": [{ "message": "no", "path": ["a"], "extensions": { "code": "X" } }] })
    );
    assert_eq!(items_of(&json!("a")), [json!("a")]);
    assert_eq!(items_of(&json!(["a", "b"])).len(), 2);
    assert_eq!(items_of(&json!(null)).len(), 0);
}
