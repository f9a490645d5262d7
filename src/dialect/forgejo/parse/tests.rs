//! What each body, form and query means, and what is refused.

use super::super::super::Target;
use super::super::{emit, routes};
use super::*;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use proptest::prelude::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn read(request: &str, types: &[&str], body: &str) -> Result<Option<ApiWrite>, ParseError> {
    let (method, path) = request.split_once(' ').unwrap();
    let path = path.replacen("R/", "/api/v1/repos/o/r/", 1);
    let mut headers = HeaderMap::new();
    for kind in types {
        headers.append(CONTENT_TYPE, kind.parse().unwrap());
    }
    let head = Head { method: &method.parse().unwrap(), target: &Target::parse(&path), headers: &headers };
    let super::super::call::Call::Write(write) = routes::classify(&head) else { panic!("{request} is not a write") };
    parse(&write, &head, body.as_bytes())
}

/// `expected` is the canonical request of a guarded write, `unguarded`, or the status and part of the refusal.
fn check(request: &str, types: &[&str], body: &str, expected: &str) {
    let shown = match read(request, types, body) {
        Ok(None) => "unguarded".to_owned(),
        Ok(Some(intent)) => {
            let path = emit::path(&intent);
            let path = path.strip_prefix("/api/v1/repos/o/").unwrap();
            let body = emit::body(&intent).unwrap_or_default();
            format!("{} {path} {body}", emit::method(intent.form)).trim_end().to_owned()
        }
        Err(error) => format!("{}: {error}", error.code().status()),
    };
    match expected.split_once(": ") {
        Some((status, part)) if status.len() == 3 => {
            assert!(shown.starts_with(status) && shown.contains(part), "{request} {types:?} {body}: {shown}");
        }
        _ => assert_eq!(shown, expected, "{request} {types:?} {body}"),
    }
}

fn edit(body: &str, expected: &str) {
    check("PATCH R/issues/7", &[JSON], body, expected);
}

#[test]
fn edits_of_an_issue() {
    edit(r#"{"assignees":["bob"]}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
    edit(r#"{"assignees":[]}"#, r#"PATCH r/issues/7 {"assignees":[]}"#);
    edit(r#"{"assignees":null}"#, "unguarded");
    edit(r#"{"assignee":null,"assignees":null,"state":null}"#, "unguarded");
    edit(r#"{"title":"x","body":"y"}"#, "unguarded");
    edit("{}", "unguarded");
    edit(r#"{"assignee":""}"#, r#"PATCH r/issues/7 {"assignees":[]}"#);
    edit(r#"{"assignee":"","assignees":["bob"]}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
    edit(r#"{"assignee":"bob"}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
    edit(r#"{"assignee":"bob","assignees":["ann"]}"#, r#"PATCH r/issues/7 {"assignees":["ann","bob"]}"#);
    edit(r#"{"assignee":"BOB","assignees":["bob"]}"#, r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
    edit(r#"{"assignees":["DEV-BOT","dev-bot"]}"#, r#"PATCH r/issues/7 {"assignees":["dev-bot"]}"#);
    edit("{\"assignees\":[\"\u{212A}ate\"]}", r#"PATCH r/issues/7 {"assignees":["kate"]}"#);
    edit(r#"{"state":"closed"}"#, r#"PATCH r/issues/7 {"state":"closed"}"#);
    edit(r#"{"state":"open","title":"t"}"#, r#"PATCH r/issues/7 {"title":"t","state":"open"}"#);
    edit(
        r#"{ "new_field" : {"a": [1.50]}, "assignees":["\u0062ob"], "labels":[1], "milestone":2 }"#,
        r#"PATCH r/issues/7 {"new_field":{"a": [1.50]},"milestone":2,"assignees":["bob"]}"#,
    );
    edit(r#"{"labels":[1]}"#, "unguarded");
    edit(r#"{"assignees":[""]}"#, "400: no login");
    edit(r#"{"assignees":["a b"]}"#, "400: no login");
    edit("{\"assignees\":[\"b\u{f6}b\"]}", "400: no login");
    edit(r#"{"assignees":"bob"}"#, "400: `assignees` must be a list of logins");
    edit(r#"{"assignees":[null]}"#, "400: `assignees` must be a list of logins");
    edit(r#"{"assignees":{}}"#, "400: `assignees` must be");
    edit(r#"{"assignee":["bob"]}"#, "400: `assignee` must be one login");
    for state in [r#""CLOSED""#, r#""Closed""#, r#""whatever""#, r#""""#, "1", "true", r#"["open"]"#] {
        edit(&format!("{{\"state\":{state}}}"), "400: `state` must be exactly");
    }
    edit(r#"{"assignees":["a"],"ASSIGNEES":["b"]}"#, "400: spell it exactly");
    edit(r#"{"assignees":["a"],"assignees":["a"]}"#, "400: occurs twice");
    edit("{\"\u{17F}tate\":\"closed\"}", "400: spell it exactly");
    edit(r#"{"Token":"x"}"#, "400: may be read as `token`");
    // Whatever its case, it is nothing that is compared.
    edit(r#"{"Title":"x","Due_Date":null}"#, "unguarded");
    edit(r#"{"Title":"x","Ref":"y"}"#, "400: spell it exactly");
    edit(r#"{"Title":"x","State":"closed"}"#, "400: spell it exactly");
    edit(r#"{"Title":"x","state":"closed"}"#, "400: spell it exactly");
    edit(r#"{"Title":"x","title":"y"}"#, "400: spell it exactly");
    edit(r#"["t","bob",["bob"],"closed",1]"#, "400: beginning with");
    edit("null", "unguarded");
    edit("", "unguarded");
    edit(" \n", "unguarded");
    // Half of a pair, in what is only handed on.
    edit(r#"{"title":"\ud83d","x":["\ude00"]}"#, "unguarded");
    edit(
        r#"{"body":"\ud83d cut","assignees":["bob"]}"#,
        r#"PATCH r/issues/7 {"body":"\ud83d cut","assignees":["bob"]}"#,
    );
    edit(r#"{"assignees":["bob\ud83d"]}"#, "400: well-formed");
    edit(r#"{"assignee":"\ud83d"}"#, "400: well-formed");
    edit(r#"{"title":"\ud8","assignees":["bob"]}"#, "400: well-formed");
    edit("{}{\"assignees\":[\"bob\"]}", "400: trailing");
}

#[test]
fn edits_of_a_pull_and_creations() {
    let pull = |body: &str, expected: &str| check("PATCH R/pulls/7", &[JSON], body, expected);
    // As the common Go client sends it.
    pull(r#"{"title":"x","assignee":"","assignees":null,"milestone":0,"labels":null,"state":null}"#, "unguarded");
    pull(
        r#"{"title":"x","assignee":"","assignees":null,"labels":null,"state":"closed"}"#,
        r#"PATCH r/pulls/7 {"title":"x","state":"closed"}"#,
    );
    pull(r#"{"assignees":["bob"]}"#, r#"PATCH r/pulls/7 {"assignees":["bob"]}"#);
    pull(r#"{"labels":[2,1,2]}"#, r#"PATCH r/pulls/7 {"labels":[1,2]}"#);
    pull(r#"{"labels":[]}"#, r#"PATCH r/pulls/7 {"labels":[]}"#);
    pull(r#"{"labels":["x"]}"#, "400: `labels` must be a list of label ids");
    let create = |body: &str, expected: &str| check("POST R/issues", &[JSON], body, expected);
    create(r#"{"title":"x"}"#, "unguarded");
    create(r#"{"title":"x","labels":[1],"closed":true}"#, "unguarded");
    create(r#"{"title":"x","assignee":"","assignees":null}"#, "unguarded");
    create(r#"{"title":"x","assignees":[]}"#, "unguarded");
    create(
        r#"{"title":"x","labels":[1],"assignee":"bob","assignees":["ann"]}"#,
        r#"POST r/issues {"title":"x","labels":[1],"assignees":["ann","bob"]}"#,
    );
    for none in [r#"[""]"#, "[null]", r#"["",""]"#] {
        create(&format!("{{\"title\":\"x\",\"assignees\":{none}}}"), "unguarded");
    }
    create(r#"{"assignee":"bob","assignees":[""]}"#, r#"POST r/issues {"assignees":["bob"]}"#);
    create(r#"{"title":"x","assignees":["","bob"]}"#, "400: no login");
    check("POST R/issues?x=y", &[JSON], r#"{"title":"x"}"#, "unguarded");
    check("POST R/issues?Assignees=bob", &[JSON], r#"{"title":"x"}"#, "400: has no place here");
    create(r#"{"title":"x","Assignee":"bob"}"#, "400: spell it exactly");
    check(
        "POST R/pulls",
        &[JSON],
        r#"{"head":"a","base":"b","assignees":["bob"]}"#,
        r#"POST r/pulls {"head":"a","base":"b","assignees":["bob"]}"#,
    );
}

#[test]
fn labels_and_assignee_calls() {
    let add = |body: &str, expected: &str| check("POST R/issues/7/labels", &[JSON], body, expected);
    add(r#"{"labels":[3,1]}"#, r#"POST r/issues/7/labels {"labels":[1,3]}"#);
    add(r#"{"labels":["in-progress"]}"#, r#"POST r/issues/7/labels {"labels":["in-progress"]}"#);
    add(r#"{"labels":[]}"#, "unguarded");
    add("{}", "unguarded");
    let many = |most: usize| (1..=most).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let most = format!("{{\"labels\":[{}]}}", many(500));
    add(&most, &format!("POST r/issues/7/labels {most}"));
    for list in [many(501), vec!["\"x\""; 5_000].join(",")] {
        add(&format!("{{\"labels\":[{list}]}}"), "400: 500 are the most");
    }
    for odd in ["[1,\"a\"]", "[2.7]", "[1e2]", "[-1]", "[\"\"]", "[null]", "[[1]]", "[99999999999999999999]", "1"] {
        add(&format!("{{\"labels\":{odd}}}"), "400: `labels` must be");
    }
    let put = |body: &str, expected: &str| check("PUT R/issues/7/labels", &[JSON], body, expected);
    put(r#"{"labels":[1]}"#, r#"PUT r/issues/7/labels {"labels":[1]}"#);
    put("{}", r#"PUT r/issues/7/labels {"labels":[]}"#);
    put(r#"{"labels":null}"#, r#"PUT r/issues/7/labels {"labels":[]}"#);
    put("", r#"PUT r/issues/7/labels {"labels":[]}"#);
    check("DELETE R/issues/7/labels", &[JSON], r#"{"labels":[1]}"#, "DELETE r/issues/7/labels");
    check("DELETE R/issues/7/labels", &["x/y"], "junk", "DELETE r/issues/7/labels");
    check("DELETE R/issues/7/labels?updated_at=x", &[], "", "400: `updated_at` has no place here");
    let remove = |name: &str, expected: &str| check(&format!("DELETE R/issues/7/labels/{name}"), &[], "", expected);
    remove("3", "DELETE r/issues/7/labels/3");
    remove("3/", "DELETE r/issues/7/labels/3");
    remove("in%20progress", "DELETE r/issues/7/labels/in%20progress");
    remove("a+b", "DELETE r/issues/7/labels/a%2Bb");
    for odd in ["03", "+3", "-3", "%2B3", "99999999999999999999"] {
        remove(odd, "400: not written plainly");
    }
    let assign = |request: &str, body: &str, expected: &str| check(request, &[JSON], body, expected);
    assign(
        "POST R/issues/7/assignees",
        r#"{"assignees":["bob"]}"#,
        r#"POST r/issues/7/assignees {"assignees":["bob"]}"#,
    );
    assign(
        "DELETE R/issues/7/assignees",
        r#"{"assignees":["bob"]}"#,
        r#"DELETE r/issues/7/assignees {"assignees":["bob"]}"#,
    );
    assign("DELETE R/issues/7/assignees", r#"{"assignees":[]}"#, "400: at least one login");
    assign("POST R/issues/7/assignees", "{}", "400: at least one login");
}

#[test]
fn encodings() {
    let claim = r#"{"assignees":["bob"]}"#;
    let sent = r#"PATCH r/issues/7 {"assignees":["bob"]}"#;
    for good in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json;",
        "application/json ; charset = utf8",
        "application/json; charset=utf-16",
        "application/json;odata=verbose;charset=\"utf-8\";",
        "application/vnd.api+json",
        "application/merge-patch+json; charset=utf-8",
        "text/x-json",
        "foo/json",
        "application/json, application/json",
    ] {
        check("PATCH R/issues/7", &[good], claim, sent);
    }
    check("PATCH R/issues/7", &[JSON, JSON], claim, sent);
    for bad in [
        "application/json; x=form-urlencoded",
        "application/json; x=multipart/form-data",
        "application/json; charset=utf-8; x=FORM-urlencoded",
        "application/vnd.api+JSON",
        "application/json, application/x-www-form-urlencoded",
        "form-urlencoded",
        "application/x-www-form-urlencoded; json",
        "multipart/form-data; boundary=x",
        "multipart/form-data; json; boundary=x",
        "text/plain",
        "text/plain;",
        "",
    ] {
        check("PATCH R/issues/7", &[bad], claim, "415: application/json");
    }
    check("PATCH R/issues/7", &[JSON, FORM], claim, "415: application/json");
    check("PATCH R/issues/7", &[], claim, "415: application/json");
    check("PUT R/issues/7/labels", &[], "", "415: application/json");
    check("POST R/issues", &[], "", "unguarded");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, JSON.parse().unwrap());
    for (coding, good) in [
        ("identity", true),
        ("IDENTITY", true),
        ("", true),
        (" , identity", true),
        ("gzip", false),
        ("identity, gzip", false),
    ] {
        headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
        assert_eq!(encoding(&headers).is_ok(), good, "{coding}");
    }
}

#[test]
fn forms_and_queries() {
    let form = |body: &str, expected: &str| check("PATCH R/issues/7", &[FORM], body, expected);
    form("assignees=bob&assignees=ann", r#"PATCH r/issues/7 {"assignees":["ann","bob"]}"#);
    form("%61ssignees=bob&title=a+b&token=x", r#"PATCH r/issues/7 {"title":"a b","assignees":["bob"]}"#);
    form("title=x", "unguarded");
    form("assignees=", "400: no login");
    form("assignee=bob", "400: `assignee` from a form");
    form("state=closed", "400: `state` from a form");
    form("ASSIGNEES=bob", "400: perhaps `assignees` was meant");
    form("assignees[]=bob", "400: perhaps `assignees` was meant");
    form(r#"{"assignees":["bob"]}"#, "400: is not known here");
    form("title=x&title=y", "unguarded");
    form("title=x&title=y&assignees=bob", "400: `title` is given twice");
    form("body=a%20state&due_date=x&unknown=1", "unguarded");
    form("body=x&assignees=bob", "400: `body` from a form");
    form("title=half;a=%zz", "unguarded");
    form("title=x&ref=refs/heads/mine", "400: `ref` from a form");
    form("title=x;st%61te=closed", "400: two ways");
    form("assignees=a;b", "400: two ways");
    check("PATCH R/issues/7", &["application/x-www-form-urlencoded; charset=UTF-8"], "title=x", "unguarded");
    check("PATCH R/issues/7?assignees=x", &[FORM], "assignees=bob", "400: `assignees` has no place here");
    check("PATCH R/issues/7?assignees=x", &[JSON], "{}", "400: `assignees` has no place here");
    check("PATCH R/issues/7?x=y", &[JSON], "{}", "unguarded");
    check("PATCH R/issues/7?%C5%BFtate=closed", &[FORM], "title=x", "400: has no place here");
    check("PATCH R/issues/7?x=y", &[FORM], "title=x", "unguarded");
    let claim = r#"{"assignees":["bob"]}"#;
    check(
        "PATCH R/issues/7?token=t&access_token=t&sudo=eve",
        &[JSON],
        claim,
        r#"PATCH r/issues/7 {"assignees":["bob"]}"#,
    );
    // What the tracker would read from the query alone.
    check("PATCH R/issues/7?assignees=bob&token=t", &[], "", r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
    check("PATCH R/issues/7?assignees=bob", &[FORM], "", r#"PATCH r/issues/7 {"assignees":["bob"]}"#);
    check("PATCH R/issues/7?title=x", &[], "", "unguarded");
    check("PATCH R/issues/7", &[], "", "unguarded");
    check("PATCH R/issues/7?assignees=bob", &[], claim, "415: application/json");
    check("PATCH R/issues/7?state=closed", &[], "", "400: from a form");
    check("DELETE R/issues/7/assignees?assignees=bob", &[], "", r#"DELETE r/issues/7/assignees {"assignees":["bob"]}"#);
    let create = |body: &str, expected: &str| check("POST R/issues", &[FORM], body, expected);
    create("title=x&closed=on", "unguarded");
    create(
        "title=x&closed=on&labels=1&labels=2&milestone=3&assignee=bob",
        r#"POST r/issues {"title":"x","closed":true,"labels":[1,2],"milestone":3,"assignees":["bob"]}"#,
    );
    create("title=x&labels=01", "400: `labels` must be");
    create("title=x&closed=perhaps", "400: `closed` must be");
    check("PUT R/issues/7/labels", &[FORM], "labels=1", r#"PUT r/issues/7/labels {"labels":[1]}"#);
    check("PUT R/issues/7/labels", &[FORM], "labels=name", "400: `labels` must be");
}

#[test]
fn multipart() {
    let send = |kind: &str, fields: &[(&str, &str)], expected: &str| {
        let part = |(name, value): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = format!("{}--b--\r\n", fields.iter().map(part).collect::<String>());
        check("PATCH R/issues/7", &[kind], &body, expected);
    };
    let plain = "multipart/form-data; boundary=b";
    let claim = r#"PATCH r/issues/7 {"title":"t","assignees":["bob"]}"#;
    send(plain, &[("title", "t"), ("assignees", "bob")], claim);
    send(plain, &[("title", "the state")], "unguarded");
    send(plain, &[("body", "a label"), ("x", "1")], "unguarded");
    send(plain, &[("body", "x"), ("assignees", "bob")], "400: `body` from a form");
    send(plain, &[("assignees", "bob"), ("token", "t")], "400: no place in a multipart body");
    // Not one plain field after the other: what is not read must not speak of anything guarded.
    send("multipart/form-data; boundary=c", &[("title", "t")], "unguarded");
    send("multipart/form-data; boundary=c", &[("a\"; name*=\"x", "t")], "415: application/json");
    send("multipart/form-data; boundary=c", &[("assignees", "bob")], "415: application/json");
    send("multipart/form-data; boundary=b; json", &[("assignees", "bob")], "415: application/json");
    let file = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\n\r\n1\r\n--b--\r\n";
    check("PATCH R/issues/7", &[plain], file, "unguarded");
    check("PATCH R/issues/7", &[], r#"{"title":"x"}"#, "unguarded");
    check("PATCH R/issues/7", &["text/plain"], r#"{"title":"x"}"#, "unguarded");
    check("PUT R/issues/7/labels", &["text/plain"], "x", "415: application/json");
}

/// What the most lenient reader would see: names folded, the last one counts.
fn lenient(body: &str) -> Value {
    let Ok(Value::Object(object)) = serde_json::from_str(body) else { return Value::Null };
    object.into_iter().map(|(name, value)| (fold_name(&name), value)).collect::<serde_json::Map<_, _>>().into()
}

/// Mostly what may be accepted, now and then what may not.
fn member() -> impl Strategy<Value = String> {
    let name = "(?i)assignees|assignee|(s|ſ)tate|title|asſignees|assign_ees|\\\\u0061ssignees|x";
    let value = r#"null|\[\]|\["(bob|Bob|ann)"\]|\["a","b"\]|"(bob|open|closed|CLOSED|)"|1|\{"state":"open"\}"#;
    prop_oneof![
        4 => r#""(\\u0061)?assignees":(null|\[\]|\["(bob|Bob)","(ann|bob)"\])"#.prop_map(|m| m.replace("0061a", "0061")),
        4 => r#""assignee":(null|"(bob|Ann|)")"#,
        4 => r#""state":(null|"(open|closed)")"#,
        4 => r#""(title|labels|x)":(1|\{"state":"open"\})"#,
        1 => (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_lenient_reader_sees_the_same(members in proptest::collection::vec(member(), 0..4)) {
        let body = format!("{{{}}}", members.join(","));
        let Ok(parsed) = read("PATCH R/issues/7", &[JSON], &body) else { return Ok(()) };
        let seen = lenient(&body);
        let change = match &parsed {
            None => Change::default(),
            Some(intent) => intent.change.clone(),
        };
        let state = seen["state"].as_str();
        prop_assert_eq!(change.state.map(OpenState::as_str), state, "{}", body);
        let mut names: Vec<Account> = seen["assignees"].as_array().into_iter().flatten()
            .chain(seen.get("assignee").filter(|one| one.as_str() != Some("")))
            .filter_map(Value::as_str).map(Account::new).collect();
        names.sort();
        names.dedup();
        let touched = !seen["assignees"].is_null() || !seen["assignee"].is_null();
        let wanted = touched.then(|| SetChange::Replace(names.into_iter().collect()));
        prop_assert_eq!(change.assignees, wanted, "{}", body);
    }
}
